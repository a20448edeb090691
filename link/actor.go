package link

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
	"github.com/latchkey-go/latchkey/modules/user"
)

// ActorUser is the actor type of package user.
const ActorUser = "user"

// Actor is somebody of an actor type, as this package sees them.
type Actor struct {
	ID            string
	Email         string // canonical; empty: none
	EmailVerified bool   // the address was proved to be theirs
	Inactive      bool   // may not sign in
	// Metadata stands in the app_metadata of their access tokens beside <type>_id, as information: what counts is what is kept.
	Metadata map[string]any
	// Record is whatever Actors keeps of them, and is handed back to it as it was read; of a user it is the user.User.
	Record any
}

// Actors keeps the actors of one type, such as an application's customers. Package user is the one of the type user, which is
// built in. Everything but DeleteActor is called inside the transaction that its context carries, maybe more than once: write
// by database.DB.Conn of it, nothing outside the database, no network. It is safe for concurrent use.
type Actors interface {
	// ActorType names the type, in URLs, tokens, configuration and rows: lower-case letters, digits and _, the letter first.
	ActorType() string
	// FindActor returns the actor, or ErrNoActor for who is not there, or not any more.
	FindActor(ctx context.Context, id string) (Actor, error)
	// CreateActor makes the actor whom the draft describes, by its ID or by one of their own choice, of at most 255 bytes. Where an address is
	// one actor's at most, it inserts ON CONFLICT DO NOTHING, and if somebody has the address already returns who it is and
	// false: a taken address is no error.
	CreateActor(ctx context.Context, d user.Draft) (a Actor, created bool, err error)
	// DeleteActor deletes the actor; one that is not there is passed over. Service.DeleteActors calls it, inside the
	// transaction that ends what they sign in with.
	DeleteActor(ctx context.Context, id string) error
}

// Matcher is an Actors whose actors are known by their address: somebody who has proved the address of one that is there
// already gets that one. Without it each newcomer is a new actor.
type Matcher interface {
	// FindActorByEmail returns who has the canonical address, or ErrNoActor.
	FindActorByEmail(ctx context.Context, address string) (Actor, error)
	// VerifyActor notes that the actor's address is proved to be theirs, if it is still the one that was read, and holds the
	// row until the transaction ends. False: they changed meanwhile, or are gone.
	VerifyActor(ctx context.Context, a Actor) (ok bool, err error)
}

// ActorOf is the user as an actor of the type user.
func ActorOf(u user.User) Actor {
	return Actor{
		ID: string(u.ID), Email: u.Email, EmailVerified: u.EmailVerified(), Inactive: !u.Active(),
		Metadata: map[string]any{"roles": u.Roles}, Record: u,
	}
}

// users is the Actors of the type user.
type users struct{ *user.Service }

func (users) ActorType() string { return ActorUser }

func (s users) FindActor(ctx context.Context, id string) (Actor, error) {
	u, err := s.RetrieveUser(ctx, user.ID(id))
	return found(u, err)
}

func (s users) FindActorByEmail(ctx context.Context, address string) (Actor, error) {
	u, err := s.FindUser(ctx, address)
	return found(u, err)
}

func found(u user.User, err error) (Actor, error) {
	if errors.Is(err, user.ErrNotFound) {
		err = ErrNoActor
	}
	if err != nil {
		return Actor{}, err
	}
	return ActorOf(u), nil
}

func (s users) CreateActor(ctx context.Context, d user.Draft) (Actor, bool, error) {
	u, created, err := s.Ensure(ctx, d)
	return ActorOf(u), created, err
}

func (s users) DeleteActor(ctx context.Context, id string) error {
	return s.SoftDeleteUsers(ctx, user.ID(id))
}

func (s users) VerifyActor(ctx context.Context, a Actor) (bool, error) {
	return true, s.VerifyEmail(ctx, user.ID(a.ID), a.Email)
}

// kind is an actor type that is served here.
type kind struct {
	ActorOptions
	actors  Actors
	matcher Matcher // nil: nobody is known by an address
}

