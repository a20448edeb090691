package user

import (
	"slices"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/email"
)

// Filter says which users a list holds: those that match all that is set. Its zero value matches every user.
type Filter struct {
	Q         string   // every word of it occurs somewhere in first name, last name or e-mail, in any case; too long a one is ErrQuery
	IDs       []ID     // nil: any; empty: none
	Emails    []string // exact, in any spelling of the canonical address; nil: any; empty: none
	FirstName *string  // exact
	LastName  *string  // exact
	Roles     []string // has one of these roles; nil: any; empty: none
	CreatedAt Times
	UpdatedAt Times
	// DeactivatedAt matches nobody who is active.
	DeactivatedAt Times
	DeletedAt     Times // matches nobody without WithDeleted
	WithDeleted   bool  // softly deleted users too; counts in the outermost filter only
	// Status is only those, whatever WithDeleted says; counts in the outermost filter only. Another than the three is ErrQuery.
	Status Status

	And []Filter // matches all of these as well
	Or  []Filter // matches one of these as well; nil: any; empty: none
}

// InviteFilter says which invites a list holds: those that match all that is set. Its zero value matches every open one,
// expired ones among them.
type InviteFilter struct {
	Q           string     // every word of it occurs in the e-mail, in any case; too long a one is ErrQuery
	IDs         []InviteID // nil: any; empty: none
	Emails      []string   // exact, in any spelling of the canonical address; nil: any; empty: none
	ExpiresAt   Times
	CreatedAt   Times
	UpdatedAt   Times
	DeletedAt   Times        // matches none without WithDeleted
	Accepted    bool         // the accepted instead of the open ones; counts in the outermost filter only
	Status      InviteStatus // only those, whatever Accepted says; counts in the outermost filter only. Another than the three is ErrQuery
	WithDeleted bool         // withdrawn ones too; counts in the outermost filter only

	And []InviteFilter // matches all of these as well
	Or  []InviteFilter // matches one of these as well; nil: any; empty: none
}

// The bounds of a filter. One that goes beyond them is ErrQuery.
const (
	MaxWords      = 10  // of Q, those that are part of another left out, in all: each is looked for in every row that has the others
	MaxDepth      = 5   // levels of And and Or within each other
	MaxConditions = 100 // fields that are set, times in lists, and members of And and Or, in all
)

// where is a filter as SQL: conditions, and filters like it, all of which hold, and others of which one does.
type where struct {
	q         string      // for its length
	wordCount int         // of q
	words     []condition // of q; if match is set, the first is what SQLite looks up in its index of parts
	match     string      // of q, as that index is asked for it; empty: there is no part of three letters
	all       []condition
	and, or   []where

	addresses bool // they are asked for, here or in a part
}

// condition is a piece of SQL that holds or not.
type condition struct {
	sql    string
	args   []any
	weight int // how many conditions it counts for; 0 is 1
}

// nested is what the filters of the lists have in common.
type nested[F any] interface {
	own(database.Dialect) where // without what is in And and Or
	members() (and, or []F)
}

func (f Filter) members() (and, or []Filter)             { return f.And, f.Or }
func (f InviteFilter) members() (and, or []InviteFilter) { return f.And, f.Or }

func (f Filter) own(in database.Dialect) (w where) {
	w.search(in, userText, f.Q)
	if f.IDs != nil {
		w.add("id IN (?)", database.List(f.IDs...))
	}
	if f.Emails != nil {
		w.addresses = true
		w.add("email IN (?)", bun.List(canonical(f.Emails)))
	}
	if f.FirstName != nil {
		w.add("first_name IN (?)", database.List(*f.FirstName))
	}
	if f.LastName != nil {
		w.add("last_name IN (?)", database.List(*f.LastName))
	}
	if f.Roles != nil {
		w.add("id IN (SELECT user_id FROM latchkey_user_role WHERE role IN (?))", database.List(f.Roles...))
	}
	w.all = slices.Concat(w.all, f.CreatedAt.on("created_at"), f.UpdatedAt.on("updated_at"),
		f.DeactivatedAt.on("deactivated_at"), f.DeletedAt.on("deleted_at"))
	return w
}

func (f InviteFilter) own(in database.Dialect) (w where) {
	w.search(in, inviteText, f.Q)
	if f.IDs != nil {
		w.add("id IN (?)", database.List(f.IDs...))
	}
	if f.Emails != nil {
		w.addresses = true
		w.add("email IN (?)", bun.List(canonical(f.Emails)))
	}
	w.all = slices.Concat(w.all, f.ExpiresAt.on("expires_at"),
		f.CreatedAt.on("created_at"), f.UpdatedAt.on("updated_at"), f.DeletedAt.on("deleted_at"))
	return w
}

