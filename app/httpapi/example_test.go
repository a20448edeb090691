package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/sqlite"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/user"
)

// An fx application takes Latchkey in by its modules, and mounts the API in its own router.
func Example() {
	router := http.NewServeMux()
	app := fx.New(
		fx.Provide(openDatabase, openKeys), // the application's own: a migrated *database.DB, a *keyring.Ring
		user.Module, auth.Module, emailpass.Module, link.Module, httpapi.Module,
		fx.Invoke(func(api *httpapi.API) { router.Handle("/id/", http.StripPrefix("/id", api)) }),
		fx.NopLogger,
	)
	if err := app.Start(context.Background()); err != nil {
		fmt.Println(err)
		return
	}
	defer app.Stop(context.Background())

	server := httptest.NewServer(router)
	defer server.Close()
	rsp, err := http.Get(server.URL + "/id/auth/user/providers")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer rsp.Body.Close()
	body, _ := io.ReadAll(rsp.Body)
	fmt.Println(rsp.StatusCode, strings.Contains(string(body), `"id":"emailpass"`))
	// Output:
	// 200 true
}

// What a role may do is configuration, checked at every request.
func ExampleOptions_roles() {
	ctx := context.Background()
	var users *user.Service
	var links *link.Service
	var api *httpapi.API
	app := fx.New(
		fx.Provide(openDatabase, openKeys),
		user.Module, auth.Module, emailpass.Module, link.Module, httpapi.Module,
		fx.Supply(httpapi.Options{Roles: httpapi.Roles{"support": {"user:read", "invite:*"}}}),
		fx.Populate(&users, &links, &api),
		fx.NopLogger,
	)
	if err := app.Start(ctx); err != nil {
		fmt.Println(err)
		return
	}
	defer app.Stop(ctx)
	in := auth.Input(`{"email":"sue@example.com","password":"correct horse"}`)
	if _, err := links.CreateUser(ctx, "emailpass", in, user.Draft{Email: "sue@example.com", Roles: []string{"support"}}); err != nil {
		fmt.Println(err)
		return
	}
	login, err := links.SignIn(ctx, "user", "emailpass", in, auth.Client{})
	if err != nil {
		fmt.Println(err)
		return
	}

	for _, do := range [][2]string{{"GET", "/admin/users?limit=0"}, {"DELETE", "/admin/users/user_none"}} {
		r := httptest.NewRequest(do[0], do[1], nil)
		r.Header.Set("Authorization", "Bearer "+login.Token)
		w := httptest.NewRecorder()
		api.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Body)
	}
	// Output:
	// 200 {"users":[],"count":1,"offset":0,"limit":0}
	// 403 {"type":"forbidden","message":"Insufficient permissions. Required policies: user:delete","reason":"insufficient_permissions","detail":"user:delete"}
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
	return db, db.Migrate(context.Background(), user.Migrations(), auth.Migrations(), link.Migrations())
}

func openKeys() (*keyring.Ring, error) {
	return keyring.New([]byte("32 bytes or more of random secret"))
}
