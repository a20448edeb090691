package console_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/console"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/user"
)

const (
	password = "correct horse battery"
	form     = "application/x-www-form-urlencoded"
)

// person makes a user who signs in with password.
func (s *site) person(t *testing.T, email string, roles ...string) user.User {
	t.Helper()
	u, err := s.link.CreateUser(t.Context(), "emailpass", credentials(email), user.Draft{Email: email, Roles: roles})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func credentials(email string) auth.Input {
	return auth.Input(`{"email":"` + email + `","password":"` + password + `"}`)
}

// register gives somebody an identity without an account.
func (s *site) register(t *testing.T, email string) {
	t.Helper()
	if _, err := s.link.SignUp(t.Context(), link.ActorUser, "emailpass", credentials(email), auth.Client{}); err != nil {
		t.Fatal(err)
	}
}

// invite returns an invite and the path of its link.
func (s *site) invite(t *testing.T, email string, roles ...string) (user.Invite, string) {
	t.Helper()
	made, err := s.users.CreateInvites(t.Context(), user.InviteDraft{Email: email, Roles: roles})
	if err != nil {
		t.Fatal(err)
	}
	return made[0], s.path(made[0])
}

func (s *site) setup(t *testing.T) string {
	t.Helper()
	i, err := s.users.SetupInvite(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s.path(i)
}

func (s *site) path(i user.Invite) string {
	return "/app/invite?token=" + url.QueryEscape(s.secret(s.users.InviteToken(i, user.ByHand)))
}

// user returns the user by the address.
func (s *site) user(t *testing.T, email string) user.User {
	t.Helper()
	u, err := s.users.FindUser(t.Context(), email)
	if err != nil {
		t.Fatalf("%s: %v", email, err)
	}
	return u
}

func (s *site) wantNoUser(t *testing.T, email string) {
	t.Helper()
	if u, err := s.users.FindUser(t.Context(), email); !errors.Is(err, user.ErrNotFound) {
		t.Errorf("user by %s: %v, %v, want none", email, u.ID, err)
	}
}

func (b *browser) signIn(email string) {
	b.t.Helper()
	b.get("/app/login")
	b.submit("/app/login", fields("email", email, "password", b.site.secret(password)))
}

func TestSetupLinkMakesTheFirstAdmin(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b := s.browser(t)
		path := s.setup(t)
		b.get(path)
		b.want(http.StatusOK, "/app/invite", "Become the first administrator", `autocomplete="new-password"`)
		b.submit("/app/invite", fields("email", "Ada@Example.com", "first_name", "Ada", "last_name", "Lovelace", "password", s.secret(password)))
		b.want(http.StatusOK, "/app", "Ada Lovelace", "ada@example.com", "admin")
		if u := s.user(t, "ada@example.com"); !u.HasRole(user.RoleAdmin) {
			t.Errorf("roles %v, want admin", u.Roles)
		}
		second := s.browser(t)
		second.get(path)
		second.want(http.StatusBadRequest, "/app/invite", says(user.ErrInviteUsed), `href="/app/login"`)
	})
}

func TestSetupLinkIsDeadOnceThereIsAnAdmin(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b := s.browser(t)
		path := s.setup(t)
		b.get(path)
		s.person(t, "root@example.com", user.RoleAdmin)
		b.submit("/app/invite", fields("email", "ada@example.com", "password", password))
		b.want(http.StatusBadRequest, "/app/invite", says(user.ErrSetupDone), `href="/app/login"`)
		b.get(path)
		b.want(http.StatusBadRequest, "/app/invite", says(user.ErrSetupDone), `href="/app/login"`)
		s.wantNoUser(t, "ada@example.com")
	})
}

func TestSetupLinkMakesAMemberWithThatAddressTheFirstAdmin(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com", user.RoleMember)
		b := s.browser(t)
		b.get(s.setup(t))
		b.submit("/app/invite", fields("email", "ada@example.com", "password", "not "+password))
		b.want(http.StatusUnauthorized, "/app/invite", "E-mail address or password is not right.", `value="ada@example.com"`)
		if b.cookie() != "" {
			t.Error("somebody who was refused has a cookie")
		}
		b.submit("/app/invite", fields("email", "ada@example.com", "password", password))
		b.want(http.StatusOK, "/app", "ada@example.com", "admin, member")
	})
}

