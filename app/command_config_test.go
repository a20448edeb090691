package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/hex"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"go.uber.org/fx"
	"go.yaml.in/yaml/v3"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/modules/auth"
)

// card is a provider that is no part of the program as it comes.
type card string

func (c card) Name() string { return string(c) }

func (card) Authenticate(context.Context, auth.Attempt) (auth.Assertion, error) {
	return auth.Assertion{}, auth.ErrInvalidCredentials
}

// withProvider adds a provider of that name to the program.
func withProvider(name string) fx.Option {
	return fx.Provide(auth.AsProvider(func() card { return card(name) }))
}

// inDir runs a command in the process, in an empty directory or in dir.
func inDir(t *testing.T, dir string, args []string, opts ...fx.Option) (stdout, stderr string, code int) {
	t.Helper()
	t.Chdir(dir)
	var out, errs bytes.Buffer
	code = app.Run(&out, &errs, args, opts...)
	return out.String(), errs.String(), code
}

func TestTheCommandConfigShowsEverySettingAndItsSource(t *testing.T) {
	var rows []setting // without the actor type that no program has yet
	for _, s := range everySetting {
		if !strings.HasPrefix(s.key, "link.actors.sales_rep.") {
			rows = append(rows, s)
		}
	}
	file := filepath.Join(t.TempDir(), "latchkey.yaml")
	write(t, file, inYAML(t, rows))
	check := func(name, comment string, source func(key string) string, args ...string) {
		out, errs, code := inDir(t, t.TempDir(), args, withProvider("okta-eu"))
		if code != 0 || errs != "" {
			t.Fatalf("%s: exit %d\n%s%s", name, code, out, errs)
		}
		got := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
		if !strings.HasPrefix(got[0], comment) {
			t.Errorf("%s: the first line is %q, want %q", name, got[0], comment)
		}
		for _, s := range rows {
			shown := s.shown
			if shown == "" || strings.Contains(shown, " ") {
				shown = strconv.Quote(shown)
			}
			i := slices.IndexFunc(got, func(line string) bool { return strings.HasPrefix(line, s.key+" ") })
			if i < 0 {
				t.Errorf("%s: there is no line for %s", name, s.key)
				continue
			}
			value, from, _ := strings.Cut(strings.TrimLeft(strings.TrimPrefix(got[i], s.key), " "), "  ")
			if from = strings.TrimLeft(from, " "); value != shown || from != source(s.key) {
				t.Errorf("%s: %s is %s from %q, want %s from %q", name, s.key, value, from, shown, source(s.key))
			}
		}
		if len(got) != 1+len(rows) {
			t.Errorf("%s: %d lines, want the file and %d settings:\n%s", name, len(got), len(rows), out)
		}
	}
	check("file", "# file: "+file, func(string) string { return "file" }, "--config", file, "config")
	for _, s := range rows {
		t.Setenv(variable(s.key), s.env)
	}
	check("environment", "# file: none, because there is no /", func(key string) string { return "env " + variable(key) }, "config")
}

