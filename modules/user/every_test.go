package user_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/email"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/user"
)

// things is a service and one or two of each kind that its methods can be called with.
type things struct {
	*user.Service
	ada, bob               user.User
	kept                   user.User // the hooks refuse that they are deleted or deactivated
	inactive, inactive2    user.User
	deleted, deleted2      user.User
	replaced               user.User // deleted, and somebody else has their address
	open, open2            user.Invite
	accepted, expired      user.Invite
	withdrawn, withdrawn2  user.Invite
	withdrawnAndInvitedNew user.Invite
}

var errKept = errors.New("this user is kept")

func newThings(t *testing.T, db *database.DB, events event.Emitter) (s things) {
	t.Helper()
	users, err := user.New(user.Params{DB: db, Keys: ring(t, secret('a')), Events: events})
	check(t, err)
	hasty, err := user.New(user.Params{DB: db, Keys: ring(t, secret('a')), Events: events, Options: user.Options{InviteTTL: time.Microsecond}})
	check(t, err)
	b := bench{Service: users, db: db}
	s.Service = users
	s.ada, s.bob, s.kept = b.user(t, "ada@example.com", "editor", "writer"), b.user(t, "bob@example.com"), b.user(t, "kept@example.com")
	s.inactive, s.inactive2 = b.user(t, "inactive@example.com"), b.user(t, "inactive2@example.com")
	check(t, b.DeactivateUsers(t.Context(), s.inactive.ID, s.inactive2.ID))
	s.deleted, s.deleted2, s.replaced = b.user(t, "deleted@example.com"), b.user(t, "deleted2@example.com"), b.user(t, "replaced@example.com")
	check(t, b.SoftDeleteUsers(t.Context(), s.deleted.ID, s.deleted2.ID, s.replaced.ID))
	b.user(t, s.replaced.Email)
	s.open, s.open2, s.accepted = b.invite(t, "open@example.com"), b.invite(t, "open2@example.com"), b.invite(t, "accepted@example.com")
	must(b.UpdateInvites(t.Context(), user.InviteUpdate{ID: s.accepted.ID, Accepted: user.Set(true)}))(t)
	s.expired = must(hasty.CreateInvites(t.Context(), inviteDrafts("expired@example.com")...))(t)[0]
	s.withdrawn, s.withdrawn2, s.withdrawnAndInvitedNew = b.invite(t, "withdrawn@example.com"), b.invite(t, "withdrawn2@example.com"), b.invite(t, "again@example.com")
	check(t, b.SoftDeleteInvites(t.Context(), s.withdrawn.ID, s.withdrawn2.ID, s.withdrawnAndInvitedNew.ID))
	b.invite(t, s.withdrawnAndInvitedNew.Email)
	must(b.SetupInvite(t.Context()))(t)

	refuse := func(_ context.Context, ids []user.ID) error {
		if slices.Contains(ids, s.kept.ID) {
			return errKept
		}
		return nil
	}
	b.OnDelete(refuse)
	b.OnDeactivate(refuse)
	return s
}

const (
	nobodysID user.ID       = "user_01ARZ3NDEKTSV4RRFFQ69G5FAV"
	noInvite  user.InviteID = "invite_01ARZ3NDEKTSV4RRFFQ69G5FAV"

	passedOver = "what does not exist is passed over, and nothing else can be wrong with an id"
	noLookup   = "it looks for nothing that could be missing"
)

