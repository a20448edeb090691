package httpapi_test

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// A replay is a request that is sent five times: three times at once, whose answers are lost after the commit, then twice
// more. It must do what one does.
type replay struct {
	// prepare sets the scene for somebody new and returns what to send: path, body and headers.
	prepare func(t *testing.T, sc scene, who string) request

	first, again int      // statuses: of the one that is first, and of those after it
	late         int      // another status that those have which were under way at the same time; 0: none
	each         []string // topics that every success announces once more, as is documented
	rows         []string // tables to which every success adds, as is documented
}

type request struct {
	path, body string
	headers    []string
}

// replays has a row for every route that changes something.
var replays = map[string]replay{
	"POST /auth/{actor}/{provider}/register": {first: 200, again: 200, each: []string{"auth.sign_up"}, rows: []string{"latchkey_auth_session"},
		prepare: func(_ *testing.T, _ scene, who string) request {
			return request{path: "/auth/user/emailpass/register", body: credentials(who, password)}
		}},
	"POST /auth/{actor}/{provider}": {first: 200, again: 200, each: []string{"auth.sign_in"}, rows: []string{"latchkey_auth_session"},
		prepare: func(t *testing.T, sc scene, who string) request {
			sc.register(t, who)
			return request{path: "/auth/user/emailpass", body: credentials(who, password)}
		}},
	"POST /auth/{actor}/{provider}/callback": {first: 200, again: 401,
		prepare: func(t *testing.T, sc scene, who string) request {
			b := sc.browser()
			state, _ := b.begin(t, "okta", "{}")
			return request{"/auth/user/okta/callback", `{"state":"` + state + `","code":"` + who + ":" + who + `"}`, []string{"Cookie: latchkey-flow=" + b.cookies["latchkey-flow"]}}
		}},
	"POST /auth/{actor}/{provider}/reset-password": {first: 201, again: 201, each: []string{"auth.password_reset"},
		prepare: func(t *testing.T, sc scene, who string) request {
			sc.member(t, who)
			return request{path: "/auth/user/emailpass/reset-password", body: `{"identifier":"` + who + `"}`}
		}},
	"POST /auth/{actor}/{provider}/update": {first: 200, again: 401,
		prepare: func(t *testing.T, sc scene, who string) request {
			sc.member(t, who)
			return request{"/auth/user/emailpass/update", `{"password":"battery staple"}`, []string{bearer(sc.resetToken(t, who, auth.ByMail))}}
		}},
	"POST /auth/session": {first: 200, again: 200,
		prepare: func(t *testing.T, sc scene, who string) request {
			return request{path: "/auth/session", headers: []string{bearer(sc.member(t, who))}}
		}},
	"DELETE /auth/session": {first: 200, again: 401,
		prepare: func(t *testing.T, sc scene, who string) request {
			return request{path: "/auth/session", headers: []string{bearer(sc.member(t, who))}}
		}},
	"POST /auth/token/refresh": {first: 200, again: 200,
		prepare: func(t *testing.T, sc scene, who string) request {
			return request{path: "/auth/token/refresh", headers: []string{bearer(sc.member(t, who))}}
		}},
	"DELETE /auth/sessions": {first: 200, again: 401,
		prepare: func(t *testing.T, sc scene, who string) request {
			sc.member(t, who)
			return request{path: "/auth/sessions", headers: []string{bearer(sc.signIn(t, who))}}
		}},
	"DELETE /auth/sessions/{id}": {first: 200, again: 200,
		prepare: func(t *testing.T, sc scene, who string) request {
			other := sc.member(t, who)
			return request{path: "/auth/sessions/" + sid(t, other), headers: []string{bearer(sc.signIn(t, who))}}
		}},
	"POST /auth/verification/request": {first: 201, again: 201, each: []string{"auth.verification_requested"},
		prepare: func(t *testing.T, sc scene, who string) request {
			return request{"/auth/verification/request", `{"entity_id":"` + who + `","entity_type":"email"}`, []string{bearer(sc.member(t, who))}}
		}},
	"POST /auth/verification/confirm": {first: 200, again: 400,
		prepare: func(t *testing.T, sc scene, who string) request {
			token := sc.member(t, who)
			sc.askToProve(t, who, bearer(token))
			return request{"/auth/verification/confirm", `{"code":"` + sc.mailedProof(t) + `"}`, []string{bearer(token)}}
		}},

	"POST /auth/{actor}/{provider}/link": {first: 200, again: 200,
		prepare: func(t *testing.T, sc scene, who string) request {
			return request{"/auth/user/vouching/link", `{"name":"another ` + who + `"}`, []string{bearer(sc.vouched(t, who, who, true))}}
		}},
	"DELETE /auth/provider-identities/{id}": {first: 200, again: 401,
		prepare: func(t *testing.T, sc scene, who string) request {
			token := sc.vouched(t, who, who, true)
			if a := sc.addWay(t, "vouching", `{"name":"another `+who+`"}`, bearer(token)); a.status != 200 {
				t.Fatalf("link: %d %s", a.status, a.body)
			}
			return request{"/auth/provider-identities/" + sc.ways(t, bearer(token))["vouching "+who], `{}`, []string{bearer(token)}}
		}},
	"POST /auth/{provider}/user": {first: 200, again: 400,
		prepare: func(t *testing.T, sc scene, who string) request {
			token := sc.node(t, settings{actor: link.ActorOptions{Policy: link.Manual{}}}).vouched(t, who, who, true)
			return request{path: "/auth/vouching/user", headers: []string{bearer(token)}}
		}},

	"POST /admin/users/me/profile": {first: 200, again: 200,
		prepare: func(t *testing.T, sc scene, who string) request {
			return request{"/admin/users/me/profile", `{"first_name":"Ada"}`, []string{bearer(sc.member(t, who))}}
		}},
	"POST /admin/users/me/delete": {first: 200, again: 401,
		prepare: func(t *testing.T, sc scene, who string) request {
			return request{"/admin/users/me/delete", `{"current_password":"` + password + `"}`, []string{bearer(sc.member(t, who))}}
		}},
	"POST /admin/users/me/email": {first: 200, again: 200, each: []string{"user.email_change_requested", "auth.email_change"},
		prepare: func(t *testing.T, sc scene, who string) request {
			return request{"/admin/users/me/email", `{"email":"new.` + who + `","current_password":"` + password + `"}`, []string{bearer(sc.member(t, who))}}
		}},
	"POST /admin/users/me/email/confirm": {first: 200, again: 401, late: 400,
		prepare: func(t *testing.T, sc scene, who string) request {
			token := sc.member(t, who)
			return request{"/admin/users/me/email/confirm", `{"token":"` + sc.moving(t, token, "new."+who) + `"}`, []string{bearer(token)}}
		}},
	"POST /admin/users/{id}": {first: 200, again: 200,
		prepare: func(t *testing.T, sc scene, who string) request {
			return request{"/admin/users/" + actor(t, sc.member(t, who)), `{"first_name":"Ada"}`, sc.asAdmin()}
		}},
	"DELETE /admin/users/{id}": {first: 200, again: 200,
		prepare: func(t *testing.T, sc scene, who string) request {
			return request{path: "/admin/users/" + actor(t, sc.member(t, who)), headers: sc.asAdmin()}
		}},
	"POST /admin/users/{id}/deactivate": {first: 200, again: 200,
		prepare: func(t *testing.T, sc scene, who string) request {
			return request{path: "/admin/users/" + actor(t, sc.member(t, who)) + "/deactivate", headers: sc.asAdmin()}
		}},
	"POST /admin/users/{id}/reactivate": {first: 200, again: 200,
		prepare: func(t *testing.T, sc scene, who string) request {
			id := actor(t, sc.member(t, who))
			sc.do(t, "POST", "/admin/users/"+id+"/deactivate", "", sc.asAdmin()...)
			return request{path: "/admin/users/" + id + "/reactivate", headers: sc.asAdmin()}
		}},
	"POST /admin/users/{id}/restore": {first: 200, again: 200,
		prepare: func(t *testing.T, sc scene, who string) request {
			id := actor(t, sc.member(t, who))
			sc.do(t, "DELETE", "/admin/users/"+id, "", sc.asAdmin()...)
			return request{path: "/admin/users/" + id + "/restore", headers: sc.asAdmin()}
		}},
	"POST /admin/users/{id}/reset-password": {first: 200, again: 200, each: []string{"auth.password_reset"},
		prepare: func(t *testing.T, sc scene, who string) request {
			return request{path: "/admin/users/" + actor(t, sc.member(t, who)) + "/reset-password", headers: sc.asAdmin()}
		}},
	"DELETE /admin/users/{id}/sessions": {first: 200, again: 200,
		prepare: func(t *testing.T, sc scene, who string) request {
			return request{path: "/admin/users/" + actor(t, sc.member(t, who)) + "/sessions", headers: sc.asAdmin()}
		}},
	"DELETE /admin/users/{id}/sessions/{session}": {first: 200, again: 200,
		prepare: func(t *testing.T, sc scene, who string) request {
			token := sc.member(t, who)
			return request{path: "/admin/users/" + actor(t, token) + "/sessions/" + sid(t, token), headers: sc.asAdmin()}
		}},
	"POST /admin/users/{id}/roles": {first: 200, again: 200,
		prepare: func(t *testing.T, sc scene, who string) request {
			return request{"/admin/users/" + actor(t, sc.member(t, who)) + "/roles", `{"roles":["editor"]}`, sc.asAdmin()}
		}},
	"DELETE /admin/users/{id}/roles": {first: 200, again: 200,
		prepare: func(t *testing.T, sc scene, who string) request {
			return request{"/admin/users/" + actor(t, sc.member(t, who)) + "/roles", `{"roles":["member"]}`, sc.asAdmin()}
		}},
	"DELETE /admin/users/{id}/roles/{role}": {first: 200, again: 200,
		prepare: func(t *testing.T, sc scene, who string) request {
			return request{path: "/admin/users/" + actor(t, sc.member(t, who)) + "/roles/member", headers: sc.asAdmin()}
		}},

	"POST /admin/invites": {first: 200, again: 400,
		prepare: func(_ *testing.T, sc scene, who string) request {
			return request{"/admin/invites", `{"email":"` + who + `"}`, sc.asAdmin()}
		}},
	"POST /admin/invites/batch": {first: 200, again: 200, // and an answer for each address
		prepare: func(_ *testing.T, sc scene, who string) request {
			return request{"/admin/invites/batch", `{"emails":["` + who + `","more.` + who + `"]}`, sc.asAdmin()}
		}},
	"POST /admin/invites/accept": {first: 200, again: 200,
		prepare: func(t *testing.T, sc scene, who string) request {
			token := sc.invited(t, who).get("invite", "token")
			return request{"/admin/invites/accept?token=" + token, `{"first_name":"Ada"}`, []string{bearer(sc.register(t, who))}}
		}},
	"DELETE /admin/invites/{id}": {first: 200, again: 200,
		prepare: func(t *testing.T, sc scene, who string) request {
			return request{path: "/admin/invites/" + sc.invited(t, who).get("invite", "id"), headers: sc.asAdmin()}
		}},
	"POST /admin/invites/{id}/resend": {first: 200, again: 200, each: []string{"invite.resent"},
		prepare: func(t *testing.T, sc scene, who string) request {
			return request{path: "/admin/invites/" + sc.invited(t, who).get("invite", "id") + "/resend", headers: sc.asAdmin()}
		}},

	"POST /admin/webhooks": {first: 200, again: 200, rows: []string{"latchkey_webhook_endpoint", "latchkey_webhook_secret", "latchkey_outbox_consumer"},
		prepare: func(_ *testing.T, sc scene, who string) request {
			return request{"/admin/webhooks", `{"url":"` + nobodyListens + `","description":"` + who + `"}`, sc.asAdmin()}
		}},
	"POST /admin/webhooks/{id}": {first: 200, again: 200,
		prepare: func(t *testing.T, sc scene, who string) request {
			return request{"/admin/webhooks/" + sc.hook(t), `{"description":"` + who + `","topics":["user.created"]}`, sc.asAdmin()}
		}},
	"DELETE /admin/webhooks/{id}": {first: 200, again: 200,
		prepare: func(t *testing.T, sc scene, _ string) request {
			return request{path: "/admin/webhooks/" + sc.hook(t), headers: sc.asAdmin()}
		}},
	"POST /admin/webhooks/{id}/rotate-secret": {first: 200, again: 200, rows: []string{"latchkey_webhook_secret"},
		prepare: func(t *testing.T, sc scene, _ string) request {
			return request{"/admin/webhooks/" + sc.hook(t) + "/rotate-secret", `{"overlap":60}`, sc.asAdmin()}
		}},
	"POST /admin/webhooks/{id}/test": {first: 200, again: 200, rows: []string{"latchkey_webhook_delivery"},
		prepare: func(t *testing.T, sc scene, _ string) request {
			return request{path: "/admin/webhooks/" + sc.hook(t) + "/test", headers: sc.asAdmin()}
		}},
	"POST /admin/events/retry": {first: 200, again: 200,
		prepare: func(t *testing.T, sc scene, who string) request {
			sc.waits(t, who)
			return request{"/admin/events/retry", `{"topic":"` + who + `"}`, sc.asAdmin()}
		}},
	"POST /admin/events/discard": {first: 200, again: 200,
		prepare: func(t *testing.T, sc scene, who string) request {
			sc.waits(t, who)
			return request{"/admin/events/discard", `{"topic":"` + who + `"}`, sc.asAdmin()}
		}},
}

