package user

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// The bounds of the message of an invite.
const (
	MaxMessage      = 500 // characters
	maxMessageLines = 20
)

// cleanMessage returns a message as it is kept, or says why it cannot be. It goes to strangers in our name: it has an end,
// and no signs by which the text around it would look other than it is.
func cleanMessage(text string) (string, error) {
	text = strings.TrimSpace(strings.ReplaceAll(text, "\r\n", "\n"))
	if !utf8.ValidString(text) || utf8.RuneCountInString(text) > MaxMessage || strings.Count(text, "\n") >= maxMessageLines || strings.ContainsFunc(text, hidden) {
		return "", ErrInvalid.About("message", "message must be plain text of at most %d characters and %d lines, without control characters.", MaxMessage, maxMessageLines)
	}
	return text, nil
}

// hidden reports whether a character does something instead of being seen: controls, what ends lines or turns the direction
// of the text that follows, and what takes no room, so that a word with it looks like another.
func hidden(c rune) bool {
	switch {
	case c == '\n', c == '\t':
		return false
	case c == 0x200c, c == 0x200d: // they join letters and emoji: some scripts cannot be written without
		return false
	case c == 0x2028, c == 0x2029:
		return true
	}
	return unicode.In(c, unicode.Cc, unicode.Cf)
}
