package httpapi_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

const newPassword = "battery staple"

// update sends a new password with a token.
func (s *server) update(t testing.TB, token, password string) answer {
	t.Helper()
	return s.do(t, "POST", "/auth/user/emailpass/update", `{"password":"`+password+`"}`, bearer(token))
}

// fits reports whether the password is the address's.
func (s *server) fits(t testing.TB, email, password string) bool {
	t.Helper()
	a := s.do(t, "POST", "/auth/user/emailpass", credentials(email, password))
	if a.status != 200 && a.status != 401 {
		t.Fatalf("sign in: %d %s", a.status, a.body)
	}
	return a.status == 200
}

func TestOfFiftyUsesOfOneResetTokenAtOnceOneSucceeds(t *testing.T) {
	eachWith(t, unthrottled, func(t *testing.T, s *server) {
		s.member(t, "ada@example.com")
		token := s.resetToken(t, "ada@example.com", auth.ByMail)
		const n = 50
		answers := make([]answer, n)
		together(n, func(i int) { answers[i] = s.update(t, token, fmt.Sprintf("battery staple %d", i)) })
		won := -1
		for i, a := range answers {
			switch {
			case a.status == 200 && a.body == `{"success":true}` && won < 0:
				won = i
			case a.status != 401 || a.body != noToken:
				t.Errorf("use %d: %d %s", i, a.status, a.body)
			}
		}
		if won < 0 {
			t.Fatal("nobody succeeded")
		}
		for i := range n {
			if fits := s.fits(t, "ada@example.com", fmt.Sprintf("battery staple %d", i)); fits != (i == won) {
				t.Errorf("password %d fits: %t, and %d has won", i, fits, won)
			}
		}
	})
}

func TestOfManyResetRequestsTheNewestWins(t *testing.T) {
	eachWith(t, unthrottled, func(t *testing.T, s *server) {
		s.member(t, "ada@example.com")
		const n = 20
		together(n, func(int) {
			s.do(t, "POST", "/auth/user/emailpass/reset-password", `{"identifier":"ada@example.com"}`)
		})
		asked := s.told.resets()
		if len(asked) != n {
			t.Fatalf("%d requests were announced", len(asked))
		}
		tokens := make([]string, n)
		together(n, func(i int) { // the handlers of several nodes, in any order
			made, err := s.auth.CreatePasswordResetToken(t.Context(), asked[i], auth.ByMail)
			if err == nil {
				tokens[i] = made.Token
			}
		})
		newest := asked[0]
		for _, e := range asked {
			if e.At.After(newest.At) {
				newest = e
			}
		}
		good := 0
		for i, token := range tokens {
			if token == "" {
				continue
			}
			if _, err := s.auth.CheckPasswordResetToken(t.Context(), "user", "emailpass", token); err == nil {
				good++
				if !asked[i].At.Equal(newest.At) {
					t.Errorf("the token of %v is good, and the newest is of %v", asked[i].At, newest.At)
				}
			}
		}
		if good != 1 {
			t.Errorf("%d tokens are good, want one", good)
		}
	})
}

func TestARefusedPasswordLeavesTheResetTokenGood(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.member(t, "ada@example.com")
		token := s.resetToken(t, "ada@example.com", auth.ByMail)
		for _, body := range []string{"", `{}`, `{"password":""}`, `{"password":1}`, `{"password":"short"}`, `{"password":"password1"}`, `{"password":"ada@example.com"}`, `{`, `[]`} {
			if a := s.do(t, "POST", "/auth/user/emailpass/update", body, bearer(token)); a.status != 400 && a.status != 401 {
				t.Errorf("%s: %d %s", body, a.status, a.body)
			}
		}
		if a := s.update(t, token, newPassword); a.status != 200 {
			t.Errorf("afterwards: %d %s", a.status, a.body)
		}
	})
}

