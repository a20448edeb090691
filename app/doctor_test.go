package app_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/app/doctor"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// breaks are how each invariant is broken by hand, where {n} is a person: the first time somebody looks it holds, then it
// does not. Constraints that are in the way go first.
var breaks = []struct {
	invariant string
	how       []string
}{
	{"unique_indexes", []string{"DROP INDEX latchkey_user_email", "DROP INDEX latchkey_provider_identity_entity", "DROP INDEX latchkey_link_actor",
		"DROP INDEX latchkey_invite_email", "DROP INDEX latchkey_one_time_token_hash", "DROP INDEX latchkey_outbox_event_id", "DROP INDEX latchkey_webhook_secret_current"}},
	{"identity_once", []string{`INSERT INTO latchkey_provider_identity (id, auth_identity_id, provider, entity_id, created_at, updated_at)
		SELECT 'authprov_twice', auth_identity_id, provider, entity_id, created_at, updated_at FROM latchkey_provider_identity WHERE entity_id = '{0}'`}},
	{"address_once", []string{"UPDATE latchkey_user SET email = '{0}' WHERE email = '{1}'"}},
	{"address_canonical", []string{"UPDATE latchkey_user SET email = 'Ada@example.com' WHERE email = '{2}'"}},
	{"link_to_somebody", []string{"UPDATE latchkey_user SET deleted_at = created_at WHERE email = '{3}'"}},
	{"link_of_somebody", []string{"UPDATE latchkey_link SET auth_identity_id = 'authid_nobody' WHERE actor_id = (SELECT id FROM latchkey_user WHERE email = '{4}')"}},
	{"actor_linked_once", []string{`INSERT INTO latchkey_link (auth_identity_id, actor_type, actor_id, created_at)
		SELECT 'authid_more', actor_type, actor_id, created_at FROM latchkey_link WHERE actor_id = (SELECT id FROM latchkey_user WHERE email = '{5}')`}},
	{"identity_linked_once", []string{
		"CREATE TABLE as_it_was AS SELECT * FROM latchkey_link", "DROP TABLE latchkey_link", "ALTER TABLE as_it_was RENAME TO latchkey_link",
		`INSERT INTO latchkey_link (auth_identity_id, actor_type, actor_id, created_at)
		SELECT auth_identity_id, actor_type, 'user_more', created_at FROM latchkey_link WHERE actor_id = (SELECT id FROM latchkey_user WHERE email = '{5}')`}},
	{"user_linked", []string{"DELETE FROM latchkey_link WHERE actor_id = (SELECT id FROM latchkey_user WHERE email = '{6}')"}},
	{"identity_has_way", []string{"DELETE FROM latchkey_provider_identity WHERE entity_id = '{7}'"}},
	{"invite_open_once", []string{`INSERT INTO latchkey_invite (id, email, roles, accepted, nonce, issued_at, expires_at, created_at, updated_at)
		SELECT 'invite_twice', email, roles, accepted, nonce, issued_at, expires_at, created_at, updated_at FROM latchkey_invite WHERE email = 'open@example.com'`}},
	{"invite_whole", []string{"UPDATE latchkey_invite SET accepted = TRUE WHERE email = 'other@example.com'"}},
	{"user_by_invite", []string{"UPDATE latchkey_user SET created_via = 'invite' WHERE email = '{8}'"}},
	{"invite_by_somebody", []string{"UPDATE latchkey_invite SET accepted_by = 'user_nobody' WHERE email = 'invited@example.com'"}},
	{"session_hashed", []string{"UPDATE latchkey_auth_session SET secret_hash = 'the cookie itself' WHERE id = (SELECT max(id) FROM latchkey_auth_session)"}},
	{"token_hashed", []string{oneTimeToken("{8}", "eyJhbGciOiJIUzI1NiJ9")}},
	{"token_once", []string{oneTimeToken("{9}", "eyJhbGciOiJIUzI1NiJ9")}},
	{"token_of_somebody", []string{"UPDATE latchkey_one_time_token SET provider_identity_id = 'authprov_nobody' WHERE provider_identity_id = (SELECT id FROM latchkey_provider_identity WHERE entity_id = '{9}')"}},
	{"email_change_hashed", []string{`INSERT INTO latchkey_email_change (auth_identity_id, ver, new_email, token_hash, issued_at)
		SELECT id, ver, 'new@example.com', '` + strings.Repeat("Z", 64) + `', created_at FROM latchkey_auth_identity ORDER BY id LIMIT 1`}},
	{"email_change_of_somebody", []string{"UPDATE latchkey_email_change SET auth_identity_id = 'authid_nobody'"}},
	{"verification_hashed", []string{`INSERT INTO latchkey_verification (auth_identity_id, email, id, ver, token_hash, requested_at)
		SELECT id, 'new@example.com', 'authver_x', ver, '` + strings.Repeat("a", 63) + `', created_at FROM latchkey_auth_identity ORDER BY id LIMIT 1`}},
	{"verification_of_somebody", []string{"UPDATE latchkey_verification SET auth_identity_id = 'authid_nobody'"}},
	{"flow_hashed", []string{"INSERT INTO latchkey_auth_flow (id_hash, provider, state, expires_at) SELECT 'flow', 'oidc', '', created_at FROM latchkey_user WHERE email = '{8}'"}},
	{"event_once", []string{`INSERT INTO latchkey_outbox_event (id, topic, aggregate_id, payload, created_at)
		SELECT id, 'another', aggregate_id, payload, created_at FROM latchkey_outbox_event ORDER BY seq LIMIT 1`}},
	{"told_once", []string{`INSERT INTO latchkey_outbox_event (id, topic, aggregate_id, payload, created_at)
		SELECT 'evt_twice', topic, aggregate_id, payload, created_at FROM latchkey_outbox_event WHERE topic = 'user.created' ORDER BY seq LIMIT 1`}},
	{"user_told", []string{"DELETE FROM latchkey_outbox_event WHERE topic = 'user.created' AND aggregate_id = (SELECT id FROM latchkey_user WHERE email = '{9}')"}},
	{"deletion_told", []string{"UPDATE latchkey_user SET deleted_at = created_at WHERE email = '{9}'"}},
	{"link_told", []string{"DELETE FROM latchkey_outbox_event WHERE topic = 'link.linked' AND aggregate_id = (SELECT id FROM latchkey_user WHERE email = '{8}')"}},
	{"acceptance_told", []string{"DELETE FROM latchkey_outbox_event WHERE topic = 'invite.accepted'"}},
	{"delivery_of_event", []string{`INSERT INTO latchkey_outbox_delivery (event_seq, consumer, topic, aggregate_id, attempts, next_at)
		SELECT 1000000, 'mail', 'user.created', id, 0, created_at FROM latchkey_user WHERE email = '{8}'`}},
	{"invite_used_once", []string{`INSERT INTO latchkey_audit_event (id, ts, action, outcome, actor_type, target_id)
		SELECT 'audit_twice', ts, action, outcome, actor_type, target_id FROM latchkey_audit_event WHERE action = 'invite.accepted'`}},
	{"webhook_heard", []string{webhookRow("whep_deaf")}},
	{"webhook_signed", []string{webhookRow("whep_mute")}},
	{"webhook_secret_sealed", []string{`INSERT INTO latchkey_webhook_secret (id, endpoint_id, seals, created_at)
		SELECT 'whkey_open', 'whep_mute', '{"k":"c2VjcmV0"}', created_at FROM latchkey_user WHERE email = '{8}'`}},
	{"webhook_secret_of_somebody", []string{"UPDATE latchkey_webhook_secret SET endpoint_id = 'whep_nobody'"}},
	{"session_of_now", []string{"UPDATE latchkey_auth_session SET ver = 99 WHERE id = (SELECT min(id) FROM latchkey_auth_session)"}},
	{"session_of_somebody", []string{"UPDATE latchkey_auth_session SET auth_identity_id = 'authid_nobody' WHERE id = (SELECT min(id) FROM latchkey_auth_session)"}},
	{"way_of_somebody", []string{"UPDATE latchkey_provider_identity SET auth_identity_id = 'authid_nobody' WHERE entity_id = '{8}'"}},
	{"registration_of_somebody", []string{`INSERT INTO latchkey_registration (auth_identity_id, provider, entity_id, email, created_at)
		SELECT 'authid_nobody', 'emailpass', email, email, created_at FROM latchkey_user WHERE email = '{8}'`}},
	{"unlinked_of_somebody", []string{"INSERT INTO latchkey_link_unlinked (auth_identity_id, actor_type, since) SELECT 'authid_nobody', 'user', created_at FROM latchkey_user WHERE email = '{8}'"}},
	{"role_of_somebody", []string{"UPDATE latchkey_user_role SET user_id = 'user_nobody' WHERE user_id = (SELECT id FROM latchkey_user WHERE email = '{8}')"}},
	{"user_found", []string{"DELETE FROM latchkey_user_trigram_row WHERE user_id = (SELECT id FROM latchkey_user WHERE email = '{8}')"}},
	{"invite_found", []string{"DELETE FROM latchkey_invite_trigram_row WHERE invite_id = 'invite_twice'"}},
}

