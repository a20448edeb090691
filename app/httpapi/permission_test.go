package httpapi_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// staff are roles for the tests, of which none but owner may do everything.
var staff = httpapi.Roles{
	"support": {"user:read", "user:update", "user:roles", "user:reset", "invite:*"},
	"remover": {"user:read", "user:delete"},
	"inviter": {"invite:create"},
	"auditor": {"user:read", "invite:read"},
	"owner":   {"*"},
	"guest":   {},
}

// somebody makes a user with roles, as the command line does, and returns a token.
func (s *server) somebody(t testing.TB, email string, roles ...string) (token string) {
	t.Helper()
	_, err := s.link.CreateUser(t.Context(), "emailpass", auth.Input(credentials(email, password)), user.Draft{Email: email, Roles: roles, Via: user.ViaCLI})
	check(t, err)
	return s.signIn(t, email)
}

// staffScene has somebody of each role, called by it, a writer, whose role the configuration does not know, and a chief, who
// is a writer and support.
func staffScene(t *testing.T, s *server) scene {
	t.Helper()
	sc := newScene(t, s)
	for _, role := range []string{"support", "remover", "inviter", "auditor", "owner", "guest", "writer"} {
		nextID()
		sc.tokens[role] = s.somebody(t, role+"@example.com", role)
		sc.ids[role], _ = claims(t, sc.tokens[role])["actor_id"].(string)
	}
	sc.tokens["chief"] = s.somebody(t, "chief@example.com", "support", "writer")
	return sc
}

func eachStaffed(t *testing.T, f func(t *testing.T, sc scene)) {
	t.Helper()
	eachWith(t, settings{api: httpapi.Options{Roles: staff}}, func(t *testing.T, s *server) { f(t, staffScene(t, s)) })
}

func insufficient(permission string) string {
	return problem("forbidden", "Insufficient permissions. Required policies: "+permission, "insufficient_permissions", permission)
}

const (
	rolesBeyond  = `{"type":"forbidden","message":"One of these roles may do more than you. Only somebody who may do as much can give or take it.","reason":"role_beyond_caller"}`
	userBeyond   = `{"type":"forbidden","message":"This user may do more than you. Only somebody who may do as much can do this to them.","reason":"user_beyond_caller"}`
	inviteBeyond = `{"type":"forbidden","message":"This invite is for somebody who may do more than you. Only somebody who may do as much can send or withdraw it.","reason":"invite_beyond_caller"}`
)

// documented are the permissions of the routes as docs/http-api.md has them.
func documented(t *testing.T) (permission map[string]string) {
	t.Helper()
	text, err := os.ReadFile("../../docs/http-api.md")
	check(t, err)
	permission = map[string]string{}
	for _, row := range regexp.MustCompile("(?m)^\\| `([a-z]+:[a-z]+)` \\| (.*) \\|$").FindAllStringSubmatch(string(text), -1) {
		for _, route := range regexp.MustCompile("`([A-Z]+ /[^`]*)`").FindAllStringSubmatch(row[2], -1) {
			permission[route[1]] = row[1]
		}
	}
	return permission
}

func TestEveryRouteWantsThePermissionThatTheDocumentationSays(t *testing.T) {
	permission := documented(t)
	roles := httpapi.Roles{}
	for _, p := range httpapi.Permissions() {
		if !strings.HasSuffix(p, "*") {
			roles["only-"+p] = []string{p}
			for _, other := range httpapi.Permissions() {
				if other != p && !strings.HasSuffix(other, "*") {
					roles["but-"+p] = append(roles["but-"+p], other)
				}
			}
			if !slices.ContainsFunc(httpapi.Routes(), func(pattern string) bool { return permission[pattern] == p }) {
				t.Errorf("no route wants %s", p)
			}
		}
	}
	eachWith(t, settings{api: httpapi.Options{Roles: roles}}, func(t *testing.T, s *server) {
		tokens := map[string]string{}
		for i, role := range slices.Sorted(func(yield func(string) bool) {
			for role := range roles {
				if !yield(role) {
					return
				}
			}
		}) {
			tokens[role] = s.somebody(t, fmt.Sprintf("%d@example.com", i), role)
		}
		walked := 0
		for _, pattern := range httpapi.Routes() {
			method, path, _ := strings.Cut(pattern, " ")
			wants := permission[pattern]
			switch {
			case strings.HasPrefix(path, "/admin/users/me"), pattern == "POST /admin/invites/accept", !strings.HasPrefix(path, "/admin/"):
				if wants != "" {
					t.Errorf("docs/http-api.md says that %s wants %s", pattern, wants)
				}
				continue
			case wants == "":
				t.Errorf("docs/http-api.md does not say which permission %s wants", pattern)
				continue
			}
			path = strings.NewReplacer("{id}", "nobody", "{role}", "guest", "{session}", "nothing").Replace(path)
			if a := s.do(t, method, path, "", bearer(tokens["but-"+wants])); a.status != 403 || a.body != insufficient(wants) {
				t.Errorf("%s by who has all but %s: %d %s", pattern, wants, a.status, a.body)
			}
			if a := s.do(t, method, path, "", bearer(tokens["only-"+wants])); a.status == 401 || a.get("reason") == "insufficient_permissions" || a.body == forbidden {
				t.Errorf("%s by who has %s: %d %s", pattern, wants, a.status, a.body)
			}
			walked++
		}
		if walked < 15 || walked != len(permission) {
			t.Errorf("%d routes were tried, and docs/http-api.md names %d", walked, len(permission))
		}
	})
}

