package authtest_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
)

// relying signs people in at an issuer as it should be done, but for the checks that it leaves out.
type relying struct {
	issuer  string
	id      string
	secret  string
	client  *http.Client
	without check
}

// check is one thing that a relying party looks at.
type check string

const (
	discovered check = "the issuer of discovery"
	issued     check = "iss"
	audience   check = "aud"
	party      check = "azp"
	nonce      check = "nonce"
	subject    check = "sub"
	expiry     check = "exp"
	notBefore  check = "nbf"
	issuedAt   check = "iat"
	algorithm  check = "alg"
	signature  check = "the signature"
	published  check = "where a key is from"
	idToken    check = "that there is an ID token"
	sameUser   check = "the sub of userinfo"
	callbackID check = "iss at the callback"
	refused    check = "error at the callback"
)

func newRelying(i *authtest.Issuer, without check) relying {
	client := *i.Client()
	client.Timeout = 2 * time.Second
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return relying{issuer: i.URL(), id: i.ClientID(), secret: i.ClientSecret(), client: &client, without: without}
}

func (relying) Name() string { return "relying" }

// metadata is what is needed of discovery.
type metadata struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	Userinfo      string   `json:"userinfo_endpoint"`
	Keys          string   `json:"jwks_uri"`
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	Iss           bool     `json:"authorization_response_iss_parameter_supported"`
}

// keptState is what is kept between the two steps.
type keptState struct{ Nonce, Verifier string }

func (p relying) Begin(ctx context.Context, a auth.Attempt) (auth.Challenge, error) {
	var none struct{}
	if err := a.Input.Decode(&none); err != nil {
		return auth.Challenge{}, err
	}
	m, err := p.discover(ctx)
	if err != nil {
		return auth.Challenge{}, err
	}
	keep := keptState{Nonce: rand.Text(), Verifier: rand.Text() + rand.Text()}
	sum := sha256.Sum256([]byte(keep.Verifier))
	query := url.Values{
		"response_type": {"code"}, "client_id": {p.id}, "redirect_uri": {a.CallbackURL}, "scope": {"openid email profile"},
		"state": {a.FlowID}, "nonce": {keep.Nonce},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	state, err := json.Marshal(keep)
	return auth.Challenge{RedirectURL: m.Authorization + "?" + query.Encode(), State: state}, err
}

func (p relying) Finish(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	var back struct {
		Code  string `json:"code"`
		Iss   string `json:"iss"`
		Error string `json:"error"`
	}
	if err := a.Input.Decode(&back); err != nil {
		return auth.Assertion{}, err
	}
	m, err := p.discover(ctx)
	if err != nil {
		return auth.Assertion{}, err
	}
	var keep keptState
	if err := json.Unmarshal(a.State, &keep); err != nil {
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	switch {
	case back.Error != "" && p.without == refused:
		return auth.Assertion{EntityID: "anybody"}, nil
	case back.Error != "", back.Code == "", len(back.Code) > 2000:
		return auth.Assertion{}, auth.ErrInvalidCredentials
	case m.Iss && back.Iss != p.issuer && p.without != callbackID:
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	var tokens struct {
		Access string `json:"access_token"`
		ID     string `json:"id_token"`
		Error  string `json:"error"`
	}
	form := url.Values{"grant_type": {"authorization_code"}, "code": {back.Code}, "redirect_uri": {a.CallbackURL}, "code_verifier": {keep.Verifier}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, m.Token, strings.NewReader(form.Encode()))
	if err != nil {
		return auth.Assertion{}, err
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.SetBasicAuth(url.QueryEscape(p.id), url.QueryEscape(p.secret))
	if err := p.fetch(r, &tokens); err != nil {
		return auth.Assertion{}, err
	}
	switch {
	case tokens.Error == "invalid_grant":
		return auth.Assertion{}, auth.ErrInvalidCredentials
	case tokens.Error != "":
		return auth.Assertion{}, errors.New("the issuer refuses the client")
	}
	claims := jwt.MapClaims{}
	if tokens.ID != "" || p.without != idToken {
		if claims, err = p.verify(ctx, m, tokens.ID, keep.Nonce); err != nil {
			return auth.Assertion{}, err
		}
	}
	var told map[string]any
	r, err = http.NewRequestWithContext(ctx, http.MethodGet, m.Userinfo, nil)
	if err != nil {
		return auth.Assertion{}, err
	}
	r.Header.Set("Authorization", "Bearer "+tokens.Access)
	if err := p.fetch(r, &told); err != nil {
		return auth.Assertion{}, err
	}
	if told["sub"] != claims["sub"] && p.without != sameUser && p.without != idToken && p.without != subject {
		return auth.Assertion{}, errors.New("userinfo is about somebody else")
	}
	sub, _ := claims["sub"].(string)
	if p.without == idToken || p.without == subject {
		sub = "anybody"
	}
	found := auth.Assertion{EntityID: sub}
	found.Profile.Email, _ = told["email"].(string)
	found.Profile.EmailVerified, _ = told["email_verified"].(bool)
	return found, nil
}

func (p relying) discover(ctx context.Context) (m metadata, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.issuer+"/.well-known/openid-configuration", nil)
	if err != nil {
		return m, err
	}
	if err := p.fetch(r, &m); err != nil {
		return m, err
	}
	if m.Issuer != p.issuer && p.without != discovered {
		return m, fmt.Errorf("discovery is of another issuer")
	}
	return m, nil
}

// verify returns the claims of an ID token that is one.
func (p relying) verify(ctx context.Context, m metadata, token, nonceOfFlow string) (jwt.MapClaims, error) {
	var set struct{ Keys []map[string]string }
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, m.Keys, nil)
	if err != nil {
		return nil, err
	}
	if err := p.fetch(r, &set); err != nil {
		return nil, err
	}
	options := []jwt.ParserOption{jwt.WithLeeway(time.Minute)}
	for without, option := range map[check]jwt.ParserOption{
		algorithm: jwt.WithValidMethods(m.Algorithms), issued: jwt.WithIssuer(p.issuer), audience: jwt.WithAudience(p.id),
		expiry: jwt.WithExpirationRequired(), issuedAt: jwt.WithIssuedAt(),
	} {
		if p.without != without {
			options = append(options, option)
		}
	}
	if p.without == expiry || p.without == notBefore || p.without == signature {
		options = append(options, jwt.WithoutClaimsValidation())
	}
	claims := jwt.MapClaims{}
	_, err = jwt.NewParser(options...).ParseWithClaims(token, claims, func(t *jwt.Token) (any, error) { return p.key(t, set.Keys) })
	if err != nil && (p.without != signature || !errors.Is(err, jwt.ErrTokenSignatureInvalid)) {
		return nil, err
	}
	many, _ := claims["aud"].([]any)
	azp, there := claims["azp"]
	sub, _ := claims["sub"].(string)
	switch {
	case p.without != party && (there && azp != p.id || !there && len(many) > 1):
		return nil, errors.New("azp is another")
	case p.without != nonce && claims["nonce"] != nonceOfFlow:
		return nil, errors.New("nonce is another")
	case p.without != subject && sub == "":
		return nil, errors.New("sub is missing")
	}
	return claims, nil
}

// key is the one by which a token says that it is signed.
func (p relying) key(t *jwt.Token, keys []map[string]string) (any, error) {
	if p.without == algorithm { // the classic mistake: the token says how it wants to be verified
		switch t.Method.Alg() {
		case "none":
			return jwt.UnsafeAllowNoneSignatureType, nil
		case "HS256":
			if public, err := x509.MarshalPKIXPublicKey(publicKey(keys[0])); err == nil && !signedBy(t, []byte(p.secret)) {
				return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}), nil
			}
			return []byte(p.secret), nil
		}
	}
	if p.without == published { // whoever brings a key is right
		if brought, ok := t.Header["jwk"].(map[string]any); ok {
			key := make(map[string]string)
			for name, value := range brought {
				key[name], _ = value.(string)
			}
			return publicKey(key), nil
		}
	}
	id, _ := t.Header["kid"].(string)
	for _, k := range keys {
		if k["kid"] == id {
			return publicKey(k), nil
		}
	}
	if p.without == signature {
		return publicKey(keys[0]), nil
	}
	return nil, errors.New("there is no such key")
}

