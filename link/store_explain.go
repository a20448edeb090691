package link

import (
	"context"
	"fmt"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/auth"
)

// identitiesOf are those that are linked to the actors.
func (s store) identitiesOf(ctx context.Context, actorType string, actors []string) (ids []auth.IdentityID, err error) {
	err = s.db.Conn(ctx).NewSelect().Model((*linkRow)(nil)).Column("auth_identity_id").
		Where("actor_type = ?", actorType).Where("actor_id IN (?)", bun.List(actors)).Order("auth_identity_id").Scan(ctx, &ids)
	if err != nil {
		return nil, fmt.Errorf("read links: %w", err)
	}
	return ids, nil
}

// linksOf are all links of the identities.
func (s store) linksOf(ctx context.Context, identities []auth.IdentityID) (rows []linkRow, err error) {
	err = s.db.Conn(ctx).NewSelect().Model(&rows).Where("auth_identity_id IN (?)", bun.List(identities)).OrderExpr("auth_identity_id, actor_type").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read links: %w", err)
	}
	return rows, nil
}

// unlinkedOf is what is noted of those of the identities that were let in as nobody.
func (s store) unlinkedOf(ctx context.Context, identities []auth.IdentityID) (rows []unlinkedRow, err error) {
	err = s.db.Conn(ctx).NewSelect().Model(&rows).Where("auth_identity_id IN (?)", bun.List(identities)).OrderExpr("auth_identity_id, actor_type").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read unlinked identities: %w", err)
	}
	return rows, nil
}
