package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/event"
)

// Delivery is what a consumer learns about an event beside its payload.
type Delivery struct {
	ID        string // of the event, evt_ and a ULID: the same at every attempt, so that a repetition can be told
	Topic     string
	Aggregate string    // the id of what it happened to
	At        time.Time // when it was recorded
	Attempt   int       // 1 at first; more: an attempt before has failed, or was not heard of again
	Target    string    // whom it is for, of a consumer made by ToTargets; otherwise empty
}

// Consumer is a named function that handles the events of one topic, made by On, of all, made by OnAny, or hands them on,
// made by To or ToTargets. Consumers of one name are one: what it has handled is kept by its name, and the order of events
// holds across its topics.
type Consumer struct {
	name    string
	topics  []string // none: every one
	targets bool     // its events are for targets, each with topics of its own
	handle  func(ctx context.Context, d Delivery, payload []byte) error
}

// On makes a consumer of the events of type E. The function is called outside any transaction, maybe more than once for
// an event, and by several goroutines for different aggregates. An error has it called again later (Permanent: never);
// the context ends after HandleTime.
//
// The name never changes once it is in use: events that are recorded for it wait for whoever has it.
func On[E event.Event](name string, handle func(ctx context.Context, d Delivery, e E) error) Consumer {
	var zero E
	return Consumer{name: name, topics: []string{zero.Topic()}, handle: func(ctx context.Context, d Delivery, payload []byte) error {
		var e E
		if err := json.Unmarshal(payload, &e); err != nil {
			return fmt.Errorf("read the event: %w", err)
		}
		return handle(ctx, d, e)
	}}
}

// OnAny makes a consumer of all events, of whatever topic, also of those that come to be later, such as for a trail or a
// queue of the application's. The payload is JSON: Delivery.Topic says of what. Otherwise it is as On. There is no other
// consumer of its name.
func OnAny(name string, handle func(ctx context.Context, d Delivery, payload json.RawMessage) error) Consumer {
	return Consumer{name: name, handle: func(ctx context.Context, d Delivery, payload []byte) error { return handle(ctx, d, payload) }}
}

// Event is what a Sink publishes. Its JSON is an envelope that others know, too: the one of Standard Webhooks, with an id and
// what it happened to.
type Event struct {
	ID        string          `json:"id"`        // evt_ and a ULID: the same at every attempt, so that whoever gets it can tell a repetition
	Topic     string          `json:"type"`      // such as user.created
	At        time.Time       `json:"timestamp"` // when it was recorded
	Aggregate string          `json:"aggregate"` // the id of what it happened to
	Data      json.RawMessage `json:"data"`      // the payload
}

func (d Delivery) event(payload []byte) Event {
	return Event{ID: d.ID, Topic: d.Topic, At: d.At, Aggregate: d.Aggregate, Data: payload}
}

// Sink takes events to where others hear them, such as a broker. It returns nil when the event is safe there. After an error
// the same event is published again later, and the later ones of its aggregate wait until then. A Sink is safe for concurrent use.
type Sink interface {
	Publish(ctx context.Context, e Event) error
}

// To makes a consumer that hands the events of the topics, or of all if none is given, to a sink.
func To(name string, sink Sink, topics ...string) Consumer {
	return Consumer{name: name, topics: topics, handle: func(ctx context.Context, d Delivery, payload []byte) error {
		return sink.Publish(ctx, d.event(payload))
	}}
}

// ToTargets makes a consumer that hands events on to targets, which come and go while programs run: Outbox.AddTarget and
// Outbox.RemoveTarget. Each target is as a consumer of its own: with order, attempts and dead letters of its own. There is no other
// consumer of its name.
func ToTargets(name string, publish func(ctx context.Context, target string, e Event) error) Consumer {
	return Consumer{name: name, targets: true, handle: func(ctx context.Context, d Delivery, payload []byte) error {
		return publish(ctx, d.Target, d.event(payload))
	}}
}

// Permanent marks the error of a consumer that trying again does not mend: the event becomes a dead letter at once. Of nil it
// is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanent{err}
}

type permanent struct{ err error }

func (p *permanent) Error() string { return p.err.Error() }
func (p *permanent) Unwrap() error { return p.err }

// hears reports whether events of the topic are for the consumer.
func (c Consumer) hears(topic string) bool {
	return len(c.topics) == 0 || slices.Contains(c.topics, topic)
}

// enrolled are the rows that say so: for targets there are none before they are added.
func (c Consumer) enrolled(now time.Time) []consumerRow {
	if c.targets {
		return nil
	}
	return enrolment(c.name, "", c.topics, now)
}

func enrolment(name, target string, topics []string, now time.Time) []consumerRow {
	if len(topics) == 0 {
		topics = []string{every}
	}
	var rows []consumerRow
	for _, t := range topics {
		rows = append(rows, consumerRow{Name: name, Target: target, Topic: t, CreatedAt: now})
	}
	return rows
}

var consumerName = regexp.MustCompile(`^[a-z][a-z0-9_.-]{0,63}$`)

func (c Consumer) check() error {
	switch {
	case c.handle == nil:
		return errors.New("outbox: a consumer is made by On, OnAny, To or ToTargets")
	case !consumerName.MatchString(c.name):
		return fmt.Errorf("outbox: consumer name %q: use lower-case letters, digits, dots, hyphens and underscores, beginning with a letter", c.name)
	case slices.Contains(c.topics, every):
		return fmt.Errorf("outbox: consumer %q: a topic has no name", c.name)
	}
	return nil
}
