package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/user"
)

// askToProve asks for a link that proves an address.
func (s *server) askToProve(t testing.TB, address string, headers ...string) answer {
	t.Helper()
	return s.do(t, "POST", "/auth/verification/request", fmt.Sprintf(`{"entity_id":%q,"entity_type":"email"}`, address), headers...)
}

// mailedProof is the token that the mail of the newest request for the proof of an address holds.
func (s *server) mailedProof(t testing.TB) string {
	t.Helper()
	asked := told[auth.VerificationRequested](s)
	if len(asked) == 0 {
		t.Fatal("nobody asked for the proof of an address")
	}
	made, err := s.auth.CreateVerificationToken(t.Context(), asked[len(asked)-1])
	check(t, err)
	return made.Token
}

func (s *server) prove(t testing.TB, code string, headers ...string) answer {
	t.Helper()
	return s.do(t, "POST", "/auth/verification/confirm", fmt.Sprintf(`{"code":%q}`, code), headers...)
}

// refreshed is the next token of the session.
func (s *server) refreshed(t testing.TB, token string) string {
	t.Helper()
	return s.token(t, "refresh", s.do(t, "POST", "/auth/token/refresh", "", bearer(token)))
}

func (s *server) asUser(t testing.TB, headers ...string) int {
	t.Helper()
	return s.do(t, "GET", "/admin/users/me", "", headers...).status
}

var requires = settings{actor: link.ActorOptions{RequireVerifiedEmail: true}}

func TestAUserProvesTheirAddressByTheMailedLink(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.register(t, "ada@example.com")
		mine, other := s.signIn(t, "ada@example.com"), s.signIn(t, "ada@example.com")
		a := s.do(t, "POST", "/auth/verification/request", `{"entity_id":"Ada@example.com","entity_type":"email","metadata":{"from":"settings"}}`, bearer(mine))
		asked := told[auth.VerificationRequested](s)
		if len(asked) != 1 || asked[0].EntityID != "ada@example.com" || asked[0].Metadata["from"] != "settings" {
			t.Fatalf("announced: %+v", asked)
		}
		code := s.mailedProof(t)
		event, err := json.Marshal(asked[0])
		check(t, err)
		if strings.Contains(string(event)+a.body+s.log.String(), code) || strings.Contains(a.body, "hash") || strings.Contains(a.body, "code\"") {
			t.Errorf("the code, or what is kept of it, is in the answer, the event or the log: %s %s", a.body, event)
		}
		s.wantAddress(t, actor(t, mine), "ada@example.com", false)
		if a := s.prove(t, code, bearer(mine)); a.status != 200 || a.get("entity_id") != "ada@example.com" || a.get("verified_at") == "" {
			t.Errorf("confirm: %d %s", a.status, a.body)
		}
		s.wantAddress(t, actor(t, mine), "ada@example.com", true)
		if s.asUser(t, bearer(mine)) != 200 || s.asUser(t, bearer(other)) != 200 {
			t.Error("proving an address ended a session, although nobody was held back")
		}
		if a := s.prove(t, code, bearer(other)); a.status != 400 || a.body != deadProof {
			t.Errorf("a second time: %d %s", a.status, a.body)
		}
		if proofs := told[auth.EmailVerified](s); len(proofs) != 1 || proofs[0].Email != "ada@example.com" {
			t.Errorf("announced: %+v", proofs)
		}
	})
}

func TestOfFiftyConfirmationsOfAnAddressOneSucceedsAndMakesOneUser(t *testing.T) {
	for name, o := range map[string]settings{"of a user": {}, "of a newcomer": requires, "of who registers unseen": {safe: true}} {
		t.Run(name, func(t *testing.T) {
			o.auth = unthrottled.auth
			eachWith(t, o, func(t *testing.T, s *server) {
				session := s.register(t, "ada@example.com")
				if name == "of a user" {
					session = s.signIn(t, "ada@example.com")
					s.askToProve(t, "ada@example.com", bearer(session))
				}
				code := s.mailedProof(t)
				answers := make([]answer, 50)
				together(50, func(i int) { answers[i] = s.prove(t, code, bearer(session)) })
				won := 0
				for _, a := range answers {
					if a.status == 200 {
						won++
					} else if a.status != 400 || a.body != deadProof {
						t.Errorf("%d %s", a.status, a.body)
					}
				}
				if won != 1 || s.count(t, "user") != 1 || s.count(t, "link") != 1 || s.count(t, "provider_identity") != 1 {
					t.Errorf("%d succeeded, and there are %d users, %d links", won, s.count(t, "user"), s.count(t, "link"))
				}
				if token := s.refreshed(t, session); s.asUser(t, bearer(token)) != 200 {
					t.Error("the next refresh does not speak for the user")
				}
			})
		})
	}
}

