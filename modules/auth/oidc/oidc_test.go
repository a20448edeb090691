package oidc_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
	"github.com/latchkey-go/latchkey/modules/auth/oidc"
	"github.com/latchkey-go/latchkey/modules/kernel/secrettest"
)

func TestSomebodySignsIn(t *testing.T) {
	for name, o := range map[string]authtest.IssuerOptions{
		"as it is":                {},
		"with RS256":              {Algorithm: "RS256"},
		"with EdDSA":              {Algorithm: "EdDSA"},
		"with a path":             {Path: "/realms/staff"},
		"secret in the form":      {ClientAuth: "client_secret_post"},
		"secret in the header":    {ClientAuth: "client_secret_basic"},
		"strange id and secret":   {ClientID: "a b&c=%:d", ClientSecret: "s +&=%:/é"[:8]},
		"profile by the userinfo": {UserinfoOnly: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			issuer := authtest.NewIssuer(t, o)
			h := newHouse(t, provider(t, "acme", of(issuer), nil))
			found := h.MustSignIn(t, "acme", issuer)
			want := auth.Profile{Email: "ada@example.com", EmailVerified: true, Name: "Ada Lovelace", FirstName: "Ada", LastName: "Lovelace",
				Metadata: map[string]any{"email": "ada@example.com", "email_verified": true, "name": "Ada Lovelace", "given_name": "Ada", "family_name": "Lovelace"}}
			if got := found.Proved.Profile; !reflect.DeepEqual(got, want) {
				t.Errorf("profile %+v, want %+v", got, want)
			}
			if want := issuer.URL() + "#ada-1815"; found.EntityID() != want {
				t.Errorf("entity id %q, want %q", found.EntityID(), want)
			}
			if again := h.MustSignIn(t, "acme", issuer); again.ID != found.ID {
				t.Errorf("signing in again is %s, want %s", again.ID, found.ID)
			}
			if asked := issuer.Asked(); asked.Get("redirect_uri") != callback || asked.Get("scope") != "openid email profile" {
				t.Errorf("asked for %v", asked)
			}
		})
	}
}

func TestAPublicClientSignsInByPKCEAlone(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	c := of(issuer)
	c.ClientSecret = ""
	h := newHouse(t, provider(t, "acme", c, nil))
	if _, err := h.SignIn(t, "acme", issuer); !errors.Is(err, auth.ErrProviderUnavailable) {
		t.Errorf("at an issuer that wants a secret: %v, want that it does not work", err)
	}
	if got := issuer.Asked().Get("code_challenge_method"); got != "S256" {
		t.Errorf("code_challenge_method %q", got)
	}
}

// Whatever an issuer does wrong, nobody is let in, and nothing of what it said is repeated.
func TestAnIssuerThatMisbehavesLetsNobodyIn(t *testing.T) {
	callers := map[authtest.Misbehaviour]bool{ // what may be the doing of who comes back
		authtest.WrongNonce: true, authtest.NoNonce: true, authtest.WrongIss: true, authtest.NoIss: true,
		authtest.WrongState: true, authtest.NoState: true,
	}
	for _, m := range authtest.Misbehaviours() {
		t.Run(string(m), func(t *testing.T) {
			t.Parallel()
			issuer := authtest.NewIssuer(t, authtest.IssuerOptions{UserinfoOnly: true})
			log := new(secrettest.Log)
			h := newHouse(t, provider(t, "acme", of(issuer), log.Logger()))
			issuer.Misbehave(m)
			flow, err := h.Begin(t.Context(), "acme", auth.Input("{}"))
			if m == authtest.OtherIssuer {
				if !errors.Is(err, auth.ErrProviderUnavailable) || !strings.Contains(log.String(), "not spelt as the issuer spells itself") {
					t.Errorf("begin: %v, log %s", err, log)
				}
				return
			}
			must(t, err)
			back := visit(t, issuer, flow.RedirectURL)
			found, err := h.finish(t.Context(), "acme", back)
			switch {
			case err == nil:
				t.Fatalf("is let in as %s", found.EntityID())
			case m == authtest.Denied:
				if !errors.Is(err, auth.ErrDeclined) {
					t.Errorf("%v, want %v", err, auth.ErrDeclined)
				}
			case errors.Is(err, auth.ErrInvalidCredentials) != callers[m]:
				t.Errorf("%v: the caller's fault: %t, want %t", err, !callers[m], callers[m])
			case !callers[m] && errors.Is(err, auth.ErrProviderUnavailable):
				t.Errorf("%v, want a failure that is looked into", err)
			}
			h.WantNobody(t)
			secrettest.Silent(t, "the error", err.Error(), back.Get("code"), back.Get("state"), "issuer.invalid", "another-client", "ada", "0666", issuer.ClientSecret())
			secrettest.Silent(t, "the log", log.String()+h.Log.String(), back.Get("code"), back.Get("state"), "issuer.invalid", "another-client", "ada", "0666", issuer.ClientSecret())

			issuer.Behave()
			h.MustSignIn(t, "acme", issuer)
		})
	}
}

