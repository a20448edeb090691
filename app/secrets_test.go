package app_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"
	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/secrettest"
)

// panicking makes this test program a server with a provider that panics while it holds what somebody has typed.
const panicking = "LATCHKEY_TEST_PANICKING"

func panics() (code int) {
	return app.Main(os.Args[1:], fx.Provide(auth.AsProvider(func() panicky { return panicky{} })))
}

type panicky struct{}

func (panicky) Name() string { return "panicky" }

func (panicky) Authenticate(_ context.Context, a auth.Attempt) (auth.Assertion, error) {
	var in struct{ Password string }
	if err := a.Input.Decode(&in); err != nil {
		return auth.Assertion{}, err
	}
	var nobody *auth.Profile
	return auth.Assertion{EntityID: in.Password + nobody.Email}, nil
}

// The passwords of this test, each of which is told once or more to the program and may be found nowhere.
const (
	adminPassword = "Wombat-4471-admin/ü"
	firstPassword = "Wombat-9082-first"
	resetPassword = "Wombat-5530-reset"
	lastPassword  = "Wombat-6619-last"
	wrongPassword = "Wombat-7747-wrong"
	leakPassword  = "Wombat-1203-leaked"
	otherPassword = "Wombat-2256-other"
	joinPassword  = "Wombat-8894-joins"
	notASecret    = "Wombat-0000-message"
)

// everything drives a whole server through all that has to do with secrets, and keeps all of these.
type everything struct {
	t     *testing.T
	url   string
	mails string
	jar   *cookiejar.Jar

	mu      sync.Mutex
	secrets secrettest.Secrets
}

func (e *everything) keep(what, secret string) string {
	e.mu.Lock()
	defer e.mu.Unlock()
	if what == "" || secret == "" {
		e.t.Fatalf("%s: %q is no secret", what, secret)
	}
	e.secrets[fmt.Sprintf("%s (%d)", what, len(e.secrets))] = secret
	if parts := strings.Split(secret, "."); len(parts) == 3 { // a part of a token is enough to be told apart by
		e.secrets[fmt.Sprintf("signature of %s (%d)", what, len(e.secrets))] = parts[2]
	}
	return secret
}

