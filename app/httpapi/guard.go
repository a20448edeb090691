package httpapi

import (
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

// guard says whether a call may go on, and finds out who is calling. Without proof there is no way past: an error of the
// guard is the answer.
type guard func(a *API, c *call) error

// caller is who is calling.
type caller struct {
	session auth.Session
	claims  *auth.Claims // nil when it is the cookie that proves it
	user    user.User    // set by the guards that want a user
	rights  rights       // set by may
}

// public lets everybody pass.
func public(*API, *call) error { return nil }

// signedIn wants a living session, of any actor type and linked or not. The cookie counts before the bearer token, as in
// Medusa; a bad one beside a good one is passed over.
func signedIn(a *API, c *call) error {
	if secret := a.site.Cookie(c.Request); secret != "" {
		session, err := a.auth.CheckCookie(c.Context(), secret)
		if err == nil {
			c.caller = caller{session: session}
			return nil
		}
		if !refused(err) {
			return err
		}
	}
	return bearer(a, c)
}

// ownScript lets everybody pass but a browser whom a page of another site has ask: a sign-in that is begun counts, is kept and may
// have something mailed, which no page has its visitors do.
func ownScript(a *API, c *call) error {
	if a.site.FromOtherSite(c.Request) && c.inTwoSteps(a) {
		return errOtherSite
	}
	return nil
}

// ownScriptOrLink is ownScript for what links lead to, which may be anywhere: a picture or a frame is none.
func ownScriptOrLink(a *API, c *call) error {
	if !web.Embedded(c.Request) {
		return nil
	}
	return ownScript(a, c)
}

// bearer wants a living session by its access token.
func bearer(a *API, c *call) error {
	token, ok := web.Bearer(c.Request)
	if !ok {
		return errUnauthorized
	}
	claims, session, err := a.auth.CheckToken(c.Context(), token)
	if refused(err) {
		return errUnauthorized
	}
	c.caller = caller{session: session, claims: &claims}
	return err
}

// refused tells a credential that is no good from a failure to check it, which must never count as a pass or a refusal.
func refused(err error) bool { return fault.KindOf(err) == fault.Unauthorized }

// actorUser wants a session of the actor type user, linked or not.
func actorUser(a *API, c *call) error { return signedInAs(a, c, link.ActorUser) }

// signedInAs wants a session of the actor type, linked or not. A browser has one cookie, and may be a customer by it and a user by
// a token: a cookie of another type beside the token of one is passed over.
func signedInAs(a *API, c *call, actorType string) error {
	if err := signedIn(a, c); err != nil || c.caller.session.ActorType == actorType {
		return err
	}
	if by := c.caller; by.claims == nil {
		if err := bearer(a, c); err != nil && !refused(err) {
			return err
		}
		if c.caller.session.ActorType == actorType {
			return nil
		}
		c.caller = by
	}
	return errUnauthorized
}

// member wants a user who may sign in.
func member(a *API, c *call) error {
	actor, err := actorOf(a, c, link.ActorUser)
	if err != nil {
		return err
	}
	u, ok := actor.Record.(user.User)
	if !ok {
		return errUnauthorized
	}
	c.caller.user = u
	return nil
}

// actorOf wants an actor of the type who may sign in. A bearer token speaks for the actor it names: one from before the link,
// for nobody; and it may be from before the address had to be proved.
func actorOf(a *API, c *call, actorType string) (link.Actor, error) {
	if err := signedInAs(a, c, actorType); err != nil {
		return link.Actor{}, err
	}
	var id string
	if c.caller.claims != nil {
		id = c.caller.claims.ActorID
	} else {
		var err error
		id, err = a.link.Actor(c.Context(), c.caller.session)
		if refused(err) {
			return link.Actor{}, errUnauthorized
		}
		if err != nil {
			return link.Actor{}, err
		}
	}
	if id == "" {
		return link.Actor{}, errUnauthorized
	}
	actor, err := a.link.LiveActor(c.Context(), actorType, id)
	if refused(err) {
		err = errUnauthorized
	}
	return actor, err
}
