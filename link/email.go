package link

import (
	"context"
	"errors"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// RequestEmailChange has a link mailed to another address that the user of the session wants, and a notice to the one they
// have. It does the same whether or not the new one is somebody's. The input proves once more who is signed in: see
// auth.Service.ProveAgain.
//
// The errors are those of user.Service.RequestEmailChange, auth.Service.ProveAgain and, if the session or the user is gone,
// auth.ErrSession.
func (s *Service) RequestEmailChange(ctx context.Context, session auth.Session, to string, again auth.Input) error {
	if _, err := auth.CanonicalEmail(to); err != nil {
		return err
	}
	_, err := s.proveAndRecord(ctx, func() (auth.Proof, error) { return s.auth.ProveAgain(ctx, session, again) },
		func(ctx context.Context, p auth.Proof, _ auth.IdentityID) (Login, error) {
			id, err := s.userOf(ctx, session)
			if err != nil {
				return Login{}, err
			}
			u, err := s.users.RequestEmailChange(ctx, id, to)
			if err != nil {
				return Login{}, gone(err)
			}
			_, err = s.auth.RequestEmailChange(ctx, session, p, u.Email, to)
			return Login{}, err
		})
	return err
}

// userOf returns the user of the session; empty: it is nobody's.
func (s *Service) userOf(ctx context.Context, session auth.Session) (user.ID, error) {
	if session.ActorType != ActorUser {
		return "", ErrActorType.Msg("Only users change their address here.")
	}
	id, err := s.Actor(ctx, session)
	return user.ID(id), err
}

// gone is what a user who is not there any more means for who was signed in as them.
func gone(err error) error {
	if errors.Is(err, user.ErrNotFound) {
		return auth.ErrSession
	}
	return err
}

// CheckEmailChangeToken says what the token would confirm in the session: see auth.Service.CheckEmailChangeToken.
func (s *Service) CheckEmailChangeToken(ctx context.Context, session auth.Session, token string) (auth.EmailChange, error) {
	return s.auth.CheckEmailChangeToken(ctx, session, token)
}

// ConfirmEmailChange gives the user of the session the address that a mailed token proves, in one transaction: of any
// number at once one succeeds. The password goes with them: they sign in by the new address from then on, and the old one
// is free. Every other session ends; this one lives on as it is returned, with the access token, and its cookie and tokens of
// before are dead. The token is empty if the session has ended since.
//
// Whoever registered with the new address and has neither proved it nor become a user loses that sign-in, as when an
// account is reclaimed. user.ErrEmailTaken, ErrEmailInUse: the address is another account's; user.ErrEmailMoved: the user
// has another than when it was asked for. The other errors are those of auth.Service.CheckEmailChangeToken and
// user.Service.ChangeEmail, auth.ErrSession, and auth.ErrThrottled for who has failed too often. After an error nothing has
// changed, and the token is as good as before.
func (s *Service) ConfirmEmailChange(ctx context.Context, session auth.Session, token string) (u user.User, now auth.Session, access string, err error) {
	err = s.auth.Watch(ctx, auth.LimitToken, "confirm "+string(session.IdentityID), func(ctx context.Context) (err error) {
		for range attempts {
			err = s.db.InTx(ctx, func(ctx context.Context) (err error) {
				u, now, err = s.changeEmail(ctx, session, token)
				return err
			})
			// Somebody registered with the address meanwhile, or the same was confirmed at the same time: look again.
			if !errors.Is(err, auth.ErrEntityTaken) && !errors.Is(err, user.ErrEmailMoved) {
				break
			}
		}
		return err
	})
	switch {
	case errors.Is(err, auth.ErrEntityTaken): // by somebody who has proved it, but is no user
		return user.User{}, auth.Session{}, "", ErrEmailInUse
	case err != nil:
		return user.User{}, auth.Session{}, "", err
	}
	return u, now, s.refreshed(ctx, now), nil
}

func (s *Service) changeEmail(ctx context.Context, session auth.Session, token string) (u user.User, now auth.Session, err error) {
	c, err := s.auth.CheckEmailChangeToken(ctx, session, token)
	if err != nil {
		return user.User{}, auth.Session{}, err
	}
	id, err := s.userOf(ctx, session)
	if err != nil {
		return user.User{}, auth.Session{}, err
	}
	for _, other := range c.InTheWay {
		if err := s.holdUnlinked(ctx, other); err != nil {
			return user.User{}, auth.Session{}, err
		}
	}
	if u, err = s.users.ChangeEmail(ctx, id, c.From, c.To); err != nil {
		return user.User{}, auth.Session{}, gone(err)
	}
	if _, now, err = s.auth.ConfirmEmailChange(ctx, session, token, c.InTheWay); err != nil {
		return user.User{}, auth.Session{}, err
	}
	for _, other := range c.InTheWay { // if it is there still
		if err := s.store.delete(ctx, other, ActorUser); err != nil {
			return user.User{}, auth.Session{}, err
		}
	}
	return u, now, nil
}

// proved calls off changes to an address that an identity has just been admitted with the first proof of. It comes after
// all that locks users: who confirms a change locks them before it.
func (s *Service) proved(ctx context.Context, i auth.Identity) error {
	if !i.Proved.NewlyVerified {
		return nil
	}
	return s.auth.CancelEmailChanges(ctx, i.Proved.Email)
}

// holdUnlinked keeps an identity that is linked to nobody from being linked before the transaction ends. As at a first
// sign-in, the link row comes before everything else, so that whoever waits for it holds nothing.
func (s *Service) holdUnlinked(ctx context.Context, identity auth.IdentityID) error {
	free, err := s.store.insert(ctx, identity, ActorUser, mint(ActorUser))
	if err != nil {
		return err
	}
	other, err := s.store.linkedAs(ctx, identity, ActorUser)
	if err == nil && (other || !free) {
		err = ErrEmailInUse
	}
	return err
}
