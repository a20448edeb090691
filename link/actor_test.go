package link_test

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

// customer is a row of an application's own table.
type customer struct {
	bun.BaseModel `bun:"table:customers"`

	ID       string `bun:",pk"`
	Email    string `bun:",nullzero"`
	Verified bool
	Blocked  bool
}

// customers keeps them, and is no Matcher: each newcomer is another.
type customers struct {
	db    *database.DB
	ownID func(user.Draft) string // nil: that of the draft
	fails error                   // of CreateActor, after it has written
}

func (*customers) ActorType() string { return "customer" }

func (s *customers) FindActor(ctx context.Context, id string) (link.Actor, error) {
	return s.find(ctx, "id = ?", id)
}

func (s *customers) find(ctx context.Context, where, value string) (link.Actor, error) {
	var c customer
	err := s.db.Conn(ctx).NewSelect().Model(&c).Where(where, value).Scan(ctx)
	if errors.Is(err, sql.ErrNoRows) {
		return link.Actor{}, link.ErrNoActor
	}
	return link.Actor{ID: c.ID, Email: c.Email, EmailVerified: c.Verified, Inactive: c.Blocked, Metadata: map[string]any{"tier": "gold"}}, err
}

func (s *customers) CreateActor(ctx context.Context, d user.Draft) (link.Actor, bool, error) {
	c := customer{ID: string(d.ID), Email: d.Email, Verified: d.EmailVerified}
	if s.ownID != nil {
		c.ID = s.ownID(d)
	}
	created, err := database.Touched(s.db.Conn(ctx).NewInsert().Model(&c).On("CONFLICT (email) DO NOTHING").Exec(ctx))
	if err == nil {
		err = s.fails
	}
	if err != nil || created {
		return link.Actor{ID: c.ID, Email: c.Email, EmailVerified: c.Verified}, created, err
	}
	a, err := s.find(ctx, "email = ?", d.Email)
	return a, false, err
}

func (s *customers) DeleteActor(ctx context.Context, id string) error {
	_, err := s.db.Conn(ctx).NewDelete().Model((*customer)(nil)).Where("id = ?", id).Exec(ctx)
	return err
}

// known are customers who are known by their address.
type known struct{ *customers }

func (s known) FindActorByEmail(ctx context.Context, address string) (link.Actor, error) {
	return s.find(ctx, "email = ?", address)
}

func (s known) VerifyActor(ctx context.Context, a link.Actor) (bool, error) {
	return database.Touched(s.db.Conn(ctx).NewUpdate().Model((*customer)(nil)).Set("verified = ?", true).
		Where("id = ?", a.ID).Where("email = ?", a.Email).Exec(ctx))
}

var customersTable = database.Migrations{Module: "shop", FS: fstest.MapFS{"00001_customers.sql": {Data: []byte(
	"-- +goose Up\nCREATE TABLE customers (id text PRIMARY KEY, email text UNIQUE, verified boolean NOT NULL, blocked boolean NOT NULL);\n-- +goose Down\nDROP TABLE customers;\n")}}}

// shop is a bridge that serves customers, too.
type shop struct {
	bridge
	customers *customers
}

// eachShop runs f on every database. Settings are of the actor type customer.
func eachShop(t *testing.T, settings link.ActorOptions, f func(t *testing.T, s shop)) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, user.Migrations(), auth.Migrations(), link.Migrations(), customersTable)
		s := shop{newBridge(t, db, link.ActorOptions{}), &customers{db: db}}
		s.link = s.serving(t, known{s.customers}, settings)
		f(t, s)
	})
}

