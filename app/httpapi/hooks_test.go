package httpapi_test

import (
	"context"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Users come to be by the first sign-in, by an invite and by the command line; the application's hooks run for each, and
// what they refuse has not happened.
func TestHooksOfTheApplicationRunHoweverAUserComesToBe(t *testing.T) {
	var made []string
	var answer error
	hook := user.Hook{Name: "app", OnCreate: func(_ context.Context, users []user.User) error {
		for _, u := range users {
			made = append(made, u.CreatedVia+" "+u.Email)
		}
		return answer
	}}
	eachWith(t, settings{hooks: []user.Hook{hook}}, func(t *testing.T, s *server) {
		s.register(t, "first@example.com")
		invited := s.register(t, "invited@example.com")
		invites, err := s.users.CreateInvites(t.Context(), user.InviteDraft{Email: "invited@example.com"})
		check(t, err)
		token := s.users.InviteToken(invites[0], user.ByMail)
		for _, c := range []struct {
			says string
			do   func() answerOrError
		}{
			{"first_auth first@example.com", func() answerOrError {
				return answered(s.do(t, "POST", "/auth/user/emailpass", credentials("first@example.com", password)))
			}},
			{"invite invited@example.com", func() answerOrError {
				return answered(s.do(t, "POST", "/admin/invites/accept?token="+token, `{}`, bearer(invited)))
			}},
			{"cli cli@example.com", func() answerOrError {
				_, err := s.link.CreateUser(t.Context(), "emailpass", auth.Input(credentials("cli@example.com", password)), user.Draft{Email: "cli@example.com", Via: user.ViaCLI})
				return answerOrError{err: err}
			}},
		} {
			was := s.tables(t)
			for _, refusal := range []error{errors.New("the disk of the application is full"), fault.New(fault.Invalid, "no_seats", "No seats are left.")} {
				answer, made = refusal, nil
				got := c.do()
				switch _, known := fault.Of(refusal); {
				case got.status == 0:
					if !errors.Is(got.err, refusal) || !strings.Contains(got.err.Error(), "hook app: ") {
						t.Errorf("%s: %v, want the refusal under the hook's name", c.says, got.err)
					}
				case known:
					if got.status != 400 || got.body != problem("invalid_data", "No seats are left.", "no_seats") {
						t.Errorf("%s: %d %s, want 400 and the hook's words", c.says, got.status, got.body)
					}
				default:
					if got.status != 500 || strings.Contains(got.body, "disk") || !strings.Contains(s.log.String(), "hook app: the disk") {
						t.Errorf("%s: %d %s, want 500, and the reason in the log", c.says, got.status, got.body)
					}
				}
				if now := s.tables(t); !reflect.DeepEqual(was, now) {
					t.Errorf("%s: refused, and the tables hold\n%v\nwant\n%v", c.says, now, was)
				}
			}
			answer, made = nil, nil
			if got := c.do(); got.err != nil || got.status > 200 || !reflect.DeepEqual(made, []string{c.says}) {
				t.Errorf("%s: %d %s %v, the hook saw %q", c.says, got.status, got.body, got.err, made)
			}
		}
	})
}

// tables are what is in the tables but for the counts of attempts, which outlive what is refused.
func (s *server) tables(t *testing.T) map[string][]string {
	t.Helper()
	tables := databasetest.Dump(t, s.db)
	delete(tables, "latchkey_auth_throttle")
	return tables
}

// answerOrError is what a call by HTTP or by Go has come to.
type answerOrError struct {
	answer
	err error
}

func answered(a answer) answerOrError { return answerOrError{answer: a} }
