package app_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
)

// litter fills a migrated database with so many of each kind that is dead, and one of each that only looks like it.
func litter(t *testing.T, db *database.DB, n int) {
	t.Helper()
	at := func(ago time.Duration) string { return database.Now().Add(-ago).Format("2006-01-02 15:04:05+00:00") }
	const year, month = 366 * 24 * time.Hour, 31 * 24 * time.Hour
	var all []string
	add := func(format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }
	identity := func(name, created string) {
		add("INSERT INTO latchkey_auth_identity (id, ver, created_at, updated_at) VALUES ('%s', 1, '%s', '%s')", name, created, created)
		add("INSERT INTO latchkey_provider_identity (id, auth_identity_id, provider, entity_id, created_at, updated_at) VALUES ('%s', '%s', 'emailpass', '%s@example.com', '%s', '%s')", id.New(""), name, name, created, created)
	}
	session := func(of, expires, used string) {
		add("INSERT INTO latchkey_auth_session (id, auth_identity_id, actor_type, provider, ver, user_agent, ip, authenticated_at, created_at, last_used_at, expires_at) VALUES ('%s', '%s', 'user', 'emailpass', 1, '', '', '%s', '%s', '%s', '%s')",
			id.New("authsess"), of, used, used, used, expires)
	}
	identity("authid_keeper", at(month))
	session("authid_keeper", at(-time.Hour), at(month))
	add("INSERT INTO latchkey_outbox_event (id, topic, aggregate_id, payload, created_at) VALUES ('evt_open', 'test', 'x', '{}', '%s')", at(year))
	add("INSERT INTO latchkey_outbox_delivery (event_seq, consumer, topic, aggregate_id, attempts, next_at) SELECT seq, 'test', 'test', 'x', 1, '%s' FROM latchkey_outbox_event WHERE id = 'evt_open'", at(year))
	add("INSERT INTO latchkey_outbox_event (id, topic, aggregate_id, payload, created_at) VALUES ('evt_new', 'test', 'x', '{}', '%s')", at(time.Hour))
	add("INSERT INTO latchkey_audit_event (id, ts, action, outcome, actor_type) VALUES ('audit_new', '%s', 'new', 'success', 'system')", at(month))
	for i := range n {
		session("authid_keeper", at(2*time.Hour), at(month))
		add("INSERT INTO latchkey_outbox_event (id, topic, aggregate_id, payload, created_at) VALUES ('%s', 'test', 'x', '{}', '%s')", id.New("evt"), at(month))
		add("INSERT INTO latchkey_audit_event (id, ts, action, outcome, actor_type) VALUES ('%s', '%s', 'old', 'success', 'system')", id.New("audit"), at(year))
		add("INSERT INTO latchkey_auth_flow (id_hash, provider, state, expires_at) VALUES ('%s', 'oidc', '', '%s')", id.New(""), at(2*time.Hour))
		if i < n/10 {
			name := id.New("authid")
			identity(name, at(month))
			add("INSERT INTO latchkey_link_unlinked (auth_identity_id, actor_type, since) VALUES ('%s', 'user', '%s')", name, at(month))
		}
	}
	execAll(t, db, all...)
}

