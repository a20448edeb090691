package auth_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

func TestNothingProvedAdmitsNobody(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		h.register(t, "ada@example.com", "correct horse")
		failed, err := h.Prove(t.Context(), auth.SignIn, emailpass.Name, credentials("ada@example.com", "wrong horse"))
		if err == nil {
			t.Fatal("the wrong password is proved")
		}
		for name, proof := range map[string]auth.Proof{"the zero proof": {}, "a failed one": failed} {
			if i, err := h.Admit(t.Context(), proof); !errors.Is(err, auth.ErrInvalidCredentials) || i.ID != "" {
				t.Errorf("%s admits %q: %v", name, i.ID, err)
			}
		}
	})
}

func TestWhatIsCommittedBetweenProveAndAdmitWins(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		n := 0
		for what, between := range map[string]func(email string, ada auth.IdentityID){
			"a reset":             func(email string, _ auth.IdentityID) { h.reset(t, email, "battery staple") },
			"a reset to the same": func(email string, _ auth.IdentityID) { h.reset(t, email, "correct horse") },
			"a deletion":          func(_ string, ada auth.IdentityID) { must(t, h.DeleteAuthIdentities(t.Context(), ada)) },
			"a revocation":        func(_ string, ada auth.IdentityID) { must(t, h.Revoke(t.Context(), ada)) },
			"a deletion and another Ada's registration": func(email string, ada auth.IdentityID) {
				must(t, h.DeleteAuthIdentities(t.Context(), ada))
				h.register(t, email, "somebody else's")
			},
		} {
			for action, password := range map[auth.Action]string{auth.SignIn: "correct horse", auth.SignUp: "correct horse", auth.Change: "the intruder's"} {
				n++
				email := fmt.Sprintf("ada%d@example.com", n)
				ada := h.register(t, email, "correct horse")
				proof := h.prove(t, action, email, password)
				between(email, ada.ID)
				if i, err := h.Admit(t.Context(), proof); !errors.Is(err, auth.ErrInvalidCredentials) {
					t.Errorf("%s: the proof of before, for action %d, admits %q: %v", what, action, i.ID, err)
				}
				if _, err := h.signIn(t.Context(), email, "the intruder's"); err == nil {
					t.Errorf("%s: the proof of before has set its password", what)
				}
			}
		}
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// once does something after the first statement that has the text.
type once struct {
	text string
	does func()
	over *atomic.Bool
}

func (once) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context { return ctx }

func (o once) AfterQuery(_ context.Context, e *bun.QueryEvent) {
	if strings.Contains(e.Query, o.text) && o.over.CompareAndSwap(false, true) {
		o.does()
	}
}

// Where two requests at once need not see each other, what ends the sessions may be committed after the proof was found to be
// good, and before the rest is read. On SQLite one of the two waits.
func TestASessionByAProofThatIsOutdatedWhileItIsAdmittedIsBornDead(t *testing.T) {
	at := databasetest.Postgres(t)
	h := newHouse(t, at.Open(t, auth.Migrations()), auth.Options{})
	elsewhere := newHouse(t, at.Open(t), auth.Options{})
	ada := h.register(t, "ada@example.com", "correct horse")
	proof := h.prove(t, auth.SignIn, "ada@example.com", "correct horse")
	o := once{"FOR KEY SHARE OF", func() { must(t, elsewhere.Revoke(t.Context(), ada.ID)) }, new(atomic.Bool)}
	var session auth.Session
	must(t, h.db.InTx(t.Context(), func(ctx context.Context) error {
		h.db.Conn(ctx).NewSelect().DB().AddQueryHook(o)
		i, err := h.Admit(ctx, proof)
		if err == nil {
			session, err = h.OpenSession(ctx, i, "user", auth.Client{})
		}
		return err
	}))
	if !o.over.Load() {
		t.Fatal("nothing happened meanwhile")
	}
	if err := h.RecheckSession(t.Context(), session.ID); !errors.Is(err, auth.ErrSession) {
		t.Errorf("the session of before lives: %v", err)
	}
}

// An identity that was admitted before the credentials were set anew opens no door after it.
func TestASessionOfAnIdentityThatWasRevokedMeanwhileIsBornDead(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		must(t, h.Revoke(t.Context(), ada.ID))
		session, err := h.OpenSession(t.Context(), ada, "user", auth.Client{})
		if err != nil {
			t.Fatal(err)
		}
		token, err := h.Token(session, ada, auth.Actor{})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := h.CheckToken(t.Context(), token); !errors.Is(err, auth.ErrSession) {
			t.Errorf("its token: %v, want ErrSession", err)
		}
		cookie, err := h.SetCookie(t.Context(), session)
		if err == nil {
			_, err = h.CheckCookie(t.Context(), cookie)
		}
		if !errors.Is(err, auth.ErrSession) {
			t.Errorf("its cookie: %v, want ErrSession", err)
		}
		must(t, h.db.InTx(t.Context(), func(ctx context.Context) error {
			if err := h.HoldSession(ctx, session); !errors.Is(err, auth.ErrSession) {
				t.Errorf("hold: %v, want ErrSession", err)
			}
			return nil
		}))
	})
}

