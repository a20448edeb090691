package console_test

import (
	"html"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/latchkey-go/latchkey/app/webhook"
)

// hook makes a webhook at an address that refuses every connection, and returns its id.
func (s *site) hook(t *testing.T) string {
	t.Helper()
	e, secret, err := s.hooks.CreateEndpoint(t.Context(), webhook.EndpointDraft{URL: "http://127.0.0.1:1/hooks", Topics: []string{"user.created"}})
	if err != nil {
		t.Fatal(err)
	}
	s.secret(secret.Reveal())
	return string(e.ID)
}

var shownSecret = regexp.MustCompile(`whsec_[A-Za-z0-9+/]{43}=`)

// takeSecret is the secret that the page shows, which must be found nowhere else.
func (b *browser) takeSecret() string {
	b.t.Helper()
	found := shownSecret.FindAllString(html.UnescapeString(b.page.body), -1)
	if len(found) != 1 {
		b.t.Fatalf("the page shows %d secrets:\n%s", len(found), b.page.body)
	}
	return b.site.secret(found[0])
}

func (s *site) endpoint(t *testing.T, id string) webhook.Endpoint {
	t.Helper()
	e, err := s.hooks.RetrieveEndpoint(t.Context(), webhook.EndpointID(id))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func (s *site) endpoints(t *testing.T) int {
	t.Helper()
	_, n, err := s.hooks.ListEndpoints(t.Context(), webhook.Page{})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// The secret is on the page that answers the form, once: to load that page again sends the form again, and makes nothing.
func TestAWebhookIsMadeOnceAndItsSecretShownOnce(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b := s.root(t)
		b.get("/app/webhooks")
		b.want(http.StatusOK, "/app/webhooks", "There are no webhooks yet", "Add a webhook")
		b.get("/app/webhooks/new")
		b.want(http.StatusOK, "/app/webhooks/new", `id="topic-user.created"`)
		sent := b.form("/app/webhooks/new").values
		sent.Set("url", " https://example.com/hooks?a=1&b=2 ")
		sent.Set("description", `the <shop> & "co"`)
		sent.Set("hears", "some")
		sent["topic"] = []string{"user.created", "invite.accepted"}
		b.send("/app/webhooks/new", sent)
		b.want(http.StatusOK, "/app/webhooks/new", "example.com", "shown this once", `data-copy="webhook-secret"`)
		b.takeSecret()
		for _, header := range b.page.header {
			if s.isSecret(strings.Join(header, " ")) {
				t.Errorf("a header holds the secret: %s", header)
			}
		}
		id := sent.Get("id")
		e := s.endpoint(t, id)
		if e.URL != "https://example.com/hooks?a=1&b=2" || e.Description != `the <shop> & "co"` || strings.Join(e.Topics, " ") != "invite.accepted user.created" {
			t.Errorf("%+v", e)
		}

		b.send("/app/webhooks/new", sent) // as the browser does that loads the page again
		b.want(http.StatusOK, "/app/webhooks/"+id, "no second webhook was made", "One secret signs")
		b.get("/app/webhooks/" + id)
		b.want(http.StatusOK, "/app/webhooks/"+id, "the &lt;shop&gt; &amp; &#34;co&#34;", "<code>invite.accepted</code>", "Nothing was sent yet", "https://example.com/hooks?a=1&amp;b=2")
		if s.isSecret(b.page.body) {
			t.Error("the secret is shown again")
		}
		if n := s.endpoints(t); n != 1 {
			t.Errorf("%d webhooks, want 1", n)
		}
		b.get("/app/webhooks?q=SHOP")
		b.want(http.StatusOK, "/app/webhooks", "1 webhook", "2 events")
		b.get("/app/webhooks?q=none")
		b.want(http.StatusOK, "/app/webhooks", "No webhook matches")
		b.get("/app/webhooks?state=disabled")
		b.want(http.StatusOK, "/app/webhooks", "No webhook matches")
	})
}

