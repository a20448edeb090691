package mail_test

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"html"
	"io"
	"log/slog"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/mail"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/user"
)

func TestAnInviteIsMailedToItsAddressWithALinkThatProvesIt(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		made, err := p.users.CreateInvites(t.Context(), user.InviteDraft{Email: "Ada@Example.com"}, user.InviteDraft{Email: "bob@example.com"})
		if err != nil {
			t.Fatal(err)
		}
		first := p.wantMails(t, 2)
		slices.SortFunc(first, func(a, b mail.Message) int { return strings.Compare(a.To, b.To) })
		if m := first[0]; m.To != "ada@example.com" || first[1].To != "bob@example.com" || m.From != "Latchkey <latchkey@localhost>" ||
			m.Subject != "You are invited to id.example.com" || m.Repeated {
			t.Errorf("%+v to %s, %s from %s: %s", m, m.To, first[1].To, m.From, m.Subject)
		}
		old := wantLink(t, first[0], "/app/invite")
		if _, err := p.users.RefreshInviteTokens(t.Context(), made[0].ID); err != nil {
			t.Fatal(err)
		}
		token := wantLink(t, p.wantMails(t, 3)[2], "/app/invite")

		ada := p.signUp(t, "ada@example.com")
		if _, err := p.link.Accept(t.Context(), ada, old, link.Acceptance{}); !errors.Is(err, user.ErrInviteRenewed) {
			t.Errorf("accept by the mail of before: %v", err)
		}
		u, err := p.link.Accept(t.Context(), ada, token, link.Acceptance{})
		if err != nil || !u.EmailVerified() {
			t.Errorf("accept: %v, the address is proved: %v", err, u.EmailVerified())
		}
		p.wantMails(t, 3)
	})
}

func TestAnInviteThatCannotBeAcceptedIsNotMailed(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		if _, err := p.users.SetupInvite(t.Context()); err != nil { // by now there is no admin
			t.Fatal(err)
		}
		made, err := p.users.CreateInvites(t.Context(), user.InviteDraft{Email: "withdrawn@example.com"}, user.InviteDraft{Email: "deleted@example.com"},
			user.InviteDraft{Email: "closed@example.com"}, user.InviteDraft{Email: "accepted@example.com"})
		if err == nil {
			err = p.users.SoftDeleteInvites(t.Context(), made[0].ID)
		}
		if err == nil {
			err = p.users.DeleteInvites(t.Context(), made[1].ID)
		}
		if err == nil {
			_, err = p.users.UpdateInvites(t.Context(), user.InviteUpdate{ID: made[2].ID, Accepted: user.Set(true)})
		}
		if err == nil {
			_, err = p.link.Accept(t.Context(), p.signUp(t, "accepted@example.com"), p.users.InviteToken(made[3], user.ByHand), link.Acceptance{})
		}
		if err != nil {
			t.Fatal(err)
		}
		if n, err := p.outbox.Pending(t.Context()); err != nil || n != len(made) { // or the mailer had nothing to decide
			t.Errorf("%d deliveries were to be made, %v, want %d", n, err, len(made))
		}
		p.wantMails(t, 0)
	})
}

func TestAnExpiredInviteIsNotMailed(t *testing.T) {
	eachWith(t, mail.Options{URL: site}, user.Options{InviteTTL: time.Millisecond}, func(t *testing.T, p *program) {
		if _, err := p.users.CreateInvites(t.Context(), user.InviteDraft{Email: "ada@example.com"}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Millisecond)
		p.wantMails(t, 0)
	})
}

func TestWhoeverForgotAPasswordIsMailedALinkThatSetsANewOneOnce(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		p.signUp(t, "ada@example.com")
		p.wantSignIn(t, "ada@example.com", password, nil)
		p.forget(t, "ADA@Example.com")
		m := p.wantMails(t, 1)[0]
		token := wantLink(t, m, "/app/reset-password")
		if m.To != "ada@example.com" || m.Subject != "Set a new password for id.example.com" || m.Repeated {
			t.Errorf("%+v: %s", m, m.Subject)
		}
		if err := p.reset(t.Context(), token, "a new passphrase"); err != nil {
			t.Fatal(err)
		}
		if u, err := p.users.FindUser(t.Context(), "ada@example.com"); err != nil || !u.EmailVerified() {
			t.Errorf("the mailed link proved the address: %v, %v", u.EmailVerified(), err)
		}
		if err := p.reset(t.Context(), token, "another passphrase"); !errors.Is(err, auth.ErrResetToken) {
			t.Errorf("a second time: %v", err)
		}
		p.wantSignIn(t, "ada@example.com", "a new passphrase", nil)
		p.wantSignIn(t, "ada@example.com", password, auth.ErrInvalidCredentials)
		p.wantMails(t, 2) // the other says that it has changed
	})
}

