package user

import (
	"context"
	"slices"
)

// lockEnding locks those of the users who are in the state, as lockUsers does, for an act by which they may cease to be active
// admins. keep, which is for when that is done, is ErrLastAdmin if it has left no active admin where there was one.
//
// The rows of other admins are not locked: who has locked some of them already, such as their own, would do so out of the common
// order. Instead those whom it concerns take turns to count, in keep. That comes last, as whoever has the turn keeps it until
// the transaction ends, and must not wait for somebody who waits for it.
func (s *Service) lockEnding(ctx context.Context, of []ID, which state) (rows []*userRow, keep func(context.Context) error, err error) {
	if rows, err = s.store.lockUsers(ctx, of, which); err != nil {
		return nil, nil, err
	}
	admins, err := s.store.admins(ctx, ids(rows)) // only now: who was made one while this waited is one of them
	if err != nil {
		return nil, nil, err
	}
	isAdmin := setOf(admins)
	matters := slices.ContainsFunc(rows, func(r *userRow) bool {
		return isAdmin[r.ID] && r.DeactivatedAt.IsZero() && r.DeletedAt.IsZero()
	})
	return rows, func(ctx context.Context) error {
		if !matters {
			return nil
		}
		if err := s.store.lockCountOfAdmins(ctx); err != nil {
			return err
		}
		left, err := s.store.adminExists(ctx, "")
		switch {
		case err != nil || left:
			return err
		case len(setOf(of)) > 1:
			return ErrLastAdmin.Msg("No active administrator would be left. Make somebody else one first.")
		}
		return ErrLastAdmin
	}, nil
}

// warnWithoutAdmin logs, once the transaction has committed, that the user was the last active admin, if that is so.
func (s *Service) warnWithoutAdmin(ctx context.Context, was ID) error {
	if err := s.store.lockCountOfAdmins(ctx); err != nil { // or who ends another one at the same time would count this one
		return err
	}
	left, err := s.store.adminExists(ctx, "")
	if err != nil || left {
		return err
	}
	return s.db.AfterCommit(ctx, func(ctx context.Context) {
		s.log.ErrorContext(ctx, "nobody is an active administrator any more: the one there was had become so with the address of somebody else, "+
			"who has now shown up. Make a new one: 'server user', or the set-up link of the next start", "was", was)
	})
}

func setOf[T comparable](of []T) map[T]bool {
	set := make(map[T]bool, len(of))
	for _, x := range of {
		set[x] = true
	}
	return set
}