func TestOfTwoChangesOfOneBasisOneWins(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		h.register(t, "ada@example.com", "correct horse")
		first := h.prove(t, auth.Change, "ada@example.com", "first choice")
		second := h.prove(t, auth.Change, "ada@example.com", "second choice")
		if _, err := h.Admit(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		if _, err := h.Admit(t.Context(), second); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("the second: %v, want a refusal", err)
		}
		if _, err := h.signIn(t.Context(), "ada@example.com", "first choice"); err != nil {
			t.Errorf("the winner's password: %v", err)
		}
	})
}

func TestOfManyChangesAtOnceOneThatSucceededIsTheLast(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		h.register(t, "ada@example.com", "correct horse")
		choice := func(i int) string { return fmt.Sprintf("choice number %d", i) }
		errs := databasetest.Together(10, func(i int) error {
			_, err := h.UpdateProvider(t.Context(), emailpass.Name, credentials("ada@example.com", choice(i)))
			return err
		})
		var fits []int
		for i, err := range errs {
			if err != nil && !errors.Is(err, auth.ErrInvalidCredentials) {
				t.Errorf("change %d: %v", i, err)
			}
			if _, wrong := h.signIn(t.Context(), "ada@example.com", choice(i)); wrong == nil {
				fits = append(fits, i)
			}
		}
		if len(fits) != 1 || errs[fits[0]] != nil {
			t.Errorf("the passwords of %v fit, of the answers %v: want one, and its change to have succeeded", fits, errs)
		}
	})
}

func TestManyRegistrationsOfOneAddressMakeOneIdentity(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		made := make([]auth.Identity, 50)
		winners := 0
		for i, err := range databasetest.Together(len(made), func(i int) (err error) {
			made[i], err = h.Register(t.Context(), emailpass.Name, credentials("ada@example.com", fmt.Sprintf("choice number %d", i)))
			return err
		}) {
			switch {
			case err == nil:
				winners++
			case !errors.Is(err, auth.ErrIdentityExists) || err.Error() != "Identity with email already exists":
				t.Errorf("registration %d: %v, want exactly ErrIdentityExists", i, err)
			}
		}
		if n := h.count(t, "auth_identity"); winners != 1 || n != 1 || h.count(t, "provider_identity") != 1 {
			t.Errorf("%d registrations succeeded, %d identities: want one of each", winners, n)
		}
	})
}

