package user_test

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/email"
	"github.com/latchkey-go/latchkey/modules/user"
)

func TestEachDraftStandsAlone(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		b.invite(t, "open@example.com")
		expired := must(b.hasty(t).CreateInvites(t.Context(), user.InviteDraft{Email: "expired@example.com", Message: "before"}))(t)[0]
		must(b.CreateUsers(t.Context(), user.Draft{Email: "proved@example.com", EmailVerified: true}, user.Draft{Email: "claimed@example.com"}))(t)
		b.said.take()

		drafts := inviteDrafts("ada@example.com", "Open@example.com", "nonsense", "proved@example.com", "claimed@example.com", "Expired@example.com", "ADA@example.com", "")
		drafts = append(drafts, user.InviteDraft{Email: "roles@example.com", Roles: []string{""}}, user.InviteDraft{Email: "long@example.com", TTL: 1000 * time.Hour},
			user.InviteDraft{Email: "bob@example.com", Roles: []string{"editor"}, Message: " Hello,\r\nBob. ", TTL: time.Hour, Metadata: map[string]any{"a": "b"}})
		drafts[5].TTL = 2 * time.Hour
		wants := []error{nil, user.ErrInviteExists, email.ErrInvalid, user.ErrUserExists, nil, nil, user.ErrInviteExists, email.ErrInvalid, user.ErrInvalid, user.ErrInvalid, nil}
		results := must(b.InviteEach(t.Context(), drafts...))(t)
		if len(results) != len(drafts) {
			t.Fatalf("%d results, want %d", len(results), len(drafts))
		}
		var made, renewed []user.InviteID
		for i, r := range results {
			if !errors.Is(r.Err, wants[i]) || (r.Err == nil) != (r.Invite.ID != "") {
				t.Errorf("%q: %+v, want %v", drafts[i].Email, r, wants[i])
				continue
			}
			if r.Err != nil {
				continue
			}
			if want := strings.ToLower(drafts[i].Email); r.Invite.Email != want {
				t.Errorf("%q has the invite of %s", drafts[i].Email, r.Invite.Email)
			}
			check(t, b.opens(t, r.Invite))
			if read := must(b.RetrieveInvite(t.Context(), r.Invite.ID))(t); !reflect.DeepEqual(read, r.Invite) {
				t.Errorf("%q: answered %+v, read %+v", drafts[i].Email, r.Invite, read)
			}
			if r.Invite.ID == expired.ID {
				renewed = append(renewed, r.Invite.ID)
			} else {
				made = append(made, r.Invite.ID)
			}
		}
		b.wantSaid(t, append(topic("invite.created", made...), topic("invite.resent", renewed...)...)...)
		if bob := results[10].Invite; !slices.Equal(bob.Roles, []string{"editor"}) || bob.Message != "Hello,\nBob." || bob.ExpiresAt.Sub(bob.IssuedAt) != time.Hour || bob.Metadata["a"] != "b" {
			t.Errorf("bob: %+v", bob)
		}
		if again := results[5].Invite; again.Message != "" || again.TTL != 2*time.Hour || again.ExpiresAt.Sub(again.IssuedAt) != again.TTL {
			t.Errorf("the renewed one is %+v, want it as its draft says", again)
		}
		if msg := fmt.Sprint(results[1].Err, results[3].Err); !strings.Contains(msg, "Invite with email: open@example.com, already exists.") ||
			!strings.Contains(msg, "User account for following email(s) already exist: proved@example.com") {
			t.Errorf("the errors say %q", msg)
		}
		if n := b.count(t, "invite"); n != 5 {
			t.Errorf("%d invites, want 5", n)
		}
	})
}

