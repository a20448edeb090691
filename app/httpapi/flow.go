package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/kernel/strictjson"
)

// This file has the sign-ins of two steps. A flow is begun for an actor type, a provider and a browser, which keeps a secret of
// it in a cookie; whoever comes back must be all three.
//
//	begin     answers where to send the browser, to a script
//	start     sends it there, for who has no script
//	callback  is where it comes back to

var (
	errCallbackURL = fault.New(fault.Invalid, "callback_url_unknown", "This callback_url is not one of http.callback_urls, letter for letter.")
	errNext        = fault.New(fault.Invalid, "next_not_local", "next must be a path of this site, such as /app.")
)

// outcome is the answer of a route that answers with one of several things, or sends the browser on.
type outcome struct {
	body  any
	moved string
}

type locationAnswer struct {
	Location string `json:"location,omitempty"`
	State    string `json:"state,omitempty"` // of a provider that sends nobody away: what to bring back with the answer to its challenge
}

// onPage is an error of a request that a browser makes by itself: nobody there reads JSON. at is the path of the page that tells
// it; empty: the sign-in page.
type onPage struct {
	error
	at string
}

func (e onPage) Unwrap() error { return e.error }

// inTwoSteps reports whether the actor type may use the provider of the call, and it has two steps.
func (a *API) inTwoSteps(actor, provider string) bool {
	infos, err := a.link.Providers(actor)
	return err == nil && slices.ContainsFunc(infos, func(i auth.ProviderInfo) bool { return i.ID == provider && i.Flow == auth.FlowRedirect })
}

func (c *call) inTwoSteps(a *API) bool {
	return a.inTwoSteps(c.PathValue("actor"), c.PathValue("provider"))
}

// refuseTwoSteps says why there is no sign-in of two steps: the actor type is not there, may not use the provider, or that has
// one step.
func (a *API) refuseTwoSteps(actor, provider string) error {
	infos, err := a.link.Providers(actor)
	switch {
	case err != nil:
		return err
	case slices.ContainsFunc(infos, func(i auth.ProviderInfo) bool { return i.ID == provider }):
		return auth.ErrUnsupported.Msg("Redirect authentication not implemented for provider %s", provider)
	default:
		return link.ErrProvider.Msg("The actor type %s is not allowed to use the auth provider %s", actor, provider)
	}
}

// beginsByGet is the route that providers of two steps alone take.
const beginsByGet = "GET /auth/{actor}/{provider}"

// takesGet reports whether the route of the pattern, which the path has, is there for the provider in it.
func (a *API) takesGet(pattern, path string) bool {
	parts := strings.Split(path, "/")
	return pattern != beginsByGet || len(parts) == 4 && a.inTwoSteps(parts[2], parts[3])
}

// otherMethod refuses a method that the table has for the path and this provider has not.
func otherMethod(c *call, allow string) error {
	c.w.Header().Set("Allow", allow)
	return errNoMethod
}

// callbackPath is where providers send people back to, unless an application has them come to itself.
func callbackPath(actor, provider string) string {
	return "/auth/" + actor + "/" + provider + "/callback"
}

// binding is what a flow of the call is bound to: the browser above all. Where the application has people come back to a page of
// its own, whose script may not be let to keep our cookie, there may be nothing to tell browsers by: see docs/http-api.md.
func (a *API) binding(c *call, in auth.Input) (b auth.Binding, secret string, err error) {
	var asked struct {
		CallbackURL *string `json:"callback_url"`
	}
	if err := in.Decode(&asked); err != nil {
		return b, "", errBody.Msg("Invalid request: Expected type: 'string' for field 'callback_url'")
	}
	b.ActorType = c.PathValue("actor")
	b.CallbackURL = a.site.URL(callbackPath(b.ActorType, c.PathValue("provider")))
	if own := asked.CallbackURL; own != nil && *own != b.CallbackURL {
		if !slices.Contains(a.options.CallbackURLs, *own) {
			return b, "", errCallbackURL
		}
		b.CallbackURL, b.Portable = *own, !a.options.RequireFlowCookie
	}
	b.Unasked = c.Method == http.MethodGet     // a link anywhere, for one
	if strings.HasPrefix(b.CallbackURL, "/") { // of what a request says of the host it has reached, nothing is believed
		return b, "", errors.New("httpapi: web.Options.PublicURL is not set, so no provider can be told where to send people back to")
	}
	secret = a.site.FlowSecret(c.Request)
	b.Browser = secret
	return b, secret, nil
}

// begin starts a sign-in of two steps and says where to send the browser.
func (a *API) begin(c *call, in auth.Input) (outcome, error) {
	b, secret, err := a.binding(c, in)
	if err != nil {
		return outcome{}, err
	}
	f, err := a.link.Begin(c.Context(), c.PathValue("provider"), in, b, a.site.Client(c.Request))
	if err != nil {
		return outcome{}, err
	}
	return a.begun(c, f, secret), nil
}

