package oidc_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/authtest"
	"github.com/latchkey-go/latchkey/modules/auth/emailpass"
	"github.com/latchkey-go/latchkey/modules/auth/oidc"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
	"github.com/latchkey-go/latchkey/modules/kernel/secrettest"
)

func (h house) unavailable() bool { return h.ListAuthProviders()[0].Unavailable }

// Nobody but who lists the providers comes by, and the issuer is found again.
func TestAnIssuerThatComesBackIsFoundByItself(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	log := new(secrettest.Log)
	p := provider(t, "acme", of(issuer), log.Logger())
	h := newHouse(t, p)
	if h.unavailable() {
		t.Error("unavailable before anybody asked")
	}
	issuer.Fail(authtest.Discovery, authtest.HangsUp)
	if _, err := h.Begin(t.Context(), "acme", nil); !errors.Is(err, auth.ErrProviderUnavailable) || !h.unavailable() {
		t.Errorf("begin: %v, unavailable %t", err, h.unavailable())
	}
	issuer.Behave()
	eventually(t, "available", func() bool { return !h.unavailable() })
	h.MustSignIn(t, "acme", issuer)
	if n := strings.Count(log.String(), "cannot be used"); n != 1 || !strings.Contains(log.String(), "answers again") {
		t.Errorf("logged %d times that it cannot be used, want once and that it answers again: %s", n, log)
	}
}

// Run does the same while nobody at all comes by.
func TestAnIssuerIsLookedAfterBeforeAnybodySignsIn(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	issuer.Fail(authtest.Discovery, authtest.Failing)
	p := provider(t, "acme", of(issuer), nil)
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { p.Run(ctx) })
	eventually(t, "asked again", func() bool { return issuer.Hits(authtest.Discovery) > 2 })
	if p.Available() {
		t.Error("available, although the issuer fails")
	}
	issuer.Behave()
	eventually(t, "read", p.Available)
	before := issuer.Hits(authtest.Discovery)
	if _, err := p.Begin(t.Context(), auth.Attempt{FlowID: "x"}); err != nil || issuer.Hits(authtest.Discovery) != before {
		t.Errorf("begin: %v, asked %d times more; want what is known", err, issuer.Hits(authtest.Discovery)-before)
	}
	stop()
	running.Wait()
}

// However many come while the issuer does not answer, it is asked once, and not again for a while.
func TestAnIssuerThatFailsIsAskedByOneAtATime(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	p := provider(t, "acme", of(issuer), nil)
	p.Hurry(200 * time.Millisecond)
	p.Patient()
	issuer.Fail(authtest.Discovery, authtest.Silent)
	begin := func(int) error { _, err := p.Begin(t.Context(), auth.Attempt{FlowID: "x"}); return err }
	for range 3 {
		for _, err := range databasetest.Together(20, begin) {
			if !errors.Is(err, auth.ErrProviderUnavailable) {
				t.Errorf("begin: %v", err)
			}
		}
		p.Available()
	}
	if n := issuer.Hits(authtest.Discovery); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

func TestManyWaitForOneReading(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	h := newHouse(t, provider(t, "acme", of(issuer), nil))
	for _, err := range databasetest.Together(12, func(int) error {
		flow, err := h.Begin(t.Context(), "acme", nil)
		if err != nil {
			return err
		}
		back, err := issuer.Visit(flow.RedirectURL)
		if err != nil {
			return err
		}
		_, err = h.finish(t.Context(), "acme", back.Values)
		return err
	}) {
		if err != nil {
			t.Error(err)
		}
	}
	if d, k := issuer.Hits(authtest.Discovery), issuer.Hits(authtest.Keys); d != 1 || k != 1 {
		t.Errorf("the document was read %d times and the keys %d times, want once each", d, k)
	}
}

// An issuer that dies later than at the start is found out by who meets with it, and nobody else is sent there.
func TestAnIssuerThatDiesIsFoundOut(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	h := newHouse(t, provider(t, "acme", of(issuer), nil))
	back := visit(t, issuer, h.begin(t, "acme").RedirectURL)
	for _, e := range []authtest.Endpoint{authtest.Discovery, authtest.Token, authtest.Keys} {
		issuer.Fail(e, authtest.HangsUp)
	}
	if _, err := h.finish(t.Context(), "acme", back); !errors.Is(err, auth.ErrProviderUnavailable) {
		t.Errorf("finish: %v", err)
	}
	eventually(t, "unavailable", h.unavailable)
	if _, err := h.Begin(t.Context(), "acme", nil); !errors.Is(err, auth.ErrProviderUnavailable) {
		t.Errorf("begin: %v", err)
	}
	issuer.Behave()
	eventually(t, "available", func() bool { return !h.unavailable() })
	h.MustSignIn(t, "acme", issuer)
}

// Who was sent away while the issuer was well may come back although its document cannot be read for now.
func TestWhoComesBackNeedsNoDocument(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	p := provider(t, "acme", of(issuer), nil)
	h := newHouse(t, p)
	back := visit(t, issuer, h.begin(t, "acme").RedirectURL)
	issuer.Fail(authtest.Discovery, authtest.Failing)
	if _, err := h.finish(t.Context(), "acme", back); err != nil {
		t.Errorf("finish: %v", err)
	}
}

func TestSettingsAreWrongAllAtOnce(t *testing.T) {
	t.Parallel()
	section := map[string]any{
		"type": "oidc", "issuer": "http://id.example.com/?x", "client_secret": " hunter2hunter2", "scopes": "email", "trusted_domains": []any{"*", "example.com"},
		"algorithms": "HS256", "max_age": "soon", "claim": "x", "icon": "javascript:alert(1)", "callback_url": "/back", "ca_file": "/nowhere", "private_hosts": "http://x",
		"acr_values": []any{"a b"},
	}
	_, err := auth.NewProviders(auth.Settings{"okta": section, "oidc": {"issuer": "https://id.example.com"}, "other": {"key": 1}}, oidc.Type(nil))
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{
		"okta.issuer: must begin with https://", "okta.client_id: must be set", "okta.client_secret: must be one line", "okta.scopes: must have openid", "okta.trusted_domains: must be * alone",
		"okta.algorithms: must be among RS256", "okta.max_age: the value has the wrong type", "okta.claim: the provider knows no such setting", "okta.icon: must be", "okta.callback_url: must be",
		"okta.ca_file: cannot be read", "okta.private_hosts: must be names", "okta.acr_values: must be words", "auth.providers.oidc.client_id: must be set",
	} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("does not say %q", want)
		}
	}
	if n := len(auth.SettingsErrors(err)); n != 14 {
		t.Errorf("%d problems, want 14:\n%v", n, err)
	}
	secrettest.Silent(t, "the error", err.Error(), "hunter2", "id.example.com", "alert")
}

