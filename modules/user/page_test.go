package user_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

var userOrders = []string{"", "id", "-id", "email", "-email", "first_name", "-first_name", "last_name", "-last_name",
	"created_at", "-created_at", "updated_at", "-updated_at", "deleted_at", "-deleted_at"}

var inviteOrders = []string{"", "id", "-id", "email", "-email", "accepted", "-accepted", "expires_at", "-expires_at",
	"created_at", "-created_at", "updated_at", "-updated_at", "deleted_at", "-deleted_at"}

// paged reads a list page by page, each after the last row of the one before. What happens between pages is then's.
func paged[T any](t *testing.T, p user.Page, list func(user.Page) ([]T, error), after func(user.Page, T) user.Page, then func(page []T)) (all []T) {
	t.Helper()
	for range 1000 {
		page := must(list(p))(t)
		if len(page) > p.Limit {
			t.Fatalf("a page by %q has %d rows, want at most %d", p.Order, len(page), p.Limit)
		}
		all = append(all, page...)
		if then != nil {
			then(page)
		}
		if len(page) < p.Limit {
			return all
		}
		p = after(p, page[len(page)-1])
	}
	t.Fatalf("the pages by %q do not end", p.Order)
	return nil
}

func (b bench) pagedUsers(t *testing.T, f user.Filter, p user.Page, then func([]user.User)) []user.User {
	t.Helper()
	return paged(t, p, func(p user.Page) ([]user.User, error) { return b.ListUsers(t.Context(), f, p) }, user.Page.AfterUser, then)
}

func (b bench) pagedInvites(t *testing.T, f user.InviteFilter, p user.Page) []user.Invite {
	t.Helper()
	return paged(t, p, func(p user.Page) ([]user.Invite, error) { return b.ListInvites(t.Context(), f, p) }, user.Page.AfterInvite, nil)
}

// crowd makes users of whom many are equal in what lists are ordered by, or have nothing there.
func (b bench) crowd(t *testing.T, c chance, n int) {
	t.Helper()
	check(t, b.db.InTx(t.Context(), func(ctx context.Context) error {
		for _, address := range numbered(n) {
			d := user.Draft{Email: address, FirstName: pick(c, names...), LastName: pick(c, names...)}
			if c.of(4) {
				d.Email = ""
			}
			var deleted time.Time
			if c.of(3) {
				deleted = c.moment()
			}
			b.stamp(ctx, t, "user", string(must(b.CreateUsers(ctx, d))(t)[0].ID), c.moment(), c.moment(), deleted)
		}
		return nil
	}))
}

func TestPagesBehindEachOtherAreTheList(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		c := newChance(t)
		b.crowd(t, c, 60)
		for _, order := range userOrders {
			for _, f := range []user.Filter{{}, {WithDeleted: true}, {Q: "a"}, {Or: []user.Filter{{FirstName: new("Ada")}, {LastName: new("")}}}} {
				want := userIDs(must(b.ListUsers(t.Context(), f, user.Page{Limit: 100, Order: order}))(t))
				for _, limit := range []int{1, 2, 7, 60} {
					if got := userIDs(b.pagedUsers(t, f, user.Page{Limit: limit, Order: order}, nil)); !slices.Equal(got, want) {
						t.Errorf("pages of %d by %q of %+v:\n%q, want\n%q", limit, order, f, got, want)
					}
				}
			}
		}
	})
}

