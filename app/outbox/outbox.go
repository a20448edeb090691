package outbox

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
)

// Options are the package's settings. The zero value keeps events for good.
type Options struct {
	Retention   time.Duration // how long an event is kept that has been handled by every consumer, and a dead letter; zero: for good
	MaxAttempts int           // after which an event becomes a dead letter; zero: DefaultMaxAttempts
}

// DefaultMaxAttempts are about three days of them.
const DefaultMaxAttempts = 450

// Outbox records events and delivers them. It is an event.Emitter, and safe for concurrent use.
type Outbox struct {
	store    store
	db       *database.DB
	log      *slog.Logger
	options  Options
	lease    time.Duration
	poll     time.Duration
	lanes    []*lane // settled before the first Emit, as retired
	retired  []string
	enrolled atomic.Bool // the consumers are in the database
	running  sync.Mutex  // held by Run

	clock func() time.Time // of this machine
	ahead atomic.Int64     // nanoseconds by which the database's is ahead of it
}

var _ event.Emitter = (*Outbox)(nil)

// New returns an outbox without consumers. The database must have been migrated with Migrations.
func New(p Params) (*Outbox, error) {
	if p.DB == nil {
		return nil, errors.New("outbox: New needs a database")
	}
	o := &Outbox{
		store: store{p.DB}, db: p.DB, log: cmp.Or(p.Log, slog.Default()).With("module", "outbox"),
		options: p.Options, lease: leaseTime, poll: pollTime, clock: database.Now,
	}
	o.options.MaxAttempts = cmp.Or(o.options.MaxAttempts, DefaultMaxAttempts)
	return o, nil
}

// Register adds consumers. Call it before the outbox is used: with the first event, or with Run, they are enrolled in the
// database, and from then on every program that emits records events for them, until they are forgotten (Forget, Retire). It
// fails for a name that cannot be used, and for a second consumer of the same name that hears the same topic.
func (o *Outbox) Register(consumers ...Consumer) error {
	for _, c := range consumers {
		if err := c.check(); err != nil {
			return err
		}
		if err := o.lane(c.name).add(c); err != nil {
			return err
		}
	}
	return nil
}

// Retire says that this program is the one to have the consumers of these names, and has them no more: with the first event,
// or with Run, nothing is recorded for them any longer. What was recorded stays, for whoever has them again.
func (o *Outbox) Retire(names ...string) { o.retired = append(o.retired, names...) }

func (o *Outbox) lane(name string) *lane {
	for _, l := range o.lanes {
		if l.name == name {
			return l
		}
	}
	l := &lane{outbox: o, name: name, wake: make(chan struct{}, 1)}
	o.lanes = append(o.lanes, l)
	return l
}

// Emit records the events, in their order, in the transaction that ctx carries, or in one of their own. It fails for an
// event that is no JSON, or has a NUL character in it.
func (o *Outbox) Emit(ctx context.Context, events ...event.Event) error {
	rows := make([]*eventRow, len(events))
	for i, e := range events {
		payload, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("record event %s: %w", e.Topic(), err)
		}
		if bytes.Contains(bytes.ReplaceAll(payload, []byte(`\\`), nil), []byte(`\u0000`)) {
			return fmt.Errorf("record event %s: it has a NUL character, which PostgreSQL does not keep", e.Topic())
		}
		rows[i] = &eventRow{ID: id.New("evt"), Topic: e.Topic(), AggregateID: e.Aggregate(), Payload: string(payload), CreatedAt: database.Now()}
	}
	if len(rows) == 0 {
		return nil
	}
	return o.db.InTx(ctx, func(ctx context.Context) error {
		if err := o.enrol(ctx); err != nil {
			return err
		}
		for chunk := range slices.Chunk(rows, chunkSize) {
			if err := o.store.insert(ctx, chunk); err != nil {
				return err
			}
		}
		return o.db.AfterCommit(ctx, func(context.Context) { o.rouse() })
	})
}

