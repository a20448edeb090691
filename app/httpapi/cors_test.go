package httpapi_test

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/app/web"
)

const (
	listed  = "https://shop.example.com"
	foreign = "https://evil.example.com"
)

func TestPreflightAllowsListedOriginsAndNoOthers(t *testing.T) {
	eachWith(t, settings{site: web.Options{CORSOrigins: []string{listed, "http://localhost:8000"}}}, func(t *testing.T, s *server) {
		for _, c := range []struct {
			origin  string
			allowed bool
		}{
			{listed, true}, {"http://localhost:8000", true},
			{foreign, false}, {"null", false}, {"http://shop.example.com", false}, {"https://shop.example.com:8443", false}, {"https://shop.example.com.evil.example", false},
			{"https://SHOP.example.com", false}, {"https://shop.example.com/", false}, {"http://localhost", false}, {"*", false}, {s.URL, false},
		} {
			for _, path := range []string{"/auth/user/emailpass", "/auth/session", "/admin/users", "/admin/nowhere", "/nowhere"} {
				a := s.do(t, "OPTIONS", path, "", "Origin: "+c.origin, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,content-type,x-medusa-locale")
				if a.status != 204 || a.body != "" {
					t.Errorf("preflight of %s from %s: %d %s, want 204", path, c.origin, a.status, a.body)
				}
				want := map[string]string{"Access-Control-Allow-Origin": "", "Access-Control-Allow-Credentials": "", "Access-Control-Allow-Methods": "", "Access-Control-Allow-Headers": ""}
				if c.allowed {
					want = map[string]string{
						"Access-Control-Allow-Origin": c.origin, "Access-Control-Allow-Credentials": "true",
						"Access-Control-Allow-Methods": "GET,HEAD,PUT,PATCH,POST,DELETE", "Access-Control-Allow-Headers": "authorization,content-type,x-medusa-locale",
					}
				}
				for name, value := range want {
					if got := a.header.Get(name); got != value {
						t.Errorf("preflight of %s from %s: %s %q, want %q", path, c.origin, name, got, value)
					}
				}
				vary := a.header.Values("Vary")
				if !slices.Contains(vary, "Origin") || c.allowed && !slices.Contains(vary, "Access-Control-Request-Headers") {
					t.Errorf("preflight of %s from %s: Vary %v", path, c.origin, vary)
				}
			}
		}
	})
}

func TestAnswersAreReadableByListedOriginsOnly(t *testing.T) {
	eachWith(t, settings{site: web.Options{CORSOrigins: []string{listed}}}, func(t *testing.T, s *server) {
		token := s.member(t, "ada@example.com")
		for origin, want := range map[string]string{listed: listed, foreign: "", "null": "", "": ""} {
			for _, do := range []string{"GET /admin/users/me", "GET /admin/users", "GET /nowhere", "POST /auth/token/refresh", "PUT /auth/session", "POST /auth/user/emailpass/register"} {
				method, path, _ := strings.Cut(do, " ")
				headers := []string{bearer(token)}
				if origin != "" {
					headers = append(headers, "Origin: "+origin)
				}
				a := s.do(t, method, path, "", headers...)
				credentials := map[bool]string{true: "true"}[want != ""]
				if a.header.Get("Access-Control-Allow-Origin") != want || a.header.Get("Access-Control-Allow-Credentials") != credentials || a.header.Get("Vary") != "Origin" {
					t.Errorf("%s from %q: %d, allows %q with credentials %q, Vary %q; want %q", do, origin, a.status,
						a.header.Get("Access-Control-Allow-Origin"), a.header.Get("Access-Control-Allow-Credentials"), a.header.Get("Vary"), want)
				}
				if exposed := a.header.Get("Access-Control-Expose-Headers"); (want != "") != strings.Contains(exposed, "Retry-After") {
					t.Errorf("%s from %q exposes %q", do, origin, exposed)
				}
			}
		}
	})
}

// The cookie travels by itself, so what it does must come from the site's own pages or a listed origin. A token does not,
// and who sends neither may be a browser that is made to sign in as somebody else.
func TestAnotherSiteCannotActWithTheCookie(t *testing.T) {
	const secure = "https://id.example.com"
	eachWith(t, settings{site: web.Options{PublicURL: secure, CORSOrigins: []string{listed}}}, func(t *testing.T, s *server) {
		token := s.member(t, "ada@example.com")
		cookie := s.openCookie(t, token)
		other := s.member(t, "bob@example.com")
		sources := []struct {
			name    string
			headers []string
			own     bool
		}{
			{"a program", nil, true},
			{"the site itself", []string{"Sec-Fetch-Site: same-origin", "Origin: " + secure}, true},
			{"the site itself in an old browser", []string{"Origin: " + secure}, true},
			{"the address that is served", []string{"Origin: " + s.URL}, true},
			{"the user", []string{"Sec-Fetch-Site: none"}, true},
			{"a listed origin", []string{"Sec-Fetch-Site: cross-site", "Origin: " + listed}, true},
			{"another site", []string{"Sec-Fetch-Site: cross-site", "Origin: " + foreign}, false},
			{"another site without origin", []string{"Sec-Fetch-Site: cross-site"}, false},
			{"a neighbour", []string{"Sec-Fetch-Site: same-site", "Origin: https://blog.example.com"}, false},
			{"another site in an old browser", []string{"Origin: " + foreign}, false},
			{"a sandboxed frame", []string{"Origin: null"}, false},
			{"a sandboxed frame in a new browser", []string{"Origin: null", "Sec-Fetch-Site: cross-site"}, false},
			{"a listed origin by another scheme", []string{"Origin: http://shop.example.com"}, false},
		}
		refused := `{"type":"forbidden","message":"This request comes from another site. List its origin in http.cors_origins to allow it.","reason":"cross_origin"}`
		for _, from := range sources {
			for _, c := range []struct {
				do, body   string
				credential []string
				want       int // where it may come from there
				guarded    bool
			}{
				{"POST /auth/token/refresh", "", []string{cookie}, 200, true},
				{"POST /admin/invites", `{"email":"x@example.com"}`, []string{cookie}, 403, true},
				{"DELETE /auth/session", "", []string{"Cookie: __Host-latchkey=nonsense"}, 401, true},
				{"POST /auth/session", "", []string{cookie, bearer(token)}, 200, true},
				{"POST /auth/user/emailpass", credentials("ada@example.com", password), []string{"Authorization: Basic eDp5"}, 200, true}, // which a browser sends by itself
				{"POST /auth/user/emailpass", credentials("ada@example.com", password), nil, 200, true},
				{"POST /auth/user/emailpass/register", credentials("new@example.com", password), nil, 200, true},
				{"POST /auth/user/emailpass", credentials("ada@example.com", password), []string{cookie}, 200, true},
				{"GET /admin/users/me", "", []string{cookie}, 200, false},
				{"POST /auth/token/refresh", "", []string{bearer(other)}, 200, false},
				{"POST /admin/invites", `{"email":"x@example.com"}`, []string{bearer(other)}, 403, false},
				{"GET /auth/user/providers", "", nil, 200, false},
			} {
				method, path, _ := strings.Cut(c.do, " ")
				a := s.do(t, method, path, c.body, append(slices.Clone(from.headers), c.credential...)...)
				want := c.want
				if c.guarded && !from.own {
					want = 403
					if a.body != refused {
						t.Errorf("%s from %s: %s, want %s", c.do, from.name, a.body, refused)
					}
					if a.header.Get("Set-Cookie") != "" {
						t.Errorf("%s from %s sets a cookie", c.do, from.name)
					}
				}
				if a.status != want {
					t.Errorf("%s with %d credentials from %s: %d %s, want %d", c.do, len(c.credential), from.name, a.status, a.body, want)
				}
			}
		}
		if !s.alive(t, cookie) {
			t.Error("the cookie is dead")
		}
	})
}

// A form needs no preflight, so no route may read one.
func TestAFormFromAnywhereDoesNothing(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		cookie := s.openCookie(t, s.admin(t, "admin@example.com"))
		for _, media := range []string{"application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "text/plain"} {
			if a := s.do(t, "POST", "/admin/invites", `{"email":"x@example.com"}`, cookie, "Content-Type: "+media); a.status != 415 {
				t.Errorf("%s: %d %s, want 415", media, a.status, a.body)
			}
		}
		if n := s.count(t, "invite"); n != 0 {
			t.Errorf("%d invites, want none", n)
		}
	})
}

