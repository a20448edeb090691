package auth

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

const (
	changeTTL = 15 * time.Minute // how long the token of a change of address can be used, from when it is sent
	freshFor  = 5 * time.Minute  // how long a sign-in counts as just made, for who has no secret to prove themselves by again
)

// AsksForSecret reports whether ProveAgain wants a secret of the identity, such as its password. Without one, it wants a
// sign-in that was just made.
func (s *Service) AsksForSecret(ctx context.Context, id IdentityID) (bool, error) {
	ways, err := s.secretWays(ctx, id)
	return len(ways) > 0, err
}

// secretWays are the identity's ways to sign in with a secret that people know.
func (s *Service) secretWays(ctx context.Context, id IdentityID) ([]ProviderIdentity, error) {
	ways, err := s.store.waysWithSecret(ctx, id)
	return slices.DeleteFunc(ways, func(p ProviderIdentity) bool {
		_, proves := s.providers[p.Provider].(Authenticator)
		return !proves || !s.HasSecret(p.Provider)
	}), err
}

// ProveAgain lets whoever is signed in prove once more that they are who signed in, for what an open session must not be
// enough for. The input proves a secret of the identity: emailpass reads password. Whose it is, the session says. An
// identity without secrets proves itself by a sign-in of the last five minutes.
//
// ErrInvalidCredentials: the secret is not right. ErrSignInAgain: there is none, and the sign-in is older. ErrThrottled: it
// was wrong too often, in whichever sessions.
func (s *Service) ProveAgain(ctx context.Context, session Session, in Input) (Proof, error) {
	ways, err := s.secretWays(ctx, session.IdentityID)
	switch {
	case err != nil:
		return Proof{}, err
	case len(ways) == 0 && time.Since(session.AuthenticatedAt) > freshFor:
		return Proof{}, ErrSignInAgain
	case len(ways) == 0:
		return Proof{again: session.ID}, nil
	}
	for _, way := range ways {
		a, _ := s.providers[way.Provider].(Authenticator)
		proof, err := s.prove(ctx, SignIn, way.Provider, Attempt{Input: in, EntityID: way.EntityID}, s.tallyAgain(ctx, way.Provider, session.IdentityID),
			guessed(way.Provider, a.Authenticate))
		switch {
		case errors.Is(err, ErrInvalidCredentials):
		case err != nil:
			return Proof{}, err
		case proof.assertion.EntityID == way.EntityID && proof.basis.identity == session.IdentityID:
			proof.again = session.ID
			return proof, nil
		}
	}
	return Proof{}, ErrInvalidCredentials.Msg("The current password is not right")
}

// RequestEmailChange keeps that somebody signed in, who has proved themselves again, wants to be known by another address,
// and announces it by an EmailChangeRequested event. It takes the place of every change that the identity has asked for
// before. It looks at nothing that is known of the new address, and does the same whether or not it is somebody's.
//
// From is the address of now as the caller knows it; empty: none. ErrSession: the session has ended. ErrInvalidCredentials:
// the proof is none of ProveAgain's for the session, or the credentials were set anew since; ErrProofOutdated: prove again.
// ErrThrottled: the identity has asked too often, each time of which is two mails, or the address was sent too many by whomever.
func (s *Service) RequestEmailChange(ctx context.Context, session Session, p Proof, from, to string) (EmailChangeRequested, error) {
	to, err := CanonicalEmail(to)
	if err == nil && from != "" {
		from, err = CanonicalEmail(from)
	}
	if err != nil {
		return EmailChangeRequested{}, err
	}
	e := EmailChangeRequested{ID: id.New("emailchange"), IdentityID: session.IdentityID, Email: to, At: database.Now()}
	return e, s.db.InTx(ctx, func(ctx context.Context) error {
		if err := s.admitAgain(ctx, session, p); err != nil {
			return err
		}
		held, err := s.store.lockIdentities(ctx, []IdentityID{session.IdentityID}, "KEY SHARE")
		if err != nil {
			return err
		}
		if len(held) == 0 {
			return ErrSession
		}
		if err := s.HoldSession(ctx, session); err != nil { // only now: if ver moved before it was read, the session is dead
			return err
		}
		err = s.store.putEmailChange(ctx, &emailChangeRow{
			AuthIdentityID: e.IdentityID, Ver: held[0].Ver, OldEmail: from, NewEmail: to,
			TokenHash: hashed(jtiOf(s.keys.Keys(keyring.EmailChange)[0], e.ID)), IssuedAt: e.At,
		})
		if err != nil {
			return err
		}
		if err := s.Take(ctx, limitEmailChange, string(session.IdentityID)); err != nil {
			return err
		}
		if err := s.takeMailTo(ctx, to); err != nil { // or as many as register could fill any mailbox
			return err
		}
		return s.events.Emit(ctx, e)
	})
}

// EmailChangeToken is a token that confirms a change of address once, together with a session of who asked.
type EmailChangeToken struct {
	Token     string // a JWT
	From      string // the address of who asked, when they asked; empty: none
	To        string // the new one, where the token goes
	ExpiresAt time.Time
}

