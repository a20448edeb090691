package databasetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// Dump is every row of every table of ours, by table: what a test compares to see that nothing was written. Rows are
// written as text and in no order of the database's.
func Dump(tb testing.TB, db *database.DB) map[string][]string {
	tb.Helper()
	dump := map[string][]string{}
	for _, table := range tables(tb, db) {
		rows, err := read(tb, db, table)
		if err != nil {
			tb.Fatalf("databasetest: read %s: %v", table, err)
		}
		slices.Sort(rows)
		dump[table] = rows
	}
	return dump
}

// read returns the rows of a table as text, by the names of the columns. It asks for no types: on SQLite a column has none
// that is empty in the first row.
func read(tb testing.TB, db *database.DB, table string) ([]string, error) {
	rows, err := db.Conn(tb.Context()).QueryContext(tb.Context(), "SELECT * FROM "+table)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	texts := []string{}
	for rows.Next() {
		values := make([]any, len(columns))
		to := make([]any, len(columns))
		for i := range values {
			to[i] = &values[i]
		}
		if err := rows.Scan(to...); err != nil {
			return nil, err
		}
		row := make(map[string]any, len(columns))
		for i, name := range columns {
			row[name] = values[i]
		}
		texts = append(texts, fmt.Sprint(row))
	}
	return texts, rows.Err()
}

// Empty deletes every row of every table of ours.
func Empty(tb testing.TB, db *database.DB) {
	tb.Helper()
	err := db.InTx(tb.Context(), func(ctx context.Context) error {
		for _, table := range tables(tb, db) {
			if _, err := db.Conn(ctx).NewDelete().TableExpr(table).Where("TRUE").Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		tb.Fatalf("databasetest: empty the tables: %v", err)
	}
}

// tables are ours but for the lists of the migrations that were taken.
func tables(tb testing.TB, db *database.DB) (names []string) {
	tb.Helper()
	query := "SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()"
	if db.Dialect() == database.SQLite {
		query = "SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'table'" // not full-text ones, which follow others
	}
	if err := db.Conn(tb.Context()).NewRaw(query).Scan(tb.Context(), &names); err != nil {
		tb.Fatalf("databasetest: list the tables: %v", err)
	}
	return slices.DeleteFunc(slices.Sorted(slices.Values(names)), func(name string) bool {
		return !strings.HasPrefix(name, "latchkey_") || strings.HasSuffix(name, "_migrations")
	})
}
