package app

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// Config is everything that can be set from outside. Begin with DefaultConfig or
// LoadConfig; a Config made by hand is checked by Validate.
//
// The tags are the single source of what is known: key is the name in the file,
// from which the name in the environment is derived; def is the default, written
// as in the environment; oneof, min and max say what is possible. The rest of
// what a value must be is in checks, and what several values must be together is
// in (*Config).together.
type Config struct {
	Env      string         `key:"env" def:"development" oneof:"development|production"`
	HTTP     HTTPConfig     `key:"http"`
	Database DatabaseConfig `key:"database"`
	// DataDir is the directory of all files this program makes by itself.
	DataDir string `key:"data_dir" def:"./data"`
	// Secrets are the master secrets: the first signs, all verify. None is fine in
	// development on SQLite: one is made and kept in DataDir then.
	Secrets []Secret     `key:"secrets" def:""`
	Auth    AuthConfig   `key:"auth"`
	Link    LinkConfig   `key:"link"`
	Invite  InviteConfig `key:"invite"`
	Log     LogConfig    `key:"log"`

	// sources says where a value came from, by key: sourceFile, or the name of a
	// variable behind sourceEnv. What is not in it is a default.
	sources map[string]string
}

// HTTPConfig says where the server listens and whom it trusts.
type HTTPConfig struct {
	Addr string `key:"addr" def:"127.0.0.1:9000"`
	// PublicURL is what people type: scheme, host and perhaps a port. Empty means
	// that it follows from Addr; URL answers for both.
	PublicURL string `key:"public_url" def:""`
	// TrustedProxies are the peers whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix `key:"trusted_proxies" def:""`
	// CORSOrigins are the origins whose pages may call with credentials, exactly as
	// browsers write them.
	CORSOrigins []string `key:"cors_origins" def:""`
}

// DatabaseConfig chooses the database.
type DatabaseConfig struct {
	// URL is empty (SQLite in the file latchkey.db of the data directory),
	// sqlite:PATH, relative to the working directory, or a postgres:// address.
	URL      DSN `key:"url" def:""`
	MaxConns int `key:"max_conns" def:"16" min:"2"`
}

// AuthConfig is the configuration of the auth module.
type AuthConfig struct {
	Password  PasswordConfig   `key:"password"`
	Token     TokenConfig      `key:"token"`
	Providers ProviderSettings `key:"providers"`
}

// ProviderSettings are the settings of each provider, by its id, as they were
// written: the provider's constructor decodes them, and refuses what it does not
// know. A value is a string, int, float64, bool, []any or map[string]any; one from
// the environment or from a file: reference is always a string, so a constructor
// must accept its numbers, durations, switches and comma-separated lists as
// strings, too.
type ProviderSettings map[string]map[string]any

// String names the providers only, because some of their settings are secret.
func (p ProviderSettings) String() string {
	return strings.Join(slices.Sorted(maps.Keys(p)), ",")
}

func (p ProviderSettings) GoString() string             { return p.String() }
func (p ProviderSettings) LogValue() slog.Value         { return slog.StringValue(p.String()) }
func (p ProviderSettings) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// PasswordConfig says what hashing passwords may cost.
type PasswordConfig struct {
	BcryptCost int `key:"bcrypt_cost" def:"12" min:"4" max:"31"`
	// MaxWait is how long a caller may wait for a turn; who would wait longer is
	// turned away at once.
	MaxWait time.Duration `key:"max_wait" def:"3s"`
}

// TokenConfig is about access tokens.
type TokenConfig struct {
	Alg string        `key:"alg" def:"EdDSA" oneof:"EdDSA|HS256"`
	TTL time.Duration `key:"ttl" def:"24h"`
}

// LinkConfig is the configuration of the link layer.
type LinkConfig struct {
	// Actors are the actor types that can sign in, by name; user is always there.
	Actors map[string]ActorConfig `key:"actors" entries:"user"`
}

// ActorConfig says what happens at an actor type's first sign-in, and which
// providers it may use.
type ActorConfig struct {
	Policy    string   `key:"policy" def:"auto" oneof:"auto|invite|manual"`
	Providers []string `key:"providers" def:"emailpass"`
}

// InviteConfig is about invites.
type InviteConfig struct {
	DefaultRoles []string      `key:"default_roles" def:"admin"`
	TTL          time.Duration `key:"ttl" def:"24h"`
}

