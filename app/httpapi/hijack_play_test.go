package httpapi_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/doctor"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/user"
)

// idp2 is a second federated provider. It is listed as an authority for its own domain alone: whatever it says of another
// address proves nothing.
type idp2 struct{ vouching }

func (idp2) Name() string { return "idp2" }

func (p idp2) Authenticate(ctx context.Context, a auth.Attempt) (auth.Assertion, error) {
	found, err := p.vouching.Authenticate(ctx, a)
	found.Profile.EmailVerified = found.Profile.EmailVerified && strings.HasSuffix(found.Profile.Email, "@idp2.example")
	return found, err
}

const idp1 = "vouching"

// script is one way in which somebody may try to have a victim's account before the victim does.
type script struct {
	name string
	in   string // settings it is played in, by name and separated by blanks; empty: all
	play func(p *play)
}

// stages are the settings in which scripts are played.
var stages = []struct {
	name string
	settings
}{
	{"auto", settings{actor: link.ActorOptions{CreateProviders: []string{idp1, "idp2"}}}},
	{"invite", settings{actor: link.ActorOptions{Policy: link.InviteOnly{}}}},
	{"manual", settings{actor: link.ActorOptions{Policy: link.Manual{}, CreateProviders: []string{idp1, "idp2"}}}},
	{"proved", requires},
	{"unseen", settings{safe: true}},
	{"unseenproof", settings{safe: true, actor: link.ActorOptions{RequireVerifiedEmail: true}}},
	{byOIDC, settings{actor: link.ActorOptions{CreateProviders: []string{idp1, "idp2"}}}}, // as auto, by issuers of OpenID Connect
}

// playAll plays the scripts, each about an address of its own: half of them in the settings that are the default, the others in one
// more, or, with LATCHKEY_HIJACK=all, all in all. At the end of each the invariants hold, and nothing that the attacker ever had
// leads to the victim.
func playAll(t *testing.T, more string, scripts []script) {
	t.Helper()
	slices.SortFunc(scripts, func(a, b script) int { return strings.Compare(a.name, b.name) })
	for _, stage := range stages {
		var played []int
		for n, sc := range scripts {
			fit := func(name string) bool { return sc.in == "" || slices.Contains(strings.Fields(sc.in), name) }
			if stage.name == byOIDC {
				federated := more == "proved" || more == "unseenproof" || more != "manual" && strings.Contains(sc.name, "provider") // P1, P5, and who comes by one
				if fit("auto") && (federated || os.Getenv("LATCHKEY_HIJACK") == "all") {
					played = append(played, n)
				}
				continue
			}
			ours := []string{"auto", more}[n%2]
			if !fit(ours) {
				ours = []string{"auto", more}[1-n%2]
			}
			if fit(stage.name) && (ours == stage.name || os.Getenv("LATCHKEY_HIJACK") == "all") {
				played = append(played, n)
			}
		}
		if len(played) == 0 {
			continue
		}
		t.Run(stage.name, func(t *testing.T) {
			o := stage.settings
			o.auth, o.providers, o.unlinkedTTL = unthrottled.auth, []auth.Provider{idp2{}, byMail(t)}, 7*24*time.Hour
			o.site.PublicURL = "http://app.example.com" // where people come back to
			if stage.name == byOIDC {
				o.vouching, o.providers = newByIssuer(t, idp1, "*"), []auth.Provider{newByIssuer(t, "idp2", "idp2.example"), byMail(t)}
			}
			eachWith(t, o, func(t *testing.T, s *server) {
				admin := s.admin(t, "admin@example.com")
				for _, n := range played {
					t.Run(strings.ReplaceAll(scripts[n].name, ",", ""), func(t *testing.T) {
						p := newPlay(t, s, stage.name, admin, n)
						scripts[n].play(p)
						p.wantSafe()
					})
				}
				s.invariants(t) // after all that the attackers have tried in the end, too
			})
		})
	}
}