// now is the time by the clock of the database, as far as it is known: nodes whose clocks differ must agree on what is due, and on
// when a lease ends.
func (o *Outbox) now() time.Time { return o.clock().Add(time.Duration(o.ahead.Load())) }

// setClock compares the clocks. Whoever is at one SQLite file has one clock.
func (o *Outbox) setClock(ctx context.Context) error {
	if o.db.Dialect() != database.Postgres {
		return nil
	}
	before := o.clock()
	there, err := o.store.now(ctx)
	if err != nil {
		return err
	}
	o.ahead.Store(int64(there.Sub(before.Add(o.clock().Sub(before) / 2))))
	return nil
}

// enrol sees to it, once, that the consumers are in the database.
func (o *Outbox) enrol(ctx context.Context) error {
	if o.enrolled.Load() || len(o.lanes) == 0 && len(o.retired) == 0 {
		return nil
	}
	return o.db.InTx(ctx, func(ctx context.Context) error {
		known, err := o.store.consumers(ctx)
		if err != nil {
			return err
		}
		now := database.Now()
		var missing []consumerRow
		for _, l := range o.lanes {
			for _, c := range l.consumers {
				for _, row := range c.enrolled(now) {
					if !slices.ContainsFunc(known, row.same) {
						missing = append(missing, row)
					}
				}
			}
		}
		if err := o.store.enrol(ctx, missing); err != nil {
			return err
		}
		for _, name := range o.retired {
			if slices.ContainsFunc(known, func(r consumerRow) bool { return r.Name == name }) {
				if err := o.store.withdraw(ctx, name, ""); err != nil {
					return err
				}
			}
		}
		return o.db.AfterCommit(ctx, func(context.Context) { o.enrolled.Store(true) })
	})
}

// AddTarget has a consumer, made by ToTargets, get the events of the topics for another target, or of all if none is given:
// those that are recorded from now on, which in a transaction is from its commit on. For a target that it has already, the topics replace
// those of before.
func (o *Outbox) AddTarget(ctx context.Context, consumer, target string, topics ...string) error {
	if target == "" || slices.Contains(topics, every) {
		return fmt.Errorf("outbox: a target of %q, and a topic, have a name", consumer)
	}
	return o.db.InTx(ctx, func(ctx context.Context) error {
		if err := o.store.withdraw(ctx, consumer, target); err != nil {
			return err
		}
		return o.store.enrol(ctx, enrolment(consumer, target, topics, database.Now()))
	})
}

// RemoveTarget has the consumer get nothing any more for the target. What waits for it is dropped, dead letters too; what a
// transaction has recorded that commits later may still come.
func (o *Outbox) RemoveTarget(ctx context.Context, consumer, target string) error {
	if target == "" {
		return nil
	}
	return o.db.InTx(ctx, func(ctx context.Context) error {
		if err := o.store.withdraw(ctx, consumer, target); err != nil {
			return err
		}
		_, err := o.store.drop(ctx, Filter{Consumer: consumer, Target: target})
		return err
	})
}

// Purge deletes at most so many events that are older than the retention and wait for no consumer, and says how many. Dead
// letters that have been so for as long go with them.
func (o *Outbox) Purge(ctx context.Context, limit int) (n int, err error) {
	if o.options.Retention <= 0 {
		return 0, nil
	}
	before := database.Now().Add(-o.options.Retention)
	err = o.db.InTx(ctx, func(ctx context.Context) (err error) {
		n, err = o.store.purge(ctx, before, limit)
		return err
	})
	return n, err
}

// rouse has the loops look for work.
func (o *Outbox) rouse() {
	for _, l := range o.lanes {
		l.rouse()
	}
}

// Pending returns how many deliveries are still to be made, those among them that are being made now included, and those not
// that are dead letters.
func (o *Outbox) Pending(ctx context.Context) (int, error) { return o.store.pending(ctx) }

// names are topics, for people to read.
func names(topics []string) string { return cmp.Or(strings.Join(topics, ", "), "every topic") }
