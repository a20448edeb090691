package httpapi

import (
	"regexp"
	"time"

	"github.com/latchkey-go/latchkey/modules/user"
)

const operators = "$eq, $ne, $in, $nin, $gt, $gte, $lt or $lte"

// times is a parameter that is compared with a time: created_at=…, which is $eq, and created_at[$gte]=… and the like, all
// of which hold.
func times[F any](at func(f *F) *user.Times) func(filters[F], *parameter, *F) error {
	return func(_ filters[F], p *parameter, f *F) error {
		t := at(f)
		if len(p.values) > 0 {
			plain := &parameter{name: p.name, values: p.values}
			if err := compare(t, "$eq", plain); err != nil {
				return err
			}
		}
		for _, operator := range p.keys {
			if err := compare(t, operator, p.below[operator]); err != nil {
				return err
			}
		}
		return nil
	}
}

// compare adds to t what an operator asks. A value stands for all that it is printed for, so that those less, equal and
// greater are everybody: 12:00:00.123 for the whole millisecond.
func compare(t *user.Times, operator string, p *parameter) error {
	switch operator {
	case "$in", "$nin":
		values, err := p.many()
		if err != nil {
			return err
		}
		spans := make([]user.Span, len(values))
		for i, v := range values {
			if spans[i], err = readTime(p.name, v); err != nil {
				return err
			}
		}
		if operator == "$in" {
			t.In = spans
		} else {
			t.NotIn = append(t.NotIn, spans...)
		}
		return nil
	case "$eq", "$ne", "$gt", "$gte", "$lt", "$lte":
	case "$like", "$ilike", "$re", "$contains":
		return errQuery.Msg("Invalid request: '%s' compares text, not times: use %s", clean(p.name), operators)
	default:
		return errQuery.Msg("Invalid request: Unrecognized operator '%s': use %s", clean(p.leaf().name), operators)
	}
	v, err := p.one()
	if err != nil {
		return err
	}
	s, err := readTime(p.name, v)
	if err != nil {
		return err
	}
	from := func(at time.Time) {
		if t.From.IsZero() || at.After(t.From) {
			t.From = at
		}
	}
	until := func(at time.Time) {
		if t.Until.IsZero() || at.Before(t.Until) {
			t.Until = at
		}
	}
	switch operator {
	case "$eq":
		from(s.From)
		until(s.Until)
	case "$ne":
		t.NotIn = append(t.NotIn, s)
	case "$gt":
		from(s.Until)
	case "$gte":
		from(s.From)
	case "$lt":
		until(s.From)
	case "$lte":
		until(s.Until)
	}
	return nil
}

var timestamp = regexp.MustCompile(`^\d{4}-\d\d-\d\d(T\d\d:\d\d(:\d\d(?:\.(\d{1,9}))?)?(?:Z|[+-]\d\d:\d\d))?$`)

// readTime reads a day, which begins at midnight UTC, or a time with its zone. The span is as long as the value is precise:
// a millisecond, which is how precisely answers print times, unless it has more digits.
func readTime(name, text string) (user.Span, error) {
	refused := errQuery.Msg("Invalid request: '%s' must be a time such as 2026-01-31, 2026-01-31T12:00:00.000Z or 2026-01-31T12:00:00+01:00, with + written as %%2B", clean(name))
	m := timestamp.FindStringSubmatch(text)
	if m == nil {
		return user.Span{}, refused
	}
	layout := time.RFC3339Nano
	switch clock, seconds := m[1], m[2]; {
	case clock == "":
		layout = time.DateOnly
	case seconds == "":
		layout = "2006-01-02T15:04Z07:00"
	}
	at, err := time.Parse(layout, text)
	if err != nil || at.UTC().Year() < 1 || at.UTC().Year() > 9999 {
		return user.Span{}, refused
	}
	span := user.Span{From: at.UTC()}
	switch digits := len(m[3]); {
	case digits <= 3:
		span.Until = span.From.Add(time.Millisecond)
	case digits <= 6:
		span.Until = span.From.Add(time.Microsecond)
	default:
		span.Until = span.From.Add(1)
	}
	if span.From.IsZero() {
		span.From = span.From.Add(-1) // the zero time is no bound, not even for what is not there
	}
	return span, nil
}
