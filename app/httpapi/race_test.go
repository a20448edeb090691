package httpapi_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/user"
)

func decodeSegment(s string) ([]byte, error) { return base64.RawURLEncoding.DecodeString(s) }

func TestTwoHundredFirstSignInsAtOnceMakeOneUser(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.register(t, "ada@example.com")
		answers := make([]answer, 200)
		together(len(answers), func(i int) {
			answers[i], _ = s.try(t.Context(), "POST", "/auth/user/emailpass", credentials("ada@example.com", password))
		})
		actors := map[any]int{}
		for i, a := range answers {
			if a.status != 200 {
				t.Fatalf("sign-in %d: %d %s", i, a.status, a.body)
			}
			actors[claims(t, a.get("token"))["actor_id"]]++
		}
		if len(actors) != 1 || actors[""] != 0 {
			t.Errorf("the tokens speak for %v, want one user", actors)
		}
		if users, links := s.count(t, "user"), s.count(t, "link"); users != 1 || links != 1 {
			t.Errorf("%d users and %d links, want one of each", users, links)
		}
	})
}

func TestCallersWhoHangUpDuringFirstSignInsLeaveOneUserAndHarmNobody(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		// How long the storm takes, measured on another address.
		storm := func(email string, leave func(i int) time.Duration) (answers []answer, took time.Duration) {
			s.register(t, email)
			answers = make([]answer, 200)
			start := time.Now()
			together(len(answers), func(i int) {
				ctx := t.Context()
				if after := leave(i); after > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, after)
					defer cancel()
				}
				answers[i], _ = s.try(ctx, "POST", "/auth/user/emailpass", credentials(email, password))
			})
			return answers, time.Since(start)
		}
		_, took := storm("warm@example.com", func(int) time.Duration { return 0 })

		answers, _ := storm("ada@example.com", func(i int) time.Duration {
			if i%10 != 0 {
				return 0
			}
			return time.Millisecond + took*time.Duration(i/10)/20
		})
		left := 0
		for i, a := range answers {
			switch {
			case a.status == 200:
			case a.status == 0 && i%10 == 0:
				left++
			default:
				t.Errorf("sign-in %d: %d %s", i, a.status, a.body)
			}
		}
		if left == 0 {
			t.Errorf("nobody hung up in time: the moments were spread over %v", took)
		}
		users, err := s.users.ListUsers(t.Context(), user.Filter{Emails: []string{"ada@example.com"}}, user.Page{})
		check(t, err)
		if len(users) != 1 {
			t.Errorf("%d users, want one", len(users))
		}
		if links := s.count(t, "link"); links != 2 {
			t.Errorf("%d links, want one for each address", links)
		}
		if a := s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password)); a.status != 200 {
			t.Errorf("sign in afterwards: %d %s", a.status, a.body)
		}
	})
}

func TestRegistrationsOfOneAddressAtOnceMakeOneIdentity(t *testing.T) {
	for _, same := range []bool{true, false} {
		t.Run(fmt.Sprintf("same password=%t", same), func(t *testing.T) {
			// Who comes when the address is taken makes a guess, and after ten of these is told to wait: on a busy machine, many do.
			eachWith(t, unthrottled, func(t *testing.T, s *server) {
				answers := make([]answer, 50)
				together(len(answers), func(i int) {
					secret := password
					if !same {
						secret = fmt.Sprintf("%s %d", password, i)
					}
					answers[i], _ = s.try(t.Context(), "POST", "/auth/user/emailpass/register", credentials("ada@example.com", secret))
				})
				won := 0
				for i, a := range answers {
					switch {
					case a.status == 200:
						won++
					case a.status == 401 && a.get("message") == "Identity with email already exists" && a.get("type") == "unauthorized":
					default:
						t.Errorf("registration %d: %d %s", i, a.status, a.body)
					}
				}
				if want := map[bool]int{true: 50, false: 1}[same]; won != want {
					t.Errorf("%d registrations succeeded, want %d", won, want)
				}
				if n := s.count(t, "auth_identity"); n != 1 {
					t.Errorf("%d identities, want one", n)
				}
			})
		})
	}
}