func TestWhoMustProveTheirAddressIsNobodyUntilThen(t *testing.T) {
	eachWith(t, requires, func(t *testing.T, s *server) {
		registered := s.register(t, "ada@example.com")
		if n := len(told[auth.VerificationRequested](s)); n != 1 {
			t.Errorf("registering had %d mails sent", n)
		}
		var tokens []string
		for range 3 {
			a := s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password))
			if a.status != 200 || a.get("verification_required") != "true" || a.get("verification", "entity_id") != "ada@example.com" || a.get("link", "reason") != "verification_required" {
				t.Fatalf("sign in: %d %s", a.status, a.body)
			}
			tokens = append(tokens, a.get("token"))
		}
		if n := len(told[auth.VerificationRequested](s)); n != 1 {
			t.Errorf("%d mails were sent, and one is under way", n)
		}
		if s.count(t, "user") != 0 {
			t.Error("who has proved nothing has taken the address")
		}
		mine := tokens[2]
		cookie := "Cookie: latchkey=" + cookieOf(t, s.do(t, "POST", "/auth/session", "", bearer(tokens[1]))).Value
		for name, as := range map[string]string{"registered": bearer(registered), "signed in": bearer(mine), "refreshed": bearer(s.refreshed(t, mine)), "cookie": cookie} {
			if got := s.asUser(t, as); got != 401 {
				t.Errorf("%s: %d", name, got)
			}
		}
		if actor(t, mine) != "" || actor(t, s.refreshed(t, mine)) != "" {
			t.Error("a token speaks for somebody")
		}
		if a := s.prove(t, s.mailedProof(t), bearer(mine)); a.status != 200 {
			t.Fatalf("confirm: %d %s", a.status, a.body)
		}
		if s.asUser(t, bearer(mine)) != 401 || s.asUser(t, bearer(s.refreshed(t, mine))) != 200 {
			t.Error("the next refresh, and that alone, speaks for the user")
		}
		for name, as := range map[string]string{"registered": bearer(registered), "another": bearer(tokens[0]), "cookie": cookie} {
			if a := s.do(t, "POST", "/auth/token/refresh", "", as); a.status != 401 {
				t.Errorf("a session of before, %s: %d", name, a.status)
			}
		}
		if a := s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password)); a.get("verification_required") != "" || s.asUser(t, bearer(a.get("token"))) != 200 {
			t.Errorf("sign in afterwards: %s", a.body)
		}
		if n := len(told[auth.VerificationRequested](s)); n != 1 {
			t.Errorf("%d mails were sent", n)
		}
	})
}