func TestAResetEndsEverythingThatWasSignedIn(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		registered, other := s.register(t, "ada@example.com"), s.node(t, settings{})
		token := s.signIn(t, "ada@example.com")
		cookie := "Cookie: latchkey=" + cookieOf(t, s.do(t, "POST", "/auth/session", "", bearer(s.signIn(t, "ada@example.com")))).Value
		for _, credential := range []string{bearer(token), cookie} { // both nodes have them in mind
			for _, node := range []*server{s, other} {
				if a := node.do(t, "GET", "/admin/users/me", "", credential); a.status != 200 {
					t.Fatalf("before: %d %s", a.status, a.body)
				}
			}
		}
		if a := s.update(t, s.resetToken(t, "ada@example.com", auth.ByMail), newPassword); a.status != 200 {
			t.Fatalf("reset: %d %s", a.status, a.body)
		}
		for _, credential := range []string{bearer(token), bearer(registered), cookie} {
			for _, do := range []string{"GET /admin/users/me", "POST /auth/token/refresh", "POST /auth/session", "DELETE /auth/session"} {
				method, path, _ := strings.Cut(do, " ")
				if a := s.do(t, method, path, "", credential, "Sec-Fetch-Site: same-origin"); a.status != 401 {
					t.Errorf("%s with what was good before: %d %s", do, a.status, a.body)
				}
			}
		}
		time.Sleep(time.Second)
		for _, credential := range []string{bearer(token), cookie} {
			if a := other.do(t, "GET", "/admin/users/me", "", credential); a.status != 401 {
				t.Errorf("on another node a second later: %d %s", a.status, a.body)
			}
		}
		if s.fits(t, "ada@example.com", password) || !s.fits(t, "ada@example.com", newPassword) {
			t.Error("the old password fits, or the new one does not")
		}
	})
}

func TestNothingElsePassesForAResetToken(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		member := s.member(t, "ada@example.com")
		invite := s.do(t, "POST", "/admin/invites", `{"email":"ada@example.com"}`, bearer(admin)).get("invite", "token")
		good := s.resetToken(t, "ada@example.com", auth.ByMail)
		parts := strings.Split(good, ".")
		claims, err := base64.RawURLEncoding.DecodeString(parts[1])
		check(t, err)
		encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
		for name, token := range map[string]string{
			"empty": "", "a login token": member, "an invite": invite,
			"without a signature":     parts[0] + "." + parts[1] + ".",
			"of no algorithm":         encode(`{"alg":"none","typ":"JWT"}`) + "." + parts[1] + ".",
			"for somebody else":       parts[0] + "." + encode(strings.Replace(string(claims), "ada@", "admin@", 1)) + "." + parts[2],
			"signed by nobody":        parts[0] + "." + parts[1] + "." + encode(strings.Repeat("x", 32)),
			"in another spelling":     good + "\n",
			"with something after it": good + "x",
			"very long":               strings.Repeat("x.", 4096),
		} {
			a := s.do(t, "POST", "/auth/user/emailpass/update", `{"password":"`+newPassword+`"}`, "Authorization: Bearer "+strings.ReplaceAll(token, "\n", "%0a"))
			status, body := 401, noToken
			if token == member {
				status, body = 400, noCurrent // is told how else
			}
			if a.status != status || a.body != body {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
		// Nor a reset token for anything else.
		for _, do := range []string{"GET /admin/users/me", "POST /auth/token/refresh", "POST /auth/session", "DELETE /auth/session", "GET /admin/users", "POST /admin/invites/accept?token=" + invite} {
			method, path, _ := strings.Cut(do, " ")
			if a := s.do(t, method, path, "", bearer(good)); a.status != 401 {
				t.Errorf("%s with a reset token: %d %s", do, a.status, a.body)
			}
		}
		if a := s.do(t, "POST", "/admin/invites/accept?token="+good, `{}`, bearer(member)); a.status != 400 {
			t.Errorf("accept with a reset token: %d %s", a.status, a.body)
		}
		if a := s.update(t, good, newPassword); a.status != 200 {
			t.Errorf("the token itself: %d %s", a.status, a.body)
		}
	})
}

