package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
)

// redirecting is a provider of two steps: it sends people to https://idp.example, and lets in who comes back with a code that
// says who they are, as name or name:address. It wants the callback URL of the first step in the second.
type redirecting struct{ name string }

func (p redirecting) Name() string { return p.name }

func (p redirecting) Begin(_ context.Context, a auth.Attempt) (auth.Challenge, error) {
	q := url.Values{"state": {a.FlowID}, "redirect_uri": {a.CallbackURL}}
	var in struct {
		Hint string `json:"login_hint"`
	}
	if err := a.Input.Decode(&in); err != nil {
		return auth.Challenge{}, err
	}
	if in.Hint != "" {
		q.Set("login_hint", in.Hint)
	}
	return auth.Challenge{RedirectURL: "https://idp.example/" + p.name + "?" + q.Encode(), State: []byte(a.CallbackURL)}, nil
}

func (p redirecting) Finish(_ context.Context, a auth.Attempt) (auth.Assertion, error) {
	var in struct {
		Code string `json:"code"`
	}
	if err := a.Input.Decode(&in); err != nil {
		return auth.Assertion{}, err
	}
	switch {
	case string(a.State) != a.CallbackURL || a.CallbackURL == "":
		return auth.Assertion{}, errors.New("the callback URL is another in the second step")
	case in.Code == "" || strings.HasPrefix(in.Code, "bad"):
		return auth.Assertion{}, auth.ErrInvalidCredentials
	case in.Code == "gone": // as a provider does whose caller has not waited
		return auth.Assertion{}, fmt.Errorf("ask the provider: %w", context.Canceled)
	case in.Code == "broken":
		return auth.Assertion{}, errors.New("the provider does not answer")
	}
	name, email, _ := strings.Cut(in.Code, ":")
	return auth.Assertion{EntityID: name, Profile: auth.Profile{Email: email, EmailVerified: email != ""}}, nil
}

const (
	publicURL = "https://id.example.com"
	shopsPage = "https://shop.example.com/callback"
	ownReturn = publicURL + "/auth/user/okta/callback"
	lostFlow  = "This sign-in was started elsewhere, has expired or was finished already. Start again."
	declined  = `{"type":"unauthorized","message":"The sign-in was not completed at the provider. Start again, or sign in by another way.","reason":"sign_in_declined"}`
)

var twoSteps = settings{
	providers: []auth.Provider{redirecting{"okta"}, redirecting{"azure"}},
	site:      web.Options{PublicURL: publicURL},
	api:       httpapi.Options{CallbackURLs: []string{shopsPage, shopsPage + "2"}},
}

func eachInTwoSteps(t *testing.T, f func(t *testing.T, s *server)) {
	t.Helper()
	eachWith(t, twoSteps, func(t *testing.T, s *server) {
		s.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		f(t, s)
	})
}

// browser keeps cookies as one does that does not expire them.
type browser struct {
	s       *server
	cookies map[string]string
}

func (s *server) browser() *browser { return &browser{s, map[string]string{}} }

func (b *browser) do(t testing.TB, method, path, body string, headers ...string) answer {
	t.Helper()
	var pairs []string
	for name, value := range b.cookies {
		pairs = append(pairs, name+"="+value)
	}
	if len(pairs) > 0 {
		headers = append(headers, "Cookie: "+strings.Join(pairs, "; "))
	}
	a := b.s.do(t, method, path, body, headers...)
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		b.cookies[c.Name] = c.Value
	}
	return a
}

// page is how a browser asks for one.
const page = "Accept: text/html,application/xhtml+xml"

// begun is what a provider was asked: the state, and where it sends people back to.
func begun(t testing.TB, a answer, location string) (state, back string) {
	t.Helper()
	u, err := url.Parse(location)
	check(t, err)
	if u.Host != "idp.example" || len(u.Query().Get("state")) < 26 {
		t.Fatalf("begin: %d %s, to %q", a.status, a.body, location)
	}
	return u.Query().Get("state"), u.Query().Get("redirect_uri")
}

func (b *browser) begin(t testing.TB, provider, body string) (state, back string) {
	t.Helper()
	a := b.do(t, "POST", "/auth/user/"+provider, body)
	if a.status != 200 {
		t.Fatalf("begin: %d %s", a.status, a.body)
	}
	return begun(t, a, a.get("location"))
}

func (b *browser) start(t testing.TB, query string) (state string) {
	t.Helper()
	a := b.do(t, "GET", "/auth/user/okta/start"+query, "", page)
	if a.status != 303 {
		t.Fatalf("start: %d %s", a.status, a.body)
	}
	state, back := begun(t, a, a.header.Get("Location"))
	if back != ownReturn {
		t.Errorf("start has people come back to %q", back)
	}
	return state
}

