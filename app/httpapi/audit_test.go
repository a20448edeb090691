package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

// trail reads the audit trail as an admin does, the newest first.
func (s *server) trail(t testing.TB, query string) []map[string]any {
	t.Helper()
	if s.auditor == "" {
		s.auditor = s.admin(t, "auditor@example.com")
	}
	a := s.do(t, "GET", "/admin/audit?"+query, "", bearer(s.auditor))
	var answer struct {
		Events []map[string]any `json:"audit_events"`
	}
	if a.status != 200 {
		t.Fatalf("GET /admin/audit?%s: %d %s", query, a.status, a.body)
	}
	check(t, json.Unmarshal([]byte(a.body), &answer))
	return answer.Events
}

// said is what an event says, in one line, of what a test knows beforehand.
func said(e map[string]any) string {
	text := func(name string) string {
		if e[name] == nil {
			return "-"
		}
		return fmt.Sprint(e[name])
	}
	line := strings.Join([]string{text("action"), text("outcome"), text("reason"), text("actor_type"), text("target_type")}, " ")
	details, _ := e["details"].(map[string]any)
	for _, name := range []string{"provider", "new_actor", "new_identity", "route"} {
		if v, ok := details[name]; ok {
			line += fmt.Sprintf(" %s=%v", name, v)
		}
	}
	return line
}

