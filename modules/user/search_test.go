package user_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io/fs"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

// bits are what names and searches are made of: letters that fall together, what patterns and full-text queries are
// written with, and what is written in several bytes.
var bits = []string{"a", "b", "A", "B", "ab", "bab", "é", "É", "ß", "ſ", "K", "İ", "日", "本", "😀", "\uFFFE", "\uFFFD", "%", "_", "!", "\\", "'", `"`, `""`, "*", "^", "-", "+", ":", "(", ")",
	"AND", "OR", "NOT", "NEAR(", "search", ".", "@", "?", "$1", "{", "\u0301", "\u00a0"}

// word is some bits in a row.
func (c chance) word(most int) string {
	var w strings.Builder
	for range 1 + c.IntN(most) {
		w.WriteString(pick(c, bits...))
	}
	return w.String()
}

// part is a part of a text, of a few letters, maybe in another case.
func (c chance) part(of string) string {
	letters := []rune(of)
	if len(letters) == 0 {
		return ""
	}
	from := c.IntN(len(letters))
	part := string(letters[from:min(len(letters), from+1+c.IntN(7))])
	return pick(c, part, part, strings.ToUpper(part), strings.ToLower(part))
}

func TestSearchFindsWhatAPlainLoopFinds(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		c := newChance(t)
		name := func() *string {
			if c.of(4) {
				return nil
			}
			return new(c.word(6) + pick(c, "", " ", "  ") + c.word(3))
		}
		live := map[user.ID]user.User{}
		gone := map[user.ID]user.User{}
		for step := range 300 {
			var u user.User
			for _, u = range live { // any
				break
			}
			switch what := c.IntN(10); {
			case what < 5 || len(live) < 5:
				d := user.Draft{FirstName: name(), LastName: name()}
				if c.of(2) {
					d.Email = fmt.Sprintf("%s%d@bab.example", pick(c, "ab", "a.b", "a_b", "a'b"), step)
				}
				u = must(b.CreateUsers(t.Context(), d))(t)[0]
				live[u.ID] = u
			case what < 7:
				up := user.Update{ID: u.ID, LastName: user.Clear[string]()}
				if n := name(); n != nil {
					up.FirstName = user.Set(*n)
				}
				live[u.ID] = must(b.UpdateUsers(t.Context(), up))(t)[0]
			case what < 8:
				check(t, b.DeleteUsers(t.Context(), u.ID))
				delete(live, u.ID)
			case what < 9:
				check(t, b.SoftDeleteUsers(t.Context(), u.ID))
				gone[u.ID] = u
				delete(live, u.ID)
			default:
				for id, u := range gone {
					check(t, b.RestoreUsers(t.Context(), id))
					live[id] = u
					delete(gone, id)
					break
				}
			}
			if step%3 != 0 {
				continue
			}
			for range 5 {
				of := text(u.FirstName) + " " + u.Email + " " + text(u.LastName)
				q := pick(c, c.word(4), c.part(of), c.part(of), c.part(of)+" "+c.part(of), c.part(of)+" "+c.word(1))
				f := user.Filter{Q: q, WithDeleted: c.of(2)}
				if c.of(4) {
					f = user.Filter{Or: []user.Filter{{Q: q}, {Q: c.part(of)}}, WithDeleted: f.WithDeleted}
				}
				var want []user.ID
				for _, all := range []map[user.ID]user.User{live, gone} {
					for id, u := range all {
						_, there := live[id]
						if (there || f.WithDeleted) && userMatches(f, u) {
							want = append(want, id)
						}
					}
				}
				slices.Sort(want)
				got, n, err := b.ListAndCountUsers(t.Context(), f, user.Page{Limit: 1000})
				if err != nil || !slices.Equal(userIDs(got), want) || n != len(want) {
					t.Fatalf("step %d: %+q finds %d users (%v), in all %d; a loop %d", step, f.Q, len(got), err, n, len(want))
				}
			}
		}
	})
}

func TestSearchOfInvitesFindsWhatAPlainLoopFinds(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		c := newChance(t)
		var all []user.Invite
		for n := range 60 {
			all = append(all, b.invite(t, fmt.Sprintf("%s%d.%s@%s.example", pick(c, "ab", "bab", "a_b", "a'b", "a%b"), n, pick(c, "x", "aba", "b+b"), pick(c, "bab", "abab"))))
		}
		for range 100 {
			q := c.part(pick(c, all...).Email)
			if c.of(3) {
				q += " " + c.part(pick(c, all...).Email)
			}
			var want []user.InviteID
			for _, i := range all {
				if finds(q, i.Email) {
					want = append(want, i.ID)
				}
			}
			slices.Sort(want)
			got, n, err := b.ListAndCountInvites(t.Context(), user.InviteFilter{Q: q}, user.Page{Limit: 1000})
			if err != nil || !slices.Equal(inviteIDs(got), want) || n != len(want) {
				t.Fatalf("%+q finds %d invites (%v), in all %d; a loop %d", q, len(got), err, n, len(want))
			}
			if c.of(10) && len(all) > 30 {
				check(t, b.DeleteInvites(t.Context(), all[0].ID))
				all = all[1:]
			}
		}
	})
}

