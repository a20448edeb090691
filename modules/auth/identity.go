package auth

import (
	"context"
	"time"
)

// IdentityID names an auth identity: authid_ and a ULID.
type IdentityID string

// Identity is somebody who can prove themselves, in one or more ways. It is a plain value.
type Identity struct {
	ID          IdentityID
	AppMetadata map[string]any     // the embedding app's own; nil: none
	Providers   []ProviderIdentity // the ways to sign in, oldest first
	CreatedAt   time.Time
	UpdatedAt   time.Time

	// What Admit has just recorded; the zero value on every other read.
	Proved Proved

	ver int64
}

// Proved is the one way to sign in that a proof was about.
type Proved struct {
	Provider      string
	EntityID      string // as Medusa's authIdentity.entity_id
	Email         string // canonical; empty if the provider names none
	EmailVerified bool   // that the mailbox is theirs is proved, by the provider or earlier by us
	Profile       Profile
	Created       bool // the identity is new
}

// EntityID is the entity id of the provider that has just proved the identity; empty on every other read.
func (i Identity) EntityID() string { return i.Proved.EntityID }

// ProviderIdentity is one provider's record of somebody, unique by provider and entity id. Its secret stays here.
type ProviderIdentity struct {
	ID               string // a bare ULID, as Medusa's
	IdentityID       IdentityID
	Provider         string
	EntityID         string
	Email            string    // canonical; empty if the provider names none
	EmailVerifiedAt  time.Time // zero: not proved
	UserMetadata     map[string]any
	ProviderMetadata map[string]any
	CreatedAt        time.Time
	UpdatedAt        time.Time
}

// RetrieveAuthIdentity returns the identity with its provider identities, or ErrNotFound.
func (s *Service) RetrieveAuthIdentity(ctx context.Context, id IdentityID) (Identity, error) {
	found, err := s.store.identities(ctx, IdentityFilter{IDs: []IdentityID{id}})
	if err != nil {
		return Identity{}, err
	}
	if len(found) == 0 {
		return Identity{}, ErrNotFound.Msg("AuthIdentity with id: %s was not found", id)
	}
	return found[0], nil
}

// IdentityFilter says which identities a list holds: those that match all that is set. Its zero value matches all.
type IdentityFilter struct {
	IDs      []IdentityID // nil: any; empty: none
	Provider string       // can sign in with it
	EntityID string       // is known to a provider by it
}

// ProviderIdentityFilter says which provider identities a list holds: those that match all that is set.
type ProviderIdentityFilter struct {
	IDs         []string     // nil: any; empty: none
	IdentityIDs []IdentityID // nil: any; empty: none
	Provider    string
	EntityID    string
	Email       string // exact, in any spelling of the canonical address
}

// ListAuthIdentities returns the identities that match, by id.
func (s *Service) ListAuthIdentities(ctx context.Context, f IdentityFilter) ([]Identity, error) {
	return s.store.identities(ctx, f)
}

// RetrieveProviderIdentity returns the provider identity, or ErrNotFound.
func (s *Service) RetrieveProviderIdentity(ctx context.Context, id string) (ProviderIdentity, error) {
	found, err := s.store.providerIdentities(ctx, ProviderIdentityFilter{IDs: []string{id}})
	if err != nil {
		return ProviderIdentity{}, err
	}
	if len(found) == 0 {
		return ProviderIdentity{}, ErrNotFound.Msg("ProviderIdentity with id: %s was not found", id)
	}
	return found[0], nil
}

// ListProviderIdentities returns the provider identities that match, by id.
func (s *Service) ListProviderIdentities(ctx context.Context, f ProviderIdentityFilter) ([]ProviderIdentity, error) {
	return s.store.providerIdentities(ctx, f)
}

// OnDelete registers f to run inside every transaction that deletes identities, before the rows go; ids that do not exist
// may be among them. An error rolls the deletion back. Register before the service is used.
func (s *Service) OnDelete(f func(context.Context, []IdentityID) error) {
	s.onDelete = append(s.onDelete, f)
}

// DeleteAuthIdentities removes the identities with every way to sign in and every session. Those who do not exist are
// passed over.
func (s *Service) DeleteAuthIdentities(ctx context.Context, ids ...IdentityID) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		for _, f := range s.onDelete {
			if err := f(ctx, ids); err != nil {
				return err
			}
		}
		deleted, err := s.store.deleteIdentities(ctx, ids)
		if err != nil {
			return err
		}
		for _, id := range deleted {
			if err := s.events.Emit(ctx, IdentityDeleted{id}); err != nil {
				return err
			}
			if err := s.forget(ctx, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// VerifyEmail records that the mailbox of the address was proved to be the identity's. It touches only those ways to sign
// in that name the address.
func (s *Service) VerifyEmail(ctx context.Context, id IdentityID, address string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error { return s.store.verifyEmail(ctx, id, address) })
}

// Join moves every way to sign in from one identity to another and deletes the emptied one.
func (s *Service) Join(ctx context.Context, from, to IdentityID) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		if err := s.store.moveProviderIdentities(ctx, from, to); err != nil {
			return err
		}
		return s.DeleteAuthIdentities(ctx, from)
	})
}
