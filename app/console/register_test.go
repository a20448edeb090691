package console_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

const registerPath = "/app/register"

// registers fills in the form.
func (b *browser) registers(address, with string) {
	b.t.Helper()
	b.get(registerPath)
	b.want(http.StatusOK, registerPath, `autocomplete="new-password"`)
	b.submit(registerPath, fields("email", address, "password", b.site.secret(with)))
}

func TestWhoRegistersHasAnAccountAndIsSignedIn(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b := s.browser(t)
		b.get("/app/login")
		b.want(http.StatusOK, "/app/login", `href="/app/register"`)
		b.registers("Ada@Example.com", password)
		b.want(http.StatusOK, "/app", "Welcome", "ada@example.com", "member")
		u := s.user(t, "ada@example.com")
		if u.EmailVerified() {
			t.Error("registering proved the address")
		}
		sessions, n, err := s.link.ListAndCountSessions(t.Context(), u.ID, auth.Page{})
		if err != nil || n != 1 {
			t.Errorf("%d sessions, %+v, %v: want that of the browser", n, sessions, err)
		}
		b.get("/app")
		b.wantNot("Welcome")
		b.submit("/app/logout", nil)
		b.signIn("ada@example.com")
		b.want(http.StatusOK, "/app", "member")
	})
}

func TestARegistrationThatIsSentTwiceMakesOneAccount(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b := s.browser(t)
		b.get(registerPath)
		asked := b.page
		b.submit(registerPath, fields("email", "ada@example.com", "password", password))
		b.want(http.StatusOK, "/app", "member")
		b.page = asked
		b.submit(registerPath, fields("email", "ada@example.com", "password", password))
		b.want(http.StatusOK, "/app", "member")
		b.wantNot("Welcome")
		if n, err := s.db.Conn(t.Context()).NewSelect().TableExpr("latchkey_user").Count(t.Context()); err != nil || n != 1 {
			t.Errorf("%d users, %v, want one", n, err)
		}
	})
}

func TestRegisteringSaysWhatIsWrongAndKeepsTheAddress(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "known@example.com")
		b := s.browser(t)
		b.get(registerPath)
		for _, c := range []struct {
			email, password string
			status          int
			says            string
			faulty          string
		}{
			{"ada@example.com", "short7!", 400, "The password is too short", "password"},
			{"ada@example.com", "Password1", 400, "The password is too common", "password"},
			{"ada@example.com", "", 400, "Enter a password", "password"},
			{"", password, 400, "Enter your e-mail address", "email"},
			{"nonsense", password, 400, "must look like name@example.com", "email"},
			{"known@example.com", "not " + password, 422, "There is an account with this address already", "email"},
			{`"><script>alert(1)</script>`, password, 400, "must look like name@example.com", "email"},
		} {
			if c.password != "" {
				s.secret(c.password)
			}
			b.submit(registerPath, fields("email", c.email, "password", c.password))
			b.want(c.status, registerPath, c.says, `role="alert"`, `id="`+c.faulty+`"`, "<title>Error: ")
			b.wantNot("<script>alert")
			if got := b.form(registerPath).values.Get("email"); got != strings.NewReplacer(`"`, "&#34;", "<", "&lt;", ">", "&gt;").Replace(c.email) && got != c.email {
				t.Errorf("%q was typed, and %q is kept", c.email, got)
			}
			i := strings.Index(b.page.body, `id="`+c.faulty+`"`)
			if tag, _, _ := strings.Cut(b.page.body[i:], ">"); !strings.Contains(tag, `aria-invalid="true"`) {
				t.Errorf("%s: the field %s is not marked: %s", c.says, c.faulty, tag)
			}
		}
		if b.cookie() != "" {
			t.Error("somebody who was refused has a cookie")
		}
		s.wantNoUser(t, "ada@example.com")
	})
}

func TestNobodyRegistersWhereNewcomersAreNotTaken(t *testing.T) {
	for name, o := range map[string]options{
		"by invite":                  {policy: link.InviteOnly{}},
		"by invite, with roles":      {policy: link.WithRoles(link.InviteOnly{}, user.RoleMember)},
		"by an administrator":        {policy: link.Manual{}},
		"by a provider and no other": {providers: []auth.Provider{redirecting{"okta", "Okta"}}, allowed: []string{"okta"}},
	} {
		t.Run(name, func(t *testing.T) {
			eachWith(t, o, func(t *testing.T, s *site) {
				b := s.browser(t)
				b.get("/app/login")
				b.wantNot(registerPath)
				b.get(registerPath)
				b.want(http.StatusNotFound, registerPath, "There is no page at this address.")
				b.do(http.MethodPost, registerPath, form, strings.NewReader(fields("email", "ada@example.com", "password", password).Encode()))
				b.want(http.StatusNotFound, registerPath)
				if n, err := s.db.Conn(t.Context()).NewSelect().TableExpr("latchkey_auth_identity").Count(t.Context()); err != nil || n != 0 {
					t.Errorf("%d identities, %v, want none", n, err)
				}
			})
		})
	}
}

func TestWhoRegistersAndMustProveTheirAddressIsToldWhereTheMailIs(t *testing.T) {
	eachWith(t, options{require: true}, func(t *testing.T, s *site) {
		b := s.browser(t)
		b.registers("ada@example.com", password)
		b.want(http.StatusOK, registerPath, "Look into your mailbox", "<strong>ada@example.com</strong>", `role="status"`)
		s.wantNoUser(t, "ada@example.com")
		b.get("/app")
		b.want(http.StatusOK, "/app", "You have no account yet", "Send a link that confirms it")
		b.get(s.mailedProof(t))
		b.submit(verifyPath, nil)
		b.want(http.StatusOK, verifyPath, "Your e-mail address is confirmed")
		b.get("/app")
		b.want(http.StatusOK, "/app", "member")
	})
}