// before are the migrations of users up to a version.
func before(t testing.TB, version string) database.Migrations {
	t.Helper()
	m := user.Migrations()
	old := fstest.MapFS{}
	for _, file := range must(fs.Glob(m.FS, "*.sql"))(t) {
		if file < version {
			old[file] = &fstest.MapFile{Data: must(fs.ReadFile(m.FS, file))(t)}
		}
	}
	m.FS = old
	return m
}

func TestMigrationMakesTheUsersWhoAreThereFound(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		b := bench{db: at.Open(t, before(t, "00002"))}
		b.said = &recorder{t: t, db: b.db}
		b.Service = b.with(t, user.Options{}, secret('a'))
		ada := must(b.CreateUsers(t.Context(), user.Draft{Email: "ada@example.com", FirstName: new("Adélaïde")}, user.Draft{Email: "bob@example.com"}, user.Draft{}))(t)[0]
		for i, address := range []any{"eve@example.com", "dan@example.com", nil} { // as the program of that time wrote them
			check(t, b.db.InTx(t.Context(), func(ctx context.Context) error {
				now := database.Now()
				_, err := b.db.Conn(ctx).NewRaw(`INSERT INTO latchkey_invite (id, email, roles, accepted, nonce, issued_at, expires_at, created_at, updated_at)
					VALUES (?, ?, '["admin"]', FALSE, ?, ?, ?, ?, ?)`, fmt.Sprintf("invite_01ARZ3NDEKTSV4RRFFQ69G5FA%d", i), address, fmt.Sprint("nonce ", i),
					now, now.Add(time.Hour), now, now).Exec(ctx)
				return err
			}))
		}
		check(t, b.db.Migrate(t.Context(), user.Migrations()))
		users, n, err := b.ListAndCountUsers(t.Context(), user.Filter{Q: "ÉLAÏ"}, user.Page{})
		if err != nil || !slices.Equal(userIDs(users), []user.ID{ada.ID}) || n != 1 {
			t.Errorf("found %q, in all %d, %v; want %s", userIDs(users), n, err, ada.ID)
		}
		invites, n, err := b.ListAndCountInvites(t.Context(), user.InviteFilter{Q: "eve"}, user.Page{})
		if err != nil || !slices.Equal(inviteEmails(invites), []string{"eve@example.com"}) || n != 1 {
			t.Errorf("found %q, in all %d, %v; want eve@example.com", inviteEmails(invites), n, err)
		}
		// They are kept in step from now on.
		must(b.UpdateUsers(t.Context(), user.Update{ID: ada.ID, FirstName: user.Set("Grace")}))(t)
		if n := len(must(b.ListUsers(t.Context(), user.Filter{Q: "ÉLAÏ"}, user.Page{}))(t)); n != 0 {
			t.Errorf("a name of before finds %d users", n)
		}
		check(t, b.DeleteUsers(t.Context(), ada.ID))
		if n := len(must(b.ListUsers(t.Context(), user.Filter{Q: "grace", WithDeleted: true}, user.Page{}))(t)); n != 0 {
			t.Errorf("who was deleted is found %d times", n)
		}
		if missing := must(b.MissingIndexes(t.Context()))(t); missing != nil {
			t.Errorf("after the migration, %q are missing", missing)
		}
	})
}

// restricted is a database of its own, without extensions, and a role that may make none in it.
type restricted struct {
	super, owner databasetest.Database // the same schema
	role         string
}

func newRestricted(t *testing.T) (r restricted) {
	t.Helper()
	at := databasetest.Postgres(t)
	name := "t_" + strings.ToLower(rand.Text())
	open := func(u string) *database.DB { return databasetest.Database{Dialect: database.Postgres, URL: u}.Open(t) }
	server := open(at.URL)
	if _, err := server.Conn(t.Context()).ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		databasetest.SkipLoudly(t, "LATCHKEY_TEST_REQUIRE_POSTGRES", "PostgreSQL where databases can be made", err.Error())
	}
	t.Cleanup(func() {
		// The test's connections to it are closed by now, and the server may not have noticed.
		if _, err := server.Conn(context.Background()).ExecContext(context.Background(), "DROP DATABASE "+name+" WITH (FORCE)"); err != nil {
			t.Error(err)
		}
		if _, err := server.Conn(context.Background()).ExecContext(context.Background(), "DROP ROLE "+name); err != nil {
			t.Error(err)
		}
	})
	statement(t, server, "CREATE ROLE "+name+" LOGIN PASSWORD 'x'")
	u := must(url.Parse(at.URL))(t)
	u.Path = "/" + name
	r.super = databasetest.Database{Dialect: database.Postgres, URL: u.String()}
	super := r.super.Open(t)
	statement(t, super, "CREATE SCHEMA "+u.Query().Get("search_path")+" AUTHORIZATION "+name)
	u.User = url.UserPassword(name, "x")
	r.owner, r.role = databasetest.Database{Dialect: database.Postgres, URL: u.String()}, name
	return r
}

