package httpapi_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// deleteMe has somebody delete themselves, who has the password.
func (s *server) deleteMe(t testing.TB, headers ...string) answer {
	t.Helper()
	return s.do(t, "POST", "/admin/users/me/delete", withCurrent, headers...)
}

func TestEverybodyMayDeleteTheirOwnAccount(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		mine := s.member(t, "ada@example.com")
		id, other := actor(t, mine), s.signIn(t, "ada@example.com")
		cookie := s.openCookie(t, other)
		reset := s.resetToken(t, "ada@example.com", auth.ByMail)

		a := s.deleteMe(t, cookie)
		if a.status != 200 || a.body != `{"id":"`+id+`","object":"user","deleted":true}` {
			t.Fatalf("delete oneself: %d %s", a.status, a.body)
		}
		if c := a.header.Get("Set-Cookie"); !strings.HasPrefix(c, "latchkey=;") || !strings.Contains(a.header.Get("Clear-Site-Data"), "storage") {
			t.Errorf("the browser is told %q, %q", c, a.header.Get("Clear-Site-Data"))
		}
		s.wantDead(t, "everything", bearer(mine), bearer(other), cookie)
		if s.fits(t, "ada@example.com", password) {
			t.Error("the password still signs in")
		}
		if a := s.update(t, reset, newPassword); a.status != 401 || a.body != noToken {
			t.Errorf("a reset token of before: %d %s", a.status, a.body)
		}
		if got := told[user.Deleted](s); len(got) != 1 || string(got[0].ID) != id {
			t.Errorf("announced: %+v", got)
		}

		// The trail says who did it, and an administrator can restore who has gone.
		var trail []string
		for _, e := range s.trail(t, "action=user.deleted") {
			trail = append(trail, fmt.Sprint(e["outcome"], " ", e["actor_id"] == any(id), " ", e["target_id"] == any(id)))
		}
		if !slices.Equal(trail, []string{"success true true"}) {
			t.Errorf("the trail has %q", trail)
		}
		if a := s.do(t, "POST", "/admin/users/"+id+"/restore", "", bearer(admin)); a.status != 200 || a.get("user", "id") != id || a.get("user", "deleted_at") != "" {
			t.Errorf("restore: %d %s", a.status, a.body)
		}
	})
}

// Who has no password has just signed in.
func TestWhoHasNoPasswordDeletesTheirAccountByAFreshSignIn(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		ada := s.vouched(t, "ada", "ada@example.com", true)
		s.age(t, sid(t, ada), "authenticated_at", 6*time.Minute)
		old := s.do(t, "POST", "/admin/users/me/delete", `{}`, bearer(ada))
		if old.status != 403 || old.get("reason") != "sign_in_again" {
			t.Errorf("by a sign-in of a while ago: %d %s", old.status, old.body)
		}
		if a := s.do(t, "POST", "/admin/users/me/delete", `{}`, bearer(s.vouched(t, "ada", "ada@example.com", true))); a.status != 200 {
			t.Errorf("by a fresh one: %d %s", a.status, a.body)
		}
		s.wantDead(t, "what was open", bearer(ada))
		if got := len(s.trail(t, "action=user.deleted&outcome=refused")); got != 1 {
			t.Errorf("%d refusals are in the trail, want one", got)
		}
	})
}

// Of two administrators who go at the same time, one stays.
func TestAdministratorsWhoDeleteThemselvesAtOnceLeaveOne(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		tokens := []string{s.admin(t, "a@example.com"), s.admin(t, "b@example.com"), s.admin(t, "c@example.com")}
		var wg sync.WaitGroup
		statuses := make([]int, 2*len(tokens))
		for i := range statuses {
			wg.Go(func() { statuses[i] = s.deleteMe(t, bearer(tokens[i/2])).status })
		}
		wg.Wait()
		slices.Sort(statuses)
		if done := slices.Index(statuses, 400); done != 2 || slices.Contains(statuses, 500) {
			t.Errorf("answers %v, want two of success", statuses)
		}
		left := 0
		for _, token := range tokens {
			if s.alive(t, bearer(token)) {
				left++
			}
		}
		if left != 1 {
			t.Errorf("%d administrators are left, want one", left)
		}
	})
}