func TestTheAuditTrailHoldsWhatWasDoneAndWhatWasRefused(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		const wrong = "wrong horse battery"
		for _, step := range []struct {
			name string
			do   func() answer
			want []string // the newest last
		}{
			{"register", func() answer {
				return s.do(t, "POST", "/auth/user/emailpass/register", credentials("ada@example.com", password))
			}, []string{
				"auth.auth-identity.created success - anonymous auth_identity", "auth.provider-identity.created success - anonymous auth_identity",
				"auth.sign_up success - user session provider=emailpass new_identity=true"}},
			{"register what is somebody's", func() answer {
				return s.do(t, "POST", "/auth/user/emailpass/register", credentials("ada@example.com", wrong))
			}, []string{
				"auth.sign_up refused identity_exists anonymous auth_identity provider=emailpass"}},
			{"first sign-in", func() answer {
				return s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password))
			}, []string{
				"user.created success - anonymous user", "auth.sessions.ended success - anonymous auth_identity", "link.linked success - anonymous user",
				"auth.sign_in success - user session provider=emailpass new_actor=true"}},
			{"second sign-in", func() answer {
				return s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password))
			}, []string{
				"auth.sign_in success - user session provider=emailpass new_actor=false"}},
			{"wrong password", func() answer { return s.do(t, "POST", "/auth/user/emailpass", credentials("Ada@Example.com", wrong)) }, []string{
				"auth.sign_in refused invalid_credentials anonymous auth_identity provider=emailpass"}},
			{"unknown address", func() answer {
				return s.do(t, "POST", "/auth/user/emailpass", credentials("nobody@example.com", wrong))
			}, []string{
				"auth.sign_in refused invalid_credentials anonymous address provider=emailpass"}},
			{"a password typed as address", func() answer { return s.do(t, "POST", "/auth/user/emailpass", credentials(wrong, wrong)) }, []string{
				"auth.sign_in refused invalid_credentials anonymous - provider=emailpass"}},
			{"a dead reset token", func() answer {
				return s.do(t, "POST", "/auth/user/emailpass/update", `{"password":"`+wrong+`"}`, bearer("eyJ0eXAiOiJKV1Qi.dead.token"))
			}, []string{"auth.credentials_changed refused reset_token_invalid anonymous - provider=emailpass"}},
			{"a wrong current password", func() answer {
				return s.do(t, "POST", "/auth/user/emailpass/update", `{"current_password":"`+wrong+`","password":"battery staple"}`, bearer(s.signedIn["ada@example.com"]))
			}, []string{"auth.credentials_changed refused invalid_credentials user - provider=emailpass"}},
			{"a permission that a member has not", func() answer {
				return s.do(t, "DELETE", "/admin/users/user_01ARZ3NDEKTSV4RRFFQ69G5FAV", "", bearer(s.signedIn["ada@example.com"]))
			}, []string{"access refused forbidden user user route=DELETE /admin/users/{id}"}},
			{"a dead invite", func() answer {
				return s.do(t, "POST", "/admin/invites/accept?token=nonsense", `{}`, bearer(s.signedIn["ada@example.com"]))
			}, []string{"invite.accepted refused invite_invalid user -"}},
			{"another address with a wrong password", func() answer {
				return s.do(t, "POST", "/admin/users/me/email", `{"email":"new@example.com","current_password":"`+wrong+`"}`, bearer(s.signedIn["ada@example.com"]))
			}, []string{"user.email_change_requested refused invalid_credentials user -"}},
			{"another address by a dead token", func() answer {
				return s.do(t, "POST", "/admin/users/me/email/confirm", `{"token":"dead"}`, bearer(s.signedIn["ada@example.com"]))
			}, []string{"user.email_changed refused email_change_invalid user -"}},
			{"a new password asked for", func() answer {
				return s.do(t, "POST", "/auth/user/emailpass/reset-password", `{"identifier":"ada@example.com","metadata":{"x":"typed junk"}}`)
			}, []string{"auth.password_reset success - anonymous address provider=emailpass"}},
			{"sign out", func() answer { return s.do(t, "DELETE", "/auth/session", "", bearer(s.signedIn["ada@example.com"])) }, []string{
				"auth.session.ended success - user session"}},
			{"an invite", func() answer {
				return s.do(t, "POST", "/admin/invites", `{"email":"grace@example.com","message":"typed junk"}`, bearer(admin))
			}, []string{
				"invite.created success - user invite"}},
			{"a deactivation", func() answer {
				u, err := s.users.FindUser(t.Context(), "ada@example.com")
				check(t, err)
				return s.do(t, "POST", "/admin/users/"+string(u.ID)+"/deactivate", "", bearer(admin))
			}, []string{"auth.sessions.ended success - user auth_identity", "user.deactivated success - user user"}},
			{"sign-in of the deactivated", func() answer {
				return s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password))
			}, []string{
				"auth.sign_in refused user_deactivated anonymous auth_identity provider=emailpass"}},
			{"who is nobody asks for what users have", func() answer { return s.do(t, "GET", "/admin/users", "") }, nil},
			{"input that is wrong", func() answer { return s.do(t, "POST", "/admin/invites", `{"email":"nonsense"}`, bearer(admin)) }, nil},
		} {
			a := step.do()
			if strings.HasSuffix(step.name, "sign-in") {
				s.signedIn["ada@example.com"] = a.get("token")
			}
			events := s.trail(t, "request_id="+a.header.Get("X-Request-Id"))
			slices.Reverse(events)
			var got []string
			for _, e := range events {
				got = append(got, said(e))
				if e["ip"] != "127.0.0.1" || !strings.HasPrefix(e["user_agent"].(string), "Go-http-client") || e["ts"] == nil {
					t.Errorf("%s: from where and when: %v", step.name, e)
				}
			}
			slices.Sort(got)
			want := slices.Sorted(slices.Values(step.want))
			if !slices.Equal(got, want) {
				t.Errorf("%s (%d): the trail holds\n  %s\nwant\n  %s", step.name, a.status, strings.Join(got, "\n  "), strings.Join(want, "\n  "))
			}
		}
		// What somebody typed is nowhere in it, and neither is what proves somebody.
		held := fmt.Sprint(databasetest.Dump(t, s.db)["latchkey_audit_event"])
		for _, secret := range append([]string{wrong, password, "nobody@", "ada@", "new@", "grace@", "junk", "eyJ", "dead.token"}, s.signedIn["ada@example.com"], admin) {
			if strings.Contains(held, secret) {
				t.Errorf("the trail holds %q", secret)
			}
		}
	})
}

