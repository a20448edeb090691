package app

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/webhook"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

const keysUsage = `Usage of server keys:
  server keys status         show which secrets and peppers there are, by name, who uses them, and what to do next
  server keys rotate         take the next step towards a new secret: append one; move it to the front, when every
                             server that is up has it; drop the old one, when nothing made with it is alive
  server keys rotate --append
                             begin with another new secret, though an old one is still there
  server keys rotate --drop NAME
                             drop a secret now: what is still alive of it is void at once

  Secrets in a file (that of the data directory, or secrets: file:/run/secrets/latchkey) are changed in it, and servers
  notice without a restart. For others it says what to change. Where nodes have files of their own, append on one, copy
  the new line to the others, and then run it on each.
`

// keys shows and changes the master secrets.
func (m *command) keys(args []string) error {
	flags := m.flags("server keys")
	flags.Usage = func() { fmt.Fprint(flags.Output(), keysUsage) }
	if len(args) == 0 || helpAsked(args) {
		args = []string{"--help"}
	}
	name := args[0]
	another := flags.Bool("append", false, "append another new secret")
	drop := flags.String("drop", "", "drop the secret of this `name` now")
	if name == "--help" {
		return m.parse(flags, args)
	}
	if err := m.parse(flags, args[1:]); err != nil {
		return err
	}
	run := map[string]func(context.Context, *keyParts) error{
		"status": m.keyStatus,
		"rotate": func(ctx context.Context, p *keyParts) error { return m.rotate(ctx, p, *another, *drop) },
	}[name]
	switch {
	case run == nil:
		return fmt.Errorf("there is no command %q of server keys; %w", name, usageOf(flags))
	case flags.NArg() > 0 || *another && *drop != "" || name == "status" && (*another || *drop != ""):
		return fmt.Errorf("server keys %s was asked for too much; %w", name, usageOf(flags))
	}
	ctx, cancel := context.WithTimeout(commanded(), startTimeout)
	defer cancel()
	p, err := newKeyParts(ctx, m.config)
	if err != nil {
		return err
	}
	defer p.db.Close() //nolint:errcheck // what matters was committed
	return run(ctx, p)
}

// keyParts is what the keys are made of.
type keyParts struct {
	config  *Config
	source  *secretSource
	peppers *keyring.Ring
	db      *database.DB
	lent    bool // the file of the secrets turned out to be one that cannot be changed from here
}

// newKeyParts opens what is there, and makes nothing.
func newKeyParts(ctx context.Context, c *Config) (*keyParts, error) {
	p := &keyParts{config: c, source: c.secretSource("secrets")}
	var err error
	if len(c.Secrets) == 0 {
		if !c.hasDevelopmentSecret() {
			return nil, fmt.Errorf("there is no secret yet in %s: the first start makes one", absolute(c.DataDir))
		}
		if p.source, err = developmentSecrets(c, quiet()); err != nil {
			return nil, err
		}
	}
	if p.peppers, err = newPeppers(c, quiet()); err != nil {
		return nil, err
	}
	if err := c.wantDatabase(); err != nil {
		return nil, err
	}
	if p.db, err = OpenDatabase(ctx, c, quiet()); err != nil {
		return nil, err
	}
	states, err := p.db.MigrationStatus(ctx, auth.Migrations(), audit.Migrations(), webhook.Migrations())
	if err == nil && slices.ContainsFunc(states, func(s database.MigrationState) bool { return s.AppliedAt.IsZero() }) {
		err = errors.New("the database is not up to date: start the server, or run 'server migrate', then try again")
	}
	if err != nil {
		return nil, errors.Join(err, p.db.Close())
	}
	return p, nil
}

// wantDatabase is for commands that have nothing to do where there is no database, so that they make none in a wrong directory.
func (c *Config) wantDatabase() error {
	if c.Database.URL.Postgres() {
		return nil // whoever made it, this program did not
	}
	path := c.sqlitePath()
	switch _, err := os.Stat(path); {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("there is no database yet at %s: the first start makes it", absolute(path))
	default:
		return err
	}
}

