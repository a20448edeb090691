package auth_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// sessionIDs are what a list of sessions holds, in its order.
func sessionIDs(sessions []auth.Session) (ids []auth.SessionID) {
	for _, s := range sessions {
		ids = append(ids, s.ID)
	}
	return ids
}

// set writes a column of a session, as time does.
func (h house) set(t testing.TB, id auth.SessionID, column string, value any) {
	t.Helper()
	must(t, h.db.InTx(t.Context(), func(ctx context.Context) error {
		_, err := h.db.Conn(ctx).NewUpdate().Table("latchkey_auth_session").Set("? = ?", bun.Ident(column), value).Where("id = ?", id).Exec(ctx)
		return err
	}))
}

// told returns what was announced of sessions.
func (h house) told() (ended []auth.SessionsEnded) {
	h.events.mu.Lock()
	defer h.events.mu.Unlock()
	for _, e := range h.events.seen {
		if e, ok := e.(auth.SessionsEnded); ok {
			ended = append(ended, e)
		}
	}
	return ended
}

func TestSessionsAreListedNewestFirstAndOnlyThoseThatLive(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		h.open(t, h.register(t, "eve@example.com", "correct horse"), "user")
		list := func(p auth.Page) (ids []auth.SessionID, count int) {
			t.Helper()
			sessions, count, err := h.ListAndCountSessions(t.Context(), ada.ID, p)
			must(t, err)
			again, err := h.ListSessions(t.Context(), ada.ID, p)
			must(t, err)
			if !slices.Equal(sessionIDs(sessions), sessionIDs(again)) {
				t.Errorf("%+v: counted %v, and not %v", p, sessionIDs(sessions), sessionIDs(again))
			}
			return sessionIDs(sessions), count
		}
		if ids, n := list(auth.Page{}); len(ids) != 0 || n != 0 {
			t.Errorf("before: %v, %d", ids, n)
		}
		var opened []auth.SessionID // newest first
		for i, actorType := range []string{"user", "customer", "user", "user", "user"} {
			s, _, _ := h.open(t, ada, actorType)
			h.set(t, s.ID, "created_at", database.Now().Add(time.Duration(i-10)*time.Minute))
			h.set(t, s.ID, "last_used_at", database.Now().Add(time.Duration([]int{2, 0, 1, 3, 4}[i]-10)*time.Minute))
			opened = slices.Insert(opened, 0, s.ID)
		}
		h.set(t, opened[0], "expires_at", database.Now().Add(-time.Second)) // has expired
		h.set(t, opened[1], "ver", 0)                                       // was born dead
		lives := opened[2:]
		if ids, n := list(auth.Page{}); !slices.Equal(ids, lives) || n != 3 {
			t.Errorf("%v, %d, want %v", ids, n, lives)
		}
		if ids, n := list(auth.Page{Limit: 1, Offset: 1}); !slices.Equal(ids, lives[1:2]) || n != 3 {
			t.Errorf("the second: %v, %d", ids, n)
		}
		if ids, _ := list(auth.Page{Order: "last_used_at"}); !slices.Equal(ids, []auth.SessionID{lives[1], lives[0], lives[2]}) {
			t.Errorf("by last use: %v of %v", ids, lives)
		}
		if ids, n := list(auth.Page{Limit: auth.CountOnly}); ids != nil || n != 3 {
			t.Errorf("counted: %v, %d", ids, n)
		}
	})
}

