// Package purge deletes what is dead, a little at a time: expired sessions and tokens, events that were delivered long ago,
// and whatever else the parts of a program offer as a Job. What is dead each part knows itself; this package knows when,
// how much at once, and that one failure is no reason to leave the rest.
package purge

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"math/big"
	"runtime/debug"
	"slices"
	"strings"
	"time"
)

// Job deletes one kind of what is dead.
type Job struct {
	Name string // of what it deletes, such as "sessions"
	// Purge deletes at most so many, in short transactions, and says how many. It may run on several nodes at once, and may
	// be stopped by the context at any time.
	Purge func(ctx context.Context, limit int) (int, error)
}

// Options are the package's settings. The zero value is usable.
type Options struct {
	Delay   time.Duration // before the first run after a start; a minute if zero
	Every   time.Duration // between runs, give or take a fifth; ten minutes if zero
	Batch   int           // how many rows at once at most; 200 if zero, which keeps other writers of SQLite waiting for 30 ms or so
	Batches int           // of one kind in one run at most; 250 if zero
}

// pause is between two batches, so that on SQLite others write in between.
const pause = 20 * time.Millisecond

// batchTime is how long one batch may take.
const batchTime = 30 * time.Second

// Purger runs jobs. It is safe for concurrent use.
type Purger struct {
	jobs    []Job
	log     *slog.Logger
	options Options
}

// New returns a purger. It fails for a job without a name and for two of one name.
func New(p Params) (*Purger, error) {
	seen := map[string]bool{}
	for _, j := range p.Jobs {
		if j.Name == "" || j.Purge == nil || seen[j.Name] {
			return nil, fmt.Errorf("purge: a job needs a name of its own and something to do: %q", j.Name)
		}
		seen[j.Name] = true
	}
	jobs := slices.SortedFunc(slices.Values(p.Jobs), func(a, b Job) int { return strings.Compare(a.Name, b.Name) })
	return &Purger{jobs, cmp.Or(p.Log, slog.Default()).With("module", "purge"), Options{
		Delay: cmp.Or(p.Options.Delay, time.Minute), Every: cmp.Or(p.Options.Every, 10*time.Minute),
		Batch: cmp.Or(p.Options.Batch, 200), Batches: cmp.Or(p.Options.Batches, 250),
	}}, nil
}

// Names are the names of the jobs.
func (p *Purger) Names() []string {
	names := make([]string, len(p.jobs))
	for i, j := range p.jobs {
		names[i] = j.Name
	}
	return names
}

// Run purges now and then until ctx ends. What goes wrong is logged once, until it goes wrong otherwise.
func (p *Purger) Run(ctx context.Context) {
	said := map[string]string{}
	for wait := p.options.Delay; sleep(ctx, about(wait)); wait = p.options.Every {
		for _, j := range p.jobs {
			n, err := p.do(ctx, j, p.options.Batches)
			if n > 0 {
				p.log.Info("purged", "what", j.Name, "rows", n)
			}
			text := ""
			if err != nil && ctx.Err() == nil {
				if text = err.Error(); text != said[j.Name] {
					p.log.Warn("purge", "what", j.Name, "error", err)
				}
			}
			said[j.Name] = text
		}
	}
}

// Removed is what became of one job.
type Removed struct {
	Name string
	Rows int
	Err  error // what ended it before it was done
}

// All runs the named jobs until nothing is left for them; of none named, every one. The error names a job that is none.
func (p *Purger) All(ctx context.Context, only ...string) ([]Removed, error) {
	for _, name := range only {
		if !slices.Contains(p.Names(), name) {
			return nil, fmt.Errorf("nothing is called %q that could be purged; there are %s", name, strings.Join(p.Names(), ", "))
		}
	}
	var all []Removed
	for _, j := range p.jobs {
		if len(only) > 0 && !slices.Contains(only, j.Name) {
			continue
		}
		n, err := p.do(ctx, j, -1)
		all = append(all, Removed{j.Name, n, err})
	}
	return all, nil
}

// do runs a job batch by batch until there is nothing more, or so many times; negative: without end.
func (p *Purger) do(ctx context.Context, j Job, batches int) (total int, err error) {
	for ; batches != 0; batches-- {
		n, err := p.batch(ctx, j)
		total += n
		if err != nil || n == 0 {
			return total, err
		}
		if !sleep(ctx, pause) {
			return total, ctx.Err()
		}
	}
	return total, nil
}

// batch runs a job once. A panic in it is an error.
func (p *Purger) batch(ctx context.Context, j Job) (n int, err error) {
	ctx, cancel := context.WithTimeout(ctx, batchTime)
	defer cancel()
	defer func() {
		if panicked := recover(); panicked != nil {
			err = fmt.Errorf("panic: %v", panicked)
			p.log.Error("panic in a purge", "what", j.Name, "panic", panicked, "stack", string(debug.Stack()))
		}
	}()
	return j.Purge(ctx, p.options.Batch)
}

// about is a time give or take a fifth, so that nodes that start together do not purge together.
func about(d time.Duration) time.Duration {
	fifth := d / 5
	if fifth <= 0 {
		return d
	}
	n, err := rand.Int(rand.Reader, big.NewInt(int64(2*fifth)))
	if err != nil {
		return d
	}
	return d - fifth + time.Duration(n.Int64())
}

// sleep waits so long, and reports false if ctx is over.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
