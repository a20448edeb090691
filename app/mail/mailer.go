package mail

import (
	"bytes"
	"cmp"
	"context"
	"embed"
	"errors"
	"fmt"
	htmltemplate "html/template"
	"log/slog"
	"net/mail"
	"net/url"
	"regexp"
	"strings"
	texttemplate "text/template"
	"time"

	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Options are the package's settings.
type Options struct {
	Sender Sender // who takes the mails; nil: nobody, and none is written
	From   string // who they are from, as "Name <name@example.com>"; Latchkey <latchkey@localhost> if empty
	URL    string // the site that links lead to, http or https, without a slash at the end; must be set with a Sender
}

// Mailer writes mails about what happened. It is safe for concurrent use.
type Mailer struct {
	users   *user.Service
	auth    *auth.Service
	options Options
	site    string // how mails call the site: the host of Options.URL
	log     *slog.Logger
}

// New returns the mailer. It fails for a From that is no address, and for a URL that is none of a site.
func New(p Params) (*Mailer, error) {
	m := &Mailer{users: p.Users, auth: p.Auth, options: p.Options, log: cmp.Or(p.Log, slog.Default()).With("module", "mail")}
	m.options.From = cmp.Or(m.options.From, "Latchkey <latchkey@localhost>")
	if _, err := mail.ParseAddress(m.options.From); err != nil || strings.ContainsAny(m.options.From, "\r\n") {
		return nil, errors.New("mail: From must be an address, such as Latchkey <latchkey@example.com>")
	}
	if m.options.Sender == nil {
		return m, nil
	}
	site, err := url.Parse(m.options.URL)
	if err != nil || (site.Scheme != "http" && site.Scheme != "https") || site.Host == "" {
		return nil, errors.New("mail: URL must be set, because mails hold links, and be such as https://id.example.com")
	}
	m.site = site.Host
	return m, nil
}

// consumerName is the name of the mailer's consumers.
const consumerName = "mail"

// Consumers are what the mailer handles, for an outbox: nothing if there is no Sender.
func (m *Mailer) Consumers() []outbox.Consumer {
	if m.options.Sender == nil {
		return nil
	}
	return []outbox.Consumer{
		outbox.On(consumerName, func(ctx context.Context, d outbox.Delivery, e user.InviteCreated) error {
			return m.invite(ctx, d, e.ID)
		}),
		outbox.On(consumerName, func(ctx context.Context, d outbox.Delivery, e user.InviteResent) error { return m.invite(ctx, d, e.ID) }),
		outbox.On(consumerName, m.reset),
		outbox.On(consumerName, m.move),
		outbox.On(consumerName, m.verify),
		outbox.On(consumerName, func(ctx context.Context, d outbox.Delivery, e user.EmailChangeRequested) error {
			return m.notice(ctx, d, "moving", e.From, e.To)
		}),
		outbox.On(consumerName, func(ctx context.Context, d outbox.Delivery, e user.EmailChanged) error {
			return m.notice(ctx, d, "moved", e.From, e.To)
		}),
	}
}

// invite sends an invite's link to the invited address, while the invite can be accepted.
func (m *Mailer) invite(ctx context.Context, d outbox.Delivery, id user.InviteID) error {
	i, err := m.users.RetrieveInvite(ctx, id)
	switch {
	case errors.Is(err, user.ErrInviteNotFound):
		return nil // withdrawn meanwhile
	case err != nil:
		return err
	case i.Accepted || i.Setup() || !i.ExpiresAt.After(time.Now()):
		return nil
	}
	return m.send(ctx, d, "invite", i.Email, content{
		URL: m.link("/app/invite", m.users.InviteToken(i, user.ByMail)), Expires: i.ExpiresAt, message: i.Message,
	})
}

// reset sends the link that sets a new password to whom the request means, if there is anybody.
func (m *Mailer) reset(ctx context.Context, d outbox.Delivery, e auth.PasswordResetRequested) error {
	t, err := m.auth.CreatePasswordResetToken(ctx, e, auth.ByMail)
	switch {
	case errors.Is(err, auth.ErrNotFound), errors.Is(err, auth.ErrResetToken), // nobody, or it is of no use any more
		errors.Is(err, auth.ErrUnknownProvider), errors.Is(err, auth.ErrUnsupported): // the way to sign in is gone
		return nil
	case err != nil:
		return err
	case t.Email == "":
		return nil
	}
	return m.send(ctx, d, "reset", t.Email, content{URL: m.link("/app/reset-password", t.Token), Expires: t.ExpiresAt})
}

// move sends the link that confirms another address to that address, while the change can be confirmed. It says who has
// asked, so that nobody lends their mailbox to an account that is not theirs.
func (m *Mailer) move(ctx context.Context, d outbox.Delivery, e auth.EmailChangeRequested) error {
	t, err := m.auth.CreateEmailChangeToken(ctx, e)
	switch {
	case errors.Is(err, auth.ErrEmailChange):
		return nil
	case err != nil:
		return err
	}
	return m.send(ctx, d, "move", t.To, content{URL: m.link("/app/email/confirm", t.Token), Expires: t.ExpiresAt, Other: t.From})
}

// verify sends the link that proves an address to that address, while it can be confirmed. If somebody has registered with
// an address that signs in already, its owner is told, and nobody else.
func (m *Mailer) verify(ctx context.Context, d outbox.Delivery, e auth.VerificationRequested) error {
	t, err := m.auth.CreateVerificationToken(ctx, e)
	switch {
	case errors.Is(err, auth.ErrVerification):
		return nil
	case errors.Is(err, auth.ErrRegistered):
		return m.send(ctx, d, "known", e.EntityID, content{URL: m.options.URL + "/app/reset-password"})
	case err != nil:
		return err
	}
	return m.send(ctx, d, "verify", t.Email, content{URL: m.link("/app/verify-email", t.Token), Expires: t.ExpiresAt, Registers: t.Registers})
}

// notice tells an address that its account is about to have another one, or has. It holds no token.
func (m *Mailer) notice(ctx context.Context, d outbox.Delivery, name, address, other string) error {
	if address == "" {
		return nil // there was none
	}
	return m.send(ctx, d, name, address, content{URL: m.options.URL + "/app/reset-password", Other: other})
}

// link is an address that leads here. It comes from the configuration, never from a request.
func (m *Mailer) link(path, token string) string {
	return m.options.URL + path + "?token=" + url.QueryEscape(token)
}

// content is what templates can show.
type content struct {
	Site    string // its host
	To      string
	URL     string
	Expires time.Time
	Other   string // the other address, where two are spoken of; empty: none

	Registers bool // the link completes a registration

	message string // of whoever invites; empty: none
}

// When is the expiry in words that do not depend on where the reader is.
func (c content) When() string { return c.Expires.UTC().Format("2 January 2006, 15:04 MST") }

// Message is what whoever invites says, line by line, so that templates can show that it is not us who say it. Mail programs
// make links of what looks like an address, whatever we do; so here nothing does.
func (c content) Message() []string {
	if c.message == "" {
		return nil
	}
	text := addresses.ReplaceAllString(c.message, "$1 $2")
	return strings.Split(text, "\n")
}

// addresses finds where what looks like an address of a site can be broken: before the slashes, before the name of a domain,
// in whatever script, and within the numbers of a machine.
var addresses = regexp.MustCompile(`(:|[.\x{3002}\x{ff0e}\x{ff61}])(//|\pL[\pL\pM\pN\p{Cf}-]|\pN+[.\x{3002}\x{ff0e}\x{ff61}]\pN)`)

func (m *Mailer) send(ctx context.Context, d outbox.Delivery, name, to string, c content) error {
	c.To, c.Site = to, m.site
	var subject, text, html bytes.Buffer
	err := errors.Join(
		texts.ExecuteTemplate(&subject, name+".subject", c),
		texts.ExecuteTemplate(&text, name+".txt", c),
		htmls.ExecuteTemplate(&html, name+".html", c),
	)
	if err != nil {
		return fmt.Errorf("write mail %s: %w", name, err)
	}
	err = m.options.Sender.Send(ctx, Message{
		ID: d.ID, From: m.options.From, To: to, Subject: strings.TrimSpace(subject.String()), Text: text.String(), HTML: html.String(),
		Repeated: d.Attempt > 1,
	})
	if err != nil {
		return fmt.Errorf("send mail %s: %w", name, err)
	}
	m.log.Info("sent", "mail", name, "event", d.ID)
	return nil
}

//go:embed templates
var templates embed.FS

var (
	texts = texttemplate.Must(texttemplate.ParseFS(templates, "templates/*.txt"))
	htmls = htmltemplate.Must(htmltemplate.ParseFS(templates, "templates/*.html"))
)