// LogConfig says how much is logged and in which form.
type LogConfig struct {
	Level  string `key:"level" def:"info" oneof:"debug|info|warn|error"`
	Format string `key:"format" def:"auto" oneof:"auto|text|json"` // auto: text in a terminal, JSON otherwise
}

// LoadArgs says where LoadConfig looks.
type LoadArgs struct {
	// Path is a file that must exist. Empty means config.yaml in Dir, if it is there.
	Path string
	// Environ is the environment, as os.Environ gives it; nil is an empty one.
	Environ []string
	// Dir is where config.yaml and a relative Path are looked up; empty means the
	// working directory. Relative paths inside the configuration stay as written.
	Dir string
}

// LoadConfig puts the configuration together from the defaults, the file and the
// environment, of which the later wins. Its error is Problems: all that is wrong,
// at once, without any value.
func LoadConfig(args LoadArgs) (*Config, error) {
	l := loader{config: DefaultConfig(), bad: make(map[string]bool)}
	l.readFile(args)
	l.readEnviron(args.Environ)
	l.problems = append(l.problems, l.config.validate(l.bad)...)
	if len(l.problems) > 0 {
		return nil, l.problems
	}
	return l.config, nil
}

// DefaultConfig is the configuration that nobody has changed.
func DefaultConfig() *Config {
	c := &Config{sources: make(map[string]string)}
	for _, s := range known.settings {
		if s.named == nil {
			s.mustSetDefault(reflect.ValueOf(c).Elem())
		}
	}
	for _, n := range known.names {
		for _, name := range n.entries {
			n.ensure(c, name)
		}
	}
	c.Auth.Providers = make(ProviderSettings)
	return c
}

// Validate says everything that is wrong with c, as Problems, or nil.
func (c *Config) Validate() error {
	if problems := c.validate(nil); len(problems) > 0 {
		return problems
	}
	return nil
}

// Production reports whether c is meant for production.
func (c *Config) Production() bool { return c.Env == "production" }

// URL is the address under which people reach the server, without a slash at the
// end: PublicURL or, if that is empty, what follows from Addr.
func (h HTTPConfig) URL() string {
	if h.PublicURL != "" {
		return strings.TrimSuffix(h.PublicURL, "/")
	}
	host, port, err := net.SplitHostPort(h.Addr)
	if err != nil {
		return "http://" + h.Addr
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	return "http://" + net.JoinHostPort(host, port)
}

// Setting is one line of what is in force.
type Setting struct {
	Key    string
	Value  string // without secrets
	Source string // "default", "file" or "env LATCHKEY_…"
}

const (
	sourceDefault = "default"
	sourceFile    = "file"
	sourceEnv     = "env "
)

// Effective lists every setting in the order of config.yaml, actor types and
// providers by name. Nothing in it is secret: it may be printed.
func (c *Config) Effective() []Setting {
	var settings []Setting
	add := func(key, value string) {
		settings = append(settings, Setting{key, value, cmp.Or(c.sources[key], sourceDefault)})
	}
	for key, s := range known.each(c) {
		if s.free {
			for _, name := range slices.Sorted(maps.Keys(c.Auth.Providers[s.name(key)])) {
				add(key+"."+name, printFree(name, c.Auth.Providers[s.name(key)][name]))
			}
			continue
		}
		add(key, printValue(s.get(c, key)))
	}
	return settings
}

// openSettings are the settings of providers that are known to be no secret. What
// a third party's provider has is not ours to judge, so all others are hidden.
var openSettings = []string{"type", "display_name", "issuer", "client_id", "scopes"}

func printFree(name string, value any) string {
	if slices.Contains(openSettings, name) {
		return fmt.Sprint(value)
	}
	return redacted
}

func printValue(v reflect.Value) string {
	if v.Kind() == reflect.Slice {
		texts := make([]string, v.Len())
		for i := range texts {
			texts[i] = printValue(v.Index(i))
		}
		return strings.Join(texts, ",")
	}
	text := fmt.Sprint(v.Interface())
	if _, ok := v.Interface().(time.Duration); !ok {
		return text
	}
	for _, zero := range []string{"0s", "0m"} { // 24h0m0s is 24h
		if before, ok := strings.CutSuffix(text, zero); ok && strings.ContainsAny(before[len(before)-1:], "hm") {
			text = before
		}
	}
	return text
}

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Where string // a key, a variable or a file
	What  string // what is wrong and what to do; never a value
}

