package keyring_test

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// file is a source that a test writes.
type file struct {
	mu      sync.Mutex
	secrets [][]byte
	err     error
	changed bool
	reads   int
}

func (f *file) Secrets() ([][]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.reads++
	f.changed = false
	return f.secrets, f.err
}

func (f *file) Changed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

func (f *file) write(err error, secrets ...[]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.secrets, f.err, f.changed = secrets, err, true
}

func open(t *testing.T, log *bytes.Buffer, f *file) *keyring.Ring {
	t.Helper()
	r, err := keyring.Open(f, slog.New(slog.NewTextHandler(log, nil)))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// letters says which secrets a ring has, the one that signs first.
func letters(t *testing.T, r *keyring.Ring) string {
	t.Helper()
	var b strings.Builder
	for _, k := range r.Keys(keyring.Invite) {
		for _, c := range []byte("abc") {
			if k.ID == ring(t, secret(c)).Keys(keyring.Invite)[0].ID {
				b.WriteByte(c)
			}
		}
	}
	return b.String()
}

func TestARingFollowsItsSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		f := &file{secrets: [][]byte{secret('a')}}
		r := open(t, &log, f)
		step := func(what, want string, wait time.Duration) {
			t.Helper()
			time.Sleep(wait)
			if got := letters(t, r); got != want {
				t.Errorf("%s: %q, want %q", what, got, want)
			}
		}
		step("at the start", "a", 0)
		f.write(nil, secret('a'), secret('b'))
		step("appended: it verifies within a second", "ab", keyring.Rhythm)
		f.write(nil, secret('b'), secret('a'))
		step("moved to the front: not before it has stayed", "ab", keyring.Rhythm)
		step("moved to the front", "ba", keyring.Rhythm)
		f.write(nil, secret('b'))
		step("dropped: not before it has stayed", "ba", keyring.Rhythm)
		step("dropped", "b", keyring.Rhythm)
		if strings.Contains(log.String(), string(secret('b'))) || !strings.Contains(log.String(), "the secrets have changed") {
			t.Errorf("the log:\n%s", log.String())
		}
	})
}

func TestAnUnknownKeyIsLookedUpBeforeItIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &file{secrets: [][]byte{secret('a')}}
		r := open(t, new(bytes.Buffer), f)
		wanted := ring(t, secret('b')).Keys(keyring.Invite)[0].ID
		f.write(nil, secret('b'), secret('a')) // at the very moment of a look
		if _, ok := r.Named(keyring.Invite, wanted); !ok {
			t.Error("the key of another node is refused")
		}
		if got := letters(t, r); got != "ab" {
			t.Errorf("%q, want the new one to verify and the old one to sign", got)
		}
	})
}

func TestWhoComesWhileAnotherLooksWaitsForWhatIsFound(t *testing.T) {
	f := &file{secrets: [][]byte{secret('a')}}
	r := open(t, new(bytes.Buffer), f)
	wanted := ring(t, secret('b')).Keys(keyring.AccessToken)[0].ID
	f.write(nil, secret('a'), secret('b'))
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			if _, ok := r.Named(keyring.AccessToken, wanted); !ok {
				t.Error("one of many at once is refused")
			}
		})
	}
	wg.Wait()
}

// Junk must not have the file read at will.
func TestAFloodOfUnknownKeysReadsTheSourceOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &file{secrets: [][]byte{secret('a')}}
		r := open(t, new(bytes.Buffer), f)
		f.reads = 0
		for range 10 {
			for range 1000 {
				if _, ok := r.Named(keyring.AccessToken, "junk"); ok {
					t.Fatal("junk is a key")
				}
			}
			time.Sleep(keyring.Rhythm / 2)
		}
		if f.reads > 5 {
			t.Errorf("10,000 unknown keys in 5 s: the source was read %d times, want 5 at most", f.reads)
		}
	})
}

func TestASourceThatFailsChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		f := &file{secrets: [][]byte{secret('a'), secret('b')}}
		r := open(t, &log, f)
		for what, write := range map[string]func(){
			"unreadable": func() { f.write(errors.New("permission denied")) },
			"empty":      func() { f.write(nil) },
			"too short":  func() { f.write(nil, secret('a'), secret('b')[:20]) },
			"flapping": func() {
				go func() { // half a file, for less than a second at a time
					for range 8 {
						f.write(nil, secret('a'))
						time.Sleep(keyring.Rhythm * 3 / 4)
						f.write(nil, secret('a'), secret('b'))
						time.Sleep(keyring.Rhythm / 4)
					}
				}()
			},
		} {
			write()
			for range 10 {
				time.Sleep(keyring.Rhythm)
				r.Named(keyring.Invite, "junk")
				if got := letters(t, r); got != "ab" {
					t.Fatalf("%s: %q, want ab", what, got)
				}
			}
			f.write(nil, secret('a'), secret('b'))
			time.Sleep(3 * keyring.Rhythm)
			letters(t, r)
		}
		if n := strings.Count(log.String(), "cannot be read again"); n < 3 || n > 6 {
			t.Errorf("the log says %d times that the source cannot be read, want it once a failure:\n%s", n, log.String())
		}
	})
}

func TestARingThatIsStillDoesNotFollow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := &file{secrets: [][]byte{secret('a')}}
		r := open(t, new(bytes.Buffer), f)
		still := r.Still()
		f.write(nil, secret('a'), secret('b'))
		time.Sleep(keyring.Rhythm)
		if letters(t, r) != "ab" || letters(t, still) != "a" {
			t.Errorf("the ring has %q, what was still before has %q", letters(t, r), letters(t, still))
		}
	})
}

func TestASourceMustHoldSecretsAtTheStart(t *testing.T) {
	for _, f := range []*file{{}, {err: errors.New("permission denied")}, {secrets: [][]byte{secret('a')[:31]}}} {
		if r, err := keyring.Open(f, nil); r != nil || err == nil {
			t.Errorf("%v, %v", r, err)
		}
	}
}

func TestWhatIsSealedOpensOnlyByItsKeyAndAsWhatItIs(t *testing.T) {
	k, other := ring(t, secret('a')).Keys(keyring.Seal)[0], ring(t, secret('b')).Keys(keyring.Seal)[0]
	sealed := k.Seal([]byte("pepper"), "one")
	if again := k.Seal([]byte("pepper"), "one"); bytes.Equal(again, sealed) || bytes.Contains(sealed, []byte("pepper")) {
		t.Error("sealing shows what is inside, or that it is the same")
	}
	if plain, err := k.Open(sealed, "one"); err != nil || string(plain) != "pepper" {
		t.Errorf("%q, %v", plain, err)
	}
	changed := slices.Clone(sealed)
	changed[len(changed)-1] ^= 1
	for what, open := range map[string]func() ([]byte, error){
		"another key": func() ([]byte, error) { return other.Open(sealed, "one") }, "something else": func() ([]byte, error) { return k.Open(sealed, "two") },
		"changed": func() ([]byte, error) { return k.Open(changed, "one") }, "cut": func() ([]byte, error) { return k.Open(sealed[:10], "one") }, "nothing": func() ([]byte, error) { return k.Open(nil, "one") },
	} {
		if plain, err := open(); plain != nil || !errors.Is(err, keyring.ErrSealed) {
			t.Errorf("%s: %q, %v", what, plain, err)
		}
	}
}
