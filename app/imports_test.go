package app_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/latchkey-go/latchkey/"

// layers is the architecture: who may import whom, among ourselves. The first row
// that matches a package counts; a package without a row may not be. A name stands
// for the package and all below it; with = at the end for that package alone, with
// /* for those below it.
//
// Tests are free: the files, not the packages whose name ends in test.
var layers = []struct {
	pkg       string
	mayImport []string
	remedy    string
}{
	{"cmd/server", []string{"app="},
		"main only parses the command and calls app, so that an embedder can copy it: move the work to app"},
	{"examples/*", []string{"app=", "app/*", "link", "modules"},
		"an example shows what an application can do, with what every application has"},
	{"app/audit", []string{"link", "modules/user", "modules/auth=", "modules/kernel"},
		"the front ends feed it and show it, and they are for embedders: it must not carry more than they do"},
	{"app/httpapi", []string{"app/audit", "app/outbox", "app/web", "app/webhook", "link", "modules/user", "modules/auth=", "modules/kernel"},
		"it is one fx option for embedders: take what is needed as an argument, which app fills from configuration"},
	{"app/console", []string{"app/audit", "app/httpapi", "app/web", "link", "modules/user", "modules/auth=", "modules/kernel"},
		"it is one fx option for embedders: take what is needed as an argument, which app fills from configuration"},
	{"app=", []string{"app/*", "link", "modules"},
		"app puts the parts together and only cmd imports it: the part belongs in a package below"},
	{"app/*", []string{"app/*", "link", "modules/user", "modules/auth=", "modules/kernel"},
		"a part does not know the whole: take what is needed as an argument, which app fills"},
	{"link", []string{"link", "modules/user", "modules/auth=", "modules/kernel"},
		"link knows the two modules and no provider: what is special to a provider belongs in the provider"},
	{"modules/user", []string{"modules/user", "modules/kernel"},
		"user works without auth: what needs both modules belongs in link"},
	{"modules/auth=", []string{"modules/kernel"},
		"auth works without user, and knows no provider: what needs both modules belongs in link, what is special to a provider in the provider"},
	{"modules/auth/authtest", []string{"link=", "modules/user=", "modules/auth=", "modules/kernel"},
		"the conformance kit serves provider authors: it knows no provider, and of the rest what turns a first sign-in into a user"},
	{"modules/auth/google", []string{"modules/auth=", "modules/auth/oidc", "modules/kernel/outward"},
		"it is OpenID Connect, with what the vendor does otherwise: what is not the vendor's belongs in oidc"},
	{"modules/auth/microsoft", []string{"modules/auth=", "modules/auth/oidc", "modules/kernel/outward"},
		"it is OpenID Connect, with what the vendor does otherwise: what is not the vendor's belongs in oidc"},
	{"modules/auth/*", []string{"modules/auth=", "modules/auth/oauth=", "modules/kernel/fault", "modules/kernel/outward"},
		"a provider lives on what any third party's provider has: take the rest from auth.Attempt, or make it part of modules/auth"},
	{"modules/kernel", []string{"modules/kernel"},
		"the kernel is what both modules share: what knows one of them belongs there"},
}

// confined are imports that only some may have, because everybody else would carry
// their weight or lose what the rule protects.
var confined = []struct {
	imports []string // packages, with all below them
	only    func(pkg, file string) bool
	reason  string
	remedy  string
}{
	{
		imports: []string{"modernc.org", "github.com/glebarez", "github.com/mattn/go-sqlite3", "github.com/uptrace/bun/driver/sqliteshim"},
		only:    under("modules/kernel/database/sqlite"),
		reason:  "an application on PostgreSQL must not link SQLite",
		remedy:  "go through *database.DB; what depends on the driver belongs in modules/kernel/database/sqlite",
	},
	{
		imports: []string{"github.com/jackc/pgx", "github.com/lib/pq", "github.com/uptrace/bun/driver/pgdriver"},
		only:    under("modules/kernel/database/postgres"),
		reason:  "an application on SQLite must not link PostgreSQL's driver",
		remedy:  "go through *database.DB; what depends on the driver belongs in modules/kernel/database/postgres",
	},
	{
		imports: []string{module + "modules/kernel/database/sqlite", module + "modules/kernel/database/postgres"},
		only: func(pkg, _ string) bool {
			return pkg == "app" || within(pkg, "modules/kernel/database/sqlite") || within(pkg, "modules/kernel/database/postgres")
		},
		reason: "whoever imports a driver package makes its users link the driver",
		remedy: "take a *database.DB as an argument; app opens it",
	},
	{
		imports: []string{"go.uber.org/fx", "go.uber.org/dig"},
		only: func(pkg, file string) bool {
			return file == "fx.go" || pkg == "app" || within(pkg, "cmd") || within(pkg, "examples")
		},
		reason: "every module must be usable without fx, and read without knowing it",
		remedy: "write a plain constructor New(Params) and wire it in the package's fx.go",
	},
	{
		imports: []string{"go.yaml.in/yaml", "gopkg.in/yaml.v2", "gopkg.in/yaml.v3", "github.com/knadh/koanf"},
		only:    func(pkg, _ string) bool { return pkg == "app" },
		reason:  "configuration is read in app and nowhere else",
		remedy:  "take the value as an argument of New",
	},
	{
		imports: []string{"math/rand"}, // with math/rand/v2
		only:    under("modules/kernel/database"),
		reason:  "what looks harmless today is a token tomorrow; only the jitter between retries may be guessed",
		remedy:  "use crypto/rand (rand.Text for tokens)",
	},
	{
		imports: []string{"github.com/chromedp"},
		only:    func(string, string) bool { return false },
		reason:  "only tests drive a browser",
		remedy:  "use app/browsertest in a _test.go file",
	},
	{
		imports: []string{"testing"}, // with testing/…
		only:    func(string, string) bool { return false },
		reason:  "it puts the flags and the weight of tests into programs",
		remedy:  "move it to a _test.go file, or to a package whose name ends in test",
	},
}

