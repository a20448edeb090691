package databasetest_test

import (
	"bufio"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

func TestMain(m *testing.M) { databasetest.Main(m) }

func TestEachTestHasADatabaseOfItsOwn(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, one databasetest.Database) {
		two := one
		t.Run("another", func(t *testing.T) {
			databasetest.Each(t, func(_ *testing.T, other databasetest.Database) {
				if other.Dialect == one.Dialect {
					two = other
				}
			})
		})
		if one.URL == two.URL {
			t.Errorf("both are %s", one.URL)
		}
		db := one.Open(t)
		err := db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := db.Conn(ctx).ExecContext(ctx, "CREATE TABLE mine (id text)")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestSchemaIsGoneAfterTheTest(t *testing.T) {
	var at databasetest.Database
	if !t.Run("test", func(t *testing.T) { at = databasetest.Postgres(t) }) || at.URL == "" {
		t.Skip("no PostgreSQL")
	}
	u, err := url.Parse(at.URL)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := pgx.Connect(t.Context(), at.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(context.Background())
	var n int
	err = conn.QueryRow(t.Context(), "SELECT count(*) FROM pg_namespace WHERE nspname = $1", u.Query().Get("search_path")).Scan(&n)
	if err != nil || n != 0 {
		t.Errorf("%d schemas, %v; want none", n, err)
	}
}

const child = "LATCHKEY_TEST_KILLED_CHILD"

// TestServerEndsWithAKilledProcess starts this test again as a process of its own and kills that.
func TestServerEndsWithAKilledProcess(t *testing.T) {
	if os.Getenv(child) != "" {
		fmt.Println(child, databasetest.Postgres(t).URL)
		time.Sleep(time.Minute)
	}
	if runtime.GOOS == "windows" {
		t.Skip("there, only databasetest.Main ends it")
	}
	if os.Getenv("LATCHKEY_TEST_POSTGRES_URL") != "" {
		t.Skip("the server was there before")
	}
	databasetest.Postgres(t) // or skip

	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), child+"=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var at string
	for lines := bufio.NewScanner(out); at == "" && lines.Scan(); {
		if _, found, ok := strings.Cut(lines.Text(), child+" "); ok {
			at = found
		}
	}
	if at == "" {
		t.Fatal("the child came to no server")
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()

	u, err := url.Parse(at)
	if err != nil {
		t.Fatal(err)
	}
	dir := u.Query().Get("host")
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		if _, err := os.Stat(dir); os.IsNotExist(err) {
			break // the last thing to go
		}
		if time.Since(start) > 20*time.Second {
			t.Fatalf("%s is still there", dir)
		}
	}
	if conn, err := pgx.Connect(t.Context(), at); err == nil {
		_ = conn.Close(t.Context())
		t.Error("the server still answers")
	}
}
