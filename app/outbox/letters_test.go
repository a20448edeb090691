package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// emit records the events.
func emit(t *testing.T, o *outbox.Outbox, events ...happened) {
	t.Helper()
	for _, e := range events {
		if err := o.Emit(t.Context(), e); err != nil {
			t.Fatal(err)
		}
	}
}

// list are the deliveries that have not been made.
func list(t *testing.T, o *outbox.Outbox, f outbox.Filter) []outbox.Waiting {
	t.Helper()
	found, _, err := o.List(t.Context(), f, 0, 0) // they are counted a moment later
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// until waits for the condition.
func until(t *testing.T, what string, holds func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !holds(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("in vain: ", what)
		}
	}
}

// withOptions returns an outbox with the options and the consumers.
func withOptions(t *testing.T, db *database.DB, options outbox.Options, consumers ...outbox.Consumer) *outbox.Outbox {
	t.Helper()
	o, err := outbox.New(outbox.Params{DB: db, Log: slog.New(slog.DiscardHandler), Options: options})
	if err == nil {
		err = o.Register(consumers...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return o
}

func TestADeadLetterLetsTheNextPassAndIsHandledWhenItIsTriedAgain(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		var s seen
		var mended atomic.Bool
		o := open(t, at.Open(t, outbox.Migrations()), outbox.On("c", func(_ context.Context, d outbox.Delivery, e happened) error {
			if e.N == 1 && !mended.Load() {
				return fmt.Errorf("it is\nwrong: %w", outbox.Permanent(errors.New("for good")))
			}
			s.add(d, e)
			return nil
		}))
		run(t, o)
		emit(t, o, happened{"x", 1}, happened{"x", 2}, happened{"x", 3})
		drained(t, o)
		if got := s.all(); !slices.Equal(got, []happened{{"x", 2}, {"x", 3}}) {
			t.Errorf("handled were %v", got)
		}
		dead := list(t, o, outbox.Filter{Dead: true})
		if len(dead) != 1 || dead[0].State != outbox.StateDead || dead[0].Attempts != 1 || dead[0].Error != "it is?wrong: for good" || dead[0].Topic != "test.happened" ||
			dead[0].Aggregate != "x" || dead[0].Consumer != "c" || time.Since(dead[0].Dead).Abs() > time.Minute || !dead[0].Next.IsZero() {
			t.Fatalf("dead letters: %+v", dead)
		}
		if n, err := o.Retry(t.Context(), outbox.Filter{ID: "evt_other"}); n != 0 || err != nil {
			t.Errorf("tried again: %d, %v", n, err)
		}
		mended.Store(true)
		if n, err := o.Retry(t.Context(), outbox.Filter{ID: dead[0].ID}); n != 1 || err != nil {
			t.Errorf("tried again: %d, %v", n, err)
		}
		drained(t, o)
		if got := s.deliveries; len(got) != 3 || got[2].ID != dead[0].ID || got[2].Attempt != 2 {
			t.Errorf("handled were %+v", got)
		}
		if left := list(t, o, outbox.Filter{}); len(left) != 0 {
			t.Errorf("left are %+v", left)
		}
	})
}

func TestAnEventIsADeadLetterAfterSoManyAttempts(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		var attempts atomic.Int64
		o := withOptions(t, at.Open(t, outbox.Migrations()), outbox.Options{MaxAttempts: 2}, outbox.On("c", func(context.Context, outbox.Delivery, happened) error {
			attempts.Add(1)
			return errors.New("no")
		}))
		run(t, o)
		emit(t, o, happened{"x", 1})
		until(t, "it fails", func() bool { return attempts.Load() == 1 })
		until(t, "it is put off", func() bool { return list(t, o, outbox.Filter{})[0].Error == "no" })
		if w := list(t, o, outbox.Filter{}); w[0].State != outbox.StateWaiting || w[0].Attempts != 1 {
			t.Errorf("it stands as %+v", w)
		}
		if n, err := o.Retry(t.Context(), outbox.Filter{Consumer: "c"}); n != 1 || err != nil { // now, and from the start
			t.Errorf("tried again: %d, %v", n, err)
		}
		drained(t, o)
		if dead := list(t, o, outbox.Filter{Dead: true}); attempts.Load() != 3 || len(dead) != 1 || dead[0].Attempts != 3 {
			t.Errorf("after %d attempts: %+v", attempts.Load(), dead)
		}
		if n, err := o.Discard(t.Context(), outbox.Filter{Dead: true, Consumer: "other"}); n != 0 || err != nil {
			t.Errorf("discarded: %d, %v", n, err)
		}
		if n, err := o.Discard(t.Context(), outbox.Filter{Dead: true, Consumer: "c", Topic: "test.happened"}); n != 1 || err != nil {
			t.Errorf("discarded: %d, %v", n, err)
		}
		if left := list(t, o, outbox.Filter{}); len(left) != 0 {
			t.Errorf("left are %+v", left)
		}
	})
}

