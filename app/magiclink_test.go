package app_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// mailingServer is a server whose mails are read, and that signs in by them.
type mailingServer struct {
	*running
	t    *testing.T
	file string
}

// eachMailing runs f against a server in the mode, on every database.
func eachMailing(t *testing.T, mode string, f func(m *mailingServer), extra ...string) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		dir := t.TempDir()
		m := &mailingServer{t: t, file: filepath.Join(dir, "mail.jsonl")}
		m.running = start(t, environment(dir, at, append([]string{
			"LATCHKEY_MAIL_DRIVER=file", "LATCHKEY_MAIL_PATH=" + m.file, "LATCHKEY_LINK_ACTORS_USER_PROVIDERS=emailpass,magiclink",
			"LATCHKEY_AUTH_PROVIDERS_MAGICLINK_MODE=" + mode}, extra...)...))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := m.up(ctx); err != nil {
			t.Fatal(err)
		}
		f(m)
		for _, mail := range mailsIn(t, m.file, -1) { // whatever has become of them
			for _, secret := range regexp.MustCompile(`token=[\w.-]+|\n\d{6}\n`).FindAllString(mail.Text, -1) {
				if log := m.stderr.String(); strings.Contains(log, strings.TrimPrefix(strings.TrimSpace(secret), "token=")) {
					t.Errorf("the log holds what was mailed:\n%s", log)
				}
			}
		}
	})
}

// link is the link of the n-th mail, which there is at least.
func (m *mailingServer) link(n int) string {
	m.t.Helper()
	return m.url + "/app/magic?token=" + linkedToken(m.t, m.mail(n).Text, m.url, "/app/magic")
}

func (m *mailingServer) mail(n int) mailed {
	m.t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		if all := mailsIn(m.t, m.file, -1); len(all) >= n {
			return all[n-1]
		}
		if time.Now().After(deadline) {
			m.t.Fatalf("there is no mail %d", n)
		}
	}
}

// code is the code of the n-th mail.
func (m *mailingServer) code(n int) string {
	m.t.Helper()
	text := m.mail(n).Text
	found := regexp.MustCompile(`\n(\d{6})\n`).FindStringSubmatch(text)
	if found == nil || strings.Contains(text, "token=") {
		m.t.Fatalf("there is no code, or a link, in:\n%s", text)
	}
	return found[1]
}

// wrong is another code.
func wrong(code string) string { return fmt.Sprintf("%c%s", '0'+(code[0]-'0'+1)%10, code[1:]) }

// surfer is somebody's browser.
type surfer struct {
	*mailingServer
	client *http.Client
	status int
	path   string
	body   string
	header http.Header
}

func (m *mailingServer) surfer() *surfer {
	jar, err := cookiejar.New(nil)
	if err != nil {
		m.t.Fatal(err)
	}
	return &surfer{mailingServer: m, client: &http.Client{Jar: jar}}
}

