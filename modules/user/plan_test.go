package user_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/user"
)

// queries keeps the statements it sees.
type queries struct{ seen []string }

func (q *queries) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context { return ctx }
func (q *queries) AfterQuery(_ context.Context, e *bun.QueryEvent)                    { q.seen = append(q.seen, e.Query) }

// planned is a bench with many users and invites and the statements that it runs.
type planned struct {
	bench
	ran *queries
}

func eachPlanned(t *testing.T, f func(t *testing.T, b planned)) {
	t.Helper()
	each(t, func(t *testing.T, b bench) {
		seed(t, b.db, 8_000, 4_000)
		conn, ok := b.db.Conn(t.Context()).(*bun.DB)
		if !ok {
			t.Fatal("outside a transaction there is another connection than a pool")
		}
		p := planned{b, new(queries)}
		conn.AddQueryHook(p.ran)
		f(t, p)
	})
}

// seededUser is the user of a number.
func (b planned) seededUser(t *testing.T, i int) user.User {
	t.Helper()
	return must(b.RetrieveUser(t.Context(), user.ID(seedID("user", i))))(t)
}

// plan is how the database runs a statement.
func (b planned) plan(t *testing.T, statement string) string {
	t.Helper()
	var rows []map[string]any
	check(t, b.db.InTx(t.Context(), func(ctx context.Context) error {
		explain := "EXPLAIN QUERY PLAN ?"
		if b.db.Dialect() == database.Postgres {
			explain = "EXPLAIN ?"
		}
		return b.db.Conn(ctx).NewRaw(explain, bun.Safe(statement)).Scan(ctx, &rows)
	}))
	var text strings.Builder
	for _, row := range rows {
		if line, ok := row["detail"]; ok {
			fmt.Fprintln(&text, line)
		} else {
			fmt.Fprintln(&text, row["QUERY PLAN"])
		}
	}
	return text.String()
}

// wantPlan checks what the plan of the statement says and does not say.
func (b planned) wantPlan(t *testing.T, name, statement string, wants, not []string) {
	t.Helper()
	plan := b.plan(t, statement)
	for _, want := range wants {
		if !strings.Contains(plan, want) {
			t.Errorf("%s: the plan lacks %q:\n%sof %s", name, want, plan, statement)
		}
	}
	for _, bad := range not {
		if strings.Contains(plan, bad) {
			t.Errorf("%s: the plan has %q:\n%sof %s", name, bad, plan, statement)
		}
	}
}

func TestFiltersByAddressAndIDUseTheIndex(t *testing.T) {
	eachPlanned(t, func(t *testing.T, b planned) {
		ada, bob := b.seededUser(t, 4_000), b.seededUser(t, 4_001)
		address := user.Filter{Emails: []string{ada.Email, bob.Email}}
		for name, f := range map[string]user.Filter{
			"address": address, "id": {IDs: []user.ID{ada.ID}}, "inside": {And: []user.Filter{{Or: []user.Filter{address}}}}, "with others": {Emails: address.Emails, Q: "exa", FirstName: ada.FirstName},
			"with the deleted": {Emails: address.Emails, WithDeleted: true},
		} {
			b.ran.seen = nil
			if found := must(b.ListUsers(t.Context(), f, user.Page{}))(t); len(found) == 0 {
				t.Errorf("%s finds nobody", name)
			}
			list := b.ran.seen[0]
			b.ran.seen = nil
			_, _, err := b.ListAndCountUsers(t.Context(), f, user.Page{Limit: user.CountOnly})
			check(t, err)
			used := "SEARCH u USING"
			if b.db.Dialect() == database.Postgres {
				used = "Index Cond"
			}
			b.wantPlan(t, name, list, []string{used}, []string{"Seq Scan", "SCAN u"})
			b.wantPlan(t, name+", counted", b.ran.seen[0], []string{used}, []string{"Seq Scan", "SCAN u"})
		}
	})
}

func TestFiltersOfInvitesByAddressUseTheIndex(t *testing.T) {
	eachPlanned(t, func(t *testing.T, b planned) {
		for name, f := range map[string]user.InviteFilter{
			"open": {}, "pending": {Status: user.StatusPending}, "accepted": {Accepted: true}, "with the deleted": {WithDeleted: true},
		} {
			f.Emails = []string{must(b.RetrieveInvite(t.Context(), user.InviteID(seedID("invite", 2_000))))(t).Email}
			b.ran.seen = nil
			must(b.ListInvites(t.Context(), f, user.Page{}))(t)
			used := "SEARCH i USING"
			if b.db.Dialect() == database.Postgres {
				used = "Index Cond"
			}
			b.wantPlan(t, name, b.ran.seen[0], []string{used}, []string{"Seq Scan", "SCAN i"})
		}
	})
}

