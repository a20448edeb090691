package mail

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/mail"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Options are the package's settings.
type Options struct {
	Sender Sender // who takes the mails; nil: nobody, and none is written
	From   string // who they are from, as "Name <name@example.com>"; Latchkey <latchkey@localhost> if empty
	URL    string // the site that links lead to, http or https, without a slash at the end; must be set with a Sender
	Pages  string // where, on that site, the pages of package console are; /app if empty
	Name   string // how mails call the site; its host if empty

	// Templates count before the built-in ones of their names, which are those of Templates(); nil: all are built in. They
	// are read and tried by New. docs/mail.md says what each can show.
	Templates fs.FS
}

// Site is how mails call the site.
func (o Options) Site() string {
	u, err := url.Parse(o.URL)
	if o.Name != "" || err != nil {
		return o.Name
	}
	return u.Host
}

// link is an address that leads here. It comes from the configuration, never from a request.
func (o Options) link(page, token string) string {
	return o.page(page) + "?token=" + url.QueryEscape(token)
}

// page is the address of a page.
func (o Options) page(page string) string { return o.URL + cmp.Or(o.Pages, web.DefaultPages) + page }

// Mailer writes mails about what happened. It is safe for concurrent use.
type Mailer struct {
	users   *user.Service
	auth    *auth.Service
	options Options
	pages   map[string]pages // by the name of the mail
	log     *slog.Logger
}

// New returns the mailer. It fails for a From that is no address, for a URL that is none of a site, and for a template that
// cannot be used.
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
	if site.User != nil || site.RawQuery != "" || site.Fragment != "" || strings.ContainsAny(m.options.URL, "?#") || strings.HasSuffix(m.options.URL, "/") {
		return nil, errors.New("mail: URL must end with the host or a path, without a slash, because paths are put behind it")
	}
	if strings.ContainsFunc(m.options.Name, unicode.IsControl) {
		return nil, errors.New("mail: Name must be one line, such as Example")
	}
	m.pages, err = parse(m.options, letters(m.options))
	return m, err
}

// ConsumerName is the name of the consumers of the mailer, under which the outbox keeps what is to be mailed. It never changes.
const ConsumerName = "mail"

