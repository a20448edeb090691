package console_test

import (
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

// support may read and change users, and no more.
var support = httpapi.Options{Roles: httpapi.Roles{"support": {"user:*"}, "reader": {"user:read"}, "auditor": {"audit:read"}, "editor": {}}}

// admin signs in an administrator.
func (s *site) admin(t *testing.T) (*browser, user.User) {
	t.Helper()
	u := s.person(t, "root@example.com", user.RoleAdmin)
	return s.browserOf(t, "root@example.com"), u
}

// browserOf signs somebody in.
func (s *site) browserOf(t *testing.T, email string) *browser {
	t.Helper()
	b := s.browser(t)
	b.signIn(email)
	return b
}

// post sends a form as it may come from a page that was open for a while, or from nobody's page.
func (b *browser) post(path string, values url.Values) page {
	b.t.Helper()
	b.header.Set("Origin", b.site.server.URL)
	defer b.header.Del("Origin")
	return b.do(http.MethodPost, path, form, strings.NewReader(values.Encode()))
}

// rows are the links in the first column of the list.
func (b *browser) rows() (names []string) {
	for _, m := range regexp.MustCompile(`<th scope="row"[^>]*><a href="[^"]*">([^<]*)</a>`).FindAllStringSubmatch(b.page.body, -1) {
		names = append(names, strings.TrimSuffix(html.UnescapeString(m[1]), "@example.com"))
	}
	return names
}

// follow opens the link of the page that has the text.
func (b *browser) follow(text string) page {
	b.t.Helper()
	m := regexp.MustCompile(`<a [^>]*href="([^"]*)"[^>]*>(?:<[^>]*>)?` + regexp.QuoteMeta(text)).FindStringSubmatch(b.page.body)
	if m == nil {
		b.t.Fatalf("no link says %q in:\n%s", text, b.page.body)
	}
	return b.get(html.UnescapeString(m[1]))
}

func TestTheListOfUsersIsSearchedFilteredAndSorted(t *testing.T) {
	eachWith(t, options{api: support}, func(t *testing.T, s *site) {
		b, _ := s.admin(t)
		ada := s.person(t, "ada@example.com", "editor")
		bob := s.person(t, "bob@example.com", "editor", "member")
		eve := s.person(t, "eve@example.com")
		if _, err := s.users.UpdateUsers(t.Context(), user.Update{ID: ada.ID, FirstName: user.Set("Ada"), LastName: user.Set("Zuse")},
			user.Update{ID: bob.ID, FirstName: user.Set("Bob"), LastName: user.Set("Young")}); err != nil {
			t.Fatal(err)
		}
		if err := s.users.DeactivateUsers(t.Context(), bob.ID); err != nil {
			t.Fatal(err)
		}
		if err := s.users.SoftDeleteUsers(t.Context(), eve.ID); err != nil {
			t.Fatal(err)
		}
		for query, want := range map[string]string{
			"":                               "bob ada root",
			"?order=email":                   "ada bob root",
			"?order=-email":                  "root bob ada",
			"?order=last_name":               "bob ada root",
			"?order=created_at":              "root ada bob",
			"?q=ADA":                         "ada",
			"?q=+young++bob+":                "bob",
			"?q=example.com&order=email":     "ada bob root",
			"?role=editor&order=email":       "ada bob",
			"?role=admin":                    "root",
			"?role=writer":                   "",
			"?status=active&order=email":     "ada root",
			"?status=deactivated":            "bob",
			"?status=deleted":                "eve",
			"?role=editor&status=active":     "ada",
			"?q=nobody":                      "",
			"?q=%25":                         "",
			"?role=editor&q=example&x=y":     "bob ada",
			"?q=&role=&status=&order=-email": "root bob ada",
		} {
			b.get("/app/users" + query)
			b.want(http.StatusOK, "/app/users", `data-live="found"`, `id="found"`, `href="/app/invites/new"`)
			if got := strings.Join(b.rows(), " "); got != want {
				t.Errorf("%s: %s, want %s", query, got, want)
			}
		}
		b.get("/app/users")
		b.want(http.StatusOK, "/app/users", "Ada Zuse", "editor, member", "Deactivated", "3 users", `aria-sort="descending"`, `aria-current="page"`)
		b.wantNot("Next", "Previous", "First page")
		b.submit("/app/users", fields("q", "ada", "role", "editor", "status", "active"))
		b.want(http.StatusOK, "/app/users", `value="ada"`, `<option value="editor" selected>`, `<option value="active" selected>`)
		b.follow("E-mail")
		if b.want(http.StatusOK, "/app/users", `value="ada"`, `aria-sort="ascending"`); strings.Join(b.rows(), "") != "ada" {
			t.Errorf("sorted, the search finds %v", b.rows())
		}
		b.follow("E-mail")
		b.want(http.StatusOK, "/app/users", `aria-sort="descending"`, `value="-email"`)

		b.get("/app/users?q=nobody@example.com")
		b.want(http.StatusOK, "/app/users", "Nobody matches", "Show all users", "Why can nobody@example.com not sign in?")
		for _, bad := range []string{"order=shoe_size", "status=gone", "after=nonsense", "before=nonsense", "q=" + strings.Repeat("x", 1025)} {
			b.get("/app/users?" + bad)
			b.want(http.StatusBadRequest, "/app/users", `id="problem"`, "Show all users", `name="q"`)
		}
	})
}

func TestTheListOfUsersIsReadPageByPage(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b, _ := s.admin(t)
		drafts := make([]user.Draft, 120)
		for i := range drafts {
			drafts[i] = user.Draft{Email: fmt.Sprintf("u%03d@example.com", i)}
		}
		if _, err := s.users.CreateUsers(t.Context(), drafts...); err != nil {
			t.Fatal(err)
		}
		b.get("/app/users?order=email&q=u")
		want := func(first, last string, n int) {
			t.Helper()
			rows := b.rows()
			if b.page.status != http.StatusOK || len(rows) != n || rows[0] != first || rows[n-1] != last {
				t.Fatalf("%d: %d users %v, want %d from %s to %s", b.page.status, len(rows), rows, n, first, last)
			}
		}
		want("u000", "u049", 50)
		b.wantNot("Previous", "First page")
		b.want(http.StatusOK, "/app/users", "50 users on this page")
		b.follow("Next")
		want("u050", "u099", 50)
		b.follow("Next")
		want("u100", "u119", 20)
		b.wantNot("Next")
		b.follow("Previous")
		want("u050", "u099", 50)
		b.follow("Previous")
		want("u000", "u049", 50)
		b.wantNot("Previous", "First page")
		b.follow("Next")
		b.follow("First page")
		want("u000", "u049", 50)
	})
}

