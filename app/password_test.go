package app_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// What the configuration asks of a password holds on every pathway of the program, and its pages say so.
func TestTheConfiguredPasswordPolicyHoldsForTheWholeProgram(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		env := environment(t.TempDir(), at, "LATCHKEY_AUTH_PASSWORD_MIN_LENGTH=12", "LATCHKEY_AUTH_PASSWORD_MIN_STRENGTH=3",
			"LATCHKEY_AUTH_PASSWORD_CONTEXT_WORDS=Road Runner", "LATCHKEY_MAIL_FROM=Acme Keys <keys@example.com>")
		r := start(t, env)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.up(ctx); err != nil {
			t.Fatal(err)
		}
		const made = "made of your name, your e-mail address or the name of this service"
		for password, want := range map[string]string{
			"eleven char":     "at least 12 characters",
			"baseball2004!":   "too easy to guess",
			"acme keys 2026":  made, // from mail.from
			"roadrunner-2026": made,
			"latchkey-2026":   made,
			"international":   "too common",
		} {
			status, body, err := post(r.url+"/auth/user/emailpass/register", `{"email":"ada@example.com","password":"`+password+`"}`)
			if err != nil || status != 400 || !strings.Contains(body, want) {
				t.Errorf("register with %q: %d %s %v, want %q", password, status, body, err, want)
			}
			if out, errs, code := run(t, env, "user", "-e", "ada@example.com", "-p", password); code != 1 || out != "" || !strings.Contains(errs, want) {
				t.Errorf("server user with %q: exit %d\n%s%s", password, code, out, errs)
			}
		}
		_, token, _ := strings.Cut(r.stdout.String(), "/app/invite?token=")
		rsp, err := http.Get(r.url + "/app/invite?token=" + strings.Fields(token)[0]) //nolint:noctx // it ends with the server
		if err != nil {
			t.Fatal(err)
		}
		defer rsp.Body.Close()
		if page, err := io.ReadAll(rsp.Body); err != nil || rsp.StatusCode != 200 || !strings.Contains(string(page), "At least 12 characters") {
			t.Errorf("the page: %d %v\n%s", rsp.StatusCode, err, page)
		}
		if out, errs, code := run(t, env, "user", "-e", "ada@example.com", "-p", "a staple of the correct battery"); code != 0 {
			t.Errorf("a good one: exit %d\n%s%s", code, out, errs)
		}
	})
}
