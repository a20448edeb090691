package mail_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/mail"
	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/kernel/secrettest"
	"github.com/latchkey-go/latchkey/modules/user"
)

func TestMain(m *testing.M) { databasetest.Main(m) }

const (
	site     = "https://id.example.com/latchkey"
	password = "correct horse battery"
)

// mailbox is a Sender that keeps what it is given.
type mailbox struct {
	mu   sync.Mutex
	got  []mail.Message
	fail func(n int, m mail.Message) error // of the n-th message, which is kept all the same; nil: never
}

func (b *mailbox) Send(_ context.Context, m mail.Message) error {
	b.mu.Lock()
	b.got = append(b.got, m)
	n := len(b.got)
	b.mu.Unlock()
	if b.fail == nil {
		return nil
	}
	return b.fail(n, m)
}

func (b *mailbox) all() []mail.Message {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.got)
}

// program is the services with their mails, as app puts them together.
type program struct {
	db     *database.DB
	users  *user.Service
	auth   *auth.Service
	link   *link.Service
	outbox *outbox.Outbox

	options link.Params // of link, for one that is set otherwise

	box *mailbox
	log *secrettest.Log
}

// badge lets in whoever names themselves, and vouches for the address that they name.
type badge struct{}

func (badge) Name() string        { return "badge" }
func (badge) DisplayName() string { return "Example Badge" }

func (badge) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	var in struct {
		Name  string `json:"name"`
		Email string `json:"email"`
	}
	err := a.Input.Decode(&in)
	if err == nil {
		_, err = a.Secret(ctx, in.Name)
	}
	return auth.Assertion{EntityID: in.Name, Profile: auth.Profile{Email: in.Email, EmailVerified: in.Email != ""}}, err
}

func badgeOf(name, address string) auth.Input {
	return auth.Input(`{"name":"` + name + `","email":"` + address + `"}`)
}

// each runs f on a program over every database, and then looks for tokens in its log.
func each(t *testing.T, f func(t *testing.T, p *program)) {
	eachWith(t, mail.Options{URL: site}, user.Options{}, f)
}

func eachWith(t *testing.T, o mail.Options, users user.Options, f func(t *testing.T, p *program)) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) { f(t, newProgram(t, at, o, users)) })
}

func newProgram(t *testing.T, at databasetest.Database, o mail.Options, users user.Options) *program {
	t.Helper()
	db := at.Open(t, user.Migrations(), auth.Migrations(), link.Migrations(), outbox.Migrations())
	keys, err := keyring.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	passwords, err := auth.NewPasswords(auth.PasswordParams{Keys: keys, Options: auth.PasswordOptions{Cost: 4, MaxWait: time.Minute}}) // -race makes bcrypt slow
	if err != nil {
		t.Fatal(err)
	}
	p := &program{db: db, box: &mailbox{}, log: new(secrettest.Log)}
	log := slog.New(slog.NewJSONHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if p.outbox, err = outbox.New(outbox.Params{DB: db, Log: log}); err != nil {
		t.Fatal(err)
	}
	if p.users, err = user.New(user.Params{DB: db, Keys: keys, Events: p.outbox, Log: log, Options: users}); err != nil {
		t.Fatal(err)
	}
	p.auth, err = auth.New(auth.Params{DB: db, Keys: keys, Events: p.outbox, Log: log,
		Providers: []auth.Provider{emailpass.New(passwords, emailpass.Config{}), badge{}}})
	if err != nil {
		t.Fatal(err)
	}
	p.options = link.Params{DB: db, Users: p.users, Auth: p.auth, Events: p.outbox, Log: log}
	if p.link, err = link.New(p.options); err != nil {
		t.Fatal(err)
	}
	o.Sender = p.box
	mailer, err := mail.New(mail.Params{Users: p.users, Auth: p.auth, Options: o, Log: log})
	if err == nil {
		err = p.outbox.Register(mailer.Consumers()...)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, m := range p.box.all() {
			if isNotice(m) {
				continue
			}
			if token := tokenIn(m.Text); token == "" || strings.Contains(p.log.String(), token) || strings.Contains(p.log.String(), url.QueryEscape(token)) {
				t.Errorf("the mail has no token, or the log has it:\n%s\n%s", m.Text, p.log)
			}
		}
	})
	return p
}

