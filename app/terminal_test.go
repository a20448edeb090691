package app_test

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// requirePrograms is the variable that has tests fail, instead of being skipped, where a program is missing.
const requirePrograms = "LATCHKEY_TEST_REQUIRE_PROGRAMS"

// need skips the test, and says so on the terminal, where a program is missing.
func need(t *testing.T, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			databasetest.SkipLoudly(t, requirePrograms, p, "it is not on the PATH")
		}
	}
}

// terminal is a bash that somebody types into, and a second one for the server.
type terminal struct {
	t       *testing.T
	files   string // a directory with what was typed and what was printed
	bash    *exec.Cmd
	typed   io.WriteCloser
	answers chan string // the exit code of each step; closed when bash has ended
	said    output      // by bash itself
	steps   int
	listens string // where the server does
	marked  [2]int // how much the server had printed, and logged
}

// shell reads the names of files and runs them in this one shell, so that what they set stays. When its input ends,
// because the test does or because its process is gone, it ends the server, which has a process group of its own: it
// is `go run` and the program.
const shell = `
server=
stop() {
	[ -n "$server" ] || return 0
	kill -INT -- "-$server" 2>/dev/null || true
	for _ in $(seq 200); do
		kill -0 -- "-$server" 2>/dev/null || break
		sleep 0.1
	done
	kill -KILL -- "-$server" 2>/dev/null || true
	wait "$server" 2>/dev/null || true
	server=
}
trap stop EXIT
set -E
trap 'failed=$?; [ "${BASH_COMMAND:0:2}" = ". " ] || echo "exit code $failed: $BASH_COMMAND" >&2' ERR
while IFS= read -r step; do
	failed=0
	. "$step" >"$step.out" 2>&1 </dev/null
	echo "$failed"
done
`

// newTerminal opens a terminal in dir, with a server that is yet to be started. It is gone when the test ends.
func newTerminal(t *testing.T, dir string) *terminal {
	t.Helper()
	term := &terminal{t: t, files: t.TempDir(), answers: make(chan string)}
	term.bash = exec.Command("bash", "--norc", "--noprofile", "-c", shell)
	term.bash.Dir = dir
	term.bash.Env = append(slices.DeleteFunc(os.Environ(), func(s string) bool {
		return strings.HasPrefix(s, "LATCHKEY_") || strings.HasPrefix(s, "PG") || strings.HasPrefix(s, "BASH_ENV=")
	}), "LATCHKEY_HTTP_ADDR=127.0.0.1:0", "no_proxy=127.0.0.1")
	term.bash.Stderr = &term.said
	ownGroup(term.bash)
	answers, err := term.bash.StdoutPipe()
	if err == nil {
		term.typed, err = term.bash.StdinPipe()
	}
	if err == nil {
		err = term.bash.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(term.answers)
		for lines := bufio.NewScanner(answers); lines.Scan(); {
			term.answers <- lines.Text()
		}
	}()
	t.Cleanup(term.close)
	return term
}

// close ends everything, by force if need be.
func (term *terminal) close() {
	term.typed.Close()
	timeout := time.AfterFunc(30*time.Second, func() {
		killGroup(term.bash.Process.Pid)
		if pid, err := strconv.Atoi(strings.TrimSpace(term.file("server.pid"))); err == nil {
			killGroup(pid)
		}
		term.t.Error("the terminal did not close by itself")
	})
	defer timeout.Stop()
	for range term.answers { // until bash has ended
	}
	if err := term.bash.Wait(); err != nil {
		term.t.Logf("bash: %v\n%s", err, &term.said)
	}
	if term.t.Failed() {
		term.t.Logf("the server printed\n%s\n%s", term.file("server.out"), term.file("server.err"))
	}
}

// run runs what stands at a place of the README, and returns what it printed. It fails the test if a command fails.
func (term *terminal) run(place, code string) string { return term.step(place, code, 2*time.Minute) }

func (term *terminal) step(place, code string, timeout time.Duration) string {
	term.t.Helper()
	term.steps++
	name := fmt.Sprintf("step%d", term.steps)
	path := filepath.Join(term.files, name)
	if err := os.WriteFile(path, []byte(code+"\n"), 0o600); err != nil {
		term.t.Fatal(err)
	}
	if _, err := io.WriteString(term.typed, path+"\n"); err != nil {
		term.t.Fatalf("%s: %v\n%s", place, err, &term.said)
	}
	select {
	case code, ok := <-term.answers:
		printed := term.file(name + ".out")
		if !ok || code != "0" {
			term.t.Fatalf("%s does not work, exit code %s:\n%s%s", place, cmp.Or(code, "of the shell itself"), printed, &term.said)
		}
		return printed
	case <-time.After(timeout):
		term.t.Fatalf("%s takes longer than %v:\n%s", place, timeout, term.file(name+".out"))
		return ""
	}
}

// serve runs what ends with the start of a server, in place of one that runs already, and returns what it printed once
// it answers.
func (term *terminal) serve(place, code string) string {
	term.t.Helper()
	at := strings.LastIndexByte(code, '\n') + 1
	// With -m, & makes a process group. The server writes to files, as it outlives the step.
	term.run(place, fmt.Sprintf(`stop
%[1]s
files='%[3]s'
: >"$files/server.out"
: >"$files/server.err"
set -m
%[2]s >>"$files/server.out" 2>>"$files/server.err" &
server=$!
set +m
echo "$server" >"$files/server.pid"`, code[:at], code[at:], term.files))
	term.marked = [2]int{}

	pid, err := strconv.Atoi(strings.TrimSpace(term.file("server.pid")))
	if err != nil {
		term.t.Fatal(err)
	}
	for start := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		printed := term.file("server.out")
		if _, url, ok := strings.Cut(printed, "listening on "); ok {
			url, _, _ = strings.Cut(url, "\n")
			if rsp, err := http.Get(url + "/health"); err == nil {
				rsp.Body.Close()
				term.listens = strings.TrimPrefix(url, "http://")
				term.run(place, "export LATCHKEY_HTTP_ADDR="+term.listens) // the next one takes its place
				return term.file("server.out")
			}
		}
		ended := !alive(pid)
		if ended || time.Since(start) > 5*time.Minute { // it may have to compile
			term.t.Fatalf("%s does not start the server, after %v:\n%s%s", place, time.Since(start), printed, term.file("server.err"))
		}
	}
}

// address is where the server listens, or the README's own address before there is one.
func (term *terminal) address() string { return cmp.Or(term.listens, "127.0.0.1:9000") }

// mark begins a new stretch of what the server prints.
func (term *terminal) mark() {
	term.marked = [2]int{len(term.file("server.out")), len(term.file("server.err"))}
}

// served is what the server has printed since the mark, and what it has logged.
func (term *terminal) served() (printed, logged string) {
	return term.file("server.out")[term.marked[0]:], term.file("server.err")[term.marked[1]:]
}

func (term *terminal) file(name string) string {
	data, _ := os.ReadFile(filepath.Join(term.files, name)) // not there: nothing was printed
	return string(data)
}
