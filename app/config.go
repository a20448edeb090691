// What can be set from outside: Config and the values in it, where they come from, and how they are shown.

package app

import (
	"bytes"
	"cmp"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth/magiclink"
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
	Secrets []Secret `key:"secrets" def:""`
	// AcceptLostKeys starts the program without secrets or peppers that the database needs.
	AcceptLostKeys bool       `key:"accept_lost_keys" def:"false"`
	Auth           AuthConfig `key:"auth"`
	Link           LinkConfig `key:"link"`
	// Roles are the permissions that each role gives, by its name; httpapi.Permissions lists them.
	Roles    map[string][]string `key:"roles" entries:"admin=* member="`
	Invite   InviteConfig        `key:"invite"`
	Admin    AdminConfig         `key:"admin"`
	Console  ConsoleConfig       `key:"console"`
	Mail     MailConfig          `key:"mail"`
	Events   EventsConfig        `key:"events"`
	Webhooks WebhooksConfig      `key:"webhooks"`
	Audit    AuditConfig         `key:"audit"`
	Log      LogConfig           `key:"log"`

	// sources says where a value came from, by key: sourceFile, or the name of a
	// variable behind sourceEnv. What is not in it is a default.
	sources map[string]string
	written map[string][]Secret // the texts that secrets were read from, file: references among them, by key
	file    string              // the file that was read, or empty

	cores int // how many hashes run at a time; 0: as many as Go has processors
}

// HTTPConfig says where the server listens and whom it trusts.
type HTTPConfig struct {
	Addr string `key:"addr" def:"127.0.0.1:9000"`
	// PublicURL is what people type: scheme, host and perhaps a port. Empty means
	// that it follows from Addr; URL answers for both.
	PublicURL string `key:"public_url" def:""`
	// TrustedProxies are the peers whose X-Forwarded-For is believed.
	TrustedProxies []netip.Prefix `key:"trusted_proxies" def:""`
	// CORSOrigins are the origins whose pages may call the API with credentials, exactly as
	// browsers write them.
	CORSOrigins []string `key:"cors_origins" def:""`
	// CallbackURLs are the pages of an application's own that a provider of two
	// steps may send people back to, each exactly as the application asks for it.
	CallbackURLs []string `key:"callback_urls" def:""`
	// RequireFlowCookie refuses, at those too, who has not kept our cookie.
	RequireFlowCookie bool `key:"require_flow_cookie" def:"false"`
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
	Password PasswordConfig `key:"password"`
	Token    TokenConfig    `key:"token"`
	Session  SessionConfig  `key:"session"`
	Throttle ThrottleConfig `key:"throttle"`
	// EnumerationSafe has registering tell nobody whether an address is known: the mailbox decides.
	EnumerationSafe bool             `key:"enumeration_safe" def:"false"`
	Providers       ProviderSettings `key:"providers"`
}

// ProviderSettings are the settings of each provider, by its id, as they were
// written: the provider's constructor decodes them by auth.Settings, which refuses
// what it does not know. A value is a string, int, float64, bool, []any or
// map[string]any; one from the environment or from a file: reference is a string.
type ProviderSettings map[string]map[string]any

// String names the providers only, because some of their settings are secret.
func (p ProviderSettings) String() string {
	return strings.Join(slices.Sorted(maps.Keys(p)), ",")
}

func (p ProviderSettings) GoString() string             { return p.String() }
func (p ProviderSettings) LogValue() slog.Value         { return slog.StringValue(p.String()) }
func (p ProviderSettings) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

// PasswordConfig says what may be a password, and what hashing them may cost.
type PasswordConfig struct {
	MinLength int `key:"min_length" def:"8" min:"8" max:"256"`
	// MinStrength is the least auth.Strength.
	MinStrength int `key:"min_strength" def:"0" min:"0" max:"4"`
	// ContextWords are what a password must not be made of, besides what passwordWords knows.
	ContextWords []string `key:"context_words" def:""`
	// BreachCheck says whether the range API at BreachURL is asked, and what counts while it fails.
	BreachCheck string `key:"breach_check" def:"off" oneof:"off|open|closed"`
	BreachURL   string `key:"breach_url" def:"https://api.pwnedpasswords.com/range/"`
	BcryptCost  int    `key:"bcrypt_cost" def:"12" min:"4" max:"31"`
	// MaxWait is how long a caller may wait for a turn; who would wait longer is
	// turned away at once.
	MaxWait time.Duration `key:"max_wait" def:"3s"`
	// Peppers are what hashes are made under: the first makes, all verify. None means
	// the one that derives from the first secret of the first start.
	Peppers []Secret `key:"peppers" def:""`
}

// TokenConfig is about access tokens.
type TokenConfig struct {
	Alg string        `key:"alg" def:"EdDSA" oneof:"EdDSA|HS256"`
	TTL time.Duration `key:"ttl" def:"24h"`
}

// SessionConfig says how long people stay signed in, and in how many places.
type SessionConfig struct {
	TTL time.Duration `key:"ttl" def:"720h"`
	// Idle is how long a cookie may go unused; a token that is not refreshed ends by TokenConfig.TTL.
	Idle time.Duration `key:"idle" def:"12h"`
	Max  int           `key:"max" def:"0" min:"0"` // 0: in any number
}

