package app_test

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// The README is a test. Whoever adds a block to it has it tried without a change here:
//
//	sh    is run by one bash for each database, from the first block to the last, in a copy of the project. A command
//	      that fails is a fault of the README. A block that ends in `go run ./cmd/server` starts the server in a second
//	      terminal, after a Ctrl-C there if one runs.
//	text  is what the block before it printed. If that printed nothing, or for a second text, it is what the server
//	      printed, or else logged, in its terminal meanwhile. Ids and times differ, and … stands for anything: in a word for the rest of
//	      it, by itself for a stretch of the line, alone on a line for whole lines. All else must be there to the letter.
//	      A word with … may be used by later commands, as people copy it.
//	go    is part of an example that the README names, or is compiled and run (readme_go_test.go).
//
// On PostgreSQL, the block of the README that says how to use it stands in for the first one that starts the server.

// block is a fenced block of the README.
type block struct {
	lang string
	line int // of its first line, in the file
	code string
	says []*block // the texts that follow a sh block
}

func (b *block) String() string { return fmt.Sprintf("README.md:%d", b.line) }

var (
	serverStart = regexp.MustCompile(`^((\w+=\S+ )*go run \./cmd/server( --config \S+)?)$`)
	postgresURL = regexp.MustCompile(`postgres://[^\s'"]+`)
)

// lastLine cuts off the last line of a block.
func (b *block) lastLine() (before, last string) {
	at := strings.LastIndexByte(b.code, '\n') + 1
	return b.code[:at], b.code[at:]
}

// starts reports whether the block leaves a server running.
func (b *block) starts() bool {
	_, last := b.lastLine()
	return serverStart.MatchString(last)
}

// isTest reports whether the block is how to run the tests, which must not run themselves.
func (b *block) isTest() bool {
	return strings.HasPrefix(b.code, "go test ") || testsModules.MatchString(b.code)
}

// testsModules is how the tests of the other modules are run.
var testsModules = regexp.MustCompile(`^for module in ([^;]+); do go test -C \$module \./\.\.\.; done$`)

// readREADME returns its blocks, texts beneath the sh block they follow.
func readREADME(t *testing.T) (blocks []*block) {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	var open *block
	for i, line := range strings.Split(string(text), "\n") {
		lang, fence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case !fence && open != nil:
			open.code += line + "\n"
		case fence && open == nil:
			open = &block{lang: lang, line: i + 2}
		case fence:
			open.code = strings.TrimSuffix(open.code, "\n")
			switch last := len(blocks) - 1; {
			case open.lang == "text" && last >= 0 && blocks[last].lang == "sh":
				blocks[last].says = append(blocks[last].says, open)
			case open.lang == "sh" || open.lang == "go":
				blocks = append(blocks, open)
			default:
				t.Errorf("%v: nothing tries a block of %q here: teach app/readme_test.go, or make it sh, the text that a sh block prints, or go", open, open.lang)
			}
			open = nil
		}
	}
	if open != nil {
		t.Fatalf("%v: the block does not end", open)
	}
	return blocks
}

func TestTheCommandsInTheREADMEDoWhatItSays(t *testing.T) {
	need(t, "bash", "curl", "openssl", "sed")
	var commands []*block
	first, onPostgres := -1, -1 // those that start the server, and start it on PostgreSQL
	for _, b := range readREADME(t) {
		switch {
		case b.lang != "sh" || b.isTest():
			continue
		case strings.Contains(b.code, "go test"):
			t.Fatalf("%v: a block that runs the tests must do that alone", b)
		case onPostgres < 0 && b.starts() && postgresURL.MatchString(b.code):
			onPostgres = len(commands)
		case first < 0 && b.starts():
			first = len(commands)
		}
		commands = append(commands, b)
	}
	if first < 0 || onPostgres < 0 {
		t.Fatal("the README does not say how to start the server, on SQLite and on PostgreSQL")
	}
	dir := clone(t)
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		plan := slices.Clone(commands)
		ours := []string{}
		if at.Dialect == "postgres" {
			plan[first] = commands[onPostgres]
			url := postgresURL.FindString(commands[onPostgres].code)
			ours = append(ours, url, at.URL, app.DSN(url).String(), app.DSN(at.URL).String())
		}
		plan = slices.Delete(plan, onPostgres, onPostgres+1)

		data := filepath.Join(dir, "data")
		defer os.RemoveAll(data)
		follow(t, newTerminal(t, dir), plan, ours)
		if _, err := os.Stat(data); (err == nil) != (at.Dialect == "sqlite") {
			t.Errorf("data: %v, but only SQLite is to be kept there", err)
		}
	})
}

