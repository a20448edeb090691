package app_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

const adaSignsIn = `{"email":"ada@example.com","password":"correct horse"}`

// fleet is two nodes on one database, each with a file of its own for the secrets.
type fleet struct {
	nodes [2]*running
	files [2]string
	env   [2][]string
	mails string
}

func newFleet(t *testing.T, at databasetest.Database, secret string) *fleet {
	t.Helper()
	dir := t.TempDir()
	f := &fleet{mails: filepath.Join(dir, "mail.jsonl")}
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for i := range f.nodes {
		f.files[i] = filepath.Join(dir, fmt.Sprintf("secrets-%d", i))
		f.write(t, i, secret)
		f.env[i] = environment(dir, at, "LATCHKEY_SECRETS=file:"+f.files[i], "LATCHKEY_MAIL_DRIVER=file", "LATCHKEY_MAIL_PATH="+f.mails, "LATCHKEY_AUTH_PASSWORD_MAX_WAIT=1m")
		f.nodes[i] = start(t, f.env[i])
		if err := f.nodes[i].up(ctx); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// write puts the secrets in a node's file in one go, as configuration management does.
func (f *fleet) write(t testing.TB, i int, secrets ...string) {
	t.Helper()
	draft := f.files[i] + ".new"
	if err := os.WriteFile(draft, []byte(strings.Join(secrets, "\n")+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(draft, f.files[i]); err != nil {
		t.Fatal(err)
	}
}

// settle is more than a server takes to follow its file, and to forget a token that it has just let pass.
const settle = 4 * keyring.Rhythm

// mailed is the token in the newest mail to somebody whose subject has the word.
func (f *fleet) mailed(t *testing.T, to, word string) string {
	t.Helper()
	for range 200 {
		data, _ := os.ReadFile(f.mails)
		lines := strings.Split(strings.TrimSpace(string(data)), "\n")
		slices.Reverse(lines)
		for _, line := range lines {
			var mail struct{ To, Subject, Text string }
			if json.Unmarshal([]byte(line), &mail) == nil && mail.To == to && strings.Contains(mail.Subject+mail.Text, word) {
				if found := regexp.MustCompile(`token=([\w.-]+)`).FindStringSubmatch(mail.Text); found != nil {
					return found[1]
				}
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("%s is sent no mail about %s", to, word)
	return ""
}

// call sends a request with a bearer token and returns the status.
func call(method, url, body, token string) (int, string, error) {
	req, err := http.NewRequest(method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	req.Header.Set("Content-Type", "application/json")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	rsp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer rsp.Body.Close()
	data, err := io.ReadAll(rsp.Body)
	return rsp.StatusCode, string(data), err
}

func wantCall(t *testing.T, what string, want int, method, url, body, token string) string {
	t.Helper()
	status, answer, err := call(method, url, body, token)
	if err != nil || status != want {
		t.Errorf("%s: %d %s %v, want %d", what, status, answer, err, want)
	}
	return answer
}

// TestARotationAcrossTwoNodesRefusesNobody rotates the secret while 8 clients sign in at one node, refresh at the other
// and call both.
func TestARotationAcrossTwoNodesRefusesNobody(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		t.Parallel()
		old, next := freshSecret(), freshSecret()
		f := newFleet(t, at, old)
		a, b := f.nodes[0].url, f.nodes[1].url
		if out, errs, code := run(t, f.env[0], "user", "-e", "ada@example.com", "-p", "correct horse"); code != 0 {
			t.Fatalf("make an admin: %d %s%s", code, out, errs)
		}

		var calls, refused atomic.Int64
		stop := make(chan struct{})
		var clients sync.WaitGroup
		for i := range 8 {
			clients.Go(func() {
				urls := []string{a, b}
				do := func(what, method, url, body, token string) string {
					status, answer, err := call(method, url, body, token)
					calls.Add(1)
					if err != nil || status != 200 {
						refused.Add(1)
						t.Errorf("client %d, %s: %d %s %v", i, what, status, answer, err)
					}
					return member(answer, "token")
				}
				for n := 0; ; n++ {
					select {
					case <-stop:
						return
					default:
					}
					here, there := urls[n%2], urls[(n+1)%2]
					token := do("sign in", "POST", here+"/auth/user/emailpass", adaSignsIn, "")
					for range 5 {
						do("call the other node", "GET", there+"/admin/users/me", "", token)
						token = do("refresh at the other node", "POST", there+"/auth/token/refresh", "", token)
						do("call the node", "GET", here+"/admin/users/me", "", token)
					}
				}
			})
		}

		// What was made before: every kind of token.
		before := member(wantCall(t, "sign in", 200, "POST", a+"/auth/user/emailpass", adaSignsIn, ""), "token")
		invite := member(wantCall(t, "invite", 200, "POST", a+"/admin/invites", `{"email":"grace@example.com"}`, before), "token")
		registered := member(wantCall(t, "register", 200, "POST", a+"/auth/user/emailpass/register", `{"email":"joan@example.com","password":"correct horse"}`, ""), "token")
		wantCall(t, "ask for a reset", 201, "POST", a+"/auth/user/emailpass/reset-password", `{"identifier":"joan@example.com"}`, "")
		reset := f.mailed(t, "joan@example.com", "password")
		mover := member(wantCall(t, "register", 200, "POST", a+"/auth/user/emailpass/register", `{"email":"eve@example.com","password":"correct horse"}`, ""), "token")
		mover = member(wantCall(t, "sign in", 200, "POST", a+"/auth/user/emailpass", `{"email":"eve@example.com","password":"correct horse"}`, ""), "token")
		wantCall(t, "ask for another address", 200, "POST", a+"/admin/users/me/email", `{"email":"eve@example.org","current_password":"correct horse"}`, mover)
		change := f.mailed(t, "eve@example.org", "address")
		// One of each is left to be tried when the old secret is gone.
		lastInvite := member(wantCall(t, "invite", 200, "POST", a+"/admin/invites", `{"email":"late@example.com"}`, before), "token")
		wantCall(t, "ask for a reset", 201, "POST", a+"/auth/user/emailpass/reset-password", `{"identifier":"eve@example.com"}`, "")
		lastReset := f.mailed(t, "eve@example.com", "password")

		published := func(url string) int {
			return strings.Count(wantCall(t, "key set", 200, "GET", url+"/.well-known/jwks.json", "", ""), `"kid"`)
		}
		for i := range f.nodes { // append
			f.write(t, i, old, next)
			time.Sleep(keyring.Rhythm / 2)
		}
		time.Sleep(settle)
		if published(a) != 2 || published(b) != 2 {
			t.Errorf("%d and %d keys are published, want both keys at both", published(a), published(b))
		}
		for i := range f.nodes { // to the front, on one after the other
			f.write(t, i, next, old)
			time.Sleep(settle)
		}
		kid := func(token string) string {
			head, _, _ := strings.Cut(token, ".")
			data, _ := base64.RawURLEncoding.DecodeString(head)
			return member(string(data), "kid")
		}
		after := member(wantCall(t, "sign in", 200, "POST", b+"/auth/user/emailpass", adaSignsIn, ""), "token")
		if kid(after) == kid(before) {
			t.Error("the old secret still signs")
		}
		wantCall(t, "an access token of before", 200, "GET", b+"/admin/users/me", "", before)
		wantCall(t, "a reset token of before", 200, "POST", b+"/auth/user/emailpass/update", `{"password":"battery staple"}`, reset)
		wantCall(t, "a token to move of before", 200, "POST", b+"/admin/users/me/email/confirm", fmt.Sprintf(`{"token":%q}`, change), mover)
		grace := member(wantCall(t, "register", 200, "POST", b+"/auth/user/emailpass/register", `{"email":"grace@example.com","password":"correct horse"}`, ""), "token")
		wantCall(t, "an invite of before", 200, "POST", b+"/admin/invites/accept?token="+invite, `{}`, grace)
		for i := range f.nodes { // drop
			f.write(t, i, next)
			time.Sleep(settle)
		}
		close(stop)
		clients.Wait()
		t.Logf("%d calls, %d refused", calls.Load(), refused.Load())

		for _, url := range []string{a, b} {
			if published(url) != 1 {
				t.Errorf("after the drop %d keys are published", published(url))
			}
			wantCall(t, "an access token of the secret that was dropped", 401, "GET", url+"/admin/users/me", "", before)
			wantCall(t, "a registration of it", 401, "POST", url+"/auth/token/refresh", "", registered)
			wantCall(t, "a reset token of it", 401, "POST", url+"/auth/user/emailpass/update", `{"password":"battery staple"}`, lastReset)
			late := member(wantCall(t, "register", 200, "POST", url+"/auth/user/emailpass/register", fmt.Sprintf(`{"email":"late%d@example.com","password":"correct horse"}`, len(url)+int(calls.Add(1))), ""), "token")
			wantCall(t, "an invite of it", 400, "POST", url+"/admin/invites/accept?token="+lastInvite, `{}`, late)
			wantCall(t, "a token of now", 200, "GET", url+"/admin/users/me", "", after)
		}
		// People's passwords outlive it, also over a restart.
		for i, n := range f.nodes {
			if err := n.stop(); err != nil {
				t.Errorf("stop: %v", err)
			}
			if log := n.stderr.String(); strings.Contains(log, old) || strings.Contains(log, next) || strings.Contains(log, `"level":"ERROR"`) {
				t.Errorf("the log of node %d:\n%s", i, log)
			}
		}
		again := start(t, f.env[0])
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := again.up(ctx); err != nil {
			t.Fatal(err)
		}
		wantCall(t, "sign in after it all", 200, "POST", again.url+"/auth/user/emailpass", adaSignsIn, "")
	})
}

func TestAFileOfSecretsThatIsDamagedChangesNothing(t *testing.T) {
	dir, first, second := t.TempDir(), freshSecret(), freshSecret()
	file := filepath.Join(dir, "secrets")
	write(t, file, first+"\n"+second+"\n")
	r := start(t, environment(dir, databasetest.SQLite(t), "LATCHKEY_SECRETS=file:"+file))
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := r.up(ctx); err != nil {
		t.Fatal(err)
	}
	wantCall(t, "register", 200, "POST", r.url+"/auth/user/emailpass/register", adaSignsIn, "")
	token := member(wantCall(t, "sign in", 200, "POST", r.url+"/auth/user/emailpass", adaSignsIn, ""), "token")
	for what, damage := range map[string]string{"empty": "", "half a secret": first[:20], "a secret and a half": first + "\n" + second[:20], "no base64": "secret: " + first + "\n", "gone": "-"} {
		if damage == "-" {
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
		} else {
			write(t, file, damage)
		}
		junk := "eyJhbGciOiJFZERTQSIsImtpZCI6Imp1bmsifQ" + token[strings.Index(token, "."):] // {"alg":"EdDSA","kid":"junk"}
		for range 5 {
			time.Sleep(keyring.Rhythm / 2)
			wantCall(t, what+": a token of an unknown key", 401, "GET", r.url+"/admin/users/me", "", junk)
			wantCall(t, what+": a token of before", 200, "GET", r.url+"/admin/users/me", "", token)
		}
		if keys := strings.Count(wantCall(t, "key set", 200, "GET", r.url+"/.well-known/jwks.json", "", ""), `"kid"`); keys != 2 {
			t.Errorf("%s: %d keys are published, want 2", what, keys)
		}
	}
	log := r.stderr.String()
	if !strings.Contains(log, "cannot be read again") || strings.Contains(log, first[:20]) || strings.Contains(log, second[:20]) {
		t.Errorf("the log does not say it, or shows too much:\n%s", log)
	}
}

func TestTheWrongSecretsStopAStart(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		dir, mine, other := t.TempDir(), freshSecret(), freshSecret()
		env := environment(dir, at)
		right, wrong := append(env, "LATCHKEY_SECRETS="+mine), append(env, "LATCHKEY_SECRETS="+other)
		if out, errs, code := run(t, right, "user", "-e", "ada@example.com", "-p", "correct horse"); code != 0 {
			t.Fatalf("%d %s%s", code, out, errs)
		}
		for _, args := range [][]string{nil, {"user", "-e", "eve@example.com", "-p", "correct horse"}} {
			out, errs, code := run(t, wrong, args...)
			if code != 2 || out != "" || !strings.Contains(errs, "has been served with the secrets") || !strings.Contains(errs, "LATCHKEY_SECRETS") || !strings.Contains(errs, "LATCHKEY_ACCEPT_LOST_KEYS") {
				t.Errorf("server %v: exit %d, want 2 and what is missing\n%s%s", args, code, out, errs)
			}
			if strings.Contains(errs, mine) || strings.Contains(errs, other) || !strings.Contains(errs, "1 person must set a new password") {
				t.Errorf("it shows a secret:\n%s", errs)
			}
		}
		out, errs, code := run(t, wrong, "keys", "status")
		for _, want := range []string{"Next: no server starts", "has been served with the secrets", "back into LATCHKEY_SECRETS", "LATCHKEY_ACCEPT_LOST_KEYS", "1 person must set a new password"} {
			if code != 0 || !strings.Contains(out, want) {
				t.Errorf("keys status: exit %d, want %q\n%s%s", code, want, out, errs)
			}
		}
		if out, errs, code := run(t, right, "keys", "status"); code != 0 || !strings.Contains(out, "Next: nothing has to be done") {
			t.Errorf("keys status by the right secret: exit %d\n%s%s", code, out, errs)
		}
		// The pepper of Ada's hash goes with the secret.
		if out, errs, code := run(t, append(wrong, "LATCHKEY_ACCEPT_LOST_KEYS=true"), "user", "-e", "eve@example.com", "-p", "correct horse"); code != 0 {
			t.Errorf("forced: %d %s%s", code, out, errs)
		}
		if out, errs, code := run(t, wrong, "user", "-e", "grace@example.com", "-p", "correct horse"); code != 0 {
			t.Errorf("after that: %d %s%s", code, out, errs)
		}
	})
}

func TestALostPepperStopsAStartWithTheNumberOfPeople(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		env := environment(t.TempDir(), at, "LATCHKEY_SECRETS="+freshSecret())
		with := append(env, "LATCHKEY_AUTH_PASSWORD_PEPPERS="+freshSecret())
		for _, who := range []string{"ada@example.com", "eve@example.com"} {
			if out, errs, code := run(t, with, "user", "-e", who, "-p", "correct horse"); code != 0 {
				t.Fatalf("%d %s%s", code, out, errs)
			}
		}
		out, errs, code := run(t, env)
		if code != 2 || out != "" || !strings.Contains(errs, "whose password hangs on it: 2") || !strings.Contains(errs, "auth.password.peppers") {
			t.Errorf("without the pepper: exit %d, want 2 and the number\n%s%s", code, out, errs)
		}
		if out, errs, code := run(t, env, "keys", "status"); code != 0 || !strings.Contains(out, "is missing") || !strings.Contains(out, "hangs on it: 2") ||
			!strings.Contains(out, "Next: no server starts") || !strings.Contains(out, "2 people must set a new password") || strings.Contains(out, "every token") {
			t.Errorf("keys status: exit %d\n%s%s", code, out, errs)
		}
	})
}

func TestTheDevelopmentSecretServesTheDatabaseThatItMade(t *testing.T) {
	at := databasetest.Postgres(t)
	dir := t.TempDir()
	env := slices.DeleteFunc(environment(dir, at), func(v string) bool { return strings.HasPrefix(v, "LATCHKEY_SECRETS=") })
	user := []string{"user", "-e", "ada@example.com", "-p", "correct horse"}
	if out, errs, code := run(t, env, user...); code != 2 || !strings.Contains(errs, "PostgreSQL needs a secret that all nodes share") {
		t.Errorf("with no secret: exit %d, want 2\n%s%s", code, out, errs)
	}
	file := filepath.Join(dir, "data", "secret")
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, file, freshSecret()+"\n")
	if out, errs, code := run(t, env, user...); code != 0 {
		t.Errorf("a directory that held a secret when the database was made: exit %d\n%s%s", code, out, errs)
	}
	write(t, file, freshSecret()+"\n")
	if out, errs, code := run(t, env, user...); code != 2 || !strings.Contains(errs, "set LATCHKEY_SECRETS to what the other nodes have") {
		t.Errorf("a directory of somebody else: exit %d, want 2\n%s%s", code, out, errs)
	}
	if out, errs, code := run(t, append(env, "LATCHKEY_ENV=production", "LATCHKEY_AUTH_PASSWORD_BCRYPT_COST=10"), user...); code != 2 || !strings.Contains(errs, "secrets: ") {
		t.Errorf("in production: exit %d, want 2\n%s%s", code, out, errs)
	}
}

func TestTheCommandKeysRotatesAFileWhileTheServerRuns(t *testing.T) {
	t.Parallel()
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		t.Parallel()
		dir := t.TempDir()
		file := filepath.Join(dir, "data", "secret")
		env := environment(dir, at)
		if strings.HasPrefix(at.URL, "postgres") {
			file = filepath.Join(dir, "secrets")
			write(t, file, freshSecret()+"\n")
			env = environment(dir, at, "LATCHKEY_SECRETS=file:"+file)
		} else if _, errs, code := run(t, env, "keys", "status"); code != 1 || !strings.Contains(errs, "the first start makes one") {
			t.Errorf("before the first start: exit %d %s", code, errs)
		}
		r := start(t, env)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.up(ctx); err != nil {
			t.Fatal(err)
		}
		lines := func() []string {
			t.Helper()
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			return strings.Fields(string(data))
		}
		keys := func(want string, args ...string) string {
			t.Helper()
			out, errs, code := run(t, env, append([]string{"keys"}, args...)...)
			if code != 0 || !strings.Contains(out, want) {
				t.Fatalf("keys %v: exit %d, want %q\n%s%s", args, code, want, out, errs)
			}
			for _, secret := range lines() {
				if strings.Contains(out+errs, secret) {
					t.Errorf("keys %v shows a secret:\n%s%s", args, out, errs)
				}
			}
			return out
		}
		old := lines()
		wantCall(t, "register", 200, "POST", r.url+"/auth/user/emailpass/register", adaSignsIn, "")
		before := member(wantCall(t, "sign in", 200, "POST", r.url+"/auth/user/emailpass", adaSignsIn, ""), "token")
		keys("begins to rotate", "status")

		keys("Appended a new secret", "rotate")
		appended := lines()
		if len(appended) != 2 || appended[0] != old[0] {
			t.Fatal("the new secret is not appended to the old one")
		}
		for range 100 { // until the server says that it has it
			if out := keys("Next", "status"); !strings.Contains(out, "do not have it") {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		keys("to the front", "rotate")
		if got := lines(); !slices.Equal(got, []string{appended[1], appended[0]}) {
			t.Fatal("the new secret is not in front of the old one")
		}
		time.Sleep(settle)
		wantCall(t, "a token of before", 200, "GET", r.url+"/admin/users/me", "", before)
		for range 100 { // until the server says that it signs with it
			if out := keys("Next", "status"); strings.Contains(out, "is alive until") {
				break
			}
			time.Sleep(100 * time.Millisecond)
		}
		keys("is alive until", "status")
		keys("Nothing was changed", "rotate")
		if got := lines(); len(got) != 2 {
			t.Fatal("a secret was dropped while what it has signed is alive")
		}

		status := keys("verifies", "status")
		name := regexp.MustCompile(`(?m)^  (\S+) +verifies +serves`).FindStringSubmatch(status)
		if name == nil {
			t.Fatalf("the status does not show the old one:\n%s", status)
		}
		if out, errs, code := run(t, env, "keys", "rotate", "--drop", "nonsense"); code != 1 || !strings.Contains(errs, "there are ") || !strings.Contains(errs, name[1]) {
			t.Errorf("to drop what is none: exit %d\n%s%s", code, out, errs)
		}
		keys("Dropped the secret "+name[1], "rotate", "--drop", name[1])
		if got := lines(); !slices.Equal(got, appended[1:]) {
			t.Fatal("the old secret is still there")
		}
		time.Sleep(settle)
		wantCall(t, "a token of the secret that was dropped", 401, "GET", r.url+"/admin/users/me", "", before)
		wantCall(t, "sign in", 200, "POST", r.url+"/auth/user/emailpass", adaSignsIn, "")
		status = keys("is not in the list any more", "status")
		if !strings.Contains(status, "makes hashes") || !regexp.MustCompile(`kept in the database +people whose password hangs on it: 1`).MatchString(status) {
			t.Errorf("the status does not say what becomes of passwords:\n%s", status)
		}
		if info, err := os.Stat(file); err != nil || info.Mode().Perm()&0o077 != 0 && at.Dialect == "sqlite" {
			t.Errorf("the file has the mode %v (%v)", info.Mode(), err)
		}
		if left, _ := filepath.Glob(file + "-*"); left != nil {
			t.Errorf("drafts are left: %v", left)
		}
		names := map[string]string{"old": name[1]}
		if names["new"] = regexp.MustCompile(`(?m)^  (\S+) +signs +serves`).FindStringSubmatch(status)[1]; names["new"] == names["old"] {
			t.Error("one secret is both")
		}
		admin := administrator(t, env, r.url)
		trail := wantCall(t, "the audit trail", 200, "GET", r.url+"/admin/audit?actor_type=command&action[]=secret.appended&action[]=secret.promoted&action[]=secret.dropped&fields=action,target_type,target_id,outcome,details", "", admin)
		row := func(action, of string) string {
			return fmt.Sprintf(`{"action":"secret.%s","target_type":"secret","target_id":"%s","outcome":"success","details":{"here":true},"id":"audit_[0-9A-Z]+"}`, action, names[of])
		}
		if want := `"audit_events":\[` + strings.Join([]string{row("dropped", "old"), row("promoted", "new"), row("appended", "new")}, ",") + `\]`; !regexp.MustCompile(want).MatchString(trail) {
			t.Errorf("the audit trail holds\n%s\nwant\n%s", trail, want)
		}
		if err := r.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
	})
}

// administrator is a token of somebody made at the command line.
func administrator(t *testing.T, env []string, url string) string {
	t.Helper()
	if out, errs, code := run(t, env, "user", "-e", "root@example.com", "-p", "correct horse"); code != 0 {
		t.Fatalf("make an administrator: %d %s%s", code, out, errs)
	}
	return member(wantCall(t, "sign in", 200, "POST", url+"/auth/user/emailpass", `{"email":"root@example.com","password":"correct horse"}`, ""), "token")
}

func TestTheCommandKeysSaysWhatToChangeWhereItCannot(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		old, dir := freshSecret(), t.TempDir()
		env := environment(dir, at)
		with := func(secrets ...string) []string {
			return append(slices.Clip(env), "LATCHKEY_SECRETS="+strings.Join(secrets, ","))
		}
		r := start(t, with(old))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.up(ctx); err != nil {
			t.Fatal(err)
		}
		out, errs, code := run(t, with(old), "keys", "rotate")
		if code != 0 || strings.Contains(out, old) || !strings.Contains(out, "to LATCHKEY_SECRETS on every node") || !strings.Contains(out, "Restart") {
			t.Fatalf("append: exit %d\n%s%s", code, out, errs)
		}
		next := regexp.MustCompile(`(?m)^[\w-]{43}$`).FindString(out)
		if next == "" || strings.Contains(errs, next) {
			t.Fatalf("there is no new secret to copy, or it is on standard error:\n%s%s", out, errs)
		}
		told := wantCall(t, "the audit trail", 200, "GET", r.url+"/admin/audit?action=secret.appended&fields=actor_type,details", "", administrator(t, with(old), r.url))
		if !strings.Contains(told, `"audit_events":[{"actor_type":"command","details":{"here":false},"id":"`) {
			t.Errorf("the audit trail says of what was told: %s", told)
		}
		// The server runs on without it: moving it to the front would have that one refuse what others sign.
		if out, _, code := run(t, with(old, next), "keys", "rotate"); code != 0 || !strings.Contains(out, "Nothing was changed") || !strings.Contains(out, "process") {
			t.Errorf("while a server lacks it: exit %d\n%s", code, out)
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		if out, errs, code := run(t, with(old, next), "keys", "rotate"); code != 0 || !strings.Contains(out, "Move its entry 2") {
			t.Errorf("to the front: exit %d\n%s%s", code, out, errs)
		}
		for _, args := range [][]string{{"keys", "nope"}, {"keys", "status", "--append"}, {"keys", "rotate", "--append", "--drop", "x"}, {"keys", "rotate", "x"}} {
			if out, errs, code := run(t, with(old), args...); code != 2 || out != "" || errs == "" {
				t.Errorf("%v: exit %d, want 2\n%s%s", args, code, out, errs)
			}
		}
		for _, args := range [][]string{{"keys"}, {"keys", "--help"}} {
			if out, _, code := run(t, with(old), args...); code != 0 || !strings.Contains(out, "server keys rotate --drop NAME") {
				t.Errorf("%v: exit %d\n%s", args, code, out)
			}
		}
	})
}

