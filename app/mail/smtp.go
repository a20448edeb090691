package mail

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/mail"
	"net/netip"
	"net/textproto"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode"

	gomail "github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"github.com/latchkey-go/latchkey/modules/kernel/email"
)

// How an SMTP server is reached. There is no way that takes TLS if it is offered and does without if not: whoever is in
// between would only have to keep the offer back.
const (
	STARTTLS    = "starttls" // TLS after the first words; a server that does not offer it is sent nothing
	ImplicitTLS = "tls"      // TLS from the start
	NoTLS       = "none"     // no TLS; there is no password then, but on this machine
)

const (
	defaultTimeout = 8 * time.Second
	// MaxTimeout is the most of SMTPOptions.Timeout. With answerTime it is less than an outbox waits before somebody else
	// sends the same mail.
	MaxTimeout = 9 * time.Second
	answerTime = 3 * time.Second // for what the server says when it has all of a mail
	mostHeard  = 128 << 10       // bytes of a server, its certificates included: one that does not stop talking would fill the memory
)

// SMTPOptions say by which server mails leave.
type SMTPOptions struct {
	Host     string
	Port     int    // 0: 587 for STARTTLS, 465 for ImplicitTLS, 25 for NoTLS
	TLS      string // empty: STARTTLS
	Username string // empty: the server takes mails from us without
	Password string `json:"-"`

	RootCAs *x509.CertPool // who may vouch for the server; nil: whom the system trusts
	Timeout time.Duration  // for a whole mail; 8 s if zero, at most MaxTimeout
}

// String says which server it is, and hides the password.
func (o SMTPOptions) String() string {
	return fmt.Sprintf("smtp %s (%s)", o.addr(), o.tls())
}

// GoString is String.
func (o SMTPOptions) GoString() string { return o.String() }

// LogValue is String, for slog.
func (o SMTPOptions) LogValue() slog.Value { return slog.StringValue(o.String()) }

func (o SMTPOptions) tls() string { return cmp.Or(o.TLS, STARTTLS) }

func (o SMTPOptions) addr() string {
	port := cmp.Or(o.Port, map[string]int{STARTTLS: 587, ImplicitTLS: 465, NoTLS: 25}[o.tls()])
	return net.JoinHostPort(o.Host, strconv.Itoa(port))
}

// SMTP sends mails by a server, as text and HTML. A mail that is repeated is the same to the byte as far as Message is the
// same, Message-ID and Date included, so that a mailbox that drops what it has shows it once.
//
// It returns nil as soon as the server has taken the mail, and ErrRefused if the server will never take it.
type SMTP struct{ options func() SMTPOptions } // a function, because fmt prints the fields of unexported fields

// NewSMTP returns a Sender. It connects to nobody yet.
func NewSMTP(o SMTPOptions) (*SMTP, error) {
	o.Timeout = cmp.Or(o.Timeout, defaultTimeout)
	switch {
	case o.Host == "" || strings.ContainsFunc(o.Host, func(r rune) bool { return r <= ' ' || r == '/' || r == '@' || r == 0x7f }):
		return nil, errors.New("mail: SMTP needs the name of a host, such as smtp.example.com")
	case o.Port < 0 || o.Port > 65535:
		return nil, errors.New("mail: the port of SMTP must be from 1 to 65535, or 0")
	case !slices.Contains([]string{STARTTLS, ImplicitTLS, NoTLS}, o.tls()):
		return nil, errors.New("mail: TLS must be starttls, tls or none")
	case (o.Username == "") != (o.Password == ""):
		return nil, errors.New("mail: Username and Password belong together")
	case o.tls() == NoTLS && o.Password != "" && !IsLoopback(o.Host):
		return nil, errors.New("mail: a password is sent over TLS only, but on this machine")
	case o.Timeout < 0 || o.Timeout > MaxTimeout:
		return nil, fmt.Errorf("mail: Timeout must be at most %v", MaxTimeout)
	}
	return &SMTP{func() SMTPOptions { return o }}, nil
}

// IsLoopback reports whether the host is this machine, by its name or address.
func IsLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// String says which server it is.
func (s *SMTP) String() string { return s.options().String() }

