package auth_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
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

// house is an auth service on a database, with a provider of each kind.
type house struct {
	*auth.Service
	db     *database.DB
	events *recorder
}

func newHouse(t testing.TB, db *database.DB, options auth.Options, secrets ...[]byte) house {
	t.Helper()
	events := &recorder{}
	return house{newService(t, db, options, events, secrets...), db, events}
}

func newService(t testing.TB, db *database.DB, options auth.Options, events event.Emitter, secrets ...[]byte) *auth.Service {
	t.Helper()
	return newServiceWith(t, db, options, events, nil, secrets...)
}

// newServiceWith is newService with further providers.
func newServiceWith(t testing.TB, db *database.DB, options auth.Options, events event.Emitter, further []auth.Provider, secrets ...[]byte) *auth.Service {
	t.Helper()
	if len(secrets) == 0 {
		secrets = [][]byte{secret(1)}
	}
	if options.Throttle.MaxWait == 0 {
		options.Throttle.MaxWait = time.Minute
	}
	s, err := auth.New(auth.Params{
		DB: db, Keys: ring(t, secrets...), Options: options, Events: events,
		Providers: append(further, emailpass.New(passwords(t), emailpass.Config{}), vouching{}, twoSteps{"oidc"}, twoSteps{"mail-link"}),
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func passwords(t testing.TB) *auth.Passwords {
	t.Helper()
	p, err := auth.NewPasswords(auth.PasswordParams{Keys: ring(t, secret(1)), Options: auth.PasswordOptions{Cost: 4, MaxWait: time.Minute}}) // -race makes bcrypt slow
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func each(t *testing.T, f func(t *testing.T, h house)) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		f(t, newHouse(t, at.Open(t, auth.Migrations()), auth.Options{}))
	})
}

// onSQLite is for what no database decides.
func onSQLite(t testing.TB, options auth.Options, secrets ...[]byte) house {
	t.Helper()
	return newHouse(t, databasetest.SQLite(t).Open(t, auth.Migrations()), options, secrets...)
}

// vouching takes everybody's word for their name, and says of their address what the input says. A name of "" is nobody.
type vouching struct{}

func (vouching) Name() string { return "vouching" }

func (vouching) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	var in struct {
		Name     string         `json:"name"`
		Email    string         `json:"email"`
		Verified bool           `json:"verified"`
		Metadata map[string]any `json:"metadata"`
		Broken   string         `json:"broken"`
	}
	if err := a.Input.Decode(&in); err != nil {
		return auth.Assertion{}, err
	}
	if in.Broken != "" {
		return auth.Assertion{}, errors.New(in.Broken)
	}
	if _, err := a.Secret(ctx, in.Name); err != nil {
		return auth.Assertion{}, err
	}
	return auth.Assertion{
		EntityID: in.Name, Profile: auth.Profile{Email: in.Email, EmailVerified: in.Verified, Metadata: in.Metadata},
	}, nil
}

// twoSteps sends people away and lets in who comes back with the code "good". It answers with what it was given.
type twoSteps struct{ name string }

func (p twoSteps) Name() string { return p.name }

func (p twoSteps) Begin(_ context.Context, a auth.Attempt) (auth.Challenge, error) {
	var in struct {
		State *string `json:"keep"`
	}
	if err := a.Input.Decode(&in); err != nil {
		return auth.Challenge{}, err
	}
	c := auth.Challenge{RedirectURL: "https://id.example.com/?state=" + a.FlowID}
	if in.State != nil {
		c.State = []byte(*in.State)
	}
	return c, nil
}

func (p twoSteps) Finish(_ context.Context, a auth.Attempt) (auth.Assertion, error) {
	var in struct {
		Code string `json:"code"`
	}
	if err := a.Input.Decode(&in); err != nil {
		return auth.Assertion{}, err
	}
	if in.Code != "good" {
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	return auth.Assertion{EntityID: "ada", Profile: auth.Profile{Metadata: map[string]any{"state": string(a.State)}}}, nil
}

func input(pairs ...any) auth.Input {
	object := map[string]any{}
	for i := 0; i < len(pairs); i += 2 {
		object[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	in, err := json.Marshal(object)
	if err != nil {
		panic(err)
	}
	return in
}

func credentials(email, password string) auth.Input {
	return input("email", email, "password", password)
}

func (h house) register(t testing.TB, email, password string) auth.Identity {
	t.Helper()
	i, err := h.Register(t.Context(), emailpass.Name, credentials(email, password))
	if err != nil {
		t.Fatalf("register %s: %v", email, err)
	}
	return i
}

func (h house) signIn(ctx context.Context, email, password string) (auth.Identity, error) {
	return h.Authenticate(ctx, emailpass.Name, credentials(email, password))
}

func (h house) prove(t testing.TB, action auth.Action, email, password string) auth.Proof {
	t.Helper()
	p, err := h.Prove(t.Context(), action, emailpass.Name, credentials(email, password))
	if err != nil {
		t.Fatalf("prove %s: %v", email, err)
	}
	return p
}

// reset sets a new password, as a password reset does.
func (h house) reset(t testing.TB, email, password string) {
	t.Helper()
	if _, err := h.UpdateProvider(t.Context(), emailpass.Name, credentials(email, password)); err != nil {
		t.Fatalf("reset %s: %v", email, err)
	}
}

// count returns how many rows a table has.
func (h house) count(t testing.TB, table string) int {
	t.Helper()
	n, err := h.db.Conn(t.Context()).NewSelect().TableExpr("latchkey_" + table).Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

// recorder keeps what was emitted, and fails if it is told to.
type recorder struct {
	mu   sync.Mutex
	seen []event.Event
	err  error
}

func (r *recorder) Emit(_ context.Context, events ...event.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = append(r.seen, events...)
	return r.err
}
