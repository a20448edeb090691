package app_test

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// People come, become users and go, on a database that fails at one of a hundred statements and
// one of 25 commits. What was answered with success
// must be so, above all that something has ended; what was not must be possible afterwards, once; and nobody learns from an
// answer what the server is made of.
func TestNothingIsAnsweredWithSuccessThatTheDatabaseHasNotKept(t *testing.T) {
	operations := scale(t, "LATCHKEY_TEST_OPERATIONS", 1000)
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		seed := firstSeed(t)
		w := newUnreliable(t, at, seed)
		start := time.Now()
		var wg sync.WaitGroup
		for n := range 4 {
			wg.Go(func() {
				for nth := 0; int(w.asked.Load()) < operations && !t.Failed(); nth++ {
					(&life{unreliable: w}).live(t, fmt.Sprintf("person.%d.%d@example.com", n, nth))
				}
			})
		}
		wg.Wait()
		(&node{db: w.db}).check(t, "in the end")
		f := w.faults
		t.Logf("%d operations with %d statements in %v: %d statements failed, %d commits were undone, %d were done and not told, %d callers hung up; %d operations failed and were repeated",
			w.asked.Load(), f.statements.Load(), time.Since(start).Round(time.Millisecond), f.failed.Load(), f.undone.Load(), f.unknown.Load(), f.hungUp.Load(), w.repeated.Load())
		if operations >= 500 && (f.failed.Load() == 0 || f.undone.Load() == 0 || f.unknown.Load() == 0 || f.hungUp.Load() == 0 || w.repeated.Load() == 0) {
			t.Error("something never failed: nothing is shown")
		}
	})
}

// unreliable is a server whose database fails.
type unreliable struct {
	url             string
	db              *database.DB // which does not fail
	faults          *faults
	admin           string
	asked, repeated atomic.Int64
}

// spared are requests that nothing befalls.
const spared = "spared"

func newUnreliable(t *testing.T, at databasetest.Database, seed uint64) *unreliable {
	t.Helper()
	env := vouching(t, at, "LATCHKEY_AUTH_THROTTLE_ENABLED=false", "LATCHKEY_ADMIN_RESET_TOKEN_IN_RESPONSE=true", "LATCHKEY_AUTH_PASSWORD_MAX_WAIT=30s")
	makeVouchingAdmin(t, env)
	cfg, err := app.LoadConfig(app.LoadArgs{Environ: env, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	w := &unreliable{faults: &faults{statementsIn: 100, commitsIn: 25, dice: rand.New(rand.NewPCG(seed, 5))}, db: at.Open(t)}
	var api *httpapi.API
	a := app.New(cfg, fx.Populate(&api), fx.Provide(auth.AsProvider(func() voucher { return voucher{} })),
		fx.Decorate(func() *slog.Logger { return slog.New(slog.DiscardHandler) }),
		fx.Decorate(func(lc fx.Lifecycle, db *database.DB) *database.DB {
			outer := failing(t, db)
			lc.Append(fx.StopHook(outer.Close))
			return outer
		}))
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.UserAgent() != spared {
			ctx, hangUp := context.WithCancel(r.Context())
			defer hangUp()
			r = r.WithContext(w.faults.upon(ctx, hangUp))
		}
		api.ServeHTTP(rw, r)
	}))
	t.Cleanup(server.Close)
	w.url = server.URL
	status, answer, err := (act{method: "POST", path: "/auth/user/emailpass", body: credentials("admin@example.com"), agent: spared}).send(t.Context(), w.url)
	if w.admin = member(answer, "token"); err != nil || status != 200 {
		t.Fatalf("sign in as the admin: %d %s %v", status, answer, err)
	}
	return w
}

// life is somebody's.
type life struct {
	*unreliable
	again bool // the last request failed, and was sent again
}

// deed is something that is asked for, however often it takes.
type deed struct {
	act
	done  func(answer string) // looks for what must be so after success
	or    int                 // what else may be answered after a first try that failed: it was done
	after func()              // looks for what must be so then; nil: there is no such answer
}

