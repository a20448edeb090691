package database

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/uptrace/bun"
)

// Storable reports whether s is text of at most so many bytes, which both databases keep as it is, as a key too.
func Storable(s string, most int) bool {
	return len(s) <= most && utf8.ValidString(s) && !strings.ContainsRune(s, 0)
}

// Writable leaves out what cannot even be written into a statement: no row has it. The values stay as they are.
func Writable[T ~string](values []T) []T {
	return slices.DeleteFunc(slices.Clone(values), func(v T) bool { return strings.ContainsRune(string(v), 0) })
}

// List is bun.List of those values that are [Writable].
func List[T ~string](values ...T) bun.ListValues { return bun.List(Writable(values)) }
