package user_test

import (
	"context"
	"errors"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/email"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
	"github.com/latchkey-go/latchkey/modules/user"
)

func TestCreatedUserIsReadBackAsItWasGiven(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		before := time.Now().Add(-time.Second)
		made := must(b.CreateUsers(t.Context(), user.Draft{
			Email: "Ada@Example.com", EmailVerified: true, FirstName: new("Ada"), LastName: new(""), AvatarURL: new("https://example.com/ada.png"),
			Metadata: map[string]any{"team": "analysis", "level": 3, "none": nil}, Roles: []string{"writer", "admin", "writer"}, Via: user.ViaCLI,
		}))(t)
		u := must(b.RetrieveUser(t.Context(), made[0].ID))(t)
		if !reflect.DeepEqual(made, []user.User{u}) {
			t.Errorf("created %+v, read %+v", made, u)
		}
		if u.EmailVerifiedAt.Before(before) || u.CreatedAt.Before(before) || !u.UpdatedAt.Equal(u.CreatedAt) || u.CreatedAt.Location() != time.UTC {
			t.Errorf("made at %v, proved at %v, changed at %v, want all now and in UTC", u.CreatedAt, u.EmailVerifiedAt, u.UpdatedAt)
		}
		want := user.User{
			ID: u.ID, Email: "ada@example.com", EmailVerifiedAt: u.EmailVerifiedAt,
			FirstName: new("Ada"), LastName: new(""), AvatarURL: new("https://example.com/ada.png"),
			Metadata: map[string]any{"team": "analysis", "level": 3.0, "none": nil}, Roles: []string{"admin", "writer"},
			CreatedVia: user.ViaCLI, CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt,
		}
		if !reflect.DeepEqual(u, want) {
			t.Errorf("got %+v, want %+v", u, want)
		}
		if !id.Valid("user", string(u.ID)) {
			t.Errorf("id %q, want user_ and a ULID", u.ID)
		}
		if !u.EmailVerified() || !u.Active() || !u.HasRole("writer") || u.HasRole("owner") {
			t.Errorf("verified %t, active %t, roles %v", u.EmailVerified(), u.Active(), u.Roles)
		}
	})
}

func TestUserNeedsNothing(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		users := must(b.CreateUsers(t.Context(), user.Draft{}, user.Draft{}))(t)
		for _, u := range users {
			want := user.User{ID: u.ID, CreatedVia: user.ViaAPI, CreatedAt: u.CreatedAt, UpdatedAt: u.UpdatedAt}
			if !reflect.DeepEqual(u, want) {
				t.Errorf("got %+v, want nothing but an id, the way and the times", u)
			}
			if u.EmailVerified() {
				t.Error("no address counts as a proved one")
			}
		}
	})
}

func TestUserKeepsTheIDItWasGiven(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		own := user.NewID()
		if u := must(b.CreateUsers(t.Context(), user.Draft{ID: own}))(t)[0]; u.ID != own {
			t.Errorf("id %s, want %s", u.ID, own)
		}
		if _, err := b.CreateUsers(t.Context(), user.Draft{Email: "ada@example.com"}, user.Draft{ID: own}); err == nil {
			t.Error("an id was given to a second user")
		}
		if n := b.count(t, "user"); n != 1 {
			t.Errorf("%d users, want one", n)
		}
	})
}

func TestManyUsersComeBackInTheOrderOfTheirDrafts(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		want := numbered(1200) // more than one statement takes
		slices.Reverse(want)
		made := must(b.CreateUsers(t.Context(), drafts(want...)...))(t)
		if got := emails(made); !slices.Equal(got, want) {
			t.Errorf("%d users, the first %v; want %d in their order", len(got), got[:min(3, len(got))], len(want))
		}
		b.wantSaid(t, topic("user.created", userIDs(made)...)...)
	})
}

