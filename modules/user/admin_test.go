package user_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

// endings are the acts by which somebody ceases to be an active admin.
var endings = []struct {
	name string
	act  func(ctx context.Context, b bench, of ...user.ID) error
	many bool // takes several at once
}{
	{"delete", func(ctx context.Context, b bench, of ...user.ID) error { return b.DeleteUsers(ctx, of...) }, true},
	{"soft-delete", func(ctx context.Context, b bench, of ...user.ID) error { return b.SoftDeleteUsers(ctx, of...) }, true},
	{"deactivate", func(ctx context.Context, b bench, of ...user.ID) error { return b.DeactivateUsers(ctx, of...) }, true},
	{"demote", func(ctx context.Context, b bench, of ...user.ID) error {
		return b.RemoveRoles(ctx, of[0], "admin", "editor")
	}, false},
}

func TestTheLastActiveAdminIsKept(t *testing.T) {
	for _, end := range endings {
		t.Run(end.name, func(t *testing.T) {
			each(t, func(t *testing.T, b bench) {
				ada, bob := b.user(t, "ada@example.com", "admin", "editor"), b.user(t, "bob@example.com", "admin")
				member := b.user(t, "member@example.com", "editor")
				inactive, deleted := b.user(t, "inactive@example.com", "admin"), b.user(t, "deleted@example.com", "admin")
				check(t, b.DeactivateUsers(t.Context(), inactive.ID))
				check(t, b.SoftDeleteUsers(t.Context(), deleted.ID))

				refused := func(what string, of ...user.ID) {
					t.Helper()
					was := databasetest.Dump(t, b.db)
					b.said.take()
					wantErr(t, what, end.act(t.Context(), b, of...), user.ErrLastAdmin)
					if !reflect.DeepEqual(was, databasetest.Dump(t, b.db)) {
						t.Errorf("%s: something was written", what)
					}
					b.wantSaid(t)
				}
				if end.many {
					refused("all at once", ada.ID, member.ID, bob.ID, nobodysID)
					if err := end.act(t.Context(), b, bob.ID, ada.ID); err == nil || err.Error() != "No active administrator would be left. Make somebody else one first." {
						t.Errorf("all at once: %v", err)
					}
				}
				check(t, end.act(t.Context(), b, bob.ID))
				refused("the last", ada.ID)
				if end.many {
					refused("the last among others", member.ID, ada.ID)
				}
				check(t, end.act(t.Context(), b, member.ID))
				if end.name != "soft-delete" {
					check(t, end.act(t.Context(), b, inactive.ID)) // could not act as an admin anyway
				}
				if end.name == "delete" {
					check(t, end.act(t.Context(), b, deleted.ID))
				}
				eve := b.user(t, "eve@example.com", "admin")
				check(t, end.act(t.Context(), b, ada.ID))
				refused("the last by now", eve.ID)
			})
		})
	}
}

func TestOfTwoAdminsWhoEndEachOtherOneIsLeft(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		for i, first := range endings {
			for _, second := range endings[i:] {
				for round := range 50 {
					two := must(b.CreateUsers(t.Context(), user.Draft{Roles: []string{"admin"}}, user.Draft{Roles: []string{"admin"}}))(t)
					if round%2 == 0 {
						slices.Reverse(two)
					}
					errs := databasetest.Together(2, func(i int) error {
						if i == 0 {
							return first.act(t.Context(), b, two[1].ID)
						}
						return second.act(t.Context(), b, two[0].ID)
					})
					wantOneWinner(t, errs, user.ErrLastAdmin)
					left := must(b.ListUsers(t.Context(), user.Filter{Roles: []string{"admin"}}, user.Page{}))(t)
					if left = slices.DeleteFunc(left, func(u user.User) bool { return !u.Active() }); len(left) != 1 || t.Failed() {
						t.Fatalf("%s and %s, round %d: %d active admins are left, want one", first.name, second.name, round, len(left))
					}
					b.clear(t)
				}
			}
		}
	})
}