func TestPagesOfInvitesBehindEachOtherAreTheList(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		c := newChance(t)
		check(t, b.db.InTx(t.Context(), func(ctx context.Context) error {
			for _, address := range numbered(40) {
				i := must(b.CreateInvites(ctx, user.InviteDraft{Email: address}))(t)[0]
				if c.of(3) {
					must(b.UpdateInvites(ctx, user.InviteUpdate{ID: i.ID, Accepted: user.Set(true)}))(t)
				}
				var deleted time.Time
				if c.of(3) {
					deleted = c.moment()
				}
				b.stamp(ctx, t, "invite", string(i.ID), c.moment(), c.moment(), deleted)
				_, err := b.db.Conn(ctx).NewUpdate().Table("latchkey_invite").Set("expires_at = ?", c.moment()).Where("id = ?", i.ID).Exec(ctx)
				check(t, err)
			}
			return nil
		}))
		for _, order := range inviteOrders {
			for _, f := range []user.InviteFilter{{}, {Accepted: true}, {WithDeleted: true}, {Accepted: true, WithDeleted: true}} {
				want := inviteIDs(must(b.ListInvites(t.Context(), f, user.Page{Limit: 100, Order: order}))(t))
				for _, limit := range []int{1, 3, 40} {
					if got := inviteIDs(b.pagedInvites(t, f, user.Page{Limit: limit, Order: order})); !slices.Equal(got, want) {
						t.Errorf("pages of %d by %q of %+v:\n%q, want\n%q", limit, order, f, got, want)
					}
				}
			}
		}
	})
}

func TestWhoComesAndGoesBetweenPagesMovesNobodyElse(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		c := newChance(t)
		b.crowd(t, c, 40)
		for _, order := range userOrders {
			stayed := map[user.ID]bool{}
			for _, u := range must(b.ListUsers(t.Context(), user.Filter{}, user.Page{Limit: 1000}))(t) {
				stayed[u.ID] = true
			}
			var came, gone []user.ID
			got := b.pagedUsers(t, user.Filter{}, user.Page{Limit: 3, Order: order}, func(page []user.User) {
				if len(page) < 3 {
					return
				}
				// The one that the next page begins behind goes, in either way, and others come before and behind it.
				last := page[2].ID
				if c.of(2) {
					check(t, b.DeleteUsers(t.Context(), last))
				} else {
					check(t, b.SoftDeleteUsers(t.Context(), last))
				}
				gone = append(gone, last)
				if len(came) < 20 {
					for range 2 {
						u := must(b.CreateUsers(t.Context(), user.Draft{FirstName: pick(c, names...), LastName: pick(c, names...)}))(t)[0]
						came = append(came, u.ID)
					}
				}
			})
			seen := map[user.ID]int{}
			for _, u := range got {
				if seen[u.ID]++; seen[u.ID] > 1 {
					t.Errorf("by %q: %s comes twice", order, u.ID)
				}
				if !stayed[u.ID] && !slices.Contains(came, u.ID) {
					t.Errorf("by %q: %s was never there", order, u.ID)
				}
			}
			for id := range stayed {
				if seen[id] == 0 {
					t.Errorf("by %q: %s was there all the time, and on no page", order, id)
				}
			}
			if len(gone) < 5 {
				t.Errorf("by %q: only %d users went", order, len(gone))
			}
		}
	})
}

// cursor is one made of parts, which a caller may change as they like.
func cursor(parts ...string) string {
	return base64.RawURLEncoding.EncodeToString([]byte(strings.Join(parts, "\x00")))
}

