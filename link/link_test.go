package link_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/user"
)

func TestMain(m *testing.M) { databasetest.Main(m) }

// bridge is everything the link layer ties together, on one database.
type bridge struct {
	db    *database.DB
	users *user.Service
	auth  *auth.Service
	link  *link.Service
}

// vouching is a provider that takes everybody's word for their name, and says of their address what the input says.
type vouching struct{}

func (vouching) Name() string { return "vouching" }

func (vouching) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	var in struct {
		Name     string `json:"name"`
		Email    string `json:"email"`
		Verified bool   `json:"verified"`
	}
	if err := a.Input.Decode(&in); err != nil {
		return auth.Assertion{}, err
	}
	if _, err := a.Secret(ctx, in.Name); err != nil {
		return auth.Assertion{}, err
	}
	if in.Name == "" {
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	if profile, ok := saying.Load(in.Name); ok {
		return auth.Assertion{EntityID: in.Name, Profile: profile.(auth.Profile)}, nil
	}
	return auth.Assertion{EntityID: in.Name, Profile: auth.Profile{Email: in.Email, EmailVerified: in.Verified}}, nil
}

// saying is what vouching says of somebody beyond what the input says, an auth.Profile by name.
var saying sync.Map

func newBridge(t testing.TB, db *database.DB, options link.ActorOptions) bridge {
	t.Helper()
	return newBridgeWith(t, db, options, auth.Options{})
}

func newBridgeWith(t testing.TB, db *database.DB, options link.ActorOptions, ofAuth auth.Options) bridge {
	t.Helper()
	return newBridgeHashing(t, db, options, ofAuth, 4)
}

func newBridgeHashing(t testing.TB, db *database.DB, options link.ActorOptions, ofAuth auth.Options, cost int) bridge {
	t.Helper()
	keys, err := keyring.New(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	passwords, err := auth.NewPasswords(auth.PasswordParams{Keys: keys, Options: auth.PasswordOptions{Cost: cost, MaxWait: time.Minute}}) // -race makes bcrypt slow
	if err != nil {
		t.Fatal(err)
	}
	ofAuth.Throttle.MaxWait = time.Minute
	b := bridge{db: db}
	if b.users, err = user.New(user.Params{DB: db, Keys: keys}); err != nil {
		t.Fatal(err)
	}
	providers := []auth.Provider{emailpass.New(passwords, emailpass.Config{}), vouching{}}
	if b.auth, err = auth.New(auth.Params{DB: db, Keys: keys, Providers: providers, Options: ofAuth}); err != nil {
		t.Fatal(err)
	}
	b.link, err = link.New(link.Params{DB: db, Users: b.users, Auth: b.auth,
		Options: link.Options{Actors: map[string]link.ActorOptions{link.ActorUser: options}}})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// each runs f on a bridge over every database.
func each(t *testing.T, f func(t *testing.T, b bridge)) {
	eachWith(t, link.ActorOptions{}, f)
}

func eachWith(t *testing.T, options link.ActorOptions, f func(t *testing.T, b bridge)) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, user.Migrations(), auth.Migrations(), link.Migrations())
		f(t, newBridge(t, db, options))
	})
}

func credentials(email, password string) auth.Input {
	return auth.Input(fmt.Sprintf(`{"email":%q,"password":%q}`, email, password))
}

func vouched(name, email string, verified bool) auth.Input {
	return auth.Input(fmt.Sprintf(`{"name":%q,"email":%q,"verified":%t}`, name, email, verified))
}

func (b bridge) signUp(t testing.TB, email, password string) link.Login {
	t.Helper()
	l, err := b.link.SignUp(t.Context(), "user", "emailpass", credentials(email, password), auth.Client{})
	if err != nil {
		t.Fatalf("sign up %s: %v", email, err)
	}
	return l
}

func (b bridge) signIn(ctx context.Context, provider string, in auth.Input) (link.Login, error) {
	return b.link.SignIn(ctx, "user", provider, in, auth.Client{})
}