func comingBack(provider, state, code string) string {
	return "/auth/user/" + provider + "/callback?" + url.Values{"state": {state}, "code": {code}}.Encode()
}

func TestWhoHasNoScriptSignsInByTwoSteps(t *testing.T) {
	eachInTwoSteps(t, func(t *testing.T, s *server) {
		b := s.browser()
		state := b.start(t, "?next=%2Faccount%3Ftab%3D1&login_hint=ada")
		a := b.do(t, "GET", comingBack("okta", state, "ada:ada@example.com"), "", page)
		if a.status != 303 || a.header.Get("Location") != "/account?tab=1" {
			t.Fatalf("callback: %d %s, to %q", a.status, a.body, a.header.Get("Location"))
		}
		for name, want := range map[string]string{"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %q, want %q", name, got, want)
			}
		}
		me := b.do(t, "GET", "/admin/users/me", "")
		if me.get("user", "email") != "ada@example.com" {
			t.Fatalf("signed in is %d %s", me.status, me.body)
		}

		// Once more as somebody else: the session of before ends.
		before := "Cookie: __Host-latchkey=" + b.cookies["__Host-latchkey"]
		if a := b.do(t, "GET", comingBack("okta", b.start(t, ""), "grace:grace@example.com"), "", page); a.status != 303 || a.header.Get("Location") != "/" {
			t.Fatalf("callback: %d %s, to %q", a.status, a.body, a.header.Get("Location"))
		}
		if s.alive(t, before) || b.do(t, "GET", "/admin/users/me", "").get("user", "email") != "grace@example.com" {
			t.Error("the session of whoever was signed in before goes on")
		}
		if log := s.log.String(); strings.Contains(log, state) || strings.Contains(log, "grace:grace") {
			t.Error("a state or a code is in the log")
		}
	})
}

func TestTheCookieOfAFlowIsAsStrictAsThatOfASession(t *testing.T) {
	eachInTwoSteps(t, func(t *testing.T, s *server) {
		a := s.do(t, "POST", "/auth/user/okta", "{}")
		all := (&http.Response{Header: a.header}).Cookies()
		if len(all) != 1 {
			t.Fatalf("cookies: %v", all)
		}
		c := all[0]
		if c.Name != "__Host-latchkey-flow" || !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" ||
			time.Until(c.Expires) > 20*time.Minute || time.Until(c.Expires) < 19*time.Minute || len(c.Value) < 26 {
			t.Errorf("the cookie is %s", c)
		}
		var kept []string
		check(t, s.db.Conn(t.Context()).NewSelect().Table("latchkey_auth_flow").Column("browser_hash").Scan(t.Context(), &kept))
		if len(kept) != 1 || len(kept[0]) != 64 || strings.Contains(kept[0], c.Value) {
			t.Errorf("kept is %q", kept)
		}
		for sent, stays := range map[string]bool{c.Value: true, "short": false, strings.Repeat("a", 26): false} { // what nobody can have made here is not kept
			again := (&http.Response{Header: s.do(t, "POST", "/auth/user/okta", "{}", "Cookie: __Host-latchkey-flow="+sent).header}).Cookies()
			if len(again) != 1 || (again[0].Value == sent) != stays {
				t.Errorf("after %q: %v", sent, again)
			}
		}
	})
}