func TestOneUnacceptableUserKeepsAllFromBeingMade(t *testing.T) {
	long, good := strings.Repeat("x", 1025), user.Draft{Email: "good@example.com"}
	tests := []struct {
		name string
		bad  user.Draft
		want error
		says string
	}{
		{"taken", user.Draft{Email: "Ada@Example.com"}, user.ErrEmailTaken, "User with email: ada@example.com, already exists."},
		{"twice", user.Draft{Email: "GOOD@example.com"}, user.ErrEmailTaken, "User with email: good@example.com, already exists."},
		{"no address", user.Draft{Email: "ada"}, email.ErrInvalid, ""},
		{"address with NUL", user.Draft{Email: "a\x00@example.com"}, email.ErrInvalid, ""},
		{"id", user.Draft{ID: "ada"}, user.ErrInvalid, ""},
		{"first name with NUL", user.Draft{FirstName: new("A\x00da")}, user.ErrInvalid, "first_name"},
		{"last name not UTF-8", user.Draft{LastName: new("A\xffda")}, user.ErrInvalid, "last_name"},
		{"first name too long", user.Draft{FirstName: &long}, user.ErrInvalid, "first_name"},
		{"avatar too long", user.Draft{AvatarURL: &long}, user.ErrInvalid, "avatar_url"},
		{"way with NUL", user.Draft{Via: "\x00"}, user.ErrInvalid, "created_via"},
		{"empty role", user.Draft{Roles: []string{"admin", ""}}, user.ErrInvalid, ""},
		{"role with NUL", user.Draft{Roles: []string{"a\x00"}}, user.ErrInvalid, ""},
		{"role too long", user.Draft{Roles: []string{strings.Repeat("r", 65)}}, user.ErrInvalid, ""},
		{"too many roles", user.Draft{Roles: numbered(65)}, user.ErrInvalid, ""},
		{"metadata", user.Draft{Metadata: map[string]any{"a": "\x00"}}, user.ErrInvalid, ""},
	}
	each(t, func(t *testing.T, b bench) {
		ada := b.user(t, "ada@example.com")
		b.said.take()
		for _, test := range tests {
			users, err := b.CreateUsers(t.Context(), good, test.bad)
			wantErr(t, test.name, err, test.want)
			if err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("%s: %q, want it to say %q", test.name, err, test.says)
			}
			if len(users) > 0 {
				t.Errorf("%s: got users along with the error", test.name)
			}
		}
		if got := must(b.ListUsers(t.Context(), user.Filter{WithDeleted: true}, user.Page{}))(t); !reflect.DeepEqual(got, []user.User{ada}) {
			t.Errorf("users %v, want ada as she was and nobody else", got)
		}
		b.wantSaid(t)
	})
}

func TestTextsOfTheGreatestLengthAreKept(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		long := strings.Repeat("é", 512)
		u := must(b.CreateUsers(t.Context(), user.Draft{FirstName: &long, Roles: []string{strings.Repeat("r", 64)}}))(t)[0]
		if *u.FirstName != long {
			t.Errorf("got %d bytes, want %d", len(*u.FirstName), len(long))
		}
	})
}

func TestUnknownUsersAreNotFound(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		gone := b.user(t, "gone@example.com")
		check(t, b.SoftDeleteUsers(t.Context(), gone.ID))
		for _, id := range append(slices.Clone(nobody), gone.ID) {
			_, err := b.RetrieveUser(t.Context(), id)
			wantErr(t, "retrieve "+string(id), err, user.ErrNotFound)
			_, err = b.UpdateUsers(t.Context(), user.Update{ID: id, FirstName: user.Set("Eve")})
			wantErr(t, "update "+string(id), err, user.ErrNotFound)
			wantErr(t, "give roles to "+string(id), b.AddRoles(t.Context(), id, "admin"), user.ErrNotFound)
		}
		_, err := b.RetrieveUser(t.Context(), "user_none")
		if want := "User with id: user_none was not found"; err == nil || err.Error() != want {
			t.Errorf("retrieve: %v, want %q", err, want)
		}
		_, err = b.UpdateUsers(t.Context(), user.Update{ID: "user_none"})
		if want := `User with id "user_none" not found`; err == nil || err.Error() != want {
			t.Errorf("update: %v, want %q", err, want)
		}
	})
}