func (b bridge) serving(t *testing.T, a link.Actors, settings link.ActorOptions) *link.Service {
	t.Helper()
	l, err := link.New(link.Params{DB: b.db, Users: b.users, Auth: b.auth, Actors: []link.Actors{a},
		Options: link.Options{Actors: map[string]link.ActorOptions{"customer": settings}}})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

func (s shop) as(t *testing.T, actorType, provider string, in auth.Input) link.Login {
	t.Helper()
	l, err := s.link.SignIn(t.Context(), actorType, provider, in, auth.Client{})
	if err != nil {
		t.Fatalf("sign in as %s: %v", actorType, err)
	}
	return l
}

func (s shop) all(t *testing.T) (all []customer) {
	t.Helper()
	if err := s.db.Conn(t.Context()).NewSelect().Model(&all).Order("id").Scan(t.Context()); err != nil {
		t.Fatal(err)
	}
	return all
}

func TestOfManyFirstSignInsAtOnceOneMakesTheCustomer(t *testing.T) {
	eachShop(t, link.ActorOptions{}, func(t *testing.T, s shop) {
		if _, err := s.link.SignUp(t.Context(), "customer", "emailpass", credentials("ada@example.com", "correct horse"), auth.Client{}); err != nil {
			t.Fatal(err)
		}
		seen := make([]string, 100)
		for i, err := range databasetest.Together(len(seen), func(i int) error {
			l, err := s.link.SignIn(t.Context(), "customer", "emailpass", credentials("ada@example.com", "correct horse"), auth.Client{})
			seen[i] = l.ActorID
			return err
		}) {
			if err != nil {
				t.Fatalf("sign-in %d: %v", i, err)
			}
		}
		all := s.all(t)
		if len(all) != 1 || !strings.HasPrefix(all[0].ID, "customer_") || len(slices.Compact(seen)) != 1 || seen[0] != all[0].ID {
			t.Errorf("customers %+v, signed in as %q", all, slices.Compact(seen))
		}
		if n := s.count(t, "user"); n != 0 {
			t.Errorf("%d users were made of a customer", n)
		}
	})
}

// One identity is a user and a customer, each by a session of its own, and stays the one when it is the other no more.
func TestOneIdentityServesSeveralActorTypes(t *testing.T) {
	eachShop(t, link.ActorOptions{}, func(t *testing.T, s shop) {
		s.signUp(t, "ada@example.com", "correct horse")
		asUser := s.as(t, "user", "emailpass", credentials("ada@example.com", "correct horse"))
		asCustomer := s.as(t, "customer", "emailpass", credentials("ada@example.com", "correct horse"))
		if asUser.Identity.ID != asCustomer.Identity.ID || asUser.ActorID == asCustomer.ActorID || asUser.ActorID == "" || asCustomer.ActorID == "" {
			t.Fatalf("user %q by %s, customer %q by %s", asUser.ActorID, asUser.Identity.ID, asCustomer.ActorID, asCustomer.Identity.ID)
		}
		claims, _, err := s.auth.CheckToken(t.Context(), asCustomer.Token)
		if err != nil || claims.ActorType != "customer" || claims.ActorID != asCustomer.ActorID ||
			claims.AppMetadata["customer_id"] != asCustomer.ActorID || claims.AppMetadata["user_id"] != nil {
			t.Errorf("the customer's token says %+v, %v", claims, err)
		}

		if err := s.link.DeleteActors(t.Context(), "customer", asCustomer.ActorID); err != nil {
			t.Fatal(err)
		}
		if len(s.all(t)) != 0 {
			t.Error("the customer is there still")
		}
		for _, token := range []string{asUser.Token, asCustomer.Token} { // they may be one stolen password
			if _, _, err := s.auth.CheckToken(t.Context(), token); !errors.Is(err, auth.ErrSession) && !errors.Is(err, auth.ErrToken) {
				t.Errorf("after the deletion, %v", err)
			}
		}
		if again := s.as(t, "user", "emailpass", credentials("ada@example.com", "correct horse")); again.ActorID != asUser.ActorID {
			t.Errorf("the user is %q, was %q", again.ActorID, asUser.ActorID)
		}
		if err := s.users.DeleteUsers(t.Context(), user.ID(asUser.ActorID)); err != nil {
			t.Fatal(err)
		}
		if n := s.count(t, "auth_identity"); n != 0 {
			t.Errorf("%d identities are left of nobody", n)
		}
	})
}

// What holds for users by their address holds for those whom an application keeps: both sides must be proved, and an account
// that somebody made with an address that is not theirs goes to the owner of the mailbox.
func TestCustomersAreJoinedAndReclaimedByProof(t *testing.T) {
	eachShop(t, link.ActorOptions{}, func(t *testing.T, s shop) {
		squatter, err := s.link.SignUp(t.Context(), "customer", "emailpass", credentials("vic@example.com", "evil horse"), auth.Client{})
		if err != nil {
			t.Fatal(err)
		}
		made := s.as(t, "customer", "emailpass", credentials("vic@example.com", "evil horse"))
		if l := s.as(t, "customer", "vouching", vouched("mallory", "vic@example.com", false)); l.ActorID != "" || l.Waiting == nil || l.Waiting.Reason != "verify_email" {
			t.Errorf("who only claims the address is %q, waiting %v", l.ActorID, l.Waiting)
		}
		owner := s.as(t, "customer", "vouching", vouched("vic", "vic@example.com", true))
		if owner.ActorID != made.ActorID {
			t.Errorf("the owner is %q, want %q", owner.ActorID, made.ActorID)
		}
		for what, token := range map[string]string{"before the sign-in": squatter.Token, "of the sign-in": made.Token} {
			if _, _, err := s.auth.CheckToken(t.Context(), token); err == nil {
				t.Errorf("the squatter's token %s is good", what)
			}
		}
		if l, err := s.link.SignIn(t.Context(), "customer", "emailpass", credentials("vic@example.com", "evil horse"), auth.Client{}); err == nil {
			t.Errorf("the squatter signs in as %q", l.ActorID)
		}
		if other := s.as(t, "customer", "vouching", vouched("vic elsewhere", "vic@example.com", true)); other.ActorID != made.ActorID || other.Identity.ID != owner.Identity.ID {
			t.Errorf("another way of the owner is %q of %s", other.ActorID, other.Identity.ID)
		}
		if all := s.all(t); len(all) != 1 || !all[0].Verified {
			t.Errorf("customers %+v", all)
		}
	})
}

func TestCustomersAreBlockedHeldBackAndServedBySomeProviders(t *testing.T) {
	eachShop(t, link.ActorOptions{Providers: []string{"emailpass"}, RequireVerifiedEmail: true}, func(t *testing.T, s shop) {
		if _, err := s.link.SignIn(t.Context(), "customer", "vouching", vouched("ada", "ada@example.com", true), auth.Client{}); !errors.Is(err, link.ErrProvider) {
			t.Errorf("by a provider that customers may not use: %v", err)
		}
		l, err := s.link.SignUp(t.Context(), "customer", "emailpass", credentials("ada@example.com", "correct horse"), auth.Client{})
		if err != nil {
			t.Fatal(err)
		}
		if held := s.as(t, "customer", "emailpass", credentials("ada@example.com", "correct horse")); held.ActorID != "" || !held.Unproved {
			t.Errorf("before the address is proved: %q", held.ActorID)
		}
		asked := s.lastVerification(t, l.Session, "ada@example.com")
		token, err := s.auth.CreateVerificationToken(t.Context(), asked)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.link.ConfirmVerification(t.Context(), l.Session, token.Token); err != nil {
			t.Fatal(err)
		}
		now := s.as(t, "customer", "emailpass", credentials("ada@example.com", "correct horse"))
		if all := s.all(t); len(all) != 1 || !all[0].Verified || now.ActorID != all[0].ID {
			t.Fatalf("after it: %q of %+v", now.ActorID, all)
		}
		if _, err := s.link.LiveActor(t.Context(), "customer", now.ActorID); err != nil {
			t.Error(err)
		}

		err = s.db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := s.db.Conn(ctx).NewUpdate().Model((*customer)(nil)).Set("blocked = ?", true).Where("id = ?", now.ActorID).Exec(ctx)
			if err != nil {
				return err
			}
			return s.link.EndActors(ctx, "customer", now.ActorID)
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err := s.auth.CheckToken(t.Context(), now.Token); err == nil {
			t.Error("the token of who is blocked is good")
		}
		if _, err := s.link.LiveActor(t.Context(), "customer", now.ActorID); !errors.Is(err, auth.ErrSession) {
			t.Errorf("who is blocked may act: %v", err)
		}
		if _, err := s.link.SignIn(t.Context(), "customer", "emailpass", credentials("ada@example.com", "correct horse"), auth.Client{}); !errors.Is(err, link.ErrDeactivated) {
			t.Errorf("who is blocked signs in: %v", err)
		}
	})
}

// An application may number its actors itself, and its error takes everything along.
func TestTheApplicationGivesIDsAndMayFail(t *testing.T) {
	eachShop(t, link.ActorOptions{}, func(t *testing.T, s shop) {
		s.customers.fails = errors.New("out of stock")
		in := vouched("ada", "ada@example.com", true)
		if l, err := s.link.SignIn(t.Context(), "customer", "vouching", in, auth.Client{}); err == nil || !strings.Contains(err.Error(), "out of stock") {
			t.Fatalf("%q, %v", l.ActorID, err)
		}
		for _, table := range []string{"auth_identity", "provider_identity", "link", "auth_session"} {
			if n := s.count(t, table); n != 0 {
				t.Errorf("%d rows of %s are left", n, table)
			}
		}
		s.customers.fails, s.customers.ownID = nil, func(user.Draft) string { return "4711" }
		if l := s.as(t, "customer", "vouching", in); l.ActorID != "4711" || len(s.all(t)) != 1 {
			t.Errorf("they are %q", l.ActorID)
		}
		if l := s.as(t, "customer", "vouching", in); l.ActorID != "4711" {
			t.Errorf("the second time they are %q", l.ActorID)
		}
	})
}

// Who is gone without the link layer being told is nobody, and does not come to be anew.
func TestACustomerWhoIsGoneSignsInAsNobody(t *testing.T) {
	eachShop(t, link.ActorOptions{}, func(t *testing.T, s shop) {
		l := s.as(t, "customer", "vouching", vouched("ada", "ada@example.com", true))
		if err := s.db.InTx(t.Context(), func(ctx context.Context) error { return s.customers.DeleteActor(ctx, l.ActorID) }); err != nil {
			t.Fatal(err)
		}
		if _, err := s.link.SignIn(t.Context(), "customer", "vouching", vouched("ada", "ada@example.com", true), auth.Client{}); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("%v", err)
		}
		if _, err := s.link.Refresh(t.Context(), l.Session); !errors.Is(err, auth.ErrSession) {
			t.Errorf("refresh: %v", err)
		}
	})
}

