package forge_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

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
