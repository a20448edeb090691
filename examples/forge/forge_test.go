package forge_test

import (
	"testing"

	"github.com/latchkey-go/latchkey/examples/forge"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
)

// ada is as Forge tells of her.
var ada = authtest.Person{Subject: "ada", Email: "ada@example.com", EmailVerified: true, Name: "Ada Lovelace", Claims: map[string]any{"id": 1815}}

func TestProvider(t *testing.T) {
	server := authtest.NewIssuer(t, authtest.IssuerOptions{OAuth: true})
	server.SignIn(ada)
	authtest.Provider(t, authtest.Case{
		New: func(t *testing.T) auth.Provider {
			p, err := forge.New(auth.Settings{"forge": {"url": server.URL(), "client_id": server.ClientID(), "client_secret": server.ClientSecret(), "trust_email": true}})
			if err != nil {
				t.Fatal(err)
			}
			return p
		},
		Back:    server.Back,
		Bad:     map[string]auth.Input{"forged code": auth.Input(`{"code":"code-of-eve-0666"}`)},
		Vouches: true,
		Unverified: func(t testing.TB, location string) auth.Input { // who claims Ada's address, and has not proved it
			return server.BackAs(t, location, authtest.Person{Subject: "eve", Email: "ada@example.com", Claims: map[string]any{"id": 666}})
		},
	})
}
