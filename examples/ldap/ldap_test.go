package ldap_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"github.com/latchkey-go/latchkey/examples/ldap"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

func TestMain(m *testing.M) { databasetest.Main(m) }

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// settings are those of a section for the directory, by StartTLS, with more put over them.
func (d *directory) settings(more map[string]any) auth.Settings {
	section := map[string]any{"url": "ldap://" + d.host(), "base_dn": "dc=example,dc=com", "bind_dn": service, "bind_password": servicePassword, "ca_file": d.caFile}
	maps.Copy(section, more)
	return auth.Settings{"corp": section}
}

func (d *directory) provider(t testing.TB, more map[string]any) auth.Provider {
	t.Helper()
	p, err := ldap.Type().New("corp", d.settings(more))
	check(t, err)
	return p
}

// directly are the settings that bind without a search.
var directly = map[string]any{"user_dn": "uid={username},ou=people,dc=example,dc=com", "bind_dn": "", "bind_password": "", "base_dn": ""}

func input(username, password string) auth.Input {
	return auth.Input(fmt.Sprintf(`{"username":%q,"password":%q}`, username, password))
}

func TestProvider(t *testing.T) {
	for name, settings := range map[string]map[string]any{"with a search": nil, "without": directly} {
		t.Run(name, func(t *testing.T) {
			d := startDirectory(t, false)
			authtest.Provider(t, authtest.Case{
				New:  func(t *testing.T) auth.Provider { return d.provider(t, settings) },
				Good: input("ada", "correct-horse"),
				Bad: map[string]auth.Input{
					"wrong password":       input("ada", "battery-staple"),
					"nobody":               input("nobody", "correct-horse"),
					"no password":          input("ada", ""),
					"somebody not in it":   input("bot", "bot-password"),
					"a name with a filter": input("ada)(uid=*", "correct-horse"),
				},
				Unverified: func(testing.TB, string) auth.Input { return input("eve", "battery-staple") },
			})
			if binds, _, _ := d.said(); slices.ContainsFunc(binds, func(b string) bool { return strings.HasSuffix(b, " ") }) {
				t.Errorf("there was a bind without a password: %q", binds)
			}
		})
	}
}

func TestOverWhichConnectionsPeopleSignIn(t *testing.T) {
	overTLS, upgraded := startDirectory(t, true), startDirectory(t, false)
	for name, p := range map[string]auth.Provider{
		"ldaps":       overTLS.provider(t, map[string]any{"url": "ldaps://" + overTLS.host()}),
		"StartTLS":    upgraded.provider(t, nil),
		"without TLS": upgraded.provider(t, map[string]any{"no_tls": true, "ca_file": ""}),
	} {
		if found, err := proves(t, p, "ada", "correct-horse"); err != nil || found.EntityID != ada.attributes["entryUUID"][0] {
			t.Errorf("%s: %q, %v", name, found.EntityID, err)
		}
		if _, err := proves(t, p, "ada", "battery-staple"); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// proves tries to sign in by a provider alone.
func proves(t testing.TB, p auth.Provider, username, password string) (auth.Assertion, error) {
	t.Helper()
	return p.(auth.Authenticator).Authenticate(t.Context(), auth.Attempt{Input: input(username, password),
		Secret: nothing})
}

// nothing is kept of anybody.
func nothing(context.Context, string) ([]byte, error) { return nil, nil }

func TestNoNameIsMoreThanAName(t *testing.T) {
	d := startDirectory(t, false)
	names := []string{"*", "a*", "*da", "ada*", "ada)(uid=*", "*)(objectClass=*", "*))(|(uid=*", "ada)(|(uid=ada)", `ada\2a`, `\61da`, "ada,ou=people,dc=example,dc=com",
		"eve+uid=ada", "ada+cn=ADA", "ada,", "#616461", `ad\61`, "<ada>", "ada;x", `"ada"`, "&(uid=ada)", "(uid=ada)", "!(uid=x)"}
	for way, settings := range map[string]map[string]any{"with a search": {}, "without": maps.Clone(directly)} {
		settings["no_tls"] = true // which has nothing to do with it, and is quicker
		p := d.provider(t, settings)
		if _, err := proves(t, p, "ada", "correct-horse"); err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			for _, password := range []string{"correct-horse", servicePassword} {
				if found, err := proves(t, p, name, password); !errors.Is(err, auth.ErrInvalidCredentials) {
					t.Errorf("%s: %q is let in as %q, %v", way, name, found.EntityID, err)
				}
			}
		}
	}
	binds, filters, _ := d.said()
	for _, bound := range binds {
		dn, err := goldap.ParseDN(bound[:strings.LastIndexByte(bound, ' ')])
		if err != nil {
			t.Errorf("a name has broken the one to bind as: %s", bound)
		} else if first := dn.RDNs[0].Attributes; len(dn.RDNs) > 4 || len(first) != 1 || first[0].Type == "uid" && first[0].Value != "ada" && !slices.Contains(names, first[0].Value) {
			t.Errorf("a name has become more in the one to bind as: %s", bound)
		}
	}
	for _, filter := range filters {
		packet, err := goldap.CompileFilter(filter)
		check(t, err)
		if len(packet.Children) != 2 || packet.Tag != goldap.FilterAnd || packet.Children[1].Tag != goldap.FilterEqualityMatch {
			t.Errorf("a name has become a filter of its own: %s", filter)
		}
	}
}

// Of several who have a name it says nothing, and to bind as nobody proves nobody.
func TestANameIsOnePersons(t *testing.T) {
	d := startDirectory(t, false)
	twin := person("ada", "another-horse", "ada@example.org", "6b7ba812-9dad-11d1-80b4-00c04fd43111")
	twin.dn = "uid=ada,ou=robots,dc=example,dc=com"
	d.mu.Lock()
	d.entries = append(d.entries, twin)
	d.mu.Unlock()
	p := d.provider(t, nil)
	for _, password := range []string{"correct-horse", "another-horse"} {
		if found, err := proves(t, p, "ada", password); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("one of two is let in as %q, %v", found.EntityID, err)
		}
	}
	d.does(behaviour{nameless: true})
	if found, err := proves(t, p, "eve", "any-password"); !errors.Is(err, auth.ErrProviderUnavailable) {
		t.Errorf("whose entry has no name is let in as %q, %v", found.EntityID, err)
	}
}

