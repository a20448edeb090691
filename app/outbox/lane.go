package outbox

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// lane is what is delivered to the consumers of one name. It shares nothing with other lanes, so that a consumer that is slow
// or fails is nobody else's trouble.
type lane struct {
	outbox    *Outbox
	name      string
	consumers []Consumer
	wake      chan struct{}

	mu   sync.Mutex
	busy map[stream]*work // what is being handled here
	slow map[string]bool  // the targets whose last event took long

	warned  map[string]time.Time // when it was last said that a target fails
	failing map[string]*trouble  // the targets that have taken nothing since they failed
}

// work is a stream that is being handled.
type work struct {
	rows  []claimedRow // that are not done yet, the first of which is being handled
	since time.Time    // that one
}

// stream is what is handled in order: the events of one aggregate, for one target.
type stream struct{ target, aggregate string }

func (l *lane) add(c Consumer) error {
	for _, other := range l.consumers {
		if len(c.topics) == 0 || len(other.topics) == 0 || slices.ContainsFunc(c.topics, other.hears) {
			return fmt.Errorf("outbox: two consumers of %s are called %q", names(slices.Concat(c.topics, other.topics)), c.name)
		}
	}
	l.consumers = append(l.consumers, c)
	return nil
}

// topics are those that the lane hears; none: every one.
func (l *lane) topics() (topics []string) {
	for _, c := range l.consumers {
		topics = append(topics, c.topics...)
	}
	return topics
}

// query is what the lane asks for: its own events, but for the streams that are at work here, even if their lease has ended (a
// consumer that hangs would hang once more, until all workers do), and for targets that have enough of the workers.
func (l *lane) query(now time.Time) query {
	q := query{consumer: l.name, topics: l.topics(), now: now}
	if l.consumers[0].targets {
		c := l.crowd()
		for target, n := range c.of {
			if n >= targetWorkers && !c.slow[target] {
				q.butTargets = append(q.butTargets, target)
			}
		}
		for target := range c.slow {
			if c.atSlow >= slowWorkers || c.of[target] >= targetWorkers {
				q.butTargets = append(q.butTargets, target)
			}
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	for target, t := range l.failing {
		if time.Now().Before(t.until) {
			q.butTargets = append(q.butTargets, target)
		}
	}
	q.but = slices.Collect(maps.Keys(l.busy))
	return q
}

// at says which rows of a stream are not done yet.
func (l *lane) at(rows []claimedRow) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.busy == nil {
		l.busy = map[stream]*work{}
	}
	l.busy[rows[0].stream()] = &work{rows, time.Now()}
}

func (l *lane) end(s stream) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.busy, s)
}

// atWork is how many streams are.
func (l *lane) atWork() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.busy)
}

func (l *lane) rouse() {
	select {
	case l.wake <- struct{}{}:
	default: // it will look anyway
	}
}

// run delivers until ctx ends, and returns when the consumers that are at work have finished.
func (l *lane) run(ctx context.Context) {
	outcomes := make(chan outcome)
	var closing, busy sync.WaitGroup
	background, stop := context.WithCancel(context.WithoutCancel(ctx))
	closing.Go(func() { l.close(background, outcomes) })
	closing.Go(func() { l.keep(background) })
	defer closing.Wait()
	defer stop()
	defer close(outcomes)
	defer busy.Wait()
	for ctx.Err() == nil {
		claimed, err := l.claim(ctx)
		if err != nil && ctx.Err() == nil {
			l.outbox.log.Error("look for events to deliver", "consumer", l.name, "error", err)
		}
		for _, rows := range claimed {
			l.at(rows)
			busy.Go(func() {
				l.deliver(ctx, rows, outcomes)
				l.end(rows[0].stream())
				l.rouse() // a worker is free, and the next events of the stream may go
			})
		}
		switch {
		case err != nil, l.atWork() >= workers:
			l.sleep(ctx, l.outbox.poll)
		case len(claimed) == 0:
			l.sleep(ctx, l.idle(ctx))
		}
		for end := time.Now().Add(linger); l.atWork() > workers/2 && time.Now().Before(end); { // several at once cost little more than one
			l.sleep(ctx, time.Until(end))
		}
	}
}

