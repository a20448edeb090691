package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/latchkey-go/latchkey/modules/auth"
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
	if l.UserID, err = s.linked(ctx, e); err != nil {
		return Login{}, err
	}
	if l.UserID != "" {
		if err := s.vouchFor(ctx, e, l.UserID); err != nil {
			return Login{}, err
		}
		if l.Identity, err = s.admit(ctx, e.proof, e.known); err != nil {
			return Login{}, err
		}
		u, err := s.signedIn(ctx, l.UserID)
		if err != nil {
			return Login{}, err
		}
		l.user = &u
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
		SessionID: l.Session.ID, Identity: l.Identity.ID, ActorType: e.actorType, ActorID: l.UserID, Provider: l.Session.Provider, NewActor: l.made,
	}
	if l.Waiting != nil {
		said.Waiting = l.Waiting.Reason
	}
	return l, s.events.Emit(ctx, said)
}

func (s *Service) linked(ctx context.Context, e entry) (user.ID, error) {
	if e.known == "" {
		return "", nil
	}
	return s.store.actor(ctx, e.known, e.actorType)
}

// first records a sign-in of somebody who is linked to nobody. The link row comes first, with the id of a user who may
// come to be, so that of several at once one is the first and the others wait for it without holding anything.
func (s *Service) first(ctx context.Context, e entry) (l Login, err error) {
	n := Newcomer{}
	if address := e.proof.ProvedEmail(); address != "" {
		if n.Invite, err = s.openInvite(ctx, address); err != nil {
			return Login{}, err
		}
	}
	claim := user.NewID()
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
	if l.UserID, err = s.linked(ctx, e); err != nil {
		return Login{}, err
	}
	if l.UserID == "" {
		l.Identity.ID = e.known
		return l, errKnown
	}
	if l.Identity, err = s.admit(ctx, e.proof, e.known); err != nil {
		return Login{}, err
	}
	_, err = s.signedIn(ctx, l.UserID)
	return l, err
}