// Where registering must tell nobody who is known, the page is the same whoever has the address, and whatever their password.
func TestRegisteringTellsNobodyWhoIsKnown(t *testing.T) {
	for name, require := range map[string]bool{"": false, "and addresses are to be proved": true} {
		t.Run(name, func(t *testing.T) {
			eachWith(t, options{safe: true, require: require}, func(t *testing.T, s *site) {
				s.person(t, "known@example.com")
				shown := map[string]string{}
				for who, c := range map[string]struct{ address, password string }{
					"new":                {"newer@example.com", password},
					"known":              {"known@example.com", "another " + password},
					"known, by password": {"known@example.com", password},
				} {
					b := s.browser(t)
					b.registers(c.address, c.password)
					b.want(http.StatusOK, registerPath, "Look into your mailbox", "<strong>"+c.address+"</strong>")
					shown[who] = strings.ReplaceAll(b.page.body, c.address, "ADDRESS")
					b.get("/app")
					shown[who] += strings.ReplaceAll(b.page.body, c.address, "ADDRESS")
				}
				for who, page := range shown {
					if page != shown["new"] {
						t.Errorf("%s is shown\n%s\nand somebody new\n%s", who, page, shown["new"])
					}
				}
				s.wantNoUser(t, "newer@example.com")
			})
		})
	}
	eachWith(t, options{safe: true}, func(t *testing.T, s *site) {
		b := s.browser(t)
		b.registers("ada@example.com", password)
		b.get(s.mailedProof(t))
		b.submit(verifyPath, nil)
		b.want(http.StatusOK, verifyPath, "Your e-mail address is confirmed")
		b.get("/app")
		b.want(http.StatusOK, "/app", "member")
	})
}

func TestWhoRegistersAndWaitsReadsWhy(t *testing.T) {
	eachWith(t, options{policy: link.AllowDomains(nil, "example.com")}, func(t *testing.T, s *site) {
		b := s.browser(t)
		b.registers("eve@example.org", password)
		b.want(http.StatusOK, registerPath, "You have no account yet", link.WaitDomain.Message, link.WaitDomain.Next)
		s.wantNoUser(t, "eve@example.org")
		b.get("/app/login?waiting=" + link.WaitDomain.Reason)
		b.want(http.StatusOK, "/app/login", link.WaitDomain.Message)
	})
}

// The session of a cookie that was planted before is worth nothing after registering.
func TestRegisteringEndsAPlantedSession(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "eve@example.com")
		b := s.browser(t)
		b.get(registerPath)
		planted := s.plant(b)
		b.submit(registerPath, fields("email", "ada@example.com", "password", password))
		b.want(http.StatusOK, "/app", "ada@example.com")
		b.wantNot("eve@example.com")
		if _, err := s.auth.CheckCookie(t.Context(), planted); err == nil || b.cookie() == planted {
			t.Errorf("the planted session lives: %v", err)
		}
	})
}

func TestWhoSignsInGoesOnWhereTheyCameFrom(t *testing.T) {
	others := []auth.Provider{redirecting{"okta", "Okta"}}
	eachWith(t, options{providers: others}, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com", user.RoleAdmin)
		b := s.browser(t)
		const to = "/app/email?of=a%26b"
		from := "/app/login?next=" + url.QueryEscape(to)
		b.get(from)
		b.want(http.StatusOK, "/app/login", `href="/auth/user/okta/start?next=%2fapp%2femail%3fof%3da%2526b"`, `href="/app/register?next=%2fapp%2femail`)
		b.submit("/app/login", fields("email", "ada@example.com", "password", "not "+password))
		b.want(http.StatusUnauthorized, "/app/login", `href="/auth/user/okta/start?next=%2fapp%2femail`)
		b.submit("/app/login", fields("email", "ada@example.com", "password", password))
		b.want(http.StatusOK, "/app/email")
		b.get(from)
		b.want(http.StatusOK, "/app/login", `<a href="/app/email?of=a%26b">Go on</a>`)

		fresh := s.browser(t)
		fresh.get(registerPath + "?next=" + url.QueryEscape(to))
		fresh.want(http.StatusOK, registerPath, `href="/app/login?next=%2fapp%2femail`)
		fresh.submit(registerPath, fields("email", "bob@example.com", "password", password))
		fresh.want(http.StatusOK, "/app/email", "Welcome")

		for _, evil := range []string{
			"https://evil.example/", "//evil.example/app", `/\evil.example/app`, "/app/../auth/x", "/application", "/admin/users", "/auth/user/okta/start",
			"/app/login", "/app/logout", "/app/register", "/app/invite?token=abc", "javascript:alert(1)", "/app\n/x", "/app/%2e%2e/admin", "/apple/app",
		} {
			b := s.browser(t)
			b.get("/app/login?next=" + url.QueryEscape(evil))
			b.want(http.StatusOK, "/app/login", `href="/auth/user/okta/start?next=%2fapp"`)
			b.wantNot(`name="next"`, "evil")
			b.do(http.MethodPost, "/app/login", form, strings.NewReader(fields("email", "ada@example.com", "password", password, "next", evil).Encode()))
			b.want(http.StatusOK, "/app")
		}
	})
}
