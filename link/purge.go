package link

import (
	"context"
	"errors"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// PurgeUnlinked deletes identities that were let in as an actor type served here, and became nobody for
// Options.UnlinkedTTL, and says how many. It looks at no more than so many of them. Those of which a session was used since,
// or with which the application keeps metadata, stay.
//
// Each has a transaction of its own, and whoever signs in, registers or accepts an invite at the same moment either is first
// and keeps the identity, or comes after, as somebody who was never here.
func (s *Service) PurgeUnlinked(ctx context.Context, limit int) (purged int, err error) {
	if s.unlinkedTTL <= 0 {
		return 0, nil
	}
	rows, err := s.store.unlinked(ctx, s.ActorTypes(), database.Now().Add(-s.unlinkedTTL), limit)
	if err != nil {
		return 0, err
	}
	var failed []error // an application's hook that keeps one must not keep the others
	for _, r := range rows {
		var done bool
		err := s.db.InTx(ctx, func(ctx context.Context) (err error) {
			done, err = s.purge(ctx, r)
			return err
		})
		switch {
		case ctx.Err() != nil:
			return purged, errors.Join(append(failed, err)...)
		case err != nil:
			failed = append(failed, err)
		case done:
			purged++
		}
	}
	return purged, errors.Join(failed...)
}

// purge deletes the identity if it is nobody's still. As at a first sign-in, the link row comes before everything, so that
// of the two one waits for the other and holds nothing; what is noted of the identity comes after the identity.
func (s *Service) purge(ctx context.Context, r unlinkedRow) (purged bool, err error) {
	free, err := s.store.insert(ctx, r.AuthIdentityID, r.ActorType, mint(r.ActorType))
	if err != nil {
		return false, err
	}
	if !free {
		return false, s.store.forgetUnlinked(ctx, r)
	}
	other, err := s.store.linkedAs(ctx, r.AuthIdentityID, r.ActorType)
	if err != nil {
		return false, err
	}
	before := database.Now().Add(-s.unlinkedTTL)
	unused, err := s.auth.HoldUnused(ctx, r.AuthIdentityID, before)
	if err != nil {
		return false, err
	}
	noted, err := s.store.isUnlinked(ctx, r, before)
	switch {
	case err != nil:
		return false, err
	case noted && !other && unused:
		if err := s.events.Emit(ctx, Purged{r.AuthIdentityID, r.ActorType}); err != nil {
			return false, err
		}
		return true, s.auth.DeleteAuthIdentities(ctx, r.AuthIdentityID)
	}
	if err := s.store.delete(ctx, r.AuthIdentityID, r.ActorType); err != nil {
		return false, err
	}
	switch {
	case other:
		err = s.store.forgetUnlinked(ctx, r)
	case noted: // it is in use: another look when it may have been out of use for as long
		err = s.store.noteUnlinked(ctx, r.AuthIdentityID, r.ActorType)
	}
	return false, err
}
