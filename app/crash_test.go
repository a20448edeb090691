package app_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/app/doctor"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

// The server is killed before the first and after every statement that it makes for a request, and must have done all of it or
// nothing; then the same request is sent again. docs/reliability.md tells more.
//
// A new scenario is a row here.
var scenarios = []scenario{
	{
		name: "registering", atLeast: 5,
		prepare: func(_ *testing.T, _ *node, who string) act {
			return act{method: "POST", path: "/auth/user/emailpass/register", body: credentials(who)}
		},
		facts: []fact{
			{"identities", 0, 1, rows(identitiesOf)},
			{"sessions of this request", 0, 1, rows(sessionsOf + " AND s.user_agent = 'request'")},
		},
	},
	{
		name: "provisioning", atLeast: 10,
		prepare: func(t *testing.T, n *node, who string) act {
			n.register(t, who)
			return act{method: "POST", path: "/auth/user/emailpass", body: credentials(who),
				then: func(t *testing.T, n *node, answer string) { n.isUser(t, member(answer, "token"), who) }}
		},
		facts: []fact{
			{"living users", 0, 1, rows(livingUsers)},
			{"roles", 0, 1, rows(rolesOf)},
			{"links to the user", 0, 1, rows(linksOf)},
			{"sessions of the registration", 1, 0, rows(sessionsOf + " AND s.user_agent = 'preparation'")},
			{"sessions of this request", 0, 1, rows(sessionsOf + " AND s.user_agent = 'request'")},
		},
	},
	{
		name: "accepting", atLeast: 10,
		prepare: func(t *testing.T, n *node, who string) act {
			invite := n.must(t, act{method: "POST", path: "/admin/invites", body: `{"email":"` + who + `"}`, bearer: n.admin})
			registration := n.register(t, who)
			return act{method: "POST", path: "/admin/invites/accept?token=" + member(invite, "token"), body: `{"first_name":"Ada"}`,
				bearer: registration, then: func(t *testing.T, n *node, _ string) {
					refreshed := n.must(t, act{method: "POST", path: "/auth/token/refresh", bearer: registration})
					n.isUser(t, member(refreshed, "token"), who)
				}}
		},
		facts: []fact{
			{"living users", 0, 1, rows(livingUsers + " AND first_name = 'Ada'")},
			{"roles", 0, 1, rows(rolesOf)},
			{"links to the user", 0, 1, rows(linksOf)},
			{"invites accepted by the user", 0, 1, rows("SELECT count(*) FROM latchkey_invite WHERE email = ?0 AND accepted AND accepted_by IN (SELECT id FROM latchkey_user WHERE email = ?0)")},
			{"open invites", 1, 0, rows("SELECT count(*) FROM latchkey_invite WHERE email = ?0 AND NOT accepted")},
			{"sessions of the registration", 1, 1, rows(sessionsOf)},
		},
	},
	{
		name: "resetting", atLeast: 10,
		prepare: func(t *testing.T, n *node, who string) act {
			n.register(t, who)
			n.must(t, act{method: "POST", path: "/auth/user/emailpass", body: credentials(who)})
			asked, err := n.auth.RequestPasswordReset(t.Context(), auth.ResetRequest{Provider: emailpass.Name, EntityID: who, ActorType: link.ActorUser})
			if err != nil {
				t.Fatal(err)
			}
			made, err := n.auth.CreatePasswordResetToken(t.Context(), asked, auth.ByMail)
			if err != nil {
				t.Fatal(err)
			}
			const newPassword = "battery staple"
			return act{method: "POST", path: "/auth/user/emailpass/update", body: `{"password":"` + newPassword + `"}`, bearer: made.Token, onceDone: 401,
				then: func(t *testing.T, n *node, _ string) {
					n.must(t, act{method: "POST", path: "/auth/user/emailpass", body: strings.Replace(credentials(who), "correct horse", newPassword, 1)})
					if status, body, err := (act{method: "POST", path: "/auth/user/emailpass", body: credentials(who)}).send(t.Context(), n.url); status != 401 {
						t.Errorf("the old password: %d %s %v", status, body, err)
					}
				}}
		},
		facts: []fact{
			{"used tokens", 0, 1, rows("SELECT count(*) FROM latchkey_one_time_token t JOIN latchkey_provider_identity p ON p.id = t.provider_identity_id WHERE p.entity_id = ?0 AND t.spent_at IS NOT NULL")},
			{"sessions of before", 1, 0, rows(sessionsOf + " AND s.created_at < (SELECT max(t.issued_at) FROM latchkey_one_time_token t WHERE t.provider_identity_id = p.id)")},
			{"proved addresses", 0, 2, rows("SELECT (SELECT count(*) FROM latchkey_user WHERE email = ?0 AND email_verified_at IS NOT NULL) + (SELECT count(*) FROM latchkey_provider_identity WHERE entity_id = ?0 AND email_verified_at IS NOT NULL)")},
			{"changes of credentials that were announced", 0, 1, rows("SELECT count(*) FROM latchkey_outbox_event WHERE topic = 'auth.credentials_changed' AND aggregate_id IN (SELECT auth_identity_id FROM latchkey_provider_identity WHERE entity_id = ?0)")},
		},
	},
	{
		name: "asking for another address", atLeast: 8,
		prepare: func(t *testing.T, n *node, who string) act {
			return n.changesAddress(t, who)
		},
		facts: []fact{
			{"changes of address that can be confirmed", 0, 1, rows("SELECT count(*) FROM latchkey_email_change WHERE old_email = ?0 AND new_email = 'new.' || ?0")},
			{"addresses that have moved", 0, 0, rows("SELECT count(*) FROM latchkey_user WHERE email = 'new.' || ?0")},
		},
	},
	{
		name: "confirming another address", atLeast: 15,
		prepare: func(t *testing.T, n *node, who string) act {
			asking := n.changesAddress(t, who)
			n.must(t, asking)
			mails(t, n, who)
			token := n.linked(t, newAddress(who), "/app/email/confirm")
			return act{method: "POST", path: "/admin/users/me/email/confirm", body: `{"token":"` + token + `"}`, bearer: asking.bearer, onceDone: 401,
				then: func(t *testing.T, n *node, _ string) {
					again := n.must(t, act{method: "POST", path: "/auth/user/emailpass", body: credentials(newAddress(who))})
					n.isUser(t, member(again, "token"), newAddress(who))
					if status, body, err := (act{method: "POST", path: "/auth/user/emailpass", body: credentials(who)}).send(t.Context(), n.url); status != 401 {
						t.Errorf("the old address: %d %s %v", status, body, err)
					}
				}}
		},
		facts: []fact{
			{"users with the old address", 1, 0, rows(livingUsers)},
			{"users who have proved the new one", 0, 1, rows("SELECT count(*) FROM latchkey_user WHERE email = 'new.' || ?0 AND email_verified_at IS NOT NULL AND deleted_at IS NULL")},
			{"identities that sign in by the old address", 1, 0, rows(identitiesOf)},
			{"identities that sign in by the new one", 0, 1, rows(strings.ReplaceAll(identitiesOf, "?0", "'new.' || ?0"))},
			{"changes that can be confirmed", 1, 0, rows("SELECT count(*) FROM latchkey_email_change WHERE new_email = 'new.' || ?0")},
			{"mails to the new address", 1, 1, func(t *testing.T, n *node, who string) int { return mails(t, n, newAddress(who)) }},
			{"notices to the old one, which nobody has proved", 0, 0, mails},
		},
	},
	{
		name: "adding a way to sign in", atLeast: 10,
		prepare: func(t *testing.T, n *node, who string) act {
			token, id := n.movesTo(t, who)
			return act{method: "POST", path: "/auth/user/emailpass/link", bearer: token, body: strings.Replace(credentials(who), "}", `,"current_password":"correct horse"}`, 1),
				then: func(t *testing.T, n *node, _ string) {
					again := n.must(t, act{method: "POST", path: "/auth/user/emailpass", body: credentials(who)})
					if got := n.isUser(t, member(again, "token"), who); got != id {
						t.Errorf("the new way signs in %s, want %s", got, id)
					}
				}}
		},
		facts: []fact{
			{"ways by the address", 0, 1, rows("SELECT count(*) FROM latchkey_provider_identity WHERE entity_id = ?0 AND email_verified_at IS NOT NULL")},
			{"ways that the user has", 1, 2, rows(waysOf)},
			{"sessions of before", 1, 1, rows("SELECT count(DISTINCT user_agent) FROM latchkey_auth_session WHERE user_agent = 'preparation' AND auth_identity_id IN (SELECT auth_identity_id FROM latchkey_link WHERE actor_id IN (SELECT id FROM latchkey_user WHERE email = ?0))")},
			{"ways that were announced", 0, 1, rows("SELECT count(*) FROM latchkey_outbox_event WHERE topic = 'link.provider_linked' AND aggregate_id IN (SELECT auth_identity_id FROM latchkey_provider_identity WHERE entity_id = ?0)")},
		},
	},
	{
		name: "giving up a way to sign in", atLeast: 10,
		prepare: func(t *testing.T, n *node, who string) act {
			token, _ := n.movesTo(t, who)
			added := n.must(t, act{method: "POST", path: "/auth/user/emailpass/link", bearer: token, body: strings.Replace(credentials(who), "}", `,"current_password":"correct horse"}`, 1)})
			n.must(t, act{method: "POST", path: "/auth/user/emailpass", body: credentials(who)})
			return act{method: "DELETE", path: "/auth/provider-identities/" + member(added, "id"), bearer: token, body: `{"current_password":"correct horse"}`, onceDone: 401,
				then: func(t *testing.T, n *node, _ string) {
					if status, body, err := (act{method: "POST", path: "/auth/user/emailpass", body: credentials(who)}).send(t.Context(), n.url); status != 401 {
						t.Errorf("the way that was given up: %d %s %v", status, body, err)
					}
				}}
		},
		facts: []fact{
			{"ways by the address", 1, 0, rows("SELECT count(*) FROM latchkey_provider_identity WHERE entity_id = ?0")},
			{"ways that the user has", 2, 1, rows(waysOf)},
			{"sessions of before", 2, 1, rows("SELECT count(*) FROM latchkey_auth_session WHERE auth_identity_id IN (SELECT auth_identity_id FROM latchkey_link WHERE actor_id IN (SELECT id FROM latchkey_user WHERE email = ?0))")},
		},
	},
	{
		name: "inviting", atLeast: 8,
		prepare: func(_ *testing.T, n *node, who string) act {
			return act{method: "POST", path: "/admin/invites", body: `{"email":"` + who + `"}`, bearer: n.admin, onceDone: 400}
		},
		facts: []fact{
			{"open invites", 0, 1, rows("SELECT count(*) FROM latchkey_invite WHERE email = ?0 AND NOT accepted")},
			{"mails", 0, 1, mails},
		},
	},
	{
		name: "deleting", atLeast: 10,
		prepare: func(t *testing.T, n *node, who string) act {
			n.register(t, who)
			token := member(n.must(t, act{method: "POST", path: "/auth/user/emailpass", body: credentials(who)}), "token")
			return act{method: "DELETE", path: "/admin/users/" + n.isUser(t, token, who), bearer: n.admin,
				then: func(t *testing.T, n *node, _ string) {
					if status, body, err := (act{method: "GET", path: "/admin/users/me", bearer: token}).send(t.Context(), n.url); status != 401 {
						t.Errorf("the token of a deleted user: %d %s %v", status, body, err)
					}
				}}
		},
		facts: []fact{
			{"living users", 1, 0, rows(livingUsers)},
			{"deleted users", 0, 1, rows("SELECT count(*) FROM latchkey_user WHERE email = ?0 AND deleted_at IS NOT NULL")},
			{"links to the user", 1, 0, rows(linksOf)},
			{"identities", 1, 0, rows(identitiesOf)},
			{"sessions", 1, 0, rows(sessionsOf)},
		},
	},
}

