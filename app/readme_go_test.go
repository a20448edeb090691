package app_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// A go block of the README is one of three things:
//
//	an excerpt     its lines stand, in that order, in one function of an example file that the README links to, which
//	               go test compiles and runs anyway
//	a declaration  it is compiled as it is, in a package of its own; if it is a main, it also makes a user by its command
//	statements     they are compiled and run with what goStatements declares, on a database of their own, and must
//	               meet no error; where several blocks follow one another, each starts anew

// goStatements is the program that runs the blocks of statements. Names that the README uses without saying where they
// come from are declared here.
const goStatements = `package main

import (
	%s
)

type world struct {
	ctx        context.Context
	users      *user.Service
	identities *auth.Service
	links      *link.Service
	in         auth.Input  // with which Ada has registered
	invite     user.Invite // an open one
	made       []user.User
}

func main() {
	cfg, err := app.LoadConfig(app.LoadArgs{Environ: os.Environ()})
	if err != nil {
		log.Fatal(err)
	}
	w := world{ctx: context.Background(), in: auth.Input(` + "`" + `{"email":"ada@example.com","password":"correct horse"}` + "`" + `)}
	program := fx.New(app.Module(cfg), fx.NopLogger, fx.Populate(&w.users, &w.identities, &w.links))
	if err := program.Err(); err != nil {
		log.Fatal(err)
	}
	if _, err := w.identities.Register(w.ctx, "emailpass", w.in); err != nil {
		log.Fatal(err)
	}
	invites, err := w.users.CreateInvites(w.ctx, user.InviteDraft{Email: "grace@example.com"})
	if err != nil {
		log.Fatal(err)
	}
	w.invite = invites[0]
	if err := blocks[os.Args[1]](w); err != nil {
		log.Fatal(err)
	}
}

var blocks = map[string]func(world) error{}
`

// goStatement is one block in that program, under its place in the README.
const goStatement = `
func init() {
	blocks[%q] = func(w world) error {
		ctx, users, identities, links, in, invite, made := w.ctx, w.users, w.identities, w.links, w.in, w.invite, w.made
		_, _, _, _, _, _, _ = ctx, users, identities, links, in, invite, made
		{
//line README.md:%d
%s
		}
		return nil
	}
}
`

// goImports are the packages that blocks may use without importing them.
var goImports = packagesByName("context", "errors", "fmt", "log", "net/http", "os", "strings", "time", "go.uber.org/fx", module+"app", module+"app/httpapi",
	module+"link", module+"modules/auth", module+"modules/auth/authtest", module+"modules/auth/emailpass", module+"modules/kernel/database",
	module+"modules/kernel/fault", module+"modules/kernel/keyring", module+"modules/user", module+tried+"/card")

// tried is the directory in the copy of the project where blocks become packages.
const tried = "tried"

// goCard is the provider that the README takes for one of the reader's own.
const goCard = `package card

import (
	"context"

	"github.com/latchkey-go/latchkey/modules/auth"
)

type Provider struct{}

func New() Provider { return Provider{} }

func (Provider) Name() string { return "card" }

func (Provider) Authenticate(context.Context, auth.Attempt) (auth.Assertion, error) {
	return auth.Assertion{}, auth.ErrInvalidCredentials
}
`

func packagesByName(paths ...string) map[string]string {
	byName := make(map[string]string)
	for _, p := range paths {
		byName[path.Base(p)] = p
	}
	return byName
}

func TestTheGoCodeInTheREADMERuns(t *testing.T) {
	dir := filepath.Join(clone(t), tried)
	examples := exampleFunctions(t)
	var statements strings.Builder
	var run, programs []string // of the blocks of statements the places, and of the mains the directories
	for _, b := range readREADME(t) {
		if b.lang != "go" || isExcerpt(b.code, examples) {
			continue
		}
		switch declarations, isMain := asDeclarations(b); {
		case declarations != "":
			name := fmt.Sprintf("line%d", b.line)
			writeGo(t, filepath.Join(dir, name, "readme.go"), declarations)
			if isMain {
				programs = append(programs, name)
			}
		default:
			body, err := asStatements(b)
			if err != nil {
				t.Fatalf("%v is no part of an example that the README links to, and neither declarations nor statements: %v", b, err)
			}
			fmt.Fprintf(&statements, goStatement, b.String(), b.line, body)
			run = append(run, b.String())
		}
	}
	if len(run) > 0 {
		program := statements.String()
		head := fmt.Sprintf(goStatements, "")
		program = fmt.Sprintf(goStatements, importsOf(t, head+program)) + program
		writeGo(t, filepath.Join(dir, "statements", "main.go"), program)
		programs = append(programs, "statements")
	}
	writeGo(t, filepath.Join(dir, "card", "card.go"), goCard)
	if len(run) == 0 || len(programs) < 2 {
		t.Errorf("the README has statements at %v and programs in %v: is that all?", run, programs)
	}

	bin := t.TempDir()
	build := exec.Command("go", "build", "-o", bin+string(filepath.Separator), "./...")
	build.Dir = dir
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("the README does not compile; what it takes for granted is in goStatements and goImports of this test: %v\n%s", err, out)
	}
	runOn := func(t *testing.T, fresh func(testing.TB) databasetest.Database) {
		execute := func(program string, args ...string) {
			at := fresh(t)
			cmd := exec.CommandContext(t.Context(), filepath.Join(bin, program), args...)
			cmd.Dir = t.TempDir()
			cmd.Env = environment(cmd.Dir, at, "LATCHKEY_DATABASE_URL="+at.URL)
			if program != "statements" {
				cmd.Env = append(cmd.Env, "LATCHKEY_LINK_ACTORS_USER_PROVIDERS=emailpass,card")
			}
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%s %s: %v\n%s", program, strings.Join(args, " "), err, out)
			}
		}
		for _, place := range run {
			execute("statements", place)
		}
		for _, program := range programs {
			if program != "statements" {
				execute(program, "user", "-e", "ada@example.com", "-p", "correct horse")
			}
		}
	}
	t.Run("sqlite", func(t *testing.T) { runOn(t, databasetest.SQLite) })
	t.Run("postgres", func(t *testing.T) { runOn(t, databasetest.Postgres) })
}