func TestManyRegistrationsWithOnePasswordAllSucceed(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		made := make([]auth.Identity, 50)
		created := 0
		for i, err := range databasetest.Together(len(made), func(i int) (err error) {
			made[i], err = h.Register(t.Context(), emailpass.Name, credentials("ada@example.com", "correct horse"))
			return err
		}) {
			if err != nil || made[i].ID != made[0].ID {
				t.Errorf("registration %d: identity %s, %v; want %s", i, made[i].ID, err, made[0].ID)
			}
			if made[i].Proved.Created {
				created++
			}
		}
		if n := h.count(t, "auth_identity"); n != 1 || created != 1 {
			t.Errorf("%d identities, %d of the answers say that it is new: want one of each", n, created)
		}
	})
}

func TestManyFirstSignInsMakeOneIdentity(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		seen := make([]auth.IdentityID, 50)
		for i, err := range databasetest.Together(len(seen), func(i int) error {
			ada, err := h.Authenticate(t.Context(), "vouching", input("name", "ada", "email", "ada@example.com", "verified", i%2 == 0))
			seen[i] = ada.ID
			return err
		}) {
			if err != nil || seen[i] != seen[0] {
				t.Errorf("sign-in %d: identity %s, %v; want %s", i, seen[i], err, seen[0])
			}
		}
		if n := h.count(t, "auth_identity"); n != 1 {
			t.Errorf("%d identities, want one", n)
		}
	})
}

func TestAProofIsAdmittedTogetherWithTheRestOrNotAtAll(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		proof := h.prove(t, auth.SignUp, "ada@example.com", "correct horse")
		broken := errors.New("the app's own rows failed")
		err := h.db.InTx(t.Context(), func(ctx context.Context) error {
			if _, err := h.Admit(ctx, proof); err != nil {
				return err
			}
			return broken
		})
		if !errors.Is(err, broken) {
			t.Fatalf("%v, want the app's error", err)
		}
		if n := h.count(t, "auth_identity") + h.count(t, "provider_identity"); n != 0 {
			t.Errorf("%d rows stay of what was rolled back", n)
		}
		if _, err := h.Admit(t.Context(), proof); err != nil {
			t.Errorf("the proof, once more: %v", err)
		}
	})
}

func TestAProofTellsWhatItRestsOn(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		proof := h.prove(t, auth.SignUp, "ada@example.com", "correct horse")
		if proof.Identity() != "" || proof.ProvedEmail() != "" {
			t.Errorf("of somebody new: identity %q, proved address %q; want none", proof.Identity(), proof.ProvedEmail())
		}
		ada, err := h.Admit(t.Context(), proof)
		must(t, err)
		proof = h.prove(t, auth.SignIn, "ada@example.com", "correct horse")
		if proof.Identity() != ada.ID || proof.ProvedEmail() != "" {
			t.Errorf("identity %q, proved address %q; want %q and none", proof.Identity(), proof.ProvedEmail(), ada.ID)
		}
		must(t, h.VerifyEmail(t.Context(), ada.ID, "ada@example.com"))
		proof = h.prove(t, auth.SignIn, "ada@example.com", "correct horse")
		if proof.ProvedEmail() != "ada@example.com" {
			t.Errorf("after VerifyEmail the proved address is %q", proof.ProvedEmail())
		}
	})
}

func TestAnAddressIsProvedOnlyAsLongAsItIsTheSame(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		for _, step := range []struct {
			email    string
			verified bool
			want     string
			proved   bool
		}{
			{"Ada@Example.com", false, "ada@example.com", false},
			{"ada@example.com", true, "ada@example.com", true},
			{"ada@example.com", false, "ada@example.com", true}, // it was proved, and is the same
			{"", false, "ada@example.com", true},                // the provider is silent
			{"countess@example.com", true, "countess@example.com", true},
			{"lovelace@example.com", false, "lovelace@example.com", false},
			{"no address", true, "lovelace@example.com", false}, // a claim that is no address is no claim
		} {
			ada, err := h.Authenticate(t.Context(), "vouching", input("name", "ada", "email", step.email, "verified", step.verified))
			if err != nil {
				t.Fatalf("%+v: %v", step, err)
			}
			if p := ada.Proved; p.Email != step.want || p.EmailVerified != step.proved {
				t.Errorf("the provider says %q, vouched for %t: address %q, proved %t; want %q, %t",
					step.email, step.verified, p.Email, p.EmailVerified, step.want, step.proved)
			}
		}
		all, err := h.ListProviderIdentities(t.Context(), auth.ProviderIdentityFilter{}, auth.Page{})
		if err != nil || len(all) != 1 || all[0].Email != "lovelace@example.com" || !all[0].EmailVerifiedAt.IsZero() {
			t.Errorf("kept is %+v (%v)", all, err)
		}
	})
}

