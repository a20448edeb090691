package app_test

import (
	"context"
	"log/slog"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/fx"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// elsewhere is a provider of two steps that lets in whoever comes back with a code, which is their address.
type elsewhere struct{}

func (elsewhere) Name() string { return "okta" }

func (elsewhere) Begin(_ context.Context, a auth.Attempt) (auth.Challenge, error) {
	return auth.Challenge{RedirectURL: "https://idp.example/?" + url.Values{"state": {a.FlowID}, "redirect_uri": {a.CallbackURL}}.Encode()}, nil
}

func (elsewhere) Finish(_ context.Context, a auth.Attempt) (auth.Assertion, error) {
	var in struct {
		Code string `json:"code"`
	}
	if err := a.Input.Decode(&in); err != nil {
		return auth.Assertion{}, err
	}
	return auth.Assertion{EntityID: in.Code, Profile: auth.Profile{Email: in.Code, EmailVerified: true}}, nil
}

func TestMedusasOwnClientSignsInByTwoSteps(t *testing.T) {
	suite := filepath.Join(filepath.Dir(sdkSuite(t)), "flow.mjs")
	const callback = "http://localhost:8000/us/callback?country=us"
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		cfg, err := app.LoadConfig(app.LoadArgs{Dir: t.TempDir(), Environ: append(environment(t.TempDir(), at), "LATCHKEY_HTTP_CALLBACK_URLS="+callback, "LATCHKEY_LINK_ACTORS_USER_PROVIDERS=emailpass,okta")})
		if err != nil {
			t.Fatal(err)
		}
		var api *httpapi.API
		a := app.New(cfg, fx.Populate(&api), fx.Provide(auth.AsProvider(func() elsewhere { return elsewhere{} })),
			fx.Decorate(func() *slog.Logger { return slog.New(slog.DiscardHandler) }))
		if err := a.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		server := httptest.NewServer(api)
		t.Cleanup(func() {
			server.Close()
			if err := a.Stop(context.WithoutCancel(t.Context())); err != nil {
				t.Error(err)
			}
		})
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		node := exec.CommandContext(ctx, "node", suite)
		node.Env = []string{"PATH=" + os.Getenv("PATH"), "BASE=" + server.URL, "CALLBACK=" + callback}
		out, err := node.CombinedOutput()
		if err != nil || strings.Count("\n"+string(out), "\nok - ") != 6 {
			t.Errorf("%v\n%s", err, out)
		}
	})
}
