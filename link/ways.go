package link

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Ways are the ways to sign in of whoever the session is of, oldest first. auth.ErrSession: they are gone.
func (s *Service) Ways(ctx context.Context, session auth.Session) ([]auth.ProviderIdentity, error) {
	i, err := s.auth.RetrieveAuthIdentity(ctx, session.IdentityID)
	if errors.Is(err, auth.ErrNotFound) {
		err = auth.ErrSession
	}
	return i.Providers, err
}

// LinkProvider gives whoever is signed in another way to sign in to their account. The first input proves once more that they
// are who signed in (auth.Service.ProveAgain), the second proves the new way to its provider, or registers with it
// (auth.Service.ProveWay). What is theirs already is returned, and nothing changes. Their sessions go on.
//
// Nothing is linked to an account whose address is not proved: whoever owns the mailbox would find it there (ErrPrimaryEmail).
// A way that keeps a secret, or signs in by an address alone, is by the account's own address, if by one: whoever reads another's
// mailbox could set the secret anew, or have what signs in mailed to them, and come into an account that is not theirs, or keep a
// door to one that they believe is (ErrForeignEmail). It counts as
// proved then. ErrLinked: the way is another account's. One that is nobody's, and was proved just now, is moved here, and its
// sessions end. ErrNoAccount: the session is nobody's yet. ErrProvider: it is not for the actor type, or signs
// in an actor of another type whom what they have signed in with does not. The other errors are those of proving, and auth.ErrSession.
func (s *Service) LinkProvider(ctx context.Context, session auth.Session, again auth.Input, provider string, in auth.Input) (way auth.ProviderIdentity, err error) {
	if _, err := s.allow(session.ActorType, provider); err != nil {
		return auth.ProviderIdentity{}, err
	}
	a, err := s.account(ctx, session, false) // before anybody is asked about whoever the input names
	if err == nil {
		err = s.namesOwn(provider, in, a)
	}
	if err != nil {
		return auth.ProviderIdentity{}, err
	}
	var proved auth.Proof
	prove := func() (auth.Proof, error) {
		if proved, err = s.auth.ProveAgain(ctx, session, again); err != nil {
			return auth.Proof{}, err
		}
		p, err := s.auth.ProveWay(ctx, provider, in)
		if errors.Is(err, auth.ErrIdentityExists) {
			err = auth.ErrIdentityExists.Msg("There is a sign-in by this address already, with another password. Set a new one by mail, sign in by it, or do this with that password.")
		}
		return p, err
	}
	_, err = s.proveAndRecord(ctx, prove, func(ctx context.Context, p auth.Proof, _ auth.IdentityID) (l Login, err error) {
		way, err = s.linkProof(ctx, session, proved, p)
		return Login{}, err
	})
	return way, err
}

// LinkProof is LinkProvider for what is proved already, as by a provider of two steps: again is from auth.Service.ProveAgain,
// and p from auth.Service.Finish or Prove.
func (s *Service) LinkProof(ctx context.Context, session auth.Session, again, p auth.Proof) (way auth.ProviderIdentity, err error) {
	for range attempts {
		err = s.db.InTx(ctx, func(ctx context.Context) (err error) {
			way, err = s.linkProof(ctx, session, again, p)
			return err
		})
		if !errors.Is(err, errKnown) && !errors.Is(err, auth.ErrProofOutdated) {
			break
		}
	}
	if errors.Is(err, errKnown) {
		err = auth.ErrProofOutdated
	}
	return way, err
}

