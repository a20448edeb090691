// Package authtest is the whole test of an auth provider. A provider's own test is one call:
//
//	func TestProvider(t *testing.T) {
//		authtest.Provider(t, authtest.Case{
//			New:  func(t *testing.T) auth.Provider { return card.New() },
//			Good: auth.Input(`{"card":"ada-0001","pin":"271828"}`),
//			Bad: map[string]auth.Input{
//				"wrong pin":    auth.Input(`{"card":"ada-0001","pin":"314159"}`),
//				"unknown card": auth.Input(`{"card":"eve-0666","pin":"271828"}`),
//			},
//		})
//	}
//
// The provider is used as an application uses it, through a real auth.Service on a SQLite file of its own. What is
// checked, each a subtest:
//
//	start        auth.New takes its name and its capabilities
//	good         Good is the same entity every time, in its canonical spelling if the provider is an auth.Canonicalizer,
//	             and its e-mail is vouched for only if the Case says so
//	claims       who else a caller says they are, beside what is good, is not believed
//	bad          every Bad is ErrInvalidCredentials in the same words, and leaves nothing behind
//	junk         what is no input at all is the caller's fault, never a failure of the provider
//	secret       what is kept shows in nothing that can be read, and is not what the caller sent
//	change       (auth.Updater) a secret is changed for whom the attempt names, and only by who proves the one of now
//	throttle     (one step) every Bad is refused with ErrThrottled after some failures, whether or not there is such an entity;
//	             and guesses at an account are, from however many addresses, until the right secret is refused as well: see
//	             auth.Attempt.Secret
//	unverified   (if the Case has such a person) an address that nobody has proved is not vouched for, and opens no
//	             account of who has it
//	begin        (two steps) the location is an address for a browser, of this flow alone, and tells nothing that is kept
//	flows        (two steps) what somebody comes back with is good once, in the flow it was made for, and in another process, too
//	concurrency  many at once are one identity (run it under -race)
//	first        many first sign-ins at once, through a real link layer, are one user
//
// No error may repeat what the caller sent: texts of six characters and more, wherever an input has them, are looked
// for. So choose values that do not happen to be words of your messages.
//
// A provider with a sign-up of its own (auth.Registrar) registers first.
//
// # Two steps
//
// A provider of two steps (auth.Challenger) is begun with Case.Begin, and Good and Bad are what the caller
// comes back with; "state" is added to them. If that depends on where Begin has sent the caller, Case.Back makes it:
//
//	func TestProvider(t *testing.T) {
//		issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
//		authtest.Provider(t, authtest.Case{
//			New:     func(t *testing.T) auth.Provider { return corp.New(issuer.URL(), issuer.ClientID(), issuer.ClientSecret()) },
//			Back:    issuer.Back,
//			Bad:     map[string]auth.Input{"forged code": auth.Input(`{"code":"code-of-eve-0666"}`)},
//			Vouches: true,
//			Unverified: func(t testing.TB, location string) auth.Input {
//				return issuer.BackAs(t, location, authtest.Person{Subject: "eve-0666", Email: "ada@example.com"})
//			},
//		})
//	}
//
// A provider that has one step and two (auth.Authenticator and auth.Challenger) is tried both ways, and lets its Case.TwoSteps say
// what comes back: all parts for two steps are below "two steps", and
//
//	ways         both ways are the same entity, and what somebody comes back with is good for no sign-in in one step
//
// Issuer is an OpenID Connect issuer, or a server of plain OAuth 2.0, that can misbehave, for the tests of what a provider makes of that. Whatever else a
// provider asks, give it a server of the test (net/http/httptest).
//
//	authtest.go   Case, Provider, and the parts for every provider
//	steps.go      the parts for those of two steps
//	people.go     the parts through a link layer
//	issuer.go     Issuer          issuer_keys.go  its keys          issuer_misbehave.go  what it does wrong on demand
//	brittle.go    how servers break  vendors.go      Issuers as Google's and Microsoft's are  github.go  GitHub, which is none
package authtest

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// Case is a provider, and what it should let in and what not.
type Case struct {
	// New makes the provider, anew for each subtest; two that it has made are the same one in two processes.
	New func(t *testing.T) auth.Provider

	// Good proves somebody, again and again. With Back, its members are put over what that returns, and it may be nil.
	Good auth.Input

	// Bad are inputs of the right shape that prove nobody, by what is wrong with them: a wrong secret, an unknown person.
	// There should be one of each kind that a stranger must not tell apart. With Back, the members of each are put over what
	// that returns.
	Bad map[string]auth.Input

	// Register is what makes Good work first, if the provider is an auth.Registrar; Good itself if it is nil.
	Register auth.Input

	// Junk are further inputs that must be the caller's fault, beside those that the test makes out of what is good. With Back,
	// the members of each are put over what that returns.
	Junk map[string]auth.Input

	// Vouches says that the provider vouches for the e-mail address of Good: the mailbox is proved to be the person's.
	Vouches bool

	// Unverified is what somebody else brings, who claims the address of Good and has not proved it; location is where
	// Begin has sent them, and empty for a provider of one step. A Case that Vouches needs it, or AlwaysVouches.
	Unverified func(t testing.TB, location string) auth.Input

	// AlwaysVouches says that there is nobody like that: who gets in has proved a mailbox, as by a mailed link.
	AlwaysVouches bool

	// Begin is the input with which a provider of two steps is begun; an empty object if it is nil.
	Begin auth.Input

	// Back makes what comes back with whom Good proves, from where Begin has sent them: Issuer.Back is one. If they are sent
	// nowhere, as with a mailed link, location is empty. It is called after the Begin whose answer it is about and before any
	// other, or not at all. A "state" in what it returns must be the flow's; without one it is added.
	Back func(t testing.TB, location string) auth.Input

	// BadBack are like Bad, made as Back makes what is good.
	BadBack map[string]func(t testing.TB, location string) auth.Input

	// Unguessable says of a provider of one step that what proves somebody names no account at which it could be guessed, and is too long
	// for that, such as a signed token: the caller's address alone is what failures are counted by.
	Unguessable bool

	// TwoSteps is about the two steps of a provider that has one as well: how whom Good proves in one step proves themselves in two.
	// It has no New of its own, and what Register is for the one step, if it is nil.
	TwoSteps *Case
}

