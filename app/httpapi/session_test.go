package httpapi_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// openCookie puts the token's session into a cookie and returns the header that carries it.
func (s *server) openCookie(t *testing.T, token string, headers ...string) string {
	t.Helper()
	c := cookieOf(t, s.do(t, "POST", "/auth/session", "", append(headers, bearer(token))...))
	return "Cookie: " + c.Name + "=" + c.Value
}

// alive reports whether a credential, as a header, opens anything at all.
func (s *server) alive(t *testing.T, credential string) bool {
	t.Helper()
	a := s.do(t, "POST", "/auth/token/refresh", "", credential)
	if a.status != 200 && (a.status != 401 || a.body != unauthorized) {
		t.Fatalf("refresh: %d %s, want 200 or 401", a.status, a.body)
	}
	return a.status == 200
}

// wantDead is for credentials that must open nothing: neither doors nor ways to new credentials.
func (s *server) wantDead(t *testing.T, what string, credentials ...string) {
	t.Helper()
	for _, credential := range credentials {
		for _, do := range []string{"GET /admin/users/me", "POST /auth/token/refresh", "POST /auth/session", "DELETE /auth/session", "GET /admin/users", "POST /admin/invites/accept?token=x", "GET /admin/nowhere"} {
			method, path, _ := strings.Cut(do, " ")
			if a := s.do(t, method, path, "", credential); a.status != 401 || a.body != unauthorized {
				t.Errorf("%s: %s with %.25s…: %d %s, want 401", what, do, credential, a.status, a.body)
			}
		}
	}
}

func TestCookieAndTokenAreTwoFacesOfOneSession(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		for _, by := range []string{"cookie", "token"} {
			t.Run("ended by "+by, func(t *testing.T) {
				token := s.member(t, by+"@example.com")
				other := s.signIn(t, by+"@example.com")
				faces := map[string]string{"cookie": s.openCookie(t, token), "token": bearer(token)}
				for name, face := range faces {
					fresh := s.token(t, "refresh by "+name, s.do(t, "POST", "/auth/token/refresh", "", face))
					if claims(t, fresh)["sid"] != claims(t, token)["sid"] {
						t.Errorf("refresh by %s is of another session", name)
					}
					if me := s.do(t, "GET", "/admin/users/me", "", face); me.status != 200 || me.get("user", "email") != by+"@example.com" {
						t.Errorf("me by %s: %d %s", name, me.status, me.body)
					}
					faces[name+"'s refreshed token"] = bearer(fresh)
				}
				a := s.do(t, "DELETE", "/auth/session", "", faces[by])
				if a.status != 200 || a.body != `{"success":true}` {
					t.Fatalf("sign out: %d %s", a.status, a.body)
				}
				if c := cookieOf(t, a); c.Name != "latchkey" || c.Value != "" || c.Path != "/" || !c.Expires.Equal(time.Unix(0, 0)) {
					t.Errorf("sign-out sets %v, want the cookie cleared", c)
				}
				for name, face := range faces {
					s.wantDead(t, name, face)
				}
				if !s.alive(t, bearer(other)) {
					t.Error("another session of the same person ended too")
				}
			})
		}
	})
}

func TestACookieThatWasPlantedIsWorthNothingAfterSignIn(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		// The attacker's own session, as somebody or as nobody yet.
		for name, attacker := range map[string]string{"of a user": s.member(t, "eve@example.com"), "of nobody yet": s.register(t, "mallory@example.com")} {
			t.Run(name, func(t *testing.T) {
				planted := s.openCookie(t, attacker)
				victim := strings.ReplaceAll(name, " ", "-") + "@example.com"
				fresh := s.openCookie(t, s.member(t, victim), planted)
				if fresh == planted {
					t.Error("the planted cookie stays")
				}
				s.wantDead(t, "the planted session", planted, bearer(attacker))
				if me := s.do(t, "GET", "/admin/users/me", "", fresh); me.status != 200 || me.get("user", "email") != victim {
					t.Errorf("me by the new cookie: %d %s", me.status, me.body)
				}
			})
		}
	})
}

func TestACookieThatBelongsToTheSessionStays(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		token := s.member(t, "ada@example.com")
		cookie := s.openCookie(t, token)
		a := s.do(t, "POST", "/auth/session", "", bearer(token), cookie)
		if a.status != 200 || a.header.Get("Set-Cookie") != "" || !s.alive(t, cookie) {
			t.Errorf("again with the same cookie: %d, Set-Cookie %q, want it to stay", a.status, a.header.Get("Set-Cookie"))
		}
		second := s.openCookie(t, token) // from elsewhere, without the cookie: one session has one
		if second == cookie || s.alive(t, cookie) || !s.alive(t, second) {
			t.Error("a new cookie of the session did not take the place of the old one")
		}
		if garbage := s.openCookie(t, token, "Cookie: latchkey=garbage"); !s.alive(t, garbage) {
			t.Error("a cookie that is none kept the session from having one")
		}
	})
}

