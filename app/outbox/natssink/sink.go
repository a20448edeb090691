package natssink

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/latchkey-go/latchkey/app/outbox"
)

// ackTime is how long an acknowledgement is waited for. It is shorter than outbox.HandleTime, so that the error can say so.
const ackTime = 5 * time.Second

// wrongStream is JetStream's code for a message that another stream would have taken.
const wrongStream jetstream.ErrorCode = 10060

// Sink publishes events to a stream. It is safe for concurrent use.
type Sink struct {
	options Options
	conn    *conn
}

var _ outbox.Sink = (*Sink)(nil)

// New returns a sink that connects at the first Publish, or by Connect. It fails for options that cannot be used, and not
// because NATS is away.
func New(o Options) (*Sink, error) {
	o, err := o.settled()
	if err != nil {
		return nil, err
	}
	n, err := o.connection()
	if err != nil {
		return nil, err
	}
	s := &Sink{options: o, conn: newConn(n, o.Log)}
	if o.Stream.Make {
		s.conn.onConnected = s.makeEarly
	}
	return s, nil
}

// Connect connects, and makes the stream if it is to be made. Its error says why the first attempt has failed; it is tried again
// until Close, and Publish may be called all the same. Nobody needs to call it: it is for who wants to know at the start.
func (s *Sink) Connect(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, ackTime)
	defer cancel()
	js, _, err := s.conn.get(ctx)
	if err != nil {
		return err
	}
	if s.options.Stream.Make {
		return s.makeStream(ctx, js)
	}
	if _, err := js.Stream(ctx, s.options.Stream.Name); err != nil {
		return s.explain(err, s.options.Prefix+".>")
	}
	return nil
}

// Publish returns nil when the stream has acknowledged that it has the event, also when it had it before. While there is no
// connection it fails at once, and no message of it is sent later.
func (s *Sink) Publish(ctx context.Context, e outbox.Event) error {
	if !isSubject(e.Topic) {
		return outbox.Permanent(fmt.Errorf("natssink: the topic %q: %w", e.Topic, errNoSubject))
	}
	subject := s.options.Prefix + "." + e.Topic
	body, err := json.Marshal(e)
	if err != nil {
		return fmt.Errorf("natssink: event %s: %w", e.ID, err)
	}
	ctx, cancel := context.WithTimeout(ctx, ackTime)
	defer cancel()
	js, lost, err := s.conn.get(ctx)
	if err != nil {
		return err
	}
	ctx, giveUp := context.WithCancelCause(ctx)
	defer giveUp(nil)
	go func() { // what the connection has lost, nobody acknowledges
		select {
		case <-lost:
			giveUp(errLost)
		case <-ctx.Done():
		}
	}()

	err = s.publish(ctx, js, subject, e, body)
	if errors.Is(err, jetstream.ErrNoStreamResponse) && s.options.Stream.Make {
		if err := s.makeStream(ctx, js); err != nil {
			return err
		}
		err = s.publish(ctx, js, subject, e, body)
	}
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return s.explain(err, subject)
}

func (s *Sink) publish(ctx context.Context, js jetstream.JetStream, subject string, e outbox.Event, body []byte) error {
	header := nats.Header{}
	header.Set(HeaderAggregate, e.Aggregate)
	ack, err := js.PublishMsg(ctx, &nats.Msg{Subject: subject, Header: header, Data: body},
		jetstream.WithMsgID(e.ID), jetstream.WithExpectStream(s.options.Stream.Name))
	if err == nil && ack.Duplicate {
		s.options.Log.Debug("the stream had the event before", "event", e.ID)
	}
	return err
}

// makeStream makes the stream. That another node has made it just now is well, and so is that it is otherwise than here.
func (s *Sink) makeStream(ctx context.Context, js jetstream.JetStream) error {
	_, err := js.CreateStream(ctx, s.options.config())
	if err == nil || errors.Is(err, jetstream.ErrStreamNameAlreadyInUse) {
		return nil
	}
	return fmt.Errorf("natssink: make the stream %s: %w", s.options.Stream.Name, err)
}

// makeEarly has the stream there before the first event is, for who wants to read it. Publish tries again.
func (s *Sink) makeEarly(js jetstream.JetStream) {
	ctx, cancel := context.WithTimeout(context.Background(), ackTime)
	defer cancel()
	if err := s.makeStream(ctx, js); err != nil {
		s.options.Log.Warn("the stream could not be made, and will be when there is an event", "error", err)
	}
}

// explain says what to do about an error.
func (s *Sink) explain(err error, subject string) error {
	name := s.options.Stream.Name
	var api *jetstream.APIError
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jetstream.ErrNoStreamResponse), errors.Is(err, jetstream.ErrStreamNotFound):
		return fmt.Errorf("natssink: no stream takes %s: make the stream %s with the subjects %s.> (nats stream add), or set Stream.Make: %w",
			subject, name, s.options.Prefix, err)
	case errors.As(err, &api) && api.ErrorCode == wrongStream:
		return fmt.Errorf("natssink: %s goes into another stream than %s, so it was not published: give that stream other subjects, or say its name in Stream.Name: %w",
			subject, name, err)
	case errors.Is(err, context.DeadlineExceeded):
		if last := s.conn.lastError(); last != nil {
			return fmt.Errorf("natssink: %s was not acknowledged in time; the connection's last error is %w", subject, last)
		}
		return fmt.Errorf("natssink: %s was not acknowledged in time: %w", subject, err)
	}
	return fmt.Errorf("natssink: publish %s: %w", subject, err)
}

// Close ends the connection. Nothing has to be waited for: Publish keeps nothing back. Call it after the outbox has stopped.
func (s *Sink) Close() error {
	s.conn.close()
	return nil
}
