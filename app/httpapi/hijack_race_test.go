package httpapi_test

import (
	"fmt"
	"testing"

	"github.com/latchkey-go/latchkey/modules/auth"
)

// The attacker acts at the very moment when the victim takes the account back. Whichever of the two is first, nothing that the
// attacker had before, or got out of it, leads to the victim.
func TestPreHijackAtTheDecisiveMoment(t *testing.T) {
	squat := func(p *play) {
		p.attacker.registers(p.address)
		p.attacker.signsIn(p.address)
		p.invites()
	}
	reclaim := func(p *play) func() answer {
		return func() answer { return p.victim.comesBy(idp1, p.address, true) }
	}
	reset := func(p *play) func() answer {
		token := p.victim.resetMail(p.address)
		return func() answer {
			return p.do(p.t, "POST", "/auth/user/emailpass/update", fmt.Sprintf(`{"password":%q}`, p.victim.password), bearer(token))
		}
	}
	// What the attacker gets is kept: a token from whatever they do.
	by := func(path, body string, credential func(p *play) string) func(p *play) func() answer {
		return func(p *play) func() answer {
			as := credential(p)
			return func() answer { return p.attacker.keeps(p.do(p.t, "POST", path, body, as)) }
		}
	}
	newest := func(p *play) string { return bearer(p.attacker.token) }
	attach := func(p *play) func() answer {
		return func() answer { return p.attacker.attaches(p.address) }
	}
	cases := []struct {
		name   string
		before func(p *play)
		victim func(p *play) func() answer
		eve    func(p *play) func() answer
	}{
		{"a reclaim and a refresh", squat, reclaim, by("/auth/token/refresh", "", newest)},
		{"a reclaim and a sign-in", squat, reclaim, func(p *play) func() answer {
			return func() answer { return p.attacker.signsIn(p.address) }
		}},
		{"a reclaim and a change of the password", squat, reclaim, func(p *play) func() answer {
			body := fmt.Sprintf(`{"current_password":%q,"password":"the attacker's third"}`, p.attacker.password)
			return by("/auth/user/emailpass/update", body, newest)(p)
		}},
		{"a reclaim and a move away", squat, reclaim, func(p *play) func() answer {
			link := p.attacker.asksToMove(p.attacker.own)
			p.attacker.moves = append(p.attacker.moves, link)
			as := bearer(p.attacker.token)
			return func() answer {
				return p.attacker.keeps(p.do(p.t, "POST", "/admin/users/me/email/confirm", fmt.Sprintf(`{"token":%q}`, link), as))
			}
		}},
		{"a reclaim and an account attached", squat, reclaim, attach},
		{"a reset and an account attached", squat, reset, attach},
		{"a reset and a refresh", squat, reset, by("/auth/token/refresh", "", newest)},
		{"a reset and a sign-in", squat, reset, func(p *play) func() answer {
			return func() answer { return p.attacker.signsIn(p.address) }
		}},
		{"a reset and a first sign-in", func(p *play) {
			p.attacker.registers(p.address)
			p.invites()
		}, reset, func(p *play) func() answer {
			return func() answer { return p.attacker.signsIn(p.address) }
		}},
		{"an accept and a first sign-in", func(p *play) {
			p.attacker.registers(p.address)
			p.invites()
			p.victim.comesBy(idp1, "", false)
		}, func(p *play) func() answer {
			path, as := "/admin/invites/accept?token="+p.mailed(p.t, p.id), bearer(p.victim.token)
			return func() answer { return p.do(p.t, "POST", path, `{}`, as) }
		}, func(p *play) func() answer {
			return func() answer { return p.attacker.signsIn(p.address) }
		}},
		{"an accept by mail and one of the copied link", func(p *play) {
			p.attacker.registers(p.address)
			p.attacker.links = append(p.attacker.links, p.invites())
			p.victim.comesBy(idp1, "", false)
		}, func(p *play) func() answer {
			path, as := "/admin/invites/accept?token="+p.mailed(p.t, p.id), bearer(p.victim.token)
			return func() answer { return p.do(p.t, "POST", path, `{}`, as) }
		}, func(p *play) func() answer {
			path, as := "/admin/invites/accept?token="+p.attacker.links[0], bearer(p.attacker.token)
			return func() answer { return p.do(p.t, "POST", path, `{}`, as) }
		}},
	}
	eachWith(t, settings{auth: unthrottled.auth, providers: []auth.Provider{idp2{}}}, func(t *testing.T, s *server) {
		admin, n := s.admin(t, "admin@example.com"), 0
		for _, c := range cases {
			t.Run(c.name, func(t *testing.T) {
				first := 0
				for round := range rounds() {
					p := newPlay(t, s, "auto", admin, n)
					n++
					c.before(p)
					victim, eve := c.victim(p), c.eve(p)
					answers := make([]answer, 2)
					together(2, func(i int) { answers[i] = []func() answer{victim, eve}[i]() })
					if answers[1].status == 200 {
						first++
					}
					for _, a := range answers {
						if a.status >= 500 {
							t.Errorf("round %d: %d %s", round, a.status, a.body)
						}
					}
					p.victim.arrives() // whatever came of it
					p.wantSafe()
					if t.Failed() {
						t.Fatalf("round %d: the victim got %d %s, the attacker %d %s", round, answers[0].status, answers[0].body, answers[1].status, answers[1].body)
					}
				}
				s.invariants(t)
				t.Logf("the attacker got through in %d of %d rounds", first, rounds())
			})
		}
	})
}