func TestASessionIsMadeOfATokenOnly(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		token := s.member(t, "ada@example.com")
		cookie := s.openCookie(t, token)
		a := s.do(t, "POST", "/auth/session", "", cookie)
		if a.status != 401 || a.body != unauthorized || a.header.Get("Set-Cookie") != "" {
			t.Errorf("by cookie: %d %s, want 401", a.status, a.body)
		}
		if !s.alive(t, cookie) {
			t.Error("the cookie is dead")
		}
	})
}

func TestABadCredentialBesideAGoodOneIsPassedOver(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		token := s.member(t, "ada@example.com")
		cookie := s.openCookie(t, token)
		dead := s.signIn(t, "ada@example.com")
		deadCookie := s.openCookie(t, dead)
		s.do(t, "DELETE", "/auth/session", "", bearer(dead))
		for name, headers := range map[string][]string{
			"nonsense beside the cookie":     {cookie, bearer("nonsense")},
			"a dead token beside the cookie": {cookie, bearer(dead)},
			"a key beside the cookie":        {cookie, "Authorization: Basic c2tfeDo="},
			"nonsense beside the token":      {bearer(token), "Cookie: latchkey=nonsense"},
			"a dead cookie beside the token": {bearer(token), deadCookie},
			"an empty cookie":                {bearer(token), "Cookie: latchkey="},
			"somebody else's cookie":         {bearer(token), "Cookie: connect.sid=s%3Ax.y"},
		} {
			if me := s.do(t, "GET", "/admin/users/me", "", headers...); me.status != 200 {
				t.Errorf("%s: %d %s, want 200", name, me.status, me.body)
			}
		}
		other := s.member(t, "bob@example.com")
		if me := s.do(t, "GET", "/admin/users/me", "", cookie, bearer(other)); me.get("user", "email") != "ada@example.com" {
			t.Errorf("two good ones: %s, want the cookie's, as in Medusa", me.body)
		}
		if me := s.do(t, "GET", "/admin/users/me", "", bearer("nonsense"), deadCookie); me.status != 401 {
			t.Errorf("two bad ones: %d, want 401", me.status)
		}
	})
}

func TestRefreshKeepsTheSessionAndKnowsWhoItIsByNow(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		for _, by := range []string{"token", "cookie"} {
			t.Run(by, func(t *testing.T) {
				email := by + "@example.com"
				invite := s.do(t, "POST", "/admin/invites", `{"email":"`+email+`"}`, bearer(admin))
				registration := s.register(t, email)
				face := bearer(registration)
				if by == "cookie" {
					face = s.openCookie(t, registration)
				}
				if before := claims(t, s.token(t, "refresh", s.do(t, "POST", "/auth/token/refresh", "", face))); before["actor_id"] != "" {
					t.Errorf("before the accept the token speaks for %v", before["actor_id"])
				}
				accepted := s.do(t, "POST", "/admin/invites/accept?token="+invite.get("invite", "token"), `{}`, face)
				if accepted.status != 200 {
					t.Fatalf("accept: %d %s", accepted.status, accepted.body)
				}
				fresh := s.token(t, "refresh", s.do(t, "POST", "/auth/token/refresh", "", face))
				after, before := claims(t, fresh), claims(t, registration)
				if after["actor_id"] != accepted.get("user", "id") || after["sid"] != before["sid"] || after["auth_identity_id"] != before["auth_identity_id"] {
					t.Errorf("after the accept: %v of session %v, want %s of %v", after["actor_id"], after["sid"], accepted.get("user", "id"), before["sid"])
				}
				if list := s.do(t, "GET", "/admin/users", "", bearer(fresh)); list.status != 200 {
					t.Errorf("an admin by invite: %d %s", list.status, list.body)
				}
				if by == "cookie" {
					if list := s.do(t, "GET", "/admin/users", "", face); list.status != 200 {
						t.Errorf("by the cookie of before: %d %s, want 200: it is of the session, whoever that is", list.status, list.body)
					}
				}
			})
		}
	})
}

