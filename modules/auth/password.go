package auth

import (
	"bytes"
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// PasswordOptions are the settings of Passwords. The zero value is usable.
type PasswordOptions struct {
	Cost    int           // bcrypt cost, 4 to 31; 12 if zero
	MaxWait time.Duration // who would wait longer for a turn is refused with ErrBusy at once; 3 s if zero
	Slots   int           // hashes at a time; runtime.GOMAXPROCS if zero
	Policy  Policy        // what may be a password

	Breach    BreachMode // what a BreachChecker decides; BreachOff if empty
	BreachURL string     // of the range API that is asked where there is no other BreachChecker; PwnedPasswords if empty
}

// Passwords hashes and verifies passwords: bcrypt over an HMAC under a pepper that is not in the database, so that
// neither length nor NUL bytes are lost on bcrypt, in a pool of one slot a core, so that hashing cannot starve the rest.
// It is safe for concurrent use.
//
// A hash reads $hb1$<pepper id>$<bcrypt of base64(HMAC-SHA-384(pepper, password))>. Hashes of other programs verify too:
// see CheckPasswordHash.
type Passwords struct {
	cost    int
	peppers peppers
	decoy   []byte
	pool    pool

	policy   Policy
	breaches breaches
	log      *slog.Logger
	whole    average // what a hash of the cost takes by itself
}

const scheme = "$hb1$"

// bcryptLength is how long everything is that bcrypt makes.
const bcryptLength = 60

// NewPasswords returns a pool. It fails for a cost that bcrypt does not know.
func NewPasswords(p PasswordParams) (*Passwords, error) {
	if p.Keys == nil {
		return nil, errors.New("auth: NewPasswords needs a keyring")
	}
	cost := cmp.Or(p.Options.Cost, 12)
	if cost < bcrypt.MinCost || cost > bcrypt.MaxCost { // bcrypt itself would quietly take its own default
		return nil, fmt.Errorf("auth: bcrypt cost %d: it must be %d to %d", cost, bcrypt.MinCost, bcrypt.MaxCost)
	}
	h := &Passwords{cost: cost, peppers: peppers{own: p.Peppers, secrets: p.Keys}}
	h.decoy = assembleDecoy(cost)
	h.pool.init(cmp.Or(max(p.Options.Slots, 0), runtime.GOMAXPROCS(0)), cmp.Or(p.Options.MaxWait, 3*time.Second), guessCost(cost))
	h.policy, h.log = p.Options.Policy, cmp.Or(p.Log, slog.Default()).With("module", "auth")
	h.whole.d = guessCost(cost)
	return h, h.breaches.init(p, h.log)
}

// Check says whether somebody may choose the password: by the Policy, then by the BreachChecker if there is one. The
// person's own words are their address and names. It may ask over the network: call it outside transactions. The error
// is an ErrPassword that says why, or ErrBreachCheck.
func (h *Passwords) Check(ctx context.Context, password string, own ...string) error {
	if err := h.policy.Check(password, own...); err != nil {
		return err
	}
	return h.breaches.check(ctx, password)
}

// Hash returns what to keep for the password. ErrBusy: the pool is full; ctx ends the wait for a turn.
func (h *Passwords) Hash(ctx context.Context, password string) ([]byte, error) {
	pepper := h.peppers.first()
	var hash []byte
	err := h.pool.run(ctx, func() (err error) {
		defer h.whole.since(time.Now())
		hash, err = bcrypt.GenerateFromPassword(mac(pepper, password), h.cost)
		return err
	})
	if err != nil {
		return nil, err
	}
	return append([]byte(scheme+pepper.ID+"$"), hash...), nil
}

// Verify reports whether hash was made from the password. A nil hash is nobody's: it costs what a wrong password costs
// and never fits. stale says that a hash which fits should be made anew, because cost or pepper have changed, or because
// another program made it.
func (h *Passwords) Verify(ctx context.Context, hash []byte, password string) (ok, stale bool, err error) {
	if other, err := parseLegacy(hash); err == nil {
		return h.verifyLegacy(ctx, other, password)
	} else if !errors.Is(err, errNotLegacy) {
		h.log.Error("a stored password hash of another program cannot be used: whose it is cannot sign in by it", "error", err)
		hash = nil // it is answered like a wrong password
	}
	pepper, bare, known := h.split(hash)
	if !known && hash != nil && !h.peppers.givenUp(pepperOf(hash)) {
		return false, false, errors.New("auth: a stored password hash is damaged, of too high a cost, or names a scheme or pepper that is not configured")
	}
	err = h.pool.run(ctx, func() error {
		start, sum := time.Now(), mac(pepper, password)
		err := bcrypt.CompareHashAndPassword(bare, sum)
		if errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
			cost, err := bcrypt.Cost(bare)
			if err == nil {
				err = h.payFrom(cost, sum)
			}
			h.whole.since(start)
			return err
		}
		ok = err == nil
		return err
	})
	if err != nil || !ok || !known {
		return false, false, err
	}
	cost, err := bcrypt.Cost(bare)
	return true, cost != h.cost || pepper.ID != h.peppers.first().ID, err
}