// String says for whom the token is, and hides it.
func (t EmailChangeToken) String() string { return "e-mail change token for " + t.To }

// GoString is String.
func (t EmailChangeToken) GoString() string { return t.String() }

// LogValue is String, for slog.
func (t EmailChangeToken) LogValue() slog.Value { return slog.StringValue(t.String()) }

// CreateEmailChangeToken makes the token that a request asks for. It must go to the new address by mail, and nowhere else:
// that somebody has it proves the mailbox. The same request gives the same token and, while that lasts, expiry, so that a
// mail can be sent again after a failure.
//
// ErrEmailChange: the change was made, a newer request took its place, the new address is somebody else's by now, the
// credentials of who asked were set anew, or the request is older than a day.
func (s *Service) CreateEmailChangeToken(ctx context.Context, e EmailChangeRequested) (t EmailChangeToken, err error) {
	if time.Since(e.At) > requestTTL {
		return EmailChangeToken{}, ErrEmailChange
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		row, err := s.store.emailChange(ctx, e.IdentityID)
		if err != nil {
			return err
		}
		jti := ""
		if row != nil {
			jti = jtiWith(s.keys, keyring.EmailChange, e.ID, row.TokenHash)
		}
		if jti == "" {
			return ErrEmailChange
		}
		if !row.ExpiresAt.After(time.Now()) { // the first time, or it could not be sent for so long
			row.ExpiresAt = database.Now().Add(changeTTL)
			if extended, err := s.store.extendEmailChange(ctx, row); err != nil {
				return err
			} else if !extended {
				return ErrEmailChange
			}
		}
		t = EmailChangeToken{From: row.OldEmail, To: row.NewEmail, ExpiresAt: database.UTC(row.ExpiresAt)}
		t.Token, err = signed(s.keys, keyring.EmailChange, changeClaims{
			IdentityID: row.AuthIdentityID, Email: row.NewEmail, Use: useEmailChange,
			RegisteredClaims: jwt.RegisteredClaims{
				ID: jti, IssuedAt: jwt.NewNumericDate(row.IssuedAt), ExpiresAt: jwt.NewNumericDate(row.ExpiresAt),
			},
		})
		return err
	})
	return t, err
}

// EmailChange is a change of address that can be confirmed.
type EmailChange struct {
	From      string // empty: none
	To        string
	ExpiresAt time.Time
	// InTheWay are the other identities that sign in by the new address, where this one signs in by the old: a change can
	// be confirmed only if they give way.
	InTheWay []IdentityID
}

// CheckEmailChangeToken says what the token confirms in the session, or why it confirms nothing: ErrEmailChangeElsewhere
// if another identity than the session's has asked for it; ErrEmailChange for a token that is none of ours, was used, has
// expired, whose place a newer one took, and as CreateEmailChangeToken says. It changes nothing.
func (s *Service) CheckEmailChangeToken(ctx context.Context, session Session, token string) (EmailChange, error) {
	hash, _, err := s.parseEmailChange(session, token)
	if err != nil {
		return EmailChange{}, err
	}
	row, err := s.store.emailChange(ctx, session.IdentityID)
	switch {
	case err != nil:
		return EmailChange{}, err
	case row == nil || row.TokenHash != hash || !row.ExpiresAt.After(time.Now()):
		return EmailChange{}, ErrEmailChange
	}
	c := row.change()
	ways, err := s.waysOf(ctx, session.IdentityID, c.From)
	if err != nil {
		return EmailChange{}, err
	}
	for _, way := range ways {
		others, err := s.store.providerIdentities(ctx, ProviderIdentityFilter{Provider: way.Provider, EntityID: c.To})
		if err != nil {
			return EmailChange{}, err
		}
		for _, other := range others {
			if other.IdentityID != session.IdentityID && !slices.Contains(c.InTheWay, other.IdentityID) {
				c.InTheWay = append(c.InTheWay, other.IdentityID)
			}
		}
	}
	return c, nil
}

// waysOf are the identity's ways to sign in whose entity id is the address.
func (s *Service) waysOf(ctx context.Context, id IdentityID, address string) ([]ProviderIdentity, error) {
	if address == "" {
		return nil, nil
	}
	return s.store.providerIdentities(ctx, ProviderIdentityFilter{IdentityIDs: []IdentityID{id}, EntityID: address})
}

