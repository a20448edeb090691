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

// A sequential model of what the server knows of two addresses, whose owners share an account at a provider. A history of requests that were under way at the same time is
// right if they can be put into one order, in which each stands between its sending and its answer, such that the model,
// asked in that order, may give the same answers. Whoever acts on the addresses does so by the operations here.
//
// A request without an answer may have been done until soon after the server was gone, or never.

// operation is what a client asks for.
type operation struct {
	kind string // one of the keys of steps or sharedSteps
	who  int    // of the two it is about

	password string // register, login, reset; link: of the way
	session  string // refresh, accept, link, unlink, ways: whose
	invite   string // accept, resend: which
	nonce    string // accept: of the invite's token
	mailed   bool   // accept: the token went to the mailbox; ask: it goes there
	token    string // reset: the jti
	user     string // ask, delete: who
	way      string // link, unlink: "p", "v" or "s", as in standing
	id       string // unlink: the way's
	current  string // link, unlink: the password of now; empty: none was sent

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
	ways    string // that were linked, or listed: each as way=id

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

// standing is all there is about one address.
type standing struct {
	readCommitted bool // on PostgreSQL, where two requests at once need not see each other

	password string // empty: nobody has registered
	proved   bool   // that way to sign in has proved the address
	linked   bool   // it leads to the user
	vouched  bool   // a provider vouches for them: that way always leads to the user
	spare    bool   // what is shared is a way of the user's

	ids [3]string // of these ways: "p", "v", "s"; empty: there is none, or nobody was told

	user       string // empty: there is none
	userProved bool   // the user's address is proved
	provedBack int64  // when the answer came to the request that has proved it
	secretBack int64  // when the answer came to the request by which the user has got a password

	endedBack int64 // when the answer came to the last deletion or new password

	invite, nonce string // that can be accepted; empty: none
	invitedBack   int64  // when the answer came to the request that made it
	accepted      string // the tokens, as invite/nonce, by which the user of now has become what they are
	token         string // the jti that sets a new password; empty: none
	tokenMailed   bool
	sessions      string // that live: "p" or "v", by the way they were opened by, and the id, each ended by a space. Of the user, but for a password that does not lead there
}

// household is the state of the model: two people, and what they share.
type household struct {
	who    [2]standing
	strays string // the sessions of what is shared while it is nobody's, each ended by a space

	endedBack int64 // when the answer came to the last request that ended a session
}

// ended reports whether a session of theirs has ended while the request was under way. What it was when the request came is not
// what it is when the request is done, so that other refusals may come first, or what is listed is of afterwards.
func (h household) ended(in operation) bool { return in.sent <= h.endedBack }

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
	p.password, p.proved, p.linked, p.token, p.tokenMailed, p.ids[0] = "", false, false, "", false, ""
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
		case p.userProved, p.linked && p.proved: // also by who signs in as them and has proved the address before they were a user
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
				p.vouched, p.linked, p.spare, p.ids[1], p.ids[2] = false, true, false, "", ""
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
			return p, out.is(404, "user_not_found") || p.readCommitted && in.sent <= p.endedBack && out.is(400, "no_sign_in")
		case !in.mailed && !p.linked: // they sign in by other ways, of which nobody can give up the last
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
		if in.sent <= p.endedBack && out.is(401, "reset_token_invalid") { // overtaken, as a sign-in, and the token stays good
			return p, true
		}
		if p.token == "" || p.token != in.token {
			return p, out.is(401, "reset_token_invalid")
		}
		p = p.end("p", "")
		if p.linked {
			p = p.end("v", "")
		}
		if p.tokenMailed {
			if p.linked {
				if p = p.proves(out); !p.proved { // what has not proved the address goes
					p.spare, p.ids[2] = false, ""
				}
			}
			p.proved = true
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
		p.spare, p.ids[1], p.ids[2] = false, "", ""
		return p, out.status == 200
	},
}

// holder is whose the session is, and by which way; empty: it does not live. -1: it is of what is shared, and of nobody.
func (h household) holder(session string) (who int, by string) {
	for who, p := range h.who {
		if by := p.by(session); by != "" {
			return who, by
		}
	}
	if slices.Contains(strings.Fields(h.strays), session) {
		return -1, "s"
	}
	return -1, ""
}

// overtaken is standing.overtaken for either of the two.
func (h household) overtaken(in operation, out outcome) bool {
	return h.who[0].overtaken(in, out) || h.who[1].overtaken(in, out)
}

// has are the ways to sign in of who holds a session by the way, with what is known of their ids.
func (p standing) has(by string) (ways []string) {
	if p.password != "" && (by == "p" || p.linked) {
		ways = append(ways, "p="+p.ids[0])
	}
	if by == "p" && !p.linked {
		return ways
	}
	if p.spare {
		ways = append(ways, "s="+p.ids[2])
	}
	if p.vouched {
		ways = append(ways, "v="+p.ids[1])
	}
	return ways
}

