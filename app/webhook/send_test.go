package webhook_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/latchkey-go/latchkey/app/webhook"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
	"github.com/latchkey-go/latchkey/modules/user"
)

func TestAnEventIsSentSigned(t *testing.T) {
	each(t, open, func(t *testing.T, p *program) {
		r := newReceiver(t, nil)
		e, secret := p.create(t, r.URL+"/hooks?token=hunter2", "user.created")
		p.tell(t, "user_1")
		if err := p.outbox.Emit(t.Context(), user.Deleted{ID: "user_1"}); err != nil { // which is not wanted
			t.Fatal(err)
		}
		p.run(t)
		p.settled(t)
		got := r.requests()
		if len(got) != 1 {
			t.Fatalf("%d requests, want 1", len(got))
		}
		if err := verify(t, got[0], secret); err != nil {
			t.Error(err)
		}
		_, other := p.create(t, r.URL)
		if err := verify(t, got[0], other); err == nil {
			t.Error("another secret fits as well")
		}
		var body struct {
			ID, Type, Aggregate string
			Timestamp           time.Time
			Data                map[string]any
		}
		decoder := json.NewDecoder(strings.NewReader(got[0].body))
		decoder.DisallowUnknownFields()
		if err := decoder.Decode(&body); err != nil {
			t.Fatal(err)
		}
		if body.ID != got[0].id() || !id.Valid("evt", body.ID) || body.Type != "user.created" || body.Aggregate != "user_1" || len(body.Data) != 1 || body.Data["id"] != "user_1" ||
			time.Since(body.Timestamp) > time.Minute {
			t.Errorf("body %s", got[0].body)
		}
		for name, want := range map[string]string{"Content-Type": "application/json", "User-Agent": "Latchkey", "Cookie": "", "Authorization": "", "Accept-Encoding": ""} {
			if has := got[0].header.Get(name); has != want {
				t.Errorf("%s: %q, want %q", name, has, want)
			}
		}
		log := p.deliveries(t, e)
		if len(log) != 1 || log[0].Attempt != 1 || log[0].Status != 200 || log[0].Failed() || log[0].EventID != body.ID || log[0].Topic != "user.created" || time.Since(log[0].At) > time.Minute {
			t.Errorf("log %+v", log)
		}
		if strings.Contains(p.log.String(), "hunter2") {
			t.Error("the log has the address, which may hold a token")
		}
	})
}

func TestARetryIsTheSameButForItsTime(t *testing.T) {
	each(t, open, func(t *testing.T, p *program) {
		r := newReceiver(t, func(n int, w http.ResponseWriter, _ *http.Request) {
			if n == 1 {
				w.WriteHeader(500)
				fmt.Fprint(w, "our database said: s3cret")
			}
		})
		e, secret := p.create(t, r.URL)
		p.tell(t, "user_1")
		p.run(t)
		p.settled(t)
		got := r.requests()
		if len(got) != 2 {
			t.Fatalf("%d requests, want 2", len(got))
		}
		for i, q := range got {
			if err := verify(t, q, secret); err != nil {
				t.Errorf("attempt %d: %v", i+1, err)
			}
		}
		if got[0].body != got[1].body || got[0].id() != got[1].id() {
			t.Errorf("the second is another:\n%s %s\n%s %s", got[0].id(), got[0].body, got[1].id(), got[1].body)
		}
		if got[0].timestamp() >= got[1].timestamp() { // a second later
			t.Errorf("timestamps %s and %s", got[0].timestamp(), got[1].timestamp())
		}
		log := p.deliveries(t, e)
		if len(log) != 2 || log[0].Status != 500 || log[0].Error != "it answered 500" || log[1].Attempt != 2 || log[1].Failed() {
			t.Errorf("log %+v", log)
		}
		failed, err := p.ListDeliveries(t.Context(), webhook.DeliveryFilter{Endpoint: e.ID, Failed: true}, webhook.DeliveryPage{})
		if err != nil || len(failed) != 1 || failed[0].ID != log[0].ID {
			t.Errorf("failed: %+v, %v", failed, err)
		}
		if strings.Contains(p.log.String(), "s3cret") {
			t.Error("the log has the answer")
		}
	})
}

