package authtest_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
)

// pins is a provider as it should be. Each of broken is one that differs from it in one way.
type pins struct{}

func (pins) Name() string { return "pins" }

func (pins) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	person, pin, err := readPin(a.Input)
	if err != nil {
		return auth.Assertion{}, err
	}
	kept, err := a.Secret(ctx, person)
	if err != nil {
		return auth.Assertion{}, err
	}
	if subtle.ConstantTimeCompare(kept, digest(pin)) != 1 && string(kept) != pin { // one of broken keeps the pin itself
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	return auth.Assertion{EntityID: person, Profile: auth.Profile{Email: person}}, nil
}

func (pins) Register(_ context.Context, a auth.Attempt) (auth.Assertion, error) {
	person, pin, err := readPin(a.Input)
	if err != nil {
		return auth.Assertion{}, err
	}
	return auth.Assertion{EntityID: person, Profile: auth.Profile{Email: person}, Secret: digest(pin)}, nil
}

func readPin(in auth.Input) (person, pin string, err error) {
	var body struct{ Person, Pin string }
	if err := in.Decode(&body); err != nil {
		return "", "", err
	}
	if body.Person == "" || body.Pin == "" || len(body.Person)+len(body.Pin) > 200 {
		return "", "", auth.ErrInput
	}
	return body.Person, body.Pin, nil
}

func digest(pin string) []byte { sum := sha256.Sum256([]byte(pin)); return sum[:] }

var pinCase = authtest.Case{
	New:  func(*testing.T) auth.Provider { return pins{} },
	Good: auth.Input(`{"Person":"ada@example.com","Pin":"271828"}`),
	Bad: map[string]auth.Input{
		"wrong pin":      auth.Input(`{"Person":"ada@example.com","Pin":"314159"}`),
		"unknown person": auth.Input(`{"Person":"eve@example.com","Pin":"271828"}`),
	},
	Junk: map[string]auth.Input{"other case": auth.Input(`{"person":"ada@example.com","pin":"271828"}`)},
}

func TestARegistrarAsItShouldBePasses(t *testing.T) { authtest.Provider(t, pinCase) }

// callback is a provider of two steps as it should be.
type callback struct{}

func (callback) Name() string { return "callback" }

func (callback) Begin(context.Context, auth.Attempt) (auth.Challenge, error) {
	return auth.Challenge{RedirectURL: "https://id.example.com/", State: []byte("kept")}, nil
}

