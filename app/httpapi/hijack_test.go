//go:build !race

// The scripts go one step after the other, thousands of them: the race detector would find nothing and take minutes. Who acts at the
// same time is in hijack_race_test.go.

package httpapi_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/auth"
)

// The five classes of pre-hijacking of Sudhodanan and Paverd (USENIX Security 2022), each as scripts in which an Attacker, who knows
// the victim's address alone, prepares what is to be theirs once the Victim has come, whom an Admin invites. Each is played in every
// setting, and at its end wantSafe tries all that the attacker ever had. docs/security/pre-hijacking.md lists them.

// Somebody has registered the address when its owner comes by a federated provider.
func TestPreHijackByClassicFederatedMerge(t *testing.T) {
	playAll(t, "proved", []script{
		{"registered, then the victim comes by a provider that vouches", "", func(p *play) {
			p.attacker.registers(p.address)
			p.invites()
			p.victim.comesBy(idp1, p.address, true)
			p.victim.acceptsByMail()
		}},
		{"a user already, whom the victim reclaims", "auto", func(p *play) {
			p.attacker.registers(p.address)
			p.attacker.signsIn(p.address)
			squatted := actor(p.t, p.attacker.token)
			p.invites()
			p.victim.comesBy(idp1, p.address, true)
			if got := actor(p.t, p.victim.token); got == "" || got != squatted {
				p.t.Errorf("the victim is %q, want the row %q that was squatted", got, squatted)
			}
			p.wantReclaimed(squatted)
			for _, credential := range p.attacker.kept {
				p.wantDead(p.t, "of the attacker", credential)
			}
			if p.fits(p.t, p.address, p.attacker.password) {
				p.t.Error("the attacker's password still fits")
			}
			p.victim.acceptsByMail()
		}},
		{"a provider that does not vouch merges nothing", "", func(p *play) {
			p.attacker.registers(p.address)
			p.attacker.signsIn(p.address)
			p.invites()
			p.victim.comesBy(idp1, p.address, false)
			if actor(p.t, p.victim.token) != "" && actor(p.t, p.victim.token) == actor(p.t, p.attacker.token) {
				p.t.Error("the two are one")
			}
			p.victim.acceptsByMail()
		}},
		{"a provider that passes on no address merges nothing", "", func(p *play) {
			p.attacker.registers(p.address)
			p.attacker.signsIn(p.address)
			p.invites()
			p.victim.comesBy(idp1, "", false)
			if got := actor(p.t, p.victim.token); got != "" {
				p.t.Errorf("without an address the victim is %s", got)
			}
			p.victim.acceptsByMail()
		}},
		{"reversed: the victim is there and the attacker registers", "", func(p *play) {
			p.invites()
			p.victim.comesBy(idp1, p.address, true)
			p.victim.acceptsByMail()
			p.attacker.registers(p.address)
			p.attacker.signsIn(p.address)
			if got := p.attacker.token; got != "" && actor(p.t, got) != "" {
				p.t.Errorf("the attacker is %s", actor(p.t, got))
			}
		}},
		{"reversed: the victim's identity is nobody yet and the attacker registers", "", func(p *play) {
			p.invites()
			p.victim.comesBy(idp1, p.address, false)
			p.attacker.registers(p.address)
			p.attacker.signsIn(p.address)
			p.victim.acceptsByMail()
		}},
		{"the attacker claims the address at the provider by which the victim comes", "", func(p *play) {
			p.attacker.comesBy(idp1, p.address, false)
			p.attacker.refreshes()
			p.invites()
			p.victim.comesBy(idp1, p.address, true)
			p.victim.acceptsByMail()
			p.attacker.comesBy(idp1, p.address, false)
		}},
		{"the attacker's provider vouches for one address, then names the victim's", "", func(p *play) {
			p.attacker.comesBy(idp1, p.attacker.own, true)
			p.attacker.comesBy(idp1, p.address, false)
			p.attacker.refreshes()
			p.invites()
			p.victim.comesBy(idp1, p.address, true)
			p.victim.acceptsByMail()
			p.attacker.comesBy(idp1, p.address, false)
		}},
		{"reversed: the attacker claims the address at the provider, afterwards", "", func(p *play) {
			p.invites()
			p.victim.comesBy(idp1, p.address, true)
			p.victim.acceptsByMail()
			p.attacker.comesBy(idp1, p.attacker.own, true)
			p.attacker.comesBy(idp1, p.address, false)
		}},
		{"the victim, who came by a provider, sets a password as well", "auto invite proved unseen unseenproof", func(p *play) {
			p.attacker.registers(p.address)
			p.invites()
			p.victim.comesBy(idp1, p.address, true)
			p.victim.acceptsByMail()
			by := actor(p.t, p.victim.token)
			p.victim.recovers() // over what the attacker registered
			if got := actor(p.t, p.victim.token); got != by {
				p.t.Errorf("by the password the victim is %q, by the provider %q", got, by)
			}
		}},
	})
}

