// Package sqlite opens a SQLite file as a [database.DB]. The driver is pure Go; nothing needs installing.
package sqlite

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/sqlitedialect"
	driver "modernc.org/sqlite"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/internal/sqlitefile"
)

// Open opens the database file at path, making it if it is not there; its directory must be. The file is readable by
// its owner only. Beside it appear path-wal and path-shm, which belong to it, and path-migrate, an empty file that
// serves as a lock.
//
// One connection writes and several read what has been committed; a write outside a transaction fails. Any number of
// processes of one machine may open the same file, also when it is new; it must not lie on a network file system.
func Open(ctx context.Context, path string, log *slog.Logger) (*database.DB, error) {
	path, err := locate(path)
	if err != nil {
		return nil, err
	}

	write, err := open(path, 1, url.Values{"_txlock": {"immediate"}})
	if err != nil {
		return nil, err
	}
	if err := prepare(ctx, write, path); err != nil {
		return nil, errors.Join(err, write.Close())
	}
	read, err := open(path, max(4, runtime.GOMAXPROCS(0)), url.Values{"_query_only": {"1"}})
	if err != nil {
		return nil, errors.Join(err, write.Close())
	}
	return database.New(bun.NewDB(write, sqlitedialect.New()), bun.NewDB(read, sqlitedialect.New()), log), nil
}

// OpenReadOnly opens the database file at path, which must be there, for reading alone, while others may write to it.
// It makes no file but what SQLite needs beside one with a write-ahead log, and every write fails.
func OpenReadOnly(ctx context.Context, path string, log *slog.Logger) (*database.DB, error) {
	path, err := locate(path)
	if err != nil {
		return nil, err
	}
	pool, err := open(path, 2, url.Values{"mode": {"ro"}, "_query_only": {"1"}})
	if err != nil {
		return nil, err
	}
	if err := pool.PingContext(ctx); err != nil {
		return nil, errors.Join(fmt.Errorf("sqlite: open %s: %w", path, err), pool.Close())
	}
	db := bun.NewDB(pool, sqlitedialect.New())
	return database.New(db, db, log), nil
}

// locate is the one name of the file at path: two processes that call it differently must still meet at one lock.
func locate(path string) (string, error) {
	switch {
	case path == "":
		return "", errors.New("sqlite: no path given")
	case strings.Contains(path, ":memory:"):
		return "", errors.New("sqlite: a database in memory is not supported, because it would be another one for each connection; give the path of a file")
	case strings.HasPrefix(path, "file:"):
		return "", fmt.Errorf("sqlite: %q is a URI; give the plain path of a file", path)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		return "", fmt.Errorf("sqlite: %w", err)
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		return real, nil
	}
	dir, err := filepath.EvalSymlinks(filepath.Dir(path)) // the file itself is yet to be made
	if errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("sqlite: the directory %s does not exist", filepath.Dir(path))
	}
	if err != nil {
		return "", fmt.Errorf("sqlite: %w", err)
	}
	return filepath.Join(dir, filepath.Base(path)), nil
}

// open makes a pool; it does not touch the file yet.
func open(path string, conns int, more url.Values) (*sql.DB, error) {
	options := url.Values{
		"_busy_timeout": {"10000"}, // for other processes; in this one writers queue before they get here
		"_foreign_keys": {"1"},
		"_synchronous":  {"FULL"}, // what was committed survives a power cut
		"_time_format":  {"sqlite"},
	}
	maps.Copy(options, more)
	c, err := driver.NewConnector(sqlitefile.URI(path, options))
	if err != nil {
		return nil, fmt.Errorf("sqlite: %w", err)
	}
	pool := sql.OpenDB(c)
	pool.SetMaxOpenConns(conns)
	pool.SetMaxIdleConns(conns)
	return pool, nil
}

// prepare makes the file and sets write-ahead logging, which the file remembers. Doing the latter on each connection
// fails with SQLITE_BUSY, whatever the timeout, when several processes start on a new file; so one at a time does it.
func prepare(ctx context.Context, write *sql.DB, path string) error {
	unlock, err := sqlitefile.Lock(ctx, write.Driver(), path)
	if err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	defer unlock()
	if err := sqlitefile.Create(path); err != nil {
		return fmt.Errorf("sqlite: %w", err)
	}
	var mode string
	if err := write.QueryRowContext(ctx, "PRAGMA journal_mode = WAL").Scan(&mode); err != nil {
		return fmt.Errorf("sqlite: open %s: %w", path, err)
	}
	if mode != "wal" {
		return fmt.Errorf("sqlite: %s cannot have a write-ahead log here (journal_mode stays %s)", path, mode)
	}
	return nil
}
