package outbox

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/uptrace/bun"
	"github.com/uptrace/bun/schema"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// store is all SQL of this package.
type store struct{ db *database.DB }

type eventRow struct {
	bun.BaseModel `bun:"table:latchkey_outbox_event,alias:e"`

	Seq         int64 `bun:",pk,autoincrement"`
	ID          string
	Topic       string
	AggregateID string
	Payload     string // JSON; as bytes, bun would escape it once more
	CreatedAt   time.Time
}

type deliveryRow struct {
	bun.BaseModel `bun:"table:latchkey_outbox_delivery,alias:d"`

	EventSeq    int64  `bun:",pk"`
	Consumer    string `bun:",pk"`
	Topic       string
	AggregateID string
	Attempts    int
	NextAt      time.Time
	LastError   string `bun:",nullzero"`
}

// claimedRow is a delivery that is ours for a while, with its event.
type claimedRow struct {
	EventSeq  int64
	Consumer  string
	Attempts  int
	ID        string
	Topic     string
	Aggregate string `bun:"aggregate_id"`
	Payload   []byte
	CreatedAt time.Time
}

func (c claimedRow) delivery() Delivery {
	return Delivery{ID: c.ID, Topic: c.Topic, Aggregate: c.Aggregate, At: database.UTC(c.CreatedAt), Attempt: c.Attempts}
}

// chunkSize is how many events go into one statement.
const chunkSize = 500

// insert records the events, and what is to be delivered of them to whom.
func (s store) insert(ctx context.Context, rows []*eventRow, to []Consumer) error {
	if _, err := s.db.Conn(ctx).NewInsert().Model(&rows).Returning("NULL").Exec(ctx); err != nil {
		return fmt.Errorf("record events: %w", err)
	}
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	for _, c := range to {
		these := bun.SafeQuery("id IN (?)", bun.List(ids))
		switch {
		case len(c.topics) == 0:
		case !slices.ContainsFunc(rows, func(r *eventRow) bool { return c.hears(r.Topic) }):
			continue
		default:
			these = bun.SafeQuery("id IN (?) AND topic IN (?)", bun.List(ids), bun.List(c.topics))
		}
		_, err := s.db.Conn(ctx).NewRaw(`INSERT INTO latchkey_outbox_delivery (event_seq, consumer, topic, aggregate_id, attempts, next_at)
			SELECT seq, ?, topic, aggregate_id, 0, created_at FROM latchkey_outbox_event WHERE ?`, c.name, these).Exec(ctx)
		if err != nil {
			return fmt.Errorf("record deliveries: %w", err)
		}
	}
	return nil
}

// first are the deliveries to the consumers that wait for no other: the earliest of each consumer and aggregate, but for
// those that are at work here. What is for other consumers is left to the programs that have them. The earliest is asked for
// as a minimum, which both databases read off an index; for NOT EXISTS, PostgreSQL may compare all rows with all.
func (s store) first(ctx context.Context, to []Consumer, but []claimedRow) *bun.SelectQuery {
	q := s.db.Conn(ctx).NewSelect().Model((*deliveryRow)(nil))
	if len(but) > 0 {
		q = q.Where("NOT ?", anyOf(delivery, but, func(c claimedRow) []any { return []any{c.EventSeq, c.Consumer} }))
	}
	return q.
		Where("?", heardBy(to)).
		Where(`d.event_seq = (SELECT min(b.event_seq) FROM latchkey_outbox_delivery b
			WHERE b.consumer = d.consumer AND b.aggregate_id = d.aggregate_id)`)
}

// due are those whose time has come.
func (s store) due(ctx context.Context, to []Consumer, but []claimedRow, now time.Time) *bun.SelectQuery {
	return s.first(ctx, to, but).Where("d.next_at <= ?", now)
}

func (s store) anyDue(ctx context.Context, to []Consumer, but []claimedRow, now time.Time) (bool, error) {
	due, err := s.due(ctx, to, but, now).Exists(ctx)
	if err != nil {
		return false, fmt.Errorf("look for due deliveries: %w", err)
	}
	return due, nil
}

// claim takes at most so many due deliveries until the lease ends, each another one than other nodes take.
func (s store) claim(ctx context.Context, to []Consumer, but []claimedRow, now, until time.Time, most int) ([]claimedRow, error) {
	var keys []deliveryRow
	q := s.due(ctx, to, but, now).Column("event_seq", "consumer").OrderExpr("d.event_seq, d.consumer").Limit(int64(most))
	if err := s.db.ForUpdate(q, "UPDATE OF d SKIP LOCKED").Scan(ctx, &keys); err != nil {
		return nil, fmt.Errorf("claim deliveries: %w", err)
	}
	if len(keys) == 0 {
		return nil, nil
	}
	these := anyOf(delivery, keys, func(k deliveryRow) []any { return []any{k.EventSeq, k.Consumer} })
	_, err := s.db.Conn(ctx).NewUpdate().Model((*deliveryRow)(nil)).Set("attempts = attempts + 1").Set("next_at = ?", until).
		Where("?", these).Exec(ctx)
	if err != nil {
		return nil, fmt.Errorf("claim deliveries: %w", err)
	}
	var claimed []claimedRow
	err = s.db.Conn(ctx).NewSelect().Model((*deliveryRow)(nil)).
		ColumnExpr("d.event_seq, d.consumer, d.attempts, e.id, e.topic, e.aggregate_id, e.payload, e.created_at").
		Join("JOIN latchkey_outbox_event AS e ON e.seq = d.event_seq").
		Where("?", these).OrderExpr("d.event_seq, d.consumer").Scan(ctx, &claimed)
	if err != nil {
		return nil, fmt.Errorf("read claimed deliveries: %w", err)
	}
	return claimed, nil
}