func TestInviteForSomebodyNew(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b := s.browser(t)
		_, path := s.invite(t, "ada@example.com", "editor")
		b.get(path)
		b.want(http.StatusOK, "/app/invite", "You are invited", "ada@example.com", "readonly")
		b.submit("/app/invite", fields("email", "eve@example.com", "first_name", "Ada", "password", s.secret(password)))
		b.want(http.StatusOK, "/app", "Ada", "ada@example.com", "editor")
		u := s.user(t, "ada@example.com")
		if !slices.Equal(u.Roles, []string{"editor"}) || u.LastName != nil || u.EmailVerified() {
			t.Errorf("roles %v, last name %v, verified %v; want editor, none, false", u.Roles, u.LastName, u.EmailVerified())
		}
		s.wantNoUser(t, "eve@example.com")
		b.submit("/app/logout", nil)
		b.signIn("ada@example.com") // not by the address that was smuggled in
		b.want(http.StatusOK, "/app", "editor")
	})
}

func TestInviteForSomebodyWithAnIdentity(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.register(t, "ada@example.com")
		_, path := s.invite(t, "ada@example.com", "editor")
		b := s.browser(t)
		b.get(path)
		b.submit("/app/invite", fields("first_name", "Ada", "password", s.secret("not her password")))
		b.want(http.StatusUnauthorized, "/app/invite", "E-mail address or password is not right.", `value="Ada"`, `role="alert"`)
		s.wantNoUser(t, "ada@example.com")
		b.submit("/app/invite", fields("password", s.secret(password)))
		b.want(http.StatusOK, "/app", "Ada", "editor")
	})
}

func TestInviteForSomebodyWithAnAccountAddsItsRoles(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.register(t, "ada@example.com")
		b := s.browser(t)
		b.signIn("ada@example.com") // a member by now, whose address nobody has proved
		b.submit("/app/logout", nil)
		_, path := s.invite(t, "ada@example.com", "editor")
		b.get(path)
		b.submit("/app/invite", fields("password", password))
		b.want(http.StatusOK, "/app", "editor, member")
	})
}

func TestInviteOpenedByItsSignedInOwner(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.register(t, "ada@example.com")
		b := s.browser(t)
		b.signIn("ada@example.com")
		_, path := s.invite(t, "ada@example.com", "editor")
		b.get(path)
		b.want(http.StatusOK, "/app/invite", "Accept as ada@example.com")
		b.wantNot(`type="password"`)
		again := b.page
		b.submit("/app/invite", nil)
		b.want(http.StatusOK, "/app", "editor, member")
		b.page = again
		b.submit("/app/invite", nil) // the answer to the first was lost
		b.want(http.StatusOK, "/app", "editor, member")
	})
}

func TestInviteOpenedBySomebodySignedInWithoutAnAccount(t *testing.T) {
	eachWith(t, options{policy: link.InviteOnly{}}, func(t *testing.T, s *site) {
		s.register(t, "ada@home.example")
		b := s.browser(t)
		b.signIn("ada@home.example")
		b.want(http.StatusOK, "/app/login", link.WaitInvite.Message, link.WaitInvite.Next, "ada@home.example")
		b.get("/app")
		b.want(http.StatusOK, "/app", "no account for you yet", "ask an administrator")

		_, path := s.invite(t, "ada@example.com", "editor")
		b.get(path)
		b.want(http.StatusOK, "/app/invite", "Accept as ada@home.example", "The invite is for <strong>ada@example.com</strong>")
		b.submit("/app/invite", nil)
		b.want(http.StatusOK, "/app", "ada@example.com", "editor")
	})
}