// TestASecretThatIsWrittenInTheDocumentsIsRefusedInProduction looks for what somebody might copy.
func TestASecretThatIsWrittenInTheDocumentsIsRefusedInProduction(t *testing.T) {
	files, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	more, err := filepath.Glob("../docs/*/*.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range append(append(files, more...), "../README.md", "../config.yaml", "../CHANGELOG.md") {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, text := range regexp.MustCompile(`[\w-]{43,}=?`).FindAllString(string(data), -1) {
			if !strings.ContainsAny(text, "0123456789") { // the name of a test
				continue
			}
			if _, errs, code := run(t, []string{"PATH=/usr/bin", "LATCHKEY_ENV=production", "LATCHKEY_SECRETS=" + text}, "config"); code != 2 || !strings.Contains(errs, "LATCHKEY_SECRETS: entry 1") {
				t.Errorf("%s holds %s, and production takes it as a secret: exit %d %s", file, text, code, errs)
			}
		}
	}
}

func TestTheDocumentsListEveryPurposeOfAKey(t *testing.T) {
	doc, err := os.ReadFile("../docs/security/keys.md")
	if err != nil {
		t.Fatal(err)
	}
	declared := regexp.MustCompile(`Purpose += "(latchkey [^"]+ v\d+)"`)
	found := 0
	for _, file := range []string{"../modules/kernel/keyring/keyring.go", "audit/audit.go"} {
		source, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range declared.FindAllStringSubmatch(string(source), -1) {
			if found++; !strings.Contains(string(doc), "| `"+p[1]+"` |") {
				t.Errorf("docs/security/keys.md does not list %q", p[1])
			}
		}
	}
	if found != 12 {
		t.Errorf("%d purposes were found, want 12: is there a new one?", found)
	}
}