// A scenario is one request that changes something for one person, which is theirs alone by their address.
type scenario struct {
	name    string
	atLeast int // statements; fewer mean that the hook misses some
	prepare func(t *testing.T, n *node, who string) act
	facts   []fact
}

// A fact is a number about a person before and after the request under test; sending that again changes nothing.
type fact struct {
	name          string
	before, after int
	count         func(t *testing.T, n *node, who string) int
}

// rows counts by a query, in which ?0 is the person's address.
func rows(query string) func(*testing.T, *node, string) int {
	return func(t *testing.T, n *node, who string) (count int) {
		t.Helper()
		if err := n.db.Conn(t.Context()).NewRaw(query, who).Scan(t.Context(), &count); err != nil {
			t.Fatal(err)
		}
		return count
	}
}

const (
	livingUsers  = "SELECT count(*) FROM latchkey_user WHERE email = ?0 AND deleted_at IS NULL"
	rolesOf      = "SELECT count(*) FROM latchkey_user_role WHERE user_id IN (SELECT id FROM latchkey_user WHERE email = ?0)"
	identitiesOf = "SELECT count(*) FROM latchkey_auth_identity WHERE id IN (SELECT auth_identity_id FROM latchkey_provider_identity WHERE entity_id = ?0)"
	waysOf       = "SELECT count(*) FROM latchkey_provider_identity WHERE auth_identity_id IN (SELECT auth_identity_id FROM latchkey_link WHERE actor_id IN (SELECT id FROM latchkey_user WHERE email = ?0))"
	linksOf      = "SELECT count(*) FROM latchkey_link WHERE actor_id IN (SELECT id FROM latchkey_user WHERE email = ?0)"
	// Sessions are told apart by who opened them; two of one kind count once.
	sessionsOf = "SELECT count(DISTINCT s.user_agent) FROM latchkey_auth_session s JOIN latchkey_provider_identity p ON p.auth_identity_id = s.auth_identity_id WHERE p.entity_id = ?0"
)

