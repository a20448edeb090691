//go:build unix

package app

import (
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives a file the owner that another one has, because the server may run as somebody else than who changes it.
func keepOwner(name string, as fs.FileInfo) error {
	theirs, ok := as.Sys().(*syscall.Stat_t)
	if !ok {
		return nil
	}
	mine, err := os.Stat(name)
	if err != nil {
		return err
	}
	if now, ok := mine.Sys().(*syscall.Stat_t); ok && now.Uid == theirs.Uid && now.Gid == theirs.Gid {
		return nil
	}
	return os.Chown(name, int(theirs.Uid), int(theirs.Gid))
}
