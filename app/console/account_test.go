package console_test

import (
	"context"
	"errors"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/user"
)

const (
	accountPage  = "/app/account"
	passwordPage = "/app/account/password"
	sessionsPage = "/app/account/sessions"
	methodsPage  = "/app/account/methods"
	deletePage   = "/app/account/delete"

	another = "another horse battery" // a password
)

// returning is a provider of two steps: who comes back with a code name:address is who it says.
type returning struct{ name, shown string }

func (p returning) Name() string        { return p.name }
func (p returning) DisplayName() string { return p.shown }

func (p returning) Begin(_ context.Context, a auth.Attempt) (auth.Challenge, error) {
	return auth.Challenge{RedirectURL: "https://idp.example/" + p.name + "?" + url.Values{"state": {a.FlowID}}.Encode()}, nil
}

func (returning) Finish(_ context.Context, a auth.Attempt) (auth.Assertion, error) {
	var in struct {
		Code string `json:"code"`
	}
	if err := a.Input.Decode(&in); err != nil {
		return auth.Assertion{}, err
	}
	name, email, _ := strings.Cut(in.Code, ":")
	if name == "" || name == "bad" {
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	return auth.Assertion{EntityID: name, Profile: auth.Profile{Email: email, EmailVerified: email != ""}}, nil
}

// withOkta is a site with a provider of two steps beside passwords.
var withOkta = options{whole: true, providers: []auth.Provider{returning{"okta", `Okta <of "us">`}}}

const oktaShown = "Okta &lt;of &#34;us&#34;&gt;"

// comeBack is how somebody comes back from the provider to which an address has led.
func (b *browser) comeBack(to, code string) page {
	b.t.Helper()
	u, err := url.Parse(to)
	if err != nil || u.Host != "idp.example" {
		b.t.Fatalf("%q leads to no provider", to)
	}
	return b.get("/auth/user" + u.Path + "/callback?" + url.Values{"state": {u.Query().Get("state")}, "code": {code}}.Encode())
}

// signInBy signs in by the provider of two steps, from a link.
func (b *browser) signInBy(start, code string) page {
	b.t.Helper()
	before := b.client.CheckRedirect
	b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	to := b.get(start).header.Get("Location")
	b.client.CheckRedirect = before
	return b.comeBack(to, code)
}

const oktaStart = "/auth/user/okta/start?next=/app"

// age puts every sign-in back.
func (s *site) age(t *testing.T, by time.Duration) {
	t.Helper()
	if err := s.db.InTx(t.Context(), func(ctx context.Context) error {
		_, err := s.db.Conn(ctx).NewRaw("UPDATE latchkey_auth_session SET authenticated_at = ?", database.Now().Add(-by)).Exec(ctx)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	time.Sleep(time.Second + 10*time.Millisecond) // until nobody remembers what it was
}

// link is the href of the page that begins so.
func (b *browser) link(begins string) string {
	b.t.Helper()
	_, rest, found := strings.Cut(b.page.body, `href="`+begins)
	if !found {
		b.t.Fatalf("no link to %s… in:\n%s", begins, b.page.body)
	}
	rest, _, _ = strings.Cut(rest, `"`)
	return html.UnescapeString(begins + rest)
}

func (b *browser) alive() bool {
	b.t.Helper()
	return b.get(accountPage).path == accountPage
}

func TestHomeLeadsOn(t *testing.T) {
	eachWith(t, options{policy: link.InviteOnly{}}, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com")
		s.person(t, "root@example.com", user.RoleAdmin)
		s.register(t, "eve@example.com")
		for email, want := range map[string]string{"ada@example.com": accountPage, "root@example.com": "/app/users", "eve@example.com": home} {
			b := s.browser(t)
			b.signIn(email)
			if b.get(home); b.page.path != want {
				t.Errorf("%s is led to %s, want %s", email, b.page.path, want)
			}
		}
	})
}

func TestTheProfileShowsTheAccountAndKeepsTheNames(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		ada := s.person(t, "ada@example.com", "editor", "member")
		b := s.browser(t)
		b.signIn("ada@example.com")
		b.want(http.StatusOK, accountPage, "<h1>Profile</h1>", "ada@example.com", "confirmed", "editor, member", `href="/app/email"`, `href="/app/account/delete"`,
			`<a href="/app/account" aria-current="page">`, `href="/app/account/password"`, `href="/app/account/sessions"`, `href="/app/account/methods"`)
		b.wantNot("/app/users")

		name := `"><script>alert(1)</script>{{.}}`
		b.submit(accountPage, fields("first_name", "  "+name+" ", "last_name", "Lovelace"))
		b.want(http.StatusOK, accountPage, "Your profile is saved.", `value="&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;`, `value="Lovelace"`)
		b.wantNot("<script>alert")
		if u := s.user(t, "ada@example.com"); u.FirstName == nil || *u.FirstName != name || *u.LastName != "Lovelace" || !slices.Equal(u.Roles, ada.Roles) {
			t.Errorf("kept: %+v", u)
		}
		if b.get(accountPage); strings.Contains(b.page.body, "Your profile is saved.") {
			t.Error("it is said twice")
		}

		// What cannot be kept is said, and what was typed stays.
		long := strings.Repeat("x", 1025)
		b.submit(accountPage, fields("first_name", "Ada", "last_name", long))
		b.want(http.StatusBadRequest, accountPage, "The last name is too long: at most 1,024 bytes", `value="`+long+`"`, `value="Ada"`)
		if u := s.user(t, "ada@example.com"); *u.LastName != "Lovelace" {
			t.Errorf("kept: %s", *u.LastName)
		}
		b.get(accountPage)
		b.submit(accountPage, fields("first_name", "", "last_name", ""))
		if u := s.user(t, "ada@example.com"); u.FirstName != nil || u.LastName != nil {
			t.Errorf("an empty field is kept as a name: %v", u)
		}
	})
}