func TestARouteWithoutAPermissionThatThereIsDoesNotStart(t *testing.T) {
	for permission, good := range map[string]bool{
		"user:read": true, "invite:delete": true,
		"": false, "*": false, "user:*": false, "user": false, "user:": false, "user:rad": false, "user:read ": false, "User:read": false, "invite:*:read": false,
	} {
		if err := httpapi.CheckGuard(permission); (err == nil) != good {
			t.Errorf("a route that wants %q: %v", permission, err)
		}
	}
}

func TestRolesThatGiveWhatThereIsNotDoNotStart(t *testing.T) {
	for name, c := range map[string]struct {
		roles httpapi.Roles
		says  string // empty: nothing is wrong
	}{
		"none":                 {nil, ""},
		"all by name":          {httpapi.Roles{"admin": {"user:*", "invite:*", "audit:*"}}, `the role "admin" must give everything`},
		"all, and one by name": {httpapi.Roles{"admin": {"user:read", "*"}, "x": {"user:*"}}, ""},
		"unknown":              {httpapi.Roles{"support": {"user:read", "user:rad"}}, `the role "support" gives "user:rad"`},
		"empty":                {httpapi.Roles{"support": {""}}, `the role "support" gives ""`},
		"a star too much":      {httpapi.Roles{"support": {"**"}}, `the role "support" gives "**"`},
		"half a word":          {httpapi.Roles{"support": {"us*"}}, `the role "support" gives "us*"`},
		"unknown resource":     {httpapi.Roles{"support": {"order:*"}}, `the role "support" gives "order:*"`},
		"an admin of less":     {httpapi.Roles{"admin": {"user:*"}}, `the role "admin" must give everything`},
		"an admin of nothing":  {httpapi.Roles{"admin": nil}, `the role "admin" must give everything`},
		"members of something": {httpapi.Roles{"member": {"user:read"}}, ""},
	} {
		site, err := web.New(web.Options{})
		check(t, err)
		_, err = httpapi.New(httpapi.Params{Site: site, Options: httpapi.Options{Roles: c.roles}})
		if (err == nil) != (c.says == "") || (err != nil && !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s: %v, want %q", name, err, c.says)
		}
	}
}

