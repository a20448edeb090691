package magiclink_test

import (
	"context"
	"errors"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
	"github.com/latchkey-go/latchkey/modules/auth/magiclink"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

func TestMain(m *testing.M) { databasetest.Main(m) }

// asking is the provider, and has noted the State of what it has begun, by flow.
type asking struct {
	*magiclink.Provider
	begun *noted
}

type noted struct {
	mu     sync.Mutex
	states map[string][]byte
}

func (n *noted) of(flow string) []byte {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.states[flow]
}

func (p *asking) Begin(ctx context.Context, a auth.Attempt) (auth.Challenge, error) {
	c, err := p.Provider.Begin(ctx, a)
	p.begun.mu.Lock()
	defer p.begun.mu.Unlock()
	p.begun.states[a.FlowID] = c.State
	return c, err
}

const ada = `{"email":"Ada@Example.com"}`

// kit is the ring that authtest gives a service.
func kit(t testing.TB) *keyring.Ring {
	t.Helper()
	keys, err := keyring.New(make([]byte, keyring.MinSecret))
	if err != nil {
		t.Fatal(err)
	}
	return keys
}

func TestProvider(t *testing.T) {
	for _, mode := range []string{magiclink.Link, magiclink.Code} {
		t.Run(mode, func(t *testing.T) {
			begun := &noted{states: map[string][]byte{}}
			mailer := open(t, databasetest.SQLite(t), mode, auth.Options{})
			authtest.Provider(t, authtest.Case{
				New: func(t *testing.T) auth.Provider {
					p, err := magiclink.New(auth.NewMailings(kit(t)), magiclink.Config{Mode: mode}, magiclink.Options{URL: "https://id.example.com"})
					if err != nil {
						t.Fatal(err)
					}
					return &asking{p, begun}
				},
				Begin: auth.Input(ada),
				Back: func(t testing.TB, location string) auth.Input {
					at, err := url.Parse(location)
					if err != nil || !strings.HasPrefix(location, "https://id.example.com/app/magic?state=") {
						t.Fatalf("location %q, %v", location, err)
					}
					return auth.Input(`{"code":"` + answer(t, mailer, begun.of(at.Query().Get("state"))) + `"}`)
				},
				Bad: map[string]auth.Input{
					"another code": auth.Input(`{"code":"not-what-was-mailed"}`), "no token of ours": auth.Input(`{"code":"eyJhbGciOiJIUzI1NiJ9.e30.nobodysigned"}`),
				},
				Vouches: true, AlwaysVouches: true,
			})
		})
	}
}

// answer is what a mailer would mail for a flow of which that is kept.
func answer(t testing.TB, mailer *house, state []byte) string {
	t.Helper()
	m, err := auth.NewMailings(mailer.keys).Read(state)
	if err != nil {
		t.Fatal(err)
	}
	return mailedFor(t, mailer.Service, m.Request(magiclink.Name))
}

func mailedFor(t testing.TB, s *auth.Service, e auth.SignInMailRequested) string {
	t.Helper()
	made, err := s.CreateSignInMail(t.Context(), e)
	if err != nil || made.Email != "ada@example.com" || (made.Code == "") == (made.Token == "") {
		t.Fatalf("%v, %v", made, err)
	}
	return made.Code + made.Token
}

// counting is the provider, and counts how often it looks at an answer.
type counting struct {
	*magiclink.Provider
	looked atomic.Int64
}

func (p *counting) Finish(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	p.looked.Add(1)
	return p.Provider.Finish(ctx, a)
}

// house is a service that signs in by mail, and what it has announced.
type house struct {
	*auth.Service
	provider *counting
	keys     *keyring.Ring
	mu       sync.Mutex
	asked    []auth.SignInMailRequested
}

func (h *house) Emit(_ context.Context, events ...event.Event) error {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, e := range events {
		if e, ok := e.(auth.SignInMailRequested); ok {
			h.asked = append(h.asked, e)
		}
	}
	return nil
}

func open(t testing.TB, at databasetest.Database, mode string, o auth.Options) *house {
	t.Helper()
	h := &house{keys: kit(t)}
	p, err := magiclink.New(auth.NewMailings(h.keys), magiclink.Config{Mode: mode}, magiclink.Options{})
	if err != nil {
		t.Fatal(err)
	}
	h.provider = &counting{Provider: p}
	h.Service, err = auth.New(auth.Params{DB: at.Open(t, auth.Migrations()), Keys: h.keys, Events: h, Options: o, Providers: []auth.Provider{h.provider}})
	if err != nil {
		t.Fatal(err)
	}
	return h
}

// begin begins a flow and returns it with what was mailed.
func (h *house) begin(t testing.TB, in string) (flow, mailed string) {
	t.Helper()
	f, err := h.Begin(t.Context(), magiclink.Name, auth.Input(in))
	if err != nil {
		t.Fatal(err)
	}
	return f.ID, mailedFor(t, h.Service, h.asked[len(h.asked)-1])
}

func (h *house) finish(t testing.TB, flow, code string) error {
	t.Helper()
	_, err := h.ValidateCallback(t.Context(), magiclink.Name, back(flow, code))
	return err
}

func back(flow, code string) auth.Input {
	return auth.Input(`{"state":"` + flow + `","code":"` + code + `"}`)
}

// other is another code.
func other(code string) string { return string('0'+(code[0]-'0'+1)%10) + code[1:] }

func TestWhatIsMailedIsGoodForItsTimeOnly(t *testing.T) {
	const ttl = 10 * time.Minute
	for _, mode := range []string{magiclink.Link, magiclink.Code} {
		synctest.Test(t, func(t *testing.T) {
			h := open(t, databasetest.SQLite(t), mode, auth.Options{})
			intime, good := h.begin(t, ada)
			late, dead := h.begin(t, ada)
			time.Sleep(ttl - time.Second)
			if err := h.finish(t, intime, good); err != nil {
				t.Errorf("%s, just before the end: %v", mode, err)
			}
			time.Sleep(time.Second)
			if err := h.finish(t, late, dead); !errors.Is(err, auth.ErrInvalidCredentials) {
				t.Errorf("%s, at the end: %v", mode, err)
			}
			if _, err := h.CreateSignInMail(t.Context(), h.asked[1]); !errors.Is(err, auth.ErrSignInMail) {
				t.Errorf("%s: a mail that cannot be of use is written: %v", mode, err)
			}
		})
	}
}

func TestOfAnyNumberOfGuessesAtOnceAFewAreLookedAt(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		h := open(t, at, magiclink.Code, auth.Options{Throttle: auth.ThrottleOptions{Disabled: true}})
		flow, code := h.begin(t, ada)
		for _, err := range databasetest.Together(20, func(int) error { return h.finish(t, flow, other(code)) }) {
			if !errors.Is(err, auth.ErrInvalidCredentials) {
				t.Error(err)
			}
		}
		if looked := h.provider.looked.Load(); looked != 5 {
			t.Errorf("%d guesses were looked at, want 5", looked)
		}
		if err := h.finish(t, flow, code); !errors.Is(err, auth.ErrFlow) {
			t.Errorf("the right code after them: %v, want ErrFlow", err)
		}
		flow, code = h.begin(t, ada)
		for range 4 {
			if err := h.TryMailed(t.Context(), magiclink.Name, flow, "", other(code)); !errors.Is(err, auth.ErrInvalidCredentials) || errors.Is(err, auth.ErrFlow) {
				t.Errorf("a wrong code on the page: %v", err)
			}
		}
		for range 3 { // a right one is not counted
			if err := h.TryMailed(t.Context(), magiclink.Name, flow, "", code); err != nil {
				t.Errorf("the right code on the page: %v", err)
			}
		}
		if err := h.finish(t, flow, code); err != nil {
			t.Errorf("and then: %v", err)
		}
	})
}