func TestTheProfileHasTheAddressProved(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.register(t, "ada@example.com")
		b := s.browser(t)
		b.signIn("ada@example.com")
		ada := s.user(t, "ada@example.com")
		b.get(accountPage)
		b.want(http.StatusOK, accountPage, `<span class="badge warn">not confirmed</span>`)
		b.submit("/app/account/verify", nil)
		b.want(http.StatusOK, accountPage, "A mail with a link is on its way to <strong>ada@example.com</strong>")
		b.get(s.mailedProof(t))
		b.want(http.StatusOK, "/app/verify-email", "<strong>ada@example.com</strong>")
		b.submit("/app/verify-email", nil)
		b.want(http.StatusOK, "/app/verify-email", "is confirmed")
		if u := s.user(t, "ada@example.com"); u.ID != ada.ID || !u.EmailVerified() {
			t.Errorf("proved: %t", u.EmailVerified())
		}
		b.get(accountPage)
		b.want(http.StatusOK, accountPage, `<span class="badge good">confirmed</span>`)
		b.wantNot("/app/account/verify", "not confirmed")
		if b.get("/app/account/verify"); b.page.status != http.StatusMethodNotAllowed {
			t.Errorf("GET: %d", b.page.status)
		}
	})
}

// A form that one person has opened does nothing to another who has signed in since.
func TestFormsOfAnAccountAreForWhoHasOpenedThem(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com")
		eve := s.person(t, "eve@example.com")
		opened, b := s.browser(t), s.browser(t)
		opened.signIn("ada@example.com")
		b.signIn("eve@example.com")
		kept := b.get(accountPage)
		for path, typed := range map[string]url.Values{
			accountPage:              fields("first_name", "Ada"),
			passwordPage:             fields("current_password", password, "new_password", another),
			sessionsPage + "/others": nil,
			deletePage:               fields("confirmation", "eve@example.com", "current_password", password),
			emailPath:                fields("email", "ada@lovelace.example", "password", password),
		} {
			opened.get(path)
			b.page = opened.page
			b.submit(path, typed)
			b.want(http.StatusConflict, path, "has changed meanwhile")
			b.wantNot(password, another)
		}
		for _, as := range []string{"", "x"} {
			b.do("POST", deletePage, form, strings.NewReader(fields("confirmation", "eve@example.com", "current_password", password, "as", as).Encode()))
			b.want(http.StatusConflict, deletePage, "has changed meanwhile")
		}
		if len(s.asked.moves) > 0 {
			t.Errorf("somebody asked for %v", s.asked.moves)
		}
		if u := s.user(t, "eve@example.com"); u.ID != eve.ID || u.FirstName != nil || !b.alive() || !strings.Contains(kept.body, "eve@example.com") {
			t.Errorf("now: %+v", u)
		}
	})
}