func TestTheAuditTrailSaysWhoActed(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		who := claims(t, admin)
		session := s.do(t, "POST", "/auth/session", "", bearer(admin))
		cookie, _, _ := strings.Cut(session.header.Get("Set-Cookie"), ";")
		for name, header := range map[string]string{"bearer": bearer(admin), "cookie": "Cookie: " + cookie} {
			a := s.do(t, "POST", "/admin/invites", `{"email":"`+name+`@example.com"}`, header)
			events := s.trail(t, "action=invite.created&request_id="+a.header.Get("X-Request-Id"))
			if len(events) != 1 {
				t.Fatalf("%s: %v", name, events)
			}
			for column, want := range map[string]any{"actor_type": "user", "actor_id": who["actor_id"], "identity_id": who["auth_identity_id"], "session_id": who["sid"],
				"target_id": a.get("invite", "id"), "target_type": "invite", "outcome": "success", "reason": nil} {
				if events[0][column] != want {
					t.Errorf("%s: %s is %v, want %v", name, column, events[0][column], want)
				}
			}
			one := s.do(t, "GET", "/admin/audit/"+events[0]["id"].(string), "", bearer(admin))
			var answer struct {
				Event map[string]any `json:"audit_event"`
			}
			check(t, json.Unmarshal([]byte(one.body), &answer))
			if one.status != 200 || fmt.Sprint(answer.Event) != fmt.Sprint(events[0]) {
				t.Errorf("%s: by its id it is %d %s", name, one.status, one.body)
			}
		}
		// Two attempts at the same address, known or not, can be told to be that.
		for _, address := range []string{"admin@example.com", "nobody@example.com"} {
			var hashes []any
			for _, typed := range []string{address, strings.ToUpper(address)} {
				a := s.do(t, "POST", "/auth/user/emailpass", credentials(typed, "wrong horse battery"))
				e := s.trail(t, "request_id="+a.header.Get("X-Request-Id"))[0]
				hashes = append(hashes, e["details"].(map[string]any)["address"])
				if known := strings.HasPrefix(address, "admin"); known != (e["target_id"] == who["auth_identity_id"]) || e["actor_id"] != nil || e["identity_id"] != nil {
					t.Errorf("%s: %v", typed, e)
				}
			}
			if hashes[0] == nil || hashes[0] != hashes[1] {
				t.Errorf("%s: the hashes are %v", address, hashes)
			}
		}
	})
}

const createdJSON = `{"id":"{made}","ts":"<time>","action":"user.created","outcome":"success","reason":null,"actor_type":"anonymous","actor_id":null,"identity_id":null,` +
	`"session_id":null,"ip":"127.0.0.1","user_agent":"Go-http-client/1.1","target_type":"user","target_id":"{member}","details":null}`

var auditing = []fixture{
	{"by nobody", "", "GET /admin/audit", "", 401, unauthorized},
	{"by a member", "member", "GET /admin/audit", "", 403, forbidden},
	{"who was made", "admin", "GET /admin/audit?action=user.created&target_id={member}&fields=-request_id", "", 200, `{"audit_events":[` + createdJSON + `],"limit":50}`},
	{"nothing", "admin", "GET /admin/audit?target_id=nobody&after=", "", 200, `{"audit_events":[],"limit":50}`},
	{"by what is no parameter", "admin", "GET /admin/audit?offset=1", "", 400, invalid("Unrecognized fields: 'offset'; use limit, after, fields, action, actor_id, actor_type, identity_id, ip, outcome, request_id, session_id, target_id, ts")},
	{"by no outcome", "admin", "GET /admin/audit?outcome=maybe", "", 400, problem("invalid_data", "Invalid request: outcome must be one of success, refused", "query_invalid")},
	{"by what is no IP address", "admin", "GET /admin/audit?ip=300.1.1.1", "", 400, invalid("ip must be an IP address")},
	{"by another IP address", "admin", "GET /admin/audit?ip=2001:DB8::0", "", 200, `{"audit_events":[],"limit":50}`},
	{"by an IP address in another spelling", "admin", "GET /admin/audit?action=user.created&target_id={member}&fields=-request_id&ip=::ffff:127.0.0.1", "", 200, `{"audit_events":[` + createdJSON + `],"limit":50}`},
	{"by an action and an actor type that there are not", "admin", "GET /admin/audit?action=nope&actor_type=cat", "", 200, `{"audit_events":[],"limit":50}`},
	{"from nowhere", "admin", "GET /admin/audit?after=x", "", 400, problem("invalid_data", "The list has no such place.", "cursor_invalid")},
	{"one by nobody", "", "GET /admin/audit/{made}", "", 401, unauthorized},
	{"one by a member", "member", "GET /admin/audit/{made}", "", 403, forbidden},
	{"one", "admin", "GET /admin/audit/{made}?fields=-request_id", "", 200, `{"audit_event":` + createdJSON + `}`},
	{"one that is not there", "admin", "GET /admin/audit/audit_none", "", 404, problem("not_found", "Audit event with id: audit_none was not found", "audit_event_not_found")},
}

