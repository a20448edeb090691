package console

import (
	"net"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Mailbox keeps the mails that were sent, for pages that show them to a developer. Without one there are no such pages, as it must be
// wherever mails reach people: the links in them open accounts.
//
//	GET  /app/dev/mailbox             the mails, the newest first
//	GET  /app/dev/mailbox/{id}        one of them, as text
//	GET  /app/dev/mailbox/{id}/html   and as HTML, which can do nothing but be looked at
//
// They are shown to administrators and, where the site's public URL leads nowhere else, to browsers on the machine on which the
// server runs.
type Mailbox interface {
	Mails() []Mail // the newest first
}

// Mail is one that was sent.
type Mail struct {
	ID                      string // in addresses: it tells the mails of the Mailbox apart
	From, To, Subject, Text string
	HTML                    string
	At                      time.Time // when it was sent
}

const mailboxPath = "/dev/mailbox"

func (c *Console) mailboxRoutes() []route {
	if c.mailbox == nil {
		return nil
	}
	return []route{
		{mailboxPath, c.openMailbox, nil},
		{mailboxPath + "/{id}", c.openMail, nil},
		{mailboxPath + "/{id}/html", c.openMailPage, nil},
	}
}

var errMailbox = says(fault.Forbidden, "mailbox_elsewhere")

// readsMails reports whether whoever sends the request may read everybody's mails.
func (c *Console) readsMails(r *http.Request, v *visitor) bool {
	return c.mailbox != nil && (c.isHere(r) || v != nil && slices.Contains(v.Roles(), user.RoleAdmin))
}

// forwarded are the headers by which a proxy or a tunnel shows itself.
var forwarded = []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Server", "X-Forwarded-Port",
	"X-Real-Ip", "X-Client-Ip", "X-Cluster-Client-Ip", "X-Original-Host", "X-Original-Forwarded-For", "X-Envoy-External-Address",
	"Cf-Connecting-Ip", "True-Client-Ip", "Fastly-Client-Ip", "Fly-Client-Ip", "Cdn-Loop"}

// isHere reports whether the request is sent by somebody on this machine. A proxy here speaks for anybody, and a page from elsewhere
// can have a browser here ask us under a name of its own, and would read the answer: who asks must call this machine by a name that
// is nobody else's. Some proxies call it by that as well and show themselves by no header, as nginx does unless it is told otherwise:
// where the public URL leads elsewhere, somebody has put one there, and what speaks HTTP/1.0 is no browser.
func (c *Console) isHere(r *http.Request) bool {
	if !c.site.Loopback() || !r.ProtoAtLeast(1, 1) || slices.ContainsFunc(forwarded, func(name string) bool { return len(r.Header.Values(name)) > 0 }) {
		return false
	}
	return isLoopback(r.RemoteAddr) && (isLoopback(r.Host) || hostOf(r.Host) == "localhost")
}

func isLoopback(hostport string) bool {
	at, err := netip.ParseAddr(hostOf(hostport))
	return err == nil && at.Unmap().IsLoopback()
}

func hostOf(hostport string) string {
	host, _, err := net.SplitHostPort(hostport)
	if err != nil {
		host = strings.TrimSuffix(strings.TrimPrefix(hostport, "["), "]")
	}
	return strings.ToLower(host)
}

// mailReader says who reads the mails; nil: somebody who is not signed in.
func (c *Console) mailReader(r *http.Request) (*visitor, error) {
	v, err := c.visitor(r)
	if err == nil && !c.readsMails(r, v) {
		err = errMailbox
	}
	return v, err
}

func (c *Console) openMailbox(w http.ResponseWriter, r *http.Request) error {
	v, err := c.mailReader(r)
	if err != nil {
		return err
	}
	return c.show(w, r, "mailbox", view{Title: "mailbox.title", Visitor: v, Wide: true, Data: c.mailbox.Mails()})
}

// mail is the one that the address names.
func (c *Console) mail(r *http.Request) (Mail, error) {
	all := c.mailbox.Mails()
	i := slices.IndexFunc(all, func(m Mail) bool { return m.ID == r.PathValue("id") })
	if i < 0 {
		return Mail{}, errNoMail
	}
	return all[i], nil
}

var errNoMail = says(fault.NotFound, "no_mail")

func (c *Console) openMail(w http.ResponseWriter, r *http.Request) error {
	v, err := c.mailReader(r)
	if err != nil {
		return err
	}
	m, err := c.mail(r)
	if err != nil {
		return err
	}
	return c.show(w, r, "mail", view{Title: "mailbox.mail", About: m.Subject, Visitor: v, Wide: true, Back: &crumb{mailboxPath, "mailbox.title"}, Data: m})
}

// openMailPage answers with the HTML of a mail as it is. What mail programs keep it from, the browser does: scripts, forms, and
// whatever is elsewhere. It is of no origin, so that it could not speak for who looks at it. A Cross-Origin-Opener-Policy does not go
// with that: browsers would refuse the page.
func (c *Console) openMailPage(w http.ResponseWriter, r *http.Request) error {
	if _, err := c.mailReader(r); err != nil {
		return err
	}
	m, err := c.mail(r)
	if err != nil {
		return err
	}
	h := w.Header()
	h.Set("Content-Security-Policy", "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'none'")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(http.StatusOK)
	if r.Method != http.MethodHead {
		w.Write([]byte(m.HTML)) //nolint:errcheck // the caller has gone: there is nobody to tell
	}
	return nil
}

// piece is a part of a text; if it is an address, it leads there.
type piece struct{ Text, Link string }

var addressesIn = regexp.MustCompile(`https?://[^\s<>"]*[^\s<>".,;:!?)]`)

// Pieces are the text of the mail.
func (m Mail) Pieces() (all []piece) {
	rest := 0
	for _, at := range addressesIn.FindAllStringIndex(m.Text, -1) {
		link := m.Text[at[0]:at[1]]
		all = append(all, piece{Text: m.Text[rest:at[0]]}, piece{link, link})
		rest = at[1]
	}
	return append(all, piece{Text: m.Text[rest:]})
}
