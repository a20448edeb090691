package user

import (
	"cmp"
	"strings"
	"time"

	"github.com/uptrace/bun"
)

// Times says which times match: those that satisfy all that is set. Its zero value lets every time pass, and one that is
// not there too; as soon as anything is set, a time that is not there does not match.
type Times struct {
	From  time.Time // it or later; zero: whenever
	Until time.Time // before it; zero: whenever
	In    []Span    // in one of them; nil: any; empty: none
	NotIn []Span    // in none of them
}

// Span is the time from its beginning until before its end. A zero From or Until leaves that side open.
type Span struct{ From, Until time.Time }

// At is the span of t alone, to the microsecond, which is how precisely times are kept.
func At(t time.Time) Span {
	t = t.Truncate(time.Microsecond)
	return Span{t, t.Add(time.Microsecond)}
}

// Where has a query ask of a column that its time matches.
func (t Times) Where(q *bun.SelectQuery, column string) *bun.SelectQuery {
	for _, c := range t.on(column) {
		q = q.Where(c.sql, c.args...)
	}
	return q
}

// on is what the times ask of a column.
func (t Times) on(column string) (all []condition) {
	if !t.From.IsZero() || !t.Until.IsZero() {
		all = append(all, Span{t.From, t.Until}.on(column))
	}
	if t.In != nil {
		some := condition{weight: max(1, len(t.In))}
		parts := make([]string, len(t.In))
		for i, s := range t.In {
			c := s.on(column)
			parts[i], some.args = c.sql, append(some.args, c.args...)
		}
		some.sql = cmp.Or(strings.Join(parts, " OR "), "FALSE")
		all = append(all, some)
	}
	for _, s := range t.NotIn {
		c := s.on(column)
		// Beside a span that is open on both sides, which every time is in: one that is not there is not outside either.
		all = append(all, condition{sql: "? IS NOT NULL AND NOT (" + c.sql + ")", args: append([]any{bun.Ident(column)}, c.args...)})
	}
	return all
}

func (s Span) on(column string) condition {
	var parts []string
	var args []any
	if !s.From.IsZero() {
		parts, args = append(parts, "? >= ?"), append(args, bun.Ident(column), kept(s.From))
	}
	if !s.Until.IsZero() {
		parts, args = append(parts, "? < ?"), append(args, bun.Ident(column), kept(s.Until))
	}
	if parts == nil {
		return condition{sql: "? IS NOT NULL", args: []any{bun.Ident(column)}}
	}
	return condition{sql: strings.Join(parts, " AND "), args: args}
}

// The databases keep whole microseconds, and SQLite keeps them as text, which is in the order of time within these years.
var (
	firstKept = time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC)
	lastKept  = time.Date(9999, 12, 31, 23, 59, 59, 999_999_000, time.UTC)
)

// kept is the first time not before t that a database can keep: what is kept is before the one if it is before the other.
func kept(t time.Time) time.Time {
	switch {
	case t.Before(firstKept):
		return firstKept
	case t.After(lastKept):
		return lastKept
	}
	whole := t.Truncate(time.Microsecond)
	if whole.Before(t) {
		whole = whole.Add(time.Microsecond)
	}
	return whole.UTC()
}