// besides are queries that find nothing either, here: what the requests of these tests never do, but an application, or an
// administrator, may.
var besides = []struct{ name, query string }{
	{"users without a role",
		"SELECT id FROM latchkey_user WHERE deleted_at IS NULL AND id NOT IN (SELECT user_id FROM latchkey_user_role)"},
	{"identities without a way to sign in",
		"SELECT id FROM latchkey_auth_identity WHERE id NOT IN (SELECT auth_identity_id FROM latchkey_provider_identity)"},
	{"users by invite who have accepted none",
		"SELECT u.id FROM latchkey_user u WHERE u.created_via = 'invite' AND 0 = (SELECT count(*) FROM latchkey_invite i WHERE i.accepted_by = u.id)"},
	{"things that were announced twice",
		"SELECT aggregate_id FROM latchkey_outbox_event WHERE topic IN ('user.deleted', 'link.linked') " +
			"GROUP BY topic, aggregate_id, CASE WHEN topic = 'link.linked' THEN CAST(payload AS text) END HAVING count(*) > 1"}, // who is reclaimed is linked to another identity
}

// run kills the server at every point of the scenario, each time for another person, and returns how many there are.
func (s scenario) run(t *testing.T, at databasetest.Database) int {
	env := mailing(t, at)
	n := open(t, env)
	n.makeAdmin(t)

	n, statements := s.kill(t, env, n, onceAnswered, nil)
	if len(statements) < s.atLeast || !slices.Contains(statements, "BEGIN") || !slices.Contains(statements, "COMMIT") {
		t.Fatalf("the statements are %q, want at least %d, with BEGIN and COMMIT", statements, s.atLeast)
	}
	n, _ = s.kill(t, env, n, "before 1", statements)
	for i := range statements { // nothing leaves the process between two statements: after one is before the next
		n, _ = s.kill(t, env, n, fmt.Sprintf("after %d", i+1), statements)
	}
	return len(statements) + 2
}

