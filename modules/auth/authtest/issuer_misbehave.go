package authtest

import (
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Misbehaviour is something that an issuer should not do: a lie, or the work of who has got between. After each of
// them a provider lets nobody in.
type Misbehaviour string

// What Misbehave makes an issuer do. Of the ID token:
const (
	WrongIssuer       Misbehaviour = "iss of another issuer"
	NoIssuer          Misbehaviour = "no iss"
	WrongAudience     Misbehaviour = "aud of another client"
	NoAudience        Misbehaviour = "no aud"
	ManyAudiences     Misbehaviour = "aud of two clients, and no azp"
	WrongParty        Misbehaviour = "azp of another client"
	WrongNonce        Misbehaviour = "nonce of another flow"
	NoNonce           Misbehaviour = "no nonce"
	NoSubject         Misbehaviour = "no sub"
	EmptySubject      Misbehaviour = "an empty sub"
	Expired           Misbehaviour = "exp an hour ago"
	NoExpiry          Misbehaviour = "no exp"
	NotYetValid       Misbehaviour = "nbf in an hour"
	IssuedInTheFuture Misbehaviour = "iat in an hour"

	Unsigned          Misbehaviour = "alg none"
	SignedByPublicKey Misbehaviour = "HS256 by the published key"
	SignedBySecret    Misbehaviour = "HS256 by the client's secret" // a provider may be told to take it; it is not to do so by itself
	BrokenSignature   Misbehaviour = "a broken signature"
	SwappedKey        Misbehaviour = "the published key's kid, and another key"
	UnknownKey        Misbehaviour = "a key that is not published"
	KeyInToken        Misbehaviour = "a key that the token itself brings (jwk)"
	KeyElsewhere      Misbehaviour = "a key at an address that the token names (jku)"
	OtherAlgorithm    Misbehaviour = "a published key of an algorithm that was not announced"
	NoIDToken         Misbehaviour = "no ID token"
)

// Of the other answers. OtherIssuer must be there before the provider discovers the issuer.
const (
	OtherIssuer  Misbehaviour = "discovery of another issuer"
	OtherSubject Misbehaviour = "userinfo of another sub"
	WrongIss     Misbehaviour = "iss of another issuer at the callback"
	NoIss        Misbehaviour = "no iss at the callback, although it is announced"
	WrongState   Misbehaviour = "another state at the callback"
	NoState      Misbehaviour = "no state at the callback"
	Denied       Misbehaviour = "an error at the callback, as of a person who says no"
)

// otherIssuer is one that is none of ours.
const otherIssuer = "https://issuer.invalid"

// spoils are what misbehaviour does to the claims of an ID token.
var spoils = map[Misbehaviour]func(*Issuer, jwt.MapClaims){
	WrongIssuer:       func(_ *Issuer, c jwt.MapClaims) { c["iss"] = otherIssuer },
	NoIssuer:          func(_ *Issuer, c jwt.MapClaims) { delete(c, "iss") },
	WrongAudience:     func(_ *Issuer, c jwt.MapClaims) { c["aud"] = "another-client" },
	NoAudience:        func(_ *Issuer, c jwt.MapClaims) { delete(c, "aud") },
	ManyAudiences:     func(i *Issuer, c jwt.MapClaims) { c["aud"] = []string{i.options.ClientID, "another-client"} },
	WrongParty:        func(_ *Issuer, c jwt.MapClaims) { c["azp"] = "another-client" },
	WrongNonce:        func(_ *Issuer, c jwt.MapClaims) { c["nonce"] = "the-nonce-of-another-flow" },
	NoNonce:           func(_ *Issuer, c jwt.MapClaims) { delete(c, "nonce") },
	NoSubject:         func(_ *Issuer, c jwt.MapClaims) { delete(c, "sub") },
	EmptySubject:      func(_ *Issuer, c jwt.MapClaims) { c["sub"] = "" },
	Expired:           func(_ *Issuer, c jwt.MapClaims) { c["exp"], c["iat"] = from(-time.Hour), from(-2*time.Hour) },
	NoExpiry:          func(_ *Issuer, c jwt.MapClaims) { delete(c, "exp") },
	NotYetValid:       func(_ *Issuer, c jwt.MapClaims) { c["nbf"], c["exp"] = from(time.Hour), from(2*time.Hour) },
	IssuedInTheFuture: func(_ *Issuer, c jwt.MapClaims) { c["iat"], c["exp"] = from(time.Hour), from(2*time.Hour) },
}

func from(d time.Duration) int64 { return time.Now().Add(d).Unix() }

// Misbehaviours are all of them, for a test of each:
//
//	for _, m := range authtest.Misbehaviours() {
//		t.Run(string(m), func(t *testing.T) { … issuer.Misbehave(m) … })
//	}
func Misbehaviours() []Misbehaviour {
	return []Misbehaviour{
		WrongIssuer, NoIssuer, WrongAudience, NoAudience, ManyAudiences, WrongParty, WrongNonce, NoNonce, NoSubject, EmptySubject,
		Expired, NoExpiry, NotYetValid, IssuedInTheFuture,
		Unsigned, SignedByPublicKey, SignedBySecret, BrokenSignature, SwappedKey, UnknownKey, KeyInToken, KeyElsewhere, OtherAlgorithm, NoIDToken,
		OtherIssuer, OtherSubject, WrongIss, NoIss, WrongState, NoState, Denied,
	}
}

// Misbehave makes the issuer do these things, and no others, until it is to Behave.
func (i *Issuer) Misbehave(all ...Misbehaviour) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.wrong = make(map[Misbehaviour]bool)
	for _, m := range all {
		if !slices.Contains(Misbehaviours(), m) {
			panic(fmt.Sprintf("authtest: an issuer does not know how to misbehave by %q", string(m)))
		}
		i.wrong[m] = true
	}
}

