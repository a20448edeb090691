package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"github.com/latchkey-go/latchkey/app/audit"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

func shownSession(current bool) string {
	return fmt.Sprintf(`{"id":"<authsess id>","current":%t,"actor_type":"user","auth_provider":"emailpass","user_agent":"Go-http-client/1.1","ip":"127.0.0.1",`+
		`"created_at":"<time>","authenticated_at":"<time>","last_used_at":"<time>","expires_at":"<time>"}`, current)
}

// The scene of these has the ids of the sessions of each: {session of member}.
var sessionsRoutes = []fixture{
	{"own without a token", "", "GET /auth/sessions", "", 401, unauthorized},
	{"own with nonsense", "nonsense", "GET /auth/sessions", "", 401, unauthorized},
	{"own", "member", "GET /auth/sessions", "", 200, `{"sessions":[` + strings.Replace(shownSession(true), "<authsess id>", "{session of member}", 1) + `],"count":1,"offset":0,"limit":50}`},
	{"own of somebody who is nobody yet", "newcomer", "GET /auth/sessions?fields=id,current", "", 200, `{"sessions":[{"id":"{session of newcomer}","current":true}],"count":1,"offset":0,"limit":50}`},
	{"own, counted", "member", "GET /auth/sessions?limit=0", "", 200, `{"sessions":[],"count":1,"offset":0,"limit":0}`},
	{"own, behind the last", "member", "GET /auth/sessions?offset=1&limit=3&order=-last_used_at", "", 200, `{"sessions":[],"count":1,"offset":1,"limit":3}`},
	{"own by what is no parameter", "member", "GET /auth/sessions?actor_type=user", "", 400, invalid("Unrecognized fields: 'actor_type'; use limit, offset, order, fields")},
	{"own by place", "member", "GET /auth/sessions?after=", "", 400, invalid("Unrecognized fields: 'after'; use limit, offset, order, fields")},
	{"own in an order there is not", "member", "GET /auth/sessions?order=secret_hash", "", 400,
		problem("invalid_data", "Invalid request: order must be one of id, created_at, last_used_at, expires_at, with - before it for descending", "order_unknown")},
	{"own of a negative limit", "member", "GET /auth/sessions?limit=-1", "", 400, invalid("limit must not be negative")},

	{"of a user by nobody", "", "GET /admin/users/{member}/sessions", "", 401, unauthorized},
	{"of a user by a member, even of themselves", "member", "GET /admin/users/{member}/sessions", "", 403, forbidden},
	{"of a user", "admin", "GET /admin/users/{member}/sessions", "", 200, `{"sessions":[` + strings.Replace(shownSession(false), "<authsess id>", "{session of member}", 1) + `],"count":1,"offset":0,"limit":50}`},
	{"of oneself, as an admin", "admin", "GET /admin/users/{admin}/sessions?fields=current,ip", "", 200, `{"sessions":[{"current":true,"ip":"127.0.0.1","id":"{session of admin}"}],"count":1,"offset":0,"limit":50}`},
	{"of somebody unknown", "admin", "GET /admin/users/user_none/sessions", "", 404, problem("not_found", "User with id: user_none was not found", "user_not_found")},
	{"of a user by what is no parameter", "admin", "GET /admin/users/{member}/sessions?ip=x", "", 400, invalid("Unrecognized fields: 'ip'; use limit, offset, order, fields")},

	{"end one without a token", "", "DELETE /auth/sessions/{session of member}", "", 401, unauthorized},
	{"end somebody else's", "member", "DELETE /auth/sessions/{session of admin}", "", 200, `{"id":"{session of admin}","object":"session","deleted":true}`},
	{"end what is not there", "member", "DELETE /auth/sessions/nothing", "", 200, `{"id":"nothing","object":"session","deleted":true}`},
	{"end one by what is no parameter", "member", "DELETE /auth/sessions/{session of member}?all=true", "", 400, invalid("Unrecognized fields: 'all'")},
	{"which has ended nothing, of somebody else", "admin", "GET /auth/sessions?fields=current", "", 200, `{"sessions":[{"current":true,"id":"{session of admin}"}],"count":1,"offset":0,"limit":50}`},

	{"end one of a user by nobody", "", "DELETE /admin/users/{member}/sessions/{session of member}", "", 401, unauthorized},
	{"end one of a user by a member", "member", "DELETE /admin/users/{member}/sessions/{session of member}", "", 403, forbidden},
	{"end somebody else's of a user", "admin", "DELETE /admin/users/{member}/sessions/{session of admin}", "", 200, `{"id":"{session of admin}","object":"session","deleted":true}`},
	{"end one of somebody unknown", "admin", "DELETE /admin/users/user_none/sessions/{session of member}", "", 404, problem("not_found", "User with id: user_none was not found", "user_not_found")},
	{"end one of a user by what is no parameter", "admin", "DELETE /admin/users/{member}/sessions/{session of member}?x=y", "", 400, invalid("Unrecognized fields: 'x'")},
	{"which has ended nothing", "member", "GET /auth/sessions?fields=current", "", 200, `{"sessions":[{"current":true,"id":"{session of member}"}],"count":1,"offset":0,"limit":50}`},
	{"end one of a user", "admin", "DELETE /admin/users/{member}/sessions/{session of member}", "", 200, `{"id":"{session of member}","object":"session","deleted":true}`},
	{"after which the token is dead", "member", "GET /auth/sessions", "", 401, unauthorized},

	{"end all of a user by nobody", "", "DELETE /admin/users/{admin}/sessions", "", 401, unauthorized},
	{"end all of a user by a member", "second", "DELETE /admin/users/{admin}/sessions", "", 403, forbidden},
	{"end all of somebody unknown", "admin", "DELETE /admin/users/user_none/sessions", "", 404, problem("not_found", "User with id: user_none was not found", "user_not_found")},
	{"end all of a user by what is no parameter", "admin", "DELETE /admin/users/{second}/sessions?x=y", "", 400, invalid("Unrecognized fields: 'x'")},
	{"end all of a user", "admin", "DELETE /admin/users/{second}/sessions", "", 200, `{"count":1,"object":"session","deleted":true}`},
	{"end all of a user again", "admin", "DELETE /admin/users/{second}/sessions", "", 200, `{"count":0,"object":"session","deleted":true}`},
	{"after which their token is dead", "second", "GET /auth/sessions", "", 401, unauthorized},

	{"end the others without a token", "", "DELETE /auth/sessions", "", 401, unauthorized},
	{"end the others by what is no parameter", "newcomer", "DELETE /auth/sessions?x=y", "", 400, invalid("Unrecognized fields: 'x'")},
	{"end the others", "newcomer", "DELETE /auth/sessions", "", 200, `{"count":0,"object":"session","deleted":true,"token":"<token>"}`},
	{"after which the token of before is dead", "newcomer", "GET /auth/sessions", "", 401, unauthorized},
	{"end one's own", "admin", "DELETE /auth/sessions/{session of admin}", "", 200, `{"id":"{session of admin}","object":"session","deleted":true}`},
	{"after which one is signed out", "admin", "GET /auth/sessions", "", 401, unauthorized},
}

