package link

import (
	"context"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// ListAndCountSessions returns a page of the sessions that the user is signed in by, newest first if the page names no
// order, and how many there are in all; as which type of actor, each says. user.ErrNotFound: there is no such user.
func (s *Service) ListAndCountSessions(ctx context.Context, id user.ID, p auth.Page) ([]auth.Session, int, error) {
	identity, err := s.identityOf(ctx, id)
	if err != nil {
		return nil, 0, err
	}
	return s.auth.ListAndCountSessions(ctx, identity, p)
}

// EndSession ends one session of the user, as an administrator may. One that has ended, or is somebody else's, is passed
// over. user.ErrNotFound: there is no such user.
func (s *Service) EndSession(ctx context.Context, id user.ID, session auth.SessionID) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		identity, err := s.identityOf(ctx, id)
		if err != nil || identity == "" {
			return err
		}
		_, err = s.auth.EndSessionOf(ctx, identity, session, auth.EndedByOperator)
		return err
	})
}

// EndSessions signs the user out everywhere, as an administrator may: see auth.Service.EndAllSessions. user.ErrNotFound:
// there is no such user.
func (s *Service) EndSessions(ctx context.Context, id user.ID) (ended int, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		identity, err := s.identityOf(ctx, id)
		if err != nil || identity == "" {
			return err
		}
		ended, err = s.auth.EndAllSessions(ctx, identity, auth.EndedByOperator)
		return err
	})
	return ended, err
}

// identityOf returns by whom the user signs in; empty: nobody does.
func (s *Service) identityOf(ctx context.Context, id user.ID) (auth.IdentityID, error) {
	if _, err := s.users.RetrieveUser(ctx, id); err != nil {
		return "", err
	}
	return s.store.identity(ctx, ActorUser, string(id))
}