func webhookRow(id string) string {
	return `INSERT INTO latchkey_webhook_endpoint (id, url, topics, description, created_at, updated_at)
		SELECT '` + id + `', 'https://example.com/', '[]', '', created_at, created_at FROM latchkey_user WHERE email = '{8}'`
}

func oneTimeToken(of, hash string) string {
	return `INSERT INTO latchkey_one_time_token (purpose, provider_identity_id, actor_type, token_hash, channel, issued_at, expires_at)
		SELECT 'reset', id, 'user', '` + hash + `', 'mail', created_at, created_at FROM latchkey_provider_identity WHERE entity_id = '` + of + `'`
}

func TestEveryInvariantIsSeenToBreak(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		n := populated(t, at, 10)
		n.check(t, "whole")
		n.stop()
		raw := unbound(t, n, at)
		want := map[string]bool{}
		for _, i := range doctor.Invariants(at.Dialect) {
			want[i.Name] = true
		}
		report := n.examine(t)
		for _, b := range breaks {
			if !want[b.invariant] {
				continue // it is for the other kind
			}
			delete(want, b.invariant)
			before := finding(t, report, b.invariant)
			for _, statement := range b.how {
				for i := range 10 {
					statement = strings.ReplaceAll(statement, fmt.Sprintf("{%d}", i), person(i))
				}
				if _, err := raw.ExecContext(t.Context(), statement); err != nil {
					t.Fatalf("%s: %s: %v", b.invariant, statement, err)
				}
			}
			report = n.examine(t)
			after := finding(t, report, b.invariant)
			if after.Violations <= before.Violations || len(after.Examples) == 0 {
				t.Errorf("%s was broken, and is violated %d times, before it %d; examples %q", b.invariant, after.Violations, before.Violations, after.Examples)
			}
			if said := fmt.Sprint(after.Examples); strings.ContainsAny(said, "@") || strings.Contains(said, "cookie") || strings.Contains(said, "eyJ") {
				t.Errorf("%s tells what is nobody's business: %s", b.invariant, said)
			}
		}
		if len(want) > 0 {
			t.Errorf("say in this test how to break %q", slices.Sorted(maps.Keys(want)))
		}
		if at.Dialect == database.SQLite && finding(t, report, "references").Violations == 0 {
			t.Error("references to nothing were not found")
		}
	})
}

