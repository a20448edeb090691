package database_test

import (
	"context"
	"testing"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

func TestASnapshotSeesOneStateAndCannotWrite(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t)
		exec := func(ctx context.Context, query string) error {
			return db.InTx(ctx, func(ctx context.Context) error {
				_, err := db.Conn(ctx).ExecContext(ctx, query)
				return err
			})
		}
		if err := exec(t.Context(), "CREATE TABLE seen (n bigint)"); err != nil {
			t.Fatal(err)
		}
		count := func(ctx context.Context) (n int) {
			if err := db.Conn(ctx).NewRaw("SELECT count(*) FROM seen").Scan(ctx, &n); err != nil {
				t.Fatal(err)
			}
			return n
		}
		err := db.Snapshot(t.Context(), func(ctx context.Context) error {
			before := count(ctx)
			if err := exec(t.Context(), "INSERT INTO seen VALUES (1)"); err != nil { // by somebody else
				return err
			}
			if after := count(ctx); before != 0 || after != 0 {
				t.Errorf("the snapshot sees %d rows, then %d, want none", before, after)
			}
			if n := count(t.Context()); n != 1 {
				t.Errorf("outside it there are %d rows, want 1", n)
			}
			if err := db.Snapshot(ctx, func(context.Context) error { return nil }); err == nil {
				t.Error("a snapshot was taken inside another")
			}
			if err := exec(ctx, "INSERT INTO seen VALUES (2)"); err == nil {
				t.Error("the snapshot wrote")
			}
			return nil
		})
		if err != nil {
			t.Error(err)
		}
		if n := count(t.Context()); n != 1 {
			t.Errorf("there are %d rows, want 1", n)
		}
	})
}