func TestAUserIsShownWithAllThereIsToKnow(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b, root := s.admin(t)
		ada := s.person(t, "ada@example.com", "member")
		if _, err := s.users.UpdateUsers(t.Context(), user.Update{ID: ada.ID, FirstName: user.Set("Ada"), Metadata: user.Set(map[string]any{"team": "engines"})}); err != nil {
			t.Fatal(err)
		}
		hers := s.browser(t)
		hers.header.Set("User-Agent", "Difference Engine 2")
		hers.signIn("ada@example.com")
		path := "/app/users/" + string(ada.ID)
		b.get("/app/users")
		b.follow("ada@example.com")
		b.want(http.StatusOK, path, "<h1>Ada</h1>", "ada@example.com", "confirmed", string(ada.ID), "Active", "member", "E-mail and password", "Difference Engine 2",
			">Sign in</a>", ">Edit a user</a>", "themselves", "/app/audit?target_id="+string(ada.ID), "/app/audit?actor_id="+string(ada.ID), "&#34;team&#34;: &#34;engines&#34;",
			path+"/edit", path+"/deactivate", path+"/delete", path+"/reset-password", path+"/sign-out", "/app/users/explain?email=ada%40example.com")
		b.wantNot(path+"/restore", path+"/reactivate", password)

		b.get("/app/users/" + string(root.ID))
		b.want(http.StatusOK, "/app/users/"+string(root.ID), "This is you", "this device", `href="/app/account"`)
		b.wantNot("/deactivate", "/delete")

		for _, id := range []string{"user_none", "user_01ARZ3NDEKTSV4RRFFQ69G5FAV", "%3Cscript%3E", strings.Repeat("x", 900)} {
			b.get("/app/users/" + id)
			if b.page.status != http.StatusNotFound {
				t.Errorf("%s: %d, want 404", id, b.page.status)
			}
			b.wantNot("<script>")
		}
		h := b.do(http.MethodHead, path, "", nil)
		if h.status != http.StatusOK || h.body != "" {
			t.Errorf("HEAD: %d with %d bytes", h.status, len(h.body))
		}
	})
}