func (callback) Finish(_ context.Context, a auth.Attempt) (auth.Assertion, error) {
	var in struct {
		Code string `json:"code"`
	}
	if err := a.Input.Decode(&in); err != nil {
		return auth.Assertion{}, err
	}
	if in.Code != "code-of-ada" || string(a.State) != "kept" {
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	return auth.Assertion{EntityID: "ada", Profile: auth.Profile{Email: "ada@example.com", EmailVerified: true}}, nil
}

// changing is pins whose secret can be changed; two of broken do not care for what they are asked.
type changing struct {
	pins
	anybody, unproved bool
}

func (c changing) Update(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	found, err := c.Register(ctx, a)
	if err != nil {
		return auth.Assertion{}, err
	}
	if a.EntityID != "" && !c.anybody {
		found.EntityID = a.EntityID
	}
	if a.ProveCurrent && !c.unproved {
		var body struct{ Current string }
		if err := a.Input.Decode(&body); err != nil {
			return auth.Assertion{}, err
		}
		kept, err := a.Secret(ctx, found.EntityID)
		if err != nil {
			return auth.Assertion{}, err
		}
		if subtle.ConstantTimeCompare(kept, digest(body.Current)) != 1 {
			return auth.Assertion{}, auth.ErrInvalidCredentials
		}
	}
	return found, nil
}

func TestAnUpdaterAsItShouldBePasses(t *testing.T) {
	c := pinCase
	c.New = func(*testing.T) auth.Provider { return changing{} }
	authtest.Provider(t, c)
}

func TestAProviderOfTwoStepsAsItShouldBePasses(t *testing.T) {
	authtest.Provider(t, authtest.Case{
		New:     func(*testing.T) auth.Provider { return callback{} },
		Good:    auth.Input(`{"code":"code-of-ada"}`),
		Bad:     map[string]auth.Input{"forged code": auth.Input(`{"code":"code-of-eve"}`)},
		Vouches: true,
	})
}

// ada is who signs in at the issuer; eve has an account there, too, and has entered Ada's address.
var eve = authtest.Person{Subject: "eve-0666", Email: "ada@example.com"}

// relyingCase is a Case of relying, without some of its checks.
func relyingCase(t *testing.T, without check) authtest.Case {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	return authtest.Case{
		New:  func(*testing.T) auth.Provider { return newRelying(issuer, without) },
		Back: issuer.Back,
		Bad:  map[string]auth.Input{"forged code": auth.Input(`{"code":"code-of-eve-0666"}`)},
		BadBack: map[string]func(testing.TB, string) auth.Input{
			"who said no": func(t testing.TB, location string) auth.Input {
				issuer.Misbehave(authtest.Denied)
				defer issuer.Behave()
				return issuer.Back(t, location)
			},
			"the answer of another issuer": func(t testing.TB, location string) auth.Input {
				issuer.Misbehave(authtest.WrongIss)
				defer issuer.Behave()
				return issuer.Back(t, location)
			},
		},
		Vouches:    true,
		Unverified: func(t testing.TB, location string) auth.Input { return issuer.BackAs(t, location, eve) },
	}
}

func TestAProviderThatRedirectsAsItShouldBePasses(t *testing.T) {
	authtest.Provider(t, relyingCase(t, ""))
}

// enrolled is callback with a sign-up of its own, and a secret that can be changed.
type enrolled struct {
	callback
	changing changing
}

func (e enrolled) Register(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	return e.changing.Register(ctx, a)
}

func (e enrolled) Update(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	return e.changing.Update(ctx, a)
}

func TestARegistrarOfTwoStepsAsItShouldBePasses(t *testing.T) {
	authtest.Provider(t, authtest.Case{
		New:      func(*testing.T) auth.Provider { return enrolled{} },
		Good:     auth.Input(`{"code":"code-of-ada"}`),
		Bad:      map[string]auth.Input{"forged code": auth.Input(`{"code":"code-of-eve"}`)},
		Register: auth.Input(`{"Person":"ada","Pin":"271828"}`),
		Vouches:  true,
	})
}

// mailed sends people a code, and nowhere.
type mailed struct{ last *atomic.Value }

func (mailed) Name() string        { return "mailed" }
func (mailed) DisplayName() string { return "A code by mail" }

func (m mailed) Begin(_ context.Context, a auth.Attempt) (auth.Challenge, error) {
	var in struct {
		Email string `json:"email"`
	}
	if err := a.Input.Decode(&in); err != nil {
		return auth.Challenge{}, err
	}
	address, err := auth.CanonicalEmail(in.Email)
	if err != nil {
		return auth.Challenge{}, auth.ErrInput
	}
	code := rand.Text()
	m.last.Store(code)
	return auth.Challenge{State: append(digest(code), address...)}, nil
}

func (mailed) Finish(_ context.Context, a auth.Attempt) (auth.Assertion, error) {
	var in struct {
		Code string `json:"code"`
	}
	if err := a.Input.Decode(&in); err != nil {
		return auth.Assertion{}, err
	}
	if len(a.State) < sha256.Size || subtle.ConstantTimeCompare(a.State[:sha256.Size], digest(in.Code)) != 1 {
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	address := string(a.State[sha256.Size:])
	return auth.Assertion{EntityID: address, Profile: auth.Profile{Email: address, EmailVerified: true}}, nil
}

func TestAProviderThatMailsACodeAsItShouldBePasses(t *testing.T) {
	var last atomic.Value
	authtest.Provider(t, authtest.Case{
		New:   func(*testing.T) auth.Provider { return mailed{&last} },
		Begin: auth.Input(`{"email":"ada@example.com"}`),
		Back: func(testing.TB, string) auth.Input {
			return auth.Input(`{"code":"` + last.Load().(string) + `"}`)
		},
		Bad:           map[string]auth.Input{"forged code": auth.Input(`{"code":"code-of-eve-0666"}`)},
		Vouches:       true,
		AlwaysVouches: true,
	})
}

// broken are providers with one fault each, and what the kit must say of it.
var broken = map[string]struct {
	provider auth.Provider
	vouches  bool
	want     string
}{
	"a name that shadows a route": {provider: named{"session"}, want: "auth.New does not take the provider"},
	"no capability":               {provider: nameOnly{}, want: "auth.New does not take the provider"},
	"an entity id that changes":   {provider: &counting{}, want: "an entity id must not change"},
	"asserts another spelling":    {provider: shouting{}, want: "what the provider asserts must be canonical itself"},
	"vouches without a reason": {want: "vouches for the e-mail address, and the Case does not say so", provider: signIn(func(a auth.Assertion, err error) (auth.Assertion, error) {
		a.Profile.EmailVerified = true
		return a, err
	})},
	"does not vouch": {vouches: true, provider: pins{}, want: "but it does not"},
	"tells unknown from wrong": {want: "a stranger can tell them apart", provider: asked(func(in string, err error) error {
		if errors.Is(err, auth.ErrInvalidCredentials) && strings.Contains(in, "eve@") {
			return auth.ErrInvalidCredentials.Msg("Who is that?")
		}
		return err
	})},
	"a failure for the caller's fault": {want: "does not wrap auth.ErrInvalidCredentials", provider: asked(func(_ string, err error) error {
		if errors.Is(err, auth.ErrInvalidCredentials) {
			return errors.New("no match")
		}
		return err
	})},
	"a failure for junk": {want: "is answered as a failure of the provider", provider: asked(func(_ string, err error) error {
		if errors.Is(err, auth.ErrInput) {
			return errors.New("unexpected end of input")
		}
		return err
	})},
	"repeats the input": {want: "repeats what the caller sent", provider: asked(func(in string, err error) error {
		if errors.Is(err, auth.ErrInvalidCredentials) {
			return auth.ErrInvalidCredentials.Msg("not valid: %s", in)
		}
		return err
	})},
	"lets everybody in": {want: "is let in", provider: signIn(func(auth.Assertion, error) (auth.Assertion, error) {
		return auth.Assertion{EntityID: "ada"}, nil
	})},
	"keeps the pin itself": {want: "what is kept as the secret is a value of the input", provider: registers(func(in string, a auth.Assertion) auth.Assertion {
		if strings.Contains(in, "271828") {
			a.Secret = []byte("271828")
		}
		return a
	})},
	"shows the secret": {want: "can be read in the identity", provider: registers(func(_ string, a auth.Assertion) auth.Assertion {
		a.Profile.Metadata = map[string]any{"check": a.Secret}
		return a
	})},
	"not safe for concurrent use": {provider: &oneAtATime{}, want: "at once"},
	"changes anybody's secret":    {provider: changing{anybody: true}, want: "whoever may set one password could set any"},
	"changes without the old one": {provider: changing{unproved: true}, want: "does not prove the secret of now"},
	"stops at a NUL": {want: "after a NUL is let in", provider: signIn(func(a auth.Assertion, err error) (auth.Assertion, error) {
		return a, err
	}).cutAtNUL()},
}

func TestTheKitFindsEachFault(t *testing.T) {
	if name := os.Getenv("AUTHTEST_BROKEN"); name != "" { // the child, which has to fail
		b, c := broken[name], pinCase
		c.New = func(*testing.T) auth.Provider { return b.provider }
		c.Vouches = b.vouches
		authtest.Provider(t, c)
		return
	}
	for name, b := range broken {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTheKitFindsEachFault$")
			child.Env = append(os.Environ(), "AUTHTEST_BROKEN="+name)
			out, err := child.CombinedOutput()
			if err == nil || !strings.Contains(string(out), b.want) {
				t.Errorf("%v, want a failure that says %q; said:\n%s", err, b.want, out)
			}
		})
	}
}

