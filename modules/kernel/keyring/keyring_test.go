package keyring_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

func secret(c byte) []byte { return bytes.Repeat([]byte{c}, keyring.MinSecret) }

func ring(t *testing.T, secrets ...[]byte) *keyring.Ring {
	t.Helper()
	r, err := keyring.New(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestRingNeedsSecretsOfSomeLength(t *testing.T) {
	for name, c := range map[string]struct {
		secrets [][]byte
		says    string
	}{
		"none":         {nil, "no secret"},
		"nil":          {[][]byte{nil}, "secret 1 has 0 bytes"},
		"short":        {[][]byte{secret('a')[:31]}, "secret 1 has 31 bytes"},
		"second short": {[][]byte{secret('a'), []byte("squeamish ossifrage")}, "secret 2 has 19 bytes"},
	} {
		r, err := keyring.New(c.secrets...)
		if r != nil || err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, %v, want an error that says %q", name, r, err, c.says)
		}
		if err != nil && strings.Contains(err.Error(), "ossifrage") {
			t.Errorf("%s: the error shows the secret: %v", name, err)
		}
	}
	ring(t, secret('a'), bytes.Repeat([]byte{'b'}, 100))
}

var purposes = []keyring.Purpose{keyring.AccessToken, keyring.Invite, keyring.Reset, keyring.EmailChange, keyring.Pepper, keyring.Seal, keyring.Fingerprint, "another"}

func TestEachPurposeAndSecretHasItsOwnKey(t *testing.T) {
	keys, names := map[string]string{}, map[string]string{}
	for _, c := range []byte("abc") {
		for _, p := range purposes {
			k, who := ring(t, secret(c)).Keys(p)[0], string(c)+", "+string(p)
			if len(k.Bytes) != 32 {
				t.Errorf("%s: %d bytes, want 32", who, len(k.Bytes))
			}
			if b, err := base64.RawURLEncoding.DecodeString(k.ID); err != nil || len(b) != 6 {
				t.Errorf("%s: name %q, want eight base64url characters", who, k.ID)
			}
			if other := keys[string(k.Bytes)]; other != "" {
				t.Errorf("%s and %s share a key", who, other)
			}
			if other := names[k.ID]; other != "" {
				t.Errorf("the keys of %s and %s share a name", who, other)
			}
			keys[string(k.Bytes)], names[k.ID] = who, who
			if bytes.Contains(k.Bytes, secret(c)[:8]) || bytes.HasPrefix(k.Bytes, mustDecode(t, k.ID)) {
				t.Errorf("%s: the key shows the secret, or its name the key", who)
			}
		}
	}
}

func mustDecode(t *testing.T, s string) []byte {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestKeysComeInTheOrderOfTheSecretsAndDoNotDependOnTheOthers(t *testing.T) {
	for _, p := range purposes {
		a, b := ring(t, secret('a')).Keys(p)[0], ring(t, secret('b')).Keys(p)[0]
		if got := ring(t, secret('a'), secret('b')).Keys(p); !reflect.DeepEqual(got, []keyring.Key{a, b}) {
			t.Errorf("%s: %v, want a's and b's", p, got)
		}
		if got := ring(t, secret('b'), secret('a')).Keys(p); !reflect.DeepEqual(got, []keyring.Key{b, a}) {
			t.Errorf("%s: %v, want b's and a's", p, got)
		}
	}
}

// What was signed before an upgrade must still verify after it: these never change. They were worked out by another
// implementation of RFC 5869.
func TestKeysStayTheSameFromReleaseToRelease(t *testing.T) {
	r := ring(t, secret('a'))
	for p, want := range map[keyring.Purpose]string{
		keyring.AccessToken: "ddCmrlGj 4c48ec44e8d4d1317855ecb1836b0d0a3fa06f3848031ed46fc991bf3b32847e",
		keyring.Invite:      "_9fdxKS5 52a969da8f4d8fae8b840b5f7b858ac3da93524a997f0e5777aa4ac0caf7d6b2",
		keyring.Pepper:      "flXYrYvP 33730ca58f2c9dd684c7600abdd54dcb0e4d4051295dcadd4de875b5a6ea2149",
	} {
		k := r.Keys(p)[0]
		if got := k.ID + " " + hex.EncodeToString(k.Bytes); got != want {
			t.Errorf("%s: %s, want %s", p, got, want)
		}
	}
}

func TestRingDoesNotChangeWithWhatItWasMadeOf(t *testing.T) {
	s := secret('a')
	r := ring(t, s)
	before := r.Keys(keyring.Invite)
	clear(s)
	if got := r.Keys(keyring.Invite); !reflect.DeepEqual(got, before) {
		t.Error("clearing the secret that it was given changed the ring")
	}
}