func TestAUserIsEdited(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b, _ := s.admin(t)
		ada := s.person(t, "ada@example.com")
		if _, err := s.users.UpdateUsers(t.Context(), user.Update{ID: ada.ID, FirstName: user.Set("Ada"), Metadata: user.Set(map[string]any{"team": "engines", "level": 3})}); err != nil {
			t.Fatal(err)
		}
		path := "/app/users/" + string(ada.ID)
		b.get(path + "/edit")
		b.want(http.StatusOK, path+"/edit", `value="Ada"`, "engines")
		first := maps.Clone(b.form(path + "/edit").values)
		b.submit(path+"/edit", fields("first_name", " Augusta ", "last_name", "King", "avatar_url", "https://example.com/a.png",
			"metadata", "{\r\n  \"team\": \"notes\",\r\n  \"big\": 1234567890123, \"list\": [1, {\"x\": null}]\r\n}"))
		b.want(http.StatusOK, path, "The changes are saved", "Augusta King", "https://example.com/a.png", "1234567890123")
		if u := s.user(t, "ada@example.com"); *u.FirstName != "Augusta" || *u.LastName != "King" || u.Metadata["team"] != "notes" || u.Metadata["level"] != nil {
			t.Errorf("kept is %+v", u)
		}
		b.get(path)
		b.wantNot("The changes are saved")

		// The same form sent once more, or from a page of before, overwrites nothing that its sender has not seen.
		b.post(path+"/edit", first)
		b.want(http.StatusConflict, path+"/edit", "was changed since", `value="Ada"`, "Augusta", "notes")
		b.submit(path+"/edit", fields("first_name", "Countess", "metadata", ""))
		b.want(http.StatusOK, path, "The changes are saved", "Countess")
		if u := s.user(t, "ada@example.com"); *u.FirstName != "Countess" || u.LastName != nil || u.Metadata != nil {
			t.Errorf("kept is %+v", u)
		}

		for typed, says := range map[string]string{
			"{\n \"a\": 1,\n \"b\": x\n}": "line 3, at character 7",
			"[1]":                         "must be a JSON object",
			"null":                        "must be a JSON object",
			`"text"`:                      "must be a JSON object",
			`{"a":`:                       "line 1",
			`{"a": 1, "a": 2}`:            "a name stands in it twice",
			`{"a": "` + strings.Repeat("x", 17<<10) + `"}`: "metadata",
		} {
			b.get(path + "/edit")
			b.submit(path+"/edit", fields("first_name", "Kept", "metadata", typed))
			b.want(http.StatusBadRequest, path+"/edit", says, `value="Kept"`, html.EscapeString(typed[:min(5, len(typed))]))
			if !regexp.MustCompile(`<textarea id="metadata"[^>]*aria-invalid="true" autofocus`).MatchString(b.page.body) {
				t.Errorf("%q: the problem is not about the metadata:\n%s", typed, b.page.body)
			}
		}
		b.get(path + "/edit")
		b.submit(path+"/edit", fields("last_name", strings.Repeat("x", 1025)))
		b.want(http.StatusBadRequest, path+"/edit", "The last name is too long")
		if !regexp.MustCompile(`<input id="last_name"[^>]*aria-invalid="true"`).MatchString(b.page.body) {
			t.Errorf("the problem is not about the last name:\n%s", b.page.body)
		}
		if u := s.user(t, "ada@example.com"); *u.FirstName != "Countess" || u.Metadata != nil {
			t.Errorf("what was refused is kept: %+v", u)
		}
	})
}

