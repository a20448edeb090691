package console_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/modules/user"
)

// nasty is what could break out of a page, or be lost on the way.
const nasty = "  \"><script>alert(1)</script>\n'&amp; {{.}} é \U0001F511 +%2B\n\nend "

// keptOn says what a page should be that keeps a form: nothing was done, here is how to go on.
func (b *browser) keptOn(path string, values url.Values) {
	b.t.Helper()
	b.want(http.StatusUnauthorized, path, "You are not signed in any more", "Nothing was done", `href="/app/login" target="_blank" rel="noopener"`, `role="alert"`)
	if len(b.page.forms) != 1 {
		b.t.Errorf("there are %d forms", len(b.page.forms))
	}
	got := b.form(path).values
	for name, want := range values {
		if !slices.Equal(got[name], want) {
			b.t.Errorf("%s: %q is kept, want %q", name, got[name], want)
		}
	}
	for name := range got {
		if _, sent := values[name]; !sent {
			b.t.Errorf("%s was not to be kept: %q", name, got[name])
		}
	}
}

// endSessions ends every session that there is.
func (s *site) endSessions(t *testing.T) {
	t.Helper()
	if _, _, err := s.auth.EndEverySession(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// inNewTab signs somebody in beside the page that is open.
func (b *browser) inNewTab(email string) {
	b.t.Helper()
	open := b.page
	b.signIn(email)
	b.page = open
}

// Whose session ends while they type loses nothing: the form comes back, and once they have signed in beside it, it is sent as it was.
func TestAFormOfWhoIsSignedOutMeanwhileIsKept(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		root := s.person(t, "root@example.com", user.RoleAdmin)
		grace := s.person(t, "grace@example.com", user.RoleMember)
		hook := s.hook(t)
		metadata := `{"note": "` + strings.Repeat(`<b>long</b> & 'quoted' é `, 250) + `"}`
		var addresses []string
		for i := range 900 {
			addresses = append(addresses, fmt.Sprintf("Person %d & Co <person.%d@example.com>", i, i))
		}
		edit, editHook := "/app/users/"+string(grace.ID)+"/edit", "/app/webhooks/"+hook+"/edit"
		for _, c := range []struct {
			path  string
			typed url.Values
			saved func() bool
		}{
			{accountPage, fields("first_name", "Ro\"ot", "last_name", "<b>Mc</b>Root"), func() bool {
				u := s.user(t, "root@example.com")
				return u.FirstName != nil && *u.FirstName == "Ro\"ot" && *u.LastName == "<b>Mc</b>Root"
			}},
			{edit, fields("first_name", "Grace '", "last_name", "Hopper", "avatar_url", "https://example.com/?a=1&b=2", "metadata", metadata), func() bool {
				u := s.user(t, "grace@example.com")
				return u.FirstName != nil && *u.FirstName == "Grace '" && strings.Contains(fmt.Sprint(u.Metadata), `<b>long</b> & 'quoted' é `)
			}},
			{"/app/invites/new", url.Values{"emails": {strings.Join(addresses, "\n")}, "roles": {user.RoleMember}, "expires_in": {"3600"}, "message": {"Hello <b>you</b>,\n\nwelcome."}}, func() bool {
				return s.openInvites(t) == 900 && s.inviteTo(t, "person.899@example.com").Message == "Hello <b>you</b>,\n\nwelcome."
			}},
			{"/app/webhooks/new", url.Values{"url": {"https://example.com/a?b=\"c\""}, "description": {"<i>mine</i>"}, "hears": {"some"}, "topic": {"user.created"}}, func() bool {
				return s.endpoints(t) == 2
			}},
			{editHook, url.Values{"url": {"https://example.org/other"}, "description": {"yours"}, "hears": {"some"}, "topic": {"user.created"}}, func() bool {
				return s.endpoint(t, hook).URL == "https://example.org/other"
			}},
		} {
			b := s.browser(t)
			b.signIn("root@example.com")
			b.get(c.path)
			all := b.form(c.path).values
			maps.Copy(all, c.typed)
			if got := all["as"]; !slices.Equal(got, []string{string(root.ID)}) {
				t.Errorf("%s is as %q", c.path, got)
			}
			s.endSessions(t)
			b.submit(c.path, c.typed)
			b.keptOn(c.path, all)
			b.wantNot("grace@example.com", "root@example.com", "<b>", "<i>") // it tells what it was sent, as text, and nothing else
			b.submit(c.path, nil)                                            // too early
			b.keptOn(c.path, all)
			if c.saved() {
				t.Fatalf("%s: it was done for nobody", c.path)
			}
			b.inNewTab("root@example.com")
			b.submit(c.path, nil)
			if b.page.status != http.StatusOK || !c.saved() {
				t.Errorf("%s: %d, and what was typed is not there:\n%s", c.path, b.page.status, b.page.body)
			}
		}
		who := s.browser(t)
		for _, path := range []string{accountPage, edit, "/app/invites/new", "/app/webhooks/new"} { // who asks for the page gets what they always got
			who.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
			who.get(path)
			who.want(http.StatusSeeOther, path)
			if to := who.page.header.Get("Location"); to != "/app/login?next="+url.QueryEscape(path) {
				t.Errorf("%s leads to %s", path, to)
			}
		}
	})
}

