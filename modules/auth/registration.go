package auth

import (
	"context"
	"errors"
	"slices"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
)

// ProveRegistration is Prove for SignUp without a look at whether the entity is known: whoever registers does and gets the
// same. The proof is for AdmitRegistration alone. ok is false, and there is no proof, if the mailbox cannot decide: the
// provider names no address, or vouches for it itself. ErrThrottled: too many registrations from the client's address.
func (s *Service) ProveRegistration(ctx context.Context, provider string, in Input) (p Proof, ok bool, err error) {
	known, err := s.provider(provider)
	if err != nil {
		return Proof{}, false, err
	}
	r, can := known.(Registrar)
	if !can {
		return Proof{}, false, notSupported(SignUp, provider)
	}
	if err := s.takeByPlace(ctx, limitRegister); err != nil {
		return Proof{}, false, err
	}
	ctx, account := withAccount(ctx)
	assertion, err := r.Register(ctx, Attempt{Input: in, Secret: func(_ context.Context, entityID string) ([]byte, error) {
		account.is(subjectOf(provider, entityID))
		return nil, nil
	}})
	if err != nil {
		return Proof{}, false, err
	}
	if p, err = s.asserted(SignUp, provider, assertion, snapshot{}); err != nil {
		return Proof{}, false, err
	}
	if p.email == "" || assertion.Profile.EmailVerified {
		return Proof{}, false, nil
	}
	p.unseen = true
	return p, true, nil
}

// AdmitRegistration keeps what somebody registers with, for an identity of its own that has no way to sign in: it gets one
// by ConfirmVerification, if nobody has the entity by then. So neither the answer nor any session of the identity tells
// whether somebody is known. ErrInvalidCredentials: the proof is none of ProveRegistration's.
func (s *Service) AdmitRegistration(ctx context.Context, p Proof) (Identity, error) {
	if !p.unseen {
		return Identity{}, ErrInvalidCredentials
	}
	now := database.Now()
	row := &registrationRow{
		AuthIdentityID: IdentityID(id.New("authid")), Provider: p.provider, EntityID: p.assertion.EntityID, Email: p.email,
		UserMetadata: p.assertion.Profile.Metadata, Secret: p.assertion.Secret, CreatedAt: now,
	}
	i := Identity{ID: row.AuthIdentityID, CreatedAt: now, UpdatedAt: now, ver: 1, Proved: Proved{
		Provider: p.provider, EntityID: p.assertion.EntityID, Email: p.email, Profile: p.assertion.Profile, Created: true,
	}}
	return i, s.db.InTx(ctx, func(ctx context.Context) error {
		if err := s.store.insertRegistration(ctx, row); err != nil {
			return err
		}
		return s.events.Emit(ctx, IdentityCreated{i.ID})
	})
}

// Registering returns the address that the identity registers with; empty: it does not.
func (s *Service) Registering(ctx context.Context, id IdentityID) (address string, err error) {
	row, err := s.store.registration(ctx, id)
	if err != nil || row == nil {
		return "", err
	}
	return row.Email, nil
}

// CompleteRegistration gives the identity the way to sign in that it registers with the address; it does nothing if it does
// not. The caller vouches that whoever holds the identity may learn whether somebody is known by the address.
// ErrRegistered: somebody is.
func (s *Service) CompleteRegistration(ctx context.Context, identity IdentityID, address string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		r, err := s.store.takeRegistration(ctx, identity, address)
		if err != nil || r == nil {
			return err
		}
		now := database.Now()
		way := &providerRow{
			ID: id.New(""), AuthIdentityID: identity, Provider: r.Provider, EntityID: r.EntityID, Email: r.Email,
			UserMetadata: r.UserMetadata, Secret: r.Secret, CreatedAt: now, UpdatedAt: now,
		}
		made, err := s.store.insertProviderIdentities(ctx, []*providerRow{way})
		if err != nil {
			return err
		}
		if !made[way.ID] {
			return ErrRegistered
		}
		return s.events.Emit(ctx, wayCreated(way))
	})
}

// ProveRegistered lets whoever has the token of a registration, and opened it where they are not signed in, prove that it
// is theirs by what they registered with. ok is false if the token is none of a registration, or not good. If it is good and
// what they give is not, the error comes with the ID of who registers. ErrThrottled: there have been too many failures, at
// this registration or from this address.
func (s *Service) ProveRegistered(ctx context.Context, token string, in Input) (i Identity, ok bool, err error) {
	c, err := s.parseVerification(token)
	if err != nil {
		return Identity{}, false, nil //nolint:nilerr // it is none
	}
	if _, err := s.goodVerification(ctx, c); err != nil {
		if errors.Is(err, ErrVerification) {
			err = nil
		}
		return Identity{}, false, err
	}
	r, err := s.store.registration(ctx, c.IdentityID)
	if err != nil || r == nil {
		return Identity{}, false, err
	}
	a, can := s.providers[r.Provider].(Authenticator)
	if !can {
		return Identity{}, false, nil
	}
	t := s.tallyRegistered(ctx, r.Provider, c.IdentityID)
	defer t.close()
	err = t.enter(ctx, r.EntityID, snapshot{}) // before the provider is asked: whom it is about is known
	var assertion Assertion
	if err == nil {
		ctx, account := withAccount(ctx)
		account.is(string(c.IdentityID))
		assertion, err = a.Authenticate(ctx, Attempt{Input: in, EntityID: r.EntityID, Secret: func(_ context.Context, entityID string) ([]byte, error) {
			if entityID != r.EntityID {
				return nil, nil
			}
			return slices.Clone(r.Secret), nil
		}})
	}
	if err == nil && assertion.EntityID != r.EntityID {
		err = ErrInvalidCredentials
	}
	if err = t.settle(ctx, err); err != nil {
		return Identity{ID: r.AuthIdentityID}, false, err
	}
	if i, err = s.RetrieveAuthIdentity(ctx, c.IdentityID); err != nil {
		return Identity{}, false, err
	}
	i.Proved = Proved{Provider: r.Provider, EntityID: r.EntityID, Email: r.Email}
	return i, true, nil
}