// A program that dies of an event does not die of it for ever.
func TestAnEventThatNobodySurvivesIsADeadLetter(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, outbox.Migrations())
		var s seen
		emit(t, open(t, db, s.consumer("c")), happened{"x", 1}, happened{"x", 2})
		if err := db.InTx(t.Context(), func(ctx context.Context) error { // as if it had been begun twice
			_, err := db.Conn(ctx).NewRaw("UPDATE latchkey_outbox_delivery SET attempts = 2 WHERE event_seq = 1").Exec(ctx)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		o := withOptions(t, db, outbox.Options{MaxAttempts: 2}, s.consumer("c"))
		run(t, o)
		drained(t, o)
		if got, dead := s.all(), list(t, o, outbox.Filter{Dead: true}); !slices.Equal(got, []happened{{"x", 2}}) || len(dead) != 1 || dead[0].Error == "" {
			t.Errorf("handled %v, dead are %+v", got, dead)
		}
	})
}

func TestANewConsumerStartsAtNowAndIsToldByWhoeverEmits(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, outbox.Migrations())
		var s seen
		stranger := open(t, db) // such as a command, or an application that has no consumers
		emit(t, stranger, happened{"x", 1})
		o := open(t, db, s.consumer("c"))
		run(t, o)
		until(t, "it is enrolled", func() bool {
			found, err := o.Consumers(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			return len(found) == 1 && found[0].Name == "c" && slices.Equal(found[0].Topics, []string{"test.happened"})
		})
		emit(t, stranger, happened{"x", 2})
		drained(t, o)
		if got := s.all(); !slices.Equal(got, []happened{{"x", 2}}) {
			t.Errorf("it was told %v", got)
		}
	})
}

func TestNothingIsRecordedForWhoIsForgottenOrRetired(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, outbox.Migrations())
		var a, b seen
		emit(t, open(t, db, a.consumer("a"), b.consumer("b"), b.consumer("c")), happened{"x", 1})
		o := open(t, db, a.consumer("a"))
		o.Retire("b", "never_there")
		if n, err := o.Forget(t.Context(), "a"); n != 0 || !errors.Is(err, outbox.ErrInUse) {
			t.Errorf("one that is in use was forgotten with %d, %v", n, err)
		}
		if all, total, err := o.List(t.Context(), outbox.Filter{}, 1, 0); len(all) != 2 || total != 3 || err != nil {
			t.Errorf("from the second on are %+v of %d, %v", all, total, err)
		}
		if n, err := o.Forget(t.Context(), "c"); n != 1 || err != nil {
			t.Errorf("forgotten with %d, %v", n, err)
		}
		emit(t, o, happened{"x", 2})
		run(t, o)
		until(t, "a has all", func() bool { return len(a.all()) == 2 && len(list(t, o, outbox.Filter{Consumer: "a"})) == 0 })
		left := list(t, o, outbox.Filter{})
		if len(left) != 1 || left[0].Consumer != "b" {
			t.Errorf("left are %+v", left)
		}
		found, err := o.Consumers(t.Context())
		if err != nil || len(found) != 2 || found[0].Name != "a" || found[0].Since.IsZero() || found[0].Waiting != 0 || !found[0].Oldest.IsZero() ||
			found[1].Name != "b" || !found[1].Since.IsZero() || found[1].Waiting != 1 || !found[1].Oldest.Equal(left[0].At) {
			t.Errorf("the consumers are %+v, %v", found, err)
		}
	})
}