func TestAScriptBeginsAndFinishesASignInOfTwoSteps(t *testing.T) {
	eachInTwoSteps(t, func(t *testing.T, s *server) {
		for name, f := range map[string]func(b *browser, state string) answer{
			"by GET": func(b *browser, state string) answer {
				return b.do(t, "GET", comingBack("okta", state, "ada:ada@example.com"), "")
			},
			"by POST": func(b *browser, state string) answer {
				return b.do(t, "POST", "/auth/user/okta/callback", `{"state":"`+state+`","code":"ada:ada@example.com"}`)
			},
		} {
			b := s.browser()
			state, back := b.begin(t, "okta", "{}")
			if back != ownReturn {
				t.Errorf("%s: come back to %q", name, back)
			}
			a := f(b, state)
			if a.status != 200 || claims(t, a.get("token"))["actor_id"] == "" || b.cookies["__Host-latchkey"] != "" {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
			if replayed := f(b, state); replayed.status != 401 || replayed.body != wrong(lostFlow) {
				t.Errorf("%s, once more: %d %s", name, replayed.status, replayed.body)
			}
		}
		a := s.do(t, "GET", "/auth/user/okta?login_hint=ada&callback_url="+url.QueryEscape(shopsPage), "")
		if _, back := begun(t, a, a.get("location")); back != shopsPage || !strings.Contains(a.get("location"), "login_hint=ada") {
			t.Errorf("begun by GET: %s", a.body)
		}
		for _, path := range []string{"/auth/user/okta", comingBack("okta", "x", "y"), "/auth/user/okta/start"} { // who looks whether it is there begins and finishes nothing
			if a := s.do(t, "HEAD", path, ""); a.status != 405 || a.header.Get("Set-Cookie") != "" {
				t.Errorf("HEAD %s: %d", path, a.status)
			}
		}
		if a := s.do(t, "GET", "/auth/user/providers", ""); !strings.Contains(a.body, `{"id":"okta","identifier":"okta","display_name":"okta","flow":"redirect","start":"/auth/user/okta/start"}`) {
			t.Errorf("providers: %s", a.body)
		}
	})
}

func TestACallbackURLIsOneOfTheListLetterForLetter(t *testing.T) {
	eachInTwoSteps(t, func(t *testing.T, s *server) {
		for _, u := range []string{
			shopsPage + "/", shopsPage + "?x=1", shopsPage + "#x", strings.ToUpper(shopsPage), "https://shop.example.com", "https://shop.example.com/callback/../evil", "http://shop.example.com/callback",
			"https://shop.example.com:443/callback", "https://shop.example.com@evil.example/callback", "https://evil.example/callback", "//shop.example.com/callback", "/callback", "", " " + shopsPage,
			publicURL + "/auth/user/azure/callback", publicURL + "/auth/customer/okta/callback",
		} {
			body, err := json.Marshal(map[string]string{"callback_url": u})
			check(t, err)
			if a := s.do(t, "POST", "/auth/user/okta", string(body)); a.status != 400 || a.get("reason") != "callback_url_unknown" {
				t.Errorf("%q: %d %s", u, a.status, a.body)
			}
		}
		if a := s.do(t, "POST", "/auth/user/okta", `{"callback_url":["`+shopsPage+`"]}`); a.status != 400 {
			t.Errorf("a list: %d %s", a.status, a.body)
		}
		b := s.browser()
		for _, u := range []string{shopsPage, shopsPage + "2", ownReturn} {
			state, back := b.begin(t, "okta", `{"callback_url":"`+u+`"}`)
			if back != u {
				t.Errorf("%s: come back to %s", u, back)
			}
			if a := b.do(t, "GET", comingBack("okta", state, "ada"), ""); a.status != 200 { // the provider gets the same in both steps
				t.Errorf("%s: %d %s", u, a.status, a.body)
			}
		}
		if s.count(t, "auth_flow") != 0 {
			t.Error("what was refused is kept")
		}
	})
}

func TestAFlowIsFinishedByItsBrowserProviderAndActorAlone(t *testing.T) {
	o := twoSteps
	o.actors = servingShoppers(t)
	eachWith(t, o, func(t *testing.T, s *server) {
		s.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		attacker, victim := s.browser(), s.browser()
		state, _ := attacker.begin(t, "okta", "{}")
		victim.begin(t, "okta", "{}")
		fresh := s.browser()
		for what, a := range map[string]answer{
			"in another browser":       victim.do(t, "GET", comingBack("okta", state, "mallory"), ""),
			"in one without a cookie":  fresh.do(t, "GET", comingBack("okta", state, "mallory"), ""),
			"by another provider":      attacker.do(t, "GET", comingBack("azure", state, "mallory"), ""),
			"as another type of actor": attacker.do(t, "GET", strings.Replace(comingBack("okta", state, "mallory"), "/user/", "/shopper/", 1), ""),
			"with no state":            attacker.do(t, "GET", comingBack("okta", "", "mallory"), ""),
			"with a made up state":     attacker.do(t, "GET", comingBack("okta", strings.Repeat("A", 26), "mallory"), ""),
		} {
			if a.status != 401 || a.body != wrong(lostFlow) {
				t.Errorf("%s: %d %s", what, a.status, a.body)
			}
		}
		if a := attacker.do(t, "GET", comingBack("okta", state, "mallory"), ""); a.status != 200 {
			t.Errorf("by its own, after the attempts of others: %d %s", a.status, a.body)
		}

		// As a page: somebody's link signs nobody in.
		state = attacker.start(t, "")
		if a := victim.do(t, "GET", comingBack("okta", state, "mallory"), "", page); a.status != 401 || a.body != lostFlow+"\n" || victim.cookies["__Host-latchkey"] != "" {
			t.Errorf("an attacker's link: %d %s", a.status, a.body)
		}
	})
}

func TestAtAPageOfTheApplicationsOwnACookieIsWantedFromWhoKeepsAny(t *testing.T) {
	ofShop := `{"callback_url":"` + shopsPage + `"}`
	eachInTwoSteps(t, func(t *testing.T, s *server) {
		state, _ := s.browser().begin(t, "okta", ofShop)
		if a := s.do(t, "GET", comingBack("okta", state, "ada"), ""); a.status != 200 {
			t.Errorf("a script without cookies: %d %s", a.status, a.body)
		}
		state, _ = s.browser().begin(t, "okta", ofShop)
		for _, cookie := range []string{"__Host-latchkey=x", "__Host-latchkey-device=x", "__Host-latchkey-flow=" + strings.Repeat("A", 26), "__Host-latchkey-flow="} {
			if a := s.do(t, "GET", comingBack("okta", state, "ada"), "", "Cookie: "+cookie); a.status != 401 {
				t.Errorf("with %s: %d %s", cookie, a.status, a.body)
			}
		}
	})
	o := twoSteps
	o.api.RequireFlowCookie = true
	eachWith(t, o, func(t *testing.T, s *server) {
		b := s.browser()
		state, _ := b.begin(t, "okta", ofShop)
		if a := s.do(t, "GET", comingBack("okta", state, "ada"), ""); a.status != 401 {
			t.Errorf("a script without cookies, where one is required: %d %s", a.status, a.body)
		}
		if a := b.do(t, "GET", comingBack("okta", state, "ada"), ""); a.status != 200 {
			t.Errorf("with the cookie: %d %s", a.status, a.body)
		}
	})
}

func TestWhatAProviderRefusesIsToldInPlainWordsAndEndsTheFlow(t *testing.T) {
	eachInTwoSteps(t, func(t *testing.T, s *server) {
		for _, code := range []string{"access_denied", "login_required", "<script>alert(1)</script>", ""} {
			b := s.browser()
			state, _ := b.begin(t, "okta", "{}")
			back := "/auth/user/okta/callback?" + url.Values{"state": {state}, "error": {code}, "error_description": {"zq-said"}, "code": {"ada"}}.Encode()
			if a := s.do(t, "GET", back, ""); a.body != wrong(lostFlow) {
				t.Errorf("%s, elsewhere: %d %s", code, a.status, a.body)
			}
			if a := b.do(t, "GET", back, ""); a.status != 401 || a.body != declined {
				t.Errorf("%s: %d %s", code, a.status, a.body)
			}
			if a := b.do(t, "GET", comingBack("okta", state, "ada"), ""); a.status != 401 || a.body != wrong(lostFlow) {
				t.Errorf("%s, and then a code: %d %s", code, a.status, a.body)
			}
		}
		s.log.reset()
		b := s.browser()
		state, _ := b.begin(t, "okta", "{}")
		if a := b.do(t, "GET", "/auth/user/okta/callback?error=invalid_scope&state="+state, ""); a.status != 401 || a.get("reason") != "sign_in_declined" || !strings.Contains(s.log.String(), "invalid_scope") {
			t.Errorf("what the operator must mend: %d %s", a.status, a.body)
		}
		for code, want := range map[string]int{"bad": 401, "broken": 500} {
			state, _ := b.begin(t, "okta", "{}")
			if a := b.do(t, "GET", comingBack("okta", state, code), ""); a.status != want {
				t.Errorf("%s: %d %s", code, a.status, a.body)
			}
			state = b.start(t, "?next=/x")
			if a := b.do(t, "GET", comingBack("okta", state, code), "", page); a.status != want || strings.Contains(a.body, "{") || strings.Contains(a.body, "answer") {
				t.Errorf("%s, on a page: %d %s", code, a.status, a.body)
			}
		}
		if strings.Contains(s.log.String(), "zq-said") {
			t.Error("what strangers write is in the log")
		}
		refusals := 0
		for _, e := range s.trail(t, "limit=1000&action=auth.sign_in&outcome=refused") {
			if d, _ := e["details"].(map[string]any); d["provider"] == "okta" {
				refusals++
			}
		}
		if refusals < 10 {
			t.Errorf("the trail has %d refusals", refusals)
		}
	})
}

func TestErrorsOfAStartedSignInAreToldOnTheSignInPage(t *testing.T) {
	o := twoSteps
	o.api.SignInPage = "/app/login"
	eachWith(t, o, func(t *testing.T, s *server) {
		s.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		b := s.browser()
		wants := func(what string, a answer, to string) {
			t.Helper()
			if a.status != 303 || a.header.Get("Location") != to {
				t.Errorf("%s: %d %s, to %q, want %q", what, a.status, a.body, a.header.Get("Location"), to)
			}
		}
		for _, next := range []string{"//evil.example", `/\evil.example`, "https://evil.example", "/auth/user/okta/start"} {
			wants("next "+next, b.do(t, "GET", "/auth/user/okta/start?next="+url.QueryEscape(next), "", page), "/app/login?problem=next_not_local")
		}
		wants("one step", b.do(t, "GET", "/auth/user/emailpass/start", "", page), "/app/login?problem=provider_unsupported")
		wants("no provider", b.do(t, "GET", "/auth/user/nobody/start", "", page), "/app/login?problem=provider_not_allowed")
		state := b.start(t, "")
		back := b.do(t, "GET", comingBack("okta", state, "ada:ada@example.com"), "", page)
		wants("in the end", back, "/app")
		wants("once more", b.do(t, "GET", comingBack("okta", state, "ada:ada@example.com"), "", page), "/app/login?problem=invalid_credentials")
		wants("declined", b.do(t, "GET", "/auth/user/okta/callback?error=access_denied&state="+b.start(t, ""), "", page), "/app/login?problem=sign_in_declined")
		wants("who has to wait", b.do(t, "GET", comingBack("okta", b.start(t, ""), "nameless"), "", page), "/app/login?waiting=email_required")
	})
}

func TestTheFormOfAProviderIsTakenFromAnotherSiteAndLooksAtNoCookie(t *testing.T) {
	const form = "Content-Type: application/x-www-form-urlencoded"
	eachInTwoSteps(t, func(t *testing.T, s *server) {
		b := s.browser()
		state := b.start(t, "?next=/account")
		body := url.Values{"state": {state}, "code": {"ada:ada@example.com"}, "iss": {"https://idp.example"}, "id_token": {"zq-token"}, "user": {`{"name":"x"}`}}.Encode()
		crossSite := []string{form, "Origin: https://idp.example", "Sec-Fetch-Site: cross-site", "Cookie: __Host-latchkey=" + strings.Repeat("A", 52)}
		a := s.do(t, "POST", "/auth/user/okta/callback", body, crossSite...)
		to := a.header.Get("Location")
		q, err := url.ParseQuery(strings.TrimPrefix(to, "?"))
		if err != nil || a.status != 303 || !strings.HasPrefix(to, "?") || len(q) != 3 || q.Get("state") != state || q.Get("code") != "ada:ada@example.com" || a.header.Get("Set-Cookie") != "" {
			t.Fatalf("form: %d %s, to %q", a.status, a.body, to)
		}
		if a := b.do(t, "GET", "/auth/user/okta/callback"+to, "", page); a.status != 303 || a.header.Get("Location") != "/account" {
			t.Errorf("then: %d %s", a.status, a.body)
		}
		for what, c := range map[string]struct {
			path, body string
			status     int
			headers    []string
		}{
			"a form for one step, from another site": {"/auth/user/emailpass/callback", body, 403, crossSite},
			"a form for one step":                    {"/auth/user/emailpass/callback", body, 415, []string{form}},
			"a form elsewhere":                       {"/auth/user/okta", body, 403, crossSite},
			"JSON from another site":                 {"/auth/user/okta/callback", "{}", 403, crossSite[1:]},
			"two states":                             {"/auth/user/okta/callback", "state=a&state=b", 400, crossSite},
			"no form":                                {"/auth/user/okta/callback", "state=%zz", 400, crossSite},
			"a long code":                            {"/auth/user/okta/callback", "code=" + strings.Repeat("x", 9<<10), 413, crossSite},
			"a long body":                            {"/auth/user/okta/callback", "x=" + strings.Repeat("x", 65<<10), 413, crossSite},
			"a line end":                             {"/auth/user/okta/callback", "code=a%0d%0aSet-Cookie:x", 303, crossSite},
		} {
			if a := s.do(t, "POST", c.path, c.body, c.headers...); a.status != c.status || a.header.Get("Set-Cookie") != "" {
				t.Errorf("%s: %d %s, want %d", what, a.status, a.body, c.status)
			}
		}
	})
}

// Who has no script comes back to a page, which learns what has come of it.
func TestAWayOfTwoStepsIsAddedOnTheWayToAPage(t *testing.T) {
	eachInTwoSteps(t, func(t *testing.T, s *server) {
		b := s.browser()
		if a := b.do(t, "GET", comingBack("okta", b.start(t, "?next=/x"), "ada:ada@example.com"), "", page); a.status != 303 {
			t.Fatalf("sign in: %d %s", a.status, a.body)
		}
		begin := func(next string) answer {
			return b.do(t, "POST", "/auth/user/azure/link", fmt.Sprintf(`{"next":%q}`, next))
		}
		back := func(next, code string) answer {
			t.Helper()
			a := begin(next)
			if a.status != 200 {
				t.Fatalf("begin: %d %s", a.status, a.body)
			}
			state, _ := begun(t, a, a.get("location"))
			return b.do(t, "GET", comingBack("azure", state, code), "", page)
		}
		for _, next := range []string{"https://evil.example/", "//evil.example", "/auth/user/okta/start", "app", "/a\\b"} {
			if a := begin(next); a.status != 400 || a.get("reason") != "next_not_local" {
				t.Errorf("next %s: %d %s", next, a.status, a.body)
			}
		}
		if a := b.do(t, "POST", "/auth/user/azure/link", `{"next":7}`); a.status != 400 || a.body != invalid("Expected type: 'string' for field 'next', got: '7'") {
			t.Errorf("a next that is no text: %d %s", a.status, a.body)
		}
		for what, c := range map[string]struct{ next, code, to string }{
			"not proved":      {"/app/ways", "bad", "/app/ways?problem=invalid_credentials"},
			"with a query":    {"/app/ways?of=me#here", "bad", "/app/ways?of=me&problem=invalid_credentials#here"},
			"theirs to mend":  {"/app/ways", "broken", "/app/ways?problem=internal"},
			"somebody else's": {"/app/ways", "eve", "/app/ways?problem=already_linked"},
		} {
			if what == "somebody else's" {
				eve := s.browser()
				state, _ := eve.begin(t, "azure", "{}")
				if a := eve.do(t, "GET", comingBack("azure", state, "eve:eve@example.com"), ""); a.status != 200 {
					t.Fatalf("eve signs in: %d %s", a.status, a.body)
				}
			}
			if a := back(c.next, c.code); a.status != 303 || a.header.Get("Location") != c.to {
				t.Errorf("%s: %d to %s, want %s", what, a.status, a.header.Get("Location"), c.to)
			}
		}
		a := back("/app/ways?of=me", "lovelace")
		way, ok := strings.CutPrefix(a.header.Get("Location"), "/app/ways?of=me&linked=")
		if a.status != 303 || !ok {
			t.Fatalf("added: %d to %s", a.status, a.header.Get("Location"))
		}
		if ways := s.ways(t, "Cookie: __Host-latchkey="+b.cookies["__Host-latchkey"]); ways["azure lovelace"] != way {
			t.Errorf("ways %v, want %s", ways, way)
		}

		// A session that has ended meanwhile adds nothing.
		begunLast := begin("/app/ways")
		state, _ := begun(t, begunLast, begunLast.get("location"))
		if a := b.do(t, "DELETE", "/auth/session", ""); a.status != 200 {
			t.Fatalf("sign out: %d %s", a.status, a.body)
		}
		if a := b.do(t, "GET", comingBack("azure", state, "countess"), "", page); a.status == 200 || strings.Contains(a.header.Get("Location"), "linked") {
			t.Errorf("signed out: %d to %s", a.status, a.header.Get("Location"))
		}
	})
}

func TestAWayOfTwoStepsIsAddedInTheSessionThatAskedForIt(t *testing.T) {
	eachInTwoSteps(t, func(t *testing.T, s *server) {
		mine := s.vouched(t, "ada", "ada@example.com", true)
		other := s.vouched(t, "ada", "ada@example.com", true)
		theirs := s.vouched(t, "eve", "eve@example.com", true)
		eve := actor(t, theirs)
		begin := func(credential, body string) string {
			t.Helper()
			a := s.do(t, "POST", "/auth/user/okta/link", body, credential)
			if a.status != 200 {
				t.Fatalf("begin: %d %s", a.status, a.body)
			}
			state, _ := begun(t, a, a.get("location"))
			return state
		}
		state := begin(bearer(mine), `{"callback_url":"`+shopsPage+`"}`)
		for what, headers := range map[string][]string{
			"by nobody": nil, "by somebody else": {bearer(theirs)}, "in another session of theirs": {bearer(other)},
		} {
			if a := s.do(t, "GET", comingBack("okta", state, "lovelace"), "", headers...); a.status != 401 || a.body != wrong(lostFlow) {
				t.Errorf("%s: %d %s", what, a.status, a.body)
			}
		}
		a := s.do(t, "GET", comingBack("okta", state, "lovelace"), "", bearer(mine))
		if a.status != 200 || a.get("provider_identity", "entity_id") != "lovelace" || a.get("token") != "" {
			t.Fatalf("by who began it: %d %s", a.status, a.body)
		}
		if ways := s.ways(t, bearer(mine)); len(ways) != 2 || ways["okta lovelace"] == "" {
			t.Errorf("ways: %v", ways)
		}
		b := s.browser()
		if a := b.do(t, "GET", comingBack("okta", b.start(t, "?next=/x"), "lovelace"), "", page); a.status != 303 {
			t.Fatalf("sign in by it: %d %s", a.status, a.body)
		}
		if got := b.do(t, "GET", "/admin/users/me", "").get("user", "id"); got != actor(t, mine) {
			t.Errorf("it signs in %q", got)
		}

		// An attacker's flow, opened by who is signed in, gives the attacker nothing; nor does one begun to sign in link anything.
		evil := begin(bearer(theirs), `{"callback_url":"`+shopsPage+`"}`)
		if a := b.do(t, "GET", comingBack("okta", evil, "lovelace"), "", page); a.status != 401 {
			t.Errorf("an attacker's flow: %d %s", a.status, a.body)
		}
		if a := s.do(t, "GET", comingBack("okta", evil, "lovelace"), "", bearer(theirs)); a.status != 400 || a.get("reason") != "already_linked" {
			t.Errorf("somebody else's: %d %s", a.status, a.body)
		}

		// What was proved to begin it is void when credentials are set anew.
		a = s.addWay(t, "emailpass", credentials("eve@example.com", password), bearer(theirs))
		if a.status != 200 {
			t.Fatalf("a password: %d %s", a.status, a.body)
		}
		if a := s.do(t, "POST", "/auth/user/okta/link", `{}`, bearer(theirs)); a.status != 400 || a.body != invalid("Field 'current_password' is required") {
			t.Errorf("without the password: %d %s", a.status, a.body)
		}
		if a := s.do(t, "POST", "/auth/user/okta/link", `{"current_password":"wrong horse"}`, bearer(theirs)); a.status != 401 {
			t.Errorf("with a wrong password: %d %s", a.status, a.body)
		}
		late := begin(bearer(theirs), `{"current_password":"`+password+`"}`)
		a = s.do(t, "POST", "/auth/user/emailpass/update", `{"current_password":"`+password+`","password":"`+newPassword+`"}`, bearer(theirs))
		if a.status != 200 {
			t.Fatalf("a new password: %d %s", a.status, a.body)
		}
		if a := s.do(t, "GET", comingBack("okta", late, "trojan"), "", bearer(a.get("token"))); a.status != 401 {
			t.Errorf("a flow of before the password: %d %s", a.status, a.body)
		}
		var outcomes []string
		for _, e := range s.trail(t, "limit=1000&action=link.provider_linked") {
			outcomes = append(outcomes, fmt.Sprint(e["outcome"], " ", e["reason"], " by ", e["actor_id"] == any(actor(t, mine)), " ", e["actor_id"] == any(eve)))
		}
		slices.Sort(outcomes)
		for _, want := range []string{"success <nil> by true false", "refused invalid_credentials by false true"} {
			if !slices.Contains(outcomes, want) {
				t.Errorf("the trail has %q, not %s", outcomes, want)
			}
		}
	})
}

func TestFirstSignInsByTwoStepsAtOnceMakeOneUser(t *testing.T) {
	eachInTwoSteps(t, func(t *testing.T, s *server) {
		const callers = 10
		browsers, states := make([]*browser, callers), make([]string, callers)
		for i := range browsers {
			browsers[i] = s.browser()
			states[i], _ = browsers[i].begin(t, "okta", "{}")
		}
		actors := make([]string, callers)
		together(callers, func(i int) {
			a := browsers[i].do(t, "GET", comingBack("okta", states[i], "ada:ada@example.com"), "")
			if a.status != 200 {
				t.Errorf("caller %d: %d %s", i, a.status, a.body)
				return
			}
			actors[i] = actor(t, a.get("token"))
		})
		if len(slices.Compact(actors)) != 1 || s.count(t, "user") != 1 {
			t.Errorf("%v signed in, and there are %d users", actors, s.count(t, "user"))
		}

		// Of one flow that comes back ten times at once, one is let in.
		b := s.browser()
		state, _ := b.begin(t, "okta", "{}")
		cookie := "Cookie: __Host-latchkey-flow=" + b.cookies["__Host-latchkey-flow"]
		let := make([]int, callers)
		together(callers, func(i int) {
			let[i] = s.do(t, "GET", comingBack("okta", state, "ada:ada@example.com"), "", cookie).status
		})
		slices.Sort(let)
		if let[0] != 200 || let[1] != 401 {
			t.Errorf("answers: %v", let)
		}
	})
}

func TestSignInsOfTwoStepsAreBegunSoOftenFromAnAddress(t *testing.T) {
	o := twoSteps
	o.site.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}
	eachWith(t, o, func(t *testing.T, s *server) {
		from := func(ip string) string { return "X-Forwarded-For: " + ip }
		refusedAt := 0
		for i := 1; i <= 305 && refusedAt == 0; i++ {
			if a := s.do(t, "POST", "/auth/user/okta", "{}", from("203.0.113.7")); a.status == 429 {
				refusedAt = i
				if a.header.Get("Retry-After") == "" {
					t.Error("it is not said for how long")
				}
			}
		}
		if refusedAt != 301 || s.count(t, "auth_flow") != 300 {
			t.Errorf("refused at %d, with %d flows", refusedAt, s.count(t, "auth_flow"))
		}
		if a := s.do(t, "POST", "/auth/user/okta", "{}", from("198.51.100.7")); a.status != 200 {
			t.Errorf("from elsewhere: %d %s", a.status, a.body)
		}
	})
}

