package database_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

var errNo = errors.New("no")

func TestCommitsWhenFnReturnsNil(t *testing.T) {
	onEach(t, func(t *testing.T, db *database.DB) {
		err := db.InTx(t.Context(), func(ctx context.Context) error { return write(ctx, db, "a") })
		if err != nil {
			t.Fatal(err)
		}
		wantWritten(t, db, "a")
	})
}

func TestNothingStaysAfterAnError(t *testing.T) {
	onEach(t, func(t *testing.T, db *database.DB) {
		err := db.InTx(t.Context(), func(ctx context.Context) error {
			return errors.Join(write(ctx, db, "a"), errNo)
		})
		if !errors.Is(err, errNo) {
			t.Errorf("error: %v, want %v", err, errNo)
		}
		wantWritten(t, db)
	})
}

func TestInnerTransactionJoinsTheOuterOne(t *testing.T) {
	onEach(t, func(t *testing.T, db *database.DB) {
		err := db.InTx(t.Context(), func(ctx context.Context) error {
			if err := db.InTx(ctx, func(ctx context.Context) error { return write(ctx, db, "inner") }); err != nil {
				return err
			}
			return errNo
		})
		if !errors.Is(err, errNo) {
			t.Errorf("error: %v, want %v", err, errNo)
		}
		wantWritten(t, db)
	})
}

func TestSwallowedInnerErrorCommitsNothing(t *testing.T) {
	onEach(t, func(t *testing.T, db *database.DB) {
		err := db.InTx(t.Context(), func(ctx context.Context) error {
			_ = db.InTx(ctx, func(ctx context.Context) error {
				if err := write(ctx, db, "a"); err != nil {
					t.Error(err)
				}
				return errNo
			})
			return write(ctx, db, "b")
		})
		if !errors.Is(err, errNo) {
			t.Errorf("error: %v, want the one swallowed inside, %v", err, errNo)
		}
		wantWritten(t, db)
	})
}

func TestRecoveredInnerPanicCommitsNothing(t *testing.T) {
	onEach(t, func(t *testing.T, db *database.DB) {
		err := db.InTx(t.Context(), func(ctx context.Context) error {
			func() {
				defer func() { _ = recover() }()
				_ = db.InTx(ctx, func(ctx context.Context) error {
					if err := write(ctx, db, "a"); err != nil {
						t.Error(err)
					}
					panic("oh")
				})
			}()
			return nil
		})
		if err == nil {
			t.Error("no error, although a panic inside was recovered from")
		}
		wantWritten(t, db)
	})
}

func TestPanicRollsBackAndGoesOn(t *testing.T) {
	onEach(t, func(t *testing.T, db *database.DB) {
		func() {
			defer func() {
				if p := recover(); p != "oh" {
					t.Errorf("recovered %v, want oh", p)
				}
			}()
			_ = db.InTx(t.Context(), func(ctx context.Context) error {
				if err := write(ctx, db, "a"); err != nil {
					t.Error(err)
				}
				panic("oh")
			})
		}()
		wantWritten(t, db)
		// and whoever comes next gets a turn
		if err := db.InTx(t.Context(), func(ctx context.Context) error { return write(ctx, db, "b") }); err != nil {
			t.Fatal(err)
		}
		wantWritten(t, db, "b")
	})
}

func TestSwallowedStatementErrorCommitsNothing(t *testing.T) {
	onEach(t, func(t *testing.T, db *database.DB) {
		var broken, refused error
		err := db.InTx(t.Context(), func(ctx context.Context) error {
			if err := write(ctx, db, "a"); err != nil {
				return err
			}
			broken = breakStatement(ctx, db)
			refused = write(ctx, db, "b")
			return nil
		})
		if broken == nil || !errors.Is(err, broken) {
			t.Errorf("error: %v, want that of the statement, %v", err, broken)
		}
		if refused == nil {
			t.Error("a statement after the failed one was not refused")
		}
		wantWritten(t, db)
	})
}

// SQLite may roll back when it is interrupted in the middle of a write; what follows must not stand on its own.
func TestTransactionWithoutItsTablesSaysWhatWasForgotten(t *testing.T) {
	onEach(t, func(t *testing.T, db *database.DB) {
		err := db.InTx(t.Context(), func(ctx context.Context) error { return breakStatement(ctx, db) })
		if err == nil || !strings.Contains(err.Error(), "latchkey_nothing") || !strings.HasSuffix(err.Error(), "is the database migrated? db.Migrate takes the Migrations() of every module there is") {
			t.Errorf("%v", err)
		}
		err = db.InTx(t.Context(), func(ctx context.Context) error { return errors.New("something else") })
		if err == nil || err.Error() != "something else" {
			t.Errorf("%v", err)
		}
	})
}