func TestTargetsComeAndGoWithTheirTransactions(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, outbox.Migrations())
		var mu sync.Mutex
		got := map[string][]string{}
		o := open(t, db, outbox.ToTargets("hooks", func(_ context.Context, target string, e outbox.Event) error {
			if target == "broken" {
				return errors.New("out of order")
			}
			mu.Lock()
			defer mu.Unlock()
			got[target] = append(got[target], e.Topic+string(e.Data))
			return nil
		}))
		run(t, o)
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		both := func(n int) {
			t.Helper()
			must(o.Emit(t.Context(), happened{"x", n}, other{happened{"x", n}}))
		}
		both(0)
		must(o.AddTarget(t.Context(), "hooks", "all"))
		must(o.AddTarget(t.Context(), "hooks", "broken", "test.other"))
		must(db.InTx(t.Context(), func(ctx context.Context) error {
			must(o.AddTarget(ctx, "hooks", "some", "test.happened"))
			return nil
		}))
		if err := db.InTx(t.Context(), func(ctx context.Context) error {
			must(o.AddTarget(ctx, "hooks", "none"))
			return errors.New("taken back")
		}); err == nil {
			t.Error("no error")
		}
		both(1)
		until(t, "they are told", func() bool { mu.Lock(); defer mu.Unlock(); return len(got["all"]) == 2 && len(got["some"]) == 1 })
		must(o.AddTarget(t.Context(), "hooks", "some", "test.other")) // in place of what it had
		must(o.RemoveTarget(t.Context(), "hooks", "all"))
		both(2)
		until(t, "it is told", func() bool { mu.Lock(); defer mu.Unlock(); return len(got["some"]) == 2 })
		until(t, "that is recorded", func() bool { return len(list(t, o, outbox.Filter{Target: "some"})) == 0 })
		var left []outbox.Waiting
		until(t, "what it was told is recorded", func() bool { left = list(t, o, outbox.Filter{Consumer: "hooks"}); return len(left) == 2 })
		if left[0].Target != "broken" || left[1].Target != "broken" {
			t.Errorf("left are %+v", left)
		}
		must(o.RemoveTarget(t.Context(), "hooks", "broken"))
		drained(t, o)
		mu.Lock()
		defer mu.Unlock()
		want := fmt.Sprint(map[string][]string{
			"all":  {`test.happened{"n": 1, "to": "x"}`, `test.other{"n": 1, "to": "x"}`},
			"some": {`test.happened{"n": 1, "to": "x"}`, `test.other{"n": 2, "to": "x"}`},
		})
		if is := strings.NewReplacer(`{"to":"x","n":1}`, `{"n": 1, "to": "x"}`, `{"to":"x","n":2}`, `{"n": 2, "to": "x"}`).Replace(fmt.Sprint(got)); is != want {
			t.Errorf("they were told\n%v, want\n%v", is, want)
		}
	})
}

// A target that hangs has four workers and no more, so that others are served meanwhile; and another consumer has its own.
func TestATargetThatHangsHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		var hanging, served atomic.Int64
		var s seen
		release := make(chan struct{})
		o := open(t, at.Open(t, outbox.Migrations()), s.consumer("c"), outbox.ToTargets("hooks", func(_ context.Context, target string, _ outbox.Event) error {
			if target == "slow" {
				hanging.Add(1)
				<-release
			} else {
				served.Add(1)
			}
			return nil
		}))
		for _, target := range []string{"slow", "quick"} {
			if err := o.AddTarget(t.Context(), "hooks", target); err != nil {
				t.Fatal(err)
			}
		}
		run(t, o)
		for n := range 40 {
			emit(t, o, happened{fmt.Sprint(n), n})
		}
		until(t, "the others are served", func() bool { return served.Load() == 40 && len(s.all()) == 40 })
		if n := hanging.Load(); n != 4 {
			t.Errorf("%d workers hang", n)
		}
		close(release)
		drained(t, o)
	})
}

// However many targets hang, half of the workers are for those that do not.
func TestManyTargetsThatHangHoldUpNobodyElse(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		var hanging, served atomic.Int64
		first, release := make(chan struct{}), make(chan struct{})
		o := open(t, at.Open(t, outbox.Migrations()), outbox.ToTargets("hooks", func(_ context.Context, target string, e outbox.Event) error {
			switch {
			case target == "quick":
				served.Add(1)
				return nil
			case strings.HasPrefix(e.Aggregate, "first"):
				hanging.Add(1)
				<-first
			default:
				hanging.Add(1)
				<-release
			}
			return nil
		}))
		for n := range 4 {
			if err := o.AddTarget(t.Context(), "hooks", fmt.Sprint("slow", n)); err != nil {
				t.Fatal(err)
			}
		}
		for n := range 4 {
			emit(t, o, happened{fmt.Sprint("first", n), n})
		}
		run(t, o)
		until(t, "they have all workers, as nobody knows them", func() bool { return hanging.Load() == 16 })
		time.Sleep(1100 * time.Millisecond)
		if err := o.AddTarget(t.Context(), "hooks", "quick"); err != nil {
			t.Fatal(err)
		}
		for n := range 40 {
			emit(t, o, happened{fmt.Sprint("then", n), n})
		}
		close(first)
		until(t, "the quick one is served", func() bool { return served.Load() == 40 })
		if n := hanging.Load() - 16; n > 8 {
			t.Errorf("%d workers hang", n)
		}
		close(release)
		drained(t, o)
	})
}