func TestAnIssuerThatFailsIsUnavailable(t *testing.T) {
	for _, e := range []authtest.Endpoint{authtest.Discovery, authtest.Token, authtest.Keys, authtest.Userinfo} {
		for _, f := range authtest.Failures() {
			t.Run(string(f)+" at "+string(e[1:]), func(t *testing.T) {
				t.Parallel()
				issuer := authtest.NewIssuer(t, authtest.IssuerOptions{UserinfoOnly: true})
				log := new(secrettest.Log)
				p := provider(t, "acme", of(issuer), log.Logger())
				if f == authtest.Silent || f == authtest.Dripping {
					p.Hurry(250 * time.Millisecond)
				}
				h := newHouse(t, p)
				issuer.Fail(e, f)
				flow, err := h.Begin(t.Context(), "acme", auth.Input("{}"))
				var back url.Values
				if e != authtest.Discovery {
					must(t, err)
					back = visit(t, issuer, flow.RedirectURL)
					_, err = h.finish(t.Context(), "acme", back)
				}
				if !errors.Is(err, auth.ErrProviderUnavailable) {
					t.Errorf("%v, want that it does not work at the moment", err)
				}
				h.WantNobody(t)
				secrettest.Silent(t, "the log", log.String()+h.Log.String(), back.Get("code"), back.Get("state"), "maintenance", "server_error", issuer.ClientSecret())
				if !strings.Contains(log.String(), "provider=acme") {
					t.Errorf("the log says nothing of it: %s", log)
				}
				if issuer.Hits(e) > 2 {
					t.Errorf("asked %d times", issuer.Hits(e))
				}
				issuer.Behave()
				eventually(t, "somebody signs in", func() bool {
					flow, err := h.Begin(t.Context(), "acme", nil)
					if err != nil {
						return false
					}
					_, err = h.finish(t.Context(), "acme", visit(t, issuer, flow.RedirectURL))
					return err == nil
				})
			})
		}
	}
}

func TestAnIssuerHasFiveSeconds(t *testing.T) {
	p, err := oidc.New("acme", oidc.Config{Issuer: "https://id.example.com", ClientID: "x"}, nil)
	must(t, err)
	if p.Timeout() != 5*time.Second {
		t.Errorf("it has %v", p.Timeout())
	}
}

// A code is good for the flow it was made for, and for no other: neither of the same provider nor of another.
func TestACodeIsNotInjected(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	h := newHouse(t, provider(t, "acme", of(issuer), nil), provider(t, "beta", of(issuer), nil))
	victims := visit(t, issuer, h.begin(t, "acme").RedirectURL)
	for _, at := range []string{"acme", "beta"} {
		own := visit(t, issuer, h.begin(t, at).RedirectURL)
		own.Set("code", victims.Get("code"))
		if _, err := h.finish(t.Context(), at, own); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("the victim's code in a flow of %s: %v, want that it proves nothing", at, err)
		}
	}
	if _, err := h.finish(t.Context(), "beta", victims); !errors.Is(err, auth.ErrInvalidCredentials) {
		t.Errorf("a flow of another provider: %v", err)
	}
	h.WantNobody(t)
}

// An issuer that does not check PKCE, or whose code an attacker redeemed and slipped in, is found out by the nonce.
func TestATokenIsNotSubstituted(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	h := newHouse(t, provider(t, "acme", of(issuer), nil))
	var stolen any
	issuer.Alter(authtest.Token, func(o map[string]any) { stolen = o["id_token"] })
	h.MustSignIn(t, "acme", issuer)
	issuer.SignIn(authtest.Person{Subject: "eve"})
	issuer.Alter(authtest.Token, func(o map[string]any) { o["id_token"] = stolen; delete(o, "at_hash") })
	if found, err := h.SignIn(t, "acme", issuer); err == nil {
		t.Errorf("with the ID token of another flow: let in as %s", found.EntityID())
	}
	issuer.Alter(authtest.Token, func(o map[string]any) { o["access_token"] = "another" })
	if _, err := h.SignIn(t, "acme", issuer); err == nil || !strings.Contains(err.Error(), "at_hash") {
		t.Errorf("with another access token: %v, want that at_hash is of another", err)
	}
}

