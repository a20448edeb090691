package web_test

import (
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/app/web"
)

var locals = map[string]bool{
	"/": true, "/app": true, "/app/": true, "/a/b-c_d.e~f": true, "/app?tab=1&x=//evil.example": true, "/app#/orders/1": true, "/app?next=https%3A%2F%2Fx.example": true, "/a%20b": true, "/a:b": true,
	"/caf%C3%A9": true, "/a?%0d%0aSet-Cookie:x": true, "/authors": true,
	"": false, "app": false, "?x": false, "#x": false, "//evil.example": false, "///evil.example": false, `/\evil.example`: false, `\/evil.example`: false, `/a\b`: false, `/app?x=\`: false,
	"/\t/evil.example": false, "\t//evil.example": false, " //evil.example": false, "/\n/evil.example": false, "/\r/evil.example": false, "/app\x00": false, "/app\x7f": false, "/é": false,
	"https://evil.example": false, "https:evil.example": false, "https:/evil.example": false, "javascript:alert(1)": false, "data:text/html,x": false, "//evil.example@id.example.com": false,
	"/%2f/evil.example": false, "/%2F/evil.example": false, "/%5cevil.example": false, "/%5Cevil.example": false, "/%09/evil.example": false, "/a%00b": false, "/%252fevil.example": false, "/%0d%0aLocation:x": false,
	"/a//evil.example": false, "/a/..//evil.example": false, "/..//evil.example": false, "/./evil": false, "/a/../b": false, "/%2e%2e/b": false, "/.%2e//evil.example": false, "/%zz": false, "/a b": false,
	"/auth": false, "/auth/user/okta/start": false, "/AUTH/user/okta/start": false, "/%61uth/user/okta/start": false,
	"/" + strings.Repeat("a", 3000): false,
}

func TestALocalPathIsOneToEveryReader(t *testing.T) {
	for s, local := range locals {
		if web.IsLocal(s) != local {
			t.Errorf("%q: %t, want %t", s, !local, local)
		}
	}
}

// whatBrowsersDrop is what the URL Standard removes before it reads: tabs and newlines anywhere, controls and spaces around.
var whatBrowsersDrop = regexp.MustCompile(`[\t\n\r]|^[\x00-\x20]+|[\x00-\x20]+$`)

// Wherever a next leads that is taken, it is on this site: by RFC 3986, as browsers read, and read once more after it was decoded.
func FuzzIsLocal(f *testing.F) {
	for s := range locals {
		f.Add(s)
	}
	here, err := url.Parse("https://id.example.com/auth/user/okta/callback?code=x")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !web.IsLocal(s) {
			return
		}
		at, err := here.Parse(s)
		if err != nil || at.Scheme != "https" || at.Host != "id.example.com" || at.User != nil {
			t.Fatalf("%q leads to %v, %v", s, at, err)
		}
		for _, read := range []string{s, whatBrowsersDrop.ReplaceAllString(s, ""), strings.ReplaceAll(s, `\`, "/"), at.Path} {
			head, _, _ := strings.Cut(strings.ReplaceAll(read, "#", "?"), "?")
			if !strings.HasPrefix(head, "/") || strings.HasPrefix(head, "//") || strings.HasPrefix(head, `/\`) || strings.ContainsAny(head, "\t\r\n\x00\\") {
				t.Errorf("%q is read as %q", s, read)
			}
			if twice, err := url.PathUnescape(head); err == nil && (strings.HasPrefix(twice, "//") || strings.ContainsAny(twice, "\t\r\n\x00\\")) {
				t.Errorf("%q is read as %q when it is decoded twice", s, twice)
			}
		}
		w := httptest.NewRecorder()
		w.Header().Set("Location", s)
		if strings.ContainsAny(w.Header().Get("Location"), "\r\n") {
			t.Errorf("%q ends a line", s)
		}
	})
}

func TestACallbackURLIsAnAddressThatComparesWithNothingElse(t *testing.T) {
	for s, good := range map[string]bool{
		"https://shop.example.com/callback": true, "http://localhost:3000/callback": true, "https://shop.example.com": true, "https://shop.example.com/a?country=de": true,
		"": false, "/callback": false, "//shop.example.com/callback": false, "javascript:alert(1)": false, "ftp://shop.example.com/": false, "https://*.example.com/callback": false, "https://shop.example.com/*": false,
		"https://Shop.example.com/callback": false, "https://a@shop.example.com/callback": false, "https://shop.example.com/callback#x": false, "https://shop.example.com/callback#": false,
		"https://shop.example.com:443/callback": false, "https://shop.example.com/callback?code=x": false, "https://shop.example.com/callback?state=": false, `https://shop.example.com\callback`: false,
		"https://shop.example.com/a b": false, "https://shop.example.com/é": false, "https://shop.example.com/%zz": false, " https://shop.example.com/": false, "https:shop": false,
	} {
		if web.IsCallbackURL(s) != good {
			t.Errorf("%q: %t, want %t", s, !good, good)
		}
	}
}