func (p Problem) String() string { return p.Where + ": " + p.What }

// Problems is everything that is wrong with a configuration, a line each.
type Problems []Problem

func (p Problems) Error() string {
	lines := make([]string, len(p))
	for i := range p {
		lines[i] = p[i].String()
	}
	return strings.Join(lines, "\n")
}

const redacted = "[redacted]"

// Secret is bytes that do not show in texts, logs or JSON. The zero value is empty.
type Secret struct {
	bytes *[]byte // behind a pointer, because fmt prints the unexported fields of unexported fields
}

// NewSecret hides a copy of b.
func NewSecret(b []byte) Secret {
	b = bytes.Clone(b)
	return Secret{&b}
}

// Bytes returns a copy of what is hidden.
func (s Secret) Bytes() []byte {
	if s.bytes == nil {
		return nil
	}
	return bytes.Clone(*s.bytes)
}

func (s Secret) String() string               { return redacted }
func (s Secret) GoString() string             { return redacted }
func (s Secret) LogValue() slog.Value         { return slog.StringValue(redacted) }
func (s Secret) MarshalJSON() ([]byte, error) { return []byte(`"` + redacted + `"`), nil }
func (s Secret) MarshalText() ([]byte, error) { return []byte(redacted), nil }

// DSN is the address of a database. Converted to a string it is whole; printed,
// logged or marshalled it is without its password.
type DSN string

// SQLitePath is the path of a sqlite: address; ok is false for all others.
func (d DSN) SQLitePath() (path string, ok bool) { return strings.CutPrefix(string(d), "sqlite:") }

// Postgres reports whether the database is PostgreSQL.
func (d DSN) Postgres() bool {
	return strings.HasPrefix(string(d), "postgres://") || strings.HasPrefix(string(d), "postgresql://")
}

func (d DSN) String() string {
	if _, ok := d.SQLitePath(); ok || d == "" {
		return string(d)
	}
	u, err := url.Parse(string(d))
	if err != nil || !d.Postgres() {
		return redacted
	}
	query := u.Query()
	for name := range query {
		if strings.Contains(name, "password") {
			query.Set(name, "xxxxx")
		}
	}
	u.RawQuery = query.Encode()
	return u.Redacted()
}

func (d DSN) GoString() string             { return strconv.Quote(d.String()) }
func (d DSN) LogValue() slog.Value         { return slog.StringValue(d.String()) }
func (d DSN) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// ----------------------------------------------------------------------------
// The table of known keys

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
	free     bool   // the sections of providers, whose settings are not ours to know
}

// names is a section whose keys the configuration gives.
type names struct {
	pattern string
	index   []int    // of the map, in Config
	entries []string // those that are always there
	syntax  *regexp.Regexp
	what    string
	ruledBy []string // names that would shadow routes
}

var (
	providerSyntax    = regexp.MustCompile(`^[a-z][a-z0-9-]*$`)
	actorSyntax       = regexp.MustCompile(`^[a-z][a-z0-9_]*$`)
	reservedActors    = []string{"session", "sessions", "token", "verification", "mfa", "providers"}
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
		case field.Type.Kind() == reflect.Map:
			n := &names{pattern: pattern, index: at, syntax: actorSyntax, what: "an actor type", ruledBy: reservedActors,
				entries: strings.Fields(field.Tag.Get("entries"))}
			t.names = append(t.names, n)
			t.sections[pattern], t.sections[pattern+".*"] = n, nil
			t.add(field.Type.Elem(), pattern+".*", nil, n)
		case field.Type.Kind() == reflect.Struct:
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
	changed.FieldByIndex(s.index).Set(value)
	all.SetMapIndex(reflect.ValueOf(name), changed)
}

// mustSetDefault sets the default in the struct that has this setting. A default
// that cannot be read is a mistake in Config.
func (s *setting) mustSetDefault(in reflect.Value) {
	texts := []string{s.def}
	if s.isList() {
		texts = splitList(s.def)
	}
	value, ok := s.parse(texts)
	if !ok {
		panic("app.Config: unreadable default of " + s.pattern)
	}
	in.FieldByIndex(s.index).Set(value)
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
			if s.named == n {
				s.mustSetDefault(entry)
			}
		}
	}
	all.SetMapIndex(reflect.ValueOf(name), entry)
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
	case s.typ == reflect.TypeFor[time.Duration]():
		return "must be a duration above zero, such as " + s.def
	case s.typ.Kind() == reflect.Int && s.max < math.MaxInt:
		return fmt.Sprintf("must be a whole number from %d to %d", s.min, s.max)
	case s.typ.Kind() == reflect.Int:
		return fmt.Sprintf("must be a whole number of at least %d", s.min)
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
	case *int:
		n, err := strconv.Atoi(texts[0])
		if err != nil || len(texts[0]) > 1 && texts[0][0] == '0' { // 012 is octal to some readers
			return value, false
		}
		*into = n
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

