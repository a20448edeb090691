package app_test

import (
	"context"
	"crypto/rand"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// TestAServerThatSearchesWithoutIndexSaysSo starts one in a database where it may make no extension.
func TestAServerThatSearchesWithoutIndexSaysSo(t *testing.T) {
	at := databasetest.Postgres(t)
	do := func(at databasetest.Database, statement string) error {
		_, err := at.Open(t).Conn(t.Context()).ExecContext(t.Context(), statement)
		return err
	}
	name := "t_" + strings.ToLower(rand.Text())
	if err := do(at, "CREATE DATABASE "+name); err != nil {
		databasetest.SkipLoudly(t, "LATCHKEY_TEST_REQUIRE_POSTGRES", "PostgreSQL where databases can be made", err.Error())
	}
	server := at.Open(t)
	t.Cleanup(func() {
		for _, s := range []string{"DROP DATABASE " + name + " WITH (FORCE)", "DROP ROLE " + name} {
			if _, err := server.Conn(context.Background()).ExecContext(context.Background(), s); err != nil {
				t.Error(err)
			}
		}
	})
	u, err := url.Parse(at.URL)
	if err != nil {
		t.Fatal(err)
	}
	u.Path = "/" + name
	super := databasetest.Database{Dialect: database.Postgres, URL: u.String()}
	u.User = url.UserPassword(name, "x")
	owner := databasetest.Database{Dialect: database.Postgres, URL: u.String()}
	for _, s := range []string{"CREATE ROLE " + name + " LOGIN PASSWORD 'x'", "CREATE SCHEMA " + u.Query().Get("search_path") + " AUTHORIZATION " + name} {
		if err := do(super, s); err != nil {
			t.Fatal(err)
		}
	}

	log := func() string {
		t.Helper()
		r := start(t, environment(t.TempDir(), owner))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.up(ctx); err != nil {
			t.Fatal(err)
		}
		if err := r.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		return r.stderr.String()
	}
	const warning = "searching users and invites has no index"
	for range 2 {
		if said := log(); strings.Count(said, warning) != 1 || !strings.Contains(said, "CREATE EXTENSION pg_trgm SCHEMA public; CREATE INDEX CONCURRENTLY latchkey_user_trigram ON ") {
			t.Errorf("want one warning with what to do:\n%s", said)
		}
	}
	if err := do(super, "CREATE EXTENSION pg_trgm SCHEMA public"); err != nil {
		t.Fatal(err)
	}
	said := log()
	if strings.Contains(said, "CREATE EXTENSION") || !strings.Contains(said, "public.gin_trgm_ops") {
		t.Errorf("with the extension, want a warning of the indexes alone:\n%s", said)
	}
	for s := range strings.SplitSeq(between(said, `"statements":"`, `"`), "; ") {
		if err := do(super, s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if said := log(); strings.Contains(said, warning) {
		t.Errorf("with all that it wants, the server still warns:\n%s", said)
	}
}

// between is what stands between the two in s.
func between(s, start, end string) string {
	_, s, _ = strings.Cut(s, start)
	s, _, _ = strings.Cut(s, end)
	return s
}
