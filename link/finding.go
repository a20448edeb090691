package link

import (
	"slices"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// conclude says what there is to know and to do, what keeps the person out first.
func (s *Service) conclude(e *Explanation) {
	s.concludeUsers(e)
	e.concludeIdentities()
	e.concludeNewcomers()
	e.concludeInvites()
	e.concludePending()
	e.concludeThrottles()
	unknown := len(e.Users)+len(e.Identities)+len(e.Invites)+len(e.Pending) == 0
	if unknown {
		e.find(Finding{Code: FoundNothing})
	}
	blocked := func(f Finding) bool { return f.Blocks }
	slices.SortStableFunc(e.Findings, func(a, b Finding) int {
		switch {
		case a.Blocks == b.Blocks:
			return 0
		case a.Blocks:
			return -1
		}
		return 1
	})
	switch {
	case unknown:
		e.Status = StatusUnknown
	case slices.ContainsFunc(e.Findings, blocked):
		e.Status = StatusBlocked
	default:
		e.Status = StatusClear
	}
}

// find adds a finding, once, with the advice on it.
func (e *Explanation) find(f Finding) {
	if slices.ContainsFunc(e.Findings, func(g Finding) bool { return g.Code == f.Code && g.About == f.About && g.ActorType == f.ActorType }) {
		return
	}
	if a, ok := AdviceFor(f.Code); ok {
		f.Advice = a
	}
	e.Findings = append(e.Findings, f)
}

// findOf adds what a forecast says: of a policy's own reasons, the policy knows what can be done.
func (e *Explanation) findOf(f Forecast, blocks bool) {
	e.find(Finding{Code: f.Reason, Blocks: blocks, About: string(f.IdentityID), ActorType: f.ActorType, Advice: Advice{
		What: f.Message, Person: f.Next, Operator: "This is a reason of the application's own policy for the actor type " + f.ActorType + ": see there.",
	}})
}

func (s *Service) concludeUsers(e *Explanation) {
	for _, u := range e.Users {
		if !u.DeletedAt.IsZero() {
			e.find(Finding{Code: FoundDeleted, About: string(u.ID)})
		}
	}
	u := e.has()
	if u == nil {
		return
	}
	about := string(u.ID)
	switch {
	case !u.Active():
		e.find(Finding{Code: ErrDeactivated.Reason, Blocks: true, About: about})
	case u.HeldBack:
		e.find(Finding{Code: WaitProof.Reason, Blocks: true, About: about})
	}
	if !u.EmailVerified() {
		e.find(Finding{Code: FoundUnproved, About: about})
	}
	if len(u.Identities) == 0 {
		e.find(Finding{Code: FoundNoWay, Blocks: true, About: about})
		return
	}
	letIn, resets := false, false
	for _, i := range e.Identities {
		if !slices.Contains(u.Identities, i.ID) {
			continue
		}
		for _, way := range i.Providers {
			resets = resets || s.ResetsBy(way.Provider)
		}
		letIn = letIn || slices.ContainsFunc(e.Forecasts, func(f Forecast) bool {
			return f.IdentityID == i.ID && f.ActorType == ActorUser && f.Outcome == OutcomeSignIn
		})
		if len(i.Providers) == 0 {
			e.find(Finding{Code: FoundNoWay, Blocks: true, About: about})
		}
	}
	if !resets {
		e.find(Finding{Code: ErrNoPassword.Reason, About: about})
	}
	if letIn {
		e.find(Finding{Code: FoundWay, About: about})
	}
}

func (e *Explanation) concludeIdentities() {
	naming := 0
	for _, i := range e.Identities {
		about := string(i.ID)
		if i.Registers == e.Email {
			e.find(Finding{Code: FoundRegistering, Blocks: len(i.Links) == 0, About: about})
		}
		if slices.ContainsFunc(i.Providers, func(p auth.ProviderIdentity) bool { return p.Email == e.Email || p.EntityID == e.Email }) {
			naming++
		}
		for _, l := range i.Links {
			switch {
			case l.State == LinkGone:
				e.find(Finding{Code: FoundGone, Blocks: true, About: about})
			case l.ActorType == ActorUser && l.Email != e.Email:
				e.find(Finding{Code: FoundElsewhere, About: about})
				if l.State == LinkDeactivated {
					e.find(Finding{Code: ErrDeactivated.Reason, Blocks: true, About: l.ActorID})
				}
			}
		}
		if len(i.Links) == 0 {
			e.concludeNobody(i)
		}
		for _, f := range e.Forecasts {
			linked := slices.ContainsFunc(i.Links, func(l ExplainedLink) bool { return l.ActorType == f.ActorType })
			if f.IdentityID == i.ID && f.Reason == ErrProvider.Reason && linked {
				e.findOf(f, true)
			}
		}
	}
	if naming > 1 {
		e.find(Finding{Code: FoundSeveral})
	}
}

// concludeNobody says what comes of an identity that is linked to nobody, as each type. That one type may not use a provider
// which another may is no finding: the person is one of the other.
func (e *Explanation) concludeNobody(i ExplainedIdentity) {
	for _, f := range e.Forecasts {
		if f.IdentityID != i.ID {
			continue
		}
		switch f.Outcome {
		case OutcomeWait, OutcomeRefuse, OutcomeFail:
			served := slices.ContainsFunc(e.Forecasts, func(g Forecast) bool {
				return g.IdentityID == i.ID && g.Provider == f.Provider && g.Reason != ErrProvider.Reason
			})
			if f.Reason != ErrProvider.Reason || !served {
				e.findOf(f, true)
			}
		default:
			e.find(Finding{Code: FoundNobody, About: string(i.ID), ActorType: f.ActorType})
		}
	}
}

// concludeNewcomers says what keeps out somebody with the address whom nobody has seen. While an invite is open that is the
// way in.
func (e *Explanation) concludeNewcomers() {
	if len(e.Identities) > 0 {
		return
	}
	for _, f := range e.Forecasts {
		if f.Outcome == OutcomeWait || f.Outcome == OutcomeRefuse || f.Outcome == OutcomeFail {
			e.findOf(f, !f.Proved && (e.invite == nil || f.Outcome == OutcomeFail))
		}
	}
}

func (e *Explanation) concludeInvites() {
	if len(e.Invites) == 0 {
		return
	}
	newest := e.Invites[0]
	if e.invite != nil {
		e.find(Finding{Code: FoundInvited, About: string(e.invite.ID), Until: e.invite.ExpiresAt})
		return
	}
	u := e.has()
	switch newest.Status {
	case string(user.StatusExpired):
		e.find(Finding{Code: user.ErrInviteExpired.Reason, About: string(newest.ID)})
	case InviteWithdrawn:
		e.find(Finding{Code: user.ErrInviteRevoked.Reason, About: string(newest.ID)})
	case string(user.StatusAccepted):
		if u == nil || u.ID != newest.AcceptedBy {
			e.find(Finding{Code: user.ErrInviteUsed.Reason, About: string(newest.ID)})
		}
	}
}

func (e *Explanation) concludePending() {
	for _, p := range e.Pending {
		code := map[string]string{auth.PendingReset: FoundResetting, auth.PendingVerification: FoundProving, auth.PendingEmailChange: FoundMoving}[p.Kind]
		if code != "" { // who registers was told of already
			e.find(Finding{Code: code, About: string(p.IdentityID), Until: p.ExpiresAt})
		}
	}
}

func (e *Explanation) concludeThrottles() {
	for _, c := range e.Throttles {
		if !c.Refuses {
			continue
		}
		f := Finding{Code: auth.ErrThrottled.Reason, Blocks: true, About: c.Limit, Until: c.Until}
		switch {
		case c.OfMails:
			f.Code, f.Blocks = FoundMailsUsedUp, false
		case c.OfPlace:
			f.Code, f.Blocks = FoundThrottledAtPlace, false
		}
		e.find(f)
	}
}
