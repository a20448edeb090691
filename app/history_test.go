package app_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"
	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Eight clients do what comes to their mind with a few addresses, all at once, and what they were answered must be what
// could have been answered one after the other (history_model_test.go). In every other history the server is killed and
// started again, several times.
func TestWhatManyClientsAreAnsweredAtOnceCouldHaveBeenAnsweredOneByOne(t *testing.T) {
	each := scale(t, "LATCHKEY_TEST_OPERATIONS", 60)
	seeds := scale(t, "LATCHKEY_TEST_SEEDS", 2)
	first := firstSeed(t)
	for n := range seeds {
		seed := first + uint64(n)
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			databasetest.Each(t, func(t *testing.T, at databasetest.Database) { tell(t, at, seed, each, n%2 == 1) })
		})
	}
}

const (
	tellers   = 8  // clients at once
	addresses = 20 // at most
)

// tell has the clients act and looks at their history.
func tell(t *testing.T, at databasetest.Database, seed uint64, each int, killed bool) {
	s := newStory(t, at, seed, min(addresses, max(4, each/10)), killed)
	start := time.Now()
	var wg sync.WaitGroup
	for n := range tellers {
		wg.Go(func() {
			c := teller{story: s, rand: rand.New(rand.NewPCG(s.seed, uint64(n))), id: n}
			for range each {
				c.act(t)
			}
		})
	}
	kills := 0
	if killed {
		kills = s.kills(t, tellers*each)
	}
	wg.Wait()
	took, unknown, all := time.Since(start), 0, 0
	counted := map[string]int{}
	start = time.Now()
	for _, h := range s.homes {
		for _, o := range h.history {
			out := o.Output.(outcome)
			if all++; out.unknown {
				unknown++
			}
			counted[fmt.Sprintf("%s %d", o.Input.(operation).kind, out.status)]++
		}
		if result := linearizable(at.Dialect, h.history, time.Minute); result != porcupine.Ok {
			t.Errorf("the history of %s is %v: %s", h.spare, result, broken(at.Dialect, h.history))
		}
	}
	(&node{db: s.node.db}).check(t, "in the end")
	t.Logf("%d operations on %d addresses in %v, %d without an answer, the server killed %d times; checked in %v; answers: %v",
		all, len(s.people), took.Round(10*time.Millisecond), unknown, kills, time.Since(start).Round(time.Millisecond), counted)
}

// broken tells with which answer the history ceased to be right, and what was under way and answered before.
func broken(on database.Dialect, h history) string {
	h = slices.Clone(h)
	slices.SortFunc(h, func(a, b porcupine.Operation) int { return cmp.Compare(a.Return, b.Return) })
	// What is known when the first n answers have come: of the others that they were sent.
	known := func(n int) (cut history) {
		for i, o := range h {
			if i >= n && o.Call <= h[n-1].Return {
				o.Output, o.Return = outcome{unknown: true, back: o.Output.(outcome).back}, math.MaxInt64
			}
			if i < n || o.Call <= h[n-1].Return {
				cut = append(cut, o)
			}
		}
		return cut
	}
	last := 1 + sort.Search(len(h)-1, func(n int) bool { return linearizable(on, known(n+1), 10*time.Second) == porcupine.Illegal })
	var b strings.Builder
	for i, o := range known(last) {
		if i >= last-30 {
			fmt.Fprintf(&b, "\n  [%d %d] %+v -> %+v", o.Call/1000, o.Return/1000, o.Input, o.Output)
		}
		if i == last-1 {
			b.WriteString("\n  which cannot be; under way was")
		}
	}
	return b.String()
}

// story is what happens to one server.
type story struct {
	seed   uint64
	begin  time.Time
	people []*acquaintance
	homes  []*home
	admin  string
	env    []string
	client *http.Client

	// node is another server on the same database. It makes what a mailbox would hold; nobody sends it anything.
	node struct {
		db    *database.DB
		auth  *auth.Service
		users *user.Service
	}

	done    atomic.Int64 // operations
	mu      sync.Mutex
	server  *running
	url     string
	started chan struct{} // closed when there is another server
}