// Who is signed in no more, or nobody yet, sees none of it and does nothing.
func TestThePagesOfAnAccountAreForWhoHasOne(t *testing.T) {
	eachWith(t, options{policy: link.InviteOnly{}}, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com")
		s.register(t, "eve@example.com")
		waiting := s.browser(t)
		waiting.signIn("eve@example.com")
		b := s.browser(t)
		b.signIn("ada@example.com")
		paths := []string{accountPage, passwordPage, sessionsPage, sessionsPage + "/others", methodsPage, deletePage, "/app/email"}
		for _, path := range paths {
			if b.get(path); b.page.status != http.StatusOK || b.page.path != path || !strings.Contains(b.page.body, `aria-current="page"`) {
				t.Errorf("%s: %s, %d", path, b.page.path, b.page.status)
			}
			if b.do(http.MethodHead, path, "", nil); b.page.status != http.StatusOK || b.page.body != "" {
				t.Errorf("HEAD %s: %d %q", path, b.page.status, b.page.body)
			}
			if nobody := s.browser(t); nobody.get(path).path != "/app/login" {
				t.Errorf("%s by nobody: %s", path, nobody.page.path)
			}
			if waiting.get(path); waiting.page.path != home || strings.Contains(waiting.page.body, "aria-current") {
				t.Errorf("%s by somebody without an account: %s", path, waiting.page.path)
			}
		}
		for _, path := range []string{sessionsPage + "/authsess_nobodys", methodsPage + "/nobodys", methodsPage + "/add/nobodys", methodsPage + "/add/emailpass", methodsPage + "/" + url.PathEscape(`"><script>/../`)} {
			if b.get(path); b.page.status != http.StatusNotFound || strings.Contains(b.page.body, "<script>/") {
				t.Errorf("%s: %d", path, b.page.status)
			}
		}

		// The session ends behind the page that is open.
		for path, typed := range map[string]url.Values{
			accountPage: fields("first_name", "Ada"), passwordPage: fields("current_password", password, "new_password", another),
			deletePage: fields("confirmation", "ada@example.com", "current_password", password), sessionsPage + "/others": nil,
		} {
			late, other := s.browser(t), s.browser(t)
			late.signIn("ada@example.com")
			late.get(path)
			opened := late.page
			other.signIn("ada@example.com")
			other.get(sessionsPage + "/others")
			other.submit(sessionsPage+"/others", nil)
			other.want(http.StatusOK, sessionsPage)
			late.page = opened
			late.submit(path, typed)
			if path == accountPage { // where something is typed that is kept
				late.want(http.StatusUnauthorized, path, "You are not signed in any more", "Nothing was done")
			} else {
				late.want(http.StatusOK, "/app/login")
			}
			if !other.alive() {
				t.Errorf("%s by who was thrown out has thrown out others", path)
			}
		}
		if u := s.user(t, "ada@example.com"); u.FirstName != nil {
			t.Errorf("now: %+v", u)
		}
	})
}

func TestThePasswordIsChangedAndTheSessionGoesOn(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com")
		s.secret(another)
		b, elsewhere := s.browser(t), s.browser(t)
		elsewhere.signIn("ada@example.com")
		b.signIn("ada@example.com")
		b.get(passwordPage)
		b.want(http.StatusOK, passwordPage, `name="current_password" type="password" autocomplete="current-password" required`, `name="new_password" type="password" autocomplete="new-password" required`,
			`autocomplete="username" readonly hidden value="ada@example.com"`)
		opened := b.page
		for what, c := range map[string]struct {
			now, then string
			status    int
			says, at  string
		}{
			"a wrong one":       {"not " + password, another, http.StatusUnauthorized, "The current password is not right", "current_password"},
			"none now":          {"", another, http.StatusBadRequest, "Enter the password that you have now.", "current_password"},
			"none then":         {password, "", http.StatusBadRequest, "Enter a password.", "new_password"},
			"a short one":       {password, "short", http.StatusBadRequest, "The password is too short", "new_password"},
			"made of the names": {password, "ada@example.com", http.StatusBadRequest, "must not be your e-mail address", "new_password"},
		} {
			b.page = opened
			b.submit(passwordPage, fields("current_password", c.now, "new_password", c.then))
			b.want(c.status, passwordPage, c.says, `id="problem"`)
			if !strings.Contains(b.page.body, `id="`+c.at+`"`) || strings.Count(b.page.body, `aria-invalid="true" autofocus`) != 1 || !strings.Contains(strings.Split(b.page.body, `id="`+c.at+`"`)[1][:200], "aria-invalid") {
				t.Errorf("%s: it does not point at %s:\n%s", what, c.at, b.page.body)
			}
		}
		if !elsewhere.alive() {
			t.Error("what was refused has ended a session")
		}
		before := b.cookie()
		b.page = opened
		b.submit(passwordPage, fields("current_password", password, "new_password", another))
		b.want(http.StatusOK, passwordPage, "Your password is changed.")
		if !b.alive() || b.cookie() == before {
			t.Error("the session does not go on by a cookie of its own")
		}
		if elsewhere.alive() {
			t.Error("the other session goes on")
		}
		b.page = opened // sent again
		b.submit(passwordPage, fields("current_password", password, "new_password", another))
		b.want(http.StatusUnauthorized, passwordPage, "The current password is not right")
		elsewhere.signIn("ada@example.com")
		elsewhere.want(http.StatusUnauthorized, "/app/login")
		elsewhere.submit("/app/login", fields("email", "ada@example.com", "password", another))
		elsewhere.want(http.StatusOK, home)
	})
}

