package ldap_test

import (
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/examples/ldap"
	"github.com/latchkey-go/latchkey/modules/auth"
)

// The configuration that the guide shows is one that this provider reads.
func TestTheSettingsInTheGuideAreRead(t *testing.T) {
	text, err := os.ReadFile("../../docs/write-a-provider.md")
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(text, -1)[1][1]
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
	made, err := auth.NewProviders(auth.Settings(cfg.Auth.Providers), ldap.Type())
	if err != nil || len(made) != 2 {
		t.Errorf("%v, %v", made, err)
	}
}