// forbidden are calls and conversions that open a hole wherever they stand.
var forbidden = []struct {
	imported  string
	selectors []string // of the package itself and, if methods is set, of anything in a file that imports it
	methods   bool
	but       string // the one file that may
	reason    string
	remedy    string
}{
	{
		imported: "github.com/golang-jwt/jwt", selectors: []string{"ParseUnverified"}, methods: true,
		reason: "a token that nobody has verified says nothing",
		remedy: "verify it first, with the key of its purpose",
	},
	{
		imported: "html/template", selectors: []string{"HTML", "HTMLAttr", "CSS", "JS", "JSStr", "Srcset", "URL"}, but: "app/console/text.go", // which runs templates, and no more
		reason: "it switches escaping off for what may come from a caller",
		remedy: "put the markup into the template and the text into its data",
	},
}

// exist are the packages that the rules above name inside Go code; with the table's
// own they must be there, because a rule for nothing forbids nothing.
var exist = []string{
	"app=", "cmd/server=", "app/httpapi=", "app/console=", "link=", "modules/user=", "modules/auth=", "modules/auth/authtest=", "modules/auth/emailpass=", "modules/auth/oidc=",
	"modules/kernel/database=", "modules/kernel/database/sqlite=", "modules/kernel/database/postgres=", "modules/kernel/fault=",
}

// goPackage is what `go list` says of a package.
type goPackage struct {
	ImportPath string
	Dir        string
	GoFiles    []string
	// IgnoredGoFiles are those for other systems; rules hold there, too.
	IgnoredGoFiles []string
}

func (p goPackage) name() string { return strings.TrimPrefix(p.ImportPath, module) }

// isTest reports whether a package serves tests only, as authtest does.
func isTest(importPath string) bool { return strings.HasSuffix(path.Base(importPath), "test") }

func TestImportsFollowTheArchitecture(t *testing.T) {
	eachFile(t, listPackages(t), func(p goPackage, file string, syntax *ast.File) {
		for _, spec := range syntax.Imports {
			imported, _ := strconv.Unquote(spec.Path.Value)
			if why := mayNotImport(p.name(), file, imported); why != "" {
				t.Errorf("%s/%s imports %s: %s", p.name(), file, strings.TrimPrefix(imported, module), why)
			}
		}
	})
}