// ConfirmEmailChange makes the change that the token is for, in a session of the identity that has asked for it: of any
// number at once one succeeds. Every way to sign in by the old address becomes one by the new, which it has proved; one by
// the new that is there already stays in its place. Every other session of the identity ends; the session lives on as it
// is returned, and its tokens are dead. Other identities' changes to the address are off.
//
// The identities that give way lose their way to sign in by the new address, or, if they have no other, all: the caller has
// made sure that they are nobody's. ErrEntityTaken: one that was not named is in the way, or has proved the address.
// ErrSession: the session has ended. Otherwise as CheckEmailChangeToken.
func (s *Service) ConfirmEmailChange(ctx context.Context, session Session, token string, giveWay []IdentityID) (c EmailChange, now Session, err error) {
	hash, address, err := s.parseEmailChange(session, token)
	if err != nil {
		return EmailChange{}, Session{}, err
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		held, err := s.store.lockIdentities(ctx, append([]IdentityID{session.IdentityID}, giveWay...), "UPDATE")
		if err != nil {
			return err
		}
		own := slices.IndexFunc(held, func(r *identityRow) bool { return r.ID == session.IdentityID })
		if own < 0 {
			return ErrSession
		}
		if err := s.store.lockEmailChanges(ctx, address); err != nil {
			return err
		}
		row, err := s.store.takeEmailChange(ctx, session.IdentityID, hash, held[own].Ver)
		if err != nil {
			return err
		}
		if row == nil {
			return ErrEmailChange
		}
		c = row.change()
		for _, r := range held {
			if r.ID != session.IdentityID {
				if err := s.giveWay(ctx, r.ID, c.To); err != nil {
					return err
				}
			}
		}
		if err := s.moveWays(ctx, session.IdentityID, c); err != nil {
			return err
		}
		if err := s.store.deleteEmailChanges(ctx, c.To); err != nil {
			return err
		}
		now, now.ver = session, held[own].Ver+1
		_, err = s.revoke(ctx, session.IdentityID, session, EndedByChange)
		return err
	})
	return c, now, err
}

// giveWay takes from an identity, which is held and nobody's, its ways to sign in by an address that somebody has proved to
// be theirs.
func (s *Service) giveWay(ctx context.Context, id IdentityID, address string) error {
	all, err := s.store.providerIdentities(ctx, ProviderIdentityFilter{IdentityIDs: []IdentityID{id}})
	if err != nil {
		return err
	}
	var lost []string
	for _, way := range all {
		switch {
		case way.EntityID != address:
		case !way.EmailVerifiedAt.IsZero():
			return ErrEntityTaken
		default:
			lost = append(lost, way.ID)
		}
	}
	if len(lost) == len(all) {
		return s.DeleteAuthIdentities(ctx, id)
	}
	return s.DeleteProviderIdentities(ctx, lost...)
}

// moveWays makes the identity's ways to sign in by the old address ways by the new.
func (s *Service) moveWays(ctx context.Context, id IdentityID, c EmailChange) error {
	ways, err := s.waysOf(ctx, id, c.From)
	if err != nil {
		return err
	}
	there, err := s.waysOf(ctx, id, c.To)
	if err != nil {
		return err
	}
	for _, way := range ways {
		moved := way.ID
		already := slices.IndexFunc(there, func(p ProviderIdentity) bool { return p.Provider == way.Provider })
		if already >= 0 {
			moved = there[already].ID
			if err := s.store.deleteWay(ctx, way.ID); err != nil {
				return err
			}
			if err := s.events.Emit(ctx, ProviderIdentityDeleted{way.ID, id}); err != nil {
				return err
			}
		} else if free, err := s.store.takeEntity(ctx, way, c.To); err != nil {
			return err
		} else if !free {
			return ErrEntityTaken
		}
		if err := s.store.moveWay(ctx, moved, c.To); err != nil {
			return err
		}
		if err := s.store.voidOneTimeTokens(ctx, moved); err != nil { // those that went to the old address, first of all
			return err
		}
		if err := s.events.Emit(ctx, CredentialsChanged{ID: id, Provider: way.Provider, Moved: true}); err != nil {
			return err
		}
	}
	return nil
}

// CancelEmailChanges calls off every change to one of the addresses that is not confirmed yet, because the address is
// somebody's by now. Addresses are canonical.
func (s *Service) CancelEmailChanges(ctx context.Context, addresses ...string) error {
	return s.db.InTx(ctx, func(ctx context.Context) error { return s.store.deleteEmailChanges(ctx, addresses...) })
}

// proved is what follows from somebody's proof that addresses are theirs.
func (s *Service) proved(ctx context.Context, rows ...*providerRow) error {
	var addresses []string
	for _, r := range rows {
		if r.Email != "" && !r.EmailVerifiedAt.IsZero() {
			addresses = append(addresses, r.Email)
		}
	}
	return s.store.deleteEmailChanges(ctx, addresses...)
}

const useEmailChange = "email_change"

// changeClaims say which request the token is of. The row says the rest.
type changeClaims struct {
	IdentityID IdentityID `json:"auth_identity_id"`
	Email      string     `json:"email"`
	Use        string     `json:"use"`
	jwt.RegisteredClaims
}

// parseEmailChange returns the hash by which a token is kept that was made here, for the identity of the session, and which address
// it is about.
func (s *Service) parseEmailChange(session Session, token string) (hash, address string, err error) {
	var c changeClaims
	switch {
	case !parse(s.keys, keyring.EmailChange, token, &c) || c.Use != useEmailChange:
		return "", "", ErrEmailChange
	case c.IdentityID != session.IdentityID:
		return "", "", ErrEmailChangeElsewhere
	}
	return hashed(c.ID), c.Email, nil
}
