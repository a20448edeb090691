//go:build interop

package app_test

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"

	"github.com/latchkey-go/latchkey/app/browsertest"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// People sign in with somebody else's OpenID provider, which is certified, in a real browser. It is npm's oidc-provider, pinned with all
// it needs by testdata/interop/package-lock.json; testdata/interop/issuer.mjs sets it up. Its pages are on another site than ours, so
// that cookies travel as they do in life. Nobody but who asks for it runs this:
//
//	go test -tags interop -run TestInterop -v ./app
func TestInteropWithACertifiedOpenIDProviderInARealBrowser(t *testing.T) {
	t.Setenv(requirePrograms, "1") // whoever asks for it wants to know
	need(t, "node", "npm")
	script := interopIssuer(t)
	for _, mode := range []string{"query", "form_post"} { // how the provider answers
		t.Run(mode, func(t *testing.T) {
			databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
				site := signInWith(t, at, script, mode)

				ada := browsertest.Start(t)
				var byForm atomic.Bool
				chromedp.ListenTarget(ada.Context(), func(event any) {
					if e, ok := event.(*network.EventRequestWillBeSent); ok && e.Request.Method == "POST" && e.Request.URL == site.url+callback {
						byForm.Store(true)
					}
				})
				ada.Run(network.Enable())
				site.choose(ada)
				site.signInThere(ada, "ada@example.com")
				first := site.me(t, ada, "ada@example.com")
				if byForm.Load() != (mode == "form_post") {
					t.Errorf("the provider has answered by a form: %t", byForm.Load())
				}
				again := browsertest.Start(t) // somewhere else
				site.choose(again)
				site.signInThere(again, "ada@example.com")
				if id := site.me(t, again, "ada@example.com"); id != first {
					t.Errorf("the second sign-in is by %s, want %s", id, first)
				}
				site.choose(ada) // where the provider knows her still, and asks nothing
				if id := site.me(t, ada, "ada@example.com"); id != first {
					t.Errorf("the third sign-in is by %s, want %s", id, first)
				}

				eve := browsertest.Start(t)
				site.choose(eve)
				eve.Run(chromedp.WaitVisible(`input[name=login]`), chromedp.Click(`//a[contains(., "Cancel")]`))
				eve.WaitURL(func(at string) bool { return at == site.url+"/app/login?problem=sign_in_declined" })
				site.choose(eve)
				site.signInThere(eve, "eve@example.com")
				if id := site.me(t, eve, "eve@example.com"); id == first {
					t.Errorf("Eve is %s, who is Ada", id)
				}

				for _, junk := range []string{"x", strings.Repeat("x", 4000), `"'<&%+ ;`} { // which is the caller's fault, not the provider's
					if to := site.comeBackWith(t, junk); to != "/app/login?problem=invalid_credentials" {
						t.Errorf("with the code %.10q: to %s", junk, to)
					}
				}

				for _, b := range []*browsertest.Browser{ada, again, eve} {
					for _, c := range b.Complaints() {
						// Who says no is answered by 401, which the browser counts as an error.
						if strings.Contains(c, site.url) && !strings.Contains(c, "problem=sign_in_declined") {
							t.Errorf("the browser complains of our pages: %s", c)
						}
					}
				}
			})
		})
	}
}

// interopIssuer installs the provider and returns the script that runs it.
func interopIssuer(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{"package.json", "package-lock.json", "issuer.mjs"} {
		data, err := os.ReadFile(filepath.Join("testdata/interop", name))
		if err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(dir, name), string(data))
	}
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	npm := exec.CommandContext(ctx, "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
	npm.Dir = dir
	if out, err := npm.CombinedOutput(); err != nil {
		t.Fatalf("npm could not install oidc-provider: %v\n%s", err, out)
	}
	return filepath.Join(dir, "issuer.mjs")
}

const callback = "/auth/user/node/callback"

// interopSite is a server of ours, with the provider.
type interopSite struct{ url, issuer string }

