package auth_test

import (
	"crypto/sha256"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// mailedToken is a good token of a kind that is mailed, and how it is looked at without being used up.
type mailedToken struct {
	good    string
	purpose keyring.Purpose
	check   func(t *testing.T, token string) error
	refused error
}

// mailedTokens are one of each kind, all good for a day of fuzzing.
func mailedTokens(f *testing.F) (auth.Session, house, []mailedToken) {
	h := onSQLite(f, auth.Options{Throttle: auth.ThrottleOptions{Disabled: true}})
	session, _, _ := h.open(f, h.register(f, "ada@example.com", "correct horse"), "user")
	asked, err := h.RequestPasswordReset(f.Context(), auth.ResetRequest{Provider: emailpass.Name, EntityID: "ada@example.com", ActorType: "user"})
	must(f, err)
	reset, err := h.CreatePasswordResetToken(f.Context(), asked, auth.ByMail)
	must(f, err)
	return session, h, []mailedToken{
		{reset.Token, keyring.Reset, func(t *testing.T, token string) error {
			_, err := h.CheckPasswordResetToken(t.Context(), "user", emailpass.Name, token)
			return err
		}, auth.ErrResetToken},
		{h.sent(f, h.wants(f, session, "correct horse", "ada@example.com", "ada@example.org")), keyring.EmailChange, func(t *testing.T, token string) error {
			_, err := h.CheckEmailChangeToken(t.Context(), session, token)
			return err
		}, auth.ErrEmailChange},
		{h.provesBy(f, h.db, session, "ada@example.com"), keyring.Verification, func(t *testing.T, token string) error {
			_, err := h.CheckVerificationToken(t.Context(), session, token)
			return err
		}, auth.ErrVerification},
	}
}

// Of all texts that look like a token that was mailed, only that token is one: not another spelling of it either.
func FuzzMailedToken(f *testing.F) {
	_, _, kinds := mailedTokens(f)
	for kind := range kinds {
		// As in FuzzCheckToken, an input says how to change a token, so that it outlives it.
		f.Add(kind, 0, 0, "")
		f.Add(kind, 500, 0, "\n")
		f.Add(kind, 0, 20, "eyJhbGciOiJub25lIn0")
		f.Add(kind, 0, 5000, "..")
		f.Add(kind, 0, 5000, strings.Repeat(".", 9000))
		f.Add(kind, 60, 1, "A")
	}
	f.Fuzz(func(t *testing.T, kind, at, cut int, put string) {
		k := kinds[uint(kind)%uint(len(kinds))]
		at = min(max(at, 0), len(k.good))
		end := min(at+max(cut, 0), len(k.good))
		token := k.good[:at] + put + k.good[max(at, end):]
		switch err := k.check(t, token); {
		case (err == nil) != (token == k.good):
			t.Errorf("%q: %v", token, err)
		case err != nil && !errors.Is(err, k.refused):
			t.Errorf("%q: %v, want %v", token, err, k.refused)
		}
	})
}

// What is signed by our key, but says something that we never say, opens nothing and breaks nothing.
func FuzzClaimsOfMailedToken(f *testing.F) {
	session, h, kinds := mailedTokens(f)
	decoded := make([][2]string, len(kinds))
	for i, k := range kinds {
		segments := strings.Split(k.good, ".")
		for j := range decoded[i] {
			data, err := b64.DecodeString(segments[j])
			must(f, err)
			decoded[i][j] = string(data)
		}
		f.Add(i, `{"alg":"HS256","typ":"JWT","kid":"KID"}`, decoded[i][1])
		f.Add(i, `{"alg":"HS256","kid":"KID","crit":["exp"]}`, decoded[i][1])
		f.Add(i, `{"alg":"HS256","kid":["KID"]}`, `{}`)
		f.Add(i, `{"alg":"HS256","kid":"KID"}`, `{"exp":1e308,"purpose":"reset","use":"verification","jti":null}`)
		f.Add(i, `{"alg":"none","kid":"KID"}`, `[]`)
		f.Add(i, `null`, `null`)
		f.Add(i, `{"alg":"HS256","alg":"none","kid":"KID"}`, `{"jti":"a","jti":"b","exp":"9999999999","auth_identity_id":"`+string(session.IdentityID)+`"}`)
	}
	f.Fuzz(func(t *testing.T, kind int, header, claims string) {
		i := uint(kind) % uint(len(kinds))
		k := kinds[i]
		header = strings.ReplaceAll(header, "KID", nameOf(t, 1, k.purpose))
		signed := b64.EncodeToString([]byte(header)) + "." + b64.EncodeToString([]byte(claims))
		token := signed + "." + b64.EncodeToString(byHMAC(sha256.New, key(t, 1, k.purpose))(signed))
		if err := k.check(t, token); err == nil && !says(claims, decoded[i][1]) {
			t.Errorf("%s.%s is good", header, claims)
		} else if err != nil && !errors.Is(err, k.refused) && !errors.Is(err, auth.ErrEmailChangeElsewhere) && !errors.Is(err, auth.ErrVerificationElsewhere) {
			t.Errorf("%s.%s: %v, want %v", header, claims, err, k.refused)
		}
		if _, _, err := h.CheckToken(t.Context(), token); !errors.Is(err, auth.ErrToken) {
			t.Errorf("%s.%s as a bearer: %v", header, claims, err)
		}
	})
}

// says reports whether claims have the jti of those that are good, which nobody can guess.
func says(claims, good string) bool {
	_, jti, _ := strings.Cut(good, `"jti":"`)
	jti, _, _ = strings.Cut(jti, `"`)
	return jti != "" && strings.Contains(claims, jti)
}

// Whatever a device presents, it is known only by what was made here for it, and by what it is given at a sign-in.
func FuzzDeviceToken(f *testing.F) {
	h := onSQLite(f, auth.Options{})
	ada, _, _ := h.open(f, h.register(f, "ada@example.com", "correct horse"), "user")
	eve, _, _ := h.open(f, h.register(f, "eve@example.com", "correct horse"), "user")
	genuine := h.DeviceToken(ada, "")
	f.Add(0, 0, "")
	f.Add(0, len(genuine), strings.Repeat("A", 26)+"."+strings.Repeat("x", 990))
	f.Add(0, len(genuine), strings.Repeat("A", 26)+strings.Repeat(".9999999999-", 5))
	f.Add(0, 26, strings.Repeat("B", 26))
	f.Add(len(genuine), 0, "."+time.Now().Format("0102150405")+"-x")
	f.Add(0, len(genuine), strings.Repeat(".", 2000))
	f.Fuzz(func(t *testing.T, at, cut int, put string) {
		at = min(max(at, 0), len(genuine))
		end := min(at+max(cut, 0), len(genuine))
		presented := genuine[:at] + put + genuine[max(at, end):]
		device, entry, _ := strings.Cut(genuine, ".")
		its := strings.HasPrefix(presented, device+".") && strings.Contains(presented, entry)
		if known := auth.KnownDevice(h.Service, presented, ada); known != "" && !its {
			t.Errorf("%q is known as %q", presented, known)
		}
		if known := auth.KnownDevice(h.Service, presented, eve); known != "" {
			t.Errorf("%q is known to somebody else", presented)
		}
		for range 2 { // the second time with what the first has left
			presented = h.DeviceToken(eve, presented)
			if auth.KnownDevice(h.Service, presented, eve) == "" || len(presented) > 1024 {
				t.Fatalf("given %q at a sign-in, and not known by it", presented)
			}
		}
	})
}
