package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Every page there is inside, one that is yet to be written, too, shows and does nothing to who may not.
func TestEveryPageInsideIsForWhoMayAlone(t *testing.T) {
	eachWith(t, options{policy: link.InviteOnly{}, actors: []link.Actors{shoppers{}}}, func(t *testing.T, s *site) {
		ada := s.person(t, "lovelace@example.org", user.RoleMember)
		s.person(t, "root@example.com", user.RoleAdmin)
		invite, _ := s.invite(t, "grace@example.com", user.RoleMember)
		hook := s.hook(t)
		s.rings(t, "bell.rung", 1)
		s.insider(t, "lovelace@example.org")
		var event string
		if err := s.db.Conn(t.Context()).NewRaw("SELECT id FROM latchkey_audit_event LIMIT 1").Scan(t.Context(), &event); err != nil {
			t.Fatal(err)
		}
		state := func() string {
			u, err := s.users.RetrieveUser(t.Context(), ada.ID)
			if err != nil {
				t.Fatal(err)
			}
			invites, err := s.users.ListInvites(t.Context(), user.InviteFilter{WithDeleted: true}, user.Page{})
			if err != nil {
				t.Fatal(err)
			}
			sessions := 0
			if err := s.db.Conn(t.Context()).NewRaw("SELECT count(*) FROM latchkey_auth_session").Scan(t.Context(), &sessions); err != nil {
				t.Fatal(err)
			}
			return fmt.Sprintln(u.Email, u.Roles, u.FirstName, u.Metadata, u.UpdatedAt, invites, s.endpoint(t, hook), s.endpoints(t), s.waiting(t), sessions, len(s.asked.requests))
		}

		nobody, waiting, shopper, member := s.browser(t), s.browser(t), s.browser(t), s.browser(t)
		s.register(t, "eve@example.com")
		waiting.signIn("eve@example.com")
		bob := s.person(t, "bob@example.com", user.RoleMember)
		member.signIn("bob@example.com")
		signedUp, err := s.link.SignUp(t.Context(), "shopper", "emailpass", credentials("shopper@example.com"), auth.Client{})
		if err != nil {
			t.Fatal(err)
		}
		cookie, err := s.auth.SetCookie(t.Context(), signedUp.Session)
		if err != nil {
			t.Fatal(err)
		}
		at, err := url.Parse(s.server.URL)
		if err != nil {
			t.Fatal(err)
		}
		shopper.client.Jar.SetCookies(at, []*http.Cookie{{Name: "latchkey", Value: s.secret(cookie), Path: "/", Expires: time.Now().Add(time.Hour)}})
		for _, b := range []*browser{nobody, waiting, shopper, member} {
			b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		}

		before := state()
		about := map[string]string{"users": string(ada.ID), "invites": string(invite.ID), "webhooks": hook, "audit": event}
		// What a form of any of the pages holds.
		typed := url.Values{"email": {"mallory@example.com"}, "first_name": {"Mallory"}, "role": {user.RoleMember}, "confirm": {"lovelace@example.org"}, "metadata": {"{}"},
			"version": {ada.UpdatedAt.UTC().Format(time.RFC3339Nano)}, "emails": {"mallory@example.com"}, "roles": {user.RoleMember}, "expires_in": {""}, "overlap": {"now"},
			"as": {string(bob.ID)}, "url": {"https://example.com/"}, "id": {"whep_01ARZ3NDEKTSV4RRFFQ69G5FAV"}, "topic": {"bell.sent"}}
		keeps := []string{"/app/users/{id}/edit", "/app/invites/new", "/app/webhooks/new", "/app/webhooks/{id}/edit"}
		pages := s.pages.Inside()
		if len(pages) < 30 {
			t.Fatalf("there are %d pages", len(pages))
		}
		for pattern, methods := range pages {
			_, area, _ := strings.Cut(strings.TrimPrefix(pattern, "/app"), "/")
			area, _, _ = strings.Cut(area, "/")
			path := strings.ReplaceAll(pattern, "{id}", about[area])
			for _, method := range methods {
				for who, b := range map[string]*browser{"nobody": nobody, "somebody without an account": waiting, "a shopper": shopper, "a member": member} {
					var p page
					if method == http.MethodPost {
						p = b.send(path, typed)
					} else {
						p = b.do(method, path, "", nil)
					}
					want, to := http.StatusSeeOther, "/app/login"
					switch {
					case who == "a member":
						want, to = http.StatusForbidden, ""
					case who == "somebody without an account":
						to = "/app"
					case method == http.MethodPost && slices.Contains(keeps, pattern): // it has what it was sent, and tells nothing else
						want, to = http.StatusUnauthorized, ""
					case slices.Contains(methods, http.MethodGet): // there is something to come back to
						to += "?next=" + url.QueryEscape(path)
					}
					if p.status != want || p.header.Get("Location") != to {
						t.Errorf("%s %s by %s: %d to %q, want %d to %q", method, path, who, p.status, p.header.Get("Location"), want, to)
					}
					for _, told := range []string{"lovelace@example.org", "grace@example.com", "127.0.0.1:1", "bell.rung"} {
						if strings.Contains(p.body, told) {
							t.Errorf("%s %s tells %s of %s", method, path, who, told)
						}
					}
				}
			}
		}
		if after := state(); after != before {
			t.Errorf("before:\n%s\nafter:\n%s", before, after)
		}
		if found, err := s.users.ListUsers(t.Context(), user.Filter{}, user.Page{}); err != nil || slices.ContainsFunc(found, func(u user.User) bool { return strings.HasPrefix(u.Email, "mallory") }) {
			t.Errorf("%v, %v", found, err)
		}
	})
}
