package link_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// moving makes a user who has asked for another address, and returns their session and the token that was mailed there.
func (b bridge) moving(t *testing.T, from, to string) (auth.Session, string) {
	t.Helper()
	l := b.signUp(t, from, "correct horse")
	invites, err := b.users.CreateInvites(t.Context(), user.InviteDraft{Email: from, Roles: []string{}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.link.Accept(t.Context(), l.Session, b.users.InviteToken(invites[0], user.ByHand), link.Acceptance{}); err != nil {
		t.Fatal(err)
	}
	again, err := b.auth.ProveAgain(t.Context(), l.Session, auth.Input(`{"password":"correct horse"}`))
	if err != nil {
		t.Fatal(err)
	}
	e, err := b.auth.RequestEmailChange(t.Context(), l.Session, again, from, to)
	if err != nil {
		t.Fatal(err)
	}
	made, err := b.auth.CreateEmailChangeToken(t.Context(), e)
	if err != nil {
		t.Fatal(err)
	}
	return l.Session, made.Token
}

// Who proves a mailbox may be nobody's user yet.
func TestAnAddressThatANewcomerHasProvedIsOutOfReachOfAPendingChange(t *testing.T) {
	eachWith(t, link.ActorOptions{Policy: link.Manual{}}, func(t *testing.T, b bridge) {
		for name, proves := range map[string]func(t *testing.T, address string) error{
			"by a provider": func(t *testing.T, address string) error {
				l, err := b.signIn(t.Context(), "vouching", vouched(address, address, true))
				if l.ActorID != "" {
					t.Errorf("they are %s", l.ActorID)
				}
				return err
			},
			"by a reset": func(t *testing.T, address string) error {
				b.signUp(t, address, "another horse")
				e, err := b.auth.RequestPasswordReset(t.Context(), auth.ResetRequest{Provider: "emailpass", EntityID: address, ActorType: "user"})
				if err != nil {
					return err
				}
				made, err := b.auth.CreatePasswordResetToken(t.Context(), e, auth.ByMail)
				if err != nil {
					return err
				}
				return b.link.ResetPassword(t.Context(), "user", "emailpass", made.Token, auth.Input(`{"password":"battery staple"}`))
			},
		} {
			t.Run(name, func(t *testing.T) {
				address := strings.ReplaceAll(name, " ", "-") + "@example.com"
				session, token := b.moving(t, "from-"+address, address)
				if _, err := b.link.CheckEmailChangeToken(t.Context(), session, token); err != nil {
					t.Fatal(err)
				}
				if err := proves(t, address); err != nil {
					t.Fatal(err)
				}
				if _, _, _, err := b.link.ConfirmEmailChange(t.Context(), session, token); !errors.Is(err, auth.ErrEmailChange) {
					t.Errorf("%v, want the change called off", err)
				}
			})
		}
		b.wantWhole(t)
	})
}

func TestAnAddressThatTheAppGivesAUserVoidsWhatTheyHaveAskedFor(t *testing.T) {
	each(t, func(t *testing.T, b bridge) {
		session, token := b.moving(t, "ada@example.com", "new@example.com")
		id, err := b.link.Actor(t.Context(), session)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.users.ChangeEmail(t.Context(), user.ID(id), "ada@example.com", "given@example.com"); err != nil {
			t.Fatal(err)
		}
		if _, _, _, err := b.link.ConfirmEmailChange(t.Context(), session, token); !errors.Is(err, user.ErrEmailMoved) {
			t.Errorf("%v, want the change refused: it was asked for as who has another address", err)
		}
		if u, err := b.users.RetrieveUser(t.Context(), user.ID(id)); err != nil || u.Email != "given@example.com" {
			t.Errorf("the address is %s, %v", u.Email, err)
		}
		// Nor can a session that is nobody's ask for anything.
		stranger := b.signUp(t, "nina@example.com", "correct horse")
		if err := b.link.RequestEmailChange(t.Context(), stranger.Session, "eve@example.com", auth.Input(`{"password":"correct horse"}`)); !errors.Is(err, auth.ErrSession) {
			t.Errorf("asked for by nobody: %v", err)
		}
	})
}
