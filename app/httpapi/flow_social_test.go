package httpapi_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
	"github.com/latchkey-go/latchkey/modules/auth/github"
	"github.com/latchkey-go/latchkey/modules/auth/google"
	"github.com/latchkey-go/latchkey/modules/auth/microsoft"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// theirTenant is one that an attacker has made.
const theirTenant = "ffff6666-0000-cccc-1111-dddd2222eeee"

// vendors are imitations of Google, Microsoft and GitHub, and the providers that speak to them: Google lets in who it has, of any
// organization or none; Microsoft people of every tenant; GitHub is trusted with example.com.
type vendors struct {
	google, microsoft *authtest.Issuer
	github            *authtest.GitHub
	providers         []auth.Provider
}

func newVendors(t testing.TB, hosted ...string) vendors {
	t.Helper()
	v := vendors{google: authtest.NewGoogle(t), microsoft: authtest.NewMicrosoft(t, "common"), github: authtest.NewGitHub(t)}
	here := []string{"127.0.0.1"}
	a, err := google.New("google", google.Config{Issuer: v.google.URL(), ClientID: v.google.ClientID(), ClientSecret: v.google.ClientSecret(), HostedDomains: hosted, PrivateHosts: here}, nil)
	check(t, err)
	b, err := microsoft.New("microsoft", microsoft.Config{Tenant: "common", AllowedTenants: []string{"*"}, Authority: v.microsoft.Origin(), TrustedDomains: []string{"example.com"},
		ClientID: v.microsoft.ClientID(), ClientSecret: v.microsoft.ClientSecret(), PrivateHosts: here}, nil)
	check(t, err)
	c, err := github.New("github", github.Config{URL: v.github.URL(), ClientID: v.github.ClientID(), ClientSecret: v.github.ClientSecret(), TrustedDomains: []string{"example.com"}, PrivateHosts: here}, nil)
	check(t, err)
	v.providers = []auth.Provider{a, b, c}
	return v
}

// visit is what a browser does at a vendor.
func (v vendors) visit(t testing.TB, provider, location string) authtest.Callback {
	t.Helper()
	visit := map[string]func(string) (authtest.Callback, error){"google": v.google.Visit, "microsoft": v.microsoft.Visit, "github": v.github.Visit}[provider]
	back, err := visit(location)
	check(t, err)
	return back
}

func eachWithVendors(t *testing.T, hosted []string, f func(t *testing.T, s *server, v vendors)) {
	t.Helper()
	v := newVendors(t, hosted...)
	eachWith(t, settings{providers: v.providers, site: web.Options{PublicURL: publicURL}, auth: auth.Options{Throttle: auth.ThrottleOptions{Disabled: true}}}, func(t *testing.T, s *server) {
		s.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		f(t, s, v)
	})
}

// sent is where a browser is sent to by /start.
func (b *browser) sent(t testing.TB, provider string) string {
	t.Helper()
	a := b.do(t, "GET", "/auth/user/"+provider+"/start?next=/account", "", page)
	if a.status != 303 {
		t.Fatalf("start by %s: %d %s", provider, a.status, a.body)
	}
	return a.header.Get("Location")
}

// through is a browser's whole way, and the answer of the callback.
func (b *browser) through(t testing.TB, v vendors, provider string) answer {
	t.Helper()
	return b.do(t, "GET", pathOf(v.visit(t, provider, b.sent(t, provider))), "", page)
}

// pathOf is where a callback is, on this server.
func pathOf(back authtest.Callback) string { return strings.TrimPrefix(back.Location(), publicURL) }

// email is the address of the user that a browser is signed in as; empty: nobody.
func (b *browser) email(t testing.TB) string {
	t.Helper()
	return b.do(t, "GET", "/admin/users/me", "").get("user", "email")
}

