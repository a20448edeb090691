//go:build linux || darwin || freebsd || netbsd || openbsd || dragonfly

package databasetest

import (
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

const dirs = "/tmp/latchkey-pg-" // not TMPDIR: it may be closed to the server's user, or too long for a socket's path

// keeper runs the server and ends with us: its input is a pipe that we hold, so it reads an end of file when this
// process is gone, however that came about. It has a process group of its own, out of reach of a Ctrl-C.
const keeper = `
dir=$1; shift
"$@" >"$dir/log" 2>&1 </dev/null &
read -r _
kill -QUIT $!
wait $!
rm -rf "$dir"
`

var running struct {
	keeper *exec.Cmd
	pipe   io.Closer
	claim  *os.File
}

// start starts a server that listens on a socket in a directory of its own, and nowhere else.
func start(bin string) found {
	sweep()
	// PostgreSQL refuses to run as root.
	var as *syscall.Credential
	if os.Getuid() == 0 {
		u, err := user.Lookup("postgres")
		if err != nil {
			return found{why: "running as root, and there is no user postgres to run a server as"}
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 != nil || err2 != nil {
			return found{err: fmt.Errorf("user postgres has ids %q, %q", u.Uid, u.Gid)}
		}
		as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	dir, err := os.MkdirTemp(filepath.Split(dirs))
	if err != nil {
		return found{err: err}
	}
	base, err := startIn(dir, bin, as)
	if err != nil {
		stop()
		_ = os.RemoveAll(dir)
	}
	return found{base: base, err: err}
}

func startIn(dir, bin string, as *syscall.Credential) (*url.URL, error) {
	var err error
	if running.claim, err = claim(dir); err != nil {
		return nil, err
	}
	if as != nil {
		if err := os.Chown(dir, int(as.Uid), int(as.Gid)); err != nil {
			return nil, err
		}
	}
	data := filepath.Join(dir, "data")

	first := initdb(bin, data)
	first.Dir = dir
	first.SysProcAttr = &syscall.SysProcAttr{Credential: as}
	if said, err := first.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, said)
	}

	args := append([]string{"-c", keeper, "keeper", dir, filepath.Join(bin, "postgres")}, options(data)...)
	cmd := command("/bin/sh", append(args, "-c", "listen_addresses=", "-c", "unix_socket_directories="+dir)...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: as, Setpgid: true}
	if running.pipe, err = cmd.StdinPipe(); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	running.keeper = cmd

	base := &url.URL{
		Scheme:   "postgres",
		User:     url.User("postgres"),
		Path:     "/postgres",
		RawQuery: url.Values{"host": {dir}, "port": {"5432"}, "sslmode": {"disable"}}.Encode(),
	}
	return base, await(base, filepath.Join(dir, "log"))
}

func stop() {
	if running.keeper != nil {
		_ = running.pipe.Close()
		_ = running.keeper.Wait()
		running.keeper = nil
	}
}

// claim marks dir as in use for as long as this process lives.
func claim(dir string) (*os.File, error) {
	f, err := os.OpenFile(filepath.Join(dir, "claim"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// sweep removes what is left of processes whose keeper was killed too.
func sweep() {
	left, _ := filepath.Glob(dirs + "*")
	for _, dir := range left {
		info, err := os.Stat(dir)
		if err != nil || time.Since(info.ModTime()) < 10*time.Minute { // it may be about to be claimed
			continue
		}
		if f, err := claim(dir); err == nil {
			_ = os.RemoveAll(dir)
			_ = f.Close()
		}
	}
}
