package console

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

//go:embed pages
var files embed.FS

const styleFile = "pages/style.css"

// handler answers one method of one path. Its error is answered by Console.fail.
type handler func(w http.ResponseWriter, r *http.Request) error

// Console is the pages. It is an http.Handler, safe for concurrent use.
type Console struct {
	users   *user.Service
	auth    *auth.Service
	link    *link.Service
	site    *web.Site
	log     *slog.Logger
	audit   *audit.Trail
	pages   map[string]*template.Template
	css     []byte
	paths   map[string]map[string]handler
	handler http.Handler
}

// New returns the pages.
func New(p Params) (*Console, error) {
	if p.Users == nil || p.Auth == nil || p.Link == nil {
		return nil, errors.New("console: New needs the user, the auth and the link service")
	}
	site := p.Site
	if site == nil {
		var err error
		if site, err = web.New(web.Options{}); err != nil {
			return nil, err
		}
	}
	c := &Console{users: p.Users, auth: p.Auth, link: p.Link, site: site,
		log: cmp.Or(p.Log, slog.Default()).With("module", "console"), audit: p.Audit, pages: map[string]*template.Template{}}
	said := template.FuncMap{"minPassword": func() int { return max(p.Passwords.Policy.MinLength, auth.MinPassword) }}
	for _, name := range []string{"home", "login", "invite", "accept", "forgot", "reset", "email", "confirm", "verify", "magic", "problem"} {
		page, err := template.New("layout.html").Funcs(said).ParseFS(files, "pages/layout.html", "pages/"+name+".html")
		if err != nil {
			return nil, fmt.Errorf("console: %w", err)
		}
		c.pages[name] = page
	}
	var err error
	if c.css, err = files.ReadFile(styleFile); err != nil {
		return nil, fmt.Errorf("console: %w", err)
	}
	c.paths = map[string]map[string]handler{
		"/app":                {http.MethodGet: c.home},
		"/app/login":          {http.MethodGet: c.openLogin, http.MethodPost: c.login},
		"/app/invite":         {http.MethodGet: c.openInvite, http.MethodPost: c.acceptInvite},
		"/app/reset-password": {http.MethodGet: c.openReset, http.MethodPost: c.reset},
		"/app/email":          {http.MethodGet: c.openEmail, http.MethodPost: c.changeEmail},
		"/app/email/confirm":  {http.MethodGet: c.openConfirm, http.MethodPost: c.confirmEmail},
		"/app/verify-email":   {http.MethodGet: c.openVerify, http.MethodPost: c.verify},
		"/app/magic":          {http.MethodGet: c.openMagic, http.MethodPost: c.magic},
		"/app/logout":         {http.MethodPost: c.logout},
		"/app/style.css":      {http.MethodGet: c.style},
	}
	c.handler = site.Wrap(http.HandlerFunc(c.dispatch), c.log, c.refuse)
	return c, nil
}

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

// Prefixes are the paths under which the pages live, for a router that mounts them beside other things.
func (*Console) Prefixes() []string { return []string{"/app", "/app/"} }

func (c *Console) dispatch(w http.ResponseWriter, r *http.Request) {
	if err := c.answer(w, c.acting(r)); err != nil {
		c.fail(w, r, err)
	}
}

func (c *Console) answer(w http.ResponseWriter, r *http.Request) error {
	methods, known := c.paths[r.URL.Path]
	if !known {
		return errNoPage
	}
	if r.Method == http.MethodHead && methods[http.MethodGet] != nil {
		return methods[http.MethodGet](w, r)
	}
	if h := methods[r.Method]; h != nil {
		return h(w, r)
	}
	allowed := slices.Sorted(maps.Keys(methods))
	if methods[http.MethodGet] != nil {
		allowed = slices.Insert(allowed, 1, http.MethodHead)
	}
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	return errNoMethod
}

// view is what a page shows.
type view struct {
	Title   string
	Problem *problem      // what is wrong, said first
	Form    form          // what was typed before
	Visitor *visitor      // nil: nobody is signed in
	Waiting *link.Waiting // why the sign-in just made led to no account
	Invite  user.Invite
	Reset   string // whose password is set; empty: it is to be asked for
	Done    string // what the form has done; empty: it was not sent yet
	Change  auth.EmailChange
	Proves  string // the address that a link would prove
	Sent    string // the address that a link was mailed to
	Secret  bool   // the form asks for the password

	Mailed auth.MailedFlow // a sign-in by what is mailed
	FormTo string          // another origin to which the form leads in the end; empty: none

	Password  bool                // one can sign in by a password
	Providers []auth.ProviderInfo // by which one can sign in by a link

	Elsewhere bool // who it is about signs in on pages of the application's own
}

// mark is what a field says of itself beside its value.
type mark struct {
	Faulty      bool
	Focus       bool
	DescribedBy string
}

// Mark marks a field that the problem is about, and gives the first such field the focus; without a problem, the field
// that is typed into first has it. hint is the id of the field's hint; empty if it has none.
func (v view) Mark(field, hint string, first bool) mark {
	m := mark{Focus: first, DescribedBy: hint}
	if v.Problem != nil {
		m.Faulty = v.Problem.isAbout(field)
		if len(v.Problem.Fields) > 0 {
			m.Focus = v.Problem.Fields[0] == field
		}
	}
	if m.Faulty {
		m.DescribedBy = strings.TrimSpace("problem " + hint)
	}
	return m
}

// show answers with a page.
func (c *Console) show(w http.ResponseWriter, r *http.Request, page string, v view) error {
	var buf bytes.Buffer
	if err := c.pages[page].ExecuteTemplate(&buf, "layout", v); err != nil {
		return fmt.Errorf("page %s: %w", page, err)
	}
	secure(w, v.FormTo)
	status := http.StatusOK
	if v.Problem != nil {
		status = v.Problem.Status
		web.SetRetryAfter(w, v.Problem.RetryAfter)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", strconv.Itoa(buf.Len()))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		w.Write(buf.Bytes()) //nolint:errcheck // the caller has gone: there is nobody to tell
	}
	return nil
}

// redirect has the browser get another page of ours.
func redirect(w http.ResponseWriter, path string) error {
	secure(w)
	w.Header().Set("Location", path)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// secure sets what pages allow beyond an answer of the API: our style sheet, our forms, an icon that is none. The referrer
// is the origin alone, so that tokens in the address stay here; with none at all, browsers send "Origin: null" with our
// own forms, and where they send no Sec-Fetch-Site (plain http other than on this machine) these would be refused as
// another site's.
//
// Browsers hold where a form leads in the end against what is allowed, too: more origins than this one may be named.
func secure(w http.ResponseWriter, formsTo ...string) {
	h := w.Header()
	h.Set("Content-Security-Policy",
		"default-src 'none'; style-src 'self'; form-action "+strings.TrimSpace("'self' "+strings.Join(formsTo, " "))+"; base-uri 'none'; frame-ancestors 'none'; img-src 'self' data:")
	h.Set("Referrer-Policy", "strict-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

func (c *Console) style(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", "text/css; charset=utf-8")
	w.Header().Set("Cache-Control", "no-cache") // kept, and asked for again: a newer server may have a newer one
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(c.css)))
	secure(w)
	http.ServeContent(w, r, styleFile, time.Time{}, bytes.NewReader(c.css))
	return nil
}
