package console_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/app/webhook"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// about is what the program of the tests says of itself.
func about(context.Context) (httpapi.About, error) {
	at := time.Now().Add(-3 * time.Hour)
	return httpapi.About{Version: "v1.2.3", Go: "go1.26", StartedAt: at,
		Migrations: []database.MigrationState{{Module: "user", Version: 1, Name: "users", AppliedAt: at}, {Module: "user", Version: 2, Name: "search", AppliedAt: at}},
		Mail:       httpapi.MailAbout{Driver: "smtp", Consumer: "bell"},
	}, nil
}

func TestTheHealthPageSaysHowTheServerIs(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b := s.root(t)
		version, err := s.db.Version(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		b.get("/app/health")
		b.want(http.StatusOK, "/app/health", "Everything works", "v1.2.3", "go1.26", "3 hours ago", strings.Fields(version)[0], "SMTP", "2 applied, none pending", "E-mail and password")
		b.wantNot("badge bad", "badge warn")
		b.do(http.MethodHead, "/app/health", "", nil)
		b.want(http.StatusOK, "/app/health")
	})
}

// Whatever the API finds, the page says what to do.
func TestTheHealthPageSaysWhatToDo(t *testing.T) {
	var program httpapi.About
	eachWith(t, options{program: func(context.Context) (httpapi.About, error) { return program, nil }}, func(t *testing.T, s *site) {
		b := s.root(t)
		program, _ = about(t.Context())
		program.Version, program.Mail.Driver = "", ""
		b.get("/app/health")
		b.want(http.StatusOK, "/app/health", "It works, and something wants a look", "Not known", "<code>mail.smtp.host</code>")

		program.Mail.Driver = "log"
		s.rings(t, "bell.rung", 1)
		err := s.db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := s.db.Conn(ctx).NewUpdate().Table("latchkey_outbox_event").Set("created_at = ?", database.Now().Add(-time.Hour)).Where("1 = 1").Exec(ctx)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		b.get("/app/health")
		b.want(http.StatusOK, "/app/health", "Something does not work", "for more than five minutes", "1 hour ago", "The terminal")
		s.dies(t, "bell.rung", "no sound")
		program.Mail.Driver, program.Migrations = "own", append(program.Migrations, database.MigrationState{Module: "auth", Version: 1, Name: "sessions<b>"})
		e := s.hook(t)
		err = s.db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := s.db.Conn(ctx).NewUpdate().Table("latchkey_webhook_endpoint").Set("disabled_reason = ?", webhook.DisabledGone).Set("disabled_at = ?", database.Now()).Where("id = ?", e).Exec(ctx)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		b.get("/app/health")
		b.want(http.StatusOK, "/app/health", "Some mails were given up", "Some deliveries were given up", "it is gone", "server migrate", "sessions&lt;b&gt;", `href="/app/events?dead=true"`)
		b.get("/app/webhooks/" + e)
		b.want(http.StatusOK, "/app/webhooks/"+e, "answered that it is gone (410)", "badge bad")
	})
}
