package mail_test

import (
	"context"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/mail"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/user"
)

const (
	resetPage = site + "/app/reset-password"
	firefox   = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0"
)

var home = auth.Client{IP: "203.0.113.7", UserAgent: firefox}

// from is a context of a request from there.
func from(t *testing.T, c auth.Client) context.Context {
	t.Helper()
	return auth.WithClient(t.Context(), c)
}

// proved makes a user whose address is proved.
func (p *program) proved(t *testing.T, address string) user.User {
	t.Helper()
	u, err := p.link.CreateUser(t.Context(), emailpass.Name, credentials(address, password), user.Draft{Email: address})
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// enter signs in by the password.
func (p *program) enter(t *testing.T, address string, c auth.Client) auth.Session {
	t.Helper()
	l, err := p.link.SignIn(t.Context(), link.ActorUser, emailpass.Name, credentials(address, password), c)
	if err != nil {
		t.Fatal(err)
	}
	return l.Session
}

func (p *program) enterBy(t *testing.T, actorType, name, address string, c auth.Client) link.Login {
	t.Helper()
	l, err := p.link.SignIn(t.Context(), actorType, "badge", badgeOf(name, address), c)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (p *program) changePassword(ctx context.Context, t *testing.T, s auth.Session) auth.Session {
	t.Helper()
	now, _, err := p.link.ChangePassword(ctx, s, emailpass.Name, auth.Input(`{"current_password":"`+password+`","password":"a new passphrase"}`))
	if err != nil {
		t.Fatal(err)
	}
	return now
}

var moment = regexp.MustCompile(`\d{1,2} [A-Z][a-z]+ \d{4}, \d\d:\d\d UTC`)

// wantTold wants the one mail to be to the address, say so, and when it was.
func (p *program) wantTold(t *testing.T, address, subject string, says ...string) {
	t.Helper()
	m := p.wantMails(t, 1)[0]
	if m.To != address {
		t.Errorf("it went to %s, want %s", m.To, address)
	}
	at, err := time.Parse("2 January 2006, 15:04 MST", moment.FindString(m.Text))
	if err != nil || time.Since(at).Abs() > 5*time.Minute || moment.FindString(m.HTML) != moment.FindString(m.Text) {
		t.Errorf("it does not say when: %v\n%s\n%s", err, m.Text, m.HTML)
	}
	wantNotice(t, m, subject, resetPage, says...)
}

func TestANewPasswordIsToldToItsOwner(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		p.proved(t, "ada@example.com")
		p.changePassword(from(t, home), t, p.enter(t, "ada@example.com", home))
		p.wantTold(t, "ada@example.com", "Your password at id.example.com has changed", "from 203.0.113.7 (Firefox on Windows).", "everywhere else you are signed out", "If it was not you")
	})
}

func TestAPasswordThatWasSetByALinkIsTold(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		p.signUp(t, "ada@example.com") // whose address the link proves
		p.wantSignIn(t, "ada@example.com", password, nil)
		p.forget(t, "ada@example.com")
		token := tokenIn(p.wantMails(t, 1)[0].Text)
		if err := p.reset(from(t, auth.Client{IP: "2001:db8::7"}), token, "a new passphrase"); err != nil {
			t.Fatal(err)
		}
		m := p.wantMails(t, 2)[1]
		wantNotice(t, m, "Your password at id.example.com has changed", resetPage, ", from 2001:db8::7.", "You are signed out everywhere.")
		if m.To != "ada@example.com" {
			t.Errorf("it went to %s", m.To)
		}
	})
}

// Whoever has registered with somebody else's address would otherwise have mails sent there, as many as they like.
func TestNobodyIsToldAtAnAddressThatNobodyHasProved(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		s := p.member(t, "victim@example.com")
		s = p.changePassword(from(t, home), t, s)
		l, err := p.link.SignIn(t.Context(), link.ActorUser, emailpass.Name, credentials("victim@example.com", "a new passphrase"), auth.Client{IP: "198.51.100.1"})
		if err != nil || l.Session.ID == s.ID {
			t.Fatal(err)
		}
		p.wantMails(t, 0)
	})
}

