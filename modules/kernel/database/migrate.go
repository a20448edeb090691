package database

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"regexp"
	"time"

	"github.com/pressly/goose/v3"
	goosedb "github.com/pressly/goose/v3/database"

	"github.com/latchkey-go/latchkey/modules/kernel/database/internal/sqlitefile"
)

// Migrations are the schema of one module, in steps. FS holds them at its root, as SQL files with goose's annotations:
//
//	00001_users.sql                  version 1 on both databases
//	00002_search.postgres.sql        version 2 on PostgreSQL only
//	00002_search.sqlite.sql          and its counterpart, if there is one
//
// A file for both databases may say timestamptz: on SQLite it becomes timestamp, the word by which database/sql knows
// to return a time there. Each file runs in a transaction of its own, so "-- +goose NO TRANSACTION" is refused. A file
// that has been released is never edited; what it got wrong is another file.
//
// Which steps a database has taken is kept in the table latchkey_<module>_migrations.
type Migrations struct {
	Module string // lower-case letters, digits and underscores
	FS     fs.FS
}

// MigrationState is one step of one module, taken or not.
type MigrationState struct {
	Module    string
	Version   int64
	Name      string    // from the file name: "users" of 00001_users.sql
	AppliedAt time.Time // zero while it is pending
}

// Migrate takes all pending steps of all modules, in the order given. Any number of processes may call it at once on
// one database: one works, the others wait for it and find nothing left to do. If it fails, or its process dies, the
// steps it finished stay and the next call goes on from there.
//
// The wait on PostgreSQL is a session's advisory lock, which does not pass through a pooler in transaction mode.
func (db *DB) Migrate(ctx context.Context, all ...Migrations) error {
	if db.current(ctx) != nil {
		return errors.New("database: Migrate inside a transaction")
	}
	sets, err := db.scripts(all)
	if err != nil {
		return err
	}
	unlock, err := db.lockMigrations(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	if err := db.gate.enter(ctx); err != nil {
		return err
	}
	defer db.gate.leave()

	for i, set := range sets {
		module := all[i].Module
		if len(set) == 0 { // all of it is for the other kind of database
			continue
		}
		store, err := db.newVersions(module)
		if err != nil {
			return fmt.Errorf("migrate %s: %w", module, err)
		}
		provider, err := goose.NewProvider(goose.DialectCustom, db.write.DB, set,
			goose.WithStore(store), goose.WithDisableGlobalRegistry(true))
		if err != nil {
			return fmt.Errorf("migrate %s: %w", module, err)
		}
		done, err := provider.Up(ctx)
		if err != nil {
			return fmt.Errorf("migrate %s: %w", module, err)
		}
		for _, step := range done {
			db.log.InfoContext(ctx, "migrated", "module", module, "file", step.Source.Path, "ms", step.Duration.Milliseconds())
		}
	}
	return nil
}

// MigrationStatus lists all steps of all modules in the order in which Migrate takes them. It changes nothing, not even
// in a database that has no tables yet, and waits for nobody.
func (db *DB) MigrationStatus(ctx context.Context, all ...Migrations) ([]MigrationState, error) {
	sets, err := db.scripts(all)
	if err != nil {
		return nil, err
	}
	var states []MigrationState
	for i, set := range sets {
		module := all[i].Module
		applied, err := db.applied(ctx, module)
		if err != nil {
			return nil, fmt.Errorf("migration status of %s: %w", module, err)
		}
		for _, s := range set {
			states = append(states, MigrationState{
				Module:    module,
				Version:   s.version,
				Name:      s.name,
				AppliedAt: applied[s.version],
			})
		}
	}
	return states, nil
}

// applied is when each step of module was taken.
func (db *DB) applied(ctx context.Context, module string) (map[int64]time.Time, error) {
	store, err := db.newVersions(module)
	if err != nil {
		return nil, err
	}
	pool := db.read.DB
	if exists, err := store.TableExists(ctx, pool); err != nil || !exists {
		return nil, err
	}
	rows, err := pool.QueryContext(ctx, "SELECT version_id, tstamp FROM "+store.Tablename()+" WHERE version_id > 0") //nolint:gosec // the name is made of a module's
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	applied := make(map[int64]time.Time)
	for rows.Next() {
		var version int64
		var at time.Time
		if err := rows.Scan(&version, &at); err != nil {
			return nil, err
		}
		applied[version] = at.UTC()
	}
	return applied, rows.Err()
}

// scripts picks from each of all what is meant for this database.
func (db *DB) scripts(all []Migrations) ([]scripts, error) {
	sets := make([]scripts, len(all))
	seen := make(map[string]bool)
	for i, m := range all {
		if !moduleName.MatchString(m.Module) {
			return nil, fmt.Errorf("database: %q cannot name a module with migrations", m.Module)
		}
		if seen[m.Module] {
			return nil, fmt.Errorf("database: migrations of %s are given twice", m.Module)
		}
		seen[m.Module] = true
		set, err := readScripts(m.FS, db.dialect)
		if err != nil {
			return nil, fmt.Errorf("migrations of %s: %w", m.Module, err)
		}
		sets[i] = set
	}
	return sets, nil
}

var moduleName = regexp.MustCompile(`^[a-z][a-z0-9_]{0,40}$`)

// versions is goose's record of the steps taken.
type versions struct {
	goosedb.Store
	dialect Dialect
}

func (db *DB) newVersions(module string) (versions, error) {
	dialect := goosedb.DialectSQLite3
	if db.dialect == Postgres {
		dialect = goosedb.DialectPostgres
	}
	store, err := goosedb.NewStore(dialect, "latchkey_"+module+"_migrations")
	return versions{store, db.dialect}, err
}

// TableExists spares goose from finding out by an error, which PostgreSQL would log.
func (v versions) TableExists(ctx context.Context, db goosedb.DBTxConn) (exists bool, err error) {
	query := "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = $1)"
	if v.dialect == Postgres {
		query = "SELECT EXISTS (SELECT 1 FROM pg_tables WHERE schemaname = current_schema() AND tablename = $1)"
	}
	err = db.QueryRowContext(ctx, query, v.Tablename()).Scan(&exists)
	return exists, err
}

// Insert differs from goose's on PostgreSQL, where the column has no time zone and would get the session's hour.
func (v versions) Insert(ctx context.Context, db goosedb.DBTxConn, req goosedb.InsertRequest) error {
	if v.dialect != Postgres {
		return v.Store.Insert(ctx, db, req)
	}
	_, err := db.ExecContext(ctx, "INSERT INTO "+v.Tablename()+
		" (version_id, is_applied, tstamp) VALUES ($1, true, timezone('utc', now()))", req.Version)
	return err
}

// lockMigrations waits until no other process migrates this database. Either lock ends with the process that holds it.
func (db *DB) lockMigrations(ctx context.Context) (unlock func(), err error) {
	if db.dialect == SQLite {
		var path string
		err := db.read.DB.QueryRowContext(ctx, "SELECT file FROM pragma_database_list WHERE name = 'main'").Scan(&path)
		if err != nil {
			return nil, fmt.Errorf("lock for migration: %w", err)
		}
		if path == "" { // in memory: there is no other process
			return func() {}, nil
		}
		return sqlitefile.Lock(ctx, db.write.Driver(), path)
	}

	if db.write.Stats().MaxOpenConnections == 1 {
		return nil, errors.New("database: to migrate PostgreSQL takes two connections, and the pool has one")
	}
	conn, err := db.write.DB.Conn(ctx)
	if err != nil {
		return nil, fmt.Errorf("lock for migration: %w", err)
	}
	id, err := lockID(ctx, conn)
	if err == nil {
		_, err = conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", id)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock for migration: %w", err), discard(conn))
	}
	return func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
		defer cancel()
		if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_unlock($1)", id); err != nil {
			_ = discard(conn)
			return
		}
		_ = conn.Close()
	}, nil
}

// lockID is the number of our lock in the schema in use: two installations in one database do not wait for each other.
func lockID(ctx context.Context, conn *sql.Conn) (int64, error) {
	var schema sql.NullString
	if err := conn.QueryRowContext(ctx, "SELECT current_schema()").Scan(&schema); err != nil {
		return 0, err
	}
	if !schema.Valid {
		return 0, errors.New("no schema in the search_path exists")
	}
	h := fnv.New64a()
	_, _ = h.Write([]byte("latchkey migrations\x00" + schema.String))
	return int64(h.Sum64()), nil //nolint:gosec // any 64 bits will do
}

// discard closes conn rather than give it back: it may hold the lock.
func discard(conn *sql.Conn) error {
	_ = conn.Raw(func(any) error { return driver.ErrBadConn })
	if err := conn.Close(); !errors.Is(err, sql.ErrConnDone) {
		return err
	}
	return nil
}
