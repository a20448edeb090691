// Package github lets people sign in with an account of GitHub, or of a GitHub Enterprise. That is OAuth 2.0 and not OpenID Connect: there is
// no ID token, and who somebody is says GitHub's API to whoever has the access token of a code. docs/social.md is for who sets it up.
//
// The entity id is the number of the account: a login can be changed, and then be taken by somebody else. That of a GitHub Enterprise
// has its address before it, because each counts anew. An address is believed if it is the primary one and verified there.
//
//	config.go   Config, and what it must be
//	github.go   the provider: to GitHub and back
//	api.go      what GitHub is asked for
//	health.go   whether it can be used at the moment
package github

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/oauth2"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/kernel/outward"
)

// TypeName is what a section says for type, and the name of a section that need not say it.
const TypeName = "github"

// scopes are what the person's names and addresses take, and no more.
const scopes = "read:user user:email"

// What GitHub may cost.
const (
	requestTimeout = 5 * time.Second
	maxAnswer      = 1 << 20 // bytes
	askedAtOnce    = 32      // requests; who comes beyond them waits, and counts it to the timeout
	maxCode        = 4 << 10 // bytes
)

var errEntity = fault.New(fault.Invalid, "identity_invalid", "An entity id of this provider is the number of an account at GitHub; of a GitHub Enterprise its address, # and the number.")

// Provider is GitHub, or one GitHub Enterprise. It is safe for concurrent use.
type Provider struct {
	id     string
	config Config
	client *http.Client
	log    *slog.Logger
	pace   pace
	health health
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
	return newProvider(id, c, log, nil)
}

func newProvider(id string, c Config, log *slog.Logger, known error) (*Provider, error) {
	c, roots, err := c.checked(id, known)
	if err != nil {
		return nil, err
	}
	client := outward.NewJSONClient(outward.JSONOptions{PrivateHosts: c.PrivateHosts, RootCAs: roots, Timeout: requestTimeout, MaxAnswer: maxAnswer, AtOnce: askedAtOnce})
	return &Provider{id: id, config: c, client: client, log: cmp.Or(log, slog.Default()).With("module", "auth", "provider", id), pace: usualPace}, nil
}

// Type makes a provider of each section that says type: github, or is called so.
func Type(log *slog.Logger) auth.ProviderType {
	return auth.ProviderType{Name: TypeName, New: func(id string, settings auth.Settings) (auth.Provider, error) {
		var c Config
		p, err := newProvider(id, c, log, settings.Decode(id, &c))
		if err != nil {
			return nil, err
		}
		return p, nil
	}}
}

// Name returns the provider's id.
func (p *Provider) Name() string { return p.id }

// DisplayName says how the provider is shown.
func (p *Provider) DisplayName() string { return cmp.Or(p.config.DisplayName, "GitHub") }

// Icon is the address of a picture, if there is one.
func (p *Provider) Icon() string { return p.config.Icon }

// String names the provider and nothing else: it holds the client secret.
func (p *Provider) String() string { return "provider " + p.id }

// GoString is String.
func (p *Provider) GoString() string { return p.String() }

// LogValue is String, for slog.
func (p *Provider) LogValue() slog.Value { return slog.StringValue(p.String()) }

// entityID is the entity id of an account.
func (p *Provider) entityID(number int64) string { return p.before() + strconv.FormatInt(number, 10) }

// before is what entity ids begin with.
func (p *Provider) before() string {
	if p.config.URL == publicURL {
		return ""
	}
	return p.config.URL + "#"
}

// CanonicalEntityID takes the entity ids of this GitHub as they are, and no others: no login.
func (p *Provider) CanonicalEntityID(entityID string) (string, error) {
	number, ok := strings.CutPrefix(entityID, p.before())
	if n, err := strconv.ParseInt(number, 10, 64); !ok || err != nil || n < 1 || p.entityID(n) != entityID {
		return "", errEntity
	}
	return entityID, nil
}

// kept is what lasts between the two steps.
type kept struct {
	Verifier string `json:"verifier"` // of PKCE
	Callback string `json:"callback"`
}

