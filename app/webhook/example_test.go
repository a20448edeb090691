package webhook_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"
	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/app/webhook"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/sqlite"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/user"
)

// An application with users tells somebody else's server of them. The receiver verifies what comes with a library of Standard
// Webhooks.
func Example() {
	heard := make(chan string, 1)
	var secret string
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		wh, err := standardwebhooks.NewWebhook(secret)
		if err == nil {
			err = wh.Verify(body, r.Header)
		}
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		heard <- fmt.Sprint("an event has come, and is ours: ", len(body) > 0)
	}))
	defer shop.Close()

	users, webhooks, end := withWebhooks()
	defer end()
	ctx := context.Background()
	_, made, err := webhooks.CreateEndpoint(ctx, webhook.EndpointDraft{URL: shop.URL, Topics: []string{"user.created"}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("the secret, printed:", made)
	secret = made.Reveal()

	if _, err := users.CreateUsers(ctx, user.Draft{Email: "ada@example.com"}); err != nil {
		log.Fatal(err)
	}
	fmt.Println(<-heard)
	// Output:
	// the secret, printed: whsec_…
	// an event has come, and is ours: true
}

// withWebhooks is an application that has users and webhooks.
func withWebhooks() (users *user.Service, webhooks *webhook.Service, end func()) {
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
				return db, db.Migrate(context.Background(), user.Migrations(), outbox.Migrations(), webhook.Migrations())
			},
			func() (*keyring.Ring, error) { return keyring.New([]byte("at least 32 bytes that nobody knows")) },
		),
		fx.Invoke(func(lc fx.Lifecycle, db *database.DB) { lc.Append(fx.StopHook(db.Close)) }), // after all that follow have stopped
		fx.Supply(webhook.Options{PrivateAddresses: true}),                                     // the shop is on this machine
		user.Module, outbox.Module, outbox.Deliver, webhook.Module, webhook.Run,
		fx.Populate(&users, &webhooks),
	)
	if err := app.Start(context.Background()); err != nil {
		log.Fatal(err)
	}
	return users, webhooks, func() {
		_ = app.Stop(context.Background())
		_ = os.RemoveAll(dir)
	}
}
