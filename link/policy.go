package link

import (
	"context"
	"fmt"
	"strings"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Policy decides what becomes of somebody who has proved an identity that is linked to nobody yet. It decides; the
// Service acts. It runs inside the transaction, maybe more than once, and for Service.Explain, in one that is rolled back: no
// network, no side effects. An error means that
// something broke, and rolls everything back; to refuse somebody, Wait.
type Policy interface {
	Decide(ctx context.Context, n Newcomer) (Decision, error)
}

// PolicyFunc is a function that is a Policy.
type PolicyFunc func(ctx context.Context, n Newcomer) (Decision, error)

// Decide calls f.
func (f PolicyFunc) Decide(ctx context.Context, n Newcomer) (Decision, error) { return f(ctx, n) }

// Newcomer is somebody whom a policy decides about. Match and Invite are looked up only for an address that is proved to
// be the newcomer's: who merely claims one matches nothing.
type Newcomer struct {
	Identity auth.Identity // Identity.Proved says by what, and whether its address is proved
	Match    *Actor        // the actor who has the newcomer's address; nil: none
	Invite   *user.Invite  // the invite for the newcomer's address that can be accepted now; nil: none, or they are to be no user
}

// Draft is the actor that the newcomer would become; a user would be a member, with what the provider says of them, or with the invite's
// roles if there is one.
func (n Newcomer) Draft() user.Draft {
	p := n.Identity.Proved
	d := user.Draft{
		Email: p.Email, EmailVerified: p.EmailVerified, Roles: []string{user.RoleMember}, Via: user.ViaFirstAuth,
		FirstName: text(p.Profile.FirstName), LastName: text(p.Profile.LastName), AvatarURL: text(p.Profile.AvatarURL),
	}
	if d.FirstName == nil && d.LastName == nil && p.Profile.Name != "" {
		first, last, _ := strings.Cut(p.Profile.Name, " ")
		d.FirstName, d.LastName = text(first), text(last)
	}
	if n.Invite != nil {
		d.Roles, d.Via = n.Invite.Roles, user.ViaInvite
	}
	return d
}

func text(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Decision is what a policy decided: Create, Join or Wait. The zero Decision is an error.
type Decision struct {
	draft   *user.Draft
	join    string
	waiting *Waiting
}

// Create makes the newcomer an actor: a user, or what the application keeps of the type. If the address turns out to be taken, the policy is asked again with the match; a
// newcomer who has not proved the address waits instead. The newcomer's invite is accepted along with it.
func Create(d user.Draft) Decision { return Decision{draft: &d} }

// Join gives the actor another way to sign in. It is for a newcomer who has proved the actor's address, and fails for any
// other. If the actor has not proved it, the newcomer reclaims the actor: every way to sign in of before goes.
func Join(actorID string) Decision { return Decision{join: actorID} }

// Wait lets the newcomer in without an actor: their token opens nothing but what leads on.
func Wait(w Waiting) Decision { return Decision{waiting: &w} }

// Waiting says why somebody who proved who they are is nobody's actor yet, and what they can do.
type Waiting struct {
	Reason  string `json:"reason"`  // for programs
	Message string `json:"message"` // why
	Next    string `json:"next"`    // what to do
}

// What the shipped policies have people wait for.
var (
	WaitVerifyEmail = Waiting{"verify_email",
		"An account with this e-mail address exists, and that the address is yours is not proved.",
		"Have a link mailed that proves it, sign in the way you did before, or reset the password by mail."}
	WaitProof = Waiting{"verification_required",
		"That the e-mail address is yours is not proved yet.",
		"Open the link that was mailed to it, while you are signed in, then go on; or have another one mailed."}
	WaitEmail = Waiting{"email_required",
		"This sign-in came without an e-mail address, and an account needs one.",
		"Sign in with a provider that passes on your address, or open an invite."}
	WaitInvite = Waiting{"invite_required",
		"Accounts are made by invite here.",
		"Ask an administrator for an invite and open its link while you are signed in."}
	WaitManual = Waiting{"not_linked",
		"Your sign-in is not connected to an account yet.",
		"Open an invite while you are signed in, or ask an administrator."}
)

// WaitingFor is the Waiting of a reason; ok is false for one that is none of ours, such as a policy's own.
func WaitingFor(reason string) (w Waiting, ok bool) {
	for _, w := range []Waiting{WaitVerifyEmail, WaitProof, WaitEmail, WaitInvite, WaitManual, WaitDomain} {
		if w.Reason == reason {
			return w, true
		}
	}
	return Waiting{}, false
}

// AutoProvision makes everybody an actor on the first sign-in, and adds the sign-in to the actor who has the address if
// both sides have proved it. It is the default.
type AutoProvision struct{}

// Decide implements Policy.
func (AutoProvision) Decide(_ context.Context, n Newcomer) (Decision, error) {
	switch {
	case n.Match != nil:
		return Join(n.Match.ID), nil
	case n.Identity.Proved.Email == "":
		return Wait(WaitEmail), nil
	default:
		return Create(n.Draft()), nil
	}
}

// InviteOnly makes users only of those who were invited, and adds a sign-in to an existing user as AutoProvision does. It is
// for users alone: nobody is invited to be anything else.
type InviteOnly struct{}

// Decide implements Policy.
func (InviteOnly) Decide(_ context.Context, n Newcomer) (Decision, error) {
	switch {
	case n.Match != nil:
		return Join(n.Match.ID), nil
	case n.Invite != nil:
		return Create(n.Draft()), nil
	default:
		return Wait(WaitInvite), nil
	}
}

// Manual makes nobody a user: that is left to Accept and to the application, as in Medusa.
type Manual struct{}

// Decide implements Policy.
func (Manual) Decide(context.Context, Newcomer) (Decision, error) { return Wait(WaitManual), nil }

// TakesNewcomers reports whether somebody who is not invited may become an actor of the type by registering and signing in: false where
// the policy is InviteOnly or Manual. What any other decides shows when it is asked.
func (s *Service) TakesNewcomers(actorType string) bool {
	switch innermost(s.kinds[actorType].Policy).(type) {
	case InviteOnly, Manual:
		return false
	}
	return true
}

// PolicyNamed returns the shipped policy of that name: auto, invite or manual.
func PolicyNamed(name string) (Policy, error) {
	switch name {
	case "auto":
		return AutoProvision{}, nil
	case "invite":
		return InviteOnly{}, nil
	case "manual":
		return Manual{}, nil
	default:
		return nil, fmt.Errorf("link: no policy is called %q: use auto, invite or manual", name)
	}
}