// A browser goes the whole way by each vendor. Whoever does so for the first time in many browsers at once is one user.
func TestABrowserSignsInByEachVendor(t *testing.T) {
	eachWithVendors(t, nil, func(t *testing.T, s *server, v vendors) {
		v.microsoft.SignIn(authtest.MicrosoftPerson(authtest.MicrosoftTenant, "grace", "grace@example.com", map[string]any{"xms_edov": true}))
		v.github.SignIn(authtest.GitHubPerson{ID: 1912, Login: "alan", Name: "Alan Turing", Emails: []authtest.GitHubEmail{{Email: "alan@example.com", Primary: true, Verified: true}}})
		for provider, email := range map[string]string{"google": "ada.lovelace@gmail.com", "microsoft": "grace@example.com", "github": "alan@example.com"} {
			const browsers = 6
			var all [browsers]*browser
			var back [browsers]string
			for i := range all {
				all[i] = s.browser()
				back[i] = pathOf(v.visit(t, provider, all[i].sent(t, provider)))
			}
			for _, err := range databasetest.Together(browsers, func(i int) error {
				cookies := []string{}
				for name, value := range all[i].cookies {
					cookies = append(cookies, name+"="+value)
				}
				a, err := s.try(t.Context(), "GET", back[i], "", "Cookie: "+strings.Join(cookies, "; "), page)
				if err == nil && (a.status != 303 || a.header.Get("Location") != "/account") {
					err = fmt.Errorf("%s: %d, to %q: %s", provider, a.status, a.header.Get("Location"), a.body)
				}
				return err
			}) {
				check(t, err)
			}
			b := s.browser()
			if a := b.through(t, v, provider); a.status != 303 || a.header.Get("Location") != "/account" {
				t.Fatalf("by %s: %d %s", provider, a.status, a.body)
			}
			if got := b.email(t); got != email {
				t.Errorf("by %s is %q, want %q", provider, got, email)
			}
			n, err := s.db.Conn(t.Context()).NewSelect().Table("latchkey_user").Where("email = ?", email).Count(t.Context())
			if check(t, err); n != 1 {
				t.Errorf("%d first sign-ins by %s made %d users", browsers, provider, n)
			}
		}
		log := s.log.String()
		for _, secret := range []string{v.google.ClientSecret(), v.microsoft.ClientSecret(), v.github.ClientSecret(), "gho_"} {
			if strings.Contains(log, secret) {
				t.Error("the log has a secret or a token")
			}
		}
	})
}

// What one vendor, browser or flow was given opens nothing at another (mix-up, login CSRF).
func TestVendorsAreNotMixedUp(t *testing.T) {
	eachWithVendors(t, nil, func(t *testing.T, s *server, v vendors) {
		all := []string{"google", "microsoft", "github"}
		for i, provider := range all {
			other := all[(i+1)%len(all)]
			b, thief := s.browser(), s.browser()
			mine, theirs := v.visit(t, provider, b.sent(t, provider)), v.visit(t, other, b.sent(t, other))
			thief.sent(t, provider)
			if a := thief.do(t, "GET", pathOf(mine), "", page); a.status != 401 {
				t.Errorf("%s, in another browser: %d", provider, a.status)
			}
			if a := b.do(t, "GET", strings.Replace(pathOf(mine), provider, other, 1), "", page); a.status != 401 {
				t.Errorf("%s, at %s: %d", provider, other, a.status)
			}
			theirs.Values.Set("code", mine.Values.Get("code")) // the code of one, brought to the other
			if a := b.do(t, "GET", pathOf(theirs), "", page); a.status != 401 {
				t.Errorf("the code of %s at %s: %d %s", provider, other, a.status, a.body)
			}
			stolen := v.visit(t, provider, thief.sent(t, provider))
			stolen.Values.Set("code", mine.Values.Get("code")) // the victim's code in the attacker's flow
			if a := thief.do(t, "GET", pathOf(stolen), "", page); a.status != 401 {
				t.Errorf("the victim's code of %s in another flow: %d", provider, a.status)
			}
			again := v.visit(t, provider, b.sent(t, provider))
			again.Values.Set("iss", "https://evil.example")
			if a := b.do(t, "GET", pathOf(again), "", page); a.status != 401 {
				t.Errorf("%s, as another issuer's answer: %d", provider, a.status)
			}
			if got := thief.email(t) + b.email(t); got != "" {
				t.Errorf("somebody is signed in as %q", got)
			}
			declines := s.browser()
			at, err := url.Parse(declines.sent(t, provider))
			check(t, err)
			if a := declines.do(t, "GET", "/auth/user/"+provider+"/callback?error=access_denied&state="+at.Query().Get("state"), "", page); a.status != 401 || !strings.Contains(a.body, "not completed at the provider") {
				t.Errorf("who says no at %s: %d %s", provider, a.status, a.body)
			}
			if a := b.through(t, v, provider); a.status != 303 {
				t.Errorf("%s after all that: %d %s", provider, a.status, a.body)
			}
		}
	})
}

