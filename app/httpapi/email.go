package httpapi

import (
	"encoding/json"
	"errors"

	"github.com/latchkey-go/latchkey/modules/auth"
)

type emailChange struct {
	Email           required[string] `json:"email"`
	CurrentPassword optional[string] `json:"current_password"`
}

// requestEmailChange has a link mailed to the address that the caller wants. It does and answers the same if that is
// somebody's.
func (a *API) requestEmailChange(c *call, in emailChange) (successAnswer, error) {
	again, err := a.provingAgain(c, in.CurrentPassword)
	if err == nil {
		err = a.link.RequestEmailChange(c.Context(), c.caller.session, in.Email.value, again)
	}
	if errors.Is(err, auth.ErrSession) { // it ended on another node a moment ago
		err = errUnauthorized
	}
	return successAnswer{Success: err == nil}, err
}

// provingAgain is what proves once more that the caller is who signed in: the password, which who has one must send.
func (a *API) provingAgain(c *call, password optional[string]) (auth.Input, error) {
	again, err := json.Marshal(map[string]string{"password": password.or()})
	if password.value == nil && err == nil {
		var asked bool
		if asked, err = a.auth.AsksForSecret(c.Context(), c.caller.session.IdentityID); asked {
			err = errBody.Msg("Invalid request: Field 'current_password' is required")
		}
	}
	return again, err
}

type emailConfirmation struct {
	Token required[string] `json:"token"`
}

type emailChanged struct {
	User  object `json:"user"`
	Token string `json:"token,omitempty"` // in place of the one the caller came with, which is dead
}

// confirmEmailChange gives the caller the address that the token proves.
func (a *API) confirmEmailChange(c *call, in emailConfirmation) (emailChanged, error) {
	attributes, err := readFields(c, userAttributes)
	if err != nil {
		return emailChanged{}, err
	}
	u, now, token, err := a.link.ConfirmEmailChange(c.Context(), c.caller.session, in.Token.value)
	if err == nil {
		token, err = a.goOn(c, now, token)
	}
	switch {
	case errors.Is(err, auth.ErrSession):
		return emailChanged{}, errUnauthorized
	case err != nil:
		return emailChanged{}, err
	}
	return emailChanged{show(u, attributes), token}, nil
}