func TestWhatBecomesOfARequestThatIsSentAgainIsInTheDocumentation(t *testing.T) {
	text, err := os.ReadFile("../../docs/reliability.md")
	check(t, err)
	for pattern, r := range replays {
		if row := fmt.Sprintf("| `%s` | %d | %d", pattern, r.first, r.again); !strings.Contains(string(text), row) {
			t.Errorf("docs/reliability.md lacks the row %s", row)
		}
	}
}

func (sc scene) asAdmin() []string { return []string{bearer(sc.tokens["admin"])} }

func (sc scene) invited(t *testing.T, who string) answer {
	t.Helper()
	a := sc.do(t, "POST", "/admin/invites", `{"email":"`+who+`"}`, sc.asAdmin()...)
	if a.status != 200 {
		t.Fatalf("invite: %d %s", a.status, a.body)
	}
	return a
}

func TestSendingTheSameAgainHasOneEffect(t *testing.T) {
	eachWith(t, settings{auth: unthrottled.auth, actor: link.ActorOptions{CreateProviders: []string{"vouching"}},
		providers: []auth.Provider{redirecting{"okta"}}, site: web.Options{PublicURL: "http://id.example.com"}}, func(t *testing.T, s *server) {
		sc := newScene(t, s)
		left := maps.Clone(replays)
		for i, pattern := range httpapi.Routes() {
			method, _, _ := strings.Cut(pattern, " ")
			r, ok := replays[pattern]
			delete(left, pattern)
			switch {
			case method == "GET":
				continue
			case !ok:
				t.Errorf("say in this test what becomes of %s when it is sent again", pattern)
				continue
			}
			t.Run(strings.ReplaceAll(pattern, "/", "."), func(t *testing.T) {
				alone := r.send(t, sc, method, fmt.Sprintf("once%d@example.com", i), 0, 1)
				five := r.send(t, sc, method, fmt.Sprintf("again%d@example.com", i), 3, 2)
				if len(alone.answers) != 1 || alone.answers[0].status != r.first {
					t.Fatalf("sent once: %d %s, want %d", alone.answers[0].status, alone.answers[0].body, r.first)
				}
				firsts, successes := 0, 0
				for n, a := range five.answers {
					switch {
					case a.status == r.first && (firsts == 0 || r.first == r.again):
						firsts++
					case a.status != r.again && (r.late == 0 || a.status != r.late || n >= 3):
						t.Errorf("answer %d: %d %s, want %d once and then %d", n, a.status, a.body, r.first, r.again)
					}
					if a.status < 300 {
						successes++
					}
				}
				if firsts == 0 {
					t.Errorf("none was answered with %d", r.first)
				}
				five.compare(t, "events", alone.events, five.events, r.each, successes)
				five.compare(t, "rows", alone.rows, five.rows, r.rows, successes)
			})
		}
		for pattern := range left {
			t.Errorf("there is no route %s any more", pattern)
		}
	})
}

