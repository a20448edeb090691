package console

import (
	"errors"
	"net/http"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// openInvite shows what the link in the address is for: to somebody signed in whether they can accept it, to everybody
// else the form to do so.
func (c *Console) openInvite(w http.ResponseWriter, r *http.Request) error {
	return c.offer(w, r, form{Token: r.URL.Query().Get("token")}, nil)
}

// offer shows an invite to whoever is there, and why it could not be accepted just now.
func (c *Console) offer(w http.ResponseWriter, r *http.Request, f form, wrong error) error {
	invite, err := c.users.ValidateInviteToken(r.Context(), f.Token)
	if err != nil {
		return c.turnAway(w, r, err)
	}
	if invite.Setup() { // the link outlives the making of an admin by other ways, and would say that there is none
		switch done, err := c.users.AdminExists(r.Context()); {
		case err != nil:
			return err
		case done:
			return c.turnAway(w, r, user.ErrSetupDone)
		}
	}
	v, err := c.visitor(r)
	switch {
	case err != nil:
		return err
	case v == nil:
		return c.askToJoin(w, r, f, invite, wrong)
	}
	return c.showInvite(w, r, "accept", view{Form: f, Invite: invite, Visitor: v, Alone: true}, wrong)
}

// askToJoin shows the form by which somebody who is not signed in accepts an invite.
func (c *Console) askToJoin(w http.ResponseWriter, r *http.Request, f form, invite user.Invite, wrong error) error {
	page := view{Form: f, Invite: invite}
	var err error
	if page.Providers, page.Password, err = c.doors(link.ActorUser); err != nil {
		return err
	}
	return c.showInvite(w, r, "invite", page, wrong)
}

// MayAccept reports whether whoever is signed in can accept the invite: with an account, only one to its own address, or
// the set-up link.
func (v view) MayAccept() bool {
	return !v.Visitor.HasAccount() || v.Invite.Setup() || v.Invite.Email == v.Visitor.Email
}

func (c *Console) showInvite(w http.ResponseWriter, r *http.Request, page string, v view, wrong error) error {
	v.Title = "accept.title"
	if v.Invite.Setup() {
		v.Title = "accept.setup_title"
	}
	return c.showAgain(w, r, page, v, wrong)
}

// turnAway says why a link leads nowhere.
func (c *Console) turnAway(w http.ResponseWriter, r *http.Request, why error) error {
	p := problemOf(why)
	if p == nil {
		return why
	}
	return c.show(w, r, "problem", view{Title: "problem.link_title", Problem: p})
}

// acceptInvite takes both forms: that of somebody signed in, and that of everybody else.
func (c *Console) acceptInvite(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(w, r, maxForm)
	if err != nil {
		return err
	}
	switch {
	case f.Leave != "":
		return c.makeWay(w, r, f)
	case f.As != "":
		return c.acceptAs(w, r, f)
	}
	return c.join(w, r, f)
}

// makeWay signs out whom the button named, and shows the invite to whoever is there then. It does so in one answer: no address
// that we make up carries the token of an invite.
func (c *Console) makeWay(w http.ResponseWriter, r *http.Request, f form) error {
	v, err := c.visitor(r)
	if err != nil {
		return err
	}
	if v != nil && v.Session() == f.Leave {
		if err := c.leave(r); err != nil {
			return err
		}
		c.site.ClearCookie(w)
	}
	return c.offer(w, r, form{Token: f.Token}, nil)
}

// acceptAs accepts for the session that the button named: who else is signed in by now has not been asked.
func (c *Console) acceptAs(w http.ResponseWriter, r *http.Request, f form) error {
	v, err := c.visitor(r)
	switch {
	case err != nil:
		return err
	case v == nil || v.Session() != f.As:
		return c.offer(w, r, f, errOther)
	}
	_, err = c.link.Accept(r.Context(), v.session, f.Token, link.Acceptance{})
	c.refused(r, toAccept, "", err)
	switch {
	case isDead(err):
		return c.turnAway(w, r, err)
	case err != nil:
		return c.offer(w, r, f, err)
	}
	return c.redirect(w, "")
}

// join accepts for whoever the typed password proves, making them somebody who can sign in first.
func (c *Console) join(w http.ResponseWriter, r *http.Request, f form) error {
	invite, err := c.users.ValidateInviteToken(r.Context(), f.Token)
	if err != nil {
		c.refused(r, toAccept, "", err)
		return c.turnAway(w, r, err)
	}
	if !invite.Setup() {
		f.Email = invite.Email
	}
	if err := f.complete(); err != nil {
		return c.askToJoin(w, r, f, invite, err)
	}
	session, err := c.signUpAndAccept(r, f)
	c.refused(r, toAccept, f.Email, err)
	switch {
	case isDead(err):
		return c.turnAway(w, r, err)
	case err != nil:
		return c.askToJoin(w, r, f, invite, err)
	}
	if err := c.enter(w, r, session); err != nil {
		return err
	}
	return c.redirect(w, "")
}

// signUpAndAccept registers whoever filled in the form, or signs them in if they have an identity, and accepts. Of two
// who send the same form at once, the one who accepts ends the session of the other: the other tries again, and finds
// the same account.
func (c *Console) signUpAndAccept(r *http.Request, f form) (session auth.Session, err error) {
	for range 2 {
		if session, err = c.signUp(r, f); err != nil {
			return auth.Session{}, err
		}
		_, err = c.link.Accept(as(r.Context(), session), session, f.Token, link.Acceptance{
			FirstName: given(f.FirstName), LastName: given(f.LastName),
		})
		if err == nil {
			return session, nil
		}
		if err := c.end(r, session); err != nil { // nobody holds it
			return auth.Session{}, err
		}
		if !errors.Is(err, auth.ErrSession) {
			break
		}
	}
	return auth.Session{}, err
}

func (c *Console) signUp(r *http.Request, f form) (auth.Session, error) {
	in, err := f.credentials()
	if err != nil {
		return auth.Session{}, err
	}
	l, err := c.link.SignUpInvited(r.Context(), f.Token, link.ActorUser, provider, in, c.site.Client(r))
	if errors.Is(err, auth.ErrIdentityExists) {
		l, err = c.link.SignIn(r.Context(), link.ActorUser, provider, in, c.site.Client(r))
	}
	return l.Session, err
}

// given is a name that was typed; nil for none.
func given(name string) *string {
	if name == "" {
		return nil
	}
	return &name
}
