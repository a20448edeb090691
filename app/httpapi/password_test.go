package httpapi_test

import (
	"context"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Each way to choose a password has the same rules: those of the policy, the context words, the breach check.
func TestEveryWayToChooseAPasswordHasTheSameRules(t *testing.T) {
	const breached = "battery staples"
	sum := sha1.Sum([]byte(breached))
	digits := strings.ToUpper(hex.EncodeToString(sum[:]))
	var broken atomic.Bool
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken.Load() {
			http.Error(w, "out of order", http.StatusInternalServerError)
			return
		}
		fmt.Fprint(w, "0000000000000000000000000000000000A:0\r\n")
		if strings.HasSuffix(r.URL.Path, "/"+digits[:5]) {
			fmt.Fprint(w, digits[5:]+":3\r\n")
		}
	}))
	defer api.Close()
	o := settings{passwords: auth.PasswordOptions{Cost: 4, MaxWait: time.Minute, Breach: auth.BreachClosed, BreachURL: api.URL + "/range/",
		Policy: auth.Policy{MinLength: 10, MinStrength: 2, Words: []string{"roadrunner"}}}}
	eachWith(t, o, func(t *testing.T, s *server) {
		s.member(t, "ada.lovelace@example.com")
		byToken := s.resetToken(t, "ada.lovelace@example.com", auth.ByMail)
		token := s.signIn(t, "ada.lovelace@example.com")
		n := 0
		ways := map[string]func(password string) answer{
			"register": func(password string) answer {
				n++
				return s.do(t, "POST", "/auth/user/emailpass/register", credentials(fmt.Sprintf("ada.lovelace@u%d.example.com", n), password))
			},
			"reset":  func(password string) answer { return s.update(t, byToken, password) },
			"change": func(password string) answer { return s.change(t, token, password) },
		}
		for way, choose := range ways {
			for password, want := range map[string]string{
				"nine char":      `{"type":"invalid_data","message":"Password is too short: at least 10 characters","reason":"password_refused","detail":"too_short"}`,
				"basketball":     `{"type":"invalid_data","message":"Password is too common","reason":"password_refused","detail":"common"}`,
				"roadrunner2026": `{"type":"invalid_data","message":"Password must not be made of your name, your e-mail address or the name of this service","reason":"password_refused","detail":"made_of_words"}`,
				"Lovelace-1815":  `{"type":"invalid_data","message":"Password must not be made of your name, your e-mail address or the name of this service","reason":"password_refused","detail":"made_of_words"}`,
				"baseball2004":   `{"type":"invalid_data","message":"Password is too easy to guess: make it longer, or of several words that do not belong together","reason":"password_refused","detail":"weak"}`,
				breached:         `{"type":"invalid_data","message":"Password is known from a data breach: choose another one","reason":"password_refused","detail":"breached"}`,
			} {
				if a := choose(password); a.status != 400 || a.body != want {
					t.Errorf("%s with %q: %d %s, want %s", way, password, a.status, a.body, want)
				}
			}
			broken.Store(true)
			if a := choose("staple battery horse"); a.status != 503 || a.header.Get("Retry-After") != "10" || !strings.Contains(a.body, `"reason":"breach_check_unavailable"`) {
				t.Errorf("%s while the check is out of order: %d %s, Retry-After %q", way, a.status, a.body, a.header.Get("Retry-After"))
			}
			broken.Store(false)
		}
		if !s.fits(t, "ada.lovelace@example.com", password) {
			t.Error("a refused password was set")
		}
		for _, way := range []string{"register", "reset"} {
			if a := ways[way]("staple battery horse"); a.status != 200 {
				t.Errorf("%s: %d %s", way, a.status, a.body)
			}
		}
		if said := s.log.String(); strings.Contains(said, breached) || strings.Contains(said, digits[:5]) {
			t.Errorf("the log tells: %s", said)
		}
	})
}

func (s *server) change(t testing.TB, token, to string) answer {
	t.Helper()
	return s.do(t, "POST", "/auth/user/emailpass/update", `{"current_password":"`+password+`","password":"`+to+`"}`, bearer(token))
}

