package httpapi

import (
	"context"
	"errors"

	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

var (
	errSelfDeactivate = fault.New(fault.NotAllowed, "self_deactivate", "A user cannot deactivate itself")
	errRestoreTaken   = fault.New(fault.Conflict, "email_taken",
		"Another user has the e-mail address of this one by now. Delete that one first, or leave this one deleted.")
)

func (a *API) deactivateUser(c *call) (userAnswer, error) {
	if user.ID(c.PathValue("id")) == c.caller.user.ID {
		return userAnswer{}, errSelfDeactivate
	}
	return a.changeState(c, a.users.DeactivateUsers)
}

func (a *API) reactivateUser(c *call) (userAnswer, error) {
	return a.changeState(c, a.users.ReactivateUsers)
}

func (a *API) restoreUser(c *call) (userAnswer, error) {
	answer, err := a.changeState(c, a.users.RestoreUsers)
	if errors.Is(err, user.ErrEmailTaken) {
		err = errRestoreTaken
	}
	return answer, err
}

// changeState does what passes over who is not there, or is in that state already, and answers with the user as they are
// now. So whoever repeats a request has the same answer, and who is unknown is not found.
func (a *API) changeState(c *call, change func(context.Context, ...user.ID) error) (userAnswer, error) {
	attributes, err := readFields(c, userAttributes)
	if err != nil {
		return userAnswer{}, err
	}
	id := user.ID(c.PathValue("id"))
	if err := a.actOn(c, id, func(ctx context.Context) error { return change(ctx, id) }); err != nil {
		return userAnswer{}, err
	}
	u, err := a.users.RetrieveUser(c.Context(), id)
	return userAnswer{show(u, attributes)}, err
}
