package authtest_test

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"sync"
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

func (pins) Register(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	person, pin, err := readPin(a.Input)
	if err != nil {
		return auth.Assertion{}, err
	}
	if _, err := a.Secret(ctx, person); err != nil {
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
		Vouches: true, AlwaysVouches: true,
	})
}

// cards is a provider of one step that vouches for the addresses of some.
type cards struct{ credulous, asking bool }

func (cards) Name() string { return "cards" }

func (c cards) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	var in struct {
		Card  string
		Email string `json:"email"`
	}
	if err := a.Input.Decode(&in); err != nil {
		return auth.Assertion{}, err
	}
	owner, proved := strings.CutPrefix(in.Card, "proved-")
	known := owner == "ada-0001" || owner == "eve-0666"
	if _, err := a.Secret(ctx, map[bool]string{true: owner}[known]); err != nil {
		return auth.Assertion{}, err
	}
	if !known {
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	if c.asking && in.Email != "" {
		return auth.Assertion{EntityID: owner, Profile: auth.Profile{Email: in.Email, EmailVerified: proved}}, nil
	}
	return auth.Assertion{EntityID: owner, Profile: auth.Profile{Email: "ada@example.com", EmailVerified: proved || c.credulous}}, nil
}

func cardCase(p auth.Provider) authtest.Case {
	return authtest.Case{
		New:        func(*testing.T) auth.Provider { return p },
		Good:       auth.Input(`{"Card":"proved-ada-0001"}`),
		Bad:        map[string]auth.Input{"forged card": auth.Input(`{"Card":"proved-max-0002"}`)},
		Vouches:    true,
		Unverified: func(testing.TB, string) auth.Input { return auth.Input(`{"Card":"eve-0666"}`) },

		Unguessable: true,
	}
}

func TestAProviderOfOneStepThatVouchesForSomePasses(t *testing.T) {
	authtest.Provider(t, cardCase(cards{}))
}

// broken are providers with one fault each, which part of the kit must find it, and what it must say of it.
var broken = map[string]struct {
	provider   auth.Provider
	vouches    bool
	part, want string
}{
	"vouches for what the caller says":            {part: "claims", want: "which only the caller has said to be theirs", provider: cards{asking: true}},
	"vouches, and nobody shows for whom not":      {want: "needs Unverified", provider: cards{credulous: true, asking: true}},
	"vouches for all cards":                       {part: "unverified", want: "of somebody who has not proved it", provider: cards{credulous: true}},
	"lets in and refuses, and asks for no secret": {part: "good", want: "has not asked Attempt.Secret", provider: directory{}},
	"asks only for whom it lets in":               {part: "bad", want: "has not asked Attempt.Secret", provider: directory{asks: onlyIf(true)}},
	"asks only for whom it refuses":               {part: "good", want: "has not asked Attempt.Secret", provider: directory{asks: onlyIf(false)}},
	"says of everybody that they are nobody":      {part: "throttle", want: "Good after many wrong guesses", provider: directory{asks: by("")}},
	"counts a wrong pin as another's": {part: "throttle", want: "Good after many wrong guesses", provider: directory{asks: func(person, _ string, right bool) (string, bool) {
		return fmt.Sprint(person, right), true
	}}},
	"counts each guess by itself": {part: "throttle", want: "each time from another address", provider: directory{asks: func(string, string, bool) (string, bool) {
		return rand.Text(), true
	}}},
	"does not hear that there were too many":      {part: "throttle", want: "where Attempt.Secret says ErrThrottled", provider: directory{asks: byPerson, deaf: true}},
	"counts no attempts at whom it does not know": {part: "throttle", want: "where Attempt.Secret says ErrThrottled", provider: forgetful{}},
	"a name that shadows a route":                 {part: "start", provider: named{"session"}, want: "auth.New does not take the provider"},
	"no capability":                               {part: "start", provider: nameOnly{}, want: "auth.New does not take the provider"},
	"an entity id that changes":                   {part: "good", provider: &counting{}, want: "an entity id must not change"},
	"asserts another spelling":                    {part: "good", provider: shouting{}, want: "what the provider asserts must be canonical itself"},
	"vouches without a reason": {part: "good", want: "vouches for the e-mail address, and the Case does not say so", provider: signIn(func(a auth.Assertion, err error) (auth.Assertion, error) {
		a.Profile.EmailVerified = true
		return a, err
	})},
	"does not vouch": {part: "good", vouches: true, provider: pins{}, want: "but it does not"},
	"tells unknown from wrong": {part: "bad", want: "a stranger can tell them apart", provider: asked(func(in string, err error) error {
		if errors.Is(err, auth.ErrInvalidCredentials) && strings.Contains(in, "eve@") {
			return auth.ErrInvalidCredentials.Msg("Who is that?")
		}
		return err
	})},
	"a failure for the caller's fault": {part: "bad", want: "does not wrap auth.ErrInvalidCredentials", provider: asked(func(_ string, err error) error {
		if errors.Is(err, auth.ErrInvalidCredentials) {
			return errors.New("no match")
		}
		return err
	})},
	"a failure for junk": {part: "junk", want: "is answered as a failure of the provider", provider: asked(func(_ string, err error) error {
		if errors.Is(err, auth.ErrInput) {
			return errors.New("unexpected end of input")
		}
		return err
	})},
	"repeats the input": {part: "bad", want: "repeats what the caller sent", provider: asked(func(in string, err error) error {
		if errors.Is(err, auth.ErrInvalidCredentials) {
			return auth.ErrInvalidCredentials.Msg("not valid: %s", in)
		}
		return err
	})},
	"lets everybody in": {part: "bad", want: "is let in", provider: signIn(func(auth.Assertion, error) (auth.Assertion, error) {
		return auth.Assertion{EntityID: "ada"}, nil
	})},
	"keeps the pin itself": {part: "secret", want: "what is kept as the secret is a value of the input", provider: registers(func(in string, a auth.Assertion) auth.Assertion {
		if strings.Contains(in, "271828") {
			a.Secret = []byte("271828")
		}
		return a
	})},
	"shows the secret": {part: "secret", want: "can be read in the identity", provider: registers(func(_ string, a auth.Assertion) auth.Assertion {
		a.Profile.Metadata = map[string]any{"check": a.Secret}
		return a
	})},
	"not safe for concurrent use": {part: "concurrency", provider: &oneAtATime{}, want: "at once"},
	"changes anybody's secret":    {part: "change", provider: changing{anybody: true}, want: "whoever may set one password could set any"},
	"changes without the old one": {part: "change", provider: changing{unproved: true}, want: "does not prove the secret of now"},
	"stops at a NUL": {part: "junk", want: "after a NUL is let in", provider: signIn(func(a auth.Assertion, err error) (auth.Assertion, error) {
		return a, err
	}).cutAtNUL()},
}

