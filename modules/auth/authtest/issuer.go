package authtest

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"html/template"
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
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/latchkey-go/latchkey/modules/auth"
)

// Issuer is an OpenID Connect issuer for tests: discovery, authorization code flow with PKCE, userinfo and keys, over
// HTTP on a loopback address. It has one client, and whoever comes to it is signed in at once, as the Person that
// SignIn named last. It is stricter than most: a request without state, nonce or PKCE by S256 is refused, and so is a
// code that is brought twice or by a client that cannot prove itself.
//
//	issuer := authtest.NewIssuer(t, authtest.IssuerOptions{})
//	issuer.SignIn(authtest.Person{Subject: "ada-1815", Email: "ada@example.com", EmailVerified: true})
//	… begin at the provider, with issuer.URL(), issuer.ClientID() and issuer.ClientSecret()
//	callback, err := issuer.Visit(location) // what a browser would bring to the callback
//
// Misbehave, Fail and Alter make it lie, break and say strange things; Behave puts an end to that. It is safe for
// concurrent use.
type Issuer struct {
	options IssuerOptions
	server  *httptest.Server
	parts   *brittle

	mu      sync.Mutex
	person  Person
	wrong   map[Misbehaviour]bool
	altered map[Endpoint]func(map[string]any)
	keys    []issuerKey               // those published; the last one signs
	other   issuerKey                 // of another algorithm, published while OtherAlgorithm is what it does
	thief   func() (issuerKey, error) // a key that is never published
	grants  map[string]*grant
	asked   url.Values
}

// IssuerOptions say what an Issuer is like. The zero value is a good one.
type IssuerOptions struct {
	// TLS serves by https, with a certificate that the client of Issuer.Client trusts, and no other.
	TLS bool

	// Path is the path of the issuer's URL, such as "/realms/staff"; empty: it has none.
	Path string

	// Algorithm signs ID tokens: ES256 if empty, RS256 or EdDSA.
	Algorithm string

	// ClientID and ClientSecret are the client's; made up if empty.
	ClientID, ClientSecret string

	// ClientAuth is the one way in which the client may prove itself at the token endpoint, client_secret_basic or
	// client_secret_post; either if empty.
	ClientAuth string

	// NoKeyID leaves out the kid of keys and ID tokens, as issuers with a single key may.
	NoKeyID bool

	// OAuth has it be a server of plain OAuth 2.0, for providers of vendors that do not speak OpenID Connect: it wants no nonce and
	// no scope openid, and gives no ID token. Person.Claims are what userinfo tells in the vendor's own words.
	OAuth bool

	// UserinfoOnly keeps e-mail address and profile out of the ID token, as many issuers do: they are told by userinfo.
	UserinfoOnly bool

	// Nameless leaves iss out of callbacks, and does not announce it: RFC 9207 is younger than many issuers.
	Nameless bool

	// TenantPath makes it an issuer of many tenants, such as Microsoft's: a path with {tenantid} for the tenant, which stands as the
	// issuer in the document and in the keys. The iss of an ID token is that of the person's tenant, their claim tid. A path without
	// {tenantid} is the issuer of all.
	TenantPath string
}

// Person is somebody with an account at an Issuer. E-mail address and profile are told to who asks for the scopes email
// and profile.
type Person struct {
	Subject       string
	Email         string
	EmailVerified bool
	Name          string
	GivenName     string
	FamilyName    string
	Picture       string

	// Claims are further ones, of the ID token and of userinfo whatever the scopes are. They replace those above and
	// the issuer's own; one that is nil is left out: {"email_verified": "true"}, {"email_verified": nil}, {"acr": "mfa"},
	// {"auth_time": a day ago, in seconds}.
	Claims map[string]any
}

// Endpoint is a part of an Issuer.
type Endpoint string

// The endpoints of an Issuer.
const (
	Discovery     Endpoint = "/.well-known/openid-configuration"
	Authorization Endpoint = "/authorize"
	Token         Endpoint = "/token"
	Keys          Endpoint = "/keys"
	Userinfo      Endpoint = "/userinfo"
)

// Callback is what an issuer sends a browser back with.
type Callback struct {
	URL    string     // the redirect_uri of the request, as it was
	Method string     // GET, or POST by response_mode=form_post
	Values url.Values // code, state and iss; or error, state and iss
}

// grant is one authorization: its code, and the access token that came of it.
type grant struct {
	person    Person
	request   url.Values
	expires   time.Time
	used      bool   // the code
	access    string // the access token; empty: none yet, or revoked
	signedIn  time.Time
	requested map[string]bool // the scopes
}