func signInWith(t *testing.T, at databasetest.Database, script, mode string) interopSite {
	t.Helper()
	// The provider wants to know where people come back to, and the server where the provider is.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l.Close()

	const client, secret = "latchkey", "the secret of a client that only this test has"
	issuer := startInteropIssuer(t, script, "CLIENT_ID="+client, "CLIENT_SECRET="+secret, "CALLBACK=http://"+address+callback, "RESPONSE_MODE="+mode)
	dir := t.TempDir()
	file := filepath.Join(dir, "latchkey.yaml")
	write(t, file, fmt.Sprintf(`auth: {providers: {node: {type: oidc, display_name: "Node's provider", issuer: %q, client_id: %s, client_secret: %q, private_hosts: [localhost], trusted_domains: [example.com]}}}
link: {actors: {user: {providers: [node]}}}
`, issuer, client, secret))
	server := start(t, append(environment(dir, at), "LATCHKEY_HTTP_ADDR="+address), "--config", file)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := server.up(ctx); err != nil {
		t.Fatal(err)
	}
	return interopSite{server.url, issuer}
}

func startInteropIssuer(t *testing.T, script string, env ...string) string {
	t.Helper()
	node := exec.Command("node", script)
	node.Env = append([]string{"PATH=" + os.Getenv("PATH")}, env...)
	var errs output
	node.Stderr = &errs
	lives, err := node.StdinPipe() // it ends with that, and hence with this process
	if err != nil {
		t.Fatal(err)
	}
	out, err := node.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := node.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		lives.Close()
		late := time.AfterFunc(10*time.Second, func() { _ = node.Process.Kill() })
		defer late.Stop()
		_ = node.Wait()
	})
	late := time.AfterFunc(30*time.Second, func() { _ = node.Process.Kill() })
	defer late.Stop()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if _, at, ok := strings.Cut(lines.Text(), "listening on "); ok {
			return at
		}
	}
	t.Fatalf("the provider did not start:\n%s", errs.String())
	return ""
}

// comeBackWith begins a sign-in and comes back from the provider, as a script that makes up a code. It returns where it is sent.
func (s interopSite) comeBackWith(t *testing.T, code string) string {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	get := func(at string) *url.URL {
		t.Helper()
		rsp, err := client.Get(at)
		if err != nil {
			t.Fatal(err)
		}
		defer rsp.Body.Close()
		to, err := rsp.Location()
		if err != nil {
			t.Fatalf("%s: %d, and leads nowhere", at, rsp.StatusCode)
		}
		return to
	}
	there := get(s.url + "/auth/user/node/start")
	return get(s.url + callback + "?" + url.Values{"state": {there.Query().Get("state")}, "iss": {s.issuer}, "code": {code}}.Encode()).RequestURI()
}

// choose presses the provider's button.
func (s interopSite) choose(b *browsertest.Browser) {
	b.Run(chromedp.Navigate(s.url+"/app/login"), chromedp.Click(`//a[contains(., "Sign in with Node's provider")]`))
}

// signInThere does what the provider asks for: who it is, and whether we may know.
func (s interopSite) signInThere(b *browsertest.Browser, address string) {
	b.Run(
		chromedp.SendKeys(`input[name=login]`, address),
		chromedp.SendKeys(`input[name=password]`, "whatever"),
		chromedp.Click(`button[type=submit]`),
		chromedp.WaitVisible(`input[name=prompt][value=consent] + button`),
		chromedp.Click(`button[type=submit]`),
	)
}

// me waits until the browser is signed in, on the page of who has the address, and returns who that is.
func (s interopSite) me(t *testing.T, b *browsertest.Browser, address string) string {
	t.Helper()
	b.WaitURL(func(at string) bool { return at == s.url+"/app" })
	page := b.Text()
	b.Run(chromedp.Navigate(s.url + "/admin/users/me"))
	found := regexp.MustCompile(`"id":"(user_[^"]+)".*"email":"` + regexp.QuoteMeta(address) + `"`).FindStringSubmatch(b.Text())
	if found == nil || !strings.Contains(page, address) {
		t.Fatalf("%s is not signed in:\n%s", address, page)
	}
	return found[1]
}
