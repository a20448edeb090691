package app_test

import (
	"context"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

func TestProductionWarnsOfWhatKeepsThrottlingFromWorking(t *testing.T) {
	const noProxy, off = "http.trusted_proxies is not set", "auth.throttle.enabled is false"
	env := slices.Clip(environment(t.TempDir(), databasetest.SQLite(t), "LATCHKEY_SECRETS="+testSecret))
	production := slices.Clip(append(env, "LATCHKEY_ENV=production", "LATCHKEY_AUTH_PASSWORD_BCRYPT_COST=10"))
	for name, c := range map[string]struct {
		env  []string
		says string
	}{
		"no proxy":                       {production, noProxy},
		"no throttling":                  {append(production, "LATCHKEY_AUTH_THROTTLE_ENABLED=false"), off},
		"a proxy":                        {append(production, "LATCHKEY_HTTP_TRUSTED_PROXIES=127.0.0.1"), ""},
		"development":                    {env, ""},
		"development without throttling": {append(env, "LATCHKEY_AUTH_THROTTLE_ENABLED=false"), off},
	} {
		r := start(t, c.env)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		if err := r.up(ctx); err != nil {
			t.Fatal(err)
		}
		_ = r.stop() // it may be too early for it to stop in order
		for _, warning := range []string{noProxy, off} {
			want := 0
			if warning == c.says {
				want = 1
			}
			if n := strings.Count(r.stderr.String(), warning); n != want {
				t.Errorf("%s: %q is said %d times, want %d\n%s", name, warning, n, want, r.stderr)
			}
		}
	}
}

func TestItIsSaidWhichSettingsNeedMailsThatNobodySends(t *testing.T) {
	env := environment(t.TempDir(), databasetest.SQLite(t), "LATCHKEY_MAIL_DRIVER=none", "LATCHKEY_AUTH_ENUMERATION_SAFE=true",
		"LATCHKEY_LINK_ACTORS_USER_PROVIDERS=emailpass,magiclink")
	r := start(t, env)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	if err := r.up(ctx); err != nil {
		t.Fatal(err)
	}
	_ = r.stop()
	if log := r.stderr.String(); !strings.Contains(log, "no mail is sent") || !strings.Contains(log, `"because_of":"LATCHKEY_AUTH_ENUMERATION_SAFE, LATCHKEY_LINK_ACTORS_USER_PROVIDERS"`) {
		t.Errorf("the log does not name the setting:\n%s", log)
	}
}