// ThrottleConfig says how many attempts may fail; docs/security/throttling.md says within how long.
type ThrottleConfig struct {
	Enabled        bool `key:"enabled" def:"true"`
	AccountAddress int  `key:"account_address" def:"10" min:"1"`
	Account        int  `key:"account" def:"80" min:"1"`
	Address        int  `key:"address" def:"100" min:"1"`
}

// LinkConfig is the configuration of the link layer.
type LinkConfig struct {
	// UnlinkedTTL is after what time an identity is purged that became nobody's; zero: never.
	UnlinkedTTL time.Duration `key:"unlinked_ttl" def:"168h" min:"0"`
	// Actors are the actor types that can sign in, by name; user is always there.
	Actors map[string]ActorConfig `key:"actors" entries:"user"`
}

// ActorConfig says what happens at an actor type's first sign-in, and which
// providers it may use.
type ActorConfig struct {
	Policy    string   `key:"policy" def:"auto" oneof:"auto|invite|manual"`
	Providers []string `key:"providers" def:"emailpass"`
	// AllowedDomains are the domains of which a newcomer's proved address must be; none: any. Who is invited passes.
	AllowedDomains []string `key:"allowed_domains" def:""`
	// DefaultRoles are the roles of whom the policy makes a user without an invite.
	DefaultRoles []string `key:"default_roles" def:"member"`
	// RequireVerifiedEmail lets nobody in as an actor before their address is proved.
	RequireVerifiedEmail bool `key:"require_verified_email" def:"false"`
	// CreateUsersBy are those by whose word POST /auth/{provider}/user makes users.
	CreateUsersBy []string `key:"create_users_by" def:""`
}

// InviteConfig is about invites.
type InviteConfig struct {
	DefaultRoles []string      `key:"default_roles" def:"admin"`
	TTL          time.Duration `key:"ttl" def:"24h"`
	MaxTTL       time.Duration `key:"max_ttl" def:"720h"`
	MaxPending   int           `key:"max_pending" def:"10000" min:"1"`
	// RequireSameEmail has an invite accepted only by who signs in by the invited address.
	RequireSameEmail bool `key:"require_same_email" def:"false"`
}

// AdminConfig says what administrators can do to others.
type AdminConfig struct {
	// ResetTokenInResponse has the API show an administrator the token that resets a user's password, as Medusa does.
	ResetTokenInResponse bool `key:"reset_token_in_response" def:"false"`
}

// ConsoleConfig is about the pages.
type ConsoleConfig struct {
	// Enabled false leaves the pages to the application: mails still lead to Path.
	Enabled bool `key:"enabled" def:"true"`
	// Path is where the pages are.
	Path string `key:"path" def:"/app"`
	// Name is how the pages call the site.
	Name string `key:"name" def:"Latchkey"`
	// Logo is a file with a picture. Empty means none.
	Logo string `key:"logo" def:""`
	// Templates is a directory of templates that count before the built-in ones. Empty means none.
	Templates string `key:"templates" def:""`
}

// MailConfig says how mails leave. Driver answers for auto.
type MailConfig struct {
	Driver string `key:"driver" def:"auto" oneof:"auto|smtp|file|log|none"`
	// Path is the file of the driver file. Empty means mail.jsonl in the data directory.
	Path string `key:"path" def:""`
	From string `key:"from" def:"Latchkey <latchkey@localhost>"`
	// Name is how mails call the site. Empty means its host.
	Name string `key:"name" def:""`
	// Templates is a directory of templates that count before the built-in ones. Empty means none.
	Templates string     `key:"templates" def:""`
	SMTP      SMTPConfig `key:"smtp"`
}

// SMTPConfig names the server of the driver smtp.
type SMTPConfig struct {
	Host     string        `key:"host" def:""`
	Port     int           `key:"port" def:"0" min:"0" max:"65535"` // 0: what is usual for TLS
	TLS      string        `key:"tls" def:"starttls" oneof:"starttls|tls|none"`
	Username string        `key:"username" def:""`
	Password Secret        `key:"password" def:""`
	CAFile   string        `key:"ca_file" def:""` // who else may vouch for the server; empty: whom the system trusts
	Timeout  time.Duration `key:"timeout" def:"8s"`
}

// EventsConfig is about the events that are recorded with every change.
type EventsConfig struct {
	// Retention is how long an event is kept that was delivered, and a dead letter; zero: for good.
	Retention time.Duration `key:"retention" def:"720h" min:"0"`
	// MaxAttempts is after how many an event becomes a dead letter.
	MaxAttempts int `key:"max_attempts" def:"450" min:"1" max:"100000"`
}

// WebhooksConfig is about webhooks.
type WebhooksConfig struct {
	// PrivateAddresses lets webhooks be at addresses that are not public, and at http:// ones.
	PrivateAddresses bool `key:"private_addresses" def:"false"`
}