// Somebody who begins ever new sign-ins as Ada guesses no further than somebody at one.
func TestGuessesAtCodesCountAtTheAccount(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		h := open(t, at, magiclink.Code, auth.Options{})
		ctx := auth.WithClient(t.Context(), auth.Client{IP: "192.0.2.1"})
		looked := 0
		for range 5 {
			f, err := h.Begin(ctx, magiclink.Name, auth.Input(ada))
			if err != nil {
				t.Fatal(err)
			}
			code := mailedFor(t, h.Service, h.asked[len(h.asked)-1])
			for range 4 {
				_, err := h.ValidateCallback(ctx, magiclink.Name, back(f.ID, other(code)))
				if errors.Is(err, auth.ErrInvalidCredentials) {
					looked++
				} else if !errors.Is(err, auth.ErrThrottled) {
					t.Error(err)
				}
			}
		}
		if looked != 10 {
			t.Errorf("%d guesses were looked at, want 10, as of passwords", looked)
		}
		if _, err := h.Begin(ctx, magiclink.Name, auth.Input(ada)); !errors.Is(err, auth.ErrThrottled) {
			t.Errorf("the sixth mail in a quarter of an hour: %v, want ErrThrottled", err)
		}
		elsewhere := auth.WithClient(t.Context(), auth.Client{IP: "198.51.100.1"}) // where Ada is
		f, err := h.Begin(elsewhere, magiclink.Name, auth.Input(ada))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := h.ValidateCallback(elsewhere, magiclink.Name, back(f.ID, mailedFor(t, h.Service, h.asked[len(h.asked)-1]))); err != nil {
			t.Errorf("Ada, from elsewhere: %v", err)
		}
	})
}