// acquaintance is what the clients know of an address.
type acquaintance struct {
	*home
	address string
	which   int // of the two at home

	mu       sync.Mutex
	sessions []knownSession
	invites  []knownInvite
	resets   []string // tokens
	users    []string // ids
	ways     []knownWay
}

// home is what the clients know of two addresses together, whose owners share an account at a provider. It can be a way to
// sign in of one of them.
type home struct {
	spare string // its name there

	at      sync.Mutex
	history history
	strays  []knownSession // that were opened by it
}

type (
	knownSession struct{ id, token string }
	knownWay     struct{ way, id string }
)

type knownInvite struct{ id, nonce, byHand, byMail string }

// remember keeps what was learnt last.
func remember[T any](of *[]T, v T) {
	const most = 5
	if *of = append(*of, v); len(*of) > most {
		*of = (*of)[1:]
	}
}

func newStory(t *testing.T, at databasetest.Database, seed uint64, people int, killed bool) *story {
	t.Helper()
	s := &story{seed: seed, client: pooled, started: make(chan struct{})}
	if killed {
		s.client = client // a connection that broke must not lead to another try
	}
	s.env = vouching(t, at, "LATCHKEY_AUTH_THROTTLE_ENABLED=false", "LATCHKEY_ADMIN_RESET_TOKEN_IN_RESPONSE=true")
	for n := range people / 2 * 2 {
		if n%2 == 0 {
			s.homes = append(s.homes, &home{spare: fmt.Sprintf("spare %d", n/2)})
		}
		s.people = append(s.people, &acquaintance{home: s.homes[n/2], address: fmt.Sprintf("person%d@example.com", n), which: n % 2})
	}
	s.server = startVouching(t, s.env)
	s.url = s.server.url
	makeVouchingAdmin(t, s.env)
	status, answer, err := post(s.url+"/auth/user/emailpass", credentials("admin@example.com"))
	if s.admin = member(answer, "token"); err != nil || status != 200 {
		t.Fatalf("sign in as the admin: %d %s %v", status, answer, err)
	}
	cfg, err := app.LoadConfig(app.LoadArgs{Environ: s.env, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	a := app.New(cfg, fx.Populate(&s.node.db, &s.node.auth, &s.node.users), fx.Provide(auth.AsProvider(func() voucher { return voucher{} })),
		fx.Decorate(func() *slog.Logger { return slog.New(slog.DiscardHandler) }))
	if err := a.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Stop(context.WithoutCancel(t.Context())); err != nil {
			t.Error(err)
		}
	})
	s.begin = time.Now()
	return s
}

// kills kills the server and starts it again, now and then until all is done, and returns how often.
func (s *story) kills(t *testing.T, operations int) int {
	dice := rand.New(rand.NewPCG(s.seed, math.MaxUint64))
	most := min(20, max(2, operations/400))
	for n := range most {
		at := int64((n + 1) * operations / (most + 1))
		for s.done.Load() < at {
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(dice.IntN(5000)) * time.Microsecond)
		s.server.kill()
		next := startVouching(t, s.env)
		s.mu.Lock()
		s.server, s.url = next, next.url
		close(s.started)
		s.started = make(chan struct{})
		s.mu.Unlock()
	}
	return most
}

// send asks the server that there is, however long it takes until there is one. sent and back are when.
func (s *story) send(t *testing.T, method, path, body, bearer string) (status int, answer string, sent, back int64, unknown bool) {
	for {
		s.mu.Lock()
		url, started := s.url, s.started
		s.mu.Unlock()
		sent = int64(time.Since(s.begin))
		status, answer, err := sendBy(t.Context(), s.client, method, url+path, body, bearer)
		back = int64(time.Since(s.begin))
		var dial *net.OpError
		switch {
		case err == nil:
			return status, answer, sent, back, false
		case errors.As(err, &dial) && dial.Op == "dial": // it was not sent
			select {
			case <-started:
			case <-time.After(time.Minute):
				t.Errorf("%s %s: %v", method, path, err)
				return 0, "", sent, back, true
			}
		default:
			return 0, "", sent, back, true
		}
	}
}

