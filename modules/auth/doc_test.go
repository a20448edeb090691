package auth_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheMapOfThePackageNamesEveryFile(t *testing.T) {
	doc, err := os.ReadFile("doc.go")
	must(t, err)
	files, err := filepath.Glob("*.go")
	must(t, err)
	for _, file := range files {
		if file != "doc.go" && !strings.HasSuffix(file, "_test.go") && !strings.Contains(string(doc), file) {
			t.Errorf("doc.go does not say what is in %s", file)
		}
	}
}
