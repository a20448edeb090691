package httpapi

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey-go/latchkey/modules/user"
)

// The bounds of a query string.
const (
	maxParameters = 1000
	maxValue      = 1024                // bytes
	maxNames      = 2*user.MaxDepth + 3 // of $or[0][created_at][$in][0], say, there are five
)

// parameter is a name and what is below it. Names are written as qs writes them, id[]=a, id[0]=a, created_at[$gte]=a,
// $or[0][email]=a, or with dots, created_at.$gte=a: created_at has no value then, and $gte below it has a.
type parameter struct {
	name   string // in full, as errors show it
	values []string
	keys   []string // of what is below, in the order it came
	below  map[string]*parameter
}

// parse reads a query string. The parameter that it returns has all others below it and no name.
func parse(raw string) (*parameter, error) {
	pairs, err := parseQuery(raw)
	if err != nil {
		return nil, err
	}
	if len(pairs) > maxParameters {
		return nil, errQuery.Msg("Invalid request: there may be at most %d parameters", maxParameters)
	}
	root := new(parameter)
	for _, p := range pairs {
		at := root
		names := split(p[0])
		if len(names) > maxNames {
			return nil, errQuery.Msg("Invalid request: '%s' goes too deep: $and and $or may stand at most %d levels within each other", clean(p[0]), user.MaxDepth)
		}
		for _, key := range names {
			at = at.child(key)
		}
		most := maxValue
		if at.name == "after" || at.name == "before" {
			most = user.MaxCursor
		}
		if len(p[1]) > most {
			return nil, errQuery.Msg("Invalid request: '%s' must be at most %d bytes", clean(at.name), most)
		}
		at.values = append(at.values, p[1])
	}
	return root, nil
}

var bracketed = regexp.MustCompile(`^([^][.]+)((?:\[[^][]*\]|\.[^][.]+)*)$`)

// split takes a name apart: $or[0][email] into $or, 0 and email. One that is not well-formed is a name as it is.
func split(name string) []string {
	m := bracketed.FindStringSubmatch(name)
	if m == nil {
		return []string{name}
	}
	names := []string{m[1]}
	for rest := m[2]; rest != ""; {
		var key string
		if rest[0] == '[' {
			key, rest, _ = strings.Cut(rest[1:], "]")
		} else if end := strings.IndexAny(rest[1:], ".["); end >= 0 {
			key, rest = rest[1:1+end], rest[1+end:]
		} else {
			key, rest = rest[1:], ""
		}
		names = append(names, key)
	}
	return names
}

func (p *parameter) child(key string) *parameter {
	if c := p.below[key]; c != nil {
		return c
	}
	c := &parameter{name: key}
	if p.name != "" {
		c.name = p.name + "[" + key + "]"
	}
	if p.below == nil {
		p.below = map[string]*parameter{}
	}
	p.below[key] = c
	p.keys = append(p.keys, key)
	return c
}

// only refuses what is below the parameter and not allowed, and says what to use instead, if that is told.
func (p *parameter) only(allowed func(key string) bool, use ...string) error {
	var unknown []string
	for _, key := range p.keys {
		if !allowed(key) {
			unknown = append(unknown, "'"+clean(p.below[key].leaf().name)+"'")
		}
	}
	if len(unknown) > 0 {
		text := "Invalid request: Unrecognized fields: " + strings.Join(unknown[:min(len(unknown), 10)], ", ")
		if len(use) > 0 {
			text += "; use " + strings.Join(use, ", ")
		}
		return errQuery.Msg("%s", text)
	}
	return nil
}

// leaf is the first that has a value, of the parameter and what is below it.
func (p *parameter) leaf() *parameter {
	for len(p.values) == 0 {
		p = p.below[p.keys[0]]
	}
	return p
}

// none is a key that nothing has.
func none(string) bool { return false }

// one is the parameter's only value.
func (p *parameter) one() (string, error) {
	if err := p.only(none); err != nil {
		return "", err
	}
	if len(p.values) > 1 {
		return "", errQuery.Msg("Invalid request: %s must be given once", clean(p.name))
	}
	return p.values[0], nil
}

// many are the parameter's values: its own, and those of the list below it.
func (p *parameter) many() ([]string, error) {
	if err := p.only(func(key string) bool { return key == "" || index.MatchString(key) }); err != nil {
		return nil, err
	}
	all := slices.Clone(p.values)
	for _, key := range p.keys {
		if err := p.below[key].only(none); err != nil {
			return nil, err
		}
		all = append(all, p.below[key].values...)
	}
	return all, nil
}

var index = regexp.MustCompile(`^(0|[1-9]\d{0,3})$`)

// query takes out those of the names that were given.
func (p *parameter) query(names []string) (query, error) {
	q := query{}
	for _, name := range names {
		if p.below[name] == nil {
			continue
		}
		v, err := p.below[name].one()
		if err != nil {
			return nil, err
		}
		q[name] = v
	}
	return q, nil
}

// filters are the parameters that say what a list holds, each with what it does to the filter.
type filters[F any] map[string]func(all filters[F], p *parameter, f *F) error

// names are the parameters there are, in the order of the alphabet.
func (all filters[F]) names() []string { return slices.Sorted(maps.Keys(all)) }

// read puts into the filter what is below the parameter.
func (all filters[F]) read(p *parameter, f *F) error {
	for _, key := range p.keys {
		if set := all[key]; set != nil {
			if err := set(all, p.below[key], f); err != nil {
				return err
			}
		}
	}
	return nil
}

// word is a parameter of one value.
func word[F any](set func(f *F, v string)) func(filters[F], *parameter, *F) error {
	return func(_ filters[F], p *parameter, f *F) error {
		v, err := p.one()
		if err == nil {
			set(f, v)
		}
		return err
	}
}

// words is a parameter of any number of values.
func words[F any, T ~string](at func(f *F) *[]T) func(filters[F], *parameter, *F) error {
	return func(_ filters[F], p *parameter, f *F) error {
		values, err := p.many()
		for _, v := range values {
			*at(f) = append(*at(f), T(v))
		}
		return err
	}
}

// members is a parameter of filters like the one it belongs to: $or[0][email]=a&$or[1][email]=b.
func members[F any](at func(f *F) *[]F) func(filters[F], *parameter, *F) error {
	return func(all filters[F], p *parameter, f *F) error {
		slices.SortFunc(p.keys, func(a, b string) int {
			m, _ := strconv.Atoi(a)
			n, _ := strconv.Atoi(b)
			return m - n
		})
		for _, key := range p.keys {
			member := p.below[key]
			if !index.MatchString(key) || len(member.values) > 0 {
				return errMembers(p)
			}
			if err := member.only(func(key string) bool { return all[key] != nil }, all.names()...); err != nil {
				return err
			}
			var m F
			if err := all.read(member, &m); err != nil {
				return err
			}
			*at(f) = append(*at(f), m)
		}
		if len(p.values) > 0 {
			return errMembers(p)
		}
		return nil
	}
}

func errMembers(p *parameter) error {
	name := clean(p.name)
	return errQuery.Msg("Invalid request: '%s' must be a list of conditions with numbers: %s[0][email]=a&%s[1][email]=b", name, name, name)
}
