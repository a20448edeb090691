package httpapi_test

import (
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/event"
	"github.com/latchkey-go/latchkey/modules/user"
)

// told returns the events of one type that were announced, in their order.
func told[E event.Event](s *server) (found []E) {
	s.told.mu.Lock()
	defer s.told.mu.Unlock()
	for _, e := range s.told.events {
		if e, ok := e.(E); ok {
			found = append(found, e)
		}
	}
	return found
}

// askToMove asks for another address.
func (s *server) askToMove(t testing.TB, to string, headers ...string) answer {
	t.Helper()
	return s.do(t, "POST", "/admin/users/me/email", fmt.Sprintf(`{"email":%q,"current_password":%q}`, to, password), headers...)
}

// mailedMove is the token that the mail of the newest request for another address holds.
func (s *server) mailedMove(t testing.TB) string {
	t.Helper()
	asked := told[auth.EmailChangeRequested](s)
	made, err := s.auth.CreateEmailChangeToken(t.Context(), asked[len(asked)-1])
	check(t, err)
	return made.Token
}

// moving asks for another address, and returns the token that is mailed there.
func (s *server) moving(t testing.TB, token, to string) string {
	t.Helper()
	if a := s.askToMove(t, to, bearer(token)); a.status != 200 || a.body != `{"success":true}` {
		t.Fatalf("ask for %s: %d %s", to, a.status, a.body)
	}
	return s.mailedMove(t)
}

func (s *server) move(t testing.TB, token string, headers ...string) answer {
	t.Helper()
	return s.do(t, "POST", "/admin/users/me/email/confirm", fmt.Sprintf(`{"token":%q}`, token), headers...)
}

// wantAddress wants the user to have the address; proved says whether it is theirs.
func (s *server) wantAddress(t testing.TB, id, address string, proved bool) {
	t.Helper()
	u, err := s.users.RetrieveUser(t.Context(), user.ID(id))
	check(t, err)
	if u.Email != address || u.EmailVerified() != proved {
		t.Errorf("the user has the address %s, proved: %t; want %s, %t", u.Email, u.EmailVerified(), address, proved)
	}
}

func actor(t testing.TB, token string) string {
	t.Helper()
	id, _ := claims(t, token)["actor_id"].(string)
	return id
}

const (
	deadMove      = `{"type":"invalid_data","message":"This link was used already, has expired, or is not valid any more. Ask for the change of address again.","reason":"email_change_invalid"}`
	elsewhereMove = `{"type":"forbidden","message":"This link belongs to another account. Sign in as who asked for the change of address, then open it again.","reason":"email_change_elsewhere"}`
)

func TestAUserMovesToAnotherAddressByTheLinkMailedThere(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.register(t, "ada@example.com")
		mine, other := s.signIn(t, "ada@example.com"), s.signIn(t, "ada@example.com")
		id := actor(t, mine)
		cookie := "Cookie: latchkey=" + cookieOf(t, s.do(t, "POST", "/auth/session", "", bearer(mine))).Value
		reset := s.resetToken(t, "ada@example.com", auth.ByMail)

		link := s.moving(t, mine, "Ada@Lovelace.example")
		if got := told[user.EmailChangeRequested](s); len(got) != 1 || got[0] != (user.EmailChangeRequested{ID: user.ID(id), From: "ada@example.com", To: "ada@lovelace.example", Unproved: true}) {
			t.Errorf("announced: %+v", got)
		}
		s.wantAddress(t, id, "ada@example.com", false)
		if a := s.do(t, "GET", "/admin/users/me", "", bearer(other)); a.status != 200 {
			t.Errorf("asking ended another session: %d", a.status)
		}

		a := s.move(t, link, bearer(mine))
		renewed := s.token(t, "confirm", a)
		if a.get("user", "id") != id || a.get("user", "email") != "ada@lovelace.example" || claims(t, renewed)["sid"] != claims(t, mine)["sid"] {
			t.Errorf("confirmed: %s", a.body)
		}
		s.wantAddress(t, id, "ada@lovelace.example", true)
		if got := told[user.EmailChanged](s); len(got) != 1 || got[0] != (user.EmailChanged{ID: user.ID(id), From: "ada@example.com", To: "ada@lovelace.example", Unproved: true}) {
			t.Errorf("announced: %+v", got)
		}
		for name, c := range map[string]struct {
			credential string
			status     int
		}{"the new token": {bearer(renewed), 200}, "the cookie": {cookie, 401}, "the token before": {bearer(mine), 401}, "another session": {bearer(other), 401}} {
			if a := s.do(t, "GET", "/admin/users/me", "", c.credential); a.status != c.status {
				t.Errorf("%s: %d, want %d", name, a.status, c.status)
			}
		}
		if s.fits(t, "ada@example.com", password) {
			t.Error("the old address still signs in")
		}
		if got := actor(t, s.signIn(t, "ada@lovelace.example")); got != id {
			t.Errorf("the new address signs in as %q, want %q", got, id)
		}
		admin := s.admin(t, "admin@example.com")
		for q, want := range map[string]string{"lovelace": "1", "ada@example.com": "0"} {
			if a := s.do(t, "GET", "/admin/users?q="+q, "", bearer(admin)); a.get("count") != want {
				t.Errorf("search for %s: %s, want %s", q, a.body, want)
			}
		}
		if a := s.move(t, link, bearer(renewed)); a.status != 400 || a.body != deadMove {
			t.Errorf("a second time: %d %s", a.status, a.body)
		}

		// What leads to the old address leads nowhere, or to whoever has it next.
		if a := s.update(t, reset, newPassword); a.status != 401 || a.body != noToken {
			t.Errorf("a reset link that went to the old address: %d %s", a.status, a.body)
		}
		stranger := s.member(t, "ada@example.com")
		if got := actor(t, stranger); got == "" || got == id {
			t.Errorf("who registers the old address is %q", got)
		}
		if a := s.update(t, reset, newPassword); a.status != 401 || a.body != noToken {
			t.Errorf("the same, with somebody there: %d %s", a.status, a.body)
		}
		if a := s.update(t, s.resetToken(t, "ada@example.com", auth.ByMail), newPassword); a.status != 200 {
			t.Errorf("the next owner's own reset: %d %s", a.status, a.body)
		}
		if !s.fits(t, "ada@lovelace.example", password) {
			t.Error("the next owner of the old address has set the password of the account")
		}
		cookie = s.openCookie(t, renewed)
		if a := s.move(t, s.moving(t, s.signIn(t, "ada@lovelace.example"), "countess@example.com"), cookie); a.status != 200 || a.get("token") != "" {
			t.Errorf("moving on, confirmed by the cookie: %d %s", a.status, a.body)
		} else if s.alive(t, cookie) || !s.alive(t, newCookie(t, a)) {
			t.Error("the cookie is not replaced")
		}
	})
}

