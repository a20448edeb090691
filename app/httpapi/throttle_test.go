package httpapi_test

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/user"
)

const tooMany = `{"type":"not_allowed","message":"Too many attempts. Wait a while, then try again.","reason":"too_many_attempts"}`

// behindAProxy are settings under which a test is the proxy, and says who calls.
func behindAProxy(o auth.ThrottleOptions) settings {
	return settings{auth: auth.Options{Throttle: o}, site: web.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}}
}

func at(ip string) string { return "X-Forwarded-For: " + ip }

func (s *server) guess(t testing.TB, email string, headers ...string) answer {
	t.Helper()
	return s.do(t, "POST", "/auth/user/emailpass", credentials(email, "wrong horse"), headers...)
}

// device is the cookie by which a sign-in makes the caller's device known.
func device(t testing.TB, a answer) string {
	t.Helper()
	for _, c := range a.header.Values("Set-Cookie") {
		if pair, attributes, _ := strings.Cut(c, "; "); strings.HasPrefix(pair, "latchkey-device=") {
			if !strings.Contains(attributes, "Path=/") || !strings.Contains(attributes, "HttpOnly") || !strings.Contains(attributes, "SameSite=Lax") {
				t.Errorf("the cookie of the device is %s", c)
			}
			return "Cookie: " + pair
		}
	}
	t.Fatalf("%d %s: no cookie of a device", a.status, a.body)
	return ""
}

// wantTooMany holds an answer to be that of everybody who has to wait.
func wantTooMany(t testing.TB, what string, a answer) {
	t.Helper()
	seconds, err := strconv.Atoi(a.header.Get("Retry-After"))
	if a.status != 429 || a.body != tooMany || err != nil || seconds < 1 {
		t.Errorf("%s: %d %s, Retry-After %q; want 429", what, a.status, a.body, a.header.Get("Retry-After"))
	}
}

func TestTwoHundredGuessesAtOnceAreTenGuesses(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.member(t, "ada@example.com")
		nodes := []*server{s, s.node(t, settings{})}
		var mu sync.Mutex
		statuses, wrong := map[int]int{}, 0
		together(200, func(i int) {
			secret := "wrong horse"
			if i%20 == 19 { // the right one is among them
				secret = password
			}
			a, err := nodes[i%2].try(t.Context(), "POST", "/auth/user/emailpass", credentials("ada@example.com", secret))
			check(t, err)
			mu.Lock()
			defer mu.Unlock()
			statuses[a.status]++
			switch {
			case a.status == 401:
				wrong++
			case a.status == 429:
				wantTooMany(t, "guess", a)
			case a.status == 200 && secret != password, a.status != 200:
				t.Errorf("%s: %d %s", secret, a.status, a.body)
			}
		})
		if wrong != 10 {
			t.Errorf("%v: %d guesses were looked at, want 10", statuses, wrong)
		}
		for i, n := range nodes {
			wantTooMany(t, fmt.Sprintf("the right password afterwards, at node %d", i), n.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password)))
		}
		var row struct{ Failed, Pending int }
		check(t, s.db.Conn(t.Context()).NewSelect().TableExpr("latchkey_auth_throttle").ColumnExpr("max(failed) AS failed, sum(pending) AS pending").Scan(t.Context(), &row))
		if row.Failed != 10 || row.Pending != 0 {
			t.Errorf("%d failures are counted and %d are under way, want 10 and none", row.Failed, row.Pending)
		}
	})
}

func TestWhoIsThrottledIsToldTheSameWhetherOrNotThereIsAnAccount(t *testing.T) {
	eachWith(t, behindAProxy(auth.ThrottleOptions{}), func(t *testing.T, s *server) {
		s.member(t, "ada@example.com")
		s.register(t, "unlinked@example.com")
		s.member(t, "gone@example.com")
		people, err := s.users.ListUsers(t.Context(), user.Filter{Emails: []string{"gone@example.com"}}, user.Page{})
		check(t, err)
		check(t, s.users.DeactivateUsers(t.Context(), people[0].ID))
		var first []answer
		for i, email := range []string{"ada@example.com", "unlinked@example.com", "gone@example.com", "nobody@example.com"} {
			var answers []answer
			for range 12 {
				answers = append(answers, s.guess(t, email, at(fmt.Sprintf("192.0.2.%d", i))))
			}
			if i == 0 {
				first = answers
				continue
			}
			for n, a := range answers {
				want, got := lasting(first[n].header), lasting(a.header)
				want.Del("Retry-After") // which is a time
				got.Del("Retry-After")
				if a.status != first[n].status || a.body != first[n].body || !maps.EqualFunc(got, want, slices.Equal) ||
					(a.header.Get("Retry-After") == "") != (first[n].header.Get("Retry-After") == "") {
					t.Errorf("%s, attempt %d: %d %s %v; for a user it is %d %s %v", email, n, a.status, a.body, got, first[n].status, first[n].body, want)
				}
			}
		}
		if first[9].status != 401 || first[10].status != 429 {
			t.Errorf("the 10th is %d and the 11th %d", first[9].status, first[10].status)
		}
	})
}

