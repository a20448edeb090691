package auth_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/sqlite"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// The module alone, without fx: a database, a key, the providers.
func Example() {
	db, keys, done := open()
	defer done()
	ctx := context.Background()

	fast := auth.PasswordOptions{Cost: 4} // for this example; leave it out for what people's passwords deserve
	passwords, err := auth.NewPasswords(auth.PasswordParams{Keys: keys, Options: fast})
	if err != nil {
		log.Fatal(err)
	}
	identities, err := auth.New(auth.Params{
		DB: db, Keys: keys,
		Providers: []auth.Provider{emailpass.New(passwords, emailpass.Config{})},
	})
	if err != nil {
		log.Fatal(err)
	}

	ada, err := identities.Register(ctx, "emailpass", auth.Input(`{"email":"ada@example.com","password":"correct horse"}`))
	if err != nil {
		log.Fatal(err)
	}
	session, err := identities.OpenSession(ctx, ada, "customer", auth.Client{})
	if err != nil {
		log.Fatal(err)
	}
	token, err := identities.Token(session, ada, auth.Actor{})
	if err != nil {
		log.Fatal(err)
	}

	// With every request:
	claims, session, err := identities.CheckToken(ctx, token)
	fmt.Println(claims.ActorType, session.IdentityID == ada.ID, err)

	// To sign out:
	if err := identities.EndSession(ctx, session.ID); err != nil {
		log.Fatal(err)
	}
	_, _, err = identities.CheckToken(ctx, token)
	fmt.Println(err)
	// Output:
	// customer true <nil>
	// The session has ended. Sign in again.
}

// What Medusa answers with success, authIdentity and error is a value and an error here.
func ExampleService_Authenticate() {
	identities, done := withEmailpass()
	defer done()
	ctx := context.Background()

	identity, err := identities.Authenticate(ctx, "emailpass", auth.Input(`{"email":"Ada@example.com","password":"correct horse"}`))
	fmt.Println(identity.EntityID(), err)

	_, err = identities.Authenticate(ctx, "emailpass", auth.Input(`{"email":"ada@example.com","password":"incorrect"}`))
	fmt.Println(errors.Is(err, auth.ErrInvalidCredentials), err)
	// Output:
	// ada@example.com <nil>
	// true Invalid email or password
}

// People who come from elsewhere bring their ways to sign in along, secrets included. All of them are made or none.
func ExampleService_CreateAuthIdentities() {
	identities, done := withEmailpass()
	defer done()
	ctx := context.Background()

	grace := auth.IdentityDraft{
		AppMetadata: map[string]any{"plan": "pro"},
		Providers: []auth.ProviderIdentityDraft{{
			Provider: "emailpass", EntityID: "Grace@example.com", Email: "grace@example.com", EmailVerified: true,
			Secret: hashOfElsewhere, // as Passwords.Hash made it there; nothing reads it back
		}},
	}
	ada := auth.IdentityDraft{Providers: []auth.ProviderIdentityDraft{{Provider: "emailpass", EntityID: "ada@example.com"}}}
	_, err := identities.CreateAuthIdentities(ctx, grace, ada)
	fmt.Println(errors.Is(err, auth.ErrEntityTaken), err)

	made, err := identities.CreateAuthIdentities(ctx, grace)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(made[0].Providers[0].EntityID, made[0].AppMetadata)
	_, count, err := identities.ListAndCountAuthIdentities(ctx, auth.IdentityFilter{Provider: "emailpass"}, auth.Page{Limit: 1, Order: "-created_at"})
	fmt.Println(count, err)
	// Output:
	// true Provider identity with provider: emailpass, entity_id: ada@example.com, already exists.
	// grace@example.com map[plan:pro]
	// 2 <nil>
}

