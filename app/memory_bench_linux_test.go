package app_test

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// rest is how long a server is left alone before its memory is looked at.
const rest = 3 * time.Second

// BenchmarkMemoryAtRest looks at what the kernel counts as the server's memory, some seconds after its start, after a
// sign-in and after a registration, which reads the list of common passwords; beside a bare net/http server that is built,
// started and left alone in the same way. An iteration is one start of each.
func BenchmarkMemoryAtRest(b *testing.B) {
	databasetest.EachBenchmark(b, func(b *testing.B, at databasetest.Database) {
		env := append(withAdmin(b, at), "GODEBUG=gctrace=1")
		seen := map[string]float64{}
		look := func(unit string, value float64) { seen[unit] += value }
		n := 0
		for b.Loop() {
			n++
			bare, r := healthy(b, bare(b), env), healthy(b, program(b), env)
			time.Sleep(rest)
			look("MB", memory(b, r, "VmRSS"))
			look("bare_MB", memory(b, bare, "VmRSS"))
			look("private_MB", memory(b, r, "RssAnon"))
			signIn(b, r, "")
			time.Sleep(rest)
			look("MB_after_sign-in", memory(b, r, "VmRSS"))
			signIn(b, r, "/register")
			time.Sleep(rest)
			look("MB_after_register", memory(b, r, "VmRSS"))
			look("heap_MB_after_register", heap(b, r)) // at rest there was no collection yet to tell
			for _, ended := range []*running{bare, r} {
				ended.stop() //nolint:errcheck // the bare one knows no other way to end
			}
		}
		for unit, sum := range seen {
			b.ReportMetric(sum/float64(n), unit)
		}
		b.ReportMetric(seen["MB"]/seen["bare_MB"], "x_bare")
	})
}

// signIn signs the admin in, or with a suffix registers somebody new.
func signIn(b *testing.B, r *running, suffix string) {
	b.Helper()
	who := "admin"
	if suffix != "" {
		who = strconv.FormatInt(time.Now().UnixNano(), 36)
	}
	status, answer, err := post(r.url+"/auth/user/emailpass"+suffix, fmt.Sprintf(`{"email":"%s@example.com","password":"correct horse"}`, who))
	if err != nil || status != 200 {
		b.Fatalf("%s: %d %s %v", suffix, status, answer, err)
	}
}

// memory is a line of the process' status, in MB of a million bytes.
func memory(b *testing.B, r *running, line string) float64 {
	b.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", r.Process.Pid))
	if err != nil {
		b.Fatal(err)
	}
	return number(b, `(?m)^`+line+`:\s+(\d+) kB$`, string(status)) * 1024 / 1e6
}

// heap is what was alive at the last collection, in MB.
func heap(b *testing.B, r *running) float64 {
	b.Helper()
	return number(b, `(?s).*\d+->\d+->(\d+) MB, `, r.stderr.String())
}

func number(b *testing.B, pattern, text string) float64 {
	b.Helper()
	found := regexp.MustCompile(pattern).FindStringSubmatch(text)
	if found == nil {
		b.Fatalf("%s is not in\n%s", pattern, text)
	}
	n, err := strconv.ParseFloat(found[1], 64)
	if err != nil {
		b.Fatal(err)
	}
	return n
}