func TestRolesAreGivenAndTaken(t *testing.T) {
	eachWith(t, options{api: support}, func(t *testing.T, s *site) {
		b, root := s.admin(t)
		ada := s.person(t, "ada@example.com", "member")
		path := "/app/users/" + string(ada.ID)
		b.get(path)
		b.submit(path+"/roles", fields("role", "editor"))
		b.want(http.StatusOK, path, "They have the role editor now.")
		if u := s.user(t, "ada@example.com"); !slices.Equal(u.Roles, []string{"editor", "member"}) {
			t.Errorf("roles %v", u.Roles)
		}
		b.submit(path+"/roles", fields("role", ""))
		b.want(http.StatusBadRequest, path+"/roles", "Choose a role")
		b.post(path+"/roles", fields("role", "no such, thing"))
		b.want(http.StatusBadRequest, path+"/roles", "A role must be a name")
		b.get(path)
		b.submit(path+"/roles/remove", fields("role", "editor"))
		b.want(http.StatusOK, path, "They do not have the role editor any more.", `<option value="editor">`)
		b.post(path+"/roles/remove", fields("role", "editor"))
		b.want(http.StatusOK, path, "They do not have the role editor any more.")

		// Of oneself it is asked, and the last administrator stays one.
		mine := "/app/users/" + string(root.ID)
		b.get(mine)
		b.follow("Take away")
		b.want(http.StatusOK, mine+"/roles/remove", "perhaps not give it back to yourself")
		b.submit(mine+"/roles/remove", nil)
		b.want(http.StatusBadRequest, mine+"/roles/remove", says(user.ErrLastAdmin))
		s.person(t, "second@example.com", user.RoleAdmin)
		b.post(mine+"/roles/remove", fields("role", "admin"))
		b.want(http.StatusForbidden, mine)
		b.get("/app")
		b.wantNot(`href="/app/users"`)
	})
}

func TestAUserIsDeactivatedAndReactivated(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b, root := s.admin(t)
		ada := s.person(t, "ada@example.com")
		hers := s.browserOf(t, "ada@example.com")
		path := "/app/users/" + string(ada.ID)
		b.get(path)
		b.follow("Deactivate")
		b.want(http.StatusOK, path+"/deactivate", "Deactivate ada@example.com?", "signed out everywhere")
		b.submit(path+"/deactivate", nil)
		b.want(http.StatusOK, path, "They are deactivated and signed out", "cannot sign in")
		hers.get("/app")
		hers.want(http.StatusOK, "/app/login")
		b.post(path+"/deactivate", nil)
		b.want(http.StatusOK, path)
		b.submit(path+"/reactivate", nil)
		b.want(http.StatusOK, path, "They can sign in again.")
		hers.signIn("ada@example.com")
		hers.want(http.StatusOK, "/app")
		b.post("/app/users/"+string(root.ID)+"/deactivate", nil)
		b.want(http.StatusBadRequest, "/app/users/"+string(root.ID)+"/deactivate", "This is you")
		b.get("/app/users/" + string(root.ID) + "/deactivate")
		b.want(http.StatusBadRequest, "/app/users/"+string(root.ID)+"/deactivate", "This is you")
	})
}

func TestAUserIsDeletedByTypingWhoItIsAndRestored(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b, root := s.admin(t)
		ada := s.person(t, "ada@example.com", "member")
		path := "/app/users/" + string(ada.ID)
		b.get(path)
		b.follow("Delete")
		b.want(http.StatusOK, path+"/delete", "Delete ada@example.com?", "Type ada@example.com to confirm")
		for _, typed := range []string{"", "ada", "root@example.com", string(ada.ID)} {
			b.submit(path+"/delete", fields("confirm", typed))
			b.want(http.StatusBadRequest, path+"/delete", "nothing was deleted", `value="`+typed+`"`, `aria-invalid="true"`)
		}
		s.user(t, "ada@example.com")
		b.submit(path+"/delete", fields("confirm", " ADA@example.com"))
		b.want(http.StatusOK, "/app/users", "The user is deleted", `<a href="/app/users/`+string(ada.ID)+`">`)
		s.wantNoUser(t, "ada@example.com")
		if slices.Contains(b.rows(), "ada") {
			t.Error("who was deleted is in the list")
		}
		b.get("/app/users?status=deleted")
		b.follow("ada@example.com")
		b.want(http.StatusOK, path, "This user is deleted", "Deleted")
		b.wantNot("Send reset mail", path+"/edit", `id="ways"`, path+"/delete")
		for _, gone := range []string{"/edit", "/delete", "/deactivate", "/sign-out", "/roles/remove?role=member"} {
			b.get(path + gone)
			if b.page.status != http.StatusConflict || !strings.Contains(b.page.body, "Restore them first") {
				t.Errorf("%s of who is deleted: %d", gone, b.page.status)
			}
		}
		b.post(path+"/delete", fields("confirm", "ada@example.com"))
		b.want(http.StatusOK, "/app/users")
		b.post(path+"/roles", fields("role", "admin"))
		b.want(http.StatusNotFound, path+"/roles")
		b.post(path+"/edit", fields("first_name", "x"))
		if b.page.status != http.StatusConflict && b.page.status != http.StatusNotFound {
			t.Errorf("who is deleted is edited: %d", b.page.status)
		}

		// The address may be somebody else's by now.
		other := s.person(t, "ada@example.com")
		b.get(path)
		b.submit(path+"/restore", nil)
		b.want(http.StatusConflict, path+"/restore", "Another user has this address by now")
		if err := s.users.SoftDeleteUsers(t.Context(), other.ID); err != nil {
			t.Fatal(err)
		}
		b.submit(path+"/restore", nil)
		b.want(http.StatusOK, path, "The user is back", "Active", "There is nothing by which they could sign in")
		b.wantNot("Send reset mail")
		b.post(path+"/reset-password", nil) // as by a page from before
		b.want(http.StatusBadRequest, path+"/reset-password", says(link.ErrNoWay))
		if u := s.user(t, "ada@example.com"); u.ID != ada.ID || !u.HasRole("member") {
			t.Errorf("restored is %+v", u)
		}

		b.post("/app/users/"+string(root.ID)+"/delete", fields("confirm", "root@example.com"))
		b.want(http.StatusBadRequest, "/app/users/"+string(root.ID)+"/delete", "This is you")
	})
}

