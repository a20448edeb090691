package databasetest

import (
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// A PostgreSQL server in which schemas can be made, or the reason why there is none.
type found struct {
	base *url.URL
	why  string // nothing here to use; what was looked for
	err  error  // something was here, and did not work
}

// server finds or starts the server, once per process.
var server = sync.OnceValue(func() found {
	const setting = "LATCHKEY_TEST_POSTGRES_URL"
	if given := os.Getenv(setting); given != "" {
		base, err := url.Parse(given)
		if err != nil || base.Scheme != "postgres" && base.Scheme != "postgresql" {
			return found{err: fmt.Errorf("%s is not a postgres:// URL", setting)}
		}
		return found{base: base, err: execute(base, "SELECT 1")}
	}
	bin, ok := programs()
	if !ok {
		return found{why: "no postgres/initdb found; install PostgreSQL or set " + setting}
	}
	return start(bin)
})

// programs is the directory with initdb and postgres: that of the PATH, else the newest one where packages put it.
func programs() (bin string, ok bool) {
	var dirs []string
	if initdb, err := exec.LookPath("initdb"); err == nil {
		if initdb, err = filepath.EvalSymlinks(initdb); err == nil {
			dirs = append(dirs, filepath.Dir(initdb))
		}
	}
	for _, pattern := range []string{
		"/usr/lib/postgresql/*/bin",          // Debian
		"/usr/pgsql-*/bin",                   // Red Hat
		"/usr/libexec/postgresql*",           // Alpine
		"/usr/local/pgsql/bin",               // from source
		"/opt/homebrew/opt/postgresql@*/bin", // macOS
		"/usr/local/opt/postgresql@*/bin",    // macOS on Intel
		"/Applications/Postgres.app/Contents/Versions/latest/bin",
		`C:\Program Files\PostgreSQL\*\bin`,
	} {
		matches, _ := filepath.Glob(pattern)
		slices.Reverse(matches)
		dirs = append(dirs, matches...)
	}
	for _, dir := range dirs {
		if executable(filepath.Join(dir, "initdb")) && executable(filepath.Join(dir, "postgres")) {
			return dir, true
		}
	}
	return "", false
}

func executable(path string) bool {
	_, err := exec.LookPath(path)
	return err == nil
}

// initdb makes a data directory. Everybody who can reach the server is let in as postgres.
func initdb(bin, data string) *exec.Cmd {
	return command(filepath.Join(bin, "initdb"), "--pgdata="+data, "--username=postgres", "--auth=trust",
		"--encoding=UTF8", "--locale=C", "--no-sync")
}

// command runs one of PostgreSQL's programs, or one that runs them, without the settings meant for somebody else's
// server.
func command(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env = slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "PG") })
	return cmd
}

// options make a server quick and forgetful.
func options(data string) []string {
	return []string{"-D", data, "-F", // no fsync
		"-c", "max_connections=300",
		"-c", "shared_buffers=64MB",
		"-c", "full_page_writes=off",
		"-c", "synchronous_commit=off",
		"-c", "timezone=Asia/Kathmandu", // so that a time which relies on the server's zone is found
	}
}

// await waits until the server answers, and tells what it said if it does not.
func await(base *url.URL, log string) error {
	var err error
	for start := time.Now(); time.Since(start) < 20*time.Second; time.Sleep(10 * time.Millisecond) {
		if err = execute(base, "SELECT 1"); err == nil {
			return nil
		}
	}
	said, _ := os.ReadFile(log)
	return errors.Join(err, fmt.Errorf("the server said:\n%s", said))
}

// SkipLoudly skips a test for what this machine lacks, and says so on the terminal, once for each thing. With the variable
// require set to 1, as in CI, the test fails instead.
func SkipLoudly(tb testing.TB, require, what, why string) {
	tb.Helper()
	if os.Getenv(require) == "1" {
		tb.Fatalf("%s is required here: %s", what, why)
	}
	if _, told := skipped.LoadOrStore(what, true); !told {
		name := filepath.Base(os.Args[0])
		if info, ok := debug.ReadBuildInfo(); ok && info.Path != "" {
			name = strings.TrimSuffix(info.Path, ".test")
		}
		Tell(fmt.Sprintf("SKIPPED every test of %s that needs %s: %s", name, what, why))
	}
	tb.Skipf("no %s: %s", what, why)
}

var skipped sync.Map // what is missing, once that was said

// Tell writes a line to the terminal, also if the test passes and nobody has asked for its output.
func Tell(line string) {
	out := os.Stderr
	if runtime.GOOS == "linux" {
		// Our own output is kept from the terminal if the package passes; that of the go command is not.
		parent := fmt.Sprintf("/proc/%d", os.Getppid())
		comm, _ := os.ReadFile(parent + "/comm")
		if strings.TrimSpace(string(comm)) == "go" {
			if f, err := os.OpenFile(parent+"/fd/2", os.O_WRONLY|os.O_APPEND, 0); err == nil {
				defer f.Close()
				out = f
			}
		}
	}
	fmt.Fprintf(out, "latchkey: %s\n", line)
}
