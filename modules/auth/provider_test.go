package auth_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

// renamed is a provider under any name.
type renamed struct {
	vouching
	name string
}

func (r renamed) Name() string { return r.name }

// half begins and cannot finish.
type half struct{}

func (half) Name() string { return "half" }

func (half) Begin(context.Context, auth.Attempt) (auth.Challenge, error) {
	return auth.Challenge{}, nil
}

func TestAProviderThatCannotWorkIsRefusedAtTheStart(t *testing.T) {
	db := databasetest.SQLite(t).Open(t, auth.Migrations())
	start := func(providers ...auth.Provider) error {
		_, err := auth.New(auth.Params{DB: db, Keys: ring(t, secret(1)), Providers: providers})
		return err
	}
	for _, name := range []string{"session", "sessions", "token", "verification", "mfa", "providers", "provider-identities", "user"} {
		if err := start(renamed{name: name}); err == nil || !strings.Contains(err.Error(), "shadow") {
			t.Errorf("the reserved name %q: %v", name, err)
		}
		if name != "user" && !auth.ReservedName(name) {
			t.Errorf("%q is not reserved", name)
		}
	}
	for _, name := range []string{"", "GitHub", "git hub", "git/hub", "-github", "4chan", "gît", "a\x00", "github\n", strings.Repeat("a", 65)} {
		if err := start(renamed{name: name}); err == nil || !strings.Contains(err.Error(), "lower-case letters") {
			t.Errorf("the name %q: %v", name, err)
		}
	}
	if err := start(renamed{name: "github"}, renamed{name: "google"}, renamed{name: "github"}); err == nil || !strings.Contains(err.Error(), `two providers are called "github"`) {
		t.Errorf("the same name twice: %v", err)
	}
	if err := start(half{}); err == nil || !strings.Contains(err.Error(), "it can prove nobody") {
		t.Errorf("no capability: %v", err)
	}
	if err := start(renamed{name: "a"}, renamed{name: "git-hub2"}, renamed{name: strings.Repeat("a", 64)}); err != nil {
		t.Errorf("good names: %v", err)
	}
	if err := start(); err != nil {
		t.Errorf("no provider at all, which the start of a server allows: %v", err)
	}
}

func TestWithoutDatabaseKeysOrAlgorithmThereIsNoService(t *testing.T) {
	db := databasetest.SQLite(t).Open(t, auth.Migrations())
	for name, p := range map[string]auth.Params{
		"database":  {Keys: ring(t, secret(1))},
		"keys":      {DB: db},
		"algorithm": {DB: db, Keys: ring(t, secret(1)), Options: auth.Options{Algorithm: "none"}},
	} {
		if s, err := auth.New(p); err == nil {
			t.Errorf("without %s: %v", name, s)
		}
	}
}

func TestProvidersAreListedByName(t *testing.T) {
	h := onSQLite(t, auth.Options{})
	want := []auth.ProviderInfo{
		{ID: "emailpass", DisplayName: "Email/Password Authentication", Flow: auth.FlowCredentials},
		{ID: "mail-link", DisplayName: "mail-link", Flow: auth.FlowRedirect},
		{ID: "oidc", DisplayName: "oidc", Flow: auth.FlowRedirect},
		{ID: "vouching", DisplayName: "vouching", Flow: auth.FlowCredentials},
	}
	if got := h.ListAuthProviders(); !slices.Equal(got, want) {
		t.Errorf("%+v, want %+v", got, want)
	}
}

// prying asks for the secret of whomever the input names, and lets in who names it.
type prying struct{ name string }

func (p prying) Name() string { return p.name }

func (p prying) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	var in struct {
		Entity, Secret, Set string
	}
	if err := a.Input.Decode(&in); err != nil {
		return auth.Assertion{}, err
	}
	kept, err := a.Secret(ctx, in.Entity)
	if err != nil {
		return auth.Assertion{}, err
	}
	if string(kept) != in.Secret {
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	for i := range kept {
		kept[i] = 'x' // what a provider does to its copy is its own affair
	}
	found := auth.Assertion{EntityID: in.Entity}
	if in.Set != "" {
		found.Secret = []byte(in.Set)
	}
	return found, nil
}

func TestAProviderSeesTheSecretsOfItsOwnEntitiesOnly(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		s, err := auth.New(auth.Params{
			DB: at.Open(t, auth.Migrations()), Keys: ring(t, secret(1)), Providers: []auth.Provider{prying{"one"}, prying{"two"}},
		})
		must(t, err)
		for _, step := range []struct {
			provider, secret, set string
			want                  error
		}{
			{"one", "", "first", nil},
			{"two", "first", "", auth.ErrInvalidCredentials},
			{"two", "", "second", nil},
			{"one", "first", "", nil},
			{"one", "first", "third", nil}, // compared and swapped, although the provider wrote on its copy
			{"one", "first", "", auth.ErrInvalidCredentials},
			{"one", "third", "", nil},
			{"two", "second", "", nil},
		} {
			_, err := s.Authenticate(t.Context(), step.provider, input("Entity", "ada", "Secret", step.secret, "Set", step.set))
			if !errors.Is(err, step.want) || (err != nil && step.want == nil) {
				t.Errorf("%+v: %v", step, err)
			}
		}
		// An entity id that cannot be a key has no secret, and asking for it is no failure.
		for _, entity := range []string{"a\x00b", strings.Repeat("x", 2000), ""} {
			if _, err := s.Authenticate(t.Context(), "one", input("Entity", entity, "Secret", "x")); err == nil || !errors.Is(err, auth.ErrInvalidCredentials) && !errors.Is(err, auth.ErrInput) {
				t.Errorf("the secret of entity %.10q: %v", entity, err)
			}
		}
	})
}

