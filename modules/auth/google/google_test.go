package google_test

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
	"github.com/latchkey-go/latchkey/modules/auth/google"
	"github.com/latchkey-go/latchkey/modules/kernel/secrettest"
)

// of is the config for an imitation of Google.
func of(i *authtest.Issuer) google.Config {
	return google.Config{Issuer: i.URL(), ClientID: i.ClientID(), ClientSecret: i.ClientSecret(), CallbackURL: callback, PrivateHosts: []string{"127.0.0.1"}}
}

// somebody has an address, and further claims.
func somebody(address string, claims map[string]any) authtest.Person {
	return authtest.Person{Subject: "108", Email: address, EmailVerified: true, Name: "Ada", Claims: claims}
}

func TestProvider(t *testing.T) {
	issuer := authtest.NewGoogle(t)
	authtest.Provider(t, authtest.Case{
		New:  func(t *testing.T) auth.Provider { return provider(t, of(issuer), slog.New(slog.DiscardHandler)) },
		Back: issuer.Back,
		Bad: map[string]auth.Input{
			"forged code":    auth.Input(`{"code":"code-of-eve-0666"}`),
			"another issuer": auth.Input(`{"iss":"https://issuer-of-eve.example"}`),
		},
		Vouches: true,
		Unverified: func(t testing.TB, location string) auth.Input {
			return issuer.BackAs(t, location, authtest.Person{Subject: "0666", Email: "ada.lovelace@gmail.com"})
		},
	})
}

func TestSomebodySignsIn(t *testing.T) {
	issuer := authtest.NewGoogle(t)
	h := newService(t, of(issuer))
	found := h.MustSignIn(t, "google", issuer)
	if got := found.Proved.Profile; got.Email != "ada.lovelace@gmail.com" || !got.EmailVerified || got.FirstName != "Ada" || got.AvatarURL == "" || found.EntityID() != issuer.URL()+"#110169484474386276334" {
		t.Errorf("%s: %+v", found.EntityID(), got)
	}
	if asked := issuer.Asked(); asked.Get("scope") != "openid email profile" || asked.Has("hd") {
		t.Errorf("asked for %v", asked)
	}
	if info := h.ListAuthProviders()[0]; info.DisplayName != "Google" {
		t.Errorf("shown as %+v", info)
	}
	// An answer may say whose it is (RFC 9207).
	if again := h.MustSignIn(t, "google", issuer, "iss", issuer.URL()); again.ID != found.ID {
		t.Errorf("again they are %s, were %s", again.ID, found.ID)
	}
}

// Google documents two spellings of its issuer. Who somebody is does not hang on which it is.
func TestTheOldSpellingIsTheSamePerson(t *testing.T) {
	issuer := authtest.NewGoogle(t)
	h := newService(t, of(issuer))
	issuer.SignIn(somebody("ada@gmail.com", nil))
	ada := h.MustSignIn(t, "google", issuer)
	issuer.SignIn(somebody("ada@gmail.com", map[string]any{"iss": "accounts.google.com"}))
	if again := h.MustSignIn(t, "google", issuer, "iss", "accounts.google.com"); again.ID != ada.ID || again.EntityID() != ada.EntityID() {
		t.Errorf("by the old spelling they are %q, were %q", again.EntityID(), ada.EntityID())
	}
	p := provider(t, google.Config{ClientID: "x", ClientSecret: "y"}, nil).(auth.Canonicalizer)
	for id, fine := range map[string]bool{"https://accounts.google.com#108": true, "accounts.google.com#108": false, "108": false, "ada@gmail.com": false} {
		if got, err := p.CanonicalEntityID(id); (err == nil) != fine || fine && got != id {
			t.Errorf("%q: %q, %v", id, got, err)
		}
	}
	for _, iss := range []string{"http://accounts.google.com", "https://accounts.google.com.evil.example", "accounts.google.com/", "", "https://evil.example"} {
		issuer.SignIn(somebody("ada@gmail.com", map[string]any{"iss": iss}))
		if found, err := h.SignIn(t, "google", issuer); err == nil {
			t.Errorf("iss %q is let in as %s", iss, found.EntityID())
		}
	}
}

// Google says email_verified of whatever somebody once proved to it; it speaks for gmail.com and for organizations alone.
func TestGooglesWordCountsWhereItSpeaksForTheMailbox(t *testing.T) {
	issuer := authtest.NewGoogle(t)
	for name, c := range map[string]struct {
		trusted []string // nil: the default
		person  authtest.Person
		want    bool
	}{
		"gmail.com":                           {nil, somebody("ada@gmail.com", nil), true},
		"gmail.com in capitals":               {nil, somebody("Ada@GMail.com", nil), true},
		"gmail.com, not verified":             {nil, somebody("ada@gmail.com", map[string]any{"email_verified": false}), false},
		"gmail.com, nothing said":             {nil, somebody("ada@gmail.com", map[string]any{"email_verified": nil}), false},
		"an organization":                     {nil, somebody("ada@example.com", map[string]any{"hd": "example.com"}), true},
		"an organization, not verified":       {nil, somebody("ada@example.com", map[string]any{"hd": "example.com", "email_verified": false}), false},
		"an address at another company":       {nil, somebody("ada@example.com", nil), false},
		"the same with an empty hd":           {nil, somebody("ada@example.com", map[string]any{"hd": ""}), false},
		"the same with hd true":               {nil, somebody("ada@example.com", map[string]any{"hd": true}), false},
		"what ends like gmail.com":            {nil, somebody("ada@notgmail.com", nil), false},
		"a domain below gmail.com":            {nil, somebody("ada@x.gmail.com", nil), false},
		"two addresses":                       {nil, somebody("eve@evil.example,ada@gmail.com", nil), false},
		"an organization that is trusted":     {[]string{"example.com"}, somebody("ada@example.com", map[string]any{"hd": "example.com"}), true},
		"gmail.com, an organization trusted":  {[]string{"example.com"}, somebody("ada@gmail.com", nil), false},
		"trusted, and not Google's to say":    {[]string{"example.com"}, somebody("ada@example.com", nil), false},
		"nobody is trusted":                   {[]string{}, somebody("ada@gmail.com", nil), false},
		"other organizations are not, either": {[]string{"example.com"}, somebody("ada@example.org", map[string]any{"hd": "example.org"}), false},
	} {
		t.Run(name, func(t *testing.T) {
			config := of(issuer)
			config.TrustedDomains = c.trusted
			issuer.SignIn(c.person)
			found := newService(t, config).MustSignIn(t, "google", issuer)
			if found.Proved.EmailVerified != c.want {
				t.Errorf("vouched for: %t, want %t", found.Proved.EmailVerified, c.want)
			}
			if said := found.Proved.Profile.Metadata["email_verified"]; said != nil && said != c.want {
				t.Errorf("the user metadata says %v", said)
			}
		})
	}
}

