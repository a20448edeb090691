package authtest_test

import (
	"context"
	"encoding/json"
	"os"
	"os/exec"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
)

// twoWays lets people in by a pin, or by an issuer.
type twoWays struct {
	auth.Challenger
	pin    func(context.Context, auth.Attempt) (auth.Assertion, error)
	entity string
}

func (twoWays) Name() string { return "two-ways" }

func (w twoWays) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	found, err := w.pin(ctx, a)
	if err == nil {
		found.EntityID = w.entity
	}
	return found, err
}

// issuersAda is what relying calls her at the issuer.
func issuersAda(t testing.TB, issuer *authtest.Issuer) string {
	t.Helper()
	p := newRelying(issuer, "")
	a := auth.Attempt{FlowID: "a-flow", CallbackURL: "https://app.example.com/back"}
	c, err := p.Begin(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	a.Input, a.State = issuer.Back(t, c.RedirectURL), c.State
	found, err := p.Finish(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return found.EntityID
}

// twoWaysCase is a Case of twoWays, with a hand in it.
func twoWaysCase(t *testing.T, change func(*twoWays)) authtest.Case {
	t.Helper()
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	ada := issuersAda(t, issuer)
	c := pinCase
	c.Junk = nil
	c.New = func(*testing.T) auth.Provider {
		w := twoWays{newRelying(issuer, ""), directory{asks: byPerson}.Authenticate, ada}
		if change != nil {
			change(&w)
		}
		return w
	}
	c.TwoSteps = &authtest.Case{
		Back:       issuer.Back,
		Bad:        map[string]auth.Input{"forged code": auth.Input(`{"code":"code-of-eve-0666"}`)},
		Vouches:    true,
		Unverified: func(t testing.TB, location string) auth.Input { return issuer.BackAs(t, location, eve) },
	}
	return c
}

func TestAProviderOfOneStepAndOfTwoAsItShouldBePasses(t *testing.T) {
	authtest.Provider(t, twoWaysCase(t, nil))
}

// inTwo makes a mutant of the two steps alone.
func inTwo(make func(relying) auth.Provider) func(*twoWays) {
	return func(w *twoWays) { w.Challenger, _ = make(w.Challenger.(relying)).(auth.Challenger) }
}

// mutantsOfBoth are twoWays with a fault in one way, or between the two.
var mutantsOfBoth = map[string]struct {
	part, want string
	change     func(*twoWays)
	spoil      func(*authtest.Case)
}{
	"nothing said of the two steps":    {part: "", want: "needs TwoSteps", spoil: func(c *authtest.Case) { c.TwoSteps = nil }},
	"nobody whose address is unproved": {part: "two_steps", want: "needs Unverified", spoil: func(c *authtest.Case) { c.TwoSteps.Unverified = nil }},
	"a code that is good twice": {part: "two_steps/^flows$", want: "what was good once, in a flow of its own is let in",
		change: inTwo(mutants["a code that is good twice"].make)},
	"one nonce and verifier for all": {part: "two_steps/^flows$", want: "in the flow of another is let in", change: inTwo(sameForAll)},
	"vouches for everybody who comes back": {part: "two_steps/^unverified$", want: "is let into the account of Good",
		change: inTwo(mutants["vouches for everybody"].make)},
	"believes whom the caller says to be": {part: "two_steps/^claims$", want: "must come from what proves it",
		change: inTwo(mutants["believes an ID token that the caller brings"].make)},
	"asks for no secret in one step": {part: "good", want: "has not asked Attempt.Secret",
		change: func(w *twoWays) { w.pin = directory{}.Authenticate }},
	"another entity by each way": {part: "ways", want: "whichever way they take", change: func(w *twoWays) { w.entity = "ada by pin" }},
	"a code that is good in one step": {part: "ways", want: "is let in by one step", change: func(w *twoWays) {
		whole := w.pin
		w.pin = func(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
			var in struct {
				Code json.RawMessage `json:"code"`
			}
			if err := a.Input.Decode(&in); err != nil || in.Code == nil {
				return whole(ctx, a)
			}
			if _, err := a.Secret(ctx, ""); err != nil {
				return auth.Assertion{}, err
			}
			return auth.Assertion{EntityID: "ada"}, nil
		}
	}},
}

func TestTheKitFindsEachMutantOfBothWays(t *testing.T) {
	if name := os.Getenv("AUTHTEST_BOTH"); name != "" { // the child, which has to fail
		m := mutantsOfBoth[name]
		c := twoWaysCase(t, m.change)
		if m.spoil != nil {
			m.spoil(&c)
		}
		authtest.Provider(t, c)
		return
	}
	for name, m := range mutantsOfBoth {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestTheKitFindsEachMutantOfBothWays$/^"+m.part+"$")
			child.Env = append(os.Environ(), "AUTHTEST_BOTH="+name)
			out, err := child.CombinedOutput()
			if err == nil || !strings.Contains(string(out), m.want) {
				t.Errorf("%v, want a failure of %s that says %q; said:\n%s", err, m.part, m.want, out)
			}
		})
	}
}
