package app_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"mime/quotedprintable"
	"net/http"
	"net/http/httptest"
	netmail "net/mail"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/mail/smtptest"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// sentTo are the mails to somebody that the server has taken.
func sentTo(s *smtptest.Server, who string) (sent []smtptest.Mail) {
	for _, m := range s.Mails() {
		if slices.Contains(m.To, who) {
			sent = append(sent, m)
		}
	}
	return sent
}

// delivered waits until nothing is left to deliver.
func (n *node) delivered(t *testing.T) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); rows("SELECT count(*) FROM latchkey_outbox_delivery")(t, n, "") > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the events are not delivered")
		}
	}
}

// Between a server's 250 and the commit of our note of it nobody can tell whether a mail has left. Whoever is killed there
// sends it once more, and it is the same mail; killed before, it leaves once.
func TestAServerKilledWhileItSendsByASMTPServerLosesNoMailAndRepeatsOnlyTheSame(t *testing.T) {
	t.Parallel()
	var closing moment
	for _, m := range moments {
		if m.name == "a delivery is closed" {
			closing = m
		}
	}
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		t.Parallel()
		s := smtptest.Start(t, smtptest.Options{TLS: "starttls"})
		env := environment(t.TempDir(), at, s.Env()...)
		n := open(t, env)
		n.makeAdmin(t)
		kinds := []string{smtptest.Connect, smtptest.Recipient, smtptest.Content, closing.at("before", 1), closing.at("after", 1)}
		repeated := 0
		rounds := scale(t, "LATCHKEY_TEST_ROUNDS", len(kinds))
		for round := range rounds {
			kind := kinds[round%len(kinds)]
			who := fmt.Sprintf("killed%d@example.com", round)
			n.stop()
			failpoint, atServer := kind, false
			if !strings.HasPrefix(kind, "failpoint") {
				failpoint, atServer = noFailpoint, true
			}
			r := startBinary(t, itself(t), append(slices.Clip(env), killAt+"="+failpoint))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if err := r.up(ctx); err != nil {
				t.Fatal(err)
			}
			if atServer { // the server of mails sees that it dies, and takes the mail all the same if it has it
				var once sync.Once
				s.Fail(func(stage string, _ smtptest.Mail) error {
					if stage == kind {
						once.Do(r.kill)
					}
					return nil
				})
			}
			_, _, _ = act{method: "POST", path: "/admin/invites", body: `{"email":"` + who + `"}`, bearer: n.admin}.send(ctx, r.url)
			cancel()
			select {
			case <-r.ended:
			case <-time.After(10 * time.Second):
				t.Fatalf("it was not killed at %s\n%s", kind, r.stdout)
			}
			s.Fail(nil)
			next := open(t, env)
			next.admin = n.admin
			next.endLeases(t)
			next.delivered(t)
			got := sentTo(s, who)
			switch {
			case len(got) == 0:
				t.Errorf("killed at %s: no mail has left", kind)
			case len(got) > 2, len(got) == 2 && (kind == smtptest.Connect || kind == smtptest.Recipient):
				t.Errorf("killed at %s: %d mails have left", kind, len(got))
			case len(got) == 2:
				repeated++
				if a, b := apartFromPort(got[0].Data), apartFromPort(got[1].Data); a != b || !strings.Contains(string(got[0].Data), "Message-ID: <evt_") {
					t.Errorf("killed at %s: the second mail is another:\n%s\n%s", kind, got[0].Data, got[1].Data)
				}
			}
			next.check(t, "killed at "+kind)
			n = next
		}
		if repeated == 0 {
			t.Error("no mail was repeated: the test does not come to where that happens")
		}
		databasetest.Tell(fmt.Sprintf("a server that sends by SMTP was killed %d times on %s: no mail was lost, %d were sent twice, the same", rounds, at.Dialect, repeated))
	})
}

// apartFromPort is a mail without where the server listens, which in a test is somewhere else at each start.
func apartFromPort(mail []byte) string {
	return regexp.MustCompile(`127\.0\.0\.1:\d{5}`).ReplaceAllString(string(mail), "HOST")
}

// times are how long requests of one kind took.
type times []time.Duration

