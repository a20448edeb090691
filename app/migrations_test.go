package app_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/app"
)

// TestMigrationsAreNeverEdited compares every migration with testdata/migrations.sum. A database that has applied a file
// never sees what changes in it later: add the next file instead, and its line to the sums.
func TestMigrationsAreNeverEdited(t *testing.T) {
	known, err := os.ReadFile("testdata/migrations.sum")
	if err != nil {
		t.Fatal(err)
	}
	sums := map[string]string{}
	for line := range strings.Lines(string(known)) {
		sum, name, _ := strings.Cut(strings.TrimSpace(line), "  ")
		sums[name] = sum
	}
	for _, m := range app.Migrations() {
		files, err := fs.Glob(m.FS, "*.sql")
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			data, err := fs.ReadFile(m.FS, file)
			if err != nil {
				t.Fatal(err)
			}
			name := m.Module + "/" + file
			switch sum := fmt.Sprintf("%x", sha256.Sum256(data)); {
			case sums[name] == "":
				t.Errorf("%s is new: add the line\n%s  %s\nto testdata/migrations.sum", name, sum, name)
			case sums[name] != sum:
				t.Errorf("%s was edited: undo that, and write the next migration", name)
			}
			delete(sums, name)
		}
	}
	for name := range sums {
		t.Errorf("%s is gone: databases that have applied it still exist", name)
	}
}
