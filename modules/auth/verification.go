package auth

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// verificationTTL is how long a token that proves an address can be used, from when it is sent.
const verificationTTL = 15 * time.Minute

// Verification is the proof of an address: under way, or done.
type Verification struct {
	ID          string // authver_ and a ULID; empty: none was asked for, because the address was proved already
	IdentityID  IdentityID
	Email       string // canonical
	RequestedAt time.Time
	ExpiresAt   time.Time // zero: the mail has not left
	VerifiedAt  time.Time // zero: not proved yet
}

// VerificationRequest asks for a link that proves an address.
type VerificationRequest struct {
	Email string // in any spelling
	// OfActor says that the caller vouches for it that the address is that of the actor whom the identity is linked to, and
	// not proved. Otherwise it must be that of one of the identity's ways to sign in, or what it registers with.
	OfActor bool
	// UnlessPending asks for nothing if it was asked for within the last 15 minutes, or a link that was sent is still good: for
	// requests that nobody has made by hand.
	UnlessPending bool
	// Quietly says that nobody has asked by hand: where there were enough mails, none is sent, and it is no error.
	Quietly  bool
	Metadata map[string]any // the caller's own, for whoever handles the event; at most 16 KiB of JSON
}

// RequestVerification keeps that whoever is signed in wants to prove an address, and announces it by a
// VerificationRequested event. It takes the place of what the identity has asked for before about the address. An address
// that is proved already is returned as such, and nothing is announced.
//
// ErrVerificationAddress: the address is none of the identity's, alike for one that is somebody else's and one that is
// nobody's. ErrSession: the session has ended. ErrThrottled: the identity has asked, or the address was sent mails, too often.
func (s *Service) RequestVerification(ctx context.Context, session Session, r VerificationRequest) (v Verification, err error) {
	if data, err := json.Marshal(r.Metadata); err != nil || len(data) > maxMetadata {
		return Verification{}, ErrInput.Msg("metadata must be at most %d bytes of JSON.", maxMetadata)
	}
	address, err := CanonicalEmail(r.Email)
	if err != nil {
		return Verification{}, ErrVerificationAddress // nobody has what is no address
	}
	e := VerificationRequested{
		ID: id.New("authver"), IdentityID: session.IdentityID, ActorType: session.ActorType, EntityID: address, EntityType: "email", CodeProvider: "token",
		Metadata: r.Metadata, At: database.Now(),
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
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
		if !r.OfActor {
			switch at, claims, err := s.claims(ctx, session.IdentityID, address); {
			case err != nil:
				return err
			case !claims:
				return ErrVerificationAddress
			case !at.IsZero():
				v = Verification{IdentityID: session.IdentityID, Email: address, VerifiedAt: at}
				return nil
			}
		}
		if r.UnlessPending {
			pending, err := s.store.verification(ctx, session.IdentityID, "email", address)
			if err != nil {
				return err
			}
			if pending != nil && (e.At.Sub(pending.RequestedAt) < verificationTTL || pending.ExpiresAt.After(e.At)) {
				v = pending.verification()
				return nil
			}
		}
		enough := s.takeVerificationMail(ctx, session.IdentityID, address, r)
		if enough != nil && (!r.Quietly || !errors.Is(enough, ErrThrottled)) {
			return enough
		}
		row := &verificationRow{
			AuthIdentityID: e.IdentityID, Email: address, ID: e.ID, Ver: held[0].Ver, TokenHash: hashed(jtiOf(s.keys.Keys(keyring.Verification)[0], e.ID)), RequestedAt: e.At,
		}
		v = row.verification()
		if err := s.store.putVerification(ctx, row); err != nil || enough != nil {
			return err
		}
		return s.events.Emit(ctx, e)
	})
	return v, err
}

// takeVerificationMail counts a mail that is to prove an address: by the identity, if somebody asks by hand, and to the address.
func (s *Service) takeVerificationMail(ctx context.Context, id IdentityID, address string, r VerificationRequest) error {
	if !r.Quietly {
		if err := s.Take(ctx, limitVerificationAsk, string(id)); err != nil {
			return err
		}
	}
	return s.takeMailTo(ctx, address)
}