func TestNobodyEndsTheSessionOfAnotherIdentity(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada, eve := h.register(t, "ada@example.com", "correct horse"), h.register(t, "eve@example.com", "correct horse")
		own, token, cookie := h.open(t, ada, "user")
		other, otherToken, _ := h.open(t, ada, "user")
		ofEve, tokenOfEve, cookieOfEve := h.open(t, eve, "user")
		for _, id := range []auth.SessionID{ofEve.ID, noSession, "", "\x00", "\xff", auth.SessionID(strings.Repeat("x", 100_000))} {
			if ended, err := h.EndSessionOf(t.Context(), ada.ID, id, auth.EndedByOwner); ended || err != nil {
				t.Errorf("%.30q: ended %t, %v", id, ended, err)
			}
		}
		if _, _, err := h.EndOtherSessions(t.Context(), auth.Session{ID: ofEve.ID, IdentityID: ada.ID}); err == nil {
			t.Error("Ada has ended her sessions in a session of Eve")
		}
		if ended, err := h.EndSessionOf(t.Context(), ada.ID, other.ID, auth.EndedByOwner); !ended || err != nil {
			t.Errorf("her own: %t, %v", ended, err)
		}
		if ended, err := h.EndSessionOf(t.Context(), ada.ID, other.ID, auth.EndedByOwner); ended || err != nil {
			t.Errorf("her own, again: %t, %v", ended, err)
		}
		h.opens(t, "the one that was ended", otherToken, "", auth.ErrSession, nil)
		h.opens(t, "Eve", tokenOfEve, cookieOfEve, nil, nil)
		if n, err := h.EndAllSessions(t.Context(), eve.ID, auth.EndedByOperator); n != 1 || err != nil {
			t.Errorf("all of Eve's: %d, %v", n, err)
		}
		h.opens(t, "Eve, afterwards", tokenOfEve, cookieOfEve, auth.ErrSession, auth.ErrSession)
		h.opens(t, "Ada", token, cookie, nil, nil)
		want := []auth.SessionsEnded{
			{ID: ada.ID, Session: other.ID, Count: 1, Reason: "owner"}, {ID: eve.ID, Count: 1, Reason: "operator"},
		}
		if told := h.told(); !slices.Equal(told, want) {
			t.Errorf("announced %+v, want %+v", told, want)
		}
		if s, _, err := h.CheckToken(t.Context(), token); err != nil || s.SessionID != own.ID {
			t.Errorf("%v of %s", err, s.SessionID)
		}
	})
}

func TestOfManyWhoEndAllOtherSessionsOneIsLeft(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		ada := h.register(t, "ada@example.com", "correct horse")
		sessions, cookies := make([]auth.Session, 8), make([]string, 8)
		for i := range sessions {
			sessions[i], _, cookies[i] = h.open(t, ada, "user")
		}
		var left []int
		for i, err := range databasetest.Together(len(sessions), func(i int) error {
			now, n, err := h.EndOtherSessions(t.Context(), sessions[i])
			if err != nil {
				return err
			}
			token, err := h.Token(now, ada, auth.Actor{})
			if err == nil && n == len(sessions)-1 {
				_, _, err = h.CheckToken(t.Context(), token)
			}
			if err == nil {
				cookies[i], err = h.SetCookie(t.Context(), now)
			}
			return err
		}) {
			switch {
			case err == nil:
				left = append(left, i)
			case !errors.Is(err, auth.ErrSession):
				t.Errorf("%d: %v", i, err)
			}
		}
		if len(left) != 1 || h.count(t, "auth_session") != 1 {
			t.Fatalf("%v have ended all others, and %d sessions are left", left, h.count(t, "auth_session"))
		}
		h.opens(t, "who is left", "", cookies[left[0]], nil, nil)
	})
}

// Who ends the sessions of an identity has not locked the identity, and meets who has begun to end all but the last.
func TestEndingAllSessionsAndAllOthersAtOnceDeadlocksWithNothing(t *testing.T) {
	at := databasetest.Postgres(t)
	h := newHouse(t, at.Open(t, auth.Migrations()), auth.Options{})
	elsewhere := newHouse(t, at.Open(t), auth.Options{})
	ada := h.register(t, "ada@example.com", "correct horse")
	var last auth.Session
	for range 3 {
		last, _, _ = h.open(t, ada, "user")
	}
	defer databasetest.WatchDeadlocks(t, h.db)()
	ended := make(chan error, 1)
	meanwhile(t, h, `UPDATE "latchkey_auth_session"`, func() { ended <- elsewhere.EndSessions(t.Context(), ada.ID, "", "") },
		func(ctx context.Context) error { _, _, err := h.EndOtherSessions(ctx, last); return err })
	must(t, <-ended)
	if n := h.count(t, "auth_session"); n != 0 {
		t.Errorf("%d sessions are left", n)
	}
}

// meanwhile does something elsewhere after the first statement of an act that has the text, long enough for it to wait for a lock.
func meanwhile(t *testing.T, h house, text string, elsewhere func(), act func(context.Context) error) {
	t.Helper()
	o := once{text, func() { go elsewhere(); time.Sleep(300 * time.Millisecond) }, new(atomic.Bool)}
	must(t, h.db.InTx(t.Context(), func(ctx context.Context) error {
		h.db.Conn(ctx).NewSelect().DB().AddQueryHook(o)
		return act(ctx)
	}))
	if !o.over.Load() {
		t.Fatal("nothing happened meanwhile")
	}
}

