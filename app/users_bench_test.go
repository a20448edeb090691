package app_test

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/benchtest"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

// BenchmarkAdminUsers asks the whole program, in this process and over loopback, by 16 connections, with 100,000 users.
// Beside it stand a bare net/http handler that answers with the same bytes, and the statements that the request runs, on
// the same database with nothing around them.
func BenchmarkAdminUsers(b *testing.B) {
	databasetest.EachBenchmark(b, func(b *testing.B, at databasetest.Database) {
		env := environment(b.TempDir(), at)
		p := assemble(b, env)
		p.populate(b, 100_000)
		token := p.admin(b)
		for _, path := range []string{"/admin/users/me", "/admin/users?limit=50"} {
			b.Run(strings.TrimPrefix(path, "/admin/"), func(b *testing.B) {
				answer := ask(b, p.site.URL(path), token)
				statements := recorded(b, env, path, token)
				bare := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/json; charset=utf-8")
					w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
					w.Write(answer)
				}))
				defer bare.Close()
				costs := benchtest.Interleave(b,
					requests(b, p.site.URL(path), token), requests(b, bare.URL+path, token), replay(b, p.db, statements))
				for i, unit := range []string{"req/s", "bare/s", "sql/s"} {
					b.ReportMetric(float64(time.Second)/float64(costs[i].Wall), unit)
				}
				b.ReportMetric(float64(costs[0].Wall), "ns/op")
				b.ReportMetric(costs[0].Over(costs[1]), "x_bare")
				b.ReportMetric(costs[0].Over(costs[2]), "x_sql")
				b.ReportMetric(float64(len(statements)), "statements")
			})
		}
	})
}

const (
	connections = 16
	httpRound   = 250 * time.Millisecond
)

// assembled is the program, listening, in this process.
type assembled struct {
	db    *database.DB
	users *user.Service
	link  *link.Service
	site  *web.Site
}

// assemble starts the program until the benchmark ends. Its log is written to nowhere.
func assemble(b *testing.B, env []string, more ...fx.Option) (p assembled) {
	b.Helper()
	cfg, err := app.LoadConfig(app.LoadArgs{Environ: env, Dir: b.TempDir()})
	if err != nil {
		b.Fatal(err)
	}
	nowhere := fx.Decorate(fx.Annotate(func(io.Writer) io.Writer { return io.Discard },
		fx.ParamTags(`name:"log"`), fx.ResultTags(`name:"log"`)))
	a := app.New(cfg, append(more, nowhere, fx.Populate(&p.db, &p.users, &p.link, &p.site))...)
	if err := a.Start(b.Context()); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := a.Stop(context.Background()); err != nil {
			b.Error(err)
		}
	})
	return p
}

// populate makes n users, members all.
func (p assembled) populate(b *testing.B, n int) {
	b.Helper()
	drafts := make([]user.Draft, n)
	for i := range drafts {
		first, last := fmt.Sprintf("First%d", i), fmt.Sprintf("Last%d", i%1000)
		drafts[i] = user.Draft{Email: fmt.Sprintf("u%d@example.com", i), FirstName: &first, LastName: &last, Roles: []string{user.RoleMember}}
	}
	if _, err := p.users.CreateUsers(b.Context(), drafts...); err != nil {
		b.Fatal(err)
	}
	if p.db.Dialect() == database.Postgres { // as its daemon does in time
		if _, err := p.db.Conn(b.Context()).ExecContext(b.Context(), "VACUUM ANALYZE"); err != nil {
			b.Fatal(err)
		}
	}
}

// admin makes an admin and returns a token.
func (p assembled) admin(b *testing.B) string {
	b.Helper()
	in := auth.Input(`{"email":"admin@example.com","password":"correct horse"}`)
	if _, err := p.link.CreateUser(b.Context(), "emailpass", in, user.Draft{Email: "admin@example.com", Roles: []string{user.RoleAdmin}}); err != nil {
		b.Fatal(err)
	}
	l, err := p.link.SignIn(b.Context(), "user", "emailpass", in, auth.Client{})
	if err != nil {
		b.Fatal(err)
	}
	return l.Token
}

