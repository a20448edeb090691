package auth_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// A token that is mailed opens by its own key, algorithm and purpose alone, whoever has signed it. The good one is tried
// at the end: nothing that was refused has used it up.
func TestATokenThatIsMailedIsRefusedInAnyOtherForm(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		session, access, _ := h.open(t, ada, "user")
		asked, err := h.RequestPasswordReset(t.Context(), auth.ResetRequest{Provider: emailpass.Name, EntityID: "ada@example.com", ActorType: "user"})
		must(t, err)
		reset, err := h.CreatePasswordResetToken(t.Context(), asked, auth.ByMail)
		must(t, err)
		again, err := h.ProveAgain(t.Context(), session, input("password", "correct horse"))
		must(t, err)
		move, err := h.RequestEmailChange(t.Context(), session, again, "ada@example.com", "ada@example.org")
		must(t, err)
		change, err := h.CreateEmailChangeToken(t.Context(), move)
		must(t, err)
		proof := h.provesBy(t, h.db, session, "ada@example.com")

		for _, kind := range []struct {
			name, good, purpose string
			of                  keyring.Purpose
			check               func(token string) error
			refused             error
		}{
			{"reset", reset.Token, "purpose", keyring.Reset, func(token string) error {
				_, err := h.CheckPasswordResetToken(t.Context(), "user", emailpass.Name, token)
				return err
			}, auth.ErrResetToken},
			{"change of address", change.Token, "use", keyring.EmailChange, func(token string) error {
				_, err := h.CheckEmailChangeToken(t.Context(), session, token)
				return err
			}, auth.ErrEmailChange},
			{"verification", proof, "use", keyring.Verification, func(token string) error {
				_, err := h.CheckVerificationToken(t.Context(), session, token)
				return err
			}, auth.ErrVerification},
		} {
			header, claims, signature := parts(t, kind.good)
			own := key(t, 1, kind.of)
			hs256 := byHMAC(sha256.New, own)
			if err := kind.check(forge(t, header, claims, hs256)); err != nil {
				t.Fatalf("%s: this test forges badly: %v", kind.name, err)
			}
			bad := map[string]string{
				"alg none":            forge(t, with(header, "alg", "none"), claims, unsigned),
				"alg none, signed":    forge(t, with(header, "alg", "none"), claims, hs256),
				"alg in lower case":   forge(t, with(header, "alg", "hs256"), claims, hs256),
				"HS512":               forge(t, with(header, "alg", "HS512"), claims, byHMAC(sha512.New, own)),
				"EdDSA":               forge(t, with(header, "alg", "EdDSA"), claims, bySeed(own)),
				"another kid":         forge(t, with(header, "kid", "AAAAAAAA"), claims, hs256),
				"no kid":              forge(t, with(header, "kid", nil), claims, hs256),
				"kid is a list":       forge(t, with(header, "kid", []any{header["kid"]}), claims, hs256),
				"crit":                forge(t, with(header, "crit", []string{"exp"}), claims, hs256),
				"its own key, jwk":    forge(t, with(header, "jwk", object{"kty": "oct", "k": b64.EncodeToString(secret(9))}), claims, byHMAC(sha256.New, secret(9))),
				"its own key, jku":    forge(t, with(header, "jku", "https://eve.example.com/jwks.json"), claims, byHMAC(sha256.New, secret(9))),
				"another secret":      forge(t, header, claims, byHMAC(sha256.New, key(t, 2, kind.of))),
				"the secret itself":   forge(t, header, claims, byHMAC(sha256.New, secret(1))),
				"no end":              forge(t, header, with(claims, "exp", nil), hs256),
				"expired":             forge(t, header, with(claims, "exp", time.Now().Unix()-1), hs256),
				"no purpose":          forge(t, header, with(claims, kind.purpose, nil), hs256),
				"purpose access":      forge(t, header, with(claims, kind.purpose, "access"), hs256),
				"purpose invite":      forge(t, header, with(claims, kind.purpose, "invite"), hs256),
				"no jti":              forge(t, header, with(claims, "jti", nil), hs256),
				"another jti":         forge(t, header, with(claims, "jti", b64.EncodeToString(secret(3))), hs256),
				"no signature":        strings.TrimSuffix(kind.good, signature),
				"an access token":     access,
				"padded":              kind.good + "=",
				"with a line break":   kind.good[:len(kind.good)-5] + "\n" + kind.good[len(kind.good)-5:],
				"another last letter": kind.good[:len(kind.good)-1] + respell(kind.good[len(kind.good)-1]),
			}
			for _, p := range []keyring.Purpose{keyring.AccessToken, keyring.Invite, keyring.Reset, keyring.EmailChange, keyring.Verification, keyring.Pepper, keyring.Device,
				keyring.Seal, keyring.Fingerprint} {
				if p != kind.of {
					bad["by the key of "+string(p)] = forge(t, header, claims, byHMAC(sha256.New, key(t, 1, p)))
					bad["by the key of "+string(p)+" and its name"] = forge(t, with(header, "kid", nameOf(t, 1, p)), claims, byHMAC(sha256.New, key(t, 1, p)))
				}
			}
			for what, token := range bad {
				if err := kind.check(token); !errors.Is(err, kind.refused) {
					t.Errorf("%s, %s: %v, want %v", kind.name, what, err, kind.refused)
				}
				if _, _, err := h.CheckToken(t.Context(), token); token != access && !errors.Is(err, auth.ErrToken) {
					t.Errorf("%s, %s, as a bearer: %v", kind.name, what, err)
				}
			}
			if _, _, err := h.CheckToken(t.Context(), kind.good); !errors.Is(err, auth.ErrToken) {
				t.Errorf("%s as a bearer: %v", kind.name, err)
			}
			if err := kind.check(kind.good); err != nil {
				t.Errorf("%s itself, after all that: %v", kind.name, err)
			}
		}
	})
}
