package httpapi_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// A route of the application's own is for the actors of its type alone, by token or cookie, and not from another site.
func TestRequireActorGuardsAnApplicationsRoute(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		api, ok := s.Config.Handler.(*httpapi.API)
		if !ok {
			t.Fatalf("the handler is a %T", s.Config.Handler)
		}
		own := httptest.NewServer(api.RequireActor("user", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, httpapi.CallerOf(r.Context()).Actor.Email) //nolint:errcheck // the test reads it
		})))
		t.Cleanup(own.Close)
		call := func(method string, headers ...string) (int, string) {
			t.Helper()
			req, err := http.NewRequestWithContext(t.Context(), method, own.URL+"/own", nil)
			check(t, err)
			for i := 0; i < len(headers); i += 2 {
				req.Header.Set(headers[i], headers[i+1])
			}
			rsp, err := own.Client().Do(req)
			check(t, err)
			defer rsp.Body.Close()
			body, err := io.ReadAll(rsp.Body)
			check(t, err)
			if rsp.Header.Get("Cache-Control") != "no-store" || rsp.Header.Get("X-Request-Id") == "" {
				t.Errorf("%d without the headers of every answer: %v", rsp.StatusCode, rsp.Header)
			}
			return rsp.StatusCode, string(body)
		}
		l, err := s.link.SignIn(t.Context(), "user", "vouching", auth.Input(`{"name":"ada","email":"ada@example.com","verified":true}`), auth.Client{})
		check(t, err)
		secret, err := s.auth.SetCookie(t.Context(), l.Session)
		check(t, err)
		nobody, err := s.link.SignUp(t.Context(), "user", "emailpass", auth.Input(credentials("bob@example.com", password)), auth.Client{})
		check(t, err)

		const unauthorized = `{"message":"Unauthorized"}`
		for _, c := range []struct {
			what    string
			method  string
			headers []string
			status  int
			body    string
		}{
			{"nobody", "GET", nil, 401, unauthorized},
			{"a token", "GET", []string{"Authorization", "Bearer " + l.Token}, 200, "ada@example.com"},
			{"a cookie", "POST", []string{"Cookie", "latchkey=" + secret}, 200, "ada@example.com"},
			{"a cookie from another site", "POST", []string{"Cookie", "latchkey=" + secret, "Sec-Fetch-Site", "cross-site"}, 403, ""},
			{"who is nobody yet", "GET", []string{"Authorization", "Bearer " + nobody.Token}, 401, unauthorized},
			{"no token at all", "GET", []string{"Authorization", "Bearer x"}, 401, unauthorized},
		} {
			if status, body := call(c.method, c.headers...); status != c.status || c.body != "" && body != c.body {
				t.Errorf("%s: %d %s, want %d %s", c.what, status, body, c.status, c.body)
			}
		}
		check(t, s.users.DeactivateUsers(t.Context(), user.ID(l.ActorID)))
		if status, body := call("GET", "Authorization", "Bearer "+l.Token); status != 401 {
			t.Errorf("who is deactivated: %d %s", status, body)
		}
		if (httpapi.CallerOf(t.Context()).Session != auth.Session{}) {
			t.Error("there is a caller where nobody calls")
		}
	})
}

// A browser has one cookie for all that somebody is, and sends it beside whatever token the page has.
func TestACookieOfAnotherActorTypeDoesNotStandInTheWayOfAToken(t *testing.T) {
	eachWith(t, settings{actors: servingShoppers(t)}, func(t *testing.T, s *server) {
		user := s.vouched(t, "ada", "ada@example.com", true)
		shopper := s.token(t, "as a shopper", s.do(t, "POST", "/auth/shopper/vouching", `{"name":"grace","email":"grace@example.com","verified":true}`))
		asUser, asShopper := s.openCookie(t, user), s.openCookie(t, shopper)
		for what, c := range map[string]struct {
			credentials []string
			status      int
		}{
			"a shopper's cookie and a user's token": {[]string{asShopper, bearer(user)}, 200},
			"a shopper's cookie":                    {[]string{asShopper}, 401},
			"a shopper's cookie and token":          {[]string{asShopper, bearer(shopper)}, 401},
			"a shopper's cookie and no token":       {[]string{asShopper, bearer("x")}, 401},
			"a user's cookie and a shopper's token": {[]string{asUser, bearer(shopper)}, 200},
		} {
			a := s.do(t, "GET", "/admin/users/me", "", c.credentials...)
			if a.status != c.status || c.status == 200 && a.get("user", "email") != "ada@example.com" {
				t.Errorf("%s: %d %s, want %d", what, a.status, a.body, c.status)
			}
		}
		if a := s.do(t, "POST", "/admin/users/me/email", `{"email":"new@example.com"}`, asShopper, bearer(user), "Sec-Fetch-Site: cross-site"); a.status != 403 {
			t.Errorf("from another site: %d %s", a.status, a.body)
		}
	})
}