func TestWhoHasNoAddressIsKnownByTheirID(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b, _ := s.admin(t)
		made, err := s.users.CreateUsers(t.Context(), user.Draft{})
		if err != nil {
			t.Fatal(err)
		}
		id := string(made[0].ID)
		b.get("/app/users")
		b.follow(id)
		b.want(http.StatusOK, "/app/users/"+id, "<h1>"+id+"</h1>", "They have no role")
		b.wantNot("Send reset mail", "Why can they not sign in?")
		b.post("/app/users/"+id+"/reset-password", nil)
		b.want(http.StatusBadRequest, "/app/users/"+id+"/reset-password")
		b.get("/app/users/" + id + "/delete")
		b.submit("/app/users/"+id+"/delete", fields("confirm", ""))
		b.want(http.StatusBadRequest, "/app/users/"+id+"/delete")
		b.submit("/app/users/"+id+"/delete", fields("confirm", id))
		b.want(http.StatusOK, "/app/users", "The user is deleted")
	})
}

func TestAnAdminHasAResetMailSentAndSeesNoToken(t *testing.T) {
	eachWith(t, options{api: httpapi.Options{ResetTokenInResponse: true}}, func(t *testing.T, s *site) {
		b, _ := s.admin(t)
		ada := s.person(t, "ada@example.com")
		path := "/app/users/" + string(ada.ID)
		b.get(path)
		b.submit(path+"/reset-password", nil)
		b.want(http.StatusOK, path, "on its way to ada@example.com")
		if r := s.asked.last(t); r.EntityID != "ada@example.com" {
			t.Errorf("asked for %+v", r)
		}
		b.wantNot("eyJ", "token=")
		none, err := s.users.CreateUsers(t.Context(), user.Draft{Email: "bob@example.com"})
		if err != nil {
			t.Fatal(err)
		}
		path = "/app/users/" + string(none[0].ID)
		b.get(path)
		b.wantNot("Send reset mail")
		b.post(path+"/reset-password", nil)
		if b.want(http.StatusBadRequest, path+"/reset-password", "<h1>bob@example.com</h1>"); !strings.Contains(b.page.body, `class="problem"`) {
			t.Error("it is not said why there is no mail")
		}
	})
}

