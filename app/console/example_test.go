package console_test

import (
	"fmt"
	"io/fs"
	"testing/fstest"

	"github.com/latchkey-go/latchkey/app/console"
)

// Pages of an application's own: elsewhere, under its name, and one of them in its words.
func ExampleOptions() {
	options := console.Options{
		Path: "/account",
		Name: "Example",
		Templates: fstest.MapFS{
			"problem.html": {Data: []byte(`{{define "main"}}<p>Call us: 555-0100</p>{{end}}`)},
		},
	}
	fmt.Println(console.CheckPath(options.Path))
	// Output: <nil>
}

// The built-in files are where to begin with one's own.
func ExampleTemplates() {
	words, err := fs.ReadFile(console.Templates(), "texts.html")
	fmt.Println(len(words) > 0, err)
	// Output: true <nil>
}
