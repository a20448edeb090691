package auth

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

type verificationRow struct {
	bun.BaseModel `bun:"table:latchkey_verification,alias:v"`

	AuthIdentityID IdentityID `bun:",pk"`
	Email          string     `bun:",pk"`
	ID             string
	Ver            int64
	TokenHash      string
	RequestedAt    time.Time
	ExpiresAt      time.Time `bun:",nullzero"`
}

func (r verificationRow) verification() Verification {
	return Verification{ID: r.ID, IdentityID: r.AuthIdentityID, Email: r.Email, RequestedAt: database.UTC(r.RequestedAt), ExpiresAt: database.UTC(r.ExpiresAt)}
}

// putVerification makes r the verification that is under way for its address, whatever was before.
func (s store) putVerification(ctx context.Context, r *verificationRow) error {
	_, err := s.db.Conn(ctx).NewInsert().Model(r).On("CONFLICT (auth_identity_id, email) DO UPDATE").
		Set("id = EXCLUDED.id").Set("ver = EXCLUDED.ver").Set("token_hash = EXCLUDED.token_hash").
		Set("requested_at = EXCLUDED.requested_at").Set("expires_at = NULL").Returning("NULL").Exec(ctx)
	if err != nil {
		return fmt.Errorf("put verification: %w", err)
	}
	return nil
}

// verification returns the verification that is under way, expired or not, by its email or token_hash; nil if there is none,
// or the identity's ver has moved since it was asked for.
func (s store) verification(ctx context.Context, id IdentityID, column, value string) (*verificationRow, error) {
	var rows []verificationRow
	err := s.db.Conn(ctx).NewSelect().Model(&rows).ColumnExpr("v.*").
		Join("JOIN latchkey_auth_identity a ON a.id = v.auth_identity_id AND a.ver = v.ver").
		Where("v.auth_identity_id = ?", id).Where("v.? = ?", bun.Ident(column), value).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read verification: %w", err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	return &rows[0], nil
}

// extendVerification gives the verification its expiry, unless it is gone or another one by now.
func (s store) extendVerification(ctx context.Context, r *verificationRow) (bool, error) {
	extended, err := database.Touched(s.db.Conn(ctx).NewUpdate().Model(r).Column("expires_at").WherePK().Where("token_hash = ?", r.TokenHash).Exec(ctx))
	if err != nil {
		return false, fmt.Errorf("extend verification: %w", err)
	}
	return extended, nil
}

// takeVerification deletes the verification and returns it if it can be confirmed; nil otherwise. Of several at once one gets it.
func (s store) takeVerification(ctx context.Context, id IdentityID, hash string, ver int64) (*verificationRow, error) {
	var rows []verificationRow
	err := s.db.Conn(ctx).NewDelete().Model((*verificationRow)(nil)).Where("auth_identity_id = ?", id).Where("token_hash = ?", hash).
		Where("ver = ?", ver).Where("expires_at > ?", database.Now()).Returning("*").Scan(ctx, &rows)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("take verification: %w", err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	return &rows[0], nil
}

func (s store) deleteVerification(ctx context.Context, id IdentityID, address string) error {
	_, err := s.db.Conn(ctx).NewDelete().Model((*verificationRow)(nil)).Where("auth_identity_id = ?", id).Where("email = ?", address).Exec(ctx)
	if err != nil {
		return fmt.Errorf("delete verification: %w", err)
	}
	return nil
}

type registrationRow struct {
	bun.BaseModel `bun:"table:latchkey_registration,alias:r"`

	AuthIdentityID IdentityID `bun:",pk"`
	Provider       string
	EntityID       string
	Email          string
	UserMetadata   database.Object
	Secret         []byte
	CreatedAt      time.Time
}

// insertRegistration inserts the registration with an auth identity of its own.
func (s store) insertRegistration(ctx context.Context, r *registrationRow) error {
	_, err := s.db.Conn(ctx).NewInsert().Model(&identityRow{ID: r.AuthIdentityID, Ver: 1, CreatedAt: r.CreatedAt, UpdatedAt: r.CreatedAt}).Exec(ctx)
	if err == nil {
		_, err = s.db.Conn(ctx).NewInsert().Model(r).Exec(ctx)
	}
	if err != nil {
		return fmt.Errorf("insert registration: %w", err)
	}
	return nil
}

// registration returns what the identity registers with; nil if it does not.
func (s store) registration(ctx context.Context, id IdentityID) (*registrationRow, error) {
	var rows []registrationRow
	if err := s.db.Conn(ctx).NewSelect().Model(&rows).Where("auth_identity_id = ?", id).Scan(ctx); err != nil {
		return nil, fmt.Errorf("read registration: %w", err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	return &rows[0], nil
}

// takeRegistration deletes what the identity registers with and returns it; nil if it does not, or not with the address.
func (s store) takeRegistration(ctx context.Context, id IdentityID, address string) (*registrationRow, error) {
	var rows []registrationRow
	err := s.db.Conn(ctx).NewDelete().Model((*registrationRow)(nil)).Where("auth_identity_id = ?", id).Where("email = ?", address).
		Returning("*").Scan(ctx, &rows)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("take registration: %w", err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	return &rows[0], nil
}