func TestEverySessionOfEverybodyEnds(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		const many = 1203 // more than two statements hold
		made, err := h.CreateAuthIdentities(t.Context(), drafts(slices.Collect(func(yield func(string) bool) {
			for i := range many {
				if !yield(fmt.Sprintf("somebody%d", i)) {
					return
				}
			}
		})...)...)
		must(t, err)
		tokens := map[string]string{}
		must(t, h.db.InTx(t.Context(), func(ctx context.Context) error {
			for i, identity := range made {
				for range 1 + i%2 {
					if _, err := h.OpenSession(ctx, identity, "user", auth.Client{}); err != nil {
						return err
					}
				}
			}
			return nil
		}))
		for _, i := range []int{0, 500, many - 1} {
			_, token, cookie := h.open(t, made[i], "user")
			h.opens(t, "before", token, cookie, nil, nil)
			tokens[token] = cookie
		}
		people, ended, err := h.EndEverySession(t.Context())
		if must(t, err); people != many || ended != many+many/2+3 {
			t.Errorf("%d sessions of %d, want %d of %d", ended, people, many+many/2+3, many)
		}
		for token, cookie := range tokens {
			h.opens(t, "afterwards", token, cookie, auth.ErrSession, auth.ErrSession)
		}
		if n := h.count(t, "auth_session"); n != 0 {
			t.Errorf("%d sessions are left", n)
		}
		told, sum := h.told(), 0
		for _, e := range told {
			sum += e.Count
		}
		if len(told) != many || sum != ended {
			t.Errorf("announced %d sessions of %d", sum, len(told))
		}
		if people, ended, err := h.EndEverySession(t.Context()); people != 0 || ended != 0 || err != nil {
			t.Errorf("again: %d of %d, %v", ended, people, err)
		}
	})
}

func TestASignInThatWasProvedBeforeAllSessionsEndedIsRefused(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		for name, end := range map[string]func(auth.Session) error{
			"all": func(s auth.Session) error {
				_, err := h.EndAllSessions(t.Context(), s.IdentityID, auth.EndedByOperator)
				return err
			},
			"every": func(auth.Session) error { _, _, err := h.EndEverySession(t.Context()); return err },
			"other": func(s auth.Session) error { _, _, err := h.EndOtherSessions(t.Context(), s); return err },
		} {
			s, _, _ := h.open(t, h.register(t, name+"@example.com", "correct horse"), "user")
			proof := h.prove(t, auth.SignIn, name+"@example.com", "correct horse")
			must(t, end(s))
			if _, err := h.Admit(t.Context(), proof); err == nil {
				t.Errorf("%s: whoever was about to sign in is in", name)
			}
		}
	})
}

func TestTheOldestSessionEndsWhereTheirNumberIsBounded(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, auth.Migrations())
		unbounded, h, one := newHouse(t, db, auth.Options{}), newHouse(t, db, auth.Options{MaxSessions: 3}), newHouse(t, db, auth.Options{MaxSessions: 1})
		ada, eve := h.register(t, "ada@example.com", "correct horse"), h.register(t, "eve@example.com", "correct horse")
		_, tokenOfEve, _ := unbounded.open(t, eve, "user")
		expired, _, _ := unbounded.open(t, ada, "user")
		h.set(t, expired.ID, "expires_at", database.Now().Add(-time.Minute))
		h.set(t, expired.ID, "created_at", database.Now().Add(time.Hour)) // it would be the newest
		var tokens []string
		var opened []auth.SessionID
		for i := range 4 {
			s, token, _ := h.open(t, ada, []string{"user", "customer"}[i%2])
			tokens, opened = append(tokens, token), append(opened, s.ID)
			h.opens(t, "the new one", token, "", nil, nil)
			nextMoment()
		}
		h.opens(t, "the oldest", tokens[0], "", auth.ErrSession, nil)
		for _, token := range tokens[1:] {
			h.opens(t, "the others", token, "", nil, nil)
		}
		if told := h.told(); len(told) != 1 || told[0] != (auth.SessionsEnded{ID: ada.ID, Session: opened[0], Count: 1, Reason: "limit"}) {
			t.Errorf("announced %+v", told)
		}

		_, last, _ := one.open(t, ada, "user")
		one.opens(t, "the only one", last, "", nil, nil)
		for _, token := range tokens {
			one.opens(t, "one of before", token, "", auth.ErrSession, nil)
		}
		h.opens(t, "Eve", tokenOfEve, "", nil, nil)

		// A sign-in that fails in the end has ended nothing.
		err := one.db.InTx(t.Context(), func(ctx context.Context) error {
			if _, err := one.OpenSession(ctx, ada, "user", auth.Client{}); err != nil {
				return err
			}
			return context.Canceled
		})
		if err == nil {
			t.Fatal("it was committed")
		}
		one.opens(t, "after a sign-in that failed", last, "", nil, nil)
	})
}

