package console_test

import (
	"cmp"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/console"
	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/app/webhook"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/kernel/secrettest"
	"github.com/latchkey-go/latchkey/modules/user"
)

func TestMain(m *testing.M) { databasetest.Main(m) }

// site is a server with the pages, and what is underneath.
type site struct {
	pages  *console.Console
	db     *database.DB
	users  *user.Service
	auth   *auth.Service
	link   *link.Service
	box    *outbox.Outbox
	hooks  *webhook.Service
	server *httptest.Server
	log    *secrettest.Log
	asked  *asked

	recorded int // rows of the audit trail that a test has read

	mu      sync.Mutex
	secrets []string // what must be found nowhere but in pages
}

// asked keeps the requests for a new password and for another address, for which a mailer would send links.
type asked struct {
	next     event.Emitter
	mu       sync.Mutex
	requests []auth.PasswordResetRequested
	moves    []auth.EmailChangeRequested
	proofs   []auth.VerificationRequested
}

func (a *asked) Emit(ctx context.Context, events ...event.Event) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range events {
		switch e := e.(type) {
		case auth.PasswordResetRequested:
			a.requests = append(a.requests, e)
		case auth.EmailChangeRequested:
			a.moves = append(a.moves, e)
		case auth.VerificationRequested:
			a.proofs = append(a.proofs, e)
		}
	}
	return a.next.Emit(ctx, events...)
}

// last is the newest request.
func (a *asked) last(t *testing.T) auth.PasswordResetRequested {
	t.Helper()
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.requests) == 0 {
		t.Fatal("nobody asked for a new password")
	}
	return a.requests[len(a.requests)-1]
}

// options differ between sites.
type options struct {
	policy    link.Policy
	require   bool // addresses are to be proved
	safe      bool // registering tells nobody who is known
	inviteTTL time.Duration
	events    event.Emitter
	site      web.Options
	api       httpapi.Options
	program   httpapi.Program // nil: that of the tests
	pages     console.Options
	mailbox   console.Mailbox
	actors    []link.Actors   // kept beside users
	providers []auth.Provider // beside emailpass
	allowed   []string        // providers that users may use; nil: all
	whole     bool            // the server has the API, too, and knows where it is
}

// each runs f on a site over every database.
func each(t *testing.T, f func(t *testing.T, s *site)) { eachWith(t, options{}, f) }

func eachWith(t *testing.T, o options, f func(t *testing.T, s *site)) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		f(t, newSite(t, at.Open(t, migrations()...), o))
	})
}

// migrations are those of all tables that a site has.
func migrations() []database.Migrations {
	return []database.Migrations{user.Migrations(), auth.Migrations(), link.Migrations(), audit.Migrations(), outbox.Migrations(), webhook.Migrations()}
}