// GoString is String.
func (s *SMTP) GoString() string { return s.String() }

// LogValue is String, for slog.
func (s *SMTP) LogValue() slog.Value { return slog.StringValue(s.String()) }

// Send implements Sender. Each mail has a connection of its own: there are few, and a connection that was kept is often
// found dead only when a mail is lost in it that may have been taken.
//
// The context ends what leads up to the last word of the mail. From then on the server may have taken it, and its answer is
// waited for, a short while and whatever the context says: to give up on an answer is to send the mail twice.
func (s *SMTP) Send(ctx context.Context, m Message) error {
	from, data, err := m.compose()
	if err != nil {
		return err // before anybody is bothered
	}
	o := s.options()
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	c := &conversation{options: o, to: m.To, at: "connect"}
	defer c.end()
	if err := c.send(ctx, from, data); err != nil {
		return c.failure(ctx, err)
	}
	return nil
}

// conversation is one with the server, over one mail.
type conversation struct {
	options SMTPOptions
	conn    net.Conn
	client  *smtp.Client
	to      string
	at      string      // what it is at, in words
	polite  bool        // the server waits for a command
	release func() bool // from the context; it reports whether that has not ended before
}

// The stages that have their own errors.
const (
	atGreeting  = "greet"
	atSignIn    = "sign in"
	atRecipient = "name the recipient"
	atContent   = "hand over the mail"
	atAnswer    = "hear that it has the mail"
)

func (c *conversation) send(ctx context.Context, from string, data []byte) (err error) {
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", c.options.addr())
	if err != nil {
		return err
	}
	c.conn = &bounded{conn, mostHeard}
	c.release = context.AfterFunc(ctx, func() { _ = c.conn.SetDeadline(time.Unix(1, 0)) })
	if err := c.greet(ctx); err != nil {
		return err
	}
	c.polite = true
	if err := c.signIn(); err != nil {
		return err
	}
	c.at = "name the sender"
	if err := c.client.Mail("<" + from + ">"); err != nil {
		return err
	}
	c.at = atRecipient
	if err := c.client.Rcpt("<" + c.to + ">"); err != nil {
		return err
	}
	c.at = atContent
	w, err := c.client.Data()
	if err != nil {
		return err
	}
	c.polite = false
	if _, err := w.Write(data); err != nil {
		return err
	}
	if !c.release() { // the context has ended, and the mail has not: it is not sent
		return context.Cause(ctx)
	}
	c.at = atAnswer
	_ = c.conn.SetDeadline(time.Now().Add(answerTime))
	err = w.Close()
	c.polite = err == nil || isReply(err)
	return err
}

// bounded is a connection of which no more than so many bytes are read.
type bounded struct {
	net.Conn
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTalks
	}
	n, err := b.Conn.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

var errTalks = errors.New("the server does not stop talking")

// greet is all until the connection is as safe as it must be.
func (c *conversation) greet(ctx context.Context) (err error) {
	config := &tls.Config{ServerName: c.options.Host, RootCAs: c.options.RootCAs, MinVersion: tls.VersionTLS12}
	conn := c.conn
	if c.options.tls() == ImplicitTLS {
		c.at = "TLS"
		secured := tls.Client(conn, config)
		if err := secured.HandshakeContext(ctx); err != nil {
			return err
		}
		conn = secured
	}
	c.at = atGreeting
	if c.client, err = smtp.NewClient(conn, c.options.Host); err != nil {
		return err
	}
	c.client.SkipSMTPUTF8(true) // addresses are ASCII
	if err := c.client.Hello(ourName(c.conn.LocalAddr())); err != nil {
		return err
	}
	if c.options.tls() != STARTTLS {
		return nil
	}
	c.at = "STARTTLS"
	if offered, _ := c.client.Extension("STARTTLS"); !offered {
		return errNoSTARTTLS
	}
	return c.client.StartTLS(config)
}

