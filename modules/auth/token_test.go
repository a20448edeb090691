package auth_test

import (
	"bytes"
	"crypto/ed25519"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"hash"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

var b64 = base64.RawURLEncoding

type object = map[string]any

// parts takes a token apart.
func parts(t testing.TB, token string) (header, claims object, signature string) {
	t.Helper()
	segments := strings.Split(token, ".")
	if len(segments) != 3 {
		t.Fatalf("%q has %d segments", token, len(segments))
	}
	for i, into := range []*object{&header, &claims} {
		raw, err := b64.DecodeString(segments[i])
		if err == nil {
			decoder := json.NewDecoder(bytes.NewReader(raw))
			decoder.UseNumber()
			err = decoder.Decode(into)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return header, claims, segments[2]
}

// forge puts a token together, signed by sign.
func forge(t testing.TB, header, claims object, sign func(text string) []byte) string {
	t.Helper()
	var text []string
	for _, part := range []object{header, claims} {
		raw, err := json.Marshal(part)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, b64.EncodeToString(raw))
	}
	signed := strings.Join(text, ".")
	return signed + "." + b64.EncodeToString(sign(signed))
}

func with(o object, pairs ...any) object {
	o = mapsClone(o)
	for i := 0; i < len(pairs); i += 2 {
		name, _ := pairs[i].(string)
		if pairs[i+1] == nil {
			delete(o, name)
		} else {
			o[name] = pairs[i+1]
		}
	}
	return o
}

func mapsClone(o object) object {
	c := object{}
	for k, v := range o {
		c[k] = v
	}
	return c
}

func bySeed(seed []byte) func(string) []byte {
	return func(text string) []byte { return ed25519.Sign(ed25519.NewKeyFromSeed(seed), []byte(text)) }
}

func byHMAC(h func() hash.Hash, key []byte) func(string) []byte {
	return func(text string) []byte { m := hmac.New(h, key); m.Write([]byte(text)); return m.Sum(nil) }
}

func unsigned(string) []byte { return nil }

func key(t testing.TB, n byte, p keyring.Purpose) []byte {
	t.Helper()
	return ring(t, secret(n)).Keys(p)[0].Bytes
}

func TestATokenSaysWhatMedusasSaysInItsOrder(t *testing.T) {
	for _, alg := range []string{auth.AlgEdDSA, auth.AlgHS256} {
		h := onSQLite(t, auth.Options{Algorithm: alg, Issuer: "https://id.example.com"})
		ada, err := h.Authenticate(t.Context(), "vouching", input("name", "ada", "metadata", object{"login": "ada"}))
		must(t, err)
		s, err := h.OpenSession(t.Context(), ada, "user", auth.Client{})
		must(t, err)
		token, err := h.Token(s, ada, auth.Actor{ID: "user_1", Metadata: object{"user_id": "user_1", "roles": []string{"member"}}})
		must(t, err)

		raw, err := b64.DecodeString(strings.Split(token, ".")[1])
		must(t, err)
		var order []string
		decoder := json.NewDecoder(bytes.NewReader(raw))
		_, err = decoder.Token()
		for must(t, err); decoder.More(); {
			name, err := decoder.Token()
			must(t, err)
			order = append(order, name.(string))
			var value json.RawMessage
			must(t, decoder.Decode(&value))
		}
		want := []string{"actor_id", "actor_type", "auth_identity_id", "auth_provider", "mfa_enabled", "mfa_challenge_completed_at",
			"app_metadata", "user_metadata", "iat", "exp", "iss", "aud", "sid", "ver", "use"}
		if !slices.Equal(order, want) {
			t.Errorf("%s: the claims are %v, want %v", alg, order, want)
		}
		header, claims, _ := parts(t, token)
		if header["alg"] != alg || header["typ"] != "JWT" || header["kid"] == nil || len(header) != 3 {
			t.Errorf("%s: the header is %v", alg, header)
		}
		delete(claims, "iat")
		delete(claims, "exp")
		got, err := json.Marshal(claims)
		must(t, err)
		expected, err := json.Marshal(object{
			"actor_id": "user_1", "actor_type": "user", "auth_identity_id": ada.ID, "auth_provider": "vouching", "mfa_enabled": false,
			"mfa_challenge_completed_at": nil, "app_metadata": object{"user_id": "user_1", "roles": []string{"member"}},
			"user_metadata": object{"login": "ada"}, "iss": "https://id.example.com", "aud": "https://id.example.com", "sid": s.ID, "ver": 1, "use": "access",
		})
		must(t, err)
		if !bytes.Equal(got, expected) {
			t.Errorf("%s:\n got %s\nwant %s", alg, got, expected)
		}
	}
}

func TestATokenOfNobodyYetHasNoActorAndNoMetadata(t *testing.T) {
	h := onSQLite(t, auth.Options{})
	ada := h.register(t, "ada@example.com", "correct horse")
	s, err := h.OpenSession(t.Context(), ada, "user", auth.Client{})
	must(t, err)
	token, err := h.Token(s, ada, auth.Actor{})
	must(t, err)
	raw, err := b64.DecodeString(strings.Split(token, ".")[1])
	must(t, err)
	for _, want := range []string{`{"actor_id":"",`, `"app_metadata":{},"user_metadata":{},`, `"mfa_challenge_completed_at":null`} {
		if !bytes.Contains(raw, []byte(want)) {
			t.Errorf("%s does not contain %s", raw, want)
		}
	}
}

// Whoever has much to tell of a person must not lock the person out.
func TestMuchMetadataMakesNoTokenThatNobodyAccepts(t *testing.T) {
	h := onSQLite(t, auth.Options{})
	ada, err := h.Authenticate(t.Context(), "vouching", input("name", "ada", "metadata", object{"groups": strings.Repeat("x", 9<<10)}))
	must(t, err)
	s, err := h.OpenSession(t.Context(), ada, "user", auth.Client{})
	must(t, err)
	token, err := h.Token(s, ada, auth.Actor{Metadata: object{"user_id": "user_1"}})
	must(t, err)
	claims, _, err := h.CheckToken(t.Context(), token)
	if err != nil || claims.AppMetadata["user_id"] != "user_1" {
		t.Errorf("a token of %d bytes: %v, %v", len(token), claims.AppMetadata, err)
	}
	if token, err := h.Token(s, ada, auth.Actor{Metadata: object{"much": strings.Repeat("x", 9<<10)}}); err == nil {
		t.Errorf("a token of %d bytes is made", len(token))
	}
}

func TestATokenThatIsNotOursIsRefused(t *testing.T) {
	for _, alg := range []string{auth.AlgEdDSA, auth.AlgHS256} {
		t.Run(alg, func(t *testing.T) {
			h := onSQLite(t, auth.Options{Algorithm: alg})
			ada, eve := h.register(t, "ada@example.com", "correct horse"), h.register(t, "eve@example.com", "correct horse")
			session, genuine, _ := h.open(t, ada, "user")
			sessionOfEve, tokenOfEve, _ := h.open(t, eve, "user")
			header, claims, signature := parts(t, genuine)
			access := key(t, 1, keyring.AccessToken)
			sign := map[string]func(string) []byte{auth.AlgEdDSA: bySeed(access), auth.AlgHS256: byHMAC(sha256.New, access)}[alg]
			if _, _, err := h.CheckToken(t.Context(), forge(t, header, claims, sign)); err != nil {
				t.Fatalf("a token made by this test with the right key: %v", err) // or nothing below would mean anything
			}

			stripped := strings.TrimSuffix(genuine, signature)
			_, _, signatureOfEve := parts(t, tokenOfEve)
			private := ed25519.NewKeyFromSeed(access)
			public, _ := private.Public().(ed25519.PublicKey)
			own := bytes.Repeat([]byte{9}, 32)
			ownPublic, _ := ed25519.NewKeyFromSeed(own).Public().(ed25519.PublicKey)
			now := time.Now().Unix()
			refused := map[string]string{
				"nothing": "", "dots": "..", "a dot": ".", "words": "a.b.c", "a bearer": "Bearer " + genuine, "two segments": strings.TrimSuffix(stripped, "."),
				"four segments": genuine + ".", "an encrypted one's five": genuine + "..", "twice": genuine + "." + genuine,

				"alg none":            forge(t, with(header, "alg", "none"), claims, unsigned),
				"alg nOnE":            forge(t, with(header, "alg", "nOnE"), claims, unsigned),
				"alg none, signed":    forge(t, with(header, "alg", "none"), claims, sign),
				"no alg":              forge(t, with(header, "alg", nil), claims, sign),
				"alg is no text":      forge(t, with(header, "alg", []string{alg}), claims, sign),
				"alg in lower case":   forge(t, with(header, "alg", strings.ToLower(alg)), claims, sign),
				"HS512, our key":      forge(t, with(header, "alg", "HS512"), claims, byHMAC(sha512.New, access)),
				"HS384, our key":      forge(t, with(header, "alg", "HS384"), claims, byHMAC(sha512.New384, access)),
				"HS256, public key":   forge(t, with(header, "alg", "HS256"), claims, byHMAC(sha256.New, public)),
				"HS256, public key x": forge(t, with(header, "alg", "HS256"), claims, byHMAC(sha256.New, []byte(b64.EncodeToString(public)))),
				"HS256, no key":       forge(t, with(header, "alg", "HS256"), claims, byHMAC(sha256.New, nil)),
				"EdDSA, another key":  forge(t, with(header, "alg", "EdDSA"), claims, bySeed(own)),

				"another kid":       forge(t, with(header, "kid", "other"), claims, sign),
				"no kid":            forge(t, with(header, "kid", nil), claims, sign),
				"kid is a list":     forge(t, with(header, "kid", []any{header["kid"]}), claims, sign),
				"kid is a path":     forge(t, with(header, "kid", "../../dev/null"), claims, byHMAC(sha256.New, nil)),
				"crit":              forge(t, with(header, "crit", []string{"exp"}), claims, sign),
				"crit, empty":       forge(t, with(header, "crit", []string{}), claims, sign),
				"crit b64":          forge(t, with(header, "crit", []string{"b64"}, "b64", false), claims, sign),
				"its own key, jwk":  forge(t, with(header, "alg", "EdDSA", "kid", "own", "jwk", object{"kty": "OKP", "crv": "Ed25519", "x": b64.EncodeToString(ownPublic), "kid": "own"}), claims, bySeed(own)),
				"its own key, jku":  forge(t, with(header, "alg", "EdDSA", "jku", "https://eve.example.com/jwks.json"), claims, bySeed(own)),
				"the invite key":    forge(t, header, claims, byHMAC(sha256.New, key(t, 1, keyring.Invite))),
				"invite key's seed": forge(t, header, claims, bySeed(key(t, 1, keyring.Invite))),
				"another secret":    forge(t, header, claims, byHMAC(sha256.New, key(t, 2, keyring.AccessToken))),
				"an invite": forge(t, object{"alg": "HS256", "typ": "JWT"}, object{"id": "invite_1", "email": "ada@example.com", "jti": "x", "iat": now, "exp": now + 60, "ch": "mail", "use": "invite"},
					byHMAC(sha256.New, key(t, 1, keyring.Invite))),

				"no signature":              stripped,
				"half a signature":          genuine[:len(genuine)-20],
				"another signature":         stripped + signatureOfEve,
				"a signature of zeros":      stripped + b64.EncodeToString(make([]byte, 64)),
				"a padded signature":        genuine + "==",
				"another last character":    genuine[:len(genuine)-1] + respell(genuine[len(genuine)-1]),
				"a line break at the end":   genuine + "\n",
				"a line break inside":       genuine[:len(genuine)-5] + "\r\n" + genuine[len(genuine)-5:],
				"a space at the end":        genuine + " ",
				"a NUL at the end":          genuine + "\x00",
				"other claims, same rest":   respliced(t, genuine, with(claims, "actor_id", "user_2")),
				"too long":                  forge(t, header, with(claims, "user_metadata", object{"x": strings.Repeat("x", 9<<10)}), sign),
				"too long by its header":    forge(t, with(header, "x", strings.Repeat("x", 9<<10)), claims, sign),
				"too long and no token":     strings.Repeat("x", 1<<20),
				"too long and full of dots": strings.Repeat(".", 1<<20),

				"expired":             forge(t, header, with(claims, "exp", now-1), sign),
				"expired long ago":    forge(t, header, with(claims, "exp", 1), sign),
				"without end":         forge(t, header, with(claims, "exp", nil), sign),
				"an end that is text": forge(t, header, with(claims, "exp", "9999999999"), sign),
				"an end in fractions": forge(t, header, with(claims, "exp", 9999999999.5), sign),
				"an end too far":      forge(t, header, with(claims, "exp", json.Number("1e30")), sign),
				"another issuer":      forge(t, header, with(claims, "iss", "https://eve.example.com"), sign),
				"no issuer":           forge(t, header, with(claims, "iss", nil), sign),
				"another audience":    forge(t, header, with(claims, "aud", "another app"), sign),
				"no audience":         forge(t, header, with(claims, "aud", nil), sign),
				"two audiences":       forge(t, header, with(claims, "aud", []string{"latchkey", "another app"}), sign),
				"use invite":          forge(t, header, with(claims, "use", "invite"), sign),
				"use reset":           forge(t, header, with(claims, "use", "reset"), sign),
				"no use":              forge(t, header, with(claims, "use", nil), sign),
				"no session":          forge(t, header, with(claims, "sid", nil), sign),
				"an empty session":    forge(t, header, with(claims, "sid", ""), sign),
			}
			for what, token := range refused {
				if _, _, err := h.CheckToken(t.Context(), token); !errors.Is(err, auth.ErrToken) {
					t.Errorf("%s: %v, want ErrToken", what, err)
				}
			}
			for what, token := range map[string]string{
				"a session that is none":  forge(t, header, with(claims, "sid", "authsess_none"), sign),
				"the session of another":  forge(t, header, with(claims, "sid", sessionOfEve.ID), sign),
				"the identity of another": forge(t, header, with(claims, "auth_identity_id", eve.ID), sign),
				"another ver":             forge(t, header, with(claims, "ver", 2), sign),
				"no ver":                  forge(t, header, with(claims, "ver", nil), sign),
			} {
				for range 2 { // also from the cache
					if _, _, err := h.CheckToken(t.Context(), token); !errors.Is(err, auth.ErrSession) {
						t.Errorf("%s: %v, want ErrSession", what, err)
					}
				}
			}
			if _, s, err := h.CheckToken(t.Context(), genuine); err != nil || s.ID != session.ID {
				t.Errorf("the genuine one, after all that: %v", err)
			}
		})
	}
}

// respell returns another last character that decodes to the same bytes: the bits that differ are not part of them.
func respell(last byte) string {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return string(alphabet[strings.IndexByte(alphabet, last)^1])
}

// respliced replaces the claims and leaves the rest.
func respliced(t testing.TB, token string, claims object) string {
	t.Helper()
	raw, err := json.Marshal(claims)
	must(t, err)
	segments := strings.Split(token, ".")
	segments[1] = b64.EncodeToString(raw)
	return strings.Join(segments, ".")
}

func TestATokenOfOneAlgorithmIsNoneOfTheOther(t *testing.T) {
	db := databasetest.SQLite(t).Open(t, auth.Migrations())
	asymmetric, symmetric := newHouse(t, db, auth.Options{}), newHouse(t, db, auth.Options{Algorithm: auth.AlgHS256})
	ada := asymmetric.register(t, "ada@example.com", "correct horse")
	_, first, _ := asymmetric.open(t, ada, "user")
	_, second, _ := symmetric.open(t, ada, "user")
	asymmetric.opens(t, "its own", first, "", nil, nil)
	symmetric.opens(t, "its own", second, "", nil, nil)
	asymmetric.opens(t, "the HS256 token", second, "", auth.ErrToken, nil)
	symmetric.opens(t, "the EdDSA token", first, "", auth.ErrToken, nil)
}

func TestWhoHasThePublishedKeysAloneCanVerify(t *testing.T) {
	h := onSQLite(t, auth.Options{}, secret(1), secret(2))
	_, token, _ := h.open(t, h.register(t, "ada@example.com", "correct horse"), "user")
	published, err := json.Marshal(h.PublicKeys())
	must(t, err)
	for name, hidden := range map[string][]byte{"the master secret": secret(1), "the signing key": key(t, 1, keyring.AccessToken)} {
		if bytes.Contains(published, []byte(b64.EncodeToString(hidden))) || bytes.Contains(published, []byte(`"d"`)) {
			t.Errorf("%s is published: %s", name, published)
		}
	}

	var set []struct{ Kty, Crv, X, Kid, Alg, Use string }
	must(t, json.Unmarshal(published, &set))
	if len(set) != 2 {
		t.Fatalf("%d keys are published, want that of each secret: %s", len(set), published)
	}
	header, _, signature := parts(t, token)
	signed := strings.TrimSuffix(token, "."+signature)
	raw, err := b64.DecodeString(signature)
	must(t, err)
	for _, k := range set {
		if k.Kty != "OKP" || k.Crv != "Ed25519" || k.Alg != "EdDSA" || k.Use != "sig" {
			t.Errorf("the key is %+v", k)
		}
		sum := sha256.Sum256([]byte(`{"crv":"Ed25519","kty":"OKP","x":"` + k.X + `"}`)) // RFC 7638
		if k.Kid != b64.EncodeToString(sum[:]) {
			t.Errorf("the key is called %q, which is not its thumbprint", k.Kid)
		}
		x, err := b64.DecodeString(k.X)
		must(t, err)
		if got, want := ed25519.Verify(x, []byte(signed), raw), k.Kid == header["kid"]; got != want {
			t.Errorf("the token verifies with key %s: %t, want %t", k.Kid, got, want)
		}
	}
	if set[0].Kid != header["kid"] {
		t.Errorf("the token is signed with %v, want the first key %s", header["kid"], set[0].Kid)
	}
}

func TestASecretKeyIsNotPublished(t *testing.T) {
	h := onSQLite(t, auth.Options{Algorithm: auth.AlgHS256})
	if published, err := json.Marshal(h.PublicKeys()); err != nil || string(published) != "[]" {
		t.Errorf("published: %s (%v), want []", published, err)
	}
}

func TestTokensOutliveTheirSecretAsLongAsItIsInTheRing(t *testing.T) {
	for _, alg := range []string{auth.AlgEdDSA, auth.AlgHS256} {
		db := databasetest.SQLite(t).Open(t, auth.Migrations())
		node := func(secrets ...[]byte) house { return newHouse(t, db, auth.Options{Algorithm: alg}, secrets...) }
		old := node(secret(1))
		ada := old.register(t, "ada@example.com", "correct horse")
		_, before, _ := old.open(t, ada, "user")

		node(secret(1), secret(2)).opens(t, "the new secret is known", before, "", nil, nil)
		moved := node(secret(2), secret(1))
		moved.opens(t, "the new secret signs", before, "", nil, nil)
		_, after, _ := moved.open(t, ada, "user")
		node(secret(1), secret(2)).opens(t, "a node that does not sign with it yet", after, "", nil, nil)
		old.opens(t, "a node that does not know it", after, "", auth.ErrToken, nil)

		dropped := node(secret(2))
		dropped.opens(t, "the old secret is gone, a token of the new one", after, "", nil, nil)
		dropped.opens(t, "the old secret is gone, a token of it", before, "", auth.ErrToken, nil)
	}
}

func FuzzCheckToken(f *testing.F) {
	h := onSQLite(f, auth.Options{})
	_, genuine, _ := h.open(f, h.register(f, "ada@example.com", "correct horse"), "user")
	// The corpus must outlive the token, so an input says how to change it: what to cut out, from where, and what to put there.
	f.Add(0, 0, "")
	f.Add(len(genuine), 0, "\n")
	f.Add(len(genuine)-1, 1, "A")
	f.Add(0, 10, "")
	f.Add(0, len(genuine), "eyJhbGciOiJub25lIn0.e30.")
	f.Add(strings.IndexByte(genuine, '.')+1, 4, "eyJh")
	f.Fuzz(func(t *testing.T, at, cut int, put string) {
		at = min(max(at, 0), len(genuine))
		end := min(at+max(cut, 0), len(genuine))
		token := genuine[:at] + put + genuine[max(at, end):]
		if _, _, err := h.CheckToken(t.Context(), token); (err == nil) != (token == genuine) {
			t.Errorf("%q: %v", token, err)
		}
	})
}
