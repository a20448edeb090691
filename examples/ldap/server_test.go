package ldap_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/examples/ldap"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// serve runs the server, with the directory as the provider corp, and returns where.
func serve(t *testing.T, at databasetest.Database, d *directory) *web.Site {
	t.Helper()
	cfg, err := app.LoadConfig(app.LoadArgs{Environ: []string{
		"LATCHKEY_HTTP_ADDR=127.0.0.1:0", "LATCHKEY_DATA_DIR=" + t.TempDir(), "LATCHKEY_DATABASE_URL=" + at.URL, "LATCHKEY_LOG_LEVEL=error",
		"LATCHKEY_SECRETS=c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA", "LATCHKEY_AUTH_PASSWORD_BCRYPT_COST=4",
		"LATCHKEY_AUTH_PROVIDERS_CORP_TYPE=ldap", "LATCHKEY_AUTH_PROVIDERS_CORP_URL=ldap://" + d.host(), "LATCHKEY_AUTH_PROVIDERS_CORP_CA_FILE=" + d.caFile,
		"LATCHKEY_AUTH_PROVIDERS_CORP_BASE_DN=dc=example,dc=com", "LATCHKEY_AUTH_PROVIDERS_CORP_BIND_DN=" + service,
		"LATCHKEY_AUTH_PROVIDERS_CORP_BIND_PASSWORD=" + servicePassword, "LATCHKEY_LINK_ACTORS_USER_PROVIDERS=emailpass,corp",
	}})
	check(t, err)
	var site *web.Site
	server := app.New(cfg, fx.Populate(&site), fx.Provide(auth.AsProviderType(ldap.Type)))
	check(t, server.Start(t.Context()))
	t.Cleanup(func() {
		if err := server.Stop(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return site
}

// call sends a request, and returns the status and the answer.
func call(t *testing.T, method, url, token, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	check(t, err)
	r.Header.Set("Content-Type", "application/json")
	if token != "" {
		r.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Timeout: 30 * time.Second}
	rsp, err := client.Do(r)
	check(t, err)
	defer rsp.Body.Close()
	answer, err := io.ReadAll(rsp.Body)
	check(t, err)
	return rsp.StatusCode, string(answer)
}

func TestPeopleOfADirectorySignInAtTheServer(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		d := startDirectory(t, false)
		site := serve(t, at, d)
		signIn := func(username, password string) (int, string) {
			return call(t, "POST", site.URL("/auth/user/corp"), "", string(input(username, password)))
		}
		became := map[string]bool{}
		for range 2 {
			status, answer := signIn("ada", "correct-horse")
			token := strings.TrimSuffix(strings.TrimPrefix(answer, `{"token":"`), `"}`)
			if status, me := call(t, "GET", site.URL("/admin/users/me"), token, ""); status != 200 || !strings.Contains(me, `"email":"ada@example.com"`) {
				t.Fatalf("she is %d %s; signed in by %s", status, me, answer)
			} else {
				id, _, _ := strings.Cut(strings.TrimPrefix(me, `{"user":{"id":"`), `"`)
				became[id] = true
			}
			if status != 200 {
				t.Fatalf("%d %s", status, answer)
			}
		}
		if len(became) != 1 {
			t.Errorf("she has become %v", became)
		}
		status, wrong := signIn("ada", "battery-staple")
		for _, other := range [][2]string{{"nobody", "battery-staple"}, {"*", "correct-horse"}, {"ada", ""}, {"bot", "bot-password"}} {
			if s, answer := signIn(other[0], other[1]); s != 401 || s != status || answer != wrong {
				t.Errorf("%q: %d %s, and for a wrong password %d %s", other, s, answer, status, wrong)
			}
		}
		if status, shown := call(t, "GET", site.URL("/auth/user/providers"), "", ""); status != 200 || !strings.Contains(shown, `"id":"corp"`) {
			t.Errorf("the providers: %d %s", status, shown)
		}
		d.stop()
		if status, answer := signIn("ada", "correct-horse"); status != 503 || !strings.Contains(answer, `"reason":"provider_unavailable"`) || strings.Contains(answer, "dial") {
			t.Errorf("while the directory is away: %d %s", status, answer)
		}
		if status, answer := call(t, "POST", site.URL("/auth/user/emailpass/register"), "", `{"email":"grace@example.com","password":"correct horse"}`); status != 200 {
			t.Errorf("by a password, while the directory is away: %d %s", status, answer)
		}
	})
}

// Who has written another's address into the directory is not let into that account.
func TestAnAddressInADirectoryIsAClaim(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		d := startDirectory(t, false)
		site := serve(t, at, d)
		tokens := map[string]string{}
		for _, who := range [][2]string{{"ada", "correct-horse"}, {"eve", "battery-staple"}} {
			status, answer := call(t, "POST", site.URL("/auth/user/corp"), "", string(input(who[0], who[1])))
			if status != 200 {
				t.Fatalf("%s: %d %s", who, status, answer)
			}
			tokens[who[0]] = strings.TrimSuffix(strings.TrimPrefix(answer, `{"token":"`), `"}`)
		}
		for who, want := range map[string]int{"ada": 200, "eve": 401} { // eve waits: the address is taken, and not proved to be hers
			if status, me := call(t, "GET", site.URL("/admin/users/me"), tokens[who], ""); status != want {
				t.Errorf("%s: %d %s, want %d", who, status, me, want)
			}
		}
	})
}
