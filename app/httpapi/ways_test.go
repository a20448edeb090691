package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// vouched signs somebody in by the provider that takes their word, and returns a token.
func (s *server) vouched(t testing.TB, name, email string, verified bool) string {
	t.Helper()
	return s.token(t, name+" signs in", s.do(t, "POST", "/auth/user/vouching", fmt.Sprintf(`{"name":%q,"email":%q,"verified":%t}`, name, email, verified)))
}

// ways are the caller's ways to sign in: their ids by provider and entity.
func (s *server) ways(t testing.TB, credential string) map[string]string {
	t.Helper()
	a := s.do(t, "GET", "/auth/provider-identities", "", credential)
	var answer struct {
		Ways []struct{ ID, Provider, EntityID string } `json:"provider_identities"`
	}
	var raw struct {
		Ways []map[string]any `json:"provider_identities"`
	}
	if a.status != 200 {
		t.Fatalf("list: %d %s", a.status, a.body)
	}
	check(t, json.Unmarshal([]byte(a.body), &raw))
	check(t, json.Unmarshal([]byte(strings.ReplaceAll(a.body, "entity_id", "EntityID")), &answer))
	found := map[string]string{}
	for i, w := range answer.Ways {
		found[w.Provider+" "+w.EntityID] = w.ID
		if len(raw.Ways[i]) != 7 {
			t.Errorf("a way shows %v", raw.Ways[i])
		}
	}
	return found
}

func (s *server) addWay(t testing.TB, provider, body, credential string) answer {
	t.Helper()
	return s.do(t, "POST", "/auth/user/"+provider+"/link", body, credential)
}

func (s *server) dropWay(t testing.TB, id, body, credential string) answer {
	t.Helper()
	return s.do(t, "DELETE", "/auth/provider-identities/"+id, body, credential)
}

const (
	linkedElsewhere = `{"type":"invalid_data","message":"This sign-in is already linked to another account.","reason":"already_linked"}`
	lastWay         = `{"type":"not_allowed","message":"This is the last way to sign in to this account. Add another one first; or ask an administrator to delete the account.","reason":"last_way_in"}`
	withCurrent     = `{"current_password":"` + password + `"}`
)