// count returns how many rows a table has.
func (b bridge) count(t testing.TB, table string) int {
	t.Helper()
	n, err := b.db.Conn(t.Context()).NewSelect().TableExpr("latchkey_" + table).Count(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return int(n)
}

func TestOfManyFirstSignInsAtOnceOneMakesTheUserAndAllSucceed(t *testing.T) {
	each(t, func(t *testing.T, b bridge) {
		b.signUp(t, "ada@example.com", "correct horse")
		seen := make([]string, 200)
		for i, err := range databasetest.Together(len(seen), func(i int) error {
			l, err := b.signIn(t.Context(), "emailpass", credentials("ada@example.com", "correct horse"))
			seen[i] = l.ActorID
			return err
		}) {
			if err != nil {
				t.Fatalf("sign-in %d: %v", i, err)
			}
			if seen[i] == "" || seen[i] != seen[0] {
				t.Fatalf("sign-in %d became user %q, another %q", i, seen[i], seen[0])
			}
		}
		if users, links := b.count(t, "user"), b.count(t, "link"); users != 1 || links != 1 {
			t.Errorf("%d users and %d links, want one of each", users, links)
		}
	})
}

func TestTwoIdentitiesOfOneAddressBecomeOneUser(t *testing.T) {
	for _, verified := range []bool{false, true} {
		t.Run(fmt.Sprintf("verified=%t", verified), func(t *testing.T) {
			each(t, func(t *testing.T, b bridge) {
				b.signUp(t, "ada@example.com", "correct horse")
				for i, err := range databasetest.Together(100, func(i int) (err error) {
					if i%2 == 0 {
						_, err = b.signIn(t.Context(), "emailpass", credentials("ada@example.com", "correct horse"))
					} else {
						_, err = b.signIn(t.Context(), "vouching", vouched("ada", "ada@example.com", verified))
					}
					// Whoever proves the mailbox takes the address from an identity that did not. The password is nobody's from then on,
					// and who goes on trying it has soon tried too often.
					if i%2 == 0 && verified && (errors.Is(err, auth.ErrInvalidCredentials) || errors.Is(err, auth.ErrThrottled)) {
						return nil
					}
					return err
				}) {
					if err != nil {
						t.Errorf("sign-in %d: %v", i, err)
					}
				}
				if n := b.count(t, "user"); n != 1 {
					t.Errorf("%d users, want one", n)
				}
				if n := b.count(t, "link"); n != 1 {
					t.Errorf("%d links, want one", n)
				}
			})
		})
	}
}

func TestTwoProvedIdentitiesOfOneAddressJoin(t *testing.T) {
	each(t, func(t *testing.T, b bridge) {
		_, err := b.link.CreateUser(t.Context(), "emailpass", credentials("ada@example.com", "correct horse"), user.Draft{Email: "ada@example.com"})
		if err != nil {
			t.Fatal(err)
		}
		for i, err := range databasetest.Together(100, func(i int) (err error) {
			if i%2 == 0 {
				_, err = b.signIn(t.Context(), "emailpass", credentials("ada@example.com", "correct horse"))
			} else {
				_, err = b.signIn(t.Context(), "vouching", vouched("ada", "ada@example.com", true))
			}
			return err
		}) {
			if err != nil {
				t.Errorf("sign-in %d: %v", i, err)
			}
		}
		if users, links, identities := b.count(t, "user"), b.count(t, "link"), b.count(t, "auth_identity"); users != 1 || links != 1 || identities != 1 {
			t.Errorf("%d users, %d links, %d identities, want one of each", users, links, identities)
		}
		if n := b.count(t, "provider_identity"); n != 2 {
			t.Errorf("%d provider identities, want both ways to sign in", n)
		}
	})
}

func TestDeletingAnIdentityTakesItsLinkAlong(t *testing.T) {
	each(t, func(t *testing.T, b bridge) {
		b.signUp(t, "ada@example.com", "correct horse")
		l, err := b.signIn(t.Context(), "emailpass", credentials("ada@example.com", "correct horse"))
		if err != nil {
			t.Fatal(err)
		}
		if err := b.auth.DeleteAuthIdentities(t.Context(), l.Identity.ID); err != nil {
			t.Fatal(err)
		}
		if links, users := b.count(t, "link"), b.count(t, "user"); links != 0 || users != 1 {
			t.Errorf("%d links and %d users, want no link and the user, whose rows the application has", links, users)
		}
	})
}

// moves is AutoProvision while somebody else, who commits first, moves the user that it has decided to join.
type moves struct {
	db   *database.DB
	once *sync.Once
}

func (p moves) Decide(ctx context.Context, n link.Newcomer) (d link.Decision, err error) {
	if n.Match != nil {
		p.once.Do(func() {
			_, err = p.db.Conn(ctx).NewUpdate().TableExpr("latchkey_user").Set("email = 'moved@example.com'").Where("id = ?", n.Match.ID).Exec(ctx)
		})
	}
	if err != nil {
		return link.Decision{}, err
	}
	return link.AutoProvision{}.Decide(ctx, n)
}

func TestAUserWhoMovesWhileTheyAreJoinedIsDecidedAnew(t *testing.T) {
	each(t, func(t *testing.T, b bridge) {
		first, err := b.signIn(t.Context(), "vouching", vouched("ada", "ada@example.com", true))
		if err != nil {
			t.Fatal(err)
		}
		s := b.with(t, moves{b.db, new(sync.Once)})
		l, err := s.SignIn(t.Context(), "user", "vouching", vouched("ada again", "ada@example.com", true), auth.Client{})
		if err != nil || l.ActorID == "" || l.ActorID == first.ActorID {
			t.Errorf("%q, %v, want a user of their own beside %q", l.ActorID, err, first.ActorID)
		}
	})
}
