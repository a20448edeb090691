package console

import (
	"context"
	"net/http"

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
	case v.HasAccount() && c.may(v, "user:read"):
		return c.redirect(w, "/users")
	case v.HasAccount() && c.api != nil:
		return c.redirect(w, accountPath)
	}
	return c.show(w, r, "home", view{Title: "title.you_are_signed_in", Visitor: v})
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
			return c.show(w, r, "home", view{Title: "title.you_are_signed_in", Visitor: v, Waiting: &waiting})
		}
	}
	var wrong error
	if reason := q.Get("problem"); reason != "" {
		wrong = providerProblem(reason)
	}
	return c.askToSignIn(w, r, form{}, wrong)
}

// askToSignIn shows the form, and why what was typed before did not do.
func (c *Console) askToSignIn(w http.ResponseWriter, r *http.Request, f form, wrong error) error {
	v, err := c.visitor(r)
	if err != nil {
		return err
	}
	page := view{Title: "title.sign_in", Form: f, Visitor: v}
	as := c.proves(f.Verify)
	known, err := c.link.Providers(as)
	if err != nil {
		return err
	}
	for _, p := range known {
		if p.Flow == auth.FlowRedirect && as == link.ActorUser { // others sign in on pages of the application's own
			page.Providers = append(page.Providers, p)
		}
		page.Password = page.Password || p.ID == provider
	}
	page.Password = page.Password || len(page.Providers) == 0 || f.Email != ""
	return c.showAgain(w, r, "login", page, wrong)
}

// login signs in. Somebody whose sign-in leads to no account is told why at once: that is kept nowhere.
func (c *Console) login(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(w, r)
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
	if err := c.enter(w, r, l.Session); err != nil {
		return err
	}
	v := &visitor{session: l.Session, Email: l.Identity.Proved.Email}
	if l.Unproved || l.Waiting != nil {
		if v.Unproved, err = c.link.Unproved(r.Context(), l.Session); err != nil {
			return err
		}
	}
	switch {
	case f.Verify != "": // they came by the link that proves an address, which no redirect may carry
		return c.offerProofTo(w, r, v, form{Verify: f.Verify}, nil)
	case l.Waiting != nil:
	case f.Token != "": // they came by the link that confirms an address, which no redirect may carry
		return c.offerAddressTo(w, r, v, form{Token: f.Token}, nil)
	default:
		return c.redirect(w, "")
	}
	return c.show(w, r, "home", view{Title: "title.you_are_signed_in", Visitor: v, Waiting: l.Waiting})
}

func (c *Console) logout(w http.ResponseWriter, r *http.Request) error {
	if err := c.leave(r); err != nil {
		return err
	}
	c.site.ClearCookie(w)
	w.Header().Set("Clear-Site-Data", `"cache", "storage"`)
	return c.redirect(w, "/login")
}