// Somebody has kept a session, and refreshes it all the time, when the owner of the address comes.
func TestPreHijackByUnexpiredSession(t *testing.T) {
	squats := map[string]func(p *play){
		"registered": func(p *play) { p.attacker.registers(p.address) },
		"signed in": func(p *play) {
			p.attacker.registers(p.address)
			p.attacker.signsIn(p.address)
		},
		"signed in by a provider": func(p *play) { p.attacker.comesBy(idp1, p.address, false) },
	}
	comes := map[string]func(p *play){
		"a new password": func(p *play) { p.victim.recovers() },
		"a provider":     func(p *play) { p.victim.comesBy(idp1, p.address, true) },
		"a registration under another address": func(p *play) {
			p.victim.own = "private-" + p.address
			p.victim.registers(p.victim.own)
			p.victim.signsInAgain = func() answer {
				return p.victim.does("/auth/user/emailpass", credentials(p.victim.own, p.victim.password))
			}
			if p.stage == "unseen" || p.stage == "unseenproof" {
				p.victim.proves(p.victim.own) // and has a user, who is not the invited one
			}
		},
	}
	var scripts []script
	for squat, squats := range squats {
		for way, comes := range comes {
			in := ""
			if way == "a registration under another address" {
				in = "auto invite manual proved"
			}
			scripts = append(scripts,
				script{squat + ", then the victim comes by " + way + " and accepts", in, func(p *play) {
					squats(p)
					p.invites()
					comes(p)
					p.victim.acceptsByMail()
				}},
				script{squat + " after the invite, then the victim comes by " + way + " and accepts", in, func(p *play) {
					p.invites()
					squats(p)
					comes(p)
					squats(p)
					p.victim.acceptsByMail()
				}},
				script{"reversed: the victim has come by " + way + " and accepted, then " + squat, in, func(p *play) {
					p.invites()
					comes(p)
					p.victim.acceptsByMail()
					squats(p)
					p.attacker.refreshes()
				}})
		}
	}
	scripts = append(scripts,
		script{"the victim sets a new password twice while the chain goes on", "auto invite manual proved", func(p *play) {
			p.attacker.registers(p.address)
			p.invites()
			p.victim.recovers()
			p.victim.password = "battery staple again"
			p.victim.recovers()
			p.victim.acceptsByMail()
		}},
		script{"the Admin deletes the squatter, and the victim begins anew", "auto", func(p *play) {
			p.attacker.registers(p.address)
			p.attacker.signsIn(p.address)
			if a := p.do(p.t, "DELETE", "/admin/users/"+actor(p.t, p.attacker.token), "", bearer(p.admin)); a.status != 200 {
				p.t.Fatalf("delete: %d %s", a.status, a.body)
			}
			p.attacker.refreshes()
			p.invites()
			p.victim.registers(p.address)
			p.victim.signsIn(p.address)
			p.victim.acceptsByMail()
		}},
		script{"the Admin deletes the squatter and restores the user, whom the victim takes", "auto", func(p *play) {
			p.attacker.registers(p.address)
			p.attacker.signsIn(p.address)
			id := actor(p.t, p.attacker.token)
			for _, do := range [][2]string{{"DELETE", ""}, {"POST", "/restore"}} {
				if a := p.do(p.t, do[0], "/admin/users/"+id+do[1], "", bearer(p.admin)); a.status != 200 {
					p.t.Fatalf("%v: %d %s", do, a.status, a.body)
				}
				p.attacker.refreshes()
			}
			p.attacker.registers(p.address)
			p.attacker.signsIn(p.address)
			p.invites()
			p.victim.comesBy(idp1, p.address, true)
			p.victim.acceptsByMail()
		}},
		script{"the squatter is deactivated and activated again", "auto", func(p *play) {
			p.attacker.registers(p.address)
			p.attacker.signsIn(p.address)
			id := actor(p.t, p.attacker.token)
			for _, act := range []string{"/deactivate", "/reactivate"} {
				if a := p.do(p.t, "POST", "/admin/users/"+id+act, "", bearer(p.admin)); a.status != 200 {
					p.t.Fatalf("%s: %d %s", act, a.status, a.body)
				}
				p.attacker.refreshes()
			}
			p.attacker.signsIn(p.address)
			p.invites()
			p.victim.recovers()
			p.victim.acceptsByMail()
		}})
	playAll(t, "invite", scripts)
}

