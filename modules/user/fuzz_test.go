package user_test

import (
	"encoding/base64"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

func fuzzBench(f *testing.F) bench {
	b := bench{db: databasetest.SQLite(f).Open(f, user.Migrations())}
	b.said = &recorder{t: f, db: b.db}
	b.Service = b.with(f, user.Options{InviteTTL: 24 * time.Hour}, secret('a'))
	return b
}

// Of all texts that look like an invite's token, only its token opens it: not another spelling of it either.
func FuzzInviteToken(f *testing.F) {
	b := fuzzBench(f)
	invite := b.invite(f, "ada@example.com")
	good := []string{b.InviteToken(invite, user.ByHand), b.InviteToken(invite, user.ByMail)}
	// The corpus must outlive the token, so an input says how to change it: what to cut out, from where, and what to put there.
	f.Add(0, 0, "")
	f.Add(500, 0, "\n")
	f.Add(0, 20, "eyJhbGciOiJub25lIn0")
	f.Add(0, 5000, "..")
	f.Add(0, 5000, strings.Repeat(".", 9000))
	f.Add(60, 1, "A")
	f.Fuzz(func(t *testing.T, at, cut int, put string) {
		at = min(max(at, 0), len(good[0]))
		end := min(at+max(cut, 0), len(good[0]))
		token := good[0][:at] + put + good[0][max(at, end):]
		opened, err := b.ValidateInviteToken(t.Context(), token)
		switch genuine := slices.Contains(good, token); {
		case (err == nil) != genuine:
			t.Errorf("%q: %v", token, err)
		case err == nil && opened.ID != invite.ID:
			t.Errorf("%q opens another invite", token)
		case err != nil && !errors.Is(err, user.ErrInviteToken):
			t.Errorf("%q: %v, want %v", token, err, user.ErrInviteToken)
		}
	})
}

// Whatever is given as a place in a list is refused as none, or what comes after it is the list's end from somewhere on.
func FuzzCursor(f *testing.F) {
	b := fuzzBench(f)
	for i, address := range append(numbered(12), "") {
		d := user.Draft{Email: address}
		if i%3 > 0 {
			d.FirstName = &[]string{"Ada", "É"}[i%2]
		}
		must(b.CreateUsers(f.Context(), d))(f)
		if address != "" {
			b.invite(f, "i"+address)
		}
	}
	users := must(b.ListUsers(f.Context(), user.Filter{}, user.Page{}))(f)
	invites := must(b.ListInvites(f.Context(), user.InviteFilter{}, user.Page{}))(f)
	for i, order := range userOrders {
		f.Add(true, i, string(must(base64.RawURLEncoding.DecodeString(user.Page{Order: order}.AfterUser(users[3]).After))(f)), true)
	}
	for i, order := range inviteOrders {
		f.Add(false, i, string(must(base64.RawURLEncoding.DecodeString(user.Page{Order: order}.AfterInvite(invites[3]).After))(f)), true)
	}
	for _, junk := range []string{"50", "%%%", "\n", "' OR ''='", strings.Repeat("a", 3000)} {
		f.Add(true, 3, junk, false)
	}
	f.Add(true, 3, "1\x00user\x00email\x00=' OR ''='\x00"+string(users[0].ID), true)
	f.Add(true, 9, "1\x00user\x00created_at\x00=-9223372036854775808\x00"+string(users[0].ID), true)
	f.Fuzz(func(t *testing.T, ofUsers bool, order int, after string, encode bool) {
		if encode {
			after = base64.RawURLEncoding.EncodeToString([]byte(after))
		}
		p := user.Page{Limit: 100, Order: userOrders[uint(order)%uint(len(userOrders))], After: after}
		list := func(p user.Page) (ids []string, err error) {
			found, err := b.ListUsers(t.Context(), user.Filter{}, p)
			for _, u := range found {
				ids = append(ids, string(u.ID))
			}
			return ids, err
		}
		if !ofUsers {
			p.Order = inviteOrders[uint(order)%uint(len(inviteOrders))]
			list = func(p user.Page) (ids []string, err error) {
				found, err := b.ListInvites(t.Context(), user.InviteFilter{}, p)
				for _, i := range found {
					ids = append(ids, string(i.ID))
				}
				return ids, err
			}
		}
		rest, err := list(p)
		if err != nil {
			if !errors.Is(err, user.ErrCursor) {
				t.Fatalf("%+v: %v", p, err)
			}
			return
		}
		p.After = ""
		all, err := list(p)
		if err != nil || len(rest) > len(all) || !slices.Equal(rest, all[len(all)-len(rest):]) {
			t.Fatalf("after %q by %q: %v, %v, of %v", after, p.Order, rest, err, all)
		}
	})
}
