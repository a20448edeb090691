package user_test

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/email"
	"github.com/latchkey-go/latchkey/modules/user"
)

func TestAUserGetsAnotherAddressInPlaceOfTheOneTheyHad(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		ada := b.user(t, "ada@example.com")
		u, err := b.ChangeEmail(t.Context(), ada.ID, "ADA@example.com", "Ada@Lovelace.example")
		if err != nil || u.Email != "ada@lovelace.example" || !u.EmailVerified() || u.CreatedAt != ada.CreatedAt || !u.UpdatedAt.After(ada.UpdatedAt) {
			t.Errorf("%+v, %v", u, err)
		}
		if found, err := b.FindUser(t.Context(), "ada@lovelace.example"); err != nil || found.ID != ada.ID {
			t.Errorf("by the new address: %s, %v", found.ID, err)
		}
		for q, want := range map[string]int{"lovelace": 1, "ada@example": 0} {
			if found, err := b.ListUsers(t.Context(), user.Filter{Q: q}, user.Page{}); err != nil || len(found) != want {
				t.Errorf("search for %s: %d, %v, want %d", q, len(found), err, want)
			}
		}
		if again := b.user(t, "ada@example.com"); again.ID == ada.ID {
			t.Error("the old address is not free")
		}
	})
}

func TestAnAddressIsNotChangedForWhomItIsNot(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		ada, bob, away, gone := b.user(t, "ada@example.com"), b.user(t, "bob@example.com"), b.user(t, "away@example.com"), b.user(t, "gone@example.com")
		check(t, b.DeactivateUsers(t.Context(), away.ID))
		check(t, b.SoftDeleteUsers(t.Context(), gone.ID))
		for name, c := range map[string]struct {
			id       user.ID
			from, to string
			want     error
		}{
			"a taken address":          {ada.ID, "ada@example.com", "bob@example.com", user.ErrEmailTaken},
			"in another spelling":      {ada.ID, "ada@example.com", "Bob@Example.com", user.ErrEmailTaken},
			"their own":                {ada.ID, "ada@example.com", "ADA@example.com", user.ErrSameEmail},
			"from another":             {ada.ID, "bob@example.com", "new@example.com", user.ErrEmailMoved},
			"from none":                {ada.ID, "", "new@example.com", user.ErrEmailMoved},
			"no address":               {ada.ID, "ada@example.com", "nonsense", email.ErrInvalid},
			"to none":                  {ada.ID, "ada@example.com", "", email.ErrInvalid},
			"somebody who is inactive": {away.ID, "away@example.com", "new@example.com", user.ErrNotFound},
			"somebody who was deleted": {gone.ID, "gone@example.com", "new@example.com", user.ErrNotFound},
			"nobody":                   {nobodysID, "", "new@example.com", user.ErrNotFound},
		} {
			if u, err := b.ChangeEmail(t.Context(), c.id, c.from, c.to); !errors.Is(err, c.want) || u.ID != "" {
				t.Errorf("%s: %v, %v, want %v", name, u.ID, err, c.want)
			}
			if errors.Is(c.want, user.ErrEmailTaken) || errors.Is(c.want, user.ErrEmailMoved) {
				continue // nobody is told before they have proved the mailbox
			}
			if _, err := b.RequestEmailChange(t.Context(), c.id, c.to); !errors.Is(err, c.want) {
				t.Errorf("ask for %s: %v, want %v", name, err, c.want)
			}
		}
		if _, err := b.RequestEmailChange(t.Context(), ada.ID, bob.Email); err != nil {
			t.Errorf("asking for a taken address tells: %v", err)
		}
		// What a deleted user had is free.
		if _, err := b.ChangeEmail(t.Context(), ada.ID, ada.Email, gone.Email); err != nil {
			t.Error(err)
		}
		if err := b.RestoreUsers(t.Context(), gone.ID); !errors.Is(err, user.ErrEmailTaken) {
			t.Errorf("restore: %v", err)
		}
	})
}

