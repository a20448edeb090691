package user_test

import (
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/kernel/benchtest"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

// The size of what these benchmarks ask.
const (
	millionUsers    = 1_000_000
	hundredkInvites = 100_000
)

// BenchmarkMillion asks the user module about a million users and a hundred thousand invites. Beside it stand the bare
// statements that anybody would write for the same, on the same database.
func BenchmarkMillion(b *testing.B) {
	databasetest.EachBenchmark(b, func(b *testing.B, at databasetest.Database) {
		m := newMillion(b, at)
		b.Run("first page, counted", m.firstPage)
		b.Run("first page of invites, counted", m.firstInvites)
		b.Run("by id", m.byID)
		b.Run("by email", m.byEmail)
		b.Run("list by email", m.listByEmail)
		for _, order := range []string{"id", "-id", "email", "-created_at", "last_name", "-updated_at"} {
			b.Run("at 900,000 by "+order, func(b *testing.B) { m.deepPage(b, order) })
		}
		b.Run("invites at 72,000", m.deepInvites)
		b.Run("search", m.search)
		b.Run("search of invites", m.searchInvites)
	})
}

// million is the service over all those rows.
type million struct {
	*user.Service
	db   *database.DB
	pool *sql.DB
}

func newMillion(b *testing.B, at databasetest.Database) million {
	b.Helper()
	// The rows come first: an index over all of them is made more quickly than it grows. So does the migration of a
	// database that has as many, whose time this is.
	db := at.Open(b, before(b, "00002"))
	start := time.Now()
	seed(b, db, millionUsers, hundredkInvites)
	seeded := time.Since(start)
	start = time.Now()
	check(b, db.Migrate(b.Context(), user.Migrations()))
	b.Logf("%s: rows written in %.1f s, migration of search in %.1f s", at.Dialect, seeded.Seconds(), time.Since(start).Seconds())
	settle(b, db)
	s := must(user.New(user.Params{DB: db, Keys: ring(b, secret('a'))}))(b)
	return million{s, db, db.Conn(b.Context()).(*bun.DB).DB}
}

// compare measures what the module does beside what the statements cost, and reports both and the ratio.
func (m million) compare(b *testing.B, do func(ctx context.Context) error, bare func() []string) {
	b.Helper()
	const round = 50 * time.Millisecond
	again := func(once func() error) func(int) {
		return func(n int) {
			for range n {
				if err := once(); err != nil {
					b.Fatal(err)
				}
			}
		}
	}
	costs := benchtest.Interleave(b,
		benchtest.Subject{Round: round, Do: again(func() error { return do(b.Context()) })},
		benchtest.Subject{Round: round, Do: again(func() error {
			for _, s := range bare() {
				if err := m.read(b.Context(), s); err != nil {
					return err
				}
			}
			return nil
		})})
	report(b, "ms", costs[0])
	report(b, "sql_ms", costs[1])
	b.ReportMetric(costs[0].Over(costs[1]), "x_sql")
	b.ReportMetric(0, "ns/op")
}

func report(b *testing.B, unit string, c benchtest.Cost) {
	b.ReportMetric(float64(c.Wall)/float64(time.Millisecond), unit)
}

// read runs a statement and takes every column of every row as the type it has.
func (m million) read(ctx context.Context, statement string) error {
	rows, err := m.pool.QueryContext(ctx, statement)
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
		into[i] = new(any)
	}
	for rows.Next() {
		if err := rows.Scan(into...); err != nil {
			return err
		}
	}
	return rows.Err()
}

func (m million) firstPage(b *testing.B) {
	m.compare(b, func(ctx context.Context) error {
		users, n, err := m.ListAndCountUsers(ctx, user.Filter{}, user.Page{})
		return wantFound(err, len(users) == user.DefaultLimit && n == millionUsers-millionUsers/50)
	}, func() []string {
		return []string{
			"SELECT * FROM latchkey_user WHERE deleted_at IS NULL ORDER BY id LIMIT 50",
			"SELECT count(*) FROM latchkey_user WHERE deleted_at IS NULL",
		}
	})
}

