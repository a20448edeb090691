package authtest

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey-go/latchkey/modules/auth"
)

// GitHub is a server that does what GitHub documents for signing in by an OAuth app: OAuth 2.0 without OpenID Connect, refusals of
// codes with status 200, and the API for an account and its addresses. It is a GitHub Enterprise at its URL; by its Transport it also
// stands in for github.com. It is stricter than GitHub where a provider should be careful: without state or PKCE by S256 nobody gets
// a code. It is safe for concurrent use.
type GitHub struct {
	clientID, clientSecret string

	server *httptest.Server
	parts  *brittle

	mu      sync.Mutex
	person  GitHubPerson
	codes   map[string]*gitHubGrant
	tokens  map[string]*gitHubGrant
	refused GitHubRefusal
	limited http.Header
}

// GitHubPerson is somebody with an account at GitHub.
type GitHubPerson struct {
	ID          int64
	Login, Name string
	PublicEmail string // of their profile; empty: they show none, and it is null
	AvatarURL   string
	Emails      []GitHubEmail
}

// GitHubEmail is one of somebody's addresses.
type GitHubEmail struct {
	Email             string
	Primary, Verified bool
}

// GitHubRefusal is an error with which the token endpoint answers, with status 200.
type GitHubRefusal string

// What GitHub documents.
const (
	BadVerificationCode        GitHubRefusal = "bad_verification_code"
	IncorrectClientCredentials GitHubRefusal = "incorrect_client_credentials"
	RedirectURIMismatch        GitHubRefusal = "redirect_uri_mismatch"
	UnverifiedUserEmail        GitHubRefusal = "unverified_user_email"
	ApplicationSuspended       GitHubRefusal = "application_suspended" // at the authorization endpoint, too
)

// The endpoints of a GitHub.
const (
	GitHubAuthorize Endpoint = "/login/oauth/authorize"
	GitHubToken     Endpoint = "/login/oauth/access_token"
	GitHubUser      Endpoint = "/api/v3/user"
	GitHubEmails    Endpoint = "/api/v3/user/emails"
	GitHubRoot      Endpoint = "/api/v3/"
)

type gitHubGrant struct {
	person  GitHubPerson
	request url.Values
	used    bool
}

// NewGitHub starts a GitHub, which ends with the test. Until SignIn names somebody else, the person is Ada: number 1815, who shows no
// address, and whose primary one, ada@example.com, is verified.
func NewGitHub(t testing.TB) *GitHub {
	t.Helper()
	g := &GitHub{clientID: "Iv1." + strings.ToLower(rand.Text()[:16]), clientSecret: "secret-" + rand.Text(), parts: newBrittle(""),
		codes: map[string]*gitHubGrant{}, tokens: map[string]*gitHubGrant{}}
	g.SignIn(GitHubPerson{ID: 1815, Login: "ada", Name: "Ada Lovelace", AvatarURL: "https://avatars.githubusercontent.com/u/1815",
		Emails: []GitHubEmail{{"ada@elsewhere.example", false, true}, {"ada@example.com", true, true}}})
	mux := http.NewServeMux()
	for endpoint, handler := range map[Endpoint]http.HandlerFunc{
		GitHubToken: g.token, GitHubUser: g.api(g.user), GitHubEmails: g.api(g.emails), GitHubRoot: g.root,
	} {
		pattern := string(endpoint)
		if endpoint == GitHubRoot {
			pattern += "{$}"
		}
		mux.Handle(pattern, g.parts.at(endpoint, handler))
		mux.Handle(moved+pattern, handler)
	}
	g.server = httptest.NewUnstartedServer(mux)
	g.server.Config.ErrorLog = log.New(io.Discard, "", 0) // of those who hang up
	g.server.Start()
	t.Cleanup(func() {
		close(g.parts.closing)
		g.server.CloseClientConnections()
		g.server.Close()
	})
	return g
}

// URL is where it is, as a GitHub Enterprise.
func (g *GitHub) URL() string { return g.server.URL }