func TestAskingForAnAddressSaysTheSameOfEveryOne(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		token := s.member(t, "ada@example.com")
		s.admin(t, "admin@example.com")
		s.member(t, "unproved@example.com")
		s.register(t, "registered@example.com")
		answers := map[string]answer{}
		addresses := []string{"free@example.com", "admin@example.com", "unproved@example.com", "registered@example.com"}
		for _, to := range addresses {
			answers[to] = s.askToMove(t, to, bearer(token))
			s.mailedMove(t) // so is the mail
		}
		for _, to := range addresses {
			a, free := answers[to], answers["free@example.com"]
			if a.status != 200 || a.body != `{"success":true}` || len(a.header) != len(free.header) {
				t.Errorf("%s: %d %s, %d headers, want %d", to, a.status, a.body, len(a.header), len(free.header))
			}
		}
		for i, e := range told[auth.EmailChangeRequested](s) {
			if e.Email != addresses[i] || e.ID == "" || e.IdentityID == "" || e.At.IsZero() {
				t.Errorf("announced: %+v", e)
			}
		}
		if n := s.count(t, "email_change"); n != 1 {
			t.Errorf("%d changes are pending, want the newest", n)
		}
	})
}

func TestAskingForAnAddressWantsThePasswordOrANewSignIn(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		token := s.member(t, "ada@example.com")
		for name, body := range map[string]string{
			"a wrong password":           `{"email":"new@example.com","current_password":"wrong horse"}`,
			"no password":                `{"email":"new@example.com"}`,
			"an empty one":               `{"email":"new@example.com","current_password":""}`,
			"null":                       `{"email":"new@example.com","current_password":null}`,
			"somebody else's, as a name": `{"email":"other@example.com","current_password":"other horse"}`,
		} {
			if strings.HasPrefix(name, "somebody") {
				s.do(t, "POST", "/auth/user/emailpass/register", credentials("other@example.com", "other horse"))
			}
			status, want := 401, wrong("The current password is not right")
			if name == "no password" || name == "null" {
				status, want = 400, invalid("Field 'current_password' is required")
			}
			a := s.do(t, "POST", "/admin/users/me/email", body, bearer(token))
			if a.status != status || a.body != want {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
		// Who has no password is let in by a provider, and has to have been just now.
		a := s.do(t, "POST", "/auth/user/vouching", `{"name":"grace","email":"grace@example.com","verified":true}`)
		grace := s.token(t, "vouched for", a)
		link := s.moving(t, grace, "hopper@example.com")
		age := func(by time.Duration) {
			check(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
				_, err := s.db.Conn(ctx).NewRaw("UPDATE latchkey_auth_session SET authenticated_at = ?", time.Now().UTC().Add(-by)).Exec(ctx)
				return err
			}))
			time.Sleep(1100 * time.Millisecond) // sessions are kept in mind for a second
		}
		age(6 * time.Minute)
		if a := s.askToMove(t, "other@example.com", bearer(grace)); a.status != 403 || a.get("reason") != "sign_in_again" {
			t.Errorf("long after the sign-in: %d %s", a.status, a.body)
		}
		if n := len(told[auth.EmailChangeRequested](s)); n != 1 {
			t.Errorf("%d requests were announced, want one", n)
		}
		if a := s.move(t, link, bearer(grace)); a.status != 200 { // the mailbox is the proof by then
			t.Errorf("confirming then: %d %s", a.status, a.body)
		}
		again := s.do(t, "POST", "/auth/user/vouching", `{"name":"grace","email":"grace@example.com","verified":true}`)
		if got := actor(t, s.token(t, "again", again)); got != actor(t, grace) {
			t.Errorf("the provider lets in %s, want %s: what it knows people by has not changed", got, actor(t, grace))
		}
		s.wantAddress(t, actor(t, grace), "hopper@example.com", true)
	})
}

