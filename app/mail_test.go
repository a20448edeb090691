package app_test

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// mailed is a line of the file that mails go to.
type mailed struct{ ID, From, To, Subject, Text, HTML string }

// mailsIn reads the file once it has so many lines; -1: as it is.
func mailsIn(t *testing.T, path string, n int) []mailed {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Count(string(data), "\n"); got < n {
			if time.Now().After(deadline) {
				t.Fatalf("%d mails were sent, want %d:\n%s", got, n, data)
			}
			continue
		}
		var mails []mailed
		for line := range strings.Lines(string(data)) {
			var m mailed
			dec := json.NewDecoder(strings.NewReader(line))
			dec.DisallowUnknownFields()
			if err := dec.Decode(&m); err != nil || !strings.HasSuffix(line, "\n") || !strings.HasPrefix(m.ID, "evt_") {
				t.Fatalf("%v in the line %q", err, line)
			}
			mails = append(mails, m)
		}
		if len(mails) != n && n >= 0 {
			t.Fatalf("%d mails were sent, want %d:\n%s", len(mails), n, data)
		}
		return mails
	}
}

// linkedToken returns the token of the link in a text, which must lead to the path of the site.
func linkedToken(t *testing.T, text, site, path string) string {
	t.Helper()
	found := regexp.MustCompile(regexp.QuoteMeta(site+path) + `\?token=([A-Za-z0-9_.-]+)\n`).FindStringSubmatch(text)
	if found == nil {
		t.Fatalf("there is no link to %s%s in:\n%s", site, path, text)
	}
	return found[1]
}

