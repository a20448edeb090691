package audit

import (
	"context"
	"encoding/base64"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Event is one row of the trail. Empty is what is not known or does not apply. It is a plain value.
type Event struct {
	ID         string // audit_ and a ULID
	TS         time.Time
	Action     string
	Outcome    string
	Reason     string
	ActorType  string
	ActorID    string
	IdentityID string
	SessionID  string
	IP         string
	UserAgent  string
	TargetType string
	TargetID   string
	RequestID  string
	Details    map[string]any
}

// Filter says which events are wanted: those that match all that is set.
type Filter struct {
	Actions    []string // one of them
	Outcome    string   // Success or Refused; another is ErrQuery
	ActorType  string
	ActorID    string
	IdentityID string
	SessionID  string
	TargetID   string
	RequestID  string
	IP         string
	TS         user.Times
}

// Page says which part of the list is wanted. It is read from place to place only: nobody counts millions.
type Page struct {
	Limit int    // at most so many; 0: 50
	After string // a cursor, as Event.Cursor makes it; empty: the newest first. What is none is ErrCursor
}

// MaxCursor is the greatest length of a cursor, in bytes.
const MaxCursor = 128

const cursorVersion = "1"

// Cursor is the place just behind the event.
func (e Event) Cursor() string {
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join([]string{cursorVersion, e.TS.UTC().Format(time.RFC3339Nano), e.ID}, "\x00")))
}

// place takes a cursor apart.
func (p Page) place() (ts time.Time, event string, err error) {
	if len(p.After) > MaxCursor {
		return time.Time{}, "", ErrCursor
	}
	data, err := base64.RawURLEncoding.Strict().DecodeString(p.After)
	parts := strings.Split(string(data), "\x00")
	if err != nil || len(parts) != 3 || parts[0] != cursorVersion || !id.Valid("audit", parts[2]) {
		return time.Time{}, "", ErrCursor
	}
	if ts, err = time.Parse(time.RFC3339Nano, parts[1]); err != nil || ts.Year() < 1 || ts.Year() > 9999 {
		return time.Time{}, "", ErrCursor
	}
	return ts.UTC().Truncate(time.Microsecond), parts[2], nil
}

// List returns a page of the events that match, the newest first.
func (t *Trail) List(ctx context.Context, f Filter, p Page) ([]Event, error) {
	switch {
	case f.Outcome != "" && f.Outcome != Success && f.Outcome != Refused:
		return nil, ErrQuery.Msg("Invalid request: outcome must be one of %s, %s", Success, Refused)
	case p.Limit < 0:
		return nil, ErrQuery
	case t == nil:
		return nil, nil
	}
	return t.store.list(ctx, f, p)
}

// Retrieve returns the event, or ErrNotFound.
func (t *Trail) Retrieve(ctx context.Context, id string) (Event, error) {
	if t == nil || !database.Storable(id, 64) {
		return Event{}, ErrNotFound
	}
	return t.store.retrieve(ctx, id)
}

// Purge deletes at most so many events that are older than the retention, and says how many. ErrPurgeDenied: the database
// does not let this process.
func (t *Trail) Purge(ctx context.Context, limit int) (n int, err error) {
	if t == nil || t.options.Retention <= 0 {
		return 0, nil
	}
	before := database.Now().Add(-t.options.Retention)
	err = t.db.InTx(ctx, func(ctx context.Context) (err error) {
		n, err = t.store.purge(ctx, before, limit)
		return err
	})
	return n, err
}