// does asks for it, and once more, spared, if that was not answered with success. It returns the answer; empty if the first
// was lost and the second said that it was done.
func (w *life) does(t *testing.T, d deed) string {
	t.Helper()
	w.asked.Add(1)
	w.again = false
	d.agent = "faulty"
	status, answer, err := d.send(t.Context(), w.url)
	if err != nil {
		t.Errorf("%s %s: %v", d.method, d.path, err)
		return ""
	}
	for _, word := range []string{"injected", "10.1.2.3", "latchkey", "context", "sql", "goroutine"} {
		if status >= 400 && strings.Contains(answer, word) {
			t.Errorf("%s %s tells a caller too much: %d %s", d.method, d.path, status, answer)
		}
	}
	if status == 200 || status == 201 {
		d.done(answer)
		return answer
	}
	if status != 500 {
		t.Errorf("%s %s: %d %s, want success or 500", d.method, d.path, status, answer)
	}
	w.repeated.Add(1)
	w.again = true
	d.agent = spared
	switch again, answer, err := d.send(t.Context(), w.url); {
	case err == nil && (again == 200 || again == 201):
		d.done(answer)
		return answer
	case err == nil && again == d.or && d.after != nil:
		d.after()
	default:
		t.Errorf("%s %s after %d: %d %s %v", d.method, d.path, status, again, answer, err)
	}
	return ""
}

// spare asks for something that nothing befalls.
func (w *unreliable) spare(t *testing.T, a act) (status int, answer string) {
	t.Helper()
	a.agent = spared
	status, answer, err := a.send(t.Context(), w.url)
	if err != nil {
		t.Errorf("%s %s: %v", a.method, a.path, err)
	}
	return status, answer
}