func TestWhoHasNoPasswordIsToldHowToGetOne(t *testing.T) {
	eachWith(t, withOkta, func(t *testing.T, s *site) {
		b := s.browser(t)
		b.signInBy(oktaStart, "ada:ada@example.com")
		b.want(http.StatusOK, home, "ada@example.com")
		b.get(methodsPage)
		b.want(http.StatusOK, methodsPage, oktaShown, "The last method cannot be removed", `href="/app/account/password"`, "Choose a password")
		b.get(passwordPage)
		b.want(http.StatusOK, passwordPage, "You have no password yet", "Sign in once more with "+oktaShown, `href="/auth/user/okta/start?next=%2fapp%2faccount%2fpassword"`, "Set the password")
		b.wantNot("current_password", "Change the password")

		// By a sign-in of a while ago it is not.
		s.age(t, 6*time.Minute)
		b.submit(passwordPage, fields("new_password", s.secret(another)))
		b.want(http.StatusForbidden, passwordPage, says(auth.ErrSignInAgain))
		b.signInBy(b.link("/auth/user/okta/start"), "ada:ada@example.com")
		b.want(http.StatusOK, passwordPage, "Set the password")
		b.submit(passwordPage, fields("new_password", "short"))
		b.want(http.StatusBadRequest, passwordPage, "The password is too short", `aria-invalid="true"`)
		b.submit(passwordPage, fields("new_password", another))
		b.want(http.StatusOK, methodsPage, "Your password is set.", "E-mail and password", "Change the password")
		elsewhere := s.browser(t)
		elsewhere.get("/app/login")
		elsewhere.submit("/app/login", fields("email", "ada@example.com", "password", another))
		elsewhere.want(http.StatusOK, home, "ada@example.com")
	})

	// Where nothing leads to one, that is what is said.
	only := withOkta
	only.allowed = []string{"okta"}
	eachWith(t, only, func(t *testing.T, s *site) {
		b := s.browser(t)
		b.signInBy(oktaStart, "ada:ada@example.com")
		b.get(passwordPage)
		b.want(http.StatusOK, passwordPage, "and need none")
		b.wantNot("new_password")
		b.get(methodsPage)
		b.wantNot("Choose a password")
	})
	eachWith(t, withOkta, func(t *testing.T, s *site) {
		b := s.browser(t)
		b.signInBy(oktaStart, "ada:ada@example.com")
		b.want(http.StatusOK, home)
		if err := s.db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := s.db.Conn(ctx).NewRaw("UPDATE latchkey_user SET email_verified_at = NULL").Exec(ctx)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		b.get(passwordPage)
		b.want(http.StatusOK, passwordPage, "confirm first that your e-mail address is yours")
		b.wantNot("new_password")
		b.get(methodsPage)
		b.want(http.StatusOK, methodsPage, "Before anything is added")
		b.wantNot("/app/account/methods/add/")
		b.get("/app/account/methods/add/okta")
		b.submit("/app/account/methods/add/okta", nil)
		b.want(http.StatusForbidden, "/app/account/methods/add/okta", html.EscapeString(says(link.ErrPrimaryEmail)))
	})
}

