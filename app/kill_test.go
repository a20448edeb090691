package app_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
)

// crash_test.go kills a server at every statement of one request. Here a server has 64 requests under way when it is killed,
// after some time or at a moment that has a name: what was answered must be so, what was not is all or nothing, and sending
// that again once is right. LATCHKEY_TEST_ROUNDS is how often, for each database; LATCHKEY_TEST_SEED repeats a run.

// A moment is at a statement, of which there may be many under way; which of them the server dies at is drawn.
type moment struct {
	name string // without the side
	own  bool   // the server makes the statement by itself, not for a request
	sql  string // how it begins
	most int    // the last of them at which it may be: as many as there surely are
}

// moments have two sides each: before the database is told, and after it has answered.
var moments = []moment{
	{name: "BEGIN", sql: `BEGIN`, most: 60},
	{name: "the invite is held", sql: `SELECT .* FROM "latchkey_invite"`, most: 16},
	{name: "the link row", sql: `INSERT INTO "latchkey_link"`, most: 32},
	{name: "the identity", sql: `INSERT INTO "latchkey_auth_identity"`, most: 16},
	{name: "the way to sign in", sql: `INSERT INTO "latchkey_provider_identity"`, most: 16},
	{name: "the user", sql: `INSERT INTO "latchkey_user" `, most: 32},
	{name: "the roles", sql: `INSERT INTO "latchkey_user_role"`, most: 32},
	{name: "the invite is used up", sql: `UPDATE "latchkey_invite"`, most: 16},
	{name: "the reset token is used up", sql: `UPDATE "latchkey_one_time_token"`, most: 8},
	{name: "other sessions end", sql: `DELETE FROM "latchkey_auth_session"`, most: 32},
	{name: "the session", sql: `INSERT INTO "latchkey_auth_session"`, most: 32},
	{name: "the audit event", sql: `INSERT INTO "latchkey_audit_event"`, most: 60},
	{name: "the event", sql: `(WITH "?recorded"? AS \()?INSERT INTO "latchkey_outbox_event"`, most: 60},
	{name: "what is to be delivered", sql: `(INSERT INTO latchkey_outbox_delivery|WITH recorded)`, most: 8},
	{name: "COMMIT", sql: `COMMIT`, most: 56},                                                   // after it is between the commit and the answer
	{name: "a delivery is taken", sql: `UPDATE "latchkey_outbox_delivery"`, own: true, most: 1}, // before it is between the commit and sending
	{name: "a delivery is closed", sql: `DELETE FROM "latchkey_outbox_delivery"`, own: true, most: 4},
}

var sides = []string{"before", "after"}

// failpoint kills its process at one of the statements of a moment.
type failpoint struct {
	side   string
	nth    int64
	own    bool
	sql    *regexp.Regexp
	served atomic.Bool // that a request has come: what is done at the start does not count
	seen   atomic.Int64
}

// String is what parseFailpoint reads.
func (m moment) at(side string, nth int) string {
	return fmt.Sprintf("failpoint %s %d %t ^(%s)", side, nth, m.own, m.sql)
}

// noFailpoint leaves the killing to the test.
const noFailpoint = "failpoint never 0 false ^$"

func parseFailpoint(text string) *failpoint {
	words := strings.SplitN(text, " ", 5)
	if len(words) != 5 || words[0] != "failpoint" {
		return nil
	}
	nth, err := strconv.ParseInt(words[2], 10, 64)
	if err != nil {
		panic(err)
	}
	return &failpoint{side: words[1], nth: nth, own: words[3] == "true", sql: regexp.MustCompile(words[4])}
}

// BeforeQuery implements bun.QueryHook.
func (f *failpoint) BeforeQuery(ctx context.Context, e *bun.QueryEvent) context.Context {
	f.pass(ctx, "before", e)
	return ctx
}

// AfterQuery implements bun.QueryHook.
func (f *failpoint) AfterQuery(ctx context.Context, e *bun.QueryEvent) {
	if e.Err == nil {
		f.pass(ctx, "after", e)
	}
}

func (f *failpoint) pass(ctx context.Context, side string, e *bun.QueryEvent) {
	own := ctx.Value(http.ServerContextKey) == nil
	if !own {
		f.served.Store(true)
	}
	if side == f.side && own == f.own && f.served.Load() && f.sql.MatchString(e.Query) && f.seen.Add(1) == f.nth {
		die()
	}
}

// A pending request is one of those that are under way, and what it must have led to.
type pending struct {
	act
	who     string
	already int // the status of the same request once it was done; 0: 200

	status int // of the first answer; 0: there was none
	answer string

	// holds is asked when it was done, by the answer of now; nil error: it is so.
	holds func(ctx context.Context, n *node, p *pending, answer string) error
}

// mix is what is under way in a round: how many of what, 64 together.
var mix = []struct {
	n    int
	kind func(ctx context.Context, n *node, p *pending) error // prepares
}{
	{16, registering}, {16, signingInFirst}, {16, accepting}, {8, resetting}, {8, inviting},
}

