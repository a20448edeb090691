package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"strings"
	"text/tabwriter"

	"go.uber.org/dig"
	"go.uber.org/fx"
	"golang.org/x/term"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/email"
	"github.com/latchkey-go/latchkey/modules/user"
)

// The exit codes of Main.
const (
	exitFailed = 1 // it was tried and did not work
	exitUsage  = 2 // the command line or the configuration is wrong: nothing was tried
)

const usage = `Latchkey keeps users and proves who they are.

Usage:
  server                                  serve the API and the pages
  server user -e ADDRESS [-p PASSWORD]    make a user, an admin unless --role says otherwise
  server user -e ADDRESS --invite         make an invite instead, and print its link
  server sessions end --user ADDRESS      sign a user out, everywhere, within a second; --all instead: everybody
  server explain ADDRESS [--json]         say why somebody cannot get in: what is known of them, and what to do
  server migrate [--status]               bring the database up to date, or show how it stands
  server keys status                      show which secrets and peppers there are, and what to do next
  server keys rotate                      take the next step towards a new secret
  server purge [--only KIND]              delete what is dead now, as a running server does now and then, and say how much
  server events list|retry|discard …      show what is still to be delivered, and dead letters; have them tried again
  server webhooks list|create|rotate …    manage where events are sent to: 'server webhooks --help' has all commands
  server doctor [--json] [--full]         look whether what must always hold in the database does, while servers run; changes nothing
  server mail templates DIR               write the templates of mails into a directory, to start your own from
  server mail preview DIR                 write every mail as it would leave, with samples, as files to open
  server mail test --to ADDRESS           send a mail that says nothing, as the server would, and say how far it came
  server config                           show every setting, its value and where that comes from, without secrets
  server calibrate [--target 250ms]       measure what hashing passwords costs here, and propose a cost
  server --help                           this text; 'server COMMAND --help' for a command's flags
  server --config FILE [COMMAND …]        any of these, with the configuration from FILE

Without any configuration it listens on http://127.0.0.1:9000 and keeps SQLite under ./data.
Settings come from config.yaml in the working directory or --config, and from the environment:
http.addr is LATCHKEY_HTTP_ADDR. The file config.yaml of the project lists them all.
`

// Main runs the command line and returns the exit code. Further options go into every command's application, so that a
// program with providers of its own is:
//
//	func main() { os.Exit(app.Main(os.Args[1:], fx.Provide(auth.AsProvider(card.New)))) }
//
// The configuration says which actor types may use them: link.actors.user.providers: [emailpass, card].
func Main(args []string, opts ...fx.Option) int {
	m := command{out: os.Stdout, err: os.Stderr, options: opts}
	return m.main(args)
}

var errUsage = errors.New("see 'server --help'")

// command is one run of the command line.
type command struct {
	out, err io.Writer
	options  []fx.Option
	config   *Config  // what could be read of it
	faults   Problems // of the configuration, found by reading it
}

// main runs the command and says what was wrong. It returns the exit code.
func (m *command) main(args []string) int {
	err := m.run(args)
	problems := m.problems(dig.RootCause(err))
	var code exitCode
	switch {
	case err == nil:
		return 0
	case errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &code):
		return int(code)
	case problems != nil:
		fmt.Fprintf(m.err, "The configuration is not usable:\n%s\n", problems)
		return exitUsage
	case errors.Is(err, errUsage):
		fmt.Fprintln(m.err, err)
		return exitUsage
	}
	if keys := new(auth.KeysError); errors.As(dig.RootCause(err), &keys) {
		fmt.Fprint(m.err, explainKeys(keys, m.config), "'server keys status' shows what there is.\n")
		return exitUsage
	}
	fmt.Fprintln(m.err, "Error:", dig.RootCause(err))
	return exitFailed
}

// problems are all there are of the configuration, if it is what err is about: err itself is only what came first.
func (m *command) problems(err error) Problems {
	var first Problems
	var settings *auth.SettingsError
	if errors.As(err, &settings) {
		first = m.settingsProblems(settings)
	} else if !errors.As(err, &first) {
		return nil
	}
	all := slices.Clone(m.faults)
	for _, p := range slices.Concat(m.faultsOfParts(), first) {
		if !slices.ContainsFunc(all, func(said Problem) bool { return said.Where == p.Where }) {
			all = append(all, p)
		}
	}
	return all
}

// settingsProblems says where the settings were set that a provider refused.
func (m *command) settingsProblems(e *auth.SettingsError) (problems Problems) {
	for _, key := range e.Keys {
		problems = append(problems, Problem{m.config.where(key), e.What})
	}
	return problems
}

