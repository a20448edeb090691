package database_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/latchkey-go/latchkey/modules/kernel/database/sqlite"
)

// Nothing stays of a transaction in which something failed, even if the code around it carries on.
func ExampleDB_InTx() {
	dir, _ := os.MkdirTemp("", "example")
	defer os.RemoveAll(dir)
	ctx := context.Background()
	db, err := sqlite.Open(ctx, filepath.Join(dir, "example.db"), nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	if err := db.Migrate(ctx, notes); err != nil {
		fmt.Println(err)
		return
	}

	charge := func(ctx context.Context) error {
		return db.InTx(ctx, func(context.Context) error { return errors.New("card refused") })
	}
	err = db.InTx(ctx, func(ctx context.Context) error {
		if _, err := db.Conn(ctx).NewInsert().Model(&note{ID: "ordered"}).Exec(ctx); err != nil {
			return err
		}
		_ = charge(ctx)
		return db.AfterCommit(ctx, func(context.Context) { fmt.Println("thank you") })
	})
	n, _ := db.Conn(ctx).NewSelect().Model((*note)(nil)).Count(ctx)
	fmt.Println(err, n)
	// Output: card refused 0
}
