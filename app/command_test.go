package app_test

import (
	"cmp"
	"context"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

func TestTheCommandUserMakesAnAdmin(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		env := environment(t.TempDir(), at)
		r := start(t, env)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.up(ctx); err != nil {
			t.Fatal(err)
		}
		const address, secret = "admin@example.com", "correct horse"

		// Somebody has registered the address before, to be in the way: their password is worth nothing afterwards.
		status, squatted, err := post(r.url+"/auth/user/emailpass/register", `{"email":"admin@example.com","password":"battery staple"}`)
		if err != nil || status != 200 {
			t.Fatalf("register: %d %s %v", status, squatted, err)
		}
		if out, errs, code := run(t, env, "user", "-e", "Admin@Example.com", "-p", secret); code != 0 || !strings.Contains(out, address) || !strings.Contains(out, "admin") {
			t.Fatalf("user: exit %d\n%s%s", code, out, errs)
		}
		status, body, err := post(r.url+"/auth/user/emailpass", `{"email":"admin@example.com","password":"correct horse"}`)
		if err != nil || status != 200 {
			t.Fatalf("sign in: %d %s %v", status, body, err)
		}
		if status, body, err = post(r.url+"/admin/invites", `{"email":"ada@example.com"}`, "Authorization: Bearer "+member(body, "token")); err != nil || status != 200 {
			t.Errorf("invite as the new admin: %d %s %v", status, body, err)
		}
		if status, _, _ = post(r.url+"/auth/user/emailpass", `{"email":"admin@example.com","password":"battery staple"}`); status != 401 {
			t.Errorf("sign in with the squatter's password: %d, want 401", status)
		}
		if status, _, _ = post(r.url+"/auth/token/refresh", ``, "Authorization: Bearer "+member(squatted, "token")); status != 401 {
			t.Errorf("refresh with the squatter's token: %d, want 401", status)
		}

		for name, c := range map[string]struct {
			args []string
			code int
			says string
		}{
			"an address that has a user": {[]string{"user", "-e", address, "-p", "another password"}, 1, "has a user already"},
			"a weak password":            {[]string{"user", "-e", "new@example.com", "-p", "short"}, 1, "at least 8 characters"},
			"a common password":          {[]string{"user", "-e", "new@example.com", "-p", "password1"}, 1, "too common"},
			"no address at all":          {[]string{"user", "-e", "nonsense", "-p", secret}, 1, "e-mail"},
			"no -e":                      {[]string{"user", "-p", secret}, 2, "-e"},
			"no terminal to ask at":      {[]string{"user", "-e", "new@example.com"}, 2, "-p"},
			"an unknown flag":            {[]string{"user", "--nope"}, 2, "nope"},
			"an unknown command":         {[]string{"nope"}, 2, "nope"},
		} {
			out, errs, code := run(t, env, c.args...)
			if code != c.code || !strings.Contains(errs, c.says) || out != "" {
				t.Errorf("%s: exit %d, want %d and %q\n%s%s", name, code, c.code, c.says, out, errs)
			}
			if strings.Contains(errs, secret) || strings.Contains(errs, "goroutine") {
				t.Errorf("%s: the message shows too much:\n%s", name, errs)
			}
		}
		if n := usersOf(t, env); n != 1 {
			t.Errorf("%d users, want the admin alone", n)
		}

		out, errs, code := run(t, env, "user", "-e", "grace@example.com", "-p", secret, "--role", "support", "--role", "member")
		if code != 0 || !strings.Contains(out, "member, support") {
			t.Errorf("roles: exit %d\n%s%s", code, out, errs)
		}
	})
}