// Somebody has attached a second way to sign in to what they registered with the address, when its owner takes it over. The route
// refuses them; what another version, or another application, may have let them do is planted.
func TestPreHijackByTrojanIdentifier(t *testing.T) {
	trojans := map[string]func(p *play) auth.ProviderIdentityDraft{
		"an account at a provider": func(p *play) auth.ProviderIdentityDraft {
			return auth.ProviderIdentityDraft{Provider: "idp2", EntityID: p.entityAt("idp2", p.attacker.name)}
		},
		"an account at a provider that names the victim's address": func(p *play) auth.ProviderIdentityDraft {
			return auth.ProviderIdentityDraft{Provider: "idp2", EntityID: p.entityAt("idp2", p.attacker.name), Email: p.address}
		},
		"an account at a provider with a proved address of their own": func(p *play) auth.ProviderIdentityDraft {
			return auth.ProviderIdentityDraft{Provider: "idp2", EntityID: p.entityAt("idp2", p.attacker.name), Email: p.attacker.own, EmailVerified: true}
		},
		"a password at another address": func(p *play) auth.ProviderIdentityDraft {
			hash, err := p.passwords.Hash(p.t.Context(), p.attacker.password)
			check(p.t, err)
			return auth.ProviderIdentityDraft{Provider: "emailpass", EntityID: p.attacker.own, Email: p.attacker.own, Secret: hash}
		},
	}
	comes := map[string]func(p *play){
		"a new password": func(p *play) { p.victim.recovers() },
		"a provider":     func(p *play) { p.victim.comesBy(idp1, p.address, true) },
		"the command line": func(p *play) {
			p.adminWith(p.t, p.address, p.victim.password)
			p.victim.signsIn(p.address)
		},
	}
	var scripts []script
	for trojan, draft := range trojans {
		for way, comes := range comes {
			for _, signedIn := range []bool{false, true} {
				if way == "the command line" && signedIn {
					continue // there is a user, and the operator is told so
				}
				in := ""
				if trojan == "an account at a provider with a proved address of their own" {
					in = "auto invite manual unseen unseenproof" // otherwise they are the user of that address, and nobody's trojan
				}
				scripts = append(scripts, script{fmt.Sprintf("%s, signed in: %t, then the victim comes by %s", trojan, signedIn, way), in, func(p *play) {
					p.attacker.registers(p.address)
					p.plants(p.identityOf("emailpass", p.address), draft(p))
					if signedIn {
						p.attacker.signsIn(p.address)
						p.attacker.comesBy("idp2", "", false)
					}
					p.invites()
					comes(p)
					p.victim.acceptsByMail()
					if again := p.attacker.comesBy("idp2", "", false); again.status == 200 && actor(p.t, again.get("token")) == actor(p.t, p.victim.token) {
						p.t.Error("the trojan leads to the victim")
					}
				}})
			}
		}
		scripts = append(scripts,
			script{"reversed: the victim is there by a provider, and sets a password over what has " + trojan, "auto invite proved unseen unseenproof", func(p *play) {
				p.invites()
				p.victim.comesBy(idp1, p.address, true)
				p.victim.acceptsByMail()
				p.attacker.registers(p.address)
				p.plants(p.identityOf("emailpass", p.address), draft(p))
				p.victim.recovers()
				p.attacker.comesBy("idp2", "", false)
			}})
	}
	for _, way := range []string{"a new password", "a provider"} {
		comes := comes[way]
		for _, signedIn := range []bool{false, true} {
			squats := func(p *play) {
				p.attacker.registers(p.address)
				if signedIn {
					p.attacker.signsIn(p.address)
				}
				p.wantNothingAttached()
			}
			scripts = append(scripts,
				script{fmt.Sprintf("refused by the route, signed in: %t, then the victim comes by %s", signedIn, way), "", func(p *play) {
					squats(p)
					p.invites()
					p.wantNothingAttached()
					comes(p)
					p.wantNothingAttached()
					p.victim.acceptsByMail()
					p.wantNothingAttached()
				}},
				script{fmt.Sprintf("reversed: refused by the route, signed in: %t, when the victim has come by %s", signedIn, way), "", func(p *play) {
					p.invites()
					comes(p)
					p.victim.acceptsByMail()
					squats(p)
				}})
		}
		// Who has an account of their own attaches nothing to anybody else's by naming the address.
		attaches := func(p *play) (mine string) {
			mine = actor(p.t, p.attacker.token)
			password := fmt.Sprintf(`{"email":%q,"password":"the attacker's third","current_password":%q}`, p.address, p.attacker.password)
			if a := p.attacker.does("/auth/user/emailpass/link", password, bearer(p.attacker.token)); a.status != 400 || a.get("reason") != "address_not_yours" {
				p.t.Errorf("a password at the victim's address: %d %s", a.status, a.body)
			}
			if a := p.attacker.attaches(p.address); a.status != 200 {
				p.t.Errorf("an account that names the victim's address: %d %s", a.status, a.body)
			}
			return mine
		}
		leads := func(p *play, to string) {
			if a := p.attacker.comesBy("idp2", p.address, false); actor(p.t, a.get("token")) != to || to == actor(p.t, p.victim.token) {
				p.t.Errorf("what the attacker has attached leads to %q, theirs is %q, the victim's %q", actor(p.t, a.get("token")), to, actor(p.t, p.victim.token))
			}
		}
		scripts = append(scripts,
			script{"attached by the owner of another address, then the victim comes by " + way, "", func(p *play) {
				p.attacker.becomesOwner()
				mine := attaches(p)
				p.invites()
				comes(p)
				p.victim.acceptsByMail()
				leads(p, mine)
			}},
			script{"reversed: attached by the owner of another address when the victim has come by " + way, "", func(p *play) {
				p.invites()
				comes(p)
				p.victim.acceptsByMail()
				p.attacker.becomesOwner()
				leads(p, attaches(p))
			}})
	}
	scripts = append(scripts,
		script{"attached long after the sign-in, and just after another", "auto proved unseen unseenproof", func(p *play) {
			p.attacker.comesBy(idp1, p.attacker.own, true)
			p.waits(p.identityOf(idp1, p.attacker.name), 5*time.Minute+time.Second)
			p.attacker.refreshes() // a new token does not make the sign-in newer, nor does the cookie
			for _, credential := range p.attacker.kept[len(p.attacker.kept)-2:] {
				a := p.attacker.does("/auth/user/idp2/link", fmt.Sprintf(`{"name":%q,"email":%q}`, p.attacker.name, p.address), credential)
				if a.status != 403 || a.get("reason") != "sign_in_again" {
					p.t.Errorf("after five minutes: %d %s", a.status, a.body)
				}
			}
			p.attacker.comesBy(idp1, p.attacker.own, true)
			if a := p.attacker.attaches(p.address); a.status != 200 {
				p.t.Errorf("just after a sign-in: %d %s", a.status, a.body)
			}
			p.invites()
			p.victim.comesBy(idp1, p.address, true)
			p.victim.acceptsByMail()
		}},
		script{"a second address, asked for and not confirmed", "auto", func(p *play) {
			p.attacker.registers(p.address)
			p.attacker.signsIn(p.address)
			p.attacker.moves = append(p.attacker.moves, p.attacker.asksToMove(p.attacker.own))
			p.invites()
			p.victim.recovers()
			p.attacker.confirmsMove(p.attacker.moves[0])
			p.victim.acceptsByMail()
		}},
		script{"a second address, confirmed", "auto", func(p *play) {
			p.attacker.registers(p.address)
			p.attacker.signsIn(p.address)
			p.attacker.moves = append(p.attacker.moves, p.attacker.asksToMove(p.attacker.own))
			if a := p.attacker.confirmsMove(p.attacker.moves[0]); a.status != 200 {
				p.t.Fatalf("move: %d %s", a.status, a.body)
			}
			p.invites()
			p.victim.recovers()
			p.victim.acceptsByMail()
		}})
	playAll(t, "manual", scripts)
}

