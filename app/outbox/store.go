package outbox

import (
	"context"
	"database/sql"
	"errors"
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

type consumerRow struct {
	bun.BaseModel `bun:"table:latchkey_outbox_consumer,alias:c"`

	Name      string `bun:",pk"`
	Target    string `bun:",pk"`
	Topic     string `bun:",pk"`
	CreatedAt time.Time
}

// every is the topic of who hears all.
const every = ""

func (r consumerRow) same(other consumerRow) bool {
	return r.Name == other.Name && r.Target == other.Target && r.Topic == other.Topic
}

type deliveryRow struct {
	bun.BaseModel `bun:"table:latchkey_outbox_delivery,alias:d"`

	EventSeq    int64  `bun:",pk"`
	Consumer    string `bun:",pk"`
	Target      string `bun:",pk"`
	Topic       string
	AggregateID string
	Attempts    int
	Forgiven    int
	NextAt      time.Time
	LeasedUntil time.Time `bun:",nullzero"`
	LastError   string    `bun:",nullzero"`
	DeadAt      time.Time `bun:",nullzero"`
}

// claimedRow is a delivery that is ours for a while, with its event.
type claimedRow struct {
	EventSeq  int64
	Consumer  string
	Target    string
	Attempts  int
	Forgiven  int
	ID        string
	Topic     string
	Aggregate string `bun:"aggregate_id"`
	Payload   []byte
	CreatedAt time.Time
	Taken     bool // somebody else is at it, or it is dead

	until time.Time
}

func (c claimedRow) delivery() Delivery {
	return Delivery{ID: c.ID, Topic: c.Topic, Aggregate: c.Aggregate, At: database.UTC(c.CreatedAt), Attempt: c.Attempts, Target: c.Target}
}

func (c claimedRow) stream() stream { return stream{c.Target, c.Aggregate} }

// tries are the attempts that count.
func (c claimedRow) tries() int { return c.Attempts - c.Forgiven }

// chunkSize is how many events go into one statement.
const chunkSize = 500

// insert records the events, and what is to be delivered of them to whom. A consumer is told once, by whatever of its rows.
func (s store) insert(ctx context.Context, rows []*eventRow) error {
	const deliver = `INSERT INTO latchkey_outbox_delivery (event_seq, consumer, target, topic, aggregate_id, attempts, next_at)
		SELECT e.seq, c.name, c.target, e.topic, e.aggregate_id, 0, ? FROM ? AS e JOIN latchkey_outbox_consumer AS c ON c.topic IN (e.topic, '')
		WHERE ? ON CONFLICT (event_seq, consumer, target) DO NOTHING`
	conn := s.db.Conn(ctx)
	record := conn.NewInsert().Model(&rows)
	if s.db.Dialect() == database.Postgres { // in one statement
		record = record.Returning("seq, topic, aggregate_id")
		if _, err := conn.NewRaw("WITH recorded AS (?) "+deliver, record, bun.Safe("now()"), bun.Ident("recorded"), bun.Safe("true")).Exec(ctx); err != nil {
			return fmt.Errorf("record events: %w", err)
		}
		return nil
	}
	if _, err := record.Returning("NULL").Exec(ctx); err != nil {
		return fmt.Errorf("record events: %w", err)
	}
	ids := make([]string, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	if _, err := conn.NewRaw(deliver, bun.Ident("e.created_at"), bun.Ident("latchkey_outbox_event"), bun.SafeQuery("e.id IN (?)", bun.List(ids))).Exec(ctx); err != nil {
		return fmt.Errorf("record deliveries: %w", err)
	}
	return nil
}

// now is what the clock of the database says.
func (s store) now(ctx context.Context) (now time.Time, err error) {
	if err = s.db.Conn(ctx).NewRaw("SELECT clock_timestamp()").Scan(ctx, &now); err != nil {
		return now, fmt.Errorf("ask for the time: %w", err)
	}
	return database.UTC(now), nil
}

// consumers are all that are enrolled.
func (s store) consumers(ctx context.Context) (rows []consumerRow, err error) {
	err = s.db.Conn(ctx).NewSelect().Model(&rows).Order("name", "target", "topic").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the consumers of events: %w", err)
	}
	return rows, nil
}

func (s store) enrol(ctx context.Context, rows []consumerRow) error {
	if len(rows) == 0 {
		return nil
	}
	_, err := s.db.Conn(ctx).NewInsert().Model(&rows).On("CONFLICT (name, target, topic) DO NOTHING").Exec(ctx)
	if err != nil {
		return fmt.Errorf("enrol consumers of events: %w", err)
	}
	return nil
}

// withdraw has nothing recorded any more for the consumer and the target.
func (s store) withdraw(ctx context.Context, name, target string) error {
	_, err := s.db.Conn(ctx).NewDelete().Model((*consumerRow)(nil)).Where("name = ?", name).Where("target = ?", target).Exec(ctx)
	if err != nil {
		return fmt.Errorf("withdraw a consumer of events: %w", err)
	}
	return nil
}

// query is what a lane asks for.
type query struct {
	consumer   string
	topics     []string // none: every one
	but        []stream
	butTargets []string
	now        time.Time
}

// heads are the streams, at most so many, that have something due which waits for nothing: their earliest delivery, and who waits for longest first. Topics that
// this program does not hear are left to those that do. What was tried before may be a dead letter that is tried again: it waits
// for whoever is at a later one.
//
// Asked is about a window of what is due for longest, so that it costs the same whatever there is behind it, and whatever
// PostgreSQL believes about a table that was empty a moment ago. If the window is full of what waits for others it is widened.
func (s store) heads(ctx context.Context, q query, most int) (heads []head, err error) {
	for window := 30 * most; ; window *= 10 {
		due := s.waiting(ctx, q).Column("d.target", "d.aggregate_id", "d.event_seq", "d.attempts", "d.next_at").Where("d.next_at <= ?", q.now).OrderExpr("d.next_at").Limit(int64(window))
		streams := s.db.Conn(ctx).NewSelect().TableExpr("(?) AS due", due).
			ColumnExpr("due.target, due.aggregate_id, min(due.event_seq) AS event_seq, max(due.attempts) AS tried, min(due.next_at) AS since, count(*) AS among").Group("due.target", "due.aggregate_id")
		earliest := s.db.Conn(ctx).NewSelect().TableExpr("latchkey_outbox_delivery AS b").ColumnExpr("min(b.event_seq)").
			Where("b.consumer = ? AND b.target = s.target AND b.aggregate_id = s.aggregate_id AND b.dead_at IS NULL", q.consumer)
		if len(q.topics) > 0 {
			earliest = earliest.Where("b.topic IN (?)", bun.List(q.topics))
		}
		atWork := s.db.Conn(ctx).NewSelect().TableExpr("latchkey_outbox_delivery AS b").ColumnExpr("1").
			Where("b.consumer = ? AND b.target = s.target AND b.aggregate_id = s.aggregate_id AND b.leased_until > ?", q.consumer, q.now).Where("b.dead_at IS NULL")
		var found []struct {
			head  `bun:",extend"`
			Among int
			First bool
		}
		err := s.db.Conn(ctx).NewSelect().TableExpr("(?) AS s", streams).
			ColumnExpr("s.target, s.aggregate_id, s.event_seq, s.among, s.event_seq = (?) AND (s.tried = 0 OR NOT EXISTS (?)) AS first", earliest, atWork).
			OrderExpr("s.since, s.event_seq").Scan(ctx, &found) // who waits for longest is first
		if err != nil {
			return nil, fmt.Errorf("look for due deliveries: %w", err)
		}
		all := 0
		for _, f := range found {
			if all += f.Among; f.First && len(heads) < most {
				heads = append(heads, f.head)
			}
		}
		if len(heads) > 0 || all < window {
			return heads, nil
		}
	}
}

// head is the earliest delivery of a stream.
type head struct {
	Target      string
	AggregateID string
	EventSeq    int64
}

// open are the lane's deliveries that are not dead, to be asked for by stream.
func (s store) open(ctx context.Context, q query) *bun.SelectQuery {
	return heard(s.db.Conn(ctx).NewSelect().Model((*deliveryRow)(nil)).Where("d.consumer = ?", q.consumer), q)
}

func heard(sel *bun.SelectQuery, q query) *bun.SelectQuery {
	sel = sel.Where("d.dead_at IS NULL")
	if len(q.topics) > 0 {
		sel = sel.Where("d.topic IN (?)", bun.List(q.topics))
	}
	return sel
}

// waiting are the same, to be asked for by time, but for what is at work here.
func (s store) waiting(ctx context.Context, q query) *bun.SelectQuery {
	sel := heard(s.db.Conn(ctx).NewSelect().Model((*deliveryRow)(nil)).Where("d.consumer || '' = ?", q.consumer), q) // the index is of that
	for _, s := range q.but {
		sel = sel.Where("NOT (d.target = ? AND d.aggregate_id = ?)", s.target, s.aggregate)
	}
	if len(q.butTargets) > 0 {
		sel = sel.Where("d.target NOT IN (?)", bun.List(q.butTargets))
	}
	return sel
}

// claim takes the heads until the lease ends, and of each stream what follows, but for the streams that another node is taking, or
// of which things have changed since they were looked for: somebody is at work there, or a dead letter before is tried again. An
// attempt at one that follows is forgiven until it has failed: should this program end, it was the first that was begun.
func (s store) claim(ctx context.Context, q query, heads []head, until time.Time) ([][]claimedRow, error) {
	const columns = "d.event_seq, d.consumer, d.target, d.attempts, d.forgiven, e.id, e.topic, e.aggregate_id, e.payload, e.created_at"
	const event = "JOIN latchkey_outbox_event AS e ON e.seq = d.event_seq"
	taken := "d.dead_at IS NOT NULL"
	if s.db.Dialect() == database.Postgres { // where others may be at the same stream, by another delivery of it
		taken += " OR NOT pg_try_advisory_xact_lock(hashtextextended(d.consumer || '/' || d.target || '/' || d.aggregate_id, 0))"
	}
	// PostgreSQL, when it does not know how much waits for a consumer, is ready to look through all of that. Here it cannot, because the
	// indexes that would do are of deliveries that are not dead, and this does not ask for them. Those that follow are asked for by stream.
	var firsts, following []claimedRow
	sel := s.db.Conn(ctx).NewSelect().Model((*deliveryRow)(nil)).ColumnExpr(columns).ColumnExpr(taken+" AS taken").Join(event).
		Where("?", anyOf("(d.event_seq = ? AND d.consumer = ? AND d.target = ?)", heads, func(h head) []any { return []any{h.EventSeq, q.consumer, h.Target} })).
		Where("d.next_at <= ?", q.now).OrderExpr("d.event_seq, d.target")
	if err := s.db.ForUpdate(sel, "UPDATE OF d SKIP LOCKED").Scan(ctx, &firsts); err != nil {
		return nil, fmt.Errorf("claim deliveries: %w", err)
	}
	firsts = slices.DeleteFunc(firsts, func(c claimedRow) bool { return c.Taken })
	if len(firsts) == 0 {
		return nil, nil
	}
	others := make([]any, len(firsts))
	for i, c := range firsts {
		others[i] = s.open(ctx, q).ColumnExpr(columns).ColumnExpr("coalesce(d.leased_until > ?, false) AS taken", q.now).Join(event).
			Where("d.target = ? AND d.aggregate_id = ? AND d.event_seq <> ?", c.Target, c.Aggregate, c.EventSeq).OrderExpr("d.event_seq").Limit(followers)
	}
	each := strings.Repeat(" UNION ALL SELECT * FROM (?) AS s", len(others))[len(" UNION ALL "):]
	if err := s.db.Conn(ctx).NewRaw(each, others...).Scan(ctx, &following); err != nil {
		return nil, fmt.Errorf("claim deliveries: %w", err)
	}
	first, changed := map[stream]int64{}, map[stream]bool{}
	for _, c := range firsts {
		first[c.stream()] = c.EventSeq
	}
	for _, c := range following {
		changed[c.stream()] = changed[c.stream()] || c.Taken || c.EventSeq < first[c.stream()]
	}
	gone := func(c claimedRow) bool { return changed[c.stream()] }
	if firsts = slices.DeleteFunc(firsts, gone); len(firsts) == 0 {
		return nil, nil
	}
	all := slices.Concat(firsts, slices.DeleteFunc(following, gone))
	these := func(rows []claimedRow) schema.QueryWithArgs {
		return anyOf("(event_seq = ? AND consumer = ? AND target = ?)", rows, func(c claimedRow) []any { return []any{c.EventSeq, c.Consumer, c.Target} })
	}
	_, err := s.db.Conn(ctx).NewUpdate().Model((*deliveryRow)(nil)).Where("?", these(all)).
		Set("attempts = attempts + 1").Set("forgiven = forgiven + CASE WHEN ? THEN 0 ELSE 1 END", these(firsts)).
		Set("next_at = ?", until).Set("leased_until = ?", until).Exec(ctx)
	if err != nil {
		return nil, fmt.Errorf("claim deliveries: %w", err)
	}
	at := map[stream]int{}
	var claimed [][]claimedRow
	for _, c := range all {
		c.Attempts, c.until = c.Attempts+1, until
		i, ok := at[c.stream()]
		if !ok {
			i = len(claimed)
			at[c.stream()], claimed = i, append(claimed, nil)
		}
		claimed[i] = append(claimed[i], c)
	}
	return claimed, nil
}

// followers are how many events of a stream are taken at once beside the first.
const followers = 15

// ours has it be about those of them of which the lease has not ended and nobody else has them now.
const ours = "(event_seq = ? AND consumer = ? AND target = ? AND attempts = ?)"

func keyAndAttempt(c claimedRow) []any { return []any{c.EventSeq, c.Consumer, c.Target, c.Attempts} }

// anyOf is the condition that one of the alternatives holds, each with its arguments.
func anyOf[T any](condition string, of []T, args func(T) []any) schema.QueryWithArgs {
	query, all := make([]byte, 0, len(of)*(len(condition)+4)), make([]any, 0, 4*len(of))
	for i, x := range of {
		if i > 0 {
			query = append(query, " OR "...)
		}
		query = append(query, condition...)
		all = append(all, args(x)...)
	}
	return bun.SafeQuery("("+string(query)+")", all...)
}

// key is a delivery among those of its lane.
type key struct {
	EventSeq int64
	Target   string
}

// done removes the deliveries, but for those that somebody else has now, and returns which.
func (s store) done(ctx context.Context, rows []claimedRow) (done []key, err error) {
	if len(rows) == 0 {
		return nil, nil
	}
	err = s.db.Conn(ctx).NewDelete().Model((*deliveryRow)(nil)).Where("?", anyOf(ours, rows, keyAndAttempt)).
		Returning("event_seq, target").Scan(ctx, &done)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, fmt.Errorf("close deliveries: %w", err)
	}
	return done, nil
}

