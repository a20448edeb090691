package link

import (
	"context"
	"errors"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// RequestPasswordReset announces that somebody wants a new password: see auth.Service.RequestPasswordReset.
func (s *Service) RequestPasswordReset(ctx context.Context, r auth.ResetRequest) error {
	if _, err := s.allow(r.ActorType, r.Provider); err != nil {
		return err
	}
	_, err := s.auth.RequestPasswordReset(ctx, r)
	return err
}

// RequestPasswordResetFor announces that the user is to get a new password, as an administrator may ask for somebody, and
// returns the request, for auth.Service.CreatePasswordResetToken. user.ErrNotFound: there is no such user. ErrNoPassword:
// the user signs in by other ways only. ErrNoWay: by none, such as one who was restored after they were deleted.
func (s *Service) RequestPasswordResetFor(ctx context.Context, id user.ID) (auth.PasswordResetRequested, error) {
	u, err := s.users.RetrieveUser(ctx, id)
	if err != nil {
		return auth.PasswordResetRequested{}, err
	}
	ways, err := s.WaysOf(ctx, id)
	if err != nil {
		return auth.PasswordResetRequested{}, err
	}
	var chosen *auth.ProviderIdentity
	for i, p := range ways {
		if s.ResetsBy(p.Provider) && (chosen == nil || p.Email == u.Email) {
			chosen = &ways[i]
		}
	}
	switch {
	case len(ways) == 0:
		return auth.PasswordResetRequested{}, ErrNoWay
	case chosen == nil:
		return auth.PasswordResetRequested{}, ErrNoPassword
	}
	return s.auth.RequestPasswordReset(auth.Unlimited(ctx), // strangers who ask for mails do not keep an administrator from it
		auth.ResetRequest{Provider: chosen.Provider, EntityID: chosen.EntityID, ActorType: ActorUser})
}

// ResetsBy reports whether users who sign in by the provider have a password there that a mailed link sets anew.
func (s *Service) ResetsBy(provider string) bool {
	_, err := s.allow(ActorUser, provider)
	return err == nil && s.auth.HasSecret(provider)
}

// ResetPassword sets a new password by a reset token and ends every session of the identity: see auth.Service.ProveReset.
// Whoever holds a token that left by mail is the owner of the mailbox; if the user who has that address was nobody's by
// proof, they are the owner's from now on, as when an account is reclaimed at a sign-in.
func (s *Service) ResetPassword(ctx context.Context, actorType, provider, token string, in auth.Input) error {
	if _, err := s.allow(actorType, provider); err != nil {
		return err
	}
	_, err := s.proveAndRecord(ctx, func() (auth.Proof, error) { return s.auth.ProveReset(ctx, actorType, provider, token, in) },
		func(ctx context.Context, p auth.Proof, known auth.IdentityID) (l Login, err error) {
			if p.ProvedEmail() != "" { // a first sign-in at the same time makes a user before, whose address this proves, or after
				if _, err := s.holdOff(ctx, known, ActorUser); err != nil {
					return Login{}, err
				}
			}
			if err := s.owned(ctx, p, known); err != nil {
				return Login{}, err
			}
			l.Identity, err = s.admit(ctx, p, known)
			if errors.Is(err, auth.ErrInvalidCredentials) && !errors.Is(err, auth.ErrProofOutdated) {
				err = auth.ErrResetToken // the identity was revoked or deleted since
			}
			if err == nil {
				err = s.proved(ctx, l.Identity)
			}
			return l, err
		})
	return err
}

// owned confirms the owner of a proved mailbox as the owner of the actors who sign in by the proof's identity.
func (s *Service) owned(ctx context.Context, p auth.Proof, identity auth.IdentityID) error {
	address := p.ProvedEmail()
	if address == "" {
		return nil
	}
	for _, actorType := range s.ActorTypes() {
		id, err := s.store.actor(ctx, identity, actorType)
		if err != nil {
			return err
		}
		if id == "" || s.kinds[actorType].matcher == nil {
			continue
		}
		a, err := s.find(ctx, actorType, id)
		switch {
		case errors.Is(err, ErrNoActor):
			continue
		case err != nil:
			return err
		case a.Email != address || a.EmailVerified:
			continue
		}
		if ok, err := s.confirmOwner(ctx, actorType, a); err != nil {
			return err
		} else if !ok {
			return auth.ErrProofOutdated // they changed meanwhile: look again
		}
	}
	return nil
}

// ChangePassword replaces the password of whoever is signed in, who proves the one of now in the same input: see
// auth.Service.ChangePassword. It returns the session as it lives on, and a new access token of it: its cookie and tokens of
// before are dead, along with every other session of the identity. The token is empty if the session has ended since.
func (s *Service) ChangePassword(ctx context.Context, session auth.Session, provider string, in auth.Input) (now auth.Session, token string, err error) {
	if _, err := s.allow(session.ActorType, provider); err != nil {
		return auth.Session{}, "", err
	}
	if now, err = s.auth.ChangePassword(ctx, session, provider, in); err != nil {
		return auth.Session{}, "", err
	}
	return now, s.refreshed(ctx, now), nil
}

// refreshed is a token of a session that has just been carried over something that is done. It is empty if there is none: the
// session has ended since, or, which is logged, it cannot be made now. That is no reason to say that nothing was done.
func (s *Service) refreshed(ctx context.Context, session auth.Session) (token string) {
	token, err := s.Refresh(ctx, session)
	if err != nil && !errors.Is(err, auth.ErrSession) && !errors.Is(err, auth.ErrNotFound) {
		s.log.Error("make a token after a change of the credentials", "session", session.ID, "error", err)
	}
	return token
}