func TestSessionsAnswerAsTheDocumentationSays(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		sc := newScene(t, s)
		sc.tokens["nonsense"], sc.tokens["second"] = "nonsense", s.member(t, "second@example.com")
		sc.ids["second"] = actor(t, sc.tokens["second"])
		for _, who := range []string{"admin", "member", "newcomer", "second"} {
			sc.ids["session of "+who] = sid(t, sc.tokens[who])
		}
		sc.run(t, sessionsRoutes)
	})
}

func sid(t testing.TB, token string) string {
	t.Helper()
	id, _ := claims(t, token)["sid"].(string)
	return id
}

// places are the sessions that a caller lists, each as id, in the answer's order, and which of them is marked.
func (s *server) places(t *testing.T, credential string) (ids []string, current string) {
	t.Helper()
	a := s.do(t, "GET", "/auth/sessions?fields=current", "", credential)
	var list struct {
		Sessions []struct {
			ID      string
			Current bool
		}
		Count int
	}
	if a.status != 200 {
		t.Fatalf("list sessions: %d %s", a.status, a.body)
	}
	check(t, json.Unmarshal([]byte(a.body), &list))
	for _, e := range list.Sessions {
		if ids = append(ids, e.ID); e.Current {
			current += e.ID
		}
	}
	if list.Count != len(ids) {
		t.Errorf("%d are counted, and %d listed", list.Count, len(ids))
	}
	return ids, current
}

func TestEverybodySeesWhereTheyAreSignedInAndEndsIt(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		first := s.member(t, "ada@example.com")
		nextID()
		second := s.token(t, "sign in", s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password), "User-Agent: Lynx/2.9"))
		eve := s.member(t, "eve@example.com")
		nobody := s.register(t, "nina@example.com")
		cookie := s.openCookie(t, second)
		for credential, current := range map[string]string{bearer(first): sid(t, first), bearer(second): sid(t, second), cookie: sid(t, second)} {
			if ids, marked := s.places(t, credential); !slices.Equal(ids, []string{sid(t, second), sid(t, first)}) || marked != current {
				t.Errorf("%.20s: %v with %s marked, want the newer first and %s", credential, ids, marked, current)
			}
		}
		list := s.do(t, "GET", "/auth/sessions", "", bearer(first))
		if !strings.Contains(list.body, `"user_agent":"Lynx/2.9","ip":"127.0.0.1"`) || strings.Contains(list.body, "secret") || strings.Contains(list.body, strings.TrimPrefix(cookie, "Cookie: latchkey=")) {
			t.Errorf("the list: %s", list.body)
		}
		for _, other := range []string{eve, nobody} {
			if ids, _ := s.places(t, bearer(other)); !slices.Equal(ids, []string{sid(t, other)}) {
				t.Errorf("somebody else sees %v", ids)
			}
			for _, id := range []string{sid(t, first), sid(t, second)} {
				if a := s.do(t, "DELETE", "/auth/sessions/"+id, "", bearer(other)); a.status != 200 || a.header.Get("Set-Cookie") != "" {
					t.Errorf("somebody else ends one: %d %s", a.status, a.body)
				}
			}
		}
		if !s.alive(t, bearer(first)) || !s.alive(t, bearer(second)) || !s.alive(t, cookie) {
			t.Fatal("somebody else has ended a session")
		}
		if a := s.do(t, "DELETE", "/auth/sessions/"+sid(t, second), "", bearer(first)); a.status != 200 || a.header.Get("Set-Cookie")+a.header.Get("Clear-Site-Data") != "" {
			t.Errorf("end the other: %d %s, %v", a.status, a.body, a.header)
		}
		s.wantDead(t, "the other one", bearer(second), cookie)
		if ids, _ := s.places(t, bearer(first)); !slices.Equal(ids, []string{sid(t, first)}) {
			t.Errorf("afterwards: %v", ids)
		}
		if !s.alive(t, bearer(eve)) || !s.alive(t, bearer(nobody)) {
			t.Error("sessions of others have ended")
		}
	})
}

