package database_test

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/database/postgres"
	"github.com/latchkey-go/latchkey/modules/kernel/database/sqlite"
)

// files is a file system of migrations: names and what they do.
func files(pairs ...string) fs.FS {
	all := fstest.MapFS{}
	for i := 0; i < len(pairs); i += 2 {
		all[pairs[i]] = &fstest.MapFile{Data: []byte("-- +goose Up\n" + pairs[i+1])}
	}
	return all
}

// three modules of four steps each, slow enough to be met halfway.
func threeModules() []database.Migrations {
	var all []database.Migrations
	for _, module := range []string{"one", "two", "three"} {
		var pairs []string
		for i := range 4 {
			pairs = append(pairs, fmt.Sprintf("%05d_step.sql", i+1),
				fmt.Sprintf("CREATE TABLE latchkey_%s_%d (id text PRIMARY KEY, at timestamptz, data jsonb, yes boolean);", module, i))
		}
		all = append(all, database.Migrations{Module: module, FS: files(pairs...)})
	}
	return all
}

const childURL = "LATCHKEY_TEST_MIGRATE_CHILD"

// migrateAsChild is what the processes of the test below do instead of testing.
func migrateAsChild() bool {
	url := os.Getenv(childURL)
	if url == "" {
		return false
	}
	_, _ = os.Stdin.Read(make([]byte, 1)) // all start at once
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	db, err := openURL(ctx, url)
	if err == nil {
		err = db.Migrate(ctx, threeModules()...)
	}
	if err == nil {
		_, err = db.Conn(ctx).ExecContext(ctx, "SELECT id, at, data, yes FROM latchkey_three_3")
	}
	if err == nil {
		err = db.Close()
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	return true
}

func openURL(ctx context.Context, url string) (*database.DB, error) {
	if path, ok := strings.CutPrefix(url, "sqlite:"); ok {
		return sqlite.Open(ctx, path, nil)
	}
	return postgres.Open(ctx, url, 2, nil)
}

func TestEightProcessesStartOnOneFreshDatabase(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		children := make([]*exec.Cmd, 8)
		said := make([]bytes.Buffer, len(children))
		for i := range children {
			children[i] = exec.CommandContext(t.Context(), os.Args[0])
			children[i].Env = append(os.Environ(), childURL+"="+at.URL)
			children[i].Stdin = r
			children[i].Stdout, children[i].Stderr = &said[i], &said[i]
			if err := children[i].Start(); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(100 * time.Millisecond) // until they wait at the pipe
		w.Close()
		for i, child := range children {
			if err := child.Wait(); err != nil {
				t.Errorf("process %d: %v\n%s", i, err, &said[i])
			}
		}
		wantApplied(t, at.Open(t), 12, threeModules()...)
	})
}

func TestEightOpenAndMigrateInOneProcess(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				db, err := openURL(t.Context(), at.URL)
				if err != nil {
					t.Error(err)
					return
				}
				defer db.Close()
				if err := db.Migrate(t.Context(), threeModules()...); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		wantApplied(t, at.Open(t), 12, threeModules()...)
	})
}

func wantApplied(t *testing.T, db *database.DB, want int, all ...database.Migrations) {
	t.Helper()
	states, err := db.MigrationStatus(t.Context(), all...)
	if err != nil {
		t.Fatal(err)
	}
	got := 0
	for _, s := range states {
		if !s.AppliedAt.IsZero() {
			got++
		}
	}
	if got != want {
		t.Errorf("%d of %d steps taken, want %d", got, len(states), want)
	}
}

func TestStatusTellsPendingFromTakenAndChangesNothing(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t)
		first := database.Migrations{Module: "things", FS: files("00001_a.sql", "CREATE TABLE latchkey_a (id text);")}
		both := database.Migrations{Module: "things", FS: files(
			"00001_a.sql", "CREATE TABLE latchkey_a (id text);",
			"00002_b_too.sql", "CREATE TABLE latchkey_b (id text);")}

		before, err := db.MigrationStatus(t.Context(), both)
		if err != nil {
			t.Fatal(err)
		}
		want := []database.MigrationState{{Module: "things", Version: 1, Name: "a"}, {Module: "things", Version: 2, Name: "b_too"}}
		if fmt.Sprint(before) != fmt.Sprint(want) {
			t.Errorf("before: %v, want %v", before, want)
		}
		if n := tables(t, db); n != 0 {
			t.Errorf("the status made %d tables", n)
		}

		if err := db.Migrate(t.Context(), first); err != nil {
			t.Fatal(err)
		}
		after, err := db.MigrationStatus(t.Context(), both)
		if err != nil {
			t.Fatal(err)
		}
		if ago := time.Since(after[0].AppliedAt); ago < -time.Minute || ago > time.Minute {
			t.Errorf("taken %v ago, want just now", ago)
		}
		if !after[1].AppliedAt.IsZero() {
			t.Error("a pending step is shown as taken")
		}
		if err := db.Migrate(t.Context(), both); err != nil {
			t.Fatal(err)
		}
		wantApplied(t, db, 2, both)
		if n := tables(t, db); n != 3 {
			t.Errorf("%d tables, want latchkey_a, latchkey_b and latchkey_things_migrations", n)
		}
	})
}