// A flow is over once it is finished, however it was.
func TestACallbackIsNotReplayed(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	h := newHouse(t, provider(t, "acme", of(issuer), nil))
	back := visit(t, issuer, h.begin(t, "acme").RedirectURL)
	if _, err := h.finish(t.Context(), "acme", back); err != nil {
		t.Fatal(err)
	}
	if _, err := h.finish(t.Context(), "acme", back); !errors.Is(err, auth.ErrInvalidCredentials) {
		t.Errorf("again: %v", err)
	}
	other := visit(t, issuer, h.begin(t, "acme").RedirectURL)
	other.Set("code", back.Get("code"))
	if _, err := h.finish(t.Context(), "acme", other); !errors.Is(err, auth.ErrInvalidCredentials) {
		t.Errorf("the used code in a new flow: %v", err)
	}
}

// RFC 9207: who has two issuers, one of which is an attacker's, finds out whose answer it is.
func TestIssuersAreNotMixedUp(t *testing.T) {
	honest, evil := authtest.NewIssuer(t, authtest.IssuerOptions{}), authtest.NewIssuer(t, authtest.IssuerOptions{})
	evil.SignIn(authtest.Person{Subject: "ada-1815", Email: "ada@example.com", EmailVerified: true})
	trusted, untrusted := of(honest), of(evil)
	untrusted.TrustedDomains = nil
	h := newHouse(t, provider(t, "honest", trusted, nil), provider(t, "evil", untrusted, nil))

	a, b := h.MustSignIn(t, "honest", honest), h.MustSignIn(t, "evil", evil)
	if a.ID == b.ID || a.EntityID() == b.EntityID() {
		t.Errorf("the same subject of two issuers is %s and %s", a.EntityID(), b.EntityID())
	}
	if !a.Proved.EmailVerified || b.Proved.EmailVerified {
		t.Errorf("vouched for: honest %t, evil %t", a.Proved.EmailVerified, b.Proved.EmailVerified)
	}

	// The victim begins at evil, which sends them on to honest with evil's state: honest's code arrives at evil's callback.
	atEvil := h.begin(t, "evil")
	state := visit(t, evil, atEvil.RedirectURL).Get("state")
	mixed := visit(t, honest, h.begin(t, "honest").RedirectURL)
	mixed.Set("state", state)
	before := evil.Hits(authtest.Token)
	if _, err := h.finish(t.Context(), "evil", mixed); !errors.Is(err, auth.ErrInvalidCredentials) {
		t.Errorf("honest's answer at evil's callback: %v", err)
	}
	if evil.Hits(authtest.Token) != before {
		t.Error("honest's code was sent to evil")
	}

	// Without iss, which honest has announced, it is refused as well; an issuer that announces nothing may leave it out.
	back := visit(t, honest, h.begin(t, "honest").RedirectURL)
	back.Del("iss")
	if _, err := h.finish(t.Context(), "honest", back); !errors.Is(err, auth.ErrInvalidCredentials) {
		t.Errorf("without iss: %v", err)
	}
	silent := authtest.NewIssuer(t, authtest.IssuerOptions{})
	silent.Alter(authtest.Discovery, func(o map[string]any) { delete(o, "authorization_response_iss_parameter_supported") })
	silent.Misbehave(authtest.NoIss)
	h = newHouse(t, provider(t, "silent", of(silent), nil))
	h.MustSignIn(t, "silent", silent)
}

func TestKeysAreChanged(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	p := provider(t, "acme", of(issuer), nil)
	h := newHouse(t, p)
	h.MustSignIn(t, "acme", issuer)
	h.MustSignIn(t, "acme", issuer)
	if n := issuer.Hits(authtest.Keys); n != 1 {
		t.Errorf("the keys were read %d times for two sign-ins, want once", n)
	}
	issuer.Rotate()
	h.MustSignIn(t, "acme", issuer)
	issuer.Replace()
	h.MustSignIn(t, "acme", issuer)
	if n := issuer.Hits(authtest.Keys); n != 3 {
		t.Errorf("the keys were read %d times, want once more after each change", n)
	}
}