func TestWhoSignsOutEverywhereElseGoesOn(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		for _, by := range []string{"token", "cookie"} {
			t.Run(by, func(t *testing.T) {
				email := by + "@example.com"
				mine := s.member(t, email)
				intruder, third := s.signIn(t, email), s.signIn(t, email)
				own, theirs := s.openCookie(t, mine), s.openCookie(t, third)
				move := s.moving(t, intruder, "elsewhere-"+email) // which the intruder, who knows the password, has asked for
				face := map[string]string{"token": bearer(mine), "cookie": own}[by]
				a := s.do(t, "DELETE", "/auth/sessions", "", face)
				if a.status != 200 || a.get("count") != "2" || (a.get("token") != "") != (by == "token") || strings.Contains(strings.Join(a.header.Values("Set-Cookie"), ";"), "latchkey=") != (by == "cookie") {
					t.Fatalf("%d %s, %v", a.status, a.body, a.header)
				}
				s.wantDead(t, "the others, and every token and cookie of before", bearer(intruder), bearer(third), theirs, bearer(mine), own)
				own = bearer(a.get("token"))
				if by == "cookie" {
					own = newCookie(t, a)
				}
				if !s.alive(t, own) {
					t.Error("what is given in its place is dead")
				}
				if fresh := a.get("token"); by == "token" && (sid(t, fresh) != sid(t, mine) || s.me(t, bearer(fresh)).get("user", "email") != email) {
					t.Errorf("the new token is of %s", sid(t, fresh))
				}
				if a := s.move(t, move, own); a.status != 400 || a.get("reason") != "email_change_invalid" {
					t.Errorf("the pending change of address: %d %s, want it void", a.status, a.body)
				}
				if ids, _ := s.places(t, own); !slices.Equal(ids, []string{sid(t, mine)}) {
					t.Errorf("afterwards: %v", ids)
				}
			})
		}
	})
}

// newCookie is the session cookie that an answer sets, as a header.
func newCookie(t *testing.T, a answer) string {
	t.Helper()
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		if strings.HasSuffix(c.Name, "latchkey") {
			return "Cookie: " + c.Name + "=" + c.Value
		}
	}
	t.Fatalf("no cookie is set: %d %s", a.status, a.body)
	return ""
}

// Whoever has got hold of an access token can make a cookie of it. The owner, who does not know of it, ends that along with
// the token.
func TestACookieThatWasMadeOfAStolenTokenDiesWithTheToken(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		for name, act := range map[string]func(t *testing.T, email, face string) answer{
			"change": func(t *testing.T, _, face string) answer {
				return s.do(t, "POST", "/auth/user/emailpass/update", fmt.Sprintf(`{"current_password":%q,"password":"battery staple"}`, password), face)
			},
			"others": func(t *testing.T, _, face string) answer { return s.do(t, "DELETE", "/auth/sessions", "", face) },
			"move": func(t *testing.T, email, face string) answer {
				return s.move(t, s.moving(t, strings.TrimPrefix(face, bearer("")), "new-"+email), face)
			},
		} {
			email := name + "@example.com"
			owner := s.member(t, email)
			stolen := s.openCookie(t, owner)
			a := act(t, email, bearer(owner))
			if a.status != 200 {
				t.Fatalf("%s: %d %s", name, a.status, a.body)
			}
			s.wantDead(t, name, stolen, bearer(owner))
			if !s.alive(t, bearer(a.get("token"))) {
				t.Errorf("%s: the owner is out, too", name)
			}
		}
	})
}

// Another node goes on to take a token for good for up to a second. In that time nothing that lasts is made of it.
func TestADeadTokenThatIsCachedElsewhereMakesNothingThatLasts(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		here := serve(t, at.Open(t, user.Migrations(), auth.Migrations(), link.Migrations(), audit.Migrations()), settings{})
		there := serve(t, at.Open(t), settings{})
		for name, try := range map[string]func(token string) answer{
			"a cookie":    func(token string) answer { return there.do(t, "POST", "/auth/session", "", bearer(token)) },
			"a new token": func(token string) answer { return there.do(t, "DELETE", "/auth/sessions", "", bearer(token)) },
			"a sign-out":  func(token string) answer { return there.do(t, "DELETE", "/auth/session", "", bearer(token)) },
			"a signed-out owner": func(token string) answer {
				return there.do(t, "DELETE", "/auth/sessions/"+sid(t, token), "", bearer(token))
			},
		} {
			email := strings.ReplaceAll(name, " ", "") + "@example.com"
			stolen := here.member(t, email)
			if !there.alive(t, bearer(stolen)) {
				t.Fatal("the token is not good")
			}
			a := here.do(t, "POST", "/auth/user/emailpass/update", fmt.Sprintf(`{"current_password":%q,"password":"battery staple"}`, password), bearer(stolen))
			fresh := here.token(t, "change", a)
			if a := try(stolen); a.status != 401 {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
			if !here.alive(t, bearer(fresh)) {
				t.Errorf("%s: the owner is out", name)
			}
		}
	})
}

func TestOfEightWhoSignOutEverywhereElseOneStays(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.member(t, "ada@example.com")
		tokens, answers := make([]string, 8), make([]answer, 8)
		for i := range tokens {
			tokens[i] = s.signIn(t, "ada@example.com")
		}
		together(len(tokens), func(i int) { answers[i] = s.do(t, "DELETE", "/auth/sessions", "", bearer(tokens[i])) })
		stays := 0
		for i, a := range answers {
			switch {
			case a.status == 200:
				stays++
				if !s.alive(t, bearer(a.get("token"))) {
					t.Errorf("%d has ended all others, and is dead", i)
				}
			case a.status != 401 || a.body != unauthorized:
				t.Errorf("%d: %d %s", i, a.status, a.body)
			}
		}
		if n := s.count(t, "auth_session"); stays != 1 || n != 1 {
			t.Errorf("%d stay, and there are %d sessions", stays, n)
		}
	})
}