var (
	errNoSTARTTLS = errors.New("the server does not offer it, so nothing was sent: if it has a port for TLS from the start (465), set that and tls: tls; else have it offer STARTTLS")
	errNoAUTH     = errors.New("the server offers neither PLAIN nor LOGIN: leave out username and password if it needs none, or use its port for submission (587)")
)

func (c *conversation) signIn() error {
	o := c.options
	if o.Username == "" {
		return nil
	}
	c.at = atSignIn
	_, offered := c.client.Extension("AUTH")
	open := o.tls() == NoTLS // on this machine: NewSMTP has seen to it
	switch offers := strings.Fields(offered); {
	case slices.Contains(offers, "PLAIN"):
		return c.client.Auth(smtp.PlainAuth("", o.Username, o.Password, o.Host, open))
	case slices.Contains(offers, "LOGIN"):
		return c.client.Auth(smtp.LoginAuth(o.Username, o.Password, o.Host, open))
	}
	return errNoAUTH
}

// end says goodbye and hangs up, without keeping anybody waiting: whether a mail has left does not hang on it.
func (c *conversation) end() {
	if c.conn == nil {
		return
	}
	c.release()
	switch {
	case !c.polite:
		_ = c.conn.Close()
	default:
		_ = c.conn.SetDeadline(time.Now().Add(2 * time.Second))
		go func() {
			defer c.conn.Close() //nolint:errcheck // it is over
			_ = c.client.Quit()
		}()
	}
}

// failure says what has failed and where, and nothing of the mail: what servers say often repeats the address.
func (c *conversation) failure(ctx context.Context, err error) error {
	where := fmt.Sprintf("%s: %s", c.options, c.at)
	var reply *textproto.Error
	switch {
	case errors.As(err, &reply) && reply.Code >= 400:
		said := strconv.Itoa(reply.Code) + " "
		if c.at == atSignIn { // whose answer may repeat the password
			said += "(see to mail.smtp.username and mail.smtp.password)"
		} else {
			said += c.harmless(reply.Msg)
		}
		if c.refused(reply) {
			return fmt.Errorf("%s: %s: %w", where, said, ErrRefused)
		}
		return fmt.Errorf("%s: %s", where, said)
	case errors.Is(err, smtp.ErrUnexpectedServerResponse): // which repeats what the server says, and that may be the password
		return fmt.Errorf("%s: the server asks for more than a name and a password", where)
	case isReply(err): // in another form than is due
		return fmt.Errorf("%s: the server answers what is no SMTP", where)
	case ctx.Err() != nil || errors.Is(err, os.ErrDeadlineExceeded):
		hint := ""
		if c.at == atGreeting && c.options.tls() == STARTTLS {
			hint = "; is it a port for TLS from the start, which needs tls: tls?"
		}
		return fmt.Errorf("%s: the server does not answer in time%s", where, hint)
	}
	var header tls.RecordHeaderError
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.As(err, &header):
		return fmt.Errorf("%s: the server does not speak TLS here; is it a port for STARTTLS, which needs tls: starttls?", where)
	case errors.As(err, &certificate):
		return fmt.Errorf("%s: %w; if it is of a CA of your own, name that by mail.smtp.ca_file", where, err)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		return fmt.Errorf("%s: the server has hung up", where)
	}
	return fmt.Errorf("%s: %w", where, err)
}

// refused reports whether it is this mail that the server does not want, now or later. 4xx is for later; all that is said
// before the recipient is named is about us, and so is 5.7 at whatever stage: that we may not send by this server, or not yet,
// or that our domain lacks what it asks for, such as SPF, which many say only when they have all of the mail.
func (c *conversation) refused(reply *textproto.Error) bool {
	if reply.Code < 550 || reply.Code > 559 || strings.HasPrefix(reply.Msg, "5.7.") {
		return false
	}
	return c.at == atRecipient || c.at == atContent || c.at == atAnswer
}

func isReply(err error) bool {
	var reply *textproto.Error
	var form textproto.ProtocolError
	return errors.As(err, &reply) || errors.As(err, &form)
}

