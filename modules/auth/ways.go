package auth

import (
	"context"
	"slices"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
)

// Provider is the provider that the proof is of; empty: of none.
func (p Proof) Provider() string { return p.provider }

// Email is the address that the provider names, canonical, proved or not; empty: none. See ProvedEmail.
func (p Proof) Email() string { return p.email }

// ByAddress reports whether the address is what the way signs in by: whoever has the mailbox has the way.
func (p Proof) ByAddress() bool { return p.email != "" && p.assertion.EntityID == p.email }

// ProveWay lets the provider establish who the caller is where they are signed in already and want another way to sign in:
// by registering, with a provider that has a registration of its own, and otherwise by signing in. It is Prove for SignUp or
// SignIn, and its errors are the same.
func (s *Service) ProveWay(ctx context.Context, provider string, in Input) (Proof, error) {
	if _, registers := s.providers[provider].(Registrar); registers {
		return s.Prove(ctx, SignUp, provider, in)
	}
	return s.Prove(ctx, SignIn, provider, in)
}

// OwnerOf returns whose the entity of the proof is now; empty: nobody's.
func (s *Service) OwnerOf(ctx context.Context, p Proof) (IdentityID, error) {
	now, err := s.store.snapshot(ctx, p.provider, p.assertion.EntityID)
	return now.identity, err
}

// LinkWay records a proof as a way to sign in of the session's identity, for whoever has proved by ProveAgain that they are
// who signed in. It moves no ver and ends no session of the identity. If the way is the identity's already, it is recorded
// as by Admit, and linked is false.
//
// From is another identity, from which the way may be taken; empty: none. It loses that way alone, and its sessions end; an
// identity that has no other is deleted. The caller makes sure that it is nobody's, last in check, which is asked when both
// identities are held.
//
// ErrSession: the session has ended. ErrInvalidCredentials: one of the proofs is none, or not good any more. ErrEntityTaken:
// the way is that of an identity other than these two. ErrProofOutdated: prove both again.
func (s *Service) LinkWay(ctx context.Context, session Session, again, p Proof, from IdentityID,
	check func(context.Context) error) (way ProviderIdentity, linked bool, err error) {
	if p.provider == "" || p.unseen || p.action == Change {
		return ProviderIdentity{}, false, ErrInvalidCredentials
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		// Nobody moves the ver meanwhile, nor takes away what others have added: who does that ends the session first, or comes
		// after this and takes this away, too.
		concerned, lock := []IdentityID{session.IdentityID}, "NO KEY UPDATE"
		if from != "" && from != session.IdentityID {
			concerned, lock = append(concerned, from), "UPDATE"
		}
		if err := s.holdOwn(ctx, session, again, lock, concerned...); err != nil {
			return err
		}
		if check != nil {
			if err := check(ctx); err != nil {
				return err
			}
		}
		owner, err := s.OwnerOf(ctx, p)
		switch {
		case err != nil:
			return err
		case owner != "" && !slices.Contains(concerned, owner): // whom to lock now would be out of order
			return ErrEntityTaken
		case owner == "":
			way, err = s.addWay(ctx, session.IdentityID, p)
			linked = err == nil
			return err
		}
		row, err := s.store.lockProviderIdentity(ctx, p.provider, p.assertion.EntityID, "KEY SHARE")
		if err == nil && row == nil {
			err = ErrProofOutdated
		}
		if err == nil {
			err = s.accept(ctx, p, row)
		}
		if err == nil && row.AuthIdentityID != session.IdentityID {
			linked, err = true, s.takeWay(ctx, row, session.IdentityID)
		}
		if err == nil && slices.Contains(row.claimed, "email_verified_at") {
			err = s.proved(ctx, row)
		}
		if err == nil {
			way, err = s.RetrieveProviderIdentity(ctx, row.ID)
		}
		return err
	})
	return way, linked, err
}

// addWay gives the identity, which is held, a way to sign in that nobody has.
func (s *Service) addWay(ctx context.Context, to IdentityID, p Proof) (ProviderIdentity, error) {
	if p.basis.identity != "" { // there was one, and it is gone
		return ProviderIdentity{}, ErrProofOutdated
	}
	now := database.Now()
	row := &providerRow{
		ID: id.New(""), AuthIdentityID: to, Provider: p.provider, EntityID: p.assertion.EntityID, Secret: p.assertion.Secret, CreatedAt: now, UpdatedAt: now,
	}
	row.claim(p)
	made, err := s.store.insertProviderIdentities(ctx, []*providerRow{row})
	switch {
	case err != nil:
		return ProviderIdentity{}, err
	case !made[row.ID]:
		return ProviderIdentity{}, ErrProofOutdated // somebody else was first
	}
	if err := s.proved(ctx, row); err != nil {
		return ProviderIdentity{}, err
	}
	return row.providerIdentity(), s.events.Emit(ctx, wayCreated(row))
}