func TestWhoHasNotProvedTheirAddressStaysWhereRolesWereGrantedToIt(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		for name, c := range map[string]struct {
			draft user.Draft
			want  error
		}{
			"members":                   {user.Draft{Roles: []string{user.RoleMember}, Via: user.ViaAPI}, nil},
			"without roles":             {user.Draft{Via: user.ViaInvite}, nil},
			"by the set-up link":        {user.Draft{Roles: []string{user.RoleAdmin}, Via: user.ViaSetup}, nil},
			"by a first sign-in":        {user.Draft{Roles: []string{"editor"}, Via: user.ViaFirstAuth}, nil},
			"by invite":                 {user.Draft{Roles: []string{"editor"}, Via: user.ViaInvite}, user.ErrUnproved},
			"by the app":                {user.Draft{Roles: []string{"editor"}, Via: user.ViaAPI}, user.ErrUnproved},
			"by the app's own way":      {user.Draft{Roles: []string{"editor"}, Via: "import"}, user.ErrUnproved},
			"by invite, and proved":     {user.Draft{Roles: []string{"editor"}, Via: user.ViaInvite, EmailVerified: true}, nil},
			"by invite, and no address": {user.Draft{Roles: []string{"editor"}, Via: user.ViaInvite, Email: "none"}, nil},
		} {
			if c.draft.Email == "" {
				c.draft.Email = string(user.NewID()) + "@example.com"
			} else {
				c.draft.Email = ""
			}
			u := must(b.CreateUsers(t.Context(), c.draft))(t)[0]
			to := string(user.NewID()) + "@new.example"
			if _, err := b.RequestEmailChange(t.Context(), u.ID, to); !errors.Is(err, c.want) {
				t.Errorf("%s: ask: %v, want %v", name, err, c.want)
			}
			moved, err := b.ChangeEmail(t.Context(), u.ID, u.Email, to)
			if !errors.Is(err, c.want) || err == nil && !slices.Equal(moved.Roles, u.Roles) {
				t.Errorf("%s: %v, %v, want %v", name, moved.Roles, err, c.want)
			}
		}
	})
}

func TestOfManyWhoTakeOneAddressOneGetsIt(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		const n = 20
		users := make([]user.User, n)
		for i := range n {
			users[i] = b.user(t, string(user.NewID())+"@example.com")
		}
		won := 0
		for i, err := range databasetest.Together(n, func(i int) error {
			if i%4 == 3 {
				_, err := b.CreateUsers(t.Context(), user.Draft{Email: "wanted@example.com"})
				return err
			}
			_, err := b.ChangeEmail(t.Context(), users[i].ID, users[i].Email, "wanted@example.com")
			return err
		}) {
			switch {
			case err == nil:
				won++
			case !errors.Is(err, user.ErrEmailTaken):
				t.Errorf("%d: %v", i, err)
			}
		}
		if won != 1 {
			t.Errorf("%d got it", won)
		}
	})
}

func TestWhoWaitsForAddressesHearsOfEveryOneThatBecomesSomebodys(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		var heard []string
		var refuse error
		b.OnAddress(func(_ context.Context, addresses []string) error {
			heard = append(heard, addresses...)
			return refuse
		})
		var ada, gone user.User
		for _, step := range []struct {
			name string
			do   func() error
			want []string
		}{
			{"create", func() error {
				made, err := b.CreateUsers(t.Context(), user.Draft{Email: "Ada@example.com"}, user.Draft{}, user.Draft{Email: "gone@example.com"})
				if err == nil {
					ada, gone = made[0], made[2]
				}
				return err
			}, []string{"ada@example.com", "gone@example.com"}},
			{"create nobody with an address", func() error { _, err := b.CreateUsers(t.Context(), user.Draft{}); return err }, nil},
			{"ensure", func() error { _, _, err := b.Ensure(t.Context(), user.Draft{Email: "bob@example.com"}); return err }, []string{"bob@example.com"}},
			{"ensure who is there", func() error { _, _, err := b.Ensure(t.Context(), user.Draft{Email: "bob@example.com"}); return err }, nil},
			{"prove", func() error { return b.VerifyEmail(t.Context(), ada.ID, ada.Email) }, []string{"ada@example.com"}},
			{"prove again", func() error { return b.VerifyEmail(t.Context(), ada.ID, ada.Email) }, nil},
			{"confirm the owner", func() error { _, err := b.ConfirmOwner(t.Context(), gone); return err }, []string{"gone@example.com"}},
			{"delete", func() error { return b.SoftDeleteUsers(t.Context(), gone.ID) }, nil},
			{"restore", func() error { return b.RestoreUsers(t.Context(), gone.ID) }, []string{"gone@example.com"}},
			{"change", func() error { _, err := b.ChangeEmail(t.Context(), ada.ID, ada.Email, "new@example.com"); return err }, nil},
		} {
			heard = nil
			if err := step.do(); err != nil || !slices.Equal(heard, step.want) {
				t.Errorf("%s: heard of %q, %v, want %q", step.name, heard, err, step.want)
			}
		}
		refuse = errKept
		if _, err := b.CreateUsers(t.Context(), user.Draft{Email: "eve@example.com"}); !errors.Is(err, errKept) {
			t.Errorf("refused: %v", err)
		}
		if _, err := b.FindUser(t.Context(), "eve@example.com"); !errors.Is(err, user.ErrNotFound) {
			t.Errorf("who was refused: %v", err)
		}
	})
}
