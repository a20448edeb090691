package mail_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"mime/multipart"
	"mime/quotedprintable"
	"net"
	netmail "net/mail"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/mail"
	"github.com/latchkey-go/latchkey/app/mail/smtptest"
)

const smtpPassword = "s3cret of the server"

// by is a Sender by the server, with what o says beside.
func by(t *testing.T, s *smtptest.Server, o mail.SMTPOptions) *mail.SMTP {
	t.Helper()
	o.Host, o.Port, o.TLS = s.Host, s.Port, s.TLS
	if o.RootCAs == nil {
		o.RootCAs = s.Roots
	}
	sender, err := mail.NewSMTP(o)
	if err != nil {
		t.Fatal(err)
	}
	return sender
}

// wantError wants an error that says so, and nothing of the message.
func wantError(t *testing.T, err error, refused bool, says ...string) {
	t.Helper()
	if err == nil || errors.Is(err, mail.ErrRefused) != refused {
		t.Fatalf("%v, want an error, for good: %t", err, refused)
	}
	for _, text := range says {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
	for _, text := range []string{message(1).To, "user1", message(1).Subject, "first line", smtpPassword} {
		if strings.Contains(err.Error(), text) {
			t.Errorf("%q says %q", err, text)
		}
	}
}

// read takes a mail apart as the recipient's program does.
func read(t *testing.T, data []byte) (h netmail.Header, text, html string) {
	t.Helper()
	m, err := netmail.ReadMessage(bytes.NewReader(data))
	if err != nil {
		t.Fatalf("%v\n%s", err, data)
	}
	kind, params, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/alternative" {
		t.Fatalf("%s, %v\n%s", kind, err, data)
	}
	r, bodies := multipart.NewReader(m.Body, params["boundary"]), []string{}
	for _, want := range []string{"text/plain", "text/html"} {
		p, err := r.NextRawPart()
		if err != nil {
			t.Fatalf("%v\n%s", err, data)
		}
		if kind, params, err := mime.ParseMediaType(p.Header.Get("Content-Type")); err != nil || kind != want || !strings.EqualFold(params["charset"], "utf-8") {
			t.Errorf("%s %v %v, want %s", kind, params, err, want)
		}
		if p.Header.Get("Content-Transfer-Encoding") != "quoted-printable" {
			t.Errorf("encoded as %s", p.Header.Get("Content-Transfer-Encoding"))
		}
		body, err := io.ReadAll(quotedprintable.NewReader(p))
		if err != nil {
			t.Fatal(err)
		}
		bodies = append(bodies, strings.ReplaceAll(string(body), "\r\n", "\n"))
	}
	if _, err := r.NextRawPart(); !errors.Is(err, io.EOF) {
		t.Errorf("there is more: %v", err)
	}
	for line := range strings.SplitSeq(strings.TrimSuffix(string(data), "\r\n"), "\r\n") {
		if len(line) > 998 || strings.ContainsAny(line, "\r\n") || strings.ContainsFunc(line, func(r rune) bool { return r > 126 }) {
			t.Errorf("the line %q cannot travel everywhere", line)
		}
	}
	return m.Header, bodies[0], bodies[1]
}

func TestAServerGetsTheMailOverTLSAndNobodyElse(t *testing.T) {
	t.Parallel()
	for _, o := range []smtptest.Options{
		{TLS: mail.STARTTLS}, {TLS: mail.ImplicitTLS}, {TLS: mail.NoTLS},
		{TLS: mail.STARTTLS, Username: "latchkey", Password: smtpPassword}, {TLS: mail.ImplicitTLS, Username: "latchkey", Password: smtpPassword, Login: true},
		{TLS: mail.NoTLS, Username: "latchkey", Password: smtpPassword}, // on this machine
	} {
		s := smtptest.Start(t, o)
		m := message(1)
		send(t, by(t, s, mail.SMTPOptions{Username: o.Username, Password: o.Password}), m)
		got := s.Mails()
		if len(got) != 1 || got[0].From != "latchkey@example.com" || !slices.Equal(got[0].To, []string{m.To}) || got[0].TLS != (o.TLS != mail.NoTLS) || got[0].User != o.Username {
			t.Errorf("%+v: the server got %+v", o, got)
			continue
		}
		if _, text, html := read(t, got[0].Data); text != m.Text || html != m.HTML {
			t.Errorf("%+v: text %q, HTML %q", o, text, html)
		}
		if heard := s.Heard(); o.TLS != mail.NoTLS && (strings.Contains(heard, "user1") || strings.Contains(heard, base64.StdEncoding.EncodeToString([]byte(smtpPassword)))) {
			t.Errorf("%+v: in clear: %q", o, heard)
		}
	}
}