// ask makes one request and returns the answer's body.
func ask(b *testing.B, url, token string) []byte {
	b.Helper()
	req, err := http.NewRequest("GET", url, nil)
	if err != nil {
		b.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer rsp.Body.Close()
	body, err := io.ReadAll(rsp.Body)
	if err != nil || rsp.StatusCode != http.StatusOK {
		b.Fatalf("%s: %d %s %v", url, rsp.StatusCode, body, err)
	}
	return body
}

// requests makes GET requests over connections of its own. The client does no more than it must: what it costs is part
// of every rate.
func requests(b *testing.B, url, token string) benchtest.Subject {
	b.Helper()
	host, path, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	request := fmt.Appendf(nil, "GET /%s HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", path, host, token)
	conns := make([]net.Conn, connections)
	readers := make([]*bufio.Reader, connections)
	for i := range conns {
		conn, err := net.Dial("tcp", host)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { conn.Close() })
		conns[i], readers[i] = conn, bufio.NewReaderSize(conn, 64<<10)
	}
	return benchtest.Subject{Round: httpRound, Do: shared(b, func(worker int) error {
		if _, err := conns[worker].Write(request); err != nil {
			return err
		}
		return readAnswer(readers[worker])
	})}
}

// readAnswer reads one answer to its end, which Content-Length must tell.
func readAnswer(r *bufio.Reader) error {
	status, err := r.ReadSlice('\n')
	if err != nil || !bytes.HasPrefix(status, []byte("HTTP/1.1 200 ")) {
		return fmt.Errorf("status %q, %v", status, err)
	}
	length := -1
	for {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return err
		}
		if value, ok := bytes.CutPrefix(line, []byte("Content-Length: ")); ok {
			if length, err = strconv.Atoi(string(bytes.TrimSpace(value))); err != nil {
				return err
			}
		}
		if len(bytes.TrimSpace(line)) == 0 {
			break
		}
	}
	if length <= 0 {
		return fmt.Errorf("an answer of length %d", length)
	}
	_, err = r.Discard(length)
	return err
}

// shared has as many workers as there are connections do it n times in all.
func shared(b *testing.B, once func(worker int) error) func(n int) {
	return func(n int) {
		var left atomic.Int64
		left.Store(int64(n))
		var wg sync.WaitGroup
		for worker := range connections {
			wg.Go(func() {
				for left.Add(-1) >= 0 {
					if err := once(worker); err != nil {
						b.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	}
}

// recorded are the statements that a request runs whose token was seen within the second, as another program on the same
// database tells.
func recorded(b *testing.B, env []string, path, token string) []string {
	b.Helper()
	r := new(recorder)
	p := assemble(b, env, fx.Decorate(func(db *database.DB) *database.DB {
		reads := db.Conn(b.Context()).(*bun.DB).WithQueryHook(r)
		return database.New(reads, reads, nil)
	}))
	ask(b, p.site.URL(path), token)
	r.take()
	ask(b, p.site.URL(path), token)
	statements := r.take()
	if len(statements) == 0 {
		b.Fatalf("%s runs no statement", path)
	}
	return statements
}

// recorder keeps the statements of requests.
type recorder struct {
	mu   sync.Mutex
	seen []string
}

func (r *recorder) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context { return ctx }

func (r *recorder) AfterQuery(ctx context.Context, e *bun.QueryEvent) {
	if web.RequestID(ctx) == "" {
		return // something else that the program does
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, e.Query)
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen := r.seen
	r.seen = nil
	return seen
}

// replay runs the statements of one request after the other, by as many workers as there are connections to the program,
// and reads their rows without looking at them.
func replay(b *testing.B, db *database.DB, statements []string) benchtest.Subject {
	b.Helper()
	pool := db.Conn(b.Context()).(*bun.DB).DB
	return benchtest.Subject{Round: httpRound, Do: shared(b, func(int) error {
		for _, s := range statements {
			if err := readRows(b.Context(), pool, s); err != nil {
				return err
			}
		}
		return nil
	})}
}

func readRows(ctx context.Context, pool *sql.DB, statement string) error {
	rows, err := pool.QueryContext(ctx, statement)
	if err != nil {
		return err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return err
	}
	into := make([]any, len(columns))
	for i := range into {
		into[i] = new(sql.RawBytes)
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
	}
	return rows.Err()
}
