//go:build !(linux || darwin || freebsd || netbsd || openbsd || dragonfly)

package databasetest

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
)

var running struct {
	server *exec.Cmd
	dir    string
}

// start starts a server on a free port of this machine only. Nothing but Main ends it here.
func start(bin string) found {
	if !hasMain {
		return found{why: "on this system a server is started only by packages whose TestMain calls databasetest.Main; set LATCHKEY_TEST_POSTGRES_URL"}
	}
	base, err := startOnPort(bin)
	if err != nil {
		stop()
	}
	return found{base: base, err: err}
}

func startOnPort(bin string) (_ *url.URL, err error) {
	if running.dir, err = os.MkdirTemp("", "latchkey-pg-"); err != nil {
		return nil, err
	}
	data := filepath.Join(running.dir, "data")
	if said, err := initdb(bin, data).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("initdb: %w\n%s", err, said)
	}
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	path := filepath.Join(running.dir, "log")
	log, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := command(filepath.Join(bin, "postgres"),
		append(options(data), "-c", "listen_addresses=127.0.0.1", "-c", "port="+port)...)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	running.server = cmd
	base := &url.URL{
		Scheme:   "postgres",
		User:     url.User("postgres"),
		Host:     net.JoinHostPort("127.0.0.1", port),
		Path:     "/postgres",
		RawQuery: "sslmode=disable",
	}
	return base, await(base, path)
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port), nil
}

func stop() {
	if running.server != nil {
		_ = running.server.Process.Kill()
		_ = running.server.Wait()
		running.server = nil
	}
	if running.dir != "" {
		_ = os.RemoveAll(running.dir)
	}
}
