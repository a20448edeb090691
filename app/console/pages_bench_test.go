package console_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

// BenchmarkPages renders pages about users, as an administrator who is signed in, with 100,000 users, and reports how long the server
// takes at the median. There is no network and no browser: it is called as net/http would call it.
func BenchmarkPages(b *testing.B) {
	databasetest.EachBenchmark(b, func(b *testing.B, at databasetest.Database) {
		s := newSite(b, at.Open(b, migrations()...), options{})
		s.populate(b, 100_000)
		cookie := s.cookieOfAdmin(b)
		ada, err := s.users.FindUser(b.Context(), "ada@example.com")
		if err != nil {
			b.Fatal(err)
		}
		for _, page := range []struct{ name, path string }{
			{"users", "/app/users"},
			{"users, by e-mail", "/app/users?order=email"},
			{"users, by name", "/app/users?order=last_name"},
			{"users, with a role of all", "/app/users?role=member"},
			{"users, with a role of few", "/app/users?role=editor"},
			{"users, active", "/app/users?status=active"},
			{"users, deactivated", "/app/users?status=deactivated"},
			{"users, deleted", "/app/users?status=deleted"},
			{"users, a search", "/app/users?q=u777"},
			{"users, a search that finds all", "/app/users?q=example"},
			{"users, a search by a letter", "/app/users?q=u&order=email"},
			{"users, page 1900", "/app/users?order=email&after=" + (user.Page{Order: "email"}).AfterUser(user.User{ID: ada.ID, Email: "u95000@example.com"}).After},
			{"a user", "/app/users/" + string(ada.ID)},
			{"a user to be edited", "/app/users/" + string(ada.ID) + "/edit"},
		} {
			b.Run(page.name, func(b *testing.B) {
				var took []time.Duration
				for b.Loop() {
					r := httptest.NewRequestWithContext(b.Context(), http.MethodGet, page.path, nil)
					r.AddCookie(cookie)
					w := httptest.NewRecorder()
					start := time.Now()
					s.server.Config.Handler.ServeHTTP(w, r)
					if took = append(took, time.Since(start)); w.Code != http.StatusOK {
						b.Fatalf("%s: %d %s", page.path, w.Code, w.Body)
					}
				}
				slices.Sort(took)
				b.ReportMetric(float64(took[len(took)/2].Microseconds())/1000, "median_ms")
				b.ReportMetric(float64(took[len(took)*95/100].Microseconds())/1000, "p95_ms")
			})
		}
	})
}

// populate makes n users, some of whom are editors, deactivated and deleted, and ada, who has signed in a few times.
func (s *site) populate(b *testing.B, n int) {
	b.Helper()
	check := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	drafts := make([]user.Draft, n)
	for i := range drafts {
		first, last := fmt.Sprintf("First%d", i), fmt.Sprintf("Last%d", i%1000)
		drafts[i] = user.Draft{Email: fmt.Sprintf("u%d@example.com", i), FirstName: &first, LastName: &last, Roles: []string{user.RoleMember}}
		if i%1000 == 0 {
			drafts[i].Roles = append(drafts[i].Roles, "editor")
		}
	}
	made, err := s.users.CreateUsers(b.Context(), drafts...)
	check(err)
	var some, others []user.ID
	for i := 500; i < n; i += 1000 {
		some, others = append(some, made[i].ID), append(others, made[i+1].ID)
	}
	check(s.users.DeactivateUsers(b.Context(), some...))
	check(s.users.SoftDeleteUsers(b.Context(), others...))
	_, err = s.link.CreateUser(b.Context(), "emailpass", credentials("ada@example.com"), user.Draft{Email: "ada@example.com", Roles: []string{user.RoleMember}})
	check(err)
	for range 5 {
		_, err := s.link.SignIn(b.Context(), link.ActorUser, "emailpass", credentials("ada@example.com"), auth.Client{UserAgent: "Mozilla/5.0", IP: "203.0.113.7"})
		check(err)
	}
	if s.db.Dialect() == database.Postgres { // as its daemon does in time
		_, err := s.db.Conn(b.Context()).ExecContext(b.Context(), "VACUUM ANALYZE")
		check(err)
	}
}

// cookieOfAdmin is the cookie of an administrator who has just signed in.
func (s *site) cookieOfAdmin(b *testing.B) *http.Cookie {
	b.Helper()
	in := credentials("root@example.com")
	if _, err := s.link.CreateUser(b.Context(), "emailpass", in, user.Draft{Email: "root@example.com", Roles: []string{user.RoleAdmin}}); err != nil {
		b.Fatal(err)
	}
	l, err := s.link.SignIn(b.Context(), link.ActorUser, "emailpass", in, auth.Client{})
	if err != nil {
		b.Fatal(err)
	}
	secret, err := s.auth.SetCookie(b.Context(), l.Session)
	if err != nil {
		b.Fatal(err)
	}
	return &http.Cookie{Name: "latchkey", Value: secret}
}
