package auth_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/database/postgres"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

// from is the context of somebody at an address.
func from(ctx context.Context, ip string) context.Context {
	return auth.WithClient(ctx, auth.Client{IP: ip})
}

// eachThrottled is each with limits of its own.
func eachThrottled(t *testing.T, o auth.ThrottleOptions, f func(t *testing.T, h house)) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		f(t, newHouse(t, at.Open(t, auth.Migrations()), auth.Options{Throttle: o}))
	})
}

// counted is what is counted at all, which have failed and which are under way.
func (h house) counted(t testing.TB) (failed, pending int) {
	t.Helper()
	var row struct{ Failed, Pending int }
	must(t, h.db.Conn(t.Context()).NewSelect().TableExpr("latchkey_auth_throttle").
		ColumnExpr("coalesce(sum(failed), 0) AS failed, coalesce(sum(pending), 0) AS pending").Scan(t.Context(), &row))
	return row.Failed, row.Pending
}

func throttledFor(t testing.TB, err error) time.Duration {
	t.Helper()
	f, _ := fault.Of(err)
	if !errors.Is(err, auth.ErrThrottled) {
		t.Fatalf("%v, want ErrThrottled", err)
	}
	if f.Kind != fault.TooMany || f.RetryAfter < time.Second || f.RetryAfter%time.Second != 0 {
		t.Errorf("%v after %v, want whole seconds", f.Kind, f.RetryAfter)
	}
	return f.RetryAfter
}

func TestNoFailureIsLostOfTwoHundredAtOnce(t *testing.T) {
	eachThrottled(t, auth.ThrottleOptions{AccountAddress: auth.Limit{Most: 1000}, Account: auth.Limit{Most: 1000}}, func(t *testing.T, h house) {
		h.register(t, "ada@example.com", "correct horse")
		var wrong atomic.Int32
		databasetest.Together(200, func(i int) error {
			_, err := h.signIn(from(t.Context(), fmt.Sprintf("192.0.2.%d", i%2)), "ada@example.com", "wrong horse")
			if !errors.Is(err, auth.ErrInvalidCredentials) {
				t.Error(err)
			}
			wrong.Add(1)
			return nil
		})
		if failed, pending := h.counted(t); failed != 4*int(wrong.Load()) || pending != 0 { // by account and address, account, day, address
			t.Errorf("%d failures are counted and %d are under way, want 800 and none", failed, pending)
		}
	})
}

func TestGuessesAtOnceGetNoFurtherThanOneAfterTheOther(t *testing.T) {
	eachThrottled(t, auth.ThrottleOptions{}, func(t *testing.T, h house) {
		h.register(t, "ada@example.com", "correct horse")
		var mu sync.Mutex
		outcomes := map[string]int{}
		databasetest.Together(200, func(int) error {
			_, err := h.signIn(t.Context(), "ada@example.com", "wrong horse")
			mu.Lock()
			defer mu.Unlock()
			outcomes[err.Error()]++
			return nil
		})
		if outcomes["Invalid email or password"] != 10 || len(outcomes) != 2 {
			t.Errorf("%v, want 10 looked at", outcomes)
		}
		_, err := h.signIn(t.Context(), "ada@example.com", "correct horse")
		if wait := throttledFor(t, err); wait > 15*time.Minute {
			t.Errorf("throttled for %v", wait)
		}
	})
}

