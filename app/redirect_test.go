package app_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/app/console"
	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/user"
)

// wholeHandler is what the server serves, the pages and the API, over an empty database, with somebody who can sign in.
func wholeHandler(tb testing.TB) http.Handler {
	tb.Helper()
	check := func(err error) {
		tb.Helper()
		if err != nil {
			tb.Fatal(err)
		}
	}
	db := databasetest.SQLite(tb).Open(tb, user.Migrations(), auth.Migrations(), link.Migrations())
	log := slog.New(slog.DiscardHandler)
	keys, err := keyring.New(bytes.Repeat([]byte("k"), keyring.MinSecret))
	check(err)
	passwords, err := auth.NewPasswords(auth.PasswordParams{Keys: keys, Options: auth.PasswordOptions{Cost: 4}})
	check(err)
	users, err := user.New(user.Params{DB: db, Keys: keys, Log: log})
	check(err)
	identities, err := auth.New(auth.Params{DB: db, Keys: keys, Log: log, Options: auth.Options{Throttle: auth.ThrottleOptions{Disabled: true}},
		Providers: []auth.Provider{emailpass.New(passwords, emailpass.Config{})}})
	check(err)
	links, err := link.New(link.Params{DB: db, Users: users, Auth: identities, Log: log})
	check(err)
	_, err = links.SignUp(tb.Context(), link.ActorUser, emailpass.Name, auth.Input(adaSignsIn), auth.Client{})
	check(err)
	api, err := httpapi.New(httpapi.Params{DB: db, Users: users, Auth: identities, Link: links, Log: log})
	check(err)
	pages, err := console.New(console.Params{Users: users, Auth: identities, Link: links, Log: log})
	check(err)
	return app.Handler(api, pages)
}

// Whatever a request says of where to go on, an answer leads to a page of ours alone. The one place to return to that a caller can
// name is the next of a sign-in by a provider: FuzzIsLocal.
func FuzzRedirect(f *testing.F) {
	h := wholeHandler(f)
	signIn := url.Values{"email": {"ada@example.com"}, "password": {"correct horse"}}
	r := httptest.NewRequest("POST", "/app/login", strings.NewReader(signIn.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusSeeOther {
		f.Fatalf("sign in: %d %s", w.Code, w.Body)
	}
	cookie := strings.Split(w.Header().Get("Set-Cookie"), ";")[0]

	for _, evil := range []string{"//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "\\\\evil.example", "/%2F/evil.example", "evil.example"} {
		for _, name := range []string{"next", "return_to", "redirect", "redirect_uri", "callback_url", "url", "continue"} {
			f.Add(false, "/?"+name+"="+url.QueryEscape(evil), "", evil)
			f.Add(false, "/app?"+name+"="+url.QueryEscape(evil), "", evil)
			f.Add(true, "/app/login?"+name+"="+url.QueryEscape(evil), signIn.Encode()+"&"+name+"="+url.QueryEscape(evil), evil)
		}
		f.Add(false, evil, "", evil)
		f.Add(false, "/app/"+evil, "", evil)
		f.Add(true, "/app/logout?next="+url.QueryEscape(evil), "", evil)
	}
	f.Add(true, "/app/login", signIn.Encode()+"&next="+url.QueryEscape("/app/email?x=%2F%2Fevil.example#y"), "")
	f.Add(true, "/app/register", signIn.Encode()+"&next=%2Fapp%2F..%2F%2Fevil.example", "")
	f.Add(false, "//app", "", "")
	f.Add(false, "/app/", "", "")
	f.Add(false, "/app/email", "", "")
	f.Add(false, "/app/verify-email?token=x", "", "")
	f.Fuzz(func(t *testing.T, post bool, target, form, host string) {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return // net/http answers 400
		}
		for _, signedIn := range []bool{false, true} {
			r := httptest.NewRequest("GET", "http://id.example.com/", nil)
			if post {
				r = httptest.NewRequest("POST", "http://id.example.com/", strings.NewReader(form))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			r.URL, r.RequestURI = u, target
			r.Host = host
			for _, name := range []string{"Referer", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Original-Url", "Forwarded"} {
				r.Header[name] = []string{host}
			}
			if signedIn && !strings.HasPrefix(u.Path, "/app/logout") {
				r.Header.Set("Cookie", cookie)
			}
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			to := w.Header().Get("Location")
			if redirects := w.Code >= 300 && w.Code < 400 && w.Code != http.StatusNotModified; redirects != (to != "") {
				t.Errorf("%q: %d to %q", target, w.Code, to)
			}
			goesOn := post && strings.HasPrefix(to, "/app/") && web.IsLocal(to) // after signing in: to the page that the form says
			if to != "" && to != "/app" && to != "/app/login" && !goesOn {
				t.Errorf("%q, sent to the host %q with %q, leads to %q", target, host, form, to)
			}
			if to := w.Header().Get("Refresh"); to != "" {
				t.Errorf("%q: Refresh: %q", target, to)
			}
		}
	})
}