func TestAResetTokenEndsWithItsTimeItsUserAndTheNextPassword(t *testing.T) {
	for _, c := range []struct {
		name    string
		happens func(t *testing.T, s *server, id user.ID)
	}{
		{"its time is over", func(t *testing.T, s *server, _ user.ID) {
			check(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
				_, err := s.db.Conn(ctx).NewRaw("UPDATE latchkey_one_time_token SET expires_at = ?", time.Now().UTC()).Exec(ctx)
				return err
			}))
		}},
		{"the user is deleted", func(t *testing.T, s *server, id user.ID) { check(t, s.users.SoftDeleteUsers(t.Context(), id)) }},
		{"the password was changed by who is signed in", func(t *testing.T, s *server, _ user.ID) {
			a := s.do(t, "POST", "/auth/user/emailpass/update", `{"current_password":"`+password+`","password":"another horse"}`, bearer(s.signIn(t, "ada@example.com")))
			s.token(t, "change", a)
		}},
		{"the app set the password", func(t *testing.T, s *server, _ user.ID) {
			_, err := s.auth.UpdateProvider(t.Context(), "emailpass", auth.Input(credentials("ada@example.com", "another horse")))
			check(t, err)
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			each(t, func(t *testing.T, s *server) {
				id := user.ID(claims(t, s.member(t, "ada@example.com"))["actor_id"].(string))
				token := s.resetToken(t, "ada@example.com", auth.ByMail)
				c.happens(t, s, id)
				if a := s.update(t, token, newPassword); a.status != 401 || a.body != noToken {
					t.Errorf("%d %s", a.status, a.body)
				}
				// Sending the mail once more does not make the link good again, unless it was only late.
				if c.name == "its time is over" {
					return
				}
				if _, err := s.auth.CreatePasswordResetToken(t.Context(), s.told.resets()[0], auth.ByMail); err == nil {
					t.Error("the same request gives a good token")
				}
				if s.fits(t, "ada@example.com", newPassword) {
					t.Error("the password was set")
				}
			})
		})
	}
}

func TestARequestGivesTheSameTokenEachTimeUntilItIsUsed(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.member(t, "ada@example.com")
		first := s.resetToken(t, "ada@example.com", auth.ByMail)
		asked := s.told.resets()[0]
		again, err := s.node(t, settings{}).auth.CreatePasswordResetToken(t.Context(), asked, auth.ByMail)
		if err != nil || again.Token != first || again.Email != "ada@example.com" {
			t.Errorf("sent again: %v, the same: %t", err, again.Token == first)
		}
		if a := s.update(t, first, newPassword); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if _, err := s.auth.CreatePasswordResetToken(t.Context(), asked, auth.ByMail); err == nil {
			t.Error("a request whose token was used gives a good token again")
		}
		if a := s.update(t, first, "another horse"); a.status != 401 {
			t.Errorf("used again: %d %s", a.status, a.body)
		}
	})
}

func TestRequestsForKnownAndUnknownAddressesAreAlike(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.member(t, "ada@example.com")
		known := s.do(t, "POST", "/auth/user/emailpass/reset-password", `{"identifier":"ada@example.com"}`)
		unknown := s.do(t, "POST", "/auth/user/emailpass/reset-password", `{"identifier":"bob@example.com"}`)
		for name := range known.header {
			if name != "X-Request-Id" && name != "Date" && known.header.Get(name) != unknown.header.Get(name) {
				t.Errorf("%s: %q and %q", name, known.header.Get(name), unknown.header.Get(name))
			}
		}
		if known.status != unknown.status || known.body != unknown.body || len(known.header) != len(unknown.header) {
			t.Errorf("known %d %q, unknown %d %q", known.status, known.body, unknown.status, unknown.body)
		}
		asked := s.told.resets()
		if len(asked) != 2 || asked[0].EntityID != "ada@example.com" || asked[1].EntityID != "bob@example.com" {
			t.Fatalf("announced: %v", asked)
		}
		if n := s.count(t, "one_time_token"); n != 0 {
			t.Errorf("the request itself made %d tokens", n)
		}
		if _, err := s.auth.CreatePasswordResetToken(t.Context(), asked[1], auth.ByMail); err == nil || s.count(t, "one_time_token") != 0 {
			t.Errorf("a token for nobody: %v", err)
		}
	})
}

