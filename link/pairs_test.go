package link_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

// person is somebody at whom two kinds of act are aimed at once.
type person struct {
	email        string
	user         user.ID // empty: not linked
	session      auth.Session
	token, mail  string // of an invite to them
	identityID   auth.IdentityID
	anotherProof auth.Input
	change       auth.Proof // of a new password
	reset        string     // a token for one, as mailed
	way          string     // the password, beside which there is another way to sign in
	to, move     string     // another address that they have asked for, and the token that was mailed there
	verify       string     // the token that proves the address they have
}

// acts are all that can change what somebody is or how they sign in.
func (b bridge) acts() map[string]func(context.Context, person) error {
	purges := b.purging(0)
	return map[string]func(context.Context, person) error{
		"sign in": func(ctx context.Context, p person) error {
			_, err := b.signIn(ctx, "emailpass", credentials(p.email, "correct horse"))
			return err
		},
		"sign up": func(ctx context.Context, p person) error {
			_, err := b.link.SignUp(ctx, "user", "emailpass", credentials(p.email, "correct horse"), auth.Client{})
			return err
		},
		"sign in proved": func(ctx context.Context, p person) error {
			_, err := b.signIn(ctx, "vouching", p.anotherProof)
			return err
		},
		"delete":     func(ctx context.Context, p person) error { return b.users.SoftDeleteUsers(ctx, p.user) },
		"deactivate": func(ctx context.Context, p person) error { return b.users.DeactivateUsers(ctx, p.user) },
		"delete oneself": func(ctx context.Context, p person) error {
			_, err := b.link.DeleteOwnUser(ctx, p.session, auth.Input(`{"password":"correct horse"}`))
			return err
		},
		"make an admin": func(ctx context.Context, p person) error { return b.users.AddRoles(ctx, p.user, user.RoleAdmin) },
		"demote":        func(ctx context.Context, p person) error { return b.users.RemoveRoles(ctx, p.user, user.RoleAdmin) },
		"reset": func(ctx context.Context, p person) error {
			_, err := b.auth.Admit(ctx, p.change) // proved before, because hashing would have the other act over by then
			return err
		},
		"accept": func(ctx context.Context, p person) error {
			_, err := b.link.Accept(ctx, p.session, p.token, link.Acceptance{})
			return err
		},
		"accept mailed": func(ctx context.Context, p person) error {
			_, err := b.link.Accept(ctx, p.session, p.mail, link.Acceptance{})
			return err
		},
		"create": func(ctx context.Context, p person) error {
			_, err := b.link.CreateUser(ctx, "emailpass", credentials(p.email, "battery staple"), user.Draft{Email: p.email, Via: user.ViaCLI})
			return err
		},
		"ask for a token": func(ctx context.Context, p person) error {
			e, err := b.auth.RequestPasswordReset(ctx, auth.ResetRequest{Provider: "emailpass", EntityID: p.email, ActorType: "user"})
			if err == nil {
				_, err = b.auth.CreatePasswordResetToken(ctx, e, auth.ByHand)
			}
			return err
		},
		"reset by token": func(ctx context.Context, p person) error {
			return b.link.ResetPassword(ctx, "user", "emailpass", p.reset, auth.Input(`{"password":"battery staple"}`))
		},
		"change": func(ctx context.Context, p person) error {
			_, _, err := b.link.ChangePassword(ctx, p.session, "emailpass", auth.Input(`{"current_password":"correct horse","password":"battery staple"}`))
			return err
		},
		"unlink": func(ctx context.Context, p person) error { return b.auth.DeleteProviderIdentities(ctx, p.way) },
		"add a way": func(ctx context.Context, p person) error {
			_, err := b.link.LinkProvider(ctx, p.session, auth.Input(`{"password":"correct horse"}`), "vouching", p.anotherProof)
			return err
		},
		"give up a way": func(ctx context.Context, p person) error {
			_, _, err := b.link.UnlinkProvider(ctx, p.session, auth.Input(`{"password":"correct horse"}`), p.way)
			return err
		},
		"ask to move": func(ctx context.Context, p person) error {
			return b.link.RequestEmailChange(ctx, p.session, p.to, auth.Input(`{"password":"correct horse"}`))
		},
		"move": func(ctx context.Context, p person) error {
			_, _, _, err := b.link.ConfirmEmailChange(ctx, p.session, p.move)
			return err
		},
		"squat at the new address": func(ctx context.Context, p person) error {
			_, err := b.link.SignUp(ctx, "user", "emailpass", credentials(p.to, "another horse"), auth.Client{})
			if err == nil {
				_, err = b.signIn(ctx, "emailpass", credentials(p.to, "another horse"))
			}
			return err
		},
		"prove the new address": func(ctx context.Context, p person) error {
			_, err := b.signIn(ctx, "vouching", vouched(p.to, p.to, true))
			return err
		},
		"ask to verify": func(ctx context.Context, p person) error {
			_, err := b.link.RequestVerification(ctx, p.session, auth.VerificationRequest{Email: p.email})
			return err
		},
		"verify": func(ctx context.Context, p person) error {
			_, err := b.link.ConfirmVerification(ctx, p.session, p.verify)
			return err
		},
		"purge": func(ctx context.Context, p person) error {
			_, err := purges.PurgeUnlinked(ctx, 3)
			return err
		},
		"revoke": func(ctx context.Context, p person) error { return b.auth.Revoke(ctx, p.identityID) },
		"end sessions": func(ctx context.Context, p person) error {
			return b.auth.EndSessions(ctx, p.identityID, "", "")
		},
		"sign out": func(ctx context.Context, p person) error { return b.auth.EndSession(ctx, p.session.ID) },
		"set a cookie": func(ctx context.Context, p person) error {
			_, err := b.auth.SetCookie(ctx, p.session)
			return err
		},
		"sign out elsewhere": func(ctx context.Context, p person) error {
			_, _, err := b.auth.EndOtherSessions(ctx, p.session)
			return err
		},
		"sign everybody out": func(ctx context.Context, _ person) error {
			_, _, err := b.auth.EndEverySession(ctx)
			return err
		},
	}
}

