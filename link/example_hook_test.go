package link_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"strings"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/user"
)

// profile is a row of an application's own table.
type profile struct {
	UserID string `bun:",pk"`
	Plan   string
}

// profiles is that table, with a row for everybody who has become a user.
type profiles struct{ db *database.DB }

func (p profiles) migrate(ctx context.Context) error {
	return p.db.InTx(ctx, func(ctx context.Context) error {
		_, err := p.db.Conn(ctx).ExecContext(ctx, "CREATE TABLE profiles (user_id text PRIMARY KEY, plan text NOT NULL)")
		return err
	})
}

var errNoPlan = errors.New("there is no plan for this domain")

// hook writes the row with bun, in the transaction that makes the user.
func (p profiles) hook() link.Hook {
	return link.Hook{
		Name: "profiles",
		OnProvision: func(ctx context.Context, who link.Provisioned) error {
			if !who.Created {
				return nil // it has a row, from when it was made
			}
			if strings.HasSuffix(who.Profile.Email, "@example.org") {
				return errNoPlan
			}
			_, err := p.db.Conn(ctx).NewInsert().Model(&profile{UserID: who.ActorID, Plan: "free"}).Exec(ctx)
			return err
		},
	}
}

func (p profiles) count(ctx context.Context) (n int) {
	if err := p.db.Conn(ctx).QueryRowContext(ctx, "SELECT count(*) FROM profiles").Scan(&n); err != nil {
		log.Fatal(err)
	}
	return n
}

// An application writes a row of its own for everybody who becomes a user, by whatever way: both are there, or neither.
func ExampleHook() {
	ctx := context.Background()
	users, identities, db, done := openOwn(ctx)
	defer done()
	p := profiles{db}
	if err := p.migrate(ctx); err != nil {
		log.Fatal(err)
	}
	links, err := link.New(link.Params{DB: db, Users: users, Auth: identities, Hooks: []link.Hook{p.hook()}})
	if err != nil {
		log.Fatal(err)
	}

	for _, address := range []string{"ada@example.com", "eve@example.org"} {
		in := auth.Input(fmt.Sprintf(`{"email":%q,"password":"correct horse"}`, address))
		if _, err := identities.Register(ctx, "emailpass", in); err != nil {
			log.Fatal(err)
		}
		_, err := links.SignIn(ctx, "user", "emailpass", in, auth.Client{})
		_, missing := users.FindUser(ctx, address)
		fmt.Println(address, "is a user:", missing == nil, "profiles:", p.count(ctx), "error:", err)
	}
	// Output:
	// ada@example.com is a user: true profiles: 1 error: <nil>
	// eve@example.org is a user: false profiles: 1 error: hook profiles: there is no plan for this domain
}

// The same in the manner of database/sql: the context carries the transaction.
func ExampleHook_databaseSQL() {
	ctx := context.Background()
	users, identities, db, done := openOwn(ctx)
	defer done()
	if err := (profiles{db}).migrate(ctx); err != nil {
		log.Fatal(err)
	}
	hook := link.Hook{Name: "profiles", OnProvision: func(ctx context.Context, who link.Provisioned) error {
		var plan string
		err := db.Conn(ctx).QueryRowContext(ctx, "SELECT plan FROM profiles WHERE user_id = ?", who.ActorID).Scan(&plan)
		if !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		_, err = db.Conn(ctx).ExecContext(ctx, "INSERT INTO profiles (user_id, plan) VALUES (?, ?)", who.ActorID, "free")
		return err
	}}
	links, err := link.New(link.Params{DB: db, Users: users, Auth: identities, Hooks: []link.Hook{hook}})
	if err != nil {
		log.Fatal(err)
	}

	u, err := links.CreateUser(ctx, "emailpass", auth.Input(`{"email":"ada@example.com","password":"correct horse"}`), user.Draft{Email: "ada@example.com"})
	if err != nil {
		log.Fatal(err)
	}
	var plan string
	if err := db.Conn(ctx).QueryRowContext(ctx, "SELECT plan FROM profiles WHERE user_id = ?", string(u.ID)).Scan(&plan); err != nil {
		log.Fatal(err)
	}
	fmt.Println(u.Email, "has the plan", plan)
	// Output: ada@example.com has the plan free
}

// With fx a hook is one line, wherever its constructor gets its arguments from, and so is a policy.
func ExampleAsHook() {
	ctx := context.Background()
	users, identities, db, done := openOwn(ctx)
	defer done()
	var links *link.Service
	app := fx.New(fx.NopLogger,
		link.Module,
		fx.Supply(db, users, identities),
		fx.Provide(link.AsHook(func(db *database.DB) link.Hook { return profiles{db}.hook() })),
		fx.Provide(link.AsPolicy(func() link.Policy { return link.WithRoles(link.AutoProvision{}, "customer") })),
		fx.Invoke(func(db *database.DB) error { return profiles{db}.migrate(ctx) }),
		fx.Populate(&links),
	)
	if err := app.Err(); err != nil {
		log.Fatal(err)
	}
	in := auth.Input(`{"email":"ada@example.com","password":"correct horse"}`)
	if _, err := identities.Register(ctx, "emailpass", in); err != nil {
		log.Fatal(err)
	}
	if _, err := links.SignIn(ctx, "user", "emailpass", in, auth.Client{}); err != nil {
		log.Fatal(err)
	}
	u, err := users.FindUser(ctx, "ada@example.com")
	fmt.Println(u.Roles, err, profiles{db}.count(ctx))
	// Output: [customer] <nil> 1
}

// Policies are put together: whose address counts, which roles there are for a start, and who the new user is.
func ExampleWithDraft() {
	ctx := context.Background()
	policy := link.AllowDomains(link.AutoProvision{}, "example.com")
	policy = link.WithRoles(policy, "staff")
	policy = link.WithDraft(policy, func(_ context.Context, n link.Newcomer, d user.Draft) (user.Draft, error) {
		if n.Identity.Proved.Profile.Metadata["department"] == "Engineering" {
			d.Roles = append(d.Roles, "engineer")
		}
		d.ID = "user_01ARZ3NDEKTSV4RRFFQ69G5FAV" // such as that of the same person in the system of before
		return d, nil
	})

	decide := func(email string, proved bool) {
		n := link.Newcomer{Identity: auth.Identity{Proved: auth.Proved{Email: email, EmailVerified: proved,
			Profile: auth.Profile{Metadata: map[string]any{"department": "Engineering"}}}}}
		d, err := policy.Decide(ctx, n)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(email, proved, "→", d)
	}
	decide("ada@example.com", true)
	decide("ada@example.com", false)
	decide("eve@example.org", true)
	// Output:
	// ada@example.com true → create user_01ARZ3NDEKTSV4RRFFQ69G5FAV with the roles [staff engineer]
	// ada@example.com false → wait: verification_required
	// eve@example.org true → wait: domain_not_allowed
}

// openOwn is what an application opens but for the link layer.
func openOwn(ctx context.Context) (*user.Service, *auth.Service, *database.DB, func()) {
	users, identities, _, done := open(ctx)
	return users, identities, opened, done
}
