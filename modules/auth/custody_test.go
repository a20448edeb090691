package auth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// keeper is a node with its custody, which follows its secrets and has a list of peppers or none.
type keeper struct {
	house
	custody *auth.Custody
}

func newKeeper(t testing.TB, db *database.DB, secrets, list *keyring.Ring) keeper {
	t.Helper()
	p, err := auth.NewPasswords(auth.PasswordParams{Keys: secrets, Peppers: list, Options: auth.PasswordOptions{Cost: 4, MaxWait: time.Minute}})
	must(t, err)
	s, err := auth.New(auth.Params{DB: db, Keys: secrets, Providers: []auth.Provider{emailpass.New(p, emailpass.Config{})}})
	must(t, err)
	c, err := auth.NewCustody(auth.CustodyParams{DB: db, Keys: secrets, Peppers: list, Passwords: p})
	must(t, err)
	return keeper{house{Service: s, db: db}, c}
}

// opens starts a node that must be let in.
func opens(t testing.TB, db *database.DB, secrets, list *keyring.Ring) keeper {
	t.Helper()
	k := newKeeper(t, db, secrets, list)
	if err := k.custody.Open(t.Context(), false); err != nil {
		t.Fatalf("a start that lacks nothing: %v", err)
	}
	return k
}

func eachDB(t *testing.T, f func(t *testing.T, db *database.DB)) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) { f(t, at.Open(t, auth.Migrations())) })
}

func nameOf(t testing.TB, n byte, p keyring.Purpose) string {
	t.Helper()
	return ring(t, secret(n)).Keys(p)[0].ID
}

func TestAStartWithSecretsThatTheDatabaseDoesNotKnowIsRefused(t *testing.T) {
	eachDB(t, func(t *testing.T, db *database.DB) {
		opens(t, db, ring(t, secret(1)), nil)
		stranger := newKeeper(t, db, ring(t, secret(2)), nil)
		var lost *auth.KeysError
		if err := stranger.custody.Open(t.Context(), false); !errors.As(err, &lost) {
			t.Fatalf("another secret: %v, want a KeysError", err)
		}
		mine, theirs := nameOf(t, 1, keyring.Fingerprint), nameOf(t, 2, keyring.Fingerprint)
		if !slices.Equal(lost.Served, []string{mine}) || !slices.Equal(lost.Held, []string{theirs}) || !strings.Contains(lost.Error(), mine) || !strings.Contains(lost.Error(), theirs) {
			t.Errorf("it says %v of %v: %v", lost.Served, lost.Held, lost)
		}
		if n := stranger.count(t, "secret_fingerprint"); n != 2 { // of the secret and of its pepper
			t.Errorf("after a refused start there are %d fingerprints", n)
		}
		opens(t, db, ring(t, secret(1), secret(2)), nil) // with both: it is known from now on
		opens(t, db, ring(t, secret(2)), nil)
		opens(t, db, ring(t, secret(1)), nil)

		forced := newKeeper(t, db, ring(t, secret(3)), nil)
		must(t, forced.custody.Open(t.Context(), true))
		opens(t, db, ring(t, secret(3)), nil) // once is enough
	})
}

func TestOfSeveralFirstStartsWithDifferentSecretsOneMakesTheDatabase(t *testing.T) {
	eachDB(t, func(t *testing.T, db *database.DB) {
		const n = 8
		in := 0
		for i, err := range databasetest.Together(n, func(i int) error {
			return newKeeper(t, db, ring(t, secret(byte(i+1))), nil).custody.Open(t.Context(), false)
		}) {
			var lost *auth.KeysError
			switch {
			case err == nil:
				in++
			case !errors.As(err, &lost):
				t.Errorf("start %d: %v", i, err)
			}
		}
		if in != 1 {
			t.Errorf("%d of %d starts with different secrets were let in, want one", in, n)
		}
	})
}

func TestAPasswordOutlivesTheSecretThatItsPepperDerivesFrom(t *testing.T) {
	eachDB(t, func(t *testing.T, db *database.DB) {
		first := opens(t, db, ring(t, secret(1)), nil)
		first.register(t, "ada@example.com", "correct horse")
		opens(t, db, ring(t, secret(1), secret(2)), nil)
		both := opens(t, db, ring(t, secret(2), secret(1)), nil)
		both.register(t, "eve@example.com", "correct horse")
		alone := opens(t, db, ring(t, secret(2)), nil)
		for _, who := range []string{"ada@example.com", "eve@example.com"} {
			if _, err := alone.signIn(t.Context(), who, "correct horse"); err != nil {
				t.Errorf("%s, after the secret of the first start was dropped: %v", who, err)
			}
		}
		hashes := secrets(t, db)
		for who, hash := range hashes {
			if !strings.HasPrefix(hash, "$hb1$"+nameOf(t, 1, keyring.Pepper)+"$") {
				t.Errorf("%s has %s: the pepper has moved with the secrets", who, hash[:14])
			}
		}
		pepper := ring(t, secret(1)).Keys(keyring.Pepper)[0].Bytes
		var sealed [][]byte
		must(t, db.Conn(t.Context()).NewSelect().TableExpr("latchkey_pepper_seal").Column("sealed").Scan(t.Context(), &sealed))
		if len(sealed) != 2 {
			t.Errorf("the pepper is sealed %d times, want once under each secret", len(sealed))
		}
		for _, s := range sealed {
			if bytes.Contains(s, pepper) || bytes.Contains(s, pepper[:8]) {
				t.Error("the database holds the pepper")
			}
		}
	})
}

