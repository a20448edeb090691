package user_test

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"

	"github.com/golang-jwt/jwt/v5"

	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/user"
)

func TestSameInviteGivesTheSameToken(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		made := b.invite(t, "ada@example.com")
		token := b.InviteToken(made, user.ByHand)
		listed := must(b.ListInvites(t.Context(), user.InviteFilter{}, user.Page{}))(t)[0]
		for how, again := range map[string]user.Invite{
			"retrieved": must(b.RetrieveInvite(t.Context(), made.ID))(t), "listed": listed,
			"validated": must(b.ValidateInviteToken(t.Context(), token))(t),
		} {
			if got := b.InviteToken(again, user.ByHand); got != token {
				t.Errorf("%s: %s, want %s", how, got, token)
			}
		}
		if got := b.InviteToken(made, ""); got != token {
			t.Error("a token that went no known way is not as one given by hand")
		}
		if b.InviteToken(made, user.ByMail) == token {
			t.Error("the mailed token is the one that is shown")
		}
	})
}

// Medusa's dashboard decodes the token in the browser.
func TestTokenSaysWhatTheRowSays(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		i := b.invite(t, "ada@example.com")
		parts := strings.Split(b.InviteToken(i, user.ByMail), ".")
		payload := must(base64.RawURLEncoding.DecodeString(parts[1]))(t)
		var jti string
		want := `{"id":"%s","email":"%s","jti":"%s","iat":%d,"exp":%d,"ch":"mail","use":"invite"}`
		if _, rest, ok := strings.Cut(string(payload), `"jti":"`); ok {
			jti, _, _ = strings.Cut(rest, `"`)
		}
		if want = fmt.Sprintf(want, i.ID, i.Email, jti, i.IssuedAt.Unix(), i.ExpiresAt.Unix()); string(payload) != want {
			t.Errorf("payload %s, want %s", payload, want)
		}
		if len(jti) < 26 {
			t.Errorf("jti %q, want one that cannot be guessed", jti)
		}
		header := string(must(base64.RawURLEncoding.DecodeString(parts[0]))(t))
		if kid := inviteKey(t, 'a').ID; header != fmt.Sprintf(`{"alg":"HS256","kid":%q,"typ":"JWT"}`, kid) {
			t.Errorf("header %s, want HS256 and %s", header, kid)
		}
	})
}

func TestTokenTellsHowItLeft(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		i := b.invite(t, "ada@example.com")
		for _, ch := range []user.Channel{user.ByHand, user.ByMail} {
			got := must(b.ValidateInviteToken(t.Context(), b.InviteToken(i, ch)))(t)
			if got.Channel != ch || got.ID != i.ID {
				t.Errorf("sent by %s: %s by %s", ch, got.ID, got.Channel)
			}
			if held := must(b.HoldInvite(t.Context(), b.InviteToken(i, ch)))(t); held.Channel != ch {
				t.Errorf("sent by %s, held: by %s", ch, held.Channel)
			}
		}
		if read := must(b.RetrieveInvite(t.Context(), i.ID))(t); read.Channel != "" {
			t.Errorf("read without a token: by %s, want nothing", read.Channel)
		}
	})
}

func inviteKey(t testing.TB, c byte) keyring.Key { return ring(t, secret(c)).Keys(keyring.Invite)[0] }