var jwts = regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]+`)

// send sends a request, and keeps every token and cookie of the answer.
func (e *everything) send(method, path, body string, headers ...string) (status int, answer string) {
	e.t.Helper()
	media := "application/json"
	if strings.HasPrefix(path, "/app") {
		media = "application/x-www-form-urlencoded"
	}
	headers = append([]string{"Content-Type: " + media}, headers...)
	req, err := http.NewRequestWithContext(e.t.Context(), method, e.url+path, strings.NewReader(body))
	if err != nil {
		e.t.Fatal(err)
	}
	for _, h := range headers {
		name, value, _ := strings.Cut(h, ": ")
		req.Header.Set(name, value)
	}
	noRedirect := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if strings.HasPrefix(path, "/app") {
		noRedirect.Jar = e.jar
	}
	rsp, err := noRedirect.Do(req)
	if err != nil {
		e.t.Fatal(err)
	}
	defer rsp.Body.Close()
	data, err := io.ReadAll(rsp.Body)
	if err != nil {
		e.t.Fatal(err)
	}
	for _, token := range jwts.FindAllString(string(data), -1) {
		e.keep("a token of "+method+" "+path[:min(len(path), 30)], token)
	}
	for _, c := range rsp.Cookies() {
		if c.Value != "" {
			e.keep("the cookie "+c.Name, c.Value)
		}
	}
	return rsp.StatusCode, string(data)
}

func (e *everything) must(method, path, body string, headers ...string) string {
	e.t.Helper()
	status, answer := e.send(method, path, body, headers...)
	if status < 200 || status > 399 {
		e.t.Fatalf("%s %s: %d %s", method, path, status, answer)
	}
	return answer
}

// mailed is the token in the newest mail to somebody that has the words in it.
func (e *everything) mailed(to, words string) string {
	e.t.Helper()
	for range 400 {
		data, _ := os.ReadFile(e.mails)
		found := ""
		for line := range strings.Lines(string(data)) {
			var m mailed
			if json.Unmarshal([]byte(line), &m) == nil && m.To == to && strings.Contains(m.Subject+m.Text, words) {
				found = jwts.FindString(m.Text)
			}
		}
		if found != "" {
			claims, err := base64.RawURLEncoding.DecodeString(strings.Split(found, ".")[1])
			var c struct{ JTI, Ch string }
			if err != nil || json.Unmarshal(claims, &c) != nil || c.JTI == "" {
				e.t.Fatalf("the token mailed to %s says %s", to, claims)
			}
			if c.Ch == "" { // that of an invite is in its row, and opens nothing without the key
				e.keep("the jti of what was mailed to "+to, c.JTI)
			}
			return e.keep("what was mailed to "+to+" about "+words, found)
		}
		time.Sleep(25 * time.Millisecond)
	}
	e.t.Fatalf("%s is sent no mail about %s", to, words)
	return ""
}

func typed(pairs ...string) string {
	object := map[string]string{}
	for i := 0; i < len(pairs); i += 2 {
		object[pairs[i]] = pairs[i+1]
	}
	data, _ := json.Marshal(object)
	return string(data)
}

func asBearer(token string) string { return "Authorization: Bearer " + token }

// live goes through a life: registering, proving, signing in, being invited, moving, forgetting, and signing out, by the API
// and by the pages.
func (e *everything) live() {
	t := e.t
	t.Helper()
	admin := member(e.must("POST", "/auth/user/emailpass", typed("email", "admin@example.com", "password", adminPassword)), "token")
	ada := member(e.must("POST", "/auth/user/emailpass/register", typed("email", "ada@example.com", "password", firstPassword)), "token")
	e.must("POST", "/auth/verification/request", typed("entity_id", "ada@example.com", "entity_type", "email"), asBearer(ada))
	e.must("POST", "/auth/verification/confirm", typed("code", e.mailed("ada@example.com", "Confirm")), asBearer(ada))
	ada = member(e.must("POST", "/auth/user/emailpass", typed("email", "ada@example.com", "password", firstPassword)), "token")
	e.must("POST", "/auth/session", "", asBearer(ada))
	ada = member(e.must("POST", "/auth/token/refresh", "", asBearer(ada)), "token")
	e.must("GET", "/auth/sessions", "", asBearer(ada))
	e.must("GET", "/auth/provider-identities", "", asBearer(ada))

	e.must("POST", "/admin/users/me/email", typed("email", "ada@example.org", "current_password", firstPassword), asBearer(ada))
	moved := e.must("POST", "/admin/users/me/email/confirm", typed("token", e.mailed("ada@example.org", "address")), asBearer(ada))
	ada = member(moved, "token")

	e.must("POST", "/auth/user/emailpass/reset-password", typed("identifier", "ada@example.org"))
	e.must("POST", "/app/magic", "email=ada@example.org")
	e.send("GET", "/app/magic?token="+e.mailed("ada@example.org", "wants to sign in"), "")
	e.send("POST", "/app/magic", "token="+e.mailed("ada@example.org", "wants to sign in"))
	reset := e.mailed("ada@example.org", "new password")
	e.send("POST", "/auth/user/emailpass/update", typed("password", "password1"), asBearer(reset)) // refused, and not used up
	e.must("POST", "/auth/user/emailpass/update", typed("password", resetPassword), asBearer(reset))
	e.send("POST", "/auth/user/emailpass/update", typed("password", resetPassword), asBearer(reset)) // used up
	ada = member(e.must("POST", "/auth/user/emailpass", typed("email", "ada@example.org", "password", resetPassword)), "token")
	ada = member(e.must("POST", "/auth/user/emailpass/update", typed("current_password", resetPassword, "password", lastPassword), asBearer(ada)), "token")

	invite := e.must("POST", "/admin/invites", typed("email", "grace@example.com", "message", notASecret), asBearer(admin))
	byMail := e.mailed("grace@example.com", "invite")
	grace := member(e.must("POST", "/auth/user/emailpass/register", typed("email", "grace@example.com", "password", otherPassword)), "token")
	e.send("POST", "/admin/invites/accept?token="+byMail+"x", `{}`, asBearer(grace))
	e.must("POST", "/admin/invites/accept?token="+byMail, `{}`, asBearer(grace))
	e.send("POST", "/admin/invites/accept?token="+member(invite, "token"), `{}`, asBearer(grace)) // used up
	e.must("POST", "/admin/invites/batch", `{"emails":["joan@example.com"]}`, asBearer(admin))
	byMail = e.mailed("joan@example.com", "invite")

	e.must("GET", "/app/invite?token="+byMail, "")
	e.must("POST", "/app/invite", url.Values{"token": {byMail}, "password": {joinPassword}, "first_name": {"Joan"}}.Encode())
	e.must("GET", "/app", "")
	e.must("POST", "/app/logout", "")
	e.send("POST", "/app/login", url.Values{"email": {"joan@example.com"}, "password": {wrongPassword}}.Encode())
	e.must("POST", "/app/login", url.Values{"email": {"joan@example.com"}, "password": {joinPassword}}.Encode())
	_, as, _ := strings.Cut(e.must("GET", "/app/email", ""), `name="as" value="`)
	as, _, _ = strings.Cut(as, `"`)
	e.must("POST", "/app/email", url.Values{"email": {"joan@example.org"}, "password": {joinPassword}, "as": {as}}.Encode())
	e.must("GET", "/app/email/confirm?token="+e.mailed("joan@example.org", "address"), "")

	var id struct{ User struct{ ID string } }
	if err := json.Unmarshal([]byte(e.must("GET", "/admin/users/me", "", asBearer(ada))), &id); err != nil {
		t.Fatal(err)
	}
	e.must("POST", "/admin/users/"+id.User.ID+"/reset-password", "", asBearer(admin)) // shows a token
	e.must("GET", "/admin/users/"+id.User.ID+"/sessions", "", asBearer(admin))
	e.must("GET", "/admin/audit?limit=1000", "", asBearer(admin))
	e.must("GET", "/admin/invites?accepted=true", "", asBearer(admin))
	var hook struct{ Webhook struct{ ID, Secret string } }
	for _, step := range [][2]string{{"", typed("url", "https://nowhere.invalid/hooks")}, {"/rotate-secret", `{}`}, {"/rotate-secret", `{"now":true}`}} {
		path := "/admin/webhooks"
		if step[0] != "" {
			path += "/" + hook.Webhook.ID + step[0]
		}
		if err := json.Unmarshal([]byte(e.must("POST", path, step[1], asBearer(admin))), &hook); err != nil {
			t.Fatal(err)
		}
		e.keep("the secret of a webhook", strings.TrimPrefix(hook.Webhook.Secret, "whsec_"))
	}
	e.must("POST", "/admin/webhooks/"+hook.Webhook.ID+"/test", "", asBearer(admin)) // there is no such host
	e.must("DELETE", "/admin/webhooks/"+hook.Webhook.ID, "", asBearer(admin))
	e.err(admin, ada, reset, byMail)
	e.must("DELETE", "/auth/session", "", asBearer(ada))
}

