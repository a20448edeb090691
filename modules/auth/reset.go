package auth

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"log/slog"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

const (
	resetTTL   = 15 * time.Minute // how long a reset token can be used, from when it is sent
	requestTTL = 24 * time.Hour   // how long somebody who asked for one waits
)

// Channel says how a token leaves, because that decides what using it proves.
type Channel string

// The channels.
const (
	ByMail Channel = "mail" // sent to the address of the way to sign in and nowhere else: who holds it reads that mailbox
	ByHand Channel = "hand" // shown to somebody: proves nothing about the mailbox
)

// ResetRequest asks for a new password.
type ResetRequest struct {
	Provider  string
	EntityID  string         // or another spelling of it, as somebody typed it
	ActorType string         // as what they want to sign in
	Metadata  map[string]any // the caller's own, for whoever handles the event; at most 16 KiB of JSON
}

// RequestPasswordReset announces the request by a PasswordResetRequested event, and does the same for entities that exist
// and for others: it looks nothing up. Who has asked five times for an entity within a quarter of an hour is answered as
// before, and nothing is announced: the mails that were sent are as good. Nor is what can be no entity of the provider, such
// as a password that was typed into the wrong field. ErrUnsupported: the provider has no secret that could be replaced.
// ErrThrottled: too many requests from the client's address. ErrBusy: they cannot be counted now.
func (s *Service) RequestPasswordReset(ctx context.Context, r ResetRequest) (PasswordResetRequested, error) {
	if _, err := s.updater(r.Provider); err != nil {
		return PasswordResetRequested{}, err
	}
	if data, err := json.Marshal(r.Metadata); err != nil || len(data) > maxMetadata {
		return PasswordResetRequested{}, ErrInput.Msg("metadata must be at most %d bytes of JSON.", maxMetadata)
	}
	e := PasswordResetRequested{
		ID: id.New("reset"), Provider: r.Provider, EntityID: r.EntityID, ActorType: r.ActorType, Metadata: r.Metadata, At: database.Now(),
	}
	if err := s.takeByPlace(ctx, limitResetAsk); err != nil {
		return PasswordResetRequested{}, err
	}
	canonical := r.EntityID
	if c, ok := s.providers[r.Provider].(Canonicalizer); ok {
		var err error
		if canonical, err = c.CanonicalEntityID(r.EntityID); err != nil {
			return e, nil //nolint:nilerr // nobody can have it; and it may be a password that was typed into the wrong field
		}
	}
	if !database.Storable(r.EntityID, maxText) {
		return e, nil // nobody can have it
	}
	return e, s.count(ctx, time.After(s.options.Throttle.MaxWait), func(ctx context.Context) error {
		if err := s.takeMail(ctx, r.Provider, canonical); errors.Is(err, errNoMail) {
			return nil
		} else if err != nil {
			return err
		}
		return s.events.Emit(ctx, e)
	})
}

// errNoMail says that there were enough mails already.
var errNoMail = errors.New("auth: no further mail")

// takeMail counts a mail to whoever is meant, by the one spelling that every spelling has.
func (s *Service) takeMail(ctx context.Context, provider, canonical string) error {
	if s.options.Throttle.Disabled || isUnlimited(ctx) {
		return nil
	}
	account := subjectOf(provider, canonical)
	until, err := s.store.take(ctx, limitResetMail.bucket(account).about(account), database.Now())
	if err == nil && !until.IsZero() {
		err = errNoMail
	}
	return err
}

// HasSecret reports whether the provider keeps a secret that can be replaced, such as a password.
func (s *Service) HasSecret(provider string) bool {
	_, err := s.updater(provider)
	return err == nil
}

func (s *Service) updater(provider string) (Updater, error) {
	p, err := s.provider(provider)
	if err != nil {
		return nil, err
	}
	u, ok := p.(Updater)
	if !ok {
		return nil, notSupported(Change, provider)
	}
	return u, nil
}

// PasswordResetToken is a token that sets a new password once.
type PasswordResetToken struct {
	Token     string // a JWT; whoever holds it can set the password
	EntityID  string
	Email     string // where it goes; empty if the way to sign in names no address
	ExpiresAt time.Time
}

