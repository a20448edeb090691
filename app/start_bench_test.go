package app_test

import (
	"net"
	"net/http"
	"os/exec"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/benchtest"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// BenchmarkStart starts the server on a database that has its tables and an admin, from the execution of the binary to
// the first 200 of GET /health, beside a bare net/http server that is built and started in the same way.
func BenchmarkStart(b *testing.B) {
	databasetest.EachBenchmark(b, func(b *testing.B, at databasetest.Database) {
		env := withAdmin(b, at)
		costs := benchtest.Interleave(b, starting(b, program(b), env), starting(b, bare(b), env))
		b.ReportMetric(float64(costs[0].Wall), "ns/op")
		b.ReportMetric(float64(costs[0].Wall)/1e6, "ms")
		b.ReportMetric(float64(costs[1].Wall)/1e6, "bare_ms")
		b.ReportMetric(costs[0].Over(costs[1]), "x_bare")
	})
}

// bare builds the bare server once and returns the binary.
func bare(b *testing.B) string {
	b.Helper()
	binary, err := buildBare()
	if err != nil {
		b.Fatal(err)
	}
	return binary
}

var buildBare = compile("./testdata/bare")

// withAdmin makes a database with an admin, and returns the environment of a server that uses it.
func withAdmin(b *testing.B, at databasetest.Database) []string {
	b.Helper()
	env := environment(b.TempDir(), at)
	cmd := exec.Command(program(b), "user", "-e", "admin@example.com", "-p", "correct horse")
	cmd.Env, cmd.Dir = env, b.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("make an admin: %v\n%s", err, out)
	}
	return env
}

// starting is one start at a time. The server is stopped, as an operator does, before the next round.
func starting(b *testing.B, binary string, env []string) benchtest.Subject {
	b.Helper()
	var running *running
	return benchtest.Subject{
		Round: time.Millisecond, // once, that is
		Prepare: func(int) {
			if running != nil {
				running.stop() //nolint:errcheck // the bare one knows no other way to end
			}
		},
		Do: func(n int) {
			for range n {
				running = healthy(b, binary, env)
			}
		},
	}
}

// healthy starts a server and returns as soon as it answers GET /health by 200. Its url is set.
func healthy(b *testing.B, binary string, env []string) *running {
	b.Helper()
	address := freeAddress(b)
	r := startBinary(b, binary, append(env, "LATCHKEY_HTTP_ADDR="+address))
	r.url = "http://" + address
	for {
		if rsp, err := http.Get(r.url + "/health"); err == nil {
			rsp.Body.Close()
			if rsp.StatusCode == http.StatusOK {
				return r
			}
		}
		select {
		case <-r.ended:
			b.Fatalf("the server ended: %v\n%s%s", r.result, r.stdout, r.stderr)
		case <-time.After(500 * time.Microsecond):
		}
	}
}

// freeAddress is one that nobody listens at.
func freeAddress(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}
