package user_test

import (
	"context"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/email"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
	"github.com/latchkey-go/latchkey/modules/user"
)

func TestInviteIsReadBackAsItWasGiven(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		before := time.Now().Add(-time.Second)
		made := must(b.CreateInvites(t.Context(),
			user.InviteDraft{Email: "Ada@Example.com", Roles: []string{"writer", "member", "writer"}, Metadata: map[string]any{"team": "analysis"}},
			user.InviteDraft{Email: "bob@example.com"},
			user.InviteDraft{Email: "eve@example.com", Roles: []string{}},
		))(t)
		for i, want := range []user.Invite{
			{Email: "ada@example.com", Roles: []string{"member", "writer"}, Metadata: map[string]any{"team": "analysis"}},
			{Email: "bob@example.com", Roles: []string{user.RoleAdmin}},
			{Email: "eve@example.com", Roles: []string{}},
		} {
			got := must(b.RetrieveInvite(t.Context(), made[i].ID))(t)
			if !reflect.DeepEqual(got, made[i]) {
				t.Errorf("made %+v, read %+v", made[i], got)
			}
			if !id.Valid("invite", string(got.ID)) || got.CreatedAt.Before(before) || !got.UpdatedAt.Equal(got.CreatedAt) || !got.IssuedAt.Equal(got.CreatedAt) {
				t.Errorf("id %s, made %v, changed %v, issued %v", got.ID, got.CreatedAt, got.UpdatedAt, got.IssuedAt)
			}
			if ttl := got.ExpiresAt.Sub(got.IssuedAt); ttl != 24*time.Hour {
				t.Errorf("it is good for %v, want a day", ttl)
			}
			if got.Email != want.Email || !slices.Equal(got.Roles, want.Roles) || !reflect.DeepEqual(got.Metadata, want.Metadata) || got.Accepted || got.Setup() {
				t.Errorf("got %+v, want %+v", got, want)
			}
		}
		b.wantSaid(t, topic("invite.created", inviteIDs(made)...)...)

		member := b.with(t, user.Options{InviteTTL: time.Hour, InviteRoles: []string{user.RoleMember}}, secret('a'))
		i := must(member.CreateInvites(t.Context(), user.InviteDraft{Email: "other@example.com"}))(t)[0]
		if ttl := i.ExpiresAt.Sub(i.IssuedAt); ttl != time.Hour || !slices.Equal(i.Roles, []string{user.RoleMember}) {
			t.Errorf("good for %v with roles %v, want what the options say", ttl, i.Roles)
		}
	})
}