func TestManyDraftsThatStandAlone(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		b, count := counting(t, at)
		emails := numbered(1200)
		b.invite(t, emails[700])
		must(b.hasty(t).CreateInvites(t.Context(), inviteDrafts(emails[600:700]...)...))(t)
		for _, full := range []bool{false, true} {
			options := user.Options{}
			if full { // room for the first 1000 that are not open already
				options.InviteMaxPending = 1001
			}
			s := b.with(t, options, secret('a'))
			before, begun := count.n.Load(), count.begun.Load()
			results := must(s.InviteEach(t.Context(), inviteDrafts(emails...)...))(t)
			if n, transactions := count.n.Load()-before, count.begun.Load()-begun; n > 3*5+3 || transactions != 1 {
				t.Errorf("%d statements in %d transactions", n, transactions)
			}
			made := map[user.InviteID]bool{}
			for i, r := range results {
				want := error(nil)
				switch {
				case i == 700:
					want = user.ErrInviteExists
				case full && i > 1000:
					want = user.ErrInvitesFull
				}
				if !errors.Is(r.Err, want) || (r.Err == nil && r.Invite.Email != emails[i]) {
					t.Errorf("full %v: %s: %+v, want %v", full, emails[i], r, want)
				}
				if r.Err == nil {
					made[r.Invite.ID] = true
				}
			}
			for _, i := range must(b.ListInvites(t.Context(), user.InviteFilter{Status: user.StatusPending}, user.Page{Limit: 2000}))(t) {
				if i.Email != emails[700] && !made[i.ID] {
					t.Errorf("full %v: %s is invited, and nobody was told", full, i.Email)
				}
			}
			check(t, b.DeleteInvites(t.Context(), slices.Collect(maps.Keys(made))...))
		}
	})
}

func TestTheSameAddressesAtOnceAreInvitedOnce(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		emails := numbered(20)
		var mine [8][]user.InviteResult
		for i, err := range databasetest.Together(len(mine), func(i int) (err error) {
			order := slices.Clone(emails)
			if i%2 == 1 {
				slices.Reverse(order)
			}
			mine[i], err = b.InviteEach(t.Context(), inviteDrafts(order...)...)
			return err
		}) {
			if err != nil {
				t.Errorf("caller %d: %v", i, err)
			}
		}
		won := 0
		for _, results := range mine {
			for _, r := range results {
				if r.Err == nil {
					won++
				} else if !errors.Is(r.Err, user.ErrInviteExists) {
					t.Error(r.Err)
				}
			}
		}
		if n := b.count(t, "invite"); won != len(emails) || n != len(emails) {
			t.Errorf("%d were told that they have made one of %d invites, want %d of each", won, n, len(emails))
		}
	})
}

func TestThereAreNoMoreOpenInvitesThanThereMayBe(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		full := b.with(t, user.Options{InviteMaxPending: 3}, secret('a'))
		must(b.SetupInvite(t.Context()))(t) // is nobody's
		expired := must(b.hasty(t).CreateInvites(t.Context(), inviteDrafts("expired1@example.com", "expired2@example.com")...))(t)
		open := must(full.CreateInvites(t.Context(), inviteDrafts("a@example.com", "b@example.com")...))(t)
		b.said.take()

		for name, c := range map[string]struct {
			act func() error
			bad []int // which of the items there is no room for
		}{
			"three at once": {func() error {
				_, err := full.CreateInvites(t.Context(), inviteDrafts("c@example.com", "d@example.com", "e@example.com")...)
				return err
			}, []int{1, 2}},
			"one and one renewed": {func() error {
				_, err := full.CreateInvites(t.Context(), inviteDrafts("c@example.com", expired[0].Email)...)
				return err
			}, []int{1}},
			"three renewed, of which one is twice there": {func() error {
				_, err := full.RefreshInviteTokens(t.Context(), expired[0].ID, open[0].ID, expired[0].ID, expired[1].ID)
				return err
			}, []int{3}},
		} {
			err := c.act()
			wantErr(t, name, err, user.ErrInvitesFull)
			if err != nil && !strings.Contains(err.Error(), "at most 3 invites") {
				t.Errorf("%s: %q", name, err)
			}
			wantBad(t, name, err, c.bad...)
		}
		_, err := full.CreateInvites(t.Context(), inviteDrafts("c@example.com", "a@example.com", "d@example.com", "nonsense")...)
		wantErr(t, "full and invited", err, user.ErrInviteExists)
		wantErr(t, "full and nonsense", err, user.ErrInvitesFull)
		wantBad(t, "full, invited and nonsense", err, 1, 2, 3)
		b.wantSaid(t)
		if got := inviteEmails(must(b.ListInvites(t.Context(), user.InviteFilter{Status: user.StatusPending}, user.Page{Order: "email"}))(t)); !slices.Equal(got, []string{"a@example.com", "b@example.com"}) {
			t.Errorf("open: %v", got)
		}

		results := must(full.InviteEach(t.Context(), inviteDrafts("nonsense", "a@example.com", "c@example.com", "d@example.com", expired[0].Email)...))(t)
		for i, want := range []error{email.ErrInvalid, user.ErrInviteExists, nil, user.ErrInvitesFull, user.ErrInvitesFull} {
			if !errors.Is(results[i].Err, want) {
				t.Errorf("result %d: %v, want %v", i, results[i].Err, want)
			}
		}
		must(full.RefreshInviteTokens(t.Context(), open[0].ID))(t) // is open already
		_, err = full.RefreshInviteTokens(t.Context(), open[0].ID, expired[0].ID)
		wantErr(t, "one of them renewed", err, user.ErrInvitesFull)

		check(t, full.SoftDeleteInvites(t.Context(), open[0].ID))
		must(full.CreateInvites(t.Context(), inviteDrafts("d@example.com")...))(t)
		wantErr(t, "restored", full.RestoreInvites(t.Context(), open[0].ID), user.ErrInvitesFull)
		err = full.RestoreInvites(t.Context(), noInvite, open[0].ID)
		wantErr(t, "restored among others", err, user.ErrInvitesFull)
		wantBad(t, "restored among others", err, 1)
		check(t, b.AcceptInvite(t.Context(), open[1], user.NewID()))
		check(t, full.RestoreInvites(t.Context(), open[0].ID))
		check(t, full.SoftDeleteInvites(t.Context(), expired[0].ID))
		check(t, full.RestoreInvites(t.Context(), expired[0].ID)) // which takes nobody's place
	})
}

