package main

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

func TestMain(m *testing.M) { databasetest.Main(m) }

// serve runs the shop until the test ends, and returns where.
func serve(t *testing.T, at databasetest.Database) string {
	t.Helper()
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	cfg, err := app.LoadConfig(app.LoadArgs{Environ: []string{
		"LATCHKEY_HTTP_ADDR=" + free.Addr().String(), "LATCHKEY_DATA_DIR=" + t.TempDir(), "LATCHKEY_DATABASE_URL=" + at.URL,
		"LATCHKEY_SECRETS=c2VjcmV0IHNlY3JldCBzZWNyZXQgc2VjcmV0IHNlY3JldA", "LATCHKEY_AUTH_PASSWORD_BCRYPT_COST=4", "LATCHKEY_LOG_LEVEL=warn",
	}})
	if err != nil {
		t.Fatal(err)
	}
	shop := app.New(cfg, options()...)
	if err := shop.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := shop.Stop(t.Context()); err != nil && t.Context().Err() == nil {
			t.Error(err)
		}
	})
	return "http://" + free.Addr().String()
}

// call sends a request and wants the status. It returns the answer.
func call(t *testing.T, method, url, token, body string, status int) map[string]any {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	client := http.Client{Timeout: 30 * time.Second}
	rsp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer rsp.Body.Close()
	data, err := io.ReadAll(rsp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if rsp.StatusCode != status {
		t.Fatalf("%s %s: %d %s, want %d", method, url, rsp.StatusCode, data, status)
	}
	var answer map[string]any
	if len(data) > 0 {
		if err := json.Unmarshal(data, &answer); err != nil {
			t.Fatalf("%s: %v", data, err)
		}
	}
	return answer
}

func TestACustomerOfTheShop(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		url := serve(t, at)
		const ada = `{"email":"ada@example.com","password":"correct horse"}`
		nobody, _ := call(t, "POST", url+"/auth/customer/emailpass/register", "", ada, 200)["token"].(string)
		call(t, "GET", url+"/store/customers/me", nobody, "", 401) // registered, and not a customer yet
		token, _ := call(t, "POST", url+"/auth/customer/emailpass", "", ada, 200)["token"].(string)
		me, _ := call(t, "GET", url+"/store/customers/me", token, "", 200)["customer"].(map[string]any)
		if me["email"] != "ada@example.com" || me["points"] != float64(welcome) {
			t.Errorf("they are %v", me)
		}

		call(t, "GET", url+"/store/customers/me", "", "", 401)
		call(t, "GET", url+"/admin/users/me", token, "", 401) // a customer is no user
		asUser, _ := call(t, "POST", url+"/auth/user/emailpass", "", ada, 200)["token"].(string)
		call(t, "GET", url+"/admin/users/me", asUser, "", 200) // by the same password they are, in a session of its own
		call(t, "GET", url+"/store/customers/me", asUser, "", 401)

		call(t, "DELETE", url+"/store/customers/me", token, "", 204)
		call(t, "GET", url+"/store/customers/me", token, "", 401)
		call(t, "POST", url+"/auth/user/emailpass", "", ada, 200) // the user stays
	})
}

// The command line knows the shop's parts.
func TestTheCommandsOfTheShop(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("LATCHKEY_DATA_DIR", t.TempDir())
	if err := os.WriteFile("config.yaml", []byte("link: {actors: {customer: {policy: auto, providers: [emailpass]}}}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"migrate"}, {"config"}} {
		if code := app.Main(args, options()...); code != 0 {
			t.Errorf("%q: exit %d", args, code)
		}
	}
}