func TestAnAttackerDoesNotLockTheOwnerOut(t *testing.T) {
	eachWith(t, behindAProxy(auth.ThrottleOptions{}), func(t *testing.T, s *server) {
		s.register(t, "ada@example.com")
		first := s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password), at("198.51.100.1"))
		known, token := device(t, first), s.token(t, "sign in", first)
		for i := range 100 { // as many as there may be at an account, from all over
			if a := s.guess(t, "ada@example.com", at(fmt.Sprintf("192.0.2.%d", i))); a.status != 401 && i < 80 {
				t.Fatalf("guess %d: %d %s", i, a.status, a.body)
			}
		}
		enter := func(headers ...string) answer {
			return s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password), headers...)
		}
		wantTooMany(t, "a stranger with the right password", enter(at("192.0.2.200")))
		if a := s.do(t, "GET", "/admin/users/me", "", bearer(token)); a.status != 200 {
			t.Errorf("the owner's session: %d %s", a.status, a.body)
		}
		if a := enter(at("198.51.100.1")); a.status != 200 {
			t.Errorf("the owner from where they are signed in, without a cookie: %d %s", a.status, a.body)
		}
		if a := enter(at("203.0.113.7"), known); a.status != 200 {
			t.Errorf("the owner by their device from elsewhere: %d %s", a.status, a.body)
		}
		s.member(t, "eve@example.com")
		eves := device(t, s.do(t, "POST", "/auth/user/emailpass", credentials("eve@example.com", password)))
		wantTooMany(t, "somebody else's device", enter(at("192.0.2.201"), eves))

		// The attacker sits at the owner's own address, too.
		for range 200 {
			s.guess(t, "ada@example.com", at("203.0.113.7"))
		}
		for i := range 200 {
			s.guess(t, fmt.Sprintf("n%d@example.com", i), at("203.0.113.7"))
		}
		wantTooMany(t, "anybody from there", s.do(t, "POST", "/auth/user/emailpass", credentials("eve@example.com", password), at("203.0.113.7")))
		if a := enter(at("203.0.113.7"), known); a.status != 200 {
			t.Errorf("the owner by their device from the attacker's address: %d %s", a.status, a.body)
		}

		// Without a cookie and from elsewhere: by a new password.
		if a := s.do(t, "POST", "/auth/user/emailpass/reset-password", `{"identifier":"ada@example.com"}`, at("192.0.2.202")); a.status != 201 {
			t.Fatalf("ask for a new password: %d %s", a.status, a.body)
		}
		resets := s.told.resets()
		made, err := s.auth.CreatePasswordResetToken(t.Context(), resets[len(resets)-1], auth.ByMail)
		check(t, err)
		if a := s.do(t, "POST", "/auth/user/emailpass/update", `{"password":"battery staple"}`, bearer(made.Token), at("192.0.2.202")); a.status != 200 {
			t.Fatalf("set a new password: %d %s", a.status, a.body)
		}
		a := s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", "battery staple"), at("192.0.2.202"))
		if a.status != 200 {
			t.Errorf("sign in with the new password: %d %s", a.status, a.body)
		}
	})
}

func TestAnAddressIsLimitedAtWhateverAccounts(t *testing.T) {
	eachWith(t, behindAProxy(auth.ThrottleOptions{}), func(t *testing.T, s *server) {
		s.member(t, "ada@example.com")
		for i := range 101 {
			a := s.guess(t, fmt.Sprintf("n%d@example.com", i), at("2001:db8::"+strconv.Itoa(i)), "X-Other: x")
			if i == 100 {
				wantTooMany(t, "the 101st from one network", a)
			} else if a.status != 401 {
				t.Fatalf("attempt %d: %d %s", i, a.status, a.body)
			}
		}
		// What the caller writes before what the proxy does helps nobody.
		wantTooMany(t, "with a forged header", s.guess(t, "ada@example.com", at("203.0.113.1, 2001:db8::1")))
		for _, other := range []string{"2001:db8:0:1::1", "192.0.2.1", "2001:db8::1, 192.0.2.2"} { // nor does it harm
			if a := s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password), at(other)); a.status != 200 {
				t.Errorf("from %s: %d %s", other, a.status, a.body)
			}
		}
	})
}

