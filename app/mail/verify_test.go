package mail_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/app/mail"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

func (p *program) askToProve(t *testing.T, session auth.Session, address string) {
	t.Helper()
	if _, err := p.link.RequestVerification(t.Context(), session, auth.VerificationRequest{Email: address}); err != nil {
		t.Fatal(err)
	}
}

func TestWhoAsksIsMailedALinkThatProvesTheirAddress(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		session := p.member(t, "ada@example.com")
		p.askToProve(t, session, "Ada@example.com")
		mails := p.wantMails(t, 1)
		token := wantLink(t, mails[0], "/app/verify-email")
		if mails[0].To != "ada@example.com" || mails[0].Subject != "Confirm your e-mail address for id.example.com" || !strings.Contains(mails[0].Text, "claims the address ada@example.com") {
			t.Errorf("%s: %s", mails[0].Subject, mails[0].Text)
		}
		if _, err := p.link.ConfirmVerification(t.Context(), session, token); err != nil {
			t.Error(err)
		}
		p.askToProve(t, session, "ada@example.com") // which is proved
		p.wantMails(t, 1)
	})
}

func TestALinkThatProvesAnAddressIsMailedOnlyWhileItIsOfUse(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		session := p.member(t, "ada@example.com")
		p.askToProve(t, session, "ada@example.com")
		p.askToProve(t, session, "ada@example.com") // the newest wins
		token := wantLink(t, p.wantMails(t, 1)[0], "/app/verify-email")
		if _, err := p.link.CheckVerificationToken(t.Context(), session, token); err != nil {
			t.Error(err)
		}
		p.askToProve(t, session, "ada@example.com")
		if err := p.auth.Revoke(t.Context(), session.IdentityID); err != nil {
			t.Fatal(err)
		}
		p.wantMails(t, 1)
		// Proved by an invite that left by mail meanwhile.
		session = p.signUp(t, "bob@example.com")
		invites, err := p.users.CreateInvites(t.Context(), user.InviteDraft{Email: "bob@example.com"})
		if err != nil {
			t.Fatal(err)
		}
		p.askToProve(t, session, "bob@example.com")
		if _, err := p.link.Accept(t.Context(), session, p.users.InviteToken(invites[0], user.ByMail), link.Acceptance{}); err != nil {
			t.Fatal(err)
		}
		if got := to(p.deliver(t), "bob@example.com"); len(got) > 1 || len(got) == 1 && !strings.Contains(got[0].Subject, "invited") {
			t.Errorf("%q", got)
		}
	})
}

func TestALinkThatProvesAnAddressAndFailedIsMailedAgainTheSame(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		session := p.member(t, "ada@example.com")
		p.box.fail = func(n int, _ mail.Message) error {
			if n == 1 {
				return errPost
			}
			return nil
		}
		p.askToProve(t, session, "ada@example.com")
		mails := p.wantMails(t, 2)
		if mails[0].ID != mails[1].ID || mails[0].Text != mails[1].Text || !mails[1].Repeated {
			t.Errorf("%+v", mails)
		}
		if _, err := p.link.ConfirmVerification(t.Context(), session, tokenIn(mails[0].Text)); err != nil {
			t.Error(err)
		}
	})
}

func TestTheOwnerAloneLearnsThatTheirAddressIsKnown(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		p.member(t, "known@example.com")
		var err error
		p.options.Options.EnumerationSafe = true
		if p.link, err = link.New(p.options); err != nil {
			t.Fatal(err)
		}
		fresh, decoy := p.signUp(t, "fresh@example.com"), p.signUp(t, "known@example.com")
		mails := p.wantMails(t, 2)
		registers, tells := to(mails, "fresh@example.com"), to(mails, "known@example.com")
		if len(registers) != 1 || len(tells) != 1 {
			t.Fatalf("%q", mails)
		}
		wantNotice(t, tells[0], "You have an account at id.example.com already", site+"/app/reset-password", "wanted to register", "known@example.com", "If it was not you")
		token := wantLink(t, registers[0], "/app/verify-email")
		if !strings.Contains(registers[0].Text, "wants to register at id.example.com with the address fresh@example.com") {
			t.Errorf("%s", registers[0].Text)
		}
		if _, err := p.link.ConfirmVerification(t.Context(), decoy, token); !errors.Is(err, auth.ErrVerificationElsewhere) {
			t.Errorf("in another session: %v", err)
		}
		if _, err := p.link.ConfirmVerification(t.Context(), fresh, token); err != nil {
			t.Error(err)
		}
		p.wantSignIn(t, "fresh@example.com", password, nil)
	})
}