func (a *API) begun(c *call, f auth.Flow, secret string) outcome {
	a.site.SetFlow(c.w, secret, f.ExpiresAt)
	answer := locationAnswer{Location: f.RedirectURL}
	if f.RedirectURL == "" {
		answer.State = f.ID
	}
	return outcome{body: answer}
}

// beginByGet is begin for what the query says. Credentials do not travel there: only providers of two steps take it.
func (a *API) beginByGet(c *call) (outcome, error) {
	if !c.inTwoSteps(a) { // perhaps it is the path of another route, such as /auth/token/refresh
		return outcome{}, otherMethod(c, strings.Join(a.allowed(c.Request), ", "))
	}
	if c.Method == http.MethodHead {
		return outcome{}, otherMethod(c, "GET, POST")
	}
	in, err := readQueryInput(c)
	if err != nil {
		return outcome{}, err
	}
	return a.begin(c, in)
}

// beginLink starts a flow that adds a way to sign in to the caller's account, in this session alone. next is where the browser goes in
// the end, and learns what has come of it; empty: whoever finishes it is answered.
func (a *API) beginLink(c *call, again, in auth.Input, next string) (outcome, error) {
	if next != "" && !web.IsLocal(next) {
		return outcome{}, errNext
	}
	b, secret, err := a.binding(c, in)
	if err != nil {
		return outcome{}, err
	}
	b.ReturnTo = next
	b.Portable = b.Portable || c.caller.claims != nil // the session tells them from others
	f, err := a.link.BeginLink(c.Context(), c.caller.session, again, c.PathValue("provider"), in, b)
	if err != nil {
		return outcome{}, err
	}
	return a.begun(c, f, secret), nil
}

// start begins a sign-in for a browser that has followed a link, and sends it to the provider. What goes wrong is told on a page.
func (a *API) start(c *call) (outcome, error) {
	out, err := a.startAt(c)
	if err != nil && !errors.Is(err, errNoMethod) {
		err = onPage{error: err}
	}
	return out, err
}

func (a *API) startAt(c *call) (outcome, error) {
	actor, provider := c.PathValue("actor"), c.PathValue("provider")
	switch {
	case !c.inTwoSteps(a):
		return outcome{}, a.refuseTwoSteps(actor, provider)
	case c.Method == http.MethodHead:
		return outcome{}, otherMethod(c, "GET")
	}
	in, err := readQueryInput(c)
	if err != nil {
		return outcome{}, err
	}
	members := map[string]string{}
	if err := in.Decode(&members); err != nil {
		return outcome{}, err
	}
	next, sent := members["next"]
	switch {
	case !sent:
		next = a.home(actor)
	case !web.IsLocal(next):
		return outcome{}, errNext
	}
	delete(members, "next")
	delete(members, "callback_url") // who has no script comes back here
	if in, err = json.Marshal(members); err != nil {
		return outcome{}, err
	}
	b, secret, err := a.binding(c, in)
	if err != nil {
		return outcome{}, err
	}
	b.ReturnTo, b.Redirect = next, true
	f, err := a.link.Begin(c.Context(), provider, in, b, a.site.Client(c.Request))
	if err != nil {
		return outcome{}, err
	}
	a.site.SetFlow(c.w, secret, f.ExpiresAt)
	return outcome{moved: f.RedirectURL}, nil
}

// home is where people go who have not said where they want to.
func (a *API) home(actor string) string {
	if actor == link.ActorUser && a.options.Pages != "" {
		return a.options.Pages
	}
	return "/"
}

// callback is where people come back to from a provider, by GET.
func (a *API) callback(c *call) (outcome, error) {
	if c.Method == http.MethodHead && c.inTwoSteps(a) { // who looks whether a link is there does not use it up
		return outcome{}, otherMethod(c, "GET, POST")
	}
	in, err := readQueryInput(c)
	if err != nil {
		return outcome{}, err
	}
	return a.finish(c, in)
}

// takesCallback reads the POST of a callback: JSON from a script; or a form that the provider has had the browser send
// (response_mode=form_post). With a form no cookie of ours travels, as it comes from another site, and none is looked at: the
// browser is sent on to the same address by GET, where they do.
func takesCallback(a *API) handler {
	return handler{reflect.TypeFor[auth.Input](), reflect.TypeFor[outcome](), func(c *call) (any, error) {
		if isForm(c.Request) && c.inTwoSteps(a) {
			return readFormReturn(c)
		}
		data, _, err := readObject(c)
		return auth.Input(data), err
	}, func(c *call, in any) (any, error) {
		switch in := in.(type) {
		case formReturn:
			return outcome{moved: "?" + string(in)}, nil
		case auth.Input:
			return a.finish(c, in)
		default:
			return nil, fmt.Errorf("httpapi: a callback is read as %T", in)
		}
	}}
}

