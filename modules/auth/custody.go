package auth

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// Custody looks after the keys for as long as something hangs on them. In the database it keeps what tells the secrets and
// peppers that have served it apart from others, so that nobody starts with the wrong ones; the peppers that derive from a
// secret, encrypted under all secrets there are, so that a secret can go and its pepper stays; and which secrets each
// server has, so that a new one signs only when all can verify. It is safe for concurrent use.
type Custody struct {
	store     store
	db        *database.DB
	keys      *keyring.Ring
	passwords *Passwords
	log       *slog.Logger
	node      nodeRow

	mu     sync.Mutex
	opened []string // the names of the secrets and peppers it was last opened with; nil: not yet
}

// The kinds of what has a fingerprint.
const (
	kindSecret = "secret"
	kindPepper = "pepper"
)

const (
	beatEvery = 20 * time.Second // how often a server says that it is up
	nodeAlive = time.Minute      // how long it counts as up without
	nodeGone  = time.Hour        // when others forget it
)

// NewCustody returns the custody of the keys, which is not open yet.
func NewCustody(p CustodyParams) (*Custody, error) {
	if p.DB == nil || p.Keys == nil || p.Passwords == nil {
		return nil, errors.New("auth: NewCustody needs a database, a keyring and the passwords")
	}
	name, err := os.Hostname()
	if err != nil {
		name = "a host without a name"
	}
	return &Custody{
		store: store{p.DB}, db: p.DB, keys: p.Keys, passwords: p.Passwords, log: cmp.Or(p.Log, slog.Default()).With("module", "auth"),
		node: nodeRow{ID: rand.Text(), Name: fmt.Sprintf("%s, process %d", clip(name, 128), os.Getpid()), StartedAt: database.Now()},
	}, nil
}

// KeysError says that this database needs secrets or peppers that are not there.
type KeysError struct {
	Held    []string       // the names of the secrets there are
	Served  []string       // the names of those that this database has been served with, if none of them is there
	Peppers map[string]int // the peppers that are missing, by name, and how many people's passwords each would lock out
}

func (e *KeysError) Error() string {
	var says []string
	if len(e.Served) > 0 {
		says = append(says, fmt.Sprintf("this database has been served with the secrets %s, and none of them is there, but %s: every token made so far would be void",
			strings.Join(e.Served, ", "), strings.Join(e.Held, ", ")))
	}
	for _, pepper := range slices.Sorted(maps.Keys(e.Peppers)) {
		says = append(says, fmt.Sprintf("the pepper %s is missing, and nobody could sign in whose password hangs on it: %d", pepper, e.Peppers[pepper]))
	}
	return strings.Join(says, "; ")
}

func (e *KeysError) any() bool { return len(e.Served) > 0 || len(e.Peppers) > 0 }

// Open makes sure that the secrets and peppers are those that this database needs, and takes note of the new ones. Nothing
// may sign or hash before. If something is missing that others hang on, the error is a *KeysError; forced, it is given up
// instead, and whose password hung on it must set a new one.
func (c *Custody) Open(ctx context.Context, force bool) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := c.hold()
	var kept *keptPeppers
	err := c.db.InTx(ctx, func(ctx context.Context) (err error) {
		kept, err = c.open(ctx, held, force)
		return err
	})
	if err != nil {
		return err
	}
	c.passwords.peppers.kept.Store(kept)
	c.opened = held.names()
	return nil
}

// openOnce is Open for who has not done so.
func (c *Custody) openOnce(ctx context.Context) error {
	c.mu.Lock()
	opened := c.opened != nil
	c.mu.Unlock()
	if opened {
		return nil
	}
	return c.Open(ctx, false)
}

// holding is what there is at one moment. The keys of one secret have the same place in each list.
type holding struct {
	secrets, seals, derived []keyring.Key
	own                     []keyring.Key // the list of peppers; empty: there is none
}

func (c *Custody) hold() holding {
	still := c.keys.Still()
	return holding{still.Keys(keyring.Fingerprint), still.Keys(keyring.Seal), still.Keys(keyring.Pepper), c.passwords.peppers.list()}
}

func (h holding) names() []string { return append(named(h.secrets), named(h.own)...) }

