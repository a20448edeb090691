package app_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

// A sequential model of what the server knows of one address. A history of requests that were under way at the same time is
// right if they can be put into one order, in which each stands between its sending and its answer, such that the model,
// asked in that order, may give the same answers. Whoever acts on the address does so by the operations here.
//
// A request without an answer may have been done at any time from then on, or never.

// operation is what a client asks for.
type operation struct {
	kind string // one of the keys of steps

	password string // register, login, reset
	session  string // refresh, accept: whose
	invite   string // accept, resend: which
	nonce    string // accept: of the invite's token
	mailed   bool   // accept: the token went to the mailbox; ask: it goes there
	token    string // reset: the jti
	user     string // ask, delete: who

	sent int64 // when
}

// outcome is what a client is told.
type outcome struct {
	unknown bool // there was no answer
	status  int
	reason  string

	session string // that was opened
	user    string // for whom the session or token speaks, or who was shown; empty: nobody
	invite  string // that was made, renewed or shown; empty: there is none
	nonce   string
	token   string // the jti of a token to set a new password

	back int64 // when it was answered; without an answer, when it was done at the latest
}

func (o outcome) String() string { return short(fmt.Sprintf("%+v", plainOutcome(o))) }

func (o operation) String() string { return short(fmt.Sprintf("%+v", plainOperation(o))) }

type (
	plainOutcome   outcome
	plainOperation operation
)

// short leaves out what is empty.
func short(fields string) string {
	return strings.Join(slices.DeleteFunc(strings.Fields(strings.Trim(fields, "{}")), func(f string) bool {
		return strings.HasSuffix(f, ":") || strings.HasSuffix(f, ":false") || strings.HasPrefix(f, "sent:") || strings.HasPrefix(f, "back:")
	}), " ")
}

func (o outcome) is(status int, reason string) bool { return o.status == status && o.reason == reason }

// unsaid is an id that there is and that nobody was told yet, because the answer was lost.
const unsaid = "?"

// standing is the state of the model: all there is about one address.
type standing struct {
	readCommitted bool // on PostgreSQL, where two requests at once need not see each other

	password string // empty: nobody has registered
	proved   bool   // that way to sign in has proved the address
	linked   bool   // it leads to the user
	vouched  bool   // a provider vouches for them: that way always leads to the user

	user       string // empty: there is none
	userProved bool   // the user's address is proved
	provedBack int64  // when the answer came to the request that has proved it

	endedBack int64 // when the answer came to the last deletion or new password

	invite, nonce string // that can be accepted; empty: none
	invitedBack   int64  // when the answer came to the request that made it
	accepted      string // the tokens, as invite/nonce, by which the user of now has become what they are
	token         string // the jti that sets a new password; empty: none
	tokenMailed   bool
	sessions      string // that live: "p" or "v", by the way they were opened by, and the id, each ended by a space
}

func (p standing) open(by, session string) standing {
	if session != "" {
		p.sessions += by + session + " "
	}
	return p
}

// end ends the sessions of a way to sign in, but for one.
func (p standing) end(by, but string) standing {
	kept := ""
	for s := range strings.FieldsSeq(p.sessions) {
		if !strings.HasPrefix(s, by) || s == by+but {
			kept += s + " "
		}
	}
	p.sessions = kept
	return p
}

// by returns by which way the session was opened; empty: it does not live.
func (p standing) by(session string) string {
	for s := range strings.FieldsSeq(p.sessions) {
		if s[1:] == session {
			return s[:1]
		}
	}
	return ""
}

// actor is for whom a session of the way speaks.
func (p standing) actor(by string) string {
	if by == "v" || p.linked {
		return p.user
	}
	return ""
}

// told makes sure that an answer names the user there is. Who came to be by a request without an answer gets the name now.
func (p standing) told(user string) (standing, bool) {
	if p.user == unsaid && user != "" {
		p.user = user
	}
	return p, p.user == user
}

