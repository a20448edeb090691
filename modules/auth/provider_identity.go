package auth

import (
	"context"
	"log/slog"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
)

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

// RetrieveProviderIdentity returns the provider identity, or ErrNotFound.
func (s *Service) RetrieveProviderIdentity(ctx context.Context, id string) (ProviderIdentity, error) {
	found, err := s.store.providerIdentitiesByID(ctx, []string{id})
	if err != nil {
		return ProviderIdentity{}, err
	}
	if len(found) == 0 {
		return ProviderIdentity{}, providerIdentityNotFound(id)
	}
	return found[0], nil
}

func providerIdentityNotFound(id string) error {
	return ErrNotFound.Msg("ProviderIdentity with id: %s was not found", id)
}

// ListProviderIdentities returns a page of the provider identities that match.
func (s *Service) ListProviderIdentities(ctx context.Context, f ProviderIdentityFilter, p Page) ([]ProviderIdentity, error) {
	return s.store.listProviderIdentities(ctx, f, p)
}

// ListAndCountProviderIdentities returns a page of the provider identities that match, and how many match in all.
func (s *Service) ListAndCountProviderIdentities(ctx context.Context, f ProviderIdentityFilter, p Page) ([]ProviderIdentity, int, error) {
	found, err := s.store.listProviderIdentities(ctx, f, p)
	if err != nil {
		return nil, 0, err
	}
	n, err := s.store.countProviderIdentities(ctx, f)
	return found, n, err
}

// ProviderIdentityDraft is a way to sign in to be.
type ProviderIdentityDraft struct {
	IdentityID IdentityID // whose it becomes; left empty in an IdentityDraft, whose own it is
	Provider   string     // one of those that the service was made with
	EntityID   string     // by which the provider will know the person; see Canonicalizer

	Email            string // made canonical; empty: none until the provider names one
	EmailVerified    bool   // the caller vouches that the mailbox is the person's; nothing without Email
	UserMetadata     map[string]any
	ProviderMetadata map[string]any

	// Secret is what the provider is to find in Attempt.Secret, in its own form: for emailpass what Passwords.Hash
	// returns, or a hash of another program that CheckPasswordHash knows. Nil: none, as for a provider that keeps none. It is
	// written and never read back. A provider that is no SecretChecker does not check it: with one that it does not
	// understand, signing in fails.
	Secret []byte `json:"-"`
}

// String names the provider and nothing else: a draft may hold a secret.
func (d ProviderIdentityDraft) String() string {
	return "draft of a provider identity of " + clip(d.Provider, 64)
}

// GoString is String.
func (d ProviderIdentityDraft) GoString() string { return d.String() }

// LogValue is String, for slog.
func (d ProviderIdentityDraft) LogValue() slog.Value { return slog.StringValue(d.String()) }

// CreateProviderIdentities gives identities further ways to sign in, all of them or none, and returns these in the order
// of the drafts. Nobody proves anything here: the caller vouches that whoever proves to be the entity is the person.
// It ends no session.
//
// ErrEntityTaken names the entities that are somebody's already, ErrNotFound an identity that is not there;
// ErrUnknownProvider, ErrInvalid and email.ErrInvalid say what cannot be kept.
func (s *Service) CreateProviderIdentities(ctx context.Context, drafts ...ProviderIdentityDraft) ([]ProviderIdentity, error) {
	if len(drafts) == 0 {
		return nil, nil
	}
	rows, now := make([]*providerRow, len(drafts)), database.Now()
	owners := make([]IdentityID, len(drafts))
	for n, d := range drafts {
		var err error
		if rows[n], err = s.newProviderRow(d, now); err != nil {
			return nil, err
		}
		owners[n] = d.IdentityID
	}
	var made []ProviderIdentity
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		held, err := s.store.lockIdentities(ctx, owners, "KEY SHARE")
		if err != nil {
			return err
		}
		there := make(map[IdentityID]bool, len(held))
		for _, r := range held {
			there[r.ID] = true
		}
		for _, owner := range owners {
			if !there[owner] {
				return identityNotFound(owner)
			}
		}
		if err := s.insertWays(ctx, rows); err != nil {
			return err
		}
		if made, err = s.store.providerIdentitiesByID(ctx, wayIDs(rows)); err != nil {
			return err
		}
		return emitAll(ctx, s.events, rows, wayCreated)
	})
	return made, err
}