func TestTheAuditTrailAnswers(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		sc := newScene(t, s)
		sc.ids["made"] = s.trail(t, "action=user.created&target_id="+sc.ids["member"])[0]["id"].(string)
		sc.run(t, auditing)
	})
}

func TestTheAuditTrailIsFilteredAndPaged(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		ids := map[string]any{}
		for i := range 7 {
			a := s.do(t, "POST", "/admin/invites", fmt.Sprintf(`{"email":"i%d@example.com"}`, i), bearer(admin))
			ids[fmt.Sprint(i)] = a.get("invite", "id")
		}
		for range 3 {
			s.do(t, "POST", "/auth/user/emailpass", credentials("admin@example.com", "wrong horse battery"))
		}
		all := s.trail(t, "limit=1000")
		for i := 1; i < len(all); i++ {
			if all[i-1]["ts"].(string) < all[i]["ts"].(string) {
				t.Errorf("%v comes before %v", all[i-1]["ts"], all[i]["ts"])
			}
		}
		third := s.trail(t, "target_id="+ids["3"].(string))
		if len(third) != 1 {
			t.Fatalf("by target: %v", third)
		}
		at, actor := third[0]["ts"].(string), third[0]["actor_id"].(string)
		for query, want := range map[string]int{
			"action=invite.created": 7, "action[]=invite.created&action[]=auth.sign_in&outcome=refused": 3, "outcome=refused": 3,
			"actor_id=" + actor: 8, "actor_id=nobody": 0, "actor_type=anonymous&outcome=refused": 3, "ip=127.0.0.1&action=invite.created": 7, "ip=203.0.113.7": 0,
			"session_id=" + third[0]["session_id"].(string) + "&action=invite.created": 7, "request_id=" + third[0]["request_id"].(string): 1,
			"identity_id=" + third[0]["identity_id"].(string) + "&action=invite.created": 7,
			"target_id=" + third[0]["identity_id"].(string) + "&outcome=refused":         3,
			"ts[$gte]=" + at + "&target_id=" + ids["3"].(string):                         1, "ts[$gt]=" + at + "&target_id=" + ids["3"].(string): 0, "ts=" + at + "&target_id=" + ids["3"].(string): 1,
			"ts[$lt]=2020-01-01": 0, "ts[$in][]=" + at + "&target_id=" + ids["3"].(string): 1, "ts[$ne]=" + at + "&action=invite.created&target_id=" + ids["3"].(string): 0,
		} {
			if got := s.trail(t, query); len(got) != want {
				t.Errorf("%s: %d events, want %d", query, len(got), want)
			}
		}
		var paged []any
		for after, pages := "", 0; ; pages++ {
			a := s.do(t, "GET", "/admin/audit?action=invite.created&limit=3&fields=target_id&after="+after, "", bearer(admin))
			var answer struct {
				Events []map[string]any `json:"audit_events"`
				Limit  int
				Next   string
			}
			check(t, json.Unmarshal([]byte(a.body), &answer))
			for _, e := range answer.Events {
				paged = append(paged, e["target_id"])
			}
			if answer.Limit != 3 || len(answer.Events) > 3 || pages > 3 {
				t.Fatalf("page %d: %s", pages, a.body)
			}
			if after = answer.Next; after == "" {
				break
			}
		}
		for i, id := range paged {
			if id != ids[fmt.Sprint(6-i)] {
				t.Errorf("paged: %v at %d", id, i)
			}
		}
		if len(paged) != 7 {
			t.Errorf("paged: %d, want 7", len(paged))
		}
		for query, names := range map[string]string{
			"nope=1": "nope", "order=ts": "order", "offset=1": "offset", "q=x": "q", "limit=0": "limit", "limit=1001": "limit", "limit=-1": "limit", "limit=x": "limit",
			"outcome=maybe": "outcome", "outcome=": "outcome", "actor_id=": "actor_id", "ip=": "ip", "actor_id=a&actor_id=b": "actor_id", "actor_id[]=a": "actor_id",
			"ts=yesterday": "ts", "ts[$foo]=2026-01-01": "ts", "$or[0][ip]=x": "$or", "ts[$like]=2": "ts", "target_id[$ne]=x": "target_id",
		} {
			if a := s.do(t, "GET", "/admin/audit?"+query, "", bearer(admin)); a.status != 400 || !strings.Contains(a.get("message"), names) {
				t.Errorf("%s: %d %s, want 400 that names %s", query, a.status, a.body, names)
			}
		}
		for _, after := range []string{"x", "MQ", "%00", url.QueryEscape("MQAyMDI2"), strings.Repeat("A", 2000)} {
			if a := s.do(t, "GET", "/admin/audit?after="+after, "", bearer(admin)); a.status != 400 {
				t.Errorf("after=%s: %d %s", after, a.status, a.body)
			}
		}
		for _, id := range []string{"nobody", "audit_01ARZ3NDEKTSV4RRFFQ69G5FAV", strings.Repeat("x", 300)} {
			if a := s.do(t, "GET", "/admin/audit/"+id, "", bearer(admin)); a.status != 404 {
				t.Errorf("%s: %d %s", id, a.status, a.body)
			}
		}
	})
}

