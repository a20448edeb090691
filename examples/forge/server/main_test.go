package main

import (
	"bytes"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// main is run in a process of its own, which this test program is then.
func TestMain(m *testing.M) {
	if os.Getenv("FORGE_SERVER") != "" {
		os.Args = append(os.Args[:1], "config")
		main()
	}
	os.Exit(m.Run())
}

// TestWhatIsMissingIsSaidAllAtOnce starts the server with a part of the settings.
func TestWhatIsMissingIsSaidAllAtOnce(t *testing.T) {
	server := exec.CommandContext(t.Context(), os.Args[0])
	server.Dir = t.TempDir()
	server.Env = []string{"FORGE_SERVER=1", "LATCHKEY_AUTH_PROVIDERS_FORGE_CLIENT_ID=latchkey", "LATCHKEY_LINK_ACTORS_USER_PROVIDERS=emailpass,forge",
		"LATCHKEY_AUTH_PROVIDERS_FORGE_VOUCHES=true"}
	var said bytes.Buffer
	server.Stderr = &said
	err := server.Run()
	lines := strings.Split(strings.TrimSpace(said.String()), "\n")
	want := []string{
		"The configuration is not usable:", "LATCHKEY_AUTH_PROVIDERS_FORGE_VOUCHES: the provider knows no such setting",
		"auth.providers.forge.url: must be set", "auth.providers.forge.client_secret: must be set",
	}
	if server.ProcessState.ExitCode() != 2 || strings.Join(lines, "\n") != strings.Join(want, "\n") {
		t.Errorf("%v: %s\nwant %s", err, said.String(), strings.Join(want, "\n"))
	}
}
