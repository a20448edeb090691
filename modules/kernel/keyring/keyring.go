// Package keyring derives every key from a list of master secrets by HKDF (RFC 5869), one key per purpose, so that
// no token made for one purpose passes for another.
//
// The first secret signs, all of them verify. To rotate, append the new secret everywhere, then move it to the front,
// and drop the old one when nothing made with it is alive.
package keyring

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
)

// MinSecret is the least length of a master secret, in bytes.
const MinSecret = 32

// Purpose names what a key is for; it is the HKDF info string and never changes once released.
type Purpose string

// The purposes.
const (
	AccessToken Purpose = "latchkey access token v1"
	Invite      Purpose = "latchkey invite v1"
	Reset       Purpose = "latchkey password reset v1"
	EmailChange Purpose = "latchkey e-mail change v1"
	Pepper      Purpose = "latchkey password pepper v1"
	Device      Purpose = "latchkey known device v1"
)

// Key is one derived key and the name by which what it made finds it again.
type Key struct {
	ID    string // eight base64url characters, derived from the key and revealing nothing of it
	Bytes []byte // 32 bytes
}

// Ring is a list of master secrets. It is safe for concurrent use.
type Ring struct{ secrets [][]byte }

// New returns the ring of the secrets, the first of which signs. It fails if there is none or one is shorter than MinSecret.
func New(secrets ...[]byte) (*Ring, error) {
	if len(secrets) == 0 {
		return nil, fmt.Errorf("keyring: no secret: at least one of %d bytes is needed", MinSecret)
	}
	r := &Ring{}
	for i, s := range secrets {
		if len(s) < MinSecret {
			return nil, fmt.Errorf("keyring: secret %d has %d bytes: at least %d are needed", i+1, len(s), MinSecret)
		}
		r.secrets = append(r.secrets, bytes.Clone(s))
	}
	return r, nil
}

// String says how many secrets there are and nothing else.
func (r *Ring) String() string { return fmt.Sprintf("keyring of %d secrets", len(r.secrets)) }

// GoString is String.
func (r *Ring) GoString() string { return r.String() }

// LogValue is String, for slog.
func (r *Ring) LogValue() slog.Value { return slog.StringValue(r.String()) }

// String is the key's name and nothing else.
func (k Key) String() string { return "key " + k.ID }

// GoString is String.
func (k Key) GoString() string { return k.String() }

// LogValue is String, for slog.
func (k Key) LogValue() slog.Value { return slog.StringValue(k.String()) }

// Keys derives the purpose's key from every secret, in the ring's order: the first is for making, all are for checking.
func (r *Ring) Keys(p Purpose) []Key {
	keys := make([]Key, len(r.secrets))
	for i, secret := range r.secrets {
		keys[i] = Key{ID: keyID(derive(secret, string(p)+" id")), Bytes: derive(secret, string(p))}
	}
	return keys
}

func derive(secret []byte, info string) []byte {
	key, err := hkdf.Key(sha256.New, secret, nil, info, 32)
	if err != nil {
		panic(err) // only for a length HKDF cannot give, and 32 is none
	}
	return key
}

func keyID(derived []byte) string { return base64.RawURLEncoding.EncodeToString(derived[:6]) }