// Somebody has asked to move to the address, and waits for its owner to open the link.
func TestPreHijackByUnexpiredEmailChange(t *testing.T) {
	comes := map[string]func(p *play){
		"a registration": func(p *play) {
			p.victim.registers(p.address)
			p.victim.acceptsByMail()
			p.victim.signsIn(p.address)
		},
		"a new password or a registration that is proved": func(p *play) {
			p.victim.recovers()
			p.victim.acceptsByMail()
		},
		"a provider": func(p *play) {
			p.victim.comesBy(idp1, p.address, true)
			p.victim.acceptsByMail()
		},
		"the command line": func(p *play) {
			p.adminWith(p.t, p.address, p.victim.password)
			p.victim.signsIn(p.address)
			p.victim.acceptsByMail()
		},
	}
	tricked := func(p *play, link string) {
		p.t.Helper()
		if a := p.do(p.t, "POST", "/admin/users/me/email/confirm", fmt.Sprintf(`{"token":%q}`, link), bearer(p.victim.token)); a.status != 403 || a.body != elsewhereMove {
			p.t.Errorf("the victim opens the link in a session of their own: %d %s", a.status, a.body)
		}
		if a := p.do(p.t, "POST", "/admin/users/me/email/confirm", fmt.Sprintf(`{"token":%q}`, link)); a.status != 401 {
			p.t.Errorf("the victim opens the link without a session: %d %s", a.status, a.body)
		}
	}
	var scripts []script
	for way, comes := range comes {
		scripts = append(scripts,
			script{"pending when the victim comes by " + way, "", func(p *play) {
				p.attacker.becomesOwner()
				link := p.attacker.asksToMove(p.address)
				p.attacker.moves = append(p.attacker.moves, link)
				p.invites()
				comes(p)
				tricked(p, link)
				if a := p.attacker.confirmsMove(link); a.status != 400 || a.body != deadMove {
					p.t.Errorf("the attacker opens the link: %d %s", a.status, a.body)
				}
			}},
			script{"asked for while an invite is open, then the victim comes by " + way, "", func(p *play) {
				p.invites()
				p.attacker.becomesOwner()
				p.attacker.asksToMove(p.address)
				link := p.attacker.asksToMove(p.address)
				p.attacker.moves = append(p.attacker.moves, link)
				comes(p)
				tricked(p, link)
			}},
			script{"reversed: asked for when the victim has come by " + way, "", func(p *play) {
				p.invites()
				comes(p)
				p.attacker.becomesOwner()
				link := p.attacker.asksToMove(p.address)
				p.attacker.moves = append(p.attacker.moves, link)
				tricked(p, link)
				if a := p.attacker.confirmsMove(link); a.status != 422 || a.get("reason") != "email_taken" {
					p.t.Errorf("the attacker opens the link: %d %s", a.status, a.body)
				}
			}})
	}
	scripts = append(scripts, script{"away from the squatted address, pending when the victim reclaims it by a provider", "auto", func(p *play) {
		p.attacker.registers(p.address)
		p.attacker.signsIn(p.address)
		p.attacker.moves = append(p.attacker.moves, p.attacker.asksToMove(p.attacker.own))
		p.invites()
		p.victim.comesBy(idp1, p.address, true)
		if a := p.attacker.confirmsMove(p.attacker.moves[0]); a.status != 401 {
			p.t.Errorf("the attacker confirms: %d %s", a.status, a.body)
		}
		p.victim.acceptsByMail()
	}})
	playAll(t, "unseen", scripts)
}