// Somebody else signs in beside the form of whoever had it: nothing is done as them, before they have seen that it would be.
func TestAKeptFormDoesNothingForSomebodyElse(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com", user.RoleAdmin)
		eve := s.person(t, "eve@example.com", user.RoleAdmin)
		grace := s.person(t, "grace@example.com", user.RoleMember)
		hook := s.hook(t)
		before := s.endpoint(t, hook)
		edit, editHook := "/app/users/"+string(grace.ID)+"/edit", "/app/webhooks/"+hook+"/edit"
		for path, typed := range map[string]url.Values{
			accountPage:         {"first_name": {"Ada"}, "last_name": {"Lovelace & <b>Co</b>"}},
			edit:                {"first_name": {"Mallory"}, "metadata": {"{\n\"team\": \"<b>navy</b>\"}"}},
			"/app/invites/new":  {"emails": {"x@example.com\ny@example.com"}, "message": {"Hello <b>you</b>"}, "expires_in": {"3600"}},
			"/app/webhooks/new": {"url": {"https://example.com/a?b=\"c\""}, "description": {"<i>mine</i>"}, "hears": {"some"}, "topic": {"user.created"}},
			editHook:            {"url": {"https://example.org/"}, "description": {"<i>mine</i>"}},
			emailPath:           {"email": {"new@example.com"}},
		} {
			b := s.browser(t)
			b.signIn("ada@example.com")
			b.get(path)
			s.endSessions(t)
			b.submit(path, typed)
			b.want(http.StatusUnauthorized, path, "Nothing was done")
			b.inNewTab("eve@example.com")
			b.submit(path, nil)
			b.want(http.StatusConflict, path, "Who is signed in here has changed meanwhile", "it is <strong>eve@example.com</strong> now")
			f := b.form(path).values
			for name, want := range typed {
				if !slices.Equal(f[name], want) {
					t.Errorf("%s: %s is %q by now, want %q", path, name, f[name], want)
				}
			}
			if got := f["as"]; !slices.Equal(got, []string{string(eve.ID)}) {
				t.Errorf("%s is as %q", path, got)
			}
			// A form that names nobody is nobody's.
			for _, as := range []string{"", "x"} {
				sent := maps.Clone(typed)
				sent.Set("as", as)
				b.send(path, sent)
				b.want(http.StatusConflict, path, "Who is signed in here has changed meanwhile")
			}
		}
		if u := s.user(t, "eve@example.com"); u.FirstName != nil {
			t.Errorf("eve is %s", *u.FirstName)
		}
		if u := s.user(t, "grace@example.com"); u.FirstName != nil || u.Metadata != nil {
			t.Errorf("grace is %+v", u)
		}
		if now := s.endpoint(t, hook); now.URL != before.URL || s.endpoints(t) != 1 || s.openInvites(t) != 0 || len(s.asked.moves) != 0 {
			t.Errorf("%+v, %d endpoints, %d invites, moves %v", now, s.endpoints(t), s.openInvites(t), s.asked.moves)
		}

		// What says so is no dead end: whoever means it sends it.
		b := s.browser(t)
		b.signIn("ada@example.com")
		b.get(edit)
		s.endSessions(t)
		b.submit(edit, fields("first_name", "Grace"))
		b.inNewTab("eve@example.com")
		b.submit(edit, nil)
		b.submit(edit, nil)
		b.want(http.StatusOK, "/app/users/"+string(grace.ID), "The changes are saved")

		// And nothing is shown to who may not see it.
		b.get(edit)
		s.endSessions(t)
		b.submit(edit, fields("first_name", "Mallory"))
		b.inNewTab("grace@example.com")
		b.submit(edit, nil)
		b.want(http.StatusForbidden, edit)
	})
}