func TestADamagedFileIsSeen(t *testing.T) {
	t.Parallel()
	n := populated(t, databasetest.SQLite(t), 3)
	n.stop()
	path := filepath.Join(n.config.DataDir, "latchkey.db")
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for i := len(data) / 2 / 4096 * 4096; i < len(data); i++ { // the schema is at the beginning
		data[i] = 0xff
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	db, err := app.OpenReadOnly(t.Context(), n.config, nil)
	if err != nil {
		return // it is seen even earlier
	}
	defer db.Close()
	report, err := doctor.Examine(t.Context(), db, doctor.Options{File: doctor.Quick})
	if err == nil && len(report.Violated())+len(report.Unasked()) == 0 {
		t.Error("half of the file is overwritten, and nothing was found")
	}
}

// populated is a server with some people, an accepted invite, two open ones, and a person who was deleted and restored.
func populated(t *testing.T, at databasetest.Database, people int) *node {
	t.Helper()
	n := open(t, mailing(t, at))
	n.makeAdmin(t)
	for i := range people {
		n.register(t, person(i))
		n.must(t, act{method: "POST", path: "/auth/user/emailpass", body: credentials(person(i))})
	}
	var token string
	for _, who := range []string{"invited@example.com", "open@example.com", "other@example.com"} {
		answer := n.must(t, act{method: "POST", path: "/admin/invites", body: `{"email":"` + who + `"}`, bearer: n.admin})
		if token == "" {
			token = member(answer, "token")
		}
	}
	n.must(t, act{method: "POST", path: "/admin/invites/accept?token=" + token, body: `{}`, bearer: n.register(t, "invited@example.com")})
	n.register(t, "back@example.com")
	back := n.isUser(t, member(n.must(t, act{method: "POST", path: "/auth/user/emailpass", body: credentials("back@example.com")}), "token"), "back@example.com")
	n.must(t, act{method: "DELETE", path: "/admin/users/" + back, bearer: n.admin})
	n.must(t, act{method: "POST", path: "/admin/users/" + back + "/restore", bearer: n.admin})
	mails(t, n, "nobody") // all is delivered
	return n
}

func person(i int) string { return fmt.Sprintf("p%d@example.com", i) }

// unbound is a connection that no foreign key is in the way of.
func unbound(t *testing.T, n *node, at databasetest.Database) *sql.DB {
	t.Helper()
	driver, name, first := "pgx", at.URL, "SET session_replication_role = replica"
	if at.Dialect == database.SQLite {
		driver, name, first = "sqlite", filepath.Join(n.config.DataDir, "latchkey.db"), "PRAGMA foreign_keys = OFF"
	}
	db, err := sql.Open(driver, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	db.SetMaxOpenConns(1)
	if _, err := db.ExecContext(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	return db
}

func finding(t *testing.T, r doctor.Report, name string) doctor.Finding {
	t.Helper()
	i := slices.IndexFunc(r.Findings, func(f doctor.Finding) bool { return f.Name == name })
	if i < 0 {
		t.Fatalf("there is no invariant %s", name)
	}
	return r.Findings[i]
}

// Whatever a server is in the middle of, a snapshot never shows it.
func TestTheDoctorFindsNothingWhileAServerIsBusy(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		n := populated(t, at, 1)
		ctx, stop := context.WithCancel(t.Context())
		var busy sync.WaitGroup
		var done atomic.Int64
		for worker := range 8 {
			busy.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					if err := n.comeAndGo(ctx, fmt.Sprintf("w%d.%d@example.com", worker, i)); err != nil && ctx.Err() == nil {
						t.Error(err)
						return
					}
					done.Add(1)
				}
			})
		}
		looks := 0
		for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end) || looks < 5; looks++ {
			n.check(t, fmt.Sprintf("look %d", looks))
		}
		stop()
		busy.Wait()
		if done.Load() == 0 {
			t.Error("the server was not busy")
		}
		t.Logf("%d looks while %d people came and went", looks, done.Load())
	})
}

