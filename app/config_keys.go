// The table of known keys, made from the tags of Config.

package app

import (
	"encoding/base64"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// known is the one table of all keys, made from the tags of Config.
var known = newTable()

// table knows keys by their pattern: the key, with * where a name stands that the
// configuration gives, as in link.actors.*.policy.
type table struct {
	settings []*setting // in the order of Config
	names    []*names
	byKey    map[string]*setting // by pattern
	sections map[string]*names   // by pattern; nil where the keys inside are fixed
}

// setting is what is known of one key.
type setting struct {
	pattern  string
	index    []int // of the field, in Config or, if named is set, in the named struct
	typ      reflect.Type
	def      string
	oneof    []string
	min, max int
	named    *names // the names that stand for * in pattern, or nil
	whole    bool   // the value is what stands under the name, not a field of it
	free     bool   // the sections of providers, whose settings are not ours to know
}

// names is a section whose keys the configuration gives.
type names struct {
	pattern string
	index   []int    // of the map, in Config
	entries []string // those that are always there, each perhaps with = and what it is by default
	syntax  *regexp.Regexp
	what    string
	ruledBy []string // names that would shadow routes
}

var (
	providerSyntax    = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	actorSyntax       = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	roleSyntax        = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9_-]{0,63}$`)
	reservedActors    = []string{"session", "sessions", "token", "verification", "mfa", "providers", "provider-identities"}
	reservedProviders = append(slices.Clone(reservedActors), "user")
)

func newTable() *table {
	t := &table{byKey: make(map[string]*setting), sections: map[string]*names{"": nil}}
	t.add(reflect.TypeFor[Config](), "", nil, nil)
	return t
}

func (t *table) add(structType reflect.Type, section string, index []int, named *names) {
	for field := range structType.Fields() {
		name, ok := field.Tag.Lookup("key")
		if !ok {
			continue
		}
		pattern, at := join(section, name), append(slices.Clone(index), field.Index...)
		switch {
		case field.Type == reflect.TypeFor[ProviderSettings]():
			n := &names{pattern: pattern, index: at, syntax: providerSyntax, what: "a provider", ruledBy: reservedProviders}
			t.names = append(t.names, n)
			t.sections[pattern] = n
			t.addSetting(&setting{pattern: pattern + ".*", named: n, free: true})
		case field.Type == reflect.TypeFor[map[string][]string]():
			n := &names{pattern: pattern, index: at, syntax: roleSyntax, what: "a role", entries: strings.Fields(field.Tag.Get("entries"))}
			t.names = append(t.names, n)
			t.sections[pattern] = n
			t.addSetting(&setting{pattern: pattern + ".*", typ: field.Type.Elem(), named: n, whole: true})
		case field.Type.Kind() == reflect.Map:
			n := &names{pattern: pattern, index: at, syntax: actorSyntax, what: "an actor type", ruledBy: reservedActors,
				entries: strings.Fields(field.Tag.Get("entries"))}
			t.names = append(t.names, n)
			t.sections[pattern], t.sections[pattern+".*"] = n, nil
			t.add(field.Type.Elem(), pattern+".*", nil, n)
		case field.Type.Kind() == reflect.Struct && field.Type != reflect.TypeFor[Secret]():
			t.sections[pattern] = nil
			t.add(field.Type, pattern, at, named)
		default:
			s := &setting{pattern: pattern, index: at, typ: field.Type, def: field.Tag.Get("def"), named: named,
				min: number(field.Tag.Get("min"), math.MinInt), max: number(field.Tag.Get("max"), math.MaxInt)}
			if oneof := field.Tag.Get("oneof"); oneof != "" {
				s.oneof = strings.Split(oneof, "|")
			}
			t.addSetting(s)
		}
	}
}

func (t *table) addSetting(s *setting) {
	t.settings = append(t.settings, s)
	t.byKey[s.pattern] = s
}

// each goes through all settings of c by key, with every name that c has for a *.
func (t *table) each(c *Config) func(yield func(string, *setting) bool) {
	return func(yield func(string, *setting) bool) {
		for i, s := range t.settings {
			if s.named == nil {
				if !yield(s.pattern, s) {
					return
				}
				continue
			}
			if i > 0 && t.settings[i-1].named == s.named {
				continue // done with the first of them: one name after the other
			}
			for _, name := range s.named.of(c) {
				for _, s := range t.settings[i:] {
					if s.named == t.settings[i].named && !yield(s.key(name), s) {
						return
					}
				}
			}
		}
	}
}

const envPrefix = "LATCHKEY_"

// variable is the name in the environment of a key, or the beginning of such a name.
func variable(key string) string {
	return envPrefix + strings.ToUpper(strings.NewReplacer(".", "_", "-", "_").Replace(key))
}

// key is the setting's key, with the name for the *, if its pattern has one.
func (s *setting) key(name string) string { return strings.Replace(s.pattern, "*", name, 1) }

// name is what stands for the * in a key of this setting; "" if its pattern has none.
func (s *setting) name(key string) string {
	if s.named == nil {
		return ""
	}
	before, after, _ := strings.Cut(s.pattern, "*")
	return key[len(before) : len(key)-len(after)]
}

func (s *setting) get(c *Config, key string) reflect.Value {
	root := reflect.ValueOf(c).Elem()
	if s.named != nil {
		root = root.FieldByIndex(s.named.index).MapIndex(reflect.ValueOf(s.name(key)))
	}
	if s.whole {
		return root
	}
	return root.FieldByIndex(s.index)
}

func (s *setting) set(c *Config, key string, value reflect.Value) {
	root := reflect.ValueOf(c).Elem()
	if s.named == nil {
		root.FieldByIndex(s.index).Set(value)
		return
	}
	name := s.name(key)
	s.named.ensure(c, name)
	all := root.FieldByIndex(s.named.index)
	changed := reflect.New(all.Type().Elem()).Elem()
	changed.Set(all.MapIndex(reflect.ValueOf(name)))
	if s.whole {
		changed.Set(value)
	} else {
		changed.FieldByIndex(s.index).Set(value)
	}
	all.SetMapIndex(reflect.ValueOf(name), changed)
}

// mustSetDefault sets the default in the struct that has this setting.
func (s *setting) mustSetDefault(in reflect.Value) { in.FieldByIndex(s.index).Set(s.mustParse(s.def)) }

// mustParse reads a default. One that cannot be read is a mistake in Config.
func (s *setting) mustParse(def string) reflect.Value {
	texts := []string{def}
	if s.isList() {
		texts = splitList(def)
	}
	value, ok := s.parse(texts)
	if !ok {
		panic("app.Config: unreadable default of " + s.pattern)
	}
	return value
}

// of lists the names that c has, sorted.
func (n *names) of(c *Config) []string {
	var all []string
	for _, key := range reflect.ValueOf(c).Elem().FieldByIndex(n.index).MapKeys() {
		all = append(all, key.String())
	}
	slices.Sort(all)
	return all
}

// ensure gives c an entry of that name, with its defaults, unless it has it.
func (n *names) ensure(c *Config, name string) {
	all := reflect.ValueOf(c).Elem().FieldByIndex(n.index)
	if all.IsNil() {
		all.Set(reflect.MakeMap(all.Type()))
	}
	if all.MapIndex(reflect.ValueOf(name)).IsValid() {
		return
	}
	entry := reflect.New(all.Type().Elem()).Elem()
	if entry.Kind() == reflect.Map {
		entry.Set(reflect.MakeMap(entry.Type()))
	} else {
		for _, s := range known.settings {
			switch {
			case s.named != n:
			case s.whole:
				entry.Set(s.mustParse(n.byDefault(name)))
			default:
				s.mustSetDefault(entry)
			}
		}
	}
	all.SetMapIndex(reflect.ValueOf(name), entry)
}

// byDefault is what an entry is unless something else is said.
func (n *names) byDefault(name string) string {
	for _, entry := range n.entries {
		if def, ok := strings.CutPrefix(entry, name+"="); ok {
			return def
		}
	}
	return ""
}

// wrong says what is wrong with a name, or "".
func (n *names) wrong(name string) string {
	switch {
	case !n.syntax.MatchString(name):
		return "this cannot be the name of " + n.what + ": use " + strings.Trim(n.syntax.String(), "^$")
	case slices.Contains(n.ruledBy, name):
		return "this cannot be the name of " + n.what + ", because it would hide a route: choose another"
	}
	return ""
}

func (s *setting) isList() bool { return s.typ.Kind() == reflect.Slice }

// want says what the setting must be, by its type and tags.
func (s *setting) want() string {
	switch {
	case s.oneof != nil:
		return "must be one of " + strings.Join(s.oneof, ", ")
	case s.typ == reflect.TypeFor[time.Duration]() && s.min == 0:
		return "must be a duration, such as " + s.def + ", or 0"
	case s.typ == reflect.TypeFor[time.Duration]():
		return "must be a duration above zero, such as " + s.def
	case s.typ.Kind() == reflect.Int && s.max < math.MaxInt:
		return fmt.Sprintf("must be a whole number from %d to %d", s.min, s.max)
	case s.typ.Kind() == reflect.Int:
		return fmt.Sprintf("must be a whole number of at least %d", s.min)
	case s.typ.Kind() == reflect.Bool:
		return "must be true or false"
	case s.isList():
		return "must be a list of texts (in the environment: separated by commas)"
	default:
		return "must be a text; put it in quotes"
	}
}

// parse makes a value of the setting's type from its text or, for a list, texts.
func (s *setting) parse(texts []string) (value reflect.Value, ok bool) {
	value = reflect.New(s.typ).Elem()
	switch into := value.Addr().Interface().(type) {
	case *string:
		*into = texts[0]
	case *DSN:
		*into = DSN(texts[0])
	case *Secret: // a text that somebody else has given; lists are of secrets that were made for us
		*into = NewSecret([]byte(texts[0]))
	case *int:
		n, err := strconv.Atoi(texts[0])
		if err != nil || len(texts[0]) > 1 && texts[0][0] == '0' { // 012 is octal to some readers
			return value, false
		}
		*into = n
	case *bool:
		if *into = texts[0] == "true"; !*into && texts[0] != "false" {
			return value, false
		}
	case *time.Duration:
		d, err := time.ParseDuration(texts[0])
		if err != nil {
			return value, false
		}
		*into = d
	case *[]string:
		*into = append([]string{}, texts...)
	case *[]netip.Prefix:
		*into = make([]netip.Prefix, len(texts))
		for i, text := range texts {
			(*into)[i] = parsePrefix(text) // an unreadable one is the zero value, which validate refuses
		}
	case *[]Secret:
		*into = make([]Secret, len(texts))
		for i, text := range texts {
			(*into)[i] = parseSecret(text) // likewise
		}
	default:
		panic("app.Config: no way to read " + s.pattern)
	}
	return value, true
}

func parsePrefix(text string) netip.Prefix {
	if ip, err := netip.ParseAddr(text); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen())
	}
	prefix, err := netip.ParsePrefix(text)
	if err != nil || prefix.Addr().Is4In6() {
		return netip.Prefix{}
	}
	return prefix.Masked()
}

func parseSecret(text string) Secret {
	for _, encoding := range []*base64.Encoding{base64.RawURLEncoding, base64.URLEncoding} {
		if b, err := encoding.DecodeString(text); err == nil {
			return NewSecret(b)
		}
	}
	return Secret{}
}
