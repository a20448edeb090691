package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// page gets a page of a server and follows where it leads.
func (r *running) page(t *testing.T, client *http.Client, path string) (status int, at, body string) {
	t.Helper()
	return answered(t)(client.Get(r.url + path))
}

func answered(t *testing.T) func(*http.Response, error) (int, string, string) {
	return func(rsp *http.Response, err error) (int, string, string) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		defer rsp.Body.Close()
		data, err := io.ReadAll(rsp.Body)
		if err != nil {
			t.Fatal(err)
		}
		return rsp.StatusCode, rsp.Request.URL.Path, string(data)
	}
}

// The pages live where the configuration says, under the name and with the picture and the words of the application, and mails and the
// set-up link lead there.
func TestThePagesLiveWhereTheConfigurationSaysAndLookAsItSays(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		dir := t.TempDir()
		for name, text := range map[string]string{
			"logo.svg": `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 1 1"/>`,
		} {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		own := filepath.Join(dir, "pages")
		if err := os.Mkdir(own, 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(own, "problem.html"), []byte(`{{define "main"}}<p>Call us: 555</p>{{end}}`), 0o600); err != nil {
			t.Fatal(err)
		}
		mails := filepath.Join(dir, "mail.jsonl")
		env := environment(dir, at, "LATCHKEY_CONSOLE_PATH=/my/account", "LATCHKEY_CONSOLE_NAME=Example & Sons", "LATCHKEY_CONSOLE_LOGO="+filepath.Join(dir, "logo.svg"),
			"LATCHKEY_CONSOLE_TEMPLATES="+own, "LATCHKEY_MAIL_DRIVER=file", "LATCHKEY_MAIL_PATH="+mails)
		r := start(t, env)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.up(ctx); err != nil {
			t.Fatal(err)
		}
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		client := &http.Client{Jar: jar}

		status, path, body := r.page(t, client, "/")
		if status != http.StatusOK || path != "/my/account/login" || !strings.Contains(body, "Example &amp; Sons") || !strings.Contains(body, `src="/my/account/logo"`) {
			t.Errorf("the front page: %d %s\n%s", status, path, body)
		}
		if status, _, body := r.page(t, client, "/my/account/logo"); status != http.StatusOK || !strings.HasPrefix(body, "<svg") {
			t.Errorf("the logo: %d %s", status, body)
		}
		if status, _, _ := r.page(t, client, "/app"); status != http.StatusNotFound {
			t.Errorf("/app: %d, want nothing there", status)
		}
		if status, _, body := r.page(t, client, "/my/account/nowhere"); status != http.StatusNotFound || !strings.Contains(body, "Call us: 555") {
			t.Errorf("a page that is not there: %d, want the application's own words\n%s", status, body)
		}

		_, link, found := strings.Cut(r.stdout.String(), r.url+"/my/account/invite?token=")
		if !found {
			t.Fatalf("no set-up link leads to the pages:\n%s", r.stdout)
		}
		token, _, _ := strings.Cut(link, "\n")
		status, path, body = answered(t)(client.PostForm(r.url+"/my/account/invite", url.Values{"token": {token}, "email": {"ada@example.com"}, "password": {"correct horse"}}))
		if status != http.StatusOK || !strings.HasPrefix(path, "/my/account") || !strings.Contains(body, "ada@example.com") {
			t.Fatalf("after setting up: %d %s\n%s", status, path, body)
		}
		if strings.Contains(body, `"/app`) {
			t.Errorf("a page leads to /app:\n%s", body)
		}
		if status, _, _ := answered(t)(client.PostForm(r.url+"/my/account/reset-password", url.Values{"email": {"ada@example.com"}})); status != http.StatusOK {
			t.Fatalf("asking for a link: %d", status)
		}
		want := r.url + "/my/account/reset-password?token="
		for ctx.Err() == nil {
			sent, err := os.ReadFile(mails)
			if err == nil && strings.Contains(string(sent), want) {
				break
			}
			time.Sleep(20 * time.Millisecond)
		}
		sent, _ := os.ReadFile(mails) //nolint:gosec // ours
		for line := range strings.Lines(string(sent)) {
			var m struct{ Text string }
			if err := json.Unmarshal([]byte(line), &m); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(m.Text, "http") && !strings.Contains(m.Text, r.url+"/my/account/") {
				t.Errorf("a mail leads elsewhere:\n%s", m.Text)
			}
		}
		if !strings.Contains(string(sent), want) {
			t.Errorf("no mail leads to %s:\n%s", want, sent)
		}
	})
}

// Without the pages there is the API alone.
func TestThePagesCanBeSwitchedOff(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		r := start(t, environment(t.TempDir(), at, "LATCHKEY_CONSOLE_ENABLED=false"))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.up(ctx); err != nil {
			t.Fatal(err)
		}
		for path, want := range map[string]int{"/": 404, "/app": 404, "/app/login": 404, "/health": 200, "/auth/user/providers": 200} {
			if status, at, _ := r.page(t, http.DefaultClient, path); status != want || at != path {
				t.Errorf("%s: %d at %s, want %d", path, status, at, want)
			}
		}
	})
}

// What cannot be shown stops the start, and says which key it is.
func TestPagesThatCannotBeShownStopTheStart(t *testing.T) {
	dir := t.TempDir()
	write := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	for name, c := range map[string]struct{ set, want string }{
		"path of the API":     {"LATCHKEY_CONSOLE_PATH=/auth", "LATCHKEY_CONSOLE_PATH: must be"},
		"path with a slash":   {"LATCHKEY_CONSOLE_PATH=/app/", "LATCHKEY_CONSOLE_PATH: must be"},
		"logo that is not":    {"LATCHKEY_CONSOLE_LOGO=" + filepath.Join(dir, "none.svg"), "console.logo"},
		"logo that is a text": {"LATCHKEY_CONSOLE_LOGO=" + write("logo.txt", "hello"), "the logo is no SVG"},
		"no templates":        {"LATCHKEY_CONSOLE_TEMPLATES=" + filepath.Join(dir, "none"), "console.templates"},
		"template that does not parse": {"LATCHKEY_CONSOLE_TEMPLATES=" + filepath.Dir(write("a/login.html", "{{define")),
			"login.html"},
		"template without a text": {"LATCHKEY_CONSOLE_TEMPLATES=" + filepath.Dir(write("b/login.html", `{{define "main"}}{{template "no.such"}}{{end}}`)),
			"login.html"},
	} {
		t.Run(name, func(t *testing.T) {
			env := environment(t.TempDir(), databasetest.Database{}, c.set)
			r := start(t, env)
			select {
			case <-r.ended:
			case <-time.After(time.Minute):
				t.Fatal("the server runs")
			}
			if said := fmt.Sprint(r.stdout, r.stderr); r.result == nil || !strings.Contains(said, c.want) {
				t.Errorf("%v, and it says:\n%s\nwant %q", r.result, said, c.want)
			}
		})
	}
}