func TestSessionsOfAUserAreEnded(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b, root := s.admin(t)
		ada := s.person(t, "ada@example.com")
		one, two := s.browserOf(t, "ada@example.com"), s.browserOf(t, "ada@example.com")
		path := "/app/users/" + string(ada.ID)
		b.get(path)
		b.follow("End")
		b.want(http.StatusOK, path+"/sign-out", "signed out there at once")
		b.submit(path+"/sign-out", nil)
		b.want(http.StatusOK, path, "The session has ended.")
		in := func(b *browser) bool { b.get("/app"); return b.page.path != "/app/login" }
		if in(one) == in(two) {
			t.Error("not exactly one session has ended")
		}
		b.follow("Sign out everywhere")
		b.want(http.StatusOK, path+"/sign-out", "(1 session)")
		b.submit(path+"/sign-out", nil)
		b.want(http.StatusOK, path, "They are signed out everywhere.", "They are not signed in anywhere.")
		if in(one) || in(two) {
			t.Error("a session lives on")
		}
		b.get(path + "/sign-out?session=authsess_none")
		b.want(http.StatusOK, path)

		// A session is that user's: one of somebody else does not end by their page.
		mine, _, err := s.link.ListAndCountSessions(t.Context(), root.ID, auth.Page{})
		if err != nil || len(mine) != 1 {
			t.Fatalf("%d sessions, %v", len(mine), err)
		}
		b.post(path+"/sign-out", fields("session", string(mine[0].ID)))
		b.get("/app/users/" + string(root.ID))
		b.want(http.StatusOK, "/app/users/"+string(root.ID))

		// Who ends their own is signed out, and asked to sign in.
		b.follow("Sign out everywhere")
		b.submit("/app/users/"+string(root.ID)+"/sign-out", nil)
		b.want(http.StatusOK, "/app/login")
	})
}

func TestWhatSomebodyMayNotDoIsNotOffered(t *testing.T) {
	eachWith(t, options{api: support}, func(t *testing.T, s *site) {
		root := s.person(t, "root@example.com", user.RoleAdmin)
		ada := s.person(t, "ada@example.com", "member")
		theirs, hers := "/app/users/"+string(root.ID), "/app/users/"+string(ada.ID)
		actions := []string{"/roles", "/roles/remove", "/deactivate", "/reactivate", "/delete", "/restore", "/reset-password", "/sign-out", "/edit"}
		sent := fields("role", "admin", "confirm", "root@example.com", "first_name", "x", "metadata", "{}")

		s.person(t, "reader@example.com", "reader")
		b := s.browserOf(t, "reader@example.com")
		b.get("/app/users")
		b.want(http.StatusOK, "/app/users")
		b.wantNot("/app/invites/new", "/app/users/explain")
		b.get(hers)
		b.want(http.StatusOK, hers, "ada@example.com")
		b.wantNot(hers+"/", "Audit log", `id="sessions"`)
		before := databasetest.Dump(t, s.db)["latchkey_user"]
		for _, a := range actions {
			b.post(hers+a, fields("role", "member", "confirm", "ada@example.com", "first_name", "x", "metadata", "{}"))
			if b.page.status < 400 {
				t.Errorf("a reader: POST %s: %d", a, b.page.status)
			}
			b.get(hers + a)
			if b.page.status < 400 {
				t.Errorf("a reader: GET %s: %d", a, b.page.status)
			}
		}
		b.get("/app/users/explain")
		b.want(http.StatusForbidden, "/app/users/explain")

		// Support may do everything to users, but to nobody who may do more.
		s.person(t, "support@example.com", "support")
		b = s.browserOf(t, "support@example.com")
		b.get(hers)
		b.want(http.StatusOK, hers, `<option value="editor">`)
		b.wantNot(`<option value="admin">`, `<option value="auditor">`)
		b.post(hers+"/roles", fields("role", "admin"))
		b.want(http.StatusForbidden, hers+"/roles", "This role may do more than you")
		b.get(theirs)
		b.want(http.StatusOK, theirs, "This user may do more than you", "root@example.com")
		b.wantNot(theirs + "/")
		for _, a := range actions {
			b.post(theirs+a, sent)
			if b.page.status < 400 {
				t.Errorf("support, to an administrator: POST %s: %d", a, b.page.status)
			}
		}
		b.get(theirs + "/edit")
		b.want(http.StatusForbidden, theirs+"/edit", "This user may do more than you")
		b.post(theirs+"/delete", sent)
		b.want(http.StatusForbidden, theirs+"/delete", "This user may do more than you")

		// Who may not see users is told so, and not led there.
		s.person(t, "auditor@example.com", "auditor")
		b = s.browserOf(t, "auditor@example.com")
		b.wantNot(`href="/app/users"`)
		for _, path := range []string{"/app/users", hers, hers + "/edit", hers + "/delete"} {
			b.get(path)
			b.want(http.StatusForbidden, path)
			b.wantNot("ada@example.com")
		}
		for _, a := range actions {
			b.post(hers+a, sent)
			if b.page.status < 400 {
				t.Errorf("an auditor: POST %s: %d", a, b.page.status)
			}
		}
		after := databasetest.Dump(t, s.db)["latchkey_user"]
		if fmt.Sprint(before[:2]) != fmt.Sprint(after[:2]) {
			t.Errorf("something has changed:\n%v\n%v", before, after)
		}

		// Strangers are asked to sign in.
		b = s.browser(t)
		b.get(hers)
		b.want(http.StatusOK, "/app/login")
		b.post(hers+"/delete", fields("confirm", "ada@example.com"))
		b.want(http.StatusOK, "/app/login")
		s.user(t, "ada@example.com")
	})
}