func ExampleService_UpdateAuthIdentities() {
	identities, done := withEmailpass()
	defer done()
	ctx := context.Background()
	found, err := identities.ListAuthIdentities(ctx, auth.IdentityFilter{EntityID: "ada@example.com"}, auth.Page{})
	if err != nil {
		log.Fatal(err)
	}

	for _, change := range []auth.MetadataUpdate{
		auth.Merge(map[string]any{"plan": "pro", "seats": 4}),
		auth.Merge(map[string]any{"seats": ""}), // "" removes a key
		auth.Clear(),
	} {
		now, err := identities.UpdateAuthIdentities(ctx, auth.IdentityUpdate{ID: found[0].ID, AppMetadata: change})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(now[0].AppMetadata)
	}
	// Output:
	// map[plan:pro seats:4]
	// map[plan:pro]
	// map[]
}

func ExampleService_UpdateProviderIdentities() {
	identities, done := withEmailpass()
	defer done()
	ctx := context.Background()
	ways, err := identities.ListProviderIdentities(ctx, auth.ProviderIdentityFilter{Email: "ada@example.com"}, auth.Page{})
	if err != nil {
		log.Fatal(err)
	}

	now, err := identities.UpdateProviderIdentities(ctx, auth.ProviderIdentityUpdate{
		ID: ways[0].ID, UserMetadata: auth.Merge(map[string]any{"nickname": "Countess"}),
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(now[0].EntityID, now[0].UserMetadata)
	// Output: ada@example.com map[nickname:Countess]
}

// A second way to sign in is linked, and the first unlinked, which signs the person out. The last one stays.
func ExampleService_DeleteProviderIdentities() {
	identities, done := withEmailpass()
	defer done()
	ctx := context.Background()
	ada, err := identities.Authenticate(ctx, "emailpass", auth.Input(`{"email":"ada@example.com","password":"correct horse"}`))
	if err != nil {
		log.Fatal(err)
	}

	second, err := identities.CreateProviderIdentities(ctx, auth.ProviderIdentityDraft{
		IdentityID: ada.ID, Provider: "emailpass", EntityID: "ada@example.org", Secret: hashOfElsewhere,
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(identities.DeleteProviderIdentities(ctx, ada.Providers[0].ID))

	err = identities.DeleteProviderIdentities(ctx, second[0].ID)
	fmt.Println(errors.Is(err, auth.ErrLastWay))
	// Output:
	// <nil>
	// true
}

// hashOfElsewhere stands for a secret that an app brings along.
var hashOfElsewhere = []byte("$2b$10$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2")

// Prove is the slow half and Admit the quick one, so that an app's own rows can be written in Admit's transaction.
func ExampleService_Admit() {
	db, keys, done := open()
	defer done()
	ctx := context.Background()
	identities, err := auth.New(auth.Params{DB: db, Keys: keys, Providers: []auth.Provider{badge{}}})
	if err != nil {
		log.Fatal(err)
	}

	proof, err := identities.Prove(ctx, auth.SignIn, "badge", auth.Input(`{"badge":"0001"}`))
	if err != nil {
		log.Fatal(err)
	}
	err = db.InTx(ctx, func(ctx context.Context) error {
		identity, err := identities.Admit(ctx, proof)
		if err != nil {
			return err
		}
		fmt.Println(identity.EntityID(), "is new:", identity.Proved.Created)
		return errors.New("no desk is free") // of the app's own work, which fails here
	})
	left, _ := identities.ListAuthIdentities(ctx, auth.IdentityFilter{}, auth.Page{})
	fmt.Println(err, len(left))
	// Output:
	// ada is new: true
	// no desk is free 0
}

// badge is a whole provider: it lets in who holds a badge, and keeps nothing. Its whole test is one call to
// authtest.Provider.
type badge struct{}

func (badge) Name() string { return "badge" }

func (badge) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	var in struct {
		Badge string `json:"badge"`
	}
	if err := a.Input.Decode(&in); err != nil {
		return auth.Assertion{}, err
	}
	person, ok := map[string]string{"0001": "ada", "0002": "grace"}[in.Badge]
	if _, err := a.Secret(ctx, person); err != nil { // counts who is tried, or that nobody is: too many failures are refused
		return auth.Assertion{}, err
	}
	if !ok {
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	return auth.Assertion{EntityID: person}, nil
}

// A provider of your own is a value among the others. The first sign-in makes the identity, and the next finds it.
func ExampleProvider() {
	db, keys, done := open()
	defer done()
	ctx := context.Background()
	identities, err := auth.New(auth.Params{DB: db, Keys: keys, Providers: []auth.Provider{badge{}}})
	if err != nil {
		log.Fatal(err)
	}
	for _, in := range []string{`{"badge":"0001"}`, `{"badge":"0001"}`, `{"badge":"0666"}`} {
		identity, err := identities.Authenticate(ctx, "badge", auth.Input(in))
		fmt.Printf("%q new: %t, %v\n", identity.EntityID(), identity.Proved.Created, err)
	}
	// Output:
	// "ada" new: true, <nil>
	// "ada" new: false, <nil>
	// "" new: false, The credentials are not valid.
}

// With fx a provider is one line, wherever its constructor gets its arguments from.
func ExampleAsProvider() {
	db, keys, done := open()
	defer done()
	var identities *auth.Service
	app := fx.New(fx.NopLogger,
		auth.Module,
		fx.Supply(db, keys),
		fx.Provide(auth.AsProvider(func() badge { return badge{} })),
		fx.Populate(&identities),
	)
	if err := app.Err(); err != nil {
		log.Fatal(err)
	}
	for _, p := range identities.ListAuthProviders() {
		fmt.Println(p.ID, p.Flow)
	}
	// Output: badge credentials
}

// open returns a database with the module's tables and a key, for the examples. An app keeps its secret.
func open() (db *database.DB, keys *keyring.Ring, done func()) {
	dir, err := os.MkdirTemp("", "example")
	if err == nil {
		db, err = sqlite.Open(context.Background(), filepath.Join(dir, "example.db"), nil)
	}
	if err == nil {
		err = db.Migrate(context.Background(), auth.Migrations())
	}
	if err == nil {
		keys, err = keyring.New([]byte("32 random bytes that are secret."))
	}
	if err != nil {
		log.Fatal(err)
	}
	return db, keys, func() { db.Close(); os.RemoveAll(dir) }
}

// withEmailpass returns a service in which Ada is registered.
func withEmailpass() (*auth.Service, func()) {
	db, keys, done := open()
	passwords, err := auth.NewPasswords(auth.PasswordParams{Keys: keys, Options: auth.PasswordOptions{Cost: 4}}) // 12 if not set
	if err != nil {
		log.Fatal(err)
	}
	s, err := auth.New(auth.Params{DB: db, Keys: keys, Providers: []auth.Provider{emailpass.New(passwords, emailpass.Config{})}})
	if err == nil {
		_, err = s.Register(context.Background(), "emailpass", auth.Input(`{"email":"ada@example.com","password":"correct horse"}`))
	}
	if err != nil {
		log.Fatal(err)
	}
	return s, done
}

// A limit of the application's own, kept and shared like those of sign-ins: how often a coupon may be guessed.
func ExampleService_Try() {
	db, keys, done := open()
	defer done()
	identities, err := auth.New(auth.Params{DB: db, Keys: keys, Providers: []auth.Provider{}})
	if err != nil {
		log.Fatal(err)
	}
	coupons := auth.Limit{Name: "shop coupon", Most: 3, Per: time.Hour}
	noCoupon := fault.New(fault.Invalid, "no_coupon", "There is no such coupon.")
	for _, code := range []string{"SPRING", "SUMMER", "AUTUMN", "WINTER"} {
		err := identities.Try(context.Background(), coupons, "customer 42", func(context.Context) error {
			if code != "WINTER" {
				return noCoupon
			}
			return nil
		})
		fmt.Printf("%s: %v\n", code, err)
	}
	// Output:
	// SPRING: There is no such coupon.
	// SUMMER: There is no such coupon.
	// AUTUMN: There is no such coupon.
	// WINTER: Too many attempts. Wait a while, then try again.
}