func TestSessionsOfWhoMayDoMoreAreEndedByNobodyBelow(t *testing.T) {
	roles := httpapi.Roles{"support": {"user:sessions"}, "reader": {"user:read"}, "owner": {"*"}, "guest": {}}
	eachWith(t, settings{api: httpapi.Options{Roles: roles}}, func(t *testing.T, s *server) {
		sc := newScene(t, s)
		for _, role := range []string{"support", "reader", "owner", "guest", "writer"} {
			sc.tokens[role] = s.somebody(t, role+"@example.com", role)
			sc.ids[role] = actor(t, sc.tokens[role])
		}
		support := bearer(sc.tokens["support"])
		for _, above := range []string{"admin", "owner", "writer", "reader"} {
			for _, path := range []string{"/sessions", "/sessions/" + sid(t, sc.tokens[above])} {
				if a := s.do(t, "DELETE", "/admin/users/"+sc.ids[above]+path, "", support); a.status != 403 || a.body != userBeyond {
					t.Errorf("of %s, %.9s: %d %s", above, path, a.status, a.body)
				}
			}
			// By way of somebody they may act on, it is none of theirs.
			if a := s.do(t, "DELETE", "/admin/users/"+sc.ids["member"]+"/sessions/"+sid(t, sc.tokens[above]), "", support); a.status != 200 {
				t.Errorf("of %s, as if it were the member's: %d %s", above, a.status, a.body)
			}
			if !s.alive(t, bearer(sc.tokens[above])) {
				t.Errorf("the session of %s has ended", above)
			}
		}
		for _, do := range []string{"GET /admin/users/{member}/sessions", "DELETE /admin/users/{member}/sessions", "DELETE /admin/users/{member}/sessions/x"} {
			method, path, _ := strings.Cut(do, " ")
			if a := s.do(t, method, sc.fill(path), "", bearer(sc.tokens["reader"])); a.status != 403 || a.body != insufficient("user:sessions") {
				t.Errorf("%s by a reader: %d %s", do, a.status, a.body)
			}
		}
		second := s.signIn(t, "guest@example.com")
		if a := s.do(t, "GET", "/admin/users/"+sc.ids["guest"]+"/sessions?fields=current", "", support); a.status != 200 || a.get("count") != "2" || strings.Contains(a.body, "true") {
			t.Errorf("a guest's: %d %s", a.status, a.body)
		}
		if a := s.do(t, "DELETE", "/admin/users/"+sc.ids["guest"]+"/sessions/"+sid(t, second), "", support); a.status != 200 {
			t.Errorf("one of a guest: %d %s", a.status, a.body)
		}
		s.wantDead(t, "the guest's one", bearer(second))
		if a := s.do(t, "DELETE", "/admin/users/"+sc.ids["guest"]+"/sessions", "", support); a.status != 200 || a.get("count") != "1" {
			t.Errorf("all of a guest: %d %s", a.status, a.body)
		}
		s.wantDead(t, "the guest", bearer(sc.tokens["guest"]))
		s.signIn(t, "guest@example.com") // they may come back
		a := s.do(t, "DELETE", "/admin/users/"+sc.ids["support"]+"/sessions", "", support)
		if a.status != 200 || a.header.Get("Clear-Site-Data") == "" {
			t.Errorf("their own: %d %s", a.status, a.body)
		}
		s.wantDead(t, "who has ended their own", support)
	})
}

func TestSigningOutHasTheBrowserForget(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		for name, out := range map[string]func(cookie, id string) answer{
			"sign-out":              func(cookie, _ string) answer { return s.do(t, "DELETE", "/auth/session", "", cookie) },
			"the session by its id": func(cookie, id string) answer { return s.do(t, "DELETE", "/auth/sessions/"+id, "", cookie) },
			"as an admin": func(cookie, id string) answer {
				return s.do(t, "DELETE", "/admin/users/"+actor(t, admin)+"/sessions/"+id, "", cookie)
			},
			"all, as an admin": func(cookie, _ string) answer {
				return s.do(t, "DELETE", "/admin/users/"+actor(t, admin)+"/sessions", "", cookie)
			},
		} {
			token := s.signIn(t, "admin@example.com")
			cookie := s.openCookie(t, token)
			a := out(cookie, sid(t, token))
			if c := cookieOf(t, a); c.Value != "" || !c.Expires.Equal(time.Unix(0, 0)) {
				t.Errorf("%s: the cookie is %v", name, c)
			}
			if got := a.header.Get("Clear-Site-Data"); got != `"cache", "storage"` {
				t.Errorf("%s: Clear-Site-Data is %q", name, got)
			}
			s.wantDead(t, name, bearer(token), cookie)
		}
	})
}

// hammering is what the clients of a session see: until when it opened something, by node, as requests began.
type hammering struct {
	mu     sync.Mutex
	opened map[string]map[string]time.Time // by credential and node, when the last request began that it opened
	fresh  []string                        // tokens that were made of it
	odd    []string
}

