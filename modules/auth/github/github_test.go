package github_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"reflect"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
	"github.com/latchkey-go/latchkey/modules/auth/github"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/kernel/secrettest"
)

func TestProvider(t *testing.T) {
	g := authtest.NewGitHub(t)
	authtest.Provider(t, authtest.Case{
		New:  func(t *testing.T) auth.Provider { return provider(t, "github", of(g), slog.New(slog.DiscardHandler)) },
		Back: g.Back,
		Bad: map[string]auth.Input{
			"forged code":    auth.Input(`{"code":"code-of-eve-0666"}`),
			"another issuer": auth.Input(`{"iss":"https://issuer-of-eve.example"}`),
			"code of spaces": auth.Input(`{"code":"code of eve 0666"}`),
		},
		Junk:    map[string]auth.Input{"an error as a list": auth.Input(`{"error":["access_denied"]}`)},
		Vouches: true,
		Unverified: func(t testing.TB, location string) auth.Input {
			return g.BackAs(t, location, authtest.GitHubPerson{ID: 666, Login: "eve", PublicEmail: "ada@example.com", Emails: []authtest.GitHubEmail{{Email: "ada@example.com", Primary: true}}})
		},
	})
}

func TestSomebodySignsIn(t *testing.T) {
	g := authtest.NewGitHub(t)
	h := newHouse(t, public(t, g, []string{"example.com"}), provider(t, "enterprise", of(g), nil))
	found := h.mustSignIn(t, "github", g)
	want := auth.Profile{Email: "ada@example.com", EmailVerified: true, Name: "Ada Lovelace", AvatarURL: "https://avatars.githubusercontent.com/u/1815",
		Metadata: map[string]any{"email": "ada@example.com", "email_verified": true, "name": "Ada Lovelace", "login": "ada", "picture": "https://avatars.githubusercontent.com/u/1815"}}
	if got := found.Proved.Profile; !reflect.DeepEqual(got, want) {
		t.Errorf("profile %+v, want %+v", got, want)
	}
	if found.EntityID() != "1815" {
		t.Errorf("entity id %q", found.EntityID())
	}
	f, err := h.Begin(t.Context(), "github", nil)
	must(t, err)
	at, err := url.Parse(f.RedirectURL)
	must(t, err)
	if q := at.Query(); at.Host != "github.com" || q.Get("scope") != "read:user user:email" || q.Get("redirect_uri") != callback || q.Get("code_challenge_method") != "S256" || strings.Contains(f.RedirectURL, g.ClientSecret()) {
		t.Errorf("sent to %s", f.RedirectURL)
	}

	// An answer may say whose it is (RFC 9207).
	for iss, fine := range map[string]bool{g.URL() + "/login/oauth": true, g.URL(): true, g.URL() + ".evil.example": false, "https://github.com": false} {
		var back map[string]string
		must(t, json.Unmarshal(h.begin(t, "enterprise", g), &back))
		back["iss"] = iss
		in, err := json.Marshal(back)
		must(t, err)
		if _, err := h.finish(t.Context(), "enterprise", in); (err == nil) != fine || err != nil && !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("an answer of %s: %v", iss, err)
		}
	}

	// The same number at another GitHub is somebody else.
	other := h.mustSignIn(t, "enterprise", g)
	if other.ID == found.ID || other.EntityID() != g.URL()+"#1815" {
		t.Errorf("at a GitHub Enterprise they are %s, %q", other.ID, other.EntityID())
	}
}

// A login can change hands; the number does not.
func TestANumberIsWhoSomebodyIs(t *testing.T) {
	g := authtest.NewGitHub(t)
	h := newHouse(t, public(t, g, nil))
	ada := h.mustSignIn(t, "github", g)
	g.SignIn(authtest.GitHubPerson{ID: 1815, Login: "lovelace", Emails: []authtest.GitHubEmail{{Email: "lovelace@example.com", Primary: true, Verified: true}}})
	if again := h.mustSignIn(t, "github", g); again.ID != ada.ID {
		t.Errorf("after another login ada is %s, was %s", again.ID, ada.ID)
	}
	g.SignIn(authtest.GitHubPerson{ID: 666, Login: "ada"})
	if eve := h.mustSignIn(t, "github", g); eve.ID == ada.ID {
		t.Error("who took the login is ada")
	}
	g.SignIn(authtest.GitHubPerson{ID: 0, Login: "ada"})
	if _, err := h.finish(t.Context(), "github", h.begin(t, "github", g)); !errors.Is(err, auth.ErrProviderUnavailable) {
		t.Errorf("without a number: %v", err)
	}
	p := public(t, g, nil)
	for id, fine := range map[string]bool{"1815": true, "ada": false, "": false, "01815": false, "+1815": false, "-1": false, "0": false, "1815 ": false, "https://github.com#1815": false} {
		if got, err := p.CanonicalEntityID(id); (err == nil) != fine || fine && got != id {
			t.Errorf("%q: %q, %v", id, got, err)
		}
	}
}

