package user_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/email"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

// statements counts what reaches the database.
type statements struct{ n, begun atomic.Int64 }

func (s *statements) BeforeQuery(ctx context.Context, e *bun.QueryEvent) context.Context {
	if s.n.Add(1); e.Operation() == "BEGIN" {
		s.begun.Add(1)
	}
	return ctx
}
func (*statements) AfterQuery(context.Context, *bun.QueryEvent) {}

// counting is a bench whose statements are counted.
func counting(t *testing.T, at databasetest.Database) (bench, *statements) {
	t.Helper()
	opened := at.Open(t, user.Migrations())
	handle := opened.Conn(t.Context()).(*bun.DB)
	if at.Dialect == database.SQLite { // that handle only reads
		pool := must(sql.Open("sqlite", strings.TrimPrefix(at.URL, "sqlite:")+"?_pragma=foreign_keys(1)&_pragma=busy_timeout(5000)"))(t)
		pool.SetMaxOpenConns(1)
		handle = bun.NewDB(pool, sqlitedialect.New())
		t.Cleanup(func() { check(t, handle.Close()) })
	}
	s := new(statements)
	handle = handle.WithQueryHook(s)
	b := bench{db: database.New(handle, handle, nil)}
	b.said = &recorder{t: t, db: b.db}
	b.Service = b.with(t, user.Options{}, secret('a'))
	return b, s
}

func TestManyItemsAreOneTransactionOfFewStatements(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		b, count := counting(t, at)
		addresses := numbered(many)
		users, invites := make([]user.User, many), make([]user.Invite, many)
		updates := make([]user.Update, many)
		type call struct {
			name     string
			perChunk int64 // statements for each 500 items
			do       func() error
		}
		measure := func(calls ...call) {
			t.Helper()
			for _, call := range calls {
				before, begun := count.n.Load(), count.begun.Load()
				check(t, call.do())
				if n := count.begun.Load() - begun; n != 1 {
					t.Errorf("%s: %d transactions, want one", call.name, n)
				}
				if n, most := count.n.Load()-before, call.perChunk*((many+499)/500)+3; n > most {
					t.Errorf("%s: %d statements for %d items, want at most %d", call.name, n, many, most)
				}
				if said := len(b.said.take()); said != many {
					t.Errorf("%s: %d events, want %d", call.name, said, many)
				}
			}
		}
		measure(
			call{"CreateUsers", 2, func() (err error) {
				drafts := drafts(addresses...)
				for i := range drafts {
					drafts[i].Roles, drafts[i].Metadata = []string{"member"}, map[string]any{"n": i}
				}
				users, err = b.CreateUsers(t.Context(), drafts...)
				return err
			}},
			call{"UpdateUsers", 3, func() (err error) {
				for i, u := range users {
					updates[i] = user.Update{ID: u.ID, FirstName: user.Set(fmt.Sprint("name ", i)), Metadata: user.Set(map[string]any{"m": i})}
				}
				slices.Reverse(updates)
				users, err = b.UpdateUsers(t.Context(), updates...)
				return err
			}},
			call{"CreateInvites", 2, func() (err error) {
				_, err = b.hasty(t).CreateInvites(t.Context(), inviteDrafts(addresses...)...)
				return err
			}},
			call{"CreateInvites for expired ones", 4, func() (err error) {
				invites, err = b.CreateInvites(t.Context(), inviteDrafts(addresses...)...)
				return err
			}},
			call{"RefreshInviteTokens", 2, func() (err error) {
				invites, err = b.RefreshInviteTokens(t.Context(), inviteIDs(invites)...)
				return err
			}},
		)
		if got := inviteEmails(invites); !slices.Equal(got, addresses) {
			t.Error("the invites are not in the order of the call")
		}
		for _, n := range []int{0, many / 2, many - 1} {
			u := must(b.RetrieveUser(t.Context(), updates[n].ID))(t)
			of := float64(many - 1 - n)
			if !reflect.DeepEqual(u, users[n]) || *u.FirstName != fmt.Sprint("name ", of) || !reflect.DeepEqual(u.Metadata, map[string]any{"n": of, "m": of}) {
				t.Errorf("update %d: answered %+v, read %+v", n, users[n], u)
			}
			if i := must(b.RetrieveInvite(t.Context(), invites[n].ID))(t); !reflect.DeepEqual(i, invites[n]) {
				t.Errorf("invite %d: answered %+v, read %+v", n, invites[n], i)
			}
			check(t, b.opens(t, invites[n]))
		}
		measure(
			call{"SoftDeleteUsers", 2, func() error { return b.SoftDeleteUsers(t.Context(), userIDs(users)...) }},
			call{"RestoreUsers", 4, func() error { return b.RestoreUsers(t.Context(), userIDs(users)...) }},
			call{"SoftDeleteInvites", 2, func() error { return b.SoftDeleteInvites(t.Context(), inviteIDs(invites)...) }},
			call{"RestoreInvites", 4, func() error { return b.RestoreInvites(t.Context(), inviteIDs(invites)...) }},
		)
	})
}

