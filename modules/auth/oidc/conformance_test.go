package oidc_test

import (
	"log/slog"
	"testing"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
)

func TestProvider(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	authtest.Provider(t, authtest.Case{
		New: func(t *testing.T) auth.Provider {
			return provider(t, "acme", of(issuer), slog.New(slog.DiscardHandler))
		},
		Back: issuer.Back,
		Bad: map[string]auth.Input{
			"forged code":    auth.Input(`{"code":"code-of-eve-0666"}`),
			"another issuer": auth.Input(`{"iss":"https://issuer-of-eve.example"}`),
			"code of spaces": auth.Input(`{"code":"code of eve 0666"}`),
		},
		Junk:    map[string]auth.Input{"an error as a list": auth.Input(`{"error":["access_denied"]}`)},
		Vouches: true,
		Unverified: func(t testing.TB, location string) auth.Input {
			return issuer.BackAs(t, location, authtest.Person{Subject: "eve-0666", Email: "ada@example.com"})
		},
	})
}
