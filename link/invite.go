package link

import (
	"context"
	"errors"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Acceptance is what somebody says of themselves when accepting an invite.
type Acceptance struct {
	Email     string // empty, or the address that was invited
	FirstName *string
	LastName  *string
}

// Accept makes whoever the session is of a user by the invite that the token opens, with its address and roles: invite,
// user and link in one transaction. Somebody who is a user already accepts an invite to their own address, or the set-up
// link, and gains its roles. Accepting again what one has accepted returns the same user.
//
// A token that left by mail proves the address; who has proved it takes over a user by that address whom nobody has
// proved to be. The errors say why an invite cannot be accepted: those of user.ValidateInviteToken and of this package;
// auth.ErrSession if the session has ended; auth.ErrThrottled if its identity has failed too often. An invite that was not
// accepted stays open.
func (s *Service) Accept(ctx context.Context, session auth.Session, token string, a Acceptance) (u user.User, err error) {
	err = s.auth.Watch(ctx, auth.LimitToken, "accept "+string(session.IdentityID), func(ctx context.Context) (err error) {
		u, err = s.acceptAgain(ctx, session, token, a)
		return err
	})
	if errors.Is(err, user.ErrNotFound) {
		err = auth.ErrSession // who was signed in was deleted meanwhile, and the session with them
	}
	return u, err
}

// acceptAgain accepts as often as it takes to do so.
func (s *Service) acceptAgain(ctx context.Context, session auth.Session, token string, a Acceptance) (u user.User, err error) {
	for range attempts {
		err = s.db.InTx(ctx, func(ctx context.Context) (err error) {
			u, err = s.accept(ctx, session, token, a)
			return err
		})
		if !errors.Is(err, errKnown) {
			break
		}
	}
	return u, err
}

func (s *Service) accept(ctx context.Context, session auth.Session, token string, a Acceptance) (user.User, error) {
	if session.ActorType != ActorUser {
		return user.User{}, ErrActorType.Msg("Invites are for users: sign in as one to accept it.")
	}
	invite, refused := s.users.HoldInvite(ctx, token)
	if refused != nil && !errors.Is(refused, user.ErrInviteUsed) {
		return user.User{}, refused
	}
	actor, err := s.store.actor(ctx, session.IdentityID, session.ActorType) // who is held back may accept, too
	if err != nil {
		return user.User{}, err
	}
	if refused != nil {
		if actor == "" || user.ID(actor) != invite.AcceptedBy {
			return user.User{}, refused
		}
		if err := s.auth.HoldSession(ctx, session); err != nil {
			return user.User{}, err
		}
		return s.signedInUser(ctx, actor) // the answer to the first accept was lost
	}
	if actor != "" {
		return s.acceptSignedIn(ctx, session, actor, invite)
	}
	if err := s.finishRegistration(ctx, session, invite); err != nil {
		return user.User{}, err
	}
	address, err := s.invited(ctx, session, invite, a)
	if err != nil {
		return user.User{}, err
	}
	claim := user.NewID()
	if won, err := s.store.insert(ctx, session.IdentityID, session.ActorType, string(claim)); err != nil {
		return user.User{}, err
	} else if !won {
		return user.User{}, errKnown // they signed in at the same time: they are a user by now
	}
	return s.become(ctx, session, invite, user.Draft{
		ID: claim, Email: address, EmailVerified: invite.Channel == user.ByMail, Roles: invite.Roles, Via: via(invite),
		FirstName: a.FirstName, LastName: a.LastName,
	})
}

// invited returns the address of the user to be: the invite's, or for the set-up link the acceptor's own.
func (s *Service) invited(ctx context.Context, session auth.Session, i user.Invite, a Acceptance) (string, error) {
	address, own := i.Email, ""
	if i.Setup() || s.inviteSameEmail {
		identity, err := s.auth.RetrieveAuthIdentity(ctx, session.IdentityID)
		if err != nil {
			return "", err
		}
		for _, p := range identity.Providers {
			if p.Provider == session.Provider {
				own = p.Email
			}
		}
	}
	switch {
	case i.Setup() && own == "":
		return "", ErrEmailRequired
	case i.Setup():
		address = own
	case s.inviteSameEmail && own != address:
		return "", errOtherAddress
	}
	if a.Email == "" {
		return address, nil
	}
	if said, err := auth.CanonicalEmail(a.Email); err != nil {
		return "", err
	} else if said != address {
		return "", ErrInviteEmail
	}
	return address, nil
}

// errOtherAddress says what to do for who holds an invite to another address than they have registered with.
var errOtherAddress = ErrInviteEmail.Msg("The invite is for another e-mail address. Register with the address that was invited.")

// become makes the user whom the link row leads to, or takes over the one who has the address.
func (s *Service) become(ctx context.Context, session auth.Session, invite user.Invite, d user.Draft) (user.User, error) {
	u, created, err := s.users.Ensure(ctx, d)
	if err != nil {
		return user.User{}, err
	}
	if created {
		err = s.users.AcceptInvite(ctx, invite, u.ID)
		if err == nil {
			err = s.auth.HoldSession(ctx, session)
		}
		if err == nil {
			err = s.provedBy(ctx, session, invite, u)
		}
		if err == nil {
			p := provisionedIn(session, invite, string(u.ID))
			p.Created = true
			err = s.settled(ctx, p, session.ID)
		}
	} else {
		err = s.takeOver(ctx, session, invite, u)
	}
	if err != nil {
		return user.User{}, err
	}
	return s.users.RetrieveUser(ctx, u.ID)
}

// provedBy notes that who has a mailed token reads the mailbox. It comes before sessions end: ways to sign in are locked before those.
func (s *Service) provedBy(ctx context.Context, session auth.Session, invite user.Invite, u user.User) error {
	if invite.Channel != user.ByMail {
		return nil
	}
	return s.auth.VerifyEmail(ctx, session.IdentityID, u.Email)
}

// takeOver makes whoever holds a mailed token the owner of the user by the invited address, if nobody has proved to be.
func (s *Service) takeOver(ctx context.Context, session auth.Session, invite user.Invite, u user.User) error {
	if invite.Channel != user.ByMail || u.EmailVerified() || !u.Active() {
		return ErrEmailTaken
	}
	owner, err := s.store.identity(ctx, ActorUser, string(u.ID))
	if err != nil {
		return err
	}
	if takes, err := s.takes(ctx, ActorUser, ActorOf(u), owner); err != nil {
		return err
	} else if !takes { // who signs in as the user has proved the address as another type of actor
		return ErrEmailTaken
	}
	if ok, err := s.users.ConfirmOwner(ctx, u); err != nil {
		return err
	} else if !ok {
		return errKnown
	}
	if err := s.acceptAs(ctx, invite, u.ID); err != nil {
		return err
	}
	if err := s.auth.HoldSession(ctx, session); err != nil {
		return err
	}
	if err := s.provedBy(ctx, session, invite, u); err != nil {
		return err
	}
	return s.reclaim(ctx, provisionedIn(session, invite, string(u.ID)), session.ID)
}

// acceptSignedIn lets a user accept an invite to their own address, or become the first admin by the set-up link.
func (s *Service) acceptSignedIn(ctx context.Context, session auth.Session, actor string, invite user.Invite) (user.User, error) {
	u, err := s.signedInUser(ctx, actor)
	if err != nil {
		return user.User{}, err
	}
	if u.Email == "" || (invite.Email != u.Email && !invite.Setup()) {
		return user.User{}, ErrSignedIn
	}
	if err := s.acceptAs(ctx, invite, u.ID); err != nil {
		return user.User{}, err
	}
	if invite.Channel == user.ByMail {
		if err := s.users.VerifyEmail(ctx, u.ID, u.Email); err != nil {
			return user.User{}, err
		}
	}
	if err := s.auth.HoldSession(ctx, session); err != nil {
		return user.User{}, err
	}
	if err := s.provedBy(ctx, session, invite, u); err != nil {
		return user.User{}, err
	}
	return s.users.RetrieveUser(ctx, u.ID)
}

// acceptAs closes the invite for a user who is there already, and gives them its roles.
func (s *Service) acceptAs(ctx context.Context, invite user.Invite, id user.ID) error {
	if err := s.users.AcceptInvite(ctx, invite, id); err != nil {
		return err
	}
	return s.users.Grant(ctx, id, via(invite), invite.Roles...)
}

func (s *Service) signedInUser(ctx context.Context, id string) (user.User, error) {
	a, err := s.signedIn(ctx, ActorUser, id)
	u, _ := a.Record.(user.User)
	return u, err
}

// via is how somebody who accepts the invite comes to be a user, and by their roles.
func via(i user.Invite) string {
	if i.Setup() {
		return user.ViaSetup
	}
	return user.ViaInvite
}