// String says for whom the token is, and hides it.
func (t PasswordResetToken) String() string { return "password reset token for " + t.EntityID }

// GoString is String.
func (t PasswordResetToken) GoString() string { return t.String() }

// LogValue is String, for slog.
func (t PasswordResetToken) LogValue() slog.Value { return slog.StringValue(t.String()) }

// CreatePasswordResetToken makes the token that a request asks for. The same request gives the same token, with the
// channel and, while that lasts, the expiry of the first time, so that a mail can be sent again after a failure. Of
// several requests for one way to sign in the newest wins: the tokens of the others are dead.
//
// ErrNotFound: there is no such entity, and nothing to send. ErrResetToken: the token was used, a newer one took its
// place, or the request is older than a day.
func (s *Service) CreatePasswordResetToken(ctx context.Context, e PasswordResetRequested, by Channel) (t PasswordResetToken, err error) {
	if _, err := s.updater(e.Provider); err != nil {
		return PasswordResetToken{}, err
	}
	if time.Since(e.At) > requestTTL {
		return PasswordResetToken{}, ErrResetToken
	}
	err = s.db.InTx(ctx, func(ctx context.Context) error {
		p, err := s.entity(ctx, e.Provider, e.EntityID)
		if err != nil {
			return err
		}
		held, err := s.store.lockProviderIdentities(ctx, []string{p.ID})
		if err != nil {
			return err
		}
		if len(held) == 0 {
			return ErrNotFound // unlinked or deleted meanwhile
		}
		p = held[0].providerIdentity() // whose address may be another by now
		row := &oneTimeRow{
			Purpose: purposeReset, ProviderIdentityID: p.ID, ActorType: e.ActorType, TokenHash: hashed(jtiOf(s.keys.Keys(keyring.Reset)[0], e.ID)), Channel: by,
			IssuedAt: database.UTC(e.At).Truncate(time.Microsecond), ExpiresAt: database.Now().Add(resetTTL),
		}
		if row, err = s.store.putOneTimeToken(ctx, row); err != nil {
			return err
		}
		jti := jtiWith(s.keys, keyring.Reset, e.ID, row.TokenHash)
		if jti == "" || !row.SpentAt.IsZero() {
			return ErrResetToken
		}
		if !row.good() { // it could not be sent for so long
			row.ExpiresAt = database.Now().Add(resetTTL)
			if err := s.store.extendOneTimeToken(ctx, row); err != nil {
				return err
			}
		}
		t = PasswordResetToken{EntityID: p.EntityID, Email: p.Email, ExpiresAt: database.UTC(row.ExpiresAt)}
		t.Token, err = signed(s.keys, keyring.Reset, resetClaims{
			EntityID: p.EntityID, Provider: p.Provider, ActorType: row.ActorType, Purpose: purposeReset, ID: jti,
			Issued: row.IssuedAt.Unix(), Expires: row.ExpiresAt.Unix(),
		})
		return err
	})
	return t, err
}

// entity finds the provider identity that somebody means by what they typed.
func (s *Service) entity(ctx context.Context, provider, typed string) (ProviderIdentity, error) {
	spellings := []string{typed}
	if address, err := CanonicalEmail(typed); err == nil && address != typed {
		spellings = append(spellings, address)
	}
	for _, entityID := range spellings {
		found, err := s.store.providerIdentities(ctx, ProviderIdentityFilter{Provider: provider, EntityID: entityID})
		if err != nil {
			return ProviderIdentity{}, err
		}
		if len(found) > 0 && entityID != "" {
			return found[0], nil
		}
	}
	return ProviderIdentity{}, ErrNotFound
}

// CheckPasswordResetToken says for whom the token is good now, or why it is not: ErrResetToken for a token that is none of
// ours, is for another provider or actor type, was used, has expired, or whose place a newer one took. It uses up nothing.
func (s *Service) CheckPasswordResetToken(ctx context.Context, actorType, provider, token string) (PasswordResetToken, error) {
	row, c, err := s.resetRow(ctx, actorType, provider, token)
	if err != nil {
		return PasswordResetToken{}, err
	}
	return PasswordResetToken{Token: token, EntityID: c.EntityID, ExpiresAt: database.UTC(row.ExpiresAt)}, nil
}