func TestThePagesOfAnInviteShowItsMessageAsText(t *testing.T) {
	eachWith(t, options{policy: link.InviteOnly{}}, func(t *testing.T, s *site) {
		const message = "Hello <b>Ada</b>,\n\nsee https://evil.example/?a=1&b=2"
		const shown = `<blockquote aria-labelledby="message-of">Hello &lt;b&gt;Ada&lt;/b&gt;,` + "\n\nsee https://evil.example/?a=1&amp;b=2</blockquote>"
		made, err := s.users.CreateInvites(t.Context(), user.InviteDraft{Email: "ada@example.com", Message: message})
		if err != nil {
			t.Fatal(err)
		}
		somebody, ada, eve := s.browser(t), s.browser(t), s.browser(t)
		s.register(t, "other@example.com")
		ada.signIn("other@example.com")
		s.person(t, "eve@example.com")
		eve.signIn("eve@example.com")
		for _, b := range []*browser{somebody, ada} {
			b.get(s.path(made[0]))
			b.want(http.StatusOK, "/app/invite", shown)
		}
		eve.get(s.path(made[0]))
		eve.wantNot("evil.example")
		_, plain := s.invite(t, "bob@example.com")
		somebody.get(plain)
		somebody.wantNot("blockquote")
	})
}

func TestInviteOpenedBySomebodyElse(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "eve@example.com", user.RoleMember)
		invite, path := s.invite(t, "ada@example.com", "editor")
		b := s.browser(t)
		b.signIn("eve@example.com")
		b.get(path)
		b.want(http.StatusOK, "/app/invite", "You are signed in as <strong>eve@example.com</strong>", "Sign out, then open the link again")
		b.wantNot("Accept as")

		session, err := s.auth.CheckCookie(t.Context(), b.cookie())
		if err != nil {
			t.Fatal(err)
		}
		token := s.users.InviteToken(invite, user.ByHand)
		b.do("POST", "/app/invite", form, strings.NewReader(fields("token", token, "as", string(session.ID)).Encode()))
		b.want(http.StatusBadRequest, "/app/invite", says(link.ErrSignedIn))
		s.wantNoUser(t, "ada@example.com")

		b.get(path)
		b.submit("/app/logout", nil)
		b.want(http.StatusOK, "/app/login")
		b.get(path)
		b.submit("/app/invite", fields("password", password))
		b.want(http.StatusOK, "/app", "ada@example.com", "editor")
	})
}

func TestSetupLinkOpenedByAMember(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "eve@example.com", user.RoleMember)
		b := s.browser(t)
		b.signIn("eve@example.com")
		b.get(s.setup(t))
		b.want(http.StatusOK, "/app/invite", "no administrator yet", "Accept as eve@example.com")
		b.submit("/app/invite", nil)
		b.want(http.StatusOK, "/app", "eve@example.com", "admin, member")
	})
}

func TestButtonAcceptsOnlyForWhomItNamed(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.register(t, "ada@example.com")
		s.person(t, "eve@example.com", user.RoleMember)
		b := s.browser(t)
		b.signIn("ada@example.com")
		_, path := s.invite(t, "ada@example.com", "editor")
		b.get(path)
		asked := b.page
		b.signIn("eve@example.com") // in another tab
		b.page = asked
		b.submit("/app/invite", nil)
		b.want(http.StatusConflict, "/app/invite", "has changed meanwhile", "eve@example.com")
		b.get("/app")
		b.submit("/app/logout", nil)
		b.page = asked
		b.submit("/app/invite", nil)
		b.want(http.StatusConflict, "/app/invite", "has changed meanwhile", `type="password"`)
	})
}

