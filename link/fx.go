package link

import (
	"embed"
	"io/fs"
	"log/slog"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Module gives an fx application a *Service. It needs what user.Module and auth.Module give, and a *database.DB that was
// migrated with Migrations. Actor types of the application come by AsActor.
var Module = fx.Module("link", fx.Provide(New))

// Params is what New needs. Without fx it is an ordinary struct.
type Params struct {
	fx.In

	DB      *database.DB
	Users   *user.Service
	Auth    *auth.Service
	Actors  []Actors      `group:"link.actors"` // the application's own actor types, beside users
	Options Options       `optional:"true"`
	Events  event.Emitter `optional:"true"` // nil: nobody listens
	Log     *slog.Logger  `optional:"true"` // nil: slog.Default
}

// AsActor turns a constructor of an Actors into one that fx feeds to this module:
//
//	fx.Provide(link.AsActor(shop.NewCustomers))
//
// The service needs the actors to be made, so they cannot need the service; a *database.DB they can.
func AsActor(constructor any) any {
	return fx.Annotate(constructor, fx.As(new(Actors)), fx.ResultTags(`group:"link.actors"`))
}

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are this package's tables, for database.Migrate.
func Migrations() database.Migrations {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the directory is compiled in
	}
	return database.Migrations{Module: "link", FS: dir}
}
