// Server is the whole server, with its events on NATS JetStream as well. In a repository of your own it is these lines, and a
// go.mod that asks for github.com/latchkey-go/latchkey and github.com/latchkey-go/latchkey/app/outbox/natssink.
//
//	NATS_URL=nats://127.0.0.1:4222 go run ./examples/server
//	nats sub 'latchkey.>'
package main

import (
	"os"

	"github.com/nats-io/nats.go"
	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/app/outbox/natssink"
)

func main() { os.Exit(app.Main(os.Args[1:], events(os.Getenv("NATS_URL"), os.Getenv("NATS_CREDS")))) }

// events are what is added to the server.
func events(url, credentials string) fx.Option {
	o := natssink.Options{URL: url, Stream: natssink.Stream{Make: true}}
	if credentials != "" {
		o.NATS = append(o.NATS, nats.UserCredentials(credentials))
	}
	return fx.Options(natssink.Module, fx.Supply(o))
}