// manyWithBad is a call with many items of which some are bad, and why each of these is.
type manyWithBad struct {
	call func(b bench) error
	bad  map[int]error
}

func TestOfManyItemsEachBadOneIsNamedAndNothingIsWritten(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		taken := b.user(t, "taken@example.com")
		must(b.CreateUsers(t.Context(), user.Draft{Email: "proved@example.com", EmailVerified: true}))(t)
		invited, accepted := b.invite(t, "invited@example.com"), b.invite(t, "accepted@example.com")
		must(b.UpdateInvites(t.Context(), closing(accepted.ID)))(t)
		expired := must(b.hasty(t).CreateInvites(t.Context(), inviteDrafts("expired@example.com")...))(t)[0]
		people := must(b.CreateUsers(t.Context(), drafts(numbered(many)...)...))(t)
		invites := must(b.CreateInvites(t.Context(), inviteDrafts(numbered(many)...)...))(t)
		b.said.take()
		was := databasetest.Dump(t, b.db)

		fresh := func(i int) string { return fmt.Sprintf("new%d@example.com", i) }
		own := user.NewID()
		for name, c := range map[string]manyWithBad{
			"CreateUsers": {func(b bench) error {
				drafts := make([]user.Draft, many)
				for i := range drafts {
					drafts[i].Email = fresh(i)
				}
				drafts[0].Email, drafts[7].Email, drafts[700].Email = "no address", "Taken@example.com", "NEW701@example.com"
				drafts[702].Roles, drafts[703].ID, drafts[704].ID, drafts[705].ID = []string{""}, taken.ID, own, own
				drafts[many-1].Metadata = map[string]any{"a": "\x00"}
				_, err := b.CreateUsers(t.Context(), drafts...)
				return err
			}, map[int]error{0: email.ErrInvalid, 7: user.ErrEmailTaken, 701: user.ErrEmailTaken, 702: user.ErrInvalid,
				703: user.ErrIDTaken, 705: user.ErrIDTaken, many - 1: user.ErrInvalid}},
			"UpdateUsers": {func(b bench) error {
				updates := make([]user.Update, many)
				for i := range updates {
					updates[i] = named(people[i].ID, "x")
				}
				updates[0].ID, updates[700].ID = nobodysID, "\x00"
				updates[701].LastName = user.Set("\x00")
				updates[many-1].Metadata = user.Set(map[string]any{"a": strings.Repeat("x", 17<<10)})
				_, err := b.UpdateUsers(t.Context(), updates...)
				return err
			}, map[int]error{0: user.ErrNotFound, 700: user.ErrNotFound, 701: user.ErrInvalid, many - 1: user.ErrInvalid}},
			"CreateInvites": {func(b bench) error {
				drafts := make([]user.InviteDraft, many)
				for i := range drafts {
					drafts[i].Email = fresh(i)
				}
				drafts[0].Email, drafts[1].Email, drafts[700].Email, drafts[701].Email = "", "Invited@example.com", "expired@example.com", expired.Email
				drafts[702].Email, drafts[many-1].Roles = "proved@example.com", []string{"a b"}
				_, err := b.CreateInvites(t.Context(), drafts...)
				return err
			}, map[int]error{0: email.ErrInvalid, 1: user.ErrInviteExists, 701: user.ErrInviteExists, 702: user.ErrUserExists, many - 1: user.ErrInvalid}},
			"UpdateInvites": {func(b bench) error {
				updates := make([]user.InviteUpdate, many)
				for i := range updates {
					updates[i] = closing(invites[i].ID)
				}
				updates[0].ID, updates[many-1] = noInvite, user.InviteUpdate{ID: accepted.ID, Accepted: user.Set(false)}
				_, err := b.UpdateInvites(t.Context(), updates...)
				return err
			}, map[int]error{0: user.ErrInviteNotFound, many - 1: user.ErrInvalid}},
			"RefreshInviteTokens": {func(b bench) error {
				ids := inviteIDs(invites)
				ids[0], ids[1], ids[700], ids[many-1] = noInvite, invited.ID, accepted.ID, "x"
				_, err := b.RefreshInviteTokens(t.Context(), ids...)
				return err
			}, map[int]error{0: user.ErrInvalid, 700: user.ErrInviteUsed, many - 1: user.ErrInvalid}},
		} {
			t.Run(name, func(t *testing.T) {
				err := c.call(b)
				bad, ok := errors.AsType[*user.BadItems](err)
				if !ok || bad.Of != many {
					t.Fatalf("%v, want the bad ones of %d items", err, many)
				}
				var at []int
				for _, item := range bad.Items {
					at = append(at, item.Index)
					wantErr(t, fmt.Sprint("item ", item.Index), item.Err, c.bad[item.Index])
				}
				if len(at) != len(c.bad) || !slices.IsSorted(at) {
					t.Errorf("bad are %v, want those of %v", at, c.bad)
				}
				for _, want := range c.bad {
					wantErr(t, "the whole", err, want)
				}
				if !reflect.DeepEqual(was, databasetest.Dump(t, b.db)) {
					t.Error("something was written")
				}
				b.wantSaid(t)
			})
		}
	})
}

