package auth

import (
	"cmp"
	"context"
)

// OnNotice registers f, which knows the address of the account that an identity signs in to, if its owner has proved it, and
// says "" otherwise: there they hear of what is done to their ways to sign in. It runs in the transaction of the event that
// says so. Without one, and for who has no account, it is the address of a way to sign in. Register before the service is used.
func (s *Service) OnNotice(f func(context.Context, IdentityID) (address string, err error)) {
	s.tellAt = append(s.tellAt, f)
}

// Notice is for an event about a way to sign in of an identity, or with the zero value about the identity: where to tell the
// owner, and that it is done by the client of ctx. The address is the account's; then that of the way, then that of the
// oldest other way of which one is proved. One that nobody has proved is never told anything: it may be a stranger's. Call
// it in the transaction of the event.
func (s *Service) Notice(ctx context.Context, id IdentityID, about ProviderIdentity) (n Notice, err error) {
	c := clientOf(ctx)
	n.UserAgent = clip(c.UserAgent, 256)
	if !c.Shared { // or it is a proxy's, which tells nobody anything
		n.IP = clip(c.IP, 64)
	}
	for _, f := range s.tellAt {
		if n.Email, err = f(ctx, id); err != nil || n.Email != "" {
			return n, err
		}
	}
	if n.Email = about.proved(); n.Email != "" {
		return n, nil
	}
	ways, err := s.store.providerIdentities(ctx, ProviderIdentityFilter{IdentityIDs: []IdentityID{id}})
	for _, way := range ways { // oldest first
		n.Email = cmp.Or(n.Email, way.proved())
	}
	return n, err
}

// proved is the address of the way to sign in, if it is proved.
func (p ProviderIdentity) proved() string {
	if p.EmailVerifiedAt.IsZero() {
		return ""
	}
	return p.Email
}
