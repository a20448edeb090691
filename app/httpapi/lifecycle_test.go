package httpapi_test

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"testing"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

// deletions are the ways of deleting a user.
var deletions = map[string]func(ctx context.Context, t *testing.T, s *server, admin string, id user.ID) error{
	"by the route": func(_ context.Context, t *testing.T, s *server, admin string, id user.ID) error {
		if a := s.do(t, "DELETE", "/admin/users/"+string(id), "", bearer(admin)); a.status != 200 {
			t.Errorf("delete: %d %s", a.status, a.body)
		}
		return nil
	},
	"softly": func(ctx context.Context, _ *testing.T, s *server, _ string, id user.ID) error {
		return s.users.SoftDeleteUsers(ctx, id)
	},
	"for good": func(ctx context.Context, _ *testing.T, s *server, _ string, id user.ID) error {
		return s.users.DeleteUsers(ctx, id)
	},
	"softly, then for good": func(ctx context.Context, _ *testing.T, s *server, _ string, id user.ID) error {
		return errors.Join(s.users.SoftDeleteUsers(ctx, id), s.users.DeleteUsers(ctx, id))
	},
}

// signInTables hold what somebody signs in with.
var signInTables = []string{"latchkey_auth_identity", "latchkey_provider_identity", "latchkey_link", "latchkey_auth_session"}

func TestWhoeverDeletesAUserEndsWhatTheySignInWithAndTheAddressStartsOver(t *testing.T) {
	for name, del := range deletions {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, s *server) {
				admin := s.admin(t, "admin@example.com")
				was := databasetest.Dump(t, s.db)
				for _, table := range signInTables {
					if len(was[table]) == 0 {
						t.Fatalf("%s is empty although somebody is signed in: %v", table, slices.Sorted(maps.Keys(was)))
					}
				}
				token := s.member(t, "ada@example.com")
				id := user.ID(claims(t, token)["actor_id"].(string))
				cookie := s.do(t, "POST", "/auth/session", "", bearer(token)).header.Get("Set-Cookie")

				check(t, del(t.Context(), t, s, admin, id))
				now := databasetest.Dump(t, s.db)
				for _, table := range signInTables {
					if !reflect.DeepEqual(now[table], was[table]) {
						t.Errorf("%s holds\n%v, want what was there before the user:\n%v", table, now[table], was[table])
					}
				}
				for _, credential := range []string{bearer(token), "Cookie: " + cookie} {
					if a := s.do(t, "GET", "/admin/users/me", "", credential); a.status != 401 {
						t.Errorf("me: %d %s, want 401", a.status, a.body)
					}
				}
				if a := s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password)); a.status != 401 || a.body != wrong("Invalid email or password") {
					t.Errorf("sign in: %d %s, want 401", a.status, a.body)
				}
				if again := claims(t, s.member(t, "ada@example.com"))["actor_id"]; again == string(id) || again == "" {
					t.Errorf("the address has the user %v, want a new one", again)
				}
			})
		})
	}
}

func TestDeletionThatIsRolledBackHasEndedNothing(t *testing.T) {
	undone := errors.New("undone")
	for name, del := range deletions {
		if name == "by the route" {
			continue // its transaction is its own
		}
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, s *server) {
				token := s.member(t, "ada@example.com")
				was := databasetest.Dump(t, s.db)
				err := s.db.InTx(t.Context(), func(ctx context.Context) error {
					check(t, del(ctx, t, s, "", user.ID(claims(t, token)["actor_id"].(string))))
					return undone
				})
				if !errors.Is(err, undone) || !reflect.DeepEqual(was, databasetest.Dump(t, s.db)) {
					t.Errorf("%v, and something is missing", err)
				}
				if a := s.do(t, "GET", "/admin/users/me", "", bearer(token)); a.status != 200 {
					t.Errorf("me: %d %s, want 200", a.status, a.body)
				}
			})
		})
	}
}

// Of admins who end each other by HTTP at once, one is left who can do it the other way round.
func TestAdminsWhoEndEachOtherByHTTPLeaveOne(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		for _, ends := range []struct{ method, path string }{{"DELETE", ""}, {"POST", "/deactivate"}, {"DELETE", "/roles/admin"}} {
			one, two := s.admin(t, "one@example.com"), s.admin(t, "two@example.com")
			answers := make([]answer, 2)
			together(2, func(i int) {
				tokens := []string{one, two}
				id, _ := claims(t, tokens[1-i])["actor_id"].(string)
				answers[i] = s.do(t, ends.method, "/admin/users/"+id+ends.path, "", bearer(tokens[i]))
			})
			won := 0
			for _, a := range answers {
				switch {
				case a.status == 200:
					won++
				case a.get("reason") != "last_admin" && a.status != 401 && a.status != 403: // or no admin any more when they asked
					t.Errorf("%s: %d %s", ends.path, a.status, a.body)
				}
			}
			if there, err := s.users.AdminExists(t.Context()); won != 1 || err != nil || !there {
				t.Errorf("%s: %d succeeded, an admin is left: %t, %v", ends.path, won, there, err)
			}
			databasetest.Empty(t, s.db)
		}
	})
}