// Whoever is in between can take the offer of STARTTLS away. Then nothing is sent: no mail, no address, no password.
func TestAServerThatDoesNotOfferSTARTTLSIsSentNothing(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{TLS: mail.NoTLS, Username: "latchkey", Password: smtpPassword})
	s.TLS = mail.STARTTLS // as we believe
	err := by(t, s, mail.SMTPOptions{Username: "latchkey", Password: smtpPassword}).Send(t.Context(), message(1))
	wantError(t, err, false, "STARTTLS", "does not offer it, so nothing was sent", "tls: tls")
	if heard := s.Heard(); !strings.HasPrefix(heard, "EHLO ") || strings.Count(heard, "\n") > 2 || strings.Contains(heard, "AUTH") || strings.Contains(heard, "MAIL") {
		t.Errorf("the server heard %q", heard)
	}
	if len(s.Mails()) != 0 {
		t.Error("a mail was sent")
	}
}

func TestAServerWhoseCertificateIsNotItsOwnIsSentNothing(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{mail.STARTTLS, mail.ImplicitTLS} {
		other := smtptest.Start(t, smtptest.Options{TLS: kind})
		for name, o := range map[string]smtptest.Options{"of another host": {Name: "mail.example.com"}, "of a CA that nobody knows": {}} {
			o.TLS, o.Username, o.Password = kind, "latchkey", smtpPassword
			s := smtptest.Start(t, o)
			roots := s.Roots
			if o.Name == "" {
				roots = other.Roots
			}
			err := by(t, s, mail.SMTPOptions{Username: o.Username, Password: o.Password, RootCAs: roots}).Send(t.Context(), message(1))
			wantError(t, err, false, "certificate", "ca_file")
			if heard := s.Heard(); len(s.Mails()) != 0 || strings.Contains(heard, "MAIL") || strings.Contains(heard, "AUTH") {
				t.Errorf("%s: the server heard %q", name, heard)
			}
		}
	}
}

func TestTheWrongKindOfPortIsSaid(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{TLS: mail.STARTTLS})
	s.TLS = mail.ImplicitTLS
	wantError(t, by(t, s, mail.SMTPOptions{}).Send(t.Context(), message(1)), false, "does not speak TLS here", "tls: starttls")
	s = smtptest.Start(t, smtptest.Options{TLS: mail.ImplicitTLS})
	s.TLS = mail.STARTTLS
	wantError(t, by(t, s, mail.SMTPOptions{Timeout: 200 * time.Millisecond}).Send(t.Context(), message(1)), false, "does not answer in time", "tls: tls")
}

func TestAWrongPasswordIsOurTroubleAndNotTheMails(t *testing.T) {
	t.Parallel()
	for _, login := range []bool{false, true} {
		s := smtptest.Start(t, smtptest.Options{TLS: mail.STARTTLS, Username: "latchkey", Password: "another one", Login: login})
		err := by(t, s, mail.SMTPOptions{Username: "latchkey", Password: smtpPassword}).Send(t.Context(), message(1))
		wantError(t, err, false, "sign in", "535")
		wantError(t, by(t, s, mail.SMTPOptions{}).Send(t.Context(), message(1)), false, "name the sender", "502")
	}
	s := smtptest.Start(t, smtptest.Options{TLS: mail.STARTTLS})
	wantError(t, by(t, s, mail.SMTPOptions{Username: "latchkey", Password: smtpPassword}).Send(t.Context(), message(1)), false, "sign in", "neither PLAIN nor LOGIN")
	if len(s.Mails()) != 0 {
		t.Error("a mail was sent")
	}
}