func TestRulesAreAboutPackagesThatExist(t *testing.T) {
	packages := listPackages(t)
	patterns := slices.Clone(exist)
	for _, l := range layers {
		patterns = append(append(patterns, l.pkg), l.mayImport...)
	}
	missing := make(map[string]bool) // so that each is told once
	for _, pattern := range patterns {
		if !slices.ContainsFunc(packages, func(p goPackage) bool { return matches(pattern, p.name()) }) {
			missing[strings.TrimSuffix(pattern, "=")] = true
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(missing)) {
		t.Errorf("app/imports_test.go has rules for %s, but no such package exists: if it has moved, move its rules; if it is gone, remove them", pkg)
	}
}

// mayNotImport says why a file of ours may not import a package and what to do
// instead, or "".
func mayNotImport(pkg, file, imported string) string {
	if isTest(imported) && !isTest(pkg) {
		return "code that is not a test would carry what is for tests; move the part that is not for tests to a package of its own"
	}
	for _, c := range confined {
		isOne := func(root string) bool { return within(imported, root) }
		if slices.ContainsFunc(c.imports, isOne) && !c.only(pkg, file) && !isTest(pkg) {
			return c.reason + "; " + c.remedy
		}
	}
	target, ours := strings.CutPrefix(imported, module)
	if !ours {
		return ""
	}
	for _, l := range layers {
		if !matches(l.pkg, pkg) {
			continue
		}
		if slices.ContainsFunc(l.mayImport, func(pattern string) bool { return matches(pattern, target) }) {
			return ""
		}
		return fmt.Sprintf("%s may import only %s; %s", pkg, strings.ReplaceAll(strings.Join(l.mayImport, ", "), "=", ""), l.remedy)
	}
	return "the package has no row in the table of app/imports_test.go; give it one, or move it to where one matches"
}

func TestForbiddenCallsAreNotMade(t *testing.T) {
	eachFile(t, listPackages(t), func(p goPackage, file string, syntax *ast.File) {
		for _, call := range forbiddenIn(p.name()+"/"+file, syntax) {
			t.Errorf("%s/%s uses %s", p.name(), file, call)
		}
	})
}

// forbiddenIn says of each forbidden use what it is, why, and what to do instead.
func forbiddenIn(file string, syntax *ast.File) []string {
	var found []string
	for _, f := range forbidden {
		if file == f.but {
			continue
		}
		local := localNames(syntax, f.imported)
		ast.Inspect(syntax, func(n ast.Node) bool {
			s, ok := n.(*ast.SelectorExpr)
			if !ok || len(local) == 0 || !slices.Contains(f.selectors, s.Sel.Name) {
				return true
			}
			if id, ok := s.X.(*ast.Ident); f.methods || ok && slices.Contains(local, id.Name) {
				found = append(found, fmt.Sprintf("%s of %s: %s; %s", s.Sel.Name, f.imported, f.reason, f.remedy))
			}
			return true
		})
	}
	return found
}

func TestForbiddenCallsAreFound(t *testing.T) {
	for source, want := range map[string]int{
		`import "github.com/golang-jwt/jwt/v5"; var _, _, _ = jwt.NewParser().ParseUnverified("", nil)`:              1,
		`import j "github.com/golang-jwt/jwt/v5"; func f(p *j.Parser) { p.ParseUnverified("", nil) }`:                1,
		`import "example.com/other"; var _ = other.ParseUnverified("")`:                                              0,
		`import "html/template"; var _ = template.HTML("<b>")`:                                                       1,
		`import t "html/template"; var _ t.JS`:                                                                       1,
		`import "html/template"; var _ = template.New("")`:                                                           0,
		`import "net/url"; var _ url.URL`:                                                                            0,
		`import ("html/template"; "net/http"); func f(r *http.Request) *template.Template { _ = r.URL; return nil }`: 0,
	} {
		syntax, err := parser.ParseFile(token.NewFileSet(), "x.go", "package x; "+source, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got := forbiddenIn("some/file.go", syntax); len(got) != want {
			t.Errorf("%s: %q, want %d", source, got, want)
		}
	}
}

// TestPinsHold checks versions that `go get -u` would break without a word.
func TestPinsHold(t *testing.T) {
	ours := requirements(t, filepath.Join("..", "go.mod"))

	// modernc.org/sqlite is made for exactly the libc in its go.mod; its manual says so.
	out, err := exec.Command("go", "list", "-m", "-f", "{{.GoMod}}", "modernc.org/sqlite").Output()
	if err != nil {
		t.Fatalf("find modernc.org/sqlite: %v", explain(err))
	}
	theirs := requirements(t, strings.TrimSpace(string(out)))
	if got, want := ours["modernc.org/libc"], theirs["modernc.org/libc"]; got != want || want == "" {
		t.Errorf("go.mod has modernc.org/libc %q, but modernc.org/sqlite %s is made for %q: run go get modernc.org/libc@%s",
			got, ours["modernc.org/sqlite"], want, want)
	}

	// bun before 1.3.0 builds queries that a negative number turns into a comment
	// (as in CVE-2024-44906), and drops NUL from strings after we have checked them.
	for _, name := range []string{"github.com/uptrace/bun", "github.com/uptrace/bun/dialect/pgdialect", "github.com/uptrace/bun/dialect/sqlitedialect"} {
		var major, minor int
		if _, err := fmt.Sscanf(ours[name], "v%d.%d.", &major, &minor); err != nil || major != 1 || minor < 3 {
			t.Errorf("go.mod has %s %q, want v1.3.0 or newer: run go get %s@v1.3.0", name, ours[name], name)
		}
	}
}

// The rules themselves, on imports that do and do not exist.
func TestRulesSayWhatTheyMean(t *testing.T) {
	for _, c := range []struct {
		pkg, file, imported string
		allowed             bool
	}{
		{"cmd/server", "main.go", module + "app", true},
		{"cmd/server", "main.go", module + "link", false},
		{"cmd/server", "main.go", module + "app/httpapi", false},
		{"app", "app.go", module + "app/httpapi", true},
		{"app", "app.go", module + "modules/auth/emailpass", true},
		{"app", "app.go", module + "cmd/server", false},
		{"app", "app_test_helper.go", module + "modules/kernel/database/databasetest", false},
		{"app/audit", "audit.go", module + "modules/auth/emailpass", false},
		{"app/audit", "audit.go", module + "modules/user", true},
		{"app/audit", "audit.go", module + "app/web", false},
		{"app/purge", "purge.go", module + "app", false},
		{"app", "app.go", "go.uber.org/fx", true},
		{"app", "storage.go", module + "modules/kernel/database/sqlite", true},
		{"app", "storage.go", "github.com/jackc/pgx/v5", false},
		{"app/outbox", "outbox.go", module + "app/audit", true},
		{"app/outbox", "outbox.go", module + "app", false},
		{"app/httpapi", "fx.go", "go.uber.org/fx", true},
		{"app/httpapi", "routes.go", "go.uber.org/fx", false},
		{"app/httpapi", "routes.go", module + "modules/auth", true},
		{"app/httpapi", "routes.go", module + "link", true},
		{"app/httpapi", "routes.go", module + "app/audit", true},
		{"app/httpapi", "routes.go", module + "app", false},
		{"app/httpapi", "routes.go", module + "app/outbox", true},
		{"app/httpapi", "routes.go", module + "app/webhook", true},
		{"app/console", "pages.go", module + "app/webhook", false},
		{"app/webhook", "send.go", module + "modules/kernel/outward", true},
		{"app/webhook", "send.go", module + "app", false},
		{"app/httpapi", "routes.go", module + "modules/kernel/database/postgres", false},
		{"app/httpapi", "routes.go", "go.yaml.in/yaml/v3", false},
		{"app/console", "pages.go", module + "app", false},
		{"link", "link.go", module + "modules/user", true},
		{"link", "link.go", module + "modules/auth", true},
		{"link", "link.go", module + "modules/kernel/database", true},
		{"link", "link.go", module + "modules/auth/emailpass", false},
		{"link", "link.go", module + "app", false},
		{"modules/user", "user.go", module + "modules/auth", false},
		{"modules/user", "user.go", module + "link", false},
		{"modules/user", "user.go", module + "modules/kernel/id", true},
		{"modules/user", "user.go", module + "modules/user/migrations", true},
		{"modules/user", "user.go", module + "modules/user/usertest", false},
		{"modules/auth", "auth.go", module + "modules/user", false},
		{"modules/auth", "auth.go", module + "modules/auth/emailpass", false},
		{"modules/auth", "auth.go", module + "modules/auth/authtest", false},
		{"modules/auth", "auth.go", module + "modules/kernel/keyring", true},
		{"modules/auth", "auth.go", module + "modules/kernel/database/sqlite", false},
		{"modules/kernel/database/databasetest", "open.go", module + "modules/kernel/database/sqlite", true},
		{"modules/kernel/database/databasetest", "open.go", module + "modules/user", false},
		{"modules/user/usertest", "fake.go", module + "modules/user", true},
		{"modules/auth", "auth.go", "testing", false},
		{"modules/auth", "auth.go", "net/http/httptest", false},
		{"modules/auth/authtest", "authtest.go", "testing", true},
		{"modules/auth/authtest", "authtest.go", "net/http/httptest", true},
		{"modules/auth/authtest", "authtest.go", module + "modules/auth", true},
		{"modules/auth/authtest", "people.go", module + "modules/user", true},
		{"modules/auth/authtest", "people.go", module + "link", true},
		{"modules/auth/authtest", "people.go", module + "app/httpapi", false},
		{"modules/auth/authtest", "people.go", module + "modules/auth/emailpass", false},
		{"link", "link.go", module + "modules/auth/authtest", false},
		{"modules/auth/emailpass", "emailpass.go", module + "modules/auth", true},
		{"modules/auth/emailpass", "emailpass.go", module + "modules/kernel/fault", true},
		{"modules/auth/emailpass", "emailpass.go", module + "modules/kernel/email", false},
		{"modules/auth/oidc", "oidc.go", module + "modules/kernel/database", false},
		{"modules/auth/oidc", "oidc.go", module + "modules/auth/emailpass", false},
		{"modules/auth/oidc", "oidc.go", module + "modules/auth/google", false},
		{"modules/auth/google", "google.go", module + "modules/auth/oidc", true},
		{"modules/auth/github", "github.go", module + "modules/auth/oidc", false},
		{"modules/auth/oidc", "oidc.go", module + "modules/auth/oauth", true},
		{"modules/auth/oauth", "oauth.go", module + "modules/kernel/outward", true},
		{"modules/auth/oauth", "oauth.go", module + "link", false},
		{"modules/kernel/fault", "fault.go", module + "modules/user", false},
		{"modules/kernel/database", "retry.go", "math/rand/v2", true},
		{"modules/kernel/id", "id.go", "math/rand/v2", false},
		{"modules/kernel/id", "id.go", "math/rand", false},
		{"modules/kernel/id", "id.go", "crypto/rand", true},
		{"modules/kernel/database/sqlite", "sqlite.go", "modernc.org/sqlite", true},
		{"modules/kernel/database", "database.go", "modernc.org/sqlite", false},
		{"modules/kernel/database/postgres", "postgres.go", "github.com/jackc/pgx/v5/stdlib", true},
		{"modules/kernel/database/postgres", "postgres.go", "modernc.org/sqlite", false},
		{"modules/billing", "billing.go", module + "modules/user", false},
	} {
		if why := mayNotImport(c.pkg, c.file, c.imported); (why == "") != c.allowed {
			t.Errorf("%s/%s imports %s: %q, want allowed %v", c.pkg, c.file, c.imported, why, c.allowed)
		}
	}
}

func listPackages(t *testing.T) []goPackage {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Dir,GoFiles,IgnoredGoFiles", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", explain(err))
	}
	var packages []goPackage
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		var p goPackage
		switch err := dec.Decode(&p); {
		case errors.Is(err, io.EOF):
			return packages
		case err != nil:
			t.Fatalf("go list: %v", err)
		}
		packages = append(packages, p)
	}
}

