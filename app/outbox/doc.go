// Package outbox records events in the transaction that makes the change, and delivers them afterwards: at least once to
// every consumer, until it is handled, also over restarts and by other nodes.
//
//	events.Emit(ctx, user.Created{…})  a row for the event and one for each consumer, in the transaction of ctx
//	commit                             wakes the lanes of Run, one for each consumer
//	claim → handle → done              the consumer's function; an error or a crash has it tried again later
//	dead letter                        when trying again is of no use, or was often enough: List, Retry, Discard
//
// A consumer is a function with a name, made by On, which says by its type what it wants, or by OnAny, which wants all; or a
// Sink, made a consumer by To, that takes events elsewhere; ToTargets is for sinks of which there are many, that come and go:
//
//	outbox.On("welcome", func(ctx context.Context, d outbox.Delivery, e user.Created) error { … })
//	outbox.OnAny("trail", func(ctx context.Context, d outbox.Delivery, payload json.RawMessage) error { … })
//	outbox.To("broker", sink, "user.created", "user.deleted")
//	outbox.ToTargets("webhook", func(ctx context.Context, target string, e outbox.Event) error { … })
//
// Consumers are kept in the database: once a program that has one has started, every program that emits records events for it,
// commands and other nodes too, until it is forgotten. A new one starts at now.
//
// Events of one aggregate reach a consumer in their order: a later one waits until the earlier one is handled, or dead. That is the
// order in which they were recorded, which transactions that lock what they change (as all of ours do) record in the order in which they commit. A consumer
// may see an event twice, if it was killed between doing its work and saying so: Delivery.ID is the same then, and
// Delivery.Attempt is more than one.
//
//	outbox.go    Outbox: Register, Emit, AddTarget    consumer.go   On, OnAny, To, ToTargets, Sink, Permanent
//	run.go       Run, and its times and numbers       letters.go    what waits and what is dead: List, Retry, Discard, Consumers, Forget
//	lane.go      the loop of a consumer, its retries  store.go      all other SQL       fx.go   Module, Deliver, AsConsumer
//	target.go    which targets get how many workers, and pauses
package outbox