func TestWhoseSessionHasDiedChangesNobody(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b, root := s.admin(t)
		ada := s.person(t, "ada@example.com")
		path := "/app/users/" + string(ada.ID)
		b.get(path + "/delete")
		if _, err := s.link.EndSessions(t.Context(), root.ID); err != nil {
			t.Fatal(err)
		}
		b.submit(path+"/delete", fields("confirm", "ada@example.com"))
		b.want(http.StatusOK, "/app/login")
		s.user(t, "ada@example.com")
	})
}

func TestNothingThatUsersSayOfThemselvesIsMarkup(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b, _ := s.admin(t)
		const evil = `"><script>alert(1)</script>'{{.}}<img src=x onerror=alert(1)>`
		ada := s.person(t, "ada@example.com")
		if _, err := s.users.UpdateUsers(t.Context(), user.Update{ID: ada.ID, FirstName: user.Set(evil), LastName: user.Set(evil), AvatarURL: user.Set("javascript:alert(1)"),
			Metadata: user.Set(map[string]any{evil: evil, "</textarea><script>": "</pre>"})}); err != nil {
			t.Fatal(err)
		}
		if err := s.users.AddRoles(t.Context(), ada.ID, `<script>alert("role")</script>`, `x"onclick="y`); err != nil {
			t.Fatal(err)
		}
		hers := s.browser(t)
		hers.header.Set("User-Agent", evil)
		hers.signIn("ada@example.com")
		path := "/app/users/" + string(ada.ID)
		for _, at := range []string{"/app/users", "/app/users?q=" + url.QueryEscape(evil), "/app/users?role=" + url.QueryEscape(evil), "/app/users?order=" + url.QueryEscape(evil), "/app/users/explain?email=" + url.QueryEscape(evil),
			path, path + "/edit", path + "/delete", path + "/deactivate", path + "/sign-out", path + "/roles/remove?role=" + url.QueryEscape(`x"onclick="y`)} {
			b.get(at) // whose look at the page finds what is no markup of ours
			b.wantNot("<script>alert", "<img src=x", `href="javascript:`)
			if b.page.status >= 500 {
				t.Errorf("%s: %d", at, b.page.status)
			}
		}
		b.get(path)
		b.submit(path+"/roles/remove", nil)
		if b.page.status != http.StatusOK {
			t.Errorf("a role with signs is not taken: %d", b.page.status)
		}
	})
}

func TestAnAdminFindsOutWhySomebodyCannotSignIn(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b, _ := s.admin(t)
		ada := s.person(t, "ada@example.com")
		if err := s.users.DeactivateUsers(t.Context(), ada.ID); err != nil {
			t.Fatal(err)
		}
		b.get("/app/users/explain")
		b.submit("/app/users/explain", fields("email", " ADA@example.com "))
		b.want(http.StatusOK, "/app/users/explain", "cannot sign in", "keeps them out", "You can:", "/app/users/"+string(ada.ID))
		b.get("/app/users/explain?email=nobody@example.com")
		b.want(http.StatusOK, "/app/users/explain", "not known here")
		b.get("/app/users/explain?email=root@example.com")
		b.want(http.StatusOK, "/app/users/explain", "not blocked")
		s.invite(t, "invited@example.com", "member")
		b.get("/app/users/explain?email=invited@example.com")
		b.want(http.StatusOK, "/app/users/explain", "An invite for this address is open.")
		if len(b.all(`(until <time [^>]* data-local>[0-9])`)) != 1 {
			t.Errorf("until when an invite is open is no time:\n%s", b.page.body)
		}
		b.get("/app/users/explain?email=nonsense")
		b.want(http.StatusBadRequest, "/app/users/explain", `value="nonsense"`, `aria-invalid="true"`)
	})
}
