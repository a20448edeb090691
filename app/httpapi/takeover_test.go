package httpapi_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/user"
)

// invite makes an invite over HTTP and returns its id and the token that an admin sees and may copy.
func (s *server) invite(t *testing.T, admin, email string) (id user.InviteID, byHand string) {
	t.Helper()
	a := s.do(t, "POST", "/admin/invites", fmt.Sprintf(`{"email":%q}`, email), bearer(admin))
	if a.status != 200 {
		t.Fatalf("invite %s: %d %s", email, a.status, a.body)
	}
	return user.InviteID(a.get("invite", "id")), a.get("invite", "token")
}

// mailed is the token that leaves by mail.
func (s *server) mailed(t *testing.T, id user.InviteID) string {
	t.Helper()
	i, err := s.users.RetrieveInvite(t.Context(), id)
	check(t, err)
	return s.users.InviteToken(i, user.ByMail)
}

func (s *server) accept(t *testing.T, invite, body string, headers ...string) answer {
	t.Helper()
	return s.do(t, "POST", "/admin/invites/accept?token="+invite, body, headers...)
}

// me is the user behind a credential with what is hidden by default.
func (s *server) me(t *testing.T, credential string) answer {
	t.Helper()
	a := s.do(t, "GET", "/admin/users/me?fields=%2Broles,%2Bemail_verified_at", "", credential)
	if a.status != 200 {
		t.Fatalf("me: %d %s", a.status, a.body)
	}
	return a
}

func TestASquatterNeitherBlocksAnInviteNorGainsFromIt(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		for _, signsIn := range []bool{true, false} {
			t.Run(fmt.Sprintf("signed in before=%t", signsIn), func(t *testing.T) {
				email := fmt.Sprintf("victim-%t@example.com", signsIn)
				registration := s.register(t, email)
				if signsIn {
					s.signIn(t, email)
				}
				id, _ := s.invite(t, admin, email)
				squatter := s.signIn(t, email)
				if me := s.me(t, bearer(squatter)); me.get("user", "roles") != "[member]" || me.get("user", "email_verified_at") != "" {
					t.Errorf("the squatter is %s", me.body)
				}
				if list := s.do(t, "GET", "/admin/users", "", bearer(squatter)); list.status != 403 {
					t.Errorf("the squatter lists users: %d", list.status)
				}
				s.wantDead(t, "registration token from before the link", bearer(registration))
				if open := s.do(t, "GET", "/admin/invites/"+string(id), "", bearer(admin)); open.get("invite", "accepted") != "false" {
					t.Errorf("the invite: %d %s, want it open", open.status, open.body)
				}
				if a := s.do(t, "POST", "/auth/user/emailpass/register", credentials(email, password)); a.status != 401 {
					t.Errorf("the squatter registers again: %d", a.status)
				}
			})
		}
	})
}

// The classic of Medusa: a token of before is kept until the victim has become somebody, and then refreshed.
func TestATokenKeptFromRegistrationNeverBecomesTheVictims(t *testing.T) {
	for name, becomes := range map[string]func(t *testing.T, s *server, email string){
		"a password reset": func(t *testing.T, s *server, email string) {
			_, err := s.auth.UpdateProvider(t.Context(), "emailpass", auth.Input(credentials(email, "the victim's own")))
			check(t, err)
		},
		"a reset, then an accept": func(t *testing.T, s *server, email string) {
			_, err := s.auth.UpdateProvider(t.Context(), "emailpass", auth.Input(credentials(email, "the victim's own")))
			check(t, err)
			_, invite := s.invite(t, s.admin(t, "admin@example.com"), email)
			victim := s.token(t, "sign in", s.do(t, "POST", "/auth/user/emailpass", credentials(email, "the victim's own")))
			if a := s.accept(t, invite, `{}`, bearer(victim)); a.status != 200 {
				t.Fatalf("accept: %d %s", a.status, a.body)
			}
		},
		"an accept elsewhere": func(t *testing.T, s *server, email string) {
			_, invite := s.invite(t, s.admin(t, "admin@example.com"), email)
			if a := s.accept(t, invite, `{}`, bearer(s.register(t, email))); a.status != 200 {
				t.Fatalf("accept: %d %s", a.status, a.body)
			}
		},
		"a first sign-in elsewhere": func(t *testing.T, s *server, email string) { s.signIn(t, email) },
		"the identity's deletion": func(t *testing.T, s *server, email string) {
			found, err := s.auth.ListAuthIdentities(t.Context(), auth.IdentityFilter{EntityID: email}, auth.Page{})
			check(t, err)
			check(t, s.auth.DeleteAuthIdentities(t.Context(), found[0].ID))
		},
		"the user's deletion": func(t *testing.T, s *server, email string) {
			admin := s.admin(t, "admin@example.com")
			member := s.signIn(t, email)
			if a := s.do(t, "DELETE", "/admin/users/"+claims(t, member)["actor_id"].(string), "", bearer(admin)); a.status != 200 {
				t.Fatalf("delete: %d %s", a.status, a.body)
			}
			s.member(t, email) // somebody new by that address
		},
		"an admin by command line": func(t *testing.T, s *server, email string) { s.adminWith(t, email, "the operator's") },
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, s *server) {
				kept := s.register(t, "victim@example.com")
				cookie := s.openCookie(t, s.register(t, "victim@example.com"))
				chained := s.token(t, "refresh", s.do(t, "POST", "/auth/token/refresh", "", bearer(kept)))
				becomes(t, s, "victim@example.com")
				s.wantDead(t, "after "+name, bearer(kept), cookie, bearer(chained))
			})
		})
	}
}