// Turns is how often a password was hashed or verified so far. Whoever must not be told apart costs the same number.
func (h *Passwords) Turns() int64 { return h.pool.turns.Load() }

// split takes a stored hash apart. Without one that can be used it returns the decoy.
func (h *Passwords) split(hash []byte) (pepper keyring.Key, bare []byte, known bool) {
	if name, bare, ok := cutOwn(hash); ok && checkOwn(bare, max(h.cost, maxLegacyCost)) == nil {
		if p, ok := h.peppers.named(name); ok {
			return p, bare, true
		}
	}
	return h.peppers.first(), h.decoy, false
}

// cutOwn takes a hash of ours apart, into the name of its pepper and what bcrypt made.
func cutOwn(hash []byte) (pepper string, bare []byte, ok bool) {
	rest, ok := bytes.CutPrefix(hash, []byte(scheme))
	name, bare, cut := bytes.Cut(rest, []byte("$"))
	return string(name), bare, ok && cut
}

// checkOwn says what is wrong with what bcrypt made, of which nothing beyond the cost is computed.
func checkOwn(bare []byte, most int) error {
	cost, err := bcrypt.Cost(bare)
	switch {
	case err != nil || len(bare) != bcryptLength:
		return errors.New("it is damaged")
	case cost > most:
		return fmt.Errorf("its bcrypt cost is %d, and at most %d is computed", cost, most)
	}
	return nil
}

// pepperOf is the name of the pepper that a stored hash was made under; empty: it names none.
func pepperOf(hash []byte) string {
	name, _, ok := cutOwn(hash)
	if !ok {
		return ""
	}
	return name
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
	text := make([]byte, bcryptLength-len("$2a$00$")) // 22 characters of salt, 31 of hash
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

// pool runs one hash a slot. Its queue is bounded by time, not by length, and nobody has all of it: who has more turns at once
// than there are slots waits for no longer in all than a third of what is left to others. So one client has a quarter of the
// queue at most, two have a fifth each, and there is room for whoever comes.
type pool struct {
	slots   chan struct{}
	maxWait time.Duration

	turns atomic.Int64 // given so far

	mu      sync.Mutex
	waiting int            // callers in the queue or in a slot
	of      map[string]int // how many of them are of one client, as turnsOf says
	took    time.Duration  // what a hash takes, a moving average
}

func (p *pool) init(slots int, maxWait, guess time.Duration) {
	p.slots, p.maxWait, p.took, p.of = make(chan struct{}, slots), maxWait, guess, map[string]int{}
}

func (p *pool) run(ctx context.Context, hash func() error) error {
	client := turnsOf(ctx)
	wait, fair := p.enter(client)
	defer p.leave(client)
	if wait > p.maxWait || !fair {
		return ErrBusy.After((wait + time.Second - 1).Truncate(time.Second))
	}
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
	return aside(func() error {
		start := time.Now()
		err := hash()
		p.measured(time.Since(start))
		return err
	})
}

// enter joins the queue and returns how long the turn is away, by the measured rate, and whether the client leaves enough of
// the queue to others.
func (p *pool) enter(client string) (wait time.Duration, fair bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting++
	slots := cap(p.slots)
	wait = time.Duration(max(0, p.waiting-slots)) * p.took / time.Duration(slots)
	if client == "" {
		return wait, true
	}
	p.of[client]++
	mine := p.of[client]
	return wait, mine <= slots || 3*time.Duration(mine)*p.took/time.Duration(slots) <= p.maxWait-wait
}

func (p *pool) leave(client string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.waiting--
	if client == "" {
		return
	}
	if p.of[client]--; p.of[client] == 0 {
		delete(p.of, client)
	}
}

func (p *pool) measured(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.took += (took - p.took) / 8
}

// average is a moving average of what something takes. It is safe for concurrent use.
type average struct {
	mu sync.Mutex
	d  time.Duration
}

func (a *average) since(start time.Time) {
	took := time.Since(start)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.d += (took - a.d) / 8
}

func (a *average) get() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.d
}
