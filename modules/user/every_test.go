package user_test

import (
	"context"
	"errors"
	"reflect"
	"testing"

	"github.com/latchkey-go/latchkey/modules/user"
)

// things is one of each kind that methods can be called with.
type things struct {
	ada, inactive, deleted user.User
	open, withdrawn        user.Invite
}

func (b bench) things(t testing.TB) (s things) {
	t.Helper()
	s.ada, s.inactive, s.deleted = b.user(t, "ada@example.com", "editor"), b.user(t, "inactive@example.com"), b.user(t, "deleted@example.com")
	check(t, b.DeactivateUsers(t.Context(), s.inactive.ID))
	check(t, b.SoftDeleteUsers(t.Context(), s.deleted.ID))
	s.open, s.withdrawn = b.invite(t, "open@example.com"), b.invite(t, "withdrawn@example.com")
	check(t, b.SoftDeleteInvites(t.Context(), s.withdrawn.ID))
	b.said.take()
	return s
}

// writes is one call of every method that changes something, each of which would succeed.
func (b bench) writes(s things) map[string]func(ctx context.Context) error {
	drop := func(_ any, err error) error { return err }
	return map[string]func(ctx context.Context) error{
		"CreateUsers": func(ctx context.Context) error {
			return drop(b.CreateUsers(ctx, drafts("new@example.com", "newer@example.com")...))
		},
		"Ensure": func(ctx context.Context) error {
			_, _, err := b.Ensure(ctx, user.Draft{Email: "ensured@example.com"})
			return err
		},
		"UpdateUsers": func(ctx context.Context) error {
			return drop(b.UpdateUsers(ctx, user.Update{ID: s.ada.ID, FirstName: user.Set("Ada")}))
		},
		"AddRoles":        func(ctx context.Context) error { return b.AddRoles(ctx, s.ada.ID, "admin") },
		"RemoveRoles":     func(ctx context.Context) error { return b.RemoveRoles(ctx, s.ada.ID, "editor") },
		"VerifyEmail":     func(ctx context.Context) error { return b.VerifyEmail(ctx, s.ada.ID, s.ada.Email) },
		"ConfirmOwner":    func(ctx context.Context) error { return drop(b.ConfirmOwner(ctx, s.ada)) },
		"DeleteUsers":     func(ctx context.Context) error { return b.DeleteUsers(ctx, s.ada.ID, s.inactive.ID) },
		"SoftDeleteUsers": func(ctx context.Context) error { return b.SoftDeleteUsers(ctx, s.ada.ID) },
		"RestoreUsers":    func(ctx context.Context) error { return b.RestoreUsers(ctx, s.deleted.ID) },
		"DeactivateUsers": func(ctx context.Context) error { return b.DeactivateUsers(ctx, s.ada.ID) },
		"ReactivateUsers": func(ctx context.Context) error { return b.ReactivateUsers(ctx, s.inactive.ID) },
		"CreateInvites": func(ctx context.Context) error {
			return drop(b.CreateInvites(ctx, inviteDrafts("new@example.com", "newer@example.com")...))
		},
		"UpdateInvites": func(ctx context.Context) error {
			return drop(b.UpdateInvites(ctx, user.InviteUpdate{ID: s.open.ID, Accepted: user.Set(true)}))
		},
		"RefreshInviteTokens": func(ctx context.Context) error { return drop(b.RefreshInviteTokens(ctx, s.open.ID)) },
		"AcceptInvite":        func(ctx context.Context) error { return b.AcceptInvite(ctx, s.open, s.ada.ID) },
		"DeleteInvites":       func(ctx context.Context) error { return b.DeleteInvites(ctx, s.open.ID, s.withdrawn.ID) },
		"SoftDeleteInvites":   func(ctx context.Context) error { return b.SoftDeleteInvites(ctx, s.open.ID) },
	}
}

// silent are the writes that announce nothing.
func (b bench) silent(s things) map[string]func(ctx context.Context) error {
	return map[string]func(ctx context.Context) error{
		"RestoreInvites": func(ctx context.Context) error { return b.RestoreInvites(ctx, s.withdrawn.ID) },
		"SetupInvite":    func(ctx context.Context) error { _, err := b.SetupInvite(ctx); return err },
		"WithdrawSetup":  b.WithdrawSetup,
	}
}

func (b bench) reads(s things) map[string]func(ctx context.Context) error {
	token := b.InviteToken(s.open, user.ByHand)
	return map[string]func(ctx context.Context) error{
		"RetrieveUser": func(ctx context.Context) error { _, err := b.RetrieveUser(ctx, s.ada.ID); return err },
		"FindUser":     func(ctx context.Context) error { _, err := b.FindUser(ctx, s.ada.Email); return err },
		"ListUsers":    func(ctx context.Context) error { _, err := b.ListUsers(ctx, user.Filter{}, user.Page{}); return err },
		"ListAndCountUsers": func(ctx context.Context) error {
			_, _, err := b.ListAndCountUsers(ctx, user.Filter{}, user.Page{})
			return err
		},
		"count of users": func(ctx context.Context) error {
			_, _, err := b.ListAndCountUsers(ctx, user.Filter{}, user.Page{Limit: user.CountOnly})
			return err
		},
		"AdminExists":    func(ctx context.Context) error { _, err := b.AdminExists(ctx); return err },
		"RetrieveInvite": func(ctx context.Context) error { _, err := b.RetrieveInvite(ctx, s.open.ID); return err },
		"ListInvites": func(ctx context.Context) error {
			_, err := b.ListInvites(ctx, user.InviteFilter{}, user.Page{})
			return err
		},
		"ListAndCountInvites": func(ctx context.Context) error {
			_, _, err := b.ListAndCountInvites(ctx, user.InviteFilter{}, user.Page{})
			return err
		},
		"ValidateInviteToken": func(ctx context.Context) error { _, err := b.ValidateInviteToken(ctx, token); return err },
		"HoldInvite":          func(ctx context.Context) error { _, err := b.HoldInvite(ctx, token); return err },
		"HoldOpenInvite":      func(ctx context.Context) error { _, err := b.HoldOpenInvite(ctx, s.open.Email); return err },
	}
}