func named(keys []keyring.Key) []string {
	names := make([]string, len(keys))
	for i, k := range keys {
		names[i] = k.ID
	}
	return names
}

// fingerprint is an HMAC of a constant: it tells a secret or pepper apart and reveals nothing of it.
func fingerprint(k keyring.Key) string {
	m := hmac.New(sha256.New, k.Bytes)
	m.Write([]byte("latchkey fingerprint v1"))
	return hex.EncodeToString(m.Sum(nil))
}

func (c *Custody) open(ctx context.Context, h holding, force bool) (*keptPeppers, error) {
	fresh, err := c.store.originate(ctx, kindSecret, fingerprint(h.secrets[0])) // of several that start at once, one makes the database
	if err == nil {
		err = c.store.lockOrigin(ctx, kindSecret) // one after the other, so that nobody waits for who waits for them
	}
	if err != nil {
		return nil, err
	}
	known, err := c.store.fingerprints(ctx)
	if err != nil {
		return nil, err
	}

	kept, err := c.unseal(ctx, h)
	if err != nil {
		return nil, err
	}
	needed, err := c.needed(ctx, fresh, known)
	if err != nil {
		return nil, err
	}
	if fresh {
		for pepper := range needed {
			if i := slices.IndexFunc(h.derived, is(pepper)); i >= 0 {
				kept = with(kept, h.derived[i])
			}
		}
	}
	available := slices.Concat(h.own, kept, h.derived)
	lost, err := c.lost(ctx, h, fresh, known, needed, available)
	if err != nil {
		return nil, err
	}
	if lost.any() && !force {
		return nil, lost
	}

	makes := h.own
	if len(h.own) == 0 {
		if kept, err = c.pin(ctx, h, kept); err != nil {
			return nil, err
		}
		makes = kept
	}
	for _, pepper := range kept {
		for i, secret := range h.secrets {
			if err := c.store.putSeal(ctx, pepper.ID, secret.ID, h.seals[i].Seal(pepper.Bytes, pepper.ID)); err != nil {
				return nil, err
			}
		}
	}
	if err := c.store.putFingerprints(ctx, kindSecret, h.secrets); err != nil {
		return nil, err
	}
	if err := c.store.putFingerprints(ctx, kindPepper, slices.Concat(makes[:1], kept)); err != nil {
		return nil, err
	}
	if err := c.store.markSigning(ctx, fingerprint(h.secrets[0])); err != nil {
		return nil, err
	}
	if err := c.store.giveUp(ctx, slices.Sorted(maps.Keys(lost.Peppers)), named(available)); err != nil {
		return nil, err
	}
	given, err := c.store.givenUp(ctx)
	return &keptPeppers{kept, given}, err
}

// needed are the names of the peppers that passwords may hang on. Of a database that no secret has served so far, perhaps of
// before there were fingerprints, they are those in use.
func (c *Custody) needed(ctx context.Context, fresh bool, known knownFingerprints) (map[string]bool, error) {
	needed := known.needed()
	if !fresh {
		return needed, nil
	}
	used, err := c.store.peopleByPepper(ctx)
	for pepper := range used {
		needed[pepper] = true
	}
	return needed, err
}

// lost is what others hang on and h does not have.
func (c *Custody) lost(ctx context.Context, h holding, fresh bool, known knownFingerprints, needed map[string]bool, available []keyring.Key) (*KeysError, error) {
	lost := &KeysError{Held: named(h.secrets), Peppers: map[string]int{}}
	if !fresh && !known.any(h.secrets) {
		lost.Served = known.names(kindSecret)
	}
	missing := maps.Clone(needed)
	maps.DeleteFunc(missing, func(pepper string, _ bool) bool { return slices.ContainsFunc(available, is(pepper)) })
	if len(missing) == 0 {
		return lost, nil
	}
	used, err := c.store.peopleByPepper(ctx)
	for pepper := range missing {
		if used[pepper] > 0 {
			lost.Peppers[pepper] = used[pepper]
		}
	}
	return lost, err
}

func is(id string) func(keyring.Key) bool {
	return func(k keyring.Key) bool { return k.ID == id }
}

func with(keys []keyring.Key, k keyring.Key) []keyring.Key {
	if slices.ContainsFunc(keys, is(k.ID)) {
		return keys
	}
	return append(keys, k)
}

