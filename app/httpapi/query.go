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

// query is the parameters of a request that stand for themselves, by name, each given once.
type query map[string]string

// readQuery refuses every parameter that is not allowed.
func readQuery(c *call, allowed ...string) (query, error) {
	root, err := parse(c.URL.RawQuery)
	if err != nil {
		return nil, err
	}
	if err := root.only(func(name string) bool { return slices.Contains(allowed, name) }, allowed...); err != nil {
		return nil, err
	}
	return root.query(allowed)
}

// readList reads the parameters of a list: its filter, and, beside them, those that every list takes and the allowed ones.
func readList[F any](c *call, of filters[F], allowed ...string) (q query, f F, err error) {
	return readOnly(c, of, append(allowed, "limit", "offset", "after", "before", "order", "fields")...)
}

// readOnly is readList of a list that takes the filter and the allowed ones alone.
func readOnly[F any](c *call, of filters[F], allowed ...string) (q query, f F, err error) {
	root, err := parse(c.URL.RawQuery)
	if err != nil {
		return nil, f, err
	}
	names := append(slices.Clone(allowed), of.names()...)
	if err := root.only(func(name string) bool { return slices.Contains(names, name) }, names...); err != nil {
		return nil, f, err
	}
	if q, err = root.query(allowed); err != nil {
		return nil, f, err
	}
	return q, f, of.read(root, &f)
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

var integer = regexp.MustCompile(`^\+?\d+(\.\d*)?$`)

// number reads a whole number of 0 to most; what follows the point is dropped, as Medusa does.
func (q query) number(name string, otherwise, most int) (int, error) {
	given, ok := q[name]
	if !ok {
		return otherwise, nil
	}
	if strings.HasPrefix(given, "-") {
		return 0, errQuery.Msg("Invalid request: %s must not be negative", name)
	}
	if !integer.MatchString(given) {
		return 0, errQuery.Msg("Invalid request: Expected type: 'number' for field '%s', got: 'string'", name)
	}
	whole, _, _ := strings.Cut(strings.TrimPrefix(given, "+"), ".")
	n, err := strconv.Atoi(whole)
	if err != nil || n > most {
		return 0, errQuery.Msg("Invalid request: %s must be at most %d", name, most)
	}
	return n, nil
}

// truth reads true or false; false if it was not given or is empty.
func (q query) truth(name string) (bool, error) {
	switch q[name] {
	case "", "false":
		return false, nil
	case "true":
		return true, nil
	default:
		return false, errQuery.Msg("Invalid request: Expected type: 'boolean' for field '%s', got: 'string'", name)
	}
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
	return user.Page{Limit: limit, Offset: offset, Order: q["order"]}, nil
}

// shown is the limit of a page as an answer repeats it.
func shown(p user.Page) int { return max(0, p.Limit) }
