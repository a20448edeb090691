package emailpass_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

func TestMain(m *testing.M) { databasetest.Main(m) }

// secret is a master secret for tests, told apart by its number.
func secret(n byte) []byte { return bytes.Repeat([]byte{n}, keyring.MinSecret) }

func ring(t testing.TB, secrets ...[]byte) *keyring.Ring {
	t.Helper()
	keys, err := keyring.New(secrets...)
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

// newProvider hashes at a cost that production refuses, because -race makes bcrypt slow.
func newProvider(t testing.TB, cost int, secrets ...[]byte) *emailpass.Provider {
	t.Helper()
	if len(secrets) == 0 {
		secrets = [][]byte{secret(1)}
	}
	passwords, err := auth.NewPasswords(auth.PasswordParams{
		Keys: ring(t, secrets...), Options: auth.PasswordOptions{Cost: cost, MaxWait: time.Minute},
	})
	if err != nil {
		t.Fatal(err)
	}
	return emailpass.New(passwords, emailpass.Config{})
}

// door is an auth service whose only provider is this one.
type door struct {
	db   *database.DB
	auth *auth.Service
}

func newDoor(t testing.TB, db *database.DB, cost int, secrets ...[]byte) door {
	t.Helper()
	s, err := auth.New(auth.Params{DB: db, Keys: ring(t, secret(1)), Providers: []auth.Provider{newProvider(t, cost, secrets...)},
		Options: auth.Options{Throttle: auth.ThrottleOptions{AccountAddress: auth.Limit{Most: 100}}}}) // so often the tests fail
	if err != nil {
		t.Fatal(err)
	}
	return door{db, s}
}

func each(t *testing.T, f func(t *testing.T, d door)) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) { f(t, newDoor(t, at.Open(t, auth.Migrations()), 4)) })
}

func credentials(email, password any) auth.Input {
	in, err := json.Marshal(map[string]any{"email": email, "password": password})
	if err != nil {
		panic(err)
	}
	return in
}

func (d door) signIn(ctx context.Context, email, password any) (auth.Identity, error) {
	return d.auth.Authenticate(ctx, emailpass.Name, credentials(email, password))
}

func (d door) register(ctx context.Context, email, password any) (auth.Identity, error) {
	return d.auth.Register(ctx, emailpass.Name, credentials(email, password))
}

func (d door) mustRegister(t testing.TB, email, password string) auth.Identity {
	t.Helper()
	i, err := d.register(t.Context(), email, password)
	if err != nil {
		t.Fatalf("register %s: %v", email, err)
	}
	return i
}

// kept returns the stored hash of the only way to sign in.
func (d door) kept(t testing.TB) string {
	t.Helper()
	var hash []byte
	if err := d.db.Conn(t.Context()).NewSelect().Table("latchkey_provider_identity").Column("secret").Scan(t.Context(), &hash); err != nil {
		t.Fatal(err)
	}
	return string(hash)
}

// check holds an error against the text and the kind that clients are promised.
func check(t testing.TB, what string, err error, kind fault.Kind, text string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind || err.Error() != text {
		t.Errorf("%s: %v (kind %d), want %q (kind %d)", what, err, fault.KindOf(err), text, kind)
	}
}

func TestProvider(t *testing.T) {
	authtest.Provider(t, authtest.Case{
		New:  func(t *testing.T) auth.Provider { return newProvider(t, 4) },
		Good: credentials("ada@example.com", "correct horse"),
		Bad: map[string]auth.Input{
			"wrong password":   credentials("ada@example.com", "incorrect"),
			"unknown address":  credentials("eve@example.com", "correct horse"),
			"nonsense address": credentials("nobody at home", "correct horse"),
			"short password":   credentials("ada@example.com", "q"),
		},
		Junk: map[string]auth.Input{
			"other case":  auth.Input(`{"Email":"ada@example.com","Password":"correct horse"}`),
			"both twice":  auth.Input(`{"email":"ada@example.com","email":"ada@example.com","password":"correct horse","password":"correct horse"}`),
			"spaced name": credentials(" ada@example.com", "correct horse"),
		},
	})
}

func TestItIsShownAsMedusaShowsItUnlessConfigured(t *testing.T) {
	for config, want := range map[emailpass.Config]string{
		{}:                          "Email/Password Authentication",
		{DisplayName: "Staff only"}: "Staff only",
	} {
		if got := emailpass.New(nil, config).DisplayName(); got != want {
			t.Errorf("%+v is shown as %q, want %q", config, got, want)
		}
	}
}

