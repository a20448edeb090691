package console_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// submitNamed sends the form that has a field of the name.
func (b *browser) submitNamed(name string) {
	b.t.Helper()
	for i, f := range b.page.forms {
		if f.values.Has(name) {
			b.page.forms = b.page.forms[i : i+1]
			b.submit(f.action, nil)
			return
		}
	}
	b.t.Fatalf("no form has a field %s in:\n%s", name, b.page.body)
}

func TestWhoIsSignedInAsSomebodyElseComesToTheInviteByOneButton(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "eve@example.com", user.RoleMember)
		_, path := s.invite(t, "ada@example.com", "editor")
		b := s.browser(t)
		b.signIn("eve@example.com")
		before := b.cookie()
		b.get(path)
		b.want(http.StatusOK, "/app/invite", "You are signed in as <strong>eve@example.com</strong>", "Sign out and open the invite")
		shown := b.page
		b.submitNamed("leave") // no redirect carries the token: the browser fails for one
		b.want(http.StatusOK, "/app/invite", "You are invited", `value="ada@example.com"`, `type="password"`)
		b.wantNot("eve@example.com")
		if _, err := s.auth.CheckCookie(t.Context(), before); !errors.Is(err, auth.ErrSession) || b.cookie() != "" {
			t.Errorf("after the button: %v and cookie %q, want the session ended and none", err, b.cookie())
		}
		b.submit("/app/invite", fields("password", password))
		b.want(http.StatusOK, "/app", "ada@example.com", "editor")

		// Sent once more, it signs out nobody whom it did not name.
		b.page = shown
		b.submitNamed("leave")
		b.want(http.StatusBadRequest, "/app/invite", says(user.ErrInviteUsed))
		b.get("/app")
		b.want(http.StatusOK, "/app", "ada@example.com")
	})
}

func TestTheButtonOfAnInviteSignsOutNobodyWhomItDidNotName(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "eve@example.com")
		s.person(t, "bob@example.com")
		_, path := s.invite(t, "ada@example.com", "editor")
		b := s.browser(t)
		b.signIn("eve@example.com")
		b.get(path)
		shown := b.page
		b.signIn("bob@example.com") // in another tab
		b.page = shown
		b.submitNamed("leave")
		b.want(http.StatusOK, "/app/invite", "You are signed in as <strong>bob@example.com</strong>")
		b.get("/app")
		b.want(http.StatusOK, "/app", "bob@example.com")

		// Nor does another site's form.
		b.header = http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}
		for _, f := range shown.forms {
			if f.values.Has("leave") {
				b.do(http.MethodPost, "/app/invite", form, strings.NewReader(f.values.Encode()))
				b.want(http.StatusForbidden, "/app/invite")
			}
		}
	})
}

func TestWhoMayAcceptCanMakeWayForSomebodyElse(t *testing.T) {
	eachWith(t, options{policy: link.InviteOnly{}}, func(t *testing.T, s *site) {
		s.register(t, "ada@home.example")
		b := s.browser(t)
		b.signIn("ada@home.example")
		_, path := s.invite(t, "ada@example.com", "editor")
		b.get(path)
		b.want(http.StatusOK, "/app/invite", "Accept as ada@home.example", "Sign out and accept as somebody else")
		b.submitNamed("leave")
		b.want(http.StatusOK, "/app/invite", `value="ada@example.com"`)
		b.submit("/app/invite", fields("password", password))
		b.want(http.StatusOK, "/app", "ada@example.com", "editor")
	})
}

// Somebody who signs in by a provider finds the way there from an invite, without its token.
func TestAnInviteOffersTheProvidersWithoutItsToken(t *testing.T) {
	eachWith(t, options{providers: []auth.Provider{redirecting{"okta", "Okta"}}}, func(t *testing.T, s *site) {
		_, path := s.invite(t, "ada@example.com", "editor")
		b := s.browser(t)
		b.get(path)
		b.want(http.StatusOK, "/app/invite", `href="/auth/user/okta/start?next=%2fapp"`, "open the link once more")
		token, err := url.QueryUnescape(strings.TrimPrefix(path, "/app/invite?token="))
		if err != nil {
			t.Fatal(err)
		}
		for _, link := range strings.Split(b.page.body, `href="`)[1:] {
			if to, _, _ := strings.Cut(link, `"`); strings.Contains(to, token) {
				t.Errorf("a link carries the token: %s", to)
			}
		}
	})
}

func TestProblemPagesOfWhoIsSignedInAreInside(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com", user.RoleAdmin)
		b := s.browser(t)
		b.get("/app/nothing")
		b.want(http.StatusNotFound, "/app/nothing", "There is nothing here", `href="/app/login"`)
		b.wantNot("Sign out")
		b.signIn("ada@example.com")
		b.get("/app/nothing")
		b.want(http.StatusNotFound, "/app/nothing", "There is nothing here", "Go to the first page", `action="/app/logout"`, `href="/app/users"`)
		b.header = http.Header{"Origin": {"https://evil.example"}, "Sec-Fetch-Site": {"cross-site"}}
		b.do(http.MethodPost, "/app/logout", form, nil)
		b.want(http.StatusForbidden, "/app/logout", "another site")
		b.wantNot("ada@example.com")
	})
}