func TestOneUnacceptableInviteKeepsAllFromBeingMade(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		open := b.invite(t, "open@example.com")
		expired := must(b.hasty(t).CreateInvites(t.Context(), user.InviteDraft{Email: "expired@example.com"}))(t)[0]
		must(b.CreateUsers(t.Context(), user.Draft{Email: "proved@example.com", EmailVerified: true}))(t)
		b.said.take()
		for name, c := range map[string]struct {
			bad  user.InviteDraft
			want error
			says string
		}{
			"open":            {user.InviteDraft{Email: "Open@example.com"}, user.ErrInviteExists, "Invite with email: open@example.com, already exists."},
			"twice":           {user.InviteDraft{Email: "good@Example.com"}, user.ErrInviteExists, "Invite with email: good@example.com, already exists."},
			"twice, expired":  {user.InviteDraft{Email: expired.Email}, user.ErrInviteExists, "Invite with email: expired@example.com, already exists."},
			"user":            {user.InviteDraft{Email: "Proved@example.com"}, user.ErrUserExists, "User account for following email(s) already exist: proved@example.com"},
			"no address":      {user.InviteDraft{Email: ""}, email.ErrInvalid, ""},
			"address":         {user.InviteDraft{Email: "ada"}, email.ErrInvalid, ""},
			"role":            {user.InviteDraft{Email: "x@example.com", Roles: []string{""}}, user.ErrInvalid, ""},
			"role with NUL":   {user.InviteDraft{Email: "x@example.com", Roles: []string{"\x00"}}, user.ErrInvalid, ""},
			"too many roles":  {user.InviteDraft{Email: "x@example.com", Roles: numbered(65)}, user.ErrInvalid, ""},
			"metadata, NUL":   {user.InviteDraft{Email: "x@example.com", Metadata: map[string]any{"\x00": 1}}, user.ErrInvalid, ""},
			"metadata, a lot": {user.InviteDraft{Email: "x@example.com", Metadata: map[string]any{"a": strings.Repeat("x", 17<<10)}}, user.ErrInvalid, ""},
		} {
			_, err := b.CreateInvites(t.Context(), inviteDrafts("good@example.com", expired.Email)[0], user.InviteDraft{Email: expired.Email}, c.bad)
			wantErr(t, name, err, c.want)
			if err != nil && !strings.Contains(err.Error(), c.says) {
				t.Errorf("%s: %q, want it to say %q", name, err, c.says)
			}
		}
		got := must(b.ListInvites(t.Context(), user.InviteFilter{}, user.Page{Order: "-email"}))(t)
		if !reflect.DeepEqual(got, []user.Invite{open, expired}) {
			t.Errorf("invites %+v, want those from before as they were", got)
		}
		b.wantSaid(t)
	})
}

func TestManyInvitesComeBackInTheOrderOfTheirDrafts(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		want := numbered(600)
		slices.Reverse(want)
		if got := inviteEmails(must(b.CreateInvites(t.Context(), inviteDrafts(want...)...))(t)); !slices.Equal(got, want) {
			t.Errorf("%d invites, want %d in their order", len(got), len(want))
		}
	})
}

func TestExpiredInviteIsRenewedByInvitingAgain(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		old := must(b.hasty(t).CreateInvites(t.Context(), user.InviteDraft{Email: "ada@example.com", Roles: []string{"a"}, Metadata: map[string]any{"a": "b"}}))(t)[0]
		wantErr(t, "the old token", b.opens(t, old), user.ErrInviteExpired)
		b.said.take()
		got := must(b.CreateInvites(t.Context(), user.InviteDraft{Email: "new@example.com"}, user.InviteDraft{Email: "Ada@example.com", Roles: []string{"b"}}))(t)
		now := got[1]
		if now.ID != old.ID || now.Email != old.Email || !slices.Equal(now.Roles, []string{"b"}) || now.Metadata != nil || !now.CreatedAt.Equal(old.CreatedAt) {
			t.Errorf("got %+v, want %+v with what is said now", now, old)
		}
		check(t, b.opens(t, now))
		wantErr(t, "the old token", b.opens(t, old), user.ErrInviteRenewed)
		b.wantSaid(t, append(topic("invite.created", got[0].ID), topic("invite.resent", now.ID)...)...)
		if n := b.count(t, "invite"); n != 2 {
			t.Errorf("%d invites, want two", n)
		}
	})
}

func TestOnlyProvedAddressBlocksAnInvite(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		squatter := b.user(t, "ada@example.com")
		i := b.invite(t, "ada@example.com")
		check(t, b.DeleteInvites(t.Context(), i.ID))
		check(t, b.VerifyEmail(t.Context(), squatter.ID, "ada@example.com"))
		_, err := b.CreateInvites(t.Context(), user.InviteDraft{Email: "ada@example.com"})
		wantErr(t, "with a proved user", err, user.ErrUserExists)
		check(t, b.SoftDeleteUsers(t.Context(), squatter.ID))
		b.invite(t, "ada@example.com")
	})
}