// teller is a client.
type teller struct {
	*story
	rand *rand.Rand
	id   int
}

// one picks what the clients know, the newest as likely as all others together.
func one[T any](dice *rand.Rand, of []T) (v T, ok bool) {
	if len(of) == 0 {
		return v, false
	}
	if dice.IntN(2) == 0 {
		return of[len(of)-1], true
	}
	return of[dice.IntN(len(of))], true
}

// deeds are what a client does, the more often the more often it is named. It returns what it asked for, unless there is
// nothing to ask for yet, and what it was told.
var deeds = []struct {
	often int
	do    func(c *teller, t *testing.T, p *acquaintance, in *operation, out *outcome) (sent, back int64, done bool)
}{
	{4, register}, {6, login}, {2, vouched}, {8, refresh}, {2, invite}, {2, show}, {2, resend}, {5, accept}, {3, askReset}, {4, reset}, {2, remove},
	{3, stray}, {7, linkWay}, {4, listWays}, {9, unlinkWay},
}

// act does one thing, and notes it.
func (c *teller) act(t *testing.T) {
	defer c.done.Add(1)
	sum := 0
	for _, d := range deeds {
		sum += d.often
	}
	for {
		n := c.rand.IntN(sum)
		for _, d := range deeds {
			if n -= d.often; n >= 0 {
				continue
			}
			p := c.people[c.rand.IntN(len(c.people))]
			var in operation
			var out outcome
			sent, back, done := d.do(c, t, p, &in, &out)
			if !done {
				break
			}
			if out.status >= 500 || out.status == 429 {
				t.Errorf("%+v: %+v", in, out)
			}
			if in.sent, out.back = sent, back; out.unknown {
				out.back = back + int64(5*time.Second) // soon after the server is gone nothing more is committed
				back = out.back
			}
			in.who = p.which
			p.at.Lock()
			p.history = append(p.history, porcupine.Operation{ClientId: c.id, Input: in, Call: sent, Output: out, Return: back})
			p.at.Unlock()
			return
		}
	}
}

// passwords are those of everybody.
var passwords = []string{"correct horse", "battery staple"}

func (c *teller) anyPassword() string { return passwords[c.rand.IntN(len(passwords))] }

func credentialsBy(address, password string) string {
	return `{"email":"` + address + `","password":"` + password + `"}`
}

// opens asks for a session, and keeps it.
func (c *teller) opens(t *testing.T, p *acquaintance, path, body string, out *outcome) (sent, back int64, done bool) {
	var answer string
	out.status, answer, sent, back, out.unknown = c.send(t, "POST", path, body, "")
	out.reason = member(answer, "reason")
	if token := member(answer, "token"); token != "" {
		claims := claimsOf(token)
		out.session, out.user = claims.Session, claims.Actor
		p.mu.Lock()
		remember(&p.sessions, knownSession{claims.Session, token})
		p.knows(claims.Actor)
		p.mu.Unlock()
	}
	return sent, back, true
}

// knows keeps a user's id.
func (p *acquaintance) knows(user string) {
	if user != "" && !slices.Contains(p.users, user) {
		remember(&p.users, user)
	}
}

func register(c *teller, t *testing.T, p *acquaintance, in *operation, out *outcome) (int64, int64, bool) {
	*in = operation{kind: "register", password: c.anyPassword()}
	return c.opens(t, p, "/auth/user/emailpass/register", credentialsBy(p.address, in.password), out)
}

func login(c *teller, t *testing.T, p *acquaintance, in *operation, out *outcome) (int64, int64, bool) {
	*in = operation{kind: "login", password: c.anyPassword()}
	return c.opens(t, p, "/auth/user/emailpass", credentialsBy(p.address, in.password), out)
}