// ofSomebody are acts that touch no link, so that who is not linked yet would show nothing new.
var ofSomebody = map[string]bool{
	"ask for a token": true, "reset by token": true, "change": true, "unlink": true, "make an admin": true, "demote": true, "delete oneself": true, "set a cookie": true,
}

// newPerson registers somebody, invites them, and signs them in if they are to be linked.
func (b bridge) newPerson(t *testing.T, email string, linked bool) person {
	t.Helper()
	l := b.signUp(t, email, "correct horse")
	invites, err := b.users.CreateInvites(t.Context(), user.InviteDraft{Email: email})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 { // in two browsers, of which they act in the latter
		if !linked {
			l = b.signUp(t, email, "correct horse")
		} else if l, err = b.signIn(t.Context(), "emailpass", credentials(email, "correct horse")); err != nil {
			t.Fatal(err)
		}
	}
	_, err = b.auth.CreateProviderIdentities(t.Context(), auth.ProviderIdentityDraft{IdentityID: l.Identity.ID, Provider: "vouching", EntityID: "spare " + email})
	if err != nil {
		t.Fatal(err)
	}
	change, err := b.auth.Prove(t.Context(), auth.Change, "emailpass", credentials(email, "battery staple"))
	if err != nil {
		t.Fatal(err)
	}
	asked, err := b.auth.RequestPasswordReset(t.Context(), auth.ResetRequest{Provider: "emailpass", EntityID: email, ActorType: "user"})
	if err != nil {
		t.Fatal(err)
	}
	reset, err := b.auth.CreatePasswordResetToken(t.Context(), asked, auth.ByMail)
	if err != nil {
		t.Fatal(err)
	}
	to := "new-" + email
	again, err := b.auth.ProveAgain(t.Context(), l.Session, auth.Input(`{"password":"correct horse"}`))
	if err != nil {
		t.Fatal(err)
	}
	wants, err := b.auth.RequestEmailChange(t.Context(), l.Session, again, email, to)
	if err != nil {
		t.Fatal(err)
	}
	move, err := b.auth.CreateEmailChangeToken(t.Context(), wants)
	if err != nil {
		t.Fatal(err)
	}
	_, err = b.auth.RequestVerification(t.Context(), l.Session, auth.VerificationRequest{Email: email})
	if err != nil {
		t.Fatal(err)
	}
	verify, err := b.auth.CreateVerificationToken(t.Context(), b.lastVerification(t, l.Session, email))
	if err != nil {
		t.Fatal(err)
	}
	return person{verify: verify.Token, email: email, user: user.ID(l.ActorID), session: l.Session, identityID: l.Identity.ID, anotherProof: vouched(email, email, true),
		change: change, reset: reset.Token, way: l.Identity.Providers[0].ID, to: to, move: move.Token,
		token: b.users.InviteToken(invites[0], user.ByHand), mail: b.users.InviteToken(invites[0], user.ByMail)}
}