// nextMoment makes sure that the next session is newer.
func nextMoment() { time.Sleep(2 * time.Millisecond) }

func TestOfManySignInsAtOnceAsManyStayAsMay(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		h := newHouse(t, at.Open(t, auth.Migrations()), auth.Options{MaxSessions: 2})
		h.register(t, "ada@example.com", "correct horse")
		for i, err := range databasetest.Together(20, func(int) error {
			proof, err := h.Prove(t.Context(), auth.SignIn, "emailpass", credentials("ada@example.com", "correct horse"))
			if err != nil {
				return err
			}
			return h.db.InTx(t.Context(), func(ctx context.Context) error {
				i, err := h.Admit(ctx, proof)
				if err == nil {
					_, err = h.OpenSession(ctx, i, "user", auth.Client{})
				}
				return err
			})
		}) {
			if err != nil {
				t.Errorf("sign-in %d: %v", i, err)
			}
		}
		if n := h.count(t, "auth_session"); n != 2 {
			t.Errorf("%d sessions, want 2", n)
		}
	})
}

func TestACookieThatDiedOfIdlenessIsNotWokenByItsToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := onSQLite(t, auth.Options{IdleTTL: time.Hour})
		s, token, cookie := h.open(t, h.register(t, "ada@example.com", "correct horse"), "user")
		for range 5 { // the session is in use, by whatever face
			time.Sleep(50 * time.Minute)
			h.opens(t, "the token", token, "", nil, nil)
		}
		h.opens(t, "while the token is used", "", cookie, nil, nil)
		time.Sleep(61 * time.Minute)
		h.opens(t, "the token, after an hour of silence", token, "", nil, nil)
		h.opens(t, "the cookie", "", cookie, nil, auth.ErrSession)
		time.Sleep(time.Minute)
		h.opens(t, "and still", token, cookie, nil, auth.ErrSession)
		fresh, err := h.SetCookie(t.Context(), s)
		must(t, err)
		h.opens(t, "a new one", token, fresh, nil, nil)
		time.Sleep(50 * time.Minute)
		h.opens(t, "and later", token, fresh, nil, nil)
	})
}

// A session whose token nobody refreshes is out of reach when that ends: this is the idle limit of those who have no cookie.
func TestATokenThatIsNotRefreshedInTimeLeadsNowhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := onSQLite(t, auth.Options{TokenTTL: time.Hour})
		ada := h.register(t, "ada@example.com", "correct horse")
		s, token, _ := h.open(t, ada, "user")
		for range 5 {
			time.Sleep(59 * time.Minute)
			_, now, err := h.CheckToken(t.Context(), token)
			must(t, err)
			if !now.ExpiresAt.Equal(s.ExpiresAt) {
				t.Errorf("the session ends at %v by now, and not at %v", now.ExpiresAt, s.ExpiresAt)
			}
			token, err = h.Token(now, ada, auth.Actor{}) // as a refresh does
			must(t, err)
		}
		time.Sleep(time.Hour)
		h.opens(t, "after an hour without", token, "", auth.ErrToken, nil)
	})
}

func TestASessionIsReadAnewPastTheCache(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		h := newHouse(t, at.Open(t, auth.Migrations()), auth.Options{})
		elsewhere := newHouse(t, at.Open(t), auth.Options{})
		s, token, _ := h.open(t, h.register(t, "ada@example.com", "correct horse"), "user")
		elsewhere.opens(t, "before", token, "", nil, nil)
		must(t, elsewhere.RecheckSession(t.Context(), s.ID))
		must(t, h.EndSession(t.Context(), s.ID))
		elsewhere.opens(t, "as it is cached", token, "", nil, nil)
		if err := elsewhere.RecheckSession(t.Context(), s.ID); !errors.Is(err, auth.ErrSession) {
			t.Errorf("read anew: %v, want ErrSession", err)
		}
	})
}

