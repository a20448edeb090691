package natssink_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/app/outbox/natssink"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

func TestMain(m *testing.M) { databasetest.Main(m) }

// broker is a nats-server in this process, which can be stopped and started again with what it has kept.
type broker struct {
	options server.Options
	server  *server.Server
}

// newBroker starts a server of its own for the test.
func newBroker(t *testing.T, configure ...func(*server.Options)) *broker {
	t.Helper()
	b := &broker{options: server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true}}
	for _, f := range configure {
		f(&b.options)
	}
	b.start(t)
	t.Cleanup(b.stop)
	return b
}

// start starts it, again at the same address.
func (b *broker) start(t *testing.T) {
	t.Helper()
	options := b.options // the server changes it
	s, err := server.NewServer(&options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server is not ready")
	}
	b.server, b.options.Port = s, options.Port
}

func (b *broker) stop() {
	b.server.Shutdown()
	b.server.WaitForShutdown()
}

func (b *broker) url() string { return fmt.Sprintf("nats://127.0.0.1:%d", b.options.Port) }

// client is a connection to it of somebody else.
func (b *broker) client(t *testing.T) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect(b.url())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// newSink returns a sink that is closed at the end. It tries to reconnect often.
func newSink(t *testing.T, o natssink.Options) *natssink.Sink {
	t.Helper()
	o.NATS = append([]nats.Option{nats.ReconnectWait(20 * time.Millisecond), nats.ReconnectJitter(0, 0)}, o.NATS...)
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s, err := natssink.New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// message is what a reader of the stream sees.
type message struct {
	outbox.Event
	subject, msgID, aggregate string
}

// stored reads the whole stream, as it is now.
func stored(t *testing.T, js jetstream.JetStream, name string) []message {
	t.Helper()
	stream, err := js.Stream(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	info, err := stream.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	messages := make([]message, 0, info.State.Msgs)
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq && info.State.Msgs > 0; seq++ {
		raw, err := stream.GetMsg(t.Context(), seq)
		if err != nil {
			t.Fatal(err)
		}
		messages = append(messages, parse(t, raw.Subject, raw.Header, raw.Data))
	}
	return messages
}

func parse(t *testing.T, subject string, header nats.Header, data []byte) message {
	t.Helper()
	m := message{subject: subject, msgID: header.Get("Nats-Msg-Id"), aggregate: header.Get(natssink.HeaderAggregate)}
	if err := json.Unmarshal(data, &m.Event); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	if m.subject != "latchkey."+m.Topic || m.msgID != m.ID || m.aggregate != m.Aggregate {
		t.Errorf("the message on %s with the id %q of %q says it is %+v", m.subject, m.msgID, m.aggregate, m.Event)
	}
	return m
}

// recorded are the events that the database has, in their order.
func recorded(t *testing.T, db *database.DB) (events []outbox.Event) {
	t.Helper()
	rows, err := db.Conn(t.Context()).QueryContext(t.Context(), "SELECT id, topic, aggregate_id, payload FROM latchkey_outbox_event ORDER BY seq")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var e outbox.Event
		var payload []byte
		if err := rows.Scan(&e.ID, &e.Topic, &e.Aggregate, &payload); err != nil {
			t.Fatal(err)
		}
		e.Data = payload
		events = append(events, e)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return events
}

// same wants the messages to be the events: none is missing, none is there that was not recorded or twice, those of an
// aggregate are in their order.
func same(t *testing.T, messages []message, events []outbox.Event) {
	t.Helper()
	if len(messages) != len(events) {
		t.Errorf("%d messages, want %d", len(messages), len(events))
	}
	want := map[string][]string{}
	for _, e := range events {
		want[e.Aggregate] = append(want[e.Aggregate], e.ID+" "+e.Topic+" "+compact(t, e.Data))
	}
	for i, m := range messages {
		next := want[m.Aggregate]
		if got := m.ID + " " + m.Topic + " " + compact(t, m.Data); len(next) == 0 || got != next[0] {
			t.Fatalf("message %d is %s, want one of %v", i, got, next[:min(len(next), 1)])
		}
		want[m.Aggregate] = next[1:]
	}
	for aggregate, missing := range want {
		if len(missing) > 0 {
			t.Errorf("of %s these are missing: %v", aggregate, missing)
		}
	}
}

// compact is the JSON without what PostgreSQL changes about it.
func compact(t *testing.T, data []byte) string {
	t.Helper()
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		t.Fatalf("%s: %v", data, err)
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// newOutbox returns an outbox with the consumers, of a program that has the database.
func newOutbox(t *testing.T, db *database.DB, consumers ...outbox.Consumer) *outbox.Outbox {
	t.Helper()
	o, err := outbox.New(outbox.Params{DB: db, Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		err = o.Register(consumers...)
	}
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// run delivers until the test ends.
func run(t *testing.T, o *outbox.Outbox) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		o.Run(ctx)
	}()
	t.Cleanup(func() { cancel(); <-ended })
}

// until waits for something to be so.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%s: not after 30 s", what)
		}
	}
}

// drained waits until nothing is left to deliver, for as long as it gets less.
func drained(t *testing.T, o *outbox.Outbox) {
	t.Helper()
	least, at := 1<<62, time.Now()
	for least > 0 {
		n, err := o.Pending(t.Context())
		switch {
		case err != nil:
			t.Fatal(err)
		case n < least:
			least, at = n, time.Now()
		case time.Since(at) > 30*time.Second:
			t.Fatalf("%d deliveries are left", n)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// happened is an event of a test.
type happened struct {
	To string `json:"to"`
	N  int    `json:"n"`
}

func (happened) Topic() string       { return "test.happened" }
func (e happened) Aggregate() string { return e.To }