func TestWhoIsSignedInAddsAndGivesUpWaysToSignIn(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		mine := s.vouched(t, "ada", "ada@example.com", true)
		other := s.vouched(t, "ada", "ada@example.com", true)
		id := actor(t, mine)
		if got := s.ways(t, bearer(mine)); len(got) != 1 || got["vouching ada"] == "" {
			t.Fatalf("at first: %v", got)
		}

		// A password, by the address of the account, which is proved.
		a := s.addWay(t, "emailpass", credentials("Ada@Example.com", password), bearer(mine))
		if a.status != 200 || a.get("provider_identity", "provider") != "emailpass" || a.get("provider_identity", "display_name") != "Email/Password Authentication" ||
			a.get("provider_identity", "entity_id") != "ada@example.com" || a.get("provider_identity", "email_verified_at") == "" {
			t.Fatalf("add a password: %d %s", a.status, a.body)
		}
		way := a.get("provider_identity", "id")
		if got := s.ways(t, bearer(mine)); len(got) != 2 || got["emailpass ada@example.com"] != way {
			t.Errorf("then: %v, want %s too", got, way)
		}
		if !s.alive(t, bearer(other)) || !s.alive(t, bearer(mine)) {
			t.Error("adding a way has ended a session")
		}
		byPassword := s.signIn(t, "ada@example.com")
		if got := actor(t, byPassword); got != id {
			t.Errorf("the password signs in %q, want %q", got, id)
		}

		// From now on the password proves who asks, and the same once more changes nothing.
		if a := s.addWay(t, "vouching", `{"name":"countess"}`, bearer(mine)); a.status != 400 || a.body != invalid("Field 'current_password' is required") {
			t.Errorf("without the password: %d %s", a.status, a.body)
		}
		before := s.told.count()
		again := s.addWay(t, "emailpass", `{"email":"ada@example.com","password":"`+password+`","current_password":"`+password+`"}`, bearer(mine))
		if again.status != 200 || again.get("provider_identity", "id") != way || s.told.count() != before {
			t.Errorf("the same once more: %d %s, %d events", again.status, again.body, s.told.count()-before)
		}
		for what, a := range map[string]answer{
			"adding": s.addWay(t, "vouching", `{"name":"countess","current_password":"wrong horse"}`, bearer(mine)), "giving up": s.dropWay(t, way, `{"current_password":"wrong horse"}`, bearer(mine)),
		} {
			if a.status != 401 || a.body != wrong("The current password is not right") {
				t.Errorf("%s with a wrong password: %d %s", what, a.status, a.body)
			}
		}
		a = s.addWay(t, "vouching", `{"name":"countess","email":"Other@example.com","verified":true,"current_password":"`+password+`"}`, bearer(mine))
		if a.status != 200 || a.get("provider_identity", "email") != "other@example.com" {
			t.Fatalf("add a third: %d %s", a.status, a.body)
		}
		countess := a.get("provider_identity", "id")
		if got := actor(t, s.vouched(t, "countess", "other@example.com", true)); got != id {
			t.Errorf("the third signs in %q, want %q", got, id)
		}
		if got := told[link.ProviderLinked](s); len(got) != 2 || got[0].Way != way || got[1].Way != countess || got[1].ActorID != id || got[1].Provider != "vouching" {
			t.Errorf("announced: %+v", got)
		}

		// Giving one up ends what else is open, and goes on here.
		reset := s.resetToken(t, "ada@example.com", auth.ByMail)
		s.askToMove(t, "lovelace@example.com", bearer(mine))
		move := s.mailedMove(t)
		cookie := s.openCookie(t, byPassword)
		a = s.dropWay(t, countess, withCurrent, bearer(mine))
		renewed := s.token(t, "unlink", a)
		if a.get("id") != countess || a.get("object") != "provider_identity" || a.get("deleted") != "true" || claims(t, renewed)["sid"] != claims(t, mine)["sid"] {
			t.Errorf("unlink: %s", a.body)
		}
		s.wantDead(t, "what was open before", bearer(mine), bearer(other), bearer(byPassword), cookie)
		if !s.alive(t, bearer(renewed)) {
			t.Error("the session that did it does not go on")
		}
		if a := s.move(t, move, bearer(renewed)); a.status != 400 || a.body != deadMove {
			t.Errorf("a change of address of before: %d %s", a.status, a.body)
		}
		if got := actor(t, s.vouched(t, "countess", "other@example.com", true)); got == id || got == "" {
			t.Errorf("who was unlinked signs in as %q", got)
		}
		if got := told[link.ProviderUnlinked](s); len(got) != 1 || got[0].Way != countess || got[0].ActorID != id {
			t.Errorf("announced: %+v", got)
		}

		// By a cookie the password goes, and with it the token that would set it anew.
		cookie = s.openCookie(t, renewed)
		a = s.dropWay(t, way, withCurrent, cookie)
		if a.status != 200 || a.get("token") != "" {
			t.Fatalf("unlink by cookie: %d %s", a.status, a.body)
		}
		fresh := newCookie(t, a)
		if s.alive(t, cookie) || !s.alive(t, fresh) {
			t.Error("the cookie is not replaced")
		}
		if s.fits(t, "ada@example.com", password) {
			t.Error("the password still signs in")
		}
		if a := s.update(t, reset, newPassword); a.status != 401 || a.body != noToken {
			t.Errorf("a reset token of before: %d %s", a.status, a.body)
		}
		last := s.ways(t, fresh)["vouching ada"]
		if a := s.dropWay(t, last, "", fresh); a.status != 400 || a.body != lastWay {
			t.Errorf("the last one: %d %s", a.status, a.body)
		}
		if got := actor(t, s.vouched(t, "ada", "ada@example.com", true)); got != id {
			t.Errorf("in the end %q signs in, want %q", got, id)
		}

		var actions []string
		for _, e := range s.trail(t, "limit=1000") {
			if action, _ := e["action"].(string); strings.HasPrefix(action, "link.provider_") {
				actions = append(actions, fmt.Sprint(action, " ", e["outcome"], " ", e["actor_id"] == any(id)))
			}
		}
		slices.Sort(actions)
		want := []string{"link.provider_linked refused true", "link.provider_linked success true", "link.provider_linked success true",
			"link.provider_unlinked refused true", "link.provider_unlinked success true", "link.provider_unlinked success true"}
		if !slices.Equal(actions, want) {
			t.Errorf("the trail has %q, want %q", actions, want)
		}
	})
}

