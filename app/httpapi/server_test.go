package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/audit"
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

const password = "correct horse"

// server is the API over one database, as a program serves it, and the services underneath for setting the scene.
type server struct {
	*httptest.Server
	db    *database.DB
	users *user.Service
	auth  *auth.Service
	link  *link.Service
	hooks *webhook.Service
	api   *httpapi.API
	box   *outbox.Outbox

	passwords *auth.Passwords
	issuers   map[string]*byIssuer // of the providers that have one

	log  *logBuffer
	told *eventLog

	auditor  string            // a token of somebody who reads the audit trail; empty: nobody has
	signedIn map[string]string // tokens that a test keeps, by address
}

// eventLog is what was announced by transactions that have committed.
type eventLog struct {
	db     *database.DB
	mu     sync.Mutex
	events []event.Event
}

func (l *eventLog) Emit(ctx context.Context, events ...event.Event) error {
	return l.db.AfterCommit(ctx, func(context.Context) {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.events = append(l.events, events...)
	})
}

// count is how many events were announced.
func (l *eventLog) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.events)
}

// resets returns the requests for a new password, in the order they were announced.
func (l *eventLog) resets() (found []auth.PasswordResetRequested) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if e, ok := e.(auth.PasswordResetRequested); ok {
			found = append(found, e)
		}
	}
	return found
}

// settings are what a test may want otherwise.
type settings struct {
	actor     link.ActorOptions
	safe      bool // registering tells nobody who is known
	user      user.Options
	hooks     []user.Hook
	links     []link.Hook
	auth      auth.Options
	passwords auth.PasswordOptions
	site      web.Options
	api       httpapi.Options
	program   httpapi.Program                   // nil: that of the tests
	actors    func(*database.DB) link.Actors    // kept beside users; nil: none
	emailpass func(auth.Provider) auth.Provider // what stands in its place; nil: itself
	providers []auth.Provider                   // beside emailpass and vouching
	vouching  auth.Provider                     // what stands in the place of vouching; nil: itself

	unlinkedTTL time.Duration
	sameEmail   bool // invites are accepted by the invited address alone
}

// unthrottled are settings for a test that fails more often, or asks for more mails, than anybody may.
var unthrottled = settings{auth: auth.Options{Throttle: auth.ThrottleOptions{Disabled: true}}}

// vouching is a provider that takes everybody's word for their name, and says of their address what the input says.
type vouching struct{}

func (vouching) Name() string { return "vouching" }

func (vouching) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	var in struct {
		Name     string `json:"name"`
		Email    string `json:"email"`
		Verified bool   `json:"verified"`
	}
	if err := a.Input.Decode(&in); err != nil {
		return auth.Assertion{}, err
	}
	if _, err := a.Secret(ctx, in.Name); err != nil {
		return auth.Assertion{}, err
	}
	if in.Name == "" {
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	return auth.Assertion{EntityID: in.Name, Profile: auth.Profile{Email: in.Email, EmailVerified: in.Verified}}, nil
}

// each runs f against a server on every database, on all at the same time.
func each(t *testing.T, f func(t *testing.T, s *server)) {
	t.Helper()
	eachWith(t, settings{}, func(t *testing.T, s *server) {
		t.Parallel()
		f(t, s)
	})
}

// eachWith runs f against a server with settings on every database, on one after the other: they may share what they hold.
func eachWith(t *testing.T, o settings, f func(t *testing.T, s *server)) {
	t.Helper()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		f(t, serve(t, at.Open(t, user.Migrations(), auth.Migrations(), link.Migrations(), audit.Migrations(), outbox.Migrations(), webhook.Migrations()), o))
	})
}

