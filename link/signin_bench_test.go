package link_test

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/benchtest"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

// What a sign-in costs besides its hash is measured with a cheap hash, of bcrypt's cost 4, whose own time is measured
// beside it and taken off. Everything else counts: reading the input, the pepper, the pool, statements, commit, token.

const benchPassword = "correct horse"

// BenchmarkSignIn is the sign-in of somebody who has a user.
func BenchmarkSignIn(b *testing.B) {
	benchEach(b, func(b *testing.B, h bridge) {
		h.signUp(b, "ada@example.com", benchPassword)
		in := credentials("ada@example.com", benchPassword)
		if _, err := h.signIn(b.Context(), "emailpass", in); err != nil { // the first one makes the user
			b.Fatal(err)
		}
		outsideTheHash(b, h, benchtest.Subject{Do: func(n int) {
			for range n {
				if _, err := h.signIn(b.Context(), "emailpass", in); err != nil {
					b.Fatal(err)
				}
			}
		}})
	})
}

// BenchmarkFirstSignIn is the sign-in that makes the user, of somebody who has registered before.
func BenchmarkFirstSignIn(b *testing.B) {
	benchEach(b, func(b *testing.B, h bridge) {
		people, made := []auth.Input(nil), 0
		outsideTheHash(b, h, benchtest.Subject{
			Prepare: func(n int) {
				people = people[:0]
				for range n {
					address := fmt.Sprintf("u%d@example.com", made)
					h.signUp(b, address, benchPassword)
					people = append(people, credentials(address, benchPassword))
					made++
				}
			},
			Do: func(int) {
				for _, in := range people {
					if l, err := h.signIn(b.Context(), "emailpass", in); err != nil || l.ActorID == "" {
						b.Fatal(l.ActorID, err)
					}
				}
			},
		})
		if users := h.count(b, "user"); users != made {
			b.Errorf("%d users of %d first sign-ins", users, made)
		}
	})
}

// BenchmarkProvisioning is a first sign-in by a provider that has no password to hash and vouches for the address: identity, link, user,
// role and session in one transaction, and the token. It is set against the commit of one row.
func BenchmarkProvisioning(b *testing.B) {
	benchEach(b, func(b *testing.B, h bridge) {
		made := 0
		provisioning := benchtest.Subject{Round: 150 * time.Millisecond, Do: func(n int) {
			for range n {
				name := fmt.Sprintf("u%d", made)
				if l, err := h.signIn(b.Context(), "vouching", vouched(name, name+"@example.com", true)); err != nil || l.ActorID == "" {
					b.Fatal(l.ActorID, err)
				}
				made++
			}
		}}
		costs := benchtest.Interleave(b, provisioning, oneRow(b, h.db))
		b.ReportMetric(float64(costs[0].Wall), "ns/op")
		b.ReportMetric(float64(costs[0].CPU)/1e6, "cpu_ms/op")
		b.ReportMetric(float64(costs[1].Wall), "commit_ns")
		b.ReportMetric(costs[0].Over(costs[1]), "x_commit")
		if users := h.count(b, "user"); users != made {
			b.Errorf("%d users of %d first sign-ins", users, made)
		}
	})
}

// BenchmarkRacingFirstSignIns is 200 first sign-ins at once of somebody who has registered, which make one user. Their time is set
// against what cannot be saved: one hash for each, on all cores, and one commit.
func BenchmarkRacingFirstSignIns(b *testing.B) {
	const racing, cost = 200, 10
	databasetest.EachBenchmark(b, func(b *testing.B, at databasetest.Database) {
		db := at.Open(b, user.Migrations(), auth.Migrations(), link.Migrations())
		h := newBridgeHashing(b, db, link.ActorOptions{}, auth.Options{Throttle: auth.ThrottleOptions{Disabled: true}}, cost)
		made := 0
		var in auth.Input
		race := benchtest.Subject{Round: time.Millisecond, // one race is a round
			Prepare: func(int) {
				address := fmt.Sprintf("u%d@example.com", made)
				h.signUp(b, address, benchPassword)
				in = credentials(address, benchPassword)
				made++
			},
			Do: func(n int) {
				if n != 1 {
					b.Fatalf("%d races in one round", n)
				}
				for _, err := range databasetest.Together(racing, func(int) error {
					_, err := h.signIn(b.Context(), "emailpass", in)
					return err
				}) {
					if err != nil {
						b.Fatal(err)
					}
				}
			}}
		round := hashing(b, cost)
		one := round.Do
		round = benchtest.Subject{Round: time.Millisecond, Do: func(int) {
			for _, err := range databasetest.Together(runtime.GOMAXPROCS(0), func(int) error {
				one(racing / runtime.GOMAXPROCS(0))
				return nil
			}) {
				if err != nil {
					b.Fatal(err)
				}
			}
		}}
		costs := benchtest.Interleave(b, race, round, oneRow(b, db))
		floor := costs[1].Wall + costs[2].Wall
		b.ReportMetric(float64(costs[0].Wall)/1e6, "race_ms")
		b.ReportMetric(float64(floor)/1e6, "floor_ms")
		b.ReportMetric(float64(costs[0].Wall)/float64(floor), "x_floor")
		if users := h.count(b, "user"); users != made {
			b.Errorf("%d users of %d races", users, made)
		}
	})
}