func TestAWebhookFormKeepsWhatWasTyped(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b := s.root(t)
		as := []string{string(s.user(t, "root@example.com").ID)}
		for _, c := range []struct{ url, hears, says, marks string }{
			{"ftp://example.com/", "all", "The url must begin with https://.", `name="url" type="url" required value="ftp://example.com/" aria-describedby="problem url-hint" aria-invalid="true" autofocus`},
			{"https://example.com/", "some", "Choose at least one event", `aria-invalid="true" aria-describedby="problem"`},
			{`gopher://"><script>alert(1)</script>`, "all", "The url must", `value="gopher://&#34;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"`},
		} {
			b.get("/app/webhooks/new")
			b.submit("/app/webhooks/new", fields("url", c.url, "hears", c.hears, "description", "mine"))
			b.want(http.StatusBadRequest, "/app/webhooks/new", c.says, c.marks, `value="mine"`)
			if b.form("/app/webhooks/new").values.Get("hears") == "" {
				t.Error("nothing is chosen")
			}
		}
		b.get("/app/webhooks/new")
		b.submit("/app/webhooks/new", fields("url", `https://"><script>alert(1)</script>`, "description", "<img src=x onerror=alert(1)>")) // an address, though nobody's
		b.want(http.StatusOK, "/app/webhooks/new", "&lt;script&gt;alert(1)&lt;")
		b.takeSecret()
		b.get("/app/webhooks")
		b.want(http.StatusOK, "/app/webhooks", "&lt;img src=x onerror=alert(1)&gt;")
		b.wantNot("<script>alert", "<img src=x")
		b.send("/app/webhooks/new", url.Values{"as": as, "url": {"https://example.com/"}, "id": {"whep_x"}})
		b.want(http.StatusBadRequest, "/app/webhooks/new", "id must be whep_")
		if id := b.form("/app/webhooks/new").values.Get("id"); id == "whep_x" {
			t.Error("the form keeps an id that is none")
		}
		b.send("/app/webhooks/new", url.Values{"as": as, "url": {"https://example.com/"}})
		b.want(http.StatusBadRequest, "/app/webhooks/new")

		hook := s.hook(t)
		b.get("/app/webhooks/" + hook + "/edit")
		b.want(http.StatusOK, "/app/webhooks/"+hook+"/edit", `value="user.created" checked`)
		b.submit("/app/webhooks/"+hook+"/edit", fields("url", "http://127.0.0.1:2/x", "hears", "all"))
		b.want(http.StatusOK, "/app/webhooks/"+hook, "The webhook was saved.", "Every event", "127.0.0.1:2")
		b.get("/app/webhooks/" + hook + "/edit")
		b.submit("/app/webhooks/"+hook+"/edit", fields("url", "nowhere"))
		b.want(http.StatusBadRequest, "/app/webhooks/"+hook+"/edit", "must be a whole address", `value="nowhere"`)
		if e := s.endpoint(t, hook); e.URL != "http://127.0.0.1:2/x" || len(e.Topics) != 0 {
			t.Errorf("%+v", e)
		}
		if n := s.endpoints(t); n != 2 {
			t.Errorf("%d webhooks, want 2", n)
		}
	})
}

func TestASecretIsRotatedOnceByAForm(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b := s.root(t)
		hook := s.hook(t)
		page := "/app/webhooks/" + hook + "/rotate"
		b.get(page)
		sent := b.form(page).values
		sent.Set("overlap", "hour")
		b.send(page, sent)
		b.want(http.StatusOK, page, "shown this once", "go on signing beside it")
		first := b.takeSecret()
		b.send(page, sent) // as the browser does that loads the page again
		b.want(http.StatusConflict, page, "no other secret was made")
		if shownSecret.MatchString(html.UnescapeString(b.page.body)) {
			t.Error("a secret is shown again")
		}
		if n := s.endpoint(t, hook).Secrets; n != 2 {
			t.Errorf("%d secrets sign, want 2", n)
		}
		b.submit(page, fields("overlap", "now")) // the form that is shown again is for the webhook as it is
		b.want(http.StatusOK, page, "shown this once")
		b.wantNot("go on signing beside it")
		if second := b.takeSecret(); second == first || s.endpoint(t, hook).Secrets != 1 {
			t.Errorf("%d secrets sign", s.endpoint(t, hook).Secrets)
		}
		b.send(page, url.Values{"version": {"x"}, "overlap": {"day"}})
		b.want(http.StatusBadRequest, page)
		b.send(page, url.Values{"overlap": {"day"}})
		b.want(http.StatusBadRequest, page)
		b.send(page, url.Values{"overlap": {"year"}})
		b.want(http.StatusBadRequest, page)
		if n := s.endpoint(t, hook).Secrets; n != 1 {
			t.Errorf("%d secrets sign, want 1", n)
		}
	})
}