// Names are known of who has a user. Whoever only claims the address is not told them by a refusal.
func TestAPasswordIsNotMadeOfTheNamesOfWhoChoosesIt(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		s.member(t, "ada@example.com")
		u, err := s.users.FindUser(t.Context(), "ada@example.com")
		check(t, err)
		_, err = s.users.UpdateUsers(t.Context(), user.Update{ID: u.ID, FirstName: user.Set("Augusta"), LastName: user.Set("Lovelace")})
		check(t, err)
		token, byToken := s.signIn(t, "ada@example.com"), s.resetToken(t, "ada@example.com", auth.ByMail)
		const refused = "made of your name"
		for _, taken := range []string{"Lovelace1815", "augusta-1", "AugustaLovelace"} {
			if a := s.change(t, token, taken); a.status != 400 || !strings.Contains(a.body, refused) {
				t.Errorf("change to %s: %d %s", taken, a.status, a.body)
			}
			if a := s.update(t, byToken, taken); a.status != 400 || !strings.Contains(a.body, refused) {
				t.Errorf("reset to %s: %d %s", taken, a.status, a.body)
			}
			if a := s.do(t, "POST", "/auth/user/emailpass/register", credentials("ada@example.com", taken)); a.status != 401 {
				t.Errorf("register the taken address with %s: %d %s, want what any password gets", taken, a.status, a.body)
			}
			body := `{"email":"eve@example.com","password":"` + taken + `","first_name":"Augusta","last_name":"Lovelace"}`
			if a := s.do(t, "POST", "/auth/user/emailpass/register", body); a.status != 400 || !strings.Contains(a.body, refused) {
				t.Errorf("register with one's own name in %s: %d %s", taken, a.status, a.body)
			}
		}
		if a := s.update(t, byToken, "a lovelace of battery staples"); a.status != 200 {
			t.Errorf("a passphrase with the name in it: %d %s", a.status, a.body)
		}
	})
}

// People who come from elsewhere with their user, their address and a hash sign in as that user, and only by the right
// password.
func TestWhoWasImportedWithAHashSignsInAsTheUserTheyWere(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		const hash = "c2NyeXB0AAYAAAAIAAAAAahsGSYdPCtUHpEqa0P/fERO/tgr88EGO4KjNiXrZCoI6Ynk6wlTDFv1tQNnzD/ie9q5DVwqKNgNGbBUsHH2ab8m8Q0g7A3JUy3j+u0Z+F/u"
		made, err := s.users.CreateUsers(t.Context(), user.Draft{Email: "ada@example.com", EmailVerified: true, Roles: []string{user.RoleAdmin}})
		check(t, err)
		_, err = s.auth.CreateAuthIdentities(t.Context(), auth.IdentityDraft{Providers: []auth.ProviderIdentityDraft{
			{Provider: emailpass.Name, EntityID: "ada@example.com", Email: "ada@example.com", EmailVerified: true, Secret: []byte(hash)}}})
		check(t, err)
		wrong := s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", "incorrect horse"))
		if unknown := s.do(t, "POST", "/auth/user/emailpass", credentials("eve@example.com", "incorrect horse")); wrong.status != 401 || unknown.status != 401 || wrong.body != unknown.body {
			t.Errorf("a wrong password: %d %s; an unknown account: %d %s", wrong.status, wrong.body, unknown.status, unknown.body)
		}
		before, err := s.users.RetrieveUser(t.Context(), made[0].ID)
		check(t, err)
		for range 2 {
			if a := s.do(t, "GET", "/admin/users/me", "", bearer(s.signIn(t, "ada@example.com"))); a.status != 200 || !strings.Contains(a.body, string(made[0].ID)) {
				t.Errorf("me: %d %s, want user %s", a.status, a.body, made[0].ID)
			}
		}
		if after, err := s.users.RetrieveUser(t.Context(), made[0].ID); err != nil || !after.UpdatedAt.Equal(before.UpdatedAt) {
			t.Errorf("updated at %v, and %v before they signed in (%v): nothing of the user has changed", after.UpdatedAt, before.UpdatedAt, err)
		}
		if said := s.trail(t, "action=user.updated&target_id="+string(made[0].ID)); len(said) != 0 {
			t.Errorf("it is said that the user changed: %v", said)
		}
		// A hash that was damaged after it was imported: the answer is that of a wrong password, and the log says why.
		check(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := s.db.Conn(ctx).NewUpdate().Table("latchkey_provider_identity").Where("entity_id = ?", "ada@example.com").
				Set("secret = ?", []byte("$2b$31$abcdefghijklmnopqrstuuHNbAKRhpaujgo33bRWs.NLUTJO3lOy2")).Exec(ctx)
			return err
		}))
		if a := s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password)); a.status != 401 || a.body != wrong.body {
			t.Errorf("a damaged hash: %d %s", a.status, a.body)
		}
	})
}