func (m million) firstInvites(b *testing.B) {
	m.compare(b, func(ctx context.Context) error {
		invites, n, err := m.ListAndCountInvites(ctx, user.InviteFilter{}, user.Page{})
		return wantFound(err, len(invites) == user.DefaultLimit && n == hundredkInvites-hundredkInvites/5)
	}, func() []string {
		return []string{
			"SELECT * FROM latchkey_invite WHERE deleted_at IS NULL AND NOT accepted AND email IS NOT NULL ORDER BY id LIMIT 50",
			"SELECT count(*) FROM latchkey_invite WHERE deleted_at IS NULL AND NOT accepted AND email IS NOT NULL",
		}
	})
}

// wantFound is the error, or another if what was asked for was not found.
func wantFound(err error, found bool) error {
	if err == nil && !found {
		return fmt.Errorf("the benchmark did not find what it asked for")
	}
	return err
}

// people are users who are not deleted, anywhere.
func (m million) people(b *testing.B, n int) []user.User {
	b.Helper()
	c := rand.New(rand.NewPCG(3, 4))
	var ids []user.ID
	for len(ids) < n {
		if i := c.IntN(millionUsers); i%50 != 49 {
			ids = append(ids, user.ID(seedID("user", i)))
		}
	}
	users := make([]user.User, n)
	for i, id := range ids {
		users[i] = must(m.RetrieveUser(b.Context(), id))(b)
	}
	return users
}

const bareUser = "SELECT u.*, r.role FROM latchkey_user u LEFT JOIN latchkey_user_role r ON r.user_id = u.id WHERE u.deleted_at IS NULL AND "

func (m million) byID(b *testing.B) {
	people := m.people(b, 500)
	i, j := 0, 0
	m.compare(b, func(ctx context.Context) error {
		i++
		_, err := m.RetrieveUser(ctx, people[i%len(people)].ID)
		return err
	}, func() []string {
		j++
		return []string{bareUser + "u.id = '" + string(people[j%len(people)].ID) + "'"}
	})
}

func (m million) byEmail(b *testing.B) {
	people := m.people(b, 500)
	i, j := 0, 0
	m.compare(b, func(ctx context.Context) error {
		i++
		_, err := m.FindUser(ctx, people[i%len(people)].Email)
		return err
	}, func() []string {
		j++
		return []string{bareUser + "u.email = '" + people[j%len(people)].Email + "'"}
	})
}

func (m million) listByEmail(b *testing.B) {
	people := m.people(b, 500)
	i, j := 0, 0
	m.compare(b, func(ctx context.Context) error {
		i++
		users, n, err := m.ListAndCountUsers(ctx, user.Filter{Emails: []string{people[i%len(people)].Email}}, user.Page{})
		return wantFound(err, len(users) == 1 && n == 1)
	}, func() []string {
		j++
		u := people[j%len(people)]
		return []string{
			"SELECT * FROM latchkey_user WHERE deleted_at IS NULL AND email = '" + u.Email + "' ORDER BY id LIMIT 50",
			"SELECT * FROM latchkey_user_role WHERE user_id = '" + string(u.ID) + "'",
			"SELECT count(*) FROM latchkey_user WHERE deleted_at IS NULL AND email = '" + u.Email + "'",
		}
	})
}

// deepPage compares the page by place behind 900,000 users with the first one, and with the same by offset.
func (m million) deepPage(b *testing.B, order string) {
	first := user.Page{Order: order}
	before := must(m.ListUsers(b.Context(), user.Filter{}, user.Page{Order: order, Limit: 1, Offset: 900_000 - 1}))(b)
	m.pages(b, func(ctx context.Context, p user.Page) (int, error) {
		users, err := m.ListUsers(ctx, user.Filter{}, p)
		return len(users), err
	}, first, first.AfterUser(before[0]), user.Page{Order: order, Offset: 900_000})
}