// forgetPassword takes the way to sign in by password, with all that hangs on it.
func (p standing) forgetPassword() standing {
	p = p.end("p", "")
	p.password, p.proved, p.linked, p.token, p.tokenMailed = "", false, false, "", false
	return p
}

// acceptInvite closes the invite for the user.
func (p standing) acceptInvite() standing {
	if p.invite != "" {
		p.accepted += p.invite + "/" + p.nonce + " "
		p.invite, p.nonce = "", ""
	}
	return p
}

// comes makes the user, under the name that the answer has.
func (p standing) comes(out outcome, proved bool) standing {
	if p.user = out.user; p.user == "" {
		p.user = unsaid
	}
	if proved {
		p = p.proves(out)
	}
	return p
}

// proves proves the user's address.
func (p standing) proves(out outcome) standing {
	if !p.userProved {
		p.userProved, p.provedBack = true, out.back
	}
	return p
}

// overtaken reports whether a sign-in was refused because of a deletion or a new password that was under way at the same time:
// what is committed between proving who somebody is and recording that wins.
func (p standing) overtaken(in operation, out outcome) bool {
	return in.sent <= p.endedBack && out.is(401, "invalid_credentials")
}

// steps say, by the kind of an operation, what becomes of somebody and whether the answer is right. For an operation without
// an answer, what it comes to if it is done; that the answer is not right means nothing then.
var steps = map[string]func(p standing, in operation, out outcome) (standing, bool){
	"register": func(p standing, in operation, out outcome) (standing, bool) {
		switch {
		case p.password == "":
			p.password = in.password
		case p.password != in.password || p.linked:
			return p, out.is(401, "identity_exists")
		}
		return p.open("p", out.session), out.status == 200 && out.user == ""
	},

	"login": func(p standing, in operation, out outcome) (standing, bool) {
		switch {
		case p.overtaken(in, out):
			return p, true
		case p.password == "" || p.password != in.password:
			return p, out.is(401, "invalid_credentials")
		case p.linked:
		case p.user == "":
			if p = p.end("p", "").comes(out, p.proved); p.proved {
				p = p.acceptInvite()
			}
			p.linked = true
		case !p.proved: // somebody else has the address
			return p.open("p", out.session), out.status == 200 && out.user == "" && out.reason == "verify_email"
		default: // both sides have proved it
			p = p.end("p", "").acceptInvite()
			p.linked = true
		}
		p, same := p.told(out.user)
		return p.open("p", out.session), out.status == 200 && same
	},

	"vouched": func(p standing, in operation, out outcome) (standing, bool) {
		switch {
		case p.overtaken(in, out):
			return p, true
		case p.vouched:
		case p.user == "":
			p = p.comes(out, true).acceptInvite()
		case p.userProved:
			p = p.acceptInvite()
		default: // the owner of the mailbox takes over
			p = p.forgetPassword().acceptInvite()
		}
		p.vouched = true
		p = p.proves(out)
		p, same := p.told(out.user)
		return p.open("v", out.session), out.status == 200 && same
	},

	"refresh": func(p standing, in operation, out outcome) (standing, bool) {
		by := p.by(in.session)
		if by == "" {
			return p, out.status == 401
		}
		if p.actor(by) == "" {
			return p, out.status == 200 && out.user == ""
		}
		p, same := p.told(out.user)
		return p, out.status == 200 && same
	},

	"invite": func(p standing, in operation, out outcome) (standing, bool) {
		switch {
		case p.readCommitted && in.sent <= p.provedBack && !out.is(400, "user_exists") && p.userProved:
			// The user proved the address at the same moment, and was looked at before. They may accept the invite.
			if p.invite != "" {
				return p, out.is(400, "invite_exists")
			}
		case p.userProved:
			return p, out.is(400, "user_exists")
		case p.invite != "":
			return p, out.is(400, "invite_exists")
		}
		p.invitedBack = out.back
		return p.invited(out), out.status == 200 && out.invite != ""
	},

	"show": func(p standing, _ operation, out outcome) (standing, bool) {
		if out.unknown {
			return p, true
		}
		if p.invite == unsaid {
			p.invite = out.invite
		}
		if p.nonce == unsaid {
			p.nonce = out.nonce
		}
		return p, out.status == 200 && out.invite == p.invite && out.nonce == p.nonce
	},

	"resend": func(p standing, in operation, out outcome) (standing, bool) {
		if p.invite != in.invite {
			return p, out.is(400, "invite_used")
		}
		return p.invited(out), out.status == 200 && out.invite == in.invite
	},

	"accept": func(p standing, in operation, out outcome) (standing, bool) {
		by := p.by(in.session)
		if by == "" { // what is wrong with the invite may be said first, if the session died while that was looked at
			return p, out.status == 401 || out.is(400, "invite_used") || out.is(400, "invite_renewed") || out.is(400, "email_taken")
		}
		again := slices.Contains(strings.Fields(p.accepted), in.invite+"/"+in.nonce)
		switch actor := p.actor(by); {
		case p.invite == in.invite && p.nonce == in.nonce:
			switch {
			case actor != "":
			case p.user == "":
				p = p.end("p", in.session).comes(out, false)
				p.linked = true
			case !in.mailed || p.userProved:
				return p, out.is(400, "email_taken")
			default: // who holds the mailed token takes over
				p = p.end("v", "").end("p", in.session)
				p.vouched, p.linked = false, true
			}
			p = p.acceptInvite()
			if in.mailed {
				p = p.proves(out)
				p.proved = p.proved || p.linked
			}
		case !again || actor == "":
			return p, out.is(400, "invite_used") || out.is(400, "invite_renewed")
		}
		p, same := p.told(out.user)
		return p, out.status == 200 && same
	},

	"ask": func(p standing, in operation, out outcome) (standing, bool) {
		switch {
		case out.is(409, "reset_superseded"): // somebody else's is newer
			return p, true
		case !in.mailed && (p.user == "" || p.user != in.user):
			if p.readCommitted && in.sent <= p.endedBack && out.status == 200 && p.password != "" {
				break // they were deleted meanwhile, and somebody has registered the address anew: the token is that one's
			}
			// To whoever was deleted between two looks at them, no way to sign in was left.
			return p, out.is(404, "user_not_found") || p.readCommitted && in.sent <= p.endedBack && out.is(400, "no_password")
		case !in.mailed && !p.linked:
			return p, out.is(400, "no_password")
		case p.password == "":
			return p, out.status == 404
		}
		if p.token, p.tokenMailed = out.token, in.mailed; out.unknown {
			p.token = unsaid
		}
		return p, out.status == 200 && out.token != ""
	},

	"reset": func(p standing, in operation, out outcome) (standing, bool) {
		if p.token == "" || p.token != in.token {
			return p, out.is(401, "reset_token_invalid")
		}
		p = p.end("p", "")
		if p.linked {
			p = p.end("v", "")
		}
		if p.tokenMailed {
			if p.proved = true; p.linked {
				p = p.proves(out)
			}
		}
		p.password, p.token, p.tokenMailed, p.endedBack = in.password, "", false, out.back
		return p, out.status == 200
	},

	"delete": func(p standing, in operation, out outcome) (standing, bool) {
		if p.user == "" || p.user != in.user {
			return p, out.status == 200 || out.status == 404
		}
		if p.linked {
			p = p.forgetPassword()
		}
		p = p.end("v", "")
		p.vouched, p.user, p.userProved, p.provedBack, p.accepted, p.endedBack = false, "", false, 0, "", out.back
		return p, out.status == 200
	},
}

