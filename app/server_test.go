package app_test

import (
	"testing"

	"github.com/latchkey-go/latchkey/app"
)

// What an application cannot have is an error when it starts, and no panic of the multiplexer.
func TestAnApplicationsPatternsTakeNothingOfOurs(t *testing.T) {
	for _, pattern := range []string{
		"", "/", "//", "store/", "/auth", "/auth/", "/auth/store/", "/admin/store", "/app", "/app/", "/.well-known/", "/health", "/health/", "/{store}/", "GET /store/",
		"//auth/", "//store/", "/store//", "/store//x", "/./auth/", "/store/../auth/", "/store/.", "/store/..", "/store/%2e%2e/",
		"/my/", "/my/account", "/my/account/", "/my/account/store/",
	} {
		if err := app.CheckPatterns(pattern); err == nil {
			t.Errorf("%q is taken", pattern)
		}
	}
	if err := app.CheckPatterns("/store/", "/store/v1.0/", "/store/~me", "/shop", "/authors/", "/application/", "/my", "/my/store/", "/my/accounts/"); err != nil {
		t.Error(err)
	}
	if err := app.CheckPatterns("/store/", "/shop/", "/store/"); err == nil {
		t.Error("two handlers of one pattern are taken")
	}
}