// Behave ends what Misbehave, Fail and Alter began.
func (i *Issuer) Behave() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.wrong, i.broken, i.altered = nil, make(map[Endpoint]Failure), make(map[Endpoint]func(map[string]any))
}

// Alter has f change what an endpoint answers with, a JSON object, until the issuer is to Behave: discovery, the keys,
// the answer of the token endpoint, userinfo. So discovery names addresses that nobody should ask:
//
//	issuer.Alter(authtest.Discovery, func(m map[string]any) { m["token_endpoint"] = "http://169.254.169.254/token" })
//
// What an ID token says of a person is in Person.Claims.
func (i *Issuer) Alter(e Endpoint, f func(object map[string]any)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.altered[e] = f
}

// Failure is a way in which an endpoint breaks.
type Failure string

// How an endpoint breaks.
const (
	Silent      Failure = "takes the request and never answers"
	Dripping    Failure = "begins to answer, and never ends"
	Huge        Failure = "answers with more than anybody should read"
	Redirecting Failure = "answers with a redirect to where the right answer is"
	Failing     Failure = "answers 500"
	Missing     Failure = "answers 404"
	HangsUp     Failure = "hangs up"
	NotJSON     Failure = "answers with a page"
	WrongType   Failure = "answers rightly, as text/html"
)

// Failures are all of them, for a test of each.
func Failures() []Failure {
	return []Failure{Silent, Dripping, Huge, Redirecting, Failing, Missing, HangsUp, NotJSON, WrongType}
}

// Fail breaks an endpoint until the issuer is to Behave. Visit does not feel it: it asks nobody over HTTP.
func (i *Issuer) Fail(e Endpoint, f Failure) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.broken[e] = f
}

// moved is the path, below the issuer's, where the right answers are if an endpoint is Redirecting.
const moved = "/moved"

// hugeAnswer is how many bytes of white space come before a Huge answer.
const hugeAnswer = 64 << 20

// at is an endpoint, with what breaks it.
func (i *Issuer) at(e Endpoint, right http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		i.hit(e)
		i.mu.Lock()
		failure := i.broken[e]
		i.mu.Unlock()
		switch failure {
		case Silent:
			i.wait(r, 0)
		case Dripping:
			w.Header().Set("Content-Type", "application/json")
			for more := true; more; more = i.wait(r, 50*time.Millisecond) {
				_, _ = io.WriteString(w, " ")
				_ = http.NewResponseController(w).Flush()
			}
		case Huge:
			w.Header().Set("Content-Type", "application/json")
			space := strings.Repeat(" ", 64<<10)
			for n := 0; n < hugeAnswer; n += len(space) {
				if _, err := io.WriteString(w, space); err != nil {
					return // the client has had enough
				}
			}
			right(w, r)
		case Redirecting:
			http.Redirect(w, r, i.options.Path+moved+string(e)+map[bool]string{true: "?" + r.URL.RawQuery}[r.URL.RawQuery != ""], http.StatusTemporaryRedirect)
		case Failing:
			http.Error(w, `{"error":"server_error"}`, http.StatusInternalServerError)
		case Missing:
			http.NotFound(w, r)
		case HangsUp:
			panic(http.ErrAbortHandler)
		case NotJSON:
			w.Header().Set("Content-Type", "application/json")
			_, _ = io.WriteString(w, "<!doctype html><title>Down for maintenance</title>")
		case WrongType:
			right(typed{w}, r)
		default:
			right(w, r)
		}
	}
}

// wait lets time pass, all of it if it is 0, and reports whether somebody still listens.
func (i *Issuer) wait(r *http.Request, d time.Duration) bool {
	var tick <-chan time.Time // never, unless there is a time
	if d > 0 {
		tick = time.After(d)
	}
	select {
	case <-tick:
		return true
	case <-r.Context().Done():
	case <-i.closing:
	}
	return false
}

// typed answers as text/html.
type typed struct{ http.ResponseWriter }

func (w typed) WriteHeader(status int) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.ResponseWriter.WriteHeader(status)
}
