package auth_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// lastVerification is the event of the newest request for the address, made of what is kept of it.
func (h house) lastVerification(t testing.TB, db *database.DB, s auth.Session, address string) auth.VerificationRequested {
	t.Helper()
	var id string
	must(t, db.Conn(t.Context()).NewSelect().Table("latchkey_verification").Column("id").
		Where("auth_identity_id = ?", s.IdentityID).Where("email = ?", address).Scan(t.Context(), &id))
	return auth.VerificationRequested{ID: id, IdentityID: s.IdentityID, EntityID: address, At: time.Now()}
}

// provesBy asks for the proof of an address, and returns the token that is mailed.
func (h house) provesBy(t testing.TB, db *database.DB, s auth.Session, address string) string {
	t.Helper()
	_, err := h.RequestVerification(t.Context(), s, auth.VerificationRequest{Email: address})
	must(t, err)
	made, err := h.CreateVerificationToken(t.Context(), h.lastVerification(t, db, s, address))
	must(t, err)
	return made.Token
}

// unseen is the proof of a registration that has looked at nothing.
func (h house) unseen(t testing.TB, address, password string) auth.Proof {
	t.Helper()
	p, ok, err := h.ProveRegistration(t.Context(), emailpass.Name, credentials(address, password))
	must(t, err)
	if !ok {
		t.Fatal("the mailbox cannot decide")
	}
	return p
}

// proved reports whether the identity has proved the address.
func (h house) proved(t testing.TB, id auth.IdentityID, address string) bool {
	t.Helper()
	i, err := h.RetrieveAuthIdentity(t.Context(), id)
	must(t, err)
	for _, p := range i.Providers {
		if p.Email == address && !p.EmailVerifiedAt.IsZero() {
			return true
		}
	}
	return false
}

func TestAVerificationIsBoundToWhoAskedAndDeadOnceAnythingMoves(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		for name, c := range map[string]struct {
			meanwhile func(t *testing.T, i auth.Identity, s auth.Session)
			want      error
		}{
			"nothing": {func(*testing.T, auth.Identity, auth.Session) {}, nil},
			"another session of the identity": {func(t *testing.T, i auth.Identity, _ auth.Session) {
				_, _, _ = h.open(t, i, "user")
			}, nil},
			"a newer one": {func(t *testing.T, _ auth.Identity, s auth.Session) {
				_, err := h.RequestVerification(t.Context(), s, auth.VerificationRequest{Email: "ada@example.com"})
				must(t, err)
			}, auth.ErrVerification},
			"a new password": {func(t *testing.T, _ auth.Identity, _ auth.Session) {
				h.reset(t, "ada@example.com", "battery staple")
			}, auth.ErrSession},
			"the end of all sessions": {func(t *testing.T, i auth.Identity, _ auth.Session) { must(t, h.Revoke(t.Context(), i.ID)) }, auth.ErrSession},
			"the end of the session": {func(t *testing.T, _ auth.Identity, s auth.Session) {
				must(t, h.EndSession(t.Context(), s.ID))
			}, auth.ErrSession},
			"its deletion": {func(t *testing.T, i auth.Identity, _ auth.Session) {
				must(t, h.DeleteAuthIdentities(t.Context(), i.ID))
			}, auth.ErrSession},
			"time": {func(t *testing.T, i auth.Identity, _ auth.Session) {
				must(t, h.db.InTx(t.Context(), func(ctx context.Context) error {
					_, err := h.db.Conn(ctx).NewUpdate().Table("latchkey_verification").Set("expires_at = ?", database.Now()).Where("auth_identity_id = ?", i.ID).Exec(ctx)
					return err
				}))
			}, auth.ErrVerification},
		} {
			t.Run(name, func(t *testing.T) {
				databasetest.Empty(t, h.db)
				ada, eve := h.register(t, "ada@example.com", "correct horse"), h.register(t, "eve@example.com", "correct horse")
				session, _, _ := h.open(t, ada, "user")
				eves, _, _ := h.open(t, eve, "user")
				token := h.provesBy(t, h.db, session, "ada@example.com")
				if _, err := h.ConfirmVerification(t.Context(), eves, token); !errors.Is(err, auth.ErrVerificationElsewhere) {
					t.Errorf("by somebody else: %v", err)
				}
				c.meanwhile(t, ada, session)
				v, err := h.ConfirmVerification(t.Context(), session, token)
				if !errors.Is(err, c.want) || (err == nil && v.VerifiedAt.IsZero()) {
					t.Errorf("confirmed: %+v, %v, want %v", v, err, c.want)
				}
				if name == "its deletion" {
					return
				}
				if got := h.proved(t, ada.ID, "ada@example.com"); got != (c.want == nil) {
					t.Errorf("the address is proved: %t", got)
				}
				if fresh, _, _ := h.open(t, mustSignIn(t, h, name), "user"); c.want != nil {
					if _, err := h.ConfirmVerification(t.Context(), fresh, token); !errors.Is(err, auth.ErrVerification) && name != "the end of the session" {
						t.Errorf("in a session of afterwards: %v", err)
					}
				}
			})
		}
	})
}

