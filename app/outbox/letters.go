package outbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// Waiting is a delivery that has not been made: it is to be made, or is a dead letter.
type Waiting struct {
	ID        string    `json:"id"` // of the event
	Topic     string    `json:"topic"`
	Aggregate string    `json:"aggregate"`
	At        time.Time `json:"recorded_at"`
	Consumer  string    `json:"consumer"`
	Target    string    `json:"target,omitempty"`
	Attempts  int       `json:"attempts"`        // that were begun
	Error     string    `json:"error,omitempty"` // of the last one that failed
	State     State     `json:"state"`
	Next      time.Time `json:"next_at,omitzero"` // not before then, while it is at work: when others take it over, of a dead letter: never
	Dead      time.Time `json:"dead_at,omitzero"`
}

// State is how a delivery stands.
type State string

// How deliveries stand.
const (
	StateWaiting State = "waiting" // it is to be made, maybe once more, maybe after an earlier one of its aggregate
	StateAtWork  State = "at work" // a consumer is at it
	StateDead    State = "dead"    // it will not be made unless somebody says so, by Retry
)

// Filter says which deliveries are meant: those of which everything holds that is not empty.
type Filter struct {
	ID       string // of the event
	Consumer string
	Target   string
	Topic    string
	Dead     bool // the dead letters alone
}

func (f Filter) apply(q bun.QueryBuilder) bun.QueryBuilder {
	for _, c := range []struct{ column, value string }{{"consumer", f.Consumer}, {"target", f.Target}, {"topic", f.Topic}} {
		if c.value != "" {
			q = q.Where("? = ?", bun.Ident("d."+c.column), c.value)
		}
	}
	if f.ID != "" {
		q = q.Where("d.event_seq IN (SELECT seq FROM latchkey_outbox_event WHERE id = ?)", f.ID)
	}
	if f.Dead {
		q = q.Where("d.dead_at IS NOT NULL")
	}
	return q
}

// List returns the deliveries that have not been made, the oldest first, and how many there are in all. A limit of zero is none.
func (o *Outbox) List(ctx context.Context, f Filter, offset, limit int) ([]Waiting, int, error) {
	if err := o.setClock(ctx); err != nil {
		return nil, 0, err
	}
	if limit <= 0 {
		limit = math.MaxInt32 // SQLite has no offset without a limit
	}
	return o.store.list(ctx, f, o.now(), offset, limit)
}

// Retry has the deliveries tried now: dead letters once more from the start, and others without waiting any longer, but for those
// that a consumer is at. It says how many.
func (o *Outbox) Retry(ctx context.Context, f Filter) (n int, err error) {
	err = o.db.InTx(ctx, func(ctx context.Context) (err error) {
		if err = o.setClock(ctx); err != nil {
			return err
		}
		if n, err = o.store.retry(ctx, f, o.now()); err != nil {
			return err
		}
		return o.db.AfterCommit(ctx, func(context.Context) { o.rouse() })
	})
	return n, err
}

// Discard drops the deliveries: they are never made, unless a consumer is at it now. What waited for them waits no longer. It says how many.
func (o *Outbox) Discard(ctx context.Context, f Filter) (n int, err error) {
	err = o.db.InTx(ctx, func(ctx context.Context) (err error) {
		if err = o.setClock(ctx); err != nil {
			return err
		}
		if err = o.store.release(ctx, f, o.now()); err != nil {
			return err
		}
		if n, err = o.store.drop(ctx, f); err != nil {
			return err
		}
		return o.db.AfterCommit(ctx, func(context.Context) { o.rouse() })
	})
	return n, err
}

// Enrolled is a consumer, or a target of one, for which events are recorded, or of which some are left.
type Enrolled struct {
	Name    string    `json:"name"`
	Target  string    `json:"target,omitempty"`
	Topics  []string  `json:"topics"`             // none: every one
	Since   time.Time `json:"since,omitzero"`     // zero: nothing is recorded for it any more
	Waiting int       `json:"waiting"`            // deliveries to be made
	Dead    int       `json:"dead"`               // dead letters
	Oldest  time.Time `json:"oldest_at,omitzero"` // when the first event was recorded that waits; zero: none does
}