func TestCookiesAreBoundToTheSite(t *testing.T) {
	for url, want := range map[string]http.Cookie{
		"":                           {Name: "latchkey"},
		"http://localhost:9000":      {Name: "latchkey"},
		"https://id.example.com":     {Name: "__Host-latchkey", Secure: true},
		"https://id.example.com/":    {Name: "__Host-latchkey", Secure: true},
		"https://id.example.com:444": {Name: "__Host-latchkey", Secure: true},
	} {
		t.Run("at "+url, func(t *testing.T) {
			eachWith(t, settings{site: web.Options{PublicURL: url}}, func(t *testing.T, s *server) {
				token := s.member(t, "ada@example.com")
				a := s.do(t, "POST", "/auth/session", "", bearer(token))
				c := cookieOf(t, a)
				if c.Name != want.Name || c.Secure != want.Secure || !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" {
					t.Errorf("%s", a.header.Get("Set-Cookie"))
				}
				if lives := time.Until(c.Expires); lives < 29*24*time.Hour || lives > 30*24*time.Hour || c.MaxAge != 0 {
					t.Errorf("the cookie lives %v, want as long as the session: 30 days", lives)
				}
				if len(c.Value) < 40 {
					t.Errorf("the secret %q is short", c.Value)
				}
				cookie := "Cookie: " + c.Name + "=" + c.Value
				if !s.alive(t, cookie) {
					t.Error("the cookie opens nothing")
				}
				if secure := a.header.Get("Strict-Transport-Security") != ""; secure != want.Secure {
					t.Errorf("Strict-Transport-Security: %q", a.header.Get("Strict-Transport-Security"))
				}
				if want.Secure && s.alive(t, "Cookie: latchkey="+c.Value) {
					t.Error("a cookie that any neighbour could plant is read on https")
				}
				out := s.do(t, "DELETE", "/auth/session", "", cookie)
				if c := cookieOf(t, out); c.Name != want.Name || c.Secure != want.Secure || c.Path != "/" || !c.HttpOnly || !c.Expires.Equal(time.Unix(0, 0)) {
					t.Errorf("cleared by %s", out.header.Get("Set-Cookie"))
				}
			})
		})
	}
}

func TestADeactivatedUserIsOutAtOnceAndToldWhyAfterTheRightPassword(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		token := s.member(t, "ada@example.com")
		cookie := s.openCookie(t, token)
		id := user.ID(claims(t, token)["actor_id"].(string))
		check(t, s.users.DeactivateUsers(t.Context(), id))
		s.wantDead(t, "deactivated", bearer(token), cookie)
		sc := scene{server: s}
		sc.run(t, []fixture{
			{"right password", "", "POST /auth/user/emailpass", credentials("ada@example.com", password), 403,
				problem("forbidden", "This account is deactivated. Ask an administrator.", "user_deactivated")},
			{"wrong password", "", "POST /auth/user/emailpass", credentials("ada@example.com", "another horse"), 401, wrong("Invalid email or password")},
			{"register", "", "POST /auth/user/emailpass/register", credentials("ada@example.com", password), 401,
				problem("unauthorized", "Identity with email already exists", "identity_exists")},
		})
		if n := s.count(t, "auth_session"); n != 0 {
			t.Errorf("%d sessions, want none", n)
		}
		check(t, s.users.ReactivateUsers(t.Context(), id))
		s.wantDead(t, "reactivated", bearer(token), cookie)
		if again := claims(t, s.signIn(t, "ada@example.com")); again["actor_id"] != string(id) {
			t.Errorf("signed in again as %v, want %s", again["actor_id"], id)
		}
	})
}