// invited gives the address the invite that the answer names.
func (p standing) invited(out outcome) standing {
	if p.invite, p.nonce = out.invite, out.nonce; out.unknown {
		p.invite, p.nonce = unsaid, unsaid
	}
	return p
}

// history is the operations on one address.
type history = []porcupine.Operation

// model is the model for the checker, of one address.
func model(on database.Dialect) porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any { return []any{standing{readCommitted: on == database.Postgres}} },
		Step: func(state, input, output any) (next []any) {
			p, in, out := state.(standing), input.(operation), output.(outcome)
			if out.is(401, "session_ended") && (in.kind == "login" || in.kind == "vouched") {
				out.unknown = true // a sign-in was recorded, and its session ended before the token was made
			}
			if after, right := steps[in.kind](p, in, out); right || out.unknown {
				next = append(next, after)
			}
			if !p.readCommitted || p.invite == "" || in.sent > p.invitedBack || (in.kind != "vouched" && in.kind != "login") {
				return next
			}
			unseen := p // a sign-in need not see the invite that is made at the same moment: then it stays open
			unseen.invite, unseen.nonce = "", ""
			if after, right := steps[in.kind](unseen, in, out); right || out.unknown {
				after.invite, after.nonce = p.invite, p.nonce
				next = append(next, after)
			}
			return next
		},
	}
	return m.ToModel()
}

