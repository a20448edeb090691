package httpapi_test

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

// A fixture is one request and the whole of its answer, as clients of Medusa know it. Names in braces stand for what a
// scene knows by that name, and <id>, <time>, <token>, <n> for what differs from run to run.
type fixture struct {
	name   string
	as     string // whose token goes along; empty: nobody's
	do     string // method and path
	body   string
	status int
	want   string
}

// A scene is a server with people on it: an admin, a member who has proved nothing, somebody newly registered who is
// nobody's user yet.
type scene struct {
	*server
	tokens map[string]string
	ids    map[string]string
}

func newScene(t *testing.T, s *server) scene {
	t.Helper()
	sc := scene{s, map[string]string{"admin": s.admin(t, "admin@example.com")}, map[string]string{}}
	nextID()
	sc.tokens["member"], sc.tokens["newcomer"] = s.member(t, "ada@example.com"), s.register(t, "nina@example.com")
	for _, who := range []string{"admin", "member"} {
		sc.ids[who], _ = claims(t, sc.tokens[who])["actor_id"].(string)
	}
	return sc
}

// nextID makes sure that the next id comes after those made before: within a millisecond their order is random.
func nextID() { time.Sleep(2 * time.Millisecond) }

// run sends the fixtures one after another and holds the answers against them.
func (sc scene) run(t *testing.T, fixtures []fixture) {
	t.Helper()
	for _, f := range fixtures {
		t.Run(f.name, func(t *testing.T) {
			method, path, _ := strings.Cut(f.do, " ")
			var headers []string
			if f.as != "" {
				headers = append(headers, bearer(sc.tokens[f.as]))
			}
			a := sc.do(t, method, sc.fill(path), sc.fill(f.body), headers...)
			if a.status != f.status || sc.plain(a.body) != f.want {
				t.Errorf("%s\n got %d %s\nwant %d %s", f.do, a.status, sc.plain(a.body), f.status, f.want)
			}
			wantHeaders(t, method, a)
		})
	}
}