func TestAddressIsFreeForAnInviteAfterTheLastOneEnded(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		accepted := b.invite(t, "ada@example.com")
		check(t, b.AcceptInvite(t.Context(), accepted, user.NewID()))
		withdrawn := b.invite(t, "ada@example.com")
		check(t, b.SoftDeleteInvites(t.Context(), withdrawn.ID))
		now := b.invite(t, "ada@example.com")
		if now.ID == accepted.ID || now.ID == withdrawn.ID {
			t.Error("an ended invite came back")
		}
		wantErr(t, "the accepted one's token", b.opens(t, accepted), user.ErrInviteUsed)
		wantErr(t, "the withdrawn one's token", b.opens(t, withdrawn), user.ErrInviteRevoked)
		check(t, b.opens(t, now))
	})
}

// Ids that no invite has, the last of which cannot even be written into a statement.
var noInvites = []user.InviteID{"invite_01ARZ3NDEKTSV4RRFFQ69G5FAV", "", "x", "' OR ''='", "\xff", "invite_\x00"}

func TestUnknownInvitesAreNotFound(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		gone := b.invite(t, "gone@example.com")
		check(t, b.SoftDeleteInvites(t.Context(), gone.ID))
		good := b.invite(t, "ada@example.com")
		b.said.take()
		for _, id := range append(slices.Clone(noInvites), gone.ID) {
			_, err := b.RetrieveInvite(t.Context(), id)
			wantErr(t, "retrieve "+string(id), err, user.ErrInviteNotFound)
			_, err = b.UpdateInvites(t.Context(), user.InviteUpdate{ID: good.ID, Accepted: user.Set(true)}, user.InviteUpdate{ID: id})
			wantErr(t, "update "+string(id), err, user.ErrInviteNotFound)
			_, err = b.RefreshInviteTokens(t.Context(), good.ID, id)
			wantErr(t, "refresh "+string(id), err, user.ErrInvalid)
		}
		_, err := b.RetrieveInvite(t.Context(), "x")
		if want := "Invite with id: x was not found"; err == nil || err.Error() != want {
			t.Errorf("retrieve: %v, want %q", err, want)
		}
		_, err = b.RefreshInviteTokens(t.Context(), "x", good.ID, "y")
		if want := "Nothing was written, because of 2 of 3 items: [0] The following invites do not exist: x [2] The following invites do not exist: y"; err == nil || err.Error() != want {
			t.Errorf("refresh: %v, want %q", err, want)
		}
		for name, f := range map[string]func(context.Context, ...user.InviteID) error{
			"delete": b.DeleteInvites, "soft-delete": b.SoftDeleteInvites, "restore": b.RestoreInvites,
		} {
			if err := f(t.Context(), noInvites...); err != nil {
				t.Errorf("%s: %v, want them passed over", name, err)
			}
		}
		if now := must(b.RetrieveInvite(t.Context(), good.ID))(t); !reflect.DeepEqual(now, good) {
			t.Errorf("the good one is %+v, want %+v", now, good)
		}
		b.wantSaid(t)
	})
}

func TestOpenInviteIsFoundByItsAddress(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		open := b.invite(t, "ada@example.com")
		must(b.hasty(t).CreateInvites(t.Context(), user.InviteDraft{Email: "expired@example.com"}))(t)
		accepted, withdrawn := b.invite(t, "accepted@example.com"), b.invite(t, "withdrawn@example.com")
		check(t, b.AcceptInvite(t.Context(), accepted, user.NewID()))
		check(t, b.SoftDeleteInvites(t.Context(), withdrawn.ID))
		must(b.SetupInvite(t.Context()))(t)
		check(t, b.db.InTx(t.Context(), func(ctx context.Context) error {
			for _, spelling := range []string{"ada@example.com", "Ada@Example.com"} {
				if got := must(b.HoldOpenInvite(ctx, spelling))(t); !reflect.DeepEqual(got, open) {
					t.Errorf("%s: got %+v, want %+v", spelling, got, open)
				}
			}
			for _, none := range []string{"expired@example.com", "accepted@example.com", "withdrawn@example.com", "eve@example.com", "x", "", "\x00"} {
				_, err := b.HoldOpenInvite(ctx, none)
				wantErr(t, none, err, user.ErrInviteNotFound)
			}
			return nil
		}))
	})
}

