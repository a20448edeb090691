package microsoft_test

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
	"github.com/latchkey-go/latchkey/modules/auth/microsoft"
	"github.com/latchkey-go/latchkey/modules/kernel/secrettest"
)

const (
	ours     = authtest.MicrosoftTenant
	theirs   = "ffff6666-0000-cccc-1111-dddd2222eeee"
	personal = authtest.MicrosoftPersonal
)

// of is the config for an imitation of Microsoft.
func of(i *authtest.Issuer, tenant string, allowed ...string) microsoft.Config {
	return microsoft.Config{Tenant: tenant, AllowedTenants: allowed, Authority: i.Origin(), ClientID: i.ClientID(), ClientSecret: i.ClientSecret(), CallbackURL: callback,
		PrivateHosts: []string{"127.0.0.1"}, TrustedDomains: []string{"example.com"}}
}

func person(tenant string, claims map[string]any) authtest.Person {
	return authtest.MicrosoftPerson(tenant, "ada-1815", "ada@example.com", claims)
}

func TestProvider(t *testing.T) {
	for _, tenant := range []string{ours, "common"} {
		t.Run(tenant, func(t *testing.T) {
			issuer := authtest.NewMicrosoft(t, tenant)
			issuer.SignIn(person(ours, map[string]any{"xms_edov": true}))
			config := of(issuer, tenant)
			if tenant == "common" {
				config.AllowedTenants = []string{"*"}
			}
			authtest.Provider(t, authtest.Case{
				New:     func(t *testing.T) auth.Provider { return provider(t, config, slog.New(slog.DiscardHandler)) },
				Back:    issuer.Back,
				Bad:     map[string]auth.Input{"forged code": auth.Input(`{"code":"code-of-eve-0666"}`), "another issuer": auth.Input(`{"iss":"https://issuer-of-eve.example"}`)},
				Vouches: true,
				Unverified: func(t testing.TB, location string) auth.Input { // a guest of the one tenant, or anybody of another
					at := map[bool]string{true: theirs, false: ours}[tenant == "common"]
					return issuer.BackAs(t, location, authtest.MicrosoftPerson(at, "eve-0666", "ada@example.com", map[string]any{"acct": 1}))
				},
			})
		})
	}
}

func TestPeopleOfATenantSignIn(t *testing.T) {
	for _, tenant := range []string{ours, "common", "organizations", "consumers"} {
		t.Run(tenant, func(t *testing.T) {
			issuer := authtest.NewMicrosoft(t, tenant)
			home, config := ours, of(issuer, tenant)
			switch tenant {
			case "common", "organizations":
				config.AllowedTenants = []string{theirs, ours}
			case "consumers":
				home = personal
			}
			h := newService(t, config)
			found := h.MustSignIn(t, "microsoft", issuer)
			want := issuer.Origin() + "/" + home + "/v2.0#ada-1815"
			if got := found.Proved.Profile; found.EntityID() != want || got.Email != "ada@example.com" || got.Name != "Ada Lovelace" || got.Metadata["tid"] != home || got.Metadata["oid"] == nil {
				t.Errorf("%q, want %q: %+v", found.EntityID(), want, got)
			}
			if info := h.ListAuthProviders()[0]; info.DisplayName != "Microsoft" || issuer.Hits(authtest.Userinfo) != 0 {
				t.Errorf("shown as %+v; userinfo was asked %d times", info, issuer.Hits(authtest.Userinfo))
			}
			if again := h.MustSignIn(t, "microsoft", issuer); again.ID != found.ID {
				t.Errorf("again they are %s", again.ID)
			}
			if prompt := issuer.Asked().Get("prompt"); (prompt == "select_account") != (len(config.AllowedTenants) > 0) {
				t.Errorf("prompt %q is sent", prompt)
			}
		})
	}
}