// follow runs the blocks one after the other, with the texts in ours replaced, of which each second stands for the one
// before it.
func follow(t *testing.T, term *terminal, plan []*block, ours []string) {
	shown := make(recalled)
	for _, b := range plan {
		adapt := strings.NewReplacer(append(ours, "127.0.0.1:9000", term.address())...).Replace
		code, err := shown.recall(b.code)
		if err != nil {
			t.Fatalf("%v: %v", b, err)
		}
		term.mark()
		var printed string
		if b.starts() {
			printed = term.serve(b.String(), adapt(code))
			adapt = strings.NewReplacer(append(ours, "127.0.0.1:9000", term.address())...).Replace
		} else {
			printed = term.run(b.String(), adapt(code))
		}
		for i, says := range b.says {
			want := adapt(says.code)
			if i == 0 && (strings.TrimSpace(printed) != "" || b.starts()) {
				if err := shown.compare(want, printed); err != nil {
					t.Errorf("%v does not print what %v says: %v", b, says, err)
				}
				continue
			}
			for start := time.Now(); ; time.Sleep(50 * time.Millisecond) {
				printed, logged := term.served()
				err := shown.compare(want, printed)
				if err == nil || shown.compare(want, logged) == nil {
					break
				}
				if time.Since(start) > 10*time.Second {
					t.Errorf("after %v the server does not print what %v says: %v", b, says, err)
					break
				}
			}
		}
	}
}

// recalled knows what the README's own ids and elided words stand for in this run.
type recalled map[string]string

// varies is what differs from run to run: ids, times, what is left out; and the width of columns.
var varies = regexp.MustCompile(`\b(?:[a-z]+_)?[0-9A-HJKMNP-TV-Z]{26}\b` +
	`|\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z` +
	`|(?:^| +)…(?: +|$)` +
	`|[\w.-]*…` +
	`|  +`)