func TestAddingAWayToSignInIsRefusedWithAReason(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		ada := s.vouched(t, "ada", "ada@example.com", true)
		s.vouched(t, "grace", "grace@example.com", true)
		s.register(t, "registered@example.com")
		unproved := s.member(t, "eve@example.com")
		waiting := s.vouched(t, "nobody", "", false)
		admin := s.admin(t, "admin@example.com")
		for name, c := range map[string]struct {
			token, provider, body string
			status                int
			reason                string
		}{
			"not signed in":                        {"", "vouching", `{"name":"x"}`, 401, ""},
			"nobody yet":                           {waiting, "vouching", `{"name":"x"}`, 403, "account_required"},
			"an account that is not proved":        {unproved, "vouching", `{"name":"trojan","email":"a@example.com","verified":true,"current_password":"` + password + `"}`, 403, "primary_email_unproved"},
			"a provider that is none":              {ada, "nope", `{"name":"x"}`, 400, "provider_not_allowed"},
			"somebody else's":                      {ada, "vouching", `{"name":"grace"}`, 400, "already_linked"},
			"credentials that are wrong":           {ada, "vouching", `{"name":""}`, 401, "invalid_credentials"},
			"a password by a free address":         {ada, "emailpass", credentials("free@example.com", password), 400, "address_not_yours"},
			"a password by one that is registered": {ada, "emailpass", credentials("registered@example.com", password), 400, "address_not_yours"},
			"a password by a user's":               {ada, "emailpass", credentials("admin@example.com", password), 400, "address_not_yours"},
			"a password by nonsense":               {ada, "emailpass", credentials("nonsense", password), 400, "invalid_email"},
			"a password without an address":        {ada, "emailpass", `{"password":"correct horse"}`, 401, "invalid_credentials"},
			"a common password":                    {ada, "emailpass", credentials("ada@example.com", "password"), 400, "password_refused"},
			"a wrong current password":             {admin, "vouching", `{"name":"x","current_password":"wrong horse"}`, 401, "invalid_credentials"},
			"no current password":                  {admin, "vouching", `{"name":"x"}`, 400, "invalid_request"},
			"null for it":                          {admin, "vouching", `{"name":"x","current_password":null}`, 400, "invalid_request"},
			"a number for it":                      {admin, "vouching", `{"name":"x","current_password":5}`, 400, "invalid_request"},
			"no JSON":                              {ada, "vouching", `{`, 400, "malformed_json"},
			"a list":                               {ada, "vouching", `[]`, 400, "malformed_json"},
		} {
			before := s.told.count()
			a := s.addWay(t, c.provider, c.body, bearer(c.token))
			if a.status != c.status || a.get("reason") != c.reason {
				t.Errorf("%s: %d %s, want %d %s", name, a.status, a.body, c.status, c.reason)
			}
			if n := s.told.count() - before; n > 0 {
				t.Errorf("%s: %d events", name, n)
			}
		}
		if a := s.addWay(t, "vouching", `{"name":"grace"}`, bearer(ada)); a.body != linkedElsewhere {
			t.Errorf("somebody else's: %s", a.body)
		}
		if a := s.do(t, "POST", "/auth/customer/vouching/link", `{"name":"x"}`, bearer(ada)); a.status != 401 || a.body != unauthorized {
			t.Errorf("as another type of actor: %d %s", a.status, a.body)
		}
		if a := s.do(t, "POST", "/auth/user/vouching/link?x=y", `{"name":"x"}`, bearer(ada)); a.status != 400 {
			t.Errorf("an unknown parameter: %d %s", a.status, a.body)
		}
		if got := s.ways(t, bearer(ada)); len(got) != 1 {
			t.Errorf("what was refused is there: %v", got)
		}

		// Who has no password has to have signed in just now.
		check(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := s.db.Conn(ctx).NewRaw("UPDATE latchkey_auth_session SET authenticated_at = ?", time.Now().UTC().Add(-6*time.Minute)).Exec(ctx)
			return err
		}))
		time.Sleep(1100 * time.Millisecond) // sessions are kept in mind for a second
		if a := s.addWay(t, "vouching", `{"name":"x"}`, bearer(ada)); a.status != 403 || a.get("reason") != "sign_in_again" {
			t.Errorf("long after the sign-in: %d %s", a.status, a.body)
		}
		if a := s.dropWay(t, s.ways(t, bearer(ada))["vouching ada"], "", bearer(ada)); a.status != 403 || a.get("reason") != "sign_in_again" {
			t.Errorf("giving one up long after the sign-in: %d %s", a.status, a.body)
		}
	})
}