func TestTheAuditTrailIsReadByWhoMay(t *testing.T) {
	eachWith(t, settings{api: httpapi.Options{Roles: httpapi.Roles{"auditor": {"audit:read"}, "support": {"user:*", "invite:*"}}}}, func(t *testing.T, s *server) {
		for role, want := range map[string]int{"auditor": 200, "support": 403, "member": 403, "admin": 200} {
			if a := s.do(t, "GET", "/admin/audit", "", bearer(s.somebody(t, role+"@example.com", role))); a.status != want {
				t.Errorf("%s: %d %s, want %d", role, a.status, a.body, want)
			}
		}
		if a := s.do(t, "GET", "/admin/audit", ""); a.status != 401 {
			t.Errorf("nobody: %d %s", a.status, a.body)
		}
	})
}

// What is recorded and what it records are one: neither is there without the other.
func TestWhatIsRolledBackIsNotInTheAuditTrail(t *testing.T) {
	undone := errors.New("undone")
	hook := user.Hook{Name: "undoes", OnCreate: func(_ context.Context, users []user.User) error {
		if users[0].Email == "undone@example.com" {
			return undone
		}
		return nil
	}}
	eachWith(t, settings{hooks: []user.Hook{hook}}, func(t *testing.T, s *server) {
		s.register(t, "undone@example.com")
		a := s.do(t, "POST", "/auth/user/emailpass", credentials("undone@example.com", password))
		if a.status != 500 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if events := s.trail(t, "request_id="+a.header.Get("X-Request-Id")); len(events) != 0 {
			t.Errorf("the trail holds %v", events)
		}
	})
}

// A trail that cannot be written stops what would have to be in it, and lets nobody in whom it should have kept out.
func TestATrailThatCannotBeWritten(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.member(t, "ada@example.com")
		admin := s.admin(t, "admin@example.com")
		sessions := s.count(t, "auth_session")
		check(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := s.db.Conn(ctx).ExecContext(ctx, "DROP TABLE latchkey_audit_event")
			return err
		}))
		s.log.reset()
		if a := s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", "wrong horse battery")); a.status != 401 {
			t.Errorf("a wrong password: %d %s", a.status, a.body)
		}
		if log := s.log.String(); !strings.Contains(log, "a refusal is not in the audit trail") || strings.Contains(log, "wrong horse") {
			t.Errorf("the log says\n%s", log)
		}
		for path, body := range map[string]string{"/auth/user/emailpass": credentials("ada@example.com", password), "/admin/invites": `{"email":"grace@example.com"}`} {
			if a := s.do(t, "POST", path, body, bearer(admin)); a.status != 500 {
				t.Errorf("%s: %d %s, want 500", path, a.status, a.body)
			}
		}
		if n := s.count(t, "auth_session"); n != sessions {
			t.Errorf("%d sessions, want %d as before", n, sessions)
		}
		if n := s.count(t, "invite"); n != 0 {
			t.Errorf("%d invites", n)
		}
	})
}

