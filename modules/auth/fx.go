package auth

import (
	"context"
	"embed"
	"io/fs"
	"log/slog"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// Module gives an fx application a *Service, the *Passwords that password providers share, and the *Custody of the keys,
// which is open from start to stop, and the *Mailings that providers have who prove by mail. It needs a *database.DB that was migrated with Migrations, and a *keyring.Ring.
// Providers come by AsProvider, and from the Settings by AsProviderType. A *keyring.Ring by the name "peppers" is the list of peppers, if there is to be one.
var Module = fx.Module("auth", fx.Provide(newInCustody, NewPasswords, NewMailings, NewCustody,
	fx.Annotate(makeTyped, fx.ParamTags(`optional:"true"`, `group:"auth.provider_types"`), fx.ResultTags(`group:"auth.providers,flatten"`))))

// newInCustody is New for an application that starts and stops.
func newInCustody(lc fx.Lifecycle, p Params, c *Custody) (*Service, error) {
	s, err := New(p)
	if err != nil {
		return nil, err
	}
	run, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	lc.Append(fx.Hook{
		OnStart: func(ctx context.Context) error {
			if err := c.openOnce(ctx); err != nil {
				return err
			}
			go func() {
				defer close(ended)
				c.Run(run)
			}()
			return nil
		},
		OnStop: func(ctx context.Context) error {
			stop()
			select {
			case <-ended:
			case <-ctx.Done():
			}
			return nil
		},
	})
	return s, nil
}

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
	Peppers  *keyring.Ring   `name:"peppers" optional:"true"` // nil: peppers derive from Keys, or are kept by Custody
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

// CustodyParams is what NewCustody needs. Without fx it is an ordinary struct.
type CustodyParams struct {
	fx.In

	DB        *database.DB
	Keys      *keyring.Ring
	Peppers   *keyring.Ring `name:"peppers" optional:"true"` // the same as the passwords have
	Passwords *Passwords
	Log       *slog.Logger `optional:"true"` // nil: slog.Default
}

// AsProvider turns a provider's constructor into one that fx feeds to this module:
//
//	fx.Provide(auth.AsProvider(card.New))
func AsProvider(constructor any) any {
	return fx.Annotate(constructor, fx.As(new(Provider)), fx.ResultTags(`group:"auth.providers"`))
}

// AsProviderType turns the constructor of a ProviderType into one that fx feeds to this module, which makes a provider of it
// for each section that names it:
//
//	fx.Provide(auth.AsProviderType(ldap.Type))
func AsProviderType(constructor any) any {
	return fx.Annotate(constructor, fx.ResultTags(`group:"auth.provider_types"`))
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