// unseal opens the peppers that are kept in the database, as far as there is a secret that does.
func (c *Custody) unseal(ctx context.Context, h holding) (kept []keyring.Key, err error) {
	rows, err := c.store.seals(ctx)
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		i := slices.IndexFunc(h.secrets, is(r.Secret))
		if i < 0 || slices.ContainsFunc(kept, is(r.Pepper)) {
			continue
		}
		pepper, err := h.seals[i].Open(r.Sealed, r.Pepper)
		if err != nil {
			c.log.Error("a pepper in the database cannot be opened by the secret that it is kept under", "pepper", r.Pepper, "secret", r.Secret)
			continue // another secret may open it; without, it counts as missing
		}
		kept = append(kept, keyring.Key{ID: r.Pepper, Bytes: pepper})
	}
	return kept, nil
}

// pin returns what is kept with the pepper in front that makes hashes where there is no list of peppers: the one that
// derives from the first secret of the first start, for good, whatever becomes of that secret.
func (c *Custody) pin(ctx context.Context, h holding, kept []keyring.Key) ([]keyring.Key, error) {
	if _, err := c.store.originate(ctx, kindPepper, fingerprint(h.derived[0])); err != nil {
		return nil, err
	}
	pinned, err := c.store.origin(ctx, kindPepper)
	if err != nil {
		return nil, err
	}
	for _, k := range slices.Concat(kept, h.derived) {
		if fingerprint(k) == pinned {
			return append([]keyring.Key{k}, slices.DeleteFunc(slices.Clone(kept), is(k.ID))...), nil
		}
	}
	// It is gone, and so is everybody's hash under it, or a start without it would have been refused.
	if err := c.store.setOrigin(ctx, kindPepper, fingerprint(h.derived[0])); err != nil {
		return nil, err
	}
	return append([]keyring.Key{h.derived[0]}, slices.DeleteFunc(slices.Clone(kept), is(h.derived[0].ID))...), nil
}

// Run notes that this server is up and which secrets it has, and takes note of new ones, until ctx ends. Custody must be
// open.
func (c *Custody) Run(ctx context.Context) {
	ticker := time.NewTicker(keyring.Rhythm)
	defer ticker.Stop()
	var beat time.Time // when the next is due
	failed := false
	for {
		if names := c.hold().names(); time.Now().After(beat) || !failed && !slices.Equal(names, c.openedWith()) {
			beat = time.Now().Add(beatEvery)
			err := c.note(ctx, names)
			if failed = err != nil; failed && ctx.Err() == nil {
				c.log.Error("note which keys this server has; it will be tried again", "in", beatEvery, "error", err)
			}
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
			defer cancel()
			if err := c.db.InTx(ctx, func(ctx context.Context) error { return c.store.deleteNode(ctx, c.node.ID) }); err != nil {
				c.log.Warn("note that this server is down", "error", err)
			}
			return
		}
	}
}

func (c *Custody) openedWith() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.opened
}

// note opens the custody anew if the keys have changed, and says that this server is up.
func (c *Custody) note(ctx context.Context, names []string) error {
	if !slices.Equal(names, c.openedWith()) {
		if err := c.Open(ctx, false); err != nil {
			return err
		}
	}
	return c.db.InTx(ctx, func(ctx context.Context) error {
		secrets := c.keys.Still().Keys(keyring.Fingerprint)
		if err := c.store.markSigning(ctx, fingerprint(secrets[0])); err != nil {
			return err
		}
		row := c.node
		row.Secrets, row.SeenAt = named(secrets), database.Now()
		return c.store.putNode(ctx, &row, row.SeenAt.Add(-nodeGone))
	})
}

// KeyStatus is how the keys stand.
type KeyStatus struct {
	Secrets []SecretStatus // those of the list, in its order, then those of before
	Peppers []PepperStatus
	Servers []ServerStatus // those that are up
	Lost    *KeysError     // why no server starts with these; nil: one does
}

// SecretStatus is how a secret stands.
type SecretStatus struct {
	Name     string
	Held     bool      // it is in the list
	ServedAt time.Time // since when this database has been served with it; zero: it has not
	SignedAt time.Time // when it was last the one that signs, to the minute; zero: never
}

