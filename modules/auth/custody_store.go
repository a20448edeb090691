package auth

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// The SQL of Custody.

type fingerprintRow struct {
	bun.BaseModel `bun:"table:latchkey_secret_fingerprint,alias:f"`

	Fingerprint string `bun:",pk"`
	Kind        string
	Name        string
	ServedAt    time.Time
	SignedAt    time.Time `bun:",nullzero"`
	GivenUpAt   time.Time `bun:",nullzero"`
}

type originRow struct {
	bun.BaseModel `bun:"table:latchkey_secret_origin,alias:o"`

	Kind        string `bun:",pk"`
	Fingerprint string
}

type sealRow struct {
	bun.BaseModel `bun:"table:latchkey_pepper_seal,alias:s"`

	Pepper string `bun:",pk"`
	Secret string `bun:",pk"`
	Sealed []byte
}

type nodeRow struct {
	bun.BaseModel `bun:"table:latchkey_auth_node,alias:n"`

	ID        string `bun:",pk"`
	Name      string
	Secrets   database.Strings
	StartedAt time.Time
	SeenAt    time.Time
}

// originate makes the fingerprint the origin of its kind, unless there is one, and reports whether it did. Whoever comes
// at the same time waits for the transaction.
func (s store) originate(ctx context.Context, kind, fingerprint string) (bool, error) {
	made, err := database.Touched(s.db.Conn(ctx).NewInsert().Model(&originRow{Kind: kind, Fingerprint: fingerprint}).
		On("CONFLICT (kind) DO NOTHING").Exec(ctx))
	if err != nil {
		return false, fmt.Errorf("insert the origin of a %s: %w", kind, err)
	}
	return made, nil
}

// origin is the fingerprint that is the origin of its kind; empty if there is none.
func (s store) origin(ctx context.Context, kind string) (string, error) {
	var rows []originRow
	if err := s.db.Conn(ctx).NewSelect().Model(&rows).Where("kind = ?", kind).Scan(ctx); err != nil {
		return "", fmt.Errorf("read the origin of a %s: %w", kind, err)
	}
	if len(rows) == 0 {
		return "", nil
	}
	return rows[0].Fingerprint, nil
}

func (s store) setOrigin(ctx context.Context, kind, fingerprint string) error {
	_, err := s.db.Conn(ctx).NewUpdate().Model((*originRow)(nil)).Set("fingerprint = ?", fingerprint).Where("kind = ?", kind).Exec(ctx)
	if err != nil {
		return fmt.Errorf("set the origin of a %s: %w", kind, err)
	}
	return nil
}

// lockOrigin keeps everybody else from the origin until the transaction ends.
func (s store) lockOrigin(ctx context.Context, kind string) error {
	var rows []originRow
	if err := s.db.ForUpdate(s.db.Conn(ctx).NewSelect().Model(&rows).Where("kind = ?", kind), "UPDATE").Scan(ctx); err != nil {
		return fmt.Errorf("lock the origin of a %s: %w", kind, err)
	}
	return nil
}

// knownFingerprints are the rows by fingerprint.
type knownFingerprints map[string]fingerprintRow

func (s store) fingerprints(ctx context.Context) (knownFingerprints, error) {
	var rows []fingerprintRow
	if err := s.db.Conn(ctx).NewSelect().Model(&rows).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read the fingerprints of secrets: %w", err)
	}
	known := knownFingerprints{}
	for _, r := range rows {
		known[r.Fingerprint] = r
	}
	return known, nil
}

// of are those of a kind, the oldest first.
func (k knownFingerprints) of(kind string) (rows []fingerprintRow) {
	for _, r := range k {
		if r.Kind == kind {
			rows = append(rows, r)
		}
	}
	slices.SortFunc(rows, func(a, b fingerprintRow) int {
		return cmp.Or(a.ServedAt.Compare(b.ServedAt), cmp.Compare(a.Name, b.Name))
	})
	return rows
}

func (k knownFingerprints) names(kind string) (names []string) {
	for _, r := range k.of(kind) {
		names = append(names, r.Name)
	}
	return names
}

func (k knownFingerprints) any(secrets []keyring.Key) bool {
	return slices.ContainsFunc(secrets, func(s keyring.Key) bool { _, ok := k[fingerprint(s)]; return ok })
}

// needed are the names of the peppers that were not given up.
func (k knownFingerprints) needed() map[string]bool {
	needed := map[string]bool{}
	for _, r := range k.of(kindPepper) {
		if r.GivenUpAt.IsZero() {
			needed[r.Name] = true
		}
	}
	return needed
}

// putFingerprints inserts those that are not there.
func (s store) putFingerprints(ctx context.Context, kind string, keys []keyring.Key) error {
	for _, k := range keys {
		r := fingerprintRow{Fingerprint: fingerprint(k), Kind: kind, Name: k.ID, ServedAt: database.Now()}
		if _, err := s.db.Conn(ctx).NewInsert().Model(&r).On("CONFLICT (fingerprint) DO NOTHING").Exec(ctx); err != nil {
			return fmt.Errorf("insert the fingerprint of a %s: %w", kind, err)
		}
	}
	return nil
}