// statement runs one outside a transaction.
func statement(t *testing.T, db *database.DB, sql string) {
	t.Helper()
	_, err := db.Conn(t.Context()).ExecContext(t.Context(), sql)
	check(t, err)
}

func TestSearchWorksWhereItCanHaveNoIndex(t *testing.T) {
	r := newRestricted(t)
	b := bench{db: r.owner.Open(t, user.Migrations())}
	b.said = &recorder{t: t, db: b.db}
	b.Service = b.with(t, user.Options{}, secret('a'))
	b.user(t, "ada@example.com")
	b.user(t, "bob@example.com")
	search := func() {
		t.Helper()
		if got := emails(must(b.ListUsers(t.Context(), user.Filter{Q: "BOB"}, user.Page{}))(t)); !slices.Equal(got, []string{"bob@example.com"}) {
			t.Errorf("bob finds %q", got)
		}
	}
	search()
	missing := must(b.MissingIndexes(t.Context()))(t)
	if len(missing) != 3 || !strings.HasPrefix(missing[0], "CREATE EXTENSION ") {
		t.Fatalf("missing are %q, want an extension and two indexes", missing)
	}
	// Somebody who may runs what it says.
	super := r.super.Open(t)
	for _, s := range missing {
		statement(t, super, s)
	}
	if missing := must(b.MissingIndexes(t.Context()))(t); missing != nil {
		t.Errorf("after all that was missing: %q", missing)
	}
	search()
}

func TestSearchUsesTheExtensionWhereverItIs(t *testing.T) {
	r := newRestricted(t)
	super := r.super.Open(t)
	statement(t, super, `CREATE SCHEMA "some where"`)
	statement(t, super, `CREATE EXTENSION pg_trgm SCHEMA "some where"`)
	statement(t, super, `GRANT USAGE ON SCHEMA "some where" TO `+r.role)
	b := bench{db: r.owner.Open(t, user.Migrations())}
	b.said = &recorder{t: t, db: b.db}
	b.Service = b.with(t, user.Options{}, secret('a'))
	if missing := must(b.MissingIndexes(t.Context()))(t); missing != nil {
		t.Errorf("missing are %q", missing)
	}

	// Where that schema is closed, there is none, and no error.
	statement(t, super, `REVOKE USAGE ON SCHEMA "some where" FROM `+r.role)
	other := r.schema(t, super, r.role)
	closed := bench{db: other.Open(t, user.Migrations())}
	closed.said = &recorder{t: t, db: closed.db}
	closed.Service = closed.with(t, user.Options{}, secret('a'))
	if missing := must(closed.MissingIndexes(t.Context()))(t); len(missing) != 2 || !strings.Contains(missing[0], `"some where".gin_trgm_ops`) {
		t.Errorf("missing are %q, want two indexes", missing)
	}
}

// schema is another one in the database.
func (r restricted) schema(t *testing.T, super *database.DB, owner string) databasetest.Database {
	t.Helper()
	name := "s_" + strings.ToLower(rand.Text())
	statement(t, super, "CREATE SCHEMA "+name+" AUTHORIZATION "+owner)
	u := must(url.Parse(r.owner.URL))(t)
	q := u.Query()
	q.Set("search_path", name)
	u.RawQuery = q.Encode()
	return databasetest.Database{Dialect: database.Postgres, URL: u.String()}
}

// TestSchemasOfOneDatabaseShareTheExtension has many take the migration at once, and one of them go.
func TestSchemasOfOneDatabaseShareTheExtension(t *testing.T) {
	r := newRestricted(t)
	super := r.super.Open(t)
	statement(t, super, "GRANT CREATE ON DATABASE "+r.role+" TO "+r.role) // it may make trusted extensions
	const n = 6
	dbs, errs := make([]*database.DB, n), make([]error, n)
	for i := range dbs {
		dbs[i] = r.schema(t, super, r.role).Open(t)
	}
	var wg sync.WaitGroup
	for i, db := range dbs {
		wg.Go(func() { errs[i] = db.Migrate(t.Context(), user.Migrations()) })
	}
	wg.Wait()
	services := make([]*user.Service, n)
	for i, db := range dbs {
		if errs[i] != nil {
			t.Fatalf("migration %d of %d at once: %v", i, n, errs[i])
		}
		services[i] = must(user.New(user.Params{DB: db, Keys: ring(t, secret('a'))}))(t)
	}
	for i, s := range services {
		if missing := must(s.MissingIndexes(t.Context()))(t); missing != nil {
			t.Errorf("after %d schemas of %d were dropped, another misses %q", i, n, missing)
		}
		var schema string
		check(t, dbs[i].Conn(t.Context()).NewRaw("SELECT current_schema()").Scan(t.Context(), &schema))
		statement(t, super, "DROP SCHEMA "+schema+" CASCADE")
	}
}