// twoSteps is relying, with a hand in what it does.
type twoSteps struct {
	relying
	begin  func(auth.Challenger, context.Context, auth.Attempt) (auth.Challenge, error)
	finish func(auth.Challenger, context.Context, auth.Attempt) (auth.Assertion, error)
}

func (s twoSteps) Begin(ctx context.Context, a auth.Attempt) (auth.Challenge, error) {
	if s.begin == nil {
		return s.relying.Begin(ctx, a)
	}
	return s.begin(s.relying, ctx, a)
}

func (s twoSteps) Finish(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	if s.finish == nil {
		return s.relying.Finish(ctx, a)
	}
	return s.finish(s.relying, ctx, a)
}

// begins changes what is begun.
func begins(f func(c *auth.Challenge)) func(relying) auth.Provider {
	return func(p relying) auth.Provider {
		return twoSteps{relying: p, begin: func(c auth.Challenger, ctx context.Context, a auth.Attempt) (auth.Challenge, error) {
			begun, err := c.Begin(ctx, a)
			f(&begun)
			return begun, err
		}}
	}
}

// finds changes what has come of a flow.
func finds(f func(in auth.Input, a auth.Assertion, err error) (auth.Assertion, error)) func(relying) auth.Provider {
	return func(p relying) auth.Provider {
		return twoSteps{relying: p, finish: func(c auth.Challenger, ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
			found, err := c.Finish(ctx, a)
			return f(a.Input, found, err)
		}}
	}
}

