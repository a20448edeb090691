package httpapi_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// rung is an event of the tests' own: of a topic, of an aggregate.
type rung struct{ topic, of string }

func (r rung) Topic() string     { return r.topic }
func (r rung) Aggregate() string { return r.of }

// bell is a consumer that hears everything; nothing is delivered to it here.
type bell struct{}

func (bell) Publish(context.Context, outbox.Event) error { return nil }

// waits records an event of the topic, and returns its id.
func (s *server) waits(t *testing.T, topic string) string {
	t.Helper()
	check(t, s.box.Emit(t.Context(), rung{topic, "bell_" + topic}))
	list, _, err := s.box.List(t.Context(), outbox.Filter{Topic: topic}, 0, 0)
	check(t, err)
	return list[len(list)-1].ID
}

// dies gives the deliveries of a topic up.
func (s *server) dies(t *testing.T, topic, why string) {
	t.Helper()
	check(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
		_, err := s.db.Conn(ctx).NewUpdate().Table("latchkey_outbox_delivery").Set("dead_at = ?", database.Now()).Set("last_error = ?", why).
			Set("attempts = 3").Where("topic = ?", topic).Exec(ctx)
		return err
	}))
}

const (
	waitingJSON = `{"id":"{waiting}","topic":"bell.rung","aggregate":"bell_bell.rung","recorded_at":"<time>","consumer":"bell","target":null,` +
		`"attempts":0,"error":null,"state":"waiting","next_at":"<time>","dead_at":null}`
	deadJSON = `{"id":"{dead}","topic":"bell.cracked","aggregate":"bell_bell.cracked","recorded_at":"<time>","consumer":"bell","target":null,` +
		`"attempts":3,"error":"no sound","state":"dead","next_at":null,"dead_at":"<time>"}`
	sayWhich = "say which deliveries are meant by id, consumer, target, topic or dead, or that all are by all"
)

var eventsRoutes = []fixture{
	{"list by nobody", "", "GET /admin/events", "", 401, unauthorized},
	{"list by a member", "member", "GET /admin/events", "", 403, forbidden},
	{"list", "admin", "GET /admin/events", "", 200, `{"deliveries":[` + waitingJSON + `,` + deadJSON + `],"count":2,"offset":0,"limit":50}`},
	{"list the dead", "admin", "GET /admin/events?dead=true&consumer=bell&topic=bell.cracked", "", 200, `{"deliveries":[` + deadJSON + `],"count":1,"offset":0,"limit":50}`},
	{"list one", "admin", "GET /admin/events?id={waiting}", "", 200, `{"deliveries":[` + waitingJSON + `],"count":1,"offset":0,"limit":50}`},
	{"list a page", "admin", "GET /admin/events?offset=1&limit=1&fields=state", "", 200, `{"deliveries":[{"state":"dead","id":"{dead}"}],"count":2,"offset":1,"limit":1}`},
	{"list those of a target", "admin", "GET /admin/events?target=whep_x", "", 200, `{"deliveries":[],"count":0,"offset":0,"limit":50}`},
	{"list by nothing", "admin", "GET /admin/events?consumer=", "", 400, invalid("consumer must not be empty")},
	{"list by what is no parameter", "admin", "GET /admin/events?q=x", "", 400, invalid("Unrecognized fields: 'q'; use dead, limit, offset, fields, consumer, id, target, topic")},
	{"list none of them", "admin", "GET /admin/events?limit=0", "", 400, invalid("limit must be at least 1")},
	{"list what is neither", "admin", "GET /admin/events?dead=x", "", 400, invalid("Expected type: 'boolean' for field 'dead', got: 'string'")},

	{"consumers", "admin", "GET /admin/events/consumers", "", 200, `{"consumers":[{"name":"bell","target":null,"topics":[],"since":"<time>","waiting":1,"dead":1,"oldest_at":"<time>"}]}`},
	{"consumers by a member", "member", "GET /admin/events/consumers", "", 403, forbidden},
	{"consumers by name", "admin", "GET /admin/events/consumers?name=x", "", 400, invalid("Unrecognized fields: 'name'")},

	{"retry by a member", "member", "POST /admin/events/retry", `{"all":true}`, 403, forbidden},
	{"retry nothing", "admin", "POST /admin/events/retry", `{}`, 400, invalid(sayWhich)},
	{"retry what is left out", "admin", "POST /admin/events/retry", `{"consumer":null}`, 400, invalid("'consumer' must be text that is not empty, of at most 1024 bytes")},
	{"retry one", "admin", "POST /admin/events/retry", `{"id":"{dead}","consumer":"bell"}`, 200, `{"count":1,"object":"delivery","retried":true}`},
	{"retry none", "admin", "POST /admin/events/retry", `{"dead":true}`, 200, `{"count":0,"object":"delivery","retried":true}`},
	{"retry with a parameter", "admin", "POST /admin/events/retry?id=x", `{"all":true}`, 400, invalid("Unrecognized fields: 'id'")},

	{"discard by a member", "member", "POST /admin/events/discard", `{"all":true}`, 403, forbidden},
	{"discard nothing", "admin", "POST /admin/events/discard", `{"dead":false}`, 400, invalid(sayWhich)},
	{"discard an empty name", "admin", "POST /admin/events/discard", `{"topic":""}`, 400, invalid("'topic' must be text that is not empty, of at most 1024 bytes")},
	{"discard all and one", "admin", "POST /admin/events/discard", `{"all":true,"id":"{waiting}"}`, 400, invalid("all cannot be given together with id, consumer, target, topic or dead")},
	{"discard one", "admin", "POST /admin/events/discard", `{"id":"{waiting}"}`, 200, `{"count":1,"object":"delivery","deleted":true}`},
	{"discard it again", "admin", "POST /admin/events/discard", `{"id":"{waiting}"}`, 200, `{"count":0,"object":"delivery","deleted":true}`},
	{"discard all", "admin", "POST /admin/events/discard", `{"all":true}`, 200, `{"count":1,"object":"delivery","deleted":true}`},
	{"list nothing", "admin", "GET /admin/events", "", 200, `{"deliveries":[],"count":0,"offset":0,"limit":50}`},
}