func TestSettingsMakeProvidersOfTheType(t *testing.T) {
	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
	section := func(more map[string]any) map[string]any {
		all := map[string]any{"issuer": issuer.URL(), "client_id": issuer.ClientID(), "client_secret": issuer.ClientSecret(), "callback_url": callback, "private_hosts": "127.0.0.1"}
		for k, v := range more {
			all[k] = v
		}
		return all
	}
	settings := auth.Settings{
		"okta": section(map[string]any{"type": "oidc", "display_name": "Staff", "icon": "/okta.svg", "scopes": "openid,email"}),
		"oidc": section(map[string]any{"max_age": "1h", "trusted_domains": []any{"example.com"}}),
	}
	made, err := auth.NewProviders(settings, oidc.Type(nil))
	must(t, err)
	h := newHouse(t, made...)
	want := []auth.ProviderInfo{
		{ID: "oidc", DisplayName: "oidc", Flow: auth.FlowRedirect},
		{ID: "okta", DisplayName: "Staff", Icon: "/okta.svg", Flow: auth.FlowRedirect},
	}
	if got := h.ListAuthProviders(); len(got) != 2 || got[0] != want[0] || got[1] != want[1] {
		t.Errorf("providers %+v, want %+v", got, want)
	}
	a, b := h.MustSignIn(t, "oidc", issuer), h.MustSignIn(t, "okta", issuer)
	if a.ID == b.ID || !a.Proved.EmailVerified || b.Proved.EmailVerified {
		t.Errorf("identities %s (vouched for: %t) and %s (%t)", a.ID, a.Proved.EmailVerified, b.ID, b.Proved.EmailVerified)
	}
	if settings["okta"]["type"] != "oidc" {
		t.Error("the settings were changed")
	}
}

// However many wait for an issuer that hangs, passwords are let in meanwhile: those who wait hold nothing that others need.
func TestPasswordsAreLetInWhileAnIssuerHangs(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		db := at.Open(t, auth.Migrations())
		keys, err := keyring.New(make([]byte, keyring.MinSecret))
		must(t, err)
		passwords, err := auth.NewPasswords(auth.PasswordParams{Keys: keys, Options: auth.PasswordOptions{Cost: 4, MaxWait: time.Minute}})
		must(t, err)
		dead, dying := authtest.NewIssuer(t, authtest.IssuerOptions{}), authtest.NewIssuer(t, authtest.IssuerOptions{})
		begins, finishes := provider(t, "dead", of(dead), nil), provider(t, "dying", of(dying), nil)
		begins.Hurry(time.Hour)
		finishes.Hurry(time.Hour)
		s, err := auth.New(auth.Params{DB: db, Keys: keys, Providers: []auth.Provider{begins, finishes, emailpass.New(passwords, emailpass.Config{})},
			Options: auth.Options{Throttle: auth.ThrottleOptions{Disabled: true}}})
		must(t, err)
		ada := auth.Input(`{"email":"ada@example.com","password":"correct horse"}`)
		_, err = s.Register(t.Context(), "emailpass", ada)
		must(t, err)

		const hanging = 40 // of each, more than there are connections to the database, or requests to an issuer at once
		back := make([]auth.Input, hanging)
		for i := range back {
			flow, err := s.Begin(t.Context(), "dying", nil)
			must(t, err)
			back[i] = input(visit(t, dying, flow.RedirectURL))
		}
		dead.Fail(authtest.Discovery, authtest.Silent)
		dying.Fail(authtest.Token, authtest.Silent)
		ctx, leave := context.WithCancel(t.Context())
		var waiting sync.WaitGroup
		var returned atomic.Int32
		for i := range hanging {
			waiting.Go(func() { _, _ = s.Begin(ctx, "dead", nil); returned.Add(1) })
			waiting.Go(func() { _, _ = s.ValidateCallback(ctx, "dying", back[i]); returned.Add(1) })
		}
		eventually(t, "as many at the issuer as there may be", func() bool {
			return dead.Hits(authtest.Discovery) == 1 && dying.Hits(authtest.Token) == 32
		})
		for _, err := range databasetest.Together(10, func(int) error { _, err := s.Authenticate(t.Context(), "emailpass", ada); return err }) {
			must(t, err)
		}
		if n := len(s.ListAuthProviders()); n != 3 {
			t.Errorf("%d providers", n)
		}
		if n := returned.Load(); n != 0 {
			t.Errorf("%d were answered, so it is not said that they wait for nobody else", n)
		}
		leave()
		waiting.Wait()
	})
}
