package auth_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
)

// wants asks for another address in the session, which a password opened, and returns the request.
func (h house) wants(t testing.TB, s auth.Session, password, from, to string) auth.EmailChangeRequested {
	t.Helper()
	again, err := h.ProveAgain(t.Context(), s, input("password", password))
	must(t, err)
	e, err := h.RequestEmailChange(t.Context(), s, again, from, to)
	must(t, err)
	return e
}

func (h house) sent(t testing.TB, e auth.EmailChangeRequested) string {
	t.Helper()
	made, err := h.CreateEmailChangeToken(t.Context(), e)
	must(t, err)
	return made.Token
}

// entities are the identity's ways to sign in, as provider and entity id.
func (h house) entities(t testing.TB, id auth.IdentityID) (found []string) {
	t.Helper()
	i, err := h.RetrieveAuthIdentity(t.Context(), id)
	must(t, err)
	for _, p := range i.Providers {
		found = append(found, p.Provider+" "+p.EntityID+" "+p.Email)
	}
	slices.Sort(found)
	return found
}

func TestEveryWayToSignInByTheOldAddressBecomesOneByTheNew(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		way := func(provider, entity string) auth.ProviderIdentityDraft {
			return auth.ProviderIdentityDraft{IdentityID: ada.ID, Provider: provider, EntityID: entity, Email: "ada@example.com", EmailVerified: true}
		}
		// One by the old address, one that is known by something else, and one by the new address already.
		_, err := h.CreateProviderIdentities(t.Context(), way("mail-link", "ada@example.com"), way("oidc", "https://id|ada"), way("vouching", "ada@example.com"))
		must(t, err)
		there := way("vouching", "ada@lovelace.example")
		there.Email, there.EmailVerified = "ada@lovelace.example", false
		_, err = h.CreateProviderIdentities(t.Context(), there)
		must(t, err)
		session, token, cookie := h.open(t, ada, "user")
		_, otherToken, otherCookie := h.open(t, ada, "user")

		link := h.sent(t, h.wants(t, session, "correct horse", "ada@example.com", "ada@lovelace.example"))
		if c, err := h.CheckEmailChangeToken(t.Context(), session, link); err != nil || c.From != "ada@example.com" || c.To != "ada@lovelace.example" || c.InTheWay != nil {
			t.Errorf("check: %+v, %v", c, err)
		}
		_, now, err := h.ConfirmEmailChange(t.Context(), session, link, nil)
		must(t, err)
		want := []string{"emailpass ada@lovelace.example ada@lovelace.example", "mail-link ada@lovelace.example ada@lovelace.example",
			"oidc https://id|ada ada@example.com", "vouching ada@lovelace.example ada@lovelace.example"}
		if got := h.entities(t, ada.ID); !slices.Equal(got, want) {
			t.Errorf("the ways to sign in are %q, want %q", got, want)
		}
		i, err := h.RetrieveAuthIdentity(t.Context(), ada.ID)
		must(t, err)
		for _, p := range i.Providers {
			if p.EmailVerifiedAt.IsZero() {
				t.Errorf("%s is not proved", p.Provider)
			}
		}
		h.opens(t, "another session", otherToken, otherCookie, auth.ErrSession, auth.ErrSession)
		h.opens(t, "the session, by what it had", token, cookie, auth.ErrSession, auth.ErrSession)
		renewed, err := h.Token(now, i, auth.Actor{})
		must(t, err)
		fresh, err := h.SetCookie(t.Context(), now)
		must(t, err)
		h.opens(t, "the session, renewed", renewed, fresh, nil, nil)
		if _, err := h.signIn(t.Context(), "ada@lovelace.example", "correct horse"); err != nil {
			t.Errorf("sign in by the new address: %v", err)
		}
		if _, err := h.signIn(t.Context(), "ada@example.com", "correct horse"); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("sign in by the old address: %v", err)
		}
	})
}

