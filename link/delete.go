package link

import (
	"context"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// DeleteOwnUser deletes the user whom the session speaks for, as user.Service.SoftDeleteUsers does, and with them what they sign
// in by, this session included, and emits OwnUserDeleted, by which they are told. The input proves once more who is signed in: an open session must not be enough for it. Of any
// number at once one succeeds.
//
// The errors are those of auth.Service.ProveAgain and user.Service.SoftDeleteUsers, such as user.ErrLastAdmin, and
// auth.ErrSession: the session has ended, or speaks for no user.
func (s *Service) DeleteOwnUser(ctx context.Context, session auth.Session, again auth.Input) (id user.ID, err error) {
	_, err = s.proveAndRecord(ctx, func() (auth.Proof, error) { return s.auth.ProveAgain(ctx, session, again) },
		func(ctx context.Context, p auth.Proof, _ auth.IdentityID) (l Login, err error) {
			if session.ActorType != ActorUser {
				return Login{}, auth.ErrSession
			}
			if id, err = s.userOf(ctx, session); err != nil {
				return Login{}, err
			}
			if id == "" {
				return Login{}, auth.ErrSession
			}
			if _, err := s.users.HoldUser(ctx, id); err != nil { // users come before identities, as wherever both are held
				return Login{}, gone(err)
			}
			if err := s.auth.HoldAgain(ctx, session, p); err != nil {
				return Login{}, err
			}
			told, err := s.auth.Notice(ctx, session.IdentityID, auth.ProviderIdentity{}) // while there is somebody to be told
			if err != nil {
				return Login{}, err
			}
			if err := s.users.SoftDeleteUsers(ctx, id); err != nil {
				return Login{}, err
			}
			return Login{}, s.events.Emit(ctx, OwnUserDeleted{id, told})
		})
	return id, err
}
