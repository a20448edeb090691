package link_test

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/user"
)

func TestTheLogWarnsWhenNobodyCanSignIn(t *testing.T) {
	db := databasetest.SQLite(t).Open(t, user.Migrations(), auth.Migrations(), link.Migrations())
	keys, err := keyring.New(bytes.Repeat([]byte("k"), 32))
	if err != nil {
		t.Fatal(err)
	}
	passwords, err := auth.NewPasswords(auth.PasswordParams{Keys: keys, Options: auth.PasswordOptions{Cost: 4}})
	if err != nil {
		t.Fatal(err)
	}
	one := []auth.Provider{emailpass.New(passwords, emailpass.Config{})}
	const none, noneOfThem = "there is no provider, so nobody can sign in", "an actor type may use no provider"
	for name, c := range map[string]struct {
		providers, may []string
		warns          []string
	}{
		"no provider at all":      {nil, nil, []string{none}},
		"one, and everybody may":  {[]string{"emailpass"}, nil, nil},
		"one, and users may":      {[]string{"emailpass"}, []string{"emailpass"}, nil},
		"one, and users may none": {[]string{"emailpass"}, []string{}, []string{noneOfThem}},
	} {
		var text bytes.Buffer
		log := slog.New(slog.NewTextHandler(&text, nil))
		users, err := user.New(user.Params{DB: db, Keys: keys, Log: log})
		if err != nil {
			t.Fatal(err)
		}
		identities, err := auth.New(auth.Params{DB: db, Keys: keys, Providers: one[:len(c.providers)], Log: log})
		if err != nil {
			t.Fatal(err)
		}
		_, err = link.New(link.Params{DB: db, Users: users, Auth: identities, Log: log, Options: link.Options{
			Actors: map[string]link.ActorOptions{link.ActorUser: {Providers: c.may}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Count(text.String(), "level=WARN") != len(c.warns) {
			t.Errorf("%s: the log says\n%s", name, &text)
		}
		for _, warns := range c.warns {
			if !strings.Contains(text.String(), warns) {
				t.Errorf("%s: the log does not say %q:\n%s", name, warns, &text)
			}
		}
	}
}