// Eight clients do nothing but ask, four at each of two nodes, while the sessions they ask with are ended at one of them.
func TestWhatEightClientsHammerWithIsDeadAtOnceHereAndWithinASecondElsewhere(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		here := serve(t, at.Open(t, user.Migrations(), auth.Migrations(), link.Migrations(), audit.Migrations()), settings{})
		nodes := map[string]*server{"here": here, "elsewhere": serve(t, at.Open(t), settings{})}
		admin := here.admin(t, "admin@example.com")
		ways := map[string]func(token, other string) answer{
			"sign-out": func(token, _ string) answer { return here.do(t, "DELETE", "/auth/session", "", bearer(token)) },
			"its owner": func(token, other string) answer {
				return here.do(t, "DELETE", "/auth/sessions/"+sid(t, token), "", bearer(other))
			},
			"the other": func(_, other string) answer { return here.do(t, "DELETE", "/auth/sessions", "", bearer(other)) },
			"an admin": func(token, _ string) answer {
				return here.do(t, "DELETE", "/admin/users/"+actor(t, token)+"/sessions/"+sid(t, token), "", bearer(admin))
			},
			"an admin, all": func(token, _ string) answer {
				return here.do(t, "DELETE", "/admin/users/"+actor(t, token)+"/sessions", "", bearer(admin))
			},
			"an admin who deactivates": func(token, _ string) answer {
				return here.do(t, "POST", "/admin/users/"+actor(t, token)+"/deactivate", "", bearer(admin))
			},
			"the command line": func(token, _ string) answer {
				_, err := nodes["elsewhere"].link.EndSessions(t.Context(), user.ID(actor(t, token)))
				return answer{status: map[bool]int{true: 200, false: 500}[err == nil]}
			},
		}
		tokens, others, credentials := map[string]string{}, map[string]string{}, map[string][]string{}
		var all []string
		n := 0
		for _, way := range slices.Sorted(maps.Keys(ways)) {
			n++
			email := fmt.Sprintf("person%d@example.com", n)
			tokens[way], others[way] = here.member(t, email), here.signIn(t, email)
			credentials[way] = []string{bearer(tokens[way]), here.openCookie(t, tokens[way])}
			all = append(all, credentials[way]...)
		}

		here.oldLinks(t)
		seen := hammering{opened: map[string]map[string]time.Time{}}
		for _, credential := range all {
			seen.opened[credential] = map[string]time.Time{}
		}
		ctx, stop := context.WithCancel(t.Context())
		var clients sync.WaitGroup
		for i := range 8 {
			name := []string{"here", "elsewhere"}[i%2]
			node := nodes[name]
			clients.Go(func() {
				for turn := i; ctx.Err() == nil; turn++ {
					credential := all[turn%len(all)]
					began := time.Now()
					a, err := node.try(ctx, "POST", "/auth/token/refresh", "", credential)
					seen.mu.Lock()
					switch {
					case err != nil:
					case a.status == 200:
						if began.After(seen.opened[credential][name]) {
							seen.opened[credential][name] = began
						}
						seen.fresh = append(seen.fresh, a.get("token"))
					case a.status != 401 || a.body != unauthorized:
						seen.odd = append(seen.odd, fmt.Sprintf("%d %s", a.status, a.body))
					}
					seen.mu.Unlock()
				}
			})
		}
		everywhere := func() bool {
			seen.mu.Lock()
			defer seen.mu.Unlock()
			return !slices.ContainsFunc(all, func(credential string) bool { return len(seen.opened[credential]) < len(nodes) })
		}
		for until := time.Now().Add(30 * time.Second); !everywhere(); time.Sleep(10 * time.Millisecond) {
			if time.Now().After(until) {
				t.Fatal("not every session was used at both nodes")
			}
		}
		ended := map[string]time.Time{}
		for way, end := range ways {
			if a := end(tokens[way], others[way]); a.status != 200 {
				t.Errorf("%s: %d %s", way, a.status, a.body)
			}
			ended[way] = time.Now()
		}
		time.Sleep(1500 * time.Millisecond)
		stop()
		clients.Wait()

		for _, odd := range seen.odd {
			t.Errorf("a client is told %s", odd)
		}
		for way, at := range ended {
			for _, credential := range credentials[way] {
				for name, last := range seen.opened[credential] {
					allowed := time.Second
					if name == "here" && way != "the command line" || name == "elsewhere" && way == "the command line" {
						allowed = 0
					}
					if late := last.Sub(at); late > allowed {
						t.Errorf("%s: %s, %.13s opened something %v after it was ended", way, name, credential, late)
					}
				}
			}
		}
		// What was made of a session at the last moment, on a node that did not know, is dead as well.
		for i, fresh := range seen.fresh {
			if i%20 == 0 || i > len(seen.fresh)-200 {
				for name, node := range nodes {
					if node.alive(t, bearer(fresh)) {
						t.Fatalf("a token that was made of an ended session opens %s", name)
					}
				}
			}
		}
		for way, other := range others {
			if want := slices.Contains([]string{"sign-out", "its owner", "an admin"}, way); here.alive(t, bearer(other)) != want {
				t.Errorf("%s: the other session is alive: %t", way, !want)
			}
		}
	})
}

// oldLinks makes every link older than a minute, before which sessions are read anew whatever a node remembers of them.
func (s *server) oldLinks(t testing.TB) {
	t.Helper()
	check(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
		_, err := s.db.Conn(ctx).NewRaw("UPDATE latchkey_link SET created_at = ?", database.Now().Add(-time.Hour)).Exec(ctx)
		return err
	}))
}