func TestOnlyThePrimaryVerifiedAddressIsVouchedFor(t *testing.T) {
	g := authtest.NewGitHub(t)
	mail := func(address string, primary, verified bool) authtest.GitHubEmail {
		return authtest.GitHubEmail{Email: address, Primary: primary, Verified: verified}
	}
	any := []string{"*"}
	for name, c := range map[string]struct {
		trusted []string
		emails  []authtest.GitHubEmail
		public  string
		want    string
		vouched bool
	}{
		"primary and verified":        {any, []authtest.GitHubEmail{mail("ada@example.com", true, true)}, "", "ada@example.com", true},
		"primary, not verified":       {any, []authtest.GitHubEmail{mail("ada@example.com", true, false)}, "", "ada@example.com", false},
		"verified, not primary":       {any, []authtest.GitHubEmail{mail("ada@example.com", false, true), mail("eve@example.com", true, false)}, "", "eve@example.com", false},
		"of the public profile alone": {any, nil, "ada@example.com", "ada@example.com", false},
		"another than the public one": {any, []authtest.GitHubEmail{mail("eve@example.com", true, true)}, "ada@example.com", "eve@example.com", true},
		"none":                        {any, nil, "", "", false},
		"what is no address":          {any, []authtest.GitHubEmail{mail("ada@example.com,eve@example.com", true, true)}, "", "ada@example.com,eve@example.com", false},
		"of a trusted domain":         {[]string{"Example.com"}, []authtest.GitHubEmail{mail("ada@example.com", true, true)}, "", "ada@example.com", true},
		"of another domain":           {[]string{"example.com"}, []authtest.GitHubEmail{mail("ada@mail.example.com", true, true)}, "", "ada@mail.example.com", false},
		"by default":                  {nil, []authtest.GitHubEmail{mail("ada@example.com", true, true)}, "", "ada@example.com", false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t, public(t, g, c.trusted))
			g.SignIn(authtest.GitHubPerson{ID: 1815, Login: "ada", PublicEmail: c.public, Emails: c.emails})
			got := h.mustSignIn(t, "github", g).Proved
			if got.Profile.Email != c.want || got.EmailVerified != c.vouched || got.Profile.EmailVerified != c.vouched {
				t.Errorf("%q, vouched for: %t; want %q, %t", got.Profile.Email, got.EmailVerified, c.want, c.vouched)
			}
			if said := got.Profile.Metadata["email_verified"]; said != nil && said != c.vouched {
				t.Errorf("the user metadata says %v", said)
			}
		})
	}
	// The administrators of a GitHub Enterprise write addresses: nobody's is believed unless the operator says so.
	c := of(g)
	c.TrustedDomains = nil
	h := newHouse(t, provider(t, "github", c, nil))
	g.SignIn(authtest.GitHubPerson{ID: 1815, Emails: []authtest.GitHubEmail{mail("ada@example.com", true, true)}})
	if h.mustSignIn(t, "github", g).Proved.EmailVerified {
		t.Error("a GitHub Enterprise that nobody trusts is believed")
	}
}