// Consumers returns for whom events are recorded.
func (o *Outbox) Consumers(ctx context.Context) ([]Enrolled, error) { return o.store.enrolled(ctx) }

// ErrInUse says that a consumer is one that this program has: to forget it would lose what happens until it is enrolled again.
var ErrInUse = errors.New("outbox: this program has the consumer")

// Forget has nothing recorded any more for the consumer of this name and its targets, and drops what waits for them, dead letters
// too. It says how many those were. ErrInUse, if this program has the consumer; another that has it enrols it again when it starts.
func (o *Outbox) Forget(ctx context.Context, name string) (n int, err error) {
	if slices.ContainsFunc(o.lanes, func(l *lane) bool { return l.name == name }) {
		return 0, fmt.Errorf("%w %q", ErrInUse, name)
	}
	err = o.db.InTx(ctx, func(ctx context.Context) (err error) {
		n, err = o.store.forget(ctx, name)
		return err
	})
	return n, err
}

func (s store) list(ctx context.Context, f Filter, now time.Time, offset, limit int) ([]Waiting, int, error) {
	var rows []struct {
		ID, Topic, AggregateID, Consumer, Target, LastError string
		Attempts                                            int
		CreatedAt, NextAt, LeasedUntil, DeadAt              time.Time
	}
	const order = "d.event_seq, d.consumer, d.target"
	total, err := s.count(ctx, f)
	if err == nil && offset < total { // the events are looked for when it is known which are on the page
		page := s.db.Conn(ctx).NewSelect().Model((*deliveryRow)(nil)).ApplyQueryBuilder(f.apply).OrderExpr(order).Offset(int64(offset)).Limit(int64(limit))
		err = s.db.Conn(ctx).NewSelect().TableExpr("(?) AS d", page).
			ColumnExpr("e.id, d.topic, d.aggregate_id, d.consumer, d.target, d.last_error, d.attempts, e.created_at, d.next_at, d.leased_until, d.dead_at").
			Join("JOIN latchkey_outbox_event AS e ON e.seq = d.event_seq").OrderExpr(order).Scan(ctx, &rows)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("list deliveries: %w", err)
	}
	list := make([]Waiting, len(rows))
	for i, r := range rows {
		list[i] = Waiting{ID: r.ID, Topic: r.Topic, Aggregate: r.AggregateID, At: database.UTC(r.CreatedAt), Consumer: r.Consumer, Target: r.Target,
			Attempts: r.Attempts, Error: r.LastError, State: StateWaiting, Next: database.UTC(r.NextAt)}
		switch {
		case !r.DeadAt.IsZero():
			list[i].State, list[i].Dead, list[i].Next = StateDead, database.UTC(r.DeadAt), time.Time{}
		case r.LeasedUntil.After(now):
			list[i].State = StateAtWork
		}
	}
	return list, total, nil
}

// count is how many deliveries there are. Those of a consumer are counted in two indexes, of which each has a part of them.
func (s store) count(ctx context.Context, f Filter) (total int, err error) {
	parts := []string{"TRUE"}
	if f.Consumer != "" && !f.Dead {
		parts = []string{"d.dead_at IS NULL", "d.dead_at IS NOT NULL"}
	}
	for _, part := range parts {
		n, err := s.db.Conn(ctx).NewSelect().Model((*deliveryRow)(nil)).ApplyQueryBuilder(f.apply).Where(part).Count(ctx)
		if err != nil {
			return 0, err
		}
		total += int(n)
	}
	return total, nil
}

// release has what was put off with a delivery wait no longer than for the end of that.
func (s store) release(ctx context.Context, f Filter, now time.Time) error {
	before := s.db.Conn(ctx).NewSelect().Model((*deliveryRow)(nil)).ColumnExpr("1").ApplyQueryBuilder(f.apply).Where("d.dead_at IS NULL").
		Where("d.consumer = later.consumer AND d.target = later.target AND d.aggregate_id = later.aggregate_id AND d.event_seq < later.event_seq")
	_, err := s.db.Conn(ctx).NewUpdate().Model((*deliveryRow)(nil)).ModelTableExpr("latchkey_outbox_delivery AS later").Set("next_at = ?", now).
		Where("later.dead_at IS NULL AND later.leased_until IS NULL AND later.next_at > ?", now).Where("EXISTS (?)", before).Exec(ctx)
	if err != nil {
		return fmt.Errorf("release what waits for deliveries: %w", err)
	}
	return nil
}