// comeAndGo is everything that happens to somebody: they are invited, register, sign in or accept, and are deleted.
func (n *node) comeAndGo(ctx context.Context, who string) error {
	send := func(a act) (string, error) {
		status, body, err := a.send(ctx, n.url)
		if err == nil && status != 200 {
			err = fmt.Errorf("%s %s: %d %s", a.method, a.path, status, body)
		}
		return body, err
	}
	invite, err := send(act{method: "POST", path: "/admin/invites", body: `{"email":"` + who + `"}`, bearer: n.admin})
	if err != nil {
		return err
	}
	registered, err := send(act{method: "POST", path: "/auth/user/emailpass/register", body: credentials(who)})
	if err != nil {
		return err
	}
	var both [2]error
	var at sync.WaitGroup
	at.Go(func() {
		_, both[0] = send(act{method: "POST", path: "/admin/invites/accept?token=" + member(invite, "token"), body: `{}`, bearer: member(registered, "token")})
	})
	at.Go(func() { _, both[1] = send(act{method: "POST", path: "/auth/user/emailpass", body: credentials(who)}) })
	at.Wait()
	if both[1] != nil { // the accept may lose: signing in first makes a member, and ends the session of the registration
		return both[1]
	}
	token, err := send(act{method: "POST", path: "/auth/user/emailpass", body: credentials(who)})
	if err != nil {
		return err
	}
	me, err := send(act{method: "GET", path: "/admin/users/me", bearer: member(token, "token")})
	if err != nil {
		return err
	}
	_, err = send(act{method: "DELETE", path: "/admin/users/" + member(me, "id"), bearer: n.admin})
	return err
}