// sent is what became of requests: their answers, the lost ones too, and how many events and rows there are more by topic and table.
type sent struct {
	answers      []answer
	events, rows map[string]int
}

// send sends the request, to lose the answers of so many at once, and then so many one after the other.
func (r replay) send(t *testing.T, sc scene, method, who string, lost, then int) sent {
	t.Helper()
	req := r.prepare(t, sc, who)
	before, was := sc.topics(), sc.sizes(t)
	var out sent
	drop := &dropping{next: sc.Client().Transport}
	client := &http.Client{Transport: drop}
	errs := databasetest.Together(lost, func(int) error {
		return lose(t, client, method, sc.URL+req.path, req.body, req.headers)
	})
	for _, err := range errs {
		if !errors.Is(err, errDropped) {
			t.Errorf("the answer was not lost: %v", err)
		}
	}
	out.answers = drop.answers
	for range then {
		out.answers = append(out.answers, sc.do(t, method, req.path, req.body, req.headers...))
	}
	out.events, out.rows = more(sc.topics(), before), more(sc.sizes(t), was)
	return out
}

// compare wants as much to have happened as by one request, but for what each success does.
func (sent) compare(t *testing.T, what string, one, five map[string]int, each []string, successes int) {
	t.Helper()
	want := maps.Clone(one)
	for _, name := range each {
		want[name] = one[name] + successes - 1
	}
	maps.DeleteFunc(want, func(_ string, n int) bool { return n == 0 })
	if !maps.Equal(five, want) {
		t.Errorf("%s that came to be by five: %v, want %v", what, five, want)
	}
}