// where is the whole of the filter, or says why it is none.
func (f Filter) where(in database.Dialect) (where, error) {
	w, err := compile(in, f)
	switch f.Status {
	case "":
		if !f.WithDeleted {
			w.living(in)
		}
	case StatusActive:
		w.living(in)
		w.add("deactivated_at IS NULL")
	case StatusDeactivated: // few have the time, and have an index; SQLite takes it for a range, and not for IS NOT NULL
		w.add("deactivated_at >= ?", firstKept)
		w.living(in)
	case StatusDeleted:
		w.add("deleted_at >= ?", firstKept)
	default:
		return where{}, ErrQuery.Msg("Invalid request: status must be one of active, deactivated, deleted")
	}
	return w, err
}

// where is the whole of the filter, or says why it is none.
func (f InviteFilter) where(in database.Dialect) (where, error) {
	w, err := compile(in, f)
	if !f.WithDeleted {
		w.living(in)
	}
	switch f.Status { // as the indexes have it: NOT accepted
	case "":
		if f.Accepted {
			w.add("accepted")
		} else {
			w.add("NOT accepted")
		}
	case StatusPending:
		w.add("NOT accepted")
		w.add("expires_at > ?", database.Now())
	case StatusExpired:
		w.add("NOT accepted")
		w.add("expires_at <= ?", database.Now())
	case StatusAccepted:
		w.add("accepted")
	default:
		return where{}, ErrQuery.Msg("Invalid request: status must be one of pending, expired, accepted")
	}
	w.add("email IS NOT NULL") // a set-up link is not somebody's invite: it is shown by nothing but the start of the server
	return w, err
}

// living asks for rows that are not deleted, after all that the caller asks. The indexes of addresses have those alone,
// which SQLite takes for a reason to go through all of such an index, row by row, whatever else is asked.
func (w *where) living(in database.Dialect) {
	if in == database.SQLite && !w.empty() && !w.addresses {
		w.add("+deleted_at IS NULL")
	} else {
		w.add(string(living))
	}
}

// compile translates a filter with all that is in it. SQLite has limits to the length of a pattern and to the depth of an
// expression, to which every word and condition adds; the bounds keep well below them.
func compile[F nested[F]](in database.Dialect, f F) (where, error) {
	var conditions, text, words int
	var translate func(f F, depth int) (where, error)
	members := func(of []F, depth int) (out []where, err error) {
		if of == nil {
			return nil, nil
		}
		out = make([]where, len(of))
		for i, f := range of {
			if out[i], err = translate(f, depth); err != nil {
				return nil, err
			}
		}
		return out, nil
	}
	translate = func(f F, depth int) (w where, err error) {
		if depth > MaxDepth {
			return where{}, ErrQuery.Msg("Invalid request: $and and $or may stand at most %d levels within each other", MaxDepth)
		}
		w = f.own(in)
		and, or := f.members()
		conditions += len(and) + len(or)
		for _, c := range w.all {
			conditions += max(1, c.weight)
		}
		if conditions > MaxConditions {
			return where{}, ErrQuery.Msg("Invalid request: a filter may have at most %d conditions: "+
				"fields, times in a list, and members of $and and $or, counted together", MaxConditions)
		}
		if text += len(w.q); text > maxText || !database.Storable(w.q, maxText) {
			return where{}, ErrQuery.Msg("Invalid request: q must be text of at most %d bytes without NUL characters", maxText)
		}
		if words += w.wordCount; words > MaxWords {
			return where{}, ErrQuery.Msg("Invalid request: q may have at most %d words", MaxWords)
		}
		if w.and, err = members(and, depth+1); err != nil {
			return where{}, err
		}
		w.or, err = members(or, depth+1)
		w.addresses = w.addresses || slices.ContainsFunc(slices.Concat(w.and, w.or), func(m where) bool { return m.addresses })
		return w, err
	}
	return translate(f, 0)
}

func (w *where) add(sql string, args ...any) { w.all = append(w.all, condition{sql: sql, args: args}) }

// apply puts the filter on q. What would be an empty group is written out: bun drops it.
func (w where) apply(q *bun.SelectQuery) *bun.SelectQuery {
	for _, c := range slices.Concat(w.words, w.all) {
		q = q.Where(c.sql, c.args...)
	}
	for _, m := range w.and {
		q = q.WhereGroup(" AND ", m.apply)
	}
	switch {
	case w.or != nil && len(w.or) == 0:
		q = q.Where("FALSE")
	case w.or != nil:
		q = q.WhereGroup(" AND ", func(q *bun.SelectQuery) *bun.SelectQuery {
			for _, m := range w.or {
				if m.empty() {
					q = q.WhereOr("TRUE")
				} else {
					q = q.WhereGroup(" OR ", m.apply)
				}
			}
			return q
		})
	}
	return q
}

// empty reports whether everything matches.
func (w where) empty() bool {
	return len(w.words)+len(w.all) == 0 && w.or == nil && !slices.ContainsFunc(w.and, func(m where) bool { return !m.empty() })
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