func (d times) at(part float64) time.Duration {
	sorted := slices.Sorted(slices.Values(d))
	return sorted[min(int(part*float64(len(sorted))), len(sorted)-1)]
}

// R7: what we depend on is down. Signing in by a password does without, mails wait and leave once when it is over.
func TestSigningInDoesNotWaitForWhatIsDownAndMailsLeaveOnceItIsUp(t *testing.T) {
	rounds := scale(t, "LATCHKEY_TEST_ROUNDS", 2) // through all states, so that a busy machine is busy in all of them
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		s := smtptest.Start(t, smtptest.Options{TLS: "starttls", Username: "latchkey", Password: "of the server"})
		var breaches atomic.Value // how the range API answers
		breaches.Store("well")
		ended := make(chan struct{})
		api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			switch breaches.Load() {
			case "500":
				http.Error(w, "broken", http.StatusInternalServerError)
			case "hangs":
				select {
				case <-ended:
				case <-r.Context().Done():
				}
			default:
				fmt.Fprint(w, strings.Repeat("0", 35)+":1\r\n")
			}
		}))
		t.Cleanup(api.Close)
		t.Cleanup(func() { close(ended) })
		env := environment(t.TempDir(), at, append(s.Env(), "LATCHKEY_MAIL_SMTP_TIMEOUT=500ms", "LATCHKEY_MAIL_SMTP_USERNAME=latchkey", "LATCHKEY_MAIL_SMTP_PASSWORD=of the server",
			"LATCHKEY_AUTH_PASSWORD_BREACH_CHECK=open", "LATCHKEY_AUTH_PASSWORD_BREACH_URL="+api.URL+"/range/")...)
		n := open(t, env)
		n.makeAdmin(t)
		n.register(t, "ada@example.com")
		signIn := act{method: "POST", path: "/auth/user/emailpass", body: credentials("ada@example.com")}

		took, invited := map[string]times{}, []string{}
		measure := func(state string) {
			for range 20 {
				begin := time.Now()
				n.must(t, signIn)
				took[state] = append(took[state], time.Since(begin))
			}
		}
		invite := func(state string) {
			for range 4 {
				who := fmt.Sprintf("%s%d@example.com", state, len(invited))
				n.must(t, act{method: "POST", path: "/admin/invites", body: `{"email":"` + who + `"}`, bearer: n.admin})
				invited = append(invited, who)
			}
		}
		registers := func(state string, atMost time.Duration) {
			begin := time.Now()
			n.must(t, act{method: "POST", path: "/auth/user/emailpass/register", body: credentials(state + "@example.org")})
			t.Logf("%s: registering took %v", state, time.Since(begin).Round(time.Millisecond))
			if d := time.Since(begin); d > atMost {
				t.Errorf("%s: registering took %v", state, d)
			}
		}
		for round := range rounds {
			measure("well")
			s.Stop()
			breaches.Store("500")
			invite("refused")
			measure("SMTP refuses, breach checker 500")
			registers(fmt.Sprint("broken", round), 20*time.Second)
			s.Again(t)
			gate := make(chan struct{})
			s.Fail(func(stage string, _ smtptest.Mail) error {
				if stage == smtptest.Recipient {
					<-gate
					return errors.New("too late")
				}
				return nil
			})
			breaches.Store("hangs")
			invite("hung")
			measure("SMTP hangs, breach checker hangs")
			if round == 0 {
				registers("hung", 30*time.Second)
			}
			measure("well, SMTP hangs still")
			close(gate)
			s.Fail(nil)
			breaches.Store("well")
		}
		n.endLeases(t) // rather than wait for the next try
		n.delivered(t)
		for _, who := range invited {
			if got := len(sentTo(s, who)); got != 1 {
				t.Errorf("%s was sent %d mails, want 1", who, got)
			}
		}
		well := took["well"]
		for state, d := range took {
			t.Logf("%s: %d sign-ins on %s, median %v, p95 %v (%+.0f %%)", state, len(d), at.Dialect, d.at(0.5).Round(10*time.Microsecond), d.at(0.95).Round(10*time.Microsecond),
				100*(float64(d.at(0.95))/float64(well.at(0.95))-1))
			if most := 4*well.at(0.5) + 200*time.Millisecond; d.at(0.5) > most {
				t.Errorf("%s: half of the sign-ins took more than %v, of %v when all is well", state, d.at(0.5), well.at(0.5))
			}
		}
	})
}