func TestCursorThatIsNoneIsRefused(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		u, i := b.user(t, "ada@example.com"), b.invite(t, "bob@example.com")
		id := string(u.ID)
		byEmail := user.Page{Order: "email"}.AfterUser(u).After
		for name, p := range map[string]user.Page{
			"nonsense":             {After: "nonsense"},
			"a user":               {After: id},
			"a number":             {After: "50"},
			"no base64":            {After: "%%%"},
			"with padding":         {After: user.Page{}.AfterUser(u).After + "="},
			"with line breaks":     {After: byEmail[:8] + "\n" + byEmail[8:], Order: "email"},
			"cut short":            {After: byEmail[:len(byEmail)-2], Order: "email"},
			"endless":              {After: strings.Repeat("a", 1<<20)},
			"another version":      {After: cursor("2", "user", "id", "", id)},
			"another list":         {After: user.Page{}.AfterInvite(i).After},
			"another order":        {After: byEmail, Order: "first_name"},
			"the other direction":  {After: byEmail, Order: "-email"},
			"no order":             {After: byEmail},
			"an order of its own":  {After: cursor("1", "user", "search", "=x", id), Order: "search"},
			"too few parts":        {After: cursor("1", "user", "id", id)},
			"too many parts":       {After: cursor("1", "user", "id", "", id, "")},
			"no id":                {After: cursor("1", "user", "id", "", "")},
			"an id that is none":   {After: cursor("1", "user", "id", "", "' OR ''='")},
			"an invite's id":       {After: cursor("1", "user", "id", "", string(i.ID))},
			"a value with the id":  {After: cursor("1", "user", "id", "=x", id)},
			"no text":              {After: cursor("1", "user", "email", "=\xff", id), Order: "email"},
			"no mark of a value":   {After: cursor("1", "user", "email", "x", id), Order: "email"},
			"no time":              {After: cursor("1", "user", "created_at", "=2020-01-01", id), Order: "created_at"},
			"no time at all":       {After: cursor("1", "user", "created_at", "", id), Order: "created_at"},
			"a time like a script": {After: cursor("1", "user", "created_at", "=1); DROP TABLE latchkey_user; --", id), Order: "created_at"},
			"too early":            {After: cursor("1", "user", "created_at", "=-9223372036854775808", id), Order: "created_at"},
			"too late":             {After: cursor("1", "user", "created_at", "=9223372036854775807", id), Order: "created_at"},
			"beyond all":           {After: cursor("1", "user", "created_at", "=9223372036854775808", id), Order: "created_at"},
		} {
			_, err := b.ListUsers(t.Context(), user.Filter{}, p)
			want := user.ErrCursor
			if p.Order == "search" {
				want = user.ErrOrder
			}
			wantErr(t, name, err, want)
			p.Limit = user.CountOnly
			_, _, err = b.ListAndCountUsers(t.Context(), user.Filter{}, p)
			wantErr(t, name+", to count", err, want)
		}
		for name, after := range map[string]string{
			"no truth": cursor("1", "invite", "accepted", "=maybe", string(i.ID)), "no truth at all": cursor("1", "invite", "accepted", "", string(i.ID)),
			"of a user": cursor("1", "invite", "accepted", "=true", id), "a user's": cursor("1", "user", "accepted", "=true", id),
		} {
			_, err := b.ListInvites(t.Context(), user.InviteFilter{}, user.Page{After: after, Order: "accepted"})
			wantErr(t, "invites, "+name, err, user.ErrCursor)
		}
		p := user.Page{}.AfterUser(u)
		p.Offset = 1
		_, err := b.ListUsers(t.Context(), user.Filter{}, p)
		wantErr(t, "with an offset", err, user.ErrQuery)
		if p := (user.Page{Order: "nope", Offset: 3}).AfterUser(u); p.After != "" {
			t.Errorf("an unknown order has the cursor %q", p.After)
		}
	})
}

func TestCursorsTakeWhateverTextsThereAre(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		long := strings.Repeat("z", 1024)
		for _, name := range []string{"' OR 1=1 --", `"; DROP TABLE latchkey_user; --`, `\'); SELECT 1; --`, "?", "??", "=", "", "\x01\u2028\U0001F600", "NULL", long} {
			must(b.CreateUsers(t.Context(), user.Draft{FirstName: new(name)}))(t)
		}
		for _, order := range []string{"first_name", "-first_name"} {
			want := userIDs(must(b.ListUsers(t.Context(), user.Filter{}, user.Page{Order: order}))(t))
			if got := userIDs(b.pagedUsers(t, user.Filter{}, user.Page{Limit: 1, Order: order}, nil)); !slices.Equal(got, want) || len(got) != 10 {
				t.Errorf("by %s: %q, want %q", order, got, want)
			}
		}
		u := must(b.ListUsers(t.Context(), user.Filter{FirstName: &long}, user.Page{}))(t)[0]
		if after := (user.Page{Order: "first_name"}).AfterUser(u).After; len(after) > user.MaxCursor || strings.ContainsAny(after, "+/=&?%") {
			t.Errorf("the cursor of a long name has %d bytes, want at most %d that a URL takes as they are: %s", len(after), user.MaxCursor, after)
		}
		// A place need not be anybody's.
		nowhere := user.Page{After: cursor("1", "user", "first_name", "=Q", string(user.NewID())), Order: "first_name"}
		for _, u := range must(b.ListUsers(t.Context(), user.Filter{}, nowhere))(t) {
			if *u.FirstName <= "Q" {
				t.Errorf("behind Q comes %q", *u.FirstName)
			}
		}
	})
}