func TestListsAndSearchesUseTheirIndexes(t *testing.T) {
	eachPlanned(t, func(t *testing.T, b planned) {
		const byID, scan = "SEARCH u USING INDEX sqlite_autoindex_latchkey_user_1", "SCAN t VIRTUAL TABLE INDEX"
		middle := b.seededUser(t, 4_000)
		for name, c := range map[string]struct {
			f                user.Filter
			p                user.Page
			sqlite, postgres []string // what the plan says; nil: it is not fast there, and need not be
		}{
			"the first":          {sqlite: []string{"SCAN u USING INDEX sqlite_autoindex_latchkey_user_1"}, postgres: []string{"Index Scan using latchkey_user_pkey"}},
			"the last":           {p: user.Page{Order: "-id"}, sqlite: []string{"SCAN u USING INDEX sqlite_autoindex_latchkey_user_1"}, postgres: []string{"Index Scan Backward using latchkey_user_pkey"}},
			"behind one":         {p: user.Page{}.AfterUser(middle), sqlite: []string{byID + " (id>?)"}, postgres: []string{"using latchkey_user_pkey", "Index Cond: (id > "}},
			"before one":         {p: user.Page{Order: "-id"}.AfterUser(middle), sqlite: []string{byID + " (id<?)"}, postgres: []string{"using latchkey_user_pkey", "Index Cond: (id < "}},
			"by address":         {p: user.Page{Order: "email"}, sqlite: []string{"USING INDEX latchkey_user_email"}, postgres: []string{"using latchkey_user_email"}},
			"by address, behind": {p: user.Page{Order: "email"}.AfterUser(middle), sqlite: []string{"SEARCH u USING INDEX latchkey_user_email (email>?)"}, postgres: []string{"using latchkey_user_email", "Index Cond: (email >="}},
			"by address, before": {p: user.Page{Order: "-email"}.AfterUser(middle), sqlite: []string{"SEARCH u USING INDEX latchkey_user_email (email<?)"}, postgres: []string{"using latchkey_user_email", "Index Cond: (email <="}},
			"newest":             {p: user.Page{Order: "-created_at"}, sqlite: []string{"SCAN u USING INDEX latchkey_user_created_at"}, postgres: []string{"Index Scan Backward using latchkey_user_created_at"}},
			"newest, behind": {p: user.Page{Order: "-created_at"}.AfterUser(middle), sqlite: []string{"SEARCH u USING INDEX latchkey_user_created_at ((created_at,id)<(?,?))"},
				postgres: []string{"using latchkey_user_created_at", "Index Cond: (ROW(created_at, id) <"}},
			"by name":               {p: user.Page{Order: "last_name"}, sqlite: []string{"SCAN u USING INDEX latchkey_user_last_name"}},
			"by name, behind":       {p: user.Page{Order: "-first_name"}.AfterUser(middle), sqlite: []string{"SEARCH u USING INDEX latchkey_user_first_name ((first_name,id)<(?,?))"}},
			"by change, behind":     {p: user.Page{Order: "updated_at"}.AfterUser(middle), sqlite: []string{"SEARCH u USING INDEX latchkey_user_updated_at ((updated_at,id)>(?,?))"}},
			"word":                  {f: user.Filter{Q: "777@"}, sqlite: []string{byID + " (id=?)", scan}, postgres: []string{"Bitmap Index Scan on latchkey_user_trigram"}},
			"words":                 {f: user.Filter{Q: "maria kel exam"}, sqlite: []string{byID + " (id=?)", scan}, postgres: []string{"Bitmap Index Scan on latchkey_user_trigram"}},
			"word and short":        {f: user.Filter{Q: "777@ e"}, sqlite: []string{byID + " (id=?)", scan}, postgres: []string{"Bitmap Index Scan on latchkey_user_trigram"}},
			"word, newest":          {f: user.Filter{Q: "777@"}, p: user.Page{Order: "-created_at"}, sqlite: []string{byID + " (id=?)", scan}, postgres: []string{"Bitmap Index Scan on latchkey_user_trigram"}},
			"word, by name":         {f: user.Filter{Q: "777@"}, p: user.Page{Order: "last_name"}, sqlite: []string{byID + " (id=?)", scan}, postgres: []string{"Bitmap Index Scan on latchkey_user_trigram"}},
			"word, behind":          {f: user.Filter{Q: "777@"}, p: user.Page{}.AfterUser(middle), sqlite: []string{byID + " (id=?)", scan}, postgres: []string{"Bitmap Index Scan on latchkey_user_trigram"}},
			"word, deleted too":     {f: user.Filter{Q: "777@", WithDeleted: true}, sqlite: []string{byID + " (id=?)", scan}, postgres: []string{"Bitmap Index Scan on latchkey_user_trigram"}},
			"role":                  {f: user.Filter{Roles: []string{"admin"}}, sqlite: []string{byID + " (id=?)", "USING INDEX latchkey_user_role_role"}, postgres: []string{"latchkey_user_role_role", "latchkey_user_pkey"}},
			"deactivated":           {f: user.Filter{Status: user.StatusDeactivated}, sqlite: []string{"USING INDEX latchkey_user_deactivated_at"}, postgres: []string{"latchkey_user_deactivated_at"}},
			"deactivated, newest":   {f: user.Filter{Status: user.StatusDeactivated}, p: user.Page{Order: "-created_at"}, sqlite: []string{"USING INDEX latchkey_user_deactivated_at"}, postgres: []string{"latchkey_user_deactivated_at"}},
			"deleted, newest":       {f: user.Filter{Status: user.StatusDeleted, WithDeleted: true}, p: user.Page{Order: "-created_at"}, sqlite: []string{"USING INDEX latchkey_user_deleted_at"}},
			"active by address":     {f: user.Filter{Status: user.StatusActive}, p: user.Page{Order: "email"}, sqlite: []string{"USING INDEX latchkey_user_email"}, postgres: []string{"using latchkey_user_email"}},
			"role of many":          {f: user.Filter{Roles: []string{"member"}}, p: user.Page{Order: "-created_at"}, sqlite: []string{"USING INDEX latchkey_user_created_at", "sqlite_autoindex_latchkey_user_role_1 (user_id=? AND role=?)"}},
			"role of many, address": {f: user.Filter{Roles: []string{"member"}}, p: user.Page{Order: "email"}, sqlite: []string{"USING INDEX latchkey_user_email", "sqlite_autoindex_latchkey_user_role_1 (user_id=? AND role=?)"}},
			"word of many":          {f: user.Filter{Q: "example"}, p: user.Page{Order: "-created_at"}, sqlite: []string{"SCAN u USING INDEX latchkey_user_created_at"}},
			"word of many, address": {f: user.Filter{Q: "example", Roles: []string{"member"}}, p: user.Page{Order: "email"}, sqlite: []string{"SCAN u USING INDEX latchkey_user_email", "latchkey_user_role_1 (user_id=? AND role=?)"}},
			"word of many, a role":  {f: user.Filter{Q: "example", Roles: []string{"admin"}}, p: user.Page{Order: "email"}, sqlite: []string{byID + " (id=?)", "USING INDEX latchkey_user_role_role"}},
			"short word, address":   {f: user.Filter{Q: "e"}, p: user.Page{Order: "email"}, sqlite: []string{"SCAN u USING INDEX latchkey_user_email"}},
			"deleted since": {f: user.Filter{WithDeleted: true, DeletedAt: user.Times{From: seeded.AddDate(0, 0, 1)}}, sqlite: []string{"USING INDEX latchkey_user_deleted_at (deleted_at>?)"},
				postgres: []string{"latchkey_user_deleted_at"}},
		} {
			b.ran.seen = nil
			_, err := b.ListUsers(t.Context(), c.f, c.p)
			check(t, err)
			wants, not := c.sqlite, []string{"SCAN u\n"}
			if !strings.Contains(name, "address") && c.f.Q == "" && c.f.Roles == nil && !c.f.WithDeleted && c.f.Status == "" {
				not = append(not, "TEMP B-TREE")
			}
			if b.db.Dialect() == database.Postgres {
				if wants, not = c.postgres, []string{"Seq Scan"}; c.postgres == nil {
					continue
				}
			}
			list := b.ran.seen[slices.IndexFunc(b.ran.seen, func(s string) bool { return strings.Contains(s, `FROM "latchkey_user" AS "u"`) })] // of a role, it is counted first
			b.wantPlan(t, name, list, wants, not)
			if strings.HasPrefix(name, "word") && !strings.HasPrefix(name, "word of many") {
				b.ran.seen = nil
				_, _, err := b.ListAndCountUsers(t.Context(), c.f, user.Page{Limit: user.CountOnly})
				check(t, err)
				b.wantPlan(t, name+", counted", b.ran.seen[0], wants, not)
			}
		}

		// What has no index is looked for in the table as it lies, and not by way of one that leads everywhere.
		b.ran.seen = nil
		_, _, err := b.ListAndCountUsers(t.Context(), user.Filter{Q: "x"}, user.Page{Limit: user.CountOnly})
		check(t, err)
		b.wantPlan(t, "short word, counted", b.ran.seen[0], nil, []string{"latchkey_user_email"})

		b.ran.seen = nil
		_, _, err = b.ListAndCountInvites(t.Context(), user.InviteFilter{Q: "777@"}, user.Page{})
		check(t, err)
		wants := []string{"SEARCH i USING INDEX sqlite_autoindex_latchkey_invite_1 (id=?)", scan}
		if b.db.Dialect() == database.Postgres {
			wants = []string{"Bitmap Index Scan on latchkey_invite_trigram"}
		}
		b.wantPlan(t, "word of an invite", b.ran.seen[0], wants, []string{"Seq Scan", "SCAN i"})

		b.ran.seen = nil
		_, n, err := b.ListAndCountInvites(t.Context(), user.InviteFilter{}, user.Page{})
		if check(t, err); n == 0 {
			t.Error("there is no invite")
		}
		list, count := []string{"SCAN i USING INDEX sqlite_autoindex_latchkey_invite_1"}, []string{"USING INDEX latchkey_invite_email"}
		if b.db.Dialect() == database.Postgres {
			list, count = []string{"using latchkey_invite_pkey"}, nil
		}
		b.wantPlan(t, "invites", b.ran.seen[0], list, []string{"TEMP B-TREE", "Sort", "Seq Scan"})
		b.wantPlan(t, "invites, counted", b.ran.seen[1], count, nil)
	})
}