// Tokens with keys that nobody knows do not have us ask the issuer again and again.
func TestUnknownKeysAreNotLookedForAgainAndAgain(t *testing.T) {
	for _, m := range []authtest.Misbehaviour{authtest.UnknownKey, authtest.SwappedKey} {
		issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
		p := provider(t, "acme", of(issuer), nil)
		h := newHouse(t, p)
		h.MustSignIn(t, "acme", issuer)
		p.Patient()
		issuer.Misbehave(m)
		for range 5 {
			if _, err := h.SignIn(t, "acme", issuer); err == nil {
				t.Errorf("%s: is let in", m)
			}
		}
		if n := issuer.Hits(authtest.Keys); n != 1 {
			t.Errorf("%s: the keys were read %d times, want no more than at first", m, n)
		}
		p.Hurry(5 * time.Second)
		_, _ = h.SignIn(t, "acme", issuer)
		if n := issuer.Hits(authtest.Keys); n != 2 {
			t.Errorf("%s: the keys were read %d times after a while, want once more", m, n)
		}
	}
}

func TestHowFarAnAddressIsBelieved(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	ada := func(claims map[string]any) authtest.Person {
		return authtest.Person{Subject: "ada-1815", Email: "ada@example.com", EmailVerified: true, Claims: claims}
	}
	for name, c := range map[string]struct {
		trusted []string
		person  authtest.Person
		want    bool
	}{
		"verified, of a trusted domain": {[]string{"example.org", "example.com"}, ada(nil), true},
		"trusted in other case":         {[]string{"Example.COM"}, ada(nil), true},
		"an address in other case":      {[]string{"example.com"}, ada(map[string]any{"email": "ADA@Example.Com"}), true},
		"true as a text":                {[]string{"example.com"}, ada(map[string]any{"email_verified": "true"}), true},
		"any domain":                    {[]string{"*"}, ada(nil), true},
		"no domain":                     {nil, ada(nil), false},
		"another domain":                {[]string{"example.org"}, ada(nil), false},
		"a domain below":                {[]string{"example.com"}, ada(map[string]any{"email": "ada@mail.example.com"}), false},
		"a domain that ends so":         {[]string{"example.com"}, ada(map[string]any{"email": "ada@evilexample.com"}), false},
		"the domain as a name":          {[]string{"example.com"}, ada(map[string]any{"email": "example.com@evil.example"}), false},
		"two addresses":                 {[]string{"example.com"}, ada(map[string]any{"email": "eve@evil.example,ada@example.com"}), false},
		"two ats":                       {[]string{"example.com"}, ada(map[string]any{"email": "eve@evil.example@example.com"}), false},
		"not verified":                  {[]string{"*"}, ada(map[string]any{"email_verified": false}), false},
		"not said":                      {[]string{"*"}, ada(map[string]any{"email_verified": nil}), false},
		"false as a text":               {[]string{"*"}, ada(map[string]any{"email_verified": "false"}), false},
		"True as a text":                {[]string{"*"}, ada(map[string]any{"email_verified": "True"}), false},
		"one":                           {[]string{"*"}, ada(map[string]any{"email_verified": 1}), false},
		"a list":                        {[]string{"*"}, ada(map[string]any{"email_verified": []bool{true}}), false},
		"no address":                    {[]string{"*"}, ada(map[string]any{"email": nil}), false},
		"a list of addresses":           {[]string{"*"}, ada(map[string]any{"email": []string{"ada@example.com"}}), false},
	} {
		t.Run(name, func(t *testing.T) {
			config := of(issuer)
			config.TrustedDomains = c.trusted
			h := newHouse(t, provider(t, "acme", config, nil))
			issuer.SignIn(c.person)
			found := h.MustSignIn(t, "acme", issuer)
			if found.Proved.EmailVerified != c.want || found.Proved.Profile.EmailVerified != c.want {
				t.Errorf("vouched for: %t, want %t", found.Proved.EmailVerified, c.want)
			}
			if said := found.Proved.Profile.Metadata["email_verified"]; said != nil && said != c.want {
				t.Errorf("the user metadata says %v, want %t", said, c.want)
			}
		})
	}
}

