package doctor

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// store is the SQL of this package, beside that of the invariants.
type store struct{ db *database.DB }

// tables are those that are there.
func (s store) tables(ctx context.Context) (map[string]bool, error) {
	query := "SELECT name FROM sqlite_master WHERE type = 'table'"
	if s.db.Dialect() == database.Postgres {
		query = "SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"
	}
	var names []string
	if err := s.db.Conn(ctx).NewRaw(query).Scan(ctx, &names); err != nil {
		return nil, fmt.Errorf("list tables: %w", err)
	}
	there := make(map[string]bool, len(names))
	for _, name := range names {
		there[name] = true
	}
	return there, nil
}

// versions are the migrations beyond one that are applied.
func (s store) versions(ctx context.Context, table string, beyond int64) (versions []int64, err error) {
	err = s.db.Conn(ctx).NewRaw("SELECT version_id FROM ? WHERE version_id > ? ORDER BY version_id", bun.Ident(table), beyond).Scan(ctx, &versions)
	if err != nil {
		return nil, fmt.Errorf("read migrations: %w", err)
	}
	return versions, nil
}

// oldestEvent is when the oldest event was recorded that may be purged: one that is not delivered yet stays, however old.
func (s store) oldestEvent(ctx context.Context) (time.Time, bool, error) {
	return s.oldest(ctx, `SELECT e.created_at FROM latchkey_outbox_event e
		WHERE NOT EXISTS (SELECT 1 FROM latchkey_outbox_delivery d WHERE d.event_seq = e.seq) ORDER BY e.created_at LIMIT 1`)
}

func (s store) oldestEntry(ctx context.Context) (time.Time, bool, error) {
	return s.oldest(ctx, "SELECT ts FROM latchkey_audit_event ORDER BY ts, id LIMIT 1")
}

func (s store) oldest(ctx context.Context, query string) (at time.Time, ok bool, err error) {
	switch err := s.db.Conn(ctx).NewRaw(query).Scan(ctx, &at); {
	case errors.Is(err, sql.ErrNoRows):
		return time.Time{}, false, nil
	case err != nil:
		return time.Time{}, false, fmt.Errorf("look for the oldest: %w", err)
	}
	return database.UTC(at), true, nil
}

// errLost says that the snapshot cannot go on after a failure.
var errLost = errors.New("doctor: the snapshot is lost")

// find returns some of the ids that the query has found, and how many there are.
func (s store) find(ctx context.Context, query string, args ...any) (ids []string, found int, err error) {
	conn := s.db.Conn(ctx)
	if _, err := conn.ExecContext(ctx, "SAVEPOINT look"); err != nil {
		return nil, 0, fmt.Errorf("%w: %w", errLost, err)
	}
	var rows []struct {
		ID    string
		Found int
	}
	err = conn.NewRaw(fmt.Sprintf("SELECT v.id, count(*) OVER () AS found FROM (%s) v ORDER BY v.id LIMIT %d", query, MaxExamples), args...).Scan(ctx, &rows)
	end := "RELEASE SAVEPOINT look"
	if err != nil {
		end = "ROLLBACK TO SAVEPOINT look"
	}
	if _, lost := conn.ExecContext(ctx, end); lost != nil {
		return nil, 0, errors.Join(errLost, lost, err)
	}
	ids = make([]string, len(rows))
	for i, r := range rows {
		ids[i], found = r.ID, r.Found
	}
	return ids, found, err
}