// A later event of an aggregate waits for the earlier one; those of others do not.
func TestEventsOfOneAggregateKeepTheirOrder(t *testing.T) {
	each(t, open, func(t *testing.T, p *program) {
		r := newReceiver(t, func(n int, w http.ResponseWriter, _ *http.Request) {
			if n%5 == 1 {
				w.WriteHeader(503)
			}
		})
		p.create(t, r.URL)
		for range 3 {
			for _, e := range []string{"a", "b", "c"} {
				if err := p.outbox.Emit(t.Context(), user.Updated{ID: user.ID(e)}); err != nil {
					t.Fatal(err)
				}
			}
		}
		p.run(t)
		p.settled(t)
		seen, last := map[string]bool{}, map[string]string{}
		for _, q := range r.requests() {
			if !seen[q.id()] {
				at := sequence(t, p, q.id())
				if at < last[q.aggregate()] {
					t.Errorf("of %s, a later event came first", q.aggregate())
				}
				last[q.aggregate()] = at
			}
			seen[q.id()] = true
		}
		if len(seen) != 9 {
			t.Errorf("%d events came, want 9", len(seen))
		}
	})
}

// sequence is where an event stands, as a text that sorts.
func sequence(t *testing.T, p *program, event string) string {
	t.Helper()
	var n int
	if err := p.db.Conn(t.Context()).NewRaw("SELECT seq FROM latchkey_outbox_event WHERE id = ?", event).Scan(t.Context(), &n); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("%08d", n)
}

func TestAWebhookThatIsGoneIsDisabled(t *testing.T) {
	each(t, open, func(t *testing.T, p *program) {
		r := newReceiver(t, status(410))
		e, _ := p.create(t, r.URL)
		p.tell(t, "user_1", "user_2")
		stop := p.run(t)
		p.settled(t)
		until(t, "it is disabled", func() bool {
			e, err := p.RetrieveEndpoint(t.Context(), e.ID)
			return err == nil && !e.Enabled() && e.DisabledReason == webhook.DisabledGone
		})
		before := len(r.requests())
		p.tell(t, "user_3")
		p.settled(t)
		if after := len(r.requests()); after != before || before > 2 {
			t.Errorf("%d requests before, %d after", before, after)
		}
		if actions := p.actions(t); !slices.Equal(actions, []string{"webhook.created", "webhook.updated"}) {
			t.Errorf("the trail has %q", actions)
		}
		if log := p.deliveries(t, e); log[0].Status != 410 || !strings.Contains(log[0].Error, "gone") {
			t.Errorf("log %+v", log)
		}
		// It comes back for what happens from then on, but for what somebody is at already.
		stop()
		p.run(t)
		r.mu.Lock()
		r.answer, r.got = nil, nil
		r.mu.Unlock()
		yes := true
		if e, err := p.UpdateEndpoint(t.Context(), webhook.EndpointUpdate{ID: e.ID, Enabled: &yes}); err != nil || !e.Enabled() || e.DisabledReason != "" {
			t.Fatal(e, err)
		}
		p.tell(t, "user_4")
		p.settled(t)
		if got := r.requests(); len(got) != 1 || got[0].aggregate() != "user_4" {
			t.Errorf("%d requests after it was enabled: %v", len(got), got)
		}
	})
}

func TestARedirectIsNotFollowed(t *testing.T) {
	each(t, open, func(t *testing.T, p *program) {
		elsewhere := newReceiver(t, nil)
		r := newReceiver(t, func(n int, w http.ResponseWriter, req *http.Request) {
			if n == 1 {
				http.Redirect(w, req, elsewhere.URL, http.StatusTemporaryRedirect)
			}
		})
		e, _ := p.create(t, r.URL)
		p.tell(t, "user_1")
		p.run(t)
		p.settled(t)
		if len(elsewhere.requests()) != 0 {
			t.Error("it was followed")
		}
		if log := p.deliveries(t, e); len(log) != 2 || log[0].Status != 307 || !strings.Contains(log[0].Error, "redirect") {
			t.Errorf("log %+v", log)
		}
	})
}