// attempts changes what both steps are asked.
func attempts(f func(a *auth.Attempt)) func(relying) auth.Provider {
	return func(p relying) auth.Provider {
		return twoSteps{p, func(c auth.Challenger, ctx context.Context, a auth.Attempt) (auth.Challenge, error) {
			f(&a)
			return c.Begin(ctx, a)
		}, func(c auth.Challenger, ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
			f(&a)
			return c.Finish(ctx, a)
		}}
	}
}

// mutants are relying with one rule broken each: which part of the kit finds it, and what it says.
var mutants = map[string]struct {
	part, want string
	without    check
	make       func(relying) auth.Provider
	spoil      func(*authtest.Case)
}{
	"nobody whose address is not proved": {want: "needs Unverified", spoil: func(c *authtest.Case) { c.Unverified = nil }},
	"nobody, and yet somebody":           {want: "has nobody Unverified", spoil: func(c *authtest.Case) { c.AlwaysVouches = true }},
	"nobody who is refused":              {want: "needs Bad", spoil: func(c *authtest.Case) { c.Bad, c.BadBack = nil, nil }},
	"steps of a provider that has one": {want: "for a provider that has two steps", spoil: func(c *authtest.Case) {
		c.New = func(*testing.T) auth.Provider { return pins{} }
	}},
	"a state of its own": {part: "good", want: "Begin must send Attempt.FlowID as state",
		make: attempts(func(a *auth.Attempt) { a.FlowID = rand.Text() })},
	"an entity id that changes": {part: "good", want: "an entity id must not change", make: randomEntity},
	"no look at an error":       {part: "bad", want: "who said no: is let in", without: refused},
	"no look at iss":            {part: "bad", want: "the answer of another issuer: is let in", without: callbackID},
	"tells why it refuses": {part: "bad", want: "a stranger can tell them apart",
		make: finds(func(in auth.Input, a auth.Assertion, err error) (auth.Assertion, error) {
			if errors.Is(err, auth.ErrInvalidCredentials) && !strings.Contains(string(in), "access_denied") {
				err = auth.ErrInvalidCredentials.Msg("There is no such code.")
			}
			return a, err
		})},
	"a failure for a bad code": {part: "bad", want: "does not wrap auth.ErrInvalidCredentials",
		make: finds(func(_ auth.Input, a auth.Assertion, err error) (auth.Assertion, error) {
			if errors.Is(err, auth.ErrInvalidCredentials) {
				err = errors.New("the issuer says invalid_grant")
			}
			return a, err
		})},
	"repeats the code": {part: "bad", want: "repeats what the caller sent",
		make: finds(func(in auth.Input, a auth.Assertion, err error) (auth.Assertion, error) {
			if errors.Is(err, auth.ErrInvalidCredentials) {
				err = auth.ErrInvalidCredentials.Msg("Not valid: %s", string(in))
			}
			return a, err
		})},
	"tells what is kept": {part: "flows", want: "tells what is kept for the flow",
		make: func(p relying) auth.Provider {
			return twoSteps{relying: p, finish: func(c auth.Challenger, ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
				found, err := c.Finish(ctx, a)
				if err != nil {
					err = auth.ErrInvalidCredentials.Msg("Not the state of %s", a.State)
				}
				return found, err
			}}
		}},
	"a failure for junk": {part: "junk", want: "is answered as a failure of the provider",
		make: finds(func(_ auth.Input, a auth.Assertion, err error) (auth.Assertion, error) {
			if errors.Is(err, auth.ErrInput) {
				err = errors.New("unexpected end of input")
			}
			return a, err
		})},
	"a failure for junk to begin with": {part: "junk", want: "begin: an array is answered as a failure of the provider",
		make: func(p relying) auth.Provider {
			return twoSteps{relying: p, begin: func(c auth.Challenger, ctx context.Context, a auth.Attempt) (auth.Challenge, error) {
				begun, err := c.Begin(ctx, a)
				if err != nil {
					err = errors.New("unexpected end of input")
				}
				return begun, err
			}}
		}},
	"a path for a location": {part: "begin", want: "it must be an absolute address",
		make: begins(func(c *auth.Challenge) { c.RedirectURL = "/authorize?state=1" })},
	"a script for a location": {part: "begin", want: "it must be an absolute address",
		make: begins(func(c *auth.Challenge) { c.RedirectURL = "javascript://a.example.com/%0aalert(1)" })},
	"the same location for all": {part: "begin", want: "sends two callers to the same address",
		make: begins(func(c *auth.Challenge) { c.RedirectURL = "https://issuer.example.com/authorize" })},
	"a callback of its own": {part: "begin", want: "it must be Attempt.CallbackURL",
		make: attempts(func(a *auth.Attempt) { a.CallbackURL = "https://app.example.com/elsewhere" })},
	"what is kept in the location": {part: "begin", want: "what is kept for the flow can be read in the location",
		make: begins(func(c *auth.Challenge) { c.RedirectURL += "&hint=" + url.QueryEscape(string(c.State)) })},
	"the verifier in the location": {part: "begin", want: "the code_verifier can be read in the location",
		make: begins(func(c *auth.Challenge) {
			var kept keptState
			_ = json.Unmarshal(c.State, &kept)
			c.RedirectURL += "&hint=" + kept.Verifier
		})},
	"the same kept for all":          {part: "begin", want: "the same is kept for two flows", make: sameForAll},
	"one nonce and verifier for all": {part: "flows", want: "what was made for one browser, in the flow of another is let in", make: sameForAll},
	"a memory of its own": {part: "flows", want: "Finish must hold what comes back against Attempt.State",
		make: func(p relying) auth.Provider {
			var last atomic.Value
			return twoSteps{p, func(c auth.Challenger, ctx context.Context, a auth.Attempt) (auth.Challenge, error) {
				begun, err := c.Begin(ctx, a)
				last.Store(begun.State)
				return begun, err
			}, func(c auth.Challenger, ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
				a.State = last.Load().([]byte)
				return c.Finish(ctx, a)
			}}
		}},
	"a code that is good twice": {part: "flows", want: "what was good once, in a flow of its own is let in",
		make: func(p relying) auth.Provider {
			var known sync.Map
			return twoSteps{relying: p, finish: func(c auth.Challenger, ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
				var in struct {
					Code string `json:"code"`
				}
				_ = a.Input.Decode(&in)
				if found, ok := known.Load(in.Code); ok {
					return found.(auth.Assertion), nil
				}
				found, err := c.Finish(ctx, a)
				if err == nil {
					known.Store(in.Code, found)
				}
				return found, err
			}}
		}},
	"vouches for everybody": {part: "unverified", want: "vouches for the address",
		make: finds(func(_ auth.Input, a auth.Assertion, err error) (auth.Assertion, error) {
			a.Profile.EmailVerified = true
			return a, err
		})},
	"vouches for everybody, and so lets them in": {part: "unverified", want: "is let into the account of Good",
		make: finds(func(_ auth.Input, a auth.Assertion, err error) (auth.Assertion, error) {
			a.Profile.EmailVerified = true
			return a, err
		})},
	"an address for an entity id": {part: "unverified", want: "an entity id must be the person's own",
		make: finds(func(_ auth.Input, a auth.Assertion, err error) (auth.Assertion, error) {
			a.EntityID = a.Profile.Email
			return a, err
		})},
	"one at a time":                    {part: "concurrency", want: "at once", make: oneFinish},
	"one first sign-in at a time":      {part: "first", want: "first sign-in", make: oneFinish},
	"an entity for each first sign-in": {part: "first", want: "they must be one", make: randomEntity},
}