// GitHub refuses by status 200.
func TestWhatGitHubRefuses(t *testing.T) {
	g := authtest.NewGitHub(t)
	for refusal, want := range map[authtest.GitHubRefusal]error{
		authtest.BadVerificationCode: auth.ErrInvalidCredentials, authtest.UnverifiedUserEmail: auth.ErrInvalidCredentials,
		authtest.IncorrectClientCredentials: auth.ErrProviderUnavailable, authtest.RedirectURIMismatch: auth.ErrProviderUnavailable,
		authtest.ApplicationSuspended: auth.ErrProviderUnavailable, "something_new": auth.ErrInvalidCredentials, "hunter2 <b>": auth.ErrInvalidCredentials,
	} {
		log := new(secrettest.Log)
		h := newHouse(t, provider(t, "github", of(g), log.Logger()))
		back := h.begin(t, "github", g)
		g.Refuse(refusal)
		if _, err := h.finish(t.Context(), "github", back); !errors.Is(err, want) {
			t.Errorf("%s: %v, want %v", refusal, err, want)
		}
		h.WantNobody(t)
		if logs := strings.Contains(log.String(), string(refusal)); logs == (refusal == authtest.BadVerificationCode || refusal == authtest.UnverifiedUserEmail || refusal == "hunter2 <b>") {
			t.Errorf("%s: the log says %s", refusal, log)
		}
		secrettest.Silent(t, "the log", log.String()+h.Log.String(), g.ClientSecret(), "hunter2")
		if mended := strings.Contains(log.String(), "; it says: Refused."); mended != errors.Is(want, auth.ErrProviderUnavailable) {
			t.Errorf("%s: of what is to be mended the log says %s", refusal, log)
		}
		g.Mend()
		h.mustSignIn(t, "github", g)
	}
	h := newHouse(t, provider(t, "github", of(g), nil))
	f, err := h.Begin(t.Context(), "github", nil)
	must(t, err)
	if _, err := h.finish(t.Context(), "github", auth.Input(`{"error":"access_denied","state":"`+f.ID+`"}`)); !errors.Is(err, auth.ErrDeclined) {
		t.Errorf("who says no: %v", err)
	}
}

func TestAGitHubThatFailsIsUnavailable(t *testing.T) {
	for _, e := range []authtest.Endpoint{authtest.GitHubToken, authtest.GitHubUser, authtest.GitHubEmails} {
		for _, f := range authtest.Failures() {
			t.Run(string(f)+" at "+string(e[1:]), func(t *testing.T) {
				t.Parallel()
				g := authtest.NewGitHub(t)
				log := new(secrettest.Log)
				p := provider(t, "github", of(g), log.Logger())
				if f == authtest.Silent || f == authtest.Dripping {
					p.Hurry(250 * time.Millisecond)
				}
				h := newHouse(t, p)
				back := h.begin(t, "github", g)
				g.Fail(e, f)
				if e == authtest.GitHubEmails && f == authtest.Missing { // as to a token that may not see addresses
					if found, err := h.finish(t.Context(), "github", back); err != nil || found.Proved.Email != "" {
						t.Errorf("%v, %q", err, found.Proved.Email)
					}
					return
				}
				if _, err := h.finish(t.Context(), "github", back); !errors.Is(err, auth.ErrProviderUnavailable) {
					t.Errorf("%v, want that it does not work at the moment", err)
				}
				h.WantNobody(t)
				secrettest.Silent(t, "the log", log.String()+h.Log.String(), "gho_", "maintenance", "server_error", g.ClientSecret())
				if !strings.Contains(log.String(), "provider=github") || g.Hits(e) > 2 { // a GET whose connection dies is sent once more
					t.Errorf("asked %d times, the log says %s", g.Hits(e), log)
				}
				g.Mend()
				h.mustSignIn(t, "github", g)
			})
		}
	}
}

// Who has asked too often is told when it passes again, and others are let in.
func TestGitHubLimitsHowOftenItIsAsked(t *testing.T) {
	g := authtest.NewGitHub(t)
	h := newHouse(t, provider(t, "github", of(g), nil))
	in := func(d time.Duration) string { return strconv.FormatInt(time.Now().Add(d).Unix(), 10) }
	for name, c := range map[string]struct {
		header   http.Header
		from, to time.Duration
	}{
		"primary":     {http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {in(10 * time.Minute)}}, 9 * time.Minute, 11 * time.Minute},
		"secondary":   {http.Header{"Retry-After": {"30"}}, 30 * time.Second, 30 * time.Second},
		"never":       {http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {in(1000 * time.Hour)}}, time.Hour, time.Hour},
		"in the past": {http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {"1"}}, time.Second, time.Second},
		"nonsense":    {http.Header{"Retry-After": {"soon"}}, time.Minute, time.Minute},
	} {
		back := h.begin(t, "github", g)
		g.Limit(c.header)
		_, err := h.finish(t.Context(), "github", back)
		f, _ := fault.Of(err)
		if !errors.Is(err, auth.ErrProviderUnavailable) || f.RetryAfter < c.from || f.RetryAfter > c.to {
			t.Errorf("%s: %v, after %v; want %v to %v", name, err, f, c.from, c.to)
		}
		g.Mend()
	}
	h.WantNobody(t)
	if h.ListAuthProviders()[0].Unavailable {
		t.Error("the provider is unavailable for everybody")
	}
	h.mustSignIn(t, "github", g)
}

