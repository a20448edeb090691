package oidc_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"net/url"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
	"github.com/latchkey-go/latchkey/modules/auth/oidc"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/secrettest"
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

type house struct{ authtest.Service }

func newHouse(t testing.TB, providers ...auth.Provider) house {
	t.Helper()
	return house{authtest.NewService(t, new(secrettest.Log), providers...)}
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
