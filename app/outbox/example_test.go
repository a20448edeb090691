package outbox_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/sqlite"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/user"
)

// A consumer says by its type which events it wants. It hears of what has been committed, and of nothing else.
func ExampleOn() {
	heard := make(chan string, 1)
	welcome := outbox.On("welcome", func(_ context.Context, d outbox.Delivery, e user.Created) error {
		heard <- fmt.Sprint(d.Topic, " attempt ", d.Attempt, ", the user is known: ", e.ID != "")
		return nil
	})
	users, end := withConsumer(func() outbox.Consumer { return welcome })
	defer end()

	if _, err := users.CreateUsers(context.Background(), user.Draft{Email: "ada@example.com"}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-heard)
	// Output: user.created attempt 1, the user is known: true
}

// One consumer may hear everything, in the order in which it happened to each user and invite.
func ExampleOnAny() {
	heard := make(chan string, 3)
	trail := outbox.OnAny("trail", func(_ context.Context, d outbox.Delivery, payload json.RawMessage) error {
		var e struct{ ID string }
		if err := json.Unmarshal(payload, &e); err != nil {
			return err
		}
		heard <- fmt.Sprint(d.Topic, " ", e.ID == d.Aggregate)
		return nil
	})
	users, end := withConsumer(func() outbox.Consumer { return trail })
	defer end()

	ctx := context.Background()
	made, err := users.CreateUsers(ctx, user.Draft{Email: "ada@example.com"})
	if err != nil {
		log.Fatal(err)
	}
	if err := users.DeactivateUsers(ctx, made[0].ID); err != nil {
		log.Fatal(err)
	}
	if err := users.SoftDeleteUsers(ctx, made[0].ID); err != nil {
		log.Fatal(err)
	}
	for range 3 {
		fmt.Println(<-heard)
	}
	// Output:
	// user.created true
	// user.deactivated true
	// user.deleted true
}

// In an fx application a consumer is one line.
func ExampleAsConsumer() {
	heard := make(chan string, 1)
	newGoodbye := func() outbox.Consumer { // its arguments come from fx
		return outbox.On("goodbye", func(_ context.Context, d outbox.Delivery, _ user.Deleted) error {
			heard <- d.Topic
			return nil
		})
	}
	users, end := withConsumer(newGoodbye)
	defer end()

	ctx := context.Background()
	made, err := users.CreateUsers(ctx, user.Draft{Email: "ada@example.com"})
	if err != nil {
		log.Fatal(err)
	}
	if err := users.SoftDeleteUsers(ctx, made[0].ID); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-heard)
	// Output: user.deleted
}

// withConsumer is an application that has users and the consumer.
func withConsumer(constructor any) (users *user.Service, end func()) {
	dir, err := os.MkdirTemp("", "latchkey")
	if err != nil {
		log.Fatal(err)
	}
	app := fx.New(fx.NopLogger,
		fx.Provide(
			func() (*database.DB, error) {
				db, err := sqlite.Open(context.Background(), filepath.Join(dir, "app.db"), nil)
				if err != nil {
					return nil, err
				}
				return db, db.Migrate(context.Background(), user.Migrations(), outbox.Migrations())
			},
			func() (*keyring.Ring, error) { return keyring.New([]byte("at least 32 bytes that nobody knows")) },
		),
		user.Module, outbox.Module, outbox.Deliver,
		fx.Provide(outbox.AsConsumer(constructor)),
		fx.Invoke(func(lc fx.Lifecycle, db *database.DB) { lc.Append(fx.StopHook(db.Close)) }),
		fx.Populate(&users),
	)
	if err := app.Start(context.Background()); err != nil {
		log.Fatal(err)
	}
	return users, func() {
		_ = app.Stop(context.Background())
		_ = os.RemoveAll(dir)
	}
}