func newSite(t testing.TB, db *database.DB, o options) *site {
	t.Helper()
	keys, err := keyring.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	passwords, err := auth.NewPasswords(auth.PasswordParams{Keys: keys, Options: auth.PasswordOptions{Cost: 4, MaxWait: time.Minute}}) // -race makes bcrypt slow
	if err != nil {
		t.Fatal(err)
	}
	s := &site{db: db, log: new(secrettest.Log), asked: &asked{next: cmp.Or(o.events, event.Discard)}}
	log := slog.New(slog.NewTextHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	trail, err := audit.New(audit.Params{DB: db, Keys: keys, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	s.asked.next = trail.Before(s.asked.next)
	if s.users, err = user.New(user.Params{DB: db, Keys: keys, Events: s.asked, Log: log, Options: user.Options{InviteTTL: o.inviteTTL}}); err != nil {
		t.Fatal(err)
	}
	if s.auth, err = auth.New(auth.Params{DB: db, Keys: keys, Events: s.asked, Log: log,
		Options: auth.Options{Throttle: auth.ThrottleOptions{MaxWait: time.Minute}}, Providers: append([]auth.Provider{emailpass.New(passwords, emailpass.Config{})}, o.providers...)}); err != nil {
		t.Fatal(err)
	}
	s.link, err = link.New(link.Params{DB: db, Users: s.users, Auth: s.auth, Events: s.asked, Log: log, Actors: o.actors,
		Options: link.Options{Actors: map[string]link.ActorOptions{link.ActorUser: {Policy: o.policy, RequireVerifiedEmail: o.require, Providers: o.allowed}}, EnumerationSafe: o.safe}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(nil)
	if o.whole || o.mailbox != nil && o.site.PublicURL == "" {
		o.site.PublicURL = "http://" + server.Listener.Addr().String()
	}
	made, err := web.New(o.site)
	if err != nil {
		t.Fatal(err)
	}
	if s.box, err = outbox.New(outbox.Params{DB: db, Log: log}); err != nil { // for what a test records itself: nothing is delivered
		t.Fatal(err)
	}
	if s.hooks, err = webhook.New(webhook.Params{DB: db, Keys: keys, Outbox: s.box, Audit: trail, Log: log, Options: webhook.Options{PrivateAddresses: true}}); err != nil {
		t.Fatal(err)
	}
	if err := s.box.Register(s.hooks.Consumer(), outbox.To("bell", bell{})); err != nil {
		t.Fatal(err)
	}
	if o.program == nil {
		o.program = about
	}
	api, err := httpapi.New(httpapi.Params{DB: db, Site: made, Users: s.users, Auth: s.auth, Link: s.link, Log: log, Audit: trail,
		Webhooks: s.hooks, Outbox: s.box, Program: o.program, Options: o.api})
	if err != nil {
		t.Fatal(err)
	}
	s.pages, err = console.New(console.Params{API: api, Site: made, Users: s.users, Auth: s.auth, Link: s.link, Log: log, Audit: trail, Options: o.pages, Mailbox: o.mailbox})
	if err != nil {
		t.Fatal(err)
	}
	s.server, server.Config.Handler = server, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if o.whole && strings.HasPrefix(r.URL.Path, "/auth/") {
			api.ServeHTTP(w, r)
			return
		}
		s.pages.ServeHTTP(w, r)
	})
	server.Start()
	t.Cleanup(func() {
		s.server.Close()
		secrettest.Look(t, "the log", s.log.String())
		for _, secret := range s.secrets {
			if strings.Contains(s.log.String(), secret) {
				t.Errorf("the log holds the secret %q", secret)
			}
		}
	})
	return s
}

// secret marks what must be found nowhere but in pages.
func (s *site) secret(text string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets = append(s.secrets, text, url.QueryEscape(text))
	return text
}

func (s *site) isSecret(text string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.secrets, func(secret string) bool { return strings.Contains(text, secret) })
}

// cookie is the session secret that a browser holds; empty for none.
func (b *browser) cookie() string {
	at, err := url.Parse(b.site.server.URL)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.client.Jar.Cookies(at) {
		if c.Name == "latchkey" {
			return c.Value
		}
	}
	return ""
}

// browser is one person's: it keeps cookies, follows redirects, fills in forms, and looks at every page for what no page
// may have.
type browser struct {
	t      *testing.T
	site   *site
	client *http.Client
	header http.Header // sent with every request
	page   page
	at     string // where the pages are
}

// page is what a browser shows.
type page struct {
	status int
	path   string // where the redirects led
	header http.Header
	body   string
	forms  []htmlForm
}

type htmlForm struct {
	method, action string
	values         url.Values
}

func (s *site) browser(t *testing.T) *browser {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{t: t, site: s, header: http.Header{}, at: console.DefaultPath}
	b.client = &http.Client{Jar: jar, CheckRedirect: func(r *http.Request, _ []*http.Request) error {
		if s.isSecret(r.URL.String()) {
			t.Errorf("a redirect carries a secret: %s", r.URL)
		}
		return nil
	}}
	return b
}

func (b *browser) get(path string) page {
	b.t.Helper()
	return b.do(http.MethodGet, path, "", nil)
}

// submit sends the form of the page that goes to action, with these values in place of those that are there.
func (b *browser) submit(action string, values url.Values) page {
	b.t.Helper()
	f := b.form(action)
	for name, v := range values {
		if _, ok := f.values[name]; !ok {
			b.t.Fatalf("the form has no field %s:\n%s", name, b.page.body)
		}
		f.values[name] = v
	}
	if strings.EqualFold(f.method, http.MethodGet) {
		return b.do(http.MethodGet, f.action+"?"+f.values.Encode(), "", nil)
	}
	b.header.Set("Origin", b.site.server.URL) // as a browser does, but for Referrer-Policy: no-referrer
	defer b.header.Del("Origin")
	return b.do(strings.ToUpper(f.method), f.action, "application/x-www-form-urlencoded", strings.NewReader(f.values.Encode()))
}

// form is the form of the page that goes to action.
func (b *browser) form(action string) htmlForm {
	b.t.Helper()
	i := slices.IndexFunc(b.page.forms, func(f htmlForm) bool { return f.action == action })
	if i < 0 {
		b.t.Fatalf("no form goes to %s in:\n%s", action, b.page.body)
	}
	return b.page.forms[i]
}

func (b *browser) do(method, path, contentType string, body io.Reader) page {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), method, b.site.server.URL+path, body)
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header = b.header.Clone()
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	if _, said := b.header["Sec-Fetch-Site"]; !said && method == http.MethodPost && b.header.Get("Origin") == "" {
		r.Header.Set("Sec-Fetch-Site", "same-origin") // as browsers do, unless a test says otherwise
	}
	resp, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	b.page = page{status: resp.StatusCode, path: resp.Request.URL.Path, header: resp.Header, body: string(data)}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") && method != http.MethodHead {
		b.page.forms = b.inspect(b.page)
	}
	return b.page
}