// play is a script that is being played.
type play struct {
	*server
	t                *testing.T
	stage            string
	address          string // the victim's
	admin            string // a token of the Admin
	id               user.InviteID
	attacker, victim *person
}

func newPlay(t *testing.T, s *server, stage, admin string, n int) *play {
	p := &play{server: s, t: t, stage: stage, admin: admin, address: fmt.Sprintf("v%d@example.com", n)}
	p.attacker = &person{play: p, name: fmt.Sprintf("eve%d", n), own: fmt.Sprintf("eve%d@evil.example", n), password: "correct horse"}
	p.victim = &person{play: p, name: fmt.Sprintf("vic%d", n), own: p.address, password: "battery staple"}
	return p
}

// invites has the Admin invite the victim, and returns the link that the Admin sees and may copy.
func (p *play) invites() (copied string) {
	p.t.Helper()
	p.id, copied = p.invite(p.t, p.admin, p.address)
	return copied
}

// userOf is the user of an address; empty: there is none.
func (p *play) userOf(address string) string {
	p.t.Helper()
	found, err := p.users.ListUsers(p.t.Context(), user.Filter{Emails: []string{address}}, user.Page{})
	check(p.t, err)
	if len(found) == 0 {
		return ""
	}
	return string(found[0].ID)
}

// identityOf is the identity that somebody is known as by a provider; empty: none.
func (p *play) identityOf(provider, entity string) auth.IdentityID {
	p.t.Helper()
	entity = p.entityAt(provider, entity)
	found, err := p.auth.ListProviderIdentities(p.t.Context(), auth.ProviderIdentityFilter{Provider: provider, EntityID: entity}, auth.Page{})
	check(p.t, err)
	if len(found) == 0 {
		return ""
	}
	return found[0].IdentityID
}

// plants gives an identity a second way to sign in, as another version may have let its holder do.
func (p *play) plants(to auth.IdentityID, d auth.ProviderIdentityDraft) {
	p.t.Helper()
	if to == "" {
		return // it is not there in these settings, so it has nothing attached
	}
	d.IdentityID = to
	_, err := p.auth.CreateProviderIdentities(p.t.Context(), d)
	check(p.t, err)
}

// person is the Attacker or the Victim, with all that they ever had in their hands.
type person struct {
	*play
	name     string // at the federated providers
	own      string // their mailbox
	password string
	token    string   // the newest
	kept     []string // tokens and cookies, as headers
	asserted []string // what they said at the federated providers: the path, a blank, the input
	resets   []string // tokens that were mailed, or shown
	codes    []string // of verifications
	moves    []string // of changes of address
	links    []string // of invites
	asked    []mailedSignIn

	holding sync.Mutex // token and kept, which the chain of refreshed tokens adds to at any moment

	signsInAgain func() answer
}

// does sends a request. Between any two of the victim's the attacker's chain of refreshed tokens goes on.
func (w *person) does(path, body string, headers ...string) answer {
	w.t.Helper()
	if w == w.victim {
		w.attacker.refreshes()
	}
	return w.do(w.t, "POST", path, body, headers...)
}

// must is for what the victim does: that they get in is half of what is wanted.
func (w *person) must(what string, a answer) answer {
	w.t.Helper()
	if w == w.victim && a.status != 200 {
		w.t.Fatalf("the victim cannot %s: %d %s", what, a.status, a.body)
	}
	return a
}

// keeps has somebody keep the token of an answer, and a cookie of it.
func (w *person) keeps(a answer) answer {
	w.t.Helper()
	token := a.get("token")
	if a.status != 200 || token == "" {
		return a
	}
	w.holds(token, bearer(token))
	if c := w.do(w.t, "POST", "/auth/session", "", bearer(token)); c.status == 200 {
		for _, c := range (&http.Response{Header: c.header}).Cookies() {
			w.holds("", "Cookie: "+c.Name+"="+c.Value)
		}
	}
	return a
}

func (w *person) registers(address string) {
	w.t.Helper()
	w.keeps(w.must("register", w.does("/auth/user/emailpass/register", credentials(address, w.password))))
}

