// Package outbox records events in the transaction that makes the change, and delivers them afterwards: at least once to
// every consumer, until it is handled, also over restarts and by other nodes.
//
//	events.Emit(ctx, user.Created{…})  a row for the event and one for each consumer, in the transaction of ctx
//	commit                             wakes the loop that Run is
//	claim → handle → done              the consumer's function; an error or a crash has it tried again later
//
// A consumer is a function with a name, made by On, which says by its type what it wants, or by OnAny, which wants all:
//
//	outbox.On("welcome", func(ctx context.Context, d outbox.Delivery, e user.Created) error { … })
//	outbox.OnAny("trail", func(ctx context.Context, d outbox.Delivery, payload json.RawMessage) error { … })
//
// Events of one aggregate reach a consumer in their order: a later one waits until the earlier one is handled. A consumer
// may see an event twice, if it was killed between doing its work and saying so: Delivery.ID is the same then, and
// Delivery.Attempt is more than one. It sees the events that are recorded from its registration on.
//
//	outbox.go   Outbox: Register, Emit       consumer.go   On, OnAny, Consumer, Delivery
//	run.go      the loop, its retries        store.go      all SQL                   fx.go   Module, AsConsumer
package outbox