// wantHeaders is what every answer has.
func wantHeaders(t *testing.T, method string, a answer) {
	t.Helper()
	media := "application/json; charset=utf-8"
	if a.body == "Created" || strings.HasSuffix(a.body, "\n") { // as Medusa has it, or for who looks at a browser
		media = "text/plain; charset=utf-8"
	}
	for name, want := range map[string]string{
		"Content-Type": media, "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", "Vary": "Origin",
	} {
		if got := a.header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if id := a.header.Get("X-Request-Id"); len(id) < 20 {
		t.Errorf("X-Request-Id: %q, want one that is unique", id)
	}
	if a.header.Get("Access-Control-Allow-Origin")+a.header.Get("Access-Control-Allow-Credentials") != "" {
		t.Error("the answer allows another origin although none was listed")
	}
	if length := fmt.Sprint(len(a.body)); method != "HEAD" && a.header.Get("Content-Length") != length {
		t.Errorf("Content-Length: %q, want %s", a.header.Get("Content-Length"), length)
	}
}

// fill puts the scene's ids and tokens where a text names them: {admin}, {token of newcomer}.
func (sc scene) fill(text string) string {
	for name, id := range sc.ids {
		text = strings.ReplaceAll(text, "{"+name+"}", id)
	}
	for name, token := range sc.tokens {
		text = strings.ReplaceAll(text, "{token of "+name+"}", token)
	}
	return text
}

var varying = []struct {
	what *regexp.Regexp
	name string
}{
	{regexp.MustCompile(`eyJ[\w-]+\.[\w-]+\.[\w-]+`), "<token>"},
	{regexp.MustCompile(`\b(user|invite|authid|authsess|authver|whep|whdel|evt)_[0-9A-HJKMNP-TV-Z]{26}\b`), "<$1 id>"},
	{regexp.MustCompile(`"[0-9A-HJKMNP-TV-Z]{26}"`), `"<bare id>"`},
	{regexp.MustCompile(`"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"`), `"<time>"`},
	{regexp.MustCompile(`whsec_[\w+/]{43}=`), "<secret>"},
	{regexp.MustCompile(`"(duration_ms)":\d+\b`), `"$1":<n>`},
	{regexp.MustCompile(`"(iat|exp)":\d{10}\b`), `"$1":<n>`},
}

// plain is the opposite of fill, as far as a fixture can know.
func (sc scene) plain(body string) string {
	for name, id := range sc.ids {
		body = strings.ReplaceAll(body, id, "{"+name+"}")
	}
	for _, v := range varying {
		body = v.what.ReplaceAllString(body, v.name)
	}
	return body
}

const (
	unauthorized = `{"message":"Unauthorized"}` // as the guards say it: without a type
	forbidden    = `{"type":"forbidden","message":"Forbidden","reason":"forbidden"}`
	nothingHere  = `{"type":"not_found","message":"There is nothing at this path.","reason":"no_route"}`
	otherMethod  = `{"type":"not_allowed","message":"This path does not take this method. The Allow header says which it takes.","reason":"no_method"}`
	noAddress    = `{"type":"invalid_data","message":"An e-mail address must look like name@example.com: ASCII letters, digits and common signs without spaces or quotes, at most 254 characters, an international domain in its xn-- form.","reason":"invalid_email"}`
	malformed    = `{"type":"invalid_data","message":"The request body must be one well-formed JSON object.","reason":"malformed_json"}`
	nina         = `"email":"nina@example.com"`
)

// problem is an error's body with its members in their order.
func problem(typ, message, reason string, detail ...string) string {
	more := ""
	for _, d := range detail {
		more = `,"detail":"` + d + `"`
	}
	return fmt.Sprintf(`{"type":"%s","message":"%s","reason":"%s"%s}`, typ, message, reason, more)
}

func wrong(message string) string { return problem("unauthorized", message, "invalid_credentials") }

func invalid(message string) string {
	return problem("invalid_data", "Invalid request: "+message, "invalid_request")
}

// userJSON is a user's nine fields in their order; the metadata and names as JSON.
func userJSON(id, email, first, last, metadata string) string {
	return fmt.Sprintf(`{"id":"%s","first_name":%s,"last_name":%s,"email":"%s","avatar_url":null,"metadata":%s,`+
		`"created_at":"<time>","updated_at":"<time>","deleted_at":null}`, id, first, last, email, metadata)
}

// inviteJSON is an invite's nine fields in their order.
func inviteJSON(id, email, metadata string) string {
	return fmt.Sprintf(`{"id":"%s","email":"%s","accepted":false,"token":"<token>","expires_at":"<time>","metadata":%s,`+
		`"created_at":"<time>","updated_at":"<time>","deleted_at":null}`, id, email, metadata)
}

const (
	adminJSON  = `{"id":"{admin}","first_name":null,"last_name":null,"email":"admin@example.com","avatar_url":null,"metadata":null,"created_at":"<time>","updated_at":"<time>","deleted_at":null}`
	memberJSON = `{"id":"{member}","first_name":null,"last_name":null,"email":"ada@example.com","avatar_url":null,"metadata":null,"created_at":"<time>","updated_at":"<time>","deleted_at":null}`
	token      = `{"token":"<token>"}`
)

var registering = []fixture{
	{"new address", "", "POST /auth/user/emailpass/register", credentials("new@example.com", password), 200, token},
	{"again with the same password", "", "POST /auth/user/emailpass/register", credentials("new@example.com", password), 200, token},
	{"in another spelling", "", "POST /auth/user/emailpass/register", credentials("NEW@Example.com", password), 200, token},
	{"again with another password", "", "POST /auth/user/emailpass/register", credentials("new@example.com", "another horse"), 401,
		problem("unauthorized", "Identity with email already exists", "identity_exists")},
	{"a user's address and password", "", "POST /auth/user/emailpass/register", credentials("ada@example.com", password), 401,
		problem("unauthorized", "Identity with email already exists", "identity_exists")},
	{"other members are ignored", "", "POST /auth/user/emailpass/register", `{"email":"more@example.com","password":"correct horse","roles":["admin"],"actor_id":"x"}`, 200, token},
	{"no body", "", "POST /auth/user/emailpass/register", "", 401, wrong("Password should be a string")},
	{"no members", "", "POST /auth/user/emailpass/register", `{}`, 401, wrong("Password should be a string")},
	{"no password", "", "POST /auth/user/emailpass/register", `{"email":"x@example.com"}`, 401, wrong("Password should be a string")},
	{"empty password", "", "POST /auth/user/emailpass/register", credentials("x@example.com", ""), 401, wrong("Password should be a string")},
	{"password null", "", "POST /auth/user/emailpass/register", `{"email":"x@example.com","password":null}`, 401, wrong("Password should be a string")},
	{"password a number", "", "POST /auth/user/emailpass/register", `{"email":"x@example.com","password":12345678}`, 401, wrong("Password should be a string")},
	{"no address", "", "POST /auth/user/emailpass/register", `{"password":"correct horse"}`, 401, wrong("Email should be a string")},
	{"empty address", "", "POST /auth/user/emailpass/register", credentials("", password), 401, wrong("Email should be a string")},
	{"address a list", "", "POST /auth/user/emailpass/register", `{"email":["x@example.com"],"password":"correct horse"}`, 401, wrong("Email should be a string")},
	{"members in another case", "", "POST /auth/user/emailpass/register", `{"Email":"x@example.com","Password":"correct horse"}`, 401, wrong("Password should be a string")},
	{"credentials in the query", "", "POST /auth/user/emailpass/register?email=x@example.com&password=correct%20horse", `{}`, 401, wrong("Password should be a string")},
	{"nonsense for an address", "", "POST /auth/user/emailpass/register", credentials("not-an-email", password), 400, noAddress},
	{"address with a space", "", "POST /auth/user/emailpass/register", credentials(" x@example.com", password), 400, noAddress},
	{"short password", "", "POST /auth/user/emailpass/register", credentials("x@example.com", "7 chars"), 400,
		problem("invalid_data", "Password is too short: at least 8 characters", "password_refused", "too_short")},
	{"long password", "", "POST /auth/user/emailpass/register", credentials("x@example.com", strings.Repeat("é", 257)), 400,
		problem("invalid_data", "Password is too long: at most 256 characters", "password_refused", "too_long")},
	{"longest password", "", "POST /auth/user/emailpass/register", credentials("long@example.com", strings.Repeat("é", 256)), 200, token},
	{"the last of its characters counts", "", "POST /auth/user/emailpass", credentials("long@example.com", strings.Repeat("é", 255)+"e"), 401, wrong("Invalid email or password")},
	{"common password", "", "POST /auth/user/emailpass/register", credentials("x@example.com", "Password1"), 400,
		problem("invalid_data", "Password is too common", "password_refused", "common")},
	{"the address as password", "", "POST /auth/user/emailpass/register", credentials("someone@example.com", "Someone@Example.com"), 400,
		problem("invalid_data", "Password must not be your e-mail address", "password_refused", "address")},
	{"unknown provider", "", "POST /auth/user/nope/register", credentials("x@example.com", password), 400,
		problem("not_allowed", "The actor type user is not allowed to use the auth provider nope", "provider_not_allowed")},
	{"unknown actor type", "", "POST /auth/alien/emailpass/register", credentials("x@example.com", password), 400,
		problem("not_allowed", `There is no actor type \"alien\".`, "unknown_actor_type")},
	{"a body cut off", "", "POST /auth/user/emailpass/register", `{"email":`, 400, malformed},
	{"a body that is a list", "", "POST /auth/user/emailpass/register", `[]`, 400, malformed},
	{"a body that is null", "", "POST /auth/user/emailpass/register", `null`, 400, malformed},
	{"a body that is a text", "", "POST /auth/user/emailpass/register", `"x"`, 400, malformed},
	{"a body with a name twice", "", "POST /auth/user/emailpass/register", `{"email":"x@example.com","password":"correct horse","password":"another horse"}`, 400, malformed},
	{"a body too long", "", "POST /auth/user/emailpass/register", `{"pad":"` + strings.Repeat("x", 64<<10) + `"}`, 413,
		`{"type":"unknown_error","message":"request entity too large","reason":"body_too_large"}`},
	{"provider without registration", "", "POST /auth/user/vouching/register", `{"name":"x"}`, 401,
		problem("unauthorized", "Registration not implemented for provider vouching", "provider_unsupported")},
}

var signingIn = []fixture{
	{"right password", "", "POST /auth/user/emailpass", credentials("ada@example.com", password), 200, token},
	{"first sign-in of somebody registered", "", "POST /auth/user/emailpass", credentials("nina@example.com", password), 200, token},
	{"address in another spelling", "", "POST /auth/user/emailpass", credentials("Ada@EXAMPLE.com", password), 200, token},
	{"wrong password", "", "POST /auth/user/emailpass", credentials("ada@example.com", "another horse"), 401, wrong("Invalid email or password")},
	{"password with a blank more", "", "POST /auth/user/emailpass", credentials("ada@example.com", password+" "), 401, wrong("Invalid email or password")},
	{"unknown address", "", "POST /auth/user/emailpass", credentials("nobody@example.com", password), 401, wrong("Invalid email or password")},
	{"nonsense for an address", "", "POST /auth/user/emailpass", credentials("not-an-email", password), 401, wrong("Invalid email or password")},
	{"short password", "", "POST /auth/user/emailpass", credentials("ada@example.com", "7 chars"), 401, wrong("Invalid email or password")},
	{"long password", "", "POST /auth/user/emailpass", credentials("ada@example.com", strings.Repeat("x", 257)), 401, wrong("Invalid email or password")},
	{"no body", "", "POST /auth/user/emailpass", "", 401, wrong("Password should be a string")},
	{"no password", "", "POST /auth/user/emailpass", `{"email":"ada@example.com"}`, 401, wrong("Password should be a string")},
	{"operators for a password", "", "POST /auth/user/emailpass", `{"email":"ada@example.com","password":{"$ne":""}}`, 401, wrong("Password should be a string")},
	{"no address", "", "POST /auth/user/emailpass", `{"password":"correct horse"}`, 401, wrong("Email should be a string")},
	{"address an object", "", "POST /auth/user/emailpass", `{"email":{"$ne":""},"password":"correct horse"}`, 401, wrong("Email should be a string")},
	{"credentials in the query", "", "POST /auth/user/emailpass?email=ada@example.com&password=correct%20horse", "", 401, wrong("Password should be a string")},
	{"by GET", "", "GET /auth/user/emailpass?email=ada@example.com&password=correct%20horse", "", 405, otherMethod},
	{"by GET with a body", "", "GET /auth/user/emailpass", credentials("ada@example.com", password), 405, otherMethod},
	{"unknown provider", "", "POST /auth/user/nope", credentials("ada@example.com", password), 400,
		problem("not_allowed", "The actor type user is not allowed to use the auth provider nope", "provider_not_allowed")},
	{"unknown actor type", "", "POST /auth/customer/emailpass", credentials("ada@example.com", password), 400,
		problem("not_allowed", `There is no actor type \"customer\".`, "unknown_actor_type")},
	{"somebody who has to wait is told why", "", "POST /auth/user/vouching", `{"name":"nameless"}`, 200,
		`{"token":"<token>","link":{"reason":"email_required","message":"This sign-in came without an e-mail address, and an account needs one.",` +
			`"next":"Sign in with a provider that passes on your address, or open an invite."}}`},
	{"an address that is taken", "", "POST /auth/user/vouching", `{"name":"impostor","email":"ada@example.com"}`, 200,
		`{"token":"<token>","link":{"reason":"verify_email","message":"An account with this e-mail address exists, and that the address is yours is not proved.",` +
			`"next":"Have a link mailed that proves it, sign in the way you did before, or reset the password by mail."}}`},
}

var listingProviders = []fixture{
	{"of users", "", "GET /auth/user/providers", "", 200,
		`{"providers":[{"id":"emailpass","identifier":"emailpass","display_name":"Email/Password Authentication","flow":"credentials"},` +
			`{"id":"vouching","identifier":"vouching","display_name":"vouching","flow":"credentials"}]}`},
	{"of an unknown actor type", "", "GET /auth/alien/providers", "", 400, problem("not_allowed", `There is no actor type \"alien\".`, "unknown_actor_type")},
	{"health", "", "GET /health", "", 200, `{"status":"ok"}`},
}

func sessionJSON(actor, app string) string {
	return `{"user":{"actor_id":"` + actor + `","actor_type":"user","auth_identity_id":"<authid id>","auth_provider":"emailpass",` +
		`"mfa_enabled":false,"mfa_challenge_completed_at":null,"app_metadata":` + app + `,"user_metadata":{},"iat":<n>,"exp":<n>,` +
		`"iss":"latchkey","aud":"latchkey","sid":"<authsess id>","ver":1,"use":"access"}}`
}

var sessions = []fixture{
	{"session without a token", "", "POST /auth/session", "", 401, unauthorized},
	{"session of a user", "member", "POST /auth/session", "", 200, sessionJSON("{member}", `{"roles":["member"],"user_id":"{member}"}`)},
	{"session of somebody who is nobody yet", "newcomer", "POST /auth/session", "", 200, sessionJSON("", "{}")},
	{"session does not look at the body", "member", "POST /auth/session", "{", 200, sessionJSON("{member}", `{"roles":["member"],"user_id":"{member}"}`)},
	{"refresh without a token", "", "POST /auth/token/refresh", "", 401, unauthorized},
	{"refresh with nonsense", "nonsense", "POST /auth/token/refresh", "", 401, unauthorized},
	{"refresh of a user", "member", "POST /auth/token/refresh", "", 200, token},
	{"refresh of somebody who is nobody yet", "newcomer", "POST /auth/token/refresh", "", 200, token},
	{"refresh does not look at the body", "member", "POST /auth/token/refresh", "[", 200, token},
	{"sign-out without a token", "", "DELETE /auth/session", "", 401, unauthorized},
	{"sign-out", "member", "DELETE /auth/session", "", 200, `{"success":true}`},
	{"sign-out again", "member", "DELETE /auth/session", "", 401, unauthorized},
	{"sign-out of somebody who is nobody yet", "newcomer", "DELETE /auth/session", "", 200, `{"success":true}`},
}

const noPlace = "Invalid request: after must be the next of an answer to the same list in the same order, or empty to begin"

var usersRoutes = []fixture{
	{"list without a token", "", "GET /admin/users", "", 401, unauthorized},
	{"list with nonsense", "nonsense", "GET /admin/users", "", 401, unauthorized},
	{"list by somebody who is nobody yet", "newcomer", "GET /admin/users", "", 401, unauthorized},
	{"list by a member", "member", "GET /admin/users", "", 403, forbidden},
	{"list", "admin", "GET /admin/users", "", 200, `{"users":[` + adminJSON + "," + memberJSON + `],"count":2,"offset":0,"limit":50}`},
	{"empty page", "admin", "GET /admin/users?q=nobody", "", 200, `{"users":[],"count":0,"offset":0,"limit":50}`},
	{"list by what was searched", "admin", "GET /admin/users?q=ADA&fields=email", "", 200, `{"users":[{"email":"ada@example.com","id":"{member}"}],"count":1,"offset":0,"limit":50}`},
	{"list by a sign that is none of a pattern", "admin", "GET /admin/users?q=%25", "", 200, `{"users":[],"count":0,"offset":0,"limit":50}`},
	{"list by operators", "admin", "GET /admin/users?created_at[$gte]=2020-01-01&$or[0][email]=ada@example.com&$or[1][first_name]=Bob&fields=id", "", 200,
		`{"users":[{"id":"{member}"}],"count":1,"offset":0,"limit":50}`},
	{"page of a list", "admin", "GET /admin/users?limit=1&offset=1&order=-email&fields=email", "", 200, `{"users":[{"email":"ada@example.com","id":"{member}"}],"count":2,"offset":1,"limit":1}`},
	{"list by roles", "admin", "GET /admin/users?roles[]=admin&roles[]=nobodys&fields=email", "", 200, `{"users":[{"email":"admin@example.com","id":"{admin}"}],"count":1,"offset":0,"limit":50}`},
	{"list by place, to its end", "admin", "GET /admin/users?after=&order=-email&fields=email", "", 200,
		`{"users":[{"email":"admin@example.com","id":"{admin}"},{"email":"ada@example.com","id":"{member}"}],"limit":50}`},
	{"list from its end", "admin", "GET /admin/users?before=&order=-email&fields=email", "", 200,
		`{"users":[{"email":"admin@example.com","id":"{admin}"},{"email":"ada@example.com","id":"{member}"}],"limit":50}`},
	{"list by status", "admin", "GET /admin/users?status=active&order=-email&fields=email&after=", "", 200,
		`{"users":[{"email":"admin@example.com","id":"{admin}"},{"email":"ada@example.com","id":"{member}"}],"limit":50}`},
	{"list of the deactivated", "admin", "GET /admin/users?status=deactivated", "", 200, `{"users":[],"count":0,"offset":0,"limit":50}`},
	{"list by a status that is none", "admin", "GET /admin/users?status=gone", "", 400,
		problem("invalid_data", "Invalid request: status must be one of active, deactivated, deleted", "query_invalid")},
	{"list behind one place and before another", "admin", "GET /admin/users?after=&before=", "", 400, invalid("after and before cannot be given together")},
	{"list behind nonsense", "admin", "GET /admin/users?after=nonsense", "", 400, problem("invalid_data", noPlace, "cursor_invalid")},
	{"list behind a place and an offset", "admin", "GET /admin/users?after=&offset=0", "", 400, invalid("after and offset cannot be given together")},
	{"list of nobody behind a place", "admin", "GET /admin/users?after=&limit=0", "", 400, invalid("limit must be at least 1 together with after")},
	{"list of a negative limit", "admin", "GET /admin/users?limit=-1", "", 400, invalid("limit must not be negative")},
	{"list of a word for a limit", "admin", "GET /admin/users?limit=abc", "", 400, invalid("Expected type: 'number' for field 'limit', got: 'string'")},
	{"list of more than a page holds", "admin", "GET /admin/users?limit=1001", "", 400, invalid("limit must be at most 1000")},
	{"list of a negative offset", "admin", "GET /admin/users?offset=-1", "", 400, invalid("offset must not be negative")},
	{"list in an order there is not", "admin", "GET /admin/users?order=shoe_size", "", 400,
		problem("invalid_data", "Invalid request: order must be one of id, email, first_name, last_name, created_at, updated_at, deleted_at, with - before it for descending", "order_unknown")},
	{"list by a date that is none", "admin", "GET /admin/users?created_at[$gt]=yesterday", "", 400, invalid("'created_at[$gt]' must be a time such as 2026-01-31, 2026-01-31T12:00:00.000Z or 2026-01-31T12:00:00+01:00, with + written as %2B")},
	{"list by an operator that is none", "admin", "GET /admin/users?created_at[$foo]=2020-01-01", "", 400, invalid("Unrecognized operator 'created_at[$foo]': use $eq, $ne, $in, $nin, $gt, $gte, $lt or $lte")},
	{"list by what is no parameter", "admin", "GET /admin/users?shoe_size=1", "", 400, invalid("Unrecognized fields: 'shoe_size'; use status, with_deleted, limit, offset, after, before, order, fields, $and, $or, created_at, deactivated_at, deleted_at, email, first_name, id, last_name, q, roles, updated_at")},
	{"me without a token", "", "GET /admin/users/me", "", 401, unauthorized},
	{"me for somebody who is nobody yet", "newcomer", "GET /admin/users/me", "", 401, unauthorized},
	{"me", "admin", "GET /admin/users/me", "", 200, `{"user":` + adminJSON + `}`},
	{"me for a member", "member", "GET /admin/users/me", "", 200, `{"user":` + memberJSON + `}`},
	{"me with what is hidden by default", "member", "GET /admin/users/me?fields=%2Broles,%2Bemail_verified_at,%2Bdeactivated_at", "", 200,
		`{"user":` + strings.TrimSuffix(memberJSON, "}") + `,"roles":["member"],"email_verified_at":null,"deactivated_at":null}}`},
	{"with plus signs as they are", "admin", "GET /admin/users/me?fields=+roles,+email_verified_at", "", 200,
		`{"user":` + strings.TrimSuffix(adminJSON, "}") + `,"roles":["admin"],"email_verified_at":"<time>"}}`},
	{"only some fields", "member", "GET /admin/users/me?fields=email,roles", "", 200, `{"user":{"email":"ada@example.com","roles":["member"],"id":"{member}"}}`},
	{"in the order asked for", "member", "GET /admin/users/me?fields=id,email,first_name", "", 200, `{"user":{"id":"{member}","email":"ada@example.com","first_name":null}}`},
	{"without some fields", "member", "GET /admin/users/me?fields=-metadata,-created_at,-updated_at,-deleted_at,-avatar_url", "", 200,
		`{"user":{"id":"{member}","first_name":null,"last_name":null,"email":"ada@example.com"}}`},
	{"all fields there are by default", "member", "GET /admin/users/me?fields=*", "", 200, `{"user":` + memberJSON + `}`},
	{"unknown fields are passed over", "member", "GET /admin/users/me?fields=password,secret", "", 200, `{"user":{"id":"{member}"}}`},
	{"unknown parameter", "member", "GET /admin/users/me?field=id", "", 400, invalid("Unrecognized fields: 'field'; use fields")},

	{"own names without a token", "", "POST /admin/users/me/profile", `{"first_name":"Ada"}`, 401, unauthorized},
	{"own names for somebody who is nobody yet", "newcomer", "POST /admin/users/me/profile", `{"first_name":"Ada"}`, 401, unauthorized},
	{"own names", "member", "POST /admin/users/me/profile", `{"first_name":"Ada","last_name":"L."}`, 200,
		`{"user":` + userJSON("{member}", "ada@example.com", `"Ada"`, `"L."`, "null") + `}`},
	{"one of them goes, and what is not sent stays", "member", "POST /admin/users/me/profile?fields=first_name,last_name", `{"last_name":null}`, 200, `{"user":{"first_name":"Ada","last_name":null,"id":"{member}"}}`},
	{"nothing of oneself", "member", "POST /admin/users/me/profile?fields=first_name", `{}`, 200, `{"user":{"first_name":"Ada","id":"{member}"}}`},
	{"back", "member", "POST /admin/users/me/profile", `{"first_name":null}`, 200, `{"user":` + memberJSON + `}`},
	{"of oneself what is not one's own to say", "member", "POST /admin/users/me/profile", `{"first_name":"Ada","metadata":{"plan":"gold"},"roles":["admin"],"email":"x@example.com"}`, 400,
		invalid("Unrecognized fields: 'metadata', 'roles', 'email'")},
	{"a name that is none", "member", "POST /admin/users/me/profile", `{"first_name":7}`, 400, invalid("Expected type: 'string' for field 'first_name', got: '7'")},
	{"own names with an unknown parameter", "member", "POST /admin/users/me/profile?x=y", `{"first_name":"Eve"}`, 400, invalid("Unrecognized fields: 'x'; use fields")},

	{"delete oneself without a token", "", "POST /admin/users/me/delete", withCurrent, 401, unauthorized},
	{"delete oneself as somebody who is nobody yet", "newcomer", "POST /admin/users/me/delete", withCurrent, 401, unauthorized},
	{"delete oneself without the password", "member", "POST /admin/users/me/delete", `{}`, 400, invalid("Field 'current_password' is required")},
	{"delete oneself with a wrong password", "member", "POST /admin/users/me/delete", `{"current_password":"wrong horse"}`, 401, wrong("The current password is not right")},
	{"delete oneself with something else", "member", "POST /admin/users/me/delete", `{"current_password":"` + password + `","id":"{admin}"}`, 400, invalid("Unrecognized fields: 'id'")},
	{"delete oneself with an unknown parameter", "member", "POST /admin/users/me/delete?id={admin}", withCurrent, 400, invalid("Unrecognized fields: 'id'")},
	{"the last administrator deletes themselves", "admin", "POST /admin/users/me/delete", withCurrent, 400, problem("not_allowed", "This is the last administrator. Make somebody else one first.", "last_admin")},
	{"me is no id to delete", "member", "DELETE /admin/users/me", "", 403, forbidden},
	{"me is no id to delete, of an admin's", "admin", "DELETE /admin/users/me", "", 400, problem("not_allowed", "A user cannot delete itself", "self_delete")},

	{"somebody", "admin", "GET /admin/users/{member}", "", 200, `{"user":` + memberJSON + `}`},
	{"themselves, by a member", "member", "GET /admin/users/{member}", "", 403, forbidden},
	{"update of oneself, by a member", "member", "POST /admin/users/{member}", `{"first_name":"Eve"}`, 403, forbidden},
	{"somebody else", "member", "GET /admin/users/{admin}", "", 403, forbidden},
	{"somebody unknown, by a member", "member", "GET /admin/users/user_none", "", 403, forbidden},
	{"somebody without a token", "", "GET /admin/users/{member}", "", 401, unauthorized},
	{"somebody unknown", "admin", "GET /admin/users/user_none", "", 404, problem("not_found", "User with id: user_none was not found", "user_not_found")},
	{"only some fields of somebody", "admin", "GET /admin/users/{member}?fields=email", "", 200, `{"user":{"email":"ada@example.com","id":"{member}"}}`},
	{"unknown parameter for somebody", "admin", "GET /admin/users/{member}?limit=1", "", 400, invalid("Unrecognized fields: 'limit'; use fields")},

	{"create by POST", "admin", "POST /admin/users", `{"email":"x@example.com"}`, 405, otherMethod},
	{"update without a token", "", "POST /admin/users/{member}", `{"first_name":"Eve"}`, 401, unauthorized},
	{"update of somebody else", "member", "POST /admin/users/{admin}", `{"first_name":"Eve"}`, 403, forbidden},
	{"update of somebody unknown", "admin", "POST /admin/users/user_none", `{"first_name":"Eve"}`, 404,
		problem("not_found", `User with id \"user_none\" not found`, "user_not_found")},
	{"delete of me", "admin", "DELETE /admin/users/me", "", 400, problem("not_allowed", "A user cannot delete itself", "self_delete")},
	{"update of me", "admin", "POST /admin/users/me", `{"first_name":"Eve"}`, 404, problem("not_found", `User with id \"me\" not found`, "user_not_found")},
	{"update", "admin", "POST /admin/users/{member}", `{"first_name":"Ada","last_name":"","metadata":{"b":1,"a":{"x":[true,null]}}}`, 200,
		`{"user":` + userJSON("{member}", "ada@example.com", `"Ada"`, `""`, `{"a":{"x":[true,null]},"b":1}`) + `}`},
	{"update of oneself with null", "admin", "POST /admin/users/{member}", `{"first_name":null,"last_name":null,"avatar_url":null,"metadata":null}`, 200, `{"user":` + memberJSON + `}`},
	{"update showing some fields", "admin", "POST /admin/users/{member}?fields=roles", `{}`, 200, `{"user":{"roles":["member"],"id":"{member}"}}`},
	{"update with an unknown parameter", "admin", "POST /admin/users/{member}?x=y", `{"first_name":"Eve"}`, 400, invalid("Unrecognized fields: 'x'; use fields")},
	{"which has changed nothing", "member", "GET /admin/users/me", "", 200, `{"user":` + memberJSON + `}`},
	{"update of the address", "admin", "POST /admin/users/{member}", `{"email":"x@example.com"}`, 400, invalid("Unrecognized fields: 'email'")},
	{"update of roles", "admin", "POST /admin/users/{member}", `{"roles":["admin"],"deactivated_at":null}`, 400, invalid("Unrecognized fields: 'roles', 'deactivated_at'")},
	{"update with a number for a name", "admin", "POST /admin/users/{member}", `{"first_name":5}`, 400, invalid("Expected type: 'string' for field 'first_name', got: '5'")},
	{"update with a truth for a name", "admin", "POST /admin/users/{member}", `{"first_name":true}`, 400, invalid("Expected type: 'string' for field 'first_name', got: 'true'")},
	{"update with an object for a name", "admin", "POST /admin/users/{member}", `{"first_name":{}}`, 400, invalid("Expected type: 'string' for field 'first_name', got: '[object Object]'")},
	{"update with a list for metadata", "admin", "POST /admin/users/{member}", `{"metadata":[]}`, 400, invalid("Expected type: 'record' for field 'metadata', got: 'array'")},
	{"update with at most three complaints", "admin", "POST /admin/users/{member}", `{"first_name":1,"last_name":2,"avatar_url":3,"metadata":4,"x":5}`, 400,
		invalid("Expected type: 'string' for field 'first_name', got: '1'; Expected type: 'string' for field 'last_name', got: '2'; Expected type: 'string' for field 'avatar_url', got: '3'")},

	{"providers of somebody without a token", "", "GET /admin/users/{member}/auth-providers", "", 401, unauthorized},
	{"providers of oneself by a member", "member", "GET /admin/users/{member}/auth-providers", "", 403, forbidden},
	{"providers of somebody", "admin", "GET /admin/users/{member}/auth-providers", "", 200, `{"providers":["emailpass"]}`},
	{"providers of somebody unknown", "admin", "GET /admin/users/user_none/auth-providers", "", 200, `{"providers":[]}`},
	{"ways of somebody without a token", "", "GET /admin/users/{member}/provider-identities", "", 401, unauthorized},
	{"ways of oneself by a member", "member", "GET /admin/users/{member}/provider-identities", "", 403, forbidden},
	{"ways of somebody", "admin", "GET /admin/users/{member}/provider-identities", "",
		200, `{"provider_identities":[{"id":"<bare id>","provider":"emailpass","display_name":"Email/Password Authentication","entity_id":"ada@example.com","email":"ada@example.com","email_verified_at":null,"created_at":"<time>"}]}`},
	{"ways of somebody unknown", "admin", "GET /admin/users/user_none/provider-identities", "", 200, `{"provider_identities":[]}`},
	{"unknown parameter for ways of somebody", "admin", "GET /admin/users/{member}/provider-identities?limit=1", "", 400, invalid("Unrecognized fields: 'limit'; use fields")},
	{"unknown parameter for providers", "admin", "GET /admin/users/{member}/auth-providers?limit=1", "", 400, invalid("Unrecognized fields: 'limit'")},
	{"roles without a token", "", "GET /admin/users/{member}/roles", "", 401, unauthorized},
	{"roles of oneself by a member", "member", "GET /admin/users/{member}/roles", "", 403, forbidden},
	{"roles", "admin", "GET /admin/users/{admin}/roles", "", 200, `{"roles":[{"id":"admin","name":"admin"}],"count":1,"offset":0,"limit":50}`},
	{"roles of somebody unknown", "admin", "GET /admin/users/user_none/roles", "", 404, problem("not_found", "User with id: user_none was not found", "user_not_found")},
	{"roles in an order there is not", "admin", "GET /admin/users/{member}/roles?order=rank", "", 400, invalid("order must be one of id, name, with - before it for descending")},
	{"roles by what is no parameter", "admin", "GET /admin/users/{member}/roles?q=x", "", 400, invalid("Unrecognized fields: 'q'; use limit, offset, order, fields")},
	{"add roles without a token", "", "POST /admin/users/{member}/roles", `{"roles":["admin"]}`, 401, unauthorized},
	{"add roles to oneself by a member", "member", "POST /admin/users/{member}/roles", `{"roles":["admin"]}`, 403, forbidden},
	{"add roles", "admin", "POST /admin/users/{member}/roles", `{"roles":["writer","editor","writer","member"]}`, 200,
		`{"roles":[{"id":"editor","name":"editor"},{"id":"member","name":"member"},{"id":"writer","name":"writer"}]}`},
	{"add no roles", "admin", "POST /admin/users/{member}/roles?fields=id", `{"roles":[]}`, 200, `{"roles":[{"id":"editor"},{"id":"member"},{"id":"writer"}]}`},
	{"add roles to somebody unknown", "admin", "POST /admin/users/user_none/roles", `{"roles":["editor"]}`, 404, problem("not_found", `User with id \"user_none\" not found`, "user_not_found")},
	{"add roles without any", "admin", "POST /admin/users/{member}/roles", `{}`, 400, invalid("Field 'roles' is required")},
	{"add roles and more", "admin", "POST /admin/users/{member}/roles", `{"roles":["x"],"via":"cli"}`, 400, invalid("Unrecognized fields: 'via'")},
	{"add a role that is none", "admin", "POST /admin/users/{member}/roles", `{"roles":["x","a b"]}`, 400, problem("invalid_data", "A role must be a name of 1 to 64 bytes, without spaces and commas.", "user_invalid", "roles")},
	{"roles from the end", "admin", "GET /admin/users/{member}/roles?order=-name&limit=2&offset=1", "", 200,
		`{"roles":[{"id":"member","name":"member"},{"id":"editor","name":"editor"}],"count":3,"offset":1,"limit":2}`},
	{"roles beyond the end", "admin", "GET /admin/users/{member}/roles?offset=9&limit=0", "", 200, `{"roles":[],"count":3,"offset":9,"limit":0}`},
	{"remove roles without a token", "", "DELETE /admin/users/{member}/roles", `{"roles":["editor"]}`, 401, unauthorized},
	{"remove roles by a member", "member", "DELETE /admin/users/{admin}/roles", `{"roles":["admin"]}`, 403, forbidden},
	{"remove roles", "admin", "DELETE /admin/users/{member}/roles", `{"roles":["writer","never"]}`, 200, `{"ids":["writer","never"],"object":"user_role","deleted":true}`},
	{"remove roles of somebody unknown", "admin", "DELETE /admin/users/user_none/roles", `{"roles":["editor"]}`, 404, problem("not_found", `User with id \"user_none\" not found`, "user_not_found")},
	{"remove roles without any", "admin", "DELETE /admin/users/{member}/roles", "", 400, invalid("Field 'roles' is required")},
	{"remove a role without a token", "", "DELETE /admin/users/{member}/roles/editor", "", 401, unauthorized},
	{"remove a role by a member", "member", "DELETE /admin/users/{admin}/roles/admin", "", 403, forbidden},
	{"remove a role", "admin", "DELETE /admin/users/{member}/roles/editor", "", 200, `{"id":"editor","object":"user_role","deleted":true}`},
	{"remove a role again", "admin", "DELETE /admin/users/{member}/roles/editor", "", 200, `{"id":"editor","object":"user_role","deleted":true}`},
	{"remove a role of somebody unknown", "admin", "DELETE /admin/users/user_none/roles/editor", "", 404, problem("not_found", `User with id \"user_none\" not found`, "user_not_found")},
	{"remove a role that is none", "admin", "DELETE /admin/users/{member}/roles/a%20b", "", 400, problem("invalid_data", "A role must be a name of 1 to 64 bytes, without spaces and commas.", "user_invalid", "roles")},
	{"remove the last admin's role", "admin", "DELETE /admin/users/{admin}/roles/admin", "", 400,
		problem("not_allowed", "This is the last administrator. Make somebody else one first.", "last_admin")},
	{"remove the last admin's role among others", "admin", "DELETE /admin/users/{admin}/roles", `{"roles":["member","admin"]}`, 400,
		problem("not_allowed", "This is the last administrator. Make somebody else one first.", "last_admin")},
	{"which has left the roles", "admin", "GET /admin/users/{member}/roles?fields=name", "", 200, `{"roles":[{"name":"member","id":"member"}],"count":1,"offset":0,"limit":50}`},

	{"delete without a token", "", "DELETE /admin/users/{member}", "", 401, unauthorized},
	{"delete by a member", "member", "DELETE /admin/users/{admin}", "", 403, forbidden},
	{"delete of oneself by a member", "member", "DELETE /admin/users/{member}", "", 403, forbidden},
	{"delete of oneself", "admin", "DELETE /admin/users/{admin}", "", 400, problem("not_allowed", "A user cannot delete itself", "self_delete")},
	{"delete of somebody unknown", "admin", "DELETE /admin/users/user_none", "", 200, `{"id":"user_none","object":"user","deleted":true}`},
	{"delete", "admin", "DELETE /admin/users/{member}", "", 200, `{"id":"{member}","object":"user","deleted":true}`},
	{"delete of somebody deleted", "admin", "DELETE /admin/users/{member}", "", 200, `{"id":"{member}","object":"user","deleted":true}`},
	{"somebody deleted", "admin", "GET /admin/users/{member}", "", 404, problem("not_found", "User with id: {member} was not found", "user_not_found")},
	{"update of somebody deleted", "admin", "POST /admin/users/{member}", `{}`, 404, problem("not_found", `User with id \"{member}\" not found`, "user_not_found")},
	{"list without the deleted", "admin", "GET /admin/users", "", 200, `{"users":[` + adminJSON + `],"count":1,"offset":0,"limit":50}`},
	{"me when deleted", "member", "GET /admin/users/me", "", 401, unauthorized},
}

// The scene of these has another admin, {second}, and somebody who leaves, {leaver}.
var lifecycle = []fixture{
	{"deactivate without a token", "", "POST /admin/users/{member}/deactivate", "", 401, unauthorized},
	{"deactivate by a member", "member", "POST /admin/users/{admin}/deactivate", "", 403, forbidden},
	{"deactivate of oneself by a member", "member", "POST /admin/users/{member}/deactivate", "", 403, forbidden},
	{"deactivate of oneself", "admin", "POST /admin/users/{admin}/deactivate", "", 400, problem("not_allowed", "A user cannot deactivate itself", "self_deactivate")},
	{"deactivate of somebody unknown", "admin", "POST /admin/users/user_none/deactivate", "", 404, problem("not_found", "User with id: user_none was not found", "user_not_found")},
	{"deactivate with an unknown parameter", "admin", "POST /admin/users/{member}/deactivate?x=y", "", 400, invalid("Unrecognized fields: 'x'; use fields")},
	{"which has changed nothing", "member", "GET /admin/users/me?fields=deactivated_at", "", 200, `{"user":{"deactivated_at":null,"id":"{member}"}}`},
	{"deactivate", "admin", "POST /admin/users/{member}/deactivate?fields=email,deactivated_at", "", 200, `{"user":{"email":"ada@example.com","deactivated_at":"<time>","id":"{member}"}}`},
	{"deactivate again", "admin", "POST /admin/users/{member}/deactivate", "", 200, `{"user":` + memberJSON + `}`},
	{"me when deactivated", "member", "GET /admin/users/me", "", 401, unauthorized},
	{"sign in when deactivated", "", "POST /auth/user/emailpass", credentials("ada@example.com", password), 403,
		problem("forbidden", "This account is deactivated. Ask an administrator.", "user_deactivated")},
	{"sign in when deactivated with a wrong password", "", "POST /auth/user/emailpass", credentials("ada@example.com", "another horse"), 401, wrong("Invalid email or password")},
	{"reactivate without a token", "", "POST /admin/users/{member}/reactivate", "", 401, unauthorized},
	{"reactivate of oneself when deactivated", "member", "POST /admin/users/{member}/reactivate", "", 401, unauthorized},
	{"reactivate of somebody unknown", "admin", "POST /admin/users/user_none/reactivate", "", 404, problem("not_found", "User with id: user_none was not found", "user_not_found")},
	{"reactivate", "admin", "POST /admin/users/{member}/reactivate?fields=deactivated_at", "", 200, `{"user":{"deactivated_at":null,"id":"{member}"}}`},
	{"reactivate again", "admin", "POST /admin/users/{member}/reactivate", "{", 200, `{"user":` + memberJSON + `}`},
	{"sign in when reactivated", "", "POST /auth/user/emailpass", credentials("ada@example.com", password), 200, token},
	{"what the token of before does not do", "member", "GET /admin/users/me", "", 401, unauthorized},

	{"restore without a token", "", "POST /admin/users/{member}/restore", "", 401, unauthorized},
	{"restore of somebody unknown", "admin", "POST /admin/users/user_none/restore", "", 404, problem("not_found", "User with id: user_none was not found", "user_not_found")},
	{"restore of who is not deleted", "admin", "POST /admin/users/{member}/restore", "", 200, `{"user":` + memberJSON + `}`},
	{"deactivate another admin", "admin", "POST /admin/users/{second}/deactivate?fields=id", "", 200, `{"user":{"id":"{second}"}}`},
	{"delete", "admin", "DELETE /admin/users/{member}", "", 200, `{"id":"{member}","object":"user","deleted":true}`},
	{"deactivate of who is deleted", "admin", "POST /admin/users/{member}/deactivate", "", 404, problem("not_found", "User with id: {member} was not found", "user_not_found")},
	{"restore", "admin", "POST /admin/users/{member}/restore", "", 200, `{"user":` + memberJSON + `}`},
	{"sign in when restored", "", "POST /auth/user/emailpass", credentials("ada@example.com", password), 401, wrong("Invalid email or password")},
	{"delete again", "admin", "DELETE /admin/users/{member}", "", 200, `{"id":"{member}","object":"user","deleted":true}`},
	{"start over with the address", "", "POST /auth/user/emailpass/register", credentials("ada@example.com", password), 200, token},
	{"as another user", "", "POST /auth/user/emailpass", credentials("ada@example.com", password), 200, token},
	{"restore onto an address that is taken", "admin", "POST /admin/users/{member}/restore", "", 409,
		`{"code":"invalid_state_error","type":"conflict","message":"Another user has the e-mail address of this one by now. Delete that one first, or leave this one deleted.","reason":"email_taken"}`},
	{"delete oneself", "leaver", "POST /admin/users/me/delete", withCurrent, 200, `{"id":"{leaver}","object":"user","deleted":true}`},
	{"delete oneself again", "leaver", "POST /admin/users/me/delete", withCurrent, 401, unauthorized},
	{"restore who has deleted themselves", "admin", "POST /admin/users/{leaver}/restore?fields=email", "", 200, `{"user":{"email":"leaver@example.com","id":"{leaver}"}}`},
	{"which has left them deleted", "admin", "GET /admin/users/{member}", "", 404, problem("not_found", "User with id: {member} was not found", "user_not_found")},
}

// The scene of these has invites: {open}, {expired}, {withdrawn} …, made by inviteScene.
var invitesRoutes = []fixture{
	{"list without a token", "", "GET /admin/invites", "", 401, unauthorized},
	{"list by a member", "member", "GET /admin/invites", "", 403, forbidden},
	{"list of open ones, the expired among them", "admin", "GET /admin/invites", "", 200,
		`{"invites":[` + inviteJSON("{open}", "open@example.com", `{"team":"blue"}`) + "," + inviteJSON("{expired}", "expired@example.com", "null") + "," +
			inviteJSON("{stale}", "stale@example.com", "null") + "," + inviteJSON("{other}", "other@example.com", "null") + "," + inviteJSON("{doomed}", "doomed@example.com", "null") + "," +
			inviteJSON("{taken}", "taken@example.com", "null") + `],"count":6,"offset":0,"limit":50}`},
	{"list by addresses", "admin", "GET /admin/invites?email[]=open@example.com&email[]=other@example.com&q=OPEN&fields=email", "", 200,
		`{"invites":[{"email":"open@example.com","id":"{open}"}],"count":1,"offset":0,"limit":50}`},
	{"list by operators", "admin", "GET /admin/invites?$and[0][created_at][$gte]=2020-01-01&$or[0][id]={open}&$or[1][email]=nobody@example.com&fields=id", "", 200,
		`{"invites":[{"id":"{open}"}],"count":1,"offset":0,"limit":50}`},
	{"list by an operator that is none", "admin", "GET /admin/invites?expires_at[$foo]=2020-01-01", "", 400, invalid("Unrecognized operator 'expires_at[$foo]': use $eq, $ne, $in, $nin, $gt, $gte, $lt or $lte")},
	{"list by what is no parameter", "admin", "GET /admin/invites?first_name=x", "", 400, invalid("Unrecognized fields: 'first_name'; use accepted, status, with_deleted, limit, offset, after, before, order, fields, $and, $or, created_at, deleted_at, email, expires_at, id, q, updated_at")},
	{"list of those that can be accepted", "admin", "GET /admin/invites?status=pending&fields=id", "", 200, `{"invites":[{"id":"{open}"},{"id":"{other}"},{"id":"{doomed}"},{"id":"{taken}"}],"count":4,"offset":0,"limit":50}`},
	{"list of the expired", "admin", "GET /admin/invites?status=expired&fields=id", "", 200, `{"invites":[{"id":"{expired}"},{"id":"{stale}"}],"count":2,"offset":0,"limit":50}`},
	{"list of those that were accepted", "admin", "GET /admin/invites?status=accepted&fields=id", "", 200, `{"invites":[],"count":0,"offset":0,"limit":50}`},
	{"list of a status that is none", "admin", "GET /admin/invites?status=open", "", 400, problem("invalid_data", "Invalid request: status must be one of pending, expired, accepted", "query_invalid")},
	{"list of a status, and accepted", "admin", "GET /admin/invites?status=pending&accepted=false", "", 400, invalid("say accepted or status, not both")},
	{"list of a status inside", "admin", "GET /admin/invites?$or[0][status]=pending", "", 400, invalid("Unrecognized fields: '$or[0][status]'; use $and, $or, created_at, deleted_at, email, expires_at, id, q, updated_at")},
	{"list of accepted ones", "admin", "GET /admin/invites?accepted=true", "", 200, `{"invites":[],"count":0,"offset":0,"limit":50}`},
	{"one without a token", "", "GET /admin/invites/{open}", "", 401, unauthorized},
	{"one by a member", "member", "GET /admin/invites/{open}", "", 403, forbidden},
	{"one", "admin", "GET /admin/invites/{open}", "", 200, `{"invite":` + inviteJSON("{open}", "open@example.com", `{"team":"blue"}`) + `}`},
	{"one with what is hidden by default", "admin", "GET /admin/invites/{open}?fields=%2Broles,%2Baccepted_at,%2Baccepted_by", "", 200,
		`{"invite":` + strings.TrimSuffix(inviteJSON("{open}", "open@example.com", `{"team":"blue"}`), "}") + `,"roles":["admin"],"accepted_at":null,"accepted_by":null}}`},
	{"only some fields", "admin", "GET /admin/invites/{open}?fields=email,roles", "", 200, `{"invite":{"email":"open@example.com","roles":["admin"],"id":"{open}"}}`},
	{"unknown parameter for one", "admin", "GET /admin/invites/{open}?q=x", "", 400, invalid("Unrecognized fields: 'q'; use fields")},
	{"one unknown", "admin", "GET /admin/invites/invite_none", "", 404, problem("not_found", "Invite with id: invite_none was not found", "invite_not_found")},
	{"one withdrawn", "admin", "GET /admin/invites/{withdrawn}", "", 404, problem("not_found", "Invite with id: {withdrawn} was not found", "invite_not_found")},
	{"accept by GET is one unknown", "admin", "GET /admin/invites/accept", "", 404, problem("not_found", "Invite with id: accept was not found", "invite_not_found")},

	{"create without a token", "", "POST /admin/invites", `{"email":"x@example.com"}`, 401, unauthorized},
	{"create by a member", "member", "POST /admin/invites", `{"email":"x@example.com"}`, 403, forbidden},
	{"create", "admin", "POST /admin/invites", `{"email":"New@Example.com","metadata":{"n":9007199254740991}}`, 200,
		`{"invite":` + inviteJSON("<invite id>", "new@example.com", `{"n":9007199254740991}`) + `}`},
	{"create for an address invited already", "admin", "POST /admin/invites", `{"email":"open@example.com"}`, 400,
		problem("invalid_data", "Invite with email: open@example.com, already exists.", "invite_exists")},
	{"create for a user who has proved the address", "admin", "POST /admin/invites", `{"email":"admin@example.com"}`, 400,
		problem("invalid_data", "User account for following email(s) already exist: admin@example.com", "user_exists")},
	{"create for a user who has not", "admin", "POST /admin/invites", `{"email":"ada@example.com"}`, 200,
		`{"invite":` + inviteJSON("<invite id>", "ada@example.com", "null") + `}`},
	{"create for an expired one renews it", "admin", "POST /admin/invites", `{"email":"expired@example.com"}`, 200,
		`{"invite":` + inviteJSON("{expired}", "expired@example.com", "null") + `}`},
	{"create for one withdrawn", "admin", "POST /admin/invites", `{"email":"withdrawn@example.com"}`, 200,
		`{"invite":` + inviteJSON("<invite id>", "withdrawn@example.com", "null") + `}`},
	{"create without roles", "admin", "POST /admin/invites?fields=roles", `{"email":"r1@example.com"}`, 200, `{"invite":{"roles":["admin"],"id":"<invite id>"}}`},
	{"create with null for roles", "admin", "POST /admin/invites?fields=roles", `{"email":"r2@example.com","roles":null,"metadata":null}`, 200, `{"invite":{"roles":["admin"],"id":"<invite id>"}}`},
	{"create with no roles", "admin", "POST /admin/invites?fields=roles", `{"email":"r3@example.com","roles":[]}`, 200, `{"invite":{"roles":["member"],"id":"<invite id>"}}`},
	{"create with roles", "admin", "POST /admin/invites?fields=roles", `{"email":"r4@example.com","roles":["member","editor","member"]}`, 200, `{"invite":{"roles":["editor","member"],"id":"<invite id>"}}`},
	{"create with a message", "admin", "POST /admin/invites?fields=message", `{"email":"m1@example.com","message":" Hello <b>you</b>,\r\nsee https://example.com/x "}`, 200,
		`{"invite":{"message":"Hello <b>you</b>,\nsee https://example.com/x","id":"<invite id>"}}`},
	{"create with null for what is optional", "admin", "POST /admin/invites?fields=message", `{"email":"m2@example.com","message":null,"expires_in":null}`, 200, `{"invite":{"message":null,"id":"<invite id>"}}`},
	{"create with a long message", "admin", "POST /admin/invites", `{"email":"r5@example.com","message":"` + strings.Repeat("é", 501) + `"}`, 400,
		problem("invalid_data", "message must be plain text of at most 500 characters and 20 lines, without control characters.", "invite_value_invalid", "message")},
	{"create with a message that turns text round", "admin", "POST /admin/invites", `{"email":"r5@example.com","message":"a\u202eb"}`, 400,
		problem("invalid_data", "message must be plain text of at most 500 characters and 20 lines, without control characters.", "invite_value_invalid", "message")},
	{"create with a number for a message", "admin", "POST /admin/invites", `{"email":"r5@example.com","message":5}`, 400, invalid("Expected type: 'string' for field 'message', got: '5'")},
	{"create for a minute", "admin", "POST /admin/invites?fields=email", `{"email":"m3@example.com","expires_in":60}`, 200, `{"invite":{"email":"m3@example.com","id":"<invite id>"}}`},
	{"create for 30 days", "admin", "POST /admin/invites?fields=email", `{"email":"m4@example.com","expires_in":2592000}`, 200, `{"invite":{"email":"m4@example.com","id":"<invite id>"}}`},
	{"create for less than a minute", "admin", "POST /admin/invites", `{"email":"r5@example.com","expires_in":59}`, 400, problem("invalid_data", "An invite can be open for 60 to 2592000 seconds.", "invite_value_invalid", "expires_in")},
	{"create for no time", "admin", "POST /admin/invites", `{"email":"r5@example.com","expires_in":0}`, 400, problem("invalid_data", "An invite can be open for 60 to 2592000 seconds.", "invite_value_invalid", "expires_in")},
	{"create for the past", "admin", "POST /admin/invites", `{"email":"r5@example.com","expires_in":-3600}`, 400, problem("invalid_data", "An invite can be open for 60 to 2592000 seconds.", "invite_value_invalid", "expires_in")},
	{"create for longer than there is time", "admin", "POST /admin/invites", `{"email":"r5@example.com","expires_in":9223372036854775807}`, 400, problem("invalid_data", "An invite can be open for 60 to 2592000 seconds.", "invite_value_invalid", "expires_in")},
	{"create for a number beyond numbers", "admin", "POST /admin/invites", `{"email":"r5@example.com","expires_in":9223372036854775808}`, 400, problem("invalid_data", "An invite can be open for 60 to 2592000 seconds.", "invite_value_invalid", "expires_in")},
	{"create for part of a second", "admin", "POST /admin/invites", `{"email":"r5@example.com","expires_in":60.5}`, 400, invalid("Field 'expires_in' must be a whole number of seconds")},
	{"create for far less than no time", "admin", "POST /admin/invites", `{"email":"r5@example.com","expires_in":-9223372036854775809}`, 400, problem("invalid_data", "An invite can be open for 60 to 2592000 seconds.", "invite_value_invalid", "expires_in")},
	{"create for roles that are no words", "admin", "POST /admin/invites", `{"email":"r5@example.com","roles":["member",null]}`, 400, invalid("Expected type: 'string' for field 'roles[1]', got: 'null'")},
	{"create for a word", "admin", "POST /admin/invites", `{"email":"r5@example.com","expires_in":"3600"}`, 400, invalid("Expected type: 'number' for field 'expires_in', got: 'string'")},
	{"create until a time", "admin", "POST /admin/invites", `{"email":"r5@example.com","expires_at":"2030-01-01"}`, 400, invalid("Unrecognized fields: 'expires_at'")},
	{"create with an empty role", "admin", "POST /admin/invites", `{"email":"r5@example.com","roles":[""]}`, 400, problem("invalid_data", "A role must be a name of 1 to 64 bytes, without spaces and commas.", "invite_value_invalid", "roles")},
	{"create with a word for roles", "admin", "POST /admin/invites", `{"email":"r5@example.com","roles":"admin"}`, 400, invalid("Expected type: 'array' for field 'roles', got: 'string'")},
	{"create without an address", "admin", "POST /admin/invites", `{}`, 400, invalid("Field 'email' is required")},
	{"create without a body", "admin", "POST /admin/invites", "", 400, invalid("Field 'email' is required")},
	{"create with null for an address", "admin", "POST /admin/invites", `{"email":null}`, 400, invalid("Expected type: 'string' for field 'email', got: 'null'")},
	{"create with nonsense for an address", "admin", "POST /admin/invites", `{"email":""}`, 400, noAddress},
	{"create with what is no field", "admin", "POST /admin/invites", `{"email":"r5@example.com","accepted":true}`, 400, invalid("Unrecognized fields: 'accepted'")},
	{"create with an unknown parameter", "admin", "POST /admin/invites?x=y", `{"email":"r5@example.com"}`, 400, invalid("Unrecognized fields: 'x'; use fields")},
	{"which has made nothing", "admin", "GET /admin/invites?email=r5@example.com", "", 200, `{"invites":[],"count":0,"offset":0,"limit":50}`},

	{"batch without a token", "", "POST /admin/invites/batch", `{"emails":["b1@example.com"]}`, 401, unauthorized},
	{"batch by a member", "member", "POST /admin/invites/batch", `{"emails":["b1@example.com"]}`, 403, forbidden},
	{"batch", "admin", "POST /admin/invites/batch?fields=email,roles,message", `{"emails":["B1@example.com","open@example.com","nonsense","admin@example.com","b1@example.com"],"roles":["member"],"message":"Hi","expires_in":3600}`, 200,
		`{"invites":[{"email":"B1@example.com","invite":{"email":"b1@example.com","roles":["member"],"message":"Hi","id":"<invite id>"}},` +
			`{"email":"open@example.com","error":` + problem("invalid_data", "Invite with email: open@example.com, already exists.", "invite_exists") + `},` +
			`{"email":"nonsense","error":` + noAddress + `},` +
			`{"email":"admin@example.com","error":` + problem("invalid_data", "User account for following email(s) already exist: admin@example.com", "user_exists") + `},` +
			`{"email":"b1@example.com","error":` + problem("invalid_data", "Invite with email: b1@example.com, already exists.", "invite_exists") + `}]}`},
	{"batch by default", "admin", "POST /admin/invites/batch?fields=roles", `{"emails":["b2@example.com"],"roles":null,"metadata":{"a":1}}`, 200, `{"invites":[{"email":"b2@example.com","invite":{"roles":["admin"],"id":"<invite id>"}}]}`},
	{"batch of one, in full", "admin", "POST /admin/invites/batch", `{"emails":["b3@example.com"]}`, 200, `{"invites":[{"email":"b3@example.com","invite":` + inviteJSON("<invite id>", "b3@example.com", "null") + `}]}`},
	{"batch of nobody", "admin", "POST /admin/invites/batch", `{"emails":[]}`, 200, `{"invites":[]}`},
	{"batch without addresses", "admin", "POST /admin/invites/batch", `{"email":"b4@example.com"}`, 400, invalid("Field 'emails' is required; Unrecognized fields: 'email'")},
	{"batch of a word", "admin", "POST /admin/invites/batch", `{"emails":"b4@example.com"}`, 400, invalid("Expected type: 'array' for field 'emails', got: 'string'")},
	{"batch of what are no words", "admin", "POST /admin/invites/batch", `{"emails":["b4@example.com",5]}`, 400, invalid("Expected type: 'string' for field 'emails[1]', got: '5'")},
	{"batch with what is wrong for all", "admin", "POST /admin/invites/batch", `{"emails":["nonsense","b4@example.com","b5@example.com"],"roles":[""]}`, 400, problem("invalid_data", "A role must be a name of 1 to 64 bytes, without spaces and commas.", "invite_value_invalid", "roles")},
	{"batch for too long", "admin", "POST /admin/invites/batch", `{"emails":["b4@example.com"],"expires_in":2592001}`, 400, problem("invalid_data", "An invite can be open for 60 to 2592000 seconds.", "invite_value_invalid", "expires_in")},
	{"batch of too many", "admin", "POST /admin/invites/batch", `{"emails":[` + strings.Repeat(`"b4@example.com",`, 1000) + `"b4@example.com"]}`, 400, invalid("emails must be at most 1,000 addresses")},
	{"batch of as many as there may be", "admin", "POST /admin/invites/batch?limit=1", `{"emails":[` + strings.Repeat(`"b4@example.com",`, 999) + `"b4@example.com"]}`, 400, invalid("Unrecognized fields: 'limit'; use fields")},
	{"which has made none", "admin", "GET /admin/invites?email[]=b4@example.com&email[]=b5@example.com", "", 200, `{"invites":[],"count":0,"offset":0,"limit":50}`},

	{"resend without a token", "", "POST /admin/invites/{open}/resend", "", 401, unauthorized},
	{"resend by a member", "member", "POST /admin/invites/{open}/resend", "", 403, forbidden},
	{"resend", "admin", "POST /admin/invites/{open}/resend", "", 200, `{"invite":` + inviteJSON("{open}", "open@example.com", `{"team":"blue"}`) + `}`},
	{"resend does not look at the body", "admin", "POST /admin/invites/{open}/resend", "{", 200, `{"invite":` + inviteJSON("{open}", "open@example.com", `{"team":"blue"}`) + `}`},
	{"resend of one unknown", "admin", "POST /admin/invites/invite_none/resend", "", 400, problem("invalid_data", "The following invites do not exist: invite_none", "invite_not_found")},
	{"resend of one withdrawn", "admin", "POST /admin/invites/{withdrawn}/resend", "", 400, problem("invalid_data", "The following invites do not exist: {withdrawn}", "invite_not_found")},

	{"accept without a caller", "", "POST /admin/invites/accept?token={token of open}", `{}`, 401, unauthorized},
	{"accept with nonsense for a caller", "nonsense", "POST /admin/invites/accept?token={token of open}", `{}`, 401, unauthorized},
	{"accept without a token", "newcomer", "POST /admin/invites/accept", `{}`, 400, invalid("Field 'token' is required")},
	{"accept with an empty token", "newcomer", "POST /admin/invites/accept?token=", `{}`, 400, invalid("Field 'token' is required")},
	{"accept with two tokens", "newcomer", "POST /admin/invites/accept?token=a&token=b", `{}`, 400, invalid("token must be given once")},
	{"accept with the token in the body", "newcomer", "POST /admin/invites/accept", `{"token":"{token of open}"}`, 400, invalid("Unrecognized fields: 'token'")},
	{"accept with roles", "newcomer", "POST /admin/invites/accept?token={token of open}", `{"roles":["admin"]}`, 400, invalid("Unrecognized fields: 'roles'")},
	{"accept with a number for a name", "newcomer", "POST /admin/invites/accept?token={token of open}", `{"first_name":1}`, 400, invalid("Expected type: 'string' for field 'first_name', got: '1'")},
	{"accept with a token that is none", "newcomer", "POST /admin/invites/accept?token=nonsense", `{}`, 400,
		problem("invalid_data", "This invite link is not valid. Ask for a new one.", "invite_invalid")},
	{"accept with one's own access token", "newcomer", "POST /admin/invites/accept?token={token of newcomer}", `{}`, 400,
		problem("invalid_data", "This invite link is not valid. Ask for a new one.", "invite_invalid")},
	{"accept with an expired token", "newcomer", "POST /admin/invites/accept?token={token of stale}", `{}`, 400,
		problem("invalid_data", "This invite has expired. Ask for a new one.", "invite_expired")},
	{"accept with a token from before a renewal", "newcomer", "POST /admin/invites/accept?token={token of expired}", `{}`, 400,
		problem("invalid_data", "This invite was renewed. Use the newest link.", "invite_renewed")},
	{"accept with a token from before a resend", "newcomer", "POST /admin/invites/accept?token={token of open}", `{}`, 400,
		problem("invalid_data", "This invite was renewed. Use the newest link.", "invite_renewed")},
	{"accept with a withdrawn token", "newcomer", "POST /admin/invites/accept?token={token of withdrawn}", `{}`, 400,
		problem("invalid_data", "This invite was withdrawn. Ask for a new one.", "invite_revoked")},
	{"accept as another address", "newcomer", "POST /admin/invites/accept?token={token of other}", `{"email":"nina@example.com"}`, 400,
		problem("invalid_data", "The invite is for another e-mail address. Leave out email, or send the address that was invited.", "invite_email")},
	{"accept as nonsense", "newcomer", "POST /admin/invites/accept?token={token of other}", `{"email":"nonsense"}`, 400, noAddress},
	{"accept for an address that a user has proved", "newcomer", "POST /admin/invites/accept?token={token of taken}", `{}`, 400,
		problem("invalid_data", "There is an account with this address. Sign in to it and open the invite again. If it is not yours, ask whoever invited you to delete it.", "email_taken")},
	{"accept by a user of another address", "member", "POST /admin/invites/accept?token={token of other}", `{}`, 400,
		problem("invalid_data", "The user is already authenticated and cannot accept an invite.", "already_signed_in")},
	{"accept", "newcomer", "POST /admin/invites/accept?token={token of other}", `{"email":"Other@Example.com","first_name":"Nina","last_name":null}`, 200,
		`{"user":` + userJSON("<user id>", "other@example.com", `"Nina"`, "null", "null") + `}`},
	{"accept again by who has accepted", "newcomer", "POST /admin/invites/accept?token={token of other}", `{}`, 200,
		`{"user":` + userJSON("<user id>", "other@example.com", `"Nina"`, "null", "null") + `}`},
	{"accept showing some fields", "newcomer", "POST /admin/invites/accept?token={token of other}&fields=email,%2Broles,email_verified_at", `{}`, 200,
		`{"user":{"email":"other@example.com","roles":["member"],"email_verified_at":null,"id":"<user id>"}}`},
	{"accept with an unknown parameter", "newcomer", "POST /admin/invites/accept?token={token of other}&x=y", `{}`, 400, invalid("Unrecognized fields: 'x'; use token, fields")},
	{"accept again by somebody else", "second", "POST /admin/invites/accept?token={token of other}", `{}`, 400,
		problem("invalid_data", "This invite was accepted already. Sign in instead.", "invite_used")},
	{"one accepted", "admin", "GET /admin/invites/{other}?fields=email,accepted,roles", "", 200,
		`{"invite":{"email":"other@example.com","accepted":true,"roles":["member"],"id":"{other}"}}`},
	{"list of the accepted", "admin", "GET /admin/invites?accepted=true&fields=accepted", "", 200,
		`{"invites":[{"accepted":true,"id":"{other}"}],"count":1,"offset":0,"limit":50}`},
	{"list of the open", "admin", "GET /admin/invites?accepted=false&fields=accepted&email=other@example.com", "", 200, `{"invites":[],"count":0,"offset":0,"limit":50}`},
	{"resend of one accepted", "admin", "POST /admin/invites/{other}/resend", "", 400,
		problem("invalid_data", "Invite {other} was accepted already and cannot be sent again.", "invite_used")},
	{"create for the user's address, which nobody has proved", "admin", "POST /admin/invites", `{"email":"other@example.com"}`, 200,
		`{"invite":` + inviteJSON("<invite id>", "other@example.com", "null") + `}`},

	{"delete without a token", "", "DELETE /admin/invites/{expired}", "", 401, unauthorized},
	{"delete by a member", "member", "DELETE /admin/invites/{expired}", "", 403, forbidden},
	{"delete", "admin", "DELETE /admin/invites/{expired}", "", 200, `{"id":"{expired}","object":"invite","deleted":true}`},
	{"delete again", "admin", "DELETE /admin/invites/{expired}", "", 200, `{"id":"{expired}","object":"invite","deleted":true}`},
	{"delete of an open one", "admin", "DELETE /admin/invites/{doomed}", "", 200, `{"id":"{doomed}","object":"invite","deleted":true}`},
	{"accept with the token of one deleted", "second", "POST /admin/invites/accept?token={token of doomed}", `{}`, 400,
		problem("invalid_data", "This invite was withdrawn. Ask for a new one.", "invite_revoked")},
	{"list without those deleted", "admin", "GET /admin/invites?fields=email&id[]={doomed}&id[]={expired}&id[]={withdrawn}", "", 200, `{"invites":[],"count":0,"offset":0,"limit":50}`},
	{"delete of one unknown", "admin", "DELETE /admin/invites/invite_none", "", 200, `{"id":"invite_none","object":"invite","deleted":true}`},
}

var paths = []fixture{
	{"root", "", "GET /", "", 404, nothingHere},
	{"nowhere", "", "GET /nowhere", "", 404, nothingHere},
	{"two slashes", "", "GET //auth/user/providers", "", 404, nothingHere},
	{"two slashes inside", "", "GET /auth//user/providers", "", 404, nothingHere},
	{"two slashes before something else's host", "", "GET //example.com/x", "", 404, nothingHere},
	{"dots", "", "GET /auth/x/../user/providers", "", 404, nothingHere},
	{"encoded dots", "", "GET /auth/x/%2e%2e/user/providers", "", 404, nothingHere},
	{"encoded slash", "", "GET /auth/user%2Fproviders", "", 404, nothingHere},
	{"encoded slash in a segment", "", "GET /auth/us%2fer/providers", "", 404, nothingHere},
	{"NUL", "", "GET /auth/user%00/providers", "", 404, nothingHere},
	{"no UTF-8", "", "GET /auth/user%ff/providers", "", 404, nothingHere},
	{"other case", "", "GET /Auth/user/providers", "", 404, nothingHere},
	{"other case of a name", "", "GET /auth/user/Providers", "", 405, otherMethod},
	{"slash at the end", "", "GET /auth/user/providers/", "", 404, nothingHere},
	{"slash at the end of a POST", "", "POST /auth/user/emailpass/", credentials("ada@example.com", password), 404, nothingHere},
	{"half a path", "", "GET /auth", "", 404, nothingHere},
	{"POST on a list", "", "POST /auth/user/providers", `{}`, 400,
		problem("not_allowed", "The actor type user is not allowed to use the auth provider providers", "provider_not_allowed")},
	{"PUT on sign-in", "", "PUT /auth/user/emailpass", `{}`, 405, otherMethod},
	{"a method nobody knows", "", "BREW /auth/session", "", 405, otherMethod},

	{"/admin by nobody", "", "GET /admin", "", 401, unauthorized},
	{"/admin", "admin", "GET /admin", "", 404, nothingHere},
	{"beside /admin", "", "GET /administrators", "", 404, nothingHere},
	{"unknown under /admin, by nobody", "", "GET /admin/nowhere", "", 401, unauthorized},
	{"unknown under /admin, by nonsense", "nonsense", "GET /admin/nowhere", "", 401, unauthorized},
	{"unknown under /admin, by who is nobody yet", "newcomer", "GET /admin/nowhere", "", 401, unauthorized},
	{"unknown under /admin", "admin", "GET /admin/nowhere", "", 404, nothingHere},
	{"unknown under /admin, by a member", "member", "GET /admin/nowhere", "", 404, nothingHere},
	{"other method under /admin, by nobody", "", "PUT /admin/users", "", 401, unauthorized},
	{"other method under /admin", "admin", "PUT /admin/users", "", 405, otherMethod},
	{"slash at the end, by nobody", "", "GET /admin/users/", "", 401, unauthorized},
	{"slash at the end under /admin", "admin", "GET /admin/users/", "", 404, nothingHere},
	{"slash at the end of me", "admin", "GET /admin/users/me/", "", 404, nothingHere},
	{"two slashes under /admin", "admin", "GET /admin//users", "", 404, nothingHere},
	{"two slashes under /admin, by nobody", "", "GET /admin//users", "", 401, unauthorized},
	{"other case under /admin", "admin", "GET /admin/Users", "", 404, nothingHere},
	{"other case of /admin", "admin", "GET /ADMIN/users", "", 404, nothingHere},
	{"other case of me", "admin", "GET /admin/users/ME", "", 404, problem("not_found", "User with id: ME was not found", "user_not_found")},
	{"NUL in an id", "admin", "GET /admin/users/x%00y", "", 404, nothingHere},
	{"slash in an id", "admin", "GET /admin/users/x%2Fy", "", 404, nothingHere},
	{"dots for an id", "admin", "GET /admin/users/%2e%2e", "", 404, nothingHere},
	{"an id of many bytes", "admin", "DELETE /admin/invites/%C3%A9%20%27%22%3B", "", 200, `{"id":"é '\";","object":"invite","deleted":true}`},
}

const noCurrent = `{"type":"invalid_data","message":"To set a new password while you are signed in, send current_password.","reason":"current_password_missing"}`

const noToken = `{"type":"unauthorized","message":"Invalid token","reason":"reset_token_invalid"}`

// The scene has a token to reset ada's password, and one that a newer one took the place of.
var resetting = []fixture{
	{"request", "", "POST /auth/user/emailpass/reset-password", `{"identifier":"ada@example.com"}`, 201, "Created"},
	{"request in another spelling, with metadata", "", "POST /auth/user/emailpass/reset-password", `{"identifier":"Ada@Example.com","metadata":{"a":[1]}}`, 201, "Created"},
	{"request for nobody", "", "POST /auth/user/emailpass/reset-password", `{"identifier":"nobody@example.com"}`, 201, "Created"},
	{"request for nonsense", "", "POST /auth/user/emailpass/reset-password", `{"identifier":"not-an-email"}`, 201, "Created"},
	{"request for nothing", "", "POST /auth/user/emailpass/reset-password", `{"identifier":""}`, 201, "Created"},
	{"request without an identifier", "", "POST /auth/user/emailpass/reset-password", `{}`, 400, invalid("Field 'identifier' is required")},
	{"request without a body", "", "POST /auth/user/emailpass/reset-password", "", 400, invalid("Field 'identifier' is required")},
	{"request with a number for an identifier", "", "POST /auth/user/emailpass/reset-password", `{"identifier":5}`, 400, invalid("Expected type: 'string' for field 'identifier', got: '5'")},
	{"request with null for an identifier", "", "POST /auth/user/emailpass/reset-password", `{"identifier":null}`, 400, invalid("Expected type: 'string' for field 'identifier', got: 'null'")},
	{"request with a word for metadata", "", "POST /auth/user/emailpass/reset-password", `{"identifier":"x","metadata":"a"}`, 400, invalid("Expected type: 'record' for field 'metadata', got: 'string'")},
	{"request with what is no field", "", "POST /auth/user/emailpass/reset-password", `{"identifier":"x","email":"ada@example.com"}`, 400, invalid("Unrecognized fields: 'email'")},
	{"request of an unknown provider", "", "POST /auth/user/nope/reset-password", `{"identifier":"x"}`, 400,
		problem("not_allowed", "The actor type user is not allowed to use the auth provider nope", "provider_not_allowed")},
	{"request of an unknown actor type", "", "POST /auth/alien/emailpass/reset-password", `{"identifier":"x"}`, 400, problem("not_allowed", `There is no actor type \"alien\".`, "unknown_actor_type")},
	{"request of a provider without passwords", "", "POST /auth/user/vouching/reset-password", `{"identifier":"x"}`, 401,
		problem("unauthorized", "Updating the secret not implemented for provider vouching", "provider_unsupported")},

	{"update without a token", "", "POST /auth/user/emailpass/update", `{"password":"battery staple"}`, 401, noToken},
	{"update with nonsense", "nonsense", "POST /auth/user/emailpass/update", `{"password":"battery staple"}`, 401, noToken},
	{"update with an access token", "member", "POST /auth/user/emailpass/update", `{"password":"battery staple"}`, 400, noCurrent},
	{"update with an access token and nothing else", "member", "POST /auth/user/emailpass/update", "", 400, noCurrent},
	{"update with the token in the query", "", "POST /auth/user/emailpass/update?token={token of reset}", `{"password":"battery staple"}`, 401, noToken},
	{"update with a token that was superseded", "superseded", "POST /auth/user/emailpass/update", `{"password":"battery staple"}`, 401, noToken},
	{"update as an unknown actor type", "reset", "POST /auth/alien/emailpass/update", `{"password":"battery staple"}`, 400, problem("not_allowed", `There is no actor type \"alien\".`, "unknown_actor_type")},
	{"update with an unknown provider", "reset", "POST /auth/user/nope/update", `{"password":"battery staple"}`, 400,
		problem("not_allowed", "The actor type user is not allowed to use the auth provider nope", "provider_not_allowed")},
	{"update with a provider without passwords", "reset", "POST /auth/user/vouching/update", `{"password":"battery staple"}`, 401,
		problem("unauthorized", "Updating the secret not implemented for provider vouching", "provider_unsupported")},
	{"update without a body", "reset", "POST /auth/user/emailpass/update", "", 401, problem("unauthorized", "Unauthorized", "password_missing")},
	{"update without a password", "reset", "POST /auth/user/emailpass/update", `{}`, 401, problem("unauthorized", "Unauthorized", "password_missing")},
	{"update with an empty password", "reset", "POST /auth/user/emailpass/update", `{"password":""}`, 401, problem("unauthorized", "Unauthorized", "password_missing")},
	{"update with a number for a password", "reset", "POST /auth/user/emailpass/update", `{"password":12345678}`, 401, problem("unauthorized", "Unauthorized", "password_missing")},
	{"update with a short password", "reset", "POST /auth/user/emailpass/update", `{"password":"7 chars"}`, 400, problem("invalid_data", "Password is too short: at least 8 characters", "password_refused", "too_short")},
	{"update with a common password", "reset", "POST /auth/user/emailpass/update", `{"password":"Password1"}`, 400, problem("invalid_data", "Password is too common", "password_refused", "common")},
	{"update with the address as password", "reset", "POST /auth/user/emailpass/update", `{"password":"Ada@example.com","email":"other@example.com"}`, 400,
		problem("invalid_data", "Password must not be your e-mail address", "password_refused", "address")},
	{"update, whatever address the body names", "reset", "POST /auth/user/emailpass/update", `{"password":"battery staple","email":"admin@example.com","entity_id":"admin@example.com"}`, 200, `{"success":true}`},
	{"update again", "reset", "POST /auth/user/emailpass/update", `{"password":"battery staple"}`, 401, noToken},
	{"sign-in with the new password", "", "POST /auth/user/emailpass", credentials("ada@example.com", "battery staple"), 200, token},
	{"sign-in with the old password", "", "POST /auth/user/emailpass", credentials("ada@example.com", password), 401, wrong("Invalid email or password")},
	{"sign-in of whom the body named", "", "POST /auth/user/emailpass", credentials("admin@example.com", password), 200, token},
	{"the token of before", "member", "POST /auth/token/refresh", "", 401, unauthorized},

	{"change with a wrong password", "admin", "POST /auth/user/emailpass/update", `{"current_password":"wrong battery","password":"battery staple"}`, 401, wrong("The current password is not right")},
	{"change with a number for the current password", "admin", "POST /auth/user/emailpass/update", `{"current_password":1,"password":"battery staple"}`, 401, wrong("The current password is not right")},
	{"change with null for the current password", "admin", "POST /auth/user/emailpass/update", `{"current_password":null,"password":"battery staple"}`, 401, wrong("The current password is not right")},
	{"change by nobody", "", "POST /auth/user/emailpass/update", `{"current_password":"correct horse","password":"battery staple"}`, 401, unauthorized},
	{"change by the bearer of a reset token", "reset", "POST /auth/user/emailpass/update", `{"current_password":"battery staple","password":"correct horse"}`, 401, unauthorized},
	{"change to a short password", "admin", "POST /auth/user/emailpass/update", `{"current_password":"correct horse","password":"7 chars"}`, 400, problem("invalid_data", "Password is too short: at least 8 characters", "password_refused", "too_short")},
	{"change without a new password", "admin", "POST /auth/user/emailpass/update", `{"current_password":"correct horse"}`, 401, problem("unauthorized", "Password should be a string", "password_missing")},
	{"change to a number", "admin", "POST /auth/user/emailpass/update", `{"current_password":"correct horse","password":1}`, 401, problem("unauthorized", "Password should be a string", "password_missing")},
	{"change with a provider without passwords", "admin", "POST /auth/user/vouching/update", `{"current_password":"correct horse","password":"battery staple"}`, 401,
		problem("unauthorized", "Updating the secret not implemented for provider vouching", "provider_unsupported")},
	{"change", "admin", "POST /auth/user/emailpass/update", `{"current_password":"correct horse","password":"battery staple","email":"ada@example.com"}`, 200, `{"success":true,"token":"<token>"}`},
	{"the token it was changed with", "admin", "GET /admin/users/me", "", 401, unauthorized},

	{"callback of a provider without one, by GET", "", "GET /auth/user/emailpass/callback?code=x&state=y", "", 401,
		problem("unauthorized", "Callback authentication not implemented for provider emailpass", "provider_unsupported")},
	{"callback of a provider without one, by POST", "", "POST /auth/user/emailpass/callback", `{"code":"x"}`, 401,
		problem("unauthorized", "Callback authentication not implemented for provider emailpass", "provider_unsupported")},
	{"start of a provider of one step", "", "GET /auth/user/emailpass/start", "", 401, "Redirect authentication not implemented for provider emailpass\n"},
	{"callback of an unknown provider", "", "GET /auth/user/nope/callback", "", 400,
		problem("not_allowed", "The actor type user is not allowed to use the auth provider nope", "provider_not_allowed")},
	{"callback of an unknown actor type", "", "POST /auth/alien/emailpass/callback", "", 400, problem("not_allowed", `There is no actor type \"alien\".`, "unknown_actor_type")},
}

// The scene has grace, who has asked for grace@hopper.example and for other@example.com before that, and whose tokens to
// confirm it are move and superseded; and vouched, who has no password.
const (
	deadProof      = `{"type":"not_allowed","message":"Verification code is invalid or already used","reason":"verification_invalid"}`
	elsewhereProof = `{"type":"forbidden","message":"This link belongs to another account. Sign in as who asked for it, then open it again.","reason":"verification_elsewhere"}`
	signInToProve  = `{"type":"unauthorized","message":"Sign in as who asked for the verification, then confirm it.","reason":"sign_in_to_verify"}`
	notMine        = `{"type":"invalid_data","message":"Only an address of your own account can be verified: the one you sign in with, or the account's.","reason":"verification_address"}`
	verification   = `{"verification":{"id":"<authver id>","entity_id":"%s","auth_identity_id":"<authid id>","entity_type":"email","code_provider":"token","verified_at":null,"requested_at":"<time>"}}`
)

var verifying = []fixture{
	{"ask without a token", "", "POST /auth/verification/request", `{"entity_id":"ada@example.com","entity_type":"email"}`, 401, unauthorized},
	{"ask", "member", "POST /auth/verification/request", `{"entity_id":"ada@example.com","entity_type":"email"}`, 201, fmt.Sprintf(verification, "ada@example.com")},
	{"ask in another spelling, with everything", "member", "POST /auth/verification/request", `{"entity_id":"ADA@example.com","entity_type":"email","code_provider":"token","metadata":{"a":1}}`, 201, fmt.Sprintf(verification, "ada@example.com")},
	{"ask as who is nobody yet", "newcomer", "POST /auth/verification/request", `{"entity_id":"nina@example.com","entity_type":"email"}`, 201, fmt.Sprintf(verification, "nina@example.com")},
	{"ask for what is proved", "admin", "POST /auth/verification/request", `{"entity_id":"admin@example.com","entity_type":"email"}`, 201,
		`{"verification":{"id":null,"entity_id":"admin@example.com","auth_identity_id":"<authid id>","entity_type":"email","code_provider":"token","verified_at":"<time>","requested_at":null}}`},
	{"ask for somebody else's", "member", "POST /auth/verification/request", `{"entity_id":"admin@example.com","entity_type":"email"}`, 400, notMine},
	{"ask for nobody's", "member", "POST /auth/verification/request", `{"entity_id":"nobody@example.com","entity_type":"email"}`, 400, notMine},
	{"ask for nonsense", "member", "POST /auth/verification/request", `{"entity_id":"nonsense","entity_type":"email"}`, 400, notMine},
	{"ask for a number", "member", "POST /auth/verification/request", `{"entity_id":5,"entity_type":"email"}`, 400, invalid("Expected type: 'string' for field 'entity_id', got: '5'")},
	{"ask for nothing", "member", "POST /auth/verification/request", "", 400, invalid("Field 'entity_id' is required; Field 'entity_type' is required")},
	{"ask with another type", "member", "POST /auth/verification/request", `{"entity_id":"ada@example.com","entity_type":"phone_number"}`, 400, problem("invalid_data", "Only the entity_type email can be verified.", "entity_type_unknown")},
	{"ask with another provider", "member", "POST /auth/verification/request", `{"entity_id":"ada@example.com","entity_type":"email","code_provider":"otp"}`, 400, problem("not_allowed", "The only code_provider is token: a link by mail.", "code_provider_unknown")},
	{"ask with what is no field", "member", "POST /auth/verification/request", `{"entity_id":"ada@example.com","entity_type":"email","auth_identity_id":"x"}`, 400, invalid("Unrecognized fields: 'auth_identity_id'")},

	{"confirm without a session", "", "POST /auth/verification/confirm", `{"code":"{token of proof}"}`, 401, signInToProve},
	{"confirm by the code alone", "proof", "POST /auth/verification/confirm", `{"code":"{token of proof}"}`, 401, signInToProve},
	{"confirm by GET", "grace", "GET /auth/verification/confirm?code={token of proof}", "", 405, otherMethod},
	{"confirm as somebody else", "member", "POST /auth/verification/confirm", `{"code":"{token of proof}"}`, 403, elsewhereProof},
	{"confirm without a body", "grace", "POST /auth/verification/confirm", "", 400, invalid("Field 'code' is required")},
	{"confirm with nonsense", "grace", "POST /auth/verification/confirm", `{"code":"nonsense"}`, 400, deadProof},
	{"confirm with an access token", "grace", "POST /auth/verification/confirm", `{"code":"{token of grace}"}`, 400, deadProof},
	{"confirm with a code that was superseded", "grace", "POST /auth/verification/confirm", `{"code":"{token of superseded}"}`, 400, deadProof},
	{"confirm with another provider", "grace", "POST /auth/verification/confirm", `{"code":"{token of proof}","code_provider":"otp"}`, 400, deadProof},
	{"confirm", "grace", "POST /auth/verification/confirm", `{"code":"{token of proof}","code_provider":"token"}`, 200, `{"entity_id":"grace@example.com","entity_type":"email","code_provider":"token","verified_at":"<time>"}`},
	{"confirm again", "grace", "POST /auth/verification/confirm", `{"code":"{token of proof}"}`, 400, deadProof},
}

var moving = []fixture{
	{"ask without a token", "", "POST /admin/users/me/email", `{"email":"new@example.com","current_password":"correct horse"}`, 401, unauthorized},
	{"ask as who is nobody yet", "newcomer", "POST /admin/users/me/email", `{"email":"new@example.com","current_password":"correct horse"}`, 401, unauthorized},
	{"ask", "member", "POST /admin/users/me/email", `{"email":"New@Example.com","current_password":"correct horse"}`, 200, `{"success":true}`},
	{"ask for an address that is somebody's", "member", "POST /admin/users/me/email", `{"email":"admin@example.com","current_password":"correct horse"}`, 200, `{"success":true}`},
	{"ask for one's own", "member", "POST /admin/users/me/email", `{"email":"ADA@example.com","current_password":"correct horse"}`, 400,
		problem("invalid_data", "This is your e-mail address already.", "email_same")},
	{"ask for nonsense", "member", "POST /admin/users/me/email", `{"email":"nonsense","current_password":"correct horse"}`, 400, noAddress},
	{"ask for nothing", "member", "POST /admin/users/me/email", `{"email":"","current_password":"correct horse"}`, 400, noAddress},
	{"ask without an address", "member", "POST /admin/users/me/email", `{"current_password":"correct horse"}`, 400, invalid("Field 'email' is required")},
	{"ask with a number for an address", "member", "POST /admin/users/me/email", `{"email":5}`, 400, invalid("Expected type: 'string' for field 'email', got: '5'")},
	{"ask with a number for a password", "member", "POST /admin/users/me/email", `{"email":"new@example.com","current_password":12345678}`, 400, invalid("Expected type: 'string' for field 'current_password', got: 'number'")},
	{"ask without a body", "member", "POST /admin/users/me/email", "", 400, invalid("Field 'email' is required")},
	{"ask with what is no field", "member", "POST /admin/users/me/email", `{"email":"new@example.com","password":"correct horse"}`, 400, invalid("Unrecognized fields: 'password'")},
	{"ask with a wrong password", "member", "POST /admin/users/me/email", `{"email":"new@example.com","current_password":"wrong horse"}`, 401, wrong("The current password is not right")},
	{"ask without a password", "member", "POST /admin/users/me/email", `{"email":"new@example.com"}`, 400, invalid("Field 'current_password' is required")},
	{"ask as who has no password and has just signed in", "vouched", "POST /admin/users/me/email", `{"email":"new@example.com"}`, 200, `{"success":true}`},
	{"ask for somebody else", "admin", "POST /admin/users/{member}/email", `{"email":"new@example.com","current_password":"correct horse"}`, 404, nothingHere},
	{"which changes nothing by itself", "member", "GET /admin/users/me", "", 200, `{"user":` + memberJSON + `}`},

	{"confirm without a token", "", "POST /admin/users/me/email/confirm", `{"token":"{token of move}"}`, 401, unauthorized},
	{"confirm by the mailed token alone", "move", "POST /admin/users/me/email/confirm", `{"token":"{token of move}"}`, 401, unauthorized},
	{"confirm by GET", "grace", "GET /admin/users/me/email/confirm?token={token of move}", "", 405, otherMethod},
	{"confirm as somebody else", "member", "POST /admin/users/me/email/confirm", `{"token":"{token of move}"}`, 403, elsewhereMove},
	{"confirm without a body", "grace", "POST /admin/users/me/email/confirm", "", 400, invalid("Field 'token' is required")},
	{"confirm with a number", "grace", "POST /admin/users/me/email/confirm", `{"token":5}`, 400, invalid("Expected type: 'string' for field 'token', got: '5'")},
	{"confirm what is no field", "grace", "POST /admin/users/me/email/confirm", `{"token":"{token of move}","email":"eve@example.com"}`, 400, invalid("Unrecognized fields: 'email'")},
	{"confirm with nonsense", "grace", "POST /admin/users/me/email/confirm", `{"token":"nonsense"}`, 400, deadMove},
	{"confirm with an access token", "grace", "POST /admin/users/me/email/confirm", `{"token":"{token of grace}"}`, 400, deadMove},
	{"confirm with a token that was superseded", "grace", "POST /admin/users/me/email/confirm", `{"token":"{token of superseded}"}`, 400, deadMove},
	{"confirm with an unknown parameter", "grace", "POST /admin/users/me/email/confirm?x=y", `{"token":"{token of move}"}`, 400, invalid("Unrecognized fields: 'x'; use fields")},
	{"confirm", "grace", "POST /admin/users/me/email/confirm?fields=email", `{"token":"{token of move}"}`, 200, `{"user":{"email":"grace@hopper.example","id":"{grace}"},"token":"<token>"}`},
	{"the token it was confirmed with", "grace", "GET /admin/users/me", "", 401, unauthorized},
	{"sign-in by the new address", "", "POST /auth/user/emailpass", credentials("grace@hopper.example", password), 200, token},
	{"sign-in by the old address", "", "POST /auth/user/emailpass", credentials("grace@example.com", password), 401, wrong("Invalid email or password")},
}

// waysRoutes have an ada whom a provider vouches for (vouched), and a waiting one, let in as nobody by the same.
var waysRoutes = []fixture{
	{"ways without a token", "", "GET /auth/provider-identities", "", 401, unauthorized},
	{"ways", "member", "GET /auth/provider-identities", "",
		200, `{"provider_identities":[{"id":"<bare id>","provider":"emailpass","display_name":"Email/Password Authentication","entity_id":"ada@example.com","email":"ada@example.com","email_verified_at":null,"created_at":"<time>"}]}`},
	{"ways showing some fields", "waiting", "GET /auth/provider-identities?fields=provider,secret,provider_metadata", "", 200, `{"provider_identities":[{"provider":"vouching","id":"{last}"}]}`},
	{"ways with an unknown parameter", "member", "GET /auth/provider-identities?limit=1", "", 400, invalid("Unrecognized fields: 'limit'; use fields")},
	{"add a way without a token", "", "POST /auth/user/vouching/link", `{"name":"w"}`, 401, unauthorized},
	{"add a way as nobody", "waiting", "POST /auth/user/vouching/link", `{"name":"w"}`, 403,
		problem("forbidden", "You have no account yet to add a way to sign in to. Sign in to your account, or open an invite, then do this.", "account_required")},
	{"add a way to what is not proved", "member", "POST /auth/user/vouching/link", `{"name":"w","current_password":"correct horse"}`, 403,
		problem("forbidden", "The e-mail address of your account is not proved yet. Have a link mailed to it, open that while you are signed in, then do this.", "primary_email_unproved")},
	{"add somebody else's way", "vouched", "POST /auth/user/vouching/link", `{"name":"other"}`, 400, linkedElsewhere},
	{"add a password by another address", "vouched", "POST /auth/user/emailpass/link", `{"email":"ada@example.com","password":"correct horse"}`, 400,
		problem("invalid_data", "That this e-mail address is yours is not proved. Use the address of your account, or change that to this one first.", "address_not_yours")},
	{"add a password", "vouched", "POST /auth/user/emailpass/link", `{"email":"V@example.com","password":"correct horse"}`, 200,
		`{"provider_identity":{"id":"<bare id>","provider":"emailpass","display_name":"Email/Password Authentication","entity_id":"v@example.com","email":"v@example.com","email_verified_at":"<time>","created_at":"<time>"}}`},
	{"the password from then on", "", "POST /auth/user/emailpass", credentials("v@example.com", password), 200, token},
	{"give up a way without a token", "", "DELETE /auth/provider-identities/{way}", "", 401, unauthorized},
	{"give up a way without the password", "vouched", "DELETE /auth/provider-identities/{way}", "", 400, invalid("Field 'current_password' is required")},
	{"give up what is not there", "vouched", "DELETE /auth/provider-identities/nonsense", `{"current_password":"correct horse"}`, 404,
		problem("not_found", "ProviderIdentity with id: nonsense was not found", "auth_identity_not_found")},
	{"give up with what is no field", "vouched", "DELETE /auth/provider-identities/{way}", `{"password":"correct horse"}`, 400, invalid("Unrecognized fields: 'password'")},
	{"give up a way", "vouched", "DELETE /auth/provider-identities/{way}", `{"current_password":"correct horse"}`, 200,
		`{"id":"{way}","object":"provider_identity","deleted":true,"token":"<token>"}`},
	{"the token it was given up with", "vouched", "GET /auth/provider-identities", "", 401, unauthorized},
	{"give up the last way", "waiting", "DELETE /auth/provider-identities/{last}", "", 400, lastWay},
	{"create a user without a token", "", "POST /auth/vouching/user", "", 401, unauthorized},
	{"create a user by a password", "newcomer", "POST /auth/emailpass/user", "", 400, noCreator},
	{"create a user without an address", "waiting", "POST /auth/vouching/user", "", 400, noEmail},
	{"create a user", "creating", "POST /auth/vouching/user?fields=email", "", 200, `{"user":{"email":"c@example.com","id":"<user id>"}}`},
	{"create a user again", "creating", "POST /auth/vouching/user", "", 400, isUser},
}

// by an admin, for somebody else.
var resettingOthers = []fixture{
	{"reset of somebody, by nobody", "", "POST /admin/users/{member}/reset-password", "", 401, unauthorized},
	{"reset of somebody, by a member", "member", "POST /admin/users/{admin}/reset-password", "", 403, forbidden},
	{"reset of somebody", "admin", "POST /admin/users/{member}/reset-password", "", 200, `{"token":""}`},
	{"reset does not look at the body", "admin", "POST /admin/users/{member}/reset-password", "{", 200, `{"token":""}`},
	{"reset of somebody unknown", "admin", "POST /admin/users/user_none/reset-password", "", 404, problem("not_found", "User with id: user_none was not found", "user_not_found")},
	{"reset of somebody without a password", "admin", "POST /admin/users/{vouched}/reset-password", "", 400,
		problem("invalid_data", "This user has no password to reset: they sign in by other ways.", "no_password")},
	{"which ends nothing by itself", "member", "GET /admin/users/me", "", 200, `{"user":` + memberJSON + `}`},
}

// resetToken asks for a new password and returns the token that leaves for it.
func (s *server) resetToken(t testing.TB, identifier string, by auth.Channel) string {
	t.Helper()
	if a := s.do(t, "POST", "/auth/user/emailpass/reset-password", `{"identifier":"`+identifier+`"}`); a.status != 201 {
		t.Fatalf("ask for a reset: %d %s", a.status, a.body)
	}
	asked := s.told.resets()
	made, err := s.auth.CreatePasswordResetToken(t.Context(), asked[len(asked)-1], by)
	check(t, err)
	return made.Token
}

func TestAnswersAreMedusas(t *testing.T) {
	for _, group := range []struct {
		name     string
		fixtures []fixture
	}{
		{"register", registering}, {"sign in", signingIn}, {"providers", listingProviders}, {"sessions", sessions}, {"users", usersRoutes}, {"paths", paths},
	} {
		t.Run(group.name, func(t *testing.T) {
			each(t, func(t *testing.T, s *server) {
				sc := newScene(t, s)
				sc.tokens["nonsense"] = "nonsense"
				sc.run(t, group.fixtures)
			})
		})
	}
	t.Run("invites", func(t *testing.T) {
		each(t, func(t *testing.T, s *server) { inviteScene(t, s).run(t, invitesRoutes) })
	})
	t.Run("lifecycle", func(t *testing.T) {
		each(t, func(t *testing.T, s *server) {
			sc := newScene(t, s)
			sc.ids["second"], _ = claims(t, s.admin(t, "second@example.com"))["actor_id"].(string)
			sc.tokens["leaver"] = s.member(t, "leaver@example.com")
			sc.ids["leaver"] = actor(t, sc.tokens["leaver"])
			sc.run(t, lifecycle)
		})
	})
	t.Run("reset", func(t *testing.T) {
		each(t, func(t *testing.T, s *server) {
			sc := newScene(t, s)
			sc.tokens["nonsense"] = "nonsense"
			sc.tokens["superseded"] = s.resetToken(t, "ada@example.com", auth.ByMail)
			sc.tokens["reset"] = s.resetToken(t, "ada@example.com", auth.ByMail)
			sc.run(t, resetting)
		})
	})
	t.Run("another address", func(t *testing.T) {
		each(t, func(t *testing.T, s *server) {
			sc := newScene(t, s)
			sc.tokens["vouched"] = s.token(t, "vouched", s.do(t, "POST", "/auth/user/vouching", `{"name":"v","email":"v@example.com"}`))
			sc.tokens["grace"] = s.member(t, "grace@example.com")
			sc.ids["grace"] = actor(t, sc.tokens["grace"])
			sc.tokens["superseded"] = s.moving(t, sc.tokens["grace"], "other@example.com")
			sc.tokens["move"] = s.moving(t, sc.tokens["grace"], "grace@hopper.example")
			sc.run(t, moving)
		})
	})
	t.Run("verification", func(t *testing.T) {
		each(t, func(t *testing.T, s *server) {
			sc := newScene(t, s)
			sc.tokens["grace"] = s.member(t, "grace@example.com")
			s.askToProve(t, "grace@example.com", bearer(sc.tokens["grace"]))
			sc.tokens["superseded"] = s.mailedProof(t)
			s.askToProve(t, "grace@example.com", bearer(sc.tokens["grace"]))
			sc.tokens["proof"] = s.mailedProof(t)
			sc.run(t, verifying)
		})
	})
	t.Run("ways", func(t *testing.T) {
		eachWith(t, settings{actor: link.ActorOptions{CreateProviders: []string{"vouching"}}}, func(t *testing.T, s *server) {
			sc := newScene(t, s)
			sc.tokens["vouched"], sc.tokens["waiting"] = s.vouched(t, "v", "v@example.com", true), s.vouched(t, "waiting", "", false)
			s.vouched(t, "other", "other@example.com", true)
			sc.ids["way"], sc.ids["last"] = s.ways(t, bearer(sc.tokens["vouched"]))["vouching v"], s.ways(t, bearer(sc.tokens["waiting"]))["vouching waiting"]
			later := s.node(t, settings{actor: link.ActorOptions{Policy: link.Manual{}, CreateProviders: []string{"vouching"}}})
			sc.tokens["creating"] = later.vouched(t, "c", "c@example.com", true)
			sc.run(t, waysRoutes)
		})
	})
	t.Run("reset others", func(t *testing.T) {
		each(t, func(t *testing.T, s *server) {
			sc := newScene(t, s)
			a := s.do(t, "POST", "/auth/user/vouching", `{"name":"v","email":"v@example.com"}`)
			sc.ids["vouched"], _ = claims(t, s.token(t, "vouched", a))["actor_id"].(string)
			sc.run(t, resettingOthers)
		})
	})
}

func inviteScene(t *testing.T, s *server) scene {
	t.Helper()
	sc := newScene(t, s)
	sc.tokens["nonsense"] = "nonsense"
	sc.tokens["second"] = s.register(t, "second@example.com")
	hasty := s.node(t, settings{user: user.Options{InviteTTL: time.Nanosecond}})
	for _, i := range []struct {
		name  string
		users *user.Service
		draft user.InviteDraft
	}{
		{"open", s.users, user.InviteDraft{Email: "open@example.com", Metadata: map[string]any{"team": "blue"}}},
		{"expired", hasty.users, user.InviteDraft{Email: "expired@example.com"}},
		{"withdrawn", s.users, user.InviteDraft{Email: "withdrawn@example.com"}},
		{"stale", hasty.users, user.InviteDraft{Email: "stale@example.com"}},
		{"other", s.users, user.InviteDraft{Email: "other@example.com", Roles: []string{"member"}}},
		{"doomed", s.users, user.InviteDraft{Email: "doomed@example.com"}},
		{"taken", s.users, user.InviteDraft{Email: "taken@example.com"}},
	} {
		nextID()
		made, err := i.users.CreateInvites(t.Context(), i.draft)
		check(t, err)
		sc.ids[i.name], sc.tokens[i.name] = string(made[0].ID), i.users.InviteToken(made[0], user.ByHand)
	}
	check(t, s.users.SoftDeleteInvites(t.Context(), user.InviteID(sc.ids["withdrawn"])))
	s.adminWith(t, "taken@example.com", password)
	return sc
}

// A route that is added without a fixture fails here.
func TestEveryRouteHasFixtures(t *testing.T) {
	mux := http.NewServeMux()
	for _, pattern := range httpapi.Routes() {
		mux.Handle(pattern, http.NotFoundHandler())
	}
	succeeds, fails := map[string]bool{}, map[string]bool{}
	for _, f := range slices.Concat(registering, signingIn, listingProviders, sessions, sessionsRoutes, usersRoutes, lifecycle, invitesRoutes, resetting, resettingOthers, moving, waysRoutes, verifying, auditing, webhooksRoutes, eventsRoutes, healthRoutes, explaining, paths) {
		method, path, _ := strings.Cut(f.do, " ")
		u, err := url.Parse("http://example.com" + path)
		check(t, err)
		if _, pattern := mux.Handler(&http.Request{Method: method, Host: u.Host, URL: u}); f.status < 300 {
			succeeds[pattern] = true
		} else {
			fails[pattern] = true
		}
	}
	for _, pattern := range httpapi.Routes() {
		switch {
		case pattern == "GET /.well-known/jwks.json": // TestKeySetVerifiesTokens
		case strings.HasSuffix(pattern, "/callback"), strings.HasSuffix(pattern, "/start"), pattern == "GET /auth/{actor}/{provider}": // of two steps: flow_test.go
		case !succeeds[pattern]:
			t.Errorf("no fixture shows %s succeeding", pattern)
		case !fails[pattern] && pattern != "GET /health": // TestHealthNoticesTheDatabase
			t.Errorf("no fixture shows %s failing", pattern)
		}
	}
}

func TestAllowSaysWhichMethodsAPathTakes(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		for do, want := range map[string]string{
			"GET /auth/user/emailpass":             "POST",
			"HEAD /auth/user/emailpass":            "POST",
			"DELETE /auth/user/providers":          "GET, HEAD, POST",
			"GET /auth/session":                    "DELETE, POST",
			"GET /auth/token/refresh":              "POST",
			"POST /admin/users":                    "GET, HEAD",
			"PUT /admin/users/x":                   "DELETE, GET, HEAD, POST",
			"PATCH /admin/invites":                 "GET, HEAD, POST",
			"PUT /admin/invites/x":                 "DELETE, GET, HEAD",
			"GET /admin/invites/x/resend":          "POST",
			"POST /health":                         "GET, HEAD",
			"OPTIONS /auth/user/emailpass":         "POST",
			"DELETE /auth/user/emailpass/register": "POST",
		} {
			method, path, _ := strings.Cut(do, " ")
			a := s.do(t, method, path, "", bearer(admin))
			if got := a.header.Get("Allow"); a.status != 405 || got != want {
				t.Errorf("%s: %d, Allow %q, want 405 and %q", do, a.status, got, want)
			}
		}
	})
}

