package auth

import (
	"embed"
	"io/fs"
	"log/slog"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// Module gives an fx application a *Service and the *Passwords that password providers share. It needs a *database.DB
// that was migrated with Migrations, and a *keyring.Ring. Providers come by AsProvider.
var Module = fx.Module("auth", fx.Provide(New, NewPasswords))

// Params is what New needs. Without fx it is an ordinary struct.
type Params struct {
	fx.In

	DB        *database.DB
	Keys      *keyring.Ring
	Providers []Provider    `group:"auth.providers"`
	Settings  Settings      `optional:"true"` // the providers' own; New fails for a section without a provider
	Options   Options       `optional:"true"`
	Events    event.Emitter `optional:"true"` // nil: nobody listens
	Log       *slog.Logger  `optional:"true"` // nil: slog.Default
}

// PasswordParams is what NewPasswords needs. Without fx it is an ordinary struct.
type PasswordParams struct {
	fx.In

	Keys     *keyring.Ring
	Options  PasswordOptions `optional:"true"`
	Breaches BreachChecker   `optional:"true"` // asked if Options.Breach says so
	Log      *slog.Logger    `optional:"true"` // nil: slog.Default
}

// AsBreachChecker turns a constructor into one that fx feeds to this module as the BreachChecker:
//
//	fx.Provide(auth.AsBreachChecker(bloom.Open))
func AsBreachChecker(constructor any) any {
	return fx.Annotate(constructor, fx.As(new(BreachChecker)))
}

// AsProvider turns a provider's constructor into one that fx feeds to this module:
//
//	fx.Provide(auth.AsProvider(card.New))
func AsProvider(constructor any) any {
	return fx.Annotate(constructor, fx.As(new(Provider)), fx.ResultTags(`group:"auth.providers"`))
}

//go:embed migrations/*.sql
var migrations embed.FS

// Migrations are this module's tables, for database.Migrate.
func Migrations() database.Migrations {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		panic(err) // the directory is compiled in
	}
	return database.Migrations{Module: "auth", FS: dir}
}