// Sudhodanan and Paverd's unexpired e-mail change: the attacker asks for the victim's address and keeps the change
// pending until the victim has become somebody.
func TestAnAttackersPendingChangeNeverBecomesTheVictims(t *testing.T) {
	const attackers, victims = "attacker@example.com", "victim@example.com"
	for name, joins := range map[string]func(t *testing.T, s *server) (token string){
		"by invite": func(t *testing.T, s *server) string {
			id, _ := s.invite(t, s.admin(t, "admin@example.com"), victims)
			token := s.register(t, victims)
			if a := s.accept(t, s.mailed(t, id), `{}`, bearer(token)); a.status != 200 {
				t.Fatalf("accept: %d %s", a.status, a.body)
			}
			return s.token(t, "refresh", s.do(t, "POST", "/auth/token/refresh", "", bearer(token)))
		},
		"by registration": func(t *testing.T, s *server) string { return s.member(t, victims) },
		"by a reset, before being anybody": func(t *testing.T, s *server) string {
			s.register(t, victims)
			if a := s.update(t, s.resetToken(t, victims, auth.ByMail), newPassword); a.status != 200 {
				t.Fatalf("reset: %d %s", a.status, a.body)
			}
			return s.token(t, "sign in", s.do(t, "POST", "/auth/user/emailpass", credentials(victims, newPassword)))
		},
		"by a provider that vouches": func(t *testing.T, s *server) string {
			return s.token(t, "sign in", s.do(t, "POST", "/auth/user/vouching", `{"name":"victim","email":"`+victims+`","verified":true}`))
		},
		"by the command line": func(t *testing.T, s *server) string { return s.admin(t, victims) },
		"made by the app": func(t *testing.T, s *server) string {
			_, err := s.users.CreateUsers(t.Context(), user.Draft{Email: victims})
			check(t, err)
			return ""
		},
		"restored": func(t *testing.T, s *server) string {
			deleted, err := s.users.ListUsers(t.Context(), user.Filter{WithDeleted: true, Emails: []string{victims}}, user.Page{})
			check(t, err)
			check(t, s.users.RestoreUsers(t.Context(), deleted[0].ID))
			return ""
		},
		"by moving there": func(t *testing.T, s *server) string {
			token := s.member(t, "victim-before@example.com")
			return s.token(t, "move", s.move(t, s.moving(t, token, victims), bearer(token)))
		},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, s *server) {
				s.admin(t, "keeper@example.com") // who was there may be the only one
				gone, err := s.users.CreateUsers(t.Context(), user.Draft{Email: victims})
				check(t, err)
				check(t, s.users.SoftDeleteUsers(t.Context(), gone[0].ID))
				attacker := s.member(t, attackers)
				link := s.moving(t, attacker, victims)
				victim := joins(t, s)

				if victim != "" {
					id := actor(t, victim)
					if id == "" || id == actor(t, attacker) {
						t.Fatalf("the victim is %q", id)
					}
					if a := s.move(t, link, bearer(victim)); a.status != 403 || a.body != elsewhereMove {
						t.Errorf("the victim opens the link: %d %s", a.status, a.body)
					}
					s.wantAddress(t, id, victims, name != "by registration")
				}
				if a := s.move(t, link, bearer(attacker)); a.status != 400 || a.body != deadMove {
					t.Errorf("the attacker opens the link: %d %s", a.status, a.body)
				}
				s.wantAddress(t, actor(t, attacker), attackers, false)

				// Nor does it come back when the victim leaves.
				u, err := s.users.FindUser(t.Context(), victims)
				check(t, err)
				check(t, s.users.DeleteUsers(t.Context(), u.ID))
				if a := s.move(t, link, bearer(attacker)); a.status != 400 || a.body != deadMove {
					t.Errorf("the attacker opens the link when the victim has gone: %d %s", a.status, a.body)
				}
				if victim != "" && name != "by moving there" {
					asked := told[auth.EmailChangeRequested](s)
					if _, err := s.auth.CreateEmailChangeToken(t.Context(), asked[0]); err == nil {
						t.Error("a mail that is sent once more makes the link good again")
					}
				}
			})
		})
	}
}