func TestACursorDoesNotChangeTheCount(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		all := must(b.CreateUsers(t.Context(), drafts(numbered(5)...)...))(t)
		slices.SortFunc(all, func(a, b user.User) int { return strings.Compare(string(a.ID), string(b.ID)) })
		users, n, err := b.ListAndCountUsers(t.Context(), user.Filter{}, user.Page{Limit: 10}.AfterUser(all[2]))
		if err != nil || n != 5 || !slices.Equal(userIDs(users), userIDs(all[3:])) {
			t.Errorf("behind the third: %q, in all %d, %v; want the last two of 5", userIDs(users), n, err)
		}
		if p := (user.Page{Limit: 3, Offset: 7, Order: "-email"}).AfterUser(all[0]); p.Limit != 3 || p.Offset != 0 || p.Order != "-email" {
			t.Errorf("the page behind is %+v", p)
		}
	})
}

// TestCursorsFollowTheCollationOfTheDatabase has texts sorted by the rules of a language, as many servers do.
func TestCursorsFollowTheCollationOfTheDatabase(t *testing.T) {
	at := databasetest.Postgres(t)
	b := bench{db: at.Open(t, user.Migrations())}
	b.said = &recorder{t: t, db: b.db}
	b.Service = b.with(t, user.Options{}, secret('a'))
	err := b.db.InTx(t.Context(), func(ctx context.Context) error {
		_, err := b.db.Conn(ctx).ExecContext(ctx, `ALTER TABLE latchkey_user ALTER first_name TYPE text COLLATE "und-x-icu"`)
		return err
	})
	check(t, err)
	for _, name := range []string{"a", "B", "c", "Ä", "ä", "A", "b", "Z", "é", "e", "f", "E", "_", "a b", "ab", "a-b", "", "ß", "ss"} {
		must(b.CreateUsers(t.Context(), user.Draft{FirstName: new(name)}))(t)
	}
	for _, order := range []string{"first_name", "-first_name"} {
		want := must(b.ListUsers(t.Context(), user.Filter{}, user.Page{Order: order}))(t)
		sorted := slices.IsSortedFunc(want, func(a, b user.User) int { return strings.Compare(*a.FirstName, *b.FirstName) })
		if got := b.pagedUsers(t, user.Filter{}, user.Page{Limit: 1, Order: order}, nil); sorted || !slices.Equal(userIDs(got), userIDs(want)) {
			t.Errorf("by %s: %q, want %q", order, fmt.Sprint(userIDs(got)), fmt.Sprint(userIDs(want)))
		}
	}
}

func TestAPageThatTellsTheCountIsNotCountedAgain(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		must(b.CreateUsers(t.Context(), drafts(numbered(7)...)...))(t)
		must(b.CreateInvites(t.Context(), inviteDrafts(numbered(7)...)...))(t)
		ran := new(queries)
		b.db.Conn(t.Context()).(*bun.DB).AddQueryHook(ran)
		for p, counted := range map[user.Page]bool{
			{}: false, {Limit: 8}: false, {Limit: 7}: true, {Limit: 6}: true, {Limit: 1, Offset: 6}: true, {Limit: 2, Offset: 6}: false, {Offset: 6}: false, {Offset: 7}: true, {Offset: 8}: true,
			{Limit: user.CountOnly}: true, {Limit: user.CountOnly, Offset: 3}: true,
		} {
			for what, list := range map[string]func() (int, error){
				"users": func() (int, error) { _, n, err := b.ListAndCountUsers(t.Context(), user.Filter{}, p); return n, err },
				"invites": func() (int, error) {
					_, n, err := b.ListAndCountInvites(t.Context(), user.InviteFilter{}, p)
					return n, err
				},
			} {
				ran.seen = nil
				n := must(list())(t)
				if asked := strings.Contains(fmt.Sprint(ran.seen), "count(*)"); n != 7 || asked != counted {
					t.Errorf("%s, %+v: %d in all, by counting: %t, want 7, %t", what, p, n, asked, counted)
				}
			}
		}
	})
}
