package user_test

import (
	"context"
	"reflect"
	"slices"
	"testing"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

// becomeAdmin does what accepting a set-up link does.
func (b bench) becomeAdmin(ctx context.Context, i user.Invite, email string) error {
	return b.db.InTx(ctx, func(ctx context.Context) error {
		u, _, err := b.Ensure(ctx, user.Draft{Email: email, Roles: i.Roles})
		if err != nil {
			return err
		}
		return b.AcceptInvite(ctx, i, u.ID)
	})
}

func TestFirstAdminComesBySetupLinkAndNoSecond(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		made := must(b.SetupInvite(t.Context()))(t)
		i := must(b.ValidateInviteToken(t.Context(), b.InviteToken(made, user.ByHand)))(t)
		if !i.Setup() || i.Email != "" || !slices.Equal(i.Roles, []string{user.RoleAdmin}) || i.Channel != user.ByHand {
			t.Errorf("got %+v, want an invite without an address, to be an admin", i)
		}
		check(t, b.becomeAdmin(t.Context(), i, "ada@example.com"))
		if !must(b.AdminExists(t.Context()))(t) {
			t.Error("there is no admin")
		}
		wantErr(t, "again", b.becomeAdmin(t.Context(), i, "eve@example.com"), user.ErrInviteUsed)
		_, err := b.SetupInvite(t.Context())
		wantErr(t, "another link", err, user.ErrSetupDone)
		if got := b.emails(t); !slices.Equal(got, []string{"ada@example.com"}) {
			t.Errorf("users %v, want ada alone", got)
		}
	})
}

func TestSetupLinkIsNoUseOnceThereIsAnAdmin(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		i := must(b.SetupInvite(t.Context()))(t)
		ada := b.user(t, "ada@example.com", user.RoleAdmin)
		b.said.take()
		wantErr(t, "accept", b.becomeAdmin(t.Context(), i, "eve@example.com"), user.ErrSetupDone)
		if got := b.emails(t); !slices.Equal(got, []string{"ada@example.com"}) {
			t.Errorf("users %v, want ada alone", got)
		}
		b.wantSaid(t)
		b.byHand(t, ada.ID, "deactivated_at") // nobody can act as an admin now
		check(t, b.becomeAdmin(t.Context(), i, "eve@example.com"))
	})
}

func TestNewSetupLinkKillsTheOldOne(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		first, other := must(b.SetupInvite(t.Context()))(t), b.invite(t, "ada@example.com")
		second := must(b.SetupInvite(t.Context()))(t)
		if b.opens(t, first) == nil {
			t.Error("the first link is good still")
		}
		check(t, b.opens(t, second))
		check(t, b.opens(t, other))
		check(t, b.WithdrawSetup(t.Context()))
		wantErr(t, "the withdrawn link", b.opens(t, second), user.ErrInviteRevoked)
		wantErr(t, "accepting it", b.becomeAdmin(t.Context(), second, "eve@example.com"), user.ErrInviteRevoked)
		check(t, b.opens(t, other))
		check(t, b.WithdrawSetup(t.Context()))
		third := must(b.SetupInvite(t.Context()))(t)
		check(t, b.opens(t, third))
		if err := b.RestoreInvites(t.Context(), first.ID, second.ID); err == nil && b.opens(t, second) == nil {
			t.Error("a withdrawn link is good again beside the new one")
		}
		check(t, b.opens(t, third))
	})
}

func TestSetupLinkIsInNoList(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		i := must(b.SetupInvite(t.Context()))(t)
		for range 2 {
			for _, accepted := range []bool{false, true} {
				invites, n, err := b.ListAndCountInvites(t.Context(), user.InviteFilter{Accepted: accepted}, user.Page{})
				if err != nil || n != 0 || len(invites) != 0 {
					t.Errorf("accepted %t: %d of %d invites, %v, want none", accepted, len(invites), n, err)
				}
			}
			if i.Accepted {
				break
			}
			check(t, b.becomeAdmin(t.Context(), i, "ada@example.com"))
			i.Accepted = true
		}
	})
}

func TestOfManySetupLinksMadeAtOnceOneIsGood(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		links := make([]user.Invite, 20)
		for i, err := range databasetest.Together(len(links), func(i int) (err error) {
			links[i], err = b.SetupInvite(t.Context())
			return err
		}) {
			if err != nil {
				t.Errorf("start %d: %v", i, err)
			}
		}
		good := 0
		for _, i := range links {
			if b.opens(t, i) == nil {
				good++
			}
		}
		if good != 1 {
			t.Errorf("%d links are good, want one", good)
		}
		errs := databasetest.Together(len(links), func(n int) error {
			return b.becomeAdmin(t.Context(), links[n], numbered(len(links))[n])
		})
		won := slices.IndexFunc(errs, func(err error) bool { return err == nil })
		if won < 0 {
			t.Fatalf("nobody became an admin: %v", errs)
		}
		if got := b.emails(t); !reflect.DeepEqual(got, numbered(len(links))[won:won+1]) {
			t.Errorf("users %v, want one admin", got)
		}
	})
}