// That an address is verified is said of that address, and not of another that stands elsewhere.
func TestWhatUserinfoSaysOfAnAddressIsTakenWhole(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	h := newHouse(t, provider(t, "acme", of(issuer), nil))
	issuer.SignIn(authtest.Person{Subject: "eve", Claims: map[string]any{"email": "ada@example.com", "email_verified": nil, "name": "Eve"}})
	issuer.Alter(authtest.Userinfo, func(o map[string]any) { o["email"], o["email_verified"] = "eve@example.com", true })
	if got := h.MustSignIn(t, "acme", issuer).Proved.Profile; got.Email != "eve@example.com" || !got.EmailVerified {
		t.Errorf("address %q, verified %t; want that of userinfo, as it says", got.Email, got.EmailVerified)
	}
	issuer.Alter(authtest.Userinfo, func(o map[string]any) { o["email"], o["email_verified"] = nil, true })
	if got := h.MustSignIn(t, "acme", issuer).Proved.Profile; got.EmailVerified {
		t.Errorf("address %q is vouched for by a word about none", got.Email)
	}
}

func TestUserinfoIsAskedWhenItIsNeededAlone(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	h := newHouse(t, provider(t, "acme", of(issuer), nil))
	h.MustSignIn(t, "acme", issuer)
	if n := issuer.Hits(authtest.Userinfo); n != 0 {
		t.Errorf("userinfo was asked %d times, although the ID token says it all", n)
	}
}

func TestAnotherSubjectOfUserinfoIsRefused(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{UserinfoOnly: true})
	h := newHouse(t, provider(t, "acme", of(issuer), nil))
	for _, sub := range []any{"eve", nil, "", []string{"ada-1815"}} {
		issuer.Alter(authtest.Userinfo, func(o map[string]any) { o["sub"] = sub })
		if _, err := h.SignIn(t, "acme", issuer); err == nil || !strings.Contains(err.Error(), "another subject") {
			t.Errorf("sub %v: %v", sub, err)
		}
	}
	h.WantNobody(t)
}

func TestClaimsBecomeAProfile(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	c := of(issuer)
	c.ClaimName, c.ClaimFirstName, c.ClaimLastName, c.ClaimPicture = "display", "vorname", "nachname", "photo"
	c.MetadataClaims = []string{"department", "groups", "huge", "name", "absent", "number"}
	h := newHouse(t, provider(t, "acme", c, nil))
	issuer.SignIn(authtest.Person{Subject: "ada-1815", Claims: map[string]any{
		"display": "A. Lovelace", "vorname": "Ada", "nachname": "Lovelace", "photo": "https://cdn.example.com/a.png", "name": "Not this",
		"department": "engines", "groups": []string{"a", "b"}, "huge": strings.Repeat("x", 5000), "number": 12345678901234567, "secret": "not asked for",
	}})
	got := h.MustSignIn(t, "acme", issuer).Proved.Profile
	if got.Name != "A. Lovelace" || got.FirstName != "Ada" || got.LastName != "Lovelace" || got.AvatarURL != "https://cdn.example.com/a.png" || got.Email != "" {
		t.Errorf("profile %+v", got)
	}
	m := got.Metadata
	if m["department"] != "engines" || m["huge"] != nil || m["secret"] != nil || m["name"] != "A. Lovelace" || len(m["groups"].([]any)) != 2 {
		t.Errorf("metadata %v", m)
	}
	for _, picture := range []string{"javascript:alert(1)", "http://cdn.example.com/a.png", "data:image/png;base64,x", "//cdn.example.com/a.png"} {
		issuer.SignIn(authtest.Person{Subject: "ada-1815", Claims: map[string]any{"photo": picture}})
		if got := h.MustSignIn(t, "acme", issuer).Proved.Profile.AvatarURL; got != "" {
			t.Errorf("the picture is at %q", got)
		}
	}
}

// Applications read the user metadata of a token, and some take what is called email there for an address.
func TestUserMetadataHasAddressesAlone(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	c := of(issuer)
	c.TrustedDomains, c.MetadataClaims = []string{"*"}, []string{"email", "email_verified"}
	h := newHouse(t, provider(t, "acme", c, nil))
	for _, email := range []any{
		"ada@example.com,eve@evil.example", "ada\uff20example.com", "ada@example.com\n", "ada@example.com ", "<b>ada@example.com</b>", "ad\u202ea@example.com",
		"ada@example.com.", []string{"ada@example.com"}, map[string]any{"a": 1}, nil,
	} {
		issuer.SignIn(authtest.Person{Subject: "ada-1815", Claims: map[string]any{"email": email, "email_verified": true}})
		if m := h.MustSignIn(t, "acme", issuer).Proved.Profile.Metadata; m["email"] != nil || m["email_verified"] != nil {
			t.Errorf("%q: the user metadata says %v, verified: %v", email, m["email"], m["email_verified"])
		}
	}
}