func TestAMissingPasswordIsToldBeforeAMissingAddress(t *testing.T) {
	d := newDoor(t, databasetest.SQLite(t).Open(t, auth.Migrations()), 4)
	d.mustRegister(t, "ada@example.com", "correct horse")
	const password, email = "Password should be a string", "Email should be a string"
	for in, want := range map[string]string{
		`{}`:                          password,
		`{"email":"ada@example.com"}`: password,
		`{"email":1}`:                 password,
		`{"email":"ada@example.com","password":null}`:              password,
		`{"email":"ada@example.com","password":""}`:                password,
		`{"email":"ada@example.com","password":12345678}`:          password,
		`{"email":"ada@example.com","password":["correct horse"]}`: password,
		`{"email":"ada@example.com","password":{"a":1}}`:           password,
		`{"email":1,"password":2}`:                                 password,
		`{"password":"correct horse"}`:                             email,
		`{"password":"correct horse","email":""}`:                  email,
		`{"password":"correct horse","email":null}`:                email,
		`{"password":"correct horse","email":true}`:                email,
		`{"password":"correct horse","email":["ada@example.com"]}`: email,
		`{"password":"q","email":7}`:                               email, // before the policy
	} {
		for name, call := range map[string]func(context.Context, string, auth.Input) (auth.Identity, error){
			"Authenticate": d.auth.Authenticate, "Register": d.auth.Register, "UpdateProvider": d.auth.UpdateProvider,
		} {
			_, err := call(t.Context(), emailpass.Name, auth.Input(in))
			check(t, name+" "+in, err, fault.Unauthorized, want)
		}
	}
}

func TestWhoIsRefusedCannotTellWhy(t *testing.T) {
	each(t, func(t *testing.T, d door) {
		d.mustRegister(t, "ada@example.com", "correct horse")
		for what, err := range map[string]error{
			"wrong password":          errOf(d.signIn(t.Context(), "ada@example.com", "correct horses")),
			"unknown address":         errOf(d.signIn(t.Context(), "eve@example.com", "correct horse")),
			"nonsense address":        errOf(d.signIn(t.Context(), "ada at example", "correct horse")),
			"an address too long":     errOf(d.signIn(t.Context(), strings.Repeat("a", 60_000)+"@example.com", "correct horse")),
			"a password too short":    errOf(d.signIn(t.Context(), "ada@example.com", "q")),
			"a password too long":     errOf(d.signIn(t.Context(), "ada@example.com", strings.Repeat("correct horse", 1000))),
			"a common password":       errOf(d.signIn(t.Context(), "ada@example.com", "password1")),
			"the address as password": errOf(d.signIn(t.Context(), "ada@example.com", "ada@example.com")),
		} {
			check(t, what, err, fault.Unauthorized, "Invalid email or password")
			if !errors.Is(err, auth.ErrInvalidCredentials) {
				t.Errorf("%s: %v is no ErrInvalidCredentials", what, err)
			}
		}
	})
}

func errOf(_ auth.Identity, err error) error { return err }

func TestRegisterTellsWhatIsWrongWithTheChoice(t *testing.T) {
	d := newDoor(t, databasetest.SQLite(t).Open(t, auth.Migrations()), 4)
	const address = "An e-mail address must look like name@example.com: ASCII letters, digits and common signs without spaces or quotes, " +
		"at most 254 characters, an international domain in its xn-- form."
	for _, c := range []struct{ email, password, want string }{
		{"ada@example.com", "q", "Password is too short: at least 8 characters"},
		{"ada@example.com", "1234567", "Password is too short: at least 8 characters"},
		{"ada@example.com", "日本語日本語", "Password is too short: at least 8 characters"}, // 18 bytes
		{"ada@example.com", strings.Repeat("correct ", 32) + "h", "Password is too long: at most 256 characters"},
		{"ada@example.com", "password1", "Password is too common"},
		{"ada@example.com", "PassWord1", "Password is too common"},
		{"ada@example.com", "ada@example.com", "Password must not be your e-mail address"},
		{"Ada@Example.com", "aDA@example.com", "Password must not be your e-mail address"},
		{"ada at example", "correct horse", address},
		{"ada@example", "correct horse", address},
		{" ada@example.com", "correct horse", address},
		{"ädä@example.com", "correct horse", address},
		{"nonsense", "q", address}, // first things first
	} {
		_, err := d.register(t.Context(), c.email, c.password)
		check(t, fmt.Sprintf("register %.20q with %.20q", c.email, c.password), err, fault.Invalid, c.want)
	}
	if all, err := d.auth.ListAuthIdentities(t.Context(), auth.IdentityFilter{}, auth.Page{}); err != nil || len(all) != 0 {
		t.Errorf("refusals left %d identities (%v), want none", len(all), err)
	}
}