// codeTTL is how long an authorization code is good for.
const codeTTL = time.Minute

// NewIssuer starts an issuer, which ends with the test. Until SignIn names somebody else, the person is Ada:
// subject ada-1815, ada@example.com, verified.
func NewIssuer(t testing.TB, o IssuerOptions) *Issuer {
	t.Helper()
	i, err := StartIssuer(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(i.Close)
	return i
}

// StartIssuer is NewIssuer where there is no test: in an Example, or to try a program by hand. Close ends it.
func StartIssuer(o IssuerOptions) (*Issuer, error) {
	if o.Path != "" && (!strings.HasPrefix(o.Path, "/") || strings.HasSuffix(o.Path, "/")) {
		return nil, fmt.Errorf("authtest: the issuer's Path is %q; want one like /realms/staff", o.Path)
	}
	if !slices.Contains([]string{"", "client_secret_basic", "client_secret_post"}, o.ClientAuth) {
		return nil, fmt.Errorf("authtest: ClientAuth is %q; want client_secret_basic, client_secret_post or nothing", o.ClientAuth)
	}
	o.Algorithm = cmp.Or(o.Algorithm, "ES256")
	o.ClientID, o.ClientSecret = cmp.Or(o.ClientID, "client-"+rand.Text()[:8]), cmp.Or(o.ClientSecret, "secret-"+rand.Text())
	key, err := newIssuerKey(o.Algorithm)
	if err != nil {
		return nil, err
	}
	other, err := newIssuerKey(map[bool]string{true: "EdDSA", false: "ES256"}[o.Algorithm == "ES256"])
	if err != nil {
		return nil, err
	}
	i := &Issuer{options: o, parts: newBrittle(o.Path), keys: []issuerKey{key}, other: other,
		thief:  sync.OnceValues(func() (issuerKey, error) { return newIssuerKey(o.Algorithm) }),
		grants: make(map[string]*grant)}
	i.SignIn(Person{Subject: "ada-1815", Email: "ada@example.com", EmailVerified: true,
		Name: "Ada Lovelace", GivenName: "Ada", FamilyName: "Lovelace"})
	i.Behave()

	mux := http.NewServeMux()
	for endpoint, handler := range map[Endpoint]http.HandlerFunc{
		Discovery: i.discovery, Authorization: i.authorization, Token: i.token, Keys: i.publishedKeys, Userinfo: i.userinfo,
	} {
		mux.Handle(o.Path+string(endpoint), i.parts.at(endpoint, handler))
		mux.Handle(o.Path+moved+string(endpoint), handler)
	}
	i.server = httptest.NewUnstartedServer(mux)
	i.server.Config.ErrorLog = log.New(io.Discard, "", 0) // clients that do not trust it are what some tests are about
	if o.TLS {
		i.server.StartTLS()
	} else {
		i.server.Start()
	}
	return i, nil
}

// Close ends an issuer of StartIssuer, and whoever waits for an answer.
func (i *Issuer) Close() {
	close(i.parts.closing)
	i.server.CloseClientConnections()
	i.server.Close()
}

// URL is the issuer, as it is configured and as it stands in the claim iss.
func (i *Issuer) URL() string { return i.server.URL + i.options.Path }

// Endpoint is the address of an endpoint.
func (i *Issuer) Endpoint(e Endpoint) string { return i.URL() + string(e) }

// ClientID is the client's id.
func (i *Issuer) ClientID() string { return i.options.ClientID }

// ClientSecret is the client's secret.
func (i *Issuer) ClientSecret() string { return i.options.ClientSecret }

// Origin is where the issuer is, without a path.
func (i *Issuer) Origin() string { return i.server.URL }

// Client is an HTTP client that trusts the issuer's certificate.
func (i *Issuer) Client() *http.Client { return i.server.Client() }

// SignIn names who signs in from now on.
func (i *Issuer) SignIn(p Person) {
	i.mu.Lock()
	defer i.mu.Unlock()
	p.Claims = maps.Clone(p.Claims)
	i.person = p
}

// Visit does what a person's browser does at the authorization endpoint, and returns what it would bring to the
// callback. The error says why the issuer would show its own page instead: a location that is not its own, another
// client, no redirect_uri.
func (i *Issuer) Visit(location string) (Callback, error) {
	at, err := url.Parse(location)
	if err != nil {
		return Callback{}, fmt.Errorf("authtest: the location is no URL: %w", err)
	}
	query := at.Query()
	at.RawQuery = ""
	if at.String() != i.Endpoint(Authorization) {
		return Callback{}, fmt.Errorf("authtest: the location is at %s; the issuer authorizes at %s", at, i.Endpoint(Authorization))
	}
	i.parts.hit(Authorization)
	return i.authorize(query)
}

// Back is Visit as Case.Back wants it.
func (i *Issuer) Back(t testing.TB, location string) auth.Input {
	t.Helper()
	callback, err := i.Visit(location)
	if err != nil {
		t.Fatal(err)
	}
	return callback.Input()
}

// BackAs is Back of somebody else; who signs in afterwards is who did before.
func (i *Issuer) BackAs(t testing.TB, location string, p Person) auth.Input {
	t.Helper()
	i.mu.Lock()
	before := i.person
	i.mu.Unlock()
	i.SignIn(p)
	defer i.SignIn(before)
	return i.Back(t, location)
}

// Input is the values as the JSON object in which a provider gets them.
func (c Callback) Input() auth.Input {
	object := make(map[string]string)
	for name := range c.Values {
		object[name] = c.Values.Get(name)
	}
	in, err := json.Marshal(object)
	if err != nil {
		panic(err) // there are texts in it, and nothing else
	}
	return in
}

// Request is the request that a browser would make. It has no cookies.
func (c Callback) Request() *http.Request {
	if c.Method == http.MethodPost {
		r := httptest.NewRequest(http.MethodPost, c.URL, strings.NewReader(c.Values.Encode()))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		return r
	}
	return httptest.NewRequest(http.MethodGet, c.Location(), nil)
}

// Location is URL with the values as its query.
func (c Callback) Location() string {
	at, err := url.Parse(c.URL)
	if err != nil {
		return c.URL
	}
	query := at.Query()
	maps.Copy(query, c.Values)
	at.RawQuery = query.Encode()
	return at.String()
}

// Asked returns the parameters of the last request for authorization.
func (i *Issuer) Asked() url.Values {
	i.mu.Lock()
	defer i.mu.Unlock()
	return maps.Clone(i.asked)
}

// Hits returns how often an endpoint was asked.
func (i *Issuer) Hits(e Endpoint) int {
	return i.parts.hitsOf(e)
}

// is reports whether the issuer misbehaves in a way.
func (i *Issuer) is(m Misbehaviour) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.wrong[m]
}