func TestHowPeopleProvedThemselvesThere(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	c := of(issuer)
	c.ACRValues, c.MaxAge = []string{"mfa", "hardware"}, time.Hour
	h := newHouse(t, provider(t, "acme", c, nil))
	now := time.Now().Unix()
	for name, p := range map[string]struct {
		claims map[string]any
		says   string
	}{
		"as asked":            {map[string]any{"acr": "hardware", "auth_time": now - 3000}, ""},
		"no acr":              {map[string]any{"acr": nil, "auth_time": now}, "acr"},
		"another acr":         {map[string]any{"acr": "password", "auth_time": now}, "acr"},
		"a while ago":         {map[string]any{"acr": "mfa", "auth_time": now - 3700}, "auth_time"},
		"at a time not told":  {map[string]any{"acr": "mfa", "auth_time": nil}, "auth_time"},
		"at a time as a text": {map[string]any{"acr": "mfa", "auth_time": "now"}, "auth_time"},
	} {
		issuer.SignIn(authtest.Person{Subject: "ada-1815", Claims: p.claims})
		_, err := h.SignIn(t, "acme", issuer)
		if (err == nil) != (p.says == "") || err != nil && !strings.Contains(err.Error(), p.says) {
			t.Errorf("%s: %v, want %q", name, err, p.says)
		}
	}
	if asked := issuer.Asked(); asked.Get("acr_values") != "mfa hardware" || asked.Get("max_age") != "3600" {
		t.Errorf("asked for %v", asked)
	}
}

// What two readers may read differently is read by nobody, and a subject is what OpenID Connect says it is.
func TestStrangeTokensAreRefused(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	h := newHouse(t, provider(t, "acme", of(issuer), nil))
	for name, claims := range map[string]map[string]any{
		"sub in other case too": {"Sub": "eve"},
		"a NUL":                 {"name": "a\x00b"},
		"a long sub":            {"sub": strings.Repeat("x", 256)},
		"blanks for a sub":      {"sub": "  "},
		"a sub with a newline":  {"sub": "ada\n"},
		"a sub with an umlaut":  {"sub": "ädä"},
		"a number for a sub":    {"sub": 1815},
		"azp as a list":         {"azp": []string{issuer.ClientID()}},
		"nbf as a text":         {"nbf": "soon"},
		"iat as a text":         {"iat": "now"},
	} {
		issuer.SignIn(authtest.Person{Subject: "ada-1815", Claims: claims})
		if found, err := h.SignIn(t, "acme", issuer); err == nil {
			t.Errorf("%s: is let in as %q", name, found.EntityID())
		}
	}
	h.WantNobody(t)
	issuer.SignIn(authtest.Person{Subject: "ada-1815", Claims: map[string]any{"aud": []string{issuer.ClientID(), "other"}, "azp": issuer.ClientID()}})
	h.MustSignIn(t, "acme", issuer)
}