func TestUnknownUsersArePassedOver(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		b.user(t, "ada@example.com")
		b.said.take()
		for name, f := range map[string]func(context.Context, ...user.ID) error{
			"delete": b.DeleteUsers, "soft-delete": b.SoftDeleteUsers, "restore": b.RestoreUsers,
			"deactivate": b.DeactivateUsers, "reactivate": b.ReactivateUsers,
		} {
			if err := f(t.Context(), nobody...); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if got := b.emails(t); !slices.Equal(got, []string{"ada@example.com"}) {
			t.Errorf("users %v, want ada still", got)
		}
		b.wantSaid(t)
	})
}

func TestAddressIsFoundInAnySpelling(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		ada := b.user(t, "ada@example.com")
		for _, spelling := range []string{"ada@example.com", "ADA@Example.COM"} {
			if u := must(b.FindUser(t.Context(), spelling))(t); u.ID != ada.ID {
				t.Errorf("FindUser(%s) is %s, want ada", spelling, u.Email)
			}
			got := must(b.ListUsers(t.Context(), user.Filter{Emails: []string{"no address", spelling}}, user.Page{}))(t)
			if !slices.Equal(userIDs(got), []user.ID{ada.ID}) {
				t.Errorf("list of %s: %v, want ada", spelling, emails(got))
			}
			check(t, b.VerifyEmail(t.Context(), ada.ID, spelling))
		}
		_, err := b.FindUser(t.Context(), "eve@example.com")
		wantErr(t, "nobody's address", err, user.ErrNotFound)
		_, err = b.FindUser(t.Context(), "no address")
		wantErr(t, "no address", err, email.ErrInvalid)
		check(t, b.SoftDeleteUsers(t.Context(), ada.ID))
		_, err = b.FindUser(t.Context(), "ada@example.com")
		wantErr(t, "a deleted user's address", err, user.ErrNotFound)
	})
}

func TestUpdateChangesWhatIsSetAndNothingElse(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		was := must(b.CreateUsers(t.Context(), user.Draft{
			Email: "ada@example.com", FirstName: new("Ada"), LastName: new("Byron"), AvatarURL: new("a"), Roles: []string{"admin"},
		}, user.Draft{Email: "bob@example.com"}))(t)
		b.said.take()
		now := must(b.UpdateUsers(t.Context(),
			user.Update{ID: was[1].ID, FirstName: user.Set("")},
			user.Update{ID: was[0].ID, LastName: user.Set("Lovelace"), AvatarURL: user.Clear[string]()},
		))(t)
		if now[0].ID != was[1].ID || now[1].ID != was[0].ID {
			t.Fatal("the users come in another order than the updates")
		}
		want := []user.User{was[1], was[0]}
		want[0].FirstName, want[0].UpdatedAt = new(""), now[0].UpdatedAt
		want[1].LastName, want[1].AvatarURL, want[1].UpdatedAt = new("Lovelace"), nil, now[1].UpdatedAt
		if !reflect.DeepEqual(now, want) {
			t.Errorf("got %+v, want %+v", now, want)
		}
		for i, u := range now {
			if !u.UpdatedAt.After(want[i].CreatedAt) {
				t.Errorf("%s: changed at %v, made at %v", u.Email, u.UpdatedAt, u.CreatedAt)
			}
		}
		b.wantSaid(t, topic("user.updated", was[1].ID, was[0].ID)...)

		found := must(b.ListUsers(t.Context(), user.Filter{Q: "lovelace"}, user.Page{}))(t)
		if !slices.Equal(userIDs(found), []user.ID{was[0].ID}) {
			t.Errorf("a search for the new name finds %v", emails(found))
		}
		if found := must(b.ListUsers(t.Context(), user.Filter{Q: "byron"}, user.Page{}))(t); len(found) > 0 {
			t.Errorf("a search for the old name finds %v", emails(found))
		}
	})
}

