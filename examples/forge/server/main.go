// Server is the whole server, with sign-in by Forge. In a repository of your own it is these lines.
//
//	LATCHKEY_AUTH_PROVIDERS_FORGE_URL=https://forge.example.com LATCHKEY_AUTH_PROVIDERS_FORGE_CLIENT_ID=… \
//	LATCHKEY_AUTH_PROVIDERS_FORGE_CLIENT_SECRET=file:/run/secrets/forge LATCHKEY_LINK_ACTORS_USER_PROVIDERS=emailpass,forge \
//	go run ./server
package main

import (
	"os"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/examples/forge"
	"github.com/latchkey-go/latchkey/modules/auth"
)

func main() {
	os.Exit(app.Main(os.Args[1:], fx.Provide(auth.AsProvider(forge.New))))
}
