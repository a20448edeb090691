package auth

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/trustelem/zxcvbn/frequency"
)

// The limits of a password. Characters are Unicode code points (NIST SP 800-63B-4, 3.1.1.2).
const (
	MinPassword = 8
	MaxPassword = 256
)

// minWord is how many characters a context word has at least: shorter ones are parts of too many other words.
const minWord = 4

// Policy says what may be a password. Its zero value is usable, and the least that can be asked: 8 to 256 characters and
// none that is common. It asks for no kinds of characters, and a password never expires.
type Policy struct {
	MinLength   int      // characters at least; MinPassword if less
	MinStrength int      // the least Strength, 0 to 4
	Words       []string // context words: names of the service and whoever runs it
}

// Check says whether somebody may choose the password. It is neither trimmed nor truncated nor normalised; common
// passwords and words are found whatever their case. The person's own words are their address and names.
//
// A context word, or an own one, is barred as far as it is what the password is made of: what is left without all of them
// must be MinPassword characters. So nobody gets by with a word and a year, and a long passphrase may have it in it. An
// address stands for itself, for what is before its @, and for the parts of that. Words of less than four characters are
// passed over.
//
// The error is an ErrPassword whose message says why, and its detail for programs.
func (p Policy) Check(password string, own ...string) error {
	least := max(p.MinLength, MinPassword)
	switch n := utf8.RuneCountInString(password); {
	case !utf8.ValidString(password):
		return ErrPassword.Msg("Password must be valid UTF-8 text")
	case strings.ContainsRune(password, 0):
		return ErrPassword.Msg("Password must not contain NUL characters")
	case n < least:
		return ErrPassword.About("too_short", "Password is too short: at least %d characters", least)
	case n > MaxPassword:
		return ErrPassword.About("too_long", "Password is too long: at most %d characters", MaxPassword)
	}
	for _, word := range own {
		if strings.Contains(word, "@") && strings.EqualFold(password, word) {
			return ErrPassword.About("address", "Password must not be your e-mail address")
		}
	}
	words := contextWords(slices.Concat(p.Words, own))
	if madeOf(password, words) {
		return ErrPassword.About("made_of_words", "Password must not be made of your name, your e-mail address or the name of this service")
	}
	if _, common := ranks()[strings.ToLower(password)]; common {
		return ErrPassword.About("common", "Password is too common")
	}
	if p.MinStrength > 0 && strength(password, words) < p.MinStrength {
		return ErrPassword.About("weak", "Password is too easy to guess: make it longer, or of several words that do not belong together")
	}
	return nil
}

// contextWords are the words that count of what is given, in lower case, the longest first.
func contextWords(given []string) (words []string) {
	add := func(word string) {
		if word = strings.ToLower(strings.TrimSpace(word)); utf8.RuneCountInString(word) >= minWord {
			words = append(words, word)
		}
	}
	for _, word := range given {
		add(word)
		if local, _, ok := strings.Cut(word, "@"); ok {
			add(local)
			word = local
		}
		for _, part := range strings.FieldsFunc(word, func(r rune) bool { return strings.ContainsRune(" .-_+'", r) }) {
			add(part)
		}
	}
	slices.SortFunc(words, func(a, b string) int { return cmp.Or(len(b)-len(a), strings.Compare(a, b)) })
	return slices.Compact(words)
}

// madeOf reports whether too little is left of the password without the words.
func madeOf(password string, words []string) bool {
	const taken = "\x00" // no password has it
	rest := strings.ToLower(password)
	for _, word := range words {
		rest = strings.ReplaceAll(rest, word, taken)
	}
	n := strings.Count(rest, taken)
	return n > 0 && utf8.RuneCountInString(rest)-n < MinPassword
}

// commonPasswords are those that the zxcvbn project counted, the most frequent first.
func commonPasswords() []string { return frequency.FrequencyLists["passwords"] }

// ranks are the passwords, words and names that the zxcvbn project counted, in lower case, with the place in the list
// where each is the most frequent. There are 30,000 passwords among them, of which 11,600 have eight characters or more.
var ranks = sync.OnceValue(func() map[string]int {
	all := make(map[string]int, 100_000)
	for _, list := range frequency.FrequencyLists {
		for i, word := range list {
			if before, ok := all[word]; !ok || i+1 < before {
				all[word] = i + 1
			}
		}
	}
	return all
})
