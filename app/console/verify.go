package console

import (
	"errors"
	"net/http"
	"slices"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

const verifyTitle = "verify.title"

// openVerify shows what the link in the address would prove. It proves nothing: whoever opens a link, such as a program that
// looks through mails, has not said yes. Without a link it shows what there is to prove.
func (c *Console) openVerify(w http.ResponseWriter, r *http.Request) error {
	if token := r.URL.Query().Get("token"); token != "" {
		return c.offerProof(w, r, form{Verify: token}, nil)
	}
	return c.askForProof(w, r, nil)
}

// offerProof shows to who is signed in what the link would prove, and why it could not be done just now; to everybody else,
// the form to sign in.
func (c *Console) offerProof(w http.ResponseWriter, r *http.Request, f form, wrong error) error {
	v, err := c.visitorAs(r, c.proves(f.Verify))
	switch {
	case err != nil:
		return err
	case v == nil:
		return c.askToSignIn(w, r, form{Verify: f.Verify}, wrong)
	}
	return c.offerProofTo(w, r, v, f, wrong)
}

func (c *Console) offerProofTo(w http.ResponseWriter, r *http.Request, v *visitor, f form, wrong error) error {
	what, err := c.link.CheckVerificationToken(r.Context(), v.session, f.Verify)
	switch {
	case errors.Is(err, auth.ErrVerificationElsewhere):
		return c.turnAway(w, r, err)
	case errors.Is(err, auth.ErrVerification):
		return c.turnAway(w, r, errVerifyLink)
	case err != nil:
		return err
	}
	return c.showAgain(w, r, "verify", view{Title: verifyTitle, Form: f, Visitor: v, Alone: true, Proves: what.Email}, wrong)
}

// askForProof shows the button that has a link mailed, to who has something to prove.
func (c *Console) askForProof(w http.ResponseWriter, r *http.Request, wrong error) error {
	v, err := c.visitor(r)
	switch {
	case err != nil:
		return err
	case v == nil:
		return c.redirect(w, "/login")
	case v.Unproved == "":
		return c.redirect(w, "")
	}
	return c.showAgain(w, r, "verify", view{Title: verifyTitle, Visitor: v}, wrong)
}

// verify takes both forms: with the link's token it proves the address of whom the button named, who may not be signed in
// any more; without, it has a link mailed.
func (c *Console) verify(w http.ResponseWriter, r *http.Request) error {
	f, err := readForm(w, r, maxForm)
	if err != nil {
		return err
	}
	v, err := c.visitorAs(r, c.proves(f.Verify))
	switch {
	case err != nil:
		return err
	case f.Verify == "":
		return c.sendProof(w, r, v)
	case v == nil:
		return c.offerProof(w, r, f, nil)
	case v.Session() != f.As:
		return c.offerProofTo(w, r, v, f, errOtherProves)
	}
	done, err := c.link.ConfirmVerification(r.Context(), v.session, f.Verify)
	c.refused(r, toVerify, "", err)
	switch {
	case errors.Is(err, auth.ErrSession):
		return c.askToSignIn(w, r, form{Verify: f.Verify}, nil)
	case errors.Is(err, auth.ErrVerification), errors.Is(err, auth.ErrRegistered):
		return c.offerDead(w, r, err)
	case fault.KindOf(err) != fault.Internal:
		return c.offerProofTo(w, r, v, f, err)
	case err != nil:
		return err
	}
	return c.show(w, r, "verify", view{Title: "verify.done_title", Done: done.Email, Elsewhere: v.session.ActorType != link.ActorUser})
}

// proves is as which type of actor the link was asked for. Mails lead here whatever type that is; an application's own actors go on
// where they came from.
func (c *Console) proves(token string) string {
	actorType := c.auth.VerificationActorType(token)
	if !slices.Contains(c.link.ActorTypes(), actorType) {
		return link.ActorUser
	}
	return actorType
}

// offerDead says why a link proves nothing any more.
func (c *Console) offerDead(w http.ResponseWriter, r *http.Request, why error) error {
	if errors.Is(why, auth.ErrVerification) {
		why = errVerifyLink
	}
	return c.turnAway(w, r, why)
}

// sendProof has a link mailed to the address that the visitor has to prove. Which that is, the session says.
func (c *Console) sendProof(w http.ResponseWriter, r *http.Request, v *visitor) error {
	if v == nil || v.Unproved == "" {
		return c.askForProof(w, r, nil)
	}
	_, err := c.link.RequestVerification(r.Context(), v.session, auth.VerificationRequest{Email: v.Unproved})
	c.refused(r, toAskForProof, "", err)
	switch {
	case errors.Is(err, auth.ErrSession):
		return c.redirect(w, "/login")
	case err != nil:
		return c.askForProof(w, r, err)
	}
	return c.showSent(w, r, v)
}