// Ada has an account; whoever has an address of hers at a vendor that does not prove it, an attacker's tenant or account, does not
// come into it. Ada, by a vendor that does, comes back to it.
func TestNobodyComesIntoAnAccountByAnAddressAtAVendor(t *testing.T) {
	eachWithVendors(t, nil, func(t *testing.T, s *server, v vendors) {
		const address = "ada@example.com"
		ada := s.browser()
		v.google.SignIn(authtest.Person{Subject: "1815", Email: address, EmailVerified: true, Claims: map[string]any{"hd": "example.com"}})
		if a := ada.through(t, v, "google"); a.status != 303 || ada.email(t) != address {
			t.Fatalf("Ada: %d, is %q", a.status, ada.email(t))
		}
		attack := func(what, provider string) {
			t.Helper()
			eve := s.browser()
			if a := eve.through(t, v, provider); a.status != 303 && a.status != 401 && a.status != 403 {
				t.Errorf("%s: %d %s", what, a.status, a.body)
			}
			if got := eve.email(t); got != "" {
				t.Errorf("%s: is %q", what, got)
			}
		}
		for what, claims := range map[string]map[string]any{
			"nOAuth: an account of another tenant":   nil,
			"the same, and email_verified":           {"email_verified": true},
			"the same, and xms_edov false":           {"xms_edov": false},
			"the same, with the name of Ada's login": {"preferred_username": address, "upn": address},
		} {
			v.microsoft.SignIn(authtest.MicrosoftPerson(theirTenant, "eve", address, claims))
			attack(what, "microsoft")
		}
		v.google.SignIn(authtest.Person{Subject: "666", Email: address, EmailVerified: true})
		attack("a Google account with an address that is none of Google's", "google")
		v.github.SignIn(authtest.GitHubPerson{ID: 666, Login: "ada", PublicEmail: address, Emails: []authtest.GitHubEmail{{Email: address, Primary: true}}})
		attack("an address at GitHub that is not verified", "github")
		v.github.SignIn(authtest.GitHubPerson{ID: 667, Login: "eve", Emails: []authtest.GitHubEmail{{Email: address, Verified: true}, {Email: "eve@evil.example", Primary: true, Verified: true}}})
		eve := s.browser()
		if a := eve.through(t, v, "github"); a.status != 303 || eve.email(t) == address {
			t.Errorf("an address at GitHub that is not the primary one: %d, is %q", a.status, eve.email(t))
		}

		v.github.SignIn(authtest.GitHubPerson{ID: 1815, Login: "ada", Emails: []authtest.GitHubEmail{{Email: address, Primary: true, Verified: true}}})
		v.microsoft.SignIn(authtest.MicrosoftPerson(authtest.MicrosoftTenant, "ada", address, map[string]any{"xms_edov": true}))
		id := ada.do(t, "GET", "/admin/users/me", "").get("user", "id")
		for _, provider := range []string{"github", "microsoft"} {
			b := s.browser()
			if a := b.through(t, v, provider); a.status != 303 || b.do(t, "GET", "/admin/users/me", "").get("user", "id") != id {
				t.Errorf("Ada by %s: %d, is %q", provider, a.status, b.email(t))
			}
		}
	})
}

// Who is of no organization that may sign in is told so, and is nobody (hd taken out of the address of the page at Google).
func TestAGoogleAccountOfNoOrganizationIsToldSo(t *testing.T) {
	eachWithVendors(t, []string{"example.com"}, func(t *testing.T, s *server, v vendors) {
		for what, hd := range map[string]any{"without hd": nil, "of another": "evil.example"} {
			v.google.SignIn(authtest.Person{Subject: "666", Email: "eve@gmail.com", EmailVerified: true, Claims: map[string]any{"hd": hd}})
			b := s.browser()
			at, err := url.Parse(b.sent(t, "google"))
			check(t, err)
			query := at.Query()
			if query.Get("hd") != "example.com" {
				t.Errorf("hd %q is sent", query.Get("hd"))
			}
			query.Del("hd")
			at.RawQuery = query.Encode()
			a := b.do(t, "GET", pathOf(v.visit(t, "google", at.String())), "", page)
			if a.status != 401 || !strings.Contains(a.body, "is of no organization") || b.email(t) != "" {
				t.Errorf("%s: %d %s", what, a.status, a.body)
			}
		}
		n, err := s.db.Conn(t.Context()).NewSelect().Table("latchkey_auth_identity").Count(t.Context())
		if check(t, err); n != 0 {
			t.Errorf("%d identities", n)
		}
		v.google.SignIn(authtest.Person{Subject: "1815", Email: "ada@example.com", EmailVerified: true, Claims: map[string]any{"hd": "example.com"}})
		if b := s.browser(); b.through(t, v, "google").status != 303 || b.email(t) != "ada@example.com" {
			t.Errorf("Ada is %q", b.email(t))
		}
	})
}
