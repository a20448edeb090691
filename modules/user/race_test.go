package user_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

func TestOfManyUsersCreatedAtOnceWithOneAddressOneIs(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		errs := databasetest.Together(50, func(int) error {
			_, err := b.CreateUsers(t.Context(), user.Draft{Email: "ada@example.com"})
			return err
		})
		wantOneWinner(t, errs, user.ErrEmailTaken)
		if users, said := b.count(t, "user"), b.said.take(); users != 1 || len(said) != 1 {
			t.Errorf("%d users and %q, want one of each", users, said)
		}
	})
}

func TestManyWhoEnsureOneUserAllGetIt(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		got := make([]user.User, 100)
		made := make([]bool, len(got))
		for i, err := range databasetest.Together(len(got), func(i int) (err error) {
			got[i], made[i], err = b.Ensure(t.Context(), user.Draft{Email: "ada@example.com"})
			return err
		}) {
			if err != nil {
				t.Errorf("caller %d: %v", i, err)
			}
			if got[i].ID == "" || got[i].ID != got[0].ID {
				t.Errorf("caller %d has %q, another %q", i, got[i].ID, got[0].ID)
			}
		}
		if made = slices.DeleteFunc(made, func(made bool) bool { return !made }); len(made) != 1 {
			t.Errorf("%d were told that they made it, want one", len(made))
		}
		if users, said := b.count(t, "user"), b.said.take(); users != 1 || len(said) != 1 {
			t.Errorf("%d users and %q, want one of each", users, said)
		}
	})
}

func TestEnsureReturnsSomebodyWhileUsersComeAndGo(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		for i, err := range databasetest.Together(8, func(i int) error {
			for n := range 40 {
				u, _, err := b.Ensure(t.Context(), user.Draft{Email: "ada@example.com"})
				if err != nil {
					return fmt.Errorf("the time %d: %w", n, err)
				}
				if i%2 == 0 {
					if err := b.SoftDeleteUsers(t.Context(), u.ID); err != nil {
						return err
					}
				}
			}
			return nil
		}) {
			if err != nil {
				t.Errorf("caller %d: %v", i, err)
			}
		}
	})
}

func TestOfManyInvitesCreatedAtOnceForOneAddressOneIs(t *testing.T) {
	for name, before := range map[string]func(t *testing.T, b bench){
		"new": func(*testing.T, bench) {},
		"expired": func(t *testing.T, b bench) {
			must(b.hasty(t).CreateInvites(t.Context(), inviteDrafts("ada@example.com")...))(t)
		},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, b bench) {
				before(t, b)
				b.said.take()
				errs := databasetest.Together(50, func(int) error {
					_, err := b.CreateInvites(t.Context(), user.InviteDraft{Email: "ada@example.com"})
					return err
				})
				wantOneWinner(t, errs, user.ErrInviteExists)
				if invites, said := b.count(t, "invite"), b.said.take(); invites != 1 || len(said) != 1 {
					t.Errorf("%d invites and %q, want one of each", invites, said)
				}
			})
		})
	}
}

func TestCallersWithTheSameManyInAnotherOrderDoNotDeadlock(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		emails, start := numbered(10), time.Now()
		wantOneWinner(t, databasetest.Together(20, func(i int) error {
			_, err := b.CreateUsers(t.Context(), drafts(forthOrBack(i, emails)...)...)
			return err
		}), user.ErrEmailTaken)
		wantOneWinner(t, databasetest.Together(20, func(i int) error {
			_, err := b.CreateInvites(t.Context(), inviteDrafts(forthOrBack(i, emails)...)...)
			return err
		}), user.ErrInviteExists)
		users := userIDs(must(b.ListUsers(t.Context(), user.Filter{}, user.Page{}))(t))
		open := inviteIDs(must(b.ListInvites(t.Context(), user.InviteFilter{}, user.Page{}))(t))
		for what, call := range map[string]func(i int) error{
			"update": func(i int) error {
				var updates []user.Update
				for _, id := range forthOrBack(i, users) {
					updates = append(updates, user.Update{ID: id, FirstName: user.Set("Ada")})
				}
				_, err := b.UpdateUsers(t.Context(), updates...)
				return err
			},
			"deactivate": func(i int) error {
				if err := b.DeactivateUsers(t.Context(), forthOrBack(i, users)...); err != nil {
					return err
				}
				return b.ReactivateUsers(t.Context(), forthOrBack(i+1, users)...)
			},
			"delete and restore": func(i int) error {
				if err := b.SoftDeleteUsers(t.Context(), forthOrBack(i, users)...); err != nil {
					return err
				}
				return b.RestoreUsers(t.Context(), forthOrBack(i+1, users)...)
			},
			"refresh": func(i int) error {
				_, err := b.RefreshInviteTokens(t.Context(), forthOrBack(i, open)...)
				return err
			},
		} {
			for i, err := range databasetest.Together(20, call) {
				if err != nil {
					t.Errorf("%s, caller %d: %v", what, i, err)
				}
			}
		}
		if took := time.Since(start); took > 15*time.Second { // PostgreSQL finds a deadlock after a second
			t.Errorf("took %v", took)
		}
	})
}