func TestNobodyIsMailedForAnAddressThatIsNobodys(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		p.signUp(t, "ada@example.com")
		for _, typed := range []string{"bob@example.com", "nonsense", "", "ada@example.com\x00", strings.Repeat("a", 2000) + "@example.com", "ada@example.com, eve@example.com"} {
			p.forget(t, typed)
		}
		p.wantMails(t, 0)
	})
}

// What is written must not tell whether the address is somebody's: who has it is looked up when the mail is sent.
func TestARequestForANewPasswordWritesTheSameRowsWhoeverItIsAbout(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		p.signUp(t, "ada@example.com")
		p.wantSignIn(t, "ada@example.com", password, nil)
		written := func(typed string) (rows []string) {
			var before, after []struct {
				Seq     int64
				Topic   string
				Payload string
			}
			read := func(into any) {
				t.Helper()
				err := p.db.Conn(t.Context()).NewRaw("SELECT e.seq, e.topic, e.payload FROM latchkey_outbox_event e JOIN latchkey_outbox_delivery d ON d.event_seq = e.seq ORDER BY e.seq").Scan(t.Context(), into)
				if err != nil {
					t.Fatal(err)
				}
			}
			read(&before)
			p.forget(t, typed)
			read(&after)
			for _, r := range after[len(before):] {
				text := strings.ReplaceAll(r.Payload, typed, "ADDRESS")
				text = regexp.MustCompile(`reset_[0-9A-Z]+|[0-9-]+T[0-9:.]+Z`).ReplaceAllString(text, "…")
				rows = append(rows, r.Topic+" "+text)
			}
			return rows
		}
		known, unknown := written("ada@example.com"), written("bob@example.com")
		if len(known) == 0 || !slices.Equal(known, unknown) {
			t.Errorf("for a known address\n%q\nfor an unknown one\n%q", known, unknown)
		}
		p.wantMails(t, 1)
	})
}

func TestTwoRequestsAtOnceLeaveOneGoodLink(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		p.signUp(t, "ada@example.com")
		p.forget(t, "ada@example.com")
		p.forget(t, "Ada@example.com")
		p.forget(t, "ada@example.com")
		good := 0
		for _, m := range p.deliver(t) {
			err := p.reset(t.Context(), tokenIn(m.Text), "a new passphrase")
			switch {
			case err == nil:
				good++
			case !errors.Is(err, auth.ErrResetToken):
				t.Error(err)
			}
		}
		if good != 1 {
			t.Errorf("%d links are good, want 1", good)
		}
	})
}

func TestAMailThatFailedIsSentAgainWithTheSameLink(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		p.box.fail = func(n int, _ mail.Message) error {
			if n <= 2 {
				return errPost
			}
			return nil
		}
		p.signUp(t, "ada@example.com")
		if _, err := p.users.CreateInvites(t.Context(), user.InviteDraft{Email: "bob@example.com"}); err != nil {
			t.Fatal(err)
		}
		p.forget(t, "ada@example.com")
		sent := p.wantMails(t, 4)
		byAddress := func(a, b mail.Message) int { return strings.Compare(a.To, b.To) }
		slices.SortFunc(sent[:2], byAddress)
		slices.SortFunc(sent[2:], byAddress)
		for i := range 2 {
			first, again := sent[i], sent[i+2]
			if first.Repeated || !again.Repeated {
				t.Errorf("repeated: %v, %v, want the second", first.Repeated, again.Repeated)
			}
			if again.Repeated = false; first != again {
				t.Errorf("the second mail differs:\n%s\n%s", first.Text, again.Text)
			}
		}
		if err := p.reset(t.Context(), wantLink(t, sent[2], "/app/reset-password"), "a new passphrase"); err != nil {
			t.Errorf("the link is no good: %v", err)
		}
		if log := p.log.String(); !strings.Contains(log, errPost.Error()) {
			t.Errorf("the log does not say why:\n%s", log)
		}
	})
}