func TestRegisteringAgainIsASignInOrTaken(t *testing.T) {
	each(t, func(t *testing.T, d door) {
		first := d.mustRegister(t, "ada@example.com", "correct horse")
		if !first.Proved.Created || first.Proved.EmailVerified || first.Proved.Email != "ada@example.com" {
			t.Errorf("registered: %+v, want a new identity with an unproved address", first.Proved)
		}
		again := d.mustRegister(t, "ADA@example.com", "correct horse")
		if again.ID != first.ID || again.Proved.Created {
			t.Errorf("registering again is identity %s, new %t; want %s, not new", again.ID, again.Proved.Created, first.ID)
		}
		_, err := d.register(t.Context(), "ada@example.com", "correct horses")
		check(t, "register with another password", err, fault.Unauthorized, "Identity with email already exists")
		if !errors.Is(err, auth.ErrIdentityExists) {
			t.Errorf("%v is no ErrIdentityExists", err)
		}
		if _, err := d.signIn(t.Context(), "ada@example.com", "correct horse"); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestTheCaseOfAnAddressDoesNotMatter(t *testing.T) {
	each(t, func(t *testing.T, d door) {
		first := d.mustRegister(t, "Ada.Lovelace@Example.COM", "correct horse")
		if first.EntityID() != "ada.lovelace@example.com" {
			t.Errorf("the entity is %q, want the canonical address", first.EntityID())
		}
		for _, spelling := range []string{"ada.lovelace@example.com", "ADA.LOVELACE@EXAMPLE.COM"} {
			if i, err := d.signIn(t.Context(), spelling, "correct horse"); err != nil || i.ID != first.ID {
				t.Errorf("sign-in as %s: identity %s, %v; want %s", spelling, i.ID, err, first.ID)
			}
		}
		if _, err := d.signIn(t.Context(), "ada.lovelace@example.com", "Correct horse"); err == nil {
			t.Error("the case of a password matters, and did not")
		}
	})
}

func TestEveryCharacterOfAPasswordCounts(t *testing.T) {
	d := newDoor(t, databasetest.SQLite(t).Open(t, auth.Migrations()), 4)
	long := strings.Repeat("correct horse ", 7) // 98 bytes, bcrypt alone would take 72
	full := strings.Repeat("漢", 256)
	for i, c := range []struct{ name, right, wrong string }{
		{"beyond 72 bytes", long + "a", long + "b"},
		{"cut at 72 bytes", long, long[:72]},
		{"256 characters that are not ASCII", full, full[:len(full)-3] + "字"},
		{"NFC and NFD", "caf\u00e9 lovelace", "cafe\u0301 lovelace"},
		{"a space at the end", "correct horse ", "correct horse"},
		{"a space at the beginning", " correct horse", "correct horse"},
		{"a tab", "correct\thorse", "correct horse"},
		{"ligatures", "ﬁne horses", "fine horses"},
		{"full width", "ｃｏｒｒｅｃｔ horse", "correct horse"},
	} {
		for j, pair := range [][2]string{{c.right, c.wrong}, {c.wrong, c.right}} {
			email := fmt.Sprintf("ada%d.%d@example.com", i, j)
			d.mustRegister(t, email, pair[0])
			if _, err := d.signIn(t.Context(), email, pair[0]); err != nil {
				t.Errorf("%s: the right password: %v", c.name, err)
			}
			_, err := d.signIn(t.Context(), email, pair[1])
			check(t, c.name, err, fault.Unauthorized, "Invalid email or password")
		}
	}
}

func TestUpdateReplacesThePasswordOfAnAddressThatHasOne(t *testing.T) {
	each(t, func(t *testing.T, d door) {
		first := d.mustRegister(t, "ada@example.com", "correct horse")
		changed, err := d.auth.UpdateProvider(t.Context(), emailpass.Name, credentials("ADA@example.com", "battery staple"))
		if err != nil || changed.ID != first.ID {
			t.Fatalf("update: identity %s, %v; want %s", changed.ID, err, first.ID)
		}
		if _, err := d.signIn(t.Context(), "ada@example.com", "battery staple"); err != nil {
			t.Errorf("the new password: %v", err)
		}
		_, err = d.signIn(t.Context(), "ada@example.com", "correct horse")
		check(t, "the old password", err, fault.Unauthorized, "Invalid email or password")
		_, err = d.auth.UpdateProvider(t.Context(), emailpass.Name, credentials("ada@example.com", "q"))
		check(t, "a weak one", err, fault.Invalid, "Password is too short: at least 8 characters")
		_, err = d.auth.UpdateProvider(t.Context(), emailpass.Name, credentials("eve@example.com", "battery staple"))
		check(t, "an unknown address", err, fault.Unauthorized, "Invalid email or password")
	})
}

func TestASignInHashesAnewWhenTheCostHasChanged(t *testing.T) {
	each(t, func(t *testing.T, d door) {
		d.mustRegister(t, "ada@example.com", "correct horse")
		if before := d.kept(t); !strings.Contains(before, "$2a$04$") {
			t.Fatalf("the hash is %q, want one of cost 4", before)
		}
		dearer := newDoor(t, d.db, 5)
		if _, err := dearer.signIn(t.Context(), "ada@example.com", "wrong horse"); err == nil {
			t.Fatal("the wrong password is let in")
		}
		if kept := d.kept(t); !strings.Contains(kept, "$2a$04$") {
			t.Errorf("after a wrong password the hash is %q, want it unchanged", kept)
		}
		if _, err := dearer.signIn(t.Context(), "ada@example.com", "correct horse"); err != nil {
			t.Fatal(err)
		}
		rehashed := d.kept(t)
		if !strings.Contains(rehashed, "$2a$05$") {
			t.Errorf("after a sign-in at cost 5 the hash is %q", rehashed)
		}
		if _, err := dearer.signIn(t.Context(), "ada@example.com", "correct horse"); err != nil {
			t.Errorf("after the rehash: %v", err)
		}
		if kept := d.kept(t); kept != rehashed {
			t.Errorf("a hash of the right cost was made anew: %q, then %q", rehashed, kept)
		}
	})
}

func TestASignInMovesToANewPepper(t *testing.T) {
	each(t, func(t *testing.T, d door) {
		d.mustRegister(t, "ada@example.com", "correct horse")
		before := d.kept(t)
		rotated := newDoor(t, d.db, 4, secret(2), secret(1))
		if _, err := rotated.signIn(t.Context(), "ada@example.com", "correct horse"); err != nil {
			t.Fatal(err)
		}
		if after := d.kept(t); strings.Split(after, "$")[2] == strings.Split(before, "$")[2] {
			t.Errorf("the hash still names the old pepper: %q", after)
		}
		alone := newDoor(t, d.db, 4, secret(2))
		if _, err := alone.signIn(t.Context(), "ada@example.com", "correct horse"); err != nil {
			t.Errorf("with the new pepper alone: %v", err)
		}
		// Whoever has lost a pepper must not be told that people have lost their passwords.
		lost := newDoor(t, d.db, 4, secret(3))
		if _, err := lost.signIn(t.Context(), "ada@example.com", "correct horse"); fault.KindOf(err) != fault.Internal || err == nil {
			t.Errorf("without the pepper: %v, want a failure of ours", err)
		}
	})
}

func TestSignInsAtOnceAllSucceedWhileTheHashIsMadeAnew(t *testing.T) {
	each(t, func(t *testing.T, d door) {
		first := d.mustRegister(t, "ada@example.com", "correct horse")
		dearer := newDoor(t, d.db, 5)
		var wg sync.WaitGroup
		for range 20 {
			wg.Go(func() {
				if i, err := dearer.signIn(t.Context(), "ada@example.com", "correct horse"); err != nil || i.ID != first.ID {
					t.Errorf("identity %s, %v; want %s", i.ID, err, first.ID)
				}
			})
		}
		wg.Wait()
		if kept := d.kept(t); !strings.Contains(kept, "$2a$05$") {
			t.Errorf("the hash is %q, want one of cost 5", kept)
		}
	})
}

// The work is what is compared; the bounds are wide because the machine may be busy. Without the decoy the medians
// differ a hundredfold.
func TestAnUnknownAddressIsAsMuchWorkAsAWrongPassword(t *testing.T) {
	d := newDoor(t, databasetest.SQLite(t).Open(t, auth.Migrations()), 7)
	d.mustRegister(t, "ada@example.com", "correct horse")
	const known = "ada@example.com"
	quickest := map[string]time.Duration{} // in turns, so that whatever else the machine does slows all of them
	for range 15 {
		for _, email := range []string{known, "eve@example.com", "no address at all"} {
			start := time.Now()
			_, err := d.signIn(t.Context(), email, "battery staple")
			took := time.Since(start)
			check(t, email, err, fault.Unauthorized, "Invalid email or password")
			if before, ok := quickest[email]; !ok || took < before {
				quickest[email] = took
			}
		}
	}
	for email, took := range quickest {
		if wrong := quickest[known]; took < wrong/4 || took > wrong*4 {
			t.Errorf("%s takes %v, a wrong password %v: want about the same", email, took, wrong)
		}
	}
}
