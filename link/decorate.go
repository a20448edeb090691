package link

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// WaitDomain is what AllowDomains has people wait for whose address is of another domain.
var WaitDomain = Waiting{"domain_not_allowed",
	"Accounts here are for e-mail addresses of certain domains, and yours is of another.",
	"Sign in by an address of your organization, or ask an administrator for an invite and open its link while you are signed in."}

// AllowDomains has the policy decide only about newcomers with an address of one of the domains. It is exact: a subdomain is
// another domain. International domains are written in their xn-- form.
//
// Only a proved address is of a domain: who claims one of an allowed domain waits until they have proved it, by a link that
// is mailed. Who was invited, or joins a user who is there, passes by whatever domain. Without any domain nobody else does.
// New fails for what is no domain.
func AllowDomains(p Policy, domains ...string) Policy {
	a := allowDomains{next: cmp.Or(p, Policy(AutoProvision{})), domains: map[string]bool{}}
	for _, d := range domains {
		canonical, err := canonicalDomain(d)
		a.wrong = cmp.Or(a.wrong, err)
		a.domains[canonical] = true
	}
	return a
}

type allowDomains struct {
	next    Policy
	domains map[string]bool
	wrong   error
}

func (p allowDomains) Decide(ctx context.Context, n Newcomer) (Decision, error) {
	proved := n.Identity.Proved
	switch {
	case p.wrong != nil:
		return Decision{}, p.wrong
	case n.Match != nil || n.Invite != nil:
	case proved.Email == "":
		return Wait(WaitEmail), nil
	case !p.domains[proved.Email[strings.LastIndexByte(proved.Email, '@')+1:]]:
		return Wait(WaitDomain), nil
	case !proved.EmailVerified:
		return Decision{waiting: &WaitProof}, nil // by which it is mailed
	}
	return p.next.Decide(ctx, n)
}

func (p allowDomains) check() error { return cmp.Or(p.wrong, checkPolicy(p.next)) }

func (p allowDomains) inner() Policy { return p.next }

func (p allowDomains) around(next Policy) Policy {
	p.next = next
	return p
}

func canonicalDomain(d string) (string, error) {
	address, err := auth.CanonicalEmail("somebody@" + d)
	if err != nil {
		return "", fmt.Errorf("link: AllowDomains: %q is no domain: write it like example.com, an international one in its xn-- form", d)
	}
	return strings.TrimPrefix(address, "somebody@"), nil
}

// WithRoles gives these roles to whom the policy makes a user without an invite: the roles of an invite are the invite's.
// New fails for what is no name of a role.
func WithRoles(p Policy, roles ...string) Policy {
	w := withRoles{next: cmp.Or(p, Policy(AutoProvision{})), roles: slices.Clone(roles)}
	if err := user.CheckRoles(roles...); err != nil {
		w.wrong = fmt.Errorf("link: WithRoles: %v", err)
	}
	return w
}

type withRoles struct {
	next  Policy
	roles []string
	wrong error
}

func (p withRoles) Decide(ctx context.Context, n Newcomer) (Decision, error) {
	if p.wrong != nil {
		return Decision{}, p.wrong
	}
	d, err := p.next.Decide(ctx, n)
	if err == nil && d.draft != nil && n.Invite == nil {
		draft := *d.draft
		draft.Roles = slices.Clone(p.roles)
		d = Create(draft)
	}
	return d, err
}

func (p withRoles) check() error { return cmp.Or(p.wrong, checkPolicy(p.next)) }

func (p withRoles) inner() Policy { return p.next }

func (p withRoles) around(next Policy) Policy {
	p.next = next
	return p
}

