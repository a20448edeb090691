package auth

import (
	"context"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// margin is how long what has expired is kept, because the clocks of nodes differ.
const margin = time.Hour

// A used or expired token is kept for as long as its mail can be sent again, which is requestTTL from when it was asked
// for, and as long again: without its row the mail would make the link good once more.
const spentTTL = 2 * requestTTL

// PurgeSessions deletes at most so many sessions that have expired, and says how many. One whose cookie was not used for
// long is kept: its tokens may live. Like every Purge it is one short transaction, harmless beside others of its kind, and
// announces nothing: what is dead has ended already.
func (s *Service) PurgeSessions(ctx context.Context, limit int) (int, error) {
	return s.purge(ctx, (*sessionRow)(nil), "id", limit, "expires_at < ?", database.Now().Add(-margin))
}

// PurgeFlows deletes at most so many sign-ins of two steps that nobody has finished in time, and says how many.
func (s *Service) PurgeFlows(ctx context.Context, limit int) (int, error) {
	return s.purge(ctx, (*flowRow)(nil), "id_hash", limit, "expires_at < ?", database.Now().Add(-margin))
}

// PurgeOneTimeTokens deletes at most so many tokens that have expired or were used, and says how many. It waits until no
// mail can make them good again.
func (s *Service) PurgeOneTimeTokens(ctx context.Context, limit int) (int, error) {
	now := database.Now()
	return s.purge(ctx, (*oneTimeRow)(nil), "token_hash", limit, "expires_at < ? AND issued_at < ?", now.Add(-margin), now.Add(-spentTTL))
}

// PurgeEmailChanges deletes at most so many changes of address that nobody has confirmed in time, and says how many. That
// of a mail which could not be sent yet waits for as long as it is of use.
func (s *Service) PurgeEmailChanges(ctx context.Context, limit int) (int, error) {
	now := database.Now()
	return s.purge(ctx, (*emailChangeRow)(nil), "auth_identity_id", limit, "(expires_at IS NULL OR expires_at < ?) AND issued_at < ?",
		now.Add(-margin), now.Add(-spentTTL))
}

// PurgeVerifications deletes at most so many requests to prove an address that nobody has confirmed in time, and says how
// many, with the same patience.
func (s *Service) PurgeVerifications(ctx context.Context, limit int) (int, error) {
	now := database.Now()
	return s.purge(ctx, (*verificationRow)(nil), "token_hash", limit, "(expires_at IS NULL OR expires_at < ?) AND requested_at < ?",
		now.Add(-margin), now.Add(-spentTTL))
}

func (s *Service) purge(ctx context.Context, model any, key string, limit int, dead string, args ...any) (n int, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) (err error) {
		n, err = s.store.purge(ctx, model, key, limit, dead, args...)
		return err
	})
	return n, err
}

// HoldUnused makes sure, inside a transaction, that the identity is not in use, and keeps it so until the transaction ends:
// it was made before the given time, none of its sessions was used since, and the application keeps no metadata with it. One
// that does not exist is unused. What it is linked to it does not know.
func (s *Service) HoldUnused(ctx context.Context, id IdentityID, since time.Time) (unused bool, err error) {
	if _, err := s.store.lockIdentities(ctx, database.Writable([]IdentityID{id}), "UPDATE"); err != nil {
		return false, err
	}
	used, err := s.store.usedSince(ctx, id, since)
	return !used && err == nil, err
}
