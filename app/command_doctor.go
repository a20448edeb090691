package app

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/latchkey-go/latchkey/app/doctor"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// exitUnseen is the exit code of 'server doctor' when it could not look, or not at all of it.
const exitUnseen = 2

// exitCode is an error that has been told, or is none to tell.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// doctor asks the database whether what must always hold does, and changes nothing.
func (m *command) doctor(args []string) error {
	flags := m.flags("server doctor")
	asJSON := flags.Bool("json", false, "print the report as JSON")
	list := flags.Bool("list", false, "ask nothing: list the invariants and what each means")
	full := flags.Bool("full", false, "of SQLite, also compare every index with its table (integrity_check), which takes long on a large file")
	flags.Usage = func() {
		fmt.Fprintln(flags.Output(), "Usage of server doctor: exit 0 if all invariants hold, 1 if one is violated, 2 if it could not look at all of them.")
		flags.PrintDefaults()
	}
	if err := m.parse(flags, args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("server doctor needs nothing but flags; %w", usageOf(flags))
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if *list {
		return m.listInvariants()
	}
	report, err := m.examine(ctx, *full)
	if err != nil {
		fmt.Fprintln(m.err, "Error:", err)
		return exitCode(exitUnseen)
	}
	if *asJSON {
		err = m.json(report)
	} else {
		_, err = fmt.Fprint(m.out, report)
	}
	switch {
	case err != nil:
		return err
	case len(report.Violated()) > 0:
		return exitCode(exitFailed)
	case len(report.Unasked()) > 0:
		return exitCode(exitUnseen)
	}
	return nil
}

func (m *command) examine(ctx context.Context, full bool) (report doctor.Report, err error) {
	opening, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	db, err := OpenReadOnly(opening, m.config, quiet())
	if err != nil {
		return doctor.Report{}, err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	how := doctor.Quick
	if full {
		how = doctor.Full
	}
	return doctor.Examine(ctx, db, doctor.Options{
		Migrations: migrationsOf(m.options), File: how, Events: m.config.Events.Retention, Audit: m.config.Audit.Retention,
	})
}

func (m *command) listInvariants() error {
	of := database.SQLite
	if m.config.Database.URL.Postgres() {
		of = database.Postgres
	}
	for _, i := range doctor.Invariants(of) {
		if _, err := fmt.Fprintf(m.out, "%s (%s): %s\n", i.Name, i.Rule, i.Means); err != nil {
			return err
		}
	}
	return nil
}
