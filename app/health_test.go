package app_test

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// A program says of itself what is so: its migrations, all of them, how mails leave, and when it was started.
func TestAServerSaysInDetailHowItIs(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		on := onDatabase(t, at)
		for driver, want := range map[string]string{"file": "ok", "none": "warning mail_off"} {
			env := append(slices.Clip(on), "LATCHKEY_MAIL_DRIVER="+driver)
			if out, errs, code := run(t, env, "user", "-e", driver+"@example.com", "-p", "a long passphrase"); code != 0 {
				t.Fatalf("%s%s", out, errs)
			}
			before := time.Now()
			s := start(t, env)
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := s.up(ctx); err != nil {
				t.Fatal(err)
			}
			var signedIn struct{ Token string }
			rsp, err := http.Post(s.url+"/auth/user/emailpass", "application/json", strings.NewReader(`{"email":"`+driver+`@example.com","password":"a long passphrase"}`))
			if err != nil {
				t.Fatal(err)
			}
			defer rsp.Body.Close()
			if err := json.NewDecoder(rsp.Body).Decode(&signedIn); err != nil {
				t.Fatal(err)
			}
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/admin/health", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+signedIn.Token)
			if rsp, err = http.DefaultClient.Do(req); err != nil {
				t.Fatal(err)
			}
			defer rsp.Body.Close()
			var answer struct {
				Health struct {
					Checks  []struct{ Name, Status, Reason string }
					Program struct {
						Go        string
						StartedAt time.Time `json:"started_at"`
					}
					Database   struct{ Kind string }
					Migrations []struct {
						Module  string
						Applied int
						Pending []string
					}
					Mail     struct{ Driver *string }
					Webhooks *struct{}
					Events   *struct{}
				}
			}
			if err := json.NewDecoder(rsp.Body).Decode(&answer); err != nil || rsp.StatusCode != http.StatusOK {
				t.Fatalf("%d: %v", rsp.StatusCode, err)
			}
			h := answer.Health
			for _, c := range h.Checks {
				expected := "ok"
				if c.Name == "mail" {
					expected = want
				}
				if got := strings.TrimSpace(c.Status + " " + c.Reason); got != expected {
					t.Errorf("mails by %s: %s is %q, want %q", driver, c.Name, got, expected)
				}
			}
			if !strings.HasPrefix(h.Program.Go, "go1.") || h.Program.StartedAt.Before(before.Add(-time.Second)) || h.Program.StartedAt.After(time.Now()) {
				t.Errorf("the program is %+v", h.Program)
			}
			if len(h.Checks) != 6 || h.Database.Kind == "" || h.Webhooks == nil || h.Events == nil || (h.Mail.Driver == nil) != (driver == "none") {
				t.Errorf("mails by %s: %+v", driver, h)
			}
			if len(h.Migrations) != len(app.Migrations()) {
				t.Errorf("%d modules have migrations, want %d", len(h.Migrations), len(app.Migrations()))
			}
			for i, m := range h.Migrations {
				if m.Module != app.Migrations()[i].Module || m.Applied == 0 || len(m.Pending) > 0 {
					t.Errorf("%+v", m)
				}
			}
			if err := s.stop(); err != nil {
				t.Error(err)
			}
		}
	})
}
