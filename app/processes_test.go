package app_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

func TestEightServersStartAtOnceOnAFreshDatabaseThoughOneIsKilled(t *testing.T) {
	const rounds, servers = 20, 8
	for _, kind := range []struct {
		name  string
		fresh func(testing.TB) databasetest.Database
	}{{"sqlite", databasetest.SQLite}, {"postgres", databasetest.Postgres}} {
		t.Run(kind.name, func(t *testing.T) {
			for n := range rounds {
				t.Run(fmt.Sprintf("round %d", n), func(t *testing.T) { startTogether(t, kind.fresh(t), servers) })
			}
		})
	}
}

// startTogether starts the servers on one database, kills one of them at some moment of its start, and has the others
// admit one person at the same time.
func startTogether(t *testing.T, at databasetest.Database, n int) {
	dir := t.TempDir()
	env := environment(dir, at)
	all := make([]*running, n)
	for i := range all {
		all[i] = start(t, env)
	}
	moment := rand.N(200 * time.Millisecond)
	time.Sleep(moment)
	all[0].kill()

	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i, r := range all[1:] {
		if err := r.up(ctx); err != nil {
			t.Fatalf("one server was killed after %v; server %d: %v", moment, i+1, err)
		}
	}
	const who = `{"email":"ada@example.com","password":"correct horse"}`
	if status, body, err := post(all[1].url+"/auth/user/emailpass/register", who); err != nil || status != 200 {
		t.Fatalf("register: %d %s %v", status, body, err)
	}
	var wg sync.WaitGroup
	for i, r := range all[1:] {
		wg.Go(func() {
			if status, body, err := post(r.url+"/auth/user/emailpass", who); err != nil || status != 200 {
				t.Errorf("sign in at server %d: %d %s %v", i+1, status, body, err)
			}
		})
	}
	wg.Wait()
	for i, r := range all[1:] {
		if err := r.stop(); err != nil {
			t.Errorf("server %d ended with %v\n%s", i+1, err, r.stderr)
		}
	}
	if users := usersOf(t, env); users != 1 {
		t.Errorf("%d users, want one", users)
	}
}

// usersOf counts the users of the database that an environment names.
func usersOf(t *testing.T, env []string) int {
	t.Helper()
	cfg, err := app.LoadConfig(app.LoadArgs{Environ: env, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	db, err := app.OpenDatabase(t.Context(), cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	n, err := db.Conn(t.Context()).NewSelect().TableExpr("latchkey_user").Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

func TestTheServerStartsWithNothingAndSaysHowToBecomeAdmin(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		dir := t.TempDir()
		env := environment(dir, at)
		r := start(t, env)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.up(ctx); err != nil {
			t.Fatal(err)
		}
		out := r.stdout.String()
		name := map[bool]string{true: "PostgreSQL at ", false: "SQLite in "}[strings.HasPrefix(at.URL, "postgres")]
		for _, want := range []string{"listening on http://127.0.0.1:", name, "/app/invite?token=", " user -e "} {
			if !strings.Contains(out, want) {
				t.Errorf("the greeting lacks %q:\n%s", want, out)
			}
		}
		_, token, _ := strings.Cut(out, "/app/invite?token=")
		token, _, _ = strings.Cut(token, "\n")
		if err := r.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		if strings.Contains(r.stderr.String(), token) {
			t.Error("the set-up link is in the log")
		}
		if at.Dialect == "sqlite" {
			for file, want := range map[string]os.FileMode{"data": 0o700, "data/secret": 0o600, "data/latchkey.db": 0o600} {
				info, err := os.Stat(filepath.Join(dir, file))
				if err != nil {
					t.Fatal(err)
				}
				if got := info.Mode().Perm(); got != want {
					t.Errorf("%s has the mode %v, want %v", file, got, want)
				}
			}
			if _, err := os.Stat(filepath.Join(dir, "data/latchkey.db-wal")); err == nil {
				t.Error("the stopped server left a write-ahead log behind")
			}
		}

		// A second start renews the link; once there is an admin, there is none.
		again := start(t, env)
		if err := again.up(ctx); err != nil {
			t.Fatal(err)
		}
		if s := again.stdout.String(); !strings.Contains(s, "/app/invite?token=") || strings.Contains(s, token) {
			t.Errorf("the second start did not renew the link:\n%s", s)
		}
		if _, stderr, code := run(t, env, "user", "-e", "admin@example.com", "-p", "correct horse"); code != 0 {
			t.Fatalf("make an admin while the server runs: %d %s", code, stderr)
		}
		if status, body, err := post(again.url+"/auth/user/emailpass", `{"email":"admin@example.com","password":"correct horse"}`); err != nil || status != 200 {
			t.Errorf("sign in as that admin: %d %s %v", status, body, err)
		}
		if err := again.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		third := start(t, env)
		if err := third.up(ctx); err != nil {
			t.Fatal(err)
		}
		if s := third.stdout.String(); strings.Contains(s, "token=") {
			t.Errorf("there is an admin, and the start still offers to become one:\n%s", s)
		}
	})
}

func TestTheProductionServerMakesNoSetUpLink(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		env := environment(t.TempDir(), at, "LATCHKEY_SECRETS="+testSecret)
		before := start(t, env)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := before.up(ctx); err != nil {
			t.Fatal(err)
		}
		_, token, _ := strings.Cut(before.stdout.String(), "/app/invite?token=")
		token, _, _ = strings.Cut(token, "\n")
		if err := before.stop(); err != nil {
			t.Fatal(err)
		}

		r := start(t, append(env, "LATCHKEY_ENV=production", "LATCHKEY_AUTH_PASSWORD_BCRYPT_COST=10"))
		if err := r.up(ctx); err != nil {
			t.Fatal(err)
		}
		if s := r.stdout.String(); strings.Contains(s, "token=") || !strings.Contains(s, " user -e ") {
			t.Errorf("the greeting in production:\n%s", s)
		}
		status, body, err := post(r.url+"/auth/user/emailpass/register", `{"email":"ada@example.com","password":"correct horse"}`)
		if err != nil || status != 200 {
			t.Fatalf("register: %d %s %v", status, body, err)
		}
		registration := member(body, "token")
		status, body, err = post(r.url+"/admin/invites/accept?token="+token, `{}`, "Authorization: Bearer "+registration)
		if err != nil || status != 400 {
			t.Errorf("accept a set-up link of development in production: %d %s %v", status, body, err)
		}
	})
}