// BenchmarkThrottledSignIn is what counting adds to a sign-in of somebody who has a user: beside the same one without it, and
// beside a hash of cost 12.
func BenchmarkThrottledSignIn(b *testing.B) {
	databasetest.EachBenchmark(b, func(b *testing.B, at databasetest.Database) {
		db := at.Open(b, user.Migrations(), auth.Migrations(), link.Migrations())
		counts := newBridge(b, db, link.ActorOptions{})
		counts.signUp(b, "ada@example.com", benchPassword)
		none := newBridgeWith(b, db, link.ActorOptions{}, auth.Options{Throttle: auth.ThrottleOptions{Disabled: true}})
		subject := func(h bridge, password string, wanted error) benchtest.Subject {
			in := credentials("ada@example.com", password)
			return benchtest.Subject{Round: 150 * time.Millisecond, Do: func(n int) {
				for range n {
					if _, err := h.link.SignIn(b.Context(), "user", "emailpass", in, auth.Client{IP: "192.0.2.1"}); !errors.Is(err, wanted) {
						b.Fatal(err)
					}
				}
			}}
		}
		with, without := subject(counts, benchPassword, nil), subject(none, benchPassword, nil)
		with.Do(1)
		refusing := newBridgeWith(b, db, link.ActorOptions{}, auth.Options{Throttle: auth.ThrottleOptions{AccountAddress: auth.Limit{Most: 1}}})
		_, _ = refusing.link.SignIn(b.Context(), "user", "emailpass", credentials("ada@example.com", "wrong"), auth.Client{IP: "192.0.2.1"})
		costs := benchtest.Interleave(b, with, without, oneRow(b, db), hashing(b, 12), subject(refusing, benchPassword, auth.ErrThrottled))
		adds, commit, hash := costs[0].Less(costs[1]), costs[2], costs[3]
		b.ReportMetric(float64(adds.Wall), "ns/op")
		b.ReportMetric(float64(adds.CPU)/1e6, "cpu_ms/op")
		b.ReportMetric(costs[0].Over(costs[1]), "x_unthrottled")
		b.ReportMetric(100*adds.Over(hash), "%_of_hash")
		b.ReportMetric(adds.Over(commit), "x_commit")
		b.ReportMetric(float64(costs[4].Wall), "refusal_ns")
	})
}

// benchEach runs f on a bridge over every database.
func benchEach(b *testing.B, f func(b *testing.B, h bridge)) {
	databasetest.EachBenchmark(b, func(b *testing.B, at databasetest.Database) {
		f(b, newBridge(b, at.Open(b, user.Migrations(), auth.Migrations(), link.Migrations()), link.ActorOptions{}))
	})
}

// outsideTheHash measures a sign-in and says how its time without the hash compares with a hash of cost 12, the default,
// and with the commit of one row.
func outsideTheHash(b *testing.B, h bridge, signIn benchtest.Subject) {
	b.Helper()
	signIn.Round = 150 * time.Millisecond
	cheap := hashing(b, 4)
	cheap.Round = signIn.Round
	costs := benchtest.Interleave(b, signIn, cheap, oneRow(b, h.db), hashing(b, 12))
	outside, commit, hash := costs[0].Less(costs[1]), costs[2], costs[3]
	b.ReportMetric(float64(outside.Wall), "ns/op")
	b.ReportMetric(float64(outside.CPU)/1e6, "cpu_ms/op")
	b.ReportMetric(100*outside.Over(hash), "%_of_hash")
	b.ReportMetric(outside.Over(commit), "x_commit")
	b.ReportMetric(float64(hash.Wall)/1e6, "hash_ms")
}

// hashing is what bcrypt of a cost takes to verify a password.
func hashing(b *testing.B, cost int) benchtest.Subject {
	b.Helper()
	password := []byte(strings.Repeat("p", 64)) // as long as what the pepper makes of any password
	hash, err := bcrypt.GenerateFromPassword(password, cost)
	if err != nil {
		b.Fatal(err)
	}
	return benchtest.Subject{Do: func(n int) {
		for range n {
			if err := bcrypt.CompareHashAndPassword(hash, password); err != nil {
				b.Fatal(err)
			}
		}
	}}
}

// oneRow is a transaction that inserts one row of a small table and does nothing else.
func oneRow(b *testing.B, db *database.DB) benchtest.Subject {
	b.Helper()
	insert := func(statement string) {
		if err := db.InTx(b.Context(), func(ctx context.Context) error {
			_, err := db.Conn(ctx).ExecContext(ctx, statement)
			return err
		}); err != nil {
			b.Fatal(err)
		}
	}
	insert("CREATE TABLE one_row (id text PRIMARY KEY, at text NOT NULL)")
	return benchtest.Subject{Do: func(n int) {
		for range n {
			insert("INSERT INTO one_row (id, at) VALUES ('" + string(user.NewID()) + "', 'now')")
		}
	}}
}
