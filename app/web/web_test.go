package web_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/app/web"
)

func TestASiteIsMadeOnlyOfOriginsThatBrowsersWrite(t *testing.T) {
	for origin, good := range map[string]bool{
		"https://id.example.com": true, "http://localhost:9000": true, "https://id.example.com:8443": true, "http://127.0.0.1:9000": true, "http://[::1]:9000": true,
		"id.example.com": false, "ftp://id.example.com": false, "https://": false, "https://:443": false, "null": false, "*": false, "https://*.example.com": false,
		"https://id.example.com:443": false, "http://id.example.com:80": false, "https://ID.example.com": false, "HTTPS://id.example.com": false,
		"https://id.example.com/app": false, "https://id.example.com?x": false, "https://id.example.com#x": false, "https://a@id.example.com": false,
		"https://a.example.com,https://b.example.com": false, "https://id.example.com:": false, `https://id"x.example.com`: false, "https://id.example.com:99999": false,
		"https://id.example.com:08443": false, "https://bücher.example": false, "https://xn--bcher-kva.example": true, "https://a%2fb.example": false, "https://id_1.example.com.": true,
		"https://.": false, " https://id.example.com": false, "://": false,
	} {
		if _, err := web.New(web.Options{PublicURL: origin}); (err == nil) != good {
			t.Errorf("public URL %q: %v", origin, err)
		}
		if _, err := web.New(web.Options{CORSOrigins: []string{origin}}); (err == nil) != good {
			t.Errorf("CORS origin %q: %v", origin, err)
		}
	}
	if _, err := web.New(web.Options{CORSOrigins: []string{"https://id.example.com/"}}); err == nil {
		t.Error("a CORS origin with a slash at the end, which no browser writes, is taken")
	}
	if s, err := web.New(web.Options{PublicURL: "https://id.example.com/"}); err != nil || s.URL("/app") != "https://id.example.com/app" {
		t.Errorf("a public URL with a slash at the end: %v", err)
	}
}

func TestOnlyPathsThatEveryRouterReadsAlikeGetThrough(t *testing.T) {
	site, err := web.New(web.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h := site.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) }), slog.New(slog.DiscardHandler),
		func(w http.ResponseWriter, _ *http.Request, status int) { w.WriteHeader(status) })
	for path, want := range map[string]int{
		"/": 418, "/a": 418, "/a/b": 418, "/a%20b": 418, "/%C3%A9": 418, "/a%3Fb": 418, "/a?b=//": 418,
		"//": 404, "//a": 404, "/a//b": 404, "/a/": 404, "/a/.": 404, "/%2e%2e/a": 404, "/a/%2E": 404,
		"/a%2Fb": 404, "/a%2fb": 404, "/%2F": 404, "/a%00": 404, "/%ff": 404, "/a%2F": 404,
	} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "http://example.com/", nil)
		if r.URL, err = r.URL.Parse("http://example.com" + path); err != nil {
			t.Fatal(err)
		}
		if h.ServeHTTP(w, r); w.Code != want {
			t.Errorf("%s: %d, want %d", path, w.Code, want)
		}
	}
	// As a raw request may have it.
	for _, path := range []string{"", "*", "a", "\x00", "/\xff", "/a/..", "/../a", "/a/../b"} {
		w := httptest.NewRecorder()
		r := httptest.NewRequest("GET", "http://example.com/", nil)
		r.URL.Path = path
		if h.ServeHTTP(w, r); w.Code != 404 {
			t.Errorf("%q: %d, want 404", path, w.Code)
		}
	}
}

func TestAPanicAfterTheAnswerBeganIsLoggedAndLeavesItAlone(t *testing.T) {
	site, err := web.New(web.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		write bool
		want  int
	}{"before": {false, 500}, "after": {true, 200}} {
		var log bytes.Buffer
		h := site.Wrap(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			if c.write {
				w.Write([]byte("half"))
			}
			panic("of a test")
		}), slog.New(slog.NewJSONHandler(&log, nil)), func(w http.ResponseWriter, _ *http.Request, status int) { w.WriteHeader(status) })
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", "/a?token=secret", nil))
		if w.Code != c.want || !strings.Contains(log.String(), "of a test") || !strings.Contains(log.String(), `"path":"/a"`) || strings.Contains(log.String(), "secret") {
			t.Errorf("%s: %d, log %s", name, w.Code, log.String())
		}
	}
}
