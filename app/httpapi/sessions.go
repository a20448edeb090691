package httpapi

import (
	"context"
	"errors"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// shownSession is a session as an answer shows it to somebody.
type shownSession struct {
	auth.Session
	current bool // it is the one they ask in
}

// sessionAttributes are what a session shows. Nothing of it opens anything.
var sessionAttributes = []attribute[shownSession]{
	{"id", false, func(s shownSession) any { return s.ID }},
	{"current", false, func(s shownSession) any { return s.current }},
	{"actor_type", false, func(s shownSession) any { return s.ActorType }},
	{"auth_provider", false, func(s shownSession) any { return s.Provider }},
	{"user_agent", false, func(s shownSession) any { return text(s.UserAgent) }},
	{"ip", false, func(s shownSession) any { return text(s.IP) }},
	{"created_at", false, func(s shownSession) any { return stamp(s.CreatedAt) }},
	{"authenticated_at", false, func(s shownSession) any { return stamp(s.AuthenticatedAt) }},
	{"last_used_at", false, func(s shownSession) any { return stamp(s.LastUsedAt) }},
	{"expires_at", false, func(s shownSession) any { return stamp(s.ExpiresAt) }},
}

type sessionsAnswer struct {
	Sessions []object `json:"sessions"`
	listing
}

type endedAnswer struct {
	Count   int    `json:"count"` // how many have ended
	Object  string `json:"object"`
	Deleted bool   `json:"deleted"`
	Token   string `json:"token,omitempty"` // in place of the one the caller came with, which is dead
}

// listOwnSessions lists where the caller is signed in, actor or not.
func (a *API) listOwnSessions(c *call) (sessionsAnswer, error) {
	return a.listSessions(c, func(p auth.Page) ([]auth.Session, int, error) {
		return a.auth.ListAndCountSessions(c.Context(), c.caller.session.IdentityID, p)
	})
}

// listSessionsOf lists where a user is signed in.
func (a *API) listSessionsOf(c *call) (sessionsAnswer, error) {
	return a.listSessions(c, func(p auth.Page) ([]auth.Session, int, error) {
		return a.link.ListAndCountSessions(c.Context(), user.ID(c.PathValue("id")), p)
	})
}

func (a *API) listSessions(c *call, read func(auth.Page) ([]auth.Session, int, error)) (sessionsAnswer, error) {
	q, err := readQuery(c, "limit", "offset", "order", "fields")
	if err != nil {
		return sessionsAnswer{}, err
	}
	page, err := q.page()
	if err != nil {
		return sessionsAnswer{}, err
	}
	sessions, count, err := read(auth.Page{Limit: page.Limit, Offset: page.Offset, Order: page.Order})
	answer := sessionsAnswer{make([]object, len(sessions)), listing{Count: &count, Offset: &page.Offset, Limit: shown(page)}}
	attributes := choose(sessionAttributes, q["fields"])
	for i, s := range sessions {
		answer.Sessions[i] = show(shownSession{s, s.ID == c.caller.session.ID}, attributes)
	}
	return answer, err
}

// endOwnSession ends one of the caller's own sessions. Of anybody else's it says what it says of one that is not there.
func (a *API) endOwnSession(c *call) (deletedAnswer, error) {
	if _, err := readQuery(c); err != nil {
		return deletedAnswer{}, err
	}
	own, id := c.caller.session, auth.SessionID(c.PathValue("id"))
	err := a.whileIn(c, func(ctx context.Context) error {
		_, err := a.auth.EndSessionOf(ctx, own.IdentityID, id, auth.EndedByOwner)
		return err
	})
	if errors.Is(err, auth.ErrSession) {
		err = errUnauthorized
	}
	if err == nil && id == own.ID {
		a.signedOut(c)
	}
	return deletedAnswer{string(id), "session", true}, err
}

// whileIn ends a session in a transaction in which the caller's own still lives: who was thrown out a moment ago, on another
// node, throws out nobody.
func (a *API) whileIn(c *call, end func(ctx context.Context) error) error {
	return a.db.InTx(c.Context(), func(ctx context.Context) error {
		if err := a.auth.HoldSession(ctx, c.caller.session); err != nil {
			return err
		}
		return end(ctx)
	})
}

// endOtherSessions signs the caller out everywhere else. In place of what they came with they get another one: a cookie or a
// token.
func (a *API) endOtherSessions(c *call) (endedAnswer, error) {
	if _, err := readQuery(c); err != nil {
		return endedAnswer{}, err
	}
	now, ended, err := a.auth.EndOtherSessions(c.Context(), c.caller.session)
	answer := endedAnswer{ended, "session", true, ""}
	if err == nil && c.caller.claims != nil {
		if answer.Token, err = a.link.Refresh(c.Context(), now); errors.Is(err, auth.ErrSession) || errors.Is(err, auth.ErrNotFound) {
			err = nil // it has ended since, and what was asked for is done
		}
	}
	if err == nil {
		answer.Token, err = a.goOn(c, now, answer.Token)
	}
	if errors.Is(err, auth.ErrSession) || errors.Is(err, auth.ErrNotFound) { // it ended a moment ago
		err = errUnauthorized
	}
	return answer, err
}

// endSessionOf ends one session of a user, who may do no more than the caller.
func (a *API) endSessionOf(c *call) (deletedAnswer, error) {
	if _, err := readQuery(c); err != nil {
		return deletedAnswer{}, err
	}
	of, id := user.ID(c.PathValue("id")), auth.SessionID(c.PathValue("session"))
	err := a.actOn(c, of, func(ctx context.Context) error { return a.link.EndSession(ctx, of, id) })
	if err == nil && of == c.caller.user.ID && id == c.caller.session.ID {
		a.signedOut(c)
	}
	return deletedAnswer{string(id), "session", true}, err
}

// endSessionsOf signs out a user, who may do no more than the caller, everywhere.
func (a *API) endSessionsOf(c *call) (endedAnswer, error) {
	if _, err := readQuery(c); err != nil {
		return endedAnswer{}, err
	}
	of, ended := user.ID(c.PathValue("id")), 0
	err := a.actOn(c, of, func(ctx context.Context) (err error) {
		ended, err = a.link.EndSessions(ctx, of)
		return err
	})
	if err == nil && of == c.caller.user.ID {
		a.signedOut(c)
	}
	return endedAnswer{ended, "session", true, ""}, err
}

// signedOut has the browser forget whom it was signed in as.
func (a *API) signedOut(c *call) {
	a.site.ClearCookie(c.w)
	c.w.Header().Set("Clear-Site-Data", `"cache", "storage"`)
}