func TestHeadIsGetWithoutTheBody(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		sc := newScene(t, s)
		for _, path := range []string{"/auth/user/providers", "/admin/users", "/admin/users/me", "/admin/users/{member}", "/admin/users/user_none", "/admin/invites", "/.well-known/jwks.json", "/health", "/nowhere"} {
			for _, as := range []string{"admin", "member"} {
				get := sc.do(t, "GET", sc.fill(path), "", bearer(sc.tokens[as]))
				head := sc.do(t, "HEAD", sc.fill(path), "", bearer(sc.tokens[as]))
				if head.status != get.status || head.body != "" {
					t.Errorf("HEAD %s as %s: %d %q, want %d and no body", path, as, head.status, head.body, get.status)
				}
				for _, name := range []string{"Content-Type", "Content-Length", "Cache-Control"} {
					if head.header.Get(name) != get.header.Get(name) {
						t.Errorf("HEAD %s as %s: %s %q, want %q", path, as, name, head.header.Get(name), get.header.Get(name))
					}
				}
			}
		}
	})
}

func TestEveryAnswerHasAnIDOfItsOwnThatTheLogNames(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		seen := map[string]bool{}
		for _, do := range []string{"GET /health", "GET /health", "GET /nowhere", "GET /admin/users", "PUT /health", "POST /auth/user/emailpass"} {
			method, path, _ := strings.Cut(do, " ")
			a := s.do(t, method, path, "", "X-Request-Id: chosen-by-the-caller")
			id := a.header.Get("X-Request-Id")
			if seen[id] || id == "" || id == "chosen-by-the-caller" {
				t.Errorf("%s: request id %q, want a new one", do, id)
			}
			if seen[id] = true; !strings.Contains(s.log.String(), `"request_id":"`+id+`"`) {
				t.Errorf("%s: the log does not name %s", do, id)
			}
		}
	})
}

