package oidc

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/latchkey-go/latchkey/modules/auth"
)

const (
	maxKeys = 100
	minRSA  = 2048 // bits
)

var (
	errUnknownKey = errors.New("its key is none that the issuer publishes")
	errSignature  = errors.New("its signature is not right")
)

// publishedKey is one of them.
type publishedKey struct {
	jose.JSONWebKey
	issuer string // for which it signs, if it says so: that of an issuer of many tenants does
}

// keySet is the issuer's published keys. They are read when the first token comes, when they are old, and when a token
// cannot be verified by those that are known: the issuer may have changed them. That is at most once in pace.keys, so that
// tokens that nobody has signed do not have us ask again and again.
type keySet struct {
	provider *Provider
	address  string

	turn    chan struct{} // of who reads; the others wait, and look again
	mu      sync.Mutex
	keys    []publishedKey
	readAt  time.Time // zero: never
	triedAt time.Time
}

func (p *Provider) keysAt(address string) *keySet {
	return &keySet{provider: p, address: address, turn: make(chan struct{}, 1)}
}

// verify returns what a token says if one of the keys has signed it, and which.
func (s *keySet) verify(ctx context.Context, token string) (payload []byte, by publishedKey, err error) {
	all := make([]jose.SignatureAlgorithm, len(algorithms))
	for i, a := range algorithms {
		all[i] = jose.SignatureAlgorithm(a)
	}
	parsed, err := jose.ParseSigned(token, all)
	if err != nil || len(parsed.Signatures) != 1 {
		return nil, by, errSignature
	}
	before := time.Now()
	keys, readAt := s.known()
	if time.Since(readAt) >= s.provider.pace.refresh {
		if keys, err = s.readSince(ctx, before); err != nil && (len(keys) == 0 || time.Since(readAt) >= s.provider.pace.stale) {
			return nil, by, err
		}
	}
	payload, by, wrong := verifyBy(keys, parsed)
	if wrong == nil {
		return payload, by, nil
	}
	if keys, err = s.readSince(ctx, before); err != nil {
		return nil, by, err
	}
	return verifyBy(keys, parsed)
}

func verifyBy(keys []publishedKey, token *jose.JSONWebSignature) ([]byte, publishedKey, error) {
	wrong, header := errUnknownKey, token.Signatures[0].Header
	for _, key := range keys {
		if header.KeyID != "" && key.KeyID != header.KeyID || key.Algorithm != "" && key.Algorithm != header.Algorithm {
			continue
		}
		payload, err := token.Verify(&key.JSONWebKey)
		if err == nil {
			return payload, key, nil
		}
		wrong = errSignature
	}
	return nil, publishedKey{}, wrong
}

func (s *keySet) known() ([]publishedKey, time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys, s.readAt
}

// readSince returns keys that were read after a time or, if they were read or tried a moment before it, those.
func (s *keySet) readSince(ctx context.Context, since time.Time) ([]publishedKey, error) {
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	s.mu.Lock()
	keys, tried := s.keys, s.triedAt
	s.mu.Unlock()
	if tried.After(since) || time.Since(tried) < s.provider.pace.keys {
		if len(keys) == 0 {
			return nil, fmt.Errorf("%w: its keys could not be read a moment ago", auth.ErrProviderUnavailable)
		}
		return keys, nil
	}
	read, err := s.read(context.WithoutCancel(ctx)) // others wait for it
	s.mu.Lock()
	defer s.mu.Unlock()
	s.triedAt = time.Now()
	if err != nil {
		s.provider.failing("keys", err)
		return s.keys, fmt.Errorf("%w: read keys: %w", auth.ErrProviderUnavailable, err)
	}
	s.keys, s.readAt = read, s.triedAt
	return read, nil
}

// read asks for the keys. Those that cannot have signed a token, or that we do not understand, are left out.
func (s *keySet) read(ctx context.Context) (keys []publishedKey, err error) {
	set, err := s.provider.get(ctx, s.address, "")
	if err != nil {
		return nil, err
	}
	published, _ := set["keys"].([]any)
	if len(published) > maxKeys {
		return nil, fmt.Errorf("%w: more than %d keys", errAnswer, maxKeys)
	}
	for _, one := range published {
		raw, err := json.Marshal(one)
		if err != nil {
			continue
		}
		var key jose.JSONWebKey
		if key.UnmarshalJSON(raw) != nil || !key.IsPublic() || !key.Valid() || key.Use != "" && key.Use != "sig" {
			continue
		}
		if public, ok := key.Key.(*rsa.PublicKey); ok && public.N.BitLen() < minRSA {
			continue
		}
		issuer, _ := one.(map[string]any)["issuer"].(string)
		keys = append(keys, publishedKey{key, issuer})
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("%w: no key that signs", errAnswer)
	}
	return keys, nil
}