// linkProof links in the transaction of ctx. errKnown: the way became somebody's meanwhile, look again.
func (s *Service) linkProof(ctx context.Context, session auth.Session, again, p auth.Proof) (auth.ProviderIdentity, error) {
	if _, err := s.allow(session.ActorType, p.Provider()); err != nil {
		return auth.ProviderIdentity{}, err
	}
	other, err := s.auth.OwnerOf(ctx, p)
	if err != nil {
		return auth.ProviderIdentity{}, err
	}
	if other == session.IdentityID {
		other = ""
	}
	held := func(ctx context.Context) error {
		if err := s.opensNoMore(ctx, session, p.Provider()); err != nil || other == "" {
			return err
		}
		linked, err := s.store.linkedAs(ctx, other, session.ActorType)
		if err == nil && linked {
			err = ErrLinked
		}
		return err
	}
	if other != "" { // as at a first sign-in the link row comes first: nobody becomes an actor by it before this is over
		free, err := s.store.insert(ctx, other, session.ActorType, mint(session.ActorType))
		if err == nil && !free {
			err = ErrLinked
		}
		if err != nil {
			return auth.ProviderIdentity{}, err
		}
	}
	a, err := s.account(ctx, session, true)
	if err != nil {
		return auth.ProviderIdentity{}, err
	}
	own := p.Email() != "" && p.Email() == a.Email
	if (s.auth.HasSecret(p.Provider()) && p.Email() != "" || p.ByAddress()) && !own {
		return auth.ProviderIdentity{}, ErrForeignEmail
	}
	way, linked, err := s.auth.LinkWay(ctx, session, again, p, other, held)
	if err == nil && other != "" { // also if another link of the same was first, and left nobody to have one
		err = s.store.delete(ctx, other, session.ActorType)
	}
	switch {
	case errors.Is(err, auth.ErrEntityTaken):
		return auth.ProviderIdentity{}, errKnown
	case err != nil || !linked:
		return way, err
	}
	if own && way.EmailVerifiedAt.IsZero() && s.auth.HasSecret(way.Provider) { // the mailbox is the account's, which is who does this
		if err := s.auth.VerifyEmail(ctx, session.IdentityID, a.Email); err != nil {
			return auth.ProviderIdentity{}, err
		}
		if way, err = s.auth.RetrieveProviderIdentity(ctx, way.ID); err != nil {
			return auth.ProviderIdentity{}, err
		}
	}
	told, err := s.auth.Notice(ctx, session.IdentityID, auth.ProviderIdentity{})
	if err != nil {
		return auth.ProviderIdentity{}, err
	}
	told.Email = a.Email // which is proved; the new way may be by another
	return way, s.events.Emit(ctx, ProviderLinked{session.IdentityID, session.ActorType, a.ID, way.Provider, way.ID, told})
}

// opensNoMore refuses a way by which the session's identity would be an actor whom the session's own provider does not sign in:
// where customers have a password and users do not, that adds nothing to the user.
func (s *Service) opensNoMore(ctx context.Context, session auth.Session, provider string) error {
	types, err := s.store.linkedTypes(ctx, session.IdentityID)
	if err != nil {
		return err
	}
	for _, actorType := range types {
		if k := s.kinds[actorType]; actorType != session.ActorType && k.allows(provider) && !k.allows(session.Provider) {
			return ErrProvider.About(actorType, "You would sign in by this as %s, too, and not by what you have signed in with. Sign in as %s, then add it.", actorType, actorType)
		}
	}
	return nil
}

// account is the actor whom the session speaks for, if a way to sign in can be added to them; hold keeps a user as they are until
// the transaction ends.
func (s *Service) account(ctx context.Context, session auth.Session, hold bool) (Actor, error) {
	id, err := s.store.actor(ctx, session.IdentityID, session.ActorType)
	if err != nil {
		return Actor{}, err
	}
	if id == "" {
		return Actor{}, ErrNoAccount
	}
	if hold && session.ActorType == ActorUser {
		if _, err := s.users.HoldUser(ctx, user.ID(id)); err != nil {
			return Actor{}, gone(err)
		}
	}
	a, err := s.active(ctx, session.ActorType, id)
	if err == nil && !a.EmailVerified {
		return Actor{}, ErrPrimaryEmail
	}
	return a, err
}

// namesOwn refuses another address than the account's before a provider that keeps secrets looks it up: nobody who is
// signed in tries out here who is known. Whether it is needed, linkProof decides.
func (s *Service) namesOwn(provider string, in auth.Input, a Actor) error {
	if !s.auth.HasSecret(provider) {
		return nil
	}
	var said struct {
		Email any `json:"email"`
	}
	if err := in.Decode(&said); err != nil {
		return err
	}
	typed, _ := said.Email.(string)
	if typed == "" {
		return nil // the provider says what is missing
	}
	address, err := auth.CanonicalEmail(typed)
	if err == nil && address != a.Email {
		err = ErrForeignEmail
	}
	return err
}