// named makes sure that an answer names the ways there are. What nobody was told of gets its id now.
func (p standing) named(have []string, ways string) (standing, bool) {
	named := strings.Fields(ways)
	if len(named) != len(have) {
		return p, false
	}
	for i, w := range have {
		if way, id, _ := strings.Cut(named[i], "="); w != way+"=" && w != named[i] {
			return p, false
		} else {
			p.ids[strings.Index("pvs", way)] = id
		}
	}
	return p, true
}

// again is what who has a password is told if they do not prove themselves by it; empty: they do, or there is none. Who has got
// one while they were asking may be told so later, or have proved themselves without it.
func (p standing) again(by string, in operation, out outcome) (status int, reason string) {
	switch {
	case p.password == "" || by != "p" && !p.linked || in.current == p.password:
		return 0, ""
	case in.sent <= p.secretBack && out.is(401, "invalid_credentials"):
		return out.status, out.reason
	case in.sent <= p.secretBack && !out.is(400, "invalid_request"): // whatever they sent was not asked for yet
		return 0, ""
	case in.current == "":
		return 400, "invalid_request"
	default:
		return 401, "invalid_credentials"
	}
}

// sharedSteps are the steps of what two people share, and of their ways to sign in.
var sharedSteps = map[string]func(h household, in operation, out outcome) (household, bool){
	"refresh": func(h household, in operation, out outcome) (household, bool) {
		who, by := h.holder(in.session)
		if by == "s" {
			return h, out.status == 200 && out.user == ""
		}
		if who < 0 {
			who = in.who
		}
		p, right := steps["refresh"](h.who[who], in, out)
		h.who[who] = p
		return h, right
	},

	"stray": func(h household, in operation, out outcome) (household, bool) {
		if h.overtaken(in, out) {
			return h, true
		}
		for who, p := range h.who {
			if p.spare {
				p, same := p.told(out.user)
				h.who[who] = p.open("v", out.session)
				return h, out.status == 200 && same
			}
		}
		if out.session != "" {
			h.strays += out.session + " "
		}
		return h, out.status == 200 && out.user == ""
	},

	"link": func(h household, in operation, out outcome) (household, bool) {
		who, by := h.holder(in.session)
		switch {
		case h.overtaken(in, out):
			return h, true
		case by == "":
			return h, out.status == 401 || out.status != 200 && h.ended(in)
		case by == "s":
			return h, out.is(403, "account_required")
		}
		p := h.who[who]
		status, reason := p.again(by, in, out)
		switch {
		case status == 400:
			return h, out.is(status, reason)
		case p.actor(by) == "":
			return h, out.is(403, "account_required")
		case !p.userProved:
			return h, out.is(403, "primary_email_unproved")
		case in.way == "p" && who != in.who:
			return h, out.is(400, "address_not_yours")
		case status != 0:
			return h, out.is(status, reason)
		case in.way == "s" && h.who[1-who].spare:
			return h, out.is(400, "already_linked")
		case in.way == "p" && p.password != "" && p.password != in.password:
			return h, out.is(401, "identity_exists")
		case in.way == "s" && !p.spare:
			p.spare, h.strays = true, ""
		case in.way == "p" && !p.linked: // nobody's until now, if there was one
			p = p.end("p", "")
			p.password, p.proved, p.linked, p.token, p.tokenMailed = in.password, true, true, "", false
		}
		p, right := p.named([]string{in.way + "=" + p.ids[strings.Index("pvs", in.way)]}, out.ways)
		h.who[who] = p
		return h, right && out.status == 200
	},

	"ways": func(h household, in operation, out outcome) (household, bool) {
		who, by := h.holder(in.session)
		switch {
		case out.unknown:
			return h, true
		case by == "":
			return h, out.status == 401 || h.ended(in)
		case by == "s":
			return h, out.status == 200 && strings.HasPrefix(out.ways, "s=") && !strings.Contains(out.ways, " ")
		}
		p, right := h.who[who].named(h.who[who].has(by), out.ways)
		h.who[who] = p
		return h, right && out.status == 200
	},

	"unlink": func(h household, in operation, out outcome) (household, bool) {
		who, by := h.holder(in.session)
		switch {
		case h.overtaken(in, out):
			return h, true
		case by == "":
			return h, out.status == 401 || out.status != 200 && h.ended(in)
		case by == "s":
			return h, out.is(404, "auth_identity_not_found") || in.way == "s" && out.is(400, "last_way_in")
		}
		p := h.who[who]
		if status, reason := p.again(by, in, out); status != 0 {
			return h, out.is(status, reason)
		}
		ways := p.has(by)
		if !slices.Contains(ways, in.way+"="+in.id) && (!slices.Contains(ways, in.way+"=") || out.status == 404) {
			return h, out.is(404, "auth_identity_not_found")
		}
		if len(ways) == 1 {
			return h, out.is(400, "last_way_in")
		}
		p = p.end("v", "")
		if p.linked {
			p = p.end("p", "")
		}
		switch in.way {
		case "p":
			p = p.forgetPassword()
		case "v":
			p.vouched, p.ids[1] = false, ""
		case "s":
			p.spare, p.ids[2] = false, ""
		}
		p = p.open("v", out.session) // it is the user's, whichever way it was opened by
		p.endedBack = out.back
		h.who[who] = p
		return h, out.status == 200
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

// step is what becomes of the two, and whether the answer is right.
func (h household) step(in operation, out outcome) (after household, right bool) {
	if step := sharedSteps[in.kind]; step != nil {
		after, right = step(h, in, out)
	} else {
		after = h
		after.who[in.who], right = steps[in.kind](h.who[in.who], in, out)
	}
	lives := func(s string) bool { _, by := after.holder(s[1:]); return by != "" }
	for i, p := range h.who {
		if now := &after.who[i]; (now.linked && !p.linked) || now.password != p.password {
			now.secretBack = out.back
		}
		for s := range strings.FieldsSeq(p.sessions) {
			if !lives(s) {
				after.endedBack = max(after.endedBack, out.back)
			}
		}
	}
	if after.strays == "" && h.strays != "" {
		after.endedBack = max(after.endedBack, out.back)
	}
	return after, right
}

// model is the model for the checker, of two addresses.
func model(on database.Dialect) porcupine.Model {
	m := porcupine.NondeterministicModel{
		Init: func() []any {
			p := standing{readCommitted: on == database.Postgres}
			return []any{household{who: [2]standing{p, p}}}
		},
		Step: func(state, input, output any) (next []any) {
			h, in, out := state.(household), input.(operation), output.(outcome)
			if out.is(401, "session_ended") && slices.Contains([]string{"login", "vouched", "stray"}, in.kind) {
				out.unknown = true // a sign-in was recorded, and its session ended before the token was made
			}
			if after, right := h.step(in, out); right || out.unknown {
				next = append(next, after)
			}
			if out.unknown {
				next = append(next, h) // it was never done
			}
			p := h.who[in.who]
			if !p.readCommitted || p.invite == "" || in.sent > p.invitedBack || (in.kind != "vouched" && in.kind != "login") {
				return next
			}
			unseen := h // a sign-in need not see the invite that is made at the same moment: then it stays open
			unseen.who[in.who].invite, unseen.who[in.who].nonce = "", ""
			if after, right := unseen.step(in, out); right || out.unknown {
				after.who[in.who].invite, after.who[in.who].nonce = p.invite, p.nonce
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
	// Two who are vouched for, and what they share.
	stray, list := operation{kind: "stray"}, operation{kind: "ways", session: "s1"}
	ada := said{1, 2, operation{kind: "vouched"}, outcome{status: 200, session: "s1", user: "u1"}}
	grace := said{1, 2, operation{kind: "vouched", who: 1}, outcome{status: 200, session: "s2", user: "u2"}}
	links, graceLinks := operation{kind: "link", session: "s1", way: "s"}, operation{kind: "link", who: 1, session: "s2", way: "s"}
	linked := said{3, 4, links, outcome{status: 200, ways: "s=w1"}}
	unlink := operation{kind: "unlink", session: "s1", way: "s", id: "w1"}
	unlinked := said{5, 6, unlink, outcome{status: 200, session: "s1/2"}}
	for name, c := range map[string]struct {
		legal bool
		said  []said
	}{
		"a way that was linked":               {true, []said{ada, linked, {5, 6, stray, outcome{status: 200, session: "s3", user: "u1"}}, {7, 8, list, outcome{status: 200, ways: "s=w1 v=w2"}}}},
		"a way that was linked and is lost":   {false, []said{ada, linked, {5, 6, stray, outcome{status: 200, session: "s3"}}}},
		"a way that was linked is not listed": {false, []said{ada, linked, {7, 8, list, outcome{status: 200, ways: "v=w2"}}}},
		"a way that was unlinked":             {true, []said{ada, linked, unlinked, {7, 8, stray, outcome{status: 200, session: "s3"}}, {9, 10, operation{kind: "refresh", session: "s1/2"}, outcome{status: 200, user: "u1"}}}},
		"an unlinked way that signs in":       {false, []said{ada, linked, unlinked, {7, 8, stray, outcome{status: 200, session: "s3", user: "u1"}}}},
		"a way unlinked twice":                {false, []said{ada, linked, unlinked, {7, 8, operation{kind: "unlink", session: "s1/2", way: "s", id: "w1"}, outcome{status: 200, session: "s1/3"}}}},
		"a token that outlives an unlinking":  {false, []said{ada, linked, unlinked, {7, 8, operation{kind: "refresh", session: "s1"}, outcome{status: 200, user: "u1"}}}},
		"a session that outlives an unlinking": {false, []said{ada, linked, {4, 5, stray, outcome{status: 200, session: "s3", user: "u1"}}, {6, 7, unlink, outcome{status: 200, session: "s1/2"}},
			{8, 9, operation{kind: "refresh", session: "s3"}, outcome{status: 200, user: "u1"}}}},
		"the last way kept":     {true, []said{ada, {3, 4, list, outcome{status: 200, ways: "v=w2"}}, {5, 6, operation{kind: "unlink", session: "s1", way: "v", id: "w2"}, outcome{status: 400, reason: "last_way_in"}}}},
		"the last way unlinked": {false, []said{ada, {3, 4, list, outcome{status: 200, ways: "v=w2"}}, {5, 6, operation{kind: "unlink", session: "s1", way: "v", id: "w2"}, outcome{status: 200, session: "s1/2"}}}},
		"the last two ways unlinked at once": {false, []said{ada, linked, {5, 6, ada.in, outcome{status: 200, session: "s3", user: "u1"}}, {7, 8, list, outcome{status: 200, ways: "s=w1 v=w2"}},
			{9, 12, unlink, outcome{status: 200, session: "s1/2"}}, {9, 12, operation{kind: "unlink", session: "s3", way: "v", id: "w2"}, outcome{status: 200, session: "s3/2"}}}},
		"one sign-in linked by two, of whom one wins": {true, []said{ada, grace, {3, 6, links, outcome{status: 200, ways: "s=w1"}}, {3, 6, graceLinks, outcome{status: 400, reason: "already_linked"}}}},
		"one sign-in linked to two accounts":          {false, []said{ada, grace, linked, {5, 6, graceLinks, outcome{status: 200, ways: "s=w1"}}}},
		"one sign-in linked to two accounts, at once": {false, []said{ada, grace, {3, 6, links, outcome{status: 200, ways: "s=w1"}}, {3, 6, graceLinks, outcome{status: 200, ways: "s=w1"}}}},
		"one sign-in that leads to two accounts":      {false, []said{ada, grace, linked, {5, 6, stray, outcome{status: 200, user: "u1"}}, {7, 8, stray, outcome{status: 200, user: "u2"}}}},
		"a free sign-in refused to both":              {false, []said{ada, grace, {3, 6, links, outcome{status: 400, reason: "already_linked"}}, {3, 6, graceLinks, outcome{status: 400, reason: "already_linked"}}}},
		"a stranger's session after the linking":      {false, []said{ada, {1, 2, stray, outcome{status: 200, session: "s3"}}, linked, {5, 6, operation{kind: "refresh", session: "s3"}, outcome{status: 200}}}},
		"a linked way that outlives the account":      {false, []said{ada, linked, {5, 6, operation{kind: "delete", user: "u1"}, outcome{status: 200}}, {7, 8, stray, outcome{status: 200, user: "u1"}}}},
		"linked to an address that is not proved":     {false, []said{registered, first, {5, 6, operation{kind: "link", session: "s2", way: "s", current: "one"}, outcome{status: 200, ways: "s=w1"}}}},
		"linked by nobody":                            {false, []said{registered, {5, 6, operation{kind: "link", session: "s1", way: "s", current: "one"}, outcome{status: 200, ways: "s=w1"}}}},
		"a password linked": {true, []said{ada, {3, 4, operation{kind: "link", session: "s1", way: "p", password: "one"}, outcome{status: 200, ways: "p=w3"}},
			{5, 6, login, outcome{status: 200, session: "s3", user: "u1"}}, {7, 8, links, outcome{status: 400, reason: "invalid_request"}}}},
		"linked without the password of now": {false, []said{ada, {3, 4, operation{kind: "link", session: "s1", way: "p", password: "one"}, outcome{status: 200, ways: "p=w3"}}, {5, 6, links, outcome{status: 200, ways: "s=w1"}}}},
		"unlinked by another password": {false, []said{ada, {3, 4, operation{kind: "link", session: "s1", way: "p", password: "one"}, outcome{status: 200, ways: "p=w3"}},
			{5, 6, operation{kind: "unlink", session: "s1", way: "p", id: "w3", current: "two"}, outcome{status: 200, session: "s1/2"}}}},

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