func TestUpdateChangesInvites(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		was := must(b.CreateInvites(t.Context(), inviteDrafts("ada@example.com", "bob@example.com", "eve@example.com")...))(t)
		b.said.take()
		now := must(b.UpdateInvites(t.Context(),
			user.InviteUpdate{ID: was[1].ID, Roles: user.Set([]string{"b", "a", "b"})},
			user.InviteUpdate{ID: was[0].ID, Accepted: user.Set(true)},
			user.InviteUpdate{ID: was[2].ID, Roles: user.Clear[[]string](), Accepted: user.Set(false)},
		))(t)
		if !slices.Equal(inviteIDs(now), []user.InviteID{was[1].ID, was[0].ID, was[2].ID}) {
			t.Fatal("the invites come in another order than the updates")
		}
		if bob := now[0]; !slices.Equal(bob.Roles, []string{"a", "b"}) || bob.Accepted || !bob.UpdatedAt.After(was[1].UpdatedAt) {
			t.Errorf("bob: %+v, want the new roles", bob)
		}
		if ada := now[1]; !ada.Accepted || ada.AcceptedAt.IsZero() || !slices.Equal(ada.Roles, was[0].Roles) {
			t.Errorf("ada: %+v, want it accepted and its roles as they were", ada)
		}
		if eve := now[2]; len(eve.Roles) > 0 || eve.Accepted {
			t.Errorf("eve: %+v, want it open and without roles", eve)
		}
		check(t, b.opens(t, was[1])) // the token stays good
		wantErr(t, "the token of the accepted one", b.opens(t, was[0]), user.ErrInviteUsed)
		b.wantSaid(t, append(topic("invite.updated", was[1].ID, was[2].ID), topic("invite.accepted", was[0].ID)...)...)

		again := must(b.UpdateInvites(t.Context(), user.InviteUpdate{ID: was[0].ID, Accepted: user.Set(true)}, user.InviteUpdate{ID: was[1].ID}))(t)
		if !reflect.DeepEqual(again, []user.Invite{now[1], now[0]}) {
			t.Errorf("got %+v, want them as they were", again)
		}
		b.wantSaid(t)
	})
}

func TestOneRefusedInviteUpdateUndoesAll(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		open, accepted := b.invite(t, "open@example.com"), b.invite(t, "accepted@example.com")
		check(t, b.AcceptInvite(t.Context(), accepted, user.NewID()))
		b.said.take()
		for name, bad := range map[string]user.InviteUpdate{
			"reopened":       {ID: accepted.ID, Accepted: user.Set(false)},
			"cleared":        {ID: open.ID, Accepted: user.Clear[bool]()},
			"empty role":     {ID: open.ID, Roles: user.Set([]string{""})},
			"too many roles": {ID: open.ID, Roles: user.Set(numbered(65))},
		} {
			_, err := b.UpdateInvites(t.Context(), user.InviteUpdate{ID: open.ID, Accepted: user.Set(true), Roles: user.Set([]string{"x"})}, bad)
			wantErr(t, name, err, user.ErrInvalid)
		}
		if now := must(b.RetrieveInvite(t.Context(), open.ID))(t); !reflect.DeepEqual(now, open) {
			t.Errorf("got %+v, want %+v", now, open)
		}
		b.wantSaid(t)
	})
}