// What a server says of the mail or its recipient by 5xx is for good; all else is tried again.
func TestWhatAServerRefusesForGoodIsToldFromWhatMayMend(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{TLS: mail.STARTTLS})
	sender := by(t, s, mail.SMTPOptions{})
	for _, c := range []struct {
		stage string
		err   error
		good  bool
		says  string
	}{
		{smtptest.Connect, smtptest.Answer(554, 5, 7, 1, "your address is on a list"), false, "554"},
		{smtptest.Connect, smtptest.Answer(421, 4, 3, 2, "closing"), false, "421"},
		{smtptest.Sender, smtptest.Answer(550, 5, 1, 8, "nobody knows latchkey@example.com"), false, "name the sender: 550"},
		{smtptest.Recipient, smtptest.Answer(450, 4, 2, 0, "<user1@example.com>: greylisted, come back"), false, "450 4.2.0 … greylisted,"},
		{smtptest.Recipient, smtptest.Answer(550, 5, 1, 1, "<user1@example.com>: user1 is unknown"), true, "550 5.1.1 … … is unknown"},
		{smtptest.Recipient, smtptest.Answer(553, 5, 1, 3, "no such address"), true, "553"},
		{smtptest.Recipient, smtptest.Answer(554, 5, 7, 1, "relay access denied"), false, "554 5.7.1 relay access denied"},
		{smtptest.Recipient, smtptest.Answer(530, 5, 7, 0, "sign in first"), false, "530"},
		{smtptest.Recipient, smtptest.Answer(503, 5, 5, 1, "not now"), false, "503"},
		{smtptest.Content, smtptest.Answer(554, 5, 6, 0, "we do not like: first line link, user1@example.com"), true, "554 5.6.0"},
		{smtptest.Content, smtptest.Answer(550, 5, 7, 26, "this mail has no SPF"), false, "550 5.7.26 this mail has no SPF"},
		{smtptest.Content, smtptest.Answer(451, 4, 3, 0, "try later"), false, "451"},
		{smtptest.Content, smtptest.Answer(452, 4, 3, 1, "disk full"), false, "452"},
	} {
		s.Fail(func(stage string, _ smtptest.Mail) error {
			if stage == c.stage {
				return c.err
			}
			return nil
		})
		err := sender.Send(t.Context(), message(1))
		if err == nil || errors.Is(err, mail.ErrRefused) != c.good || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "user1") || strings.Contains(err.Error(), "@") {
			t.Errorf("%v at %s: %v, want it for good: %t", c.err, c.stage, err, c.good)
		}
	}
	s.Fail(nil)
	send(t, sender, message(1))
	if n := len(s.Mails()); n != 1 {
		t.Errorf("%d mails were taken, want 1", n)
	}
}

func TestAMailThatIsSentAgainIsTheSameMail(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{TLS: mail.STARTTLS})
	sender := by(t, s, mail.SMTPOptions{})
	m := message(1)
	m.At = time.Date(2026, 11, 26, 1, 30, 0, 0, time.FixedZone("", 3600))
	other, toOther := m, m
	other.ID, toOther.To = "evt_2", "bob@example.com"
	for _, m := range []mail.Message{m, m, other, toOther} {
		m.Repeated = len(s.Mails()) > 0
		send(t, sender, m)
	}
	got := s.Mails()
	if !bytes.Equal(got[0].Data, got[1].Data) {
		t.Errorf("the second is\n%s\nafter\n%s", got[1].Data, got[0].Data)
	}
	ids := map[string]bool{}
	for _, m := range got {
		h, _, _ := read(t, m.Data)
		id := h.Get("Message-Id")
		ids[id] = true
		if !strings.HasPrefix(id, "<evt_") || !strings.HasSuffix(id, "@example.com>") || h.Get("Date") != "Thu, 26 Nov 2026 00:30:00 +0000" ||
			h.Get("Auto-Submitted") != "auto-generated" || h.Get("Mime-Version") != "1.0" || h.Get("User-Agent")+h.Get("X-Mailer") != "" || len(h) != 8 {
			t.Errorf("the header is %v", h)
		}
	}
	if len(ids) != 3 {
		t.Errorf("three mails have the ids %v", ids)
	}
}

