package httpapi_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/modules/user"
)

// marker is what a caller sends and nobody may repeat; digits is the same as a number.
const (
	marker = "hunter2-do-not-repeat"
	digits = "918273645"
)

// badBodies are refused for any route that reads a body.
var badBodies = []struct {
	name, body string
	media      string // the content type; empty: application/json
	status     int
}{
	{"cut off", `{"email":"` + marker + `@example.com","password":"` + marker, "", 400},
	{"trailing data", `{"email":"` + marker + `@example.com","password":"` + marker + `"}{}`, "", 400},
	{"trailing word", `{"password":"` + marker + `"} ` + marker, "", 400},
	{"trailing comma", `{"password":"` + marker + `",}`, "", 400},
	{"comment", `{"password":"` + marker + `"/*` + marker + `*/}`, "", 400},
	{"single quotes", `{'password':'` + marker + `'}`, "", 400},
	{"bare word", marker, "", 400},
	{"byte order mark", "\ufeff" + `{"password":"` + marker + `"}`, "", 400},
	{"only space", " \n", "", 400},
	{"array", `["` + marker + `"]`, "", 400},
	{"array of an object", `[{"password":"` + marker + `"}]`, "", 400},
	{"null", `null`, "", 400},
	{"string", `"` + marker + `"`, "", 400},
	{"number", digits, "", 400},
	{"true", `true`, "", 400},
	{"duplicate name", `{"email":"ada@example.com","password":"` + marker + `","password":"correct horse"}`, "", 400},
	{"duplicate name in another case", `{"email":"ada@example.com","Password":"` + marker + `","password":"correct horse"}`, "", 400},
	{"duplicate name by an escape", `{"email":"ada@example.com","pass\u0077ord":"` + marker + `","password":"correct horse"}`, "", 400},
	{"duplicate name by the Kelvin sign", `{"k":"` + marker + `","` + "\u212a" + `":"` + marker + `"}`, "", 400},
	{"duplicate name further down", `{"metadata":{"x":"` + marker + `","x":1}}`, "", 400},
	{"duplicate name of fields", `{"first_name":"` + marker + `","First_Name":"` + marker + `"}`, "", 400},
	{"too deep", strings.Repeat(`{"`+marker+`":`, 33) + "1" + strings.Repeat("}", 33), "", 400},
	{"far too deep", `{"x":` + strings.Repeat("[", 30_000) + strings.Repeat("]", 30_000) + "}", "", 400},
	{"NUL raw", `{"password":"` + marker + "\x00" + `"}`, "", 400},
	{"NUL escaped", `{"email":"ada@example.com","password":"` + marker + `\u0000"}`, "", 400},
	{"NUL in a name", `{"` + marker + `\u0000":1}`, "", 400},
	{"NUL further down", `{"metadata":{"a":["` + marker + `\u0000"]}}`, "", 400},
	{"NUL after the value", `{"password":"` + marker + "\"}\x00", "", 400},
	{"line break in a string", "{\"password\":\"" + marker + "\n\"}", "", 400},
	{"invalid UTF-8", `{"email":"ada@example.com","password":"` + marker + "\xff" + `"}`, "", 400},
	{"overlong UTF-8", `{"password":"` + marker + "\xc0\x80" + `"}`, "", 400},
	{"invalid UTF-8 in a name", `{"` + marker + "\xff" + `":1}`, "", 400},
	{"surrogate in UTF-8", `{"password":"` + marker + "\xed\xa0\x80" + `"}`, "", 400},
	{"lone high surrogate", `{"email":"ada@example.com","password":"` + marker + `\ud800"}`, "", 400},
	{"lone low surrogate", `{"email":"ada@example.com","password":"` + marker + `\udc00"}`, "", 400},
	{"surrogates in the wrong order", `{"password":"` + marker + `\udc00\ud800"}`, "", 400},
	{"UTF-16", "\xff\xfe{\x00}\x00", "", 400},
	{"number of no size", `{"x":1e999,"password":"` + marker + `"}`, "", 400},
	{"oversized", `{"password":"` + marker + `","x":"` + strings.Repeat("x", 64<<10) + `"}`, "", 413},
	{"oversized space", `{"password":"` + marker + `"}` + strings.Repeat(" ", 64<<10), "", 413},
	{"oversized nonsense", strings.Repeat(marker, 1<<13), "", 413},
	{"form", "email=" + marker + "%40example.com&password=" + marker, "application/x-www-form-urlencoded", 415},
	{"JSON as a form", `{"email":"ada@example.com","password":"` + marker + `"}`, "application/x-www-form-urlencoded", 415},
	{"JSON as text", `{"email":"ada@example.com","password":"` + marker + `"}`, "text/plain", 415},
	{"JSON as JSON of a kind", `{"email":"ada@example.com","password":"` + marker + `"}`, "application/merge-patch+json", 415},
	{"no content type", `{"email":"ada@example.com","password":"` + marker + `"}`, " ", 415},
	{"nonsense for a content type", `{"password":"` + marker + `"}`, "application/json; =", 415},
	{"multipart", "--x\r\n\r\n" + marker + "\r\n--x--", "multipart/form-data; boundary=x", 415},
}