func TestWithdrawnInviteIsHiddenUntilRestored(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		was := must(b.CreateInvites(t.Context(), inviteDrafts("ada@example.com", "bob@example.com")...))(t)
		b.said.take()
		check(t, b.SoftDeleteInvites(t.Context(), was[0].ID))
		check(t, b.SoftDeleteInvites(t.Context(), was[0].ID))
		b.wantSaid(t, topic("invite.deleted", was[0].ID)...)
		_, err := b.RetrieveInvite(t.Context(), was[0].ID)
		wantErr(t, "retrieve", err, user.ErrInviteNotFound)
		if got := inviteEmails(must(b.ListInvites(t.Context(), user.InviteFilter{}, user.Page{}))(t)); !slices.Equal(got, []string{"bob@example.com"}) {
			t.Errorf("the list shows %v, want bob's", got)
		}
		wantErr(t, "the token", b.opens(t, was[0]), user.ErrInviteRevoked)

		check(t, b.RestoreInvites(t.Context(), was[0].ID, was[1].ID))
		now := must(b.RetrieveInvite(t.Context(), was[0].ID))(t)
		check(t, b.opens(t, was[0])) // the same token is good again
		if was[0].UpdatedAt = now.UpdatedAt; !reflect.DeepEqual(now, was[0]) {
			t.Errorf("restored %+v, want %+v", now, was[0])
		}
	})
}

func TestInviteIsNotRestoredBesideAnotherForTheAddress(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		first, other := b.invite(t, "ada@example.com"), b.invite(t, "bob@example.com")
		check(t, b.SoftDeleteInvites(t.Context(), first.ID, other.ID))
		second := b.invite(t, "ada@example.com")
		wantErr(t, "restore", b.RestoreInvites(t.Context(), other.ID, first.ID), user.ErrInviteExists)
		if got := inviteIDs(must(b.ListInvites(t.Context(), user.InviteFilter{}, user.Page{}))(t)); !slices.Equal(got, []user.InviteID{second.ID}) {
			t.Errorf("invites %v, want the second alone", got)
		}
		check(t, b.SoftDeleteInvites(t.Context(), second.ID))
		wantErr(t, "restore both", b.RestoreInvites(t.Context(), first.ID, second.ID), user.ErrInviteExists)

		third := b.invite(t, "ada@example.com")
		check(t, b.AcceptInvite(t.Context(), third, user.NewID())) // stands in nobody's way any more
		check(t, b.RestoreInvites(t.Context(), first.ID))
		check(t, b.SoftDeleteInvites(t.Context(), third.ID))
		check(t, b.RestoreInvites(t.Context(), third.ID)) // and nobody in its
		wantErr(t, "the accepted one's token", b.opens(t, third), user.ErrInviteUsed)
	})
}

func TestDeletedInviteIsGoneForGood(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		was := must(b.CreateInvites(t.Context(), inviteDrafts("ada@example.com", "bob@example.com", "eve@example.com")...))(t)
		check(t, b.SoftDeleteInvites(t.Context(), was[1].ID))
		b.said.take()
		check(t, b.DeleteInvites(t.Context(), was[0].ID, was[1].ID))
		check(t, b.RestoreInvites(t.Context(), was[0].ID, was[1].ID))
		if n := b.count(t, "invite"); n != 1 {
			t.Errorf("%d invites are left, want eve's", n)
		}
		wantErr(t, "the token", b.opens(t, was[0]), user.ErrInviteRevoked)
		check(t, b.opens(t, was[2]))
		b.wantSaid(t, topic("invite.deleted", was[0].ID, was[1].ID)...)
	})
}

