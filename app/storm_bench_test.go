package app_test

import (
	"bytes"
	"io"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/fx"
	"golang.org/x/crypto/bcrypt"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/benchtest"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// What is hashed with is the default cost.
const stormCost = 12

// processors are what a program finds at its start, before it has Go use more, as the server's own program does.
var processors = runtime.GOMAXPROCS(0)

// BenchmarkHashEfficiency has as many people sign in as there are turns for, one after the other and all by HTTP, while
// others read. Beside it every core does nothing but hash. What the ratio lacks to 1 is what everything but the hash costs,
// the readers and the clients included.
func BenchmarkHashEfficiency(b *testing.B) {
	databasetest.EachBenchmark(b, func(b *testing.B, at databasetest.Database) {
		s := newStorm(b, at)
		const round = 5 * time.Second
		signIns := benchtest.Subject{Round: round, Do: func(n int) {
			reading := s.read(50)
			defer reading.stop()
			s.signIn(b, n)
		}}
		costs := benchtest.Interleave(b, signIns, benchtest.Subject{Round: round, Do: hashOnAllCores(b)})
		b.ReportMetric(float64(costs[0].Wall), "ns/op")
		b.ReportMetric(float64(time.Second)/float64(costs[0].Wall), "sign-ins/s")
		b.ReportMetric(float64(time.Second)/float64(costs[1].Wall), "hashes/s")
		b.ReportMetric(1/costs[0].Over(costs[1]), "efficiency")
	})
}

// BenchmarkReadsInAStorm offers ten times as many sign-ins as the cores can hash, and says how long readers wait meanwhile
// and without. Readers and sign-ins come when they come, whether those before them have been answered or not; a wait is
// counted from then.
func BenchmarkReadsInAStorm(b *testing.B) {
	databasetest.EachBenchmark(b, func(b *testing.B, at databasetest.Database) {
		s := newStorm(b, at)
		const spell = 6 * time.Second
		hash := hashOnAllCores(b)
		var quiet, stormy, served, refused waits
		offered := 0
		for b.Loop() {
			start := time.Now()
			hash(8 * processors)
			every := time.Since(start) / time.Duration(8*processors) / 10

			reading := s.read(50)
			time.Sleep(spell / 2)
			quiet = append(quiet, reading.stop()...)

			var mu sync.Mutex
			storm := openLoop(every, func(due time.Time) {
				status := s.post(b)
				mu.Lock()
				defer mu.Unlock()
				offered++
				if status == http.StatusOK {
					served = append(served, time.Since(due))
				} else {
					refused = append(refused, time.Since(due))
				}
			})
			time.Sleep(spell / 3) // until the queue is full
			reading = s.read(50)
			time.Sleep(spell)
			stormy = append(stormy, reading.stop()...)
			storm()
		}
		b.ReportMetric(stormy.at(95), "read_p95_ms")
		b.ReportMetric(stormy.at(50), "read_p50_ms")
		b.ReportMetric(stormy.at(100), "read_max_ms")
		b.ReportMetric(quiet.at(95), "quiet_p95_ms")
		b.ReportMetric(refused.at(95), "refusal_p95_ms")
		b.ReportMetric(float64(offered)/float64(max(1, len(served))), "offered/served")
	})
}

// storm is the program with an admin, who signs in again and again.
type storm struct {
	url, token string
	client     *http.Client
}

func newStorm(b *testing.B, at databasetest.Database) storm {
	b.Helper()
	env := environment(b.TempDir(), at)
	for i, v := range env {
		if strings.HasPrefix(v, "LATCHKEY_AUTH_PASSWORD_BCRYPT_COST=") {
			env[i] = "LATCHKEY_AUTH_PASSWORD_BCRYPT_COST=12"
		}
	}
	runtime.GOMAXPROCS(2 * processors) // as many as before when the next benchmark begins
	p := assemble(b, env, fx.Decorate(func(o auth.PasswordOptions) auth.PasswordOptions {
		o.Slots = processors
		return o
	}))
	s := storm{token: p.admin(b), url: p.site.URL(""), client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 1000}}}
	b.Cleanup(s.client.CloseIdleConnections)
	return s
}

