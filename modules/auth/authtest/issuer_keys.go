package authtest

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/http"
	"slices"

	"github.com/golang-jwt/jwt/v5"
)

// issuerKey signs ID tokens.
type issuerKey struct {
	id        string
	algorithm string
	private   crypto.Signer
}

func newIssuerKey(algorithm string) (issuerKey, error) {
	k := issuerKey{id: "key-" + rand.Text()[:8], algorithm: algorithm}
	var err error
	switch algorithm {
	case "ES256":
		k.private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "RS256":
		k.private, err = rsa.GenerateKey(rand.Reader, 2048)
	case "EdDSA":
		_, k.private, err = ed25519.GenerateKey(rand.Reader)
	default:
		err = fmt.Errorf("an issuer signs by ES256, RS256 or EdDSA, not by %q", algorithm)
	}
	return k, err
}

// jwk is the public key as RFC 7517 writes it.
func (k issuerKey) jwk() map[string]any {
	b64 := base64.RawURLEncoding.EncodeToString
	key := map[string]any{"kid": k.id, "alg": k.algorithm, "use": "sig"}
	switch public := k.private.Public().(type) {
	case *ecdsa.PublicKey:
		point, err := public.Bytes() // 4, X, Y
		if err != nil {
			panic(err) // it is a key of ours
		}
		key["kty"], key["crv"], key["x"], key["y"] = "EC", "P-256", b64(point[1:33]), b64(point[33:])
	case *rsa.PublicKey:
		key["kty"], key["n"], key["e"] = "RSA", b64(public.N.Bytes()), b64(big.NewInt(int64(public.E)).Bytes())
	case ed25519.PublicKey:
		key["kty"], key["crv"], key["x"] = "OKP", "Ed25519", b64(public)
	}
	return key
}

// pem is the public key as a file.
func (k issuerKey) pem() ([]byte, error) {
	der, err := x509.MarshalPKIXPublicKey(k.private.Public())
	if err != nil {
		return nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), nil
}

// Rotate gives the issuer a new key, which signs from now on. The old ones stay published, as is good practice.
func (i *Issuer) Rotate() { i.rotate(true) }

// Replace gives the issuer a new key at once: what the old ones have signed is void, as after a theft.
func (i *Issuer) Replace() { i.rotate(false) }

func (i *Issuer) rotate(keep bool) {
	key, err := newIssuerKey(i.options.Algorithm)
	if err != nil {
		panic(err) // NewIssuer has made one
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if !keep {
		i.keys = nil
	}
	i.keys = append(i.keys, key)
}

func (i *Issuer) publishedKeys(w http.ResponseWriter, _ *http.Request) {
	published := []any{} // JSON wants a list, also of none
	i.mu.Lock()
	all := slices.Clone(i.keys)
	if i.wrong[OtherAlgorithm] {
		all = append(all, i.other)
	}
	i.mu.Unlock()
	for _, k := range all {
		key := k.jwk()
		if i.options.NoKeyID {
			delete(key, "kid")
		}
		if i.options.TenantPath != "" {
			key["issuer"] = i.server.URL + i.options.TenantPath
		}
		published = append(published, key)
	}
	i.answer(w, Keys, http.StatusOK, map[string]any{"keys": published})
}

// sign makes the ID token, by a key that misbehaviour chooses.
func (i *Issuer) sign(claims jwt.MapClaims) (string, error) {
	k := i.keys[len(i.keys)-1]
	token := jwt.NewWithClaims(jwt.GetSigningMethod(k.algorithm), claims)
	token.Header["kid"] = k.id
	var key any = k.private
	var err error
	switch {
	case i.wrong[Unsigned]:
		token.Method, token.Header["alg"], key = jwt.SigningMethodNone, "none", jwt.UnsafeAllowNoneSignatureType
	case i.wrong[SignedByPublicKey]:
		token.Method, token.Header["alg"] = jwt.SigningMethodHS256, "HS256"
		key, err = k.pem()
	case i.wrong[SignedBySecret]:
		token.Method, token.Header["alg"], key = jwt.SigningMethodHS256, "HS256", []byte(i.options.ClientSecret)
	case i.wrong[SwappedKey], i.wrong[UnknownKey], i.wrong[KeyInToken], i.wrong[KeyElsewhere]:
		var other issuerKey
		other, err = i.thief()
		key = other.private
		switch {
		case i.wrong[UnknownKey]:
			token.Header["kid"] = other.id
		case i.wrong[KeyInToken]:
			token.Header["kid"], token.Header["jwk"] = other.id, other.jwk()
		case i.wrong[KeyElsewhere]:
			token.Header["kid"], token.Header["jku"] = other.id, otherIssuer+string(Keys)
		}
	case i.wrong[OtherAlgorithm]:
		other := i.other
		token.Method, token.Header["alg"], token.Header["kid"], key = jwt.GetSigningMethod(other.algorithm), other.algorithm, other.id, other.private
	}
	if err != nil {
		return "", err
	}
	if i.options.NoKeyID {
		delete(token.Header, "kid")
	}
	signed, err := token.SignedString(key)
	if i.wrong[BrokenSignature] && err == nil {
		last := signed[len(signed)-10] // not the very last, which is not all bits
		signed = signed[:len(signed)-10] + map[bool]string{true: "B", false: "A"}[last == 'A'] + signed[len(signed)-9:]
	}
	return signed, err
}

// accessTokenHash is the claim at_hash, by the hash of the algorithm.
func (i *Issuer) accessTokenHash(access string) string {
	if i.options.Algorithm == "EdDSA" {
		sum := sha512.Sum512([]byte(access))
		return base64.RawURLEncoding.EncodeToString(sum[:32])
	}
	sum := sha256.Sum256([]byte(access))
	return base64.RawURLEncoding.EncodeToString(sum[:16])
}