func TestRefreshGivesNewTokensToAllOrNone(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		expired := must(b.hasty(t).CreateInvites(t.Context(), inviteDrafts("expired@example.com")...))(t)[0]
		open, accepted := b.invite(t, "open@example.com"), b.invite(t, "accepted@example.com")
		check(t, b.AcceptInvite(t.Context(), accepted, user.NewID()))
		b.said.take()

		_, err := b.RefreshInviteTokens(t.Context(), open.ID, accepted.ID)
		wantErr(t, "an accepted one among them", err, user.ErrInviteUsed)
		check(t, b.opens(t, open))
		b.wantSaid(t)

		now := must(b.RefreshInviteTokens(t.Context(), expired.ID, open.ID))(t)
		for n, was := range []user.Invite{expired, open} {
			if now[n].ID != was.ID || now[n].Email != was.Email || !now[n].ExpiresAt.After(was.ExpiresAt) || !now[n].IssuedAt.After(was.IssuedAt) || !now[n].CreatedAt.Equal(was.CreatedAt) {
				t.Errorf("got %+v, want %+v with a later expiry", now[n], was)
			}
			wantErr(t, "the token before", b.opens(t, was), user.ErrInviteRenewed)
			check(t, b.opens(t, now[n]))
		}
		b.wantSaid(t, topic("invite.resent", expired.ID, open.ID)...)
	})
}

func TestInviteIsAcceptedByOne(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		i := b.invite(t, "ada@example.com")
		b.said.take()
		ada, eve := user.NewID(), user.NewID()
		check(t, b.AcceptInvite(t.Context(), i, ada))
		wantErr(t, "the second", b.AcceptInvite(t.Context(), i, eve), user.ErrInviteUsed)
		now := must(b.RetrieveInvite(t.Context(), i.ID))(t)
		if !now.Accepted || now.AcceptedBy != ada || now.AcceptedAt.Before(i.IssuedAt) {
			t.Errorf("got %+v, want it accepted by ada", now)
		}
		b.wantSaid(t, topic("invite.accepted", i.ID)...)
		used, err := b.ValidateInviteToken(t.Context(), b.InviteToken(i, user.ByMail))
		if wantErr(t, "the token", err, user.ErrInviteUsed); used.AcceptedBy != ada || used.Channel != user.ByMail {
			t.Errorf("along came %+v, want the invite, so that ada can be told from others", used)
		}
	})
}

func TestInviteThatChangedMeanwhileIsNotAccepted(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		all := must(b.CreateInvites(t.Context(), inviteDrafts("renewed@example.com", "withdrawn@example.com", "deleted@example.com")...))(t)
		expired := must(b.hasty(t).CreateInvites(t.Context(), inviteDrafts("expired@example.com")...))(t)[0]
		must(b.RefreshInviteTokens(t.Context(), all[0].ID))(t)
		check(t, b.SoftDeleteInvites(t.Context(), all[1].ID))
		check(t, b.DeleteInvites(t.Context(), all[2].ID))
		b.said.take()
		for _, c := range []struct {
			invite user.Invite
			want   error
		}{
			{all[0], user.ErrInviteRenewed}, {all[1], user.ErrInviteRevoked}, {all[2], user.ErrInviteRevoked}, {expired, user.ErrInviteExpired},
		} {
			wantErr(t, c.invite.Email, b.AcceptInvite(t.Context(), c.invite, user.NewID()), c.want)
		}
		if got := must(b.ListInvites(t.Context(), user.InviteFilter{Accepted: true}, user.Page{}))(t); len(got) > 0 {
			t.Errorf("accepted: %v", inviteEmails(got))
		}
		b.wantSaid(t)
	})
}

func TestInviteTTLIsWhatDraftsAreHeldTo(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		for _, c := range []struct {
			options        user.Options
			usual, longest time.Duration
		}{
			{user.Options{}, 24 * time.Hour, 30 * 24 * time.Hour},
			{user.Options{InviteTTL: 40 * 24 * time.Hour}, 40 * 24 * time.Hour, 40 * 24 * time.Hour},
			{user.Options{InviteTTL: time.Hour, InviteMaxTTL: 2 * time.Hour}, time.Hour, 2 * time.Hour},
		} {
			if usual, longest := b.with(t, c.options, secret('a')).InviteTTL(); usual != c.usual || longest != c.longest {
				t.Errorf("%+v: %v, %v, want %v, %v", c.options, usual, longest, c.usual, c.longest)
			}
		}
	})
}