// The table of counts is locked by somebody else: nobody is let in meanwhile, right or wrong, and nobody is counted out; who is
// signed in already goes on; and when the lock is gone what has waited is answered.
func TestWhileTheCountsAreLockedNobodyIsLetInAndWhoIsInGoesOn(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		t.Parallel()
		env := environment(t.TempDir(), at, "LATCHKEY_MAIL_DRIVER=none", "LATCHKEY_DATABASE_URL="+at.URL, "LATCHKEY_SECRETS="+testSecret)
		n := open(t, env)
		n.makeAdmin(t)
		n.register(t, "ada@example.com")
		signIn := act{method: "POST", path: "/auth/user/emailpass", body: credentials("ada@example.com")}
		wrong := signIn
		wrong.body = strings.Replace(wrong.body, "correct horse", "wrong", 1)
		token := member(n.must(t, signIn), "token")

		locked, unlock, free := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		other := at.Open(t)
		go func() {
			free <- other.InTx(t.Context(), func(ctx context.Context) error {
				statement := "LOCK TABLE latchkey_auth_throttle IN ACCESS EXCLUSIVE MODE"
				if at.Dialect == database.SQLite { // which locks all for writing
					statement = "UPDATE latchkey_auth_throttle SET failed = failed"
				}
				if _, err := other.Conn(ctx).NewRaw(statement).Exec(ctx); err != nil {
					return err
				}
				close(locked)
				<-unlock
				return nil
			})
		}()
		select {
		case <-locked:
		case err := <-free:
			t.Fatal(err)
		}
		if at.Dialect == database.Postgres { // more than there are connections
			var crowd sync.WaitGroup
			defer crowd.Wait()
			for i := range 40 {
				crowd.Go(func() {
					a := signIn
					a.body = credentials(fmt.Sprintf("nobody%d@example.com", i))
					if status, body, err := a.send(t.Context(), n.url); err != nil || status != 401 && status != 503 {
						t.Errorf("somebody else: %d %s %v", status, body, err)
					}
				})
			}
		}
		type outcome struct {
			status int
			body   string
			err    error
		}
		answers := make(chan outcome, 2)
		var asked sync.WaitGroup
		for _, a := range []act{signIn, wrong} {
			asked.Go(func() {
				status, body, err := a.send(t.Context(), n.url)
				answers <- outcome{status, body, err}
			})
		}
		begin := time.Now()
		for time.Since(begin) < time.Second {
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			if status, body, err := (act{method: "GET", path: "/admin/users/me", bearer: token}).send(ctx, n.url); err != nil || status != 200 {
				t.Errorf("who is signed in: %d %s %v", status, body, err)
			}
			cancel()
		}
		if len(answers) != 0 {
			t.Errorf("somebody was answered without being counted: %+v", <-answers)
		}
		close(unlock)
		if err := <-free; err != nil {
			t.Fatal(err)
		}
		asked.Wait()
		got := []int{(<-answers).status, (<-answers).status}
		if slices.Sort(got); !slices.Equal(got, []int{200, 401}) {
			t.Errorf("the answers are %v, want 200 for the right password and 401 for the wrong one", got)
		}
	})
}

