package webhook_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/app/webhook"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/kernel/secrettest"
	"github.com/latchkey-go/latchkey/modules/user"
)

func TestMain(m *testing.M) { databasetest.Main(m) }

var open = webhook.Options{PrivateAddresses: true}

// program is a service over a database, as app puts it together, with its log.
type program struct {
	*webhook.Service
	db     *database.DB
	outbox *outbox.Outbox
	trail  *audit.Trail
	log    *secrettest.Log
	at     databasetest.Database

	shown []string // secrets that must be nowhere
}

// each runs f on a program over every database, and looks then whether a secret is where it must not be.
func each(t *testing.T, o webhook.Options, f func(t *testing.T, p *program)) {
	t.Helper()
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, outbox.Migrations(), audit.Migrations(), webhook.Migrations())
		keys, err := keyring.New(bytes.Repeat([]byte("k"), 32))
		if err != nil {
			t.Fatal(err)
		}
		p := newProgram(t, db, keys, o)
		f(t, p)
		p.lookForSecrets(t)
	})
}

func newProgram(t *testing.T, db *database.DB, keys *keyring.Ring, o webhook.Options) *program {
	t.Helper()
	p := &program{db: db, log: new(secrettest.Log)}
	log := slog.New(slog.NewJSONHandler(p.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	if p.outbox, err = outbox.New(outbox.Params{DB: db, Log: log}); err != nil {
		t.Fatal(err)
	}
	if p.trail, err = audit.New(audit.Params{DB: db, Keys: keys, Log: log}); err != nil {
		t.Fatal(err)
	}
	if p.Service, err = webhook.New(webhook.Params{DB: db, Keys: keys, Outbox: p.outbox, Audit: p.trail, Options: o, Log: log}); err != nil {
		t.Fatal(err)
	}
	if err := p.outbox.Register(p.Consumer()); err != nil {
		t.Fatal(err)
	}
	return p
}

// lookForSecrets looks in the log and in all tables for what was shown.
func (p *program) lookForSecrets(t *testing.T) {
	t.Helper()
	all := p.log.String()
	for _, table := range []string{"webhook_endpoint", "webhook_secret", "webhook_delivery", "outbox_event", "outbox_delivery", "audit_event"} {
		var rows []map[string]any
		if err := p.db.Conn(t.Context()).NewSelect().TableExpr("latchkey_"+table).Scan(t.Context(), &rows); err != nil {
			t.Fatal(err)
		}
		for _, r := range rows {
			for _, v := range r {
				if b, ok := v.([]byte); ok {
					v = string(b)
				}
				all += fmt.Sprintln(v)
			}
		}
	}
	for _, secret := range p.shown {
		if bare := strings.TrimPrefix(secret, "whsec_"); strings.Contains(all, bare) || bare == "" {
			t.Errorf("the secret %q is in the database or the log", secret)
		}
	}
}

// create registers an endpoint, and returns what receivers verify with.
func (p *program) create(t *testing.T, url string, topics ...string) (webhook.Endpoint, string) {
	t.Helper()
	e, secret, err := p.CreateEndpoint(t.Context(), webhook.EndpointDraft{URL: url, Topics: topics})
	if err != nil {
		t.Fatal(err)
	}
	p.shown = append(p.shown, secret.Reveal())
	return e, secret.Reveal()
}

// tell records that users were made, each with an aggregate of its own.
func (p *program) tell(t *testing.T, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if err := p.outbox.Emit(t.Context(), user.Created{ID: user.ID(id)}); err != nil {
			t.Fatal(err)
		}
	}
}

// run delivers until the test or the function that it returns ends it.
func (p *program) run(t *testing.T) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.outbox.Run(ctx)
	}()
	stop = sync.OnceFunc(func() { cancel(); <-ended })
	t.Cleanup(stop)
	return stop
}

// until waits for a condition.
func until(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// settled waits until nothing is to be delivered any more.
func (p *program) settled(t *testing.T) {
	t.Helper()
	until(t, "everything is delivered", func() bool {
		n, err := p.outbox.Pending(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return n == 0
	})
}

func (p *program) deliveries(t *testing.T, e webhook.Endpoint) []webhook.Delivery {
	t.Helper()
	all, err := p.ListDeliveries(t.Context(), webhook.DeliveryFilter{Endpoint: e.ID}, webhook.DeliveryPage{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	slices.Reverse(all)
	return all
}

// actions are those of the audit trail, the oldest first.
func (p *program) actions(t *testing.T) (actions []string) {
	t.Helper()
	events, err := p.trail.List(t.Context(), audit.Filter{}, audit.Page{Limit: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range events {
		actions = append([]string{e.Action}, actions...)
	}
	return actions
}

// request is what a receiver got.
type request struct {
	header http.Header
	body   string
	at     time.Time
}

func (r request) id() string        { return r.header.Get("webhook-id") }
func (r request) timestamp() string { return r.header.Get("webhook-timestamp") }

// aggregate is what the event is about.
func (r request) aggregate() string {
	var e struct{ Aggregate string }
	_ = json.Unmarshal([]byte(r.body), &e)
	return e.Aggregate
}

// receiver is somebody's server.
type receiver struct {
	*httptest.Server
	mu     sync.Mutex
	got    []request
	answer func(n int, w http.ResponseWriter, r *http.Request) // of the n-th request, from 1; nil: 200
}

func newReceiver(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request)) *receiver {
	t.Helper()
	r := &receiver{answer: answer}
	r.Server = httptest.NewServer(r)
	t.Cleanup(r.Close)
	return r
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, _ := io.ReadAll(req.Body)
	r.mu.Lock()
	r.got = append(r.got, request{req.Header.Clone(), string(body), time.Now()})
	n := len(r.got)
	r.mu.Unlock()
	if r.answer != nil {
		r.answer(n, w, req)
	}
}

func (r *receiver) requests() []request {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.got)
}

// verify has the library of Standard Webhooks look at a request.
func verify(t *testing.T, r request, secret string) error {
	t.Helper()
	wh, err := standardwebhooks.NewWebhook(secret)
	if err != nil {
		t.Fatal(err)
	}
	return wh.Verify([]byte(r.body), r.header)
}

// status answers with it.
func status(code int) func(int, http.ResponseWriter, *http.Request) {
	return func(_ int, w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}
