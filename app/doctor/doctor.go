package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// Options say what to look at. The zero value asks the invariants alone.
type Options struct {
	Migrations []database.Migrations // of this program, to tell whether the schema is the one it knows
	File       File                  // how much of a SQLite file to read
	// For how long events and audit events are kept: what is younger must have its own. Zero: for good.
	Events, Audit time.Duration
}

// File is a look at the SQLite file itself. PostgreSQL has programs of its own for that, such as pg_amcheck.
type File string

// The looks.
const (
	NotTheFile File = ""
	Quick      File = "quick_check"     // reads all of it
	Full       File = "integrity_check" // also compares indexes with tables: several times as long
)

// Report is what Examine has found.
type Report struct {
	Database database.Dialect `json:"database"`
	At       time.Time        `json:"at"` // the state that was looked at
	Ms       int64            `json:"ms"` // that it took
	Pending  []string         `json:"pending_migrations"`
	Unknown  []string         `json:"unknown_migrations"` // that a newer program has applied
	Findings []Finding        `json:"invariants"`
}

// A Finding is what became of one invariant.
type Finding struct {
	Invariant

	Violations int      `json:"violations"`
	Examples   []string `json:"examples"`          // ids of some
	Unasked    string   `json:"unasked,omitempty"` // why it could not be asked
	Ms         int64    `json:"ms"`
}

// Violated are the findings of what does not hold.
func (r Report) Violated() []Finding {
	return slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return f.Violations == 0 })
}

// Unasked are the findings of what could not be looked at.
func (r Report) Unasked() []Finding {
	return slices.DeleteFunc(slices.Clone(r.Findings), func(f Finding) bool { return f.Unasked == "" })
}

// MaxExamples is how many ids a finding names.
const MaxExamples = 5

// Examine asks every invariant of one state of the database, and changes nothing. Open the database anew for it, by
// sqlite.OpenReadOnly if it is SQLite: a connection from before remembers some of what it saw. An invariant whose tables
// or columns are not there is left unasked, and the report says so; Examine fails only if it could not look at all.
func Examine(ctx context.Context, db *database.DB, o Options) (Report, error) {
	start := time.Now()
	r := Report{Database: db.Dialect(), At: database.Now(), Pending: []string{}, Unknown: []string{}}
	states, err := db.MigrationStatus(ctx, o.Migrations...)
	if err != nil {
		return Report{}, err
	}
	newest := map[string]int64{}
	for _, m := range o.Migrations {
		newest[m.Module] = 0
	}
	for _, s := range states {
		newest[s.Module] = max(newest[s.Module], s.Version)
		if s.AppliedAt.IsZero() {
			r.Pending = append(r.Pending, fmt.Sprintf("%s %05d %s", s.Module, s.Version, s.Name))
		}
	}
	err = db.Snapshot(ctx, func(ctx context.Context) error {
		l := look{store: store{db}}
		if err := l.begin(ctx, r.At, o); err != nil {
			return err
		}
		for _, m := range o.Migrations {
			unknown, err := l.unknown(ctx, m.Module, newest[m.Module])
			if err != nil {
				return err
			}
			r.Unknown = append(r.Unknown, unknown...)
		}
		for _, i := range Invariants(db.Dialect()) {
			f, err := l.ask(ctx, i)
			if err != nil {
				return err
			}
			r.Findings = append(r.Findings, f)
		}
		if o.File != NotTheFile && db.Dialect() == database.SQLite {
			f, err := l.readFile(ctx, o.File)
			if err != nil {
				return err
			}
			r.Findings = append(r.Findings, f...)
		}
		return nil
	})
	r.Ms = time.Since(start).Milliseconds()
	return r, err
}

// look is one look at a snapshot.
type look struct {
	store store

	tables                  map[string]bool
	eventsSince, auditSince time.Time // since when nothing is missing of the outbox and the audit trail
}

func (l *look) begin(ctx context.Context, now time.Time, o Options) (err error) {
	if l.tables, err = l.store.tables(ctx); err != nil {
		return err
	}
	if l.eventsSince, err = l.since(ctx, now, o.Events, "latchkey_outbox_event", l.store.oldestEvent); err != nil {
		return err
	}
	l.auditSince, err = l.since(ctx, now, o.Audit, "latchkey_audit_event", l.store.oldestEntry)
	return err
}

