// Package id mints identifiers: a prefix, an underscore and a ULID (26 upper-case Crockford characters), as Medusa's.
// They sort by the millisecond they were made in. They are names, not secrets.
package id

import (
	"crypto/rand"
	"regexp"
	"time"

	"github.com/oklog/ulid/v2"
)

// New returns prefix_ULID, or a bare ULID if prefix is empty. It is safe for concurrent use.
func New(prefix string) string {
	u := ulid.MustNew(ulid.Timestamp(time.Now()), rand.Reader).String()
	if prefix == "" {
		return u
	}
	return prefix + "_" + u
}

var shape = regexp.MustCompile(`^[0-7][0-9A-HJKMNP-TV-Z]{25}$`)

// Valid reports whether s could have been minted by New(prefix).
func Valid(prefix, s string) bool {
	if prefix != "" {
		if len(s) <= len(prefix) || s[:len(prefix)] != prefix || s[len(prefix)] != '_' {
			return false
		}
		s = s[len(prefix)+1:]
	}
	return shape.MatchString(s)
}
