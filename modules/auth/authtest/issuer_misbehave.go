package authtest

import (
	"fmt"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Misbehaviour is something that an issuer should not do: a lie, or the work of who has got between. After each of
// them a provider lets nobody in.
type Misbehaviour string

// What Misbehave makes an issuer do. Of the ID token:
const (
	WrongIssuer       Misbehaviour = "iss of another issuer"
	NoIssuer          Misbehaviour = "no iss"
	WrongAudience     Misbehaviour = "aud of another client"
	NoAudience        Misbehaviour = "no aud"
	ManyAudiences     Misbehaviour = "aud of two clients, and no azp"
	WrongParty        Misbehaviour = "azp of another client"
	WrongNonce        Misbehaviour = "nonce of another flow"
	NoNonce           Misbehaviour = "no nonce"
	NoSubject         Misbehaviour = "no sub"
	EmptySubject      Misbehaviour = "an empty sub"
	Expired           Misbehaviour = "exp an hour ago"
	NoExpiry          Misbehaviour = "no exp"
	NotYetValid       Misbehaviour = "nbf in an hour"
	IssuedInTheFuture Misbehaviour = "iat in an hour"

	Unsigned          Misbehaviour = "alg none"
	SignedByPublicKey Misbehaviour = "HS256 by the published key"
	SignedBySecret    Misbehaviour = "HS256 by the client's secret" // a provider may be told to take it; it is not to do so by itself
	BrokenSignature   Misbehaviour = "a broken signature"
	SwappedKey        Misbehaviour = "the published key's kid, and another key"
	UnknownKey        Misbehaviour = "a key that is not published"
	KeyInToken        Misbehaviour = "a key that the token itself brings (jwk)"
	KeyElsewhere      Misbehaviour = "a key at an address that the token names (jku)"
	OtherAlgorithm    Misbehaviour = "a published key of an algorithm that was not announced"
	NoIDToken         Misbehaviour = "no ID token"
)

// Of the other answers. OtherIssuer must be there before the provider discovers the issuer.
const (
	OtherIssuer  Misbehaviour = "discovery of another issuer"
	OtherSubject Misbehaviour = "userinfo of another sub"
	WrongIss     Misbehaviour = "iss of another issuer at the callback"
	NoIss        Misbehaviour = "no iss at the callback, although it is announced"
	WrongState   Misbehaviour = "another state at the callback"
	NoState      Misbehaviour = "no state at the callback"
	Denied       Misbehaviour = "an error at the callback, as of a person who says no"
)

// otherIssuer is one that is none of ours.
const otherIssuer = "https://issuer.invalid"

// spoils are what misbehaviour does to the claims of an ID token.
var spoils = map[Misbehaviour]func(*Issuer, jwt.MapClaims){
	WrongIssuer:       func(_ *Issuer, c jwt.MapClaims) { c["iss"] = otherIssuer },
	NoIssuer:          func(_ *Issuer, c jwt.MapClaims) { delete(c, "iss") },
	WrongAudience:     func(_ *Issuer, c jwt.MapClaims) { c["aud"] = "another-client" },
	NoAudience:        func(_ *Issuer, c jwt.MapClaims) { delete(c, "aud") },
	ManyAudiences:     func(i *Issuer, c jwt.MapClaims) { c["aud"] = []string{i.options.ClientID, "another-client"} },
	WrongParty:        func(_ *Issuer, c jwt.MapClaims) { c["azp"] = "another-client" },
	WrongNonce:        func(_ *Issuer, c jwt.MapClaims) { c["nonce"] = "the-nonce-of-another-flow" },
	NoNonce:           func(_ *Issuer, c jwt.MapClaims) { delete(c, "nonce") },
	NoSubject:         func(_ *Issuer, c jwt.MapClaims) { delete(c, "sub") },
	EmptySubject:      func(_ *Issuer, c jwt.MapClaims) { c["sub"] = "" },
	Expired:           func(_ *Issuer, c jwt.MapClaims) { c["exp"], c["iat"] = from(-time.Hour), from(-2*time.Hour) },
	NoExpiry:          func(_ *Issuer, c jwt.MapClaims) { delete(c, "exp") },
	NotYetValid:       func(_ *Issuer, c jwt.MapClaims) { c["nbf"], c["exp"] = from(time.Hour), from(2*time.Hour) },
	IssuedInTheFuture: func(_ *Issuer, c jwt.MapClaims) { c["iat"], c["exp"] = from(time.Hour), from(2*time.Hour) },
}

func from(d time.Duration) int64 { return time.Now().Add(d).Unix() }

// Misbehaviours are all of them, for a test of each:
//
//	for _, m := range authtest.Misbehaviours() {
//		t.Run(string(m), func(t *testing.T) { … issuer.Misbehave(m) … })
//	}
func Misbehaviours() []Misbehaviour {
	return []Misbehaviour{
		WrongIssuer, NoIssuer, WrongAudience, NoAudience, ManyAudiences, WrongParty, WrongNonce, NoNonce, NoSubject, EmptySubject,
		Expired, NoExpiry, NotYetValid, IssuedInTheFuture,
		Unsigned, SignedByPublicKey, SignedBySecret, BrokenSignature, SwappedKey, UnknownKey, KeyInToken, KeyElsewhere, OtherAlgorithm, NoIDToken,
		OtherIssuer, OtherSubject, WrongIss, NoIss, WrongState, NoState, Denied,
	}
}

// Misbehave makes the issuer do these things, and no others, until it is to Behave.
func (i *Issuer) Misbehave(all ...Misbehaviour) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.wrong = make(map[Misbehaviour]bool)
	for _, m := range all {
		if !slices.Contains(Misbehaviours(), m) {
			panic(fmt.Sprintf("authtest: an issuer does not know how to misbehave by %q", string(m)))
		}
		i.wrong[m] = true
	}
}

// Behave ends what Misbehave, Fail and Alter began.
func (i *Issuer) Behave() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.parts.mend()
	i.wrong, i.altered = nil, make(map[Endpoint]func(map[string]any))
}

// Alter has f change what an endpoint answers with, a JSON object, until the issuer is to Behave: discovery, the keys,
// the answer of the token endpoint, userinfo. So discovery names addresses that nobody should ask:
//
//	issuer.Alter(authtest.Discovery, func(m map[string]any) { m["token_endpoint"] = "http://169.254.169.254/token" })
//
// What an ID token says of a person is in Person.Claims.
func (i *Issuer) Alter(e Endpoint, f func(object map[string]any)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.altered[e] = f
}

// Fail breaks an endpoint until the issuer is to Behave. Visit does not feel it: it asks nobody over HTTP.
func (i *Issuer) Fail(e Endpoint, f Failure) { i.parts.fail(e, f) }