func registering(_ context.Context, _ *node, p *pending) error {
	p.method, p.path, p.body = "POST", "/auth/user/emailpass/register", credentials(p.who)
	p.holds = func(ctx context.Context, n *node, p *pending, _ string) error {
		return n.counts(ctx, p.who, identitiesOf, 1, livingUsers, 0)
	}
	return nil
}

func signingInFirst(ctx context.Context, n *node, p *pending) error {
	p.method, p.path, p.body = "POST", "/auth/user/emailpass", credentials(p.who)
	p.holds = func(ctx context.Context, n *node, p *pending, answer string) error {
		return errors.Join(n.counts(ctx, p.who, identitiesOf, 1, livingUsers, 1, linksOf, 1), p.speaksForThem(ctx, n, member(answer, "token")))
	}
	_, err := p.registration(ctx, n)
	return err
}

func accepting(ctx context.Context, n *node, p *pending) error {
	invite, err := p.send(ctx, n, act{method: "POST", path: "/admin/invites", body: `{"email":"` + p.who + `"}`, bearer: n.admin})
	if err != nil {
		return err
	}
	registration, err := p.registration(ctx, n)
	p.method, p.path, p.body, p.bearer = "POST", "/admin/invites/accept?token="+member(invite, "token"), `{}`, registration
	p.holds = func(ctx context.Context, n *node, p *pending, answer string) error {
		accepted := "SELECT count(*) FROM latchkey_invite i JOIN latchkey_user u ON u.id = i.accepted_by WHERE i.email = ?0 AND u.email = ?0 AND u.id = '" + member(answer, "id") + "'"
		return n.counts(ctx, p.who, identitiesOf, 1, livingUsers, 1, linksOf, 1, accepted, 1)
	}
	return err
}

func resetting(ctx context.Context, n *node, p *pending) error {
	if err := signingInFirst(ctx, n, p); err != nil {
		return err
	}
	if _, err := p.send(ctx, n, p.act); err != nil {
		return err
	}
	asked, err := n.auth.RequestPasswordReset(ctx, auth.ResetRequest{Provider: emailpass.Name, EntityID: p.who, ActorType: link.ActorUser})
	if err != nil {
		return err
	}
	made, err := n.auth.CreatePasswordResetToken(ctx, asked, auth.ByMail)
	p.path, p.body, p.bearer, p.already = "/auth/user/emailpass/update", `{"password":"battery staple"}`, made.Token, 401
	p.holds = func(ctx context.Context, n *node, p *pending, _ string) error {
		old := act{method: "POST", path: "/auth/user/emailpass", body: credentials(p.who), from: p.from}
		if status, _, err := old.send(ctx, n.url); err != nil || status != 401 {
			return fmt.Errorf("the old password: %d %w", status, err)
		}
		old.body = strings.Replace(old.body, "correct horse", "battery staple", 1)
		answer, err := p.send(ctx, n, old)
		return errors.Join(err, p.speaksForThem(ctx, n, member(answer, "token")), n.counts(ctx, p.who, livingUsers, 1))
	}
	return err
}

func inviting(_ context.Context, n *node, p *pending) error {
	p.method, p.path, p.body, p.bearer, p.already = "POST", "/admin/invites", `{"email":"`+p.who+`"}`, n.admin, 400
	p.holds = func(ctx context.Context, n *node, p *pending, _ string) error {
		return n.counts(ctx, p.who, "SELECT count(*) FROM latchkey_invite WHERE email = ?0 AND NOT accepted AND deleted_at IS NULL", 1)
	}
	return nil
}

// send sends a request that succeeds.
func (p *pending) send(ctx context.Context, n *node, a act) (string, error) {
	a.from = p.from
	status, body, err := a.send(ctx, n.url)
	if err == nil && status != 200 {
		err = fmt.Errorf("%s %s: %d %s", a.method, a.path, status, body)
	}
	return body, err
}

func (p *pending) registration(ctx context.Context, n *node) (string, error) {
	answer, err := p.send(ctx, n, act{method: "POST", path: "/auth/user/emailpass/register", body: credentials(p.who)})
	return member(answer, "token"), err
}

func (p *pending) speaksForThem(ctx context.Context, n *node, token string) error {
	me, err := p.send(ctx, n, act{method: "GET", path: "/admin/users/me", bearer: token})
	if got := member(me, "email"); err == nil && got != p.who {
		err = fmt.Errorf("the token speaks for %q", got)
	}
	return err
}

// counts compares queries, in which ?0 is an address, with what they must count, one after the other.
func (n *node) counts(ctx context.Context, who string, wanted ...any) (err error) {
	for i := 0; i < len(wanted); i += 2 {
		var got int
		if e := n.db.Conn(ctx).NewRaw(wanted[i].(string), who).Scan(ctx, &got); e != nil || got != wanted[i+1] {
			err = errors.Join(err, e, fmt.Errorf("%v counts %d, want %v", wanted[i], got, wanted[i+1]))
		}
	}
	return err
}