func vouched(c *teller, t *testing.T, p *acquaintance, in *operation, out *outcome) (int64, int64, bool) {
	*in = operation{kind: "vouched"}
	return c.opens(t, p, "/auth/user/voucher", `{"name":"`+p.address+`","email":"`+p.address+`"}`, out)
}

// session is one that the clients know, of the address or of the sign-in that is shared, and keep is for a token by which it
// goes on.
func (c *teller) session(p *acquaintance) (s knownSession, keep func(knownSession), ok bool) {
	mu, of := &p.mu, &p.sessions
	if c.rand.IntN(4) == 0 {
		mu, of = &p.at, &p.strays
	}
	mu.Lock()
	defer mu.Unlock()
	s, ok = one(c.rand, *of)
	return s, func(s knownSession) {
		mu.Lock()
		defer mu.Unlock()
		remember(of, s)
	}, ok
}

func refresh(c *teller, t *testing.T, p *acquaintance, in *operation, out *outcome) (sent, back int64, done bool) {
	session, _, ok := c.session(p)
	if !ok {
		return 0, 0, false
	}
	*in = operation{kind: "refresh", session: session.id}
	var answer string
	out.status, answer, sent, back, out.unknown = c.send(t, "POST", "/auth/token/refresh", "", session.token)
	out.user = claimsOf(member(answer, "token")).Actor
	return sent, back, true
}

func invite(c *teller, t *testing.T, p *acquaintance, in *operation, out *outcome) (int64, int64, bool) {
	*in = operation{kind: "invite"}
	return c.invites(t, p, "POST", "/admin/invites", `{"email":"`+p.address+`"}`, out)
}

func show(c *teller, t *testing.T, p *acquaintance, in *operation, out *outcome) (int64, int64, bool) {
	*in = operation{kind: "show"}
	return c.invites(t, p, "GET", "/admin/invites?email="+p.address, "", out)
}

func resend(c *teller, t *testing.T, p *acquaintance, in *operation, out *outcome) (int64, int64, bool) {
	p.mu.Lock()
	known, ok := one(c.rand, p.invites)
	p.mu.Unlock()
	if !ok {
		return 0, 0, false
	}
	*in = operation{kind: "resend", invite: known.id}
	return c.invites(t, p, "POST", "/admin/invites/"+known.id+"/resend", "", out)
}

// invites asks for what is answered with an invite, and keeps it.
func (c *teller) invites(t *testing.T, p *acquaintance, method, path, body string, out *outcome) (sent, back int64, done bool) {
	var answer string
	out.status, answer, sent, back, out.unknown = c.send(t, method, path, body, c.admin)
	out.reason = member(answer, "reason")
	token := member(answer, "token")
	if token == "" {
		return sent, back, true
	}
	claims := claimsOf(token)
	out.invite, out.nonce = claims.ID, claims.JTI
	known := knownInvite{claims.ID, claims.JTI, token, ""}
	// What the mailbox holds, unless it is newer by now.
	if row, err := c.node.users.RetrieveInvite(t.Context(), user.InviteID(claims.ID)); err == nil && claimsOf(c.node.users.InviteToken(row, user.ByHand)).JTI == claims.JTI {
		known.byMail = c.node.users.InviteToken(row, user.ByMail)
	}
	p.mu.Lock()
	remember(&p.invites, known)
	p.mu.Unlock()
	return sent, back, true
}

func accept(c *teller, t *testing.T, p *acquaintance, in *operation, out *outcome) (sent, back int64, done bool) {
	p.mu.Lock()
	session, ok := one(c.rand, p.sessions)
	known, invited := one(c.rand, p.invites)
	p.mu.Unlock()
	if !ok || !invited {
		return 0, 0, false
	}
	*in = operation{kind: "accept", session: session.id, invite: known.id, nonce: known.nonce, mailed: known.byMail != "" && c.rand.IntN(2) == 0}
	token := known.byHand
	if in.mailed {
		token = known.byMail
	}
	var answer string
	out.status, answer, sent, back, out.unknown = c.send(t, "POST", "/admin/invites/accept?token="+token, `{}`, session.token)
	if out.reason = member(answer, "reason"); out.status == 200 {
		out.user = member(answer, "id")
	}
	p.mu.Lock()
	p.knows(out.user)
	p.mu.Unlock()
	return sent, back, true
}