// The switch may be turned on when there are users already.
func TestAUserWhoHasProvedNothingIsHeldBackAtOnce(t *testing.T) {
	each(t, func(t *testing.T, lax *server) {
		s := lax.node(t, requires)
		token := lax.member(t, "ada@example.com")
		id := actor(t, token)
		cookie := "Cookie: latchkey=" + cookieOf(t, lax.do(t, "POST", "/auth/session", "", bearer(token))).Value
		if s.asUser(t, bearer(token)) != 401 || s.asUser(t, cookie) != 401 || actor(t, s.refreshed(t, token)) != "" {
			t.Error("what was signed in before goes on")
		}
		a := s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password))
		if a.get("verification_required") != "true" || actor(t, a.get("token")) != "" || s.asUser(t, bearer(a.get("token"))) != 401 {
			t.Errorf("sign in: %s", a.body)
		}
		for _, request := range []string{"POST /admin/users/me/email", "GET /admin/users", "POST /admin/invites"} {
			method, path, _ := strings.Cut(request, " ")
			if got := s.do(t, method, path, `{"email":"new@example.com","current_password":"correct horse"}`, bearer(token)); got.status != 401 {
				t.Errorf("%s: %d", request, got.status)
			}
		}
		mine := a.get("token")
		if a := s.prove(t, s.mailedProof(t), bearer(mine)); a.status != 200 {
			t.Fatalf("confirm: %d %s", a.status, a.body)
		}
		if got := actor(t, s.refreshed(t, mine)); got != id {
			t.Errorf("they are %q, want %q", got, id)
		}
		if a := s.do(t, "POST", "/auth/token/refresh", "", bearer(token)); a.status != 401 {
			t.Errorf("a session from before the proof: %d", a.status)
		}

		// A mailbox that is proved by a reset counts, too.
		lax.member(t, "bob@example.com")
		_, err := s.auth.RequestPasswordReset(t.Context(), auth.ResetRequest{ActorType: "user", Provider: "emailpass", EntityID: "bob@example.com"})
		check(t, err)
		asked := s.told.resets()
		made, err := s.auth.CreatePasswordResetToken(t.Context(), asked[len(asked)-1], auth.ByMail)
		check(t, err)
		s.update(t, made.Token, newPassword)
		if a := s.do(t, "POST", "/auth/user/emailpass", credentials("bob@example.com", newPassword)); a.get("verification_required") != "" || s.asUser(t, bearer(a.get("token"))) != 200 {
			t.Errorf("after a reset: %s", a.body)
		}
	})
}

func TestTheFirstAdminIsNeverLockedOut(t *testing.T) {
	eachWith(t, requires, func(t *testing.T, s *server) {
		invite, err := s.users.SetupInvite(t.Context())
		check(t, err)
		registered := s.register(t, "setup@example.com")
		accept := "/admin/invites/accept?token=" + s.users.InviteToken(invite, user.ByHand)
		if a := s.do(t, "POST", accept, `{}`, bearer(registered)); a.status != 200 {
			t.Fatalf("set up: %d %s", a.status, a.body)
		}
		first := s.signIn(t, "setup@example.com")
		if a := s.do(t, "GET", "/admin/users", "", bearer(first)); a.status != 200 {
			t.Errorf("by the set-up link: %d %s", a.status, a.body)
		}
		if s.asUser(t, bearer(s.admin(t, "cli@example.com"))) != 200 {
			t.Error("by the command line: locked out")
		}
		// What anybody else is given makes them no exception.
		held := s.token(t, "register", s.do(t, "POST", "/auth/user/emailpass/register", credentials("held@example.com", password)))
		invites, err := s.users.CreateInvites(t.Context(), user.InviteDraft{Email: "held@example.com", Roles: []string{"admin"}})
		check(t, err)
		if a := s.do(t, "POST", "/admin/invites/accept?token="+s.users.InviteToken(invites[0], user.ByHand), `{}`, bearer(held)); a.status != 200 {
			t.Fatalf("accept: %d %s", a.status, a.body)
		}
		if got := actor(t, s.refreshed(t, held)); got != "" {
			t.Error("an invite that was shown to somebody proves no address")
		}
		held = s.token(t, "sign in", s.do(t, "POST", "/auth/user/emailpass", credentials("held@example.com", password)))
		s.askToProve(t, "held@example.com", bearer(held))
		if a := s.prove(t, s.mailedProof(t), bearer(held)); a.status != 200 {
			t.Fatalf("confirm: %d %s", a.status, a.body)
		}
		if a := s.do(t, "GET", "/admin/users", "", bearer(s.refreshed(t, held))); a.status != 200 {
			t.Errorf("once it is proved: %d", a.status)
		}
		// One that left by mail does.
		mailed := s.register(t, "mailed@example.com")
		invites, err = s.users.CreateInvites(t.Context(), user.InviteDraft{Email: "mailed@example.com", Roles: []string{"member"}})
		check(t, err)
		s.do(t, "POST", "/admin/invites/accept?token="+s.users.InviteToken(invites[0], user.ByMail), `{}`, bearer(mailed))
		if s.asUser(t, bearer(s.refreshed(t, mailed))) != 200 {
			t.Error("an invite that left by mail does not prove the address")
		}
		// A user who is held back may accept one, too.
		lax := s.node(t, settings{})
		lax.member(t, "late@example.com")
		late := s.token(t, "sign in", s.do(t, "POST", "/auth/user/emailpass", credentials("late@example.com", password)))
		invites, err = s.users.CreateInvites(t.Context(), user.InviteDraft{Email: "late@example.com", Roles: []string{"editor"}})
		check(t, err)
		if a := s.do(t, "POST", "/admin/invites/accept?token="+s.users.InviteToken(invites[0], user.ByMail), `{}`, bearer(late)); a.status != 200 || s.asUser(t, bearer(s.refreshed(t, late))) != 200 {
			t.Errorf("accept by mail as who is held back: %d %s", a.status, a.body)
		}
	})
}