// markSigning notes, at most once a minute, that a secret is the one that signs.
func (s store) markSigning(ctx context.Context, fingerprint string) error {
	now := database.Now()
	_, err := s.db.Conn(ctx).NewUpdate().Model((*fingerprintRow)(nil)).Set("signed_at = ?", now).Where("fingerprint = ?", fingerprint).
		Where("signed_at IS NULL OR signed_at < ?", now.Add(-time.Minute)).Exec(ctx)
	if err != nil {
		return fmt.Errorf("mark the secret that signs: %w", err)
	}
	return nil
}

// giveUp marks the peppers that are given up, and takes the mark from those that are there.
func (s store) giveUp(ctx context.Context, lost, there []string) error {
	for _, of := range []struct {
		names []string
		at    time.Time
	}{{lost, database.Now()}, {there, time.Time{}}} {
		if len(of.names) == 0 {
			continue
		}
		_, err := s.db.Conn(ctx).NewUpdate().Model((*fingerprintRow)(nil)).Set("given_up_at = ?", bun.NullTime{Time: of.at}).
			Where("kind = ?", kindPepper).Where("name IN (?)", database.List(of.names...)).
			Where("(given_up_at IS NULL) = ?", !of.at.IsZero()).Exec(ctx)
		if err != nil {
			return fmt.Errorf("give up peppers: %w", err)
		}
	}
	return nil
}

// givenUp are the names of the peppers that were given up.
func (s store) givenUp(ctx context.Context) (map[string]bool, error) {
	known, err := s.fingerprints(ctx)
	given := map[string]bool{}
	for _, r := range known {
		if !r.GivenUpAt.IsZero() {
			given[r.Name] = true
		}
	}
	return given, err
}

func (s store) seals(ctx context.Context) ([]sealRow, error) {
	var rows []sealRow
	if err := s.db.Conn(ctx).NewSelect().Model(&rows).Order("pepper", "secret").Scan(ctx); err != nil {
		return nil, fmt.Errorf("read sealed peppers: %w", err)
	}
	return rows, nil
}

func (s store) putSeal(ctx context.Context, pepper, secret string, sealed []byte) error {
	_, err := s.db.Conn(ctx).NewInsert().Model(&sealRow{Pepper: pepper, Secret: secret, Sealed: sealed}).On("CONFLICT (pepper, secret) DO NOTHING").Exec(ctx)
	if err != nil {
		return fmt.Errorf("insert a sealed pepper: %w", err)
	}
	return nil
}

// peopleByPepper counts the identities that have a password, by the pepper it was hashed under. It reads every row.
func (s store) peopleByPepper(ctx context.Context) (map[string]int, error) {
	var rows []struct {
		Pepper []byte
		People int
	}
	err := s.db.Conn(ctx).NewSelect().Model((*providerRow)(nil)).ColumnExpr("substr(p.secret, ?, ?) AS pepper", len(scheme)+1, pepperName).
		ColumnExpr("count(DISTINCT p.auth_identity_id) AS people").Where("substr(p.secret, 1, ?) = ?", len(scheme), []byte(scheme)).
		GroupExpr("1").Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("count people by pepper: %w", err)
	}
	people := map[string]int{}
	for _, r := range rows {
		people[string(r.Pepper)] = r.People
	}
	return people, nil
}

// pepperName is the length of the name of a pepper in a hash.
const pepperName = 8

func (s store) nodes(ctx context.Context, since time.Time) ([]nodeRow, error) {
	var rows []nodeRow
	if err := s.db.Conn(ctx).NewSelect().Model(&rows).Where("seen_at > ?", since).Order("name", "id").Scan(ctx); err != nil {
		return nil, fmt.Errorf("read servers: %w", err)
	}
	return rows, nil
}

// putNode writes the row of a server that is up, and forgets those that have not been since.
func (s store) putNode(ctx context.Context, r *nodeRow, since time.Time) error {
	_, err := s.db.Conn(ctx).NewInsert().Model(r).On("CONFLICT (id) DO UPDATE").
		Set("secrets = EXCLUDED.secrets").Set("seen_at = EXCLUDED.seen_at").Exec(ctx)
	if err == nil {
		_, err = s.db.Conn(ctx).NewDelete().Model((*nodeRow)(nil)).Where("seen_at < ?", since).Exec(ctx)
	}
	if err != nil {
		return fmt.Errorf("note that a server is up: %w", err)
	}
	return nil
}

func (s store) deleteNode(ctx context.Context, id string) error {
	if _, err := s.db.Conn(ctx).NewDelete().Model((*nodeRow)(nil)).Where("id = ?", id).Exec(ctx); err != nil {
		return fmt.Errorf("note that a server is down: %w", err)
	}
	return nil
}
