package httpapi_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/app/webhook"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
)

// nobodyListens is an address that refuses every connection.
const nobodyListens = "http://127.0.0.1:1/hooks"

// hook returns the id of a new webhook.
func (s *server) hook(t *testing.T) string {
	t.Helper()
	e, _, err := s.hooks.CreateEndpoint(t.Context(), webhook.EndpointDraft{URL: nobodyListens})
	check(t, err)
	return string(e.ID)
}

// names are the members of the object at a name of an answer.
func (a answer) names(t *testing.T, name string) (names []string) {
	t.Helper()
	var body map[string]json.RawMessage
	check(t, json.Unmarshal([]byte(a.body), &body))
	dec := json.NewDecoder(bytes.NewReader(body[name]))
	for depth := 0; ; {
		token, err := dec.Token()
		if err != nil {
			return names
		}
		switch token {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		default:
			if text, ok := token.(string); ok && depth == 1 {
				names = append(names, text)
				var value json.RawMessage
				check(t, dec.Decode(&value))
			}
		}
	}
}

// webhookJSON is a webhook's fields in their order, up to the last.
func webhookJSON(id, description, enabled, secrets string) string {
	return `{"id":"` + id + `","url":"` + nobodyListens + `","topics":["user.created"],"description":` + description + `,"enabled":` + enabled +
		`,"active_secrets":` + secrets + `,"created_at":"<time>","updated_at":"<time>"`
}

const (
	on           = `true,"disabled_at":null,"disabled_reason":null`
	off          = `false,"disabled_at":"<time>","disabled_reason":"manual"`
	notTried     = `{"id":"<whdel id>","webhook_id":"{hook}","event_id":"<evt id>","topic":"webhook.test","attempt":1,"sent_at":"<time>","duration_ms":<n>,"status":null,"error":"the connection was refused"}`
	alreadyThere = `{"code":"invalid_state_error","type":"conflict","message":"There is a webhook of this id already. Its secret was shown when it was made.","reason":"webhook_exists"}`
	noWebhook    = `{"type":"not_found","message":"No such webhook.","reason":"webhook_not_found"}`
)

