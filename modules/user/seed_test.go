package user_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// seeded is where the rows of seed begin in time.
var seeded = time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)

// Names as people have them: some of many, most of few.
var (
	firstNames = strings.Fields("Maria Anna Elena Sofia Laura Julia Sara Emma Olivia Mia Eva Clara Nina Lena Ida Alma Zoë Chloé Inès Aïcha " +
		"João José Luís André Miguel Pedro Paulo Carlos Juan Pablo Diego Marco Luca Paolo Giorgio Hans Jürgen Günther Karl Otto " +
		"Peter Paul John James William Henry George Oliver Jack Harry Thomas Daniel David Michael Robert Richard Edward Arthur Ian Neil " +
		"Ivan Dmitri Sergei Olga Tatiana Yuki Haruto Sakura Wei Ming Li Chen Fatima Omar Ali Hassan Leyla Mehmet Ayşe Elif Priya Arjun Ravi Ananya")
	lastNameStarts = strings.Fields("Sch Mc O' Van De Har Wil Tho Ro Gar Lin Ber Kow Pet Sil Mor Fer Nov Jen Sor Bra Cas Dra Eri Fon Gri Hol Iva Jac Kel")
	lastNameEnds   = strings.Fields("mid don nor berg la ris liams mas bin cia dqvist nard alski rov va eno reira ak sen ensen ller mann witz stein field worth ton ley son ez")
	domains        = strings.Fields("example.com example.org example.net mail.example.com work.example.org uni.example.edu")
)

// seed writes n users, each a member and some more than that, and so many invites straight into the tables: in a
// million there are about 10,000 different last names, one in fifty is deleted and one in twenty has no name. The same
// numbers give the same rows on every database.
func seed(tb testing.TB, db *database.DB, users, invites int) {
	tb.Helper()
	c := rand.New(rand.NewPCG(1, 2))
	check(tb, db.InTx(tb.Context(), func(ctx context.Context) error {
		insert := func(into string, n int, row func(w *strings.Builder, i int)) error {
			const chunk = 1000
			for from := 0; from < n; from += chunk {
				var w strings.Builder
				w.WriteString("INSERT INTO " + into + " VALUES ")
				for i := from; i < min(n, from+chunk); i++ {
					if i > from {
						w.WriteString(",")
					}
					row(&w, i)
				}
				if _, err := db.Conn(ctx).ExecContext(ctx, w.String()); err != nil {
					return err
				}
			}
			return nil
		}
		at := func(i int) string {
			return "'" + seeded.Add(time.Duration(i)*20*time.Second).Format("2006-01-02 15:04:05-07:00") + "'"
		}
		quoted := func(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }
		err := insert("latchkey_user (id, email, first_name, last_name, search, created_via, created_at, updated_at, deleted_at)", users, func(w *strings.Builder, i int) {
			first, last := firstNames[min(c.IntN(len(firstNames)), c.IntN(len(firstNames)))], seedLastName(c)
			email := strings.ToLower(strings.Map(plain, fmt.Sprintf("%s.%s%d", first, last, i))) + "@" + domains[c.IntN(len(domains))]
			names, search, deleted := quoted(first)+","+quoted(last), email+"\n"+strings.ToLower(first+"\n"+last), "NULL"
			if i%20 == 19 {
				names, search = "NULL,NULL", email
			}
			if i%50 == 49 {
				deleted = at(i + 10)
			}
			fmt.Fprintf(w, "('%s',%s,%s,%s,'api',%s,%s,%s)", seedID("user", i), quoted(email), names, quoted(search), at(i), at(i), deleted)
		})
		if err != nil {
			return err
		}
		for _, s := range []string{
			"INSERT INTO latchkey_user_role SELECT id, 'member', 'api' FROM latchkey_user ORDER BY id",
			"INSERT INTO latchkey_user_role SELECT id, 'admin', 'api' FROM latchkey_user WHERE id LIKE '%777'",
		} {
			if _, err := db.Conn(ctx).ExecContext(ctx, s); err != nil {
				return err
			}
		}
		return insert("latchkey_invite (id, email, roles, accepted, nonce, issued_at, expires_at, created_at, updated_at)", invites, func(w *strings.Builder, i int) {
			fmt.Fprintf(w, "('%s','%s%d@%s','[]',%t,'%d',%s,%s,%s,%s)", seedID("invite", i), strings.ToLower(strings.Map(plain, seedLastName(c))), i, domains[c.IntN(len(domains))],
				i%5 == 0, i, at(i), at(i+4000), at(i), at(i))
		})
	}))
	settle(tb, db)
}

// seedID is the id of the row of a number, in the order of the numbers.
func seedID(prefix string, i int) string { return fmt.Sprintf("%s_01JGFJJZ00%016d", prefix, i) }

func seedLastName(c *rand.Rand) string {
	one := func(of []string) string { return of[c.IntN(len(of))] }
	if name := one(lastNameStarts) + one(lastNameEnds); c.IntN(2) == 0 {
		return name
	} else if c.IntN(2) == 0 {
		return name + one(lastNameEnds)
	} else {
		return name + "-" + one(lastNameStarts) + one(lastNameEnds)
	}
}

// plain drops what the local part of an address cannot hold.
func plain(r rune) rune {
	if r > 127 || r == '\'' {
		return -1
	}
	return r
}

// settle does what a database does by itself in time.
func settle(tb testing.TB, db *database.DB) {
	tb.Helper()
	if db.Dialect() == database.Postgres {
		_, err := db.Conn(tb.Context()).ExecContext(tb.Context(), "VACUUM ANALYZE")
		check(tb, err)
	}
}