// ----------------------------------------------------------------------------
// Reading the file and the environment

type loader struct {
	config   *Config
	problems Problems
	bad      map[string]bool // keys that have a problem already
}

func (l *loader) problem(where, format string, args ...any) {
	l.problems = append(l.problems, Problem{where, fmt.Sprintf(format, args...)})
}

func (l *loader) readFile(args LoadArgs) {
	path := cmp.Or(args.Path, "config.yaml")
	if !filepath.IsAbs(path) {
		path = filepath.Join(args.Dir, path)
	}
	data, err := os.ReadFile(path)
	switch {
	case args.Path == "" && errors.Is(err, fs.ErrNotExist):
		return
	case err != nil:
		l.problem(path, "cannot be read: %v", bare(err))
		return
	}

	dec := yaml.NewDecoder(bytes.NewReader(data))
	var document yaml.Node
	switch err := dec.Decode(&document); {
	case errors.Is(err, io.EOF): // empty
		return
	case err != nil:
		l.problem(path, "is not valid YAML%s; put texts with special characters in quotes", nearLine(err))
		return
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		l.problem(path, "must be one YAML document: remove what follows the line ---")
	}
	l.section(document.Content[0], "", "", path)
}

// nearLine takes nothing but the line from an error of the YAML reader, whose
// words may quote the file.
func nearLine(err error) string {
	if line := regexp.MustCompile(`line \d+`).FindString(err.Error()); line != "" {
		return " near " + line
	}
	return ""
}

// section reads the keys of one section; where is its name in problems.
func (l *loader) section(node *yaml.Node, key, pattern, where string) {
	switch {
	case isNull(node):
		return
	case node.Kind != yaml.MappingNode:
		l.problem(where, "must be a section of keys%s", refuseAlias(node))
		return
	}
	named := known.sections[pattern]
	for name, value := range l.members(node, key) {
		childKey, childPattern := join(key, name), join(pattern, name)
		if named != nil {
			if wrong := named.wrong(name); wrong != "" {
				l.problem(childKey, "%s", wrong)
				continue
			}
			named.ensure(l.config, name)
			childPattern = pattern + ".*"
		}

		s, isSetting := known.byKey[childPattern]
		_, isSection := known.sections[childPattern]
		switch {
		case strings.Contains(name, "."):
			l.problem(childKey, "unknown key: sections are nested, not joined by dots")
		case isSetting && s.free:
			l.freeSection(value, childKey, name)
		case isSetting:
			l.setting(s, childKey, value)
		case isSection:
			l.section(value, childKey, childPattern, childKey)
		default:
			l.problem(childKey, "unknown key%s", didYouMean(childKey, ".", l.knownKeys()))
		}
	}
}

// members goes through the keys and values of a mapping, each key once.
func (l *loader) members(node *yaml.Node, section string) func(yield func(string, *yaml.Node) bool) {
	return func(yield func(string, *yaml.Node) bool) {
		lines := make(map[string]int)
		for i := 0; i < len(node.Content); i += 2 {
			name, value := node.Content[i], node.Content[i+1]
			if name.Kind != yaml.ScalarNode {
				l.problem(cmp.Or(section, "top of the file"), "the key in line %d must be a plain text", name.Line)
				continue
			}
			if line, again := lines[name.Value]; again {
				l.problem(join(section, name.Value), "is there twice, in lines %d and %d: remove one", line, name.Line)
				continue
			}
			lines[name.Value] = name.Line
			if !yield(name.Value, value) {
				return
			}
		}
	}
}

// knownKeys are all keys and sections, for finding what was meant.
func (l *loader) knownKeys() []string {
	var all []string
	for key, s := range known.each(l.config) {
		if !s.free {
			all = append(all, key)
		}
	}
	for pattern := range known.sections {
		if pattern != "" && !strings.Contains(pattern, "*") {
			all = append(all, pattern)
		}
	}
	slices.Sort(all)
	return all
}