func TestAChangeIsConfirmedByWhoAskedAlone(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		mine := s.member(t, "ada@example.com")
		link := s.moving(t, mine, "new@example.com")
		eve, newcomer := s.member(t, "eve@example.com"), s.register(t, "nina@example.com")
		for name, c := range map[string]struct {
			headers []string
			status  int
			body    string
		}{
			"nobody":                     {nil, 401, unauthorized},
			"the token itself":           {[]string{bearer(link)}, 401, unauthorized},
			"another user":               {[]string{bearer(eve)}, 403, elsewhereMove},
			"somebody who is nobody yet": {[]string{bearer(newcomer)}, 401, unauthorized},
			"another site":               {[]string{"Cookie: latchkey=" + s.openCookie(t, s.signIn(t, "ada@example.com")), "Sec-Fetch-Site: cross-site", "Origin: https://evil.example"}, 403, ""},
		} {
			if a := s.move(t, link, c.headers...); a.status != c.status || c.body != "" && a.body != c.body {
				t.Errorf("%s: %d %s, want %d", name, a.status, a.body, c.status)
			}
		}
		for _, method := range []string{"GET", "HEAD", "PUT"} {
			if a := s.do(t, method, "/admin/users/me/email/confirm?token="+link, "", bearer(mine)); a.status != 405 {
				t.Errorf("%s: %d %s", method, a.status, a.body)
			}
		}
		s.wantAddress(t, actor(t, mine), "ada@example.com", false)
		// Any session of who asked will do: the mail may be read on another device.
		if a := s.move(t, link, bearer(s.signIn(t, "ada@example.com"))); a.status != 200 {
			t.Errorf("from another device: %d %s", a.status, a.body)
		}
	})
}

func TestOfFiftyConfirmationsAtOnceOneSucceeds(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		mine := s.member(t, "ada@example.com")
		credentials := []string{bearer(mine), "Cookie: latchkey=" + s.openCookie(t, s.signIn(t, "ada@example.com"))}
		link := s.moving(t, mine, "new@example.com")
		answers := make([]answer, 50)
		together(len(answers), func(i int) { answers[i] = s.move(t, link, credentials[i%2], "Sec-Fetch-Site: same-origin") })
		won := 0
		for i, a := range answers {
			switch a.status {
			case 200:
				won++
			case 400, 401:
			default:
				t.Errorf("confirmation %d: %d %s", i, a.status, a.body)
			}
		}
		if n := len(told[user.EmailChanged](s)); won != 1 || n != 1 {
			t.Errorf("%d succeeded, %d were announced", won, n)
		}
		s.wantAddress(t, actor(t, mine), "new@example.com", true)
	})
}

func TestOfManyWhoMoveToOneAddressOneGetsIt(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		const n = 8
		tokens, links := make([]string, n), make([]string, n)
		for i := range n {
			tokens[i] = s.member(t, fmt.Sprintf("user%d@example.com", i))
			links[i] = s.moving(t, tokens[i], "wanted@example.com")
		}
		answers := make([]answer, n)
		together(n, func(i int) { answers[i] = s.move(t, links[i], bearer(tokens[i])) })
		won := -1
		for i, a := range answers {
			switch {
			case a.status == 200 && won < 0:
				won = i
			case a.status == 422 && a.get("reason") == "email_taken", a.status == 400 && a.body == deadMove: // it has looked before, after
			default:
				t.Errorf("%d: %d %s", i, a.status, a.body)
			}
		}
		if won < 0 {
			t.Fatal("nobody got it")
		}
		for i := range n {
			if i != won {
				address := fmt.Sprintf("user%d@example.com", i)
				s.wantAddress(t, actor(t, tokens[i]), address, false)
				if a := s.do(t, "GET", "/admin/users/me", "", bearer(tokens[i])); a.status != 200 || !s.fits(t, address, password) {
					t.Errorf("%d has lost their session or password: %d", i, a.status)
				}
			}
		}
		s.wantAddress(t, actor(t, tokens[won]), "wanted@example.com", true)
	})
}

