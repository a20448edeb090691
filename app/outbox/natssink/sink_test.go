package natssink_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/app/outbox/natssink"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/kernel/secrettest"
	"github.com/latchkey-go/latchkey/modules/user"
)

var made = natssink.Stream{Make: true}

// one is an event that a program publishes by itself.
func one(id string) outbox.Event {
	return outbox.Event{ID: id, Topic: "test.happened", Aggregate: "x", At: time.Now().UTC(), Data: []byte(`{"n":1}`)}
}

func TestWhatUsersDoReachesADurableConsumerInOrderIfItCommits(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		b := newBroker(t)
		db := at.Open(t, user.Migrations(), outbox.Migrations())
		o := newOutbox(t, db, outbox.To("nats", newSink(t, natssink.Options{URL: b.url(), Stream: made})))
		keys, err := keyring.New([]byte("at least 32 bytes that nobody knows"))
		if err != nil {
			t.Fatal(err)
		}
		users, err := user.New(user.Params{DB: db, Keys: keys, Events: o})
		if err != nil {
			t.Fatal(err)
		}
		run(t, o)

		// Several at once change each their own user, and each takes one change back.
		const people = 12
		errBack := errors.New("taken back")
		var all sync.WaitGroup
		for i := range people {
			all.Go(func() {
				made, err := users.CreateUsers(t.Context(), user.Draft{Email: fmt.Sprintf("u%d@example.com", i)})
				if err != nil {
					t.Error(err)
					return
				}
				id := made[0].ID
				err = db.InTx(t.Context(), func(ctx context.Context) error {
					return errors.Join(users.SoftDeleteUsers(ctx, id), errBack)
				})
				if !errors.Is(err, errBack) {
					t.Error(err)
				}
				for _, f := range []func(context.Context, ...user.ID) error{users.DeactivateUsers, users.ReactivateUsers, users.SoftDeleteUsers} {
					if err := f(t.Context(), id); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		drained(t, o)

		// The consumer forgets to say that it has the first ones, and gets them again when it is back.
		js := b.client(t)
		consumer, err := js.CreateConsumer(t.Context(), "LATCHKEY", jetstream.ConsumerConfig{Durable: "reader", AckPolicy: jetstream.AckExplicitPolicy, AckWait: 300 * time.Millisecond, FilterSubject: "latchkey.user.>"})
		if err != nil {
			t.Fatal(err)
		}
		events := recorded(t, db)
		if len(events) != 4*people {
			t.Errorf("%d events are recorded, want %d", len(events), 4*people)
		}
		var got []message
		again, seen := 0, map[string]bool{}
		for len(seen) < len(events) || again == 0 {
			batch, err := consumer.Fetch(10, jetstream.FetchMaxWait(2*time.Second))
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for m := range batch.Messages() {
				n++
				parsed := parse(t, m.Subject(), m.Headers(), m.Data())
				if seen[parsed.ID] {
					again++
				} else {
					seen[parsed.ID] = true
					got = append(got, parsed)
				}
				if len(got) > 5 {
					if err := m.DoubleAck(t.Context()); err != nil {
						t.Fatal(err)
					}
				}
			}
			if n == 0 {
				t.Fatalf("only %d of %d came, %d again", len(seen), len(events), again)
			}
		}
		same(t, got, events)
		same(t, stored(t, js, "LATCHKEY"), events)
	})
}

func TestABrokerThatIsDownDelaysAndLosesNothing(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		b := newBroker(t)
		db := at.Open(t, outbox.Migrations())
		sink := newSink(t, natssink.Options{URL: b.url(), Stream: made})
		o := newOutbox(t, db, outbox.To("nats", sink))
		run(t, o)

		const aggregates, each = 30, 15
		for round := range rounds(t) {
			var all sync.WaitGroup
			some := make(chan struct{})
			all.Go(func() {
				for n := range each {
					for a := range aggregates {
						if err := o.Emit(t.Context(), happened{fmt.Sprint("a", a), round*each + n}); err != nil {
							t.Error(err)
						}
					}
					if n == each/3 {
						close(some)
					}
				}
			})
			<-some
			b.stop()
			until(t, "the sink says that NATS is away", func() bool {
				begun := time.Now()
				err := sink.Publish(t.Context(), one("evt_never"))
				if took := time.Since(begun); err != nil && took > time.Second {
					t.Errorf("it took %v to say %v", took, err)
				}
				return err != nil && strings.Contains(err.Error(), "there is no connection to NATS")
			})
			all.Wait() // the rest is committed meanwhile
			if n, err := o.Pending(t.Context()); n == 0 || err != nil {
				t.Errorf("%d wait, %v, want many", n, err)
			}
			b.start(t)
		}
		drained(t, o)
		same(t, stored(t, b.client(t), "LATCHKEY"), recorded(t, db)) // so what failed was not sent later either
	})
}

