package natssink

import (
	"context"
	"log/slog"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app/outbox"
)

// Module hands the events of outbox.Module to NATS, as Options say, which are fx.Supply'd or of a constructor of yours. It connects when
// the application starts, which does not wait for NATS, and closes the connection when it has stopped. A program that
// only records events, such as a command of the server, never connects.
//
// For a second stream, or another life, make a Sink by New and give it to the outbox by outbox.AsConsumer and outbox.To.
var Module = fx.Module("natssink", fx.Provide(newForFx, outbox.AsConsumer(consumer)))

type params struct {
	fx.In

	Lifecycle fx.Lifecycle
	Options   Options      `optional:"true"`
	Log       *slog.Logger `optional:"true"`
}

func newForFx(p params) (*Sink, error) {
	if p.Options.Log == nil {
		p.Options.Log = p.Log
	}
	s, err := New(p.Options)
	if err != nil {
		return nil, err
	}
	// It is made before the outbox runs, so it is closed after that has stopped.
	p.Lifecycle.Append(fx.Hook{
		OnStart: func(context.Context) error { s.conn.start(); return nil },
		OnStop:  func(context.Context) error { return s.Close() },
	})
	return s, nil
}

func consumer(s *Sink) outbox.Consumer {
	return outbox.To(s.options.Consumer, s, s.options.Topics...)
}
