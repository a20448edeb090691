package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// Snapshot runs fn with a context on which Conn sees one state of the database, whatever others commit meanwhile, and
// refuses to write: a REPEATABLE READ, READ ONLY transaction on PostgreSQL, a read transaction on a connection that cannot
// write on SQLite. It waits for no writer and holds none up; but for as long as it runs, PostgreSQL cannot vacuum what was
// deleted since, and SQLite cannot shorten its write-ahead log.
//
// A statement that fails ends the snapshot on PostgreSQL, unless it was made after a SAVEPOINT. Inside a transaction
// Snapshot fails.
func (db *DB) Snapshot(ctx context.Context, fn func(ctx context.Context) error) error {
	if db.current(ctx) != nil {
		return errors.New("database: Snapshot inside a transaction")
	}
	how := &sql.TxOptions{ReadOnly: true}
	if db.dialect == Postgres {
		how.Isolation = sql.LevelRepeatableRead
	}
	tx, err := db.read.BeginTx(ctx, how)
	if err != nil {
		return fmt.Errorf("begin a snapshot: %w", err)
	}
	t := &transaction{conn: tx}
	defer func() { // also after a panic
		_ = t.end()
		_ = tx.Rollback()
	}()
	if db.dialect == Postgres { // whoever changes a table meanwhile is not waited for without end, nor kept waiting by it
		if _, err := tx.ExecContext(ctx, "SET LOCAL lock_timeout = '10s'"); err != nil {
			return fmt.Errorf("begin a snapshot: %w", err)
		}
	}
	return fn(db.with(ctx, t))
}
