package httpapi_test

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"testing"

	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/auth/magiclink"
	"github.com/latchkey-go/latchkey/modules/kernel/keyring"
)

// byMail is the provider of mailed links, under the keys of the servers here.
func byMail(t testing.TB) auth.Provider {
	t.Helper()
	keys, err := keyring.New(bytes.Repeat([]byte("k"), 32))
	check(t, err)
	p, err := magiclink.New(auth.NewMailings(keys), magiclink.Config{}, magiclink.Options{URL: "http://app.example.com"})
	check(t, err)
	return p
}

// mailedSignIn is a sign-in by a mailed link that somebody has begun.
type mailedSignIn struct {
	state, cookie string // what their browser has
	token         string // what the mailbox has
}

// asksByMail begins one, by the path of a sign-in or of a way that is added.
func (w *person) asksByMail(path, address string, headers ...string) mailedSignIn {
	w.t.Helper()
	a := w.must("ask for a link", w.does(path, fmt.Sprintf(`{"email":%q,"current_password":%q}`, address, w.password), headers...))
	at, err := url.Parse(a.get("location"))
	if a.status != 200 || err != nil {
		w.t.Fatalf("ask for a link to %s: %d %s", address, a.status, a.body)
	}
	m := mailedSignIn{state: at.Query().Get("state")}
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		m.cookie = "Cookie: " + c.Name + "=" + c.Value
	}
	asked := told[auth.SignInMailRequested](w.server)
	for _, e := range slices.Backward(asked) {
		if e.EntityID == address {
			made, err := w.auth.CreateSignInMail(w.t.Context(), e)
			check(w.t, err)
			m.token = made.Token
			break
		}
	}
	if m.cookie == "" || m.token == "" {
		w.t.Fatalf("a sign-in by mail is bound to no browser, or nothing is mailed: %v", a.header)
	}
	w.asked = append(w.asked, m)
	return m
}

func (m mailedSignIn) with(token string) string {
	return fmt.Sprintf(`{"state":%q,"code":%q}`, m.state, token)
}

const mailedCallback = "/auth/user/magiclink/callback"

// comesByMail signs in by a link that is mailed to their own mailbox.
func (w *person) comesByMail() answer {
	w.t.Helper()
	w.signsInAgain = func() answer {
		m := w.asksByMail("/auth/user/magiclink", w.own)
		return w.does(mailedCallback, m.with(m.token), m.cookie)
	}
	return w.keeps(w.must("sign in by a mailed link", w.signsInAgain()))
}

// wantMailsSafe has the attacker come back to all that they have begun with all that was mailed to the victim, but for what was mailed
// for that itself: who hands that over signs the other in. And the other way about.
func (p *play) wantMailsSafe(o owned) {
	p.t.Helper()
	for n, theirs := range p.attacker.asked {
		for _, victims := range p.victim.asked {
			what := fmt.Sprintf("a sign-in by mail that the attacker has begun (%d), and the victim's link", n)
			p.tries(what, mailedCallback, theirs.with(victims.token), o, theirs.cookie)
			p.tries(what+", in the victim's flow", mailedCallback, victims.with(victims.token), o, theirs.cookie)
		}
		p.tries("a sign-in by mail that the attacker has begun, without the link", mailedCallback, theirs.with("eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmVk"), o, theirs.cookie)
	}
	for _, victims := range p.victim.asked {
		p.tries("the victim's link once more, without their browser", mailedCallback, victims.with(victims.token), o)
	}
}

// opensElsewhere has a link opened in another browser than that in which it was asked for.
func (p *play) opensElsewhere(m mailedSignIn, cookies ...string) {
	p.t.Helper()
	if a := p.do(p.t, "POST", mailedCallback, m.with(m.token), cookies...); a.status != 401 {
		p.t.Errorf("a link that was asked for elsewhere is answered %d %s", a.status, a.body)
	}
}