// wrongTypes are well-formed, but not what the route reads.
var wrongTypes = map[string][]struct {
	body   string
	status int
}{
	"/auth/user/emailpass/register": {
		{`{"email":"ada@example.com","password":` + digits + `}`, 401}, {`{"email":"ada@example.com","password":["` + marker + `"]}`, 401},
		{`{"email":{"$ne":"` + marker + `"},"password":"` + marker + `"}`, 401}, {`{"email":` + digits + `,"password":"` + marker + `"}`, 401},
		{`{"email":"` + marker + `","password":"` + marker + `"}`, 400}, {`{"email":"ada@example.com","password":"` + strings.Repeat(marker, 20) + `"}`, 400},
	},
	"/auth/user/emailpass": {
		{`{"email":"ada@example.com","password":` + digits + `}`, 401}, {`{"email":"ada@example.com","password":{"x":"` + marker + `"}}`, 401},
		{`{"email":["` + marker + `"],"password":"` + marker + `"}`, 401}, {`{"email":"` + marker + `","password":"` + marker + `"}`, 401},
	},
	"/auth/user/emailpass/reset-password": {
		{`{"identifier":` + digits + `}`, 400}, {`{"identifier":["` + marker + `"]}`, 400}, {`{"identifier":{"$ne":"` + marker + `"}}`, 400},
		{`{"identifier":"x","metadata":"` + marker + `"}`, 400}, {`{"identifier":"x","metadata":["` + marker + `"]}`, 400},
		{`{"identifier":"x","metadata":{"x":"` + strings.Repeat(marker, 1000) + `"}}`, 400},
	},
	"/auth/user/emailpass/update": {
		{`{"password":"` + marker + `"}`, 401}, {`{"password":` + digits + `}`, 401}, {`{"current_password":"` + marker + `","password":"` + marker + `"}`, 401},
	},
	"/auth/user/emailpass/callback": {{`{"code":"` + marker + `"}`, 401}},
	"/admin/users/{member}": {
		{`{"first_name":` + digits + `}`, 400}, {`{"first_name":-` + digits + `}`, 400}, {`{"first_name":["` + marker + `"]}`, 400}, {`{"first_name":{"` + marker + `":1}}`, 400},
		{`{"metadata":"` + marker + `"}`, 400}, {`{"metadata":["` + marker + `"]}`, 400}, {`{"metadata":` + digits + `}`, 400}, {`{"avatar_url":1.` + digits + `}`, 400},
	},
	"/admin/users/{member}/roles": {
		{`{"roles":"` + marker + `"}`, 400}, {`{"roles":[` + digits + `]}`, 400}, {`{"roles":{"` + marker + `":1}}`, 400}, {`{"roles":["` + marker + `",null]}`, 400}, {`{"roles":["` + marker + ` "]}`, 400},
	},
	"/admin/invites": {
		{`{"email":` + digits + `}`, 400}, {`{"email":["` + marker + `"]}`, 400}, {`{"email":{"$ne":"` + marker + `"}}`, 400}, {`{"email":"` + marker + `"}`, 400},
		{`{"email":"x@example.com","roles":"` + marker + `"}`, 400}, {`{"email":"x@example.com","roles":[` + digits + `]}`, 400}, {`{"email":"x@example.com","roles":{"` + marker + `":1}}`, 400},
		{`{"email":"x@example.com","metadata":["` + marker + `"]}`, 400}, {`{"email":"x@example.com","roles":["` + marker + `",null]}`, 400},
	},
	"/admin/invites/batch": {
		{`{"emails":"` + marker + `"}`, 400}, {`{"emails":["` + marker + `",null]}`, 400}, {`{"emails":{"` + marker + `":1}}`, 400}, {`{"emails":[` + digits + `]}`, 400},
		{`{"emails":["x@example.com"],"roles":["` + marker + ` "]}`, 400}, {`{"emails":["x@example.com"],"message":["` + marker + `"]}`, 400},
		{`{"emails":["x@example.com"],"message":"` + strings.Repeat(marker, 30) + `"}`, 400}, {`{"emails":["x@example.com"],"expires_in":` + digits + `}`, 400},
		{`{"emails":["x@example.com"],"expires_in":"` + marker + `"}`, 400},
	},
	"/admin/invites/accept?token={token of other}": {
		{`{"email":` + digits + `}`, 400}, {`{"email":["` + marker + `"]}`, 400}, {`{"first_name":{"x":"` + marker + `"}}`, 400}, {`{"last_name":` + digits + `}`, 400},
		{`{"email":"` + marker + `"}`, 400},
	},
}