// kill sets the scene for a new person at n, the one server there is, and stops it; has a server in a process of its own
// killed while it serves the request; looks at what that one has left behind, and sends the request again to the next
// server, which it returns. The statements are those that the killed one has begun: the known ones, as far as it came.
func (s scenario) kill(t *testing.T, env []string, n *node, at string, known []string) (next *node, begun []string) {
	who := strings.ReplaceAll(at, " ", ".") + "@example.com"
	request := s.prepare(t, n, who)
	request.agent = "request"
	s.check(t, n, who, at+", not begun", false)
	n.stop()

	r := startBinary(t, itself(t), append(env, killAt+"="+at))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := r.up(ctx); err != nil {
		t.Fatal(err)
	}
	status, body, err := request.send(ctx, r.url)
	switch {
	case at != onceAnswered && err == nil:
		t.Fatalf("%s: it was not killed, and answered %d %s\n%s", at, status, body, r.stdout)
	case at == onceAnswered && (err != nil || status != 200):
		t.Fatalf("%s: the answer was %d %s %v", at, status, body, err)
	case at == onceAnswered:
		r.kill()
	}
	begun, done := r.died(t, at)
	if at == onceAnswered {
		known = begun
	} else if at != fmt.Sprintf("before %d", len(begun)) && at != fmt.Sprintf("after %d", done) {
		t.Fatalf("%s: it was killed after beginning %d statements and ending %d", at, len(begun), done)
	}
	if len(begun) > len(known) || !slices.Equal(begun, known[:len(begun)]) {
		t.Fatalf("%s: the statements were\n%q, want\n%q", at, begun, known)
	}

	when := fmt.Sprintf("killed %s (%s)", at, begun[len(begun)-1])
	next = open(t, env)
	next.admin = n.admin
	next.endLeases(t)
	all, want := !slices.Contains(known[done:], "COMMIT"), 200
	if all && request.onceDone != 0 {
		want = request.onceDone
	}
	s.check(t, next, who, when, all)
	next.check(t, when)
	if status, body, err = request.send(ctx, next.url); err != nil || status != want {
		t.Errorf("%s: the same request again: %d %s %v, want %d", when, status, body, err, want)
	} else if request.then != nil {
		request.then(t, next, body)
	}
	s.check(t, next, who, when+", sent again", true)
	next.check(t, when+", sent again")
	return next, begun
}

