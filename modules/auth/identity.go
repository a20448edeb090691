package auth

import (
	"context"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
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
	NewlyVerified bool   // it is, and was not before; see CancelEmailChanges
	Profile       Profile
	Created       bool // the identity is new

	failures int // that came before, at the account
}

// EntityID is the entity id of the provider that has just proved the identity; empty on every other read.
func (i Identity) EntityID() string { return i.Proved.EntityID }

// RetrieveAuthIdentity returns the identity with its provider identities, or ErrNotFound.
func (s *Service) RetrieveAuthIdentity(ctx context.Context, id IdentityID) (Identity, error) {
	found, err := s.store.identitiesByID(ctx, []IdentityID{id})
	if err != nil {
		return Identity{}, err
	}
	if len(found) == 0 {
		return Identity{}, identityNotFound(id)
	}
	return found[0], nil
}

func identityNotFound(id IdentityID) error {
	return ErrNotFound.Msg("AuthIdentity with id: %s was not found", id)
}

// ListAuthIdentities returns a page of the identities that match, with their provider identities.
func (s *Service) ListAuthIdentities(ctx context.Context, f IdentityFilter, p Page) ([]Identity, error) {
	return s.store.listIdentities(ctx, f, p)
}

// ListAndCountAuthIdentities returns a page of the identities that match, and how many match in all.
func (s *Service) ListAndCountAuthIdentities(ctx context.Context, f IdentityFilter, p Page) ([]Identity, int, error) {
	found, err := s.store.listIdentities(ctx, f, p)
	if err != nil {
		return nil, 0, err
	}
	n, err := s.store.countIdentities(ctx, f)
	return found, n, err
}

// IdentityDraft is an identity to be. Its zero value makes one that nobody can sign in to until it is given a provider
// identity.
type IdentityDraft struct {
	AppMetadata map[string]any // as IdentityUpdate.AppMetadata
	Providers   []ProviderIdentityDraft
}

// CreateAuthIdentities makes all of the identities, with all of their ways to sign in, or none, and returns them in the
// order of the drafts. Nobody proves anything here: the caller vouches for what the drafts say. People who sign in or
// register by themselves need none of this.
//
// ErrEntityTaken names the entities that are somebody's already; ErrUnknownProvider, ErrInvalid and email.ErrInvalid say
// what cannot be kept.
func (s *Service) CreateAuthIdentities(ctx context.Context, drafts ...IdentityDraft) ([]Identity, error) {
	rows := make([]*identityRow, len(drafts))
	var ways []*providerRow
	now := database.Now()
	for n, d := range drafts {
		app, err := checked("app_metadata", d.AppMetadata, maxAppMetadata)
		if err != nil {
			return nil, err
		}
		rows[n] = &identityRow{ID: IdentityID(id.New("authid")), AppMetadata: app, Ver: 1, CreatedAt: now, UpdatedAt: now}
		for _, way := range d.Providers {
			if way.IdentityID != "" {
				return nil, ErrInvalid.Msg("A provider identity that is made with its auth identity cannot name another one.")
			}
			way.IdentityID = rows[n].ID
			row, err := s.newProviderRow(way, now)
			if err != nil {
				return nil, err
			}
			ways = append(ways, row)
		}
	}
	if len(rows) == 0 {
		return nil, nil
	}
	var made []Identity
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		if err := s.store.insertIdentities(ctx, rows); err != nil {
			return err
		}
		if err := s.insertWays(ctx, ways); err != nil {
			return err
		}
		var err error
		if made, err = s.store.identitiesByID(ctx, identityIDs(rows)); err != nil {
			return err
		}
		if err := emitAll(ctx, s.events, rows, func(r *identityRow) event.Event { return IdentityCreated{r.ID} }); err != nil {
			return err
		}
		return emitAll(ctx, s.events, ways, wayCreated)
	})
	return made, err
}

// IdentityUpdate changes one identity.
type IdentityUpdate struct {
	ID IdentityID
	// AppMetadata is the embedding app's own. It travels in every access token, and is at most 4 KiB of JSON so that it
	// can.
	AppMetadata MetadataUpdate
}

// maxAppMetadata is how much app metadata is kept, in bytes of JSON: with it an access token stays within maxToken, and
// has room for the roles of an actor.
const maxAppMetadata = 4 << 10