// wantBad fails unless err says of the items at the indexes, and of no others, that they are bad.
func wantBad(t *testing.T, what string, err error, indexes ...int) {
	t.Helper()
	var got []int
	if bad, ok := errors.AsType[*user.BadItems](err); ok {
		for _, item := range bad.Items {
			got = append(got, item.Index)
		}
	}
	if !slices.Equal(got, indexes) {
		t.Errorf("%s: %v: bad are the items %v, want %v", what, err, got, indexes)
	}
}

func TestAnInviteIsOpenForAsLongAsWasAskedFor(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		s := b.with(t, user.Options{InviteTTL: 2 * time.Hour, InviteMaxTTL: 48 * time.Hour}, secret('a'))
		for _, ttl := range []time.Duration{0, time.Minute, 3 * time.Hour, 48 * time.Hour} {
			want := ttl
			if ttl == 0 {
				want = 2 * time.Hour
			}
			i := must(s.CreateInvites(t.Context(), user.InviteDraft{Email: "ada@example.com", TTL: ttl}))(t)[0]
			again := must(s.RefreshInviteTokens(t.Context(), i.ID))(t)[0]
			for _, i := range []user.Invite{i, again} {
				if got := i.ExpiresAt.Sub(i.IssuedAt); got != want || i.TTL != ttl {
					t.Errorf("asked for %v: open for %v, keeps %v", ttl, got, i.TTL)
				}
			}
			// The bounds of today count, not those of when it was made.
			less := b.with(t, user.Options{InviteTTL: time.Minute, InviteMaxTTL: time.Hour}, secret('a'))
			bounded := must(less.RefreshInviteTokens(t.Context(), i.ID))(t)[0]
			if got := bounded.ExpiresAt.Sub(bounded.IssuedAt); got > time.Hour || (ttl == 0 && got != time.Minute) {
				t.Errorf("asked for %v: renewed for %v where an hour is the most", ttl, got)
			}
			check(t, s.DeleteInvites(t.Context(), i.ID))
		}
		for _, ttl := range []time.Duration{-time.Hour, time.Nanosecond, time.Minute - 1, 48*time.Hour + 1, 1 << 62} {
			_, err := s.CreateInvites(t.Context(), user.InviteDraft{Email: "ada@example.com", TTL: ttl})
			if wantErr(t, ttl.String(), err, user.ErrInvalid); err != nil && !strings.Contains(err.Error(), "60 to 172800 seconds") {
				t.Errorf("%v: %q", ttl, err)
			}
		}
		if n := b.count(t, "invite"); n != 0 {
			t.Errorf("%d invites are left", n)
		}
	})
}

