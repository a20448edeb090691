package user

import (
	"slices"
	"strings"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// searched is a column of lower-case text that lists search, and what SQLite finds its parts by.
type searched struct {
	column   string
	trigrams string // the full-text table of the parts of three letters, by number
	numbers  string // whose rows these are
	owner    string // the column of numbers that is the row's id
}

var (
	userText   = searched{"search", "latchkey_user_trigram", "latchkey_user_trigram_row", "user_id"}
	inviteText = searched{"email", "latchkey_invite_trigram", "latchkey_invite_trigram_row", "invite_id"}
)

// search asks for every word of q. What decides is the text itself; an index only narrows the rows down, on PostgreSQL
// unasked. SQLite has to be asked for those in which all parts of three letters occur somewhere, which is one question
// for all words together. Shorter words have no such part.
func (w *where) search(in database.Dialect, text searched, q string) {
	w.q = q
	words := distinct(strings.Fields(strings.ToLower(q)))
	w.wordCount = len(words)
	if parts := trigrams(words); in == database.SQLite && len(parts) > 0 {
		w.match = `"` + strings.Join(parts, `" AND "`) + `"`
		w.words = append(w.words, condition{
			sql:  "id IN (SELECT r.? FROM ? t JOIN ? r ON r.n = t.rowid WHERE t.? MATCH ?)",
			args: []any{bun.Ident(text.owner), bun.Ident(text.trigrams), bun.Ident(text.numbers), bun.Ident(text.trigrams), w.match},
		})
	}
	for _, word := range words {
		w.words = append(w.words, contains(in, text.column, word))
	}
}

// distinct leaves out words that are part of another one: where that occurs, they do.
func distinct(words []string) (out []string) {
	for i, word := range words {
		part := func(j int, other string) bool {
			return strings.Contains(other, word) && (len(other) > len(word) || j < i) // of the same word twice the first stays
		}
		covered := false
		for j, other := range words {
			covered = covered || j != i && part(j, other)
		}
		if !covered {
			out = append(out, word)
		}
	}
	return out
}

// maxTrigrams are enough to narrow down any search.
const maxTrigrams = 64

// trigrams are the parts of three letters of the words, each once, written as they stand within quotes in SQLite's
// full-text queries.
func trigrams(words []string) (parts []string) {
	for _, word := range words {
		letters := []rune(word)
		for i := 0; i+3 <= len(letters) && len(parts) < maxTrigrams; i++ {
			part := strings.ReplaceAll(string(letters[i:i+3]), `"`, `""`)
			if !slices.Contains(parts, part) {
				parts = append(parts, part)
			}
		}
	}
	return parts
}

// contains asks for a word as it is written: % and _ stand for themselves.
func contains(in database.Dialect, column, word string) condition {
	if in == database.SQLite { // its LIKE is many times slower, and takes some letters for others
		return condition{sql: "instr(?, ?) > 0", args: []any{bun.Ident(column), word}}
	}
	pattern := "%" + strings.NewReplacer(`!`, `!!`, `%`, `!%`, `_`, `!_`).Replace(word) + "%"
	return condition{sql: "? LIKE ? ESCAPE '!'", args: []any{bun.Ident(column), pattern}}
}
