package user_test

import (
	"context"
	"errors"
	"slices"
	"testing"

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