func TestAuthorizationIsReadAsMedusaReadsIt(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		token := s.member(t, "ada@example.com")
		for header, want := range map[string]int{
			"Bearer " + token: 200, "bearer " + token: 200, "BEARER " + token: 200,
			token: 401, "Bearer": 401, "Bearer ": 401, "Bearer " + token + "x": 401, "Basic " + token: 401, "Token " + token: 401, "": 401,
		} {
			if a := s.do(t, "GET", "/admin/users/me", "", "Authorization: "+header); a.status != want || (want == 401 && a.body != unauthorized) {
				t.Errorf("Authorization: %.20s…: %d %s, want %d", header, a.status, a.body, want)
			}
		}
		if a := s.do(t, "GET", "/admin/users/me?token="+token, ""); a.status != 401 {
			t.Errorf("a token in the query: %d, want 401", a.status)
		}
	})
}

func TestActorTypesUseOnlyTheProvidersThatAreListed(t *testing.T) {
	eachWith(t, settings{actor: link.ActorOptions{Providers: []string{"emailpass"}}}, func(t *testing.T, s *server) {
		sc := scene{server: s}
		sc.run(t, []fixture{
			{"listed", "", "GET /auth/user/providers", "", 200,
				`{"providers":[{"id":"emailpass","identifier":"emailpass","display_name":"Email/Password Authentication","flow":"credentials"}]}`},
			{"not listed", "", "POST /auth/user/vouching", `{"name":"ada"}`, 400,
				problem("not_allowed", "The actor type user is not allowed to use the auth provider vouching", "provider_not_allowed")},
		})
	})
}

