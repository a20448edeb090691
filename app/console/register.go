package console

import (
	"errors"
	"net/http"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
)

// takesNewcomers reports whether people can register here: users take newcomers, and may use a password.
func (c *Console) takesNewcomers() bool {
	if !c.link.TakesNewcomers(link.ActorUser) {
		return false
	}
	_, password, err := c.doors(link.ActorUser)
	return err == nil && password
}

// openRegister asks for what one registers with.
func (c *Console) openRegister(w http.ResponseWriter, r *http.Request) error {
	return c.askToRegister(w, r, form{Next: r.URL.Query().Get("next")}, nil)
}

// askToRegister shows the form, and why what was typed before did not do.
func (c *Console) askToRegister(w http.ResponseWriter, r *http.Request, f form, wrong error) error {
	if !c.takesNewcomers() {
		return errNoPage
	}
	v, err := c.visitor(r)
	if err != nil {
		return err
	}
	page := view{Title: "register.title", Form: f, Visitor: v, Alone: true, Password: true, Next: c.onward(f.Next)}
	if page.Providers, _, err = c.doors(link.ActorUser); err != nil {
		return err
	}
	return c.showAgain(w, r, "register", page, wrong)
}

// register lets somebody sign up, and signs them in as the API would: then they have an account, or the page says what is missing.
// Where registering must not tell whether an address is known, it is not tried: the mailbox decides, and everybody is told the same.
func (c *Console) register(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(w, r, maxForm)
	switch {
	case err != nil:
		return err
	case !c.takesNewcomers():
		return errNoPage
	}
	if err := f.complete(); err != nil {
		return c.askToRegister(w, r, f, err)
	}
	in, err := f.credentials()
	if err != nil {
		return err
	}
	made, err := c.link.SignUp(r.Context(), link.ActorUser, provider, in, c.site.Client(r))
	known := errors.Is(err, auth.ErrIdentityExists) // and whose it is may be who has sent the form twice
	if err != nil && !known {
		c.refused(r, toRegister, f.Email, err)
		return c.askToRegister(w, r, f, err)
	}
	if !known {
		switch address, err := c.auth.Registering(r.Context(), made.Session.IdentityID); {
		case err != nil:
			return err
		case address != "":
			if err := c.enter(w, r, made.Session); err != nil {
				return err
			}
			return c.showSent(w, r, &visitor{session: made.Session, Email: address, Unproved: address})
		}
	}
	l, err := c.link.SignIn(r.Context(), link.ActorUser, provider, in, c.site.Client(r))
	if !known {
		if ended := c.end(r, made.Session); ended != nil { // nobody holds it
			return ended
		}
	}
	switch {
	case known && errors.Is(err, auth.ErrInvalidCredentials):
		c.refused(r, toRegister, f.Email, auth.ErrIdentityExists)
		return c.askToRegister(w, r, f, errRegistered)
	case err != nil:
		c.refused(r, toSignIn, f.Email, err)
		return c.askToRegister(w, r, f, err)
	}
	v, err := c.entered(w, r, l)
	switch {
	case err != nil:
		return err
	case l.Waiting == nil && known:
		return away(w, c.onTo(f.Next))
	case l.Waiting == nil:
		return c.doneAt(w, c.onTo(f.Next), "registered", v.Email)
	case l.Waiting.Reason == link.WaitProof.Reason && v.Unproved != "":
		return c.showSent(w, r, v)
	}
	return c.wait(w, r, v, l.Waiting)
}

// showSent says that a link that proves the visitor's address is on its way.
func (c *Console) showSent(w http.ResponseWriter, r *http.Request, v *visitor) error {
	return c.show(w, r, "verify", view{Title: "form.look_mailbox", Visitor: v, Alone: true, Sent: v.Unproved})
}
