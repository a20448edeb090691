package outbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
)

// happened is an event of a test.
type happened struct {
	To string `json:"to"`
	N  int    `json:"n"`
}

func (happened) Topic() string       { return "test.happened" }
func (e happened) Aggregate() string { return e.To }

// other is one that nobody consumes.
type other struct{ happened }

func (other) Topic() string { return "test.other" }

// open returns an outbox with the consumers.
func open(t *testing.T, db *database.DB, consumers ...outbox.Consumer) *outbox.Outbox {
	t.Helper()
	o, err := outbox.New(outbox.Params{DB: db, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = o.Register(consumers...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// run delivers until the test ends or stop is called.
func run(t *testing.T, o *outbox.Outbox) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		o.Run(ctx)
	}()
	stop = func() { cancel(); <-ended }
	t.Cleanup(stop)
	return stop
}

// drained waits until nothing is left to deliver.
func drained(t *testing.T, o *outbox.Outbox) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		n, err := o.Pending(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if n == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%d deliveries are left", n)
		}
	}
}

// seen collects what a consumer was given.
type seen struct {
	mu         sync.Mutex
	events     []happened
	deliveries []outbox.Delivery
}

func (s *seen) add(d outbox.Delivery, e happened) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.events, s.deliveries = append(s.events, e), append(s.deliveries, d)
}

func (s *seen) all() []happened {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.events)
}

func (s *seen) consumer(name string) outbox.Consumer {
	return outbox.On(name, func(_ context.Context, d outbox.Delivery, e happened) error {
		s.add(d, e)
		return nil
	})
}

func TestAnEventIsDeliveredOnceToEachConsumerIfItsTransactionCommits(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, outbox.Migrations())
		var a, b seen
		o := open(t, db, a.consumer("a"), b.consumer("b"))
		run(t, o)
		err := db.InTx(t.Context(), func(ctx context.Context) error { return o.Emit(ctx, happened{"x", 1}, other{}, happened{"y", 2}) })
		if err != nil {
			t.Fatal(err)
		}
		errBack := errors.New("taken back")
		err = db.InTx(t.Context(), func(ctx context.Context) error {
			if err := o.Emit(ctx, happened{"x", 3}); err != nil {
				return err
			}
			return errBack
		})
		if !errors.Is(err, errBack) {
			t.Fatal(err)
		}
		drained(t, o)
		for name, s := range map[string]*seen{"a": &a, "b": &b} {
			got := s.all()
			slices.SortFunc(got, func(a, b happened) int { return a.N - b.N })
			if !slices.Equal(got, []happened{{"x", 1}, {"y", 2}}) {
				t.Errorf("consumer %s got %v", name, got)
			}
		}
		d := a.deliveries[0]
		if d.Topic != "test.happened" || d.Aggregate != a.events[0].To || d.Attempt != 1 || d.ID == a.deliveries[1].ID || time.Since(d.At).Abs() > time.Minute || d.At.Location() != time.UTC {
			t.Errorf("delivery %+v", d)
		}
	})
}

func TestAConsumerThatFailsIsAskedAgainInOrderAndHoldsUpNobodyElse(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, outbox.Migrations())
		var s seen
		var failing = map[int]int{1: 2} // event 1 fails twice: by an error, then by a panic
		var mu sync.Mutex
		o := open(t, db, outbox.On("c", func(_ context.Context, d outbox.Delivery, e happened) error {
			mu.Lock()
			defer mu.Unlock()
			if failing[e.N] > 0 {
				failing[e.N]--
				if failing[e.N] == 0 {
					panic("of a test")
				}
				return errors.New("not now")
			}
			s.add(d, e)
			return nil
		}))
		if err := o.Emit(t.Context(), happened{"x", 1}, happened{"x", 2}, happened{"y", 3}); err != nil {
			t.Fatal(err)
		}
		run(t, o)
		drained(t, o)
		if got := s.all(); !slices.Equal(got, []happened{{"y", 3}, {"x", 1}, {"x", 2}}) {
			t.Errorf("handled in the order %v", got)
		}
		if d := s.deliveries[1]; d.Attempt != 3 {
			t.Errorf("event 1 was handled at attempt %d", d.Attempt)
		}
	})
}

func TestWhatWasNotDeliveredBeforeAStopIsDeliveredAfterTheNextStart(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, outbox.Migrations())
		var s seen
		recorder := open(t, db, s.consumer("c")) // as a command that does not deliver
		if err := recorder.Emit(t.Context(), happened{"x", 1}); err != nil {
			t.Fatal(err)
		}
		again := at.Open(t)
		o := open(t, again, s.consumer("c"))
		stop := run(t, o)
		drained(t, o)
		stop()
		if err := recorder.Emit(t.Context(), happened{"x", 2}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
		if got := s.all(); len(got) != 1 {
			t.Fatalf("delivered after the stop: %v", got)
		}
		run(t, open(t, again, s.consumer("c")))
		drained(t, o)
		if got := s.all(); !slices.Equal(got, []happened{{"x", 1}, {"x", 2}}) {
			t.Errorf("delivered %v", got)
		}
	})
}