// All that differs behind a plus sign is one mailbox, which somebody could otherwise fill by as many addresses as they like.
func TestMailsToLabelsOfOneMailboxCountTogether(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		h := open(t, at, magiclink.Link, auth.Options{})
		ctx := auth.WithClient(t.Context(), auth.Client{IP: "192.0.2.1"})
		for n, local := range []string{"ada", "ada+1", "Ada+2", "ada+news+3", "ada+", "ada+6"} {
			_, err := h.Begin(ctx, magiclink.Name, auth.Input(`{"email":"`+local+`@example.com"}`))
			if refused := errors.Is(err, auth.ErrThrottled); refused != (n == 5) || !refused && err != nil {
				t.Errorf("mail %d, to %s: %v", n+1, local, err)
			}
		}
		for _, other := range []string{"adam@example.com", "ada@sub.example.com", "+1@example.com"} { // the last is no label of anybody's
			if _, err := h.Begin(ctx, magiclink.Name, auth.Input(`{"email":"`+other+`"}`)); err != nil {
				t.Errorf("another mailbox, %s: %v", other, err)
			}
		}
		if e := h.asked[1]; e.EntityID != "ada+1@example.com" {
			t.Errorf("it goes to %s, want where it was asked for", e.EntityID)
		}
	})
}

func TestAnotherMailMakesTheOneOfBeforeVoidAndMayGoElsewhere(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		for _, mode := range []string{magiclink.Link, magiclink.Code} {
			h := open(t, at, mode, auth.Options{Throttle: auth.ThrottleOptions{Disabled: true}})
			flow, first := h.begin(t, ada)
			if _, err := h.MailAgain(t.Context(), magiclink.Name, flow, "", auth.Input(ada)); err != nil {
				t.Fatal(err)
			}
			second := mailedFor(t, h.Service, h.asked[1])
			if err := h.finish(t, flow, first); first != second && !errors.Is(err, auth.ErrInvalidCredentials) {
				t.Errorf("%s: the first: %v", mode, err)
			}
			if err := h.finish(t, flow, second); err != nil {
				t.Errorf("%s: the second: %v", mode, err)
			}

			f, err := h.Begin(t.Context(), magiclink.Name, auth.Input(`{}`)) // who is asked for their address on the page
			if err != nil || len(h.asked) != 2 {
				t.Fatalf("%s, without an address: %v, %d mails", mode, err, len(h.asked))
			}
			if err := h.finish(t, f.ID, second); !errors.Is(err, auth.ErrInvalidCredentials) {
				t.Errorf("%s: a flow for which nothing was mailed: %v", mode, err)
			}
			if _, err := h.MailAgain(t.Context(), magiclink.Name, f.ID, "", auth.Input(`{}`)); !errors.Is(err, auth.ErrInput) {
				t.Errorf("%s: no address again: %v", mode, err)
			}
			if _, err := h.MailAgain(t.Context(), magiclink.Name, f.ID, "", auth.Input(ada)); err != nil {
				t.Fatal(err)
			}
			if err := h.finish(t, f.ID, mailedFor(t, h.Service, h.asked[2])); err != nil {
				t.Errorf("%s: with an address: %v", mode, err)
			}
		}
	})
}

// That somebody has proved themselves once more to add an address counts for a while, and not for as long as they ask for mails.
func TestAnotherMailGivesWhoAddsAnAddressNoMoreTime(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		h := open(t, at, magiclink.Code, auth.Options{Throttle: auth.ThrottleOptions{Disabled: true}})
		begin := func(b auth.Binding) (auth.Flow, time.Time) {
			b.ActorType, b.Browser = "user", "Ada's"
			f, err := h.BeginBound(t.Context(), magiclink.Name, auth.Input(ada), b)
			if err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Millisecond)
			until, err := h.MailAgain(t.Context(), magiclink.Name, f.ID, "Ada's", auth.Input(ada))
			if err != nil {
				t.Fatal(err)
			}
			return f, until
		}
		f, until := begin(auth.Binding{})
		if !until.After(f.ExpiresAt) {
			t.Errorf("a sign-in goes on until %v, and was to until %v", until, f.ExpiresAt)
		}
		identity, err := h.ValidateCallback(t.Context(), magiclink.Name, func() auth.Input { flow, code := h.begin(t, ada); return back(flow, code) }())
		if err != nil {
			t.Fatal(err)
		}
		session, err := h.OpenSession(t.Context(), identity, "user", auth.Client{})
		if err != nil {
			t.Fatal(err)
		}
		again, err := h.ProveAgain(t.Context(), session, nil)
		if err != nil {
			t.Fatal(err)
		}
		if f, until = begin(auth.Binding{Session: session, Again: again}); !until.Equal(f.ExpiresAt) {
			t.Errorf("a way can be added until %v, and was to until %v", until, f.ExpiresAt)
		}
	})
}

