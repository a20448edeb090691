package databasetest

import (
	"context"
	"database/sql"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// WatchDeadlocks returns what fails the test if PostgreSQL has had to break a deadlock meanwhile, which a retry hides from
// everybody but those who wait for it:
//
//	defer databasetest.WatchDeadlocks(t, db)()
//
// It says which statements these were, if the server is one that a test has started. SQLite, with one writer, has none. What other
// processes do in the same database at the same time counts as well.
func WatchDeadlocks(tb testing.TB, db *database.DB) (look func()) {
	tb.Helper()
	if db.Dialect() != database.Postgres {
		return func() {}
	}
	before, from := deadlocks(tb, db)
	return func() {
		tb.Helper()
		if after, to := deadlocks(tb, db); after != before {
			tb.Errorf("%d deadlocks:\n%s", after-before, reports(tb, db, from, to))
		}
	}
}

// deadlocks returns how many the database has had to break, and how long the server's log is; not valid: it is not ours to read.
func deadlocks(tb testing.TB, db *database.DB) (n int, log sql.NullInt64) {
	tb.Helper()
	time.Sleep(2 * time.Second) // counters are passed on at most once a second
	ctx := context.WithoutCancel(tb.Context())
	err := db.Conn(ctx).NewRaw("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()").Scan(ctx, &n)
	if err != nil {
		tb.Fatal(err)
	}
	_ = db.Conn(ctx).NewRaw("SELECT (pg_stat_file("+serverLog+", true)).size").Scan(ctx, &log)
	return n, log
}

// serverLog is where a server that a test has started writes its log: startIn.
const serverLog = "current_setting('data_directory') || '/../log'"

// report is what PostgreSQL logs of a deadlock, with the lines that continue its statements.
var report = regexp.MustCompile(`(?m)^.* ERROR:  deadlock detected\n(?:.* (?:DETAIL|HINT|CONTEXT|STATEMENT):  .*\n|\t.*\n)*`)

// reports are those that were logged between the two lengths.
func reports(tb testing.TB, db *database.DB, from, to sql.NullInt64) string {
	var log []byte
	ctx := context.WithoutCancel(tb.Context())
	if from.Valid && to.Valid {
		_ = db.Conn(ctx).NewRaw("SELECT pg_read_binary_file("+serverLog+", ?, ?, true)", from.Int64, to.Int64-from.Int64).Scan(ctx, &log)
	}
	if found := report.FindAllString(string(log), 2); len(found) > 0 { // the others are hardly of another kind
		return strings.Join(found, "\n")
	}
	return "the server's log has the statements"
}
