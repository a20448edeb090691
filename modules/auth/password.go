package auth

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"
	"unicode/utf8"

	"github.com/nbutton23/zxcvbn-go/data"
	"golang.org/x/crypto/bcrypt"

	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// The limits of a password. Characters are Unicode code points (NIST SP 800-63B-4, 3.1.1.2).
const (
	MinPassword = 8
	MaxPassword = 256
)

// CheckPassword says whether somebody may choose the password: 8 to 256 characters, not one of the common ones, not
// one of the context words (such as the e-mail address), compared without regard to case. It is neither trimmed nor
// truncated nor normalised. The error is an ErrPassword whose message says why.
func CheckPassword(password string, context ...string) error {
	switch n := utf8.RuneCountInString(password); {
	case !utf8.ValidString(password):
		return ErrPassword.Msg("Password must be valid UTF-8 text")
	case strings.ContainsRune(password, 0):
		return ErrPassword.Msg("Password must not contain NUL characters")
	case n < MinPassword:
		return ErrPassword.Msg("Password is too short: at least %d characters", MinPassword)
	case n > MaxPassword:
		return ErrPassword.Msg("Password is too long: at most %d characters", MaxPassword)
	}
	for _, word := range context {
		if strings.EqualFold(password, word) {
			return ErrPassword.Msg("Password must not be your e-mail address")
		}
	}
	if commonPasswords()[strings.ToLower(password)] {
		return ErrPassword.Msg("Password is too common")
	}
	return nil
}

// commonPasswords are the passwords and English words that the zxcvbn project counted most often.
var commonPasswords = sync.OnceValue(func() map[string]bool {
	common := map[string]bool{}
	for _, name := range []string{"Passwords", "English"} {
		var file struct{ List []string }
		raw, err := data.Asset("data/" + name + ".json")
		if err == nil {
			err = json.Unmarshal(raw, &file)
		}
		if err != nil {
			panic(fmt.Sprintf("auth: the list of common passwords cannot be read: %v", err)) // it is compiled in
		}
		for _, word := range file.List {
			common[strings.ToLower(word)] = true
		}
	}
	return common
})

// PasswordOptions are the settings of Passwords. The zero value is usable.
type PasswordOptions struct {
	Cost    int           // bcrypt cost, 4 to 31; 12 if zero
	MaxWait time.Duration // who would wait longer for a turn is refused with ErrBusy at once; 3 s if zero
}

// Passwords hashes and verifies passwords: bcrypt over an HMAC under a pepper that is not in the database, so that
// neither length nor NUL bytes are lost on bcrypt, in a pool of one slot a core, so that hashing cannot starve the rest.
// It is safe for concurrent use.
//
// A hash reads $hb1$<pepper id>$<bcrypt of base64(HMAC-SHA-384(pepper, password))>.
type Passwords struct {
	cost    int
	peppers []keyring.Key // the first hashes, all verify
	decoy   []byte
	pool    pool
}

const scheme = "$hb1$"

// NewPasswords returns a pool. It fails for a cost that bcrypt does not know.
func NewPasswords(p PasswordParams) (*Passwords, error) {
	if p.Keys == nil {
		return nil, errors.New("auth: NewPasswords needs a keyring")
	}
	cost := cmp.Or(p.Options.Cost, 12)
	if cost < bcrypt.MinCost || cost > bcrypt.MaxCost { // bcrypt itself would quietly take its own default
		return nil, fmt.Errorf("auth: bcrypt cost %d: it must be %d to %d", cost, bcrypt.MinCost, bcrypt.MaxCost)
	}
	h := &Passwords{cost: cost, peppers: p.Keys.Keys(keyring.Pepper)}
	h.decoy = assembleDecoy(cost)
	h.pool.init(runtime.GOMAXPROCS(0), cmp.Or(p.Options.MaxWait, 3*time.Second), guessCost(cost))
	return h, nil
}

// Hash returns what to keep for the password. ErrBusy: the pool is full; ctx ends the wait for a turn.
func (h *Passwords) Hash(ctx context.Context, password string) ([]byte, error) {
	pepper := h.peppers[0]
	var hash []byte
	err := h.pool.run(ctx, func() (err error) {
		hash, err = bcrypt.GenerateFromPassword(mac(pepper, password), h.cost)
		return err
	})
	if err != nil {
		return nil, err
	}
	return append([]byte(scheme+pepper.ID+"$"), hash...), nil
}