func TestOptionsOfInvitesThatContradictEachOtherAreRefused(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		for name, o := range map[string]user.Options{
			"more than the most":         {InviteTTL: 2 * time.Hour, InviteMaxTTL: time.Hour},
			"the usual is more":          {InviteMaxTTL: time.Hour},
			"fewer than none":            {InviteMaxPending: -1},
			"long, and nothing else":     {InviteTTL: 10000 * time.Hour},
			"the most and no usual time": {InviteMaxTTL: 24 * time.Hour},
		} {
			_, err := user.New(user.Params{DB: b.db, Keys: ring(t, secret('a')), Options: o})
			if good := strings.Contains(name, "nothing") || strings.Contains(name, "no usual"); (err == nil) != good {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}

func TestAMessageIsPlainTextWithAnEnd(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		for message, want := range map[string]string{
			"":                                   "",
			" \n ":                               "",
			"Hello!\r\n\r\nBob\n":                "Hello!\n\nBob",
			"<b>a</b> & \"c\" {{.}}":             "<b>a</b> & \"c\" {{.}}",
			"a\tb":                               "a\tb",
			"שלום, 你好 👩‍👩‍👧":                     "שלום, 你好 👩‍👩‍👧",
			strings.Repeat("é", user.MaxMessage): strings.Repeat("é", user.MaxMessage),
			strings.Repeat("x\n", 19) + "x":      strings.Repeat("x\n", 19) + "x",
			strings.Repeat("\n", 600) + "x" + "\n\n\n": "x",
		} {
			i := must(b.CreateInvites(t.Context(), user.InviteDraft{Email: "ada@example.com", Message: message}))(t)[0]
			if got := must(b.RetrieveInvite(t.Context(), i.ID))(t); got.Message != want || i.Message != want {
				t.Errorf("%q is kept as %q, want %q", message, got.Message, want)
			}
			check(t, b.DeleteInvites(t.Context(), i.ID))
		}
		for name, message := range map[string]string{
			"too long": strings.Repeat("é", user.MaxMessage+1), "too many lines": strings.Repeat("x\n", 20) + "x", "NUL": "a\x00b", "escape": "a\x1b[31mb", "carriage return": "a\rb",
			"C1": "a\u0085b", "line separator": "a\u2028b", "right to left": "a\u202eb", "isolate": "a\u2067b", "mark": "a\u200fb", "soft hyphen": "a\u00adb", "no width": "a\u200bb", "no UTF-8": "a\xffb", "bell": "\a", "delete": "a\x7f",
		} {
			_, err := b.CreateInvites(t.Context(), user.InviteDraft{Email: "ada@example.com", Message: message})
			wantErr(t, name, err, user.ErrInvalid)
		}
		if n := b.count(t, "invite"); n != 0 {
			t.Errorf("%d invites are left", n)
		}
	})
}

func TestInvitesAreListedByTheirStatus(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		must(b.SetupInvite(t.Context()))(t)
		must(b.hasty(t).CreateInvites(t.Context(), inviteDrafts("expired@example.com")...))(t)
		all := must(b.CreateInvites(t.Context(), inviteDrafts("pending@example.com", "accepted@example.com", "withdrawn@example.com")...))(t)
		check(t, b.AcceptInvite(t.Context(), all[1], user.NewID()))
		check(t, b.SoftDeleteInvites(t.Context(), all[2].ID))
		for _, c := range []struct {
			f    user.InviteFilter
			want string
		}{
			{user.InviteFilter{}, "expired pending"},
			{user.InviteFilter{Status: user.StatusPending}, "pending"},
			{user.InviteFilter{Status: user.StatusExpired}, "expired"},
			{user.InviteFilter{Status: user.StatusAccepted}, "accepted"},
			{user.InviteFilter{Status: user.StatusAccepted, Accepted: true}, "accepted"},
			{user.InviteFilter{Status: user.StatusPending, Accepted: true}, "pending"},
			{user.InviteFilter{Status: user.StatusPending, WithDeleted: true}, "pending withdrawn"},
			{user.InviteFilter{Status: user.StatusPending, Q: "nobody"}, ""},
			{user.InviteFilter{Or: []user.InviteFilter{{Status: user.StatusAccepted}}}, "expired pending"},
		} {
			got, n, err := b.ListAndCountInvites(t.Context(), c.f, user.Page{Order: "email"})
			check(t, err)
			names := strings.ReplaceAll(strings.Join(inviteEmails(got), " "), "@example.com", "")
			if names != c.want || n != len(got) {
				t.Errorf("%+v: %q of %d, want %q", c.f, names, n, c.want)
			}
		}
		_, err := b.ListInvites(t.Context(), user.InviteFilter{Status: "open"}, user.Page{})
		wantErr(t, "a status that is none", err, user.ErrQuery)
	})
}
