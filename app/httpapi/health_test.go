package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/app/webhook"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// about is what the program of the tests says of itself.
func about(context.Context) (httpapi.About, error) {
	at := time.Date(2026, 1, 31, 12, 0, 0, 0, time.UTC)
	return httpapi.About{Version: "v1.2.3", Go: "go1.26", StartedAt: at,
		Migrations: []database.MigrationState{{Module: "user", Version: 1, Name: "users", AppliedAt: at}, {Module: "user", Version: 2, Name: "search", AppliedAt: at}, {Module: "auth", Version: 1, Name: "identities", AppliedAt: at}},
		Mail:       httpapi.MailAbout{Driver: "smtp", Consumer: "bell"},
	}, nil
}

var healthRoutes = []fixture{
	{"by nobody", "", "GET /admin/health", "", 401, unauthorized},
	{"by a member", "member", "GET /admin/health", "", 403, forbidden},
	{"with a parameter", "admin", "GET /admin/health?verbose=true", "", 400, invalid("Unrecognized fields: 'verbose'")},
	{"all", "admin", "GET /admin/health", "", 200, `{"health":{"status":"ok","checks":[{"name":"database","status":"ok"},{"name":"migrations","status":"ok"},` +
		`{"name":"mail","status":"ok"},{"name":"providers","status":"ok"},{"name":"webhooks","status":"ok"},{"name":"events","status":"ok"}],` +
		`"program":{"version":"v1.2.3","revision":null,"go":"go1.26","started_at":"<time>"},` +
		`"database":{"kind":"{kind}","version":"{version}","max_connections":<max>,"missing_indexes":[]},` +
		`"migrations":[{"module":"user","applied":2,"newest":"search","applied_at":"<time>","pending":[]},{"module":"auth","applied":1,"newest":"identities","applied_at":"<time>","pending":[]}],` +
		`"mail":{"driver":"smtp","waiting":0,"dead":0,"oldest_at":null},` +
		`"providers":[{"id":"emailpass","display_name":"Email/Password Authentication","flow":"credentials","available":true},{"id":"vouching","display_name":"vouching","flow":"credentials","available":true}],` +
		`"webhooks":{"enabled":0,"disabled":0,"gone":0},"events":{"waiting":0,"dead":0,"oldest_at":null}}}`},
}

func TestHealthAnswers(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		sc := newScene(t, s)
		sc.ids["kind"] = string(s.db.Dialect())
		var err error
		sc.ids["version"], err = s.db.Version(t.Context())
		check(t, err)
		fixtures := slices.Clone(healthRoutes)
		for i := range fixtures {
			fixtures[i].want = strings.Replace(fixtures[i].want, "<max>", fmt.Sprint(s.db.MaxConns()), 1)
		}
		sc.run(t, fixtures)
	})
}

// checks are how the parts stand, as the API says it, and all together.
func (s *server) checks(t *testing.T, token string) (status string, checks map[string]string) {
	t.Helper()
	a := s.do(t, "GET", "/admin/health", "", bearer(token))
	var body struct {
		Health struct {
			Status string
			Checks []struct{ Name, Status, Reason string }
		}
	}
	if err := json.Unmarshal([]byte(a.body), &body); a.status != 200 || err != nil {
		t.Fatalf("health: %d %s", a.status, a.body)
	}
	checks = map[string]string{}
	for _, c := range body.Health.Checks {
		checks[c.Name] = strings.TrimSpace(c.Status + " " + c.Reason)
	}
	return body.Health.Status, checks
}

func TestHealthSaysWhatIsWrong(t *testing.T) {
	var program httpapi.About
	down := &silent{}
	eachWith(t, settings{providers: []auth.Provider{down}, program: func(ctx context.Context) (httpapi.About, error) { return program, nil }}, func(t *testing.T, s *server) {
		program, _ = about(t.Context())
		down.is = false
		admin := s.admin(t, "admin@example.com")
		want := func(what, status string, wrong map[string]string) {
			t.Helper()
			got, checks := s.checks(t, admin)
			for _, name := range []string{"database", "migrations", "mail", "providers", "webhooks", "events"} {
				if expected := wrong[name]; expected == "" && checks[name] != "ok" || expected != "" && checks[name] != expected {
					t.Errorf("%s: %s is %q, want %q", what, name, checks[name], expected)
				}
			}
			if got != status {
				t.Errorf("%s: %s, want %s", what, got, status)
			}
		}
		want("nothing", "ok", nil)

		s.waits(t, "bell.rung")
		want("what has just come", "ok", nil)
		check(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := s.db.Conn(ctx).NewUpdate().Table("latchkey_outbox_event").Set("created_at = ?", database.Now().Add(-time.Hour)).Where("1 = 1").Exec(ctx)
			return err
		}))
		want("what waits for long", "failing", map[string]string{"mail": "failing mail_late", "events": "warning event_late"})
		program.Mail.Consumer = "mail"
		want("what waits for long, and is no mail", "warning", map[string]string{"events": "warning event_late"})
		s.dies(t, "bell.rung", "no sound")
		want("dead letters", "warning", map[string]string{"events": "warning event_dead"})
		program.Mail.Consumer = "bell"
		want("dead mails", "failing", map[string]string{"mail": "failing mail_dead", "events": "warning event_dead"})
		if a := s.do(t, "POST", "/admin/events/discard", `{"all":true}`, bearer(admin)); a.status != 200 {
			t.Fatalf("discard: %d %s", a.status, a.body)
		}

		program.Mail.Driver = ""
		want("no mails", "warning", map[string]string{"mail": "warning mail_off"})
		program.Migrations = append(program.Migrations, database.MigrationState{Module: "auth", Version: 2, Name: "sessions"})
		want("a migration that is pending", "failing", map[string]string{"mail": "warning mail_off", "migrations": "failing migration_pending"})
		program, _ = about(t.Context())

		down.is = true
		want("a provider that cannot be reached", "warning", map[string]string{"providers": "warning provider_unavailable"})
		down.is = false

		off := false
		e, _, err := s.hooks.CreateEndpoint(t.Context(), webhook.EndpointDraft{URL: nobodyListens})
		check(t, err)
		_, err = s.hooks.UpdateEndpoint(t.Context(), webhook.EndpointUpdate{ID: e.ID, Enabled: &off})
		check(t, err)
		want("a webhook that somebody disabled", "ok", nil)
		check(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := s.db.Conn(ctx).NewUpdate().Table("latchkey_webhook_endpoint").Set("disabled_reason = ?", webhook.DisabledGone).Where("1 = 1").Exec(ctx)
			return err
		}))
		want("a webhook that is gone", "warning", map[string]string{"webhooks": "warning webhook_gone"})
	})
}

// silent is a provider that cannot be reached at times.
type silent struct {
	vouching
	is bool
}

func (*silent) Name() string { return "silent" }

// Available implements auth.Reporter.
func (s *silent) Available() bool { return !s.is }

// What the program cannot say is no answer with a hole, and its error stays here.
func TestAProgramThatFailsToSayHowItIsIsAnError(t *testing.T) {
	eachWith(t, settings{program: func(context.Context) (httpapi.About, error) { return httpapi.About{}, errors.New("no such table") }}, func(t *testing.T, s *server) {
		a := s.do(t, "GET", "/admin/health", "", bearer(s.admin(t, "admin@example.com")))
		if a.status != http.StatusInternalServerError || strings.Contains(a.body, "table") || !strings.Contains(s.log.String(), "no such table") {
			t.Errorf("%d %s", a.status, a.body)
		}
	})
}
