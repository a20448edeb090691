package httpapi_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

// shipped are the reasons to wait, each with what brings it about.
var shipped = []struct {
	want   link.Waiting
	actor  link.ActorOptions
	body   string // of a sign-in by the provider vouching
	proves bool   // a mail to prove the address is under way
}{
	{link.WaitVerifyEmail, link.ActorOptions{}, `{"name":"impostor","email":"ada@example.com"}`, false},
	{link.WaitProof, link.ActorOptions{RequireVerifiedEmail: true}, `{"name":"bob","email":"bob@example.com"}`, true},
	{link.WaitProof, link.ActorOptions{Policy: link.AllowDomains(nil, "example.com")}, `{"name":"bob","email":"bob@example.com"}`, true},
	{link.WaitEmail, link.ActorOptions{}, `{"name":"nameless"}`, false},
	{link.WaitEmail, link.ActorOptions{Policy: link.AllowDomains(nil, "example.com")}, `{"name":"nameless"}`, false},
	{link.WaitDomain, link.ActorOptions{Policy: link.AllowDomains(nil, "example.com")}, `{"name":"eve","email":"eve@example.org","verified":true}`, false},
	{link.WaitInvite, link.ActorOptions{Policy: link.InviteOnly{}}, `{"name":"bob","email":"bob@example.com","verified":true}`, false},
	{link.WaitManual, link.ActorOptions{Policy: link.Manual{}}, `{"name":"bob","email":"bob@example.com","verified":true}`, false},
}

func TestWhoeverWaitsIsToldWhyAndWhatToDo(t *testing.T) {
	docs, err := os.ReadFile("../../docs/http-api.md")
	check(t, err)
	for _, c := range shipped {
		t.Run(c.want.Reason, func(t *testing.T) {
			eachWith(t, settings{actor: c.actor}, func(t *testing.T, s *server) {
				_, err := s.link.CreateUser(t.Context(), "emailpass", auth.Input(credentials("ada@example.com", password)), user.Draft{Email: "ada@example.com"})
				check(t, err)
				a := s.do(t, "POST", "/auth/user/vouching", c.body)
				if a.status != 200 || a.get("link", "reason") != c.want.Reason || a.get("link", "message") != c.want.Message || a.get("link", "next") != c.want.Next {
					t.Errorf("%d %s, want %+v", a.status, a.body, c.want)
				}
				if claims(t, a.get("token"))["actor_id"] != "" || strings.Contains(a.body, `"verification_required":true`) != c.proves {
					t.Errorf("%s: the token speaks for somebody, or verification_required is not %t", a.body, c.proves)
				}
				if n := s.count(t, "user"); n != 1 {
					t.Errorf("%d users, want that of before", n)
				}
			})
			if !strings.Contains(string(docs), "\n| `"+c.want.Reason+"` | "+c.want.Message+" | ") {
				t.Errorf("docs/http-api.md does not list %s with its message", c.want.Reason)
			}
		})
	}
}

func TestAHookIsNamedInTheAnswerAndNothingElseOfIt(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		var answer error
		hook := link.Hook{Name: "profiles", OnProvision: func(context.Context, link.Provisioned) error { return answer }}
		s := serve(t, at.Open(t, user.Migrations(), auth.Migrations(), link.Migrations(), audit.Migrations()), settings{links: []link.Hook{hook}})
		s.register(t, "ada@example.com")
		for _, c := range []struct {
			answer error
			status int
			want   string
		}{
			{errors.New("the disk of the application is full"), 500, `{"code":"unknown_error","type":"unknown_error","message":"The hook profiles failed."}`},
			{fault.New(fault.Invalid, "no_seats", "No seats are left."), 400, problem("invalid_data", "No seats are left.", "profiles.no_seats")},
			{nil, 200, ""},
		} {
			answer = c.answer
			a := s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password))
			if a.status != c.status || c.want != "" && a.body != c.want {
				t.Errorf("%d %s, want %d %s", a.status, a.body, c.status, c.want)
			}
			if users := s.count(t, "user"); (users == 1) != (answer == nil) {
				t.Errorf("%d users after %v", users, answer)
			}
		}
		if !strings.Contains(s.log.String(), "hook profiles: the disk of the application is full") {
			t.Error("the log does not say what the hook failed of")
		}
	})
}
