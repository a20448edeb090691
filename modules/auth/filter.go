package auth

import (
	"cmp"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// IdentityFilter says which identities a list holds: those that match all that is set. Its zero value matches all.
type IdentityFilter struct {
	IDs      []IdentityID // nil: any; empty: none
	Provider string       // can sign in with it
	EntityID string       // is known to a provider by it
}

// ProviderIdentityFilter says which provider identities a list holds: those that match all that is set. Its zero value
// matches all.
type ProviderIdentityFilter struct {
	IDs         []string     // nil: any; empty: none
	IdentityIDs []IdentityID // nil: any; empty: none
	Provider    string
	EntityID    string
	Email       string // exact, in any spelling of the canonical address
}

// Page says which part of a list is wanted, in which order. A negative Limit other than CountOnly, or a negative Offset,
// is ErrQuery.
type Page struct {
	Limit  int    // at most so many; 0 means DefaultLimit, and CountOnly none at all
	Offset int    // so many are passed over
	Order  string // a field, with - before it for descending; empty: by id. An unknown field is ErrOrder
}

// DefaultLimit is the length of a page that names none; CountOnly asks for none of the rows.
const (
	DefaultLimit = 50
	CountOnly    = -1
)

var (
	identityOrders         = []string{"id", "created_at", "updated_at"}
	providerIdentityOrders = []string{"id", "provider", "entity_id", "created_at", "updated_at"}
	sessionOrders          = []string{"id", "created_at", "last_used_at", "expires_at"}
)

// check refuses what the databases would, or would each take in its own way.
func (p Page) check(orders []string) error {
	switch {
	case p.Limit < CountOnly || p.Offset < 0:
		return ErrQuery.Msg("Invalid request: limit and offset must not be negative")
	case p.Order != "" && !slices.Contains(orders, strings.TrimPrefix(p.Order, "-")):
		return ErrOrder.Msg("Invalid request: order must be one of %s, with - before it for descending", strings.Join(orders, ", "))
	}
	return nil
}

// apply puts the page on q. The id makes every order a total one, so that pages neither repeat nor lose a row.
func (p Page) apply(q *bun.SelectQuery) *bun.SelectQuery {
	field, descending := strings.CutPrefix(cmp.Or(p.Order, "id"), "-")
	direction := bun.Safe("ASC")
	if descending {
		direction = "DESC"
	}
	q = q.OrderExpr("? ?", bun.Ident(field), direction)
	if field != "id" {
		q = q.OrderExpr("id ?", direction)
	}
	return q.Limit(int64(cmp.Or(p.Limit, DefaultLimit))).Offset(int64(p.Offset))
}

func (f IdentityFilter) apply(q *bun.SelectQuery) *bun.SelectQuery {
	if f.IDs != nil {
		q = q.Where("a.id IN (?)", database.List(f.IDs...))
	}
	if f.Provider != "" || f.EntityID != "" {
		known := q.NewSelect().Model((*providerRow)(nil)).ColumnExpr("p.auth_identity_id")
		q = q.Where("a.id IN (?)", ProviderIdentityFilter{Provider: f.Provider, EntityID: f.EntityID}.apply(known))
	}
	return q
}

func (f ProviderIdentityFilter) apply(q *bun.SelectQuery) *bun.SelectQuery {
	if f.IDs != nil {
		q = q.Where("p.id IN (?)", database.List(f.IDs...))
	}
	if f.IdentityIDs != nil {
		q = q.Where("p.auth_identity_id IN (?)", database.List(f.IdentityIDs...))
	}
	if f.Provider != "" {
		q = q.Where("p.provider IN (?)", database.List(f.Provider))
	}
	if f.EntityID != "" {
		q = q.Where("p.entity_id IN (?)", database.List(f.EntityID))
	}
	if f.Email != "" {
		address, err := CanonicalEmail(f.Email)
		if err != nil {
			return q.Where("1 = 0")
		}
		q = q.Where("p.email = ?", address)
	}
	return q
}