// A receiver that takes all its time, or all there is to read, is nobody else's trouble.
func TestAReceiverThatHangsHoldsUpNobody(t *testing.T) {
	each(t, open, func(t *testing.T, p *program) {
		release := make(chan struct{})
		hanging := newReceiver(t, func(_ int, _ http.ResponseWriter, req *http.Request) {
			select {
			case <-release:
			case <-req.Context().Done():
			}
		})
		good := newReceiver(t, nil)
		p.create(t, hanging.URL)
		p.create(t, good.URL)
		var ids []string
		for i := range 40 {
			ids = append(ids, fmt.Sprintf("user_%d", i))
		}
		p.tell(t, ids...)
		p.run(t)
		began := time.Now()
		until(t, "the other one has all", func() bool { return len(good.requests()) == 40 })
		if took := time.Since(began); took > 8*time.Second { // an attempt at the one that hangs takes 9
			t.Errorf("it took %v", took)
		}
		if n := len(hanging.requests()); n > 4 {
			t.Errorf("%d are at the one that hangs, want 4 at most", n)
		}
		close(release)
		p.settled(t)
	})
}

// A receiver that is down fails with whatever waits for it. The log of deliveries has it all; that of the server says it once a minute.
func TestAReceiverThatIsDownDoesNotFillTheLog(t *testing.T) {
	each(t, open, func(t *testing.T, p *program) {
		r := newReceiver(t, status(503))
		e, _ := p.create(t, r.URL)
		var ids []string
		for i := range 20 {
			ids = append(ids, fmt.Sprintf("user_%d", i))
		}
		p.tell(t, ids...)
		stop := p.run(t)
		until(t, "all were tried", func() bool { return len(r.requests()) >= 20 })
		stop()
		if n := strings.Count(p.log.String(), `"level":"WARN"`); n != 1 || !strings.Contains(p.log.String(), string(e.ID)) {
			t.Errorf("it is warned of %d times", n)
		}
	})
}

// Whether it was taken is known when the head of the answer is there: no receiver keeps a worker by what comes after it.
func TestAnAnswerThatDoesNotEndKeepsNobody(t *testing.T) {
	each(t, open, func(t *testing.T, p *program) {
		r := newReceiver(t, func(n int, w http.ResponseWriter, req *http.Request) {
			if n == 2 {
				if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
					defer conn.Close()
					fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: x\r\n\r\n")
					_, _ = conn.Read(make([]byte, 1))
				}
				return
			}
			w.WriteHeader(200)
			_ = http.NewResponseController(w).Flush()
			<-req.Context().Done()
		})
		e, _ := p.create(t, r.URL)
		for _, want := range []int{200, 101} {
			began := time.Now()
			d, err := p.SendTest(t.Context(), e.ID)
			if took := time.Since(began); err != nil || d.Status != want || d.Failed() != (want != 200) || took > 3*time.Second {
				t.Errorf("%d: %+v, %v, after %v", want, d, err, took)
			}
		}
	})
}

// That the address of before is gone says nothing about the one of now.
func TestAWebhookThatMovedIsNotDisabledByWhatTheOldAddressSays(t *testing.T) {
	each(t, open, func(t *testing.T, p *program) {
		moved := newReceiver(t, nil)
		var e webhook.Endpoint
		old := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
			if _, err := p.UpdateEndpoint(t.Context(), webhook.EndpointUpdate{ID: e.ID, URL: &moved.URL}); err != nil {
				t.Error(err)
			}
			w.WriteHeader(http.StatusGone)
		})
		e, _ = p.create(t, old.URL)
		p.tell(t, "user_1")
		p.run(t)
		p.settled(t)
		if e, err := p.RetrieveEndpoint(t.Context(), e.ID); err != nil || !e.Enabled() {
			t.Errorf("it is %+v, %v", e, err)
		}
		if got := moved.requests(); len(got) != 1 || got[0].aggregate() != "user_1" {
			t.Errorf("the new address got %d requests", len(got))
		}
	})
}