// Nobody but who lists the providers comes by, and GitHub is found again; Run does the same while nobody at all comes by.
func TestAGitHubThatComesBackIsFoundByItself(t *testing.T) {
	g := authtest.NewGitHub(t)
	log := new(secrettest.Log)
	p := provider(t, "github", of(g), log.Logger())
	h := newHouse(t, p)
	back := h.begin(t, "github", g)
	for _, e := range []authtest.Endpoint{authtest.GitHubToken, authtest.GitHubRoot} {
		g.Fail(e, authtest.HangsUp)
	}
	if _, err := h.finish(t.Context(), "github", back); !errors.Is(err, auth.ErrProviderUnavailable) {
		t.Errorf("finish: %v", err)
	}
	unavailable := func() bool { return h.ListAuthProviders()[0].Unavailable }
	eventually(t, "unavailable", unavailable)
	if _, err := h.Begin(t.Context(), "github", nil); !errors.Is(err, auth.ErrProviderUnavailable) {
		t.Errorf("begin: %v", err)
	}
	g.Mend()
	eventually(t, "available", func() bool { return !unavailable() })
	h.mustSignIn(t, "github", g)
	if !strings.Contains(log.String(), "answers again") {
		t.Errorf("the log: %s", log)
	}

	g.Fail(authtest.GitHubRoot, authtest.Failing)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	before := g.Hits(authtest.GitHubRoot)
	eventually(t, "asked again and again", func() bool { return g.Hits(authtest.GitHubRoot) > before+2 })
	g.Mend()
	eventually(t, "available", func() bool { return !unavailable() })
	stop()
	running.Wait()
}

// A code is good for the flow it was made for, and for no other: neither of the same provider nor of another.
func TestACodeIsNotInjected(t *testing.T) {
	g := authtest.NewGitHub(t)
	h := newHouse(t, provider(t, "github", of(g), nil), provider(t, "beta", of(g), nil))
	victims := h.begin(t, "github", g)
	var stolen, own map[string]string
	must(t, json.Unmarshal(victims, &stolen))
	for _, at := range []string{"github", "beta"} {
		must(t, json.Unmarshal(h.begin(t, at, g), &own))
		own["code"] = stolen["code"]
		in, err := json.Marshal(own)
		must(t, err)
		if _, err := h.finish(t.Context(), at, in); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("the victim's code in a flow of %s: %v, want that it proves nothing", at, err)
		}
	}
	if _, err := h.finish(t.Context(), "beta", victims); !errors.Is(err, auth.ErrInvalidCredentials) {
		t.Errorf("a flow of another provider: %v", err)
	}
	h.WantNobody(t)
	if _, err := h.finish(t.Context(), "github", victims); err != nil {
		t.Errorf("the victim: %v", err)
	}
}

func TestWhereTheAPIIs(t *testing.T) {
	for at, want := range map[string]string{
		"": "https://api.github.com", "https://GitHub.com/": "https://api.github.com",
		"https://github.corp.example": "https://github.corp.example/api/v3", "https://octo.ghe.com": "https://api.octo.ghe.com",
	} {
		if got := provider(t, "github", github.Config{URL: at, ClientID: "x", ClientSecret: "y"}, nil).API(); got != want {
			t.Errorf("%q: %s, want %s", at, got, want)
		}
	}
	p, err := github.New("github", github.Config{ClientID: "x", ClientSecret: "y"}, nil)
	must(t, err)
	if p.Timeout() != 5*time.Second {
		t.Errorf("GitHub has %v", p.Timeout())
	}
}

func TestPrivateAddressesAreNotAsked(t *testing.T) {
	g := authtest.NewGitHub(t)
	log := new(secrettest.Log)
	p := provider(t, "github", github.Config{URL: "https://localhost" + g.URL()[strings.LastIndex(g.URL(), ":"):], ClientID: "x", ClientSecret: "y", CallbackURL: callback}, log.Logger())
	c, err := p.Begin(t.Context(), auth.Attempt{FlowID: "x"})
	must(t, err)
	if _, err := p.Finish(t.Context(), auth.Attempt{Input: auth.Input(`{"code":"x"}`), State: c.State}); !errors.Is(err, auth.ErrProviderUnavailable) || !strings.Contains(log.String(), "not a public one") {
		t.Errorf("%v, log %s", err, log)
	}
}