// Of what is secret, of what confirms something, and of what no form of ours has, nothing is kept.
func TestAKeptFormHoldsNoSecrets(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		ada := s.person(t, "ada@example.com")
		b := s.browser(t)
		b.signIn("ada@example.com")
		b.get(emailPath)
		as := b.form(emailPath).values.Get("as")
		s.endSessions(t)
		for _, path := range []string{emailPath, accountPage, passwordPage, deletePage, "/app/webhooks/new", "/app/invites/new", "/app/users/" + string(ada.ID) + "/edit", "/app/users/" + string(ada.ID) + "/delete"} {
			sent := url.Values{"as": {as}}
			for _, name := range []string{"password", "current_password", "new_password", "code", "token", "verify", "state", "next", "leave", "secret", "confirm", "confirmation", "csrf", "<b>"} {
				sent.Set(name, "hush-"+name)
			}
			b.send(path, sent)
			b.wantNot("hush-")
			b.want(http.StatusOK, "/app/login") // nothing of it can be kept
			sent.Set("email", "new@example.com")
			sent.Set("first_name", "Ada")
			sent.Set("emails", "x@example.com")
			sent.Set("url", "https://example.com/")
			b.send(path, sent)
			b.wantNot("hush-")
		}

		// The page asks for the password by itself, and that it is missing is no attempt.
		b.get(emailPath)
		b.signIn("ada@example.com")
		b.get(emailPath)
		s.endSessions(t)
		b.submit(emailPath, fields("email", "new@example.com", "password", s.secret(password)))
		b.keptOn(emailPath, url.Values{"as": {as}, "email": {"new@example.com"}})
		b.inNewTab("ada@example.com")
		s.trail(t)
		b.submit(emailPath, nil)
		b.want(http.StatusBadRequest, emailPath, "Enter a password.", `value="new@example.com"`)
		if got := s.trail(t); len(got) > 0 {
			t.Errorf("the trail holds %v", got)
		}
		b.submit(emailPath, fields("password", password))
		b.want(http.StatusOK, emailPath, "Look into the new mailbox", "new@example.com")
	})
}

