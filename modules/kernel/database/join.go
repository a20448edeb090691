package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"sync"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/schema"
)

// Join runs fn inside a transaction that the application has begun on its own pool of the same database. In fn, Conn
// and InTx use that transaction; committing or rolling it back stays with the application, and so does trying again.
//
// If err is not nil the application must roll back: fn failed, or something inside it did and was looked away from.
// Otherwise it commits and then calls afterCommit, which runs what AfterCommit collected; without a commit it must not.
// afterCommit is never nil, and does nothing after an error or the second time.
//
// On PostgreSQL the application's transaction must be READ COMMITTED, as it is unless something else was asked for, or Join fails.
// On SQLite it should have been begun with BEGIN IMMEDIATE, and be short: our own writers
// cannot see it coming and poll for their turn. Savepoints (bun's RunInTx on Conn) are not available in fn.
func (db *DB) Join(ctx context.Context, tx *sql.Tx, fn func(ctx context.Context) error) (afterCommit func(), err error) {
	none := func() {}
	if db.current(ctx) != nil {
		return none, errors.New("database: Join inside a transaction of our own")
	}
	if err := db.checkGuest(ctx, tx); err != nil {
		return none, err
	}
	t := new(transaction)
	t.conn = guest{db: db.write, tx: tx, hook: doomHook{db}}
	defer t.end() //nolint:errcheck // after a panic; the second time it changes nothing

	if err := fn(db.with(ctx, t)); err != nil {
		return none, err
	}
	if err := t.end(); err != nil {
		return none, err
	}
	return sync.OnceFunc(func() { t.committed(ctx, db) }), nil
}

// checkGuest makes sure of what we rely on in the application's transaction on PostgreSQL. A backslash in a text stands for itself: bun
// writes arguments into statements on that condition. And a statement sees what was committed before it: what is decided under a lock,
// such as whether an admin is left, would rest on what was so before the wait for it otherwise.
func (db *DB) checkGuest(ctx context.Context, tx *sql.Tx) error {
	if db.dialect != Postgres {
		return nil
	}
	var set, isolation string
	err := tx.QueryRowContext(ctx, "SELECT current_setting('standard_conforming_strings'), current_setting('transaction_isolation')").Scan(&set, &isolation)
	switch {
	case err != nil:
		return fmt.Errorf("database: Join: %w", err)
	case set != "on":
		return errors.New("database: Join needs standard_conforming_strings=on, PostgreSQL's default, on the application's connections")
	case !strings.HasPrefix(isolation, "read "): // to PostgreSQL, uncommitted is the same as committed
		return fmt.Errorf("database: Join needs a transaction that is READ COMMITTED, PostgreSQL's default, and this one is %s", strings.ToUpper(isolation))
	}
	return nil
}

// A guest is bun on somebody else's transaction: statements go to tx, everything else is db's, its hooks included.
type guest struct {
	db   *bun.DB
	tx   *sql.Tx
	hook doomHook // for the two methods that no query builder runs
}

var _ bun.IDB = guest{}

func (g guest) Dialect() schema.Dialect { return g.db.Dialect() }

func (g guest) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return g.NewRaw(query, args...).Exec(ctx)
}

func (g guest) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	ctx = g.hook.BeforeQuery(ctx, nil)
	rows, err := g.tx.QueryContext(ctx, g.db.QueryGen().FormatQuery(query, args...))
	g.hook.AfterQuery(ctx, &bun.QueryEvent{Err: err})
	return rows, err
}

func (g guest) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	ctx = g.hook.BeforeQuery(ctx, nil)
	row := g.tx.QueryRowContext(ctx, g.db.QueryGen().FormatQuery(query, args...))
	g.hook.AfterQuery(ctx, &bun.QueryEvent{Err: row.Err()})
	return row
}

func (g guest) NewValues(model any) *bun.ValuesQuery      { return g.db.NewValues(model).Conn(g.tx) }
func (g guest) NewSelect() *bun.SelectQuery               { return g.db.NewSelect().Conn(g.tx) }
func (g guest) NewInsert() *bun.InsertQuery               { return g.db.NewInsert().Conn(g.tx) }
func (g guest) NewUpdate() *bun.UpdateQuery               { return g.db.NewUpdate().Conn(g.tx) }
func (g guest) NewDelete() *bun.DeleteQuery               { return g.db.NewDelete().Conn(g.tx) }
func (g guest) NewMerge() *bun.MergeQuery                 { return g.db.NewMerge().Conn(g.tx) }
func (g guest) NewCreateTable() *bun.CreateTableQuery     { return g.db.NewCreateTable().Conn(g.tx) }
func (g guest) NewDropTable() *bun.DropTableQuery         { return g.db.NewDropTable().Conn(g.tx) }
func (g guest) NewCreateIndex() *bun.CreateIndexQuery     { return g.db.NewCreateIndex().Conn(g.tx) }
func (g guest) NewDropIndex() *bun.DropIndexQuery         { return g.db.NewDropIndex().Conn(g.tx) }
func (g guest) NewTruncateTable() *bun.TruncateTableQuery { return g.db.NewTruncateTable().Conn(g.tx) }
func (g guest) NewAddColumn() *bun.AddColumnQuery         { return g.db.NewAddColumn().Conn(g.tx) }
func (g guest) NewDropColumn() *bun.DropColumnQuery       { return g.db.NewDropColumn().Conn(g.tx) }

func (g guest) NewRaw(query string, args ...any) *bun.RawQuery {
	return g.db.NewRaw(query, args...).Conn(g.tx)
}

var errNoSavepoint = errors.New("database: no savepoints inside Join")

func (guest) BeginTx(context.Context, *sql.TxOptions) (bun.Tx, error) {
	return bun.Tx{}, errNoSavepoint
}

func (guest) RunInTx(context.Context, *sql.TxOptions, func(context.Context, bun.Tx) error) error {
	return errNoSavepoint
}