// settle asks the policy and does what it decides. The link row of the newcomer is there, leading to claim.
func (s *Service) settle(ctx context.Context, e entry, n Newcomer, claim user.ID) (Login, error) {
	proved := n.Identity.Proved
	if proved.EmailVerified {
		match, err := s.users.FindUser(ctx, proved.Email)
		switch {
		case err == nil:
			n.Match = &match
		case !errors.Is(err, user.ErrNotFound):
			return Login{}, err
		}
	}
	for range attempts {
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
			u, created, err := s.create(ctx, e, n, *d.draft, claim)
			if created || err != nil {
				return Login{Identity: n.Identity, UserID: u.ID, made: true}, err
			}
			if !proved.EmailVerified || proved.Email != u.Email {
				return s.wait(ctx, e, n, &WaitVerifyEmail) // the address is taken, and not proved to be theirs
			}
			n.Match = &u
			continue
		default:
			return Login{}, fmt.Errorf("link: the policy of %s decided nothing", e.actorType)
		}
		match, err := s.users.FindUser(ctx, proved.Email) // it changed under us: decide again
		if err != nil && !errors.Is(err, user.ErrNotFound) {
			return Login{}, err
		}
		if n.Match = &match; err != nil {
			n.Match = nil
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

// create makes the user whom the link row leads to already, unless the address is taken: then created is false and the
// user is the one who has it.
func (s *Service) create(ctx context.Context, e entry, n Newcomer, d user.Draft, claim user.ID) (u user.User, created bool, err error) {
	if d.ID == "" {
		d.ID = claim
	}
	if d.ID != claim {
		if u, taken, err := s.holdChosen(ctx, e, d); err != nil || taken {
			return u, false, err
		}
	}
	if u, created, err = s.users.Ensure(ctx, d); err != nil || !created {
		return u, created, err
	}
	if u.ID != claim {
		if err := s.store.point(ctx, n.Identity.ID, e.actorType, u.ID); err != nil {
			return u, true, err
		}
	}
	if n.Invite != nil {
		if err := s.users.AcceptInvite(ctx, *n.Invite, u.ID); err != nil {
			return u, true, err
		}
	}
	p := n.provisioned(e.actorType, string(u.ID))
	p.Created = true
	return u, true, s.settled(ctx, p, e.session)
}

// holdChosen keeps the id that the policy has chosen for the draft. If somebody has it, and the address as well, the newcomer
// may join them: taken is true then, and it is the user whom it is about.
func (s *Service) holdChosen(ctx context.Context, e entry, d user.Draft) (u user.User, taken bool, err error) {
	switch err := s.users.HoldID(ctx, d.ID); {
	case errors.Is(err, user.ErrInvalid):
		return user.User{}, false, fmt.Errorf("link: the policy of %s chooses an id that is none: %v", e.actorType, err)
	case !errors.Is(err, user.ErrIDTaken):
		return user.User{}, false, err
	case d.Email == "":
		return user.User{}, false, err
	}
	u, err = s.users.FindUser(ctx, d.Email)
	if errors.Is(err, user.ErrNotFound) {
		return user.User{}, false, user.ErrIDTaken
	}
	return u, err == nil, err
}

// settled is what follows on every way by which an identity becomes an actor: what else it was signed in to without one
// ends, so that a token taken before is good for nothing.
func (s *Service) settled(ctx context.Context, p Provisioned, but auth.SessionID) error {
	if err := s.auth.EndSessions(ctx, p.Identity, p.ActorType, but); err != nil {
		return err
	}
	return s.provisioned(ctx, p)
}

// join gives a user another way to sign in; done is false if the user changed meanwhile.
func (s *Service) join(ctx context.Context, e entry, n Newcomer, id user.ID) (l Login, done bool, err error) {
	u, err := s.users.RetrieveUser(ctx, id)
	if errors.Is(err, user.ErrNotFound) {
		return Login{}, false, nil
	}
	if err != nil {
		return Login{}, false, err
	}
	if p := n.Identity.Proved; !p.EmailVerified || p.Email != u.Email {
		if n.Match != nil && n.Match.ID == id && p.EmailVerified && n.Match.Email == p.Email {
			return Login{}, false, nil // they have moved to another address since they were found by this one
		}
		return Login{}, false, fmt.Errorf("link: the policy of %s joins a newcomer who has not proved the user's address", e.actorType)
	}
	if ok, err := s.users.ConfirmOwner(ctx, u); err != nil || !ok {
		return Login{}, false, err
	}
	if !u.Active() {
		return Login{}, false, ErrDeactivated
	}
	if n.Invite != nil {
		if err := s.acceptAs(ctx, *n.Invite, u); err != nil {
			return Login{}, false, err
		}
	}
	l = Login{Identity: n.Identity, UserID: u.ID}
	owner, err := s.store.identity(ctx, e.actorType, u.ID)
	switch {
	case err != nil:
		return Login{}, false, err
	case owner == "" || !u.EmailVerified():
		return l, true, s.reclaim(ctx, u, n.provisioned(e.actorType, string(u.ID)), e.session)
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
	return l, true, s.joined(ctx, Joined{owner, u.ID})
}

// reclaim hands a user to the identity of p that has proved the mailbox, whose link row is there: the user row stays, and
// every way to sign in that somebody else had to it goes.
func (s *Service) reclaim(ctx context.Context, u user.User, p Provisioned, but auth.SessionID) error {
	before, err := s.store.identity(ctx, p.ActorType, u.ID)
	if err != nil {
		return err
	}
	others := before != "" && before != p.Identity
	if others {
		if err := s.detach(ctx, before); err != nil {
			return err
		}
	}
	if err := s.store.point(ctx, p.Identity, p.ActorType, u.ID); err != nil {
		return err
	}
	if others {
		if err := s.reclaimed(ctx, Reclaimed{p.Identity, u.ID}); err != nil {
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
