package authtest

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Failure is a way in which an endpoint breaks.
type Failure string

// How an endpoint breaks.
const (
	Silent      Failure = "takes the request and never answers"
	Dripping    Failure = "begins to answer, and never ends"
	Huge        Failure = "answers with more than anybody should read"
	Redirecting Failure = "answers with a redirect to where the right answer is"
	Failing     Failure = "answers 500"
	Missing     Failure = "answers 404"
	HangsUp     Failure = "hangs up"
	NotJSON     Failure = "answers with a page"
	WrongType   Failure = "answers rightly, as text/html"
)

// Failures are all of them, for a test of each.
func Failures() []Failure {
	return []Failure{Silent, Dripping, Huge, Redirecting, Failing, Missing, HangsUp, NotJSON, WrongType}
}

// brittle is a server whose endpoints break on demand, and are counted.
type brittle struct {
	path    string // below which they are
	closing chan struct{}

	mu     sync.Mutex
	broken map[Endpoint]Failure
	hits   map[Endpoint]int
}

func newBrittle(path string) *brittle {
	return &brittle{path: path, closing: make(chan struct{}), broken: map[Endpoint]Failure{}, hits: map[Endpoint]int{}}
}

func (b *brittle) fail(e Endpoint, f Failure) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.broken[e] = f
}

func (b *brittle) mend() {
	b.mu.Lock()
	defer b.mu.Unlock()
	clear(b.broken)
}

func (b *brittle) hit(e Endpoint) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.hits[e]++
}

func (b *brittle) hitsOf(e Endpoint) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.hits[e]
}

// moved is the path, below that of the server, where the right answers are if an endpoint is Redirecting.
const moved = "/moved"

// hugeAnswer is how many bytes of white space come before a Huge answer.
const hugeAnswer = 64 << 20

// at is an endpoint, with what breaks it.
func (b *brittle) at(e Endpoint, right http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		b.hit(e)
		b.mu.Lock()
		failure := b.broken[e]
		b.mu.Unlock()
		switch failure {
		case Silent:
			b.wait(r, 0)
		case Dripping:
			w.Header().Set("Content-Type", "application/json")
			for more := true; more; more = b.wait(r, 50*time.Millisecond) {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
			}
		case Huge:
			w.Header().Set("Content-Type", "application/json")
			space := strings.Repeat(" ", 64<<10)
			for n := 0; n < hugeAnswer; n += len(space) {
				if _, err := io.WriteString(w, space); err != nil {
					return // the client has had enough
				}
			}
			right(w, r)
		case Redirecting:
			http.Redirect(w, r, b.path+moved+string(e)+map[bool]string{true: "?" + r.URL.RawQuery}[r.URL.RawQuery != ""], http.StatusTemporaryRedirect)
		case Failing:
			http.Error(w, `{"error":"server_error"}`, http.StatusInternalServerError)
		case Missing:
			http.NotFound(w, r)
		case HangsUp:
			panic(http.ErrAbortHandler)
		case NotJSON:
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, "<!doctype html><title>Down for maintenance</title>")
		case WrongType:
			right(typed{w}, r)
		default:
			right(w, r)
		}
	}
}

// wait lets time pass, all of it if it is 0, and reports whether somebody still listens.
func (b *brittle) wait(r *http.Request, d time.Duration) bool {
	var tick <-chan time.Time // never, unless there is a time
	if d > 0 {
		tick = time.After(d)
	}
	select {
	case <-tick:
		return true
	case <-r.Context().Done():
	case <-b.closing:
	}
	return false
}

// typed answers as text/html.
type typed struct{ http.ResponseWriter }

func (w typed) WriteHeader(status int) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.ResponseWriter.WriteHeader(status)
}