func TestWhatAProviderSaysOfAPersonIsKept(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		for _, metadata := range []map[string]any{{"login": "ada"}, {"login": "ada", "since": 1843.0}, {"note": "<&>\u2028日本"}} {
			_, err := h.Authenticate(t.Context(), "vouching", input("name", "ada", "metadata", metadata))
			must(t, err)
			all, err := h.ListProviderIdentities(t.Context(), auth.ProviderIdentityFilter{Provider: "vouching", EntityID: "ada"}, auth.Page{})
			if err != nil || len(all) != 1 || fmt.Sprint(all[0].UserMetadata) != fmt.Sprint(metadata) {
				t.Errorf("%v is kept as %+v (%v)", metadata, all, err)
			}
		}
	})
}

func TestAFailureOfAProviderIsOurs(t *testing.T) {
	h := onSQLite(t, auth.Options{})
	_, err := h.Authenticate(t.Context(), "vouching", input("broken", "connection refused"))
	if fault.KindOf(err) != fault.Internal || err == nil {
		t.Errorf("%v is of kind %d, want an internal one", err, fault.KindOf(err))
	}
	for name, entity := range map[string]string{"empty": "", "too long": strings.Repeat("x", 1025)} {
		if _, err := h.Authenticate(t.Context(), "vouching", input("name", entity)); err == nil || fault.KindOf(err) != fault.Internal {
			t.Errorf("an entity id that is %s: %v, want an internal error", name, err)
		}
	}
	if n := h.count(t, "auth_identity"); n != 0 {
		t.Errorf("%d identities, want none", n)
	}
}

func TestWhatAProviderCannotIsRefused(t *testing.T) {
	h := onSQLite(t, auth.Options{})
	for want, call := range map[string]func() error{
		"Registration not implemented for provider vouching":             func() error { _, err := h.Register(t.Context(), "vouching", nil); return err },
		"Updating the secret not implemented for provider vouching":      func() error { _, err := h.UpdateProvider(t.Context(), "vouching", nil); return err },
		"Authentication in one step not implemented for provider oidc":   func() error { _, err := h.Authenticate(t.Context(), "oidc", nil); return err },
		"Redirect authentication not implemented for provider emailpass": func() error { _, err := h.Begin(t.Context(), "emailpass", nil); return err },
		"Callback authentication not implemented for provider emailpass": func() error { _, err := h.ValidateCallback(t.Context(), "emailpass", nil); return err },
	} {
		if err := call(); !errors.Is(err, auth.ErrUnsupported) || err.Error() != want {
			t.Errorf("%v, want %q", err, want)
		}
	}
	for name, call := range map[string]func() error{
		"Authenticate": func() error { _, err := h.Authenticate(t.Context(), "nobody", nil); return err },
		"Begin":        func() error { _, err := h.Begin(t.Context(), "nobody", nil); return err },
		"Finish":       func() error { _, err := h.Finish(t.Context(), "nobody", nil); return err },
	} {
		if err := call(); !errors.Is(err, auth.ErrUnknownProvider) {
			t.Errorf("%s with an unknown provider: %v", name, err)
		}
	}
}