func TestAcceptsOfOneInviteAtOnceMakeOneUser(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		invite := s.do(t, "POST", "/admin/invites", `{"email":"ada@example.com"}`, bearer(admin))
		tokens := make([]string, 50)
		for i := range tokens {
			tokens[i] = s.register(t, fmt.Sprintf("person%d@example.com", i))
		}
		answers := make([]answer, len(tokens))
		together(len(answers), func(i int) {
			answers[i], _ = s.try(t.Context(), "POST", "/admin/invites/accept?token="+invite.get("invite", "token"), `{}`, bearer(tokens[i]))
		})
		won := 0
		for i, a := range answers {
			switch {
			case a.status == 200:
				won++
			case a.status == 400 && a.get("type") == "invalid_data" && a.get("reason") == "invite_used":
			default:
				t.Errorf("accept %d: %d %s", i, a.status, a.body)
			}
		}
		if won != 1 {
			t.Errorf("%d accepts succeeded, want one", won)
		}
		if n := s.count(t, "user"); n != 2 {
			t.Errorf("%d users, want the admin and one more", n)
		}
	})
}

func TestAcceptsByOneIdentityAtOnceAllGetTheSameUser(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		invite := s.do(t, "POST", "/admin/invites", `{"email":"ada@example.com"}`, bearer(admin))
		token := s.register(t, "ada@example.com")
		answers := make([]answer, 50)
		together(len(answers), func(i int) {
			answers[i], _ = s.try(t.Context(), "POST", "/admin/invites/accept?token="+invite.get("invite", "token"), `{}`, bearer(token))
		})
		for i, a := range answers {
			if a.status != 200 || a.get("user", "id") != answers[0].get("user", "id") {
				t.Errorf("accept %d: %d %s", i, a.status, a.body)
			}
		}
		if n := s.count(t, "user"); n != 2 {
			t.Errorf("%d users, want the admin and one more", n)
		}
	})
}

func TestTwoIdentitiesOfOneAddressAtOnceMakeOneUser(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.register(t, "ada@example.com")
		answers := make([]answer, 100)
		together(len(answers), func(i int) {
			if i%2 == 0 {
				answers[i], _ = s.try(t.Context(), "POST", "/auth/user/emailpass", credentials("ada@example.com", password))
			} else {
				answers[i], _ = s.try(t.Context(), "POST", "/auth/user/vouching", `{"name":"ada","email":"ada@example.com"}`)
			}
		})
		for i, a := range answers {
			if a.status != 200 {
				t.Errorf("sign-in %d: %d %s", i, a.status, a.body)
			}
		}
		if n := s.count(t, "user"); n != 1 {
			t.Errorf("%d users, want one", n)
		}
	})
}

func TestACallerWhoHangsUpInsideTheTransactionLeavesTheFirstSignInToTheOthers(t *testing.T) {
	var inside atomic.Pointer[context.CancelFunc]
	entered := make(chan struct{}, 1)
	policy := link.PolicyFunc(func(ctx context.Context, n link.Newcomer) (link.Decision, error) {
		if hangUp := inside.Swap(nil); hangUp != nil {
			entered <- struct{}{}
			(*hangUp)()
			select {
			case <-ctx.Done(): // the server has noticed
			case <-time.After(10 * time.Second):
				return link.Decision{}, errors.New("the request outlived its caller")
			}
		}
		return link.AutoProvision{}.Decide(ctx, n)
	})
	eachWith(t, settings{actor: link.ActorOptions{Policy: policy}}, func(t *testing.T, s *server) {
		s.register(t, "ada@example.com")
		first, hangUp := context.WithCancel(t.Context())
		inside.Store(&hangUp)
		answers := make([]answer, 50)
		together(len(answers), func(i int) {
			ctx := t.Context()
			if i == 0 {
				ctx = first
			} else {
				<-entered // the first is inside by now
				entered <- struct{}{}
			}
			answers[i], _ = s.try(ctx, "POST", "/auth/user/emailpass", credentials("ada@example.com", password))
		})
		<-entered
		if answers[0].status != 0 {
			t.Errorf("the caller who hung up got %d", answers[0].status)
		}
		for i, a := range answers[1:] {
			if a.status != 200 {
				t.Errorf("sign-in %d: %d %s", i+1, a.status, a.body)
			}
		}
		if users, links := s.count(t, "user"), s.count(t, "link"); users != 1 || links != 1 {
			t.Errorf("%d users and %d links, want one of each", users, links)
		}
		if strings.Contains(s.log.String(), "outlived") {
			t.Error("the transaction went on although its caller had gone")
		}
	})
}