var webhooksRoutes = []fixture{
	{"list by nobody", "", "GET /admin/webhooks", "", 401, unauthorized},
	{"list by a member", "member", "GET /admin/webhooks", "", 403, forbidden},
	{"list", "admin", "GET /admin/webhooks", "", 200, `{"webhooks":[` + webhookJSON("{hook}", "null", on, "1") + `}],"count":1,"offset":0,"limit":50}`},
	{"list none of them", "admin", "GET /admin/webhooks?limit=0&offset=5", "", 200, `{"webhooks":[],"count":1,"offset":5,"limit":0}`},
	{"list by what is no parameter", "admin", "GET /admin/webhooks?q=x", "", 400, invalid("Unrecognized fields: 'q'; use limit, offset, fields")},
	{"create", "admin", "POST /admin/webhooks", `{"url":"` + nobodyListens + `","topics":["user.created"],"description":"shop"}`, 200,
		`{"webhook":` + webhookJSON("<whep id>", `"shop"`, on, "1") + `,"secret":"<secret>"}}`},
	{"create one with few fields", "admin", "POST /admin/webhooks?fields=url", `{"url":"` + nobodyListens + `"}`, 200, `{"webhook":{"url":"` + nobodyListens + `","id":"<whep id>","secret":"<secret>"}}`},
	{"create nothing", "admin", "POST /admin/webhooks", `{}`, 400, invalid("Field 'url' is required")},
	{"create with a bad address", "admin", "POST /admin/webhooks", `{"url":"https://ada:x@example.com"}`, 400, problem("invalid_data", "The url must not hold a user or password.", "webhook_url_invalid")},
	{"create with an id that is none", "admin", "POST /admin/webhooks", `{"url":"` + nobodyListens + `","id":"user_01ARZ3NDEKTSV4RRFFQ69G5FAV"}`, 400, problem("invalid_data", "Invalid webhook: id must be whep_ and a ULID", "webhook_value_invalid", "id")},
	{"create with an empty id", "admin", "POST /admin/webhooks", `{"url":"` + nobodyListens + `","id":""}`, 400, invalid("'id' must not be empty")},
	{"create one that there is", "admin", "POST /admin/webhooks", `{"url":"` + nobodyListens + `","id":"{hook}"}`, 409, alreadyThere},
	{"create by a member", "member", "POST /admin/webhooks", `{}`, 403, forbidden},
	{"topics", "admin", "GET /admin/webhooks/topics", "", 200, `{"topics":["` + strings.Join(webhook.Topics(), `","`) + `"]}`},
	{"topics by a member", "member", "GET /admin/webhooks/topics", "", 403, forbidden},
	{"topics by name", "admin", "GET /admin/webhooks/topics?q=x", "", 400, invalid("Unrecognized fields: 'q'")},
	{"one", "admin", "GET /admin/webhooks/{hook}", "", 200, `{"webhook":` + webhookJSON("{hook}", "null", on, "1") + `}}`},
	{"none", "admin", "GET /admin/webhooks/whep_none", "", 404, noWebhook},
	{"update", "admin", "POST /admin/webhooks/{hook}", `{"description":"x","enabled":false}`, 200, `{"webhook":` + webhookJSON("{hook}", `"x"`, off, "1") + `}}`},
	{"update none", "admin", "POST /admin/webhooks/whep_none", `{}`, 404, noWebhook},
	{"rotate", "admin", "POST /admin/webhooks/{hook}/rotate-secret", `{}`, 200, `{"webhook":` + webhookJSON("{hook}", `"x"`, off, "2") + `,"secret":"<secret>"}}`},
	{"rotate what has changed", "admin", "POST /admin/webhooks/{hook}/rotate-secret", `{"updated_at":"2026-01-31T12:00:00.000Z"}`, 409,
		`{"code":"invalid_state_error","type":"conflict","message":"The webhook has changed meanwhile. Look at it, then ask again.","reason":"webhook_changed"}`},
	{"rotate since no time", "admin", "POST /admin/webhooks/{hook}/rotate-secret", `{"updated_at":"now"}`, 400, invalid("updated_at must be a time, as the webhook shows it")},
	{"rotate none", "admin", "POST /admin/webhooks/whep_none/rotate-secret", `{}`, 404, noWebhook},
	{"rotate with a strange overlap", "admin", "POST /admin/webhooks/{hook}/rotate-secret", `{"overlap":"1h"}`, 400, invalid("Expected type: 'number' for field 'overlap', got: 'string'")},
	{"test", "admin", "POST /admin/webhooks/{hook}/test", "", 200, `{"delivery":` + notTried + `}`},
	{"test none", "admin", "POST /admin/webhooks/whep_none/test", "", 404, noWebhook},
	{"deliveries", "admin", "GET /admin/webhooks/{hook}/deliveries?failed=true&topic=webhook.test", "", 200, `{"deliveries":[` + notTried + `],"limit":50}`},
	{"deliveries of another topic", "admin", "GET /admin/webhooks/{hook}/deliveries?topic=user.created", "", 200, `{"deliveries":[],"limit":50}`},
	{"deliveries of none", "admin", "GET /admin/webhooks/whep_none/deliveries", "", 404, noWebhook},
	{"delete by a member", "member", "DELETE /admin/webhooks/{hook}", "", 403, forbidden},
	{"delete", "admin", "DELETE /admin/webhooks/{hook}", "", 200, `{"id":"{hook}","object":"webhook","deleted":true}`},
	{"delete again", "admin", "DELETE /admin/webhooks/{hook}", "", 200, `{"id":"{hook}","object":"webhook","deleted":true}`},
}

func TestWebhooksAnswer(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		sc := newScene(t, s)
		e, _, err := s.hooks.CreateEndpoint(t.Context(), webhook.EndpointDraft{URL: nobodyListens, Topics: []string{"user.created"}})
		check(t, err)
		sc.ids["hook"] = string(e.ID)
		nextID()
		sc.run(t, webhooksRoutes)
	})
}

// A form that is sent again, or by two at once, makes one webhook, and one secret by each rotation that somebody has asked for.
func TestWhoSaysWhichWebhookTheyMeanMakesOne(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := bearer(s.admin(t, "admin@example.com"))
		made := func(path, body string) {
			t.Helper()
			var mu sync.Mutex
			statuses := map[int]int{}
			together(4, func(int) {
				a := s.do(t, "POST", path, body, admin)
				mu.Lock()
				defer mu.Unlock()
				statuses[a.status]++
			})
			if statuses[200] != 1 || statuses[409] != 3 {
				t.Errorf("%s: %v, want one that is made", path, statuses)
			}
		}
		hook := id.New("whep")
		made("/admin/webhooks", `{"url":"`+nobodyListens+`","id":"`+hook+`"}`)
		for range 2 {
			at := s.do(t, "GET", "/admin/webhooks/"+hook, "", admin).get("webhook", "updated_at")
			made("/admin/webhooks/"+hook+"/rotate-secret", `{"updated_at":"`+at+`"}`)
		}
		if n := s.do(t, "GET", "/admin/webhooks/"+hook, "", admin).get("webhook", "active_secrets"); n != "3" {
			t.Errorf("%s secrets sign, want 3", n)
		}
	})
}