func (m *command) run(args []string) error {
	flags := m.flags("server")
	path := flags.String("config", "", "read the configuration from this `file`")
	flags.Usage = func() { fmt.Fprint(flags.Output(), usage) }
	if err := m.parse(flags, args); err != nil {
		return err
	}
	name := flags.Arg(0)
	run, ok := map[string]func([]string) error{
		"": m.serve, "user": m.user, "sessions": m.sessions, "explain": m.explain, "doctor": m.doctor, "migrate": m.migrate, "events": m.events,
		"keys": m.keys, "purge": m.purge, "config": m.showConfig, "calibrate": m.calibrate, "mail": m.mail, "webhooks": m.webhooks,
	}[name]
	if name == "help" {
		fmt.Fprint(m.out, usage)
		return nil
	}
	if !ok {
		return fmt.Errorf("there is no command %q: %w", name, errUsage)
	}
	rest := []string{}
	if flags.NArg() > 1 {
		rest = flags.Args()[1:]
	}
	if helpAsked(rest) { // help must not depend on the configuration
		return run(rest)
	}
	if slices.ContainsFunc(rest, regexp.MustCompile(`^--?config(=|$)`).MatchString) {
		return fmt.Errorf("--config goes before the command: server --config FILE %s; %w", name, errUsage)
	}
	if m.config, m.faults = loadConfig(LoadArgs{Path: *path, Environ: os.Environ()}); len(m.faults) > 0 {
		return m.faults
	}
	return run(rest)
}

func helpAsked(args []string) bool {
	for _, a := range args {
		if a == "-h" || a == "-help" || a == "--help" {
			return true
		}
	}
	return false
}

func (m *command) flags(name string) *flag.FlagSet {
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	flags.SetOutput(m.err)
	return flags
}

// parse reads flags. What is wrong with them is said once, by Main.
func (m *command) parse(flags *flag.FlagSet, args []string) error {
	if helpAsked(args[:min(len(args), 1)]) || (flags.Name() != "server" && helpAsked(args)) {
		flags.SetOutput(m.out)
		flags.Usage()
		return flag.ErrHelp
	}
	show := flags.Usage
	flags.Usage = func() {}
	flags.SetOutput(io.Discard)
	err := flags.Parse(args)
	flags.Usage = show
	if err != nil {
		return fmt.Errorf("%w; %w", err, usageOf(flags))
	}
	return nil
}

// usageOf points to the help of a command.
func usageOf(flags *flag.FlagSet) error {
	if flags.Name() == "server" {
		return errUsage
	}
	return fmt.Errorf("'%s --help' lists its flags; %w", flags.Name(), errUsage)
}

// serve runs the server until it is told to stop.
func (m *command) serve([]string) error {
	defer m.config.makeRoom()()
	var log *slog.Logger
	app := New(m.config, append(m.options, fx.Populate(&log), fx.Invoke(
		func(lc fx.Lifecycle, c *Config, at *listener, users *user.Service, trail *audit.Trail) {
			lc.Append(fx.StartHook(func(ctx context.Context) error { return greet(ctx, m.out, c, at, users, trail) }))
		}))...)
	if err := app.Err(); err != nil {
		return err
	}
	start, cancel := context.WithTimeout(context.Background(), app.StartTimeout())
	defer cancel()
	if err := app.Start(start); err != nil {
		return err
	}
	signal := <-app.Wait()
	log.Info("stopping", "signal", fmt.Sprint(signal.Signal))
	err := stop(app.Stop)
	if err == nil && signal.ExitCode != 0 {
		err = errors.New("the server stopped serving; the log says why")
	}
	return err
}

// with runs f with the services of a program that does not listen.
func (m *command) with(f any) error {
	app := fx.New(append([]fx.Option{core(m.config), fx.Invoke(f), fx.Decorate(quiet)}, m.options...)...)
	return errors.Join(app.Err(), stop(app.Stop))
}