// Somebody has an account in the victim's name at a provider that does not look, and comes by it first.
func TestPreHijackByNonVerifyingProvider(t *testing.T) {
	comes := map[string]func(p *play){
		"a registration": func(p *play) {
			p.victim.registers(p.address)
			p.victim.acceptsByMail()
			p.victim.signsIn(p.address)
		},
		"a new password or a registration that is proved": func(p *play) {
			p.victim.recovers()
			p.victim.acceptsByMail()
		},
		"another provider, which vouches": func(p *play) {
			p.victim.comesBy(idp1, p.address, true)
			p.victim.acceptsByMail()
		},
		"another provider, which does not vouch": func(p *play) {
			p.victim.comesBy(idp1, p.address, false)
			p.victim.acceptsByMail()
		},
	}
	var scripts []script
	for way, comes := range comes {
		for says, verified := range map[string]bool{"says nothing of the address": false, "vouches for an address that it is no authority for": true} {
			scripts = append(scripts,
				script{"it " + says + ", then the victim comes by " + way, "", func(p *play) {
					p.attacker.comesBy("idp2", p.address, verified)
					mine := actor(p.t, p.attacker.token)
					p.invites()
					comes(p)
					if mine == "" && p.identityOf("idp2", p.attacker.name) == auth.IdentityID(claims(p.t, p.victim.token)["auth_identity_id"].(string)) {
						p.t.Error("the two identities are one")
					}
					p.attacker.comesBy("idp2", p.address, verified)
				}},
				script{"reversed: it " + says + " of a victim who has come by " + way, "", func(p *play) {
					p.invites()
					comes(p)
					if a := p.attacker.comesBy("idp2", p.address, verified); a.status == 200 && actor(p.t, a.get("token")) != "" {
						p.t.Errorf("the attacker is %s", actor(p.t, a.get("token")))
					}
				}})
		}
	}
	scripts = append(scripts,
		script{"what became nobody expires", "", func(p *play) {
			p.invites()
			p.victim.comesBy(idp1, p.address, true)
			p.victim.acceptsByMail()
			p.attacker.comesBy("idp2", p.address, true)
			id := p.identityOf("idp2", p.attacker.name)
			p.forgotten(id, 8*24*time.Hour)
			purged, err := p.link.PurgeUnlinked(p.t.Context(), 1000)
			check(p.t, err)
			if p.identityOf("idp2", p.attacker.name) != "" || purged == 0 {
				p.t.Errorf("the identity that is nobody's is there still; %d were purged", purged)
			}
			p.attacker.comesBy("idp2", p.address, true)
		}},
		script{"what is kept in use does not expire, and is nobody still", "", func(p *play) {
			p.invites()
			p.victim.comesBy(idp1, p.address, true)
			p.victim.acceptsByMail()
			p.attacker.comesBy("idp2", p.address, true)
			id := p.identityOf("idp2", p.attacker.name)
			for range 3 {
				p.forgotten(id, 8*24*time.Hour)
				p.attacker.comesBy("idp2", p.address, true)
				_, err := p.link.PurgeUnlinked(p.t.Context(), 1000)
				check(p.t, err)
			}
			if p.identityOf("idp2", p.attacker.name) != id || actor(p.t, p.attacker.token) != "" {
				p.t.Errorf("the attacker is %v", claims(p.t, p.attacker.token))
			}
		}})
	playAll(t, "unseenproof", scripts)
}