// Verify reports whether hash was made from the password. A nil hash is nobody's: it costs what a wrong password costs
// and never fits. stale says that a hash which fits should be made anew, because cost or pepper have changed.
func (h *Passwords) Verify(ctx context.Context, hash []byte, password string) (ok, stale bool, err error) {
	pepper, bare, known := h.split(hash)
	if !known && hash != nil {
		return false, false, errors.New("auth: a stored password hash names a scheme or pepper that is not configured")
	}
	err = h.pool.run(ctx, func() error {
		sum := mac(pepper, password)
		err := bcrypt.CompareHashAndPassword(bare, sum)
		if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
			return h.payDifference(bare, sum)
		}
		ok = err == nil
		return err
	})
	if err != nil || !ok || !known {
		return false, false, err
	}
	cost, err := bcrypt.Cost(bare)
	return true, cost != h.cost || pepper.ID != h.peppers[0].ID, err
}

// Turns is how often a password was hashed or verified so far. Whoever must not be told apart costs the same number.
func (h *Passwords) Turns() int64 { return h.pool.turns.Load() }

// payDifference makes a wrong password for an account with a cheaper hash cost what one for an unknown account costs,
// which pays for the configured cost: 2^n + (2^n + 2^(n+1) + … + 2^(m-1)) = 2^m.
func (h *Passwords) payDifference(bare, sum []byte) error {
	cost, err := bcrypt.Cost(bare)
	for ; err == nil && cost < h.cost; cost++ {
		if err = bcrypt.CompareHashAndPassword(assembleDecoy(cost), sum); errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
			err = nil
		}
	}
	return err
}

// split takes a stored hash apart. Without one it returns the decoy.
func (h *Passwords) split(hash []byte) (pepper keyring.Key, bare []byte, known bool) {
	if rest, ok := bytes.CutPrefix(hash, []byte(scheme)); ok {
		name, bare, _ := bytes.Cut(rest, []byte("$"))
		for _, p := range h.peppers {
			if p.ID == string(name) {
				return p, bare, true
			}
		}
	}
	return h.peppers[0], h.decoy, false
}

func mac(pepper keyring.Key, password string) []byte {
	m := hmac.New(sha512.New384, pepper.Bytes)
	m.Write([]byte(password))
	return base64.StdEncoding.AppendEncode(nil, m.Sum(nil)) // 64 bytes, none of them NUL: bcrypt takes 72
}

// assembleDecoy writes a bcrypt hash that costs as much as a real one and that no known password fits. Computing a
// real one would delay every start by a hash.
func assembleDecoy(cost int) []byte {
	const bcryptAlphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	text := make([]byte, 53) // 22 characters of salt, 31 of hash
	rand.Read(text)
	for i, b := range text {
		text[i] = bcryptAlphabet[b%64]
	}
	return append(fmt.Appendf(nil, "$2a$%02d$", cost), text...)
}

// guessCost is what a hash takes until the pool has measured one.
func guessCost(cost int) time.Duration {
	return time.Duration(55 * float64(time.Millisecond) * math.Pow(2, float64(cost-10)))
}

// pool runs one hash a slot. Its queue is bounded by time, not by length.
type pool struct {
	slots   chan struct{}
	maxWait time.Duration

	turns atomic.Int64 // given so far

	mu      sync.Mutex
	waiting int           // callers in the queue or in a slot
	took    time.Duration // what a hash takes, a moving average
}

func (p *pool) init(slots int, maxWait, guess time.Duration) {
	p.slots, p.maxWait, p.took = make(chan struct{}, slots), maxWait, guess
}

func (p *pool) run(ctx context.Context, hash func() error) error {
	if wait := p.enter(); wait > p.maxWait {
		p.leave()
		return ErrBusy.After((wait + time.Second - 1).Truncate(time.Second))
	}
	defer p.leave()
	select {
	case p.slots <- struct{}{}: // callers in line are served first come, first served
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-p.slots }()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	p.turns.Add(1)
	start := time.Now()
	err := hash()
	p.measured(time.Since(start))
	return err
}

// enter joins the queue and returns how long the turn is away, by the measured rate.
func (p *pool) enter() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting++
	ahead := max(0, p.waiting-cap(p.slots))
	return time.Duration(ahead) * p.took / time.Duration(cap(p.slots))
}

func (p *pool) leave() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting--
}

func (p *pool) measured(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.took += (took - p.took) / 8
}
