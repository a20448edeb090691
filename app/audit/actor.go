package audit

import (
	"context"

	"github.com/latchkey-go/latchkey/modules/auth"
)

// The types of actors, beside those that sign in (link.ActorUser).
const (
	Anonymous = "anonymous" // a request of somebody who has not proved who they are
	Command   = "command"   // the command line; the id is the operating system's name of who runs it
	System    = "system"    // nobody asked for it: a consumer of events, a purge, a program's own code
)

// Actor is who does what is done with a context, and from where. The zero value is System.
type Actor struct {
	Type       string
	ID         string          // empty: of its type there is one only, or they are nobody's actor yet
	IdentityID auth.IdentityID // proved; empty: none
	SessionID  auth.SessionID  // empty: none
	IP         string
	UserAgent  string
	RequestID  string
}

type actorKey struct{}

// WithActor says who acts with the context that it returns.
func WithActor(ctx context.Context, a Actor) context.Context {
	return context.WithValue(ctx, actorKey{}, a)
}

// ActorOf is who acts with the context.
func ActorOf(ctx context.Context) Actor {
	a, _ := ctx.Value(actorKey{}).(Actor)
	if a.Type == "" {
		a.Type = System
	}
	return a
}