func TestTheCommandUserSaysWhichDatabaseItIsAndWhetherThatIsNew(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		dir := t.TempDir()
		env, place := environment(dir, at), "sqlite "+filepath.Join(dir, "data", "latchkey.db")
		if at.Dialect == database.Postgres {
			u, err := url.Parse(at.URL)
			if err != nil {
				t.Fatal(err)
			}
			place = "postgres " + cmp.Or(u.Host, u.Query().Get("host")) + u.Path
			u.User = url.UserPassword(u.User.Username(), "hunter2") // which the server does not ask for
			q := u.Query()                                          // what it says counts for more than what is in front
			q.Set("host", cmp.Or(q.Get("host"), u.Hostname()))
			q.Set("port", cmp.Or(q.Get("port"), u.Port()))
			q.Set("dbname", strings.TrimPrefix(u.Path, "/"))
			u.Host, u.Path, u.RawQuery = "nowhere.invalid:1", "/other", q.Encode()
			env = append(env, "LATCHKEY_DATABASE_URL="+u.String())
		}
		for _, c := range []struct {
			args []string
			code int
			says bool
			made bool
		}{
			{[]string{"user", "-e", "admin@example.com", "-p", "correct horse"}, 0, true, true},
			{[]string{"user", "-e", "admin@example.com", "-p", "correct horse"}, 1, false, false}, // nothing was done
			{[]string{"user", "-e", "ada@example.com", "--invite"}, 0, true, false},
			{[]string{"user", "-e", "ada@example.com", "-p", "correct horse"}, 0, true, false},
		} {
			out, errs, code := run(t, env, c.args...)
			if code != c.code || strings.Contains(errs, "Database: "+place+"\n") != c.says || strings.Contains(errs, "this database is new") != c.made {
				t.Errorf("%q: exit %d, want %d, the database %q told %t, new %t\n%s", c.args, code, c.code, place, c.says, c.made, errs)
			}
			if strings.Contains(out+errs, "hunter2") || strings.Contains(out, "Database") || strings.Contains(errs, "search_path") {
				t.Errorf("%q says too much: %s%s", c.args, out, errs)
			}
		}
	})
}

func TestTheCommandSessionsSignsOutOneOrEverybodyWhileServersRun(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		env := environment(t.TempDir(), at)
		r := start(t, env)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.up(ctx); err != nil {
			t.Fatal(err)
		}
		signIn := func(who string) (header string) {
			t.Helper()
			status, body, err := post(r.url+"/auth/user/emailpass", `{"email":"`+who+`@example.com","password":"correct horse"}`)
			if err != nil || status != 200 {
				t.Fatalf("sign in %s: %d %s %v", who, status, body, err)
			}
			return "Authorization: Bearer " + member(body, "token")
		}
		alive := func(header string) bool {
			t.Helper()
			status, body, err := post(r.url+"/auth/token/refresh", "", header)
			if err != nil || status != 200 && status != 401 {
				t.Fatalf("refresh: %d %s %v", status, body, err)
			}
			return status == 200
		}
		// within reports whether it is dead, at the latest, a second after the command has ended.
		within := func(header string) bool {
			t.Helper()
			for until := time.Now().Add(time.Second); time.Now().Before(until); time.Sleep(20 * time.Millisecond) {
				alive(header) // which does not prolong it
			}
			return !alive(header)
		}
		for _, who := range []string{"ada", "eve"} {
			if status, body, err := post(r.url+"/auth/user/emailpass/register", `{"email":"`+who+`@example.com","password":"correct horse"}`); err != nil || status != 200 {
				t.Fatalf("register: %d %s %v", status, body, err)
			}
		}
		first, second, eve := signIn("ada"), signIn("ada"), signIn("eve")

		for name, c := range map[string]struct {
			args []string
			code int
			says string
		}{
			"nothing":            {[]string{"sessions"}, 2, "end"},
			"another verb":       {[]string{"sessions", "list"}, 2, "end"},
			"of nobody":          {[]string{"sessions", "end"}, 2, "either --user ADDRESS or --all"},
			"of one and all":     {[]string{"sessions", "end", "--all", "--user", "ada@example.com"}, 2, "either --user ADDRESS or --all"},
			"too much":           {[]string{"sessions", "end", "--all", "ada@example.com"}, 2, "either --user ADDRESS or --all"},
			"an unknown address": {[]string{"sessions", "end", "--user", "nobody@example.com"}, 1, "nobody has the address"},
			"no address":         {[]string{"sessions", "end", "--user", "nonsense"}, 1, "e-mail"},
		} {
			if out, errs, code := run(t, env, c.args...); code != c.code || !strings.Contains(errs, c.says) || out != "" {
				t.Errorf("%s: exit %d, want %d and %q\n%s%s", name, code, c.code, c.says, out, errs)
			}
		}
		for _, args := range [][]string{{"sessions", "--help"}, {"sessions", "end", "--help"}} {
			if out, errs, code := run(t, env, args...); code != 0 || !strings.Contains(out, "-all") || !strings.Contains(out, "-user") {
				t.Errorf("%v: exit %d\n%s%s", args, code, out, errs)
			}
		}
		if !alive(first) || !alive(second) || !alive(eve) {
			t.Fatal("a command that was refused has ended something")
		}
		out, errs, code := run(t, env, "sessions", "end", "--user", "Ada@example.com")
		if code != 0 || !strings.HasPrefix(out, "Ended 2 sessions of ada@example.com (user_") {
			t.Errorf("one: exit %d\n%s%s", code, out, errs)
		}
		if !within(first) || alive(second) || !alive(eve) {
			t.Errorf("a second later: %t and %t are alive, and %t of another user", alive(first), alive(second), alive(eve))
		}
		third := signIn("ada")
		if out, errs, code = run(t, env, "sessions", "end", "--all"); code != 0 || out != "Ended 2 sessions of 2 people.\n" {
			t.Errorf("all: exit %d\n%s%s", code, out, errs)
		}
		if !within(third) || alive(eve) {
			t.Errorf("a second later: %t and %t are alive", alive(third), alive(eve))
		}
		signIn("eve") // who may come back
	})
}

