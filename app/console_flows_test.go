package app_test

import (
	"context"
	"fmt"
	"html"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// What people do in the console, in a real browser, with a script and without, on a server as it is started. Each part goes on where
// the one before has ended.
func TestPeopleUseTheConsole(t *testing.T) {
	for _, script := range []bool{true, false} {
		name := "with script"
		if !script {
			name = "without script"
		}
		t.Run(name, func(t *testing.T) {
			databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
				s := theConsole(t, at, script)
				s.firstAdministrator(t)
				s.registering(t)
				s.forgottenPassword(t)
				s.invites(t)
				s.users(t)
				s.kept(t)
				s.account(t)
				s.system(t)
				s.everywhere(t)
			})
		})
	}
}

const consolePassword = "a long enough battery"

// consoleSite is a server and those who use it.
type consoleSite struct {
	*running
	script bool
	seen   sync.Map        // pages that were looked at
	read   map[string]bool // mails that were read

	ada *someone // the first administrator, once there is one
}

func theConsole(t *testing.T, at databasetest.Database, script bool) *consoleSite {
	t.Helper()
	server := start(t, environment(t.TempDir(), at, "LATCHKEY_WEBHOOKS_PRIVATE_ADDRESSES=true",
		"LATCHKEY_LINK_ACTORS_USER_PROVIDERS=emailpass,magiclink", "LATCHKEY_AUTH_PROVIDERS_MAGICLINK_MODE=code"))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := server.up(ctx); err != nil {
		t.Fatal(err)
	}
	return &consoleSite{running: server, script: script, read: map[string]bool{}}
}

// visitor is somebody who comes for the first time.
func (s *consoleSite) visitor(t *testing.T) *someone { return visitor(t, s.url, s.script, &s.seen) }

// member is somebody who signs in.
func (s *consoleSite) member(t *testing.T, email, password string) *someone {
	t.Helper()
	return s.visitor(t).open("/app/login").fill("email", email, "password", password).press("Sign in")
}

var (
	mailIn = regexp.MustCompile(`href="/app/dev/mailbox/([^"/]+)"`)
	linkIn = regexp.MustCompile(`href="(http://[^"]+token=[^"]+)"`)
	idIn   = regexp.MustCompile(`/([A-Za-z_]*[0-9][0-9A-Za-z_-]{15,}|[0-9]+)\b`)
	codeIn = regexp.MustCompile(`\b[0-9]{6}\b`)
)

// mailed waits for a mail to somebody with a link to the page, and returns the link.
func (s *consoleSite) mailed(t *testing.T, to, page string) string {
	t.Helper()
	return s.fromMail(t, to, func(mail string) string {
		for _, link := range linkIn.FindAllStringSubmatch(mail, -1) {
			if strings.Contains(link[1], page+"?") {
				return html.UnescapeString(link[1])
			}
		}
		return ""
	})
}

// code waits for a mail to somebody with a code, and returns the code.
func (s *consoleSite) code(t *testing.T, to string) string {
	t.Helper()
	return s.fromMail(t, to, func(mail string) string {
		_, letter, _ := strings.Cut(mail, `class="body letter"`)
		return codeIn.FindString(letter)
	})
}

// fromMail waits for a mail to somebody that was not read before and holds what is looked for. It reads the mailbox of development.
func (s *consoleSite) fromMail(t *testing.T, to string, look func(mail string) string) string {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		_, _, list := s.page(t, http.DefaultClient, "/app/dev/mailbox")
		for _, m := range mailIn.FindAllStringSubmatch(list, -1) {
			if s.read[m[1]] {
				continue
			}
			_, _, mail := s.page(t, http.DefaultClient, "/app/dev/mailbox/"+m[1])
			if found := look(mail); found != "" && strings.Contains(mail, to) {
				s.read[m[1]] = true
				return found
			}
		}
	}
	t.Fatalf("no mail to %s holds what is looked for", to)
	return ""
}