func TestABrowserThatHasGoneIsNoFailureOfTheServer(t *testing.T) {
	eachInTwoSteps(t, func(t *testing.T, s *server) {
		for code, logged := range map[string]bool{"gone": false, "broken": true} {
			b := s.browser()
			state := b.start(t, "")
			s.log.reset()
			b.do(t, "GET", comingBack("okta", state, code), "", page)
			if log := s.log.String(); strings.Contains(log, `"level":"ERROR"`) != logged {
				t.Errorf("%s: the log is %s", code, log)
			}
		}
	})
}

// A GET that begins a sign-in uses up what its sender's address may begin, and may have something mailed: a page of another site must
// not have its visitors send any.
func TestAPageOfAnotherSiteHasItsVisitorsBeginNothing(t *testing.T) {
	o := twoSteps
	o.site.CORSOrigins = []string{"https://shop.example.com"}
	eachWith(t, o, func(t *testing.T, s *server) {
		s.Client().CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		const begins, starts = "/auth/user/okta", "/auth/user/okta/start"
		sent := func(site, mode, dest string, more ...string) []string {
			return append(more, "Sec-Fetch-Site: "+site, "Sec-Fetch-Mode: "+mode, "Sec-Fetch-Dest: "+dest)
		}
		begun := 0
		for what, c := range map[string]struct {
			path    string
			status  int
			headers []string
		}{
			"a picture":                     {begins, 403, sent("cross-site", "no-cors", "image")},
			"a picture of a sister site":    {begins, 403, sent("same-site", "no-cors", "image")},
			"a script":                      {begins, 403, sent("cross-site", "cors", "empty", "Origin: https://evil.example")},
			"a script of an old browser":    {begins, 403, []string{"Origin: https://evil.example"}},
			"a frame":                       {begins, 403, sent("cross-site", "navigate", "iframe")},
			"a link to what scripts use":    {begins, 403, sent("cross-site", "navigate", "document")},
			"our own script":                {begins, 200, sent("same-origin", "cors", "empty")},
			"a listed script":               {begins, 200, sent("same-site", "cors", "empty", "Origin: https://shop.example.com")},
			"a program":                     {begins, 200, nil},
			"start by a picture":            {starts, 403, sent("cross-site", "no-cors", "image")},
			"start by a frame":              {starts, 403, sent("cross-site", "navigate", "iframe", page)},
			"start by a script":             {starts, 403, sent("same-site", "cors", "empty", "Origin: https://evil.example.com")},
			"start before anybody wants it": {starts, 403, sent("cross-site", "navigate", "document", "Sec-Purpose: prefetch;prerender")},
			"start by a link":               {starts, 303, sent("cross-site", "navigate", "document", page)},
			"start by hand":                 {starts, 303, sent("none", "navigate", "document", page)},
			"start by our own link":         {starts, 303, sent("same-origin", "navigate", "document", page)},
			"start in an old browser":       {starts, 303, []string{page}},
		} {
			a := s.do(t, "GET", c.path, "", c.headers...)
			if a.status != c.status || (a.status == 403) != (a.get("reason") == "cross_origin") || (a.status == 403) != (a.header.Get("Set-Cookie") == "") {
				t.Errorf("%s: %d %s, want %d", what, a.status, a.body, c.status)
			}
			if c.status != 403 {
				begun++
			}
		}
		if got := s.count(t, "auth_flow"); got != begun {
			t.Errorf("%d were begun, want %d", got, begun)
		}
		if kept := s.trail(t, "outcome=refused"); len(kept) != 0 { // visitors everywhere could fill it
			t.Errorf("the trail has %v", kept)
		}
	})
}

func TestAProviderOfTwoStepsIsForTheActorTypesThatMayUseIt(t *testing.T) {
	o := twoSteps
	o.actor = link.ActorOptions{Providers: []string{"emailpass", "okta", "vouching"}}
	eachWith(t, o, func(t *testing.T, s *server) {
		for _, path := range []string{"POST /auth/user/azure", "GET /auth/user/azure/callback?state=x", "POST /auth/user/azure/callback", "GET /auth/user/azure/start"} {
			method, at, _ := strings.Cut(path, " ")
			if a := s.do(t, method, at, ""); a.status != 400 || !strings.Contains(a.body, "not allowed to use the auth provider azure") {
				t.Errorf("%s: %d %s", path, a.status, a.body)
			}
		}
		if a := s.do(t, "GET", "/auth/user/azure", ""); a.status != 405 {
			t.Errorf("GET: %d %s", a.status, a.body)
		}
	})
}
