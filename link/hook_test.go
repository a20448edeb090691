package link_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

// rows is a table of an application's, in which its hook writes a line for each call, by a plain INSERT: what was rolled back
// is not in it.
type rows struct {
	bridge
	answer func() error // what the hook says after it has written
}

func (r *rows) write(ctx context.Context, what, identity, actor, text string) error {
	if _, err := r.db.Conn(ctx).ExecContext(ctx, "INSERT INTO rows (what, identity, actor, text) VALUES (?, ?, ?, ?)", what, identity, actor, text); err != nil {
		return err
	}
	if r.answer != nil {
		return r.answer()
	}
	return nil
}

func (r *rows) hook() link.Hook {
	return link.Hook{
		Name: "rows",
		OnProvision: func(ctx context.Context, p link.Provisioned) error {
			text := fmt.Sprintf("%s %s %s %s %t %s", p.ActorType, p.Via, p.Provider, p.EntityID, p.Created, p.Profile.Email)
			if u, err := r.users.RetrieveUser(ctx, user.ID(p.ActorID)); err != nil || u.Email == "" { // they are there
				return fmt.Errorf("no user %q: %w", p.ActorID, err)
			}
			return r.write(ctx, "provision", string(p.Identity), p.ActorID, text)
		},
		OnJoin: func(ctx context.Context, j link.Joined) error {
			return r.write(ctx, "join", string(j.Identity), j.ActorID, "")
		},
		OnReclaim: func(ctx context.Context, j link.Reclaimed) error {
			return r.write(ctx, "reclaim", string(j.Identity), j.ActorID, "")
		},
	}
}

