package httpapi

import (
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/modules/user"
)

// listing is what the answer of every list says of itself. A page that was asked for by its place, after or before, is not counted,
// because that takes the longer the more rows there are; it says what comes next and what came before instead, as long as anything does.
type listing struct {
	Count    *int   `json:"count,omitempty"`
	Offset   *int   `json:"offset,omitempty"`
	Limit    int    `json:"limit"`
	Next     string `json:"next,omitempty"`
	Previous string `json:"previous,omitempty"`
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
	after, forth := q["after"]
	before, back := q["before"]
	if !forth && !back {
		rows, count, err := l.count(page)
		return rows, listing{Count: &count, Offset: &page.Offset, Limit: shown(page)}, err
	}
	name := "after"
	if back {
		name = "before"
	}
	_, offset := q["offset"]
	switch {
	case forth && back:
		return nil, listing{}, errQuery.Msg("Invalid request: after and before cannot be given together")
	case offset:
		return nil, listing{}, errQuery.Msg("Invalid request: %s and offset cannot be given together", name)
	case shown(page) == 0:
		return nil, listing{}, errQuery.Msg("Invalid request: limit must be at least 1 together with %s", name)
	case back:
		return l.readBack(page, before)
	}
	return l.readForth(page, after)
}

// readForth reads the page behind a place; empty: the first.
func (l lister[T]) readForth(page user.Page, after string) ([]T, listing, error) {
	rows, more, err := l.some(page, after)
	about := listing{Limit: page.Limit}
	if more {
		about.Next = l.behind(page, rows)
	}
	if after != "" {
		about.Previous = l.beforehand(page, rows)
	}
	return rows, about, err
}

// readBack reads the page before a place; empty: the last. It is the one behind that place in the opposite order, turned round.
func (l lister[T]) readBack(page user.Page, before string) ([]T, listing, error) {
	rows, more, err := l.some(opposite(page), before)
	slices.Reverse(rows)
	about := listing{Limit: page.Limit}
	if more {
		about.Previous = l.beforehand(page, rows)
	}
	if before != "" {
		about.Next = l.behind(page, rows)
	}
	return rows, about, err
}

// some reads the page behind a place, and whether anything comes after it: one more row tells.
func (l lister[T]) some(page user.Page, after string) (rows []T, more bool, err error) {
	limit := page.Limit
	page.After, page.Limit = after, limit+1
	if rows, err = l.read(page); len(rows) > limit {
		rows, more = rows[:limit], true
	}
	return rows, more, err
}

// behind is the place that the next page begins behind; beforehand that before which the previous one ends.

func (l lister[T]) behind(page user.Page, rows []T) string {
	if len(rows) == 0 {
		return ""
	}
	return l.after(page, rows[len(rows)-1]).After
}

func (l lister[T]) beforehand(page user.Page, rows []T) string {
	if len(rows) == 0 {
		return ""
	}
	return l.after(opposite(page), rows[0]).After
}

// opposite is the page in the opposite order.
func opposite(page user.Page) user.Page {
	field, descending := strings.CutPrefix(page.Order, "-")
	switch {
	case page.Order == "":
		page.Order = "-id"
	case !descending:
		page.Order = "-" + field
	case field != "" && field[0] != '-': // what is no order stays none
		page.Order = field
	}
	return page
}
