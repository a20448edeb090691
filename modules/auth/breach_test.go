package auth_test

import (
	"bytes"
	"context"
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// breached answers as if asked.
type breached func(ctx context.Context, password string) (bool, error)

func (f breached) Breached(ctx context.Context, password string) (bool, error) {
	return f(ctx, password)
}

// guarded are passwords with a checker, and their log.
func guarded(t testing.TB, mode auth.BreachMode, checker auth.BreachChecker) (*auth.Passwords, *bytes.Buffer) {
	t.Helper()
	var said bytes.Buffer
	h, err := auth.NewPasswords(auth.PasswordParams{Keys: ring(t, secret(1)), Breaches: checker, Log: slog.New(slog.NewTextHandler(&said, nil)),
		Options: auth.PasswordOptions{Cost: 4, MaxWait: time.Minute, Breach: mode}})
	must(t, err)
	return h, &said
}

func TestABreachedPasswordIsRefusedAndAFailingCheckDecidesByTheMode(t *testing.T) {
	failure := errors.New("no route to host")
	answer := func(found bool, err error) auth.BreachChecker {
		return breached(func(context.Context, string) (bool, error) { return found, err })
	}
	for name, c := range map[string]struct {
		mode    auth.BreachMode
		checker auth.BreachChecker
		want    error
		logged  bool
	}{
		"off":                 {auth.BreachOff, answer(true, nil), nil, false},
		"not set":             {"", answer(true, failure), nil, false},
		"open, found":         {auth.BreachOpen, answer(true, nil), auth.ErrPassword, false},
		"open, not found":     {auth.BreachOpen, answer(false, nil), nil, false},
		"open, failing":       {auth.BreachOpen, answer(false, failure), nil, true},
		"closed, found":       {auth.BreachClosed, answer(true, nil), auth.ErrPassword, false},
		"closed, not found":   {auth.BreachClosed, answer(false, nil), nil, false},
		"closed, failing":     {auth.BreachClosed, answer(false, failure), auth.ErrBreachCheck, true},
		"closed, not asked":   {auth.BreachClosed, answer(false, failure), auth.ErrPassword, false},
		"open, with nonsense": {auth.BreachOpen, answer(true, failure), nil, true},
	} {
		h, said := guarded(t, c.mode, c.checker)
		password := "battery staple"
		if name == "closed, not asked" {
			password = "password1" // the policy comes first
		}
		for range 3 {
			if err := h.Check(t.Context(), password); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", name, err, c.want)
			}
		}
		if n := strings.Count(said.String(), "breached passwords fails"); (n == 1) != c.logged || n > 1 {
			t.Errorf("%s: logged %d times in a moment: %s", name, n, said)
		}
		if strings.Contains(said.String(), password) {
			t.Errorf("%s: the log tells the password: %s", name, said)
		}
	}
	if err := auth.ErrBreachCheck.After(time.Second); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("%v is of kind %d, want a 503", err, fault.KindOf(err))
	}
	if _, err := auth.NewPasswords(auth.PasswordParams{Keys: ring(t, secret(1)), Options: auth.PasswordOptions{Breach: "ajar"}}); err == nil {
		t.Error("there is a mode that there is not")
	}
}

func TestACheckThatDoesNotAnswerHoldsNobodyUpForLong(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hangs := breached(func(ctx context.Context, _ string) (bool, error) { <-ctx.Done(); return false, ctx.Err() })
		for mode, want := range map[auth.BreachMode]error{auth.BreachOpen: nil, auth.BreachClosed: auth.ErrBreachCheck} {
			h, _ := guarded(t, mode, hangs)
			start := time.Now()
			if err := h.Check(t.Context(), "battery staple"); !errors.Is(err, want) || time.Since(start) != 3*time.Second {
				t.Errorf("%s: %v after %v, want %v after 3s", mode, err, time.Since(start), want)
			}
			gone, cancel := context.WithCancel(t.Context())
			cancel()
			if err := h.Check(gone, "battery staple"); !errors.Is(err, context.Canceled) {
				t.Errorf("%s, for who has gone: %v", mode, err)
			}
		}
	})
}

// The check for breaches must not take turns from those who sign in.
func TestTheHashPoolIsFreeWhileACheckIsWaitedFor(t *testing.T) {
	asked, release := make(chan struct{}, 100), make(chan struct{})
	h, _ := guarded(t, auth.BreachClosed, breached(func(context.Context, string) (bool, error) { asked <- struct{}{}; <-release; return false, nil }))
	var wg sync.WaitGroup
	for range 50 {
		wg.Go(func() {
			if err := h.Check(t.Context(), "battery staple"); err != nil {
				t.Error(err)
			}
		})
	}
	for range 50 {
		<-asked
	}
	if _, err := h.Hash(t.Context(), "battery staple"); err != nil {
		t.Errorf("while 50 wait: %v", err)
	}
	close(release)
	wg.Wait()
}

