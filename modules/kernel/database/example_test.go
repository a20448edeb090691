package database_test

import (
	"context"
	"database/sql"
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

// An application with a pool of its own has ours take part in its transaction: what both write comes to be together.
func ExampleDB_Join() {
	dir, _ := os.MkdirTemp("", "example")
	defer os.RemoveAll(dir)
	ctx := context.Background()
	path := filepath.Join(dir, "example.db")
	db, err := sqlite.Open(ctx, path, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer db.Close()
	if err := db.Migrate(ctx, notes); err != nil {
		fmt.Println(err)
		return
	}
	pool, err := sql.Open("sqlite", "file:"+path+"?_txlock=immediate") // the application's
	if err != nil {
		fmt.Println(err)
		return
	}
	defer pool.Close()

	for _, paid := range []bool{true, false} {
		tx, err := pool.BeginTx(ctx, nil)
		if err != nil {
			fmt.Println(err)
			return
		}
		afterCommit, err := db.Join(ctx, tx, func(ctx context.Context) error { // here, what writes by Conn and InTx is in tx
			if _, err := db.Conn(ctx).NewInsert().Model(&note{ID: fmt.Sprint("paid ", paid)}).Exec(ctx); err != nil {
				return err
			}
			if !paid {
				return errors.New("card refused")
			}
			return db.AfterCommit(ctx, func(context.Context) { fmt.Println("thank you") })
		})
		if err != nil {
			fmt.Println(err, tx.Rollback())
			continue
		}
		if err := tx.Commit(); err != nil {
			fmt.Println(err)
			return
		}
		afterCommit()
	}
	n, _ := db.Conn(ctx).NewSelect().Model((*note)(nil)).Count(ctx)
	fmt.Println(n)
	// Output:
	// thank you
	// card refused <nil>
	// 1
}
