package app

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"time"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/postgres"
	"github.com/latchkey-go/latchkey/modules/kernel/database/sqlite"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Migrations are the tables of every part of the program.
func Migrations() []database.Migrations {
	return []database.Migrations{user.Migrations(), auth.Migrations(), link.Migrations(), outbox.Migrations(), audit.Migrations()}
}

// startTimeout is how long opening and migrating the database may take, other nodes' migrations included. What takes longer,
// on a great many rows, is for the command migrate, which waits.
const startTimeout = time.Minute

// openDatabase hands out a database that is migrated already, so that no service exists on an old schema. It touches none
// before the configuration was checked.
func openDatabase(lc fx.Lifecycle, c *Config, log *slog.Logger, _ providersChecked) (*database.DB, error) {
	ctx, cancel := context.WithTimeout(context.Background(), startTimeout)
	defer cancel()
	db, err := OpenDatabase(ctx, c, log)
	if err != nil {
		return nil, err
	}
	lc.Append(fx.StopHook(db.Close))
	if err := db.Migrate(ctx, Migrations()...); err != nil {
		return nil, errors.Join(fmt.Errorf("migrate: %w", err), db.Close())
	}
	return db, nil
}

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
	path, ok := c.Database.URL.SQLitePath()
	if !ok {
		if err := makeDataDir(c); err != nil {
			return nil, err
		}
		path = filepath.Join(c.DataDir, "latchkey.db")
	}
	return sqlite.Open(ctx, path, log)
}

// databaseName says in words which database is used, without its password.
func databaseName(c *Config) string {
	if c.Database.URL.Postgres() {
		return "PostgreSQL at " + c.Database.URL.String()
	}
	if path, ok := c.Database.URL.SQLitePath(); ok {
		return "SQLite in " + path
	}
	return "SQLite in " + filepath.Join(c.DataDir, "latchkey.db")
}

func makeDataDir(c *Config) error {
	if err := os.MkdirAll(c.DataDir, 0o700); err != nil {
		return fmt.Errorf("make the data directory: %w", err)
	}
	return nil
}

// newKeyring takes the configured secrets, or in development the one in the data directory.
func newKeyring(c *Config, log *slog.Logger) (*keyring.Ring, error) {
	secrets := make([][]byte, 0, len(c.Secrets))
	for _, s := range c.Secrets {
		secrets = append(secrets, s.Bytes())
	}
	if len(secrets) == 0 {
		secret, err := developmentSecret(c, log)
		if err != nil {
			return nil, err
		}
		secrets = append(secrets, secret)
	}
	return keyring.New(secrets...)
}

// developmentSecret reads the secret in the data directory, which it makes the first time. Of several processes that
// start at once, one makes it and all use it.
func developmentSecret(c *Config, log *slog.Logger) ([]byte, error) {
	if err := makeDataDir(c); err != nil {
		return nil, err
	}
	file := filepath.Join(c.DataDir, "secret")
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		text, err = makeSecret(c.DataDir, file, log)
	}
	if err != nil {
		return nil, fmt.Errorf("the development secret: %w", err)
	}
	secret, err := base64.RawURLEncoding.DecodeString(strings.TrimSpace(string(text)))
	if err != nil || len(secret) < keyring.MinSecret {
		return nil, fmt.Errorf("%s does not hold a secret of %d bytes in base64url: restore it, or delete it to have a new one made, with which every password and token made so far is void", file, keyring.MinSecret)
	}
	return secret, nil
}

func makeSecret(dir, file string, log *slog.Logger) ([]byte, error) {
	secret := make([]byte, keyring.MinSecret)
	rand.Read(secret)
	draft, err := os.CreateTemp(dir, "secret-*") // 0600
	if err != nil {
		return nil, err
	}
	defer os.Remove(draft.Name())
	if _, err := draft.WriteString(base64.RawURLEncoding.EncodeToString(secret) + "\n"); err != nil {
		return nil, errors.Join(err, draft.Close())
	}
	if err := errors.Join(draft.Sync(), draft.Close()); err != nil {
		return nil, err
	}
	switch err := os.Link(draft.Name(), file); {
	case err == nil:
		log.Warn("made a secret for development; several nodes need a common one in secrets", "file", file)
	case !errors.Is(err, fs.ErrExist):
		return nil, err
	}
	return os.ReadFile(file) // ours, or that of the process that was first
}