func TestAProofOfTheMailboxMovesAndEndsOnlyWhatItMay(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada, eve := h.register(t, "ada@example.com", "correct horse"), h.register(t, "eve@example.com", "correct horse")
		session, _, _ := h.open(t, ada, "user")
		eves, _, _ := h.open(t, eve, "user")
		link := h.sent(t, h.wants(t, session, "correct horse", "ada@example.com", "new@example.com"))

		// Somebody else is in the way, and not named; or named, and proved by then.
		squatter := h.register(t, "new@example.com", "another horse")
		c, err := h.CheckEmailChangeToken(t.Context(), session, link)
		if err != nil || !slices.Equal(c.InTheWay, []auth.IdentityID{squatter.ID}) {
			t.Fatalf("in the way: %v, %v", c.InTheWay, err)
		}
		if _, _, err := h.ConfirmEmailChange(t.Context(), session, link, nil); !errors.Is(err, auth.ErrEntityTaken) {
			t.Errorf("over somebody who was not named: %v", err)
		}
		if _, _, err := h.ConfirmEmailChange(t.Context(), eves, link, c.InTheWay); !errors.Is(err, auth.ErrEmailChangeElsewhere) {
			t.Errorf("by somebody else: %v", err)
		}
		// A proof that is none of this session's, or none at all.
		again, err := h.ProveAgain(t.Context(), session, input("password", "correct horse"))
		must(t, err)
		for name, p := range map[string]auth.Proof{"of another session": again, "none": {}, "of a sign-in": h.prove(t, auth.SignIn, "eve@example.com", "correct horse")} {
			if _, err := h.RequestEmailChange(t.Context(), eves, p, "eve@example.com", "evil@example.com"); !errors.Is(err, auth.ErrInvalidCredentials) {
				t.Errorf("a proof, %s: %v", name, err)
			}
		}
		// One that the password was set anew after.
		again, err = h.ProveAgain(t.Context(), eves, input("password", "correct horse"))
		must(t, err)
		h.reset(t, "eve@example.com", "battery staple")
		if _, err := h.RequestEmailChange(t.Context(), eves, again, "eve@example.com", "evil@example.com"); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("a proof by an old password: %v", err)
		}
		if _, _, err := h.ConfirmEmailChange(t.Context(), session, link, c.InTheWay); err != nil {
			t.Errorf("over who was named: %v", err)
		}
		if _, err := h.RetrieveAuthIdentity(t.Context(), squatter.ID); !errors.Is(err, auth.ErrNotFound) {
			t.Errorf("the squatter: %v", err)
		}
	})
}

