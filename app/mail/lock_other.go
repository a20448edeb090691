//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package mail

import (
	"context"
	"os"
)

// lock does nothing where the standard library has no lock to offer: there one process alone should write the file.
func lock(context.Context, *os.File) error { return nil }
