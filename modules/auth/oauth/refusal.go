package oauth

import (
	"encoding/base64"
	"net/url"
	"strings"
	"unicode"
)

// mend is what an operator can do about the errors by which token endpoints refuse a client (RFC 6749, 5.2, and GitHub's).
var mend = map[string]string{
	"invalid_client":               "client_id or client_secret is wrong, or the vendor wants the secret sent in another way",
	"incorrect_client_credentials": "client_id or client_secret is wrong",
	"unauthorized_client":          "this client may not sign people in by an authorization code there: allow it where the client is registered",
	"unsupported_grant_type":       "the vendor takes no authorization codes at this address",
	"invalid_scope":                "scopes has one that the vendor does not know, or does not give to this client",
	"invalid_request":              "the vendor misses something in the request, or wants something not to be there",
	"redirect_uri_mismatch":        "the callback address is not registered there as it is sent",
	"application_suspended":        "the vendor has suspended this client",
}

const (
	maxSaid = 200 // characters of a description
	maxRead = 4 << 10
	telling = 8 // bytes of a secret in a row are too many
)

// Refusal is what a log may have of the error by which a token endpoint refuses a client: which it is, what to mend, and what the vendor
// says of it, on one line, clipped, and not at all if any of the secrets is in it. It is empty for an error that vendors do not have in common.
func Refusal(code, description string, secrets ...string) string {
	what, ok := mend[code]
	if !ok {
		return ""
	}
	said := description[:min(len(description), maxRead)]
	line := strings.Join(strings.FieldsFunc(strings.ToValidUTF8(said, " "), func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) }), " ")
	switch {
	case line == "":
		return code + ": " + what
	case tells(said, secrets) || tells(line, secrets):
		return code + ": " + what + "; what it says is left out, as there is a secret in it"
	}
	if shown := []rune(line); len(shown) > maxSaid {
		line = string(shown[:maxSaid]) + "…"
	}
	return code + ": " + what + "; it says: " + line
}

// tells reports whether a text holds a part of a secret, in one of the spellings in which it was sent.
func tells(text string, secrets []string) bool {
	text = strings.ToLower(text)
	for _, secret := range secrets {
		for _, spelt := range append(inBase64(url.QueryEscape(secret)), secret, url.QueryEscape(secret), base64.StdEncoding.EncodeToString([]byte(secret))) {
			spelt = strings.ToLower(spelt)
			for at := 0; at+min(telling, len(spelt)) <= len(spelt) && spelt != ""; at++ {
				if strings.Contains(text, spelt[at:at+min(telling, len(spelt))]) {
					return true
				}
			}
		}
	}
	return false
}

// inBase64 is how a text is spelt behind another, such as a secret behind the client's ID in a header, by how many bytes of three that has.
func inBase64(text string) (all []string) {
	for before, mixed := range []int{0, 2, 3} { // characters that depend on what is in front
		spelt := base64.RawStdEncoding.EncodeToString([]byte("\x00\x00"[:before] + text))
		if spelt = spelt[mixed:]; len(spelt) >= telling { // less would be in every other sentence
			all = append(all, spelt)
		}
	}
	return all
}