// takeWay moves a way to sign in to another identity. Both are held, and the one that loses it is nobody's. What is out for
// the way is void: whoever has it had asked as somebody else.
func (s *Service) takeWay(ctx context.Context, row *providerRow, to IdentityID) error {
	from := row.AuthIdentityID
	moved, err := s.store.giveWayTo(ctx, row.ID, from, to)
	if err == nil && !moved {
		err = ErrProofOutdated
	}
	if err == nil {
		err = s.store.voidOneTimeTokens(ctx, row.ID)
	}
	if err != nil {
		return err
	}
	emptied, err := s.store.withoutWays(ctx, []IdentityID{from})
	switch {
	case err != nil:
		return err
	case len(emptied) > 0:
		return s.DeleteAuthIdentities(ctx, from)
	default:
		return s.Revoke(ctx, from)
	}
}

// UnlinkWay takes a way to sign in from the session's identity, for whoever has proved by ProveAgain that they are who signed
// in. Every other session of the identity ends, and what was asked for before, such as a link to prove an address, is void;
// the session lives on as it is returned, and its tokens are dead. What is out for the way, such as a reset token, goes
// with it.
//
// Check is asked, when the identity is held, for an error if those ways are not enough by which somebody can sign in
// afterwards; before are those of now. Of two who take one of the last two each, the second is asked about what the first has
// left. ErrLastWay: there is no other way at all.
//
// ErrNotFound: the identity has no such way, alike for one that is another's and one that is not there. ErrSession: the session
// has ended. ErrInvalidCredentials, ErrProofOutdated: the proof is none of ProveAgain's for the session, or outdated.
func (s *Service) UnlinkWay(ctx context.Context, session Session, again Proof, way string,
	check func(ctx context.Context, before, left []ProviderIdentity) error) (gone ProviderIdentity, now Session, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		if err := s.holdOwn(ctx, session, again, "NO KEY UPDATE", session.IdentityID); err != nil {
			return err
		}
		all, err := s.store.providerIdentities(ctx, ProviderIdentityFilter{IdentityIDs: []IdentityID{session.IdentityID}})
		if err != nil {
			return err
		}
		at := slices.IndexFunc(all, func(p ProviderIdentity) bool { return p.ID == way })
		if at < 0 {
			return providerIdentityNotFound(clip(way, 64))
		}
		if gone = all[at]; len(all) == 1 {
			return ErrLastWay
		}
		if check != nil {
			before, err := s.leadingIn(ctx, session.IdentityID, all)
			if err != nil {
				return err
			}
			left := slices.DeleteFunc(slices.Clone(before), func(p ProviderIdentity) bool { return p.ID == way })
			if err := check(ctx, before, left); err != nil {
				return err
			}
		}
		if err := s.store.deleteWay(ctx, way); err != nil {
			return err
		}
		if err := s.events.Emit(ctx, ProviderIdentityDeleted{way, session.IdentityID}); err != nil {
			return err
		}
		now, now.ver = session, session.ver+1
		_, err = s.revoke(ctx, session.IdentityID, session, EndedByChange)
		return err
	})
	return gone, now, err
}

// leadingIn are those of the ways by which somebody can sign in here: their provider is there, and if it keeps secrets, it has
// one of theirs.
func (s *Service) leadingIn(ctx context.Context, of IdentityID, ways []ProviderIdentity) ([]ProviderIdentity, error) {
	secret, err := s.store.waysWithSecret(ctx, of)
	return slices.DeleteFunc(slices.Clone(ways), func(w ProviderIdentity) bool {
		return s.providers[w.Provider] == nil ||
			s.HasSecret(w.Provider) && !slices.ContainsFunc(secret, func(p ProviderIdentity) bool { return p.ID == w.ID })
	}), err
}

// HoldAgain holds the session and its identity until the transaction of ctx ends, for whoever has proved by ProveAgain that they
// are who signed in: for what a package built upon this one, or an application, does to them in that transaction, such as to
// delete them. Outside a transaction it holds nothing for long, and only says whether that could be done.
//
// ErrSession: the session has ended. ErrInvalidCredentials, ErrProofOutdated: the proof is none of ProveAgain's for the session, or
// outdated.
func (s *Service) HoldAgain(ctx context.Context, session Session, again Proof) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		return s.holdOwn(ctx, session, again, "UPDATE", session.IdentityID)
	})
}

// holdOwn holds the identities, and the session, which must be of one of them and alive, for whoever has proved themselves
// again in it.
func (s *Service) holdOwn(ctx context.Context, session Session, again Proof, lock string, ids ...IdentityID) error {
	held, err := s.store.lockIdentities(ctx, ids, lock)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(held, func(r *identityRow) bool { return r.ID == session.IdentityID }) {
		return ErrSession
	}
	if err := s.HoldSession(ctx, session); err != nil { // only now: if ver moved before it was read, the session is dead
		return err
	}
	return s.admitAgain(ctx, session, again)
}

// admitAgain records the proof of who has proved themselves again in the session.
func (s *Service) admitAgain(ctx context.Context, session Session, p Proof) error {
	if p.again == "" || p.again != session.ID {
		return ErrInvalidCredentials
	}
	if p.provider == "" {
		return nil
	}
	i, err := s.Admit(ctx, p)
	if err == nil && i.ID != session.IdentityID {
		err = ErrProofOutdated
	}
	return err
}