// An application that has none says so.
func TestWithoutWebhooksTheRoutesSaySo(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := bearer(s.admin(t, "admin@example.com"))
		api, err := httpapi.New(httpapi.Params{DB: s.db, Users: s.users, Auth: s.auth, Link: s.link})
		check(t, err)
		bare := httptest.NewServer(api)
		defer bare.Close()
		s.URL = bare.URL
		for _, route := range httpapi.Routes() {
			method, path, _ := strings.Cut(route, " ")
			if !strings.HasPrefix(path, "/admin/webhooks") {
				continue
			}
			body := ""
			if route == "POST /admin/webhooks" {
				body = `{"url":"` + nobodyListens + `"}`
			}
			if a := s.do(t, method, strings.ReplaceAll(path, "{id}", id.New("whep")), body, admin); a.status != 404 || a.get("reason") != "no_webhooks" {
				t.Errorf("%s: %d %s", route, a.status, a.body)
			}
		}
	})
}

func TestWebhooksAreManagedOverHTTP(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		var mu sync.Mutex
		var got *http.Request
		var body []byte
		receiver := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			data, _ := io.ReadAll(r.Body)
			mu.Lock()
			defer mu.Unlock()
			got, body = r.Clone(r.Context()), data
		}))
		defer receiver.Close()
		admin := bearer(s.admin(t, "admin@example.com"))
		ask := func(method, path, body string, want int) answer {
			t.Helper()
			a := s.do(t, method, path, body, admin)
			if a.status != want {
				t.Fatalf("%s %s: %d %s, want %d", method, path, a.status, a.body, want)
			}
			return a
		}
		shown := []string{"id", "url", "topics", "description", "enabled", "disabled_at", "disabled_reason", "active_secrets", "created_at", "updated_at"}

		made := ask("POST", "/admin/webhooks", `{"url":"`+receiver.URL+`","topics":["user.created"],"description":"shop"}`, 200)
		hook, secret := made.get("webhook", "id"), made.get("webhook", "secret")
		if names := made.names(t, "webhook"); !slices.Equal(names, append(shown, "secret")) || !id.Valid("whep", hook) || !strings.HasPrefix(secret, "whsec_") || made.get("webhook", "enabled") != "true" {
			t.Errorf("made %s", made.body)
		}
		one, list := ask("GET", "/admin/webhooks/"+hook, "", 200), ask("GET", "/admin/webhooks?limit=1", "", 200)
		if !slices.Equal(one.names(t, "webhook"), shown) || !strings.Contains(list.body, `"count":1,"offset":0,"limit":1`) || strings.Contains(one.body+list.body, strings.TrimPrefix(secret, "whsec_")) {
			t.Errorf("shown %s\n%s", one.body, list.body)
		}

		tested := ask("POST", "/admin/webhooks/"+hook+"/test", "", 200)
		if tested.get("delivery", "status") != "200" || tested.get("delivery", "error") != "" || tested.get("delivery", "topic") != "webhook.test" || tested.get("delivery", "webhook_id") != hook {
			t.Errorf("tested: %s", tested.body)
		}
		wh, err := standardwebhooks.NewWebhook(secret)
		check(t, err)
		mu.Lock()
		check(t, wh.Verify(body, got.Header))
		mu.Unlock()

		rotated := ask("POST", "/admin/webhooks/"+hook+"/rotate-secret", `{"overlap":3600}`, 200)
		if other := rotated.get("webhook", "secret"); other == secret || !strings.HasPrefix(other, "whsec_") || rotated.get("webhook", "active_secrets") != "2" {
			t.Errorf("rotated: %s", rotated.body)
		}
		if rotated = ask("POST", "/admin/webhooks/"+hook+"/rotate-secret", `{"now":true}`, 200); rotated.get("webhook", "active_secrets") != "1" {
			t.Errorf("rotated at once: %s", rotated.body)
		}

		updated := ask("POST", "/admin/webhooks/"+hook, `{"enabled":false,"topics":null,"description":null,"url":"`+nobodyListens+`"}`, 200)
		if updated.get("webhook", "enabled") != "false" || updated.get("webhook", "disabled_reason") != "manual" || !strings.Contains(updated.body, `"topics":[]`) || updated.get("webhook", "description") != "" {
			t.Errorf("updated: %s", updated.body)
		}
		ask("POST", "/admin/webhooks/"+hook+"/test", "", 200)
		failed := ask("GET", "/admin/webhooks/"+hook+"/deliveries?failed=true", "", 200)
		if strings.Count(failed.body, `"whdel_`) != 1 || !strings.Contains(failed.body, `"status":null,"error":"the connection was refused"`) {
			t.Errorf("failed: %s", failed.body)
		}
		page := ask("GET", "/admin/webhooks/"+hook+"/deliveries?limit=1", "", 200)
		next := ask("GET", "/admin/webhooks/"+hook+"/deliveries?limit=1&after="+page.get("next"), "", 200)
		if page.get("next") == "" || next.get("next") != "" || strings.Count(next.body, `"whdel_`) != 1 {
			t.Errorf("two pages: %s\n%s", page.body, next.body)
		}

		for _, c := range []struct {
			method, path, body string
			status             int
			says               string
		}{
			{"POST", "", `{}`, 400, "Field 'url' is required"},
			{"POST", "", `{"url":"ftp://example.com/"}`, 400, `The url must begin with https://.","reason":"webhook_url_invalid"`},
			{"POST", "", `{"url":"https://example.com/","secret":"mine"}`, 400, "Unrecognized fields: 'secret'"},
			{"POST", "", `{"url":"https://example.com/","topics":["user"]}`, 400, "topics[0] is none that there is"},
			{"POST", "/" + hook, `{"enabled":null}`, 400, "'enabled' must not be null"},
			{"POST", "/" + hook, `{"enabled":"no"}`, 400, "Expected type: 'boolean' for field 'enabled', got: 'string'"},
			{"POST", "/" + hook + "/rotate-secret", `{"overlap":0}`, 400, "overlap must be 1 to 2592000 seconds"},
			{"POST", "/" + hook + "/rotate-secret", `{"overlap":60,"now":true}`, 400, "webhook_value_invalid"},
			{"GET", "/" + hook + "/deliveries?after=x", "", 400, "cursor_invalid"},
			{"GET", "/" + hook + "/deliveries?limit=0", "", 400, "at least 1"},
			{"GET", "/whep_none", "", 404, "webhook_not_found"},
			{"POST", "/" + id.New("whep"), `{}`, 404, "was not found"},
			{"POST", "/" + id.New("whep") + "/rotate-secret", `{}`, 404, "webhook_not_found"},
			{"POST", "/" + id.New("whep") + "/test", ``, 404, "webhook_not_found"},
			{"GET", "/" + id.New("whep") + "/deliveries", ``, 404, "webhook_not_found"},
			{"DELETE", "/" + id.New("whep"), ``, 200, `"object":"webhook","deleted":true`},
		} {
			if a := ask(c.method, "/admin/webhooks"+c.path, c.body, c.status); !strings.Contains(a.body, c.says) {
				t.Errorf("%s %s %s: %s, want %q", c.method, c.path, c.body, a.body, c.says)
			}
		}
		for range 2 {
			if a := ask("DELETE", "/admin/webhooks/"+hook, "", 200); a.body != `{"id":"`+hook+`","object":"webhook","deleted":true}` {
				t.Errorf("deleted: %s", a.body)
			}
		}
		ask("GET", "/admin/webhooks/"+hook, "", 404)

		var actions []string
		for _, e := range s.trail(t, "target_id="+hook) {
			if e["actor_type"] != "user" || strings.Contains(mustJSON(t, e), "whsec") {
				t.Errorf("the trail has %v", e)
			}
			actions = append([]string{e["action"].(string)}, actions...)
		}
		if want := []string{"webhook.created", "webhook.secret_rotated", "webhook.secret_rotated", "webhook.updated", "webhook.deleted"}; !slices.Equal(actions, want) {
			t.Errorf("the trail has %q, want %q", actions, want)
		}
	})
}