func TestCommandsThatEndThingsMakeNoDatabaseInAWrongDirectory(t *testing.T) {
	dir := t.TempDir()
	env := environment(dir, databasetest.SQLite(t))
	env = slices.DeleteFunc(env, func(v string) bool { return strings.HasPrefix(v, "LATCHKEY_DATABASE_URL=") })
	for _, args := range [][]string{{"sessions", "end", "--all"}, {"sessions", "end", "--user", "ada@example.com"}, {"purge"}, {"keys", "status"}} {
		out, errs, code := run(t, env, args...)
		if code != 1 || out != "" || !strings.Contains(errs, " yet ") || !strings.Contains(errs, dir) {
			t.Errorf("server %v: exit %d, want 1 and where it looked\n%s%s", args, code, out, errs)
		}
	}
	for _, made := range []string{"*.db", "*/*.db", "secret", "*/secret"} {
		if files, _ := filepath.Glob(filepath.Join(dir, made)); files != nil {
			t.Errorf("they made %v", files)
		}
	}
}

func TestTheCommandUserPrintsAnInviteLink(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		env := environment(t.TempDir(), at, "LATCHKEY_HTTP_PUBLIC_URL=https://id.example.com")
		first, errs, code := run(t, env, "user", "-e", "ada@example.com", "--invite")
		if code != 0 || !strings.Contains(first, "https://id.example.com/app/invite?token=") {
			t.Fatalf("exit %d\n%s%s", code, first, errs)
		}
		again, errs, code := run(t, env, "user", "-e", "ada@example.com", "--invite", "--role", "member")
		if code != 0 || again == first {
			t.Errorf("a second time: exit %d\n%s%s", code, again, errs)
		}
	})
}

func TestTheCommandMigrateShowsHowTheDatabaseStands(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		env := environment(t.TempDir(), at)
		if out, errs, code := run(t, env, "migrate", "--status"); code != 0 || !strings.Contains(out, "pending") || strings.Contains(out, "20") {
			t.Errorf("before: exit %d\n%s%s", code, out, errs)
		}
		if out, errs, code := run(t, env, "migrate"); code != 0 || strings.Contains(out, "pending") {
			t.Errorf("migrate: exit %d\n%s%s", code, out, errs)
		}
		if out, errs, code := run(t, env, "migrate", "--status"); code != 0 || strings.Contains(out, "pending") || !strings.Contains(out, "users_and_invites") {
			t.Errorf("after: exit %d\n%s%s", code, out, errs)
		}
	})
}