// firstAdministrator sets the server up by the link that it prints.
func (s *consoleSite) firstAdministrator(t *testing.T) {
	_, link, found := strings.Cut(s.stdout.String(), s.url+"/app/invite?token=")
	if !found {
		t.Fatalf("the server prints no link:\n%s", s.stdout)
	}
	token, _, _ := strings.Cut(link, "\n")
	s.ada = s.visitor(t)
	s.ada.open("/app/users").at("/app/login").photographed("sign-in")
	s.ada.open("/app/invite?token="+token).photographed("set-up").
		fill("email", "ada@nowhere", "first_name", "Ada", "last_name", "Lovelace", "password", "short").press("Become administrator").
		faulty("email").
		fill("email", "ada@example.com", "password", "short").press("Become administrator").
		faulty("password").
		fill("password", consolePassword).press("Become administrator").
		says("Ada Lovelace", "ada@example.com").
		open("/app/nowhere").says("There is no page at this address")
	s.ada.press("Sign out").at("/app/login").
		open("/app/invites").at("/app/login").
		fill("email", "ada@example.com", "password", "something else").press("Sign in").
		faulty("password").
		fill("password", consolePassword).press("Sign in").at("/app/invites") // where she was going
	s.ada.open("/app/account/delete").fill("confirmation", "ada@example.com", "current_password", consolePassword).press("Delete my account").
		says("last administrator")
}

// registering makes somebody an account, who proves the address afterwards.
func (s *consoleSite) registering(t *testing.T) {
	grace := s.visitor(t).open("/app/login").follow("Register").at("/app/register").photographed("register").
		fill("email", "grace@example.com", "password", "grace").press("Register").
		faulty("password").
		fill("password", consolePassword).press("Register").
		says("grace@example.com")
	grace.open("/app/account").says("not confirmed").press("Send a link that confirms it").says("is on its way to")
	grace.open(s.mailed(t, "grace@example.com", "/app/verify-email")).photographed("verify").press("Confirm the address").
		says("Your e-mail address is confirmed")
	grace.open("/app/account").saysNot("not confirmed").press("Sign out")
	s.visitor(t).open("/app/register").fill("email", "grace@example.com", "password", "quite another battery").press("Register").
		says("There is an account with this address already")
	grace.open("/app/login").fill("email", "grace@example.com", "password", consolePassword).press("Sign in").says("grace@example.com").
		saysNot("Invites", "Audit log") // a member has no menu of them
	grace.open("/app/users").says("You may not see or do this")
}

// forgottenPassword has a link mailed, and reads the mail in the mailbox of development.
func (s *consoleSite) forgottenPassword(t *testing.T) {
	grace := s.visitor(t).open("/app/login").follow("Forgot your password?").photographed("forgot").
		fill("email", "grace@example.com").press("Send the link").says("Look into your mailbox", "grace@example.com")
	grace.open("/app/dev/mailbox").photographed("mailbox").says("grace@example.com")
	link := s.mailed(t, "grace@example.com", "/app/reset-password")
	grace.open(link).photographed("reset").
		fill("password", "12345678").press("Set the password").
		faulty("password").
		fill("password", "another long battery").press("Set the password").says("Your password is set").
		follow("Sign in").fill("email", "grace@example.com", "password", "another long battery").press("Sign in").says("grace@example.com")
	s.visitor(t).open(link).says("used already")
}

