package authtest

import (
	"testing"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/kernel/secrettest"
)

// Service is an auth service for tests of a provider beyond Provider, and what it has logged.
type Service struct {
	*auth.Service
	Log *secrettest.Log
}

// NewService makes one with the providers, on a database of its own, that counts no failures. It logs to the log, which the
// providers may share.
func NewService(tb testing.TB, log *secrettest.Log, providers ...auth.Provider) Service {
	tb.Helper()
	keys, err := keyring.New(make([]byte, keyring.MinSecret))
	if err != nil {
		tb.Fatal(err)
	}
	s, err := auth.New(auth.Params{DB: databasetest.SQLite(tb).Open(tb, auth.Migrations()), Keys: keys, Providers: providers,
		Options: auth.Options{Throttle: auth.ThrottleOptions{Disabled: true}}, Log: log.Logger()})
	if err != nil {
		tb.Fatal(err)
	}
	return Service{s, log}
}

// SignIn has somebody go to the issuer and come back to the provider, with further values in pairs of name and value.
func (s Service) SignIn(tb testing.TB, provider string, i *Issuer, more ...string) (auth.Identity, error) {
	tb.Helper()
	f, err := s.Begin(tb.Context(), provider, auth.Input("{}"))
	if err != nil {
		tb.Fatalf("begin at %s: %v", provider, err)
	}
	back, err := i.Visit(f.RedirectURL)
	if err != nil {
		tb.Fatal(err)
	}
	for n := 0; n < len(more); n += 2 {
		back.Values.Set(more[n], more[n+1])
	}
	return s.ValidateCallback(tb.Context(), provider, back.Input())
}

// MustSignIn is SignIn, and fails the test where that does.
func (s Service) MustSignIn(tb testing.TB, provider string, i *Issuer, more ...string) auth.Identity {
	tb.Helper()
	found, err := s.SignIn(tb, provider, i, more...)
	if err != nil {
		tb.Fatalf("sign in by %s: %v, log %s", provider, err, s.Log)
	}
	return found
}

// WantNobody fails the test if there is an identity.
func (s Service) WantNobody(tb testing.TB) {
	tb.Helper()
	found, err := s.ListAuthIdentities(tb.Context(), auth.IdentityFilter{}, auth.Page{})
	if err != nil || len(found) > 0 {
		tb.Errorf("identities %v, %v; want none", found, err)
	}
}
