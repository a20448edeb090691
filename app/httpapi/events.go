package httpapi

import (
	"context"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

// waitingAttributes are what a delivery shows that was not made yet, or never will be. What the event says is not shown: it is for
// its consumers.
var waitingAttributes = []attribute[outbox.Waiting]{
	{"id", false, func(w outbox.Waiting) any { return w.ID }},
	{"topic", false, func(w outbox.Waiting) any { return w.Topic }},
	{"aggregate", false, func(w outbox.Waiting) any { return w.Aggregate }},
	{"recorded_at", false, func(w outbox.Waiting) any { return stamp(w.At) }},
	{"consumer", false, func(w outbox.Waiting) any { return w.Consumer }},
	{"target", false, func(w outbox.Waiting) any { return text(w.Target) }},
	{"attempts", false, func(w outbox.Waiting) any { return w.Attempts }},
	{"error", false, func(w outbox.Waiting) any { return text(w.Error) }},
	{"state", false, func(w outbox.Waiting) any { return w.State }},
	{"next_at", false, func(w outbox.Waiting) any { return stamp(w.Next) }},
	{"dead_at", false, func(w outbox.Waiting) any { return stamp(w.Dead) }},
}

// consumerAttributes are what a consumer of events shows.
var consumerAttributes = []attribute[outbox.Enrolled]{
	{"name", false, func(e outbox.Enrolled) any { return e.Name }},
	{"target", false, func(e outbox.Enrolled) any { return text(e.Target) }},
	{"topics", false, func(e outbox.Enrolled) any { return append([]string{}, e.Topics...) }},
	{"since", false, func(e outbox.Enrolled) any { return stamp(e.Since) }},
	{"waiting", false, func(e outbox.Enrolled) any { return e.Waiting }},
	{"dead", false, func(e outbox.Enrolled) any { return e.Dead }},
	{"oldest_at", false, func(e outbox.Enrolled) any { return stamp(e.Oldest) }},
}

// waitingFilters are the parameters that say which deliveries a list holds, beside dead.
var waitingFilters = filters[outbox.Filter]{
	"id":       some(func(f *outbox.Filter) *string { return &f.ID }),
	"consumer": some(func(f *outbox.Filter) *string { return &f.Consumer }),
	"target":   some(func(f *outbox.Filter) *string { return &f.Target }),
	"topic":    some(func(f *outbox.Filter) *string { return &f.Topic }),
}

type waitingAnswer struct {
	Deliveries []object `json:"deliveries"`
	Count      int      `json:"count"`
	Offset     int      `json:"offset"`
	Limit      int      `json:"limit"`
}

type consumersAnswer struct {
	Consumers []object `json:"consumers"`
}

type retriedAnswer struct {
	Count   int    `json:"count"`
	Object  string `json:"object"`
	Retried bool   `json:"retried"`
}

var errNoEvents = fault.New(fault.NotFound, "no_events", "No events are kept here.")

// listEvents lists what is to be delivered, and what was given up, the oldest first.
func (a *API) listEvents(c *call) (waitingAnswer, error) {
	if a.outbox == nil {
		return waitingAnswer{}, errNoEvents
	}
	q, filter, err := readOnly(c, waitingFilters, "dead", "limit", "offset", "fields")
	if err != nil {
		return waitingAnswer{}, err
	}
	page, err := q.page()
	if err == nil && shown(page) == 0 {
		err = errQuery.Msg("Invalid request: limit must be at least 1")
	}
	if err != nil {
		return waitingAnswer{}, err
	}
	if filter.Dead, err = q.truth("dead"); err != nil {
		return waitingAnswer{}, err
	}
	list, total, err := a.outbox.List(c.Context(), filter, page.Offset, page.Limit)
	answer := waitingAnswer{make([]object, len(list)), total, page.Offset, page.Limit}
	attributes := choose(waitingAttributes, q["fields"])
	for i, w := range list {
		answer.Deliveries[i] = show(w, attributes)
	}
	return answer, err
}

func (a *API) listConsumers(c *call) (consumersAnswer, error) {
	if a.outbox == nil {
		return consumersAnswer{}, errNoEvents
	}
	if _, err := readQuery(c); err != nil {
		return consumersAnswer{}, err
	}
	list, err := a.outbox.Consumers(c.Context())
	answer := consumersAnswer{make([]object, len(list))}
	for i, e := range list {
		answer.Consumers[i] = show(e, consumerAttributes)
	}
	return answer, err
}

// whichEvents says which deliveries are meant: those of which everything holds that is given. That all are meant is said by all
// alone: a name that a program has left out must not mean everything.
type whichEvents struct {
	ID       optional[string] `json:"id"`
	Consumer optional[string] `json:"consumer"`
	Target   optional[string] `json:"target"`
	Topic    optional[string] `json:"topic"`
	Dead     optional[bool]   `json:"dead"`
	All      optional[bool]   `json:"all"`
}

func (w whichEvents) filter() (f outbox.Filter, err error) {
	for _, of := range []struct {
		name  string
		given optional[string]
		into  *string
	}{{"id", w.ID, &f.ID}, {"consumer", w.Consumer, &f.Consumer}, {"target", w.Target, &f.Target}, {"topic", w.Topic, &f.Topic}} {
		if !of.given.sent {
			continue
		}
		if *of.into = of.given.or(); *of.into == "" || !database.Storable(*of.into, maxValue) {
			return f, errBody.Msg("Invalid request: '%s' must be text that is not empty, of at most %d bytes", of.name, maxValue)
		}
	}
	f.Dead = w.Dead.or()
	switch none := f == (outbox.Filter{}); {
	case none && !w.All.or():
		return f, errBody.Msg("Invalid request: say which deliveries are meant by id, consumer, target, topic or dead, or that all are by all")
	case !none && w.All.or():
		return f, errBody.Msg("Invalid request: all cannot be given together with id, consumer, target, topic or dead")
	}
	return f, nil
}

func (a *API) retryEvents(c *call, in whichEvents) (retriedAnswer, error) {
	n, err := a.settle(c, in, "events.retry", (*outbox.Outbox).Retry)
	return retriedAnswer{n, "delivery", true}, err
}

func (a *API) discardEvents(c *call, in whichEvents) (endedAnswer, error) {
	n, err := a.settle(c, in, "events.discard", (*outbox.Outbox).Discard)
	return endedAnswer{n, "delivery", true, ""}, err
}

// settle does something to deliveries, says to how many, and has the trail keep it. There being none such is fine: they may have
// been made meanwhile.
func (a *API) settle(c *call, in whichEvents, action string, do func(*outbox.Outbox, context.Context, outbox.Filter) (int, error)) (n int, err error) {
	if a.outbox == nil {
		return 0, errNoEvents
	}
	if _, err := readQuery(c); err != nil {
		return 0, err
	}
	f, err := in.filter()
	if err != nil {
		return 0, err
	}
	err = a.db.InTx(c.Context(), func(ctx context.Context) (err error) {
		if n, err = do(a.outbox, ctx, f); err != nil || n == 0 {
			return err
		}
		details := map[string]any{"deliveries": n}
		for name, value := range map[string]string{"event": f.ID, "consumer": f.Consumer, "target": f.Target, "topic": f.Topic} {
			if value != "" { // there are such deliveries, so it is no text that somebody has just made up
				details[name] = value
			}
		}
		if f.Dead {
			details["dead"] = true
		}
		return a.audit.Record(ctx, audit.Entry{Action: action, Details: details})
	})
	return n, err
}
