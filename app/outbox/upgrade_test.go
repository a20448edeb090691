package outbox_test

import (
	"context"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// sql runs a statement, as no program of ours would.
func sql(t *testing.T, db *database.DB, query string, args ...any) {
	t.Helper()
	if err := db.InTx(t.Context(), func(ctx context.Context) error {
		_, err := db.Conn(ctx).NewRaw(query, args...).Exec(ctx)
		return err
	}); err != nil {
		t.Fatal(err)
	}
}

// Who has deliveries of the version before has them made; who goes back to it, and comes again, loses none that it knows.
func TestDeliveriesOutliveAnUpgradeAndTheWayBack(t *testing.T) {
	t.Parallel()
	all := outbox.Migrations()
	before := fstest.MapFS{}
	files, err := fs.Glob(all.FS, "*.sql")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range files {
		if data, err := fs.ReadFile(all.FS, name); err != nil {
			t.Fatal(err)
		} else if name < "00003" {
			before[name] = &fstest.MapFile{Data: data}
		}
	}
	text, err := fs.ReadFile(all.FS, "00003_consumers.sql")
	if err != nil {
		t.Fatal(err)
	}
	_, down, _ := strings.Cut(string(text), "-- +goose Down")
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, database.Migrations{Module: "outbox", FS: before})
		old := func(n int) { // as the version before records an event
			sql(t, db, "INSERT INTO latchkey_outbox_event (id, topic, aggregate_id, payload, created_at) VALUES (?, 'test.happened', 'x', ?, ?)",
				fmt.Sprint("evt_", n), fmt.Sprintf(`{"to":"x","n":%d}`, n), database.Now())
			sql(t, db, "INSERT INTO latchkey_outbox_delivery (event_seq, consumer, topic, aggregate_id, attempts, next_at) SELECT seq, 'c', topic, aggregate_id, 1, created_at FROM latchkey_outbox_event WHERE id = ?",
				fmt.Sprint("evt_", n))
		}
		old(1)
		up := func() {
			t.Helper()
			if err := db.Migrate(t.Context(), all); err != nil {
				t.Fatal(err)
			}
		}
		up()
		for statement := range strings.SplitSeq(strings.TrimSpace(down), ";\n") {
			sql(t, db, statement)
		}
		sql(t, db, "DELETE FROM latchkey_outbox_migrations WHERE version_id = 3")
		old(2)
		up()
		var s seen
		o := open(t, db, s.consumer("c"))
		run(t, o)
		drained(t, o)
		if got := s.all(); !slices.Equal(got, []happened{{"x", 1}, {"x", 2}}) || s.deliveries[0].Attempt != 2 {
			t.Errorf("handled were %v", s.deliveries)
		}
	})
}