func TestAProvedAddressDoesWhatProvingItAtASignInDoes(t *testing.T) {
	vouched := func(t *testing.T, s *server, name, address string) string {
		t.Helper()
		return s.token(t, "vouched", s.do(t, "POST", "/auth/user/vouching", fmt.Sprintf(`{"name":%q,"email":%q}`, name, address)))
	}
	t.Run("an invite is accepted", func(t *testing.T) {
		eachWith(t, settings{actor: link.ActorOptions{Policy: link.InviteOnly{}}}, func(t *testing.T, s *server) {
			_, err := s.users.CreateInvites(t.Context(), user.InviteDraft{Email: "ada@example.com", Roles: []string{"editor"}})
			check(t, err)
			s.register(t, "ada@example.com")
			mine := s.signIn(t, "ada@example.com")
			s.askToProve(t, "ada@example.com", bearer(mine))
			if a := s.prove(t, s.mailedProof(t), bearer(mine)); a.status != 200 {
				t.Fatalf("confirm: %d %s", a.status, a.body)
			}
			id := actor(t, s.refreshed(t, mine))
			u, err := s.users.RetrieveUser(t.Context(), user.ID(id))
			check(t, err)
			if !slices.Equal(u.Roles, []string{"editor"}) || !u.EmailVerified() {
				t.Errorf("they are %+v", u)
			}
		})
	})
	t.Run("who waits for no invite goes on waiting", func(t *testing.T) {
		eachWith(t, settings{actor: link.ActorOptions{Policy: link.InviteOnly{}}}, func(t *testing.T, s *server) {
			mine := s.register(t, "ada@example.com")
			s.askToProve(t, "ada@example.com", bearer(mine))
			if a := s.prove(t, s.mailedProof(t), bearer(mine)); a.status != 200 || actor(t, s.refreshed(t, mine)) != "" || s.count(t, "link") != 0 {
				t.Errorf("confirm: %d %s, %d links", a.status, a.body, s.count(t, "link"))
			}
			if a := s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password)); a.get("link", "reason") != "invite_required" {
				t.Errorf("sign in: %s", a.body)
			}
		})
	})
	t.Run("an account that nobody has proved is taken over", func(t *testing.T) {
		each(t, func(t *testing.T, s *server) {
			squatter := s.member(t, "ada@example.com")
			mine := vouched(t, s, "ada", "ada@example.com")
			if actor(t, mine) != "" {
				t.Fatal("an unproved address leads to somebody's account")
			}
			s.askToProve(t, "ada@example.com", bearer(mine))
			if a := s.prove(t, s.mailedProof(t), bearer(mine)); a.status != 200 {
				t.Fatalf("confirm: %d %s", a.status, a.body)
			}
			if got := actor(t, s.refreshed(t, mine)); got != actor(t, squatter) || s.asUser(t, bearer(squatter)) != 401 || s.fits(t, "ada@example.com", password) {
				t.Errorf("they are %q, and the squatter still signs in", got)
			}
		})
	})
	t.Run("an account that is proved is joined", func(t *testing.T) {
		each(t, func(t *testing.T, s *server) {
			owner := s.admin(t, "ada@example.com")
			mine := vouched(t, s, "ada", "ada@example.com")
			s.askToProve(t, "ada@example.com", bearer(mine))
			if a := s.prove(t, s.mailedProof(t), bearer(mine)); a.status != 200 {
				t.Fatalf("confirm: %d %s", a.status, a.body)
			}
			if got := actor(t, vouched(t, s, "ada", "ada@example.com")); got != actor(t, owner) || s.asUser(t, bearer(owner)) != 200 {
				t.Errorf("they sign in as %q", got)
			}
		})
	})
	t.Run("a pending change to the address is off", func(t *testing.T) {
		each(t, func(t *testing.T, s *server) {
			mover := s.member(t, "mover@example.com")
			move := s.moving(t, mover, "ada@example.com")
			mine := s.register(t, "ada@example.com")
			s.askToProve(t, "ada@example.com", bearer(mine))
			if a := s.prove(t, s.mailedProof(t), bearer(mine)); a.status != 200 {
				t.Fatalf("confirm: %d %s", a.status, a.body)
			}
			if a := s.move(t, move, bearer(mover)); a.status != 400 || a.body != deadMove {
				t.Errorf("move: %d %s", a.status, a.body)
			}
		})
	})
}

