package oidc

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	gooidc "github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"

	"github.com/latchkey-go/latchkey/modules/auth"
)

// leeway is how far the issuer's clock and ours may be apart.
const leeway = time.Minute

// verify returns the claims of the ID token, if it is what OpenID Connect Core 3.1.3.7 asks for. A token of another flow is
// the caller's fault; any other that is not right is the issuer's.
func (p *Provider) verify(ctx context.Context, m *metadata, k kept, tokens *oauth2.Token) (map[string]any, error) {
	raw, _ := tokens.Extra("id_token").(string)
	if raw == "" {
		return nil, p.refuse("there is none")
	}
	keys := &asked{keys: m.keys}
	token, err := gooidc.NewVerifier(p.config.Issuer, keys, &gooidc.Config{
		ClientID: p.config.ClientID, SupportedSigningAlgs: m.algorithms, SkipIssuerCheck: true, // check looks at iss
		Now: func() time.Time { return time.Now().Add(-leeway) }, // for exp; nbf is looked at below
	}).Verify(ctx, raw)
	if err != nil { // whose text repeats what the token says
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case errors.Is(keys.err, auth.ErrProviderUnavailable):
			return nil, auth.ErrProviderUnavailable
		}
		return nil, p.refuse(p.wrong(keys, err))
	}
	var payload json.RawMessage
	if err := token.Claims(&payload); err != nil {
		return nil, p.refuse("it is no JSON")
	}
	claims, err := object(payload)
	if err != nil {
		return nil, p.refuse("two readers would read it differently")
	}
	if what := p.check(claims); what != "" {
		return nil, p.refuse(what)
	}
	if !p.maySign(keys.by, claims) {
		return nil, p.refuse("the key that signed it signs for another issuer")
	}
	if _, there := claims["at_hash"]; there && token.VerifyAccessToken(tokens.AccessToken) != nil {
		return nil, p.refuse("at_hash is of another access token")
	}
	if subtle.ConstantTimeCompare([]byte(text(claims, "nonce")), []byte(k.Nonce)) != 1 {
		return nil, auth.ErrInvalidCredentials // a code of another flow was slipped in
	}
	return claims, nil
}

// check says what is wrong with claims of a token that is signed, for us and not expired, or "".
func (p *Provider) check(claims map[string]any) string {
	now := time.Now()
	issued, hasIssued := instant(claims, "iat")
	begins, hasBegin := instant(claims, "nbf")
	proved, hasProof := instant(claims, "auth_time")
	party, hasParty := claims["azp"]
	switch {
	case !p.isIssuer(claims):
		return "iss is another issuer"
	case !isSubject(text(claims, "sub")):
		return "sub is missing, or can be none"
	case hasParty && party != p.config.ClientID:
		return "azp is another client"
	case !hasParty && len(texts(claims, "aud")) > 1:
		return "aud has others, and azp does not say that it is for us"
	case !hasIssued:
		return "iat is missing"
	case issued.After(now.Add(leeway)):
		return "iat is in the future: the clocks differ"
	case hasBegin && begins.After(now.Add(leeway)), !hasBegin && claims["nbf"] != nil:
		return "nbf is in the future: the clocks differ"
	case p.config.MaxAge > 0 && !hasProof:
		return "auth_time is missing, which max_age asks for"
	case p.config.MaxAge > 0 && proved.Before(now.Add(-p.config.MaxAge-leeway)):
		return "auth_time is longer ago than max_age allows"
	case len(p.config.ACRValues) > 0 && !slices.Contains(p.config.ACRValues, text(claims, "acr")):
		return "acr is none of acr_values"
	}
	return ""
}

// instant is a time in seconds, as in the claims of a token.
func instant(claims map[string]any, name string) (time.Time, bool) {
	n, ok := claims[name].(json.Number)
	if !ok {
		return time.Time{}, false
	}
	seconds, err := n.Float64()
	if err != nil || seconds < 0 || seconds > 1<<40 {
		return time.Time{}, false
	}
	return time.Unix(int64(seconds), 0), true
}

// refuse is the failure of an issuer whose ID token is not right. It is logged as any failure of ours, and not shown.
func (p *Provider) refuse(what string) error {
	return fmt.Errorf("oidc: the ID token of provider %s is refused: %s", p.id, what)
}

// wrong says in our own words why go-oidc refuses a token.
func (p *Provider) wrong(keys *asked, err error) string {
	expired := new(gooidc.TokenExpiredError)
	switch {
	case !keys.was:
		return "it is not signed as it should be: by one of the algorithms that the issuer announces, or those of the settings"
	case keys.err != nil:
		return keys.err.Error()
	case errors.As(err, &expired):
		return "it has expired, or exp is missing: the clocks may differ"
	}
	claims, broken := object(keys.payload)
	switch {
	case broken != nil:
		return "it is no JSON that all readers read alike"
	case !slices.Contains(texts(claims, "aud"), p.config.ClientID):
		return "aud is another client"
	}
	return "its claims are not what they should be"
}

// asked is a key set that remembers what came of asking it.
type asked struct {
	keys    *keySet
	was     bool
	by      publishedKey
	payload []byte
	err     error
}

func (a *asked) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	a.was = true
	a.payload, a.by, a.err = a.keys.verify(ctx, token)
	return a.payload, a.err
}
