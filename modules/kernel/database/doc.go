// Package database is the only way from a store to SQL.
//
// A store holds a *DB and asks it for a handle each time: [DB.Conn] answers with the transaction carried by the
// context, or with the pool when there is none. Whoever needs several writes to succeed or fail together wraps them in
// [DB.InTx]; what is called inside joins, whichever module it belongs to, and none of them names a transaction in its
// signature.
//
//	db.InTx(ctx, …)                     begins
//	  ├─ users.Create(ctx, …)           InTx inside: joins; its error is everybody's
//	  ├─ db.Conn(ctx).NewInsert()…      the same transaction
//	  ├─ db.AfterCommit(ctx, …)         kept for later
//	  └─ nil: commit, then the AfterCommit functions; anything else: rollback
//
// There is one outcome. An inner error, an inner panic and a failed statement each doom the transaction, even if the
// code around them looks away, so that SQLite and PostgreSQL end the same way.
//
// An application that has begun a transaction of its own lets us write into it with [DB.Join].
//
// Where the next thing lives: tx.go has the rules of a transaction, retry.go says which failures run it again, join.go
// the guest's side, migrate.go the schema, text.go what text a statement can hold. This package links no driver; the
// sub-packages sqlite and postgres open a ready *DB, and databasetest gives a test one of each.
package database
