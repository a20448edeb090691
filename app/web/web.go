// Package web is what the two front ends, the API and the pages, have in common: the session cookie, where a request comes
// from, protection from other sites, and what every answer and every log line carries.
//
//	web.go      Site: configuration, cookie, client address
//	redirect.go what a browser keeps between two steps of a sign-in, and where it may be sent
//	wrap.go     Site.Wrap: request id, headers, CORS, cross-origin protection, panics, access log
package web

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
)

// DefaultPages is where the pages of package console are unless a program says otherwise.
const DefaultPages = "/app"

// Options say where the site is and whom it trusts. The zero value is a site on plain http that trusts nobody.
type Options struct {
	PublicURL      string         // as browsers see it: scheme and host, without a path
	TrustedProxies []netip.Prefix // whose X-Forwarded-For is believed
	CORSOrigins    []string       // other origins whose scripts may call the API with the cookie, each exactly as browsers send it
}

// Site is one deployment as browsers see it. It is safe for concurrent use.
type Site struct {
	options Options
	secure  bool
	guard   *http.CrossOriginProtection
}

// New returns the site. It fails for a public URL or an origin that no browser would send.
func New(o Options) (*Site, error) {
	s := &Site{options: o, guard: http.NewCrossOriginProtection()}
	s.options.PublicURL = strings.TrimSuffix(o.PublicURL, "/")
	s.secure = strings.HasPrefix(s.options.PublicURL, "https://")
	if s.options.PublicURL != "" {
		if err := s.trust(s.options.PublicURL); err != nil {
			return nil, fmt.Errorf("web: public URL: %w", err)
		}
	}
	for _, origin := range o.CORSOrigins {
		if err := s.trust(origin); err != nil {
			return nil, fmt.Errorf("web: CORS origin: %w", err)
		}
	}
	return s, nil
}

// Alone is the site to nobody but itself: no script of another origin reads what it answers, or acts with the cookie.
func (s *Site) Alone() *Site {
	o := s.options
	o.CORSOrigins = nil
	alone, err := New(o)
	if err != nil {
		panic(err) // it was let in before, and more
	}
	return alone
}

// trust lets requests from the origin act with the cookie. One that no browser writes so would never match.
func (s *Site) trust(origin string) error {
	if !IsOrigin(origin) {
		return fmt.Errorf("%q is no origin as browsers write it: http:// or https://, a host in lower case, a port if it is not the usual one", origin)
	}
	return s.guard.AddTrustedOrigin(origin)
}

// IsOrigin reports whether s is an origin exactly as browsers write it (RFC 6454, 6.2): nothing else compares equal.
func IsOrigin(s string) bool {
	u, err := url.Parse(s)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || !host.MatchString(u.Host) {
		return false
	}
	switch port := u.Port(); u.Scheme + ":" + port {
	case "http:", "https:":
	case "http:80", "https:443":
		return false
	default:
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
			return false
		}
	}
	return s == u.Scheme+"://"+u.Host
}

// host is a name, in ASCII, or an address, and perhaps a port.
var host = regexp.MustCompile(`^([a-z0-9_-]+(\.[a-z0-9_-]+)*\.?|\[[0-9a-f:.]+\])(:[0-9]+)?$`)

// URL is the address of a path of the site, for links that leave it. It never depends on what a request says.
func (s *Site) URL(path string) string { return s.options.PublicURL + path }

// Loopback reports whether the public URL leads nowhere but to the machine of whoever opens it. Without one nobody knows who
// comes here by which name, and it does not.
func (s *Site) Loopback() bool {
	u, err := url.Parse(s.options.PublicURL)
	if err != nil {
		return false
	}
	addr, err := netip.ParseAddr(u.Hostname())
	return u.Hostname() == "localhost" || err == nil && addr.Unmap().IsLoopback()
}

// cookieName binds the cookie to this host and to https where there is https (RFC 6265bis, 4.1.3.2).
func (s *Site) cookieName() string {
	if s.secure {
		return "__Host-latchkey"
	}
	return "latchkey"
}

// Cookie returns the session secret that the request carries; empty if it carries none.
func (s *Site) Cookie(r *http.Request) string {
	c, err := r.Cookie(s.cookieName())
	if err != nil {
		return ""
	}
	return c.Value
}

// SetCookie has the browser keep the session secret until the session expires.
func (s *Site) SetCookie(w http.ResponseWriter, secret string, expires time.Time) {
	http.SetCookie(w, s.cookie(secret, expires))
}

// ClearCookie has the browser forget the session secret.
func (s *Site) ClearCookie(w http.ResponseWriter) {
	http.SetCookie(w, s.cookie("", time.Unix(0, 0)))
}

func (s *Site) cookie(value string, expires time.Time) *http.Cookie {
	return &http.Cookie{ //nolint:gosec // Secure wherever there is https
		Name: s.cookieName(), Value: value, Path: "/", Expires: expires.UTC(),
		HttpOnly: true, Secure: s.secure, SameSite: http.SameSiteLaxMode,
	}
}

// Client says where a request comes from. X-Forwarded-For is read from the right, as far as trusted proxies wrote it. If
// nobody is trusted, a peer on this machine may be a proxy, and everybody.
func (s *Site) Client(r *http.Request) auth.Client {
	c := auth.Client{UserAgent: r.UserAgent(), IP: s.address(r)}
	if addr, err := netip.ParseAddr(c.IP); err != nil || addr.Unmap().IsLoopback() {
		c.Shared = len(s.options.TrustedProxies) == 0
	}
	if known, err := r.Cookie(s.deviceName()); err == nil {
		c.Device = known.Value
	}
	return c
}

// deviceName is the name of the cookie that makes a device known to the accounts that have signed in with it.
func (s *Site) deviceName() string { return s.cookieName() + "-device" }

// SetDevice has the browser keep what makes it known: a token of auth.Service.DeviceToken.
func (s *Site) SetDevice(w http.ResponseWriter, token string) {
	c := s.cookie(token, time.Now().Add(auth.DeviceTTL))
	c.Name = s.deviceName()
	http.SetCookie(w, c)
}

// flashName is the name of the cookie that carries what the next page says once.
func (s *Site) flashName() string { return s.cookieName() + "-flash" }

// flashTTL is how long a browser keeps what the next page is to say.
const flashTTL = time.Minute

// SetFlash has the browser keep what the next page says once; empty: nothing any more. It is no secret, and nothing that comes
// back may be trusted.
func (s *Site) SetFlash(w http.ResponseWriter, value string) {
	until := time.Now().Add(flashTTL)
	if value == "" {
		until = time.Unix(0, 0)
	}
	c := s.cookie(value, until)
	c.Name = s.flashName()
	http.SetCookie(w, c)
}

// Flash returns what SetFlash had the browser keep; empty: nothing.
func (s *Site) Flash(r *http.Request) string {
	c, err := r.Cookie(s.flashName())
	if err != nil {
		return ""
	}
	return c.Value
}

func (s *Site) address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		host = r.RemoteAddr
	}
	if !s.trusted(host) {
		return host
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for i := len(hops) - 1; i >= 0; i-- {
		hop, err := netip.ParseAddr(strings.TrimSpace(hops[i]))
		if err != nil {
			return host // whoever wrote this wrote no address: believe nothing to the left of it
		}
		if host = hop.Unmap().String(); !s.trusted(host) {
			return host
		}
	}
	return host
}

func (s *Site) trusted(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	for _, p := range s.options.TrustedProxies {
		if p.Contains(addr.Unmap()) {
			return true
		}
	}
	return false
}
