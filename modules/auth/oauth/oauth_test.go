package oauth_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
	"github.com/latchkey-go/latchkey/modules/auth/oauth"
)

// vendor is a provider that is made of a Client.
type vendor struct {
	*oauth.Client
	userinfo string
}

func (vendor) Name() string { return "vendor" }

func (v vendor) Begin(_ context.Context, a auth.Attempt) (auth.Challenge, error) {
	return v.Client.Begin(a)
}

func (v vendor) Finish(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	granted, err := v.Client.Finish(ctx, a)
	if err != nil {
		return auth.Assertion{}, err
	}
	var who struct {
		ID       oauth.ID `json:"id"`
		Email    string   `json:"email"`
		Verified bool     `json:"email_verified"`
	}
	if err := granted.Get(ctx, v.userinfo, &who); err != nil {
		return auth.Assertion{}, err
	}
	return auth.Assertion{EntityID: string(who.ID), Profile: auth.Profile{Email: who.Email, EmailVerified: who.Verified}}, nil
}

// big is an id that a float64 cannot hold.
const big = "9007199254740993"

func person(id, email string, verified bool) authtest.Person {
	return authtest.Person{Subject: id, Email: email, EmailVerified: verified, Claims: map[string]any{"id": json.Number(id)}}
}

func at(t testing.TB, issuer *authtest.Issuer, change ...func(*oauth.Config)) vendor {
	t.Helper()
	c := oauth.Config{AuthURL: issuer.Endpoint(authtest.Authorization), TokenURL: issuer.Endpoint(authtest.Token),
		ClientID: issuer.ClientID(), ClientSecret: issuer.ClientSecret(), Scopes: []string{"email"}, Issuer: issuer.URL(), PrivateAddresses: true}
	for _, change := range change {
		change(&c)
	}
	client, err := oauth.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return vendor{client, issuer.Endpoint(authtest.Userinfo)}
}

func newIssuer(t testing.TB, o authtest.IssuerOptions) *authtest.Issuer {
	t.Helper()
	o.OAuth = true
	issuer := authtest.NewIssuer(t, o)
	issuer.SignIn(person(big, "ada@example.com", true))
	return issuer
}

func TestProvider(t *testing.T) {
	issuer := newIssuer(t, authtest.IssuerOptions{})
	authtest.Provider(t, authtest.Case{
		New:  func(t *testing.T) auth.Provider { return at(t, issuer) },
		Back: issuer.Back,
		Bad: map[string]auth.Input{
			"forged code":    auth.Input(`{"code":"code-of-eve-0666"}`),
			"another vendor": auth.Input(`{"iss":"https://vendor-of-eve.example"}`),
			"who said no":    auth.Input(`{"error":"access_denied"}`),
			"a long code":    auth.Input(`{"code":"` + strings.Repeat("x", 5000) + `"}`),
		},
		Vouches: true,
		Unverified: func(t testing.TB, location string) auth.Input {
			return issuer.BackAs(t, location, person("666", "ada@example.com", false))
		},
	})
}

