package audit_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/user"
)

func TestMain(m *testing.M) { databasetest.Main(m) }

type fixture struct {
	*audit.Trail
	db *database.DB
}

func each(t *testing.T, o audit.Options, f func(t *testing.T, x fixture)) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, audit.Migrations(), user.Migrations())
		keys, err := keyring.New(make([]byte, 32))
		if err != nil {
			t.Fatal(err)
		}
		trail, err := audit.New(audit.Params{DB: db, Keys: keys, Options: o, Log: slog.New(slog.DiscardHandler)})
		if err != nil {
			t.Fatal(err)
		}
		f(t, fixture{trail, db})
	})
}

func (x fixture) list(t *testing.T, f audit.Filter, p audit.Page) []audit.Event {
	t.Helper()
	events, err := x.List(t.Context(), f, p)
	if err != nil {
		t.Fatal(err)
	}
	return events
}

// painted is an event of an application, with what is not for the trail.
type painted struct{ Secret string }

func (painted) Topic() string     { return "art.painted" }
func (painted) Aggregate() string { return "picture_01ARZ3NDEKTSV4RRFFQ69G5FAV" }

func TestAnEventIsRecordedInItsTransactionAndWithoutItsPayload(t *testing.T) {
	each(t, audit.Options{}, func(t *testing.T, x fixture) {
		ctx := audit.WithActor(t.Context(), audit.Actor{Type: "user", ID: "user_1", IP: "203.0.113.7", UserAgent: "a\x00b\n\xffc\u202e" + strings.Repeat("d", 400), RequestID: "r"})
		undone := errors.New("undone")
		for _, outcome := range []error{undone, nil} {
			if err := x.db.InTx(ctx, func(ctx context.Context) error {
				if err := x.Emit(ctx, painted{"hunter2"}, user.Created{ID: "user_2"}); err != nil {
					return err
				}
				return outcome
			}); !errors.Is(err, outcome) {
				t.Fatal(err)
			}
			got := x.list(t, audit.Filter{}, audit.Page{})
			if outcome != nil {
				if len(got) != 0 {
					t.Errorf("what was undone is there: %+v", got)
				}
				continue
			}
			if len(got) != 2 || got[1].Action != "art.painted" || got[0].Action != "user.created" || got[0].TargetID != "user_2" {
				t.Fatalf("%+v", got)
			}
			e := got[1]
			if e.TargetType != "picture" || e.ActorID != "user_1" || e.IP != "203.0.113.7" || e.RequestID != "r" || e.Outcome != audit.Success || e.Details != nil {
				t.Errorf("%+v", e)
			}
			if !strings.HasPrefix(e.UserAgent, "a?b??c?d") || len(e.UserAgent) != 256 {
				t.Errorf("user agent %q", e.UserAgent)
			}
			if !id.Valid("audit", e.ID) || time.Since(e.TS) > time.Minute || e.TS.Location() != time.UTC {
				t.Errorf("id %q at %v", e.ID, e.TS)
			}
		}
	})
}