// UpdateAuthIdentities makes all of the changes or none, and returns the identities in the order of the updates.
// An unknown identity is ErrNotFound. An update that sets nothing leaves UpdatedAt as it is. Access tokens say what was
// so when they were made.
func (s *Service) UpdateAuthIdentities(ctx context.Context, updates ...IdentityUpdate) ([]Identity, error) {
	if len(updates) == 0 {
		return nil, nil
	}
	ids := make([]IdentityID, len(updates))
	for n, up := range updates {
		ids[n] = up.ID
	}
	var now []Identity
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		locked, err := s.store.lockIdentities(ctx, ids, "NO KEY UPDATE")
		if err != nil {
			return err
		}
		rows := make(map[IdentityID]*identityRow, len(locked))
		for _, r := range locked {
			rows[r.ID] = r
		}
		for _, up := range updates {
			r, ok := rows[up.ID]
			if !ok {
				return identityNotFound(up.ID)
			}
			changed, err := up.AppMetadata.apply("app_metadata", &r.AppMetadata, maxAppMetadata)
			if err != nil {
				return err
			}
			if !changed {
				continue
			}
			if err := s.store.updateAppMetadata(ctx, r); err != nil {
				return err
			}
			if err := s.events.Emit(ctx, IdentityUpdated{up.ID}); err != nil {
				return err
			}
		}
		now, err = s.store.identitiesByID(ctx, ids)
		return err
	})
	return now, err
}

// OnDelete registers f to run inside every transaction that deletes identities, before the rows go; ids that do not exist
// may be among them. An error rolls the deletion back. Register before the service is used.
func (s *Service) OnDelete(f func(context.Context, []IdentityID) error) {
	s.onDelete = append(s.onDelete, f)
}

// OnNames registers f, which knows names of who has an identity: what a password of theirs must not be made of. Register
// before the service is used.
func (s *Service) OnNames(f func(context.Context, IdentityID) ([]string, error)) {
	s.names = append(s.names, f)
}

// DeleteAuthIdentities removes the identities with every way to sign in and every session. Those who do not exist are
// passed over.
func (s *Service) DeleteAuthIdentities(ctx context.Context, ids ...IdentityID) error {
	ids = database.Writable(ids)
	return s.db.InTx(ctx, func(ctx context.Context) error {
		for _, f := range s.onDelete {
			if err := f(ctx, ids); err != nil {
				return err
			}
		}
		rows, err := s.store.lockIdentities(ctx, ids, "UPDATE")
		if err != nil {
			return err
		}
		deleted := identityIDs(rows)
		if err := s.store.deleteIdentities(ctx, deleted); err != nil {
			return err
		}
		if err := s.forget(ctx, deleted...); err != nil {
			return err
		}
		return emitAll(ctx, s.events, deleted, func(id IdentityID) event.Event { return IdentityDeleted{id} })
	})
}

// VerifyEmail records that the mailbox of the address was proved to be the identity's. It touches only those ways to sign
// in that name the address. Changes to the address that are not confirmed yet are off, and so is a link to prove it that
// was not opened.
func (s *Service) VerifyEmail(ctx context.Context, id IdentityID, address string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		if err := s.store.verifyEmail(ctx, id, address); err != nil {
			return err
		}
		if err := s.store.deleteVerification(ctx, id, address); err != nil {
			return err
		}
		return s.store.deleteEmailChanges(ctx, address)
	})
}

// Join moves every way to sign in from one identity to another and deletes the emptied one.
func (s *Service) Join(ctx context.Context, from, to IdentityID) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		if s.options.MaxSessions > 0 { // whoever joins opens a session there, and takes the turn before anything is changed
			if _, err := s.store.lockIdentities(ctx, []IdentityID{to}, "NO KEY UPDATE"); err != nil {
				return err
			}
		}
		if err := s.store.moveProviderIdentities(ctx, from, to); err != nil {
			return err
		}
		return s.DeleteAuthIdentities(ctx, from)
	})
}

// MetadataUpdate says what becomes of metadata. The zero value leaves it as it is.
type MetadataUpdate struct {
	with  map[string]any
	clear bool
}

// Merge changes metadata at the top level: a key set to "" is removed, every other value replaces the one before.
func Merge(with map[string]any) MetadataUpdate { return MetadataUpdate{with: with} }

// Clear removes all metadata.
func Clear() MetadataUpdate { return MetadataUpdate{clear: true} }

// apply changes the metadata and reports whether there was anything to change.
func (u MetadataUpdate) apply(name string, of *database.Object, most int) (changed bool, err error) {
	if u.clear {
		*of = nil
		return true, nil
	}
	if len(u.with) == 0 {
		return false, nil
	}
	*of, err = checked(name, of.Merge(u.with), most)
	return true, err
}

// checked returns metadata as it will be read back, or says why it cannot be kept.
func checked(name string, metadata map[string]any, most int) (database.Object, error) {
	clean, err := database.Object(metadata).Checked(most)
	if err != nil {
		return nil, ErrInvalid.Msg("%s %v.", name, err)
	}
	return clean, nil
}

func emitAll[T any](ctx context.Context, to event.Emitter, of []T, name func(T) event.Event) error {
	events := make([]event.Event, len(of))
	for i, x := range of {
		events[i] = name(x)
	}
	return to.Emit(ctx, events...)
}

func identityIDs(rows []*identityRow) []IdentityID {
	out := make([]IdentityID, len(rows))
	for i, r := range rows {
		out[i] = r.ID
	}
	return out
}
