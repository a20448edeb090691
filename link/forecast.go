package link

import (
	"context"
	"errors"
	"fmt"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

// What Forecast.Outcome says.
const (
	OutcomeSignIn  = "sign_in" // they are let in as whom they are linked to
	OutcomeCreate  = "create"  // they become a new actor
	OutcomeJoin    = "join"    // the sign-in is added to who has the address
	OutcomeReclaim = "reclaim" // they take over who has the address, and whoever signed in as them before is out
	OutcomeWait    = "wait"    // they are let in as nobody
	OutcomeRefuse  = "refuse"  // they are not let in
	OutcomeFail    = "fail"    // the policy fails, and so would the sign-in
)

// Forecast is what a sign-in would lead to now, if the person proved who they are.
type Forecast struct {
	ActorType  string
	Provider   string
	IdentityID auth.IdentityID // who signs in; empty: a newcomer
	Proved     bool            // the address is, before or by the sign-in
	Outcome    string
	Reason     string   // why they wait, are refused or it fails; empty: they do not, are not, it does not
	Message    string   // of who waits or is refused
	Next       string   // of who waits
	ActorID    string   // whom they would be; empty: nobody, or somebody new
	Roles      []string // of the one who would be made
}

func (f Forecast) waits(w Waiting) Forecast {
	f.Outcome, f.Reason, f.Message, f.Next = OutcomeWait, w.Reason, w.Message, w.Next
	return f
}

func (f Forecast) refused(err error) Forecast {
	f.Outcome = OutcomeRefuse
	if why, ok := fault.Of(err); ok {
		f.Reason, f.Message = why.Reason, why.Message
	}
	return f
}

// forecast asks what would come of a sign-in: by the ways there are, and of newcomers with the address, who have proved it
// and who have not, by every provider.
func (s *Service) forecast(ctx context.Context, e *Explanation) {
	for _, actorType := range s.ActorTypes() {
		for _, i := range e.Identities {
			for _, way := range i.Providers {
				if len(e.Forecasts) > MaxExplained { // no more than are told are asked for: each is a transaction
					break
				}
				if f, ok := s.forecastKnown(ctx, e, actorType, i, way); ok {
					e.Forecasts = append(e.Forecasts, f)
				}
			}
		}
	}
	e.Forecasts = cut(e, e.Forecasts)
	for _, actorType := range s.ActorTypes() {
		providers, err := s.Providers(actorType)
		if err != nil {
			continue // it is there
		}
		for _, p := range providers {
			for _, proved := range []bool{false, true} {
				e.Forecasts = append(e.Forecasts, s.forecastNewcomer(ctx, e, actorType, p.ID, proved))
			}
		}
	}
}

// forecastKnown is what would come of a sign-in by a way that is there. ok is false where that is not about the address.
func (s *Service) forecastKnown(ctx context.Context, e *Explanation, actorType string, i ExplainedIdentity, way auth.ProviderIdentity) (f Forecast, ok bool) {
	f = Forecast{ActorType: actorType, Provider: way.Provider, IdentityID: i.ID, Proved: way.Email == e.Email && !way.EmailVerifiedAt.IsZero()}
	if _, err := s.allow(actorType, way.Provider); err != nil {
		return f.refused(err), true
	}
	other := false // it is another actor, too
	for _, l := range i.Links {
		if l.ActorType != actorType {
			other = true
			continue
		}
		f.ActorID = l.ActorID
		switch {
		case l.State == LinkGone:
			f.ActorID = ""
			return f.refused(auth.ErrInvalidCredentials), true
		case l.State == LinkDeactivated:
			return f.refused(ErrDeactivated), true
		case l.heldBack && !f.Proved: // what the sign-in proves, it proves of the user as well
			return f.waits(WaitProof), true
		}
		f.Outcome = OutcomeSignIn
		return f, true
	}
	if way.Email != e.Email && way.EntityID != e.Email {
		return f, false
	}
	n := Newcomer{Identity: i.Identity}
	n.Identity.Proved = auth.Proved{Provider: way.Provider, EntityID: way.EntityID, Email: way.Email, EmailVerified: f.Proved,
		Profile: auth.Profile{Email: way.Email, EmailVerified: f.Proved}}
	return s.decided(ctx, e, f, n, other), true
}

// forecastNewcomer is what would come of somebody with the address whom nobody has seen.
func (s *Service) forecastNewcomer(ctx context.Context, e *Explanation, actorType, provider string, proved bool) Forecast {
	f := Forecast{ActorType: actorType, Provider: provider, Proved: proved}
	for _, i := range e.Identities {
		for _, way := range i.Providers {
			if way.Provider == provider && way.EntityID == e.Email { // by this provider there is no newcomer
				if s.enumerationSafe {
					return f.refused(auth.ErrRegistered)
				}
				return f.refused(auth.ErrIdentityExists)
			}
		}
	}
	n := Newcomer{Identity: auth.Identity{CreatedAt: e.At, UpdatedAt: e.At}}
	n.Identity.Proved = auth.Proved{Provider: provider, EntityID: e.Email, Email: e.Email, EmailVerified: proved, NewlyVerified: proved, Created: true,
		Profile: auth.Profile{Email: e.Email, EmailVerified: proved}}
	n.Identity.Providers = []auth.ProviderIdentity{{Provider: provider, EntityID: e.Email, Email: e.Email, CreatedAt: e.At, UpdatedAt: e.At}}
	if proved {
		n.Identity.Providers[0].EmailVerifiedAt = e.At
	}
	return s.decided(ctx, e, f, n, false)
}

// decided asks the policy as settle does, and says what settle would make of it.
func (s *Service) decided(ctx context.Context, e *Explanation, f Forecast, n Newcomer, other bool) Forecast {
	o, p := s.kinds[f.ActorType], n.Identity.Proved
	if p.Email != "" && !p.EmailVerified && s.provesFirst(f.ActorType) {
		return f.waits(WaitProof)
	}
	if p.EmailVerified && f.ActorType == ActorUser {
		n.Invite = e.invite
	}
	var d Decision
	var taken, takes bool
	var refused error
	err := s.rolledBack(ctx, func(ctx context.Context) (err error) {
		has, err := s.match(ctx, f.ActorType, e.Email)
		if err != nil {
			return err
		}
		if p.EmailVerified {
			n.Match = has
		}
		if d, err = o.Policy.Decide(ctx, n); err != nil {
			return err
		}
		if d.draft != nil {
			if d.draft.Email != e.Email { // as almost never
				has, err = s.match(ctx, f.ActorType, d.draft.Email)
			}
			taken = has != nil
		}
		if err != nil || n.Match == nil || n.Match.ID != d.join {
			return err
		}
		owner, err := s.store.identity(ctx, f.ActorType, d.join)
		if err != nil {
			return err
		}
		if takes, err = s.takes(ctx, f.ActorType, *n.Match, owner); errors.Is(err, ErrLinked) {
			refused, err = err, nil
		}
		return err
	})
	switch {
	case err != nil:
		return s.fails(f, err)
	case d.waiting != nil:
		return f.waits(*d.waiting)
	case d.join != "":
		if n.Match == nil || n.Match.ID != d.join {
			return s.fails(f, errors.New("it joins a newcomer who has not proved the actor's address"))
		}
		f.ActorID = d.join
		switch {
		case n.Match.Inactive:
			return f.refused(ErrDeactivated)
		case refused != nil:
			return f.refused(refused)
		case takes:
			f.Outcome = OutcomeReclaim
		case other:
			return f.refused(ErrLinked)
		default:
			f.Outcome = OutcomeJoin
		}
		return f
	case d.draft == nil:
		return s.fails(f, errors.New("it decided nothing"))
	case taken && n.Match == nil:
		return f.waits(WaitVerifyEmail)
	case taken:
		return s.fails(f, errors.New("it makes an actor of an address that is taken"))
	case o.RequireVerifiedEmail && !d.draft.EmailVerified:
		if d.draft.Email == "" {
			return f.waits(WaitEmail)
		}
		return f.waits(WaitProof)
	}
	f.Outcome, f.Roles = OutcomeCreate, d.draft.Roles
	return f
}

// fails says that the policy fails, and tells the log why.
func (s *Service) fails(f Forecast, err error) Forecast {
	s.log.Error("a policy fails", "actor_type", f.ActorType, "provider", f.Provider, "error", err)
	f.Outcome, f.Reason = OutcomeFail, FoundPolicyFails
	return f
}

// errAsked rolls back.
var errAsked = errors.New("link: it was only asked")

// rolledBack runs f in a transaction that leaves nothing.
func (s *Service) rolledBack(ctx context.Context, f func(context.Context) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("a panic: %v", p)
		}
	}()
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		if err := f(ctx); err != nil {
			return err
		}
		return errAsked
	})
	if errors.Is(err, errAsked) {
		return nil
	}
	return err
}

// has is the user who has the address; nil: nobody.
func (e *Explanation) has() *ExplainedUser {
	if len(e.Users) > 0 && e.Users[0].DeletedAt.IsZero() {
		return &e.Users[0]
	}
	return nil
}