func TestNodesShareTheWorkWithoutDoingItTwice(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		var s seen
		nodes := make([]*outbox.Outbox, 3)
		for i := range nodes {
			nodes[i] = open(t, at.Open(t, outbox.Migrations()), s.consumer("c"))
			run(t, nodes[i])
		}
		const n = 200
		for i := range n {
			if err := nodes[i%3].Emit(t.Context(), happened{string(rune('a' + i%10)), i}); err != nil {
				t.Fatal(err)
			}
		}
		drained(t, nodes[0])
		last := map[string]int{}
		for _, e := range s.all() {
			if before, ok := last[e.To]; ok && before >= e.N {
				t.Errorf("aggregate %s: %d after %d", e.To, e.N, before)
			}
			last[e.To] = e.N
		}
		if got := s.all(); len(got) != n {
			t.Errorf("%d of %d were handled", len(got), n)
		}
	})
}

func TestManyEventsAreRecordedAtOnce(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		var s seen
		o := open(t, at.Open(t, outbox.Migrations()), s.consumer("c"))
		events := make([]event.Event, 1201)
		for i := range events {
			events[i] = happened{"x" + string(rune('a'+i%26)), i}
		}
		if err := o.Emit(t.Context(), events...); err != nil {
			t.Fatal(err)
		}
		if n, err := o.Pending(t.Context()); err != nil || n != len(events) {
			t.Errorf("%d are pending, %v", n, err)
		}
	})
}

func TestWhatCannotBeKeptIsRefusedAlikeOnBothDatabases(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		o := open(t, at.Open(t, outbox.Migrations()))
		if err := o.Emit(t.Context(), happened{"a\x00b", 1}); err == nil {
			t.Error("an event with a NUL character was recorded")
		}
		if err := o.Emit(t.Context(), happened{`a\u0000b`, 1}); err != nil {
			t.Errorf("an event with a backslash: %v", err)
		}
	})
}

// anything is a consumer of every topic.
func anything(name string, s *seen) outbox.Consumer {
	return outbox.OnAny(name, func(_ context.Context, d outbox.Delivery, payload json.RawMessage) error {
		var e happened
		err := json.Unmarshal(payload, &e)
		s.add(d, e)
		return err
	})
}

func TestAConsumerOfEveryTopicGetsAllEventsOfAnAggregateInTheirOrder(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, outbox.Migrations())
		var all, one seen
		o := open(t, db, one.consumer("one"), anything("all", &all))
		for n := range 40 {
			var e event.Event = happened{"x", n}
			if n%2 == 1 {
				e = other{happened{"x", n}}
			}
			if err := o.Emit(t.Context(), e); err != nil {
				t.Fatal(err)
			}
		}
		run(t, o)
		drained(t, o)
		if got := one.all(); len(got) != 20 {
			t.Errorf("the consumer of one topic got %d events, want 20", len(got))
		}
		got := all.all()
		for n, e := range got {
			topic := []string{"test.happened", "test.other"}[e.N%2]
			if d := all.deliveries[n]; e != (happened{"x", n}) || d.Topic != topic || d.Aggregate != "x" {
				t.Errorf("the %dth is %+v %+v", n, e, d)
			}
		}
		if len(got) != 40 {
			t.Errorf("the consumer of every topic got %d events, want 40", len(got))
		}
	})
}

func TestConsumersAreCheckedWhenTheyRegister(t *testing.T) {
	o := open(t, databasetest.SQLite(t).Open(t, outbox.Migrations()))
	var s seen
	for name, c := range map[string]outbox.Consumer{"zero": {}, "no name": s.consumer(""), "a bad name": s.consumer("A b")} {
		if err := o.Register(c); err == nil {
			t.Errorf("%s: registered", name)
		}
	}
	if err := o.Register(s.consumer("c")); err != nil {
		t.Error(err)
	}
	if err := o.Register(s.consumer("c")); err == nil {
		t.Error("registered twice")
	}
	if err := o.Register(anything("c", &s)); err == nil {
		t.Error("registered for every topic, and for one before")
	}
	if err := o.Register(anything("d", &s)); err != nil {
		t.Error(err)
	}
	for _, c := range []outbox.Consumer{anything("d", &s), s.consumer("d")} {
		if err := o.Register(c); err == nil {
			t.Error("registered for every topic, and once more")
		}
	}
}

