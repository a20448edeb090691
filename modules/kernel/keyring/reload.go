package keyring

import (
	"bytes"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// Source is where the secrets of a ring come from, when that can change while a program runs.
type Source interface {
	// Secrets reads the list. After an error the ring goes on with the keys it has, and tries again.
	Secrets() ([][]byte, error)
	// Changed reports whether Secrets may return something else than it did last. It is asked for every token of an
	// unknown key, so it must be quick.
	Changed() bool
}

// Rhythm is how often a ring asks its source whether it has changed, how often at most an unchanged one is read all the
// same because of an unknown key, and how long a list must have been the same before the ring lets go of anything for it.
const Rhythm = time.Second

// Open returns the ring of the source's secrets, which follows the source:
//
//   - A secret that is new verifies at once, so that no node refuses what another one signs: within Rhythm, and at the
//     very first token of an unknown key.
//   - Which secret signs, and which are gone, counts when the source has said the same for as long as Rhythm: a file that
//     is being written may look as if it had lost some.
//   - A source that cannot be read, or holds what is no secret, changes nothing. The log says so.
func Open(source Source, log *slog.Logger) (*Ring, error) {
	if log == nil {
		log = slog.Default()
	}
	secrets, err := source.Secrets()
	if err != nil {
		return nil, err
	}
	r, err := New(secrets...)
	if err != nil {
		return nil, err
	}
	r.source, r.log = source, log
	r.reload.settled = r.now.Load().secrets
	r.reload.read = time.Now()
	return r, nil
}

// Still is a ring of the secrets of now, which never changes: for whoever needs keys of several purposes that belong together.
func (r *Ring) Still() *Ring {
	r.look()
	still := &Ring{}
	still.now.Store(r.now.Load())
	return still
}

// reload is what a ring knows of its source.
type reload struct {
	mu      sync.Mutex // held while the source is read
	settled [][]byte   // the list that the ring has taken over whole
	next    [][]byte   // another one that was read, and may yet turn out to be half a file; nil: none
	since   time.Time  // when next was read first
	failed  string     // what went wrong the last time; empty: nothing
	read    time.Time  // when the source was read last
}

// unsettled reports whether the source must be read again even if it has not changed.
func (l *reload) unsettled() bool { return l.next != nil || l.failed != "" }

// look takes over what has changed, at most once in Rhythm. Whoever comes while another one looks goes on with what there is.
func (r *Ring) look() {
	if r.source == nil || int64(time.Since(r.began))-r.looked.Load() < int64(Rhythm) || !r.reload.mu.TryLock() {
		return
	}
	defer r.reload.mu.Unlock()
	r.looked.Store(int64(time.Since(r.began)))
	if changed := r.source.Changed(); changed || r.reload.unsettled() {
		r.reread(changed)
	}
}

// reconsider reads the source because nothing in the list fits, and reports whether there is another list now. Whoever
// comes while another one reads waits, and finds what that one has found. Strange tokens in any number make it read an
// unchanged source once in Rhythm.
func (r *Ring) reconsider(seen *list) bool {
	if r.source == nil {
		return false
	}
	r.reload.mu.Lock()
	defer r.reload.mu.Unlock()
	if r.now.Load() == seen {
		if changed := r.source.Changed(); changed || time.Since(r.reload.read) >= Rhythm {
			r.reread(changed)
		}
	}
	return r.now.Load() != seen
}

// reread takes over what the source says now. A list that was written anew since it was last read, and be it the same, has
// not stayed.
func (r *Ring) reread(changed bool) {
	l := &r.reload
	l.read = time.Now()
	secrets, err := r.source.Secrets()
	if err == nil {
		err = check(secrets)
	}
	if err != nil {
		if l.next = nil; l.failed != err.Error() {
			r.log.Error("the secrets cannot be read again: going on with those of before", "error", err)
		}
		l.failed = err.Error()
		return
	}
	l.failed = ""
	switch {
	case same(secrets, l.settled):
		l.next = nil
		r.use(l.settled)
	case changed || l.next == nil || !same(secrets, l.next):
		l.next, l.since = newList(secrets).secrets, l.read
		r.use(union(l.settled, secrets))
	case l.read.Sub(l.since) >= Rhythm:
		l.settled, l.next = l.next, nil
		r.use(l.settled)
		keys := r.now.Load().of(Fingerprint)
		names := make([]string, len(keys))
		for i, k := range keys {
			names[i] = k.ID
		}
		r.log.Info("the secrets have changed", "signs", names[0], "all", names)
	}
}

// use makes the secrets those of now.
func (r *Ring) use(secrets [][]byte) {
	if !same(secrets, r.now.Load().secrets) {
		r.now.Store(newList(secrets))
	}
}

func same(a, b [][]byte) bool { return slices.EqualFunc(a, b, bytes.Equal) }

// union is a, and what only b has behind it.
func union(a, b [][]byte) [][]byte {
	all := slices.Clone(a)
	for _, s := range b {
		if !slices.ContainsFunc(all, func(t []byte) bool { return bytes.Equal(s, t) }) {
			all = append(all, s)
		}
	}
	return all
}