// post signs in, and returns the status.
func (s storm) post(b *testing.B) int {
	body := strings.NewReader(`{"email":"admin@example.com","password":"correct horse"}`)
	req, err := http.NewRequestWithContext(b.Context(), "POST", s.url+"/auth/user/emailpass", body)
	if err != nil {
		b.Error(err)
		return 0
	}
	req.Header.Set("Content-Type", "application/json")
	return s.do(b, req)
}

func (s storm) do(b *testing.B, req *http.Request) int {
	rsp, err := s.client.Do(req)
	if err != nil {
		b.Error(err)
		return 0
	}
	defer rsp.Body.Close()
	if _, err := io.Copy(io.Discard, rsp.Body); err != nil {
		b.Error(err)
	}
	return rsp.StatusCode
}

// signIn has n sign-ins succeed, twice as many at a time as there are turns.
func (s storm) signIn(b *testing.B, n int) {
	turns := make(chan struct{}, 2*processors)
	var wg sync.WaitGroup
	for range n {
		turns <- struct{}{}
		wg.Go(func() {
			if status := s.post(b); status != http.StatusOK {
				b.Errorf("a sign-in got %d", status)
			}
			<-turns
		})
	}
	wg.Wait()
}

// reader reads until it is stopped.
type reader struct {
	mu    sync.Mutex
	waits waits
	end   func()
}

// read has the admin read who they are, so many times a second.
func (s storm) read(perSecond int) *reader {
	r := &reader{}
	r.end = openLoop(time.Second/time.Duration(perSecond), func(due time.Time) {
		req, err := http.NewRequest("GET", s.url+"/admin/users/me", nil) //nolint:noctx // it ends with the server
		if err != nil {
			panic(err)
		}
		req.Header.Set("Authorization", "Bearer "+s.token)
		rsp, err := s.client.Do(req)
		if err != nil {
			return
		}
		body, err := io.ReadAll(rsp.Body)
		rsp.Body.Close()
		if err != nil || rsp.StatusCode != http.StatusOK || !bytes.Contains(body, []byte("admin@example.com")) {
			panic("a reader got " + rsp.Status)
		}
		r.mu.Lock()
		defer r.mu.Unlock()
		r.waits = append(r.waits, time.Since(due))
	})
	return r
}

func (r *reader) stop() waits {
	r.end()
	return r.waits
}

// openLoop does it every so often, whether it was done with the one before or not, until the end that it returns is called,
// which waits for all.
func openLoop(every time.Duration, once func(due time.Time)) (end func()) {
	done := make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		for due := time.Now(); ; due = due.Add(every) {
			select {
			case <-done:
				return
			case <-time.After(time.Until(due)):
				all.Go(func() { once(due) })
			}
		}
	})
	return func() {
		close(done)
		all.Wait()
	}
}

type waits []time.Duration

// at is a percentile, in milliseconds.
func (w waits) at(percent int) float64 {
	if len(w) == 0 {
		return 0
	}
	slices.Sort(w)
	return float64(w[(len(w)-1)*percent/100]) / 1e6
}

// hashOnAllCores has every core verify passwords and do nothing else.
func hashOnAllCores(b *testing.B) func(n int) {
	b.Helper()
	password := bytes.Repeat([]byte("p"), 64) // as long as what the pepper makes of any password
	hash, err := bcrypt.GenerateFromPassword(password, stormCost)
	if err != nil {
		b.Fatal(err)
	}
	return func(n int) {
		left := make(chan struct{}, n)
		for range n {
			left <- struct{}{}
		}
		close(left)
		var wg sync.WaitGroup
		for range processors {
			wg.Go(func() {
				for range left {
					if err := bcrypt.CompareHashAndPassword(hash, password); err != nil {
						b.Error(err)
					}
				}
			})
		}
		wg.Wait()
	}
}