// err sends secrets to where they are not awaited, and in forms that are refused.
func (e *everything) err(admin, ada, reset, invite string) {
	e.t.Helper()
	raw := `"password":"` + wrongPassword + `"`
	for _, path := range []string{
		"/auth/user/emailpass", "/auth/user/emailpass/register", "/auth/user/emailpass/reset-password", "/auth/user/emailpass/update", "/auth/user/emailpass/callback", "/auth/user/emailpass/link", "/auth/emailpass/user",
		"/auth/user/panicky", "/auth/user/nobody", "/auth/alien/emailpass", "/auth/verification/request", "/auth/verification/confirm",
		"/admin/users/me/email", "/admin/users/me/email/confirm", "/admin/users/me/profile", "/admin/users/me/delete", "/admin/invites", "/admin/invites/batch", "/admin/invites/accept?token=" + wrongPassword, "/admin/users/user_x", "/nowhere",
	} {
		for _, body := range []string{
			`{` + raw, `{` + raw + `,` + raw + `}`, `{` + raw + `}{}`, `[` + raw + `]`, "{" + raw[:len(raw)-1] + "\xff\"}", "{" + raw[:len(raw)-1] + "\x00\"}", `{"` + wrongPassword + `":1}`, wrongPassword,
			typed("email", wrongPassword, "password", wrongPassword), typed("email", wrongPassword+"@example.com", "password", wrongPassword), typed("email", "ada@example.org", "password", wrongPassword),
			typed("Password", leakPassword, "email", "leaked@example.com"), typed("email", "leaked@example.com", "password", leakPassword),
			typed("token", reset), typed("code", invite), typed("token", wrongPassword, "code", wrongPassword), typed("identifier", wrongPassword), typed("entity_id", wrongPassword, "entity_type", "email"),
			typed("email", invite, "password", reset), typed("current_password", wrongPassword, "password", wrongPassword), `{"emails":["` + wrongPassword + `"]}`,
		} {
			for _, header := range []string{asBearer(ada), asBearer(admin + "x"), "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte("ada:"+wrongPassword)), "Cookie: latchkey=" + reset} {
				e.send("POST", path, body, header)
			}
		}
		e.send("POST", path, raw, "Content-Type: text/plain")
	}
	for _, query := range []string{"q=" + wrongPassword, "token=" + reset, "after=" + invite, "email=" + wrongPassword, "order=" + wrongPassword, wrongPassword + "=1", "created_at=" + wrongPassword, "%zz" + wrongPassword} {
		for _, path := range []string{"/admin/users", "/admin/invites", "/admin/audit", "/auth/user/emailpass/callback", "/nowhere", "/health", "/app/invite", "/app/reset-password", "/app/verify-email", "/app/email/confirm"} {
			e.send("GET", path+"?"+query, "", asBearer(admin))
		}
	}
	for _, path := range []string{"/app/login", "/app/invite", "/app/reset-password", "/app/email", "/app/email/confirm", "/app/verify-email", "/app/account/password", "/app/account/delete"} {
		for _, form := range []url.Values{
			{"email": {wrongPassword}, "password": {wrongPassword}}, {"token": {reset}, "password": {wrongPassword}}, {"token": {invite}, "as": {invite}, "password": {wrongPassword}},
			{"verify": {reset}, "as": {reset}}, {"current_password": {wrongPassword}, "new_password": {wrongPassword}, "confirmation": {wrongPassword}}, {"password": {wrongPassword + "\x00"}}, {"password": {wrongPassword + "\xff"}}, {"email": {"ada@example.org"}, "password": {wrongPassword}},
		} {
			e.send("POST", path, form.Encode())
		}
		e.send("POST", path, "password="+wrongPassword+"%zz")
		e.send("POST", path, raw, "Content-Type: application/json")
	}
}

