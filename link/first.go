package link

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/user"
)

// entry is one sign-in on its way to be recorded.
type entry struct {
	actorType string
	policy    Policy
	proof     auth.Proof
	known     auth.IdentityID // whom the proof is about; empty: nobody there was when it was made
	client    auth.Client
	session   auth.SessionID // in which it is made; empty: it opens one
}

// enter records a sign-in in the transaction of ctx: who it is, whom they are linked to, the session.
func (s *Service) enter(ctx context.Context, e entry) (l Login, err error) {
	if l.ActorID, err = s.linked(ctx, e); err != nil {
		return Login{}, err
	}
	if l.ActorID != "" {
		if err := s.vouchFor(ctx, e, l.ActorID); err != nil {
			return Login{}, err
		}
		if l.Identity, err = s.admit(ctx, e.proof, e.known); err != nil {
			return Login{}, err
		}
		a, err := s.signedIn(ctx, e.actorType, l.ActorID)
		if err != nil {
			return Login{}, err
		}
		l.actor = &a
	} else if l, err = s.first(ctx, e); err != nil {
		return l, err
	}
	if err := s.proved(ctx, l.Identity); err != nil {
		return Login{}, err
	}
	if l.Session, err = s.auth.OpenSession(ctx, l.Identity, e.actorType, e.client); err != nil {
		return Login{}, err
	}
	if err := s.holdBack(ctx, e.actorType, &l); err != nil {
		return Login{}, err
	}
	said := SignedIn{
		SessionID: l.Session.ID, Identity: l.Identity.ID, ActorType: e.actorType, ActorID: l.ActorID, Provider: l.Session.Provider, NewActor: l.made,
	}
	if l.Waiting != nil {
		said.Waiting = l.Waiting.Reason
	}
	return l, s.events.Emit(ctx, said)
}

func (s *Service) linked(ctx context.Context, e entry) (string, error) {
	if e.known == "" {
		return "", nil
	}
	return s.store.actor(ctx, e.known, e.actorType)
}

// first records a sign-in of somebody who is linked to nobody. The link row comes first, with the id of an actor who may
// come to be, so that of several at once one is the first and the others wait for it without holding anything.
func (s *Service) first(ctx context.Context, e entry) (l Login, err error) {
	n := Newcomer{}
	if address := e.proof.ProvedEmail(); address != "" && e.actorType == ActorUser {
		if n.Invite, err = s.openInvite(ctx, address); err != nil {
			return Login{}, err
		}
	}
	claim := mint(e.actorType)
	if e.known != "" {
		won, err := s.store.insert(ctx, e.known, e.actorType, claim)
		if err != nil {
			return Login{}, err
		}
		if !won {
			return s.second(ctx, e)
		}
	}
	if l.Identity, err = s.admit(ctx, e.proof, e.known); err != nil {
		return Login{}, s.startOver(ctx, e.known, err)
	}
	if e.known == "" {
		if !l.Identity.Proved.Created {
			return l, errKnown
		}
		if _, err := s.store.insert(ctx, l.Identity.ID, e.actorType, claim); err != nil {
			return Login{}, err
		}
	}
	n.Identity = l.Identity
	if p := l.Identity.Proved; p.Email != "" && !p.EmailVerified && s.provesFirst(e.actorType) {
		return s.wait(ctx, e, n, &WaitProof)
	}
	return s.settle(ctx, e, n, claim)
}

// second records a sign-in that another one came before: it is linked to whom that one made. If that one made nobody
// after all, this one starts over.
func (s *Service) second(ctx context.Context, e entry) (l Login, err error) {
	if l.ActorID, err = s.linked(ctx, e); err != nil {
		return Login{}, err
	}
	if l.ActorID == "" {
		l.Identity.ID = e.known
		return l, errKnown
	}
	if l.Identity, err = s.admit(ctx, e.proof, e.known); err != nil {
		return Login{}, err
	}
	_, err = s.signedIn(ctx, e.actorType, l.ActorID)
	return l, err
}

