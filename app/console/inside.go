package console

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

// inside is a request for a page of who has an account. What such a page shows and does, it asks of the API as the visitor, so
// that what they may is decided in one place.
type inside struct {
	c       *Console
	w       http.ResponseWriter
	r       *http.Request
	visitor *visitor
}

// insider answers a request of who has an account.
type insider func(in *inside) error

// within is the handler of a page for who has an account: everybody else is asked to sign in, and comes back.
func (c *Console) within(f insider) handler {
	if f == nil {
		return nil
	}
	return func(w http.ResponseWriter, r *http.Request) error {
		v, err := c.visitor(r)
		switch {
		case err != nil:
			return err
		case v == nil:
			return c.toSignIn(w, r)
		case !v.HasAccount():
			return c.redirect(w, "")
		}
		in := &inside{c, w, r, v}
		err = f(in)
		switch {
		case errors.Is(err, errSignedOut):
			return c.toSignIn(w, r)
		case err != nil && problemOf(err) != nil:
			return in.show("problem", view{Title: "problem.title", Problem: problemOf(err)})
		}
		return err
	}
}

// toSignIn has somebody sign in, and come back to the page if it is one that can be asked for. Whose form was not read is told so, and
// has what they typed.
func (c *Console) toSignIn(w http.ResponseWriter, r *http.Request) error {
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		return c.redirect(w, "/login?next="+url.QueryEscape(r.URL.RequestURI()))
	}
	if done, err := c.keep(w, r); done || err != nil {
		return err
	}
	next := ""
	if c.canBeOpened[r.Pattern] {
		next = "?next=" + url.QueryEscape(r.URL.Path)
	}
	return c.done(w, "/login"+next, "signed_out_before", "")
}

// show answers with a page inside.
func (in *inside) show(page string, v view) error { return in.showAgain(page, v, nil) }

// showAgain shows the page with what was wrong just now; nil: nothing was.
func (in *inside) showAgain(page string, v view, wrong error) error {
	v.Visitor, v.permitted = in.visitor, in.c.api.Permitted(in.visitor.Roles())
	return in.c.showAgain(in.w, in.r, page, v, wrong)
}

// done goes on to a page that says what was done: the text flash.KEY.
func (in *inside) done(page, key, about string) error { return in.c.done(in.w, page, key, about) }

// form reads what was typed.
func (in *inside) form() (form, error) { return readForm(in.w, in.r, maxFormInside) }

// may reports whether the visitor's roles give the permission. It decides what is shown; what is done, the API decides.
func (in *inside) may(permission string) bool { return in.c.may(in.visitor, permission) }

func (c *Console) may(v *visitor, permission string) bool {
	return c.api != nil && slices.Contains(c.api.Permitted(v.Roles()), permission)
}

// errSignedOut says that the visitor is signed in no more.
var errSignedOut = says(fault.Unauthorized, "signed_out")

// api asks the API as the visitor. path is as the API has it, query included; body, if not nil, is sent as JSON, and the answer is
// read into out, if not nil. Its error is the API's, with status, reason, detail and message; errSignedOut where the session has ended.
func (in *inside) api(method, path string, body, out any) error {
	var sent io.Reader = http.NoBody
	if body != nil {
		data, err := json.Marshal(body)
		if err != nil {
			return err
		}
		sent = bytes.NewReader(data)
	}
	r, err := http.NewRequestWithContext(in.r.Context(), method, path, sent)
	if err != nil {
		return err
	}
	r.Host, r.RemoteAddr = in.r.Host, in.r.RemoteAddr
	for _, name := range []string{"Cookie", "User-Agent", "X-Forwarded-For"} {
		r.Header[name] = in.r.Header[name]
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	answer := &kept{header: http.Header{}}
	in.c.api.Inside().ServeHTTP(answer, r)
	for _, cookie := range answer.header["Set-Cookie"] {
		in.w.Header().Add("Set-Cookie", cookie)
	}
	switch {
	case answer.status < http.StatusBadRequest && out == nil:
		return nil
	case answer.status < http.StatusBadRequest:
		if err := json.Unmarshal(answer.body.Bytes(), out); err != nil {
			return fmt.Errorf("answer of %s %s: %w", method, r.URL.Path, err)
		}
		return nil
	}
	var said struct{ Message, Reason, Detail string }
	if err := json.Unmarshal(answer.body.Bytes(), &said); err != nil {
		return fmt.Errorf("answer of %s %s: %w", method, r.URL.Path, err)
	}
	if answer.status == http.StatusUnauthorized && said.Reason == "" {
		return errSignedOut
	}
	f := fault.New(web.Kind(answer.status), said.Reason, said.Message)
	f.Detail, f.RetryAfter = said.Detail, web.RetryAfter(answer.header)
	return f
}

// kept is an answer of the API, kept for a page.
type kept struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (k *kept) Header() http.Header { return k.header }

func (k *kept) WriteHeader(status int) {
	if k.status == 0 {
		k.status = status
	}
}

func (k *kept) Write(data []byte) (int, error) {
	k.WriteHeader(http.StatusOK)
	return k.body.Write(data)
}

// menu is one group of the pages inside.
type menu struct {
	Title string // the key of a text
	Items []item
}

// item is a page in the menu.
type item struct {
	Path    string // behind the console's
	Title   string // the key of a text
	Current bool   // it is this page, or one below it
}

// menu is what there is for the visitor, who is at a page: the page above it that is closest is the current one, or that to which
// the page leads back.
func (c *Console) menu(v *visitor, at string, back *crumb) (groups []menu) {
	current := c.above(at)
	if current == "" && back != nil {
		current = c.above(c.path(back.Path))
	}
	for _, g := range menus {
		shown := menu{Title: g.title}
		for _, p := range g.pages {
			if p.permission != "" && !c.may(v, p.permission) || p.permission == "" && c.api == nil {
				continue
			}
			shown.Items = append(shown.Items, item{p.path, p.title, p.path == current})
		}
		if len(shown.Items) > 0 {
			groups = append(groups, shown)
		}
	}
	return groups
}

// above is the page of the menu that a page belongs to; empty: none.
func (c *Console) above(at string) (closest string) {
	for _, g := range menus {
		for _, p := range g.pages {
			if path := c.path(p.path); (at == path || strings.HasPrefix(at, path+"/")) && len(p.path) > len(closest) {
				closest = p.path
			}
		}
	}
	return closest
}

// menus are the pages that the menu leads to: those of who has the permission.
var menus = []struct {
	title string
	pages []struct{ path, title, permission string }
}{
	{"menu.people", []struct{ path, title, permission string }{
		{"/users", "users.title", "user:read"},
		{"/invites", "invites.title", "invite:read"},
	}},
	{"menu.system", []struct{ path, title, permission string }{
		{"/audit", "audit.title", "audit:read"},
		{"/events", "events.title", "event:read"},
		{"/webhooks", "webhooks.title", "webhook:read"},
		{"/health", "health.title", "health:read"},
	}},
	{"menu.account", []struct{ path, title, permission string }{
		{"/account", "account.title", ""},
		{"/account/password", "account.password", ""},
		{"/account/sessions", "sessions.title", ""},
		{"/account/methods", "methods.title", ""},
	}},
}

// routesInside are the pages for who has an account, which ask the API.
func (c *Console) routesInside() (all []route) {
	for _, of := range [][]route{c.accountRoutes(), c.userRoutes(), c.inviteRoutes(), c.auditRoutes(), c.eventRoutes(), c.webhookRoutes(), c.healthRoutes()} {
		all = append(all, of...)
	}
	return all
}