// Somebody has locked the counts, and more people than there are connections want to be counted.
func TestWhoWaitsToBeCountedLeavesConnectionsForOthers(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		for _, conns := range []int{2, 8} {
			db := at.Open(t, auth.Migrations())
			h := newHouse(t, db, auth.Options{})
			if at.Dialect == database.Postgres {
				few, err := postgres.Open(t.Context(), at.URL, conns, nil)
				must(t, err)
				t.Cleanup(func() { must(t, few.Close()) })
				h = newHouse(t, few, auth.Options{Throttle: auth.ThrottleOptions{MaxWait: 200 * time.Millisecond}})
			}
			crowd := func(n int, most time.Duration, want ...error) {
				t.Helper()
				ctx, cancel := context.WithTimeout(t.Context(), most)
				defer cancel()
				acts := []func(i int) error{
					func(i int) error {
						_, err := h.signIn(ctx, fmt.Sprintf("ada%d@example.com", i), "wrong horse")
						return err
					},
					func(int) error { return h.Take(ctx, auth.LimitToken, "key") },
					func(i int) error {
						_, err := h.RequestPasswordReset(ctx, auth.ResetRequest{Provider: emailpass.Name, EntityID: fmt.Sprintf("ada%d@example.com", i), ActorType: "user"})
						return err
					},
				}
				databasetest.Together(n*len(acts), func(i int) error {
					err := acts[i%len(acts)](i)
					if !slices.ContainsFunc(want, func(w error) bool { return errors.Is(err, w) }) {
						t.Errorf("%d connections, %d: %v", conns, i%len(acts), err)
					}
					return nil
				})
			}
			crowd(9, time.Minute, auth.ErrInvalidCredentials, nil, auth.ErrBusy) // which nobody hangs in
			if at.Dialect == database.SQLite {
				continue
			}
			must(t, db.InTx(t.Context(), func(ctx context.Context) error {
				if _, err := db.Conn(ctx).NewRaw("LOCK TABLE latchkey_auth_throttle IN ACCESS EXCLUSIVE MODE").Exec(ctx); err != nil {
					return err
				}
				var waiting sync.WaitGroup
				defer waiting.Wait()
				waiting.Go(func() { crowd(9, 600*time.Millisecond, auth.ErrBusy, context.DeadlineExceeded) })
				time.Sleep(50 * time.Millisecond) // let them all begin
				ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
				defer cancel()
				return h.db.InTx(ctx, func(ctx context.Context) error { // as for whatever else there is to do
					_, err := h.db.Conn(ctx).NewRaw("SELECT 1").Exec(ctx)
					return err
				})
			}))
		}
	})
}

func TestRightPasswordsAtOnceAreAllLetIn(t *testing.T) {
	eachThrottled(t, auth.ThrottleOptions{}, func(t *testing.T, h house) {
		h.register(t, "ada@example.com", "correct horse")
		for range 7 { // which leaves room for three at a time
			if _, err := h.signIn(t.Context(), "ada@example.com", "wrong horse"); !errors.Is(err, auth.ErrInvalidCredentials) {
				t.Fatal(err)
			}
		}
		databasetest.Together(100, func(i int) error {
			if _, err := h.signIn(t.Context(), "ada@example.com", "correct horse"); err != nil {
				t.Errorf("sign-in %d: %v", i, err)
			}
			return nil
		})
		if _, pending := h.counted(t); pending != 0 {
			t.Errorf("%d are under way", pending)
		}
	})
}

func TestAnAttemptThatIsOutOfOurHandsDoesNotCount(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, auth.Migrations())
		p, err := auth.NewPasswords(auth.PasswordParams{Keys: ring(t, secret(1)), Options: auth.PasswordOptions{Cost: 10, MaxWait: time.Nanosecond}})
		must(t, err)
		s, err := auth.New(auth.Params{DB: db, Keys: ring(t, secret(1)), Providers: []auth.Provider{emailpass.New(p, emailpass.Config{})},
			Options: auth.Options{Throttle: auth.ThrottleOptions{AccountAddress: auth.Limit{Most: 100}}}})
		must(t, err)
		h := house{Service: s, db: db}
		var wrong, busy atomic.Int32
		databasetest.Together(30, func(int) error {
			switch _, err := h.signIn(t.Context(), "ada@example.com", "wrong horse"); {
			case errors.Is(err, auth.ErrInvalidCredentials):
				wrong.Add(1)
			case errors.Is(err, auth.ErrBusy):
				busy.Add(1)
			default:
				t.Error(err)
			}
			return nil
		})
		if busy.Load() == 0 {
			t.Error("everybody had a turn")
		}
		if failed, pending := h.counted(t); failed != 3*int(wrong.Load()) || pending != 0 {
			t.Errorf("%d failures are counted in three counts, of %d; %d are under way", failed, wrong.Load(), pending)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := h.signIn(ctx, "eve@example.com", "wrong horse"); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		if _, pending := h.counted(t); pending != 0 {
			t.Errorf("%d are under way after the caller hung up", pending)
		}
	})
}

