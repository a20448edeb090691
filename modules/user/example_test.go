package user_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/sqlite"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Without fx, the module is a function of a database and keys.
func ExampleNew() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "latchkey")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	db, err := sqlite.Open(ctx, filepath.Join(dir, "app.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	if err := db.Migrate(ctx, user.Migrations()); err != nil {
		log.Fatal(err)
	}
	keys, err := keyring.New([]byte("at least 32 bytes that nobody knows"))
	if err != nil {
		log.Fatal(err)
	}
	users, err := user.New(user.Params{DB: db, Keys: keys})
	if err != nil {
		log.Fatal(err)
	}

	_, count, err := users.ListAndCountUsers(ctx, user.Filter{}, user.Page{})
	fmt.Println(count, err)
	// Output: 0 <nil>
}

func ExampleService_CreateUsers() {
	ctx, users, end := open()
	defer end()

	made, err := users.CreateUsers(ctx,
		user.Draft{Email: "Ada@Example.com", FirstName: new("Ada"), Roles: []string{user.RoleAdmin}},
		user.Draft{Email: "bob@example.com"},
	)
	if err != nil {
		log.Fatal(err)
	}
	for _, u := range made {
		fmt.Println(u.Email, u.Roles)
	}

	_, err = users.CreateUsers(ctx, user.Draft{Email: "eve@example.com"}, user.Draft{Email: "bob@example.com"})
	fmt.Println(errors.Is(err, user.ErrEmailTaken), err)
	if bad, ok := errors.AsType[*user.BadItems](err); ok { // there were several drafts: which of them?
		for _, item := range bad.Items {
			fmt.Println(item.Index, item.Err)
		}
	}
	_, count, err := users.ListAndCountUsers(ctx, user.Filter{}, user.Page{})
	fmt.Println(count, err) // all or nothing: no eve
	// Output:
	// ada@example.com [admin]
	// bob@example.com []
	// true Nothing was written, because of 1 of 2 items: [1] User with email: bob@example.com, already exists.
	// 1 User with email: bob@example.com, already exists.
	// 2 <nil>
}