// nameless is a type of another name.
type nameless struct {
	*customers
	name string
}

func (n nameless) ActorType() string { return n.name }

func TestNewRefusesActorTypesThatCannotBeServed(t *testing.T) {
	db := databasetest.SQLite(t).Open(t, user.Migrations(), auth.Migrations(), link.Migrations())
	b := newBridge(t, db, link.ActorOptions{})
	serve := func(o link.ActorOptions, of string, names ...string) error {
		var actors []link.Actors
		for _, name := range names {
			actors = append(actors, nameless{&customers{db: db}, name})
		}
		_, err := link.New(link.Params{DB: b.db, Users: b.users, Auth: b.auth, Actors: actors, Options: link.Options{Actors: map[string]link.ActorOptions{of: o}}})
		return err
	}
	for _, c := range []struct {
		options link.ActorOptions
		of      string
		names   []string
		says    string
	}{
		{link.ActorOptions{}, "user", []string{"Customer"}, "lower-case"},
		{link.ActorOptions{}, "user", []string{""}, "lower-case"},
		{link.ActorOptions{}, "user", []string{"session"}, "shadow a route"},
		{link.ActorOptions{}, "user", []string{"user"}, "two actor types"},
		{link.ActorOptions{}, "user", []string{"vendor", "vendor"}, "two actor types"},
		{link.ActorOptions{}, "customer", []string{"vendor"}, "there are user, vendor"},
		{link.ActorOptions{Policy: link.InviteOnly{}}, "vendor", []string{"vendor"}, "nobody is invited"},
		{link.ActorOptions{Providers: []string{"nope"}}, "vendor", []string{"vendor"}, "no such provider"},
	} {
		if err := serve(c.options, c.of, c.names...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%q with options of %s: %v, want it to say %q", c.names, c.of, err, c.says)
		}
	}
}