// knownVariables are all variables, those of the providers left out.
func (l *loader) knownVariables() []string {
	var all []string
	for key, s := range known.each(l.config) {
		if !s.free {
			all = append(all, variable(key))
		}
	}
	return all
}

// setting reads one value of the file. A null leaves the default.
func (l *loader) setting(s *setting, key string, node *yaml.Node) {
	if isNull(node) {
		return
	}
	var texts []string
	switch {
	case node.Kind == yaml.SequenceNode && s.isList():
		for _, item := range node.Content {
			if item.Kind != yaml.ScalarNode || item.ShortTag() != "!!str" {
				l.bad[key] = true
				l.problem(key, "%s: put the entry in line %d in quotes%s", s.want(), item.Line, refuseAlias(item))
				return
			}
			texts = append(texts, item.Value)
		}
	case node.Kind == yaml.ScalarNode && strings.HasPrefix(node.Value, filePrefix),
		node.Kind == yaml.ScalarNode && node.ShortTag() == "!!int" && s.typ.Kind() == reflect.Int,
		node.Kind == yaml.ScalarNode && node.ShortTag() == "!!str" && s.typ.Kind() != reflect.Int && !s.isList():
		texts = []string{node.Value}
	default:
		l.bad[key] = true
		l.problem(key, "%s%s", s.want(), refuseAlias(node))
		return
	}
	l.assign(s, key, texts, key, sourceFile)
}

// assign sets a value from its texts, of which lists have any number and others one.
func (l *loader) assign(s *setting, key string, texts []string, where, source string) {
	var whole []string
	for _, text := range texts {
		content, isFile, err := fromFile(text)
		switch {
		case err != nil:
			l.bad[key] = true
			l.problem(where, "%v", err)
			return
		case isFile && s.isList():
			whole = append(whole, splitList(content)...)
		default:
			whole = append(whole, content)
		}
	}
	value, ok := s.parse(whole)
	if !ok {
		l.bad[key] = true
		l.problem(where, "%s", s.want())
		return
	}
	s.set(l.config, key, value)
	l.config.sources[key] = source
}

// freeSection reads the settings of one provider.
func (l *loader) freeSection(node *yaml.Node, key, provider string) {
	if isNull(node) {
		return
	}
	if node.Kind != yaml.MappingNode {
		l.problem(key, "must be a section of keys%s", refuseAlias(node))
		return
	}
	for name, value := range l.members(node, key) {
		if got := l.freeValue(value, key+"."+name); got != nil {
			l.config.Auth.Providers[provider][name] = got
			l.config.sources[key+"."+name] = sourceFile
		}
	}
}

// freeValue reads a value whose type is not ours to know. It is nil for a null,
// and after a problem.
func (l *loader) freeValue(node *yaml.Node, key string) any {
	switch node.Kind {
	case yaml.MappingNode:
		m := make(map[string]any)
		for name, value := range l.members(node, key) {
			m[name] = l.freeValue(value, key+"."+name)
		}
		return m
	case yaml.SequenceNode:
		list := make([]any, len(node.Content))
		for i, item := range node.Content {
			list[i] = l.freeValue(item, fmt.Sprintf("%s[%d]", key, i))
		}
		return list
	case yaml.ScalarNode:
		switch node.ShortTag() {
		case "!!null":
			return nil
		case "!!int", "!!float", "!!bool":
			var v any
			if err := node.Decode(&v); err != nil {
				l.problem(key, "cannot be read; put it in quotes if it is meant as a text")
			}
			return v
		}
		text, _, err := fromFile(node.Value)
		if err != nil {
			l.problem(key, "%v", err)
			return nil
		}
		return text
	default:
		l.problem(key, "cannot be read%s", refuseAlias(node))
		return nil
	}
}

