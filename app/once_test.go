package app_test

import (
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// One identity becomes one user, whatever number of servers it is sent to at once: by a provider that vouches for the address,
// by a password, and by an invite that many accept. docs/reliability.md has the numbers of a long run.
func TestOneIdentityBecomesOneUserOnAnyNumberOfServersWhateverIsSlow(t *testing.T) {
	rounds := scale(t, "LATCHKEY_TEST_ROUNDS", 2)
	for name, extra := range map[string]string{"as they are": oneProcessor + "=", "on one processor": oneProcessor + "=1"} {
		t.Run(name, func(t *testing.T) {
			databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
				servers := 2
				if at.Dialect == database.SQLite {
					servers = 1
				}
				newCrowd(t, at, at, servers, extra).come(t, rounds)
			})
		})
	}
	t.Run("PostgreSQL behind a slow network", func(t *testing.T) {
		at := databasetest.Postgres(t)
		newCrowd(t, at, slowly(t, at, 20*time.Millisecond), 2).come(t, (rounds+1)/2)
	})
}

// crowd is many who come at once.
type crowd struct {
	servers []*running
	db      *database.DB
	next    atomic.Int64 // the server that is asked next
	took    map[string]*durations
	counted map[string]int // answers, by what was asked and answered
}

// crowdSize is how many ask for one thing at once.
const crowdSize = 50

func newCrowd(t *testing.T, at, asServersSeeIt databasetest.Database, servers int, extra ...string) *crowd {
	t.Helper()
	// How many passwords can be checked in time is another matter: nobody is sent away.
	extra = append(extra, "LATCHKEY_AUTH_PASSWORD_MAX_WAIT=30s")
	c := &crowd{took: map[string]*durations{}, counted: map[string]int{}}
	makeVouchingAdmin(t, vouching(t, at)) // which migrates, too, and needs not wait for a slow network
	env := vouching(t, asServersSeeIt, extra...)
	for range servers {
		c.servers = append(c.servers, startVouching(t, env))
	}
	c.db = at.Open(t)
	return c
}

// ask sends a request to one server after the other.
func (c *crowd) ask(t *testing.T, path, body, bearer string) (status int, answer string) {
	t.Helper()
	r := c.servers[int(c.next.Add(1))%len(c.servers)]
	status, answer, err := sendBy(t.Context(), pooled, "POST", r.url+path, body, bearer)
	if err != nil {
		t.Errorf("%s: %v", path, err)
	}
	return status, answer
}

// must asks for what has to succeed.
func (c *crowd) must(t *testing.T, path, body, bearer string) string {
	t.Helper()
	status, answer := c.ask(t, path, body, bearer)
	if status != 200 {
		t.Errorf("%s: %d %s", path, status, answer)
	}
	return answer
}

// come has rounds of people come, whom nobody has seen before.
func (c *crowd) come(t *testing.T, rounds int) {
	start := time.Now()
	for n := range rounds {
		c.round(t, n)
		if t.Failed() {
			t.Fatalf("in round %d", n)
		}
	}
	(&node{db: c.db}).check(t, "in the end")
	worst := time.Duration(0)
	for _, kind := range []string{"vouched for", "by password", "by invite"} {
		d := c.took[kind]
		worst = max(worst, d.within(99))
		t.Logf("%s: %d requests, half of them within %v, 99 %% within %v, all within %v", kind, len(d.all), d.within(50), d.within(99), d.within(100))
	}
	t.Logf("answers: %v; %d rounds in %v", c.counted, rounds, time.Since(start).Round(time.Second))
	if worst > 30*time.Second {
		t.Errorf("99 %% of the answers took up to %v", worst)
	}
}

// round has three identities come: one that a provider vouches for, one with a password, and as many as there are who want
// the one invite.
func (c *crowd) round(t *testing.T, n int) {
	address := func(kind string) string { return fmt.Sprintf("%s.%d@example.com", kind, n) }
	admin := member(c.must(t, "/auth/user/emailpass", credentials("admin@example.com"), ""), "token")
	invite := member(c.must(t, "/admin/invites", `{"email":"`+address("invited")+`"}`, admin), "token")
	c.must(t, "/auth/user/emailpass/register", credentials(address("password")), "")
	registrations := make([]string, crowdSize)
	databasetest.Together(crowdSize, func(i int) error {
		registrations[i] = member(c.must(t, "/auth/user/emailpass/register", credentials(fmt.Sprintf("%d.%s", i, address("wants"))), ""), "token")
		return nil
	})

	asks := []struct {
		kind string
		ask  func(i int) (status int, answer string)
	}{
		{"vouched for", func(int) (int, string) {
			return c.ask(t, "/auth/user/voucher", fmt.Sprintf(`{"name":"n%d","email":"%s"}`, n, address("vouched")), "")
		}},
		{"by password", func(int) (int, string) { return c.ask(t, "/auth/user/emailpass", credentials(address("password")), "") }},
		{"by invite", func(i int) (int, string) {
			return c.ask(t, "/admin/invites/accept?token="+invite, `{}`, registrations[i])
		}},
	}
	type answer struct {
		status int
		body   string
	}
	answers := make([]answer, len(asks)*crowdSize)
	for _, a := range asks {
		if c.took[a.kind] == nil {
			c.took[a.kind] = new(durations)
		}
	}
	databasetest.Together(len(answers), func(i int) error {
		a, start := asks[i%len(asks)], time.Now()
		answers[i].status, answers[i].body = a.ask(i / len(asks))
		c.took[a.kind].add(time.Since(start))
		return nil
	})

	users := map[string]map[string]int{}
	for i, a := range answers {
		kind, actor := asks[i%len(asks)].kind, ""
		switch {
		case a.status == 200 && kind == "by invite":
			actor = member(a.body, "id")
		case a.status == 200:
			actor = claimsOf(member(a.body, "token")).Actor
		case a.status == 400 && kind == "by invite" && member(a.body, "reason") == "invite_used":
			c.counted[kind+" refused"]++
			continue
		}
		if actor == "" {
			t.Errorf("%s: %d %s", kind, a.status, a.body)
			continue
		}
		c.counted[kind+" let in"]++
		if users[kind] == nil {
			users[kind] = map[string]int{}
		}
		users[kind][actor]++
	}
	if got := users["by invite"]; len(got) != 1 || got[only(got)] != 1 {
		t.Errorf("the invite was accepted as %v, want by one, once", got)
	}
	for _, kind := range []string{"vouched for", "by password"} {
		if got := users[kind]; len(got) != 1 || got[only(got)] != crowdSize {
			t.Errorf("%s, the tokens speak for %v, want all for one", kind, got)
		}
	}
	node := &node{db: c.db}
	for _, kind := range []string{"vouched", "password", "invited"} {
		if living := rows(livingUsers)(t, node, address(kind)); living != 1 {
			t.Errorf("%d users have the address %s, want one", living, address(kind))
		}
	}
	const made = "SELECT count(*) FROM latchkey_outbox_event WHERE topic = 'user.created' AND aggregate_id IN (SELECT id FROM latchkey_user WHERE email LIKE '%.' || ?0 || '@example.com')"
	if got := rows(made)(t, node, fmt.Sprint(n)); got != 3 {
		t.Errorf("%d users were made, want three", got)
	}
}

// only is the one key of a map, or one of them.
func only(m map[string]int) (key string) {
	for key = range m {
		return key
	}
	return ""
}