var void = []string{"meta", "link", "input", "br", "hr", "img"}

// inspect reads a page tag by tag and says what is wrong with it.
func (b *browser) inspect(p page) (forms []htmlForm) {
	b.t.Helper()
	complain := func(format string, args ...any) {
		b.t.Helper()
		b.t.Errorf(format+"\n%s", append(args, p.body)...)
	}
	for name, want := range map[string]string{
		"Content-Security-Policy": "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'; img-src 'self' data:",
		"Referrer-Policy":         "strict-origin",
		"Cache-Control":           "no-store",
		"X-Content-Type-Options":  "nosniff",
	} {
		if got := p.header.Get(name); got != want {
			complain("%s: %q, want %q", name, got, want)
		}
	}
	var open []string
	seen := map[string]int{}
	ids, labelled, described, inputs := map[string]bool{}, map[string]bool{}, []string{}, []string{}
	field, chosen := "", false // the select or textarea that is read, and whether an option of it is taken
	dec := xml.NewDecoder(strings.NewReader(p.body))
	dec.Strict, dec.Entity = false, xml.HTMLEntity
	for {
		token, err := dec.RawToken()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			complain("not well formed: %v", err)
			return forms
		}
		switch tag := token.(type) {
		case xml.StartElement:
			name, attributes := tag.Name.Local, map[string]string{}
			for _, a := range tag.Attr {
				if _, twice := attributes[a.Name.Local]; twice || a.Name.Local == "style" || strings.HasPrefix(a.Name.Local, "on") {
					complain("<%s> has %s", name, a.Name.Local)
				}
				attributes[a.Name.Local] = a.Value
			}
			if seen[name]++; !slices.Contains(void, name) {
				open = append(open, name)
			}
			if id, ok := attributes["id"]; ok && ids[id] {
				complain("two elements have the id %s", id)
			} else if ok {
				ids[id] = true
			}
			described = append(described, strings.Fields(attributes["aria-describedby"])...)
			switch name {
			case "script":
				if attributes["src"] != b.at+"/console.js" {
					complain("a page has a script other than ours")
				}
			case "style", "iframe":
				complain("a page has <%s>", name)
			case "html":
				if attributes["lang"] != "en" {
					complain("the page does not say its language")
				}
			case "label":
				labelled[attributes["for"]] = true
			case "form":
				forms = append(forms, htmlForm{attributes["method"], attributes["action"], url.Values{}})
			case "select", "textarea":
				field = attributes["name"]
				inputs = append(inputs, attributes["id"])
				if len(forms) > 0 {
					forms[len(forms)-1].values[field] = append(forms[len(forms)-1].values[field], "")
				}
			case "option":
				if values := forms[len(forms)-1].values; values.Get(field) == "" && !chosen || has(tag, "selected") {
					values.Set(field, attributes["value"])
					chosen = true
				}
			case "input", "button":
				if attributes["type"] == "button" { // for the script
					break
				}
				if len(forms) == 0 || !slices.Contains(open, "form") {
					complain("<%s> is in no form", name)
					break
				}
				if kind := attributes["type"]; (kind == "checkbox" || kind == "radio") && !has(tag, "checked") {
					if _, ok := forms[len(forms)-1].values[attributes["name"]]; !ok {
						forms[len(forms)-1].values[attributes["name"]] = nil
					}
				} else if field := attributes["name"]; field != "" {
					if values := forms[len(forms)-1].values; attributes["type"] == "hidden" {
						values.Add(field, attributes["value"])
					} else {
						values.Set(field, attributes["value"])
					}
				}
				if name == "input" && attributes["type"] != "hidden" {
					inputs = append(inputs, attributes["id"])
				}
				if attributes["type"] == "password" && attributes["value"] != "" {
					complain("a password is in the page")
				}
			}
		case xml.CharData:
			if len(open) > 0 && open[len(open)-1] == "textarea" {
				forms[len(forms)-1].values.Set(field, strings.TrimPrefix(string(tag), "\n"))
			}
		case xml.EndElement:
			if tag.Name.Local == "select" {
				chosen = false
			}
			if len(open) == 0 || open[len(open)-1] != tag.Name.Local {
				complain("</%s> closes %v", tag.Name.Local, open)
				return forms
			}
			open = open[:len(open)-1]
		}
	}
	for _, id := range inputs {
		if !labelled[id] {
			complain("the input %q has no label", id)
		}
	}
	for _, id := range described {
		if !ids[id] {
			complain("a field is described by %q, which is not there", id)
		}
	}
	if len(open) > 0 || seen["h1"] != 1 || seen["main"] != 1 || seen["title"] != 1 {
		complain("open at the end: %v; h1, main, title: %d, %d, %d times", open, seen["h1"], seen["main"], seen["title"])
	}
	return forms
}

