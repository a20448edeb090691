// Package email has the one form in which Latchkey keeps, compares and sends to
// e-mail addresses.
//
// Two addresses are the same person exactly when their canonical forms are the
// same bytes. The form is deliberately narrow: what it refuses (quoted local
// parts, IP literals, anything outside ASCII) is hardly ever a mailbox and often
// an attempt to be taken for somebody else's.
package email

import (
	"strings"

	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

// ErrInvalid says that a text is no e-mail address in the accepted form. Its
// message says what is expected and never repeats the text.
var ErrInvalid = fault.New(fault.Invalid, "invalid_email",
	"An e-mail address must look like name@example.com: ASCII letters, digits and common signs without spaces or quotes, "+
		"at most 254 characters, an international domain in its xn-- form.")

const (
	maxAddress = 254 // RFC 5321, 4.5.3.1.3, less the angle brackets
	maxLocal   = 64
	maxLabel   = 63
)

// Canonical returns the canonical form of s: a dot-atom local part and a domain
// with at least one dot, both ASCII, in lower case. Nothing is trimmed or
// repaired; everything else, the empty text included, is ErrInvalid. A canonical
// address is its own canonical form.
func Canonical(s string) (string, error) {
	if len(s) > maxAddress {
		return "", ErrInvalid
	}
	local, domain, found := strings.Cut(s, "@")
	if !found || !isLocal(local) || !isDomain(domain) {
		return "", ErrInvalid
	}
	return strings.ToLower(s), nil // all ASCII by now
}

func isLocal(s string) bool {
	if len(s) > maxLocal {
		return false
	}
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" || !every(atom, isAtext) {
			return false
		}
	}
	return true
}

func isDomain(s string) bool {
	last, labels := "", 0
	for label := range strings.SplitSeq(s, ".") {
		if !isLabel(label) {
			return false
		}
		last, labels = label, labels+1
	}
	// No top-level domain is all digits, but a bare IPv4 address ends in one.
	return labels >= 2 && !every(last, isDigit)
}

func isLabel(s string) bool {
	if s == "" || len(s) > maxLabel || s[0] == '-' || s[len(s)-1] == '-' {
		return false
	}
	return every(s, func(c byte) bool { return c == '-' || isDigit(c) || isLetter(c) })
}

// isAtext is RFC 5322's atext, without the extension to UTF-8 of RFC 6532.
func isAtext(c byte) bool {
	return isDigit(c) || isLetter(c) || strings.IndexByte("!#$%&'*+-/=?^_`{|}~", c) >= 0
}

func isDigit(c byte) bool  { return '0' <= c && c <= '9' }
func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

func every(s string, is func(byte) bool) bool {
	for i := range len(s) {
		if !is(s[i]) {
			return false
		}
	}
	return true
}