func TestEventsAnswer(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		sc := newScene(t, s)
		sc.ids["waiting"], sc.ids["dead"] = s.waits(t, "bell.rung"), s.waits(t, "bell.cracked")
		s.dies(t, "bell.cracked", "no sound")
		sc.run(t, eventsRoutes)
	})
}

// What was dropped, by whom and which of it, the trail says; that nothing was, it does not.
func TestTheTrailKeepsWhatBecameOfEvents(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		s.waits(t, "bell.rung")
		s.dies(t, "bell.rung", "no sound")
		for _, c := range []struct{ do, body, details string }{
			{"retry", `{"dead":true,"topic":"bell.rung"}`, "map[dead:true deliveries:1 topic:bell.rung]"},
			{"discard", `{"consumer":"bell"}`, "map[consumer:bell deliveries:1]"},
		} {
			if a := s.do(t, "POST", "/admin/events/"+c.do, c.body, bearer(admin)); a.status != 200 {
				t.Fatalf("%s: %d %s", c.do, a.status, a.body)
			}
			if a := s.do(t, "POST", "/admin/events/"+c.do, `{"topic":"none"}`, bearer(admin)); a.status != 200 {
				t.Fatalf("%s: %d %s", c.do, a.status, a.body)
			}
			rows := s.trail(t, "action=events."+c.do)
			if len(rows) != 1 || fmt.Sprint(rows[0]["details"]) != c.details || rows[0]["actor_id"] != claims(t, admin)["actor_id"] {
				t.Errorf("%s: the trail has %v, want %s", c.do, rows, c.details)
			}
		}
	})
}

// An application that keeps no events says so, and so does one that says nothing of itself.
func TestWithoutEventsAndHealthTheRoutesSaySo(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := bearer(s.admin(t, "admin@example.com"))
		api, err := httpapi.New(httpapi.Params{DB: s.db, Users: s.users, Auth: s.auth, Link: s.link})
		check(t, err)
		bare := httptest.NewServer(api)
		defer bare.Close()
		s.URL = bare.URL
		for do, reason := range map[string]string{
			"GET /admin/events": "no_events", "GET /admin/events/consumers": "no_events", "POST /admin/events/retry": "no_events", "POST /admin/events/discard": "no_events",
			"GET /admin/health": "no_health",
		} {
			method, path, _ := strings.Cut(do, " ")
			body := ""
			if method == "POST" {
				body = `{"all":true}`
			}
			if a := s.do(t, method, path, body, admin); a.status != 404 || a.get("reason") != reason {
				t.Errorf("%s: %d %s", do, a.status, a.body)
			}
		}
	})
}