func TestOnlyAResetByMailProvesTheAddress(t *testing.T) {
	for _, by := range []auth.Channel{auth.ByMail, auth.ByHand} {
		t.Run(string(by), func(t *testing.T) {
			each(t, func(t *testing.T, s *server) {
				id := user.ID(claims(t, s.member(t, "ada@example.com"))["actor_id"].(string))
				token := s.resetToken(t, "ada@example.com", by)
				// A mail of the same request does not make a token that was shown a better one.
				if again, err := s.auth.CreatePasswordResetToken(t.Context(), s.told.resets()[0], auth.ByMail); err != nil || again.Token != token {
					t.Fatalf("the same request: %v", err)
				}
				if a := s.update(t, token, newPassword); a.status != 200 {
					t.Fatalf("%d %s", a.status, a.body)
				}
				u, err := s.users.RetrieveUser(t.Context(), id)
				check(t, err)
				found, err := s.auth.ListProviderIdentities(t.Context(), auth.ProviderIdentityFilter{EntityID: "ada@example.com"}, auth.Page{})
				check(t, err)
				if proved := !found[0].EmailVerifiedAt.IsZero(); u.EmailVerified() != (by == auth.ByMail) || proved != (by == auth.ByMail) {
					t.Errorf("the user's address is proved: %t, the sign-in's: %t", u.EmailVerified(), proved)
				}
			})
		})
	}
}

// Whoever registered an address that is not theirs, and put a second way to sign in beside the password, is out when its
// owner comes by a reset (Sudhodanan and Paverd's trojan identifier), and so are roles that nobody granted to the address.
func TestTheOwnerOfTheMailboxTakesTheAccountByAReset(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		id := user.ID(claims(t, s.member(t, "victim@example.com"))["actor_id"].(string))
		check(t, s.users.Grant(t.Context(), id, user.ViaSetup, user.RoleAdmin))
		s.token(t, "the attacker's other way", s.do(t, "POST", "/auth/user/vouching", `{"name":"attacker"}`))
		mine, err := s.auth.ListAuthIdentities(t.Context(), auth.IdentityFilter{EntityID: "victim@example.com"}, auth.Page{})
		check(t, err)
		theirs, err := s.auth.ListAuthIdentities(t.Context(), auth.IdentityFilter{EntityID: "attacker"}, auth.Page{})
		check(t, err)
		check(t, s.auth.Join(t.Context(), theirs[0].ID, mine[0].ID))
		attacker := s.token(t, "sign in the other way", s.do(t, "POST", "/auth/user/vouching", `{"name":"attacker"}`))
		if got := claims(t, attacker)["actor_id"]; got != string(id) {
			t.Fatalf("the stage is not set: %v", got)
		}

		if a := s.update(t, s.resetToken(t, "victim@example.com", auth.ByMail), newPassword); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if a := s.do(t, "GET", "/admin/users/me", "", bearer(attacker)); a.status != 401 {
			t.Errorf("the attacker's token: %d %s", a.status, a.body)
		}
		again := s.do(t, "POST", "/auth/user/vouching", `{"name":"attacker"}`)
		if got := claims(t, s.token(t, "again", again))["actor_id"]; got == string(id) {
			t.Error("the attacker's other way still leads to the victim's user")
		}
		victim := s.do(t, "POST", "/auth/user/emailpass", credentials("victim@example.com", newPassword))
		if got := claims(t, s.token(t, "the victim", victim))["actor_id"]; got != string(id) {
			t.Errorf("the victim signs in as %v, want %s", got, id)
		}
		u, err := s.users.RetrieveUser(t.Context(), id)
		check(t, err)
		if !u.EmailVerified() || u.HasRole(user.RoleAdmin) || !u.HasRole(user.RoleMember) {
			t.Errorf("afterwards the user is %+v", u)
		}
		// The next reset is one of an owner: what they have added since stays.
		s.token(t, "another way", s.do(t, "POST", "/auth/user/vouching", `{"name":"own"}`))
		own, err := s.auth.ListAuthIdentities(t.Context(), auth.IdentityFilter{EntityID: "own"}, auth.Page{})
		check(t, err)
		check(t, s.auth.Join(t.Context(), own[0].ID, mine[0].ID))
		if a := s.update(t, s.resetToken(t, "victim@example.com", auth.ByMail), "another horse"); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		a := s.do(t, "POST", "/auth/user/vouching", `{"name":"own"}`)
		if got := claims(t, s.token(t, "own way", a))["actor_id"]; got != string(id) {
			t.Errorf("what the owner has added leads to %v", got)
		}
	})
}

