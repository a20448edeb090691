package app_test

import (
	"bufio"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// asked are the requirements of V6, V7 and V9 that docs/security/asvs.md answers: levels 1 and 2, and of level 3 what we
// take up.
var asked = strings.Fields(`6.1.1 6.1.2 6.1.3
	6.2.1 6.2.2 6.2.3 6.2.4 6.2.5 6.2.6 6.2.7 6.2.8 6.2.9 6.2.10 6.2.11 6.2.12
	6.3.1 6.3.2 6.3.3 6.3.4 6.3.5 6.3.7 6.3.8 6.4.1 6.4.2 6.4.3 6.4.4 6.4.6
	6.5.1 6.5.2 6.5.3 6.5.4 6.5.5 6.6.2 6.6.3 6.8.1 6.8.2 6.8.4
	7.1.1 7.1.2 7.1.3 7.2.1 7.2.2 7.2.3 7.2.4 7.3.1 7.3.2 7.4.1 7.4.2 7.4.3 7.4.4 7.4.5 7.5.1 7.5.2 7.6.1 7.6.2
	9.1.1 9.1.2 9.1.3 9.2.1 9.2.2 9.2.3 9.2.4`)

func TestEveryRowOfASVSHasItsTests(t *testing.T) {
	tests := testsOf(t, "..")
	var rows []string
	for line := range strings.Lines(document(t, "security/asvs.md")) {
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), " | ")
		id := strings.TrimSpace(cells[0])
		if !regexp.MustCompile(`^\d+\.\d+\.\d+$`).MatchString(id) {
			continue
		}
		if len(cells) != 5 {
			t.Errorf("%s has %d columns, want 5: %s", id, len(cells), line)
			continue
		}
		rows = append(rows, id)
		named := regexp.MustCompile("`([^`]*)`").FindAllStringSubmatch(cells[4], -1)
		for _, name := range named {
			if !tests[name[1]] {
				t.Errorf("%s: there is no test %s", id, name[1])
			}
		}
		why := strings.Contains(cells[3], "**not yet**") || regexp.MustCompile(`\*\*does not apply\*\*.{10,}`).MatchString(cells[3])
		if len(named) == 0 && !why {
			t.Errorf("%s names no test, and does not say why", id)
		}
	}
	if !slices.Equal(rows, asked) {
		t.Errorf("the rows are %v,\nwant %v", rows, asked)
	}
}

// testsOf are the names of all tests and fuzz targets of the tree.
func testsOf(t *testing.T, root string) map[string]bool {
	t.Helper()
	declared := regexp.MustCompile(`^func ((?:Test|Fuzz)\p{Lu}\w*)\(`)
	tests := map[string]bool{}
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		defer file.Close()
		lines := bufio.NewScanner(file)
		for lines.Buffer(nil, 1<<20); lines.Scan(); {
			if found := declared.FindStringSubmatch(lines.Text()); found != nil {
				tests[found[1]] = true
			}
		}
		return lines.Err()
	})
	if err != nil || len(tests) < 100 {
		t.Fatalf("%d tests are found, %v", len(tests), err)
	}
	return tests
}