func TestAWayThatIsNobodysMovesToWhoProvesIt(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		ada := s.vouched(t, "ada", "ada@example.com", true)
		stray := s.vouched(t, "stray", "", false) // let in as nobody
		identities := s.count(t, "auth_identity")
		a := s.addWay(t, "vouching", `{"name":"stray"}`, bearer(ada))
		if a.status != 200 || a.get("provider_identity", "entity_id") != "stray" {
			t.Fatalf("link: %d %s", a.status, a.body)
		}
		s.wantDead(t, "who it was nobody's", bearer(stray))
		if got := actor(t, s.vouched(t, "stray", "", false)); got != actor(t, ada) {
			t.Errorf("it signs in %q", got)
		}
		if n := s.count(t, "auth_identity"); n != identities-1 || s.count(t, "link") != 1 {
			t.Errorf("%d identities, want one fewer than %d; %d links", n, identities, s.count(t, "link"))
		}

		// So does a password that somebody has registered with by the address of their own account; a squatter's does not fit.
		s.register(t, "ada@example.com")
		if a := s.addWay(t, "emailpass", credentials("ada@example.com", "another horse"), bearer(ada)); a.status != 401 || a.get("reason") != "identity_exists" {
			t.Errorf("with another password: %d %s", a.status, a.body)
		}
		if a := s.addWay(t, "emailpass", credentials("ada@example.com", password), bearer(ada)); a.status != 200 || a.get("provider_identity", "email_verified_at") == "" {
			t.Errorf("with the same: %d %s", a.status, a.body)
		}
		if got := actor(t, s.signIn(t, "ada@example.com")); got != actor(t, ada) {
			t.Errorf("the password signs in %q", got)
		}
	})
}

func TestOthersWaysToSignInAreNotThere(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		ada, grace := s.vouched(t, "ada", "ada@example.com", true), s.vouched(t, "grace", "grace@example.com", true)
		theirs := s.ways(t, bearer(grace))["vouching grace"]
		if a := s.addWay(t, "vouching", `{"name":"grace hopper"}`, bearer(grace)); a.status != 200 {
			t.Fatalf("link: %d %s", a.status, a.body)
		}
		const none = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
		for _, id := range []string{theirs, none, "nonsense", "x'--"} {
			a := s.dropWay(t, id, "", bearer(ada))
			if a.status != 404 || a.get("reason") != "auth_identity_not_found" || id == theirs && strings.ReplaceAll(a.body, theirs, none) != s.dropWay(t, none, "", bearer(ada)).body {
				t.Errorf("%s: %d %s", id, a.status, a.body)
			}
		}
		if got := s.ways(t, bearer(grace)); len(got) != 2 {
			t.Errorf("left: %v", got)
		}
		if !s.alive(t, bearer(ada)) || !s.alive(t, bearer(grace)) {
			t.Error("a refusal has ended a session")
		}
	})
}