func TestTheCommandDoctorSaysWhatHoldsWhileAServerRuns(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		dir := t.TempDir()
		env := environment(dir, at)
		if at.Dialect == database.SQLite {
			if out, errs, code := run(t, env, "doctor"); code != 2 || out != "" || !strings.Contains(errs, "no database yet") {
				t.Errorf("without a database: exit %d\n%s%s", code, out, errs)
			}
			if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
				t.Error("looking made something")
			}
		}
		n := open(t, env)
		n.makeAdmin(t)
		before := databasetest.Dump(t, n.db)
		out, errs, code := run(t, env, "doctor", "--full")
		if code != 0 || !strings.Contains(out, "invariants hold") || strings.Contains(out, "VIOLATED") {
			t.Errorf("exit %d\n%s%s", code, out, errs)
		}
		if after := databasetest.Dump(t, n.db); !maps.EqualFunc(before, after, slices.Equal) {
			t.Errorf("looking changed something:\n%v\n%v", before, after)
		}
		if out, _, code := run(t, env, "doctor", "--list"); code != 0 || !strings.Contains(out, "user_linked (I3): ") {
			t.Errorf("--list: exit %d\n%s", code, out)
		}
		if _, errs, code := run(t, env, "doctor", "now"); code != 2 || !strings.Contains(errs, "nothing but flags") {
			t.Errorf("an argument: exit %d\n%s", code, errs)
		}

		raw := unbound(t, n, at)
		exec := func(statement string) {
			if _, err := raw.ExecContext(t.Context(), statement); err != nil {
				t.Fatal(err)
			}
		}
		exec("INSERT INTO latchkey_user_migrations (version_id, is_applied) VALUES (99, TRUE)")
		if out, _, code := run(t, env, "doctor"); code != 0 || !strings.Contains(out, "newer than this program") || !strings.Contains(out, "user 00099") {
			t.Errorf("a newer schema: exit %d\n%s", code, out)
		}
		exec("DELETE FROM latchkey_user_migrations WHERE version_id IN (99, 4)")
		exec("DROP TABLE latchkey_registration")
		if out, _, code := run(t, env, "doctor"); code != 2 || !strings.Contains(out, "older than this program") || !strings.Contains(out, "UNASKED   registration_of_somebody") {
			t.Errorf("an older schema: exit %d\n%s", code, out)
		}
		exec("UPDATE latchkey_user SET email = 'Admin@example.com'")
		exec("UPDATE latchkey_link SET actor_id = 'user_nobody'")
		out, _, code = run(t, env, "doctor", "--json")
		var report struct {
			Invariants []struct {
				Name, Remedy string
				Violations   int
				Examples     []string
			}
		}
		if err := json.Unmarshal([]byte(out), &report); err != nil || code != 1 {
			t.Fatalf("exit %d, %v\n%s", code, err, out)
		}
		found := map[string]int{}
		for _, i := range report.Invariants {
			if i.Violations > 0 {
				found[i.Name] = i.Violations
				if i.Remedy == "" || len(i.Examples) == 0 {
					t.Errorf("%s says not what to do or with which row", i.Name)
				}
			}
		}
		for _, name := range []string{"address_canonical", "link_to_somebody", "user_linked", "link_told"} {
			if found[name] != 1 {
				t.Errorf("%s is violated %d times, want 1", name, found[name])
			}
		}
		if strings.Contains(strings.ToLower(out), "admin@") {
			t.Errorf("it shows an address:\n%s", out)
		}
	})
}