// takeMailTo counts a mail that goes to an address which whoever has it sent has only named: first from where the client is, so
// that nobody uses up alone what its owner may need from elsewhere.
func (s *Service) takeMailTo(ctx context.Context, address string) error {
	mailbox := mailboxOf(address)
	if err := s.take(ctx, limitVerificationMail.bucket(mailbox, network(clientOf(ctx).IP))); err != nil {
		return err
	}
	return s.Take(ctx, limitVerificationAll, mailbox)
}

// claims reports whether the address is that of one of the identity's ways to sign in, or what it registers with, and since
// when it is proved for all of them; zero: it is not.
func (s *Service) claims(ctx context.Context, id IdentityID, address string) (proved time.Time, claims bool, err error) {
	ways, err := s.store.providerIdentities(ctx, ProviderIdentityFilter{IdentityIDs: []IdentityID{id}})
	if err != nil {
		return time.Time{}, false, err
	}
	for _, way := range ways {
		switch {
		case way.Email != address:
		case way.EmailVerifiedAt.IsZero():
			return time.Time{}, true, nil
		default:
			proved, claims = way.EmailVerifiedAt, true
		}
	}
	if len(ways) > 0 {
		return proved, claims, nil
	}
	registers, err := s.Registering(ctx, id)
	return time.Time{}, registers == address, err
}

// VerificationToken is a token that proves an address once, together with a session of who asked.
type VerificationToken struct {
	Token     string // a JWT
	Email     string // where it goes
	ExpiresAt time.Time
	Registers bool // with it, a registration comes to its end
}

// String says for whom the token is, and hides it.
func (t VerificationToken) String() string { return "verification token for " + t.Email }

// GoString is String.
func (t VerificationToken) GoString() string { return t.String() }

// LogValue is String, for slog.
func (t VerificationToken) LogValue() slog.Value { return slog.StringValue(t.String()) }

// CreateVerificationToken makes the token that a request asks for. It must go to the address by mail, and nowhere else: that
// somebody has it proves the mailbox. The same request gives the same token and, while that lasts, expiry, so that a mail
// can be sent again after a failure.
//
// ErrVerification: it was used, a newer request took its place, the credentials of who asked were set anew, or the request is
// older than a day. ErrRegistered: somebody wants to register with an address that signs in already: tell its owner.
func (s *Service) CreateVerificationToken(ctx context.Context, e VerificationRequested) (t VerificationToken, err error) {
	if time.Since(e.At) > requestTTL {
		return VerificationToken{}, ErrVerification
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		row, err := s.store.verification(ctx, e.IdentityID, "email", e.EntityID)
		if err != nil {
			return err
		}
		jti := ""
		if row != nil {
			jti = jtiWith(s.keys, keyring.Verification, e.ID, row.TokenHash)
		}
		if jti == "" {
			return ErrVerification
		}
		registers, err := s.store.registration(ctx, e.IdentityID)
		if err != nil {
			return err
		}
		if registers != nil {
			there, err := s.store.snapshot(ctx, registers.Provider, registers.EntityID)
			if err != nil {
				return err
			}
			if there.identity != "" {
				return ErrRegistered
			}
		}
		if !row.ExpiresAt.After(time.Now()) { // the first time, or it could not be sent for so long
			row.ExpiresAt = database.Now().Add(verificationTTL)
			if extended, err := s.store.extendVerification(ctx, row); err != nil {
				return err
			} else if !extended {
				return ErrVerification
			}
		}
		t = VerificationToken{Email: row.Email, ExpiresAt: database.UTC(row.ExpiresAt), Registers: registers != nil}
		t.Token, err = signed(s.keys, keyring.Verification, verificationClaims{
			IdentityID: row.AuthIdentityID, ActorType: e.ActorType, Email: row.Email, Use: useVerification,
			RegisteredClaims: jwt.RegisteredClaims{
				ID: jti, IssuedAt: jwt.NewNumericDate(row.RequestedAt), ExpiresAt: jwt.NewNumericDate(row.ExpiresAt),
			},
		})
		return err
	})
	return t, err
}