// A type that is no Matcher tells nobody by an address.
func TestActorsWithoutAMatcherAreNeverJoined(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, user.Migrations(), auth.Migrations(), link.Migrations(), customersTable)
		s := shop{newBridge(t, db, link.ActorOptions{}), &customers{db: db}}
		s.link = s.serving(t, s.customers, link.ActorOptions{})
		s.as(t, "customer", "vouching", vouched("ada", "ada@example.com", true))
		if _, err := s.link.SignIn(t.Context(), "customer", "vouching", vouched("ada elsewhere", "ada@example.com", true), auth.Client{}); err == nil || !strings.Contains(err.Error(), "must be a Matcher") {
			t.Errorf("the second of the address: %v", err)
		}
	})
}

// forecast is what would come of somebody new who proves the address by vouching.
func (s shop) forecast(t *testing.T, actorType, address string) string {
	t.Helper()
	e, err := s.link.Explain(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range e.Forecasts {
		if f.ActorType == actorType && f.Provider == "vouching" && f.IdentityID == "" && f.Proved {
			return strings.TrimSpace(f.Outcome + " " + f.Reason)
		}
	}
	return ""
}

// A user has moved to another address, and the customer whom the same identity signs in has not. Who owns the mailbox of before by
// now is not the user for that.
func TestWhoProvesTheAddressOfACustomerDoesNotBecomeTheUserOfThatIdentity(t *testing.T) {
	eachShop(t, link.ActorOptions{}, func(t *testing.T, s shop) {
		asUser := s.as(t, "user", "vouching", vouched("ada", "old@example.com", true))
		asCustomer := s.as(t, "customer", "vouching", vouched("ada", "old@example.com", true))
		if got := s.forecast(t, "customer", "old@example.com"); got != "join" {
			t.Errorf("while it is theirs, the forecast is %q", got)
		}
		if _, err := s.users.ChangeEmail(t.Context(), user.ID(asUser.ActorID), "old@example.com", "new@example.com"); err != nil {
			t.Fatal(err)
		}
		s.as(t, "user", "vouching", vouched("ada", "new@example.com", true))

		if got := s.forecast(t, "customer", "old@example.com"); got != "refuse already_linked" {
			t.Errorf("the forecast is %q", got)
		}
		later := vouched("eve", "old@example.com", true)
		if l, err := s.link.SignIn(t.Context(), "customer", "vouching", later, auth.Client{}); !errors.Is(err, link.ErrLinked) {
			t.Errorf("who has the old address is customer %q, %v", l.ActorID, err)
		}
		if l := s.as(t, "user", "vouching", later); l.ActorID == asUser.ActorID || l.ActorID == "" {
			t.Errorf("who has the old address is user %q", l.ActorID)
		}
		if l := s.as(t, "customer", "vouching", vouched("ada", "new@example.com", true)); l.ActorID != asCustomer.ActorID {
			t.Errorf("the customer is %q, was %q", l.ActorID, asCustomer.ActorID)
		}
	})
}

// Who has proved their address as a customer is not put out of the user whom the same identity signs in, when they come by another
// provider: it is one person.
func TestWhoHasProvedTheirAddressAsACustomerKeepsTheUser(t *testing.T) {
	eachShop(t, link.ActorOptions{}, func(t *testing.T, s shop) {
		password, provider := credentials("ada@example.com", "correct horse"), vouched("ada", "ada@example.com", true)
		s.signUp(t, "ada@example.com", "correct horse")
		actors := map[string]string{}
		for _, as := range []string{"user", "customer"} {
			actors[as] = s.as(t, as, "emailpass", password).ActorID
		}
		session := s.as(t, "customer", "emailpass", password).Session
		if _, err := s.link.RequestVerification(t.Context(), session, auth.VerificationRequest{Email: "ada@example.com"}); err != nil {
			t.Fatal(err)
		}
		token, err := s.auth.CreateVerificationToken(t.Context(), s.lastVerification(t, session, "ada@example.com"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.link.ConfirmVerification(t.Context(), session, token.Token); err != nil {
			t.Fatal(err)
		}
		if got := s.forecast(t, "user", "ada@example.com"); got != "join" {
			t.Errorf("the forecast is %q", got)
		}
		for _, as := range []string{"user", "customer"} {
			if l := s.as(t, as, "vouching", provider); l.ActorID != actors[as] {
				t.Errorf("by the provider they are the %s %q, were %q", as, l.ActorID, actors[as])
			}
			if l := s.as(t, as, "emailpass", password); l.ActorID != actors[as] {
				t.Errorf("by the password they are the %s %q, were %q", as, l.ActorID, actors[as])
			}
		}
		if u, err := s.users.RetrieveUser(t.Context(), user.ID(actors["user"])); err != nil || !u.EmailVerified() {
			t.Errorf("the user's address: %v, %v", u.EmailVerifiedAt, err)
		}
	})
}

// Sessions outlive the program that knew their type.
func TestASessionOfATypeThatIsServedNoMoreHasEnded(t *testing.T) {
	eachShop(t, link.ActorOptions{}, func(t *testing.T, s shop) {
		l := s.as(t, "customer", "vouching", vouched("ada", "ada@example.com", true))
		without, err := link.New(link.Params{DB: s.db, Users: s.users, Auth: s.auth})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := without.Refresh(t.Context(), l.Session); !errors.Is(err, auth.ErrSession) {
			t.Errorf("refresh: %v", err)
		}
		if _, err := without.LiveActor(t.Context(), "customer", l.ActorID); !errors.Is(err, link.ErrActorType) {
			t.Errorf("the actor: %v", err)
		}
		if l := s.as(t, "customer", "vouching", vouched("ada", "ada@example.com", true)); l.ActorID == "" {
			t.Error("where it is served the customer is gone, too")
		}
	})
}

func TestAnIDThatNoTokenCouldHoldMakesNobody(t *testing.T) {
	eachShop(t, link.ActorOptions{}, func(t *testing.T, s shop) {
		for name, id := range map[string]string{"none": "", "a long one": strings.Repeat("x", 256), "no text": "a\xffb"} {
			s.customers.ownID = func(user.Draft) string { return id }
			if l, err := s.link.SignIn(t.Context(), "customer", "vouching", vouched("ada", "ada@example.com", true), auth.Client{}); err == nil || !strings.Contains(err.Error(), "an id that is none") {
				t.Errorf("%s: %q, %v", name, l.ActorID, err)
			}
			if links, all := s.count(t, "link"), s.all(t); links != 0 || len(all) != 0 {
				t.Errorf("%s: %d links and %d customers are left", name, links, len(all))
			}
		}
		odd := "4711 \x1b[2J | ü"
		s.customers.ownID = func(user.Draft) string { return odd }
		l := s.as(t, "customer", "vouching", vouched("ada", "ada@example.com", true))
		claims, _, err := s.auth.CheckToken(t.Context(), l.Token)
		if err != nil || l.ActorID != odd || claims.ActorID != odd {
			t.Errorf("an odd one: %q, %q, %v", l.ActorID, claims.ActorID, err)
		}
	})
}

// Whoever has proved an address as a customer is not taken over as the user they are with it, by whoever accepts an invite to it.
func TestAnInviteTakesNobodyOverWhoHasProvedTheAddressAsAnotherActor(t *testing.T) {
	eachShop(t, link.ActorOptions{}, func(t *testing.T, s shop) {
		in := credentials("ada@example.com", "correct horse")
		s.signUp(t, "ada@example.com", "correct horse")
		asUser, asCustomer := s.as(t, "user", "emailpass", in), s.as(t, "customer", "emailpass", in)
		if _, err := s.link.RequestVerification(t.Context(), asCustomer.Session, auth.VerificationRequest{Email: "ada@example.com"}); err != nil {
			t.Fatal(err)
		}
		token, err := s.auth.CreateVerificationToken(t.Context(), s.lastVerification(t, asCustomer.Session, "ada@example.com"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.link.ConfirmVerification(t.Context(), asCustomer.Session, token.Token); err != nil {
			t.Fatal(err)
		}
		invites, err := s.users.CreateInvites(t.Context(), user.InviteDraft{Email: "ada@example.com"})
		if err != nil {
			t.Fatal(err)
		}
		other := s.as(t, "user", "vouching", vouched("eve", "", false))
		if u, err := s.link.Accept(t.Context(), other.Session, s.users.InviteToken(invites[0], user.ByMail), link.Acceptance{}); !errors.Is(err, link.ErrEmailTaken) {
			t.Errorf("accepted as %s, %v", u.ID, err)
		}
		if again := s.as(t, "user", "emailpass", in); again.ActorID != asUser.ActorID {
			t.Errorf("they are %q, were %q", again.ActorID, asUser.ActorID)
		}
	})
}