// The clocks of two machines are never quite alike.
func TestClocksMayDifferALittle(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	h := newHouse(t, provider(t, "acme", of(issuer), nil))
	now := time.Now().Unix()
	for name, c := range map[string]struct {
		claims map[string]any
		fine   bool
	}{
		"expired a moment ago": {map[string]any{"exp": now - 30}, true},
		"expired":              {map[string]any{"exp": now - 90}, false},
		"begins in a moment":   {map[string]any{"nbf": now + 30}, true},
		"begins later":         {map[string]any{"nbf": now + 120}, false},
		"issued in a moment":   {map[string]any{"iat": now + 30}, true},
		"issued in the future": {map[string]any{"iat": now + 120}, false},
	} {
		issuer.SignIn(authtest.Person{Subject: "ada-1815", Claims: c.claims})
		if _, err := h.SignIn(t, "acme", issuer); (err == nil) != c.fine {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAlgorithmsOfTheSettingsCount(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{Algorithm: "RS256"})
	c := of(issuer)
	c.Algorithms = []string{"ES256"}
	h := newHouse(t, provider(t, "acme", c, nil))
	if _, err := h.SignIn(t, "acme", issuer); err == nil || !strings.Contains(err.Error(), "not signed as it should be") {
		t.Errorf("%v, want that the algorithm is none of the settings'", err)
	}
	issuer.Alter(authtest.Discovery, func(o map[string]any) { o["id_token_signing_alg_values_supported"] = []string{"none", "HS256"} })
	c.Algorithms = nil
	h = newHouse(t, provider(t, "acme", c, nil))
	for _, m := range []authtest.Misbehaviour{authtest.Unsigned, authtest.SignedBySecret, authtest.SignedByPublicKey} {
		issuer.Misbehave(m)
		if _, err := h.SignIn(t, "acme", issuer); err == nil {
			t.Errorf("%s, and announced: is let in", m)
		}
	}
	h.WantNobody(t)
}

// What the issuer's document names must be as fit to be asked as the issuer itself.
func TestEndpointsAreWhereTheyMayBe(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	for _, name := range []string{"authorization_endpoint", "token_endpoint", "jwks_uri", "userinfo_endpoint"} {
		for _, address := range []string{"http://elsewhere.example/x", "https://169.254.169.254/latest", "https://10.0.0.1/", "https://u:p@example.com/", "file:///etc/passwd", "javascript:alert(1)", "/token"} {
			issuer.Alter(authtest.Discovery, func(o map[string]any) { o[name] = address })
			log := new(secrettest.Log)
			h := newHouse(t, provider(t, "acme", of(issuer), log.Logger()))
			if _, err := h.Begin(t.Context(), "acme", nil); !errors.Is(err, auth.ErrProviderUnavailable) || !strings.Contains(log.String(), name) {
				t.Errorf("%s at %s: %v, log %s", name, address, err, log)
			}
			secrettest.Silent(t, "the log", log.String(), "elsewhere", "169.254", "10.0.0", "u:p", "passwd", "alert")
		}
	}
	issuer.Alter(authtest.Discovery, func(o map[string]any) { o["userinfo_endpoint"] = nil })
	newHouse(t, provider(t, "acme", of(issuer), nil)).MustSignIn(t, "acme", issuer)
}

func TestPrivateAddressesAreNotAsked(t *testing.T) {
	asked := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	defer server.Close()
	port := server.URL[strings.LastIndex(server.URL, ":"):]
	for _, issuer := range []string{"https://localhost" + port, "https://localhost.localdomain" + port} {
		log := new(secrettest.Log)
		p := provider(t, "acme", oidc.Config{Issuer: issuer, ClientID: "x", CallbackURL: callback, PrivateHosts: []string{"elsewhere.example"}}, log.Logger())
		if _, err := p.Begin(t.Context(), auth.Attempt{FlowID: "x"}); !errors.Is(err, auth.ErrProviderUnavailable) || strings.Contains(log.String(), "TLS") {
			t.Errorf("%s: %v, %s", issuer, err, log)
		}
	}
	if asked {
		t.Error("a private address was asked")
	}
}

func TestCertificatesOfTheSettingsCount(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{TLS: true})
	c := of(issuer)
	log := new(secrettest.Log)
	if _, err := newHouse(t, provider(t, "acme", c, log.Logger())).Begin(t.Context(), "acme", nil); !errors.Is(err, auth.ErrProviderUnavailable) || !strings.Contains(log.String(), "signed by nobody") {
		t.Errorf("an issuer that nobody vouches for: %v, log %s", err, log)
	}
	tls, err := http.DefaultTransport.(*http.Transport).Clone(), error(nil)
	tls.TLSClientConfig = issuer.Client().Transport.(*http.Transport).TLSClientConfig
	rsp, err := (&http.Client{Transport: tls}).Get(issuer.URL() + "/.well-known/openid-configuration")
	must(t, err)
	rsp.Body.Close()
	c.CAFile = filepath.Join(t.TempDir(), "ca.pem")
	must(t, os.WriteFile(c.CAFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: rsp.TLS.PeerCertificates[0].Raw}), 0o600))
	newHouse(t, provider(t, "acme", c, nil)).MustSignIn(t, "acme", issuer)
}

func TestTheEntityIDIsIssuerAndSubject(t *testing.T) {
	p := provider(t, "acme", oidc.Config{Issuer: "https://id.example.com", ClientID: "x"}, nil)
	for id, fine := range map[string]bool{
		oidc.EntityID("https://id.example.com", "ada"): true, "https://id.example.com#a#b": true,
		"ada": false, "https://id.example.com#": false, "https://id.example.com": false, "https://id.example.com.evil#ada": false, "https://id.example.com/#ada": false, "": false,
	} {
		if got, err := p.CanonicalEntityID(id); (err == nil) != fine || fine && got != id {
			t.Errorf("%q: %q, %v", id, got, err)
		}
	}
}