// Provider is the whole test of a provider.
func Provider(t *testing.T, c Case) {
	t.Helper()
	if c.New == nil {
		t.Fatal("authtest: a Case needs New")
	}
	p := c.New(t)
	_, one := p.(auth.Authenticator)
	_, two := p.(auth.Challenger)
	both := one && two
	switch {
	case both && c.TwoSteps == nil:
		t.Fatal("authtest: a provider that has one step and two needs TwoSteps: whoever signs in may take either, so both are tried")
	case !both && c.TwoSteps != nil, both && (c.TwoSteps.New != nil || c.TwoSteps.TwoSteps != nil):
		t.Fatal("authtest: TwoSteps is for a provider that has one step and two, without a New or a TwoSteps of its own")
	}
	try(t, c, p, two && !one)
	if !both {
		return
	}
	steps := *c.TwoSteps
	steps.New = c.New
	for _, input := range []auth.Input{c.Register, c.Good} {
		if steps.Register == nil {
			steps.Register = input
		}
	}
	t.Run("two steps", func(t *testing.T) { try(t, steps, p, true) })
	t.Run("ways", func(t *testing.T) { ways(t, c, steps) })
}

// try is the test of one way to use a provider: by its two steps, or by one.
func try(t *testing.T, c Case, p auth.Provider, two bool) {
	t.Helper()
	switch {
	case c.Back == nil && len(values(c.Good)) == 0:
		t.Fatal("authtest: a Case needs Good, a JSON object with members, or Back")
	case len(c.Bad)+len(c.BadBack) == 0:
		t.Fatal("authtest: a Case needs Bad: a provider that refuses nobody is none")
	case c.Vouches && c.Unverified == nil && !c.AlwaysVouches:
		t.Fatal("authtest: a Case that Vouches needs Unverified, somebody whose address is not proved; or AlwaysVouches, if there is nobody like that")
	case c.AlwaysVouches && (c.Unverified != nil || !c.Vouches):
		t.Fatal("authtest: a Case that AlwaysVouches also Vouches, and has nobody Unverified")
	}
	type part struct {
		name string
		run  func(*trial)
	}
	parts := []part{
		{"start", (*trial).start}, {"good", (*trial).good}, {"claims", (*trial).claims}, {"bad", (*trial).bad}, {"junk", (*trial).junk},
		{"secret", (*trial).secret}, {"concurrency", (*trial).concurrency}, {"first", (*trial).first},
	}
	if _, ok := p.(auth.Updater); ok {
		parts = append(parts, part{"change", (*trial).change})
	}
	if c.Unverified != nil {
		parts = append(parts, part{"unverified", (*trial).unverified})
	}
	if two {
		parts = append(parts, part{"begin", (*trial).begin}, part{"flows", (*trial).flows})
	} else if c.Back != nil || c.BadBack != nil || c.Begin != nil {
		t.Fatal("authtest: Begin, Back and BadBack are for a provider that has two steps, and for TwoSteps if it has one as well")
	}
	for _, part := range parts {
		t.Run(part.name, func(t *testing.T) { part.run(newTrial(t, c, two, auth.ThrottleOptions{Disabled: true})) })
	}
	if two {
		return
	}
	t.Run("throttle", func(t *testing.T) {
		few := auth.Limit{Most: mayFail}
		throttle := auth.ThrottleOptions{AccountAddress: few, Account: few, Address: few}
		for _, name := range slices.Sorted(maps.Keys(c.Bad)) {
			newTrial(t, c, two, throttle).throttle(name)
		}
		if !c.Unguessable {
			newTrial(t, c, two, throttle).guesses()
		}
	})
}

