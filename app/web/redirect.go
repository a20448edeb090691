package web

import (
	"crypto/rand"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"time"
)

// flowName is the name of the cookie that tells the browser in which a sign-in of two steps was begun.
func (s *Site) flowName() string { return s.cookieName() + "-flow" }

// flowSecret is what FlowSecret makes: 130 random bits.
var flowSecret = regexp.MustCompile(`^[A-Z2-7]{26}$`)

// Flow returns the secret that the browser keeps while it signs in by two steps; empty if it keeps none. A browser that has
// sent another cookie of ours could have kept it: kept says whether there is any.
func (s *Site) Flow(r *http.Request) (secret string, kept bool) {
	for _, name := range []string{s.flowName(), s.cookieName(), s.deviceName()} {
		if c, err := r.Cookie(name); err == nil {
			if kept = true; name == s.flowName() && flowSecret.MatchString(c.Value) {
				secret = c.Value
			}
		}
	}
	return secret, kept
}

// FlowSecret returns the secret that the browser keeps or, if it keeps none, is to keep: see SetFlow. One that it keeps already
// stays, so that of two sign-ins in one browser neither breaks the other, and nobody fills it with cookies.
func (s *Site) FlowSecret(r *http.Request) string {
	if secret, _ := s.Flow(r); secret != "" {
		return secret
	}
	return rand.Text()
}

// SetFlow has the browser keep the secret until then.
func (s *Site) SetFlow(w http.ResponseWriter, secret string, until time.Time) {
	c := s.cookie(secret, until)
	c.Name = s.flowName()
	http.SetCookie(w, c)
}

// FromOtherSite reports whether a browser sends the request from a site that is not listed, whatever its method: for a GET that
// does something.
func (s *Site) FromOtherSite(r *http.Request) bool {
	acting := *r
	acting.Method = http.MethodPost // http.CrossOriginProtection lets every GET pass
	return s.guard.Check(&acting) != nil
}

// Embedded reports whether a browser asks for what is to be part of a page, or to be there in case somebody wants it: nobody has
// followed a link. A browser that does not say it (Fetch Metadata) is taken to have followed one.
func Embedded(r *http.Request) bool {
	mode, dest := r.Header.Get("Sec-Fetch-Mode"), r.Header.Get("Sec-Fetch-Dest")
	return mode != "" && mode != "navigate" || dest != "" && dest != "document" || strings.Contains(r.Header.Get("Sec-Purpose"), "prefetch")
}

// maxLocal is the most bytes of a local path, query included.
const maxLocal = 2048

// plainPath is a path of parts without signs that any reader of URLs takes for another: no empty part, no dots alone, nothing
// encoded but what cannot be written otherwise, no backslash.
var plainPath = regexp.MustCompile(`^(/[A-Za-z0-9._~!$&'()*+,;=:@%-]+)*/?$`)

// IsLocal reports whether s is a path of this site, perhaps with query and fragment, as every reader of URLs sees it, whether by
// RFC 3986 or as browsers do: where to send somebody on whose address bar a stranger may have written it. It does not lead to
// routes that begin or finish a sign-in, which would go round in circles.
func IsLocal(s string) bool {
	if len(s) > maxLocal || !strings.HasPrefix(s, "/") {
		return false
	}
	for _, c := range []byte(s) { // browsers drop tabs and newlines, and take \ for /
		if c <= ' ' || c >= 0x7f || c == '\\' {
			return false
		}
	}
	at := s
	if i := strings.IndexAny(at, "?#"); i >= 0 {
		at = at[:i]
	}
	if at == "" || !plainPath.MatchString(at) {
		return false
	}
	u, err := url.Parse(s)
	if err != nil || u.Scheme != "" || u.Opaque != "" || u.Host != "" || u.User != nil {
		return false
	}
	for _, c := range []byte(u.Path) {
		if c < ' ' || c == 0x7f || c == '\\' || c == '%' { // as the next reader may decode it once more
			return false
		}
	}
	if strings.Contains(strings.ToLower(at), "%2f") {
		return false
	}
	if clean := path.Clean(u.Path); clean != u.Path && clean+"/" != u.Path {
		return false
	}
	return u.Path != "/auth" && !strings.HasPrefix(strings.ToLower(u.Path), "/auth/")
}

// IsCallbackURL reports whether s can be one that a provider sends people back to: an origin as IsOrigin has it and a path, without
// user, fragment, and a query of names that the answer has.
func IsCallbackURL(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.User != nil || u.Fragment != "" || strings.Contains(s, "#") || u.Opaque != "" || !IsOrigin(u.Scheme+"://"+u.Host) {
		return false
	}
	for _, c := range []byte(s) {
		if c <= ' ' || c >= 0x7f || c == '\\' || c == '*' || c == ',' {
			return false
		}
	}
	q, err := url.ParseQuery(u.RawQuery)
	if err != nil || q.Has("code") || q.Has("state") || q.Has("error") || q.Has("iss") {
		return false
	}
	return u.String() == s
}