// rangeAPI is a server of the API that knows some passwords.
type rangeAPI struct {
	mu     sync.Mutex
	asked  []*http.Request
	answer func(w http.ResponseWriter, prefix string)
}

func (a *rangeAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.asked = append(a.asked, r)
	a.mu.Unlock()
	a.answer(w, strings.TrimPrefix(r.URL.Path, "/range/"))
}

func digits(password string) string {
	sum := sha1.Sum([]byte(password))
	return strings.ToUpper(hex.EncodeToString(sum[:]))
}

const padding = "0000000000000000000000000000000000A:0\r\n00000000000000000000000000000000FFF:12\r\n"

func TestARangeCheckerTellsFiveDigitsAndFindsTheRest(t *testing.T) {
	api := &rangeAPI{}
	server := httptest.NewServer(api)
	defer server.Close()
	checker, err := auth.NewRangeChecker(server.URL + "/range/")
	must(t, err)
	const password = "battery staple"
	rest := digits(password)[5:]
	for name, c := range map[string]struct {
		answer string
		found  bool
	}{
		"found":              {padding + rest + ":3\r\n", true},
		"found, first":       {rest + ":3\r\n" + padding, true},
		"found, lower case":  {padding + strings.ToLower(rest) + ":1\n", true},
		"found, without end": {padding + rest + ":10", true},
		"padding alone":      {padding + rest + ":0\r\n", false},
		"padding in zeros":   {padding + rest + ":000\r\n", false},
		"not found":          {padding, false},
	} {
		api.answer = func(w http.ResponseWriter, _ string) { fmt.Fprint(w, c.answer) }
		if found, err := checker.Breached(t.Context(), password); found != c.found || err != nil {
			t.Errorf("%s: %t, %v", name, found, err)
		}
	}
	for _, r := range api.asked {
		if r.Method != "GET" || r.URL.Path != "/range/"+digits(password)[:5] || r.URL.RawQuery != "" || r.Header.Get("Add-Padding") != "true" ||
			r.Header.Get("Cookie")+r.Header.Get("Authorization")+r.Header.Get("Referer") != "" {
			t.Errorf("asked by %s %s, %v", r.Method, r.URL, r.Header)
		}
	}
}

func TestWhatARangeCheckerCannotUseIsAnErrorThatTellsNothing(t *testing.T) {
	const password = "battery staple"
	prefix, rest := digits(password)[:5], digits(password)[5:]
	elsewhere := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		t.Error("a redirect was followed")
		fmt.Fprint(w, rest+":1\r\n")
	}))
	defer elsewhere.Close()
	api := &rangeAPI{}
	server := httptest.NewServer(api)
	defer server.Close()
	checker, err := auth.NewRangeChecker(server.URL + "/range/")
	must(t, err)
	for name, answer := range map[string]func(w http.ResponseWriter, prefix string){
		"500": func(w http.ResponseWriter, p string) { http.Error(w, "broken "+p, 500) },
		"404": func(w http.ResponseWriter, p string) { http.Error(w, p, 404) },
		"a redirect": func(w http.ResponseWriter, p string) {
			w.Header().Set("Location", elsewhere.URL+"/range/"+p)
			w.WriteHeader(302)
		},
		"a page":             func(w http.ResponseWriter, p string) { fmt.Fprintf(w, "<html>%s</html>", p) },
		"nothing":            func(http.ResponseWriter, string) {},
		"too much":           func(w http.ResponseWriter, _ string) { fmt.Fprint(w, strings.Repeat(padding, 20_000)) },
		"a line without end": func(w http.ResponseWriter, _ string) { fmt.Fprint(w, strings.Repeat("A", 200_000)) },
		"cut off": func(w http.ResponseWriter, _ string) {
			w.Header().Set("Content-Length", "1000")
			fmt.Fprint(w, padding)
		},
	} {
		api.answer = answer
		found, err := checker.Breached(t.Context(), password)
		if found || err == nil {
			t.Errorf("%s: %t, %v; want an error", name, found, err)
			continue
		}
		for _, secret := range []string{prefix, rest, password, strings.ToLower(prefix)} {
			if strings.Contains(err.Error(), secret) {
				t.Errorf("%s: %v tells %s", name, err, secret)
			}
		}
	}
	server.Close()
	if _, err := checker.Breached(t.Context(), password); err == nil || strings.Contains(err.Error(), prefix) {
		t.Errorf("nobody there: %v", err)
	}
	slow := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	defer slow.Close()
	checker, err = auth.NewRangeChecker(slow.URL + "/range/")
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := checker.Breached(ctx, password); err == nil || strings.Contains(err.Error(), prefix) {
		t.Errorf("no answer: %v", err)
	}
}