// forthOrBack is a copy of all in the one order or the other.
func forthOrBack[T any](i int, all []T) []T {
	all = slices.Clone(all)
	if i%2 == 0 {
		slices.Reverse(all)
	}
	return all
}

func TestOfManyAcceptsAtOnceOneIs(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		i := b.invite(t, "ada@example.com")
		token := b.InviteToken(i, user.ByMail)
		b.said.take()
		who := make([]user.ID, 50)
		errs := databasetest.Together(len(who), func(n int) error {
			who[n] = user.NewID()
			i, err := b.ValidateInviteToken(t.Context(), token)
			if err != nil {
				return err
			}
			return b.AcceptInvite(t.Context(), i, who[n])
		})
		wantOneWinner(t, errs, user.ErrInviteUsed)
		now := must(b.RetrieveInvite(t.Context(), i.ID))(t)
		if won := slices.IndexFunc(errs, func(err error) bool { return err == nil }); won >= 0 && now.AcceptedBy != who[won] {
			t.Errorf("accepted by %s, but %s was told so", now.AcceptedBy, who[won])
		}
		b.wantSaid(t, topic("invite.accepted", i.ID)...)
	})
}

func TestHeldInviteWaitsForItsHolder(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		i := b.invite(t, "ada@example.com")
		held, refreshed := make(chan struct{}), make(chan error, 1)
		go func() {
			<-held
			_, err := b.RefreshInviteTokens(t.Context(), i.ID)
			refreshed <- err
		}()
		check(t, b.db.InTx(t.Context(), func(ctx context.Context) error {
			got, err := b.HoldInvite(ctx, b.InviteToken(i, user.ByHand))
			if err != nil {
				return err
			}
			close(held)
			select {
			case err := <-refreshed:
				t.Errorf("it was renewed while it was held: %v", err)
			case <-time.After(100 * time.Millisecond):
			}
			return b.AcceptInvite(ctx, got, user.NewID())
		}))
		wantErr(t, "the refresh after the accept", <-refreshed, user.ErrInviteUsed)
	})
}

func TestOfManyRefreshedTokensTheLastIsGood(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		i := b.invite(t, "ada@example.com")
		tokens := make([]string, 20)
		for n, err := range databasetest.Together(len(tokens), func(n int) error {
			got, err := b.RefreshInviteTokens(t.Context(), i.ID)
			if err == nil {
				tokens[n] = b.InviteToken(got[0], user.ByMail)
			}
			return err
		}) {
			if err != nil {
				t.Errorf("caller %d: %v", n, err)
			}
		}
		good := 0
		for n, token := range tokens {
			if _, err := b.ValidateInviteToken(t.Context(), token); err == nil {
				good++
			} else {
				wantErr(t, fmt.Sprintf("token %d", n), err, user.ErrInviteRenewed)
			}
		}
		if good != 1 {
			t.Errorf("%d of the tokens are good, want one", good)
		}
		wantErr(t, "the token before", b.opens(t, i), user.ErrInviteRenewed)
	})
}

func TestNobodyIsRestoredOntoAnAddressThatIsBeingTaken(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		u, i := b.user(t, "ada@example.com"), b.invite(t, "bob@example.com")
		check(t, b.SoftDeleteUsers(t.Context(), u.ID))
		check(t, b.SoftDeleteInvites(t.Context(), i.ID))
		begun := make(chan struct{})
		users, invites := make(chan error, 1), make(chan error, 1)
		go func() { <-begun; users <- b.RestoreUsers(t.Context(), u.ID) }()
		go func() { <-begun; invites <- b.RestoreInvites(t.Context(), i.ID) }()
		check(t, b.db.InTx(t.Context(), func(ctx context.Context) error {
			must(b.CreateUsers(ctx, user.Draft{Email: "ada@example.com"}))(t)
			must(b.CreateInvites(ctx, user.InviteDraft{Email: "bob@example.com"}))(t)
			close(begun)
			time.Sleep(100 * time.Millisecond) // until they wait for this to end
			return nil
		}))
		wantErr(t, "the user", <-users, user.ErrEmailTaken)
		wantErr(t, "the invite", <-invites, user.ErrInviteExists)
	})
}