func (i *Issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	issuer := i.URL()
	if i.options.TenantPath != "" {
		issuer = i.server.URL + i.options.TenantPath
	}
	if i.is(OtherIssuer) {
		issuer = otherIssuer
	}
	methods := []string{"client_secret_basic", "client_secret_post"}
	if i.options.ClientAuth != "" {
		methods = []string{i.options.ClientAuth}
	}
	document := map[string]any{
		"issuer":                                         issuer,
		"authorization_endpoint":                         i.Endpoint(Authorization),
		"token_endpoint":                                 i.Endpoint(Token),
		"jwks_uri":                                       i.Endpoint(Keys),
		"userinfo_endpoint":                              i.Endpoint(Userinfo),
		"response_types_supported":                       []string{"code"},
		"response_modes_supported":                       []string{"query", "form_post"},
		"grant_types_supported":                          []string{"authorization_code"},
		"subject_types_supported":                        []string{"public"},
		"scopes_supported":                               []string{"openid", "email", "profile"},
		"id_token_signing_alg_values_supported":          []string{i.options.Algorithm},
		"token_endpoint_auth_methods_supported":          methods,
		"code_challenge_methods_supported":               []string{"S256"},
		"authorization_response_iss_parameter_supported": true,
	}
	if i.options.Nameless {
		delete(document, "authorization_response_iss_parameter_supported")
	}
	i.answer(w, Discovery, http.StatusOK, document)
}

var formPost = template.Must(template.New("").Parse(`<!doctype html><title>Back</title>
<body onload="document.forms[0].submit()"><form method="post" action="{{.URL}}">
{{range $name, $values := .Values}}{{range $values}}<input type="hidden" name="{{$name}}" value="{{.}}">
{{end}}{{end}}<button>Continue</button></form>`))

func (i *Issuer) authorization(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	callback, err := i.authorize(r.Form)
	switch {
	case err != nil:
		http.Error(w, err.Error(), http.StatusBadRequest)
	case callback.Method == http.MethodPost:
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Cache-Control", "no-store")
		_ = formPost.Execute(w, callback)
	default:
		http.Redirect(w, r, callback.Location(), http.StatusFound)
	}
}

