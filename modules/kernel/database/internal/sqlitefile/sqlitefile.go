// Package sqlitefile holds what the opener of a SQLite file and its migrations must agree on: how the file is named,
// and the lock that lets one process at a time prepare it.
package sqlitefile

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// URI is path as SQLite's drivers take it, so that a '?' or '%' in it means itself. Options may be nil.
func URI(path string, options url.Values) string {
	path = filepath.ToSlash(path)
	if !strings.HasPrefix(path, "/") { // C:/…
		path = "/" + path
	}
	return "file://" + (&url.URL{Path: path, RawQuery: options.Encode()}).String()
}

var creating sync.Mutex

// Create makes an empty file at path that only its owner may read, unless there is one already.
func Create(path string) error {
	// Never open a file that is there: closing it would drop the locks that this process holds on it through SQLite
	// (POSIX). The mutex keeps others from taking such a lock on a new one before it is closed here.
	creating.Lock()
	defer creating.Unlock()
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	switch {
	case errors.Is(err, fs.ErrExist):
		return nil
	case err != nil:
		return err
	}
	return f.Close()
}

// Lock waits for the lock on preparing the SQLite file at path: setting it up and migrating it. It is SQLite's own
// exclusive lock, on an empty second file beside it which stays, so it is the same on every system and ends with the
// process that holds it.
func Lock(ctx context.Context, d driver.Driver, path string) (unlock func(), err error) {
	path += "-migrate"
	if err := Create(path); err != nil {
		return nil, fmt.Errorf("lock for migration: %w", err)
	}
	db := sql.OpenDB(connector{d, URI(path, nil)})
	db.SetMaxOpenConns(1)
	for {
		_, err := db.ExecContext(ctx, "BEGIN EXCLUSIVE")
		if err == nil {
			return func() { _ = db.Close() }, nil // which ends the transaction, and so the lock
		}
		var busy interface{ Code() int }
		if !errors.As(err, &busy) || busy.Code()&0xff != 5 {
			_ = db.Close()
			return nil, fmt.Errorf("lock %s: %w", path, err)
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			_ = db.Close()
			return nil, fmt.Errorf("lock %s: %w", path, ctx.Err())
		}
	}
}

// A connector opens a name with a driver that is registered under a name we do not know.
type connector struct {
	driver driver.Driver
	name   string
}

func (c connector) Connect(context.Context) (driver.Conn, error) { return c.driver.Open(c.name) }
func (c connector) Driver() driver.Driver                        { return c.driver }
