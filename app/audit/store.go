package audit

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// store is all SQL of this package. But for purge it inserts and reads, and nothing else.
type store struct{ db *database.DB }

type row struct {
	bun.BaseModel `bun:"table:latchkey_audit_event,alias:e"`

	ID         string    `bun:",pk"`
	TS         time.Time `bun:"ts"`
	Action     string
	Outcome    string
	Reason     string `bun:",nullzero"`
	ActorType  string
	ActorID    string `bun:",nullzero"`
	IdentityID string `bun:",nullzero"`
	SessionID  string `bun:",nullzero"`
	IP         string `bun:"ip,nullzero"`
	UserAgent  string `bun:",nullzero"`
	TargetType string `bun:",nullzero"`
	TargetID   string `bun:",nullzero"`
	RequestID  string `bun:",nullzero"`
	Details    database.Object
}

func (r row) event() Event {
	return Event{ID: r.ID, TS: database.UTC(r.TS), Action: r.Action, Outcome: r.Outcome, Reason: r.Reason, ActorType: r.ActorType, ActorID: r.ActorID,
		IdentityID: r.IdentityID, SessionID: r.SessionID, IP: r.IP, UserAgent: r.UserAgent, TargetType: r.TargetType, TargetID: r.TargetID,
		RequestID: r.RequestID, Details: r.Details}
}

// chunkSize is how many rows go into one statement.
const chunkSize = 500

func (s store) insert(ctx context.Context, rows []*row) error {
	for chunk := range slices.Chunk(rows, chunkSize) {
		if _, err := s.db.Conn(ctx).NewInsert().Model(&chunk).Exec(ctx); err != nil {
			return fmt.Errorf("record audit events: %w", err)
		}
	}
	return nil
}

func (s store) list(ctx context.Context, f Filter, p Page) ([]Event, error) {
	var rows []row
	q := s.db.Conn(ctx).NewSelect().Model(&rows).OrderExpr("ts DESC, id DESC").Limit(int64(cmp.Or(p.Limit, 50)))
	if f.Actions != nil {
		q = q.Where("action IN (?)", database.List(f.Actions...))
	}
	for _, is := range []struct{ column, value string }{
		{"outcome", f.Outcome}, {"actor_type", f.ActorType}, {"actor_id", f.ActorID}, {"identity_id", f.IdentityID},
		{"session_id", f.SessionID}, {"target_id", f.TargetID}, {"request_id", f.RequestID}, {"ip", f.IP},
	} {
		if is.value != "" {
			q = q.Where("? = ?", bun.Ident(is.column), is.value)
		}
	}
	q = f.TS.Where(q, "ts")
	if p.After != "" {
		ts, id, err := p.place()
		if err != nil {
			return nil, err
		}
		q = q.Where("(ts, id) < (?, ?)", ts, id)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("list audit events: %w", err)
	}
	events := make([]Event, len(rows))
	for i, r := range rows {
		events[i] = r.event()
	}
	return events, nil
}

func (s store) retrieve(ctx context.Context, id string) (Event, error) {
	var rows []row
	if err := s.db.Conn(ctx).NewSelect().Model(&rows).Where("id = ?", id).Scan(ctx); err != nil {
		return Event{}, fmt.Errorf("read audit event: %w", err)
	}
	if len(rows) == 0 {
		return Event{}, ErrNotFound.Msg("Audit event with id: %s was not found", id)
	}
	return rows[0].event(), nil
}

// purge deletes the oldest. It does not lock them first, which would take the right to update: of two that delete the same
// one finds nothing left.
func (s store) purge(ctx context.Context, before time.Time, limit int) (int, error) {
	var ids []string
	err := s.db.Conn(ctx).NewSelect().Model((*row)(nil)).Column("id").Where("ts < ?", before).OrderExpr("ts, id").Limit(int64(limit)).Scan(ctx, &ids)
	if err != nil || len(ids) == 0 {
		return 0, wrapped("look for old audit events", err)
	}
	res, err := s.db.Conn(ctx).NewDelete().Model((*row)(nil)).Where("id IN (?)", database.List(ids...)).Exec(ctx)
	var refused interface{ SQLState() string }
	if errors.As(err, &refused) && refused.SQLState() == "42501" { // insufficient_privilege
		return 0, ErrPurgeDenied
	}
	if err != nil {
		return 0, wrapped("delete old audit events", err)
	}
	n, err := res.RowsAffected()
	return int(n), err
}

func wrapped(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}

// refusals are the newest that are about one of the targets, or were met by one of the identities.
func (s store) refusals(ctx context.Context, targets, identities []string, since time.Time, limit int) ([]Event, error) {
	var all []Event
	for column, ids := range map[string][]string{"target_id": targets, "identity_id": identities} { // each has its index
		var rows []row
		err := s.db.Conn(ctx).NewSelect().Model(&rows).Where("? IN (?)", bun.Ident(column), database.List(ids...)).
			Where("outcome = ?", Refused).Where("ts >= ?", since).OrderExpr("ts DESC, id DESC").Limit(int64(limit)).Scan(ctx)
		if err != nil {
			return nil, fmt.Errorf("look for refusals: %w", err)
		}
		for _, r := range rows {
			if !slices.ContainsFunc(all, func(e Event) bool { return e.ID == r.ID }) {
				all = append(all, r.event())
			}
		}
	}
	slices.SortFunc(all, func(a, b Event) int { return cmp.Or(b.TS.Compare(a.TS), cmp.Compare(b.ID, a.ID)) })
	return all[:min(len(all), limit)], nil
}