// AuditConfig is about the audit trail.
type AuditConfig struct {
	// Retention is how long an audit event is kept; zero: for good.
	Retention time.Duration `key:"retention" def:"8760h" min:"0"`
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
	c, problems := loadConfig(args)
	if len(problems) > 0 {
		return nil, problems
	}
	return c, nil
}

// loadConfig also returns what could be read of a configuration that has problems.
func loadConfig(args LoadArgs) (*Config, Problems) {
	l := loader{config: DefaultConfig(), bad: make(map[string]bool)}
	l.readFile(args)
	l.readEnviron(args.Environ)
	return l.config, append(l.problems, l.config.validate(l.bad)...)
}

// DefaultConfig is the configuration that nobody has changed.
func DefaultConfig() *Config {
	c := &Config{sources: make(map[string]string), written: make(map[string][]Secret)}
	for _, s := range known.settings {
		if s.named == nil {
			s.mustSetDefault(reflect.ValueOf(c).Elem())
		}
	}
	for _, n := range known.names {
		for _, entry := range n.entries {
			name, _, _ := strings.Cut(entry, "=")
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

// driver is the one that mails leave by, auto resolved.
func (m MailConfig) driver(production bool) string {
	switch {
	case m.Driver != "auto":
		return m.Driver
	case m.SMTP.Host != "":
		return "smtp"
	case production:
		return "none"
	default:
		return "log"
	}
}

// needsMail are the settings, as people call them, because of which somebody cannot come in without a mail.
func (c *Config) needsMail() (settings []string) {
	if c.Auth.EnumerationSafe {
		settings = append(settings, c.where("auth.enumeration_safe"))
	}
	for _, name := range slices.Sorted(maps.Keys(c.Link.Actors)) {
		if c.Link.Actors[name].RequireVerifiedEmail {
			settings = append(settings, c.where("link.actors."+name+".require_verified_email"))
		}
		if len(c.Link.Actors[name].AllowedDomains) > 0 {
			settings = append(settings, c.where("link.actors."+name+".allowed_domains"))
		}
	}
	for _, name := range slices.Sorted(maps.Keys(c.Link.Actors)) {
		if slices.Contains(c.Link.Actors[name].Providers, magiclink.Name) {
			settings = append(settings, c.where("link.actors."+name+".providers"))
		}
	}
	return settings
}

// names reports whether a provider has a section, or may be used by an actor type that has one.
func (c *Config) names(provider string) bool {
	if _, ok := c.Auth.Providers[provider]; ok {
		return true
	}
	for _, a := range c.Link.Actors {
		if slices.Contains(a.Providers, provider) {
			return true
		}
	}
	return false
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
var openSettings = []string{"type", "display_name", "mode", "issuer", "client_id", "scopes", "icon", "trusted_domains", "algorithms", "acr_values", "max_age", "private_hosts"}

func printFree(name string, value any) string {
	if !slices.Contains(openSettings, name) {
		return redacted
	}
	switch v := value.(type) {
	case []any:
		texts := make([]string, len(v))
		for i := range v {
			texts[i] = printFree(name, v[i])
		}
		return strings.Join(texts, ",")
	case map[string]any: // whatever it is, it is not what the name says
		return redacted
	case string:
		if strings.Contains(v, "://") && strings.ContainsAny(v, "@?") { // a user or a query may be secret
			return redacted
		}
	}
	return fmt.Sprint(value)
}

func printValue(v reflect.Value) string {
	if v.Kind() == reflect.Slice {
		texts := make([]string, v.Len())
		for i := range texts {
			texts[i] = printValue(v.Index(i))
		}
		return strings.Join(texts, ",")
	}
	if s, ok := v.Interface().(Secret); ok && len(s.Bytes()) == 0 {
		return "" // that there is none is no secret
	}
	text := fmt.Sprint(v.Interface())
	if _, ok := v.Interface().(time.Duration); !ok {
		return text
	}
	for _, zero := range []string{"0s", "0m"} { // 24h0m0s is 24h
		if before, ok := strings.CutSuffix(text, zero); ok && before != "" && strings.ContainsAny(before[len(before)-1:], "hm") {
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
// logged or marshalled it is without its password, and without parameters that are
// not known to be harmless.
type DSN string

// openParameters are the parameters of a postgres:// address that are no secret.
var openParameters = []string{"application_name", "channel_binding", "connect_timeout", "database", "dbname", "host", "passfile", "port",
	"search_path", "service", "servicefile", "sslmode", "sslnegotiation", "sslrootcert", "sslsni", "target_session_attrs", "timezone", "user"}

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
	if strings.Contains(u.EscapedPath()+u.RawQuery, "@") {
		return redacted // a password that was not percent-encoded, cut in two by its / or ?
	}
	query := u.Query()
	for name := range query {
		if !slices.Contains(openParameters, name) {
			query.Set(name, "xxxxx")
		}
	}
	u.RawQuery = query.Encode()
	return u.Redacted()
}

func (d DSN) GoString() string             { return strconv.Quote(d.String()) }
func (d DSN) LogValue() slog.Value         { return slog.StringValue(d.String()) }
func (d DSN) MarshalText() ([]byte, error) { return []byte(d.String()), nil }
