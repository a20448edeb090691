package forge_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/examples/forge"
	"github.com/latchkey-go/latchkey/modules/auth"
)

// The configuration that the guide shows is one that this provider reads.
func TestTheSettingsInTheGuideAreRead(t *testing.T) {
	text, err := os.ReadFile("../../docs/write-a-provider.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(text, -1)[0][1]
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	for path, data := range map[string][]byte{
		secret:                            []byte("a secret of the guide's"),
		filepath.Join(dir, "config.yaml"): regexp.MustCompile(`/run/secrets/\w+`).ReplaceAll(shown, []byte(secret)),
	} {
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := app.LoadConfig(app.LoadArgs{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if p, err := forge.New(auth.Settings(cfg.Auth.Providers)); err != nil || p.URL != "https://forge.example.com" || !p.TrustEmail {
		t.Errorf("%+v, %v", p, err)
	}
}

// What is wrong with a setting is said of the setting, as everybody's is, before anything starts.
func TestAURLThatIsNoneStopsTheStart(t *testing.T) {
	for url, want := range map[string]string{
		"forge.example.com":        "auth.providers.forge.url: must be a whole address, such as https://example.com/path",
		"ftp://forge.example.com":  "auth.providers.forge.url: must begin with https://",
		"https://forge.example. x": "auth.providers.forge.url: must not have blanks, control characters or others that cannot be seen",
		"":                         "auth.providers.forge.url: must be set",
	} {
		cfg, err := app.LoadConfig(app.LoadArgs{Dir: t.TempDir(), Environ: []string{"LATCHKEY_AUTH_PROVIDERS_FORGE_URL=" + url, "LATCHKEY_AUTH_PROVIDERS_FORGE_CLIENT_ID=app",
			"LATCHKEY_AUTH_PROVIDERS_FORGE_CLIENT_SECRET=secret", "LATCHKEY_HTTP_ADDR=127.0.0.1:0"}})
		if err != nil {
			t.Fatal(err)
		}
		if err := app.New(cfg, fx.Provide(auth.AsProvider(forge.New))).Err(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %s", url, err, want)
		}
	}
}