// died waits until the process is gone, which has killed itself or was killed, and returns the statements that it had
// begun, and how many of them had ended.
func (r *running) died(t *testing.T, at string) (begun []string, done int) {
	t.Helper()
	select {
	case <-r.ended:
	case <-time.After(10 * time.Second):
		t.Fatalf("%s: the process has not ended\n%s", at, r.stdout)
	}
	if runtime.GOOS != "windows" && r.ProcessState.String() != "signal: killed" {
		t.Fatalf("%s: the process ended by itself: %v\n%s%s", at, r.ProcessState, r.stdout, r.stderr)
	}
	for line := range strings.Lines(r.stdout.String()) {
		told, ok := strings.CutPrefix(strings.TrimSpace(line), "statement ")
		if !ok {
			continue
		}
		switch moment, query, _ := strings.Cut(told, ": "); {
		case strings.HasPrefix(moment, "before"):
			begun = append(begun, query)
		case strings.HasPrefix(moment, "after"):
			done++
		}
	}
	if len(begun) == 0 {
		t.Fatalf("%s: it made no statement\n%s", at, r.stdout)
	}
	return begun, done
}

// check compares the facts about a person with those before the request, or after it.
func (s scenario) check(t *testing.T, n *node, who, when string, done bool) {
	t.Helper()
	for _, f := range s.facts {
		want := f.before
		if done {
			want = f.after
		}
		if got := f.count(t, n, who); got != want {
			t.Errorf("%s: %d %s, want %d", when, got, f.name, want)
		}
	}
}