func TestALinkFindsItsFlowInTheBrowserInWhichItWasBegunOnly(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		h := open(t, at, magiclink.Link, auth.Options{})
		begin := func(b auth.Binding) (flow, token string) {
			f, err := h.BeginBound(t.Context(), magiclink.Name, auth.Input(ada), b)
			if err != nil {
				t.Fatal(err)
			}
			return f.ID, mailedFor(t, h.Service, h.asked[len(h.asked)-1])
		}
		one, ones := begin(auth.Binding{ActorType: "user", Browser: "one"})
		two, twos := begin(auth.Binding{ActorType: "user", Browser: "two"})
		again, ofAgain := begin(auth.Binding{ActorType: "user", Browser: "one"})
		for _, c := range []struct{ browser, token, want string }{
			{"one", ones, one}, {"one", ofAgain, again}, {"two", twos, two}, {"two", ones, ""}, {"one", twos, ""}, {"", ones, ""}, {"another", ones, ""},
		} {
			f, err := h.MailedFlowOf(t.Context(), magiclink.Name, c.token, c.browser)
			if f.ID != c.want || (c.want == "") != errors.Is(err, auth.ErrFlow) || f.Email != "ada@example.com" {
				t.Errorf("in browser %q: flow %q, %v, want %q", c.browser, f.ID, err, c.want)
			}
		}
		if _, err := h.MailedFlowOf(t.Context(), magiclink.Name, ones+"x", "one"); !errors.Is(err, auth.ErrSignInMail) {
			t.Errorf("no token of ours: %v", err)
		}

		// A page of the application's own, where no cookie can be kept: the flow is of the browser that comes to its page.
		portable, token := begin(auth.Binding{ActorType: "user", Browser: "never kept", Portable: true})
		if _, err := h.KeepMailedFlow(t.Context(), magiclink.Name, one, "three"); !errors.Is(err, auth.ErrFlow) {
			t.Errorf("a flow that is bound to a browser is bound to another: %v", err)
		}
		if _, err := h.KeepMailedFlow(t.Context(), magiclink.Name, portable, "three"); err != nil {
			t.Error(err)
		}
		if f, err := h.MailedFlowOf(t.Context(), magiclink.Name, token, "three"); err != nil || f.ID != portable {
			t.Errorf("%q, %v", f.ID, err)
		}
		// Who has sent the browser there, to a flow and a mail of their own, does not have it come in by them.
		if _, err := h.FinishBound(t.Context(), magiclink.Name, back(portable, token), auth.Return{ActorType: "user", Browser: "three"}); !errors.Is(err, auth.ErrFlow) {
			t.Errorf("a browser that was at the page finishes the flow of another: %v", err)
		}
		if _, err := h.FinishBound(t.Context(), magiclink.Name, back(portable, token), auth.Return{ActorType: "user"}); err != nil {
			t.Errorf("the page of the application, without the cookie: %v", err)
		}
	})
}

// What is at rest, and what is announced, must not be enough to sign in.
func TestWhatIsMailedIsKeptNowhere(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		for _, mode := range []string{magiclink.Link, magiclink.Code} {
			h := open(t, at, mode, auth.Options{})
			flow, _ := h.begin(t, ada)
			e := h.asked[0]
			for _, guess := range []string{e.ID, e.Key, e.ID + e.Key} {
				if err := h.finish(t, flow, guess); !errors.Is(err, auth.ErrInvalidCredentials) {
					t.Errorf("%s: what is announced signs in: %v", mode, err)
				}
			}
		}
	})
}

func TestSettingsThatCannotBeMeantAreRefused(t *testing.T) {
	for _, c := range []struct {
		config  magiclink.Config
		options magiclink.Options
	}{{config: magiclink.Config{Mode: "sms"}}, {options: magiclink.Options{URL: "id.example.com"}}} {
		if _, err := magiclink.New(auth.NewMailings(kit(t)), c.config, c.options); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}