func TestWhoIsNoProxyDoesNotSayWhereARequestComesFrom(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.member(t, "ada@example.com")
		for i := range 11 {
			a := s.guess(t, "ada@example.com", at(fmt.Sprintf("192.0.2.%d", i)))
			if i == 10 {
				wantTooMany(t, "another address each time, as the caller has it", a)
			} else if a.status != 401 {
				t.Fatalf("guess %d: %d %s", i, a.status, a.body)
			}
		}
		// This machine may be a proxy, and everybody: the limits by address alone are off.
		for i := range 150 {
			if a := s.guess(t, fmt.Sprintf("n%d@example.com", i)); a.status != 401 {
				t.Fatalf("attempt %d: %d %s", i, a.status, a.body)
			}
		}
	})
}

func TestARefusalCostsNoHash(t *testing.T) {
	eachWith(t, settings{auth: auth.Options{Throttle: auth.ThrottleOptions{AccountAddress: auth.Limit{Most: 1}}}}, func(t *testing.T, s *server) {
		s.guess(t, "ada@example.com")
		if n := s.passwords.Turns(); n != 1 {
			t.Fatalf("a guess took %d turns, want one", n)
		}
		for range 5 {
			wantTooMany(t, "refused", s.guess(t, "ada@example.com"))
		}
		if n := s.passwords.Turns(); n != 1 {
			t.Errorf("five refusals took %d turns", n-1)
		}
	})
}

func TestRegisteringAgainIsAGuess(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.register(t, "ada@example.com")
		register := func(secret string) answer {
			return s.do(t, "POST", "/auth/user/emailpass/register", credentials("ada@example.com", secret))
		}
		for i := range 10 {
			if a := register("wrong horse"); a.status != 401 || a.get("message") != "Identity with email already exists" {
				t.Fatalf("guess %d: %d %s", i, a.status, a.body)
			}
		}
		wantTooMany(t, "the right password by registering", register(password))
		wantTooMany(t, "the right password by signing in", s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password)))
		for i := range 30 { // whose address is free registers, whatever was guessed about it
			s.guess(t, fmt.Sprintf("free%d@example.com", i/10))
		}
		if a := s.do(t, "POST", "/auth/user/emailpass/register", credentials("free9@example.com", password)); a.status != 200 {
			t.Errorf("register a free address: %d %s", a.status, a.body)
		}
	})
}

func TestAnAddressRegistersSixtyTimesAnHour(t *testing.T) {
	eachWith(t, behindAProxy(auth.ThrottleOptions{}), func(t *testing.T, s *server) {
		for i := range 61 {
			a := s.do(t, "POST", "/auth/user/emailpass/register", credentials(fmt.Sprintf("n%d@example.com", i), password), at("192.0.2.1"))
			if i == 60 {
				wantTooMany(t, "the 61st", a)
			} else if a.status != 200 {
				t.Fatalf("registration %d: %d %s", i, a.status, a.body)
			}
		}
		if a := s.do(t, "POST", "/auth/user/emailpass/register", credentials("eve@example.com", password), at("192.0.2.2")); a.status != 200 {
			t.Errorf("from elsewhere: %d %s", a.status, a.body)
		}
	})
}

func TestTokensThatLeadNowhereAreLimited(t *testing.T) {
	eachWith(t, behindAProxy(auth.ThrottleOptions{}), func(t *testing.T, s *server) {
		token, member := s.register(t, "ada@example.com"), s.member(t, "eve@example.com")
		for name, try := range map[string]func() answer{
			"accept": func() answer {
				return s.do(t, "POST", "/admin/invites/accept?token=nonsense", "{}", bearer(token))
			},
			"confirm another address": func() answer {
				return s.do(t, "POST", "/admin/users/me/email/confirm", `{"token":"nonsense"}`, bearer(member))
			},
			"set a new password": func() answer {
				return s.do(t, "POST", "/auth/user/emailpass/update", `{"password":"battery staple"}`, bearer("nonsense"), at("192.0.2.1"))
			},
		} {
			for i := range 31 {
				a := try()
				if i == 30 {
					wantTooMany(t, name, a)
				} else if a.status == 429 || a.status < 400 || a.status >= 500 {
					t.Fatalf("%s, attempt %d: %d %s", name, i, a.status, a.body)
				}
			}
		}
	})
}

