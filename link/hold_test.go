package link_test

import (
	"fmt"
	"testing"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

func TestAMailedTokenProvesTheAddressOfAUserWhoComesToBeAtTheSameMoment(t *testing.T) {
	each(t, func(t *testing.T, b bridge) {
		for n := range 15 {
			who := fmt.Sprintf("person%d@example.com", n)
			b.signUp(t, who, "correct horse")
			asked, err := b.auth.RequestPasswordReset(t.Context(), auth.ResetRequest{Provider: emailpass.Name, EntityID: who, ActorType: link.ActorUser})
			if err != nil {
				t.Fatal(err)
			}
			made, err := b.auth.CreatePasswordResetToken(t.Context(), asked, auth.ByMail)
			if err != nil {
				t.Fatal(err)
			}
			errs := databasetest.Together(8, func(i int) error {
				if i == 0 {
					return b.link.ResetPassword(t.Context(), link.ActorUser, emailpass.Name, made.Token, auth.Input(`{"password":"battery staple"}`))
				}
				_, _ = b.signIn(t.Context(), emailpass.Name, credentials(who, "correct horse")) // in time, or too late
				return nil
			})
			if errs[0] != nil {
				t.Fatal(errs[0])
			}
			if l, err := b.signIn(t.Context(), emailpass.Name, credentials(who, "battery staple")); err != nil || l.Identity.ID == "" {
				t.Fatalf("sign in by the new password: %v", err)
			}
			users, err := b.users.ListUsers(t.Context(), user.Filter{Emails: []string{who}}, user.Page{})
			if err != nil {
				t.Fatal(err)
			}
			if len(users) != 1 || !users[0].EmailVerified() {
				t.Errorf("%s: %+v, want one user who has proved the address", who, users)
			}
		}
	})
}