func TestACountIsOfTheCanonicalAccountWhetherOrNotThereIsOne(t *testing.T) {
	eachThrottled(t, auth.ThrottleOptions{AccountAddress: auth.Limit{Most: 4}}, func(t *testing.T, h house) {
		h.register(t, "ada@example.com", "correct horse")
		for _, who := range []string{"ada", "nobody"} {
			for i, spelt := range []string{"%s@example.com", "%s@EXAMPLE.com", "%s@Example.Com", "%s@eXample.com", "%s@exAmple.com", "%s@example.cOm"} {
				for _, nonsense := range []string{" ", "\t", "x@"} { // what is no address is nobody's, and trips nobody
					if _, err := h.signIn(t.Context(), nonsense+fmt.Sprintf(spelt, who), "wrong horse"); !errors.Is(err, auth.ErrInvalidCredentials) {
						t.Errorf("%q and %s: %v", nonsense, who, err)
					}
				}
				_, err := h.signIn(t.Context(), fmt.Sprintf(spelt, strings.ToUpper(who[:i%2])+who[i%2:]), "wrong horse")
				if want := i >= 4; errors.Is(err, auth.ErrThrottled) != want {
					t.Errorf("%s, attempt %d: %v; throttled should be %t", who, i, err, want)
				}
			}
		}
	})
}

func TestAWindowPassesAndTheTimeToWaitIsHonest(t *testing.T) {
	eachThrottled(t, auth.ThrottleOptions{AccountAddress: auth.Limit{Most: 2, Per: 2 * time.Second}}, func(t *testing.T, h house) {
		h.register(t, "ada@example.com", "correct horse")
		for range 2 {
			_, err := h.signIn(t.Context(), "ada@example.com", "wrong horse")
			if !errors.Is(err, auth.ErrInvalidCredentials) {
				t.Fatal(err)
			}
		}
		_, err := h.signIn(t.Context(), "ada@example.com", "correct horse")
		wait := throttledFor(t, err)
		if wait > 2*time.Second {
			t.Errorf("throttled for %v in a window of 2s", wait)
		}
		for range 5 { // which do not make it longer
			_, err := h.signIn(t.Context(), "ada@example.com", "wrong horse")
			throttledFor(t, err)
		}
		time.Sleep(wait)
		if _, err := h.signIn(t.Context(), "ada@example.com", "correct horse"); err != nil {
			t.Errorf("after %v: %v", wait, err)
		}
	})
}

func TestAPlaceThatWasLostInACrashCountsUntilItsWindowEnds(t *testing.T) {
	eachThrottled(t, auth.ThrottleOptions{AccountAddress: auth.Limit{Most: 3, Per: time.Hour}}, func(t *testing.T, h house) {
		h.register(t, "ada@example.com", "correct horse")
		_, err := h.signIn(t.Context(), "ada@example.com", "wrong horse")
		if !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Fatal(err)
		}
		must(t, h.db.InTx(t.Context(), func(ctx context.Context) error { // as a node leaves it that is killed while it hashes
			_, err := h.db.Conn(ctx).ExecContext(ctx, "UPDATE latchkey_auth_throttle SET pending = 2")
			return err
		}))
		impatient := newHouse(t, h.db, auth.Options{Throttle: auth.ThrottleOptions{
			AccountAddress: auth.Limit{Most: 3, Per: time.Hour}, MaxWait: time.Second}})
		_, err = impatient.signIn(t.Context(), "ada@example.com", "correct horse")
		throttledFor(t, err)
	})
}