// settle asks the policy and does what it decides. The link row of the newcomer is there, leading to claim.
func (s *Service) settle(ctx context.Context, e entry, n Newcomer, claim string) (Login, error) {
	proved := n.Identity.Proved
	for range attempts {
		if proved.EmailVerified { // it may change under us: then it is decided again
			match, err := s.match(ctx, e.actorType, proved.Email)
			if err != nil {
				return Login{}, err
			}
			n.Match = match
		}
		d, err := e.policy.Decide(ctx, n)
		switch {
		case err != nil:
			return Login{}, fmt.Errorf("link: the policy of %s: %w", e.actorType, err)
		case d.waiting != nil:
			return s.wait(ctx, e, n, d.waiting)
		case d.join != "":
			l, done, err := s.join(ctx, e, n, d.join)
			if done || err != nil {
				return l, err
			}
		case d.draft != nil:
			a, created, err := s.create(ctx, e, n, *d.draft, claim)
			if created || err != nil {
				return Login{Identity: n.Identity, ActorID: a.ID, made: true}, err
			}
			if !proved.EmailVerified || proved.Email != a.Email {
				return s.wait(ctx, e, n, &WaitVerifyEmail) // the address is taken, and not proved to be theirs
			}
		default:
			return Login{}, fmt.Errorf("link: the policy of %s decided nothing", e.actorType)
		}
	}
	return Login{}, fmt.Errorf("link: the policy of %s came to no end after %d decisions", e.actorType, attempts)
}

// wait lets the newcomer in as nobody.
func (s *Service) wait(ctx context.Context, e entry, n Newcomer, w *Waiting) (Login, error) {
	if err := s.store.delete(ctx, n.Identity.ID, e.actorType); err != nil {
		return Login{}, err
	}
	return Login{Identity: n.Identity, Waiting: w}, s.store.noteUnlinked(ctx, n.Identity.ID, e.actorType)
}

// maxActorID is how long an application's id may be: it stands twice in each of the actor's tokens.
const maxActorID = 255

// create makes the actor whom the link row leads to already, unless the address is taken: then created is false and the
// actor is the one who has it.
func (s *Service) create(ctx context.Context, e entry, n Newcomer, d user.Draft, claim string) (a Actor, created bool, err error) {
	if d.ID == "" {
		d.ID = user.ID(claim)
	}
	if string(d.ID) != claim && e.actorType == ActorUser {
		if a, taken, err := s.holdChosen(ctx, e, d); err != nil || taken {
			return a, false, err
		}
	}
	k := s.kinds[e.actorType]
	a, created, err = k.actors.CreateActor(ctx, d)
	switch {
	case err == nil && !created && k.matcher == nil:
		err = fmt.Errorf("link: somebody has the address among the actors of the type %s, which must be a Matcher then", e.actorType)
	case err == nil && (a.ID == "" || !database.Storable(a.ID, maxActorID)): // before it is in a row, and in no token ever
		err = fmt.Errorf("link: CreateActor of the type %s tells an id that is none: empty, longer than %d bytes, or no text", e.actorType, maxActorID)
	}
	if err != nil || !created {
		return a, false, err
	}
	if a.ID != claim { // the policy has chosen another, or the application gives ids of its own
		if err := s.store.point(ctx, n.Identity.ID, e.actorType, a.ID); err != nil {
			return a, true, err
		}
	}
	if n.Invite != nil {
		if err := s.users.AcceptInvite(ctx, *n.Invite, user.ID(a.ID)); err != nil {
			return a, true, err
		}
	}
	p := n.provisioned(e.actorType, a.ID)
	p.Created = true
	return a, true, s.settled(ctx, p, e.session)
}

// holdChosen keeps the id that the policy has chosen for a user. If somebody has it, and the address as well, the newcomer may
// join them: taken is true then, and it is the user whom it is about.
func (s *Service) holdChosen(ctx context.Context, e entry, d user.Draft) (a Actor, taken bool, err error) {
	switch err := s.users.HoldID(ctx, d.ID); {
	case errors.Is(err, user.ErrInvalid):
		return Actor{}, false, fmt.Errorf("link: the policy of %s chooses an id that is none: %v", e.actorType, err)
	case !errors.Is(err, user.ErrIDTaken):
		return Actor{}, false, err
	case d.Email == "":
		return Actor{}, false, err
	}
	match, err := s.match(ctx, e.actorType, d.Email)
	if err == nil && match == nil {
		err = user.ErrIDTaken
	}
	if err != nil {
		return Actor{}, false, err
	}
	return *match, true, nil
}

// settled is what follows on every way by which an identity becomes an actor: what else it was signed in to without one
// ends, so that a token taken before is good for nothing.
func (s *Service) settled(ctx context.Context, p Provisioned, but auth.SessionID) error {
	if err := s.auth.EndSessions(ctx, p.Identity, p.ActorType, but); err != nil {
		return err
	}
	return s.provisioned(ctx, p)
}