// mayFail is how often a Bad may fail in the part throttle.
const mayFail = 3

// throttle has one Bad fail until it is refused.
func (x *trial) throttle(name string) {
	x.register()
	if _, err := x.askedFor(x.Bad[name]); !errors.Is(err, auth.ErrThrottled) {
		x.Errorf("%s: %v, where Attempt.Secret says ErrThrottled: the provider asks it for whom there is not, too, and returns its error", name, err)
	}
	ctx := auth.WithClient(x.Context(), auth.Client{IP: "192.0.2.1"})
	for i := range mayFail + 1 {
		_, err := x.service.Authenticate(ctx, x.provider.Name(), x.Bad[name])
		if want := i == mayFail; errors.Is(err, auth.ErrThrottled) != want {
			x.Errorf("%s, attempt %d: %v; throttled should be %t: the provider asks Attempt.Secret before it does the work of a guess, "+
				"for whom there is not too, and returns its error", name, i+1, err, want)
		}
	}
}

// askedFor is whose secret the provider asks for to look at an input, and what it makes of hearing that there were too many attempts.
func (x *trial) askedFor(in auth.Input) (entityID string, err error) {
	x.Helper()
	p, ok := x.provider.(auth.Authenticator)
	if !ok {
		x.Fatal("New makes a provider of one step, and then another")
	}
	_, err = p.Authenticate(x.Context(), auth.Attempt{Input: in, Secret: func(_ context.Context, of string) ([]byte, error) {
		entityID = of
		return nil, auth.ErrThrottled
	}})
	return entityID, err
}

// guesses has every Bad fail at an account, each time from another address, until the account is closed to all.
func (x *trial) guesses() {
	x.register()
	address := 0
	signIn := func(in auth.Input) error {
		address++
		ctx := auth.WithClient(x.Context(), auth.Client{IP: fmt.Sprintf("198.51.%d.%d", 100+address/250, 1+address%250)})
		_, err := x.service.Authenticate(ctx, x.provider.Name(), in)
		return err
	}
	if err := signIn(x.Good); err != nil {
		x.Fatalf("Good is refused: %v", err)
	}
	for _, name := range slices.Sorted(maps.Keys(x.Bad)) {
		if account, _ := x.askedFor(x.Bad[name]); account == "" {
			continue // it can be nobody's
		}
		var err error
		for range mayFail + 1 {
			err = signIn(x.Bad[name])
		}
		if !errors.Is(err, auth.ErrThrottled) {
			x.Errorf("%s is tried again and again, each time from another address, and then the answer is %v, not ErrThrottled: "+
				"ask Attempt.Secret for the same account by the same name, whatever the secret is", name, err)
		}
	}
	if err := signIn(x.Good); !errors.Is(err, auth.ErrThrottled) {
		x.Errorf("Good after many wrong guesses, each from another address: %v, want ErrThrottled. Either a wrong secret is not counted at the account "+
			"that the right one opens: ask Attempt.Secret for both by one name, before the secret is looked at. Or no Bad is a wrong secret of whom Good "+
			"proves: add one. Or nobody can guess there: the Case says Unguessable", err)
	}
}

// trial is one provider in a service on a database of its own.
type trial struct {
	*testing.T
	Case
	provider auth.Provider
	steps    *steps // if it is its two steps that are tried; nil: its one
	db       *database.DB
	service  *auth.Service
	links    *link.Service // over the service; nil: there is none
}

func newTrial(t *testing.T, c Case, two bool, throttle auth.ThrottleOptions) *trial {
	t.Helper()
	if c.Register == nil {
		c.Register = c.Good
	}
	keys, err := keyring.New(make([]byte, keyring.MinSecret))
	if err != nil {
		t.Fatal(err)
	}
	x := &trial{T: t, Case: c, provider: c.New(t), db: databasetest.SQLite(t).Open(t, auth.Migrations())}
	providers := []auth.Provider{x.provider}
	if two {
		challenger, ok := x.provider.(auth.Challenger)
		if !ok {
			t.Fatal("New makes a provider of two steps, and then another")
		}
		x.steps = newSteps(x.provider, challenger)
		providers = []auth.Provider{x.steps.asProvider(), x.steps.as(otherProvider)}
	}
	if x.service, err = auth.New(auth.Params{DB: x.db, Keys: keys, Providers: providers,
		Options: auth.Options{Throttle: throttle}}); err != nil {
		t.Fatalf("auth.New does not take the provider: %v", err)
	}
	return x
}

