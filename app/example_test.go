package app_test

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/user"
)

// A program of your own brings people into the database of a server, by the configuration that the server has. Importing
// signs and hashes nothing, and the modules are given no emitter, so nobody hears of it.
func Example_import() {
	dir, err := os.MkdirTemp("", "import")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	environ := append(os.Environ(), "LATCHKEY_DATA_DIR="+dir, "LATCHKEY_SECRETS="+testSecret) // yours are set already

	ctx := context.Background()
	cfg, err := app.LoadConfig(app.LoadArgs{Environ: environ})
	if err != nil {
		log.Fatal(err)
	}
	db, err := app.OpenDatabase(ctx, cfg, slog.New(slog.NewTextHandler(io.Discard, nil)))
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(ctx, app.Migrations()...); err != nil {
		log.Fatal(err)
	}
	var secrets [][]byte
	for _, s := range cfg.Secrets {
		secrets = append(secrets, s.Bytes())
	}
	keys, err := keyring.New(secrets...)
	if err != nil {
		log.Fatal(err)
	}
	users, err := user.New(user.Params{DB: db, Keys: keys})
	if err != nil {
		log.Fatal(err)
	}
	passwords, err := auth.NewPasswords(auth.PasswordParams{Keys: keys})
	if err != nil {
		log.Fatal(err)
	}
	auths, err := auth.New(auth.Params{DB: db, Keys: keys, Providers: []auth.Provider{emailpass.New(passwords, emailpass.Config{})}})
	if err != nil {
		log.Fatal(err)
	}

	const hash = "$2b$05$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2"
	_, err = users.CreateUsers(ctx, user.Draft{Email: "grace@example.com", EmailVerified: true, Roles: []string{"member"}})
	if err != nil {
		log.Fatal(err)
	}
	_, err = auths.CreateAuthIdentities(ctx, auth.IdentityDraft{Providers: []auth.ProviderIdentityDraft{{
		Provider: "emailpass", EntityID: "grace@example.com", Email: "grace@example.com", EmailVerified: true, Secret: []byte(hash),
	}}})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("grace@example.com signs in with the password of before")
	// Output: grace@example.com signs in with the password of before
}