func TestWhatAMailSaysArrivesAsItWasWritten(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{TLS: mail.STARTTLS})
	sender := by(t, s, mail.SMTPOptions{})
	m := message(1)
	m.From = `"Schlüssel & Söhne, GmbH" <Keys@example.com>`
	m.To = "o'neill&co+{{.}}@example.com"
	m.Subject = "Willkommen bei Schlüssel & Söhne: " + strings.Repeat("ein sehr langer Betreff, ", 12) + "日本語"
	link := "https://id.example.com/app/reset-password?token=" + strings.Repeat("eyJhbGciOiJIUzI1NiJ9", 40)
	m.Text = ".\n..\n.dots at the beginning\nspaces at the end  \n=3D and = signs\n\tÄrger 日本語 🔑\n" + link + "\n" + strings.Repeat("w", 3000) + "\nFrom here\n\n.\n"
	m.HTML = "<p>.</p>\n.\n<a href=\"" + link + "\">" + strings.Repeat("ä", 2000) + "</a>\n"
	send(t, sender, m)
	got := s.Mails()[0]
	h, text, html := read(t, got.Data)
	if text != m.Text || html != m.HTML {
		t.Errorf("text\n%q\nwant\n%q\nHTML\n%q\nwant\n%q", text, m.Text, html, m.HTML)
	}
	subject, err := new(mime.WordDecoder).DecodeHeader(h.Get("Subject"))
	if err != nil || subject != m.Subject {
		t.Errorf("subject %q, %v", subject, err)
	}
	from, err := h.AddressList("From")
	if err != nil || len(from) != 1 || from[0].Name != "Schlüssel & Söhne, GmbH" || from[0].Address != "Keys@example.com" || got.From != "Keys@example.com" {
		t.Errorf("from %v, %v; %s", from, err, got.From)
	}
	to, err := h.AddressList("To")
	if err != nil || len(to) != 1 || to[0].Address != m.To || !slices.Equal(got.To, []string{m.To}) {
		t.Errorf("to %v, %v; %v", to, err, got.To)
	}
}

// Nothing that somebody can choose makes another line of the header, or another recipient.
func TestNothingInAMessageAddsAHeaderOrARecipient(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{TLS: mail.STARTTLS})
	sender := by(t, s, mail.SMTPOptions{})
	odd := []string{"\r\nBcc: eve@evil.example", "\nBcc: eve@evil.example", "\rBcc: eve@evil.example", "\r\n\r\nhello", "\u2028Bcc: eve@evil.example", "\u0085Bcc: e@evil.example",
		"\x00", "\x7f", "\u202emoc.elpmaxe@adb", "\u200b", ", eve@evil.example", ",eve@evil.example", " eve@evil.example", ";eve@evil.example", "\xff\xfe", "> RCPT TO:<eve@evil.example", "<eve@evil.example>"}
	for _, text := range odd {
		before, m := len(s.Mails()), message(1)
		m.To = "user1@example.com" + text
		if err := sender.Send(t.Context(), m); err == nil || !errors.Is(err, mail.ErrRefused) || strings.Contains(err.Error(), "user1") {
			t.Errorf("to %q: %v", m.To, err)
		}
		if len(s.Mails()) != before {
			t.Errorf("to %q: a mail was sent to %v", m.To, s.Mails()[before].To)
		}

		m = message(1)
		m.Subject, m.ID = "Hello"+text+"!", "evt_1"+text
		send(t, sender, m)
		m = message(1)
		m.From = "Keys" + text + " <latchkey@example.com>"
		_ = sender.Send(t.Context(), m) // or it is no address
		m.From = "<latchkey@example.com" + text + ">"
		_ = sender.Send(t.Context(), m)
	}
	if n := len(s.Mails()); n < len(odd) {
		t.Fatalf("%d mails", n)
	}
	for _, got := range s.Mails() {
		h, _, _ := read(t, got.Data)
		subject, err := new(mime.WordDecoder).DecodeHeader(h.Get("Subject"))
		invisible := func(r rune) bool {
			return r < ' ' || r == 0x7f || r == 0x85 || r >= 0x2000 && r <= 0x206f || r == 0xfffd
		}
		if err != nil || len(h) != 8 || len(got.To) != 1 || got.To[0] != "user1@example.com" || got.From != "latchkey@example.com" || strings.ContainsFunc(subject, invisible) {
			t.Errorf("%v: from %s to %v\n%s", err, got.From, got.To, got.Data)
		}
		if id := h.Get("Message-Id"); !regexp.MustCompile(`^<[A-Za-z0-9_.-]+@example\.com>$`).MatchString(id) {
			t.Errorf("Message-ID %q", id)
		}
		if from, err := h.AddressList("From"); err != nil || len(from) != 1 || from[0].Address != "latchkey@example.com" || strings.ContainsFunc(from[0].Name, invisible) {
			t.Errorf("from %q, %v", h.Get("From"), err)
		}
	}
}

func TestAnAnswerThatIsLateIsWaitedForOnceTheMailIsThere(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{TLS: mail.STARTTLS})
	there, ended := make(chan struct{}), make(chan struct{})
	s.Fail(func(stage string, _ smtptest.Mail) error {
		if stage == smtptest.Content {
			close(there)
			<-ended
		}
		return nil
	})
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	go func() {
		<-there
		cancel() // the caller gives up, when the mail is with the server
		close(ended)
	}()
	if err := by(t, s, mail.SMTPOptions{}).Send(ctx, message(1)); err != nil {
		t.Errorf("a mail that was taken: %v", err)
	}
	if n := len(s.Mails()); n != 1 {
		t.Errorf("%d mails were taken", n)
	}
}