func TestMailsAreLimited(t *testing.T) {
	eachWith(t, behindAProxy(auth.ThrottleOptions{}), func(t *testing.T, s *server) {
		member := s.member(t, "ada@example.com")
		for i := range 20 {
			a := s.do(t, "POST", "/auth/user/emailpass/reset-password", `{"identifier":"ada@example.com"}`, at(fmt.Sprintf("192.0.2.%d", i)))
			if a.status != 201 || a.body != "Created" {
				t.Errorf("request %d: %d %s", i, a.status, a.body)
			}
		}
		if n := len(s.told.resets()); n != 5 {
			t.Errorf("%d mails to one account, want 5", n)
		}
		for i := range 31 {
			a := s.do(t, "POST", "/auth/user/emailpass/reset-password", fmt.Sprintf(`{"identifier":"n%d@example.com"}`, i), at("192.0.2.100"))
			if i == 30 {
				wantTooMany(t, "the 31st from one address", a)
			}
		}
		admin := s.admin(t, "root@example.com") // who is not kept from it by strangers
		people, err := s.users.ListUsers(t.Context(), user.Filter{Emails: []string{"ada@example.com"}}, user.Page{})
		check(t, err)
		before := len(s.told.resets())
		if a := s.do(t, "POST", "/admin/users/"+string(people[0].ID)+"/reset-password", "", bearer(admin), at("192.0.2.100")); a.status != 200 || len(s.told.resets()) != before+1 {
			t.Errorf("an administrator: %d %s", a.status, a.body)
		}
		for i := range 6 {
			a := s.do(t, "POST", "/admin/users/me/email", fmt.Sprintf(`{"email":"n%d@example.com","current_password":%q}`, i, password), bearer(member))
			if i == 5 {
				wantTooMany(t, "the 6th request for another address", a)
			} else if a.status != 200 {
				t.Errorf("request %d: %d %s", i, a.status, a.body)
			}
		}
	})
}

// A mail that proves an address goes to whoever the caller says they are. Who asks too often is told; where nobody has asked,
// the answer is as before.
func TestMailsThatProveAnAddressAreLimited(t *testing.T) {
	o := behindAProxy(auth.ThrottleOptions{})
	eachWith(t, o, func(t *testing.T, s *server) {
		member := s.member(t, "ada@example.com")
		for i := range 6 {
			a := s.askToProve(t, "ada@example.com", bearer(member))
			if i == 5 {
				wantTooMany(t, "the 6th request of one account", a)
			} else if a.status != 201 {
				t.Errorf("request %d: %d %s", i, a.status, a.body)
			}
		}
	})
	o.safe = true
	eachWith(t, o, func(t *testing.T, s *server) {
		var first string
		for i := range 120 {
			a := s.do(t, "POST", "/auth/user/emailpass/register", credentials("victim@example.com", password), at(fmt.Sprintf("192.0.2.%d", i/15)))
			if shape := different.ReplaceAllString(a.body, "x"); i == 0 {
				first = shape
			} else if a.status != 200 || shape != first {
				t.Errorf("registration %d: %d %s, want %s", i, a.status, a.body, first)
			}
		}
		if n := len(told[auth.VerificationRequested](s)); n != 80 {
			t.Errorf("%d mails to one address from eight, want 10 each", n)
		}
		// What others have used up keeps nobody out who comes from elsewhere.
		mine := s.do(t, "POST", "/auth/user/emailpass/register", credentials("victim@example.com", password), at("198.51.100.1"))
		if n := len(told[auth.VerificationRequested](s)); n != 81 {
			t.Error("the newcomer got no mail")
		}
		if a := s.askToProve(t, "victim@example.com", bearer(mine.get("token")), at("198.51.100.1")); a.status != 201 {
			t.Errorf("the newcomer asks by hand: %d %s", a.status, a.body)
		}
		wantTooMany(t, "from where there were enough", s.askToProve(t, "victim@example.com", bearer(mine.get("token")), at("192.0.2.1")))
		for i := range 30 { // there is an end to it nevertheless
			s.do(t, "POST", "/auth/user/emailpass/register", credentials("victim@example.com", password), at(fmt.Sprintf("203.0.113.%d", i)))
		}
		if n := len(told[auth.VerificationRequested](s)); n != 100 {
			t.Errorf("%d mails to one address, want 100", n)
		}
		for i := range 61 {
			a := s.do(t, "POST", "/auth/user/emailpass/register", credentials(fmt.Sprintf("n%d@example.com", i), password), at("192.0.2.100"))
			if i == 60 {
				wantTooMany(t, "the 61st registration from one address", a)
			} else if a.status != 200 {
				t.Errorf("registration %d: %d %s", i, a.status, a.body)
			}
		}
	})
}

