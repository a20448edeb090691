package console_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"testing"

	"github.com/latchkey-go/latchkey/app/web"
)

// behindAProxy are options under which a browser says where it is, by X-Forwarded-For.
var behindAProxy = options{site: web.Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("::1/128")}}}

const tooMany = "There were too many attempts."

func (b *browser) from(ip string) { b.header.Set("X-Forwarded-For", ip) }

// device is the cookie that makes a browser's device known; empty for none.
func (b *browser) device() string {
	at, err := url.Parse(b.site.server.URL)
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range b.client.Jar.Cookies(at) {
		if c.Name == "latchkey-device" {
			return c.Value
		}
	}
	return ""
}

func TestWhoHoldsTheLinkOfARegistrationDoesNotGuessWithoutEnd(t *testing.T) {
	o := behindAProxy
	o.safe = true
	eachWith(t, o, func(t *testing.T, s *site) {
		b := s.browser(t)
		guess := func(path, address, secret string) {
			b.get(path)
			b.submit("/app/login", fields("email", address, "password", secret))
		}
		s.register(t, "ada@example.com")
		path := s.mailedProof(t)
		for i := range 10 {
			b.from(fmt.Sprintf("192.0.2.%d", i)) // wherever from
			guess(path, "ada@example.com", "not "+password)
			b.want(http.StatusUnauthorized, "/app/login", "E-mail address or password is not right.")
		}
		b.from("192.0.2.100")
		guess(path, "ada@example.com", password)
		b.want(http.StatusTooManyRequests, "/app/login", tooMany)

		// Nor with a registration for every ten.
		b.from("198.51.100.1")
		for i := range 10 {
			s.register(t, fmt.Sprintf("n%d@example.com", i))
			path = s.mailedProof(t)
			for range 10 {
				guess(path, fmt.Sprintf("n%d@example.com", i), "not "+password)
				b.want(http.StatusUnauthorized, "/app/login", "E-mail address or password is not right.")
			}
		}
		s.register(t, "eve@example.com")
		path = s.mailedProof(t)
		guess(path, "eve@example.com", password)
		b.want(http.StatusTooManyRequests, "/app/login", tooMany)
		b.from("198.51.100.2")
		guess(path, "eve@example.com", password)
		b.want(http.StatusOK, "/app/login", "Confirm the address", "<strong>eve@example.com</strong>")
	})
}

// Anything may have a browser open links that are no good, such as a picture in somebody's page.
func TestLinksThatAreNoGoodDoNotCloseTheWayToANewPassword(t *testing.T) {
	eachWith(t, behindAProxy, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com")
		path := s.forgot(t, "ada@example.com")
		b := s.browser(t)
		b.from("192.0.2.1")
		for range 40 {
			b.get(resetPath + "?token=junk")
			b.wantAsking(http.StatusBadRequest, deadLink)
		}
		b.get(path)
		b.want(http.StatusOK, resetPath, "Choose a new password")
		good := b.page
		for i := range 31 { // by the form it counts, and once each time
			b.page = good
			b.submit(resetPath, fields("token", "junk", "password", newPassword))
			if i == 30 {
				b.want(http.StatusTooManyRequests, resetPath, tooMany)
			} else {
				b.wantAsking(http.StatusBadRequest, deadLink)
			}
		}
		b.get(path)
		b.want(http.StatusOK, resetPath, "Choose a new password")
		b.submit(resetPath, fields("password", newPassword))
		b.want(http.StatusOK, resetPath, "Your password is set")
	})
}

func TestABrowserStaysKnownWhenTheAddressIsAnother(t *testing.T) {
	eachWith(t, behindAProxy, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com")
		b := s.browser(t)
		b.from("192.0.2.1")
		b.signIn("ada@example.com")
		before := b.device()
		b.askToMove("ada@lovelace.example")
		b.get(s.mailedMove(t))
		b.submit(confirmPath, nil)
		b.want(http.StatusOK, confirmPath, "Your e-mail address has changed")
		if b.device() == "" || b.device() == before {
			t.Fatal("the browser got nothing in place of what is void")
		}
		eve := s.browser(t)
		eve.from("203.0.113.1")
		for range 11 {
			eve.get("/app/login")
			eve.submit("/app/login", fields("email", "ada@lovelace.example", "password", "not "+password))
		}
		eve.want(http.StatusTooManyRequests, "/app/login", tooMany)
		b.from("203.0.113.1")
		b.signIn("ada@lovelace.example")
		b.want(http.StatusOK, "/app", "ada@lovelace.example")
	})
}