func (x *trial) start() {
	known := slices.DeleteFunc(x.service.ListAuthProviders(), func(i auth.ProviderInfo) bool { return i.ID == otherProvider })
	if len(known) != 1 || known[0].ID != x.provider.Name() {
		x.Fatalf("the provider is listed as %+v, want its name %q: Name must not change", known, x.provider.Name())
	}
	if known[0].DisplayName == "" {
		x.Error("DisplayName is empty: people would see nothing to click on")
	}
}

func (x *trial) good() {
	x.register()
	first := x.mustSignIn("Good")
	for range 2 {
		again := x.mustSignIn("Good once more")
		if again.EntityID() != first.EntityID() || again.ID != first.ID {
			x.Errorf("Good is entity %q (%s), then %q (%s): an entity id must not change from one sign-in to the next",
				first.EntityID(), first.ID, again.EntityID(), again.ID)
		}
	}
	if c, ok := x.provider.(auth.Canonicalizer); ok {
		if canonical, err := c.CanonicalEntityID(first.EntityID()); err != nil || canonical != first.EntityID() {
			x.Errorf("Good is entity %q, and CanonicalEntityID makes %q of it (%v): what the provider asserts must be canonical itself",
				first.EntityID(), canonical, err)
		}
	}
	_, registers := x.provider.(auth.Registrar) // which gives its entity ids itself, and to nobody twice
	if x.Unverified == nil && !x.AlwaysVouches && !registers && first.EntityID() != "" && strings.EqualFold(first.EntityID(), first.Proved.Profile.Email) {
		x.Errorf("Good is entity %q, their address: it may be given to somebody else, who would be signed in as them. "+
			"If a mailbox is what is proved, the Case says AlwaysVouches; otherwise take what stays the person's", first.EntityID())
	}
	switch {
	case first.Proved.EmailVerified && !x.Vouches:
		x.Error("the provider vouches for the e-mail address, and the Case does not say so: " +
			"EmailVerified is only for a mailbox that somebody has proved to have")
	case !first.Proved.EmailVerified && x.Vouches:
		x.Errorf("the Case says that the provider vouches for the e-mail address, but it does not: address %q, EmailVerified %t",
			first.Proved.Profile.Email, first.Proved.Profile.EmailVerified)
	}
}

// claimed is what callers may say of themselves beside what is good, and nobody may believe them, in the ways in which it stands in the
// answers of those who prove somebody.
var claimed = []string{
	`{"email":"somebody.else@example.com"}`,
	`{"email":"somebody.else@example.com","email_verified":true}`,
	`{"email":"somebody.else@example.com","email_verified":"true"}`,
	`{"mail":"somebody.else@example.com"}`,
	`{"sub":"somebody-else-0001"}`,
	`{"id":"somebody-else-0001"}`,
	`{"uid":"somebody-else-0001","user_id":"somebody-else-0001"}`,
	`{"entity_id":"somebody-else-0001","EntityID":"somebody-else-0001"}`,
	`{"login":"somebody-else-0001","username":"somebody-else-0001","login_hint":"somebody.else@example.com"}`,
	`{"user":"{\"id\":\"somebody-else-0001\",\"email\":\"somebody.else@example.com\"}"}`,
	`{"profile":{"id":"somebody-else-0001","email":"somebody.else@example.com","email_verified":true}}`,
	`{"access_token":"token-of-somebody-else","token_type":"bearer"}`,
	`{"id_token":"` + unsigned + `"}`,
}

// unsigned is an ID token of somebody else that nobody has signed.
var unsigned = base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none"}`)) + "." +
	base64.RawURLEncoding.EncodeToString([]byte(`{"sub":"somebody-else-0001","email":"somebody.else@example.com","email_verified":true}`)) + "."

// claims has whom Good proves say that they are somebody else: with what proves them and, of two steps, to begin with.
func (x *trial) claims() {
	x.register()
	good := x.mustSignIn("Good")
	for _, says := range claimed {
		with := func(good auth.Input) auth.Input {
			object := members(auth.Input(says))
			maps.Copy(object, members(good)) // where what is good has such a member itself, it stays
			return encode(object)
		}
		x.isGood(good, "Good with "+says, x.arrive(with))
		if x.steps == nil {
			continue
		}
		usual := x.Case.Begin
		x.Case.Begin = with(x.beginInput())
		flow, err := x.tryBegin()
		x.Case.Begin = usual
		switch {
		case err == nil:
			x.isGood(good, "Good, begun with "+says, x.back(flow, nil))
		case !callersFault(err):
			x.Errorf("Begin with %s is answered as a failure of the provider: %q", says, err)
		}
	}
}