func TestAStolenSessionDoesNotGuessAtThePasswordWithoutEnd(t *testing.T) {
	eachWith(t, behindAProxy(auth.ThrottleOptions{}), func(t *testing.T, s *server) {
		member := s.member(t, "ada@example.com")
		change := func(i int, current string) answer {
			return s.do(t, "POST", "/auth/user/emailpass/update", fmt.Sprintf(`{"current_password":%q,"password":"battery staple"}`, current),
				bearer(member), at(fmt.Sprintf("192.0.2.%d", i)))
		}
		for i := range 10 {
			if a := change(i, "wrong horse"); a.status != 401 {
				t.Fatalf("guess %d: %d %s", i, a.status, a.body)
			}
		}
		wantTooMany(t, "the right one", change(100, password))
		wantTooMany(t, "another address", s.do(t, "POST", "/admin/users/me/email", fmt.Sprintf(`{"email":"x@example.com","current_password":%q}`, password), bearer(member)))
		s.signIn(t, "ada@example.com") // the owner is not kept out
	})
}

// A sign-in that fails only when it is recorded has been counted, and given back, in transactions of their own.
func TestACountDoesNotGoWithTheTransactionOfTheSignIn(t *testing.T) {
	eachWith(t, settings{auth: auth.Options{}, actor: link.ActorOptions{Policy: brokenPolicy{}}}, func(t *testing.T, s *server) {
		s.register(t, "ada@example.com")
		for range 20 {
			if a := s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password)); a.status != 500 {
				t.Fatalf("%d %s", a.status, a.body)
			}
		}
		for i := range 11 {
			if a := s.guess(t, "ada@example.com"); (a.status == 429) != (i == 10) {
				t.Errorf("guess %d: %d %s", i, a.status, a.body)
			}
		}
	})
}

type brokenPolicy struct{ link.AutoProvision }

func (brokenPolicy) Decide(context.Context, link.Newcomer) (link.Decision, error) {
	return link.Decision{}, fmt.Errorf("broken at %v", database.Now())
}

func TestTheDeviceCookieIsBoundToHTTPSWhereThereIsHTTPS(t *testing.T) {
	eachWith(t, settings{site: web.Options{PublicURL: "https://id.example.com"}}, func(t *testing.T, s *server) {
		s.register(t, "ada@example.com")
		a := s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password))
		c := strings.Join(a.header.Values("Set-Cookie"), "\n")
		if !strings.HasPrefix(c, "__Host-latchkey-device=") || !strings.Contains(c, "; Secure") || !strings.Contains(c, "; HttpOnly") {
			t.Errorf("the cookie is %s", c)
		}
		if a := s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", "wrong horse")); len(a.header.Values("Set-Cookie")) > 0 {
			t.Error("a device is made known by a wrong password")
		}
	})
}