// get asks with a bearer token.
func get(t *testing.T, url, token string) (status int, answer string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	data, err := io.ReadAll(rsp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return rsp.StatusCode, string(data)
}

// wantPost posts and wants the status.
func wantPost(t *testing.T, status int, url, body string, headers ...string) (answer string) {
	t.Helper()
	got, answer, err := post(url, body, headers...)
	if err != nil || got != status {
		t.Fatalf("POST %s %s: %d, %v, want %d\n%s", url, body, got, err, status, answer)
	}
	return answer
}

func TestMailsLeaveOnceWhateverStopsInBetween(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		dir := t.TempDir()
		path := filepath.Join(dir, "mail.jsonl")
		plain := slices.Clip(environment(dir, at))
		env := append(plain, "LATCHKEY_MAIL_DRIVER=file", "LATCHKEY_MAIL_PATH="+path, "LATCHKEY_MAIL_FROM=Keys <keys@example.com>")
		const password, changed = `"password":"correct horse"`, `"password":"a new passphrase"`

		// What is made while no server runs leaves when one does.
		if _, errs, code := run(t, env, "user", "-e", "admin@example.com", "-p", "correct horse"); code != 0 {
			t.Fatalf("make an admin: %d %s", code, errs)
		}
		printed, errs, code := run(t, env, "user", "-e", "carol@example.com", "--invite")
		if code != 0 {
			t.Fatalf("invite: %d %s", code, errs)
		}
		mailsIn(t, path, 0)
		r := start(t, env)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.up(ctx); err != nil {
			t.Fatal(err)
		}
		m := mailsIn(t, path, 1)[0]
		carols := linkedToken(t, m.Text, r.url, "/app/invite")
		if m.To != "carol@example.com" || m.From != "Keys <keys@example.com>" || strings.Contains(printed, carols) {
			t.Errorf("%+v\nprinted: %s", m, printed)
		}

		// An invite that is accepted by its mail proves the address.
		signIn := r.url + "/auth/user/emailpass"
		admin := "Authorization: Bearer " + member(wantPost(t, 200, signIn, `{"email":"admin@example.com",`+password+`}`), "token")
		shown := member(wantPost(t, 200, r.url+"/admin/invites", `{"email":"Ada@Example.com"}`, admin), "token")
		m = mailsIn(t, path, 2)[1]
		invite := linkedToken(t, m.Text, r.url, "/app/invite")
		if m.To != "ada@example.com" || invite == shown || !strings.Contains(m.HTML, invite) {
			t.Errorf("the admin was shown the token %q; %+v", shown, m)
		}
		registration := member(wantPost(t, 200, signIn+"/register", `{"email":"ada@example.com",`+password+`}`), "token")
		wantPost(t, 200, r.url+"/admin/invites/accept?token="+invite, `{}`, "Authorization: Bearer "+registration)
		ada := member(wantPost(t, 200, signIn, `{"email":"ada@example.com",`+password+`}`), "token")
		me := r.url + "/admin/users/me?fields=%2Bemail_verified_at"
		if status, body := get(t, me, ada); status != 200 || member(body, "email_verified_at") == "" {
			t.Errorf("the address was not proved: %d %s", status, body)
		}

		// A forgotten password is set anew by its mail, once, and ends what was before.
		if answer := wantPost(t, 201, signIn+"/reset-password", `{"identifier":"ADA@example.com"}`); answer != "Created" {
			t.Errorf("asked for a new password: %s", answer)
		}
		wantPost(t, 201, signIn+"/reset-password", `{"identifier":"nobody@example.com"}`)
		m = mailsIn(t, path, 3)[2]
		reset := linkedToken(t, m.Text, r.url, "/app/reset-password")
		if m.To != "ada@example.com" || !strings.Contains(m.HTML, reset) {
			t.Errorf("%+v", m)
		}
		if answer := wantPost(t, 200, signIn+"/update", `{`+changed+`}`, "Authorization: Bearer "+reset); answer != `{"success":true}` {
			t.Errorf("set a new password: %s", answer)
		}
		wantPost(t, 401, signIn+"/update", `{`+changed+`}`, "Authorization: Bearer "+reset)
		if m = mailsIn(t, path, 4)[3]; m.To != "ada@example.com" || !strings.HasPrefix(m.Subject, "Your password at ") || strings.Contains(m.Text, "token") {
			t.Errorf("a new password is told: %+v", m)
		}
		wantPost(t, 401, signIn, `{"email":"ada@example.com",`+password+`}`)
		if status, body := get(t, me, ada); status != 401 {
			t.Errorf("the token of before: %d %s", status, body)
		}
		ada = member(wantPost(t, 200, signIn, `{"email":"ada@example.com",`+changed+`}`), "token")
		if status, body := get(t, me, ada); status != 200 {
			t.Errorf("the new token: %d %s", status, body)
		}

		// A mail that does not get away before the server is told to stop leaves after the next start: this one by the terminal.
		if err := os.Rename(path, path+".kept"); err != nil {
			t.Fatal(err)
		}
		if err := os.Mkdir(path, 0o700); err != nil { // nobody can write that
			t.Fatal(err)
		}
		wantPost(t, 201, signIn+"/reset-password", `{"identifier":"admin@example.com"}`)
		for !strings.Contains(r.stderr.String(), "will be tried again") {
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
				t.Fatalf("the log does not say that a mail failed:\n%s", r.stderr)
			}
		}
		if err := r.stop(); err != nil {
			t.Errorf("stop: %v\n%s", err, r.stderr)
		}
		mailsIn(t, path+".kept", 4)
		again := start(t, plain)
		if err := again.up(ctx); err != nil {
			t.Fatal(err)
		}
		for !strings.Contains(again.stdout.String(), "--- mail to admin@example.com: Set a new password for ") {
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
				t.Fatalf("the terminal does not show the mail:\n%s\n%s", again.stdout, again.stderr)
			}
		}
		wantPost(t, 201, again.url+"/auth/user/emailpass/reset-password", `{"identifier":"nobody@example.com"}`)
		pending := linkedToken(t, again.stdout.String(), again.url, "/app/reset-password")
		wantPost(t, 200, again.url+"/auth/user/emailpass/update", `{`+changed+`}`, "Authorization: Bearer "+pending)
		if err := again.stop(); err != nil {
			t.Errorf("stop: %v\n%s", err, again.stderr)
		}
		if n := strings.Count(again.stdout.String(), "--- mail to admin@example.com: Set a new password"); n != 1 {
			t.Errorf("%d mails with a link were shown, want 1:\n%s", n, again.stdout)
		}
		for _, token := range []string{carols, shown, invite, reset, pending} {
			if strings.Contains(r.stderr.String()+again.stderr.String(), token) {
				t.Errorf("the log holds the token %s", token)
			}
		}
	})
}

