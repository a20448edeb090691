package outbox

import (
	"context"
	"embed"
	"io/fs"
	"log/slog"
	"time"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
)

// Module gives an fx application an *Outbox, which is the event.Emitter of the modules, with the consumers that come by
// AsConsumer. It records; Deliver has it deliver, too.
var Module = fx.Module("outbox",
	fx.Provide(New, func(o *Outbox) event.Emitter { return o }),
	fx.Invoke(fx.Annotate(func(o *Outbox, consumers []Consumer) error { return o.Register(consumers...) },
		fx.ParamTags(``, `group:"outbox.consumers"`))),
)

// Deliver runs the outbox of Module from start to stop. A program that only records, such as a command, leaves it out.
var Deliver = fx.Invoke(deliver)

// stopTime is how long stopping waits for consumers at work; what they do not finish is tried again at the next start.
const stopTime = 5 * time.Second

func deliver(lc fx.Lifecycle, o *Outbox) {
	run, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	lc.Append(fx.Hook{
		OnStart: func(ctx context.Context) error {
			if err := o.enrol(ctx); err != nil { // before anything happens that it is to be told
				return err
			}
			go func() {
				defer close(ended)
				o.Run(run)
			}()
			return nil
		},
		OnStop: func(ctx context.Context) error {
			stop()
			ctx, cancel := context.WithTimeout(ctx, stopTime)
			defer cancel()
			select {
			case <-ended:
			case <-ctx.Done():
			}
			return nil
		},
	})
}

// AsConsumer turns a function that returns a Consumer into one that fx feeds to Module:
//
//	fx.Provide(outbox.AsConsumer(newWelcome))
func AsConsumer(constructor any) any {
	return fx.Annotate(constructor, fx.ResultTags(`group:"outbox.consumers"`))
}

// Params is what New needs. Without fx it is an ordinary struct.
type Params struct {
	fx.In

	DB      *database.DB
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
	return database.Migrations{Module: "outbox", FS: dir}
}