func TestTokensSayWhatMedusasSay(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		sc := newScene(t, s)
		for who, want := range map[string]string{
			"newcomer": sessionJSON("", "{}"), "member": sessionJSON("{member}", `{"roles":["member"],"user_id":"{member}"}`),
		} {
			payload, err := decodeSegment(strings.Split(sc.tokens[who], ".")[1])
			check(t, err)
			if got := `{"user":` + sc.plain(string(payload)) + `}`; got != want {
				t.Errorf("the %s's token says\n     %s\nwant %s", who, got, want)
			}
			c := claims(t, sc.tokens[who])
			if lives := c["exp"].(float64) - c["iat"].(float64); lives != 24*60*60 {
				t.Errorf("the %s's token lives %v s, want a day", who, lives)
			}
		}
	})
}

func TestKeySetVerifiesTokens(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		header, rest, _ := strings.Cut(s.register(t, "ada@example.com"), ".")
		payload, signature, _ := strings.Cut(rest, ".")
		a := s.do(t, "GET", "/.well-known/jwks.json", "")
		if a.status != 200 || a.header.Get("Content-Type") != "application/json; charset=utf-8" || a.header.Get("Cache-Control") != "public, max-age=300" {
			t.Errorf("%d %v", a.status, a.header)
		}
		var set struct {
			Keys []struct{ KTY, CRV, X, KID, Alg, Use string }
		}
		check(t, json.Unmarshal([]byte(a.body), &set))
		if len(set.Keys) != 1 {
			t.Fatalf("%s, want one key", a.body)
		}
		k := set.Keys[0]
		if want := fmt.Sprintf(`{"keys":[{"kty":"OKP","crv":"Ed25519","x":"%s","kid":"%s","alg":"EdDSA","use":"sig"}]}`, k.X, k.KID); a.body != want {
			t.Errorf("%s, want %s", a.body, want)
		}
		public, err := decodeSegment(k.X)
		check(t, err)
		sig, err := decodeSegment(signature)
		check(t, err)
		if !ed25519.Verify(public, []byte(header+"."+payload), sig) {
			t.Error("the key does not verify a token")
		}
		if says, _ := decodeSegment(header); string(says) != `{"alg":"EdDSA","kid":"`+k.KID+`","typ":"JWT"}` {
			t.Errorf("the token's header says %s", says)
		}
	})
}

