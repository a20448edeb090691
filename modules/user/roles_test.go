package user_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

func TestRemoveRolesTakesThoseThatTheUserHas(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		ada := b.user(t, "ada@example.com", "editor", "writer", "member")
		gone := b.user(t, "gone@example.com", "editor")
		check(t, b.SoftDeleteUsers(t.Context(), gone.ID))
		b.said.take()
		for _, c := range []struct {
			remove, left []string
			said         bool
		}{
			{nil, []string{"editor", "member", "writer"}, false},
			{[]string{"none", "Editor"}, []string{"editor", "member", "writer"}, false},
			{[]string{"editor", "none", "editor"}, []string{"member", "writer"}, true},
			{[]string{"editor"}, []string{"member", "writer"}, false},
			{[]string{"admin"}, []string{"member", "writer"}, false}, // which nobody has
			{[]string{"writer", "member", "admin"}, nil, true},
		} {
			check(t, b.RemoveRoles(t.Context(), ada.ID, c.remove...))
			if got := must(b.RetrieveUser(t.Context(), ada.ID))(t).Roles; !slices.Equal(got, c.left) {
				t.Errorf("without %q: %q, want %q", c.remove, got, c.left)
			}
			if c.said {
				b.wantSaid(t, topic("user.updated", ada.ID)...)
			} else {
				b.wantSaid(t)
			}
		}
		for _, id := range append(nobody, gone.ID) {
			wantErr(t, "roles of nobody", b.RemoveRoles(t.Context(), id, "editor"), user.ErrNotFound)
			wantErr(t, "admin of nobody", b.RemoveRoles(t.Context(), id, "admin"), user.ErrNotFound)
		}
		wantErr(t, "a role that is none", b.RemoveRoles(t.Context(), ada.ID, "a b"), user.ErrInvalid)
		wantErr(t, "a role with NUL", b.RemoveRoles(t.Context(), ada.ID, "a\x00"), user.ErrInvalid)
		b.wantSaid(t)
	})
}

func TestTheLastAdminStaysOne(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		ada, inactive, deleted := b.user(t, "ada@example.com", "admin", "editor"), b.user(t, "inactive@example.com", "admin"), b.user(t, "deleted@example.com", "admin")
		check(t, b.DeactivateUsers(t.Context(), inactive.ID))
		check(t, b.SoftDeleteUsers(t.Context(), deleted.ID))
		b.said.take()
		wantErr(t, "the last", b.RemoveRoles(t.Context(), ada.ID, "editor", "admin"), user.ErrLastAdmin)
		if got := must(b.RetrieveUser(t.Context(), ada.ID))(t).Roles; !slices.Equal(got, []string{"admin", "editor"}) {
			t.Errorf("the refused removal has left %q", got)
		}
		b.wantSaid(t)
		check(t, b.RemoveRoles(t.Context(), inactive.ID, "admin")) // could not act as one anyway
		bob := b.user(t, "bob@example.com", "admin")
		check(t, b.RemoveRoles(t.Context(), ada.ID, "admin"))
		wantErr(t, "the last again", b.RemoveRoles(t.Context(), bob.ID, "admin"), user.ErrLastAdmin)
	})
}

func TestOfAdminsWhoDemoteEachOtherAtOnceOneIsLeft(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		var admins []user.ID
		for _, address := range numbered(8) {
			admins = append(admins, b.user(t, address, "admin").ID)
		}
		for round := range 4 {
			refused := 0
			for i, err := range databasetest.Together(2*len(admins), func(i int) error {
				return b.RemoveRoles(t.Context(), admins[(i+1)%len(admins)], "admin")
			}) {
				switch {
				case errors.Is(err, user.ErrLastAdmin):
					refused++
				case err != nil:
					t.Errorf("round %d, caller %d: %v", round, i, err)
				}
			}
			left := must(b.ListUsers(t.Context(), user.Filter{Roles: []string{"admin"}}, user.Page{}))(t)
			if len(left) != 1 || refused == 0 {
				t.Fatalf("round %d: %d admins are left and %d callers refused, want one and some", round, len(left), refused)
			}
			for _, id := range admins {
				check(t, b.AddRoles(t.Context(), id, "admin"))
			}
		}
	})
}
