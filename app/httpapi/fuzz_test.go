package httpapi_test

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/app/webhook"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/strictjson"
	"github.com/latchkey-go/latchkey/modules/user"
)

// fuzzed is a server for a fuzz target, which calls its handler without a connection.
type fuzzed struct {
	*server
	admin string // a token
}

func fuzzServer(f *testing.F) fuzzed {
	s := serve(f, databasetest.SQLite(f).Open(f, user.Migrations(), auth.Migrations(), link.Migrations(), audit.Migrations(), outbox.Migrations(), webhook.Migrations()), unthrottled)
	const admin = "admin@example.com"
	secret := rand.Text() // or the fuzzer would change it sometime
	s.adminWith(f, admin, secret)
	return fuzzed{s, s.token(f, "sign in", s.do(f, "POST", "/auth/user/emailpass", credentials(admin, secret)))}
}

// send answers a request, and fails the test for an answer that no caller can bring about.
func (s fuzzed) send(t *testing.T, r *http.Request) *httptest.ResponseRecorder {
	t.Helper()
	s.log.reset()
	w := httptest.NewRecorder()
	s.Config.Handler.ServeHTTP(w, r)
	if log := s.log.String(); w.Code >= 500 || strings.Contains(log, `"level":"ERROR"`) {
		t.Fatalf("%s %s: %d %s\n%s", r.Method, r.URL, w.Code, w.Body, log)
	}
	if to := w.Header().Get("Location"); to != "" {
		t.Fatalf("%s %s leads to %s", r.Method, r.URL, to)
	}
	if strings.HasSuffix(r.URL.Path, "/start") && strings.HasPrefix(w.Header().Get("Content-Type"), "text/plain") && w.Body.Len() > 0 {
		return w // a person looks at it
	}
	if body := w.Body.Bytes(); w.Code >= 400 {
		var said struct{ Type, Message string }
		if err := json.Unmarshal(body, &said); err != nil || said.Message == "" || said.Type == "" && w.Code != 401 {
			t.Fatalf("%s %s: %d %s", r.Method, r.URL, w.Code, body)
		}
	}
	return w
}

// nobodys puts an id of nothing in place of the names in a route's path.
func nobodys(pattern string) (method, path string) {
	method, path, _ = strings.Cut(pattern, " ")
	for name, value := range map[string]string{"{actor}": "user", "{provider}": "emailpass", "{session}": "authses_01ARZ3NDEKTSV4RRFFQ69G5FAV", "{role}": "x"} {
		path = strings.ReplaceAll(path, name, value)
	}
	return method, strings.ReplaceAll(path, "{id}", "user_01ARZ3NDEKTSV4RRFFQ69G5FAV")
}

// Any query string gets an answer from any route that reads: what was asked for, or what is wrong with it.
func FuzzQuery(f *testing.F) {
	s := fuzzServer(f)
	var routes []string
	for _, pattern := range httpapi.Routes() {
		if strings.HasPrefix(pattern, "GET ") {
			routes = append(routes, pattern)
		}
	}
	for i := range routes {
		for _, raw := range []string{
			"", "limit=0&offset=1", "limit=-1", "limit=99999999999999999999", "order=-id", "order=id;DROP", "fields=%2Bpassword", "after=", "after=MQB1c2VyAGlkAAA", "q=%00", "q=%ff", "q=a&q=b",
			"id[]=a&id[]=b", "email=%EF%BC%A0", "created_at[$gt]=2020-01-01", "$or[0][q]=x", "since=2020-01-01T00:00:00Z&until=x", "action=auth.sign_in&outcome=refused", "accepted=maybe", "status=open",
			"token=eyJhbGciOiJub25lIn0.e30.", "code=x&state=y", "a[b][c][d][e][f][g]=1", "%", "&&&", "=",
		} {
			f.Add(i, raw)
		}
	}
	f.Fuzz(func(t *testing.T, i int, raw string) {
		method, path := nobodys(routes[uint(i)%uint(len(routes))])
		r := httptest.NewRequest(method, path, nil)
		r.URL.RawQuery = raw
		r.Header.Set("Authorization", "Bearer "+s.admin)
		s.send(t, r)
	})
}