// Whoever has broken in must not have the mails by giving the account another address before they have left.
func TestWhatHappenedBeforeAMoveIsToldAtTheAddressOfThen(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		u := p.proved(t, "ada@example.com")
		p.changePassword(from(t, home), t, p.enter(t, "ada@example.com", home))
		if _, err := p.users.ChangeEmail(t.Context(), u.ID, "ada@example.com", "eve@example.com"); err != nil {
			t.Fatal(err)
		}
		for _, m := range p.wantMails(t, 2) { // the other says that the account has moved
			if m.To != "ada@example.com" {
				t.Errorf("%q went to %s", m.Subject, m.To)
			}
		}
	})
}

// The account's address counts, not that of the way to sign in: whoever reads the one mailbox is not always who reads the other.
func TestTheOwnerIsToldAtTheAddressOfTheAccount(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		session := p.signUp(t, "home@example.com")
		invites, err := p.users.CreateInvites(t.Context(), user.InviteDraft{Email: "work@example.com"})
		if err == nil {
			_, err = p.link.Accept(t.Context(), session, p.users.InviteToken(invites[0], user.ByMail), link.Acceptance{})
		}
		if err != nil {
			t.Fatal(err)
		}
		p.changePassword(from(t, home), t, p.enter(t, "home@example.com", auth.Client{}))
		p.wantTold(t, "work@example.com", "Your password at id.example.com has changed")
	})
}

func TestANewDeviceIsToldToTheOwner(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		p.proved(t, "ada@example.com")
		p.enter(t, "ada@example.com", home)
		p.enter(t, "ada@example.com", home)
		p.enter(t, "ada@example.com", auth.Client{IP: "198.51.100.1", UserAgent: "Mozilla/5.0 (iPhone; CPU iPhone OS 18_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.0 Mobile/15E148 Safari/604.1"})
		p.wantTold(t, "ada@example.com", "New sign-in to your account at id.example.com", ", from 198.51.100.1 (Safari on iPhone).", "on this device or from there before")
		if m := p.box.all()[0]; strings.Contains(m.Text+m.HTML, "had failed") {
			t.Errorf("nothing had failed:\n%s", m.Text)
		}
	})
}

func TestASignInAfterManyFailuresIsToldToTheOwner(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		p.proved(t, "ada@example.com")
		for range 5 {
			_, _ = p.link.SignIn(t.Context(), link.ActorUser, emailpass.Name, credentials("ada@example.com", "wrong horse"), home)
		}
		p.wantMails(t, 0) // strangers who guess have nothing sent
		p.enter(t, "ada@example.com", home)
		p.wantTold(t, "ada@example.com", "New sign-in to your account at id.example.com", "5 attempts to sign in to it had failed before.")
		if m := p.box.all()[0]; strings.Contains(m.Text+m.HTML, "this device") {
			t.Errorf("no device is new:\n%s", m.Text)
		}
	})
}

// Of a proxy that nobody has named only the browser is told: the address would be that of the machine here, whoever it was.
func TestTheAddressOfAProxyIsNoPlaceToTellOf(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		p.proved(t, "ada@example.com")
		proxy := auth.Client{IP: "127.0.0.1", Shared: true, UserAgent: firefox}
		for range 5 {
			_, _ = p.link.SignIn(t.Context(), link.ActorUser, emailpass.Name, credentials("ada@example.com", "wrong horse"), proxy)
		}
		session := p.enter(t, "ada@example.com", proxy)
		p.wantTold(t, "ada@example.com", "New sign-in to your account at id.example.com", "UTC, from Firefox on Windows.")
		p.changePassword(from(t, proxy), t, session)
		wantNotice(t, p.wantMails(t, 2)[1], "Your password at id.example.com has changed", resetPage, "UTC, from Firefox on Windows.")
	})
}

