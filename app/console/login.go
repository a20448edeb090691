package console

import (
	"context"
	"net/http"
	"net/url"
	"strings"

	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
)

// provider is the one that the forms speak to. It is known by its name alone.
const provider = "emailpass"

// home leads who has an account to what they are there for, and tells everybody else why they have none.
func (c *Console) home(w http.ResponseWriter, r *http.Request) error {
	v, err := c.visitor(r)
	switch {
	case err != nil:
		return err
	case v == nil:
		return c.redirect(w, "/login")
	case !v.HasAccount():
		return c.wait(w, r, v, nil)
	case c.may(v, "user:read"):
		return c.redirect(w, "/users")
	case c.api != nil:
		return c.redirect(w, accountPath)
	}
	return c.show(w, r, "home", view{Title: "home.title", Visitor: v})
}

// wait says to who is signed in that they have no account yet, and why; nil: nobody knows any more.
func (c *Console) wait(w http.ResponseWriter, r *http.Request, v *visitor, why *link.Waiting) error {
	return c.show(w, r, "waiting", view{Title: "waiting.title", Visitor: v, Waiting: why})
}

// openLogin asks for the sign-in, or tells what has come of one by a provider: the API sends people here with a reason, which
// is of the code and never a text of somebody's choice.
func (c *Console) openLogin(w http.ResponseWriter, r *http.Request) error {
	q := r.URL.Query()
	if reason := q.Get("waiting"); reason != "" {
		v, err := c.visitor(r)
		if err != nil {
			return err
		}
		if waiting, ok := link.WaitingFor(reason); ok && v != nil && !v.HasAccount() {
			return c.wait(w, r, v, &waiting)
		}
	}
	var wrong error
	if reason := q.Get("problem"); reason != "" {
		wrong = providerProblem(reason)
	}
	return c.askToSignIn(w, r, form{Next: q.Get("next")}, wrong)
}

// doors are the providers by which one signs in by a link, and whether one can by a password.
func (c *Console) doors(actorType string) (links []auth.ProviderInfo, password bool, err error) {
	known, err := c.link.Providers(actorType)
	for _, p := range known {
		if p.Flow == auth.FlowRedirect && actorType == link.ActorUser { // others sign in on pages of the application's own
			links = append(links, p)
		}
		password = password || p.ID == provider
	}
	return links, password, err
}

// askToSignIn shows the form, and why what was typed before did not do.
func (c *Console) askToSignIn(w http.ResponseWriter, r *http.Request, f form, wrong error) error {
	v, err := c.visitor(r)
	if err != nil {
		return err
	}
	page := view{Title: "login.title", Form: f, Visitor: v, Alone: true, Next: c.onward(f.Next)}
	as := c.proves(f.Verify)
	if page.Providers, page.Password, err = c.doors(as); err != nil {
		return err
	}
	page.Password = page.Password || len(page.Providers) == 0 || f.Email != ""
	page.Registers = f.Token == "" && f.Verify == "" && c.takesNewcomers()
	return c.showAgain(w, r, "login", page, wrong)
}

// onward is where somebody goes on to after signing in: the page of ours that they came from, if it is one; empty: the first one.
// It is never one whose address carries a token, which a redirect would tell to more than need it.
func (c *Console) onward(next string) string {
	if !web.IsLocal(next) {
		return ""
	}
	u, err := url.Parse(next)
	if err != nil || u.Query().Has("token") {
		return ""
	}
	page, ours := strings.CutPrefix(u.Path, c.options.Path)
	if !ours || page != "" && page[0] != '/' || page == "/login" || page == "/logout" || page == "/register" {
		return ""
	}
	return next
}

// onTo is onward, with the first page where there is no other.
func (c *Console) onTo(next string) string {
	if next = c.onward(next); next != "" {
		return next
	}
	return c.path("")
}

// login signs in. Somebody whose sign-in leads to no account is told why at once: that is kept nowhere.
func (c *Console) login(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(w, r, maxForm)
	if err != nil {
		return err
	}
	if err := f.complete(); err != nil {
		return c.askToSignIn(w, r, f, err)
	}
	in, err := f.credentials()
	if err != nil {
		return err
	}
	signIn := c.link.SignIn
	if f.Verify != "" {
		signIn = func(ctx context.Context, actorType, provider string, in auth.Input, client auth.Client) (link.Login, error) {
			return c.link.SignInToVerify(ctx, actorType, provider, f.Verify, in, client)
		}
	}
	l, err := signIn(r.Context(), c.proves(f.Verify), provider, in, c.site.Client(r))
	if err != nil {
		c.signInRefused(r, f, l.Identity.ID, err)
		return c.askToSignIn(w, r, f, err)
	}
	v, err := c.entered(w, r, l)
	switch {
	case err != nil:
		return err
	case f.Verify != "": // they came by the link that proves an address, which no redirect may carry
		return c.offerProofTo(w, r, v, form{Verify: f.Verify}, nil)
	case l.Waiting != nil:
		return c.wait(w, r, v, l.Waiting)
	case f.Token != "": // they came by the link that confirms an address, which no redirect may carry
		return c.offerAddressTo(w, r, v, form{Token: f.Token}, nil)
	}
	return away(w, c.onTo(f.Next))
}

// entered has the browser keep the session of a sign-in, and says who is there by it, before anything is looked up of an account.
func (c *Console) entered(w http.ResponseWriter, r *http.Request, l link.Login) (*visitor, error) {
	if err := c.enter(w, r, l.Session); err != nil {
		return nil, err
	}
	v := &visitor{session: l.Session, Email: l.Identity.Proved.Email}
	if l.Unproved || l.Waiting != nil {
		var err error
		if v.Unproved, err = c.link.Unproved(r.Context(), l.Session); err != nil {
			return nil, err
		}
	}
	return v, nil
}

func (c *Console) logout(w http.ResponseWriter, r *http.Request) error {
	if err := c.leave(r); err != nil {
		return err
	}
	c.site.ClearCookie(w)
	w.Header().Set("Clear-Site-Data", `"cache", "storage"`)
	return c.redirect(w, "/login")
}
