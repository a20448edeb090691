package link

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// store is all SQL of this package.
type store struct{ db *database.DB }

type linkRow struct {
	bun.BaseModel `bun:"table:latchkey_link,alias:l"`

	AuthIdentityID auth.IdentityID `bun:",pk"`
	ActorType      string          `bun:",pk"`
	ActorID        string
	CreatedAt      time.Time
}

// actor returns whom the identity is linked to; empty: nobody.
func (s store) actor(ctx context.Context, identity auth.IdentityID, actorType string) (id string, err error) {
	err = s.db.Conn(ctx).NewSelect().Model((*linkRow)(nil)).Column("actor_id").
		Where("auth_identity_id = ?", identity).Where("actor_type = ?", actorType).Scan(ctx, &id)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read link: %w", err)
	}
	return id, nil
}

// actorSince is actor, and when the link was made.
func (s store) actorSince(ctx context.Context, identity auth.IdentityID, actorType string) (string, time.Time, error) {
	var rows []linkRow
	err := s.db.Conn(ctx).NewSelect().Model(&rows).Where("auth_identity_id = ?", identity).Where("actor_type = ?", actorType).Scan(ctx)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("read link: %w", err)
	}
	if len(rows) == 0 {
		return "", time.Time{}, nil
	}
	return rows[0].ActorID, rows[0].CreatedAt, nil
}

// identity returns who is linked to the actor; empty: nobody.
func (s store) identity(ctx context.Context, actorType string, actor string) (id auth.IdentityID, err error) {
	err = s.db.Conn(ctx).NewSelect().Model((*linkRow)(nil)).Column("auth_identity_id").
		Where("actor_type = ?", actorType).Where("actor_id = ?", actor).Scan(ctx, &id)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return "", fmt.Errorf("read link: %w", err)
	}
	return id, nil
}

// linkedAs reports whether the identity is linked to an actor of a type other than the given one; "" stands for none.
func (s store) linkedAs(ctx context.Context, identity auth.IdentityID, otherThan string) (bool, error) {
	ok, err := s.db.Conn(ctx).NewSelect().Model((*linkRow)(nil)).
		Where("auth_identity_id = ?", identity).Where("actor_type <> ?", otherThan).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("read links: %w", err)
	}
	return ok, nil
}

// insert makes the link unless the identity has one of that actor type, and reports whether it did. Of several at once
// exactly one does; the others wait for its transaction.
func (s store) insert(ctx context.Context, identity auth.IdentityID, actorType string, actor string) (bool, error) {
	row := &linkRow{AuthIdentityID: identity, ActorType: actorType, ActorID: actor, CreatedAt: database.Now()}
	won, err := database.Touched(s.db.Conn(ctx).NewInsert().Model(row).On("CONFLICT (auth_identity_id, actor_type) DO NOTHING").Exec(ctx))
	if err != nil {
		return false, fmt.Errorf("insert link: %w", err)
	}
	return won, nil
}

// point makes an identity's link lead to another actor.
func (s store) point(ctx context.Context, identity auth.IdentityID, actorType string, actor string) error {
	_, err := s.db.Conn(ctx).NewUpdate().Model((*linkRow)(nil)).Set("actor_id = ?", actor).
		Where("auth_identity_id = ?", identity).Where("actor_type = ?", actorType).Exec(ctx)
	if err != nil {
		return fmt.Errorf("point link: %w", err)
	}
	return nil
}

// deleteAll removes every link of the identities, and what is noted of those that have none.
func (s store) deleteAll(ctx context.Context, identities []auth.IdentityID) error {
	for _, model := range []any{(*linkRow)(nil), (*unlinkedRow)(nil)} {
		if _, err := s.db.Conn(ctx).NewDelete().Model(model).Where("auth_identity_id IN (?)", bun.List(identities)).Exec(ctx); err != nil {
			return fmt.Errorf("delete links: %w", err)
		}
	}
	return nil
}

func (s store) delete(ctx context.Context, identity auth.IdentityID, actorType string) error {
	_, err := s.db.Conn(ctx).NewDelete().Model((*linkRow)(nil)).
		Where("auth_identity_id = ?", identity).Where("actor_type = ?", actorType).Exec(ctx)
	if err != nil {
		return fmt.Errorf("delete link: %w", err)
	}
	return nil
}

type unlinkedRow struct {
	bun.BaseModel `bun:"table:latchkey_link_unlinked,alias:n"`

	AuthIdentityID auth.IdentityID `bun:",pk"`
	ActorType      string          `bun:",pk"`
	Since          time.Time
}

// noteUnlinked notes that the identity was let in just now, linked to nobody. The identity is held by then.
func (s store) noteUnlinked(ctx context.Context, identity auth.IdentityID, actorType string) error {
	row := &unlinkedRow{AuthIdentityID: identity, ActorType: actorType, Since: database.Now()}
	_, err := s.db.Conn(ctx).NewInsert().Model(row).On("CONFLICT (auth_identity_id, actor_type) DO UPDATE").
		Set("since = EXCLUDED.since").Returning("NULL").Exec(ctx)
	if err != nil {
		return fmt.Errorf("note an unlinked identity: %w", err)
	}
	return nil
}

// unlinked are at most so many of those that were noted before, and not since, the longest ago first.
func (s store) unlinked(ctx context.Context, actorTypes []string, before time.Time, limit int) (rows []unlinkedRow, err error) {
	err = s.db.Conn(ctx).NewSelect().Model(&rows).Where("actor_type IN (?)", bun.List(actorTypes)).Where("since < ?", before).
		OrderExpr("since, auth_identity_id").Limit(int64(limit)).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("look for unlinked identities: %w", err)
	}
	return rows, nil
}

// isUnlinked reports whether it is noted still as it was when it was looked for.
func (s store) isUnlinked(ctx context.Context, r unlinkedRow, before time.Time) (bool, error) {
	ok, err := s.db.Conn(ctx).NewSelect().Model((*unlinkedRow)(nil)).
		Where("auth_identity_id = ?", r.AuthIdentityID).Where("actor_type = ?", r.ActorType).Where("since < ?", before).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("read an unlinked identity: %w", err)
	}
	return ok, nil
}

// forgetUnlinked removes the note, because it is not true any more.
func (s store) forgetUnlinked(ctx context.Context, r unlinkedRow) error {
	_, err := s.db.Conn(ctx).NewDelete().Model((*unlinkedRow)(nil)).
		Where("auth_identity_id = ?", r.AuthIdentityID).Where("actor_type = ?", r.ActorType).Exec(ctx)
	if err != nil {
		return fmt.Errorf("forget an unlinked identity: %w", err)
	}
	return nil
}