// Consumers are what the mailer handles, for an outbox: nothing if there is no Sender.
func (m *Mailer) Consumers() []outbox.Consumer {
	if m.options.Sender == nil {
		return nil
	}
	return []outbox.Consumer{
		outbox.On(ConsumerName, func(ctx context.Context, d outbox.Delivery, e user.InviteCreated) error {
			return m.invite(ctx, d, e.ID)
		}),
		outbox.On(ConsumerName, func(ctx context.Context, d outbox.Delivery, e user.InviteResent) error { return m.invite(ctx, d, e.ID) }),
		outbox.On(ConsumerName, m.reset),
		outbox.On(ConsumerName, m.move),
		outbox.On(ConsumerName, m.verify),
		outbox.On(ConsumerName, m.signIn),
		outbox.On(ConsumerName, func(ctx context.Context, d outbox.Delivery, e user.EmailChangeRequested) error {
			return m.notice(ctx, d, "moving", e.From, e.To, e.Unproved)
		}),
		outbox.On(ConsumerName, func(ctx context.Context, d outbox.Delivery, e user.EmailChanged) error {
			return m.notice(ctx, d, "moved", e.From, e.To, e.Unproved)
		}),
		outbox.On(ConsumerName, func(ctx context.Context, d outbox.Delivery, e auth.CredentialsChanged) error {
			if e.Moved {
				return nil // of which user.EmailChanged says more
			}
			return m.tell(ctx, d, "password", e.ID, e.Notice, content{Kept: e.Kept != ""})
		}),
		outbox.On(ConsumerName, func(ctx context.Context, d outbox.Delivery, e auth.SuspiciousSignIn) error {
			from := auth.Notice{Email: e.Email, IP: e.IP, UserAgent: e.UserAgent}
			return m.tell(ctx, d, "signin", e.ID, from, content{NewDevice: e.NewDevice, Failures: e.Failures})
		}),
		outbox.On(ConsumerName, func(ctx context.Context, d outbox.Delivery, e link.Reclaimed) error {
			return m.tell(ctx, d, "reclaimed", e.Identity, e.Notice, content{})
		}),
		outbox.On(ConsumerName, func(ctx context.Context, d outbox.Delivery, e link.Joined) error {
			return m.tell(ctx, d, "linked", e.Identity, e.Notice, content{Provider: m.provider(e.Provider)})
		}),
		outbox.On(ConsumerName, func(ctx context.Context, d outbox.Delivery, e link.ProviderLinked) error {
			return m.tell(ctx, d, "linked", e.Identity, e.Notice, content{Provider: m.provider(e.Provider)})
		}),
		outbox.On(ConsumerName, func(ctx context.Context, d outbox.Delivery, e link.ProviderUnlinked) error {
			return m.tell(ctx, d, "unlinked", e.Identity, e.Notice, content{Provider: m.provider(e.Provider)})
		}),
		outbox.On(ConsumerName, m.deleted),
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
		URL: m.options.link("/invite", m.users.InviteToken(i, user.ByMail)), expires: i.ExpiresAt, message: i.Message,
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
	return m.send(ctx, d, "reset", t.Email, content{URL: m.options.link(resetPath, t.Token), expires: t.ExpiresAt})
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
	return m.send(ctx, d, "move", t.To, content{URL: m.options.link("/email/confirm", t.Token), expires: t.ExpiresAt, Other: t.From})
}

// verify sends the link that proves an address to that address, while it can be confirmed. If somebody has registered with
// an address that signs in already, its owner is told, and nobody else.
func (m *Mailer) verify(ctx context.Context, d outbox.Delivery, e auth.VerificationRequested) error {
	t, err := m.auth.CreateVerificationToken(ctx, e)
	switch {
	case errors.Is(err, auth.ErrVerification):
		return nil
	case errors.Is(err, auth.ErrRegistered):
		return m.send(ctx, d, "known", e.EntityID, content{URL: m.options.page(resetPath)})
	case err != nil:
		return err
	}
	return m.send(ctx, d, "verify", t.Email, content{URL: m.options.link("/verify-email", t.Token), expires: t.ExpiresAt, Registers: t.Registers})
}

// signIn sends what somebody asked for to sign in by, a link or a code, while it is of use. It goes to addresses that nobody knows as
// well: like a registration, what comes of it is decided when it comes back.
func (m *Mailer) signIn(ctx context.Context, d outbox.Delivery, e auth.SignInMailRequested) error {
	s, err := m.auth.CreateSignInMail(ctx, e)
	switch {
	case errors.Is(err, auth.ErrSignInMail):
		return nil
	case err != nil:
		return err
	}
	c := content{expires: s.ExpiresAt, IP: place(e.IP), Device: device(e.UserAgent), Adds: e.Adds, Other: e.Account}
	if s.Code != "" {
		c.URL, c.Code = m.options.page(magicPath), s.Code
		return m.send(ctx, d, "magiccode", s.Email, c)
	}
	c.URL = m.options.link(magicPath, s.Token)
	return m.send(ctx, d, "magiclink", s.Email, c)
}

// notice tells an address that its account is about to have another one, or has. It holds no token. One that nobody has proved is
// told nothing: it may be a stranger's, as whoever registers can name any.
func (m *Mailer) notice(ctx context.Context, d outbox.Delivery, name, address, other string, unproved bool) error {
	if address == "" || unproved {
		return nil
	}
	return m.send(ctx, d, name, address, content{URL: m.options.page(resetPath), Other: other})
}

// deleted tells who deleted their own account that it is gone, in case that it was somebody else in their session. There is no
// page that leads further: what helps is to be asked of an administrator.
func (m *Mailer) deleted(ctx context.Context, d outbox.Delivery, e link.OwnUserDeleted) error {
	if e.Email == "" {
		return nil
	}
	return m.send(ctx, d, "deleted", e.Email, content{at: d.At, IP: place(e.IP), Device: device(e.UserAgent)})
}

// tell tells the owner of an account what was done to it, at the address that was theirs then. It holds no token. Nobody is
// told who has proved no address, and nothing is told of an identity that is gone: nobody can sign in by it any more.
func (m *Mailer) tell(ctx context.Context, d outbox.Delivery, name string, of auth.IdentityID, n auth.Notice, c content) error {
	if n.Email == "" {
		return nil
	}
	if _, err := m.auth.RetrieveAuthIdentity(ctx, of); errors.Is(err, auth.ErrNotFound) {
		return nil
	} else if err != nil {
		return err
	}
	c.URL, c.at, c.IP, c.Device = m.options.page(resetPath), d.At, place(n.IP), device(n.UserAgent)
	return m.send(ctx, d, name, n.Email, c)
}

// provider is how people know a provider, also one that is gone.
func (m *Mailer) provider(name string) string {
	all := m.auth.ListAuthProviders()
	if i := slices.IndexFunc(all, func(p auth.ProviderInfo) bool { return p.ID == name }); i >= 0 {
		return cmp.Or(all[i].DisplayName, name)
	}
	return name
}

// resetPath is where people set a new password, with a token or without.
const resetPath = "/reset-password"

// magicPath is where people sign in by what is mailed.
const magicPath = "/magic"

// addresses finds where what looks like an address of a site can be broken: before the slashes, before the name of a domain,
// in whatever script, and within the numbers of a machine.
var addresses = regexp.MustCompile(`(:|[.\x{3002}\x{ff0e}\x{ff61}])(//|\pL[\pL\pM\pN\p{Cf}-]|\pN+[.\x{3002}\x{ff0e}\x{ff61}]\pN)`)

func (m *Mailer) send(ctx context.Context, d outbox.Delivery, name, to string, c content) error {
	c.To, c.Site = to, m.options.Site()
	subject, text, page, err := m.pages[name].write(name, c)
	if err != nil {
		return fmt.Errorf("write mail %s: %w", name, err)
	}
	err = m.options.Sender.Send(ctx, Message{
		ID: d.ID, From: m.options.From, To: to, Subject: subject, Text: text, HTML: page, Repeated: d.Attempt > 1, At: d.At,
	})
	if err != nil {
		err = fmt.Errorf("send mail %s: %w", name, err)
		if errors.Is(err, ErrRefused) {
			return outbox.Permanent(err)
		}
		return err
	}
	m.log.Info("sent", "mail", name, "event", d.ID)
	return nil
}
