package httpapi_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
	"github.com/latchkey-go/latchkey/modules/auth/oidc"
)

// issuerNamed is a provider of an issuer of its own.
func issuerNamed(t testing.TB, id string, trusted ...string) (auth.Provider, *authtest.Issuer) {
	t.Helper()
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	p, err := oidc.New(id, oidc.Config{Issuer: issuer.URL(), ClientID: issuer.ClientID(), ClientSecret: issuer.ClientSecret(),
		PrivateHosts: []string{"127.0.0.1"}, TrustedDomains: trusted}, nil)
	check(t, err)
	return p, issuer
}

// A browser goes the whole way to an issuer and back, by each of the ways in which one can.
func TestABrowserSignsInByAnIssuer(t *testing.T) {
	okta, issuer := issuerNamed(t, "okta", "example.com")
	other, evil := issuerNamed(t, "azure")
	eachWith(t, settings{
		providers: []auth.Provider{okta, other},
		site:      web.Options{PublicURL: publicURL},
		api:       httpapi.Options{CallbackURLs: []string{shopsPage}},
	}, func(t *testing.T, s *server) {
		s.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		to := func(b *browser, path string) string {
			t.Helper()
			a := b.do(t, "GET", path, "", page)
			if a.status != 303 {
				t.Fatalf("%s: %d %s", path, a.status, a.body)
			}
			return a.header.Get("Location")
		}
		path := func(back authtest.Callback) string { return strings.TrimPrefix(back.Location(), publicURL) }
		visit := func(i *authtest.Issuer, location string) authtest.Callback {
			t.Helper()
			back, err := i.Visit(location)
			check(t, err)
			return back
		}

		b := s.browser()
		if at := to(b, path(visit(issuer, to(b, "/auth/user/okta/start?next=/account")))); at != "/account" {
			t.Errorf("comes to %q", at)
		}
		me := b.do(t, "GET", "/admin/users/me", "")
		if me.get("user", "email") != "ada@example.com" || me.get("user", "first_name") != "Ada" {
			t.Errorf("is %s", me.body)
		}

		// The issuer posts a form.
		b = s.browser()
		form := visit(issuer, to(b, "/auth/user/okta/start")+"&response_mode=form_post")
		if form.Method != "POST" {
			t.Fatalf("the issuer answers by %s", form.Method)
		}
		a, err := s.try(t.Context(), "POST", strings.TrimPrefix(form.URL, publicURL), form.Values.Encode(), "Content-Type: application/x-www-form-urlencoded", "Origin: null", page)
		check(t, err)
		if a.status != 303 {
			t.Fatalf("the form: %d %s", a.status, a.body)
		}
		if at := to(b, strings.TrimPrefix(form.URL, publicURL)+a.header.Get("Location")); at != "/" {
			t.Errorf("comes to %q", at)
		}

		// An application's own page.
		b = s.browser()
		begin := b.do(t, "POST", "/auth/user/okta", `{"callback_url":"`+shopsPage+`"}`)
		back := visit(issuer, begin.get("location"))
		if back.URL != shopsPage {
			t.Errorf("comes back to %q", back.URL)
		}
		if token := s.token(t, "callback", b.do(t, "POST", "/auth/user/okta/callback", string(back.Input()))); actor(t, token) == "" {
			t.Error("is nobody")
		}

		// Another browser, another provider, and an answer of another issuer.
		b, thief := s.browser(), s.browser()
		stolen := visit(issuer, to(b, "/auth/user/okta/start"))
		to(thief, "/auth/user/okta/start")
		if a := thief.do(t, "GET", path(stolen), ""); a.status != 401 {
			t.Errorf("in another browser: %d %s", a.status, a.body)
		}
		if a := b.do(t, "GET", strings.Replace(path(stolen), "okta", "azure", 1), ""); a.status != 401 {
			t.Errorf("at another provider: %d %s", a.status, a.body)
		}
		mixed := visit(evil, to(b, "/auth/user/azure/start"))
		mixed.Values.Set("code", stolen.Values.Get("code"))
		mixed.Values.Set("iss", stolen.Values.Get("iss"))
		if a := b.do(t, "GET", path(mixed), ""); a.status != 401 || evil.Hits(authtest.Token) != 0 {
			t.Errorf("mixed up: %d %s, and evil was sent %d codes", a.status, a.body, evil.Hits(authtest.Token))
		}
		if at := to(b, path(stolen)); at != "/" {
			t.Errorf("in the end comes to %q", at)
		}

		// The issuer is gone.
		b = s.browser()
		left := visit(issuer, to(b, "/auth/user/okta/start"))
		issuer.Fail(authtest.Token, authtest.HangsUp)
		defer issuer.Behave()
		if a := b.do(t, "GET", path(left), ""); a.status != 503 || !strings.Contains(a.body, "does not work at the moment") {
			t.Errorf("callback: %d %s", a.status, a.body)
		}
		for _, secret := range []string{left.Values.Get("code"), left.Values.Get("state"), issuer.ClientSecret()} {
			if strings.Contains(s.log.String(), secret) {
				t.Error("the log has a code, a state or a secret")
			}
		}
	})
}
