// Package google lets people sign in with a Google account: OpenID Connect, with what Google does otherwise. docs/social.md is
// for who sets it up.
//
// Google says email_verified of any address that somebody once proved to it, also of one at another company, which may have changed hands
// since. It is believed only where Google itself speaks for the mailbox: addresses of gmail.com, and those of accounts of an
// organization whose domain Google has seen proved, which have the claim hd.
package google

import (
	"cmp"
	"errors"
	"log/slog"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/oidc"
)

// TypeName is what a section says for type, and the name of a section that need not say it.
const TypeName = "google"

const (
	issuer    = "https://accounts.google.com"
	issuerOld = "accounts.google.com" // tokens may spell it so
	gmail     = "gmail.com"
	anyDomain = "*"
)

// Config is the settings of a section auth.providers.<id> with type: google. docs/social.md explains each. ClientID and
// ClientSecret must be set.
type Config struct {
	ClientID     string `config:"client_id"`
	ClientSecret string `config:"client_secret"`
	CallbackURL  string `config:"callback_url"` // where people come back to if the attempt does not say

	DisplayName string `config:"display_name"` // Google if empty
	Icon        string `config:"icon"`         // the address of a picture

	// HostedDomains are the organizations at Google whose accounts may sign in, by their domain. None: any account. "*": those
	// of any organization.
	HostedDomains []string `config:"hosted_domains"`

	// TrustedDomains narrow down of which domains Google's word counts. nil: of all that it speaks for. Empty: of none.
	TrustedDomains []string `config:"trusted_domains"`

	MetadataClaims []string `config:"metadata_claims"` // further claims that are kept as user metadata

	// Issuer and PrivateHosts are for tests: where an imitation of Google is. A section cannot set them.
	Issuer       string   `config:"-"`
	PrivateHosts []string `config:"-"`
}

// String names the client and nothing else: a config holds a secret.
func (c Config) String() string { return "google " + c.ClientID }

// GoString is String.
func (c Config) GoString() string { return c.String() }

// LogValue is String, for slog.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// New returns the provider of that id. It asks nobody. The error joins all that is wrong with the config, as
// *auth.SettingsError. A nil log is slog.Default.
func New(id string, c Config, log *slog.Logger) (*oidc.Provider, error) {
	return newProvider(id, c, log, nil)
}

// Type makes a provider of each section that says type: google, or is called so.
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

func newProvider(id string, c Config, log *slog.Logger, known error) (*oidc.Provider, error) {
	errs := []error{known}
	wrong := func(name, what string) {
		errs = append(errs, &auth.SettingsError{Keys: []string{"auth.providers." + id + "." + name}, What: what})
	}
	if c.ClientSecret == "" {
		wrong("client_secret", "must be set: Google gives one to every web application")
	}
	hosted := slices.Clone(c.HostedDomains)
	for i, domain := range hosted {
		if domain == anyDomain && len(hosted) == 1 {
			break
		}
		address, err := auth.CanonicalEmail("somebody@" + domain)
		if err != nil {
			wrong("hosted_domains", "must be domains such as example.com, or * alone for any organization's")
			break
		}
		hosted[i] = domainOf(address)
	}
	trusted := c.TrustedDomains
	if trusted == nil {
		trusted = []string{anyDomain}
	}
	v := oidc.Vendor{Spellings: []string{issuerOld}, Admit: admit(hosted), Verified: verified}
	if len(hosted) > 0 {
		v.Parameters = map[string]string{"hd": anyDomain, "prompt": "select_account"} // who is refused wants to choose another
	}
	if len(hosted) == 1 { // it takes one, or all
		v.Parameters["hd"] = hosted[0]
	}
	return oidc.NewVendor(id, oidc.Config{
		Issuer: cmp.Or(c.Issuer, issuer), ClientID: c.ClientID, ClientSecret: c.ClientSecret, CallbackURL: c.CallbackURL,
		DisplayName: cmp.Or(c.DisplayName, "Google"), Icon: c.Icon, TrustedDomains: trusted, MetadataClaims: c.MetadataClaims, PrivateHosts: c.PrivateHosts,
	}, v, log, errors.Join(errs...))
}

var errElsewhere = auth.ErrInvalidCredentials.Msg("This Google account is of no organization that signs in here. Choose the account of your organization.")

// admit looks at the organization in the token: the parameter hd is only what the page at Google shows, and people can change it.
func admit(hosted []string) func(map[string]any) error {
	if len(hosted) == 0 {
		return nil
	}
	return func(claims map[string]any) error {
		hd, _ := claims["hd"].(string)
		if hd == "" || hosted[0] != anyDomain && !slices.Contains(hosted, strings.ToLower(hd)) {
			return errElsewhere
		}
		return nil
	}
}

// verified reports whether the address is verified, and one that Google speaks for.
func verified(claims map[string]any) bool {
	if claims["email_verified"] != true && claims["email_verified"] != "true" {
		return false
	}
	said, _ := claims["email"].(string)
	address, err := auth.CanonicalEmail(said)
	hd, _ := claims["hd"].(string)
	return err == nil && (domainOf(address) == gmail || hd != "")
}

func domainOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }
