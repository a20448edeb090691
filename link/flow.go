package link

import (
	"context"

	"github.com/latchkey-go/latchkey/modules/auth"
)

// Returned is what has come of a flow: a sign-in, or a way to sign in that was added.
type Returned struct {
	Login    Login
	Way      auth.ProviderIdentity // the way that was added; its ID is empty: somebody signed in
	ReturnTo string                // where the caller wanted to go

	Session auth.Session // to whose account a way was to be added, whether or not it was; the zero Session: somebody signs in
}

// Begin starts a sign-in with a provider of two steps as an actor of the binding's type.
func (s *Service) Begin(ctx context.Context, provider string, in auth.Input, b auth.Binding, c auth.Client) (auth.Flow, error) {
	if _, err := s.allow(b.ActorType, provider); err != nil {
		return auth.Flow{}, err
	}
	b.Session, b.Again = auth.Session{}, auth.Proof{}
	return s.auth.BeginBound(auth.WithClient(ctx, c), provider, in, b)
}

// BeginLink is the first step of LinkProvider with a provider of two: the first input proves once more that the caller is who
// signed in, now, and Finish adds the way in the same session alone. What LinkProvider refuses to begin with, it refuses too.
func (s *Service) BeginLink(ctx context.Context, session auth.Session, again auth.Input, provider string, in auth.Input, b auth.Binding) (auth.Flow, error) {
	if _, err := s.allow(session.ActorType, provider); err != nil {
		return auth.Flow{}, err
	}
	if _, err := s.account(ctx, session, false); err != nil {
		return auth.Flow{}, err
	}
	proved, err := s.auth.ProveAgain(ctx, session, again)
	if err != nil {
		return auth.Flow{}, err
	}
	b.ActorType, b.Session, b.Again = session.ActorType, session, proved
	return s.auth.BeginBound(ctx, provider, in, b)
}

// Finish is the second step: it lets in who comes back, as SignIn does, or adds the way to the account of the session in which
// the flow was begun, as LinkProof does. What was proved is used up, so nobody is asked for it again. Along with an error it
// says, as far as it is known, what was to be done and where the caller wanted to go. Who acts where a way is added, as is told the
// context, is not known before: acting is asked then; it may be nil.
func (s *Service) Finish(ctx context.Context, provider string, in auth.Input, back auth.Return, c auth.Client,
	acting func(context.Context, auth.Session) context.Context) (r Returned, err error) {
	o, err := s.allow(back.ActorType, provider)
	if err != nil {
		return Returned{}, err
	}
	ctx = auth.WithClient(ctx, c)
	f, err := s.auth.FinishBound(ctx, provider, in, back)
	r.ReturnTo, r.Session = f.ReturnTo, f.Session
	adds := f.Session.ID != ""
	if adds && acting != nil {
		ctx = acting(ctx, f.Session)
	}
	if err != nil {
		return r, err
	}
	proved := false
	prove := func() (auth.Proof, error) {
		if !proved {
			proved = true
			return f.Proof, nil
		}
		return s.auth.Renew(ctx, f.Proof)
	}
	_, err = s.proveAndRecord(ctx, prove, func(ctx context.Context, p auth.Proof, known auth.IdentityID) (l Login, err error) {
		if adds {
			r.Way, err = s.linkProof(ctx, f.Session, f.Again, p)
			return Login{}, err
		}
		r.Login, err = s.enter(ctx, entry{actorType: back.ActorType, policy: o.Policy, proof: p, known: known, client: c})
		return r.Login, err
	})
	if err != nil || adds {
		return r, err
	}
	r.Login, err = s.withToken(ctx, r.Login)
	return r, err
}

// withToken gives whoever has signed in an access token.
func (s *Service) withToken(ctx context.Context, l Login) (Login, error) {
	var err error
	if l.actor != nil { // no need to look again: whatever ends their sign-ins since ends this one's session, too
		l.Token, err = s.tokenFor(l.Session, l.Identity, *l.actor)
	} else {
		l.Token, err = s.token(ctx, l.Session, l.Identity, l.ActorID)
	}
	return l, err
}
