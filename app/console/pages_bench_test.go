package console_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/webhook"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

// BenchmarkPages renders pages as an administrator who is signed in, with 100,000 users and what they leave behind, and reports how long
// the server takes at the median. There is no network and no browser: it is called as net/http would call it.
func BenchmarkPages(b *testing.B) {
	databasetest.EachBenchmark(b, func(b *testing.B, at databasetest.Database) {
		s := newSite(b, at.Open(b, migrations()...), options{})
		s.populate(b, 100_000)
		ada, err := s.users.FindUser(b.Context(), "ada@example.com")
		if err != nil {
			b.Fatal(err)
		}
		old := s.remember(b)
		hook := s.deliver(b)
		s.analyze(b)
		cookie := s.cookieOfAdmin(b)
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
			{"audit log", "/app/audit"},
			{"audit log, far behind", "/app/audit?after=" + old.Cursor()},
			{"audit log, an action of many", "/app/audit?action=auth.sign_in"},
			{"audit log, an action of few", "/app/audit?action=user.deactivated"},
			{"audit log, an action of nobody", "/app/audit?action=webhook.deleted"},
			{"audit log, refused", "/app/audit?outcome=refused"},
			{"audit log, refused, an action of many", "/app/audit?outcome=refused&action=auth.sign_in"},
			{"audit log, refused, an action that never is", "/app/audit?outcome=refused&action=user.created"},
			{"audit log, an actor type of many", "/app/audit?actor_type=user"},
			{"audit log, an actor type of few", "/app/audit?actor_type=command"},
			{"audit log, an actor type of nobody", "/app/audit?actor_type=robot"},
			{"audit log, by a user", "/app/audit?actor_id=" + old.ActorID},
			{"audit log, by an address", "/app/audit?actor_id=u500@example.com"},
			{"audit log, about a user", "/app/audit?target_id=" + string(ada.ID)},
			{"audit log, an identity", "/app/audit?identity_id=" + old.IdentityID},
			{"audit log, a session", "/app/audit?session_id=" + old.SessionID},
			{"audit log, a request", "/app/audit?request_id=" + old.RequestID},
			{"audit log, an IP", "/app/audit?ip=" + old.IP},
			{"audit log, a day", "/app/audit?from=" + old.TS.Format(time.DateOnly) + "&to=" + old.TS.Format(time.DateOnly)},
			{"audit log, a day, refused", "/app/audit?outcome=refused&from=" + old.TS.Format(time.DateOnly) + "&to=" + old.TS.Format(time.DateOnly)},
			{"audit log, one event", "/app/audit/" + old.ID},
			{"events", "/app/events"},
			{"events, page 401", "/app/events?offset=10000"},
			{"events, dead", "/app/events?dead=true"},
			{"events, dead, of a consumer", "/app/events?dead=true&consumer=mail"},
			{"events, of a consumer", "/app/events?consumer=webhook"},
			{"events, of a target", "/app/events?consumer=webhook&target=" + hook},
			{"events, of a topic", "/app/events?topic=user.updated"},
			{"events, of a topic that waits for nobody", "/app/events?topic=user.restored"},
			{"events, one", "/app/events?id=" + waiting(5_000)},
			{"events, to be discarded", "/app/events/discard?dead=true"},
			{"consumers", "/app/events/consumers"},
			{"webhooks", "/app/webhooks"},
			{"a webhook", "/app/webhooks/" + hook},
			{"a webhook, what failed", "/app/webhooks/" + hook + "?failed=true"},
			{"a webhook, far behind", "/app/webhooks/" + hook + "?after=" + attempted(1_000)},
			{"health", "/app/health"},
			{"invites", "/app/invites"},
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
}

// analyze has PostgreSQL know what there is, as its daemon does in time.
func (s *site) analyze(b *testing.B) {
	b.Helper()
	if s.db.Dialect() != database.Postgres {
		return
	}
	if _, err := s.db.Conn(b.Context()).ExecContext(b.Context(), "VACUUM ANALYZE"); err != nil {
		b.Fatal(err)
	}
}

// trailed is a row of the audit trail, of the time that the trail itself, which knows but now, would not write.
type trailed struct {
	bun.BaseModel `bun:"table:latchkey_audit_event"`

	ID, Action, Outcome, ActorType, ActorID, IdentityID, SessionID, IP, UserAgent, TargetType, TargetID, RequestID string

	TS      time.Time       `bun:"ts"`
	Reason  string          `bun:",nullzero"`
	Details database.Object // of what happened
}

// remember keeps what 400,000 acts of the last ninety days have left in the trail: sign-ins above all, some of which are refused, fewer
// sessions that end, and changes that the users or an administrator make. It returns one of the first.
func (s *site) remember(b *testing.B) audit.Event {
	b.Helper()
	users, err := s.users.ListUsers(b.Context(), user.Filter{}, user.Page{Limit: 100_000})
	if err != nil {
		b.Fatal(err)
	}
	const acts = 400_000
	began := database.Now().Add(-90 * 24 * time.Hour)
	row := func(i int) trailed {
		u := string(users[i*7919%len(users)].ID)
		r := trailed{
			ID: numbered("audit", i), TS: began.Add(time.Duration(i) * (90 * 24 * time.Hour / acts)), Action: "auth.sign_in", Outcome: audit.Success, ActorType: link.ActorUser,
			ActorID: u, IdentityID: numbered("authid", i*7919%len(users)), SessionID: numbered("authsess", i/2), UserAgent: "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
			IP: fmt.Sprintf("203.0.%d.%d", i*7919%len(users)/250%250, i%250), TargetType: "session", TargetID: numbered("authsess", i/2), RequestID: numbered("req", i),
			Details: database.Object{"provider": "emailpass", "new_actor": false},
		}
		switch kind := i % 100; {
		case i%50_000 == 777:
			r.ActorType, r.Action, r.TargetType, r.TargetID = audit.Command, "purge", "", ""
		case kind < 60:
		case kind < 64:
			r.Outcome, r.Reason, r.ActorType, r.ActorID, r.TargetType, r.TargetID = audit.Refused, "invalid_credentials", audit.Anonymous, "", "auth_identity", r.IdentityID
		case kind < 85:
			r.Action = "auth.session.ended"
		case kind < 95:
			r.Action, r.TargetType, r.TargetID = "user.updated", "user", u
		case kind < 96:
			r.Action, r.Outcome, r.Reason, r.TargetType, r.TargetID = "access", audit.Refused, "forbidden", "", ""
		default:
			r.Action, r.TargetType, r.TargetID = "auth.credentials_changed", "auth_identity", r.IdentityID
		}
		return r
	}
	insertMany(b, s.db, acts, row)
	r := row(20_000)
	return audit.Event{ID: r.ID, TS: r.TS, ActorID: r.ActorID, IdentityID: r.IdentityID, SessionID: r.SessionID, IP: r.IP, RequestID: r.RequestID}
}

// deliver has 10,000 events wait for a consumer and for ten webhooks, some of them dead, and keeps a long log of what was sent. It returns
// one of the webhooks.
func (s *site) deliver(b *testing.B) string {
	b.Helper()
	ctx := b.Context()
	targets := []string{""}
	for i := range 10 {
		e, _, err := s.hooks.CreateEndpoint(ctx, webhook.EndpointDraft{URL: fmt.Sprintf("https://hook%d.example.com/events", i), Description: "Receiver"})
		if err != nil {
			b.Fatal(err)
		}
		targets = append(targets, string(e.ID))
	}
	now := database.Now()
	topics := []string{"user.created", "user.updated", "auth.sign_in", "auth.credentials_changed", "invite.created"}
	at := func(i int) time.Time { return now.Add(time.Duration(i-10_000) * time.Second) }
	type event struct {
		bun.BaseModel `bun:"table:latchkey_outbox_event"`

		Seq                             int
		ID, Topic, AggregateID, Payload string
		CreatedAt                       time.Time
	}
	insertMany(b, s.db, 10_000, func(i int) event {
		return event{Seq: 1_000_000 + i, ID: waiting(i), Topic: topics[i%5], AggregateID: numbered("user", i), Payload: `{"id":"user"}`, CreatedAt: at(i)}
	})
	type delivery struct {
		bun.BaseModel `bun:"table:latchkey_outbox_delivery"`

		EventSeq                             int
		Consumer, Target, Topic, AggregateID string
		Attempts                             int
		NextAt                               time.Time
		LastError                            string    `bun:",nullzero"`
		DeadAt                               time.Time `bun:",nullzero"`
	}
	insertMany(b, s.db, 30_000, func(i int) delivery { // each waits for the mailer, and for two webhooks
		of := i / 3
		d := delivery{EventSeq: 1_000_000 + of, Consumer: "mail", Topic: topics[of%5], AggregateID: numbered("user", of), Attempts: 1, NextAt: now}
		if i%3 > 0 {
			d.Consumer, d.Target = "webhook", targets[1+(of*2+i%3)%10]
		}
		if of%20 == 7 {
			d.Attempts, d.LastError, d.DeadAt = 12, "the server answered 500", now
		}
		return d
	})
	type log struct {
		bun.BaseModel `bun:"table:latchkey_webhook_delivery"`

		ID, EndpointID, EventID, Topic string
		Attempt                        int
		SentAt                         time.Time
		DurationMS                     int    `bun:"duration_ms"`
		Status                         int    `bun:",nullzero"`
		Error                          string `bun:",nullzero"`
	}
	insertMany(b, s.db, 100_000, func(i int) log { // one of the webhooks has never failed
		l := log{ID: attempted(i), EndpointID: targets[1+i%10], EventID: waiting(i), Topic: topics[i/10%5], Attempt: 1, SentAt: at(i), DurationMS: 40, Status: 204}
		if i%10 != 0 && i/10%50 == 3 {
			l.Status, l.Error = 500, "the server answered 500"
		}
		return l
	})
	return targets[1]
}

// numbered is the id of that number.
func numbered(prefix string, i int) string { return fmt.Sprintf("%s_01J%023d", prefix, i) }

func waiting(i int) string   { return numbered("evt", i) }
func attempted(i int) string { return numbered("whdel", i) }

// insertMany inserts rows, each as its number says.
func insertMany[T any](b *testing.B, db *database.DB, n int, row func(i int) T) {
	b.Helper()
	const chunk = 1000
	for from := 0; from < n; from += chunk {
		rows := make([]T, 0, chunk)
		for i := from; i < min(n, from+chunk); i++ {
			rows = append(rows, row(i))
		}
		err := db.InTx(b.Context(), func(ctx context.Context) error {
			_, err := db.Conn(ctx).NewInsert().Model(&rows).Exec(ctx)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
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