// adminWith makes an admin as the command line does, over whatever identity there is.
func (s *server) adminWith(t testing.TB, email, password string) {
	t.Helper()
	_, err := s.link.CreateUser(t.Context(), "emailpass", auth.Input(credentials(email, password)),
		user.Draft{Email: email, Roles: []string{user.RoleAdmin}, Via: user.ViaCLI})
	check(t, err)
}

// The session that accepts stays; one more reason why deletion must end it.
func TestATokenThatAcceptedIsDeadWithItsUser(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		_, invite := s.invite(t, admin, "nina@example.com")
		registration := s.register(t, "nina@example.com")
		cookie := s.openCookie(t, registration)
		a := s.accept(t, invite, `{}`, bearer(registration))
		if a.status != 200 || !s.alive(t, bearer(registration)) || !s.alive(t, cookie) {
			t.Fatalf("accept: %d %s, want the session to stay", a.status, a.body)
		}
		if a := s.do(t, "DELETE", "/admin/users/"+a.get("user", "id"), "", bearer(admin)); a.status != 200 {
			t.Fatalf("delete: %d %s", a.status, a.body)
		}
		s.wantDead(t, "after deletion", bearer(registration), cookie)
	})
}

func TestOnlyTheInviteThatWasMailedProvesTheAddress(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		for name, c := range map[string]struct {
			signedIn, mailed, proves bool
		}{
			"copied":                  {false, false, false},
			"mailed":                  {false, true, true},
			"copied-to-who-signed-in": {true, false, false},
			"mailed-to-who-signed-in": {true, true, true},
		} {
			t.Run(name, func(t *testing.T) {
				email := name + "@example.com"
				id, token := s.invite(t, admin, email)
				if c.mailed {
					token = s.mailed(t, id)
				}
				person := s.register(t, email)
				if c.signedIn {
					person = s.signIn(t, email)
				}
				if a := s.accept(t, token, `{}`, bearer(person)); a.status != 200 || a.get("user", "email") != email {
					t.Fatalf("accept: %d %s", a.status, a.body)
				}
				me := s.me(t, bearer(s.signIn(t, email)))
				if proved := me.get("user", "email_verified_at") != ""; proved != c.proves || !strings.Contains(me.get("user", "roles"), "admin") {
					t.Errorf("afterwards: %s, want proved=%t", me.body, c.proves)
				}
				// Who has proved the address is there for good; who has not can still be invited.
				again := s.do(t, "POST", "/admin/invites", fmt.Sprintf(`{"email":%q}`, email), bearer(admin))
				if blocked := again.get("reason") == "user_exists"; blocked != c.proves {
					t.Errorf("invite again: %d %s", again.status, again.body)
				}
			})
		}
	})
}