// bodyRoutes are the routes that read a body, and who may call them; empty: everybody.
var bodyRoutes = map[string]string{
	"/auth/user/emailpass/register": "", "/auth/user/emailpass": "", "/auth/user/emailpass/reset-password": "",
	"/auth/user/emailpass/update": "", "/auth/user/emailpass/callback": "",
	"/admin/users/me/profile": "member", "/admin/users/{member}": "admin", "/admin/users/{member}/roles": "admin", "/admin/invites": "admin", "/admin/invites/batch": "admin", "/admin/invites/accept?token={token of other}": "newcomer",
}

// post sends a body with its content type.
func (sc scene) post(t *testing.T, path, as, body, media string) answer {
	t.Helper()
	var headers []string
	if as != "" {
		headers = append(headers, bearer(sc.tokens[as]))
	}
	if media != "" {
		headers = append(headers, "Content-Type: "+strings.TrimSpace(media))
	}
	return sc.do(t, "POST", sc.fill(path), body, headers...)
}

// wantRefused is an answer to something that is not to be repeated, nor to be acted on.
func (sc scene) wantRefused(t *testing.T, what string, a answer, status int) {
	t.Helper()
	if a.status != status || a.get("message") == "" {
		t.Errorf("%s: %d %s, want %d", what, a.status, a.body, status)
	}
	wantHeaders(t, "POST", a)
	said := a.body + fmt.Sprint(a.header) + sc.log.String()
	for _, secret := range []string{marker, digits, "pass\\u0077ord", "correct horse"} {
		if strings.Contains(said, secret) {
			t.Errorf("%s: the answer or the log repeats %s: %s", what, secret, a.body)
		}
	}
}

// For the routes that everybody may call there is no database at all: whatever is refused is refused without one.
func TestBadBodiesAreRefusedBeforeAnyLookup(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		sc := scene{server: s}
		check(t, s.db.Close())
		for path, as := range bodyRoutes {
			if as != "" {
				continue
			}
			good := credentials("ada@example.com", password)
			if strings.HasSuffix(path, "/reset-password") {
				good = `{"identifier":"ada@example.com"}`
			}
			if without := strings.HasSuffix(path, "/update") || strings.HasSuffix(path, "/callback"); without {
				// without a token, or for a provider of one step, nothing is ever looked up
			} else if a := sc.post(t, path, "", good, ""); a.status != 500 {
				t.Fatalf("%s with a good body: %d %s, want 500: the database is closed", path, a.status, a.body)
			}
			s.log.reset()
			for _, c := range badBodies {
				sc.wantRefused(t, path+": "+c.name, sc.post(t, path, "", c.body, c.media), c.status)
			}
			for _, c := range wrongTypes[path] {
				sc.wantRefused(t, path+": "+c.body, sc.post(t, path, "", c.body, ""), c.status)
			}
		}
	})
}