// rounds is how often NATS is stopped and started. LATCHKEY_TEST_ROUNDS=10 is how docs/reliability.md measures it.
func rounds(t *testing.T) int {
	t.Helper()
	text := os.Getenv("LATCHKEY_TEST_ROUNDS")
	if text == "" {
		return 1
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// dies is a sink of a program that is killed after the stream has acknowledged, and before that is written down.
type dies struct {
	outbox.Sink
	mu    sync.Mutex
	tries map[string]int
}

func (d *dies) Publish(ctx context.Context, e outbox.Event) error {
	if err := d.Sink.Publish(ctx, e); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.tries[e.ID]++; d.tries[e.ID] == 1 {
		return errors.New("killed")
	}
	return nil
}

func TestAnEventThatIsPublishedAgainIsInTheStreamOnce(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		b := newBroker(t)
		db := at.Open(t, outbox.Migrations())
		d := &dies{Sink: newSink(t, natssink.Options{URL: b.url(), Stream: made}), tries: map[string]int{}}
		o := newOutbox(t, db, outbox.To("nats", d))
		run(t, o)
		for a := range 5 {
			if err := o.Emit(t.Context(), happened{fmt.Sprint("a", a), 1}); err != nil {
				t.Fatal(err)
			}
		}
		drained(t, o)
		if len(d.tries) != 5 {
			t.Errorf("published: %v", d.tries)
		}
		for id, n := range d.tries {
			if n != 2 {
				t.Errorf("%s was published %d times, want 2", id, n)
			}
		}
		same(t, stored(t, b.client(t), "LATCHKEY"), recorded(t, db))
	})
}

func TestWithoutAStreamTheErrorSaysWhatToDo(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	sink := newSink(t, natssink.Options{URL: b.url(), Stream: natssink.Stream{Name: "EVENTS"}})
	for what, err := range map[string]error{"Publish": sink.Publish(t.Context(), one("evt_1")), "Connect": sink.Connect(t.Context())} {
		if err == nil || !strings.Contains(err.Error(), "make the stream EVENTS with the subjects latchkey.> (nats stream add), or set Stream.Make") {
			t.Errorf("%s: %v", what, err)
		}
	}

	// When it is there, all is well, and nothing has to be told so.
	js := b.client(t)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "EVENTS", Subjects: []string{"latchkey.>"}}); err != nil {
		t.Fatal(err)
	}
	for what, err := range map[string]error{"Publish": sink.Publish(t.Context(), one("evt_1")), "Connect": sink.Connect(t.Context())} {
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if n := len(stored(t, js, "EVENTS")); n != 1 {
		t.Errorf("%d messages, want 1", n)
	}
}