func TestWhoProvesTheMailboxFirstKeepsItFromAPendingChange(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		for name, proves := range map[string]func(t *testing.T, address string){
			"a provider vouches": func(t *testing.T, address string) {
				_, err := h.Authenticate(t.Context(), "vouching", auth.Input(`{"name":"`+address+`","email":"`+address+`","verified":true}`))
				must(t, err)
			},
			"a provider vouches for who is known": func(t *testing.T, address string) {
				for _, verified := range []string{"false", "true"} {
					_, err := h.Authenticate(t.Context(), "vouching", auth.Input(`{"name":"`+address+`","email":"`+address+`","verified":`+verified+`}`))
					must(t, err)
				}
			},
			"a reset": func(t *testing.T, address string) {
				h.register(t, address, "another horse")
				e, err := h.RequestPasswordReset(t.Context(), auth.ResetRequest{Provider: emailpass.Name, EntityID: address, ActorType: "user"})
				must(t, err)
				made, err := h.CreatePasswordResetToken(t.Context(), e, auth.ByMail)
				must(t, err)
				_, err = h.ResetPassword(t.Context(), "user", emailpass.Name, made.Token, input("password", "battery staple"))
				must(t, err)
			},
			"the app vouches": func(t *testing.T, address string) {
				_, err := h.CreateAuthIdentities(t.Context(), auth.IdentityDraft{Providers: []auth.ProviderIdentityDraft{
					{Provider: "vouching", EntityID: address, Email: address, EmailVerified: true},
				}})
				must(t, err)
			},
			"the app verifies": func(t *testing.T, address string) {
				must(t, h.VerifyEmail(t.Context(), h.register(t, address, "another horse").ID, address))
			},
		} {
			from, to := strings.ReplaceAll(name, " ", ".")+"@example.com", strings.ReplaceAll(name, " ", ".")+"@new.example"
			session, _, _ := h.open(t, h.register(t, from, "correct horse"), "user")
			link := h.sent(t, h.wants(t, session, "correct horse", from, to))
			h.register(t, "x"+to, "another horse") // which is another address
			if _, err := h.CheckEmailChangeToken(t.Context(), session, link); err != nil {
				t.Fatalf("%s: beforehand: %v", name, err)
			}
			proves(t, to)
			if _, err := h.CheckEmailChangeToken(t.Context(), session, link); !errors.Is(err, auth.ErrEmailChange) {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

// Two want the address: one of them has it confirmed while a third proves that it is theirs.
func TestConfirmingAChangeAndCallingAllOfThemOffAtOnceDeadlocksWithNothing(t *testing.T) {
	at := databasetest.Postgres(t)
	h := newHouse(t, at.Open(t, auth.Migrations()), auth.Options{})
	elsewhere := newHouse(t, at.Open(t), auth.Options{})
	var session auth.Session
	var token string
	for _, from := range []string{"eve@example.com", "ada@example.com"} {
		session, _, _ = h.open(t, h.register(t, from, "correct horse"), "user")
		token = h.sent(t, h.wants(t, session, "correct horse", from, "new@example.com"))
	}
	defer databasetest.WatchDeadlocks(t, h.db)()
	off := make(chan error, 1)
	meanwhile(t, h, `DELETE FROM "latchkey_email_change"`, func() { off <- elsewhere.CancelEmailChanges(t.Context(), "new@example.com") },
		func(ctx context.Context) error {
			_, _, err := h.ConfirmEmailChange(ctx, session, token, nil)
			return err
		})
	must(t, <-off)
	if n := h.count(t, "email_change"); n != 0 {
		t.Errorf("%d changes are pending", n)
	}
}

func TestARegistrationAloneDoesNotCallOffAChange(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		session, _, _ := h.open(t, h.register(t, "ada@example.com", "correct horse"), "user")
		link := h.sent(t, h.wants(t, session, "correct horse", "ada@example.com", "new@example.com"))
		h.register(t, "new@example.com", "another horse")
		_, err := h.Authenticate(t.Context(), "vouching", auth.Input(`{"name":"eve","email":"new@example.com"}`))
		must(t, err)
		if c, err := h.CheckEmailChangeToken(t.Context(), session, link); err != nil || len(c.InTheWay) != 1 {
			t.Errorf("%+v, %v: anybody could keep others from any address", c, err)
		}
	})
}

func TestWhoSignsInWithoutASecretProvesThemselvesByHavingJustSignedIn(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		i, err := h.Authenticate(t.Context(), "vouching", input("name", "ada"))
		must(t, err)
		session, _, _ := h.open(t, i, "user")
		if asks, err := h.AsksForSecret(t.Context(), i.ID); err != nil || asks {
			t.Errorf("asks for a secret: %t, %v", asks, err)
		}
		for age, want := range map[time.Duration]error{0: nil, 4 * time.Minute: nil, 6 * time.Minute: auth.ErrSignInAgain} {
			then := session
			then.AuthenticatedAt = then.AuthenticatedAt.Add(-age)
			p, err := h.ProveAgain(t.Context(), then, nil)
			if !errors.Is(err, want) {
				t.Errorf("after %v: %v, want %v", age, err, want)
			}
			if _, admitted := h.Admit(t.Context(), p); !errors.Is(admitted, auth.ErrInvalidCredentials) {
				t.Errorf("after %v the proof lets somebody in: %v", age, admitted)
			}
		}
		// Once there is a password, it is what counts.
		hash, err := passwords(t).Hash(t.Context(), "correct horse")
		must(t, err)
		_, err = h.CreateProviderIdentities(t.Context(), auth.ProviderIdentityDraft{IdentityID: i.ID, Provider: emailpass.Name, EntityID: "ada@example.com", Secret: hash})
		must(t, err)
		if asks, err := h.AsksForSecret(t.Context(), i.ID); err != nil || !asks {
			t.Errorf("asks for a secret: %t, %v", asks, err)
		}
		if _, err := h.ProveAgain(t.Context(), session, nil); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("without the password: %v", err)
		}
		if _, err := h.ProveAgain(t.Context(), session, input("password", "correct horse", "email", "eve@example.com")); err != nil {
			t.Errorf("with it, and a name beside it: %v", err)
		}
	})
}