func TestDeadLinksSayWhy(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		renewed, renewedPath := s.invite(t, "renewed@example.com")
		if _, err := s.users.RefreshInviteTokens(t.Context(), renewed.ID); err != nil {
			t.Fatal(err)
		}
		withdrawn, withdrawnPath := s.invite(t, "withdrawn@example.com")
		if err := s.users.SoftDeleteInvites(t.Context(), withdrawn.ID); err != nil {
			t.Fatal(err)
		}
		used, usedPath := s.invite(t, "used@example.com")
		if _, err := s.users.UpdateInvites(t.Context(), user.InviteUpdate{ID: used.ID, Accepted: user.Set(true)}); err != nil {
			t.Fatal(err)
		}
		deleted, deletedPath := s.invite(t, "deleted@example.com")
		if err := s.users.DeleteInvites(t.Context(), deleted.ID); err != nil {
			t.Fatal(err)
		}
		oldSetup := s.setup(t)
		s.setup(t)
		_, good := s.invite(t, "good@example.com")
		for path, why := range map[string]string{
			renewedPath:                      says(user.ErrInviteRenewed),
			withdrawnPath:                    says(user.ErrInviteRevoked),
			usedPath:                         says(user.ErrInviteUsed),
			deletedPath:                      says(user.ErrInviteRevoked),
			oldSetup:                         "This invite was ", // renewed or withdrawn: that is package user's to say
			good + "x":                       says(user.ErrInviteToken),
			"/app/invite":                    says(user.ErrInviteToken),
			"/app/invite?token=":             says(user.ErrInviteToken),
			"/app/invite?token=%00%ff":       says(user.ErrInviteToken),
			"/app/invite?token=%zz":          says(user.ErrInviteToken),
			"/app/invite?token=<b>a.b.c</b>": says(user.ErrInviteToken),
			"/app/invite?other=" + good[18:]: says(user.ErrInviteToken),
			"/app/invite?token=eyJhbGciOiJub25lIn0.e30.": says(user.ErrInviteToken),
		} {
			b := s.browser(t)
			b.get(path)
			b.want(http.StatusBadRequest, "/app/invite", "This link cannot be used", why, `href="/app/login"`)
			given, err := url.Parse(path)
			if err != nil {
				continue
			}
			b.do("POST", "/app/invite", form, strings.NewReader(fields("token", given.Query().Get("token"), "email", "eve@example.com", "password", password).Encode()))
			if strings.ContainsAny(given.Query().Get("token"), "\x00\xff") {
				b.want(http.StatusBadRequest, "/app/invite", "not well-formed text")
			} else {
				b.want(http.StatusBadRequest, "/app/invite", "This link cannot be used", why)
			}
			if b.cookie() != "" {
				t.Errorf("%s gave a cookie", path)
			}
		}
	})
}

func TestExpiredLinkSaysSo(t *testing.T) {
	eachWith(t, options{inviteTTL: time.Millisecond}, func(t *testing.T, s *site) {
		_, path := s.invite(t, "ada@example.com")
		time.Sleep(5 * time.Millisecond)
		b := s.browser(t)
		b.get(path)
		b.want(http.StatusBadRequest, "/app/invite", says(user.ErrInviteExpired), `href="/app/login"`)
	})
}

func TestRefusedPasswordsKeepWhatElseWasTyped(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b := s.browser(t)
		b.get(s.setup(t))
		for typed, why := range map[string]string{
			"short7!": "The password is too short", "Password1": "The password is too common", "ada@example.com": "must not be your e-mail",
			strings.Repeat("x", 257): "The password is too long", "": "Enter a password",
		} {
			b.submit("/app/invite", fields("email", "ada@example.com", "first_name", "Ada", "last_name", "Lovelace", "password", typed))
			b.want(http.StatusBadRequest, "/app/invite", why, `value="ada@example.com"`, `value="Ada"`, `value="Lovelace"`, `role="alert"`,
				`aria-describedby="problem password-hint" aria-invalid="true" autofocus`, "<title>Error: ")
		}
		b.submit("/app/invite", fields("email", "nonsense", "password", password))
		b.want(http.StatusBadRequest, "/app/invite", "must look like name@example.com", `aria-describedby="problem" aria-invalid="true" autofocus`)
		b.submit("/app/invite", fields("email", "", "password", password))
		b.want(http.StatusBadRequest, "/app/invite", "Enter your e-mail address")
		b.submit("/app/invite", fields("email", "ada@example.com", "first_name", strings.Repeat("a", 2000), "password", password))
		b.want(http.StatusBadRequest, "/app/invite", "The first name is too long")
		s.wantNoUser(t, "ada@example.com")
		b.submit("/app/invite", fields("first_name", "Ada", "password", password))
		b.want(http.StatusOK, "/app", "Ada Lovelace", "admin")
	})
}

