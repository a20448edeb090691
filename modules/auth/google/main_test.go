package google_test

import (
	"bytes"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
	"github.com/latchkey-go/latchkey/modules/auth/google"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

func TestMain(m *testing.M) { databasetest.Main(m) }

const callback = "https://app.example.com/auth/user/google/callback"

// provider makes one that speaks to an imitation.
func provider(t testing.TB, c google.Config, log *slog.Logger) auth.Provider {
	t.Helper()
	p, err := google.New("google", c, log)
	must(t, err)
	return p
}

// house is an auth service with a provider, and what was logged.
type house struct {
	*auth.Service
	log *logged
}

func newHouse(t testing.TB, c google.Config) house {
	t.Helper()
	keys, err := keyring.New(make([]byte, keyring.MinSecret))
	must(t, err)
	log := new(logged)
	s, err := auth.New(auth.Params{DB: databasetest.SQLite(t).Open(t, auth.Migrations()), Keys: keys, Log: slog.New(slog.NewTextHandler(log, nil)),
		Providers: []auth.Provider{provider(t, c, slog.New(slog.NewTextHandler(log, nil)))}, Options: auth.Options{Throttle: auth.ThrottleOptions{Disabled: true}}})
	must(t, err)
	return house{s, log}
}

// signIn has somebody go to the issuer and come back, with further values.
func (h house) signIn(t testing.TB, i *authtest.Issuer, more ...string) (auth.Identity, error) {
	t.Helper()
	f, err := h.Begin(t.Context(), "google", auth.Input("{}"))
	must(t, err)
	back, err := i.Visit(f.RedirectURL)
	must(t, err)
	for n := 0; n < len(more); n += 2 {
		back.Values.Set(more[n], more[n+1])
	}
	return h.ValidateCallback(t.Context(), "google", back.Input())
}

func (h house) mustSignIn(t testing.TB, i *authtest.Issuer, more ...string) auth.Identity {
	t.Helper()
	found, err := h.signIn(t, i, more...)
	if err != nil {
		t.Fatalf("sign in: %v, log %s", err, h.log)
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

// silentAbout fails if a text holds one of the secrets.
func silentAbout(t testing.TB, where, text string, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		if strings.Contains(text, s) {
			t.Errorf("%s repeats %.12q…: %s", where, s, text)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
