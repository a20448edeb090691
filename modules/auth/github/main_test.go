package github_test

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
	"github.com/latchkey-go/latchkey/modules/auth/github"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/secrettest"
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

type house struct{ authtest.Service }

func newHouse(t testing.TB, providers ...auth.Provider) house {
	t.Helper()
	return house{authtest.NewService(t, new(secrettest.Log), providers...)}
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