// nOAuth: whoever administers a tenant writes any address into an account of it.
func TestAnAddressIsVouchedForOnlyWhereItIsProved(t *testing.T) {
	one, many, consumers := authtest.NewMicrosoft(t, ours), authtest.NewMicrosoft(t, "common"), authtest.NewMicrosoft(t, "consumers")
	domain, every := []string{"example.com"}, []string{"*"}
	edov := func(value any) map[string]any { return map[string]any{"xms_edov": value} }
	for name, c := range map[string]struct {
		issuer  *authtest.Issuer
		tenant  string
		trusted []string
		person  authtest.Person
		want    bool
	}{
		"a member of the one tenant, of a trusted domain": {one, ours, domain, person(ours, nil), true},
		"another domain":              {one, ours, []string{"example.org"}, person(ours, nil), false},
		"no domain":                   {one, ours, nil, person(ours, nil), false},
		"every domain":                {one, ours, every, person(ours, nil), false},
		"every domain, with xms_edov": {one, ours, every, person(ours, edov(true)), true},
		"no domain, with xms_edov":    {one, ours, nil, person(ours, edov(true)), false},
		"a guest by acct":             {one, ours, domain, person(ours, map[string]any{"acct": 1}), false},
		"a member by acct":            {one, ours, domain, person(ours, map[string]any{"acct": 0}), true},
		"a guest by idp":              {one, ours, domain, person(ours, map[string]any{"idp": "https://sts.windows.net/" + theirs + "/"}), false},
		"a guest with xms_edov":       {one, ours, domain, person(ours, map[string]any{"acct": 1, "xms_edov": true}), true},
		"a tenant of many: the attacker's, nothing said": {many, "common", domain, person(theirs, nil), false},
		"nothing said, every domain trusted":             {many, "common", every, person(theirs, nil), false},
		"email_verified, which Microsoft does not say":   {many, "common", every, person(theirs, map[string]any{"email_verified": true}), false},
		"preferred_username, which people choose":        {many, "common", every, authtest.MicrosoftPerson(theirs, "eve", "", map[string]any{"email": nil, "preferred_username": "ada@example.com", "upn": "ada@example.com", "xms_edov": true}), false},
		"xms_edov":                   {many, "common", domain, person(theirs, edov(true)), true},
		"xms_edov as a number":       {many, "common", domain, person(theirs, edov(1)), true},
		"xms_edov as a text":         {many, "common", domain, person(theirs, edov("1")), true},
		"xms_edov false":             {many, "common", domain, person(theirs, edov(false)), false},
		"xms_edov 0":                 {many, "common", domain, person(theirs, edov(0)), false},
		"xms_edov as a text, false":  {many, "common", domain, person(theirs, edov("false")), false},
		"xms_edov as a list":         {many, "common", domain, person(theirs, edov([]bool{true})), false},
		"xms_edov of another domain": {many, "common", []string{"example.org"}, person(theirs, edov(true)), false},
		"a personal account, where everybody can have one": {consumers, "consumers", domain, person(personal, nil), false},
		"a personal account with xms_edov":                 {consumers, "consumers", domain, person(personal, edov(true)), true},
		"the tenant of personal accounts by its id":        {consumers, personal, domain, person(personal, nil), false},
	} {
		t.Run(name, func(t *testing.T) {
			config := of(c.issuer, c.tenant)
			config.TrustedDomains = c.trusted
			if c.tenant == "common" {
				config.AllowedTenants = []string{"*"}
			}
			issuer := c.issuer
			if c.tenant == personal {
				issuer = authtest.NewMicrosoft(t, personal)
				config.Authority, config.ClientID, config.ClientSecret = issuer.Origin(), issuer.ClientID(), issuer.ClientSecret()
			}
			issuer.SignIn(c.person)
			found := newService(t, config).MustSignIn(t, "microsoft", issuer)
			if found.Proved.EmailVerified != c.want {
				t.Errorf("vouched for: %t, want %t", found.Proved.EmailVerified, c.want)
			}
		})
	}
}