// pattern makes an expression of what the README shows, and the list of what its groups stand for.
func pattern(want string) (expression *regexp.Regexp, stand []string) {
	var e strings.Builder
	e.WriteString(`\A`)
	lines := strings.Split(strings.TrimRight(want, "\n"), "\n")
	for i, line := range lines {
		if strings.TrimSpace(line) == "…" {
			e.WriteString(`(?:.*\n)*?`)
			continue
		}
		at := 0
		for _, found := range varies.FindAllStringIndex(line, -1) {
			e.WriteString(regexp.QuoteMeta(line[at:found[0]]))
			at = found[1]
			switch v := line[found[0]:found[1]]; {
			case strings.Trim(v, " ") == "…":
				e.WriteString(`.*`)
			case strings.Trim(v, " ") == "":
				e.WriteString(`  +`)
			case strings.HasSuffix(v, "…"):
				e.WriteString(`(` + regexp.QuoteMeta(strings.TrimSuffix(v, "…")) + `[^\s"'&]+)`)
				stand = append(stand, v)
			case strings.HasSuffix(v, "Z") && strings.Contains(v, ":"):
				e.WriteString(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z`)
			default: // an id: its prefix stays
				e.WriteString(`(` + v[:len(v)-26] + `[0-9A-HJKMNP-TV-Z]{26})`)
				stand = append(stand, v)
			}
		}
		e.WriteString(regexp.QuoteMeta(line[at:]))
		if i < len(lines)-1 || line != "" {
			e.WriteString(`\n`)
		}
	}
	e.WriteString(`\z`)
	return regexp.MustCompile(e.String()), stand
}

// compare says how what was printed differs from what the README shows. What the README calls by one id must be one id
// here, and another id another.
func (m recalled) compare(want, printed string) error {
	printed = strings.TrimRight(printed, "\n") + "\n"
	expression, stand := pattern(want)
	values := expression.FindStringSubmatch(printed)
	if values == nil {
		return fmt.Errorf("it printed\n%s\ninstead of\n%s", printed, want)
	}
	for i, name := range stand {
		value := values[i+1]
		if strings.HasSuffix(name, "…") {
			m[name] = value // the newest is the one that people copy
			continue
		}
		for other, was := range m {
			if !strings.HasSuffix(other, "…") && (other == name) != (was == value) {
				return fmt.Errorf("%s is %s, but %s is %s:\n%s", name, value, other, was, printed)
			}
		}
		m[name] = value
	}
	return nil
}

// recall puts in what was shown for words that are cut short in a command.
func (m recalled) recall(code string) (_ string, err error) {
	whole := regexp.MustCompile(`[\w.-]*…`).ReplaceAllStringFunc(code, func(word string) string {
		if m[word] == "" {
			err = fmt.Errorf("%s was not shown before: nobody can run this", word)
		}
		return m[word]
	})
	return whole, err
}

func TestWhatTheREADMEShowsIsComparedToTheLetter(t *testing.T) {
	const a, b = "user_01M80GQMRP25KNK9YFXP5KEDHM", "user_01M80HBZ3G2YF3T2N0QK2V7D6C"
	for _, c := range []struct {
		want, printed string
		same          bool
	}{
		{`{"a":1}`, `{"a":1}`, true},
		{`{"a":1}`, `{"a":1 }`, false},
		{`{"a":1}`, `x{"a":1}`, false},
		{`{"a":1}`, "{\"a\":1}\nmore", false},
		{"one\ntwo", "one", false},
		{"one\n…\nfour", "one\ntwo\nthree\nfour", true},
		{"one\n…\nfour", "one\nfour", true},
		{"one\n…\nfour", "one\nfourteen", false},
		{`{"a":1, … }`, `{"a":1,"b":[{}],"c":2}`, true},
		{`{"a":1, … }`, `{"a":2,"b":[{}],"c":2}`, false},
		{`{"token":"eyJ…"}`, `{"token":"eyJhb.Gci_-1"}`, true},
		{`{"token":"eyJ…"}`, `{"token":"eyJhb","b":1}`, false},
		{`{"token":"eyJ…"}`, `{"token":"xyJhb"}`, false},
		{`at 2026-11-22T02:18:01.846Z`, `at 2027-01-02T03:04:05.678Z`, true},
		{`at 2026-11-22T02:18:01.846Z`, `at 2027-01-02T03:04:05Z`, false},
		{`a    b`, `a  b`, true},
		{`a    b`, `a b`, false},
		{a + " " + a, b + " " + b, true},
		{a + " " + a, a + " " + b, false},
		{a + " " + b, a + " " + a, false},
		{a, "invite" + strings.TrimPrefix(a, "user"), false},
		{a, "user_1", false},
	} {
		if err := make(recalled).compare(c.want, c.printed); (err == nil) != c.same {
			t.Errorf("%q against %q: %v, want them to be the same: %t", c.printed, c.want, err, c.same)
		}
	}
	m := make(recalled)
	if err := m.compare("token eyJ…", "token eyJabc"); err != nil {
		t.Fatal(err)
	}
	if code, err := m.recall("post ?token=eyJ… {}"); code != "post ?token=eyJabc {}" || err != nil {
		t.Errorf("recalled %q, %v", code, err)
	}
	if _, err := m.recall("post ?token=abc…"); err == nil {
		t.Error("a word that nobody has seen was recalled")
	}
}

func TestTheREADMEsTestCommandIsWhatCIRuns(t *testing.T) {
	ci, err := os.ReadFile("../.ci/run")
	if err != nil {
		t.Fatal(err)
	}
	own := regexp.MustCompile(`(?m)^modules=\(([^)]*)\)$`).FindSubmatch(ci)
	if own == nil {
		t.Fatal(".ci/run has no list of modules")
	}
	for _, loop := range []string{`for module in . "${modules[@]}"; do`, `for module in "${modules[@]}"; do`, `go test -C "$module" -race`} {
		if !strings.Contains(string(ci), loop) {
			t.Errorf(".ci/run does not say %s", loop)
		}
	}
	var tested []string
	for _, b := range readREADME(t) {
		if b.lang != "sh" || !b.isTest() {
			continue
		}
		if of := testsModules.FindStringSubmatch(b.code); of != nil {
			tested = append(tested, strings.Fields(of[1])...)
			if of[1] != string(own[1]) {
				t.Errorf("%v: these are the modules %s, and those of .ci/run are %s", b, of[1], own[1])
			}
			continue
		}
		tested = append(tested, ".")
		same := regexp.MustCompile(`\bgo test (-\S+ )*` + regexp.QuoteMeta(strings.TrimPrefix(b.code, "go test ")) + `([ ;]|$)`)
		if !same.Match(ci) {
			t.Errorf("%v: .ci/run does not run %q with more flags", b, b.code)
		}
	}
	for _, module := range modules(t) {
		if !slices.Contains(tested, module) {
			t.Errorf("the README does not say how to run the tests of the module %s: add it to the list there, and to that of .ci/run", module)
		}
	}
}

// modules are those of the repository, each as its directory; . is the project itself.
func modules(t *testing.T) (dirs []string) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch name := entry.Name(); {
		case err != nil:
			return err
		case entry.IsDir() && path != ".." && (strings.HasPrefix(name, ".") || name == "data" || name == "node_modules"):
			return fs.SkipDir
		case name == "go.mod":
			dir, _ := filepath.Rel("..", filepath.Dir(path))
			dirs = append(dirs, filepath.ToSlash(dir))
		}
		return nil
	})
	if err != nil || len(dirs) == 0 {
		t.Fatal(dirs, err)
	}
	return dirs
}

// clone copies the project, as a newcomer has it, to a directory that is removed at the end.
func clone(t *testing.T) string {
	t.Helper()
	// The go command compiles anew for every new directory, and keeps what it has made for days: so the same few serve again.
	var dir string
	err := os.ErrExist
	for n := 0; err != nil && n < 10; n++ {
		dir = filepath.Join(os.TempDir(), fmt.Sprintf("latchkey-readme-%d-%d", os.Getuid(), n))
		err = os.Mkdir(dir, 0o700)
	}
	if err != nil {
		dir = t.TempDir()
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	err = filepath.WalkDir("..", func(path string, entry fs.DirEntry, err error) error {
		switch name := entry.Name(); {
		case err != nil:
			return err
		case entry.IsDir() && path != ".." && (strings.HasPrefix(name, ".") || name == "data" || name == "node_modules"):
			return fs.SkipDir
		case entry.IsDir():
			return os.MkdirAll(filepath.Join(dir, strings.TrimPrefix(path, "..")), 0o700)
		case !entry.Type().IsRegular():
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, strings.TrimPrefix(path, "..")), data, 0o600)
	})
	if err != nil {
		t.Fatal(err)
	}
	return dir
}