func TestAMailIsNotSentAgainOnceItsLinkIsOfNoUse(t *testing.T) {
	for name, meanwhile := range map[string]struct {
		do    func(t *testing.T, p *program, token string) error
		mails int
	}{
		"used": {func(t *testing.T, p *program, token string) error {
			return p.reset(t.Context(), token, "a new passphrase")
		}, 2}, // and that it has changed
		"superseded": {func(t *testing.T, p *program, _ string) error {
			p.forget(t, "ada@example.com") // its mail waits for nothing
			return nil
		}, 2},
		"the password was changed": {func(t *testing.T, p *program, _ string) error {
			l, err := p.link.SignIn(t.Context(), link.ActorUser, emailpass.Name, credentials("ada@example.com", password), auth.Client{})
			if err == nil {
				_, _, err = p.link.ChangePassword(t.Context(), l.Session, emailpass.Name,
					auth.Input(`{"current_password":"`+password+`","password":"a new passphrase"}`))
			}
			return err
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, p *program) {
				p.box.fail = func(n int, m mail.Message) error {
					if n > 1 {
						return nil
					}
					if err := meanwhile.do(t, p, tokenIn(m.Text)); err != nil {
						t.Error(err)
					}
					return errPost // it left all the same
				}
				p.signUp(t, "ada@example.com")
				p.forget(t, "ada@example.com")
				sent := p.wantMails(t, meanwhile.mails)
				if name == "superseded" {
					if err := p.reset(t.Context(), tokenIn(sent[0].Text), "a new passphrase"); !errors.Is(err, auth.ErrResetToken) {
						t.Errorf("the older link: %v", err)
					}
					if err := p.reset(t.Context(), tokenIn(sent[1].Text), "a new passphrase"); err != nil {
						t.Errorf("the newer link: %v", err)
					}
				}
			})
		})
	}
}

func TestAnInviteThatIsAcceptedByAMailThatFailedIsNotMailedAgain(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		p.box.fail = func(_ int, m mail.Message) error {
			if _, err := p.link.Accept(t.Context(), p.signUp(t, "ada@example.com"), tokenIn(m.Text), link.Acceptance{}); err != nil {
				t.Error(err)
			}
			return errPost
		}
		if _, err := p.users.CreateInvites(t.Context(), user.InviteDraft{Email: "ada@example.com"}); err != nil {
			t.Fatal(err)
		}
		p.wantMails(t, 1)
	})
}

func TestWhatGoesIntoAMailIsText(t *testing.T) {
	const odd = `https://a<b>&"c'.example/x&y<z>"'`
	const address = `o'neill&co+{{.}}@example.com`
	eachWith(t, mail.Options{URL: odd, From: `"Keys & <Locks>" <keys@example.com>`}, user.Options{}, func(t *testing.T, p *program) {
		p.signUp(t, address)
		p.forget(t, address)
		m := p.wantMails(t, 1)[0]
		if m.To != address || m.Subject != `Set a new password for a<b>&"c'.example` || !strings.Contains(m.Text, "\n"+odd+"/app/reset-password?token=") {
			t.Errorf("to %s: %s\n%s", m.To, m.Subject, m.Text)
		}
		elements := map[string]int{}
		dec := xml.NewDecoder(strings.NewReader(m.HTML))
		dec.Strict, dec.AutoClose = false, []string{"meta"}
		for {
			token, err := dec.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("%v\n%s", err, m.HTML)
			}
			if e, ok := token.(xml.StartElement); ok {
				elements[e.Name.Local]++
				if most := map[string]int{"meta": 2}[e.Name.Local]; len(e.Attr) > max(1, most) {
					t.Errorf("<%s> has %v", e.Name.Local, e.Attr)
				}
			}
		}
		want := map[string]int{"html": 1, "head": 1, "meta": 3, "title": 1, "body": 1, "div": 1, "p": 4, "a": 1}
		if fmt.Sprint(elements) != fmt.Sprint(want) {
			t.Errorf("elements %v, want %v\n%s", elements, want, m.HTML)
		}
		for _, text := range []string{address, `a<b>&"c'.example`} {
			if !strings.Contains(html.UnescapeString(m.HTML), text) {
				t.Errorf("the HTML does not say %s:\n%s", text, m.HTML)
			}
		}
	})
}

