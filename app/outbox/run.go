package outbox

import (
	"cmp"
	"context"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// HandleTime is how long a consumer may take for one event.
const HandleTime = 10 * time.Second

const (
	leaseTime = HandleTime + 5*time.Second // after which another node, or the next start, takes over
	pollTime  = 2 * time.Second            // how soon events of other nodes and of the command line are noticed
	workers   = 8                          // consumers at work at once
	maxWait   = 10 * time.Minute           // between two attempts
)

// Run delivers until ctx ends. Then it takes no more, and returns when the consumers that are at work have finished; what
// they do not finish by their own deadline is tried again at the next start. Only one Run at a time does anything.
func (o *Outbox) Run(ctx context.Context) {
	o.running.Lock()
	defer o.running.Unlock()
	if len(o.consumers) == 0 { // what is pending is for programs that have its consumers
		<-ctx.Done()
		return
	}
	var busy sync.WaitGroup
	defer busy.Wait()
	slots := make(chan struct{}, workers)
	var working atWork
	for ctx.Err() == nil {
		free := cap(slots) - len(slots) // only this goroutine fills them
		here := working.list()
		claimed, err := o.claim(ctx, here, free)
		if err != nil && ctx.Err() == nil {
			o.log.Error("look for events to deliver", "error", err)
		}
		for _, c := range claimed {
			slots <- struct{}{}
			working.add(c)
			busy.Go(func() {
				o.deliver(context.WithoutCancel(ctx), c)
				working.remove(c)
				<-slots
				o.rouse() // a slot is free, and the next event of the aggregate may go
			})
		}
		switch {
		case err != nil, len(slots) == cap(slots):
			o.sleep(ctx, o.poll)
		case len(claimed) == 0:
			o.sleep(ctx, o.idle(ctx, here))
		}
	}
}

// atWork are the deliveries that consumers here are at. The zero value is ready.
type atWork struct {
	mu   sync.Mutex
	rows []claimedRow
}

func (w *atWork) list() []claimedRow {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.rows)
}

func (w *atWork) add(c claimedRow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rows = append(w.rows, c)
}

func (w *atWork) remove(c claimedRow) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.rows = slices.DeleteFunc(w.rows, func(r claimedRow) bool { return r.EventSeq == c.EventSeq && r.Consumer == c.Consumer })
}

// idle is how long there will be nothing to do unless something is recorded here: until the next delivery is due, or
// another node may have recorded something.
func (o *Outbox) idle(ctx context.Context, here []claimedRow) time.Duration {
	next, ok, err := o.store.next(ctx, o.consumers, here)
	if err != nil || !ok {
		return o.poll
	}
	return min(o.poll, max(time.Until(next), 10*time.Millisecond))
}

// sleep waits so long, or until something is recorded or a consumer is done.
func (o *Outbox) sleep(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-o.wake:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// claim takes what can be delivered now, for as long as the lease. What is at work here is not taken, even if its lease has
// ended: a consumer that hangs would hang once more, until all workers do.
func (o *Outbox) claim(ctx context.Context, here []claimedRow, most int) (claimed []claimedRow, err error) {
	if most == 0 {
		return nil, nil
	}
	now := database.Now()
	if due, err := o.store.anyDue(ctx, o.consumers, here, now); err != nil || !due { // spares the writer of an idle SQLite
		return nil, err
	}
	err = o.db.InTx(ctx, func(ctx context.Context) (err error) {
		claimed, err = o.store.claim(ctx, o.consumers, here, now, now.Add(o.lease), most)
		return err
	})
	return claimed, err
}

// deliver hands an event to its consumer and records what came of it.
func (o *Outbox) deliver(ctx context.Context, c claimedRow) {
	log := o.log.With("event", c.ID, "topic", c.Topic, "consumer", c.Consumer, "attempt", c.Attempts)
	failure := o.handle(ctx, c)
	err := o.db.InTx(ctx, func(ctx context.Context) error {
		if failure == "" {
			return o.store.done(ctx, c)
		}
		return o.store.failed(ctx, c, database.Now().Add(backoff(c.Attempts)), failure)
	})
	switch {
	case err != nil:
		log.Error("record a delivery", "error", err)
	case failure != "":
		log.Warn("an event was not handled and will be tried again", "in", backoff(c.Attempts), "error", failure)
	default:
		log.Debug("delivered")
	}
}

// handle calls the consumer and says what went wrong; "" is nothing. The consumer has a goroutine of its own, which it may
// even end (runtime.Goexit). A panic is a failure, and so is an error that panics when it is asked what it is.
func (o *Outbox) handle(ctx context.Context, c claimedRow) (failure string) {
	consumer := o.consumer(c.Consumer, c.Topic) // claimed for it, so it is there
	ctx, cancel := context.WithTimeout(ctx, HandleTime)
	defer cancel()
	ended := make(chan struct{})
	failure = "the consumer ended its goroutine"
	go func() {
		defer close(ended)
		defer func() {
			if p := recover(); p != nil {
				failure = fmt.Sprintf("panic: %v", p)
				o.log.Error("panic in a consumer", "event", c.ID, "consumer", c.Consumer, "panic", p, "stack", string(debug.Stack()))
			}
		}()
		err := consumer.handle(ctx, c.delivery(), c.Payload)
		if failure = ""; err != nil {
			failure = cmp.Or(err.Error(), "an error without a text")
		}
	}()
	<-ended
	return failure
}

// backoff is how long to wait after so many attempts: a second, two, four… at most maxWait.
func backoff(attempts int) time.Duration {
	if attempts > 10 {
		return maxWait
	}
	return min(time.Second<<max(0, attempts-1), maxWait)
}
