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
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
)

// Outbox records events and delivers them. It is an event.Emitter, and safe for concurrent use.
type Outbox struct {
	store     store
	db        *database.DB
	log       *slog.Logger
	retention time.Duration
	lease     time.Duration
	poll      time.Duration
	consumers []Consumer // settled before the first Emit
	wake      chan struct{}
	running   sync.Mutex // held by Run
}

var _ event.Emitter = (*Outbox)(nil)

// New returns an outbox without consumers. The database must have been migrated with Migrations.
func New(p Params) (*Outbox, error) {
	if p.DB == nil {
		return nil, errors.New("outbox: New needs a database")
	}
	return &Outbox{
		store: store{p.DB}, db: p.DB, log: cmp.Or(p.Log, slog.Default()).With("module", "outbox"),
		retention: p.Options.Retention, lease: leaseTime, poll: pollTime, wake: make(chan struct{}, 1),
	}, nil
}

// Register adds consumers, which get the events that are recorded from now on. Call it before the outbox is used. It
// fails for a name that cannot be used, and for a second consumer of the same name that hears the same topic.
func (o *Outbox) Register(consumers ...Consumer) error {
	for _, c := range consumers {
		if err := c.check(); err != nil {
			return err
		}
		for _, other := range o.consumers {
			if other.name == c.name && (len(c.topics) == 0 || len(other.topics) == 0 || slices.ContainsFunc(c.topics, other.hears)) {
				return fmt.Errorf("outbox: two consumers of %s are called %q", cmp.Or(strings.Join(c.topics, ", "), strings.Join(other.topics, ", "), "every topic"), c.name)
			}
		}
		o.consumers = append(o.consumers, c)
	}
	return nil
}

func (o *Outbox) consumer(name, topic string) *Consumer {
	i := slices.IndexFunc(o.consumers, func(c Consumer) bool { return c.name == name && c.hears(topic) })
	if i < 0 {
		return nil
	}
	return &o.consumers[i]
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
		for chunk := range slices.Chunk(rows, chunkSize) {
			if err := o.store.insert(ctx, chunk, o.consumers); err != nil {
				return err
			}
		}
		return o.db.AfterCommit(ctx, func(context.Context) { o.rouse() })
	})
}

// Options are the package's settings. The zero value keeps events for good.
type Options struct {
	Retention time.Duration // how long an event is kept that has been handled by every consumer; zero: for good
}

// Purge deletes at most so many events that are older than the retention and wait for no consumer, and says how many.
func (o *Outbox) Purge(ctx context.Context, limit int) (n int, err error) {
	if o.retention <= 0 {
		return 0, nil
	}
	before := database.Now().Add(-o.retention)
	err = o.db.InTx(ctx, func(ctx context.Context) (err error) {
		n, err = o.store.purge(ctx, before, limit)
		return err
	})
	return n, err
}

// rouse has the loop look for work.
func (o *Outbox) rouse() {
	select {
	case o.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// Pending returns how many deliveries are still to be made, those among them that are being made now included.
func (o *Outbox) Pending(ctx context.Context) (int, error) { return o.store.pending(ctx) }