func TestARangeAPIIsAskedByHTTPSOrOnThisMachineAlone(t *testing.T) {
	for address, ok := range map[string]bool{
		auth.PwnedPasswords: true, "https://mirror.example:8443/range/": true, "http://127.0.0.1:8080/range/": true, "http://[::1]/": true, "http://localhost/range/": true,
		"http://api.pwnedpasswords.com/range/": false, "http://127.0.0.1.example.com/": false, "http://10.0.0.1/range/": false, "https://mirror.example/range": false,
		"https://user:pw@mirror.example/range/": false, "https://mirror.example/range/?q=": false, "https://mirror.example/range/#x": false,
		"ftp://mirror.example/": false, "file:///range/": false, "https:///range/": false, "range/": false, "": false, "https://%zz/": false,
	} {
		if _, err := auth.NewRangeChecker(address); (err == nil) != ok {
			t.Errorf("%s: %v, want it accepted: %t", address, err, ok)
		}
	}
}

func TestAnAppCanCheckForBreachesByItself(t *testing.T) {
	var h *auth.Passwords
	app := fx.New(fx.NopLogger,
		fx.Provide(func() (*keyring.Ring, error) { return keyring.New(secret(1)) }, auth.NewPasswords,
			auth.AsBreachChecker(func() breached { return func(context.Context, string) (bool, error) { return true, nil } })),
		fx.Supply(auth.PasswordOptions{Cost: 4, Breach: auth.BreachOpen}), fx.Populate(&h))
	must(t, app.Err())
	if err := h.Check(t.Context(), "battery staple"); !errors.Is(err, auth.ErrPassword) {
		t.Error(err)
	}
}

// leaked is a checker of an app that has its own list.
type leaked map[string]bool

func (l leaked) Breached(_ context.Context, password string) (bool, error) { return l[password], nil }

// An app that keeps its own list of passwords from breaches, here a map. With fx it is
// fx.Provide(auth.AsBreachChecker(open)).
func ExampleBreachChecker() {
	keys, err := keyring.New([]byte("32 random bytes that are secret."))
	if err != nil {
		log.Fatal(err)
	}
	passwords, err := auth.NewPasswords(auth.PasswordParams{
		Keys:     keys,
		Breaches: leaked{"correct horse": true},
		Options:  auth.PasswordOptions{Breach: auth.BreachClosed},
	})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(passwords.Check(context.Background(), "correct horse"))
	fmt.Println(passwords.Check(context.Background(), "battery staple"))
	// Output:
	// Password is known from a data breach: choose another one
	// <nil>
}

func ExampleStrength() {
	for _, password := range []string{"password1", "Summer2026!", "correct horse battery staple"} {
		fmt.Println(auth.Strength(password), password)
	}
	fmt.Println(auth.Strength("kwyjibo1789"), auth.Strength("kwyjibo1789", "kwyjibo@example.com"))
	// Output:
	// 0 password1
	// 2 Summer2026!
	// 4 correct horse battery staple
	// 4 2
}

// People come from Medusa, where their passwords are hashed by scrypt-kdf. They sign in with the passwords they have; at the
// first time the hash is made anew.
func ExampleService_CreateAuthIdentities_import() {
	s, done := withEmailpass()
	defer done()
	ctx := context.Background()
	const hash = "c2NyeXB0AAYAAAAIAAAAAahsGSYdPCtUHpEqa0P/fERO/tgr88EGO4KjNiXrZCoI6Ynk6wlTDFv1tQNnzD/ie9q5DVwqKNgNGbBUsHH2ab8m8Q0g7A3JUy3j+u0Z+F/u"
	_, err := s.CreateAuthIdentities(ctx, auth.IdentityDraft{Providers: []auth.ProviderIdentityDraft{{
		Provider: "emailpass", EntityID: "grace@example.com", Email: "grace@example.com", EmailVerified: true, Secret: []byte(hash),
	}}})
	if err != nil {
		log.Fatal(err)
	}
	_, err = s.Authenticate(ctx, "emailpass", auth.Input(`{"email":"grace@example.com","password":"correct horse"}`))
	fmt.Println(err)
	_, err = s.Authenticate(ctx, "emailpass", auth.Input(`{"email":"grace@example.com","password":"incorrect horse"}`))
	fmt.Println(err)
	// Output:
	// <nil>
	// Invalid email or password
}