// What each of them may do, and that nobody reaches beyond: every way that leads to more than one has.
var escalations = []fixture{
	{"a guest has nothing", "guest", "GET /admin/users", "", 403, forbidden},
	{"a role that is not configured gives nothing", "writer", "GET /admin/users", "", 403, forbidden},
	{"who has something else is told what is wanted", "auditor", "POST /admin/invites", `{"email":"x@example.com"}`, 403, insufficient("invite:create")},
	{"the body is not looked at before", "auditor", "POST /admin/invites", `{`, 403, insufficient("invite:create")},
	{"everybody has themselves", "guest", "GET /admin/users/me?fields=email", "", 200, `{"user":{"email":"guest@example.com","id":"{guest}"}}`},
	{"reading is not bounded by roles", "support", "GET /admin/users/{admin}?fields=email", "", 200, `{"user":{"email":"admin@example.com","id":"{admin}"}}`},

	{"support updates a member", "support", "POST /admin/users/{member}?fields=first_name", `{"first_name":"Ada"}`, 200, `{"user":{"first_name":"Ada","id":"{member}"}}`},
	{"support updates an auditor, who may do less", "support", "POST /admin/users/{auditor}?fields=first_name", `{"first_name":"Al"}`, 200, `{"user":{"first_name":"Al","id":"{auditor}"}}`},
	{"support updates itself", "support", "POST /admin/users/{support}?fields=first_name", `{"first_name":"Sue"}`, 200, `{"user":{"first_name":"Sue","id":"{support}"}}`},
	{"support updates an admin", "support", "POST /admin/users/{admin}", `{"first_name":"Eve"}`, 403, userBeyond},
	{"support updates who may do everything by another role", "support", "POST /admin/users/{owner}", `{"first_name":"Eve"}`, 403, userBeyond},
	{"support updates who may do something else", "support", "POST /admin/users/{remover}", `{"first_name":"Eve"}`, 403, userBeyond},
	{"support updates a writer, whose role means what nobody here knows", "support", "POST /admin/users/{writer}", `{"first_name":"Eve"}`, 403, userBeyond},
	{"support updates nobody", "support", "POST /admin/users/user_none", `{"first_name":"Eve"}`, 404, problem("not_found", `User with id \"user_none\" not found`, "user_not_found")},
	{"support resets a member", "support", "POST /admin/users/{member}/reset-password", "", 200, `{"token":""}`},
	{"support resets an admin", "support", "POST /admin/users/{admin}/reset-password", "", 403, userBeyond},
	{"support resets an owner", "support", "POST /admin/users/{owner}/reset-password", "", 403, userBeyond},
	{"support resets nobody", "support", "POST /admin/users/user_none/reset-password", "", 404, problem("not_found", "User with id: user_none was not found", "user_not_found")},
	{"support deactivates an admin", "support", "POST /admin/users/{admin}/deactivate", "", 403, userBeyond},
	{"support reactivates an owner", "support", "POST /admin/users/{owner}/reactivate", "", 403, userBeyond},
	{"support deactivates a member", "support", "POST /admin/users/{member}/deactivate?fields=id", "", 200, `{"user":{"id":"{member}"}}`},
	{"support reactivates them", "support", "POST /admin/users/{member}/reactivate?fields=id", "", 200, `{"user":{"id":"{member}"}}`},
	{"a remover restores an admin", "remover", "POST /admin/users/{admin}/restore", "", 403, userBeyond},
	{"support restores", "support", "POST /admin/users/{member}/restore", "", 403, insufficient("user:delete")},
	{"support deletes", "support", "DELETE /admin/users/{member}", "", 403, insufficient("user:delete")},
	{"a remover deletes an admin", "remover", "DELETE /admin/users/{admin}", "", 403, userBeyond},
	{"a remover deletes support", "remover", "DELETE /admin/users/{support}", "", 403, userBeyond},
	{"a remover deletes itself", "remover", "DELETE /admin/users/{remover}", "", 400, problem("not_allowed", "A user cannot delete itself", "self_delete")},
	{"a remover deletes nobody", "remover", "DELETE /admin/users/user_none", "", 200, `{"id":"user_none","object":"user","deleted":true}`},

	{"support makes itself an admin", "support", "POST /admin/users/{support}/roles", `{"roles":["admin"]}`, 403, rolesBeyond},
	{"support makes itself an owner, among others", "support", "POST /admin/users/{support}/roles", `{"roles":["guest","owner"]}`, 403, rolesBeyond},
	{"support makes itself a remover", "support", "POST /admin/users/{support}/roles", `{"roles":["remover"]}`, 403, rolesBeyond},
	{"support makes a member an admin", "support", "POST /admin/users/{member}/roles", `{"roles":["admin"]}`, 403, rolesBeyond},
	{"support gives a role that may mean anything tomorrow", "support", "POST /admin/users/{member}/roles", `{"roles":["finance"]}`, 403, rolesBeyond},
	{"support gives a role in another spelling", "support", "POST /admin/users/{member}/roles", `{"roles":["Admin"]}`, 403, rolesBeyond},
	{"support gives a name that is none", "support", "POST /admin/users/{member}/roles", `{"roles":["a b"]}`, 403, rolesBeyond},
	{"support gives its own role", "support", "POST /admin/users/{member}/roles?fields=id", `{"roles":["support"]}`, 200, `{"roles":[{"id":"member"},{"id":"support"}]}`},
	{"support takes it again", "support", "DELETE /admin/users/{member}/roles/support", "", 200, `{"id":"support","object":"user_role","deleted":true}`},
	{"support gives a role of less", "support", "POST /admin/users/{member}/roles?fields=id", `{"roles":["auditor"]}`, 200, `{"roles":[{"id":"auditor"},{"id":"member"}]}`},
	{"support takes it", "support", "DELETE /admin/users/{member}/roles", `{"roles":["auditor"]}`, 200, `{"ids":["auditor"],"object":"user_role","deleted":true}`},
	{"support gives an admin a role", "support", "POST /admin/users/{admin}/roles", `{"roles":["guest"]}`, 403, userBeyond},
	{"support takes a role from an admin", "support", "DELETE /admin/users/{admin}/roles", `{"roles":["guest"]}`, 403, userBeyond},
	{"support takes the admin's role", "support", "DELETE /admin/users/{admin}/roles/admin", "", 403, rolesBeyond},
	{"support takes the admin's role from a member", "support", "DELETE /admin/users/{member}/roles/admin", "", 403, rolesBeyond},
	{"support takes the owner's role among others", "support", "DELETE /admin/users/{owner}/roles", `{"roles":["guest","owner"]}`, 403, rolesBeyond},
	{"who has a role that is not configured gives it", "chief", "POST /admin/users/{writer}/roles?fields=id", `{"roles":["writer","guest"]}`, 200, `{"roles":[{"id":"guest"},{"id":"writer"}]}`},
	{"support gives nobody a role", "support", "POST /admin/users/user_none/roles", `{"roles":["guest"]}`, 404, problem("not_found", `User with id \"user_none\" not found`, "user_not_found")},

	{"support invites an admin", "support", "POST /admin/invites", `{"email":"eve@example.com","roles":["admin"]}`, 403, rolesBeyond},
	{"support invites an owner among others", "support", "POST /admin/invites", `{"email":"eve@example.com","roles":["guest","owner"]}`, 403, rolesBeyond},
	{"support invites to a role that is not configured", "support", "POST /admin/invites", `{"email":"eve@example.com","roles":["finance"]}`, 403, rolesBeyond},
	{"support invites many as admins", "support", "POST /admin/invites/batch", `{"emails":["eve@example.com"],"roles":["guest","admin"]}`, 403, rolesBeyond},
	{"support invites many by the default", "support", "POST /admin/invites/batch?fields=roles,token", `{"emails":["s4@example.com","s5@example.com"]}`, 200,
		`{"invites":[{"email":"s4@example.com","invite":{"roles":["member"],"token":"<token>","id":"<invite id>"}},{"email":"s5@example.com","invite":{"roles":["member"],"token":"<token>","id":"<invite id>"}}]}`},
	{"an auditor invites many", "auditor", "POST /admin/invites/batch", `{"emails":["eve@example.com"]}`, 403, insufficient("invite:create")},
	{"support invites by the default, which is admin", "support", "POST /admin/invites?fields=roles", `{"email":"s1@example.com"}`, 200, `{"invite":{"roles":["member"],"id":"<invite id>"}}`},
	{"support invites support", "support", "POST /admin/invites?fields=roles,token", `{"email":"s2@example.com","roles":["support","auditor"]}`, 200, `{"invite":{"roles":["auditor","support"],"token":"<token>","id":"<invite id>"}}`},
	{"a writer's invite by who may do everything", "owner", "POST /admin/invites?fields=roles,token", `{"email":"s3@example.com","roles":["writer"]}`, 200, `{"invite":{"roles":["writer"],"token":"<token>","id":"<invite id>"}}`},
	{"an owner makes an admin", "owner", "POST /admin/users/{owner}/roles?fields=id", `{"roles":["admin"]}`, 200, `{"roles":[{"id":"admin"},{"id":"owner"}]}`},
	{"an owner takes the role from an admin", "owner", "DELETE /admin/users/{admin}/roles/admin", "", 200, `{"id":"admin","object":"user_role","deleted":true}`},
	{"but not from the last", "owner", "DELETE /admin/users/{owner}/roles/admin", "", 400, problem("not_allowed", "This is the last administrator. Make somebody else one first.", "last_admin")},
}

