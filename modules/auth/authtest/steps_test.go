package authtest_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
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
		Vouches:  true, AlwaysVouches: true,
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

// Ada is who signs in at the issuer; eve has an account there, too, and has entered Ada's address.
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
				a.State, _ = last.Load().([]byte)
				return c.Finish(ctx, a)
			}}
		}},
	"what is begun in a memory of its own": {part: "flows", want: "what one process has begun is refused by another",
		make: func(p relying) auth.Provider {
			var begun sync.Map
			return twoSteps{p, func(c auth.Challenger, ctx context.Context, a auth.Attempt) (auth.Challenge, error) {
				challenge, err := c.Begin(ctx, a)
				begun.Store(string(challenge.State), true)
				return challenge, err
			}, func(c auth.Challenger, ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
				if _, ok := begun.LoadAndDelete(string(a.State)); !ok {
					return auth.Assertion{}, auth.ErrInvalidCredentials
				}
				return c.Finish(ctx, a)
			}}
		}},
	"believes the caller's address": {part: "claims", want: "which only the caller has said to be theirs",
		make: finds(func(in auth.Input, a auth.Assertion, err error) (auth.Assertion, error) {
			var says struct {
				Email string `json:"email"`
			}
			if in.Decode(&says) == nil && says.Email != "" {
				a.Profile.Email = says.Email
			}
			return a, err
		})},
	"believes an ID token that the caller brings": {part: "claims", want: "must come from what proves it",
		make: finds(func(in auth.Input, a auth.Assertion, err error) (auth.Assertion, error) {
			var brings struct {
				Token string `json:"id_token"`
			}
			if in.Decode(&brings) != nil || brings.Token == "" {
				return a, err
			}
			payload, _ := base64.RawURLEncoding.DecodeString(strings.Split(brings.Token, ".")[1])
			var claims struct{ Sub string }
			_ = json.Unmarshal(payload, &claims)
			a.EntityID = claims.Sub
			return a, err
		})},
	"believes the address that was named to begin with": {part: "claims", want: "Good, begun with",
		make: func(p relying) auth.Provider {
			var named sync.Map
			return twoSteps{p, func(c auth.Challenger, ctx context.Context, a auth.Attempt) (auth.Challenge, error) {
				var says struct {
					Email string `json:"email"`
				}
				_ = a.Input.Decode(&says)
				challenge, err := c.Begin(ctx, a)
				named.Store(string(challenge.State), says.Email)
				return challenge, err
			}, func(c auth.Challenger, ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
				found, err := c.Finish(ctx, a)
				if address, ok := named.Load(string(a.State)); ok && address != "" {
					found.Profile.Email, _ = address.(string)
				}
				return found, err
			}}
		}},
	"an address for an entity id, and nobody who shows it": {part: "good", want: "it may be given to somebody else",
		spoil: func(c *authtest.Case) { c.Vouches, c.Unverified = false, nil },
		make: finds(func(_ auth.Input, a auth.Assertion, err error) (auth.Assertion, error) {
			a.EntityID, a.Profile.EmailVerified = a.Profile.Email, false
			return a, err
		})},
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