func TestHealthNoticesTheDatabase(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		if a := s.do(t, "GET", "/health", ""); a.status != 200 {
			t.Errorf("%d %s", a.status, a.body)
		}
		check(t, s.db.Close())
		a := s.do(t, "GET", "/health", "")
		if want := problem("unexpected_state", "The database does not answer. Try again in a moment.", "database_unavailable"); a.status != 503 || a.body != want {
			t.Errorf("without a database: %d %s, want 503 %s", a.status, a.body, want)
		}
		a = s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password))
		if want := `{"code":"unknown_error","type":"unknown_error","message":"An unknown error occurred."}`; a.status != 500 || a.body != want {
			t.Errorf("sign-in without a database: %d %s, want 500 %s", a.status, a.body, want)
		}
	})
}

func TestWhoWouldWaitTooLongIsSentAwayWithATime(t *testing.T) {
	eachWith(t, settings{auth: unthrottled.auth, passwords: auth.PasswordOptions{Cost: 8, MaxWait: time.Millisecond}}, func(t *testing.T, s *server) {
		answers := make([]answer, 30)
		together(len(answers), func(i int) {
			answers[i], _ = s.try(t.Context(), "POST", "/auth/user/emailpass", credentials("nobody@example.com", password))
		})
		busy := 0
		for i, a := range answers {
			switch a.status {
			case 401:
			case 503:
				busy++
				if want := problem("unexpected_state", "Too many sign-ins at once. Try again in a moment.", "hashing_busy"); a.body != want {
					t.Errorf("sign-in %d: %s, want %s", i, a.body, want)
				}
				if seconds, err := strconv.Atoi(a.header.Get("Retry-After")); err != nil || seconds < 1 {
					t.Errorf("sign-in %d: Retry-After %q, want whole seconds", i, a.header.Get("Retry-After"))
				}
			default:
				t.Errorf("sign-in %d: %d %s", i, a.status, a.body)
			}
		}
		if busy == 0 {
			t.Error("everybody was served")
		}
	})
}

