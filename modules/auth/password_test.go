package auth_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

func newPasswords(t testing.TB, o auth.PasswordOptions, secrets ...[]byte) *auth.Passwords {
	t.Helper()
	if len(secrets) == 0 {
		secrets = [][]byte{secret(1)}
	}
	h, err := auth.NewPasswords(auth.PasswordParams{Keys: ring(t, secrets...), Options: o})
	must(t, err)
	return h
}

func TestAPasswordIsRefusedForOneReasonOnly(t *testing.T) {
	const short, long, common, address = "Password is too short: at least 8 characters", "Password is too long: at most 256 characters",
		"Password is too common", "Password must not be your e-mail address"
	for password, want := range map[string]string{
		"":                              short,
		"1234567":                       short,
		"ééééééé":                       short,
		"password":                      common,
		"PASSWORD":                      common,
		"password1":                     common,
		"12345678":                      common,
		"ada@example.com":               address,
		"ADA@EXAMPLE.COM":               address,
		strings.Repeat("correct ", 40):  long,
		strings.Repeat("x", 257):        long,
		"correct\x00horse":              "Password must not contain NUL characters",
		"correct\xffhorse":              "Password must be valid UTF-8 text",
		"correct horse":                 "",
		"        ":                      "",
		"password ":                     "", // not trimmed
		"ééééèèèè":                      "",
		strings.Repeat("é", 256):        "",
		"\U0001F40E\U0001F50B horses\t": "",
	} {
		err := auth.Policy{}.Check(password, "ada@example.com")
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v", password, err)
		case want != "" && (!errors.Is(err, auth.ErrPassword) || err.Error() != want || fault.KindOf(err) != fault.Invalid):
			t.Errorf("%q: %v, want %q", password, err, want)
		}
	}
}

func TestAPasswordIsNotMadeOfWhatIsKnownOfThePersonOrTheService(t *testing.T) {
	const address, made = "Password must not be your e-mail address", "Password must not be made of your name, your e-mail address or the name of this service"
	p := auth.Policy{Words: []string{"Latchkey", "id.example.com", "Road Runner", "Süßstoff", "ab"}}
	for password, want := range map[string]string{
		"Ada.Lovelace@Example.com":  address,
		"ada.lovelace@example.com1": made,
		"ada.lovelace":              made,
		"Lovelace1815":              made,
		"1815lovelace!":             made,
		"lovelacelovelace":          made,
		"Augusta1815":               made,
		"Hamilton-7":                made,
		"Hamilton.Augusta":          made,
		"latchkey":                  made, // before it is found to be too common
		"LATCHKEY2026!":             made,
		"latchkey latchkey":         made,
		"id.example.com":            made,
		"roadrunner":                made,
		"road runner 1":             made,
		"runner!!":                  made,
		"SÜßSTOFF!":                 made,
		"lovelace ist die beste":    "",
		"my latchkey is under the mat, as it is every day": "",
		"abab abab":         "", // too short a word to count
		"adaadaada":         "",
		"correct horse":     "",
		"byron byron byron": "",
	} {
		err := p.Check(password, "ada.lovelace@example.com", "Augusta", "King Hamilton")
		if got := fmt.Sprint(err); want == "" && err != nil || want != "" && (!errors.Is(err, auth.ErrPassword) || got != want) {
			t.Errorf("%q: %v, want %q", password, err, want)
		}
	}
}

func TestAPolicyCanAskForMoreAndNotForLess(t *testing.T) {
	for _, c := range []struct {
		policy   auth.Policy
		password string
		want     string
	}{
		{auth.Policy{MinLength: 15}, "correct horses", "Password is too short: at least 15 characters"},
		{auth.Policy{MinLength: 15}, "correct horses!", ""},
		{auth.Policy{MinLength: 1}, "short 7", "Password is too short: at least 8 characters"},
		{auth.Policy{MinLength: -1}, "short 7", "Password is too short: at least 8 characters"},
		{auth.Policy{MinStrength: 3}, "Summer2026!", "Password is too easy to guess: make it longer, or of several words that do not belong together"},
		{auth.Policy{MinStrength: 2}, "Summer2026!", ""},
		{auth.Policy{MinStrength: 4}, "correct horse battery staple", ""},
		{auth.Policy{}, "Summer2026!", ""},
	} {
		if err := c.policy.Check(c.password); c.want == "" && err != nil || c.want != "" && (!errors.Is(err, auth.ErrPassword) || err.Error() != c.want) {
			t.Errorf("%q by %+v: %v, want %q", c.password, c.policy, err, c.want)
		}
	}
}