func TestNobodyReachesBeyondWhatTheyHave(t *testing.T) {
	eachStaffed(t, func(t *testing.T, sc scene) { sc.run(t, escalations) })
}

// Medusa's hole, carried out to its end there: who may only invite invited a second address as a super admin, read the
// token, and accepted.
func TestWhoMayInviteBecomesNobodyElse(t *testing.T) {
	eachStaffed(t, func(t *testing.T, sc scene) {
		inviter := bearer(sc.tokens["inviter"])
		second := sc.register(t, "second@example.com")
		if a := sc.do(t, "POST", "/admin/invites", `{"email":"second@example.com","roles":["admin"]}`, inviter); a.status != 403 || a.body != rolesBeyond {
			t.Errorf("an invite as an admin: %d %s", a.status, a.body)
		}
		a := sc.do(t, "POST", "/admin/invites?fields=token,roles", `{"email":"second@example.com"}`, inviter)
		if a.status != 200 || a.get("invite", "roles") != "[member]" {
			t.Fatalf("an invite by default: %d %s, want one of a member", a.status, a.body)
		}
		if a := sc.accept(t, a.get("invite", "token"), `{}`, bearer(second)); a.status != 200 {
			t.Fatalf("accept: %d %s", a.status, a.body)
		}
		if a := sc.do(t, "GET", "/admin/users", "", bearer(sc.signIn(t, "second@example.com"))); a.status != 403 || a.body != forbidden {
			t.Errorf("afterwards: %d %s", a.status, a.body)
		}
	})
}

