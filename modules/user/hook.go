package user

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Hook is what an application does in the transactions in which users change, such as writing tables of its own. Every way
// by which a user comes to be, changes or goes runs the hooks: Go methods, HTTP, the first sign-in, an accepted invite, the
// command line.
//
// The context carries the transaction: write by database.DB.Conn of it. An error rolls everything back, and reaches the
// caller with the hook's name before it; a fault in it is the caller's, so that HTTP answers with its text. A transaction
// may be run again, and other sign-ins wait for it meanwhile: nothing outside the database, and no network.
//
// Hooks run in the order of their names. Those that are not set are passed over. Deactivating and reactivating call none.
type Hook struct {
	Name string // of the application's choice, unique

	OnCreate  func(ctx context.Context, users []User) error // after the users were made
	OnUpdate  func(ctx context.Context, users []User) error // after attributes, roles or the proof of the address changed
	OnDelete  func(ctx context.Context, ids []ID) error     // before the users are deleted, softly or for good
	OnRestore func(ctx context.Context, users []User) error // after softly deleted users came back
}

// checkHooks returns the hooks in the order of their names.
func checkHooks(hooks []Hook) ([]Hook, error) {
	hooks = slices.Clone(hooks)
	slices.SortFunc(hooks, func(a, b Hook) int { return strings.Compare(a.Name, b.Name) })
	for i, h := range hooks {
		if h.Name == "" {
			return nil, errors.New("user: a hook needs a name")
		}
		if i > 0 && h.Name == hooks[i-1].Name {
			return nil, fmt.Errorf("user: two hooks are called %q", h.Name)
		}
	}
	return hooks, nil
}

// runHooks calls what of picks from each hook, unless that is nil.
func runHooks[T any](ctx context.Context, hooks []Hook, of func(Hook) func(context.Context, T) error, with T) error {
	for _, h := range hooks {
		if f := of(h); f != nil {
			if err := f(ctx, with); err != nil {
				return fmt.Errorf("hook %s: %w", h.Name, err)
			}
		}
	}
	return nil
}