// isGood wants whom Good proves to be no other, whatever else they say.
func (x *trial) isGood(good auth.Identity, what string, a arrival) {
	x.Helper()
	i, err := x.enter(a.input)
	switch {
	case err != nil && !callersFault(err):
		x.Errorf("%s is answered as a failure of the provider: %q", what, err)
	case err != nil:
	case i.EntityID() != good.EntityID():
		x.Errorf("%s is entity %q, not %q: who somebody is must come from what proves it, and not from what the caller says beside it",
			what, i.EntityID(), good.EntityID())
	case i.Proved.EmailVerified && (!good.Proved.EmailVerified || i.Proved.Email != good.Proved.Email):
		x.Errorf("%s: the provider vouches for the address %q, which only the caller has said to be theirs", what, i.Proved.Email)
	}
}

func (x *trial) bad() {
	x.register()
	x.mustSignIn("Good") // so that a first sign-in is not what makes the difference
	before := x.identities()
	text, of := "", ""
	bad := make(map[string]func() arrival)
	for name, in := range x.Bad {
		bad[name] = func() arrival { return x.arrive(func(good auth.Input) auth.Input { return x.over(good, in) }) }
	}
	for name, back := range x.BadBack {
		bad[name] = func() arrival { return x.arriveBy(back) }
	}
	for _, name := range slices.Sorted(maps.Keys(bad)) {
		a := bad[name]()
		_, err := x.enter(a.input)
		switch {
		case err == nil:
			x.Errorf("%s: is let in", name)
			continue
		case !errors.Is(err, auth.ErrInvalidCredentials):
			x.Errorf("%s: the error is %q, which does not wrap auth.ErrInvalidCredentials", name, err)
		case text == "":
			text, of = err.Error(), name
		case err.Error() != text:
			x.Errorf("%s: the answer is %q, but to %s it is %q: a stranger can tell them apart", name, err, of, text)
		}
		x.noEcho(name, a, err)
	}
	if after := x.identities(); !slices.Equal(after, before) {
		x.Errorf("there were the identities %v, and after refusals there are %v", before, after)
	}
	x.mustSignIn("Good after Bad")
}

func (x *trial) junk() {
	x.register()
	x.mustSignIn("Good")
	before := x.identities()
	for door, d := range x.doors() {
		for _, in := range x.junkInputs(d) {
			a, err := d.enter(in.make)
			switch {
			case err == nil && in.mayPass:
			case err == nil:
				x.Errorf("%s: %s is let in", door, in.name)
			case !callersFault(err):
				x.Errorf("%s: %s is answered as a failure of the provider: %q; wrap auth.ErrInvalidCredentials or auth.ErrInput, "+
					"as the error of Input.Decode does", door, in.name, err)
			}
			if err != nil {
				x.noEcho(door+": "+in.name, a, err)
			}
		}
	}
	if after := x.identities(); !slices.Equal(after, before) {
		x.Errorf("there were the identities %v, and after junk there are %v", before, after)
	}
}

func (x *trial) secret() {
	x.register()
	good := x.arrive(nil)
	if _, err := x.enter(good.input); err != nil {
		x.Fatalf("Good is refused: %v", err)
	}
	identities, err := x.service.ListAuthIdentities(x.Context(), auth.IdentityFilter{}, auth.Page{Limit: 1000})
	if err != nil {
		x.Fatal(err)
	}
	ways, err := x.service.ListProviderIdentities(x.Context(), auth.ProviderIdentityFilter{}, auth.Page{Limit: 1000})
	if err != nil {
		x.Fatal(err)
	}
	shown, err := json.Marshal([]any{identities, ways, x.mustSignIn("Good")})
	if err != nil {
		x.Fatalf("an identity cannot be written as JSON: %v", err)
	}
	var kept [][]byte
	err = x.db.Conn(x.Context()).NewSelect().Table("latchkey_provider_identity").Column("secret").
		Where("secret IS NOT NULL").Scan(x.Context(), &kept)
	if err != nil {
		x.Fatal(err)
	}
	for _, secret := range kept {
		quoted, _ := json.Marshal(string(secret))
		for _, spelling := range []string{
			strings.Trim(string(quoted), `"`), hex.EncodeToString(secret),
			base64.StdEncoding.EncodeToString(secret), base64.RawURLEncoding.EncodeToString(secret),
		} {
			if spelling != "" && bytes.Contains(shown, []byte(spelling)) {
				x.Error("what is kept as the secret can be read in the identity: keep it out of Profile and EntityID")
			}
		}
		if bytes.Equal(secret, good.input) || bytes.Equal(secret, x.Register) {
			x.Error("what is kept as the secret is the input itself: keep what checks it, not what it is")
		}
		for _, value := range append(values(good.input), values(x.Register)...) {
			if string(secret) == value {
				x.Error("what is kept as the secret is a value of the input: keep what checks it, not what it is")
			}
		}
	}
}