// What a browser claims to be is whatever whoever signs in writes, and so are the headers that an address is read from.
func TestWhatAClientClaimsToBeIsNotRepeated(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		p.proved(t, "ada@example.com")
		session := p.enter(t, "ada@example.com", home)
		evil := auth.Client{IP: "fe80::1%<b>www.evil.example", UserAgent: "Firefox/1 <a href=\"https://evil.example\">Call +1 555</a>\r\nBcc: eve@example.com\x00 Linux"}
		p.changePassword(from(t, evil), t, session)
		p.wantTold(t, "ada@example.com", "Your password at id.example.com has changed", "from fe80::1 (Firefox on Linux).")
		if m := p.box.all()[0]; strings.Contains(m.Text+m.HTML, "evil") || strings.Contains(m.Text+m.HTML, "Call") {
			t.Errorf("it is repeated:\n%s", m.Text)
		}
	})
}

func TestWhoTakesTheirAccountBackIsTold(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		p.member(t, "ada@example.com") // a squatter
		p.enterBy(t, link.ActorUser, "ada", "ada@example.com", home)
		p.wantTold(t, "ada@example.com", "You have taken over an account at id.example.com", "your address ada@example.com", "from 203.0.113.7 (Firefox on Windows)", "is gone")
	})
}

func TestAWayToSignInThatIsAddedOrRemovedIsTold(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		p.proved(t, "ada@example.com")
		session := p.enter(t, "ada@example.com", home)
		again := auth.Input(`{"password":"` + password + `"}`)
		way, err := p.link.LinkProvider(from(t, home), session, again, "badge", badgeOf("ada", "elsewhere@example.com"))
		if err != nil {
			t.Fatal(err)
		}
		p.wantTold(t, "ada@example.com", "A way to sign in was added to your account at id.example.com", "Example Badge was added to", "from 203.0.113.7")
		if _, _, err := p.link.UnlinkProvider(from(t, home), session, again, way.ID); err != nil {
			t.Fatal(err)
		}
		m := p.wantMails(t, 2)[1]
		wantNotice(t, m, "A way to sign in was removed from your account at id.example.com", resetPage, "Example Badge was removed from", "from 203.0.113.7")
		if m.To != "ada@example.com" {
			t.Errorf("it went to %s", m.To)
		}
	})
}

func TestAWayToSignInThatJoinsAnAccountIsTold(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		u := p.proved(t, "ada@example.com")
		if l := p.enterBy(t, link.ActorUser, "ada", "ada@example.com", home); l.ActorID != string(u.ID) {
			t.Fatalf("%+v", l)
		}
		p.wantTold(t, "ada@example.com", "A way to sign in was added to your account at id.example.com", "Example Badge was added to", "from 203.0.113.7")
	})
}

func TestANoticeThatFailedIsSentAgainTheSame(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		p.box.fail = func(n int, _ mail.Message) error {
			if n == 1 {
				return errPost
			}
			return nil
		}
		p.proved(t, "ada@example.com")
		p.changePassword(from(t, home), t, p.enter(t, "ada@example.com", home))
		sent := p.wantMails(t, 2)
		if first, again := sent[0], sent[1]; first.ID != again.ID || first.Text != again.Text || first.HTML != again.HTML || !again.Repeated {
			t.Errorf("%s\n%s", first.Text, again.Text)
		}
	})
}

