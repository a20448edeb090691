package link

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/user"
)

// MaxExplained is how many of each an Explanation tells at most.
const MaxExplained = auth.MaxExplained

// What Explanation.Status says.
const (
	StatusUnknown = "unknown" // nothing is kept about the address
	StatusBlocked = "blocked" // a finding keeps the person out
	StatusClear   = "clear"   // nothing that is known here keeps them out
)

// Explanation is what an operator needs when somebody says that they cannot get in: what is kept about an address, what
// would happen now, and what to do. Nothing of it opens anything. Lists hold at most MaxExplained each.
type Explanation struct {
	Email      string // canonical
	At         time.Time
	Status     string
	Findings   []Finding
	Users      []ExplainedUser // who has the address, then, the newest first, who had it and is deleted
	Identities []ExplainedIdentity
	Invites    []ExplainedInvite // the newest first
	Pending    []auth.Pending
	Throttles  []auth.Count
	Forecasts  []Forecast // by actor type: for who is known, then for newcomers
	More       bool       // there is more of something than is told

	invite *user.Invite // that can be accepted; nil: none
}

// ExplainedUser is a user who has the address, or had it.
type ExplainedUser struct {
	user.User
	Identities []auth.IdentityID // by which they sign in, at most one
	HeldBack   bool              // they can do nothing until the address is proved: see HoldsBack
	ProvedBy   string            // by what the address is proved; empty: it is not
}

// By what an address is proved, as far as can be told from when it was: nothing else is kept of it.
const (
	ProvedByCommand     = "command_line" // the operator has vouched for it
	ProvedByInvite      = "invite"       // an invite that left by mail was accepted
	ProvedByMail        = "mail"         // a mailed link was opened, or a new password set by one
	ProvedByProvider    = "provider"     // the provider vouches for it
	ProvedByApplication = "application"  // whoever made the record has vouched for it
)

// ExplainedIdentity is somebody who proves themselves by the address, registers with it, or signs in a user who has it.
type ExplainedIdentity struct {
	auth.KnownIdentity
	Links    []ExplainedLink     // empty: it is nobody
	Unlinked []ExplainedUnlinked // as what it was let in without becoming somebody
	ProvedBy map[string]string   // by what the address of a provider identity is proved, by its id; none: it is not
}

// The states of an ExplainedLink.
const (
	LinkActive      = "active"
	LinkDeactivated = "deactivated"
	LinkGone        = "gone"    // the link leads to somebody who is deleted or was never there
	LinkUnknown     = "unknown" // what becomes of actors of that type is not known here
)

// ExplainedLink is whom an identity signs in.
type ExplainedLink struct {
	ActorType string
	ActorID   string
	Since     time.Time
	Email     string // of the actor; empty: none, or not known
	State     string

	heldBack bool
}

// ExplainedUnlinked says since when an identity is nobody of an actor type.
type ExplainedUnlinked struct {
	ActorType string
	Since     time.Time
	PurgedAt  time.Time // when it can be deleted, being of no use; zero: never
}

// InviteWithdrawn is the ExplainedInvite.Status of an invite that was withdrawn; the others are those of user.InviteStatus.
const InviteWithdrawn = "withdrawn"

// ExplainedInvite is an invite to the address, without what opens it.
type ExplainedInvite struct {
	ID          user.InviteID
	Status      string
	Roles       []string
	CreatedAt   time.Time
	ExpiresAt   time.Time
	AcceptedAt  time.Time // zero: not accepted
	AcceptedBy  user.ID
	WithdrawnAt time.Time // zero: not withdrawn
}

// Finding is one thing to know, and what can be done.
type Finding struct {
	Code      string    // for programs: a reason of the API, of a waiting sign-in, or one of ours
	Blocks    bool      // it keeps the person out
	About     string    // the id of a user, identity or invite, or the limit of a count; empty: of none in particular
	ActorType string    // as what they would sign in; empty: it is not about signing in as one type rather than another
	Until     time.Time // when it passes by itself; zero: it does not, or that is not known
	Advice
}

// Explain gathers all that is kept about the address of somebody who cannot get in, asks the policies what they would decide
// now, and says what can be done. The number of its statements does not depend on the address.
//
// Policies are asked as at a sign-in, each in a transaction that is rolled back. So call it outside transactions.
// auth.CanonicalEmail's error: it is no address.
func (s *Service) Explain(ctx context.Context, address string) (Explanation, error) {
	address, err := auth.CanonicalEmail(address)
	if err != nil {
		return Explanation{}, err
	}
	e := Explanation{Email: address, At: database.Now()}
	if err := s.explainUsers(ctx, &e); err != nil {
		return Explanation{}, err
	}
	if err := s.explainIdentities(ctx, &e); err != nil {
		return Explanation{}, err
	}
	if err := s.explainInvites(ctx, &e); err != nil {
		return Explanation{}, err
	}
	s.explainProofs(&e)
	s.forecast(ctx, &e)
	s.conclude(&e)
	return e, nil
}