// Who was thrown out on one node must not use the second, during which another does not know, to throw out the owner.
func TestASessionThatHasEndedElsewhereEndsNoOther(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		here := serve(t, at.Open(t, user.Migrations(), auth.Migrations(), link.Migrations(), audit.Migrations()), settings{})
		elsewhere := serve(t, at.Open(t), settings{})
		owner := here.member(t, "ada@example.com")
		intruder := here.signIn(t, "ada@example.com")
		for _, do := range []string{"DELETE /auth/sessions/" + sid(t, owner), "DELETE /auth/sessions"} {
			method, path, _ := strings.Cut(do, " ")
			thrown := here.signIn(t, "ada@example.com")
			if !elsewhere.alive(t, bearer(thrown)) { // from now on that node knows it, for a second
				t.Fatal("it is not signed in")
			}
			if a := here.do(t, "DELETE", "/auth/sessions/"+sid(t, thrown), "", bearer(owner)); a.status != 200 {
				t.Fatalf("throw out: %d %s", a.status, a.body)
			}
			if a := elsewhere.do(t, method, path, "", bearer(thrown)); a.status != 401 || a.body != unauthorized {
				t.Errorf("%s: %d %s, want 401", do, a.status, a.body)
			}
		}
		if !here.alive(t, bearer(owner)) || !here.alive(t, bearer(intruder)) {
			t.Error("a session has ended")
		}
	})
}

// A squatter's session of an identity that becomes a user's ends with that. For the second in which another node still knows
// it, it must not act as the user, whose roles may be an admin's.
func TestASessionOfNobodyDoesNotBecomeTheUserElsewhere(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		here := serve(t, at.Open(t, user.Migrations(), auth.Migrations(), link.Migrations(), audit.Migrations()), settings{})
		elsewhere := serve(t, at.Open(t), settings{})
		admin := here.admin(t, "admin@example.com")
		_, invite := here.invite(t, admin, "nina@example.com")
		squatter := here.register(t, "nina@example.com")
		cookie := here.openCookie(t, squatter)
		own := here.register(t, "nina@example.com") // registering again with the same password
		ownCookie := here.openCookie(t, own)
		for _, credential := range []string{cookie, bearer(squatter), ownCookie} {
			if !elsewhere.alive(t, credential) {
				t.Fatal("it is not signed in")
			}
		}
		if a := here.accept(t, invite, `{}`, bearer(own)); a.status != 200 {
			t.Fatalf("accept: %d %s", a.status, a.body)
		}
		for _, credential := range []string{cookie, bearer(squatter)} {
			for _, path := range []string{"/admin/users/me", "/admin/users"} {
				if a := elsewhere.do(t, "GET", path, "", credential); a.status != 401 || a.body != unauthorized {
					t.Errorf("GET %s by %.13s: %d %s, want 401 at once", path, credential, a.status, a.body)
				}
			}
			if a := elsewhere.do(t, "POST", "/auth/token/refresh", "", credential); a.status != 401 || a.body != unauthorized {
				t.Errorf("refresh by %.13s: %d %s, want 401 at once", credential, a.status, a.body)
			}
		}
		for _, node := range []*server{here, elsewhere} { // who did the linking is the user, at once and everywhere
			if a := node.do(t, "GET", "/admin/users", "", ownCookie); a.status != 200 {
				t.Errorf("who has accepted, by the cookie: %d %s", a.status, a.body)
			}
			if fresh := node.token(t, "refresh", node.do(t, "POST", "/auth/token/refresh", "", bearer(own))); actor(t, fresh) == "" {
				t.Error("who has accepted is nobody")
			}
		}
	})
}

func TestLinkingEndsOtherSessionsOfNobodyAndOfThatActorTypeAlone(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		for name, become := range map[string]func(email, token string){
			"sign in": func(email, _ string) { s.signIn(t, email) },
			"accept": func(email, token string) {
				_, invite := s.invite(t, admin, email)
				if a := s.accept(t, invite, `{}`, bearer(token)); a.status != 200 {
					t.Fatalf("accept: %d %s", a.status, a.body)
				}
			},
		} {
			email := strings.ReplaceAll(name, " ", "-") + "@example.com"
			own := s.register(t, email)
			other := s.register(t, email)
			identity, err := s.auth.Authenticate(t.Context(), "emailpass", auth.Input(credentials(email, password)))
			check(t, err)
			customer, err := s.auth.OpenSession(t.Context(), identity, "customer", auth.Client{})
			check(t, err)
			asCustomer, err := s.auth.Token(customer, identity, auth.Actor{})
			check(t, err)
			before := s.ver(t, email)
			become(email, own)
			s.wantDead(t, name, bearer(other))
			if _, _, err := s.auth.CheckToken(t.Context(), asCustomer); err != nil {
				t.Errorf("%s: the session of another actor type: %v", name, err)
			}
			if _, _, err := s.auth.CheckToken(t.Context(), own); (err == nil) != (name == "accept") {
				t.Errorf("%s: the session of before: %v", name, err)
			}
			if after := s.ver(t, email); after != before {
				t.Errorf("%s: ver is %d, and was %d: linking must not move it", name, after, before)
			}
		}
	})
}

// ver is the credential version of who signs in by the address; 0: nobody does.
func (s *server) ver(t testing.TB, email string) (ver int) {
	t.Helper()
	var found []int
	check(t, s.db.Conn(t.Context()).NewRaw(`SELECT a.ver FROM latchkey_auth_identity a JOIN latchkey_provider_identity p ON p.auth_identity_id = a.id
		WHERE p.provider = 'emailpass' AND p.entity_id = ?`, email).Scan(t.Context(), &found))
	if len(found) == 0 {
		return 0
	}
	return found[0]
}