func mustJSON(t *testing.T, v any) string {
	t.Helper()
	data, err := json.Marshal(v)
	check(t, err)
	return string(data)
}

// Who may read webhooks may not change them.
func TestWebhooksWantPermissions(t *testing.T) {
	eachWith(t, settings{api: httpapi.Options{Roles: httpapi.Roles{"watcher": {"webhook:read"}, "support": {"user:*", "invite:*", "audit:read"}}}}, func(t *testing.T, s *server) {
		hook := s.hook(t)
		watcher, support := bearer(s.somebody(t, "watcher@example.com", "watcher")), bearer(s.somebody(t, "support@example.com", "support"))
		for _, route := range httpapi.Routes() {
			method, path, _ := strings.Cut(route, " ")
			if !strings.HasPrefix(path, "/admin/webhooks") {
				continue
			}
			path = strings.ReplaceAll(path, "{id}", hook)
			want := 403
			if method == "GET" {
				want = 200
			}
			for as, want := range map[string]int{watcher: want, support: 403, "X-None: 1": 401} {
				if a := s.do(t, method, path, "", as); a.status != want {
					t.Errorf("%s %s as %s: %d %s, want %d", method, path, strings.ToValidUTF8(as[:min(len(as), 20)], ""), a.status, a.body, want)
				}
			}
		}
	})
}