// TestEveryMethodKeepsWhatAllOfThemPromise fails for a method that has no row here.
func TestEveryMethodKeepsWhatAllOfThemPromise(t *testing.T) {
	unknown := user.Invite{ID: noInvite, Email: "nobody@example.com"}
	databasetest.Service[things]{
		Migrations: []database.Migrations{user.Migrations()},
		New:        newThings,
		Untested: map[string]string{
			"OnDelete":     "it only registers; hooks_test.go tries the hooks, and the rows of the deletions",
			"OnAddress":    "it only registers; email_test.go tries it",
			"OnDeactivate": "it only registers; hooks_test.go tries the hooks, and the row of DeactivateUsers",

			"RequestEmailChange": "it announces and writes nothing itself; email_test.go",
		},
		Methods: map[string]databasetest.Method[things]{
			"CreateUsers": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, s things) (any, error) {
					return s.CreateUsers(ctx, drafts("new@example.com")...)
				},
				Many: func(ctx context.Context, s things) (any, error) {
					return s.CreateUsers(ctx, drafts("new@example.com", "newer@example.com")...)
				},
				None: func(ctx context.Context, s things) (any, error) { return s.CreateUsers(ctx) },
				Bad: func(ctx context.Context, s things) (any, error) {
					return s.CreateUsers(ctx, drafts("new@example.com", s.ada.Email, "newer@example.com")...)
				},
				BadIs:   user.ErrEmailTaken,
				Without: noLookup,
			},
			"Ensure": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, s things) (any, error) {
					return both(s.Ensure(ctx, user.Draft{Email: "new@example.com"}))
				},
				Bad: func(ctx context.Context, s things) (any, error) {
					return both(s.Ensure(ctx, user.Draft{Email: "no address"}))
				},
				BadIs:   email.ErrInvalid,
				Without: noLookup,
			},
			"HoldID": {
				Does:    databasetest.Reads, // the row that holds the id is gone when it returns
				One:     func(ctx context.Context, s things) (any, error) { return nil, s.HoldID(ctx, nobodysID) },
				Bad:     func(ctx context.Context, s things) (any, error) { return nil, s.HoldID(ctx, "ada") },
				BadIs:   user.ErrInvalid,
				Without: noLookup,
			},
			"RetrieveUser": {
				Does:      databasetest.Reads,
				One:       func(ctx context.Context, s things) (any, error) { return s.RetrieveUser(ctx, s.ada.ID) },
				Unknown:   func(ctx context.Context, s things) (any, error) { return s.RetrieveUser(ctx, nobodysID) },
				UnknownIs: user.ErrNotFound,
				Bad:       func(ctx context.Context, s things) (any, error) { return s.RetrieveUser(ctx, "\x00") },
				BadIs:     user.ErrNotFound,
			},
			"HoldUser": {
				Does:      databasetest.Reads,
				One:       func(ctx context.Context, s things) (any, error) { return s.HoldUser(ctx, s.ada.ID) },
				Unknown:   func(ctx context.Context, s things) (any, error) { return s.HoldUser(ctx, nobodysID) },
				UnknownIs: user.ErrNotFound,
				Bad:       func(ctx context.Context, s things) (any, error) { return s.HoldUser(ctx, "\x00") },
				BadIs:     user.ErrNotFound,
			},
			"FindUser": {
				Does:      databasetest.Reads,
				One:       func(ctx context.Context, s things) (any, error) { return s.FindUser(ctx, s.ada.Email) },
				Unknown:   func(ctx context.Context, s things) (any, error) { return s.FindUser(ctx, "nobody@example.com") },
				UnknownIs: user.ErrNotFound,
				Bad:       func(ctx context.Context, s things) (any, error) { return s.FindUser(ctx, "no address") },
				BadIs:     email.ErrInvalid,
			},
			"ListUsers": {
				Does: databasetest.Reads,
				One:  func(ctx context.Context, s things) (any, error) { return s.ListUsers(ctx, user.Filter{}, user.Page{}) },
				Unknown: func(ctx context.Context, s things) (any, error) {
					return s.ListUsers(ctx, user.Filter{IDs: nobody}, user.Page{})
				},
				Bad: func(ctx context.Context, s things) (any, error) {
					return s.ListUsers(ctx, user.Filter{}, user.Page{Order: "nope"})
				},
				BadIs: user.ErrOrder,
			},
			"ListAndCountUsers": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, s things) (any, error) {
					return both(s.ListAndCountUsers(ctx, user.Filter{}, user.Page{}))
				},
				Unknown: func(ctx context.Context, s things) (any, error) {
					return both(s.ListAndCountUsers(ctx, user.Filter{IDs: nobody}, user.Page{}))
				},
				Bad: func(ctx context.Context, s things) (any, error) {
					return both(s.ListAndCountUsers(ctx, user.Filter{}, user.Page{Offset: -1}))
				},
				BadIs: user.ErrQuery,
			},
			"UpdateUsers": {
				Does: databasetest.Writes,
				One:  func(ctx context.Context, s things) (any, error) { return s.UpdateUsers(ctx, named(s.ada.ID, "A")) },
				Many: func(ctx context.Context, s things) (any, error) {
					return s.UpdateUsers(ctx, named(s.ada.ID, "A"), named(s.bob.ID, "B"))
				},
				None: func(ctx context.Context, s things) (any, error) { return s.UpdateUsers(ctx) },
				Unknown: func(ctx context.Context, s things) (any, error) {
					return s.UpdateUsers(ctx, named(s.ada.ID, "A"), named(nobodysID, "N"))
				},
				UnknownIs: user.ErrNotFound,
				Bad: func(ctx context.Context, s things) (any, error) {
					return s.UpdateUsers(ctx, named(s.ada.ID, "A"), named(s.bob.ID, strings.Repeat("B", 2000)))
				},
				BadIs: user.ErrInvalid,
			},
			"AddRoles": {
				Does: databasetest.Writes,
				One:  func(ctx context.Context, s things) (any, error) { return nil, s.AddRoles(ctx, s.ada.ID, "admin") },
				Many: func(ctx context.Context, s things) (any, error) {
					return nil, s.AddRoles(ctx, s.ada.ID, "admin", "editor")
				},
				None:      func(ctx context.Context, s things) (any, error) { return nil, s.AddRoles(ctx, s.ada.ID) },
				Unknown:   func(ctx context.Context, s things) (any, error) { return nil, s.AddRoles(ctx, nobodysID, "admin") },
				UnknownIs: user.ErrNotFound,
				Bad: func(ctx context.Context, s things) (any, error) {
					return nil, s.AddRoles(ctx, s.ada.ID, "admin", "no role")
				},
				BadIs: user.ErrInvalid,
			},
			"RemoveRoles": {
				Does: databasetest.Writes,
				One:  func(ctx context.Context, s things) (any, error) { return nil, s.RemoveRoles(ctx, s.ada.ID, "editor") },
				Many: func(ctx context.Context, s things) (any, error) {
					return nil, s.RemoveRoles(ctx, s.ada.ID, "editor", "writer")
				},
				None:      func(ctx context.Context, s things) (any, error) { return nil, s.RemoveRoles(ctx, s.ada.ID) },
				Unknown:   func(ctx context.Context, s things) (any, error) { return nil, s.RemoveRoles(ctx, nobodysID, "editor") },
				UnknownIs: user.ErrNotFound,
				Bad: func(ctx context.Context, s things) (any, error) {
					return nil, s.RemoveRoles(ctx, s.ada.ID, "editor", "no role")
				},
				BadIs: user.ErrInvalid,
			},
			"Grant": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, s things) (any, error) {
					return nil, s.Grant(ctx, s.ada.ID, user.ViaInvite, "admin")
				},
				Many: func(ctx context.Context, s things) (any, error) {
					return nil, s.Grant(ctx, s.ada.ID, user.ViaInvite, "admin", "editor")
				},
				None: func(ctx context.Context, s things) (any, error) { return nil, s.Grant(ctx, s.ada.ID, user.ViaInvite) },
				Unknown: func(ctx context.Context, s things) (any, error) {
					return nil, s.Grant(ctx, nobodysID, user.ViaInvite, "admin")
				},
				UnknownIs: user.ErrNotFound,
				Bad: func(ctx context.Context, s things) (any, error) {
					return nil, s.Grant(ctx, s.ada.ID, user.ViaInvite, "admin", "no role")
				},
				BadIs: user.ErrInvalid,
			},
			"VerifyEmail": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, s things) (any, error) {
					return nil, s.VerifyEmail(ctx, s.ada.ID, s.ada.Email)
				},
				Unknown: func(ctx context.Context, s things) (any, error) {
					return nil, s.VerifyEmail(ctx, nobodysID, s.ada.Email)
				},
				Without: "another address, or none, does nothing and is no error",
			},
			"ConfirmOwner": {
				Does: databasetest.Writes,
				One:  func(ctx context.Context, s things) (any, error) { return s.ConfirmOwner(ctx, s.ada) },
				Unknown: func(ctx context.Context, s things) (any, error) {
					return s.ConfirmOwner(ctx, user.User{ID: nobodysID, Email: s.ada.Email})
				},
				Without: "who is no longer as they were read is reported, and is no error",
			},
			"ChangeEmail": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, s things) (any, error) {
					return s.ChangeEmail(ctx, s.bob.ID, s.bob.Email, "new@example.com")
				},
				Unknown: func(ctx context.Context, s things) (any, error) {
					return s.ChangeEmail(ctx, nobodysID, "", "new@example.com")
				},
				UnknownIs: user.ErrNotFound,
				Bad: func(ctx context.Context, s things) (any, error) {
					return s.ChangeEmail(ctx, s.bob.ID, s.bob.Email, s.ada.Email)
				},
				BadIs: user.ErrEmailTaken,
			},
			"DeleteUsers": {
				Does: databasetest.Writes,
				One:  func(ctx context.Context, s things) (any, error) { return nil, s.DeleteUsers(ctx, s.ada.ID) },
				Many: func(ctx context.Context, s things) (any, error) {
					return nil, s.DeleteUsers(ctx, s.ada.ID, nobodysID, s.deleted.ID)
				},
				None:    func(ctx context.Context, s things) (any, error) { return nil, s.DeleteUsers(ctx) },
				Unknown: func(ctx context.Context, s things) (any, error) { return nil, s.DeleteUsers(ctx, nobodysID) },
				Bad: func(ctx context.Context, s things) (any, error) {
					return nil, s.DeleteUsers(ctx, s.ada.ID, s.kept.ID, s.bob.ID)
				},
				BadIs: errKept,
			},
			"SoftDeleteUsers": {
				Does: databasetest.Writes,
				One:  func(ctx context.Context, s things) (any, error) { return nil, s.SoftDeleteUsers(ctx, s.ada.ID) },
				Many: func(ctx context.Context, s things) (any, error) {
					return nil, s.SoftDeleteUsers(ctx, s.ada.ID, nobodysID, s.bob.ID)
				},
				None: func(ctx context.Context, s things) (any, error) { return nil, s.SoftDeleteUsers(ctx) },
				Unknown: func(ctx context.Context, s things) (any, error) {
					return nil, s.SoftDeleteUsers(ctx, nobodysID, s.deleted.ID)
				},
				Bad: func(ctx context.Context, s things) (any, error) {
					return nil, s.SoftDeleteUsers(ctx, s.ada.ID, s.kept.ID, s.bob.ID)
				},
				BadIs: errKept,
			},
			"RestoreUsers": {
				Does: databasetest.Writes,
				One:  func(ctx context.Context, s things) (any, error) { return nil, s.RestoreUsers(ctx, s.deleted.ID) },
				Many: func(ctx context.Context, s things) (any, error) {
					return nil, s.RestoreUsers(ctx, s.deleted.ID, nobodysID, s.deleted2.ID)
				},
				None:    func(ctx context.Context, s things) (any, error) { return nil, s.RestoreUsers(ctx) },
				Unknown: func(ctx context.Context, s things) (any, error) { return nil, s.RestoreUsers(ctx, nobodysID, s.ada.ID) },
				Bad: func(ctx context.Context, s things) (any, error) {
					return nil, s.RestoreUsers(ctx, s.deleted.ID, s.replaced.ID, s.deleted2.ID)
				},
				BadIs: user.ErrEmailTaken,
			},
			"DeactivateUsers": {
				Does: databasetest.Writes,
				One:  func(ctx context.Context, s things) (any, error) { return nil, s.DeactivateUsers(ctx, s.ada.ID) },
				Many: func(ctx context.Context, s things) (any, error) {
					return nil, s.DeactivateUsers(ctx, s.ada.ID, nobodysID, s.bob.ID)
				},
				None: func(ctx context.Context, s things) (any, error) { return nil, s.DeactivateUsers(ctx) },
				Unknown: func(ctx context.Context, s things) (any, error) {
					return nil, s.DeactivateUsers(ctx, nobodysID, s.inactive.ID)
				},
				Bad: func(ctx context.Context, s things) (any, error) {
					return nil, s.DeactivateUsers(ctx, s.ada.ID, s.kept.ID, s.bob.ID)
				},
				BadIs: errKept,
			},
			"ReactivateUsers": {
				Does: databasetest.Writes,
				One:  func(ctx context.Context, s things) (any, error) { return nil, s.ReactivateUsers(ctx, s.inactive.ID) },
				Many: func(ctx context.Context, s things) (any, error) {
					return nil, s.ReactivateUsers(ctx, s.inactive.ID, nobodysID, s.inactive2.ID)
				},
				None: func(ctx context.Context, s things) (any, error) { return nil, s.ReactivateUsers(ctx) },
				Unknown: func(ctx context.Context, s things) (any, error) {
					return nil, s.ReactivateUsers(ctx, nobodysID, s.ada.ID)
				},
				Without: passedOver,
			},
			"MissingIndexes": {
				Does:    databasetest.Reads,
				One:     func(ctx context.Context, s things) (any, error) { return s.MissingIndexes(ctx) },
				Without: "it is asked for nothing in particular",
			},
			"AdminExists": {
				Does:    databasetest.Reads,
				One:     func(ctx context.Context, s things) (any, error) { return s.AdminExists(ctx) },
				Without: "it is asked for nothing in particular",
			},
			"IsSetupAdmin": {
				Does:    databasetest.Reads,
				One:     func(ctx context.Context, s things) (any, error) { return s.IsSetupAdmin(ctx, s.ada.ID) },
				Unknown: func(ctx context.Context, s things) (any, error) { return s.IsSetupAdmin(ctx, "user_none") },
				Without: "nothing but its absence can be wrong with an id",
			},
			"InviteRoles": {
				Does:    databasetest.Reads,
				One:     func(_ context.Context, s things) (any, error) { return s.InviteRoles(), nil },
				Without: "it is asked for nothing in particular",
			},
			"InviteTTL": {
				Does: databasetest.Reads,
				One: func(_ context.Context, s things) (any, error) {
					usual, longest := s.InviteTTL()
					return []time.Duration{usual, longest}, nil
				},
				Without: "it is asked for nothing in particular",
			},
			"CreateInvites": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, s things) (any, error) {
					return s.CreateInvites(ctx, inviteDrafts("new@example.com")...)
				},
				Many: func(ctx context.Context, s things) (any, error) {
					return s.CreateInvites(ctx, inviteDrafts("new@example.com", "newer@example.com")...)
				},
				None: func(ctx context.Context, s things) (any, error) { return s.CreateInvites(ctx) },
				Bad: func(ctx context.Context, s things) (any, error) {
					return s.CreateInvites(ctx, inviteDrafts("new@example.com", s.open.Email, "newer@example.com")...)
				},
				BadIs:   user.ErrInviteExists,
				Without: noLookup,
			},
			"InviteEach": {
				Does: databasetest.Writes,
				One: func(ctx context.Context, s things) (any, error) {
					return s.InviteEach(ctx, inviteDrafts("new@example.com")...)
				},
				Many: func(ctx context.Context, s things) (any, error) {
					return s.InviteEach(ctx, inviteDrafts("new@example.com", s.open.Email, "nonsense", "newer@example.com")...)
				},
				None:    func(ctx context.Context, s things) (any, error) { return s.InviteEach(ctx) },
				Without: "what is wrong with a draft is its result, and keeps no other from being made",
			},
			"RetrieveInvite": {
				Does:      databasetest.Reads,
				One:       func(ctx context.Context, s things) (any, error) { return s.RetrieveInvite(ctx, s.open.ID) },
				Unknown:   func(ctx context.Context, s things) (any, error) { return s.RetrieveInvite(ctx, noInvite) },
				UnknownIs: user.ErrInviteNotFound,
				Bad:       func(ctx context.Context, s things) (any, error) { return s.RetrieveInvite(ctx, "\x00") },
				BadIs:     user.ErrInviteNotFound,
			},
			"HoldOpenInvite": {
				Does:      databasetest.Reads,
				One:       func(ctx context.Context, s things) (any, error) { return s.HoldOpenInvite(ctx, s.open.Email) },
				Unknown:   func(ctx context.Context, s things) (any, error) { return s.HoldOpenInvite(ctx, "nobody@example.com") },
				UnknownIs: user.ErrInviteNotFound,
				Bad:       func(ctx context.Context, s things) (any, error) { return s.HoldOpenInvite(ctx, "no address") },
				BadIs:     user.ErrInviteNotFound,
			},
			"ListInvites": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, s things) (any, error) {
					return s.ListInvites(ctx, user.InviteFilter{}, user.Page{})
				},
				Unknown: func(ctx context.Context, s things) (any, error) {
					return s.ListInvites(ctx, user.InviteFilter{IDs: []user.InviteID{noInvite}}, user.Page{})
				},
				Bad: func(ctx context.Context, s things) (any, error) {
					return s.ListInvites(ctx, user.InviteFilter{}, user.Page{Limit: -2})
				},
				BadIs: user.ErrQuery,
			},
			"ListAndCountInvites": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, s things) (any, error) {
					return both(s.ListAndCountInvites(ctx, user.InviteFilter{}, user.Page{Limit: user.CountOnly}))
				},
				Unknown: func(ctx context.Context, s things) (any, error) {
					return both(s.ListAndCountInvites(ctx, user.InviteFilter{IDs: []user.InviteID{noInvite}}, user.Page{}))
				},
				Bad: func(ctx context.Context, s things) (any, error) {
					return both(s.ListAndCountInvites(ctx, user.InviteFilter{Q: "\x00"}, user.Page{}))
				},
				BadIs: user.ErrQuery,
			},
			"UpdateInvites": {
				Does: databasetest.Writes,
				One:  func(ctx context.Context, s things) (any, error) { return s.UpdateInvites(ctx, closing(s.open.ID)) },
				Many: func(ctx context.Context, s things) (any, error) {
					return s.UpdateInvites(ctx, closing(s.open.ID), closing(s.open2.ID))
				},
				None: func(ctx context.Context, s things) (any, error) { return s.UpdateInvites(ctx) },
				Unknown: func(ctx context.Context, s things) (any, error) {
					return s.UpdateInvites(ctx, closing(s.open.ID), closing(noInvite))
				},
				UnknownIs: user.ErrInviteNotFound,
				Bad: func(ctx context.Context, s things) (any, error) {
					return s.UpdateInvites(ctx, closing(s.open.ID), user.InviteUpdate{ID: s.accepted.ID, Accepted: user.Set(false)}, closing(s.open2.ID))
				},
				BadIs: user.ErrInvalid,
			},
			"DeleteInvites": {
				Does: databasetest.Writes,
				One:  func(ctx context.Context, s things) (any, error) { return nil, s.DeleteInvites(ctx, s.open.ID) },
				Many: func(ctx context.Context, s things) (any, error) {
					return nil, s.DeleteInvites(ctx, s.open.ID, noInvite, s.withdrawn.ID)
				},
				None:    func(ctx context.Context, s things) (any, error) { return nil, s.DeleteInvites(ctx) },
				Unknown: func(ctx context.Context, s things) (any, error) { return nil, s.DeleteInvites(ctx, noInvite) },
				Without: passedOver,
			},
			"SoftDeleteInvites": {
				Does: databasetest.Writes,
				One:  func(ctx context.Context, s things) (any, error) { return nil, s.SoftDeleteInvites(ctx, s.open.ID) },
				Many: func(ctx context.Context, s things) (any, error) {
					return nil, s.SoftDeleteInvites(ctx, s.open.ID, noInvite, s.open2.ID)
				},
				None: func(ctx context.Context, s things) (any, error) { return nil, s.SoftDeleteInvites(ctx) },
				Unknown: func(ctx context.Context, s things) (any, error) {
					return nil, s.SoftDeleteInvites(ctx, noInvite, s.withdrawn.ID)
				},
				Without: passedOver,
			},
			"RestoreInvites": {
				Does: databasetest.Writes,
				One:  func(ctx context.Context, s things) (any, error) { return nil, s.RestoreInvites(ctx, s.withdrawn.ID) },
				Many: func(ctx context.Context, s things) (any, error) {
					return nil, s.RestoreInvites(ctx, s.withdrawn.ID, noInvite, s.withdrawn2.ID)
				},
				None: func(ctx context.Context, s things) (any, error) { return nil, s.RestoreInvites(ctx) },
				Unknown: func(ctx context.Context, s things) (any, error) {
					return nil, s.RestoreInvites(ctx, noInvite, s.open.ID)
				},
				Bad: func(ctx context.Context, s things) (any, error) {
					return nil, s.RestoreInvites(ctx, s.withdrawn.ID, s.withdrawnAndInvitedNew.ID, s.withdrawn2.ID)
				},
				BadIs: user.ErrInviteExists,
			},
			"RefreshInviteTokens": {
				Does: databasetest.Writes,
				One:  func(ctx context.Context, s things) (any, error) { return s.RefreshInviteTokens(ctx, s.open.ID) },
				Many: func(ctx context.Context, s things) (any, error) {
					return s.RefreshInviteTokens(ctx, s.open.ID, s.open2.ID)
				},
				None: func(ctx context.Context, s things) (any, error) { return s.RefreshInviteTokens(ctx) },
				Unknown: func(ctx context.Context, s things) (any, error) {
					return s.RefreshInviteTokens(ctx, s.open.ID, noInvite)
				},
				UnknownIs: user.ErrInvalid,
				Bad: func(ctx context.Context, s things) (any, error) {
					return s.RefreshInviteTokens(ctx, s.open.ID, s.accepted.ID, s.open2.ID)
				},
				BadIs: user.ErrInviteUsed,
			},
			"ValidateInviteToken": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, s things) (any, error) {
					return s.ValidateInviteToken(ctx, s.InviteToken(s.open, user.ByHand))
				},
				Unknown: func(ctx context.Context, s things) (any, error) {
					return s.ValidateInviteToken(ctx, s.InviteToken(unknown, user.ByHand))
				},
				UnknownIs: user.ErrInviteRevoked,
				Bad:       func(ctx context.Context, s things) (any, error) { return s.ValidateInviteToken(ctx, "nonsense") },
				BadIs:     user.ErrInviteToken,
			},
			"HoldInvite": {
				Does: databasetest.Reads,
				One: func(ctx context.Context, s things) (any, error) {
					return s.HoldInvite(ctx, s.InviteToken(s.open, user.ByHand))
				},
				Unknown: func(ctx context.Context, s things) (any, error) {
					return s.HoldInvite(ctx, s.InviteToken(unknown, user.ByHand))
				},
				UnknownIs: user.ErrInviteRevoked,
				Bad:       func(ctx context.Context, s things) (any, error) { return s.HoldInvite(ctx, "nonsense") },
				BadIs:     user.ErrInviteToken,
			},
			"AcceptInvite": {
				Does:      databasetest.Writes,
				One:       func(ctx context.Context, s things) (any, error) { return nil, s.AcceptInvite(ctx, s.open, s.ada.ID) },
				Unknown:   func(ctx context.Context, s things) (any, error) { return nil, s.AcceptInvite(ctx, unknown, s.ada.ID) },
				UnknownIs: user.ErrInviteRevoked,
				Bad: func(ctx context.Context, s things) (any, error) {
					return nil, s.AcceptInvite(ctx, s.accepted, s.ada.ID)
				},
				BadIs: user.ErrInviteUsed,
			},
			"SetupInvite": {
				Does:    databasetest.WritesSilently,
				One:     func(ctx context.Context, s things) (any, error) { return s.SetupInvite(ctx) },
				Without: "it is asked for nothing in particular; setup_test.go has the refusal when there is an admin",
			},
			"WithdrawSetup": {
				Does:    databasetest.WritesSilently,
				One:     func(ctx context.Context, s things) (any, error) { return nil, s.WithdrawSetup(ctx) },
				Without: "it is asked for nothing in particular",
			},
			"InviteToken": {
				Does:    databasetest.Reads,
				One:     func(_ context.Context, s things) (any, error) { return s.InviteToken(s.open, user.ByHand), nil },
				Without: "it signs what it is given, and reads nothing",
			},
		},
	}.Test(t, (*user.Service)(nil))
}

// both makes one result of two.
func both[A, B any](a A, b B, err error) (any, error) { return []any{a, b}, err }

// named is the update that gives somebody a first name.
func named(id user.ID, name string) user.Update {
	return user.Update{ID: id, FirstName: user.Set(name)}
}

// closing is the update that accepts an invite.
func closing(id user.InviteID) user.InviteUpdate {
	return user.InviteUpdate{ID: id, Accepted: user.Set(true)}
}