var randomEntity = finds(func(_ auth.Input, a auth.Assertion, err error) (auth.Assertion, error) {
	a.EntityID, a.Profile.Email = rand.Text(), ""
	return a, err
})

// sameForAll begins every flow as the first one, but for its state.
func sameForAll(p relying) auth.Provider {
	var mu sync.Mutex
	var first auth.Challenge
	return twoSteps{relying: p, begin: func(c auth.Challenger, ctx context.Context, a auth.Attempt) (auth.Challenge, error) {
		mu.Lock()
		defer mu.Unlock()
		if first.RedirectURL == "" {
			begun, err := c.Begin(ctx, a)
			first = begun
			return begun, err
		}
		at, err := url.Parse(first.RedirectURL)
		if err != nil {
			return auth.Challenge{}, err
		}
		query := at.Query()
		query.Set("state", a.FlowID)
		at.RawQuery = query.Encode()
		return auth.Challenge{RedirectURL: at.String(), State: first.State}, nil
	}}
}

func oneFinish(p relying) auth.Provider {
	var busy sync.Mutex
	return twoSteps{relying: p, finish: func(c auth.Challenger, ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
		if !busy.TryLock() {
			return auth.Assertion{}, errors.New("busy")
		}
		defer busy.Unlock()
		time.Sleep(5 * time.Millisecond)
		return c.Finish(ctx, a)
	}}
}