// live is somebody's life.
func (w *life) live(t *testing.T, who string) {
	n := &node{db: w.db}
	count := func(what string, want int, query string) {
		t.Helper()
		if got := rows(query)(t, n, who); got != want {
			t.Errorf("%s: %d %s, want %d", who, got, what, want)
		}
	}
	session := func(answer string) {
		t.Helper()
		id := claimsOf(member(answer, "token")).Session
		if got := rows("SELECT count(*) FROM latchkey_auth_session WHERE id = ?0")(t, n, id); got != 1 {
			t.Errorf("%s was given a token of a session that there is not", who)
		}
	}
	dead := func(what string, tokens ...string) {
		t.Helper()
		for _, token := range tokens {
			for since := time.Now(); ; time.Sleep(20 * time.Millisecond) {
				status, answer := w.spare(t, act{method: "POST", path: "/auth/token/refresh", bearer: token})
				if status == 401 {
					break
				}
				// Whoever was not told that it was committed remembers the session for a second, as other nodes do.
				if !w.again || time.Since(since) > 1500*time.Millisecond {
					t.Errorf("%s: %s, and a token of before refreshes: %d %s", who, what, status, answer)
					break
				}
			}
		}
	}
	signIn := func(password string) string {
		t.Helper()
		return member(w.does(t, deed{act: act{method: "POST", path: "/auth/user/emailpass", body: credentialsBy(who, password)}, done: func(answer string) {
			session(answer)
			if actor := claimsOf(member(answer, "token")).Actor; rows("SELECT count(*) FROM latchkey_link WHERE actor_id = ?0")(t, n, actor) != 1 {
				t.Errorf("%s was given a token of %q, to whom no link leads", who, actor)
			}
			count("users", 1, livingUsers)
		}}), "token")
	}
	refuses := func(what, password string) {
		t.Helper()
		if status, answer := w.spare(t, act{method: "POST", path: "/auth/user/emailpass", body: credentialsBy(who, password)}); status != 401 {
			t.Errorf("%s: %s, and the password of before lets in: %d %s", who, what, status, answer)
		}
	}
	nothing := func() {}

	// Invited, renewed, registered, accepted.
	var invite string
	listed := func() string {
		_, answer := w.spare(t, act{method: "GET", path: "/admin/invites?email=" + who, bearer: w.admin})
		return member(answer, "token")
	}
	made := w.does(t, deed{act: act{method: "POST", path: "/admin/invites", body: `{"email":"` + who + `"}`, bearer: w.admin}, or: 400,
		after: nothing, done: func(answer string) {
			if listed() != member(answer, "token") {
				t.Errorf("%s: the invite is not there", who)
			}
		}})
	if invite = member(made, "token"); invite == "" {
		invite = listed()
	}
	first := member(w.does(t, deed{act: act{method: "POST", path: "/auth/user/emailpass/register", body: credentials(who)}, done: func(answer string) {
		session(answer)
		count("identities", 1, identitiesOf)
	}}), "token")
	old := invite
	w.does(t, deed{act: act{method: "POST", path: "/admin/invites/" + claimsOf(invite).ID + "/resend", bearer: w.admin}, done: func(string) {
		if status, _ := w.spare(t, act{method: "POST", path: "/admin/invites/accept?token=" + old, body: `{}`, bearer: first}); status != 400 {
			t.Errorf("%s: the invite was renewed, and the token of before is good", who)
		}
	}})
	invite = listed()
	w.does(t, deed{act: act{method: "POST", path: "/admin/invites/accept?token=" + invite, body: `{}`, bearer: first}, done: func(string) {
		count("users", 1, livingUsers)
		count("accepted invites", 1, "SELECT count(*) FROM latchkey_invite WHERE email = ?0 AND accepted")
		count("links", 1, linksOf)
	}})

	// In and out.
	second := signIn("correct horse")
	w.does(t, deed{act: act{method: "POST", path: "/auth/token/refresh", bearer: second}, done: session})
	w.does(t, deed{act: act{method: "DELETE", path: "/auth/session", bearer: second}, or: 401, after: func() { dead("signed out", second) },
		done: func(string) { dead("signed out", second) }})
	second = signIn("correct horse")
	now := w.does(t, deed{act: act{method: "DELETE", path: "/auth/sessions", bearer: second}, or: 401, after: func() { dead("signed out elsewhere", first) },
		done: func(string) { dead("signed out elsewhere", first, second) }})
	if second = member(now, "token"); second == "" {
		second = signIn("correct horse")
	}

	// Another password, by the one of now and by a token.
	now = w.does(t, deed{act: act{method: "POST", path: "/auth/user/emailpass/update", bearer: second,
		body: `{"current_password":"correct horse","password":"battery staple"}`}, or: 401,
		after: func() { dead("the password was changed", second); refuses("the password was changed", "correct horse") },
		done: func(string) {
			dead("the password was changed", second)
			refuses("the password was changed", "correct horse")
		}})
	if second = member(now, "token"); second == "" {
		second = signIn("battery staple")
	}
	id := claimsOf(second).Actor
	token := member(w.does(t, deed{act: act{method: "POST", path: "/admin/users/" + id + "/reset-password", bearer: w.admin}, done: func(answer string) {
		count("tokens", 1, "SELECT count(*) FROM latchkey_one_time_token t JOIN latchkey_provider_identity p ON p.id = t.provider_identity_id WHERE p.entity_id = ?0 AND t.spent_at IS NULL")
	}}), "token")
	isReset := func() {
		dead("the password was reset", second)
		refuses("the password was reset", "battery staple")
		if status, _ := w.spare(t, act{method: "POST", path: "/auth/user/emailpass/update", body: `{"password":"horse staple"}`, bearer: token}); status != 401 {
			t.Errorf("%s: the token to set a new password works twice", who)
		}
	}
	w.does(t, deed{act: act{method: "POST", path: "/auth/user/emailpass/update", body: `{"password":"correct battery"}`, bearer: token}, or: 401,
		after: isReset, done: func(string) { isReset() }})
	second = signIn("correct battery")
	third := signIn("correct battery")

	// Thrown out, deactivated, deleted.
	w.does(t, deed{act: act{method: "DELETE", path: "/admin/users/" + id + "/sessions/" + claimsOf(third).Session, bearer: w.admin},
		done: func(string) { dead("a session was ended", third) }})
	w.does(t, deed{act: act{method: "DELETE", path: "/admin/users/" + id + "/sessions", bearer: w.admin}, done: func(string) { dead("thrown out", second) }})
	second = signIn("correct battery")
	w.does(t, deed{act: act{method: "POST", path: "/admin/users/" + id + "/deactivate", bearer: w.admin}, done: func(string) { dead("deactivated", second) }})
	w.does(t, deed{act: act{method: "POST", path: "/admin/users/" + id + "/reactivate", bearer: w.admin}, done: func(string) {
		count("active users", 1, livingUsers+" AND deactivated_at IS NULL")
	}})
	second = signIn("correct battery")
	w.does(t, deed{act: act{method: "DELETE", path: "/admin/users/" + id, bearer: w.admin}, done: func(string) {
		dead("deleted", second)
		count("living users", 0, livingUsers)
		count("identities", 0, identitiesOf)
	}})

	// And once more, by a provider that vouches for the address.
	w.does(t, deed{act: act{method: "POST", path: "/auth/user/voucher", body: `{"name":"` + who + `","email":"` + who + `"}`}, done: func(answer string) {
		session(answer)
		count("users", 1, livingUsers)
	}})
}