func TestNoMoreOfAnAnswerIsReadThanIsNeeded(t *testing.T) {
	each(t, open, func(t *testing.T, p *program) {
		var written atomic.Int64
		r := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
			for chunk := bytes.Repeat([]byte("x"), 1<<20); ; {
				n, err := w.Write(chunk)
				if written.Add(int64(n)); err != nil || written.Load() > 1<<30 {
					return
				}
			}
		})
		e, _ := p.create(t, r.URL)
		p.tell(t, "user_1")
		p.run(t)
		p.settled(t)
		if log := p.deliveries(t, e); len(log) != 1 || log[0].Failed() || log[0].Duration > 5*time.Second {
			t.Errorf("log %+v", log)
		}
		r.CloseClientConnections()
		r.Close()
		if n := written.Load(); n > 64<<20 { // what buffers of the system hold
			t.Errorf("%d bytes were taken", n)
		}
	})
}

// A receiver that is down now and then loses nothing, has everything once by the webhook-id, and that of each aggregate in its
// order. LATCHKEY_TEST_OPERATIONS are how many events there are, of a quarter as many aggregates; docs/reliability.md has the figures.
func TestAReceiverThatIsDownLosesNothing(t *testing.T) {
	events := 40
	if n, err := strconv.Atoi(os.Getenv("LATCHKEY_TEST_OPERATIONS")); err == nil {
		events = n
	}
	each(t, open, func(t *testing.T, p *program) {
		var down atomic.Bool
		var mu sync.Mutex
		var taken []string // ids, each once, in the order in which they came
		down.Store(true)
		r := newReceiver(t, func(n int, w http.ResponseWriter, req *http.Request) {
			switch id := req.Header.Get("webhook-id"); {
			case down.Load() && n%2 == 0:
				w.WriteHeader(502)
				return
			case !down.Load():
				mu.Lock()
				if !slices.Contains(taken, id) {
					taken = append(taken, id)
				}
				mu.Unlock()
				if n%11 != 0 {
					return
				} // otherwise it was taken, and the answer is lost
			}
			if conn, _, err := http.NewResponseController(w).Hijack(); err == nil {
				conn.Close()
			}
		})
		e, secret := p.create(t, r.URL)
		began := time.Now()
		second := newProgram(t, p.db, keysOf(t, "k"), open) // another node
		stop := p.run(t)
		t.Cleanup(func() { stop() })
		second.run(t)
		for i := range events {
			at := p
			if i%2 == 1 {
				at = second
			}
			if err := at.outbox.Emit(t.Context(), user.Updated{ID: user.ID(fmt.Sprintf("user_%d", i%(events/4)))}); err != nil {
				t.Fatal(err)
			}
			if i%500 == 499 { // in a long run: a node that stops and starts, a receiver that comes and goes
				stop()
				down.Store(i%1000 == 499)
				stop = p.run(t)
			}
		}
		until(t, "some were tried", func() bool { return len(r.requests()) >= 8 })
		stop() // and the work goes on at the other
		down.Store(false)
		for deadline := began.Add(10 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
			if n, err := second.outbox.Pending(t.Context()); err != nil || n == 0 || time.Now().After(deadline) {
				break
			}
		}
		took := time.Since(began)

		var rows []struct{ ID, AggregateID string }
		if err := p.db.Conn(t.Context()).NewRaw("SELECT id, aggregate_id FROM latchkey_outbox_event ORDER BY seq").Scan(t.Context(), &rows); err != nil {
			t.Fatal(err)
		}
		recorded, came := map[string][]string{}, map[string][]string{}
		about := map[string]string{}
		for _, row := range rows {
			about[row.ID] = row.AggregateID
			recorded[row.AggregateID] = append(recorded[row.AggregateID], row.ID)
		}
		for _, id := range taken {
			came[about[id]] = append(came[about[id]], id)
		}
		if len(rows) != events || len(taken) != events {
			t.Errorf("%d events were recorded and %d came, want %d", len(rows), len(taken), events)
		}
		for aggregate, ids := range recorded {
			if !slices.Equal(came[aggregate], ids) {
				t.Errorf("of %s came %q, recorded were %q", aggregate, came[aggregate], ids)
			}
		}
		requests := r.requests()
		for _, q := range requests {
			if err := verify(t, q, secret); err != nil && !errors.Is(err, standardwebhooks.ErrMessageTooOld) {
				t.Fatal(err)
			}
		}
		if n := count(t, p.db, "latchkey_webhook_delivery WHERE endpoint_id = '"+string(e.ID)+"'"); n != len(requests) {
			t.Errorf("the log has %d attempts of %d", n, len(requests))
		}
		t.Logf("%s: %d events of %d aggregates in %d requests, in %v", p.db.Dialect(), events, len(recorded), len(requests), took.Round(time.Millisecond))
	})
}