// wantTidy holds the database to have lost what is dead, and nothing else.
func wantTidy(t *testing.T, db *database.DB) {
	t.Helper()
	for query, want := range map[string]int{
		"SELECT count(*) FROM latchkey_auth_session WHERE auth_identity_id = 'authid_keeper'":                                    1,
		"SELECT count(*) FROM latchkey_auth_identity WHERE id = 'authid_keeper'":                                                 1,
		"SELECT count(*) FROM latchkey_link_unlinked WHERE auth_identity_id NOT IN (SELECT auth_identity_id FROM latchkey_link)": 0,
		"SELECT count(*) FROM latchkey_auth_flow":                                                                                0,
		"SELECT count(*) FROM latchkey_outbox_event WHERE topic = 'test'":                                                        2,
		"SELECT count(*) FROM latchkey_outbox_delivery WHERE consumer = 'test'":                                                  1,
		"SELECT count(*) FROM latchkey_audit_event WHERE action = 'old'":                                                         0,
		"SELECT count(*) FROM latchkey_audit_event WHERE action = 'new'":                                                         1,
		"SELECT count(*) FROM latchkey_provider_identity WHERE auth_identity_id NOT IN (SELECT id FROM latchkey_auth_identity)":  0,
		"SELECT count(*) FROM latchkey_auth_identity WHERE id NOT IN (SELECT auth_identity_id FROM latchkey_provider_identity)":  0,
		"SELECT count(*) FROM latchkey_outbox_delivery WHERE event_seq NOT IN (SELECT seq FROM latchkey_outbox_event)":           0,
		"SELECT count(*) FROM latchkey_link WHERE auth_identity_id NOT IN (SELECT id FROM latchkey_auth_identity)":               0,
	} {
		if n := countOf(t, db, query); n != want {
			t.Errorf("%s: %d, want %d", query, n, want)
		}
	}
}

// onDatabase is an environment whose database a test can open, too.
func onDatabase(t *testing.T, at databasetest.Database) []string {
	t.Helper()
	env := environment(t.TempDir(), at)
	if at.Dialect == database.SQLite {
		env = append(env, "LATCHKEY_DATABASE_URL="+at.URL)
	}
	if out, errs, code := run(t, env, "migrate"); code != 0 {
		t.Fatal(out, errs)
	}
	return env
}

func TestTheCommandPurgeSaysWhatItRemoved(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		env := onDatabase(t, at)
		db := at.Open(t)
		litter(t, db, 30)
		if out, errs, code := run(t, env, "purge", "--only", "nope"); code != 2 || !strings.Contains(errs, "audit_events") {
			t.Errorf("what is none: exit %d\n%s%s", code, out, errs)
		}
		if out, _, code := run(t, env, "purge", "--help"); code != 0 || !strings.Contains(out, "audit_events, email_changes, events, flows, one_time_tokens, sessions, throttles, unlinked_identities, verifications, webhook_deliveries, webhook_secrets") {
			t.Errorf("the help does not name the kinds: exit %d\n%s", code, out)
		}
		if out, errs, code := run(t, env, "purge", "all"); code != 2 {
			t.Errorf("an argument: exit %d\n%s%s", code, out, errs)
		}
		if out, errs, code := run(t, env, "purge", "--only", "flows"); code != 0 || out != "flows  30\n" {
			t.Errorf("one kind: exit %d\n%s%s", code, out, errs)
		}
		out, errs, code := run(t, env, "purge")
		want := "audit_events         30\nemail_changes        0\nevents               30\nflows                0\none_time_tokens      0\nsessions             30\nthrottles            0\nunlinked_identities  3\nverifications        0\nwebhook_deliveries   0\nwebhook_secrets      0\n"
		if code != 0 || out != want {
			t.Errorf("exit %d\n%s%s\nwant\n%s", code, out, errs, want)
		}
		wantTidy(t, db)
		if n := countOf(t, db, "SELECT count(*) FROM latchkey_audit_event WHERE action = 'identity.purged' AND actor_type = 'command'"); n != 3 {
			t.Errorf("%d purged identities are in the trail, want 3", n)
		}
		if out, _, code := run(t, env, "purge"); code != 0 || strings.ContainsAny(out, "123456789") {
			t.Errorf("again: exit %d\n%s", code, out)
		}
	})
}

