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
}

// Consumer is a named function that handles the events of one topic, made by On, of all, made by OnAny, or hands them on,
// made by To. Consumers of one name are one: what it has handled is kept by its name, and the order of events holds across
// its topics.
type Consumer struct {
	name   string
	topics []string // none: every one
	handle func(ctx context.Context, d Delivery, payload []byte) error
}

// On makes a consumer of the events of type E. The function is called outside any transaction, maybe more than once for
// an event, and by several goroutines for different aggregates. An error has it called again later; the context ends
// after HandleTime.
//
// The name never changes once it is in use: events that are recorded for it wait for whoever has it.
func On[E event.Event](name string, handle func(ctx context.Context, d Delivery, e E) error) Consumer {
	var zero E
	return Consumer{name, []string{zero.Topic()}, func(ctx context.Context, d Delivery, payload []byte) error {
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
	return Consumer{name, nil, func(ctx context.Context, d Delivery, payload []byte) error { return handle(ctx, d, payload) }}
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

// Sink takes events to where others hear them, such as a broker. It returns nil when the event is safe there. After an error
// the same event is published again later, and the later ones of its aggregate wait until then. A Sink is safe for concurrent use.
type Sink interface {
	Publish(ctx context.Context, e Event) error
}

// To makes a consumer that hands the events of the topics, or of all if none is given, to a sink.
func To(name string, sink Sink, topics ...string) Consumer {
	return Consumer{name, topics, func(ctx context.Context, d Delivery, payload []byte) error {
		return sink.Publish(ctx, Event{ID: d.ID, Topic: d.Topic, At: d.At, Aggregate: d.Aggregate, Data: payload})
	}}
}

// hears reports whether events of the topic are for the consumer.
func (c Consumer) hears(topic string) bool {
	return len(c.topics) == 0 || slices.Contains(c.topics, topic)
}

var consumerName = regexp.MustCompile(`^[a-z][a-z0-9_.-]{0,63}$`)

func (c Consumer) check() error {
	switch {
	case c.handle == nil:
		return errors.New("outbox: a consumer is made by On or OnAny")
	case !consumerName.MatchString(c.name):
		return fmt.Errorf("outbox: consumer name %q: use lower-case letters, digits, dots, hyphens and underscores, beginning with a letter", c.name)
	}
	return nil
}
