package outbox_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// What is listed and counted is what is there, whichever indexes a filter is answered by, and on whichever page.
func TestEveryFilterListsAndCountsWhatIsThere(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, outbox.Migrations())
		o := withOptions(t, db, outbox.Options{})
		type delivery struct {
			seq                     int
			id                      string
			consumer, target, topic string
			dead                    bool
		}
		var all []delivery
		now, random := time.Now().UTC().Truncate(time.Microsecond), rand.New(rand.NewPCG(1, 2))
		exec := func(query string, args ...any) {
			t.Helper()
			err := db.InTx(t.Context(), func(ctx context.Context) error {
				_, err := db.Conn(ctx).NewRaw(query, args...).Exec(ctx)
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for seq := 1; seq <= 12; seq++ {
			id, topic := fmt.Sprintf("event_%d", seq), []string{"a", "b"}[random.IntN(2)]
			exec("INSERT INTO latchkey_outbox_event (seq, id, topic, aggregate_id, payload, created_at) VALUES (?, ?, ?, 'x', '{}', ?)", seq, id, topic, now.Add(time.Duration(seq)*time.Second))
			for _, consumer := range []string{"mail", "hook", "alive"} {
				for _, target := range []string{"", "one", "two"} {
					d := delivery{seq, id, consumer, target, topic, consumer != "alive" && random.IntN(3) == 0}
					if random.IntN(3) == 0 || consumer != "hook" && target != "" {
						continue
					}
					var dead any
					if d.dead {
						dead = now
					}
					exec("INSERT INTO latchkey_outbox_delivery (event_seq, consumer, target, topic, aggregate_id, attempts, next_at, dead_at) VALUES (?, ?, ?, ?, 'x', 0, ?, ?)", seq, consumer, target, topic, now, dead)
					all = append(all, d)
				}
			}
		}
		slices.SortFunc(all, func(a, b delivery) int {
			return cmp.Or(cmp.Compare(a.seq, b.seq), cmp.Compare(a.consumer, b.consumer), cmp.Compare(a.target, b.target))
		})
		for n := range 3 * 3 * 3 * 2 * 2 {
			of := func(values ...string) (v string) { v, n = values[n%len(values)], n/len(values); return v }
			f := outbox.Filter{ID: of("", "event_3"), Dead: of("", "dead") != "", Consumer: of("", "mail", "hook"), Target: of("", "one", "two"), Topic: of("", "a", "b")}
			var want []string
			for _, d := range all {
				if (f.ID == "" || f.ID == d.id) && (!f.Dead || d.dead) && (f.Consumer == "" || f.Consumer == d.consumer) && (f.Target == "" || f.Target == d.target) && (f.Topic == "" || f.Topic == d.topic) {
					want = append(want, fmt.Sprint(d.id, d.consumer, d.target, d.topic, d.dead))
				}
			}
			for _, page := range [][2]int{{0, 0}, {0, 3}, {2, 2}, {len(want) - 1, 5}, {len(want), 5}, {len(want) + 1, 0}} {
				if page[0] < 0 {
					continue
				}
				found, total, err := o.List(t.Context(), f, page[0], page[1])
				if err != nil {
					t.Fatal(err)
				}
				shown := want[min(page[0], len(want)):]
				if page[1] > 0 {
					shown = shown[:min(page[1], len(shown))]
				}
				got := []string{}
				for _, w := range found {
					got = append(got, fmt.Sprint(w.ID, w.Consumer, w.Target, w.Topic, w.State == outbox.StateDead))
				}
				if total != len(want) || !slices.Equal(got, shown) {
					t.Errorf("%+v, page %v: %d of %d %v, want %d %v", f, page, len(got), total, got, len(want), shown)
				}
			}
		}
		enrolled, err := o.Consumers(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, e := range enrolled {
			waiting, dead, oldest := 0, 0, time.Time{}
			for _, d := range all {
				if d.consumer == e.Name && d.target == e.Target {
					if d.dead {
						dead++
						continue
					}
					if waiting++; oldest.IsZero() {
						oldest = now.Add(time.Duration(d.seq) * time.Second)
					}
				}
			}
			if e.Waiting != waiting || e.Dead != dead || !e.Oldest.Equal(oldest) {
				t.Errorf("%+v: want %d waiting since %v and %d dead", e, waiting, oldest, dead)
			}
			names = append(names, e.Name+" "+e.Target)
		}
		if want := []string{"alive ", "hook ", "hook one", "hook two", "mail "}; !slices.Equal(names, want) {
			t.Errorf("%q are told of, want %q", names, want)
		}
	})
}