func TestNoTwoActsAtOnceDeadlockOrLeaveAnythingHalfDone(t *testing.T) {
	each(t, func(t *testing.T, b bridge) {
		acts := b.acts()
		defer databasetest.WatchDeadlocks(t, b.db)()
		n := 0
		names := slices.Sorted(maps.Keys(acts))
		for i, first := range names {
			for j, second := range names[i:] {
				states := []bool{false, true}
				switch {
				case ofSomebody[first] || ofSomebody[second]:
					states = states[1:]
				case b.db.Dialect() == database.SQLite: // one writer at a time: every other round will do
					states = states[j%2:][:1]
				}
				for _, linked := range states {
					n++
					p := b.newPerson(t, fmt.Sprintf("person%d@example.com", n), linked)
					for i, err := range databasetest.Together(6, func(i int) error {
						ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
						if i >= 4 { // somebody hangs up somewhere inside
							ctx, cancel = context.WithTimeout(t.Context(), rand.N(10*time.Millisecond))
						}
						defer cancel()
						return acts[[]string{first, second}[i%2]](ctx, p)
					}) {
						// What is refused is refused as somebody's doing; who hangs up gets any error.
						if err != nil && i < 4 && fault.KindOf(err) == fault.Internal {
							t.Errorf("%s while %s, linked=%t: %v", first, second, linked, err)
						}
					}
				}
			}
		}
		b.wantWhole(t)
	})
}

// Where the number of sessions is bounded, who signs in locks the identity like who changes what it signs in with.
func TestSignInsWhoseNumberIsBoundedDeadlockWithNothing(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, user.Migrations(), auth.Migrations(), link.Migrations())
		b := newBridgeWith(t, db, link.ActorOptions{}, auth.Options{MaxSessions: 1})
		acts := b.acts()
		defer databasetest.WatchDeadlocks(t, b.db)()
		n := 0
		for _, first := range []string{"sign in", "sign in proved"} {
			for _, second := range slices.Sorted(maps.Keys(acts)) {
				n++
				p := b.newPerson(t, fmt.Sprintf("person%d@example.com", n), true)
				for _, err := range databasetest.Together(6, func(i int) error {
					return acts[[]string{first, second}[i%2]](t.Context(), p)
				}) {
					if err != nil && fault.KindOf(err) == fault.Internal {
						t.Errorf("%s while %s: %v", first, second, err)
					}
				}
				var most int
				err := b.db.Conn(t.Context()).NewRaw(`SELECT count(*) FROM latchkey_auth_session s JOIN latchkey_auth_identity a ON a.id = s.auth_identity_id AND a.ver = s.ver
					GROUP BY auth_identity_id ORDER BY 1 DESC LIMIT 1`).Scan(t.Context(), &most)
				if err != nil && !errors.Is(err, sql.ErrNoRows) || most > 1 {
					t.Errorf("%s while %s: somebody is signed in %d times, %v", first, second, most, err)
				}
			}
		}
		b.wantWhole(t)
	})
}