// What an inviter writes is quoted, as text, and nothing in it is or becomes a link.
func TestTheMessageOfAnInviteIsQuotedAndHoldsNoLinks(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		const message = "Hello <a href=\"https://evil.example/x\">Ada</a>!\nOpen http://evil.example:80/login or www.evil.example, evil。example, ftp://a.bc.de.\nevil.भारत/x 10.0.0.1/x\n\n" +
			"{{.URL}} & e.g. 3.5 % of ... {{template \"reset.txt\"}}\nSubject: no"
		if _, err := p.users.CreateInvites(t.Context(), user.InviteDraft{Email: "ada@example.com", Message: message}, user.InviteDraft{Email: "bob@example.com"}); err != nil {
			t.Fatal(err)
		}
		sent := p.wantMails(t, 2)
		slices.SortFunc(sent, func(a, b mail.Message) int { return strings.Compare(a.To, b.To) })
		ada, bob := sent[0], sent[1]
		wantLink(t, ada, "/app/invite")
		want := "\n\nWhoever invites you writes:\n\n" +
			"> Hello <a href=\"https: //evil. example/x\">Ada</a>!\n" +
			"> Open http: //evil. example:80/login or www. evil. example, evil。 example, ftp: //a. bc. de.\n> evil. भारत/x 10. 0.0.1/x\n" +
			"> \n" +
			"> {{. URL}} & e.g. 3.5 % of ... {{template \"reset. txt\"}}\n" +
			"> Subject: no\n"
		if !strings.HasSuffix(ada.Text, want) || ada.Subject != bob.Subject || strings.Contains(bob.Text+bob.HTML, "writes") {
			t.Errorf("%s\nends with\n%s\nwant\n%s\nand without a message\n%s", ada.Subject, ada.Text, want, bob.Text)
		}
		if strings.Count(ada.HTML, "<a ") != 1 || strings.Count(ada.HTML, "<blockquote>") != 1 || strings.Count(ada.HTML, "://") != 1 ||
			!strings.Contains(ada.HTML, "Hello &lt;a href=&#34;https: //evil. example/x&#34;&gt;Ada&lt;/a&gt;!<br>Open ") {
			t.Errorf("the HTML:\n%s", ada.HTML)
		}
	})
}

func TestWithoutASenderNobodyConsumesAnything(t *testing.T) {
	m, err := mail.New(mail.Params{})
	if err != nil || len(m.Consumers()) != 0 {
		t.Errorf("%v, %d consumers", err, len(m.Consumers()))
	}
}

func TestOptionsThatCannotBeMeantAreRefused(t *testing.T) {
	good := mail.Options{Sender: &mailbox{}, URL: site, From: "Latchkey <latchkey@example.com>"}
	if _, err := mail.New(mail.Params{Options: good}); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{"nonsense", "a@", "Latchkey <a@example.com", "a@example.com, b@example.com", "a@example.com\r\nBcc: b@example.com", "a@example.com\n"} {
		o := good
		o.From = from
		if _, err := mail.New(mail.Params{Options: o}); err == nil || !strings.Contains(err.Error(), "From") {
			t.Errorf("From %q: %v", from, err)
		}
	}
	for _, url := range []string{"", "id.example.com", "https://", "/app", "javascript:alert(1)", "mailto:a@example.com", "https://id.example.com\r\nX: y", "https://%", site + "/", site + "?x=1", site + "?", site + "#x", "https://a@id.example.com"} {
		o := good
		o.URL = url
		if _, err := mail.New(mail.Params{Options: o}); err == nil || !strings.Contains(err.Error(), "URL") {
			t.Errorf("URL %q: %v", url, err)
		}
	}
}

func TestLinksAreNotPrinted(t *testing.T) {
	const secret = "eyJhbGciOiJIUzI1NiJ9.secret"
	message := mail.Message{To: "ada@example.com", Subject: secret, Text: secret, HTML: secret}
	token := auth.PasswordResetToken{Token: secret, EntityID: "ada@example.com", Email: "ada@example.com"}
	var terminal bytes.Buffer
	options := mail.Options{Sender: mail.NewLog(&terminal)}
	send(t, options.Sender, message)
	for name, v := range map[string]any{"message": message, "pointer to a message": &message, "messages": []mail.Message{message},
		"token": token, "pointer to a token": &token, "options": options} {
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "value", v)
		if name != "messages" { // JSON is how a Sender writes a message, and a list of them is nothing else
			slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "value", v)
		}
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			fmt.Fprintf(&log, verb+"\n", v)
		}
		if strings.Contains(log.String(), secret) || (name != "options" && !strings.Contains(log.String(), "ada@example.com")) {
			t.Errorf("%s: the link is printed, or not for whom it is:\n%s", name, &log)
		}
	}
}
