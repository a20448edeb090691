package ldap

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/latchkey-go/latchkey/modules/auth"
)

// Config is a directory's section. The attributes are OpenLDAP's if they are empty; Active Directory wants username_attribute:
// sAMAccountName, id_attribute: objectGUID and filter: "(objectClass=user)".
type Config struct {
	URL    string `config:"url,required"` // ldaps://host, or ldap://host, which goes on by StartTLS or not at all
	BaseDN string `config:"base_dn"`      // below which people are; must be set, unless user_dn is

	// Who may search; empty: anybody may. Otherwise best as file:/run/secrets/name.
	BindDN       string `config:"bind_dn"`
	BindPassword string `config:"bind_password"`

	// UserDN is whom to bind as without a search before, such as uid={username},ou=people,dc=example,dc=com.
	UserDN string `config:"user_dn"`

	Filter             string `config:"filter"`               // who may sign in; (objectClass=person) if empty
	UsernameAttribute  string `config:"username_attribute"`   // uid
	IDAttribute        string `config:"id_attribute"`         // entryUUID: what never changes, and is never given to another
	EmailAttribute     string `config:"email_attribute"`      // mail
	NameAttribute      string `config:"name_attribute"`       // cn
	FirstNameAttribute string `config:"first_name_attribute"` // givenName
	LastNameAttribute  string `config:"last_name_attribute"`  // sn

	// TrustedDomains are those whose addresses the directory's word counts for: who has one there opens the account that has
	// the address. Name none unless the directory gives addresses out itself, and people cannot write their own.
	TrustedDomains []string `config:"trusted_domains"`

	CAFile      string        `config:"ca_file"` // who vouches for the directory's certificate; empty: whom the system trusts
	NoTLS       bool          `config:"no_tls"`  // for a directory on this machine alone
	Timeout     time.Duration `config:"timeout"` // of a sign-in; 5s if zero
	DisplayName string        `config:"display_name"`
}

const placeholder = "{username}"

// read returns the section.
func read(id string, s auth.Settings) (Config, error) {
	var c Config
	err := s.Decode(id, &c)
	return c, err
}

// checked fills the config in, and says all that is wrong with it at once.
func (c Config) checked(id string) (Config, dialer, error) {
	c.Filter = cmp.Or(c.Filter, "(objectClass=person)")
	for field, usual := range map[*string]string{
		&c.UsernameAttribute: "uid", &c.IDAttribute: "entryUUID", &c.EmailAttribute: "mail", &c.NameAttribute: "cn",
		&c.FirstNameAttribute: "givenName", &c.LastNameAttribute: "sn", &c.DisplayName: id,
	} {
		*field = cmp.Or(*field, usual)
	}
	c.Timeout = cmp.Or(c.Timeout, 5*time.Second)

	var errs []error
	wrong := func(key, what string) {
		errs = append(errs, &auth.SettingsError{Keys: []string{"auth.providers." + id + "." + key}, What: what})
	}
	at, err := url.Parse(c.URL)
	switch {
	case err != nil || at.Scheme != "ldap" && at.Scheme != "ldaps" || at.Hostname() == "" || at.User != nil || strings.Trim(at.Path, "/") != "" || at.RawQuery != "":
		wrong("url", "must be such as ldaps://ldap.example.com, and no more")
		at = new(url.URL)
	case c.NoTLS && (at.Scheme != "ldap" || !isLoopback(at.Hostname())):
		wrong("no_tls", "is only for ldap:// on this machine: everybody's password would travel in clear")
	}
	for key, dn := range map[string]string{"base_dn": c.BaseDN, "bind_dn": c.BindDN, "user_dn": strings.ReplaceAll(c.UserDN, placeholder, "x")} {
		if _, err := goldap.ParseDN(dn); err != nil {
			wrong(key, "must be a distinguished name, such as dc=example,dc=com")
		}
	}
	if c.BaseDN == "" && c.UserDN == "" {
		wrong("base_dn", "must be set")
	}
	if c.UserDN != "" && !strings.Contains(c.UserDN, placeholder) {
		wrong("user_dn", "must have "+placeholder+" in it: everybody would be the same")
	}
	if (c.BindDN == "") != (c.BindPassword == "") {
		wrong("bind_password", "must be set with bind_dn, and only then: without a password the directory would let anybody search, or nobody")
	}
	if _, err := goldap.CompileFilter(c.Filter); err != nil {
		wrong("filter", "must be a filter in brackets, such as (objectClass=person)")
	}
	if c.Timeout < 0 || c.Timeout > time.Minute {
		wrong("timeout", "must be at most 1m")
	}
	c.TrustedDomains = slices.Clone(c.TrustedDomains)
	for i, domain := range c.TrustedDomains {
		canonical, err := auth.CanonicalEmail("x@" + domain)
		if err != nil {
			wrong("trusted_domains", "must be names of domains, such as example.com")
		}
		c.TrustedDomains[i] = strings.TrimPrefix(canonical, "x@")
	}
	d := dialer{address: net.JoinHostPort(at.Hostname(), cmp.Or(at.Port(), map[string]string{"ldap": "389", "ldaps": "636"}[at.Scheme])), timeout: c.Timeout,
		tls: !c.NoTLS, upgrade: at.Scheme == "ldap", config: &tls.Config{MinVersion: tls.VersionTLS12, ServerName: at.Hostname()}}
	if c.CAFile != "" {
		pem, err := os.ReadFile(c.CAFile)
		d.config.RootCAs = x509.NewCertPool()
		if err != nil || !d.config.RootCAs.AppendCertsFromPEM(pem) {
			wrong("ca_file", "must be a file of certificates (PEM)")
		}
	}
	return c, d, errors.Join(errs...)
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}

// trusts reports whether the directory's word for an address counts.
func (c Config) trusts(address string) bool {
	canonical, err := auth.CanonicalEmail(address)
	if err != nil {
		return false
	}
	return slices.Contains(c.TrustedDomains, canonical[strings.LastIndexByte(canonical, '@')+1:])
}