func TestATestIsSentOnceAndItsOutcomeShown(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b := s.root(t)
		var asked atomic.Int32
		var status atomic.Int32
		status.Store(204)
		receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			w.WriteHeader(int(status.Load()))
		}))
		defer receiver.Close()
		e, secret, err := s.hooks.CreateEndpoint(t.Context(), webhook.EndpointDraft{URL: receiver.URL})
		if err != nil {
			t.Fatal(err)
		}
		s.secret(secret.Reveal())
		page := "/app/webhooks/" + string(e.ID)
		b.get(page)
		b.submit(page+"/test", nil)
		b.want(http.StatusOK, page, "The test arrived: it was answered with 204", "webhook.test", `badge good">204`)
		b.get(page)
		b.wantNot("The test arrived")
		status.Store(500)
		b.submit(page+"/test", nil)
		b.want(http.StatusOK, page, "The test did not arrive.", "it answered 500", `badge bad">500`)
		if n := asked.Load(); n != 2 {
			t.Errorf("%d requests, want 2", n)
		}
		b.get(page + "?failed=true")
		b.want(http.StatusOK, page, "it answered 500", " checked>")
		b.wantNot(`badge good">204`)
		b.get(page + "?tested=nothing")
		b.wantNot("The test")
		for range 25 {
			if _, err := s.hooks.SendTest(t.Context(), e.ID); err != nil {
				t.Fatal(err)
			}
		}
		b.get(page + "?failed=true")
		b.want(http.StatusOK, page, "Next page", "after=whdel_")
		older := regexp.MustCompile(`href="([^"]*after=[^"]*)"`).FindStringSubmatch(b.page.body)
		b.get(html.UnescapeString(older[1]))
		b.want(http.StatusOK, page, "First page")
		b.wantNot("Next page")
		b.get(page + "?after=x")
		b.want(http.StatusBadRequest, page)
	})
}

func TestAWebhookIsDisabledEnabledAndDeleted(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b := s.root(t)
		hook := s.hook(t)
		page := "/app/webhooks/" + hook
		b.get(page + "/disable")
		b.want(http.StatusOK, page+"/disable", "What waits for it now is dropped")
		if !s.endpoint(t, hook).Enabled() {
			t.Error("to look at the page disables")
		}
		b.submit(page+"/disable", nil)
		b.want(http.StatusOK, page, "The webhook is disabled.", "somebody switched it off")
		b.submit(page+"/enable", nil)
		b.want(http.StatusOK, page, "The webhook is enabled.")
		b.wantNot("somebody switched it off")
		b.get(page + "/delete")
		b.want(http.StatusOK, page+"/delete", "This cannot be undone")
		b.submit(page+"/delete", nil)
		b.want(http.StatusOK, "/app/webhooks", "The webhook at 127.0.0.1:1 was deleted.", "There are no webhooks yet")
		b.send(page+"/delete", nil)
		b.want(http.StatusOK, "/app/webhooks", "deleted already")
		for _, gone := range []string{page, page + "/edit", page + "/rotate", "/app/webhooks/" + url.PathEscape("../users"), "/app/webhooks/" + url.PathEscape("x?y=1#z")} {
			b.get(gone)
			b.want(http.StatusNotFound, b.page.path)
		}
		for _, do := range []string{"/enable", "/disable", "/test"} {
			b.send(page+do, nil)
			b.want(http.StatusNotFound, page+do)
		}
		b.get("/app/webhooks/" + hook + "/test")
		b.want(http.StatusMethodNotAllowed, page+"/test")
		b.do(http.MethodHead, "/app/webhooks", "", nil)
		b.want(http.StatusOK, "/app/webhooks")
	})
}

// Who is signed out meanwhile changes nothing.
func TestWhoIsSignedOutChangesNothingOfTheSystem(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b := s.root(t)
		hook := s.hook(t)
		s.rings(t, "bell.rung", 1)
		page := "/app/webhooks/" + hook
		b.get(page + "/rotate")
		sent := b.form(page + "/rotate").values
		if _, err := s.link.EndSessions(t.Context(), s.user(t, "root@example.com").ID); err != nil {
			t.Fatal(err)
		}
		for action, values := range map[string]url.Values{
			page + "/rotate": sent, page + "/delete": {}, page + "/disable": {}, page + "/test": {}, page + "/edit": {"url": {"https://example.com/"}},
			"/app/webhooks/new": {"id": {"whep_01ARZ3NDEKTSV4RRFFQ69G5FAV"}, "url": {"https://example.com/"}}, "/app/events/discard": {"all": {"true"}}, "/app/events/retry": {"all": {"true"}},
		} {
			b.send(action, values)
			if values.Has("url") {
				b.want(http.StatusUnauthorized, action, "Nothing was done", `value="https://example.com/"`)
			} else {
				b.want(http.StatusOK, "/app/login")
			}
		}
		e := s.endpoint(t, hook)
		if !e.Enabled() || e.Secrets != 1 || s.endpoints(t) != 1 || s.waiting(t) != "bell.rung waiting" {
			t.Errorf("%+v, %s", e, s.waiting(t))
		}
	})
}