func TestTheMailedInviteTakesASquattedUserBack(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		squatter := s.member(t, "victim@example.com")
		squatted := claims(t, squatter)["actor_id"].(string)
		cookie := s.openCookie(t, squatter)
		second := s.signIn(t, "victim@example.com")
		id, copied := s.invite(t, admin, "victim@example.com")
		mailed := s.mailed(t, id)
		victim := s.register(t, "private@example.com") // theirs is taken
		victimCookie := s.openCookie(t, victim)

		a := s.accept(t, copied, `{}`, bearer(victim))
		want := problem("invalid_data", "There is an account with this address. Sign in to it and open the invite again. If it is not yours, ask whoever invited you to delete it.", "email_taken")
		if a.status != 400 || a.body != want {
			t.Errorf("by the copied link: %d %s, want 400 %s", a.status, a.body, want)
		}
		if open := s.do(t, "GET", "/admin/invites/"+string(id), "", bearer(admin)); open.get("invite", "accepted") != "false" || open.get("invite", "token") != copied {
			t.Errorf("the invite: %s, want it open as it was", open.body)
		}
		if !s.alive(t, bearer(squatter)) || !s.alive(t, bearer(victim)) || s.me(t, bearer(squatter)).get("user", "roles") != "[member]" {
			t.Error("the attempt has changed something")
		}
		if a := s.accept(t, mailed, `{"email":"private@example.com"}`, bearer(victim)); a.status != 400 || a.get("reason") != "invite_email" {
			t.Errorf("with another address: %d %s", a.status, a.body)
		}

		a = s.accept(t, mailed, `{"email":"victim@example.com"}`, bearer(victim))
		if a.status != 200 || a.get("user", "id") != squatted || a.get("user", "email") != "victim@example.com" {
			t.Fatalf("by the mailed link: %d %s, want user %s", a.status, a.body, squatted)
		}
		s.wantDead(t, "the squatter's", bearer(squatter), cookie, bearer(second))
		if a := s.do(t, "POST", "/auth/user/emailpass", credentials("victim@example.com", password)); a.status != 401 || a.body != wrong("Invalid email or password") {
			t.Errorf("the squatter's password: %d %s", a.status, a.body)
		}
		fresh := s.token(t, "refresh", s.do(t, "POST", "/auth/token/refresh", "", bearer(victim)))
		for _, credential := range []string{bearer(fresh), victimCookie, bearer(s.signIn(t, "private@example.com"))} {
			me := s.me(t, credential)
			if me.get("user", "id") != squatted || me.get("user", "email_verified_at") == "" || !strings.Contains(me.get("user", "roles"), "admin") {
				t.Errorf("the owner is %s", me.body)
			}
		}
		// The squatter can register the address again, and is nobody by it.
		s.register(t, "victim@example.com")
		back := s.do(t, "POST", "/auth/user/emailpass", credentials("victim@example.com", password))
		if back.status != 200 || claims(t, back.get("token"))["actor_id"] != "" || back.get("link", "reason") != "verify_email" {
			t.Errorf("the squatter, back again: %d %s", back.status, back.body)
		}
		for _, token := range []string{copied, mailed} {
			if a := s.accept(t, token, `{}`, bearer(back.get("token"))); a.status != 400 || a.get("reason") != "invite_used" {
				t.Errorf("the invite again: %d %s", a.status, a.body)
			}
		}
		if n := s.count(t, "user"); n != 2 {
			t.Errorf("%d users, want the admin and the one", n)
		}
	})
}

// A user who has proved the address is taken over by nobody.
func TestNobodyTakesOverAProvedUser(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		id, _ := s.invite(t, admin, "ada@example.com") // before she proves the address some other way
		mailed := s.mailed(t, id)
		s.adminWith(t, "ada@example.com", "her own password")
		ada := s.token(t, "sign in", s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", "her own password")))
		eve := s.register(t, "eve@example.com")
		if a := s.accept(t, mailed, `{}`, bearer(eve)); a.status != 400 || a.get("reason") != "email_taken" {
			t.Errorf("accept: %d %s, want 400 email_taken", a.status, a.body)
		}
		if !s.alive(t, bearer(ada)) {
			t.Error("her session has ended")
		}
		if a := s.accept(t, mailed, `{}`, bearer(ada)); a.status != 200 {
			t.Errorf("she herself accepts: %d %s", a.status, a.body)
		}
	})
}

// With invite.require_same_email the owner of an address never finds themselves in the account of somebody who registered it
// and accepted an invite of their own by it.
func TestAnInviteIsForTheInvitedAddressAloneIfThatIsWanted(t *testing.T) {
	eachWith(t, settings{sameEmail: true}, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		id, copied := s.invite(t, admin, "eve@example.org")
		squatter := s.register(t, "victim@example.com")
		for _, token := range []string{copied, s.mailed(t, id)} {
			a := s.accept(t, token, `{"email":"eve@example.org"}`, bearer(squatter))
			if a.status != 400 || a.get("reason") != "invite_email" || !strings.Contains(a.get("message"), "Register with the address that was invited") {
				t.Errorf("with another's address: %d %s", a.status, a.body)
			}
		}
		if n := s.count(t, "user"); n != 1 {
			t.Errorf("%d users, want the admin", n)
		}
		if a := s.accept(t, copied, `{}`, bearer(s.register(t, "Eve@Example.org"))); a.status != 200 || a.get("user", "email") != "eve@example.org" {
			t.Errorf("with the invited address: %d %s", a.status, a.body)
		}
	})
}