// explainUsers looks for who has the address, and who had it.
func (s *Service) explainUsers(ctx context.Context, e *Explanation) error {
	living, err := s.users.ListUsers(ctx, user.Filter{Emails: []string{e.Email}}, user.Page{Limit: 1})
	if err != nil {
		return err
	}
	deleted, err := s.users.ListUsers(ctx, user.Filter{Emails: []string{e.Email}, WithDeleted: true, DeletedAt: everSince},
		user.Page{Limit: MaxExplained, Order: "-id"})
	if err != nil {
		return err
	}
	for _, u := range slices.Concat(living, deleted) {
		x := ExplainedUser{User: u}
		if u.DeletedAt.IsZero() {
			if x.HeldBack, err = s.HoldsBack(ctx, ActorUser, ActorOf(u)); err != nil {
				return err
			}
		}
		e.Users = append(e.Users, x)
	}
	e.Users = cut(e, e.Users)
	return nil
}

// everSince matches every time that there is.
var everSince = user.Times{From: time.Date(1, 1, 1, 0, 0, 0, 1000, time.UTC)}

// cut notes that there is more than is told.
func cut[T any](e *Explanation, all []T) []T {
	if len(all) > MaxExplained {
		e.More = true
		return all[:MaxExplained]
	}
	return all
}

// explainIdentities looks for who signs in by the address or as a user who has it, and whom they are linked to.
func (s *Service) explainIdentities(ctx context.Context, e *Explanation) error {
	ids := make([]string, len(e.Users))
	known := map[string]user.User{}
	for i, u := range e.Users {
		ids[i], known[string(u.ID)] = string(u.ID), u.User
	}
	theirs, err := s.store.identitiesOf(ctx, ActorUser, ids)
	if err != nil {
		return err
	}
	k, err := s.auth.Explain(ctx, auth.ExplainQuery{Email: e.Email, Identities: theirs, Watched: []string{"accept", "confirm", "verify"}})
	if err != nil {
		return err
	}
	e.Pending, e.Throttles, e.More = k.Pending, k.Throttles, e.More || k.More
	all := make([]auth.IdentityID, len(k.Identities))
	for i, identity := range k.Identities {
		all[i] = identity.ID
	}
	links, err := s.store.linksOf(ctx, all)
	if err != nil {
		return err
	}
	unlinked, err := s.store.unlinkedOf(ctx, all)
	if err != nil {
		return err
	}
	others := []user.ID{}
	for _, l := range links {
		if _, there := known[l.ActorID]; l.ActorType == ActorUser && !there {
			others = append(others, user.ID(l.ActorID))
		}
	}
	found, err := s.users.ListUsers(ctx, user.Filter{IDs: others, WithDeleted: true}, user.Page{Limit: MaxExplained})
	if err != nil {
		return err
	}
	for _, u := range found {
		known[string(u.ID)] = u
	}
	for _, identity := range k.Identities {
		x := ExplainedIdentity{KnownIdentity: identity}
		x.Providers = cut(e, x.Providers)
		for _, l := range links {
			if l.AuthIdentityID == identity.ID {
				link, err := s.explainLink(ctx, l, known)
				if err != nil {
					return err
				}
				x.Links = append(x.Links, link)
			}
		}
		for _, r := range unlinked {
			if r.AuthIdentityID == identity.ID && !slices.ContainsFunc(x.Links, func(l ExplainedLink) bool { return l.ActorType == r.ActorType }) {
				x.Unlinked = append(x.Unlinked, s.explainUnlinked(r))
			}
		}
		e.Identities = append(e.Identities, x)
		for i, u := range e.Users {
			if slices.ContainsFunc(x.Links, func(l ExplainedLink) bool { return l.ActorType == ActorUser && l.ActorID == string(u.ID) }) {
				e.Users[i].Identities = append(u.Identities, identity.ID)
			}
		}
	}
	return nil
}

func (s *Service) explainLink(ctx context.Context, l linkRow, known map[string]user.User) (x ExplainedLink, err error) {
	x = ExplainedLink{ActorType: l.ActorType, ActorID: l.ActorID, Since: database.UTC(l.CreatedAt), State: LinkUnknown}
	var a Actor
	switch k, served := s.kinds[l.ActorType]; {
	case !served:
		return x, nil
	case l.ActorType == ActorUser:
		u, there := known[l.ActorID]
		if a = ActorOf(u); !there || !u.DeletedAt.IsZero() {
			err = ErrNoActor
		}
	default:
		a, err = k.actors.FindActor(ctx, l.ActorID)
	}
	switch x.Email = a.Email; {
	case errors.Is(err, ErrNoActor):
		x.State, err = LinkGone, nil
	case a.Inactive:
		x.State = LinkDeactivated
	default:
		x.State = LinkActive
	}
	if err == nil && x.State == LinkActive {
		x.heldBack, err = s.HoldsBack(ctx, l.ActorType, a)
	}
	return x, err
}

