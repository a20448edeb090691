package purge

import (
	"context"
	"log/slog"

	"go.uber.org/fx"
)

// Module gives an fx application a *Purger of the jobs that come by AsJob and AsJobs. Run has it purge.
var Module = fx.Module("purge", fx.Provide(New))

// Run purges from start to stop. A program that only does so when it is told to leaves it out.
var Run = fx.Invoke(run)

func run(lc fx.Lifecycle, p *Purger) {
	ctx, stop := context.WithCancel(context.Background())
	ended := make(chan struct{})
	lc.Append(fx.Hook{
		OnStart: func(context.Context) error {
			go func() {
				defer close(ended)
				p.Run(ctx)
			}()
			return nil
		},
		OnStop: func(ctx context.Context) error {
			stop() // which rolls back what is going on
			select {
			case <-ended:
			case <-ctx.Done():
			}
			return nil
		},
	})
}

// AsJob turns a function that returns a Job into one that fx feeds to Module:
//
//	fx.Provide(purge.AsJob(func(p *profiles) purge.Job { return purge.Job{Name: "drafts", Purge: p.PurgeDrafts} }))
func AsJob(constructor any) any { return fx.Annotate(constructor, fx.ResultTags(`group:"purge.jobs"`)) }

// AsJobs is AsJob for a function that returns several.
func AsJobs(constructor any) any {
	return fx.Annotate(constructor, fx.ResultTags(`group:"purge.jobs,flatten"`))
}

// Params is what New needs. Without fx it is an ordinary struct.
type Params struct {
	fx.In

	Jobs    []Job        `group:"purge.jobs"`
	Options Options      `optional:"true"`
	Log     *slog.Logger `optional:"true"` // nil: slog.Default
}
