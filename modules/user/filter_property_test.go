package user_test

import (
	"context"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/user"
)

// chance makes what the property tests try. The seed is printed, and LATCHKEY_TEST_SEED repeats it.
type chance struct {
	*rand.Rand
	moments []time.Time // that rows have, and their neighbours
}

func newChance(t *testing.T) chance {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	if text := os.Getenv("LATCHKEY_TEST_SEED"); text != "" {
		seed = must(strconv.ParseUint(text, 10, 64))(t)
	}
	t.Logf("LATCHKEY_TEST_SEED=%d", seed)
	return chance{Rand: rand.New(rand.NewPCG(seed, 0))}
}

func (c chance) of(n int) bool { return c.IntN(n) == 0 }

func pick[T any](c chance, of ...T) T { return of[c.IntN(len(of))] }

// some are a few of them, maybe none, maybe one twice.
func some[T any](c chance, of []T) []T {
	out := make([]T, c.IntN(4))
	for i := range out {
		out[i] = pick(c, of...)
	}
	return out
}

// moment is a time as rows have it: many are equal or differ little, so that edges are met; some print without a
// fraction, which as text is another length.
func (c chance) moment() time.Time {
	t := time.Date(2026, 1, 31, 23, 59, 59, 0, time.UTC).Add(time.Duration(c.IntN(4)) * 500 * time.Millisecond)
	t = t.Add(time.Duration(pick(c, 0, 0, 1, 120, 999, 1000, 1001)) * time.Microsecond)
	return t.AddDate(pick(c, 0, 0, 0, -1999, -50, 2000), 0, 0)
}

// edge is a time near those of the rows: at it, a bit beside it, in another zone, or none.
func (c chance) edge() time.Time {
	if c.of(6) {
		return time.Time{}
	}
	t := pick(c, c.moments...).Add(time.Duration(pick(c, 0, 0, 0, 1, -1, 999, 1000, -1000, 1_000_000, 500_000_000)))
	switch {
	case c.of(3):
		t = t.Truncate(time.Millisecond)
	case c.of(9):
		t = pick(c, time.Time{}.Add(-1), time.Date(-300, 1, 1, 0, 0, 0, 0, time.UTC), time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC))
	}
	return t.In(pick(c, time.UTC, time.FixedZone("", 5*60*60+30*60), time.FixedZone("", -8*60*60)))
}

func (c chance) span() user.Span {
	if c.of(3) {
		return user.At(pick(c, c.moments...))
	}
	return user.Span{From: c.edge(), Until: c.edge()}
}

func (c chance) times() (t user.Times) {
	if c.of(2) {
		t.From = c.edge()
	}
	if c.of(2) {
		t.Until = c.edge()
	}
	if c.of(3) {
		t.In = []user.Span{}
		for range c.IntN(4) {
			t.In = append(t.In, c.span())
		}
	}
	for range c.IntN(3) {
		t.NotIn = append(t.NotIn, c.span())
	}
	return t
}

// matches says in Go what the lists say in SQL.
func matches(t user.Times, at time.Time) bool {
	if t.From.IsZero() && t.Until.IsZero() && t.In == nil && len(t.NotIn) == 0 {
		return true
	}
	within := func(s user.Span) bool {
		return (s.From.IsZero() || !at.Before(s.From)) && (s.Until.IsZero() || at.Before(s.Until))
	}
	return !at.IsZero() && within(user.Span{From: t.From, Until: t.Until}) &&
		(t.In == nil || slices.ContainsFunc(t.In, within)) && !slices.ContainsFunc(t.NotIn, within)
}

func every[T any](of []T, f func(T) bool) bool {
	return !slices.ContainsFunc(of, func(v T) bool { return !f(v) })
}

// finds reports whether every word of q occurs in one of the texts.
func finds(q string, in ...string) bool {
	return every(strings.Fields(q), func(word string) bool {
		return slices.ContainsFunc(in, func(text string) bool { return strings.Contains(strings.ToLower(text), strings.ToLower(word)) })
	})
}