// invites invites one and many; each of those who are invited ends well.
func (s *consoleSite) invites(t *testing.T) {
	s.ada.open("/app/invites").says("No invite is open").photographed("invites-empty")
	s.ada.open("/app/invites/new").photographed("invites-new").
		fill("emails", "Linus <linus@example.com>\nnonsense\nmargaret@example.com; grace@example.com", "message", "Welcome to the team.").
		press("Send invites").photographed("invites-result").
		says("linus@example.com", "Invited", "This is not an e-mail address")
	s.ada.open("/app/invites").says("linus@example.com", "margaret@example.com", "Pending", "expires in").photographed("invites")

	// Somebody new.
	linus := s.visitor(t).open(s.mailed(t, "linus@example.com", "/app/invite")).photographed("accept").
		says("Welcome to the team.", "You are invited").
		fill("first_name", "Linus", "password", consolePassword).press("Accept the invite").says("Linus")
	// Somebody who has registered, and is signed in.
	margaret := s.mailed(t, "margaret@example.com", "/app/invite")
	s.visitor(t).open("/app/register").fill("email", "margaret@example.com", "password", consolePassword).press("Register").press("Sign out")
	// Signed in as somebody else: one button makes way, and it goes on.
	linus.open(margaret).says("but the invite is for", "margaret@example.com").photographed("accept-other").
		press("Sign out and open the invite").
		fill("password", consolePassword).press("Accept the invite").says("margaret@example.com")
	s.visitor(t).open(margaret).says("accepted already")

	s.ada.open("/app/invites/new").fill("emails", "nobody@example.com").press("Send invites").
		says("is invited", "nobody@example.com").photographed("invite")
	s.ada.open("/app/invites")
	if s.script {
		s.ada.copies("Copy link", s.url+"/app/invite?token=")
	}
	s.ada.click(`//a[normalize-space()="nobody@example.com"]`).press("Send again").says("was sent again").
		press("Revoke").says("is revoked")
	s.ada.open("/app/invites?state=revoked").says("nobody@example.com").
		open("/app/invites?q=zzz").says("No invite found")
}

// users finds, changes, deactivates, deletes and restores somebody.
func (s *consoleSite) users(t *testing.T) {
	s.ada.open("/app/users").says("ada@example.com", "grace@example.com", "linus@example.com").photographed("users")
	if s.script { // as one types
		s.ada.fill("q", "grace")
		s.ada.waits(func() bool { return !strings.Contains(s.ada.Text(), "linus@example.com") })
		if at := s.ada.URL(); !strings.Contains(at, "q=grace") {
			t.Errorf("the search is not in the address: %s", at)
		}
	} else {
		s.ada.fill("q", "grace").press("Search")
	}
	s.ada.says("grace@example.com").saysNot("linus@example.com").
		follow("grace@example.com").photographed("user").says("Sessions", "All about them").
		follow("Edit").photographed("user-edit").
		fill("first_name", "Grace", "last_name", "Hopper", "metadata", "{nonsense").press("Save").
		faulty("metadata").
		fill("metadata", `{"team":"navy"}`).press("Save").says("The changes are saved", "Grace Hopper", "navy")
	grace := s.member(t, "grace@example.com", "another long battery").says("Grace Hopper")
	s.ada.choose("role", "admin").press("Give").says("They have the role admin now")
	grace.open("/app/users").says("linus@example.com") // at once
	s.ada.press("Take away admin").saysNot("They have the role admin now")
	s.ada.follow("Deactivate").photographed("user-deactivate").press("Deactivate").says("This user is deactivated")
	grace.open("/app/account").at("/app/login")
	grace.fill("email", "grace@example.com", "password", "another long battery").press("Sign in").says("deactivated")
	s.ada.press("Reactivate").says("They can sign in again")
	s.ada.press("Send reset mail").says("is on its way to grace@example.com")
	s.mailed(t, "grace@example.com", "/app/reset-password")
	s.ada.follow("Delete").photographed("user-delete").fill("confirm", "somebody@example.com").press("Delete").
		faulty("confirm").
		fill("confirm", "grace@example.com").press("Delete").at("/app/users").says("The user is deleted").saysNot("grace@example.com")
	s.ada.follow("Look at them, or restore them").press("Restore").says("The user is back")
	s.ada.open("/app/users?q=nobodyhere").says("Nobody matches")
	s.ada.open("/app/users/explain?email=grace%40example.com").photographed("explain").says("grace@example.com")
	s.ada.open("/app/users/" + url.PathEscape("user_01ARZ3NDEKTSV4RRFFQ69G5FAV")).says("There is no such user")
}