func TestTheTokenOfAnInviteIsShownToWhoCouldHaveMadeIt(t *testing.T) {
	eachStaffed(t, func(t *testing.T, sc scene) {
		invites := map[string]string{} // ids by role
		for _, role := range []string{"admin", "owner", "support", "guest", "writer"} {
			nextID()
			made, err := sc.users.CreateInvites(t.Context(), user.InviteDraft{Email: role + "-to-be@example.com", Roles: []string{role}})
			check(t, err)
			invites[role] = string(made[0].ID)
		}
		for who, shown := range map[string]string{
			"admin": "admin owner support guest writer", "owner": "admin owner support guest writer", "support": "support guest",
			"auditor": "", // reads invites, and could make none
		} {
			list := sc.do(t, "GET", "/admin/invites", "", bearer(sc.tokens[who]))
			for role, id := range invites {
				want := slices.Contains(strings.Fields(shown), role)
				one := sc.do(t, "GET", "/admin/invites/"+id+"?fields=token", "", bearer(sc.tokens[who]))
				if one.status != 200 || (one.get("invite", "token") != "") != want || !strings.Contains(one.body, `"token":`) {
					t.Errorf("%s reads the invite of %s: %d %s, want the token: %t", who, role, one.status, one.body, want)
				}
				if want && !strings.Contains(list.body, one.get("invite", "token")) {
					t.Errorf("%s lists the invites without the token of %s", who, role)
				}
			}
			if n := strings.Count(list.body, `"token":"`); n != len(strings.Fields(shown)) {
				t.Errorf("%s lists the invites with %d tokens, want those of %q", who, n, shown)
			}
		}

		support := bearer(sc.tokens["support"])
		for role, id := range invites {
			want, body := 403, inviteBeyond
			if role == "support" || role == "guest" {
				want, body = 200, ""
			}
			before, err := sc.users.RetrieveInvite(t.Context(), user.InviteID(id))
			check(t, err)
			a := sc.do(t, "POST", "/admin/invites/"+id+"/resend", "", support)
			if a.status != want || (body != "" && a.body != body) || (body == "" && a.get("invite", "token") == "") {
				t.Errorf("support sends the invite of %s again: %d %s", role, a.status, a.body)
			}
			after, err := sc.users.RetrieveInvite(t.Context(), user.InviteID(id))
			check(t, err)
			if after.UpdatedAt.Equal(before.UpdatedAt) != (want == 403) {
				t.Errorf("the invite of %s was changed: %t", role, !after.UpdatedAt.Equal(before.UpdatedAt))
			}
			if a := sc.do(t, "DELETE", "/admin/invites/"+id, "", support); a.status != want || (body != "" && a.body != body) {
				t.Errorf("support withdraws the invite of %s: %d %s", role, a.status, a.body)
			}
			if _, err := sc.users.RetrieveInvite(t.Context(), user.InviteID(id)); (err == nil) != (want == 403) {
				t.Errorf("afterwards the invite of %s: %v", role, err)
			}
		}
	})
}

// An expired invite of an admin is renewed by whoever invites the address again, with roles of their own.
func TestRenewingAnInviteDoesNotKeepRolesBeyondTheInviter(t *testing.T) {
	eachWith(t, settings{api: httpapi.Options{Roles: staff}, user: user.Options{InviteTTL: 1}}, func(t *testing.T, hasty *server) {
		_, err := hasty.users.CreateInvites(t.Context(), user.InviteDraft{Email: "second@example.com", Roles: []string{"admin"}})
		check(t, err)
		s := hasty.node(t, settings{api: httpapi.Options{Roles: staff}})
		a := s.do(t, "POST", "/admin/invites?fields=roles,token", `{"email":"second@example.com"}`, bearer(s.somebody(t, "inviter@example.com", "inviter")))
		if a.status != 200 || a.get("invite", "roles") != "[member]" || a.get("invite", "token") == "" {
			t.Errorf("%d %s, want an invite of a member", a.status, a.body)
		}
	})
}