// secrets are the stored hashes by entity id.
func secrets(t testing.TB, db *database.DB) map[string]string {
	t.Helper()
	var rows []struct {
		EntityID string
		Secret   []byte
	}
	must(t, db.Conn(t.Context()).NewSelect().TableExpr("latchkey_provider_identity").Column("entity_id", "secret").Scan(t.Context(), &rows))
	all := map[string]string{}
	for _, r := range rows {
		all[r.EntityID] = string(r.Secret)
	}
	return all
}

func TestAStartThatLacksAPepperSaysHowManyPeopleItWouldLockOut(t *testing.T) {
	eachDB(t, func(t *testing.T, db *database.DB) {
		keys := ring(t, secret(1))
		with := opens(t, db, keys, ring(t, secret(11)))
		for i := range 3 {
			with.register(t, fmt.Sprintf("ada%d@example.com", i), "correct horse")
		}
		without := newKeeper(t, db, keys, nil)
		var lost *auth.KeysError
		want := map[string]int{nameOf(t, 11, keyring.Pepper): 3}
		for _, list := range []*keyring.Ring{nil, ring(t, secret(12))} {
			if err := newKeeper(t, db, keys, list).custody.Open(t.Context(), false); !errors.As(err, &lost) || !maps.Equal(lost.Peppers, want) || !strings.Contains(lost.Error(), ": 3") {
				t.Errorf("without the pepper of three: %v, want %v", err, want)
			}
		}
		if _, err := without.signIn(t.Context(), "ada0@example.com", "correct horse"); err == nil || errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("a hash whose pepper is missing: %v, want a failure of ours", err)
		}

		must(t, without.custody.Open(t.Context(), true))
		if _, err := without.signIn(t.Context(), "ada0@example.com", "correct horse"); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("a hash whose pepper was given up: %v, want wrong credentials", err)
		}
		without.reset(t, "ada0@example.com", "battery staple")
		if _, err := without.signIn(t.Context(), "ada0@example.com", "battery staple"); err != nil {
			t.Errorf("with a new password: %v", err)
		}
		opens(t, db, keys, nil) // once is enough

		again := opens(t, db, keys, ring(t, secret(11))) // it was found
		if _, err := again.signIn(t.Context(), "ada1@example.com", "correct horse"); err != nil {
			t.Errorf("with the pepper that was found again: %v", err)
		}
		if err := newKeeper(t, db, keys, nil).custody.Open(t.Context(), false); !errors.As(err, &lost) {
			t.Errorf("without it once more: %v, want a KeysError", err)
		}
	})
}

func TestAListOfPeppersTakesOverAsPeopleSignIn(t *testing.T) {
	eachDB(t, func(t *testing.T, db *database.DB) {
		keys := ring(t, secret(1))
		opens(t, db, keys, nil).register(t, "ada@example.com", "correct horse")
		listed := opens(t, db, keys, ring(t, secret(11), secret(12)))
		if _, err := listed.signIn(t.Context(), "ada@example.com", "correct horse"); err != nil {
			t.Fatal(err)
		}
		if hash := secrets(t, db)["ada@example.com"]; !strings.HasPrefix(hash, "$hb1$"+nameOf(t, 11, keyring.Pepper)+"$") {
			t.Errorf("after a sign-in the hash names %s", hash[:14])
		}
		opens(t, db, keys, ring(t, secret(11))) // nobody hangs on the second
	})
}

func TestHashesOfBeforeThereWereFingerprintsAreLookedThrough(t *testing.T) {
	eachDB(t, func(t *testing.T, db *database.DB) {
		old := newKeeper(t, db, ring(t, secret(1), secret(2)), nil) // was never opened
		old.register(t, "ada@example.com", "correct horse")
		var lost *auth.KeysError
		if err := newKeeper(t, db, ring(t, secret(2)), nil).custody.Open(t.Context(), false); !errors.As(err, &lost) || lost.Peppers[nameOf(t, 1, keyring.Pepper)] != 1 {
			t.Errorf("without the secret of a hash: %v", err)
		}
		opens(t, db, ring(t, secret(2), secret(1)), nil) // which keeps its pepper, though the other's makes hashes
		now := opens(t, db, ring(t, secret(2)), nil)
		if _, err := now.signIn(t.Context(), "ada@example.com", "correct horse"); err != nil {
			t.Errorf("after the secret was dropped: %v", err)
		}
	})
}

