package user_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/user"
)

func TestMain(m *testing.M) { databasetest.Main(m) }

// bench is a service on an empty database of its own, and what it said.
type bench struct {
	*user.Service
	db   *database.DB
	said *recorder
}

// each runs f on a bench over every database.
func each(t *testing.T, f func(t *testing.T, b bench)) {
	t.Helper()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		b := bench{db: at.Open(t, user.Migrations())}
		b.said = &recorder{t: t, db: b.db}
		b.Service = b.with(t, user.Options{}, secret('a'))
		f(t, b)
	})
}

// with is another service on the same database: another process, or the same after its settings changed.
func (b bench) with(t testing.TB, options user.Options, secrets ...[]byte) *user.Service {
	t.Helper()
	return must(user.New(user.Params{DB: b.db, Keys: ring(t, secrets...), Options: options, Events: b.said}))(t)
}

// hooked is another bench on the same database, whose service has hooks.
func (b bench) hooked(t testing.TB, hooks ...user.Hook) bench {
	t.Helper()
	b.Service = must(user.New(user.Params{DB: b.db, Keys: ring(t, secret('a')), Hooks: hooks, Events: b.said}))(t)
	return b
}

// hasty makes invites that have expired as soon as they are made.
func (b bench) hasty(t testing.TB) *user.Service {
	return b.with(t, user.Options{InviteTTL: time.Microsecond}, secret('a'))
}

func secret(c byte) []byte { return bytes.Repeat([]byte{c}, keyring.MinSecret) }

func ring(t testing.TB, secrets ...[]byte) *keyring.Ring {
	t.Helper()
	r, err := keyring.New(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// user makes a user of an address.
func (b bench) user(t testing.TB, email string, roles ...string) user.User {
	t.Helper()
	return must(b.CreateUsers(t.Context(), user.Draft{Email: email, Roles: roles}))(t)[0]
}

// invite makes an invite to an address.
func (b bench) invite(t testing.TB, email string) user.Invite {
	t.Helper()
	return must(b.CreateInvites(t.Context(), user.InviteDraft{Email: email}))(t)[0]
}

// opens returns what validating the invite's token, as it was when the invite was read, answers.
func (b bench) opens(t testing.TB, i user.Invite) error {
	t.Helper()
	_, err := b.ValidateInviteToken(t.Context(), b.InviteToken(i, user.ByHand))
	return err
}

// byHand sets a time of a user to now, as somebody at the database can who asks nobody, not even whether this is the last admin.
func (b bench) byHand(t testing.TB, id user.ID, column string) {
	t.Helper()
	check(t, b.db.InTx(t.Context(), func(ctx context.Context) error {
		_, err := b.db.Conn(ctx).NewUpdate().Table("latchkey_user").Set("? = ?", bun.Ident(column), database.Now()).Where("id = ?", id).Exec(ctx)
		return err
	}))
}

// emails are those of all living users, in the order in which these were made.
func (b bench) emails(t testing.TB) []string {
	t.Helper()
	return emails(must(b.ListUsers(t.Context(), user.Filter{}, user.Page{Order: "created_at"}))(t))
}

// count returns how many rows a table has.
func (b bench) count(t testing.TB, table string) int {
	t.Helper()
	return int(must(b.db.Conn(t.Context()).NewSelect().TableExpr("latchkey_" + table).Count(t.Context()))(t))
}

func emails(users []user.User) (out []string) {
	for _, u := range users {
		out = append(out, u.Email)
	}
	return out
}

func inviteEmails(invites []user.Invite) (out []string) {
	for _, i := range invites {
		out = append(out, i.Email)
	}
	return out
}

// recorder keeps the events of transactions that committed.
type recorder struct {
	t    testing.TB
	db   *database.DB
	mu   sync.Mutex
	said []string
	fail error
}

func (r *recorder) Emit(ctx context.Context, events ...event.Event) error {
	if _, ok := r.db.Conn(ctx).(bun.Tx); !ok {
		r.t.Errorf("%v was emitted outside a transaction", events)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.fail != nil {
		return r.fail
	}
	return r.db.AfterCommit(ctx, func(context.Context) {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, e := range events {
			r.said = append(r.said, e.Topic()+" "+e.Aggregate())
		}
	})
}

// take returns what was said since it was last taken.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	said := r.said
	r.said = nil
	return said
}

// wantSaid checks what was said since it was last looked at, in any order.
func (b bench) wantSaid(t testing.TB, want ...string) {
	t.Helper()
	got := slices.Sorted(slices.Values(b.said.take()))
	if slices.Sort(want); !slices.Equal(got, want) {
		t.Errorf("events: %q, want %q", got, want)
	}
}

func topic[T ~string](name string, ids ...T) (out []string) {
	for _, id := range ids {
		out = append(out, name+" "+string(id))
	}
	return out
}

// must gives the value of a call that has to succeed.
func must[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantErr(t testing.TB, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Errorf("%s: %v, want %v", what, err, want)
	}
}

// wantOneWinner checks that one of many callers succeeded and all others were told why not.
func wantOneWinner(t testing.TB, errs []error, others error) {
	t.Helper()
	won := 0
	for i, err := range errs {
		switch {
		case err == nil:
			won++
		case !errors.Is(err, others):
			t.Errorf("caller %d: %v, want success or %v", i, err, others)
		}
	}
	if won != 1 {
		t.Errorf("%d of %d won, want one", won, len(errs))
	}
}

func ids[T any, ID ~string](of []T, id func(T) ID) (out []ID) {
	for _, x := range of {
		out = append(out, id(x))
	}
	return out
}

func userIDs(users []user.User) []user.ID {
	return ids(users, func(u user.User) user.ID { return u.ID })
}

func inviteIDs(invites []user.Invite) []user.InviteID {
	return ids(invites, func(i user.Invite) user.InviteID { return i.ID })
}

// numbered are n addresses.
func numbered(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("u%04d@example.com", i)
	}
	return out
}

// drafts are users to be, one of each address.
func drafts(emails ...string) (out []user.Draft) {
	for _, e := range emails {
		out = append(out, user.Draft{Email: e})
	}
	return out
}

func inviteDrafts(emails ...string) (out []user.InviteDraft) {
	for _, e := range emails {
		out = append(out, user.InviteDraft{Email: e})
	}
	return out
}

// nobody are ids that no row has, the last of which cannot even be written into a statement.
var nobody = []user.ID{"user_01ARZ3NDEKTSV4RRFFQ69G5FAV", "", "x", "' OR ''='", "\xff", "user_\x00"}