// kept has a session end while somebody types: once they have signed in again, in another tab, what they typed is sent as it was, and by
// somebody else it is not.
func (s *consoleSite) kept(t *testing.T) {
	const message = "Hello \"you\" & <all>,\n\n  we begin on Monday.\n"
	list := ""
	for i := range 200 {
		list += fmt.Sprintf("Person No. %d <person.%d@example.com>\n", i, i)
	}
	outOf := func(page string, fill ...string) { // her session ends while she is there
		s.ada.open(page).fill(fill...)
		s.member(t, "ada@example.com", consolePassword).open("/app/account/sessions/others").press("End all others")
	}
	outOf("/app/invites/new", "emails", list, "message", message)
	s.ada.press("Send invites").at("/app/invites/new").says("You are not signed in any more", "Nothing was done").photographed("kept").
		press("Send it again").says("Nothing was done") // too early
	s.ada.beside("Sign in (in a new tab)").at("/app/login").fill("email", "ada@example.com", "password", consolePassword).press("Sign in").at("/app/users")
	s.ada.comesBack().press("Send it again").says("person.0@example.com", "person.199@example.com", "Invited").saysNot("Not invited")
	s.ada.open("/app/invites?q=person.42%40").click(`//a[normalize-space()="person.42@example.com"]`).says("Hello \"you\" & <all>,", "we begin on Monday.")

	outOf("/app/account", "first_name", "A. \"Ada\"", "last_name", "<Lovelace>")
	s.ada.press("Save").says("Nothing was done")
	s.ada.beside("Sign in (in a new tab)").fill("email", "linus@example.com", "password", consolePassword).press("Sign in").at("/app/users")
	s.ada.comesBack().press("Send it again").says("Who is signed in here has changed meanwhile: it is linus@example.com now, so nothing was done").
		photographed("kept-other").holds("first_name", "A. \"Ada\"", "last_name", "<Lovelace>")
	s.ada.open("/app/account").holds("first_name", "Linus", "last_name", "").press("Sign out").
		fill("email", "ada@example.com", "password", consolePassword).press("Sign in")
	s.ada.open("/app/account").holds("first_name", "Ada", "last_name", "Lovelace")
}

// copies presses the first button that says so, and wants it to have copied what begins so. What is in the clipboard no page may read
// unasked, so what is written into it is looked at on the way.
func (p *someone) copies(label, begins string) {
	p.t.Helper()
	var copied string
	p.Run(chromedp.Evaluate(`(() => {
			const write = navigator.clipboard.writeText.bind(navigator.clipboard);
			navigator.clipboard.writeText = (text) => { window.copied = text; return write(text); };
		})()`, nil),
		chromedp.Click(fmt.Sprintf(`//button[normalize-space()=%s]`, quoted(label))), chromedp.WaitVisible(`button.done`, chromedp.ByQuery),
		chromedp.Evaluate(`window.copied`, &copied))
	if !strings.HasPrefix(copied, begins) {
		p.t.Errorf("%q is copied, want what begins %q", copied, begins)
	}
}

// waits waits until it is so.
func (p *someone) waits(so func() bool) {
	p.t.Helper()
	for end := time.Now().Add(20 * time.Second); !so(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("it did not come to be:\n%s", p.Text())
		}
	}
}

