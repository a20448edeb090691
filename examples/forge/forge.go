// Package forge lets people sign in with Forge, a code host in our own network that speaks OAuth 2.0.
package forge

import (
	"context"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/oauth"
)

// Provider is the provider, with its settings from the section auth.providers.forge.
type Provider struct {
	URL          string `config:"url,required,url"`
	ClientID     string `config:"client_id,required"`
	ClientSecret string `config:"client_secret,required"`
	TrustEmail   bool   `config:"trust_email"` // whether an address that Forge calls verified opens the account that has it

	client *oauth.Client
}

// New reads the settings. It asks nobody.
func New(s auth.Settings) (p *Provider, err error) {
	p = new(Provider)
	if err := s.Decode(p.Name(), p); err != nil {
		return nil, err
	}
	p.client, err = oauth.New(oauth.Config{AuthURL: p.URL + "/authorize", TokenURL: p.URL + "/token", PrivateAddresses: true,
		ClientID: p.ClientID, ClientSecret: p.ClientSecret, Scopes: []string{"profile", "email"}})
	return p, err
}

// Name is what configuration, URLs and rows call it.
func (*Provider) Name() string { return "forge" }

// Begin sends people to Forge.
func (p *Provider) Begin(_ context.Context, a auth.Attempt) (auth.Challenge, error) {
	return p.client.Begin(a)
}

// Finish asserts who comes back from there.
func (p *Provider) Finish(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	grant, err := p.client.Finish(ctx, a)
	if err != nil {
		return auth.Assertion{}, err
	}
	var who struct {
		ID       oauth.ID `json:"id"` // stays the person's; names and addresses change hands
		Name     string   `json:"name"`
		Email    string   `json:"email"`
		Verified bool     `json:"email_verified"`
	}
	if err := grant.Get(ctx, p.URL+"/userinfo", &who); err != nil {
		return auth.Assertion{}, err
	}
	return auth.Assertion{EntityID: string(who.ID), Profile: auth.Profile{
		Name: who.Name, Email: who.Email, EmailVerified: who.Verified && p.TrustEmail}}, nil
}
