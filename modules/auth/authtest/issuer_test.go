package authtest_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
)

const callbackURL = "https://app.example.com/callback?kept=1"

// through goes through both steps of a provider.
func through(ctx context.Context, p auth.Challenger, i *authtest.Issuer) (auth.Assertion, error) {
	begun, back, err := visit(ctx, p, i)
	if err != nil {
		return auth.Assertion{}, err
	}
	if back.Values.Get("state") != flowID {
		return auth.Assertion{}, errors.New("state is another") // as auth.Service says
	}
	return p.Finish(ctx, auth.Attempt{Input: back.Input(), State: begun.State, CallbackURL: callbackURL})
}

const flowID = "the-id-of-the-flow"

func visit(ctx context.Context, p auth.Challenger, i *authtest.Issuer) (auth.Challenge, authtest.Callback, error) {
	begun, err := p.Begin(ctx, auth.Attempt{FlowID: flowID, CallbackURL: callbackURL})
	if err != nil {
		return begun, authtest.Callback{}, err
	}
	back, err := i.Visit(begun.RedirectURL)
	return begun, back, err
}

func TestAnIssuerSignsPeopleIn(t *testing.T) {
	for name, o := range map[string]authtest.IssuerOptions{
		"as it comes":         {},
		"TLS":                 {TLS: true},
		"a path":              {Path: "/realms/staff"},
		"RS256":               {Algorithm: "RS256"},
		"EdDSA":               {Algorithm: "EdDSA"},
		"names with signs":    {ClientID: "a client:1", ClientSecret: "100% &secret+"},
		"client_secret_basic": {ClientAuth: "client_secret_basic"},
		"keys without ids":    {NoKeyID: true},
		"userinfo only":       {UserinfoOnly: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			i := authtest.NewIssuer(t, o)
			p := newRelying(i, "")
			got, err := through(t.Context(), p, i)
			if err != nil || got.EntityID != "ada-1815" || got.Profile.Email != "ada@example.com" || !got.Profile.EmailVerified {
				t.Errorf("%+v, %v; want Ada", got, err)
			}
			i.SignIn(authtest.Person{Subject: "grace-1906", Email: "grace@example.com", Claims: map[string]any{"email_verified": "true"}})
			got, err = through(t.Context(), p, i)
			if err != nil || got.EntityID != "grace-1906" || got.Profile.EmailVerified {
				t.Errorf("%+v, %v; want Grace, not verified: a text is no truth", got, err)
			}
			if asked := i.Asked(); asked.Get("redirect_uri") != callbackURL || asked.Get("scope") != "openid email profile" {
				t.Errorf("the issuer was asked %v", asked)
			}
			if n := i.Hits(authtest.Token); n != 2 {
				t.Errorf("%d codes were redeemed, want 2", n)
			}
		})
	}
}

// caught says for each misbehaviour which check finds it: without that one, and with all others, somebody is let in.
var caught = map[authtest.Misbehaviour]check{
	authtest.WrongIssuer: issued, authtest.NoIssuer: issued,
	authtest.WrongAudience: audience, authtest.NoAudience: audience, authtest.ManyAudiences: party, authtest.WrongParty: party,
	authtest.WrongNonce: nonce, authtest.NoNonce: nonce, authtest.NoSubject: subject, authtest.EmptySubject: subject,
	authtest.Expired: expiry, authtest.NoExpiry: expiry, authtest.NotYetValid: notBefore, authtest.IssuedInTheFuture: issuedAt,
	authtest.Unsigned: algorithm, authtest.SignedByPublicKey: algorithm, authtest.SignedBySecret: algorithm, authtest.OtherAlgorithm: algorithm,
	authtest.BrokenSignature: signature, authtest.SwappedKey: signature, authtest.UnknownKey: signature, authtest.KeyElsewhere: signature,
	authtest.KeyInToken: published, authtest.NoIDToken: idToken,
	authtest.OtherIssuer: discovered, authtest.OtherSubject: sameUser,
	authtest.WrongIss: callbackID, authtest.NoIss: callbackID, authtest.Denied: refused,
	authtest.WrongState: "", authtest.NoState: "", // by auth.Service, which is not asked here
}