func TestAnAccountIsLimitedFromWhereverItIsNotKnown(t *testing.T) {
	eachThrottled(t, auth.ThrottleOptions{Account: auth.Limit{Most: 5}, AccountAddress: auth.Limit{Most: 2}}, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		session, err := h.OpenSession(t.Context(), ada, "user", auth.Client{IP: "2001:db8:1:2::1"})
		must(t, err)
		for i := range 6 {
			_, err := h.signIn(from(t.Context(), fmt.Sprintf("192.0.2.%d", i)), "ada@example.com", "wrong horse")
			if want := i == 5; errors.Is(err, auth.ErrThrottled) != want {
				t.Errorf("guess %d, from an address of its own: %v", i, err)
			}
		}
		_, err = h.signIn(from(t.Context(), "192.0.2.100"), "ada@example.com", "correct horse")
		throttledFor(t, err)

		for name, c := range map[string]auth.Client{
			"from where they are signed in":             {IP: "2001:db8:1:2::1"},
			"from the same network":                     {IP: "2001:db8:1:2:ffff::2"},
			"by a device that they have signed in with": {IP: "192.0.2.1", Device: h.DeviceToken(session, "")},
		} {
			if _, err := h.signIn(auth.WithClient(t.Context(), c), "ada@example.com", "correct horse"); err != nil {
				t.Errorf("the owner, %s: %v", name, err)
			}
		}
		for name, c := range map[string]auth.Client{
			"from another network":         {IP: "2001:db8:1:3::1"},
			"from behind a shared address": {IP: "2001:db8:1:2::1", Shared: true},
		} {
			_, err := h.signIn(auth.WithClient(t.Context(), c), "ada@example.com", "correct horse")
			if !errors.Is(err, auth.ErrThrottled) {
				t.Errorf("somebody %s: %v, want ErrThrottled", name, err)
			}
		}
	})
}

func TestADeviceIsKnownToWhomItWasMadeKnownAndIsLimitedItself(t *testing.T) {
	eachThrottled(t, auth.ThrottleOptions{AccountAddress: auth.Limit{Most: 1}}, func(t *testing.T, h house) {
		ada, eve := h.register(t, "ada@example.com", "correct horse"), h.register(t, "eve@example.com", "correct horse")
		adas, err := h.OpenSession(t.Context(), ada, "user", auth.Client{})
		must(t, err)
		eves, err := h.OpenSession(t.Context(), eve, "user", auth.Client{})
		must(t, err)
		hammer := func(email string) {
			for range 2 {
				if _, err := h.signIn(t.Context(), email, "wrong horse"); err == nil {
					t.Fatal("let in")
				}
			}
		}
		hammer("ada@example.com")
		hammer("eve@example.com")
		by := func(device, email string) error {
			_, err := h.signIn(auth.WithClient(t.Context(), auth.Client{Device: device}), email, "correct horse")
			return err
		}
		token := h.DeviceToken(adas, "")
		both := h.DeviceToken(eves, token)
		for what, good := range map[string]bool{token: true, both: true, h.DeviceToken(eves, ""): false, "": false, token + "x": false,
			strings.ToLower(token): false, strings.Repeat("x", 5000): false, token[1:]: false, "A" + token[1:]: strings.HasPrefix(token, "A")} {
			if err := by(what, "ada@example.com"); (err == nil) != good {
				t.Errorf("Ada by %.200q: %v, want let in: %t", what, err, good)
			}
		}
		if err := by(both, "eve@example.com"); err != nil {
			t.Errorf("Eve by a device of both: %v", err)
		}
		if again := h.DeviceToken(adas, both); len(again) != len(both) || by(again, "eve@example.com") != nil {
			t.Errorf("after another sign-in of Ada's the device has %q, want both as before", again)
		}
		for i := range 11 {
			_, err := h.signIn(auth.WithClient(t.Context(), auth.Client{Device: token}), "ada@example.com", "wrong horse")
			if want := i == 10; errors.Is(err, auth.ErrThrottled) != want {
				t.Errorf("guess %d by the device: %v", i, err)
			}
		}
		h.reset(t, "ada@example.com", "battery staple")
		hammer("ada@example.com")
		if _, err := h.signIn(auth.WithClient(t.Context(), auth.Client{Device: token}), "ada@example.com", "battery staple"); !errors.Is(err, auth.ErrThrottled) {
			t.Errorf("by a device of before the credentials were set anew: %v", err)
		}
	})
}