func TestTheClientSecretDoesNotShow(t *testing.T) {
	c := oidc.Config{Issuer: "https://id.example.com", ClientID: "x", ClientSecret: "hunter2hunter2"}
	p := provider(t, "acme", c, nil)
	log := new(secrettest.Log)
	log.Logger().Info("x", "provider", p, "config", c)
	data, err := json.Marshal(p)
	must(t, err)
	secrettest.Silent(t, "what is printed", fmt.Sprintf("%v %+v %#v %s %v %+v %#v %s", p, p, p, p, c, c, c, data)+log.String(), "hunter2")
}

// A caller who goes away takes nobody along who waits for the same answer.
func TestWhoGoesAwayTakesNobodyAlong(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	h := newHouse(t, provider(t, "acme", of(issuer), nil))
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := h.Begin(gone, "acme", nil); !errors.Is(err, context.Canceled) {
		t.Errorf("who has gone: %v", err)
	}
	h.MustSignIn(t, "acme", issuer)
	if n := issuer.Hits(authtest.Discovery); n > 1 {
		t.Errorf("the issuer was asked %d times", n)
	}
}

// What is too large costs whoever verifies; what is too small protects nobody.
func TestKeysOfRSAAreNeitherTooSmallNorTooLarge(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{Algorithm: "RS256"})
	for _, bytes := range []int{128, 520} {
		large := func(o map[string]any) {
			o["keys"] = []any{map[string]any{"kty": "RSA", "e": "AQAB", "n": base64.RawURLEncoding.EncodeToString(slices.Repeat([]byte{0xff}, bytes))}}
		}
		issuer.Alter(authtest.Keys, large)
		log := new(secrettest.Log)
		h := newHouse(t, provider(t, "acme", of(issuer), log.Logger()))
		if _, err := h.SignIn(t, "acme", issuer); !errors.Is(err, auth.ErrProviderUnavailable) || !strings.Contains(log.String(), "no key that signs") {
			t.Errorf("%d bits: %v, log %s", bytes*8, err, log)
		}
		h.WantNobody(t)
	}
	issuer.Behave()
	newHouse(t, provider(t, "acme", of(issuer), nil)).MustSignIn(t, "acme", issuer)
}

// A section of the type oidc has one issuer, spelt in one way.
func TestAnIssuerHasNoPlaceholder(t *testing.T) {
	_, err := oidc.New("acme", oidc.Config{Issuer: "https://login.example.com/{tenantid}/v2.0", ClientID: "x"}, nil)
	if err == nil || !strings.Contains(err.Error(), "auth.providers.acme.issuer: must be one issuer") {
		t.Errorf("%v", err)
	}
}

// An issuer that refuses us is not the caller's fault, and the log says whose, and what to mend.
func TestTheLogSaysWhatToMendAtAnIssuerThatRefusesUs(t *testing.T) {
	for code, want := range map[string]string{
		"invalid_client": "client_id or client_secret is wrong", "unauthorized_client": "may not sign people in by an authorization code",
		"unsupported_grant_type": "takes no authorization codes", "invalid_scope": "scopes has one", "invalid_request": "misses something in the request",
	} {
		issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
		log := new(secrettest.Log)
		h := newHouse(t, provider(t, "acme", of(issuer), log.Logger()))
		for says, shown := range map[string]string{"ask\nthe admin": "it says: ask the admin", "not " + issuer.ClientSecret(): "what it says is left out"} {
			flow, err := h.Begin(t.Context(), "acme", auth.Input("{}"))
			must(t, err)
			back := visit(t, issuer, flow.RedirectURL)
			issuer.Alter(authtest.Token, func(m map[string]any) { clear(m); m["error"], m["error_description"] = code, says })
			if _, err := h.finish(t.Context(), "acme", back); !errors.Is(err, auth.ErrProviderUnavailable) {
				t.Errorf("%s: %v", code, err)
			}
			issuer.Behave()
			for _, part := range []string{"provider=acme", code + ": ", want, shown} {
				if !strings.Contains(log.String(), part) {
					t.Errorf("%s: %q is not in the log: %s", code, part, log)
				}
			}
			secrettest.Silent(t, "the log", log.String()+h.Log.String(), issuer.ClientSecret(), back.Get("code"))
		}
	}
}