func TestTheBodyDoesNotSayWhoIsInvited(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		id, copied := s.invite(t, admin, "nina@example.com")
		eve := s.register(t, "eve@example.com")
		for _, token := range []string{copied, s.mailed(t, id)} {
			for _, body := range []string{`{"email":"eve@example.com"}`, `{"email":"admin@example.com"}`, `{"email":"nina@example.com.eve.example"}`, `{"email":"nina@example.com\n"}`, `{"Email":"eve@example.com"}`} {
				if a := s.accept(t, token, body, bearer(eve)); a.status != 400 {
					t.Errorf("accept with %s: %d %s, want 400", body, a.status, a.body)
				}
			}
		}
		if n := s.count(t, "user"); n != 1 {
			t.Errorf("%d users, want the admin", n)
		}
		if a := s.accept(t, copied, `{"email":"NINA@example.com"}`, bearer(eve)); a.status != 200 || a.get("user", "email") != "nina@example.com" {
			t.Errorf("accept with the invited address: %d %s", a.status, a.body)
		}
	})
}

// Every purpose has a key of its own, so no token passes for another.
func TestNoOtherTokenPassesForAnAccessToken(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		id, byHand := s.invite(t, admin, "nina@example.com")
		bad := map[string]string{"invite": byHand, "mailed invite": s.mailed(t, id), "empty": "", "dots": "..", "long": strings.Repeat("x", 20_000)}

		ring, err := keyring.New(bytes.Repeat([]byte("k"), 32))
		check(t, err)
		parts := strings.Split(admin, ".")
		payload, err := decodeSegment(parts[1])
		check(t, err)
		header, _, err := jwt.NewParser().ParseUnverified(admin, jwt.MapClaims{})
		check(t, err)
		forge := func(method jwt.SigningMethod, key any, kid any, change map[string]any) string {
			c := jwt.MapClaims{}
			check(t, json.Unmarshal(payload, &c))
			for k, v := range change {
				if c[k] = v; v == nil {
					delete(c, k)
				}
			}
			token := jwt.NewWithClaims(method, c)
			token.Header["kid"] = kid
			signed, err := token.SignedString(key)
			check(t, err)
			return signed
		}
		kid := header.Header["kid"]
		for purpose, keys := range map[string][]keyring.Key{"invite": ring.Keys(keyring.Invite), "access": ring.Keys(keyring.AccessToken), "pepper": ring.Keys(keyring.Pepper)} {
			for _, name := range []any{kid, keys[0].ID} {
				bad[fmt.Sprintf("HS256 by the %s key as %v", purpose, name)] = forge(jwt.SigningMethodHS256, keys[0].Bytes, name, nil)
			}
		}
		bad["HS256 by the public key"] = forge(jwt.SigningMethodHS256, []byte(s.publicKey(t)), kid, nil)
		bad["none"] = forge(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, kid, nil)
		bad["no signature"] = parts[0] + "." + parts[1] + "."
		bad["another payload"] = parts[0] + "." + strings.Split(s.member(t, "ada@example.com"), ".")[1] + "." + parts[2]
		bad["a blank at the end"] = admin + " x"

		own := signingKey(ring)
		if !s.alive(t, bearer(forge(jwt.SigningMethodEdDSA, own, kid, nil))) {
			t.Fatal("this test forges badly")
		}
		for what, change := range map[string]map[string]any{
			"of use reset": {"use": "reset"}, "of use invite": {"use": "invite"}, "of no use": {"use": nil}, "without session": {"sid": nil}, "of another session": {"sid": "authsess_01J00000000000000000000000"},
			"of another issuer": {"iss": "somebody"}, "for others": {"aud": "somebody"}, "expired": {"exp": time.Now().Add(-time.Minute).Unix()}, "that never expires": {"exp": nil},
			"of an older ver": {"ver": 1}, "of a newer ver": {"ver": 99}, "of another identity": {"auth_identity_id": "authid_01J00000000000000000000000"},
		} {
			bad[what] = forge(jwt.SigningMethodEdDSA, own, kid, change)
		}
		for what, token := range bad {
			s.wantDead(t, what, bearer(token))
		}
		if !s.alive(t, bearer(admin)) {
			t.Error("the real one is dead")
		}
	})
}