// absolute is a path as somebody finds it who does not know which directory is meant.
func absolute(path string) string {
	if whole, err := filepath.Abs(path); err == nil {
		return whole
	}
	return path
}

// custody is that of the secrets in lines.
func (p *keyParts) custody(lines []string) (*auth.Custody, error) {
	ring, err := ringOf(lines)
	if err != nil {
		return nil, err
	}
	passwords, err := auth.NewPasswords(auth.PasswordParams{Keys: ring, Peppers: p.peppers, Options: passwordOptions(p.config)})
	if err != nil {
		return nil, err
	}
	return auth.NewCustody(auth.CustodyParams{DB: p.db, Keys: ring, Peppers: p.peppers, Passwords: passwords, Log: quiet()})
}

// vault is that of the secrets of webhooks, under the secrets in lines.
func (p *keyParts) vault(lines []string) (*webhook.Vault, error) {
	ring, err := ringOf(lines)
	if err != nil {
		return nil, err
	}
	return webhook.NewVault(p.db, ring), nil
}

// read returns the lines and how the keys stand.
func (p *keyParts) read(ctx context.Context) (lines []string, custody *auth.Custody, status auth.KeyStatus, err error) {
	if lines, err = p.source.lines(); err != nil {
		return nil, nil, auth.KeyStatus{}, err
	}
	if custody, err = p.custody(lines); err != nil {
		return nil, nil, auth.KeyStatus{}, err
	}
	status, err = custody.Status(ctx)
	return lines, custody, status, err
}

