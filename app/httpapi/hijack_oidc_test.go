package httpapi_test

import (
	"context"
	"crypto/rand"
	"sync"
	"testing"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
	"github.com/latchkey-go/latchkey/modules/auth/oidc"
)

// byOIDC is the stage where both of the federated providers are issuers of OpenID Connect: what the scripts have people say of
// themselves their issuer says of them, in an ID token. One issuer is trusted with every domain, the other with its own.
const byOIDC = "oidc"

// byIssuer is a provider of package oidc, with both of its steps and the browser's way between them in one.
type byIssuer struct {
	*oidc.Provider
	issuer *authtest.Issuer
	turn   sync.Mutex // the issuer signs in whoever was named last
}

func newByIssuer(t testing.TB, id string, trusted ...string) *byIssuer {
	t.Helper()
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{Path: "/" + id})
	p, err := oidc.New(id, oidc.Config{Issuer: issuer.URL(), ClientID: issuer.ClientID(), ClientSecret: issuer.ClientSecret(), Scopes: []string{"openid", "email"},
		CallbackURL: "https://app.example.com/back", PrivateHosts: []string{"127.0.0.1"}, TrustedDomains: trusted}, nil)
	check(t, err)
	return &byIssuer{Provider: p, issuer: issuer}
}

func (b *byIssuer) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
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
	b.turn.Lock()
	defer b.turn.Unlock()
	b.issuer.SignIn(authtest.Person{Subject: in.Name, Email: in.Email, EmailVerified: in.Verified})
	challenge, err := b.Begin(ctx, auth.Attempt{FlowID: rand.Text()})
	if err != nil {
		return auth.Assertion{}, err
	}
	back, err := b.issuer.Visit(challenge.RedirectURL)
	if err != nil {
		return auth.Assertion{}, err
	}
	return b.Finish(ctx, auth.Attempt{Input: back.Input(), State: challenge.State})
}

// entityAt is how a provider knows somebody of that name.
func (s *server) entityAt(provider, name string) string {
	if by := s.issuers[provider]; by != nil {
		return oidc.EntityID(by.issuer.URL(), name)
	}
	return name
}