// UnlinkProvider takes a way to sign in from whoever is signed in, who proves by the input once more that they are who signed
// in: auth.Service.ProveAgain. It returns the session as it lives on, and a new access token of it, which is empty if it has ended
// since: its cookie and tokens of before are dead, along with every other session, and what was out for the way, or was asked
// for by mail, is void.
//
// auth.ErrLastWay: nothing would be left to sign in by as one of the actor types that they are, of what these may use.
// auth.ErrNotFound: the way is not theirs, or not there. Of any number at once who take one each, one way is left. The other
// errors are those of ProveAgain, and auth.ErrSession.
func (s *Service) UnlinkProvider(ctx context.Context, session auth.Session, again auth.Input, way string) (now auth.Session, token string, err error) {
	_, err = s.proveAndRecord(ctx, func() (auth.Proof, error) { return s.auth.ProveAgain(ctx, session, again) },
		func(ctx context.Context, p auth.Proof, _ auth.IdentityID) (l Login, err error) {
			now, err = s.unlinkWay(ctx, session, p, way)
			return Login{}, err
		})
	if err != nil {
		return auth.Session{}, "", err
	}
	return now, s.refreshed(ctx, now), nil
}

// errLastWay says what to do.
var errLastWay = auth.ErrLastWay.Msg("This is the last way to sign in to this account. Add another one first; or ask an administrator to delete the account.")

func (s *Service) unlinkWay(ctx context.Context, session auth.Session, again auth.Proof, way string) (auth.Session, error) {
	gone, now, err := s.auth.UnlinkWay(ctx, session, again, way, func(ctx context.Context, before, left []auth.ProviderIdentity) error {
		types, err := s.store.linkedTypes(ctx, session.IdentityID)
		if err != nil {
			return err
		}
		for _, actorType := range append(types, session.ActorType) {
			leads := func(w auth.ProviderIdentity) bool { return s.kinds[actorType].allows(w.Provider) }
			if slices.ContainsFunc(before, leads) && !slices.ContainsFunc(left, leads) {
				return errLastWay
			}
		}
		return nil
	})
	if errors.Is(err, auth.ErrLastWay) {
		err = errLastWay
	}
	if err != nil {
		return auth.Session{}, err
	}
	actor, err := s.store.actor(ctx, session.IdentityID, session.ActorType)
	if err != nil {
		return auth.Session{}, err
	}
	told, err := s.auth.Notice(ctx, session.IdentityID, gone)
	if err != nil {
		return auth.Session{}, err
	}
	return now, s.events.Emit(ctx, ProviderUnlinked{session.IdentityID, session.ActorType, actor, gone.Provider, gone.ID, told})
}

// linkedTypes are the actor types that the identity is linked as.
func (s store) linkedTypes(ctx context.Context, identity auth.IdentityID) (types []string, err error) {
	err = s.db.Conn(ctx).NewSelect().Model((*linkRow)(nil)).Column("actor_type").Where("auth_identity_id = ?", identity).Order("actor_type").Scan(ctx, &types)
	if err != nil {
		return nil, fmt.Errorf("read links: %w", err)
	}
	return types, nil
}

// CreateFromSession makes whoever is signed in, and is nobody yet, a user, by the address that the provider they signed in with
// vouches for: what Medusa's createUser does. It is for the providers of ActorOptions.CreateProviders alone. The policy
// decides as at a first sign-in, with the invite that is open for the address; where it is Manual, which leaves making users to
// the application, this is how the application does it. The session goes on, and its next refresh speaks for the
// user; only where the sign-in is added to an account that signs in otherwise, it ends, and the next sign-in leads there.
//
// ErrCreateRefused: the provider is none of those. ErrActorExists: the session is somebody's. ErrEmailRequired: nothing vouches
// for an address. A policy that has them wait refuses by its own reason. ErrDeactivated, ErrLinked; auth.ErrSession: it has
// ended, or is by another provider or as another type of actor.
func (s *Service) CreateFromSession(ctx context.Context, session auth.Session, provider string) (u user.User, err error) {
	if session.ActorType != ActorUser || session.Provider != provider {
		return user.User{}, auth.ErrSession
	}
	o, err := s.allow(session.ActorType, provider)
	if err != nil {
		return user.User{}, err
	}
	if !slices.Contains(o.CreateProviders, provider) || s.auth.HasSecret(provider) {
		return user.User{}, ErrCreateRefused
	}
	for range attempts {
		err = s.db.InTx(ctx, func(ctx context.Context) (err error) {
			u, err = s.createFromSession(ctx, session, o)
			return err
		})
		if !errors.Is(err, errKnown) {
			break
		}
	}
	return u, err
}