// Any body gets an answer from any route that reads one, and what strictjson takes for no object does nothing anywhere.
func FuzzBody(f *testing.F) {
	s := fuzzServer(f)
	var routes []string
	for _, pattern := range httpapi.Routes() {
		if !strings.HasPrefix(pattern, "GET ") && !slices.Contains(ends, pattern) {
			routes = append(routes, pattern)
		}
	}
	for i := range routes {
		for _, body := range []string{
			``, `{}`, `null`, `[]`, `{"email":"ada@example.com","password":"correct horse"}`, `{"password":"correct horse","current_password":"correct horse"}`, `{"identifier":"ada@example.com"}`,
			`{"email":"ADA@example.com","roles":["admin"],"expires_in":1,"message":"x"}`, `{"emails":["a@example.com","a@example.com"]}`, `{"roles":["member"]}`, `{"first_name":"x","metadata":{"a":null}}`,
			`{"token":"x"}`, `{"code":"x","entity_id":"ada@example.com"}`, `{"email":"a@example.com","email":"b@example.com"}`, `{"email":"\ud800"}`, "{\"email\":\"\xff\"}", `{"password":"` + strings.Repeat("é", 256) + `"}`,
		} {
			f.Add(i, []byte(body))
		}
	}
	f.Fuzz(func(t *testing.T, i int, body []byte) {
		pattern := routes[uint(i)%uint(len(routes))]
		method, path := nobodys(pattern)
		r := httptest.NewRequest(method, path, bytes.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		r.Header.Set("Authorization", "Bearer "+s.admin)
		w := s.send(t, r)
		if _, err := strictjson.ParseObject(body); err != nil && len(body) > 0 && w.Code < 300 && !slices.Contains(ignoring, pattern) {
			t.Fatalf("%s with %q, which is no object: %d %s", pattern, body, w.Code, w.Body)
		}
	})
}

// ends are routes that would end the session or the user by whom everything is tried; ignoring are those that do not look
// at the body.
var (
	ends     = []string{"DELETE /auth/session", "DELETE /auth/sessions", "DELETE /auth/sessions/{id}", "POST /auth/token/refresh"}
	ignoring = []string{"POST /auth/session", "DELETE /admin/users/{id}", "DELETE /admin/invites/{id}", "DELETE /admin/users/{id}/sessions", "DELETE /admin/webhooks/{id}"}
)

// Of all that may stand in Authorization or in the cookie, only what was made here lets somebody in.
func FuzzCredential(f *testing.F) {
	s := fuzzServer(f)
	a := s.do(f, "POST", "/auth/session", "", bearer(s.admin))
	if a.status != 200 {
		f.Fatalf("%d %s", a.status, a.body)
	}
	secret := (&http.Response{Header: a.header}).Cookies()[0].Value
	// The corpus must outlive both, so an input says how to change them: what to cut out, from where, and what to put there.
	f.Add(false, 0, 0, "")
	f.Add(true, 0, 0, "")
	f.Add(false, 0, 7, "Basic ")
	f.Add(false, 7, 5000, "eyJhbGciOiJub25lIn0.e30.")
	f.Add(false, 7, 0, " ")
	f.Add(false, 6, 1, "\t")
	f.Add(true, 0, 9, "latchkey-device=")
	f.Add(true, 9, 5000, "")
	f.Add(true, 0, 0, "latchkey=x; ")
	f.Add(true, 5000, 0, "; latchkey=x")
	f.Fuzz(func(t *testing.T, cookie bool, at, cut int, put string) {
		header, genuine := "Authorization", "Bearer "+s.admin
		if cookie {
			header, genuine = "Cookie", "latchkey="+secret
		}
		at = min(max(at, 0), len(genuine))
		end := min(at+max(cut, 0), len(genuine))
		given := genuine[:at] + put + genuine[max(at, end):]
		r := httptest.NewRequest("GET", "/admin/users/me", nil)
		r.Header[header] = []string{given}
		w := s.send(t, r)
		its := strings.HasSuffix(given, s.admin) && strings.EqualFold(strings.TrimSuffix(given, s.admin), "Bearer ")
		if cookie {
			sent, err := r.Cookie("latchkey")
			its = err == nil && sent.Value == secret
		}
		if (w.Code == 200) != its || w.Code != 200 && w.Code != 401 {
			t.Errorf("%s: %q: %d %s", header, given, w.Code, w.Body)
		}
	})
}