// linearizable reports whether the history can be put into an order.
func linearizable(on database.Dialect, h history, patience time.Duration) porcupine.CheckResult {
	return porcupine.CheckOperationsTimeout(model(on), h, patience)
}

// in and out, one after the other or, with the same time, at once.
type said struct {
	from, to int64
	in       operation
	out      outcome
}

func TestTheCheckerOfHistoriesRefusesWhatMustNotBe(t *testing.T) {
	login := operation{kind: "login", password: "one"}
	registered := said{1, 2, operation{kind: "register", password: "one"}, outcome{status: 200, session: "s1"}}
	first := said{3, 4, login, outcome{status: 200, session: "s2", user: "u1"}}
	invited := said{1, 2, operation{kind: "invite"}, outcome{status: 200, invite: "i1", nonce: "n1"}}
	asked := said{5, 6, operation{kind: "ask", user: "u1"}, outcome{status: 200, token: "t1"}}
	reset := operation{kind: "reset", password: "two", token: "t1"}
	accept := operation{kind: "accept", session: "s1", invite: "i1", nonce: "n1"}
	for name, c := range map[string]struct {
		legal bool
		said  []said
	}{
		"one user":                          {true, []said{registered, first, {5, 6, login, outcome{status: 200, session: "s3", user: "u1"}}}},
		"two users for one address":         {false, []said{registered, first, {5, 6, login, outcome{status: 200, session: "s3", user: "u2"}}}},
		"two users at once":                 {false, []said{registered, {3, 6, login, outcome{status: 200, user: "u1"}}, {3, 6, login, outcome{status: 200, user: "u2"}}}},
		"a user made and lost":              {false, []said{registered, first, {5, 6, login, outcome{status: 200, session: "s3"}}}},
		"a dead session that is refused":    {true, []said{registered, first, {5, 6, operation{kind: "refresh", session: "s1"}, outcome{status: 401}}}},
		"a dead session that refreshes":     {false, []said{registered, first, {5, 6, operation{kind: "refresh", session: "s1"}, outcome{status: 200, user: "u1"}}}},
		"a live session that is refused":    {false, []said{registered, first, {5, 6, operation{kind: "refresh", session: "s2"}, outcome{status: 401}}}},
		"a session that dies meanwhile":     {true, []said{registered, {3, 9, login, outcome{status: 200, session: "s2", user: "u1"}}, {4, 5, operation{kind: "refresh", session: "s1"}, outcome{status: 200}}, {6, 7, operation{kind: "refresh", session: "s1"}, outcome{status: 401}}}},
		"a session that comes back":         {false, []said{registered, {3, 9, login, outcome{status: 200, session: "s2", user: "u1"}}, {4, 5, operation{kind: "refresh", session: "s1"}, outcome{status: 401}}, {6, 7, operation{kind: "refresh", session: "s1"}, outcome{status: 200}}}},
		"a deleted user's session":          {false, []said{registered, first, {5, 6, operation{kind: "delete", user: "u1"}, outcome{status: 200}}, {7, 8, operation{kind: "refresh", session: "s2"}, outcome{status: 200, user: "u1"}}}},
		"a reset token used once":           {true, []said{registered, first, asked, {7, 8, reset, outcome{status: 200}}, {9, 10, reset, outcome{status: 401, reason: "reset_token_invalid"}}}},
		"a reset token used twice":          {false, []said{registered, first, asked, {7, 8, reset, outcome{status: 200}}, {9, 10, reset, outcome{status: 200}}}},
		"a reset token used twice, at once": {false, []said{registered, first, asked, {7, 10, reset, outcome{status: 200}}, {7, 10, reset, outcome{status: 200}}}},
		"a session that outlives a reset":   {false, []said{registered, first, asked, {7, 8, reset, outcome{status: 200}}, {9, 10, operation{kind: "refresh", session: "s2"}, outcome{status: 200, user: "u1"}}}},
		"an old password after a reset":     {false, []said{registered, first, asked, {7, 8, reset, outcome{status: 200}}, {9, 10, login, outcome{status: 200, session: "s3", user: "u1"}}}},
		"an invite accepted":                {true, []said{invited, {3, 4, registered.in, registered.out}, {5, 6, accept, outcome{status: 200, user: "u1"}}, {7, 8, accept, outcome{status: 200, user: "u1"}}}},
		"an invite that was renewed": {false, []said{invited, {3, 4, registered.in, registered.out},
			{5, 6, operation{kind: "resend", invite: "i1"}, outcome{status: 200, invite: "i1", nonce: "n2"}}, {7, 8, accept, outcome{status: 200, user: "u1"}}}},
		"two open invites":           {false, []said{invited, {3, 4, operation{kind: "invite"}, outcome{status: 200, invite: "i2", nonce: "n2"}}}},
		"an unproved address joined": {false, []said{{1, 2, operation{kind: "vouched"}, outcome{status: 200, user: "u1"}}, {3, 4, registered.in, registered.out}, {5, 6, login, outcome{status: 200, user: "u1"}}}},
		"an unproved address reclaimed": {true, []said{registered, first, {5, 6, operation{kind: "vouched"}, outcome{status: 200, session: "s3", user: "u1"}},
			{7, 8, operation{kind: "refresh", session: "s2"}, outcome{status: 401}}, {9, 10, login, outcome{status: 401, reason: "invalid_credentials"}}}},
		"a way in that outlives the reclaiming": {false, []said{registered, first, {5, 6, operation{kind: "vouched"}, outcome{status: 200, session: "s3", user: "u1"}},
			{7, 8, login, outcome{status: 200, session: "s4", user: "u1"}}}},
		"no answer, and done":       {true, []said{registered, {3, 100, login, outcome{unknown: true}}, {5, 6, operation{kind: "refresh", session: "s1"}, outcome{status: 401}}, {7, 8, login, outcome{status: 200, user: "u7"}}}},
		"no answer, and not done":   {true, []said{registered, {3, 100, login, outcome{unknown: true}}, {5, 6, operation{kind: "refresh", session: "s1"}, outcome{status: 200}}}},
		"no answer, and half done":  {false, []said{registered, {3, 100, login, outcome{unknown: true}}, {5, 6, operation{kind: "refresh", session: "s1"}, outcome{status: 401}}, {7, 8, registered.in, outcome{status: 200, session: "s5"}}}},
		"no answer, and done twice": {false, []said{registered, {3, 100, login, outcome{unknown: true}}, {5, 6, login, outcome{status: 200, user: "u7"}}, {7, 8, login, outcome{status: 200, user: "u8"}}}},
	} {
		t.Run(name, func(t *testing.T) {
			var h history
			for i, s := range c.said {
				s.in.sent, s.out.back = s.from, s.to
				h = append(h, porcupine.Operation{ClientId: i, Input: s.in, Call: s.from, Output: s.out, Return: s.to})
			}
			for _, on := range []database.Dialect{database.SQLite, database.Postgres} {
				if got := linearizable(on, h, time.Minute) == porcupine.Ok; got != c.legal {
					t.Errorf("on %s the checker says %t, want %t", on, got, c.legal)
				}
			}
		})
	}
}
