package httpapi

import (
	"errors"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// This file has what users do to themselves without a permission. Their address is in email.go, and what they sign in by in ways.go.

// profile is what users say of themselves. The rest of an account is the administrators' or the application's to change: metadata may
// decide what somebody is let do.
type profile struct {
	FirstName optional[string] `json:"first_name"`
	LastName  optional[string] `json:"last_name"`
}

func (a *API) updateProfile(c *call, in profile) (userAnswer, error) {
	attributes, err := readFields(c, userAttributes)
	if err != nil {
		return userAnswer{}, err
	}
	users, err := a.users.UpdateUsers(c.Context(), user.Update{ID: c.caller.user.ID, FirstName: in.FirstName.field(), LastName: in.LastName.field()})
	switch {
	case errors.Is(err, user.ErrNotFound): // deleted a moment ago
		return userAnswer{}, errUnauthorized
	case err != nil:
		return userAnswer{}, err
	}
	return userAnswer{show(users[0], attributes)}, nil
}

type provedAgain struct {
	CurrentPassword optional[string] `json:"current_password"`
}

// deleteMe deletes the caller, who has proved once more that it is them. DELETE /admin/users/{id} goes on refusing one's own id, as
// Medusa does.
func (a *API) deleteMe(c *call, in provedAgain) (deletedAnswer, error) {
	if _, err := readQuery(c); err != nil {
		return deletedAnswer{}, err
	}
	again, err := a.provingAgain(c, in.CurrentPassword)
	if err != nil {
		return deletedAnswer{}, err
	}
	id, err := a.link.DeleteOwnUser(c.Context(), c.caller.session, again)
	switch {
	case errors.Is(err, auth.ErrSession):
		return deletedAnswer{}, errUnauthorized
	case err != nil:
		return deletedAnswer{}, err
	}
	a.signedOut(c)
	return deletedAnswer{string(id), "user", true}, nil
}
