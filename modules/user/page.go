package user

import (
	"cmp"
	"encoding/base64"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
)

// Page says which part of a list is wanted, in which order. A negative Limit other than CountOnly, or a negative Offset,
// is ErrQuery.
type Page struct {
	Limit  int // at most so many; 0 means DefaultLimit, and CountOnly none at all
	Offset int // so many are passed over; each costs
	// Order is a field, with - before it for descending; empty: by id. What is not there comes after all, or, descending,
	// before. An unknown field is ErrOrder.
	Order string
	// After is a cursor, a place in the list in this order, where the page begins; AfterUser and AfterInvite make it.
	// However far it is, it costs the same. Empty: the list's beginning. With an Offset it is ErrQuery, and what is no
	// cursor of this list in this order is ErrCursor.
	After string
}

// DefaultLimit is the length of a page that names none; CountOnly asks for none of the rows.
const (
	DefaultLimit = 50
	CountOnly    = -1
)

// AfterUser is the page that begins behind u, which is the last of this one or any other user. What is inserted or deleted
// meanwhile moves nobody to another page; who changes in what the list is ordered by, is where they then belong.
func (p Page) AfterUser(u User) Page {
	return p.after(userOrders, string(u.ID), map[string]any{
		"email": given(u.Email), "first_name": given(u.FirstName), "last_name": given(u.LastName),
		"created_at": given(u.CreatedAt), "updated_at": given(u.UpdatedAt), "deleted_at": given(u.DeletedAt),
	})
}

// AfterInvite is AfterUser for invites.
func (p Page) AfterInvite(i Invite) Page {
	return p.after(inviteOrders, string(i.ID), map[string]any{
		"email": given(i.Email), "accepted": i.Accepted, "expires_at": given(i.ExpiresAt),
		"created_at": given(i.CreatedAt), "updated_at": given(i.UpdatedAt), "deleted_at": given(i.DeletedAt),
	})
}

// given is a value as a row keeps it: nil if it is not there.
func given(v any) any {
	switch v := v.(type) {
	case string:
		if v != "" {
			return v
		}
	case *string:
		if v != nil {
			return *v
		}
	case time.Time:
		if !v.IsZero() {
			return v
		}
	}
	return nil
}

// orders are the fields that a list can be ordered by.
type orders struct {
	list   string // what it is a list of, as in the ids
	fields []orderField
}

type orderField struct {
	name     string
	kind     valueKind
	optional bool // some rows have none
}

// valueKind is what a field holds.
type valueKind int

const (
	isID valueKind = iota
	isText
	isTime
	isTruth
)

var (
	userOrders = orders{"user", []orderField{
		{"id", isID, false}, {"email", isText, true}, {"first_name", isText, true}, {"last_name", isText, true},
		{"created_at", isTime, false}, {"updated_at", isTime, false}, {"deleted_at", isTime, true},
	}}
	inviteOrders = orders{"invite", []orderField{
		{"id", isID, false}, {"email", isText, true}, {"accepted", isTruth, false}, {"expires_at", isTime, false},
		{"created_at", isTime, false}, {"updated_at", isTime, false}, {"deleted_at", isTime, true},
	}}
)

// by is the field that an order names, and whether it descends.
func (o orders) by(order string) (field orderField, descending bool, err error) {
	name, descending := strings.CutPrefix(cmp.Or(order, "id"), "-")
	i := slices.IndexFunc(o.fields, func(f orderField) bool { return f.name == name })
	if i < 0 {
		names := make([]string, len(o.fields))
		for i, f := range o.fields {
			names[i] = f.name
		}
		return orderField{}, false, ErrOrder.Msg("Invalid request: order must be one of %s, with - before it for descending", strings.Join(names, ", "))
	}
	return o.fields[i], descending, nil
}

// total is how many rows a list has of which this page has so many, if that tells.
func (p Page) total(rows int) (n int, told bool) {
	last := p.Limit != CountOnly && rows < cmp.Or(p.Limit, DefaultLimit)
	return p.Offset + rows, last && p.After == "" && (rows > 0 || p.Offset == 0)
}

// A stretch takes from all rows those that follow each other in a list, and puts them in their order.
type stretch func(q *bun.SelectQuery) *bun.SelectQuery

