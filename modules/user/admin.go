package user

import (
	"context"
	"slices"
)

// lockAdmins locks those of the users who are in the state, as lockUsers does, for an act by which they may cease to be active
// admins. keep, which is for when that is done, is ErrLastAdmin if it has left no active admin where there was one.
//
// If one of the users is an admin, all admins are locked along with them, so that of admins who act on each other at the
// same time the later one sees what the earlier one has done. Who became one while this waited for the locks is found by
// looking again under them; to take the other locks only then is out of the common order, which a retry mends.
func (s *Service) lockAdmins(ctx context.Context, of []ID, which state) (rows []*userRow, keep func(context.Context) error, err error) {
	named := setOf(of)
	var admins []ID
	for held := map[ID]bool(nil); ; {
		if admins, err = s.store.admins(ctx); err != nil {
			return nil, nil, err
		}
		all := of
		if slices.ContainsFunc(admins, func(id ID) bool { return named[id] }) {
			all = slices.Concat(of, admins)
		}
		if held != nil && !slices.ContainsFunc(all, func(id ID) bool { return !held[id] }) {
			break
		}
		if rows, err = s.store.lockUsers(ctx, all, which); err != nil {
			return nil, nil, err
		}
		held = setOf(all)
	}
	rows = slices.DeleteFunc(rows, func(r *userRow) bool { return !named[r.ID] })
	isAdmin := setOf(admins)
	matters := slices.ContainsFunc(rows, func(r *userRow) bool {
		return isAdmin[r.ID] && r.DeactivatedAt.IsZero() && r.DeletedAt.IsZero()
	})
	return rows, func(ctx context.Context) error {
		if !matters {
			return nil
		}
		left, err := s.store.adminExists(ctx, "")
		switch {
		case err != nil || left:
			return err
		case len(named) > 1:
			return ErrLastAdmin.Msg("No active administrator would be left. Make somebody else one first.")
		}
		return ErrLastAdmin
	}, nil
}

// warnWithoutAdmin logs, once the transaction has committed, that the user was the last active admin, if that is so.
func (s *Service) warnWithoutAdmin(ctx context.Context, was ID) error {
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