// The owner of a mailbox whom somebody only claimed to be takes the account also while that is deactivated, which it stays.
func TestTheOwnerOfTheMailboxTakesADeactivatedAccount(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		id := user.ID(claims(t, s.member(t, "victim@example.com"))["actor_id"].(string))
		check(t, s.users.Grant(t.Context(), id, user.ViaSetup, user.RoleAdmin))
		s.admin(t, "admin@example.com")
		check(t, s.users.DeactivateUsers(t.Context(), id))
		if a := s.update(t, s.resetToken(t, "victim@example.com", auth.ByMail), newPassword); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		u, err := s.users.RetrieveUser(t.Context(), id)
		check(t, err)
		if u.Active() || !u.EmailVerified() || u.HasRole(user.RoleAdmin) {
			t.Errorf("afterwards the user is %+v", u)
		}
	})
}

// A role that somebody who may has given stays with the owner of the mailbox, also if it was there before by the set-up link.
func TestARoleThatIsGrantedAnewStaysAtAReset(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		first := claims(t, s.member(t, "first@example.com"))["actor_id"].(string)
		check(t, s.users.Grant(t.Context(), user.ID(first), user.ViaSetup, user.RoleAdmin))
		if a := s.do(t, "POST", "/admin/users/"+first+"/roles", `{"roles":["admin"]}`, bearer(s.admin(t, "root@example.com"))); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		check(t, s.users.Grant(t.Context(), user.ID(first), user.ViaSetup, user.RoleAdmin)) // which makes it no less granted
		if a := s.update(t, s.resetToken(t, "first@example.com", auth.ByMail), newPassword); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if u, err := s.users.RetrieveUser(t.Context(), user.ID(first)); err != nil || !u.HasRole(user.RoleAdmin) {
			t.Errorf("%v; afterwards the user is %+v", err, u)
		}
	})
}

// A provider that vouches for the address of somebody it has signed in before proves it, as at a first sign-in.
func TestAProviderThatVouchesLaterProvesTheAddress(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.do(t, "POST", "/auth/user/vouching", `{"name":"ada","email":"ada@example.com"}`)
		a := s.do(t, "POST", "/auth/user/vouching", `{"name":"ada","email":"ada@example.com","verified":true}`)
		me := s.do(t, "GET", "/admin/users/me?fields=email_verified_at", "", bearer(s.token(t, "again", a)))
		if me.status != 200 || me.get("user", "email_verified_at") == "" {
			t.Errorf("%d %s, want a proved address", me.status, me.body)
		}
	})
}