// ClientID is the OAuth app's client id.
func (g *GitHub) ClientID() string { return g.clientID }

// ClientSecret is the OAuth app's client secret.
func (g *GitHub) ClientSecret() string { return g.clientSecret }

// Transport leads to it whoever asks github.com and api.github.com, and nobody else anywhere.
func (g *GitHub) Transport() http.RoundTripper { return toGitHub{g.server} }

type toGitHub struct{ server *httptest.Server }

func (t toGitHub) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	switch r.URL.Scheme + "://" + r.URL.Host {
	case "https://github.com":
	case "https://api.github.com":
		r.URL.Path = "/api/v3" + r.URL.Path
	default:
		return nil, fmt.Errorf("authtest: %s is not GitHub", r.URL.Host)
	}
	r.URL.Scheme, r.URL.Host = "http", strings.TrimPrefix(t.server.URL, "http://")
	return http.DefaultTransport.RoundTrip(r)
}

// SignIn names who signs in from now on.
func (g *GitHub) SignIn(p GitHubPerson) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p.Emails = slices.Clone(p.Emails)
	g.person = p
}

// Refuse has the token endpoint answer with an error, and with status 200, until it is empty.
func (g *GitHub) Refuse(r GitHubRefusal) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.refused = r
}

// Limit has the API answer 403 with a header, as to who has asked too often, until that is nil.
func (g *GitHub) Limit(h http.Header) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.limited = h.Clone()
}

// Fail breaks an endpoint until Mend.
func (g *GitHub) Fail(e Endpoint, f Failure) { g.parts.fail(e, f) }

// Mend ends what Fail, Refuse and Limit began.
func (g *GitHub) Mend() {
	g.parts.mend()
	g.Refuse("")
	g.Limit(nil)
}

// Hits returns how often an endpoint was asked.
func (g *GitHub) Hits(e Endpoint) int { return g.parts.hitsOf(e) }