func TestWhoIsMadeAnAdminWhileOthersEndThemCausesNoDeadlock(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		b.user(t, "root@example.com", "admin") // whose row comes before all others
		defer databasetest.WatchDeadlocks(t, b.db)()
		for round := range 100 {
			eve := b.user(t, fmt.Sprintf("eve%d@example.com", round))
			for i, err := range databasetest.Together(6, func(i int) error {
				if i == 0 {
					return b.AddRoles(t.Context(), eve.ID, "admin")
				}
				return endings[i%3].act(t.Context(), b, eve.ID)
			}) {
				if err != nil && (i > 0 || !errors.Is(err, user.ErrNotFound)) {
					t.Errorf("round %d, %d: %v", round, i, err)
				}
			}
		}
	})
}

// As somebody does who deletes their own account.
func TestAdminsWhoHoldTheirOwnRowsAndEndThemselvesDoNotDeadlock(t *testing.T) {
	for _, end := range endings {
		t.Run(end.name, func(t *testing.T) {
			each(t, func(t *testing.T, b bench) {
				b.user(t, "root@example.com", "admin")
				two := []user.User{b.user(t, "ada@example.com", "admin"), b.user(t, "bob@example.com", "admin")}
				var held sync.WaitGroup
				if b.db.Dialect() == database.Postgres { // SQLite lets one in at a time
					held.Add(2)
				}
				defer databasetest.WatchDeadlocks(t, b.db)()
				for i, err := range databasetest.Together(2, func(i int) error {
					meet := sync.OnceFunc(func() { // once: what a deadlock has undone is run again
						if b.db.Dialect() == database.Postgres {
							held.Done()
							held.Wait()
						}
					})
					return b.db.InTx(t.Context(), func(ctx context.Context) error {
						if _, err := b.HoldUser(ctx, two[i].ID); err != nil {
							return err
						}
						meet()
						return end.act(ctx, b, two[i].ID)
					})
				}) {
					if err != nil {
						t.Errorf("%d: %v", i, err)
					}
				}
			})
		})
	}
}

// A hook of who is demoted wants what a hook of who is deleted has locked.
func TestHooksOfAdminsWhoEndDoNotDeadlock(t *testing.T) {
	b := bench{db: databasetest.Postgres(t).Open(t, user.Migrations())}
	exec := func(ctx context.Context, statement string) error {
		_, err := b.db.Conn(ctx).ExecContext(ctx, statement)
		return err
	}
	check(t, b.db.InTx(t.Context(), func(ctx context.Context) error {
		return exec(ctx, "CREATE TABLE app_total AS SELECT 0 AS n")
	}))
	held, asked := make(chan struct{}), make(chan struct{})
	has, wants := sync.OnceFunc(func() { close(held) }), sync.OnceFunc(func() { close(asked) })
	b.Service = must(user.New(user.Params{DB: b.db, Keys: ring(t, secret('a')), Hooks: []user.Hook{{
		Name: "total",
		OnDelete: func(ctx context.Context, _ []user.ID) error {
			err := exec(ctx, "UPDATE app_total SET n = n - 1")
			has()
			<-asked
			return err
		},
		OnUpdate: func(ctx context.Context, _ []user.User) error {
			<-held
			wants()
			return exec(ctx, "UPDATE app_total SET n = n + 1")
		},
	}}}))(t)
	b.user(t, "root@example.com", "admin")
	ada, bob := b.user(t, "ada@example.com", "admin"), b.user(t, "bob@example.com", "admin")
	defer databasetest.WatchDeadlocks(t, b.db)()
	for i, err := range databasetest.Together(2, func(i int) error {
		if i == 0 {
			return b.RemoveRoles(t.Context(), ada.ID, "admin")
		}
		return b.SoftDeleteUsers(t.Context(), bob.ID)
	}) {
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
	}
}

