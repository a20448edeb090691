package console

import "time"

// moment is a time as pages show it: in words, and exactly.
type moment struct {
	Machine string // RFC 3339, by which the script shows the time of the viewer's zone
	Exact   string
	Unit    string // seconds, minutes, hours or days
	N       int    // of the units
	Future  bool
}

// when is the time as pages show it; nil for none. t is a time.Time or a pointer to one.
func when(t any) *moment {
	var at time.Time
	switch t := t.(type) {
	case time.Time:
		at = t
	case *time.Time:
		if t != nil {
			at = *t
		}
	}
	if at.IsZero() {
		return nil
	}
	return momentAt(at.UTC(), time.Now())
}

func momentAt(at, now time.Time) *moment {
	m := &moment{Machine: at.Format(time.RFC3339), Exact: at.Format("2006-01-02 15:04:05 UTC")}
	d := now.Sub(at)
	if d < 0 {
		m.Future, d = true, -d
		if d > time.Minute {
			d = d.Round(time.Minute) // what has just been said to be in a day is not in 23 hours
		}
	}
	for _, unit := range []struct {
		name string
		is   time.Duration
	}{{"days", 24 * time.Hour}, {"hours", time.Hour}, {"minutes", time.Minute}} {
		if d >= unit.is {
			m.Unit, m.N = unit.name, int(d/unit.is)
			return m
		}
	}
	m.Unit = "seconds"
	return m
}