// people puts users in an order of ids that is the order of the list.
func people(t *testing.T, s *server) (ids []string) {
	t.Helper()
	str := func(v string) *string { return &v }
	for _, d := range []user.Draft{
		{Email: "ada@example.com", FirstName: str("Ada"), LastName: str("Lovelace")},
		{Email: "bob@example.org", FirstName: str("Bob"), LastName: str("Ada Smith")},
		{Email: "c_100%@example.org", FirstName: str("ada")},
		{Email: "dan@example.com", FirstName: str("Dan"), LastName: str("Ünal")},
	} {
		nextID()
		made, err := s.users.CreateUsers(t.Context(), d)
		check(t, err)
		ids = append(ids, string(made[0].ID))
	}
	return ids
}

func TestListsOfUsersGiveWhatIsAskedFor(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		ids := people(t, s)
		const all = "admin ada bob c_100% dan"
		for _, c := range []struct {
			query         string
			want          string // who, in order
			count         int
			offset, limit int
		}{
			{"", all, 5, 0, 50},
			{"limit=2", "admin ada", 5, 0, 2},
			{"limit=2&offset=2", "bob c_100%", 5, 2, 2},
			{"offset=4", "dan", 5, 4, 50},
			{"offset=9", "", 5, 9, 50},
			{"limit=0", "", 5, 0, 0},
			{"limit=0&offset=3", "", 5, 3, 0},
			{"limit=1.9", "admin", 5, 0, 1},
			{"limit=1000", all, 5, 0, 1000},
			{"order=id", all, 5, 0, 50},
			{"order=-id", "dan c_100% bob ada admin", 5, 0, 50},
			{"order=email", "ada admin bob c_100% dan", 5, 0, 50},
			{"order=-email&limit=2", "dan c_100%", 5, 0, 2},
			{"order=-created_at", "dan c_100% bob ada admin", 5, 0, 50},
			{"order=", all, 5, 0, 50},
			{"q=ADA", "ada bob c_100%", 3, 0, 50},
			{"q=ada+smith", "bob", 1, 0, 50},
			{"q=smith%20ada", "bob", 1, 0, 50},
			{"q=example.org", "bob c_100%", 2, 0, 50},
			{"q=%25", "c_100%", 1, 0, 50},
			{"q=_", "c_100%", 1, 0, 50},
			{"q=!", "", 0, 0, 50},
			{"q=%5C", "", 0, 0, 50},
			{"q=", all, 5, 0, 50},
			{"q=ünal", "dan", 1, 0, 50},
			{"q=user_", "", 0, 0, 50}, // not over ids
			{"id=" + ids[1], "bob", 1, 0, 50},
			{"id[]=" + ids[1] + "&id[]=" + ids[3], "bob dan", 2, 0, 50},
			{"id[0]=" + ids[3] + "&id[1]=" + ids[1] + "&order=-id", "dan bob", 2, 0, 50},
			{"id%5B0%5D=" + ids[3], "dan", 1, 0, 50},
			{"id=" + ids[0] + "&id=" + ids[1], "ada bob", 2, 0, 50},
			{"id=user_none", "", 0, 0, 50},
			{"id=", "", 0, 0, 50},
			{"email=bob@example.org", "bob", 1, 0, 50},
			{"email=BOB@example.org", "bob", 1, 0, 50},
			{"email=nonsense", "", 0, 0, 50},
			{"first_name=Ada", "ada", 1, 0, 50},
			{"first_name=ada&q=100%25", "c_100%", 1, 0, 50},
			{"last_name=Lovelace&email=ada@example.com&limit=1", "ada", 1, 0, 1},
			{"last_name=Lovelace&email=bob@example.org", "", 0, 0, 50},
		} {
			a := s.do(t, "GET", "/admin/users?fields=email&"+c.query, "", bearer(admin))
			var got []string
			for _, m := range regexp.MustCompile(`"email":"([^@"]*)@`).FindAllStringSubmatch(a.body, -1) {
				got = append(got, m[1])
			}
			if strings.Join(got, " ") != c.want || a.get("count") != fmt.Sprint(c.count) || a.get("offset") != fmt.Sprint(c.offset) || a.get("limit") != fmt.Sprint(c.limit) {
				t.Errorf("?%s: %d %s\nwant %q of %d, offset %d, limit %d", c.query, a.status, a.body, c.want, c.count, c.offset, c.limit)
			}
		}
	})
}

func TestListsOfInvitesGiveWhatIsAskedFor(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		_, err := s.users.SetupInvite(t.Context()) // is nobody's to see
		check(t, err)
		admin := s.admin(t, "admin@example.com")
		var ids []string
		for _, name := range []string{"ada", "bob", "c_d"} {
			nextID()
			made, err := s.users.CreateInvites(t.Context(), user.InviteDraft{Email: name + "@example.com"})
			check(t, err)
			ids = append(ids, string(made[0].ID))
		}
		for _, c := range []struct {
			query, want  string
			count, limit int
		}{
			{"", "ada bob c_d", 3, 50}, {"limit=1&offset=1", "bob", 3, 1}, {"limit=0", "", 3, 0}, {"order=-email", "c_d bob ada", 3, 50},
			{"order=expires_at", "ada bob c_d", 3, 50}, {"q=OB", "bob", 1, 50}, {"q=_", "c_d", 1, 50}, {"q=%25", "", 0, 50},
			{"id=" + ids[2], "c_d", 1, 50}, {"id[]=" + ids[2] + "&id[]=" + ids[0], "ada c_d", 2, 50},
			{"email=bob@example.com", "bob", 1, 50}, {"email[]=bob@example.com&email[]=ADA@example.com", "ada bob", 2, 50}, {"email[0]=nonsense", "", 0, 50},
			{"accepted=false", "ada bob c_d", 3, 50}, {"accepted=true", "", 0, 50},
		} {
			a := s.do(t, "GET", "/admin/invites?fields=email&"+c.query, "", bearer(admin))
			var got []string
			for _, m := range regexp.MustCompile(`"email":"([^@"]*)@`).FindAllStringSubmatch(a.body, -1) {
				got = append(got, m[1])
			}
			if strings.Join(got, " ") != c.want || a.get("count") != fmt.Sprint(c.count) || a.get("limit") != fmt.Sprint(c.limit) {
				t.Errorf("?%s: %d %s\nwant %q of %d, limit %d", c.query, a.status, a.body, c.want, c.count, c.limit)
			}
		}
	})
}