// formReturn is the query that a form of a provider becomes.
type formReturn string

// returned are the parameters of an answer (RFC 6749, 4.1.2; RFC 9207) that may travel on in an address. What else a provider
// may send, tokens above all, must not.
var returned = []string{"code", "state", "iss", "error"}

const maxReturned = 8 << 10 // of all of them, in bytes: browsers and servers take addresses of as much

func isForm(r *http.Request) bool {
	media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && media == "application/x-www-form-urlencoded"
}

func readFormReturn(c *call) (formReturn, error) {
	data, err := io.ReadAll(http.MaxBytesReader(c.w, c.Body, strictjson.MaxBody))
	var tooLarge *http.MaxBytesError
	switch {
	case errors.As(err, &tooLarge):
		return "", errTooLarge
	case err != nil:
		return "", errBody.Msg("The request body could not be read to its end.")
	}
	values, err := url.ParseQuery(string(data))
	if err != nil {
		return "", errBody.Msg("The form is not well-formed.")
	}
	carried := url.Values{}
	for _, name := range returned {
		switch given := values[name]; {
		case len(given) > 1:
			return "", errBody.Msg("Invalid request: '%s' is given more than once", name)
		case len(given) == 1:
			carried.Set(name, given[0])
		}
	}
	query := carried.Encode()
	if len(query) > maxReturned {
		return "", errTooLarge
	}
	return formReturn(query), nil
}

// formOfProvider reports whether the request is such a form, which comes from another site by its nature.
func (a *API) formOfProvider(r *http.Request) bool {
	of, ok := isCallback(r.URL.Path)
	return ok && r.Method == http.MethodPost && isForm(r) && a.inTwoSteps(of[0], of[1])
}

// readQueryInput reads the query as what a provider reads: an object of texts.
func readQueryInput(c *call) (auth.Input, error) {
	values, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		return nil, errBody.Msg("The query is not well-formed.")
	}
	members := map[string]string{}
	for name, given := range values {
		if text := name + given[0]; len(given) > 1 || !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
			return nil, errBody.Msg("Invalid request: a parameter is given more than once, or is no text")
		}
		members[name] = given[0]
	}
	return json.Marshal(members)
}

// finish lets in who comes back, or adds the way that was asked for. A browser that comes by itself, whoever began the flow, is led to a
// page, as nobody there reads JSON, and keeps the session: it must be the browser that the flow is bound to.
func (a *API) finish(c *call, in auth.Input) (outcome, error) {
	sessions, err := a.sessionsOf(c)
	if err != nil {
		return outcome{}, err
	}
	back := auth.Return{ActorType: c.PathValue("actor"), Sessions: sessions}
	alone := byItself(c.Request)
	secret, kept := a.site.Flow(c.Request)
	if back.Browser = secret; secret == "" && (kept || alone) {
		back.Browser = "another" // it keeps cookies of ours, and would have kept that one: it was begun elsewhere
	}
	r, err := a.link.Finish(c.Context(), c.PathValue("provider"), in, back, a.site.Client(c.Request), func(ctx context.Context, session auth.Session) context.Context {
		c.tried, c.caller = link.ProviderLinked{}.Topic(), caller{session: session}
		a.acting(c)
		return audit.WithActor(ctx, audit.ActorOf(c.Context()))
	})
	switch {
	case err != nil && r.Session.ID != "" && r.ReturnTo != "":
		return outcome{}, onPage{err, r.ReturnTo}
	case errors.Is(err, auth.ErrSession):
		return outcome{}, errUnauthorized
	case err != nil && r.ReturnTo != "":
		return outcome{}, onPage{error: err}
	case err != nil:
		return outcome{}, err
	case r.Session.ID != "" && r.ReturnTo != "":
		return outcome{moved: withQuery(r.ReturnTo, "linked", r.Way.ID)}, nil
	}
	if r.ReturnTo == "" && alone {
		r.ReturnTo = a.home(back.ActorType)
	}
	if r.Session.ID != "" {
		return outcome{moved: r.ReturnTo, body: wayAnswer{a.showWay(r.Way, wayAttributes)}}, nil
	}
	a.knows(c, r.Login.Session)
	if r.ReturnTo == "" {
		return outcome{body: a.signedInAnswer(r.Login)}, nil
	}
	if err := a.enter(c, r.Login.Session); err != nil {
		return outcome{}, onPage{error: err}
	}
	to := r.ReturnTo
	if r.Login.Waiting != nil && back.ActorType == link.ActorUser && a.options.Pages != "" {
		to = a.options.Pages + "/login?waiting=" + url.QueryEscape(r.Login.Waiting.Reason) // which is told once, and kept nowhere
	}
	return outcome{moved: to}, nil
}

