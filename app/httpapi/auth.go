package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
)

type tokenAnswer struct {
	VerificationRequired bool                `json:"verification_required,omitempty"` // Medusa's way to say it
	Verification         *verificationAnswer `json:"verification,omitempty"`
	Token                string              `json:"token"`
	Link                 *link.Waiting       `json:"link,omitempty"` // why the token speaks for nobody yet, and what to do
}

// register gives the caller an identity and a token that speaks for nobody yet.
func (a *API) register(c *call, in auth.Input) (tokenAnswer, error) {
	l, err := a.link.SignUp(c.Context(), c.PathValue("actor"), c.PathValue("provider"), in, a.site.Client(c.Request))
	return tokenAnswer{Token: l.Token}, err
}

// signIn proves the caller and, the first time, makes them a user. Of two steps it begins the first.
func (a *API) signIn(c *call, in auth.Input) (outcome, error) {
	if c.inTwoSteps(a) {
		return a.begin(c, in)
	}
	l, err := a.link.SignIn(c.Context(), c.PathValue("actor"), c.PathValue("provider"), in, a.site.Client(c.Request))
	if err != nil {
		return outcome{}, err
	}
	a.knows(c, l.Session)
	return outcome{body: a.signedInAnswer(l)}, nil
}

func (a *API) signedInAnswer(l link.Login) tokenAnswer {
	answer := tokenAnswer{Token: l.Token, Link: l.Waiting, VerificationRequired: l.Unproved}
	if l.Verification != nil {
		v := showVerification(*l.Verification)
		answer.Verification = &v
	}
	return answer
}

// knows has the caller's device keep what makes it known to the account of the session, as its credentials are now.
func (a *API) knows(c *call, session auth.Session) {
	a.site.SetDevice(c.w, a.auth.DeviceToken(session, a.site.Client(c.Request).Device))
}

type providersAnswer struct {
	Providers []providerAnswer `json:"providers"`
}

type providerAnswer struct {
	ID          string `json:"id"`
	Identifier  string `json:"identifier"`
	DisplayName string `json:"display_name"`
	Flow        string `json:"flow"`
	Start       string `json:"start,omitempty"` // of two steps: the path of a link that begins it
	Icon        string `json:"icon,omitempty"`
	Available   *bool  `json:"available,omitempty"` // false, or not there
}

// providers lists what the actor type can sign in with.
func (a *API) providers(c *call) (providersAnswer, error) {
	infos, err := a.link.Providers(c.PathValue("actor"))
	answer := providersAnswer{Providers: []providerAnswer{}}
	for _, i := range infos {
		p := providerAnswer{ID: i.ID, Identifier: i.ID, DisplayName: i.DisplayName, Flow: i.Flow, Icon: i.Icon}
		if i.Flow == auth.FlowRedirect {
			p.Start = "/auth/" + c.PathValue("actor") + "/" + i.ID + "/start"
		}
		if i.Unavailable {
			p.Available = new(bool)
		}
		answer.Providers = append(answer.Providers, p)
	}
	return answer, err
}

type sessionAnswer struct {
	User auth.Claims `json:"user"`
}

// createSession puts the bearer's session into a cookie.
func (a *API) createSession(c *call) (sessionAnswer, error) {
	err := a.enter(c, c.caller.session)
	if errors.Is(err, auth.ErrSession) {
		err = errUnauthorized
	}
	if err != nil {
		return sessionAnswer{}, err
	}
	return sessionAnswer{User: *c.caller.claims}, nil
}

// enter has the browser keep the session. A cookie of another session ends that session, so that one planted beforehand is
// worth nothing afterwards; one that is this session's already stays.
func (a *API) enter(c *call, session auth.Session) error {
	var other auth.SessionID
	if secret := a.site.Cookie(c.Request); secret != "" {
		presented, err := a.auth.CheckCookie(c.Context(), secret)
		switch {
		case err == nil && presented.ID == session.ID:
			return nil
		case err == nil:
			other = presented.ID
		case !refused(err):
			return err
		}
	}
	secret, err := a.auth.SetCookie(c.Context(), session)
	if err != nil {
		return fmt.Errorf("set cookie: %w", err)
	}
	if other != "" {
		if err := a.auth.EndSession(c.Context(), other); err != nil && !errors.Is(err, auth.ErrSession) {
			return err
		}
	}
	a.site.SetCookie(c.w, secret, session.ExpiresAt)
	return nil
}

// goOn lets the caller go on in the session that an act of theirs has carried over, without what they came with: by the token
// if they had one, otherwise by a new cookie. It returns the token to answer with.
func (a *API) goOn(c *call, now auth.Session, token string) (string, error) {
	a.knows(c, now) // what the device had is void, too
	if c.caller.claims != nil {
		return token, nil
	}
	secret, err := a.auth.SetCookie(c.Context(), now)
	switch {
	case err == nil:
		a.site.SetCookie(c.w, secret, now.ExpiresAt)
	case errors.Is(err, auth.ErrSession): // it has ended since, and what was asked for is done
		err = nil
	}
	return "", err
}

type successAnswer struct {
	Success bool `json:"success"`
}

// deleteSession ends the caller's session, its tokens and its cookie.
func (a *API) deleteSession(c *call) (successAnswer, error) {
	err := a.whileIn(c, func(ctx context.Context) error { return a.auth.EndSession(ctx, c.caller.session.ID) })
	if errors.Is(err, auth.ErrSession) {
		return successAnswer{}, errUnauthorized
	}
	if err == nil {
		a.signedOut(c)
	}
	return successAnswer{Success: err == nil}, err
}

// refresh makes a new token of the same session, for whoever it is linked to by now.
func (a *API) refresh(c *call) (tokenAnswer, error) {
	token, err := a.link.Refresh(c.Context(), c.caller.session)
	if errors.Is(err, auth.ErrSession) || errors.Is(err, auth.ErrNotFound) { // ended on another node a moment ago
		return tokenAnswer{}, errUnauthorized
	}
	return tokenAnswer{Token: token}, err
}

type keysAnswer struct {
	Keys []auth.JWK `json:"keys"`
}

// keys is the key set (RFC 7517) with which others verify access tokens.
func (a *API) keys(c *call) (keysAnswer, error) {
	c.w.Header().Set("Cache-Control", "public, max-age=300")
	return keysAnswer{a.auth.PublicKeys()}, nil
}

type healthAnswer struct {
	Status      string   `json:"status"`
	Unavailable []string `json:"unavailable_providers,omitempty"`
}

// health says whether the database answers, and which providers nobody can sign in by for now: that others cannot be reached is
// no reason to send nobody here.
func (a *API) health(c *call) (healthAnswer, error) {
	if err := a.db.Ping(c.Context()); err != nil {
		a.log.Error("health", "error", err)
		return healthAnswer{}, errUnavailable
	}
	answer := healthAnswer{Status: "ok"}
	for _, i := range a.auth.ListAuthProviders() {
		if i.Unavailable {
			answer.Unavailable = append(answer.Unavailable, i.ID)
		}
	}
	return answer, nil
}

var _ http.Handler = (*API)(nil)