// What no page of ours has sent is not shown: another site cannot have us show its words.
func TestOnlyAFormOfOursIsKept(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		b := s.browser(t)
		b.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		sent := url.Values{"emails": {nasty}, "first_name": {nasty}, "url": {nasty}}
		b.send("/app/invites/new", sent)
		b.keptOn("/app/invites/new", url.Values{"emails": {nasty}})
		for name, from := range map[string]http.Header{"an origin": {"Origin": {"https://evil.example"}}, "a site": {"Sec-Fetch-Site": {"cross-site"}}, "a neighbour": {"Sec-Fetch-Site": {"same-site"}}} {
			b.header = from
			b.do(http.MethodPost, "/app/invites/new", form, strings.NewReader(sent.Encode()))
			if b.page.status != http.StatusForbidden || strings.Contains(b.page.body, "alert(1)") {
				t.Errorf("from %s: %d\n%s", name, b.page.status, b.page.body)
			}
		}
		b.header = http.Header{"Sec-Fetch-Site": nil} // a browser that says nothing: the cookie, which stays away, is all that would tell
		b.do(http.MethodPost, "/app/invites/new", form, strings.NewReader(sent.Encode()))
		b.want(http.StatusSeeOther, "/app/invites/new")
		b.header = http.Header{"Origin": {s.server.URL}}
		b.send("/app/invites/new", sent)
		b.keptOn("/app/invites/new", url.Values{"emails": {nasty}})
		b.header = http.Header{}
		for path, want := range map[string]int{
			"/app/nowhere": http.StatusNotFound, "/app/users": http.StatusMethodNotAllowed, "/app/audit": http.StatusMethodNotAllowed, // no form goes there
			"/app/users/x/delete": http.StatusSeeOther, "/app/users/x/deactivate": http.StatusSeeOther, "/app/invites/x/revoke": http.StatusSeeOther, // these ask anew
			"/app/webhooks/x/delete": http.StatusSeeOther, "/app/webhooks/x/rotate": http.StatusSeeOther, "/app/events/discard": http.StatusSeeOther,
			"/app/account/delete": http.StatusSeeOther, "/app/account/sessions/others": http.StatusSeeOther,
		} {
			if b.send(path, sent); b.page.status != want || strings.Contains(b.page.body, "alert(1)") {
				t.Errorf("%s: %d, want %d", path, b.page.status, want)
			}
		}
		b.send("/app/users/%22%3E%3Cb%3Ex/edit", sent)
		b.want(http.StatusUnauthorized, `/app/users/"><b>x/edit`, `action="/app/users/%22%3E%3Cb%3Ex/edit"`)
		b.wantNot(`"><b>x`, "<script>alert")
		for what, c := range map[string]struct {
			body   string
			status int
		}{
			"too much": {"emails=" + strings.Repeat("x", 256<<10), http.StatusRequestEntityTooLarge}, "as much as may be": {"emails=" + strings.Repeat("\"", 256<<10-7), http.StatusUnauthorized},
			"no text": {"emails=%ff", http.StatusBadRequest}, "nothing": {"", http.StatusSeeOther},
		} {
			if b.do(http.MethodPost, "/app/invites/new", form, strings.NewReader(c.body)); b.page.status != c.status {
				t.Errorf("%s: %d, want %d", what, b.page.status, c.status)
			}
		}
	})
}

var (
	formsIn   = regexp.MustCompile(`(?s)<form method="post" action="([^"]*)".*?</form>`)
	controls  = regexp.MustCompile(`<(?:input|textarea)[^>]*>`)
	notTyped  = []string{"hidden", "password", "checkbox", "radio"}
	confirmed = []string{"confirm", "confirmation"} // typed to say that one means it: asked for anew
)

// Every form with something that people type is one that is kept, also of a page that is yet to be written.
func TestEveryFormInsideWithSomethingTypedIsKept(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		grace := s.person(t, "grace@example.com", user.RoleMember)
		invite, _ := s.invite(t, "linus@example.com", user.RoleMember)
		b := s.root(t)
		hook := s.hook(t)
		about := map[string]string{"users": string(grace.ID), "invites": string(invite.ID), "webhooks": hook}
		pages := []string{accountPage, passwordPage, sessionsPage, sessionsPage + "/others", methodsPage, deletePage, emailPath}
		for pattern := range s.pages.Inside() {
			area, _, _ := strings.Cut(strings.TrimPrefix(pattern, "/app/"), "/")
			pages = append(pages, strings.ReplaceAll(pattern, "{id}", about[area]))
		}
		typed := map[string][]string{} // by where the form goes
		for _, path := range pages {
			for _, f := range formsIn.FindAllStringSubmatch(b.get(path).body, -1) {
				for _, control := range controls.FindAllString(f[0], -1) {
					has := map[string]string{}
					for _, a := range attributes.FindAllStringSubmatch(control, -1) {
						has[a[1]] = a[2]
					}
					if _, fixed := has["readonly"]; !fixed && !slices.Contains(notTyped, has["type"]) && !slices.Contains(confirmed, has["name"]) {
						typed[f[1]] = append(typed[f[1]], has["name"])
					}
				}
			}
		}
		if len(typed) < 6 {
			t.Errorf("something is typed only into %v", typed)
		}
		s.endSessions(t)
		for action, names := range typed {
			sent := url.Values{}
			for _, name := range names {
				sent.Set(name, "typed into "+name)
			}
			b.send(action, sent)
			b.keptOn(action, sent)
		}
	})
}
