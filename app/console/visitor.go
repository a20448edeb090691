package console

import (
	"cmp"
	"errors"
	"net/http"
	"strings"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

// visitor is who the cookie says is there: a user, or somebody signed in who has no account yet.
type visitor struct {
	session auth.Session
	user    user.User // the zero value: no account yet
	Email   string    // the account's, or else the sign-in's; empty: none

	Unproved string // the address by whose proof they get further; empty: none
}

// HasAccount reports whether the visitor is a user.
func (v visitor) HasAccount() bool { return v.user.ID != "" }

// FullName is empty for somebody who gave none.
func (v visitor) FullName() string {
	var names []string
	for _, name := range []*string{v.user.FirstName, v.user.LastName} {
		if name != nil && *name != "" {
			names = append(names, *name)
		}
	}
	return strings.Join(names, " ")
}

// Called is how to call the visitor in a sentence; empty for who has neither address nor name.
func (v visitor) Called() string { return cmp.Or(v.Email, v.FullName()) }

// Name is how the visitor is shown, at every page inside.
func (v visitor) Name() string { return cmp.Or(v.FullName(), v.Email, "–") }

// Roles are the account's.
func (v visitor) Roles() []string { return v.user.Roles }

// Account names the user. It is no secret.
func (v visitor) Account() string { return string(v.user.ID) }

// Session names the sign-in. It is no secret.
func (v visitor) Session() string { return string(v.session.ID) }

// visitor returns which user is there; nil if nobody is signed in, or somebody who may not be.
func (c *Console) visitor(r *http.Request) (*visitor, error) { return c.visitorAs(r, link.ActorUser) }

// visitorAs returns which actor of the type is there.
func (c *Console) visitorAs(r *http.Request, actorType string) (*visitor, error) {
	session, err := c.session(r)
	if err != nil || session == nil || session.ActorType != actorType {
		return nil, err
	}
	id, err := c.link.Actor(r.Context(), *session)
	if errors.Is(err, auth.ErrSession) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	if id == "" {
		identity, err := c.auth.RetrieveAuthIdentity(r.Context(), session.IdentityID)
		if errors.Is(err, auth.ErrNotFound) {
			return nil, nil
		}
		v := &visitor{session: *session}
		for _, p := range identity.Providers {
			if p.Provider == session.Provider {
				v.Email = p.Email
			}
		}
		if err == nil {
			v.Unproved, err = c.link.Unproved(r.Context(), *session)
		}
		if errors.Is(err, auth.ErrSession) {
			return nil, nil
		}
		v.Email = cmp.Or(v.Email, v.Unproved)
		return v, err
	}
	if actorType != link.ActorUser {
		a, err := c.link.LiveActor(r.Context(), actorType, id)
		if errors.Is(err, auth.ErrSession) {
			return nil, nil
		}
		return &visitor{session: *session, Email: a.Email}, err
	}
	u, err := c.users.RetrieveUser(r.Context(), user.ID(id))
	if errors.Is(err, user.ErrNotFound) || (err == nil && !u.Active()) {
		return nil, nil
	}
	return &visitor{session: *session, user: u, Email: u.Email}, err
}

// session returns the session of the cookie; nil if there is none that lives.
func (c *Console) session(r *http.Request) (*auth.Session, error) {
	secret := c.site.Cookie(r)
	if secret == "" {
		return nil, nil
	}
	session, err := c.auth.CheckCookie(r.Context(), secret)
	switch {
	case fault.KindOf(err) == fault.Unauthorized:
		return nil, nil
	case err != nil:
		return nil, err
	}
	return &session, nil
}

// enter has the browser keep a session that has just begun. The session of a cookie that came with the request ends, so
// that one planted beforehand is worth nothing afterwards.
func (c *Console) enter(w http.ResponseWriter, r *http.Request, session auth.Session) error {
	if err := c.leave(r); err != nil {
		return err
	}
	return c.goOn(w, r, session)
}

// goOn gives the browser a new cookie of the session.
func (c *Console) goOn(w http.ResponseWriter, r *http.Request, session auth.Session) error {
	secret, err := c.auth.SetCookie(r.Context(), session)
	if err == nil {
		c.site.SetCookie(w, secret, session.ExpiresAt)
		c.site.SetDevice(w, c.auth.DeviceToken(session, c.site.Client(r).Device))
	}
	return err
}

// leave ends the session of the request's cookie, if there is one.
func (c *Console) leave(r *http.Request) error {
	session, err := c.session(r)
	if err != nil || session == nil {
		return err
	}
	return c.end(r, *session)
}

// end ends a session, which may have ended.
func (c *Console) end(r *http.Request, session auth.Session) error {
	err := c.auth.EndSession(r.Context(), session.ID)
	if errors.Is(err, auth.ErrSession) {
		return nil
	}
	return err
}