func TestASessionDoesNotGuessAtItsPasswordWithoutEnd(t *testing.T) {
	eachThrottled(t, auth.ThrottleOptions{}, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		session, err := h.OpenSession(t.Context(), ada, "user", auth.Client{})
		must(t, err)
		another, err := h.OpenSession(t.Context(), ada, "user", auth.Client{})
		must(t, err)
		for i := range 10 {
			ctx := from(t.Context(), fmt.Sprintf("192.0.2.%d", i)) // wherever from
			if i%2 == 0 {
				_, err = h.ChangePassword(ctx, session, emailpass.Name, auth.Input(`{"current_password":"wrong horse","password":"battery staple"}`))
			} else {
				_, err = h.ProveAgain(ctx, another, input("password", "wrong horse"))
			}
			if !errors.Is(err, auth.ErrInvalidCredentials) {
				t.Fatalf("guess %d: %v", i, err)
			}
		}
		_, err = h.ChangePassword(t.Context(), another, emailpass.Name, auth.Input(`{"current_password":"correct horse","password":"battery staple"}`))
		throttledFor(t, err)
		_, err = h.ProveAgain(t.Context(), session, input("password", "correct horse"))
		throttledFor(t, err)
		if _, err := h.signIn(t.Context(), "ada@example.com", "correct horse"); err != nil {
			t.Errorf("the owner signs in: %v", err)
		}
		h.reset(t, "ada@example.com", "battery staple")
		if i, err := h.signIn(t.Context(), "ada@example.com", "battery staple"); err != nil {
			t.Error(err)
		} else if session, err = h.OpenSession(t.Context(), i, "user", auth.Client{}); err != nil {
			t.Error(err)
		}
		if _, err := h.ProveAgain(t.Context(), session, input("password", "battery staple")); err != nil {
			t.Errorf("after a reset: %v", err)
		}
	})
}

func TestAProviderThatKeepsNoSecretIsLimitedByAddress(t *testing.T) {
	eachThrottled(t, auth.ThrottleOptions{Address: auth.Limit{Most: 3}}, func(t *testing.T, h house) {
		try := func(c auth.Client) error {
			_, err := h.Authenticate(auth.WithClient(t.Context(), c), "vouching", auth.Input(`[]`))
			return err
		}
		for i := range 4 {
			if err := try(auth.Client{IP: fmt.Sprintf("2001:db8::%d", i)}); errors.Is(err, auth.ErrThrottled) != (i == 3) {
				t.Errorf("attempt %d: %v", i, err)
			}
		}
		for _, c := range []auth.Client{{IP: "2001:db8:0:1::1"}, {IP: "2001:db8::1", Shared: true}, {}} {
			if err := try(c); !errors.Is(err, auth.ErrInput) {
				t.Errorf("%+v: %v", c, err)
			}
		}
		if _, err := h.signIn(from(t.Context(), "2001:db8::1"), "ada@example.com", "wrong horse"); !errors.Is(err, auth.ErrThrottled) {
			t.Errorf("by another provider: %v", err)
		}
		if _, err := h.signIn(auth.Unlimited(from(t.Context(), "2001:db8::1")), "ada@example.com", "wrong horse"); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("the operator: %v", err)
		}
	})
}

func TestWhatIsTakenIsCountedWithWhatIsDone(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		limit := auth.Limit{Name: "test", Most: 20, Per: 2 * time.Second}
		undone := errors.New("undone")
		for range 30 {
			err := h.db.InTx(t.Context(), func(ctx context.Context) error {
				must(t, h.Take(ctx, limit, "ada"))
				return undone
			})
			if !errors.Is(err, undone) {
				t.Fatal(err)
			}
		}
		var taken atomic.Int32
		var wait atomic.Int64
		databasetest.Together(100, func(int) error {
			err := h.Take(t.Context(), limit, "ada")
			if err == nil {
				taken.Add(1)
				return nil
			}
			if f, _ := fault.Of(err); f != nil {
				wait.Store(int64(f.RetryAfter))
			}
			return nil
		})
		if n := taken.Load(); n != 20 {
			t.Errorf("%d were taken, want 20", n)
		}
		must(t, h.Take(t.Context(), limit, "eve"))
		must(t, h.Take(t.Context(), auth.Limit{Name: "other", Most: 1, Per: time.Hour}, "ada"))
		must(t, h.Take(auth.Unlimited(t.Context()), limit, "ada"))
		time.Sleep(time.Duration(wait.Load()))
		must(t, h.Take(t.Context(), limit, "ada"))
	})
}