func TestOfAnAccountThatIsGoneNothingIsTold(t *testing.T) {
	for name, c := range map[string]struct {
		do    func(p *program, ctx context.Context, id user.ID) error
		mails int
	}{
		"deleted":     {func(p *program, ctx context.Context, id user.ID) error { return p.users.SoftDeleteUsers(ctx, id) }, 0},
		"for good":    {func(p *program, ctx context.Context, id user.ID) error { return p.users.DeleteUsers(ctx, id) }, 0},
		"deactivated": {func(p *program, ctx context.Context, id user.ID) error { return p.users.DeactivateUsers(ctx, id) }, 1}, // who may be back
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, p *program) {
				u := p.proved(t, "ada@example.com")
				p.changePassword(from(t, home), t, p.enter(t, "ada@example.com", home))
				if err := c.do(p, t.Context(), u.ID); err != nil {
					t.Fatal(err)
				}
				p.wantMails(t, c.mails)
			})
		})
	}
}

func TestWhoDeletesTheirOwnAccountIsToldAtTheAddressThatItHad(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		p.box.fail = func(n int, _ mail.Message) error {
			if n == 1 {
				return errPost
			}
			return nil
		}
		u := p.proved(t, "ada@example.com")
		session := p.enter(t, "ada@example.com", home)
		again := auth.Input(`{"password":"` + password + `"}`)
		if _, err := p.link.DeleteOwnUser(from(t, home), session, auth.Input(`{"password":"a wrong horse"}`)); err == nil {
			t.Fatal("a wrong password deletes")
		}
		if _, err := p.link.DeleteOwnUser(from(t, home), session, again); err != nil {
			t.Fatal(err)
		}
		if _, err := p.link.DeleteOwnUser(from(t, home), session, again); err == nil {
			t.Fatal("they are deleted twice")
		}
		if err := p.users.RestoreUsers(t.Context(), u.ID); err != nil { // which undoes nothing of what is told
			t.Fatal(err)
		}
		sent := p.wantMails(t, 2) // the first of which failed
		m := sent[1]
		if m.To != "ada@example.com" || m.Subject != "Your account at id.example.com was deleted" || !m.Repeated || m.ID != sent[0].ID {
			t.Errorf("%+v", m)
		}
		for _, body := range []string{m.Text, m.HTML} {
			for _, says := range []string{"from 203.0.113.7 (Firefox on Windows)", "tell an administrator of id.example.com soon: they can restore the account"} {
				if !strings.Contains(body, says) {
					t.Errorf("it does not say %q:\n%s", says, body)
				}
			}
			if !moment.MatchString(body) || strings.Contains(body, "token") || strings.Contains(body, "http") {
				t.Errorf("it does not say when, or has a link:\n%s", body)
			}
		}
	})
}

func TestWhoDeletesAnAccountWhoseAddressNobodyHasProvedHasNothingSent(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		session := p.member(t, "victim@example.com")
		if _, err := p.link.DeleteOwnUser(from(t, home), session, auth.Input(`{"password":"`+password+`"}`)); err != nil {
			t.Fatal(err)
		}
		p.wantMails(t, 0)
	})
}

// customers are an application's own, who are what the identity is called.
type customers struct{}

func (customers) ActorType() string { return "customer" }
func (customers) FindActor(_ context.Context, id string) (link.Actor, error) {
	return link.Actor{ID: id, Email: "claimed@example.com"}, nil
}
func (customers) CreateActor(_ context.Context, d user.Draft) (link.Actor, bool, error) {
	return link.Actor{ID: string(d.ID)}, true, nil
}
func (customers) DeleteActor(context.Context, string) error { return nil }

// Of an application's own actors only the ways to sign in are known here.
func TestActorsOfAnApplicationAreToldWhereTheyHaveProvedAnAddress(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		p.options.Actors = []link.Actors{customers{}}
		var err error
		if p.link, err = link.New(p.options); err != nil {
			t.Fatal(err)
		}
		for name, address := range map[string]string{"ada": "ada@example.com", "bob": ""} {
			for _, c := range []auth.Client{home, {IP: "198.51.100.1"}} {
				p.enterBy(t, "customer", name, address, c)
			}
		}
		p.wantTold(t, "ada@example.com", "New sign-in to your account at id.example.com", "from 198.51.100.1.")
	})
}
