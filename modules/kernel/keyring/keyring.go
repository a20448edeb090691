// Package keyring derives every key from a list of master secrets by HKDF (RFC 5869), one key per purpose, so that
// no token made for one purpose passes for another.
//
// The first secret signs, all of them verify. To rotate, append the new secret everywhere, then move it to the front,
// and drop the old one when nothing made with it is alive. A ring that was opened on a Source does so while it is in use:
// ask it for keys whenever one is needed, and keep none.
package keyring

import (
	"bytes"
	"crypto/hkdf"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// MinSecret is the least length of a master secret, in bytes.
const MinSecret = 32

// Purpose names what a key is for; it is the HKDF info string and never changes once released.
type Purpose string

// The purposes.
const (
	AccessToken  Purpose = "latchkey access token v1"
	Invite       Purpose = "latchkey invite v1"
	Reset        Purpose = "latchkey password reset v1"
	EmailChange  Purpose = "latchkey e-mail change v1"
	Verification Purpose = "latchkey e-mail verification v1"
	SignInMail   Purpose = "latchkey mailed sign-in v1"
	Flow         Purpose = "latchkey sign-in flow v1" // encrypts what a sign-in of two steps keeps until the second
	Pepper       Purpose = "latchkey password pepper v1"
	Device       Purpose = "latchkey known device v1"
	Seal         Purpose = "latchkey stored secret v1"      // encrypts what is kept in the database and must be read again
	Fingerprint  Purpose = "latchkey secret fingerprint v1" // tells the secret itself apart from others; its ID names the secret
)

// Key is one derived key and the name by which what it made finds it again.
type Key struct {
	ID    string // eight base64url characters, derived from the key and revealing nothing of it
	Bytes []byte // 32 bytes; shared by all who ask, so not to be changed
}

// Ring is a list of master secrets. It is safe for concurrent use.
type Ring struct {
	now    atomic.Pointer[list]
	source Source // nil: it never changes
	log    *slog.Logger

	began  time.Time    // for times that no clock can set back
	looked atomic.Int64 // when it was last asked whether the source has changed, from began
	reload reload
}

// list is the secrets of one moment, with what was derived from them.
type list struct {
	secrets [][]byte
	keys    sync.Map // Purpose → []Key
}

// New returns the ring of the secrets, the first of which signs. It fails if there is none or one is shorter than MinSecret.
func New(secrets ...[]byte) (*Ring, error) {
	if err := check(secrets); err != nil {
		return nil, err
	}
	r := &Ring{began: time.Now()}
	r.now.Store(newList(secrets))
	return r, nil
}

func check(secrets [][]byte) error {
	if len(secrets) == 0 {
		return fmt.Errorf("keyring: no secret: at least one of %d bytes is needed", MinSecret)
	}
	for i, s := range secrets {
		if len(s) < MinSecret {
			return fmt.Errorf("keyring: secret %d has %d bytes: at least %d are needed", i+1, len(s), MinSecret)
		}
	}
	return nil
}

func newList(secrets [][]byte) *list {
	l := &list{}
	for _, s := range secrets {
		l.secrets = append(l.secrets, bytes.Clone(s))
	}
	return l
}

// String says how many secrets there are and nothing else.
func (r *Ring) String() string {
	return fmt.Sprintf("keyring of %d secrets", len(r.now.Load().secrets))
}

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

// Keys are the purpose's keys, one from every secret, in the ring's order: the first is for making, all are for checking.
// They are those of now: do not keep them.
func (r *Ring) Keys(p Purpose) []Key {
	r.look()
	return r.now.Load().of(p)
}

// Find returns the purpose's key that is wanted. If there is none, the secrets may have changed: they are read once more
// before it gives up.
func (r *Ring) Find(p Purpose, wanted func(Key) bool) (Key, bool) {
	for l := r.now.Load(); ; l = r.now.Load() {
		for _, k := range l.of(p) {
			if wanted(k) {
				return k, true
			}
		}
		if !r.reconsider(l) {
			return Key{}, false
		}
	}
}

// Named is Find by the key's name.
func (r *Ring) Named(p Purpose, id string) (Key, bool) {
	return r.Find(p, func(k Key) bool { return k.ID == id })
}

func (l *list) of(p Purpose) []Key {
	if keys, ok := l.keys.Load(p); ok {
		return keys.([]Key)
	}
	keys := make([]Key, len(l.secrets))
	for i, secret := range l.secrets {
		keys[i] = Key{ID: keyID(derive(secret, string(p)+" id")), Bytes: derive(secret, string(p))}
	}
	l.keys.Store(p, keys)
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