// quiet leaves the terminal to what a command has to say.
func quiet() *slog.Logger {
	return slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// user makes a user or an invite.
func (m *command) user(args []string) error {
	flags := m.flags("server user")
	var address, password string
	var roles roleFlag
	for _, name := range []string{"e", "email"} {
		flags.StringVar(&address, name, "", "the e-mail `address`, which counts as proved")
	}
	for _, name := range []string{"p", "password"} {
		flags.StringVar(&password, name, "", "the `password`; asked for at the terminal if left out")
	}
	flags.Var(&roles, "role", "a `role` of the user, may be repeated (default admin)")
	invite := flags.Bool("invite", false, "make an invite and print its link, instead of a user")
	if err := m.parse(flags, args); err != nil {
		return err
	}
	if address == "" || flags.NArg() > 0 {
		return fmt.Errorf("server user needs -e ADDRESS and nothing but flags; %w", usageOf(flags))
	}
	if *invite && password != "" {
		return fmt.Errorf("an invite has no password: leave out -p or --invite; %w", usageOf(flags))
	}
	if _, err := email.Canonical(address); err != nil {
		return err
	}
	if roles == nil {
		roles = roleFlag{user.RoleAdmin}
	}
	if *invite {
		return m.with(func(db *database.DB, users *user.Service, made newDatabase) error {
			return m.written(made, m.makeInvite(db, users, address, roles))
		})
	}
	if password == "" {
		var err error
		if password, err = m.askPassword(); err != nil {
			return err
		}
	}
	return m.with(func(links *link.Service, made newDatabase) error {
		return m.written(made, m.makeUser(links, address, password, roles))
	})
}

// written says in which database something was done: without the settings of the server that is another one, and all looks well.
func (m *command) written(made newDatabase, err error) error {
	if err != nil {
		return err
	}
	fmt.Fprintf(m.err, "Database: %s\n", databasePlace(m.config))
	if made {
		fmt.Fprintf(m.err, "Warning: this database is new, it was made just now. If your server runs already, it uses another one: use its configuration "+
			"(--config FILE, or the LATCHKEY_… variables), from its directory.\n")
	}
	return nil
}

// roleFlag collects a repeated flag.
type roleFlag []string

func (r *roleFlag) String() string { return strings.Join(*r, ",") }
func (r *roleFlag) Set(v string) error {
	*r = append(*r, v)
	return nil
}

func (m *command) makeUser(links *link.Service, address, password string, roles []string) error {
	in, err := json.Marshal(map[string]string{"email": address, "password": password})
	if err != nil {
		return err
	}
	u, err := links.CreateUser(commanded(), emailpass.Name, in, user.Draft{Email: address, Roles: roles, Via: user.ViaCLI})
	if errors.Is(err, user.ErrEmailTaken) || errors.Is(err, link.ErrLinked) {
		return fmt.Errorf("%s has a user already: nothing was changed", address)
	}
	if err != nil {
		return err
	}
	fmt.Fprintf(m.out, "Made user %s (%s) with the role %s.\n", u.Email, u.ID, strings.Join(u.Roles, ", "))
	return nil
}

// makeInvite makes an invite, or renews the one there is for the address.
func (m *command) makeInvite(db *database.DB, users *user.Service, address string, roles []string) error {
	var invite user.Invite
	err := db.InTx(commanded(), func(ctx context.Context) error {
		open, err := users.ListInvites(ctx, user.InviteFilter{Emails: []string{address}}, user.Page{})
		if err != nil {
			return err
		}
		var invites []user.Invite
		if len(open) == 0 {
			invites, err = users.CreateInvites(ctx, user.InviteDraft{Email: address, Roles: roles})
		} else if _, err = users.UpdateInvites(ctx, user.InviteUpdate{ID: open[0].ID, Roles: user.Set(roles)}); err == nil {
			invites, err = users.RefreshInviteTokens(ctx, open[0].ID)
		}
		if err == nil {
			invite = invites[0]
		}
		return err
	})
	if err != nil {
		return err
	}
	token := users.InviteToken(invite, user.ByHand)
	fmt.Fprintf(m.out, "Invite token: %s\nOpen the invite at: %s\n", token, inviteLink(m.config.at(m.config.HTTP.URL()), token))
	return nil
}

// askPassword asks twice at the terminal, without showing what is typed.
func (m *command) askPassword() (string, error) {
	stdin := int(os.Stdin.Fd())
	if !term.IsTerminal(stdin) {
		return "", fmt.Errorf("there is no terminal to ask for the password at: give it with -p: %w", errUsage)
	}
	var typed [2][]byte
	for i, prompt := range []string{"Password: ", "Once more: "} {
		fmt.Fprint(m.err, prompt)
		var err error
		typed[i], err = term.ReadPassword(stdin)
		fmt.Fprintln(m.err)
		if err != nil {
			return "", fmt.Errorf("read the password: %w", err)
		}
	}
	if !bytes.Equal(typed[0], typed[1]) {
		return "", errors.New("the two passwords differ: nothing was changed")
	}
	return string(typed[0]), nil
}

// migrate brings the database up to date, or shows how it stands.
func (m *command) migrate(args []string) error {
	flags := m.flags("server migrate")
	status := flags.Bool("status", false, "apply nothing: list the migrations and when they were applied")
	if err := m.parse(flags, args); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	db, err := OpenDatabase(ctx, m.config, quiet())
	if err != nil {
		return err
	}
	defer db.Close() //nolint:errcheck // what matters was committed
	if !*status {
		if err := db.Migrate(context.Background(), migrationsOf(m.options)...); err != nil { // as long as it takes
			return err
		}
	}
	states, err := db.MigrationStatus(ctx, migrationsOf(m.options)...)
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(m.out, 0, 0, 2, ' ', 0)
	for _, s := range states {
		applied := "pending"
		if !s.AppliedAt.IsZero() {
			applied = s.AppliedAt.UTC().Format("2006-01-02 15:04:05Z")
		}
		fmt.Fprintf(table, "%s\t%05d\t%s\t%s\n", s.Module, s.Version, s.Name, applied)
	}
	return table.Flush()
}
