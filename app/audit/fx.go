package audit

import (
	"embed"
	"io/fs"
	"log/slog"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// Module gives an fx application a *Trail, which the front ends use if it is there. By Feed the trail hears the modules.
var Module = fx.Module("audit", fx.Provide(New))

// Feed puts the trail before the event.Emitter that the application has, such as the outbox. It goes beside Module, not into
// a module of the application's own: a decorator counts for the scope it stands in. An application without an Emitter
// provides the trail as one instead.
var Feed = fx.Decorate(func(next event.Emitter, t *Trail) event.Emitter { return t.Before(next) })

// Params is what New needs. Without fx it is an ordinary struct.
type Params struct {
	fx.In

	DB      *database.DB
	Keys    *keyring.Ring
	Options Options      `optional:"true"`
	Log     *slog.Logger `optional:"true"` // nil: slog.Default
}

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are this package's tables, for database.Migrate.
func Migrations() database.Migrations {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the directory is compiled in
	}
	return database.Migrations{Module: "audit", FS: dir}
}