// Pre-hijacking: whoever registered somebody else's address gains nothing by a link that its owner opens, or by their own
// sessions once the owner has shown up.
func TestAVerificationIsNoWayIntoWhatSomebodyElseRegistered(t *testing.T) {
	for name, o := range map[string]settings{"as ever": {}, "with addresses to be proved": requires, "unseen": {safe: true}} {
		t.Run(name, func(t *testing.T) {
			eachWith(t, o, func(t *testing.T, s *server) {
				evil := s.register(t, "victim@example.com")
				s.askToProve(t, "victim@example.com", bearer(evil))
				link := s.mailedProof(t)
				// The victim, who has no session of the attacker's, opens the link.
				if a := s.prove(t, link); a.status != 401 || a.body != signInToProve {
					t.Errorf("without a session: %d %s", a.status, a.body)
				}
				other := s.register(t, "other@example.com")
				if a := s.prove(t, link, bearer(other)); a.status != 403 || a.body != elsewhereProof {
					t.Errorf("in another session: %d %s", a.status, a.body)
				}
				// They register by themselves, or reset the password, and prove the mailbox.
				if o.safe {
					mine := s.token(t, "register", s.do(t, "POST", "/auth/user/emailpass/register", credentials("victim@example.com", newPassword)))
					if a := s.prove(t, s.mailedProof(t), bearer(mine)); a.status != 200 {
						t.Fatalf("confirm: %d %s", a.status, a.body)
					}
				} else if a := s.update(t, s.resetToken(t, "victim@example.com", auth.ByMail), newPassword); a.status != 200 {
					t.Fatalf("reset: %d %s", a.status, a.body)
				}
				if s.fits(t, "victim@example.com", password) || !s.fits(t, "victim@example.com", newPassword) {
					t.Error("the password is not the owner's")
				}
				if a := s.do(t, "POST", "/auth/token/refresh", "", bearer(evil)); a.status == 200 && actor(t, a.get("token")) != "" {
					t.Error("the attacker's session speaks for the owner")
				}
				if a := s.prove(t, link, bearer(evil)); a.status == 200 {
					t.Error("the attacker confirms by an old link")
				}
				if s.asUser(t, bearer(evil)) != 401 {
					t.Error("the attacker is in")
				}
			})
		})
	}
}

func TestARegistrationThatTellsNothingIsCompletedByTheMailboxAlone(t *testing.T) {
	eachWith(t, settings{safe: true}, func(t *testing.T, s *server) {
		owner := s.admin(t, "known@example.com")
		mine, decoy := s.register(t, "new@example.com"), s.register(t, "known@example.com")
		asked := told[auth.VerificationRequested](s)
		if len(asked) != 2 {
			t.Fatalf("%d mails", len(asked))
		}
		if _, err := s.auth.CreateVerificationToken(t.Context(), asked[1]); !errors.Is(err, auth.ErrRegistered) {
			t.Errorf("the mail to the owner: %v", err)
		}
		made, err := s.auth.CreateVerificationToken(t.Context(), asked[0])
		check(t, err)
		if a := s.prove(t, made.Token, bearer(decoy)); a.status != 403 {
			t.Errorf("in the session that leads nowhere: %d %s", a.status, a.body)
		}
		if a := s.prove(t, made.Token, bearer(mine)); a.status != 200 {
			t.Fatalf("confirm: %d %s", a.status, a.body)
		}
		token := s.refreshed(t, mine)
		if s.asUser(t, bearer(token)) != 200 || !s.fits(t, "new@example.com", password) {
			t.Error("who has proved the mailbox is not in")
		}
		s.wantAddress(t, actor(t, token), "new@example.com", true)
		if actor(t, s.refreshed(t, decoy)) != "" || s.asUser(t, bearer(decoy)) != 401 || s.asUser(t, bearer(owner)) != 200 {
			t.Error("who registered the address of somebody has become them, or ended their session")
		}
	})
}