func (x *trial) concurrency() {
	const callers = 12
	if _, ok := x.provider.(auth.Registrar); ok {
		for i, err := range databasetest.Together(callers, func(int) error {
			_, err := x.service.Register(x.Context(), x.provider.Name(), x.Register)
			return err
		}) {
			if err != nil && !errors.Is(err, auth.ErrIdentityExists) && !errors.Is(err, auth.ErrInvalidCredentials) {
				x.Errorf("registration %d of %d at once: %v", i, callers, err)
			}
		}
	}
	seen := make([]auth.IdentityID, callers)
	arrivals := x.arriveMany(callers)
	for i, err := range databasetest.Together(callers, func(i int) error {
		identity, err := x.enter(arrivals[i].input)
		seen[i] = identity.ID
		return err
	}) {
		if err != nil {
			x.Errorf("sign-in %d of %d at once: %v", i, callers, err)
		}
	}
	if x.steps != nil {
		for i, err := range databasetest.Together(callers, func(int) error {
			_, err := x.service.Begin(x.Context(), x.provider.Name(), x.beginInput())
			return err
		}) {
			if err != nil {
				x.Errorf("Begin %d of %d at once: %v", i, callers, err)
			}
		}
	}
	if all := x.identities(); len(all) != 1 || slices.ContainsFunc(seen, func(id auth.IdentityID) bool { return id != all[0] }) {
		x.Errorf("of %d sign-ins at once came the identities %v; there are %v, want one", callers, seen, all)
	}
}

// register makes Good work, if the provider wants that.
func (x *trial) register() {
	x.Helper()
	if _, ok := x.provider.(auth.Registrar); !ok {
		return
	}
	if _, err := x.service.Register(x.Context(), x.provider.Name(), x.Register); err != nil {
		x.Fatalf("Register is refused: %v", err)
	}
}

// arrival is somebody who is about to prove themselves.
type arrival struct {
	input auth.Input
	kept  []string // texts that are kept for the flow, and that nobody is to see
}

// arrive has somebody come with what make makes of what is good; nil: with that itself. A provider of two steps is begun.
func (x *trial) arrive(make func(good auth.Input) auth.Input) arrival {
	x.Helper()
	a := arrival{input: x.Good}
	if x.steps != nil {
		a = x.back(x.mustBegin(), nil)
	}
	if make != nil {
		a.input = make(a.input)
	}
	return a
}

// over is one of Bad or of Junk as it is sent in place of what is good.
func (x *trial) over(good, in auth.Input) auth.Input {
	switch {
	case x.steps == nil:
		return in
	case x.Back == nil:
		return withState(in, stateOf(good))
	}
	if in = merged(good, in); stateOf(in) == "" {
		in = withState(in, stateOf(good))
	}
	return in
}

// enter proves a caller by one step or, if it is those that are tried, by the second of two.
func (x *trial) enter(in auth.Input) (auth.Identity, error) {
	ctx, name := x.Context(), x.provider.Name()
	if x.steps == nil {
		return x.service.Authenticate(ctx, name, in)
	}
	return x.service.ValidateCallback(ctx, name, in)
}

func (x *trial) mustSignIn(what string) auth.Identity {
	x.Helper()
	i, err := x.enter(x.arrive(nil).input)
	if err != nil {
		x.Fatalf("%s is refused: %v", what, err)
	}
	return i
}

// change holds the provider to what an auth.Updater promises. The input of Register stands for a new secret.
func (x *trial) change() {
	x.register()
	first := x.mustSignIn("Good")
	updater, _ := x.provider.(auth.Updater)
	secret := func(ctx context.Context, entityID string) ([]byte, error) {
		var kept [][]byte
		err := x.db.Conn(ctx).NewSelect().Table("latchkey_provider_identity").Column("secret").Where("entity_id = ?", entityID).Scan(ctx, &kept)
		if err != nil || len(kept) == 0 {
			return nil, err
		}
		return kept[0], nil
	}
	// Somebody else, whom the input does not speak of.
	const other = "somebody.else@example.com"
	made, err := updater.Update(x.Context(), auth.Attempt{Input: x.Register, EntityID: other, Secret: secret})
	if err == nil && made.EntityID != other {
		x.Errorf("Update changes the secret of %q although Attempt.EntityID says %q: whoever may set one password could set any", made.EntityID, other)
	}
	made, err = updater.Update(x.Context(), auth.Attempt{Input: x.Register, EntityID: first.EntityID(), Secret: secret})
	if err != nil || made.EntityID != first.EntityID() || made.Secret == nil {
		x.Errorf("Update for the entity of Good, with the input of Register: entity %q, a secret: %t, error %v; want a new secret for %q",
			made.EntityID, made.Secret != nil, err, first.EntityID())
	}
	_, err = updater.Update(x.Context(), auth.Attempt{Input: x.Register, EntityID: first.EntityID(), ProveCurrent: true, Secret: secret})
	if !errors.Is(err, auth.ErrInvalidCredentials) {
		x.Errorf("Update with ProveCurrent, for an input that does not prove the secret of now: %v; want ErrInvalidCredentials, "+
			"or whoever finds a signed-in browser sets a password of their own", err)
	}
}