func TestMailsThatCouldNotLeaveAreToldAtTheStart(t *testing.T) {
	dir := t.TempDir()
	env := slices.Clip(environment(dir, databasetest.SQLite(t), "LATCHKEY_SECRETS="+testSecret))
	production := slices.Clip(append(env, "LATCHKEY_ENV=production", "LATCHKEY_AUTH_PASSWORD_BCRYPT_COST=10"))
	for name, c := range map[string]struct {
		env  []string
		code int
		says string
	}{
		"to the terminal in production": {append(production, "LATCHKEY_MAIL_DRIVER=log"), 2, "LATCHKEY_MAIL_DRIVER: must not be log in production"},
		"to a directory that is not there": {append(env, "LATCHKEY_MAIL_DRIVER=file", "LATCHKEY_MAIL_PATH="+filepath.Join(dir, "not there", "mail.jsonl")), 1,
			"mail.path: open " + filepath.Join(dir, "not there", "mail.jsonl") + ": no such file or directory"},
		"to a directory":             {append(env, "LATCHKEY_MAIL_DRIVER=file", "LATCHKEY_MAIL_PATH="+dir), 1, "mail.path: open " + dir},
		"from nobody":                {append(env, "LATCHKEY_MAIL_FROM=nobody"), 2, "LATCHKEY_MAIL_FROM: must be an address"},
		"in a way there isn't":       {append(env, "LATCHKEY_MAIL_DRIVER=pigeon"), 2, "LATCHKEY_MAIL_DRIVER: must be one of"},
		"by a server without a name": {append(env, "LATCHKEY_MAIL_DRIVER=smtp"), 2, "mail.smtp.host: must be the server that takes our mails"},
		"vouched for by nobody": {append(env, "LATCHKEY_MAIL_SMTP_HOST=localhost", "LATCHKEY_MAIL_SMTP_CA_FILE="+filepath.Join(dir, "ca.pem")), 1,
			"mail.smtp.ca_file: open " + filepath.Join(dir, "ca.pem")},
	} {
		out, errs, code := run(t, c.env)
		if code != c.code || out != "" || !strings.Contains(errs, c.says) {
			t.Errorf("%s: exit %d, want %d and %q\n%s%s", name, code, c.code, c.says, out, errs)
		}
	}
	for driver, warnings := range map[string]int{"auto": 1, "none": 0, "file": 0} {
		r := start(t, append(production, "LATCHKEY_MAIL_DRIVER="+driver))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.up(ctx); err != nil {
			t.Fatal(err)
		}
		if err := r.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		if n := strings.Count(r.stderr.String(), "mail.driver is not set"); n != warnings {
			t.Errorf("%s: %d warnings, want %d\n%s", driver, n, warnings, r.stderr)
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "data", "mail.jsonl")); err != nil || info.Mode() != 0o600 {
		t.Errorf("without mail.path, mails go to the data directory: %v, %v", info, err)
	}
}

// Whoever has a mail sent to somebody else does not choose where its link leads.
func TestLinksOfMailsLeadToThePublicURLWhateverARequestSays(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		dir := t.TempDir()
		path := filepath.Join(dir, "mail.jsonl")
		free, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addr := free.Addr().String()
		if err := free.Close(); err != nil {
			t.Fatal(err)
		}
		env := environment(dir, at, "LATCHKEY_MAIL_DRIVER=file", "LATCHKEY_MAIL_PATH="+path, "LATCHKEY_HTTP_ADDR="+addr, "LATCHKEY_HTTP_PUBLIC_URL=https://id.example.com",
			"LATCHKEY_AUTH_ENUMERATION_SAFE=true")
		if _, errs, code := run(t, env, "user", "-e", "admin@example.com", "-p", "correct horse"); code != 0 {
			t.Fatalf("make an admin: %d %s", code, errs)
		}
		r := start(t, env)
		r.url = "http://" + addr // it says by which people know it
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.up(ctx); err != nil {
			t.Fatal(err)
		}
		ask := func(status int, path, body, token string) string {
			t.Helper()
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, r.url+path, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Host = "evil.example"
			for name, value := range map[string]string{
				"Content-Type": "application/json", "X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http", "X-Original-Host": "evil.example",
				"Forwarded": "host=evil.example;proto=http", "X-Forwarded-Prefix": "/evil.example", "X-Host": "evil.example", "Referer": "https://evil.example/",
			} {
				req.Header.Set(name, value)
			}
			if token != "" {
				req.Header.Set("Authorization", "Bearer "+token)
			}
			rsp, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer rsp.Body.Close()
			answer, err := io.ReadAll(rsp.Body)
			if err != nil || rsp.StatusCode != status {
				t.Fatalf("POST %s: %d, %v, want %d\n%s", path, rsp.StatusCode, err, status, answer)
			}
			return string(answer)
		}
		const password = `"password":"correct horse"`
		signIn := "/auth/user/emailpass"
		token := member(ask(200, signIn, `{"email":"admin@example.com",`+password+`}`, ""), "token")
		ask(200, "/admin/invites", `{"email":"carol@example.com"}`, token)                                         // invite
		ask(200, signIn+"/register", `{"email":"admin@example.com",`+password+`}`, "")                             // known
		ask(200, signIn+"/register", `{"email":"dora@example.com",`+password+`}`, "")                              // verify
		ask(200, "/admin/users/me/email", `{"email":"new@example.com","current_password":"correct horse"}`, token) // move, moving
		ask(201, signIn+"/reset-password", `{"identifier":"admin@example.com"}`, "")                               // reset
		var reset string
		for _, m := range mailsIn(t, path, 6) {
			if strings.HasPrefix(m.Subject, "Set a new password") {
				reset = linkedToken(t, m.Text, "https://id.example.com", "/app/reset-password")
			}
		}
		ask(200, signIn+"/update", `{"password":"a new passphrase"}`, reset) // password
		for range 5 {
			ask(401, signIn, `{"email":"admin@example.com",`+password+`}`, "")
		}
		ask(200, signIn, `{"email":"admin@example.com","password":"a new passphrase"}`, "") // signin
		var subjects []string
		for _, m := range mailsIn(t, path, 8) {
			subjects = append(subjects, m.Subject)
			links := regexp.MustCompile(`[a-z]+://[^\s"<]*`).FindAllString(m.Text+m.HTML, -1)
			if len(links) != 2 || slices.ContainsFunc(links, func(l string) bool { return !strings.HasPrefix(l, "https://id.example.com/app/") }) {
				t.Errorf("%s: %q", m.Subject, links)
			}
			if strings.Contains(m.Text+m.HTML+m.Subject, "evil") {
				t.Errorf("%s: %s", m.Subject, m.Text)
			}
		}
		slices.Sort(subjects)
		want := []string{
			"Confirm your e-mail address for id.example.com", "Confirm your new e-mail address for id.example.com", "New sign-in to your account at id.example.com",
			"Set a new password for id.example.com", "You are invited to id.example.com", "You have an account at id.example.com already",
			"Your e-mail address at id.example.com is to change", "Your password at id.example.com has changed",
		}
		if !slices.Equal(subjects, want) {
			t.Errorf("the mails are %q, want %q", subjects, want)
		}
	})
}

