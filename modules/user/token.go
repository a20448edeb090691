package user

import (
	"cmp"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// Channel says how an invite token left, because that decides what accepting with it proves.
type Channel string

// The channels. The zero Channel counts as ByHand.
const (
	ByHand Channel = "hand" // shown to or copied by somebody: proves nothing about the mailbox
	ByMail Channel = "mail" // sent to the invited address and nowhere else: who holds it reads that mailbox
)

// inviteClaims are taken from the row alone, in this order, so that the same row gives the same token. Medusa's
// dashboard reads id, email, iat, exp and jti in the browser.
type inviteClaims struct {
	ID      InviteID `json:"id"`
	Email   string   `json:"email"`
	Nonce   string   `json:"jti"`
	Issued  int64    `json:"iat"`
	Expires int64    `json:"exp"`
	Channel Channel  `json:"ch"`
	Use     string   `json:"use"`
}

const (
	useInvite = "invite"
	maxToken  = 8 << 10 // bytes; a longer one is none of ours
)

// InviteToken derives the token that opens the invite. Say ByMail only if the token goes to the invited address by
// mail and is shown to nobody else: accepting with it proves the address.
func (s *Service) InviteToken(i Invite, by Channel) string {
	key := s.keys.Keys(keyring.Invite)[0]
	t := jwt.NewWithClaims(jwt.SigningMethodHS256, inviteClaims{
		ID: i.ID, Email: i.Email, Nonce: i.nonce, Issued: i.IssuedAt.Unix(), Expires: i.ExpiresAt.Unix(),
		Channel: cmp.Or(by, ByHand), Use: useInvite,
	})
	t.Header["kid"] = key.ID
	token, err := t.SignedString(key.Bytes)
	if err != nil {
		panic(err) // HMAC over a struct of strings and numbers cannot fail
	}
	return token
}

// parseInviteToken returns the claims of a token that was made here. Whether it is still good, the row says.
func parseInviteToken(ring *keyring.Ring, token string) (inviteClaims, error) {
	var c inviteClaims
	if len(token) > maxToken || strings.ContainsAny(token, "\r\n") { // base64 passes over line breaks; a token has one spelling
		return c, ErrInviteToken
	}
	_, err := jwt.NewParser(
		jwt.WithValidMethods([]string{jwt.SigningMethodHS256.Alg()}), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation(),
	).ParseWithClaims(token, &c, func(t *jwt.Token) (any, error) {
		if _, critical := t.Header["crit"]; critical { // nothing is, that we would understand (RFC 7515, 4.1.11)
			return nil, jwt.ErrTokenUnverifiable
		}
		id, _ := t.Header["kid"].(string)
		if key, ok := ring.Named(keyring.Invite, id); ok {
			return key.Bytes, nil
		}
		return nil, jwt.ErrTokenUnverifiable
	})
	if err != nil || c.Use != useInvite {
		return inviteClaims{}, ErrInviteToken
	}
	return c, nil
}

// Claims is what the parser asks for; the row is the authority on times, so that one clock decides.

func (c inviteClaims) GetExpirationTime() (*jwt.NumericDate, error) {
	return jwt.NewNumericDate(time.Unix(c.Expires, 0)), nil
}
func (c inviteClaims) GetIssuedAt() (*jwt.NumericDate, error) {
	return jwt.NewNumericDate(time.Unix(c.Issued, 0)), nil
}
func (inviteClaims) GetNotBefore() (*jwt.NumericDate, error) { return nil, nil }
func (inviteClaims) GetIssuer() (string, error)              { return "", nil }
func (inviteClaims) GetSubject() (string, error)             { return "", nil }
func (inviteClaims) GetAudience() (jwt.ClaimStrings, error)  { return nil, nil }
