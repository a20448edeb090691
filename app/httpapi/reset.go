package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

type requestReset struct {
	Identifier required[string]         `json:"identifier"`
	Metadata   optional[map[string]any] `json:"metadata"`
}

// requestReset has a link to set a new password mailed to whoever the identifier means. It does and answers the same if
// that is nobody.
func (a *API) requestReset(c *call, in requestReset) (plainAnswer, error) {
	err := a.link.RequestPasswordReset(c.Context(), auth.ResetRequest{
		ActorType: c.PathValue("actor"), Provider: c.PathValue("provider"), EntityID: in.Identifier.value, Metadata: in.Metadata.or(),
	})
	return plainAnswer{http.StatusCreated, "Created"}, err
}

type updateAnswer struct {
	Success bool   `json:"success"`
	Token   string `json:"token,omitempty"` // in place of the one the caller came with, which is dead
}

// errNoPassword is Medusa's answer to a password that is none.
var errNoPassword = fault.New(fault.Unauthorized, "password_missing", "Unauthorized")

// errNoCurrent is for who is signed in and sends no current_password: they have no token that could be wrong.
var errNoCurrent = fault.New(fault.Invalid, "current_password_missing", "To set a new password while you are signed in, send current_password.")

// updateProvider replaces a password, for the bearer of a reset token or, with current_password in the body, for whoever
// is signed in. Whose it is, token and session say: the body is not asked.
func (a *API) updateProvider(c *call, in auth.Input) (updateAnswer, error) {
	var said struct {
		Current  json.RawMessage `json:"current_password"`
		Password any             `json:"password"`
	}
	if err := in.Decode(&said); err != nil {
		return updateAnswer{}, err
	}
	if said.Current != nil {
		answer, err := a.changePassword(c, in)
		if text, _ := said.Password.(string); text == "" && errors.Is(err, auth.ErrInvalidCredentials) {
			err = errNoPassword.Msg("Password should be a string")
		}
		return answer, err
	}
	token, _ := web.Bearer(c.Request)
	err := a.link.ResetPassword(c.Context(), c.PathValue("actor"), c.PathValue("provider"), token, in)
	switch {
	case errors.Is(err, auth.ErrResetToken):
		err = a.noResetToken(c, err)
	case errors.Is(err, auth.ErrInvalidCredentials): // the password is no string
		err = errNoPassword
	}
	return updateAnswer{Success: err == nil}, err
}

// noResetToken tells who is signed in and meant to change their password from who has a bad token. A bad one beside a good
// cookie is a bad one.
func (a *API) noResetToken(c *call, bad error) error {
	proof := signedIn
	if _, ok := web.Bearer(c.Request); ok {
		proof = bearer
	}
	switch err := proof(a, c); {
	case errors.Is(err, errUnauthorized):
		return bad
	case err != nil:
		return err
	case c.caller.session.ActorType != c.PathValue("actor"):
		return bad
	}
	return errNoCurrent
}

func (a *API) changePassword(c *call, in auth.Input) (updateAnswer, error) {
	if err := signedIn(a, c); err != nil {
		return updateAnswer{}, err
	}
	a.acting(c)
	if c.caller.session.ActorType != c.PathValue("actor") {
		return updateAnswer{}, errUnauthorized
	}
	now, token, err := a.link.ChangePassword(c.Context(), c.caller.session, c.PathValue("provider"), in)
	if err == nil {
		token, err = a.goOn(c, now, token)
	}
	if errors.Is(err, auth.ErrSession) {
		err = errUnauthorized
	}
	return updateAnswer{err == nil, token}, err
}

type resetAnswer struct {
	Token string `json:"token"` // empty unless Options.ResetTokenInResponse
}

// errAskedAgain is for who would be shown a token that is dead already. It is no reason to think that they are signed out.
var errAskedAgain = fault.New(fault.Conflict, "reset_superseded", "Somebody else asked for a new password for this user at the same time. Ask again.")

// resetUser has a link to set a new password mailed to a user.
func (a *API) resetUser(c *call) (answer resetAnswer, err error) {
	id := user.ID(c.PathValue("id"))
	err = a.actOn(c, id, func(ctx context.Context) error {
		return a.db.InTx(ctx, func(ctx context.Context) error {
			e, err := a.link.RequestPasswordResetFor(ctx, id)
			if err != nil || !a.options.ResetTokenInResponse {
				return err
			}
			t, err := a.auth.CreatePasswordResetToken(ctx, e, auth.ByHand)
			switch {
			case errors.Is(err, auth.ErrResetToken):
				err = errAskedAgain
			case errors.Is(err, auth.ErrNotFound): // that way to sign in went meanwhile: say what is so now
				if _, err = a.link.RequestPasswordResetFor(ctx, id); err == nil {
					err = errAskedAgain
				}
			}
			answer.Token = t.Token
			return err
		})
	})
	return answer, err
}