func TestTheCommandConfigFollowsTheOrderOfConfigYAML(t *testing.T) {
	out, errs, code := inDir(t, "..", []string{"config"})
	if code != 0 {
		t.Fatalf("exit %d\n%s%s", code, out, errs)
	}
	var got, want []string
	for line := range strings.Lines(out) {
		if key, _, _ := strings.Cut(line, " "); key != "#" {
			got = append(got, key)
		}
	}
	text, err := os.ReadFile("config.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		t.Fatal(err)
	}
	eachScalar(document.Content[0], "", func(key string, _ *yaml.Node) {
		if key != "auth.providers" { // a section that is empty
			want = append(want, key)
		}
	})
	if !slices.Equal(got, want) {
		t.Errorf("the keys are\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTheCommandConfigShowsNoSecrets(t *testing.T) {
	const canary = "zebra7"
	raw := []byte("0123456789 " + canary + " abcdefghijklmnop")
	secret := base64.RawURLEncoding.EncodeToString(raw)
	for name, s := range map[string]struct {
		file, says string
		environ    []string
	}{
		"secrets":              {`secrets: ["` + secret + `"]`, "[redacted]", nil},
		"secrets in variables": {``, "[redacted],[redacted]", []string{"LATCHKEY_SECRETS=" + goodSecret + "," + secret}},
		"password of the database": {"database: {url: 'postgres://u:" + canary + "@db/x'}\nsecrets: [" + goodSecret + "]",
			"postgres://u:xxxxx@db/x ", nil},
		"encoded password": {"database: {url: 'postgres://u:%22" + canary + "%2F%20@db/x'}\nsecrets: [" + goodSecret + "]",
			"postgres://u:xxxxx@db/x ", nil},
		"password cut in two": {"database: {url: 'postgres://u:1/" + canary + "@db/x'}\nsecrets: [" + goodSecret + "]",
			"[redacted] ", nil},
		"password cut at its ?": {"database: {url: 'postgres://u:1?" + canary + "@db/x'}\nsecrets: [" + goodSecret + "]",
			"[redacted] ", nil},
		"password cut at its @": {"database: {url: 'postgres://u:p@1/" + canary + "@db/x'}\nsecrets: [" + goodSecret + "]",
			"[redacted] ", nil},
		"parameters of the database": {"database: {url: 'postgres://db/x?password=" + canary + "&sslpassword=" + canary + "&Password=a%26" + canary +
			"&oauth_client_secret=" + canary + "&sslkey=" + canary + "&sslmode=disable'}\nsecrets: [" + goodSecret + "]", "&sslmode=disable", nil},
		"database in a variable": {"secrets: [" + goodSecret + "]", "postgres://u:xxxxx@db/x?password=xxxxx",
			[]string{"LATCHKEY_DATABASE_URL=postgresql://u:" + canary + "@db/x?password=" + canary}},
		"settings of a provider": {"auth: {providers: {card: {display_name: Cards, client_secret: " + canary + ", pin: '" + canary + "', deep: {a: [" + canary +
			"]}, list: [" + canary + "], type: {oops: " + canary + "}, scopes: [openid, {oops: " + canary + "}], issuer: 'https://u:" + canary + "@a.example/'}}}", "openid,[redacted]",
			[]string{"LATCHKEY_AUTH_PROVIDERS_CARD_KEY=" + canary}},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "latchkey.yaml")
			write(t, file, s.file)
			for _, entry := range s.environ {
				name, value, _ := strings.Cut(entry, "=")
				t.Setenv(name, value)
			}
			out, errs, code := inDir(t, t.TempDir(), []string{"--config", file, "config"}, withProvider("card"))
			if code != 0 || !strings.Contains(strings.ReplaceAll(out, "postgresql:", "postgres:"), s.says) {
				t.Fatalf("exit %d, want 0 and %q\n%s%s", code, s.says, out, errs)
			}
			for _, leak := range []string{canary, hex.EncodeToString([]byte(canary)), secret, secret[8:40],
				base64.StdEncoding.EncodeToString(raw)[:40], url.QueryEscape(string(raw)), strings.Trim(strconv.Quote(string(raw)), `"`)} {
				if strings.Contains(strings.ToLower(out+errs), strings.ToLower(leak)) {
					t.Errorf("shows %q:\n%s%s", leak, out, errs)
				}
			}
		})
	}
}

func TestTheCommandConfigTouchesNothing(t *testing.T) {
	dir := t.TempDir()
	invoked := false
	out, errs, code := inDir(t, dir, []string{"config"}, fx.Invoke(func() { invoked = true }))
	if code != 0 || !strings.Contains(out, "# file: none, because there is no "+filepath.Join(dir, "config.yaml")+"\n") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 0 {
		t.Errorf("it left %v behind (%v)", entries, err)
	}
	if invoked {
		t.Error("it ran the program's own functions, which may open the database")
	}
}

func TestTheCommandConfigMakesOddValuesVisible(t *testing.T) {
	t.Setenv("LATCHKEY_AUTH_PROVIDERS_EMAILPASS_DISPLAY_NAME", "two\nlines\x1b[31m")
	t.Setenv("LATCHKEY_DATA_DIR", `/srv/my "data"`)
	out, errs, code := inDir(t, t.TempDir(), []string{"config"})
	if code != 0 {
		t.Fatalf("exit %d\n%s", code, errs)
	}
	for _, want := range []string{`"two\nlines\x1b[31m"`, `"/srv/my \"data\""`, "secrets  "} {
		if !strings.Contains(out, want) {
			t.Errorf("lacks %s:\n%s", want, out)
		}
	}
}

