package console_test

import (
	"context"
	"html"
	"net/http"
	"testing"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/user"
)

// Whoever waits sees why, what to do, and where that is.
func TestThePageOfWhoWaitsLeadsOn(t *testing.T) {
	const another, reset, proof, out = `href="/app/login"`, `href="/app/reset-password"`, `action="/app/verify-email"`, `action="/app/logout"`
	for _, c := range []struct {
		want   link.Waiting
		policy link.Policy
		email  string
		has    []string
		hasNot []string
	}{
		{link.WaitVerifyEmail, nil, "taken@example.com", []string{another, reset, proof, out}, nil},
		{link.WaitProof, link.AllowDomains(nil, "example.com"), "ada@example.com", []string{another, proof, out}, []string{reset}},
		{link.WaitDomain, link.AllowDomains(nil, "example.com"), "eve@example.org", []string{another, proof, out}, []string{reset}},
		{link.WaitInvite, link.InviteOnly{}, "ada@example.com", []string{another, proof, out}, []string{reset}},
		{link.WaitManual, link.Manual{}, "ada@example.com", []string{another, proof, out}, []string{reset}},
		{link.WaitEmail, link.PolicyFunc(func(context.Context, link.Newcomer) (link.Decision, error) { return link.Wait(link.WaitEmail), nil }),
			"ada@example.com", []string{another, out}, []string{reset}}, // the provider of the pages knows nobody without an address
	} {
		t.Run(c.want.Reason, func(t *testing.T) {
			eachWith(t, options{policy: c.policy}, func(t *testing.T, s *site) {
				if _, err := s.users.CreateUsers(t.Context(), user.Draft{Email: "taken@example.com"}); err != nil {
					t.Fatal(err)
				}
				s.register(t, c.email)
				b := s.browser(t)
				b.signIn(c.email)
				b.want(http.StatusOK, "/app/login", append(c.has, html.EscapeString(c.want.Message), html.EscapeString(c.want.Next), "Sign in another way")...)
				b.wantNot(c.hasNot...)
				b.get("/app") // which is not told why, and leads to where it is said
				b.want(http.StatusOK, "/app", another, out, "to read why")
				b.get("/app/login") // where the link leads
				b.want(http.StatusOK, "/app/login", "or sign in as somebody else")
			})
		})
	}
}
