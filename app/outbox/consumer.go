package outbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
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

// Consumer is a named function that handles the events of one topic, made by On, or of all, made by OnAny. Consumers of one
// name are one: what it has handled is kept by its name, and the order of events holds across its topics.
type Consumer struct {
	name   string
	topic  string // empty: every one
	handle func(ctx context.Context, d Delivery, payload []byte) error
}

// On makes a consumer of the events of type E. The function is called outside any transaction, maybe more than once for
// an event, and by several goroutines for different aggregates. An error has it called again later; the context ends
// after HandleTime.
//
// The name never changes once it is in use: events that are recorded for it wait for whoever has it.
func On[E event.Event](name string, handle func(ctx context.Context, d Delivery, e E) error) Consumer {
	var zero E
	return Consumer{name, zero.Topic(), func(ctx context.Context, d Delivery, payload []byte) error {
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
	return Consumer{name, "", func(ctx context.Context, d Delivery, payload []byte) error { return handle(ctx, d, payload) }}
}

// hears reports whether events of the topic are for the consumer.
func (c Consumer) hears(topic string) bool { return c.topic == "" || c.topic == topic }

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