func TestTheCommandConfigTakesNoArguments(t *testing.T) {
	env := []string{"PATH=/usr/bin"}
	if out, errs, code := run(t, append(env, "LATCHKEY_NOPE=1"), "config", "--help"); code != 0 || errs != "" || !strings.Contains(out, "every setting") {
		t.Errorf("--help: exit %d\n%s%s", code, out, errs)
	}
	for _, arg := range []string{"http.addr", "--nope"} {
		if out, errs, code := run(t, env, "config", arg); code != 2 || out != "" || !strings.Contains(errs, "server --help") {
			t.Errorf("%s: exit %d, want 2\n%s%s", arg, code, out, errs)
		}
	}
}

// Five faults are five lines, whatever command is run on them, and nothing is started.
func TestAFileWithFiveFaultsPrintsFiveLinesWithTheirPaths(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		want []string // how each line begins, in the order of the output
	}{
		"one of each kind": {`
http:
  adr: 127.0.0.1:9000
  cors_origins: [https://shop.example.com/]
database: {max_conns: 1}
auth:
  token: {ttl: soon}
log: {level: info, level: debug}
`, []string{
			"http.adr: unknown key; did you mean http.addr?",
			"auth.token.ttl: must be a duration",
			"log.level: is there twice, in lines 8 and 8",
			"http.cors_origins: entry 1 must be one origin",
			"database.max_conns: must be a whole number of at least 2",
		}},
		"types and names": {`
http: {addr: 9000}
secrets: hunter2
auth: {password: [], providers: {session: {key: hunter2}}}
link: {actors: {user: {policy: hunter2}}}
`, []string{
			"http.addr: must be a text; put it in quotes",
			"secrets: must be a list of texts",
			"auth.password: must be a section of keys",
			"auth.providers.session: this cannot be the name of a provider",
			"link.actors.user.policy: must be one of auto, invite, manual",
		}},
		"what only the providers know": {`
http: {addr: nonsense}
auth: {providers: {emailpass: {display_nam: hunter2, display_name: [hunter2, hunter2]}, gitlab: {key: hunter2}}}
link: {actors: {user: {providers: [github]}}}
`, []string{
			"http.addr: must be HOST:PORT",
			"auth.providers.emailpass.display_name: the value has the wrong type",
			"auth.providers.emailpass.display_nam: the provider knows no such setting",
			"auth.providers.gitlab: there is no such provider; there are emailpass",
			"link.actors.user.providers: there is no provider \"github\": the section auth.providers.github makes it; there are emailpass",
		}},
	} {
		dir := t.TempDir()
		file := filepath.Join(dir, "latchkey.yaml")
		write(t, file, c.file)
		env := []string{"PATH=/usr/bin", "LATCHKEY_DATA_DIR=" + filepath.Join(dir, "data")}
		for _, command := range [][]string{nil, {"config"}, {"migrate"}, {"user", "-e", "ada@example.com", "-p", "correct horse"}} {
			out, errs, code := run(t, env, append([]string{"--config", file}, command...)...)
			if code != 2 || out != "" {
				t.Errorf("%s, %v: exit %d, want 2 and nothing but the faults\n%s", name, command, code, out)
			}
			heading, faults, _ := strings.Cut(strings.TrimSuffix(errs, "\n"), "\n")
			lines := strings.Split(faults, "\n")
			if heading != "The configuration is not usable:" || len(lines) != len(c.want) {
				t.Errorf("%s, %v: %d lines, want %d beneath the heading:\n%s", name, command, len(lines), len(c.want), errs)
				continue
			}
			for i, want := range c.want {
				if !strings.HasPrefix(lines[i], want) {
					t.Errorf("%s, %v: line %d is %q, want %q", name, command, i+1, lines[i], want)
				}
			}
			if strings.Contains(errs, "hunter2") {
				t.Errorf("%s, %v: a value is shown:\n%s", name, command, errs)
			}
		}
		if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
			t.Errorf("%s: a data directory was made all the same", name)
		}
	}
}