func TestSigningInAndOut(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com", "editor", user.RoleAdmin)
		b := s.browser(t)
		b.get("/app")
		b.want(http.StatusOK, "/app/login", `type="password"`, `autocomplete="current-password"`, `autocomplete="username"`,
			`href="/app/reset-password"`)
		for typed, status := range map[string]int{"wrong password": 401, "": 400, "short": 401} {
			if typed != "" {
				s.secret(typed)
			}
			b.submit("/app/login", fields("email", "Ada@example.com", "password", typed))
			b.want(status, "/app/login", `value="Ada@example.com"`, `role="alert"`, `aria-invalid="true"`)
		}
		for _, unknown := range []string{"nobody@example.com", "nonsense"} {
			b.submit("/app/login", fields("email", unknown, "password", password))
			b.want(http.StatusUnauthorized, "/app/login", "E-mail address or password is not right.")
		}
		if b.cookie() != "" {
			t.Error("a failed sign-in gave a cookie")
		}
		b.signIn("ada@example.com")
		b.want(http.StatusOK, "/app", "ada@example.com", "admin, editor", "Sign out")
		secret := s.secret(b.cookie())
		if secret == "" || strings.Contains(b.page.body, secret) {
			t.Error("no cookie, or it is in the page")
		}
		b.get("/app/login")
		b.want(http.StatusOK, "/app/login", "You are signed in as")

		b.get("/app/account")
		told := ""
		b.client.CheckRedirect = func(r *http.Request, _ []*http.Request) error { // the answer before the page it leads to
			told = r.Response.Header.Get("Clear-Site-Data")
			return nil
		}
		b.submit("/app/logout", nil)
		b.client.CheckRedirect = nil
		b.want(http.StatusOK, "/app/login")
		b.wantNot("You are signed in as")
		if told != `"cache", "storage"` {
			t.Errorf("signing out has Clear-Site-Data %q", told)
		}
		if _, err := s.auth.CheckCookie(t.Context(), secret); !errors.Is(err, auth.ErrSession) || b.cookie() != "" {
			t.Errorf("after signing out: %v and cookie %q, want the session ended and none", err, b.cookie())
		}
		b.do("POST", "/app/logout", form, nil)
		b.want(http.StatusOK, "/app/login") // again is no error
	})
}

func TestSigningInAgainEndsTheSessionOfBefore(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		u := s.person(t, "ada@example.com")
		b := s.browser(t)
		b.signIn("ada@example.com")
		before := b.cookie()
		b.signIn("ada@example.com")
		b.want(http.StatusOK, "/app", "ada@example.com")
		if b.cookie() == before || b.cookie() == "" {
			t.Errorf("the cookie is %q, and was %q", b.cookie(), before)
		}
		if _, err := s.auth.CheckCookie(t.Context(), before); !errors.Is(err, auth.ErrSession) {
			t.Errorf("the cookie of before: %v, want ErrSession", err)
		}
		sessions, n, err := s.link.ListAndCountSessions(t.Context(), u.ID, auth.Page{})
		if err != nil || n != 1 || sessions[0].UserAgent == "" || sessions[0].IP == "" {
			t.Errorf("%d sessions, %+v, %v: want that of the browser", n, sessions, err)
		}
	})
}

func TestFirstSignInMakesTheAccount(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.register(t, "ada@example.com")
		b := s.browser(t)
		b.signIn("ada@example.com")
		b.want(http.StatusOK, "/app", "ada@example.com", "member")
	})
}

func TestDeactivatedUserIsToldSo(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		u := s.person(t, "ada@example.com")
		b := s.browser(t)
		b.signIn("ada@example.com")
		if err := s.users.DeactivateUsers(t.Context(), u.ID); err != nil {
			t.Fatal(err)
		}
		b.get("/app")
		b.want(http.StatusOK, "/app/login")
		b.signIn("ada@example.com")
		b.want(http.StatusForbidden, "/app/login", says(link.ErrDeactivated))
	})
}

// plant puts the cookie of a session of eve's into somebody's browser.
func (s *site) plant(b *browser) string {
	b.t.Helper()
	l, err := s.link.SignIn(b.t.Context(), link.ActorUser, "emailpass", credentials("eve@example.com"), auth.Client{})
	if err != nil {
		b.t.Fatal(err)
	}
	secret, err := s.auth.SetCookie(b.t.Context(), l.Session)
	if err != nil {
		b.t.Fatal(err)
	}
	at, err := url.Parse(s.server.URL)
	if err != nil {
		b.t.Fatal(err)
	}
	b.client.Jar.SetCookies(at, []*http.Cookie{{Name: "latchkey", Value: secret, Path: "/"}})
	return secret
}

