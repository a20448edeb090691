package console

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

//go:embed pages
var files embed.FS

// handler answers one method of one path. Its error is answered by Console.fail.
type handler func(w http.ResponseWriter, r *http.Request) error

// Console is the pages. It is an http.Handler, safe for concurrent use.
type Console struct {
	users   *user.Service
	auth    *auth.Service
	link    *link.Service
	api     *httpapi.API
	site    *web.Site
	log     *slog.Logger
	audit   *audit.Trail
	mailbox Mailbox // nil: none
	options Options
	pages   *pages
	mux     *http.ServeMux
	handler http.Handler

	canBeOpened map[string]bool // whether a path takes GET
}

// New returns the pages.
func New(p Params) (*Console, error) {
	if p.Users == nil || p.Auth == nil || p.Link == nil {
		return nil, errors.New("console: New needs the user, the auth and the link service")
	}
	site := p.Site
	if site == nil {
		var err error
		if site, err = web.New(web.Options{}); err != nil {
			return nil, err
		}
	}
	site = site.Alone() // scripts elsewhere have the API: pages are for people, who see where they are
	c := &Console{users: p.Users, auth: p.Auth, link: p.Link, api: p.API, site: site,
		log: cmp.Or(p.Log, slog.Default()).With("module", "console"), audit: p.Audit, mailbox: p.Mailbox, options: p.Options, mux: http.NewServeMux(), canBeOpened: map[string]bool{}}
	if err := c.options.check(); err != nil {
		return nil, err
	}
	var err error
	if c.pages, err = readPages(c.options, max(p.Passwords.Policy.MinLength, auth.MinPassword)); err != nil {
		return nil, err
	}
	for _, r := range c.routes() {
		c.mux.Handle(c.options.Path+r.path, c.answers(r))
		c.canBeOpened[c.options.Path+r.path] = r.get != nil
	}
	c.handler = site.Wrap(http.HandlerFunc(c.dispatch), c.log, c.refuse)
	return c, nil
}

// route is one page: its path behind that of the console, and what answers there; nil: not that method.
type route struct {
	path      string
	get, post handler
}

// routes is every page there is.
func (c *Console) routes() []route {
	all := []route{
		{"", c.home, nil},
		{"/login", c.openLogin, c.login},
		{"/register", c.openRegister, c.register},
		{"/invite", c.openInvite, c.acceptInvite},
		{"/reset-password", c.openReset, c.reset},
		{"/email", c.openEmail, c.changeEmail},
		{"/email/confirm", c.openConfirm, c.confirmEmail},
		{"/verify-email", c.openVerify, c.verify},
		{"/magic", c.openMagic, c.magic},
		{"/logout", nil, c.logout},

		{"/style.css", c.asset("style.css", "text/css; charset=utf-8"), nil},
		{"/console.js", c.asset("console.js", "text/javascript; charset=utf-8"), nil},
	}
	if len(c.options.Logo) > 0 {
		all = append(all, route{"/logo", c.logo, nil})
	}
	all = append(all, c.mailboxRoutes()...)
	if c.api != nil {
		all = append(all, c.routesInside()...)
	}
	return all
}

// path is where a page of ours is, for links and redirects.
func (c *Console) path(page string) string { return c.options.Path + page }

// ServeHTTP implements http.Handler.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) { c.handler.ServeHTTP(w, r) }

// Prefixes are the paths under which the pages live, for a router that mounts them beside other things.
func (c *Console) Prefixes() []string { return []string{c.options.Path, c.options.Path + "/"} }

func (c *Console) dispatch(w http.ResponseWriter, r *http.Request) {
	if _, pattern := c.mux.Handler(r); pattern == "" {
		c.fail(w, r, errNoPage)
		return
	}
	c.mux.ServeHTTP(w, r)
}

// answers is the handler of a route.
func (c *Console) answers(route route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := map[string]handler{http.MethodGet: route.get, http.MethodHead: route.get, http.MethodPost: route.post}[r.Method]
		if h == nil {
			var allowed []string
			if route.get != nil {
				allowed = append(allowed, http.MethodGet, http.MethodHead)
			}
			if route.post != nil {
				allowed = append(allowed, http.MethodPost)
			}
			w.Header().Set("Allow", strings.Join(allowed, ", "))
			c.fail(w, r, errNoMethod)
			return
		}
		r = c.acting(r)
		if err := h(w, r); err != nil {
			c.fail(w, r, err)
		}
	})
}

// redirect has the browser get another page of ours.
func (c *Console) redirect(w http.ResponseWriter, page string) error { return away(w, c.path(page)) }

// away has the browser get what is at an address that is known to be good.
func away(w http.ResponseWriter, to string) error {
	secure(w)
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// secure sets what pages allow beyond an answer of the API: our style sheet, our script and what it asks us, our forms, our pictures.
// The referrer is the origin alone, so that tokens in the address stay here; with none at all, browsers send "Origin: null" with our
// own forms, and where they send no Sec-Fetch-Site (plain http other than on this machine) these would be refused as
// another site's.
//
// Browsers hold where a form leads in the end against what is allowed, too: more origins than this one may be named.
func secure(w http.ResponseWriter, formsTo ...string) {
	h := w.Header()
	h.Set("Content-Security-Policy",
		"default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; form-action "+strings.TrimSpace("'self' "+strings.Join(formsTo, " "))+
			"; base-uri 'none'; frame-ancestors 'none'; img-src 'self' data:")
	h.Set("Referrer-Policy", "strict-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// asset answers with one of our files.
func (c *Console) asset(name, media string) handler {
	data := c.pages.assets[name]
	tag := fmt.Sprintf(`"%x"`, sha256.Sum256(data))
	return func(w http.ResponseWriter, r *http.Request) error {
		secure(w)
		w.Header().Set("Content-Type", media)
		w.Header().Set("Cache-Control", "no-cache") // kept, and asked for again: a newer server may have a newer one
		w.Header().Set("ETag", tag)
		http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(data))
		return nil
	}
}

func (c *Console) logo(w http.ResponseWriter, r *http.Request) error {
	w.Header().Set("Content-Type", c.options.logoType())
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", fmt.Sprintf(`"%x"`, sha256.Sum256(c.options.Logo)))
	w.Header().Set("Cross-Origin-Resource-Policy", "same-origin")
	http.ServeContent(w, r, "logo", time.Time{}, bytes.NewReader(c.options.Logo))
	return nil
}