// An application finds our tables by a search path of its own, and joins.
func TestOfTwoAdminsWhoAreEndedByOtherSearchPathsOneIsLeft(t *testing.T) {
	at := databasetest.Postgres(t)
	b := bench{db: at.Open(t, user.Migrations())}
	b.Service = must(user.New(user.Params{DB: b.db, Keys: ring(t, secret('a'))}))(t)
	pool := must(sql.Open("pgx", at.URL))(t)
	defer pool.Close()
	theirs := must(url.Parse(databasetest.Postgres(t).URL))(t).Query().Get("search_path")
	for _, end := range endings {
		two := []user.User{b.user(t, "ada@example.com", "admin"), b.user(t, "bob@example.com", "admin")}
		tx := must(pool.BeginTx(t.Context(), nil))(t)
		must(tx.ExecContext(t.Context(), "SELECT set_config('search_path', $1 || ', ' || current_setting('search_path'), true)", theirs))(t)
		must(b.db.Join(t.Context(), tx, func(ctx context.Context) error { return end.act(ctx, b, two[0].ID) }))(t)
		other := make(chan error, 1)
		go func() { other <- end.act(t.Context(), b, two[1].ID) }()
		select {
		case err := <-other:
			t.Errorf("%s: decided before the first was: %v", end.name, err)
			other <- err
		case <-time.After(100 * time.Millisecond): // by now it waits
		}
		check(t, tx.Commit())
		wantErr(t, end.name, <-other, user.ErrLastAdmin)
		b.clear(t)
	}
}

// clear deletes all users, as somebody at the database can: the service keeps an admin.
func (b bench) clear(t testing.TB) {
	t.Helper()
	check(t, b.db.InTx(t.Context(), func(ctx context.Context) error {
		_, err := b.db.Conn(ctx).NewDelete().Table("latchkey_user").Where("TRUE").Exec(ctx)
		return err
	}))
}

// An admin who is made while somebody is being deleted may be that somebody.
func TestWhoBecomesAnAdminWhileBeingDeletedCountsAsOne(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		for range 6 {
			two := must(b.CreateUsers(t.Context(), user.Draft{Roles: []string{"admin"}}, user.Draft{}))(t)
			databasetest.Together(3, func(i int) error {
				switch i {
				case 0:
					return b.AddRoles(t.Context(), two[1].ID, "admin")
				case 1:
					return b.SoftDeleteUsers(t.Context(), two[0].ID)
				default:
					return b.SoftDeleteUsers(t.Context(), two[1].ID)
				}
			})
			if !must(b.AdminExists(t.Context()))(t) {
				t.Fatal("no admin is left")
			}
			b.clear(t)
		}
	})
}

// The owner of a mailbox who shows up takes over who used it, without rights that nobody gave to the mailbox.
func TestWhenTheOwnerOfTheOnlyAdminsMailboxShowsUpTheLogSaysThatNobodyIsLeft(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		var log bytes.Buffer
		users := must(user.New(user.Params{DB: b.db, Keys: ring(t, secret('a')), Log: slog.New(slog.NewTextHandler(&log, nil))}))(t)
		make := func(address string) user.User {
			return must(users.CreateUsers(t.Context(), user.Draft{Email: address, Roles: []string{"admin"}, Via: user.ViaSetup}))(t)[0]
		}
		squatter, other := make("ada@example.com"), make("bob@example.com")
		for _, u := range []user.User{squatter, other} {
			if strings.Contains(log.String(), "administrator") {
				t.Errorf("there is an admin, and the log says %s", log.String())
			}
			if !must(users.ConfirmOwner(t.Context(), u))(t) {
				t.Fatal("not confirmed")
			}
		}
		if must(b.AdminExists(t.Context()))(t) {
			t.Error("who proved a mailbox is an admin by a set-up link that somebody else had")
		}
		if said := log.String(); !strings.Contains(said, "level=ERROR") || !strings.Contains(said, "nobody is an active administrator any more") || !strings.Contains(said, string(other.ID)) {
			t.Errorf("the log says %q, want that there is no admin any more", said)
		}
		must(b.SetupInvite(t.Context()))(t) // the way out
	})
}