func TestNothingGetsIntoAnotherStream(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	js := b.client(t)
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "OTHERS", Subjects: []string{"latchkey.>"}}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []natssink.Stream{{}, {Make: true}} {
		err := newSink(t, natssink.Options{URL: b.url(), Stream: s}).Publish(t.Context(), one("evt_1"))
		if err == nil || !strings.Contains(err.Error(), "latchkey.test.happened goes into another stream than LATCHKEY") {
			t.Errorf("Make %t: %v", s.Make, err)
		}
	}
	if n := len(stored(t, js, "OTHERS")); n != 0 {
		t.Errorf("%d messages, want none", n)
	}
}

func TestTheStreamIsMadeAsItIsAskedForAndOneThatIsThereStaysAsItIs(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	first := newSink(t, natssink.Options{URL: b.url(), Prefix: "id.events", Stream: natssink.Stream{Name: "ID", Make: true, MaxAge: 10 * time.Minute}})
	if err := first.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	other := newSink(t, natssink.Options{URL: b.url(), Prefix: "id.events", Stream: natssink.Stream{Name: "ID", Make: true, Duplicates: time.Minute}})
	for i, s := range []*natssink.Sink{first, other, first} {
		if err := s.Connect(t.Context()); err != nil {
			t.Error(err)
		}
		if err := s.Publish(t.Context(), one(fmt.Sprint("evt_", i))); err != nil {
			t.Error(err)
		}
	}
	js := b.client(t)
	stream, err := js.Stream(t.Context(), "ID")
	if err != nil {
		t.Fatal(err)
	}
	c := stream.CachedInfo().Config
	if c.MaxAge != 10*time.Minute || c.Duplicates != 10*time.Minute || c.Replicas != 1 || fmt.Sprint(c.Subjects) != "[id.events.>]" || c.Storage != jetstream.FileStorage {
		t.Errorf("the stream is %+v", c)
	}
	if n := stream.CachedInfo().State.Msgs; n != 3 {
		t.Errorf("%d messages, want 3", n)
	}

	// Somebody deletes it: the next event has it made again.
	if err := js.DeleteStream(t.Context(), "ID"); err != nil {
		t.Fatal(err)
	}
	if err := first.Publish(t.Context(), one("evt_4")); err != nil {
		t.Error(err)
	}
}

// What is not acknowledged is not published, whatever else may have happened to it.
func TestOnlyTheStreamsAcknowledgementCounts(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	conn, err := nats.Connect(b.url())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	answers := make(chan string, 1)
	if _, err := conn.Subscribe("latchkey.>", func(m *nats.Msg) { // somebody who hears it and is no stream
		select {
		case answer := <-answers:
			_ = m.Respond([]byte(answer))
		default:
		}
	}); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	sink := newSink(t, natssink.Options{URL: b.url()})

	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	begun := time.Now()
	if err := sink.Publish(ctx, one("evt_1")); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 3*time.Second {
		t.Errorf("after %v: %v", time.Since(begun), err)
	}
	ctx, cancel = context.WithCancel(t.Context())
	cancel()
	if err := sink.Publish(ctx, one("evt_1")); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
	for _, answer := range []string{"", "+OK", `{"stream":""}`, `{"error":{"code":503,"err_code":10077,"description":"maximum messages exceeded"}}`} {
		answers <- answer
		if err := sink.Publish(t.Context(), one("evt_1")); err == nil {
			t.Errorf("%q was taken for an acknowledgement", answer)
		}
	}

	// The server goes while it is waited for: nobody waits on.
	failed := make(chan error, 1)
	go func() { failed <- sink.Publish(t.Context(), one("evt_1")) }()
	time.Sleep(50 * time.Millisecond) // not enough is no failure: then there is no connection
	begun = time.Now()
	b.stop()
	if err := <-failed; err == nil || time.Since(begun) > 3*time.Second {
		t.Errorf("after %v: %v", time.Since(begun), err)
	}
}