func TestSessionsAreListedAndEnded(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com")
		s.person(t, "eve@example.com")
		browsers := map[string]*browser{}
		for agent, words := range map[string]string{
			"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36 Edg/126.0":                  "Edge on Windows",
			"Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Safari/605.1.15":                  "Safari on macOS",
			"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/126.0 Mobile/15E148 Safari/604.1": "Chrome on iPhone",
			"Mozilla/5.0 (Linux; Android 14; SM-S928B) AppleWebKit/537.36 (KHTML, like Gecko) SamsungBrowser/25.0 Chrome/121.0 Mobile Safari/537.36": "Samsung Internet on Android",
			"Mozilla/5.0 (X11; Linux x86_64; rv:127.0) Gecko/20100101 Firefox/127.0":                                                                 "Firefox on Linux",
			"Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36":                             "Chrome on ChromeOS",
			"curl/8.5.0":                  "curl",
			"Mozilla/5.0 (something new)": "An unknown device",
			`<script>alert("1")</script>`: "&lt;script&gt;alert(&#34;1&#34;)&lt;",
		} {
			browsers[words] = s.browser(t)
			browsers[words].header.Set("User-Agent", agent)
			browsers[words].signIn("ada@example.com")
		}
		eve := s.browser(t)
		eve.signIn("eve@example.com")

		b := browsers["Firefox on Linux"]
		b.get(sessionsPage)
		b.want(http.StatusOK, sessionsPage, "9 sessions", `Firefox on Linux</span> <span class="badge good">this device</span>`, "127.0.0.1", "<time datetime=", "End all others")
		for words := range browsers {
			if !regexp.MustCompile(`<th scope="row" role="rowheader" class="words"><span( title="[^"]*")?>` + regexp.QuoteMeta(words)).MatchString(b.page.body) {
				t.Errorf("nothing is called %s in:\n%s", words, b.page.body)
			}
		}
		if n := strings.Count(b.page.body, "this device"); n != 1 {
			t.Errorf("%d sessions are this one", n)
		}
		if n := strings.Count(b.page.body, sessionsPage+"/authsess_"); n != 8 {
			t.Errorf("%d sessions can be ended, want all others", n)
		}

		// One is ended by a page that asks.
		phone := browsers["Chrome on iPhone"]
		var id string
		phone.get(sessionsPage)
		for _, row := range strings.Split(b.page.body, `<tr role="row">`) {
			if strings.Contains(row, "Chrome on iPhone") {
				_, id, _ = strings.Cut(row, `href="`)
				id, _, _ = strings.Cut(id, `"`)
			}
		}
		b.get(id)
		b.want(http.StatusOK, id, "End this session?", "Chrome on iPhone", "CPU iPhone OS 17_5 like Mac OS X")
		if !phone.alive() {
			t.Error("asking has ended it")
		}
		asked := b.page
		eve.get(id)
		eve.want(http.StatusNotFound, id, "not signed in there any more")
		eve.do("POST", id, form, strings.NewReader(""))
		eve.want(http.StatusNotFound, id)
		if !phone.alive() {
			t.Error("somebody else has ended it")
		}
		b.submit(id, nil)
		b.want(http.StatusOK, sessionsPage, "That session has ended.", "8 sessions")
		if phone.alive() {
			t.Error("it goes on")
		}
		b.page = asked
		b.submit(id, nil) // sent again
		b.want(http.StatusOK, sessionsPage, "8 sessions")
		b.get(id)
		b.want(http.StatusNotFound, id)

		// All others.
		b.get(sessionsPage + "/others")
		b.want(http.StatusOK, sessionsPage+"/others", "End all other sessions?")
		asked = b.page
		b.submit(sessionsPage+"/others", nil)
		b.want(http.StatusOK, sessionsPage, "7 other sessions have ended.", "1 session<")
		b.wantNot("End all others")
		for words, other := range browsers {
			if other != b && other.alive() {
				t.Errorf("%s goes on", words)
			}
		}
		b.page = asked
		b.submit(sessionsPage+"/others", nil)
		b.want(http.StatusOK, sessionsPage, "There were no other sessions.")
		if !eve.alive() {
			t.Error("eve is signed out")
		}

		// This one: that is signing out.
		session, err := s.auth.CheckCookie(t.Context(), b.cookie())
		if err != nil {
			t.Fatal(err)
		}
		id = sessionsPage + "/" + string(session.ID)
		b.get(id)
		b.want(http.StatusOK, id, "this device", "you are signed out here")
		b.submit(id, nil)
		b.want(http.StatusOK, "/app/login")
		if b.alive() {
			t.Error("it goes on")
		}
	})
}

