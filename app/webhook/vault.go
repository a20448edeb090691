package webhook

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// purpose is the key by which the secrets of endpoints are encrypted.
const purpose keyring.Purpose = "latchkey webhook secret v1"

// Vault keeps the secrets of endpoints in the database, each encrypted under every master secret that there is, so that any
// of those can go as long as another one stays.
type Vault struct {
	store store
	db    *database.DB
	keys  *keyring.Ring
}

// NewVault returns the vault of a database that has been migrated with Migrations.
func NewVault(db *database.DB, keys *keyring.Ring) *Vault { return &Vault{store{db}, db, keys} }

// errSealed is about a secret that no master secret here opens.
var errSealed = errors.New("no master secret that is there opens the secret of this webhook: 'server keys status' says which are missing")

// seal encrypts a secret under every master secret. It opens again only as that secret of that endpoint.
func (v *Vault) seal(s Secret, endpoint EndpointID, id string) database.Object {
	seals := database.Object{}
	for _, k := range v.keys.Keys(purpose) {
		seals[k.ID] = base64.StdEncoding.EncodeToString(k.Seal(s.key, sealedFor(endpoint, id)))
	}
	return seals
}

func sealedFor(endpoint EndpointID, id string) string { return string(endpoint) + " " + id }

// open returns the secret of a row, or errSealed. That a master secret is unknown has the ring look once more.
func (v *Vault) open(r secretRow) (Secret, error) {
	for _, k := range v.keys.Keys(purpose) {
		if s, ok := openBy(k, r); ok {
			return s, nil
		}
	}
	for name := range r.Seals {
		if k, ok := v.keys.Named(purpose, name); ok {
			if s, ok := openBy(k, r); ok {
				return s, nil
			}
		}
	}
	return Secret{}, errSealed
}

func openBy(k keyring.Key, r secretRow) (Secret, bool) {
	text, _ := r.Seals[k.ID].(string)
	sealed, err := base64.StdEncoding.DecodeString(text)
	if text == "" || err != nil {
		return Secret{}, false
	}
	key, err := k.Open(sealed, sealedFor(r.EndpointID, r.ID))
	return Secret{key}, err == nil
}

// Kept is how the secrets are kept.
type Kept struct {
	Secrets int          // how many there are
	Closed  int          // of them, those that no master secret here opens
	Lost    []EndpointID // whose are all closed: they are sent nothing
}

// Status says how the secrets are kept. It changes nothing.
func (v *Vault) Status(ctx context.Context) (Kept, error) {
	rows, err := v.store.allSecrets(ctx, false)
	if err != nil {
		return Kept{}, err
	}
	kept, _ := v.look(rows)
	return kept, nil
}

// look says how the secrets of the rows are kept, and which of them must be encrypted anew.
func (v *Vault) look(rows []secretRow) (kept Kept, stale []secretRow) {
	names := v.names()
	kept.Secrets = len(rows)
	opened := map[EndpointID]bool{}
	for _, r := range rows {
		if _, err := v.open(r); err != nil {
			kept.Closed++
			continue
		}
		opened[r.EndpointID] = true
		if len(r.Seals) != len(names) || slices.ContainsFunc(names, func(name string) bool { return r.Seals[name] == nil }) {
			stale = append(stale, r)
		}
	}
	for _, r := range rows {
		if !opened[r.EndpointID] && !slices.Contains(kept.Lost, r.EndpointID) {
			kept.Lost = append(kept.Lost, r.EndpointID)
		}
	}
	return kept, stale
}

// names are those of the master secrets of now, as the seals have them.
func (v *Vault) names() []string {
	keys := v.keys.Keys(purpose)
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.ID
	}
	return names
}

// Reseal encrypts the secrets under the master secrets of now, where they are not: under all of those, and under none that has
// gone. What it cannot open stays as it is.
func (v *Vault) Reseal(ctx context.Context) (kept Kept, err error) {
	rows, err := v.store.allSecrets(ctx, false)
	if err != nil {
		return Kept{}, err
	}
	kept, stale := v.look(rows)
	if len(stale) == 0 { // which spares the writer of SQLite
		return kept, nil
	}
	err = v.db.InTx(ctx, func(ctx context.Context) error {
		rows, err := v.store.allSecrets(ctx, true)
		if err != nil {
			return err
		}
		kept, stale = v.look(rows)
		for _, r := range stale {
			s, err := v.open(r)
			if err != nil {
				return err
			}
			if err := v.store.reseal(ctx, r.ID, v.seal(s, r.EndpointID, r.ID)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return Kept{}, fmt.Errorf("encrypt the secrets of webhooks anew: %w", err)
	}
	return kept, nil
}
