package authtest

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
)

// callbackURL is where callers come back to.
const callbackURL = "https://app.example.com/auth/user/callback"

// browser is what a browser keeps, in which somebody signs in through a link layer.
const browser = "a secret of 26 characters.."

// otherProvider is the provider once more, by another name in the same service.
const otherProvider = "authtest-other"

// steps is a provider of two steps as a front end uses it: it says where callers come back to. It looks over the
// shoulder, too: what is kept for a flow is known here.
type steps struct {
	auth.Provider
	auth.Challenger
	alias string // in place of its name; empty: none

	mu   sync.Mutex
	kept map[string][]byte // by the flow's id
}

func newSteps(p auth.Provider, c auth.Challenger) *steps {
	return &steps{Provider: p, Challenger: c, kept: make(map[string][]byte)}
}

// as is the same by another name, with nothing but its two steps.
func (s *steps) as(name string) *steps {
	other := newSteps(s.Provider, s.Challenger)
	other.alias = name
	return other
}

// asProvider has the capabilities of the provider, beside those that the wrapper stands in for.
func (s *steps) asProvider() auth.Provider {
	r, registers := s.Provider.(auth.Registrar)
	u, updates := s.Provider.(auth.Updater)
	switch {
	case registers && updates:
		return struct {
			*steps
			auth.Registrar
			auth.Updater
		}{s, r, u}
	case registers:
		return struct {
			*steps
			auth.Registrar
		}{s, r}
	case updates:
		return struct {
			*steps
			auth.Updater
		}{s, u}
	}
	return s
}

func (s *steps) Name() string { return cmp.Or(s.alias, s.Provider.Name()) }

func (s *steps) DisplayName() string {
	if d, ok := s.Provider.(auth.Describer); ok {
		return d.DisplayName()
	}
	return s.Name()
}

func (s *steps) CanonicalEntityID(entityID string) (string, error) {
	if c, ok := s.Provider.(auth.Canonicalizer); ok {
		return c.CanonicalEntityID(entityID)
	}
	return entityID, nil
}

func (s *steps) CheckSecret(secret []byte) error {
	if c, ok := s.Provider.(auth.SecretChecker); ok {
		return c.CheckSecret(secret)
	}
	return nil
}

func (s *steps) Begin(ctx context.Context, a auth.Attempt) (auth.Challenge, error) {
	a.CallbackURL = cmp.Or(a.CallbackURL, callbackURL)
	c, err := s.Challenger.Begin(ctx, a)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept[a.FlowID] = c.State
	return c, err
}

func (s *steps) Finish(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	a.CallbackURL = cmp.Or(a.CallbackURL, callbackURL)
	return s.Challenger.Finish(ctx, a)
}

// of returns what is kept for a flow.
func (s *steps) of(flow string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.kept[flow]
}

func (x *trial) beginInput() auth.Input {
	if x.Case.Begin == nil {
		return auth.Input("{}")
	}
	return x.Case.Begin
}

func (x *trial) mustBegin() auth.Flow {
	x.Helper()
	flow, err := x.tryBegin()
	if err != nil {
		x.Fatalf("Begin is refused: %v", err)
	}
	return flow
}

func (x *trial) tryBegin() (auth.Flow, error) {
	if x.links != nil {
		return x.links.Begin(x.Context(), x.provider.Name(), x.beginInput(), auth.Binding{ActorType: link.ActorUser, CallbackURL: callbackURL, Browser: browser}, auth.Client{})
	}
	return x.service.Begin(x.Context(), x.provider.Name(), x.beginInput())
}

// back has somebody come back from where a flow has sent them: nil is whom Good proves.
func (x *trial) back(flow auth.Flow, by func(testing.TB, string) auth.Input) arrival {
	x.Helper()
	in := x.Good
	switch {
	case by != nil:
		in = by(x.T, flow.RedirectURL)
	case x.Back != nil:
		in = x.Back(x.T, flow.RedirectURL)
		if len(x.Good) > 0 {
			in = merged(in, x.Good)
		}
	}
	switch stateOf(in) {
	case "":
		in = withState(in, flow.ID)
	case flow.ID:
	default:
		if by == nil {
			x.Fatalf("the caller comes back with another state than the flow's: Begin must send Attempt.FlowID as state, or nobody finds the flow again")
		}
	}
	return arrival{input: in, kept: values(x.steps.of(flow.ID))}
}

// arriveBy is arrive for somebody else.
func (x *trial) arriveBy(by func(testing.TB, string) auth.Input) arrival {
	x.Helper()
	if x.steps == nil {
		return arrival{input: by(x.T, "")}
	}
	return x.back(x.mustBegin(), by)
}

// arriveMany has as many come as there are to sign in at once.
func (x *trial) arriveMany(callers int) []arrival {
	x.Helper()
	all := make([]arrival, callers)
	for i := range all {
		all[i] = x.arrive(nil)
	}
	return all
}

