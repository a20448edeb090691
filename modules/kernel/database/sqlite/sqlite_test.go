package sqlite_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/sqlite"
)

func open(t *testing.T, path string) *database.DB {
	t.Helper()
	db, err := sqlite.Open(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func exec(ctx context.Context, t *testing.T, db *database.DB, statement string) {
	t.Helper()
	err := db.InTx(ctx, func(ctx context.Context) error {
		_, err := db.Conn(ctx).ExecContext(ctx, statement)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestEveryFileIsForItsOwnerOnly(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has other permissions")
	}
	dir := t.TempDir()
	db := open(t, filepath.Join(dir, "x.db"))
	exec(t.Context(), t, db, "CREATE TABLE a (b)")
	all, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 3 {
		t.Errorf("%d files, want the database, its log and the lock at least", len(all))
	}
	for _, entry := range all {
		info, err := entry.Info()
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != 0o600 {
			t.Errorf("%s has mode %o, want 600", entry.Name(), got)
		}
	}
}

func TestSettingsOfBothPools(t *testing.T) {
	db := open(t, filepath.Join(t.TempDir(), "x.db"))
	check := func(ctx context.Context, want map[string]string) {
		for name, want := range want {
			var got string
			if err := db.Conn(ctx).QueryRowContext(ctx, "PRAGMA "+name).Scan(&got); err != nil {
				t.Fatal(err)
			}
			if got != want {
				t.Errorf("%s is %s, want %s", name, got, want)
			}
		}
	}
	check(t.Context(), map[string]string{"journal_mode": "wal", "busy_timeout": "10000", "foreign_keys": "1", "synchronous": "2", "query_only": "1"})
	err := db.InTx(t.Context(), func(ctx context.Context) error {
		check(ctx, map[string]string{"journal_mode": "wal", "busy_timeout": "10000", "foreign_keys": "1", "synchronous": "2", "query_only": "0"})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPathMayHoldAnyCharacter(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "a b%41#é")
	if runtime.GOOS != "windows" {
		dir += "?mode=memory&c=d"
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "x.db")
	exec(t.Context(), t, open(t, path), "CREATE TABLE a (b)")
	if info, err := os.Stat(path); err != nil || info.Mode().Perm()&0o600 != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	exec(t.Context(), t, open(t, path), "INSERT INTO a VALUES (1)")
}

func TestOneFileHasOneLockWhateverItIsCalled(t *testing.T) {
	dir := t.TempDir()
	open(t, filepath.Join(dir, "x.db"))
	if err := os.Symlink(dir, filepath.Join(dir, "link")); err != nil {
		t.Skip(err)
	}
	if err := os.Symlink(filepath.Join(dir, "x.db"), filepath.Join(dir, "y.db")); err != nil {
		t.Skip(err)
	}
	open(t, filepath.Join(dir, "link", "x.db"))
	open(t, filepath.Join(dir, "y.db"))
	locks, _ := filepath.Glob(filepath.Join(dir, "*-migrate"))
	if len(locks) != 1 {
		t.Errorf("locks: %q, want one", locks)
	}
}

func TestManyOpenersOfANewFileAllComeUp(t *testing.T) {
	for round := range 5 {
		path := filepath.Join(t.TempDir(), "x.db")
		var wg sync.WaitGroup
		for range 16 {
			wg.Go(func() {
				db, err := sqlite.Open(t.Context(), path, nil)
				if err != nil {
					t.Errorf("round %d: %v", round, err)
					return
				}
				if err := db.Close(); err != nil {
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		wg.Wait()
	}
}

func TestWhatCannotBeOpenedSaysWhy(t *testing.T) {
	dir := t.TempDir()
	text := filepath.Join(dir, "text")
	if err := os.WriteFile(text, []byte(strings.Repeat("not a database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		"":                                 "no path",
		":memory:":                         "memory is not supported",
		"file::memory:?cache=shared":       "memory is not supported",
		"file:x.db":                        "plain path",
		filepath.Join(dir, "gone", "x.db"): "does not exist",
		text:                               "not a database",
	} {
		db, err := sqlite.Open(t.Context(), path, nil)
		if err == nil {
			t.Errorf("%q was opened", path)
			_ = db.Close()
			continue
		}
		if !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q in it", path, err, want)
		}
	}
	if left, _ := filepath.Glob(":memory:*"); left != nil {
		t.Errorf("made %q", left)
	}
}

func TestTwoOpenersOfOneFileSeeEachOther(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	one, two := open(t, path), open(t, path)
	exec(t.Context(), t, one, "CREATE TABLE a (b)")
	for i := range 20 {
		exec(t.Context(), t, []*database.DB{one, two}[i%2], fmt.Sprintf("INSERT INTO a VALUES (%d)", i))
		for _, db := range []*database.DB{one, two} {
			var n int
			if err := db.Conn(t.Context()).QueryRowContext(t.Context(), "SELECT count(*) FROM a").Scan(&n); err != nil {
				t.Fatal(err)
			}
			if n != i+1 {
				t.Fatalf("%d rows, want %d", n, i+1)
			}
		}
	}
}

func TestOpenedForReadingAloneItReadsWhatOthersWriteAndWritesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "latchkey.db")
	if _, err := sqlite.OpenReadOnly(t.Context(), path, nil); err == nil {
		t.Fatal("a file that is not there was opened")
	}
	if _, err := os.Stat(path); err == nil {
		t.Fatal("it was made")
	}
	write, err := sqlite.Open(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer write.Close()
	run := func(db *database.DB, query string) error {
		return db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := db.Conn(ctx).ExecContext(ctx, query)
			return err
		})
	}
	if err := run(write, "CREATE TABLE seen (n integer)"); err != nil {
		t.Fatal(err)
	}
	read, err := sqlite.OpenReadOnly(t.Context(), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	if err := run(write, "INSERT INTO seen VALUES (1)"); err != nil {
		t.Fatal(err)
	}
	var n int
	if err := read.Conn(t.Context()).NewRaw("SELECT count(*) FROM seen").Scan(t.Context(), &n); err != nil || n != 1 {
		t.Errorf("%d rows, %v", n, err)
	}
	if err := run(read, "INSERT INTO seen VALUES (2)"); err == nil {
		t.Error("it wrote")
	}
}