func TestEachMisbehaviourIsCaughtByOneCheckAndNoOther(t *testing.T) {
	for _, o := range []authtest.IssuerOptions{{}, {Algorithm: "RS256"}, {Algorithm: "EdDSA"}} {
		t.Run(o.Algorithm, func(t *testing.T) {
			t.Parallel()
			i := authtest.NewIssuer(t, o)
			for _, m := range authtest.Misbehaviours() {
				without, known := caught[m]
				if !known {
					t.Errorf("%s: no check is known to find it", m)
				}
				i.Misbehave(m)
				if got, err := through(t.Context(), newRelying(i, ""), i); err == nil {
					t.Errorf("%s: %+v is let in", m, got)
				}
				if without != "" {
					if _, err := through(t.Context(), newRelying(i, without), i); err != nil {
						t.Errorf("%s is refused without a look at %s: %v; it is more than one lie", m, without, err)
					}
				}
				i.Behave()
				if _, err := through(t.Context(), newRelying(i, without), i); err != nil && without != "" {
					t.Errorf("after %s the issuer still misbehaves: %v", m, err)
				}
			}
		})
	}
	if len(caught) != len(authtest.Misbehaviours()) {
		t.Errorf("%d misbehaviours are known, and %d are listed", len(caught), len(authtest.Misbehaviours()))
	}
}