func TestOfManyAccountsThatLinkOneSignInAtOnceOneWins(t *testing.T) {
	eachWith(t, unthrottled, func(t *testing.T, s *server) {
		for round, before := range []string{"unknown", "nobody's"} {
			name := fmt.Sprintf("prize %d", round)
			if before == "nobody's" {
				s.vouched(t, name, "", false)
			}
			tokens := make([]string, 4)
			for i := range tokens {
				tokens[i] = s.vouched(t, fmt.Sprintf("rival %d %d", round, i), fmt.Sprintf("rival%d.%d@example.com", round, i), true)
			}
			answers := make([]answer, 40)
			together(len(answers), func(i int) {
				answers[i], _ = s.try(t.Context(), "POST", "/auth/user/vouching/link", `{"name":"`+name+`"}`, bearer(tokens[i%len(tokens)]))
			})
			won := map[int]bool{}
			for i, a := range answers {
				switch {
				case a.status == 200:
					won[i%len(tokens)] = true
				case a.status != 400 || a.body != linkedElsewhere:
					t.Errorf("%s, caller %d: %d %s", before, i, a.status, a.body)
				}
			}
			owner := actor(t, s.vouched(t, name, "", false))
			for i := range tokens {
				if won[i] != (owner == actor(t, tokens[i])) {
					t.Errorf("%s: account %d was told %t, and it signs in %s", before, i, won[i], owner)
				}
			}
			if len(won) != 1 {
				t.Errorf("%s: %d accounts have won", before, len(won))
			}
		}
	})
}

func TestOneSignInIsLinkedAndComesForTheFirstTimeAtOnce(t *testing.T) {
	eachWith(t, unthrottled, func(t *testing.T, s *server) {
		ada := s.vouched(t, "ada", "ada@example.com", true)
		for round := range 6 {
			name := fmt.Sprintf("both %d", round)
			body := fmt.Sprintf(`{"name":%q,"email":"both%d@example.com","verified":true}`, name, round)
			answers := make([]answer, 12)
			together(len(answers), func(i int) {
				path := "/auth/user/vouching"
				if i%2 == 0 {
					path += "/link"
				}
				answers[i], _ = s.try(t.Context(), "POST", path, body, bearer(ada))
			})
			owner := actor(t, s.token(t, "afterwards", s.do(t, "POST", "/auth/user/vouching", body)))
			for i, a := range answers {
				switch mine := owner == actor(t, ada); {
				case i%2 == 0 && mine && a.status == 200, i%2 == 0 && !mine && a.status == 400 && a.body == linkedElsewhere:
				case i%2 == 1 && a.status == 200 && actor(t, a.get("token")) == owner:
				default:
					t.Errorf("round %d, caller %d: %d %s; it is %s's", round, i, a.status, a.body, owner)
				}
			}
		}
	})
}

func TestOfTheLastTwoWaysThatAreGivenUpAtOnceOneIsLeft(t *testing.T) {
	eachWith(t, unthrottled, func(t *testing.T, s *server) {
		for round := range 4 {
			name, address := fmt.Sprintf("ada %d", round), fmt.Sprintf("ada%d@example.com", round)
			first := s.vouched(t, name, address, true)
			if a := s.addWay(t, "vouching", fmt.Sprintf(`{"name":"second %s"}`, name), bearer(first)); a.status != 200 {
				t.Fatalf("link: %d %s", a.status, a.body)
			}
			tokens := []string{first, s.vouched(t, name, address, true)}
			var ids []string
			for _, id := range s.ways(t, bearer(first)) {
				ids = append(ids, id)
			}
			answers := make([]answer, 20)
			together(len(answers), func(i int) {
				answers[i], _ = s.try(t.Context(), "DELETE", "/auth/provider-identities/"+ids[i%2], "", bearer(tokens[i%4/2]))
			})
			won := 0
			for i, a := range answers {
				switch {
				case a.status == 200:
					won++
				case a.status != 401 && a.status != 400 && a.status != 404:
					t.Errorf("caller %d: %d %s", i, a.status, a.body)
				}
			}
			if won != 1 {
				t.Errorf("%d have succeeded, want one", won)
			}
			u, err := s.link.AuthProviders(t.Context(), user.ID(actor(t, first)))
			check(t, err)
			if !slices.Equal(u, []string{"vouching"}) {
				t.Errorf("left: %v", u)
			}
		}
	})
}

