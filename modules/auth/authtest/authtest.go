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
//	bad          every Bad is ErrInvalidCredentials in the same words, and leaves nothing behind
//	junk         what is no input at all is the caller's fault, never a failure of the provider
//	secret       what is kept shows in nothing that can be read, and is not what the caller sent
//	change       (auth.Updater) a secret is changed for whom the attempt names, and only by who proves the one of now
//	throttle     (if it keeps secrets) every Bad is refused with ErrThrottled after some failures, whether or not there is
//	             such an entity: see auth.Attempt.Secret
//	concurrency  many at once are one identity (run it under -race)
//
// No error may repeat what the caller sent: texts of six characters and more, wherever an input has them, are looked
// for. So choose values that do not happen to be words of your messages.
//
// A provider with a sign-up of its own (auth.Registrar) registers first. One of two steps (auth.Challenger) that has no
// single step is begun with an empty input, and Good and Bad are what the caller comes back with; "state" is added to
// them. What such a provider asks of others is up to New: give it a server of the test (net/http/httptest).
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

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// Case is a provider, and what it should let in and what not.
type Case struct {
	// New makes the provider, anew for each subtest.
	New func(t *testing.T) auth.Provider

	// Good proves somebody, again and again.
	Good auth.Input

	// Bad are inputs of the right shape that prove nobody, by what is wrong with them: a wrong secret, an unknown person.
	// There should be one of each kind that a stranger must not tell apart.
	Bad map[string]auth.Input

	// Register is what makes Good work first, if the provider is an auth.Registrar; Good itself if it is nil.
	Register auth.Input

	// Junk are further inputs that must be the caller's fault, beside those that the test makes out of Good.
	Junk map[string]auth.Input

	// Vouches says that the provider vouches for the e-mail address of Good: the mailbox is proved to be the person's.
	Vouches bool
}

// Provider is the whole test of a provider.
func Provider(t *testing.T, c Case) {
	t.Helper()
	switch {
	case c.New == nil:
		t.Fatal("authtest: a Case needs New")
	case len(values(c.Good)) == 0:
		t.Fatal("authtest: a Case needs Good, a JSON object with members")
	case len(c.Bad) == 0:
		t.Fatal("authtest: a Case needs Bad: a provider that refuses nobody is none")
	}
	type part struct {
		name string
		run  func(*trial)
	}
	parts := []part{
		{"start", (*trial).start}, {"good", (*trial).good}, {"bad", (*trial).bad}, {"junk", (*trial).junk},
		{"secret", (*trial).secret}, {"concurrency", (*trial).concurrency},
	}
	if _, ok := c.New(t).(auth.Updater); ok {
		parts = append(parts, part{"change", (*trial).change})
	}
	for _, part := range parts {
		t.Run(part.name, func(t *testing.T) { part.run(newTrial(t, c, auth.ThrottleOptions{Disabled: true})) })
	}
	t.Run("throttle", func(t *testing.T) {
		for _, name := range slices.Sorted(maps.Keys(c.Bad)) {
			newTrial(t, c, auth.ThrottleOptions{AccountAddress: auth.Limit{Most: mayFail}, Address: auth.Limit{Most: mayFail}}).throttle(name)
		}
	})
}

// mayFail is how often a Bad may fail in the part throttle.
const mayFail = 3