// flow is a provider's two steps, with a person in between.
func flow(t testing.TB, v vendor, issuer *authtest.Issuer, between func()) (auth.Assertion, error) {
	t.Helper()
	a := auth.Attempt{FlowID: "a-flow", CallbackURL: "https://app.example.com/back"}
	challenge, err := v.Begin(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	a.Input, a.State = issuer.Back(t, challenge.RedirectURL), challenge.State
	if between != nil {
		between()
	}
	return v.Finish(t.Context(), a)
}

func TestAnIDIsATextOrAWholeNumberOfWhichNoDigitIsLost(t *testing.T) {
	issuer := newIssuer(t, authtest.IssuerOptions{})
	if found, err := flow(t, at(t, issuer), issuer, nil); err != nil || found.EntityID != big {
		t.Errorf("%q, %v", found.EntityID, err)
	}
	for text, want := range map[string]string{`"ada"`: "ada", `1815`: "1815", `0`: "0", `null`: "", `1.5`: "-", `1e3`: "-", `-1`: "-", `true`: "-", `{}`: "-", `["ada"]`: "-"} {
		var got struct {
			ID oauth.ID `json:"id"`
		}
		err := auth.Input(`{"id":` + text + `}`).Decode(&got)
		if err != nil && want != "-" || err == nil && string(got.ID) != want {
			t.Errorf("%s: %q, %v, want %q", text, got.ID, err, want)
		}
	}
}

func TestWhatAVendorTellsIsReadInOneWay(t *testing.T) {
	issuer := newIssuer(t, authtest.IssuerOptions{})
	issuer.Alter(authtest.Userinfo, func(m map[string]any) { m["email"], m["email_verified"] = nil, nil }) // as of who keeps theirs private
	if found, err := flow(t, at(t, issuer), issuer, nil); err != nil || found.EntityID != big || found.Profile.EmailVerified {
		t.Errorf("%+v, %v", found, err)
	}
	for name, spoil := range map[string]func(map[string]any){
		"two ids":            func(m map[string]any) { m["ID"] = 666 },
		"verified as a text": func(m map[string]any) { m["email_verified"] = "true" },
		"an id that is none": func(m map[string]any) { m["id"] = 1.5 },
	} {
		issuer.Alter(authtest.Userinfo, spoil)
		if found, err := flow(t, at(t, issuer), issuer, nil); !errors.Is(err, auth.ErrProviderUnavailable) {
			t.Errorf("%s: %+v, %v", name, found, err)
		}
	}
	issuer.Alter(authtest.Userinfo, func(m map[string]any) { delete(m, "id") })
	if found, err := flow(t, at(t, issuer), issuer, nil); err != nil || found.EntityID != "" { // which auth.Service takes for nobody
		t.Errorf("no id: %+v, %v", found, err)
	}
}

func TestBothWaysInWhichAClientProvesItself(t *testing.T) {
	for way, inBody := range map[string]bool{"client_secret_basic": false, "client_secret_post": true} {
		issuer := newIssuer(t, authtest.IssuerOptions{ClientAuth: way})
		if _, err := flow(t, at(t, issuer, func(c *oauth.Config) { c.SecretInBody = inBody }), issuer, nil); err != nil {
			t.Errorf("%s: %v", way, err)
		}
		if _, err := flow(t, at(t, issuer, func(c *oauth.Config) { c.SecretInBody = !inBody }), issuer, nil); !errors.Is(err, auth.ErrProviderUnavailable) ||
			!strings.Contains(err.Error(), "invalid_client") {
			t.Errorf("%s, not by that: %v; want it said that the client is not known", way, err)
		}
		if hits := issuer.Hits(authtest.Token); hits != 2 {
			t.Errorf("%s: a code was brought %d times, want once each", way, hits)
		}
	}
}

func TestAVendorThatFailsLetsNobodyInAndIsNotTheCallersFault(t *testing.T) {
	t.Parallel()
	for _, endpoint := range []authtest.Endpoint{authtest.Token, authtest.Userinfo} {
		for _, failure := range authtest.Failures() {
			if failure == authtest.WrongType {
				continue // vendors answer the token as a form, and as text; it is what it says that counts
			}
			t.Run(fmt.Sprintf("%s %s", strings.Trim(string(endpoint), "/"), failure), func(t *testing.T) {
				t.Parallel()
				issuer := newIssuer(t, authtest.IssuerOptions{})
				v := at(t, issuer)
				v.Hurry(time.Second)
				_, err := flow(t, v, issuer, func() { issuer.Fail(endpoint, failure) })
				if !errors.Is(err, auth.ErrProviderUnavailable) || errors.Is(err, auth.ErrInput) || errors.Is(err, auth.ErrInvalidCredentials) {
					t.Fatalf("%v", err)
				}
				for _, secret := range []string{issuer.ClientSecret(), "maintenance", issuer.URL()} {
					if strings.Contains(err.Error(), secret) {
						t.Errorf("it tells %q: %v", secret, err)
					}
				}
				if failure == authtest.Redirecting && issuer.Hits(endpoint) != 1 {
					t.Error("the redirect was followed")
				}
			})
		}
	}
}

func TestWhatAVendorSaysOfAnErrorIsNotRepeated(t *testing.T) {
	var answer string
	vendorServer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, answer)
	}))
	t.Cleanup(vendorServer.Close)
	client, err := oauth.New(oauth.Config{AuthURL: vendorServer.URL, TokenURL: vendorServer.URL, ClientID: "app", ClientSecret: "hunter2hunter2", PrivateAddresses: true})
	if err != nil {
		t.Fatal(err)
	}
	a := auth.Attempt{FlowID: "a-flow"}
	challenge, err := client.Begin(a)
	if err != nil {
		t.Fatal(err)
	}
	a.Input, a.State = auth.Input(`{"code":"the-code"}`), challenge.State
	for sent, want := range map[string]error{
		`{"error":"bad_verification_code","error_description":"leaky"}`: auth.ErrInvalidCredentials, // with status 200, as GitHub does
		`{"error":"leaky","error_description":"leaky"}`:                 auth.ErrProviderUnavailable,
		`{"refresh_token":"leaky"}`:                                     auth.ErrProviderUnavailable,
		`leaky`:                                                         auth.ErrProviderUnavailable,
	} {
		answer = sent
		if _, err := client.Finish(t.Context(), a); !errors.Is(err, want) || strings.Contains(err.Error(), "leaky") {
			t.Errorf("%s: %v", sent, err)
		}
	}
	for _, shown := range []string{fmt.Sprintf("%v", client), fmt.Sprintf("%+v", client), fmt.Sprintf("%#v", client)} {
		if strings.Contains(shown, "hunter2") {
			t.Error("it shows the secret")
		}
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := client.Finish(gone, a); !errors.Is(err, context.Canceled) {
		t.Errorf("of a caller who has gone: %v", err)
	}
}