// A counter, or a hash made anew, must not go back because two were at it at once.
func TestOfTwoProofsThatReplaceOneSecretTheSecondIsOutdated(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		s, err := auth.New(auth.Params{DB: at.Open(t, auth.Migrations()), Keys: ring(t, secret(1)), Providers: []auth.Provider{prying{"one"}}})
		must(t, err)
		prove := func(kept, set string) auth.Proof {
			t.Helper()
			p, err := s.Prove(t.Context(), auth.SignIn, "one", input("Entity", "ada", "Secret", kept, "Set", set))
			must(t, err)
			return p
		}
		admit := func(what string, p auth.Proof, want error) {
			t.Helper()
			if _, err := s.Admit(t.Context(), p); !errors.Is(err, want) || err != nil && want == nil {
				t.Errorf("%s: %v, want %v", what, err, want)
			}
		}
		none, keeps, same := prove("", ""), prove("", "1"), prove("", "")
		admit("the first, which makes the identity and keeps nothing", none, nil)
		admit("one that would keep something for it", keeps, auth.ErrProofOutdated)
		admit("one that keeps nothing either", same, nil)
		admit("one that knows of the identity", prove("", "1"), nil)

		two, other, again := prove("1", "2"), prove("1", "3"), prove("1", "1")
		admit("from 1 to 2", two, nil)
		admit("from 1 to 3, after it", other, auth.ErrProofOutdated)
		admit("from 1 to 1, after it", again, auth.ErrProofOutdated)
		admit("with what is kept now", prove("2", ""), nil)
	})
}

func TestInputIsReadByExactNamesAndNeverRepeated(t *testing.T) {
	type body struct {
		Name  string `json:"name"`
		Count int    `json:"count"`
	}
	for in, want := range map[string]body{
		``:                           {},
		`{}`:                         {},
		`{"name":"ada","count":2}`:   {"ada", 2},
		`{"Name":"eve","COUNT":2}`:   {},
		`{"name":"ada","more":[{}]}`: {Name: "ada"},
	} {
		var got body
		if err := auth.Input(in).Decode(&got); err != nil || got != want {
			t.Errorf("%s is read as %+v (%v), want %+v", in, got, err, want)
		}
	}
	for _, in := range []string{
		`{"name":1}`, `{"count":"zwölf"}`, `{"count":1.5}`, `{"name":"ada","name":"eve"}`, `[]`, `null`, `"ada"`, `{"name":"ada"} x`, `{name:1}`, "{\"name\":\"\xff\"}",
	} {
		var got body
		err := auth.Input(in).Decode(&got)
		if !errors.Is(err, auth.ErrInput) || err.Error() != auth.ErrInput.Error() {
			t.Errorf("%s: %v, want exactly ErrInput", in, err)
		}
	}
}

// down is a provider of both kinds whose service does not answer.
type down struct {
	name string
	err  error
}

func (d down) Name() string { return d.name }

func (d down) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	if _, err := a.Secret(ctx, ""); err != nil {
		return auth.Assertion{}, err
	}
	return auth.Assertion{}, d.err
}

func (d down) Begin(context.Context, auth.Attempt) (auth.Challenge, error) {
	return auth.Challenge{}, d.err
}

func (d down) Finish(context.Context, auth.Attempt) (auth.Assertion, error) {
	return auth.Assertion{}, d.err
}

func TestWhyAProviderCannotBeUsedIsLoggedAndNotShown(t *testing.T) {
	db := databasetest.SQLite(t).Open(t, auth.Migrations())
	var log bytes.Buffer
	s, err := auth.New(auth.Params{DB: db, Keys: ring(t, secret(1)), Log: slog.New(slog.NewTextHandler(&log, nil)), Providers: []auth.Provider{
		down{"ldap", fmt.Errorf("%w: dial: %w", auth.ErrProviderUnavailable, errors.New("the wire is cut"))},
		down{"known", auth.ErrProviderUnavailable.After(time.Second)}, // which has logged it itself
		down{"bad", auth.ErrInvalidCredentials},
	}})
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]int{"ldap": 1, "known": 0, "bad": 0} {
		for step, do := range map[string]func() error{
			"one":   func() error { _, err := s.Prove(t.Context(), auth.SignIn, name, nil); return err },
			"begin": func() error { _, err := s.Begin(t.Context(), name, nil); return err },
		} {
			log.Reset()
			err := do()
			if f, ok := fault.Of(err); !ok || strings.Contains(f.Message, "wire") {
				t.Errorf("%s, %s: %v", name, step, err)
			}
			if got := strings.Count(log.String(), `provider=`+name+` error="dial: the wire is cut"`); got != want {
				t.Errorf("%s, %s: %d lines, want %d: %s", name, step, got, want, log.String())
			}
		}
	}
}