func TestUpdateThatSetsNothingChangesNothing(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		was := must(b.CreateUsers(t.Context(), user.Draft{Email: "ada@example.com", Metadata: map[string]any{"a": "b"}}))(t)[0]
		b.said.take()
		for name, up := range map[string]user.Update{
			"zero": {}, "empty metadata": {Metadata: user.Set(map[string]any{})}, "no metadata": {Metadata: user.Set[map[string]any](nil)},
		} {
			up.ID = was.ID
			if now := must(b.UpdateUsers(t.Context(), up))(t)[0]; !reflect.DeepEqual(now, was) {
				t.Errorf("%s: got %+v, want %+v", name, now, was)
			}
		}
		b.wantSaid(t)
	})
}

func TestOneRefusedUpdateUndoesAll(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		was := b.user(t, "ada@example.com")
		b.said.take()
		good := user.Update{ID: was.ID, FirstName: user.Set("Ada")}
		for name, c := range map[string]struct {
			bad  user.Update
			want error
		}{
			"unknown":              {user.Update{ID: "user_none"}, user.ErrNotFound},
			"name with NUL":        {user.Update{ID: was.ID, LastName: user.Set("\x00")}, user.ErrInvalid},
			"name not UTF-8":       {user.Update{ID: was.ID, LastName: user.Set("\xff")}, user.ErrInvalid},
			"name too long":        {user.Update{ID: was.ID, FirstName: user.Set(strings.Repeat("x", 1025))}, user.ErrInvalid},
			"metadata with NUL":    {user.Update{ID: was.ID, Metadata: user.Set(map[string]any{"a": []any{"\x00"}})}, user.ErrInvalid},
			"too much of metadata": {user.Update{ID: was.ID, Metadata: user.Set(map[string]any{"a": strings.Repeat("x", 17<<10)})}, user.ErrInvalid},
		} {
			_, err := b.UpdateUsers(t.Context(), good, c.bad)
			wantErr(t, name, err, c.want)
		}
		if now := must(b.RetrieveUser(t.Context(), was.ID))(t); !reflect.DeepEqual(now, was) {
			t.Errorf("got %+v, want %+v", now, was)
		}
		b.wantSaid(t)
	})
}

func TestDeletedUserIsGoneForGood(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		ada, bob := b.user(t, "ada@example.com", "admin"), b.user(t, "bob@example.com", "admin")
		hidden := b.user(t, "hidden@example.com", "admin")
		check(t, b.SoftDeleteUsers(t.Context(), hidden.ID))
		b.said.take()
		check(t, b.DeleteUsers(t.Context(), ada.ID, hidden.ID))
		check(t, b.RestoreUsers(t.Context(), ada.ID, hidden.ID))
		if users, roles := b.count(t, "user"), b.count(t, "user_role"); users != 1 || roles != 1 {
			t.Errorf("%d users and %d roles are left, want bob's", users, roles)
		}
		if got := b.emails(t); !slices.Equal(got, []string{bob.Email}) {
			t.Errorf("users %v, want bob", got)
		}
		b.wantSaid(t, topic("user.deleted", ada.ID, hidden.ID)...)
	})
}