func TestBadBodiesAreRefusedAndRepeatedNowhere(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		sc := newScene(t, s)
		made, err := s.users.CreateInvites(t.Context(), user.InviteDraft{Email: "other@example.com"})
		check(t, err)
		sc.tokens["other"] = s.users.InviteToken(made[0], user.ByHand)
		tables := func() (rows []int) {
			for _, table := range []string{"user", "user_role", "invite", "auth_identity", "provider_identity", "auth_session", "link"} {
				rows = append(rows, s.count(t, table))
			}
			return rows
		}
		before := tables()
		member := sc.do(t, "GET", "/admin/users/me", "", bearer(sc.tokens["member"])).body
		for path, as := range bodyRoutes {
			for _, c := range badBodies {
				sc.wantRefused(t, path+": "+c.name, sc.post(t, path, as, c.body, c.media), c.status)
			}
			for _, c := range wrongTypes[path] {
				sc.wantRefused(t, path+": "+c.body, sc.post(t, path, as, c.body, ""), c.status)
			}
		}
		if after := tables(); !slices.Equal(before, after) {
			t.Errorf("rows before and after: %v, %v, want the same", before, after)
		}
		if after := sc.do(t, "GET", "/admin/users/me", "", bearer(sc.tokens["member"])).body; after != member {
			t.Errorf("the member was changed from %s to %s", member, after)
		}
		// Who may not call a route is told so, whatever is in the body.
		for path, as := range bodyRoutes {
			if as != "" {
				sc.wantRefused(t, path+" by nobody", sc.post(t, path, "", badBodies[0].body, ""), 401)
			}
		}
	})
}

// A new route that reads a body belongs into these tests.
func TestBodyRoutesAreAllThere(t *testing.T) {
	post := map[string]bool{}
	for _, f := range slices.Concat(registering, signingIn, sessions, usersRoutes, invitesRoutes, resetting, resettingOthers) {
		if path, ok := strings.CutPrefix(f.do, "POST "); ok && f.body != "" && f.status < 300 {
			path, _, _ = strings.Cut(path, "?")
			post[path] = true
		}
	}
	for path := range bodyRoutes {
		path, _, _ = strings.Cut(path, "?")
		delete(post, path)
	}
	for _, ignores := range []string{"/auth/user/vouching", "/auth/session", "/auth/token/refresh", "/admin/invites/{open}/resend", "/admin/users/{member}/reset-password"} {
		delete(post, ignores) // another provider of a route that is there, or does not look at the body
	}
	if len(post) > 0 {
		t.Errorf("no bad bodies are sent to %v", post)
	}
}

func TestABodyMayBeAsLongAsTheLimit(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		pad := func(n int) string {
			body := strings.TrimSuffix(credentials("ada@example.com", password), "}") + `,"pad":"`
			return body + strings.Repeat("x", n-len(body)-2) + `"}`
		}
		for n, want := range map[int]int{64 << 10: 200, 64<<10 + 1: 413} {
			if a := s.do(t, "POST", "/auth/user/emailpass/register", pad(n)); a.status != want {
				t.Errorf("%d bytes: %d %s, want %d", n, a.status, a.body, want)
			}
			// The same without saying beforehand how long it is.
			req, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/auth/user/emailpass/register", io.MultiReader(strings.NewReader(pad(n))))
			check(t, err)
			req.Header.Set("Content-Type", "application/json; charset=utf-8")
			rsp, err := s.Client().Do(req)
			check(t, err)
			rsp.Body.Close()
			if rsp.StatusCode != want {
				t.Errorf("%d bytes in chunks: %d, want %d", n, rsp.StatusCode, want)
			}
		}
		a := s.do(t, "POST", "/auth/user/emailpass/register", pad(64<<10+1))
		if want := `{"type":"unknown_error","message":"request entity too large","reason":"body_too_large"}`; a.body != want {
			t.Errorf("too long: %s, want %s", a.body, want)
		}
		a = s.do(t, "POST", "/auth/user/emailpass/register", `["x"]`)
		if want := problem("invalid_data", "The request body must be one well-formed JSON object.", "malformed_json"); a.body != want {
			t.Errorf("malformed: %s, want %s", a.body, want)
		}
		a = s.do(t, "POST", "/auth/user/emailpass/register", "a=b", "Content-Type: application/x-www-form-urlencoded")
		if want := problem("invalid_data", "Send the body as application/json.", "media_type"); a.body != want {
			t.Errorf("a form: %s, want %s", a.body, want)
		}
	})
}

