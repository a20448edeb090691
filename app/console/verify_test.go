package console_test

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

const (
	verifyPath = "/app/verify-email"
	deadProof  = "This link was used already, has expired, or a newer one was sent."
)

// mailedProof is the path of the link that the mail for the newest request to prove an address holds.
func (s *site) mailedProof(t *testing.T) (path string) {
	t.Helper()
	if len(s.asked.proofs) == 0 {
		t.Fatal("nobody asked to prove an address")
	}
	made, err := s.auth.CreateVerificationToken(t.Context(), s.asked.proofs[len(s.asked.proofs)-1])
	if err != nil {
		t.Fatal(err)
	}
	return verifyPath + "?token=" + url.QueryEscape(s.secret(made.Token))
}

func TestWhoMustProveTheirAddressDoesByThePagesAndTheMailedLink(t *testing.T) {
	eachWith(t, options{require: true}, func(t *testing.T, s *site) {
		s.register(t, "ada@example.com")
		b := s.browser(t)
		b.signIn("ada@example.com")
		b.want(http.StatusOK, "/app/login", "That the e-mail address is yours is not proved yet", "Open the link that was mailed to it", "Send a link that confirms it")
		b.get("/app")
		b.want(http.StatusOK, "/app", "<strong>ada@example.com</strong> is your address", "Send a link that confirms it")
		first := s.mailedProof(t)
		b.submit(verifyPath, nil)
		b.want(http.StatusOK, verifyPath, "Look into your mailbox", "<strong>ada@example.com</strong>", `role="status"`)
		b.get(first)
		b.want(http.StatusBadRequest, verifyPath, deadProof)
		path := s.mailedProof(t)
		for range 2 { // opening it is not confirming it
			b.get(path)
			b.want(http.StatusOK, verifyPath, "Confirm your e-mail address", "<strong>ada@example.com</strong>")
		}
		s.wantNoUser(t, "ada@example.com")
		b.submit(verifyPath, nil)
		b.want(http.StatusOK, verifyPath, "Your e-mail address is confirmed", "<strong>ada@example.com</strong>", `role="status"`)
		b.get("/app")
		b.want(http.StatusOK, "/app", "member", `href="/app/email"`)
		if u := s.user(t, "ada@example.com"); !u.EmailVerified() {
			t.Error("the address is not proved")
		}
		b.get(path)
		b.want(http.StatusBadRequest, verifyPath, deadProof)
		b.get(verifyPath)
		b.want(http.StatusOK, "/app") // there is nothing to prove
	})
}

func TestLinkThatProvesAnAddressOpenedSignedOutAsksToSignInFirst(t *testing.T) {
	eachWith(t, options{require: true}, func(t *testing.T, s *site) {
		s.register(t, "ada@example.com")
		path := s.mailedProof(t)
		phone := s.browser(t)
		phone.get(path)
		phone.want(http.StatusOK, verifyPath, "Sign in", "sign in as who asked for it")
		phone.wantNot("ada@example.com", "Confirm the address") // whoever holds the link learns nothing
		phone.submit("/app/login", fields("email", "ada@example.com", "password", "not "+password))
		phone.want(http.StatusUnauthorized, "/app/login", "E-mail address or password is not right.", "sign in as who asked for it")
		phone.submit("/app/login", fields("email", "ada@example.com", "password", s.secret(password)))
		phone.want(http.StatusOK, "/app/login", "Confirm your e-mail address", "<strong>ada@example.com</strong>")
		phone.submit(verifyPath, nil)
		phone.want(http.StatusOK, verifyPath, "Your e-mail address is confirmed")
		phone.get("/app")
		phone.want(http.StatusOK, "/app", "member")
	})
}

func TestLinkThatProvesAnAddressDoesNothingForAnybodyElse(t *testing.T) {
	eachWith(t, options{require: true}, func(t *testing.T, s *site) {
		s.register(t, "victim@example.com") // by somebody else
		path := s.mailedProof(t)
		s.person(t, "me@example.com")
		b := s.browser(t)
		b.signIn("me@example.com")
		b.get(path)
		b.want(http.StatusForbidden, verifyPath, "This link belongs to another account")
		b.wantNot("victim@example.com", "Confirm the address")
		token, err := url.QueryUnescape(strings.TrimPrefix(path, verifyPath+"?token="))
		if err != nil {
			t.Fatal(err)
		}
		for _, as := range []string{"", "x"} {
			b.do(http.MethodPost, verifyPath, form, strings.NewReader(url.Values{"verify": {token}, "as": {as}}.Encode()))
			b.want(http.StatusForbidden, verifyPath, "This link belongs to another account")
		}
		stranger := s.browser(t)
		stranger.do(http.MethodPost, verifyPath, form, strings.NewReader(url.Values{"verify": {token}, "as": {"x"}}.Encode()))
		stranger.want(http.StatusOK, verifyPath, "Sign in")
		for _, path := range []string{verifyPath, verifyPath + "?token=nonsense"} {
			stranger.get(path)
			if !strings.Contains(stranger.page.body, "Sign in") {
				t.Errorf("%s: %s", path, stranger.page.body)
			}
		}
		stranger.do(http.MethodPost, verifyPath, form, nil) // no address is the form's to say
		stranger.want(http.StatusOK, "/app/login")
		s.wantNoUser(t, "victim@example.com")
	})
}