// An administrator can have somebody sent a link, and has no way to say what their password is to be (ASVS 6.4.6).
func TestAnAdministratorChoosesNobodysPassword(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		id := actor(t, s.member(t, "ada@example.com"))
		const chosen = "chosen by an admin"
		tried := 0
		for _, pattern := range httpapi.Routes() {
			method, path, _ := strings.Cut(pattern, " ")
			if !strings.HasPrefix(path, "/admin/users/{id}") || method == "GET" || method == "DELETE" || strings.HasSuffix(path, "/deactivate") {
				continue
			}
			tried++
			path = strings.ReplaceAll(path, "{id}", id)
			for _, body := range []string{`{"password":"` + chosen + `"}`, `{"new_password":"` + chosen + `"}`, `{"first_name":"Ada","password":"` + chosen + `"}`} {
				s.do(t, method, path, body, bearer(admin)) // refused, or the body is not looked at
			}
		}
		for _, body := range []string{
			`{"password":"` + chosen + `"}`, `{"email":"ada@example.com","password":"` + chosen + `"}`, `{"email":"ada@example.com","current_password":"` + password + `","password":"` + chosen + `"}`,
		} {
			if a := s.do(t, "POST", "/auth/user/emailpass/update", body, bearer(admin)); a.status == 200 && strings.Contains(body, password) {
				admin = s.token(t, "change", a) // an admin's own, by their own password
			} else if a.status == 200 {
				t.Errorf("%s: %s", body, a.body)
			}
		}
		if tried < 4 || s.fits(t, "ada@example.com", chosen) || !s.fits(t, "ada@example.com", password) {
			t.Errorf("after %d routes, somebody's password is what an administrator has chosen", tried)
		}
	})
}

// Every route and page that lets somebody in, or changes by what they get in, is in the document (ASVS 6.1.3, 6.3.4).
func TestEveryWayToProveWhoOneIsIsDocumented(t *testing.T) {
	data, err := os.ReadFile("../../docs/security/passwords.md")
	check(t, err)
	_, ways, found := strings.Cut(string(data), "## Ways to prove who one is")
	if !found {
		t.Fatal("the document does not list the ways")
	}
	ignores := []string{ // which let nobody in: they show, end, or have a mail sent
		"GET /auth/{actor}/providers", "GET /auth/provider-identities", "GET /auth/sessions", "DELETE /auth/session", "DELETE /auth/sessions", "DELETE /auth/sessions/{id}", "POST /auth/verification/request",
	}
	routes := append(httpapi.Routes(), "POST /app/login", "POST /app/invite", "POST /app/reset-password", "POST /app/email/confirm", "POST /app/verify-email")
	for _, pattern := range routes {
		method, path, _ := strings.Cut(pattern, " ")
		lets := strings.HasPrefix(path, "/auth/") || strings.HasPrefix(path, "/app/") || path == "/admin/invites/accept" || path == "/admin/users/me/email/confirm"
		if !lets || slices.Contains(ignores, pattern) {
			continue
		}
		short := "…" + strings.TrimPrefix(path, "/auth/{actor}/{provider}")
		if !strings.Contains(ways, method+" "+path+"`") && !strings.Contains(ways, "`"+path+"`") && !strings.Contains(ways, "`"+short+"`") {
			t.Errorf("docs/security/passwords.md does not have %s", pattern)
		}
	}
}

// Who is signed in and sends no current_password is told so; whose token is bad hears that, whatever cookie is beside it.
func TestWhoIsSignedInIsToldToSendTheCurrentPassword(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		mine := s.member(t, "ada@example.com")
		cookie, other := s.openCookie(t, mine), s.signIn(t, "ada@example.com")
		dead := s.signIn(t, "ada@example.com")
		if a := s.do(t, "DELETE", "/auth/session", "", bearer(dead)); a.status != 200 {
			t.Fatalf("sign out: %d %s", a.status, a.body)
		}
		for name, c := range map[string]struct {
			headers []string
			status  int
			want    string
		}{
			"an access token":             {[]string{bearer(other)}, 400, noCurrent},
			"a cookie":                    {[]string{cookie}, 400, noCurrent},
			"a dead access token":         {[]string{bearer(dead)}, 401, noToken},
			"a bad token":                 {[]string{bearer("nonsense")}, 401, noToken},
			"a bad token beside a cookie": {[]string{cookie, bearer("nonsense")}, 401, noToken},
			"a bad cookie":                {[]string{"Cookie: latchkey=nonsense"}, 401, noToken},
			"nothing":                     {nil, 401, noToken},
		} {
			if a := s.do(t, "POST", "/auth/user/emailpass/update", `{"password":"battery staple"}`, c.headers...); a.status != c.status || a.body != c.want {
				t.Errorf("by %s: %d %s, want %d %s", name, a.status, a.body, c.status, c.want)
			}
		}
		if !s.fits(t, "ada@example.com", password) {
			t.Error("the password was changed")
		}
	})
}