func (w *person) signsIn(address string) answer {
	w.t.Helper()
	w.signsInAgain = func() answer { return w.does("/auth/user/emailpass", credentials(address, w.password)) }
	return w.keeps(w.must("sign in", w.signsInAgain()))
}

// comesBy signs in by a federated provider, which says so of the address.
func (w *person) comesBy(provider, address string, verified bool) answer {
	w.t.Helper()
	input := fmt.Sprintf(`{"name":%q,"email":%q,"verified":%t}`, w.name, address, verified)
	path := "/auth/user/" + provider
	w.asserted = append(w.asserted, path+" "+input)
	w.signsInAgain = func() answer { return w.does(path, input) }
	return w.keeps(w.must("sign in by "+provider, w.signsInAgain()))
}

// attaches adds an account at idp2, which names an address, to whoever they are signed in as.
func (w *person) attaches(naming string) answer {
	w.t.Helper()
	w.asserted = append(w.asserted, fmt.Sprintf(`/auth/user/idp2 {"name":%q,"email":%q}`, w.name, naming))
	return w.does("/auth/user/idp2/link", fmt.Sprintf(`{"name":%q,"email":%q,"current_password":%q}`, w.name, naming, w.password), bearer(w.newest()))
}

// wantNothingAttached has the attacker attach something to what they have of the victim's address, and wants it to be refused.
func (p *play) wantNothingAttached() {
	p.t.Helper()
	status, reason := 403, "account_required"
	switch {
	case !p.alive(p.t, bearer(p.attacker.token)):
		status, reason = 401, ""
	case actor(p.t, p.attacker.token) != "":
		reason = "primary_email_unproved"
	}
	if a := p.attacker.attaches(p.address); a.status != status || a.get("reason") != reason {
		p.t.Errorf("the attacker attaches an account: %d %s, want %d %s", a.status, a.body, status, reason)
	}
}

// waits makes the sign-ins of an identity so old.
func (p *play) waits(id auth.IdentityID, ago time.Duration) {
	p.t.Helper()
	check(p.t, p.db.InTx(p.t.Context(), func(ctx context.Context) error {
		_, err := p.db.Conn(ctx).NewRaw("UPDATE latchkey_auth_session SET authenticated_at = ? WHERE auth_identity_id = ?", database.Now().Add(-ago), id).Exec(ctx)
		return err
	}))
}

// holds has somebody hold a credential, and a token, unless it is empty, as their newest.
func (w *person) holds(token, credential string) {
	w.holding.Lock()
	defer w.holding.Unlock()
	if token != "" {
		w.token = token
	}
	w.kept = append(w.kept, credential)
}

func (w *person) newest() string {
	w.holding.Lock()
	defer w.holding.Unlock()
	return w.token
}

// refreshes makes a new token of the newest one, and one of the newest cookie, if they are good.
func (w *person) refreshes() {
	w.t.Helper()
	w.holding.Lock()
	held := []string{bearer(w.token)}
	kept := slices.Clone(w.kept)
	w.holding.Unlock()
	for _, credential := range slices.Backward(kept) {
		if strings.HasPrefix(credential, "Cookie: ") {
			held = append(held, credential)
			break
		}
	}
	for _, credential := range held {
		if a := w.do(w.t, "POST", "/auth/token/refresh", "", credential); a.status == 200 {
			w.holds(a.get("token"), bearer(a.get("token")))
		}
	}
}

// resetMail is the link to a new password that leaves for the address by mail; empty: none does.
func (w *person) resetMail(address string) string {
	w.t.Helper()
	if a := w.does("/auth/user/emailpass/reset-password", fmt.Sprintf(`{"identifier":%q}`, address)); a.status != 201 {
		w.t.Fatalf("ask for a reset: %d %s", a.status, a.body)
	}
	asked := w.told.resets()
	made, err := w.auth.CreatePasswordResetToken(w.t.Context(), asked[len(asked)-1], auth.ByMail)
	if err != nil {
		return ""
	}
	return made.Token
}