func TestAddressIsProvedForTheSessionThatTheButtonNamed(t *testing.T) {
	eachWith(t, options{require: true}, func(t *testing.T, s *site) {
		s.register(t, "ada@example.com")
		path := s.mailedProof(t)
		b := s.browser(t)
		b.signIn("ada@example.com")
		b.get(path)
		shown := b.page
		b.signIn("ada@example.com") // again: another session
		b.page = shown
		b.submit(verifyPath, nil)
		b.want(http.StatusConflict, verifyPath, "Who is signed in here has changed meanwhile", "Confirm the address")
		b.submit(verifyPath, nil)
		b.want(http.StatusOK, verifyPath, "Your e-mail address is confirmed")
	})
}

func TestARegistrationIsCompletedWhereTheMailIsOpened(t *testing.T) {
	eachWith(t, options{safe: true}, func(t *testing.T, s *site) {
		s.register(t, "ada@example.com")
		path := s.mailedProof(t)
		phone := s.browser(t)
		phone.get(path)
		phone.want(http.StatusOK, verifyPath, "with the password you chose")
		phone.submit("/app/login", fields("email", "ada@example.com", "password", "not "+password))
		phone.want(http.StatusUnauthorized, "/app/login", "E-mail address or password is not right.")
		phone.submit("/app/login", fields("email", "ada@example.com", "password", password))
		phone.want(http.StatusOK, "/app/login", "Confirm the address", "<strong>ada@example.com</strong>")
		s.wantNoUser(t, "ada@example.com")
		phone.submit(verifyPath, nil)
		phone.want(http.StatusOK, verifyPath, "Your e-mail address is confirmed")
		phone.get("/app")
		phone.want(http.StatusOK, "/app", "member")
		// Before that, the password alone opens nothing; afterwards it does.
		s.register(t, "bob@example.com")
		b := s.browser(t)
		b.signIn("bob@example.com")
		b.want(http.StatusUnauthorized, "/app/login", "E-mail address or password is not right.")
		b.signIn("ada@example.com")
		b.want(http.StatusOK, "/app", "member")
	})
}

func TestAnInviteIsAcceptedByThePagesWhereRegisteringTellsNothing(t *testing.T) {
	eachWith(t, options{safe: true, require: true}, func(t *testing.T, s *site) {
		_, path := s.invite(t, "ada@example.com", "editor") // shown to somebody, not mailed
		b := s.browser(t)
		b.get(path)
		b.submit("/app/invite", fields("password", password))
		b.want(http.StatusOK, "/app", "there is no account for you yet", "Send a link that confirms it")
		b.submit(verifyPath, nil)
		b.get(s.mailedProof(t))
		b.submit(verifyPath, nil)
		b.get("/app")
		b.want(http.StatusOK, "/app", "editor")

		made, err := s.users.CreateInvites(t.Context(), user.InviteDraft{Email: "mail@example.com", Roles: []string{"editor"}})
		if err != nil {
			t.Fatal(err)
		}
		mailed := s.browser(t)
		mailed.get("/app/invite?token=" + url.QueryEscape(s.users.InviteToken(made[0], user.ByMail)))
		mailed.submit("/app/invite", fields("password", password))
		mailed.want(http.StatusOK, "/app", "editor")
		if _, err := s.link.SignUpInvited(t.Context(), s.users.InviteToken(made[0], user.ByMail), link.ActorUser, "emailpass", credentials("mail@example.com"), auth.Client{}); err == nil {
			t.Error("an invite that was accepted still signs up")
		}
	})
}

// buyers are actors of an application that it keeps in memory.
type buyers struct{ ids *sync.Map }

func (buyers) ActorType() string { return "buyer" }

func (b buyers) FindActor(_ context.Context, id string) (link.Actor, error) {
	email, there := b.ids.Load(id)
	if !there {
		return link.Actor{}, link.ErrNoActor
	}
	address, _ := email.(string)
	return link.Actor{ID: id, Email: address}, nil
}

func (b buyers) CreateActor(ctx context.Context, d user.Draft) (link.Actor, bool, error) {
	b.ids.Store(string(d.ID), d.Email)
	a, err := b.FindActor(ctx, string(d.ID))
	return a, true, err
}

func (b buyers) DeleteActor(_ context.Context, id string) error {
	b.ids.Delete(id)
	return nil
}

// The mail leads to one page, which proves the address as the type of actor somebody has asked as, and makes them nothing else.
func TestLinkThatAnotherActorTypeAskedForMakesNobodyAUser(t *testing.T) {
	eachWith(t, options{actors: []link.Actors{buyers{new(sync.Map)}}}, func(t *testing.T, s *site) {
		l, err := s.link.SignUp(t.Context(), "buyer", "emailpass", credentials("ada@example.com"), auth.Client{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.link.RequestVerification(t.Context(), l.Session, auth.VerificationRequest{Email: "ada@example.com"}); err != nil {
			t.Fatal(err)
		}
		b := s.browser(t)
		b.get(s.mailedProof(t))
		b.want(http.StatusOK, verifyPath, "Sign in")
		b.submit("/app/login", fields("email", "ada@example.com", "password", s.secret(password)))
		b.want(http.StatusOK, "/app/login", "Confirm the address", "<strong>ada@example.com</strong>")
		b.submit(verifyPath, nil)
		b.want(http.StatusOK, verifyPath, "Your e-mail address is confirmed", "<strong>ada@example.com</strong>")
		b.wantNot(`href="/app"`) // where they are nobody
		s.wantNoUser(t, "ada@example.com")
		ways, err := s.auth.ListProviderIdentities(t.Context(), auth.ProviderIdentityFilter{Provider: "emailpass", EntityID: "ada@example.com"}, auth.Page{})
		if err != nil || len(ways) != 1 || ways[0].EmailVerifiedAt.IsZero() {
			t.Errorf("the address is not proved: %+v, %v", ways, err)
		}
	})
}