// between stands in the place of a password provider and lets something happen after it has proved a caller and before
// anything is recorded.
type between struct {
	auth.Provider
	happens *func()
}

func (b between) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	return b.then(b.Provider.(auth.Authenticator).Authenticate(ctx, a))
}

func (b between) Register(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	return b.then(b.Provider.(auth.Registrar).Register(ctx, a))
}

func (b between) Update(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	return b.then(b.Provider.(auth.Updater).Update(ctx, a))
}

func (b between) then(found auth.Assertion, err error) (auth.Assertion, error) {
	if f := *b.happens; f != nil && err == nil {
		*b.happens = nil
		f()
	}
	return found, err
}

// Whoever keeps a request open, with its body on its way, does not keep what they could do when they began it.
func TestAuthorityLostWhileTheBodyIsOnItsWayIsLost(t *testing.T) {
	for name, lost := range map[string]struct{ method, path string }{
		"deleted": {"DELETE", ""}, "deactivated": {"POST", "/deactivate"}, "demoted": {"DELETE", "/roles/admin"},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, s *server) {
				root, bad := s.admin(t, "root@example.com"), s.admin(t, "bad@example.com")
				accomplice := claims(t, s.member(t, "accomplice@example.com"))["actor_id"].(string)
				wants := 401
				if name == "demoted" {
					wants = 403
				}
				begun := map[string]func() int{}
				for path, body := range map[string]string{
					"/admin/users/" + accomplice + "/roles": `{"roles":["admin"]}`,
					"/admin/users/" + accomplice:            `{"first_name":"Eve"}`,
					"/admin/invites":                        `{"email":"new@example.com","roles":["admin"]}`,
					"/admin/invites/batch":                  `{"emails":["new@example.com"],"roles":["admin"]}`,
				} {
					begun[body] = s.begin(t, path, body, bad)
				}
				if a := s.do(t, lost.method, "/admin/users/"+claims(t, bad)["actor_id"].(string)+lost.path, "", bearer(root)); a.status != 200 {
					t.Fatalf("%d %s", a.status, a.body)
				}
				for body, finish := range begun {
					if status := finish(); status != wants {
						t.Errorf("%s: %d, want %d", body, status, wants)
					}
				}
				u, err := s.users.RetrieveUser(t.Context(), user.ID(accomplice))
				check(t, err)
				_, invites, err := s.users.ListAndCountInvites(t.Context(), user.InviteFilter{}, user.Page{})
				check(t, err)
				if u.HasRole(user.RoleAdmin) || u.FirstName != nil || invites != 0 {
					t.Errorf("afterwards there are %d invites, and the accomplice is %+v", invites, u)
				}
			})
		})
	}
}

// begin sends a request but for its body and waits until that is asked for: the guard has let it pass then. What it returns
// sends the body and reads the status.
func (s *server) begin(t *testing.T, path, body, token string) (finish func() int) {
	t.Helper()
	var dialer net.Dialer
	conn, err := dialer.DialContext(t.Context(), "tcp", strings.TrimPrefix(s.URL, "http://"))
	check(t, err)
	t.Cleanup(func() { conn.Close() })
	_, err = fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n",
		path, token, len(body))
	check(t, err)
	answers := bufio.NewReader(conn)
	status := func() int {
		rsp, err := http.ReadResponse(answers, nil)
		check(t, err)
		rsp.Body.Close()
		return rsp.StatusCode
	}
	if got := status(); got != http.StatusContinue {
		t.Fatalf("POST %s: %d before the body was sent", path, got)
	}
	return func() int {
		_, err := fmt.Fprint(conn, body)
		check(t, err)
		return status()
	}
}

