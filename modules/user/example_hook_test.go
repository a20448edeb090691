package user_test

import (
	"context"
	"fmt"
	"log"
	"regexp"
	"slices"

	"github.com/uptrace/bun"
	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/user"
)

// profile is a row of an application's own table.
type profile struct {
	UserID user.ID `bun:",pk"`
	Plan   string
}

// profiles is that table, with a row for each user.
type profiles struct{ db *database.DB }

func (p profiles) migrate(ctx context.Context) error {
	return p.db.InTx(ctx, func(ctx context.Context) error {
		_, err := p.db.Conn(ctx).ExecContext(ctx, "CREATE TABLE profiles (user_id text PRIMARY KEY, plan text NOT NULL)")
		return err
	})
}

// hook keeps the table in step with the users, whoever makes and deletes them.
func (p profiles) hook() user.Hook {
	return user.Hook{
		Name: "profiles",
		OnCreate: func(ctx context.Context, users []user.User) error {
			for some := range slices.Chunk(users, 500) { // CreateUsers may bring 10,000 at once
				rows := make([]profile, len(some))
				for i, u := range some {
					rows[i] = profile{UserID: u.ID, Plan: "free"}
				}
				if _, err := p.db.Conn(ctx).NewInsert().Model(&rows).Exec(ctx); err != nil {
					return err
				}
			}
			return nil
		},
		OnDelete: func(ctx context.Context, ids []user.ID) error {
			for some := range slices.Chunk(ids, 500) {
				if _, err := p.db.Conn(ctx).NewDelete().Model((*profile)(nil)).Where("user_id IN (?)", bun.List(some)).Exec(ctx); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

func (p profiles) count(ctx context.Context) (n int) {
	if err := p.db.Conn(ctx).QueryRowContext(ctx, "SELECT count(*) FROM profiles").Scan(&n); err != nil {
		log.Fatal(err)
	}
	return n
}

// An application keeps a table of its own beside ours: the rows of both are written in one transaction, or none is.
func ExampleHook() {
	ctx, db, keys, end := openOwn()
	defer end()
	p := profiles{db}
	if err := p.migrate(ctx); err != nil {
		log.Fatal(err)
	}
	users, err := user.New(user.Params{DB: db, Keys: keys, Hooks: []user.Hook{p.hook()}})
	if err != nil {
		log.Fatal(err)
	}

	made, err := users.CreateUsers(ctx, user.Draft{Email: "ada@example.com"}, user.Draft{Email: "bob@example.com"})
	fmt.Println(len(made), err, p.count(ctx))
	err = users.SoftDeleteUsers(ctx, made[1].ID)
	fmt.Println(err, p.count(ctx))

	err = db.InTx(ctx, func(ctx context.Context) error { // what the application does together
		if _, err := users.CreateUsers(ctx, user.Draft{Email: "eve@example.com"}); err != nil {
			return err
		}
		return fmt.Errorf("eve has not paid")
	})
	fmt.Println(err, p.count(ctx))
	// Output:
	// 2 <nil> 2
	// <nil> 1
	// eve has not paid 1
}

// With fx a hook is one line, wherever its constructor gets its arguments from.
func ExampleAsHook() {
	ctx, db, keys, end := openOwn()
	defer end()
	var users *user.Service
	app := fx.New(fx.NopLogger,
		user.Module,
		fx.Supply(db, keys),
		fx.Provide(user.AsHook(func(db *database.DB) user.Hook { return profiles{db}.hook() })),
		fx.Invoke(func(db *database.DB) error { return profiles{db}.migrate(ctx) }),
		fx.Populate(&users),
	)
	if err := app.Err(); err != nil {
		log.Fatal(err)
	}
	_, err := users.CreateUsers(ctx, user.Draft{Email: "ada@example.com"})
	fmt.Println(err, profiles{db}.count(ctx))
	// Output: <nil> 1
}

// Metadata may be anything, unless the application says what it is to be.
func ExampleOptions_checkMetadata() {
	ctx, db, keys, end := openOwn()
	defer end()
	color := regexp.MustCompile(`^#[0-9a-f]{6}$`)
	errColor := fault.New(fault.Invalid, "color_invalid", "metadata.color must be like #00ff7f.")
	users, err := user.New(user.Params{DB: db, Keys: keys, Options: user.Options{
		CheckMetadata: func(_ context.Context, of user.MetadataOf, metadata map[string]any) error {
			if v, there := metadata["color"]; there && of == user.OfUser {
				if s, ok := v.(string); !ok || !color.MatchString(s) {
					return errColor
				}
			}
			return nil
		},
	}})
	if err != nil {
		log.Fatal(err)
	}

	made, err := users.CreateUsers(ctx, user.Draft{Metadata: map[string]any{"color": "#00ff7f"}})
	if err != nil {
		log.Fatal(err)
	}
	_, err = users.UpdateUsers(ctx, user.Update{ID: made[0].ID, Metadata: user.Set(map[string]any{"color": "red"})})
	fmt.Println(err)
	f, _ := fault.Of(err) // what the HTTP API answers: 400, and this text
	fmt.Println(f.Reason, f.Message)
	// Output:
	// check metadata of user: metadata.color must be like #00ff7f.
	// color_invalid metadata.color must be like #00ff7f.
}

// openOwn is what an application opens: a database with the module's tables, and its keys.
func openOwn() (context.Context, *database.DB, *keyring.Ring, func()) {
	ctx, db, _, end := openBoth()
	keys, err := keyring.New([]byte("at least 32 bytes that nobody knows"))
	if err != nil {
		log.Fatal(err)
	}
	return ctx, db, keys, end
}
