package console

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

// openEmail shows the form for another address to who has an account.
func (c *Console) openEmail(w http.ResponseWriter, r *http.Request) error {
	return c.askForNewAddress(w, r, form{}, nil)
}

// askForNewAddress shows the form, and why what was typed before did not do.
func (c *Console) askForNewAddress(w http.ResponseWriter, r *http.Request, f form, wrong error) error {
	v, err := c.visitor(r)
	switch {
	case err != nil:
		return err
	case v == nil:
		return c.redirect(w, "/login")
	case !v.HasAccount():
		return c.redirect(w, "")
	}
	page := view{Title: "email.title", Back: toProfile, Form: f, Visitor: v}
	if page.Secret, err = c.auth.AsksForSecret(r.Context(), v.session.IdentityID); err != nil {
		return err
	}
	return c.showAgain(w, r, "email", page, wrong)
}

// changeEmail has a link mailed to the new address; what it says is the same if that is somebody's.
func (c *Console) changeEmail(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(w, r, maxForm)
	if err != nil {
		return err
	}
	v, err := c.visitor(r)
	switch {
	case err != nil:
		return err
	case v == nil:
		return c.toSignIn(w, r)
	case !v.HasAccount():
		return c.askForNewAddress(w, r, f, nil)
	case f.As != v.Account():
		return c.askForNewAddress(w, r, f, errOtherAccount)
	case f.Email == "":
		return c.askForNewAddress(w, r, f, errNoEmail)
	}
	address, err := auth.CanonicalEmail(f.Email)
	if err != nil {
		return c.askForNewAddress(w, r, f, err)
	}
	if asked, err := c.auth.AsksForSecret(r.Context(), v.session.IdentityID); err != nil || asked && f.password == "" { // which is no attempt
		return c.askForNewAddress(w, r, f, cmp.Or(err, error(errNoPassword)))
	}
	again, err := json.Marshal(map[string]string{"password": f.password})
	if err != nil {
		return err
	}
	err = c.link.RequestEmailChange(r.Context(), v.session, address, again)
	c.refused(r, toChangeEmail, "", err)
	switch {
	case errors.Is(err, auth.ErrSession):
		return c.toSignIn(w, r)
	case errors.Is(err, auth.ErrInvalidCredentials):
		return c.askForNewAddress(w, r, f, errCurrent)
	case err != nil:
		return c.askForNewAddress(w, r, f, err)
	}
	return c.show(w, r, "email", view{Title: "email.sent_title", Back: toProfile, Visitor: v, Done: address})
}

// openConfirm shows what the link in the address would confirm. It confirms nothing: whoever opens a link, such as a
// program that looks through mails, has not said yes.
func (c *Console) openConfirm(w http.ResponseWriter, r *http.Request) error {
	return c.offerAddress(w, r, form{Token: r.URL.Query().Get("token")}, nil)
}

// offerAddress shows to who is signed in what the link would confirm, and why it could not be done just now; to everybody
// else, the form to sign in.
func (c *Console) offerAddress(w http.ResponseWriter, r *http.Request, f form, wrong error) error {
	v, err := c.visitor(r)
	switch {
	case err != nil:
		return err
	case f.Token == "":
		return c.turnAway(w, r, auth.ErrEmailChange)
	case v == nil:
		return c.askToSignIn(w, r, form{Token: f.Token}, nil)
	}
	return c.offerAddressTo(w, r, v, f, wrong)
}

func (c *Console) offerAddressTo(w http.ResponseWriter, r *http.Request, v *visitor, f form, wrong error) error {
	page := view{Title: "email.confirm_title", Form: f, Visitor: v, Alone: true}
	var err error
	page.Change, err = c.link.CheckEmailChangeToken(r.Context(), v.session, f.Token)
	if err != nil {
		return c.turnAway(w, r, err)
	}
	return c.showAgain(w, r, "confirm", page, wrong)
}

// confirmEmail gives the account of the session that the button named its new address: who else is signed in by now has
// not been asked.
func (c *Console) confirmEmail(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(w, r, maxForm)
	if err != nil {
		return err
	}
	v, err := c.visitor(r)
	switch {
	case err != nil:
		return err
	case v == nil:
		return c.offerAddress(w, r, f, nil)
	case v.Session() != f.As:
		return c.offerAddress(w, r, f, errOtherConfirms)
	}
	u, now, _, err := c.link.ConfirmEmailChange(r.Context(), v.session, f.Token)
	c.refused(r, toConfirm, "", err)
	if err == nil {
		if err = c.goOn(w, r, now); errors.Is(err, auth.ErrSession) {
			err = nil // it has ended since, and the address is another
		}
	}
	switch {
	case errors.Is(err, auth.ErrSession):
		return c.askToSignIn(w, r, form{Token: f.Token}, nil)
	case fault.KindOf(err) != fault.Internal:
		return c.offerAddress(w, r, f, err) // which says why itself where the link is dead
	case err != nil:
		return err
	}
	return c.show(w, r, "confirm", view{Title: "email.changed_title", Visitor: v, Alone: true, Done: u.Email})
}