func TestARefusalOutlivesTheTransactionThatRefused(t *testing.T) {
	each(t, audit.Options{}, func(t *testing.T, x fixture) {
		ctx, cancel := context.WithCancel(audit.WithActor(t.Context(), audit.Actor{Type: audit.Anonymous, IP: "203.0.113.7"}))
		cancel() // the caller has hung up
		for _, err := range []error{auth.ErrInvalidCredentials, user.ErrInviteRevoked, auth.ErrPassword, auth.ErrBusy, errors.New("ours"), nil} {
			x.Refused(ctx, audit.Refusal{Action: "auth.sign_in", Address: "Ada@Example.com"}, err)
		}
		if x.db.Dialect() == database.Postgres { // SQLite has one writer, who would wait for itself
			_ = x.db.InTx(t.Context(), func(ctx context.Context) error {
				x.Refused(ctx, audit.Refusal{Action: "auth.sign_in", Address: "Ada@Example.com"}, auth.ErrInvalidCredentials)
				return errors.New("undone")
			})
		}
		want := []string{"invalid_credentials", "invite_revoked"}
		if x.db.Dialect() == database.Postgres {
			want = append(want, "invalid_credentials")
		}
		var got []string
		for _, e := range x.list(t, audit.Filter{Outcome: audit.Refused}, audit.Page{}) {
			got = append([]string{e.Reason}, got...)
			if e.TargetType != "address" || strings.Contains(fmt.Sprint(e), "xample") {
				t.Errorf("%+v", e)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("recorded: %q, want %q", got, want)
		}
	})
}

// What is recorded is in the order in which it was, however quickly one followed the other.
func TestEventsOfOneProcessAreInTheirOrder(t *testing.T) {
	each(t, audit.Options{}, func(t *testing.T, x fixture) {
		var events []event.Event
		for i := range 600 {
			events = append(events, user.Created{ID: user.ID(fmt.Sprintf("user_%04d", i))})
		}
		if err := x.Emit(t.Context(), events...); err != nil {
			t.Fatal(err)
		}
		got := x.list(t, audit.Filter{}, audit.Page{Limit: 1000})
		slices.Reverse(got)
		for i, e := range got {
			if e.TargetID != fmt.Sprintf("user_%04d", i) {
				t.Fatalf("%d is %s", i, e.TargetID)
			}
		}
		if len(got) != 600 {
			t.Errorf("%d events, want 600", len(got))
		}
	})
}

func TestTheTrailSaysWhichRolesWereGivenAndTaken(t *testing.T) {
	each(t, audit.Options{}, func(t *testing.T, x fixture) {
		keys, err := keyring.New(bytes.Repeat([]byte{1}, 32))
		if err != nil {
			t.Fatal(err)
		}
		users, err := user.New(user.Params{DB: x.db, Keys: keys, Events: x.Trail})
		if err != nil {
			t.Fatal(err)
		}
		made, err := users.CreateUsers(t.Context(), user.Draft{Email: "ada@example.com", Roles: []string{"member"}})
		if err != nil {
			t.Fatal(err)
		}
		ada := made[0].ID
		if err := errors.Join(users.AddRoles(t.Context(), ada, "a", "admin", "member"), users.RemoveRoles(t.Context(), ada, "none", "member"),
			users.AddRoles(t.Context(), ada, "a"), users.AddRoles(t.Context(), ada, many(60)...)); err != nil {
			t.Fatal(err)
		}
		if _, err := users.UpdateUsers(t.Context(), user.Update{ID: ada, FirstName: user.Set("Ada")}); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, e := range x.list(t, audit.Filter{Actions: []string{"user.updated"}}, audit.Page{}) {
			said, _ := json.Marshal(e.Details)
			got = append(got, string(said[:min(len(said), 40)]))
		}
		want := []string{`null`, `{"roles_given":"role-00xxxxxxxxxxxxxxxxx`, `{"roles_taken":"member"}`, `{"roles_given":"admin a"}`}
		if !slices.Equal(got, want) {
			t.Errorf("%q, want %q", got, want)
		}
	})
}

// many are roles of long names.
func many(n int) (roles []string) {
	for i := range n {
		roles = append(roles, fmt.Sprintf("role-%02d%s", i, strings.Repeat("x", 57)))
	}
	return roles
}

func TestDetailsAreSmallOrNotKept(t *testing.T) {
	each(t, audit.Options{}, func(t *testing.T, x fixture) {
		if err := x.Record(t.Context(), audit.Entry{Action: "a", Details: map[string]any{"x": strings.Repeat("y", 2000)}}, audit.Entry{Action: "b", Details: map[string]any{"n": 1.0}}); err != nil {
			t.Fatal(err)
		}
		got := x.list(t, audit.Filter{}, audit.Page{})
		if got[1].Details != nil || got[0].Details["n"] != 1.0 || got[0].ActorType != audit.System {
			t.Errorf("%+v", got)
		}
	})
}

func TestEventsArePurgedByTheirAge(t *testing.T) {
	each(t, audit.Options{Retention: 24 * time.Hour}, func(t *testing.T, x fixture) {
		for _, age := range []time.Duration{0, 23 * time.Hour, 25 * time.Hour, 26 * time.Hour, 900 * time.Hour} {
			if err := x.Record(t.Context(), audit.Entry{Action: fmt.Sprint(age)}); err != nil {
				t.Fatal(err)
			}
			if err := x.db.InTx(t.Context(), func(ctx context.Context) error {
				_, err := x.db.Conn(ctx).NewUpdate().TableExpr("latchkey_audit_event").Set("ts = ?", database.Now().Add(-age)).Where("action = ?", fmt.Sprint(age)).Exec(ctx)
				return err
			}); err != nil {
				t.Fatal(err)
			}
		}
		for i, want := range []int{2, 1, 0} {
			if n, err := x.Purge(t.Context(), 2); n != want || err != nil {
				t.Errorf("batch %d: %d, %v, want %d", i, n, err, want)
			}
		}
		if left := x.list(t, audit.Filter{}, audit.Page{}); len(left) != 2 {
			t.Errorf("%d are left, want 2", len(left))
		}
	})
	each(t, audit.Options{}, func(t *testing.T, x fixture) {
		if n, err := x.Purge(t.Context(), 2); n != 0 || err != nil {
			t.Errorf("kept for good: %d, %v", n, err)
		}
	})
}

// file is where a ring's secrets come from.
type file struct {
	mu      sync.Mutex
	secrets [][]byte
	changed bool
}

func (f *file) write(secrets ...[]byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.secrets, f.changed = secrets, true
}

func (f *file) Secrets() ([][]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.changed = false
	return f.secrets, nil
}

func (f *file) Changed() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.changed
}