// PepperStatus is how a pepper stands.
type PepperStatus struct {
	Name    string
	Source  string // where it comes from; empty: it is missing
	Makes   bool   // it makes new hashes
	GivenUp bool   // a start was forced without it
	People  int    // whose password hangs on it
}

// ServerStatus is a server that is up.
type ServerStatus struct {
	Name    string
	Secrets []string // their names, the one that signs first
	SeenAt  time.Time
}

// Status says how the keys stand. It changes nothing, and need not be open.
func (c *Custody) Status(ctx context.Context) (KeyStatus, error) {
	h := c.hold()
	known, err := c.store.fingerprints(ctx)
	if err != nil {
		return KeyStatus{}, err
	}
	var s KeyStatus
	for _, k := range h.secrets {
		r := known[fingerprint(k)]
		s.Secrets = append(s.Secrets, SecretStatus{k.ID, true, database.UTC(r.ServedAt), database.UTC(r.SignedAt)})
	}
	for _, r := range known.of(kindSecret) {
		if !slices.ContainsFunc(h.secrets, is(r.Name)) {
			s.Secrets = append(s.Secrets, SecretStatus{r.Name, false, database.UTC(r.ServedAt), database.UTC(r.SignedAt)})
		}
	}
	if s.Peppers, err = c.pepperStatus(ctx, h, known); err != nil {
		return KeyStatus{}, err
	}
	if s.Lost, err = c.lostNow(ctx, h, known); err != nil {
		return KeyStatus{}, err
	}
	nodes, err := c.store.nodes(ctx, database.Now().Add(-nodeAlive))
	for _, n := range nodes {
		s.Servers = append(s.Servers, ServerStatus{n.Name, n.Secrets, database.UTC(n.SeenAt)})
	}
	return s, err
}

// lostNow is what Open would refuse to do without; nil: nothing.
func (c *Custody) lostNow(ctx context.Context, h holding, known knownFingerprints) (*KeysError, error) {
	origin, err := c.store.origin(ctx, kindSecret)
	if err != nil {
		return nil, err
	}
	kept, err := c.unseal(ctx, h)
	if err != nil {
		return nil, err
	}
	needed, err := c.needed(ctx, origin == "", known)
	if err != nil {
		return nil, err
	}
	lost, err := c.lost(ctx, h, origin == "", known, needed, slices.Concat(h.own, kept, h.derived))
	if err != nil || !lost.any() {
		return nil, err
	}
	return lost, nil
}

func (c *Custody) pepperStatus(ctx context.Context, h holding, known knownFingerprints) ([]PepperStatus, error) {
	kept, err := c.unseal(ctx, h)
	if err != nil {
		return nil, err
	}
	used, err := c.store.peopleByPepper(ctx)
	if err != nil {
		return nil, err
	}
	pinned, err := c.store.origin(ctx, kindPepper)
	if err != nil {
		return nil, err
	}
	var all []PepperStatus
	add := func(name, source string, makes bool) {
		if !slices.ContainsFunc(all, func(p PepperStatus) bool { return p.Name == name }) {
			all = append(all, PepperStatus{Name: name, Source: source, Makes: makes, People: used[name]})
		}
	}
	for i, k := range h.own {
		add(k.ID, "the list of peppers", i == 0)
	}
	for _, k := range kept {
		add(k.ID, "kept in the database", len(h.own) == 0 && fingerprint(k) == pinned)
	}
	for i, k := range h.derived {
		if used[k.ID] > 0 || pinned == "" && i == 0 && len(h.own) == 0 {
			add(k.ID, "derives from secret "+h.secrets[i].ID, pinned == "" && i == 0)
		}
	}
	for _, r := range known.of(kindPepper) {
		add(r.Name, "", false)
		for i := range all {
			all[i].GivenUp = all[i].GivenUp || all[i].Name == r.Name && !r.GivenUpAt.IsZero()
		}
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		add(name, "", false)
	}
	return all, nil
}

// Alone runs f while nobody else can be in Alone on this database, in a transaction.
func (c *Custody) Alone(ctx context.Context, f func(context.Context) error) error {
	return c.db.InTx(ctx, func(ctx context.Context) error {
		if err := c.store.lockOrigin(ctx, kindSecret); err != nil {
			return err
		}
		return f(ctx)
	})
}