func TestPlantedCookieIsDeadAfterSignIn(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "eve@example.com")
		s.person(t, "ada@example.com")
		_, path := s.invite(t, "bob@example.com", "editor")
		for way, enter := range map[string]func(b *browser) (planted string){
			"login": func(b *browser) string {
				planted := s.plant(b)
				b.signIn("ada@example.com")
				return planted
			},
			"invite": func(b *browser) string {
				b.get(path)
				planted := s.plant(b)
				b.submit("/app/invite", fields("password", password))
				return planted
			},
		} {
			b := s.browser(t)
			planted := enter(b)
			b.want(http.StatusOK, "/app")
			b.wantNot("eve@example.com")
			if b.cookie() == planted || b.cookie() == "" {
				t.Errorf("%s: the cookie is %q, want a new one", way, b.cookie())
			}
			if _, err := s.auth.CheckCookie(t.Context(), planted); !errors.Is(err, auth.ErrSession) {
				t.Errorf("%s: the planted cookie gives %v, want %v", way, err, auth.ErrSession)
			}
		}
	})
}

func TestOtherSitesCannotSendForms(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com")
		b := s.browser(t)
		b.signIn("ada@example.com")
		for _, h := range []http.Header{
			{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}},
			{"Origin": {"https://evil.example"}},
			{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}, "Authorization": {"Basic eDp5"}}, // as browsers add by themselves
			{"Origin": {"null"}},
			{"Sec-Fetch-Site": {"same-site"}},
		} {
			b.header = h
			for _, path := range []string{"/app/login", "/app/invite", "/app/reset-password", "/app/logout"} {
				b.do("POST", path, form, strings.NewReader(fields("email", "ada@example.com", "password", password).Encode()))
				b.want(http.StatusForbidden, path, "another site")
			}
		}
		b.header = http.Header{}
		b.get("/app")
		b.want(http.StatusOK, "/app", "ada@example.com")

		// Nor can they sign a browser in that adds credentials for something else by itself.
		fresh := s.browser(t)
		fresh.header = http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}, "Authorization": {"Basic eDp5"}}
		fresh.do("POST", "/app/login", form, strings.NewReader(fields("email", "ada@example.com", "password", password).Encode()))
		fresh.want(http.StatusForbidden, "/app/login", "another site")

		// Nor have mails sent in the name of who looks at them.
		fresh.header = http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}
		fresh.do("POST", "/app/reset-password", form, strings.NewReader("email=ada%40example.com"))
		fresh.want(http.StatusForbidden, "/app/reset-password", "another site")
		if n := len(s.asked.requests); n != 0 {
			t.Errorf("%d requests for a new password were made", n)
		}
	})
}

// An origin whose scripts may call the API, such as a shop's, reads no page and sends no form: in development the mailbox needs no cookie.
func TestScriptsOfListedOriginsHaveTheAPIAndNoPages(t *testing.T) {
	const shop = "https://shop.example.com"
	eachWith(t, options{mailbox: sent, whole: true, site: web.Options{CORSOrigins: []string{shop}}}, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com", user.RoleAdmin)
		b := s.browser(t)
		b.signIn("ada@example.com")
		b.header = http.Header{"Origin": {shop}, "Sec-Fetch-Site": {"same-site"}, "Sec-Fetch-Mode": {"cors"}}
		allowed := func() string {
			return b.page.header.Get("Access-Control-Allow-Origin") + b.page.header.Get("Access-Control-Allow-Credentials")
		}
		if b.get("/auth/sessions"); allowed() != shop+"true" {
			t.Errorf("the API allows %q", allowed())
		}
		for _, path := range []string{"/app/login", "/app/users", "/app/account", mailboxPath, mailboxPath + "/2", mailboxPath + "/2/html", "/app/nowhere"} {
			for _, method := range []string{http.MethodHead, http.MethodOptions} {
				if b.do(method, path, "", nil); allowed() != "" {
					t.Errorf("%s %s allows %q", method, path, allowed())
				}
			}
		}
		for _, path := range []string{"/app/logout", "/app/login", "/app/webhooks/new", "/app/account"} {
			b.do(http.MethodPost, path, form, strings.NewReader(""))
			b.want(http.StatusForbidden, path, "another site")
		}
		b.header = http.Header{"Origin": {s.server.URL}, "Sec-Fetch-Site": {"same-origin"}}
		b.do(http.MethodPost, "/app/logout", form, strings.NewReader(""))
		b.want(http.StatusOK, "/app/login")
	})
}