// form2 gets a page, and is its form.
func (b *browser) form2(path string) htmlForm {
	b.t.Helper()
	b.get(path)
	return b.form(path)
}

func TestManySessionsComeInPages(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com")
		b := s.browser(t)
		b.signIn("ada@example.com")
		for range 24 {
			if _, err := s.link.SignIn(t.Context(), link.ActorUser, "emailpass", credentials("ada@example.com"), auth.Client{}); err != nil {
				t.Fatal(err)
			}
		}
		ids := func() int { return strings.Count(b.page.body, "An unknown device</span></a>") }
		b.get(sessionsPage)
		b.want(http.StatusOK, sessionsPage, "25 sessions", "?page=2")
		b.wantNot("?page=0", "this device", "Previous page")
		first := ids()
		b.get(sessionsPage + "?page=2")
		b.want(http.StatusOK, sessionsPage, "?page=1", "this device")
		b.wantNot("Next page")
		if second := ids(); first != 20 || second != 4 {
			t.Errorf("%d and %d that can be ended, want 20 and 4", first, second)
		}
		for _, page := range []string{"0", "-1", "x", "99999999999999999999", "201"} {
			b.get(sessionsPage + "?page=" + page)
			b.want(http.StatusOK, sessionsPage, "?page=2")
		}
		b.get(sessionsPage + "?page=100")
		b.want(http.StatusOK, sessionsPage, "?page=99")
	})
}

func TestSignInMethodsAreAddedAndRemoved(t *testing.T) {
	eachWith(t, withOkta, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com")
		b, elsewhere := s.browser(t), s.browser(t)
		b.signIn("ada@example.com")
		elsewhere.signIn("ada@example.com")
		b.get(methodsPage)
		b.want(http.StatusOK, methodsPage, "E-mail and password", "ada@example.com", "Add "+oktaShown, "The last method cannot be removed")
		b.wantNot("Choose a password", ">Remove ")
		add := b.link(methodsPage + "/add/")
		begin := func() string {
			b.get(add)
			b.want(http.StatusOK, add, "<h1>Add "+oktaShown, "current_password")
			b.submit(add, fields("current_password", s.secret(password)))
			b.want(http.StatusOK, add, "On to "+oktaShown, `href="https://idp.example/okta?state=`)
			to, ok := strings.CutPrefix(b.page.header.Get("Refresh"), "0; url=")
			if !ok || html.EscapeString(to) != html.EscapeString(b.link("https://idp.example/okta")) {
				t.Errorf("the page leads to %q", to)
			}
			return to
		}
		b.get(add)
		b.submit(add, fields("current_password", "not "+password))
		b.want(http.StatusUnauthorized, add, "The current password is not right", `aria-invalid="true"`)
		b.submit(add, fields("current_password", ""))
		b.want(http.StatusBadRequest, add, "Enter the password that you have now.")

		// What goes wrong there is told here, in our words alone.
		b.comeBack(begin(), "bad")
		b.want(http.StatusUnauthorized, methodsPage, "Start again", `role="alert"`)
		other := s.browser(t)
		other.signInBy(oktaStart, "grace:grace@example.com")
		b.comeBack(begin(), "grace")
		b.want(http.StatusBadRequest, methodsPage, says(link.ErrLinked))
		for _, reason := range []string{"<script>alert(1)</script>", "internal", "sign_in_declined"} {
			b.get(methodsPage + "?problem=" + url.QueryEscape(reason))
			b.wantNot("<script>alert")
			if b.page.status < 400 {
				t.Errorf("%s: %d", reason, b.page.status)
			}
		}
		b.get(methodsPage + "?linked=nobodys") // whoever wrote that
		b.want(http.StatusOK, methodsPage)
		b.wantNot("from now on")

		b.comeBack(begin(), "lovelace:countess@example.com")
		b.want(http.StatusOK, methodsPage, "You can sign in by "+oktaShown+" from now on.", "countess@example.com", "Remove")
		b.wantNot("The last method cannot")
		if !elsewhere.alive() {
			t.Error("adding has ended a session")
		}
		by := s.browser(t)
		by.signInBy(oktaStart, "lovelace:countess@example.com")
		by.want(http.StatusOK, home, "ada@example.com")

		// One is removed by a page that asks.
		b.get(methodsPage)
		var remove string
		for _, row := range strings.Split(b.page.body, `<tr role="row">`) {
			if strings.Contains(row, "countess@example.com") {
				_, remove, _ = strings.Cut(row, `href="`)
				remove, _, _ = strings.Cut(remove, `"`)
			}
		}
		other.get(remove)
		other.want(http.StatusNotFound, remove, "do not sign in by this any more")
		b.get(remove)
		b.want(http.StatusOK, remove, "Remove "+oktaShown+"?", "countess@example.com", "signed out everywhere but here")
		asked := b.page
		b.submit(remove, fields("current_password", "not "+password))
		b.want(http.StatusUnauthorized, remove, "The current password is not right")
		b.submit(remove, fields("current_password", password))
		b.want(http.StatusOK, methodsPage, oktaShown+" is removed.", "The last method cannot be removed")
		if elsewhere.alive() || by.alive() || !b.alive() {
			t.Errorf("alive: elsewhere %t, by the method %t, here %t", elsewhere.alive(), by.alive(), b.alive())
		}
		b.page = asked
		b.submit(remove, fields("current_password", password)) // sent again
		b.want(http.StatusNotFound, remove, "do not sign in by this any more")
		by.signInBy(oktaStart, "lovelace:countess@example.com")
		by.want(http.StatusOK, home, "countess@example.com")
		by.wantNot("ada@example.com")

		// The last one stays, whoever asks.
		ways, err := s.link.Ways(t.Context(), auth.Session{IdentityID: s.identity(t, "ada@example.com")})
		if err != nil {
			t.Fatal(err)
		}
		last := methodsPage + "/" + ways[0].ID
		b.get(last)
		b.submit(last, fields("current_password", password))
		b.want(http.StatusBadRequest, last, "Nothing would be left to sign in by.")
	})
}