// heardBy is the condition that it is for one of the consumers.
func heardBy(to []Consumer) schema.QueryWithArgs {
	conditions, args := make([]string, len(to)), make([]any, 0, 2*len(to))
	for i, c := range to {
		conditions[i], args = "d.consumer = ?", append(args, c.name)
		if len(c.topics) > 0 {
			conditions[i], args = conditions[i]+" AND d.topic IN (?)", append(args, bun.List(c.topics))
		}
	}
	return bun.SafeQuery("("+strings.Join(conditions, " OR ")+")", args...)
}

// delivery is the condition that it is this one, by its key.
const delivery = "d.event_seq = ? AND d.consumer = ?"

// anyOf is the condition that one of the alternatives holds, each with its arguments.
func anyOf[T any](condition string, of []T, args func(T) []any) schema.QueryWithArgs {
	conditions, all := make([]string, len(of)), make([]any, 0, 2*len(of))
	for i, x := range of {
		conditions[i] = condition
		all = append(all, args(x)...)
	}
	return bun.SafeQuery("("+strings.Join(conditions, " OR ")+")", all...)
}

// done removes the delivery, unless the lease ended and somebody else has it now.
func (s store) done(ctx context.Context, c claimedRow) error {
	_, err := s.db.Conn(ctx).NewDelete().Model((*deliveryRow)(nil)).
		Where("event_seq = ?", c.EventSeq).Where("consumer = ?", c.Consumer).Where("attempts = ?", c.Attempts).Exec(ctx)
	if err != nil {
		return fmt.Errorf("close delivery: %w", err)
	}
	return nil
}

// failed puts the delivery off, unless the lease ended and somebody else has it now.
func (s store) failed(ctx context.Context, c claimedRow, next time.Time, why string) error {
	why = strings.ReplaceAll(strings.ToValidUTF8(why, "?"), "\x00", "?")
	_, err := s.db.Conn(ctx).NewUpdate().Model((*deliveryRow)(nil)).
		Set("next_at = ?", next).Set("last_error = ?", why[:min(len(why), 1024)]).
		Where("event_seq = ?", c.EventSeq).Where("consumer = ?", c.Consumer).Where("attempts = ?", c.Attempts).Exec(ctx)
	if err != nil {
		return fmt.Errorf("put delivery off: %w", err)
	}
	return nil
}

// next is when the next delivery is due; ok is false if there is none.
func (s store) next(ctx context.Context, to []Consumer, but []claimedRow) (at time.Time, ok bool, err error) {
	var rows []deliveryRow
	err = s.first(ctx, to, but).Column("next_at").Order("next_at").Limit(1).Scan(ctx, &rows)
	if err != nil || len(rows) == 0 {
		return time.Time{}, false, err
	}
	return rows[0].NextAt, true, nil
}

func (s store) pending(ctx context.Context) (int, error) {
	n, err := s.db.Conn(ctx).NewSelect().Model((*deliveryRow)(nil)).Count(ctx)
	if err != nil {
		return 0, fmt.Errorf("count deliveries: %w", err)
	}
	return int(n), nil
}

// purge deletes the oldest events that nothing is to be delivered of, but for those that another node is at. No delivery
// of an event is made after the transaction that records it.
func (s store) purge(ctx context.Context, before time.Time, limit int) (int, error) {
	var seqs []int64
	q := s.db.Conn(ctx).NewSelect().Model((*eventRow)(nil)).Column("seq").Where("created_at < ?", before).
		Where("NOT EXISTS (SELECT 1 FROM latchkey_outbox_delivery d WHERE d.event_seq = e.seq)").OrderExpr("created_at").Limit(int64(limit))
	if err := s.db.ForUpdate(q, "UPDATE OF e SKIP LOCKED").Scan(ctx, &seqs); err != nil {
		return 0, fmt.Errorf("look for old events: %w", err)
	}
	if len(seqs) == 0 {
		return 0, nil
	}
	res, err := s.db.Conn(ctx).NewDelete().Model((*eventRow)(nil)).Where("seq IN (?)", bun.List(seqs)).Exec(ctx)
	if err != nil {
		return 0, fmt.Errorf("delete old events: %w", err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}
