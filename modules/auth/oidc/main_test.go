package oidc_test

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
	"github.com/latchkey-go/latchkey/modules/auth/oidc"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

func TestMain(m *testing.M) { databasetest.Main(m) }

const callback = "https://app.example.com/auth/user/acme/callback"

// of is the config for an issuer of a test, which is at a loopback address.
func of(i *authtest.Issuer) oidc.Config {
	return oidc.Config{Issuer: i.URL(), ClientID: i.ClientID(), ClientSecret: i.ClientSecret(), CallbackURL: callback,
		PrivateHosts: []string{"127.0.0.1"}, TrustedDomains: []string{"example.com"}}
}

// provider makes a provider that waits for nothing for long.
func provider(t testing.TB, id string, c oidc.Config, log *slog.Logger) *oidc.Provider {
	t.Helper()
	p, err := oidc.New(id, c, log)
	if err != nil {
		t.Fatal(err)
	}
	p.Hurry(5 * time.Second)
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
	if err != nil {
		t.Fatal(err)
	}
	log := new(logged)
	s, err := auth.New(auth.Params{DB: databasetest.SQLite(t).Open(t, auth.Migrations()), Keys: keys, Providers: providers,
		Options: auth.Options{Throttle: auth.ThrottleOptions{Disabled: true}},
		Log:     slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	return house{s, log}
}

// begin sends somebody to the issuer of a provider.
func (h house) begin(t testing.TB, provider string) auth.Flow {
	t.Helper()
	f, err := h.Begin(t.Context(), provider, auth.Input("{}"))
	if err != nil {
		t.Fatalf("begin at %s: %v", provider, err)
	}
	return f
}

// visit is what somebody comes back with.
func visit(t testing.TB, i *authtest.Issuer, location string) url.Values {
	t.Helper()
	c, err := i.Visit(location)
	if err != nil {
		t.Fatal(err)
	}
	return c.Values
}

func input(values url.Values) auth.Input {
	object := map[string]string{}
	for name := range values {
		object[name] = values.Get(name)
	}
	in, _ := json.Marshal(object)
	return in
}

func (h house) finish(ctx context.Context, provider string, values url.Values) (auth.Identity, error) {
	return h.ValidateCallback(ctx, provider, input(values))
}

// signIn is all of a sign-in.
func (h house) signIn(t testing.TB, provider string, i *authtest.Issuer) (auth.Identity, error) {
	t.Helper()
	return h.finish(t.Context(), provider, visit(t, i, h.begin(t, provider).RedirectURL))
}

func (h house) mustSignIn(t testing.TB, provider string, i *authtest.Issuer) auth.Identity {
	t.Helper()
	found, err := h.signIn(t, provider, i)
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