var actorTypeName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,63}$`)

// serve adds an actor type.
func (s *Service) serve(a Actors) error {
	name := a.ActorType()
	switch _, there := s.kinds[name]; {
	case !actorTypeName.MatchString(name):
		return fmt.Errorf("link: an actor type is called %q: use lower-case letters, digits and _, a letter first", name)
	case auth.ReservedName(name):
		return fmt.Errorf("link: no actor type can be called %q: it would shadow a route", name)
	case there:
		return fmt.Errorf("link: there are two actor types %q", name)
	}
	matcher, _ := a.(Matcher)
	s.kinds[name] = kind{actors: a, matcher: matcher}
	return nil
}

// mint is the id of an actor who may come to be.
func mint(actorType string) string { return id.New(actorType) }

// find returns the actor of the type, or ErrNoActor, also where the type is served no more: sessions of it may be left.
func (s *Service) find(ctx context.Context, actorType, id string) (Actor, error) {
	k, served := s.kinds[actorType]
	if !served {
		return Actor{}, ErrNoActor
	}
	return k.actors.FindActor(ctx, id)
}

// active returns the actor for whom a session or token goes on; auth.ErrSession: they are gone, or may not sign in any more.
func (s *Service) active(ctx context.Context, actorType, id string) (Actor, error) {
	a, err := s.find(ctx, actorType, id)
	if errors.Is(err, ErrNoActor) || (err == nil && a.Inactive) {
		return Actor{}, auth.ErrSession
	}
	return a, err
}

// match returns who has the address; nil: nobody, or nobody can be told by it.
func (s *Service) match(ctx context.Context, actorType, address string) (*Actor, error) {
	by := s.kinds[actorType].matcher
	if by == nil || address == "" {
		return nil, nil
	}
	a, err := by.FindActorByEmail(ctx, address)
	if errors.Is(err, ErrNoActor) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &a, nil
}

// confirmOwner makes whoever is about to be the actor the proved owner of the actor's address; false: the actor changed
// meanwhile. A user loses the roles that nobody gave to that address.
func (s *Service) confirmOwner(ctx context.Context, actorType string, a Actor) (bool, error) {
	if u, ok := a.Record.(user.User); ok && actorType == ActorUser {
		return s.users.ConfirmOwner(ctx, u)
	}
	by := s.kinds[actorType].matcher
	if by == nil {
		return false, fmt.Errorf("link: actors of the type %s are not known by their address, so nobody can take one over", actorType)
	}
	return by.VerifyActor(ctx, a)
}

// LiveActor returns the actor if they may act now. auth.ErrSession: they are gone, deactivated or held back. ErrActorType: there is no
// such type.
func (s *Service) LiveActor(ctx context.Context, actorType, id string) (Actor, error) {
	if _, err := s.Providers(actorType); err != nil {
		return Actor{}, err
	}
	a, err := s.active(ctx, actorType, id)
	if err != nil {
		return Actor{}, err
	}
	if held, err := s.HoldsBack(ctx, actorType, a); err != nil {
		return Actor{}, err
	} else if held {
		return Actor{}, auth.ErrSession
	}
	return a, nil
}

// DeleteActors deletes actors and ends what they sign in with, in one transaction: identity, link and sessions go, unless the
// identity is another actor, too. Users may as well be deleted by package user, which comes to the same.
func (s *Service) DeleteActors(ctx context.Context, actorType string, ids ...string) error {
	if _, err := s.Providers(actorType); err != nil {
		return err
	}
	return s.db.InTx(ctx, func(ctx context.Context) error {
		if actorType == ActorUser { // all at once, so that they are locked in order; what they sign in with goes along: see New
			users := make([]user.ID, len(ids))
			for i, id := range ids {
				users[i] = user.ID(id)
			}
			return s.users.SoftDeleteUsers(ctx, users...)
		}
		if err := s.ofActors(ctx, actorType, ids, s.detach(actorType)); err != nil {
			return err
		}
		for _, id := range ids {
			if err := s.kinds[actorType].actors.DeleteActor(ctx, id); err != nil {
				return err
			}
		}
		return nil
	})
}

// EndActors ends what actors are signed in to, as when they are deactivated. It joins the transaction of ctx, if there is one.
func (s *Service) EndActors(ctx context.Context, actorType string, ids ...string) error {
	if _, err := s.Providers(actorType); err != nil {
		return err
	}
	return s.db.InTx(ctx, func(ctx context.Context) error {
		return s.ofActors(ctx, actorType, ids, s.auth.Revoke)
	})
}

// ofActors calls f for the identity of each of the actors who has one, by the ids of these, which is the order everybody locks in.
func (s *Service) ofActors(ctx context.Context, actorType string, ids []string, f func(context.Context, auth.IdentityID) error) error {
	var identities []auth.IdentityID
	for _, id := range ids {
		identity, err := s.store.identity(ctx, actorType, id)
		if err != nil {
			return err
		}
		if identity != "" {
			identities = append(identities, identity)
		}
	}
	slices.Sort(identities)
	for _, identity := range slices.Compact(identities) {
		if err := f(ctx, identity); err != nil {
			return err
		}
	}
	return nil
}
