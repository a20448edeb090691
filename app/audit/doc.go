// Package audit keeps the trail: who did what to whom, when, from where, and what was refused. It is append only.
//
//	an event of a module     Trail.Emit      a row in the transaction of what it records
//	what is no event         Trail.Record    likewise
//	a refusal                Trail.Refused   a row of its own: what was refused rolls back, and the row stays
//
// Who acts travels in the context: WithActor, which the front ends and the commands set. Modules know nothing of the trail;
// it hears what they emit, beside the outbox, by Trail.Before. docs/security/audit.md says what is recorded and what never is.
//
//	audit.go    Trail: Emit, Record          actor.go   WithActor
//	entry.go    what a row says of an event  refusal.go Refused
//	explain.go  the refusals that an explanation shows, and who looked
//	list.go     reading                      store.go   all SQL      fx.go   Module, Feed
package audit
