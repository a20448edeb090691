package purge_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/latchkey-go/latchkey/app/purge"
)

// heap is a job that has so many things to delete.
type heap struct {
	mu    sync.Mutex
	left  int
	calls []int // how many were deleted, call by call
}

func (h *heap) purge(_ context.Context, limit int) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := min(limit, h.left)
	h.left -= n
	h.calls = append(h.calls, n)
	return n, nil
}

func newPurger(t *testing.T, log *slog.Logger, o purge.Options, jobs ...purge.Job) *purge.Purger {
	t.Helper()
	p, err := purge.New(purge.Params{Jobs: jobs, Options: o, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestAllPurgesBatchByBatchToTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := &heap{left: 7}, &heap{}
		p := newPurger(t, slog.New(slog.DiscardHandler), purge.Options{Batch: 3, Batches: 1}, purge.Job{Name: "b", Purge: b.purge}, purge.Job{Name: "a", Purge: a.purge})
		removed, err := p.All(t.Context())
		if err != nil || !slices.Equal(removed, []purge.Removed{{Name: "a", Rows: 7}, {Name: "b"}}) || !slices.Equal(a.calls, []int{3, 3, 1, 0}) {
			t.Errorf("%+v, %v, by %v", removed, err, a.calls)
		}
		a.left = 1
		if removed, err = p.All(t.Context(), "b"); err != nil || len(removed) != 1 || a.left != 1 {
			t.Errorf("only b: %+v, %v", removed, err)
		}
		if _, err = p.All(t.Context(), "nope"); err == nil || !strings.Contains(err.Error(), "a, b") {
			t.Errorf("what is none: %v", err)
		}
	})
}

func TestARunIsBoundedAndComesAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &heap{left: 10}
		p := newPurger(t, slog.New(slog.DiscardHandler), purge.Options{Batch: 2, Batches: 3}, purge.Job{Name: "h", Purge: h.purge})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { p.Run(ctx); close(ended) }()
		for _, step := range []struct {
			wait time.Duration
			left int
		}{{47 * time.Second, 10}, {26 * time.Second, 4}, {7 * time.Minute, 4}, {6 * time.Minute, 0}} {
			time.Sleep(step.wait)
			synctest.Wait()
			h.mu.Lock()
			if h.left != step.left {
				t.Errorf("after %v more: %d left, want %d", step.wait, h.left, step.left)
			}
			h.mu.Unlock()
		}
		cancel()
		<-ended
	})
}

func TestOneJobThatFailsIsNoReasonToLeaveTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		h, fails := &heap{left: 3}, 0
		p := newPurger(t, slog.New(slog.NewTextHandler(&log, nil)), purge.Options{},
			purge.Job{Name: "a", Purge: func(context.Context, int) (int, error) { panic("of a test") }},
			purge.Job{Name: "b", Purge: func(context.Context, int) (int, error) { fails++; return 0, errors.New("denied, always") }},
			purge.Job{Name: "c", Purge: h.purge})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { p.Run(ctx); close(ended) }()
		time.Sleep(time.Hour)
		cancel()
		<-ended
		if h.left != 0 || fails < 4 {
			t.Errorf("%d are left, and the one that fails was tried %d times", h.left, fails)
		}
		if n := strings.Count(log.String(), "denied, always"); n != 1 {
			t.Errorf("it is said %d times, want once:\n%s", n, log.String())
		}
		if !strings.Contains(log.String(), "panic in a purge") {
			t.Errorf("the panic is not logged:\n%s", log.String())
		}
	})
}

func TestAStopEndsABatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPurger(t, slog.New(slog.DiscardHandler), purge.Options{},
			purge.Job{Name: "slow", Purge: func(ctx context.Context, _ int) (int, error) { <-ctx.Done(); return 0, ctx.Err() }})
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan struct{})
		go func() { p.Run(ctx); close(ended) }()
		time.Sleep(80 * time.Second) // it is at it
		cancel()
		synctest.Wait()
		select {
		case <-ended:
		default:
			t.Error("the purge goes on")
		}
	})
}

func TestJobsHaveNamesOfTheirOwn(t *testing.T) {
	h := &heap{}
	for _, jobs := range [][]purge.Job{{{Name: "a", Purge: h.purge}, {Name: "a", Purge: h.purge}}, {{Purge: h.purge}}, {{Name: "a"}}} {
		if _, err := purge.New(purge.Params{Jobs: jobs}); err == nil {
			t.Errorf("%+v make a purger", jobs)
		}
	}
}