// byItself reports whether a browser has come by itself, by an address or by a form, and not by a script.
func byItself(r *http.Request) bool {
	if mode := r.Header.Get("Sec-Fetch-Mode"); mode != "" && mode != "navigate" {
		return false
	}
	return (r.Method == http.MethodGet || r.Method == http.MethodPost && isForm(r)) && strings.Contains(r.Header.Get("Accept"), "text/html")
}

// looksAtCallback reports whether somebody sees in a browser what a callback answers.
func looksAtCallback(r *http.Request) bool {
	_, ok := isCallback(r.URL.Path)
	return ok && byItself(r)
}

// isCallback reports whether the path is that of a callback, and of which actor type and provider.
func isCallback(path string) (of [2]string, ok bool) {
	parts := strings.Split(path, "/")
	if len(parts) != 5 || parts[0] != "" || parts[1] != "auth" || parts[4] != "callback" {
		return of, false
	}
	return [2]string{parts[2], parts[3]}, true
}

// sessionsOf are the sessions that the caller is signed in by, of cookie and token. To none of them does it owe anything yet.
func (a *API) sessionsOf(c *call) (all []auth.Session, err error) {
	for _, by := range []guard{byCookie, bearer} {
		probe := &call{Request: c.Request, w: c.w}
		switch err := by(a, probe); {
		case err == nil:
			all = append(all, probe.caller.session)
		case !errors.Is(err, errUnauthorized):
			return nil, err
		}
	}
	return all, nil
}

func byCookie(a *API, c *call) error {
	secret := a.site.Cookie(c.Request)
	if secret == "" {
		return errUnauthorized
	}
	session, err := a.auth.CheckCookie(c.Context(), secret)
	if refused(err) {
		return errUnauthorized
	}
	c.caller = caller{session: session}
	return err
}

// move has the browser get another address.
func (a *API) move(w http.ResponseWriter, to string) {
	w.Header().Set("Location", to)
	a.write(w, http.StatusSeeOther, "text/plain; charset=utf-8", []byte("Go on in your browser."))
}

// withQuery is a local path with one more parameter.
func withQuery(path, name, value string) string {
	path, fragment, _ := strings.Cut(path, "#")
	with := "?"
	if strings.Contains(path, "?") {
		with = "&"
	}
	path += with + url.QueryEscape(name) + "=" + url.QueryEscape(value)
	if fragment != "" {
		path += "#" + fragment
	}
	return path
}

// failOnPage tells an error to somebody who looks at a browser: on the page at the path, or else the sign-in page, which is asked to say
// it by its reason, or where there is none for the actor type, by the text alone.
func (a *API) failOnPage(w http.ResponseWriter, r *http.Request, err error, at string) {
	if errors.Is(err, errUnauthorized) { // the session of the flow has ended in this moment
		err = auth.ErrFlow
	}
	f, p := problemOf(err)
	if f == nil {
		if !errors.Is(err, context.Canceled) { // the caller has gone
			a.log.Error("request failed", "request_id", web.RequestID(r.Context()), "method", r.Method, "path", r.URL.Path, "error", err)
		}
		f, p = nothingToTell()
	}
	if at != "" {
		web.SetRetryAfter(w, f.RetryAfter)
		a.move(w, withQuery(at, "problem", p.Reason))
		return
	}
	a.tellOnPage(w, r, f, p)
}

// nothingToTell is told of what is our doing.
func nothingToTell() (*fault.Error, problem) {
	return &fault.Error{}, problem{Message: "Something went wrong on our side. Try again in a moment.", Reason: "internal"}
}

func (a *API) tellOnPage(w http.ResponseWriter, r *http.Request, f *fault.Error, p problem) {
	web.SetRetryAfter(w, f.RetryAfter)
	if a.options.Pages != "" && strings.HasPrefix(r.URL.Path, "/auth/"+link.ActorUser+"/") {
		a.move(w, a.options.Pages+"/login?problem="+url.QueryEscape(p.Reason))
		return
	}
	a.write(w, web.Status(f.Kind), "text/plain; charset=utf-8", []byte(p.Message+"\n"))
}

// checkCallbackURLs refuses what no provider could send anybody back to.
func checkCallbackURLs(all []string) error {
	for _, u := range all {
		if !web.IsCallbackURL(u) {
			return fmt.Errorf("httpapi: callback URL %q: it must be http:// or https:// with a host in lower case and a path, without user, fragment, and a query of code, state, iss or error", u)
		}
	}
	return nil
}
