package app_test

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/latchkey-go/latchkey/app"
)

var goodSecret, otherSecret = freshSecret(), freshSecret() // what is written here would be published, and production refuses it

func freshSecret() string {
	b := make([]byte, 32)
	rand.Read(b)
	return base64.RawURLEncoding.EncodeToString(b)
}

func TestNothingSetMeansTheDefaults(t *testing.T) {
	for name, file := range map[string]string{"no file": "", "empty file": "\n", "comment": "# nothing\n", "null": "null\n", "empty sections": "http:\nauth:\n  token:\n"} {
		dir := t.TempDir()
		if name != "no file" {
			write(t, filepath.Join(dir, "config.yaml"), file)
		}
		c, err := app.LoadConfig(app.LoadArgs{Dir: dir})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if got, want := c.Effective(), app.DefaultConfig().Effective(); !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
	if err := app.DefaultConfig().Validate(); err != nil {
		t.Errorf("DefaultConfig: %v, want it valid", err)
	}
}

// config.yaml in the repository is the manual of all settings.
func TestConfigYAMLHoldsEverySettingWithItsDefault(t *testing.T) {
	c, err := app.LoadConfig(app.LoadArgs{Path: "config.yaml", Dir: ".."})
	if err != nil {
		t.Fatal(err)
	}
	want := app.DefaultConfig().Effective()
	for i, got := range c.Effective() {
		if got.Source != "file" {
			t.Errorf("config.yaml does not hold %s: add it with its default and one line why", got.Key)
		}
		if got.Key != want[i].Key || got.Value != want[i].Value {
			t.Errorf("config.yaml has %s: %s, but the default is %s: %s", got.Key, got.Value, want[i].Key, want[i].Value)
		}
	}
	text, err := os.ReadFile("../config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	eachScalar(document.Content[0], "", func(key string, name *yaml.Node) {
		if name.HeadComment == "" {
			t.Errorf("config.yaml says nothing about %s: add one line why above it", key)
		}
	})
}

func eachScalar(mapping *yaml.Node, section string, visit func(key string, name *yaml.Node)) {
	for i := 0; i < len(mapping.Content); i += 2 {
		name, value := mapping.Content[i], mapping.Content[i+1]
		key := strings.TrimPrefix(section+"."+name.Value, ".")
		if value.Kind == yaml.MappingNode && len(value.Content) > 0 {
			eachScalar(value, key, visit)
			continue
		}
		visit(key, name)
	}
}

// setting is a key with a value as it is written in the environment and in the file, and as it is shown.
type setting struct{ key, env, yaml, shown string }

// everySetting has another value than the default for every known key.
var everySetting = []setting{
	{"env", "production", `production`, "production"},
	{"http.addr", ":8080", `":8080"`, ":8080"},
	{"http.public_url", "https://id.example.com", `https://id.example.com`, "https://id.example.com"},
	{"http.trusted_proxies", "10.0.0.7, 192.168.4.1/16,::1", `[10.0.0.7, 192.168.4.1/16, "::1"]`, "10.0.0.7/32,192.168.0.0/16,::1/128"},
	{"http.cors_origins", "https://a.example,http://localhost:3000", `[https://a.example, http://localhost:3000]`, "https://a.example,http://localhost:3000"},
	{"http.callback_urls", "https://a.example/back,http://localhost:3000/back", `[https://a.example/back, http://localhost:3000/back]`, "https://a.example/back,http://localhost:3000/back"},
	{"http.require_flow_cookie", "true", "true", "true"},
	{"database.url", "postgres://u:hunter2@db/x?sslpassword=hunter2", `postgres://u:hunter2@db/x?sslpassword=hunter2`, "postgres://u:xxxxx@db/x?sslpassword=xxxxx"},
	{"database.max_conns", "7", `7`, "7"},
	{"data_dir", "/var/lib/latchkey", `/var/lib/latchkey`, "/var/lib/latchkey"},
	{"secrets", goodSecret + "," + otherSecret + "=", "[" + goodSecret + ", " + otherSecret + "=]", "[redacted],[redacted]"},
	{"accept_lost_keys", "true", `true`, "true"},
	{"auth.password.min_length", "15", `15`, "15"},
	{"auth.password.min_strength", "3", `3`, "3"},
	{"auth.password.context_words", "Acme,Road Runner", `[Acme, Road Runner]`, "Acme,Road Runner"},
	{"auth.password.breach_check", "closed", `closed`, "closed"},
	{"auth.password.breach_url", "https://mirror.example/range/", `https://mirror.example/range/`, "https://mirror.example/range/"},
	{"auth.password.bcrypt_cost", "13", `13`, "13"},
	{"auth.password.max_wait", "1500ms", `1500ms`, "1.5s"},
	{"auth.password.peppers", otherSecret, "[" + otherSecret + "]", "[redacted]"},
	{"auth.token.alg", "HS256", `HS256`, "HS256"},
	{"auth.token.ttl", "90m", `90m`, "1h30m"},
	{"auth.session.ttl", "168h", `168h`, "168h"},
	{"auth.session.idle", "45m", `45m`, "45m"},
	{"auth.session.max", "5", `5`, "5"},
	{"auth.throttle.enabled", "false", `false`, "false"},
	{"auth.throttle.account_address", "7", `7`, "7"},
	{"auth.throttle.account", "70", `70`, "70"},
	{"auth.throttle.address", "700", `700`, "700"},
	{"auth.enumeration_safe", "true", `true`, "true"},
	{"auth.providers.emailpass.display_name", "E-mail", `E-mail`, "E-mail"},
	{"auth.providers.okta-eu.client_secret", "hunter2", `hunter2`, "[redacted]"},
	{"link.unlinked_ttl", "0", `0`, "0s"},
	{"link.actors.user.policy", "invite", `invite`, "invite"},
	{"link.actors.user.providers", "emailpass,okta-eu", `[emailpass, okta-eu]`, "emailpass,okta-eu"},
	{"link.actors.user.allowed_domains", "example.com,xn--bcher-kva.example", `[example.com, xn--bcher-kva.example]`, "example.com,xn--bcher-kva.example"},
	{"link.actors.user.default_roles", "member,support", `[member, support]`, "member,support"},
	{"link.actors.user.require_verified_email", "true", `true`, "true"},
	{"link.actors.user.create_users_by", "okta-eu", `[okta-eu]`, "okta-eu"},
	{"link.actors.sales_rep.policy", "manual", `manual`, "manual"},
	{"link.actors.sales_rep.providers", "", `[]`, ""},
	{"link.actors.sales_rep.allowed_domains", "example.com", `[example.com]`, "example.com"},
	{"link.actors.sales_rep.default_roles", "", `[]`, ""},
	{"link.actors.sales_rep.require_verified_email", "true", `true`, "true"},
	{"link.actors.sales_rep.create_users_by", "", `[]`, ""},
	{"roles.admin", "*,user:read", `["*", user:read]`, "*,user:read"},
	{"roles.member", "user:read", `["user:read"]`, "user:read"},
	{"roles.support", "user:read, invite:*", `["user:read", "invite:*"]`, "user:read,invite:*"},
	{"roles.team_lead", "", `[]`, ""},
	{"invite.default_roles", "member,editor", `[member, editor]`, "member,editor"},
	{"invite.ttl", "72h", `72h`, "72h"},
	{"invite.max_ttl", "100h", `100h`, "100h"},
	{"invite.max_pending", "50", `50`, "50"},
	{"invite.require_same_email", "true", `true`, "true"},
	{"admin.reset_token_in_response", "true", `true`, "true"},
	{"console.enabled", "false", `false`, "false"},
	{"console.path", "/account", `/account`, "/account"},
	{"console.name", "Example", `Example`, "Example"},
	{"console.logo", "/etc/latchkey/logo.svg", `/etc/latchkey/logo.svg`, "/etc/latchkey/logo.svg"},
	{"console.templates", "/etc/latchkey/pages", `/etc/latchkey/pages`, "/etc/latchkey/pages"},
	{"mail.driver", "file", `file`, "file"},
	{"mail.path", "/var/mail/out.jsonl", `/var/mail/out.jsonl`, "/var/mail/out.jsonl"},
	{"mail.from", "Ops <ops@example.com>", `Ops <ops@example.com>`, "Ops <ops@example.com>"},
	{"mail.name", "Example", `Example`, "Example"},
	{"mail.templates", "/etc/latchkey/mail", `/etc/latchkey/mail`, "/etc/latchkey/mail"},
	{"mail.smtp.host", "smtp.example.com", `smtp.example.com`, "smtp.example.com"},
	{"mail.smtp.port", "2525", `2525`, "2525"},
	{"mail.smtp.tls", "tls", `tls`, "tls"},
	{"mail.smtp.username", "latchkey", `latchkey`, "latchkey"},
	{"mail.smtp.password", "hunter2", `hunter2`, "[redacted]"},
	{"mail.smtp.ca_file", "/etc/ssl/ours.pem", `/etc/ssl/ours.pem`, "/etc/ssl/ours.pem"},
	{"mail.smtp.timeout", "3s", `3s`, "3s"},
	{"events.retention", "48h", `48h`, "48h"},
	{"events.max_attempts", "20", `20`, "20"},
	{"webhooks.private_addresses", "true", `true`, "true"},
	{"audit.retention", "0s", `0s`, "0s"},
	{"log.level", "debug", `debug`, "debug"},
	{"log.format", "json", `json`, "json"},
}