// eachFile visits all files that are not tests, those for other systems included.
func eachFile(t *testing.T, packages []goPackage, visit func(p goPackage, file string, syntax *ast.File)) {
	t.Helper()
	files := token.NewFileSet()
	for _, p := range packages {
		for _, file := range slices.Concat(p.GoFiles, p.IgnoredGoFiles) {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			syntax, err := parser.ParseFile(files, filepath.Join(p.Dir, file), nil, parser.SkipObjectResolution)
			if err != nil {
				t.Errorf("%s/%s: %v", p.name(), file, err)
				continue
			}
			visit(p, file, syntax)
		}
	}
}

// requirements are the versions that a go.mod asks for.
func requirements(t *testing.T, file string) map[string]string {
	t.Helper()
	out, err := exec.Command("go", "mod", "edit", "-json", file).Output()
	if err != nil {
		t.Fatalf("read %s: %v", file, explain(err))
	}
	var mod struct {
		Require []struct{ Path, Version string }
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatalf("read %s: %v", file, err)
	}
	versions := make(map[string]string)
	for _, r := range mod.Require {
		versions[r.Path] = r.Version
	}
	return versions
}

// explain adds what a failed command wrote.
func explain(err error) error {
	if exit := new(exec.ExitError); errors.As(err, &exit) {
		return fmt.Errorf("%w: %s", err, exit.Stderr)
	}
	return err
}

// localNames are the names by which a file calls an imported package, whose path
// may end in a version.
func localNames(syntax *ast.File, imported string) []string {
	names := make(map[string]bool)
	for _, spec := range syntax.Imports {
		importPath, _ := strconv.Unquote(spec.Path.Value)
		switch {
		case !within(importPath, imported):
		case spec.Name != nil:
			names[spec.Name.Name] = true
		default:
			names[path.Base(imported)] = true
		}
	}
	return slices.Sorted(maps.Keys(names))
}

func matches(pattern, pkg string) bool {
	if exact, ok := strings.CutSuffix(pattern, "="); ok {
		return pkg == exact
	}
	if parent, ok := strings.CutSuffix(pattern, "/*"); ok {
		return pkg != parent && within(pkg, parent)
	}
	return within(pkg, pattern)
}

// within reports whether pkg is root or below it.
func within(pkg, root string) bool { return pkg == root || strings.HasPrefix(pkg, root+"/") }

func under(root string) func(pkg, file string) bool {
	return func(pkg, _ string) bool { return within(pkg, root) }
}