func TestWhatIsTypedIsText(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b := s.browser(t)
		b.get(s.setup(t))
		name := `</dd><script>alert("1")</script>`
		b.submit("/app/invite", fields("email", `"><script>alert(1)</script>`, "first_name", name, "password", password))
		b.want(http.StatusBadRequest, "/app/invite", "&#34;&gt;&lt;script&gt;")
		b.wantNot("<script>")
		b.submit("/app/invite", fields("email", "o'neill+{{.}}@example.com", "password", password))
		b.want(http.StatusOK, "/app", "&lt;script&gt;", "o&#39;neill&#43;{{.}}@example.com")
		b.wantNot("<script>")
		b.get("/app/login")
		b.submit("/app/login", fields("email", `" autofocus onfocus="alert(1)`, "password", password))
		b.want(http.StatusUnauthorized, "/app/login", "&#34; autofocus onfocus=&#34;")
	})
}

func TestFormsThatAreNotText(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b := s.browser(t)
		for _, path := range []string{"/app/login", "/app/invite", "/app/reset-password"} {
			for body, status := range map[string]int{
				"email=a%00@example.com&password=x":       400,
				"email=a%ff@example.com&password=x":       400,
				"email=\xff&password=x":                   400,
				"email=a@example.com&password=%zz":        400,
				"email=a@example.com;password=x":          400,
				"unknown%00=1":                            400,
				"password=" + strings.Repeat("x", 64<<10): 413,
			} {
				b.do("POST", path, form, strings.NewReader(body))
				b.want(status, path, `role="alert"`)
			}
			for _, media := range []string{"application/json", "multipart/form-data; boundary=x", "text/plain", ""} {
				b.do("POST", path, media, strings.NewReader(`{"email":"a@example.com","password":"x"}`))
				b.want(http.StatusUnsupportedMediaType, path, "takes forms")
			}
		}
		s.person(t, "ada@example.com")
		b.do("POST", "/app/login", form+"; charset=utf-8", strings.NewReader("unknown=1&unknown=2&"+fields("email", "ada@example.com", "password", password).Encode()))
		b.want(http.StatusOK, "/app")
	})
}

func TestPathsAndMethods(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b := s.browser(t)
		for _, path := range []string{"/app/", "/app/nothing", "/app/login/", "/app//login", "/app/Login", "/app/style.css/x", "/app/pages/login.html", "/app/%2e%2e/app", "/"} {
			b.get(path)
			if b.page.status != http.StatusNotFound || !strings.Contains(b.page.body, "There is no page at this address.") {
				t.Errorf("%s: %d, want 404:\n%s", path, b.page.status, b.page.body)
			}
		}
		for path, allow := range map[string]string{
			"/app": "GET, HEAD", "/app/login": "GET, HEAD, POST", "/app/invite": "GET, HEAD, POST", "/app/reset-password": "GET, HEAD, POST",
			"/app/logout": "POST", "/app/style.css": "GET, HEAD",
		} {
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"} {
				if slices.Contains(strings.Split(allow, ", "), method) {
					continue
				}
				b.do(method, path, "", nil)
				if b.page.status != http.StatusMethodNotAllowed || b.page.header.Get("Allow") != allow {
					t.Errorf("%s %s: %d, Allow %q, want 405 and %q", method, path, b.page.status, b.page.header.Get("Allow"), allow)
				}
			}
		}
		for _, path := range []string{"/app", "/app/login", "/app/reset-password", "/app/style.css"} {
			get := b.get(path)
			head := b.do("HEAD", path, "", nil)
			if head.status != get.status || head.body != "" || head.header.Get("Content-Length") != get.header.Get("Content-Length") {
				t.Errorf("HEAD %s: %d, %q, %v; GET: %d, %v", path, head.status, head.body, head.header, get.status, get.header)
			}
		}
	})
}

