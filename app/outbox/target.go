package outbox

import (
	"maps"
	"slices"
	"time"
)

// crowd is who has the workers.
type crowd struct {
	of     map[string]int  // how many streams of each target are at work
	slow   map[string]bool // the targets that are slow now
	atSlow int             // how many streams of those are at work
}

// crowd also has a target be slow that has kept a worker for long and is not done.
func (l *lane) crowd() crowd {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := crowd{of: map[string]int{}, slow: map[string]bool{}}
	maps.Copy(c.slow, l.slow)
	for s, w := range l.busy {
		c.of[s.target]++
		if time.Since(w.since) > slowTime {
			c.slow[s.target] = true
		}
	}
	for target := range c.slow {
		c.atSlow += c.of[target]
	}
	return c
}

// take has a stream have one more worker, if its target may.
func (c *crowd) take(target string) bool {
	if c.of[target] >= targetWorkers || c.slow[target] && c.atSlow >= slowWorkers {
		return false
	}
	c.of[target]++
	if c.slow[target] {
		c.atSlow++
	}
	return true
}

// tell says whether a target has taken an event. One that fails with the events of several aggregates is down: it is given a pause,
// longer each time, in which what waits for it uses up no attempts.
func (l *lane) tell(target, aggregate string, taken bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if taken {
		delete(l.failing, target)
		return
	}
	if l.failing == nil {
		l.failing = map[string]*trouble{}
	}
	t := l.failing[target]
	if t == nil {
		t = &trouble{aggregates: map[string]bool{}}
		l.failing[target] = t
	}
	if len(t.aggregates) < targetWorkers {
		t.aggregates[aggregate] = true
	}
	if now := time.Now(); len(t.aggregates) == targetWorkers && now.After(t.until) {
		t.pauses++
		t.until = now.Add(min(backoff(t.pauses), maxPause))
	}
}

// warns reports whether a failure of a target is worth a warning: one that is down fails with whatever waits for it, so a warning a
// minute will do.
func (l *lane) warns(target string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if last, ok := l.warned[target]; ok && time.Since(last) < time.Minute {
		return false
	}
	if l.warned == nil {
		l.warned = map[string]time.Time{}
	}
	l.warned[target] = time.Now()
	return true
}

// took says how long an event of a target has taken.
func (l *lane) took(target string, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if d <= slowTime {
		delete(l.slow, target)
		return
	}
	if l.slow == nil {
		l.slow = map[string]bool{}
	}
	l.slow[target] = true
}

// share leaves out what would give a target more workers than it may have, or all those that are slow together: else a few that
// hang would keep every worker, and nobody would be told anything.
func (l *lane) share(heads []head) []head {
	if !l.consumers[0].targets {
		return heads
	}
	c := l.crowd()
	return slices.DeleteFunc(heads, func(h head) bool { return !c.take(h.Target) })
}

// trouble is a target that fails.
type trouble struct {
	aggregates map[string]bool // of which an event has failed, a few of them: if it is one alone, that may be what is wrong
	pauses     int
	until      time.Time // nothing is sent before then
}