func TestWhoGivesUpBeforeTheMailIsThereHasSentNothing(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{TLS: mail.STARTTLS})
	ctx, cancel := context.WithCancel(t.Context())
	s.Fail(func(stage string, _ smtptest.Mail) error {
		if stage == smtptest.Recipient {
			cancel()
			<-t.Context().Done() // no answer
		}
		return nil
	})
	wantError(t, by(t, s, mail.SMTPOptions{}).Send(ctx, message(1)), false, "name the recipient", "not answer in time")
	if n := len(s.Mails()); n != 0 {
		t.Errorf("%d mails were taken", n)
	}
}

// A server that takes the mail and is then gone, without a goodbye, has the mail.
func TestHangingUpAfterTheMailWasTakenIsNoFailure(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	var taken sync.WaitGroup
	taken.Go(func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprint(c, "220 hello\r\n")
		buf, inData := make([]byte, 4096), false
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			switch said := string(buf[:n]); {
			case inData && strings.HasSuffix(said, "\r\n.\r\n"):
				fmt.Fprint(c, "250 taken\r\n")
				return
			case inData:
			case strings.HasPrefix(said, "DATA"):
				inData = true
				fmt.Fprint(c, "354 go on\r\n")
			default:
				fmt.Fprint(c, "250 fine\r\n")
			}
		}
	})
	sender, err := mail.NewSMTP(mail.SMTPOptions{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, TLS: mail.NoTLS})
	if err != nil {
		t.Fatal(err)
	}
	send(t, sender, message(1))
	taken.Wait()
}