func TestSettingsAreWrongAllAtOnce(t *testing.T) {
	section := map[string]any{
		"type": "github", "client_secret": " hunter2hunter2", "url": "http://ghe.corp.test/x", "callback_url": "/back", "icon": "javascript:alert(1)",
		"trusted_domains": []any{"*", "example.com"}, "private_hosts": "http://x", "ca_file": "/nowhere", "login": "ada", "display_name": []any{map[string]any{}},
	}
	_, err := auth.NewProviders(auth.Settings{"gh": section, "github": {"client_id": "x"}}, github.Type(nil))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"gh.client_id: must be set", "gh.client_secret: must be set", "gh.url: must be https://", "gh.callback_url: must be", "gh.icon: must be", "gh.trusted_domains: must be",
		"gh.private_hosts: must be", "gh.ca_file: cannot be read", "gh.login: the provider knows no such setting", "gh.display_name: the value has the wrong type",
		"auth.providers.github.client_secret: must be set",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("does not say %q", want)
		}
	}
	if n := len(auth.SettingsErrors(err)); n != 11 {
		t.Errorf("%d problems, want 11:\n%v", n, err)
	}
	secrettest.Silent(t, "the error", err.Error(), "hunter2", "corp.test", "alert")

	made, err := auth.NewProviders(auth.Settings{"github": {"client_id": "x", "client_secret": "y", "icon": "/g.svg", "trusted_domains": []any{}}}, github.Type(nil))
	must(t, err)
	if got, want := newHouse(t, made...).ListAuthProviders()[0], (auth.ProviderInfo{ID: "github", DisplayName: "GitHub", Icon: "/g.svg", Flow: auth.FlowRedirect}); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestTheClientSecretDoesNotShow(t *testing.T) {
	c := github.Config{ClientID: "x", ClientSecret: "hunter2hunter2"}
	p := provider(t, "github", c, nil)
	log := new(secrettest.Log)
	log.Logger().Info("x", "provider", p, "config", c)
	data, err := json.Marshal(p)
	must(t, err)
	secrettest.Silent(t, "what is printed", fmt.Sprintf("%v %+v %#v %s %v %+v %#v %s", p, p, p, p, c, c, c, data)+log.String(), "hunter2")
}

func TestEverySettingIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../docs/social.md")
	must(t, err)
	_, part, _ := strings.Cut(string(text), "\n## GitHub")
	part, _, _ = strings.Cut(part, "\n## ")
	for field := range reflect.TypeFor[github.Config]().Fields() {
		if key := field.Tag.Get("config"); key != "-" && !strings.Contains(part, "`"+key+"`") {
			t.Errorf("docs/social.md does not have %s", key)
		}
	}
}

// answering is a GitHub whose token endpoint answers so, and that notes who asks it with a token.
type answering struct {
	brought *atomic.Int64
	body    string
}

func (a answering) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Authorization") != "" {
		a.brought.Add(1)
	}
	return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(a.body)), Request: r}, nil
}

func TestOnlyABearersTokenIsBroughtToTheAPI(t *testing.T) {
	for _, body := range []string{
		`{"access_token":"gho_x","token_type":"mac"}`, `{"access_token":"gho_x"}`, `{"access_token":"gho_x\nX-Evil: 1","token_type":"bearer"}`,
		`{"access_token":"","token_type":"bearer"}`, `{"access_token":["gho_x"],"token_type":"bearer"}`, `{"access_token":"gho_x","Access_Token":"gho_y","token_type":"bearer"}`, `{}`, `null`,
	} {
		p, err := github.New("github", github.Config{ClientID: "x", ClientSecret: "y"}, slog.New(slog.DiscardHandler)) // anew: it looks after GitHub meanwhile
		must(t, err)
		var brought atomic.Int64
		p.Through(answering{&brought, body})
		challenge, err := p.Begin(t.Context(), auth.Attempt{FlowID: "a-flow", CallbackURL: "https://app.example.com/back"})
		must(t, err)
		found, err := p.Finish(t.Context(), auth.Attempt{Input: auth.Input(`{"code":"a-code"}`), State: challenge.State, CallbackURL: "https://app.example.com/back"})
		if !errors.Is(err, auth.ErrProviderUnavailable) || brought.Load() > 0 {
			t.Errorf("%s: %q, %v; the API was brought a token %d times", body, found.EntityID, err, brought.Load())
		}
	}
}