// Every permission by its name is less than "*": it reaches no administrator, and no role that the configuration does not know.
func TestAllPermissionsByNameAreNotEverything(t *testing.T) {
	eachWith(t, settings{api: httpapi.Options{Roles: httpapi.Roles{"people": {"user:*", "invite:*"}}}}, func(t *testing.T, s *server) {
		admin, people := s.admin(t, "admin@example.com"), s.somebody(t, "people@example.com", "people")
		self, boss := claims(t, people)["actor_id"].(string), claims(t, admin)["actor_id"].(string)
		for _, x := range []struct{ method, path, body, reason string }{
			{"POST", "/admin/users/" + self + "/roles", `{"roles":["admin"]}`, "role_beyond_caller"},
			{"POST", "/admin/users/" + self + "/roles", `{"roles":["unheard-of"]}`, "role_beyond_caller"},
			{"POST", "/admin/users/" + boss + "/deactivate", "", "user_beyond_caller"},
			{"POST", "/admin/invites", `{"email":"x@example.com","roles":["admin"]}`, "role_beyond_caller"},
		} {
			if a := s.do(t, x.method, x.path, x.body, bearer(people)); a.status != 403 || a.get("reason") != x.reason {
				t.Errorf("%s %s %s: %d %s", x.method, x.path, x.body, a.status, a.body)
			}
		}
		if a := s.do(t, "POST", "/admin/invites?fields=roles", `{"email":"y@example.com","roles":["people"]}`, bearer(people)); a.status != 200 {
			t.Errorf("what they have themselves: %d %s", a.status, a.body)
		}
	})
}

// Whoever says that an invite has no roles gets a member, not what an invite has if nothing is said.
func TestAnInviteWithoutRolesIsOneOfAMember(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		for body, want := range map[string]string{
			`{"email":"none@example.com","roles":[]}`: "[member]", `{"email":"null@example.com","roles":null}`: "[admin]", `{"email":"unsaid@example.com"}`: "[admin]",
		} {
			if a := s.do(t, "POST", "/admin/invites?fields=roles", body, bearer(admin)); a.status != 200 || a.get("invite", "roles") != want {
				t.Errorf("%s: %d %s, want %s", body, a.status, a.body, want)
			}
		}
	})
}

func TestTheDefaultRolesOfAnInviteAreThoseThatTheInviterReaches(t *testing.T) {
	for name, c := range map[string]struct {
		byDefault []string
		want      map[string]string
	}{
		"several": {[]string{"admin", "auditor", "writer", "guest"}, map[string]string{
			"admin": "[admin auditor guest writer]", "support": "[auditor guest]", "inviter": "[guest]"}},
		"none":  {[]string{}, map[string]string{"admin": "[]", "support": "[]", "inviter": "[]"}},
		"admin": {nil, map[string]string{"admin": "[admin]", "owner": "[admin]", "support": "[member]", "inviter": "[member]"}},
	} {
		t.Run(name, func(t *testing.T) {
			eachWith(t, settings{api: httpapi.Options{Roles: staff}, user: user.Options{InviteRoles: c.byDefault}}, func(t *testing.T, s *server) {
				for who, want := range c.want {
					token := s.somebody(t, who+"@example.com", who)
					a := s.do(t, "POST", "/admin/invites?fields=roles", `{"email":"of-`+who+`@example.com"}`, bearer(token))
					if a.status != 200 || a.get("invite", "roles") != want {
						t.Errorf("by %s: %d %s, want %s", who, a.status, a.body, want)
					}
				}
			})
		})
	}
	t.Run("not even member", func(t *testing.T) { // which gives something here
		roles := httpapi.Roles{"member": {"user:read"}, "inviter": {"invite:create"}}
		eachWith(t, settings{api: httpapi.Options{Roles: roles}}, func(t *testing.T, s *server) {
			a := s.do(t, "POST", "/admin/invites?fields=roles", `{"email":"x@example.com"}`, bearer(s.somebody(t, "inviter@example.com", "inviter")))
			if a.status != 200 || a.get("invite", "roles") != "[]" {
				t.Errorf("%d %s, want an invite without roles", a.status, a.body)
			}
		})
	})
}