// harmless is what the server says without what may be an address, a link or a part of one; nothing if it says our password.
func (c *conversation) harmless(said string) string {
	if password := c.options.Password; password != "" && strings.Contains(said, password) {
		return "…"
	}
	local, _, _ := strings.Cut(c.to, "@")
	words := strings.FieldsFunc(said, func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) })
	words = words[:min(len(words), 24)]
	for i, word := range words {
		if len(word) > 24 || strings.ContainsAny(word, "@/<>=\ufffd") || strings.EqualFold(strings.Trim(word, `.,:;'"()[]`), local) {
			words[i] = "…"
		}
	}
	return strings.Join(words, " ")
}

var hostname = regexp.MustCompile(`^[A-Za-z0-9-]+(\.[A-Za-z0-9-]+)+$`)

// ourName is what we greet with: the name of this machine if it is one that others may know, or else its address.
func ourName(local net.Addr) string {
	if name, err := os.Hostname(); err == nil && hostname.MatchString(name) {
		return name
	}
	at, err := netip.ParseAddrPort(local.String())
	switch ip := at.Addr().Unmap().WithZone(""); {
	case err != nil:
		return "localhost"
	case ip.Is4():
		return "[" + ip.String() + "]"
	default:
		return "[IPv6:" + ip.String() + "]"
	}
}

// compose returns the mail as it travels, and the address of who it is from. Nothing in a Message can add a header or a
// recipient.
func (m Message) compose() (from string, data []byte, err error) {
	sender, err := parseSender(m.From)
	if err != nil {
		return "", nil, err
	}
	if to, err := email.Canonical(m.To); err != nil || to != m.To {
		return "", nil, fmt.Errorf("the recipient's address is not canonical: %w", ErrRefused)
	}
	mark := sha256.Sum256([]byte(m.ID + "\n" + m.To))
	sum := hex.EncodeToString(mark[:8])
	_, host, _ := strings.Cut(sender.Address, "@")
	at := m.At
	if at.IsZero() {
		at = time.Now()
	}
	out := gomail.NewMsg(gomail.WithNoDefaultUserAgent(), gomail.WithEncoding(gomail.EncodingQP), gomail.WithBoundary("latchkey-"+sum))
	out.FromMailAddress(&mail.Address{Name: oneLine(sender.Name), Address: sender.Address})
	out.ToMailAddress(&mail.Address{Address: m.To})
	out.Subject(oneLine(m.Subject))
	out.SetDateWithValue(at.UTC())
	out.SetMessageIDWithValue(fmt.Sprintf("%s.%s@%s", idSigns.ReplaceAllString(m.ID, ""), sum, host))
	out.SetGenHeader("Auto-Submitted", "auto-generated") // answering machines leave it alone
	out.SetBodyString(gomail.TypeTextPlain, m.Text)
	if m.HTML != "" {
		out.AddAlternativeString(gomail.TypeTextHTML, m.HTML)
	}
	var buf bytes.Buffer
	if _, err := out.WriteTo(&buf); err != nil {
		return "", nil, fmt.Errorf("write the mail: %w", err)
	}
	return sender.Address, buf.Bytes(), nil
}

// CheckSender says what is wrong with who mails are from, for SMTP: it is as Options.From, by an address that all servers know, which
// is in ASCII and of a domain with a dot.
func CheckSender(from string) error {
	_, err := parseSender(from)
	return err
}

// parseSender reads who mails are from, as everything on the way to the recipient understands it.
func parseSender(from string) (*mail.Address, error) {
	sender, err := mail.ParseAddress(from)
	if err == nil {
		_, err = email.Canonical(strings.Replace(sender.Address, "@localhost", "@localhost.localdomain", 1)) // the default, for development
	}
	if err != nil || strings.ContainsAny(from, "\r\n") {
		return nil, errors.New("who the mail is from has no address that all servers know, such as Latchkey <latchkey@example.com>")
	}
	return sender, nil
}

var idSigns = regexp.MustCompile(`[^A-Za-z0-9_-]`)

// oneLine is a text without signs that are not seen: ends of lines, and those that turn what follows around.
func oneLine(text string) string {
	return strings.Join(strings.FieldsFunc(text, func(r rune) bool {
		return unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r) || r == unicode.ReplacementChar
	}), " ")
}
