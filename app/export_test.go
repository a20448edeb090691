package app

import (
	"io"
	"net/http"
	"slices"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app/console"
)

// KnownKeys are the keys that there are, with * where a name stands that the configuration gives.
func KnownKeys() (patterns []string) {
	for _, s := range known.settings {
		patterns = append(patterns, s.pattern)
	}
	return patterns
}

// Run is Main with outputs of the caller's.
func Run(out, err io.Writer, args []string, opts ...fx.Option) (code int) {
	m := command{out: out, err: err, options: opts}
	return m.main(args)
}

// ShowExplanation writes an explanation as 'server explain' does.
var ShowExplanation = showExplanation

// CheckPatterns says what is wrong with the patterns of an application's own handlers, where there are pages at /app and at
// /my/account.
func CheckPatterns(patterns ...string) error {
	var own []ownHandler
	for _, p := range patterns {
		own = append(own, ownHandler{p, http.NotFoundHandler()})
	}
	_, err := withOwn(http.NotFoundHandler(), append(slices.Clone(ourPaths), console.DefaultPath+"/", "/my/account/"), own)
	return err
}