func (m million) deepInvites(b *testing.B) {
	f := user.InviteFilter{}
	before := must(m.ListInvites(b.Context(), f, user.Page{Limit: 1, Offset: 72_000 - 1}))(b)
	m.pages(b, func(ctx context.Context, p user.Page) (int, error) {
		invites, err := m.ListInvites(ctx, f, p)
		return len(invites), err
	}, user.Page{}, user.Page{}.AfterInvite(before[0]), user.Page{Offset: 72_000})
}

func (m million) pages(b *testing.B, list func(context.Context, user.Page) (int, error), first, deep, offset user.Page) {
	b.Helper()
	subject := func(p user.Page) benchtest.Subject {
		return benchtest.Subject{Round: 50 * time.Millisecond, Do: func(n int) {
			for range n {
				if n, err := list(b.Context(), p); err != nil || n != user.DefaultLimit {
					b.Fatalf("a page of %d, %v", n, err)
				}
			}
		}}
	}
	costs := benchtest.Interleave(b, subject(first), subject(deep), subject(offset))
	report(b, "first_ms", costs[0])
	report(b, "deep_ms", costs[1])
	report(b, "offset_ms", costs[2])
	b.ReportMetric(costs[1].Over(costs[0]), "x_first")
	b.ReportMetric(0, "ns/op")
}

// searches are what people type who look for somebody: three letters, the beginning of a name or all of it, first and last
// name, a part of an address or all of it, and what nobody has.
func (m million) searches(b *testing.B) (all []string) {
	b.Helper()
	letters := func(s string, n int) string { return string([]rune(s)[:min(n, len([]rune(s)))]) }
	for i, u := range m.people(b, 36) {
		if u.FirstName == nil {
			all = append(all, "nobody")
			continue
		}
		local, domain, _ := strings.Cut(u.Email, "@")
		all = append(all, []string{
			letters(*u.LastName, 3), letters(*u.LastName, 5), *u.LastName, *u.FirstName + " " + *u.LastName,
			letters(*u.FirstName, 3) + " " + letters(*u.LastName, 4), *u.FirstName, local, u.Email, local[len(local)-5:] + "@" + domain[:3],
		}[i%9])
	}
	return all
}

func (m million) search(b *testing.B) {
	m.eachSearch(b, m.searches(b), func(ctx context.Context, q string) (int, int, error) {
		users, n, err := m.ListAndCountUsers(ctx, user.Filter{Q: q}, user.Page{})
		return len(users), n, err
	})
}

func (m million) searchInvites(b *testing.B) {
	var all []string
	for _, q := range m.searches(b) {
		if word, _, _ := strings.Cut(q, " "); len([]rune(word)) >= 3 {
			all = append(all, word)
		}
	}
	m.eachSearch(b, all, func(ctx context.Context, q string) (int, int, error) {
		invites, n, err := m.ListAndCountInvites(ctx, user.InviteFilter{Q: q}, user.Page{})
		return len(invites), n, err
	})
}

// eachSearch measures every search, its first page with the count, and reports the spread.
func (m million) eachSearch(b *testing.B, all []string, find func(context.Context, string) (page, n int, err error)) {
	b.Helper()
	subjects := make([]benchtest.Subject, len(all))
	for i, q := range all {
		subjects[i] = benchtest.Subject{Round: 20 * time.Millisecond, Do: func(n int) {
			for range n {
				if _, _, err := find(b.Context(), q); err != nil {
					b.Fatal(err)
				}
			}
		}}
	}
	costs := benchtest.Interleave(b, subjects...)
	took := make([]float64, len(all))
	for i, q := range all {
		_, n, err := find(b.Context(), q)
		check(b, err)
		took[i] = float64(costs[i].Wall) / float64(time.Millisecond)
		b.Logf("%9.2f ms  %7d found  %s", took[i], n, q)
	}
	slices.Sort(took)
	b.ReportMetric(took[len(took)/2], "median_ms")
	b.ReportMetric(took[len(took)*9/10], "p90_ms")
	b.ReportMetric(took[len(took)-1], "max_ms")
	b.ReportMetric(0, "ns/op")
}