// checkCreators says by which provider an actor type can make nobody.
func (s *Service) checkCreators(actorType string, o ActorOptions) error {
	for _, provider := range o.CreateProviders {
		switch {
		case !slices.ContainsFunc(s.auth.ListAuthProviders(), func(i auth.ProviderInfo) bool { return i.ID == provider }):
			return fmt.Errorf("link: actor type %q makes users by provider %q, but there is no such provider", actorType, provider)
		case !o.allows(provider):
			return fmt.Errorf("link: actor type %q makes users by provider %q, which it may not use", actorType, provider)
		case s.auth.HasSecret(provider):
			return fmt.Errorf("link: actor type %q makes users by provider %q, which vouches for nobody's address: whoever registers with it types one", actorType, provider)
		}
	}
	return nil
}

func (s *Service) createFromSession(ctx context.Context, session auth.Session, o ActorOptions) (user.User, error) {
	identity, err := s.auth.RetrieveAuthIdentity(ctx, session.IdentityID)
	if errors.Is(err, auth.ErrNotFound) {
		return user.User{}, auth.ErrSession
	}
	if err != nil {
		return user.User{}, err
	}
	actor, err := s.store.actor(ctx, session.IdentityID, session.ActorType)
	if err != nil {
		return user.User{}, err
	}
	if actor != "" {
		return user.User{}, ErrActorExists
	}
	proved := vouchedFor(identity, session.Provider)
	if proved.Email == "" {
		return user.User{}, ErrEmailRequired.Msg("Email is required to create a user account.")
	}
	n := Newcomer{}
	if n.Invite, err = s.openInvite(ctx, proved.Email); err != nil {
		return user.User{}, err
	}
	claim := mint(session.ActorType)
	if won, err := s.store.insert(ctx, session.IdentityID, session.ActorType, claim); err != nil {
		return user.User{}, err
	} else if !won {
		return user.User{}, errKnown // they were made at the same time
	}
	if err := s.auth.HoldSession(ctx, session); err != nil {
		return user.User{}, err
	}
	if n.Identity, err = s.auth.RetrieveAuthIdentity(ctx, session.IdentityID); err != nil { // as it is now that it is held
		return user.User{}, err
	}
	if n.Identity.Proved = vouchedFor(n.Identity, session.Provider); n.Identity.Proved.Email != proved.Email {
		return user.User{}, errKnown
	}
	policy := o.Policy
	if _, manual := innermost(policy).(Manual); manual {
		policy = exchanged(policy, AutoProvision{})
	}
	l, err := s.settle(ctx, entry{actorType: session.ActorType, policy: policy, session: session.ID}, n, claim)
	switch {
	case err != nil:
		return user.User{}, err
	case l.Waiting != nil:
		return user.User{}, refusedBy(*l.Waiting)
	}
	return s.users.RetrieveUser(ctx, user.ID(l.ActorID))
}

// vouchedFor is what the identity has proved by the provider, if that vouches for an address; the zero value otherwise.
func vouchedFor(i auth.Identity, provider string) auth.Proved {
	for _, p := range i.Providers {
		if p.Provider == provider && p.Email != "" && !p.EmailVerifiedAt.IsZero() {
			return auth.Proved{
				Provider: provider, EntityID: p.EntityID, Email: p.Email, EmailVerified: true, Profile: auth.Profile{Email: p.Email, EmailVerified: true},
			}
		}
	}
	return auth.Proved{}
}

// refusedBy is the refusal of who would have to wait.
func refusedBy(w Waiting) error {
	return &fault.Error{Kind: fault.NotAllowed, Reason: w.Reason, Message: w.Message + " " + w.Next}
}

// tellAt is the address of the user who signs in by the identity, if it is proved: where they hear of what is done to their ways.
// Actors of an application's own hear of it at the address of a way.
func (s *Service) tellAt(ctx context.Context, identity auth.IdentityID) (string, error) {
	id, err := s.store.actor(ctx, identity, ActorUser)
	if err != nil || id == "" {
		return "", err
	}
	u, err := s.users.RetrieveUser(ctx, user.ID(id))
	switch {
	case errors.Is(err, user.ErrNotFound):
		return "", nil // the link of a newcomer names who will be
	case err != nil || !u.EmailVerified():
		return "", err
	}
	return u.Email, nil
}