// What is in none of the classes, or in several at once.
func TestPreHijackByOtherWays(t *testing.T) {
	playAll(t, "unseenproof", []script{
		{"the victim opens a proof of their address that the attacker has asked for", "", func(p *play) {
			p.attacker.registers(p.address)
			p.attacker.signsIn(p.address)
			code := fmt.Sprintf(`{"code":%q}`, p.attacker.codeFor(p.address))
			p.invites()
			p.victim.comesBy(idp1, p.address, true)
			p.victim.acceptsByMail()
			for session, status := range map[string]int{bearer(p.victim.token): 403, "X-None: x": 401} {
				if a := p.do(p.t, "POST", "/auth/verification/confirm", code, session); a.status != status && a.status != 400 {
					p.t.Errorf("the victim opens it: %d %s, want %d", a.status, a.body, status)
				}
			}
		}},
		{"reversed: the attacker asks for proofs of the victim's address, and the victim opens one", "", func(p *play) {
			p.invites()
			p.victim.comesBy(idp1, p.address, true)
			p.victim.acceptsByMail()
			p.attacker.registers(p.address)
			if p.stage == "unseen" || p.stage == "unseenproof" {
				return // the mail tells that there is an account, and has no link
			}
			code := p.attacker.codeFor(p.address)
			if a := p.prove(p.t, code, bearer(p.victim.token)); a.status != 403 {
				p.t.Errorf("the victim opens it: %d %s", a.status, a.body)
			}
		}},
		{"a reset that the attacker asked for, before the victim's first sign-in", "", func(p *play) {
			p.attacker.registers(p.address)
			if token := p.attacker.resetMail(p.address); token != "" {
				p.attacker.resets = append(p.attacker.resets, token) // the mailbox has it, and so, at the worst, has the attacker, too late
			}
			p.invites()
			p.victim.recovers()
			p.victim.acceptsByMail()
		}},
		{"the link that the Admin copied is accepted by the attacker, then the victim comes by a provider", "auto invite proved unseen unseenproof", func(p *play) {
			copied := p.invites()
			p.attacker.links = append(p.attacker.links, copied)
			p.attacker.registers(p.address)
			if a := p.attacker.accepts(copied); a.status != 200 {
				p.t.Fatalf("accept: %d %s", a.status, a.body)
			}
			p.attacker.signsIn(p.address)
			p.victim.comesBy(idp1, p.address, true)
		}},
		{"the link that the Admin copied is accepted by the attacker, then the victim is invited again", "", func(p *play) {
			copied := p.invites()
			p.attacker.links = append(p.attacker.links, copied)
			p.attacker.registers(p.attacker.own)
			if a := p.attacker.accepts(copied); a.status == 200 {
				p.attacker.links = append(p.attacker.links, p.invites())
			} else if p.stage != "unseen" && p.stage != "unseenproof" { // where the invite must be for the address of who registers
				p.t.Fatalf("accept: %d %s", a.status, a.body)
			}
			p.victim.comesBy(idp1, p.address, false)
			p.victim.acceptsByMail()
		}},
		{"the link that the Admin copied is sent anew", "", func(p *play) {
			p.attacker.links = append(p.attacker.links, p.invites())
			p.attacker.registers(p.address)
			if a := p.do(p.t, "POST", "/admin/invites/"+string(p.id)+"/resend", "", bearer(p.admin)); a.status != 200 {
				p.t.Fatalf("resend: %d %s", a.status, a.body)
			}
			if a := p.attacker.accepts(p.attacker.links[0]); a.status == 200 {
				p.t.Errorf("the link of before: %s", a.body)
			}
			p.victim.comesBy(idp1, p.address, true)
			p.victim.acceptsByMail()
		}},
		{"many registrations of one address, each with a password of the attacker", "unseen unseenproof", func(p *play) {
			for range 3 {
				p.attacker.registers(p.address)
				p.attacker.codes = append(p.attacker.codes, p.attacker.codeFor(p.address))
			}
			p.invites()
			p.victim.registers(p.address)
			for _, code := range p.attacker.codes {
				if a := p.prove(p.t, code, bearer(p.victim.token)); a.status != 403 {
					p.t.Errorf("the victim opens the attacker's: %d %s", a.status, a.body)
				}
			}
			p.victim.proves(p.address)
			p.victim.signsIn(p.address)
			p.victim.acceptsByMail()
		}},
		{"the Admin asks for a new password of the victim as well", "auto invite manual proved", func(p *play) {
			p.attacker.registers(p.address)
			p.attacker.signsIn(p.address)
			p.invites()
			p.victim.recovers()
			p.victim.acceptsByMail()
			if a := p.do(p.t, "POST", "/admin/users/"+actor(p.t, p.victim.token)+"/reset-password", "", bearer(p.admin)); a.status != 200 {
				p.t.Fatalf("the Admin's reset: %d %s", a.status, a.body)
			}
			p.attacker.refreshes()
		}},
		{"everything at once", "", func(p *play) {
			p.attacker.links = append(p.attacker.links, p.invites())
			p.attacker.becomesOwner()
			if link := p.attacker.asksToMove(p.address); link != "" {
				p.attacker.moves = append(p.attacker.moves, link)
			}
			p.attacker.registers(p.address)
			p.attacker.signsIn(p.address)
			p.attacker.comesBy("idp2", p.address, true)
			p.attacker.comesBy(idp1, p.address, false)
			p.victim.recovers()
			p.attacker.comesBy(idp1, p.address, false)
			p.victim.acceptsByMail()
			p.victim.comesBy(idp1, p.address, true)
		}},
	})
}

