package httpapi_test

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

// kinds are those that a fault can be declared with, as they are written.
var kinds = map[string]fault.Kind{
	"Internal": fault.Internal, "Invalid": fault.Invalid, "NotAllowed": fault.NotAllowed, "Unauthorized": fault.Unauthorized,
	"Forbidden": fault.Forbidden, "NotFound": fault.NotFound, "Conflict": fault.Conflict, "Duplicate": fault.Duplicate,
	"TooLarge": fault.TooLarge, "Unsupported": fault.Unsupported, "TooMany": fault.TooMany, "Unavailable": fault.Unavailable,
}

// declared are the reasons of all faults that the code declares, each with the statuses that it is answered with. The
// console's are left out: people read its pages, and no program does.
func declared(t *testing.T) map[string][]string {
	t.Helper()
	reasons := map[string][]string{}
	err := filepath.WalkDir("../..", func(path string, entry fs.DirEntry, err error) error {
		name := entry.Name()
		switch {
		case err != nil:
			return err
		case entry.IsDir() && (name == "testdata" || name == "console" || name == "data" || strings.HasPrefix(name, ".") && strings.Trim(name, ".") != ""):
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(gotoken.NewFileSet(), path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if f, ok := call.Fun.(*ast.SelectorExpr); !ok || f.Sel.Name != "New" || !named(f.X, "fault") {
				return true
			}
			kind, _ := call.Args[0].(*ast.SelectorExpr)
			literal, _ := call.Args[1].(*ast.BasicLit)
			if kind == nil || literal == nil {
				t.Errorf("%s: a fault is declared with a kind and a reason that are not written out", path)
				return true
			}
			reason, err := strconv.Unquote(literal.Value)
			check(t, err)
			status := web.Status(kinds[kind.Sel.Name])
			if reason == "no_method" {
				status = 405
			}
			if s := strconv.Itoa(status); !slices.Contains(reasons[reason], s) {
				reasons[reason] = append(reasons[reason], s)
			}
			return true
		})
		return nil
	})
	check(t, err)
	for _, statuses := range reasons {
		slices.Sort(statuses)
	}
	return reasons
}

func named(x ast.Expr, name string) bool {
	id, ok := x.(*ast.Ident)
	return ok && id.Name == name
}

func TestTheDocumentationListsEveryReasonWithItsStatuses(t *testing.T) {
	text, err := os.ReadFile("../../docs/http-api.md")
	check(t, err)
	_, table, found := strings.Cut(string(text), "\n| reason | status | when |\n")
	if !found {
		t.Fatal("docs/http-api.md has no table of reasons")
	}
	table, _, _ = strings.Cut(table, "\n\n")
	listed := map[string][]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\| ([0-9, ]+) \\| .+ \\|$").FindAllStringSubmatch(table, -1) {
		if listed[row[1]] != nil {
			t.Errorf("%s is listed twice", row[1])
		}
		listed[row[1]] = strings.Split(row[2], ", ")
	}
	all := declared(t)
	if rows := strings.Count(table, "\n"); len(listed) != rows || len(all) < 50 {
		t.Errorf("%d of the %d rows were read, %d reasons found", len(listed), rows, len(all))
	}
	for _, reason := range slices.Sorted(maps.Keys(all)) {
		if got, want := listed[reason], all[reason]; !slices.Equal(got, want) {
			t.Errorf("%s: docs/http-api.md says %v, the code %v", reason, got, want)
		}
	}
	for reason := range listed {
		if all[reason] == nil {
			t.Errorf("%s: docs/http-api.md lists it, and nothing in the code says it", reason)
		}
	}
}