func TestAClientIsStrictUnlessItIsTold(t *testing.T) {
	good := oauth.Config{AuthURL: "https://vendor.example/authorize", TokenURL: "https://vendor.example/token", ClientID: "app"}
	if _, err := oauth.New(good); err != nil {
		t.Error(err)
	}
	for name, spoil := range map[string]func(*oauth.Config){
		"http":              func(c *oauth.Config) { c.TokenURL = "http://vendor.example/token" },
		"no address":        func(c *oauth.Config) { c.AuthURL = "/authorize" },
		"a private address": func(c *oauth.Config) { c.TokenURL = "https://127.0.0.1/token" },
		"no client":         func(c *oauth.Config) { c.ClientID = "" },
	} {
		c := good
		spoil(&c)
		if _, err := oauth.New(c); err == nil {
			t.Errorf("%s: it is taken", name)
		}
	}
	issuer := newIssuer(t, authtest.IssuerOptions{TLS: true}) // at an address that a name leads to, too
	name := strings.Replace(issuer.URL(), "127.0.0.1", "localhost", 1)
	v := at(t, issuer, func(c *oauth.Config) {
		c.PrivateAddresses, c.TokenURL, c.AuthURL = false, name+"/token", name+"/authorize"
	})
	a := auth.Attempt{FlowID: "a-flow"}
	challenge, err := v.Begin(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	a.State, a.Input = challenge.State, auth.Input(`{"code":"x","iss":"`+issuer.URL()+`"}`)
	if _, err := v.Finish(t.Context(), a); !errors.Is(err, auth.ErrProviderUnavailable) || !strings.Contains(err.Error(), "not a public one") {
		t.Errorf("a name that leads into one's own network: %v", err)
	}
	if _, err := v.Begin(t.Context(), auth.Attempt{}); err == nil {
		t.Error("without a flow there is nothing to find again")
	}
}

func TestTheVendorIsAskedAsOAuthSays(t *testing.T) {
	issuer := newIssuer(t, authtest.IssuerOptions{})
	if _, err := flow(t, at(t, issuer), issuer, nil); err != nil {
		t.Fatal(err)
	}
	want := url.Values{"response_type": {"code"}, "client_id": {issuer.ClientID()}, "redirect_uri": {"https://app.example.com/back"}, "scope": {"email"},
		"state": {"a-flow"}, "code_challenge_method": {"S256"}}
	asked := issuer.Asked()
	want.Set("code_challenge", asked.Get("code_challenge"))
	if asked.Encode() != want.Encode() {
		t.Errorf("asked %v, want %v", asked, want)
	}
}

// A vendor that knows no PKCE would take a code without its verifier.
func TestWithoutWhatWasKeptNobodyIsAsked(t *testing.T) {
	issuer := newIssuer(t, authtest.IssuerOptions{})
	v := at(t, issuer)
	for _, state := range []string{"", "{}", `{"callback":"https://app.example.com/back"}`, `{"verifier":""}`, "null", "[]", "\xff"} {
		in := auth.Input(`{"code":"x","iss":"` + issuer.URL() + `"}`)
		if _, err := v.Finish(t.Context(), auth.Attempt{Input: in, State: []byte(state)}); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("%q: %v", state, err)
		}
	}
	if n := issuer.Hits(authtest.Token); n != 0 {
		t.Errorf("the vendor was asked %d times", n)
	}
}