func TestACostThatBcryptDoesNotKnowIsRefused(t *testing.T) {
	for _, cost := range []int{-1, 1, 3, 32, 100} {
		if _, err := auth.NewPasswords(auth.PasswordParams{Keys: ring(t, secret(1)), Options: auth.PasswordOptions{Cost: cost}}); err == nil || !strings.Contains(err.Error(), "4 to 31") {
			t.Errorf("cost %d: %v", cost, err)
		}
	}
	if _, err := auth.NewPasswords(auth.PasswordParams{Options: auth.PasswordOptions{Cost: 4}}); err == nil {
		t.Error("without keys there are passwords")
	}
	newPasswords(t, auth.PasswordOptions{Cost: 31}) // at once: nothing is computed at the start
	newPasswords(t, auth.PasswordOptions{})
}

func TestAHashFitsItsPasswordAlone(t *testing.T) {
	h := newPasswords(t, auth.PasswordOptions{Cost: 4, MaxWait: time.Minute})
	long := strings.Repeat("x", 72)
	all := []string{"", "q", "q\x00", "q\x00q", "\x00q", long + "a", long + "b", "caf\u00e9", "cafe\u0301", "q "}
	for i, right := range all {
		hash, err := h.Hash(t.Context(), right)
		must(t, err)
		if !strings.HasPrefix(string(hash), "$hb1$") || right != "" && len(right) > 1 && strings.Contains(string(hash), right) {
			t.Errorf("%q is kept as %q", right, hash)
		}
		for j, password := range all {
			ok, stale, err := h.Verify(t.Context(), hash, password)
			if err != nil || ok != (i == j) || stale {
				t.Errorf("%q against the hash of %q: %t, stale %t, %v", password, right, ok, stale, err)
			}
		}
	}
	one, err := h.Hash(t.Context(), "correct horse")
	must(t, err)
	two, err := h.Hash(t.Context(), "correct horse")
	if must(t, err); slices.Equal(one, two) {
		t.Error("two people with one password have one hash")
	}
}

func TestAHashIsStaleWhenCostOrPepperHaveChanged(t *testing.T) {
	made, err := newPasswords(t, auth.PasswordOptions{Cost: 4}).Hash(t.Context(), "correct horse")
	must(t, err)
	for name, c := range map[string]struct {
		by        *auth.Passwords
		ok, stale bool
	}{
		"the same":               {newPasswords(t, auth.PasswordOptions{Cost: 4}), true, false},
		"a higher cost":          {newPasswords(t, auth.PasswordOptions{Cost: 5}), true, true},
		"a new pepper, not used": {newPasswords(t, auth.PasswordOptions{Cost: 4}, secret(1), secret(2)), true, false},
		"a new pepper in use":    {newPasswords(t, auth.PasswordOptions{Cost: 4}, secret(2), secret(1)), true, true},
	} {
		if ok, stale, err := c.by.Verify(t.Context(), made, "correct horse"); err != nil || ok != c.ok || stale != c.stale {
			t.Errorf("%s: fits %t, stale %t, %v; want %t, %t", name, ok, stale, err, c.ok, c.stale)
		}
		if ok, stale, err := c.by.Verify(t.Context(), made, "wrong horse"); err != nil || ok || stale {
			t.Errorf("%s, a wrong password: fits %t, stale %t, %v", name, ok, stale, err)
		}
	}
}