func TestTokenThatWasNotMadeHereOpensNothing(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		i := b.invite(t, "ada@example.com")
		good := b.InviteToken(i, user.ByHand)
		parts := strings.Split(good, ".")
		claims := jwt.MapClaims{}
		_, _, err := jwt.NewParser().ParseUnverified(good, claims)
		check(t, err)
		key := inviteKey(t, 'a')
		sign := func(method jwt.SigningMethod, key any, kid any, with jwt.MapClaims) string {
			tok := jwt.NewWithClaims(method, jwt.MapClaims{})
			for k, v := range claims {
				tok.Claims.(jwt.MapClaims)[k] = v
			}
			for k, v := range with {
				tok.Claims.(jwt.MapClaims)[k] = v
			}
			if kid != nil {
				tok.Header["kid"] = kid
			}
			return must(tok.SignedString(key))(t)
		}
		hs := jwt.SigningMethodHS256
		if _, err := b.ValidateInviteToken(t.Context(), sign(hs, key.Bytes, key.ID, nil)); err != nil {
			t.Fatalf("these tests forge badly: %v", err)
		}
		access, pepper := ring(t, secret('a')).Keys(keyring.AccessToken)[0], ring(t, secret('a')).Keys(keyring.Pepper)[0]
		critical := jwt.NewWithClaims(hs, claims)
		critical.Header["kid"], critical.Header["crit"] = key.ID, []string{"exp"}
		bad := map[string]string{
			"crit":                        must(critical.SignedString(key.Bytes))(t),
			"empty":                       "",
			"dots":                        "..",
			"text":                        "hello",
			"NUL":                         "\x00",
			"two parts":                   parts[0] + "." + parts[1],
			"four parts":                  good + "." + parts[2],
			"no signature":                parts[0] + "." + parts[1] + ".",
			"blank after":                 good + " ",
			"line after":                  good + "\n",
			"padded":                      good + "=",
			"cut":                         good[:len(good)-1],
			"long":                        strings.Repeat("A", 1<<20),
			"other header":                base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"HS256"}`)) + "." + parts[1] + "." + parts[2],
			"other payload":               parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"id":"`+string(i.ID)+`"}`)) + "." + parts[2],
			"another server's key":        sign(hs, inviteKey(t, 'b').Bytes, inviteKey(t, 'b').ID, nil),
			"another key by our name":     sign(hs, inviteKey(t, 'b').Bytes, key.ID, nil),
			"the secret itself":           sign(hs, secret('a'), key.ID, nil),
			"the access-token key":        sign(hs, access.Bytes, access.ID, nil),
			"that by the invite's name":   sign(hs, access.Bytes, key.ID, nil),
			"the pepper":                  sign(hs, pepper.Bytes, pepper.ID, nil),
			"no key's name":               sign(hs, key.Bytes, nil, nil),
			"a number as the key's name":  sign(hs, key.Bytes, 1, nil),
			"an object as the key's name": sign(hs, key.Bytes, map[string]any{"a": "b"}, nil),
			"another use":                 sign(hs, key.Bytes, key.ID, jwt.MapClaims{"use": "reset"}),
			"no use":                      sign(hs, key.Bytes, key.ID, jwt.MapClaims{"use": nil}),
			"a number as id":              sign(hs, key.Bytes, key.ID, jwt.MapClaims{"id": 1}),
			"HS384":                       sign(jwt.SigningMethodHS384, key.Bytes, key.ID, nil),
			"HS512":                       sign(jwt.SigningMethodHS512, key.Bytes, key.ID, nil),
			"none":                        sign(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, key.ID, nil),
		}
		const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
		for _, c := range alphabet { // four of them differ only in bits that are not used
			if other := good[:len(good)-1] + string(c); other != good {
				bad["ending in "+string(c)] = other
			}
		}
		for name, token := range bad {
			got, err := b.ValidateInviteToken(t.Context(), token)
			if wantErr(t, name, err, user.ErrInviteToken); got.ID != "" {
				t.Errorf("%s: got the invite along with the error", name)
			}
			_, err = b.HoldInvite(t.Context(), token)
			wantErr(t, name+", to hold it", err, user.ErrInviteToken)
		}
	})
}

func TestTokenSaysWhyItNoLongerOpens(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		all := must(b.CreateInvites(t.Context(), inviteDrafts("used@example.com", "renewed@example.com", "withdrawn@example.com", "deleted@example.com", "user@example.com")...))(t)
		expired := must(b.hasty(t).CreateInvites(t.Context(), inviteDrafts("expired@example.com", "renewed-too@example.com")...))(t)
		check(t, b.AcceptInvite(t.Context(), all[0], user.NewID()))
		must(b.RefreshInviteTokens(t.Context(), all[1].ID, expired[1].ID))(t)
		check(t, b.SoftDeleteInvites(t.Context(), all[2].ID))
		check(t, b.DeleteInvites(t.Context(), all[3].ID))
		b.user(t, "user@example.com") // does not matter to the token
		for _, c := range []struct {
			invite user.Invite
			want   error
		}{
			{all[0], user.ErrInviteUsed}, {all[1], user.ErrInviteRenewed}, {all[2], user.ErrInviteRevoked}, {all[3], user.ErrInviteRevoked},
			{all[4], nil}, {expired[0], user.ErrInviteExpired}, {expired[1], user.ErrInviteRenewed},
		} {
			for _, ch := range []user.Channel{user.ByHand, user.ByMail} {
				got, err := b.ValidateInviteToken(t.Context(), b.InviteToken(c.invite, ch))
				wantErr(t, c.invite.Email, err, c.want)
				if along := got.ID != ""; along != (c.want == nil || c.want == user.ErrInviteUsed) {
					t.Errorf("%s: the invite came along: %t", c.invite.Email, along)
				}
			}
		}
	})
}

func TestTokenOutlivesARotationOfSecretsUntilItsOwnIsDropped(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		i := b.invite(t, "ada@example.com")
		old := b.InviteToken(i, user.ByHand)
		appended := b.with(t, user.Options{}, secret('a'), secret('b'))
		moved := b.with(t, user.Options{}, secret('b'), secret('a'))
		dropped := b.with(t, user.Options{}, secret('b'))
		made := moved.InviteToken(i, user.ByHand)
		if made == old || appended.InviteToken(i, user.ByHand) != old {
			t.Error("it is not the first secret that signs")
		}
		for name, c := range map[string]struct {
			by    *user.Service
			token string
			want  error
		}{
			"old token, new secret appended":            {appended, old, nil},
			"old token, new secret first":               {moved, old, nil},
			"old token, old secret dropped":             {dropped, old, user.ErrInviteToken},
			"new token, new secret first":               {moved, made, nil},
			"new token, new secret appended":            {appended, made, nil},
			"new token, old secret dropped":             {dropped, made, nil},
			"new token, where nobody knows its secret":  {b.Service, made, user.ErrInviteToken},
			"old token, where nobody has heard of news": {b.Service, old, nil},
		} {
			_, err := c.by.ValidateInviteToken(t.Context(), c.token)
			wantErr(t, name, err, c.want)
		}
	})
}