func TestWhatIsTriedCountsOnlyIfTheCallerFails(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		limit := auth.Limit{Name: "test", Most: 3, Per: time.Hour}
		ours := errors.New("ours")
		for key, f := range map[string]func(context.Context, auth.Limit, string, func(context.Context) error) error{"try": h.Try, "watch": h.Watch} {
			do := func(came error) error { return f(t.Context(), limit, key, func(context.Context) error { return came }) }
			for range 5 {
				must(t, do(nil))
				if err := do(ours); !errors.Is(err, ours) {
					t.Fatal(err)
				}
			}
			for i := range 4 {
				if err := do(auth.ErrInput); errors.Is(err, auth.ErrThrottled) != (i == 3) {
					t.Errorf("%s, failure %d: %v", key, i, err)
				}
			}
			throttledFor(t, do(nil))
		}
		var tried atomic.Int32
		databasetest.Together(50, func(int) error {
			_ = h.Try(t.Context(), limit, "at once", func(context.Context) error { tried.Add(1); return auth.ErrInput })
			return nil
		})
		if n := tried.Load(); n != 3 {
			t.Errorf("%d of 50 at once were tried, want 3", n)
		}
	})
}

func TestRequestsForANewPasswordStopBeingAnnouncedWithoutAWord(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		h.register(t, "ada@example.com", "correct horse")
		for _, who := range []string{"ada", "nobody"} {
			h.events.seen = nil
			for i := range 12 {
				email := who + "@example.com"
				if i%2 == 0 {
					email = strings.ToUpper(email)
				}
				_, err := h.RequestPasswordReset(from(t.Context(), fmt.Sprintf("192.0.2.%d", i)), auth.ResetRequest{Provider: emailpass.Name, EntityID: email, ActorType: "user"})
				must(t, err)
			}
			if n := len(h.events.seen); n != 5 {
				t.Errorf("%s: %d announcements, want 5", who, n)
			}
		}
		for i := range 31 {
			_, err := h.RequestPasswordReset(from(t.Context(), "192.0.2.200"), auth.ResetRequest{Provider: emailpass.Name, EntityID: fmt.Sprintf("a%d@example.com", i), ActorType: "user"})
			if want := i == 30; errors.Is(err, auth.ErrThrottled) != want {
				t.Errorf("request %d from one address: %v", i, err)
			}
		}
		h.reset(t, "ada@example.com", "battery staple")
		h.events.seen = nil
		_, err := h.RequestPasswordReset(t.Context(), auth.ResetRequest{Provider: emailpass.Name, EntityID: "ada@example.com", ActorType: "user"})
		must(t, err)
		if len(h.events.seen) != 1 {
			t.Error("after the owner has set a new password, they cannot ask for another")
		}
	})
}

func TestALimitIsAnnouncedOnceWhenItIsReached(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		h.events.seen = nil
		for range 15 {
			_, _ = h.signIn(from(t.Context(), "192.0.2.1"), "ada@example.com", "wrong horse")
		}
		if len(h.events.seen) != 1 {
			t.Fatalf("%+v, want one event", h.events.seen)
		}
		e, _ := h.events.seen[0].(auth.Throttled)
		if e.IdentityID != ada.ID || e.Limit != "account_address" || e.Failures != 10 || e.IP != "192.0.2.1" || time.Until(e.Until) > 15*time.Minute {
			t.Errorf("%+v", e)
		}
	})
}

func TestASuspiciousSignInIsAnnounced(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		h.register(t, "ada@example.com", "correct horse")
		enter := func(c auth.Client, failures int) (auth.Session, []auth.SuspiciousSignIn) {
			h.events.seen = nil
			ctx := auth.WithClient(t.Context(), c)
			for range failures {
				_, _ = h.signIn(ctx, "ada@example.com", "wrong horse")
			}
			i, err := h.signIn(ctx, "ada@example.com", "correct horse")
			must(t, err)
			session, err := h.OpenSession(ctx, i, "user", c)
			must(t, err)
			var told []auth.SuspiciousSignIn
			for _, e := range h.events.seen {
				if e, ok := e.(auth.SuspiciousSignIn); ok {
					told = append(told, e)
				}
			}
			return session, told
		}
		first, told := enter(auth.Client{IP: "192.0.2.1"}, 4)
		if len(told) != 0 {
			t.Errorf("a sign-in after 4 failures: %+v", told)
		}
		if _, told := enter(auth.Client{IP: "192.0.2.1"}, 1); len(told) != 1 || told[0].Failures != 5 || told[0].NewDevice {
			t.Errorf("a sign-in after 5 failures: %+v", told)
		}
		must(t, h.db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := h.db.Conn(ctx).ExecContext(ctx, "DELETE FROM latchkey_auth_throttle")
			return err
		}))
		if _, told := enter(auth.Client{IP: "192.0.2.2", Device: h.DeviceToken(first, "")}, 0); len(told) != 0 {
			t.Errorf("by a known device from elsewhere: %+v", told)
		}
		if s, told := enter(auth.Client{IP: "192.0.2.3", UserAgent: "new"}, 0); len(told) != 1 || !told[0].NewDevice || told[0].SessionID != s.ID || told[0].UserAgent != "new" {
			t.Errorf("by a new device from elsewhere: %+v", told)
		}
		if _, told := enter(auth.Client{IP: "127.0.0.1", Shared: true}, 0); len(told) != 0 {
			t.Errorf("from an address that says nothing: %+v", told)
		}
	})
}