func TestATestMailSaysHowFarItCame(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{TLS: "starttls", Username: "latchkey", Password: "of the server"})
	env := append(environment(t.TempDir(), databasetest.SQLite(t), s.Env()...), "LATCHKEY_MAIL_SMTP_USERNAME=latchkey", "LATCHKEY_MAIL_FROM=Keys <keys@example.com>", "LATCHKEY_MAIL_NAME=Example Keys")
	secret := filepath.Join(t.TempDir(), "smtp")
	if err := os.WriteFile(secret, []byte("of the server\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	good := append(slices.Clip(env), "LATCHKEY_MAIL_SMTP_PASSWORD=file:"+secret)
	out, errs, code := run(t, good, "mail", "test", "--to", "Ada@Example.com")
	if code != 0 || !strings.Contains(out, "taken") || !strings.Contains(out, "ada@example.com") || errs != "" {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	sent := sentTo(s, "ada@example.com")
	if len(sent) != 1 || sent[0].User != "latchkey" || !strings.Contains(string(sent[0].Data), "Subject: Test mail of Example Keys") || strings.Count(string(sent[0].Data), "Whoever runs Example Keys") != 2 {
		t.Errorf("%+v", sent)
	}
	for name, c := range map[string]struct {
		env  []string
		args []string
		code int
		says string
	}{
		"a wrong password":     {append(slices.Clip(env), "LATCHKEY_MAIL_SMTP_PASSWORD=wrong"), []string{"--to", "ada@example.com"}, 1, "sign in: 535"},
		"nobody listens":       {append(slices.Clip(good), "LATCHKEY_MAIL_SMTP_PORT=1"), []string{"--to", "ada@example.com"}, 1, "connect"},
		"an unknown CA":        {append(slices.Clip(good), "LATCHKEY_MAIL_SMTP_CA_FILE="), []string{"--to", "ada@example.com"}, 1, "STARTTLS: "},
		"no driver":            {environment(t.TempDir(), databasetest.SQLite(t), "LATCHKEY_MAIL_DRIVER=none"), []string{"--to", "ada@example.com"}, 1, "LATCHKEY_MAIL_DRIVER is none"},
		"no address":           {good, nil, 2, "--to ADDRESS"},
		"what is no address":   {good, []string{"--to", "ada"}, 1, "name@example.com"},
		"no such command":      {good, []string{"list"}, 2, "no command"},
		"something else, also": {good, []string{"--to", "ada@example.com", "bob@example.com"}, 2, "--to ADDRESS"},
	} {
		args := append([]string{"mail", "test"}, c.args...)
		if name == "no such command" {
			args = []string{"mail", "list"}
		}
		out, errs, code := run(t, c.env, args...)
		if code != c.code || !strings.Contains(errs, c.says) || strings.Contains(out+errs, "of the server") {
			t.Errorf("%s: exit %d, want %d and %q\n%s%s", name, code, c.code, c.says, out, errs)
		}
	}
	if n := len(s.Mails()); n != 1 {
		t.Errorf("%d mails were sent, want 1", n)
	}
}

// From the command line to the mailbox: the driver is the server's own, and nothing of its secrets is printed.
func TestAMailLeavesBySMTPOnceAHostIsNamed(t *testing.T) {
	t.Parallel()
	s := smtptest.Start(t, smtptest.Options{TLS: "tls", Username: "latchkey", Password: "of the server"})
	env := append(environment(t.TempDir(), databasetest.SQLite(t), s.Env()[1:]...), "LATCHKEY_MAIL_SMTP_USERNAME=latchkey", "LATCHKEY_MAIL_SMTP_PASSWORD=of the server",
		"LATCHKEY_MAIL_FROM=Keys <keys@example.com>", "LATCHKEY_LOG_LEVEL=debug") // no mail.driver: auto
	out, errs, code := run(t, env, "user", "-e", "ada@example.com", "--invite")
	if code != 0 || len(s.Mails()) != 0 {
		t.Fatalf("exit %d, %d mails\n%s%s", code, len(s.Mails()), out, errs)
	}
	r := start(t, env)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := r.up(ctx); err != nil {
		t.Fatal(err)
	}
	for len(s.Mails()) == 0 {
		select {
		case <-time.After(5 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("no mail was sent\n%s", r.stderr)
		}
	}
	if err := r.stop(); err != nil {
		t.Error(err)
	}
	m, err := netmail.ReadMessage(bytes.NewReader(s.Mails()[0].Data))
	if err != nil {
		t.Fatal(err)
	}
	body, _ := io.ReadAll(quotedprintable.NewReader(m.Body))
	linkedToken(t, strings.ReplaceAll(string(body), "\r\n", "\n"), r.url, "/app/invite")
	shown, errs, code := run(t, env, "config")
	if code != 0 || !strings.Contains(shown, "mail.smtp.password") {
		t.Errorf("exit %d\n%s%s", code, shown, errs)
	}
	for _, text := range []string{"of the server", base64.StdEncoding.EncodeToString([]byte("\x00latchkey\x00of the server"))} {
		if strings.Contains(r.stdout.String()+r.stderr.String()+shown, text) {
			t.Errorf("%q is printed", text)
		}
	}
}