// What makes ver move ends every session; what does not, none. Only who acts in a session with the password goes on in it.
func TestVerMovesWithCredentialsAndNotWithSignIns(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		id := func(token string) user.ID { return user.ID(actor(t, token)) }
		ok := func(a answer) {
			t.Helper()
			if a.status != 200 {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		identityOf := func(token string) auth.IdentityID {
			of, _ := claims(t, token)["auth_identity_id"].(string)
			return auth.IdentityID(of)
		}
		type moves struct{ ver, own bool } // own: the session it was done in goes on
		for name, c := range map[string]struct {
			do   func(email, token, cookie string)
			want moves
		}{
			"a reset": {func(email, _, _ string) { ok(s.update(t, s.resetToken(t, email, auth.ByMail), newPassword)) }, moves{true, false}},
			"a password set by the app": {func(email, _, _ string) {
				_, err := s.auth.UpdateProvider(t.Context(), "emailpass", auth.Input(credentials(email, newPassword)))
				check(t, err)
			}, moves{true, false}},
			"a change with the password": {func(_, _, cookie string) {
				ok(s.do(t, "POST", "/auth/user/emailpass/update", `{"current_password":"`+password+`","password":"`+newPassword+`"}`, cookie))
			}, moves{true, true}},
			"an unlinking": {func(_, token, _ string) {
				made, err := s.auth.CreateProviderIdentities(t.Context(), auth.ProviderIdentityDraft{IdentityID: identityOf(token), Provider: "vouching", EntityID: token})
				check(t, err)
				check(t, s.auth.DeleteProviderIdentities(t.Context(), made[0].ID))
			}, moves{true, false}},
			"a deactivation": {func(_, token, _ string) {
				ok(s.do(t, "POST", "/admin/users/"+string(id(token))+"/deactivate", "", bearer(admin)))
			}, moves{true, false}},
			"a deletion": {func(_, token, _ string) { ok(s.do(t, "DELETE", "/admin/users/"+string(id(token)), "", bearer(admin))) }, moves{true, false}},
			"a reclaiming": {func(email, _, _ string) {
				ok(s.do(t, "POST", "/auth/user/vouching", `{"name":"owner of `+email+`","email":"`+email+`","verified":true}`))
			}, moves{true, false}},
			"end all, by an admin": {func(_, token, _ string) {
				ok(s.do(t, "DELETE", "/admin/users/"+string(id(token))+"/sessions", "", bearer(admin)))
			}, moves{true, false}},
			"end all, everybody's": {func(_, _, _ string) {
				_, _, err := s.auth.EndEverySession(t.Context())
				check(t, err)
				admin = s.signIn(t, "admin@example.com")
			}, moves{true, false}},
			"end all others":        {func(_, _, cookie string) { ok(s.do(t, "DELETE", "/auth/sessions", "", cookie)) }, moves{true, true}},
			"a sign-in":             {func(email, _, _ string) { s.signIn(t, email) }, moves{false, true}},
			"a refresh":             {func(_, token, _ string) { ok(s.do(t, "POST", "/auth/token/refresh", "", bearer(token))) }, moves{false, true}},
			"a cookie":              {func(_, token, cookie string) { ok(s.do(t, "POST", "/auth/session", "", bearer(token), cookie)) }, moves{false, true}},
			"a request for a reset": {func(email, _, _ string) { s.resetToken(t, email, auth.ByMail) }, moves{false, true}},
			"an update": {func(_, token, _ string) {
				ok(s.do(t, "POST", "/admin/users/"+string(id(token)), `{"first_name":"Ada"}`, bearer(admin)))
			}, moves{false, true}},
			"another way to sign in": {func(_, token, _ string) {
				_, err := s.auth.CreateProviderIdentities(t.Context(), auth.ProviderIdentityDraft{IdentityID: identityOf(token), Provider: "vouching", EntityID: token})
				check(t, err)
			}, moves{false, true}},
		} {
			t.Run(name, func(t *testing.T) {
				email := strings.NewReplacer(" ", "-", ",", "", "'", "").Replace(name) + "@example.com"
				token := s.member(t, email)
				cookie, other := s.openCookie(t, token), s.openCookie(t, s.signIn(t, email))
				before := s.ver(t, email)
				c.do(email, token, cookie)
				after := s.ver(t, email)
				if moved := after != before; before != 1 || moved != c.want.ver || after != 0 && moved && after != before+1 {
					t.Errorf("ver was %d and is %d, want it moved: %t", before, after, c.want.ver)
				}
				if s.alive(t, bearer(token)) != !c.want.ver {
					t.Errorf("the token of before is alive: %t", c.want.ver)
				}
				if s.alive(t, cookie) == c.want.ver || s.alive(t, other) == c.want.ver {
					t.Errorf("the cookie is alive: %t, that of another session: %t", s.alive(t, cookie), s.alive(t, other))
				}
				lives, err := s.db.Conn(t.Context()).NewSelect().TableExpr("latchkey_auth_session AS s").
					Join("JOIN latchkey_auth_identity a ON a.id = s.auth_identity_id AND a.ver = s.ver").Where("s.id = ?", sid(t, token)).Exists(t.Context())
				check(t, err)
				if lives != c.want.own {
					t.Errorf("the session lives: %t", lives)
				}
			})
		}
	})
}

func TestTwentyTabsRefreshAtOnce(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		for _, by := range []string{"token", "cookie"} {
			token := s.member(t, by+"@example.com")
			face := bearer(token)
			if by == "cookie" {
				face = s.openCookie(t, token)
			}
			for _, idle := range []time.Duration{0, 5 * time.Minute} { // after which each of them notes that the session is in use
				s.age(t, sid(t, token), "last_used_at", idle)
				answers := make([]answer, 20)
				together(len(answers), func(i int) { answers[i] = s.do(t, "POST", "/auth/token/refresh", "", face) })
				for i, a := range answers {
					fresh := s.token(t, fmt.Sprintf("refresh %d by %s", i, by), a)
					if sid(t, fresh) != sid(t, token) || !s.alive(t, bearer(fresh)) {
						t.Errorf("refresh %d by %s: the token is dead, or of another session", i, by)
					}
				}
			}
			if !s.alive(t, bearer(token)) {
				t.Errorf("by %s: the token of before is dead: another tab may still hold it", by)
			}
		}
	})
}