// renew has the deliveries be ours for longer.
func (s store) renew(ctx context.Context, rows []claimedRow, until time.Time) error {
	_, err := s.db.Conn(ctx).NewUpdate().Model((*deliveryRow)(nil)).Where("?", anyOf(ours, rows, keyAndAttempt)).Where("leased_until IS NOT NULL").
		Set("next_at = ?", until).Set("leased_until = ?", until).Exec(ctx)
	if err != nil {
		return fmt.Errorf("renew leases: %w", err)
	}
	return nil
}

// giveBack undoes the claim of deliveries that were not begun, which are never the first of their stream: others have them now.
func (s store) giveBack(ctx context.Context, rows []claimedRow, now time.Time) error {
	if len(rows) == 0 {
		return nil
	}
	_, err := s.db.Conn(ctx).NewUpdate().Model((*deliveryRow)(nil)).Where("?", anyOf(ours, rows, keyAndAttempt)).
		Set("attempts = attempts - 1").Set("forgiven = forgiven - 1").Set("next_at = ?", now).Set("leased_until = NULL").Exec(ctx)
	if err != nil {
		return fmt.Errorf("give deliveries back: %w", err)
	}
	return nil
}

// failed puts the delivery off, and with it what waits for it, so that nobody looks at that in vain.
func (s store) failed(ctx context.Context, c claimedRow, next time.Time, why string) error {
	res, err := s.db.Conn(ctx).NewUpdate().Model((*deliveryRow)(nil)).Where(ours, keyAndAttempt(c)...).
		Set("forgiven = ?", c.Forgiven).Set("next_at = ?", next).Set("leased_until = NULL").Set("last_error = ?", database.Clip(why, maxError)).Exec(ctx)
	if err != nil {
		return fmt.Errorf("put delivery off: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	_, err = s.db.Conn(ctx).NewUpdate().Model((*deliveryRow)(nil)).Set("next_at = ?", next).
		Where("consumer = ? AND target = ? AND aggregate_id = ? AND dead_at IS NULL", c.Consumer, c.Target, c.Aggregate).
		Where("event_seq > ?", c.EventSeq).Where("next_at < ?", next).Exec(ctx)
	if err != nil {
		return fmt.Errorf("put deliveries off: %w", err)
	}
	return nil
}

// maxError is how much is kept of what a consumer says of its failure, in bytes.
const maxError = 1024

// dead makes the delivery a dead letter, which holds up nobody.
func (s store) dead(ctx context.Context, c claimedRow, now time.Time, why string) error {
	res, err := s.db.Conn(ctx).NewUpdate().Model((*deliveryRow)(nil)).Where(ours, keyAndAttempt(c)...).
		Set("dead_at = ?", now).Set("leased_until = NULL").Set("last_error = ?", database.Clip(why, maxError)).Exec(ctx)
	if err != nil {
		return fmt.Errorf("give a delivery up: %w", err)
	}
	if n, err := res.RowsAffected(); err != nil || n == 0 {
		return err
	}
	_, err = s.db.Conn(ctx).NewUpdate().Model((*deliveryRow)(nil)).Set("next_at = ?", now).
		Where("consumer = ? AND target = ? AND aggregate_id = ? AND dead_at IS NULL", c.Consumer, c.Target, c.Aggregate).
		Where("event_seq > ?", c.EventSeq).Where("next_at > ?", now).Where("leased_until IS NULL").Exec(ctx)
	if err != nil {
		return fmt.Errorf("give a delivery up: %w", err)
	}
	return nil
}

// next is when something else becomes due; ok is false if nothing does.
func (s store) next(ctx context.Context, q query) (at time.Time, ok bool, err error) {
	var rows []deliveryRow
	err = s.waiting(ctx, q).Column("next_at").Where("d.next_at > ?", q.now).Order("next_at").Limit(1).Scan(ctx, &rows)
	if err != nil || len(rows) == 0 {
		return time.Time{}, false, err
	}
	return rows[0].NextAt, true, nil
}

func (s store) pending(ctx context.Context) (int, error) {
	n, err := s.db.Conn(ctx).NewSelect().Model((*deliveryRow)(nil)).Where("dead_at IS NULL").Count(ctx)
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
		Where("NOT EXISTS (SELECT 1 FROM latchkey_outbox_delivery AS d WHERE d.event_seq = e.seq AND (d.dead_at IS NULL OR d.dead_at >= ?))", before).
		OrderExpr("created_at").Limit(int64(limit))
	if err := s.db.ForUpdate(q, "UPDATE OF e SKIP LOCKED").Scan(ctx, &seqs); err != nil {
		return 0, fmt.Errorf("look for old events: %w", err)
	}
	if len(seqs) == 0 {
		return 0, nil
	}
	// Dead letters first, and then what has no delivery: one that is tried again at this moment stays.
	_, err := s.db.Conn(ctx).NewDelete().Model((*deliveryRow)(nil)).Where("event_seq IN (?)", bun.List(seqs)).Where("dead_at < ?", before).Exec(ctx)
	if err != nil {
		return 0, fmt.Errorf("delete old dead letters: %w", err)
	}
	res, err := s.db.Conn(ctx).NewDelete().Model((*eventRow)(nil)).Where("e.seq IN (?)", bun.List(seqs)).
		Where("NOT EXISTS (SELECT 1 FROM latchkey_outbox_delivery AS d WHERE d.event_seq = e.seq)").Exec(ctx)
	if err != nil {
		return 0, fmt.Errorf("delete old events: %w", err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}