// However a session is ended, it counts at once where it was done and within a second everywhere else.
func TestWhatIsEndedOnOneNodeIsDeadOnAllWithinASecond(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		other := s.node(t, settings{})
		admin := s.admin(t, "admin@example.com")
		id := func(token string) user.ID { return user.ID(claims(t, token)["actor_id"].(string)) }
		type ended struct {
			how   string
			faces []string
		}
		var all []ended
		for how, end := range map[string]func(email, token, cookie string){
			"deleted": func(_, token, _ string) {
				if a := s.do(t, "DELETE", "/admin/users/"+string(id(token)), "", bearer(admin)); a.status != 200 {
					t.Fatalf("delete: %d %s", a.status, a.body)
				}
			},
			"deactivated": func(_, token, _ string) { check(t, s.users.DeactivateUsers(t.Context(), id(token))) },
			"reset": func(email, _, _ string) {
				_, err := s.auth.UpdateProvider(t.Context(), "emailpass", auth.Input(credentials(email, "another horse")))
				check(t, err)
			},
			"out-by-token": func(_, token, _ string) {
				if a := s.do(t, "DELETE", "/auth/session", "", bearer(token)); a.status != 200 {
					t.Fatalf("sign out: %d %s", a.status, a.body)
				}
			},
			"out-by-cookie": func(_, _, cookie string) {
				if a := s.do(t, "DELETE", "/auth/session", "", cookie); a.status != 200 {
					t.Fatalf("sign out: %d %s", a.status, a.body)
				}
			},
		} {
			token := s.member(t, how+"@example.com")
			cookie := s.openCookie(t, token)
			faces := []string{bearer(token), cookie}
			s.oldLinks(t)
			for _, face := range faces { // both nodes have seen them just now
				if !s.alive(t, face) || !other.alive(t, face) {
					t.Fatal("a node does not know the session")
				}
			}
			end(how+"@example.com", token, cookie)
			s.wantDead(t, how+", on this node", faces...)
			for _, face := range faces {
				other.alive(t, face) // is 200 or 401 in the meantime, and does not prolong it
				if how == "deleted" || how == "deactivated" {
					if me := other.do(t, "GET", "/admin/users/me", "", face); me.status != 401 || me.body != unauthorized {
						t.Errorf("%s, on another node: me is %d %s, want 401 at once: it reads the user", how, me.status, me.body)
					}
				}
			}
			all = append(all, ended{how, faces})
		}
		time.Sleep(time.Second)
		for _, e := range all {
			other.wantDead(t, e.how+", on another node after a second", e.faces...)
		}
	})
}

func TestRolesCountFromTheNextRequestOn(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		other := s.node(t, settings{})
		token := s.member(t, "ada@example.com")
		cookie := s.openCookie(t, token)
		list := func(want int, when string) {
			t.Helper()
			for _, at := range []*server{s, other} {
				for _, face := range []string{bearer(token), cookie} {
					if a := at.do(t, "GET", "/admin/users", "", face); a.status != want {
						t.Errorf("%s: %d, want %d", when, a.status, want)
					}
				}
			}
		}
		list(403, "as a member")
		check(t, s.users.AddRoles(t.Context(), user.ID(claims(t, token)["actor_id"].(string)), user.RoleAdmin))
		list(200, "with the role admin, tokens being the old ones")
	})
}

func TestAMemberMayOnlySeeItself(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		sc := inviteScene(t, s)
		cookie := s.openCookie(t, sc.tokens["member"])
		for _, face := range []string{bearer(sc.tokens["member"]), cookie} {
			for _, do := range []string{
				"GET /admin/users", "GET /admin/users/{admin}", "POST /admin/users/{admin}", "POST /admin/users/me", "DELETE /admin/users/{admin}", "DELETE /admin/users/{member}",
				"GET /admin/users/{member}", "POST /admin/users/{member}", "GET /admin/users/user_none", "GET /admin/invites", "POST /admin/invites", "GET /admin/invites/{open}", "DELETE /admin/invites/{open}", "POST /admin/invites/{open}/resend",
			} {
				method, path, _ := strings.Cut(do, " ")
				if a := s.do(t, method, sc.fill(path), `{}`, face); a.status != 403 || a.body != forbidden {
					t.Errorf("%s: %d %s, want 403", do, a.status, a.body)
				}
			}
			if a := s.do(t, "GET", "/admin/users/me", "", face); a.status != 200 || a.get("user", "id") != sc.ids["member"] {
				t.Errorf("me: %d %s, want the member", a.status, a.body)
			}
		}
	})
}

func TestSomebodyRegisteredOpensNothingUnderAdmin(t *testing.T) {
	eachWith(t, settings{actor: link.ActorOptions{Policy: link.Manual{}}}, func(t *testing.T, s *server) {
		sc := inviteScene(t, s)
		waiting := s.signIn(t, "second@example.com") // a sign-in that leads to no user is no more
		for what, face := range map[string]string{
			"registration token": bearer(sc.tokens["second"]), "its cookie": s.openCookie(t, sc.tokens["second"]), "token of who waits": bearer(waiting),
		} {
			for _, do := range []string{
				"GET /admin/users", "GET /admin/users/me", "GET /admin/users/{admin}", "POST /admin/users/{admin}", "DELETE /admin/users/{admin}", "GET /admin/nowhere",
				"GET /admin/invites", "POST /admin/invites", "GET /admin/invites/{open}", "DELETE /admin/invites/{open}", "POST /admin/invites/{open}/resend",
			} {
				method, path, _ := strings.Cut(do, " ")
				if a := s.do(t, method, sc.fill(path), "", face); a.status != 401 || a.body != unauthorized {
					t.Errorf("%s by %s: %d %s, want 401", do, what, a.status, a.body)
				}
			}
			if !s.alive(t, face) {
				t.Errorf("%s is not alive", what)
			}
		}
	})
}
