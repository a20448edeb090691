package app_test

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// TestMedusasOwnClientWorksUnchanged runs testdata/sdk/suite.mjs, which drives the program through @medusajs/js-sdk. It is
// pinned, with all it needs, by testdata/sdk/package-lock.json, and installed by npm for the test alone. Without Node or npm
// the test is skipped, which the terminal says; LATCHKEY_TEST_REQUIRE_PROGRAMS=1 has it fail.
func TestMedusasOwnClientWorksUnchanged(t *testing.T) {
	suite := sdkSuite(t)
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		dir := t.TempDir()
		mails := filepath.Join(dir, "mail.jsonl")
		env := environment(dir, at, "LATCHKEY_MAIL_DRIVER=file", "LATCHKEY_MAIL_PATH="+mails)
		if _, errs, code := run(t, env, "user", "-e", "admin@example.com", "-p", "a long passphrase"); code != 0 {
			t.Fatalf("make the admin: %s", errs)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Minute)
		defer cancel()
		s := start(t, env)
		if err := s.up(ctx); err != nil {
			t.Fatal(err)
		}
		strict := start(t, append(env, "LATCHKEY_LINK_ACTORS_USER_REQUIRE_VERIFIED_EMAIL=true", "LATCHKEY_AUTH_ENUMERATION_SAFE=true"))
		if err := strict.up(ctx); err != nil {
			t.Fatal(err)
		}
		node := exec.CommandContext(ctx, "node", suite)
		node.Env = []string{"PATH=" + os.Getenv("PATH"), "BASE=" + s.url, "STRICT=" + strict.url, "ADMIN_EMAIL=admin@example.com", "ADMIN_PASSWORD=a long passphrase", "MAIL=" + mails}
		out, err := node.CombinedOutput()
		if err != nil || strings.Count(string(out), "\nok - ") < 30 {
			t.Errorf("%v\n%s", err, out)
		}
	})
}

// sdkSuite returns the suite, with what it needs beside it.
func sdkSuite(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("testdata/sdk")
	if err != nil {
		t.Fatal(err)
	}
	need(t, "node", "npm")
	lock, err := os.ReadFile(filepath.Join(dir, "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	installed := filepath.Join(dir, "node_modules", ".latchkey-lock") // what of: a newer lock installs anew
	if have, err := os.ReadFile(installed); err != nil || string(have) != string(lock) {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		npm := exec.CommandContext(ctx, "npm", "ci")
		npm.Dir = dir
		if out, err := npm.CombinedOutput(); err != nil {
			databasetest.SkipLoudly(t, requirePrograms, "@medusajs/js-sdk", "npm could not install it: "+err.Error()+"\n"+string(out))
		}
		if err := os.WriteFile(installed, lock, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(dir, "suite.mjs")
}