func TestAPasswordIsSetAnewAndUnlinkedAtOnceWithoutADeadlock(t *testing.T) {
	each(t, func(t *testing.T, b bridge) {
		acts := b.acts()
		defer databasetest.WatchDeadlocks(t, b.db)()
		for n := range 40 { // with these two alone they meet every few rounds
			p := b.newPerson(t, fmt.Sprintf("person%d@example.com", n), true)
			for i, err := range databasetest.Together(2, func(i int) error { return acts[[]string{"reset", "unlink"}[i]](t.Context(), p) }) {
				if err != nil && (i == 1 || !errors.Is(err, auth.ErrInvalidCredentials)) {
					t.Errorf("round %d: %v", n, err)
				}
			}
		}
		b.wantWhole(t)
	})
}

// wantWhole checks what must hold of the rows whatever has happened.
func (b bridge) wantWhole(t *testing.T) {
	t.Helper()
	for what, rows := range map[string]string{
		"links of no identity":       `latchkey_link l WHERE NOT EXISTS (SELECT 1 FROM latchkey_auth_identity a WHERE a.id = l.auth_identity_id)`,
		"links to no user":           `latchkey_link l WHERE NOT EXISTS (SELECT 1 FROM latchkey_user u WHERE u.id = l.actor_id AND u.deleted_at IS NULL)`,
		"identities without a way":   `latchkey_auth_identity a WHERE NOT EXISTS (SELECT 1 FROM latchkey_provider_identity p WHERE p.auth_identity_id = a.id)`,
		"ways of no identity":        `latchkey_provider_identity p WHERE NOT EXISTS (SELECT 1 FROM latchkey_auth_identity a WHERE a.id = p.auth_identity_id)`,
		"users nobody signs in to":   `latchkey_user u WHERE deleted_at IS NULL AND NOT EXISTS (SELECT 1 FROM latchkey_link l WHERE l.actor_id = u.id)`,
		"invites accepted by no one": `latchkey_invite i WHERE accepted AND NOT EXISTS (SELECT 1 FROM latchkey_user u WHERE u.id = i.accepted_by)`,
		"tokens for no way":          `latchkey_one_time_token t WHERE NOT EXISTS (SELECT 1 FROM latchkey_provider_identity p WHERE p.id = t.provider_identity_id)`,
		"changes for no identity":    `latchkey_email_change c WHERE NOT EXISTS (SELECT 1 FROM latchkey_auth_identity a WHERE a.id = c.auth_identity_id)`,
		"users who sign in by the address that somebody else has": `latchkey_user u JOIN latchkey_link l ON l.actor_id = u.id
			JOIN latchkey_provider_identity p ON p.auth_identity_id = l.auth_identity_id AND p.provider = 'emailpass'
			JOIN latchkey_user o ON o.email = p.entity_id AND o.id <> u.id AND o.deleted_at IS NULL WHERE u.deleted_at IS NULL`,
		"live sessions of the deactivated": `latchkey_auth_session s JOIN latchkey_auth_identity a ON a.id = s.auth_identity_id AND a.ver = s.ver
			JOIN latchkey_link l ON l.auth_identity_id = a.id JOIN latchkey_user u ON u.id = l.actor_id WHERE u.deactivated_at IS NOT NULL`,
	} {
		var n int
		if err := b.db.Conn(t.Context()).NewRaw("SELECT count(*) FROM "+rows).Scan(t.Context(), &n); err != nil {
			t.Fatal(err)
		}
		if n != 0 {
			t.Errorf("%d %s", n, what)
		}
	}
}

