package link

import (
	"context"
	"errors"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// RequestVerification has a link mailed to an address of whoever is signed in, which proves it: one that the identity signs
// in with or registers with, or the user's. Of every other address it says the same: auth.ErrVerificationAddress.
func (s *Service) RequestVerification(ctx context.Context, session auth.Session, r auth.VerificationRequest) (v auth.Verification, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) (err error) {
		v, err = s.requestVerification(ctx, session, r)
		return err
	})
	return v, err
}

func (s *Service) requestVerification(ctx context.Context, session auth.Session, r auth.VerificationRequest) (auth.Verification, error) {
	a, err := s.actorOf(ctx, session)
	if err != nil {
		return auth.Verification{}, err
	}
	if r.OfActor = false; a != nil && !a.EmailVerified {
		address, nonsense := auth.CanonicalEmail(r.Email)
		r.OfActor = nonsense == nil && address == a.Email
	}
	return s.auth.RequestVerification(ctx, session, r)
}

// actorOf returns the actor whom the session's identity is linked to, held back or not; nil: nobody.
func (s *Service) actorOf(ctx context.Context, session auth.Session) (*Actor, error) {
	id, err := s.store.actor(ctx, session.IdentityID, session.ActorType)
	if err != nil || id == "" {
		return nil, err
	}
	a, err := s.active(ctx, session.ActorType, id)
	return &a, err
}

// Unproved returns the address by whose proof whoever is signed in gets further; empty: there is none. For an actor that is
// their address, if it keeps them back, and for who is nobody yet the one they signed in with or register with.
func (s *Service) Unproved(ctx context.Context, session auth.Session) (string, error) {
	a, err := s.actorOf(ctx, session)
	if err != nil {
		return "", err
	}
	if a != nil {
		held, err := s.HoldsBack(ctx, session.ActorType, *a)
		if err != nil || !held {
			return "", err
		}
		return a.Email, nil
	}
	i, err := s.auth.RetrieveAuthIdentity(ctx, session.IdentityID)
	if err != nil {
		return "", err
	}
	for _, p := range i.Providers {
		if p.Provider == session.Provider {
			if p.EmailVerifiedAt.IsZero() {
				return p.Email, nil
			}
			return "", nil
		}
	}
	return s.auth.Registering(ctx, session.IdentityID)
}

// CheckVerificationToken says what the token proves in the session: see auth.Service.CheckVerificationToken.
func (s *Service) CheckVerificationToken(ctx context.Context, session auth.Session, token string) (auth.Verification, error) {
	return s.auth.CheckVerificationToken(ctx, session, token)
}

// ConfirmVerification proves an address by a mailed token, in a session of the identity that asked for it, and does what
// follows from a proved address, in one transaction: a user's address is proved, and who is nobody yet becomes whom the
// policy says, as at a first sign-in, with the invite that is open for the address. The session stays, and its next refresh
// speaks for the user; only where the policy joins the identity to a user who signs in by another one, they sign in anew.
//
// Of any number at once one succeeds. After an error nothing has changed, and the token is as good as before. The errors are
// those of auth.Service.ConfirmVerification, ErrDeactivated and ErrLinked.
func (s *Service) ConfirmVerification(ctx context.Context, session auth.Session, token string) (v auth.Verification, err error) {
	err = s.auth.Watch(ctx, auth.LimitToken, "verify "+string(session.IdentityID), func(ctx context.Context) (err error) {
		for range attempts {
			err = s.db.InTx(ctx, func(ctx context.Context) (err error) {
				v, err = s.confirm(ctx, session, token)
				return err
			})
			if !errors.Is(err, errKnown) {
				break
			}
		}
		return err
	})
	return v, err
}

func (s *Service) confirm(ctx context.Context, session auth.Session, token string) (auth.Verification, error) {
	v, err := s.auth.CheckVerificationToken(ctx, session, token)
	if err != nil {
		return auth.Verification{}, err
	}
	a, err := s.actorOf(ctx, session)
	held := false
	switch {
	case err != nil:
		return auth.Verification{}, err
	case a != nil:
		held, err = s.confirmActor(ctx, session, *a, v.Email)
	default:
		if o, refused := s.allow(session.ActorType, session.Provider); refused == nil {
			return s.confirmNewcomer(ctx, session, token, o, v.Email)
		}
	}
	if err == nil {
		v, err = s.auth.ConfirmVerification(ctx, session, token)
	}
	if err == nil && held { // sessions come after the identity and its ways, as wherever these are locked
		err = s.auth.EndSessions(ctx, session.IdentityID, session.ActorType, session.ID)
	}
	if err == nil {
		err = s.auth.CancelEmailChanges(ctx, v.Email)
	}
	return v, err
}