// source is a list of secrets that a test changes.
type source struct {
	mu      sync.Mutex
	secrets [][]byte
	changed bool
}

func (s *source) Secrets() ([][]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.changed = false
	return s.secrets, nil
}

func (s *source) Changed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changed
}

func (s *source) write(secrets ...[]byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secrets, s.changed = secrets, true
}

func TestACustodyThatRunsTakesNoteOfNewSecretsAndOfItself(t *testing.T) {
	eachDB(t, func(t *testing.T, db *database.DB) {
		s := &source{secrets: [][]byte{secret(1)}}
		follows, err := keyring.Open(s, nil)
		must(t, err)
		node := opens(t, db, follows, nil)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { defer close(ended); node.custody.Run(ctx) }()
		one, two := nameOf(t, 1, keyring.Fingerprint), nameOf(t, 2, keyring.Fingerprint)
		up := func(want ...string) {
			t.Helper()
			var got auth.KeyStatus
			for range 100 {
				var err error
				got, err = newKeeper(t, db, ring(t, secret(1), secret(2)), nil).custody.Status(t.Context())
				must(t, err)
				if len(want) == 0 && len(got.Servers) == 0 || len(got.Servers) == 1 && slices.Equal(got.Servers[0].Secrets, want) {
					return
				}
				time.Sleep(50 * time.Millisecond)
			}
			t.Fatalf("the servers are %v, want one with %v", got.Servers, want)
		}
		up(one)
		s.write(secret(1), secret(2))
		up(one, two)
		s.write(secret(2), secret(1))
		up(two, one)
		s.write(secret(2))
		up(two)
		stop()
		<-ended
		up()
		opens(t, db, ring(t, secret(2)), nil)
		status, err := newKeeper(t, db, ring(t, secret(2)), nil).custody.Status(t.Context())
		must(t, err)
		if len(status.Secrets) != 2 || status.Secrets[0].Name != two || !status.Secrets[0].Held || status.Secrets[0].SignedAt.IsZero() ||
			status.Secrets[1].Name != one || status.Secrets[1].Held || status.Secrets[1].SignedAt.IsZero() {
			t.Errorf("the secrets are %+v", status.Secrets)
		}
		if len(status.Peppers) != 1 || status.Peppers[0].Source != "kept in the database" || !status.Peppers[0].Makes {
			t.Errorf("the peppers are %+v", status.Peppers)
		}
	})
}

// Two nodes, of which one has another list by now: what either makes passes at both.
func TestTokensPassAtANodeThatHasNotReadItsSecretsAgainYet(t *testing.T) {
	for _, alg := range []string{auth.AlgEdDSA, auth.AlgHS256} {
		db := databasetest.SQLite(t).Open(t, auth.Migrations())
		s := &source{secrets: [][]byte{secret(1)}}
		follows, err := keyring.Open(s, nil)
		must(t, err)
		node := func(keys *keyring.Ring) house {
			service, err := auth.New(auth.Params{DB: db, Keys: keys, Options: auth.Options{Algorithm: alg},
				Providers: []auth.Provider{emailpass.New(passwords(t), emailpass.Config{})}})
			must(t, err)
			return house{Service: service, db: db}
		}
		here, there := node(follows), node(ring(t, secret(2), secret(1)))
		ada := here.register(t, "ada@example.com", "correct horse")
		_, old, _ := here.open(t, ada, "user")
		s.write(secret(1), secret(2))
		_, token, _ := there.open(t, ada, "user")
		here.opens(t, "a token of the new secret", token, "", nil, nil)
		there.opens(t, "a token of the old secret", old, "", nil, nil)
		if n := len(here.PublicKeys()); alg == auth.AlgEdDSA && n != 2 {
			t.Errorf("%d keys are published, want both", n)
		}
		asked, err := there.RequestPasswordReset(t.Context(), auth.ResetRequest{Provider: emailpass.Name, EntityID: "ada@example.com", ActorType: "user"})
		must(t, err)
		made, err := there.CreatePasswordResetToken(t.Context(), asked, auth.ByMail)
		must(t, err)
		if again, err := here.CreatePasswordResetToken(t.Context(), asked, auth.ByMail); err != nil || again.ExpiresAt != made.ExpiresAt {
			t.Errorf("a mail that the other node sends once more: %v", err)
		}
		if _, err := here.CheckPasswordResetToken(t.Context(), "user", emailpass.Name, made.Token); err != nil {
			t.Errorf("a reset token of the new secret: %v", err)
		}
	}
}