// since is from when on a table that is purged is whole: from the oldest row that a purge would take, but no longer ago than
// it keeps them. Purges of two nodes delete out of order, so an old row may be left where newer ones are gone.
func (l *look) since(ctx context.Context, now time.Time, kept time.Duration, table string, oldest func(context.Context) (time.Time, bool, error)) (time.Time, error) {
	if !l.tables[table] {
		return now, nil
	}
	at, ok, err := oldest(ctx)
	switch {
	case err != nil:
		return time.Time{}, err
	case !ok:
		return now, nil
	}
	if young := now.Add(-kept + slack); kept > 0 && young.After(at) {
		return young, nil
	}
	return at, nil
}

// slack is how much earlier than told a purge may have happened: clocks differ, and it was told otherwise at times.
const slack = time.Hour

// unknown are migrations of the module beyond the newest that this program has.
func (l *look) unknown(ctx context.Context, module string, newest int64) (names []string, err error) {
	table := "latchkey_" + module + "_migrations"
	if !l.tables[table] {
		return nil, nil
	}
	versions, err := l.store.versions(ctx, table, newest)
	for _, v := range versions {
		names = append(names, fmt.Sprintf("%s %05d", module, v))
	}
	return names, err
}

func (l *look) ask(ctx context.Context, i Invariant) (Finding, error) {
	f := Finding{Invariant: i, Examples: []string{}}
	for _, table := range i.tables() {
		if !l.tables[table] {
			f.Unasked = "there is no table " + table
			return f, nil
		}
	}
	start := time.Now()
	ids, found, err := l.store.find(ctx, i.query, l.eventsSince, l.auditSince)
	f.Ms = time.Since(start).Milliseconds()
	switch {
	case ctx.Err() != nil:
		return f, ctx.Err()
	case errors.Is(err, errLost):
		return f, err
	case err != nil:
		f.Unasked = err.Error()
	default:
		f.Violations, f.Examples = found, ids
	}
	return f, nil
}

// readFile has SQLite look at the file.
func (l *look) readFile(ctx context.Context, how File) ([]Finding, error) {
	file := Finding{Invariant: Invariant{
		Name: "file", Rule: string(how), Means: "The file is as SQLite writes it.",
		Remedy: "The disk, or a program other than SQLite, has damaged it. Stop the servers, keep a copy, and go back to a backup, or save what can be read by .recover of the sqlite3 shell.",
	}}
	references := Finding{Invariant: Invariant{
		Name: "references", Rule: "foreign_key_check", Means: "No row of any table, the application's own included, refers to one that is not there.", Remedy: sweep,
	}}
	for _, look := range []struct {
		f     *Finding
		query string
	}{
		{&file, "SELECT " + string(how) + " AS id FROM pragma_" + string(how) + " WHERE " + string(how) + " <> 'ok'"},
		{&references, `SELECT "table" AS id FROM pragma_foreign_key_check`},
	} {
		start := time.Now()
		ids, found, err := l.store.find(ctx, look.query)
		if err != nil {
			return nil, fmt.Errorf("read the file: %w", err)
		}
		look.f.Violations, look.f.Examples, look.f.Ms = found, ids, time.Since(start).Milliseconds()
	}
	return []Finding{file, references}, nil
}

// String is the report for people.
func (r Report) String() string {
	var b strings.Builder
	violated, unasked := r.Violated(), r.Unasked()
	for _, f := range violated {
		fmt.Fprintf(&b, "VIOLATED  %s (%s): %d\n  must be:  %s\n  such as:  %s\n  remedy:   %s\n",
			f.Name, f.Rule, f.Violations, f.Means, printable(strings.Join(f.Examples, ", ")), f.Remedy)
	}
	for _, f := range unasked {
		fmt.Fprintf(&b, "UNASKED   %s (%s): %s\n", f.Name, f.Rule, printable(f.Unasked))
	}
	if len(r.Pending) > 0 {
		fmt.Fprintf(&b, "The database is older than this program, which has migrations that are not applied: %s. 'server migrate' applies them.\n", strings.Join(r.Pending, ", "))
	}
	if len(r.Unknown) > 0 {
		fmt.Fprintf(&b, "The database is newer than this program, which does not know these migrations: %s. Ask a newer one: this one may be wrong.\n", strings.Join(r.Unknown, ", "))
	}
	held := len(r.Findings) - len(violated) - len(unasked)
	fmt.Fprintf(&b, "%d of %d invariants hold", held, len(r.Findings))
	switch len(violated) {
	case 0:
	case 1:
		b.WriteString(", 1 is violated")
	default:
		fmt.Fprintf(&b, ", %d are violated", len(violated))
	}
	if len(unasked) > 0 {
		fmt.Fprintf(&b, ", %d could not be asked", len(unasked))
	}
	fmt.Fprintf(&b, " (%d ms).\n", r.Ms)
	return b.String()
}

// printable is a text without what a terminal would take for more than text, or for a line of ours: a database that is not as
// it must be may hold anything.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
