package app_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	standardwebhooks "github.com/standard-webhooks/standard-webhooks/libraries/go"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// shop is a receiver of webhooks, in a process of its own to the servers. It takes what the secret verifies, and each event once.
type shop struct {
	*httptest.Server
	down atomic.Bool

	mu     sync.Mutex
	secret string
	calls  int
	events map[string]string // topic and what it is about, by webhook-id
	wrong  []string
}

func newShop(t *testing.T) *shop {
	s := &shop{events: map[string]string{}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.calls++
		if s.down.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		var e struct{ ID, Type, Aggregate string }
		wh, _ := standardwebhooks.NewWebhook(s.secret)
		if err == nil {
			err = wh.Verify(body, r.Header)
		}
		if err == nil {
			err = json.Unmarshal(body, &e)
		}
		if err != nil || e.ID != r.Header.Get("webhook-id") {
			s.wrong = append(s.wrong, fmt.Sprint(err, " ", string(body)))
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		s.events[e.ID] = e.Type + " " + e.Aggregate
	}))
	t.Cleanup(func() {
		s.Close()
		for _, w := range s.wrong {
			t.Errorf("the shop did not take %s", w)
		}
	})
	return s
}

func (s *shop) knows(secret string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.secret = secret
}

// got are the events of a topic that came, each once.
func (s *shop) got(topic string) (n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range s.events {
		if strings.HasPrefix(e, topic+" ") {
			n++
		}
	}
	return n
}

func (s *shop) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls
}

func soon(t *testing.T, what string, done func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !done(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain: %s", what)
		}
	}
}

// withWebhooks is the environment of servers that may send to this machine, and a command that must end with a code.
func withWebhooks(t *testing.T, at databasetest.Database, extra ...string) (env []string, command func(code int, want string, args ...string) string) {
	env = environment(t.TempDir(), at, append([]string{"LATCHKEY_WEBHOOKS_PRIVATE_ADDRESSES=true"}, extra...)...)
	if at.Dialect == database.SQLite {
		env = append(env, "LATCHKEY_DATABASE_URL="+at.URL)
	}
	if out, errs, code := run(t, env, "migrate"); code != 0 {
		t.Fatal(out, errs)
	}
	return env, func(code int, want string, args ...string) string {
		t.Helper()
		out, errs, got := run(t, env, args...)
		if got != code || !strings.Contains(out+errs, want) {
			t.Fatalf("server %s: exit %d, want %d and %q\n%s%s", strings.Join(args, " "), got, code, want, out, errs)
		}
		return out
	}
}