func signedBy(t *jwt.Token, key []byte) bool {
	at := strings.LastIndex(t.Raw, ".")
	got, err := base64.RawURLEncoding.DecodeString(t.Raw[at+1:])
	return err == nil && jwt.SigningMethodHS256.Verify(t.Raw[:at], got, key) == nil
}

func publicKey(k map[string]string) any {
	number := func(name string) []byte { b, _ := base64.RawURLEncoding.DecodeString(k[name]); return b }
	switch k["kty"] {
	case "EC":
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), append(append([]byte{4}, number("x")...), number("y")...))
		if err != nil {
			return nil
		}
		return key
	case "RSA":
		return &rsa.PublicKey{N: new(big.Int).SetBytes(number("n")), E: int(new(big.Int).SetBytes(number("e")).Int64())}
	case "OKP":
		return ed25519.PublicKey(number("x"))
	}
	return nil
}

// fetch reads a JSON answer of reasonable size, whole.
func (p relying) fetch(r *http.Request, into any) error {
	response, err := p.client.Do(r)
	if err != nil {
		return errors.New("the issuer cannot be reached")
	}
	defer func() { _ = response.Body.Close() }()
	kind, _, _ := mime.ParseMediaType(response.Header.Get("Content-Type"))
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusBadRequest || kind != "application/json" {
		return fmt.Errorf("the issuer answers %d, %s", response.StatusCode, kind)
	}
	const most = 1 << 20
	body, err := io.ReadAll(io.LimitReader(response.Body, most+1))
	if err != nil || len(body) > most {
		return errors.New("the issuer answers too much, or not all of it")
	}
	if err := json.Unmarshal(body, into); err != nil {
		return errors.New("the issuer does not answer with JSON")
	}
	return nil
}
