package outbox_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/database/postgres"
	"github.com/latchkey-go/latchkey/modules/kernel/database/sqlite"
)

// consumeFrom makes this test program a process that consumes: the URL of the database, and by consumeTo into which file it
// writes what it is given.
const (
	consumeFrom = "LATCHKEY_TEST_CONSUME_FROM"
	consumeTo   = "LATCHKEY_TEST_CONSUME_TO"
)

// consume writes a line for each event that one of two consumers is given, until it is killed.
func consume(from, to string) error {
	ctx, log := context.Background(), slog.New(slog.DiscardHandler)
	var db *database.DB
	var err error
	if path, ok := strings.CutPrefix(from, "sqlite:"); ok {
		db, err = sqlite.Open(ctx, path, log)
	} else {
		db, err = postgres.Open(ctx, from, 0, log)
	}
	if err != nil {
		return err
	}
	file, err := os.OpenFile(to, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	o, err := outbox.New(outbox.Params{DB: db, Log: log})
	if err != nil {
		return err
	}
	for _, name := range []string{"a", "b"} {
		if err := o.Register(outbox.On(name, func(_ context.Context, d outbox.Delivery, e happened) error {
			_, err := fmt.Fprintf(file, "%s %s %s %d\n", name, d.ID, e.To, e.N) // one write: a line is whole
			time.Sleep(time.Millisecond)                                        // in which it may be killed
			return err
		})); err != nil {
			return err
		}
	}
	o.Run(ctx)
	return nil
}

// TestConsumersThatAreKilledLoseNothing has two processes consume while events are emitted, and kills now the one, now the
// other, and starts it again. LATCHKEY_TEST_EVENTS is how many events, LATCHKEY_TEST_KILL_EVERY how often.
func TestConsumersThatAreKilledLoseNothing(t *testing.T) {
	t.Parallel()
	events, every := 400, 250*time.Millisecond
	if n, err := strconv.Atoi(os.Getenv("LATCHKEY_TEST_EVENTS")); err == nil {
		events, every = n, 500*time.Millisecond
	}
	const emitters, aggregates, perSecond = 4, 40, 400 // an aggregate is one emitter's, so that its events have an order
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, outbox.Migrations())
		told := filepath.Join(t.TempDir(), "told")
		if err := os.WriteFile(told, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		url := at.URL
		if at.Dialect == database.SQLite && !strings.HasPrefix(url, "sqlite:") {
			url = "sqlite:" + url
		}
		start := func() *exec.Cmd {
			t.Helper()
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), consumeFrom+"="+url, consumeTo+"="+told)
			cmd.Stderr = os.Stderr
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			return cmd
		}
		kill := func(cmd *exec.Cmd) {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
		// What the consumers are told starts when they are enrolled.
		var none seen
		o := open(t, db, none.consumer("a"), none.consumer("b"))
		emit(t, o, happened{"first", 0})

		consumers := []*exec.Cmd{start(), start()}
		defer func() { kill(consumers[0]); kill(consumers[1]) }()
		var emitting sync.WaitGroup
		var emitted atomic.Bool
		began := time.Now()
		for i := range emitters {
			emitting.Go(func() {
				for n := i; n < events; n += emitters {
					time.Sleep(time.Until(began.Add(time.Duration(n) * time.Second / perSecond)))
					if err := o.Emit(t.Context(), happened{fmt.Sprint(n % aggregates), n}); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		go func() { emitting.Wait(); emitted.Store(true) }()
		kills := 0
		for !emitted.Load() || kills < 4 {
			time.Sleep(every)
			kill(consumers[kills%2])
			consumers[kills%2] = start()
			kills++
		}
		recovered := time.Now()
		for last, left := time.Now(), -1; ; time.Sleep(10 * time.Millisecond) {
			n, err := o.Pending(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if n == 0 {
				break
			}
			if n != left {
				last, left = time.Now(), n
			}
			if time.Since(last) > 30*time.Second {
				t.Fatalf("%d deliveries are left, and nothing happens", n)
			}
		}
		lag := time.Since(recovered)

		data, err := os.ReadFile(told)
		if err != nil {
			t.Fatal(err)
		}
		ids, repeated := map[string]string{}, 0
		order := map[string][]int{} // by consumer and aggregate
		for line := range bytes.Lines(data) {
			var name, id, to string
			var n int
			if _, err := fmt.Sscan(string(line), &name, &id, &to, &n); err != nil {
				t.Fatalf("line %q: %v", line, err)
			}
			if ids[name+id] != "" {
				repeated++
				continue
			}
			ids[name+id] = id
			order[name+" "+to] = append(order[name+" "+to], n)
		}
		for of, got := range order {
			if !slices.IsSorted(got) {
				t.Errorf("%s: the order was %v", of, got)
			}
		}
		for _, name := range []string{"a", "b"} {
			for n := range min(events, aggregates) {
				of := fmt.Sprint(name, " ", n)
				var want []int
				for i := n; i < events; i += aggregates {
					want = append(want, i)
				}
				if got := slices.Clone(order[of]); !slices.Equal(slices.Sorted(slices.Values(got)), want) {
					t.Errorf("%s was told %d events, want %d: each, and no other", of, len(got), len(want))
				}
			}
		}
		if len(ids) != 2*(events+1) {
			t.Errorf("%d events were told, want %d", len(ids), 2*(events+1))
		}
		t.Logf("latchkey: on %s, of %d events that two consumers in two processes were told none was lost, invented or out of order; %d kills, %d were told twice, the last %v after the last kill",
			at.Dialect, events, kills, repeated, lag.Round(10*time.Millisecond))
	})
}