func TestSoftlyDeletedUserIsHiddenUntilRestored(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		was, nameless := b.user(t, "ada@example.com", "writer"), must(b.CreateUsers(t.Context(), user.Draft{}))(t)[0]
		b.said.take()
		check(t, b.SoftDeleteUsers(t.Context(), was.ID, nameless.ID, was.ID))
		check(t, b.SoftDeleteUsers(t.Context(), was.ID))
		b.wantSaid(t, topic("user.deleted", was.ID, nameless.ID)...)
		if got := b.emails(t); len(got) != 0 {
			t.Errorf("lists show %v", got)
		}
		hidden := must(b.ListUsers(t.Context(), user.Filter{WithDeleted: true}, user.Page{}))(t)
		if len(hidden) != 2 || hidden[0].DeletedAt.IsZero() || hidden[0].Active() {
			t.Errorf("with the deleted: %+v, want both, deleted and not active", hidden)
		}

		check(t, b.RestoreUsers(t.Context(), was.ID, nameless.ID))
		check(t, b.RestoreUsers(t.Context(), was.ID))
		now := must(b.RetrieveUser(t.Context(), was.ID))(t)
		if was.UpdatedAt = now.UpdatedAt; !reflect.DeepEqual(now, was) {
			t.Errorf("restored %+v, want %+v", now, was)
		}
		b.wantSaid(t, topic("user.restored", was.ID, nameless.ID)...)
	})
}

func TestAddressOfADeletedUserIsFree(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		first, other := b.user(t, "ada@example.com"), b.user(t, "bob@example.com")
		check(t, b.SoftDeleteUsers(t.Context(), first.ID, other.ID))
		second := b.user(t, "ada@example.com")
		if second.ID == first.ID {
			t.Fatal("the deleted user came back")
		}
		b.said.take()

		err := b.RestoreUsers(t.Context(), other.ID, first.ID)
		wantErr(t, "restored onto a taken address", err, user.ErrEmailTaken)
		if want := "[1] User with email: ada@example.com, already exists."; err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("got %q, want it to say %q", err, want)
		}
		alone := b.RestoreUsers(t.Context(), first.ID)
		if want := "User with email: ada@example.com, already exists."; alone == nil || alone.Error() != want {
			t.Errorf("got %v, want %q", alone, want)
		}
		if got := b.emails(t); !slices.Equal(got, []string{"ada@example.com"}) {
			t.Errorf("users %v, want the second ada alone", got)
		}
		b.wantSaid(t)

		check(t, b.DeleteUsers(t.Context(), second.ID))
		check(t, b.RestoreUsers(t.Context(), first.ID, other.ID))
		if got := b.emails(t); !slices.Equal(got, []string{"ada@example.com", "bob@example.com"}) {
			t.Errorf("users %v, want ada and bob", got)
		}
	})
}

func TestOfTwoDeletedUsersWithOneAddressNoneIsRestoredTogether(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		var both []user.ID
		for range 2 {
			both = append(both, b.user(t, "ada@example.com").ID)
			check(t, b.SoftDeleteUsers(t.Context(), both...))
		}
		wantErr(t, "restore both", b.RestoreUsers(t.Context(), both...), user.ErrEmailTaken)
		if got := b.emails(t); len(got) != 0 {
			t.Errorf("users %v, want none", got)
		}
		check(t, b.RestoreUsers(t.Context(), both[0]))
	})
}

func TestDeactivatedUserStaysButIsNotActive(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		was, bob := b.user(t, "ada@example.com", "writer"), b.user(t, "bob@example.com")
		b.said.take()
		check(t, b.DeactivateUsers(t.Context(), was.ID))
		now := must(b.RetrieveUser(t.Context(), was.ID))(t)
		if now.Active() || now.DeactivatedAt.IsZero() || now.Email != was.Email || !now.HasRole("writer") {
			t.Errorf("got %+v, want ada, not active", now)
		}
		check(t, b.DeactivateUsers(t.Context(), was.ID)) // says nothing new
		if again := must(b.RetrieveUser(t.Context(), was.ID))(t); !reflect.DeepEqual(again, now) {
			t.Errorf("the second time: %+v, want %+v", again, now)
		}
		b.wantSaid(t, topic("user.deactivated", was.ID)...)

		check(t, b.ReactivateUsers(t.Context(), was.ID, bob.ID))
		now = must(b.RetrieveUser(t.Context(), was.ID))(t)
		if was.UpdatedAt = now.UpdatedAt; !reflect.DeepEqual(now, was) {
			t.Errorf("reactivated %+v, want %+v", now, was)
		}
		b.wantSaid(t, topic("user.reactivated", was.ID)...)
	})
}