func variable(key string) string {
	return "LATCHKEY_" + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

// inYAML is a file of these settings.
func inYAML(t *testing.T, settings []setting) string {
	t.Helper()
	file := make(map[string]any)
	for _, s := range settings {
		var value any
		if err := yaml.Unmarshal([]byte(s.yaml), &value); err != nil {
			t.Fatal(err)
		}
		section := file
		names := strings.Split(s.key, ".")
		for _, name := range names[:len(names)-1] {
			if section[name] == nil {
				section[name] = make(map[string]any)
			}
			section = section[name].(map[string]any)
		}
		section[names[len(names)-1]] = value
	}
	text, err := yaml.Marshal(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// stands reports whether a key is one of those that a pattern means: a * is one name, or what a provider calls its own.
func stands(pattern, key string) bool {
	if own, ok := strings.CutSuffix(pattern, ".*"); ok {
		return strings.HasPrefix(key, own+".")
	}
	patterns, names := strings.Split(pattern, "."), strings.Split(key, ".")
	return slices.EqualFunc(patterns, names, func(p, name string) bool { return p == "*" || p == name })
}

func TestEverySettingCanComeFromTheFileOrTheEnvironment(t *testing.T) {
	for _, pattern := range app.KnownKeys() {
		if !slices.ContainsFunc(everySetting, func(s setting) bool { return stands(pattern, s.key) }) {
			t.Errorf("there is no sample of %s: give everySetting in config_test.go a row with it and a value that is not its default,"+
				" as written in the environment, as written in the file, and as shown by 'server config'", pattern)
		}
	}
	var environ []string
	for _, s := range everySetting {
		environ = append(environ, variable(s.key)+"="+s.env)
	}
	dir := t.TempDir()
	write(t, filepath.Join(dir, "config.yaml"), inYAML(t, everySetting))

	fromFile, err := app.LoadConfig(app.LoadArgs{Dir: dir})
	if err != nil {
		t.Fatalf("from the file: %v", err)
	}
	fromEnv, err := app.LoadConfig(app.LoadArgs{Dir: t.TempDir(), Environ: environ})
	if err != nil {
		t.Fatalf("from the environment: %v", err)
	}
	both, err := app.LoadConfig(app.LoadArgs{Dir: dir, Environ: environ})
	if err != nil {
		t.Fatalf("from both: %v", err)
	}

	for name, c := range map[string]*app.Config{"file": fromFile, "env": fromEnv, "both": both} {
		got := c.Effective()
		for _, s := range everySetting {
			source := "env " + variable(s.key)
			if name == "file" {
				source = "file"
			}
			want := app.Setting{Key: s.key, Value: s.shown, Source: source}
			if i := slices.IndexFunc(got, func(g app.Setting) bool { return g.Key == s.key }); i < 0 || got[i] != want {
				t.Errorf("%s: %v, want %v", name, got, want)
			}
		}
		if len(got) != len(everySetting) {
			t.Errorf("%s: %d settings, but everySetting has %d rows", name, len(got), len(everySetting))
		}
		for i, s := range app.DefaultConfig().Effective() {
			j := slices.IndexFunc(got, func(g app.Setting) bool { return g.Key == s.Key })
			if j < 0 || got[j].Value == s.Value {
				t.Errorf("%s: setting %d, %s, has the default still", name, i, s.Key)
			}
		}
	}
	if string(fromEnv.Database.URL) != "postgres://u:hunter2@db/x?sslpassword=hunter2" || fromEnv.Auth.Token.TTL != 90*time.Minute ||
		fromEnv.Auth.Providers["okta-eu"]["client_secret"] != "hunter2" || len(fromEnv.Secrets[1].Bytes()) != 32 {
		t.Errorf("%+v differs from what was set", fromEnv)
	}
}

func TestAllProblemsAreToldAtOnce(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "config.yaml"), `
http:
  adr: 127.0.0.1:9000
database:
  max_conns: many
auth:
  token: {ttl: 0s}
`)
	got := problems(t, app.LoadArgs{Dir: dir, Environ: []string{"LATCHKEY_LINK_ACTORS_USER_POLICY=atuo", "LATCHKEY_DATABSE_URL=x", "PATH=/bin"}})
	want := []string{
		"http.adr: unknown key; did you mean http.addr?",
		"database.max_conns: must be a whole number of at least 2",
		"LATCHKEY_DATABSE_URL: unknown variable; did you mean LATCHKEY_DATABASE_URL?",
		"auth.token.ttl: must be a duration above zero, such as 24h",
		"LATCHKEY_LINK_ACTORS_USER_POLICY: must be one of auto, invite, manual",
	}
	if !slices.Equal(got, want) {
		t.Errorf("problems:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestWhatIsWrongInTheFileIsOneLineEach(t *testing.T) {
	for _, c := range []struct{ file, want string }{
		{"htp: {addr: x}", "htp: unknown key; did you mean http?"},
		{"addr: x", "addr: unknown key; did you mean http.addr?"},
		{"HTTP: {}", "HTTP: unknown key; did you mean http?"},
		{"secret: []", "secret: unknown key; did you mean secrets?"},
		{"http: {publicUrl: ''}", "http.publicUrl: unknown key; did you mean http.public_url?"},
		{"colour: blue", "colour: unknown key; config.yaml in the repository lists all that are known"},
		{"http.addr: x", "http.addr: unknown key: sections are nested, not joined by dots"},
		{"link: {actors: {user: {polcy: auto}}}", "link.actors.user.polcy: unknown key; did you mean link.actors.user.policy?"},
		{"env: {}", "env: must be one of development, production"},
		{"env: staging", "env: must be one of development, production"},
		{"http: 5", "http: must be a section of keys"},
		{"http: [addr]", "http: must be a section of keys"},
		{"http: {addr: 9000}", "http.addr: must be a text; put it in quotes"},
		{"http: {addr: localhost}", "http.addr: must be HOST:PORT, such as 127.0.0.1:9000 or :9000"},
		{"http: {addr: 'localhost:http'}", "http.addr: must be HOST:PORT"},
		{"http: {addr: ':65536'}", "http.addr: must be HOST:PORT"},
		{"http: {addr: ''}", "http.addr: must be HOST:PORT"},
		{"http: {public_url: id.example.com}", "http.public_url: must be http:// or https:// and a host"},
		{"http: {public_url: 'https://id.example.com/auth'}", "http.public_url: must be http:// or https:// and a host"},
		{"http: {public_url: 'https://id.example.com?a'}", "http.public_url: must be http:// or https:// and a host"},
		{"http: {public_url: 'https://a:hunter2@id.example.com'}", "http.public_url: must be http:// or https:// and a host"},
		{"http: {public_url: 'ftp://id.example.com'}", "http.public_url: must be http:// or https:// and a host"},
		{"http: {public_url: 'https://'}", "http.public_url: must be http:// or https:// and a host"},
		{"http: {trusted_proxies: 10.0.0.0/8}", "http.trusted_proxies: must be a list of texts"},
		{"http: {trusted_proxies: [10.0.0.0/8, all]}", "http.trusted_proxies: entry 2 must be an IP address or a range"},
		{"http: {trusted_proxies: [10.0.0.0/33]}", "http.trusted_proxies: entry 1 must be an IP address or a range"},
		{"http: {cors_origins: ['*']}", "http.cors_origins: entry 1 must be one origin"},
		{"http: {cors_origins: ['*', 'https://a.example', 'null']}", "http.cors_origins: entries 1, 3 must be one origin"},
		{"http: {cors_origins: ['https://*.example.com']}", "http.cors_origins: entry 1 must be one origin"},
		{"http: {cors_origins: ['https://a.example/']}", "http.cors_origins: entry 1 must be one origin"},
		{"http: {cors_origins: ['https://A.example']}", "http.cors_origins: entry 1 must be one origin"},
		{"http: {cors_origins: ['https://a.example:443']}", "http.cors_origins: entry 1 must be one origin"},
		{"http: {cors_origins: ['null']}", "http.cors_origins: entry 1 must be one origin"},
		{"http: {callback_urls: ['https://a.example/back', '/back', 'https://a.example/*', 'https://A.example/back']}", "http.callback_urls: entries 2, 3, 4 must be one address"},
		{"http: {cors_origins: [5]}", "http.cors_origins: must be a list of texts (in the environment: separated by commas): put the entry in line 1 in quotes"},
		{"database: {url: 'mysql://u:hunter2@h/d'}", "database.url: must be empty, sqlite:PATH or postgres://"},
		{"database: {url: 'sqlite:'}", "database.url: sqlite: must be followed by the path of a file"},
		{"database: {url: 'sqlite::memory:'}", "database.url: must be a file"},
		{"database: {url: 'postgres://u:hunter2#%@h/d'}\nsecrets: [" + goodSecret + "]", "database.url: is not a valid postgres:// address"},
		{"database: {max_conns: 1}", "database.max_conns: must be a whole number of at least 2"},
		{"database: {max_conns: '16'}", "database.max_conns: must be a whole number of at least 2"},
		{"database: {max_conns: 016}", "database.max_conns: must be a whole number of at least 2"},
		{"database: {max_conns: 0x10}", "database.max_conns: must be a whole number of at least 2"},
		{"database: {max_conns: 99999999999999999999}", "database.max_conns: must be a whole number of at least 2"},
		{"data_dir: ''", "data_dir: must not be empty"},
		{"data_dir: yes\ndata_dir: no", "data_dir: is there twice, in lines 1 and 2: remove one"},
		{"auth: {password: {min_length: 7}}", "auth.password.min_length: must be a whole number from 8 to 256"},
		{"auth: {password: {min_strength: 5}}", "auth.password.min_strength: must be a whole number from 0 to 4"},
		{"auth: {password: {context_words: [Acme, abc]}}", "auth.password.context_words: entry 2 must have four characters or more"},
		{"auth: {password: {breach_check: ajar}}", "auth.password.breach_check: must be one of off, open, closed"},
		{"auth: {password: {breach_url: 'http://mirror.example/range/'}}", "auth.password.breach_url: must be an https:// address that ends in /"},
		{"auth: {password: {bcrypt_cost: 3}}", "auth.password.bcrypt_cost: must be a whole number from 4 to 31"},
		{"auth: {password: {bcrypt_cost: 32}}", "auth.password.bcrypt_cost: must be a whole number from 4 to 31"},
		{"auth: {password: {max_wait: 3}}", "auth.password.max_wait: must be a duration above zero, such as 3s"},
		{"auth: {password: {max_wait: -3s}}", "auth.password.max_wait: must be a duration above zero, such as 3s"},
		{"auth: {token: {alg: none}}", "auth.token.alg: must be one of EdDSA, HS256"},
		{"auth: {providers: {session: {}}}", "auth.providers.session: this cannot be the name of a provider, because it would hide a route"},
		{"auth: {providers: {user: {}}}", "auth.providers.user: this cannot be the name of a provider, because it would hide a route"},
		{"auth: {providers: {Okta: {}}}", "auth.providers.Okta: this cannot be the name of a provider: use [a-z][a-z0-9-]*"},
		{"auth: {providers: {'*': {}}}", "auth.providers.*: this cannot be the name of a provider: use [a-z][a-z0-9-]*"},
		{"auth: {providers: {okta: hunter2}}", "auth.providers.okta: must be a section of keys"},
		{"auth: {providers: {okta: {a: {b: 1, b: 2}}}}", "auth.providers.okta.a.b: is there twice, in lines 1 and 1: remove one"},
		{"auth: {providers: {okta: {a: ['file:/does/not/exist']}}}", "auth.providers.okta.a[0]: the file /does/not/exist cannot be read: "},
		{"link: {actors: {token: {policy: auto}}}", "link.actors.token: this cannot be the name of an actor type, because it would hide a route"},
		{"link: {actors: {sales-rep: {policy: auto}}}", "link.actors.sales-rep: this cannot be the name of an actor type: use [a-z][a-z0-9_]*"},
		{"link: {actors: {'*': {policy: auto}}}", "link.actors.*: this cannot be the name of an actor type: use [a-z][a-z0-9_]*"},
		{"link: {actors: {user: {providers: [E-Mail]}}}", "link.actors.user.providers: entry 1 must be the id of a provider"},
		{"link: {actors: {user: {providers: [emailpass, user]}}}", "link.actors.user.providers: entry 2 must be the id of a provider"},
		{"link: {actors: {user: {allowed_domains: [example.com, '*.example.com', '@example.com', bücher.example, localhost, 'a@b.example']}}}",
			"link.actors.user.allowed_domains: entries 2, 3, 4, 5, 6 must be a domain, such as example.com; an international one in its xn-- form"},
		{"link: {actors: {user: {default_roles: [member, 'a b']}}}", "link.actors.user.default_roles: entry 2 must be the name of a role"},
		{"link: {actors: {user: {default_roles: [admin]}}}", "link.actors.user.default_roles: must not give admin, which may do everything, to whoever signs in"},
		{"link: {actors: {user: {default_roles: [boss]}}}\nroles: {boss: ['*']}", "link.actors.user.default_roles: must not give boss, which may do everything"},
		{"link: {actors: {customer: {policy: invite}}}", "link.actors.customer.policy: must be auto or manual"},
		{"link: {actors: {customer: {create_users_by: [card], providers: [card]}}}", "link.actors.customer.create_users_by: must be empty"},
		{"roles: {support: [user:read, user:rad]}", "roles.support: entry 2 must be one of *, user:*, user:read, "},
		{"roles: {support: [user:rad, user:read, invite:craete, u*]}", "roles.support: entries 1, 3, 4 must be one of *, user:*, user:read, "},
		{"roles: {support: ['']}", "roles.support: entry 1 must be one of *, user:*"},
		{"roles: {support: ['user']}", "roles.support: entry 1 must be one of *, user:*"},
		{"roles: {support: ['**']}", "roles.support: entry 1 must be one of *, user:*"},
		{"roles: {support: ['u*']}", "roles.support: entry 1 must be one of *, user:*"},
		{"roles: {support: ['*:*']}", "roles.support: entry 1 must be one of *, user:*"},
		{"roles: {support: user:read}", "roles.support: must be a list of texts"},
		{"roles: {support: {user: read}}", "roles.support: must be a list of texts"},
		{"roles: [support]", "roles: must be a section of keys"},
		{"roles: {'a b': []}", "roles.a b: this cannot be the name of a role: use [A-Za-z][A-Za-z0-9_-]"},
		{"roles: {'a.b': []}", "roles.a.b: this cannot be the name of a role: use [A-Za-z][A-Za-z0-9_-]"},
		{"roles: {'': []}", "roles.: this cannot be the name of a role"},
		{"roles: {admin: []}", "roles.admin: must be [\"*\"], because somebody has to be able to do everything"},
		{"roles: {admin: [user:*, invite:*]}", "roles.admin: must be [\"*\"], because somebody has to be able to do everything"},
		{"roles: {support: [], support: ['*']}", "roles.support: is there twice, in lines 1 and 1: remove one"},
		{"invite: {default_roles: ['']}", "invite.default_roles: entry 1 must be the name of a role"},
		{"invite: {ttl: 800h}", "invite.max_ttl: must be at least invite.ttl"},
		{"invite: {max_ttl: 1h}", "invite.max_ttl: must be at least invite.ttl"},
		{"audit: {retention: -1h}", "audit.retention: must be a duration, such as 8760h, or 0"},
		{"events: {retention: soon}", "events.retention: must be a duration, such as 720h, or 0"},
		{"link: {unlinked_ttl: 7}", "link.unlinked_ttl: must be a duration, such as 168h, or 0"},
		{"invite: {max_ttl: 0s}", "invite.max_ttl: must be a duration above zero, such as 720h"},
		{"invite: {max_pending: 0}", "invite.max_pending: must be a whole number of at least 1"},
		{"mail: {driver: smtp}", "mail.smtp.host: must be the server that takes our mails"},
		{"mail: {smtp: {username: ada, password: hunter2}}", "mail.smtp.host: must be set, too: without it no mail is sent by SMTP"},
		{"mail: {smtp: {host: 'smtp.example.com:587'}}", "mail.smtp.host: must be the name of a host or an IP address, such as smtp.example.com; the port is mail.smtp.port"},
		{"mail: {smtp: {host: 'smtp://smtp.example.com'}}", "mail.smtp.host: must be the name of a host"},
		{"mail: {smtp: {host: smtp.example.com, port: 65536}}", "mail.smtp.port: must be a whole number from 0 to 65535"},
		{"mail: {smtp: {host: smtp.example.com, tls: opportunistic}}", "mail.smtp.tls: must be one of starttls, tls, none"},
		{"mail: {smtp: {host: smtp.example.com, username: ada}}", "mail.smtp.password: must be set with mail.smtp.username"},
		{"mail: {smtp: {host: smtp.example.com, password: hunter2}}", "mail.smtp.username: must be set with mail.smtp.password"},
		{"mail: {smtp: {host: smtp.example.com, tls: none, username: ada, password: hunter2}}", "mail.smtp.tls: must be starttls or tls: a password is sent without TLS only to a server on this machine"},
		{"mail: {smtp: {host: smtp.example.com, username: ada, password: 'file:/does/not/exist'}}", "mail.smtp.password: the file /does/not/exist cannot be read: "},
		{"mail: {smtp: {host: smtp.example.com}, from: 'Keys <keys@intranet>'}", "mail.from: must be an address that all servers know"},
		{"mail: {smtp: {host: smtp.example.com}, from: 'Keys <keys@schlüssel.example>'}", "mail.from: must be an address that all servers know"},
		{"mail: {smtp: {host: smtp.example.com, timeout: 11s}}", "mail.smtp.timeout: must be at most 9s"},
		{"log: {level: loud}", "log.level: must be one of debug, info, warn, error"},
		{"log: {format: on}", "log.format: must be one of auto, text, json"},
		{"log: {format: file:relative}", "log.format: file: must be followed by an absolute path"},
		{"log: {format: file:/does/not/exist}", "log.format: the file /does/not/exist cannot be read: "},
		{"secrets: [hunter2]", "secrets: entry 1 must be at least 32 random bytes in base64url; make one with: openssl rand"},
		{"secrets: [" + strings.Repeat("+", 43) + "]", "secrets: entry 1 must be at least 32 random bytes in base64url; make one with: openssl rand"},
		{"secrets: [" + goodSecret + ", " + goodSecret + "=]", "secrets: entries 1 and 2 are the same: remove one"},
		{"secrets: " + goodSecret, "secrets: must be a list of texts"},
		{"{a: b}: c", "top of the file: the key in line 1 must be a plain text"},
		{"[]", "CONFIG: must be a section of keys"},
		{"http: {addr: *hunter2}", "CONFIG: is not valid YAML"},
		{"env: development\nhttp: 'hunter2", "CONFIG: is not valid YAML near line"},
		{"env: development\n---\nenv: production", "CONFIG: must be one YAML document"},
		{"x: &a {}\nhttp: *a", "x: unknown key|http: must be a section of keys (YAML aliases are not supported: write the value itself)"},
		{"env: &a development\nlog: {format: *a}", "log.format: must be one of auto, text, json (YAML aliases are not supported: write the value itself)"},
		{"http: {<<: {addr: ':1'}}", "http.<<: unknown key"},
		{"auth: {providers: {okta: &a {self: *a}}}", "auth.providers.okta.self: cannot be read (YAML aliases are not supported: write the value itself)"},
	} {
		path := filepath.Join(t.TempDir(), "latchkey.yaml")
		write(t, path, c.file)
		got, want := problems(t, app.LoadArgs{Path: path}), strings.Split(strings.ReplaceAll(c.want, "CONFIG", path), "|")
		if len(got) != len(want) {
			t.Errorf("%s\nsays %q, want %q", c.file, got, want)
			continue
		}
		for i := range got {
			if !strings.HasPrefix(got[i], want[i]) || strings.ContainsAny(got[i], "\n") {
				t.Errorf("%s\nsays %q, want %q", c.file, got[i], want[i])
			}
		}
		if text := strings.Join(got, "\n"); strings.Contains(text, "hunter2") || strings.Contains(text, goodSecret) {
			t.Errorf("%s\nshows a value: %s", c.file, text)
		}
	}
}

func TestWhatIsWrongInTheEnvironmentIsOneLineEach(t *testing.T) {
	for _, c := range []struct{ entry, want string }{
		{"LATCHKEY_HTTP_ADR=x", "LATCHKEY_HTTP_ADR: unknown variable; did you mean LATCHKEY_HTTP_ADDR?"},
		{"LATCHKEY_SECRET=hunter2", "LATCHKEY_SECRET: unknown variable; did you mean LATCHKEY_SECRETS?"},
		{"LATCHKEY_ADDR=:1", "LATCHKEY_ADDR: unknown variable; did you mean LATCHKEY_HTTP_ADDR?"},
		{"LATCHKEY_=x", "LATCHKEY_: unknown variable"},
		{"LATCHKEY_HTTP=x", "LATCHKEY_HTTP: unknown variable"},
		{"LATCHKEY_TESTS=x", "LATCHKEY_TESTS: unknown variable"},
		{"LATCHKEY_http_addr=:1", "LATCHKEY_http_addr: unknown variable; did you mean LATCHKEY_HTTP_ADDR?"},
		{"LATCHKEY_HTTP_ADDR=", "LATCHKEY_HTTP_ADDR: must be HOST:PORT"},
		{"LATCHKEY_DATABASE_MAX_CONNS=1", "LATCHKEY_DATABASE_MAX_CONNS: must be a whole number of at least 2"},
		{"LATCHKEY_DATABASE_MAX_CONNS=", "LATCHKEY_DATABASE_MAX_CONNS: must be a whole number of at least 2"},
		{"LATCHKEY_HTTP_CORS_ORIGINS=https://a.example,*", "LATCHKEY_HTTP_CORS_ORIGINS: entry 2 must be one origin"},
		{"LATCHKEY_LINK_ACTORS_TOKEN_POLICY=auto", "LATCHKEY_LINK_ACTORS_TOKEN_POLICY: this cannot be the name of an actor type, because"},
		{"LATCHKEY_LINK_ACTORS_USER_POLCY=auto", "LATCHKEY_LINK_ACTORS_USER_POLCY: unknown variable; did you mean LATCHKEY_LINK_ACTORS_USER_POLICY?"},
		{"LATCHKEY_LINK_ACTORS_POLICY=auto", "LATCHKEY_LINK_ACTORS_POLICY: unknown variable"},
		{"LATCHKEY_AUTH_PROVIDERS_TOKEN_X=1", "LATCHKEY_AUTH_PROVIDERS_TOKEN_X: this cannot be the name of a provider, because"},
		{"LATCHKEY_AUTH_PROVIDERS_OKTA=1", "LATCHKEY_AUTH_PROVIDERS_OKTA: names no setting: write LATCHKEY_AUTH_PROVIDERS_OKTA_ followed by its name"},
		{"LATCHKEY_AUTH_PROVIDERS=1", "LATCHKEY_AUTH_PROVIDERS: unknown variable"},
		{"LATCHKEY_AUTH_SESSION_IDLE=119s", "LATCHKEY_AUTH_SESSION_IDLE: must be at least 2m, because that a session is in use is noted once a minute"},
		{"LATCHKEY_AUTH_SESSION_IDLE=0s", "LATCHKEY_AUTH_SESSION_IDLE: must be a duration above zero"},
		{"LATCHKEY_AUTH_SESSION_MAX=-1", "LATCHKEY_AUTH_SESSION_MAX: must be a whole number of at least 0"},
		{"LATCHKEY_ROLES_SUPPORT=user:read,user:rad", "LATCHKEY_ROLES_SUPPORT: entry 2 must be one of *, user:*, user:read, "},
		{"LATCHKEY_ROLES_ADMIN=user:read", "LATCHKEY_ROLES_ADMIN: must be [\"*\"], because"},
		{"LATCHKEY_ROLES_=user:read", "LATCHKEY_ROLES_: unknown variable"},
		{"LATCHKEY_ROLES=user:read", "LATCHKEY_ROLES: unknown variable"},
		{"LATCHKEY_ROLES_1=user:read", "LATCHKEY_ROLES_1: this cannot be the name of a role: use"},
		{"LATCHKEY_SECRETS=hunter2", "LATCHKEY_SECRETS: entry 1 must be at least 32 random bytes in base64url; make one with: openssl rand"},
		{"LATCHKEY_SECRETS=file:/does/not/exist", "LATCHKEY_SECRETS: the file /does/not/exist cannot be read: "},
		{"LATCHKEY_DATABASE_URL=postgres://u:hunter2@h/d", "secrets: PostgreSQL needs a secret that all nodes share: set LATCHKEY_SECRETS; make one with: openssl rand -base64 32 | tr '+/' '-_' | tr -d '='"},
	} {
		got := problems(t, app.LoadArgs{Dir: t.TempDir(), Environ: []string{c.entry}})
		if len(got) != 1 || !strings.HasPrefix(got[0], c.want) || strings.Contains(got[0], "hunter2") {
			t.Errorf("%s says %q, want %q", c.entry, got, c.want)
		}
	}
}

func TestProductionRefusesWhatIsForTryingOut(t *testing.T) {
	weak := func(b []byte) string { return base64.RawURLEncoding.EncodeToString(b) }
	counting := make([]byte, 32)
	for i := range counting {
		counting[i] = byte(i + 1)
	}
	const notRandom = "LATCHKEY_SECRETS: entry 1 is not random, or was published, and production refuses it; make one with: openssl rand"
	for name, c := range map[string]struct {
		environ []string
		want    string // "" where production has nothing against it
	}{
		"no secret":             {nil, "secrets: production needs a secret of its own: set LATCHKEY_SECRETS; make one with: openssl rand"},
		"a secret":              {[]string{"LATCHKEY_SECRETS=" + goodSecret}, ""},
		"no secret, PostgreSQL": {[]string{"LATCHKEY_DATABASE_URL=postgres://h/d"}, "secrets: PostgreSQL needs a secret"},
		"zeros":                 {[]string{"LATCHKEY_SECRETS=" + weak(make([]byte, 32))}, notRandom},
		"one byte repeated":     {[]string{"LATCHKEY_SECRETS=" + strings.Repeat("_", 44)}, notRandom},
		"a word repeated":       {[]string{"LATCHKEY_SECRETS=" + strings.Repeat("letmein0", 6)}, notRandom},
		"counting":              {[]string{"LATCHKEY_SECRETS=" + weak(counting)}, notRandom},
		"readable":              {[]string{"LATCHKEY_SECRETS=" + weak([]byte("correct horse battery staple, and more"))}, notRandom},
		"an example":            {[]string{"LATCHKEY_SECRETS=please-Change-Me-0123456789-abcdefghijklmnopqrstuvw"}, notRandom},
		"published":             {[]string{"LATCHKEY_SECRETS=q1Lr3zX0Yf8hJm5tVb7nKc2wSd4gUe6iOa9pTxZyRlE"}, notRandom},
		"a pepper of zeros":     {[]string{"LATCHKEY_SECRETS=" + goodSecret, "LATCHKEY_AUTH_PASSWORD_PEPPERS=" + weak(make([]byte, 32))}, "LATCHKEY_AUTH_PASSWORD_PEPPERS: entry 1 is not random"},
		"a pepper":              {[]string{"LATCHKEY_SECRETS=" + goodSecret, "LATCHKEY_AUTH_PASSWORD_PEPPERS=" + otherSecret}, ""},
		"second is weak":        {[]string{"LATCHKEY_SECRETS=" + goodSecret + "," + weak(make([]byte, 32))}, "LATCHKEY_SECRETS: entry 2 is not random"},
		"http":                  {[]string{"LATCHKEY_SECRETS=" + goodSecret, "LATCHKEY_HTTP_PUBLIC_URL=http://id.example.com"}, "LATCHKEY_HTTP_PUBLIC_URL: must be set to https://… in production"},
		"https":                 {[]string{"LATCHKEY_SECRETS=" + goodSecret, "LATCHKEY_HTTP_PUBLIC_URL=https://id.example.com/"}, ""},
		"plain http for all":    {[]string{"LATCHKEY_SECRETS=" + goodSecret, "LATCHKEY_HTTP_ADDR=0.0.0.0:9000"}, "http.public_url: must be set to https://… in production"},
		"http on loopback":      {[]string{"LATCHKEY_SECRETS=" + goodSecret, "LATCHKEY_HTTP_PUBLIC_URL=http://[::1]:9000"}, ""},
		"cheap hashes":          {[]string{"LATCHKEY_SECRETS=" + goodSecret, "LATCHKEY_AUTH_PASSWORD_BCRYPT_COST=9"}, "LATCHKEY_AUTH_PASSWORD_BCRYPT_COST: must be at least 10 in production"},
		"breaches by http":      {[]string{"LATCHKEY_SECRETS=" + goodSecret, "LATCHKEY_AUTH_PASSWORD_BREACH_CHECK=open", "LATCHKEY_AUTH_PASSWORD_BREACH_URL=http://127.0.0.1:8080/range/"}, "LATCHKEY_AUTH_PASSWORD_BREACH_URL: must be https:// in production"},
		"no breaches by http":   {[]string{"LATCHKEY_SECRETS=" + goodSecret, "LATCHKEY_AUTH_PASSWORD_BREACH_URL=http://127.0.0.1:8080/range/"}, ""},
		"breaches by https":     {[]string{"LATCHKEY_SECRETS=" + goodSecret, "LATCHKEY_AUTH_PASSWORD_BREACH_CHECK=closed"}, ""},
		"mails by smtp":         {[]string{"LATCHKEY_SECRETS=" + goodSecret, "LATCHKEY_MAIL_SMTP_HOST=smtp.example.com", "LATCHKEY_MAIL_FROM=keys@example.com"}, ""},
		"mails from localhost":  {[]string{"LATCHKEY_SECRETS=" + goodSecret, "LATCHKEY_MAIL_SMTP_HOST=smtp.example.com"}, "mail.from: must be set to an address of yours"},
		"mails in clear":        {[]string{"LATCHKEY_SECRETS=" + goodSecret, "LATCHKEY_MAIL_SMTP_HOST=smtp.example.com", "LATCHKEY_MAIL_FROM=keys@example.com", "LATCHKEY_MAIL_SMTP_TLS=none"}, "LATCHKEY_MAIL_SMTP_TLS: must be starttls or tls in production"},
		"mails on this machine": {[]string{"LATCHKEY_SECRETS=" + goodSecret, "LATCHKEY_MAIL_SMTP_HOST=localhost", "LATCHKEY_MAIL_FROM=keys@example.com", "LATCHKEY_MAIL_SMTP_TLS=none"}, ""},
		"fair hashes":           {[]string{"LATCHKEY_SECRETS=" + goodSecret, "LATCHKEY_AUTH_PASSWORD_BCRYPT_COST=10"}, ""},
	} {
		_, err := app.LoadConfig(app.LoadArgs{Dir: t.TempDir(), Environ: append(c.environ, "LATCHKEY_ENV=production")})
		var got app.Problems
		errors.As(err, &got)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s: %v, want it accepted", name, err)
		case c.want != "" && (len(got) != 1 || !strings.HasPrefix(got[0].String(), c.want)):
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
		if strings.HasPrefix(name, "no secret, P") {
			continue
		}
		if _, err := app.LoadConfig(app.LoadArgs{Dir: t.TempDir(), Environ: c.environ}); err != nil {
			t.Errorf("%s in development: %v, want it accepted", name, err)
		}
	}
}

func TestAValueCanComeFromAFile(t *testing.T) {
	dir := t.TempDir()
	secrets, level, conns := filepath.Join(dir, "secrets"), filepath.Join(dir, "level"), filepath.Join(dir, "conns")
	write(t, secrets, goodSecret+","+otherSecret+"\n")
	write(t, level, "debug\r\n")
	write(t, conns, "5")
	write(t, filepath.Join(dir, "config.yaml"), fmt.Sprintf(`
log: {level: "file:%s"}
database: {max_conns: "file:%s"}
auth: {providers: {okta: {client_secret: "file:%s", deep: {list: ["file:%s"]}}}}
`, level, conns, level, conns))
	c, err := app.LoadConfig(app.LoadArgs{Dir: dir, Environ: []string{"LATCHKEY_SECRETS=file:" + secrets, "LATCHKEY_AUTH_PROVIDERS_OKTA_PIN=file:" + conns}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string]any{"client_secret": "debug", "deep": map[string]any{"list": []any{"5"}}, "pin": "5"}
	if c.Log.Level != "debug" || c.Database.MaxConns != 5 || len(c.Secrets) != 2 || !reflect.DeepEqual(c.Auth.Providers["okta"], want) {
		t.Errorf("%+v, want level debug, 5 connections, 2 secrets and %v", c, want)
	}

	write(t, level, "hunter2\n\n")
	got := problems(t, app.LoadArgs{Dir: dir})
	if want := []string{"log.level: must be one of debug, info, warn, error"}; !slices.Equal(got, want) {
		t.Errorf("problems %q, want %q", got, want)
	}
}

func TestProvidersKeepWhatIsWritten(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "config.yaml"), `
auth:
  providers:
    emailpass:
    my-oidc: {issuer: "https://a.example", scopes: [openid, email], port: 5, ratio: 0.5, strict: true, since: 2026-01-02, nothing: null}
`)
	c, err := app.LoadConfig(app.LoadArgs{Dir: dir, Environ: []string{
		"LATCHKEY_AUTH_PROVIDERS_MY_OIDC_CLIENT_ID=7",
		"LATCHKEY_AUTH_PROVIDERS_MY_OIDC_PORT=6",
		"LATCHKEY_AUTH_PROVIDERS_EMAILPASS_DISPLAY_NAME=E-mail",
		"LATCHKEY_AUTH_PROVIDERS_GITHUB_CLIENT_ID=g",
		"LATCHKEY_AUTH_PROVIDERS_LOGIN_GOV_CLIENT_ID=l",
		"LATCHKEY_LINK_ACTORS_USER_PROVIDERS=login-gov",
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := app.ProviderSettings{
		"emailpass": {"display_name": "E-mail"},
		"my-oidc": {"issuer": "https://a.example", "scopes": []any{"openid", "email"}, "port": "6", "ratio": 0.5, "strict": true,
			"since": "2026-01-02", "client_id": "7"},
		"github":    {"client_id": "g"},
		"login-gov": {"client_id": "l"},
	}
	for id := range want {
		if !reflect.DeepEqual(c.Auth.Providers[id], want[id]) {
			t.Errorf("%s: %#v, want %#v", id, c.Auth.Providers[id], want[id])
		}
	}
	if len(c.Auth.Providers) != len(want) {
		t.Errorf("providers %v, want %v", c.Auth.Providers, want)
	}
}

func TestOtherVariablesAreNoneOfOurBusiness(t *testing.T) {
	environ := []string{"LATCHKEY_TEST_POSTGRES_URL=x", "LATCHKEY=x", "HOME=/", "=C:=C:\\", "broken", "MY_LATCHKEY_HTTP_ADDR=x"}
	if _, err := app.LoadConfig(app.LoadArgs{Dir: t.TempDir(), Environ: environ}); err != nil {
		t.Errorf("%v, want it accepted", err)
	}
}

func TestANamedFileMustExist(t *testing.T) {
	dir := t.TempDir()
	got := problems(t, app.LoadArgs{Path: "other.yaml", Dir: dir})
	if want := filepath.Join(dir, "other.yaml") + ": cannot be read: "; len(got) != 1 || !strings.HasPrefix(got[0], want) {
		t.Errorf("problems %q, want %q", got, want)
	}
	if err := os.Mkdir(filepath.Join(dir, "config.yaml"), 0o700); err != nil {
		t.Fatal(err)
	}
	if got := problems(t, app.LoadArgs{Dir: dir}); len(got) != 1 || !strings.Contains(got[0], "config.yaml: cannot be read: ") {
		t.Errorf("a directory: problems %q, want one", got)
	}
}

func TestConfigurationsMadeByHandAreChecked(t *testing.T) {
	c := app.DefaultConfig()
	c.Env = "production"
	c.Auth.Token.TTL = 0
	c.Secrets = []app.Secret{{}}
	c.Link.Actors["session"] = app.ActorConfig{Policy: "auto"}
	c.Auth.Providers["User"] = nil
	err := c.Validate()
	want := `secrets: entry 1 must be at least 32 random bytes in base64url; make one with: openssl rand -base64 32 | tr '+/' '-_' | tr -d '='
auth.token.ttl: must be a duration above zero, such as 24h
auth.providers.User: this cannot be the name of a provider: use [a-z][a-z0-9-]*
link.actors.session: this cannot be the name of an actor type, because it would hide a route: choose another`
	if err == nil || err.Error() != want {
		t.Errorf("Validate:\n%v\nwant:\n%s", err, want)
	}
	if err := new(app.Config).Validate(); err == nil {
		t.Error("the zero Config is valid, want its problems")
	}
}

func TestSecretsDoNotShow(t *testing.T) {
	c := app.DefaultConfig()
	c.Secrets = []app.Secret{app.NewSecret([]byte("hunter2"))}
	c.Database.URL = "postgres://u:hunter2@h/d?password=hunter2"
	c.Auth.Providers["okta"] = map[string]any{"client_secret": "hunter2", "deep": map[string]any{"key": "hunter2"}}
	type hidden struct{ c app.Config }
	encoded, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	inYAML, err := yaml.Marshal(c.Secrets)
	if err != nil {
		t.Fatal(err)
	}
	var log strings.Builder
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "secret", c.Secrets[0], "url", c.Database.URL, "providers", c.Auth.Providers, "config", c)
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "secret", c.Secrets[0], "url", c.Database.URL, "providers", c.Auth.Providers, "config", c)
	for _, text := range []string{
		fmt.Sprint(c), fmt.Sprintf("%v %+v %#v %s %q %x", *c, *c, *c, c.Secrets, c.Secrets, c.Secrets),
		fmt.Sprintf("%v %+v", hidden{app.Config{Secrets: c.Secrets}}, hidden{app.Config{Secrets: c.Secrets}}),
		string(encoded), string(inYAML), log.String(), fmt.Sprint(c.Effective()),
	} {
		if strings.Contains(text, "hunter2") || strings.Contains(text, "68756e") || strings.Contains(text, "104 117 110") {
			t.Errorf("shows a secret: %s", text)
		}
	}
	b := c.Secrets[0].Bytes()
	b[0] = 'p'
	if string(c.Secrets[0].Bytes()) != "hunter2" {
		t.Error("Bytes returned the secret itself, want a copy")
	}
	if (app.Secret{}).Bytes() != nil {
		t.Error("the zero Secret is not empty")
	}
}

func TestAddressOfTheServer(t *testing.T) {
	for _, c := range []struct{ addr, public, want string }{
		{"127.0.0.1:9000", "", "http://127.0.0.1:9000"},
		{":80", "", "http://localhost:80"},
		{"0.0.0.0:80", "", "http://localhost:80"},
		{"[::]:80", "", "http://localhost:80"},
		{"[::1]:80", "", "http://[::1]:80"},
		{"id.internal:80", "", "http://id.internal:80"},
		{":80", "https://id.example.com/", "https://id.example.com"},
	} {
		if got := (app.HTTPConfig{Addr: c.addr, PublicURL: c.public}).URL(); got != c.want {
			t.Errorf("URL of %q, %q: %s, want %s", c.addr, c.public, got, c.want)
		}
	}
}

func problems(t *testing.T, args app.LoadArgs) []string {
	t.Helper()
	c, err := app.LoadConfig(args)
	var problems app.Problems
	if !errors.As(err, &problems) || c != nil {
		t.Fatalf("LoadConfig: %v, %v, want Problems", c, err)
	}
	return strings.Split(problems.Error(), "\n")
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// A name in the file may have signs that the name of a variable has not.
func TestRolesOfTheFileAreFoundInTheEnvironment(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "config.yaml"), `roles: {Team-Lead: [user:read], support: [invite:read], guest: null}`)
	c, err := app.LoadConfig(app.LoadArgs{Dir: dir, Environ: []string{"LATCHKEY_ROLES_TEAM_LEAD=user:*", "LATCHKEY_ROLES_NIGHT_SHIFT=user:read"}})
	if err != nil {
		t.Fatal(err)
	}
	want := map[string][]string{"admin": {"*"}, "member": {}, "guest": {}, "Team-Lead": {"user:*"}, "support": {"invite:read"}, "night_shift": {"user:read"}}
	if !reflect.DeepEqual(c.Roles, want) {
		t.Errorf("roles %q, want %q", c.Roles, want)
	}
}
