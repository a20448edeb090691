// Shop is a program of one's own that is made of Latchkey: its people are users, as everywhere, and customers, which the
// shop keeps in a table of its own. Both sign in by the same identity, a customer becomes one on their first sign-in, and the
// shop's routes know who calls.
//
//	customers.go   the actor type customer: link.Actors over the table
//	store.go       the shop's routes, for customers alone
//	main.go        what the program is made of
//
//	go run ./examples/shop
//
//	curl -H 'Content-Type: application/json' -d '{"email":"ada@example.com","password":"correct horse"}' \
//	     http://127.0.0.1:9000/auth/customer/emailpass/register
//	curl -H 'Content-Type: application/json' -d '{"email":"ada@example.com","password":"correct horse"}' \
//	     http://127.0.0.1:9000/auth/customer/emailpass
//	curl -H "Authorization: Bearer $TOKEN" http://127.0.0.1:9000/store/customers/me
//
// TOKEN is what the second of them answered; the token of the first speaks for nobody yet.
package main

import (
	"embed"
	"io/fs"
	"os"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

func main() { os.Exit(app.Main(os.Args[1:], options()...)) }

// options are what the shop adds to the server.
func options() []fx.Option {
	return []fx.Option{
		app.WithMigrations(tables()),
		fx.Provide(newCustomers, link.AsActor(func(c *customers) *customers { return c })),
		app.WithHandler("/store/", newStore),
	}
}

//go:embed migrations/*.sql
var migrations embed.FS

func tables() database.Migrations {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the directory is compiled in
	}
	return database.Migrations{Module: "shop", FS: dir}
}