// What the actor type may not use leads nobody in, and is not counted.
func TestTheLastWayThatLeadsInStays(t *testing.T) {
	eachWith(t, settings{actor: link.ActorOptions{Providers: []string{"vouching"}}}, func(t *testing.T, s *server) {
		ada := s.vouched(t, "ada", "ada@example.com", true)
		_, session, err := s.auth.CheckToken(t.Context(), ada)
		check(t, err)
		made, err := s.auth.CreateProviderIdentities(t.Context(), auth.ProviderIdentityDraft{IdentityID: session.IdentityID, Provider: "emailpass", EntityID: "ada@example.com"})
		check(t, err)
		if a := s.dropWay(t, s.ways(t, bearer(ada))["vouching ada"], "", bearer(ada)); a.status != 400 || a.body != lastWay {
			t.Errorf("the one that leads in: %d %s", a.status, a.body)
		}
		if a := s.dropWay(t, made[0].ID, "", bearer(ada)); a.status != 200 {
			t.Errorf("the other: %d %s", a.status, a.body)
		}
	})
	each(t, func(t *testing.T, s *server) { // a password that was never set, neither
		ada := s.vouched(t, "ada", "ada@example.com", true)
		_, session, err := s.auth.CheckToken(t.Context(), ada)
		check(t, err)
		_, err = s.auth.CreateProviderIdentities(t.Context(), auth.ProviderIdentityDraft{IdentityID: session.IdentityID, Provider: "emailpass", EntityID: "ada@example.com"})
		check(t, err)
		if a := s.dropWay(t, s.ways(t, bearer(ada))["vouching ada"], "", bearer(ada)); a.status != 400 || a.body != lastWay {
			t.Errorf("beside an account without a password: %d %s", a.status, a.body)
		}
	})
}

var byVouching = settings{actor: link.ActorOptions{Policy: link.Manual{}, CreateProviders: []string{"vouching"}},
	auth: auth.Options{Throttle: auth.ThrottleOptions{Disabled: true}}}

func (s *server) createUser(t testing.TB, provider, body, token string) answer {
	t.Helper()
	return s.do(t, "POST", "/auth/"+provider+"/user", body, bearer(token))
}

const (
	noEmail   = `{"type":"invalid_data","message":"Email is required to create a user account.","reason":"email_required"}`
	isUser    = `{"type":"invalid_data","message":"The user is already registered and cannot create a new account.","reason":"actor_exists"}`
	noCreator = `{"type":"not_allowed","message":"Accounts are not made by this provider. Sign in with it, or open an invite while you are signed in.","reason":"create_user_refused"}`
)

func TestFortyCallsOfCreateUserAtOnceMakeOneUser(t *testing.T) {
	eachWith(t, byVouching, func(t *testing.T, s *server) {
		token := s.vouched(t, "ada", "Ada@Example.com", true)
		other := s.vouched(t, "ada", "Ada@Example.com", true)
		if actor(t, token) != "" {
			t.Fatal("the policy has made a user already")
		}
		answers := make([]answer, 40)
		together(len(answers), func(i int) {
			// What a client writes decides nothing.
			answers[i], _ = s.try(t.Context(), "POST", "/auth/vouching/user", `{"email":"admin@example.com","user_metadata":{"email":"admin@example.com"}}`, bearer(token))
		})
		won := 0
		for i, a := range answers {
			switch {
			case a.status == 200 && a.get("user", "email") == "ada@example.com":
				won++
			case a.status != 400 || a.body != isUser:
				t.Errorf("call %d: %d %s", i, a.status, a.body)
			}
		}
		if won != 1 || s.count(t, "user") != 1 || s.count(t, "link") != 1 {
			t.Errorf("%d calls have made %d users, want one and one", won, s.count(t, "user"))
		}
		refreshed := s.token(t, "refresh", s.do(t, "POST", "/auth/token/refresh", "", bearer(token)))
		if a := s.do(t, "GET", "/admin/users/me", "", bearer(refreshed)); a.status != 200 || a.get("user", "email") != "ada@example.com" {
			t.Errorf("then: %d %s", a.status, a.body)
		}
		s.wantAddress(t, actor(t, refreshed), "ada@example.com", true)
		if s.alive(t, bearer(other)) {
			t.Error("another session of who was nobody lives on")
		}
	})
}