func TestAnInvitedPersonRegistersByTheirInvite(t *testing.T) {
	eachWith(t, settings{safe: true}, func(t *testing.T, s *server) {
		for _, c := range []struct {
			channel user.Channel
			address string
		}{{user.ByMail, "mail@example.com"}, {user.ByHand, "hand@example.com"}} {
			invites, err := s.users.CreateInvites(t.Context(), user.InviteDraft{Email: c.address, Roles: []string{"editor"}})
			check(t, err)
			accept := "/admin/invites/accept?token=" + s.users.InviteToken(invites[0], c.channel)
			stranger := s.register(t, "stranger@example.com")
			if a := s.do(t, "POST", accept, `{}`, bearer(stranger)); a.status != 400 || a.get("reason") != "invite_email" {
				t.Errorf("with another address: %d %s", a.status, a.body)
			}
			mine := s.register(t, c.address)
			if a := s.do(t, "POST", accept, `{}`, bearer(mine)); a.status != 200 {
				t.Fatalf("accept: %d %s", a.status, a.body)
			}
			token := s.refreshed(t, mine)
			s.wantAddress(t, actor(t, token), c.address, c.channel == user.ByMail)
			if got := actor(t, s.signIn(t, c.address)); got != actor(t, token) {
				t.Errorf("they sign in as %q", got)
			}
		}
		// Who is known already is told so, holding an invite to the very address, and the invite stays open.
		s.node(t, settings{}).register(t, "dangling@example.com")
		invites, err := s.users.CreateInvites(t.Context(), user.InviteDraft{Email: "dangling@example.com"})
		check(t, err)
		accept := "/admin/invites/accept?token=" + s.users.InviteToken(invites[0], user.ByMail)
		if a := s.do(t, "POST", accept, `{}`, bearer(s.register(t, "dangling@example.com"))); a.status != 400 || a.get("reason") != "already_registered" {
			t.Errorf("accept with an address that signs in: %d %s", a.status, a.body)
		}
		again := s.token(t, "sign in", s.do(t, "POST", "/auth/user/emailpass", credentials("dangling@example.com", password)))
		if a := s.do(t, "POST", accept, `{}`, bearer(again)); a.status != 200 {
			t.Errorf("accept with that sign-in: %d %s", a.status, a.body)
		}
	})
}

func TestASignInHasAnotherMailSentOnlyOnceTheOneBeforeIsOfNoUse(t *testing.T) {
	eachWith(t, requires, func(t *testing.T, s *server) {
		s.register(t, "ada@example.com")
		for _, c := range []struct {
			asked, until time.Duration
			mails        int
		}{{-time.Minute, time.Minute, 1}, {-time.Minute, -time.Second, 1}, {-time.Hour, time.Minute, 1}, {-time.Hour, -time.Second, 2}} {
			check(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
				_, err := s.db.Conn(ctx).NewUpdate().Table("latchkey_verification").Set("requested_at = ?", database.Now().Add(c.asked)).
					Set("expires_at = ?", database.Now().Add(c.until)).Where("TRUE").Exec(ctx)
				return err
			}))
			a := s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password))
			if n := len(told[auth.VerificationRequested](s)); n != c.mails || a.get("verification_required") != "true" {
				t.Errorf("asked for %v ago, good for %v: %d mails, want %d; %s", -c.asked, c.until, n, c.mails, a.body)
			}
		}
	})
}