func TestATestIsSentAtOnceAndItsAnswerShown(t *testing.T) {
	each(t, open, func(t *testing.T, p *program) {
		code := 200
		r := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
		e, secret := p.create(t, r.URL, "user.deleted")
		no := false
		if _, err := p.UpdateEndpoint(t.Context(), webhook.EndpointUpdate{ID: e.ID, Enabled: &no}); err != nil {
			t.Fatal(err)
		}
		for _, code = range []int{200, 404, 410} {
			d, err := p.SendTest(t.Context(), e.ID)
			if err != nil || d.Status != code || d.Failed() != (code != 200) || d.Topic != "webhook.test" || d.Attempt != 1 {
				t.Errorf("%d: %+v, %v", code, d, err)
			}
		}
		got := r.requests()
		for _, q := range got {
			if err := verify(t, q, secret); err != nil || q.aggregate() != string(e.ID) {
				t.Errorf("%v: %s", err, q.body)
			}
		}
		if log := p.deliveries(t, e); len(log) != 3 || len(got) != 3 {
			t.Errorf("%d requests, log %+v", len(got), log)
		}
		r.Close()
		gone := []string{"the connection was refused", "the connection was closed before an answer came"} // by the one that was kept
		if d, err := p.SendTest(t.Context(), e.ID); err != nil || d.Status != 0 || !slices.Contains(gone, d.Error) {
			t.Errorf("nobody there: %+v, %v", d, err)
		}
		if _, err := p.SendTest(t.Context(), webhook.EndpointID(id.New("whep"))); !errors.Is(err, webhook.ErrNotFound) {
			t.Errorf("of none: %v", err)
		}
	})
}

// The rules count when it is sent, too: they may be stricter by now, and a name may lead elsewhere.
func TestNothingIsSentToPrivateAddresses(t *testing.T) {
	each(t, open, func(t *testing.T, p *program) {
		r := newReceiver(t, nil)
		secure := httptest.NewTLSServer(r)
		defer secure.Close()
		port := secure.URL[strings.LastIndex(secure.URL, ":"):]
		strict := newProgram(t, p.db, keysOf(t, "k"), webhook.Options{})
		for _, c := range []struct{ url, now, then string }{ // what registering it says, and what comes of sending to it
			{r.URL, "must begin with https://", "the address must begin with https://"},
			{secure.URL, "must lead to a public address", "the address must lead to a public address"},
			{"https://[::ffff:127.0.0.1]" + port, "must lead to a public address", "the address must lead to a public address"},
			{"https://169.254.169.254/latest/meta-data", "must lead to a public address", "the address must lead to a public address"},
			{"https://localhost" + port, "", "the address is not a public one"},
			{"https://2130706433" + port, "", ""}, // one resolver takes it for 127.0.0.1, another for a name that there is none of
			{"https://0x7f.1" + port, "", ""},
		} {
			_, _, err := strict.CreateEndpoint(t.Context(), webhook.EndpointDraft{URL: c.url})
			if c.now != "" && (!errors.Is(err, webhook.ErrURL) || !strings.Contains(err.Error(), c.now)) || c.now == "" && err != nil {
				t.Errorf("register %s: %v, want %q", c.url, err, c.now)
			}
			e, _ := p.create(t, c.url)
			d, err := strict.SendTest(t.Context(), e.ID)
			if err != nil || d.Status != 0 || !d.Failed() || c.then != "" && d.Error != c.then {
				t.Errorf("%s: %+v, %v, want %q", c.url, d, err, c.then)
			}
		}
		if n := len(r.requests()); n != 0 {
			t.Errorf("%d requests came", n)
		}
	})
}