func (s store) retry(ctx context.Context, f Filter, now time.Time) (int, error) {
	if err := s.release(ctx, f, now); err != nil {
		return 0, err
	}
	res, err := s.db.Conn(ctx).NewUpdate().Model((*deliveryRow)(nil)).ApplyQueryBuilder(f.apply).
		Where("(d.leased_until IS NULL OR d.leased_until <= ?)", now).
		Set("forgiven = attempts").Set("next_at = CASE WHEN dead_at IS NULL AND next_at < ? THEN next_at ELSE ? END", now, now).Set("leased_until = NULL").Set("dead_at = NULL").Exec(ctx)
	if err != nil {
		return 0, fmt.Errorf("have deliveries tried again: %w", err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}

func (s store) drop(ctx context.Context, f Filter) (int, error) {
	res, err := s.db.Conn(ctx).NewDelete().Model((*deliveryRow)(nil)).Where("1 = 1").ApplyQueryBuilder(f.apply).Exec(ctx) // a filter may be of everything
	if err != nil {
		return 0, fmt.Errorf("drop deliveries: %w", err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}

func (s store) forget(ctx context.Context, name string) (int, error) {
	if _, err := s.db.Conn(ctx).NewDelete().Model((*consumerRow)(nil)).Where("name = ?", name).Exec(ctx); err != nil {
		return 0, fmt.Errorf("forget a consumer of events: %w", err)
	}
	return s.drop(ctx, Filter{Consumer: name})
}

func (s store) enrolled(ctx context.Context) ([]Enrolled, error) {
	rows, err := s.consumers(ctx)
	if err != nil {
		return nil, err
	}
	type count struct {
		Consumer, Target string
		Count            int
		Oldest           int64
	}
	var waiting, dead []count
	counted := func(of string) *bun.SelectQuery { // each in an index of its own
		return s.db.Conn(ctx).NewSelect().Model((*deliveryRow)(nil)).ColumnExpr("consumer, target, count(*) AS count, min(event_seq) AS oldest").
			Where(of).Group("consumer", "target").Order("consumer", "target")
	}
	if err = counted("dead_at IS NULL").Scan(ctx, &waiting); err == nil {
		err = counted("dead_at IS NOT NULL").Scan(ctx, &dead)
	}
	if err != nil {
		return nil, fmt.Errorf("count deliveries: %w", err)
	}
	var list []Enrolled
	at := func(name, target string) *Enrolled {
		for i := range list {
			if list[i].Name == name && list[i].Target == target {
				return &list[i]
			}
		}
		list = append(list, Enrolled{Name: name, Target: target, Topics: []string{}})
		return &list[len(list)-1]
	}
	for _, r := range rows {
		e := at(r.Name, r.Target)
		e.Since = database.UTC(r.CreatedAt)
		if r.Topic != every {
			e.Topics = append(e.Topics, r.Topic)
		}
	}
	known := len(list)
	for _, c := range dead {
		at(c.Consumer, c.Target).Dead = c.Count
	}
	for _, c := range waiting {
		e := at(c.Consumer, c.Target)
		e.Waiting = c.Count
		var first eventRow
		if err := s.db.Conn(ctx).NewSelect().Model(&first).Column("created_at").Where("seq = ?", c.Oldest).Scan(ctx); err != nil {
			return nil, fmt.Errorf("read the first event that waits: %w", err)
		}
		e.Oldest = database.UTC(first.CreatedAt)
	}
	slices.SortFunc(list[known:], func(a, b Enrolled) int { return cmp.Or(cmp.Compare(a.Name, b.Name), cmp.Compare(a.Target, b.Target)) })
	return list, nil
}
