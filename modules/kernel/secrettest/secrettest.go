// Package secrettest finds secrets where none may be, such as in the log that a test has collected.
//
//	t.Cleanup(func() { secrettest.Look(t, "the log", log.String()) })
package secrettest

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"
	"testing"
)

// shapes are what gives a secret away, whoever's it is. The passwords are those that tests use throughout.
var shapes = map[string]*regexp.Regexp{
	"a token":                regexp.MustCompile(`eyJ[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+`),
	"the hash of a password": regexp.MustCompile(`\$hb1\$|\$2[abxy]\$\d\d\$|\$argon2|\$scrypt\$|\$pbkdf2`),
	"a password":             regexp.MustCompile(`(?i)correct (horse|battery)|battery staple`),
	"a password in a URL":    regexp.MustCompile(`[a-z]+://[^\s/@:"]+:([^x\s/@"][^\s/@"]*|x{1,4}|x{6,})@`), // written xxxxx, it is none
}

// Find returns what in the text looks like a secret: what it is, and its line.
func Find(text string) (found []string) {
	for line := range strings.Lines(text) {
		for what, shape := range shapes {
			if shape.MatchString(line) {
				found = append(found, what+": "+strings.TrimSpace(line))
			}
		}
	}
	return found
}

// Look fails the test for each line that Find finds.
func Look(tb testing.TB, where, text string) {
	tb.Helper()
	for _, f := range Find(text) {
		tb.Errorf("%s holds %s", where, f)
	}
}

// Secrets are known ones, each by what it is.
type Secrets map[string]string

// In returns what of the secrets is in the text, as it is or as a program might have written it.
func (s Secrets) In(text string) (found []string) {
	for what, secret := range s {
		if secret == "" {
			continue
		}
		quoted, err := json.Marshal(secret)
		if err != nil {
			quoted = nil // a text has always a JSON form
		}
		for _, form := range []string{
			secret, strings.Trim(string(quoted), `"`), url.QueryEscape(secret), url.PathEscape(secret), hex.EncodeToString([]byte(secret)),
			base64.StdEncoding.EncodeToString([]byte(secret)), base64.RawURLEncoding.EncodeToString([]byte(secret)),
		} {
			if strings.Contains(text, form) {
				found = append(found, what)
				break
			}
		}
	}
	return found
}