// Right passwords count nowhere. Whoever sends many at once waits for them alone.
func TestRightPasswordsAtOnceDoNotKeepOthersOut(t *testing.T) {
	o := behindAProxy(auth.ThrottleOptions{})
	start := time.Now()
	_, err := bcrypt.GenerateFromPassword([]byte(password), 8)
	check(t, err)
	o.passwords = auth.PasswordOptions{Cost: 8, Slots: 1, MaxWait: 25 * time.Since(start)} // room for 25, on whatever machine
	eachWith(t, o, func(t *testing.T, s *server) {
		const accounts, others = 6, 4
		for i := range accounts {
			s.register(t, fmt.Sprintf("eve%d@example.com", i))
		}
		for i := range others {
			s.register(t, fmt.Sprintf("n%d@example.com", i))
		}
		ctx, stop := context.WithCancel(t.Context())
		var busy atomic.Int32
		var storm sync.WaitGroup
		for i := range 10 * accounts {
			storm.Go(func() {
				for ctx.Err() == nil {
					a, err := s.try(ctx, "POST", "/auth/user/emailpass", credentials(fmt.Sprintf("eve%d@example.com", i%accounts), password), at("192.0.2.1"))
					if err == nil && a.status == 503 {
						if busy.Add(1); a.header.Get("Retry-After") == "" {
							t.Errorf("%s without Retry-After", a.body)
						}
						time.Sleep(20 * time.Millisecond)
					}
				}
			})
		}
		for busy.Load() < 20 {
			time.Sleep(10 * time.Millisecond)
		}
		for i := range others {
			a := s.do(t, "POST", "/auth/user/emailpass", credentials(fmt.Sprintf("n%d@example.com", i), password), at(fmt.Sprintf("198.51.100.%d", i)))
			if a.status != 200 {
				t.Errorf("somebody else: %d %s", a.status, a.body)
			}
		}
		stop()
		storm.Wait()
	})
}

// The same bad links as in the console's test, by the API.
func TestAGoodResetTokenIsNeverRefusedForBadOnes(t *testing.T) {
	eachWith(t, behindAProxy(auth.ThrottleOptions{}), func(t *testing.T, s *server) {
		s.member(t, "ada@example.com")
		s.do(t, "POST", "/auth/user/emailpass/reset-password", `{"identifier":"ada@example.com"}`, at("192.0.2.1"))
		asked := s.told.resets()
		made, err := s.auth.CreatePasswordResetToken(t.Context(), asked[len(asked)-1], auth.ByMail)
		check(t, err)
		set := func(token string) answer {
			return s.do(t, "POST", "/auth/user/emailpass/update", `{"password":"battery staple"}`, bearer(token), at("192.0.2.1"))
		}
		for range 31 {
			set("nonsense")
		}
		wantTooMany(t, "nonsense", set("nonsense"))
		if a := set(made.Token); a.status != 200 {
			t.Errorf("the good one: %d %s", a.status, a.body)
		}
		wantTooMany(t, "the same again", set(made.Token))
	})
}

func TestADeviceStaysKnownThroughAChangeInItsSession(t *testing.T) {
	eachWith(t, behindAProxy(auth.ThrottleOptions{}), func(t *testing.T, s *server) {
		s.member(t, "ada@example.com")
		first := s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password), at("192.0.2.1"))
		changed := s.do(t, "POST", "/auth/user/emailpass/update", changePassword, bearer(first.get("token")), device(t, first), at("192.0.2.1"))
		moved := s.do(t, "POST", "/admin/users/me/email", `{"email":"ada@lovelace.example","current_password":"battery staple"}`, bearer(changed.get("token")))
		if moved.status != 200 {
			t.Fatalf("ask for another address: %d %s", moved.status, moved.body)
		}
		byDevice := func(address string, a answer) int {
			return s.do(t, "POST", "/auth/user/emailpass", credentials(address, "battery staple"), device(t, a), at("203.0.113.1")).status
		}
		shut := func(address string) {
			for range 11 {
				s.guess(t, address, at("203.0.113.1"))
			}
		}
		shut("ada@example.com")
		if old, now := byDevice("ada@example.com", first), byDevice("ada@example.com", changed); old != 429 || now != 200 {
			t.Errorf("after a new password the device of before gets %d and that of now %d, want 429 and 200", old, now)
		}
		moved = s.move(t, s.mailedMove(t), bearer(changed.get("token")), device(t, changed))
		shut("ada@lovelace.example")
		if before, after := device(t, first), device(t, moved); len(before) != len(after) {
			t.Errorf("what is void stays in the cookie: %s, then %s", before, after)
		}
		if old, now := byDevice("ada@lovelace.example", changed), byDevice("ada@lovelace.example", moved); old != 429 || now != 200 {
			t.Errorf("after another address the device of before gets %d and that of now %d, want 429 and 200", old, now)
		}
		if a := s.do(t, "POST", "/auth/user/emailpass/update", `{"current_password":"wrong horse","password":"battery staple"}`, bearer(moved.get("token"))); len(a.header.Values("Set-Cookie")) > 0 {
			t.Error("a device is made known by a wrong password")
		}
	})
}

const changePassword = `{"current_password":"` + password + `","password":"battery staple"}`
