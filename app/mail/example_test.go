package mail_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing/fstest"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app/console"
	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/app/mail"
	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/sqlite"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/user"
)

// post is a sender of the application's own, such as to its provider of mail.
type post chan mail.Message

func (p post) Send(_ context.Context, m mail.Message) error {
	p <- m
	return nil
}

// An fx application that embeds Latchkey has its mails sent by a sender of its own, and serves the pages that their links
// lead to.
func Example() {
	router, sender := http.NewServeMux(), make(post, 1)
	app := fx.New(
		fx.Provide(openDatabase, openKeys), // now also migrated by outbox.Migrations()
		user.Module, auth.Module, emailpass.Module, link.Module, httpapi.Module,
		outbox.Module, outbox.Deliver, mail.Module, console.Module,
		fx.Supply(mail.Options{Sender: sender, URL: "https://id.example.com"}),
		fx.Invoke(func(api *httpapi.API, pages *console.Console) {
			router.Handle("/id/", http.StripPrefix("/id", api))
			for _, prefix := range pages.Prefixes() {
				router.Handle(prefix, pages)
			}
		}),
		fx.NopLogger,
	)
	if err := app.Start(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	defer app.Stop(context.Background())

	server := httptest.NewServer(router)
	defer server.Close()
	for _, c := range []struct{ path, body string }{
		{"/id/auth/user/emailpass/register", `{"email":"ada@example.com","password":"correct horse"}`},
		{"/id/auth/user/emailpass/reset-password", `{"identifier":"ada@example.com"}`},
	} {
		rsp, err := http.Post(server.URL+c.path, "application/json", strings.NewReader(c.body))
		if err != nil {
			fmt.Println(err)
			return
		}
		rsp.Body.Close()
	}
	m := <-sender
	page, err := http.Get(server.URL + "/app/login")
	if err != nil {
		fmt.Println(err)
		return
	}
	page.Body.Close()
	fmt.Println(m.To, m.Subject, strings.Contains(m.Text, "https://id.example.com/app/reset-password?token="), page.StatusCode)
	// Output:
	// ada@example.com Set a new password for id.example.com true 200
}

// An application's own words replace those of ours that have their names, and are tried when the mailer is made. They can be
// compiled in by go:embed. Previews show what people would get.
func ExamplePreviews() {
	words := fstest.MapFS{
		"invite.txt": {Data: []byte(`{{define "invite.subject"}}Join us at {{.Site}}{{end -}}
Hello! {{.URL}} lets you in until {{.Until}}.
{{range .Message}}> {{.}}
{{end}}`)},
		"layout.html": {Data: []byte(`<!doctype html><title>{{.Subject}}</title><body>{{template "content" .}}<p>Example Ltd</p></body>`)},
	}
	options := mail.Options{Sender: make(post, 1), URL: "https://id.example.com", Name: "Example", Templates: words}
	previews, err := mail.Previews(options)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(previews[0].ID, "to", previews[0].To+":", previews[0].Subject)

	words["rest.txt"] = &fstest.MapFile{Data: []byte("somebody meant reset.txt")}
	_, err = mail.New(mail.Params{Options: options})
	fmt.Println(strings.Contains(err.Error(), "rest.txt: there is no template of this name"))
	// Output:
	// invite to ada@example.com: Join us at Example
	// true
}

func openDatabase(lc fx.Lifecycle) (*database.DB, error) {
	dir, err := os.MkdirTemp("", "latchkey")
	if err != nil {
		return nil, err
	}
	db, err := sqlite.Open(context.Background(), filepath.Join(dir, "app.db"), nil)
	if err != nil {
		return nil, err
	}
	lc.Append(fx.StopHook(func() { db.Close(); os.RemoveAll(dir) }))
	return db, db.Migrate(context.Background(), user.Migrations(), auth.Migrations(), link.Migrations(), outbox.Migrations())
}

func openKeys() (*keyring.Ring, error) {
	return keyring.New([]byte("32 bytes or more of random secret"))
}