// After a rotation a node that ran on hashes addresses as one does that was started after it.
func TestAddressesAreHashedByTheSecretOfNow(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, audit.Migrations())
		old, next := bytes.Repeat([]byte("o"), 32), bytes.Repeat([]byte("n"), 32)
		f := &file{secrets: [][]byte{old}}
		following, err := keyring.Open(f, slog.New(slog.DiscardHandler))
		if err != nil {
			t.Fatal(err)
		}
		started, err := keyring.New(next, old)
		if err != nil {
			t.Fatal(err)
		}
		hash := func(keys *keyring.Ring, x *audit.Trail) string {
			t.Helper()
			if x == nil {
				if x, err = audit.New(audit.Params{DB: db, Keys: keys}); err != nil {
					t.Fatal(err)
				}
			}
			x.Refused(t.Context(), audit.Refusal{Action: "auth.sign_in", Address: "ada@example.com"}, auth.ErrInvalidCredentials)
			found, err := x.List(t.Context(), audit.Filter{}, audit.Page{Limit: 1})
			if err != nil || len(found) != 1 {
				t.Fatal(found, err)
			}
			return found[0].TargetID
		}
		running, err := audit.New(audit.Params{DB: db, Keys: following})
		if err != nil {
			t.Fatal(err)
		}
		before := hash(nil, running)
		f.write(next, old)
		want := hash(started, nil)
		for range 50 {
			if hash(nil, running) == want {
				break
			}
			time.Sleep(keyring.Rhythm / 5)
		}
		if got := hash(nil, running); got != want || got == before {
			t.Errorf("the running node has %s, the new one %s; before, it was %s", got, want, before)
		}
	})
}

