package app_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/browsertest"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/secrettest"
)

func TestMain(m *testing.M) {
	if at := os.Getenv(killAt); at != "" {
		os.Exit(mortal(at)) // this is no test but a server, started by one (crash_test.go)
	}
	if os.Getenv(panicking) != "" {
		os.Exit(panics()) // likewise (secrets_test.go)
	}
	if os.Getenv(vouchingServer) != "" {
		os.Exit(vouches()) // likewise (reliability_test.go)
	}
	databasetest.Main(m, browsertest.Stop, func() {
		os.RemoveAll(programDir)
	})
}

// program builds cmd/server once and returns the binary.
func program(t testing.TB) string {
	t.Helper()
	binary, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

var build = compile("../cmd/server")

// compile returns a function that builds a program once, in a directory that is removed at the end.
func compile(dir string) func() (binary string, err error) {
	return sync.OnceValues(func() (string, error) {
		into, err := programs()
		if err != nil {
			return "", err
		}
		binary := filepath.Join(into, filepath.Base(dir))
		if out, err := exec.Command("go", "build", "-o", binary, dir).CombinedOutput(); err != nil {
			return "", fmt.Errorf("build %s: %w\n%s", dir, err, out)
		}
		return binary, nil
	})
}

// itself is this test program, to be run as a server in a process of its own. It is without the race detector, which makes each of the
// hundreds that are killed several times as slow, and would find there what it finds in this process.
func itself(t testing.TB) string {
	t.Helper()
	if !raceDetector {
		return os.Args[0]
	}
	binary, err := buildItself()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

var buildItself = sync.OnceValues(func() (string, error) {
	into, err := programs()
	if err != nil {
		return "", err
	}
	binary := filepath.Join(into, "app.test")
	if out, err := exec.Command("go", "test", "-c", "-o", binary, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build this test program without the race detector: %w\n%s", err, out)
	}
	return binary, nil
})

var programs = sync.OnceValues(func() (_ string, err error) {
	programDir, err = os.MkdirTemp("", "latchkey-server-")
	return programDir, err
})

var programDir string // removed at the end; empty until something is built

var testSecret = freshSecret()

// environment is what a program in a test runs with: its own directory, the database, cheap hashes.
func environment(dir string, at databasetest.Database, extra ...string) []string {
	env := []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LATCHKEY_HTTP_ADDR=127.0.0.1:0", "LATCHKEY_AUTH_PASSWORD_BCRYPT_COST=4",
		"LATCHKEY_DATA_DIR=" + filepath.Join(dir, "data")}
	if strings.HasPrefix(at.URL, "postgres") {
		env = append(env, "LATCHKEY_DATABASE_URL="+at.URL, "LATCHKEY_SECRETS="+testSecret)
	}
	return slices.Clip(append(env, extra...))
}

// running is a server process.
type running struct {
	*exec.Cmd
	url    string
	stdout *output
	stderr *output
	ended  chan struct{} // closed when the process has ended, with
	result error
}

// output is what a process has written, readable while it runs.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}

// start starts a server and does not wait for it.
func start(t testing.TB, env []string, args ...string) *running {
	t.Helper()
	return startBinary(t, program(t), env, args...)
}

func startBinary(t testing.TB, binary string, env []string, args ...string) *running {
	t.Helper()
	r := &running{Cmd: exec.Command(binary, args...), stdout: new(output), stderr: new(output), ended: make(chan struct{})}
	r.Env, r.Dir, r.Stdout, r.Stderr = env, t.TempDir(), r.stdout, r.stderr
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		r.result = r.Wait()
		close(r.ended)
	}()
	t.Cleanup(func() {
		r.kill()
		secrettest.Look(t, "the log", r.stderr.String()) // of every server that any test has started
	})
	return r
}

// up waits until the server says where it listens and answers there.
func (r *running) up(ctx context.Context) error {
	for {
		lines := bufio.NewScanner(strings.NewReader(r.stdout.String()))
		for r.url == "" && lines.Scan() {
			if _, url, ok := strings.Cut(lines.Text(), "listening on "); ok {
				r.url = url
			}
		}
		if r.url != "" {
			if rsp, err := http.Get(r.url + "/health"); err == nil {
				rsp.Body.Close()
				if rsp.StatusCode == http.StatusOK {
					return nil
				}
			}
		}
		select {
		case <-r.ended:
			return fmt.Errorf("the server ended: %v\n%s%s", r.result, r.stdout, r.stderr)
		case <-ctx.Done():
			return fmt.Errorf("the server did not come up: %w\n%s%s", ctx.Err(), r.stdout, r.stderr)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// stop ends the server as an operator does, and reports how it ended.
func (r *running) stop() error {
	if err := r.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return err
	}
	<-r.ended
	return r.result
}

// kill ends the server as a power cut does.
func (r *running) kill() {
	r.Process.Kill()
	<-r.ended
}

// run runs a command to its end.
func run(t *testing.T, env []string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program(t), args...)
	var out, errs bytes.Buffer
	cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = env, t.TempDir(), &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// post sends JSON and returns the answer.
func post(url, body string, headers ...string) (status int, answer string, err error) {
	req, err := http.NewRequest("POST", url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer rsp.Body.Close()
	data, err := io.ReadAll(rsp.Body)
	return rsp.StatusCode, string(data), err
}