var (
	names = []*string{nil, new(""), new("Ada"), new("ada"), new("Ünal"), new("100% _x"), new("O'Hara ?"), new(`back\slash`)}
	words = []string{"", "ada", "ADA", "ünal", "%", "_", "x 100", "?", `\`, "'", "u0001", "example.com", "nobody"}
	roles = []string{"admin", "member", "writer"}
)

func (c chance) filter(rows []user.User, depth int) (f user.Filter) {
	for range 1 + c.IntN(2) {
		switch c.IntN(9) {
		case 0:
			f.Q = pick(c, words...)
		case 1:
			f.IDs = some(c, userIDs(rows))
		case 2:
			f.Emails = some(c, append(emails(rows), "U0002@EXAMPLE.com", "nonsense"))
		case 3:
			f.FirstName = pick(c, names...)
		case 4:
			f.LastName = pick(c, names...)
		case 5:
			f.Roles = some(c, append(roles, "nobody"))
		case 6:
			f.CreatedAt = c.times()
		case 7:
			f.UpdatedAt = c.times()
		case 8:
			f.DeletedAt = c.times()
		}
	}
	f.WithDeleted = c.of(2)
	if depth > 0 {
		if c.of(2) {
			for range c.IntN(4) {
				f.And = append(f.And, c.filter(rows, depth-1))
			}
		}
		if c.of(2) {
			f.Or = []user.Filter{}
			for range c.IntN(5) {
				f.Or = append(f.Or, c.filter(rows, depth-1))
			}
		}
	}
	if c.of(8) {
		f = user.Filter{And: f.And, Or: f.Or}
	}
	return f
}

// size is how many conditions a filter has, as its bound counts them.
func size(f user.Filter) (n int) {
	for _, set := range []bool{f.IDs != nil, f.Emails != nil, f.FirstName != nil, f.LastName != nil, f.Roles != nil} {
		if set {
			n++
		}
	}
	for _, t := range []user.Times{f.CreatedAt, f.UpdatedAt, f.DeletedAt} {
		if n += len(t.In) + len(t.NotIn); !t.From.IsZero() || !t.Until.IsZero() {
			n++
		}
		if t.In != nil && len(t.In) == 0 {
			n++
		}
	}
	for _, m := range slices.Concat(f.And, f.Or) {
		n += 1 + size(m)
	}
	return n
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func equals(want, got *string) bool { return want == nil || got != nil && *got == *want }

func userMatches(f user.Filter, u user.User) bool {
	isTheirs := func(address string) bool { return u.Email != "" && strings.EqualFold(address, u.Email) }
	this := func(f user.Filter) bool { return userMatches(f, u) }
	return finds(f.Q, u.Email, text(u.FirstName), text(u.LastName)) &&
		(f.IDs == nil || slices.Contains(f.IDs, u.ID)) && (f.Emails == nil || slices.ContainsFunc(f.Emails, isTheirs)) &&
		equals(f.FirstName, u.FirstName) && equals(f.LastName, u.LastName) && (f.Roles == nil || slices.ContainsFunc(f.Roles, u.HasRole)) &&
		matches(f.CreatedAt, u.CreatedAt) && matches(f.UpdatedAt, u.UpdatedAt) && matches(f.DeletedAt, u.DeletedAt) &&
		every(f.And, this) && (f.Or == nil || slices.ContainsFunc(f.Or, this))
}

// wantTelling fails if next to all filters found nothing or everything: then agreement means little.
func wantTelling(t *testing.T, telling, of int) {
	t.Helper()
	if telling < of/10 {
		t.Errorf("%d of %d filters tell rows apart", telling, of)
	}
}

// asked is how many words a filter looks for, at most.
func asked(f user.Filter) (n int) {
	n = len(strings.Fields(f.Q))
	for _, m := range slices.Concat(f.And, f.Or) {
		n += asked(m)
	}
	return n
}

func TestRandomFiltersFindWhatAPlainLoopFinds(t *testing.T) {
	c := newChance(t)
	rows := make([]user.User, 60)
	for i, address := range numbered(len(rows)) {
		u := user.User{ID: user.NewID(), FirstName: pick(c, names...), LastName: pick(c, names...), Roles: slices.DeleteFunc(slices.Clone(roles), func(string) bool { return c.of(2) }),
			CreatedAt: c.moment(), UpdatedAt: c.moment()}
		if !c.of(10) {
			u.Email = address
		}
		if c.of(3) {
			u.DeletedAt = c.moment()
		}
		c.moments = append(c.moments, u.CreatedAt, u.UpdatedAt)
		rows[i] = u
	}
	slices.SortFunc(rows, func(a, b user.User) int { return strings.Compare(string(a.ID), string(b.ID)) })
	filters := make([]user.Filter, 250)
	for i := range filters {
		for again := true; again; again = size(filters[i]) > user.MaxConditions || asked(filters[i]) > user.MaxWords {
			filters[i] = c.filter(rows, i%4)
		}
	}

	each(t, func(t *testing.T, b bench) {
		check(t, b.db.InTx(t.Context(), func(ctx context.Context) error {
			for _, u := range rows {
				must(b.CreateUsers(ctx, user.Draft{ID: u.ID, Email: u.Email, FirstName: u.FirstName, LastName: u.LastName, Roles: u.Roles}))(t)
				b.stamp(ctx, t, "user", string(u.ID), u.CreatedAt, u.UpdatedAt, u.DeletedAt)
			}
			return nil
		}))
		telling := 0
		for i, f := range filters {
			var want []user.ID
			for _, u := range rows {
				if (f.WithDeleted || u.DeletedAt.IsZero()) && userMatches(f, u) {
					want = append(want, u.ID)
				}
			}
			got, n, err := b.ListAndCountUsers(t.Context(), f, user.Page{Limit: len(rows)})
			if err != nil || !slices.Equal(userIDs(got), want) || n != len(want) {
				t.Fatalf("filter %d finds %d users (%v), in all %d; a loop %d\n%+v", i, len(got), err, n, len(want), f)
			}
			if len(want) > 0 && len(want) < len(rows) {
				telling++
			}
		}
		wantTelling(t, telling, len(filters))
	})
}

// stamp sets the times of a row.
func (b bench) stamp(ctx context.Context, t testing.TB, table, id string, created, updated, deleted time.Time) {
	t.Helper()
	_, err := b.db.Conn(ctx).NewUpdate().Table("latchkey_"+table).Where("id = ?", id).
		Set("created_at = ?", created).Set("updated_at = ?", updated).Set("deleted_at = ?", bun.NullZero(deleted)).Exec(ctx)
	check(t, err)
}

func (c chance) inviteFilter(rows []user.Invite, depth int) (f user.InviteFilter) {
	for range 1 + c.IntN(2) {
		switch c.IntN(7) {
		case 0:
			f.Q = pick(c, words...)
		case 1:
			f.IDs = some(c, inviteIDs(rows))
		case 2:
			f.Emails = some(c, append(inviteEmails(rows), "U0002@EXAMPLE.com", "nonsense"))
		case 3:
			f.ExpiresAt = c.times()
		case 4:
			f.CreatedAt = c.times()
		case 5:
			f.UpdatedAt = c.times()
		case 6:
			f.DeletedAt = c.times()
		}
	}
	f.WithDeleted, f.Accepted = c.of(2), c.of(2)
	if depth > 0 {
		for range c.IntN(3) {
			f.And = append(f.And, c.inviteFilter(rows, depth-1))
		}
		if c.of(2) {
			f.And, f.Or = nil, []user.InviteFilter{}
			for range c.IntN(3) {
				f.Or = append(f.Or, c.inviteFilter(rows, depth-1))
			}
		}
	}
	return f
}

func inviteMatches(f user.InviteFilter, i user.Invite) bool {
	this := func(f user.InviteFilter) bool { return inviteMatches(f, i) }
	return finds(f.Q, i.Email) && (f.IDs == nil || slices.Contains(f.IDs, i.ID)) &&
		(f.Emails == nil || slices.ContainsFunc(f.Emails, func(address string) bool { return strings.EqualFold(address, i.Email) })) &&
		matches(f.ExpiresAt, i.ExpiresAt) && matches(f.CreatedAt, i.CreatedAt) && matches(f.UpdatedAt, i.UpdatedAt) && matches(f.DeletedAt, i.DeletedAt) &&
		every(f.And, this) && (f.Or == nil || slices.ContainsFunc(f.Or, this))
}

func TestRandomFiltersOfInvitesFindWhatAPlainLoopFinds(t *testing.T) {
	c := newChance(t)
	rows := make([]user.Invite, 40)
	for i, address := range numbered(len(rows)) {
		rows[i] = user.Invite{Email: address, Accepted: c.of(3), ExpiresAt: c.moment(), CreatedAt: c.moment(), UpdatedAt: c.moment()}
		if c.of(3) {
			rows[i].DeletedAt = c.moment()
		}
		c.moments = append(c.moments, rows[i].ExpiresAt, rows[i].CreatedAt, rows[i].UpdatedAt)
	}
	seed := c.Uint64()

	each(t, func(t *testing.T, b bench) {
		c := chance{rand.New(rand.NewPCG(seed, 0)), c.moments}
		rows := slices.Clone(rows)
		check(t, b.db.InTx(t.Context(), func(ctx context.Context) error {
			for n := range rows {
				i := &rows[n]
				i.ID = must(b.CreateInvites(ctx, user.InviteDraft{Email: i.Email}))(t)[0].ID
				if i.Accepted {
					must(b.UpdateInvites(ctx, user.InviteUpdate{ID: i.ID, Accepted: user.Set(true)}))(t)
				}
				b.stamp(ctx, t, "invite", string(i.ID), i.CreatedAt, i.UpdatedAt, i.DeletedAt)
				_, err := b.db.Conn(ctx).NewUpdate().Table("latchkey_invite").Set("expires_at = ?", i.ExpiresAt).Where("id = ?", i.ID).Exec(ctx)
				check(t, err)
			}
			return nil
		}))
		must(b.SetupInvite(t.Context()))(t) // is found by none
		telling := 0
		for n := range 200 {
			f := c.inviteFilter(rows, n%3)
			var want []string
			for _, i := range rows {
				if f.Accepted == i.Accepted && (f.WithDeleted || i.DeletedAt.IsZero()) && inviteMatches(f, i) {
					want = append(want, i.Email)
				}
			}
			got, count, err := b.ListAndCountInvites(t.Context(), f, user.Page{Limit: len(rows), Order: "email"})
			if err != nil || !slices.Equal(inviteEmails(got), want) || count != len(want) {
				t.Fatalf("filter %d finds %d invites (%v), in all %d; a loop %d\n%+v", n, len(got), err, count, len(want), f)
			}
			if len(want) > 0 && len(want) < len(rows) {
				telling++
			}
		}
		wantTelling(t, telling, 200)
	})
}