// stretches are those in which the page may lie, in the order of the list. The error says why there is no such page: what
// the databases would refuse, or would each take in its own way. The id makes every order a total one, so that pages
// neither repeat nor lose a row.
func (p Page) stretches(of orders) ([]stretch, error) {
	if p.Limit < CountOnly || p.Offset < 0 {
		return nil, ErrQuery.Msg("Invalid request: limit and offset must not be negative")
	}
	field, descending, err := of.by(p.Order)
	if err != nil {
		return nil, err
	}
	direction, nulls, beyond := bun.Safe("ASC"), bun.Safe("NULLS LAST"), bun.Safe(">") // by default the databases put NULLs at different ends
	if descending {
		direction, nulls, beyond = "DESC", "NULLS FIRST", "<"
	}
	name := bun.Ident(field.name)
	byID := func(q *bun.SelectQuery) *bun.SelectQuery { return q.OrderExpr("id ?", direction) }
	byField := func(q *bun.SelectQuery) *bun.SelectQuery { return byID(q.OrderExpr("? ?", name, direction)) }
	if field.kind == isID {
		byField = byID
	}
	if p.After == "" {
		return []stretch{func(q *bun.SelectQuery) *bun.SelectQuery {
			if field.optional {
				return byID(q.OrderExpr("? ? ?", name, direction, nulls)).Offset(int64(p.Offset))
			}
			return byField(q).Offset(int64(p.Offset))
		}}, nil
	}

	if p.Offset > 0 {
		return nil, ErrQuery.Msg("Invalid request: after and offset cannot be given together")
	}
	at, err := of.read(p.After, p.Order, field)
	if err != nil {
		return nil, err
	}
	with := func(q *bun.SelectQuery) *bun.SelectQuery { return byField(q.Where("? IS NOT NULL", name)) }
	without := func(q *bun.SelectQuery) *bun.SelectQuery { return byID(q.Where("? IS NULL", name)) }
	switch {
	case field.kind == isID:
		return []stretch{func(q *bun.SelectQuery) *bun.SelectQuery { return byID(q.Where("id ? ?", beyond, at.id)) }}, nil
	case at.value == nil:
		rest := func(q *bun.SelectQuery) *bun.SelectQuery { return without(q.Where("id ? ?", beyond, at.id)) }
		if descending {
			return []stretch{rest, with}, nil
		}
		return []stretch{rest}, nil
	}
	rest := func(q *bun.SelectQuery) *bun.SelectQuery {
		return byField(q.Where("(?, id) ? (?, ?)", name, beyond, at.value, at.id))
	}
	if field.optional && !descending {
		return []stretch{rest, without}, nil
	}
	return []stretch{rest}, nil
}

// place is what a cursor says: just behind the row of this id, with this value in the field of the order.
type place struct {
	value any // text, a time or a truth value; nil: it is not there
	id    string
}

// A cursor is base64url of its version, list, order, value and id, with NUL between them, which none of them can hold.
// The value begins with = if there is one.
const cursorVersion = "1"

// MaxCursor is the greatest length of a cursor, in bytes.
const MaxCursor = 2048

func (p Page) after(of orders, id string, values map[string]any) Page {
	field, _, err := of.by(p.Order)
	var value string
	switch v := values[field.name].(type) {
	case string:
		value = "=" + v
	case time.Time:
		value = "=" + strconv.FormatInt(v.UnixMicro(), 10)
	case bool:
		value = "=" + strconv.FormatBool(v)
	}
	p.Offset, p.After = 0, ""
	if err == nil {
		p.After = base64.RawURLEncoding.EncodeToString([]byte(strings.Join([]string{cursorVersion, of.list, cmp.Or(p.Order, "id"), value, id}, "\x00")))
	}
	return p
}

// read takes a cursor apart. What comes out is of the kinds that the columns have, whatever was put in.
func (o orders) read(cursor, order string, field orderField) (place, error) {
	refused := ErrCursor.Msg("Invalid request: after must be the next of an answer to the same list in the same order, or empty to begin")
	if len(cursor) > MaxCursor || strings.ContainsAny(cursor, "\r\n") { // which base64 would pass over
		return place{}, refused
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(cursor)
	if err != nil {
		return place{}, refused
	}
	parts := strings.Split(string(data), "\x00")
	if len(parts) != 5 || !slices.Equal(parts[:3], []string{cursorVersion, o.list, cmp.Or(order, "id")}) || !id.Valid(o.list, parts[4]) {
		return place{}, refused
	}
	at := place{id: parts[4]}
	text, there := strings.CutPrefix(parts[3], "=")
	switch {
	case !there:
		if parts[3] != "" || field.kind != isID && !field.optional {
			return place{}, refused
		}
		return at, nil
	case field.kind == isText && database.Storable(text, maxText):
		at.value = text
	case field.kind == isTime:
		micros, err := strconv.ParseInt(text, 10, 64)
		t := time.UnixMicro(micros).UTC()
		if err != nil || t.Before(firstKept) || t.After(lastKept) {
			return place{}, refused
		}
		at.value = t
	case field.kind == isTruth && (text == "true" || text == "false"):
		at.value = text == "true"
	default:
		return place{}, refused
	}
	return at, nil
}
