package github_test

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
	"github.com/latchkey-go/latchkey/modules/auth/github"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

func TestMain(m *testing.M) { databasetest.Main(m) }

const callback = "https://app.example.com/auth/user/github/callback"

// of is the config for a GitHub of a test, as a GitHub Enterprise at a loopback address.
func of(g *authtest.GitHub) github.Config {
	return github.Config{URL: g.URL(), ClientID: g.ClientID(), ClientSecret: g.ClientSecret(), CallbackURL: callback,
		PrivateHosts: []string{"127.0.0.1"}, TrustedDomains: []string{"example.com"}}
}

// provider makes a provider that waits for nothing for long.
func provider(t testing.TB, id string, c github.Config, log *slog.Logger) *github.Provider {
	t.Helper()
	p, err := github.New(id, c, log)
	must(t, err)
	p.Hurry(5 * time.Second)
	return p
}

// public is github.com, by the imitation.
func public(t testing.TB, g *authtest.GitHub, trusted []string) *github.Provider {
	t.Helper()
	p := provider(t, "github", github.Config{ClientID: g.ClientID(), ClientSecret: g.ClientSecret(), CallbackURL: callback, TrustedDomains: trusted}, nil)
	p.Through(g.Transport())
	return p
}

// house is an auth service with providers, and what was logged.
type house struct {
	*auth.Service
	log *logged
}

func newHouse(t testing.TB, providers ...auth.Provider) house {
	t.Helper()
	keys, err := keyring.New(make([]byte, keyring.MinSecret))
	must(t, err)
	log := new(logged)
	s, err := auth.New(auth.Params{DB: databasetest.SQLite(t).Open(t, auth.Migrations()), Keys: keys, Providers: providers,
		Options: auth.Options{Throttle: auth.ThrottleOptions{Disabled: true}}, Log: log.logger()})
	must(t, err)
	return house{s, log}
}

// begin sends somebody to GitHub and has them come back.
func (h house) begin(t testing.TB, provider string, g *authtest.GitHub) auth.Input {
	t.Helper()
	f, err := h.Begin(t.Context(), provider, auth.Input("{}"))
	must(t, err)
	return g.Back(t, f.RedirectURL)
}

func (h house) finish(ctx context.Context, provider string, in auth.Input) (auth.Identity, error) {
	return h.ValidateCallback(ctx, provider, in)
}

func (h house) mustSignIn(t testing.TB, provider string, g *authtest.GitHub) auth.Identity {
	t.Helper()
	found, err := h.finish(t.Context(), provider, h.begin(t, provider, g))
	if err != nil {
		t.Fatalf("sign in by %s: %v", provider, err)
	}
	return found
}

// nobody fails if there is an identity.
func (h house) nobody(t testing.TB) {
	t.Helper()
	found, err := h.ListAuthIdentities(t.Context(), auth.IdentityFilter{}, auth.Page{})
	if err != nil || len(found) > 0 {
		t.Errorf("identities %v, %v; want none", found, err)
	}
}

// logged is a log that can be read while it is written.
type logged struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.all.String()
}

func (l *logged) logger() *slog.Logger { return slog.New(slog.NewTextHandler(l, nil)) }

// silentAbout fails if a text holds one of the secrets.
func silentAbout(t testing.TB, where, text string, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		if s != "" && strings.Contains(text, s) {
			t.Errorf("%s repeats %.12q…: %s", where, s, text)
		}
	}
}

// eventually waits for what others do meanwhile.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for range 5000 {
		if is() {
			return
		}
		time.Sleep(2 * time.Millisecond)
	}
	t.Fatal("not after all this time: " + what)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
