package oidc

import (
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/outward"
)

// Config is one issuer's settings, as in a section auth.providers.<id> with type: oidc. docs/oidc.md explains each. Issuer and
// ClientID must be set.
type Config struct {
	Issuer       string `config:"issuer"` // exactly as it stands in the issuer's own documents
	ClientID     string `config:"client_id"`
	ClientSecret string `config:"client_secret"` // empty: a public client, which PKCE alone protects
	CallbackURL  string `config:"callback_url"`  // where people come back to if the attempt does not say

	DisplayName string   `config:"display_name"` // the provider's id if empty
	Icon        string   `config:"icon"`         // the address of a picture
	Scopes      []string `config:"scopes"`       // openid, email and profile if empty

	// TrustedDomains are the domains of which the issuer's word that an address is verified counts. None: it never does. "*": any.
	TrustedDomains []string `config:"trusted_domains"`

	Algorithms []string      `config:"algorithms"` // of ID tokens; empty: what the issuer announces, but never none or HS256
	ACRValues  []string      `config:"acr_values"` // one of these must come back as acr
	MaxAge     time.Duration `config:"max_age"`    // how long ago people may have proved themselves to the issuer; zero: any time

	// The claims that Profile is taken from; empty: name, given_name, family_name and picture.
	ClaimName      string   `config:"claim_name"`
	ClaimFirstName string   `config:"claim_first_name"`
	ClaimLastName  string   `config:"claim_last_name"`
	ClaimPicture   string   `config:"claim_picture"`
	MetadataClaims []string `config:"metadata_claims"` // further claims that are kept as user metadata

	// PrivateHosts are the hosts that may be at addresses which are not public, and be asked by http://. None: no host.
	PrivateHosts []string `config:"private_hosts"`
	CAFile       string   `config:"ca_file"` // who else may vouch for the issuer's hosts; empty: whom the system trusts
}

// String names the issuer and nothing else: a config holds a secret.
func (c Config) String() string { return "issuer " + c.Issuer }

// GoString is String.
func (c Config) GoString() string { return c.String() }

// LogValue is String, for slog.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// algorithms that may sign an ID token. With HS256 whoever knows the client secret signs for anybody; none is no signature.
var algorithms = []string{"RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"}

const (
	maxIssuer = 512
	anyDomain = "*"
	maxMaxAge = 365 * 24 * time.Hour
)