// The configuration is asked at every request. What an invite or a user was given is its role, which may come to mean more.
func TestARoleThatGrowsIsBeyondThoseWhoDoNot(t *testing.T) {
	eachStaffed(t, func(t *testing.T, sc scene) {
		support := bearer(sc.tokens["support"])
		invite := sc.do(t, "POST", "/admin/invites", `{"email":"second@example.com","roles":["guest"]}`, support)
		if invite.status != 200 || invite.get("invite", "token") == "" {
			t.Fatalf("invite: %d %s", invite.status, invite.body)
		}
		id := invite.get("invite", "id")
		grown := httpapi.Roles{"support": staff["support"], "guest": {"*"}}
		later := sc.node(t, settings{api: httpapi.Options{Roles: grown}})

		if a := later.do(t, "GET", "/admin/users", "", bearer(sc.tokens["guest"])); a.status != 200 {
			t.Errorf("a guest, who may do everything by now: %d %s", a.status, a.body)
		}
		if a := later.do(t, "GET", "/admin/invites/"+id+"?fields=token", "", support); a.status != 200 || !strings.Contains(a.body, `"token":null`) {
			t.Errorf("support reads the invite: %d %s, want no token", a.status, a.body)
		}
		for do, want := range map[string]string{
			"POST /admin/invites/" + id + "/resend": inviteBeyond, "DELETE /admin/invites/" + id: inviteBeyond,
			"POST /admin/users/{guest}": userBeyond, "POST /admin/users/{guest}/reset-password": userBeyond, "POST /admin/users/{member}/roles": rolesBeyond,
		} {
			method, path, _ := strings.Cut(do, " ")
			body := `{}`
			if strings.HasSuffix(path, "/roles") {
				body = `{"roles":["guest"]}`
			}
			if a := later.do(t, method, sc.fill(path), body, support); a.status != 403 || a.body != want {
				t.Errorf("%s: %d %s, want %s", do, a.status, a.body, want)
			}
		}
		// Where it has not grown nothing is different, though the database is the same.
		if a := sc.do(t, "POST", sc.fill("/admin/users/{guest}"), `{}`, support); a.status != 200 {
			t.Errorf("on the node of before: %d %s", a.status, a.body)
		}
	})
}

func TestWhatRolesGiveCountsAtTheNextRequest(t *testing.T) {
	eachStaffed(t, func(t *testing.T, sc scene) {
		admin, member := bearer(sc.tokens["admin"]), bearer(sc.tokens["member"])
		invite := func() answer {
			return sc.do(t, "POST", "/admin/invites", `{"email":"x@example.com","roles":["guest"]}`, member)
		}
		change := func(method, body string) {
			t.Helper()
			if a := sc.do(t, method, sc.fill("/admin/users/{member}/roles"), body, admin); a.status != 200 {
				t.Fatalf("%s %s: %d %s", method, body, a.status, a.body)
			}
		}
		if a := invite(); a.status != 403 || a.body != forbidden {
			t.Errorf("a member: %d %s", a.status, a.body)
		}
		change("POST", `{"roles":["inviter"]}`)
		made := invite()
		if made.status != 200 {
			t.Errorf("an inviter: %d %s", made.status, made.body)
		}
		change("DELETE", `{"roles":["inviter"]}`)
		if a := invite(); a.status != 403 || a.body != forbidden {
			t.Errorf("an inviter no more: %d %s", a.status, a.body)
		}
		change("POST", `{"roles":["auditor"]}`)
		if a := sc.do(t, "GET", "/admin/invites/"+made.get("invite", "id"), "", member); a.status != 200 || a.get("invite", "token") != "" {
			t.Errorf("an auditor reads their own invite of before: %d %s, want no token", a.status, a.body)
		}
		if a := invite(); a.status != 403 || a.body != insufficient("invite:create") {
			t.Errorf("an auditor: %d %s", a.status, a.body)
		}
	})
}

// Whoever accepts gains the invite's roles and keeps their own.
func TestAnInviteToLessTakesNothingAway(t *testing.T) {
	eachStaffed(t, func(t *testing.T, sc scene) {
		owner := sc.tokens["owner"]
		made, err := sc.users.CreateInvites(t.Context(), user.InviteDraft{Email: "second@example.com", Roles: []string{"guest"}})
		check(t, err)
		boss, err := sc.link.CreateUser(t.Context(), "emailpass", auth.Input(credentials("second@example.com", password)),
			user.Draft{Email: "second@example.com", Roles: []string{"admin"}, Via: user.ViaCLI})
		check(t, err)
		if a := sc.accept(t, sc.users.InviteToken(made[0], user.ByHand), `{}`, bearer(sc.signIn(t, "second@example.com"))); a.status != 200 {
			t.Fatalf("accept: %d %s", a.status, a.body)
		}
		if a := sc.do(t, "GET", "/admin/users/"+string(boss.ID)+"?fields=roles", "", bearer(owner)); a.get("user", "roles") != "[admin guest]" {
			t.Errorf("afterwards: %s", a.body)
		}
		if a := sc.do(t, "POST", "/admin/users/"+string(boss.ID), `{}`, bearer(sc.tokens["support"])); a.status != 403 || a.body != userBeyond {
			t.Errorf("support updates them: %d %s", a.status, a.body)
		}
	})
}

