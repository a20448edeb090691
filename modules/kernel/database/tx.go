package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/uptrace/bun"
)

// errEnded answers whoever uses the context of a transaction after its end.
var errEnded = fmt.Errorf("database: the transaction of this context has ended, use the context outside it: %w", sql.ErrTxDone)

// InTx runs fn in a transaction: the one that ctx carries if there is one, else a new one that commits when fn returns
// nil and rolls back otherwise. Inside, use the context that fn is given.
//
// There is one outcome. An error or a panic of an inner InTx, or a statement that failed, rolls everything back even
// if the code around it looks away: the outer InTx then returns what was looked away from. A failed statement also
// ends the use of the transaction; those after it are refused, as PostgreSQL does.
//
// fn may run more than once: if the database gave up because of another transaction (a serialization failure, a
// deadlock, SQLITE_BUSY), the outermost InTx runs it again, at most five times. So fn should change nothing outside the
// database except by AfterCommit, and set the variables it fills rather than add to them.
//
// On SQLite, transactions take turns in order of arrival. Waiting ends with the context, and in any case after half a
// minute, because the usual reason for that is an InTx inside another one that was given the context outside it.
// On the context of a transaction that has ended, InTx fails without running fn.
func (db *DB) InTx(ctx context.Context, fn func(ctx context.Context) error) error {
	if t := db.current(ctx); t != nil {
		return t.join(ctx, fn)
	}
	for attempt := 0; ; attempt++ {
		t, err := db.attempt(ctx, fn)
		if err == nil {
			t.committed(ctx, db)
			return nil
		}
		again := retryable(err) || retryable(t.doomed()) // fn may have returned something else
		if !again || attempt == maxRetries || !pause(ctx, attempt) {
			return hinted(err)
		}
	}
}

// Inside reports whether ctx carries a transaction, ended or not: then InTx takes no connection more.
func (db *DB) Inside(ctx context.Context) bool { return db.current(ctx) != nil }

// AfterCommit runs f once the outermost transaction has committed, and never if it does not. The functions of one
// transaction run in the order they were given. Outside a transaction f runs at once.
//
// f gets the context that the outermost InTx was given, without its cancellation: the commit has happened, so what
// follows from it should too. A panic in f is logged and stops nobody else. On the context of a transaction that has
// ended, AfterCommit fails and f does not run.
func (db *DB) AfterCommit(ctx context.Context, f func(context.Context)) error {
	t := db.current(ctx)
	if t == nil {
		db.guard(context.WithoutCancel(ctx), f)
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return errEnded
	}
	t.after = append(t.after, f)
	return nil
}

// how transactions are on PostgreSQL, whatever the database or role was set to: a statement sees what was committed before it, or
// what is decided under a lock would rest on what was so before the wait for it.
func (db *DB) how() *sql.TxOptions {
	if db.dialect != Postgres {
		return nil
	}
	return &sql.TxOptions{Isolation: sql.LevelReadCommitted}
}

// attempt is one try at a transaction. It is returned even with an error, for its doom, and nil if it never began.
func (db *DB) attempt(ctx context.Context, fn func(context.Context) error) (*transaction, error) {
	if err := db.gate.enter(ctx); err != nil {
		return nil, err
	}
	defer db.gate.leave()

	tx, err := db.write.BeginTx(ctx, db.how())
	if err != nil {
		return nil, fmt.Errorf("begin transaction: %w", err)
	}
	t := &transaction{conn: tx}
	committed := false
	defer func() { // also after a panic and runtime.Goexit
		if !committed {
			_ = t.end()
			_ = tx.Rollback()
		}
	}()

	if err := fn(db.with(ctx, t)); err != nil {
		return t, err
	}
	if err := t.end(); err != nil {
		return t, err
	}
	if err := tx.Commit(); err != nil {
		if errors.Is(err, sql.ErrTxDone) && ctx.Err() != nil {
			err = ctx.Err() // database/sql has rolled back for that reason, and does not say so
		}
		return t, fmt.Errorf("commit transaction: %w", err)
	}
	committed = true
	return t, nil
}