// dump is everything in the module's tables.
func (b bench) dump(t testing.TB) (out []map[string]any) {
	t.Helper()
	for _, table := range []string{"user", "user_role", "invite"} {
		var rows []map[string]any
		check(t, b.db.Conn(t.Context()).NewSelect().TableExpr("latchkey_"+table).OrderExpr("1, 2").Scan(t.Context(), &rows))
		out = append(out, rows...)
	}
	return out
}

func TestNothingIsDoneOnACancelledContext(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		s := b.things(t)
		was := b.dump(t)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for _, methods := range []map[string]func(context.Context) error{b.writes(s), b.silent(s), b.reads(s)} {
			for name, call := range methods {
				wantErr(t, name, call(ctx), context.Canceled)
			}
		}
		if now := b.dump(t); !reflect.DeepEqual(now, was) {
			t.Errorf("the tables hold %v, want %v", now, was)
		}
		b.wantSaid(t)
	})
}

func TestChangeIsAnnouncedIfAndOnlyIfItIsMade(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		lost, undone := errors.New("the event cannot be recorded"), errors.New("undone")
		for name := range b.writes(things{}) {
			t.Run(name, func(t *testing.T) {
				// Every one on its own rows, so that none needs what another one did.
				defer func() { check(t, b.empty(t)) }()
				s := b.things(t)
				was := b.dump(t)
				call := b.writes(s)[name]

				b.said.fail = lost
				wantErr(t, "with an event that is lost", call(t.Context()), lost)
				b.said.fail = nil
				if now := b.dump(t); !reflect.DeepEqual(now, was) {
					t.Errorf("the change stayed without its event: %v, want %v", now, was)
				}

				wantErr(t, "undone", b.db.InTx(t.Context(), func(ctx context.Context) error {
					if err := call(ctx); err != nil {
						return err
					}
					return undone
				}), undone)
				b.wantSaid(t)
				if now := b.dump(t); !reflect.DeepEqual(now, was) {
					t.Errorf("the tables hold %v, want %v", now, was)
				}

				check(t, call(t.Context()))
				if len(b.said.take()) == 0 {
					t.Error("the change was not announced")
				}
				if now := b.dump(t); reflect.DeepEqual(now, was) {
					t.Error("it was announced, but nothing changed")
				}
			})
		}
	})
}

// empty deletes all rows.
func (b bench) empty(t testing.TB) error {
	b.said.take()
	return b.db.InTx(t.Context(), func(ctx context.Context) error {
		for _, table := range []string{"invite", "user_role", "user"} {
			if _, err := b.db.Conn(ctx).NewDelete().TableExpr("latchkey_" + table).Where("TRUE").Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	})
}

func TestSilentChangesNeedNobodyToListen(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		s := b.things(t)
		b.said.fail = errors.New("nobody should be told")
		for name, call := range b.silent(s) {
			if err := call(t.Context()); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestNoneGivenMeansNothingDone(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		b.things(t)
		was := b.dump(t)
		for name, call := range map[string]func(context.Context) (int, error){
			"CreateUsers":         func(ctx context.Context) (int, error) { x, err := b.CreateUsers(ctx); return len(x), err },
			"UpdateUsers":         func(ctx context.Context) (int, error) { x, err := b.UpdateUsers(ctx); return len(x), err },
			"DeleteUsers":         func(ctx context.Context) (int, error) { return 0, b.DeleteUsers(ctx) },
			"SoftDeleteUsers":     func(ctx context.Context) (int, error) { return 0, b.SoftDeleteUsers(ctx) },
			"RestoreUsers":        func(ctx context.Context) (int, error) { return 0, b.RestoreUsers(ctx) },
			"DeactivateUsers":     func(ctx context.Context) (int, error) { return 0, b.DeactivateUsers(ctx) },
			"ReactivateUsers":     func(ctx context.Context) (int, error) { return 0, b.ReactivateUsers(ctx) },
			"CreateInvites":       func(ctx context.Context) (int, error) { x, err := b.CreateInvites(ctx); return len(x), err },
			"UpdateInvites":       func(ctx context.Context) (int, error) { x, err := b.UpdateInvites(ctx); return len(x), err },
			"DeleteInvites":       func(ctx context.Context) (int, error) { return 0, b.DeleteInvites(ctx) },
			"SoftDeleteInvites":   func(ctx context.Context) (int, error) { return 0, b.SoftDeleteInvites(ctx) },
			"RestoreInvites":      func(ctx context.Context) (int, error) { return 0, b.RestoreInvites(ctx) },
			"RefreshInviteTokens": func(ctx context.Context) (int, error) { x, err := b.RefreshInviteTokens(ctx); return len(x), err },
		} {
			if n, err := call(t.Context()); n != 0 || err != nil {
				t.Errorf("%s: %d, %v, want nothing", name, n, err)
			}
		}
		if now := b.dump(t); !reflect.DeepEqual(now, was) {
			t.Errorf("the tables hold %v, want %v", now, was)
		}
		b.wantSaid(t)
	})
}