func TestStyleSheetIsKeptUntilItChanges(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b := s.browser(t)
		first := b.get("/app/style.css")
		if first.status != 200 || first.header.Get("Content-Type") != "text/css; charset=utf-8" || !strings.Contains(first.body, "prefers-color-scheme: dark") {
			t.Fatalf("%d %v\n%s", first.status, first.header, first.body)
		}
		b.header.Set("If-None-Match", first.header.Get("ETag"))
		if second := b.get("/app/style.css"); second.status != http.StatusNotModified {
			t.Errorf("asked again: %d, want 304", second.status)
		}
	})
}

func TestSameFormSentManyTimesAtOnceMakesOneAccount(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		_, path := s.invite(t, "ada@example.com", "editor")
		const n = 8
		browsers := make([]*browser, n)
		for i := range browsers {
			browsers[i] = s.browser(t)
			browsers[i].get(path)
		}
		var wg sync.WaitGroup
		for _, b := range browsers {
			wg.Go(func() {
				b.client.Timeout = time.Minute
				f := b.page.forms[0].values
				f.Set("password", password)
				b.do("POST", "/app/invite", form, strings.NewReader(f.Encode()))
			})
		}
		wg.Wait()
		in := 0
		for _, b := range browsers {
			switch {
			case b.page.status == http.StatusOK && strings.Contains(b.page.body, "editor"):
				in++
			case b.page.status == http.StatusBadRequest && strings.Contains(b.page.body, says(user.ErrInviteUsed)):
			default:
				t.Errorf("%s: %d\n%s", b.page.path, b.page.status, b.page.body)
			}
		}
		if in == 0 {
			t.Error("nobody got in")
		}
		count, err := s.db.Conn(t.Context()).NewSelect().TableExpr("latchkey_user").Count(t.Context())
		if err != nil || count != 1 {
			t.Errorf("%d users, %v, want one", count, err)
		}
	})
}

// failing is an emitter that breaks when a user is made, or asks for a new password.
type failing struct{}

var errBroken = errors.New("the disk of 10.0.0.7 is full")

func (failing) Emit(_ context.Context, events ...event.Event) error {
	for _, e := range events {
		switch e.(type) {
		case user.Created, auth.PasswordResetRequested:
			return errBroken
		}
	}
	return nil
}

func TestFailuresOfOursAreLoggedAndNotShown(t *testing.T) {
	eachWith(t, options{events: failing{}}, func(t *testing.T, s *site) {
		s.register(t, "ada@example.com")
		b := s.browser(t)
		b.signIn("ada@example.com")
		b.want(http.StatusInternalServerError, "/app/login", "Something went wrong on our side")
		b.wantNot("disk")
		if !strings.Contains(s.log.String(), errBroken.Error()) {
			t.Errorf("the log does not hold %q:\n%s", errBroken, s.log)
		}
	})
}

func TestNewNeedsItsServices(t *testing.T) {
	if _, err := console.New(console.Params{}); err == nil {
		t.Error("New without services succeeded")
	}
}

func TestPrefixesCoverEveryPath(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		pages, err := console.New(console.Params{Users: s.users, Auth: s.auth, Link: s.link, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		mux := http.NewServeMux()
		for _, prefix := range pages.Prefixes() {
			mux.Handle(prefix, pages)
		}
		for _, path := range []string{"/app", "/app/login", "/app/style.css"} {
			w := httptest.NewRecorder()
			mux.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
			if w.Code == http.StatusNotFound {
				t.Errorf("%s is not under %v", path, pages.Prefixes())
			}
		}
	})
}

func TestWhoIsThrottledIsToldForHowLongAndKeepsWhatWasTyped(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com", user.RoleMember)
		b := s.browser(t)
		b.get("/app/login")
		for range 10 {
			b.submit("/app/login", fields("email", "ada@example.com", "password", "not "+password))
			b.want(http.StatusUnauthorized, "/app/login", "E-mail address or password is not right.")
		}
		b.submit("/app/login", fields("email", "ada@example.com", "password", s.secret(password)))
		b.want(http.StatusTooManyRequests, "/app/login", "There were too many attempts. Try again in 15 minutes.", `value="ada@example.com"`, `href="/app/reset-password"`)
	})
}