func TestEveryChangeIsAnnouncedOrNotMade(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		h.reset(t, "ada@example.com", "battery staple")
		h.events.err = errors.New("the outbox is full")
		if _, err := h.UpdateProvider(t.Context(), emailpass.Name, credentials("ada@example.com", "not announced")); !errors.Is(err, h.events.err) {
			t.Errorf("a change that cannot be announced: %v", err)
		}
		if err := h.DeleteAuthIdentities(t.Context(), ada.ID); !errors.Is(err, h.events.err) {
			t.Errorf("a deletion that cannot be announced: %v", err)
		}
		h.events.err = nil
		if _, err := h.signIn(t.Context(), "ada@example.com", "battery staple"); err != nil {
			t.Errorf("what was not announced was made: %v", err)
		}
		h.events.seen = nil
		h.reset(t, "ada@example.com", "correct horse")
		must(t, h.DeleteAuthIdentities(t.Context(), ada.ID, ada.ID, "authid_nobody"))
		want := []event.Event{auth.CredentialsChanged{ID: ada.ID, Provider: emailpass.Name}, auth.IdentityDeleted{ID: ada.ID}}
		if !slices.Equal(h.events.seen, want) {
			t.Errorf("announced: %+v, want %+v", h.events.seen, want)
		}
	})
}

func TestADeletedIdentityLeavesNothing(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada, eve := h.register(t, "ada@example.com", "correct horse"), h.register(t, "eve@example.com", "correct horse")
		for _, i := range []auth.Identity{ada, eve} {
			_, err := h.OpenSession(t.Context(), i, "user", auth.Client{})
			must(t, err)
		}
		must(t, h.DeleteAuthIdentities(t.Context()))
		must(t, h.DeleteAuthIdentities(t.Context(), ada.ID))
		for _, table := range []string{"auth_identity", "provider_identity", "auth_session"} {
			if n := h.count(t, table); n != 1 {
				t.Errorf("%d rows in %s, want Eve's alone", n, table)
			}
		}
		if _, err := h.RetrieveAuthIdentity(t.Context(), ada.ID); !errors.Is(err, auth.ErrNotFound) {
			t.Errorf("retrieve: %v, want ErrNotFound", err)
		}
		if _, err := h.signIn(t.Context(), "ada@example.com", "correct horse"); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("sign in: %v, want ErrInvalidCredentials", err)
		}
	})
}

