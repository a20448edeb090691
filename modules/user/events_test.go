package user_test

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/user"
)

// listener keeps the events of transactions that committed.
type listener struct {
	db   *database.DB
	said []event.Event
}

func (l *listener) Emit(ctx context.Context, events ...event.Event) error {
	return l.db.AfterCommit(ctx, func(context.Context) { l.said = append(l.said, events...) })
}

// announcement is what a call of a method announces, about whom.
type announcement struct {
	method string
	call   func(ctx context.Context, s things) error
	want   func(s things) []string // topic and id; "new" stands for an id that the call made
}

// silent are the methods that announce nothing: they read, register, or are about the set-up link.
var silent = []string{"AdminExists", "FindUser", "HoldID", "HoldInvite", "HoldOpenInvite", "HoldUser", "InviteRoles", "InviteTTL", "InviteToken", "IsSetupAdmin", "ListAndCountInvites", "ListAndCountUsers",
	"ListInvites", "ListUsers", "MissingIndexes", "OnAddress", "OnDeactivate", "OnDelete", "RetrieveInvite", "RetrieveUser", "SetupInvite", "ValidateInviteToken", "WithdrawSetup"}

func only[T any](_ T, err error) error { return err }

var announcements = []announcement{
	{"CreateUsers", func(ctx context.Context, s things) error {
		return only(s.CreateUsers(ctx, drafts("new@example.com", "newer@example.com")...))
	}, func(things) []string { return []string{"user.created new", "user.created new"} }},
	{"Ensure", func(ctx context.Context, s things) error {
		_, _, err := s.Ensure(ctx, user.Draft{Email: "new@example.com", Roles: []string{"member"}})
		return err
	}, func(things) []string { return []string{"user.created new"} }},
	{"Ensure", func(ctx context.Context, s things) error {
		_, _, err := s.Ensure(ctx, user.Draft{Email: s.ada.Email})
		return err
	}, func(things) []string { return nil }},
	{"UpdateUsers", func(ctx context.Context, s things) error {
		return only(s.UpdateUsers(ctx, named(s.ada.ID, "A"), user.Update{ID: s.bob.ID}, user.Update{ID: s.ada.ID, Metadata: user.Set(metadata{"a": 1})}))
	}, func(s things) []string { return topic("user.updated", s.ada.ID) }},
	{"AddRoles", func(ctx context.Context, s things) error { return s.AddRoles(ctx, s.ada.ID, "one", "two", "editor") },
		func(s things) []string { return topic("user.updated", s.ada.ID) }},
	{"AddRoles", func(ctx context.Context, s things) error { return s.AddRoles(ctx, s.ada.ID, "editor") }, func(things) []string { return nil }},
	{"Grant", func(ctx context.Context, s things) error {
		return s.Grant(ctx, s.ada.ID, user.ViaInvite, "one", "two")
	}, func(s things) []string { return topic("user.updated", s.ada.ID) }},
	{"RemoveRoles", func(ctx context.Context, s things) error {
		return s.RemoveRoles(ctx, s.ada.ID, "editor", "writer", "none")
	},
		func(s things) []string { return topic("user.updated", s.ada.ID) }},
	{"RemoveRoles", func(ctx context.Context, s things) error { return s.RemoveRoles(ctx, s.ada.ID, "none") }, func(things) []string { return nil }},
	{"VerifyEmail", func(ctx context.Context, s things) error { return s.VerifyEmail(ctx, s.ada.ID, s.ada.Email) },
		func(s things) []string { return topic("user.updated", s.ada.ID) }},
	{"ConfirmOwner", func(ctx context.Context, s things) error { return only(s.ConfirmOwner(ctx, s.ada)) },
		func(s things) []string { return topic("user.updated", s.ada.ID) }},
	{"RequestEmailChange", func(ctx context.Context, s things) error {
		return only(s.RequestEmailChange(ctx, s.bob.ID, "new@example.com"))
	},
		func(s things) []string { return topic("user.email_change_requested", s.bob.ID) }},
	{"ChangeEmail", func(ctx context.Context, s things) error {
		return only(s.ChangeEmail(ctx, s.bob.ID, s.bob.Email, "new@example.com"))
	}, func(s things) []string {
		return append(topic("user.updated", s.bob.ID), topic("user.email_changed", s.bob.ID)...)
	}},
	{"SoftDeleteUsers", func(ctx context.Context, s things) error {
		return s.SoftDeleteUsers(ctx, s.ada.ID, s.deleted.ID, nobodysID, s.ada.ID)
	}, func(s things) []string { return topic("user.deleted", s.ada.ID) }},
	{"DeleteUsers", func(ctx context.Context, s things) error {
		return s.DeleteUsers(ctx, s.ada.ID, s.deleted.ID, nobodysID, s.ada.ID)
	}, func(s things) []string { return topic("user.deleted", s.ada.ID, s.deleted.ID) }},
	{"RestoreUsers", func(ctx context.Context, s things) error {
		return s.RestoreUsers(ctx, s.deleted.ID, s.ada.ID, nobodysID, s.deleted.ID)
	}, func(s things) []string { return topic("user.restored", s.deleted.ID) }},
	{"DeactivateUsers", func(ctx context.Context, s things) error {
		return s.DeactivateUsers(ctx, s.ada.ID, s.inactive.ID, nobodysID, s.ada.ID)
	}, func(s things) []string { return topic("user.deactivated", s.ada.ID) }},
	{"ReactivateUsers", func(ctx context.Context, s things) error {
		return s.ReactivateUsers(ctx, s.inactive.ID, s.ada.ID, nobodysID, s.inactive.ID)
	}, func(s things) []string { return topic("user.reactivated", s.inactive.ID) }},

	{"CreateInvites", func(ctx context.Context, s things) error {
		return only(s.CreateInvites(ctx, inviteDrafts("new@example.com", s.withdrawn.Email)...))
	}, func(things) []string { return []string{"invite.created new", "invite.created new"} }},
	{"CreateInvites", func(ctx context.Context, s things) error {
		return only(s.CreateInvites(ctx, inviteDrafts(s.expired.Email, "new@example.com")...))
	}, func(s things) []string { return append(topic("invite.resent", s.expired.ID), "invite.created new") }},
	{"InviteEach", func(ctx context.Context, s things) error {
		return only(s.InviteEach(ctx, inviteDrafts(s.open.Email, "new@example.com", "nonsense", s.expired.Email, "NEW@example.com")...))
	}, func(s things) []string { return append(topic("invite.resent", s.expired.ID), "invite.created new") }},
	{"UpdateInvites", func(ctx context.Context, s things) error {
		return only(s.UpdateInvites(ctx, user.InviteUpdate{ID: s.open.ID, Roles: user.Set([]string{"a"})}, user.InviteUpdate{ID: s.open2.ID},
			user.InviteUpdate{ID: s.open.ID, Metadata: user.Set(metadata{"a": 1})}))
	}, func(s things) []string { return topic("invite.updated", s.open.ID) }},
	{"UpdateInvites", func(ctx context.Context, s things) error {
		return only(s.UpdateInvites(ctx, closing(s.open.ID), closing(s.accepted.ID), closing(s.open.ID)))
	}, func(s things) []string { return topic("invite.accepted", s.open.ID) }},
	{"UpdateInvites", func(ctx context.Context, s things) error {
		return only(s.UpdateInvites(ctx, user.InviteUpdate{ID: s.open.ID, Accepted: user.Set(true), Roles: user.Set([]string{"a"})}))
	}, func(s things) []string {
		return append(topic("invite.updated", s.open.ID), topic("invite.accepted", s.open.ID)...)
	}},
	{"RefreshInviteTokens", func(ctx context.Context, s things) error {
		return only(s.RefreshInviteTokens(ctx, s.open.ID, s.open2.ID, s.open.ID))
	}, func(s things) []string { return topic("invite.resent", s.open.ID, s.open2.ID) }},
	{"AcceptInvite", func(ctx context.Context, s things) error { return s.AcceptInvite(ctx, s.open, s.ada.ID) },
		func(s things) []string { return topic("invite.accepted", s.open.ID) }},
	{"SoftDeleteInvites", func(ctx context.Context, s things) error {
		return s.SoftDeleteInvites(ctx, s.open.ID, s.withdrawn.ID, noInvite, s.open.ID)
	}, func(s things) []string { return topic("invite.deleted", s.open.ID) }},
	{"DeleteInvites", func(ctx context.Context, s things) error {
		return s.DeleteInvites(ctx, s.open.ID, s.withdrawn.ID, noInvite, s.open.ID)
	}, func(s things) []string { return topic("invite.deleted", s.open.ID, s.withdrawn.ID) }},
	{"RestoreInvites", func(ctx context.Context, s things) error {
		return s.RestoreInvites(ctx, s.withdrawn.ID, s.open.ID, noInvite, s.withdrawn.ID)
	}, func(s things) []string { return topic("invite.restored", s.withdrawn.ID) }},
}