// door is a way by which an input reaches the provider, and an input that is let in.
type door struct {
	enter func(make func(good auth.Input) auth.Input) (arrival, error)
	good  auth.Input
	any   bool // whatever is let in may pass: nobody is proved by it
}

func (x *trial) doors() map[string]door {
	ctx, name := x.Context(), x.provider.Name()
	doors := map[string]door{"sign in": {good: x.arrive(nil).input, enter: func(make func(auth.Input) auth.Input) (arrival, error) {
		a := x.arrive(make)
		_, err := x.enter(a.input)
		return a, err
	}}}
	with := func(good auth.Input, call func(auth.Input) error) func(func(auth.Input) auth.Input) (arrival, error) {
		return func(make func(auth.Input) auth.Input) (arrival, error) {
			a := arrival{input: make(good)}
			return a, call(a.input)
		}
	}
	if _, ok := x.provider.(auth.Registrar); ok {
		doors["register"] = door{good: x.Register, enter: with(x.Register, func(in auth.Input) error {
			_, err := x.service.Register(ctx, name, in)
			return err
		})}
	}
	if _, ok := x.provider.(auth.Updater); ok { // proved only, so that nothing changes if one is let in
		doors["update"] = door{good: x.Register, enter: with(x.Register, func(in auth.Input) error {
			_, err := x.service.Prove(ctx, auth.Change, name, in)
			return err
		})}
	}
	if x.steps != nil {
		doors["begin"] = door{good: x.beginInput(), any: true, enter: with(x.beginInput(), func(in auth.Input) error {
			_, err := x.service.Begin(ctx, name, in)
			return err
		})}
	}
	return doors
}

// junkInput makes one input that nobody should send of one that is good. mayPass: the member it spoils is one that the
// provider does without.
type junkInput struct {
	name    string
	make    func(good auth.Input) auth.Input
	mayPass bool
}

func (x *trial) junkInputs(d door) []junkInput {
	whole := map[string]auth.Input{
		"nothing":         nil,
		"an empty object": auth.Input(`{}`),
		"null":            auth.Input(`null`),
		"an array":        auth.Input(`[]`),
		"a text":          auth.Input(`"a text and no object"`),
		"a number":        auth.Input(`20260731`),
		"half an object":  auth.Input(`{"unfinished":`),
		"what is no JSON": auth.Input(`unquoted=junk&more`),
		"invalid UTF-8":   auth.Input("{\"\xff\xfe\":\"\xff\xfe\"}"),
		"a deep one":      auth.Input(strings.Repeat(`{"a":`, 10_000) + `1` + strings.Repeat(`}`, 10_000)),
		"a huge member":   auth.Input(`{"` + strings.Repeat("x", huge) + `":1}`),
	}
	all := []junkInput{{"two objects", func(good auth.Input) auth.Input { return auth.Input(string(good) + string(good)) }, d.any}}
	for _, name := range slices.Sorted(maps.Keys(whole)) {
		all = append(all, junkInput{name, func(good auth.Input) auth.Input { return withState(whole[name], stateOf(good)) }, d.any})
	}
	for _, name := range slices.Sorted(maps.Keys(x.Junk)) {
		all = append(all, junkInput{name, func(good auth.Input) auth.Input { return x.over(good, x.Junk[name]) }, d.any})
	}
	var good map[string]json.RawMessage
	if err := json.Unmarshal(d.good, &good); err != nil {
		x.Fatalf("Good, Register, Begin or what Back returns is no JSON object: %v", err)
	}
	for _, member := range slices.Sorted(maps.Keys(good)) {
		if member == "state" && x.steps != nil {
			continue // it is auth.Service's, not the provider's
		}
		without := func(good auth.Input) auth.Input {
			object := members(good)
			delete(object, member)
			return encode(object)
		}
		_, err := d.enter(without)
		mayPass := err == nil || d.any
		all = append(all, junkInput{"no " + member, without, mayPass})
		for name := range spoiled(good[member]) {
			all = append(all, junkInput{member + " as " + name, func(good auth.Input) auth.Input {
				object := members(good)
				object[member] = json.RawMessage(spoiled(object[member])[name])
				return encode(object)
			}, mayPass})
		}
	}
	return all
}

