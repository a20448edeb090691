package httpapi

import "github.com/latchkey-go/latchkey/modules/user"

// listing is what the answer of every list says of itself. A page that was asked for by its place, after, is not counted,
// because that takes the longer the more rows there are; it says what comes next instead, as long as anything does.
type listing struct {
	Count  *int   `json:"count,omitempty"`
	Offset *int   `json:"offset,omitempty"`
	Limit  int    `json:"limit"`
	Next   string `json:"next,omitempty"`
}

// lister is how a list is read.
type lister[T any] struct {
	read  func(user.Page) ([]T, error)
	count func(user.Page) ([]T, int, error) // reads too
	after func(user.Page, T) user.Page
}

// page reads the page that the query asks for.
func (l lister[T]) page(q query) ([]T, listing, error) {
	page, err := q.page()
	if err != nil {
		return nil, listing{}, err
	}
	after, byPlace := q["after"]
	if !byPlace {
		rows, count, err := l.count(page)
		return rows, listing{Count: &count, Offset: &page.Offset, Limit: shown(page)}, err
	}
	if _, both := q["offset"]; both {
		return nil, listing{}, errQuery.Msg("Invalid request: after and offset cannot be given together")
	}
	limit := shown(page)
	if limit == 0 {
		return nil, listing{}, errQuery.Msg("Invalid request: limit must be at least 1 together with after")
	}
	page.After, page.Limit = after, limit+1 // one more tells whether anything comes next
	rows, err := l.read(page)
	about := listing{Limit: limit}
	if len(rows) > limit {
		rows = rows[:limit]
		about.Next = l.after(page, rows[limit-1]).After
	}
	return rows, about, err
}