// columnsOf are all columns of all tables of ours.
func columnsOf(t *testing.T, db *database.DB) (columns []struct{ TableName, ColumnName string }) {
	t.Helper()
	query := "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = current_schema() AND table_name LIKE 'latchkey%'"
	if db.Dialect() == database.SQLite {
		query = "SELECT m.name AS table_name, c.name AS column_name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table' AND m.name LIKE 'latchkey%'"
	}
	if err := db.Conn(t.Context()).NewRaw(query).Scan(t.Context(), &columns); err != nil || len(columns) < 50 {
		t.Fatalf("%d columns, %v", len(columns), err)
	}
	return columns
}

// texts is every value of every table of ours, as text.
func texts(t *testing.T, db *database.DB) string {
	t.Helper()
	var all strings.Builder
	for _, c := range columnsOf(t, db) {
		var values []string
		err := db.Conn(t.Context()).NewSelect().TableExpr("?", bun.Ident(c.TableName)).ColumnExpr("coalesce(CAST(? AS text), '')", bun.Ident(c.ColumnName)).Scan(t.Context(), &values)
		if err != nil {
			t.Fatalf("%s.%s: %v", c.TableName, c.ColumnName, err)
		}
		fmt.Fprintf(&all, "%s.%s:\n%s\n", c.TableName, c.ColumnName, strings.Join(values, "\n"))
	}
	return all.String()
}

// around is where a text holds a secret as it is.
func around(text, secret string) string {
	i := strings.Index(text, secret)
	if i < 0 {
		return "in another form"
	}
	return text[max(0, i-150):min(len(text), i+len(secret)+50)]
}