func TestTheErrorOfManyItemsIsShortAndOneFault(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		_, err := b.CreateUsers(t.Context(), drafts(slices.Repeat([]string{"no address"}, 2000)...)...)
		if bad, ok := errors.AsType[*user.BadItems](err); !ok || len(bad.Items) != 2000 {
			t.Errorf("%.100v, want 2000 bad items", err)
		}
		text := err.Error()
		if len(text) > 4000 || !strings.HasPrefix(text, "Nothing was written, because of 2000 of 2000 items: [0] ") || !strings.HasSuffix(text, "… and 1990 more") {
			t.Errorf("got %d bytes: %s", len(text), text)
		}
		if f, ok := fault.Of(err); !ok || f.Kind != fault.Invalid || f.Reason != "invalid_email" || f.Message != text {
			t.Errorf("got the fault %+v, want the first one's, with the text of all", f)
		}
		_, err = b.UpdateUsers(t.Context(), user.Update{ID: user.ID(strings.Repeat("é", 5000))}, user.Update{ID: "x"})
		if text := err.Error(); len(text) > 1000 || !strings.Contains(text, `[1] User with id "x" not found`) {
			t.Errorf("got %d bytes: %s", len(text), text)
		}
		_, err = b.CreateUsers(t.Context(), user.Draft{Email: "no address"})
		if _, ok := errors.AsType[*user.BadItems](err); ok || !errors.Is(err, email.ErrInvalid) {
			t.Errorf("a single item: %v, want its own error", err)
		}
	})
}

func TestSameItemTwiceInACallIsWrittenAndAnnouncedOnce(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		ada, open := b.user(t, "ada@example.com"), b.invite(t, "open@example.com")
		b.said.take()
		users := must(b.UpdateUsers(t.Context(), named(ada.ID, "A"), user.Update{ID: ada.ID}, user.Update{ID: ada.ID, LastName: user.Set("L")}))(t)
		for _, u := range users {
			if !reflect.DeepEqual(u, must(b.RetrieveUser(t.Context(), ada.ID))(t)) || *u.FirstName != "A" || *u.LastName != "L" {
				t.Errorf("got %+v, want both changes", u)
			}
		}
		b.wantSaid(t, topic("user.updated", ada.ID)...)
		invites := must(b.RefreshInviteTokens(t.Context(), open.ID, open.ID))(t)
		if len(invites) != 2 || !reflect.DeepEqual(invites[0], invites[1]) {
			t.Errorf("got %+v, want the invite twice", invites)
		}
		check(t, b.opens(t, invites[0]))
		b.wantSaid(t, topic("invite.resent", open.ID)...)
	})
}