func TestAHashThatCannotBeReadIsOurFailure(t *testing.T) {
	h := newPasswords(t, auth.PasswordOptions{Cost: 4})
	genuine, err := h.Hash(t.Context(), "correct horse")
	must(t, err)
	bare := string(genuine[strings.Index(string(genuine), "$2a$"):])
	for name, hash := range map[string]string{
		"empty": "", "plain": "correct horse", "no pepper": "$hb1$$" + bare, "another pepper": "$hb1$AAAAAAAA$" + bare,
		"another scheme": "$hb2" + strings.TrimPrefix(string(genuine), "$hb1"), "cut": string(genuine[:40]), "pepper alone": strings.TrimSuffix(string(genuine), bare),
		"cost 31": strings.Replace(string(genuine), "$04$", "$31$", 1), // which would take a day
		"cost 99": strings.Replace(string(genuine), "$04$", "$99$", 1), "another bcrypt": strings.Replace(string(genuine), "$2a$", "$9a$", 1),
	} {
		ok, stale, err := h.Verify(t.Context(), []byte(hash), "correct horse")
		if ok || stale || err == nil || fault.KindOf(err) != fault.Internal || strings.Contains(err.Error(), bare[7:]) {
			t.Errorf("%s: fits %t, stale %t, %v; want a failure that does not tell the hash", name, ok, stale, err)
		}
	}
	for _, password := range []string{"", "correct horse"} {
		if ok, stale, err := h.Verify(t.Context(), nil, password); ok || stale || err != nil {
			t.Errorf("nobody's hash with %q: fits %t, stale %t, %v", password, ok, stale, err)
		}
	}
}

func TestABurstIsRefusedRatherThanKeptWaiting(t *testing.T) {
	h := newPasswords(t, auth.PasswordOptions{Cost: 9, MaxWait: time.Millisecond})
	served, refused := 0, 0
	for i, err := range databasetest.Together(60, func(int) error { _, err := h.Hash(t.Context(), "correct horse"); return err }) {
		if err == nil {
			served++
			continue
		}
		refused++
		f, _ := fault.Of(err)
		if !errors.Is(err, auth.ErrBusy) || f.Kind != fault.Unavailable || f.RetryAfter < time.Second || f.RetryAfter%time.Second != 0 {
			t.Errorf("caller %d: %v, wait %v; want ErrBusy and whole seconds", i, err, f.RetryAfter)
		}
	}
	if served == 0 || refused == 0 {
		t.Errorf("%d served, %d refused: want some of each", served, refused)
	}
	if _, err := h.Hash(t.Context(), "correct horse"); err != nil {
		t.Errorf("after the burst: %v", err)
	}
}

// A wrong password must cost the same whether the account's hash was made under the configured cost or an older one. The
// bound is generous: without the difference paid, the older one would cost a 64th.
func TestAWrongPasswordForAnOlderHashCostsWhatAnUnknownAccountCosts(t *testing.T) {
	keys := ring(t, secret(1))
	made := func(cost int) *auth.Passwords {
		p, err := auth.NewPasswords(auth.PasswordParams{Keys: keys, Options: auth.PasswordOptions{Cost: cost, MaxWait: time.Minute}})
		must(t, err)
		return p
	}
	old, err := made(4).Hash(t.Context(), "correct horse")
	must(t, err)
	now := made(10)
	cost := func(hash []byte) time.Duration {
		best := time.Hour
		for range 3 {
			start := time.Now()
			if ok, _, err := now.Verify(t.Context(), hash, "wrong horse"); ok || err != nil {
				t.Fatalf("verify: %v, %v", ok, err)
			}
			best = min(best, time.Since(start))
		}
		return best
	}
	if known, unknown := cost(old), cost(nil); known*2 < unknown {
		t.Errorf("a wrong password costs %v where the account is known, %v where it is not", known, unknown)
	}
	if ok, stale, err := now.Verify(t.Context(), old, "correct horse"); !ok || !stale || err != nil {
		t.Errorf("the right password: %v, %v, %v", ok, stale, err)
	}
}

// Nobody is made to choose another password because theirs is old (ASVS 6.2.10).
func TestAPasswordDoesNotExpire(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		for table, columns := range map[string][]string{"auth_identity": {"created_at", "updated_at"}, "provider_identity": {"created_at", "updated_at", "email_verified_at"}} {
			h.age(t, table, 30*365*24*time.Hour, columns...)
		}
		if i, err := h.signIn(t.Context(), "ada@example.com", "correct horse"); err != nil || i.ID != ada.ID {
			t.Errorf("after thirty years: %v, %v", i.ID, err)
		}
	})
}