// Visit does what a person's browser does at the authorization endpoint, and returns what it would bring to the callback. The error
// says why GitHub would show its own page instead.
func (g *GitHub) Visit(location string) (Callback, error) {
	at, err := url.Parse(location)
	if err != nil {
		return Callback{}, fmt.Errorf("authtest: the location is no URL: %w", err)
	}
	request := at.Query()
	at.RawQuery = ""
	if to := at.String(); to != g.URL()+string(GitHubAuthorize) && to != "https://github.com"+string(GitHubAuthorize) {
		return Callback{}, fmt.Errorf("authtest: the location is at %s, where GitHub authorizes nobody", at)
	}
	g.parts.hit(GitHubAuthorize)
	back, err := url.Parse(request.Get("redirect_uri"))
	switch {
	case request.Get("client_id") != g.clientID:
		return Callback{}, fmt.Errorf("authtest: client_id is %q, which is no OAuth app", request.Get("client_id"))
	case err != nil || !back.IsAbs() || back.Host == "":
		return Callback{}, fmt.Errorf("authtest: redirect_uri is %q; want an absolute URL", request.Get("redirect_uri"))
	case request.Get("state") == "" || request.Get("code_challenge_method") != "S256" || len(request.Get("code_challenge")) != 43:
		return Callback{}, fmt.Errorf("authtest: state, or PKCE by S256, is missing")
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	callback := Callback{URL: request.Get("redirect_uri"), Method: http.MethodGet, Values: url.Values{"state": {request.Get("state")}}}
	if g.refused == ApplicationSuspended {
		callback.Values.Set("error", string(ApplicationSuspended))
		return callback, nil
	}
	code := strings.ToLower(rand.Text())
	g.codes[code] = &gitHubGrant{person: g.person, request: request}
	callback.Values.Set("code", code)
	return callback, nil
}

// Back is Visit as Case.Back wants it.
func (g *GitHub) Back(t testing.TB, location string) auth.Input {
	t.Helper()
	callback, err := g.Visit(location)
	if err != nil {
		t.Fatal(err)
	}
	return callback.Input()
}

// BackAs is Back of somebody else; who signs in afterwards is who did before.
func (g *GitHub) BackAs(t testing.TB, location string, p GitHubPerson) auth.Input {
	t.Helper()
	g.mu.Lock()
	before := g.person
	g.mu.Unlock()
	g.SignIn(p)
	defer g.SignIn(before)
	return g.Back(t, location)
}

// token redeems a code. What it refuses it refuses with status 200.
func (g *GitHub) token(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil || r.Method != http.MethodPost || r.URL.RawQuery != "" {
		http.NotFound(w, r)
		return
	}
	answer := g.redeem(r.PostForm)
	if !strings.Contains(r.Header.Get("Accept"), "json") {
		w.Header().Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		form := url.Values{}
		for name, value := range answer {
			form.Set(name, value)
		}
		_, _ = io.WriteString(w, form.Encode())
		return
	}
	tell(w, http.StatusOK, answer)
}

func (g *GitHub) redeem(form url.Values) map[string]string {
	g.mu.Lock()
	defer g.mu.Unlock()
	refuse := func(r GitHubRefusal) map[string]string {
		return map[string]string{"error": string(r), "error_description": "Refused.", "error_uri": "https://docs.github.com/"}
	}
	if g.refused != "" {
		return refuse(g.refused)
	}
	grant, sum := g.codes[form.Get("code")], sha256.Sum256([]byte(form.Get("code_verifier")))
	switch {
	case form.Get("client_id") != g.clientID || form.Get("client_secret") != g.clientSecret:
		return refuse(IncorrectClientCredentials)
	case grant == nil || grant.used:
		return refuse(BadVerificationCode)
	case form.Get("redirect_uri") != grant.request.Get("redirect_uri"):
		return refuse(RedirectURIMismatch)
	case base64.RawURLEncoding.EncodeToString(sum[:]) != grant.request.Get("code_challenge"):
		return refuse(BadVerificationCode)
	}
	grant.used = true
	token := "gho_" + rand.Text()
	g.tokens[token] = grant
	return map[string]string{"access_token": token, "token_type": "bearer", "scope": strings.ReplaceAll(grant.request.Get("scope"), " ", ",")}
}

// api is an endpoint for whoever has a token.
func (g *GitHub) api(of func(http.ResponseWriter, *gitHubGrant)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		g.mu.Lock()
		grant, limited := g.tokens[token], g.limited
		g.mu.Unlock()
		switch {
		case limited != nil:
			maps.Copy(w.Header(), limited)
			tell(w, http.StatusForbidden, map[string]string{"message": "API rate limit exceeded"})
		case r.UserAgent() == "":
			w.WriteHeader(http.StatusForbidden)
		case grant == nil:
			tell(w, http.StatusUnauthorized, map[string]string{"message": "Bad credentials"})
		default:
			of(w, grant)
		}
	}
}

func (g *GitHub) user(w http.ResponseWriter, grant *gitHubGrant) {
	p := grant.person
	orNull := func(s string) any {
		if s == "" {
			return nil
		}
		return s
	}
	tell(w, http.StatusOK, map[string]any{"id": p.ID, "login": p.Login, "name": orNull(p.Name), "email": orNull(p.PublicEmail), "avatar_url": p.AvatarURL, "type": "User", "site_admin": false})
}

func (g *GitHub) emails(w http.ResponseWriter, grant *gitHubGrant) {
	if !strings.Contains(grant.request.Get("scope"), "user:email") {
		tell(w, http.StatusNotFound, map[string]string{"message": "Not Found"})
		return
	}
	all := []any{}
	for _, e := range grant.person.Emails {
		all = append(all, map[string]any{"email": e.Email, "primary": e.Primary, "verified": e.Verified, "visibility": nil})
	}
	tell(w, http.StatusOK, all)
}

func (g *GitHub) root(w http.ResponseWriter, _ *http.Request) {
	tell(w, http.StatusOK, map[string]string{"current_user_url": g.URL() + string(GitHubUser)})
}

// tell answers in JSON.
func tell(w http.ResponseWriter, status int, answer any) {
	body, err := json.Marshal(answer)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