func (l *loader) readEnviron(environ []string) {
	values := make(map[string]string)
	for _, entry := range environ {
		name, value, _ := strings.Cut(entry, "=")
		if strings.HasPrefix(name, envPrefix) && !strings.HasPrefix(name, envPrefix+"TEST_") {
			values[name] = value
		}
	}
	var providers []string // last, when it is known which providers there are
	for _, name := range slices.Sorted(maps.Keys(values)) {
		switch s, key, wrong := l.lookup(name); {
		case wrong != "":
			l.problem(name, "%s", wrong)
		case s != nil:
			texts := []string{values[name]}
			if s.isList() {
				texts = splitList(values[name])
			}
			l.assign(s, key, texts, name, sourceEnv+name)
		case strings.HasPrefix(name, variable("auth.providers.")):
			providers = append(providers, name)
		default:
			l.problem(name, "unknown variable%s", didYouMean(name, "_", l.knownVariables()))
		}
	}
	ids := l.providerIDs()
	for _, name := range providers {
		l.providerVariable(name, values[name], ids)
	}
}

// lookup finds the setting and the key for which a variable stands; no setting
// means that there is none.
func (l *loader) lookup(name string) (s *setting, key, wrong string) {
	for _, s := range known.settings {
		before, after, hasName := strings.Cut(s.pattern, "*")
		switch {
		case !hasName && name == variable(s.pattern):
			return s, s.pattern, ""
		case !hasName || s.free:
			continue
		}
		rest, ok := strings.CutPrefix(name, variable(before))
		if !ok {
			continue
		}
		if rest, ok = strings.CutSuffix(rest, strings.TrimPrefix(variable(after), envPrefix)); ok && rest != "" {
			actor := strings.ToLower(rest)
			return s, s.key(actor), s.named.wrong(actor)
		}
	}
	return nil, "", ""
}

// providerIDs are the providers that the configuration names so far, the longest
// first.
func (l *loader) providerIDs() []string {
	ids := slices.Collect(maps.Keys(l.config.Auth.Providers))
	for _, actor := range l.config.Link.Actors {
		ids = append(ids, actor.Providers...)
	}
	slices.SortFunc(ids, func(a, b string) int { return cmp.Or(len(b)-len(a), cmp.Compare(a, b)) })
	return slices.Compact(ids)
}

// providerVariable sets one setting of one provider. Since a - in an id is a _ in a
// variable, the ids that the configuration names come first; for others the id is
// the first word.
func (l *loader) providerVariable(name, value string, ids []string) {
	rest := strings.TrimPrefix(name, variable("auth.providers."))
	id, setting, _ := strings.Cut(strings.ToLower(rest), "_")
	for _, known := range ids {
		if after, ok := strings.CutPrefix(name, variable("auth.providers."+known+".")); ok {
			id, setting = known, strings.ToLower(after)
			break
		}
	}
	named := known.sections["auth.providers"]
	wrong := named.wrong(id)
	text, _, err := fromFile(value)
	switch {
	case wrong != "":
		l.problem(name, "%s", wrong)
	case setting == "":
		l.problem(name, "names no setting: write %s followed by its name", variable("auth.providers."+id+"."))
	case err != nil:
		l.problem(name, "%v", err)
	default:
		named.ensure(l.config, id)
		l.config.Auth.Providers[id][setting] = text
		l.config.sources["auth.providers."+id+"."+setting] = sourceEnv + name
	}
}

const filePrefix = "file:"

// fromFile returns the content of the file that text refers to, less one newline
// at its end; a text that is no reference is returned as it is.
func fromFile(text string) (content string, isFile bool, err error) {
	path, ok := strings.CutPrefix(text, filePrefix)
	if !ok {
		return text, false, nil
	}
	if !filepath.IsAbs(path) {
		return "", true, errors.New("file: must be followed by an absolute path, as in file:/run/secrets/name")
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return "", true, fmt.Errorf("the file %s cannot be read: %v", path, bare(err))
	}
	content = strings.TrimSuffix(string(data), "\n")
	return strings.TrimSuffix(content, "\r"), true, nil
}

// bare is the cause of a failure to open a file, without the path.
func bare(err error) error {
	if perr := new(fs.PathError); errors.As(err, &perr) {
		return perr.Err
	}
	return err
}

