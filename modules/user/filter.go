package user

import (
	"cmp"
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/kernel/email"
)

// Filter says which users a list holds: those that match all that is set. Its zero value matches every user.
type Filter struct {
	Q           string   // every word of it occurs somewhere in first name, last name or e-mail, in any case; too long a one is ErrQuery
	IDs         []ID     // nil: any; empty: none
	Emails      []string // exact, in any spelling of the canonical address; nil: any; empty: none
	FirstName   *string  // exact
	LastName    *string  // exact
	Role        string   // has this role; empty: any
	WithDeleted bool     // softly deleted users too
}

// InviteFilter says which invites a list holds. Its zero value matches every open one, expired ones among them.
type InviteFilter struct {
	Q        string     // occurs in the e-mail, in any case
	IDs      []InviteID // nil: any; empty: none
	Emails   []string   // exact; nil: any; empty: none
	Accepted bool       // the accepted instead of the open ones
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

var userOrders = []string{"id", "email", "first_name", "last_name", "created_at", "updated_at"}
var inviteOrders = []string{"id", "email", "accepted", "expires_at", "created_at", "updated_at"}

// checkList refuses what the databases would, or would each take in its own way.
func checkList(q string, p Page, orders []string) error {
	switch {
	case !storable(q): // SQLite has limits to the length of a pattern and to the number of conditions
		return ErrQuery.Msg("Invalid request: q must be text of at most %d bytes without NUL characters", maxText)
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

func (f Filter) apply(q *bun.SelectQuery) *bun.SelectQuery {
	for _, word := range strings.Fields(strings.ToLower(f.Q)) {
		q = contains(q, "search", word)
	}
	if f.IDs != nil {
		q = q.Where("id IN (?)", list(f.IDs...))
	}
	if f.Emails != nil {
		q = q.Where("email IN (?)", bun.List(canonical(f.Emails)))
	}
	if f.FirstName != nil {
		q = q.Where("first_name IN (?)", list(*f.FirstName))
	}
	if f.LastName != nil {
		q = q.Where("last_name IN (?)", list(*f.LastName))
	}
	if f.Role != "" {
		q = q.Where("EXISTS (SELECT 1 FROM latchkey_user_role r WHERE r.user_id = u.id AND r.role IN (?))", list(f.Role))
	}
	if !f.WithDeleted {
		q = q.Where("deleted_at IS NULL")
	}
	return q
}

func (f InviteFilter) apply(q *bun.SelectQuery) *bun.SelectQuery {
	for _, word := range strings.Fields(strings.ToLower(f.Q)) {
		q = contains(q, "email", word)
	}
	if f.IDs != nil {
		q = q.Where("id IN (?)", list(f.IDs...))
	}
	if f.Emails != nil {
		q = q.Where("email IN (?)", bun.List(canonical(f.Emails)))
	}
	// A set-up link is not somebody's invite: it is shown by nothing but the start of the server.
	return q.Where("deleted_at IS NULL").Where("accepted = ?", f.Accepted).Where("email IS NOT NULL")
}

// list is bun.List without what cannot even be written into a statement: no row has it.
func list[T ~string](values ...T) bun.ListValues {
	return bun.List(slices.DeleteFunc(slices.Clone(values), func(v T) bool { return strings.ContainsRune(string(v), 0) }))
}

// contains asks for a word as it is written: % and _ stand for themselves.
func contains(q *bun.SelectQuery, column, word string) *bun.SelectQuery {
	pattern := "%" + strings.NewReplacer(`!`, `!!`, `%`, `!%`, `_`, `!_`).Replace(word) + "%"
	return q.Where("? LIKE ? ESCAPE '!'", bun.Ident(column), pattern)
}

// canonical drops what is no address: it matches nobody.
func canonical(addresses []string) []string {
	out := make([]string, 0, len(addresses))
	for _, a := range addresses {
		if c, err := email.Canonical(a); err == nil {
			out = append(out, c)
		}
	}
	return out
}