func ExampleService_UpdateUsers() {
	ctx, users, end := open()
	defer end()
	made, err := users.CreateUsers(ctx, user.Draft{FirstName: new("Ada"), LastName: new("Byron"), Metadata: map[string]any{"team": "poetry", "desk": 4}})
	if err != nil {
		log.Fatal(err)
	}

	now, err := users.UpdateUsers(ctx, user.Update{
		ID:        made[0].ID,
		FirstName: user.Clear[string](),
		LastName:  user.Set("Lovelace"),
		Metadata:  user.Set(map[string]any{"team": "analysis", "desk": ""}), // merged: "" removes a key
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(now[0].FirstName, *now[0].LastName, now[0].Metadata)
	// Output: <nil> Lovelace map[team:analysis]
}

// What is set must all match; Or and And hold filters of the same kind.
func ExampleFilter() {
	ctx, users, end := open()
	defer end()
	made, err := users.CreateUsers(ctx,
		user.Draft{Email: "ada@example.com", FirstName: new("Ada"), Roles: []string{user.RoleAdmin}},
		user.Draft{Email: "bob@example.com", FirstName: new("Bob")},
		user.Draft{Email: "eve@example.com", FirstName: new("Eve")},
	)
	if err != nil {
		log.Fatal(err)
	}
	if err := users.SoftDeleteUsers(ctx, made[2].ID); err != nil {
		log.Fatal(err)
	}

	since := made[0].CreatedAt
	for _, f := range []user.Filter{
		{CreatedAt: user.Times{From: since, Until: since.AddDate(0, 0, 1)}},
		{Or: []user.Filter{{Roles: []string{user.RoleAdmin}}, {FirstName: new("Eve")}}},
		{Or: []user.Filter{{Roles: []string{user.RoleAdmin}}, {FirstName: new("Eve")}}, WithDeleted: true},
		{DeletedAt: user.Times{From: since}, WithDeleted: true},
		{CreatedAt: user.Times{NotIn: []user.Span{user.At(since)}}}, // all were made in one call, at one time
	} {
		found, err := users.ListUsers(ctx, f, user.Page{Order: "email"})
		if err != nil {
			log.Fatal(err)
		}
		for _, u := range found {
			fmt.Print(*u.FirstName, " ")
		}
		fmt.Println("-", len(found))
	}
	// Output:
	// Ada Bob - 2
	// Ada - 1
	// Ada Eve - 2
	// Eve - 1
	// - 0
}

// An invite is made, its token is sent, and whoever comes back with it becomes a user.
func ExampleService_CreateInvites() {
	ctx, users, end := open()
	defer end()

	invites, err := users.CreateInvites(ctx, user.InviteDraft{Email: "ada@example.com", Roles: []string{"editor"}})
	if err != nil {
		log.Fatal(err)
	}
	token := users.InviteToken(invites[0], user.ByMail)

	invite, err := users.ValidateInviteToken(ctx, token)
	if err != nil {
		log.Fatal(err)
	}
	if _, err := users.UpdateInvites(ctx, user.InviteUpdate{ID: invite.ID, Accepted: user.Set(true)}); err != nil {
		log.Fatal(err)
	}
	made, err := users.CreateUsers(ctx, user.Draft{
		Email:         invite.Email,
		EmailVerified: invite.Channel == user.ByMail, // who has the mailed token reads that mailbox
		Roles:         invite.Roles,
		Via:           user.ViaInvite,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(made[0].Email, made[0].Roles, made[0].EmailVerified())

	_, err = users.ValidateInviteToken(ctx, token)
	fmt.Println(err)
	// Output:
	// ada@example.com [editor] true
	// This invite was accepted already. Sign in instead.
}

// The same in one transaction, so that of two who come with one token exactly one becomes a user.
func ExampleService_AcceptInvite() {
	ctx, db, users, end := openBoth()
	defer end()
	invites, err := users.CreateInvites(ctx, user.InviteDraft{Email: "ada@example.com"})
	if err != nil {
		log.Fatal(err)
	}
	token := users.InviteToken(invites[0], user.ByMail)

	for range 2 {
		err := db.InTx(ctx, func(ctx context.Context) error {
			invite, err := users.HoldInvite(ctx, token)
			if err != nil {
				return err
			}
			made, err := users.CreateUsers(ctx, user.Draft{Email: invite.Email, EmailVerified: true, Roles: invite.Roles})
			if err != nil {
				return err
			}
			return users.AcceptInvite(ctx, invite, made[0].ID)
		})
		fmt.Println(err)
	}
	// Output:
	// <nil>
	// This invite was accepted already. Sign in instead.
}

func ExampleService_RefreshInviteTokens() {
	ctx, users, end := open()
	defer end()
	invites, err := users.CreateInvites(ctx, user.InviteDraft{Email: "ada@example.com"})
	if err != nil {
		log.Fatal(err)
	}

	refreshed, err := users.RefreshInviteTokens(ctx, invites[0].ID)
	if err != nil {
		log.Fatal(err)
	}

	_, err = users.ValidateInviteToken(ctx, users.InviteToken(invites[0], user.ByMail))
	fmt.Println("old:", err)
	_, err = users.ValidateInviteToken(ctx, users.InviteToken(refreshed[0], user.ByMail))
	fmt.Println("new:", err)
	// Output:
	// old: This invite was renewed. Use the newest link.
	// new: <nil>
}

// open is what ExampleNew shows, for the other examples.
func open() (context.Context, *user.Service, func()) {
	ctx, _, users, end := openBoth()
	return ctx, users, end
}

func openBoth() (context.Context, *database.DB, *user.Service, func()) {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "latchkey")
	if err != nil {
		log.Fatal(err)
	}
	db, err := sqlite.Open(ctx, filepath.Join(dir, "app.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := db.Migrate(ctx, user.Migrations()); err != nil {
		log.Fatal(err)
	}
	keys, err := keyring.New([]byte("at least 32 bytes that nobody knows"))
	if err != nil {
		log.Fatal(err)
	}
	users, err := user.New(user.Params{DB: db, Keys: keys})
	if err != nil {
		log.Fatal(err)
	}
	return ctx, db, users, func() {
		_ = db.Close()
		_ = os.RemoveAll(dir)
	}
}

// Pages that follow each other by place cost the same however far they are, and nobody is on two of them.
func ExamplePage_AfterUser() {
	ctx, users, end := open()
	defer end()
	for _, name := range []string{"Ada", "Bob", "Eve"} {
		if _, err := users.CreateUsers(ctx, user.Draft{FirstName: &name}); err != nil {
			log.Fatal(err)
		}
	}

	for page := (user.Page{Limit: 2, Order: "first_name"}); ; {
		found, err := users.ListUsers(ctx, user.Filter{}, page)
		if err != nil {
			log.Fatal(err)
		}
		for _, u := range found {
			fmt.Print(*u.FirstName, " ")
		}
		fmt.Println("-", len(found))
		if len(found) < page.Limit {
			break
		}
		page = page.AfterUser(found[len(found)-1])
	}
	// Output:
	// Ada Bob - 2
	// Eve - 1
}

// Somebody who leaves and comes back: deactivated they stay and cannot sign in, deleted they are not found, restored they
// are who they were.
func ExampleService_RestoreUsers() {
	ctx, users, end := open()
	defer end()
	made, err := users.CreateUsers(ctx, user.Draft{Email: "ada@example.com", Roles: []string{"editor"}})
	if err != nil {
		log.Fatal(err)
	}
	ada := made[0].ID

	for _, change := range []struct {
		name string
		do   func(context.Context, ...user.ID) error
	}{
		{"deactivated", users.DeactivateUsers}, {"reactivated", users.ReactivateUsers},
		{"deleted", users.SoftDeleteUsers}, {"restored", users.RestoreUsers},
	} {
		if err := change.do(ctx, ada); err != nil {
			log.Fatal(err)
		}
		if u, err := users.RetrieveUser(ctx, ada); err != nil {
			fmt.Println(change.name+":", errors.Is(err, user.ErrNotFound))
		} else {
			fmt.Println(change.name+":", u.Active(), u.Roles)
		}
	}
	// Output:
	// deactivated: false [editor]
	// reactivated: true [editor]
	// deleted: true
	// restored: true [editor]
}

// Each address stands alone: who can be invited is, and the others are told why not.
func ExampleService_InviteEach() {
	ctx, users, end := open()
	defer end()

	results, err := users.InviteEach(ctx,
		user.InviteDraft{Email: "ada@example.com", Message: "See you on Monday."},
		user.InviteDraft{Email: "nonsense"},
		user.InviteDraft{Email: "ada@example.com"},
	)
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range results {
		f, bad := fault.Of(r.Err)
		if bad {
			fmt.Println(f.Reason)
		} else {
			fmt.Println(r.Invite.Email, r.Invite.Message)
		}
	}
	// Output:
	// ada@example.com See you on Monday.
	// invalid_email
	// invite_exists
}

// Invites are listed by what can be done with them.
func ExampleInviteFilter() {
	ctx, users, end := open()
	defer end()
	made, err := users.CreateInvites(ctx,
		user.InviteDraft{Email: "ada@example.com"}, user.InviteDraft{Email: "bob@example.com"}, user.InviteDraft{Email: "eve@example.com"})
	if err != nil {
		log.Fatal(err)
	}
	if _, err := users.UpdateInvites(ctx, user.InviteUpdate{ID: made[1].ID, Accepted: user.Set(true)}); err != nil {
		log.Fatal(err)
	}

	for _, f := range []user.InviteFilter{
		{Status: user.StatusPending}, {Status: user.StatusExpired}, {Status: user.StatusAccepted}, {Q: "eve"},
		{Emails: []string{"Ada@example.com", "bob@example.com"}},
	} {
		found, err := users.ListInvites(ctx, f, user.Page{Order: "email"})
		if err != nil {
			log.Fatal(err)
		}
		for _, i := range found {
			fmt.Print(i.Email, " ")
		}
		fmt.Println("-", len(found))
	}
	// Output:
	// ada@example.com eve@example.com - 2
	// - 0
	// bob@example.com - 1
	// eve@example.com - 1
	// ada@example.com - 1
}