// What many have is looked for in another way: what is found is the same.
func TestWhatManyHaveIsFoundAsByALoop(t *testing.T) {
	eachPlanned(t, func(t *testing.T, b planned) {
		if err := b.DeactivateUsers(t.Context(), b.seededUser(t, 4_000).ID); err != nil {
			t.Fatal(err)
		}
		for _, order := range []string{"", "-created_at", "email", "-last_name"} {
			everybody := must(b.ListUsers(t.Context(), user.Filter{WithDeleted: true}, user.Page{Order: order, Limit: 8_000}))(t)
			for _, f := range []user.Filter{
				{Roles: []string{"member"}}, {Roles: []string{"member", "nobody"}, WithDeleted: true}, {Roles: []string{"member"}, Status: user.StatusActive}, {Q: "example"}, {Q: "example", Status: user.StatusActive},
				{Q: "example maria"}, {Q: "EXAMPLE e"}, {Q: "e"}, {Q: "e", Roles: []string{"member"}}, {Q: "example", Roles: []string{"member"}, WithDeleted: true}, {Q: "example", Roles: []string{"admin"}}, {Q: "e", Roles: []string{"admin"}},
				{Q: "exa.mple"}, {Q: "example", Roles: []string{"nobody"}}, {Q: "example", LastName: everybody[0].LastName}, {Q: "example", Roles: []string{}}, {Q: "example", Status: user.StatusDeactivated}, {Q: "example", Status: user.StatusDeleted},
			} {
				status := func(u user.User) user.Status {
					switch {
					case !u.DeletedAt.IsZero():
						return user.StatusDeleted
					case !u.DeactivatedAt.IsZero():
						return user.StatusDeactivated
					}
					return user.StatusActive
				}
				var want []user.ID
				for _, u := range everybody {
					if (f.Status == "" && (f.WithDeleted || u.DeletedAt.IsZero()) || f.Status == status(u)) && userMatches(f, u) && len(want) < 60 {
						want = append(want, u.ID)
					}
				}
				if got := must(b.ListUsers(t.Context(), f, user.Page{Order: order, Limit: 60}))(t); !slices.Equal(userIDs(got), want) {
					t.Errorf("%+v by %q: %d users, a loop finds %d", f, order, len(got), len(want))
				}
			}
		}
	})
}