func isNull(node *yaml.Node) bool { return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null" }

func refuseAlias(node *yaml.Node) string {
	if node.Kind == yaml.AliasNode {
		return " (YAML aliases are not supported: write the value itself)"
	}
	return ""
}

func splitList(text string) []string {
	if strings.TrimSpace(text) == "" {
		return nil
	}
	texts := strings.Split(text, ",")
	for i := range texts {
		texts[i] = strings.TrimSpace(texts[i])
	}
	return texts
}

func join(section, name string) string {
	if section == "" {
		return name
	}
	return section + "." + name
}

func number(text string, otherwise int) int {
	if n, err := strconv.Atoi(text); err == nil {
		return n
	}
	return otherwise
}

// didYouMean suggests the one of all that was most likely meant by name, if any: the
// one that is nearly spelt so or, if there is none, one that ends so.
func didYouMean(name, separator string, all []string) string {
	bare := strings.TrimPrefix(name, envPrefix)
	best, least := "", min(3, (len(bare)+1)/2)+1
	for _, candidate := range all {
		if d := distance(strings.ToLower(name), strings.ToLower(candidate)); d < least {
			best, least = candidate, d
		}
	}
	for _, candidate := range all {
		if best == "" && strings.HasSuffix(candidate, separator+bare) {
			best = candidate
		}
	}
	if best == "" {
		return "; config.yaml in the repository lists all that are known"
	}
	return "; did you mean " + best + "?"
}

// distance is the number of bytes to insert, remove or replace to get from a to b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			diagonal, row[j+1] = row[j+1], min(diagonal+cost, row[j+1]+1, row[j]+1)
		}
	}
	return row[len(b)]
}

// ----------------------------------------------------------------------------
// What values must be

// checks say what is wrong with a text, or with each entry of a list, or "". They
// add to what type and tags say.
var checks = map[string]func(string) string{
	"http.addr":               checkAddr,
	"http.public_url":         checkPublicURL,
	"http.cors_origins":       checkOrigin,
	"database.url":            checkDSN,
	"data_dir":                checkNotEmpty,
	"link.actors.*.providers": checkProvider,
	"invite.default_roles":    checkRole,
}

const howToMakeSecret = "make one with: openssl rand -base64 32 | tr '+/' '-_' | tr -d '='"

// validate says what is wrong with c, a line for a key at most, and leaves out the
// keys in bad.
func (c *Config) validate(bad map[string]bool) Problems {
	bad = maps.Clone(bad)
	if bad == nil {
		bad = make(map[string]bool)
	}
	var problems Problems
	add := func(key, format string, args ...any) {
		if !bad[key] {
			bad[key] = true
			problems = append(problems, Problem{c.where(key), fmt.Sprintf(format, args...)})
		}
	}
	for key, s := range known.each(c) {
		if s.named != nil {
			if wrong := s.named.wrong(s.name(key)); wrong != "" {
				add(s.named.pattern+"."+s.name(key), "%s", wrong)
				continue
			}
		}
		if s.free {
			continue
		}
		if wrong := s.check(s.get(c, key)); wrong != "" {
			add(key, "%s", wrong)
		}
	}
	c.together(add)
	return problems
}

// together says what is wrong with values that are each fine.
func (c *Config) together(add func(key, format string, args ...any)) {
	switch {
	case len(c.Secrets) > 0:
	case c.Database.URL.Postgres():
		add("secrets", "PostgreSQL needs a secret that all nodes share: set LATCHKEY_SECRETS; %s", howToMakeSecret)
	case c.Production():
		add("secrets", "production needs a secret of its own: set LATCHKEY_SECRETS; %s", howToMakeSecret)
	}
	if !c.Production() {
		return
	}
	if u, err := url.Parse(c.HTTP.PublicURL); err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		add("http.public_url", "must be https in production, because passwords and sessions travel over it")
	}
	if c.Auth.Password.BcryptCost < 10 {
		add("auth.password.bcrypt_cost", "must be at least 10 in production: lower ones are for tests")
	}
	for i, s := range c.Secrets {
		if looksMade(s.Bytes()) {
			add("secrets", "entry %d is not random, and production refuses it; %s", i+1, howToMakeSecret)
		}
	}
}

// where is how people call a key: by the variable it came from, if it did.
func (c *Config) where(key string) string {
	if name, ok := strings.CutPrefix(c.sources[key], sourceEnv); ok {
		return name
	}
	return key
}

// check says what is wrong with one value of this setting, or "".
func (s *setting) check(value reflect.Value) string {
	check := checks[s.pattern]
	switch v := value.Interface().(type) {
	case int:
		if v < s.min || v > s.max {
			return s.want()
		}
	case time.Duration:
		if v <= 0 {
			return s.want()
		}
	case []netip.Prefix:
		for i, prefix := range v {
			if !prefix.IsValid() {
				return fmt.Sprintf("entry %d must be an IP address or a range such as 10.0.0.0/8", i+1)
			}
		}
	case []Secret:
		return checkSecrets(v)
	case []string:
		for i, text := range v {
			if wrong := check(text); wrong != "" { // every list of texts has a check
				return fmt.Sprintf("entry %d %s", i+1, wrong)
			}
		}
	case DSN:
		return check(string(v))
	case string:
		switch {
		case s.oneof != nil && !slices.Contains(s.oneof, v):
			return s.want()
		case check != nil:
			return check(v)
		}
	}
	return ""
}

