package user

import (
	"context"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/email"
)

// RequestEmailChange announces, by an EmailChangeRequested event, that the user wants another address, and returns the
// user. Nothing changes before that the new mailbox is the user's is proved: see ChangeEmail. It does not look whether the
// address is somebody's.
//
// ErrNotFound: there is no such user, or they are deactivated. ErrSameEmail: they have the address. ErrUnproved: they must
// prove the one they have before. email.ErrInvalid: it is no address.
func (s *Service) RequestEmailChange(ctx context.Context, id ID, to string) (u User, err error) {
	to, err = email.Canonical(to)
	if err != nil {
		return User{}, err
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		if u, err = s.RetrieveUser(ctx, id); err != nil {
			return err
		}
		switch {
		case !u.Active():
			return notFound(id)
		case u.Email == to:
			return ErrSameEmail
		}
		if err := s.mayMove(ctx, u.ID, u.Email, u.EmailVerifiedAt); err != nil {
			return err
		}
		return s.events.Emit(ctx, EmailChangeRequested{ID: u.ID, From: u.Email, To: to, Unproved: u.Email != "" && !u.EmailVerified()})
	})
	return u, err
}

// mayMove refuses to let somebody leave an address that they have not proved to be theirs with roles that were granted to
// it: they would be out of reach for its owner, whom the roles were meant for.
func (s *Service) mayMove(ctx context.Context, id ID, from string, proved time.Time) error {
	if from == "" || !proved.IsZero() {
		return nil
	}
	granted, err := s.store.grantedToAddress(ctx, id)
	if err == nil && granted {
		err = ErrUnproved
	}
	return err
}

// ChangeEmail gives the user another address in place of the one they had, which is free from then on; empty: none. The
// caller vouches that the new mailbox was proved to be theirs, and has ended what was under way by either address.
//
// ErrEmailTaken: another user has the address; of two who take it at once, one gets it. ErrEmailMoved: the user's address
// is another one than the caller knows. ErrNotFound, ErrUnproved, email.ErrInvalid: as RequestEmailChange.
func (s *Service) ChangeEmail(ctx context.Context, id ID, from, to string) (u User, err error) {
	to, err = email.Canonical(to)
	if err == nil && from != "" {
		from, err = email.Canonical(from)
	}
	if err != nil {
		return User{}, err
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		locked, err := s.store.lockUsers(ctx, []ID{id}, active)
		if err != nil {
			return err
		}
		if len(locked) == 0 {
			return notFound(id)
		}
		r := locked[0]
		switch {
		case r.Email != from:
			return ErrEmailMoved
		case r.Email == to:
			return ErrSameEmail
		}
		if err := s.mayMove(ctx, id, r.Email, r.EmailVerifiedAt); err != nil {
			return err
		}
		if free, err := s.store.takeEmails(ctx, to); err != nil {
			return err
		} else if !free[to] {
			return ErrEmailTaken.Msg("Another account has the address %s. If it is yours, sign in to that one; otherwise choose another address, or ask an administrator.", to)
		}
		unproved := r.Email != "" && r.EmailVerifiedAt.IsZero()
		r.Email, r.UpdatedAt = to, database.Now()
		r.EmailVerifiedAt = r.UpdatedAt
		if err := r.check(); err != nil {
			return err
		}
		if err := s.store.updateEmail(ctx, r); err != nil {
			return err
		}
		if u, err = s.RetrieveUser(ctx, id); err != nil {
			return err
		}
		if err := s.updated(ctx, id); err != nil {
			return err
		}
		return s.events.Emit(ctx, EmailChanged{ID: id, From: from, To: to, Unproved: unproved})
	})
	return u, err
}