// confirmActor proves the actor's address, if it is that, and reports whether it kept them back. Then what else they are signed in to
// was of use to nobody, and stays so: as at linking, it is to end.
func (s *Service) confirmActor(ctx context.Context, session auth.Session, a Actor, address string) (held bool, err error) {
	if a.Email != address || a.EmailVerified {
		return false, nil
	}
	if held, err = s.HoldsBack(ctx, session.ActorType, a); err != nil {
		return false, err
	}
	return held, s.verify(ctx, session.ActorType, a)
}

// confirmNewcomer proves the address of who is nobody yet and asks the policy, as first does.
func (s *Service) confirmNewcomer(ctx context.Context, session auth.Session, token string, o ActorOptions, address string) (auth.Verification, error) {
	n := Newcomer{}
	var err error
	if session.ActorType == ActorUser {
		if n.Invite, err = s.openInvite(ctx, address); err != nil {
			return auth.Verification{}, err
		}
	}
	claim := mint(session.ActorType)
	if won, err := s.store.insert(ctx, session.IdentityID, session.ActorType, claim); err != nil {
		return auth.Verification{}, err
	} else if !won {
		return auth.Verification{}, errKnown // they signed in, or confirmed, at the same time
	}
	v, err := s.auth.ConfirmVerification(ctx, session, token)
	if err != nil {
		return auth.Verification{}, err
	}
	if n.Identity, err = s.auth.RetrieveAuthIdentity(ctx, session.IdentityID); err != nil {
		return auth.Verification{}, err
	}
	n.Identity.Proved = auth.Proved{
		Provider: session.Provider, Email: v.Email, EmailVerified: true, NewlyVerified: true, Profile: auth.Profile{Email: v.Email, EmailVerified: true},
	}
	for _, p := range n.Identity.Providers {
		if p.Provider == session.Provider {
			n.Identity.Proved.EntityID, n.Identity.Proved.Profile.Metadata = p.EntityID, p.UserMetadata
		}
	}
	if _, err := s.settle(ctx, entry{actorType: session.ActorType, policy: o.Policy, session: session.ID}, n, claim); err != nil {
		return auth.Verification{}, err
	}
	return v, s.auth.CancelEmailChanges(ctx, v.Email)
}

// HoldsBack reports whether the actor can do nothing until their address is proved, because the actor type wants that
// (ActorOptions.RequireVerifiedEmail). Who is the admin by the set-up link is never held back: nobody could let them in.
func (s *Service) HoldsBack(ctx context.Context, actorType string, a Actor) (bool, error) {
	if !s.kinds[actorType].RequireVerifiedEmail || a.EmailVerified {
		return false, nil
	}
	u, ok := a.Record.(user.User)
	if !ok || actorType != ActorUser || !u.HasRole(user.RoleAdmin) {
		return true, nil
	}
	setup, err := s.users.IsSetupAdmin(ctx, u.ID)
	return !setup, err
}

// provesFirst reports whether a newcomer with an address proves it before anything is decided about them: because the actor
// type wants that, or because what is decided must not tell whether the address is known.
func (s *Service) provesFirst(actorType string) bool {
	return s.kinds[actorType].RequireVerifiedEmail || s.enumerationSafe
}

// vouchFor proves the address of an actor if the sign-in that is about to be recorded proves it: anew, or as was known when that
// still kept them back. It comes before the identity is locked, as all that locks actors.
func (s *Service) vouchFor(ctx context.Context, e entry, id string) error {
	address := e.proof.ProvedEmail()
	if address == "" || !e.proof.ProvesAnew() && !s.kinds[e.actorType].RequireVerifiedEmail {
		return nil
	}
	a, err := s.find(ctx, e.actorType, id)
	if errors.Is(err, ErrNoActor) || (err == nil && (a.EmailVerified || a.Email != address)) {
		return nil
	}
	if err != nil {
		return err
	}
	return s.verify(ctx, e.actorType, a)
}

// verify notes that the actor has proved their address. Of a type that knows nobody by their address nothing is noted.
func (s *Service) verify(ctx context.Context, actorType string, a Actor) error {
	if by := s.kinds[actorType].matcher; by != nil {
		_, err := by.VerifyActor(ctx, a) // who has changed meanwhile has another address by now
		return err
	}
	return nil
}

