package oidc_test

import (
	"os"
	"reflect"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/modules/auth/oidc"
)

func TestEverySettingIsDocumented(t *testing.T) {
	text, err := os.ReadFile("../../../docs/oidc.md")
	must(t, err)
	table, _, _ := strings.Cut(string(text), "\n## Trusted domains")
	for field := range reflect.TypeFor[oidc.Config]().Fields() {
		if key := field.Tag.Get("config"); !strings.Contains(table, "`"+key+"`") {
			t.Errorf("docs/oidc.md does not have %s", key)
		}
	}
}
