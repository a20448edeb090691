package user

import (
	"embed"
	"io/fs"
	"log/slog"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// Module gives an fx application a *Service. It needs a *database.DB that was migrated with Migrations, and a *keyring.Ring.
var Module = fx.Module("user", fx.Provide(New))

// Params is what New needs. Without fx it is an ordinary struct.
type Params struct {
	fx.In

	DB      *database.DB
	Keys    *keyring.Ring
	Options Options       `optional:"true"`
	Hooks   []Hook        `group:"user.hooks"` // see AsHook
	Events  event.Emitter `optional:"true"`    // nil: nobody listens
	Log     *slog.Logger  `optional:"true"`    // nil: slog.Default
}

// AsHook turns a Hook's constructor into one that fx feeds to this module:
//
//	fx.Provide(user.AsHook(profiles.Hook))
//
// A Hook that is provided without it is one that nobody asks for: it is never called.
//
// The service needs the hooks to be made, so they cannot need the service; a *database.DB they can.
func AsHook(constructor any) any {
	return fx.Annotate(constructor, fx.ResultTags(`group:"user.hooks"`))
}

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are this module's tables, for database.Migrate.
func Migrations() database.Migrations {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the directory is compiled in
	}
	return database.Migrations{Module: "user", FS: dir}
}