func tables(t *testing.T, db *database.DB) (n int) {
	t.Helper()
	query := "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
	if db.Dialect() == database.Postgres {
		query = "SELECT count(*) FROM pg_tables WHERE schemaname = current_schema()"
	}
	if err := db.Conn(t.Context()).QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestFailedStepLeavesTheOnesBeforeItAndNothingOfItself(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t)
		good := "CREATE TABLE latchkey_b (id text);"
		broken := database.Migrations{Module: "things", FS: files(
			"00001_a.sql", "CREATE TABLE latchkey_a (id text);",
			"00002_b.sql", good+" INSERT INTO latchkey_nothing VALUES (1);")}
		if err := db.Migrate(t.Context(), broken); err == nil {
			t.Fatal("no error")
		}
		wantApplied(t, db, 1, broken)
		mended := database.Migrations{Module: "things", FS: files(
			"00001_a.sql", "CREATE TABLE latchkey_a (id text);", "00002_b.sql", good)}
		if err := db.Migrate(t.Context(), mended); err != nil {
			t.Fatal(err)
		}
		wantApplied(t, db, 2, mended)
	})
}

func TestEachDatabaseTakesTheStepsMeantForIt(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, database.Migrations{Module: "things", FS: files(
			"00001_a.sql", "CREATE TABLE latchkey_a (who text, at timestamptz);",
			"00002_b.postgres.sql", "INSERT INTO latchkey_a VALUES ('postgres', now());",
			"00002_b.sqlite.sql", "INSERT INTO latchkey_a VALUES ('sqlite', datetime('now'));",
			"00003_c.postgres.sql", "SELECT pg_sleep(0);",
			"00004_d.sql", "ALTER TABLE latchkey_a ADD COLUMN more text;",
		)}, database.Migrations{Module: "search", FS: files("00001_only.postgres.sql", "SELECT pg_sleep(0);")})
		var who string
		var when time.Time
		if err := db.Conn(t.Context()).QueryRowContext(t.Context(), "SELECT who, at FROM latchkey_a").Scan(&who, &when); err != nil {
			t.Fatal(err)
		}
		if who != string(at.Dialect) {
			t.Errorf("took the step for %s, want %s", who, at.Dialect)
		}
	})
}

func TestMigrationsThatCannotBeReliedOnAreRefused(t *testing.T) {
	const ok = "SELECT 1;"
	tests := []struct {
		name string
		m    []database.Migrations
		want string
	}{
		{"no transaction", []database.Migrations{{Module: "m", FS: files("00001_a.sql", "-- +goose no transaction\n"+ok)}}, "NO TRANSACTION"},
		{"same version", []database.Migrations{{Module: "m", FS: files("00001_a.sql", ok, "00001_b.sql", ok)}}, "same version"},
		{"plain and special", []database.Migrations{{Module: "m", FS: files("00001_a.sql", ok, "00001_a.sqlite.sql", ok)}}, "same version"},
		{"unknown database", []database.Migrations{{Module: "m", FS: files("00001_a.mysql.sql", ok)}}, "not named like"},
		{"no version", []database.Migrations{{Module: "m", FS: files("a.sql", ok)}}, "not named like"},
		{"directory above", []database.Migrations{{Module: "m", FS: files("migrations/00001_a.sql", ok)}}, "fs.Sub"},
		{"module", []database.Migrations{{Module: "a; DROP", FS: files("00001_a.sql", ok)}}, "name a module"},
		{"twice", []database.Migrations{notes, notes}, "twice"},
	}
	db := databasetest.SQLite(t).Open(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := db.Migrate(t.Context(), test.m...)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("error: %v, want one with %q", err, test.want)
			}
			if _, err := db.MigrationStatus(t.Context(), test.m...); err == nil {
				t.Error("the status has no error")
			}
		})
	}
	if n := tables(t, db); n != 0 {
		t.Errorf("%d tables were made", n)
	}
}

func TestMigratingWaitsNoLongerThanItsContext(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t)
		holdMigrationLock(t, at)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		start := time.Now()
		if err := db.Migrate(ctx, notes); err == nil {
			t.Error("did not wait for the other process")
		}
		if took := time.Since(start); took > 2*time.Second {
			t.Errorf("came back after %v, want about 100ms", took)
		}
	})
}

// holdMigrationLock has the database being migrated by somebody else, for the rest of the test.
func holdMigrationLock(t *testing.T, at databasetest.Database) {
	t.Helper()
	if at.Dialect == database.SQLite {
		at.URL += "-migrate"
		if _, err := rawPool(t, at).ExecContext(t.Context(), "BEGIN EXCLUSIVE"); err != nil {
			t.Fatal(err)
		}
		return
	}
	slow := database.Migrations{Module: "slow", FS: files("00001_sleep.sql", "SELECT pg_sleep(60);")}
	other := at.Open(t)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = other.Migrate(ctx, slow) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	for tables(t, other) == 0 { // until it has begun
		time.Sleep(5 * time.Millisecond)
	}
}