// WithDraft has draft choose what whom the policy makes a user is to be: their id, names, picture, metadata and roles, such as
// by Newcomer.Identity.Proved.Profile. It is given what the policy would make, and with an invite the invite's roles. The address
// and whether it is proved, and how the user came to be, are not its to change.
//
// A chosen id is one that user.NewID could have made. If another user has it, be they deleted, the sign-in fails with
// user.ErrIDTaken. An error rolls everything back: a fault is the caller's, every other, as a role or id that is none, is the
// application's. It may be called more often than once, inside the transaction: no network, no side effects.
//
// Of somebody who proves their address after the sign-in, the profile is no more than what was kept: the address and the
// metadata. Accepting an invite in a session asks no policy, and so it makes a user without draft.
func WithDraft(p Policy, draft func(ctx context.Context, n Newcomer, d user.Draft) (user.Draft, error)) Policy {
	return withDraft{cmp.Or(p, Policy(AutoProvision{})), draft}
}

type withDraft struct {
	next  Policy
	draft func(context.Context, Newcomer, user.Draft) (user.Draft, error)
}

func (p withDraft) Decide(ctx context.Context, n Newcomer) (Decision, error) {
	d, err := p.next.Decide(ctx, n)
	if err != nil || d.draft == nil {
		return d, err
	}
	given := *d.draft
	given.Roles = slices.Clone(given.Roles)
	chosen, err := p.draft(ctx, n, given)
	switch {
	case err != nil:
		return Decision{}, fmt.Errorf("draft: %w", err)
	case chosen.Email != d.draft.Email || chosen.EmailVerified != d.draft.EmailVerified || chosen.Via != d.draft.Via:
		return Decision{}, errors.New("the draft changes the address, whether it is proved, or how the user came to be")
	}
	if err := user.CheckRoles(chosen.Roles...); err != nil {
		return Decision{}, fmt.Errorf("the draft has a role that is none: %v", err) // ours: the caller cannot mend it
	}
	return Create(chosen), nil
}

func (p withDraft) check() error {
	if p.draft == nil {
		return errors.New("link: WithDraft needs a function")
	}
	return checkPolicy(p.next)
}

func (p withDraft) inner() Policy { return p.next }

func (p withDraft) around(next Policy) Policy {
	p.next = next
	return p
}

// decorated is a policy that was put around another.
type decorated interface {
	inner() Policy
	around(next Policy) Policy // the same around another one
}

// innermost is the policy that all others were put around.
func innermost(p Policy) Policy {
	for d, ok := p.(decorated); ok; d, ok = p.(decorated) {
		p = d.inner()
	}
	return p
}

// exchanged is the policy with another innermost one.
func exchanged(p, innermost Policy) Policy {
	if d, ok := p.(decorated); ok {
		return d.around(exchanged(d.inner(), innermost))
	}
	return innermost
}

// String says what was decided, for tests and logs.
func (d Decision) String() string {
	switch {
	case d.waiting != nil:
		return "wait: " + d.waiting.Reason
	case d.join != "":
		return fmt.Sprintf("join %s", d.join)
	case d.draft != nil:
		return fmt.Sprintf("create %s with the roles %v", cmp.Or(string(d.draft.ID), "a user"), d.draft.Roles)
	default:
		return "nothing"
	}
}

// checkPolicy says what is wrong with how a policy was put together.
func checkPolicy(p Policy) error {
	if c, ok := p.(interface{ check() error }); ok {
		return c.check()
	}
	return nil
}

// decideBy has the policy that was given beside the options decide about users, and says what is wrong with any policy.
func (s *Service) decideBy(own Policy) error {
	o := s.kinds[ActorUser]
	switch {
	case own == nil:
	case o.Policy != nil:
		return errors.New("link: two policies decide about users, that of the options and that of AsPolicy or Params.Policy: leave one out")
	default:
		o.Policy = own
		s.kinds[ActorUser] = o
	}
	for name, o := range s.kinds {
		if o.Policy == nil {
			o.Policy = AutoProvision{}
		}
		if s.kinds[name] = o; checkPolicy(o.Policy) != nil {
			return fmt.Errorf("the policy of %s: %w", name, checkPolicy(o.Policy))
		}
		if _, ok := innermost(o.Policy).(InviteOnly); ok && name != ActorUser {
			return fmt.Errorf("link: the policy of actor type %q is InviteOnly, and nobody is invited to be anything but a user", name)
		}
	}
	return nil
}