// The whole program is driven with known secrets: through a life, through every mistake, through a rotation of the secrets,
// with a database of which one table after another is missing, a breach check that fails, and a provider that panics, all at
// the level debug. Then none of them is in its log, in what its commands say, or in the database with its audit trail and
// its outbox.
func TestNoSecretIsInTheLogTheAuditTrailOrTheOutbox(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		dir := t.TempDir()
		jar, err := cookiejar.New(nil)
		if err != nil {
			t.Fatal(err)
		}
		e := &everything{t: t, mails: filepath.Join(dir, "mail.jsonl"), jar: jar, secrets: secrettest.Secrets{}}
		for _, password := range []string{adminPassword, firstPassword, resetPassword, lastPassword, wrongPassword, leakPassword, otherPassword, joinPassword} {
			e.keep("the password "+password, password)
			sum := sha1.Sum([]byte(password))
			e.keep("the SHA-1 of "+password, hex.EncodeToString(sum[:]))
			e.keep("the SHA-1 of "+password, strings.ToUpper(hex.EncodeToString(sum[:])))
			e.keep("what leaves of "+password, "/range/"+strings.ToUpper(hex.EncodeToString(sum[:]))[:5])
		}

		var broken atomic.Bool
		leaks := sha1.Sum([]byte(leakPassword))
		breaches := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if broken.Load() {
				http.Error(w, "out of order", http.StatusInternalServerError)
				return
			}
			if digits := strings.ToUpper(hex.EncodeToString(leaks[:])); strings.HasSuffix(r.URL.Path, digits[:5]) {
				fmt.Fprintf(w, "%s:7\r\n", digits[5:])
			}
		}))
		defer breaches.Close()

		secrets, peppers := filepath.Join(dir, "secrets"), filepath.Join(dir, "peppers")
		for file, what := range map[string]string{secrets: "a master secret", peppers: "a pepper"} {
			if err := os.WriteFile(file, []byte(e.keep(what, freshSecret())+"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		env := environment(dir, at, "LATCHKEY_LOG_LEVEL=debug", "LATCHKEY_LOG_FORMAT="+map[database.Dialect]string{database.SQLite: "json", database.Postgres: "text"}[at.Dialect],
			"LATCHKEY_DATABASE_URL="+at.URL, "LATCHKEY_SECRETS=file:"+secrets, "LATCHKEY_AUTH_PASSWORD_PEPPERS=file:"+peppers,
			"LATCHKEY_MAIL_DRIVER=file", "LATCHKEY_MAIL_PATH="+e.mails, "LATCHKEY_AUTH_PASSWORD_BREACH_CHECK=open", "LATCHKEY_AUTH_PASSWORD_BREACH_URL="+breaches.URL+"/range/",
			"LATCHKEY_ADMIN_RESET_TOKEN_IN_RESPONSE=true", "LATCHKEY_LINK_ACTORS_USER_PROVIDERS=emailpass,panicky,magiclink", "LATCHKEY_AUTH_THROTTLE_ENABLED=false", panicking+"=1")
		if at.Dialect == database.Postgres {
			u, err := url.Parse(at.URL)
			if err != nil {
				t.Fatal(err)
			}
			given, ok := u.User.Password()
			if !ok {
				given = "Wombat-3141-database" // everybody is let in, whatever they say
				u.User = url.UserPassword(u.User.Username(), given)
			}
			e.keep("the database's password", given)
			env = append(env, "LATCHKEY_DATABASE_URL="+u.String())
		}

		var said strings.Builder // by everything but the log
		command := func(args ...string) {
			t.Helper()
			cmd := exec.CommandContext(t.Context(), os.Args[0], args...)
			var out bytes.Buffer
			cmd.Env, cmd.Dir, cmd.Stdout, cmd.Stderr = env, t.TempDir(), &out, &out
			if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
				t.Fatal(err)
			}
			fmt.Fprintf(&said, "server %s:\n%s\n", args[0], out.String())
		}
		command("user", "-e", "admin@example.com", "-p", adminPassword)
		command("user", "-e", "admin@example.com", "-p", wrongPassword) // is there already
		command("user", "-e", "b@example.com", "-p", leakPassword)
		command("user", "-e", wrongPassword, "-p", wrongPassword)

		r := startBinary(t, os.Args[0], env)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.up(ctx); err != nil {
			t.Fatal(err)
		}
		e.url = r.url
		e.live()

		command("keys", "status")
		command("keys", "rotate")
		for file, what := range map[string]string{secrets: "a new master secret", peppers: "a pepper"} {
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, line := range strings.Fields(string(data)) {
				e.keep(what, line)
			}
		}
		command("config")
		command("migrate", "--status")
		command("purge")
		command("sessions", "end", "--user", "joan@example.com")

		broken.Store(true)
		db := at.Open(t)
		admin := member(e.must("POST", "/auth/user/emailpass", typed("email", "admin@example.com", "password", adminPassword)), "token")
		e.must("POST", "/auth/user/emailpass/register", typed("email", "late@example.com", "password", otherPassword)) // unchecked
		e.must("POST", "/auth/user/emailpass/reset-password", typed("identifier", "late@example.com"))
		late := e.mailed("late@example.com", "new password")
		invite := member(e.must("POST", "/admin/invites", typed("email", "never@example.com"), asBearer(admin)), "token")
		for _, table := range []string{"auth_session", "provider_identity", "one_time_token", "invite", "user", "outbox_event", "audit_event", "verification", "email_change", "link"} {
			execAll(t, db, "ALTER TABLE latchkey_"+table+" RENAME TO hidden")
			for _, try := range []struct{ path, body, bearer string }{
				{"/auth/user/emailpass", typed("email", "admin@example.com", "password", adminPassword), ""},
				{"/auth/user/emailpass", typed("email", "admin@example.com", "password", wrongPassword), ""},
				{"/auth/user/emailpass/register", typed("email", "z@example.com", "password", otherPassword), ""},
				{"/auth/user/emailpass/register", typed("email", "late@example.com", "password", otherPassword), ""},
				{"/auth/user/emailpass/update", typed("password", "password1"), late},
				{"/auth/user/emailpass/update", typed("current_password", adminPassword, "password", adminPassword), admin},
				{"/auth/user/emailpass/reset-password", typed("identifier", "late@example.com"), ""},
				{"/auth/verification/confirm", typed("code", late), admin},
				{"/admin/users/me/email/confirm", typed("token", late), admin},
				{"/admin/invites/accept?token=" + invite, `{}`, admin},
				{"/admin/invites", typed("email", "more@example.com"), admin},
				{"/auth/session", "", admin}, {"/auth/token/refresh", "", admin},
			} {
				headers := []string{}
				if try.bearer != "" {
					headers = append(headers, asBearer(try.bearer))
				}
				e.send("POST", try.path, try.body, headers...)
			}
			e.send("POST", "/app/login", url.Values{"email": {"admin@example.com"}, "password": {adminPassword}}.Encode())
			e.send("GET", "/app/invite?token="+invite, "")
			execAll(t, db, "ALTER TABLE hidden RENAME TO latchkey_"+table)
			admin = member(e.must("POST", "/auth/user/emailpass", typed("email", "admin@example.com", "password", adminPassword)), "token")
		}
		if err := r.stop(); err != nil {
			t.Errorf("the server ended with %v", err)
		}

		log, kept := r.stderr.String(), texts(t, db)
		for where, text := range map[string]string{"the log": log, "what is printed": r.stdout.String() + said.String(), "the database": kept} {
			for _, what := range e.secrets.In(text) {
				t.Errorf("%s holds %s: …%s…", where, what, around(text, e.secrets[what]))
			}
		}
		// It has seen what it is to find nothing in.
		for text, parts := range map[string][]string{
			log: {"panic", "/auth/user/panicky", "/admin/invites/accept", "ERROR", "DEBUG", "breached passwords fails"},
			kept: {"latchkey_outbox_event.payload:\n{", "latchkey_audit_event.details:\n", "auth.credentials_changed", "invalid_credentials", notASecret, "reset_token_invalid",
				"auth.email_change", "identity_exists"},
			said.String(): {"Made user", "has a user already", "known from a data breach"},
		} {
			for _, part := range parts {
				if !strings.Contains(text, part) {
					t.Errorf("%q is not in what was looked through:\n%.2000s", part, text)
				}
			}
		}
		if n := len(e.secrets); n < 100 {
			t.Errorf("%d secrets are known, want more", n)
		}
	})
}
