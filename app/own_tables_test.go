package app_test

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/uptrace/bun"
	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

// An application's own table is there before its hook is first called, by whichever command comes first.
func TestTablesOfTheApplicationAreMadeWithOurs(t *testing.T) {
	mine := app.WithMigrations(database.Migrations{Module: "profiles", FS: fstest.MapFS{"00001_profiles.sql": {Data: []byte(
		"-- +goose Up\nCREATE TABLE profiles (user_id text PRIMARY KEY);\n-- +goose Down\nDROP TABLE profiles;\n")}}})
	hook := fx.Provide(user.AsHook(func(db *database.DB) user.Hook {
		return user.Hook{Name: "profiles", OnCreate: func(ctx context.Context, users []user.User) error {
			_, err := db.Conn(ctx).NewRaw("INSERT INTO profiles (user_id) VALUES (?)", users[0].ID).Exec(ctx)
			return err
		}}
	}))
	for first, args := range map[string][]string{
		"user": {"user", "-e", "ada@example.com", "-p", "correct horse"}, "migrate": {"migrate"}, "status": {"migrate", "--status"},
	} {
		t.Run(first, func(t *testing.T) {
			databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
				db := at.Open(t)
				t.Chdir(t.TempDir())
				for _, v := range environment(t.TempDir(), at, "LATCHKEY_DATABASE_URL="+at.URL) {
					name, value, _ := strings.Cut(v, "=")
					t.Setenv(name, value)
				}
				run := func(args ...string) string {
					var out, errs bytes.Buffer
					if code := app.Run(&out, &errs, args, mine, hook); code != 0 {
						t.Fatalf("%q: exit %d\n%s%s", args, code, &out, &errs)
					}
					return out.String()
				}
				listed := run(args...)
				if first != "user" && !strings.Contains(listed, "profiles") {
					t.Errorf("they are not listed:\n%s", listed)
				}
				if first == "status" && !strings.Contains(listed, "pending") {
					t.Errorf("they were applied by a look at them:\n%s", listed)
				}
				if first != "user" {
					run("user", "-e", "ada@example.com", "-p", "correct horse")
				}
				var n int
				if err := db.Conn(t.Context()).(*bun.DB).NewRaw("SELECT count(*) FROM profiles").Scan(t.Context(), &n); err != nil || n != 1 {
					t.Errorf("%d rows, %v; want that of the user", n, err)
				}
			})
		})
	}
}
