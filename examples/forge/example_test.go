package forge_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"net/http/cookiejar"
	"os"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/examples/forge"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
)

// Somebody signs in with Forge: the server sends their browser there, and it comes back to a session.
func Example() {
	elsewhere, err := authtest.StartIssuer(authtest.IssuerOptions{OAuth: true}) // in place of Forge
	check(err)
	defer elsewhere.Close()
	elsewhere.SignIn(ada)
	dir, err := os.MkdirTemp("", "latchkey")
	check(err)
	defer os.RemoveAll(dir)

	cfg, err := app.LoadConfig(app.LoadArgs{Environ: []string{
		"LATCHKEY_HTTP_ADDR=127.0.0.1:0", "LATCHKEY_DATA_DIR=" + dir, "LATCHKEY_LOG_LEVEL=error",
		"LATCHKEY_AUTH_PROVIDERS_FORGE_URL=" + elsewhere.URL(), "LATCHKEY_AUTH_PROVIDERS_FORGE_CLIENT_ID=" + elsewhere.ClientID(),
		"LATCHKEY_AUTH_PROVIDERS_FORGE_CLIENT_SECRET=" + elsewhere.ClientSecret(), "LATCHKEY_LINK_ACTORS_USER_PROVIDERS=emailpass,forge",
	}})
	check(err)
	var site *web.Site
	server := app.New(cfg, fx.Populate(&site),
		fx.Provide(auth.AsProvider(forge.New)), // the one line
	)
	check(server.Start(context.Background()))

	jar, err := cookiejar.New(nil)
	check(err)
	browser := http.Client{Jar: jar}
	rsp, err := browser.Get(site.URL("/auth/user/forge/start?next=/admin/users/me"))
	check(err)
	defer rsp.Body.Close()
	var me struct {
		User struct{ Email string }
	}
	check(json.NewDecoder(rsp.Body).Decode(&me))
	fmt.Println(rsp.Status, me.User.Email)
	check(server.Stop(context.Background()))
	// Output: 200 OK ada@example.com
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