func TestListsHoldWhatMatchesAllThatIsAsked(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		eve := h.register(t, "eve@example.com", "correct horse")
		voucher, err := h.Authenticate(t.Context(), "vouching", input("name", "ada", "email", "ada@example.com"))
		must(t, err)
		for _, c := range []struct {
			name string
			f    auth.IdentityFilter
			want []auth.IdentityID
		}{
			{"all", auth.IdentityFilter{}, []auth.IdentityID{ada.ID, eve.ID, voucher.ID}},
			{"none", auth.IdentityFilter{IDs: []auth.IdentityID{}}, nil},
			{"two", auth.IdentityFilter{IDs: []auth.IdentityID{eve.ID, ada.ID, "authid_nobody"}}, []auth.IdentityID{ada.ID, eve.ID}},
			{"by provider", auth.IdentityFilter{Provider: emailpass.Name}, []auth.IdentityID{ada.ID, eve.ID}},
			{"by entity", auth.IdentityFilter{EntityID: "ada"}, []auth.IdentityID{voucher.ID}},
			{"by both", auth.IdentityFilter{Provider: emailpass.Name, EntityID: "ada"}, nil},
		} {
			found, err := h.ListAuthIdentities(t.Context(), c.f, auth.Page{})
			var got []auth.IdentityID
			for _, i := range found {
				got = append(got, i.ID)
			}
			slices.Sort(c.want) // ids made within one millisecond are in no order
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%s: %v (%v), want %v", c.name, got, err, c.want)
			}
		}
		for _, c := range []struct {
			name string
			f    auth.ProviderIdentityFilter
			want int
		}{
			{"all", auth.ProviderIdentityFilter{}, 3},
			{"none", auth.ProviderIdentityFilter{IDs: []string{}}, 0},
			{"of nobody", auth.ProviderIdentityFilter{IdentityIDs: []auth.IdentityID{}}, 0},
			{"by address", auth.ProviderIdentityFilter{Email: "ADA@example.com"}, 2},
			{"by address and provider", auth.ProviderIdentityFilter{Email: "ada@example.com", Provider: "vouching"}, 1},
			{"by nonsense", auth.ProviderIdentityFilter{Email: "%"}, 0},
			{"by identity", auth.ProviderIdentityFilter{IdentityIDs: []auth.IdentityID{eve.ID}}, 1},
		} {
			if found, err := h.ListProviderIdentities(t.Context(), c.f, auth.Page{}); err != nil || len(found) != c.want {
				t.Errorf("provider identities, %s: %d (%v), want %d", c.name, len(found), err, c.want)
			}
		}
		own := ada.Providers[0]
		if p, err := h.RetrieveProviderIdentity(t.Context(), own.ID); err != nil || p.EntityID != "ada@example.com" || p.IdentityID != ada.ID {
			t.Errorf("retrieve provider identity: %+v, %v", p, err)
		}
		if _, err := h.RetrieveProviderIdentity(t.Context(), "nobody"); !errors.Is(err, auth.ErrNotFound) {
			t.Errorf("retrieve an unknown provider identity: %v, want ErrNotFound", err)
		}
	})
}

func TestVerifyEmailTouchesOnlyThisIdentityAndThisAddress(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		other, err := h.Authenticate(t.Context(), "vouching", input("name", "ada", "email", "ada@example.com"))
		must(t, err)
		must(t, h.VerifyEmail(t.Context(), ada.ID, "eve@example.com"))
		for _, i := range []auth.Identity{ada, other} {
			if now, err := h.RetrieveAuthIdentity(t.Context(), i.ID); err != nil || !now.Providers[0].EmailVerifiedAt.IsZero() {
				t.Fatalf("another address verifies %+v (%v)", now, err)
			}
		}
		must(t, h.VerifyEmail(t.Context(), ada.ID, "ada@example.com"))
		if now, err := h.RetrieveAuthIdentity(t.Context(), ada.ID); err != nil || now.Providers[0].EmailVerifiedAt.IsZero() {
			t.Errorf("not verified: %+v (%v)", now, err)
		}
		if now, err := h.RetrieveAuthIdentity(t.Context(), other.ID); err != nil || !now.Providers[0].EmailVerifiedAt.IsZero() {
			t.Errorf("another identity is verified, too: %+v (%v)", now, err)
		}
	})
}

func TestJoinMovesEveryWayToSignIn(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		other, err := h.Authenticate(t.Context(), "vouching", input("name", "ada"))
		must(t, err)
		before, err := h.Prove(t.Context(), auth.SignIn, "vouching", input("name", "ada"))
		must(t, err)
		must(t, h.Join(t.Context(), other.ID, ada.ID))
		if i, err := h.Authenticate(t.Context(), "vouching", input("name", "ada")); err != nil || i.ID != ada.ID || len(i.Providers) != 2 {
			t.Errorf("afterwards it is %s with %d ways to sign in (%v), want %s with two", i.ID, len(i.Providers), err, ada.ID)
		}
		if _, err := h.RetrieveAuthIdentity(t.Context(), other.ID); !errors.Is(err, auth.ErrNotFound) {
			t.Errorf("the emptied one: %v, want ErrNotFound", err)
		}
		if _, err := h.Admit(t.Context(), before); !errors.Is(err, auth.ErrProofOutdated) {
			t.Errorf("a proof of before: %v, want ErrProofOutdated", err)
		}
	})
}
