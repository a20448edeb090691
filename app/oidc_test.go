package app_test

import (
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth/authtest"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

func TestIssuersThatAreSetUpWrongStopTheStartAllAtOnce(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "config.yaml"), `
auth:
  providers:
    okta: {type: oidc, issuer: "https://id.example.com/?tenant=hunter2", client_secret: hunter2hunter2, algorithms: [HS256], issuer_url: x}
    google: {type: oidc, client_id: x}
    corp: {type: saml, issuer: "https://id.example.com"}
    emailpass: {display_nam: E-mail}
    nobody: {key: 1}
link:
  actors:
    user: {providers: [emailpass, okta, google, corp, elsewhere]}
`)
	_, errs, code := inDir(t, dir, nil)
	want := []string{
		"auth.providers.emailpass.display_nam: the provider knows no such setting",
		"auth.providers.okta.issuer_url: the provider knows no such setting",
		"auth.providers.okta.issuer: must not have a query or a fragment",
		"auth.providers.okta.client_id: must be set to what the issuer calls this application",
		"auth.providers.okta.algorithms: must be among RS256",
		"auth.providers.google.issuer: must be set to the issuer's address",
		"auth.providers.corp.type: there is no such type of provider; there are github, google, microsoft, oidc",
		"auth.providers.nobody: there is no such provider; there are emailpass, google, okta",
		`link.actors.user.providers: there is no provider "elsewhere"`,
	}
	for _, w := range want {
		if !strings.Contains(errs, w) {
			t.Errorf("does not say %q", w)
		}
	}
	if lines := strings.Count(strings.TrimSpace(errs), "\n") + 1; code != 2 || lines < len(want) || strings.Contains(errs, "hunter2") {
		t.Errorf("exit %d, %d lines, want 2 and %d without values:\n%s", code, lines, len(want), errs)
	}
}

func TestProductionWantsIssuersByHTTPS(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "config.yaml"), `
env: production
secrets: [`+goodSecret+`]
auth:
  providers:
    okta: {type: oidc, issuer: "http://id.example.com", client_id: x, private_hosts: [id.example.com], callback_url: "http://shop.example.com/back"}
    microsoft: {tenant: aaaabbbb-0000-cccc-1111-dddd2222eeee, authority: "http://login.example.com", client_id: x, client_secret: y, callback_url: "HTTP://127.0.0.1/back"}
    github: {url: "http://github.corp.example", private_hosts: [github.corp.example], client_id: x, client_secret: y}
`)
	_, errs, code := inDir(t, dir, []string{"config"})
	for _, w := range []string{
		"auth.providers.okta.issuer: must be https:// in production", "auth.providers.okta.callback_url: must be https:// in production",
		"auth.providers.microsoft.authority: must be https://", "auth.providers.github.url: must be https:// in production",
	} {
		if code != 2 || !strings.Contains(errs, w) {
			t.Errorf("exit %d, does not say %q:\n%s", code, w, errs)
		}
	}
	if strings.Contains(errs, "microsoft.callback_url") {
		t.Errorf("refuses an address of this machine:\n%s", errs)
	}
	write(t, filepath.Join(dir, "config.yaml"), `
env: production
secrets: [`+goodSecret+`]
http: {public_url: "https://id.example.com", callback_urls: ["https://shop.example.com/back", "http://shop.example.com/back", "http://localhost:3000/back", "http://10.0.0.1/back"]}
`)
	_, errs, code = inDir(t, dir, []string{"config"})
	if code != 2 || !strings.Contains(errs, "http.callback_urls: entries 2, 4 must be https:// in production") {
		t.Errorf("exit %d\n%s", code, errs)
	}
}

