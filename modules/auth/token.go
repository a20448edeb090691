package auth

import (
	"crypto"
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// The signature algorithms of access tokens. One deployment uses one: no other is accepted.
const (
	AlgEdDSA = "EdDSA" // Ed25519 (RFC 8037): others can verify with the public key set
	AlgHS256 = "HS256" // faster; only who holds the secret can verify
)

// Claims are what an access token says: Medusa's claims in Medusa's order, then ours. The session is the authority; the
// metadata is information for clients.
type Claims struct {
	ActorID        string         `json:"actor_id"` // empty: authenticated, but not linked to an actor yet
	ActorType      string         `json:"actor_type"`
	AuthIdentityID IdentityID     `json:"auth_identity_id"`
	AuthProvider   string         `json:"auth_provider"`
	MFAEnabled     bool           `json:"mfa_enabled"`
	MFACompletedAt *string        `json:"mfa_challenge_completed_at"`
	AppMetadata    map[string]any `json:"app_metadata"`
	UserMetadata   map[string]any `json:"user_metadata"`
	IssuedAt       int64          `json:"iat"` // seconds since 1970, as all times in a JWT (RFC 7519)
	ExpiresAt      int64          `json:"exp"`
	Issuer         string         `json:"iss"`
	Audience       string         `json:"aud"`
	SessionID      SessionID      `json:"sid"`
	Ver            int64          `json:"ver"`
	Use            string         `json:"use"`
}

const (
	useAccess = "access"
	maxToken  = 8 << 10 // bytes; a longer one is none of ours
)

// Actor is whom a token speaks for, as package link knows it. The zero Actor is nobody yet.
type Actor struct {
	ID       string
	Metadata map[string]any // app_metadata of the token, beside the identity's own
}

// Token makes an access token of the session, for the actor. It lives no longer than the session. A provider's metadata
// that would make it longer than anybody reads is left out; an app's is an error.
func (s *Service) Token(session Session, identity Identity, actor Actor) (string, error) {
	now := time.Now()
	expires := now.Add(s.options.TokenTTL)
	if session.ExpiresAt.Before(expires) {
		expires = session.ExpiresAt
	}
	app := map[string]any{}
	for _, m := range []map[string]any{identity.AppMetadata, actor.Metadata} {
		for k, v := range m {
			app[k] = v
		}
	}
	user := map[string]any{}
	for _, p := range identity.Providers {
		if p.Provider == session.Provider && p.UserMetadata != nil {
			user = p.UserMetadata
		}
	}
	claims := Claims{
		ActorID: actor.ID, ActorType: session.ActorType, AuthIdentityID: session.IdentityID, AuthProvider: session.Provider,
		AppMetadata: app, UserMetadata: user, IssuedAt: now.Unix(), ExpiresAt: expires.Unix(),
		Issuer: s.options.Issuer, Audience: s.options.Issuer, SessionID: session.ID, Ver: session.ver, Use: useAccess,
	}
	token, err := s.signer.sign(claims)
	if err == nil && len(token) > maxToken {
		claims.UserMetadata = map[string]any{}
		token, err = s.signer.sign(claims)
	}
	if err == nil && len(token) > maxToken {
		return "", fmt.Errorf("auth: an access token of %d bytes: app metadata is too long for it", len(token))
	}
	return token, err
}

// JWK is one public key by which others verify access tokens (RFC 7517, RFC 8037).
type JWK struct {
	KeyType   string `json:"kty"`
	Curve     string `json:"crv"`
	X         string `json:"x"`
	KeyID     string `json:"kid"`
	Algorithm string `json:"alg"`
	Use       string `json:"use"`
}

// PublicKeys are the keys that access tokens of this deployment verify with; none with HS256, whose key is secret.
func (s *Service) PublicKeys() []JWK {
	keys := []JWK{}
	for _, key := range s.signer.ring.Keys(keyring.AccessToken) {
		k := s.signer.of(key)
		if public, ok := k.verify.(ed25519.PublicKey); ok {
			keys = append(keys, JWK{KeyType: "OKP", Curve: "Ed25519", X: base64.RawURLEncoding.EncodeToString(public), KeyID: k.id, Algorithm: AlgEdDSA, Use: "sig"})
		}
	}
	return keys
}

// signer makes and checks access tokens with keys of its own purpose.
type signer struct {
	ring   *keyring.Ring // the first of its keys signs, all verify
	method jwt.SigningMethod
	parser *jwt.Parser
	made   *sync.Map // a key's ID → signerKey
}

type signerKey struct {
	id           string
	sign, verify any
}

func newSigner(ring *keyring.Ring, o Options) (signer, error) {
	s := signer{ring: ring, made: new(sync.Map)}
	switch o.Algorithm {
	case AlgEdDSA:
		s.method = jwt.SigningMethodEdDSA
	case AlgHS256:
		s.method = jwt.SigningMethodHS256
	default:
		return signer{}, fmt.Errorf("auth: token algorithm %q: it must be %s or %s", o.Algorithm, AlgEdDSA, AlgHS256)
	}
	s.parser = jwt.NewParser(
		jwt.WithValidMethods([]string{s.method.Alg()}), jwt.WithStrictDecoding(), // without it, 16 spellings of one signature verify
		jwt.WithExpirationRequired(), jwt.WithIssuer(o.Issuer), jwt.WithAudience(o.Issuer),
	)
	return s, nil
}

// of is what a key of the ring signs and verifies with.
func (s *signer) of(k keyring.Key) signerKey {
	if made, ok := s.made.Load(k.ID); ok {
		return made.(signerKey)
	}
	made := signerKey{k.ID, k.Bytes, k.Bytes}
	if s.method == jwt.SigningMethodEdDSA {
		private := ed25519.NewKeyFromSeed(k.Bytes)
		public := ed25519.PublicKey(private[ed25519.SeedSize:]) // RFC 8032: a private key is seed and public key
		made = signerKey{thumbprint(public), crypto.Signer(private), public}
	}
	s.made.Store(k.ID, made)
	return made
}

// thumbprint is the key's name (RFC 7638).
func thumbprint(public ed25519.PublicKey) string {
	sum := sha256.Sum256(fmt.Appendf(nil, `{"crv":"Ed25519","kty":"OKP","x":"%s"}`, base64.RawURLEncoding.EncodeToString(public)))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

func (s *signer) sign(c Claims) (string, error) {
	key := s.of(s.ring.Keys(keyring.AccessToken)[0])
	t := jwt.NewWithClaims(s.method, c)
	t.Header["kid"] = key.id
	return t.SignedString(key.sign)
}

func (s *signer) verify(token string) (Claims, error) {
	var c Claims
	if len(token) > maxToken || strings.ContainsAny(token, "\r\n") { // line breaks in a signature are skipped by its decoder
		return Claims{}, ErrToken
	}
	_, err := s.parser.ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		if _, critical := t.Header["crit"]; critical {
			return nil, errCritical
		}
		// From configuration only: jku, jwk, x5u and x5c are never read.
		k, ok := s.ring.Find(keyring.AccessToken, func(k keyring.Key) bool { return s.of(k).id == t.Header["kid"] })
		if !ok {
			return nil, errors.New("unknown key")
		}
		return s.of(k).verify, nil
	})
	if err != nil || c.Use != useAccess || c.SessionID == "" {
		return Claims{}, ErrToken
	}
	return c, nil
}

var errCritical = errors.New("critical header parameters are not understood (RFC 7515, 4.1.11)")

// What the parser asks of claims.

func (c Claims) GetExpirationTime() (*jwt.NumericDate, error) {
	return jwt.NewNumericDate(time.Unix(c.ExpiresAt, 0)), nil
}
func (c Claims) GetIssuedAt() (*jwt.NumericDate, error) {
	return jwt.NewNumericDate(time.Unix(c.IssuedAt, 0)), nil
}
func (Claims) GetNotBefore() (*jwt.NumericDate, error)  { return nil, nil }
func (c Claims) GetIssuer() (string, error)             { return c.Issuer, nil }
func (Claims) GetSubject() (string, error)              { return "", nil }
func (c Claims) GetAudience() (jwt.ClaimStrings, error) { return jwt.ClaimStrings{c.Audience}, nil }