func TestHelpAndFaultyConfiguration(t *testing.T) {
	env := []string{"PATH=/usr/bin"}
	for _, args := range [][]string{{"--help"}, {"-h"}, {"help"}} {
		if out, errs, code := run(t, append(env, "LATCHKEY_NOPE=1"), args...); code != 0 || !strings.Contains(out, "server user -e") {
			t.Errorf("%v: exit %d\n%s%s", args, code, out, errs)
		}
	}
	if out, errs, code := run(t, env, "user", "--help"); code != 0 || !strings.Contains(out, "-role") {
		t.Errorf("user --help: exit %d\n%s%s", code, out, errs)
	}
	for _, args := range [][]string{{"migrate", "--config", "x.yaml"}, {"user", "-e", "ada@example.com", "-config=x.yaml"}} {
		if out, errs, code := run(t, env, args...); code != 2 || out != "" || !strings.Contains(errs, "server --config FILE "+args[0]) {
			t.Errorf("%v: exit %d, want 2 and where --config goes\n%s%s", args, code, out, errs)
		}
	}
	out, errs, code := run(t, append(env, "LATCHKEY_HTTP_ADR=:1", "LATCHKEY_AUTH_TOKEN_TTL=long", "LATCHKEY_DATABASE_URL=postgres://u:hunter2@127.0.0.1/x"))
	if code != 2 || out != "" {
		t.Errorf("exit %d, want 2\n%s", code, out)
	}
	for _, want := range []string{"LATCHKEY_HTTP_ADR", "LATCHKEY_AUTH_TOKEN_TTL", "LATCHKEY_SECRETS"} {
		if !strings.Contains(errs, want) {
			t.Errorf("the message lacks %s:\n%s", want, errs)
		}
	}
	if strings.Contains(errs, "hunter2") {
		t.Errorf("the message shows a password:\n%s", errs)
	}
}

func TestSettingsThatAProviderDoesNotKnowAreFaultsOfTheConfiguration(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "bad.yaml")
	write(t, file, "auth: {providers: {emailpass: {display_nam: hunter2, display_name: [hunter2, hunter2]}}}\n")
	env := []string{"PATH=/usr/bin", "LATCHKEY_DATA_DIR=" + filepath.Join(dir, "data")}
	if _, errs, code := run(t, env, "--config", file, "config"); code != 2 || errs != "The configuration is not usable:\nauth.providers.emailpass.display_name: the value has the wrong type\n"+
		"auth.providers.emailpass.display_nam: the provider knows no such setting\n" {
		t.Errorf("a wrong type: exit %d, want 2\n%s", code, errs)
	}
	env = append(env, "LATCHKEY_AUTH_PROVIDERS_EMAILPASS_DISPLAY_NAME=E-mail", "LATCHKEY_AUTH_PROVIDERS_EMAILPASS_PIN=hunter2")
	const want = "The configuration is not usable:\nauth.providers.emailpass.display_nam: the provider knows no such setting\n" +
		"LATCHKEY_AUTH_PROVIDERS_EMAILPASS_PIN: the provider knows no such setting\n"
	for _, command := range []string{"", "config", "user"} {
		args := map[string][]string{"": nil, "config": {"config"}, "user": {"user", "-e", "ada@example.com", "-p", "correct horse"}}[command]
		if out, errs, code := run(t, env, append([]string{"--config", file}, args...)...); code != 2 || out != "" || !strings.HasSuffix(errs, want) {
			t.Errorf("server %s: exit %d, want 2\n%s%s", command, code, out, errs)
		}
	}
}

func TestProvidersAndActorTypesThatAreNotThereAreToldBeforeAnythingStarts(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "bad.yaml")
	err := os.WriteFile(file, []byte("link: {actors: {user: {providers: [github, emailpass], create_users_by: [emailpass]}, customer: {policy: auto}}}\nauth: {providers: {gitlab: {x: 1}, emailpass: {x: 1}}}\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=/usr/bin", "LATCHKEY_SECRETS=" + testSecret, "LATCHKEY_DATA_DIR=" + filepath.Join(dir, "data")}
	out, errs, code := run(t, env, "--config", file)
	if code != 2 || out != "" {
		t.Errorf("exit %d, want 2\n%s", code, out)
	}
	for _, want := range []string{"auth.providers.gitlab: ", "auth.providers.emailpass.x: ", "link.actors.customer: ", "link.actors.user.providers: there is no provider \"github\"",
		"link.actors.user.create_users_by: \"emailpass\" vouches for nobody"} {
		if !strings.Contains(errs, want) {
			t.Errorf("the message lacks %s:\n%s", want, errs)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "data")); err == nil {
		t.Error("a data directory was made all the same")
	}
}

// member returns the string that a JSON object of one level holds under a name.
func member(body, name string) string {
	_, value, _ := strings.Cut(body, `"`+name+`":"`)
	value, _, _ = strings.Cut(value, `"`)
	return value
}