func (s *Service) explainUnlinked(r unlinkedRow) ExplainedUnlinked {
	x := ExplainedUnlinked{ActorType: r.ActorType, Since: database.UTC(r.Since)}
	if s.unlinkedTTL > 0 {
		x.PurgedAt = x.Since.Add(s.unlinkedTTL)
	}
	return x
}

// explainInvites looks for invites to the address: the one that is open, then those that were accepted or withdrawn.
func (s *Service) explainInvites(ctx context.Context, e *Explanation) error {
	at := []string{e.Email}
	newest := user.Page{Limit: MaxExplained + 1, Order: "-id"}
	open, err := s.users.ListInvites(ctx, user.InviteFilter{Emails: at}, user.Page{Limit: 1})
	if err != nil {
		return err
	}
	accepted, err := s.users.ListInvites(ctx, user.InviteFilter{Emails: at, Accepted: true}, newest)
	if err != nil {
		return err
	}
	withdrawn, err := s.users.ListInvites(ctx, user.InviteFilter{Emails: at, WithDeleted: true, DeletedAt: everSince}, newest)
	if err != nil {
		return err
	}
	for _, i := range slices.Concat(open, accepted, withdrawn) {
		x := ExplainedInvite{ID: i.ID, Status: string(user.StatusPending), Roles: i.Roles, CreatedAt: i.CreatedAt, ExpiresAt: i.ExpiresAt,
			AcceptedAt: i.AcceptedAt, AcceptedBy: i.AcceptedBy, WithdrawnAt: i.DeletedAt}
		switch {
		case !i.DeletedAt.IsZero():
			x.Status = InviteWithdrawn
		case i.Accepted:
			x.Status = string(user.StatusAccepted)
		case !i.ExpiresAt.After(e.At):
			x.Status = string(user.StatusExpired)
		}
		if x.Status == string(user.StatusPending) {
			e.invite = &i
		}
		e.Invites = append(e.Invites, x)
	}
	slices.SortStableFunc(e.Invites, func(a, b ExplainedInvite) int { return b.CreatedAt.Compare(a.CreatedAt) })
	e.Invites = cut(e, e.Invites)
	return nil
}

// explainProofs tells by what addresses are proved. Only when is kept; what happened at the same time tells by what.
func (s *Service) explainProofs(e *Explanation) {
	accepted := func(at time.Time, by user.ID) bool {
		return slices.ContainsFunc(e.Invites, func(i ExplainedInvite) bool { return i.AcceptedBy == by && together(i.AcceptedAt, at) })
	}
	for n, i := range e.Identities {
		var owner ExplainedUser // of whom more than the id is known
		for _, u := range e.Users {
			if slices.Contains(u.Identities, i.ID) {
				owner = u
			}
		}
		proved := map[string]string{}
		for _, way := range i.Providers {
			switch at := way.EmailVerifiedAt; {
			case at.IsZero():
			case owner.ID != "" && accepted(at, owner.ID):
				proved[way.ID] = ProvedByInvite
			case !s.auth.HasSecret(way.Provider):
				proved[way.ID] = ProvedByProvider
			case owner.CreatedVia == user.ViaCLI && together(owner.CreatedAt, at):
				proved[way.ID] = ProvedByCommand
			case together(way.CreatedAt, at):
				proved[way.ID] = ProvedByApplication
			default:
				proved[way.ID] = ProvedByMail
			}
		}
		e.Identities[n].ProvedBy = proved
	}
	for n, u := range e.Users {
		if !u.EmailVerified() {
			continue
		}
		by, at := ProvedByMail, u.EmailVerifiedAt
		switch {
		case u.CreatedVia == user.ViaCLI && together(u.CreatedAt, at):
			by = ProvedByCommand
		case accepted(at, u.ID):
			by = ProvedByInvite
		case u.CreatedVia != user.ViaFirstAuth && together(u.CreatedAt, at):
			by = ProvedByApplication
		default:
			for _, i := range e.Identities {
				for _, way := range i.Providers {
					if slices.Contains(u.Identities, i.ID) && way.Email == u.Email && !way.EmailVerifiedAt.IsZero() && !way.EmailVerifiedAt.After(at.Add(instant)) {
						by = i.ProvedBy[way.ID]
					}
				}
			}
		}
		e.Users[n].ProvedBy = by
	}
}

// instant is how far apart two times of one transaction may be, and of one that waits a while.
const instant = 5 * time.Second

func together(a, b time.Time) bool { return !a.IsZero() && !b.IsZero() && a.Sub(b).Abs() <= instant }
