package mail_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/app/mail"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
)

// member makes a user and signs them in.
func (p *program) member(t *testing.T, address string) auth.Session {
	t.Helper()
	p.signUp(t, address)
	l, err := p.link.SignIn(t.Context(), link.ActorUser, emailpass.Name, credentials(address, password), auth.Client{})
	if err != nil {
		t.Fatal(err)
	}
	return l.Session
}

func (p *program) askToMove(t *testing.T, session auth.Session, to string) {
	t.Helper()
	if err := p.link.RequestEmailChange(t.Context(), session, to, auth.Input(`{"password":"`+password+`"}`)); err != nil {
		t.Fatal(err)
	}
}

// to are the mails to an address, in their order.
func to(mails []mail.Message, address string) []mail.Message {
	return slices.DeleteFunc(slices.Clone(mails), func(m mail.Message) bool { return m.To != address })
}

// wantNotice wants a mail without a token that leads nowhere but to the path.
func wantNotice(t *testing.T, m mail.Message, subject, path string, says ...string) {
	t.Helper()
	if m.Subject != subject || !isNotice(m) {
		t.Errorf("%q, a notice: %t", m.Subject, isNotice(m))
	}
	for _, text := range append(says, path) {
		if !strings.Contains(m.Text, text) || !strings.Contains(m.HTML, text) {
			t.Errorf("text and HTML do not both say %q:\n%s\n%s", text, m.Text, m.HTML)
		}
	}
	links := 0
	if path != "" {
		links = 2
	}
	if n := strings.Count(m.Text+m.HTML, "://"); n != links {
		t.Errorf("text and HTML have %d links, want %d\n%s\n%s", n, links, m.Text, m.HTML)
	}
}

func TestWhoeverMovesIsMailedALinkToTheNewAddressAndNoticesToTheOld(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		p.proved(t, "ada@example.com")
		session := p.enter(t, "ada@example.com", home)
		p.askToMove(t, session, "Ada@Lovelace.example")
		mails := p.wantMails(t, 2)
		toNew, toOld := to(mails, "ada@lovelace.example"), to(mails, "ada@example.com")
		if len(toNew) != 1 || len(toOld) != 1 || toNew[0].ID == toOld[0].ID {
			t.Fatalf("%d mails to the new address, %d to the old: %q", len(toNew), len(toOld), mails)
		}
		token := wantLink(t, toNew[0], "/app/email/confirm")
		for _, text := range []string{toNew[0].Text, toNew[0].HTML} {
			if !strings.Contains(text, "The account ada@example.com at id.example.com") || !strings.Contains(text, "is to have the e-mail address ada@lovelace.example") {
				t.Errorf("the mail does not say whose account it is about:\n%s", text)
			}
		}
		wantNotice(t, toOld[0], "Your e-mail address at id.example.com is to change", site+"/app/reset-password", "ada@lovelace.example", "instead of ada@example.com", "If it was not you")
		if u, _, _, err := p.link.ConfirmEmailChange(t.Context(), session, token); err != nil || u.Email != "ada@lovelace.example" {
			t.Fatalf("confirm: %v, %v", u.Email, err)
		}
		mails = p.wantMails(t, 3)
		if mails[2].To != "ada@example.com" {
			t.Errorf("the third mail goes to %s", mails[2].To)
		}
		wantNotice(t, mails[2], "Your e-mail address at id.example.com has changed", "", "ada@lovelace.example", "ada@example.com no longer", "If it was not you")
		p.wantMails(t, 3)
	})
}

// Whoever registers can name any address, move on, register with it again, and so on.
func TestAnAddressThatNobodyHasProvedHearsNothingOfWhoMovesOn(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		session := p.member(t, "victim@example.com")
		p.askToMove(t, session, "eve@example.com")
		mails := p.wantMails(t, 1)
		if _, _, _, err := p.link.ConfirmEmailChange(t.Context(), session, tokenIn(to(mails, "eve@example.com")[0].Text)); err != nil {
			t.Fatal(err)
		}
		if mails = p.wantMails(t, 1); len(to(mails, "victim@example.com")) != 0 {
			t.Errorf("%q", mails)
		}
	})
}

// Anybody can have as many accounts as they like, each of which may ask five times an hour.
func TestNobodyFillsAMailboxByWantingItsAddress(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		ask := func(s auth.Session, c auth.Client) error {
			return p.link.RequestEmailChange(from(t, c), s, "Victim@example.com", auth.Input(`{"password":"`+password+`"}`))
		}
		asked := 0
		for _, address := range []string{"eve1@example.com", "eve2@example.com", "eve3@example.com"} {
			session := p.member(t, address)
			for range 5 {
				switch err := ask(session, home); {
				case err == nil:
					asked++
				case !errors.Is(err, auth.ErrThrottled):
					t.Fatal(err)
				}
			}
		}
		if asked != 10 {
			t.Errorf("%d mails to one address were asked for from one, want 10 an hour", asked)
		}
		if err := ask(p.member(t, "ada@example.com"), auth.Client{IP: "198.51.100.1"}); err != nil {
			t.Errorf("from elsewhere: %v", err)
		}
		p.deliver(t)
	})
}

func TestALinkForAnotherAddressIsMailedOnlyWhileItIsOfUse(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		p.proved(t, "ada@example.com")
		session := p.enter(t, "ada@example.com", home)
		for _, address := range []string{"first@example.com", "second@example.com"} {
			p.askToMove(t, session, address)
		}
		mails := p.wantMails(t, 3) // a notice for each, and one link
		if len(to(mails, "first@example.com")) != 0 || len(to(mails, "second@example.com")) != 1 || len(to(mails, "ada@example.com")) != 2 {
			t.Errorf("%q", mails)
		}
		p.askToMove(t, session, "taken@example.com")
		p.member(t, "taken@example.com")
		if mails = p.wantMails(t, 4); len(to(mails, "taken@example.com")) != 0 {
			t.Errorf("somebody who has come meanwhile is mailed: %q", mails)
		}
		p.askToMove(t, session, "third@example.com")
		p.forget(t, "ada@example.com")
		mails = p.wantMails(t, 7)
		reset := to(mails, "ada@example.com")
		for _, m := range reset {
			if token := tokenIn(m.Text); token != "" {
				if err := p.reset(t.Context(), token, "a new passphrase"); err != nil {
					t.Fatal(err)
				}
			}
		}
		third := to(mails, "third@example.com")
		if len(third) != 1 {
			t.Fatalf("%q", mails)
		}
		if _, _, _, err := p.link.ConfirmEmailChange(t.Context(), session, tokenIn(third[0].Text)); !errors.Is(err, auth.ErrEmailChange) {
			t.Errorf("after a reset: %v", err)
		}
	})
}

func TestALinkForAnotherAddressThatFailedIsMailedAgainTheSame(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		p.proved(t, "ada@example.com")
		session := p.enter(t, "ada@example.com", home)
		p.box.fail = func(n int, _ mail.Message) error {
			if n <= 2 {
				return errPost
			}
			return nil
		}
		p.askToMove(t, session, "new@example.com")
		mails := p.wantMails(t, 4) // each is tried twice
		links := to(mails, "new@example.com")
		if len(links) != 2 || links[0].ID != links[1].ID || links[0].Text != links[1].Text || !links[1].Repeated {
			t.Errorf("%+v", links)
		}
		if _, _, _, err := p.link.ConfirmEmailChange(t.Context(), session, tokenIn(links[1].Text)); err != nil {
			t.Error(err)
		}
	})
}
