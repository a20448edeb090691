package app_test

import (
	"context"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// In development whoever is at the machine reads every mail in the browser, until the server stops; where mails leave, nobody does.
func TestTheMailboxOfDevelopmentHoldsTheMailsAndNoOtherServerHasOne(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		dir := t.TempDir()
		env := slices.Clip(environment(dir, at, "LATCHKEY_SECRETS="+testSecret))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		begin := func(extra ...string) *running {
			r := start(t, append(env, extra...))
			if err := r.up(ctx); err != nil {
				t.Fatal(err)
			}
			return r
		}
		const mailbox = "/app/dev/mailbox"

		r := begin()
		wantPost(t, 200, r.url+"/auth/user/emailpass/register", `{"email":"ada@example.com","password":"correct horse"}`)
		wantPost(t, 201, r.url+"/auth/user/emailpass/reset-password", `{"identifier":"ada@example.com"}`)
		page := ""
		for page == "" || !strings.Contains(page, mailbox+"/1") {
			select {
			case <-time.After(10 * time.Millisecond):
			case <-ctx.Done():
				t.Fatalf("the mailbox holds no mail:\n%s\n%s", page, r.stderr)
			}
			_, page = get(t, r.url+mailbox, "")
		}
		status, mail := get(t, r.url+mailbox+"/1", "")
		_, rest, _ := strings.Cut(mail, `<a href="`+r.url+"/app/reset-password?token=")
		token, _, found := strings.Cut(rest, `"`)
		if status != 200 || !found || !strings.Contains(r.stdout.String(), token) {
			t.Fatalf("the mail is not shown as on the terminal: %d\n%s\n%s", status, mail, r.stdout)
		}
		if strings.Contains(r.stderr.String(), token) {
			t.Error("the log holds the token")
		}
		wantPost(t, 200, r.url+"/auth/user/emailpass/update", `{"password":"a new passphrase"}`, "Authorization: Bearer "+token)
		for _, path := range []string{mailbox, mailbox + "/1", mailbox + "/1/html"} {
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.url+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-Forwarded-For", "192.0.2.1")
			rsp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			if rsp.Body.Close(); rsp.StatusCode != http.StatusForbidden {
				t.Errorf("%s through a proxy: %d, want 403", path, rsp.StatusCode)
			}
		}
		if err := r.stop(); err != nil {
			t.Errorf("stop: %v\n%s", err, r.stderr)
		}

		for name, extra := range map[string][]string{
			"in production":         {"LATCHKEY_ENV=production", "LATCHKEY_AUTH_PASSWORD_BCRYPT_COST=10"},
			"where a file has them": {"LATCHKEY_MAIL_DRIVER=file", "LATCHKEY_MAIL_PATH=" + filepath.Join(dir, "mail.jsonl")},
			"where nobody does":     {"LATCHKEY_MAIL_DRIVER=none"},
		} {
			r := begin(extra...)
			for _, path := range []string{mailbox, mailbox + "/1"} {
				if status, _ := get(t, r.url+path, ""); status != http.StatusNotFound {
					t.Errorf("%s, %s: %d, want 404", name, path, status)
				}
			}
			if _, page := get(t, r.url+"/app/login", ""); strings.Contains(page, "mailbox") {
				t.Errorf("%s the pages lead to a mailbox", name)
			}
			if err := r.stop(); err != nil {
				t.Errorf("stop: %v\n%s", err, r.stderr)
			}
		}
		again := begin()
		if _, page := get(t, again.url+mailbox, ""); strings.Contains(page, "Set a new password") {
			t.Errorf("a mail outlives the server:\n%s", page)
		}
	})
}
