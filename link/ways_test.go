package link_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

// account is somebody who signs in by vouching, at an address that is proved.
func (b bridge) account(t testing.TB, name string) link.Login {
	t.Helper()
	l, err := b.signIn(t.Context(), "vouching", vouched(name, name+"@example.com", true))
	if err != nil || l.ActorID == "" {
		t.Fatalf("%s signs in: %+v, %v", name, l, err)
	}
	return l
}

// proves is the proof of a way to sign in, as a provider of two steps has it in the end.
func (b bridge) proves(t testing.TB, name, email string, verified bool) auth.Proof {
	t.Helper()
	p, err := b.auth.Prove(t.Context(), auth.SignIn, "vouching", vouched(name, email, verified))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func (b bridge) again(t testing.TB, session auth.Session) auth.Proof {
	t.Helper()
	p, err := b.auth.ProveAgain(t.Context(), session, nil)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAFinishedProofIsLinkedForWhoHasProvedThemselvesAgain(t *testing.T) {
	each(t, func(t *testing.T, b bridge) {
		ada, grace := b.account(t, "ada"), b.account(t, "grace")
		again, elses := b.again(t, ada.Session), b.again(t, grace.Session)
		signIn, err := b.auth.Prove(t.Context(), auth.SignIn, "vouching", vouched("ada", "ada@example.com", true))
		if err != nil {
			t.Fatal(err)
		}
		p := b.proves(t, "second", "", false)
		for name, other := range map[string]auth.Proof{"none": {}, "one of another session": elses, "one that is no proof anew": signIn} {
			if _, err := b.link.LinkProof(t.Context(), ada.Session, other, p); !errors.Is(err, auth.ErrInvalidCredentials) {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := b.link.LinkProof(t.Context(), ada.Session, again, auth.Proof{}); !errors.Is(err, link.ErrProvider) {
			t.Errorf("nothing proved: %v", err)
		}
		way, err := b.link.LinkProof(t.Context(), ada.Session, again, p)
		if err != nil || way.EntityID != "second" || way.IdentityID != ada.Identity.ID {
			t.Fatalf("link: %+v, %v", way, err)
		}
		if same, err := b.link.LinkProof(t.Context(), ada.Session, again, p); err != nil || same.ID != way.ID {
			t.Errorf("once more: %+v, %v", same, err)
		}
		if _, err := b.link.LinkProof(t.Context(), grace.Session, elses, p); !errors.Is(err, link.ErrLinked) && !errors.Is(err, auth.ErrProofOutdated) {
			t.Errorf("to somebody else: %v", err)
		}

		// What was proved before the credentials changed is worth nothing.
		late := b.proves(t, "late", "", false)
		if err := b.auth.Revoke(t.Context(), ada.Identity.ID); err != nil {
			t.Fatal(err)
		}
		if _, err := b.link.LinkProof(t.Context(), ada.Session, again, late); !errors.Is(err, auth.ErrSession) {
			t.Errorf("in a session that has ended: %v", err)
		}
		b.wantWhole(t)
	})
}

// A way of nobody's that is made an actor while it is linked has one owner in the end, by whichever proof.
func TestAProofOfAWayThatBecomesSomebodysIsRefused(t *testing.T) {
	each(t, func(t *testing.T, b bridge) {
		ada := b.account(t, "ada")
		if l, err := b.signIn(t.Context(), "vouching", vouched("stray", "", false)); err != nil || l.ActorID != "" {
			t.Fatalf("let in as nobody: %+v, %v", l, err)
		}
		p, again := b.proves(t, "stray", "", false), b.again(t, ada.Session)
		stray, err := b.signIn(t.Context(), "vouching", vouched("stray", "stray@example.com", true))
		if err != nil || stray.ActorID == "" {
			t.Fatalf("becomes somebody: %+v, %v", stray, err)
		}
		if _, err := b.link.LinkProof(t.Context(), ada.Session, again, p); !errors.Is(err, link.ErrLinked) {
			t.Errorf("link: %v", err)
		}
		// Only what was proved moves: not what else was nobody's.
		if l, err := b.signIn(t.Context(), "vouching", vouched("two", "", false)); err != nil {
			t.Fatal(err)
		} else if _, err := b.auth.CreateProviderIdentities(t.Context(), auth.ProviderIdentityDraft{IdentityID: l.Identity.ID, Provider: "vouching", EntityID: "three"}); err != nil {
			t.Fatal(err)
		} else if _, err := b.link.LinkProof(t.Context(), ada.Session, again, b.proves(t, "two", "", false)); err != nil {
			t.Fatal(err)
		} else if err := b.auth.RecheckSession(t.Context(), l.Session.ID); !errors.Is(err, auth.ErrSession) {
			t.Errorf("the session of who it was taken from: %v", err)
		}
		if l, err := b.signIn(t.Context(), "vouching", vouched("three", "", false)); err != nil || l.ActorID != "" {
			t.Errorf("what else there was signs in %+v, %v", l.ActorID, err)
		}
		b.wantWhole(t)
	})
}

func TestManyWhoLinkTheSameWaysToTwoAccountsDeadlockWithNothing(t *testing.T) {
	each(t, func(t *testing.T, b bridge) {
		defer databasetest.WatchDeadlocks(t, b.db)()
		for round := range 8 {
			ada, grace := b.account(t, fmt.Sprintf("ada%d", round)), b.account(t, fmt.Sprintf("grace%d", round))
			names := []string{fmt.Sprintf("x%d", round), fmt.Sprintf("y%d", round)}
			for _, name := range names {
				if _, err := b.signIn(t.Context(), "vouching", vouched(name, "", false)); err != nil {
					t.Fatal(err)
				}
			}
			for i, err := range databasetest.Together(12, func(i int) error {
				session := []auth.Session{ada.Session, grace.Session}[i%2]
				if i >= 10 {
					_, err := b.signIn(t.Context(), "vouching", vouched(names[i%2], fmt.Sprintf("late%d@example.com", round), true))
					return err
				}
				_, err := b.link.LinkProvider(t.Context(), session, nil, "vouching", vouched(names[i/2%2], "", false))
				return err
			}) {
				if err != nil && !errors.Is(err, link.ErrLinked) {
					t.Errorf("round %d, caller %d: %v", round, i, err)
				}
			}
		}
		b.wantWhole(t)
	})
}

// A session that was stolen before the owner set the password anew leaves nothing behind.
func TestAWayIsNotAddedBehindTheResetThatTakesTheOthersAway(t *testing.T) {
	each(t, func(t *testing.T, b bridge) {
		for round := range 10 {
			address := fmt.Sprintf("ada%d@example.com", round)
			b.signUp(t, address, "correct horse")
			l, err := b.signIn(t.Context(), "emailpass", credentials(address, "correct horse"))
			if err != nil {
				t.Fatal(err)
			}
			if err := b.users.VerifyEmail(t.Context(), user.ID(l.ActorID), address); err != nil { // the account's; the way's is not
				t.Fatal(err)
			}
			asked, err := b.auth.RequestPasswordReset(t.Context(), auth.ResetRequest{Provider: "emailpass", EntityID: address, ActorType: "user"})
			if err != nil {
				t.Fatal(err)
			}
			token, err := b.auth.CreatePasswordResetToken(t.Context(), asked, auth.ByMail)
			if err != nil {
				t.Fatal(err)
			}
			databasetest.Together(4, func(i int) error {
				if i == 0 {
					return b.link.ResetPassword(t.Context(), "user", "emailpass", token.Token, auth.Input(`{"password":"battery staple"}`))
				}
				_, err := b.link.LinkProvider(t.Context(), l.Session, auth.Input(`{"password":"correct horse"}`), "vouching", vouched(fmt.Sprintf("trojan%d", round), "", false))
				return err
			})
			if ways, err := b.link.AuthProviders(t.Context(), user.ID(l.ActorID)); err != nil || len(ways) != 1 || ways[0] != "emailpass" {
				t.Errorf("round %d: %v, %v", round, ways, err)
			}
		}
		b.wantWhole(t)
	})
}

func TestNewWantsProvidersThatCanVouchForWhoIsMade(t *testing.T) {
	db := databasetest.SQLite(t).Open(t, user.Migrations(), auth.Migrations(), link.Migrations())
	b := newBridge(t, db, link.ActorOptions{})
	for by, want := range map[string]string{"nope": "there is no such provider", "vouching": "may not use", "emailpass": "vouches for nobody"} {
		_, err := link.New(link.Params{DB: db, Users: b.users, Auth: b.auth, Options: link.Options{
			Actors: map[string]link.ActorOptions{link.ActorUser: {Providers: []string{"emailpass"}, CreateProviders: []string{by}}},
		}})
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", by, err, want)
		}
	}
}

// Where customers have a password and users do not, whoever has the password adds nothing by which they would be the user.
func TestAWayIsNotAddedByWhatDoesNotOpenAllThatItOpens(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, user.Migrations(), auth.Migrations(), link.Migrations(), customersTable)
		s := shop{newBridge(t, db, link.ActorOptions{}), &customers{db: db}}
		l, err := link.New(link.Params{DB: db, Users: s.users, Auth: s.auth, Actors: []link.Actors{known{s.customers}},
			Options: link.Options{Actors: map[string]link.ActorOptions{link.ActorUser: {Providers: []string{"vouching"}}}}})
		if err != nil {
			t.Fatal(err)
		}
		s.link = l
		ada, password := vouched("ada", "ada@example.com", true), credentials("ada@example.com", "correct horse")
		asUser, asCustomer := s.as(t, "user", "vouching", ada), s.as(t, "customer", "vouching", ada)
		if _, err := s.link.LinkProvider(t.Context(), asCustomer.Session, nil, "emailpass", password); err != nil { // which opens the customer alone
			t.Fatal(err)
		}
		again, mallory := auth.Input(`{"password":"correct horse"}`), vouched("mallory", "mallory@example.com", true)
		weak := s.as(t, "customer", "emailpass", password)
		if _, err := s.link.LinkProvider(t.Context(), weak.Session, again, "vouching", mallory); !errors.Is(err, link.ErrProvider) {
			t.Errorf("in a session by the password: %v", err)
		}
		if l := s.as(t, "user", "vouching", mallory); l.ActorID == asUser.ActorID {
			t.Error("who has the password is the user")
		}
		for what, session := range map[string]auth.Session{"as a user": asUser.Session, "as a customer, by what opens the user": asCustomer.Session} {
			if _, err := s.link.LinkProvider(t.Context(), session, again, "vouching", vouched(what, "", false)); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
	})
}