// A target that is down is asked seldom, and what waits for it keeps its attempts; once it is up it gets everything.
func TestATargetThatIsDownIsGivenPauses(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		const events = 40
		var attempts, served, quick atomic.Int64
		var up atomic.Bool
		o := open(t, at.Open(t, outbox.Migrations()), outbox.ToTargets("hooks", func(_ context.Context, target string, _ outbox.Event) error {
			switch {
			case target == "quick":
				quick.Add(1)
			case up.Load():
				served.Add(1)
			default:
				attempts.Add(1)
				return errors.New("down")
			}
			return nil
		}))
		for _, target := range []string{"down", "quick"} {
			if err := o.AddTarget(t.Context(), "hooks", target); err != nil {
				t.Fatal(err)
			}
		}
		run(t, o)
		for n := range events {
			emit(t, o, happened{fmt.Sprint(n), n})
		}
		until(t, "the other has all", func() bool { return quick.Load() == events })
		until(t, "there were pauses", func() bool { return attempts.Load() >= 12 })
		if n := attempts.Load(); n > 20 { // without pauses all are tried at once
			t.Errorf("a target that is down was asked %d times", n)
		}
		up.Store(true)
		drained(t, o)
		if n := served.Load(); n != events {
			t.Errorf("it got %d events", n)
		}
	})
}

// Of many events of one aggregate several are taken at once: those that are not begun when one fails, or the program stops,
// have lost no attempt.
func TestEventsThatWereTakenTogetherAreGivenBack(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, outbox.Migrations())
		var s seen
		begun, release := make(chan struct{}), make(chan struct{})
		o := open(t, db, outbox.On("c", func(_ context.Context, d outbox.Delivery, e happened) error {
			if e.N == 3 && d.Attempt == 1 {
				return errors.New("not yet")
			}
			if e.N == 5 && d.Attempt == 1 {
				close(begun)
				<-release
			}
			s.add(d, e)
			return nil
		}))
		var want []happened
		for n := range 10 {
			want = append(want, happened{"x", n})
		}
		emit(t, o, want...)
		stop := run(t, o)
		<-begun
		time.AfterFunc(50*time.Millisecond, func() { close(release) })
		stop() // it handles what it is at, and no more
		if got := s.all(); !slices.Equal(got, want[:6]) {
			t.Errorf("until the stop were handled %v", got)
		}
		next := open(t, db, s.consumer("c"))
		run(t, next)
		began := time.Now()
		drained(t, next)
		if took := time.Since(began); took > 4*time.Second { // of a lease
			t.Errorf("the next start had to wait for %v", took)
		}
		if got := s.all(); !slices.Equal(got, want) {
			t.Errorf("handled were %v", got)
		}
		for i, d := range s.deliveries {
			if want := map[bool]int{true: 2, false: 1}[i == 3]; d.Attempt != want {
				t.Errorf("event %d was handled at attempt %d", i, d.Attempt)
			}
		}
	})
}

func TestDeadLettersArePurgedAsLongAfterAsDeliveredEvents(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, outbox.Migrations())
		o := withOptions(t, db, outbox.Options{Retention: time.Hour}, outbox.On("c", func(context.Context, outbox.Delivery, happened) error {
			return outbox.Permanent(errors.New("no"))
		}))
		stop := run(t, o)
		emit(t, o, happened{"x", 1})
		drained(t, o)
		stop()
		age := func(table, column string) {
			t.Helper()
			if err := db.InTx(t.Context(), func(ctx context.Context) error {
				_, err := db.Conn(ctx).NewUpdate().TableExpr(table).Set(column+" = ?", database.Now().Add(-2*time.Hour)).Where("TRUE").Exec(ctx)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		age("latchkey_outbox_event", "created_at")
		if n, err := o.Purge(t.Context(), 10); n != 0 || err != nil {
			t.Errorf("of an old event that is dead since just now: %d, %v", n, err)
		}
		age("latchkey_outbox_delivery", "dead_at")
		if n, err := o.Purge(t.Context(), 10); n != 1 || err != nil {
			t.Errorf("of one that is dead for long: %d, %v", n, err)
		}
		if left := list(t, o, outbox.Filter{}); len(left) != 0 {
			t.Errorf("left are %+v", left)
		}
	})
}

