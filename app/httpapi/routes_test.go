package httpapi_test

import (
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/modules/user"
)

// These tests walk the table of routes itself, so that a route which is added is covered without a line here, unless its
// path has a part that no other has.

// walk calls f for every route with a path that leads to something.
func walk(t *testing.T, s *server, f func(sc scene, method, path string)) {
	t.Helper()
	sc := newScene(t, s)
	invites, err := s.users.CreateInvites(t.Context(), user.InviteDraft{Email: "invited@example.com"})
	check(t, err)
	parts := map[string]string{
		"{actor}": "user", "{provider}": "emailpass", "{role}": "editor", "/auth/sessions/{id}": "/auth/sessions/authsess_none", "/auth/provider-identities/{id}": "/auth/provider-identities/none", "{session}": "authsess_none",
		"/admin/users/{id}": "/admin/users/" + sc.ids["member"], "/admin/invites/{id}": "/admin/invites/" + string(invites[0].ID),
		"/admin/webhooks/{id}": "/admin/webhooks/" + s.hook(t),
		"/admin/audit/{id}":    "/admin/audit/" + s.trail(t, "limit=1")[0]["id"].(string),
	}
	for _, pattern := range httpapi.Routes() {
		method, path, _ := strings.Cut(pattern, " ")
		for part, value := range parts {
			path = strings.ReplaceAll(path, part, value)
		}
		if strings.Contains(path, "{") {
			t.Errorf("say in this test what to put into %s", path)
			continue
		}
		f(sc, method, path)
	}
}

// takenBy are the methods that the table has for a path.
func takenBy(path string) (methods []string) {
	parts := strings.Split(path, "/")
	for _, pattern := range httpapi.Routes() {
		method, route, _ := strings.Cut(pattern, " ")
		names := strings.Split(route, "/")
		fits := len(names) == len(parts) && pattern != "GET /auth/{actor}/{provider}" // of two steps alone: flow_test.go
		for i := 0; fits && i < len(names); i++ {
			fits = names[i] == parts[i] || strings.HasPrefix(names[i], "{")
		}
		if fits {
			methods = append(methods, method)
			if method == "GET" {
				methods = append(methods, "HEAD")
			}
		}
	}
	slices.Sort(methods)
	return slices.Compact(methods)
}

// lasting is a header without what differs from answer to answer.
func lasting(h http.Header) http.Header {
	h = maps.Clone(h)
	h.Del("X-Request-Id")
	h.Del("Date")
	return h
}

func TestHeadWorksWhereGetDoes(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		walk(t, s, func(sc scene, method, path string) {
			if method != "GET" {
				return
			}
			for _, as := range []string{"admin", "member", "nobody"} {
				get, head := sc.do(t, "GET", path, "", bearer(sc.tokens[as])), sc.do(t, "HEAD", path, "", bearer(sc.tokens[as]))
				if head.status != get.status || head.body != "" {
					t.Errorf("HEAD %s as %s: %d with %d bytes, want %d without", path, as, head.status, len(head.body), get.status)
				}
				if get.body == "" || head.header.Get("Content-Length") == "" {
					t.Errorf("GET %s as %s has %d bytes, and HEAD says %q", path, as, len(get.body), head.header.Get("Content-Length"))
				}
				if got, want := lasting(head.header), lasting(get.header); !maps.EqualFunc(got, want, slices.Equal) {
					t.Errorf("HEAD %s as %s: headers %v, want %v", path, as, got, want)
				}
			}
		})
	})
}

func TestABodyOnGetIsIgnored(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		walk(t, s, func(sc scene, method, path string) {
			if method != "GET" {
				return
			}
			bare := sc.do(t, "GET", path, "", bearer(sc.tokens["admin"]))
			for _, body := range []string{`{"limit":1,"fields":"id"}`, `{"`, strings.Repeat("x", 100<<10)} {
				for _, media := range []string{"application/json", "application/x-www-form-urlencoded"} {
					a := sc.do(t, "GET", path, body, bearer(sc.tokens["admin"]), "Content-Type: "+media)
					if a.status != bare.status || a.body != bare.body {
						t.Errorf("GET %s with %d bytes of %s: %d %.200s, want %d %.200s", path, len(body), media, a.status, a.body, bare.status, bare.body)
					}
				}
			}
		})
	})
}