func TestEnsureMakesAUserOnceAndReturnsTheSameEver(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		d := user.Draft{Email: "Ada@example.com", FirstName: new("Ada"), Roles: []string{"b", "a", "b"}, Metadata: map[string]any{"n": 1, "l": []string{"x"}}}
		first, created, err := b.Ensure(t.Context(), d)
		if err != nil || !created {
			t.Fatalf("the first: created %t, %v", created, err)
		}
		if read := must(b.RetrieveUser(t.Context(), first.ID))(t); !reflect.DeepEqual(first, read) {
			t.Errorf("made %+v, read %+v", first, read)
		}
		second, created, err := b.Ensure(t.Context(), user.Draft{Email: "ADA@example.com", FirstName: new("Eve"), EmailVerified: true})
		if err != nil || created || !reflect.DeepEqual(second, first) {
			t.Errorf("the second: %+v, created %t, %v; want the first as she was", second, created, err)
		}
		b.wantSaid(t, topic("user.created", first.ID)...)

		for range 2 {
			if _, created, err := b.Ensure(t.Context(), user.Draft{}); err != nil || !created {
				t.Errorf("without an address: created %t, %v, want a new user each time", created, err)
			}
		}
		_, _, err = b.Ensure(t.Context(), user.Draft{Email: "x"})
		wantErr(t, "no address", err, email.ErrInvalid)
	})
}

func TestTransactionGoesOnAfterEnsureMetATakenAddress(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		b.user(t, "ada@example.com")
		check(t, b.db.InTx(t.Context(), func(ctx context.Context) error {
			if _, created, err := b.Ensure(ctx, user.Draft{Email: "ada@example.com"}); created || err != nil {
				t.Errorf("created %t, %v", created, err)
			}
			_, err := b.CreateUsers(ctx, user.Draft{Email: "bob@example.com"})
			return err
		}))
		if got := b.emails(t); !slices.Equal(got, []string{"ada@example.com", "bob@example.com"}) {
			t.Errorf("users %v, want ada and bob", got)
		}
	})
}

func TestServiceJoinsTheTransactionOfItsContext(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		stop := errors.New("stop")
		err := b.db.InTx(t.Context(), func(ctx context.Context) error {
			u := must(b.CreateUsers(ctx, user.Draft{Email: "ada@example.com"}))(t)[0]
			must(b.RetrieveUser(ctx, u.ID))(t)
			must(b.CreateInvites(ctx, user.InviteDraft{Email: "bob@example.com"}))(t)
			return stop
		})
		wantErr(t, "transaction", err, stop)
		if users, invites := b.count(t, "user"), b.count(t, "invite"); users+invites > 0 {
			t.Errorf("%d users and %d invites stayed", users, invites)
		}
		b.wantSaid(t)
	})
}

func TestRolesAreAddedOnce(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		ada := b.user(t, "ada@example.com", "member")
		b.said.take()
		check(t, b.AddRoles(t.Context(), ada.ID, "writer", "member", "writer"))
		b.wantSaid(t, topic("user.updated", ada.ID)...)
		check(t, b.AddRoles(t.Context(), ada.ID, "writer"))
		check(t, b.AddRoles(t.Context(), ada.ID))
		b.wantSaid(t)
		wantErr(t, "an empty role", b.AddRoles(t.Context(), ada.ID, "owner", ""), user.ErrInvalid)
		wantErr(t, "a role with NUL", b.AddRoles(t.Context(), ada.ID, "owner", "\x00"), user.ErrInvalid)
		if got := must(b.RetrieveUser(t.Context(), ada.ID))(t).Roles; !slices.Equal(got, []string{"member", "writer"}) {
			t.Errorf("roles %v, want member and writer", got)
		}
	})
}