// Whatever else happens to the account of who asked, before or at the same time, is not undone by the change.
func TestAPendingChangeEndsWithWhatTheAccountWasWhenItWasAskedFor(t *testing.T) {
	for name, happens := range map[string]func(t *testing.T, s *server, token string){
		"a reset": func(t *testing.T, s *server, _ string) {
			e, err := s.auth.RequestPasswordReset(t.Context(), auth.ResetRequest{Provider: "emailpass", EntityID: "ada@example.com", ActorType: "user"})
			check(t, err)
			if made, err := s.auth.CreatePasswordResetToken(t.Context(), e, auth.ByMail); err == nil { // or they have moved
				s.update(t, made.Token, newPassword)
			}
		},
		"a new password": func(t *testing.T, s *server, token string) {
			s.do(t, "POST", "/auth/user/emailpass/update", `{"current_password":"`+password+`","password":"`+newPassword+`"}`, bearer(token))
		},
		"a deactivation": func(t *testing.T, s *server, token string) {
			check(t, s.users.DeactivateUsers(t.Context(), user.ID(actor(t, token))))
		},
		"a deletion": func(t *testing.T, s *server, token string) {
			check(t, s.users.SoftDeleteUsers(t.Context(), user.ID(actor(t, token))))
		},
		"the end of all sessions": func(t *testing.T, s *server, token string) {
			identity, _ := claims(t, token)["auth_identity_id"].(string)
			check(t, s.auth.Revoke(t.Context(), auth.IdentityID(identity)))
		},
		"the owner of the mailbox takes it": func(t *testing.T, s *server, _ string) {
			s.do(t, "POST", "/auth/user/vouching", `{"name":"owner","email":"ada@example.com","verified":true}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, s *server) {
				token := s.member(t, "ada@example.com")
				id := actor(t, token)
				link := s.moving(t, token, "new@example.com")
				happens(t, s, token)
				if a := s.move(t, link, bearer(token)); a.status != 401 {
					t.Errorf("by the session of before: %d %s", a.status, a.body)
				}
				if strings.HasPrefix(name, "a deactivation") {
					check(t, s.users.ReactivateUsers(t.Context(), user.ID(id)))
				}
				for _, with := range []string{password, newPassword} { // and by whoever can sign in now
					if a := s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", with)); a.status == 200 {
						if a := s.move(t, link, bearer(a.get("token"))); a.status != 400 || a.body != deadMove {
							t.Errorf("by a session of now: %d %s", a.status, a.body)
						}
					}
				}
				if _, err := s.users.FindUser(t.Context(), "new@example.com"); err == nil || len(told[user.EmailChanged](s)) != 0 {
					t.Errorf("somebody has moved: %v", err)
				}
				if _, err := s.auth.CreateEmailChangeToken(t.Context(), told[auth.EmailChangeRequested](s)[0]); err == nil {
					t.Error("the mail is sent all the same")
				}
			})
		})
		t.Run(name+", at once", func(t *testing.T) {
			each(t, func(t *testing.T, s *server) {
				token := s.member(t, "ada@example.com")
				id := user.ID(actor(t, token))
				link := s.moving(t, token, "new@example.com")
				var a answer
				together(2, func(i int) {
					if i == 0 {
						a = s.move(t, link, bearer(token))
					} else {
						happens(t, s, token)
					}
				})
				if a.status != 200 && a.status != 400 && a.status != 401 {
					t.Errorf("%d %s", a.status, a.body)
				}
				// Whole either way: the address of the user is the one they sign in by.
				users, err := s.users.ListUsers(t.Context(), user.Filter{WithDeleted: true, IDs: []user.ID{id}}, user.Page{})
				check(t, err)
				want := "ada@example.com"
				if a.status == 200 {
					want = "new@example.com"
				}
				if len(users) != 1 || users[0].Email != want {
					t.Errorf("after %d the address is %s", a.status, users[0].Email)
				}
				ways, err := s.auth.ListProviderIdentities(t.Context(), auth.ProviderIdentityFilter{Provider: "emailpass"}, auth.Page{})
				check(t, err)
				if slices.ContainsFunc(ways, func(p auth.ProviderIdentity) bool { return p.EntityID != want }) {
					t.Errorf("after %d the ways to sign in are %+v", a.status, ways)
				}
			})
		})
	}
}

func TestNothingElsePassesForATokenOfAMove(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		mine := s.member(t, "ada@example.com")
		_, invite := s.invite(t, admin, "new@example.com")
		reset := s.resetToken(t, "ada@example.com", auth.ByMail)
		link := s.moving(t, mine, "new@example.com")
		parts := strings.Split(link, ".")
		said, err := base64.RawURLEncoding.DecodeString(parts[1])
		check(t, err)
		encode := func(s string) string { return base64.RawURLEncoding.EncodeToString([]byte(s)) }
		for name, token := range map[string]string{
			"empty": "", "an access token": mine, "an invite": invite, "a reset token": reset,
			"without a signature":     parts[0] + "." + parts[1] + ".",
			"of no algorithm":         encode(`{"alg":"none","typ":"JWT"}`) + "." + parts[1] + ".",
			"for another address":     parts[0] + "." + encode(strings.Replace(string(said), "new@", "eve@", 1)) + "." + parts[2],
			"signed by nobody":        parts[0] + "." + parts[1] + "." + encode(strings.Repeat("x", 32)),
			"with something after it": link + "x",
			"in another spelling":     parts[0] + "." + parts[1] + "\n." + parts[2],
			"very long":               strings.Repeat("x.", 4096),
		} {
			if a := s.move(t, token, bearer(mine)); a.status != 400 || a.body != deadMove {
				t.Errorf("%s: %d %s", name, a.status, a.body)
			}
		}
		// Nor it for anything else.
		for _, do := range []string{"GET /admin/users/me", "POST /auth/token/refresh", "POST /auth/session", "DELETE /auth/session", "POST /admin/users/me/email"} {
			method, path, _ := strings.Cut(do, " ")
			if a := s.do(t, method, path, "", bearer(link)); a.status != 401 {
				t.Errorf("%s with it: %d %s", do, a.status, a.body)
			}
		}
		if a := s.update(t, link, newPassword); a.status != 401 || a.body != noToken {
			t.Errorf("a new password with it: %d %s", a.status, a.body)
		}
		if a := s.accept(t, link, `{}`, bearer(s.register(t, "nina@example.com"))); a.status != 400 || a.get("reason") != "invite_invalid" {
			t.Errorf("accept with it: %d %s", a.status, a.body)
		}
		if a := s.move(t, link, bearer(mine)); a.status != 200 {
			t.Errorf("the token itself: %d %s", a.status, a.body)
		}
	})
}

func TestOfSeveralMovesTheNewestCountsAndNoneForLong(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		mine := s.member(t, "ada@example.com")
		first := s.moving(t, mine, "first@example.com")
		second := s.moving(t, mine, "second@example.com")
		if again := s.mailedMove(t); again != second {
			t.Error("a mail that is sent once more has another link")
		}
		if again, err := s.node(t, settings{}).auth.CreateEmailChangeToken(t.Context(), told[auth.EmailChangeRequested](s)[1]); err != nil || again.Token != second ||
			again.From != "ada@example.com" || again.To != "second@example.com" {
			t.Errorf("on another node: %v %v", again, err)
		}
		if _, err := s.auth.CreateEmailChangeToken(t.Context(), told[auth.EmailChangeRequested](s)[0]); err == nil {
			t.Error("a request that a newer one has followed has a link still")
		}
		if a := s.move(t, first, bearer(mine)); a.status != 400 || a.body != deadMove {
			t.Errorf("the first: %d %s", a.status, a.body)
		}
		check(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := s.db.Conn(ctx).NewRaw("UPDATE latchkey_email_change SET expires_at = ?", time.Now().UTC()).Exec(ctx)
			return err
		}))
		if a := s.move(t, second, bearer(mine)); a.status != 400 || a.body != deadMove {
			t.Errorf("after its time: %d %s", a.status, a.body)
		}
		late := told[auth.EmailChangeRequested](s)[1]
		if made, err := s.auth.CreateEmailChangeToken(t.Context(), late); err != nil || time.Until(made.ExpiresAt) < 14*time.Minute || time.Until(made.ExpiresAt) > 15*time.Minute {
			t.Errorf("a mail that was late: %v %v", made.ExpiresAt, err)
		} else if a := s.move(t, made.Token, bearer(mine)); a.status != 200 {
			t.Errorf("by it: %d %s", a.status, a.body)
		}
		late.At = late.At.Add(-25 * time.Hour)
		if _, err := s.auth.CreateEmailChangeToken(t.Context(), late); err == nil {
			t.Error("a request of yesterday has a link")
		}
	})
}

// Whoever proves the mailbox gets the address from who merely registered it, and from nobody else.
func TestAMoveToAnAddressThatSomebodyHasRegistered(t *testing.T) {
	const wanted = "wanted@example.com"
	for name, c := range map[string]struct {
		before func(t *testing.T, s *server)
		taken  bool
	}{
		"a squatter": {func(t *testing.T, s *server) { s.register(t, wanted) }, false},
		"a squatter with another way": {func(t *testing.T, s *server) {
			s.register(t, wanted)
			found, err := s.auth.ListAuthIdentities(t.Context(), auth.IdentityFilter{EntityID: wanted}, auth.Page{})
			check(t, err)
			_, err = s.auth.CreateProviderIdentities(t.Context(), auth.ProviderIdentityDraft{IdentityID: found[0].ID, Provider: "vouching", EntityID: "squatter"})
			check(t, err)
		}, false},
		"a member who has proved nothing": {func(t *testing.T, s *server) { s.member(t, wanted) }, true},
		"somebody who has proved it":      {func(t *testing.T, s *server) { s.admin(t, wanted) }, true},
		"a user whose password is of that address": {func(t *testing.T, s *server) {
			_, err := s.link.CreateUser(t.Context(), "emailpass", auth.Input(credentials(wanted, password)), user.Draft{Email: "other@example.com"})
			check(t, err)
		}, true},
		"somebody who has proved it and is no user": {func(t *testing.T, s *server) {
			s.register(t, wanted)
			s.update(t, s.resetToken(t, wanted, auth.ByMail), password)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, s *server) {
				mine := s.member(t, "ada@example.com")
				c.before(t, s)
				squatters := s.do(t, "POST", "/auth/user/emailpass/register", credentials(wanted, password)).get("token") // of who is nobody yet
				link := s.moving(t, mine, wanted)
				a := s.move(t, link, bearer(mine))
				if !c.taken {
					if s.token(t, "move", a); actor(t, s.signIn(t, wanted)) != actor(t, mine) {
						t.Error("the address signs in somebody else")
					}
					s.wantAddress(t, actor(t, mine), wanted, true)
					if a := s.do(t, "POST", "/auth/token/refresh", "", bearer(squatters)); a.status != 401 {
						t.Errorf("the squatter goes on: %d %s", a.status, a.body)
					}
					if n := s.count(t, "link"); n != 1 {
						t.Errorf("%d links, want one", n)
					}
					if name == "a squatter with another way" {
						if a := s.do(t, "POST", "/auth/user/vouching", `{"name":"squatter","email":"s@example.com"}`); actor(t, s.token(t, "another way", a)) == actor(t, mine) {
							t.Error("the squatter's other way leads to who has moved")
						}
					}
					return
				}
				if a.status != 422 || a.get("reason") != "email_taken" || !strings.Contains(a.body, "ask an administrator") {
					t.Fatalf("%d %s, want it taken", a.status, a.body)
				}
				s.wantAddress(t, actor(t, mine), "ada@example.com", false)
				if !s.fits(t, "ada@example.com", password) || name != "somebody who has proved it and is no user" && !s.fits(t, wanted, password) { // a sign-in would make them one
					t.Error("somebody's password does not fit any more")
				}
				if a := s.do(t, "GET", "/admin/users/me", "", bearer(mine)); a.status != 200 {
					t.Errorf("the session: %d %s", a.status, a.body)
				}
				// The link is as good as before: it can be used when there is nobody any more.
				found, err := s.auth.ListAuthIdentities(t.Context(), auth.IdentityFilter{EntityID: wanted}, auth.Page{})
				check(t, err)
				check(t, s.auth.DeleteAuthIdentities(t.Context(), found[0].ID))
				s.admin(t, "keeper@example.com") // who was there may be the only one
				if u, err := s.users.FindUser(t.Context(), wanted); err == nil {
					check(t, s.users.DeleteUsers(t.Context(), u.ID))
				}
				if a := s.move(t, link, bearer(mine)); a.status != 200 {
					t.Errorf("afterwards: %d %s", a.status, a.body)
				}
			})
		})
	}
}

func TestASquatterWhoRegistersDuringAMoveDoesNotKeepTheAddress(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		for n := range 5 {
			wanted := fmt.Sprintf("wanted%d@example.com", n)
			mine := s.member(t, fmt.Sprintf("ada%d@example.com", n))
			link := s.moving(t, mine, wanted)
			var a answer
			together(4, func(i int) {
				switch i {
				case 0:
					a = s.move(t, link, bearer(mine))
				case 1:
					s.do(t, "POST", "/auth/user/emailpass", credentials(wanted, "another horse"))
				default:
					s.do(t, "POST", "/auth/user/emailpass/register", credentials(wanted, "another horse"))
				}
			})
			switch a.status {
			case 200:
				if s.fits(t, wanted, "another horse") || actor(t, s.signIn(t, wanted)) != actor(t, mine) {
					t.Error("the address signs in the squatter")
				}
			case 400, 422: // the squatter became a user in time
				s.wantAddress(t, actor(t, mine), fmt.Sprintf("ada%d@example.com", n), false)
			default:
				t.Errorf("%d %s", a.status, a.body)
			}
		}
	})
}

func TestOnlyTheOwnerOfAnAddressTakesAwayTheRolesThatWereGrantedToIt(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		_, byHand := s.invite(t, admin, "grace@example.com") // with the role admin
		grace := s.member(t, "grace@example.com")
		if a := s.accept(t, byHand, `{}`, bearer(grace)); a.status != 200 {
			t.Fatalf("accept: %d %s", a.status, a.body)
		}
		if a := s.askToMove(t, "elsewhere@example.com", bearer(grace)); a.status != 400 || a.get("reason") != "email_unproved" {
			t.Errorf("unproved: %d %s", a.status, a.body)
		}
		if a := s.update(t, s.resetToken(t, "grace@example.com", auth.ByMail), password); a.status != 200 {
			t.Fatalf("prove it: %d %s", a.status, a.body)
		}
		grace = s.signIn(t, "grace@example.com")
		moved := s.token(t, "proved", s.move(t, s.moving(t, grace, "elsewhere@example.com"), bearer(grace)))
		if me := s.me(t, bearer(moved)); me.get("user", "roles") != "[admin member]" {
			t.Errorf("afterwards: %s", me.body)
		}

		// Roles that come while the change is pending count as well.
		ada := s.member(t, "ada@example.com")
		link := s.moving(t, ada, "lovelace@example.com")
		check(t, s.users.AddRoles(t.Context(), user.ID(actor(t, ada)), "editor"))
		if a := s.move(t, link, bearer(ada)); a.status != 400 || a.get("reason") != "email_unproved" {
			t.Errorf("granted meanwhile: %d %s", a.status, a.body)
		}
		s.wantAddress(t, actor(t, ada), "ada@example.com", false)
	})
}

func TestAnInviteToTheOldAddressIsNotOfWhoHasMoved(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		mine := s.member(t, "ada@example.com")
		id, _ := s.invite(t, admin, "ada@example.com")
		invite := s.mailed(t, id)
		mine = s.token(t, "move", s.move(t, s.moving(t, mine, "new@example.com"), bearer(mine)))
		if a := s.accept(t, invite, `{}`, bearer(mine)); a.status != 400 || a.get("reason") != "already_signed_in" {
			t.Errorf("who has moved accepts: %d %s", a.status, a.body)
		}
		next := s.register(t, "ada@example.com")
		if a := s.accept(t, invite, `{}`, bearer(next)); a.status != 200 || a.get("user", "id") == actor(t, mine) {
			t.Errorf("the next owner accepts: %d %s", a.status, a.body)
		}
		s.wantAddress(t, actor(t, mine), "new@example.com", true)
	})
}

func TestAUserWithoutAnAddressGetsOne(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		identity, err := s.auth.Authenticate(t.Context(), "vouching", auth.Input(`{"name":"ada"}`))
		check(t, err)
		made, err := s.users.CreateUsers(t.Context(), user.Draft{Roles: []string{"editor"}})
		check(t, err)
		check(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := s.db.Conn(ctx).NewRaw("INSERT INTO latchkey_link (auth_identity_id, actor_type, actor_id, created_at) VALUES (?, 'user', ?, ?)",
				identity.ID, made[0].ID, time.Now().UTC()).Exec(ctx)
			return err
		}))
		token := s.token(t, "sign in", s.do(t, "POST", "/auth/user/vouching", `{"name":"ada"}`))
		if a := s.move(t, s.moving(t, token, "ada@example.com"), bearer(token)); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
		s.wantAddress(t, string(made[0].ID), "ada@example.com", true)
	})
}

func TestMovesLeaveNoSecretsInTheLogOrTheDatabase(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		mine := s.member(t, "ada@example.com")
		link := s.moving(t, mine, "new@example.com")
		s.do(t, "GET", "/nowhere?token="+link, "")
		s.do(t, "GET", "/admin/users/me/email/confirm?token="+link, "", bearer(mine))
		jti := claims(t, link)["jti"].(string)
		var kept []string
		check(t, s.db.Conn(t.Context()).NewRaw("SELECT token_hash FROM latchkey_email_change").Scan(t.Context(), &kept))
		if len(kept) != 1 || len(kept[0]) != 64 || strings.Contains(kept[0], jti) {
			t.Errorf("kept: %q", kept)
		}
		if raw, err := base64.RawURLEncoding.DecodeString(jti); err != nil || len(raw) != 32 {
			t.Errorf("the jti has %d bytes, %v", len(raw), err)
		}
		made, err := s.auth.CreateEmailChangeToken(t.Context(), told[auth.EmailChangeRequested](s)[0])
		check(t, err)
		if shown := fmt.Sprintf("%v %+v %#v %v", made, made, made, made.LogValue()); strings.Contains(shown, jti) || strings.Contains(shown, "eyJ") {
			t.Errorf("the token shows: %s", shown)
		}
		if a := s.move(t, link, bearer(mine)); a.status != 200 || s.count(t, "email_change") != 0 {
			t.Errorf("%d %s, %d rows are left", a.status, a.body, s.count(t, "email_change"))
		}
		for _, secret := range []string{link, jti, password, "correct"} {
			if strings.Contains(s.log.String(), secret) {
				t.Errorf("the log holds %q", secret)
			}
		}
	})
}
