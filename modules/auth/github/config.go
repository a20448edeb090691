package github

import (
	"crypto/x509"
	"errors"
	"log/slog"
	"net/url"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/outward"
)

const (
	publicURL = "https://github.com"
	cloudHost = ".ghe.com" // of GitHub Enterprise Cloud with data residency, whose API is at a host of its own
	anyDomain = "*"
)

// Config is the settings of a section auth.providers.<id> with type: github. docs/social.md explains each. ClientID and
// ClientSecret must be set.
type Config struct {
	ClientID     string `config:"client_id"`
	ClientSecret string `config:"client_secret"`
	CallbackURL  string `config:"callback_url"` // where people come back to if the attempt does not say

	DisplayName string `config:"display_name"` // GitHub if empty
	Icon        string `config:"icon"`         // the address of a picture

	URL string `config:"url"` // of a GitHub Enterprise; https://github.com if empty

	// TrustedDomains are the domains of which a primary, verified address is believed; "*": any. None: nobody's. GitHub mails a
	// link once, and does not say when; at a GitHub Enterprise administrators write addresses.
	TrustedDomains []string `config:"trusted_domains"`

	// PrivateHosts are the hosts that may be at addresses which are not public, and be asked by http://. None: no host.
	PrivateHosts []string `config:"private_hosts"`
	CAFile       string   `config:"ca_file"` // who else may vouch for the host; empty: whom the system trusts
}

// String names the client and nothing else: a config holds a secret.
func (c Config) String() string { return "github " + c.ClientID }

// GoString is String.
func (c Config) GoString() string { return c.String() }

// LogValue is String, for slog.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// checked is the config with its defaults, and who vouches for hosts; or all that is wrong with it, but for the settings that
// are known to be wrong already.
func (c Config) checked(id string, known error) (Config, *x509.CertPool, error) {
	errs, said := []error{known}, map[string]bool{}
	for _, e := range auth.SettingsErrors(known) {
		for _, key := range e.Keys {
			said[key] = true
		}
	}
	wrong := func(name, what string) {
		if key := "auth.providers." + id + "." + name; !said[key] {
			errs = append(errs, &auth.SettingsError{Keys: []string{key}, What: what})
		}
	}
	if c.ClientID == "" || !printable(c.ClientID) {
		wrong("client_id", "must be set to the client id of the OAuth app at GitHub")
	}
	if !printable(c.ClientSecret) || c.ClientSecret != strings.TrimSpace(c.ClientSecret) {
		wrong("client_secret", "must be set to a client secret of the OAuth app at GitHub: one line without blanks around it")
	}
	if c.CallbackURL != "" {
		if u, err := url.Parse(c.CallbackURL); err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != "http" || u.Fragment != "" {
			wrong("callback_url", "must be a whole address without a fragment, as it is registered at GitHub")
		}
	}
	if c.Icon != "" && !isPicture(c.Icon) {
		wrong("icon", "must be an https:// address, or a path that begins with one /")
	}
	c.PrivateHosts = slices.Clone(c.PrivateHosts)
	for i, host := range c.PrivateHosts {
		if c.PrivateHosts[i] = strings.ToLower(host); host == "" || strings.ContainsAny(host, "/:*@ ") && !strings.Contains(host, "::") {
			wrong("private_hosts", "must be names of hosts or IP addresses, without scheme, port and path, such as github.corp.example")
			break
		}
	}
	if c.URL = strings.TrimSuffix(c.URL, "/"); c.URL == "" {
		c.URL = publicURL
	}
	u, err := url.Parse(c.URL)
	if outward.CheckURL(c.URL, outward.Options{PrivateAddresses: err == nil && slices.Contains(c.PrivateHosts, strings.ToLower(u.Hostname()))}) != nil || u.Path != "" || u.RawQuery != "" || strings.HasSuffix(c.URL, "?") {
		wrong("url", "must be https:// and the host of a GitHub Enterprise, such as https://github.corp.example, that is public or one of private_hosts")
	} else {
		c.URL = u.Scheme + "://" + strings.ToLower(u.Host)
	}
	c.TrustedDomains = slices.Clone(c.TrustedDomains)
	for i, domain := range c.TrustedDomains {
		if domain == anyDomain && len(c.TrustedDomains) == 1 {
			break
		}
		address, err := auth.CanonicalEmail("somebody@" + domain)
		if err != nil {
			wrong("trusted_domains", "must be domains such as example.com, or * alone for all that are verified at GitHub")
			break
		}
		c.TrustedDomains[i] = domainOf(address)
	}
	roots, what := outward.Roots(c.CAFile)
	if what != "" {
		wrong("ca_file", what)
	}
	return c, roots, errors.Join(errs...)
}

// api is where the API is.
func (c Config) api() string {
	switch host, _ := strings.CutPrefix(c.URL, "https://"); {
	case c.URL == publicURL, host != c.URL && strings.HasSuffix(host, cloudHost):
		return "https://api." + host
	}
	return c.URL + "/api/v3"
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
