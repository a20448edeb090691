package webhook

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"time"
)

// Secret is what an endpoint's requests are signed with. Printed, logged or encoded it does not show itself: Reveal does.
type Secret struct{ key []byte }

// secretSize is the length of a secret, in bytes; Standard Webhooks wants 24 to 64.
const secretSize = 32

func newSecret() Secret {
	key := make([]byte, secretSize)
	rand.Read(key)
	return Secret{key}
}

// Reveal is the secret as receivers are given it: whsec_ and base64.
func (s Secret) Reveal() string { return "whsec_" + base64.StdEncoding.EncodeToString(s.key) }

// String shows nothing.
func (Secret) String() string { return "whsec_…" }

// GoString is String.
func (s Secret) GoString() string { return s.String() }

// LogValue is String, for slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// sign is the signature of a message that is sent at a time.
func (s Secret) sign(id string, at time.Time, body []byte) string {
	m := hmac.New(sha256.New, s.key)
	fmt.Fprintf(m, "%s.%d.", id, at.Unix())
	m.Write(body)
	return "v1," + base64.StdEncoding.EncodeToString(m.Sum(nil))
}

// signed are the headers of a message, signed with each of the secrets.
func signed(secrets []Secret, id string, at time.Time, body []byte) map[string]string {
	signatures := make([]string, len(secrets))
	for i, s := range secrets {
		signatures[i] = s.sign(id, at, body)
	}
	return map[string]string{
		"webhook-id": id, "webhook-timestamp": strconv.FormatInt(at.Unix(), 10), "webhook-signature": strings.Join(signatures, " "),
	}
}