func TestAConsumerMaySayAnythingOfItsFailure(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		var s seen
		o := open(t, at.Open(t, outbox.Migrations()), outbox.On("c", func(_ context.Context, d outbox.Delivery, e happened) error {
			s.add(d, e)
			if d.Attempt == 1 {
				return errors.New("x" + strings.Repeat("ä", 2000) + "\x00\xff") // what a database may cut or refuse
			}
			return nil
		}))
		if err := o.Emit(t.Context(), happened{"x", 1}); err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		run(t, o)
		drained(t, o)
		if took := time.Since(began); len(s.all()) != 2 || took > outbox.HandleTime { // it would wait for the end of the lease
			t.Errorf("handled %d times in %v", len(s.all()), took)
		}
	})
}

// counting is a context that counts how often it is looked into, as it is by every statement.
type counting struct {
	context.Context
	looks *atomic.Int64
}

func (c counting) Value(key any) any {
	c.looks.Add(1)
	return c.Context.Value(key)
}

func TestAProgramWithoutConsumersLeavesWhatIsPendingAndTheDatabaseInPeace(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, outbox.Migrations())
		var s seen
		if err := open(t, db, s.consumer("c")).Emit(t.Context(), happened{"x", 1}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		var looks atomic.Int64
		o := open(t, db)
		o.Run(counting{ctx, &looks})
		if n := looks.Load(); n > 10 {
			t.Errorf("it looked %d times in 300 ms", n)
		}
		if n, err := o.Pending(t.Context()); err != nil || n != 1 {
			t.Errorf("%d are pending, %v, want 1", n, err)
		}
	})
}

func TestWhatIsForOthersIsLeftToThem(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, outbox.Migrations())
		var mine, theirs seen
		newer := open(t, db, mine.consumer("mine"), theirs.consumer("theirs")) // a node of the next version, say
		if err := newer.Emit(t.Context(), happened{"x", 1}); err != nil {
			t.Fatal(err)
		}
		older := open(t, db, mine.consumer("mine"))
		stop := run(t, older)
		for len(mine.all()) == 0 {
			time.Sleep(5 * time.Millisecond)
		}
		stop()
		run(t, newer)
		drained(t, newer)
		if got := theirs.deliveries; len(mine.all()) != 1 || len(got) != 1 || got[0].Attempt != 1 {
			t.Errorf("mine: %v; theirs: %+v", mine.all(), got)
		}
	})
}

// unspeakable is an error that cannot say what it is: as a nil pointer, it panics.
type unspeakable struct{ why string }

func (u *unspeakable) Error() string { return u.why }

func TestAConsumerThatEndsInAnOddWayIsAskedAgain(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		odd := []func() error{
			func() error { return (*unspeakable)(nil) },
			func() error { return &unspeakable{} },
			func() error { return errors.Join(errors.New("a"), (*unspeakable)(nil)) },
			func() error { panic((*unspeakable)(nil)) },
		}
		for range 9 { // more than are at work at once
			odd = append(odd, func() error { runtime.Goexit(); return nil })
		}
		var s seen
		o := open(t, at.Open(t, outbox.Migrations()), outbox.On("c", func(_ context.Context, d outbox.Delivery, e happened) error {
			s.add(d, e)
			if d.Attempt == 1 {
				return odd[e.N]()
			}
			return nil
		}))
		for i := range odd {
			if err := o.Emit(t.Context(), happened{string(rune('a' + i)), i}); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		run(t, o)
		drained(t, o)
		if took := time.Since(began); len(s.all()) != 2*len(odd) || took > outbox.HandleTime { // it would wait for the end of the lease
			t.Errorf("handled %d times in %v", len(s.all()), took)
		}
	})
}

func TestAConsumerThatHangsKeepsOneWorkerAndNoOtherEvent(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		var s seen
		var hanging atomic.Int64
		release := make(chan struct{})
		o := open(t, at.Open(t, outbox.Migrations()), outbox.On("c", func(_ context.Context, d outbox.Delivery, e happened) error {
			if e.N == 0 {
				hanging.Add(1)
				<-release // whatever becomes of the context
			}
			s.add(d, e)
			return nil
		}))
		o.SetLease(20 * time.Millisecond)
		if err := o.Emit(t.Context(), happened{"x", 0}); err != nil {
			t.Fatal(err)
		}
		run(t, o)
		for i := range 20 {
			if err := o.Emit(t.Context(), happened{"y", i + 1}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(25 * time.Millisecond)
		}
		for deadline := time.Now().Add(10 * time.Second); len(s.all()) < 20 && time.Now().Before(deadline); {
			time.Sleep(5 * time.Millisecond)
		}
		if got, n := len(s.all()), hanging.Load(); got != 20 || n != 1 {
			t.Errorf("%d of 20 others were handled, and %d workers hang at one event", got, n)
		}
		close(release)
		drained(t, o)
	})
}

