package natssink_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/app/outbox/natssink"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/sqlite"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/user"
)

// An fx application that has an outbox has its events on NATS by one more line, and another program reads them there.
func ExampleModule() {
	dir, err := os.MkdirTemp("", "latchkey")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	url, stop := startNATS(filepath.Join(dir, "nats"))
	defer stop()

	var users *user.Service
	app := fx.New(fx.NopLogger,
		fx.Provide(
			func(lc fx.Lifecycle) (*database.DB, error) {
				db, err := sqlite.Open(context.Background(), filepath.Join(dir, "app.db"), nil)
				if err != nil {
					return nil, err
				}
				lc.Append(fx.StopHook(db.Close))
				return db, db.Migrate(context.Background(), user.Migrations(), outbox.Migrations())
			},
			func() (*keyring.Ring, error) { return keyring.New([]byte("at least 32 bytes that nobody knows")) },
		),
		user.Module, outbox.Module, outbox.Deliver,
		natssink.Module, fx.Supply(natssink.Options{URL: url, Stream: natssink.Stream{Make: true}}), // the one more
		fx.Populate(&users),
	)
	ctx := context.Background()
	if err := app.Start(ctx); err != nil {
		log.Fatal(err)
	}
	made, err := users.CreateUsers(ctx, user.Draft{Email: "ada@example.com"})
	if err != nil {
		log.Fatal(err)
	}
	if err := users.DeactivateUsers(ctx, made[0].ID); err != nil {
		log.Fatal(err)
	}
	read(url, 2, func(m jetstream.Msg) {
		fmt.Println(m.Subject(), m.Headers().Get(natssink.HeaderAggregate) == string(made[0].ID))
	})
	if err := app.Stop(ctx); err != nil {
		log.Fatal(err)
	}
	// Output:
	// latchkey.user.created true
	// latchkey.user.deactivated true
}

// read is the other program. Its place in the stream is kept under its durable name.
func read(url string, n int, handle func(jetstream.Msg)) {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	conn, err := nats.Connect(url)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Close()
	js, err := jetstream.New(conn)
	if err != nil {
		log.Fatal(err)
	}
	var consumer jetstream.Consumer
	for consumer == nil { // until the stream is there
		consumer, err = js.CreateOrUpdateConsumer(ctx, "LATCHKEY", jetstream.ConsumerConfig{Durable: "welcome", FilterSubject: "latchkey.user.>"})
		if err != nil && ctx.Err() != nil {
			log.Fatal(err)
		}
	}
	for range n {
		m, err := consumer.Next(jetstream.FetchContext(ctx))
		if err != nil {
			log.Fatal(err)
		}
		handle(m)
		if err := m.Ack(); err != nil {
			log.Fatal(err)
		}
	}
}

// startNATS runs a nats-server in this process.
func startNATS(dir string) (url string, stop func()) {
	s, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: server.RANDOM_PORT, JetStream: true, StoreDir: dir, NoLog: true, NoSigs: true})
	if err != nil {
		log.Fatal(err)
	}
	s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		log.Fatal("NATS does not start")
	}
	return s.ClientURL(), func() { s.Shutdown(); s.WaitForShutdown() }
}