// An event that stops its program takes nobody along: those after it were not begun, however often they were taken with it.
func TestWhatWasTakenWithAnEventThatNobodySurvivesIsHandled(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		var s seen
		stop := make(chan struct{})
		t.Cleanup(func() { close(stop) })
		deadly := outbox.On("c", func(_ context.Context, d outbox.Delivery, e happened) error {
			if e.N == 1 {
				<-stop // as if it had been killed: its node is not heard of again
			}
			s.add(d, e)
			return nil
		})
		options := outbox.Options{MaxAttempts: 2}
		db := at.Open(t, outbox.Migrations())
		emit(t, withOptions(t, db, options, deadly), happened{"x", 1}, happened{"x", 2}, happened{"x", 3})
		for n := range 2 {
			node := withOptions(t, db, options, deadly)
			node.SetLease(time.Hour)
			ctx, cancel := context.WithCancel(t.Context())
			go node.Run(ctx)
			until(t, "it is begun", func() bool { return list(t, node, outbox.Filter{})[0].Attempts == n+1 })
			cancel()
			sql(t, db, "UPDATE latchkey_outbox_delivery SET next_at = ?, leased_until = ?", database.Now().Add(-time.Second), database.Now().Add(-time.Second))
		}
		o := withOptions(t, db, options, deadly)
		run(t, o)
		drained(t, o)
		if got, dead := s.all(), list(t, o, outbox.Filter{Dead: true}); !slices.Equal(got, []happened{{"x", 2}, {"x", 3}}) || len(dead) != 1 {
			t.Errorf("handled %v, dead are %+v", got, dead)
		}
	})
}

// A dead letter that is tried again waits until nobody is at a later event of its aggregate, and takes nothing from who is.
func TestADeadLetterIsTriedAgainWhenNobodyIsAtItsAggregate(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, outbox.Migrations())
		var s seen
		var mended atomic.Bool
		var atWork, most atomic.Int64
		begun, release := make(chan struct{}), make(chan struct{})
		c := outbox.On("c", func(_ context.Context, d outbox.Delivery, e happened) error {
			if e.N == 1 && !mended.Load() {
				return outbox.Permanent(errors.New("no"))
			}
			if n := atWork.Add(1); n > most.Load() {
				most.Store(n)
			}
			defer atWork.Add(-1)
			s.add(d, e)
			if e.N == 2 && d.Attempt == 1 {
				close(begun)
				<-release
			}
			return nil
		})
		o := open(t, db, c)
		emit(t, o, happened{"x", 1}, happened{"x", 2}, happened{"x", 3})
		run(t, o)
		<-begun
		mended.Store(true)
		if n, err := o.Retry(t.Context(), outbox.Filter{Dead: true}); n != 1 || err != nil {
			t.Fatalf("tried again: %d, %v", n, err)
		}
		run(t, open(t, db, c)) // another node
		time.Sleep(300 * time.Millisecond)
		close(release)
		drained(t, o)
		got := s.all()
		slices.SortFunc(got, func(a, b happened) int { return a.N - b.N })
		if !slices.Equal(got, []happened{{"x", 1}, {"x", 2}, {"x", 3}}) || most.Load() != 1 {
			t.Errorf("handled %v, %d at a time", s.all(), most.Load())
		}
	})
}

// Whatever waited for an event that is tried again now, or dropped, waits no longer than it.
func TestWhatIsPutOffWithAnEventIsReleasedWithIt(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		for name, settle := range map[string]func(*outbox.Outbox, context.Context, outbox.Filter) (int, error){"retry": (*outbox.Outbox).Retry, "discard": (*outbox.Outbox).Discard} {
			t.Run(name, func(t *testing.T) {
				db := at.Open(t, outbox.Migrations())
				var s seen
				var mended atomic.Bool
				o := open(t, db, outbox.On("c", func(_ context.Context, d outbox.Delivery, e happened) error {
					if e.N == 0 && !mended.Load() {
						return errors.New("not now")
					}
					s.add(d, e)
					return nil
				}))
				for n := range 40 {
					emit(t, o, happened{"x", n})
				}
				sql(t, db, "UPDATE latchkey_outbox_delivery SET attempts = 10 WHERE aggregate_id = 'x'")
				run(t, o)
				until(t, "it fails", func() bool { l := list(t, o, outbox.Filter{}); return len(l) > 0 && l[0].Error != "" })
				mended.Store(true)
				if n, err := settle(o, t.Context(), outbox.Filter{ID: list(t, o, outbox.Filter{})[0].ID}); n != 1 || err != nil {
					t.Fatalf("%d, %v", n, err)
				}
				drained(t, o)
			})
		}
	})
}
