package outbox

import (
	"context"
	"errors"
	"sync"
	"time"
)

// HandleTime is how long a consumer may take for one event.
const HandleTime = 10 * time.Second

const (
	leaseTime     = 5 * time.Second      // of who is not heard of any more: then another node, or the next start, takes over
	pollTime      = 2 * time.Second      // how soon events of other nodes and of the command line are noticed
	workers       = 16                   // of one name at once
	targetWorkers = 4                    // of one target at once
	slowWorkers   = workers / 2          // of all targets together that are slow
	slowTime      = time.Second          // after which a target is
	linger        = 5 * time.Millisecond // how long a free worker waits for others to be free, too
	maxPause      = time.Minute          // of a target that fails with whatever it is sent
	clockTime     = 30 * time.Second     // how often the clock is compared with the database's
	maxWait       = 10 * time.Minute     // between two attempts
)

// Run delivers until ctx ends. Then it takes no more, and returns when the consumers that are at work have finished; what
// they do not finish by their own deadline is tried again at the next start. Only one Run at a time does anything.
func (o *Outbox) Run(ctx context.Context) {
	o.running.Lock()
	defer o.running.Unlock()
	prepare := func() error { return errors.Join(o.enrol(ctx), o.setClock(ctx)) }
	for err := prepare(); err != nil && ctx.Err() == nil; err = prepare() {
		o.log.Error("prepare to deliver events", "error", err)
		select {
		case <-time.After(o.poll):
		case <-ctx.Done():
		}
	}
	if len(o.lanes) == 0 { // what is pending is for programs that have its consumers
		<-ctx.Done()
		return
	}
	var all sync.WaitGroup
	all.Go(func() { o.keepClock(ctx) })
	for _, l := range o.lanes {
		all.Go(func() { l.run(ctx) })
	}
	<-ctx.Done()
	all.Wait()
}

// keepClock compares the clocks now and then.
func (o *Outbox) keepClock(ctx context.Context) {
	tick := time.NewTicker(clockTime)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := o.setClock(ctx); err != nil && ctx.Err() == nil {
			o.log.Error("compare the clocks", "error", err)
		}
	}
}