func TestTemplatesOfMailsAreReplacedAndPreviewed(t *testing.T) {
	dir := t.TempDir()
	words, seen := filepath.Join(dir, "words"), filepath.Join(dir, "seen")
	env := environment(dir, databasetest.SQLite(t), "LATCHKEY_MAIL_DRIVER=file", "LATCHKEY_MAIL_NAME=Example", "LATCHKEY_MAIL_TEMPLATES="+words)
	out, errs, code := run(t, env, "mail", "templates", words)
	if code != 0 || !strings.Contains(out, "Wrote "+filepath.Join(words, "reset.txt")) {
		t.Fatalf("%d\n%s%s", code, out, errs)
	}
	if out, errs, code = run(t, env, "mail", "preview", seen); code != 0 { // the built-in ones are good
		t.Fatalf("%d\n%s%s", code, out, errs)
	}
	own := filepath.Join(words, "reset.html")
	if err := os.WriteFile(own, []byte("<p>Our own words: <a href=\"{{.URL}}\">reset</a></p>"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, errs, code = run(t, env, "mail", "templates", words); code != 0 || !strings.Contains(out, "Kept "+own) {
		t.Errorf("once more: %d\n%s%s", code, out, errs)
	}
	if out, errs, code = run(t, env, "mail", "preview", seen); code != 0 {
		t.Fatalf("%d\n%s%s", code, out, errs)
	}
	page, err := os.ReadFile(filepath.Join(seen, "reset.html"))
	text, err2 := os.ReadFile(filepath.Join(seen, "verify-2.txt"))
	if err != nil || err2 != nil || !strings.Contains(string(page), "Our own words") || !strings.Contains(string(page), "<title>Set a new password for Example</title>") ||
		!strings.Contains(string(text), "\nSubject: Confirm your e-mail address for Example\n") {
		t.Errorf("%v %v\n%s\n%s", err, err2, page, text)
	}

	if err := os.WriteFile(filepath.Join(words, "rest.txt"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"mail", "preview", seen}, {}} { // a start, too
		out, errs, code = run(t, env, args...)
		if code != 1 || !strings.Contains(errs, "rest.txt: there is no template of this name") {
			t.Errorf("%q: %d\n%s%s", args, code, out, errs)
		}
	}
	away := filepath.Join(dir, "away")
	if out, errs, code = run(t, append(slices.Clip(env), "LATCHKEY_MAIL_TEMPLATES="+away), "mail", "preview", seen); code != 1 || !strings.Contains(errs, away) {
		t.Errorf("of a directory that there is not: %d\n%s%s", code, out, errs)
	}
	for _, args := range [][]string{{"mail", "write", dir}, {"mail", "templates"}, {"mail", "preview", dir, dir}} {
		if out, errs, code = run(t, env, args...); code != 2 || !strings.Contains(errs, "server mail") {
			t.Errorf("%q: %d\n%s%s", args, code, out, errs)
		}
	}
}