func TestAddressIsProvedOnceAndOnlyIfItIsStillTheirs(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		ada, bob := b.user(t, "ada@example.com"), b.user(t, "bob@example.com")
		b.said.take()
		check(t, b.VerifyEmail(t.Context(), ada.ID, "bob@example.com"))
		check(t, b.VerifyEmail(t.Context(), "user_none", "ada@example.com"))
		if now := must(b.RetrieveUser(t.Context(), ada.ID))(t); now.EmailVerified() {
			t.Error("another address proved hers")
		}
		b.wantSaid(t)

		check(t, b.VerifyEmail(t.Context(), ada.ID, "Ada@Example.com"))
		proved := must(b.RetrieveUser(t.Context(), ada.ID))(t)
		if !proved.EmailVerified() {
			t.Error("her address is not proved")
		}
		check(t, b.VerifyEmail(t.Context(), ada.ID, "ada@example.com"))
		if again := must(b.RetrieveUser(t.Context(), ada.ID))(t); !reflect.DeepEqual(again, proved) {
			t.Errorf("the second time: %+v, want %+v", again, proved)
		}
		b.wantSaid(t, topic("user.updated", ada.ID)...)

		check(t, b.SoftDeleteUsers(t.Context(), bob.ID))
		b.said.take()
		check(t, b.VerifyEmail(t.Context(), bob.ID, bob.Email))
		b.wantSaid(t)
	})
}

func TestOwnerIsConfirmedOnlyIfTheUserIsAsRead(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		confirm := func(u user.User) bool { t.Helper(); return must(b.ConfirmOwner(t.Context(), u))(t) }
		unproved := b.user(t, "ada@example.com")
		if !confirm(unproved) {
			t.Error("refused although nothing changed")
		}
		proved := must(b.RetrieveUser(t.Context(), unproved.ID))(t)
		if !proved.EmailVerified() {
			t.Error("the address is not proved")
		}
		if confirm(unproved) {
			t.Error("confirmed although the address was proved meanwhile")
		}
		if !confirm(proved) {
			t.Error("a proved one was refused although nothing changed")
		}
		if again := must(b.RetrieveUser(t.Context(), proved.ID))(t); !again.EmailVerifiedAt.Equal(proved.EmailVerifiedAt) {
			t.Error("it was proved anew")
		}
		moved := proved
		moved.Email = "eve@example.com"
		if confirm(moved) {
			t.Error("confirmed although the address is another one")
		}
		if nameless := must(b.CreateUsers(t.Context(), user.Draft{}))(t)[0]; confirm(nameless) {
			t.Error("confirmed without an address")
		}
		check(t, b.SoftDeleteUsers(t.Context(), proved.ID))
		if confirm(proved) {
			t.Error("confirmed although deleted")
		}
	})
}

func TestAdminExistsWithAnActiveUserWhoIsOne(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		exists := func(want bool, when string) {
			t.Helper()
			if got := must(b.AdminExists(t.Context()))(t); got != want {
				t.Errorf("%s: %t, want %t", when, got, want)
			}
		}
		ada := b.user(t, "ada@example.com", "administrator")
		exists(false, "other role")
		check(t, b.AddRoles(t.Context(), ada.ID, user.RoleAdmin))
		exists(true, "admin")
		b.byHand(t, ada.ID, "deactivated_at")
		exists(false, "deactivated")
		check(t, b.ReactivateUsers(t.Context(), ada.ID))
		exists(true, "reactivated")
		b.byHand(t, ada.ID, "deleted_at")
		exists(false, "deleted")
		check(t, b.RestoreUsers(t.Context(), ada.ID))
		exists(true, "restored")
	})
}

func TestServiceNeedsADatabaseAndKeys(t *testing.T) {
	if _, err := user.New(user.Params{}); err == nil {
		t.Error("no error without a database and keys")
	}
}