func TestTheKitFindsEachMutantOfTwoSteps(t *testing.T) {
	if name := os.Getenv("AUTHTEST_MUTANT"); name != "" { // the child, which has to fail
		m := mutants[name]
		c := relyingCase(t, m.without)
		if whole := c.New; m.make != nil {
			c.New = func(t *testing.T) auth.Provider { return m.make(whole(t).(relying)) }
		}
		if m.spoil != nil {
			m.spoil(&c)
		}
		authtest.Provider(t, c)
		return
	}
	for name, m := range mutants {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTheKitFindsEachMutantOfTwoSteps$/^"+m.part+"$")
			child.Env = append(os.Environ(), "AUTHTEST_MUTANT="+name)
			out, err := child.CombinedOutput()
			if err == nil || !strings.Contains(string(out), m.want) {
				t.Errorf("%v, want a failure of %s that says %q; said:\n%s", err, m.part, m.want, out)
			}
		})
	}
}

type nameOnly struct{}

func (nameOnly) Name() string { return "nothing" }

type named struct{ name string }

func (n named) Name() string { return n.name }
func (named) Authenticate(context.Context, auth.Attempt) (auth.Assertion, error) {
	return auth.Assertion{}, auth.ErrInvalidCredentials
}

// bent is pins, with a hand in what it answers.
type bent struct {
	pins
	signIn   func(in string, a auth.Assertion, err error) (auth.Assertion, error)
	register func(in string, a auth.Assertion) auth.Assertion
	input    func(auth.Input) auth.Input
}

func (b bent) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	if b.input != nil {
		a.Input = b.input(a.Input)
	}
	found, err := b.pins.Authenticate(ctx, a)
	if b.signIn == nil {
		return found, err
	}
	return b.signIn(string(a.Input), found, err)
}

func (b bent) Register(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	found, err := b.pins.Register(ctx, a)
	if b.register == nil || err != nil {
		return found, err
	}
	return b.register(string(a.Input), found), nil
}

func (b bent) cutAtNUL() bent {
	b.input = func(in auth.Input) auth.Input {
		whole := string(in)
		if before, after, found := strings.Cut(whole, `\u0000`); found {
			_, rest, _ := strings.Cut(after, `"`)
			return auth.Input(before + `"` + rest)
		}
		return in
	}
	return b
}

func signIn(f func(auth.Assertion, error) (auth.Assertion, error)) bent {
	return bent{signIn: func(_ string, a auth.Assertion, err error) (auth.Assertion, error) { return f(a, err) }}
}

func asked(f func(in string, err error) error) bent {
	return bent{signIn: func(in string, a auth.Assertion, err error) (auth.Assertion, error) { return a, f(in, err) }}
}

func registers(f func(in string, a auth.Assertion) auth.Assertion) bent { return bent{register: f} }

// counting gives everybody a new entity id each time.
type counting struct {
	mu sync.Mutex
	n  int
}

func (*counting) Name() string { return "counting" }

func (c *counting) Authenticate(_ context.Context, a auth.Attempt) (auth.Assertion, error) {
	if _, pin, err := readPin(a.Input); err != nil || pin != "271828" {
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return auth.Assertion{EntityID: fmt.Sprint("entity-", c.n)}, nil
}

// shouting has a canonical spelling, and asserts another one.
type shouting struct{ pins }

func (shouting) CanonicalEntityID(entityID string) (string, error) {
	return strings.ToUpper(entityID), nil
}

// oneAtATime fails whoever comes while somebody else is there.
type oneAtATime struct {
	pins
	busy sync.Mutex
}

func (o *oneAtATime) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	if !o.busy.TryLock() {
		return auth.Assertion{}, errors.New("busy")
	}
	defer o.busy.Unlock()
	time.Sleep(5 * time.Millisecond)
	return o.pins.Authenticate(ctx, a)
}