// recovers is what the owner of a mailbox does who finds that the address is taken, or that it is not: a new password by mail, or
// a registration that the mailbox confirms.
func (w *person) recovers() {
	w.t.Helper()
	if token := w.resetMail(w.own); token != "" {
		w.must("set a new password", w.does("/auth/user/emailpass/update", fmt.Sprintf(`{"password":%q}`, w.password), bearer(token)))
	} else {
		w.registers(w.own)
		w.proves(w.own)
	}
	w.signsIn(w.own)
}

// codeFor is the newest mailed proof of an address that the identity of their token has asked for.
func (w *person) codeFor(address string) string {
	w.t.Helper()
	identity := auth.IdentityID(claims(w.t, w.token)["auth_identity_id"].(string))
	for {
		asked := told[auth.VerificationRequested](w.server)
		for _, e := range slices.Backward(asked) {
			if e.IdentityID == identity && e.EntityID == address {
				made, err := w.auth.CreateVerificationToken(w.t.Context(), e)
				check(w.t, err)
				return made.Token
			}
		}
		if a := w.askToProve(w.t, address, bearer(w.token)); a.status != 201 {
			w.t.Fatalf("ask for the proof of %s: %d %s", address, a.status, a.body)
		}
	}
}

// proves confirms an address by the mail that goes there.
func (w *person) proves(address string) {
	w.t.Helper()
	code := w.codeFor(address)
	w.must("prove the address", w.does("/auth/verification/confirm", fmt.Sprintf(`{"code":%q}`, code), bearer(w.token)))
	w.keeps(w.does("/auth/token/refresh", "", bearer(w.token))) // unless it joined them to who they are already
}

// accepts is with an invite's link, in the session of the newest token.
func (w *person) accepts(link string) answer {
	w.t.Helper()
	a := w.must("accept", w.does("/admin/invites/accept?token="+link, `{}`, bearer(w.token)))
	w.keeps(w.does("/auth/token/refresh", "", bearer(w.token)))
	return a
}

// acceptsByMail is what everybody does in the end who was invited.
func (w *person) acceptsByMail() {
	w.t.Helper()
	if a := w.accepts(w.mailed(w.t, w.id)); a.get("user", "email") != w.address {
		w.t.Fatalf("the victim has become %s", a.body)
	}
}

// becomesOwner makes the attacker somebody with a proved address of their own.
func (w *person) becomesOwner() {
	w.t.Helper()
	w.registers(w.own)
	w.proves(w.own)
	w.signsIn(w.own)
	if actor(w.t, w.token) == "" { // where accounts are made by invite, they have one
		id, _ := w.invite(w.t, w.admin, w.own)
		w.accepts(w.mailed(w.t, id))
	}
	if actor(w.t, w.token) == "" {
		w.t.Fatal("the attacker is nobody")
	}
}

// asksToMove asks for another address, and returns the link that is mailed there.
func (w *person) asksToMove(to string) (link string) {
	w.t.Helper()
	a := w.do(w.t, "POST", "/admin/users/me/email", fmt.Sprintf(`{"email":%q,"current_password":%q}`, to, w.password), bearer(w.token))
	if a.status != 200 {
		return ""
	}
	return w.mailedMove(w.t)
}

func (w *person) confirmsMove(link string) answer {
	w.t.Helper()
	return w.keeps(w.does("/admin/users/me/email/confirm", fmt.Sprintf(`{"token":%q}`, link), bearer(w.token)))
}

// owned is what is the victim's in the end, and nobody else's.
type owned struct {
	user, identity, profile, ways string
	sessions                      map[string]bool
}

// ways are an identity's ways to sign in, as an operator sees them.
func (p *play) ways(identity string) string {
	p.t.Helper()
	i, err := p.auth.RetrieveAuthIdentity(p.t.Context(), auth.IdentityID(identity))
	check(p.t, err)
	var names []string
	for _, way := range i.Providers {
		names = append(names, way.Provider+" "+way.EntityID)
	}
	return strings.Join(names, ", ")
}

