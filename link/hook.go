package link

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Hook is what an application does in the transactions in which people become actors, such as writing a row of its own
// for each. Every way to become one runs the hooks: the first sign-in, an accepted invite, a proved address, a user that is
// taken over, the command line. What is about the users alone, whoever makes them, is user.Hook's.
//
// The context carries the transaction: write by database.DB.Conn of it. An error or a panic rolls everything back, and the
// next attempt begins anew; the error reaches the caller as a HookError. A transaction may be run again, so a hook may be
// called more often than it counts, but of what it has written only that of the one that commits is there: nothing
// outside the database, and no network. Other sign-ins of the same person wait for it meanwhile, and on SQLite all that write.
//
// Hooks run in the order of their names. Those that are not set are passed over.
type Hook struct {
	Name string // of the application's choice, unique

	OnProvision func(ctx context.Context, p Provisioned) error // after an identity became an actor: once for each link that is made
	OnJoin      func(ctx context.Context, j Joined) error      // after a user was given another way to sign in, by an address that both had proved
	OnReclaim   func(ctx context.Context, r Reclaimed) error   // after a user was taken over by the owner of the mailbox, before OnProvision
}

// Provisioned says whom an identity became. The link and the actor are there.
type Provisioned struct {
	Identity  auth.IdentityID
	ActorType string
	ActorID   string
	Created   bool   // the actor came to be by this; false: it was there already, and nobody's, or somebody's who had proved nothing
	Via       string // how: user.ViaFirstAuth, ViaInvite, ViaSetup, ViaCLI or ViaAPI

	Provider string // by which they have signed in
	EntityID string // who they are there
	// Profile is what the provider says of them. Where they became the actor later than by signing in, it is what is kept of
	// that: the address and the metadata.
	Profile auth.Profile
}

// HookError is the error of a hook under the hook's name. A fault keeps its kind and message, and is told by the reason
// name.reason; every other error is ours to mend, and none of it but the name is shown.
type HookError struct {
	Hook string
	Err  error
}

func (e *HookError) Error() string { return "hook " + e.Hook + ": " + e.Err.Error() }

// Unwrap returns what the hook answered.
func (e *HookError) Unwrap() error { return e.Err }

// As has fault.Of find the hook's fault under the hook's name.
func (e *HookError) As(target any) bool {
	to, ok := target.(**fault.Error)
	if !ok {
		return false
	}
	f, ok := fault.Of(e.Err)
	if !ok {
		return false
	}
	named := *f
	named.Reason = e.Hook + "." + f.Reason
	*to = &named
	return true
}

// checkHooks returns the hooks in the order of their names.
func checkHooks(hooks []Hook) ([]Hook, error) {
	hooks = slices.Clone(hooks)
	slices.SortFunc(hooks, func(a, b Hook) int { return strings.Compare(a.Name, b.Name) })
	for i, h := range hooks {
		if h.Name == "" {
			return nil, errors.New("link: a hook needs a name")
		}
		if i > 0 && h.Name == hooks[i-1].Name {
			return nil, fmt.Errorf("link: two hooks are called %q", h.Name)
		}
	}
	return hooks, nil
}

// runHooks calls what of picks from each hook, unless that is nil.
func runHooks[T any](ctx context.Context, hooks []Hook, of func(Hook) func(context.Context, T) error, with T) error {
	for _, h := range hooks {
		if f := of(h); f != nil {
			if err := f(ctx, with); err != nil {
				return &HookError{h.Name, err}
			}
		}
	}
	return nil
}

// provisioned is the newcomer as who became the actor.
func (n Newcomer) provisioned(actorType, id string) Provisioned {
	proved := n.Identity.Proved
	p := Provisioned{
		Identity: n.Identity.ID, ActorType: actorType, ActorID: id, Via: user.ViaFirstAuth,
		Provider: proved.Provider, EntityID: proved.EntityID, Profile: proved.Profile,
	}
	if n.Invite != nil {
		p.Via = via(*n.Invite)
	}
	return p
}

// provisionedIn is who became an actor by an invite, in a session.
func provisionedIn(session auth.Session, invite user.Invite, id string) Provisioned {
	return Provisioned{Identity: session.IdentityID, ActorType: session.ActorType, ActorID: id, Via: via(invite), Provider: session.Provider}
}

// provisioned tells the hooks and the world that a link was made. Every way by which one is made comes here, once.
func (s *Service) provisioned(ctx context.Context, p Provisioned) error {
	if len(s.hooks) > 0 {
		if err := s.profile(ctx, &p); err != nil {
			return err
		}
	}
	if err := runHooks(ctx, s.hooks, func(h Hook) func(context.Context, Provisioned) error { return h.OnProvision }, p); err != nil {
		return err
	}
	return s.events.Emit(ctx, Linked{p.Identity, p.ActorType, p.ActorID})
}

// profile fills in what is kept of what the provider has said, if it has not just said it.
func (s *Service) profile(ctx context.Context, p *Provisioned) error {
	if p.EntityID != "" {
		return nil
	}
	i, err := s.auth.RetrieveAuthIdentity(ctx, p.Identity)
	if err != nil {
		return err
	}
	for _, way := range i.Providers {
		if way.Provider == p.Provider {
			p.EntityID = way.EntityID
			p.Profile = auth.Profile{Email: way.Email, EmailVerified: !way.EmailVerifiedAt.IsZero(), Metadata: way.UserMetadata}
		}
	}
	return nil
}

// joined tells the hooks and the world that a user has another way to sign in.
func (s *Service) joined(ctx context.Context, j Joined) error {
	if err := runHooks(ctx, s.hooks, func(h Hook) func(context.Context, Joined) error { return h.OnJoin }, j); err != nil {
		return err
	}
	return s.events.Emit(ctx, j)
}

// reclaimed tells the hooks and the world that a user was taken over.
func (s *Service) reclaimed(ctx context.Context, r Reclaimed) error {
	if err := runHooks(ctx, s.hooks, func(h Hook) func(context.Context, Reclaimed) error { return h.OnReclaim }, r); err != nil {
		return err
	}
	return s.events.Emit(ctx, r)
}