// A body that stops short of its length is the caller's failure, not ours.
func TestABodyThatBreaksOffIsNoFailureOfTheServer(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		broken, body := io.Pipe()
		go func() {
			fmt.Fprint(body, `{"password":"`+marker)
			body.CloseWithError(context.Canceled)
		}()
		req, err := http.NewRequestWithContext(t.Context(), "POST", s.URL+"/auth/user/emailpass", broken)
		check(t, err)
		req.Header.Set("Content-Type", "application/json")
		if _, err := s.Client().Do(req); err == nil {
			t.Error("the request went through")
		}
		s.Close() // waits for the handler
		if log := s.log.String(); strings.Contains(log, `"level":"ERROR"`) || strings.Contains(log, marker) {
			t.Errorf("the log: %s", log)
		}
	})
}

func TestALogOfAWholeDayHoldsNoSecret(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		sc := newScene(t, s)
		secrets := map[string]string{"the password": password}
		keep := func(what string, a answer, path ...string) string {
			t.Helper()
			secret := a.get(path...)
			if a.status != 200 || secret == "" {
				t.Fatalf("%s: %d %s", what, a.status, a.body)
			}
			secrets[what] = secret
			return secret
		}
		for who, token := range sc.tokens {
			secrets["the "+who+"'s token"] = token
		}
		admin := bearer(sc.tokens["admin"])
		first := keep("an invite's token", sc.do(t, "POST", "/admin/invites", `{"email":"nina@example.com"}`, admin), "invite", "token")
		invites, err := s.users.ListInvites(t.Context(), user.InviteFilter{}, user.Page{})
		check(t, err)
		second := keep("a renewed invite's token", sc.do(t, "POST", "/admin/invites/"+string(invites[0].ID)+"/resend", "", admin), "invite", "token")
		session := sc.do(t, "POST", "/auth/session", "", bearer(sc.tokens["newcomer"]))
		cookie := "Cookie: latchkey=" + cookieOf(t, session).Value
		secrets["the cookie"] = cookieOf(t, session).Value
		for _, accept := range []struct {
			token  string
			status int
		}{{first, 400}, {second, 200}} {
			if a := sc.do(t, "POST", "/admin/invites/accept?token="+accept.token, `{}`, cookie, "Sec-Fetch-Site: same-origin"); a.status != accept.status {
				t.Fatalf("accept: %d %s, want %d", a.status, a.body, accept.status)
			}
		}
		keep("a refreshed token", sc.do(t, "POST", "/auth/token/refresh", "", cookie), "token")
		secrets["a wrong password"] = "wrong battery"
		sc.do(t, "POST", "/auth/user/emailpass", credentials("nina@example.com", "wrong battery"))
		sc.do(t, "POST", "/auth/user/emailpass/register", credentials("nina@example.com", "wrong battery"))
		sc.do(t, "GET", "/admin/users?q=wrong%20battery&token="+second, "", admin)
		sc.do(t, "GET", "/nowhere/at/all?token="+second, "", cookie)
		sc.do(t, "DELETE", "/auth/session", "", cookie)
		check(t, s.db.Close())
		sc.do(t, "POST", "/auth/user/emailpass", credentials("nina@example.com", password)) // 500
		sc.do(t, "POST", "/admin/invites/accept?token="+second, `{}`, cookie)               // 500

		log := s.log.String()
		for what, secret := range secrets {
			if strings.Contains(log, secret) {
				t.Errorf("the log holds %s", what)
			}
		}
		for _, part := range []string{"?", "token=", "eyJ", "Bearer", "INSERT INTO", "SELECT "} {
			for line := range strings.Lines(log) {
				if strings.Contains(line, part) {
					t.Errorf("the log holds %q: %s", part, line)
				}
			}
		}
		for _, path := range []string{"/admin/invites/accept", "/nowhere/at/all", "/auth/user/emailpass"} {
			if !strings.Contains(log, `"path":"`+path+`"`) {
				t.Errorf("the log does not name %s", path)
			}
		}
		if !strings.Contains(log, `"level":"ERROR"`) {
			t.Error("the log does not tell of the closed database")
		}
	})
}

// cookieOf is the one cookie that an answer sets.
func cookieOf(t *testing.T, a answer) *http.Cookie {
	t.Helper()
	cookies := (&http.Response{Header: a.header}).Cookies()
	if a.status != 200 || len(cookies) != 1 {
		t.Fatalf("%d %s with cookies %v, want one", a.status, a.body, cookies)
	}
	return cookies[0]
}