func (p *play) ofVictim() owned {
	p.t.Helper()
	token := p.token(p.t, "the victim's refresh", p.do(p.t, "POST", "/auth/token/refresh", "", bearer(p.victim.token)))
	c := claims(p.t, token)
	o := owned{user: c["actor_id"].(string), identity: c["auth_identity_id"].(string), sessions: map[string]bool{}}
	if o.user == "" {
		p.t.Fatal("the victim is nobody in the end")
	}
	me := p.me(p.t, bearer(token))
	if o.profile = me.body; me.get("user", "id") != o.user || me.get("user", "email") != p.address {
		p.t.Errorf("the victim is %s", me.body)
	}
	o.ways = p.ways(o.identity)
	for _, way := range strings.Split(o.ways, ", ") {
		if provider, entity, _ := strings.Cut(way, " "); entity != p.victim.own && entity != p.entityAt(provider, p.victim.name) {
			p.t.Errorf("the victim's account is open by %s, which is not the victim's", way)
		}
	}
	listed, _ := p.places(p.t, bearer(token))
	mine := map[string]bool{}
	for _, credential := range p.victim.kept {
		if raw, ok := strings.CutPrefix(credential, "Authorization: Bearer "); ok {
			mine[sid(p.t, raw)] = true
		}
	}
	for _, id := range listed {
		if o.sessions[id] = true; !mine[id] {
			p.t.Errorf("the victim's account is open in session %s, which the victim did not begin", id)
		}
	}
	return o
}

// reaches tries a credential on all that takes one, and says what of the victim's it leads to.
func (p *play) reaches(what, credential string, o owned) {
	p.t.Helper()
	p.showsNothing(what, credential, o)
	if a := p.do(p.t, "POST", "/auth/token/refresh", "", credential); a.status == 200 {
		p.reachedBy(what+", refreshed", a.get("token"), o)
		p.showsNothing(what+", refreshed", bearer(a.get("token")), o)
	}
	a := p.do(p.t, "POST", "/auth/session", "", credential)
	for _, c := range (&http.Response{Header: a.header}).Cookies() {
		p.showsNothing(what+", as a cookie", "Cookie: "+c.Name+"="+c.Value, o)
	}
}

func (p *play) showsNothing(what, credential string, o owned) {
	p.t.Helper()
	if a := p.do(p.t, "GET", "/admin/users/me", "", credential); a.status == 200 {
		if a.get("user", "id") == o.user || a.get("user", "email") == p.address {
			p.t.Errorf("%s is the victim: %s", what, a.body)
		}
	} else if a.status != 401 {
		p.t.Errorf("%s: %d %s", what, a.status, a.body)
	}
	if a := p.do(p.t, "GET", "/auth/sessions", "", credential); a.status == 200 {
		for id := range o.sessions {
			if strings.Contains(a.body, id) {
				p.t.Errorf("%s lists a session of the victim", what)
			}
		}
	} else if a.status != 401 {
		p.t.Errorf("%s lists sessions: %d %s", what, a.status, a.body)
	}
}

func (p *play) reachedBy(what, token string, o owned) {
	p.t.Helper()
	c := claims(p.t, token)
	if c["actor_id"] == o.user || c["auth_identity_id"] == o.identity || o.sessions[c["sid"].(string)] {
		p.t.Errorf("%s speaks for the victim: %v", what, c)
	}
}

// tries sends a sign-in, or whatever answers with a token, and follows where that leads.
func (p *play) tries(what, path, body string, o owned, headers ...string) {
	p.t.Helper()
	a := p.do(p.t, "POST", path, body, headers...)
	if a.status >= 500 {
		p.t.Errorf("%s: %d %s", what, a.status, a.body)
	}
	if a.status == 200 && (a.get("user", "id") == o.user || a.get("user", "email") == p.address) {
		p.t.Errorf("%s makes or is shown the victim's user: %s", what, a.body)
	}
	if a.status == 200 && a.get("token") != "" {
		p.reachedBy(what, a.get("token"), o)
		p.reaches(what, bearer(a.get("token")), o)
	}
}