// take returns what the hook was called for since, without the ids.
func (r *rows) take(t testing.TB) (calls []string) {
	t.Helper()
	found, err := r.db.Conn(t.Context()).QueryContext(t.Context(), "SELECT what, text FROM rows ORDER BY what, text")
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	for found.Next() {
		var what, text string
		if err := found.Scan(&what, &text); err != nil {
			t.Fatal(err)
		}
		calls = append(calls, strings.TrimSpace(what+" "+text))
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	r.exec(t, "DELETE FROM rows")
	return calls
}

func (b bridge) exec(t testing.TB, statement string) {
	t.Helper()
	if err := b.db.InTx(t.Context(), func(ctx context.Context) error {
		_, err := b.db.Conn(ctx).ExecContext(ctx, statement)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// noted has a service on the bridge whose hook writes rows.
func noted(t testing.TB, b bridge, o link.ActorOptions, more ...link.Hook) *rows {
	t.Helper()
	b.exec(t, "CREATE TABLE rows (what text NOT NULL, identity text NOT NULL, actor text NOT NULL, text text NOT NULL)")
	r := &rows{bridge: b}
	var err error
	r.link, err = link.New(link.Params{DB: b.db, Users: b.users, Auth: b.auth, Hooks: append(more, r.hook()),
		Options: link.Options{Actors: map[string]link.ActorOptions{link.ActorUser: o}}})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// way is one by which somebody becomes a user.
type way struct {
	name  string
	scene func(t *testing.T, r *rows) (do func() error) // what comes before, without the hook having anything to say
	want  []string
}

var everyWay = []way{
	{"the first sign-in", func(t *testing.T, r *rows) func() error {
		r.signUp(t, "ada@example.com", "correct horse")
		return func() error {
			_, err := r.signIn(t.Context(), "emailpass", credentials("ada@example.com", "correct horse"))
			return err
		}
	}, []string{"provision user first_auth emailpass ada@example.com true ada@example.com"}},
	{"the first sign-in of an identity that is new", func(t *testing.T, r *rows) func() error {
		return func() error {
			_, err := r.signIn(t.Context(), "vouching", vouched("ada", "ada@example.com", true))
			return err
		}
	}, []string{"provision user first_auth vouching ada true ada@example.com"}},
	{"the first sign-in of who was invited", func(t *testing.T, r *rows) func() error {
		r.invite(t, "ada@example.com", user.ByMail)
		return func() error {
			_, err := r.signIn(t.Context(), "vouching", vouched("ada", "ada@example.com", true))
			return err
		}
	}, []string{"provision user invite vouching ada true ada@example.com"}},
	{"an invite that is accepted", func(t *testing.T, r *rows) func() error {
		token := r.invite(t, "ada@example.com", user.ByMail)
		l := r.signUp(t, "ada@example.com", "correct horse")
		return func() error { _, err := r.link.Accept(t.Context(), l.Session, token, link.Acceptance{}); return err }
	}, []string{"provision user invite emailpass ada@example.com true ada@example.com"}},
	{"the set-up link", func(t *testing.T, r *rows) func() error {
		i, err := r.users.SetupInvite(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		l := r.signUp(t, "ada@example.com", "correct horse")
		return func() error {
			_, err := r.link.Accept(t.Context(), l.Session, r.users.InviteToken(i, user.ByHand), link.Acceptance{})
			return err
		}
	}, []string{"provision user setup emailpass ada@example.com true ada@example.com"}},
	{"an invite that takes over", func(t *testing.T, r *rows) func() error {
		token := r.invite(t, "ada@example.com", user.ByMail)
		if _, err := r.signIn(t.Context(), "vouching", vouched("squatter", "ada@example.com", false)); err != nil {
			t.Fatal(err)
		}
		l := r.signUp(t, "ada@example.com", "correct horse")
		return func() error { _, err := r.link.Accept(t.Context(), l.Session, token, link.Acceptance{}); return err }
	}, []string{"provision user invite emailpass ada@example.com false ada@example.com", "reclaim"}},
	{"a proof that reclaims", func(t *testing.T, r *rows) func() error {
		if _, err := r.signIn(t.Context(), "vouching", vouched("squatter", "ada@example.com", false)); err != nil {
			t.Fatal(err)
		}
		return func() error {
			_, err := r.signIn(t.Context(), "vouching", vouched("ada", "ada@example.com", true))
			return err
		}
	}, []string{"provision user first_auth vouching ada false ada@example.com", "reclaim"}},
	{"a user who was nobody's", func(t *testing.T, r *rows) func() error {
		if _, err := r.users.CreateUsers(t.Context(), user.Draft{Email: "ada@example.com"}); err != nil {
			t.Fatal(err)
		}
		return func() error {
			_, err := r.signIn(t.Context(), "vouching", vouched("ada", "ada@example.com", true))
			return err
		}
	}, []string{"provision user first_auth vouching ada false ada@example.com"}},
	{"another way to sign in", func(t *testing.T, r *rows) func() error {
		if _, err := r.signIn(t.Context(), "vouching", vouched("ada", "ada@example.com", true)); err != nil {
			t.Fatal(err)
		}
		return func() error {
			_, err := r.signIn(t.Context(), "vouching", vouched("ada again", "ada@example.com", true))
			return err
		}
	}, []string{"join"}},
	{"an address that is proved", func(t *testing.T, r *rows) func() error {
		if _, err := r.users.CreateUsers(t.Context(), user.Draft{Email: "ada@example.com"}); err != nil {
			t.Fatal(err)
		}
		l, err := r.signIn(t.Context(), "vouching", vouched("ada", "ada@example.com", false))
		if err != nil || l.Waiting == nil {
			t.Fatalf("%+v, %v, want somebody who waits", l.Waiting, err)
		}
		if _, err := r.link.RequestVerification(t.Context(), l.Session, auth.VerificationRequest{Email: "ada@example.com"}); err != nil {
			t.Fatal(err)
		}
		made, err := r.auth.CreateVerificationToken(t.Context(), r.lastVerification(t, l.Session, "ada@example.com"))
		if err != nil {
			t.Fatal(err)
		}
		return func() error { _, err := r.link.ConfirmVerification(t.Context(), l.Session, made.Token); return err }
	}, []string{"provision user first_auth vouching ada false ada@example.com"}},
	{"the command line", func(t *testing.T, r *rows) func() error {
		return func() error {
			_, err := r.link.CreateUser(t.Context(), "emailpass", credentials("ada@example.com", "correct horse"), user.Draft{Email: "ada@example.com", Via: user.ViaCLI})
			return err
		}
	}, []string{"provision user cli emailpass ada@example.com true ada@example.com"}},
	{"the command line, of who has registered", func(t *testing.T, r *rows) func() error {
		r.signUp(t, "ada@example.com", "correct horse")
		return func() error {
			_, err := r.link.CreateUser(t.Context(), "emailpass", credentials("ada@example.com", "correct battery"), user.Draft{Email: "ada@example.com"})
			return err
		}
	}, []string{"provision user api emailpass ada@example.com true ada@example.com"}},
}

func (b bridge) invite(t testing.TB, email string, by user.Channel) (token string) {
	t.Helper()
	made, err := b.users.CreateInvites(t.Context(), user.InviteDraft{Email: email, Roles: []string{"editor"}})
	if err != nil {
		t.Fatal(err)
	}
	return b.users.InviteToken(made[0], by)
}

func TestHooksRunOnceForEveryLinkByWhateverWay(t *testing.T) {
	for _, w := range everyWay {
		t.Run(w.name, func(t *testing.T) {
			each(t, func(t *testing.T, b bridge) {
				var order []string
				note := func(name string) link.Hook {
					return link.Hook{Name: name, OnProvision: func(context.Context, link.Provisioned) error { order = append(order, name); return nil }}
				}
				r := noted(t, b, link.ActorOptions{}, note("z"), note("a"), link.Hook{Name: "idle"})
				do := w.scene(t, r)
				r.take(t)
				order = nil
				if err := do(); err != nil {
					t.Fatal(err)
				}
				if got := r.take(t); !slices.Equal(got, w.want) {
					t.Errorf("the hook wrote %q, want %q", got, w.want)
				}
				if strings.HasPrefix(w.want[0], "provision") && !slices.Equal(order, []string{"a", "z"}) {
					t.Errorf("the hooks were called in the order %q", order)
				}
				if w.name == "another way to sign in" || strings.Contains(w.name, "invite that") || strings.Contains(w.name, "command") || strings.Contains(w.name, "proved") || strings.Contains(w.name, "link") {
					return // to do it again is something else
				}
				if err := do(); err != nil {
					t.Fatal(err)
				}
				if got := r.take(t); got != nil {
					t.Errorf("at the next sign-in the hook wrote %q", got)
				}
			})
		})
	}
}

var errNoSeats = fault.New(fault.NotAllowed, "no_seats", "No seats are left.")

func TestWhatAHookRefusesHasNotHappenedAndTheNextAttemptWorks(t *testing.T) {
	for _, w := range everyWay {
		t.Run(w.name, func(t *testing.T) {
			each(t, func(t *testing.T, b bridge) {
				r := noted(t, b, link.ActorOptions{})
				do := w.scene(t, r)
				r.take(t)
				was := r.tables(t)
				broken := errors.New("the disk of the application is full")
				for _, refusal := range []error{broken, errNoSeats} {
					r.answer = func() error { return refusal }
					err := do()
					var hook *link.HookError
					if !errors.Is(err, refusal) || !errors.As(err, &hook) || hook.Hook != "rows" || !strings.Contains(err.Error(), "hook rows: "+refusal.Error()) {
						t.Errorf("%v, want %q under the hook's name", err, refusal)
					}
					switch f, ok := fault.Of(err); {
					case refusal == broken && ok:
						t.Errorf("%v is a fault: %+v", err, f)
					case refusal != broken && (!ok || f.Kind != fault.NotAllowed || f.Reason != "rows.no_seats" || f.Message != errNoSeats.Message):
						t.Errorf("%+v, want the hook's fault under its name", f)
					}
					if now := r.tables(t); !reflect.DeepEqual(was, now) {
						t.Errorf("refused, and the tables hold\n%v\nwant\n%v", now, was)
					}
				}
				r.answer = func() error { panic("hook of a test") }
				func() {
					defer func() {
						if recover() == nil {
							t.Error("the panic was swallowed")
						}
					}()
					_ = do()
				}()
				if now := r.tables(t); !reflect.DeepEqual(was, now) {
					t.Errorf("after a panic the tables hold\n%v\nwant\n%v", now, was)
				}
				if got := r.take(t); got != nil {
					t.Errorf("rows of the hook stayed: %q", got)
				}
				r.answer = nil
				if err := do(); err != nil {
					t.Fatal(err)
				}
				if got := r.take(t); !slices.Equal(got, w.want) {
					t.Errorf("the hook wrote %q, want %q", got, w.want)
				}
			})
		})
	}
}

// tables are what is in our tables but for the counts of attempts, which outlive what is refused.
func (b bridge) tables(t testing.TB) map[string][]string {
	t.Helper()
	tables := databasetest.Dump(t, b.db)
	delete(tables, "latchkey_auth_throttle")
	return tables
}

func TestManyFirstSignInsAtOnceLeaveOneRowOfTheHook(t *testing.T) {
	each(t, func(t *testing.T, b bridge) {
		r := noted(t, b, link.ActorOptions{})
		r.signUp(t, "ada@example.com", "correct horse")
		for i, err := range databasetest.Together(200, func(int) error {
			l, err := r.signIn(t.Context(), "emailpass", credentials("ada@example.com", "correct horse"))
			if err == nil && l.ActorID == "" {
				err = errors.New("nobody")
			}
			return err
		}) {
			if err != nil {
				t.Fatalf("sign-in %d: %v", i, err)
			}
		}
		if got := r.take(t); len(got) != 1 || r.count(t, "user") != 1 {
			t.Errorf("%d rows, %d users, want one of each", len(got), r.count(t, "user"))
		}
	})
}

// Of many who sign in for the first time at once, each time the hook fails for one of them another makes the user.
func TestAHookThatFailsNowAndThenLeavesARowIffAUser(t *testing.T) {
	each(t, func(t *testing.T, b bridge) {
		r := noted(t, b, link.ActorOptions{})
		left := make(chan struct{}, 5) // how often it fails still
		for range cap(left) {
			left <- struct{}{}
		}
		r.answer = func() error {
			select {
			case <-left:
				return errNoSeats
			default:
				return nil
			}
		}
		r.signUp(t, "ada@example.com", "correct horse")
		failed := 0
		for i, err := range databasetest.Together(50, func(int) error {
			_, err := r.signIn(t.Context(), "emailpass", credentials("ada@example.com", "correct horse"))
			return err
		}) {
			switch {
			case errors.Is(err, errNoSeats):
				failed++
			case err != nil:
				t.Errorf("sign-in %d: %v", i, err)
			}
		}
		if got := r.take(t); failed != 5 || len(got) != 1 || r.count(t, "user") != 1 || r.count(t, "link") != 1 {
			t.Errorf("%d failed; %d rows, %d users, %d links, want one of each after 5", failed, len(got), r.count(t, "user"), r.count(t, "link"))
		}
	})
}

func TestHooksAndPoliciesThatCannotBeAreRefusedAtTheStart(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		b := newBridge(t, at.Open(t, user.Migrations(), auth.Migrations(), link.Migrations()), link.ActorOptions{})
		auto := link.AutoProvision{}
		for says, p := range map[string]link.Params{
			"a hook needs a name":             {Hooks: []link.Hook{{}}},
			`two hooks are called "twice"`:    {Hooks: []link.Hook{{Name: "twice"}, {Name: "other"}, {Name: "twice"}}},
			"two policies decide about users": {Policy: auto, Options: link.Options{Actors: map[string]link.ActorOptions{"user": {Policy: auto}}}},
			`"*.example.com" is no domain`:    {Policy: link.AllowDomains(auto, "example.com", "*.example.com")},
			`"bücher.example" is no domain`:   {Policy: link.WithRoles(link.AllowDomains(auto, "bücher.example"), "member")},
			"A role must be a name":           {Policy: link.WithDraft(link.WithRoles(auto, "a b"), draftOf(nil))},
			"WithDraft needs a function":      {Policy: link.AllowDomains(link.WithDraft(auto, nil), "example.com")},
		} {
			p.DB, p.Users, p.Auth = b.db, b.users, b.auth
			if _, err := link.New(p); err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("%v, want one that says %s", err, says)
			}
		}
	})
}