func TestWhoIsSignedInChangesThePasswordAndGoesOn(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.register(t, "ada@example.com")
		mine, other := s.signIn(t, "ada@example.com"), s.signIn(t, "ada@example.com")
		cookie := "Cookie: latchkey=" + cookieOf(t, s.do(t, "POST", "/auth/session", "", bearer(mine))).Value
		change := func(from, to string, headers ...string) answer {
			return s.do(t, "POST", "/auth/user/emailpass/update", fmt.Sprintf(`{"current_password":"%s","password":"%s"}`, from, to), headers...)
		}
		renewed := s.token(t, "change", change(password, newPassword, bearer(mine)))
		if claims(t, renewed)["sid"] != claims(t, mine)["sid"] {
			t.Error("the new token is of another session")
		}
		for name, c := range map[string]struct {
			credential string
			status     int
		}{"the new token": {bearer(renewed), 200}, "the cookie of the session": {cookie, 401}, "the token before": {bearer(mine), 401}, "another session": {bearer(other), 401}} {
			if a := s.do(t, "GET", "/admin/users/me", "", c.credential); a.status != c.status {
				t.Errorf("%s: %d %s, want %d", name, a.status, a.body, c.status)
			}
		}
		cookie = s.openCookie(t, renewed)
		a := change(newPassword, "another horse", cookie)
		if a.status != 200 || a.body != `{"success":true}` {
			t.Fatalf("by the cookie: %d %s", a.status, a.body)
		}
		if s.alive(t, cookie) || !s.alive(t, newCookie(t, a)) {
			t.Error("the cookie is not replaced")
		}
		cookie = newCookie(t, a)
		if a := change("another horse", newPassword, cookie, "Sec-Fetch-Site: cross-site", "Origin: https://evil.example"); a.status != 403 {
			t.Errorf("from another site: %d %s", a.status, a.body)
		}
		if a := change("another horse", newPassword, bearer(renewed)); a.status != 401 {
			t.Errorf("by the token of before: %d %s", a.status, a.body)
		}
		if !s.fits(t, "ada@example.com", "another horse") {
			t.Error("the password is not the one that was set last")
		}
	})
}

func TestOfManyChangesAtOnceOneSucceeds(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.register(t, "ada@example.com")
		tokens := make([]string, 10)
		for i := range tokens {
			tokens[i] = s.signIn(t, "ada@example.com")
		}
		statuses := make([]int, len(tokens))
		together(len(tokens), func(i int) {
			body := fmt.Sprintf(`{"current_password":"%s","password":"battery staple %d"}`, password, i)
			statuses[i] = s.do(t, "POST", "/auth/user/emailpass/update", body, bearer(tokens[i])).status
		})
		won := 0
		for i, status := range statuses {
			if status != 200 && status != 401 {
				t.Errorf("change %d: %d", i, status)
			}
			if fits := s.fits(t, "ada@example.com", fmt.Sprintf("battery staple %d", i)); fits != (status == 200) {
				t.Errorf("change %d: %d, and the password fits: %t", i, status, fits)
			}
			if status == 200 {
				won++
			}
		}
		if won != 1 {
			t.Errorf("%d changes succeeded", won)
		}
	})
}

func TestAResetThatIsCommittedDuringAChangeWins(t *testing.T) {
	var happens func()
	stand := func(p auth.Provider) auth.Provider { return between{p, &happens} }
	eachWith(t, settings{emailpass: stand}, func(t *testing.T, s *server) {
		s.register(t, "ada@example.com")
		token, reset := s.signIn(t, "ada@example.com"), s.resetToken(t, "ada@example.com", auth.ByMail)
		happened := false
		happens = func() { happened = s.update(t, reset, newPassword).status == 200 }
		a := s.do(t, "POST", "/auth/user/emailpass/update", `{"current_password":"`+password+`","password":"another horse"}`, bearer(token))
		if !happened || a.status != 401 {
			t.Errorf("the reset happened: %t, the change: %d %s", happened, a.status, a.body)
		}
		if !s.fits(t, "ada@example.com", newPassword) {
			t.Error("the password of the reset does not fit")
		}
	})
}