// Whatever of a purge was done when its process dies is done, and the rest is there for the next.
func TestAPurgeThatIsKilledLeavesNothingIllegal(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		env := onDatabase(t, at)
		db := at.Open(t)
		litter(t, db, 1200)
		interrupted := 0
		for range 6 {
			r := start(t, env, "purge")
			left := func() int { return countOf(t, db, "SELECT count(*) FROM latchkey_auth_session") }
			for before := left(); left() == before && before > 1; time.Sleep(time.Millisecond) { // until it is at it
				select {
				case <-r.ended:
					t.Fatalf("%v\n%s", r.result, r.stderr)
				default:
				}
			}
			time.Sleep(rand.N(20 * time.Millisecond)) //nolint:gosec // no secret
			r.kill()
			if r.result != nil {
				interrupted++
			}
			for what, query := range map[string]string{
				"ways of no identity":       "SELECT count(*) FROM latchkey_provider_identity WHERE auth_identity_id NOT IN (SELECT id FROM latchkey_auth_identity)",
				"deliveries of no event":    "SELECT count(*) FROM latchkey_outbox_delivery WHERE event_seq NOT IN (SELECT seq FROM latchkey_outbox_event)",
				"links of nobody":           "SELECT count(*) FROM latchkey_link",
				"purged without an event":   "SELECT abs((SELECT count(*) FROM latchkey_outbox_event WHERE topic = 'identity.purged') - (SELECT count(*) FROM latchkey_audit_event WHERE action = 'identity.purged'))",
				"identities without events": "SELECT 120 - (SELECT count(*) FROM latchkey_link_unlinked) - (SELECT count(*) FROM latchkey_outbox_event WHERE topic = 'identity.purged')",
			} {
				if n := countOf(t, db, query); n != 0 {
					t.Errorf("%d %s", n, what)
				}
			}
		}
		if interrupted == 0 {
			t.Error("no purge was interrupted")
		}
		if out, errs, code := run(t, env, "purge"); code != 0 {
			t.Errorf("exit %d\n%s%s", code, out, errs)
		}
		wantTidy(t, db)
	})
}

// People sign in and out while several processes purge: nobody is refused, and all that is dead goes.
func TestAPurgeWhileEightClientsSignInHarmsNobody(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		env := onDatabase(t, at)
		db := at.Open(t)
		litter(t, db, 800)
		r := start(t, env)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		if err := r.up(ctx); err != nil {
			t.Fatal(err)
		}
		var purges, signIns atomic.Int64
		purges.Store(2)
		for i, err := range databasetest.Together(10, func(i int) error {
			if i < 2 {
				defer purges.Add(-1)
				if out, errs, code := run(t, env, "purge"); code != 0 {
					return fmt.Errorf("purge: exit %d\n%s%s", code, out, errs)
				}
				return nil
			}
			body := fmt.Sprintf(`{"email":"p%d@example.com","password":"correct horse"}`, i)
			if status, answer, err := post(r.url+"/auth/user/emailpass/register", body); err != nil || status != 200 {
				return fmt.Errorf("register: %d %s %w", status, answer, err)
			}
			for n := 0; n < 5 || purges.Load() > 0; n++ {
				status, answer, err := post(r.url+"/auth/user/emailpass", body)
				if err != nil || status != 200 {
					return fmt.Errorf("sign in: %d %s %w", status, answer, err)
				}
				signIns.Add(1)
				if status, answer, err := post(r.url+"/auth/token/refresh", ``, "Authorization: Bearer "+member(answer, "token")); err != nil || status != 200 {
					return fmt.Errorf("refresh: %d %s %w", status, answer, err)
				}
			}
			return nil
		}) {
			if err != nil {
				t.Errorf("%d: %v", i, err)
			}
		}
		t.Logf("%d sign-ins meanwhile", signIns.Load())
		if out, errs, code := run(t, env, "purge"); code != 0 { // what the two left to each other
			t.Errorf("exit %d\n%s%s", code, out, errs)
		}
		wantTidy(t, db)
		if n := countOf(t, db, "SELECT count(*) FROM latchkey_user"); n != 8 {
			t.Errorf("%d users, want 8", n)
		}
	})
}
