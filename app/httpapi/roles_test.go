package httpapi_test

import (
	"testing"

	"github.com/latchkey-go/latchkey/modules/user"
)

// What a user may do is looked up at every request, on every node: a token from before says nothing.
func TestRolesGivenAndTakenCountAtOnce(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		sc, other := newScene(t, s), s.node(t, settings{})
		admin, member := bearer(sc.tokens["admin"]), bearer(sc.tokens["member"])
		cookie := s.openCookie(t, s.signIn(t, "ada@example.com"))
		want := func(what string, status int) {
			t.Helper()
			for name, on := range map[string]*server{"this node": s, "another node": other} {
				for how, credential := range map[string]string{"token": member, "cookie": cookie} {
					if a := on.do(t, "GET", "/admin/users", "", credential); a.status != status || (status == 403 && a.body != forbidden) {
						t.Errorf("%s, by %s on %s: %d %s, want %d", what, how, name, a.status, a.body, status)
					}
					if a := on.do(t, "GET", "/admin/users/me", "", credential); a.status != 200 {
						t.Errorf("%s, by %s on %s: me %d, want 200: the session lives on", what, how, name, a.status)
					}
				}
			}
		}
		change := func(method, path, body string) {
			t.Helper()
			if a := s.do(t, method, sc.fill(path), body, admin); a.status != 200 {
				t.Fatalf("%s %s: %d %s", method, path, a.status, a.body)
			}
		}
		want("a member", 403)
		change("POST", "/admin/users/{member}/roles", `{"roles":["admin"]}`)
		want("an admin", 200)
		change("DELETE", "/admin/users/{member}/roles", `{"roles":["admin"]}`)
		want("a demoted admin", 403)
		change("POST", "/admin/users/{member}/roles", `{"roles":["admin"]}`)
		want("an admin again", 200)
		change("DELETE", "/admin/users/{member}/roles/admin", "")
		want("demoted again", 403)

		// Also whoever demotes themselves, for which somebody else must be left.
		change("POST", "/admin/users/{member}/roles", `{"roles":["admin"]}`)
		change("DELETE", "/admin/users/{admin}/roles/admin", "")
		if a := s.do(t, "POST", sc.fill("/admin/users/{admin}/roles"), `{"roles":["admin"]}`, admin); a.status != 403 {
			t.Errorf("who has taken the role from themselves gives it back: %d %s, want 403", a.status, a.body)
		}
		if a := s.do(t, "DELETE", sc.fill("/admin/users/{member}/roles/admin"), "", member); a.status != 400 || a.get("reason") != "last_admin" {
			t.Errorf("the last: %d %s, want 400 last_admin", a.status, a.body)
		}
		want("the last admin", 200)
	})
}

func TestOfTwoAdminsWhoDemoteEachOtherOneIsLeft(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		emails := []string{"ada@example.com", "bob@example.com"}
		var tokens, ids []string
		for _, email := range emails {
			token := s.admin(t, email)
			id, _ := claims(t, token)["actor_id"].(string)
			tokens, ids = append(tokens, token), append(ids, id)
		}
		for round := range 5 {
			answers := make([]answer, 2)
			together(2, func(i int) {
				answers[i], _ = s.try(t.Context(), "DELETE", "/admin/users/"+ids[1-i]+"/roles/admin", "", bearer(tokens[i]))
			})
			admins, err := s.users.ListUsers(t.Context(), user.Filter{Roles: []string{user.RoleAdmin}}, user.Page{})
			check(t, err)
			done := 0
			for i, a := range answers {
				switch {
				case a.status == 200:
					done++
				case a.status == 403, a.status == 400 && a.get("reason") == "last_admin": // was demoted before, or met the other
				default:
					t.Errorf("round %d, admin %d: %d %s", round, i, a.status, a.body)
				}
			}
			if len(admins) != 1 || done != 1 {
				t.Fatalf("round %d: %d admins are left after %d demotions, want one of each", round, len(admins), done)
			}
			for _, id := range ids {
				check(t, s.users.AddRoles(t.Context(), user.ID(id), user.RoleAdmin))
			}
		}
	})
}
