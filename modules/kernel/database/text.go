package database

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/uptrace/bun"
)

// Storable reports whether s is text of at most so many bytes, which both databases keep as it is, as a key too.
func Storable(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}

// Clip makes text from outside fit for a column of so many bytes, and for whoever reads it at a terminal: characters that
// control, end a line or cannot be seen are replaced.
func Clip(text string, most int) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > most {
		text = strings.ToValidUTF8(text[:most], "")
	}
	return text
}

// Writable leaves out what cannot even be written into a statement: no row has it. The values stay as they are.
func Writable[T ~string](values []T) []T {
	return slices.DeleteFunc(slices.Clone(values), func(v T) bool { return strings.ContainsRune(string(v), 0) })
}

// List is bun.List of those values that are [Writable].
func List[T ~string](values ...T) bun.ListValues { return bun.List(Writable(values)) }