func (s *surfer) do(method, to, media, body string) *surfer {
	s.t.Helper()
	if strings.HasPrefix(to, "/") {
		to = s.url + to
	}
	r, err := http.NewRequestWithContext(s.t.Context(), method, to, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	if method == http.MethodPost {
		r.Header.Set("Content-Type", media)
		r.Header.Set("Origin", s.url)
	}
	rsp, err := s.client.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer rsp.Body.Close()
	data, err := io.ReadAll(rsp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	s.status, s.path, s.body, s.header = rsp.StatusCode, rsp.Request.URL.Path, string(data), rsp.Header
	return s
}

func (s *surfer) get(to string) *surfer { s.t.Helper(); return s.do(http.MethodGet, to, "", "") }

// submit sends a form to the page of mailed sign-ins, with the state that the page of before has.
func (s *surfer) submit(names ...string) *surfer {
	s.t.Helper()
	values := url.Values{}
	if found := regexp.MustCompile(`name="state" value="([^"]+)"`).FindStringSubmatch(s.body); found != nil {
		values.Set("state", found[1])
	}
	for i := 0; i < len(names); i += 2 {
		values.Set(names[i], names[i+1])
	}
	return s.do(http.MethodPost, "/app/magic", "application/x-www-form-urlencoded", values.Encode())
}

// want says what the page should be. Where somebody with an account should have come home, it is their profile that is looked at.
func (s *surfer) want(status int, path string, parts ...string) {
	s.t.Helper()
	if path == "/app" && (s.path == "/app/account" || s.path == "/app/users") {
		s.get("/app/account")
		path = "/app/account"
	}
	if s.status != status || s.path != path {
		s.t.Fatalf("%d %s, want %d %s:\n%s", s.status, s.path, status, path, s.body)
	}
	for _, part := range parts {
		if !strings.Contains(s.body, part) {
			s.t.Errorf("%q is missing from:\n%s", part, s.body)
		}
	}
}

func tokenOf(link string) string { _, token, _ := strings.Cut(link, "token="); return token }

func TestAMailedLinkSignsInTheBrowserInWhichItWasAskedFor(t *testing.T) {
	eachMailing(t, "link", func(m *mailingServer) {
		ada := m.surfer()
		ada.get("/app/magic").want(200, "/app/magic", "Enter your e-mail address")
		ada.submit("email", "Ada@Example.com").want(200, "/app/magic", "on its way to <strong>ada@example.com</strong>", "in this browser")
		link := m.link(1)
		if mail := mailsIn(t, m.file, 1)[0]; mail.To != "ada@example.com" || !strings.Contains(mail.Text, "sign in to "+strings.TrimPrefix(m.url, "http://")+" as ada@example.com") || !strings.Contains(mail.HTML, tokenOf(link)) {
			t.Errorf("%+v", mail)
		}

		// A program that looks through mails opens it, with all the methods it knows, and even sends the form.
		scanner := m.surfer()
		for range 2 {
			scanner.get(link).want(403, "/app/magic", "for the browser in which it was asked for", "Send the mail", `value="ada@example.com"`)
			scanner.do(http.MethodHead, link, "", "").want(403, "/app/magic")
		}
		scanner.submit("token", tokenOf(link)).want(403, "/app/magic", "for the browser in which it was asked for")
		// So does who has asked for a link of their own, with an address of their own, in their browser.
		mallory := m.surfer()
		mallory.submit("email", "mallory@example.com").want(200, "/app/magic", "mallory@example.com")
		mallory.get(link).want(403, "/app/magic")
		mallory.submit("token", tokenOf(link)).want(403, "/app/magic")
		ada.get(m.link(2)).want(403, "/app/magic") // and nobody is let in as Mallory who opens theirs
		scanner.get("/app").want(200, "/app/login")
		mallory.get("/app").want(200, "/app/login")

		for range 3 { // to open it, in the right browser too, is not to use it
			ada.get(link).want(200, "/app/magic", "Sign in as <strong>ada@example.com</strong>", ">Sign in as")
		}
		ada.get("/app").want(200, "/app/login")
		ada.get(link).submit("token", tokenOf(link)).want(200, "/app", "ada@example.com", "member")
		ada.get(link).want(403, "/app/magic")
		ada.submit("token", tokenOf(link)).want(403, "/app/magic") // once
		ada.get("/app/magic?token=nonsense").want(401, "/app/magic", "was used already, or has expired")
	})
}

func TestOfSeveralMailedLinksInOneBrowserEachLeadsToItsOwnSignIn(t *testing.T) {
	eachMailing(t, "link", func(m *mailingServer) {
		one := m.surfer()
		one.submit("email", "ada@example.com").want(200, "/app/magic")
		one.get("/app/magic").submit("email", "bob@example.com").want(200, "/app/magic")
		bob, ada := m.link(2), m.link(1)
		if mailsIn(t, m.file, 2)[0].To != "ada@example.com" {
			ada, bob = bob, ada
		}
		one.get(bob).want(200, "/app/magic", "Sign in as bob@example.com")
		one.get(ada).want(200, "/app/magic", "Sign in as ada@example.com")
		one.submit("token", tokenOf(ada)).want(200, "/app", "ada@example.com")

		// Another mail for the same sign-in makes the first one void.
		two := m.surfer()
		two.submit("email", "eve@example.com").want(200, "/app/magic", "Send another mail")
		two.submit("email", "eve@example.com").want(200, "/app/magic", "on its way to <strong>eve@example.com</strong>")
		first, second := "", m.link(4)
		for _, mail := range mailsIn(t, m.file, 4) {
			if l := m.url + "/app/magic?token=" + linkedToken(t, mail.Text, m.url, "/app/magic"); mail.To == "eve@example.com" && l != second {
				first = l
			}
		}
		two.get(first).want(403, "/app/magic", "for the latest mail")
		two.get(second).submit("token", tokenOf(second)).want(200, "/app", "eve@example.com")
	})
}

func TestAMailedCodeIsTypedWhereItWasAskedForAndGuessedAFewTimesOnly(t *testing.T) {
	eachMailing(t, "code", func(m *mailingServer) {
		ada := m.surfer()
		ada.submit("email", "ada@example.com").want(200, "/app/magic", "Type the code here", "one-time-code")
		code := m.code(1)
		ada.submit("code", wrong(code)).want(401, "/app/magic", "not the code", "Type the code here")
		elsewhere := m.surfer() // a code is of no use in another sign-in, for the same address too
		elsewhere.submit("email", "ada@example.com").want(200, "/app/magic")
		if other := m.code(2); other != code {
			elsewhere.submit("code", code).want(401, "/app/magic", "not the code")
		}
		ada.submit("code", code[:3]+" "+code[3:]).want(200, "/app", "ada@example.com", "member")

		bob := m.surfer()
		bob.submit("email", "bob@example.com").want(200, "/app/magic")
		code = m.code(3)
		form := bob.body
		for n := range 5 {
			bob.body = form
			bob.submit("code", wrong(code))
			if want := map[bool]string{true: "the code was wrong too often", false: "not the code"}[n == 4]; bob.status != 401 || !strings.Contains(bob.body, want) {
				t.Errorf("wrong code %d: %d, want %q\n%s", n+1, bob.status, want, bob.body)
			}
		}
		bob.body = form
		bob.submit("code", code).want(401, "/app/magic", "Start again")
		bob.get("/app").want(200, "/app/login")
	})
}

func TestAScriptSignsInByAMailedCode(t *testing.T) {
	eachMailing(t, "code", func(m *mailingServer) {
		script := m.surfer()
		script.do("POST", "/auth/user/magiclink", "application/json", `{"email":"ada@example.com"}`).want(200, "/auth/user/magiclink")
		at, err := url.Parse(member(script.body, "location"))
		if err != nil || !strings.HasPrefix(at.String(), m.url+"/app/magic?state=") {
			t.Fatalf("location %v, %v", at, err)
		}
		code, state := m.code(1), at.Query().Get("state")
		answer := fmt.Sprintf(`{"state":%q,"code":%q}`, state, code)
		other := m.surfer()
		other.do("POST", "/auth/user/magiclink", "application/json", `{"email":"eve@example.com"}`).want(200, "/auth/user/magiclink")
		other.do("POST", "/auth/user/magiclink/callback", "application/json", answer).want(401, "/auth/user/magiclink/callback")
		script.do("POST", "/auth/user/magiclink/callback", "application/json", fmt.Sprintf(`{"state":%q,"code":%q}`, state, wrong(code))).
			want(401, "/auth/user/magiclink/callback", "invalid_credentials")
		ins := make([]bool, 8)
		for _, err := range databasetest.Together(len(ins), func(i int) error { // of any number at once one is let in
			r, err := http.NewRequestWithContext(t.Context(), "POST", m.url+"/auth/user/magiclink/callback", strings.NewReader(answer))
			if err != nil {
				return err
			}
			r.Header.Set("Content-Type", "application/json")
			for _, c := range script.client.Jar.Cookies(at) {
				r.AddCookie(c)
			}
			r.Header.Set("Origin", m.url)
			rsp, err := http.DefaultClient.Do(r)
			if err != nil {
				return err
			}
			ins[i] = rsp.StatusCode == 200
			return rsp.Body.Close()
		}) {
			if err != nil {
				t.Error(err)
			}
		}
		if n := strings.Count(fmt.Sprint(ins), "true"); n != 1 {
			t.Errorf("%d of %d at once were let in, want one", n, len(ins))
		}
	})
}

func TestAMailedSignInEndsWhereItWasToLead(t *testing.T) {
	const shop = "http://shop.example.com/callback"
	eachMailing(t, "code", func(m *mailingServer) {
		ada := m.surfer() // who has followed the link of the sign-in page, and is asked for the address here
		ada.get("/app/login").want(200, "/app/login", "/auth/user/magiclink/start?next=%2fapp", "E-mail code")
		ada.get("/auth/user/magiclink/start?next=/app/email").want(200, "/app/magic", "Enter your e-mail address")
		ada.submit("email", "ada@example.com").want(200, "/app/magic", "Type the code here")
		ada.submit("code", m.code(1)).want(200, "/app/email")

		// A page of the application's own asks from elsewhere, and keeps no cookie of ours.
		location := member(wantPost(t, 200, m.url+"/auth/user/magiclink", `{"email":"bob@example.com","callback_url":"`+shop+`"}`), "location")
		bob := m.surfer()
		bob.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		bob.get(location).want(200, "/app/magic", "Type the code here")
		if csp := bob.header.Get("Content-Security-Policy"); !strings.Contains(csp, "form-action 'self' http://shop.example.com;") {
			t.Errorf("browsers would not let the form lead to the application: %s", csp)
		}
		code := m.code(2)
		bob.submit("code", wrong(code)).want(401, "/app/magic", "not the code")
		bob.submit("code", code).want(303, "/app/magic")
		at, err := url.Parse(bob.header.Get("Location"))
		if err != nil || !strings.HasPrefix(at.String(), shop+"?") || at.Query().Get("code") != code {
			t.Fatalf("sent to %v, %v", at, err)
		}
		answer := fmt.Sprintf(`{"state":%q,"code":%q}`, at.Query().Get("state"), at.Query().Get("code"))
		if token := member(wantPost(t, 200, m.url+"/auth/user/magiclink/callback", answer), "token"); token == "" {
			t.Error("there is no token")
		}
		wantPost(t, 401, m.url+"/auth/user/magiclink/callback", answer)
	}, "LATCHKEY_HTTP_CALLBACK_URLS="+shop)
}

// A flow goes on when another mail is asked for, and so must what the browser keeps of it.
func TestAnotherMailHasTheBrowserKeepItsSignInForAsLong(t *testing.T) {
	eachMailing(t, "link", func(m *mailingServer) {
		ada := m.surfer()
		ada.submit("email", "ada@example.com").want(200, "/app/magic", "within 10 minutes")
		at, err := url.Parse(m.url)
		if err != nil {
			t.Fatal(err)
		}
		kept := ada.client.Jar.Cookies(at)
		ada.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		ada.submit("email", "ada@example.com").want(303, "/app/magic")
		again := (&http.Response{Header: ada.header}).Cookies()
		if len(kept) != 1 || len(again) != 1 || again[0].Name != "latchkey-flow" || again[0].Value != kept[0].Value || time.Until(again[0].Expires) < 19*time.Minute {
			t.Errorf("the browser has %v, and is told to keep %v", kept, again)
		}
		ada.client.CheckRedirect = nil
		ada.get(m.link(2)).want(200, "/app/magic", "Sign in as ada@example.com")
	})
}

// Programs look whether a link leads somewhere before people follow it, and are another browser.
func TestWhoLooksWhetherThePageIsThereTakesTheSignInFromNobody(t *testing.T) {
	const shop = "http://shop.example.com/callback"
	eachMailing(t, "code", func(m *mailingServer) {
		ada := m.surfer()
		ada.do("POST", "/auth/user/magiclink", "application/json", `{"email":"ada@example.com","callback_url":"`+shop+`"}`).want(200, "/auth/user/magiclink")
		page := member(ada.body, "location")
		at, err := url.Parse(page)
		if err != nil {
			t.Fatal(err)
		}
		program := m.surfer()
		program.do("HEAD", page, "", "").want(200, "/app/magic")
		if given := program.header.Get("Set-Cookie"); given != "" {
			t.Errorf("it is given %s", given)
		}
		answer := fmt.Sprintf(`{"state":%q,"code":%q}`, at.Query().Get("state"), m.code(1))
		ada.do("POST", "/auth/user/magiclink/callback", "application/json", answer).want(200, "/auth/user/magiclink/callback", `"token"`)
	}, "LATCHKEY_HTTP_CALLBACK_URLS="+shop)
}

func TestWhoTypesAnAddressDoesNotLearnWhetherItIsKnown(t *testing.T) {
	eachMailing(t, "link", func(m *mailingServer) {
		wantPost(t, 200, m.url+"/auth/user/emailpass/register", `{"email":"known@example.com","password":"correct horse"}`)
		answers := map[string]string{}
		for _, address := range []string{"known@example.com", "never@example.com"} {
			s := m.surfer()
			s.submit("email", address).want(200, "/app/magic")
			answers[address] = regexp.MustCompile(`value="[A-Z2-7]{26}"`).ReplaceAllString(strings.ReplaceAll(s.body, address, "A"), "S")
		}
		if answers["known@example.com"] != answers["never@example.com"] {
			t.Errorf("they are told apart:\n%s\n%s", answers["known@example.com"], answers["never@example.com"])
		}
		mailsIn(t, m.file, 2) // and both have a mail: what comes of it, the policy decides when it comes back
	})
}

// The squatter of these has registered with the victim's address before the victim comes.
func TestWhoComesByAMailedLinkTakesTheirAccountFromWhoHasSquattedOnIt(t *testing.T) {
	eachMailing(t, "link", func(m *mailingServer) {
		credentials := `{"email":"victim@example.com","password":"correct horse"}`
		signIn := m.url + "/auth/user/emailpass"
		wantPost(t, 200, signIn+"/register", credentials)
		squatter := member(wantPost(t, 200, signIn, credentials), "token") // and is the user with that address
		status, before := get(t, m.url+"/admin/users/me", squatter)
		if status != 200 || member(before, "id") == "" {
			t.Fatalf("%d %s", status, before)
		}
		squatters := m.surfer() // waits in their own browser, too
		squatters.submit("email", "victim@example.com").want(200, "/app/magic")
		victim := m.surfer()
		victim.submit("email", "victim@example.com").want(200, "/app/magic")
		mails := mailsIn(t, m.file, 2)
		let := false
		for _, mail := range mails {
			token := linkedToken(t, mail.Text, m.url, "/app/magic")
			if victim.get("/app/magic?token=" + token); victim.status == 200 {
				victim.submit("token", token).want(200, "/app", "victim@example.com")
				let = true
			}
		}
		if !let {
			t.Fatal("none of the links lets the victim in")
		}
		if status, body := get(t, m.url+"/admin/users/me", squatter); status != 401 {
			t.Errorf("the squatter's token: %d %s", status, body)
		}
		if status, body, err := post(signIn, credentials); err != nil || status != 401 {
			t.Errorf("the squatter's password: %d %s %v", status, body, err)
		}
		squatters.get("/app").want(200, "/app/login")
		victim.do("GET", "/admin/users/me?fields=%2Bemail_verified_at", "", "").want(200, "/admin/users/me", member(before, "id"))
		if member(victim.body, "email_verified_at") == "" {
			t.Errorf("the address is not proved: %s", victim.body)
		}
	})
}

func TestMailsToSignInByDoNotFloodAMailbox(t *testing.T) {
	eachMailing(t, "link", func(m *mailingServer) {
		for n := range 6 {
			s := m.surfer()
			s.submit("email", "ada@example.com")
			if want := map[bool]int{true: 429, false: 200}[n == 5]; s.status != want {
				t.Errorf("mail %d: %d, want %d\n%s", n+1, s.status, want, s.body)
			}
		}
		mailsIn(t, m.file, 5)
		m.surfer().submit("email", "eve@example.com").want(200, "/app/magic") // whose mailbox is another
	})
}

// Of a GET nobody knows whether anybody wanted it: a link anywhere has browsers send one.
func TestAPageOfSomebodyElsesHasNobodysBrowserSendMails(t *testing.T) {
	eachMailing(t, "code", func(m *mailingServer) {
		m.surfer().get("/auth/user/magiclink/start?email=ada@example.com").want(200, "/app/magic", "Enter your e-mail address")
		m.surfer().get("/auth/user/magiclink?email=ada@example.com").want(200, "/auth/user/magiclink", "/app/magic?state=")
		m.surfer().submit("email", "bob@example.com").want(200, "/app/magic", "Type the code here")
		m.mail(1)
		for _, sent := range mailsIn(t, m.file, 1) {
			if sent.To != "bob@example.com" {
				t.Errorf("a mail went to %s", sent.To)
			}
		}
	})
}

// A code that adds an address to somebody else's account must not look like one that signs in: its owner would land there later.
func TestAMailThatAddsAnAddressSaysToWhichAccount(t *testing.T) {
	for _, mode := range []string{"link", "code"} {
		eachMailing(t, mode, func(m *mailingServer) {
			eve := m.surfer()
			eve.submit("email", "eve@example.com")
			switch mode {
			case "link":
				eve.get(m.link(1)).submit("token", linkedToken(t, m.mail(1).Text, m.url, "/app/magic")).want(200, "/app")
			default:
				eve.submit("code", m.code(1)).want(200, "/app")
			}
			eve.do("POST", "/auth/user/magiclink/link", "application/json", `{"email":"bob@example.com"}`).want(200, "/auth/user/magiclink/link")
			got := m.mail(2)
			if strings.Contains(got.Subject+got.Text+got.HTML, "ign in to 127.0.0.1") {
				t.Errorf("it looks like one that signs in: %s\n%s", got.Subject, got.Text)
			}
			for what, text := range map[string]string{"text": got.Text, "HTML": got.HTML} {
				if got.To != "bob@example.com" || !strings.Contains(text, "The account eve@example.com at") || !strings.Contains(text, "If the account is") {
					t.Errorf("the %s does not say which account:\n%s", what, text)
				}
			}
			eve.get(member(eve.body, "location")).want(200, "/app/magic", "bob@example.com")
			eve.submit("email", "bob@example.com")
			if again := m.mail(3); !strings.Contains(again.Text, "The account eve@example.com at") {
				t.Errorf("another mail does not say it:\n%s", again.Text)
			}
			if mode == "link" {
				eve.get(m.link(3)).want(200, "/app/magic", "Sign in to your account by <strong>bob@example.com</strong> as well")
			}
		})
	}
}

// Whoever is tricked into telling the code of such a mail still signs in to their own account, and nobody else's.
func TestAnAddressOfSomebodyElsesIsNotAddedByACode(t *testing.T) {
	eachMailing(t, "code", func(m *mailingServer) {
		eve := m.surfer()
		eve.submit("email", "eve@example.com")
		eve.submit("code", m.code(1)).want(200, "/app", "eve@example.com")
		eve.do("POST", "/auth/user/magiclink/link", "application/json", `{"email":"bob@example.com"}`).want(200, "/auth/user/magiclink/link")
		at, err := url.Parse(member(eve.body, "location"))
		if err != nil {
			t.Fatal(err)
		}
		told := fmt.Sprintf(`{"state":%q,"code":%q}`, at.Query().Get("state"), m.code(2))
		eve.do("POST", "/auth/user/magiclink/callback", "application/json", told).want(400, "/auth/user/magiclink/callback", "address_not_yours")
		bob := m.surfer()
		bob.submit("email", "bob@example.com")
		bob.submit("code", m.code(3)).want(200, "/app", "bob@example.com")
	})
}

func TestNobodySignsInByMailUnlessTheConfigurationSaysSo(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		r := start(t, environment(t.TempDir(), at))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.up(ctx); err != nil {
			t.Fatal(err)
		}
		if status, body, err := post(r.url+"/auth/user/magiclink", `{"email":"ada@example.com"}`); err != nil || status == 200 || strings.Contains(body, "location") {
			t.Errorf("%d %s %v", status, body, err)
		}
		if status, _ := get(t, r.url+"/app/magic", ""); status != 404 {
			t.Errorf("the page: %d, want 404", status)
		}
	})
	dir := t.TempDir()
	if out, errs, code := run(t, environment(dir, databasetest.Database{}, "LATCHKEY_AUTH_PROVIDERS_MAGICLINK_MODE=sms")); code == 0 || !strings.Contains(errs, "LATCHKEY_AUTH_PROVIDERS_MAGICLINK_MODE: must be link or code") {
		t.Errorf("a mode that there is not: exit %d\n%s%s", code, out, errs)
	}
}
