package user

import (
	"context"

	"github.com/latchkey-go/latchkey/modules/kernel/id"
)

// HoldID keeps an id that nobody has from everybody else until the transaction ends, for whoever chooses the id of a user to
// be. ErrIDTaken: somebody has it, be it a deleted user. ErrInvalid: it is no user's id.
func (s *Service) HoldID(ctx context.Context, chosen ID) error {
	if !id.Valid("user", string(chosen)) {
		return errID
	}
	var free bool
	err := s.db.InTx(ctx, func(ctx context.Context) (err error) {
		free, err = s.store.takeID(ctx, chosen)
		return err
	})
	if err == nil && !free {
		err = ErrIDTaken // outside, so that the caller's transaction may go on
	}
	return err
}

// CheckRoles says what is wrong with names of roles that users are to have: ErrInvalid.
func CheckRoles(roles ...string) error {
	_, err := cleanRoles(roles)
	return err
}