// slowly has every read outside transactions take a while after the database has answered.
type slowly struct{ by time.Duration }

func (slowly) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context { return ctx }
func (s slowly) AfterQuery(context.Context, *bun.QueryEvent)                      { time.Sleep(s.by) }

func TestTheSecondOfACachedSessionBeginsBeforeItIsRead(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		h := newHouse(t, at.Open(t, auth.Migrations()), auth.Options{})
		elsewhere := newHouse(t, at.Open(t), auth.Options{})
		s, token, _ := h.open(t, h.register(t, "ada@example.com", "correct horse"), "user")
		conn, ok := elsewhere.db.Conn(t.Context()).(*bun.DB)
		if !ok {
			t.Fatal("outside a transaction there is another connection than a pool")
		}
		conn.AddQueryHook(slowly{700 * time.Millisecond})
		elsewhere.opens(t, "before", token, "", nil, nil)
		must(t, h.EndSession(t.Context(), s.ID))
		time.Sleep(500 * time.Millisecond)
		elsewhere.opens(t, "half a second later, which is more than one after it was read", token, "", auth.ErrSession, nil)
	})
}

func TestASessionThatEndsWhileItIsReadIsNotRemembered(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		s, token, cookie := h.open(t, h.register(t, "ada@example.com", "correct horse"), "user")
		conn, ok := h.db.Conn(t.Context()).(*bun.DB)
		if !ok {
			t.Fatal("outside a transaction there is another connection than a pool")
		}
		conn.AddQueryHook(slowly{500 * time.Millisecond})
		var checks sync.WaitGroup
		checks.Go(func() { _, _, _ = h.CheckToken(t.Context(), token) }) // which may say yes: it began before the end
		checks.Go(func() { _, _ = h.CheckCookie(t.Context(), cookie) })
		time.Sleep(100 * time.Millisecond)
		must(t, h.EndSession(t.Context(), s.ID))
		checks.Wait()
		h.opens(t, "afterwards", token, cookie, auth.ErrSession, auth.ErrSession)
	})
}

