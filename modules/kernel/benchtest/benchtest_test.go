package benchtest

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestARoundIsPreparedForWhatItDoesAndCountsOnlyThat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		prepared, done := 0, 0
		s := Subject{
			Round:   time.Second,
			Prepare: func(n int) { prepared = n; time.Sleep(time.Hour) },
			Do: func(n int) {
				if n != prepared {
					t.Errorf("%d are done and %d were prepared", n, prepared)
				}
				done += n
				time.Sleep(time.Duration(n) * 3 * time.Millisecond)
			},
		}
		if c := s.round(7); c.Wall != 3*time.Millisecond || done != 7 {
			t.Errorf("%d were done for %v each, want 7 for 3ms", done, c.Wall)
		}
		if n := s.times(); n != 333 {
			t.Errorf("a round of a second does %d of 3ms, want 333", n)
		}
		s.Round = time.Millisecond
		if n := s.times(); n != 1 {
			t.Errorf("a round shorter than once does %d, want one", n)
		}
	})
}

func TestTheMedianIsTheMiddle(t *testing.T) {
	for want, of := range map[time.Duration][]time.Duration{3: {9, 3, 1}, 4: {1, 5, 3, 900}, 7: {7}} {
		var costs []Cost
		for _, d := range of {
			costs = append(costs, Cost{Wall: d})
		}
		if got := median(costs, func(c Cost) time.Duration { return c.Wall }); got != want {
			t.Errorf("the median of %v is %d, want %d", of, got, want)
		}
	}
}

func TestACostIsComparedByItsTime(t *testing.T) {
	a, b := Cost{Wall: 6, CPU: 4}, Cost{Wall: 4, CPU: 5}
	if got, want := a.Less(b), (Cost{Wall: 2}); got != want {
		t.Errorf("%v, want %v: nothing is less than nothing", got, want)
	}
	if got := a.Over(b); got != 1.5 {
		t.Errorf("%v times, want 1.5", got)
	}
}