func (m *command) keyStatus(ctx context.Context, p *keyParts) error {
	lines, _, status, err := p.read(ctx)
	if err != nil {
		return err
	}
	vault, err := p.vault(lines)
	if err != nil {
		return err
	}
	kept, err := vault.Status(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(m.out, "Secrets, from %s:\n", p.where())
	table := tabwriter.NewWriter(m.out, 0, 0, 2, ' ', 0)
	for i, s := range status.Secrets {
		role := "verifies"
		switch {
		case i == 0:
			role = "signs"
		case !s.Held:
			role = "is not in the list any more"
		}
		fmt.Fprintf(table, "  %s\t%s\tserves since %s\tsigned last %s\n", s.Name, role, moment(s.ServedAt), toTheMinute(s.SignedAt))
	}
	fmt.Fprintln(table, "Peppers:")
	for _, s := range status.Peppers {
		role := "verifies"
		switch {
		case s.Makes:
			role = "makes hashes"
		case s.GivenUp:
			role = "was given up"
		case s.Source == "":
			role = "is missing"
		}
		fmt.Fprintf(table, "  %s\t%s\t%s\tpeople whose password hangs on it: %d\n", s.Name, role, cmp.Or(s.Source, "-"), s.People)
	}
	if kept.Secrets > 0 {
		fmt.Fprintln(table, "Secrets of webhooks:")
		fmt.Fprintf(table, "  %d, of which these secrets open\t%d\n", kept.Secrets, kept.Secrets-kept.Closed)
		for _, id := range kept.Lost {
			fmt.Fprintf(table, "  %s\tis sent nothing: put the secret that is missing back, or 'server webhooks rotate %s'\n", id, id)
		}
	}
	fmt.Fprintln(table, "Servers that are up:")
	for _, s := range status.Servers {
		fmt.Fprintf(table, "  %s\tsigns with %s\thas %s\tseen %s\n", s.Name, s.Secrets[0], strings.Join(s.Secrets, ", "), moment(s.SeenAt))
	}
	if len(status.Servers) == 0 {
		fmt.Fprintln(table, "  none")
	}
	if err := table.Flush(); err != nil {
		return err
	}
	next := p.next(status)
	fmt.Fprintf(m.out, "Next: %s\n", next.says)
	return nil
}

// where says where the secrets come from.
func (p *keyParts) where() string {
	source := strings.Join(p.source.files(), " and ")
	switch {
	case len(p.config.Secrets) == 0:
		return "the file " + source + ", which is for development"
	case p.source.editable() != "":
		return "the file " + source + " (" + p.source.where + ")"
	case source != "":
		return p.source.where + ", with the file " + source
	}
	return p.source.where
}

func moment(t time.Time) string {
	if t.IsZero() {
		return "never"
	}
	return t.UTC().Format("2006-01-02 15:04:05Z")
}

// toTheMinute is the moment of what is noted once a minute only.
func toTheMinute(t time.Time) string {
	if t.IsZero() {
		return moment(t)
	}
	return t.UTC().Format("2006-01-02 15:04Z") + ", to the minute"
}

// step is what comes next in a rotation.
type step struct {
	kind string // append, front, drop or wait
	name string // of the secret that it is about
	says string
}

// next says what the next safe step is. It never is one after which a server refuses what another one signs.
func (p *keyParts) next(s auth.KeyStatus) step {
	if s.Lost != nil {
		return step{"wait", "", "no server starts with these. " + strings.TrimSuffix(explainKeys(s.Lost, p.config), "\n")}
	}
	held := slices.DeleteFunc(slices.Clone(s.Secrets), func(s auth.SecretStatus) bool { return !s.Held })
	last := held[len(held)-1]
	for _, server := range s.Servers {
		for _, name := range server.Secrets {
			if !slices.ContainsFunc(held, func(s auth.SecretStatus) bool { return s.Name == name }) {
				return step{"wait", name, fmt.Sprintf("%s has the secret %s, which is not in this list: copy it from there to the end of this list, or drop it there.", server.Name, name)}
			}
		}
	}
	switch {
	case len(held) == 1:
		return step{"append", "", "nothing has to be done. 'server keys rotate' begins to rotate: it appends a new secret."}
	case last.ServedAt.IsZero() || last.ServedAt.After(held[0].ServedAt): // the newest is not in front
		if lacking := serversWithout(s, last.Name); len(lacking) > 0 {
			return step{"wait", last.Name, fmt.Sprintf("%s must be appended everywhere before it signs, and these servers do not have it: %s.", last.Name, strings.Join(lacking, "; "))}
		}
		return step{"front", last.Name, fmt.Sprintf("append %s on every node that has a list of its own, also on those that are down; then 'server keys rotate' moves it to the front.", last.Name)}
	}
	if signing := serversSigning(s, last.Name); len(signing) > 0 {
		return step{"wait", last.Name, fmt.Sprintf("%s must be moved to the front everywhere, and these servers still sign with %s: %s.", held[0].Name, last.Name, strings.Join(signing, "; "))}
	}
	if until := last.SignedAt.Add(p.life()); until.After(time.Now()) {
		return step{"wait", last.Name, fmt.Sprintf("what %s has signed is alive until %s; from then on 'server keys rotate' drops it.", last.Name, moment(until))}
	}
	return step{"drop", last.Name, fmt.Sprintf("nothing that %s has signed is alive any more, but for what makes devices known: those that did not sign in since are strangers until they do. 'server keys rotate' drops it.", last.Name)}
}

// life is how long something can live that was signed just now, with a minute for what the database knows only so well. It
// passes over the cookies of known devices, which live for half a year and open nothing.
func (p *keyParts) life() time.Duration {
	return max(p.config.Auth.Token.TTL, p.config.Invite.TTL, p.config.Invite.MaxTTL, 24*time.Hour) + 2*time.Minute // a day: requests for a new password
}

func serversWithout(s auth.KeyStatus, secret string) (names []string) {
	for _, server := range s.Servers {
		if !slices.Contains(server.Secrets, secret) {
			names = append(names, fmt.Sprintf("%s (seen %s)", server.Name, moment(server.SeenAt)))
		}
	}
	return names
}

func serversSigning(s auth.KeyStatus, secret string) (names []string) {
	for _, server := range s.Servers {
		if len(server.Secrets) > 0 && server.Secrets[0] == secret {
			names = append(names, fmt.Sprintf("%s (seen %s)", server.Name, moment(server.SeenAt)))
		}
	}
	return names
}

// rotate takes one step.
func (m *command) rotate(ctx context.Context, p *keyParts, another bool, drop string) error {
	_, custody, _, err := p.read(ctx)
	if err != nil {
		return err
	}
	if err := custody.Open(ctx, false); err != nil { // also keeps the peppers under every secret, so that one can go
		return err
	}
	var after []string // what the file holds now; nil: it was not changed
	run := func(ctx context.Context) error {
		lines, _, status, err := p.read(ctx)
		if err != nil {
			return err
		}
		s := p.next(status)
		switch {
		case another:
			s = step{kind: "append"}
		case drop != "":
			if s, err = m.stepOfDrop(status, drop); err != nil {
				return err
			}
		case s.kind == "wait":
			fmt.Fprintf(m.out, "Nothing was changed: %s\n", s.says)
			return nil
		}
		after, err = m.take(ctx, p, s, lines)
		return err
	}
	if err = custody.Alone(ctx, run); errors.Is(err, errLent) { // nor has the trail kept that it was
		err = custody.Alone(ctx, run)
	}
	if err != nil || after == nil {
		return err
	}
	// The servers take note by themselves; where none is up, this is what knows the new list.
	if custody, err = p.custody(after); err == nil {
		err = custody.Open(ctx, false)
	}
	if err != nil {
		return err
	}
	return p.resealWebhooks(ctx, after)
}

// resealWebhooks encrypts the secrets of webhooks under the secrets in lines, and under no others.
func (p *keyParts) resealWebhooks(ctx context.Context, lines []string) error {
	vault, err := p.vault(lines)
	if err == nil {
		_, err = vault.Reseal(ctx)
	}
	return err
}

// stepOfDrop is the step that drops a secret at once.
func (m *command) stepOfDrop(s auth.KeyStatus, name string) (step, error) {
	at := slices.IndexFunc(s.Secrets, func(s auth.SecretStatus) bool { return s.Held && s.Name == name })
	switch signing := serversSigning(s, name); {
	case at < 0:
		var held []string
		for _, s := range s.Secrets {
			if s.Held {
				held = append(held, s.Name)
			}
		}
		return step{}, fmt.Errorf("there is no secret %s in the list; there are %s", name, strings.Join(held, ", "))
	case at == 0:
		return step{}, fmt.Errorf("%s is the one that signs: 'server keys rotate' brings another one to the front", name)
	case len(signing) > 0:
		return step{}, fmt.Errorf("these servers still sign with %s: %s", name, strings.Join(signing, "; "))
	}
	return step{kind: "drop", name: name}, nil
}

// errLent says that the file cannot be changed from here.
var errLent = errors.New("the file of the secrets is only lent")

// record has the audit trail keep the step, and whether it is taken here or was told to somebody who takes it.
func (p *keyParts) record(ctx context.Context, s step, lines, after []string, here bool) error {
	ring, err := ringOf(lines)
	if err != nil {
		return err
	}
	trail, err := audit.New(audit.Params{DB: p.db, Keys: ring})
	if err != nil {
		return err
	}
	name := s.name
	if name == "" {
		name = nameOf(after[len(after)-1])
	}
	action := map[string]string{"append": "secret.appended", "front": "secret.promoted", "drop": "secret.dropped"}[s.kind]
	return trail.Record(ctx, audit.Entry{Action: action, TargetType: "secret", TargetID: name, Details: map[string]any{"here": here}})
}

// take takes the step in the file, or says how to take it elsewhere. It returns the new lines if it changed them.
func (m *command) take(ctx context.Context, p *keyParts, s step, lines []string) (after []string, err error) {
	entry := 0
	if s.name != "" {
		rest, err := without(lines, s.name)
		if err != nil {
			return nil, err
		}
		for entry < len(rest) && rest[entry] == lines[entry] {
			entry++
		}
		if after = rest; s.kind == "front" {
			after = slices.Concat(lines[entry:entry+1], rest)
		}
	} else {
		after = append(slices.Clone(lines), newSecret())
	}
	if s.kind == "drop" {
		if err := p.checkPeppers(ctx, after); err != nil {
			return nil, err
		}
		if err := p.resealWebhooks(ctx, lines); err != nil { // under what stays, too
			return nil, err
		}
	}
	file := p.source.editable()
	here := file != "" && !p.lent
	if err := p.record(ctx, s, lines, after, here); err != nil {
		return nil, err
	}
	if !here {
		m.explainStep(p, s, after, entry+1)
		return nil, nil
	}
	if err := replaceLines(file, after); slices.ContainsFunc(unchangeable, func(e error) bool { return errors.Is(err, e) }) {
		p.lent = true
		return nil, errLent
	} else if err != nil {
		return nil, fmt.Errorf("%s was not changed: %w", file, err)
	}
	m.sayStep(s, file, after)
	return after, nil
}

// unchangeable is what happens to who changes a file that is only lent: of somebody else, mounted read-only, or mounted as
// this one file.
var unchangeable = []error{fs.ErrPermission, syscall.EROFS, syscall.EBUSY, syscall.EXDEV}

// checkPeppers makes sure that nobody's password hangs on a pepper that would go.
func (p *keyParts) checkPeppers(ctx context.Context, lines []string) error {
	custody, err := p.custody(lines)
	if err != nil {
		return err
	}
	status, err := custody.Status(ctx)
	for _, s := range status.Peppers {
		if err == nil && s.Source == "" && !s.GivenUp && s.People > 0 {
			err = fmt.Errorf("the pepper %s would go with the secret, and nobody could sign in whose password hangs on it: %d; put the secret into %s first", s.Name, s.People, keyPeppers)
		}
	}
	return err
}

// sayStep says what was done to a file and what comes next.
func (m *command) sayStep(s step, file string, after []string) {
	switch s.kind {
	case "append":
		fmt.Fprintf(m.out, "Appended a new secret, %s, to %s. It verifies, and does not sign yet.\n"+
			"Next: append the last line of that file to the list of every node that has one of its own, also of those that are down. Then run 'server keys rotate' again.\n", nameOf(after[len(after)-1]), file)
	case "front":
		fmt.Fprintf(m.out, "Moved the secret %s to the front of %s. Servers sign with it within seconds, and still verify what the others have signed.\n"+
			"Next: run 'server keys rotate' on every node that has a list of its own. 'server keys status' says when the old one can be dropped.\n", s.name, file)
	case "drop":
		fmt.Fprintf(m.out, "Dropped the secret %s from %s. What it has signed is void within seconds.\n"+
			"Next: run 'server keys rotate --drop %s' on every node that has a list of its own.\n", s.name, file, s.name)
	}
}

// explainStep says what to change where the list cannot be changed from here.
func (m *command) explainStep(p *keyParts, s step, after []string, entry int) {
	where := p.source.where
	if file := p.source.editable(); file != "" {
		where = file
	}
	how := "\nRunning servers notice."
	if len(p.source.files()) == 0 {
		how = "\nRestart the nodes with it, one after the other: what is not in a file of its own cannot change while a program runs."
	}
	switch s.kind {
	case "append":
		fmt.Fprintf(m.out, "The list of secrets cannot be changed from here. Append this new secret, behind those that are there, to %s on every node. It is shown this once:\n\n%s\n%s\n"+
			"Next: run 'server keys rotate' again.\n", where, after[len(after)-1], how)
	case "front":
		fmt.Fprintf(m.out, "The list of secrets cannot be changed from here. Move its entry %d, which is %s, to the front of %s on every node.%s\n", entry, s.name, where, how)
	case "drop":
		fmt.Fprintf(m.out, "The list of secrets cannot be changed from here. Take its entry %d, which is %s, out of %s on every node.%s\n", entry, s.name, where, how)
	}
}

func nameOf(line string) string {
	ring, err := ringOf([]string{line})
	if err != nil {
		return "of unknown name"
	}
	return ring.Keys(keyring.Fingerprint)[0].ID
}