// key finds a transaction in a context. It holds the DB, so that two databases never mix.
type key struct{ db *DB }

func (db *DB) with(ctx context.Context, t *transaction) context.Context {
	return context.WithValue(ctx, key{db}, t)
}

// current is the transaction that ctx carries, ended or not, or nil.
func (db *DB) current(ctx context.Context) *transaction {
	t, _ := ctx.Value(key{db}).(*transaction)
	return t
}

// A transaction is what a context carries while fn runs, and remembers that it is over afterwards.
type transaction struct {
	conn bun.IDB

	mu     sync.Mutex
	doom   error // the first reason why this will not commit
	failed bool  // that a statement was refused by the database is among the reasons
	ended  bool
	after  []func(context.Context)
}

// join runs fn as a part of t.
func (t *transaction) join(ctx context.Context, fn func(context.Context) error) (err error) {
	t.mu.Lock()
	ended := t.ended
	t.mu.Unlock()
	if ended {
		return errEnded
	}
	// In a defer, and set beforehand: someone further out may recover from a panic.
	err = errors.New("database: a panic inside the transaction was recovered from")
	defer func() {
		if err != nil {
			t.fail(err, false)
		}
	}()
	err = fn(ctx)
	return err
}

// fail dooms t; the first reason is kept.
func (t *transaction) fail(err error, statement bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.doom == nil {
		t.doom = err
	}
	t.failed = t.failed || statement
}

// end closes t to further work and returns its doom.
func (t *transaction) end() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.ended = true
	return t.doom
}

// doomed is the reason why t will not commit, or nil. A transaction that never began has none.
func (t *transaction) doomed() error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.doom
}

// committed runs what was waiting for the commit. The context is the one from outside, so it carries no transaction.
func (t *transaction) committed(ctx context.Context, db *DB) {
	for _, f := range t.after { // ended: nobody adds any more
		db.guard(context.WithoutCancel(ctx), f)
	}
}

func (db *DB) guard(ctx context.Context, f func(context.Context)) {
	defer func() {
		if p := recover(); p != nil {
			db.log.ErrorContext(ctx, "panic after commit", "panic", p, "stack", string(debug.Stack()))
		}
	}()
	f(ctx)
}

// doomHook sees every statement. PostgreSQL gives up a transaction when one fails and SQLite does not; worse, SQLite
// may have rolled back already, so that the next statement would stand alone and stay. With the hook both give up.
type doomHook struct{ db *DB }

func (h doomHook) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context {
	t := h.db.current(ctx)
	if t == nil {
		return ctx
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case t.ended:
		return refused{ctx, errEnded}
	case t.failed:
		return refused{ctx, fmt.Errorf("database: refused, because the transaction has failed already: %w", t.doom)}
	}
	return ctx
}

func (h doomHook) AfterQuery(ctx context.Context, e *bun.QueryEvent) {
	if e.Err == nil || errors.Is(e.Err, sql.ErrNoRows) {
		return
	}
	if t := h.db.current(ctx); t != nil {
		t.fail(e.Err, true)
	}
}

// refused is a context that is over, and says why to whoever runs a statement with it.
type refused struct {
	context.Context //nolint:containedctx // it is a context
	err             error
}

func (refused) Done() <-chan struct{} { return over }
func (r refused) Err() error          { return r.err }

var over = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

// A gate lets one writer in at a time. SQLite has one writer anyway, but waiting for it there means polling without
// order and without an eye on the context. The waiters of a channel are served first come, first served.
type gate chan struct{}

// patience is longer than any queue of transactions that are as short as they should be.
const patience = 30 * time.Second

func (g gate) enter(ctx context.Context) error {
	if g == nil {
		return nil
	}
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("wait for the SQLite writer: %w", ctx.Err())
	case <-timer.C:
		return fmt.Errorf("database: no turn to write to SQLite within %v; is an InTx called inside another one with the context outside it?", patience)
	}
}

func (g gate) leave() {
	if g != nil {
		<-g
	}
}
