package auth

import (
	"bytes"
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// What cannot be seen from outside: the decoy, the queue of the pool, and the moment between a read and its caching.

func newTestPasswords(t testing.TB, cost int) *Passwords {
	t.Helper()
	keys, err := keyring.New(make([]byte, keyring.MinSecret), bytes.Repeat([]byte{1}, keyring.MinSecret))
	if err != nil {
		t.Fatal(err)
	}
	h, err := NewPasswords(PasswordParams{Keys: keys, Options: PasswordOptions{Cost: cost, MaxWait: time.Minute}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

func TestTheDecoyIsARealHashOfTheConfiguredCost(t *testing.T) {
	for _, cost := range []int{4, 6, 12, 31} {
		h := newTestPasswords(t, cost)
		if got, err := bcrypt.Cost(h.decoy); err != nil || got != cost {
			t.Errorf("the decoy's cost is %d (%v), want %d", got, err, cost)
		}
		if cost > 6 {
			continue
		}
		// A malformed one would be answered before the work, by another error.
		if err := bcrypt.CompareHashAndPassword(h.decoy, []byte("correct horse")); !errors.Is(err, bcrypt.ErrMismatchedHashAndPassword) {
			t.Errorf("at cost %d: %v, want a mismatch", cost, err)
		}
		if again := newTestPasswords(t, cost); bytes.Equal(again.decoy, h.decoy) {
			t.Error("two pools have one decoy")
		}
	}
}

// blocker is work that lasts until it is let go.
type blocker chan struct{}

func (b blocker) work() error { <-b; return nil }

func TestThePoolRefusesAtOnceWhoWouldWaitTooLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pool
		p.init(2, 3*time.Second, 1500*time.Millisecond) // a hash takes 1.5 s, so the fifth to wait would wait 3.75 s
		b := make(blocker)
		served := make(chan error, 10)
		for range 2 + 4 {
			go func() { served <- p.run(t.Context(), b.work) }()
		}
		synctest.Wait()
		for range 2 {
			start := time.Now()
			err := p.run(t.Context(), b.work)
			f, _ := fault.Of(err)
			if !errors.Is(err, ErrBusy) || f.RetryAfter != 4*time.Second || time.Since(start) != 0 {
				t.Errorf("after %v: %v, wait %v; want ErrBusy and 4s at once", time.Since(start), err, f.RetryAfter)
			}
		}
		if len(served) != 0 || p.waiting != 6 {
			t.Errorf("%d are served and %d wait, want none and 6", len(served), p.waiting)
		}
		close(b)
		synctest.Wait()
		for range 6 {
			if err := <-served; err != nil {
				t.Errorf("who waited in time: %v", err)
			}
		}
		if p.waiting != 0 || len(p.slots) != 0 {
			t.Errorf("%d wait in %d slots, and nobody is there", p.waiting, len(p.slots))
		}
	})
}

func TestWhoIsGoneLeavesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pool
		p.init(1, time.Minute, time.Second)
		b := make(blocker)
		first, worked := make(chan error, 1), false
		go func() { first <- p.run(t.Context(), b.work) }()
		synctest.Wait()
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan error, 1)
		go func() { gone <- p.run(ctx, func() error { worked = true; return nil }) }()
		synctest.Wait()
		cancel()
		if err := <-gone; !errors.Is(err, context.Canceled) || p.waiting != 1 {
			t.Errorf("%v, %d wait; want context.Canceled, and one at work", err, p.waiting)
		}
		close(b)
		if err := <-first; err != nil {
			t.Error(err)
		}
		// The slot is free, and still nothing is done for who is gone.
		if err := p.run(ctx, func() error { worked = true; return nil }); !errors.Is(err, context.Canceled) || worked {
			t.Errorf("%v, worked %t; want context.Canceled and no work", err, worked)
		}
		if err := p.run(t.Context(), func() error { worked = true; return nil }); err != nil || !worked || p.waiting != 0 {
			t.Errorf("the next one: %v, worked %t, %d wait", err, worked, p.waiting)
		}
	})
}

func TestThePoolMeasuresWhatAHashTakes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pool
		p.init(1, time.Hour, time.Second)
		for range 60 {
			if err := p.run(t.Context(), func() error { time.Sleep(100 * time.Millisecond); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		if p.took < 90*time.Millisecond || p.took > 110*time.Millisecond {
			t.Errorf("a hash of 100ms, guessed to take 1s, is measured as %v", p.took)
		}
	})
}

func TestAPanicDoesNotKeepItsSlot(t *testing.T) {
	var p pool
	p.init(1, time.Minute, time.Second)
	func() {
		defer func() { _ = recover() }()
		_ = p.run(t.Context(), func() error { panic("hash") })
	}()
	if err := p.run(t.Context(), func() error { return nil }); err != nil || p.waiting != 0 {
		t.Errorf("afterwards: %v, %d wait", err, p.waiting)
	}
}

func TestAReadBegunBeforeADropIsNotCachedAfterIt(t *testing.T) {
	var c cache
	one, other := entry{session: Session{ID: "one"}, at: time.Now()}, entry{session: Session{ID: "other"}, at: time.Now()}
	c.put("other", other, c.generation())

	before := c.generation()                                             // a request reads the session …
	c.drop(func(e entry) bool { return e.session.ID == one.session.ID }) // … which ends meanwhile …
	c.put("one", one, before)                                            // … and would be remembered
	if _, ok := c.get("one"); ok {
		t.Error("a session that has ended is in the cache")
	}
	if _, ok := c.get("other"); !ok {
		t.Error("the drop of one session took another along")
	}
	c.put("one", one, c.generation())
	if _, ok := c.get("one"); !ok {
		t.Error("a read begun after the drop is not cached")
	}
}