// idle is how long there will be nothing to do unless something is recorded here: until the next delivery is due, or
// another node may have recorded something.
func (l *lane) idle(ctx context.Context) time.Duration {
	next, ok, err := l.outbox.store.next(ctx, l.query(l.outbox.now()))
	if err != nil || !ok {
		return l.outbox.poll
	}
	return min(l.outbox.poll, max(next.Sub(l.outbox.now()), 10*time.Millisecond))
}

// sleep waits so long, or until something is recorded or a consumer is done.
func (l *lane) sleep(ctx context.Context, wait time.Duration) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-l.wake:
	case <-timer.C:
	case <-ctx.Done():
	}
}

// claim takes what can be delivered now, for as long as the lease: of each stream its earliest events, in order.
func (l *lane) claim(ctx context.Context) (claimed [][]claimedRow, err error) {
	free := workers - l.atWork()
	if free <= 0 {
		return nil, nil
	}
	q := l.query(l.outbox.now())
	heads, err := l.outbox.store.heads(ctx, q, free) // outside the transaction: spares the writer of an idle SQLite
	if heads = l.share(heads); err != nil || len(heads) == 0 {
		return nil, err
	}
	err = l.outbox.db.InTx(ctx, func(ctx context.Context) (err error) {
		claimed, err = l.outbox.store.claim(ctx, q, heads, l.outbox.now().Add(l.outbox.lease)) // now: there may have been a queue
		return err
	})
	return claimed, err
}

// outcome is what came of a delivery, and who waits for it to be recorded.
type outcome struct {
	row     claimedRow
	rest    []claimedRow // of the stream, which are given back
	skipped bool         // the row is among them
	failure string       // empty: none
	dead    bool         // there is no further attempt
	done    chan<- error
}

// keep renews the leases of what is being handled, until ctx ends: so a lease can be short, and who died is soon noticed. What takes
// longer than it may is left to others.
func (l *lane) keep(ctx context.Context) {
	tick := time.NewTicker(l.outbox.lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		var rows []claimedRow
		l.mu.Lock()
		for _, w := range l.busy {
			if time.Since(w.since) < HandleTime && w.rows[0].until.Sub(l.outbox.now()) < l.outbox.lease*2/3 {
				rows = append(rows, w.rows...)
			}
		}
		l.mu.Unlock()
		if len(rows) == 0 {
			continue
		}
		err := l.outbox.db.InTx(ctx, func(ctx context.Context) error {
			return l.outbox.store.renew(ctx, rows, l.outbox.now().Add(l.outbox.lease))
		})
		if err != nil && ctx.Err() == nil {
			l.outbox.log.Error("renew the leases of events", "consumer", l.name, "error", err)
		}
	}
}

// errLost says that the lease had ended, and somebody else has the delivery now.
var errLost = errors.New("the lease had ended: another node has it now")

// deliver hands the events of a stream to their consumer, one after the other, and has it recorded what came of each before
// it goes on to the next. After a failure, a stop, or when it has taken long, it gives back the rest.
func (l *lane) deliver(ctx context.Context, rows []claimedRow, outcomes chan<- outcome) {
	done, began := make(chan error), time.Now()
	for i, c := range rows {
		l.at(rows[i:])
		o := outcome{row: c, rest: rows[i+1:], done: done}
		log := l.outbox.log.With("event", c.ID, "topic", c.Topic, "consumer", c.Consumer, "attempt", c.Attempts)
		if c.Target != "" {
			log = log.With("target", c.Target)
		}
		if i > 0 && (ctx.Err() != nil || time.Since(began) > HandleTime) {
			o.rest, o.skipped = rows[i:], true
		} else if c.tries() > l.outbox.options.MaxAttempts { // whoever begins it is not heard of again: maybe it is what stops them
			o.failure, o.dead = "the attempts before ended without a word", true
		} else if err := l.handle(context.WithoutCancel(ctx), c); err != nil {
			o.failure = speak(err)
			o.dead = isPermanent(err) || c.tries() >= l.outbox.options.MaxAttempts
			if c.Target != "" && !isPermanent(err) {
				l.tell(c.Target, c.Aggregate, false)
			}
		} else if c.Target != "" {
			l.tell(c.Target, c.Aggregate, true)
		}
		outcomes <- o
		err := <-done
		switch {
		case errors.Is(err, errLost):
			log.Warn("an event was handled whose delivery is gone: it was dropped meanwhile, or its lease had ended and another node may have handled it, too")
			return
		case err != nil:
			log.Error("record a delivery", "error", err)
			return
		case o.skipped:
			return
		case o.dead:
			log.Error("an event was not handled and is a dead letter: 'server events list' shows it, and 'server events retry' has it tried again", "error", o.failure)
			return
		case o.failure != "":
			level := slog.LevelWarn
			if c.Target != "" && !l.warns(c.Target) {
				level = slog.LevelDebug
			}
			log.Log(ctx, level, "an event was not handled and will be tried again", "in", backoff(c.tries()).String(), "error", o.failure)
			return
		default:
			log.Debug("delivered")
		}
	}
}