func TestSessionsKnowTheAddressThatTrustedProxiesVouchFor(t *testing.T) {
	loopback := netip.MustParsePrefix("127.0.0.0/8")
	inner := netip.MustParsePrefix("10.0.0.0/8")
	for name, c := range map[string]struct {
		trusted   []netip.Prefix
		forwarded []string
		want      string
	}{
		"nobody is trusted":                {nil, []string{"203.0.113.7"}, "127.0.0.1"},
		"somebody else is trusted":         {[]netip.Prefix{inner}, []string{"203.0.113.7"}, "127.0.0.1"},
		"no proxy wrote anything":          {[]netip.Prefix{loopback}, nil, "127.0.0.1"},
		"one proxy":                        {[]netip.Prefix{loopback}, []string{"203.0.113.7"}, "203.0.113.7"},
		"the caller wrote something first": {[]netip.Prefix{loopback}, []string{"198.51.100.1, 203.0.113.7"}, "203.0.113.7"},
		"in a header of its own":           {[]netip.Prefix{loopback}, []string{"198.51.100.1", "203.0.113.7"}, "203.0.113.7"},
		"two proxies":                      {[]netip.Prefix{loopback, inner}, []string{"198.51.100.1, 203.0.113.7, 10.1.2.3"}, "203.0.113.7"},
		"two proxies, one not trusted":     {[]netip.Prefix{loopback}, []string{"203.0.113.7, 10.1.2.3"}, "10.1.2.3"},
		"IPv6":                             {[]netip.Prefix{loopback}, []string{"2001:db8::1"}, "2001:db8::1"},
		"IPv4 in IPv6":                     {[]netip.Prefix{loopback, inner}, []string{"203.0.113.7, ::ffff:10.1.2.3"}, "203.0.113.7"},
		"nonsense":                         {[]netip.Prefix{loopback}, []string{"203.0.113.7, <script>"}, "127.0.0.1"},
		"empty":                            {[]netip.Prefix{loopback}, []string{""}, "127.0.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			eachWith(t, settings{site: web.Options{TrustedProxies: c.trusted}}, func(t *testing.T, s *server) {
				req, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/auth/user/emailpass/register", strings.NewReader(credentials("ada@example.com", password)))
				check(t, err)
				req.Header = http.Header{"Content-Type": {"application/json"}, "X-Forwarded-For": c.forwarded, "User-Agent": {"browser of a test"},
					"X-Real-Ip": {"192.0.2.1"}, "Forwarded": {"for=192.0.2.2"}}
				rsp, err := s.Client().Do(req)
				check(t, err)
				rsp.Body.Close()
				var ip, agent string
				check(t, s.db.Conn(t.Context()).NewSelect().TableExpr("latchkey_auth_session").Column("ip", "user_agent").Scan(t.Context(), &ip, &agent))
				if ip != c.want || agent != "browser of a test" {
					t.Errorf("the session is from %s by %q, want %s", ip, agent, c.want)
				}
				if !strings.Contains(s.log.String(), `"ip":"`+c.want+`"`) {
					t.Errorf("the log says %s, want %s", s.log, c.want)
				}
			})
		})
	}
}
