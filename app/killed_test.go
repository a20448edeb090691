//go:build !race

// These start hundreds of servers. With the race detector they would take a quarter of an hour, and show what the others show.

package app_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

func TestAServerKilledAtAnyStatementHasDoneAllOrNothingAndDoesItWhenAskedAgain(t *testing.T) {
	var onSQLite, onPostgres atomic.Int64
	t.Cleanup(func() { // when all have run
		databasetest.Tell(fmt.Sprintf("a server was killed at %d points on SQLite and %d on PostgreSQL", onSQLite.Load(), onPostgres.Load()))
	})
	for _, s := range scenarios {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
				t.Parallel()
				n := s.run(t, at)
				t.Logf("%s on %s: killed at %d points", s.name, at.Dialect, n)
				if at.Dialect == database.SQLite {
					onSQLite.Add(int64(n))
				} else {
					onPostgres.Add(int64(n))
				}
			})
		})
	}
}

// A mail leaves after the commit of what it is about. Whenever the server is killed from there on, between sending it and
// noting that it is sent too, it is sent once.
func TestAServerKilledWhileItSendsAMailHasSentItOnceAfterTheNextStart(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(t *testing.T, n *node, who string) act{
		"of an invite": func(_ *testing.T, n *node, who string) act {
			return act{method: "POST", path: "/admin/invites", body: `{"email":"` + who + `"}`, bearer: n.admin}
		},
		"of a reset": func(t *testing.T, n *node, who string) act {
			n.register(t, who)
			return act{method: "POST", path: "/auth/user/emailpass/reset-password", body: `{"identifier":"` + who + `"}`}
		},
		"of a change of address": func(t *testing.T, n *node, who string) act {
			asks := n.changesAddress(t, "old."+who)
			asks.body = strings.Replace(asks.body, newAddress("old."+who), who, 1)
			return asks
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
				t.Parallel()
				points, sent := killSending(t, at, prepare)
				if points < 12 || sent < 4 {
					t.Errorf("killed at %d points, %d of them after the mail had left: the hook misses some", points, sent)
				}
				databasetest.Tell(fmt.Sprintf("a server that sends the mail %s was killed at %d points on %s, at %d of them after the mail had left", name, points, at.Dialect, sent))
			})
		})
	}
}

func TestAServerKilledWithManyRequestsUnderWayKeepsWhatItAnswered(t *testing.T) {
	rounds, seed := 4, uint64(time.Now().UnixNano())
	for name, set := range map[string]func(string) error{
		"LATCHKEY_TEST_ROUNDS": func(s string) (err error) { rounds, err = strconv.Atoi(s); return err },
		"LATCHKEY_TEST_SEED":   func(s string) (err error) { seed, err = strconv.ParseUint(s, 10, 64); return err },
	} {
		if text := os.Getenv(name); text != "" {
			if err := set(text); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
	}
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		t.Parallel()
		t.Logf("LATCHKEY_TEST_SEED=%d", seed)
		k := kills{rand: rand.New(rand.NewPCG(seed, 0)), env: append(mailing(t, at), "LATCHKEY_HTTP_TRUSTED_PROXIES=127.0.0.1"), named: map[string]bool{}}
		n := open(t, k.env)
		n.makeAdmin(t)
		k.next = k.rand.IntN(len(sides) * len(moments))
		for round := range rounds {
			if n = k.round(t, n, round); t.Failed() {
				return
			}
		}
		databasetest.Tell(fmt.Sprintf("a server with 64 requests under way was killed %d times on %s, at %d moments by name: %d were answered before, %d sent again",
			rounds, at.Dialect, len(k.named), k.answered, k.again))
	})
}