// From the registration at the command line to the receiver, over a receiver that is down, a killed server and another one.
func TestWebhooksOfServersThatAreKilledLoseNothing(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		env, command := withWebhooks(t, at)
		s := newShop(t)
		out := command(0, "whsec_", "webhooks", "create", s.URL+"/hooks?token=hunter2", "--topic", "user.created", "--description", "the shop", "--json")
		var made struct {
			Webhook struct{ ID, Secret string }
		}
		if err := json.Unmarshal([]byte(out), &made); err != nil {
			t.Fatal(err)
		}
		s.knows(made.Webhook.Secret)
		s.down.Store(true)
		people := func(from, to int) {
			for i := from; i < to; i++ {
				command(0, "Made user", "user", "-e", fmt.Sprintf("u%d@example.com", i), "-p", "correct horse battery")
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
		defer cancel()
		up := func() *running {
			r := start(t, env)
			if err := r.up(ctx); err != nil {
				t.Fatal(err)
			}
			return r
		}
		people(0, 2) // recorded by a command, before any server runs
		first := up()
		soon(t, "the shop was asked", func() bool { return s.asked() >= 2 })
		first.kill()
		people(2, 4)
		second, third := up(), up()
		soon(t, "it was asked again", func() bool { return s.asked() >= 5 })
		s.down.Store(false)
		people(4, 5)
		soon(t, "everything came", func() bool { return s.got("user.created") == 5 })
		if s.got("") != 0 || s.got("link.linked") != 0 {
			t.Error("more came than was wanted")
		}
		log := command(0, "delivered, it answered 200", "webhooks", "deliveries", made.Webhook.ID)
		if failed := command(0, "failed: it answered 503", "webhooks", "deliveries", made.Webhook.ID, "--failed"); strings.Contains(failed, "delivered") || len(failed) >= len(log) {
			t.Errorf("of the failed:\n%s\nof all:\n%s", failed, log)
		}
		command(0, "invariants hold", "doctor")
		for _, r := range []*running{second, third} {
			if err := r.stop(); err != nil {
				t.Error(err)
			}
		}
		bare := strings.TrimPrefix(made.Webhook.Secret, "whsec_")
		all := databasetest.Dump(t, at.Open(t))
		for table, rows := range all {
			if text := fmt.Sprint(rows); strings.Contains(text, bare) {
				t.Errorf("%s has the secret", table)
			} else if strings.Contains(text, "hunter2") && table != "latchkey_webhook_endpoint" {
				t.Errorf("%s has the address, which may hold a token", table)
			}
		}
		for _, r := range []*running{first, second, third} {
			if text := r.stderr.String() + r.stdout.String(); strings.Contains(text, bare) || strings.Contains(text, "hunter2") {
				t.Errorf("the log has the secret or the address:\n%s", text)
			}
		}
		if out := command(0, made.Webhook.ID, "webhooks", "list", "--json") + command(0, "the shop", "webhooks", "list"); strings.Contains(out, bare) {
			t.Errorf("the list shows the secret:\n%s", out)
		}
	})
}

func TestTheCommandWebhooks(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		_, command := withWebhooks(t, at)
		s := newShop(t)
		command(0, "There are no webhooks", "webhooks", "list")
		out := command(0, "shown this once", "webhooks", "create", "--topic", "user.created", s.URL, "--topic", "user.deleted")
		id, secret := regexp.MustCompile(`whep_\w{26}`).FindString(out), regexp.MustCompile(`whsec_\S{44}`).FindString(out)
		s.knows(secret)
		command(0, "delivered, it answered 200", "webhooks", "test", id)
		command(0, "every topic", "webhooks", "create", "https://example.com/hooks")
		if list := command(0, id, "webhooks", "list"); strings.Count(list, "\n") != 2 || !strings.Contains(list, "user.created,user.deleted") || strings.Contains(list, secret) {
			t.Errorf("the list:\n%s", list)
		}
		command(0, "secrets that sign  1", "webhooks", "show", id)

		out = command(0, "signs beside it until", "webhooks", "rotate", id, "--overlap", "2h")
		command(0, "delivered", "webhooks", "test", id) // by the old one
		s.knows(regexp.MustCompile(`whsec_\S{44}`).FindString(out))
		command(0, "delivered", "webhooks", "test", id)
		command(0, `"active_secrets": 2`, "webhooks", "show", "--json", id)
		s.knows(regexp.MustCompile(`whsec_\S{44}`).FindString(command(0, "signs no more", "webhooks", "rotate", "--now", id)))
		command(0, `"status": 200`, "webhooks", "test", id, "--json")

		command(0, "What waited for it is dropped", "webhooks", "disable", id)
		command(0, "disabled", "webhooks", "show", id)
		command(0, "from now on", "webhooks", "enable", id)
		s.down.Store(true)
		command(1, "failed: it answered 503", "webhooks", "test", id)
		command(0, "attempt 1", "webhooks", "deliveries", id)
		if page := command(0, "More: --after whdel_", "webhooks", "deliveries", "--limit", "2", id); strings.Count(page, "evt_") != 2 {
			t.Errorf("a page of two:\n%s", page)
		}
		command(0, "Deleted webhook "+id, "webhooks", "delete", id)

		for _, c := range []struct {
			code int
			want string
			args []string
		}{
			{0, "server webhooks rotate ID", nil},
			{0, "server webhooks rotate ID", []string{"create", "--help"}},
			{2, `no command "remove"`, []string{"remove", id}},
			{2, "too much or too little", []string{"create"}},
			{2, "too much or too little", []string{"show", id, id}},
			{2, "too much or too little", []string{"deliveries", id, "--limit", "0"}},
			{2, "flag provided but not defined: -now", []string{"show", id, "--now"}},
			{1, "was not found", []string{"show", id}},
			{1, "was not found", []string{"delete", id}},
			{1, "was not found", []string{"test", id}},
			{1, "No such webhook.", []string{"rotate", "nonsense"}},
			{1, "topics[0] is none that there is", []string{"create", s.URL, "--topic", "user.made"}},
			{1, "url must begin with https://", []string{"create", "ftp://example.com"}},
			{1, "for at most 30 days", []string{"rotate", id, "--overlap", "1000h"}},
		} {
			command(c.code, c.want, append([]string{"webhooks"}, c.args...)...)
		}
		db := at.Open(t)
		for action, want := range map[string]int{"webhook.created": 2, "webhook.secret_rotated": 2, "webhook.updated": 2, "webhook.deleted": 1} {
			if n := countOf(t, db, "SELECT count(*) FROM latchkey_audit_event WHERE action = ? AND actor_type = 'command' AND target_type = 'webhook'", action); n != want {
				t.Errorf("%s is recorded %d times, want %d", action, n, want)
			}
		}
	})
}

