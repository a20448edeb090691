package user_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

type onUsers = func(context.Context, ...user.ID) error

func TestHooksRunWhileTheUsersAreThereAndCanRefuse(t *testing.T) {
	for name, method := range map[string]func(bench) onUsers{
		"delete":      func(b bench) onUsers { return b.DeleteUsers },
		"soft-delete": func(b bench) onUsers { return b.SoftDeleteUsers },
		"deactivate":  func(b bench) onUsers { return b.DeactivateUsers },
	} {
		t.Run(name, func(t *testing.T) { each(t, func(t *testing.T, b bench) { hooksRunAndCanRefuse(t, b, method(b)) }) })
	}
}

func hooksRunAndCanRefuse(t *testing.T, b bench, call onUsers) {
	refused := errors.New("refused")
	var asked []user.ID
	var answer error
	hook := func(ctx context.Context, ids []user.ID) error {
		asked = ids
		for _, id := range ids {
			if _, err := b.RetrieveUser(ctx, id); err != nil {
				return err
			}
		}
		if _, err := b.CreateUsers(ctx, user.Draft{Email: "hook@example.com"}); err != nil {
			return err
		}
		return answer
	}
	b.OnDelete(hook)
	b.OnDeactivate(hook)
	ada := b.user(t, "ada@example.com")
	b.said.take()

	answer = refused
	wantErr(t, "the refusal", call(t.Context(), "user_none", ada.ID), refused)
	if now := must(b.RetrieveUser(t.Context(), ada.ID))(t); !now.Active() {
		t.Error("it happened although a hook refused")
	}
	if got := b.emails(t); !slices.Equal(got, []string{ada.Email}) {
		t.Errorf("users %v, want ada, and nobody of the hook's", got)
	}
	b.wantSaid(t)

	answer, asked = nil, nil
	check(t, call(t.Context(), "user_none", ada.ID))
	if !slices.Equal(asked, []user.ID{ada.ID}) {
		t.Errorf("the hook was asked about %v, want ada alone", asked)
	}
	if got := b.emails(t); !slices.Contains(got, "hook@example.com") {
		t.Errorf("users %v, want the hook's among them", got)
	}
	asked = nil
	check(t, call(t.Context(), "user_none"))
	if asked != nil {
		t.Errorf("the hook was asked about %v, to whom nothing happened", asked)
	}
}

// noted are the calls of hooks, in order: name, moment, e-mail addresses of the users as the hook can read them.
type noted struct {
	b     bench
	calls []string
}

// hook notes what it is called for, and answers err.
func (n *noted) hook(name string, err *error) user.Hook {
	on := func(moment string) func(context.Context, []user.User) error {
		return func(ctx context.Context, users []user.User) error {
			for _, u := range users {
				read, err := n.b.RetrieveUser(ctx, u.ID)
				if err != nil || !reflect.DeepEqual(read, u) {
					return fmt.Errorf("given %+v, read %+v, %w", u, read, err)
				}
			}
			n.calls = append(n.calls, name+" "+moment+" "+strings.Join(emails(users), ","))
			return *err
		}
	}
	return user.Hook{Name: name, OnCreate: on("create"), OnUpdate: on("update"), OnRestore: on("restore"),
		OnDelete: func(ctx context.Context, ids []user.ID) error {
			n.calls = append(n.calls, name+" delete "+strconv.Itoa(len(ids)))
			return *err
		}}
}

func (n *noted) take() (calls []string) {
	calls, n.calls = n.calls, nil
	return calls
}