func TestWithoutAPasswordNobodyIsAsked(t *testing.T) {
	d := startDirectory(t, false)
	for _, settings := range []map[string]any{nil, directly} {
		p := d.provider(t, settings)
		for name, in := range map[string]auth.Input{
			"empty": input("ada", ""), "none": auth.Input(`{"username":"ada"}`), "null": auth.Input(`{"username":"ada","password":null}`),
			"no name": input("", "correct-horse"), "a blank name": input("  ", "correct-horse"),
			"a long name": input(strings.Repeat("a", 257), "x"), "a long password": input("ada", strings.Repeat("a", 1025)),
		} {
			if _, err := p.(auth.Authenticator).Authenticate(t.Context(), auth.Attempt{Input: in, Secret: nothing}); !errors.Is(err, auth.ErrInvalidCredentials) && !errors.Is(err, auth.ErrInput) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	if binds, _, heard := d.said(); len(binds) > 0 || heard != "" {
		t.Errorf("the directory was asked: %q", binds)
	}
}

func TestNoPasswordTravelsInClear(t *testing.T) {
	d := startDirectory(t, false)
	p := d.provider(t, nil)
	if _, err := proves(t, p, "ada", "correct-horse"); err != nil {
		t.Fatal(err)
	}
	d.does(behaviour{noStartTLS: true})
	if _, err := proves(t, p, "ada", "correct-horse"); !errors.Is(err, auth.ErrProviderUnavailable) {
		t.Errorf("a directory without StartTLS: %v", err)
	}
	d.does(behaviour{})
	if _, err := proves(t, d.provider(t, map[string]any{"ca_file": ""}), "ada", "correct-horse"); !errors.Is(err, auth.ErrProviderUnavailable) {
		t.Errorf("a certificate of nobody who is known: %v", err)
	}
	if _, err := proves(t, d.provider(t, map[string]any{"url": "ldaps://" + d.host()}), "ada", "correct-horse"); !errors.Is(err, auth.ErrProviderUnavailable) {
		t.Errorf("a directory that does not speak TLS: %v", err)
	}
	other := d.provider(t, map[string]any{"url": strings.Replace("ldap://"+d.host(), "127.0.0.1", "localhost", 1)})
	if _, err := proves(t, other, "ada", "correct-horse"); !errors.Is(err, auth.ErrProviderUnavailable) {
		t.Errorf("a certificate of another host: %v", err)
	}
	_, _, heard := d.said()
	for _, secret := range []string{"correct-horse", servicePassword} {
		if strings.Contains(heard, secret) {
			t.Errorf("%s was sent in clear", secret)
		}
	}
}

func TestWhoItIsDoesNotHangOnANameOrAnAddress(t *testing.T) {
	d := startDirectory(t, false)
	p := d.provider(t, map[string]any{"trusted_domains": "Example.com"})
	before, err := proves(t, p, "Ada", "correct-horse")
	check(t, err)
	if before.EntityID != ada.attributes["entryUUID"][0] || !before.Profile.EmailVerified || before.Profile.Name != "ADA" {
		t.Errorf("%+v", before)
	}
	// She marries, moves, and another gets her name and address.
	moved := person("countess", "correct-horse", "lovelace@example.com", ada.attributes["entryUUID"][0])
	moved.dn = "uid=countess,ou=nobility,dc=example,dc=com"
	d.holds(moved, person("ada", "battery-staple", "ada@example.com", "6b7ba812-9dad-11d1-80b4-00c04fd43777"))
	if after, err := proves(t, p, "countess", "correct-horse"); err != nil || after.EntityID != before.EntityID {
		t.Errorf("she is %q now, %v", after.EntityID, err)
	}
	if next, err := proves(t, p, "ada", "battery-staple"); err != nil || next.EntityID == before.EntityID {
		t.Errorf("who has her name now is %q, %v", next.EntityID, err)
	}
	// Two have one name.
	d.holds(ada, person("ada", "correct-horse", "", "x"), person("ada", "correct-horse", "", "y"))
	if _, err := proves(t, p, "ada", "correct-horse"); !errors.Is(err, auth.ErrInvalidCredentials) {
		t.Errorf("one of several of a name is let in: %v", err)
	}
	// The directory does not say who it is.
	for _, ids := range [][]string{nil, {""}, {"a", "b"}} {
		e := person("ada", "correct-horse", "", "")
		e.attributes["entryUUID"] = ids
		d.holds(e)
		if found, err := proves(t, p, "ada", "correct-horse"); !errors.Is(err, auth.ErrProviderUnavailable) || !strings.Contains(err.Error(), "entryUUID") {
			t.Errorf("ids %q: %q, %v", ids, found.EntityID, err)
		}
	}
	// Active Directory.
	e := person("ada", "correct-horse", "", "")
	e.attributes = map[string][]string{"objectClass": {"user"}, "sAMAccountName": {"ada"}, "objectGUID": {"\x04\x03\x02\x01\x06\x05\x08\x07\x09\x0a\x0b\x0c\x0d\x0e\x0f\x10"}}
	d.holds(e)
	p = d.provider(t, map[string]any{"filter": "(objectClass=user)", "username_attribute": "sAMAccountName", "id_attribute": "objectGUID"})
	if found, err := proves(t, p, "ada", "correct-horse"); err != nil || found.EntityID != "01020304-0506-0708-090a-0b0c0d0e0f10" {
		t.Errorf("%q, %v", found.EntityID, err)
	}
}

func TestTheWordOfADirectoryCountsForItsOwnDomainsAlone(t *testing.T) {
	d := startDirectory(t, false)
	for _, c := range []struct {
		trusted any
		mails   []string
		email   string
		vouches bool
	}{
		{nil, []string{"ada@example.com"}, "ada@example.com", false},
		{"example.com", []string{"ADA@EXAMPLE.com"}, "ADA@EXAMPLE.com", true},
		{"example.com", []string{"ada@sub.example.com"}, "ada@sub.example.com", false},
		{"example.com", []string{"ada@example.com.evil.example"}, "ada@example.com.evil.example", false},
		{"example.com", []string{"ada@evil.example"}, "ada@evil.example", false},
		{"example.com", []string{"nonsense"}, "nonsense", false},
		{"example.com", nil, "", false},
		{[]any{"example.org", "example.com"}, []string{"b@example.com", "a@example.com"}, "a@example.com", true},
	} {
		e := person("ada", "correct-horse", "", "id")
		e.attributes["mail"] = c.mails
		d.holds(e)
		settings := map[string]any{}
		if c.trusted != nil {
			settings["trusted_domains"] = c.trusted
		}
		found, err := proves(t, d.provider(t, settings), "ada", "correct-horse")
		if err != nil || found.Profile.Email != c.email || found.Profile.EmailVerified != c.vouches {
			t.Errorf("trusted with %v, %q: %+v, %v; want %q, vouched for: %t", c.trusted, c.mails, found.Profile, err, c.email, c.vouches)
		}
	}
}

func TestReferralsAreNotFollowed(t *testing.T) {
	elsewhere, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	defer elsewhere.Close()
	called := make(chan bool, 10)
	go func() {
		for {
			conn, err := elsewhere.Accept()
			if err != nil {
				return
			}
			conn.Close()
			called <- true
		}
	}()
	d := startDirectory(t, false)
	d.does(behaviour{referTo: elsewhere.Addr().String()})
	for _, settings := range []map[string]any{nil, directly} {
		if _, err := proves(t, d.provider(t, settings), "ada", "correct-horse"); !errors.Is(err, auth.ErrProviderUnavailable) {
			t.Errorf("who is referred elsewhere: %v", err)
		}
	}
	d.does(behaviour{also: elsewhere.Addr().String()})
	if _, err := proves(t, d.provider(t, nil), "ada", "correct-horse"); err != nil {
		t.Errorf("there may be more elsewhere: %v", err)
	}
	select {
	case <-called:
		t.Error("somebody went where the directory says")
	case <-time.After(50 * time.Millisecond):
	}
}

func TestADirectoryThatFailsIsNotTheCallersFault(t *testing.T) {
	d := startDirectory(t, false)
	short := map[string]any{"timeout": "200ms"}
	for name, how := range map[string]behaviour{
		"silent": {silentAt: "accept"}, "silent at the bind": {silentAt: "bind"}, "silent at the search": {silentAt: "search"},
		"busy": {result: map[string]int{"bind": goldap.LDAPResultBusy}}, "too weak": {result: map[string]int{"bind": goldap.LDAPResultStrongAuthRequired}},
		"no base": {result: map[string]int{"search": goldap.LDAPResultNoSuchObject}}, "too much": {huge: true},
	} {
		d.does(how)
		began := time.Now()
		_, err := proves(t, d.provider(t, short), "ada", "correct-horse")
		if !errors.Is(err, auth.ErrProviderUnavailable) || errors.Is(err, auth.ErrInvalidCredentials) || time.Since(began) > 3*time.Second {
			t.Errorf("%s: %v, after %v", name, err, time.Since(began))
		} else if strings.Contains(err.Error(), "correct-horse") || strings.Contains(err.Error(), servicePassword) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, locked := range []int{goldap.LDAPResultUnwillingToPerform, goldap.LDAPResultConstraintViolation, goldap.LDAPResultInappropriateAuthentication} {
		d.does(behaviour{result: map[string]int{"bind": locked}})
		if _, err := proves(t, d.provider(t, nil), "ada", "correct-horse"); !errors.Is(err, auth.ErrInvalidCredentials) {
			t.Errorf("result %d: %v", locked, err)
		}
	}
	d.does(behaviour{})
	if _, err := proves(t, d.provider(t, map[string]any{"bind_password": "not-the-service"}), "ada", "correct-horse"); !errors.Is(err, auth.ErrProviderUnavailable) {
		t.Errorf("with a password of ours that is wrong: %v", err)
	}
	p := d.provider(t, nil)
	gone, cancel := context.WithCancel(t.Context())
	d.does(behaviour{silentAt: "accept"})
	time.AfterFunc(50*time.Millisecond, cancel)
	began := time.Now()
	if _, err := p.(auth.Authenticator).Authenticate(gone, auth.Attempt{Input: input("ada", "x")}); !errors.Is(err, context.Canceled) || time.Since(began) > 2*time.Second {
		t.Errorf("of a caller who has gone: %v, after %v", err, time.Since(began))
	}
	d.stop()
	if _, err := proves(t, p, "ada", "correct-horse"); !errors.Is(err, auth.ErrProviderUnavailable) {
		t.Errorf("a directory that is gone: %v", err)
	}
}

func TestGuessesAreCountedForWhomThereIsNotToo(t *testing.T) {
	d := startDirectory(t, false)
	for way, settings := range map[string]map[string]any{"with a search": nil, "without": directly} {
		keys, err := keyring.New(make([]byte, keyring.MinSecret))
		check(t, err)
		s, err := auth.New(auth.Params{DB: databasetest.SQLite(t).Open(t, auth.Migrations()), Keys: keys, Providers: []auth.Provider{d.provider(t, settings)},
			Log: slog.New(slog.DiscardHandler), Options: auth.Options{Throttle: auth.ThrottleOptions{AccountAddress: auth.Limit{Most: 3}}}})
		check(t, err)
		ctx := auth.WithClient(t.Context(), auth.Client{IP: "192.0.2.1"})
		d.said()
		for _, name := range []string{"ada", "nobody"} {
			for i := range 5 {
				_, err := s.Authenticate(ctx, "corp", input([]string{name, strings.ToUpper(name)}[i%2], "a-guess"))
				if errors.Is(err, auth.ErrThrottled) != (i >= 3) {
					t.Errorf("%s: guess %d at %s: %v", way, i+1, name, err)
				}
			}
		}
		binds, _, _ := d.said()
		guesses := slices.DeleteFunc(binds, func(b string) bool { return !strings.HasSuffix(b, " a-guess") })
		if len(guesses) != 6 {
			t.Errorf("%s: the directory was brought %d guesses, want three at each: %q", way, len(guesses), guesses)
		}
	}
}

// A directory takes many spellings for one name (RFC 4518), and each of them would be a few guesses more.
func TestGuessesAtAllSpellingsOfANameCountTogether(t *testing.T) {
	d := startDirectory(t, false)
	asked := map[string]bool{}
	for _, name := range []string{"straße ada", "STRASSE  ADA", "stra\u00adsse ada", "ｓｔｒａｓｓｅ ada", "stra\u200bße\u3000ada", "ſtraße ada\ufe0f", " straße\tada "} {
		_, err := d.provider(t, directly).(auth.Authenticator).Authenticate(t.Context(), auth.Attempt{Input: input(name, "a-guess"), Secret: func(_ context.Context, at string) ([]byte, error) {
			asked[at] = true
			return nil, auth.ErrThrottled
		}})
		if !errors.Is(err, auth.ErrThrottled) {
			t.Errorf("%q: %v", name, err)
		}
	}
	if len(asked) != 1 {
		t.Errorf("counted at %d accounts: %q", len(asked), slices.Collect(maps.Keys(asked)))
	}
}

func TestWhatIsSetUpWrongStopsTheStartAllAtOnce(t *testing.T) {
	d := startDirectory(t, false)
	for name, c := range map[string]struct {
		more  map[string]any
		wrong []string
	}{
		"nothing":          {map[string]any{"url": "", "base_dn": ""}, []string{"url"}},
		"no address":       {map[string]any{"url": "ldap.example.com"}, []string{"url"}},
		"another protocol": {map[string]any{"url": "https://ldap.example.com", "timeout": "1h"}, []string{"url", "timeout"}},
		"a query":          {map[string]any{"url": "ldaps://ldap.example.com/dc=example?uid"}, []string{"url"}},
		"in clear":         {map[string]any{"url": "ldap://ldap.example.com", "no_tls": true}, []string{"no_tls"}},
		"no TLS by TLS":    {map[string]any{"url": "ldaps://127.0.0.1", "no_tls": true}, []string{"no_tls"}},
		"no base":          {map[string]any{"base_dn": ""}, []string{"base_dn"}},
		"names":            {map[string]any{"base_dn": "example.com", "bind_dn": "admin"}, []string{"base_dn", "bind_dn"}},
		"everybody as one": {map[string]any{"user_dn": "uid=ada,dc=example,dc=com"}, []string{"user_dn"}},
		"no password":      {map[string]any{"bind_password": ""}, []string{"bind_password"}},
		"a filter":         {map[string]any{"filter": "objectClass=person)(uid=*"}, []string{"filter"}},
		"two filters":      {map[string]any{"filter": "(a=b)(c=d)"}, []string{"filter"}},
		"domains":          {map[string]any{"trusted_domains": "*"}, []string{"trusted_domains"}},
		"a file":           {map[string]any{"ca_file": "/does/not/exist"}, []string{"ca_file"}},
		"a typo":           {map[string]any{"start_tls": true}, []string{"start_tls"}},
	} {
		_, err := ldap.Type().New("corp", d.settings(c.more))
		var wrong []string
		for _, e := range auth.SettingsErrors(err) {
			for _, key := range e.Keys {
				wrong = append(wrong, strings.TrimPrefix(key, "auth.providers.corp."))
			}
		}
		slices.Sort(wrong)
		slices.Sort(c.wrong)
		if !slices.Equal(wrong, c.wrong) {
			t.Errorf("%s: wrong are %q (%v), want %q", name, wrong, err, c.wrong)
		}
	}
	p := d.provider(t, nil)
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("made", "provider", p)
	if shown := fmt.Sprintf("%v %+v %#v %s", p, p, p, log.String()); strings.Contains(shown, servicePassword) {
		t.Errorf("it shows the password: %s", shown)
	}
}
