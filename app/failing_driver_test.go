package app_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/schema"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// A driver between database/sql and the real one, which fails now and then: at a statement, which was done then or not; at a
// commit, which was done then or not; or by having whoever asks hang up before a statement or after it.

// errInjected is what the driver says. None of its words may reach a caller.
var errInjected = errors.New("injected: connection to 10.1.2.3 lost at latchkey_user")

// faults are what the driver does to the requests that carry them.
type faults struct {
	statementsIn, commitsIn int // of so many one fails; there are far fewer commits

	mu   sync.Mutex
	dice *rand.Rand

	statements, failed, undone, unknown, hungUp atomic.Int64
}

// faulty is a request that faults may befall.
type faulty struct {
	*faults
	hangUp context.CancelFunc
}

type faultyKey struct{}

func (f *faults) upon(ctx context.Context, hangUp context.CancelFunc) context.Context {
	return context.WithValue(ctx, faultyKey{}, &faulty{f, hangUp})
}

func faultsOf(ctx context.Context) *faulty {
	f, _ := ctx.Value(faultyKey{}).(*faulty)
	return f
}

// draw returns a number below n if there is to be a fault, as in one of so many cases, and otherwise -1.
func (f *faulty) draw(oneIn func(*faults) int, n int) int {
	if f == nil {
		return -1
	}
	f.statements.Add(1)
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dice.IntN(oneIn(f.faults)) != 0 {
		return -1
	}
	return f.dice.IntN(n)
}

// befall does a statement, or what befalls it.
func befall[T any](ctx context.Context, do func() (T, error), undo func(T)) (none T, err error) {
	f := faultsOf(ctx)
	switch f.draw(func(f *faults) int { return f.statementsIn }, 4) {
	case 0: // nothing was done
		f.failed.Add(1)
		return none, errInjected
	case 1: // it was done, and the answer was lost
		f.failed.Add(1)
		done, err := do()
		if err == nil {
			undo(done)
			err = errInjected
		}
		return none, err
	case 2:
		f.hungUp.Add(1)
		f.hangUp()
	case 3:
		f.hungUp.Add(1)
		defer f.hangUp()
	}
	return do()
}

// failing is the database, with faults for the requests that carry them. It has the very connections that db would have.
func failing(t *testing.T, db *database.DB) *database.DB {
	t.Helper()
	read := db.Conn(t.Context()).NewSelect().DB()
	write := read
	err := db.InTx(t.Context(), func(ctx context.Context) error {
		write = db.Conn(ctx).NewSelect().DB()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	over := func(b *bun.DB, dialect schema.Dialect) *bun.DB {
		pool := sql.OpenDB(lender{b.DB})
		most := b.DB.Stats().MaxOpenConnections
		pool.SetMaxOpenConns(most)
		pool.SetMaxIdleConns(most)
		return bun.NewDB(pool, dialect)
	}
	outer := over(write, write.Dialect())
	if db.Dialect() == database.Postgres {
		return database.New(outer, outer, nil)
	}
	return database.New(outer, over(read, read.Dialect()), nil)
}

// lender makes connections of those of a pool.
type lender struct{ pool *sql.DB }

// Connect implements driver.Connector.
func (l lender) Connect(ctx context.Context) (driver.Conn, error) {
	lent, err := l.pool.Conn(ctx)
	if err != nil {
		return nil, err
	}
	c := &failingConn{lent: lent}
	err = lent.Raw(func(conn any) error { c.real = conn.(realConn); return nil })
	return c, err
}

// Driver implements driver.Connector.
func (l lender) Driver() driver.Driver { return l.pool.Driver() }

// realConn is what both drivers' connections can do.
type realConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.Pinger
	driver.SessionResetter
}

type failingConn struct {
	real realConn
	lent *sql.Conn
}

func (c *failingConn) Prepare(query string) (driver.Stmt, error) { return c.real.Prepare(query) }

func (c *failingConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	return c.real.PrepareContext(ctx, query)
}

func (c *failingConn) Begin() (driver.Tx, error) { return nil, errors.New("Begin is not used") }

func (c *failingConn) Ping(ctx context.Context) error { return c.real.Ping(ctx) }

func (c *failingConn) ResetSession(ctx context.Context) error { return c.real.ResetSession(ctx) }

func (c *failingConn) Close() error { return c.lent.Close() }

// CheckNamedValue implements driver.NamedValueChecker.
func (c *failingConn) CheckNamedValue(v *driver.NamedValue) error {
	if checker, ok := c.real.(driver.NamedValueChecker); ok {
		return checker.CheckNamedValue(v)
	}
	return driver.ErrSkip
}

func (c *failingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	return befall(ctx, func() (driver.Result, error) { return c.real.ExecContext(ctx, query, args) }, func(driver.Result) {})
}

func (c *failingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return befall(ctx, func() (driver.Rows, error) { return c.real.QueryContext(ctx, query, args) }, func(r driver.Rows) { r.Close() })
}

func (c *failingConn) BeginTx(ctx context.Context, o driver.TxOptions) (driver.Tx, error) {
	tx, err := befall(ctx, func() (driver.Tx, error) { return c.real.BeginTx(ctx, o) }, func(tx driver.Tx) { _ = tx.Rollback() })
	if err != nil {
		return nil, err
	}
	return failingTx{tx, faultsOf(ctx)}, nil
}

type failingTx struct {
	driver.Tx
	*faulty
}

// Commit commits, or does not, and may say that it did not in either case.
func (tx failingTx) Commit() error {
	switch tx.draw(func(f *faults) int { return f.commitsIn }, 2) {
	case 0:
		tx.undone.Add(1)
		return errors.Join(errInjected, tx.Rollback())
	case 1:
		tx.unknown.Add(1)
		if err := tx.Tx.Commit(); err != nil {
			return err
		}
		return errInjected
	}
	return tx.Tx.Commit()
}
