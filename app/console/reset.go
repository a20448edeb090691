package console

import (
	"context"
	"errors"
	"net/http"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

// errResetLink is what a page says of auth.ErrResetToken.
var errResetLink = says(fault.Invalid, "reset_link_dead")

// openReset shows the form for the new password to who comes by a link, and to everybody else the one that asks for a link.
func (c *Console) openReset(w http.ResponseWriter, r *http.Request) error {
	if token := r.URL.Query().Get("token"); token != "" {
		return c.askForPassword(w, r, form{Token: token}, nil)
	}
	return c.askForAddress(w, r, form{}, nil)
}

// reset takes both forms.
func (c *Console) reset(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(w, r, maxForm)
	switch {
	case err != nil:
		return err
	case f.Token == "":
		return c.sendLink(w, r, f)
	case f.password == "":
		return c.askForPassword(w, r, f, errNoPassword)
	}
	in, err := f.credentials()
	if err != nil {
		return err
	}
	as, t, err := c.resets(r.Context(), f.Token)
	if err == nil || errors.Is(err, auth.ErrResetToken) { // who tries one that is none is counted
		err = c.link.ResetPassword(r.Context(), as, provider, f.Token, in)
	}
	if err != nil {
		c.refused(r, toReset, "", err)
		return c.askForPassword(w, r, f, err)
	}
	return c.show(w, r, "reset", view{Title: "reset.done_title", Done: t.EntityID, Elsewhere: as != link.ActorUser})
}

// resets says as which type of actor the bearer of the token has asked for a new password, and whose it is. Mails lead here whatever
// type that is.
func (c *Console) resets(ctx context.Context, token string) (actorType string, t auth.PasswordResetToken, err error) {
	for _, actorType := range c.link.ActorTypes() {
		if t, err = c.auth.CheckPasswordResetToken(ctx, actorType, provider, token); !errors.Is(err, auth.ErrResetToken) {
			return actorType, t, err
		}
	}
	return link.ActorUser, t, err
}

// sendLink has a link mailed, if the address is somebody's; what it says is the same if not.
func (c *Console) sendLink(w http.ResponseWriter, r *http.Request, f form) error {
	address, err := auth.CanonicalEmail(f.Email)
	if f.Email == "" {
		err = errNoEmail
	}
	if err == nil {
		err = c.link.RequestPasswordReset(r.Context(), auth.ResetRequest{ActorType: link.ActorUser, Provider: provider, EntityID: address})
	}
	if err != nil {
		return c.askForAddress(w, r, f, err)
	}
	return c.show(w, r, "forgot", view{Title: "form.look_mailbox", Form: f, Done: address})
}

// askForAddress shows the form that asks for a link, and why what was typed before did not do.
func (c *Console) askForAddress(w http.ResponseWriter, r *http.Request, f form, wrong error) error {
	return c.showAgain(w, r, "forgot", view{Title: "forgot.title", Form: f}, wrong)
}

// askForPassword shows the form for the new password while the link is good.
func (c *Console) askForPassword(w http.ResponseWriter, r *http.Request, f form, wrong error) error {
	_, t, err := c.resets(r.Context(), f.Token)
	switch {
	case errors.Is(err, auth.ErrResetToken) && errors.Is(wrong, auth.ErrThrottled):
		return c.askForAddress(w, r, form{}, wrong)
	case errors.Is(err, auth.ErrResetToken):
		return c.askForAddress(w, r, form{}, errResetLink)
	case err != nil:
		return err
	}
	return c.showAgain(w, r, "reset", view{Title: "reset.title", Form: f, Reset: t.EntityID}, wrong)
}
