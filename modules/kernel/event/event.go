// Package event is how a module says what happened without knowing who listens.
//
// A module emits inside the transaction that makes the change; the Emitter records the event in that same
// transaction, so that it is announced if and only if the change commits. Payload types live beside the service
// that emits them (events.go of each module), name themselves, and hold no secrets.
package event

import "context"

// Event is something that happened, named by itself.
type Event interface {
	Topic() string     // such as "user.created"; never changes once released
	Aggregate() string // the id of what it happened to; events of one aggregate are delivered in order
}

// Emitter records events in the transaction that ctx carries. An error rolls that transaction back.
// Emitters are safe for concurrent use.
type Emitter interface {
	Emit(ctx context.Context, events ...Event) error
}

// Discard is the Emitter of those who do not listen.
var Discard Emitter = discard{}

type discard struct{}

func (discard) Emit(context.Context, ...Event) error { return nil }