// identity is by what somebody signs in who has a password.
func (s *site) identity(t *testing.T, email string) auth.IdentityID {
	t.Helper()
	l, err := s.link.SignIn(t.Context(), link.ActorUser, "emailpass", credentials(email), auth.Client{})
	if err != nil {
		t.Fatal(err)
	}
	return l.Identity.ID
}

func TestAnAccountIsDeletedByItsOwner(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "root@example.com", user.RoleAdmin)
		ada := s.person(t, "ada@example.com")
		b, elsewhere := s.browser(t), s.browser(t)
		elsewhere.signIn("ada@example.com")
		b.signIn("ada@example.com")
		b.get(accountPage)
		b.get(b.link(deletePage))
		b.want(http.StatusOK, deletePage, "signed out everywhere", "type your e-mail address, ada@example.com", "current_password", "can restore it")
		opened := b.page
		for what, c := range map[string]struct {
			typed, password string
			status          int
			says            string
		}{
			"nothing typed":    {"", password, http.StatusBadRequest, "What you typed is not what is asked for"},
			"something else":   {"ada", password, http.StatusBadRequest, "What you typed is not what is asked for"},
			"without proof":    {"ada@example.com", "", http.StatusBadRequest, "Enter the password that you have now."},
			"a wrong password": {"ada@example.com", "not " + password, http.StatusUnauthorized, "The current password is not right"},
		} {
			b.page = opened
			b.submit(deletePage, fields("confirmation", c.typed, "current_password", c.password))
			b.want(c.status, deletePage, c.says, `value="`+c.typed+`"`, `aria-invalid="true"`)
			if u := s.user(t, "ada@example.com"); u.ID != ada.ID {
				t.Fatalf("%s has deleted the account", what)
			}
		}
		s.trail(t)
		told := ""
		b.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error {
			told = r.Response.Header.Get("Clear-Site-Data")
			return nil
		}
		b.page = opened
		b.submit(deletePage, fields("confirmation", " ADA@example.com", "current_password", s.secret(password)))
		b.client.CheckRedirect = nil
		b.want(http.StatusOK, "/app/login", "Your account is deleted")
		if b.cookie() != "" || told != `"cache", "storage"` {
			t.Errorf("the cookie is %q, Clear-Site-Data %q", b.cookie(), told)
		}
		s.wantNoUser(t, "ada@example.com")
		if elsewhere.alive() || b.alive() {
			t.Error("a session goes on")
		}
		trail := s.trail(t)
		if !slices.ContainsFunc(trail, func(line string) bool {
			return strings.HasPrefix(line, "user.deleted success - user user=true session=true")
		}) {
			t.Errorf("the trail has %q", trail)
		}
		b.signIn("ada@example.com")
		b.want(http.StatusUnauthorized, "/app/login", "E-mail address or password is not right.")
		if err := s.users.RestoreUsers(t.Context(), ada.ID); err != nil {
			t.Errorf("restore: %v", err)
		}
		b.page = opened // sent again, by nobody
		b.submit(deletePage, fields("confirmation", "ada@example.com", "current_password", password))
		b.want(http.StatusOK, "/app/login")

		// The last administrator stays.
		root := s.browser(t)
		root.signIn("root@example.com")
		root.get(deletePage)
		root.submit(deletePage, fields("confirmation", "root@example.com", "current_password", password))
		root.want(http.StatusBadRequest, deletePage, says(user.ErrLastAdmin))
		if !root.alive() {
			t.Error("the last administrator is signed out")
		}
	})
}

