package postgres_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/database/postgres"
)

func TestMain(m *testing.M) { databasetest.Main(m) }

func TestNoErrorRepeatsThePassword(t *testing.T) {
	const secret = "s3cr3t/pa%ss w:rd"
	quoted := url.QueryEscape(secret)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	for _, at := range []string{
		"postgres://me:" + quoted + "@127.0.0.1:1/db",
		"postgres://me:" + quoted + "@127.0.0.1:1/db?sslmode=sometimes",
		"postgres://me:" + quoted + "@127.0.0.1:port/db",
		"postgres://me:" + secret + "@127.0.0.1/db",
		"postgres://127.0.0.1:1/db?user=me&password=" + quoted + "&sslmode=sometimes",
		"postgres://127.0.0.1:1/db?user=me&password=" + quoted,
		"host=127.0.0.1 port=one user=me password='" + secret + "'",
		"host=127.0.0.1 port=1 user=me password='" + secret + "'",
	} {
		db, err := postgres.Open(ctx, at, 2, nil)
		if err == nil {
			_ = db.Close()
			t.Errorf("%s was opened", at)
			continue
		}
		for _, s := range []string{secret, quoted, "s3cr3t"} {
			if strings.Contains(err.Error(), s) {
				t.Errorf("%s: %v", at, err)
			}
		}
	}
}

func TestSaysWhereItCouldNotConnect(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := postgres.Open(ctx, "postgres://me@127.0.0.1:1/things", 2, nil)
	for _, want := range []string{"127.0.0.1:1", "things", "me"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error: %v, want %q in it", err, want)
		}
	}
}

// The place is that which is connected to, whatever says which that is, and nothing of it is a password.
func TestThePlaceIsWhereItConnects(t *testing.T) {
	t.Setenv("PGHOST", "/var/run/elsewhere")
	t.Setenv("PGPORT", "6432")
	t.Setenv("PGDATABASE", "things")
	for at, want := range map[string]string{
		"postgres://u:hunter2@h/db":                          "h:6432/db",
		"postgres://u:hunter2@h:1/db?search_path=s":          "h:1/db",
		"postgres://u:hunter2@[::1]:1/db":                    "[::1]:1/db",
		"postgres://u:hunter2@h1:1,h2:2/db":                  "h1:1,h2:2/db",
		"postgres:///db?user=u&password=hunter2":             "/var/run/elsewhere/db",
		"postgres://u:hunter2@h:1/":                          "h:1/things",
		"postgres://u:hunter2@h:1/db?host=/tmp/s&dbname=two": "/tmp/s/two",
		"postgres://u:hunter2@h:1/db?sslmode=sometimes":      "",
	} {
		got, err := postgres.Place(at)
		if got != want || (err == nil) != (want != "") || strings.Contains(fmt.Sprint(got, err), "hunter2") {
			t.Errorf("%s: %q, %v, want %q", at, got, err, want)
		}
	}
}

func TestGivesUpOnAServerThatDoesNotStart(t *testing.T) {
	start := time.Now()
	_, err := postgres.Open(t.Context(), "postgres://me@127.0.0.1:1/things", 2, nil)
	if err == nil {
		t.Error("no error")
	}
	if took := time.Since(start); took < 3*time.Second || took > 8*time.Second {
		t.Errorf("gave up after %v, want about 5s", took)
	}
}

// A relay that is not there yet stands for a server that is starting.
func TestWaitsForAServerThatIsStarting(t *testing.T) {
	at, err := url.Parse(databasetest.Postgres(t).URL)
	if err != nil {
		t.Fatal(err)
	}
	query := at.Query()
	network, target := "unix", query.Get("host")+"/.s.PGSQL."+query.Get("port")
	if query.Get("host") == "" {
		network, target = "tcp", at.Host
	}

	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := free.Addr().String()
	free.Close()

	var wg sync.WaitGroup
	var relay net.Listener
	time.AfterFunc(time.Second, func() {
		relay, err = net.Listen("tcp", address)
		wg.Done()
	})
	wg.Add(1)
	go func() {
		wg.Wait()
		if err != nil {
			return
		}
		for {
			from, err := relay.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial(network, target)
			if err != nil {
				from.Close()
				return
			}
			go copyAndClose(to, from)
			go copyAndClose(from, to)
		}
	}()

	query.Del("host")
	query.Del("port")
	at.Host, at.RawQuery = address, query.Encode()
	db, openErr := postgres.Open(t.Context(), at.String(), 2, nil)
	wg.Wait()
	if err != nil {
		t.Skip(err)
	}
	defer relay.Close()
	if openErr != nil {
		t.Fatal(openErr)
	}
	if err := db.Close(); err != nil {
		t.Error(err)
	}
}

func TestOneConnectionIsTooFew(t *testing.T) {
	if _, err := postgres.Open(t.Context(), "postgres://me@127.0.0.1:1/things", 1, nil); err == nil || !strings.Contains(err.Error(), "at least 2") {
		t.Errorf("error: %v", err)
	}
}

func TestPoolKeepsToItsLimit(t *testing.T) {
	at := databasetest.Postgres(t)
	db, err := postgres.Open(t.Context(), at.URL, 3, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var mu sync.Mutex
	now, most := 0, 0
	var wg sync.WaitGroup
	for range 12 {
		wg.Go(func() {
			err := db.InTx(t.Context(), func(ctx context.Context) error {
				mu.Lock()
				now++
				most = max(most, now)
				mu.Unlock()
				_, err := db.Conn(ctx).ExecContext(ctx, "SELECT pg_sleep(0.02)")
				mu.Lock()
				now--
				mu.Unlock()
				return err
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if most != 3 {
		t.Errorf("%d at once, want 3", most)
	}
}

func copyAndClose(to, from net.Conn) {
	_, _ = io.Copy(to, from)
	to.Close()
}

func TestABackslashStandsForItselfWhateverTheServerWasSetTo(t *testing.T) {
	at := databasetest.Postgres(t)
	u, err := url.Parse(at.URL)
	if err != nil {
		t.Fatal(err)
	}
	q := u.Query()
	q.Set("options", "-c standard_conforming_strings=off")
	q.Add("standard_conforming_strings", "off")
	u.RawQuery = strings.ReplaceAll(q.Encode(), "+", "%20")
	db, err := postgres.Open(t.Context(), u.String(), 2, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	const sent = `\', (SELECT 1)) --`
	var got string
	if err := db.Conn(t.Context()).NewRaw("SELECT ?", sent).Scan(t.Context(), &got); err != nil || got != sent {
		t.Errorf("%q, %v, want %q", got, err, sent)
	}
}