// close records outcomes, those that have come about meanwhile in one transaction, until there are no more.
func (l *lane) close(ctx context.Context, outcomes <-chan outcome) {
	for first := range outcomes {
		batch := []outcome{first}
	collect:
		for len(batch) < workers {
			select {
			case o, open := <-outcomes:
				if !open {
					break collect
				}
				batch = append(batch, o)
			default:
				break collect
			}
		}
		var lost []bool
		err := l.outbox.db.InTx(ctx, func(ctx context.Context) (err error) {
			lost, err = l.record(ctx, batch)
			return err
		})
		for i, o := range batch {
			if err == nil && lost[i] {
				o.done <- errLost
			} else {
				o.done <- err
			}
		}
	}
}

// record also says of which the lease was lost.
func (l *lane) record(ctx context.Context, batch []outcome) (lost []bool, err error) {
	var handled []claimedRow
	for _, o := range batch {
		if !o.skipped && o.failure == "" {
			handled = append(handled, o.row)
		}
	}
	done, err := l.outbox.store.done(ctx, handled)
	if err != nil {
		return nil, err
	}
	lost = make([]bool, len(batch))
	now := l.outbox.now()
	for i, o := range batch {
		if !o.skipped && o.failure == "" {
			if lost[i] = !slices.Contains(done, key{o.row.EventSeq, o.row.Target}); !lost[i] {
				continue // to the rest
			}
		}
		err := l.outbox.store.giveBack(ctx, o.rest, now)
		switch {
		case err != nil:
		case o.dead:
			err = l.outbox.store.dead(ctx, o.row, now, o.failure)
		case o.failure != "":
			err = l.outbox.store.failed(ctx, o.row, now.Add(backoff(o.row.tries())), o.failure)
		}
		if err != nil {
			return nil, err
		}
	}
	return lost, nil
}

// errGone is the failure of a consumer that called runtime.Goexit.
var errGone = errors.New("the consumer ended its goroutine")

// handle calls the consumer, in a goroutine of its own, which it may even end (runtime.Goexit). A panic is a failure.
func (l *lane) handle(ctx context.Context, c claimedRow) (err error) {
	i := slices.IndexFunc(l.consumers, func(consumer Consumer) bool { return consumer.hears(c.Topic) }) // claimed for it, so it is there
	ctx, cancel := context.WithTimeout(ctx, HandleTime)
	defer cancel()
	ended := make(chan struct{})
	err = errGone
	began := time.Now()
	go func() {
		defer close(ended)
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("panic: %v", p)
				l.outbox.log.Error("panic in a consumer", "event", c.ID, "consumer", c.Consumer, "panic", p, "stack", string(debug.Stack()))
			}
		}()
		err = l.consumers[i].handle(ctx, c.delivery(), c.Payload)
	}()
	<-ended
	if c.Target != "" {
		l.took(c.Target, time.Since(began))
	}
	return err
}

// speak is what an error says, which may panic when it is asked.
func speak(err error) (text string) {
	defer func() {
		if p := recover(); p != nil {
			text = fmt.Sprintf("an error that cannot say what it is: %v", p)
		}
	}()
	return cmp.Or(err.Error(), "an error without a text")
}

func isPermanent(err error) (is bool) {
	defer func() { _ = recover() }() // an error may have an Unwrap, or Is, that panics
	var p *permanent
	return errors.As(err, &p)
}

// backoff is how long to wait after so many attempts: a second, two, four… at most maxWait.
func backoff(attempts int) time.Duration {
	if attempts > 10 {
		return maxWait
	}
	return min(time.Second<<max(0, attempts-1), maxWait)
}