func TestWhoHasNoPasswordDeletesTheAccountByAFreshSignIn(t *testing.T) {
	eachWith(t, withOkta, func(t *testing.T, s *site) {
		b := s.browser(t)
		b.signInBy(oktaStart, "ada:ada@example.com")
		s.age(t, 6*time.Minute)
		b.get(deletePage)
		b.want(http.StatusOK, deletePage, "You have no password", "Sign in once more with "+oktaShown)
		b.wantNot("current_password")
		b.submit(deletePage, fields("confirmation", "ada@example.com"))
		b.want(http.StatusForbidden, deletePage, says(auth.ErrSignInAgain), `value="ada@example.com"`)
		b.signInBy(b.link("/auth/user/okta/start"), "ada:ada@example.com")
		b.want(http.StatusOK, deletePage)
		b.submit(deletePage, fields("confirmation", "ada@example.com"))
		b.want(http.StatusOK, "/app/login", "Your account is deleted")
		s.wantNoUser(t, "ada@example.com")
	})

	// Who has no address types a word.
	eachWith(t, options{whole: true, providers: withOkta.providers, policy: link.PolicyFunc(func(_ context.Context, n link.Newcomer) (link.Decision, error) {
		return link.Create(n.Draft()), nil
	})}, func(t *testing.T, s *site) {
		b := s.browser(t)
		b.signInBy(oktaStart, "nobody")
		b.want(http.StatusOK, home)
		b.get(deletePage)
		b.want(http.StatusOK, deletePage, "type the word delete")
		b.submit(deletePage, fields("confirmation", "yes"))
		b.want(http.StatusBadRequest, deletePage, "What you typed")
		b.submit(deletePage, fields("confirmation", "Delete"))
		b.want(http.StatusOK, "/app/login", "Your account is deleted")
		if n, err := s.users.ListUsers(t.Context(), user.Filter{}, user.Page{}); err != nil || len(n) != 0 {
			t.Errorf("%d users, %v", len(n), err)
		}
	})
}

// Other sites send no forms of an account, and too many wrong passwords are told.
func TestAccountsAreGuarded(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com")
		b := s.browser(t)
		b.signIn("ada@example.com")
		as := b.form2(deletePage).values.Get("as")
		b.header = http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}
		for _, path := range []string{accountPage, accountPage + "/verify", passwordPage, sessionsPage + "/others", sessionsPage + "/" + as, methodsPage + "/x", deletePage} {
			b.do("POST", path, form, strings.NewReader(fields("as", as, "confirmation", "ada@example.com", "current_password", password).Encode()))
			b.want(http.StatusForbidden, path, "another site")
		}
		b.header = http.Header{}
		for i := 0; ; i++ {
			b.get(deletePage)
			b.submit(deletePage, fields("confirmation", "ada@example.com", "current_password", fmt.Sprint("wrong ", i)))
			if b.page.status == http.StatusTooManyRequests {
				break
			}
			b.want(http.StatusUnauthorized, deletePage)
			if i > 200 {
				t.Fatal("nobody stops guesses")
			}
		}
		b.want(http.StatusTooManyRequests, deletePage, "too many attempts")
		if b.page.header.Get("Retry-After") == "" {
			t.Error("it does not say for how long")
		}
		if _, err := s.users.FindUser(t.Context(), "ada@example.com"); errors.Is(err, user.ErrNotFound) {
			t.Error("the account is gone")
		}
	})
}
