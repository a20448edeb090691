package console

import (
	"regexp"
	"strings"

	"github.com/latchkey-go/latchkey/modules/kernel/email"
)

// addressee is one of a list that somebody typed or pasted.
type addressee struct {
	Typed   string // as it was, with the name
	Address string // what is, or should be, an e-mail address in it
}

// addresseesOf reads a list: separated by lines, commas, semicolons or tabs, with names around the addresses as mail programs write
// them. Each address is there once. What is no address is there, too: why it is none is said where it is refused.
func addresseesOf(list string) (found []addressee) {
	seen := map[string]bool{}
	for line := range strings.FieldsFuncSeq(list, func(r rune) bool { return r == '\n' || r == '\r' }) {
		for _, item := range itemsOf(line) {
			for _, a := range readAddressees(item) {
				key := strings.ToLower(a.Address)
				if canonical, err := email.Canonical(a.Address); err == nil {
					key = canonical
				}
				if !seen[key] {
					seen[key] = true
					found = append(found, a)
				}
			}
		}
	}
	return found
}

// itemsOf takes a line apart, but not within quotes or angle brackets, nor at the comma of Lovelace, Ada <ada@example.com>.
func itemsOf(line string) (items []string) {
	quotes := strings.Count(line, `"`)%2 == 0 // or else they are no quotes
	quoted, bracketed, from := false, false, 0
	for i, r := range line + "\t" { // the end of the last
		switch {
		case r == '"' && quotes && !bracketed:
			quoted = !quoted
		case r == '<' && !quoted:
			bracketed = strings.Contains(line[i:], ">")
		case r == '>' && !quoted:
			bracketed = false
		case strings.ContainsRune(",;\t", r) && (!quoted && !bracketed || i == len(line)):
			item := strings.TrimSpace(line[from:i])
			if r == ',' && aName.MatchString(item) && restOfName.MatchString(line[i+1:]) {
				continue
			}
			if item != "" {
				items = append(items, item)
			}
			from = i + 1
		}
	}
	return items
}

var (
	aName      = regexp.MustCompile(`^[\pL\pM' -]+$`)
	restOfName = regexp.MustCompile(`^[^,;\t<>@"]+<`)
)

// readAddressees is the addressee of an item; several, if it is nothing but addresses with spaces between them. Of other words
// with spaces none is taken for the address: "ada lovelace@example.com" was to be one, and the last word is somebody else's.
func readAddressees(item string) []addressee {
	if begins := strings.LastIndexByte(item, '<'); begins >= 0 && strings.HasSuffix(item, ">") {
		return []addressee{{item, strings.TrimSpace(item[begins+1 : len(item)-1])}}
	}
	words := strings.Fields(item)
	for _, w := range words {
		if !strings.Contains(w[1:], "@") {
			return []addressee{{item, item}}
		}
	}
	found := make([]addressee, len(words))
	for i, w := range words {
		found[i] = addressee{w, w}
	}
	return found
}