// distinct are the credentials without those that another stands for: of the tokens of one session that say the same, the first and
// the last are kept.
func (p *play) distinct(credentials []string) (kept []string) {
	p.t.Helper()
	last := map[string]int{} // where in kept
	for _, credential := range credentials {
		raw, isToken := strings.CutPrefix(credential, "Authorization: Bearer ")
		if !isToken {
			kept = append(kept, credential)
			continue
		}
		c := claims(p.t, raw)
		says := fmt.Sprint(c["sid"], c["ver"], c["actor_id"], c["auth_identity_id"])
		switch at, known := last[says]; {
		case !known:
			last[says] = -1
			kept = append(kept, credential)
		case at < 0:
			last[says] = len(kept)
			kept = append(kept, credential)
		default:
			kept[at] = credential
		}
	}
	return kept
}

// wantSafe is the end of every script.
func (p *play) wantSafe() {
	p.t.Helper()
	if p.t.Failed() {
		return
	}
	p.invariants(p.t)
	o, eve := p.ofVictim(), p.attacker

	held := p.distinct(eve.kept)
	for n, credential := range held {
		p.reaches(fmt.Sprintf("credential %d of the attacker", n), credential, o)
	}
	// What was mailed, in the attacker's hands, with whatever the attacker has. One more account of theirs makes sure that there
	// is something.
	second := &person{play: p, name: "second", own: "second-" + eve.own, password: eve.password}
	second.registers(second.own)
	alive := []string{bearer(second.token)}
	for _, credential := range held {
		if p.alive(p.t, credential) {
			alive = append(alive, credential)
		}
	}
	for _, token := range eve.resets {
		p.tries("a reset link", "/auth/user/emailpass/update", `{"password":"the attacker's third"}`, o, bearer(token))
	}
	for _, credential := range alive {
		for _, token := range eve.codes {
			p.tries("a code", "/auth/verification/confirm", fmt.Sprintf(`{"code":%q}`, token), o, credential)
		}
		for _, token := range eve.moves {
			p.tries("a link to move", "/admin/users/me/email/confirm", fmt.Sprintf(`{"token":%q}`, token), o, credential)
		}
		for _, token := range append([]string{"", "x", p.mailed(p.t, p.id)}, eve.links...) {
			for _, body := range []string{`{}`, fmt.Sprintf(`{"email":%q}`, p.address)} {
				if a := p.do(p.t, "POST", "/admin/invites/accept?token="+token, body, credential); a.status == 200 {
					p.t.Errorf("the attacker accepts an invite of the victim, after the victim: %s", a.body)
				}
			}
		}
		for _, provider := range []string{idp1, "idp2", "emailpass"} {
			p.tries("making a user by "+provider, "/auth/"+provider+"/user", fmt.Sprintf(`{"email":%q}`, p.address), o, credential)
		}
		for provider, body := range map[string]string{"idp2": `"name":"attached-` + eve.name + `"`, "emailpass": `"password":"the attacker's third"`} {
			p.tries("attaching by "+provider, "/auth/user/"+provider+"/link", fmt.Sprintf(`{%s,"email":%q,"current_password":%q}`, body, p.address, eve.password), o, credential)
		}
		p.reaches("afterwards, a credential of the attacker", credential, o)
	}
	for _, address := range []string{p.address, eve.own} {
		for _, secret := range []string{eve.password, "the attacker's third"} {
			p.tries("the attacker's password at "+address, "/auth/user/emailpass", credentials(address, secret), o)
			p.tries("registering "+address+" again", "/auth/user/emailpass/register", credentials(address, secret), o)
			p.tries("the attacker's password at "+address+", registered again", "/auth/user/emailpass", credentials(address, secret), o)
		}
	}
	for _, said := range eve.asserted {
		path, input, _ := strings.Cut(said, " ")
		p.tries("the attacker's account at "+path, path, input, o)
	}
	for _, provider := range []string{idp1, "idp2"} { // and what they may say there of themselves
		p.tries("the attacker's account at "+provider, "/auth/user/"+provider, fmt.Sprintf(`{"name":%q,"email":%q}`, eve.name, p.address), o)
	}
	p.wantMailsSafe(o)
	p.tries("what was attached", "/auth/user/idp2", fmt.Sprintf(`{"name":"attached-%s","email":%q}`, eve.name, p.address), o)
	p.tries("a provider whose word counts for nothing here", "/auth/user/idp2", fmt.Sprintf(`{"name":"other-%s","email":%q,"verified":true}`, eve.name, p.address), o)

	// Nothing of it has touched the victim, who gets in.
	after := p.ofVictim()
	if after.user != o.user || after.identity != o.identity || after.profile != o.profile || after.ways != o.ways || len(after.sessions) != len(o.sessions) {
		p.t.Errorf("the victim was %+v, and is %+v", o, after)
	}
	if again := p.victim.keeps(p.victim.must("sign in again", p.victim.signsInAgain())); again.status == 200 && actor(p.t, again.get("token")) != o.user {
		p.t.Errorf("the victim signs in again as %v, was %s", claims(p.t, again.get("token")), o.user)
	}
}