func document(t *testing.T, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("..", "docs", name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// Each limit of the code is in the document's table, and the other way round (ASVS 6.1.1).
func TestTheNumbersOfThrottlingAreThoseOfTheDocument(t *testing.T) {
	code, err := os.ReadFile("../modules/auth/throttle.go")
	if err != nil {
		t.Fatal(err)
	}
	inCode := map[string][]string{}
	for _, l := range regexp.MustCompile(`= Limit\{"(\w+)", (\d+), ([\w .*]+)\}`).FindAllStringSubmatch(string(code), -1) {
		within := map[string]string{"15 * time.Minute": "15 min", "time.Hour": "1 h", "24 * time.Hour": "24 h"}[l[3]]
		if within == "" {
			t.Fatalf("the limit %s is per %s, which this test does not know", l[1], l[3])
		}
		inCode[l[2]+" within "+within] = append(inCode[l[2]+" within "+within], l[1])
	}
	inDocument := map[string]bool{}
	text := document(t, "security/throttling.md")
	text = text[:strings.Index(text, "An *account* is")]
	for _, row := range regexp.MustCompile(`\| (\d+)[^|]* \| (15 min|1 h|24 h) \|`).FindAllStringSubmatch(text, -1) {
		inDocument[row[1]+" within "+row[2]] = true
	}
	if len(inCode) < 6 {
		t.Fatalf("only %d kinds of limits are found", len(inCode))
	}
	for limit, names := range inCode {
		if !inDocument[limit] {
			t.Errorf("docs/security/throttling.md does not have %s, which is %v", limit, names)
		}
	}
	for limit := range inDocument {
		if inCode[limit] == nil {
			t.Errorf("docs/security/throttling.md has %s, and no limit is that", limit)
		}
	}
	c := app.DefaultConfig().Auth.Throttle
	for key, most := range map[string]int{"account_address": c.AccountAddress, "account": c.Account, "address": c.Address} {
		if !regexp.MustCompile(fmt.Sprintf("(?m)^\\|.*\\| %d \\|.*\\| `auth\\.throttle\\.%s` \\|$", most, key)).MatchString(text) && !strings.Contains(text, "| "+strconv.Itoa(most)+" | 1 h | `auth.throttle."+key+"` |") {
			t.Errorf("docs/security/throttling.md does not say that auth.throttle.%s is %d", key, most)
		}
	}
}

// The times in the document are the defaults (ASVS 7.1.1).
func TestTheTimesOfSessionsAreThoseOfTheDocument(t *testing.T) {
	c := app.DefaultConfig().Auth
	for key, is := range map[string]time.Duration{"session.ttl": c.Session.TTL, "session.idle": c.Session.Idle, "token.ttl": c.Token.TTL} {
		row := regexp.MustCompile("(?m)^\\| [^|]+ \\| (\\d+) (days|hours) \\| `auth\\." + regexp.QuoteMeta(key) + "` \\| ([^|]{20,}) \\|$").FindStringSubmatch(document(t, "security/sessions.md"))
		if row == nil {
			t.Errorf("docs/security/sessions.md has no row that says how long auth.%s is, and why", key)
			continue
		}
		n, _ := strconv.Atoi(row[1])
		if said := time.Duration(n) * map[string]time.Duration{"days": 24 * time.Hour, "hours": time.Hour}[row[2]]; said != is {
			t.Errorf("docs/security/sessions.md: auth.%s is %v, want %v", key, said, is)
		}
	}
}

func TestTheDocumentationListsEveryKey(t *testing.T) {
	text := document(t, "security/keys.md")
	purposes := 0
	for _, file := range []string{"../modules/kernel/keyring/keyring.go", "audit/audit.go"} {
		code, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range regexp.MustCompile(`Purpose\s+= "(latchkey [^"]+)"`).FindAllStringSubmatch(string(code), -1) {
			purposes++
			if !strings.Contains(text, "`"+p[1]+"`") {
				t.Errorf("docs/security/keys.md does not have %s", p[1])
			}
		}
	}
	if purposes < 10 {
		t.Errorf("%d purposes are found", purposes)
	}
}

// Every switch that matters to security is among those of a hardened deployment.
func TestTheDocumentationOfProductionListsEverySwitch(t *testing.T) {
	text := document(t, "production.md")
	listed := 0
	for _, key := range app.KnownKeys() {
		key = strings.Replace(key, "link.actors.*", "link.actors.user", 1)
		security := slices.ContainsFunc([]string{"env", "secrets", "accept_lost_keys", "http.public_url", "http.trusted_proxies", "http.cors_origins", "http.callback_urls", "http.require_flow_cookie", "admin.reset_token_in_response",
			"link.unlinked_ttl", "audit.retention", "events.retention", "webhooks.private_addresses", "link.actors.user.policy", "link.actors.user.require_verified_email", "link.actors.user.create_users_by"}, func(k string) bool { return k == key })
		for _, section := range []string{"auth.password.", "auth.token.", "auth.session.", "auth.throttle.", "auth.enumeration_safe", "invite.max_"} {
			security = security || strings.HasPrefix(key, section)
		}
		if !security {
			continue
		}
		listed++
		if !strings.Contains(text, "`"+key+"`") {
			t.Errorf("docs/production.md does not have %s", key)
		}
	}
	if listed < 25 {
		t.Errorf("%d switches are looked for: the list of keys has changed", listed)
	}
}

// There is nobody, and nothing by which anybody could sign in, before somebody is let in (ASVS 6.3.2).
func TestANewDatabaseHasNobody(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		for table, rows := range databasetest.Dump(t, at.Open(t, app.Migrations()...)) {
			if len(rows) > 0 {
				t.Errorf("%s has %v", table, rows)
			}
		}
		env := environment(t.TempDir(), at)
		if at.Dialect == database.SQLite {
			env = append(env, "LATCHKEY_DATABASE_URL="+at.URL)
		}
		r := start(t, env)
		if err := r.up(t.Context()); err != nil {
			t.Fatal(err)
		}
		dump := databasetest.Dump(t, at.Open(t))
		for _, table := range []string{"user", "auth_identity", "provider_identity", "auth_session", "link"} {
			if rows, there := dump["latchkey_"+table]; !there || len(rows) > 0 {
				t.Errorf("of a server that has just started, %s has %v", table, rows)
			}
		}
	})
}

// Nothing is kept, asked for or shown that would remind somebody of a password, or stand in for it (ASVS 6.4.2).
func TestNothingHintsAtAPassword(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, app.Migrations()...)
		for _, column := range columnsOf(t, db) {
			if reminds.MatchString(column.ColumnName) {
				t.Errorf("%s has the column %s", column.TableName, column.ColumnName)
			}
		}
	})
	pages, err := filepath.Glob("console/pages/*.html")
	if err != nil || len(pages) == 0 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	for _, page := range pages {
		data, err := os.ReadFile(page)
		if err != nil {
			t.Fatal(err)
		}
		for _, field := range regexp.MustCompile(`name="([^"]+)"`).FindAllStringSubmatch(string(data), -1) {
			if reminds.MatchString(field[1]) {
				t.Errorf("%s asks for %s", page, field[1])
			}
		}
	}
	for _, key := range app.KnownKeys() {
		if reminds.MatchString(key) {
			t.Errorf("there is a setting %s", key)
		}
	}
}

var reminds = regexp.MustCompile(`(?i)hint|question|answer|remind|mother|maiden|birth`)