// all calls f for each of them, some at once.
func all(t *testing.T, of []*pending, f func(p *pending) error) {
	t.Helper()
	var wg sync.WaitGroup
	turn := make(chan struct{}, 16)
	for _, p := range of {
		turn <- struct{}{}
		wg.Go(func() {
			defer func() { <-turn }()
			if err := f(p); err != nil {
				t.Errorf("%s %s of %s: %v", p.method, strings.SplitN(p.path, "?", 2)[0], p.who, err)
			}
		})
	}
	wg.Wait()
}

// kills are the rounds on one database.
type kills struct {
	rand            *rand.Rand
	env             []string
	next            int             // moment, with its side
	named           map[string]bool // at which a server has died
	people          int
	answered, again int
}

// round has one server killed and returns the next one.
func (k *kills) round(t *testing.T, n *node, round int) *node {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	var under []*pending
	for i, m := range mix {
		for range m.n {
			k.people++
			p := &pending{who: fmt.Sprintf("r%d.k%d.p%d@example.com", round, i, k.people)}
			p.from = fmt.Sprintf("10.%d.%d.%d", k.people>>16, k.people>>8&255, k.people&255)
			under = append(under, p)
		}
	}
	i := 0
	kind := map[*pending]func(context.Context, *node, *pending) error{}
	for _, m := range mix {
		for range m.n {
			kind[under[i]] = m.kind
			i++
		}
	}
	all(t, under, func(p *pending) error { return kind[p](ctx, n, p) })
	if t.Failed() {
		return n
	}
	n.stop()

	wait, point, when := time.Duration(5+k.rand.IntN(396))*time.Millisecond, noFailpoint, ""
	if round%5 == 1 || round%5 == 3 {
		m, side := moments[k.next/len(sides)%len(moments)], sides[k.next%len(sides)]
		k.next++
		wait, when, point = 30*time.Second, side+" "+m.name, m.at(side, 1+k.rand.IntN(m.most))
	}
	r := startBinary(t, itself(t), append(k.env, killAt+"="+point))
	if err := r.up(ctx); err != nil {
		t.Fatal(err)
	}
	answered := make(chan struct{})
	go func() {
		defer close(answered)
		var wg sync.WaitGroup
		for _, p := range under {
			wg.Go(func() {
				var err error
				if p.status, p.answer, err = p.act.send(ctx, r.url); err != nil {
					p.status = 0
				}
			})
		}
		wg.Wait()
	}()
	select {
	case <-r.ended:
	case <-time.After(wait):
	case <-answered: // and what is delivered may be under way
		if when != "" {
			select {
			case <-r.ended:
			case <-time.After(10 * time.Second):
			}
		}
	}
	died := false
	select {
	case <-r.ended:
		died = true
	default:
	}
	r.kill()
	<-answered
	if died != (when != "") {
		t.Errorf("round %d, %s: the server died by itself: %v\n%s%s", round, cmp.Or(when, "at no moment"), died, r.stdout, r.stderr)
	}
	if when != "" {
		k.named[when] = true
	}
	when = fmt.Sprintf("round %d, killed %s", round, cmp.Or(when, fmt.Sprintf("after %v", wait)))

	next := open(t, k.env)
	next.admin = n.admin
	next.endLeases(t)
	next.check(t, when)
	all(t, under, func(p *pending) error { // what was answered is so
		switch {
		case p.status == 200:
			if err := p.holds(ctx, next, p, p.answer); err != nil {
				return fmt.Errorf("%s: it was answered, and then: %w", when, err)
			}
		case p.status != 0 && p.status != http.StatusServiceUnavailable:
			return fmt.Errorf("%s: the answer was %d %s", when, p.status, p.answer)
		}
		return nil
	})
	all(t, under, func(p *pending) error { // what was not is done by sending it again
		if p.status == 200 {
			return nil
		}
		status, answer, err := p.act.send(ctx, next.url)
		if err != nil || status != 200 && (p.already == 0 || status != p.already) {
			return fmt.Errorf("%s: sent again: %d %s %w", when, status, answer, err)
		}
		if err := p.holds(ctx, next, p, answer); err != nil {
			return fmt.Errorf("%s: sent again, and then: %w", when, err)
		}
		return nil
	})
	for _, p := range under {
		if p.status == 200 {
			k.answered++
		} else {
			k.again++
		}
		if strings.HasPrefix(p.path, "/admin/invites") { // to whom a mail leaves, once
			if got := mails(t, next, p.who); got != 1 {
				t.Errorf("%s: %d mails to %s, want 1", when, got, p.who)
			}
		}
	}
	next.check(t, when+", sent again")
	return next
}