func TestSettingsOfSessionsThatCannotWorkAreRefused(t *testing.T) {
	db := databasetest.SQLite(t).Open(t, auth.Migrations())
	for name, c := range map[string]struct {
		o  auth.Options
		ok bool
	}{
		"none": {auth.Options{}, true}, "all": {auth.Options{TokenTTL: time.Second, SessionTTL: time.Second, IdleTTL: 2 * time.Minute, MaxSessions: 1}, true},
		"idle": {auth.Options{IdleTTL: 2*time.Minute - 1}, false}, "negative idle": {auth.Options{IdleTTL: -1}, false}, "token": {auth.Options{TokenTTL: -1}, false},
		"session": {auth.Options{SessionTTL: -1}, false}, "number": {auth.Options{MaxSessions: -1}, false},
	} {
		if _, err := auth.New(auth.Params{DB: db, Keys: ring(t, secret(1)), Options: c.o}); (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// statements are those that ran outside transactions.
type statements struct{ seen []string }

func (s *statements) BeforeQuery(ctx context.Context, _ *bun.QueryEvent) context.Context { return ctx }
func (s *statements) AfterQuery(_ context.Context, e *bun.QueryEvent) {
	s.seen = append(s.seen, e.Query)
}

func (s *statements) take() []string {
	seen := s.seen
	s.seen = nil
	return seen
}

func TestACheckIsOneReadByAnIndexAndNoneForASecond(t *testing.T) {
	each(t, func(t *testing.T, h house) {
		h.manySessions(t, 5_000)
		s, token, cookie := h.open(t, h.register(t, "ada@example.com", "correct horse"), "user")
		conn, ok := h.db.Conn(t.Context()).(*bun.DB)
		if !ok {
			t.Fatal("outside a transaction there is another connection than a pool")
		}
		ran := new(statements)
		conn.AddQueryHook(ran)
		for name, c := range map[string]struct {
			check            func() error
			sqlite, postgres []string
		}{
			"token": {func() error { _, _, err := h.CheckToken(t.Context(), token); return err },
				[]string{"SEARCH s USING INDEX sqlite_autoindex_latchkey_auth_session_1 (id=?)"}, []string{"Index Scan using latchkey_auth_session_pkey"}},
			"cookie": {func() error { _, err := h.CheckCookie(t.Context(), cookie); return err },
				[]string{"SEARCH s USING INDEX latchkey_auth_session_secret (secret_hash=?)"}, []string{"Index Scan using latchkey_auth_session_secret"}},
			"once more": {func() error { return h.RecheckSession(t.Context(), s.ID) },
				[]string{"SEARCH s USING INDEX sqlite_autoindex_latchkey_auth_session_1 (id=?)"}, []string{"Index Scan using latchkey_auth_session_pkey"}},
		} {
			must(t, c.check())
			first := ran.take()
			if len(first) != 1 {
				t.Fatalf("%s: %d statements, want one:\n%s", name, len(first), strings.Join(first, "\n"))
			}
			must(t, c.check())
			if again := ran.take(); len(again) != 0 && name != "once more" {
				t.Errorf("%s: again %v, want it from the cache", name, again)
			}
			wants := append([]string{"SEARCH a USING INDEX sqlite_autoindex_latchkey_auth_identity_1 (id=?)"}, c.sqlite...)
			if h.db.Dialect() == database.Postgres {
				wants = append([]string{"Index Scan using latchkey_auth_identity_pkey"}, c.postgres...)
			}
			plan := h.plan(t, first[0])
			ran.take()
			for _, want := range wants {
				if !strings.Contains(plan, want) {
					t.Errorf("%s: the plan lacks %q:\n%sof %s", name, want, plan, first[0])
				}
			}
			if strings.Contains(plan, "Seq Scan") || strings.Contains(plan, "SCAN s") || strings.Contains(plan, "SCAN a") {
				t.Errorf("%s: the plan reads a whole table:\n%s", name, plan)
			}
		}
		for _, bad := range []func() error{
			func() error { _, _, err := h.CheckToken(t.Context(), token+"x"); return err },
			func() error { _, _, err := h.CheckToken(t.Context(), "nonsense"); return err },
		} {
			if err := bad(); err == nil || len(ran.seen) != 0 {
				t.Errorf("a token that nobody signed: %v, and asks the database %v", err, ran.take())
			}
		}
		_, err := h.ListSessions(t.Context(), s.IdentityID, auth.Page{})
		must(t, err)
		plan := h.plan(t, ran.take()[0])
		if !strings.Contains(plan, "latchkey_auth_session_identity") {
			t.Errorf("the list: %s", plan)
		}
	})
}

// manySessions makes as many people with a session each, and has the database count them.
func (h house) manySessions(t *testing.T, n int) {
	t.Helper()
	const numbers = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?) "
	now := database.Now()
	must(t, h.db.InTx(t.Context(), func(ctx context.Context) error {
		conn := h.db.Conn(ctx)
		_, err := conn.NewRaw("INSERT INTO latchkey_auth_identity (id, ver, created_at, updated_at) "+numbers+"SELECT 'authid_many_' || i, 1, ?, ? FROM n", n, now, now).Exec(ctx)
		if err != nil {
			return err
		}
		_, err = conn.NewRaw(`INSERT INTO latchkey_auth_session (id, auth_identity_id, actor_type, provider, secret_hash, ver, user_agent, ip, authenticated_at, created_at, last_used_at, expires_at) `+
			numbers+`SELECT 'authsess_many_' || i, 'authid_many_' || i, 'user', 'emailpass', 'hash ' || i, 1, 'many', '192.0.2.1', ?, ?, ?, ? FROM n`, n, now, now, now, now.Add(time.Hour)).Exec(ctx)
		if err != nil {
			return err
		}
		_, err = conn.NewRaw("ANALYZE").Exec(ctx)
		return err
	}))
}

// plan is how the database runs a statement.
func (h house) plan(t *testing.T, statement string) string {
	t.Helper()
	explain := "EXPLAIN QUERY PLAN ?"
	if h.db.Dialect() == database.Postgres {
		explain = "EXPLAIN ?"
	}
	var rows []map[string]any
	must(t, h.db.InTx(t.Context(), func(ctx context.Context) error {
		return h.db.Conn(ctx).NewRaw(explain, bun.Safe(statement)).Scan(ctx, &rows)
	}))
	var text strings.Builder
	for _, row := range rows {
		if line, ok := row["detail"]; ok {
			fmt.Fprintln(&text, line)
		} else {
			fmt.Fprintln(&text, row["QUERY PLAN"])
		}
	}
	return text.String()
}