// directory is a provider of one step that keeps nothing: somebody else looks at the pin. What it asks Attempt.Secret for is up to asks.
type directory struct {
	asks func(person, pin string, right bool) (entityID string, asked bool)
	deaf bool // to the answer
}

func (directory) Name() string { return "directory" }

func (d directory) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	person, pin, err := readPin(a.Input)
	if err != nil {
		return auth.Assertion{}, err
	}
	right := person == "ada@example.com" && pin == "271828"
	if d.asks != nil {
		if entityID, asked := d.asks(person, pin, right); asked {
			if _, err := a.Secret(ctx, entityID); err != nil && !d.deaf {
				return auth.Assertion{}, err
			}
		}
	}
	if !right {
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	return auth.Assertion{EntityID: "id of ada"}, nil
}

func byPerson(person, _ string, _ bool) (string, bool) { return person, true }

func by(name string) func(string, string, bool) (string, bool) {
	return func(string, string, bool) (string, bool) { return name, true }
}

func onlyIf(let bool) func(string, string, bool) (string, bool) {
	return func(person, _ string, right bool) (string, bool) { return person, right == let }
}

func TestAProviderThatKeepsNoSecretAsItShouldBePasses(t *testing.T) {
	c := pinCase
	c.New = func(*testing.T) auth.Provider { return directory{asks: byPerson} }
	authtest.Provider(t, c)
}

func TestTheKitFindsEachFault(t *testing.T) {
	if name := os.Getenv("AUTHTEST_BROKEN"); name != "" { // the child, which has to fail
		b, c := broken[name], pinCase
		c.New = func(*testing.T) auth.Provider { return b.provider }
		c.Vouches, c.AlwaysVouches = b.vouches, b.vouches
		if _, ok := b.provider.(cards); ok {
			c = cardCase(b.provider)
		}
		if b.want == "needs Unverified" {
			c.Unverified = nil
		}
		authtest.Provider(t, c)
		return
	}
	for name, b := range broken {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTheKitFindsEachFault$/^"+b.part+"$")
			child.Env = append(os.Environ(), "AUTHTEST_BROKEN="+name)
			out, err := child.CombinedOutput()
			if err == nil || !strings.Contains(string(out), b.want) {
				t.Errorf("%v, want a failure of %s that says %q; said:\n%s", err, b.part, b.want, out)
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

func (c *counting) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	person, pin, err := readPin(a.Input)
	if err == nil {
		_, err = a.Secret(ctx, person)
	}
	if err != nil || pin != "271828" {
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n++
	return auth.Assertion{EntityID: fmt.Sprint("entity-", c.n)}, nil
}

// forgetful does not ask for the secret of whom it does not know.
type forgetful struct{ changing }

func (f forgetful) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	if person, _, err := readPin(a.Input); err == nil && strings.HasPrefix(person, "eve@") {
		return auth.Assertion{}, auth.ErrInvalidCredentials
	}
	return f.pins.Authenticate(ctx, a)
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