// join gives an actor another way to sign in; done is false if the actor changed meanwhile.
func (s *Service) join(ctx context.Context, e entry, n Newcomer, id string) (l Login, done bool, err error) {
	a, err := s.find(ctx, e.actorType, id)
	if errors.Is(err, ErrNoActor) {
		return Login{}, false, nil
	}
	if err != nil {
		return Login{}, false, err
	}
	if p := n.Identity.Proved; !p.EmailVerified || p.Email != a.Email {
		if n.Match != nil && n.Match.ID == id && p.EmailVerified && n.Match.Email == p.Email {
			return Login{}, false, nil // they have moved to another address since they were found by this one
		}
		return Login{}, false, fmt.Errorf("link: the policy of %s joins a newcomer who has not proved the actor's address", e.actorType)
	}
	if ok, err := s.confirmOwner(ctx, e.actorType, a); err != nil || !ok {
		return Login{}, false, err
	}
	if a.Inactive {
		return Login{}, false, ErrDeactivated
	}
	if n.Invite != nil {
		if err := s.acceptAs(ctx, *n.Invite, user.ID(a.ID)); err != nil {
			return Login{}, false, err
		}
	}
	l = Login{Identity: n.Identity, ActorID: a.ID}
	owner, err := s.store.identity(ctx, e.actorType, a.ID)
	if err != nil {
		return Login{}, false, err
	}
	switch takes, err := s.takes(ctx, e.actorType, a, owner); {
	case err != nil:
		return Login{}, false, err
	case takes:
		return l, true, s.reclaim(ctx, n.provisioned(e.actorType, a.ID), e.session)
	}
	if other, err := s.store.linkedAs(ctx, n.Identity.ID, e.actorType); err != nil {
		return Login{}, false, err
	} else if other {
		return Login{}, false, ErrLinked
	}
	if err := s.store.delete(ctx, n.Identity.ID, e.actorType); err != nil {
		return Login{}, false, err
	}
	if err := s.auth.Join(ctx, n.Identity.ID, owner); err != nil {
		return Login{}, false, err
	}
	if l.Identity, err = s.auth.RetrieveAuthIdentity(ctx, owner); err != nil {
		return Login{}, false, err
	}
	l.Identity.Proved = n.Identity.Proved
	told, err := s.auth.Notice(ctx, owner, auth.ProviderIdentity{})
	if err != nil {
		return Login{}, false, err
	}
	told.Email = a.Email // which both have proved
	return l, true, s.joined(ctx, Joined{owner, e.actorType, a.ID, n.Identity.Proved.Provider, told})
}

// takes reports whether somebody who has proved the actor's address takes the actor over from the owner, the identity that signs
// them in; otherwise they join it. Who is joined to an identity is all that it is: ErrLinked, if that is an actor of another type
// as well, and nobody has proved the address there, such as where the user has moved to another address and the customer has not.
func (s *Service) takes(ctx context.Context, actorType string, a Actor, owner auth.IdentityID) (bool, error) {
	if owner == "" {
		return true, nil
	}
	i, err := s.auth.RetrieveAuthIdentity(ctx, owner)
	if err != nil && !errors.Is(err, auth.ErrNotFound) { // deleted meanwhile
		return false, err
	}
	proved := slices.ContainsFunc(i.Providers, func(way auth.ProviderIdentity) bool { return way.Email == a.Email && !way.EmailVerifiedAt.IsZero() })
	switch {
	case proved: // maybe as another type of actor: it is one person
		return false, nil
	case !a.EmailVerified:
		return true, nil
	}
	shared, err := s.store.linkedAs(ctx, owner, actorType)
	if err == nil && shared {
		err = ErrLinked.Msg("The account with this address belongs to one with another address. Sign in as you did before, then add this sign-in.")
	}
	return false, err
}

// reclaim hands an actor to the identity of p that has proved the mailbox, whose link row is there: the actor stays, and every
// way to sign in that somebody else had to them goes.
func (s *Service) reclaim(ctx context.Context, p Provisioned, but auth.SessionID) error {
	before, err := s.store.identity(ctx, p.ActorType, p.ActorID)
	if err != nil {
		return err
	}
	others := before != "" && before != p.Identity
	if others {
		if err := s.detach(p.ActorType)(ctx, before); err != nil {
			return err
		}
	}
	if err := s.store.point(ctx, p.Identity, p.ActorType, p.ActorID); err != nil {
		return err
	}
	if others {
		told, err := s.auth.Notice(ctx, p.Identity, auth.ProviderIdentity{})
		if err != nil {
			return err
		}
		if err := s.reclaimed(ctx, Reclaimed{p.Identity, p.ActorType, p.ActorID, told}); err != nil {
			return err
		}
	}
	return s.settled(ctx, p, but)
}

// openInvite returns the invite for a proved address, held until the transaction ends; nil if there is none.
func (s *Service) openInvite(ctx context.Context, address string) (*user.Invite, error) {
	i, err := s.users.HoldOpenInvite(ctx, address)
	if errors.Is(err, user.ErrInviteNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &i, nil
}