// TestEveryChangeIsAnnouncedOnce fails for a method that is neither in the table nor said to be silent.
func TestEveryChangeIsAnnouncedOnce(t *testing.T) {
	covered := slices.Clone(silent)
	for _, a := range announcements {
		covered = append(covered, a.method)
	}
	for m := range reflect.TypeFor[*user.Service]().Methods() {
		if !slices.Contains(covered, m.Name) {
			t.Errorf("say what %s announces, or that it is silent", m.Name)
		}
	}
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		l := &listener{db: at.Open(t, user.Migrations())}
		for i, a := range announcements {
			databasetest.Empty(t, l.db)
			s := newThings(t, l.db, l)
			known := map[string]bool{}
			for _, e := range l.said {
				known[e.Aggregate()] = true
			}
			l.said = nil
			check(t, a.call(t.Context(), s))
			var got []string
			for _, e := range l.said {
				id := e.Aggregate()
				want := fmt.Sprintf(`{"id":%q}`, id)
				if strings.HasPrefix(e.Topic(), "user.email_change") { // the row tells one of the two addresses only
					want = fmt.Sprintf(`{"id":%q,"from":%q,"to":"new@example.com","unproved":true}`, id, s.bob.Email)
				}
				if payload := string(must(json.Marshal(e))(t)); payload != want {
					t.Errorf("%s: the payload of %s is %s, want %s", a.method, e.Topic(), payload, want)
				}
				if !known[id] {
					id = "new"
				}
				got = append(got, e.Topic()+" "+id)
			}
			want := a.want(s)
			slices.Sort(got)
			slices.Sort(want)
			if !slices.Equal(got, want) {
				t.Errorf("%s (%d): announced %q, want %q", a.method, i, got, want)
			}
			l.said = nil
		}
	})
}
