// Package databasetest gives a test the databases we support, fresh and its own.
//
//	func TestSomething(t *testing.T) {
//		databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
//			db := at.Open(t, things.Migrations)
//			…
//		})
//	}
//
// SQLite is a file in the test's directory. PostgreSQL is a schema of its own in the server that
// LATCHKEY_TEST_POSTGRES_URL names, or else in one that the first test starts from the PostgreSQL programs found on
// this machine and that ends with the test process (server.go). Where there is neither, the test is skipped, and the
// terminal says so once, even under go test ./... which shows nothing of packages that pass. With
// LATCHKEY_TEST_REQUIRE_POSTGRES=1 it fails instead.
package databasetest

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/postgres"
	"github.com/latchkey-go/latchkey/modules/kernel/database/sqlite"
)

// A Database is an empty one that belongs to a test and is gone after it.
type Database struct {
	Dialect database.Dialect
	URL     string // "sqlite:/path/of/the/file" or "postgres://…?search_path=…"
}

// Each runs f on every kind of database, as the subtests "sqlite" and "postgres".
func Each(t *testing.T, f func(t *testing.T, at Database)) {
	t.Helper()
	t.Run("sqlite", func(t *testing.T) { f(t, SQLite(t)) })
	t.Run("postgres", func(t *testing.T) { f(t, Postgres(t)) })
}

// EachBenchmark is Each for a benchmark.
func EachBenchmark(b *testing.B, f func(b *testing.B, at Database)) {
	b.Helper()
	b.Run("sqlite", func(b *testing.B) { f(b, SQLite(b)) })
	b.Run("postgres", func(b *testing.B) { f(b, Postgres(b)) })
}

// SQLite is a database file that does not exist yet, in a directory that does.
func SQLite(tb testing.TB) Database {
	tb.Helper()
	return Database{database.SQLite, "sqlite:" + filepath.Join(tb.TempDir(), "latchkey.db")}
}

// Postgres is a new schema. It skips the test if there is no PostgreSQL, or fails it if there has to be one. The first
// call of a process may start the server, which a synctest bubble does not allow; call it before.
func Postgres(tb testing.TB) Database {
	tb.Helper()
	at := server()
	switch {
	case at.err != nil:
		tb.Fatalf("databasetest: PostgreSQL for tests: %v", at.err)
	case at.why != "":
		SkipLoudly(tb, "LATCHKEY_TEST_REQUIRE_POSTGRES", "PostgreSQL", at.why)
	}

	schema := "t_" + strings.ToLower(rand.Text())
	if err := execute(at.base, "CREATE SCHEMA "+schema); err != nil {
		tb.Fatalf("databasetest: %v", err)
	}
	tb.Cleanup(func() {
		// A connection that the test forgot must not hang the cleanup of the others.
		if err := execute(at.base, "SET lock_timeout = '5s'", "SET client_min_messages = 'warning'", "DROP SCHEMA "+schema+" CASCADE"); err != nil {
			tb.Errorf("databasetest: %v", err)
		}
	})
	query := at.base.Query()
	query.Set("search_path", schema)
	own := *at.base
	own.RawQuery = query.Encode()
	return Database{database.Postgres, own.String()}
}

// Open opens d, takes the migrations, and closes it when the test ends. It may be called again, for another process'
// view of the same database. What is logged from Warn up appears in the test's output.
func (d Database) Open(tb testing.TB, migrations ...database.Migrations) *database.DB {
	tb.Helper()
	log := slog.New(slog.NewTextHandler(tb.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	var db *database.DB
	var err error
	if d.Dialect == database.SQLite {
		db, err = sqlite.Open(tb.Context(), strings.TrimPrefix(d.URL, "sqlite:"), log)
	} else {
		db, err = postgres.Open(tb.Context(), d.URL, 0, log)
	}
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if err := db.Close(); err != nil {
			tb.Errorf("close the database: %v", err)
		}
	})
	if len(migrations) > 0 {
		if err := db.Migrate(tb.Context(), migrations...); err != nil {
			tb.Fatal(err)
		}
	}
	return db
}

// Main runs the tests and then stops the server they started, waiting for it to be gone:
//
//	func TestMain(m *testing.M) { databasetest.Main(m) }
//
// On Unix it only tidies up sooner. Elsewhere a server is started only by packages that do this, because nothing else
// would end it. What else the package wants tidied up is done by the further functions.
func Main(m *testing.M, tidy ...func()) {
	hasMain = true
	code := m.Run()
	stop()
	for _, f := range tidy {
		f()
	}
	os.Exit(code)
}

var hasMain bool

// execute runs statements on a connection of their own.
func execute(at *url.URL, statements ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, at.String())
	if err != nil {
		return err
	}
	defer conn.Close(ctx)
	for _, s := range statements {
		if _, err := conn.Exec(ctx, s); err != nil {
			return fmt.Errorf("%s: %w", s, err)
		}
	}
	return nil
}