// A caller who is throttled can ask as often as they like: that is one row in a minute, and every one is refused.
func TestThrottledAttemptsAreRecordedSeldom(t *testing.T) {
	eachWith(t, settings{emailpass: func(auth.Provider) auth.Provider { return throttled{} }}, func(t *testing.T, s *server) {
		for range 20 {
			if a := s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password)); a.status != 429 {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		s.do(t, "POST", "/auth/user/emailpass", credentials("bob@example.com", password))
		if n := s.refusals(t, "throttled"); n != 2 {
			t.Errorf("%d rows, want one for each address", n)
		}
		for i := range 30 {
			s.do(t, "POST", "/auth/user/emailpass", credentials(fmt.Sprintf("u%d@example.com", i), password))
		}
		if n := s.refusals(t, "throttled"); n != 10 {
			t.Errorf("%d rows for who names another address each time, want 10", n)
		}
	})
}

// refusals is how many rows the trail has for a reason.
func (s *server) refusals(t *testing.T, reason string) int {
	t.Helper()
	n, err := s.db.Conn(t.Context()).NewSelect().TableExpr("latchkey_audit_event").Where("reason = ?", reason).Count(t.Context())
	check(t, err)
	return int(n)
}

// One network is one who is throttled, whichever of its addresses it calls from, and another is another.
func TestThrottledAttemptsAreRecordedByNetwork(t *testing.T) {
	o := behindAProxy(auth.ThrottleOptions{})
	o.emailpass = func(auth.Provider) auth.Provider { return throttled{} }
	eachWith(t, o, func(t *testing.T, s *server) {
		for i := range 30 {
			s.guess(t, fmt.Sprintf("u%d@example.com", i), at(fmt.Sprintf("2001:db8::%x", i+1)))
		}
		s.guess(t, "u0@example.com", at("198.51.100.9"))
		if n := s.refusals(t, "throttled"); n != 11 {
			t.Errorf("%d rows, want 10 of the first network and one of the second", n)
		}
	})
}

// Whoever has no session leaves no row by what wants one, nor by what a provider offers nobody, and few by tokens that are
// no good.
func TestStrangersDoNotFillTheAuditTrail(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		for _, r := range []struct {
			path, body string
			status     int
			most       int
		}{
			{"/auth/verification/confirm", `{"code":"x"}`, 401, 0}, {"/auth/verification/request", `{}`, 401, 0}, {"/auth/user/vouching/register", `{}`, 401, 0},
			{"/admin/invites/accept?token=x", `{}`, 401, 0}, {"/admin/invites", `{}`, 401, 0}, {"/admin/users/me/email/confirm", `{}`, 401, 0},
			{"/auth/user/emailpass/update", `{"current_password":"x","password":"y"}`, 401, 0}, {"/auth/user/emailpass/update", `{"password":"x"}`, 401, 10},
		} {
			before := s.count(t, "audit_event")
			for range 20 {
				if a := s.do(t, "POST", r.path, r.body, bearer("dead")); a.status != r.status {
					t.Fatalf("%s: %d %s", r.path, a.status, a.body)
				}
			}
			if n := s.count(t, "audit_event") - before; n != r.most {
				t.Errorf("%s %s: %d rows, want %d", r.path, r.body, n, r.most)
			}
		}
	})
}

// A member may ask in vain as often as they like, of whatever: that is one row in a minute, without what they typed.
func TestWhatAMemberMayNotIsRecordedSeldomAndWithoutWhatTheyTyped(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		member, other := bearer(s.member(t, "ada@example.com")), bearer(s.member(t, "eve@example.com"))
		for range 20 {
			s.do(t, "GET", "/admin/users/my%20typed%20Passw0rd!", "", member)
		}
		s.do(t, "GET", "/admin/users/user_my-typed-Passw0rd", "", other)
		s.do(t, "DELETE", "/admin/users/user_01ARZ3NDEKTSV4RRFFQ69G5FAV", "", member)
		var got []string
		for _, e := range s.trail(t, "action=access") {
			got = append(got, fmt.Sprint(said(e), " ", e["target_id"]))
		}
		want := []string{"access refused forbidden user user route=DELETE /admin/users/{id} user_01ARZ3NDEKTSV4RRFFQ69G5FAV",
			"access refused forbidden user - route=GET /admin/users/{id} <nil>", "access refused forbidden user - route=GET /admin/users/{id} <nil>"}
		if !slices.Equal(got, want) {
			t.Errorf("the trail holds\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(want, "\n  "))
		}
	})
}

