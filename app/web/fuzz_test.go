package web_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/app/web"
)

// A token is read from a header of the scheme Bearer alone, and as it is written there.
func FuzzBearer(f *testing.F) {
	for _, header := range []string{"", "Bearer", "Bearer ", "Bearer a", "bearer a.b.c", "BEARER  a", "Basic YTpi", "Bearer\ta", "Bearer a b", " Bearer a", "Bearera", "Bearer a, Bearer b", "\x00", "ſearer a"} {
		f.Add(header)
	}
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header["Authorization"] = []string{header}
		token, ok := web.Bearer(r)
		if !ok {
			return
		}
		scheme := strings.TrimSuffix(header, " "+token)
		if token == "" || scheme+" "+token != header || len(scheme) != len("Bearer") || !strings.EqualFold(scheme, "Bearer") {
			t.Errorf("%q gives %q", header, token)
		}
	})
}

// What counts as an origin is a scheme, a host and perhaps a port, as browsers write them, and nothing that would match
// more than that one or lead elsewhere.
func FuzzIsOrigin(f *testing.F) {
	for _, s := range []string{
		"https://id.example.com", "http://localhost:9000", "https://[::1]:8443", "https://*.example.com", "https://id.example.com/", "https://a@id.example.com",
		"https://id.example.com:443", "https://ID.example.com", "//evil.example", "https:///evil.example", "javascript:alert(1)", "null", "https://id.example.com?x", "https://a\\b", "https://a b", "http://a%2fb",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !web.IsOrigin(s) {
			return
		}
		u, err := url.Parse(s)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || s != u.Scheme+"://"+u.Host || u.Hostname() == "" || u.User != nil || strings.ToLower(s) != s {
			t.Fatalf("%q is no origin: %#v, %v", s, u, err)
		}
		if strings.ContainsAny(s, "*,\\@?# \t\r\n\"'<>") || strings.Count(s, "/") != 2 {
			t.Errorf("%q is taken for an origin", s)
		}
		if _, err := web.New(web.Options{PublicURL: s, CORSOrigins: []string{s}}); err != nil {
			t.Errorf("%q: %v", s, err)
		}
	})
}

// Where a request comes from is the peer, unless that is a proxy of ours: then an address that the proxies wrote.
func FuzzForwardedFor(f *testing.F) {
	site, err := web.New(web.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}})
	if err != nil {
		f.Fatal(err)
	}
	for _, h := range []string{"", "203.0.113.9", "203.0.113.9, 10.0.0.2", "evil, 10.0.0.2", "::ffff:203.0.113.9", "203.0.113.9:80", ",,,", "10.0.0.1,10.0.0.2", "fe80::1%eth0", "\x00"} {
		f.Add("10.0.0.1:1234", h)
		f.Add("198.51.100.7:1234", h)
	}
	f.Fuzz(func(t *testing.T, peer, header string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr, r.Header["X-Forwarded-For"] = peer, []string{header}
		got := site.Client(r).IP
		host := peer
		if at, err := netip.ParseAddrPort(peer); err == nil {
			host = at.Addr().String()
		}
		addr, err := netip.ParseAddr(host)
		if err != nil {
			return // net/http gives no such peer
		}
		trusted := netip.MustParsePrefix("10.0.0.0/8").Contains(addr.Unmap()) || netip.MustParsePrefix("fd00::/8").Contains(addr.Unmap())
		if !trusted && got != host {
			t.Errorf("%q says that %q is %q", header, peer, got)
		}
		if _, err := netip.ParseAddr(got); err != nil {
			t.Errorf("%q behind %q comes from %q, which is no address", header, peer, got)
		}
	})
}

// No request makes the site read a path that another router would read otherwise.
func FuzzPath(f *testing.F) {
	site, err := web.New(web.Options{})
	if err != nil {
		f.Fatal(err)
	}
	var reached string
	h := site.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { reached = r.URL.Path }), slog.New(slog.DiscardHandler),
		func(w http.ResponseWriter, _ *http.Request, status int) { w.WriteHeader(status) })
	for _, p := range []string{"/", "/app", "//evil.example", "/\\evil.example", "/a/../b", "/%2e%2e/b", "/a%2fb", "/a%00", "/a/", "/a%5Cb", "*", "http://evil.example/app"} {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, target string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return // net/http answers 400
		}
		r := httptest.NewRequest("GET", "http://id.example.com/", nil)
		r.URL, reached = u, ""
		h.ServeHTTP(httptest.NewRecorder(), r)
		if reached == "" {
			return
		}
		if reached[0] != '/' || strings.Contains(reached, "//") || strings.ContainsRune(reached, 0) || reached != "/" && strings.HasSuffix(reached, "/") ||
			strings.Contains(reached+"/", "/./") || strings.Contains(reached+"/", "/../") {
			t.Errorf("%q gets through as %q", target, reached)
		}
	})
}
