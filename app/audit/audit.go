package audit

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// The outcomes.
const (
	Success = "success"
	Refused = "refused"
)

// What can go wrong.
var (
	ErrNotFound = fault.New(fault.NotFound, "audit_event_not_found", "No such audit event.")
	ErrQuery    = fault.New(fault.Invalid, "query_invalid", "A list cannot be asked for like that.")
	ErrCursor   = fault.New(fault.Invalid, "cursor_invalid", "The list has no such place.")

	// ErrPurgeDenied is no fault of a caller: this database role may not delete from the trail, which is as it should be.
	ErrPurgeDenied = errors.New("audit: the database role of this process may not delete from latchkey_audit_event: " +
		"run 'server purge --only audit_events' as one that may, or set audit.retention to 0")
)

// Options are the package's settings. The zero value keeps everything for good.
type Options struct {
	Retention time.Duration // how long a row is kept; zero: for good
}

// Trail is the audit trail. It is an event.Emitter, and safe for concurrent use. A nil *Trail keeps nothing.
type Trail struct {
	store   store
	db      *database.DB
	log     *slog.Logger
	options Options
	keys    *keyring.Ring // of the addresses' hashes; asked each time, so that a rotation holds at every node

	strangers, members seldom // whose refusals are not all kept

	mu   sync.Mutex
	last time.Time // that a row of this process has
}

var _ event.Emitter = (*Trail)(nil)

// purpose is the key by which addresses are hashed.
const purpose keyring.Purpose = "latchkey audit address v1"

// New returns the trail. The database must have been migrated with Migrations.
func New(p Params) (*Trail, error) {
	if p.DB == nil || p.Keys == nil {
		return nil, errors.New("audit: New needs a database and a keyring")
	}
	return &Trail{
		store: store{p.DB}, db: p.DB, log: cmp.Or(p.Log, slog.Default()).With("module", "audit"), options: p.Options,
		keys: p.Keys,
	}, nil
}

// Before is an emitter of two: the trail, then next. What either refuses is not done.
func (t *Trail) Before(next event.Emitter) event.Emitter {
	if t == nil {
		return next
	}
	return both{t, next}
}

type both [2]event.Emitter

func (b both) Emit(ctx context.Context, events ...event.Event) error {
	for _, e := range b {
		if err := e.Emit(ctx, events...); err != nil {
			return err
		}
	}
	return nil
}

// Emit records the events in the transaction that ctx carries.
func (t *Trail) Emit(ctx context.Context, events ...event.Event) error {
	entries := make([]Entry, len(events))
	for i, e := range events {
		entries[i] = t.entryOf(e)
	}
	return t.Record(ctx, entries...)
}

// Record records what is no event, in the transaction that ctx carries, or in one of its own. What it cannot record must
// not happen: its error rolls back.
func (t *Trail) Record(ctx context.Context, entries ...Entry) error {
	if t == nil || len(entries) == 0 {
		return nil
	}
	rows := make([]*row, len(entries))
	for i, e := range entries {
		rows[i] = t.row(ctx, e)
	}
	return t.db.InTx(ctx, func(ctx context.Context) error { return t.store.insert(ctx, rows) })
}

// row is an entry as it is kept.
func (t *Trail) row(ctx context.Context, e Entry) *row {
	by := ActorOf(ctx)
	if e.actor != nil {
		by = e.actor(by)
	}
	r := &row{
		ID: id.New("audit"), TS: t.now(), Action: database.Clip(e.Action, 128), Outcome: cmp.Or(e.Outcome, Success), Reason: database.Clip(e.Reason, 128),
		ActorType: database.Clip(by.Type, 64), ActorID: database.Clip(by.ID, 128), IdentityID: database.Clip(string(by.IdentityID), 64), SessionID: database.Clip(string(by.SessionID), 64),
		IP: database.Clip(by.IP, 64), UserAgent: database.Clip(by.UserAgent, 256), RequestID: database.Clip(by.RequestID, 64),
		TargetType: database.Clip(e.TargetType, 64), TargetID: database.Clip(e.TargetID, 128),
	}
	details, err := database.Object(e.Details).Checked(maxDetails)
	if err != nil {
		t.log.Warn("details of an audit event are not kept", "action", e.Action, "error", err)
	}
	r.Details = details
	return r
}

// maxDetails is how much of what an entry says beside its columns is kept, in bytes of JSON.
const maxDetails = 1024

// now is later than every time it has given before, so that the rows of this process are in the order they were made in.
func (t *Trail) now() time.Time {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := database.Now()
	if !now.After(t.last) {
		now = t.last.Add(time.Microsecond)
	}
	t.last = now
	return now
}