func TestCreateUserIsRefused(t *testing.T) {
	eachWith(t, byVouching, func(t *testing.T, s *server) {
		registered := s.register(t, "eve@example.com")
		for name, c := range map[string]struct {
			provider, token string
			status          int
			want            string
		}{
			"nobody signed in":              {"vouching", "", 401, unauthorized},
			"a password":                    {"emailpass", registered, 400, noCreator},
			"another provider than theirs":  {"vouching", registered, 401, unauthorized},
			"an address that is only said":  {"vouching", s.vouched(t, "claims", "admin@example.com", false), 400, noEmail},
			"no address":                    {"vouching", s.vouched(t, "blank", "", false), 400, noEmail},
			"a provider that there is not":  {"nope", s.vouched(t, "nope", "nope@example.com", true), 401, unauthorized},
			"an address that is no address": {"vouching", s.vouched(t, "nonsense", "nonsense", true), 400, noEmail},
		} {
			if a := s.createUser(t, c.provider, "", c.token); a.status != c.status || a.body != c.want {
				t.Errorf("%s: %d %s, want %d %s", name, a.status, a.body, c.status, c.want)
			}
		}
		// What the app notes of somebody is no claim of the provider's.
		token := s.vouched(t, "noted", "", false)
		_, err := s.auth.UpdateProviderIdentities(t.Context(), auth.ProviderIdentityUpdate{ID: s.ways(t, bearer(token))["vouching noted"], UserMetadata: auth.Merge(map[string]any{"email": "admin@example.com", "email_verified": true})})
		check(t, err)
		if a := s.createUser(t, "vouching", "", token); a.status != 400 || a.body != noEmail {
			t.Errorf("by metadata: %d %s", a.status, a.body)
		}
		cookie := s.openCookie(t, token)
		if a := s.do(t, "POST", "/auth/vouching/user", "", cookie); a.status != 401 {
			t.Errorf("by a cookie: %d %s", a.status, a.body)
		}
		if n := s.count(t, "user"); n != 0 {
			t.Errorf("%d users", n)
		}
	})
	each(t, func(t *testing.T, s *server) { // unless the operator names the provider
		if a := s.createUser(t, "vouching", "", s.vouched(t, "blank", "", false)); a.status != 400 || a.body != noCreator {
			t.Errorf("not listed: %d %s", a.status, a.body)
		}
	})
}

func TestCreateUserAsksThePolicy(t *testing.T) {
	o := byVouching
	o.actor.Policy = link.InviteOnly{}
	eachWith(t, o, func(t *testing.T, s *server) {
		token := s.vouched(t, "ada", "ada@example.com", true)
		if a := s.createUser(t, "vouching", "", token); a.status != 400 || a.get("reason") != "invite_required" {
			t.Errorf("without an invite: %d %s", a.status, a.body)
		}
		if !s.alive(t, bearer(token)) {
			t.Error("a refusal has ended the session")
		}
		s.invite(t, s.admin(t, "admin@example.com"), "ada@example.com")
		a := s.createUser(t, "vouching", "", token)
		if a.status != 200 || a.get("user", "email") != "ada@example.com" {
			t.Fatalf("with one: %d %s", a.status, a.body)
		}
		u, err := s.users.RetrieveUser(t.Context(), user.ID(a.get("user", "id")))
		check(t, err)
		if !u.HasRole("admin") || len(told[user.InviteAccepted](s)) != 1 {
			t.Errorf("the roles are %v, want the invite's", u.Roles)
		}
	})
	eachWith(t, byVouching, func(t *testing.T, s *server) { // who has an account by the address is that
		admin := s.admin(t, "ada@example.com")
		token := s.vouched(t, "ada", "ada@example.com", true)
		a := s.createUser(t, "vouching", "", token)
		if a.status != 200 || a.get("user", "id") != actor(t, admin) {
			t.Fatalf("join: %d %s", a.status, a.body)
		}
		if s.alive(t, bearer(token)) || !s.alive(t, bearer(admin)) {
			t.Error("who is joined signs in anew, and the account's sessions go on")
		}
		if got := actor(t, s.vouched(t, "ada", "ada@example.com", true)); got != actor(t, admin) {
			t.Errorf("the next sign-in is %q's", got)
		}
	})
}