// age puts a time of a session back.
func (s *server) age(t testing.TB, id, column string, by time.Duration) {
	t.Helper()
	check(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
		_, err := s.db.Conn(ctx).NewRaw("UPDATE latchkey_auth_session SET "+column+" = ? WHERE id = ?", database.Now().Add(-by), id).Exec(ctx)
		return err
	}))
	time.Sleep(time.Second + 10*time.Millisecond) // until no node remembers what it was
}

func TestRefreshDoesNotMoveTheEndOfTheSession(t *testing.T) {
	eachWith(t, settings{auth: auth.Options{SessionTTL: 8 * time.Second}}, func(t *testing.T, s *server) {
		token := s.member(t, "ada@example.com")
		cookie := s.openCookie(t, token)
		end, _ := claims(t, token)["exp"].(float64)
		for n := 0; s.alive(t, bearer(token)); n++ {
			if n > 200 {
				t.Fatal("the session does not end")
			}
			for _, face := range []string{bearer(token), cookie} {
				a := s.do(t, "POST", "/auth/token/refresh", "", face)
				if a.status != 200 {
					break
				}
				token = a.get("token")
				if exp, _ := claims(t, token)["exp"].(float64); exp != end {
					t.Fatalf("the token ends at %.0f, and the session at %.0f", exp, end)
				}
			}
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(time.Until(time.Unix(int64(end)+1, 0)))
		s.wantDead(t, "after the end", bearer(token), cookie)
	})
}

func TestACookieThatWasNotUsedForLongOpensNothing(t *testing.T) {
	eachWith(t, settings{auth: auth.Options{IdleTTL: time.Hour}}, func(t *testing.T, s *server) {
		token := s.member(t, "ada@example.com")
		cookie := s.openCookie(t, token)
		s.age(t, sid(t, token), "last_used_at", 59*time.Minute)
		if !s.alive(t, cookie) {
			t.Error("it is dead after 59 minutes")
		}
		s.age(t, sid(t, token), "last_used_at", 61*time.Minute)
		s.wantDead(t, "after 61 minutes", cookie)
		if !s.alive(t, bearer(token)) {
			t.Error("the token is dead with it")
		}
		time.Sleep(time.Second + 10*time.Millisecond)
		s.wantDead(t, "after its session was used by token", cookie)
		if ids, _ := s.places(t, bearer(token)); len(ids) != 1 {
			t.Errorf("the session is not listed: %v", ids)
		}
	})
}

func TestSignInsBeyondTheNumberOfSessionsEndTheOldest(t *testing.T) {
	eachWith(t, settings{auth: auth.Options{MaxSessions: 3}}, func(t *testing.T, s *server) {
		tokens := []string{s.member(t, "ada@example.com")}
		eve := s.member(t, "eve@example.com")
		first := s.openCookie(t, tokens[0])
		for range 4 {
			nextID()
			tokens = append(tokens, s.signIn(t, "ada@example.com"))
		}
		s.wantDead(t, "the oldest", bearer(tokens[0]), first, bearer(tokens[1]))
		if ids, _ := s.places(t, bearer(tokens[4])); !slices.Equal(ids, []string{sid(t, tokens[4]), sid(t, tokens[3]), sid(t, tokens[2])}) {
			t.Errorf("there are %v", ids)
		}
		answers := make([]answer, 20)
		together(len(answers), func(i int) {
			answers[i] = s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password))
		})
		alive := 0
		for i, a := range answers {
			if s.alive(t, bearer(s.token(t, fmt.Sprintf("sign-in %d", i), a))) {
				alive++
			}
		}
		if n := s.count(t, "auth_session"); alive != 3 || n != 3+1 {
			t.Errorf("of twenty at once %d are signed in, and there are %d sessions", alive, n)
		}
		if !s.alive(t, bearer(eve)) {
			t.Error("somebody else's session has ended")
		}
	})
}

func TestAFirstSignInThatFailsLeavesNoSession(t *testing.T) {
	failing := true
	refuse := user.Hook{Name: "refuse", OnCreate: func(context.Context, []user.User) error {
		if failing {
			return errors.New("the application's own tables are broken")
		}
		return nil
	}}
	eachWith(t, settings{hooks: []user.Hook{refuse}}, func(t *testing.T, s *server) {
		failing = true
		token := s.register(t, "ada@example.com")
		if a := s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password)); a.status != 500 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if n := s.count(t, "auth_session"); n != 1 || !s.alive(t, bearer(token)) {
			t.Errorf("%d sessions, want that of the registration, alive", n)
		}
		failing = false
		s.signIn(t, "ada@example.com")
		if n := s.count(t, "auth_session"); n != 1 {
			t.Errorf("%d sessions, want that of the sign-in alone", n)
		}
		s.wantDead(t, "linked", bearer(token))
	})
}

func TestEverySignInIsASessionOfItsOwn(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		first := s.member(t, "ada@example.com")
		cookie := s.openCookie(t, first)
		// What is presented at a sign-in is not taken over, whoever's it is.
		second := s.token(t, "sign in", s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password), bearer(first), cookie))
		if sid(t, second) == sid(t, first) {
			t.Error("the sign-in goes on in the session of before")
		}
		fresh := s.openCookie(t, second, cookie)
		if fresh == cookie {
			t.Error("the cookie of before stays")
		}
		s.wantDead(t, "the session whose cookie was presented", bearer(first), cookie)
		if !s.alive(t, fresh) || !s.alive(t, bearer(second)) {
			t.Error("the new session is dead")
		}
	})
}
