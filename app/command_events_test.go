package app_test

import (
	"context"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

func TestTheCommandEventsShowsWhatIsToBeDeliveredAndHasItTriedAgain(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		path := filepath.Join(t.TempDir(), "mail.jsonl")
		env := append(onDatabase(t, at), "LATCHKEY_MAIL_DRIVER=file", "LATCHKEY_MAIL_PATH="+path)
		want := func(code int, says []string, args ...string) string {
			t.Helper()
			out, errs, got := run(t, env, args...)
			for _, s := range says {
				if !strings.Contains(out+errs, s) {
					t.Errorf("server %v does not say %q:\n%s%s", args, s, out, errs)
				}
			}
			if got != code {
				t.Fatalf("server %v: exit %d, want %d\n%s%s", args, got, code, out, errs)
			}
			return out
		}
		deliveries := func(args ...string) (list []outbox.Waiting, total int) {
			t.Helper()
			var answer struct {
				Deliveries []outbox.Waiting
				Count      int
			}
			if err := json.Unmarshal([]byte(want(0, nil, append([]string{"events", "list", "--json"}, args...)...)), &answer); err != nil {
				t.Fatal(err)
			}
			return answer.Deliveries, answer.Count
		}
		for _, wrong := range [][]string{
			{"events"}, {"events", "show"}, {"events", "list", "evt_1"}, {"events", "list", "--all"}, {"events", "retry"}, {"events", "retry", "--all", "evt_1"},
			{"events", "discard", "--dead"}, {"events", "forget"}, {"events", "forget", "a", "b"}, {"events", "consumers", "--dead"}, {"events", "list", "--limit", "0"},
		} {
			want(2, []string{"'server events --help'"}, wrong...)
		}
		want(0, []string{"server events retry", "--consumer"}, "events", "--help")

		want(0, nil, "user", "-e", "ada@example.com", "--invite") // what its mail waits for is a server
		want(0, nil, "user", "-e", "eve@example.com", "--invite")
		list, total := deliveries()
		if total != 2 || len(list) != 2 || list[0].Topic != "invite.created" || list[0].Consumer != "mail" || list[0].State != outbox.StateWaiting || list[0].Attempts != 0 {
			t.Fatalf("to be delivered are %+v", list)
		}
		if list, total := deliveries("--limit", "1"); len(list) != 1 || total != 2 {
			t.Errorf("%d of %d are listed", len(list), total)
		}
		want(0, []string{"STATE", list[0].ID, "waiting", "invite.created", "mail", "… and 1 more: --limit shows them"}, "events", "list", "--limit", "1")
		want(0, []string{"no such dead letters"}, "events", "list", "--dead")
		want(0, []string{"mail", "invite.created", "2"}, "events", "consumers")
		want(1, []string{"evt_none", "nothing was changed"}, "events", "retry", list[0].ID, "evt_none")

		db := at.Open(t)
		if err := db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := db.Conn(ctx).NewRaw("UPDATE latchkey_outbox_delivery SET dead_at = next_at, attempts = 450, last_error = 'the mail server is closed for good'").Exec(ctx)
			return err
		}); err != nil {
			t.Fatal(err)
		}
		want(0, []string{"dead", "never", "the mail server is closed for good"}, "events", "list", "--dead", "--consumer", "mail", "--topic", "invite.created")
		want(0, []string{"nothing such"}, "events", "list", "--topic", "user.created")
		want(0, []string{"0 deliveries dropped"}, "events", "discard", "--all", "--consumer", "other")
		want(0, []string{"1 delivery dropped"}, "events", "discard", list[1].ID)
		r := start(t, env)
		if err := r.up(t.Context()); err != nil {
			t.Fatal(err)
		}
		mailsIn(t, path, 0)
		want(0, []string{"1 delivery will be tried again"}, "events", "retry", "--consumer", "mail", list[0].ID)
		if m := mailsIn(t, path, 1); m[0].To != "ada@example.com" {
			t.Errorf("the mail is to %s", m[0].To)
		}
		r.stop()

		want(0, nil, "user", "-e", "joe@example.com", "--invite")
		want(1, []string{`no consumer "nobody"`}, "events", "forget", "nobody")
		want(1, []string{"this program has the consumer mail"}, "events", "forget", "mail")
		env = append(env, "LATCHKEY_MAIL_DRIVER=none")
		want(0, []string{"Forgot mail, and 1 event"}, "events", "forget", "mail")
		want(0, []string{"Nobody is told of events."}, "events", "consumers")
		want(0, []string{"nothing such"}, "events", "list")
	})
}