// Whose people may sign in is said by the operator, and the tenant in a token is that of its issuer.
func TestNobodyComesFromAnotherTenant(t *testing.T) {
	one, many, orgs := authtest.NewMicrosoft(t, ours), authtest.NewMicrosoft(t, "common"), authtest.NewMicrosoft(t, "organizations")
	iss := func(i *authtest.Issuer, tenant string) string { return i.Origin() + "/" + tenant + "/v2.0" }
	for name, c := range map[string]struct {
		issuer  *authtest.Issuer
		config  microsoft.Config
		person  authtest.Person
		callers bool // it is a matter of the account; otherwise the token is wrong
	}{
		"a tenant that is not listed":           {many, of(many, "common", ours), person(theirs, nil), true},
		"a personal account that is not listed": {many, of(many, "common", ours), person(personal, nil), true},
		"a personal account, organizations":     {orgs, of(orgs, "organizations", "*"), person(personal, nil), true},
		"tid of ours, iss of theirs":            {many, of(many, "common", ours), person(ours, map[string]any{"iss": iss(many, theirs)}), false},
		"tid of theirs, iss of ours":            {many, of(many, "common", "*"), person(theirs, map[string]any{"iss": iss(many, ours)}), false},
		"no tid":                                {many, of(many, "common", "*"), person(ours, map[string]any{"tid": nil, "iss": iss(many, ours)}), false},
		"tid as a list":                         {many, of(many, "common", "*"), person(ours, map[string]any{"tid": []string{ours}, "iss": iss(many, ours)}), false},
		"the placeholder for a tenant":          {many, of(many, "common", "*"), person("{tenantid}", nil), false},
		"a path for a tenant":                   {many, of(many, "common", "*"), person("x/../"+ours, nil), false},
		"dots for a tenant":                     {many, of(many, "common", "*"), person("..", nil), false},
		"another issuer":                        {many, of(many, "common", "*"), person(ours, map[string]any{"iss": "https://evil.example/" + ours + "/v2.0"}), false},
		"the issuer of v1.0":                    {many, of(many, "common", "*"), person(ours, map[string]any{"iss": "https://sts.windows.net/" + ours + "/"}), false},
		"one tenant: iss and tid of theirs":     {one, of(one, ours), person(theirs, map[string]any{"iss": iss(one, theirs)}), false},
		"one tenant: tid of theirs":             {one, of(one, ours), person(theirs, nil), false},
		"one tenant: no tid":                    {one, of(one, ours), person(ours, map[string]any{"tid": nil}), false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newService(t, c.config)
			c.issuer.SignIn(c.person)
			found, err := h.SignIn(t, "microsoft", c.issuer)
			if err == nil || errors.Is(err, auth.ErrInvalidCredentials) != c.callers {
				t.Errorf("%q, %v; want to be refused, as the caller's doing: %t", found.EntityID(), err, c.callers)
			}
			h.WantNobody(t)
		})
	}
}

// A key that Microsoft publishes for one tenant does not sign for another.
func TestAKeyOfOneTenantSignsForNoOther(t *testing.T) {
	issuer := authtest.NewMicrosoft(t, "common")
	for who, want := range map[string]bool{"/{tenantid}/v2.0": true, "/" + ours + "/v2.0": true, "/" + personal + "/v2.0": false, "/" + theirs + "/v2.0": false} {
		issuer.Alter(authtest.Keys, func(o map[string]any) {
			for _, key := range o["keys"].([]any) {
				key.(map[string]any)["issuer"] = issuer.Origin() + who
			}
		})
		_, err := newService(t, of(issuer, "common", "*")).SignIn(t, "microsoft", issuer)
		if (err == nil) != want || err != nil && !strings.Contains(err.Error(), "signs for another issuer") {
			t.Errorf("a key of %s: %v, want to be let in: %t", who, err, want)
		}
	}
}

