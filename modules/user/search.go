package user

import (
	"strings"

	"github.com/uptrace/bun"
)

// search asks for every word of q in a column that holds lower-case text.
func (w *where) search(column, q string) {
	w.q = q
	for _, word := range strings.Fields(strings.ToLower(q)) {
		w.words = append(w.words, contains(column, word))
	}
}

// contains asks for a word as it is written: % and _ stand for themselves.
func contains(column, word string) condition {
	pattern := "%" + strings.NewReplacer(`!`, `!!`, `%`, `!%`, `_`, `!_`).Replace(word) + "%"
	return condition{sql: "? LIKE ? ESCAPE '!'", args: []any{bun.Ident(column), pattern}}
}