func TestNoTrailIsNoTrouble(t *testing.T) {
	var none *audit.Trail
	none.Refused(t.Context(), audit.Refusal{}, auth.ErrInvalidCredentials)
	if err := none.Record(t.Context(), audit.Entry{Action: "x"}); err != nil {
		t.Error(err)
	}
	if none.Before(event.Discard) != event.Discard {
		t.Error("it stands before the emitter")
	}
	if events, err := none.List(t.Context(), audit.Filter{}, audit.Page{}); events != nil || err != nil {
		t.Error(events, err)
	}
	if _, err := none.Retrieve(t.Context(), "x"); !errors.Is(err, audit.ErrNotFound) {
		t.Error(err)
	}
	if n, err := none.Purge(t.Context(), 1); n != 0 || err != nil {
		t.Error(n, err)
	}
}

// Every filter reads an index, in the order of the list, so that millions make no difference.
func TestTheListReadsIndexes(t *testing.T) {
	each(t, audit.Options{}, func(t *testing.T, x fixture) {
		entries := make([]audit.Entry, 3000)
		for i := range entries {
			entries[i] = audit.Entry{Action: fmt.Sprint("action", i%50), TargetID: fmt.Sprint("user_", i%300)}
			if i%3 == 0 {
				entries[i].Outcome, entries[i].Reason = audit.Refused, "no"
			}
		}
		for i := range 10 {
			ctx := audit.WithActor(t.Context(), audit.Actor{Type: "user", ID: fmt.Sprint("user_", i), IdentityID: auth.IdentityID(fmt.Sprint("authid_", i)), IP: fmt.Sprint("10.0.0.", i),
				SessionID: auth.SessionID(fmt.Sprint("authsess_", i)), RequestID: fmt.Sprint("r", i)})
			if err := x.Record(ctx, entries[i*300:(i+1)*300]...); err != nil {
				t.Fatal(err)
			}
		}
		explain := "EXPLAIN "
		if err := x.db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := x.db.Conn(ctx).NewRaw("ANALYZE latchkey_audit_event").Exec(ctx)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		if x.db.Dialect() == database.SQLite {
			explain = "EXPLAIN QUERY PLAN "
		}
		for where, index := range map[string]string{
			"TRUE": "latchkey_audit_event_ts", "ts >= '2100-01-01' AND ts < '2100-01-02'": "latchkey_audit_event_ts", "(ts, id) < ('2100-01-01', 'audit_0')": "latchkey_audit_event_ts",
			"target_id = 'user_7'": "latchkey_audit_event_target", "actor_id = 'user_7'": "latchkey_audit_event_actor",
			"identity_id = 'authid_7'": "latchkey_audit_event_identity", "ip = '10.0.0.7'": "latchkey_audit_event_ip", "outcome = 'refused'": "latchkey_audit_event_refused",
			"outcome = 'refused' AND action = 'action7'": "latchkey_audit_event_refused_action", "actor_type = 'command'": "latchkey_audit_event_actor_type",
			"session_id = 'authsess_7'": "latchkey_audit_event_session", "request_id = 'r7'": "latchkey_audit_event_request", "action = 'action7'": "latchkey_audit_event_action",
		} {
			var plan string
			if err := x.db.InTx(t.Context(), func(ctx context.Context) error {
				if x.db.Dialect() == database.Postgres { // which reads and sorts what is a handful, and does not with many
					if _, err := x.db.Conn(ctx).NewRaw("SET LOCAL enable_bitmapscan = off; SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off").Exec(ctx); err != nil {
						return err
					}
				}
				var rows []map[string]any
				err := x.db.Conn(ctx).NewRaw(explain+"SELECT * FROM latchkey_audit_event WHERE "+where+" ORDER BY ts DESC, id DESC LIMIT 50").Scan(ctx, &rows)
				plan = fmt.Sprint(rows)
				return err
			}); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(plan, index) || strings.Contains(plan, "Sort") || strings.Contains(plan, "TEMP B-TREE") {
				t.Errorf("%s does not read %s in its order:\n%s", where, index, plan)
			}
		}
	})
}