func TestStatementThatTimesOutCommitsNothing(t *testing.T) {
	onEach(t, func(t *testing.T, db *database.DB) {
		slow := "SELECT pg_sleep(10)"
		if db.Dialect() == database.SQLite {
			slow = "INSERT INTO latchkey_note (id) WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 100000000) SELECT 'n' || i FROM n"
		}
		err := db.InTx(t.Context(), func(ctx context.Context) error {
			if err := write(ctx, db, "a"); err != nil {
				return err
			}
			short, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
			defer cancel()
			if _, err := db.Conn(ctx).ExecContext(short, slow); err == nil {
				t.Error("the slow statement was not interrupted")
			}
			_ = write(ctx, db, "b")
			return nil
		})
		if err == nil {
			t.Error("no error")
		}
		wantWritten(t, db)
	})
}

func TestFindingNoRowIsNotAFailure(t *testing.T) {
	onEach(t, func(t *testing.T, db *database.DB) {
		err := db.InTx(t.Context(), func(ctx context.Context) error {
			n := new(note)
			if err := db.Conn(ctx).NewSelect().Model(n).Where("id = 'x'").Scan(ctx); !errors.Is(err, sql.ErrNoRows) {
				t.Errorf("error: %v, want %v", err, sql.ErrNoRows)
			}
			return write(ctx, db, "a")
		})
		if err != nil {
			t.Fatal(err)
		}
		wantWritten(t, db, "a")
	})
}