// The parameter hd is what the page at Google shows, and people can change it: only the token says of which organization they are.
func TestOnlyTheOrganizationIsLetIn(t *testing.T) {
	issuer := authtest.NewGoogle(t)
	for name, c := range map[string]struct {
		hosted []string
		hd     any
		fine   bool
		sent   string
	}{
		"the organization":          {[]string{"example.com"}, "example.com", true, "example.com"},
		"in capitals":               {[]string{"Example.com"}, "EXAMPLE.com", true, "example.com"},
		"another":                   {[]string{"example.com"}, "evil.example", false, "example.com"},
		"none":                      {[]string{"example.com"}, nil, false, "example.com"},
		"an empty one":              {[]string{"example.com"}, "", false, "example.com"},
		"a list":                    {[]string{"example.com"}, []string{"example.com"}, false, "example.com"},
		"a domain below":            {[]string{"example.com"}, "mail.example.com", false, "example.com"},
		"one of two":                {[]string{"example.com", "example.org"}, "example.org", true, "*"},
		"none of two":               {[]string{"example.com", "example.org"}, "example.net", false, "*"},
		"any":                       {[]string{"*"}, "evil.example", true, "*"},
		"none where any will do":    {[]string{"*"}, nil, false, "*"},
		"the text * is no wild one": {[]string{"example.com"}, "*", false, "example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			config := of(issuer)
			config.HostedDomains = c.hosted
			h := newService(t, config)
			issuer.SignIn(somebody("ada@example.com", map[string]any{"hd": c.hd}))
			found, err := h.SignIn(t, "google", issuer)
			switch {
			case (err == nil) != c.fine:
				t.Errorf("%v, want to be let in: %t", err, c.fine)
			case err == nil && found.ID == "":
				t.Error("is nobody")
			case err != nil && (!errors.Is(err, auth.ErrInvalidCredentials) || !strings.Contains(err.Error(), "organization")):
				t.Errorf("%v, want to be told that it is the account", err)
			}
			if !c.fine {
				h.WantNobody(t)
			}
			if sent := issuer.Asked(); sent.Get("hd") != c.sent || sent.Get("prompt") != "select_account" {
				t.Errorf("hd %q is sent, want %q, and to choose an account: %v", sent.Get("hd"), c.sent, sent)
			}
		})
	}
}

func TestSettingsAreWrongAllAtOnce(t *testing.T) {
	t.Parallel()
	section := map[string]any{"type": "google", "client_id": "", "hosted_domains": []any{"*", "example.com"}, "trusted_domains": "not a domain", "issuer": "https://evil.example",
		"-": "x", "callback_url": "/back", "icon": "javascript:alert(1)", "private_hosts": "localhost"}
	_, err := auth.NewProviders(auth.Settings{"work": section, "google": {"client_id": "x", "client_secret": "hunter2 \n"}}, google.Type(nil))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"work.client_id: must be set", "work.client_secret: must be set", "work.hosted_domains: must be domains", "work.trusted_domains: must be domains", "work.callback_url: must be", "work.icon: must be",
		"auth.providers.work.-, auth.providers.work.issuer, auth.providers.work.private_hosts: the provider knows no such setting", "auth.providers.google.client_secret: must be one line",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("does not say %q", want)
		}
	}
	if n := len(auth.SettingsErrors(err)); n != 8 {
		t.Errorf("%d problems, want 8:\n%v", n, err)
	}
	secrettest.Silent(t, "the error", err.Error(), "hunter2", "evil", "alert")
	made, err := auth.NewProviders(auth.Settings{"google": {"client_id": "x", "client_secret": "y", "hosted_domains": "example.com,example.org", "display_name": "Staff"}}, google.Type(nil))
	must(t, err)
	if len(made) != 1 || made[0].(auth.Describer).DisplayName() != "Staff" {
		t.Errorf("made %v", made)
	}
	c := google.Config{ClientID: "x", ClientSecret: "hunter2"}
	secrettest.Silent(t, "what is printed", fmt.Sprintf("%v %+v %#v %s", c, c, c, provider(t, c, nil)), "hunter2")
}

func TestEverySettingIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../docs/social.md")
	must(t, err)
	_, part, _ := strings.Cut(string(text), "\n## Google")
	part, _, _ = strings.Cut(part, "\n## ")
	for field := range reflect.TypeFor[google.Config]().Fields() {
		if key := field.Tag.Get("config"); key != "-" && !strings.Contains(part, "`"+key+"`") {
			t.Errorf("docs/social.md does not have %s", key)
		}
	}
}