func TestCountsAreDeletedWhenTheirWindowsAreOver(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		short, long := auth.Limit{Name: "short", Most: 1, Per: time.Millisecond}, auth.Limit{Name: "long", Most: 1, Per: time.Hour}
		for i := range 5 {
			must(t, h.Take(t.Context(), short, fmt.Sprint(i)))
			must(t, h.Take(t.Context(), long, fmt.Sprint(i)))
		}
		over := func(ago time.Duration) {
			must(t, h.db.InTx(t.Context(), func(ctx context.Context) error {
				_, err := h.db.Conn(ctx).NewRaw("UPDATE latchkey_auth_throttle SET expires_at = ? WHERE expires_at < ?",
					database.Now().Add(-ago), database.Now().Add(time.Minute)).Exec(ctx)
				return err
			}))
		}
		over(59 * time.Minute) // another node's clock may not be there yet
		if n, err := h.PurgeThrottles(t.Context(), 2); err != nil || n != 0 {
			t.Errorf("%d deleted, %v, before any clock can be past it", n, err)
		}
		over(61 * time.Minute)
		for _, want := range []int{2, 2, 1, 0} {
			if n, err := h.PurgeThrottles(t.Context(), 2); err != nil || n != want {
				t.Errorf("%d deleted, %v; want %d", n, err, want)
			}
		}
		if n := h.count(t, "auth_throttle"); n != 5 {
			t.Errorf("%d counts are left, want 5", n)
		}
	})
}

func TestNothingTypedIsKeptOfWhatIsCounted(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		_, _ = h.signIn(from(t.Context(), "192.0.2.1"), "typed.by.mistake@example.com", "wrong horse")
		_, _ = h.signIn(from(t.Context(), "192.0.2.1"), "hunter2 typed into the wrong field", "wrong horse")
		rows := fmt.Sprint(databasetest.Dump(t, h.db)["latchkey_auth_throttle"])
		if !strings.Contains(rows, "failed:2") { // from the address
			t.Errorf("the counts are %s", rows)
		}
		for _, text := range []string{"typed", "hunter2", "192.0.2"} {
			if strings.Contains(rows, text) {
				t.Errorf("%q is kept: %s", text, rows)
			}
		}
	})
}

func TestThrottlingCanBeDisabled(t *testing.T) {
	h := onSQLite(t, auth.Options{Throttle: auth.ThrottleOptions{Disabled: true}})
	for range 20 {
		if _, err := h.signIn(t.Context(), "ada@example.com", "wrong horse"); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Fatal(err)
		}
	}
	must(t, h.Take(t.Context(), auth.Limit{Name: "x", Most: 0}, ""))
	if n := h.count(t, "auth_throttle"); n != 0 {
		t.Errorf("%d counts", n)
	}
}