// begin looks at where a caller is sent.
func (x *trial) begin() {
	first, second := x.mustBegin(), x.mustBegin()
	if a, b := x.steps.of(first.ID), x.steps.of(second.ID); x.Back != nil && len(a) > 0 && string(a) == string(b) {
		x.Error("the same is kept for two flows: what one caller was given would do for another")
	}
	if x.Back == nil || first.RedirectURL == "" {
		return // they are sent nowhere, or nobody looks at where
	}
	at, err := url.Parse(first.RedirectURL)
	if err != nil || at.Host == "" || at.User != nil || at.Scheme != "https" && at.Scheme != "http" {
		x.Fatalf("Begin sends the caller to %q: it must be an absolute address, by https (or http, in tests)", first.RedirectURL)
	}
	if first.RedirectURL == second.RedirectURL {
		x.Errorf("Begin sends two callers to the same address, %s: nothing tells their flows apart", first.RedirectURL)
	}
	if to, ok := at.Query()["redirect_uri"]; ok && (len(to) != 1 || to[0] != callbackURL) {
		x.Errorf("Begin has the caller come back to %q: it must be Attempt.CallbackURL, as it is", to)
	}
	kept, challenge := string(x.steps.of(first.ID)), at.Query().Get("code_challenge")
	for _, sent := range at.Query() {
		for _, value := range sent {
			sum := sha256.Sum256([]byte(value))
			switch {
			case len(kept) >= 6 && strings.Contains(value, kept):
				x.Error("what is kept for the flow can be read in the location: whoever sees the address could finish in the caller's place")
			case challenge != "" && base64.RawURLEncoding.EncodeToString(sum[:]) == challenge:
				x.Error("the code_verifier can be read in the location: it must leave only with the code")
			}
		}
	}
}

// flows has people come back with what was made for others, or for another time.
func (x *trial) flows() {
	x.register()
	first := x.arrive(nil)
	if _, err := x.enter(first.input); err != nil {
		x.Fatalf("Good is refused: %v", err)
	}
	before := x.identities()
	refused := func(what string, a arrival) {
		x.Helper()
		_, err := x.enter(a.input)
		switch {
		case err == nil:
			x.Errorf("%s is let in", what)
		case !callersFault(err):
			x.Errorf("%s is answered as a failure of the provider: %q; wrap auth.ErrInvalidCredentials", what, err)
		}
		x.noEcho(what, a, err)
	}
	refused("who comes back twice", first)
	refused("a flow that nobody began", x.arrive(func(good auth.Input) auth.Input { return withState(good, "NOBODYBEGANTHISFLOWEVERATALL") }))
	refused("no flow", x.arrive(func(good auth.Input) auth.Input {
		object := members(good)
		delete(object, "state")
		return encode(object)
	}))
	if other, err := x.service.Begin(x.Context(), otherProvider, x.beginInput()); err != nil {
		x.Errorf("Begin by another name is refused: %v", err)
	} else {
		refused("a flow of another provider", x.arrive(func(good auth.Input) auth.Input { return withState(good, other.ID) }))
	}
	x.elsewhere()
	if x.Back != nil {
		again, mine, theirs := x.mustBegin(), x.arrive(nil), x.mustBegin()
		refused("what was good once, in a flow of its own", into(again, first, x.steps))
		refused("what was made for one browser, in the flow of another", into(theirs, mine, x.steps))
		x.unkept()
	}
	if after := x.identities(); len(after) != len(before) {
		x.Errorf("there were %d identities, and after refusals there are %d", len(before), len(after))
	}
	x.mustSignIn("Good after that")
}

// elsewhere finishes a flow in another process than the one that began it.
func (x *trial) elsewhere() {
	p := x.New(x.T)
	c, ok := p.(auth.Challenger)
	if !ok {
		x.Fatal("New makes a provider of two steps, and then another")
	}
	flow := x.mustBegin()
	_, err := newSteps(p, c).Finish(x.Context(), auth.Attempt{
		Input: x.back(flow, nil).input, State: x.steps.of(flow.ID),
		Secret: func(context.Context, string) ([]byte, error) { return nil, nil },
	})
	if err != nil {
		x.Errorf("what one process has begun is refused by another, as after a restart: %v; what lasts between two steps belongs into Challenge.State", err)
	}
}

// into is what somebody comes back with, brought into a flow of somebody else.
func into(flow auth.Flow, a arrival, s *steps) arrival {
	return arrival{input: withState(a.input, flow.ID), kept: values(s.of(flow.ID))}
}

// unkept finishes flows of which something else is kept, or nothing: the provider must not do without.
func (x *trial) unkept() {
	other := x.steps.of(x.mustBegin().ID)
	if len(other) == 0 {
		return // it keeps nothing; the swap of browsers says what comes of that
	}
	for what, state := range map[string][]byte{
		"nothing":                     nil,
		"an empty text":               {},
		"an empty object":             []byte("{}"),
		"no JSON":                     []byte("\xff\x00"),
		"what another flow's is":      other,
		"what another flow's is, cut": other[:len(other)/2],
	} {
		a := x.arrive(nil)
		found, err := x.steps.Finish(x.Context(), auth.Attempt{
			Input: a.input, State: state,
			Secret: func(context.Context, string) ([]byte, error) { return nil, nil },
		})
		if err == nil {
			x.Errorf("where %s is kept for the flow, entity %q is let in: Finish must hold what comes back against Attempt.State", what, found.EntityID)
		}
	}
}

// ways holds the two ways to use a provider of both against each other.
func ways(t *testing.T, c, steps Case) {
	one := newTrial(t, c, false, auth.ThrottleOptions{Disabled: true})
	two := newTrial(t, steps, true, auth.ThrottleOptions{Disabled: true})
	one.register()
	two.register()
	if a, b := one.mustSignIn("Good"), two.mustSignIn("Good of TwoSteps"); a.EntityID() != b.EntityID() {
		t.Errorf("Good is entity %q in one step and %q in two: the same person must be the same entity, whichever way they take", a.EntityID(), b.EntityID())
	}
	if steps.Back == nil {
		return // the same is typed, perhaps, for either
	}
	a := two.arrive(nil)
	_, err := one.enter(a.input)
	switch {
	case err == nil:
		t.Error("what somebody comes back with is let in by one step: there no flow binds it to the browser that it was made for")
	case !callersFault(err):
		t.Errorf("what somebody comes back with is answered in one step as a failure of the provider: %q; wrap auth.ErrInvalidCredentials or auth.ErrInput", err)
	}
	one.noEcho("what somebody comes back with, in one step", a, err)
}
