package mail_test

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/mail"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/auth/magiclink"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// byMail has the program sign in by mail, too.
func (p *program) byMail(t *testing.T, mode string) {
	t.Helper()
	keys, err := keyring.New(make([]byte, 32))
	must(t, err)
	passwords, err := auth.NewPasswords(auth.PasswordParams{Keys: keys, Options: auth.PasswordOptions{Cost: 4, MaxWait: time.Minute}})
	must(t, err)
	magic, err := magiclink.New(auth.NewMailings(keys), magiclink.Config{Mode: mode}, magiclink.Options{URL: site})
	must(t, err)
	p.options.Auth, err = auth.New(auth.Params{DB: p.db, Keys: keys, Events: p.outbox, Providers: []auth.Provider{emailpass.New(passwords, emailpass.Config{}), magic}})
	must(t, err)
	p.link, err = link.New(p.options)
	must(t, err)
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// caller is who asks, and their browser.
var (
	caller  = auth.Client{IP: "192.0.2.1", UserAgent: "Mozilla/5.0 (Windows NT 10.0; rv:140.0) Gecko/20100101 Firefox/140.0"}
	browser = "what the browser keeps...."
)

func (p *program) askToSignIn(t *testing.T, address string) auth.Flow {
	t.Helper()
	flow, err := p.link.Begin(t.Context(), magiclink.Name, auth.Input(`{"email":"`+address+`"}`), auth.Binding{ActorType: link.ActorUser, Browser: browser}, caller)
	must(t, err)
	return flow
}

func (p *program) comeBack(t *testing.T, flow auth.Flow, answer string, sessions ...auth.Session) (link.Returned, error) {
	t.Helper()
	in, err := json.Marshal(map[string]string{"state": flow.ID, "code": answer})
	must(t, err)
	return p.link.Finish(t.Context(), magiclink.Name, in, auth.Return{ActorType: link.ActorUser, Browser: browser, Sessions: sessions}, caller, nil)
}

// answerIn returns what a mail has people bring back: the token of the link, or the code.
func answerIn(t *testing.T, mode string, m mail.Message) string {
	t.Helper()
	if mode == magiclink.Link {
		return wantLink(t, m, "/app/magic")
	}
	codes := regexp.MustCompile(`\b\d{6}\b`).FindAllString(m.Text, -1)
	if len(codes) != 1 || !strings.Contains(m.Text, "\n"+codes[0]+"\n") || strings.Count(m.HTML, codes[0]) != 1 || strings.Contains(m.Subject, codes[0]) {
		t.Fatalf("text and HTML do not both have one code, or the subject has it: %s\n%s\n%s", m.Subject, m.Text, m.HTML)
	}
	if strings.Contains(m.Text+m.HTML, "token=") {
		t.Errorf("a code comes with a link: %s", m.Text)
	}
	return codes[0]
}

var subjects = map[string]string{magiclink.Link: "Sign in to id.example.com", magiclink.Code: "Your code to sign in to id.example.com"}

// eachMode is each for mailed links and for mailed codes.
func eachMode(t *testing.T, f func(t *testing.T, p *program, mode string)) {
	t.Parallel()
	for mode := range subjects {
		t.Run(mode, func(t *testing.T) {
			each(t, func(t *testing.T, p *program) {
				p.byMail(t, mode)
				f(t, p, mode)
			})
		})
	}
}

func TestWhoAsksToSignInIsMailedWhatSignsThemIn(t *testing.T) {
	eachMode(t, func(t *testing.T, p *program, mode string) {
		flow := p.askToSignIn(t, "Ada@Example.com") // who is nobody yet: the mail is the same
		m := p.wantMails(t, 1)[0]
		answer := answerIn(t, mode, m)
		for _, want := range []string{"wants to sign in to id.example.com as ada@example.com", "Firefox on Windows", "192.0.2.1", "It works once, until "} {
			if !strings.Contains(m.Text, want) {
				t.Errorf("the mail does not say %q: %s", want, m.Text)
			}
		}
		if m.To != "ada@example.com" || m.Subject != subjects[mode] {
			t.Errorf("to %s: %s", m.To, m.Subject)
		}
		if log := p.log.String(); strings.Contains(log, answer) {
			t.Error("the log has what signs in")
		}
		r, err := p.comeBack(t, flow, answer)
		if err != nil || r.Login.ActorID == "" || r.Login.Identity.Proved.Email != "ada@example.com" || !r.Login.Identity.Proved.EmailVerified {
			t.Errorf("%+v, %v", r.Login, err)
		}
		if _, err := p.comeBack(t, flow, answer); err == nil {
			t.Error("it signs in twice")
		}
	})
}

func TestWhatSignsInIsMailedOnlyWhileItIsOfUse(t *testing.T) {
	eachMode(t, func(t *testing.T, p *program, mode string) {
		must(t, p.db.InTx(t.Context(), func(ctx context.Context) error {
			return p.outbox.Emit(ctx, auth.SignInMailRequested{ID: "signinmail_1", Key: "gone", Provider: magiclink.Name, ActorType: link.ActorUser,
				EntityID: "ada@example.com", EntityType: "email", CodeProvider: "token", ExpiresAt: time.Now().Add(time.Hour)})
		}))
		p.askToSignIn(t, "ada@example.com")
		p.wantMails(t, 1) // and none under a key that there is no more
	})
}

func TestAMailThatSignsInAndFailedIsSentAgainTheSame(t *testing.T) {
	eachMode(t, func(t *testing.T, p *program, mode string) {
		p.box.fail = func(n int, _ mail.Message) error {
			if n == 1 {
				return errPost
			}
			return nil
		}
		flow := p.askToSignIn(t, "ada@example.com")
		mails := p.wantMails(t, 2)
		if mails[0].ID != mails[1].ID || mails[0].Text != mails[1].Text || !mails[1].Repeated {
			t.Errorf("%+v", mails)
		}
		if _, err := p.comeBack(t, flow, answerIn(t, mode, mails[0])); err != nil {
			t.Error(err)
		}
	})
}

func TestTheNewestMailAloneSignsIn(t *testing.T) {
	eachMode(t, func(t *testing.T, p *program, mode string) {
		flow := p.askToSignIn(t, "ada@example.com")
		first := answerIn(t, mode, p.wantMails(t, 1)[0])
		_, err := p.options.Auth.MailAgain(auth.WithClient(t.Context(), caller), magiclink.Name, flow.ID, browser, auth.Input(`{"email":"ada@example.com"}`))
		must(t, err)
		second := answerIn(t, mode, p.wantMails(t, 2)[1])
		if first == second {
			return // two codes of a million are one
		}
		other := p.askToSignIn(t, "bob@example.com")
		if _, err := p.comeBack(t, other, second); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("what was mailed to one, in the flow of another: %v", err)
		}
		if mode == magiclink.Code { // of which there are several tries
			if _, err := p.comeBack(t, flow, first); !errors.Is(err, auth.ErrInvalidCredentials) {
				t.Errorf("the first: %v", err)
			}
		}
		if r, err := p.comeBack(t, flow, second); err != nil || r.Login.Identity.Proved.Email != "ada@example.com" {
			t.Errorf("the newest: %v", err)
		}
	})
}

func TestAMailThatAddsAWayToSignInNamesTheAccount(t *testing.T) {
	eachMode(t, func(t *testing.T, p *program, mode string) {
		session := p.member(t, "grace@example.com")
		p.askToProve(t, session, "grace@example.com")
		_, err := p.link.ConfirmVerification(t.Context(), session, tokenIn(p.wantMails(t, 1)[0].Text))
		must(t, err)
		flow, err := p.link.BeginLink(auth.WithClient(t.Context(), caller), session, credentials("", password), magiclink.Name, auth.Input(`{"email":"ada@example.com"}`),
			auth.Binding{Browser: browser})
		must(t, err)
		mails := to(p.wantMails(t, 2), "ada@example.com")
		if len(mails) != 1 || !strings.Contains(mails[0].Subject, "dd ada@example.com to an account at id.example.com") ||
			!strings.Contains(mails[0].Text, "The account grace@example.com at id.example.com is to be signed in to by ada@example.com as well") {
			t.Fatalf("%q", mails)
		}
		if _, err := p.comeBack(t, flow, answerIn(t, mode, mails[0]), session); !errors.Is(err, link.ErrForeignEmail) {
			t.Errorf("the address of another mailbox than the account's: %v", err)
		}
	})
}