func serve(t testing.TB, db *database.DB, o settings) *server {
	t.Helper()
	s := &server{db: db, log: new(logBuffer), told: &eventLog{db: db}, signedIn: map[string]string{}}
	log := slog.New(slog.NewJSONHandler(s.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	keys, err := keyring.New(bytes.Repeat([]byte("k"), 32))
	check(t, err)
	if o.passwords.Cost == 0 {
		o.passwords = auth.PasswordOptions{Cost: 4, MaxWait: time.Minute} // -race makes bcrypt slow
	}
	if o.auth.Throttle.MaxWait == 0 {
		o.auth.Throttle.MaxWait = time.Minute
	}
	if o.emailpass == nil {
		o.emailpass = func(p auth.Provider) auth.Provider { return p }
	}
	if o.vouching == nil {
		o.vouching = vouching{}
	}
	if o.program == nil {
		o.program = about
	}
	s.issuers = map[string]*byIssuer{}
	for _, p := range append([]auth.Provider{o.vouching}, o.providers...) {
		if by, ok := p.(*byIssuer); ok {
			s.issuers[p.Name()] = by
		}
	}
	trail, err := audit.New(audit.Params{DB: db, Keys: keys, Log: log})
	check(t, err)
	events := trail.Before(s.told)
	passwords, err := auth.NewPasswords(auth.PasswordParams{Keys: keys, Options: o.passwords, Log: log})
	check(t, err)
	s.passwords = passwords
	s.users, err = user.New(user.Params{DB: db, Keys: keys, Options: o.user, Hooks: o.hooks, Events: events, Log: log})
	check(t, err)
	s.auth, err = auth.New(auth.Params{DB: db, Keys: keys, Options: o.auth, Events: events, Log: log,
		Providers: append([]auth.Provider{o.emailpass(emailpass.New(passwords, emailpass.Config{})), o.vouching}, o.providers...)})
	check(t, err)
	var kept []link.Actors
	if o.actors != nil {
		kept = append(kept, o.actors(db))
	}
	s.link, err = link.New(link.Params{DB: db, Users: s.users, Auth: s.auth, Actors: kept, Events: events, Log: log, Hooks: o.links,
		Options: link.Options{Actors: map[string]link.ActorOptions{link.ActorUser: o.actor}, EnumerationSafe: o.safe, UnlinkedTTL: o.unlinkedTTL,
			InviteSameEmail: o.sameEmail}})
	check(t, err)
	s.box, err = outbox.New(outbox.Params{DB: db, Log: log}) // for the targets, and what a test records itself; nothing is delivered
	check(t, err)
	s.hooks, err = webhook.New(webhook.Params{DB: db, Keys: keys, Outbox: s.box, Audit: trail, Options: webhook.Options{PrivateAddresses: true}, Log: log})
	check(t, err)
	check(t, s.box.Register(s.hooks.Consumer(), outbox.To("bell", bell{})))
	site, err := web.New(o.site)
	check(t, err)
	api, err := httpapi.New(httpapi.Params{DB: db, Users: s.users, Auth: s.auth, Link: s.link, Site: site, Log: log, Audit: trail, Webhooks: s.hooks, Outbox: s.box, Program: o.program, Options: o.api})
	check(t, err)
	s.api = api
	s.Server = httptest.NewServer(api)
	s.Client().Transport.(*http.Transport).MaxIdleConnsPerHost = 300
	t.Cleanup(func() {
		s.Close()
		secrettest.Look(t, "the log", s.log.all.String())
	})
	return s
}

// node is another process' API over the same database: nothing is shared but the rows and the secrets.
func (s *server) node(t testing.TB, o settings) *server {
	t.Helper()
	return serve(t, s.db, o)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// logBuffer is a log that tests read, and that is looked through for secrets at the end of each.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
	all bytes.Buffer // also what was forgotten
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.all.Write(p)
	return l.buf.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

// reset forgets what was logged so far.
func (l *logBuffer) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.buf.Reset()
}

// answer is a response, read to its end.
type answer struct {
	status int
	header http.Header
	body   string
}

// get returns the string at a path of member names in the answer's JSON; empty if there is none.
func (a answer) get(path ...string) string {
	var v any
	if json.Unmarshal([]byte(a.body), &v) != nil {
		return ""
	}
	for _, name := range path {
		o, _ := v.(map[string]any)
		v = o[name]
	}
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	default:
		return fmt.Sprint(v)
	}
}

// with sets up a request: a header "Name: value".
func (s *server) do(t testing.TB, method, path, body string, headers ...string) answer {
	t.Helper()
	a, err := s.try(t.Context(), method, path, body, headers...)
	check(t, err)
	return a
}

func (s *server) try(ctx context.Context, method, path, body string, headers ...string) (answer, error) {
	var r io.Reader
	if body != "" {
		r = strings.NewReader(body)
	}
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, r)
	if err != nil {
		return answer{}, err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	rsp, err := s.Client().Do(req)
	if err != nil {
		return answer{}, err
	}
	defer rsp.Body.Close()
	data, err := io.ReadAll(rsp.Body)
	return answer{rsp.StatusCode, rsp.Header, string(data)}, err
}

func bearer(token string) string { return "Authorization: Bearer " + token }

func credentials(email, password string) string {
	data, _ := json.Marshal(map[string]string{"email": email, "password": password})
	return string(data)
}

// register returns the registration token of a new identity.
func (s *server) register(t testing.TB, email string) string {
	t.Helper()
	a := s.do(t, "POST", "/auth/user/emailpass/register", credentials(email, password))
	return s.token(t, "register "+email, a)
}

// signIn returns a token.
func (s *server) signIn(t testing.TB, email string) string {
	t.Helper()
	return s.token(t, "sign in "+email, s.do(t, "POST", "/auth/user/emailpass", credentials(email, password)))
}

func (s *server) token(t testing.TB, what string, a answer) string {
	t.Helper()
	if a.status != 200 || a.get("token") == "" {
		t.Fatalf("%s: %d %s", what, a.status, a.body)
	}
	return a.get("token")
}

// member makes a user by registering and signing in, and returns a token.
func (s *server) member(t testing.TB, email string) string {
	t.Helper()
	s.register(t, email)
	return s.signIn(t, email)
}

// admin makes an admin as the command line does, and returns a token.
func (s *server) admin(t testing.TB, email string) string {
	t.Helper()
	_, err := s.link.CreateUser(t.Context(), "emailpass", auth.Input(credentials(email, password)),
		user.Draft{Email: email, Roles: []string{user.RoleAdmin}, Via: user.ViaCLI})
	check(t, err)
	return s.signIn(t, email)
}

// claims is what a token says, unverified.
func claims(t testing.TB, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		t.Fatalf("%q is no token", token)
	}
	data, err := decodeSegment(parts[1])
	check(t, err)
	var c map[string]any
	check(t, json.Unmarshal(data, &c))
	return c
}

// count returns how many rows a table has.
func (s *server) count(t testing.TB, table string) int {
	t.Helper()
	n, err := s.db.Conn(t.Context()).NewSelect().TableExpr("latchkey_" + table).Count(t.Context())
	check(t, err)
	return int(n)
}

// together calls f n times at once.
func together(n int, f func(i int)) {
	databasetest.Together(n, func(i int) error { f(i); return nil })
}