// Of a provider that does not keep to Attempt.EntityID, nobody proves themselves as somebody else.
func TestNobodyProvesThemselvesAgainAsSomebodyElse(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, auth.Migrations())
		s, err := auth.New(auth.Params{DB: db, Keys: ring(t, secret(1)), Providers: []auth.Provider{pin{}}})
		must(t, err)
		h := house{Service: s, db: db}
		ada, err := s.Authenticate(t.Context(), "pin", input("Name", "ada", "Pin", "1234"))
		must(t, err)
		_, err = s.Authenticate(t.Context(), "pin", input("Name", "eve", "Pin", "5678"))
		must(t, err)
		session, _, _ := h.open(t, ada, "user")
		for _, in := range []auth.Input{input("Name", "eve", "Pin", "5678"), input("Name", "ada", "Pin", "5678"), input("Name", "new", "Pin", "5678")} {
			if _, err := s.ProveAgain(t.Context(), session, in); !errors.Is(err, auth.ErrInvalidCredentials) {
				t.Errorf("%s: %v", []byte(in), err)
			}
		}
		if _, err := s.ProveAgain(t.Context(), session, input("Name", "ada", "Pin", "1234")); err != nil {
			t.Errorf("her own: %v", err)
		}
	})
}

func TestARequestForAnotherAddressGivesTheSameLinkOverARotationOfSecrets(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, auth.Migrations())
		before := house{Service: newService(t, db, auth.Options{}, event.Discard, secret(1)), db: db}
		session, _, _ := before.open(t, before.register(t, "ada@example.com", "correct horse"), "user")
		e := before.wants(t, session, "correct horse", "ada@example.com", "new@example.com")
		first := before.sent(t, e)
		after := house{Service: newService(t, db, auth.Options{}, event.Discard, secret(2), secret(1)), db: db}
		for name, link := range map[string]string{"of before": first, "of after": after.sent(t, e)} {
			if _, err := after.CheckEmailChangeToken(t.Context(), session, link); err != nil {
				t.Errorf("the link %s: %v", name, err)
			}
		}
		if _, err := newService(t, db, auth.Options{}, event.Discard, secret(3)).CreateEmailChangeToken(t.Context(), e); !errors.Is(err, auth.ErrEmailChange) {
			t.Errorf("when the secret of then is gone: %v", err)
		}
	})
}

func TestAChangeThatNobodyHasSentCannotBeConfirmed(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		session, _, _ := h.open(t, h.register(t, "ada@example.com", "correct horse"), "user")
		first := h.sent(t, h.wants(t, session, "correct horse", "ada@example.com", "new@example.com"))
		second := h.wants(t, session, "correct horse", "ada@example.com", "new@example.com")
		if _, err := h.CheckEmailChangeToken(t.Context(), session, first); !errors.Is(err, auth.ErrEmailChange) {
			t.Errorf("the link of the request before: %v", err)
		}
		var open int
		must(t, h.db.InTx(t.Context(), func(ctx context.Context) error {
			return h.db.Conn(ctx).NewRaw("SELECT count(*) FROM latchkey_email_change WHERE expires_at IS NOT NULL").Scan(ctx, &open)
		}))
		if open != 0 {
			t.Error("the change can be confirmed before its link was sent")
		}
		if _, _, err := h.ConfirmEmailChange(t.Context(), session, h.sent(t, second), nil); err != nil {
			t.Error(err)
		}
	})
}
