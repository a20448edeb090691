package user_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/user"
)

func TestSearchFindsUsersInWhomEveryWordOccurs(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		must(b.CreateUsers(t.Context(),
			user.Draft{Email: "ada@example.com", FirstName: new("Ada"), LastName: new("Lovelace")},
			user.Draft{Email: "elodie@example.com", FirstName: new("ÉLODIE"), LastName: new("Müller-Strauß")},
			user.Draft{Email: "a_b%c@example.com", FirstName: new("100% !sure"), LastName: new(`back\slash 'quote'`)},
			user.Draft{Email: "axbxc@example.com", FirstName: new("1000 ?")},
			user.Draft{LastName: new("nobody")},
		))(t)
		const ada, elodie, signs, plain = "ada@example.com", "elodie@example.com", "a_b%c@example.com", "axbxc@example.com"
		for _, c := range []struct {
			q    string
			want []string
		}{
			{"", []string{ada, elodie, signs, plain, ""}},
			{" \t\n ", []string{ada, elodie, signs, plain, ""}},
			{"ada", []string{ada}},
			{"ADA", []string{ada}},
			{"love ada", []string{ada}},
			{"ada lovelace example.com", []string{ada}},
			{"ada müller", nil},
			{"ada eve", nil},
			{"élodie", []string{elodie}},
			{"ÉLODIE", []string{elodie}},
			{"Élodie MÜLLER", []string{elodie}},
			{"elodie", []string{elodie}}, // by the address
			{"müller-strauß", []string{elodie}},
			{"%", []string{signs}},
			{"_", []string{signs}},
			{"!", []string{signs}},
			{"a_b", []string{signs}},
			{"100%", []string{signs}},
			{"!s", []string{signs}},
			{`\`, []string{signs}},
			{"'QUOTE'", []string{signs}},
			{"?", []string{plain}},
			{"1000", []string{plain}},
			{"NOBODY", []string{""}},
			{"adalovelace", nil},
			{"ada@example.comada", nil},
			{"user_", nil}, // not by the id
			{"'; DROP TABLE latchkey_user; --", nil},
		} {
			users, n, err := b.ListAndCountUsers(t.Context(), user.Filter{Q: c.q}, user.Page{Order: "created_at"})
			check(t, err)
			got := emails(users)
			slices.Sort(got)
			slices.Sort(c.want)
			if !slices.Equal(got, c.want) || n != len(c.want) {
				t.Errorf("q=%q: %q, in all %d; want %q", c.q, got, n, c.want)
			}
		}
	})
}

func TestSearchThatCanFindNothingIsRefused(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		b.user(t, "a@example.com")
		b.invite(t, "a2@example.com")
		for name, q := range map[string]string{
			"too long": strings.Repeat("a", 60_000), "too many words": strings.Repeat("a ", 3000), "NUL": "a\x00", "not UTF-8": "a\xff",
		} {
			for _, limit := range []int{0, user.CountOnly} {
				_, _, err := b.ListAndCountUsers(t.Context(), user.Filter{Q: q}, user.Page{Limit: limit})
				wantErr(t, name+", users", err, user.ErrQuery)
				_, _, err = b.ListAndCountInvites(t.Context(), user.InviteFilter{Q: q}, user.Page{Limit: limit})
				wantErr(t, name+", invites", err, user.ErrQuery)
			}
		}
		most := strings.Repeat("a ", 512) // as many words as there can be
		if n := len(must(b.ListUsers(t.Context(), user.Filter{Q: most}, user.Page{}))(t)); n != 1 {
			t.Errorf("512 words find %d users, want one", n)
		}
		if n := len(must(b.ListInvites(t.Context(), user.InviteFilter{Q: most}, user.Page{}))(t)); n != 1 {
			t.Errorf("512 words find %d invites, want one", n)
		}
	})
}

func TestFiltersNarrowTheList(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		all := must(b.CreateUsers(t.Context(),
			user.Draft{Email: "ada@example.com", FirstName: new("Ada"), LastName: new("Lovelace"), Roles: []string{"admin", "writer"}},
			user.Draft{Email: "bob@example.com", FirstName: new("Bob"), LastName: new("Lovelace"), Roles: []string{"writer"}},
			user.Draft{Email: "eve@example.com", FirstName: new("")},
		))(t)
		hidden := b.user(t, "hidden@example.com")
		check(t, b.SoftDeleteUsers(t.Context(), hidden.ID))
		const ada, bob, eve = "ada@example.com", "bob@example.com", "eve@example.com"
		for name, c := range map[string]struct {
			f    user.Filter
			want []string
		}{
			"all":             {user.Filter{}, []string{ada, bob, eve}},
			"deleted too":     {user.Filter{WithDeleted: true}, []string{ada, bob, eve, hidden.Email}},
			"ids":             {user.Filter{IDs: []user.ID{all[2].ID, all[0].ID, "user_none"}}, []string{ada, eve}},
			"ids of nobody":   {user.Filter{IDs: nobody}, nil},
			"no ids":          {user.Filter{IDs: []user.ID{}}, nil},
			"addresses":       {user.Filter{Emails: []string{"BOB@example.com", eve, "x"}}, []string{bob, eve}},
			"no addresses":    {user.Filter{Emails: []string{}}, nil},
			"no address":      {user.Filter{Emails: []string{"x", "a\x00@example.com"}}, nil},
			"first name":      {user.Filter{FirstName: new("Ada")}, []string{ada}},
			"other case":      {user.Filter{FirstName: new("ada")}, nil},
			"empty name":      {user.Filter{FirstName: new("")}, []string{eve}},
			"last name":       {user.Filter{LastName: new("Lovelace")}, []string{ada, bob}},
			"name with NUL":   {user.Filter{LastName: new("Love\x00lace")}, nil},
			"first with NUL":  {user.Filter{FirstName: new("\x00")}, nil},
			"role":            {user.Filter{Roles: []string{"writer"}}, []string{ada, bob}},
			"part of a role":  {user.Filter{Roles: []string{"write"}}, nil},
			"role with NUL":   {user.Filter{Roles: []string{"\x00"}}, nil},
			"several":         {user.Filter{Q: "lovelace", Roles: []string{"writer"}, FirstName: new("Bob"), IDs: userIDs(all)}, []string{bob}},
			"several, but no": {user.Filter{Q: "lovelace", Roles: []string{"admin"}, FirstName: new("Bob")}, nil},
			"and":             {user.Filter{And: []user.Filter{{Roles: []string{"writer"}}, {Q: "ada"}}}, []string{ada}},
			"and of nothing":  {user.Filter{And: []user.Filter{}}, []string{ada, bob, eve}},
			"or":              {user.Filter{Or: []user.Filter{{FirstName: new("Ada")}, {FirstName: new("")}}}, []string{ada, eve}},
			"or of nothing":   {user.Filter{Or: []user.Filter{}}, nil},
			"or everybody":    {user.Filter{Or: []user.Filter{{FirstName: new("Ada")}, {}}}, []string{ada, bob, eve}},
			"or, and more":    {user.Filter{Roles: []string{"writer"}, Or: []user.Filter{{FirstName: new("Ada")}, {FirstName: new("")}}}, []string{ada}},
			"or within or":    {user.Filter{Or: []user.Filter{{FirstName: new("")}, {Q: "lovelace", Or: []user.Filter{{Roles: []string{"admin"}}, {Roles: []string{"none"}}}}}}, []string{ada, eve}},
			"or of and":       {user.Filter{Or: []user.Filter{{And: []user.Filter{{Roles: []string{"writer"}}, {Q: "bob"}}}, {Emails: []string{eve}}}}, []string{bob, eve}},
			"deleted inside":  {user.Filter{Or: []user.Filter{{Emails: []string{hidden.Email}, WithDeleted: true}, {Emails: []string{eve}}}}, []string{eve}},
			"deleted outside": {user.Filter{WithDeleted: true, Or: []user.Filter{{Emails: []string{hidden.Email}}, {Emails: []string{eve}}}}, []string{eve, hidden.Email}},
			"when deleted":    {user.Filter{WithDeleted: true, DeletedAt: user.Times{From: hidden.CreatedAt}}, []string{hidden.Email}},
			"deleted never":   {user.Filter{DeletedAt: user.Times{From: hidden.CreatedAt}}, nil},
		} {
			users, n, err := b.ListAndCountUsers(t.Context(), c.f, user.Page{Order: "email"})
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if got := emails(users); !slices.Equal(got, c.want) || n != len(c.want) {
				t.Errorf("%s: %v, in all %d; want %v", name, got, n, c.want)
			}
		}
	})
}

func TestUsersAreListedByTheirStatus(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		made := must(b.CreateUsers(t.Context(), user.Draft{Email: "active@example.com"}, user.Draft{Email: "deactivated@example.com"},
			user.Draft{Email: "deleted@example.com"}, user.Draft{Email: "both@example.com"}))(t)
		check(t, b.DeactivateUsers(t.Context(), made[1].ID, made[3].ID))
		check(t, b.SoftDeleteUsers(t.Context(), made[2].ID, made[3].ID))
		for _, c := range []struct {
			f    user.Filter
			want string
		}{
			{user.Filter{Status: user.StatusActive}, "active"},
			{user.Filter{Status: user.StatusDeactivated}, "deactivated"},
			{user.Filter{Status: user.StatusDeleted}, "both deleted"},
			{user.Filter{Status: user.StatusActive, WithDeleted: true}, "active"},
			{user.Filter{Status: user.StatusDeactivated, WithDeleted: true}, "deactivated"},
			{user.Filter{Status: user.StatusDeleted, WithDeleted: true}, "both deleted"},
			{user.Filter{Status: user.StatusActive, Q: "deactivated"}, ""},
			{user.Filter{Or: []user.Filter{{Status: user.StatusDeleted}}}, "active deactivated"},
		} {
			users, n, err := b.ListAndCountUsers(t.Context(), c.f, user.Page{Order: "email"})
			got := strings.ReplaceAll(strings.Join(emails(users), " "), "@example.com", "")
			if err != nil || got != c.want || n != len(users) {
				t.Errorf("%+v: %q, in all %d, %v; want %q", c.f, got, n, err, c.want)
			}
		}
		_, err := b.ListUsers(t.Context(), user.Filter{Status: "gone"}, user.Page{})
		if !errors.Is(err, user.ErrQuery) {
			t.Errorf("a status that is none: %v, want %v", err, user.ErrQuery)
		}
	})
}

func TestPagesCoverTheListInOrder(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		var made []user.Draft
		for i, e := range numbered(60) {
			made = append(made, user.Draft{Email: e, FirstName: new(fmt.Sprint(i % 3))})
		}
		byID := userIDs(must(b.CreateUsers(t.Context(), made...))(t))
		slices.Sort(byID)
		list := func(p user.Page) []user.User {
			t.Helper()
			users, n, err := b.ListAndCountUsers(t.Context(), user.Filter{}, p)
			if check(t, err); n != 60 {
				t.Errorf("%+v counts %d, want 60", p, n)
			}
			return users
		}

		if got := userIDs(list(user.Page{})); !slices.Equal(got, byID[:50]) {
			t.Errorf("the first page has %d users, want the first 50 by id", len(got))
		}
		if got := userIDs(list(user.Page{Offset: 55})); !slices.Equal(got, byID[55:]) {
			t.Errorf("after 55 come %d users, want the last 5 by id", len(got))
		}
		if got := list(user.Page{Offset: 60}); len(got) != 0 {
			t.Errorf("after all come %d users", len(got))
		}
		if got := list(user.Page{Limit: user.CountOnly}); len(got) != 0 {
			t.Errorf("a count alone has %d users", len(got))
		}
		if got := list(user.Page{Limit: 1000}); len(got) != 60 {
			t.Errorf("a long page has %d users, want 60", len(got))
		}
		up, down := emails(list(user.Page{Limit: 60, Order: "email"})), emails(list(user.Page{Limit: 60, Order: "-email"}))
		slices.Reverse(down)
		if want := numbered(60); !slices.Equal(up, want) || !slices.Equal(down, want) {
			t.Errorf("by e-mail: %v and, from the end, %v", up, down)
		}

		// Many rows are equal in what they are ordered by, and still none comes twice.
		for _, order := range []string{"first_name", "-first_name", "created_at", "-updated_at", "last_name", "id"} {
			seen := map[user.ID]bool{}
			var names []string
			for offset := 0; offset < 60; offset += 7 {
				for _, u := range list(user.Page{Limit: 7, Offset: offset, Order: order}) {
					seen[u.ID] = true
					names = append(names, *u.FirstName)
				}
			}
			if len(seen) != 60 {
				t.Errorf("pages by %s show %d users, want all 60", order, len(seen))
			}
			if order == "-first_name" {
				slices.Reverse(names)
			}
			if strings.HasSuffix(order, "first_name") && !slices.IsSorted(names) {
				t.Errorf("by %s: %v", order, names)
			}
		}
	})
}

func TestWhatIsNotThereComesLast(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		made := must(b.CreateUsers(t.Context(),
			user.Draft{Email: "a@example.com", FirstName: new("Zoe")}, user.Draft{Email: "b@example.com"}, user.Draft{FirstName: new("")}, user.Draft{Email: "c@example.com", LastName: new("Y")}))(t)
		check(t, b.SoftDeleteUsers(t.Context(), made[1].ID))
		for order, c := range map[string]struct {
			there func(user.User) bool
			want  string
		}{
			"first_name": {func(u user.User) bool { return u.FirstName != nil }, "xx--"},
			"last_name":  {func(u user.User) bool { return u.LastName != nil }, "x---"},
			"email":      {func(u user.User) bool { return u.Email != "" }, "xxx-"},
			"deleted_at": {func(u user.User) bool { return !u.DeletedAt.IsZero() }, "x---"},
		} {
			look := func(order string) (got []byte) {
				for _, u := range must(b.ListUsers(t.Context(), user.Filter{WithDeleted: true}, user.Page{Order: order}))(t) {
					if c.there(u) {
						got = append(got, 'x')
					} else {
						got = append(got, '-')
					}
				}
				return got
			}
			up, down := look(order), look("-"+order)
			slices.Reverse(down)
			if string(up) != c.want || string(down) != c.want {
				t.Errorf("by %s: %s and, from the end, %s, want %s", order, up, down, c.want)
			}
		}
	})
}

func TestPageThatCannotBeIsRefused(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		for _, c := range []struct {
			page user.Page
			want error
		}{
			{user.Page{Order: "nope"}, user.ErrOrder},
			{user.Page{Order: "search"}, user.ErrOrder},
			{user.Page{Order: "-"}, user.ErrOrder},
			{user.Page{Order: "--id"}, user.ErrOrder},
			{user.Page{Order: "ID"}, user.ErrOrder},
			{user.Page{Order: "id; DROP TABLE latchkey_user"}, user.ErrOrder},
			{user.Page{Order: "nope", Limit: user.CountOnly}, user.ErrOrder},
			{user.Page{Limit: -2}, user.ErrQuery},
			{user.Page{Offset: -1}, user.ErrQuery},
			{user.Page{Offset: -1, Limit: user.CountOnly}, user.ErrQuery},
		} {
			_, err := b.ListUsers(t.Context(), user.Filter{}, c.page)
			wantErr(t, fmt.Sprintf("users, %+v", c.page), err, c.want)
			_, _, err = b.ListAndCountUsers(t.Context(), user.Filter{}, c.page)
			wantErr(t, fmt.Sprintf("users with count, %+v", c.page), err, c.want)
			_, err = b.ListInvites(t.Context(), user.InviteFilter{}, c.page)
			wantErr(t, fmt.Sprintf("invites, %+v", c.page), err, c.want)
			_, _, err = b.ListAndCountInvites(t.Context(), user.InviteFilter{}, c.page)
			wantErr(t, fmt.Sprintf("invites with count, %+v", c.page), err, c.want)
		}
	})
}

func TestInviteListsShowTheOpenOnesOrTheAccepted(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		expired := must(b.hasty(t).CreateInvites(t.Context(), user.InviteDraft{Email: "expired@example.com"}))(t)[0]
		all := must(b.CreateInvites(t.Context(), inviteDrafts("open@example.com", "a_b%c@example.com", "axbxc@example.com", "accepted@example.com", "withdrawn@example.com")...))(t)
		must(b.UpdateInvites(t.Context(), user.InviteUpdate{ID: all[3].ID, Accepted: user.Set(true)}))(t)
		check(t, b.SoftDeleteInvites(t.Context(), all[4].ID))
		must(b.SetupInvite(t.Context()))(t)
		const open, signs, plain, accepted = "open@example.com", "a_b%c@example.com", "axbxc@example.com", "accepted@example.com"
		for name, c := range map[string]struct {
			f    user.InviteFilter
			want []string
		}{
			"open":           {user.InviteFilter{}, []string{signs, plain, expired.Email, open}},
			"accepted":       {user.InviteFilter{Accepted: true}, []string{accepted}},
			"word":           {user.InviteFilter{Q: "OPEN"}, []string{open}},
			"words":          {user.InviteFilter{Q: "example.com x"}, []string{signs, plain, expired.Email, open}},
			"other words":    {user.InviteFilter{Q: "expired open"}, nil},
			"underscore":     {user.InviteFilter{Q: "_"}, []string{signs}},
			"percent":        {user.InviteFilter{Q: "b%c"}, []string{signs}},
			"addresses":      {user.InviteFilter{Emails: []string{"Open@example.com", accepted}}, []string{open}},
			"no addresses":   {user.InviteFilter{Emails: []string{}}, nil},
			"ids":            {user.InviteFilter{IDs: inviteIDs(all)}, []string{signs, plain, open}},
			"no ids":         {user.InviteFilter{IDs: []user.InviteID{}}, nil},
			"id with NUL":    {user.InviteFilter{IDs: []user.InviteID{"\x00"}}, nil},
			"accepted, word": {user.InviteFilter{Accepted: true, Q: "open"}, nil},
			"withdrawn too":  {user.InviteFilter{WithDeleted: true}, []string{signs, plain, expired.Email, open, "withdrawn@example.com"}},
			"withdrawn":      {user.InviteFilter{WithDeleted: true, DeletedAt: user.Times{In: []user.Span{{}}}}, []string{"withdrawn@example.com"}},
			"expired":        {user.InviteFilter{ExpiresAt: user.Times{Until: all[0].ExpiresAt}}, []string{expired.Email}},
			"or":             {user.InviteFilter{Or: []user.InviteFilter{{Q: "open"}, {Emails: []string{plain}}, {Emails: []string{accepted}, Accepted: true}}}, []string{plain, open}},
			"and":            {user.InviteFilter{And: []user.InviteFilter{{Q: "x"}, {Q: "open"}}}, []string{open}},
		} {
			invites, n, err := b.ListAndCountInvites(t.Context(), c.f, user.Page{Order: "email"})
			if err != nil {
				t.Errorf("%s: %v", name, err)
			} else if got := inviteEmails(invites); !slices.Equal(got, c.want) || n != len(c.want) {
				t.Errorf("%s: %v, in all %d; want %v", name, got, n, c.want)
			}
		}
		page := must(b.ListInvites(t.Context(), user.InviteFilter{}, user.Page{Limit: 2, Offset: 1, Order: "-email"}))(t)
		if got := inviteEmails(page); !slices.Equal(got, []string{expired.Email, plain}) {
			t.Errorf("a page of two after one from the end: %v", got)
		}
	})
}

func TestTimesAreComparedToTheMicrosecond(t *testing.T) {
	// As text, these are of many lengths.
	moments := []string{
		"1969-12-31T23:59:59.999999Z", "2026-01-31T09:59:59.999999Z", "2026-01-31T10:00:00Z", "2026-01-31T10:00:00.000001Z", "2026-01-31T10:00:00.001Z",
		"2026-01-31T10:00:00.01Z", "2026-01-31T10:00:00.1Z", "2026-01-31T10:00:00.100001Z", "2026-01-31T10:00:01Z", "2026-02-01T00:00:00Z", "9999-12-31T23:59:59.999998Z",
	}
	at := make([]time.Time, len(moments))
	for i, m := range moments {
		at[i] = must(time.Parse(time.RFC3339Nano, m))(t)
	}
	each(t, func(t *testing.T, b bench) {
		var all []string
		check(t, b.db.InTx(t.Context(), func(ctx context.Context) error {
			for i, u := range must(b.CreateUsers(ctx, drafts(numbered(len(at))...)...))(t) {
				b.stamp(ctx, t, "user", string(u.ID), at[i], at[i], time.Time{})
				all = append(all, u.Email)
			}
			return nil
		}))
		find := func(when user.Times) []string {
			t.Helper()
			return emails(must(b.ListUsers(t.Context(), user.Filter{CreatedAt: when}, user.Page{Order: "email"}))(t))
		}
		east := time.FixedZone("", 14*60*60)
		for i, m := range at {
			for name, c := range map[string]struct {
				when user.Times
				want []string
			}{
				"at":                       {user.Times{In: []user.Span{user.At(m)}}, all[i : i+1]},
				"at, in another zone":      {user.Times{In: []user.Span{user.At(m.In(east))}}, all[i : i+1]},
				"not at":                   {user.Times{NotIn: []user.Span{user.At(m)}}, slices.Concat(all[:i], all[i+1:])},
				"from":                     {user.Times{From: m.In(east)}, all[i:]},
				"from a nanosecond later":  {user.Times{From: m.Add(1)}, all[i+1:]},
				"until":                    {user.Times{Until: m.In(east)}, all[:i]},
				"until a nanosecond later": {user.Times{Until: m.Add(1)}, all[:i+1]},
				"from and until":           {user.Times{From: m, Until: m.Add(1)}, all[i : i+1]},
				"within a microsecond":     {user.Times{From: m.Add(1), Until: m.Add(999)}, nil},
			} {
				if got := find(c.when); !slices.Equal(got, c.want) {
					t.Errorf("%s %s: %q, want %q", name, moments[i], got, c.want)
				}
			}
		}
		far := func(year int) time.Time { return time.Date(year, 1, 1, 0, 0, 0, 0, time.UTC) }
		for name, c := range map[string]struct {
			when user.Times
			want []string
		}{
			"nothing asked":        {user.Times{}, all},
			"in no span":           {user.Times{In: []user.Span{}}, nil},
			"out of no span":       {user.Times{NotIn: []user.Span{}}, all},
			"any":                  {user.Times{In: []user.Span{{}}}, all},
			"not any":              {user.Times{NotIn: []user.Span{{}}}, nil},
			"from before all":      {user.Times{From: far(-500)}, all},
			"until before all":     {user.Times{Until: far(-500)}, nil},
			"from after all":       {user.Times{From: far(123456)}, nil},
			"until after all":      {user.Times{Until: far(123456)}, all},
			"backwards":            {user.Times{From: far(2030), Until: far(1900)}, nil},
			"in two":               {user.Times{In: []user.Span{{Until: far(1970)}, {From: far(9000)}}}, []string{all[0], all[len(all)-1]}},
			"in one, not in other": {user.Times{In: []user.Span{{Until: far(2027)}}, NotIn: []user.Span{{From: far(1970)}}}, all[:1]},
			"in one, and from":     {user.Times{In: []user.Span{user.At(at[0]), user.At(at[5])}, From: at[1]}, all[5:6]},
		} {
			if got := find(c.when); !slices.Equal(got, c.want) {
				t.Errorf("%s: %q, want %q", name, got, c.want)
			}
		}
	})
}

// deep is an address within so many levels.
func deep(levels int) (f user.Filter) {
	f.Emails = []string{"u0000@example.com"}
	for range levels {
		f = user.Filter{Or: []user.Filter{f}}
	}
	return f
}

func TestFilterBeyondItsBoundsIsRefused(t *testing.T) {
	within := make([]user.Filter, 1)
	within[0] = user.Filter{Or: within} // within itself, for ever
	wide := func(n int) user.Filter {
		return user.Filter{Or: slices.Repeat([]user.Filter{{Emails: []string{"u0000@example.com"}}}, n)}
	}
	spans := func(n int) user.Times { return user.Times{In: slices.Repeat([]user.Span{{}}, n)} }
	// The most there can be, on the deepest way: words first, then conditions, each within a level of its own.
	most := user.Filter{Q: strings.Repeat("u ", 500), CreatedAt: spans(90)}
	for range user.MaxDepth {
		most = user.Filter{Q: "u", Or: []user.Filter{most}}
	}
	each(t, func(t *testing.T, b bench) {
		b.user(t, "u0000@example.com")
		for name, f := range map[string]user.Filter{
			"too deep": deep(user.MaxDepth + 1), "endless": {And: within}, "too wide": wide(51), "far too wide": wide(100_000),
			"too many times": {CreatedAt: spans(101)}, "too many exceptions": {DeletedAt: user.Times{NotIn: make([]user.Span, 101)}},
			"too many inside": {Or: []user.Filter{{CreatedAt: spans(60)}, {UpdatedAt: spans(60)}}},
			"q in all":        {Q: strings.Repeat("a", 600), And: []user.Filter{{Q: strings.Repeat("a", 600)}}}, "q with NUL inside": {Or: []user.Filter{{Q: "a\x00"}}},
		} {
			for _, limit := range []int{0, user.CountOnly} {
				_, _, err := b.ListAndCountUsers(t.Context(), f, user.Page{Limit: limit})
				wantErr(t, name, err, user.ErrQuery)
			}
		}
		_, err := b.ListInvites(t.Context(), user.InviteFilter{ExpiresAt: spans(101)}, user.Page{})
		wantErr(t, "times of invites", err, user.ErrQuery)

		for name, f := range map[string]user.Filter{
			"deep": deep(user.MaxDepth), "wide": wide(50), "times": {CreatedAt: spans(100)}, "all": most,
			"ids": {IDs: slices.Repeat([]user.ID{"user_none"}, 20_000), Or: []user.Filter{}}, // of these there may be any number
		} {
			want := 1
			if f.IDs != nil {
				want = 0
			}
			if _, n, err := b.ListAndCountUsers(t.Context(), f, user.Page{}); err != nil || n != want {
				t.Errorf("%s: %d users, %v, want %d", name, n, err, want)
			}
		}
	})
}
