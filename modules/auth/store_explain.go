package auth

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// identitiesBy are the first identities with a way to sign in that names the address, or is known to one of the providers by
// it, then those who register with it, of whom there may be many: anybody may.
func (s store) identitiesBy(ctx context.Context, address string, providers []string, limit int) (ids []IdentityID, err error) {
	for _, q := range []*bun.SelectQuery{
		s.db.Conn(ctx).NewSelect().Model((*providerRow)(nil)).Where("p.email = ?", address),
		s.db.Conn(ctx).NewSelect().Model((*providerRow)(nil)).Where("p.provider IN (?)", database.List(providers...)).Where("p.entity_id = ?", address),
		s.db.Conn(ctx).NewSelect().Model((*registrationRow)(nil)).Where("r.email = ?", address),
	} {
		var some []IdentityID
		if err := q.Distinct().Column("auth_identity_id").Order("auth_identity_id").Limit(int64(limit)).Scan(ctx, &some); err != nil {
			return nil, fmt.Errorf("look for whom an address names: %w", err)
		}
		ids = append(ids, some...)
	}
	return ids, nil
}

// use is how an identity is signed in.
type use struct {
	AuthIdentityID IdentityID
	Living         int
	LastUsed       time.Time
}

func (s store) useOf(ctx context.Context, ids []IdentityID) (map[IdentityID]use, error) {
	var rows []use
	err := s.db.Conn(ctx).NewSelect().Model((*sessionRow)(nil)).ColumnExpr("s.auth_identity_id").
		ColumnExpr("SUM(CASE WHEN s.ver = a.ver AND s.expires_at > ? THEN 1 ELSE 0 END) AS living", database.Now()).
		ColumnExpr("MAX(s.last_used_at) AS last_used").
		Join("JOIN latchkey_auth_identity a ON a.id = s.auth_identity_id").
		Where("s.auth_identity_id IN (?)", database.List(ids...)).Group("s.auth_identity_id").Scan(ctx, &rows)
	if err != nil {
		return nil, fmt.Errorf("count the sessions of identities: %w", err)
	}
	of := make(map[IdentityID]use, len(rows))
	for _, r := range rows {
		of[r.AuthIdentityID] = r
	}
	return of, nil
}

// withSecret are the provider identities that keep a secret, by identity. What it is, is not read.
func (s store) withSecret(ctx context.Context, ids []IdentityID) (map[IdentityID][]string, error) {
	var rows []providerRow
	err := s.db.Conn(ctx).NewSelect().Model(&rows).Column("id", "auth_identity_id").
		Where("auth_identity_id IN (?)", database.List(ids...)).Where("secret IS NOT NULL").Order("id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for ways to sign in with a secret: %w", err)
	}
	of := map[IdentityID][]string{}
	for _, r := range rows {
		of[r.AuthIdentityID] = append(of[r.AuthIdentityID], r.ID)
	}
	return of, nil
}

// registeringWith are the addresses that the identities register with.
func (s store) registeringWith(ctx context.Context, ids []IdentityID) (map[IdentityID]string, error) {
	var rows []registrationRow
	err := s.db.Conn(ctx).NewSelect().Model(&rows).Column("auth_identity_id", "email").Where("auth_identity_id IN (?)", database.List(ids...)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read registrations: %w", err)
	}
	of := make(map[IdentityID]string, len(rows))
	for _, r := range rows {
		of[r.AuthIdentityID] = r.Email
	}
	return of, nil
}

// pending is what the identities, or others about the address, have asked for and can still be used, and at most one more
// than the limit of it.
func (s store) pending(ctx context.Context, identities []KnownIdentity, address string, limit int) (all []Pending, err error) {
	now := database.Now()
	ids := make([]IdentityID, len(identities))
	ways := map[string]ProviderIdentity{}
	for n, i := range identities {
		ids[n] = i.ID
		for _, p := range i.Providers {
			ways[p.ID] = p
		}
		if i.Registers != "" {
			all = append(all, Pending{Kind: PendingRegistration, IdentityID: i.ID, Email: i.Registers, RequestedAt: i.CreatedAt})
		}
	}
	var tokens []oneTimeRow
	err = s.db.Conn(ctx).NewSelect().Model(&tokens).ColumnExpr("t.provider_identity_id, t.channel, t.issued_at, t.expires_at").
		Where("t.purpose = ?", purposeReset).Where("t.provider_identity_id IN (?)", database.List(slices.Sorted(maps.Keys(ways))...)).
		Where("t.spent_at IS NULL").Where("t.expires_at > ?", now).Limit(int64(limit + 1)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for requests for a new password: %w", err)
	}
	for _, t := range tokens {
		way := ways[t.ProviderIdentityID]
		all = append(all, Pending{Kind: PendingReset, IdentityID: way.IdentityID, Provider: way.Provider, Email: way.Email, Channel: t.Channel,
			RequestedAt: database.UTC(t.IssuedAt), ExpiresAt: database.UTC(t.ExpiresAt)})
	}
	var changes []emailChangeRow
	err = s.db.Conn(ctx).NewSelect().Model(&changes).ColumnExpr("c.auth_identity_id, c.old_email, c.new_email, c.issued_at, c.expires_at").
		Join("JOIN latchkey_auth_identity a ON a.id = c.auth_identity_id AND a.ver = c.ver").
		Where("(c.auth_identity_id IN (?) OR c.new_email = ?)", database.List(ids...), address).
		Where("(c.expires_at > ? OR c.expires_at IS NULL AND c.issued_at > ?)", now, now.Add(-requestTTL)).Limit(int64(limit + 1)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for changes of address: %w", err)
	}
	for _, c := range changes {
		all = append(all, Pending{Kind: PendingEmailChange, IdentityID: c.AuthIdentityID, Email: c.NewEmail, From: c.OldEmail,
			RequestedAt: database.UTC(c.IssuedAt), ExpiresAt: database.UTC(c.ExpiresAt)})
	}
	var proofs []verificationRow
	err = s.db.Conn(ctx).NewSelect().Model(&proofs).ColumnExpr("v.auth_identity_id, v.email, v.requested_at, v.expires_at").
		Join("JOIN latchkey_auth_identity a ON a.id = v.auth_identity_id AND a.ver = v.ver").
		Where("v.auth_identity_id IN (?)", database.List(ids...)).
		Where("(v.expires_at > ? OR v.expires_at IS NULL AND v.requested_at > ?)", now, now.Add(-requestTTL)).Limit(int64(limit + 1)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for verifications: %w", err)
	}
	for _, v := range proofs {
		all = append(all, Pending{Kind: PendingVerification, IdentityID: v.AuthIdentityID, Email: v.Email,
			RequestedAt: database.UTC(v.RequestedAt), ExpiresAt: database.UTC(v.ExpiresAt)})
	}
	slices.SortStableFunc(all, func(a, b Pending) int { return a.RequestedAt.Compare(b.RequestedAt) })
	return all, nil
}

// livingThrottles are counts whose windows are not over: those known by id, and all of the subjects.
func (s store) livingThrottles(ctx context.Context, known, subjects map[string]Count, now time.Time, limit int) (rows []throttleRow, err error) {
	err = s.db.Conn(ctx).NewSelect().Model(&rows).Where("t.expires_at > ?", now).
		Where("(t.id IN (?) OR t.subject IN (?))", database.List(slices.Sorted(maps.Keys(known))...), database.List(slices.Sorted(maps.Keys(subjects))...)).
		OrderExpr("t.failed DESC, t.id").Limit(int64(limit)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read counts: %w", err)
	}
	return rows, nil
}