func TestReadsOutsideSeeWhatIsCommittedAndNothingElse(t *testing.T) {
	onEach(t, func(t *testing.T, db *database.DB) {
		for i := range 50 {
			id := fmt.Sprintf("%02d", i)
			err := db.InTx(t.Context(), func(ctx context.Context) error {
				if err := write(ctx, db, id); err != nil {
					return err
				}
				if got := len(written(t, db)); got != i {
					t.Errorf("outside, before the commit: %d rows, want %d", got, i)
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := len(written(t, db)); got != i+1 {
				t.Errorf("after the commit: %d rows, want %d", got, i+1)
			}
		}
	})
}

func TestAfterCommitRunsOnceInOrderWithTheOuterContext(t *testing.T) {
	type word struct{}
	onEach(t, func(t *testing.T, db *database.DB) {
		outer, cancel := context.WithCancel(context.WithValue(t.Context(), word{}, "outer"))
		var ran []string
		after := func(name string) func(context.Context) {
			return func(ctx context.Context) {
				ran = append(ran, name)
				if got := ctx.Value(word{}); got != "outer" {
					t.Errorf("%s: context of %v, want the outer one", name, got)
				}
				if err := ctx.Err(); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				wantWritten(t, db, "a")
				// no transaction in it: this is one of its own, and there is a turn for it
				if err := db.InTx(ctx, func(context.Context) error { return nil }); err != nil {
					t.Errorf("%s: InTx: %v", name, err)
				}
				cancel()
			}
		}
		err := db.InTx(outer, func(ctx context.Context) error {
			ctx = context.WithValue(ctx, word{}, "inner")
			err := errors.Join(
				db.AfterCommit(ctx, after("1")),
				db.InTx(ctx, func(ctx context.Context) error { return db.AfterCommit(ctx, after("2")) }),
				db.AfterCommit(ctx, after("3")),
				write(ctx, db, "a"),
			)
			if len(ran) > 0 {
				t.Errorf("ran %v before the commit", ran)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := []string{"1", "2", "3"}; !slices.Equal(ran, want) {
			t.Errorf("ran %v, want %v", ran, want)
		}
	})
}

func TestAfterCommitDoesNotRunWithoutACommit(t *testing.T) {
	onEach(t, func(t *testing.T, db *database.DB) {
		_ = db.InTx(t.Context(), func(ctx context.Context) error {
			if err := db.AfterCommit(ctx, func(context.Context) { t.Error("ran") }); err != nil {
				t.Error(err)
			}
			return errNo
		})
	})
}

func TestAfterCommitOutsideATransactionRunsAtOnce(t *testing.T) {
	onEach(t, func(t *testing.T, db *database.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		ran := false
		if err := db.AfterCommit(ctx, func(ctx context.Context) { ran = ctx.Err() == nil }); err != nil {
			t.Error(err)
		}
		if !ran {
			t.Error("did not run, or with a cancelled context")
		}
	})
}

func TestPanicAfterCommitIsLoggedAndStopsNobody(t *testing.T) {
	var log bytes.Buffer
	pool := bun.NewDB(rawPool(t, databasetest.SQLite(t)), sqlitedialect.New())
	db := database.New(pool, pool, slog.New(slog.NewTextHandler(&log, nil)))
	ran := false
	err := db.InTx(t.Context(), func(ctx context.Context) error {
		return errors.Join(
			db.AfterCommit(ctx, func(context.Context) { panic("oh dear") }),
			db.AfterCommit(ctx, func(context.Context) { ran = true }),
		)
	})
	if err != nil {
		t.Fatal(err)
	}
	if !ran {
		t.Error("the second function did not run")
	}
	if !strings.Contains(log.String(), "oh dear") {
		t.Errorf("log: %s, want the panic in it", &log)
	}
}

func TestContextOfAFinishedTransactionIsOfNoUse(t *testing.T) {
	for _, ending := range []error{nil, errNo} {
		t.Run(fmt.Sprint(ending), func(t *testing.T) {
			onEach(t, func(t *testing.T, db *database.DB) {
				var kept context.Context
				_ = db.InTx(t.Context(), func(ctx context.Context) error { kept = ctx; return ending })

				err := db.InTx(kept, func(context.Context) error { t.Error("fn ran"); return nil })
				if !errors.Is(err, sql.ErrTxDone) {
					t.Errorf("InTx: %v, want %v", err, sql.ErrTxDone)
				}
				err = db.AfterCommit(kept, func(context.Context) { t.Error("f ran") })
				if !errors.Is(err, sql.ErrTxDone) {
					t.Errorf("AfterCommit: %v, want %v", err, sql.ErrTxDone)
				}
				if err := write(kept, db, "a"); !errors.Is(err, sql.ErrTxDone) {
					t.Errorf("write: %v, want %v", err, sql.ErrTxDone)
				}
				if err := db.Conn(kept).NewSelect().Model(new(note)).Scan(kept); !errors.Is(err, sql.ErrTxDone) {
					t.Errorf("read: %v, want %v", err, sql.ErrTxDone)
				}
				wantWritten(t, db)
			})
		})
	}
}

func TestTwoDatabasesDoNotMix(t *testing.T) {
	onEach(t, func(t *testing.T, db *database.DB) {
		other := databasetest.SQLite(t).Open(t, notes)
		err := db.InTx(t.Context(), func(ctx context.Context) error {
			if err := write(ctx, db, "here"); err != nil {
				return err
			}
			err := other.InTx(ctx, func(ctx context.Context) error {
				return errors.Join(write(ctx, other, "there"), write(ctx, db, "here too"))
			})
			if err != nil {
				return err
			}
			_ = other.InTx(ctx, func(ctx context.Context) error { return breakStatement(ctx, other) }) // not db's concern
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		wantWritten(t, db, "here", "here too")
		wantWritten(t, other, "there")
	})
}

// gaveUp is what both drivers' errors look like from here.
type gaveUp struct {
	state string
	code  int
}

func (gaveUp) Error() string      { return "gave up" }
func (e gaveUp) SQLState() string { return e.state }
func (e gaveUp) Code() int        { return e.code }

func TestGivenUpTransactionIsTriedAgain(t *testing.T) {
	tests := []struct {
		err  error
		runs int // of a transaction that always fails
	}{
		{gaveUp{state: "40001"}, 6},
		{fmt.Errorf("wrapped: %w", gaveUp{state: "40P01"}), 6},
		{gaveUp{code: 5}, 6},
		{gaveUp{code: 5 | 2<<8}, 6}, // SQLITE_BUSY_SNAPSHOT
		{gaveUp{code: 6}, 6},
		{gaveUp{state: "23505", code: 2067}, 1}, // unique violation
		{errNo, 1},
	}
	db := databasetest.SQLite(t).Open(t, notes)
	for _, test := range tests {
		runs := 0
		err := db.InTx(t.Context(), func(context.Context) error { runs++; return test.err })
		if !errors.Is(err, test.err) {
			t.Errorf("error: %v, want %v", err, test.err)
		}
		if runs != test.runs {
			t.Errorf("%#v: ran %d times, want %d", test.err, runs, test.runs)
		}
	}
}

func TestRetryDiscardsWhatTheFailedAttemptDid(t *testing.T) {
	onEach(t, func(t *testing.T, db *database.DB) {
		runs := 0
		var ran []int
		err := db.InTx(t.Context(), func(ctx context.Context) error {
			runs++
			run := runs
			if err := db.AfterCommit(ctx, func(context.Context) { ran = append(ran, run) }); err != nil {
				return err
			}
			if err := write(ctx, db, fmt.Sprint(run)); err != nil {
				return err
			}
			if run < 3 {
				return gaveUp{state: "40001"}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if want := []int{3}; !slices.Equal(ran, want) {
			t.Errorf("after the commit ran those of attempts %v, want %v", ran, want)
		}
		wantWritten(t, db, "3")
	})
}

func TestRetriesWhenTheReasonWasSwallowed(t *testing.T) {
	for _, returned := range []error{nil, errNo} {
		onEach(t, func(t *testing.T, db *database.DB) {
			runs := 0
			err := db.InTx(t.Context(), func(ctx context.Context) error {
				runs++
				if runs == 2 {
					return nil
				}
				_ = db.InTx(ctx, func(context.Context) error { return gaveUp{code: 5} })
				return returned
			})
			if err != nil || runs != 2 {
				t.Errorf("ran %d times and returned %v, want 2 and no error", runs, err)
			}
		})
	}
}

func TestNoRetryForACallerThatHasLeft(t *testing.T) {
	onEach(t, func(t *testing.T, db *database.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		runs := 0
		err := db.InTx(ctx, func(context.Context) error { runs++; cancel(); return gaveUp{code: 5} })
		if err == nil || runs != 1 {
			t.Errorf("ran %d times and returned %v, want once and an error", runs, err)
		}
	})
}

// Two transactions that lock two rows in opposite orders: PostgreSQL gives one of them up.
func TestDeadlockIsResolvedByTryingAgain(t *testing.T) {
	db := databasetest.Postgres(t).Open(t, notes)
	err := db.InTx(t.Context(), func(ctx context.Context) error {
		return errors.Join(write(ctx, db, "a"), write(ctx, db, "b"))
	})
	if err != nil {
		t.Fatal(err)
	}
	var runs atomic.Int32
	var both, wg sync.WaitGroup
	both.Add(2)
	for _, order := range [][2]string{{"a", "b"}, {"b", "a"}} {
		met := sync.OnceFunc(func() { both.Done(); both.Wait() })
		wg.Go(func() {
			err := db.InTx(t.Context(), func(ctx context.Context) error {
				runs.Add(1)
				for i, id := range order {
					q := db.Conn(ctx).NewSelect().Model(new(note)).Where("id = ?", id)
					if err := db.ForUpdate(q, "UPDATE").Scan(ctx); err != nil {
						return err
					}
					if i == 0 {
						met()
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := runs.Load(); n < 3 {
		t.Errorf("%d runs, want 3: there was no deadlock", n)
	}
}

func TestForUpdateIsWrittenWhereItMeansSomething(t *testing.T) {
	onEach(t, func(t *testing.T, db *database.DB) {
		for clause, want := range map[string]string{
			"":                   " FOR UPDATE",
			"KEY SHARE":          " FOR KEY SHARE",
			"FOR UPDATE":         " FOR UPDATE",
			"UPDATE SKIP LOCKED": " FOR UPDATE SKIP LOCKED",
		} {
			if db.Dialect() == database.SQLite {
				want = ""
			}
			err := db.InTx(t.Context(), func(ctx context.Context) error {
				q := db.Conn(ctx).NewSelect().Model((*note)(nil)).Column("id")
				plain := q.String()
				q = db.ForUpdate(q, clause)
				if got := strings.TrimPrefix(q.String(), plain); got != want {
					t.Errorf("%q adds %q, want %q", clause, got, want)
				}
				var ids []string
				return q.Scan(ctx, &ids)
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
}

func TestTwoHundredWritersAllGetThrough(t *testing.T) {
	onEach(t, func(t *testing.T, db *database.DB) {
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				err := db.InTx(t.Context(), func(ctx context.Context) error { return write(ctx, db, fmt.Sprint(i)) })
				if err != nil {
					t.Errorf("writer %d: %v", i, err)
				}
			})
		}
		wg.Wait()
		if got := len(written(t, db)); got != 200 {
			t.Errorf("%d rows, want 200", got)
		}
	})
}

func TestWaiterBehindASlowWriterLeavesOnTime(t *testing.T) {
	db := databasetest.SQLite(t).Open(t, notes)
	entered, leave := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		err := db.InTx(t.Context(), func(context.Context) error { close(entered); <-leave; return nil })
		if err != nil {
			t.Error(err)
		}
	})
	<-entered
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	err := db.InTx(ctx, func(context.Context) error { t.Error("ran"); return nil })
	if took := time.Since(start); took > 500*time.Millisecond {
		t.Errorf("came back after %v, want about 50ms", took)
	}
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("error: %v, want %v", err, context.DeadlineExceeded)
	}
	if err := db.Ping(t.Context()); err != nil {
		t.Errorf("ping beside a slow writer: %v", err)
	}
	close(leave)
	wg.Wait()
}

func TestWritersTakeTurnsInOrderOfArrival(t *testing.T) {
	db := databasetest.SQLite(t).Open(t, notes)
	entered, leave := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = db.InTx(t.Context(), func(context.Context) error { close(entered); <-leave; return nil })
	})
	<-entered
	var order []int
	for i := range 10 {
		wg.Go(func() {
			_ = db.InTx(t.Context(), func(context.Context) error { order = append(order, i); return nil })
		})
		time.Sleep(5 * time.Millisecond) // to have it arrive
	}
	close(leave)
	wg.Wait()
	if !slices.IsSorted(order) || len(order) != 10 {
		t.Errorf("order: %v", order)
	}
}

func TestWriteOutsideATransactionFailsOnSQLite(t *testing.T) {
	db := databasetest.SQLite(t).Open(t, notes)
	if err := write(t.Context(), db, "stray"); err == nil || !strings.Contains(err.Error(), "readonly") {
		t.Errorf("error: %v, want one about a read-only database", err)
	}
	// the mistake this is for: the outer context, inside
	err := db.InTx(t.Context(), func(context.Context) error { return write(t.Context(), db, "stray") })
	if err == nil {
		t.Error("a write with the outer context went through")
	}
	wantWritten(t, db)
}

func TestCancelStormLeavesNothingHalfWritten(t *testing.T) {
	onEach(t, func(t *testing.T, db *database.DB) {
		var wg sync.WaitGroup
		for i := range 300 {
			wg.Go(func() {
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(i)*200*time.Microsecond)
				defer cancel()
				_ = db.InTx(ctx, func(ctx context.Context) error {
					_ = write(ctx, db, fmt.Sprintf("%03d first", i)) // swallowed, to make it worse
					return write(ctx, db, fmt.Sprintf("%03d second", i))
				})
			})
		}
		wg.Wait()
		ids := written(t, db)
		if len(ids)%2 != 0 {
			t.Errorf("%d rows, want an even number", len(ids))
		}
		for i := 0; i+1 < len(ids); i += 2 {
			if ids[i][:3] != ids[i+1][:3] {
				t.Fatalf("%q stands alone", ids[i])
			}
		}
		// and all is in order for who comes next
		if err := db.InTx(t.Context(), func(ctx context.Context) error { return write(ctx, db, "next") }); err != nil {
			t.Error(err)
		}
	})
}

func TestNowIsWhatTheDatabaseGivesBack(t *testing.T) {
	onEach(t, func(t *testing.T, db *database.DB) {
		now := database.Now()
		err := db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := db.Conn(ctx).NewInsert().Model(&note{ID: "a", WrittenAt: bun.NullTime{Time: now}}).Exec(ctx)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		var plain time.Time // through plain database/sql, as an application's hook reads
		err = db.Conn(t.Context()).QueryRowContext(t.Context(), "SELECT written_at FROM latchkey_note").Scan(&plain)
		if err != nil {
			t.Fatal(err)
		}
		if !plain.Equal(now) || now.Location() != time.UTC {
			t.Errorf("got %v, want %v", plain, now)
		}
	})
}

func TestADatabaseSaysWhichVersionItIs(t *testing.T) {
	onEach(t, func(t *testing.T, db *database.DB) {
		version, err := db.Version(t.Context())
		if err != nil || version == "" || version[0] < '1' || version[0] > '9' {
			t.Errorf("%q, %v", version, err)
		}
	})
}