// The owner of the address comes by a link that is mailed to them, or is made to open one that somebody else has asked for.
func TestPreHijackByMailedSignIn(t *testing.T) {
	const asks = "/auth/user/magiclink"
	squats := map[string]func(p *play){
		"registered": func(p *play) { p.attacker.registers(p.address) },
		"registered and signed in": func(p *play) {
			p.attacker.registers(p.address)
			p.attacker.signsIn(p.address)
		},
		"signed in by a provider that does not vouch": func(p *play) { p.attacker.comesBy("idp2", p.address, true) },
		"registered, with an account at a provider attached": func(p *play) {
			p.attacker.registers(p.address)
			p.plants(p.identityOf("emailpass", p.address), auth.ProviderIdentityDraft{Provider: "idp2", EntityID: p.entityAt("idp2", p.attacker.name)})
		},
		"asked for a link to the address": func(p *play) { p.attacker.asksByMail(asks, p.address) },
	}
	var scripts []script
	for squat, squats := range squats {
		scripts = append(scripts,
			script{squat + ", then the victim comes by a mailed link", "", func(p *play) {
				squats(p)
				p.invites()
				p.victim.comesByMail()
				p.victim.acceptsByMail()
				if p.identityOf("idp2", p.attacker.name) == "" { // which can be planted once
					squats(p)
				}
			}},
			script{"reversed: the victim has come by a mailed link, then " + squat, "", func(p *play) {
				p.invites()
				p.victim.comesByMail()
				p.victim.acceptsByMail()
				squats(p)
				p.attacker.refreshes()
			}})
	}
	scripts = append(scripts,
		script{"a user already, whom the victim reclaims by a mailed link", "auto", func(p *play) {
			p.attacker.registers(p.address)
			p.attacker.signsIn(p.address)
			squatted := actor(p.t, p.attacker.token)
			p.invites()
			p.victim.comesByMail()
			if got := actor(p.t, p.victim.token); got == "" || got != squatted {
				p.t.Errorf("the victim is %q, want the row %q that was squatted", got, squatted)
			}
			p.wantReclaimed(squatted)
			if p.fits(p.t, p.address, p.attacker.password) {
				p.t.Error("the attacker's password still fits")
			}
			p.victim.acceptsByMail()
		}},
		script{"a move to the address is pending when the victim comes by a mailed link", "", func(p *play) {
			p.attacker.becomesOwner()
			link := p.attacker.asksToMove(p.address)
			p.attacker.moves = append(p.attacker.moves, link)
			p.invites()
			p.victim.comesByMail()
			p.victim.acceptsByMail()
			if a := p.attacker.confirmsMove(link); a.status != 400 || a.body != deadMove {
				p.t.Errorf("the attacker opens the link: %d %s", a.status, a.body)
			}
		}},
		script{"the victim opens a link to their address that the attacker has asked for", "", func(p *play) {
			m := p.attacker.asksByMail(asks, p.address)
			p.invites()
			p.opensElsewhere(m)
			own := p.victim.asksByMail(asks, p.address)
			p.opensElsewhere(m, own.cookie)
			if a := p.do(p.t, "POST", mailedCallback, m.with(own.token), m.cookie); a.status != 401 {
				p.t.Errorf("the attacker's flow takes the victim's link: %d %s", a.status, a.body)
			}
			p.victim.comesByMail()
			p.victim.acceptsByMail()
		}},
		script{"the victim is made to open the attacker's own link, and is not signed in as the attacker", "", func(p *play) {
			p.invites()
			p.victim.comesByMail()
			p.victim.acceptsByMail()
			m := p.attacker.asksByMail(asks, p.attacker.own)
			p.opensElsewhere(m)
			p.opensElsewhere(m, p.victim.asksByMail(asks, p.address).cookie)
		}},
		script{"the attacker adds the victim's address to an account of their own, and the victim tells them the link", "", func(p *play) {
			p.attacker.becomesOwner()
			m := p.attacker.asksByMail(asks+"/link", p.address, bearer(p.attacker.token))
			p.invites()
			for _, when := range []string{"before", "after"} {
				a := p.do(p.t, "POST", mailedCallback, m.with(m.token), m.cookie, bearer(p.attacker.token))
				if a.status != 400 && a.status != 401 {
					p.t.Errorf("%s the victim has come: %d %s", when, a.status, a.body)
				}
				if when == "before" {
					p.victim.comesByMail()
					p.victim.acceptsByMail()
					m = p.attacker.asksByMail(asks+"/link", p.address, bearer(p.attacker.token))
				}
			}
		}})
	playAll(t, "unseenproof", scripts)
}