// newProviderRow is the row of a draft, if it can be kept.
func (s *Service) newProviderRow(d ProviderIdentityDraft, now time.Time) (r *providerRow, err error) {
	r = &providerRow{ID: id.New(""), AuthIdentityID: d.IdentityID, Provider: d.Provider, EntityID: d.EntityID, CreatedAt: now, UpdatedAt: now}
	p, err := s.provider(d.Provider)
	if err != nil {
		return nil, ErrUnknownProvider.Msg("There is no auth provider %q.", clip(d.Provider, 64))
	}
	if c, ok := p.(Canonicalizer); ok {
		if r.EntityID, err = c.CanonicalEntityID(d.EntityID); err != nil {
			return nil, err
		}
	}
	if r.EntityID == "" || !database.Storable(r.EntityID, maxText) {
		return nil, ErrInvalid.Msg("An entity id must be text of 1 to %d bytes without NUL characters.", maxText)
	}
	if d.Email != "" {
		if r.Email, err = CanonicalEmail(d.Email); err != nil {
			return nil, err
		}
		if d.EmailVerified {
			r.EmailVerifiedAt = now
		}
	}
	if r.UserMetadata, err = checked("user_metadata", d.UserMetadata, maxMetadata); err != nil {
		return nil, err
	}
	if r.ProviderMetadata, err = checked("provider_metadata", d.ProviderMetadata, maxMetadata); err != nil {
		return nil, err
	}
	if len(d.Secret) > maxSecret {
		return nil, ErrInvalid.Msg("A secret must be at most %d bytes.", maxSecret)
	}
	if c, ok := p.(SecretChecker); ok && len(d.Secret) > 0 {
		if err := c.CheckSecret(d.Secret); err != nil {
			return nil, err
		}
	}
	if len(d.Secret) > 0 { // an empty one would be a secret that nothing fits
		r.Secret = d.Secret
	}
	return r, nil
}

// maxSecret is how long a secret in a draft may be, in bytes.
const maxSecret = 16 << 10

// insertWays inserts all of the rows, or names those whose entity is taken.
func (s *Service) insertWays(ctx context.Context, rows []*providerRow) error {
	made, err := s.store.insertProviderIdentities(ctx, rows)
	if err != nil {
		return err
	}
	var taken []string
	for _, r := range rows {
		if !made[r.ID] {
			taken = append(taken, "provider: "+r.Provider+", entity_id: "+r.EntityID)
		}
	}
	if len(taken) > 0 {
		return ErrEntityTaken.Msg("Provider identity with %s, already exists.", strings.Join(taken, "; "))
	}
	return s.proved(ctx, rows...)
}

func wayCreated(r *providerRow) event.Event { return ProviderIdentityCreated{r.ID, r.AuthIdentityID} }

// ProviderIdentityUpdate changes the metadata of one provider identity. Nothing else of it is changed by saying so:
// provider and entity id are what it is, and the secret and the proof of the address come from who proves them (see
// UpdateProvider, Admit, VerifyEmail).
type ProviderIdentityUpdate struct {
	ID               string
	UserMetadata     MetadataUpdate // what is known of the person; a provider that tells it anew at a sign-in replaces all of it
	ProviderMetadata MetadataUpdate // what is known of the way to sign in
}

// UpdateProviderIdentities makes all of the changes or none, and returns the provider identities in the order of the
// updates. An unknown one is ErrNotFound. An update that sets nothing leaves UpdatedAt as it is.
func (s *Service) UpdateProviderIdentities(ctx context.Context, updates ...ProviderIdentityUpdate) ([]ProviderIdentity, error) {
	if len(updates) == 0 {
		return nil, nil
	}
	ids := make([]string, len(updates))
	for n, up := range updates {
		ids[n] = up.ID
	}
	var now []ProviderIdentity
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		locked, err := s.store.lockProviderIdentities(ctx, ids)
		if err != nil {
			return err
		}
		rows := make(map[string]*providerRow, len(locked))
		for _, r := range locked {
			rows[r.ID] = r
		}
		for _, up := range updates {
			r, ok := rows[up.ID]
			if !ok {
				return providerIdentityNotFound(up.ID)
			}
			user, err := up.UserMetadata.apply("user_metadata", &r.UserMetadata, maxMetadata)
			if err != nil {
				return err
			}
			provider, err := up.ProviderMetadata.apply("provider_metadata", &r.ProviderMetadata, maxMetadata)
			if err != nil {
				return err
			}
			if !user && !provider {
				continue
			}
			if err := s.store.updateMetadata(ctx, r); err != nil {
				return err
			}
			if err := s.events.Emit(ctx, ProviderIdentityUpdated{r.ID, r.AuthIdentityID}); err != nil {
				return err
			}
		}
		now, err = s.store.providerIdentitiesByID(ctx, ids)
		return err
	})
	return now, err
}

// DeleteProviderIdentities unlinks the ways to sign in: all of them or none. Whoever may have used one is signed out:
// every session of the identities they belonged to ends, and proofs and tokens of before are worthless. Those that do not
// exist are passed over.
//
// ErrLastWay: an identity would be left without any way to sign in, and its actor locked out. Give it another one first,
// or delete the identity.
func (s *Service) DeleteProviderIdentities(ctx context.Context, ids ...string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		rows, err := s.store.deleteProviderIdentities(ctx, ids)
		if err != nil || len(rows) == 0 {
			return err
		}
		owners := make([]IdentityID, len(rows))
		for i, r := range rows {
			owners[i] = r.AuthIdentityID
		}
		owners = sorted(owners)
		if emptied, err := s.store.withoutWays(ctx, owners); err != nil {
			return err
		} else if len(emptied) > 0 {
			return ErrLastWay.Msg("The last way to sign in cannot be taken from these auth identities; delete them instead: %s", strings.Join(emptied, ", "))
		}
		for _, owner := range owners {
			if err := s.Revoke(ctx, owner); err != nil {
				return err
			}
		}
		return emitAll(ctx, s.events, rows, func(r *providerRow) event.Event { return ProviderIdentityDeleted{r.ID, r.AuthIdentityID} })
	})
}

func wayIDs(rows []*providerRow) []string {
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = r.ID
	}
	return out
}