func TestBadParametersAreNamed(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		both := []struct{ query, named string }{
			{"limit=-1", "limit"}, {"limit=abc", "limit"}, {"limit=", "limit"}, {"limit=1001", "limit"}, {"limit=99999999999999999999", "limit"}, {"limit=1e3", "limit"}, {"limit=0x10", "limit"},
			{"limit=1&limit=2", "limit"}, {"limit[]=1", "limit"}, {"limit[$gt]=1", "limit"},
			{"offset=-1", "offset"}, {"offset=abc", "offset"}, {"offset=99999999999", "offset"}, {"offset=NaN", "offset"},
			{"order=nonsense", "order"}, {"limit=0&order=nonsense", "order"}, {"order=-nonsense", "order"}, {"order=-", "order"}, {"order=metadata", "order"}, {"order=id,email", "order"}, {"order=id;drop", "order"},
			{"order=secret", "order"}, {"order=nonce", "order"}, {"order=id&order=email", "order"}, {"order[]=id", "order"},
			{"fields=id&fields=email", "fields"}, {"fields[]=id", "fields"}, {"q=a&q=b", "q"}, {"q[]=a", "q"},
			{"nonsense=1", "nonsense"}, {"Limit=1", "Limit"}, {"deleted_at=x", "deleted_at"}, {"id[$ne]=x", "id"}, {"id[][]=x", "id"},
			{"q=%00", "query"}, {"q=%ff", "query"}, {"q=%zz", "query"}, {"%00=1", "query"},
		}
		for path, more := range map[string][]struct{ query, named string }{
			"/admin/users":   {{"email[]=a@example.com", "email"}, {"email=a@example.com&email=b@example.com", "email"}, {"first_name[]=x", "first_name"}, {"accepted=true", "accepted"}},
			"/admin/invites": {{"accepted=maybe", "accepted"}, {"accepted=true&accepted=false", "accepted"}, {"first_name=x", "first_name"}},
		} {
			for _, c := range slices.Concat(both, more) {
				a := s.do(t, "GET", path+"?"+c.query, "", bearer(admin))
				if a.status != 400 || a.get("type") != "invalid_data" || !strings.Contains(a.get("message"), c.named) {
					t.Errorf("%s?%s: %d %s, want 400 naming %s", path, c.query, a.status, a.body, c.named)
				}
			}
		}
	})
}

func TestMetadataIsMergedAtTheTopLevel(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		sc := newScene(t, s)
		for i, c := range []struct{ send, want string }{
			{`{}`, `null`},
			{`{"a":1,"b":{"x":1,"y":2}}`, `{"a":1,"b":{"x":1,"y":2}}`},
			{`{"b":{"z":3}}`, `{"a":1,"b":{"z":3}}`},
			{`{"a":null}`, `{"a":null,"b":{"z":3}}`},
			{`{"b":"","never":""}`, `{"a":null}`},
			{`{}`, `{"a":null}`},
			{`{"c":" ","d":[""],"e":{"f":""}}`, `{"a":null,"c":" ","d":[""],"e":{"f":""}}`},
			{`null`, `null`},
			{`{"n":9007199254740991,"f":1.50,"<b>":"<&>"}`, `{"<b>":"<&>","f":1.5,"n":9007199254740991}`},
		} {
			a := sc.do(t, "POST", sc.fill("/admin/users/{member}?fields=metadata"), `{"metadata":`+c.send+`}`, bearer(sc.tokens["admin"]))
			if want := `{"user":{"metadata":` + c.want + `,"id":"{member}"}}`; a.status != 200 || sc.plain(a.body) != want {
				t.Errorf("update %d with %s: %d %s, want %s", i, c.send, a.status, sc.plain(a.body), want)
			}
			if again := sc.do(t, "GET", "/admin/users/me?fields=metadata", "", bearer(sc.tokens["member"])); again.body != a.body {
				t.Errorf("after update %d with %s: %s, want %s", i, c.send, again.body, a.body)
			}
		}
	})
}

func TestAnUpdateThatChangesNothingLeavesUpdatedAt(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		sc := newScene(t, s)
		path := sc.fill("/admin/users/{member}")
		update := func(body string) string {
			a := sc.do(t, "POST", path, body, bearer(sc.tokens["admin"]))
			if a.status != 200 {
				t.Fatalf("update with %s: %d %s", body, a.status, a.body)
			}
			return a.get("user", "updated_at")
		}
		before := update(`{"first_name":"Ada","metadata":{"a":1}}`)
		time.Sleep(5 * time.Millisecond)
		for _, body := range []string{"", `{}`, `{"metadata":{}}`} {
			if after := update(body); after != before {
				t.Errorf("%q moved updated_at from %s to %s", body, before, after)
			}
		}
		if after := update(`{"first_name":"Ada L."}`); after <= before {
			t.Errorf("a change left updated_at at %s", after)
		}
	})
}

func TestAnInviteIsRenewedByResendAndByPOST(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		sc := inviteScene(t, s)
		admin := bearer(sc.tokens["admin"])
		for _, c := range []struct{ name, path, body string }{
			{"open", "/admin/invites/{open}/resend", ""},
			{"expired", "/admin/invites", `{"email":"expired@example.com","roles":["member"],"metadata":{"again":true}}`},
			{"stale", "/admin/invites/{stale}/resend", ""},
		} {
			t.Run(c.name, func(t *testing.T) {
				person := s.register(t, c.name+"-acceptor@example.com")
				a := sc.do(t, "POST", sc.fill(c.path), c.body, admin)
				fresh := a.get("invite", "token")
				if a.status != 200 || a.get("invite", "id") != sc.ids[c.name] || fresh == sc.tokens[c.name] {
					t.Fatalf("renewed: %d %s, want the same id with another token", a.status, sc.plain(a.body))
				}
				expires, err := time.Parse(time.RFC3339, a.get("invite", "expires_at"))
				if err != nil || time.Until(expires) < 23*time.Hour {
					t.Errorf("renewed until %s, want a day", a.get("invite", "expires_at"))
				}
				if read := sc.do(t, "GET", "/admin/invites/"+sc.ids[c.name], "", admin); read.get("invite", "token") != fresh {
					t.Error("a read shows another token than the renewal did")
				}
				if a := sc.do(t, "POST", "/admin/invites/accept?token="+sc.tokens[c.name], `{}`, bearer(person)); a.status != 400 || a.get("reason") != "invite_renewed" {
					t.Errorf("the token of before: %d %s", a.status, a.body)
				}
				if a := sc.do(t, "POST", "/admin/invites/accept?token="+fresh, `{}`, bearer(person)); a.status != 200 || a.get("user", "email") != c.name+"@example.com" {
					t.Errorf("the new token: %d %s", a.status, a.body)
				}
			})
		}
		a := sc.do(t, "GET", "/admin/invites/"+sc.ids["expired"]+"?fields=roles,metadata", "", admin)
		if want := `{"invite":{"roles":["member"],"metadata":{"again":true},"id":"{expired}"}}`; sc.plain(a.body) != want {
			t.Errorf("an invite renewed by POST: %s, want what was sent: %s", sc.plain(a.body), want)
		}
	})
}

func TestTheDefaultRolesOfInvitesAreASetting(t *testing.T) {
	eachWith(t, settings{user: user.Options{InviteRoles: []string{"member", "editor"}}}, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		for i, roles := range []string{"", `,"roles":null`} {
			a := s.do(t, "POST", "/admin/invites?fields=roles", fmt.Sprintf(`{"email":"p%d@example.com"%s}`, i, roles), bearer(admin))
			if got := a.get("invite", "roles"); got != "[editor member]" {
				t.Errorf("with %q: %d %s", roles, a.status, a.body)
			}
		}
	})
}

func TestABatchFillsWhatRoomThereIs(t *testing.T) {
	eachWith(t, settings{user: user.Options{InviteMaxPending: 2}}, func(t *testing.T, s *server) {
		admin := bearer(s.admin(t, "admin@example.com"))
		full := problem("not_allowed", "There may be at most 2 invites open at a time. Withdraw some, or wait until they are accepted or expire.", "invites_full")
		invited := func(address string) string {
			return `{"email":"` + address + `","invite":{"email":"` + address + `","id":"<invite id>"}}`
		}
		a := s.do(t, "POST", "/admin/invites/batch?fields=email", `{"emails":["a@example.com","b@example.com","c@example.com"]}`, admin)
		if want := `{"invites":[` + invited("a@example.com") + "," + invited("b@example.com") + `,{"email":"c@example.com","error":` + full + `}]}`; a.status != 200 || (scene{}).plain(a.body) != want {
			t.Errorf("%d %s, want %s", a.status, a.body, want)
		}
		if a := s.do(t, "POST", "/admin/invites", `{"email":"d@example.com"}`, admin); a.status != 400 || a.body != full {
			t.Errorf("one more: %d %s", a.status, a.body)
		}
		if n := s.count(t, "invite"); n != 2 {
			t.Errorf("%d invites, want 2", n)
		}
	})
}

func TestABatchWhoseMetadataTheApplicationRefusesMakesNone(t *testing.T) {
	refusal := fault.New(fault.Invalid, "team_missing", "metadata.team is missing.")
	eachWith(t, settings{user: user.Options{CheckMetadata: func(_ context.Context, _ user.MetadataOf, metadata map[string]any) error {
		if metadata != nil && metadata["team"] == nil {
			return refusal
		}
		return nil
	}}}, func(t *testing.T, s *server) {
		admin := bearer(s.admin(t, "admin@example.com"))
		batch := func(metadata string) answer {
			return s.do(t, "POST", "/admin/invites/batch?fields=email", `{"emails":["nonsense","a@example.com"],"metadata":`+metadata+`}`, admin)
		}
		if a := batch(`{"n":1}`); a.status != 400 || a.body != problem("invalid_data", "metadata.team is missing.", "team_missing") || s.count(t, "invite") != 0 {
			t.Errorf("%d %s, want the refusal, and no invite", a.status, a.body)
		}
		if a := batch(`{"team":"blue"}`); a.status != 200 || s.count(t, "invite") != 1 {
			t.Errorf("%d %s, want an invite", a.status, a.body)
		}
	})
}

func TestABatchOfAThousandIsAnswered(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := bearer(s.admin(t, "admin@example.com"))
		emails := make([]string, 1000)
		for i := range emails {
			emails[i] = fmt.Sprintf(`"person.number.%04d@a-company.example.com"`, i)
		}
		a := s.do(t, "POST", "/admin/invites/batch?fields=id", `{"emails":[`+strings.Join(emails, ",")+`],"expires_in":86400}`, admin)
		if a.status != 200 || strings.Count(a.body, `"invite":`) != 1000 || strings.Contains(a.body, `"error"`) || s.count(t, "invite") != 1000 {
			t.Errorf("%d %.300s", a.status, a.body)
		}
	})
}

func TestWhoOwnsTheInvitedAddressGainsItsRolesAtOnce(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		sc := newScene(t, s)
		list := func() int { return sc.do(t, "GET", "/admin/users", "", bearer(sc.tokens["member"])).status }
		invite := sc.do(t, "POST", "/admin/invites", `{"email":"ada@example.com"}`, bearer(sc.tokens["admin"]))
		if got := list(); got != 403 {
			t.Errorf("a member who was invited: %d, want 403 until it is accepted", got)
		}
		a := sc.do(t, "POST", "/admin/invites/accept?token="+invite.get("invite", "token"), `{"first_name":"Somebody"}`, bearer(sc.tokens["member"]))
		if a.status != 200 || a.get("user", "id") != sc.ids["member"] {
			t.Fatalf("accept: %d %s, want the same user", a.status, a.body)
		}
		if got := list(); got != 200 {
			t.Errorf("with the token of before: %d, want 200: roles are checked on the server", got)
		}
		if me := sc.do(t, "GET", "/admin/users/me?fields=roles", "", bearer(sc.tokens["member"])); me.get("user", "roles") != "[admin member]" {
			t.Errorf("roles: %s", me.body)
		}
		fresh := sc.token(t, "refresh", sc.do(t, "POST", "/auth/token/refresh", "", bearer(sc.tokens["member"])))
		if app := claims(t, fresh)["app_metadata"].(map[string]any); fmt.Sprint(app["roles"]) != "[admin member]" {
			t.Errorf("the refreshed token says %v", app)
		}
	})
}

func TestTheInvitedPersonBecomesAUserOfTheInvite(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		sc := newScene(t, s)
		invite := sc.do(t, "POST", "/admin/invites", `{"email":"nina@example.com","roles":["editor","member"]}`, bearer(sc.tokens["admin"]))
		// As @medusajs/js-sdk and the dashboard send it.
		a := sc.do(t, "POST", "/admin/invites/accept?token="+invite.get("invite", "token"), `{`+nina+`,"first_name":"Nina","last_name":"Simone"}`, bearer(sc.tokens["newcomer"]))
		if want := `{"user":` + userJSON("<user id>", "nina@example.com", `"Nina"`, `"Simone"`, "null") + `}`; a.status != 200 || sc.plain(a.body) != want {
			t.Fatalf("accept: %d %s\nwant %s", a.status, sc.plain(a.body), want)
		}
		if a := sc.do(t, "GET", "/admin/users/me", "", bearer(sc.tokens["newcomer"])); a.status != 401 {
			t.Errorf("the token from before the accept: %d, want 401: it speaks for nobody", a.status)
		}
		for how, token := range map[string]string{
			"refreshed": sc.token(t, "refresh", sc.do(t, "POST", "/auth/token/refresh", "", bearer(sc.tokens["newcomer"]))),
			"signed in": s.signIn(t, "nina@example.com"),
		} {
			me := sc.do(t, "GET", "/admin/users/me?fields=roles", "", bearer(token))
			if me.status != 200 || me.get("user", "id") != a.get("user", "id") || me.get("user", "roles") != "[editor member]" {
				t.Errorf("%s: %d %s", how, me.status, me.body)
			}
		}
		if n := s.count(t, "user"); n != 3 {
			t.Errorf("%d users, want one more", n)
		}
	})
}

func TestTheSetUpLinkMakesTheFirstAdminAndNoOther(t *testing.T) {
	for name, c := range map[string]struct {
		signedIn, late bool
	}{"by somebody registered": {}, "by a user": {signedIn: true}, "when there is an admin by now": {late: true}} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, s *server) {
				invite, err := s.users.SetupInvite(t.Context())
				check(t, err)
				link := "/admin/invites/accept?token=" + s.users.InviteToken(invite, user.ByHand)
				person := s.register(t, "nina@example.com")
				if c.signedIn {
					person = s.signIn(t, "nina@example.com")
				}
				if c.late {
					s.admin(t, "admin@example.com")
					if a := s.do(t, "POST", link, `{}`, bearer(person)); a.status != 400 || a.get("reason") != "setup_done" {
						t.Errorf("%d %s, want 400 setup_done", a.status, a.body)
					}
					return
				}
				if a := s.do(t, "POST", link, `{"email":"nina@example.com"}`, bearer(person)); a.status != 200 || a.get("user", "email") != "nina@example.com" {
					t.Fatalf("accept: %d %s", a.status, a.body)
				}
				me := s.do(t, "GET", "/admin/users/me?fields=roles,email_verified_at", "", bearer(s.signIn(t, "nina@example.com")))
				if !strings.Contains(me.get("user", "roles"), "admin") || me.get("user", "email_verified_at") != "" {
					t.Errorf("afterwards: %s, want an admin who has proved nothing", me.body)
				}
				if a := s.do(t, "POST", link, `{}`, bearer(s.register(t, "eve@example.com"))); a.status != 400 || a.get("reason") != "invite_used" {
					t.Errorf("by somebody else: %d %s", a.status, a.body)
				}
			})
		})
	}
}

func TestDeletedUsersLeaveNothingBehind(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		sc := newScene(t, s)
		if a := sc.do(t, "DELETE", sc.fill("/admin/users/{member}"), "", bearer(sc.tokens["admin"])); a.status != 200 {
			t.Fatalf("delete: %d %s", a.status, a.body)
		}
		if a := sc.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password)); a.status != 401 || a.body != wrong("Invalid email or password") {
			t.Errorf("sign in: %d %s", a.status, a.body)
		}
		if a := sc.do(t, "POST", "/admin/invites", `{"email":"ada@example.com"}`, bearer(sc.tokens["admin"])); a.status != 200 {
			t.Errorf("invite: %d %s", a.status, a.body)
		}
		again := claims(t, s.member(t, "ada@example.com"))
		if again["actor_id"] == "" || again["actor_id"] == sc.ids["member"] {
			t.Errorf("registered again: %v, want a new user", again["actor_id"])
		}
		identities, err := s.auth.ListAuthIdentities(t.Context(), auth.IdentityFilter{EntityID: "ada@example.com"}, auth.Page{})
		check(t, err)
		if len(identities) != 1 || s.count(t, "link") != 2 {
			t.Errorf("%d identities of the address and %d links, want one and two", len(identities), s.count(t, "link"))
		}
	})
}

// A panic of a handler is answered and logged; the server goes on.
func TestAPanicIsAnAnswerToo(t *testing.T) {
	policy := link.PolicyFunc(func(context.Context, link.Newcomer) (link.Decision, error) { panic("policy of a test") })
	eachWith(t, settings{actor: link.ActorOptions{Policy: policy}}, func(t *testing.T, s *server) {
		s.register(t, "ada@example.com")
		a := s.do(t, "POST", "/auth/user/emailpass", credentials("ada@example.com", password))
		if want := `{"code":"unknown_error","type":"unknown_error","message":"An unknown error occurred."}`; a.status != 500 || a.body != want {
			t.Errorf("%d %s, want 500 %s", a.status, a.body, want)
		}
		wantHeaders(t, "POST", a)
		if !strings.Contains(s.log.String(), "policy of a test") {
			t.Error("the log does not tell of the panic")
		}
		if a := s.do(t, "GET", "/health", ""); a.status != 200 {
			t.Errorf("health afterwards: %d", a.status)
		}
		if n := s.count(t, "link"); n != 0 {
			t.Errorf("%d links, want none: the transaction was rolled back", n)
		}
	})
}
