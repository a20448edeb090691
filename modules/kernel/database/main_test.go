package database_test

import (
	"context"
	"database/sql"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

func TestMain(m *testing.M) {
	if migrateAsChild() { // a process started by TestEightProcessesStartOnOneFreshDatabase
		return
	}
	databasetest.Main(m)
}

// notes is a module with one table, to write in.
var notes = database.Migrations{Module: "notes", FS: fstest.MapFS{
	"00001_note.sql": {Data: []byte(`
-- +goose Up
CREATE TABLE latchkey_note (id text PRIMARY KEY, written_at timestamptz);
-- +goose Down
DROP TABLE latchkey_note;
`)},
}}

type note struct {
	bun.BaseModel `bun:"table:latchkey_note"`

	ID        string       `bun:"id,pk"`
	WrittenAt bun.NullTime `bun:"written_at"`
}

// onEach runs f with a database that has notes, once of each kind.
func onEach(t *testing.T, f func(t *testing.T, db *database.DB)) {
	t.Helper()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		f(t, at.Open(t, notes))
	})
}

func write(ctx context.Context, db *database.DB, id string) error {
	_, err := db.Conn(ctx).NewInsert().Model(&note{ID: id}).Exec(ctx)
	return err
}

// breakStatement fails in the database.
func breakStatement(ctx context.Context, db *database.DB) error {
	_, err := db.Conn(ctx).ExecContext(ctx, "INSERT INTO latchkey_nothing VALUES (1)")
	return err
}

// written is what has been committed.
func written(t *testing.T, db *database.DB) []string {
	t.Helper()
	var ids []string
	err := db.Conn(context.Background()).NewSelect().Model((*note)(nil)).Column("id").Order("id").Scan(context.Background(), &ids)
	if err != nil {
		t.Fatal(err)
	}
	return ids
}

func wantWritten(t *testing.T, db *database.DB, want ...string) {
	t.Helper()
	if got := written(t, db); !slices.Equal(got, want) {
		t.Errorf("committed: %q, want %q", got, want)
	}
}

// appTx begins a transaction as an application does, on a pool of its own.
func appTx(t *testing.T, at databasetest.Database) *sql.Tx {
	t.Helper()
	pool := rawPool(t, at)
	tx, err := pool.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	return tx
}

func rawPool(t *testing.T, at databasetest.Database) *sql.DB {
	t.Helper()
	driver, name := "pgx", at.URL
	if at.Dialect == database.SQLite {
		driver, name = "sqlite", "file:"+at.URL[len("sqlite:"):]+"?_txlock=immediate&_busy_timeout=10000"
	}
	pool, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pool.Close() })
	return pool
}