func TestHooksRunInTheOrderOfTheirNamesOnEveryWay(t *testing.T) {
	each(t, func(t *testing.T, plain bench) {
		n, none := &noted{b: plain}, error(nil)
		b := plain.hooked(t, n.hook("z", &none), n.hook("a", &none), user.Hook{Name: "idle"})
		refused := errors.New("refused")
		var answer error
		other := plain.hooked(t, n.hook("x", &none), n.hook("refuser", &answer))

		ada := b.user(t, "ada@example.com")
		deactivated := plain.user(t, "inactive@example.com")
		check(t, plain.DeactivateUsers(t.Context(), deactivated.ID))
		gone := plain.user(t, "gone@example.com")
		check(t, plain.SoftDeleteUsers(t.Context(), gone.ID))
		n.take()
		for _, c := range []struct {
			name string
			call func(b bench) error
			says string // nothing: the hooks are not called
		}{
			{"CreateUsers", func(b bench) error {
				_, err := b.CreateUsers(t.Context(), drafts("bob@example.com", "eve@example.com")...)
				return err
			}, "create bob@example.com,eve@example.com"},
			{"Ensure", func(b bench) error {
				_, _, err := b.Ensure(t.Context(), user.Draft{Email: "first@example.com"})
				return err
			}, "create first@example.com"},
			{"Ensure of who is there", func(b bench) error {
				_, _, err := b.Ensure(t.Context(), user.Draft{Email: "ada@example.com"})
				return err
			}, ""},
			{"UpdateUsers", func(b bench) error {
				_, err := b.UpdateUsers(t.Context(), named(ada.ID, "Ada"), user.Update{ID: deactivated.ID})
				return err
			}, "update ada@example.com"},
			{"UpdateUsers to nothing", func(b bench) error { _, err := b.UpdateUsers(t.Context(), user.Update{ID: ada.ID}); return err }, ""},
			{"AddRoles", func(b bench) error { return b.AddRoles(t.Context(), ada.ID, "writer") }, "update ada@example.com"},
			{"RemoveRoles", func(b bench) error { return b.RemoveRoles(t.Context(), ada.ID, "writer") }, "update ada@example.com"},
			{"ConfirmOwner", func(b bench) error { _, err := b.ConfirmOwner(t.Context(), ada); return err }, "update ada@example.com"},
			{"VerifyEmail", func(b bench) error { return b.VerifyEmail(t.Context(), deactivated.ID, deactivated.Email) }, "update inactive@example.com"},
			{"RestoreUsers", func(b bench) error { return b.RestoreUsers(t.Context(), gone.ID, ada.ID) }, "restore gone@example.com"},
			{"SoftDeleteUsers", func(b bench) error { return b.SoftDeleteUsers(t.Context(), gone.ID, nobodysID) }, "delete 1"},
			{"DeleteUsers", func(b bench) error { return b.DeleteUsers(t.Context(), ada.ID, gone.ID, deactivated.ID) }, "delete 3"},
			{"DeleteUsers of nobody", func(b bench) error { return b.DeleteUsers(t.Context(), nobodysID) }, ""},
		} {
			b.said.take()
			was := databasetest.Dump(t, b.db)
			if c.says != "" {
				answer = refused
				if err := c.call(other); !errors.Is(err, refused) || !strings.HasPrefix(err.Error(), "hook refuser: ") {
					t.Errorf("%s: %v, want the refusal under the hook's name", c.name, err)
				}
				if got := n.take(); len(got) != 1 || !strings.HasPrefix(got[0], "refuser ") {
					t.Errorf("%s: %q, want no hook to run after the one that refuses", c.name, got)
				}
				if !reflect.DeepEqual(was, databasetest.Dump(t, b.db)) {
					t.Errorf("%s: something is written although a hook refuses", c.name)
				}
				b.wantSaid(t)
			}
			check(t, c.call(b))
			var want []string
			if c.says != "" {
				want = []string{"a " + c.says, "z " + c.says}
			}
			if got := n.take(); !slices.Equal(got, want) {
				t.Errorf("%s: hooks %q, want %q", c.name, got, want)
			}
		}
	})
}

func TestHooksNeedNamesOfTheirOwn(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		for _, hooks := range [][]user.Hook{{{}}, {{Name: "a"}, {Name: "b"}, {Name: "a"}}} {
			if _, err := user.New(user.Params{DB: b.db, Keys: ring(t, secret('a')), Hooks: hooks}); err == nil {
				t.Errorf("%+v were taken", hooks)
			}
		}
	})
}
