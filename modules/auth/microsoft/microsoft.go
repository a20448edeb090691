// Package microsoft lets people sign in with an account of an organization at Microsoft (Entra ID, once Azure AD), or with a personal
// one: OpenID Connect, with what Microsoft does otherwise. docs/social.md is for who sets it up.
//
// The address in a token is no proof of anything. Whoever administers a tenant, which anybody can make, writes any address into an account
// of it; applications that let people in by it gave their accounts away ("nOAuth"). It is believed only if Microsoft says that the
// owner of its domain is verified (xms_edov), or if the operator trusts the one tenant that may sign in with the domain; never
// otherwise.
//
// The entity id is issuer and subject, as with every issuer of OpenID Connect, and the issuer is that of the person's tenant: it is always there,
// and tells nobody else who they are. oid and tid would outlive a new registration of the application, so they are kept as user metadata.
package microsoft

import (
	"cmp"
	"encoding/json"
	"errors"
	"log/slog"
	"regexp"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/oidc"
	"github.com/latchkey-go/latchkey/modules/kernel/outward"
)

// TypeName is what a section says for type, and the name of a section that need not say it.
const TypeName = "microsoft"

// Who may sign in, beside the people of one tenant.
const (
	common        = "common"        // anybody with an account at Microsoft
	organizations = "organizations" // people of tenants
	consumers     = "consumers"     // people with a personal account

	personal  = "9188040d-6c67-4c5b-b112-36a304b66dad" // the tenant of all personal accounts
	authority = "https://login.microsoftonline.com"
	everybody = "*"
)

// Config is the settings of a section auth.providers.<id> with type: microsoft. docs/social.md explains each. Tenant, ClientID and
// ClientSecret must be set.
type Config struct {
	Tenant         string   `config:"tenant"`          // the id of a tenant, common, organizations or consumers
	AllowedTenants []string `config:"allowed_tenants"` // with common and organizations: whose people may sign in; "*": anybody's

	ClientID     string `config:"client_id"`
	ClientSecret string `config:"client_secret"`
	CallbackURL  string `config:"callback_url"` // where people come back to if the attempt does not say

	DisplayName string `config:"display_name"` // Microsoft if empty
	Icon        string `config:"icon"`         // the address of a picture

	// TrustedDomains are the domains of which an address is believed: of a member of the one tenant that Tenant names, or with
	// xms_edov. "*": any, but with xms_edov alone. None: nobody's.
	TrustedDomains []string `config:"trusted_domains"`

	MetadataClaims []string `config:"metadata_claims"` // further claims, beside tid and oid, that are kept as user metadata
	Authority      string   `config:"authority"`       // of a national cloud; https://login.microsoftonline.com if empty

	// PrivateHosts is for tests: where an imitation of Microsoft may be. A section cannot set it.
	PrivateHosts []string `config:"-"`
}

// String names the client and nothing else: a config holds a secret.
func (c Config) String() string { return "microsoft " + c.ClientID }

// GoString is String.
func (c Config) GoString() string { return c.String() }

// LogValue is String, for slog.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// New returns the provider of that id. It asks nobody. The error joins all that is wrong with the config, as
// *auth.SettingsError. A nil log is slog.Default.
func New(id string, c Config, log *slog.Logger) (*oidc.Provider, error) {
	return newProvider(id, c, log, nil)
}

// Type makes a provider of each section that says type: microsoft, or is called so.
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
	c, faults := c.checked(id)
	path := c.Authority + "/{tenantid}/v2.0"
	of := oidc.Config{
		Issuer: path, ClientID: c.ClientID, ClientSecret: c.ClientSecret, CallbackURL: c.CallbackURL,
		DisplayName: cmp.Or(c.DisplayName, "Microsoft"), Icon: c.Icon, TrustedDomains: c.TrustedDomains, PrivateHosts: c.PrivateHosts,
		MetadataClaims: append([]string{"tid", "oid"}, c.MetadataClaims...),
	}
	if one := c.oneTenant(); one != "" {
		of.Issuer = strings.Replace(path, "{tenantid}", one, 1)
	}
	v := oidc.Vendor{
		Document:    strings.Replace(path, "{tenantid}", c.Tenant, 1),
		TenantClaim: "tid", TenantIssuer: path,
		NoUserinfo: true, // Microsoft's adds nothing to the ID token
		Admit:      c.admit, Verified: c.verified,
	}
	if len(c.AllowedTenants) > 0 && c.AllowedTenants[0] != everybody {
		v.Parameters = map[string]string{"prompt": "select_account"} // who is refused wants to choose another
	}
	return oidc.NewVendor(id, of, v, log, errors.Join(known, faults))
}

