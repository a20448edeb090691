package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/app/webhook"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/postgres"
	"github.com/latchkey-go/latchkey/modules/kernel/database/sqlite"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Migrations are the tables of every part of the program.
func Migrations() []database.Migrations {
	return []database.Migrations{user.Migrations(), auth.Migrations(), link.Migrations(), outbox.Migrations(), audit.Migrations(), webhook.Migrations()}
}

// WithMigrations adds tables of the application's own to those of the program: they are made in the order given, after all
// others, before anything opens the database, by every start, every command, and "server migrate", which lists them, too.
// Give all in one call, since of two calls either may come first. It is an option of New and Main themselves: within
// fx.Options, "server migrate" does not see it.
func WithMigrations(own ...database.Migrations) fx.Option {
	return withMigrations{fx.Supply(fx.Annotate(ownMigrations(own), fx.ResultTags(`group:"app.migrations"`))), own}
}

type withMigrations struct {
	fx.Option
	own ownMigrations
}

type ownMigrations []database.Migrations

// migrationsOf are the program's migrations and those that the options add.
func migrationsOf(opts []fx.Option) []database.Migrations {
	all := Migrations()
	for _, o := range opts {
		if with, ok := o.(withMigrations); ok {
			all = append(all, with.own...)
		}
	}
	return all
}

// startTimeout is how long opening and migrating the database may take, other nodes' migrations included. What takes longer,
// on a great many rows, is for the command migrate, which waits.
const startTimeout = time.Minute

// openDatabase hands out a database that is migrated already, so that no service exists on an old schema. It touches none
// before the configuration was checked.
func openDatabase(lc fx.Lifecycle, c *Config, log *slog.Logger, _ providersChecked, own []ownMigrations) (*database.DB, newDatabase, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	db, err := OpenDatabase(ctx, c, log)
	if err != nil {
		return nil, false, err
	}
	lc.Append(fx.StopHook(db.Close))
	before, err := db.MigrationStatus(ctx, user.Migrations())
	if err == nil {
		err = db.Migrate(ctx, slices.Concat(Migrations(), slices.Concat(own...))...)
	}
	if err != nil {
		return nil, false, errors.Join(fmt.Errorf("migrate: %w", err), db.Close())
	}
	return db, newDatabase(!slices.ContainsFunc(before, func(s database.MigrationState) bool { return !s.AppliedAt.IsZero() })), nil
}

// newDatabase says that there were no tables of ours before.
type newDatabase bool

// warnOfMissingIndexes says at the start, once, what makes the server slow and what to do about it.
func warnOfMissingIndexes(lc fx.Lifecycle, users *user.Service, log *slog.Logger) {
	lc.Append(fx.StartHook(func(ctx context.Context) error {
		missing, err := users.MissingIndexes(ctx)
		if err == nil && len(missing) > 0 {
			log.Warn("searching users and invites has no index and reads every row: the extension pg_trgm was not there and could not be made; "+
				"have somebody who may make it run these statements", "statements", strings.Join(missing, "; "))
		}
		return err
	}))
}

// OpenDatabase opens the configured database as it is, without migrating it.
func OpenDatabase(ctx context.Context, c *Config, log *slog.Logger) (*database.DB, error) {
	if c.Database.URL.Postgres() {
		return postgres.Open(ctx, string(c.Database.URL), c.Database.MaxConns, log)
	}
	if _, elsewhere := c.Database.URL.SQLitePath(); !elsewhere {
		if err := makeDataDir(c); err != nil {
			return nil, err
		}
	}
	return sqlite.Open(ctx, c.sqlitePath(), log)
}

// sqlitePath is where the SQLite database is: in the data directory, unless it has a path of its own.
func (c *Config) sqlitePath() string {
	if path, ok := c.Database.URL.SQLitePath(); ok {
		return path
	}
	return filepath.Join(c.DataDir, "latchkey.db")
}

// OpenReadOnly opens the configured database, which must be there, to look at it while others work with it. On SQLite every
// write through it fails; on PostgreSQL what is read in a Snapshot cannot write.
func OpenReadOnly(ctx context.Context, c *Config, log *slog.Logger) (*database.DB, error) {
	if c.Database.URL.Postgres() {
		return postgres.Open(ctx, string(c.Database.URL), 2, log)
	}
	if err := c.wantDatabase(); err != nil {
		return nil, err
	}
	return sqlite.OpenReadOnly(ctx, c.sqlitePath(), log)
}

// databaseName says in words which database is used, without its password.
func databaseName(c *Config) string {
	if c.Database.URL.Postgres() {
		return "PostgreSQL at " + c.Database.URL.String()
	}
	return "SQLite in " + c.sqlitePath()
}

// databasePlace is where the database is, for who must know which one it was: no more of a URL than host and name.
func databasePlace(c *Config) string {
	if c.Database.URL.Postgres() {
		place, err := postgres.Place(string(c.Database.URL))
		if err != nil || c.Database.URL.String() == redacted { // it is not told apart what in it is a password
			return "postgres"
		}
		return "postgres " + place
	}
	return "sqlite " + absolute(c.sqlitePath())
}

func makeDataDir(c *Config) error {
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	return nil
}