// Who sends two credentials, and lets the session of one end while the body is on its way, acts as the other.
func TestTheAuditTrailSaysWhoActsWhenTheBodyHasCome(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		gone, here := s.admin(t, "gone@example.com"), s.admin(t, "here@example.com")
		cookie, body := s.openCookie(t, gone), `{"email":"new@example.com"}`
		send, written := io.Pipe()
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/admin/invites", send)
		check(t, err)
		req.Header.Set("Cookie", strings.TrimPrefix(cookie, "Cookie: "))
		req.Header.Set("Authorization", strings.TrimPrefix(bearer(here), "Authorization: "))
		req.Header.Set("Content-Type", "application/json")
		req.Header.Set("Expect", "100-continue") // the body is asked for when the guard has let the request pass
		go func() {
			if _, err := written.Write([]byte(body[:1])); err == nil {
				if _, err = s.try(t.Context(), "DELETE", "/auth/session", "", cookie); err == nil {
					_, err = written.Write([]byte(body[1:]))
				}
			}
			_ = written.CloseWithError(err)
		}()
		client := &http.Client{Transport: &http.Transport{ExpectContinueTimeout: time.Minute}}
		defer client.CloseIdleConnections()
		rsp, err := client.Do(req)
		check(t, err)
		defer rsp.Body.Close() //nolint:errcheck // it is read by nobody
		events := s.trail(t, "request_id="+rsp.Header.Get("X-Request-Id"))
		if rsp.StatusCode != 200 || len(events) != 1 {
			t.Fatalf("%d %v", rsp.StatusCode, events)
		}
		for column, claim := range map[string]string{"actor_id": "actor_id", "identity_id": "auth_identity_id", "session_id": "sid"} {
			if want := claims(t, here)[claim]; events[0][column] != want {
				t.Errorf("%s is %v, want %v", column, events[0][column], want)
			}
		}
	})
}

func TestTheAuditTrailSaysWhichLimitWasReachedAndWhose(t *testing.T) {
	o := behindAProxy(auth.ThrottleOptions{AccountAddress: auth.Limit{Most: 2}, Address: auth.Limit{Most: 3}})
	eachWith(t, o, func(t *testing.T, s *server) {
		who := claims(t, s.member(t, "ada@example.com"))
		for _, email := range []string{"ada@example.com", "ada@example.com", "nobody@example.com"} {
			s.guess(t, email, at("198.51.100.9"))
		}
		var got []string
		for _, e := range s.trail(t, "action=auth.throttled") {
			d, _ := e["details"].(map[string]any)
			got = append(got, fmt.Sprint(d["limit"], " ", d["failures"], " ", d["until"] != nil, " ", e["target_type"], " ", e["target_id"], " ", e["ip"]))
		}
		want := []string{"address 3 true <nil> <nil> 198.51.100.9", fmt.Sprint("account_address 2 true auth_identity ", who["auth_identity_id"], " 198.51.100.9")}
		if !slices.Equal(got, want) {
			t.Errorf("the trail holds %q, want %q", got, want)
		}
	})
}

// What can be nobody's address may be a password in the wrong field: it is kept nowhere, and gets the answer of an address.
func TestWhatIsNoAddressIsNotKeptWhereAPasswordIsAskedFor(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		for _, identifier := range []string{"my typed Passw0rd!", "nobody@example.com"} {
			a := s.do(t, "POST", "/auth/user/emailpass/reset-password", fmt.Sprintf(`{"identifier":%q}`, identifier))
			if a.status != 201 || a.body != "Created" {
				t.Errorf("%s: %d %s", identifier, a.status, a.body)
			}
		}
		if asked := s.told.resets(); len(asked) != 1 || asked[0].EntityID != "nobody@example.com" {
			t.Errorf("announced: %+v", asked)
		}
	})
}

func TestASessionShowsAUserAgentThatCannotDeceive(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.register(t, "ada@example.com")
		token := s.token(t, "sign in", s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password), "User-Agent: a\u202eb\tc\u200bd\u2028e é"))
		if a := s.do(t, "GET", "/auth/sessions?limit=1", "", bearer(token)); !strings.Contains(a.body, `"user_agent":"a?b?c?d?e é"`) {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}

// throttled is a provider that has had enough of everybody.
type throttled struct{}

func (throttled) Name() string { return "emailpass" }

func (throttled) Authenticate(context.Context, auth.Attempt) (auth.Assertion, error) {
	return auth.Assertion{}, fault.New(fault.TooMany, "throttled", "Too many attempts.")
}