// mustSignIn signs Ada in by whichever password she has after what has happened.
func mustSignIn(t *testing.T, h house, what string) auth.Identity {
	t.Helper()
	password := "correct horse"
	if what == "a new password" {
		password = "battery staple"
	}
	i, err := h.signIn(t.Context(), "ada@example.com", password)
	must(t, err)
	return i
}

func TestNothingKeptOfAVerificationOrRegistrationCanBeReplayed(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		i, err := h.AdmitRegistration(t.Context(), h.unseen(t, "ada@example.com", "correct horse"))
		must(t, err)
		session, _, _ := h.open(t, i, "user")
		token := h.provesBy(t, h.db, session, "ada@example.com")
		for table, rows := range databasetest.Dump(t, h.db) {
			for _, row := range rows {
				if strings.Contains(row, token) || strings.Contains(row, "correct horse") {
					t.Errorf("%s holds the token or the password: %s", table, row)
				}
			}
		}
		for name, out := range map[string]any{"events": h.events.seen, "proof": h.unseen(t, "ada@example.com", "correct horse")} {
			for _, shown := range renderings(t, out) {
				if strings.Contains(shown, token) || strings.Contains(shown, "correct horse") || strings.Contains(shown, "$hb1$") {
					t.Errorf("%s: %s", name, shown)
				}
			}
		}
		// Nor is it a token for anything else, or anything else one for it.
		if _, _, err := h.CheckToken(t.Context(), token); !errors.Is(err, auth.ErrToken) {
			t.Errorf("as an access token: %v", err)
		}
		if _, err := h.CheckEmailChangeToken(t.Context(), session, token); !errors.Is(err, auth.ErrEmailChange) {
			t.Errorf("as the token of a change of address: %v", err)
		}
		if _, err := h.CheckPasswordResetToken(t.Context(), "user", emailpass.Name, token); !errors.Is(err, auth.ErrResetToken) {
			t.Errorf("as a reset token: %v", err)
		}
	})
}

func TestTheMailboxDecidesWhoARegistrationBecomes(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		register := func(password string) (auth.Session, string) {
			i, err := h.AdmitRegistration(t.Context(), h.unseen(t, "ada@example.com", password))
			must(t, err)
			session, _, _ := h.open(t, i, "user")
			return session, h.provesBy(t, h.db, session, "ada@example.com")
		}
		evil, _ := register("evil horse")
		mine, token := register("correct horse")
		again, second := register("another horse")
		for _, password := range []string{"evil horse", "correct horse", "another horse"} {
			if _, err := h.signIn(t.Context(), "ada@example.com", password); !errors.Is(err, auth.ErrInvalidCredentials) {
				t.Errorf("%s before the mailbox was proved: %v", password, err)
			}
		}
		if _, err := h.Admit(t.Context(), h.unseen(t, "ada@example.com", "evil horse")); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("admitted without the mailbox: %v", err)
		}
		if _, err := h.ConfirmVerification(t.Context(), evil, token); !errors.Is(err, auth.ErrVerificationElsewhere) {
			t.Errorf("the link of one in the session of another: %v", err)
		}
		_, err := h.ConfirmVerification(t.Context(), mine, token)
		must(t, err)
		if _, err := h.signIn(t.Context(), "ada@example.com", "correct horse"); err != nil || !h.proved(t, mine.IdentityID, "ada@example.com") {
			t.Errorf("afterwards: %v", err)
		}
		if _, err := h.ConfirmVerification(t.Context(), again, second); !errors.Is(err, auth.ErrRegistered) {
			t.Errorf("who comes second: %v", err)
		}
		_, err = h.RequestVerification(t.Context(), evil, auth.VerificationRequest{Email: "ada@example.com"})
		must(t, err)
		if _, err := h.CreateVerificationToken(t.Context(), h.lastVerification(t, h.db, evil, "ada@example.com")); !errors.Is(err, auth.ErrRegistered) {
			t.Errorf("the mail for who registers a known address: %v", err)
		}
		if _, err := h.signIn(t.Context(), "ada@example.com", "evil horse"); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("who else has registered: %v", err)
		}
	})
}

func TestOfFiftyConfirmationsAtOnceOneSucceeds(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		session, _, _ := h.open(t, h.register(t, "ada@example.com", "correct horse"), "user")
		token := h.provesBy(t, h.db, session, "ada@example.com")
		won := 0
		for _, err := range databasetest.Together(50, func(int) error {
			_, err := h.ConfirmVerification(t.Context(), session, token)
			return err
		}) {
			if err == nil {
				won++
			} else if !errors.Is(err, auth.ErrVerification) {
				t.Error(err)
			}
		}
		if won != 1 {
			t.Errorf("%d succeeded", won)
		}
	})
}