func TestServersThatSpeakNoSMTPAreNotBelieved(t *testing.T) {
	t.Parallel()
	for name, says := range map[string]string{"hangs up": "", "HTTP": "HTTP/1.1 400 Bad Request\r\n\r\n", "endless": strings.Repeat("x", 100_000), "binary": "\x00\x01\r\n", "200": "200 yes\r\n"} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		go func() {
			if c, err := l.Accept(); err == nil {
				fmt.Fprint(c, says)
				c.Close()
			}
		}()
		sender, err := mail.NewSMTP(mail.SMTPOptions{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port})
		if err != nil {
			t.Fatal(err)
		}
		if err := sender.Send(t.Context(), message(1)); err == nil || errors.Is(err, mail.ErrRefused) || len(err.Error()) > 300 {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// play has a server of few words answer each line by what says returns for it, and returns a Sender by it.
func play(t *testing.T, o mail.SMTPOptions, says func(line string) string) *mail.SMTP {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		fmt.Fprint(c, "220 hello\r\n")
		for lines := bufio.NewScanner(c); lines.Scan(); {
			if _, err := fmt.Fprint(c, says(lines.Text())); err != nil {
				return
			}
		}
	}()
	o.Host, o.Port, o.TLS = "127.0.0.1", l.Addr().(*net.TCPAddr).Port, mail.NoTLS
	sender, err := mail.NewSMTP(o)
	if err != nil {
		t.Fatal(err)
	}
	return sender
}

// Whoever is in between can play the server before there is TLS, and must not fill our memory.
func TestAServerThatDoesNotStopTalkingIsNotListenedTo(t *testing.T) {
	t.Parallel()
	for name, more := range map[string]string{"a line": strings.Repeat("x", 1<<20), "lines": strings.Repeat("250-x\r\n", 1<<17)} {
		wrote := 0
		begin := time.Now()
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { l.Close() })
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			c, err := l.Accept()
			if err != nil {
				return
			}
			defer c.Close()
			for err == nil && wrote < 64<<20 {
				var n int
				n, err = io.WriteString(c, more)
				wrote += n
			}
		}()
		sender, err := mail.NewSMTP(mail.SMTPOptions{Host: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, Timeout: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if err := sender.Send(t.Context(), message(1)); err == nil || errors.Is(err, mail.ErrRefused) || !strings.Contains(err.Error(), "does not stop talking") || len(err.Error()) > 300 {
			t.Errorf("%s: %.300v", name, err)
		}
		<-ended
		if wrote > 16<<20 { // most of which nobody has read
			t.Errorf("%s: %d bytes were taken, in %v", name, wrote, time.Since(begin))
		}
	}
}

// A server, or a proxy before it, may say what it was told, and errors are logged and kept.
func TestAServerThatRepeatsThePasswordDoesNotGetItIntoOurErrors(t *testing.T) {
	t.Parallel()
	encoded := base64.StdEncoding.EncodeToString([]byte(smtpPassword))
	o := mail.SMTPOptions{Username: "latchkey", Password: smtpPassword}
	asks := play(t, o, func(line string) string {
		if strings.HasPrefix(line, "EHLO") {
			return "250-hello\r\n250 AUTH LOGIN\r\n"
		}
		return "334 " + encoded + "\r\n" // a third time, too
	})
	wantError(t, asks.Send(t.Context(), message(1)), false, "sign in", "asks for more")
	tells := play(t, o, func(line string) string {
		switch {
		case strings.HasPrefix(line, "EHLO"):
			return "250-hello\r\n250 AUTH PLAIN\r\n"
		case strings.HasPrefix(line, "AUTH"):
			return "235 fine\r\n"
		}
		return "451 not for " + smtpPassword + "\r\n"
	})
	wantError(t, tells.Send(t.Context(), message(1)), false, "name the sender: 451 …")
}

// Whoever is in between can put answers behind the last one in clear (CVE-2011-0411): they must not count as said over TLS.
func TestWhatIsSaidBeforeTLSDoesNotCountAfterIt(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{TLS: mail.STARTTLS})
	upstream := net.JoinHostPort(s.Host, strconv.Itoa(s.Port))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	put := make(chan bool, 1)
	go func() {
		client, err := l.Accept()
		if err != nil {
			return
		}
		defer client.Close()
		server, err := net.Dial("tcp", upstream)
		if err != nil {
			return
		}
		defer server.Close()
		go io.Copy(server, client) //nolint:errcheck // until one of them hangs up
		buf := make([]byte, 64<<10)
		for greetings := 0; ; {
			n, err := server.Read(buf)
			if err != nil {
				return
			}
			said := buf[:n:n]
			if bytes.HasPrefix(said, []byte("220 ")) {
				if greetings++; greetings == 2 { // to STARTTLS
					said = append(said, "250-mail.example.com\r\n250 AUTH PLAIN\r\n"...)
					put <- true
				}
			}
			if _, err := client.Write(said); err != nil {
				return
			}
		}
	}()
	s.Port = l.Addr().(*net.TCPAddr).Port
	err = by(t, s, mail.SMTPOptions{Username: "latchkey", Password: smtpPassword}).Send(t.Context(), message(1))
	wantError(t, err, false, "sign in", "neither PLAIN nor LOGIN")
	if len(put) != 1 {
		t.Error("nothing was put in")
	}
}

func TestOptionsOfSMTPThatCannotBeMeantAreRefused(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]mail.SMTPOptions{
		"no host": {}, "a URL": {Host: "smtp://mail.example.com"}, "a line": {Host: "mail.example.com\r\nX"}, "a port": {Host: "mail.example.com", Port: 70000},
		"TLS if it is offered": {Host: "mail.example.com", TLS: "opportunistic"}, "half of an account": {Host: "mail.example.com", Username: "latchkey"},
		"the other half": {Host: "mail.example.com", Password: smtpPassword}, "a long time": {Host: "mail.example.com", Timeout: time.Minute},
		"a password in clear": {Host: "mail.example.com", TLS: mail.NoTLS, Username: "latchkey", Password: smtpPassword},
	} {
		if s, err := mail.NewSMTP(o); err == nil || s != nil || strings.Contains(err.Error(), smtpPassword) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestThePasswordOfTheServerIsNotPrinted(t *testing.T) {
	t.Parallel()
	o := mail.SMTPOptions{Host: "mail.example.com", Username: "latchkey", Password: smtpPassword}
	s, err := mail.NewSMTP(o)
	if err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{"options": o, "pointer": &o, "sender": s, "the mailer's options": mail.Options{Sender: s}, "hidden": struct{ s *mail.SMTP }{s}, "hidden itself": struct{ s mail.SMTP }{*s}} {
		var log bytes.Buffer
		slog.New(slog.NewTextHandler(&log, nil)).Info("x", "value", v)
		slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "value", v)
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
			fmt.Fprintf(&log, verb+"\n", v)
		}
		if strings.Contains(log.String(), smtpPassword) {
			t.Errorf("%s: %s", name, &log)
		}
	}
}