// The same subject of two tenants is two people, and an answer of one tenant is not taken for another's.
func TestASubjectIsOfItsTenant(t *testing.T) {
	issuer := authtest.NewMicrosoft(t, "common")
	h := newService(t, of(issuer, "common", "*"))
	a := h.MustSignIn(t, "microsoft", issuer)
	issuer.SignIn(person(theirs, nil))
	if b := h.MustSignIn(t, "microsoft", issuer); a.ID == b.ID {
		t.Error("the same subject of two tenants is one person")
	}
	if _, err := h.SignIn(t, "microsoft", issuer, "iss", issuer.Origin()+"/"+ours+"/v2.0"); !errors.Is(err, auth.ErrInvalidCredentials) {
		t.Errorf("an answer of another tenant: %v", err)
	}
	h.MustSignIn(t, "microsoft", issuer, "iss", issuer.Origin()+"/"+theirs+"/v2.0")

	p := provider(t, of(issuer, "common", "*"), nil).(auth.Canonicalizer)
	at := issuer.Origin() + "/"
	for id, fine := range map[string]bool{
		at + ours + "/v2.0#x": true, at + theirs + "/v2.0#x": true, at + "{tenantid}/v2.0#x": false, at + "/v2.0#x": false, at + "a/b/v2.0#x": false, at + ours + "/v2.0": false, "x": false,
	} {
		if got, err := p.CanonicalEntityID(id); (err == nil) != fine || fine && got != id {
			t.Errorf("%q: %q, %v", id, got, err)
		}
	}
}

func TestSettingsAreWrongAllAtOnce(t *testing.T) {
	t.Parallel()
	settings := auth.Settings{
		"microsoft": {"client_id": "x", "client_secret": "y"},
		"any":       {"type": "microsoft", "client_id": "x", "client_secret": "y", "tenant": "common"},
		"names":     {"type": "microsoft", "client_id": "x", "client_secret": "y", "tenant": "organizations", "allowed_tenants": []any{"*", ours}},
		"one":       {"type": "microsoft", "client_id": "x", "client_secret": "y", "tenant": ours, "allowed_tenants": ours},
		"domain":    {"type": "microsoft", "client_secret": "y", "tenant": "example.onmicrosoft.com", "authority": "http://login.hunter2.example/x", "issuer": "https://evil.example"},
	}
	_, err := auth.NewProviders(settings, microsoft.Type(nil))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"microsoft.tenant: must be set to the id of a tenant", "any.allowed_tenants: must list the ids", "names.allowed_tenants: must be ids", "one.allowed_tenants: must be left out",
		"domain.tenant: must be set", "domain.authority: must be https://", "domain.client_id: must be set", "domain.issuer: the provider knows no such setting",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("does not say %q", want)
		}
	}
	if n := len(auth.SettingsErrors(err)); n != 8 {
		t.Errorf("%d problems, want 8:\n%v", n, err)
	}
	secrettest.Silent(t, "the error", err.Error(), "hunter2", "evil", "onmicrosoft")
	made, err := auth.NewProviders(auth.Settings{"microsoft": {"client_id": "x", "client_secret": "y", "tenant": strings.ToUpper(ours), "authority": "https://login.microsoftonline.us/"}}, microsoft.Type(nil))
	must(t, err)
	if _, err := made[0].(auth.Canonicalizer).CanonicalEntityID("https://login.microsoftonline.us/" + ours + "/v2.0#x"); err != nil {
		t.Errorf("an entity id: %v", err)
	}
	c := microsoft.Config{Tenant: ours, ClientID: "x", ClientSecret: "hunter2"}
	secrettest.Silent(t, "what is printed", fmt.Sprintf("%v %+v %#v %s", c, c, c, provider(t, c, nil)), "hunter2")
}

func TestEverySettingIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../docs/social.md")
	must(t, err)
	_, part, _ := strings.Cut(string(text), "\n## Microsoft")
	part, _, _ = strings.Cut(part, "\n## ")
	for field := range reflect.TypeFor[microsoft.Config]().Fields() {
		if key := field.Tag.Get("config"); key != "-" && !strings.Contains(part, "`"+key+"`") {
			t.Errorf("docs/social.md does not have %s", key)
		}
	}
}