// ask asks for a token to set a new password, as an admin, who is shown it, or as whoever forgot it, whom it is mailed to.
func askReset(c *teller, t *testing.T, p *acquaintance, in *operation, out *outcome) (sent, back int64, done bool) {
	var token string
	if *in = (operation{kind: "ask", mailed: c.rand.IntN(2) == 0}); in.mailed {
		sent = int64(time.Since(c.begin))
		asked, err := c.node.auth.RequestPasswordReset(t.Context(), auth.ResetRequest{Provider: emailpass.Name, EntityID: p.address, ActorType: link.ActorUser})
		if err == nil {
			var made auth.PasswordResetToken
			made, err = c.node.auth.CreatePasswordResetToken(t.Context(), asked, auth.ByMail)
			token = made.Token
		}
		back = int64(time.Since(c.begin))
		switch {
		case err == nil:
			out.status = 200
		case errors.Is(err, auth.ErrNotFound):
			out.status = 404
		case errors.Is(err, auth.ErrResetToken):
			out.status, out.reason = 409, "reset_superseded"
		default:
			t.Errorf("ask for a new password: %v", err)
		}
	} else {
		p.mu.Lock()
		id, ok := one(c.rand, p.users)
		p.mu.Unlock()
		if !ok {
			return 0, 0, false
		}
		in.user = id
		var answer string
		out.status, answer, sent, back, out.unknown = c.send(t, "POST", "/admin/users/"+id+"/reset-password", "", c.admin)
		out.reason, token = member(answer, "reason"), member(answer, "token")
	}
	if out.token = claimsOf(token).JTI; token != "" {
		p.mu.Lock()
		remember(&p.resets, token)
		p.mu.Unlock()
	}
	return sent, back, true
}

func reset(c *teller, t *testing.T, p *acquaintance, in *operation, out *outcome) (sent, back int64, done bool) {
	p.mu.Lock()
	token, ok := one(c.rand, p.resets)
	p.mu.Unlock()
	if !ok {
		return 0, 0, false
	}
	*in = operation{kind: "reset", token: claimsOf(token).JTI, password: c.anyPassword()}
	var answer string
	out.status, answer, sent, back, out.unknown = c.send(t, "POST", "/auth/user/emailpass/update", `{"password":"`+in.password+`"}`, token)
	out.reason = member(answer, "reason")
	return sent, back, true
}

// remove has an admin delete the user: nobody can delete themselves.
func remove(c *teller, t *testing.T, p *acquaintance, in *operation, out *outcome) (sent, back int64, done bool) {
	p.mu.Lock()
	id, ok := one(c.rand, p.users)
	p.mu.Unlock()
	if !ok {
		return 0, 0, false
	}
	*in = operation{kind: "delete", user: id}
	var answer string
	out.status, answer, sent, back, out.unknown = c.send(t, "DELETE", "/admin/users/"+id, "", c.admin)
	out.reason = member(answer, "reason")
	return sent, back, true
}

// stray signs in by what two people share, which names no address: who comes by it is who has linked it, or nobody.
func stray(c *teller, t *testing.T, p *acquaintance, in *operation, out *outcome) (sent, back int64, done bool) {
	*in = operation{kind: "stray"}
	var answer string
	out.status, answer, sent, back, out.unknown = c.send(t, "POST", "/auth/user/voucher", `{"name":"`+p.spare+`"}`, "")
	out.reason = member(answer, "reason")
	if token := member(answer, "token"); token != "" {
		claims := claimsOf(token)
		out.session, out.user = claims.Session, claims.Actor
		p.at.Lock()
		remember(&p.strays, knownSession{claims.Session, token})
		p.at.Unlock()
	}
	return sent, back, true
}