func checkSecrets(secrets []Secret) string {
	for i, s := range secrets {
		if len(s.Bytes()) < 32 {
			return fmt.Sprintf("entry %d must be at least 32 random bytes in base64url; %s", i+1, howToMakeSecret)
		}
		for j, other := range secrets[:i] {
			if bytes.Equal(s.Bytes(), other.Bytes()) {
				return fmt.Sprintf("entries %d and %d are the same: remove one", j+1, i+1)
			}
		}
	}
	return ""
}

// looksMade reports whether a person rather than a random generator made b: it
// repeats itself or counts, it is readable, or its base64url is. It is wrong about
// fewer than one in ten million random secrets of 32 bytes.
func looksMade(b []byte) bool {
	distinct, counting, readable := make(map[byte]bool), true, true
	for i, c := range b {
		distinct[c] = true
		counting = counting && (i == 0 || c-b[i-1] == b[1]-b[0])
		readable = readable && (c >= ' ' && c < 0x7f || c == '\n')
	}
	if len(distinct) < 16 || counting || readable {
		return true
	}
	text := strings.ToLower(base64.RawURLEncoding.EncodeToString(b))
	return slices.ContainsFunc([]string{"change-me", "change_me", "changeme", "example", "insecure", "password", "secret", "latchkey"},
		func(word string) bool { return strings.Contains(text, word) })
}

func checkAddr(s string) string {
	_, port, err := net.SplitHostPort(s)
	if err == nil {
		_, err = strconv.ParseUint(port, 10, 16)
	}
	if err != nil {
		return "must be HOST:PORT, such as 127.0.0.1:9000 or :9000"
	}
	return ""
}

func checkPublicURL(s string) string {
	if s == "" || isOrigin(strings.TrimSuffix(s, "/")) {
		return ""
	}
	return "must be http:// or https:// and a host in lower case, without path, query or user, such as https://id.example.com"
}

func checkOrigin(s string) string {
	if isOrigin(s) {
		return ""
	}
	return "must be one origin exactly as browsers write it, such as https://shop.example.com " +
		"(lower case, no path, no slash at the end, no default port, no *)"
}

// isOrigin reports whether s is an origin as browsers write it.
func isOrigin(s string) bool {
	u, err := url.Parse(s)
	if err != nil || u.Hostname() == "" || strings.HasSuffix(u.Host, ":") || strings.Contains(u.Host, "*") {
		return false
	}
	switch u.Scheme + ":" + u.Port() {
	case "http:80", "https:443":
		return false
	}
	return (u.Scheme == "http" || u.Scheme == "https") && s == u.Scheme+"://"+strings.ToLower(u.Host)
}

func checkDSN(s string) string {
	d := DSN(s)
	path, isSQLite := d.SQLitePath()
	switch {
	case s == "":
		return ""
	case isSQLite && path == "":
		return "sqlite: must be followed by the path of a file"
	case isSQLite && strings.Contains(path, ":memory:"):
		return "must be a file: several connections cannot share a database in memory"
	case isSQLite:
		return ""
	case !d.Postgres():
		return "must be empty, sqlite:PATH or postgres://USER:PASSWORD@HOST/DATABASE"
	}
	if u, err := url.Parse(s); err != nil || u.Fragment != "" {
		return "is not a valid postgres:// address: percent-encode special characters in user and password"
	}
	return ""
}

func checkNotEmpty(s string) string {
	if s == "" {
		return "must not be empty"
	}
	return ""
}

func checkProvider(id string) string {
	if !providerSyntax.MatchString(id) || slices.Contains(reservedProviders, id) {
		return "must be the id of a provider, such as emailpass"
	}
	return ""
}

func checkRole(role string) string {
	if role == "" || strings.ContainsFunc(role, func(r rune) bool { return r <= ' ' || r == ',' || r == 0x7f }) {
		return "must be the name of a role, without spaces and commas"
	}
	return ""
}

func isLoopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}