// checked is the config with its defaults, and who vouches for the issuer's hosts; or all that is wrong with it, but for the
// settings that are known to be wrong already.
func (c Config) checked(id string, v Vendor, known error) (Config, *x509.CertPool, error) {
	errs := []error{known}
	said := map[string]bool{}
	for _, e := range auth.SettingsErrors(known) {
		for _, key := range e.Keys {
			said[key] = true
		}
	}
	wrong := func(name, what string, args ...any) {
		if key := "auth.providers." + id + "." + name; !said[key] {
			said[key] = true
			errs = append(errs, &auth.SettingsError{Keys: []string{key}, What: fmt.Sprintf(what, args...)})
		}
	}

	for i, host := range c.PrivateHosts {
		if c.PrivateHosts[i] = strings.ToLower(host); host == "" || strings.ContainsAny(host, "/:*@ ") && !strings.Contains(host, "::") {
			wrong("private_hosts", "must be names of hosts or IP addresses, without scheme, port and path, such as localhost")
		}
	}
	if c.Issuer == "" {
		wrong("issuer", "must be set to the issuer's address, such as https://accounts.example.com")
	} else if what := c.checkIssuer(v); what != "" {
		wrong("issuer", "%s", what)
	}
	if c.ClientID == "" || !printable(c.ClientID) {
		wrong("client_id", "must be set to what the issuer calls this application")
	}
	if c.ClientSecret != strings.TrimSpace(c.ClientSecret) || c.ClientSecret != "" && !printable(c.ClientSecret) {
		wrong("client_secret", "must be one line without blanks around it, or be left out for a public client")
	}
	if c.CallbackURL != "" {
		if u, err := url.Parse(c.CallbackURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.Fragment != "" {
			wrong("callback_url", "must be a whole address without a fragment, as it is registered at the issuer")
		}
	}
	if c.Icon != "" && !isPicture(c.Icon) {
		wrong("icon", "must be an https:// address, or a path that begins with one /")
	}
	if len(c.Scopes) == 0 {
		c.Scopes = []string{"openid", "email", "profile"}
	}
	if !slices.Contains(c.Scopes, "openid") {
		wrong("scopes", "must have openid among them")
	}
	for _, list := range []struct {
		name   string
		values []string
	}{{"scopes", c.Scopes}, {"acr_values", c.ACRValues}, {"metadata_claims", c.MetadataClaims}} {
		if slices.ContainsFunc(list.values, func(v string) bool { return !printable(v) || strings.Contains(v, " ") }) {
			wrong(list.name, "must be words without blanks")
		}
	}
	for i, domain := range c.TrustedDomains {
		canonical, err := auth.CanonicalEmail("somebody@" + domain)
		switch {
		case domain == anyDomain && len(c.TrustedDomains) > 1:
			wrong("trusted_domains", "must be * alone or domains, not both")
		case domain != anyDomain && err != nil:
			wrong("trusted_domains", "must be domains such as example.com, or * for an issuer that everybody's addresses may be trusted to")
		case domain != anyDomain:
			c.TrustedDomains[i] = domainOf(canonical)
		}
	}
	if slices.ContainsFunc(c.Algorithms, func(a string) bool { return !slices.Contains(algorithms, a) }) {
		wrong("algorithms", "must be among %s", strings.Join(algorithms, ", "))
	}
	if c.MaxAge < 0 || c.MaxAge > maxMaxAge || c.MaxAge%time.Second != 0 {
		wrong("max_age", "must be whole seconds up to a year, such as 12h, or 0")
	}
	for name, claim := range map[string]*string{"name": &c.ClaimName, "given_name": &c.ClaimFirstName, "family_name": &c.ClaimLastName, "picture": &c.ClaimPicture} {
		if *claim == "" {
			*claim = name
		}
	}
	roots, what := outward.Roots(c.CAFile)
	if what != "" {
		wrong("ca_file", "%s", what)
	}
	return c, roots, errors.Join(errs...)
}

// checkIssuer says what is wrong with the issuer, or "".
func (c Config) checkIssuer(v Vendor) string {
	if len(c.Issuer) > maxIssuer {
		return fmt.Sprintf("must be at most %d bytes", maxIssuer)
	}
	if err := c.checkURL(c.Issuer); err != nil {
		return err.Error()
	}
	if v.TenantClaim == "" && strings.ContainsAny(c.Issuer, "{}") {
		return "must be one issuer, without a placeholder"
	}
	if strings.ContainsAny(c.Issuer, "?#") {
		return "must not have a query or a fragment"
	}
	if strings.HasSuffix(c.Issuer, "/.well-known/openid-configuration") {
		return "must be the issuer, not its document: leave /.well-known/openid-configuration out"
	}
	return ""
}

// checkURL says what is wrong with an address that the issuer's documents name, or that is the issuer.
func (c Config) checkURL(address string) error {
	u, err := url.Parse(address)
	return outward.CheckURL(address, outward.Options{PrivateAddresses: err == nil && c.isPrivate(u.Hostname())})
}

// isPrivate reports whether a host may be at an address that is not public.
func (c Config) isPrivate(host string) bool {
	return slices.Contains(c.PrivateHosts, strings.ToLower(host))
}

// printable reports whether a text is visible ASCII and blanks, as OAuth's parameters are.
func printable(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' })
}

// isPicture reports whether a page may show what is at the address: it is ours, or comes by https.
func isPicture(address string) bool {
	u, err := url.Parse(address)
	return err == nil && (u.Scheme == "https" && u.Host != "" || u.Scheme == "" && u.Host == "" && strings.HasPrefix(address, "/") && !strings.HasPrefix(address, "//") && !strings.Contains(address, `\`))
}

func domainOf(address string) string { return address[strings.LastIndexByte(address, '@')+1:] }