// topics counts what was announced.
func (s *server) topics() map[string]int {
	s.told.mu.Lock()
	defer s.told.mu.Unlock()
	count := map[string]int{}
	for _, e := range s.told.events {
		count[e.Topic()]++
	}
	return count
}

// sizes are how many rows the tables have, but for those that keep what was refused.
func (s *server) sizes(t *testing.T) map[string]int {
	t.Helper()
	sizes := map[string]int{}
	for table, rows := range databasetest.Dump(t, s.db) {
		if table != "latchkey_audit_event" && table != "latchkey_auth_throttle" && !strings.Contains(table, "trigram_") {
			sizes[table] = len(rows)
		}
	}
	return sizes
}

func more(now, before map[string]int) map[string]int {
	for name, n := range before {
		if now[name] -= n; now[name] == 0 {
			delete(now, name)
		}
	}
	maps.DeleteFunc(now, func(_ string, n int) bool { return n == 0 })
	return now
}

var errDropped = errors.New("the answer is lost")

// dropping has requests come through, waits for their answers, by which they are committed, and loses them.
type dropping struct {
	next    http.RoundTripper
	mu      sync.Mutex
	answers []answer
}

// RoundTrip implements http.RoundTripper.
func (d *dropping) RoundTrip(r *http.Request) (*http.Response, error) {
	rsp, err := d.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	defer rsp.Body.Close()
	body, err := io.ReadAll(rsp.Body)
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.answers = append(d.answers, answer{rsp.StatusCode, rsp.Header, string(body)})
	// The one that had the effect may be answered last.
	slices.SortStableFunc(d.answers, func(a, b answer) int { return a.status - b.status })
	return nil, errDropped
}

func lose(t *testing.T, client *http.Client, method, url, body string, headers []string) error {
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	rsp, err := client.Do(req)
	if err == nil {
		rsp.Body.Close()
	}
	return err
}