// huge is as much as an edge lets through.
const huge = 64 << 10

// spoiled are values of other types than the good one, and texts that nobody should send, by what they are.
func spoiled(good json.RawMessage) map[string]string {
	all := map[string]string{
		"null": `null`, "an empty text": `""`, "an array of it": `[` + string(good) + `]`, "an array": `[]`,
		"an object": `{}`, "an object of it": `{"value":` + string(good) + `}`, "an operator": `{"$ne":""}`,
		"a NUL": `"\u0000"`, "half a surrogate": `"\ud800"`,
		"a huge text": `"` + strings.Repeat("x", huge) + `"`, "a huge number": `1` + strings.Repeat("0", 400), "a broken number": `1e`,
	}
	switch good[0] {
	case '"':
		text := string(good[1 : len(good)-1])
		all["a number"], all["a boolean"] = `20260731`, `true`
		all["it and a NUL"] = `"` + text + `\u0000"`
		all["it and much after a NUL"] = `"` + text + `\u0000trailing"`
		all["it and much more"] = `"` + text + strings.Repeat("x", huge) + `"`
	case 't', 'f':
		all["a number"] = `20260731`
	default:
		all["a boolean"] = `true`
	}
	return all
}

// callersFault reports whether the answer tells the caller off, rather than logging a failure.
func callersFault(err error) bool {
	return errors.Is(err, auth.ErrInvalidCredentials) || errors.Is(err, auth.ErrInput) || errors.Is(err, auth.ErrDeclined) || fault.KindOf(err) == fault.Invalid
}

// noEcho looks for the texts of the input in the answer, and for those that are kept.
func (x *trial) noEcho(name string, a arrival, err error) {
	x.Helper()
	said := func(value string) bool {
		return len(value) >= 6 && strings.Contains(strings.ToLower(err.Error()), strings.ToLower(value))
	}
	switch {
	case err == nil:
	case slices.ContainsFunc(values(a.input), said):
		x.Errorf("%s: the answer repeats what the caller sent: %q", name, err)
	case slices.ContainsFunc(a.kept, said):
		x.Errorf("%s: the answer tells what is kept for the flow: %q", name, err)
	}
}

func (x *trial) identities() (ids []auth.IdentityID) {
	x.Helper()
	found, err := x.service.ListAuthIdentities(x.Context(), auth.IdentityFilter{}, auth.Page{Limit: 1000})
	if err != nil {
		x.Fatal(err)
	}
	for _, i := range found {
		ids = append(ids, i.ID)
	}
	return ids
}

// values are the texts and numbers anywhere in an input; the input itself if it is no JSON.
func values(in auth.Input) []string {
	decoder := json.NewDecoder(bytes.NewReader(in))
	decoder.UseNumber()
	var v any
	if decoder.Decode(&v) != nil {
		return []string{string(in)}
	}
	return leaves(v)
}

func leaves(v any) (found []string) {
	switch v := v.(type) {
	case string:
		found = append(found, v)
	case json.Number:
		found = append(found, v.String())
	case []any:
		for _, e := range v {
			found = append(found, leaves(e)...)
		}
	case map[string]any:
		for _, e := range v {
			found = append(found, leaves(e)...)
		}
	}
	return found
}

func encode(object map[string]json.RawMessage) auth.Input {
	var b strings.Builder // not json.Marshal, which refuses what is broken
	for i, name := range slices.Sorted(maps.Keys(object)) {
		quoted, _ := json.Marshal(name)
		fmt.Fprintf(&b, "%s%s:%s", map[bool]string{true: "{", false: ","}[i == 0], quoted, object[name])
	}
	if len(object) == 0 {
		return auth.Input("{}")
	}
	return auth.Input(b.String() + "}")
}

// members are those of an object; none if it is none.
func members(in auth.Input) map[string]json.RawMessage {
	var object map[string]json.RawMessage
	if json.Unmarshal(in, &object) != nil || object == nil {
		return map[string]json.RawMessage{}
	}
	return object
}

// merged puts the members of one object over those of another; what is no object takes its place.
func merged(under, over auth.Input) auth.Input {
	if object := members(over); len(object) > 0 {
		all := members(under)
		maps.Copy(all, object)
		return encode(all)
	}
	return over
}

// withState adds the state to an object, and leaves alone what is none.
func withState(in auth.Input, state string) auth.Input {
	var object map[string]json.RawMessage
	if json.Unmarshal(in, &object) != nil || object == nil || state == "" {
		return in
	}
	object["state"] = json.RawMessage(`"` + state + `"`)
	return encode(object)
}

// stateOf is the state in an input; empty if there is none.
func stateOf(in auth.Input) (state string) {
	_ = json.Unmarshal(members(in)["state"], &state)
	return state
}