// Somebody who becomes an admin while who may do less is about to delete them is one by then.
func TestWhoIsAboutToRiseIsActedOnByNobodyBelow(t *testing.T) {
	eachStaffed(t, func(t *testing.T, sc scene) {
		deleted := make(chan answer, 1)
		check(t, sc.db.InTx(t.Context(), func(ctx context.Context) error {
			if err := sc.users.AddRoles(ctx, user.ID(sc.ids["member"]), user.RoleAdmin); err != nil {
				return err
			}
			go func() {
				a, _ := sc.try(t.Context(), "DELETE", sc.fill("/admin/users/{member}"), "", bearer(sc.tokens["remover"]))
				deleted <- a
			}()
			select {
			case a := <-deleted:
				t.Errorf("deleted before it was decided: %d %s", a.status, a.body)
			case <-time.After(100 * time.Millisecond): // by now it waits
			}
			return nil
		}))
		if a := <-deleted; a.status != 403 || a.body != userBeyond {
			t.Errorf("delete: %d %s, want 403", a.status, a.body)
		}
		if _, err := sc.users.RetrieveUser(t.Context(), user.ID(sc.ids["member"])); err != nil {
			t.Errorf("afterwards: %v", err)
		}
	})
}

func TestADeletedUserOfMoreIsRestoredByNobodyBelow(t *testing.T) {
	eachStaffed(t, func(t *testing.T, sc scene) {
		check(t, sc.users.SoftDeleteUsers(t.Context(), user.ID(sc.ids["owner"])))
		path := sc.fill("/admin/users/{owner}/restore")
		if a := sc.do(t, "POST", path, "", bearer(sc.tokens["remover"])); a.status != 403 || a.body != userBeyond {
			t.Errorf("by a remover: %d %s", a.status, a.body)
		}
		if a := sc.do(t, "POST", path, "", bearer(sc.tokens["admin"])); a.status != 200 {
			t.Errorf("by an admin: %d %s", a.status, a.body)
		}
	})
}

func TestPolicyOfFirstSignInsGivesNoRoleOfMore(t *testing.T) {
	roles := httpapi.Roles{"member": {"user:read"}}
	eachWith(t, settings{api: httpapi.Options{Roles: roles}, actor: link.ActorOptions{Policy: link.AutoProvision{}}}, func(t *testing.T, s *server) {
		member := bearer(s.member(t, "ada@example.com"))
		if a := s.do(t, "GET", "/admin/users", "", member); a.status != 200 {
			t.Errorf("a member who may read: %d %s", a.status, a.body)
		}
		if a := s.do(t, "GET", "/admin/invites", "", member); a.status != 403 || a.body != insufficient("invite:read") {
			t.Errorf("and nothing else: %d %s", a.status, a.body)
		}
	})
}

// What is offered is what the routes let through, for everybody.
func TestGivableRolesAreThoseThatCanBeGiven(t *testing.T) {
	eachStaffed(t, func(t *testing.T, sc scene) {
		for by, want := range map[string]string{
			"owner":   "admin auditor guest inviter member owner remover support",
			"support": "auditor guest inviter member support",
			"writer":  "guest member writer",
			"chief":   "auditor guest inviter member support writer",
			"auditor": "auditor guest member",
		} {
			roles := []string{by}
			if by == "chief" {
				roles = []string{"support", "writer"}
			}
			givable := sc.api.GivableRoles(roles)
			if got := strings.Join(givable, " "); got != want {
				t.Errorf("%s can give %s, want %s", by, got, want)
			}
			if !slices.Contains(sc.api.Permitted(roles), "user:roles") {
				continue
			}
			for _, role := range strings.Fields("admin auditor guest inviter member owner remover support") {
				a := sc.do(t, "POST", "/admin/users/"+sc.ids["guest"]+"/roles", fmt.Sprintf(`{"roles":[%q]}`, role), bearer(sc.tokens[by]))
				if can := a.status == 200; can != slices.Contains(givable, role) {
					t.Errorf("%s gives %s: %d %s", by, role, a.status, a.body)
				}
				if role != "guest" {
					sc.do(t, "DELETE", "/admin/users/"+sc.ids["guest"]+"/roles/"+role, "", bearer(sc.tokens["owner"]))
				}
			}
		}
	})
}