// The moment in which the connection is lost, and we have not been told: what is asked to be sent then is not sent later,
// when the outbox may have sent others.
func TestNothingIsKeptBackToBeSentLater(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	told := make(chan struct{}) // the handlers are called one after the other
	sink := newSink(t, natssink.Options{URL: b.url(), Stream: made, NATS: []nats.Option{nats.ConnectHandler(func(*nats.Conn) { <-told })}})
	if err := sink.Connect(t.Context()); err != nil {
		t.Fatal(err)
	}
	b.stop()
	until(t, "it is refused", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		err := sink.Publish(ctx, one("evt_never"))
		return errors.Is(err, nats.ErrReconnectBufExceeded)
	})
	close(told)
	b.start(t)
	until(t, "it is published", func() bool { return sink.Publish(t.Context(), one("evt_1")) == nil })
	if got := stored(t, b.client(t), "LATCHKEY"); len(got) != 1 || got[0].ID != "evt_1" {
		t.Errorf("the stream has %+v, want evt_1 alone", got)
	}
}

func TestWrongCredentialsAreSaidWithoutThem(t *testing.T) {
	t.Parallel()
	b := newBroker(t, func(o *server.Options) { o.Username, o.Password = "latchkey", "Wombat-right" })
	var log lockedBuffer
	var attempts atomic.Int32
	host := strings.TrimPrefix(b.url(), "nats://")
	sink := newSink(t, natssink.Options{
		URL: "nats://latchkey:Wombat-wrong@" + host, Stream: made, Log: slog.New(slog.NewTextHandler(&log, nil)),
		NATS: []nats.Option{nats.SetCustomDialer(&dialer{&attempts})},
	})
	said := []error{sink.Connect(t.Context()), sink.Publish(t.Context(), one("evt_1"))}
	for _, err := range said {
		if err == nil || !strings.Contains(err.Error(), "Authorization Violation") {
			t.Errorf("it says %v", err)
		}
	}

	// An operator mends it at the server, after a while.
	until(t, "it goes on trying", func() bool { return attempts.Load() > 5 })
	if err := sink.Publish(t.Context(), one("evt_1")); err == nil || !strings.Contains(err.Error(), "Authorization Violation") {
		t.Errorf("after a while it says %v", err)
	}
	mended := b.options
	mended.Password = "Wombat-wrong"
	if err := b.server.ReloadOptions(&mended); err != nil {
		t.Fatal(err)
	}
	until(t, "it is published", func() bool { return sink.Publish(t.Context(), one("evt_1")) == nil })

	_, err := natssink.New(natssink.Options{URL: "nats://" + host + ",nats://latchkey:Wombat-wrong@" + host + "x y"})
	if err == nil || !strings.Contains(err.Error(), "server 2 of URL") {
		t.Errorf("a URL that is none: %v", err)
	}
	for _, text := range append([]string{log.String(), fmt.Sprint(err)}, fmt.Sprint(said)) {
		if strings.Contains(text, "Wombat") {
			t.Errorf("there is the password: %s", text)
		}
		secrettest.Look(t, "what is said", text)
	}
	if !strings.Contains(log.String(), "there is no connection to NATS") || !strings.Contains(log.String(), "connected to NATS") {
		t.Errorf("the log is %s", log.String())
	}
}

