package outbox_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// benchmarked returns an outbox whose one consumer tells of each event it handles.
func benchmarked(b *testing.B, db *database.DB, heard func(happened)) *outbox.Outbox {
	b.Helper()
	o, err := outbox.New(outbox.Params{DB: db, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = o.Register(outbox.On("c", func(_ context.Context, _ outbox.Delivery, e happened) error {
			heard(e)
			return nil
		}))
	}
	if err != nil {
		b.Fatal(err)
	}
	return o
}

// Events are emitted one in a transaction, by 8 at once, as many in a second as the goal says, of 200 aggregates. Measured is how
// long it takes from the commit until the consumer is called.
func BenchmarkFromCommitToHandler(b *testing.B) {
	const rate, emitters, aggregates = 1000, 8, 200
	databasetest.EachBenchmark(b, func(b *testing.B, at databasetest.Database) {
		committed, took := make([]atomic.Int64, b.N), make([]time.Duration, b.N)
		var all sync.WaitGroup
		all.Add(b.N)
		began := time.Now()
		o := benchmarked(b, at.Open(b, outbox.Migrations()), func(e happened) {
			now := time.Since(began)
			for committed[e.N].Load() == 0 { // the handler may be called before Emit has returned
				time.Sleep(10 * time.Microsecond)
			}
			took[e.N] = max(0, now-time.Duration(committed[e.N].Load()))
			all.Done()
		})
		run, stop := context.WithCancel(b.Context())
		var ended sync.WaitGroup
		ended.Go(func() { o.Run(run) })
		b.ResetTimer()
		began = time.Now()
		var emitting sync.WaitGroup
		for i := range emitters {
			emitting.Go(func() {
				for n := i; n < b.N; n += emitters {
					time.Sleep(time.Until(began.Add(time.Duration(n) * time.Second / rate)))
					if err := o.Emit(b.Context(), happened{fmt.Sprint(n % aggregates), n}); err != nil {
						b.Error(err)
					}
					committed[n].Store(int64(time.Since(began)))
				}
			})
		}
		emitting.Wait()
		emitted := time.Since(began)
		all.Wait()
		b.StopTimer()
		stop()
		ended.Wait()
		slices.Sort(took)
		b.ReportMetric(float64(b.N)/emitted.Seconds(), "emitted/s")
		b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "handled/s")
		b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "p50-ms")
		b.ReportMetric(float64(took[len(took)*99/100].Microseconds())/1000, "p99-ms")
	})
}

// As many events as the benchmark says wait already: how fast are they handled, those of many aggregates, and those of one?
func BenchmarkBacklog(b *testing.B) {
	for _, aggregates := range []int{1, 200} {
		b.Run(fmt.Sprint("aggregates=", aggregates), func(b *testing.B) {
			databasetest.EachBenchmark(b, func(b *testing.B, at databasetest.Database) {
				var all sync.WaitGroup
				all.Add(b.N)
				db := at.Open(b, outbox.Migrations())
				o := benchmarked(b, db, func(happened) { all.Done() })
				if err := db.InTx(b.Context(), func(ctx context.Context) error {
					for n := range b.N {
						if err := o.Emit(ctx, happened{fmt.Sprint(n % aggregates), n}); err != nil {
							return err
						}
					}
					return nil
				}); err != nil {
					b.Fatal(err)
				}
				run, stop := context.WithCancel(b.Context())
				var ended sync.WaitGroup
				b.ResetTimer()
				began := time.Now()
				ended.Go(func() { o.Run(run) })
				all.Wait()
				b.StopTimer()
				b.ReportMetric(float64(b.N)/time.Since(began).Seconds(), "handled/s")
				stop()
				ended.Wait()
			})
		})
	}
}
