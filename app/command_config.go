package app

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"unicode"

	"go.uber.org/dig"
	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

const configUsage = `Usage of server config:
  Prints every setting that is in force, a line each, in the order of config.yaml: its key, its value, and where the
  value comes from, which is default, file, or env and the name of the variable. The first line names the file that
  was read.

  Values are written as in the environment: lists by comma, and what is empty is "". A value with spaces is in quotes.
  Secrets show as [redacted], and so do settings of providers that are not known to be harmless; passwords in
  database.url show as xxxxx. A setting in the output can be found by: server config | grep ^http.addr

  What is wrong with the configuration is said instead, a line each, and the exit code is 2. Nothing is started, and no
  database is opened.
`

// showConfig prints the configuration that is in force.
func (m *command) showConfig(args []string) error {
	flags := m.flags("server config")
	flags.Usage = func() { fmt.Fprint(flags.Output(), configUsage) }
	if err := m.parse(flags, args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("server config takes no arguments; %w", errUsage)
	}
	if err := m.checkParts(m.config, fx.Decorate(quiet)); err != nil {
		return err
	}
	table := tabwriter.NewWriter(m.out, 0, 0, 2, ' ', 0)
	fmt.Fprintf(m.out, "# file: %s\n", m.config.fileRead())
	for _, s := range m.config.Effective() {
		fmt.Fprintf(table, "%s\t%s\t%s\n", s.Key, visible(s.Value), s.Source)
	}
	return table.Flush()
}

// checkParts says what is wrong with the configuration in view of the providers and actor types that this program has, as a start would:
// the first thing there is.
func (m *command) checkParts(c *Config, opts ...fx.Option) error {
	checked := errors.New("checked") // stops fx before the program's own functions, which may open the database
	err := fx.New(append([]fx.Option{
		fx.Module("check", fx.Invoke(func(actorsChecked, providersChecked) error { return checked })),
		core(c), fx.Options(opts...),
		// The providers want a key. The real one may have to be made, in a directory that is none of this command's business.
		fx.Decorate(func() (*keyring.Ring, error) { return keyring.New(make([]byte, keyring.MinSecret)) }),
		// Actor types want a database, and are asked for nothing but their names.
		fx.Decorate(func() *database.DB { return nil }), fx.RecoverFromPanics(),
	}, m.options...)...).Err()
	if errors.Is(dig.RootCause(err), checked) {
		return nil
	}
	return err
}

// faultsOfParts says all at once what checkParts says one after the other. It looks at nothing but what is said of
// providers and actor types: the rest of the configuration may be wrong as well.
func (m *command) faultsOfParts() (faults Problems) {
	c := m.config.parts()
	for {
		err := dig.RootCause(m.checkParts(c,
			fx.Decorate(func() *slog.Logger { return slog.New(slog.DiscardHandler) })))
		var settings *auth.SettingsError
		if !errors.As(err, &settings) {
			var more Problems
			errors.As(err, &more)
			return append(faults, more...)
		}
		keys := slices.DeleteFunc(slices.Clone(settings.Keys), func(key string) bool { // it is missing because it was dropped
			return m.config.Auth.Providers.has(key) && !c.Auth.Providers.has(key)
		})
		faults = append(faults, m.settingsProblems(&auth.SettingsError{Keys: keys, What: settings.What})...)
		dropped := false // the others show without these
		for _, key := range settings.Keys {
			dropped = c.Auth.Providers.drop(key) || dropped
		}
		if !dropped {
			return faults
		}
	}
}

// parts is what c says of providers and actor types, and the default of all else.
func (c *Config) parts() *Config {
	p := DefaultConfig()
	p.sources = c.sources
	for id, settings := range c.Auth.Providers {
		p.Auth.Providers[id] = maps.Clone(settings)
	}
	for name, a := range c.Link.Actors {
		p.Link.Actors[name] = ActorConfig{Policy: p.Link.Actors[link.ActorUser].Policy, Providers: a.Providers, CreateUsersBy: a.CreateUsersBy}
	}
	return p
}

// has reports whether there is the setting that a key of the configuration names.
func (p ProviderSettings) has(key string) bool {
	id, name, _ := strings.Cut(strings.TrimPrefix(key, "auth.providers."), ".")
	_, ok := p[id][name]
	return ok
}

// drop takes away the setting that a key of the configuration names, or else its section. It reports whether there was one.
func (p ProviderSettings) drop(key string) bool {
	id, name, _ := strings.Cut(strings.TrimPrefix(key, "auth.providers."), ".")
	settings, ok := p[id]
	if _, one := settings[name]; one {
		delete(settings, name)
	} else {
		delete(p, id)
	}
	return ok
}

// fileRead names the file that c was read from, or says why there is none.
func (c *Config) fileRead() string {
	path := c.file
	if path == "" {
		path = "config.yaml"
	}
	if whole, err := filepath.Abs(path); err == nil {
		path = whole
	}
	if c.file == "" {
		return "none, because there is no " + path
	}
	return path
}

// visible is a value as one word that can be seen, and as nothing but text.
func visible(value string) string {
	odd := func(r rune) bool { return unicode.IsSpace(r) || !unicode.IsPrint(r) || r == '"' }
	if value == "" || strings.ContainsFunc(value, odd) {
		return strconv.Quote(value)
	}
	return value
}