// has reports whether the element has the attribute, with a value or without.
func has(tag xml.StartElement, name string) bool {
	return slices.ContainsFunc(tag.Attr, func(a xml.Attr) bool { return a.Name.Local == name })
}

// home leads who has an account on: to the users, if they may see them, or to their own account.
const home = "/app"

// want says what the page should be. Where somebody with an account should have come home, it is their profile that is looked at.
func (b *browser) want(status int, path string, texts ...string) {
	b.t.Helper()
	if path == home && b.page.path == "/app/users" {
		b.get("/app/account")
	}
	if path == home && b.page.path == "/app/account" {
		path = b.page.path
	}
	if b.page.status != status || b.page.path != path {
		b.t.Fatalf("%s: %d, want %s: %d\n%s", b.page.path, b.page.status, path, status, b.page.body)
	}
	for _, text := range texts {
		if !strings.Contains(b.page.body, text) {
			b.t.Errorf("%s does not say %q:\n%s", path, text, b.page.body)
		}
	}
}

func (b *browser) wantNot(texts ...string) {
	b.t.Helper()
	for _, text := range texts {
		if strings.Contains(b.page.body, text) {
			b.t.Errorf("%s says %q:\n%s", b.page.path, text, b.page.body)
		}
	}
}

// fields are the values of a form, in pairs.
func fields(pairs ...string) url.Values {
	v := url.Values{}
	for i := 0; i < len(pairs); i += 2 {
		v.Set(pairs[i], pairs[i+1])
	}
	return v
}