func TestTheDoctorThatCannotLookSaysSo(t *testing.T) {
	t.Parallel()
	at := databasetest.Postgres(t)
	env := environment(t.TempDir(), databasetest.Database{Dialect: at.Dialect, URL: "postgres://nobody:hunter2@127.0.0.1:1/none"})
	if out, errs, code := run(t, env, "doctor"); code != 2 || out != "" || strings.Contains(errs, "hunter2") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	n := open(t, environment(t.TempDir(), at))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := doctor.Examine(ctx, n.db, doctor.Options{}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// LATCHKEY_TEST_USERS=1000000 is how docs/reliability.md measures it.
func TestTheDoctorReadsNoTableForEveryRowOfAnother(t *testing.T) {
	t.Parallel()
	many := 1000
	if text := os.Getenv("LATCHKEY_TEST_USERS"); text != "" {
		if _, err := fmt.Sscan(text, &many); err != nil {
			t.Fatal(err)
		}
	}
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		n := populated(t, at, 1)
		n.stop()
		raw := unbound(t, n, at)
		all := fmt.Sprintf("WITH RECURSIVE s(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < %d), u AS (SELECT * FROM latchkey_user WHERE email = 'p0@example.com') ", many)
		statements := []string{
			"INSERT INTO latchkey_user (id, email, search, created_via, created_at, updated_at) " + all + "SELECT 'user_x' || s.n, 'x' || s.n || '@example.com', 'x', 'first_auth', u.created_at, u.updated_at FROM s, u",
			"INSERT INTO latchkey_user_role (user_id, role, granted_via) SELECT id, 'member', 'first_auth' FROM latchkey_user WHERE id LIKE 'user_x%'",
			"INSERT INTO latchkey_auth_identity (id, ver, created_at, updated_at) SELECT 'authid_' || id, 1, created_at, updated_at FROM latchkey_user WHERE id LIKE 'user_x%'",
			"INSERT INTO latchkey_provider_identity (id, auth_identity_id, provider, entity_id, created_at, updated_at) SELECT 'way_' || id, 'authid_' || id, 'emailpass', email, created_at, updated_at FROM latchkey_user WHERE id LIKE 'user_x%'",
			"INSERT INTO latchkey_link (auth_identity_id, actor_type, actor_id, created_at) SELECT 'authid_' || id, 'user', id, created_at FROM latchkey_user WHERE id LIKE 'user_x%'",
			`INSERT INTO latchkey_auth_session (id, auth_identity_id, actor_type, provider, ver, user_agent, ip, authenticated_at, created_at, last_used_at, expires_at)
				SELECT 'session_' || id, 'authid_' || id, 'user', 'emailpass', 1, '', '', created_at, created_at, created_at, created_at FROM latchkey_user WHERE id LIKE 'user_x%'`,
		}
		for _, topic := range []string{"user.created", "link.linked"} {
			statements = append(statements,
				"INSERT INTO latchkey_outbox_event (id, topic, aggregate_id, payload, created_at) SELECT '"+topic+"' || u.id, '"+topic+"', u.id, e.payload, u.created_at FROM latchkey_user u, (SELECT payload FROM latchkey_outbox_event ORDER BY seq LIMIT 1) e WHERE u.id LIKE 'user_x%'",
				"INSERT INTO latchkey_audit_event (id, ts, action, outcome, actor_type, target_id) SELECT '"+topic+"' || id, created_at, '"+topic+"', 'success', 'user', id FROM latchkey_user WHERE id LIKE 'user_x%'")
		}
		if at.Dialect == database.SQLite {
			statements = slices.Concat([]string{"DROP TRIGGER latchkey_user_trigram_insert"}, statements,
				[]string{"INSERT INTO latchkey_user_trigram_row (user_id) SELECT id FROM latchkey_user WHERE id LIKE 'user_x%'"})
		}
		for _, s := range append(statements, "ANALYZE") {
			if _, err := raw.ExecContext(t.Context(), s); err != nil {
				t.Fatalf("%s: %v", s, err)
			}
		}
		db, err := app.OpenReadOnly(t.Context(), n.config, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		report, err := doctor.Examine(t.Context(), db, doctor.Options{Migrations: app.Migrations(), File: doctor.Quick})
		if err != nil || len(report.Violated())+len(report.Unasked()) > 0 {
			t.Errorf("%v\n%s", err, report)
		}
		slowest := slices.MaxFunc(report.Findings, func(a, b doctor.Finding) int { return int(a.Ms - b.Ms) })
		t.Logf("%d users: %d ms, of which %s took %d", many, report.Ms, slowest.Name, slowest.Ms)
		if perUser := float64(report.Ms) / float64(many); many >= 100_000 && perUser > 0.3 {
			t.Errorf("%v ms for each user", perUser)
		}
	})
}

func TestEveryInvariantIsInTheDocumentation(t *testing.T) {
	text := document(t, "reliability.md")
	for _, of := range []database.Dialect{database.SQLite, database.Postgres} {
		for _, i := range doctor.Invariants(of) {
			if row := fmt.Sprintf("| `%s` | %s | %s |\n", i.Name, i.Rule, i.Means); !strings.Contains(text, row) {
				t.Errorf("docs/reliability.md lacks the row\n%s", row)
			}
		}
	}
}