// authorize signs the person in. An error is one of which nobody is sent back.
func (i *Issuer) authorize(request url.Values) (Callback, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.asked = maps.Clone(request)
	back, err := url.Parse(request.Get("redirect_uri"))
	switch {
	case request.Get("client_id") != i.options.ClientID:
		return Callback{}, fmt.Errorf("authtest: client_id is %q, which is not the issuer's client", request.Get("client_id"))
	case err != nil || !back.IsAbs() || back.Host == "" || back.Fragment != "":
		return Callback{}, fmt.Errorf("authtest: redirect_uri is %q; want an absolute URL without a fragment", request.Get("redirect_uri"))
	}
	callback := Callback{URL: request.Get("redirect_uri"), Method: http.MethodGet, Values: url.Values{}}
	if request.Get("response_mode") == "form_post" {
		callback.Method = http.MethodPost
	}
	if state := request.Get("state"); state != "" && !i.wrong[NoState] {
		callback.Values.Set("state", state)
	}
	if i.wrong[WrongState] {
		callback.Values.Set("state", rand.Text())
	}
	switch {
	case i.wrong[WrongIss]:
		callback.Values.Set("iss", otherIssuer)
	case !i.wrong[NoIss] && !i.options.Nameless:
		callback.Values.Set("iss", i.URL())
	}
	if code, why := i.refusal(request); code != "" {
		callback.Values.Set("error", code)
		callback.Values.Set("error_description", why)
		return callback, nil
	}
	code := rand.Text()
	g := &grant{person: i.person, request: request, expires: time.Now().Add(codeTTL), signedIn: time.Now(), requested: map[string]bool{}}
	for _, scope := range strings.Fields(request.Get("scope")) {
		g.requested[scope] = true
	}
	i.grants[code] = g
	callback.Values.Set("code", code)
	return callback, nil
}

// refusal is the error, and what is wrong with the request; empty if nothing is.
func (i *Issuer) refusal(request url.Values) (code, why string) {
	for name, values := range request {
		if len(values) > 1 {
			return "invalid_request", "a parameter is there twice: " + name
		}
	}
	challenge, err := base64.RawURLEncoding.DecodeString(request.Get("code_challenge"))
	switch {
	case i.wrong[Denied]:
		return "access_denied", "the person said no"
	case request.Get("response_type") != "code":
		return "unsupported_response_type", "response_type must be code"
	case !slices.Contains([]string{"", "query", "form_post"}, request.Get("response_mode")):
		return "invalid_request", "response_mode must be query or form_post"
	case !i.options.OAuth && !slices.Contains(strings.Fields(request.Get("scope")), "openid"):
		return "invalid_scope", "scope must have openid in it"
	case request.Get("state") == "":
		return "invalid_request", "state is missing: nothing would bind the answer to who asked"
	case !i.options.OAuth && request.Get("nonce") == "":
		return "invalid_request", "nonce is missing: nothing would bind the ID token to who asked"
	case request.Get("code_challenge_method") != "S256" || err != nil || len(challenge) != sha256.Size:
		return "invalid_request", "PKCE is missing: code_challenge by code_challenge_method=S256"
	}
	return "", ""
}