func TestWhatIsCommittedBetweenProvingAndRecordingWins(t *testing.T) {
	reset := func(t *testing.T, s *server, _ string) {
		_, err := s.auth.UpdateProvider(t.Context(), "emailpass", auth.Input(credentials("ada@example.com", "another horse")))
		check(t, err)
	}
	deletion := func(t *testing.T, s *server, actor string) {
		if actor == "" {
			found, err := s.auth.ListAuthIdentities(t.Context(), auth.IdentityFilter{EntityID: "ada@example.com"}, auth.Page{})
			check(t, err)
			check(t, s.auth.DeleteAuthIdentities(t.Context(), found[0].ID))
			return
		}
		check(t, s.users.SoftDeleteUsers(t.Context(), user.ID(actor)))
	}
	deactivation := func(t *testing.T, s *server, actor string) {
		check(t, s.users.DeactivateUsers(t.Context(), user.ID(actor)))
	}
	for _, c := range []struct {
		name    string
		linked  bool
		path    string
		happens func(t *testing.T, s *server, actor string)
		anew    bool // who registers comes as if a moment later: as somebody who was never here
	}{
		{"a reset and a first sign-in", false, "/auth/user/emailpass", reset, false},
		{"a reset and a sign-in", true, "/auth/user/emailpass", reset, false},
		{"a reset and a registration again", false, "/auth/user/emailpass/register", reset, false},
		{"a deletion and a first sign-in", false, "/auth/user/emailpass", deletion, false},
		{"a deletion and a sign-in", true, "/auth/user/emailpass", deletion, false},
		{"a deletion and a registration again", false, "/auth/user/emailpass/register", deletion, true},
		{"a deactivation and a sign-in", true, "/auth/user/emailpass", deactivation, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			var happens func()
			stand := func(p auth.Provider) auth.Provider { return between{p, &happens} }
			eachWith(t, settings{emailpass: stand}, func(t *testing.T, s *server) {
				before := claims(t, s.register(t, "ada@example.com"))["auth_identity_id"]
				actor := ""
				if c.linked {
					actor = claims(t, s.signIn(t, "ada@example.com"))["actor_id"].(string)
				}
				users, happened := s.count(t, "user"), false
				happens = func() { c.happens(t, s, actor); happened = true }
				a := s.do(t, "POST", c.path, credentials("ada@example.com", password))
				if c.anew {
					if !happened || a.status != 200 || claims(t, a.get("token"))["auth_identity_id"] == before || s.count(t, "auth_identity") != 1 {
						t.Errorf("happened=%t: %d %s, want another identity than %s", happened, a.status, a.body, before)
					}
					return
				}
				if !happened || a.status != 401 || a.get("token") != "" || a.get("type") != "unauthorized" {
					t.Errorf("happened=%t: %d %s, want 401", happened, a.status, a.body)
				}
				if n := s.count(t, "auth_session"); n != 0 {
					t.Errorf("%d sessions, want none", n)
				}
				if n := s.count(t, "user"); n != users {
					t.Errorf("%d users, want %d", n, users)
				}
			})
		})
	}
}

// A policy may wait inside the transaction; who is deleted meanwhile is deleted.
func TestADeletionDuringAFirstSignInWinsInTheEnd(t *testing.T) {
	var inside chan struct{}
	policy := link.PolicyFunc(func(ctx context.Context, n link.Newcomer) (link.Decision, error) {
		select {
		case inside <- struct{}{}:
		default: // it runs a second time
		}
		time.Sleep(50 * time.Millisecond)
		return link.AutoProvision{}.Decide(ctx, n)
	})
	eachWith(t, settings{actor: link.ActorOptions{Policy: policy}}, func(t *testing.T, s *server) {
		inside = make(chan struct{}, 1)
		s.register(t, "ada@example.com")
		found, err := s.auth.ListAuthIdentities(t.Context(), auth.IdentityFilter{EntityID: "ada@example.com"}, auth.Page{})
		check(t, err)
		deleted := make(chan error)
		go func() {
			<-inside
			deleted <- s.auth.DeleteAuthIdentities(context.Background(), found[0].ID) // waits for the transaction
		}()
		a := s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password))
		check(t, <-deleted)
		if a.status == 200 {
			s.wantDead(t, "the token of who was deleted", bearer(a.get("token")))
		}
		if n := s.count(t, "auth_session"); n != 0 {
			t.Errorf("%d sessions, want none", n)
		}
	})
}

// signingKey is what access tokens are signed with.
func signingKey(ring *keyring.Ring) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(ring.Keys(keyring.AccessToken)[0].Bytes)
}

// publicKey is the key that everybody can read, as bytes of a secret for a forger.
func (s *server) publicKey(t *testing.T) string {
	t.Helper()
	var set struct{ Keys []struct{ X string } }
	check(t, json.Unmarshal([]byte(s.do(t, "GET", "/.well-known/jwks.json", "").body), &set))
	key, err := decodeSegment(set.Keys[0].X)
	check(t, err)
	return string(key)
}
