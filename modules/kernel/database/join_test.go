package database_test

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

func TestJoinWritesInTheTransactionOfTheApplication(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, notes)
		tx := appTx(t, at)
		if _, err := tx.ExecContext(t.Context(), "INSERT INTO latchkey_note (id) VALUES ('theirs')"); err != nil {
			t.Fatal(err)
		}
		var ran []string
		afterCommit, err := db.Join(t.Context(), tx, func(ctx context.Context) error {
			err := db.InTx(ctx, func(ctx context.Context) error {
				return errors.Join(
					db.AfterCommit(ctx, func(context.Context) { ran = append(ran, "after") }),
					write(ctx, db, "ours"),
				)
			})
			var ids []string
			return errors.Join(err,
				db.Conn(ctx).NewSelect().Model((*note)(nil)).Column("id").Order("id").Scan(ctx, &ids),
				wantIDs(ids, "ours", "theirs"))
		})
		if err != nil {
			t.Fatal(err)
		}
		wantWritten(t, db)
		if err := tx.Commit(); err != nil {
			t.Fatal(err)
		}
		if len(ran) > 0 {
			t.Error("ran before afterCommit was called")
		}
		afterCommit()
		afterCommit()
		if !slices.Equal(ran, []string{"after"}) {
			t.Errorf("ran %q, want it once", ran)
		}
		wantWritten(t, db, "ours", "theirs")
	})
}

func wantIDs(got []string, want ...string) error {
	if !slices.Equal(got, want) {
		return errors.New("got " + join(got) + ", want " + join(want))
	}
	return nil
}

func join(s []string) (all string) {
	for _, one := range s {
		all += one + " "
	}
	return all
}

func TestJoinReturnsWhatWasSwallowedInside(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, notes)
		for name, fn := range map[string]func(ctx context.Context) error{
			"error": func(ctx context.Context) error {
				_ = db.InTx(ctx, func(context.Context) error { return errNo })
				return nil
			},
			"panic": func(ctx context.Context) error {
				defer func() { _ = recover() }()
				return db.InTx(ctx, func(context.Context) error { panic("oh") })
			},
			"statement": func(ctx context.Context) error { _ = breakStatement(ctx, db); return nil },
			"query": func(ctx context.Context) error {
				rows, err := db.Conn(ctx).QueryContext(ctx, "SELECT 1 FROM latchkey_nothing")
				if err == nil {
					rows.Close()
				}
				return nil
			},
			"row": func(ctx context.Context) error {
				_ = db.Conn(ctx).QueryRowContext(ctx, "SELECT 1 FROM latchkey_nothing").Scan(new(int))
				return nil
			},
		} {
			t.Run(name, func(t *testing.T) {
				tx := appTx(t, at)
				afterCommit, err := db.Join(t.Context(), tx, func(ctx context.Context) error {
					if err := db.AfterCommit(ctx, func(context.Context) { t.Error("ran") }); err != nil {
						t.Error(err)
					}
					return fn(ctx)
				})
				if err == nil {
					t.Error("no error")
				}
				afterCommit() // harmless
				if err := tx.Rollback(); err != nil {
					t.Error(err)
				}
			})
		}
	})
}

func TestJoinedContextIsOfNoUseAfterwards(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, notes)
		tx := appTx(t, at)
		var kept context.Context
		if _, err := db.Join(t.Context(), tx, func(ctx context.Context) error { kept = ctx; return nil }); err != nil {
			t.Fatal(err)
		}
		if err := write(kept, db, "late"); !errors.Is(err, sql.ErrTxDone) {
			t.Errorf("write: %v, want %v", err, sql.ErrTxDone)
		}
		if err := db.InTx(kept, func(context.Context) error { return nil }); !errors.Is(err, sql.ErrTxDone) {
			t.Errorf("InTx: %v, want %v", err, sql.ErrTxDone)
		}
		if _, err := db.Join(kept, tx, func(context.Context) error { return nil }); err == nil {
			t.Error("joined twice")
		}
	})
}

func TestRawStatementsTakeArgumentsInAJoinedTransaction(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, notes)
		_, err := db.Join(t.Context(), appTx(t, at), func(ctx context.Context) error {
			conn := db.Conn(ctx)
			if _, err := conn.ExecContext(ctx, "INSERT INTO latchkey_note (id) VALUES (?), (?)", "a'", "b"); err != nil {
				return err
			}
			var id string
			if err := conn.QueryRowContext(ctx, "SELECT id FROM latchkey_note WHERE id = ?", "a'").Scan(&id); err != nil {
				return err
			}
			rows, err := conn.QueryContext(ctx, "SELECT id FROM latchkey_note WHERE id <> ?", "b")
			if err != nil {
				return err
			}
			defer rows.Close()
			var n int
			for rows.Next() {
				n++
			}
			if n != 1 || id != "a'" {
				t.Errorf("read %q and %d rows, want a' and 1", id, n)
			}
			return rows.Err()
		})
		if err != nil {
			t.Fatal(err)
		}
	})
}

func TestJoinRefusesAConnectionWhereABackslashEscapes(t *testing.T) {
	at := databasetest.Postgres(t)
	db := at.Open(t, notes)
	tx := appTx(t, at)
	if _, err := tx.ExecContext(t.Context(), "SET LOCAL standard_conforming_strings = off"); err != nil {
		t.Fatal(err)
	}
	_, err := db.Join(t.Context(), tx, func(ctx context.Context) error { return write(ctx, db, "ours") })
	if err == nil || !strings.Contains(err.Error(), "standard_conforming_strings") {
		t.Errorf("error: %v, want one that names the setting", err)
	}
}

func TestATransactionSeesWhatWasCommittedBeforeEachStatement(t *testing.T) {
	at := databasetest.Postgres(t)
	db := at.Open(t, notes)
	for _, level := range []sql.IsolationLevel{sql.LevelRepeatableRead, sql.LevelSerializable} {
		tx, err := rawPool(t, at).BeginTx(t.Context(), &sql.TxOptions{Isolation: level})
		if err != nil {
			t.Fatal(err)
		}
		_, err = db.Join(t.Context(), tx, func(ctx context.Context) error { return write(ctx, db, "ours") })
		if err == nil || !strings.Contains(err.Error(), strings.ToUpper(level.String())) {
			t.Errorf("Join: %v, want an error that names %s", err, level)
		}
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
		at.URL += "&default_transaction_isolation=" + strings.ReplaceAll(strings.ToLower(level.String()), " ", "%20")
		set := at.Open(t)
		check := func(ctx context.Context) error {
			var got string
			err := set.Conn(ctx).NewRaw("SHOW transaction_isolation").Scan(ctx, &got)
			if err == nil && got != "read committed" {
				err = errors.New("the transaction is " + got)
			}
			return err
		}
		if err := check(t.Context()); err == nil {
			t.Errorf("%s is not what connections are set to", level)
		}
		if err := set.InTx(t.Context(), check); err != nil {
			t.Errorf("InTx: %v", err)
		}
	}
}
