package github

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
)

// pace is how often GitHub is asked whether it is there.
type pace struct {
	calm  time.Duration   // while it is
	retry []time.Duration // after a failure, the first, the second…; the last for all further ones
}

// usualPace keeps to far less than the 60 requests an hour that GitHub's API answers to who has no token.
var usualPace = pace{
	calm:  10 * time.Minute,
	retry: []time.Duration{time.Second, 2 * time.Second, 5 * time.Second, 10 * time.Second, 30 * time.Second, time.Minute, 2 * time.Minute},
}

// health is whether GitHub answers, asked by one at a time. After a failure nobody asks for a while.
type health struct {
	mu       sync.Mutex
	failed   error // why the last asking came to nothing; nil: it did not, or nobody has asked
	failures int   // in a row
	askedAt  time.Time
	notUntil time.Time     // after a failure
	asking   chan struct{} // closed when the asking that is on its way ends; nil: there is none
}

// usable is auth.ErrProviderUnavailable while GitHub does not answer. Without a failure nothing is asked.
func (p *Provider) usable(ctx context.Context) error {
	h := &p.health
	h.mu.Lock()
	if h.failed == nil {
		h.mu.Unlock()
		return nil
	}
	if wait := time.Until(h.notUntil); h.asking == nil && wait > 0 {
		h.mu.Unlock()
		return auth.ErrProviderUnavailable.After(max(wait.Round(time.Second), time.Second))
	}
	asking := p.look()
	h.mu.Unlock()
	select {
	case <-asking:
	case <-ctx.Done():
		return ctx.Err()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed != nil {
		return auth.ErrProviderUnavailable
	}
	return nil
}

// look begins to ask whether GitHub is there, unless somebody does, and returns what is closed in the end. The health is
// locked. The caller's going away does not end it, because others may wait for it by then.
func (p *Provider) look() <-chan struct{} {
	h := &p.health
	if h.asking != nil {
		return h.asking
	}
	done := make(chan struct{})
	h.asking = done
	go func() {
		defer close(done)
		err := p.there(context.Background())
		h.mu.Lock()
		defer h.mu.Unlock()
		h.asking, h.askedAt = nil, time.Now()
		before := h.failed
		if h.failed = err; err != nil {
			h.notUntil = time.Now().Add(p.pace.retry[min(h.failures, len(p.pace.retry)-1)])
			h.failures++
			if before == nil || before.Error() != err.Error() {
				p.log.Warn("GitHub cannot be used, so nobody can sign in by it for now; it is asked again by itself", "error", err)
			}
			return
		}
		h.failures = 0
		if before != nil {
			p.log.Info("GitHub answers again")
		}
	}()
	return done
}

// there asks the API for its root. That it wants to be asked less often, or by nobody without a token, says that it is there.
func (p *Provider) there(ctx context.Context) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, p.config.api()+"/", nil)
	if err != nil {
		return err
	}
	r.Header.Set("Accept", "application/vnd.github+json")
	r.Header.Set("User-Agent", "latchkey")
	rsp, err := p.client.Do(r)
	if err != nil {
		return why(err)
	}
	defer rsp.Body.Close()
	switch rsp.StatusCode {
	case http.StatusOK, http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests:
		return nil
	}
	return fmt.Errorf("%w: status %d", errAnswer, rsp.StatusCode)
}

// suspect has GitHub asked soon, because somebody met with one that does not answer.
func (p *Provider) suspect() {
	h := &p.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed == nil && time.Since(h.askedAt) >= p.pace.retry[0] {
		p.look()
	}
}

// Available reports whether GitHub answered when it was last asked, and asks anew if that is a while ago; nobody waits for it.
func (p *Provider) Available() bool {
	h := &p.health
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failed != nil && !time.Now().Before(h.notUntil) {
		p.look()
	}
	return h.failed == nil
}

// Run asks GitHub from time to time until the context ends, so that it is known whether it answers before somebody wants to
// sign in.
func (p *Provider) Run(ctx context.Context) {
	for ctx.Err() == nil {
		p.health.mu.Lock()
		asking := p.look()
		p.health.mu.Unlock()
		select {
		case <-asking:
		case <-ctx.Done():
			return
		}
		wait := p.pace.calm
		p.health.mu.Lock()
		if p.health.failed != nil {
			wait = max(time.Until(p.health.notUntil), 0) + time.Millisecond
		}
		p.health.mu.Unlock()
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}
