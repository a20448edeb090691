// Package postgres opens a PostgreSQL database as a [database.DB].
package postgres

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
	"github.com/uptrace/bun"
	"github.com/uptrace/bun/dialect/pgdialect"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// Open connects to the database at rawURL, "postgres://user:password@host:5432/name?sslmode=…", with at most maxConns
// connections, all of which are kept; 0 means 16, and fewer than 2 cannot work, because migrations need two at a time.
// A schema other than public is chosen by search_path in the URL.
//
// A server that is just starting is waited for, about five seconds. No error repeats the password.
func Open(ctx context.Context, rawURL string, maxConns int, log *slog.Logger) (*database.DB, error) {
	switch {
	case maxConns == 0:
		maxConns = 16
	case maxConns < 2:
		return nil, fmt.Errorf("postgres: %d connections are too few, at least 2 are needed", maxConns)
	}
	config, err := parse(rawURL)
	if err != nil {
		return nil, err
	}
	pool := stdlib.OpenDB(*config)
	pool.SetMaxOpenConns(maxConns)
	pool.SetMaxIdleConns(maxConns) // the usual 2 would reconnect all the time under load
	if err := reach(ctx, pool); err != nil {
		return nil, errors.Join(fmt.Errorf("postgres: connect to %s: %w", where(config), err), pool.Close())
	}
	db := bun.NewDB(pool, pgdialect.New())
	return database.New(db, db, log), nil
}

func parse(rawURL string) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(rawURL)
	if err != nil {
		u, perr := url.Parse(rawURL)
		if perr != nil || u.Scheme == "" { // the reason would quote what it could not read, the password too
			return nil, errors.New("postgres: the URL cannot be parsed; it looks like postgres://user:password@host:5432/name, with special characters in the password percent-encoded")
		}
		reason := err.Error()
		for _, secret := range secrets(u) {
			reason = strings.ReplaceAll(reason, secret, "xxxxx")
		}
		return nil, fmt.Errorf("postgres: the URL is not right: %s", reason)
	}
	// bun writes the arguments into the statement, so no two are the same and preparing them would only cost a second
	// round trip each. It also works behind a pooler.
	if !strings.Contains(rawURL, "default_query_exec_mode") {
		config.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	// Written into the statement, a backslash must stand for itself, whatever the database or role was set to.
	config.RuntimeParams["standard_conforming_strings"] = "on"
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = 10 * time.Second
	}
	return config, nil
}

// secrets are the ways in which the password of u may be spelled in an error.
func secrets(u *url.URL) []string {
	var all []string
	if password, ok := u.User.Password(); ok {
		_, encoded, _ := strings.Cut(u.User.String(), ":")
		all = append(all, password, encoded, url.QueryEscape(password))
	}
	for _, name := range []string{"password", "sslpassword"} {
		for _, password := range u.Query()[name] {
			all = append(all, password, url.QueryEscape(password))
		}
	}
	kept := all[:0]
	for _, s := range all {
		if s != "" {
			kept = append(kept, s)
		}
	}
	return kept
}

// Place is where the database of a URL is, "host:5432/name" or "/directory/name", without user and password: as it is connected to, parameters
// of the URL, PGHOST and the like included.
func Place(rawURL string) (string, error) {
	c, err := parse(rawURL)
	if err != nil {
		return "", err
	}
	var hosts []string
	add := func(host string, port uint16) {
		if !filepath.IsAbs(host) { // or it is the directory of a socket
			host = net.JoinHostPort(host, fmt.Sprint(port))
		}
		if !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	add(c.Host, c.Port)
	for _, f := range c.Fallbacks {
		add(f.Host, f.Port)
	}
	return strings.Join(hosts, ",") + "/" + cmp.Or(c.Database, c.User), nil
}

func where(c *pgx.ConnConfig) string {
	return fmt.Sprintf("%s, database %q as user %q", net.JoinHostPort(c.Host, fmt.Sprint(c.Port)), c.Database, c.User)
}

// reach waits until the server answers, or says why it will not.
func reach(ctx context.Context, pool *sql.DB) error {
	for start := time.Now(); ; {
		err := pool.PingContext(ctx)
		if err == nil || !starting(err) || time.Since(start) > 5*time.Second {
			return err
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return err
		}
	}
}

// starting reports whether err is what one gets while a server starts: nobody listens yet, or it says so itself.
func starting(err error) bool {
	var dial *net.OpError
	if errors.As(err, &dial) && dial.Op == "dial" {
		return !dial.Timeout()
	}
	var server *pgconn.PgError
	return errors.As(err, &server) && server.Code == "57P03"
}