// exampleFunctions are the functions in the example files that the README links to, as lines.
func exampleFunctions(t *testing.T) (functions [][]string) {
	t.Helper()
	text, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, link := range regexp.MustCompile(`\]\(([^)]+_test\.go)\)`).FindAllStringSubmatch(string(text), -1) {
		source, err := os.ReadFile(filepath.Join("..", link[1]))
		if err != nil {
			t.Fatal(err)
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, link[1], source, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range file.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && strings.HasPrefix(f.Name.Name, "Example") {
				functions = append(functions, codeLines(string(source[files.Position(f.Pos()).Offset:files.Position(f.End()).Offset])))
			}
		}
	}
	return functions
}

// codeLines are the lines of code, with one space for several.
func codeLines(code string) (lines []string) {
	for line := range strings.Lines(code) {
		if line = strings.Join(strings.Fields(line), " "); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// isExcerpt reports whether the lines of code stand in one of the functions, in their order.
func isExcerpt(code string, functions [][]string) bool {
	return slices.ContainsFunc(functions, func(function []string) bool {
		for _, line := range codeLines(code) {
			at := slices.Index(function, line)
			if at < 0 {
				return false
			}
			function = function[at+1:]
		}
		return true
	})
}

// asDeclarations makes a file of a block of declarations; it is empty for another block.
func asDeclarations(b *block) (file string, isMain bool) {
	if strings.HasPrefix(b.code, "package ") {
		return b.code + "\n", regexp.MustCompile(`(?m)^func main\(\)`).MatchString(b.code)
	}
	const head = "package main\n"
	syntax, err := parser.ParseFile(token.NewFileSet(), "", head+b.code, parser.SkipObjectResolution)
	if err != nil {
		return "", false
	}
	for _, d := range syntax.Decls {
		if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil && f.Name.Name == "main" {
			isMain = true
		}
	}
	name := "main"
	if !isMain {
		name = "declarations"
	}
	return fmt.Sprintf("package %s\n\nimport (\n%s)\n\n//line README.md:%d\n%s\n", name, importsIn(syntax), b.line, b.code), isMain
}

// asStatements makes the body of a function of a block: it ends with the first error, and names that nothing uses are no fault.
func asStatements(b *block) (body string, err error) {
	const head = "package main\nfunc _() {\n"
	files := token.NewFileSet()
	syntax, err := parser.ParseFile(files, "", head+b.code+"\n}\n", parser.SkipObjectResolution)
	if err != nil {
		return "", err
	}
	more := make(map[int]string) // by the place in the block
	ast.Inspect(syntax, func(n ast.Node) bool {
		list, ok := n.(*ast.BlockStmt)
		if !ok {
			return true
		}
		for _, statement := range list.List {
			assign, ok := statement.(*ast.AssignStmt)
			if !ok {
				continue
			}
			add := ""
			for _, left := range assign.Lhs {
				switch name, ok := left.(*ast.Ident); {
				case !ok || name.Name == "_":
				case name.Name == "err":
					add += "; if err != nil { return err }"
				default:
					add += "; _ = " + name.Name
				}
			}
			more[files.Position(assign.End()).Offset-len(head)] = add
		}
		return true
	})
	body = b.code
	for _, at := range slices.Backward(slices.Sorted(maps.Keys(more))) {
		body = body[:at] + more[at] + body[at:]
	}
	return body, nil
}

// importsOf lists what a program uses and does not import.
func importsOf(t *testing.T, program string) string {
	t.Helper()
	syntax, err := parser.ParseFile(token.NewFileSet(), "", program, parser.SkipObjectResolution)
	if err != nil {
		t.Fatalf("%v\n%s", err, program)
	}
	return importsIn(syntax)
}

func importsIn(syntax *ast.File) string {
	used := make(map[string]bool)
	ast.Inspect(syntax, func(n ast.Node) bool {
		if s, ok := n.(*ast.SelectorExpr); ok {
			if x, ok := s.X.(*ast.Ident); ok && goImports[x.Name] != "" {
				used[goImports[x.Name]] = true
			}
		}
		return true
	})
	var imports strings.Builder
	for _, p := range slices.Sorted(maps.Keys(used)) {
		imports.WriteString("\t" + strconv.Quote(p) + "\n")
	}
	return imports.String()
}

func writeGo(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, path, text)
}