// The rights that docs/embedding.md names are enough, and what is missing is said.
func TestAMissingPermissionIsSaid(t *testing.T) {
	t.Parallel()
	may := func(name string, publish ...string) *server.User {
		return &server.User{Username: name, Password: "Wombat-right", Permissions: &server.Permissions{
			Publish: &server.SubjectPermission{Allow: publish}, Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
		}}
	}
	const create = "$JS.API.STREAM.CREATE.LATCHKEY"
	b := newBroker(t, func(o *server.Options) {
		o.Users = []*server.User{may("some", create), may("enough", create, "latchkey.>")}
	})
	as := func(name string) *natssink.Sink {
		sink := newSink(t, natssink.Options{URL: b.url(), Stream: made, NATS: []nats.Option{nats.UserInfo(name, "Wombat-right")}})
		if err := sink.Connect(t.Context()); err != nil {
			t.Fatal(err)
		}
		return sink
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := as("some").Publish(ctx, one("evt_1")); err == nil || !strings.Contains(err.Error(), "Permissions Violation for Publish to \"latchkey.test.happened\"") {
		t.Errorf("it says %v", err)
	}
	if err := as("enough").Publish(t.Context(), one("evt_1")); err != nil {
		t.Error(err)
	}
}

func TestASinkWaitsForABrokerThatComesLater(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	b.stop()
	sink := newSink(t, natssink.Options{URL: b.url(), Stream: made})
	for _, f := range []func(context.Context) error{sink.Connect, func(ctx context.Context) error { return sink.Publish(ctx, one("evt_1")) }} {
		begun := time.Now()
		if err := f(t.Context()); err == nil || !strings.Contains(err.Error(), "there is no connection to NATS") || time.Since(begun) > 3*time.Second {
			t.Errorf("after %v: %v", time.Since(begun), err)
		}
	}
	b.start(t)
	js := b.client(t)
	until(t, "the stream is made, without an event", func() bool {
		_, err := js.Stream(t.Context(), "LATCHKEY")
		return err == nil
	})
	if err := sink.Publish(t.Context(), one("evt_1")); err != nil {
		t.Error(err)
	}
	sink.Close()
	if err := sink.Publish(t.Context(), one("evt_2")); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("a closed sink says %v", err)
	}
}

func TestOptionsThatCannotBeAreRefused(t *testing.T) {
	t.Parallel()
	for want, o := range map[string]natssink.Options{
		"the prefix":            {Prefix: "latch key"},
		"NATS has no such":      {Prefix: "latchkey.>"},
		"the stream's name":     {Stream: natssink.Stream{Name: "A.B"}},
		"cannot be negative":    {Stream: natssink.Stream{MaxAge: -1}},
		"cannot know events":    {Stream: natssink.Stream{MaxAge: time.Minute, Duplicates: time.Hour}},
		"server 1 of URL":       {URL: " "},
		"an option of NATS: no": {NATS: []nats.Option{func(*nats.Options) error { return errors.New("no") }}},
	} {
		if _, err := natssink.New(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", o, err, want)
		}
	}
}

func TestEveryTopicIsASubject(t *testing.T) {
	t.Parallel()
	b := newBroker(t)
	sink := newSink(t, natssink.Options{URL: b.url(), Stream: made})
	n := 0
	for _, file := range []string{"modules/user/events.go", "modules/auth/events.go", "link/events.go"} {
		code, err := os.ReadFile("../../../" + file)
		if err != nil {
			t.Fatal(err)
		}
		for _, topic := range regexp.MustCompile(`\) Topic\(\) string\s*\{ return "([^"]+)" \}`).FindAllStringSubmatch(string(code), -1) {
			n++
			e := one(fmt.Sprint("evt_", n))
			e.Topic = topic[1]
			if err := sink.Publish(t.Context(), e); err != nil {
				t.Errorf("%s: %v", e.Topic, err)
			}
		}
	}
	if got := len(stored(t, b.client(t), "LATCHKEY")); got != n || n < 30 {
		t.Errorf("%d messages for %d topics", got, n)
	}
	for _, topic := range []string{"", ".", "a.", ".a", "a..b", "a b", "a.*", ">", "a\r\nPUB b"} {
		e := one("evt_bad")
		e.Topic = topic
		if err := sink.Publish(t.Context(), e); err == nil || !strings.Contains(err.Error(), "NATS has no such subject") {
			t.Errorf("the topic %q: %v", topic, err)
		}
	}
}

// dialer counts attempts to connect.
type dialer struct{ attempts *atomic.Int32 }

func (d *dialer) Dial(network, address string) (net.Conn, error) {
	d.attempts.Add(1)
	return net.Dial(network, address)
}

// lockedBuffer is for logs that several goroutines write.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