// resetRow returns what is kept of a token that is good.
func (s *Service) resetRow(ctx context.Context, actorType, provider, token string) (row *oneTimeRow, c resetClaims, err error) {
	if c, err = s.parseReset(token); err != nil || c.Provider != provider || c.ActorType != actorType {
		return nil, c, ErrResetToken
	}
	row, err = s.store.oneTimeToken(ctx, purposeReset, hashed(c.ID))
	if err == nil && (row == nil || !row.good()) {
		err = ErrResetToken
	}
	return row, c, err
}

// ProveReset lets a reset token prove that its bearer may replace the secret of the entity it was made for; who that is,
// the token says and not the input. Admit uses the token up along with writing the secret: of several at once one
// succeeds, and a secret that the provider refuses uses up nothing. A token that left by mail also proves the address that
// it went to, if only for this way to sign in; where that is news, what else could sign in to the identity and has not
// proved the address goes.
//
// ErrResetToken: the token is none of ours, is for another provider or actor type, was used, has expired, or a newer one
// took its place. ErrThrottled is for one of those after too many of them from the client's address; a good one is never
// refused for them.
func (s *Service) ProveReset(ctx context.Context, actorType, provider, token string, in Input) (Proof, error) {
	u, err := s.updater(provider)
	if err != nil {
		return Proof{}, err
	}
	row, c, err := s.resetRow(ctx, actorType, provider, token)
	if errors.Is(err, ErrResetToken) { // only now: others' tokens must not keep anybody from using theirs
		err = s.watchByPlace(ctx, limitResetToken, func(context.Context) error { return ErrResetToken })
	}
	if err != nil {
		return Proof{}, err
	}
	proof, err := s.prove(ctx, Change, provider, Attempt{Input: in, EntityID: c.EntityID}, nil, u.Update)
	if err != nil {
		return Proof{}, err
	}
	if proof.assertion.EntityID != c.EntityID {
		return Proof{}, errOtherEntity
	}
	proof.spends = row.TokenHash
	proof.assertion.Profile.EmailVerified = row.Channel == ByMail && proof.email == proof.basis.email // no other was mailed
	return proof, nil
}

// errOtherEntity is about a provider that does not keep to Attempt.EntityID.
var errOtherEntity = errors.New("auth: a provider changed the secret of another entity than it was asked to")

// ResetPassword is ProveReset, then Admit: it sets the new password and ends every session of the identity.
func (s *Service) ResetPassword(ctx context.Context, actorType, provider, token string, in Input) (Identity, error) {
	return s.admitted(ctx, func() (Proof, error) { return s.ProveReset(ctx, actorType, provider, token, in) })
}

// ChangePassword replaces the secret that the session's identity has with the provider. The input proves the secret of
// now as well: emailpass reads current_password and password. It ends every other session of the identity, and returns
// the session as it lives on: its tokens are dead, and new ones are made from what is returned.
//
// ErrInvalidCredentials: the secret of now is not right, or there is none. ErrSession: the session has ended. ErrThrottled:
// it was wrong too often, in whichever sessions.
func (s *Service) ChangePassword(ctx context.Context, session Session, provider string, in Input) (Session, error) {
	u, err := s.updater(provider)
	if err != nil {
		return Session{}, err
	}
	mine, err := s.store.providerIdentities(ctx, ProviderIdentityFilter{IdentityIDs: []IdentityID{session.IdentityID}, Provider: provider})
	if err != nil {
		return Session{}, err
	}
	if len(mine) == 0 {
		return Session{}, ErrInvalidCredentials.Msg("This account has no %s sign-in", provider)
	}
	entityID := mine[0].EntityID
	i, err := s.admitted(ctx, func() (Proof, error) {
		proof, err := s.prove(ctx, Change, provider, Attempt{Input: in, EntityID: entityID, ProveCurrent: true},
			s.tallyAgain(ctx, provider, session.IdentityID), guessed(provider, u.Update))
		if err == nil && proof.assertion.EntityID != entityID {
			err = errOtherEntity
		}
		proof.keeps = session
		return proof, err
	})
	session.ver = i.ver
	return session, err
}

