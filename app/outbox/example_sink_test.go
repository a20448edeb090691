package outbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"sync"

	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/modules/user"
)

// lines is a sink: whatever takes an event and can say when it is safe. This one writes a line of JSON each.
type lines struct {
	mu sync.Mutex // events of different users are published at once
	to io.Writer
}

func (l *lines) Publish(_ context.Context, e outbox.Event) error {
	line, err := json.Marshal(e)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err = l.to.Write(append(line, '\n')) // an error has the event published again later
	return err
}

// A Sink takes events to others: to a file, a queue, a broker.
func ExampleTo() {
	var file bytes.Buffer
	sink := &lines{to: &file}
	published := make(chan bool, 2)
	users, end := withConsumer(func() outbox.Consumer {
		return outbox.To("lines", tell{sink, published}, user.Created{}.Topic(), user.Deleted{}.Topic())
	})
	ctx := context.Background()
	made, err := users.CreateUsers(ctx, user.Draft{Email: "ada@example.com"})
	if err != nil {
		log.Fatal(err)
	}
	if err := users.DeactivateUsers(ctx, made[0].ID); err != nil { // not one of the topics
		log.Fatal(err)
	}
	if err := users.SoftDeleteUsers(ctx, made[0].ID); err != nil {
		log.Fatal(err)
	}
	<-published
	<-published
	end()

	for dec := json.NewDecoder(&file); dec.More(); {
		var e outbox.Event
		if err := dec.Decode(&e); err != nil {
			log.Fatal(err)
		}
		fmt.Println(e.Topic, e.Aggregate == string(made[0].ID))
	}
	// Output:
	// user.created true
	// user.deleted true
}

// tell is how the example knows when to look.
type tell struct {
	outbox.Sink
	published chan<- bool
}

func (t tell) Publish(ctx context.Context, e outbox.Event) error {
	err := t.Sink.Publish(ctx, e)
	if err == nil {
		t.published <- true
	}
	return err
}