func TestEachFailureIsSurvived(t *testing.T) {
	i := authtest.NewIssuer(t, authtest.IssuerOptions{})
	p := newRelying(i, "")
	p.client.Timeout = 150 * time.Millisecond
	for _, e := range []authtest.Endpoint{authtest.Discovery, authtest.Token, authtest.Keys, authtest.Userinfo} {
		for _, f := range authtest.Failures() {
			i.Fail(e, f)
			if got, err := through(t.Context(), p, i); err == nil {
				t.Errorf("%s %s: %+v is let in", e, f, got)
			}
			i.Behave()
		}
	}
	p.client.Timeout = 0
	if _, err := through(t.Context(), p, i); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

// A client that follows redirects, has all the time and memory, and does not look at types is let in.
func TestSomeFailuresAreForThoseWhoTakeThem(t *testing.T) {
	i := authtest.NewIssuer(t, authtest.IssuerOptions{})
	for _, f := range []authtest.Failure{authtest.Huge, authtest.Redirecting, authtest.WrongType} {
		i.Fail(authtest.Discovery, f)
		response, err := i.Client().Get(i.Endpoint(authtest.Discovery))
		if err != nil {
			t.Fatal(err)
		}
		var m metadata
		if err := json.NewDecoder(response.Body).Decode(&m); err != nil || m.Issuer != i.URL() {
			t.Errorf("%s: %+v, %v", f, m, err)
		}
		_ = response.Body.Close()
	}
}

func TestKeysRotate(t *testing.T) {
	i := authtest.NewIssuer(t, authtest.IssuerOptions{})
	p := newRelying(i, "")
	count := func() int {
		r, _ := http.NewRequest(http.MethodGet, i.Endpoint(authtest.Keys), nil)
		var set struct{ Keys []map[string]string }
		if err := p.fetch(r, &set); err != nil {
			t.Fatal(err)
		}
		return len(set.Keys)
	}
	for _, step := range []struct {
		name   string
		change func()
		keys   int
	}{{"Rotate", i.Rotate, 2}, {"Rotate", i.Rotate, 3}, {"Replace", i.Replace, 1}} {
		step.change()
		if _, err := through(t.Context(), p, i); err != nil {
			t.Errorf("after %s: %v", step.name, err)
		}
		if n := count(); n != step.keys {
			t.Errorf("after %s there are %d keys, want %d", step.name, n, step.keys)
		}
	}
}

func TestACodeIsForOneUseByItsClientWithItsVerifier(t *testing.T) {
	i := authtest.NewIssuer(t, authtest.IssuerOptions{ClientAuth: "client_secret_post"})
	code := func() string {
		back, err := i.Visit(location(i, nil))
		if err != nil {
			t.Fatal(err)
		}
		return back.Values.Get("code")
	}
	redeem := func(change url.Values) (status int, body string) {
		form := url.Values{"grant_type": {"authorization_code"}, "redirect_uri": {callbackURL}, "code_verifier": {proof},
			"client_id": {i.ClientID()}, "client_secret": {i.ClientSecret()}}
		if !change.Has("code") {
			form.Set("code", code())
		}
		for name, values := range change {
			form[name] = values
		}
		response, err := i.Client().PostForm(i.Endpoint(authtest.Token), form)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = response.Body.Close() }()
		all, _ := io.ReadAll(response.Body)
		return response.StatusCode, string(all)
	}
	for name, c := range map[string]struct {
		change url.Values
		want   string
	}{
		"as it should be":    {nil, "id_token"},
		"another verifier":   {url.Values{"code_verifier": {strings.ToUpper(proof)}}, "invalid_grant"},
		"no verifier":        {url.Values{"code_verifier": nil}, "invalid_grant"},
		"another callback":   {url.Values{"redirect_uri": {"https://evil.example.com/"}}, "invalid_grant"},
		"no such code":       {url.Values{"code": {"ABCDEFGHIJ"}}, "invalid_grant"},
		"another secret":     {url.Values{"client_secret": {"secret"}}, "invalid_client"},
		"another client":     {url.Values{"client_id": {"client"}}, "invalid_client"},
		"no proof of client": {url.Values{"client_secret": nil}, "invalid_client"},
		"another grant":      {url.Values{"grant_type": {"password"}}, "unsupported_grant_type"},
	} {
		if status, body := redeem(c.change); !strings.Contains(body, c.want) || (status == http.StatusOK) != (c.want == "id_token") {
			t.Errorf("%s: %d %s, want %s", name, status, body, c.want)
		}
	}
	once := url.Values{"code": {code()}}
	if status, body := redeem(once); status != http.StatusOK {
		t.Errorf("a code: %d %s", status, body)
	}
	if _, body := redeem(once); !strings.Contains(body, "invalid_grant") {
		t.Errorf("a code that was used: %s", body)
	}
}

// proof is the verifier of the code_challenge in location.
const proof = "a-verifier-of-at-least-43-characters-0123456789"

// location is a request for authorization, with some parameters changed.
func location(i *authtest.Issuer, change url.Values) string {
	sum := sha256.Sum256([]byte(proof))
	query := url.Values{
		"response_type": {"code"}, "client_id": {i.ClientID()}, "redirect_uri": {callbackURL}, "scope": {"openid"}, "state": {"some-state"},
		"nonce": {"some-nonce"}, "code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	for name, values := range change {
		query[name] = values
	}
	return i.Endpoint(authtest.Authorization) + "?" + query.Encode()
}