func TestAnEventThatWasGivenUpCanBeSentAgain(t *testing.T) {
	each(t, open, func(t *testing.T, p *program) {
		var up atomic.Bool
		r := newReceiver(t, func(_ int, w http.ResponseWriter, _ *http.Request) {
			if !up.Load() {
				w.WriteHeader(500)
			}
		})
		e, _ := p.create(t, r.URL)
		p.tell(t, "user_1")
		p.run(t)
		until(t, "it was tried three times", func() bool { return len(r.requests()) == 3 }) // the next is four seconds away
		up.Store(true)
		event := r.requests()[0].id()
		began := time.Now()
		until(t, "it can be sent again", func() bool { return p.Resend(t.Context(), event, e.ID) == nil }) // when the attempt is over
		p.settled(t)
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it took %v", took)
		}
		if err := p.Resend(t.Context(), event, e.ID); !errors.Is(err, webhook.ErrNotWaiting) {
			t.Errorf("when it was delivered: %v", err)
		}
		if err := p.Resend(t.Context(), event, webhook.EndpointID(id.New("whep"))); !errors.Is(err, webhook.ErrNotFound) {
			t.Errorf("of no webhook: %v", err)
		}
	})
}

func TestTheLogIsPurged(t *testing.T) {
	o := open
	o.Retention = 24 * time.Hour
	each(t, o, func(t *testing.T, p *program) {
		r := newReceiver(t, nil)
		kept, _ := p.create(t, r.URL)
		gone, _ := p.create(t, r.URL)
		for range 5 {
			for _, e := range []webhook.Endpoint{kept, gone} {
				if _, err := p.SendTest(t.Context(), e.ID); err != nil {
					t.Fatal(err)
				}
			}
		}
		old := p.deliveries(t, kept)[1]
		execute(t, p.db, "UPDATE latchkey_webhook_delivery SET sent_at = ? WHERE id = ?", database.Now().Add(-25*time.Hour), old.ID)
		if err := p.DeleteEndpoint(t.Context(), gone.ID); err != nil {
			t.Fatal(err)
		}
		var removed []int
		for range 5 {
			n, err := p.PurgeDeliveries(t.Context(), 3)
			if err != nil {
				t.Fatal(err)
			}
			removed = append(removed, n)
		}
		if !slices.Equal(removed, []int{1, 3, 2, 0, 0}) {
			t.Errorf("removed %v", removed)
		}
		if log := p.deliveries(t, kept); len(log) != 4 || slices.ContainsFunc(log, func(d webhook.Delivery) bool { return d.ID == old.ID }) {
			t.Errorf("left: %+v", log)
		}
		if _, err := p.ListDeliveries(t.Context(), webhook.DeliveryFilter{Endpoint: gone.ID}, webhook.DeliveryPage{}); !errors.Is(err, webhook.ErrNotFound) {
			t.Errorf("the log of a deleted one: %v", err)
		}
		first, err := p.ListDeliveries(t.Context(), webhook.DeliveryFilter{Endpoint: kept.ID}, webhook.DeliveryPage{Limit: 3})
		if err != nil || len(first) != 3 {
			t.Fatal(first, err)
		}
		rest, err := p.ListDeliveries(t.Context(), webhook.DeliveryFilter{Endpoint: kept.ID}, webhook.DeliveryPage{Limit: 3, After: first[2].ID})
		if err != nil || len(rest) != 1 || rest[0].ID >= first[2].ID {
			t.Errorf("the next page: %+v, %v", rest, err)
		}
		if _, err := p.ListDeliveries(t.Context(), webhook.DeliveryFilter{}, webhook.DeliveryPage{After: "x"}); !errors.Is(err, webhook.ErrCursor) {
			t.Errorf("no place: %v", err)
		}
	})
}
