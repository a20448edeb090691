package console_test

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
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

// rings records events of the topic.
func (s *site) rings(t *testing.T, topic string, n int) {
	t.Helper()
	for i := range n {
		if err := s.box.Emit(t.Context(), rung{topic, fmt.Sprintf("bell_%d", i)}); err != nil {
			t.Fatal(err)
		}
	}
}

// dies gives the deliveries of a topic up.
func (s *site) dies(t *testing.T, topic, why string) {
	t.Helper()
	err := s.db.InTx(t.Context(), func(ctx context.Context) error {
		_, err := s.db.Conn(ctx).NewUpdate().Table("latchkey_outbox_delivery").Set("dead_at = ?", database.Now()).Set("last_error = ?", why).
			Set("attempts = 3").Where("topic = ?", topic).Exec(ctx)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// waiting is what is left to be delivered, and dead, of each topic.
func (s *site) waiting(t *testing.T) string {
	t.Helper()
	list, _, err := s.box.List(t.Context(), outbox.Filter{}, 0, 0)
	if err != nil {
		t.Fatal(err)
	}
	var lines []string
	for _, w := range list {
		lines = append(lines, fmt.Sprintf("%s %s", w.Topic, w.State))
	}
	slices.Sort(lines)
	return strings.Join(lines, ", ")
}

// insider signs somebody in.
func (s *site) insider(t *testing.T, email string) *browser {
	t.Helper()
	b := s.browser(t)
	b.get("/app/login")
	b.submit("/app/login", fields("email", email, "password", password))
	b.want(http.StatusOK, "/app")
	return b
}

// root makes an administrator, and signs them in.
func (s *site) root(t *testing.T) *browser {
	t.Helper()
	s.person(t, "root@example.com", "admin")
	return s.insider(t, "root@example.com")
}

// offer is the form that goes to action and has the value in a field.
func (b *browser) offer(action, field, value string) url.Values {
	b.t.Helper()
	for _, f := range b.page.forms {
		if f.action == action && f.values.Get(field) == value {
			return f.values
		}
	}
	b.t.Fatalf("no form goes to %s with %s %q in:\n%s", action, field, value, b.page.body)
	return nil
}

// send sends a form as it is, whether a page offers it or not.
func (b *browser) send(action string, values url.Values) page {
	b.t.Helper()
	b.header.Set("Origin", b.site.server.URL)
	defer b.header.Del("Origin")
	return b.do(http.MethodPost, action, form, strings.NewReader(values.Encode()))
}

func TestTheEventsPageSaysWhatToDoWhenThereIsNothing(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b := s.root(t)
		b.get("/app/events")
		b.want(http.StatusOK, "/app/events", "Everything is delivered", `aria-current="page"`)
		b.wantNot("Discard")
		b.get("/app/events?dead=true")
		b.want(http.StatusOK, "/app/events", "There are no such dead letters", "Show all deliveries")
		b.get("/app/events?consumer=nobody&topic=x")
		b.want(http.StatusOK, "/app/events", "Nothing matches these filters", `<option value="nobody" selected>`)
		b.get("/app/events/consumers")
		b.want(http.StatusOK, "/app/events/consumers", "Nobody is told of events")
		b.get("/app/events/discard?dead=true")
		b.want(http.StatusOK, "/app/events/discard", "nothing to discard")
	})
}

func TestDeadLettersAreTriedAgainOrDiscarded(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b := s.root(t)
		s.rings(t, "bell.rung", 2)
		s.rings(t, "bell.cracked", 2)
		s.dies(t, "bell.cracked", `no <b>sound</b> of "it" & the rest`)
		b.get("/app/events")
		b.want(http.StatusOK, "/app/events", "Tried 3 times", "no &lt;b&gt;sound&lt;/b&gt; of &#34;it&#34; &amp; the rest", "1 to 4 of 4", "Try all 4 now", "bell_1")
		b.wantNot("<b>sound")

		b.get("/app/events?dead=true")
		b.want(http.StatusOK, "/app/events", "Try all 2 now", "given up")
		b.wantNot("bell.rung")
		list, _, err := s.box.List(t.Context(), outbox.Filter{Topic: "bell.cracked"}, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		one := b.offer("/app/events/retry", "id", list[0].ID)
		b.send("/app/events/retry", one)
		b.want(http.StatusOK, "/app/events", "The delivery is tried now.", `<option value="true" selected>`) // the same list
		if got := s.waiting(t); got != "bell.cracked dead, bell.cracked waiting, bell.rung waiting, bell.rung waiting" {
			t.Errorf("after one was tried again: %s", got)
		}

		b.get("/app/events?dead=true")
		b.send("/app/events/retry", b.offer("/app/events/retry", "dead", "true"))
		b.want(http.StatusOK, "/app/events", "The delivery is tried now.")
		if got := s.waiting(t); strings.Contains(got, "dead") {
			t.Errorf("after all were tried again: %s", got)
		}

		b.get("/app/events/discard?topic=bell.rung&back=" + url.QueryEscape("topic=bell.rung"))
		b.want(http.StatusOK, "/app/events/discard", "2 deliveries would be dropped", "cannot be brought back", "/app/events?topic=bell.rung")
		gone := b.form("/app/events/discard").values
		b.submit("/app/events/discard", nil)
		b.want(http.StatusOK, "/app/events", "2 deliveries were discarded.", `value="bell.rung"`)
		if got := s.waiting(t); got != "bell.cracked waiting, bell.cracked waiting" {
			t.Errorf("after some were discarded: %s", got)
		}
		b.send("/app/events/discard", gone)
		b.want(http.StatusOK, "/app/events", "There was nothing to discard any more.")

		b.get("/app/events/discard")
		b.want(http.StatusOK, "/app/events/discard", "All 2 deliveries")
		b.submit("/app/events/discard", nil)
		b.want(http.StatusOK, "/app/events", "2 deliveries were discarded.", "Everything is delivered")
	})
}

