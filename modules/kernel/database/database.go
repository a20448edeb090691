package database

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect"
)

// Dialect names the kind of database. It is also the word in the name of a migration meant for that kind only.
type Dialect string

// The dialects.
const (
	SQLite   Dialect = "sqlite"
	Postgres Dialect = "postgres"
)

// DB hands out connections and runs transactions. It is safe for concurrent use.
type DB struct {
	write   *bun.DB // transactions run here; it has the hook that dooms them
	read    *bun.DB
	dialect Dialect
	gate    gate // nil on PostgreSQL
	log     *slog.Logger
}

// New makes a DB of two handles: transactions run on write, and Conn reads from read when there is no transaction. On
// PostgreSQL pass the same handle twice; on SQLite read should refuse writes, so that one outside a transaction is
// found at once. The DB owns both from now on and closes them. A nil log discards what would be logged.
//
// New panics if the handles speak neither SQLite nor PostgreSQL.
func New(write, read *bun.DB, log *slog.Logger) *DB {
	db := &DB{read: read, log: log}
	switch name := write.Dialect().Name(); name {
	case dialect.SQLite:
		db.dialect, db.gate = SQLite, make(gate, 1)
	case dialect.PG:
		db.dialect = Postgres
	default:
		panic(fmt.Sprintf("database: %v is neither SQLite nor PostgreSQL", name))
	}
	if db.log == nil {
		db.log = slog.New(slog.DiscardHandler)
	}
	db.write = write.WithQueryHook(doomHook{db})
	return db
}

// Dialect says which kind of database this is.
func (db *DB) Dialect() Dialect { return db.dialect }

// MaxConns is how many connections may write at most; 0: any number.
func (db *DB) MaxConns() int { return db.write.Stats().MaxOpenConnections }

// Conn returns the transaction that ctx carries, or the handle for reading when it carries none. On the context of a
// transaction that has ended every use of it fails with [sql.ErrTxDone].
func (db *DB) Conn(ctx context.Context) bun.IDB {
	if t := db.current(ctx); t != nil {
		return t.conn
	}
	return db.read
}

// ForUpdate makes q lock the rows it reads until the transaction ends. The clause is what follows FOR: "UPDATE",
// "KEY SHARE", "UPDATE SKIP LOCKED"…; "" means "UPDATE". On SQLite it changes nothing: there a transaction is the only
// writer already.
func (db *DB) ForUpdate(q *bun.SelectQuery, clause string) *bun.SelectQuery {
	if db.dialect != Postgres {
		return q
	}
	return q.For(cmp.Or(strings.TrimPrefix(clause, "FOR "), "UPDATE"))
}

// Ping reports whether the database answers. It does not wait for a writer.
func (db *DB) Ping(ctx context.Context) error {
	return db.read.PingContext(ctx)
}

// Version is which version the database says that it is, such as 3.50.4 or 17.2.
func (db *DB) Version(ctx context.Context) (version string, err error) {
	query := "SELECT sqlite_version()"
	if db.dialect == Postgres {
		query = "SELECT current_setting('server_version')"
	}
	if err := db.Conn(ctx).NewRaw(query).Scan(ctx, &version); err != nil {
		return "", fmt.Errorf("ask the database for its version: %w", err)
	}
	return version, nil
}

// Close ends both handles. On SQLite the writer goes last, because the last one out folds the log back into the file.
func (db *DB) Close() error {
	return errors.Join(db.read.Close(), db.write.Close())
}

// Now is the time as both databases keep it: UTC, whole microseconds.
func Now() time.Time {
	return time.Now().UTC().Truncate(time.Microsecond)
}