// CheckVerificationToken says what the token proves in the session, or why it proves nothing: ErrVerificationElsewhere if
// another identity than the session's has asked for it; ErrVerification for a token that is none of ours, was used, has
// expired, whose place a newer one took, and as CreateVerificationToken says. It changes nothing.
func (s *Service) CheckVerificationToken(ctx context.Context, session Session, token string) (Verification, error) {
	c, err := s.parseVerification(token)
	switch {
	case err != nil:
		return Verification{}, err
	case c.IdentityID != session.IdentityID:
		return Verification{}, ErrVerificationElsewhere
	}
	row, err := s.goodVerification(ctx, c)
	if err != nil {
		return Verification{}, err
	}
	return row.verification(), nil
}

// VerificationActorType is the type of actor as which somebody has asked for the token; empty: it is not known, or the token is
// none of ours. That it is still good is not looked at.
func (s *Service) VerificationActorType(token string) string {
	c, err := s.parseVerification(token)
	if err != nil {
		return ""
	}
	return c.ActorType
}

// goodVerification returns what is kept of a token that can be confirmed.
func (s *Service) goodVerification(ctx context.Context, c verificationClaims) (*verificationRow, error) {
	row, err := s.store.verification(ctx, c.IdentityID, "token_hash", hashed(c.ID))
	if err == nil && (row == nil || !row.ExpiresAt.After(time.Now())) {
		err = ErrVerification
	}
	return row, err
}

// ConfirmVerification uses the token up and records that the address is proved to be the identity's: of any number at once
// one succeeds. What the identity registers with the address becomes its way to sign in. ErrRegistered: somebody else signs
// in by it by now. ErrSession: the session has ended. Otherwise as CheckVerificationToken.
//
// What it leaves to the caller is, as after Admit, to call off changes to the address, by CancelEmailChanges: in the same
// transaction, and after whatever that locks users for.
func (s *Service) ConfirmVerification(ctx context.Context, session Session, token string) (v Verification, err error) {
	c, err := s.parseVerification(token)
	switch {
	case err != nil:
		return Verification{}, err
	case c.IdentityID != session.IdentityID:
		return Verification{}, ErrVerificationElsewhere
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		held, err := s.store.lockIdentities(ctx, []IdentityID{session.IdentityID}, "NO KEY UPDATE")
		if err != nil {
			return err
		}
		if len(held) == 0 {
			return ErrSession
		}
		if err := s.HoldSession(ctx, session); err != nil {
			return err
		}
		row, err := s.store.takeVerification(ctx, session.IdentityID, hashed(c.ID), held[0].Ver)
		if err != nil {
			return err
		}
		if row == nil {
			return ErrVerification
		}
		if err := s.CompleteRegistration(ctx, session.IdentityID, row.Email); err != nil {
			return err
		}
		if err := s.store.verifyEmail(ctx, session.IdentityID, row.Email); err != nil {
			return err
		}
		v = row.verification()
		v.VerifiedAt = database.Now()
		return s.events.Emit(ctx, EmailVerified{session.IdentityID, row.Email})
	})
	return v, err
}

const useVerification = "verification"

// verificationClaims say which request the token is of. The row says the rest.
type verificationClaims struct {
	IdentityID IdentityID `json:"auth_identity_id"`
	ActorType  string     `json:"actor_type,omitempty"`
	Email      string     `json:"entity_id"`
	Use        string     `json:"use"`
	jwt.RegisteredClaims
}

// parseVerification returns the claims of a token that was made here. Whether it is still good, its row says.
func (s *Service) parseVerification(token string) (c verificationClaims, err error) {
	if !parse(s.keys, keyring.Verification, token, &c) || c.Use != useVerification {
		return verificationClaims{}, ErrVerification
	}
	return c, nil
}
