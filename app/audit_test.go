package app_test

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
)

// execAll runs statements in a transaction.
func execAll(t *testing.T, db *database.DB, statements ...string) {
	t.Helper()
	err := db.InTx(t.Context(), func(ctx context.Context) error {
		for _, s := range statements {
			if _, err := db.Conn(ctx).NewRaw(s).Exec(ctx); err != nil {
				return fmt.Errorf("%s: %w", s, err)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// countOf is what a query that counts says.
func countOf(t *testing.T, db *database.DB, query string, args ...any) (n int) {
	t.Helper()
	if err := db.Conn(t.Context()).NewRaw(query, args...).Scan(t.Context(), &n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestWhatCommandsDoIsInTheAuditTrail(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		env := environment(t.TempDir(), at)
		if at.Dialect == database.SQLite {
			env = append(env, "LATCHKEY_DATABASE_URL="+at.URL)
		}
		if _, errs, code := run(t, env, "user", "-e", "admin@example.com", "-p", "correct horse"); code != 0 {
			t.Fatal(errs)
		}
		if _, errs, code := run(t, env, "user", "-e", "grace@example.com", "--invite"); code != 0 {
			t.Fatal(errs)
		}
		db := at.Open(t)
		for _, action := range []string{"user.created", "auth.auth-identity.created", "link.linked", "invite.created"} {
			n := countOf(t, db, "SELECT count(*) FROM latchkey_audit_event WHERE action = ? AND actor_type = 'command' AND actor_id IS NOT NULL AND outcome = 'success'", action)
			if n != 1 {
				t.Errorf("%s is recorded %d times, want once", action, n)
			}
		}
	})
}

func TestASetUpLinkThatIsOfferedIsInTheAuditTrail(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		env := environment(t.TempDir(), at)
		if at.Dialect == database.SQLite {
			env = append(env, "LATCHKEY_DATABASE_URL="+at.URL)
		}
		r := start(t, env)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.up(ctx); err != nil {
			t.Fatal(err)
		}
		n := countOf(t, at.Open(t), "SELECT count(*) FROM latchkey_audit_event WHERE action = 'setup.offered' AND actor_type = 'system' AND target_type = 'invite'")
		if n != 1 {
			t.Errorf("it is recorded %d times, want once", n)
		}
	})
}

// grants are the statements of docs/security/audit.md.
func grants(schema, app, purger string) []string {
	return []string{
		"GRANT USAGE ON SCHEMA " + schema + " TO " + app + ", " + purger,
		"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA " + schema + " TO " + app,
		"REVOKE UPDATE, DELETE, TRUNCATE ON latchkey_audit_event FROM " + app,
		"GRANT SELECT ON ALL TABLES IN SCHEMA " + schema + " TO " + purger,
		"GRANT INSERT, DELETE ON latchkey_audit_event TO " + purger,
		"GRANT INSERT, UPDATE ON latchkey_secret_origin, latchkey_secret_fingerprint, latchkey_pepper_seal TO " + purger,
	}
}

// The server runs as a role that may not change or delete what is in the trail; another role purges it.
func TestTheServerWorksWithoutTheRightToChangeTheAuditTrail(t *testing.T) {
	at := databasetest.Postgres(t)
	owner := environment(t.TempDir(), at)
	if out, errs, code := run(t, owner, "migrate"); code != 0 {
		t.Fatal(out, errs)
	}
	db := at.Open(t)
	suffix := strings.ToLower(rand.Text())
	appRole, purgeRole := "app_"+suffix, "purge_"+suffix
	u, err := url.Parse(at.URL)
	if err != nil {
		t.Fatal(err)
	}
	schema := u.Query().Get("search_path")
	execAll(t, db, append([]string{"CREATE ROLE " + appRole + " LOGIN", "CREATE ROLE " + purgeRole + " LOGIN"}, grants(schema, appRole, purgeRole)...)...)
	t.Cleanup(func() {
		for _, role := range []string{appRole, purgeRole} {
			err := db.InTx(context.WithoutCancel(t.Context()), func(ctx context.Context) error {
				_, err := db.Conn(ctx).NewRaw("DROP OWNED BY " + role + "; DROP ROLE " + role).Exec(ctx)
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
	})
	as := func(role string) []string {
		own := *u
		own.User = url.User(role)
		return environment(t.TempDir(), databasetest.Database{Dialect: at.Dialect, URL: own.String()})
	}
	r := start(t, as(appRole))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := r.up(ctx); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/auth/user/emailpass/register", "/auth/user/emailpass"} {
		if status, body, err := post(r.url+path, `{"email":"ada@example.com","password":"correct horse"}`); err != nil || status != 200 {
			t.Fatalf("%s: %d %s %v", path, status, body, err)
		}
	}
	if status, body, err := post(r.url+"/auth/user/emailpass", `{"email":"ada@example.com","password":"wrong horse battery"}`); err != nil || status != 401 {
		t.Fatalf("a wrong password: %d %s %v", status, body, err)
	}
	if n := countOf(t, db, "SELECT count(*) FROM latchkey_audit_event WHERE action = 'auth.sign_in'"); n != 2 {
		t.Errorf("%d sign-ins are recorded, want 2", n)
	}
	old := func() {
		execAll(t, db, fmt.Sprintf("INSERT INTO latchkey_audit_event (id, ts, action, outcome, actor_type) VALUES ('%s', now() - interval '2 years', 'old', 'success', 'system')", id.New("audit")))
	}
	old()

	// The roles are what they are said to be.
	for role, denied := range map[string][]string{
		appRole:   {"UPDATE latchkey_audit_event SET ts = now()", "DELETE FROM latchkey_audit_event", "TRUNCATE latchkey_audit_event", "DROP TABLE latchkey_audit_event"},
		purgeRole: {"UPDATE latchkey_audit_event SET ts = now()", "DELETE FROM latchkey_user", "SELECT 1 FROM latchkey_user FOR UPDATE"},
	} {
		own := *u
		own.User = url.User(role)
		theirs := databasetest.Database{Dialect: at.Dialect, URL: own.String()}.Open(t)
		for _, s := range denied {
			if err := theirs.InTx(t.Context(), func(ctx context.Context) error {
				_, err := theirs.Conn(ctx).NewRaw(s).Exec(ctx)
				return err
			}); err == nil {
				t.Errorf("%s may %s", role, s)
			}
		}
	}

	out, errs, code := run(t, as(appRole), "purge", "--only", "audit_events")
	if code != 1 || !strings.Contains(errs, "server purge --only audit_events") || !strings.Contains(errs, "audit.retention") {
		t.Errorf("purge as the server's role: exit %d\n%s%s", code, out, errs)
	}
	if n := countOf(t, db, "SELECT count(*) FROM latchkey_audit_event WHERE action = 'old'"); n != 1 {
		t.Fatalf("%d old ones are left, want 1", n)
	}
	if out, errs, code = run(t, as(appRole), "purge", "--only", "sessions", "--only", "events", "--only", "unlinked_identities"); code != 0 {
		t.Errorf("purge of the rest as the server's role: exit %d\n%s%s", code, out, errs)
	}
	if out, errs, code = run(t, as(purgeRole), "purge", "--only", "audit_events"); code != 0 || !strings.Contains(out, "audit_events  1") {
		t.Errorf("purge as the role for it: exit %d\n%s%s", code, out, errs)
	}
	if n := countOf(t, db, "SELECT count(*) FROM latchkey_audit_event WHERE action = 'old'"); n != 0 {
		t.Errorf("%d old ones are left, want none", n)
	}
	var details []byte
	err = db.Conn(t.Context()).NewRaw("SELECT details FROM latchkey_audit_event WHERE action = 'purge' AND actor_type = 'command'").Scan(t.Context(), &details)
	var counts map[string]int
	if err != nil || json.Unmarshal(details, &counts) != nil || counts["audit_events"] != 1 {
		t.Errorf("that it was purged is recorded as %s, %v", details, err)
	}
}
