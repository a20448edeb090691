package httpapi

import (
	"math"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

var errQuery = fault.New(fault.Invalid, "invalid_request", "Invalid request.")

// maxLimit is the longest page.
const maxLimit = 1000

// query is the parameters of a request, read against an allow-list. Lists are written as qs writes them: id=a, id[]=a or
// id[0]=a.
type query struct {
	values map[string][]string
	lists  map[string]bool // which were written as lists
}

var indexed = regexp.MustCompile(`^([a-z_]+)\[\d{0,4}\]$`)

// readQuery refuses every parameter that is not allowed. Those ending in [] may be lists.
func readQuery(c *call, allowed ...string) (query, error) {
	raw, err := parseQuery(c.URL.RawQuery)
	if err != nil {
		return query{}, err
	}
	q := query{map[string][]string{}, map[string]bool{}}
	var unknown []string
	for _, p := range raw {
		name, list := p[0], false
		if m := indexed.FindStringSubmatch(name); m != nil {
			name, list = m[1], true
		}
		switch {
		case slices.Contains(allowed, name+"[]"), !list && slices.Contains(allowed, name):
			q.values[name] = append(q.values[name], p[1])
			q.lists[name] = q.lists[name] || list
		default:
			unknown = append(unknown, "'"+clean(p[0])+"'")
		}
	}
	if len(unknown) > 0 {
		return query{}, errQuery.Msg("Invalid request: Unrecognized fields: %s", strings.Join(unknown[:min(len(unknown), 10)], ", "))
	}
	for name, values := range q.values {
		if len(values) > 1 && !slices.Contains(allowed, name+"[]") {
			return query{}, errQuery.Msg("Invalid request: %s must be given once", name)
		}
	}
	return q, nil
}

// parseQuery splits a query string in its order, refusing what is not text.
func parseQuery(raw string) (pairs [][2]string, err error) {
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, _ := strings.Cut(part, "=")
		name, err := unescape(name)
		if err != nil {
			return nil, err
		}
		if value, err = unescape(value); err != nil {
			return nil, err
		}
		pairs = append(pairs, [2]string{name, value})
	}
	return pairs, nil
}

func unescape(s string) (string, error) {
	s, err := url.QueryUnescape(s)
	if err != nil || !utf8.ValidString(s) || strings.ContainsRune(s, 0) {
		return "", errQuery.Msg("Invalid request: the query string is not well-formed text")
	}
	return s, nil
}

func (q query) get(name string) string {
	if v := q.values[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// pointer is the parameter's value; nil if it was not given.
func (q query) pointer(name string) *string {
	if v := q.values[name]; len(v) > 0 {
		return &v[0]
	}
	return nil
}

var integer = regexp.MustCompile(`^\+?\d+(\.\d*)?$`)

// number reads a whole number of 0 to most; what follows the point is dropped, as Medusa does.
func (q query) number(name string, otherwise, most int) (int, error) {
	given, ok := q.values[name]
	if !ok {
		return otherwise, nil
	}
	if strings.HasPrefix(given[0], "-") {
		return 0, errQuery.Msg("Invalid request: %s must not be negative", name)
	}
	if !integer.MatchString(given[0]) {
		return 0, errQuery.Msg("Invalid request: Expected type: 'number' for field '%s', got: 'string'", name)
	}
	whole, _, _ := strings.Cut(strings.TrimPrefix(given[0], "+"), ".")
	n, err := strconv.Atoi(whole)
	if err != nil || n > most {
		return 0, errQuery.Msg("Invalid request: %s must be at most %d", name, most)
	}
	return n, nil
}

// page reads limit, offset and order.
func (q query) page() (user.Page, error) {
	limit, err := q.number("limit", user.DefaultLimit, maxLimit)
	if err != nil {
		return user.Page{}, err
	}
	offset, err := q.number("offset", 0, math.MaxInt32)
	if err != nil {
		return user.Page{}, err
	}
	if limit == 0 {
		limit = user.CountOnly
	}
	return user.Page{Limit: limit, Offset: offset, Order: q.get("order")}, nil
}

// shown is the limit of a page as an answer repeats it.
func shown(p user.Page) int { return max(0, p.Limit) }

// list reads a parameter that may be given more than once; nil if it was not given.
func list[T ~string](q query, name string) []T {
	given, ok := q.values[name]
	if !ok {
		return nil
	}
	out := make([]T, len(given))
	for i, v := range given {
		out[i] = T(v)
	}
	return out
}