// A form that has lost what it was about must not be about everything.
func TestAFormThatNamesNoEventsDoesNothing(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b := s.root(t)
		s.rings(t, "bell.rung", 1)
		for _, values := range []url.Values{{}, {"topic": {" "}}, {"back": {"topic=bell.rung"}}, {"all": {"yes"}}} {
			for _, do := range []string{"retry", "discard"} {
				b.send("/app/events/"+do, values)
				b.want(http.StatusBadRequest, "/app/events/"+do, "say which deliveries are meant")
			}
		}
		if got := s.waiting(t); got != "bell.rung waiting" {
			t.Errorf("left: %s", got)
		}
		for _, back := range []string{"//example.com", "https://example.com", "?next=https://example.com", "topic=%zz", "a;b"} {
			b.send("/app/events/retry", url.Values{"topic": {"bell.rung"}, "back": {back}})
			b.want(http.StatusOK, "/app/events", "tried now")
		}
	})
}

func TestEventsAreReadPageByPage(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b := s.root(t)
		s.rings(t, "bell.rung", 30)
		b.get("/app/events?topic=bell.rung")
		b.want(http.StatusOK, "/app/events", "1 to 25 of 30", "/app/events?offset=25&amp;topic=bell.rung")
		b.wantNot("Previous page")
		b.get("/app/events?offset=25&topic=bell.rung")
		b.want(http.StatusOK, "/app/events", "26 to 30 of 30", "Previous page", `href="/app/events?topic=bell.rung"`)
		b.wantNot("Next page")
		b.get("/app/events?offset=500")
		b.want(http.StatusOK, "/app/events", "nothing on this page any more")
		for _, offset := range []string{"-1", "x", "99999999999999999999"} {
			b.get("/app/events?offset=" + offset)
			b.want(http.StatusOK, "/app/events")
		}
		b.do(http.MethodHead, "/app/events", "", nil)
		b.want(http.StatusOK, "/app/events")
		b.get("/app/events/consumers")
		b.want(http.StatusOK, "/app/events/consumers", "bell", "Every event", `<a href="/app/events?consumer=bell">30</a>`)
	})
}

func TestWhoMayOnlyLookAtTheSystemChangesNothing(t *testing.T) {
	eachWith(t, options{api: httpapi.Options{Roles: httpapi.Roles{"watcher": {"event:read", "webhook:read"}, "support": {"user:read"}}}}, func(t *testing.T, s *site) {
		s.rings(t, "bell.rung", 1)
		hook := s.hook(t)
		as := []string{string(s.person(t, "watcher@example.com", "watcher").ID)}
		b := s.insider(t, "watcher@example.com")
		b.get("/app/events")
		b.want(http.StatusOK, "/app/events", "bell.rung", `href="/app/webhooks"`)
		b.wantNot("Try", "Discard", `href="/app/health"`, `href="/app/users"`)
		for _, do := range []string{"retry", "discard"} {
			b.send("/app/events/"+do, url.Values{"topic": {"bell.rung"}})
			b.want(http.StatusForbidden, "/app/events/"+do, "it takes the permission")
		}
		b.get("/app/events/discard?topic=bell.rung")
		b.want(http.StatusForbidden, "/app/events/discard", "do not let you change it")

		b.get("/app/webhooks")
		b.want(http.StatusOK, "/app/webhooks", hook)
		b.wantNot("/app/webhooks/new")
		b.get("/app/webhooks/" + hook)
		b.want(http.StatusOK, "/app/webhooks/"+hook)
		b.wantNot("/test", "/edit", "/rotate", "/disable", "/delete")
		for _, page := range []string{"new", hook + "/edit", hook + "/disable", hook + "/rotate", hook + "/delete"} {
			b.get("/app/webhooks/" + page)
			b.want(http.StatusForbidden, "/app/webhooks/"+page, "do not let you change it")
		}
		for page, values := range map[string]url.Values{
			"new": {"as": as, "id": {"whep_01ARZ3NDEKTSV4RRFFQ69G5FAV"}, "url": {"https://example.com/"}}, hook + "/edit": {"as": as, "url": {"https://example.com/"}}, hook + "/disable": {}, hook + "/enable": {},
			hook + "/rotate": {"overlap": {"now"}, "version": {"2026-01-31T12:00:00Z"}}, hook + "/delete": {}, hook + "/test": {},
		} {
			b.send("/app/webhooks/"+page, values)
			b.want(http.StatusForbidden, "/app/webhooks/"+page, "it takes the permission <code>webhook:manage</code>")
		}
		b.get("/app/health")
		b.want(http.StatusForbidden, "/app/health", "health:read")
		if got := s.waiting(t); got != "bell.rung waiting" {
			t.Errorf("left: %s", got)
		}

		s.person(t, "support@example.com", "support")
		other := s.insider(t, "support@example.com")
		for _, page := range []string{"/app/events", "/app/events/consumers", "/app/webhooks", "/app/webhooks/" + hook, "/app/health"} {
			other.get(page)
			other.want(http.StatusForbidden, page, "it takes the permission")
			other.wantNot(`href="/app/events"`, `href="/app/webhooks"`, `href="/app/health"`)
		}
		for _, page := range []string{"/app/events", "/app/events/discard", "/app/webhooks", "/app/webhooks/new", "/app/health"} {
			stranger := s.browser(t)
			stranger.get(page)
			stranger.want(http.StatusOK, "/app/login")
		}
	})
}