// throttle has one Bad fail until it is refused.
func (x *trial) throttle(name string) {
	x.register()
	if !x.service.HasSecret(x.provider.Name()) {
		return // limited by address alone
	}
	if _, ok := x.provider.(auth.Authenticator); !ok {
		return
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

// trial is one provider in a service on a database of its own.
type trial struct {
	*testing.T
	Case
	provider auth.Provider
	db       *database.DB
	service  *auth.Service
}

func newTrial(t *testing.T, c Case, throttle auth.ThrottleOptions) *trial {
	t.Helper()
	if c.Register == nil {
		c.Register = c.Good
	}
	keys, err := keyring.New(make([]byte, keyring.MinSecret))
	if err != nil {
		t.Fatal(err)
	}
	x := &trial{T: t, Case: c, provider: c.New(t), db: databasetest.SQLite(t).Open(t, auth.Migrations())}
	if x.service, err = auth.New(auth.Params{DB: x.db, Keys: keys, Providers: []auth.Provider{x.provider},
		Options: auth.Options{Throttle: throttle}}); err != nil {
		t.Fatalf("auth.New does not take the provider: %v", err)
	}
	return x
}

func (x *trial) start() {
	known := x.service.ListAuthProviders()
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
	switch {
	case first.Proved.EmailVerified && !x.Vouches:
		x.Error("the provider vouches for the e-mail address, and the Case does not say so: " +
			"EmailVerified is only for a mailbox that somebody has proved to have")
	case !first.Proved.EmailVerified && x.Vouches:
		x.Errorf("the Case says that the provider vouches for the e-mail address, but it does not: address %q, EmailVerified %t",
			first.Proved.Profile.Email, first.Proved.Profile.EmailVerified)
	}
}

func (x *trial) bad() {
	x.register()
	x.mustSignIn("Good") // so that a first sign-in is not what makes the difference
	before := x.identities()
	text, of := "", ""
	for _, name := range slices.Sorted(maps.Keys(x.Bad)) {
		_, err := x.signIn(x.Bad[name])
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
		x.noEcho(name, x.Bad[name], err)
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
			err := d.enter(in.input)
			switch {
			case err == nil && in.mayPass:
			case err == nil:
				x.Errorf("%s: %s is let in", door, in.name)
			case !callersFault(err):
				x.Errorf("%s: %s is answered as a failure of the provider: %q; wrap auth.ErrInvalidCredentials or auth.ErrInput, "+
					"as the error of Input.Decode does", door, in.name, err)
			}
			if err != nil {
				x.noEcho(door+": "+in.name, in.input, err)
			}
		}
	}
	if after := x.identities(); !slices.Equal(after, before) {
		x.Errorf("there were the identities %v, and after junk there are %v", before, after)
	}
}

func (x *trial) secret() {
	x.register()
	x.mustSignIn("Good")
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
		if bytes.Equal(secret, x.Good) || bytes.Equal(secret, x.Register) {
			x.Error("what is kept as the secret is the input itself: keep what checks it, not what it is")
		}
		for _, value := range append(values(x.Good), values(x.Register)...) {
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
	for i, err := range databasetest.Together(callers, func(i int) error {
		identity, err := x.signIn(x.Good)
		seen[i] = identity.ID
		return err
	}) {
		if err != nil {
			x.Errorf("sign-in %d of %d at once: %v", i, callers, err)
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

// signIn proves a caller by one step or, if the provider has none, by both of two.
func (x *trial) signIn(in auth.Input) (auth.Identity, error) {
	ctx, name := x.Context(), x.provider.Name()
	if _, ok := x.provider.(auth.Authenticator); ok {
		return x.service.Authenticate(ctx, name, in)
	}
	flow, err := x.service.Begin(ctx, name, auth.Input("{}"))
	if err != nil {
		return auth.Identity{}, fmt.Errorf("begin: %w", err)
	}
	return x.service.ValidateCallback(ctx, name, withState(in, flow.ID))
}

func (x *trial) mustSignIn(what string) auth.Identity {
	x.Helper()
	i, err := x.signIn(x.Good)
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
	enter func(auth.Input) error
	good  auth.Input
}

func (x *trial) doors() map[string]door {
	ctx, name := x.Context(), x.provider.Name()
	doors := map[string]door{"sign in": {func(in auth.Input) error { _, err := x.signIn(in); return err }, x.Good}}
	if _, ok := x.provider.(auth.Registrar); ok {
		doors["register"] = door{func(in auth.Input) error { _, err := x.service.Register(ctx, name, in); return err }, x.Register}
	}
	if _, ok := x.provider.(auth.Updater); ok { // proved only, so that nothing changes if one is let in
		doors["update"] = door{func(in auth.Input) error { _, err := x.service.Prove(ctx, auth.Change, name, in); return err }, x.Register}
	}
	return doors
}

// junkInput is one input that nobody should send. mayPass: the member it spoils is one that the provider does without.
type junkInput struct {
	name    string
	input   auth.Input
	mayPass bool
}

func (x *trial) junkInputs(d door) []junkInput {
	all := []junkInput{
		{name: "nothing", input: nil},
		{name: "an empty object", input: auth.Input(`{}`)},
		{name: "null", input: auth.Input(`null`)},
		{name: "an array", input: auth.Input(`[]`)},
		{name: "a text", input: auth.Input(`"a text and no object"`)},
		{name: "a number", input: auth.Input(`20260731`)},
		{name: "half an object", input: auth.Input(`{"unfinished":`)},
		{name: "two objects", input: auth.Input(string(d.good) + string(d.good))},
		{name: "what is no JSON", input: auth.Input(`unquoted=junk&more`)},
		{name: "invalid UTF-8", input: auth.Input("{\"\xff\xfe\":\"\xff\xfe\"}")},
		{name: "a deep one", input: auth.Input(strings.Repeat(`{"a":`, 10_000) + `1` + strings.Repeat(`}`, 10_000))},
		{name: "a huge member", input: auth.Input(`{"` + strings.Repeat("x", huge) + `":1}`)},
	}
	for _, name := range slices.Sorted(maps.Keys(x.Junk)) {
		all = append(all, junkInput{name: name, input: x.Junk[name]})
	}
	var good map[string]json.RawMessage
	if err := json.Unmarshal(d.good, &good); err != nil {
		x.Fatalf("Good or Register is no JSON object: %v", err)
	}
	for _, member := range slices.Sorted(maps.Keys(good)) {
		without := maps.Clone(good)
		delete(without, member)
		err := d.enter(encode(without))
		all = append(all, junkInput{name: "no " + member, input: encode(without), mayPass: err == nil})
		for name, value := range spoiled(good[member]) {
			with := maps.Clone(good)
			with[member] = json.RawMessage(value)
			all = append(all, junkInput{name: member + " as " + name, input: encode(with), mayPass: err == nil})
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
	return errors.Is(err, auth.ErrInvalidCredentials) || errors.Is(err, auth.ErrInput) || fault.KindOf(err) == fault.Invalid
}

// noEcho looks for the texts of the input in the answer.
func (x *trial) noEcho(name string, in auth.Input, err error) {
	x.Helper()
	for _, value := range values(in) {
		if len(value) >= 6 && strings.Contains(strings.ToLower(err.Error()), strings.ToLower(value)) {
			x.Errorf("%s: the answer repeats what the caller sent: %q", name, err)
			return
		}
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

// withState adds the state to an object, and leaves alone what is none.
func withState(in auth.Input, state string) auth.Input {
	var object map[string]json.RawMessage
	if json.Unmarshal(in, &object) != nil || object == nil {
		return in
	}
	object["state"] = json.RawMessage(`"` + state + `"`)
	return encode(object)
}
