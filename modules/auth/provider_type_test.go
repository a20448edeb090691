package auth_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// door is a provider of which there can be several: it lets in who knows its word.
type door struct {
	id     string
	Word   string `config:"word"`
	Shown  string `config:"shown"`
	Broken bool   `config:"broken"`
}

func (d door) Name() string        { return d.id }
func (d door) DisplayName() string { return d.Shown }
func (d door) Icon() string        { return "/" + d.id + ".svg" }
func (d door) Available() bool     { return !d.Broken }

func (d door) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	var in struct{ Name, Word string }
	if err := a.Input.Decode(&in); err != nil {
		return auth.Assertion{}, err
	}
	if _, err := a.Secret(ctx, in.Name); err != nil {
		return auth.Assertion{}, err
	}
	if in.Word != d.Word || in.Name == "" {
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	return auth.Assertion{EntityID: in.Name}, nil
}

func doors() auth.ProviderType {
	return auth.ProviderType{Name: "door", New: func(id string, s auth.Settings) (auth.Provider, error) {
		d := door{id: id}
		err := s.Decode(id, &d)
		if err == nil && d.Word == "" {
			err = &auth.SettingsError{Keys: []string{"auth.providers." + id + ".word"}, What: "must be set"}
		}
		return d, err
	}}
}

// Sections of the settings make any number of providers of a type.
func ExampleNewProviders() {
	providers, err := auth.NewProviders(auth.Settings{
		"front":  {"type": "door", "word": "friend"},
		"garden": {"type": "door", "word": "thyme"},
	}, doors())
	if err != nil {
		fmt.Println(err)
		return
	}
	for _, p := range providers {
		fmt.Println(p.Name())
	}
	// Output:
	// front
	// garden
}

func TestATypeMakesAProviderOfEachSection(t *testing.T) {
	var s *auth.Service
	app := fx.New(fx.NopLogger, auth.Module, fx.Populate(&s), fx.Provide(auth.AsProviderType(doors)),
		fx.Supply(databasetest.SQLite(t).Open(t, auth.Migrations()), auth.Settings{
			"front": {"type": "door", "word": "friend", "shown": "Front"}, "door": {"word": "mellon", "broken": true},
		}),
		fx.Provide(func() (*keyring.Ring, error) { return keyring.New(make([]byte, keyring.MinSecret)) }))
	if err := app.Err(); err != nil {
		t.Fatal(err)
	}
	want := []auth.ProviderInfo{
		{ID: "door", Icon: "/door.svg", Flow: auth.FlowCredentials, Unavailable: true},
		{ID: "front", DisplayName: "Front", Icon: "/front.svg", Flow: auth.FlowCredentials},
	}
	if got := s.ListAuthProviders(); len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("providers %+v, want %+v", got, want)
	}
	for provider, word := range map[string]string{"door": "friend", "front": "mellon"} {
		if _, err := s.Authenticate(t.Context(), provider, input("Name", "ada", "Word", word)); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("%s by the word of the other: %v", provider, err)
		}
	}
	a, err := s.Authenticate(t.Context(), "door", input("Name", "ada", "Word", "mellon"))
	b, err2 := s.Authenticate(t.Context(), "front", input("Name", "ada", "Word", "friend"))
	if err != nil || err2 != nil || a.ID == b.ID {
		t.Errorf("ada at both: %s, %v and %s, %v; want two", a.ID, err, b.ID, err2)
	}
}

func TestWhatIsWrongWithSectionsIsSaidAtOnce(t *testing.T) {
	keys, err := keyring.New(make([]byte, keyring.MinSecret))
	if err != nil {
		t.Fatal(err)
	}
	settings := auth.Settings{"a": {"type": "door", "word": []any{1, 2}, "broken": "hunter2", "wrod": "x"}, "b": {"type": "door"}, "vouching": {"type": "its own"}}
	_, err = auth.NewProviders(settings, doors())
	for _, want := range []string{"auth.providers.a.broken, auth.providers.a.word: the value has the wrong type", "auth.providers.a.wrod: the provider knows no such", "auth.providers.b.word: must be set"} {
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%v, want %q", err, want)
		}
	}
	db := databasetest.SQLite(t).Open(t, auth.Migrations())
	made := func(s auth.Settings) error {
		app := fx.New(fx.NopLogger, auth.Module, fx.Provide(auth.AsProviderType(doors)), fx.Supply(db, keys, s), fx.Invoke(func(*auth.Service) {}))
		return app.Err()
	}
	if got := made(auth.Settings{"a": settings["a"], "b": settings["b"]}); got == nil || len(auth.SettingsErrors(got)) != 3 {
		t.Errorf("the service: %v, want the three", got)
	}
	if got := made(auth.Settings{"c": {"type": "dor", "word": "x"}}); got == nil || !strings.Contains(got.Error(), "auth.providers.c.type: there is no such type of provider") {
		t.Errorf("an unknown type: %v", got)
	}
}
