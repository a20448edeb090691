//go:build !unix

package app

import "io/fs"

// keepOwner does nothing where files have no owner of this kind.
func keepOwner(string, fs.FileInfo) error { return nil }
