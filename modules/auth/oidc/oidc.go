// Package oidc lets people sign in with an OpenID Connect issuer: by the authorization code flow with PKCE. A provider is one
// issuer, and there can be any number of them, each with a section of its own (type: oidc); docs/oidc.md is for who writes it.
//
// The entity id is issuer and subject: never an address, which can change hands. The issuer's word that an address is
// verified counts for the domains alone that it is trusted with (Config.TrustedDomains), because whoever runs an issuer, or
// may write to its directory, could claim anybody's.
//
// An issuer that does not answer makes its own provider unavailable, and nothing else: it is asked by one at a time, for five
// seconds at most, and not again for a while after a failure. No transaction is open meanwhile.
//
//	config.go      Config, and what it must be
//	client.go      how the issuer is asked: public addresses, https, bounded
//	discovery.go   the issuer's document, and whether it can be used at the moment
//	keys.go        the issuer's keys, which change
//	token.go       what an ID token must be
//	profile.go     what is made of its claims
//	vendor.go      Vendor: what packages for a vendor may say otherwise
package oidc

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/oauth"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

// TypeName is what a section says for type.
const TypeName = "oidc"

var errEntity = fault.New(fault.Invalid, "identity_invalid", "An entity id of this provider is its issuer, # and the subject.")

// Provider is one issuer. It is safe for concurrent use.
type Provider struct {
	id        string
	config    Config
	vendor    Vendor
	client    *http.Client
	log       *slog.Logger
	pace      pace
	discovery discovery
}

var _ interface {
	auth.Challenger
	auth.Canonicalizer
	auth.Describer
	auth.Iconer
	auth.Reporter
	auth.Runner
} = (*Provider)(nil)

// New returns the provider of that id. It asks nobody. The error joins all that is wrong with the config, as
// *auth.SettingsError. A nil log is slog.Default.
func New(id string, c Config, log *slog.Logger) (*Provider, error) {
	return NewVendor(id, c, Vendor{}, log, nil)
}

// NewVendor is New for a package that knows a vendor's issuer. What that has found wrong itself, joined, is known: it is part of
// the error, and nothing more is said of the same settings.
func NewVendor(id string, c Config, v Vendor, log *slog.Logger, known error) (*Provider, error) {
	c.PrivateHosts, c.TrustedDomains = slices.Clone(c.PrivateHosts), slices.Clone(c.TrustedDomains)
	c, roots, err := c.checked(id, v, known)
	if err != nil {
		return nil, err
	}
	return &Provider{id: id, config: c, vendor: v, client: newClient(c, roots), log: cmp.Or(log, slog.Default()).With("module", "auth", "provider", id), pace: usualPace}, nil
}

// Type makes a provider of each section that says type: oidc.
func Type(log *slog.Logger) auth.ProviderType {
	return auth.ProviderType{Name: TypeName, New: func(id string, settings auth.Settings) (auth.Provider, error) {
		var c Config
		p, err := NewVendor(id, c, Vendor{}, log, settings.Decode(id, &c))
		if err != nil {
			return nil, err
		}
		return p, nil
	}}
}

// Name returns the provider's id.
func (p *Provider) Name() string { return p.id }

// DisplayName says how the provider is shown.
func (p *Provider) DisplayName() string { return cmp.Or(p.config.DisplayName, p.id) }

// Icon is the address of a picture, if there is one.
func (p *Provider) Icon() string { return p.config.Icon }

// String names the provider and nothing else: it holds the client secret.
func (p *Provider) String() string { return "provider " + p.id }

// GoString is String.
func (p *Provider) GoString() string { return p.String() }

// LogValue is String, for slog.
func (p *Provider) LogValue() slog.Value { return slog.StringValue(p.String()) }

// EntityID is the entity id of a subject of an issuer. An issuer has no #, so there is one way to take it apart.
func EntityID(issuer, subject string) string { return issuer + "#" + subject }

// CanonicalEntityID takes the entity ids of this issuer as they are, and no others.
func (p *Provider) CanonicalEntityID(entityID string) (string, error) {
	if issuer, subject, ok := strings.Cut(entityID, "#"); !ok || !isSubject(subject) || p.issuerOf(issuer) != issuer {
		return "", errEntity
	}
	return entityID, nil
}

// isSubject reports whether a text can be a subject: OpenID Connect allows 255 characters of ASCII.
func isSubject(s string) bool { return len(s) <= 255 && printable(s) && strings.TrimSpace(s) != "" }

// kept is what lasts between the two steps.
type kept struct {
	Nonce    string `json:"nonce"`
	Verifier string `json:"verifier"` // of PKCE
	Callback string `json:"callback"`
}