var guid = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// checked is the config with its defaults, and what is wrong with it that package oidc does not know.
func (c Config) checked(id string) (Config, error) {
	var errs []error
	wrong := func(name, what string) {
		errs = append(errs, &auth.SettingsError{Keys: []string{"auth.providers." + id + "." + name}, What: what})
	}
	if c.ClientSecret == "" {
		wrong("client_secret", "must be set to a secret of the application's registration at Microsoft")
	}
	if c.Authority = strings.TrimSuffix(cmp.Or(c.Authority, authority), "/"); outward.CheckURL(c.Authority, outward.Options{PrivateAddresses: c.PrivateHosts != nil}) != nil || strings.Count(c.Authority, "/") != 2 || strings.ContainsAny(c.Authority, "?{}") {
		wrong("authority", "must be https:// and a host, such as https://login.microsoftonline.us")
		c.Authority = authority
	}
	c.Tenant, c.AllowedTenants = strings.ToLower(c.Tenant), slices.Clone(c.AllowedTenants)
	for i, tenant := range c.AllowedTenants {
		c.AllowedTenants[i] = strings.ToLower(tenant)
	}
	switch {
	case c.Tenant == common || c.Tenant == organizations:
		if len(c.AllowedTenants) == 0 {
			wrong("allowed_tenants", `must list the ids of the tenants whose people may sign in, or be ["*"]: then anybody can who has an account at Microsoft`)
		} else if !slices.Equal(c.AllowedTenants, []string{everybody}) && slices.ContainsFunc(c.AllowedTenants, func(t string) bool { return !guid.MatchString(t) }) {
			wrong("allowed_tenants", "must be ids of tenants, such as aaaabbbb-0000-cccc-1111-dddd2222eeee, or * alone")
		}
	case c.Tenant == consumers || guid.MatchString(c.Tenant):
		if len(c.AllowedTenants) > 0 {
			wrong("allowed_tenants", "must be left out, because tenant lets in the people of one already")
		}
	default:
		wrong("tenant", "must be set to the id of a tenant, such as aaaabbbb-0000-cccc-1111-dddd2222eeee (no name of it, which can change hands), or to common, organizations or consumers")
		c.Tenant = common
	}
	return c, errors.Join(errs...)
}

// oneTenant is the id of the one tenant whose people may sign in; empty: there are more.
func (c Config) oneTenant() string {
	switch c.Tenant {
	case common, organizations:
		return ""
	case consumers:
		return personal
	}
	return c.Tenant
}

var errElsewhere = auth.ErrInvalidCredentials.Msg("This Microsoft account is of no organization that signs in here. Choose another account.")

// admit looks at the tenant, which is that of the issuer, as package oidc has seen.
func (c Config) admit(claims map[string]any) error {
	tenant, _ := claims["tid"].(string)
	switch {
	case c.oneTenant() != "":
		return nil // its issuer is the only one
	case c.Tenant == organizations && tenant == personal:
		return errElsewhere
	case slices.Contains(c.AllowedTenants, tenant), slices.Equal(c.AllowedTenants, []string{everybody}):
		return nil
	}
	return errElsewhere
}

// verified reports whether the address is more than what somebody wrote into an account.
func (c Config) verified(claims map[string]any) bool {
	if is(claims["xms_edov"]) {
		return true
	}
	one := c.oneTenant()
	return one != "" && one != personal && !slices.Contains(c.TrustedDomains, everybody) && !guest(claims)
}

// guest reports whether somebody's account is at home elsewhere: what it says of them is not the tenant's word.
func guest(claims map[string]any) bool {
	return is(claims["acct"]) || claims["idp"] != nil && claims["idp"] != claims["iss"]
}

// is reports whether a claim is true, in the ways in which Microsoft writes that.
func is(claim any) bool {
	return claim == true || claim == "true" || claim == "1" || claim == json.Number("1")
}