func TestARequestThatForgetsSomethingIsRefused(t *testing.T) {
	i := authtest.NewIssuer(t, authtest.IssuerOptions{})
	for name, c := range map[string]struct {
		change url.Values
		want   string // the error that is sent back; empty: nobody is sent back
	}{
		"no state":          {url.Values{"state": nil}, "invalid_request"},
		"no nonce":          {url.Values{"nonce": nil}, "invalid_request"},
		"no PKCE":           {url.Values{"code_challenge": nil, "code_challenge_method": nil}, "invalid_request"},
		"plain PKCE":        {url.Values{"code_challenge_method": {"plain"}}, "invalid_request"},
		"two nonces":        {url.Values{"nonce": {"a", "b"}}, "invalid_request"},
		"a response_mode":   {url.Values{"response_mode": {"fragment"}}, "invalid_request"},
		"another flow":      {url.Values{"response_type": {"id_token"}}, "unsupported_response_type"},
		"no openid":         {url.Values{"scope": {"email"}}, "invalid_scope"},
		"another client":    {url.Values{"client_id": {"client"}}, ""},
		"no redirect_uri":   {url.Values{"redirect_uri": nil}, ""},
		"a path to go back": {url.Values{"redirect_uri": {"/callback"}}, ""},
	} {
		back, err := i.Visit(location(i, c.change))
		if (err == nil) != (c.want != "") || back.Values.Get("error") != c.want || back.Values.Has("code") {
			t.Errorf("%s: %v, %v; want error %q and no code", name, back.Values, err, c.want)
		}
	}
	if _, err := i.Visit("https://issuer.invalid/authorize"); err == nil {
		t.Error("a location of another issuer is visited")
	}
}

// A browser is sent to where Visit says, by both response modes.
func TestABrowserComesBackAsVisitSays(t *testing.T) {
	i := authtest.NewIssuer(t, authtest.IssuerOptions{})
	browser := i.Client()
	browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	response, err := browser.Get(location(i, nil))
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	at, err := response.Location()
	if err != nil || response.StatusCode != http.StatusFound || at.Query().Get("state") != "some-state" ||
		at.Query().Get("iss") != i.URL() || at.Query().Get("code") == "" || at.Query().Get("kept") != "1" {
		t.Errorf("%d to %v (%v), want the callback with code, state, iss and its own query", response.StatusCode, at, err)
	}

	form := url.Values{"response_mode": {"form_post"}}
	response, err = browser.Get(location(i, form))
	if err != nil {
		t.Fatal(err)
	}
	page, _ := io.ReadAll(response.Body)
	_ = response.Body.Close()
	for _, want := range []string{`action="` + callbackURL + `"`, `name="code"`, `name="state" value="some-state"`, `name="iss"`} {
		if !strings.Contains(string(page), want) {
			t.Errorf("the page lacks %s:\n%s", want, page)
		}
	}
	back, err := i.Visit(location(i, form))
	if err != nil {
		t.Fatal(err)
	}
	r := back.Request()
	if err := r.ParseForm(); err != nil || r.Method != http.MethodPost || r.PostForm.Get("code") == "" || r.URL.Query().Get("kept") != "1" {
		t.Errorf("%s %s with %v (%v), want the callback by POST", r.Method, r.URL, r.PostForm, err)
	}
}

func ExampleIssuer() {
	issuer, err := authtest.StartIssuer(authtest.IssuerOptions{}) // in a test: authtest.NewIssuer(t, …)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer issuer.Close()
	issuer.SignIn(authtest.Person{Subject: "grace-1906", Email: "grace@example.com", EmailVerified: true})

	// The provider to be tested, of an issuer, a client's id and its secret.
	p := relying{issuer: issuer.URL(), id: issuer.ClientID(), secret: issuer.ClientSecret(), client: issuer.Client()}

	signIn := func() (auth.Assertion, error) {
		const home = "https://app.example.com/callback"
		begun, err := p.Begin(context.Background(), auth.Attempt{FlowID: "flow-1", CallbackURL: home})
		if err != nil {
			return auth.Assertion{}, err
		}
		callback, err := issuer.Visit(begun.RedirectURL) // instead of a browser
		if err != nil {
			return auth.Assertion{}, err
		}
		return p.Finish(context.Background(), auth.Attempt{Input: callback.Input(), State: begun.State, CallbackURL: home})
	}
	who, err := signIn()
	fmt.Println(who.EntityID, who.Profile.Email, who.Profile.EmailVerified, err)

	issuer.Misbehave(authtest.WrongNonce)
	_, err = signIn()
	fmt.Println(err)
	// Output:
	// grace-1906 grace@example.com true <nil>
	// nonce is another
}