func TestEveryRouteAnswersPreflightsOfListedOriginsOnly(t *testing.T) {
	eachWith(t, settings{site: web.Options{CORSOrigins: []string{listed}}}, func(t *testing.T, s *server) {
		walk(t, s, func(sc scene, method, path string) {
			for _, origin := range []string{listed, foreign} {
				a := sc.do(t, "OPTIONS", path, "", "Origin: "+origin, "Access-Control-Request-Method: "+method, "Access-Control-Request-Headers: authorization,content-type")
				if a.status != 204 || a.body != "" {
					t.Errorf("preflight of %s %s from %s: %d %s, want 204", method, path, origin, a.status, a.body)
				}
				allowed := map[string]string{}
				for name, values := range a.header {
					if strings.HasPrefix(name, "Access-Control-Allow-") {
						allowed[name] = strings.Join(values, ",")
					}
				}
				want := map[string]string{}
				if origin == listed {
					want = map[string]string{"Access-Control-Allow-Origin": listed, "Access-Control-Allow-Credentials": "true",
						"Access-Control-Allow-Methods": "GET,HEAD,PUT,PATCH,POST,DELETE", "Access-Control-Allow-Headers": "authorization,content-type"}
				}
				if !maps.Equal(allowed, want) {
					t.Errorf("preflight of %s %s from %s: %v, want %v", method, path, origin, allowed, want)
				}
				if !slices.Contains(a.header.Values("Vary"), "Origin") {
					t.Errorf("preflight of %s %s from %s: Vary %q", method, path, origin, a.header.Values("Vary"))
				}
			}
		})
	})
}

func TestEveryPathNamesTheMethodsItTakes(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		walk(t, s, func(sc scene, _, path string) {
			takes := takenBy(path)
			for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "BREW"} {
				if slices.Contains(takes, method) {
					continue
				}
				a := sc.do(t, method, path, "", bearer(sc.tokens["member"]))
				if a.status != 405 || method != "HEAD" && a.body != otherMethod || a.header.Get("Allow") != strings.Join(takes, ", ") {
					t.Errorf("%s %s: %d %s, Allow %q, want 405 and %q", method, path, a.status, a.body, a.header.Get("Allow"), takes)
				}
				wantHeaders(t, method, a)
				if strings.HasPrefix(path, "/admin/") {
					if a := sc.do(t, method, path, ""); a.status != 401 || method != "HEAD" && a.body != unauthorized || a.header.Get("Allow") != "" {
						t.Errorf("%s %s by nobody: %d %s, Allow %q, want 401", method, path, a.status, a.body, a.header.Get("Allow"))
					}
				}
			}
		})
	})
}

func TestWhatIsBeyondARouteIsNothing(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		walk(t, s, func(sc scene, method, path string) {
			for _, beyond := range []string{path + "/", path + "/x/y/z", path + "//", "/x" + path, path + "/..%2f", strings.ToUpper(path)} {
				if len(takenBy(beyond)) > 0 {
					continue // another route
				}
				a := sc.do(t, method, beyond, "", bearer(sc.tokens["member"]))
				if a.status != 404 || a.body != nothingHere {
					t.Errorf("%s %s: %d %s, want 404", method, beyond, a.status, a.body)
				}
				wantHeaders(t, method, a)
				if strings.HasPrefix(beyond, "/admin/") {
					if a := sc.do(t, method, beyond, ""); a.status != 401 || a.body != unauthorized {
						t.Errorf("%s %s by nobody: %d %s, want 401", method, beyond, a.status, a.body)
					}
				}
			}
		})
	})
}

// Every route under /admin wants somebody, whatever else is wrong with the request.
func TestEveryAdminRouteAsksFirstWhoCalls(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		walk(t, s, func(sc scene, method, path string) {
			if !strings.HasPrefix(path, "/admin/") {
				return
			}
			for _, credential := range []string{"Authorization: ", bearer("nonsense"), "Cookie: latchkey=nonsense"} {
				a := sc.do(t, method, path+"?nonsense=1&limit=-1", `{"nonsense":`, credential)
				if a.status != 401 || a.body != unauthorized {
					t.Errorf("%s %s with %q: %d %s, want 401", method, path, credential, a.status, a.body)
				}
			}
		})
	})
}