// deliver has the outbox deliver until nothing is left, and returns the mails that have been sent so far.
func (p *program) deliver(t *testing.T) []mail.Message {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.outbox.Run(ctx)
	}()
	defer func() { cancel(); <-ended }()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(2 * time.Millisecond) {
		n, err := p.outbox.Pending(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return p.box.all()
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d deliveries are left\n%s", n, p.log)
		}
	}
}

// wantMails delivers, and wants so many mails to have been sent by now.
func (p *program) wantMails(t *testing.T, n int) []mail.Message {
	t.Helper()
	got := p.deliver(t)
	if len(got) != n {
		t.Fatalf("%d mails were sent, want %d: %q", len(got), n, got)
	}
	return got
}

// wantLink returns the token of the link, which text and HTML have and which leads to the path of the site.
func wantLink(t *testing.T, m mail.Message, path string) (token string) {
	t.Helper()
	if strings.ContainsAny(m.Subject+m.From+m.To, "\r\n") || m.Subject == "" {
		t.Errorf("subject %q, from %q, to %q", m.Subject, m.From, m.To)
	}
	token = tokenIn(m.Text)
	link := site + path + "?token=" + token
	if token == "" || !strings.Contains(m.Text, "\n"+link+"\n") || !strings.Contains(m.HTML, `<a href="`+link+`">`) {
		t.Errorf("text and HTML do not both have a link that begins with %s%s?token=\n%s\n%s", site, path, m.Text, m.HTML)
	}
	if n := strings.Count(m.Text+m.HTML, "://"); n != 2 {
		t.Errorf("text and HTML have %d links, want one each\n%s\n%s", n, m.Text, m.HTML)
	}
	return token
}

var tokenLine = regexp.MustCompile(`\?token=([A-Za-z0-9_.-]+)\n`)

func tokenIn(text string) string {
	if found := tokenLine.FindStringSubmatch(text); found != nil {
		return found[1]
	}
	return ""
}

// isNotice tells the mails that hold no token.
func isNotice(m mail.Message) bool {
	leads := slices.ContainsFunc([]string{"You are invited to ", "Set a new password ", "Confirm your "}, func(s string) bool { return strings.HasPrefix(m.Subject, s) })
	return !leads && !strings.Contains(m.Text+m.HTML, "token")
}

func credentials(address, password string) auth.Input {
	in, _ := json.Marshal(map[string]string{"email": address, "password": password})
	return in
}

// signUp makes an identity, and nobody yet.
func (p *program) signUp(t *testing.T, address string) auth.Session {
	t.Helper()
	l, err := p.link.SignUp(t.Context(), link.ActorUser, emailpass.Name, credentials(address, password), auth.Client{})
	if err != nil {
		t.Fatal(err)
	}
	return l.Session
}

// wantSignIn wants the password to let the address in.
func (p *program) wantSignIn(t *testing.T, address, password string, want error) {
	t.Helper()
	_, err := p.link.SignIn(t.Context(), link.ActorUser, emailpass.Name, credentials(address, password), auth.Client{})
	if !errors.Is(err, want) {
		t.Errorf("sign in as %s: %v, want %v", address, err, want)
	}
}

// forget asks for a new password.
func (p *program) forget(t *testing.T, typed string) {
	t.Helper()
	err := p.link.RequestPasswordReset(t.Context(), auth.ResetRequest{ActorType: link.ActorUser, Provider: emailpass.Name, EntityID: typed})
	if err != nil {
		t.Fatal(err)
	}
}

// reset sets a new password by the token.
func (p *program) reset(ctx context.Context, token, password string) error {
	return p.link.ResetPassword(ctx, link.ActorUser, emailpass.Name, token, auth.Input(`{"password":"`+password+`"}`))
}