// Begin sends the caller to the issuer.
func (p *Provider) Begin(ctx context.Context, a auth.Attempt) (auth.Challenge, error) {
	k := kept{Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(), Callback: cmp.Or(a.CallbackURL, p.config.CallbackURL)}
	if k.Callback == "" {
		return auth.Challenge{}, fmt.Errorf("oidc: provider %s has no address to come back to: set auth.providers.%s.callback_url", p.id, p.id)
	}
	m, err := p.current(ctx)
	if err != nil {
		return auth.Challenge{}, err
	}
	state, err := json.Marshal(k)
	if err != nil {
		return auth.Challenge{}, err
	}
	with := []oauth2.AuthCodeOption{gooidc.Nonce(k.Nonce), oauth2.S256ChallengeOption(k.Verifier)}
	if len(p.config.ACRValues) > 0 {
		with = append(with, oauth2.SetAuthURLParam("acr_values", strings.Join(p.config.ACRValues, " ")))
	}
	for name, value := range p.vendor.Parameters {
		with = append(with, oauth2.SetAuthURLParam(name, value))
	}
	if p.config.MaxAge > 0 {
		with = append(with, oauth2.SetAuthURLParam("max_age", strconv.Itoa(int(p.config.MaxAge/time.Second))))
	}
	return auth.Challenge{RedirectURL: m.at(k.Callback).AuthCodeURL(a.FlowID, with...), State: state}, nil
}

// at is the client with an address to come back to.
func (m *metadata) at(callback string) *oauth2.Config {
	c := m.oauth
	c.RedirectURL = callback
	return &c
}

// Finish asserts who comes back with a code that the issuer has given for what Begin asked.
func (p *Provider) Finish(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	var in struct {
		Code   *string `json:"code"`
		Issuer *string `json:"iss"`
		Error  *string `json:"error"`
	}
	if err := a.Input.Decode(&in); err != nil {
		return auth.Assertion{}, err
	}
	var k kept
	if err := json.Unmarshal(a.State, &k); err != nil || k.Nonce == "" || k.Verifier == "" {
		return auth.Assertion{}, auth.ErrInvalidCredentials // begun by another program, or before this one was configured anew
	}
	m, err := p.remembered(ctx)
	if err != nil {
		return auth.Assertion{}, err
	}
	switch {
	case in.Issuer != nil && p.issuerOf(*in.Issuer) == "", in.Issuer == nil && m.namesItself: // RFC 9207: an answer of another issuer
		return auth.Assertion{}, auth.ErrInvalidCredentials
	case in.Error != nil:
		return auth.Assertion{}, auth.ErrDeclined
	case in.Code == nil:
		return auth.Assertion{}, auth.ErrInput
	case !printable(*in.Code) || len(*in.Code) > maxCode:
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	claims, err := p.prove(ctx, m, k, *in.Code)
	if err != nil {
		return auth.Assertion{}, err
	}
	issuer := p.issuerOf(text(claims, "iss"))
	if in.Issuer != nil && p.issuerOf(*in.Issuer) != issuer {
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	if p.vendor.Admit != nil {
		if err := p.vendor.Admit(claims); err != nil {
			return auth.Assertion{}, err
		}
	}
	return auth.Assertion{EntityID: EntityID(issuer, text(claims, "sub")), Profile: p.profile(claims)}, nil
}

// maxCode is how long an authorization code may be, in bytes.
const maxCode = 4 << 10

// prove exchanges the code and returns the claims of who it stands for.
func (p *Provider) prove(ctx context.Context, m *metadata, k kept, code string) (map[string]any, error) {
	tokens, err := p.exchange(ctx, m, k, code)
	if err != nil {
		return nil, err
	}
	claims, err := p.verify(ctx, m, k, tokens)
	if err != nil {
		return nil, err
	}
	if m.userinfo == "" || p.vendor.NoUserinfo || !p.lacks(claims) {
		return claims, nil
	}
	more, err := p.get(ctx, m.userinfo, tokens.AccessToken)
	if err != nil {
		return nil, p.failed(ctx, "userinfo", err)
	}
	if text(more, "sub") != text(claims, "sub") {
		return nil, fmt.Errorf("oidc: userinfo of provider %s is of another subject than the ID token", p.id)
	}
	return merged(claims, more), nil
}

// exchange gets tokens for a code.
func (p *Provider) exchange(ctx context.Context, m *metadata, k kept, code string) (*oauth2.Token, error) {
	tokens, err := m.at(k.Callback).Exchange(gooidc.ClientContext(ctx, p.client), code, oauth2.VerifierOption(k.Verifier))
	if err == nil {
		return tokens, nil
	}
	var answer *oauth2.RetrieveError // whose text repeats all that came back
	var asking *url.Error
	switch {
	case errors.As(err, &answer) && answer.ErrorCode == "invalid_grant": // a code that is none, was used, or is of another client or flow
		return nil, auth.ErrInvalidCredentials
	case errors.As(err, &answer):
		err = fmt.Errorf("%w: status %d", errAnswer, answer.Response.StatusCode)
		if said := oauth.Refusal(answer.ErrorCode, answer.ErrorDescription, p.config.ClientSecret, code, k.Verifier); said != "" {
			err = fmt.Errorf("%w, %s", err, said)
		}
	case errors.As(err, &asking):
		err = why(err)
	default:
		err = fmt.Errorf("%w: no tokens", errAnswer)
	}
	return nil, p.failed(ctx, "token endpoint", err)
}

// failed is the answer to who meets with an issuer that fails: it does not answer, or not as it should.
func (p *Provider) failed(ctx context.Context, endpoint string, err error) error {
	if ctx.Err() != nil {
		return ctx.Err() // it is the caller who has gone
	}
	p.failing(endpoint, err)
	return auth.ErrProviderUnavailable
}

// failing notes that the issuer fails.
func (p *Provider) failing(endpoint string, err error) {
	p.log.Warn("somebody could not sign in, because the issuer fails", "endpoint", endpoint, "error", err)
	p.suspect()
}
