// Package benchtest measures what something costs beside the limit it is held against, in the same run.
//
// A machine that others use too is now fast and now slow, so two runs cannot be compared with each other. Here short
// rounds of everything that is compared alternate, and what is reported are medians over the rounds:
//
//	for b.Loop() { a round of each }	the iterations that go test prints are rounds
//
// With -benchtime=1x there is one round, which says whether a benchmark still works and little else.
package benchtest

import (
	"slices"
	"testing"
	"time"
)

// A Subject is something to measure.
type Subject struct {
	// Do does it n times.
	Do func(n int)
	// Prepare makes ready what the next Do of n times needs; its time does not count. nil: nothing.
	Prepare func(n int)
	// Round is about how long a round takes; 10 ms if zero. A round is once at least.
	Round time.Duration
}

// Cost is what doing it once takes, by the median of the rounds.
type Cost struct {
	Wall time.Duration
	CPU  time.Duration // of this process, all its threads; zero where the system does not tell
}

// Less is what is left of a cost without another one; nothing at least.
func (c Cost) Less(other Cost) Cost {
	return Cost{Wall: max(0, c.Wall-other.Wall), CPU: max(0, c.CPU-other.CPU)}
}

// Over is how many times the other's time it takes.
func (c Cost) Over(other Cost) float64 { return float64(c.Wall) / float64(max(1, other.Wall)) }

// Interleave measures the subjects in turns until the benchmark's time is over, and returns what each of them costs.
func Interleave(b *testing.B, subjects ...Subject) []Cost {
	b.Helper()
	times := make([]int, len(subjects))
	for i, s := range subjects {
		times[i] = s.times()
	}
	rounds := make([][]Cost, len(subjects))
	for b.Loop() {
		for i, s := range subjects {
			rounds[i] = append(rounds[i], s.round(times[i]))
		}
	}
	costs := make([]Cost, len(subjects))
	for i, r := range rounds {
		costs[i] = Cost{
			Wall: median(r, func(c Cost) time.Duration { return c.Wall }),
			CPU:  median(r, func(c Cost) time.Duration { return c.CPU }),
		}
	}
	return costs
}

// times finds out how often a round has to do it. It also does it for the first time, which is not measured.
func (s Subject) times() int {
	want := s.Round
	if want == 0 {
		want = 10 * time.Millisecond
	}
	s.round(1)
	for n := 1; ; {
		once := s.round(n).Wall
		if took := time.Duration(n) * once; took >= want/2 {
			return max(1, int(want/max(1, once)))
		}
		n = min(10*n, max(2*n, int(want/max(1, once))))
	}
}

func (s Subject) round(n int) Cost {
	if s.Prepare != nil {
		s.Prepare(n)
	}
	cpu, start := cpuTime(), time.Now()
	s.Do(n)
	wall := time.Since(start)
	return Cost{Wall: wall / time.Duration(n), CPU: (cpuTime() - cpu) / time.Duration(n)}
}

func median(costs []Cost, of func(Cost) time.Duration) time.Duration {
	all := make([]time.Duration, len(costs))
	for i, c := range costs {
		all[i] = of(c)
	}
	slices.Sort(all)
	return (all[(len(all)-1)/2] + all[len(all)/2]) / 2
}