func TestADeviceAndASessionGuessNoMoreThanAHundredTimesADay(t *testing.T) {
	eachThrottled(t, auth.ThrottleOptions{}, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		session, err := h.OpenSession(t.Context(), ada, "user", auth.Client{})
		must(t, err)
		known := auth.WithClient(t.Context(), auth.Client{Device: h.DeviceToken(session, "")})
		for name, guess := range map[string]func(secret string) error{
			"the device": func(secret string) error { _, err := h.signIn(known, "ada@example.com", secret); return err },
			"the session": func(secret string) error {
				_, err := h.ProveAgain(t.Context(), session, input("password", secret))
				return err
			},
		} {
			wrong := func(days int) { // as if there had been so many in the windows of a day, and none in others
				t.Helper()
				if err := guess("wrong horse"); !errors.Is(err, auth.ErrInvalidCredentials) {
					t.Fatalf("%s: %v", name, err)
				}
				must(t, h.db.InTx(t.Context(), func(ctx context.Context) error {
					soon := database.Now().Add(time.Hour)
					if _, err := h.db.Conn(ctx).NewRaw("DELETE FROM latchkey_auth_throttle WHERE expires_at < ?", soon).Exec(ctx); err != nil {
						return err
					}
					_, err := h.db.Conn(ctx).NewRaw("UPDATE latchkey_auth_throttle SET failed = ? WHERE expires_at > ?", days, soon).Exec(ctx)
					return err
				}))
			}
			wrong(99)
			must(t, guess("correct horse")) // which forgets them
			wrong(99)
			wrong(100)
			if wait := throttledFor(t, guess("correct horse")); wait < 20*time.Hour {
				t.Errorf("%s waits %v, want the rest of the day", name, wait)
			}
		}
	})
}

// hasty looks at a secret, and asks for it as it was made to.
type hasty struct{ inTime, late bool }

func (hasty) Name() string { return "hasty" }

func (p hasty) Authenticate(ctx context.Context, a auth.Attempt) (found auth.Assertion, err error) {
	var in struct{ Name, Pin string }
	if err := a.Input.Decode(&in); err != nil {
		return auth.Assertion{}, err
	}
	if p.inTime {
		if _, err := a.Secret(ctx, in.Name); err != nil {
			return auth.Assertion{}, err
		}
	}
	if found.EntityID = in.Name; in.Pin != "271828" {
		err = auth.ErrInvalidCredentials
	}
	if p.late {
		_, _ = a.Secret(ctx, in.Name) // whatever the answer is
	}
	return found, err
}

func TestAProviderThatDoesNotSayAtWhomAGuessIsIsNotBelieved(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		try := func(p hasty, o auth.ThrottleOptions, pins ...string) (answers []error) {
			s, err := auth.New(auth.Params{DB: h.db, Keys: ring(t, secret(1)), Providers: []auth.Provider{p}, Options: auth.Options{Throttle: o}})
			must(t, err)
			for i, pin := range pins {
				ctx := auth.WithClient(t.Context(), auth.Client{IP: fmt.Sprint("192.0.2.", i)})
				_, err := s.Authenticate(ctx, "hasty", auth.Input(`{"Name":"ada","Pin":"`+pin+`"}`))
				answers = append(answers, err)
			}
			return answers
		}
		for _, o := range []auth.ThrottleOptions{{}, {Disabled: true}} {
			got := try(hasty{}, o, "271828", "314159")
			if fault.KindOf(got[0]) != fault.Internal || fault.KindOf(got[1]) != fault.Internal || got[0].Error() != got[1].Error() {
				t.Errorf("right: %v; wrong: %v; want one failure of the provider, which tells nobody which it was", got[0], got[1])
			}
		}
		if all, err := h.ListAuthIdentities(t.Context(), auth.IdentityFilter{}, auth.Page{}); err != nil || len(all) != 0 {
			t.Errorf("there are %v, %v", all, err)
		}
		few := auth.ThrottleOptions{Account: auth.Limit{Most: 2}}
		for name, p := range map[string]hasty{"in time": {inTime: true}, "late, and deaf to the answer": {late: true}} {
			must(t, h.db.InTx(t.Context(), func(ctx context.Context) error {
				_, err := h.db.Conn(ctx).NewRaw("DELETE FROM latchkey_auth_throttle").Exec(ctx)
				return err
			}))
			got := try(p, few, "271828", "1", "2", "3", "271828")
			for i, want := range []error{nil, auth.ErrInvalidCredentials, auth.ErrInvalidCredentials, auth.ErrThrottled, auth.ErrThrottled} {
				if !errors.Is(got[i], want) {
					t.Errorf("%s, attempt %d: %v, want %v", name, i+1, got[i], want)
				}
			}
		}
	})
}