// Also where no server runs that could follow, a rotation of the master secrets leaves webhooks as they are.
func TestRotatingTheMasterSecretsKeepsWebhooks(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		file := filepath.Join(t.TempDir(), "secrets")
		if err := os.WriteFile(file, []byte(testSecret+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, command := withWebhooks(t, at, "LATCHKEY_SECRETS=file:"+file)
		s := newShop(t)
		out := command(0, "Made webhook", "webhooks", "create", s.URL)
		id := regexp.MustCompile(`whep_\w{26}`).FindString(out)
		s.knows(regexp.MustCompile(`whsec_\S{44}`).FindString(out))
		command(0, "1, of which these secrets open", "keys", "status")
		command(0, "Appended a new secret", "keys", "rotate")
		command(0, "delivered", "webhooks", "test", id)
		command(0, "to the front", "keys", "rotate")
		command(0, "delivered", "webhooks", "test", id)
		name := regexp.MustCompile(`(?m)^  (\S+) +verifies`).FindStringSubmatch(command(0, "verifies", "keys", "status"))
		command(0, "Dropped the secret", "keys", "rotate", "--drop", name[1])
		command(0, "delivered", "webhooks", "test", id)
		lines, err := os.ReadFile(file)
		if err != nil || bytes.Count(lines, []byte("\n")) != 1 || bytes.Contains(lines, []byte(testSecret)) {
			t.Errorf("the file of secrets has\n%s, %v", lines, err)
		}
		status := command(0, "1, of which these secrets open", "keys", "status")
		if strings.Contains(status, "is sent nothing") {
			t.Errorf("the status:\n%s", status)
		}

		// By hand, and past every step, one is lost, and that is said.
		other := freshSecret()
		if err := os.WriteFile(file, []byte(other+"\n"+string(lines)), 0o600); err != nil {
			t.Fatal(err)
		}
		command(0, "invariants hold", "doctor")
		command(0, "Made user", "user", "-e", "a@example.com", "-p", "correct horse battery") // this one knows both, and opens
		if err := os.WriteFile(file, []byte(other+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		command(0, id+"  is sent nothing", "keys", "status")
		command(1, "no master secret that is there opens", "webhooks", "test", id)
		s.knows(regexp.MustCompile(`whsec_\S{44}`).FindString(command(0, "signs no more", "webhooks", "rotate", "--now", id)))
		command(0, "delivered", "webhooks", "test", id)
	})
}