func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, code, why string) {
		i.answer(w, Token, status, map[string]any{"error": code, "error_description": why})
	}
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	if err := r.ParseForm(); err != nil || r.Method != http.MethodPost || r.URL.RawQuery != "" {
		refuse(http.StatusBadRequest, "invalid_request", "want a form, posted, and nothing in the URL")
		return
	}
	if !i.isClient(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="token"`)
		refuse(http.StatusUnauthorized, "invalid_client", "the client does not prove itself in the way that is announced")
		return
	}
	if r.PostForm.Get("grant_type") != "authorization_code" {
		refuse(http.StatusBadRequest, "unsupported_grant_type", "want authorization_code")
		return
	}
	body, err := i.redeem(r.PostForm)
	if err != nil {
		refuse(http.StatusBadRequest, "invalid_grant", err.Error())
		return
	}
	i.answer(w, Token, http.StatusOK, body)
}

// isClient reports whether a request proves the client, by one way and not by two.
func (i *Issuer) isClient(r *http.Request) bool {
	id, secret, basic := r.BasicAuth()
	_, post := r.PostForm["client_secret"]
	switch {
	case basic && !post && i.options.ClientAuth != "client_secret_post":
		var errID, errSecret error
		id, errID = url.QueryUnescape(id) // RFC 6749, 2.3.1
		secret, errSecret = url.QueryUnescape(secret)
		if errID != nil || errSecret != nil {
			return false
		}
	case post && !basic && i.options.ClientAuth != "client_secret_basic":
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	default:
		return false
	}
	return id == i.options.ClientID && subtle.ConstantTimeCompare([]byte(secret), []byte(i.options.ClientSecret)) == 1
}

// redeem turns a code into tokens, once.
func (i *Issuer) redeem(form url.Values) (map[string]any, error) {
	i.mu.Lock()
	defer i.mu.Unlock()
	g, sum := i.grants[form.Get("code")], sha256.Sum256([]byte(form.Get("code_verifier")))
	switch {
	case g == nil:
		return nil, errors.New("there is no such code")
	case g.used:
		g.access = "" // RFC 6749, 4.1.2: what was issued for a code that comes twice is revoked
		return nil, errors.New("the code was used")
	}
	g.used = true // whatever comes of it
	switch {
	case time.Now().After(g.expires):
		return nil, errors.New("the code has expired")
	case form.Get("redirect_uri") != g.request.Get("redirect_uri"):
		return nil, errors.New("redirect_uri is not that of the authorization request")
	case len(form.Get("code_verifier")) < 43 || base64.RawURLEncoding.EncodeToString(sum[:]) != g.request.Get("code_challenge"):
		return nil, errors.New("code_verifier is not the one of the code_challenge")
	}
	g.access = rand.Text()
	body := map[string]any{"access_token": g.access, "token_type": "Bearer", "expires_in": 300, "scope": g.request.Get("scope")}
	if !i.options.OAuth && !i.wrong[NoIDToken] {
		idToken, err := i.sign(i.claims(g))
		if err != nil {
			return nil, err
		}
		body["id_token"] = idToken
	}
	return body, nil
}

// claims are those of the ID token.
func (i *Issuer) claims(g *grant) jwt.MapClaims {
	now := time.Now()
	claims := jwt.MapClaims{
		"iss": i.issuerOf(g.person), "aud": i.options.ClientID, "iat": now.Unix(), "exp": now.Add(5 * time.Minute).Unix(),
		"auth_time": g.signedIn.Unix(), "nonce": g.request.Get("nonce"), "at_hash": i.accessTokenHash(g.access),
	}
	g.tell(claims, !i.options.UserinfoOnly)
	for m := range i.wrong {
		if spoil := spoils[m]; spoil != nil {
			spoil(i, claims)
		}
	}
	return claims
}

// issuerOf is the issuer of a person.
func (i *Issuer) issuerOf(p Person) string {
	if i.options.TenantPath == "" {
		return i.URL()
	}
	tenant, _ := p.Claims["tid"].(string)
	return i.server.URL + strings.Replace(i.options.TenantPath, "{tenantid}", tenant, 1)
}

// tell adds what is told of a person: all that was asked for, or what identifies them.
func (g *grant) tell(claims map[string]any, all bool) {
	p := g.person
	claims["sub"] = p.Subject
	if all && g.requested["email"] && p.Email != "" {
		claims["email"], claims["email_verified"] = p.Email, p.EmailVerified
	}
	for name, value := range map[string]string{"name": p.Name, "given_name": p.GivenName, "family_name": p.FamilyName, "picture": p.Picture} {
		if all && g.requested["profile"] && value != "" {
			claims[name] = value
		}
	}
	for name, value := range p.Claims {
		claims[name] = value
		if value == nil {
			delete(claims, name)
		}
	}
}

func (i *Issuer) userinfo(w http.ResponseWriter, r *http.Request) {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	claims := i.claimsFor(token)
	if !ok || claims == nil {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		i.answer(w, Userinfo, http.StatusUnauthorized, map[string]any{"error": "invalid_token"})
		return
	}
	i.answer(w, Userinfo, http.StatusOK, claims)
}

// claimsFor are what userinfo tells to who has an access token, and nil if it is none.
func (i *Issuer) claimsFor(access string) map[string]any {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, g := range i.grants {
		if access == "" || g.access != access {
			continue
		}
		claims := make(map[string]any)
		g.tell(claims, true)
		if i.wrong[OtherSubject] {
			claims["sub"] = "somebody-else-0666"
		}
		return claims
	}
	return nil
}

// answer writes an object as JSON, altered if a test wants that.
func (i *Issuer) answer(w http.ResponseWriter, e Endpoint, status int, object map[string]any) {
	i.mu.Lock()
	alter := i.altered[e]
	i.mu.Unlock()
	if alter != nil {
		alter(object)
	}
	body, err := json.Marshal(object)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if e == Token || e == Userinfo {
		w.Header().Set("Cache-Control", "no-store")
	}
	w.WriteHeader(status)
	_, _ = w.Write(body)
}