// Begin sends the caller to GitHub.
func (p *Provider) Begin(ctx context.Context, a auth.Attempt) (auth.Challenge, error) {
	k := kept{Verifier: oauth2.GenerateVerifier(), Callback: cmp.Or(a.CallbackURL, p.config.CallbackURL)}
	if k.Callback == "" {
		return auth.Challenge{}, fmt.Errorf("github: provider %s has no address to come back to: set auth.providers.%s.callback_url", p.id, p.id)
	}
	if err := p.usable(ctx); err != nil {
		return auth.Challenge{}, err
	}
	state, err := json.Marshal(k)
	if err != nil {
		return auth.Challenge{}, err
	}
	to := p.config.URL + "/login/oauth/authorize?" + url.Values{
		"response_type": {"code"}, "client_id": {p.config.ClientID}, "redirect_uri": {k.Callback}, "scope": {scopes}, "state": {a.FlowID},
		"code_challenge": {oauth2.S256ChallengeFromVerifier(k.Verifier)}, "code_challenge_method": {"S256"},
	}.Encode()
	return auth.Challenge{RedirectURL: to, State: state}, nil
}

// Finish asserts who comes back with a code that GitHub has given for what Begin asked.
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
	if err := json.Unmarshal(a.State, &k); err != nil || k.Verifier == "" {
		return auth.Assertion{}, auth.ErrInvalidCredentials // begun by another program, or before this one was configured anew
	}
	switch {
	case in.Issuer != nil && *in.Issuer != p.config.URL && !strings.HasPrefix(*in.Issuer, p.config.URL+"/"): // RFC 9207: an answer of somebody else
		return auth.Assertion{}, auth.ErrInvalidCredentials
	case in.Error != nil:
		return auth.Assertion{}, auth.ErrDeclined
	case in.Code == nil:
		return auth.Assertion{}, auth.ErrInput
	case !printable(*in.Code) || len(*in.Code) > maxCode:
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	token, err := p.exchange(ctx, k, *in.Code)
	if err != nil {
		return auth.Assertion{}, err
	}
	who, err := p.account(ctx, token)
	if err != nil {
		return auth.Assertion{}, err
	}
	all, err := p.addresses(ctx, token)
	if err != nil {
		return auth.Assertion{}, err
	}
	return auth.Assertion{EntityID: p.entityID(who.ID), Profile: p.profile(who, all)}, nil
}

// profile is what GitHub says of the person, and how far it is believed. The address of an account's public profile is only a
// claim, and often there is none.
func (p *Provider) profile(who account, all []address) auth.Profile {
	f := auth.Profile{Email: text(who.Email), Name: text(who.Name)}
	if at := slices.IndexFunc(all, func(a address) bool { return a.Primary }); at >= 0 {
		f.Email, f.EmailVerified = all[at].Email, all[at].Verified && p.trusts(all[at].Email)
	}
	if u, err := url.Parse(text(who.AvatarURL)); err == nil && u.Scheme == "https" && u.Host != "" {
		f.AvatarURL = u.String()
	}
	f.Metadata = map[string]any{}
	if _, err := auth.CanonicalEmail(f.Email); err == nil { // applications take what is there for an address
		f.Metadata["email"], f.Metadata["email_verified"] = f.Email, f.EmailVerified // as far as it is believed
	}
	for name, value := range map[string]string{"name": f.Name, "picture": f.AvatarURL, "login": text(who.Login)} {
		if value != "" && len(value) <= maxMetadata {
			f.Metadata[name] = value
		}
	}
	return f
}

// maxMetadata is how long a text of the user metadata may be: they travel in every access token.
const maxMetadata = 1 << 10

// trusts reports whether what GitHub says of an address counts.
func (p *Provider) trusts(said string) bool {
	canonical, err := auth.CanonicalEmail(said)
	return err == nil && (slices.Contains(p.config.TrustedDomains, domainOf(canonical)) || slices.Contains(p.config.TrustedDomains, anyDomain))
}