// spend uses up what a change of the secret uses up: the token it rests on, which must be good still, or whichever is out.
func (s *Service) spend(ctx context.Context, p Proof, row *providerRow) error {
	if p.spends == "" {
		return s.store.voidOneTimeTokens(ctx, row.ID)
	}
	spent, err := s.store.spendOneTimeToken(ctx, purposeReset, row.ID, p.spends)
	if err == nil && !spent {
		err = ErrResetToken
	}
	return err
}

const purposeReset = "reset"

// resetClaims are Medusa's, in this order.
type resetClaims struct {
	EntityID  string `json:"entity_id"`
	Provider  string `json:"provider"`
	ActorType string `json:"actor_type"`
	Purpose   string `json:"purpose"`
	ID        string `json:"jti"`
	Issued    int64  `json:"iat"`
	Expires   int64  `json:"exp"`
}

// jtiOf is the 256-bit jti of a request: nobody can tell it from the request, and the same request gives it again.
func jtiOf(key keyring.Key, request string) string {
	m := hmac.New(sha256.New, key.Bytes)
	m.Write([]byte("jti\x00" + request))
	return base64.RawURLEncoding.EncodeToString(m.Sum(nil))
}

// jtiWith is the jti of a request that has the hash, by whichever of the keys was the first when it was kept; empty: none.
func jtiWith(ring *keyring.Ring, p keyring.Purpose, request, hash string) string {
	key, ok := ring.Find(p, func(k keyring.Key) bool { return hashed(jtiOf(k, request)) == hash })
	if !ok {
		return ""
	}
	return jtiOf(key, request)
}

// signed makes a token of the claims.
func signed(ring *keyring.Ring, p keyring.Purpose, c jwt.Claims) (string, error) {
	return signedBy(ring.Keys(p)[0], c)
}

func signedBy(key keyring.Key, c jwt.Claims) (string, error) {
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, c)
	t.Header["kid"] = key.ID
	return t.SignedString(key.Bytes)
}

// parseReset returns the claims of a token that was made here. Whether it is still good, its row says.
func (s *Service) parseReset(token string) (c resetClaims, err error) {
	if !parse(s.keys, keyring.Reset, token, &c) || c.Purpose != purposeReset {
		return resetClaims{}, ErrResetToken
	}
	return c, nil
}

// parse reads the claims of a token that was signed by one of the purpose's keys and has not expired, and reports whether
// it is one.
func parse(ring *keyring.Ring, p keyring.Purpose, token string, into jwt.Claims) bool {
	if len(token) > maxToken || strings.ContainsAny(token, "\r\n") { // base64 passes over line breaks; a token has one spelling
		return false
	}
	_, err := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithStrictDecoding(), jwt.WithExpirationRequired(),
	).ParseWithClaims(token, into, func(t *jwt.Token) (any, error) {
		if _, critical := t.Header["crit"]; critical {
			return nil, errCritical
		}
		id, _ := t.Header["kid"].(string)
		if key, ok := ring.Named(p, id); ok {
			return key.Bytes, nil
		}
		return nil, jwt.ErrTokenUnverifiable
	})
	return err == nil
}

// What the parser asks of claims.

func (c resetClaims) GetExpirationTime() (*jwt.NumericDate, error) {
	return jwt.NewNumericDate(time.Unix(c.Expires, 0)), nil
}
func (c resetClaims) GetIssuedAt() (*jwt.NumericDate, error) {
	return jwt.NewNumericDate(time.Unix(c.Issued, 0)), nil
}
func (resetClaims) GetNotBefore() (*jwt.NumericDate, error) { return nil, nil }
func (resetClaims) GetIssuer() (string, error)              { return "", nil }
func (resetClaims) GetSubject() (string, error)             { return "", nil }
func (resetClaims) GetAudience() (jwt.ClaimStrings, error)  { return nil, nil }
