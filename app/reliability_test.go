package app_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// What the experiments of docs/reliability.md have in common. They are small in an ordinary run of the tests; these, in the
// environment, make them as large as there:
//
//	LATCHKEY_TEST_ROUNDS       how many identities come to be, for each fault (once_test.go); how many outages, or kills (smtp_test.go)
//	LATCHKEY_TEST_OPERATIONS   of each client (history_test.go), or in all (failing_test.go)
//	LATCHKEY_TEST_SEEDS        how many histories (history_test.go)
//	LATCHKEY_TEST_SEED         the first seed; without it another one each time, which is printed

// scale is a number from the environment.
func scale(t *testing.T, name string, usual int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return usual
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s is no number", name, text)
	}
	return n
}

// firstSeed is what chance begins with.
func firstSeed(t *testing.T) uint64 {
	t.Helper()
	seed := rand.Uint64N(1 << 32)
	if text := os.Getenv("LATCHKEY_TEST_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("LATCHKEY_TEST_SEED=%s is no number", text)
		}
	}
	t.Logf("LATCHKEY_TEST_SEED=%d", seed)
	return seed
}

// voucher is a provider that takes everybody's word for their name, and vouches for the address.
type voucher struct{}

func (voucher) Name() string { return "voucher" }

func (voucher) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	var in struct {
		Name  string `json:"name"`
		Email string `json:"email"`
	}
	if err := a.Input.Decode(&in); err != nil {
		return auth.Assertion{}, err
	}
	if _, err := a.Secret(ctx, in.Name); err != nil {
		return auth.Assertion{}, err
	}
	return auth.Assertion{EntityID: in.Name, Profile: auth.Profile{Email: in.Email, EmailVerified: true}}, nil
}

const (
	vouchingServer = "LATCHKEY_TEST_VOUCHING_SERVER" // makes this test program a server that knows the voucher
	oneProcessor   = "LATCHKEY_TEST_ONE_PROCESSOR"   // that runs on one processor
)

func vouches() (code int) {
	return app.Main(os.Args[1:], fx.Provide(auth.AsProvider(func() voucher { return voucher{} })), fx.Invoke(func() {
		if os.Getenv(oneProcessor) != "" {
			runtime.GOMAXPROCS(1)
		}
	}))
}

// vouching is the environment of servers that know the voucher, on a database that the test looks at as well.
func vouching(t *testing.T, at databasetest.Database, extra ...string) []string {
	t.Helper()
	dir := t.TempDir()
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "LATCHKEY_HTTP_ADDR=127.0.0.1:0", "LATCHKEY_AUTH_PASSWORD_BCRYPT_COST=4",
		"LATCHKEY_DATA_DIR=" + filepath.Join(dir, "data"), "LATCHKEY_DATABASE_URL=" + at.URL, "LATCHKEY_SECRETS=" + testSecret,
		"LATCHKEY_LINK_ACTORS_USER_PROVIDERS=emailpass,voucher", "LATCHKEY_MAIL_DRIVER=none", vouchingServer + "=1",
	}
	return append(env, extra...)
}

// startVouching starts a server that knows the voucher, and waits for it.
func startVouching(t *testing.T, env []string) *running {
	t.Helper()
	r := startBinary(t, itself(t), env)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := r.up(ctx); err != nil {
		t.Fatal(err)
	}
	return r
}

// makeVouchingAdmin makes an admin as an operator does.
func makeVouchingAdmin(t *testing.T, env []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), itself(t), "user", "-e", "admin@example.com", "-p", "correct horse")
	cmd.Env, cmd.Dir = env, t.TempDir()
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make an admin: %v\n%s", err, out)
	}
}

// claimsOf are the claims of a token, whoever signed it.
func claimsOf(token string) (c struct {
	Actor   string `json:"actor_id"`
	Session string `json:"sid"`
	ID      string `json:"id"` // of an invite
	Ver     int64  `json:"ver"`
	JTI     string `json:"jti"` // of a token that works once, or until the invite is renewed
}) {
	if parts := strings.Split(token, "."); len(parts) == 3 {
		if data, err := base64.RawURLEncoding.DecodeString(parts[1]); err == nil {
			_ = json.Unmarshal(data, &c)
		}
	}
	return c
}

// pooled keeps its connections: what it is for is to send much at once.
var pooled = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 200}}

// slowly is a database behind a network that takes its time: every round trip takes longer by so much.
func slowly(t *testing.T, at databasetest.Database, roundTrip time.Duration) databasetest.Database {
	t.Helper()
	u, err := url.Parse(at.URL)
	if err != nil {
		t.Fatal(err)
	}
	network, target := "tcp", u.Host
	query := u.Query()
	if dir := query.Get("host"); strings.HasPrefix(dir, "/") {
		network, target = "unix", filepath.Join(dir, ".s.PGSQL."+query.Get("port"))
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return
			}
			to, err := net.Dial(network, target)
			if err != nil {
				from.Close()
				continue
			}
			go delayed(to, from, roundTrip/2)
			go delayed(from, to, roundTrip/2)
		}
	}()
	query.Del("host")
	query.Del("port")
	u.Host, u.RawQuery = l.Addr().String(), query.Encode()
	at.URL = u.String()
	return at
}

// delayed copies what arrives, each piece so much later than it came.
func delayed(to, from net.Conn, by time.Duration) {
	type piece struct {
		data []byte
		due  time.Time
	}
	pieces := make(chan piece, 1024)
	go func() {
		defer to.Close()
		for p := range pieces {
			time.Sleep(time.Until(p.due))
			if _, err := to.Write(p.data); err != nil {
				from.Close()
			}
		}
	}()
	defer close(pieces)
	for buf := make([]byte, 64<<10); ; {
		n, err := from.Read(buf)
		if n > 0 {
			pieces <- piece{slices.Clone(buf[:n]), time.Now().Add(by)}
		}
		if err != nil {
			return
		}
	}
}

// durations are how long requests took. It is safe for concurrent use.
type durations struct {
	mu  sync.Mutex
	all []time.Duration
}

func (d *durations) add(took time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.all = append(d.all, took)
}

// within is what a hundredth part so many of the requests took at most.
func (d *durations) within(percent int) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.all) == 0 {
		return 0
	}
	slices.Sort(d.all)
	return d.all[min(len(d.all)-1, len(d.all)*percent/100)].Round(time.Millisecond)
}

// sendBy sends a request by a client.
func sendBy(ctx context.Context, c *http.Client, method, url, body, bearer string) (status int, answer string, err error) {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return 0, "", err
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	rsp, err := c.Do(req)
	if err != nil {
		return 0, "", err
	}
	defer rsp.Body.Close()
	data, err := io.ReadAll(rsp.Body)
	return rsp.StatusCode, string(data), err
}
