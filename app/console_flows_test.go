package app_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// What people do in the console, in a real browser, with a script and without, on a server as it is started.
func TestPeopleUseTheConsole(t *testing.T) {
	for _, script := range []bool{true, false} {
		name := "with script"
		if !script {
			name = "without script"
		}
		t.Run(name, func(t *testing.T) {
			databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
				s := theSite(t, at, script)
				s.firstAdministrator(t)
			})
		})
	}
}

const consolePassword = "a long enough battery"

// site is a server and those who use it.
type consoleSite struct {
	*running
	script bool
	seen   sync.Map

	ada *someone // the first administrator, once there is one
}

func theSite(t *testing.T, at databasetest.Database, script bool) *consoleSite {
	t.Helper()
	server := start(t, environment(t.TempDir(), at))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := server.up(ctx); err != nil {
		t.Fatal(err)
	}
	return &consoleSite{running: server, script: script}
}

// visitor is somebody who comes for the first time.
func (s *consoleSite) visitor(t *testing.T) *someone { return visitor(t, s.url, s.script, &s.seen) }

// firstAdministrator sets the server up by the link that it prints.
func (s *consoleSite) firstAdministrator(t *testing.T) {
	_, link, found := strings.Cut(s.stdout.String(), s.url+"/app/invite?token=")
	if !found {
		t.Fatalf("the server prints no link:\n%s", s.stdout)
	}
	token, _, _ := strings.Cut(link, "\n")
	s.ada = s.visitor(t)
	s.ada.open("/app").at("/app/login").photographed("sign-in")
	s.ada.open("/app/invite?token="+token).photographed("set-up").
		fill("email", "ada@nowhere", "first_name", "Ada", "last_name", "Lovelace", "password", "short").press("Become administrator").
		faulty("email").
		fill("email", "ada@example.com", "password", "short").press("Become administrator").
		faulty("password").
		fill("password", consolePassword).press("Become administrator").
		says("Ada Lovelace", "ada@example.com")
	s.ada.press("Sign out").at("/app/login").
		fill("email", "ada@example.com", "password", "something else").press("Sign in").
		faulty("password").
		fill("password", consolePassword).press("Sign in").says("Ada Lovelace").photographed("home")
}