func TestTheCacheForgetsAfterASecondAndDoesNotGrowForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c cache
		c.put("one", entry{at: time.Now()}, c.generation())
		time.Sleep(cacheTTL - time.Nanosecond)
		if _, ok := c.get("one"); !ok {
			t.Error("it forgot too early")
		}
		time.Sleep(time.Nanosecond)
		if _, ok := c.get("one"); ok {
			t.Error("it remembers for longer than cacheTTL")
		}
		for i := range 3 * cacheSize {
			c.put(string(rune(i)), entry{at: time.Now()}, c.generation())
		}
		if len(c.entries) > cacheSize {
			t.Errorf("it holds %d entries, want %d at most", len(c.entries), cacheSize)
		}
	})
}

func FuzzVerifyStoredHash(f *testing.F) {
	h := newTestPasswords(f, 4)
	genuine, err := h.Hash(context.Background(), "correct horse")
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		string(genuine), "", "$hb1$", "$hb1$$", "$hb1$" + h.peppers.secrets.Keys(keyring.Pepper)[1].ID + "$", "$hb1$" + h.peppers.first().ID + "$$2a$04$", string(h.decoy), "plain",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, stored []byte) {
		if _, err := parseLegacy(stored); err == nil {
			return // of another program, and perhaps slow: FuzzParseLegacy
		}
		if _, bare, _ := h.split(stored); len(bare) > 0 {
			if cost, err := bcrypt.Cost(bare); err == nil && cost > 5 {
				return // a real hash, but a slow one
			}
		}
		ok, stale, err := h.Verify(t.Context(), stored, "battery staple")
		if ok || stale {
			t.Errorf("%q fits a password it was not made of", stored)
		}
		if err != nil && fault.KindOf(err) != fault.Internal {
			t.Errorf("%q is the caller's fault: %v", stored, err)
		}
	})
}

func FuzzParseLegacy(f *testing.F) {
	for _, seed := range []string{
		"$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2", "bcrypt$$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2",
		"$argon2id$v=19$m=256,t=3,p=1$MDEyMzQ1Njc4OWFiY2RlZg$cKFEcEsTnuKNbVWflPEkxuOmu4SRKQLgBDfO128ed1E", "argon2$argon2id$v=19$m=1,t=1,p=1$$",
		"$scrypt$ln=6,r=8,p=2$MDEyMzQ1Njc4OWFiY2RlZg$8SuY8NUOjwvkMqfWWt1Fk1QWYAT+WtMR2my0rk8ZanI", "$scrypt$ln=63,r=9223372036854775807,p=1$a$b",
		"$pbkdf2-sha256$i=1200,l=32$MDEyMzQ1Njc4OWFiY2RlZg$vb76XPkkH+A2vRF+M0vHCsNkUUZxY+JqcHUGBcR5V+8", "pbkdf2_sha512$1200$salt$aaaa", "$$$$", "$",
		"c2NyeXB0AAYAAAAIAAAAAahsGSYdPCtUHpEqa0P/fERO/tgr88EGO4KjNiXrZCoI6Ynk6wlTDFv1tQNnzD/ie9q5DVwqKNgNGbBUsHH2ab8m8Q0g7A3JUy3j+u0Z+F/u",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, stored []byte) {
		l, err := parseLegacy(stored)
		if (err == nil) != (l.fits != nil) || l.cost > maxLegacyCost {
			t.Errorf("%q: %+v, %v", stored, l, err)
		}
		if err != nil && len(stored) > 12 && bytes.Contains([]byte(err.Error()), stored) {
			t.Errorf("the error tells the hash: %v", err)
		}
	})
}

func TestNobodyHasTheWholeQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p pool
		p.init(2, 10*time.Second, time.Second) // room for 22
		b := make(blocker)
		served := make(chan error, 100)
		ask := func(ctx context.Context) bool { // reports whether there was a turn
			before := len(served)
			go func() { served <- p.run(ctx, b.work) }()
			synctest.Wait()
			if len(served) == before {
				return true
			}
			f, _ := fault.Of(<-served)
			if !errors.Is(f, ErrBusy) || f.RetryAfter < time.Second {
				t.Errorf("refused with %v after %v", f, f.RetryAfter)
			}
			return false
		}
		turns := func(ctx context.Context) (n int) {
			for range 30 {
				if ask(ctx) {
					n++
				}
			}
			return n
		}
		at := func(ip string) context.Context { return WithClient(t.Context(), Client{IP: ip}) }
		shared := WithClient(t.Context(), Client{IP: "127.0.0.1", Shared: true})
		of := func(name string) context.Context {
			ctx, account := withAccount(shared)
			account.is(name)
			return ctx
		}
		if n := turns(at("192.0.2.1")); n < 4 || n > 6 {
			t.Errorf("one client has %d of 22 turns, want about a quarter", n)
		}
		if n := turns(of("ada")); n < 3 || n > 5 {
			t.Errorf("a second one, known by its account, has %d", n)
		}
		if n := turns(at("2001:db8::1")) + turns(at("2001:db8::2")); n < 2 || n > 4 {
			t.Errorf("a third one, by two addresses of its network, has %d", n)
		}
		for _, ctx := range []context.Context{at("198.51.100.1"), at("198.51.100.2"), of("bob"), Unlimited(at("192.0.2.1")), shared} {
			if !ask(ctx) {
				t.Error("a newcomer finds no room")
			}
		}
		close(b)
		synctest.Wait()
		if p.waiting != 0 || len(p.of) != 0 {
			t.Errorf("%d wait, of %v, and nobody is there", p.waiting, p.of)
		}
	})
}
