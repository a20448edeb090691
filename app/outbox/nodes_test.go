package outbox_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// TestNodesThatComeAndGoAreAtAnAggregateOneAtATime has three nodes, one of which is now and then cut off from the database for
// good or stopped, while consumers fail and dead letters are tried again.
func TestNodesThatComeAndGoAreAtAnAggregateOneAtATime(t *testing.T) {
	t.Parallel()
	const aggregates, nodes, lasts = 6, 3, 1500 * time.Millisecond
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		type one struct {
			aggregate string
			n         int
		}
		var mu sync.Mutex
		var mended bool
		busy, last, handled, died := map[string]int{}, map[string]int{}, map[one]bool{}, map[one]bool{}
		c := outbox.On("c", func(_ context.Context, _ outbox.Delivery, e happened) error {
			k := one{e.To, e.N}
			mu.Lock()
			if busy[e.To]++; busy[e.To] > 1 {
				t.Errorf("two are at %s, one of them at event %d", e.To, e.N)
			}
			mu.Unlock()
			time.Sleep(rand.N(4 * time.Millisecond))
			mu.Lock()
			defer mu.Unlock()
			busy[e.To]--
			switch odds := rand.N(100); {
			case mended:
			case odds < 1: // and then not for a second
				return errors.New("not now")
			case odds < 20:
				died[k] = true
				return outbox.Permanent(errors.New("for good"))
			}
			if !handled[k] && !died[k] {
				if last[e.To] > e.N {
					t.Errorf("event %d of %s was handled after %d", e.N, e.To, last[e.To])
				}
				last[e.To] = e.N
			}
			handled[k] = true
			return nil
		})
		start := func() (end func(cutOff bool)) {
			db := at.Open(t, outbox.Migrations())
			o := open(t, db, c)
			o.SetLease(2 * time.Second)
			stop := run(t, o)
			return func(cutOff bool) {
				if cutOff {
					_ = db.Close()
				}
				stop()
			}
		}
		var running [nodes]func(bool)
		for i := range running {
			running[i] = start()
		}
		o := open(t, at.Open(t), c)
		emit(t, o, happened{"first", 0})
		end := time.Now().Add(lasts)
		var all sync.WaitGroup
		var emitted [aggregates]int
		for i := range aggregates {
			all.Go(func() {
				for ; time.Now().Before(end); time.Sleep(rand.N(30 * time.Millisecond)) {
					for range rand.N(10) {
						if err := o.Emit(t.Context(), happened{fmt.Sprint(i), emitted[i]}); err != nil {
							t.Error(err)
							return
						}
						emitted[i]++
					}
				}
			})
		}
		all.Go(func() {
			for ; time.Now().Before(end); time.Sleep(rand.N(10 * time.Millisecond)) {
				if _, err := o.Retry(t.Context(), outbox.Filter{Dead: rand.N(10) > 0}); err != nil {
					t.Error(err)
				}
			}
		})
		for n := 0; time.Now().Before(end); n++ {
			time.Sleep(lasts / 4)
			running[n%nodes](n%2 == 0)
			running[n%nodes] = start()
		}
		all.Wait()
		mu.Lock()
		mended = true
		mu.Unlock()
		drained(t, o) // but for what is dead, of which there may be more until now
		if _, err := o.Retry(t.Context(), outbox.Filter{Dead: true}); err != nil {
			t.Fatal(err)
		}
		drained(t, o)
		mu.Lock()
		defer mu.Unlock()
		sum := 1
		for i, n := range emitted {
			sum += n
			for n := range n {
				if !handled[one{fmt.Sprint(i), n}] {
					t.Errorf("event %d of %d was not handled", n, i)
				}
			}
		}
		if len(handled) != sum {
			t.Errorf("%d events were handled, want %d", len(handled), sum)
		}
	})
}
