package webhook

import (
	"context"
	"embed"
	"io/fs"
	"log/slog"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// Module gives an fx application a *Service, whose consumer it adds to the outbox of outbox.Module. What outbox.Deliver delivers
// is sent; Run goes beside it.
var Module = fx.Module("webhook",
	fx.Provide(New),
	fx.Invoke(func(o *outbox.Outbox, s *Service) error { return o.Register(s.Consumer()) }),
)

// Run has the secrets follow the master secrets from start to stop. A program that does not deliver leaves it out.
var Run = fx.Invoke(run)

func run(lc fx.Lifecycle, s *Service) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	lc.Append(fx.Hook{
		OnStart: func(context.Context) error {
			go func() {
				defer close(ended)
				s.Run(ctx)
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
}

// Params is what New needs. Without fx it is an ordinary struct.
type Params struct {
	fx.In

	DB      *database.DB
	Keys    *keyring.Ring
	Outbox  *outbox.Outbox
	Audit   *audit.Trail `optional:"true"` // nil: nobody keeps one
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
	return database.Migrations{Module: "webhook", FS: dir}
}