func TestADeactivationWinsAgainstReclaiming(t *testing.T) {
	each(t, func(t *testing.T, b bridge) {
		b.signUp(t, "ada@example.com", "correct horse")
		l, err := b.signIn(t.Context(), "emailpass", credentials("ada@example.com", "correct horse"))
		if err != nil {
			t.Fatal(err)
		}
		claimed := make(chan error, 1)
		err = b.db.InTx(t.Context(), func(ctx context.Context) error {
			if err := b.users.DeactivateUsers(ctx, user.ID(l.ActorID)); err != nil {
				return err
			}
			go func() {
				_, err := b.signIn(t.Context(), "vouching", vouched("ada", "ada@example.com", true))
				claimed <- err
			}()
			time.Sleep(300 * time.Millisecond) // by now it waits for the row, or on SQLite for its turn
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if err := <-claimed; !errors.Is(err, link.ErrDeactivated) {
			t.Errorf("reclaim: %v, want ErrDeactivated", err)
		}
		b.wantWhole(t)
	})
}

func TestReclaimingDropsRolesThatNobodyGrantedToTheAddress(t *testing.T) {
	each(t, func(t *testing.T, b bridge) {
		setup, err := b.users.SetupInvite(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		typo := b.signUp(t, "root@exmaple.com", "correct horse")
		first, err := b.link.Accept(t.Context(), typo.Session, b.users.InviteToken(setup, user.ByHand), link.Acceptance{})
		if err != nil || !first.HasRole(user.RoleAdmin) {
			t.Fatalf("the set-up link: %v, %v", first.Roles, err)
		}
		owner, err := b.signIn(t.Context(), "vouching", vouched("mallory", "root@exmaple.com", true))
		if err != nil || user.ID(owner.ActorID) != first.ID {
			t.Fatalf("the owner of the mailbox: %v, %v", owner.ActorID, err)
		}
		if u, err := b.users.RetrieveUser(t.Context(), first.ID); err != nil || u.HasRole(user.RoleAdmin) {
			t.Errorf("the roles are %v, %v: the set-up link was not for whoever owns that mailbox", u.Roles, err)
		}

		// An invite to the address is a grant to it.
		b.signUp(t, "grace@example.com", "correct horse")
		grace, err := b.signIn(t.Context(), "emailpass", credentials("grace@example.com", "correct horse"))
		if err != nil {
			t.Fatal(err)
		}
		invites, err := b.users.CreateInvites(t.Context(), user.InviteDraft{Email: "grace@example.com", Roles: []string{"editor"}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := b.link.Accept(t.Context(), grace.Session, b.users.InviteToken(invites[0], user.ByHand), link.Acceptance{}); err != nil {
			t.Fatal(err)
		}
		if _, err := b.signIn(t.Context(), "vouching", vouched("grace", "grace@example.com", true)); err != nil {
			t.Fatal(err)
		}
		if u, err := b.users.RetrieveUser(t.Context(), user.ID(grace.ActorID)); err != nil || !u.HasRole("editor") || !u.HasRole(user.RoleMember) {
			t.Errorf("the roles are %v, %v, want editor and member", u.Roles, err)
		}
	})
}

func TestWhatAProviderSaysOfSomebodyDoesNotKeepThemOut(t *testing.T) {
	each(t, func(t *testing.T, b bridge) {
		long := make([]byte, 20<<10)
		for i := range long {
			long[i] = 'x'
		}
		for name, profile := range map[string]auth.Profile{
			"long":        {Email: "long@example.com", Name: string(long), FirstName: string(long), AvatarURL: string(long), Metadata: map[string]any{"about": string(long)}},
			"nul":         {Email: "nul@example.com", FirstName: "A\x00da", LastName: "\xff", Metadata: map[string]any{"a\x00": "b\x00"}},
			"unspeakable": {Email: "unspeakable@example.com", Metadata: map[string]any{"f": func() {}}},
		} {
			saying.Store(name, profile)
			for range 2 {
				if l, err := b.signIn(t.Context(), "vouching", auth.Input(fmt.Sprintf(`{"name":%q}`, name))); err != nil || l.ActorID == "" {
					t.Errorf("%s: %q, %v", name, l.ActorID, err)
				}
			}
		}
	})
}

// lastVerification is the event of the newest request to prove the address, made of what is kept of it.
func (b bridge) lastVerification(t *testing.T, s auth.Session, address string) auth.VerificationRequested {
	t.Helper()
	var id string
	err := b.db.Conn(t.Context()).NewSelect().Table("latchkey_verification").Column("id").
		Where("auth_identity_id = ?", s.IdentityID).Where("email = ?", address).Scan(t.Context(), &id)
	if err != nil {
		t.Fatal(err)
	}
	return auth.VerificationRequested{ID: id, IdentityID: s.IdentityID, EntityID: address, At: time.Now()}
}