// invariants wants nothing to be broken.
func (s *server) invariants(t testing.TB) {
	t.Helper()
	report, err := doctor.Examine(t.Context(), s.db, doctor.Options{})
	check(t, err)
	for _, f := range report.Violated() {
		t.Errorf("%s: broken by %s", f.Name, f.Examples)
	}
	if asked := len(report.Findings) - len(report.Unasked()); asked < 20 {
		t.Errorf("no more than %d invariants were asked", asked)
	}
}

// forgotten makes all that is noted of an identity's use so old, as if nobody had come for so long.
func (p *play) forgotten(id auth.IdentityID, ago time.Duration) {
	p.t.Helper()
	at := database.Now().Add(-ago)
	check(p.t, p.db.InTx(p.t.Context(), func(ctx context.Context) error {
		for _, statement := range []string{
			"UPDATE latchkey_link_unlinked SET since = ? WHERE auth_identity_id = ?", "UPDATE latchkey_auth_identity SET created_at = ? WHERE id = ?",
			"UPDATE latchkey_auth_session SET last_used_at = ? WHERE auth_identity_id = ?",
		} {
			if _, err := p.db.Conn(ctx).NewRaw(statement, at, id).Exec(ctx); err != nil {
				return err
			}
		}
		return nil
	}))
}

// wantReclaimed wants it announced, and in the trail, that a user was handed to the owner of the mailbox.
func (p *play) wantReclaimed(userID string) {
	p.t.Helper()
	if !slices.ContainsFunc(told[link.Reclaimed](p.server), func(e link.Reclaimed) bool { return e.ActorID == userID }) {
		p.t.Errorf("that %s was reclaimed is not announced", userID)
	}
	audited, err := json.Marshal(p.trail(p.t, "action=identity.reclaimed"))
	check(p.t, err)
	if !strings.Contains(string(audited), userID) {
		p.t.Errorf("the trail does not say that %s was reclaimed: %s", userID, audited)
	}
}

// rounds is how often two act at once.
func rounds() int {
	if os.Getenv("LATCHKEY_HIJACK") == "all" {
		return 50
	}
	return 3
}

// arrives has the victim take what is theirs, after somebody may have been in between.
func (w *person) arrives() {
	w.t.Helper()
	w.comesBy(idp1, w.address, true)
	if invited := w.do(w.t, "GET", "/admin/invites/"+string(w.id), "", bearer(w.admin)); invited.get("invite", "accepted") != "true" {
		w.acceptsByMail()
	}
}
