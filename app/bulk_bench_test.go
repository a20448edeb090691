package app_test

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/benchtest"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/user"
)

// BenchmarkCreateUsers makes 10,000 users with a role in one call: by the module alone, as an application has it that
// listens to no events, and by the whole program, which records an event for each. Beside them stand the bare statements:
// INSERTs of 500 of the same rows each, in one transaction on the same tables, their text made beforehand.
func BenchmarkCreateUsers(b *testing.B) {
	databasetest.EachBenchmark(b, func(b *testing.B, at databasetest.Database) {
		p := assemble(b, environment(b.TempDir(), at))
		keys, err := keyring.New([]byte(strings.Repeat("k", keyring.MinSecret)))
		if err != nil {
			b.Fatal(err)
		}
		alone, err := user.New(user.Params{DB: p.db, Keys: keys})
		if err != nil {
			b.Fatal(err)
		}
		made := 0
		costs := benchtest.Interleave(b, creating(b, alone, &made), creating(b, p.users, &made), inserting(b, p.db, &made))
		for i, unit := range []string{"users/s", "users_and_events/s", "bare/s"} {
			b.ReportMetric(bulk*float64(time.Second)/float64(costs[i].Wall), unit)
		}
		b.ReportMetric(float64(costs[0].Wall), "ns/op")
		b.ReportMetric(costs[0].Over(costs[2]), "x_bare")
		b.ReportMetric(costs[1].Over(costs[2]), "x_bare_with_events")
	})
}

// bulk is how many users a call makes.
const bulk = 10_000

// newDrafts are users whom nobody made before.
func newDrafts(made *int) []user.Draft {
	drafts := make([]user.Draft, bulk)
	for i := range drafts {
		first, last := fmt.Sprintf("First%d", i), fmt.Sprintf("Last%d", i%1000)
		drafts[i] = user.Draft{Email: fmt.Sprintf("n%d@example.com", *made), FirstName: &first, LastName: &last, Roles: []string{user.RoleMember}}
		*made++
	}
	return drafts
}

func creating(b *testing.B, users *user.Service, made *int) benchtest.Subject {
	b.Helper()
	var ready [][]user.Draft
	return benchtest.Subject{
		Prepare: func(n int) {
			ready = nil
			for range n {
				ready = append(ready, newDrafts(made))
			}
		},
		Do: func(n int) {
			for i := range n {
				if _, err := users.CreateUsers(b.Context(), ready[i]...); err != nil {
					b.Fatal(err)
				}
			}
		},
	}
}

// inserting writes what creating writes, by statements that are ready.
func inserting(b *testing.B, db *database.DB, made *int) benchtest.Subject {
	b.Helper()
	var ready [][]string
	return benchtest.Subject{
		Prepare: func(n int) {
			ready = nil
			for range n {
				ready = append(ready, bareInserts(newDrafts(made)))
			}
		},
		Do: func(n int) {
			for i := range n {
				err := db.InTx(b.Context(), func(ctx context.Context) error {
					for _, statement := range ready[i] {
						if _, err := db.Conn(ctx).ExecContext(ctx, statement); err != nil {
							return err
						}
					}
					return nil
				})
				if err != nil {
					b.Fatal(err)
				}
			}
		},
	}
}

// bareInserts are the statements that make the users, 500 rows each.
func bareInserts(drafts []user.Draft) (statements []string) {
	now := database.Now().Format("2006-01-02 15:04:05.999999-07:00")
	var users, roles []string
	for _, d := range drafts {
		id := user.NewID()
		users = append(users, fmt.Sprintf("('%s', '%s', NULL, '%s', '%s', NULL, NULL, '%s', 'api', NULL, '%s', '%s', NULL)",
			id, d.Email, *d.FirstName, *d.LastName, strings.ToLower(d.Email+"\n"+*d.FirstName+"\n"+*d.LastName), now, now))
		roles = append(roles, fmt.Sprintf("('%s', '%s', 'api')", id, d.Roles[0]))
	}
	for rows := range slices.Chunk(users, 500) {
		statements = append(statements, `INSERT INTO latchkey_user (id, email, email_verified_at, first_name, last_name, avatar_url, metadata,
			search, created_via, deactivated_at, created_at, updated_at, deleted_at) VALUES `+strings.Join(rows, ", "))
	}
	for rows := range slices.Chunk(roles, 500) {
		statements = append(statements, "INSERT INTO latchkey_user_role (user_id, role, granted_via) VALUES "+strings.Join(rows, ", "))
	}
	return statements
}