// A section that is called as a vendor is one of that type, and what it lacks stops the start.
func TestVendorsThatAreSetUpWrongStopTheStartAllAtOnce(t *testing.T) {
	dir := t.TempDir()
	write(t, filepath.Join(dir, "config.yaml"), `
auth:
  providers:
    google: {client_id: x, client_secret: hunter2, issuer: "https://id.example.com", hosted_domains: [nowhere]}
    microsoft: {client_id: x, client_secret: hunter2, tenant: common}
    github: {client_id: x, scopes: [repo]}
    work: {type: google, client_secret: "file:/nowhere/at/all"}
`)
	_, errs, code := inDir(t, dir, nil)
	if want := "auth.providers.work.client_secret: the file /nowhere/at/all cannot be read"; code != 2 || !strings.Contains(errs, want) {
		t.Errorf("exit %d, does not say %q:\n%s", code, want, errs)
	}
	write(t, filepath.Join(dir, "config.yaml"), `
auth:
  providers:
    google: {client_id: x, client_secret: hunter2, issuer: "https://id.example.com", hosted_domains: [nowhere]}
    microsoft: {client_id: x, client_secret: hunter2, tenant: common}
    github: {client_id: x, scopes: [repo]}
`)
	_, errs, code = inDir(t, dir, nil)
	for _, w := range []string{
		"auth.providers.google.issuer: the provider knows no such setting", "auth.providers.google.hosted_domains: must be domains",
		"auth.providers.microsoft.allowed_tenants: must list the ids", "auth.providers.github.client_secret: must be set", "auth.providers.github.scopes: the provider knows no such setting",
	} {
		if code != 2 || !strings.Contains(errs, w) || strings.Contains(errs, "hunter2") {
			t.Errorf("exit %d, does not say %q:\n%s", code, w, errs)
		}
	}
}

// An issuer that does not answer at the start, or hangs, is told, keeps nobody from signing in by a password, and comes back by itself.
func TestTheServerStartsWithoutAnIssuerAndFindsItLater(t *testing.T) {
	t.Parallel()
	down, hanging := authtest.NewIssuer(t, authtest.IssuerOptions{}), authtest.NewIssuer(t, authtest.IssuerOptions{})
	down.Fail(authtest.Discovery, authtest.HangsUp)
	hanging.Fail(authtest.Discovery, authtest.Silent)
	dir := t.TempDir()
	file := filepath.Join(dir, "latchkey.yaml")
	hub := authtest.NewGitHub(t)
	hub.Fail(authtest.GitHubRoot, authtest.Failing)
	section := func(i *authtest.Issuer) string {
		return `{type: oidc, icon: /x.svg, issuer: "` + i.URL() + `", client_id: ` + i.ClientID() + `, client_secret: ` + i.ClientSecret() + `, private_hosts: [127.0.0.1]}`
	}
	write(t, file, "auth: {providers: {down: "+section(down)+", hanging: "+section(hanging)+
		", github: {url: \""+hub.URL()+"\", client_id: x, client_secret: y, private_hosts: [127.0.0.1]}}}\nlink: {actors: {user: {providers: [emailpass, down, hanging, github]}}}\n")
	server := start(t, environment(dir, databasetest.Database{}), "--config", file)
	if err := server.up(t.Context()); err != nil {
		t.Fatal(err)
	}
	if status, answer, err := post(server.url+"/auth/user/emailpass/register", `{"email":"ada@example.com","password":"correct horse"}`); err != nil || status != 200 {
		t.Errorf("register: %d %s, %v", status, answer, err)
	}
	until := func(path string, is func(string) bool) {
		t.Helper()
		last := ""
		for range 3000 {
			rsp, err := http.Get(server.url + path)
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(rsp.Body)
			rsp.Body.Close()
			if last = string(body); rsp.StatusCode == 200 && is(last) {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		t.Fatalf("%s: %s", path, last)
	}
	const shown = `{"id":"down","identifier":"down","display_name":"down","flow":"redirect","start":"/auth/user/down/start","icon":"/x.svg"`
	until("/auth/user/providers", func(s string) bool { return strings.Contains(s, shown+`,"available":false}`) })
	until("/health", func(s string) bool {
		return strings.HasPrefix(s, `{"status":"ok","unavailable_providers":["down","github"`)
	})
	down.Behave()
	hub.Mend()
	until("/auth/user/providers", func(s string) bool { return strings.Contains(s, shown+"}") })
	until("/health", func(s string) bool {
		return strings.HasPrefix(s, `{"status":"ok"`) && !strings.Contains(s, `"down"`) && !strings.Contains(s, `"github"`)
	})
	if hanging.Hits(authtest.Discovery) == 0 {
		t.Error("the issuer that hangs was never asked")
	}
	if err := server.stop(); err != nil {
		t.Errorf("stop: %v\n%s", err, server.stderr)
	}
	silent := server.stderr.String()
	if !strings.Contains(silent, "an issuer cannot be used") || strings.Contains(silent, down.ClientSecret()) {
		t.Errorf("the log: %s", silent)
	}
}