// linkWay adds what is shared, or a password, to whoever the session is of.
func linkWay(c *teller, t *testing.T, p *acquaintance, in *operation, out *outcome) (sent, back int64, done bool) {
	session, _, ok := c.session(p)
	if !ok {
		return 0, 0, false
	}
	*in = operation{kind: "link", session: session.id, way: "s", current: c.current()}
	provider, body := "voucher", `{"name":"`+p.spare+`"`
	if c.rand.IntN(3) == 0 {
		in.way, in.password = "p", c.anyPassword()
		provider, body = emailpass.Name, strings.TrimSuffix(credentialsBy(p.address, in.password), "}")
	}
	if in.current != "" {
		body += `,"current_password":"` + in.current + `"`
	}
	var answer string
	out.status, answer, sent, back, out.unknown = c.send(t, "POST", "/auth/user/"+provider+"/link", body+"}", session.token)
	if out.reason = member(answer, "reason"); out.status == 200 {
		out.ways = in.way + "=" + member(answer, "id")
		p.learns(out.ways)
	}
	return sent, back, true
}

// current is what is sent as the password of now; empty: nothing is, as by who has just signed in without one.
func (c *teller) current() string {
	if c.rand.IntN(2) == 0 {
		return ""
	}
	return c.anyPassword()
}

// learns keeps the ids of ways to sign in.
func (p *acquaintance) learns(ways string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for w := range strings.FieldsSeq(ways) {
		way, id, _ := strings.Cut(w, "=")
		if known := (knownWay{way, id}); !slices.Contains(p.ways, known) {
			remember(&p.ways, known)
		}
	}
}

func listWays(c *teller, t *testing.T, p *acquaintance, in *operation, out *outcome) (sent, back int64, done bool) {
	session, _, ok := c.session(p)
	if !ok {
		return 0, 0, false
	}
	*in = operation{kind: "ways", session: session.id}
	var answer string
	out.status, answer, sent, back, out.unknown = c.send(t, "GET", "/auth/provider-identities", "", session.token)
	if out.status != 200 {
		return sent, back, true
	}
	var listed struct {
		Ways []struct {
			ID       string `json:"id"`
			Provider string `json:"provider"`
			EntityID string `json:"entity_id"`
		} `json:"provider_identities"`
	}
	if err := json.Unmarshal([]byte(answer), &listed); err != nil {
		t.Errorf("ways: %s: %v", answer, err)
	}
	var ways []string
	for _, w := range listed.Ways {
		way := "v"
		switch {
		case w.Provider == emailpass.Name:
			way = "p"
		case w.EntityID == p.spare:
			way = "s"
		}
		ways = append(ways, way+"="+w.ID)
	}
	slices.Sort(ways)
	out.ways = strings.Join(ways, " ")
	p.learns(out.ways)
	return sent, back, true
}

// unlinkWay gives a way to sign in up, and goes on with the token that is in the answer.
func unlinkWay(c *teller, t *testing.T, p *acquaintance, in *operation, out *outcome) (sent, back int64, done bool) {
	session, keep, ok := c.session(p)
	p.mu.Lock()
	way, known := one(c.rand, p.ways)
	p.mu.Unlock()
	if !ok || !known {
		return 0, 0, false
	}
	*in = operation{kind: "unlink", session: session.id, way: way.way, id: way.id, current: c.current()}
	body := `{}`
	if in.current != "" {
		body = `{"current_password":"` + in.current + `"}`
	}
	var answer string
	out.status, answer, sent, back, out.unknown = c.send(t, "DELETE", "/auth/provider-identities/"+way.id, body, session.token)
	out.reason = member(answer, "reason")
	if token := member(answer, "token"); token != "" {
		claims := claimsOf(token)
		out.session = fmt.Sprintf("%s/%d", claims.Session, claims.Ver) // the tokens of before are dead
		keep(knownSession{out.session, token})
	}
	return sent, back, true
}
