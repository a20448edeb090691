package link_test

import (
	"context"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database/sqlite"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/user"
)

// The link layer in one call: the first sign-in makes the user, every further one finds it.
func ExampleService_SignIn() {
	ctx := context.Background()
	_, identities, links, done := open(ctx)
	defer done()

	in := auth.Input(`{"email":"ada@example.com","password":"correct horse"}`)
	if _, err := identities.Register(ctx, "emailpass", in); err != nil {
		log.Fatal(err)
	}
	first, err := links.SignIn(ctx, "user", "emailpass", in, auth.Client{})
	if err != nil {
		log.Fatal(err)
	}
	again, err := links.SignIn(ctx, "user", "emailpass", in, auth.Client{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("signed in as a user:", first.ActorID != "")
	fmt.Println("the same user again:", first.ActorID == again.ActorID)
	// Output:
	// signed in as a user: true
	// the same user again: true
}

// The same by hand, as an application does that uses the two modules without the link layer. It suits emailpass only,
// whose entity id is the address, and it makes two users of two first sign-ins at once: SignIn does not.
func Example_byHand() {
	ctx := context.Background()
	users, identities, _, done := open(ctx)
	defer done()

	in := auth.Input(`{"email":"ada@example.com","password":"correct horse"}`)
	if _, err := identities.Register(ctx, "emailpass", in); err != nil {
		log.Fatal(err)
	}
	for range 2 {
		identity, err := identities.Authenticate(ctx, "emailpass", in)
		if err != nil {
			log.Fatal(err)
		}
		_, count, err := users.ListAndCountUsers(ctx, user.Filter{Emails: []string{identity.EntityID()}}, user.Page{})
		if err != nil {
			log.Fatal(err)
		}
		if count == 0 {
			if _, err := users.CreateUsers(ctx, user.Draft{Email: identity.EntityID()}); err != nil {
				log.Fatal(err)
			}
			fmt.Println("made the user", identity.EntityID())
		} else {
			fmt.Println("found the user", identity.EntityID())
		}
	}
	// Output:
	// made the user ada@example.com
	// found the user ada@example.com
}

// A policy of the application's own: only addresses of one domain become users.
func ExamplePolicyFunc() {
	ctx := context.Background()
	policy := link.PolicyFunc(func(ctx context.Context, n link.Newcomer) (link.Decision, error) {
		if n.Identity.Proved.Email == "ada@example.com" {
			return link.AutoProvision{}.Decide(ctx, n)
		}
		return link.Wait(link.Waiting{Reason: "not_staff", Message: "This is for staff.", Next: "Ask for an invite."}), nil
	})
	_, identities, links, done := openWith(ctx, link.Options{Actors: map[string]link.ActorOptions{"user": {Policy: policy}}})
	defer done()

	for _, address := range []string{"ada@example.com", "eve@example.org"} {
		in := auth.Input(fmt.Sprintf(`{"email":%q,"password":"correct horse"}`, address))
		if _, err := identities.Register(ctx, "emailpass", in); err != nil {
			log.Fatal(err)
		}
		login, err := links.SignIn(ctx, "user", "emailpass", in, auth.Client{})
		if err != nil {
			log.Fatal(err)
		}
		if login.Waiting != nil {
			fmt.Println(address, "waits:", login.Waiting.Reason)
		} else {
			fmt.Println(address, "is a user")
		}
	}
	// Output:
	// ada@example.com is a user
	// eve@example.org waits: not_staff
}

// An invite is accepted in a session: of who has registered, and is nobody yet.
func ExampleService_Accept() {
	ctx := context.Background()
	users, _, links, done := open(ctx)
	defer done()
	invites, err := users.CreateInvites(ctx, user.InviteDraft{Email: "ada@example.com", Roles: []string{"editor"}})
	if err != nil {
		log.Fatal(err)
	}
	token := users.InviteToken(invites[0], user.ByMail) // you send it to that address, and show it to nobody

	login, err := links.SignUp(ctx, "user", "emailpass", auth.Input(`{"email":"ada@example.com","password":"correct horse"}`), auth.Client{})
	if err != nil {
		log.Fatal(err)
	}
	for range 2 { // again, because the first answer was lost
		u, err := links.Accept(ctx, login.Session, token, link.Acceptance{FirstName: new("Ada")})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(*u.FirstName, u.Email, u.Roles, u.EmailVerified())
	}

	other, err := links.SignUp(ctx, "user", "emailpass", auth.Input(`{"email":"eve@example.com","password":"correct horse"}`), auth.Client{})
	if err != nil {
		log.Fatal(err)
	}
	_, err = links.Accept(ctx, other.Session, token, link.Acceptance{})
	fmt.Println(err)
	// Output:
	// Ada ada@example.com [editor] true
	// Ada ada@example.com [editor] true
	// This invite was accepted already. Sign in instead.
}

// mails stands for whoever sends the mails: the outbox and the mailer, in the server.
type mails struct{ requested auth.EmailChangeRequested }

func (m *mails) Emit(_ context.Context, events ...event.Event) error {
	for _, e := range events {
		if e, ok := e.(auth.EmailChangeRequested); ok {
			m.requested = e
		}
	}
	return nil
}

// Another address takes two steps: who is signed in proves once more who they are, and then the new mailbox.
func ExampleService_ConfirmEmailChange() {
	ctx := context.Background()
	m := new(mails)
	_, identities, links, done := openListening(ctx, link.Options{}, m)
	defer done()
	in := auth.Input(`{"email":"ada@example.com","password":"correct horse"}`)
	if _, err := identities.Register(ctx, "emailpass", in); err != nil {
		log.Fatal(err)
	}
	login, err := links.SignIn(ctx, "user", "emailpass", in, auth.Client{})
	if err != nil {
		log.Fatal(err)
	}

	err = links.RequestEmailChange(ctx, login.Session, "lovelace@example.com", auth.Input(`{"password":"wrong horse"}`))
	fmt.Println(err)
	err = links.RequestEmailChange(ctx, login.Session, "lovelace@example.com", auth.Input(`{"password":"correct horse"}`))
	if err != nil {
		log.Fatal(err)
	}
	mailed, err := identities.CreateEmailChangeToken(ctx, m.requested) // it goes to the new address, and nowhere else
	if err != nil {
		log.Fatal(err)
	}
	u, _, access, err := links.ConfirmEmailChange(ctx, login.Session, mailed.Token)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(u.Email, u.EmailVerified(), access != "")
	_, _, _, err = links.ConfirmEmailChange(ctx, login.Session, mailed.Token)
	fmt.Println(err)
	// Output:
	// The current password is not right
	// lovelace@example.com true true
	// This link was used already, has expired, or is not valid any more. Ask for the change of address again.
}

func open(ctx context.Context) (*user.Service, *auth.Service, *link.Service, func()) {
	return openWith(ctx, link.Options{})
}

func openWith(ctx context.Context, options link.Options) (*user.Service, *auth.Service, *link.Service, func()) {
	return openListening(ctx, options, nil)
}

// openListening puts the three services on a database file that done removes: all there is to using Latchkey without fx.
func openListening(ctx context.Context, options link.Options, events event.Emitter) (_ *user.Service, _ *auth.Service, _ *link.Service, done func()) {
	dir, err := os.MkdirTemp("", "latchkey")
	if err != nil {
		log.Fatal(err)
	}
	db, err := sqlite.Open(ctx, filepath.Join(dir, "app.db"), nil)
	if err != nil {
		log.Fatal(err)
	}
	if err := db.Migrate(ctx, user.Migrations(), auth.Migrations(), link.Migrations()); err != nil {
		log.Fatal(err)
	}
	keys, err := keyring.New([]byte("32 bytes or more of random secret"))
	if err != nil {
		log.Fatal(err)
	}
	passwords, err := auth.NewPasswords(auth.PasswordParams{Keys: keys, Options: auth.PasswordOptions{Cost: 4}})
	if err != nil {
		log.Fatal(err)
	}
	users, err := user.New(user.Params{DB: db, Keys: keys, Events: events})
	if err != nil {
		log.Fatal(err)
	}
	identities, err := auth.New(auth.Params{DB: db, Keys: keys, Events: events, Providers: []auth.Provider{emailpass.New(passwords, emailpass.Config{})}})
	if err != nil {
		log.Fatal(err)
	}
	links, err := link.New(link.Params{DB: db, Users: users, Auth: identities, Events: events, Options: options})
	if err != nil {
		log.Fatal(err)
	}
	return users, identities, links, func() {
		db.Close()
		os.RemoveAll(dir)
	}
}
