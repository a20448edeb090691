package console_test

import (
	"context"
	"net/http"
	"testing"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
)

// redirecting is a provider of two steps that nobody finishes.
type redirecting struct{ name, shown string }

func (p redirecting) Name() string        { return p.name }
func (p redirecting) DisplayName() string { return p.shown }

func (p redirecting) Begin(context.Context, auth.Attempt) (auth.Challenge, error) {
	return auth.Challenge{RedirectURL: "https://idp.example/"}, nil
}

func (p redirecting) Finish(context.Context, auth.Attempt) (auth.Assertion, error) {
	return auth.Assertion{}, auth.ErrInvalidCredentials
}

func TestTheSignInPageOffersTheProvidersThatUsersMayUse(t *testing.T) {
	others := []auth.Provider{redirecting{"okta", `Okta <of "us">`}, redirecting{"azure", "Azure"}}
	const form, okta, azure = `<input id="password"`, `href="/auth/user/okta/start?next=%2fapp"`, `href="/auth/user/azure/start?next=%2fapp"`
	for name, c := range map[string]struct {
		allowed []string
		want    []string
		not     []string
	}{
		"all":           {nil, []string{form, okta, azure, "Sign in with Okta &lt;of &#34;us&#34;&gt;"}, nil},
		"one of them":   {[]string{"emailpass", "okta"}, []string{form, okta}, []string{azure}},
		"no password":   {[]string{"azure"}, []string{azure}, []string{form, okta, "Forgot"}},
		"password only": {[]string{"emailpass"}, []string{form}, []string{okta, azure, "providers"}},
	} {
		t.Run(name, func(t *testing.T) {
			eachWith(t, options{providers: others, allowed: c.allowed}, func(t *testing.T, s *site) {
				b := s.browser(t)
				b.get("/app/login")
				b.want(http.StatusOK, "/app/login", c.want...)
				b.wantNot(c.not...)
			})
		})
	}
}

func TestTheSignInPageTellsWhatHasComeOfAProviderInOurWordsAlone(t *testing.T) {
	eachWith(t, options{providers: []auth.Provider{redirecting{"okta", "Okta"}}}, func(t *testing.T, s *site) {
		for reason, c := range map[string]struct {
			status int
			text   string
		}{
			"sign_in_declined":                {401, says(auth.ErrDeclined)},
			"invalid_credentials":             {401, "was started in another browser. Start again."},
			"too_many_attempts":               {429, "too many attempts"},
			"user_deactivated":                {403, says(link.ErrDeactivated)},
			"provider_not_allowed":            {400, "Choose another way."},
			"internal":                        {503, "on our side"},
			"provider_unavailable":            {503, says(auth.ErrProviderUnavailable)},
			"next_not_local":                  {400, "did not work"},
			"<script>alert(1)</script>":       {400, "did not work"},
			"Call+us+at+evil.example+now!%21": {400, "did not work"},
		} {
			b := s.browser(t)
			b.get("/app/login?problem=" + reason)
			b.want(c.status, "/app/login", c.text, `href="/auth/user/okta/start?next=%2fapp"`)
			b.wantNot("evil", "alert(1)")
		}

		// Why somebody waits is told to who is signed in and waits, and to nobody else.
		b := s.browser(t)
		b.get("/app/login?waiting=email_required")
		b.wantNot(link.WaitEmail.Message)
		s.person(t, "ada@example.com")
		b.signIn("ada@example.com")
		b.get("/app/login?waiting=email_required")
		b.wantNot(link.WaitEmail.Message)
	})
	eachWith(t, options{policy: link.InviteOnly{}}, func(t *testing.T, s *site) {
		s.register(t, "eve@example.com")
		b := s.browser(t)
		b.signIn("eve@example.com")
		b.get("/app/login?waiting=invite_required")
		b.want(http.StatusOK, "/app/login", link.WaitInvite.Message, link.WaitInvite.Next)
		b.get("/app/login?waiting=nonsense")
		b.want(http.StatusOK, "/app/login", "Go on")
	})
}