func TestAnAdminIsShownATokenOnlyIfThatIsSwitchedOn(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		id := claims(t, s.member(t, "ada@example.com"))["actor_id"].(string)
		path := "/admin/users/" + id + "/reset-password"
		if a := s.do(t, "POST", path, "", bearer(admin)); a.body != `{"token":""}` || len(s.told.resets()) != 1 {
			t.Errorf("switched off: %s, announced %v", a.body, s.told.resets())
		}
		on := s.node(t, settings{api: httpapi.Options{ResetTokenInResponse: true}})
		token := on.token(t, "switched on", on.do(t, "POST", path, "", bearer(admin)))
		asked := on.told.resets()
		if len(asked) != 1 {
			t.Fatalf("announced: %v", asked)
		}
		if mailed, err := on.auth.CreatePasswordResetToken(t.Context(), asked[0], auth.ByMail); err != nil || mailed.Token != token {
			t.Errorf("the user is mailed another link than the admin was shown: %v", err)
		}
		if a := s.update(t, token, newPassword); a.status != 200 {
			t.Fatalf("%d %s", a.status, a.body)
		}
		if u, err := s.users.RetrieveUser(t.Context(), user.ID(id)); err != nil || u.EmailVerified() {
			t.Errorf("a token that an admin was shown proves the mailbox: %v", err)
		}
	})
}

func TestOfManyTokensShownToAdminsAtOnceTheNewestIsGoodAndTheOthersAreNoReasonToSignOut(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		id := claims(t, s.member(t, "ada@example.com"))["actor_id"].(string)
		on := s.node(t, settings{api: httpapi.Options{ResetTokenInResponse: true}})
		answers := make([]answer, 50)
		together(len(answers), func(i int) { answers[i] = on.do(t, "POST", "/admin/users/"+id+"/reset-password", "", bearer(admin)) })
		good := 0
		for i, a := range answers {
			switch a.status {
			case 200:
				if s.update(t, on.token(t, "shown", a), fmt.Sprintf("battery staple %d", i)).status == 200 {
					good++
				}
			case 409:
			default:
				t.Errorf("%d %s", a.status, a.body)
			}
		}
		if good != 1 {
			t.Errorf("%d tokens are good, want 1", good)
		}
	})
}

func TestResetsLeaveNoSecretsInTheLogOrTheDatabase(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.member(t, "ada@example.com")
		token := s.resetToken(t, "ada@example.com", auth.ByMail)
		s.do(t, "GET", "/nowhere?token="+token, "")
		s.do(t, "POST", "/auth/user/emailpass/update?token="+token, `{"password":"`+newPassword+`"}`)
		jti := claims(t, token)["jti"].(string)
		var kept []string
		check(t, s.db.Conn(t.Context()).NewRaw("SELECT token_hash FROM latchkey_one_time_token").Scan(t.Context(), &kept))
		if len(kept) != 1 || len(kept[0]) != 64 || strings.Contains(kept[0], jti) {
			t.Errorf("kept: %q", kept)
		}
		if sum := sha256.Sum256([]byte(jti)); kept[0] != hex.EncodeToString(sum[:]) {
			t.Errorf("%q is kept, want the SHA-256 of the jti", kept[0])
		}
		if raw, err := base64.RawURLEncoding.DecodeString(jti); err != nil || len(raw) != 32 {
			t.Errorf("the jti has %d bytes, %v", len(raw), err)
		}
		s.update(t, token, newPassword)
		for _, secret := range []string{token, jti, newPassword, "battery"} {
			if strings.Contains(s.log.String(), secret) {
				t.Errorf("the log holds %q", secret)
			}
		}
	})
}