// An event is kept while anybody waits for it, however old it is, and for the retention afterwards.
func TestEventsArePurgedWhenTheyAreOldAndDelivered(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, outbox.Migrations())
		fails := outbox.On("fails", func(context.Context, outbox.Delivery, happened) error { return errors.New("not yet") })
		o, err := outbox.New(outbox.Params{DB: db, Log: slog.New(slog.DiscardHandler), Options: outbox.Options{Retention: time.Hour}})
		if err == nil {
			err = o.Register(fails)
		}
		if err == nil {
			err = o.Emit(t.Context(), happened{"a", 1}, other{happened{"a", 2}}, other{happened{"a", 3}}, other{happened{"a", 4}})
		}
		if err != nil {
			t.Fatal(err)
		}
		if n, err := o.Purge(t.Context(), 10); n != 0 || err != nil {
			t.Errorf("fresh ones: %d, %v", n, err)
		}
		if err := db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := db.Conn(ctx).NewUpdate().TableExpr("latchkey_outbox_event").Set("created_at = ?", database.Now().Add(-2*time.Hour)).Where("aggregate_id = 'a'").Exec(ctx)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		for i, want := range []int{2, 1, 0} {
			if n, err := o.Purge(t.Context(), 2); n != want || err != nil {
				t.Errorf("batch %d: %d, %v, want %d", i, n, err, want)
			}
		}
		if n, err := o.Pending(t.Context()); n != 1 || err != nil {
			t.Errorf("%d deliveries are pending, %v, want the one that nobody has made", n, err)
		}
		if n, err := open(t, db).Purge(t.Context(), 10); n != 0 || err != nil {
			t.Errorf("without a retention: %d, %v", n, err)
		}
	})
}

// A lease is short, and renewed while its consumer is at work.
func TestAConsumerThatTakesLongerThanALeaseIsLeftAlone(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, outbox.Migrations())
		var s seen
		slow := outbox.On("c", func(_ context.Context, d outbox.Delivery, e happened) error {
			s.add(d, e)
			if e.N == 1 {
				time.Sleep(2500 * time.Millisecond)
			}
			return nil
		})
		for range 2 {
			node := open(t, db, slow)
			node.SetLease(time.Second)
			run(t, node)
		}
		o := open(t, db, slow)
		if err := o.Emit(t.Context(), happened{"x", 1}, happened{"x", 2}); err != nil {
			t.Fatal(err)
		}
		drained(t, o)
		if got := s.all(); !slices.Equal(got, []happened{{"x", 1}, {"x", 2}}) {
			t.Errorf("handled were %v", got)
		}
	})
}

// On PostgreSQL nodes are on different machines: what is due, and when a lease ends, goes by the clock that they share.
func TestNodesWhoseClocksDifferShareTheWork(t *testing.T) {
	t.Parallel()
	db := databasetest.Postgres(t).Open(t, outbox.Migrations())
	var s seen
	slow := outbox.On("c", func(_ context.Context, d outbox.Delivery, e happened) error {
		s.add(d, e)
		if e.N%2 == 0 {
			time.Sleep(2500 * time.Millisecond) // longer than others wait before they look
		}
		return nil
	})
	for _, ahead := range []time.Duration{0, 30 * time.Second, -30 * time.Second} {
		node := open(t, db, slow)
		node.SetLease(time.Second)
		node.SetClock(ahead)
		run(t, node)
	}
	o := open(t, db, slow)
	o.SetClock(time.Minute)
	var want []happened
	for n := range 4 {
		want = append(want, happened{"x", n})
	}
	emit(t, o, want...)
	began := time.Now()
	drained(t, o)
	if got, took := s.all(), time.Since(began); !slices.Equal(got, want) || took > 15*time.Second {
		t.Errorf("in %v were handled %v", took, got)
	}
}

// When more waits than there are workers, who waits for longest comes first, whatever they are called.
func TestWhoWaitsForLongestComesFirst(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		var s seen
		release := make(chan struct{})
		o := open(t, at.Open(t, outbox.Migrations()), outbox.On("c", func(_ context.Context, d outbox.Delivery, e happened) error {
			s.add(d, e)
			<-release
			return nil
		}))
		const events, workers = 40, 16
		for n := range events {
			emit(t, o, happened{fmt.Sprintf("%03d", events-n), n})
		}
		run(t, o)
		until(t, "all workers are busy", func() bool { return len(s.all()) == workers })
		for _, e := range s.all() {
			if e.N >= workers {
				t.Errorf("number %d is handled before others that waited for longer", e.N)
			}
		}
		close(release)
		drained(t, o)
	})
}