// act is a request. Who sends it is its agent, by which the sessions that it opens are known.
type act struct {
	method, path, body, bearer, agent string
	from                              string // the address that a proxy says it comes from; empty: there is no proxy

	onceDone int                                        // the status of the same request when it was done before; 0: 200, as the first time
	then     func(t *testing.T, n *node, answer string) // looks at what it has led to; nil: no need
}

// client opens a connection for each request: one that broke must not lead to another try.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

func (a act) send(ctx context.Context, base string) (status int, body string, err error) {
	req, err := http.NewRequestWithContext(ctx, a.method, base+a.path, strings.NewReader(a.body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("User-Agent", a.agent)
	if a.body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if a.bearer != "" {
		req.Header.Set("Authorization", "Bearer "+a.bearer)
	}
	if a.from != "" {
		req.Header.Set("X-Forwarded-For", a.from)
	}
	rsp, err := client.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer rsp.Body.Close()
	data, err := io.ReadAll(rsp.Body)
	return rsp.StatusCode, string(data), err
}

func credentials(address string) string {
	return `{"email":"` + address + `","password":"correct horse"}`
}

// node is a whole server in the process of the test, before the crash or after it.
type node struct {
	url   string
	db    *database.DB
	auth  *auth.Service
	users *user.Service
	link  *link.Service
	admin string // a token of an admin
	mail  string // the file that mails are appended to
	stop  func()

	config *app.Config
}

func open(t *testing.T, env []string) *node {
	t.Helper()
	cfg, err := app.LoadConfig(app.LoadArgs{Environ: env, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	var n node
	var site *web.Site
	a := app.New(cfg, fx.Populate(&n.db, &n.users, &n.auth, &n.link, &site), fx.Decorate(func() *slog.Logger {
		return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	}))
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.url, n.mail, n.config = site.URL(""), cfg.Mail.Path, cfg
	n.stop = sync.OnceFunc(func() {
		if err := a.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(n.stop)
	return &n
}

// mailing is an environment in which mails go to a file.
func mailing(t *testing.T, at databasetest.Database) []string {
	t.Helper()
	dir := t.TempDir()
	return environment(dir, at, "LATCHKEY_MAIL_DRIVER=file", "LATCHKEY_MAIL_PATH="+filepath.Join(dir, "mail.jsonl"))
}

// endLeases has what a dead process was delivering be delivered at once: otherwise that waits until its lease is over.
func (n *node) endLeases(t *testing.T) {
	t.Helper()
	err := n.db.InTx(t.Context(), func(ctx context.Context) error {
		_, err := n.db.Conn(ctx).NewRaw("UPDATE latchkey_outbox_delivery SET next_at = ?", database.Now()).Exec(ctx)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// mails counts the mails to somebody once there is nothing left to deliver.
func mails(t *testing.T, n *node, who string) int {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); rows("SELECT count(*) FROM latchkey_outbox_delivery")(t, n, who) > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the events are not delivered")
		}
	}
	return lines(t, n, who)
}

// lines counts the mails to somebody that are in the file now.
func lines(t *testing.T, n *node, who string) int {
	t.Helper()
	data, err := os.ReadFile(n.mail)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(string(data), `"to":"`+who+`"`)
}

// must sends a request that succeeds, and returns the answer.
func (n *node) must(t *testing.T, a act) string {
	t.Helper()
	a.agent = "preparation"
	status, body, err := a.send(t.Context(), n.url)
	if err != nil || status != 200 {
		t.Fatalf("%s %s: %d %s %v", a.method, a.path, status, body, err)
	}
	return body
}

// makeAdmin makes a user as the command line does, and signs them in.
func (n *node) makeAdmin(t *testing.T) {
	t.Helper()
	const address = "admin@example.com"
	_, err := n.link.CreateUser(t.Context(), emailpass.Name, auth.Input(credentials(address)),
		user.Draft{Email: address, Roles: []string{user.RoleAdmin}, Via: user.ViaCLI})
	if err != nil {
		t.Fatal(err)
	}
	n.admin = member(n.must(t, act{method: "POST", path: "/auth/user/emailpass", body: credentials(address)}), "token")
}

// register returns the token of a registration.
func (n *node) register(t *testing.T, who string) string {
	t.Helper()
	return member(n.must(t, act{method: "POST", path: "/auth/user/emailpass/register", body: credentials(who)}), "token")
}

// changesAddress is the request for another address of a user who has just come.
func (n *node) changesAddress(t *testing.T, who string) act {
	t.Helper()
	n.register(t, who)
	token := member(n.must(t, act{method: "POST", path: "/auth/user/emailpass", body: credentials(who)}), "token")
	return act{method: "POST", path: "/admin/users/me/email", bearer: token, body: `{"email":"` + newAddress(who) + `","current_password":"correct horse"}`}
}

// movesTo is a token of a user who signs in by another address than theirs, which is proved, and who they are.
func (n *node) movesTo(t *testing.T, who string) (token, id string) {
	t.Helper()
	n.register(t, newAddress(who))
	token = member(n.must(t, act{method: "POST", path: "/auth/user/emailpass", body: credentials(newAddress(who))}), "token")
	id = n.isUser(t, token, newAddress(who))
	if _, err := n.users.ChangeEmail(t.Context(), user.ID(id), newAddress(who), who); err != nil {
		t.Fatal(err)
	}
	return token, id
}

// newAddress is the one that somebody wants instead of theirs.
func newAddress(who string) string { return "new." + who }

// linked returns the token of the link to the path in the one mail to somebody that is in the file.
func (n *node) linked(t *testing.T, who, path string) string {
	t.Helper()
	data, err := os.ReadFile(n.mail)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mailsIn(t, n.mail, strings.Count(string(data), "\n")) {
		if m.To == who {
			return linkedToken(t, m.Text, n.url, path)
		}
	}
	t.Fatalf("there is no mail to %s", who)
	return ""
}

// isUser makes sure that a token speaks for the user with the address, and returns the user's id.
func (n *node) isUser(t *testing.T, token, who string) (id string) {
	t.Helper()
	me := n.must(t, act{method: "GET", path: "/admin/users/me", bearer: token})
	if got := member(me, "email"); got != who {
		t.Errorf("the token speaks for %q, want %s", got, who)
	}
	return member(me, "id")
}

// check looks for what must never be, as the command doctor does.
func (n *node) check(t *testing.T, when string) {
	t.Helper()
	for _, f := range n.examine(t).Violated() {
		t.Errorf("%s: %s (%s) is violated %d times: %q", when, f.Name, f.Means, f.Violations, f.Examples)
	}
	for _, b := range besides {
		var found []string
		if err := n.db.Conn(t.Context()).NewRaw(b.query).Scan(t.Context(), &found); err != nil {
			t.Fatal(err)
		}
		if len(found) > 0 {
			t.Errorf("%s: there are %s: %q", when, b.name, found)
		}
	}
}

// examine asks every invariant there is, and of SQLite, where it is known which, for a full look at the file.
func (n *node) examine(t *testing.T) doctor.Report {
	t.Helper()
	db, file := n.db, doctor.NotTheFile
	if n.config != nil {
		var err error
		if db, err = app.OpenReadOnly(t.Context(), n.config, nil); err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		file = doctor.Full
	}
	report, err := doctor.Examine(t.Context(), db, doctor.Options{Migrations: app.Migrations(), File: file})
	if err != nil {
		t.Fatal(err)
	}
	if unasked := report.Unasked(); len(unasked) > 0 {
		t.Fatalf("the doctor could not ask %+v", unasked)
	}
	return report
}

// killSending kills the server at every statement that it makes by itself once the request is committed, each time for
// another person, until it has nothing more to do. It returns at how many, and in how many of these the mail had left.
func killSending(t *testing.T, at databasetest.Database, prepare func(*testing.T, *node, string) act) (points, sent int) {
	env := mailing(t, at)
	n := open(t, env)
	n.makeAdmin(t)
	for _, side := range []string{"before", "after"} {
		for i, killed := 1, true; killed; i++ {
			moment := fmt.Sprintf("delivering %s %d", side, i)
			who := strings.ReplaceAll(moment, " ", ".") + "@example.com"
			request := prepare(t, n, who)
			n.stop()
			r := startBinary(t, itself(t), append(env, killAt+"="+moment))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			if err := r.up(ctx); err != nil {
				t.Fatal(err)
			}
			_, _, _ = request.send(ctx, r.url) // the answer may come before the end, or not
			cancel()
			select {
			case <-r.ended:
				points++
			case <-time.After(700 * time.Millisecond): // it has delivered and sleeps
				killed = false
				r.kill()
			}
			before := lines(t, n, who)
			next := open(t, env)
			next.admin = n.admin
			next.endLeases(t)
			if got := mails(t, next, who); got != 1 {
				t.Errorf("killed %s, when %d mails had left: after the next start %d mails, want 1", moment, before, got)
			}
			if killed {
				sent += before
			}
			n = next
		}
	}
	return points, sent
}

// killAt makes this test program a server that ends at a statement: "before 3", "after 12", counting those of the first
// request, "delivering before 2", counting what the server does by itself once that is committed, or a failpoint.
const killAt = "LATCHKEY_TEST_KILL_AT"

// onceAnswered is when the test kills the server itself: what has been answered must be so.
const onceAnswered = "once answered"

// mortal is the server, as cmd/server has it, that kills itself.
func mortal(at string) (code int) {
	var hook bun.QueryHook = &killer{at: at}
	if f := parseFailpoint(at); f != nil {
		hook = f
	}
	return app.Main(nil, fx.Decorate(func(db *database.DB) (*database.DB, error) {
		return hooked(context.Background(), db, hook)
	}))
}

// hooked is db with a hook that sees every statement, BEGIN and COMMIT included.
func hooked(ctx context.Context, db *database.DB, hook bun.QueryHook) (*database.DB, error) {
	read := db.Conn(ctx).NewSelect().DB()
	write := read
	err := db.InTx(ctx, func(ctx context.Context) error {
		write = db.Conn(ctx).NewSelect().DB()
		return nil
	})
	return database.New(write.WithQueryHook(hook), read.WithQueryHook(hook), slog.Default()), err
}

// killer tells, on standard output, each statement that is made for an HTTP request, and at one of them kills its process.
type killer struct {
	at        string
	n         atomic.Int64 // statements made for a request
	committed atomic.Bool  // that the request has
	own       atomic.Int64 // statements that the server has made by itself since then
}

type statement struct{}

// BeforeQuery implements bun.QueryHook.
func (k *killer) BeforeQuery(ctx context.Context, e *bun.QueryEvent) context.Context {
	if ctx.Value(http.ServerContextKey) == nil {
		if !k.committed.Load() {
			return ctx
		}
		moment := fmt.Sprint(k.own.Add(1))
		k.pass("delivering before "+moment, e.Query)
		return context.WithValue(ctx, statement{}, "delivering after "+moment)
	}
	n := k.n.Add(1)
	k.pass(fmt.Sprintf("before %d", n), e.Query)
	return context.WithValue(ctx, statement{}, fmt.Sprintf("after %d", n))
}

// AfterQuery implements bun.QueryHook.
func (k *killer) AfterQuery(ctx context.Context, e *bun.QueryEvent) {
	moment, ok := ctx.Value(statement{}).(string)
	if !ok {
		return
	}
	k.pass(moment, e.Query)
	if strings.HasPrefix(moment, "after") && e.Query == "COMMIT" {
		k.committed.Store(true)
	}
}

func (k *killer) pass(moment, query string) {
	words := strings.Fields(query)
	fmt.Printf("statement %s: %s\n", moment, strings.Join(words[:min(3, len(words))], " "))
	if moment == k.at {
		die()
	}
}

// die kills this process, as a power cut does.
func die() {
	self, err := os.FindProcess(os.Getpid())
	if err == nil {
		err = self.Kill()
	}
	if err != nil {
		panic(err)
	}
	select {} // nothing more happens here
}