// account changes what is one's own.
func (s *consoleSite) account(t *testing.T) {
	linus := s.member(t, "linus@example.com", consolePassword)
	elsewhere := s.member(t, "linus@example.com", consolePassword)
	linus.open("/app/account").photographed("account").
		fill("first_name", "Linus", "last_name", "Pauling").press("Save").says("Your profile is saved", "Linus Pauling")
	linus.open("/app/account/sessions").photographed("sessions").says("this device").
		follow("End all others").press("End all others").says("One other session has ended")
	elsewhere.open("/app/account").at("/app/login")

	const next = "a third long battery"
	linus.open("/app/account/password").photographed("password").
		fill("current_password", "wrong", "new_password", next).press("Change the password").
		faulty("current_password").
		fill("current_password", consolePassword, "new_password", "short").press("Change the password").
		faulty("new_password").
		fill("current_password", consolePassword, "new_password", next).press("Change the password").says("Your password is changed")

	linus.open("/app/account/methods").photographed("methods").says("The last method cannot be removed").
		follow("Add E-mail code").fill("current_password", next).press("Send the mail").
		fill("code", s.code(t, "linus@example.com")).press("Add the address").says("You can sign in by").
		says("Remove")
	s.visitor(t).open("/app/login").follow("Sign in with E-mail code").photographed("magic").
		fill("email", "linus@example.com").press("Send the mail").
		fill("code", s.code(t, "linus@example.com")).press("Sign in").says("Linus Pauling")

	linus.open("/app/account/methods")
	linus.click(`//tr[contains(., "E-mail code")]//a[contains(., "Remove")]`).photographed("method-remove").
		fill("current_password", "wrong").press("Remove").faulty("current_password").
		fill("current_password", next).press("Remove").says("is removed", "The last method cannot be removed")

	linus.open("/app/account").follow("Change the address").photographed("email").
		fill("email", "pauling@example.com", "password", next).press("Send the link").says("Look into the new mailbox")
	linus.open(s.mailed(t, "pauling@example.com", "/app/email/confirm")).press("Confirm the address").says("Your e-mail address has changed", "pauling@example.com")

	linus.open("/app/account/delete").photographed("account-delete").
		fill("confirmation", "linus@example.com", "current_password", next).press("Delete my account").
		faulty("confirmation").
		fill("confirmation", "pauling@example.com", "current_password", next).press("Delete my account").says("Your account is deleted")
	linus.fill("email", "pauling@example.com", "password", next).press("Sign in").at("/app/login")
}

// everywhere goes wherever a link leads, to one page of each kind, so that each is looked at.
func (s *consoleSite) everywhere(t *testing.T) {
	if !s.script { // it is for look, which takes one
		return
	}
	s.ada.open("/app/invites/new").fill("emails", "someone@example.com").press("Send invites")
	been := map[string]bool{}
	for todo := []string{"/app"}; len(todo) > 0; {
		path := todo[0]
		todo = todo[1:]
		s.ada.open(path)
		var links []string
		s.ada.Run(chromedp.Evaluate(`[...document.querySelectorAll("a[href]")].map(a => a.getAttribute("href")).filter(at => at.startsWith("/app"))`, &links))
		for _, link := range links {
			kind := idIn.ReplaceAllString(strings.SplitN(link, "?", 2)[0], "/ID")
			if strings.HasSuffix(kind, "/html") || been[kind] { // the mail itself is no page of ours
				continue
			}
			been[kind] = true
			todo = append(todo, link)
		}
	}
	for _, kind := range []string{"/app/users/ID/edit", "/app/users/ID/delete", "/app/users/ID/sign-out", "/app/invites/ID", "/app/audit/ID", "/app/webhooks/ID/rotate", "/app/webhooks/ID/delete",
		"/app/events/consumers", "/app/account/delete", "/app/email", "/app/dev/mailbox/ID"} {
		if !been[kind] {
			t.Errorf("no link leads to %s; they lead to %v", kind, slices.Sorted(maps.Keys(been)))
		}
	}
}

// system looks at what runs behind it all.
func (s *consoleSite) system(t *testing.T) {
	s.ada.open("/app/audit").photographed("audit").says("ada@example.com")
	s.ada.open("/app/audit?outcome=refused").says("Refused").
		open("/app/audit?action=webhook.created").says("No event found")
	s.ada.open("/app/events").photographed("events")
	s.ada.open("/app/events/consumers").photographed("consumers").says("mail")

	hook := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(hook.Close)
	s.ada.open("/app/webhooks").photographed("webhooks-empty").follow("Add a webhook").
		fill("url", "ftp://example.com").press("Add the webhook").faulty("url").
		fill("url", hook.URL, "description", "Billing").press("Add the webhook").photographed("webhook-secret").says("whsec_")
	s.ada.open("/app/webhooks").photographed("webhooks").follow(hook.URL).photographed("webhook").press("Send a test")
	s.ada.says("200")
	s.ada.open("/app/health").photographed("health").says("Database", "Mail")
}