// holdBack takes from a sign-in whom it speaks for until the address is proved, if it has to be, and has a link mailed, but
// not while one is under way.
func (s *Service) holdBack(ctx context.Context, actorType string, l *Login) error {
	address := ""
	switch {
	case l.ActorID != "":
		if !s.kinds[actorType].RequireVerifiedEmail {
			return nil
		}
		if l.actor == nil {
			a, err := s.find(ctx, actorType, l.ActorID)
			if err != nil {
				return err
			}
			l.actor = &a
		}
		if held, err := s.HoldsBack(ctx, actorType, *l.actor); err != nil || !held {
			return err
		}
		address = l.actor.Email
		l.ActorID, l.actor, l.Waiting = "", nil, &WaitProof
	case l.Waiting == &WaitProof:
		address = l.Identity.Proved.Email
	default:
		return nil
	}
	if l.Unproved = true; address == "" {
		l.Waiting = &WaitEmail
		return nil
	}
	v, err := s.requestVerification(ctx, l.Session, auth.VerificationRequest{Email: address, UnlessPending: true, Quietly: true})
	l.Verification = &v
	return err
}

// signUpUnseen signs somebody up without a look at who is known: they get an identity that is nobody's and has no way to
// sign in, and the mailbox decides what comes of it. done is false if it cannot.
func (s *Service) signUpUnseen(ctx context.Context, actorType, provider string, in auth.Input, c auth.Client) (l Login, done bool, err error) {
	proof, can, err := s.auth.ProveRegistration(ctx, provider, in)
	if err != nil || !can {
		return Login{}, false, err
	}
	err = s.db.InTx(ctx, func(ctx context.Context) (err error) {
		if l.Identity, err = s.auth.AdmitRegistration(ctx, proof); err != nil {
			return err
		}
		if l.Session, err = s.auth.OpenSession(ctx, l.Identity, actorType, c); err != nil {
			return err
		}
		if err := s.store.noteUnlinked(ctx, l.Identity.ID, actorType); err != nil {
			return err
		}
		_, err = s.auth.RequestVerification(ctx, l.Session, auth.VerificationRequest{Email: l.Identity.Proved.Email, Quietly: true})
		if err != nil {
			return err
		}
		return s.events.Emit(ctx, SignedUp{l.Session.ID, l.Identity.ID, actorType, provider, true})
	})
	if err == nil {
		l.Token, err = s.token(ctx, l.Session, l.Identity, "")
	}
	return l, err == nil, err
}

// SignInToVerify is SignIn for who opened the link of a verification where they are not signed in. If they are registering,
// they prove themselves by what they registered with, and are signed in as who registered. If that fails, the error comes
// with the Login's Identity.ID: what was tried is theirs, whatever address was typed.
func (s *Service) SignInToVerify(ctx context.Context, actorType, provider, token string, in auth.Input, c auth.Client) (l Login, err error) {
	if _, err := s.allow(actorType, provider); err != nil {
		return Login{}, err
	}
	ctx = auth.WithClient(ctx, c)
	i, registers, err := s.auth.ProveRegistered(ctx, token, in)
	switch {
	case err != nil:
		return Login{Identity: i}, err
	case !registers:
		return s.SignIn(ctx, actorType, provider, in, c)
	}
	l.Identity, l.Waiting, l.Unproved = i, &WaitProof, true
	err = s.db.InTx(ctx, func(ctx context.Context) (err error) {
		if l.Session, err = s.auth.OpenSession(ctx, i, actorType, c); err != nil {
			return err
		}
		return s.events.Emit(ctx, SignedIn{
			SessionID: l.Session.ID, Identity: i.ID, ActorType: actorType, Provider: l.Session.Provider, Waiting: l.Waiting.Reason,
		})
	})
	if err != nil {
		return Login{}, err
	}
	l.Token, err = s.token(ctx, l.Session, l.Identity, "")
	return l, err
}

// SignUpInvited is SignUp for whoever holds the link of an invite: who was invited may learn whether the address is known
// already, so Options.EnumerationSafe makes no difference here. The input must be of the invited address, unless the link is
// the set-up link.
func (s *Service) SignUpInvited(ctx context.Context, invite, actorType, provider string, in auth.Input, c auth.Client) (Login, error) {
	i, err := s.users.ValidateInviteToken(ctx, invite)
	if err != nil {
		return Login{}, err
	}
	return s.signUp(ctx, actorType, provider, in, c, func(identity auth.Identity) error {
		if !i.Setup() && identity.Proved.Email != i.Email {
			return ErrInviteEmail
		}
		return nil
	})
}

// finishRegistration gives the session's identity its way to sign in, if it registers, for whoever holds an invite to the
// address, or the set-up link. Without such a link nobody learns whether the address is known.
func (s *Service) finishRegistration(ctx context.Context, session auth.Session, invite user.Invite) error {
	address, err := s.auth.Registering(ctx, session.IdentityID)
	if err != nil || address == "" {
		return err
	}
	if !invite.Setup() && address != invite.Email {
		return errOtherAddress
	}
	return s.auth.CompleteRegistration(ctx, session.IdentityID, address)
}
