package httpapi

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/app/webhook"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/user"
)

// routes is every endpoint there is: the single source of routes and guards.
func (a *API) routes() []route {
	return []route{
		{"POST", "/auth/{actor}/{provider}/register", public, takesInput(a.register)},
		{"POST", "/auth/{actor}/{provider}", public, takesInput(a.signIn)},
		{"GET", "/auth/{actor}/{provider}", ownScript, takesNothing(a.beginByGet)}, // of two steps alone
		{"GET", "/auth/{actor}/{provider}/start", ownScriptOrLink, takesNothing(a.start)},
		{"GET", "/auth/{actor}/{provider}/callback", public, takesNothing(a.callback)},
		{"POST", "/auth/{actor}/{provider}/callback", public, takesCallback(a)}, // a form is for other sites to send: it looks at no cookie
		{"POST", "/auth/{actor}/{provider}/reset-password", public, takes(a.requestReset)},
		{"POST", "/auth/{actor}/{provider}/update", public, takesInput(a.updateProvider)}, // the handler wants a reset token, or a session and the password
		{"GET", "/auth/{actor}/providers", public, takesNothing(a.providers)},
		{"POST", "/auth/{actor}/{provider}/link", signedIn, takesInput(a.linkWay)},
		{"GET", "/auth/provider-identities", signedIn, takesNothing(a.listWays)},
		{"DELETE", "/auth/provider-identities/{id}", signedIn, takes(a.unlinkWay)},
		{"POST", "/auth/{provider}/user", bearer, takesNothing(a.createUser)},
		{"POST", "/auth/session", bearer, takesNothing(a.createSession)},
		{"DELETE", "/auth/session", signedIn, takesNothing(a.deleteSession)},
		{"POST", "/auth/token/refresh", signedIn, takesNothing(a.refresh)},
		{"GET", "/auth/sessions", signedIn, takesNothing(a.listOwnSessions)},
		{"DELETE", "/auth/sessions", signedIn, takesNothing(a.endOtherSessions)},
		{"DELETE", "/auth/sessions/{id}", signedIn, takesNothing(a.endOwnSession)},
		{"POST", "/auth/verification/request", signedIn, takes(a.requestVerification)},
		{"POST", "/auth/verification/confirm", signedInToVerify, takes(a.confirmVerification)},

		{"GET", "/admin/users", may("user:read"), takesNothing(a.listUsers)},
		{"GET", "/admin/users/me", member, takesNothing(a.me)},
		{"POST", "/admin/users/me/email", member, takes(a.requestEmailChange)},
		{"POST", "/admin/users/me/email/confirm", member, takes(a.confirmEmailChange)},
		{"POST", "/admin/users/me/profile", member, takes(a.updateProfile)},
		{"POST", "/admin/users/me/delete", member, takes(a.deleteMe)},
		{"GET", "/admin/users/{id}", may("user:read"), takesNothing(a.retrieveUser)},
		{"POST", "/admin/users/{id}", may("user:update"), takes(a.updateUser)},
		{"DELETE", "/admin/users/{id}", may("user:delete"), takesNothing(a.deleteUser)},
		{"POST", "/admin/users/{id}/deactivate", may("user:update"), takesNothing(a.deactivateUser)},
		{"POST", "/admin/users/{id}/reactivate", may("user:update"), takesNothing(a.reactivateUser)},
		{"POST", "/admin/users/{id}/restore", may("user:delete"), takesNothing(a.restoreUser)},
		{"POST", "/admin/users/{id}/reset-password", may("user:reset"), takesNothing(a.resetUser)},
		{"GET", "/admin/users/{id}/auth-providers", may("user:read"), takesNothing(a.authProviders)},
		{"GET", "/admin/users/{id}/provider-identities", may("user:read"), takesNothing(a.listWaysOf)},
		{"GET", "/admin/users/{id}/sessions", may("user:sessions"), takesNothing(a.listSessionsOf)},
		{"DELETE", "/admin/users/{id}/sessions", may("user:sessions"), takesNothing(a.endSessionsOf)},
		{"DELETE", "/admin/users/{id}/sessions/{session}", may("user:sessions"), takesNothing(a.endSessionOf)},
		{"GET", "/admin/users/{id}/roles", may("user:read"), takesNothing(a.listRoles)},
		{"POST", "/admin/users/{id}/roles", may("user:roles"), takes(a.addRoles)},
		{"DELETE", "/admin/users/{id}/roles", may("user:roles"), takes(a.removeRoles)},
		{"DELETE", "/admin/users/{id}/roles/{role}", may("user:roles"), takesNothing(a.removeRole)},

		{"GET", "/admin/invites", may("invite:read"), takesNothing(a.listInvites)},
		{"POST", "/admin/invites", may("invite:create"), takes(a.createInvite)},
		{"POST", "/admin/invites/batch", may("invite:create"), takes(a.createInvites)},
		{"POST", "/admin/invites/accept", actorUser, takes(a.acceptInvite)},
		{"GET", "/admin/invites/{id}", may("invite:read"), takesNothing(a.retrieveInvite)},
		{"DELETE", "/admin/invites/{id}", may("invite:delete"), takesNothing(a.deleteInvite)},
		{"POST", "/admin/invites/{id}/resend", may("invite:update"), takesNothing(a.resendInvite)},

		{"GET", "/admin/explain", may("user:explain"), takesNothing(a.explain)},

		{"GET", "/admin/audit", may("audit:read"), takesNothing(a.listAudit)},
		{"GET", "/admin/audit/{id}", may("audit:read"), takesNothing(a.retrieveAudit)},

		{"GET", "/admin/webhooks", may("webhook:read"), takesNothing(webhooked(a, a.listWebhooks))},
		{"POST", "/admin/webhooks", may("webhook:manage"), takes(webhookedWith(a, a.createWebhook))},
		{"GET", "/admin/webhooks/topics", may("webhook:read"), takesNothing(webhooked(a, a.listTopics))},
		{"GET", "/admin/webhooks/{id}", may("webhook:read"), takesNothing(webhooked(a, a.retrieveWebhook))},
		{"POST", "/admin/webhooks/{id}", may("webhook:manage"), takes(webhookedWith(a, a.updateWebhook))},
		{"DELETE", "/admin/webhooks/{id}", may("webhook:manage"), takesNothing(webhooked(a, a.deleteWebhook))},
		{"POST", "/admin/webhooks/{id}/rotate-secret", may("webhook:manage"), takes(webhookedWith(a, a.rotateWebhookSecret))},
		{"GET", "/admin/webhooks/{id}/deliveries", may("webhook:read"), takesNothing(webhooked(a, a.listWebhookDeliveries))},
		{"POST", "/admin/webhooks/{id}/test", may("webhook:manage"), takesNothing(webhooked(a, a.testWebhook))},

		{"GET", "/admin/events", may("event:read"), takesNothing(a.listEvents)},
		{"POST", "/admin/events/retry", may("event:manage"), takes(a.retryEvents)},
		{"POST", "/admin/events/discard", may("event:manage"), takes(a.discardEvents)},
		{"GET", "/admin/events/consumers", may("event:read"), takesNothing(a.listConsumers)},

		{"GET", "/admin/health", may("health:read"), takesNothing(a.describeHealth)},

		{"GET", "/.well-known/jwks.json", public, takesNothing(a.keys)},
		{"GET", "/health", public, takesNothing(a.health)},
	}
}

// route is one endpoint.
type route struct {
	method, path string
	guard        guard
	handler      handler
}

// check refuses a route that nobody guards: no guard was named, or a permission that is none.
func (r route) check() error {
	if r.guard == nil {
		return fmt.Errorf("httpapi: %s %s has no guard: say who may call it, even if it is everybody, or by which of the permissions", r.method, r.path)
	}
	return nil
}

// handler does the work of a route: its error, or what to answer. The types say what goes in and comes out.
type handler struct {
	in, out reflect.Type
	read    func(c *call) (in any, err error) // nil: the body is not read
	serve   func(c *call, in any) (any, error)
}

// call is one request on its way through a handler.
type call struct {
	*http.Request
	w       http.ResponseWriter
	caller  caller
	address string // that a provider's input names, for the audit trail alone
	tried   string // what it is for, where the route does not say
}

// takes is a handler that reads a body of declared fields; anything else in it is refused.
func takes[In, Out any](f func(*call, In) (Out, error)) handler {
	return handler{reflect.TypeFor[In](), reflect.TypeFor[Out](), func(c *call) (any, error) {
		var in In
		err := readBody(c, &in)
		return in, err
	}, func(c *call, in any) (any, error) { return f(c, in.(In)) }}
}

// takesInput is a handler that hands the body, any JSON object, to a provider.
func takesInput[Out any](f func(*call, auth.Input) (Out, error)) handler {
	return handler{reflect.TypeFor[auth.Input](), reflect.TypeFor[Out](), func(c *call) (any, error) {
		data, object, err := readObject(c)
		c.address = addressIn(object)
		return auth.Input(data), err
	}, func(c *call, in any) (any, error) { return f(c, in.(auth.Input)) }}
}

// takesNothing is a handler that does not look at the body.
func takesNothing[Out any](f func(*call) (Out, error)) handler {
	return handler{out: reflect.TypeFor[Out](), serve: func(c *call, _ any) (any, error) { return f(c) }}
}

// Options are the package's settings.
type Options struct {
	// ResetTokenInResponse has POST /admin/users/{id}/reset-password answer with the token, as Medusa does. Otherwise the
	// user alone gets it, by mail.
	ResetTokenInResponse bool
	// CallbackURLs are the pages of the application's own that a provider may send people back to, each exactly as it is asked
	// for. Without them people come back here, to /auth/{actor}/{provider}/callback under the site's public URL.
	CallbackURLs []string
	// RequireFlowCookie refuses to finish a sign-in of two steps in a browser that has not kept the cookie of its first step, also
	// at one of CallbackURLs. Otherwise whoever opens a link of an attacker there may be signed in as the attacker.
	RequireFlowCookie bool
	// Pages is where the pages of package console are, such as /app: users who sign in by a link come to them, and read there what
	// went wrong.
	// Empty: by plain text.
	Pages string
	// Roles are the permissions that roles give. nil: admin gives everything, and no other role anything.
	Roles Roles
}

// API is the JSON API. It is an http.Handler, safe for concurrent use.
type API struct {
	db       *database.DB
	users    *user.Service
	auth     *auth.Service
	link     *link.Service
	site     *web.Site
	log      *slog.Logger
	audit    *audit.Trail
	webhooks *webhook.Service
	outbox   *outbox.Outbox
	program  Program
	options  Options
	roles    byRole
	mux      *http.ServeMux
	methods  []string // that any route has
	handler  http.Handler
}

// New returns the API. It fails if a route has no guard, or one that wants a permission that is none, and for roles that
// give what there is not.
func New(p Params) (*API, error) {
	site := p.Site
	if site == nil {
		var err error
		if site, err = web.New(web.Options{}); err != nil {
			return nil, err
		}
	}
	roles, err := p.Options.Roles.rights()
	if err != nil {
		return nil, err
	}
	if err := checkCallbackURLs(p.Options.CallbackURLs); err != nil {
		return nil, err
	}
	a := &API{db: p.DB, users: p.Users, auth: p.Auth, link: p.Link, site: site,
		log: cmp.Or(p.Log, slog.Default()).With("module", "httpapi"), audit: p.Audit, webhooks: p.Webhooks, outbox: p.Outbox, program: p.Program, options: p.Options, roles: roles, mux: http.NewServeMux()}
	for _, r := range a.routes() {
		if err := r.check(); err != nil {
			return nil, err
		}
		a.mux.Handle(r.method+" "+r.path, a.guarded(r))
		if !slices.Contains(a.methods, r.method) {
			a.methods = append(a.methods, r.method)
		}
	}
	a.handler = site.Wrap(http.HandlerFunc(a.dispatch), a.log, a.refuse, a.formOfProvider)
	return a, nil
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.handler.ServeHTTP(w, r) }

// Inside answers requests that a front end of the same site makes for its visitor, by their cookie, after Wrap of its site has let
// theirs through: there is no access log, no CORS and no look at where they come from once more.
func (a *API) Inside() http.Handler { return http.HandlerFunc(a.dispatch) }

func (a *API) dispatch(w http.ResponseWriter, r *http.Request) {
	if _, pattern := a.mux.Handler(r); pattern == "" {
		a.unknown(w, r, a.allowed(r)) //nolint:contextcheck // it is the request's
		return
	}
	a.mux.ServeHTTP(w, r)
}

// guarded is the route's handler behind its guard. The guard is asked before the body is read, so that strangers cannot make
// us read, and again when it has come: callers say how long that takes, and may have lost what they had.
func (a *API) guarded(r route) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		c := &call{Request: req, w: w}
		a.acting(c)
		err := r.guard(a, c)
		a.acting(c) // as whom, by now
		if err != nil {
			a.keptOut(c, r, err)
			return
		}
		var in any
		if r.handler.read != nil {
			if in, err = r.handler.read(c); err == nil {
				c.caller = caller{}
				err = r.guard(a, c)
				a.acting(c) // who may be another by now, of two credentials
			}
			if err != nil {
				a.keptOut(c, r, err)
				return
			}
		}
		out, err := r.handler.serve(c, in)
		if err != nil {
			a.refused(c, r, err)
			a.fail(w, req, err)
			return
		}
		if out, ok := out.(plainAnswer); ok {
			a.write(w, out.status, "text/plain; charset=utf-8", []byte(out.text))
			return
		}
		if to, ok := out.(outcome); ok {
			if to.moved != "" {
				a.move(w, to.moved)
				return
			}
			out = to.body
		}
		if out, ok := out.(interface{ created() any }); ok {
			a.answer(w, req, http.StatusCreated, out.created())
			return
		}
		a.answer(w, req, http.StatusOK, out)
	})
}

// keptOut answers whom the guard does not let pass, or whose body cannot be read. Only of who has proved a session the trail
// keeps it: everybody else can have it as often as they like.
func (a *API) keptOut(c *call, r route, err error) {
	if c.caller.session.ID != "" {
		a.refused(c, r, err)
	}
	a.fail(c.w, c.Request, err)
}

// unknown answers a path that no route has, or one that takes other methods. Under /admin it first wants to know who
// asks, as Medusa does.
func (a *API) unknown(w http.ResponseWriter, r *http.Request, allow []string) {
	if r.URL.Path == "/admin" || strings.HasPrefix(r.URL.Path, "/admin/") {
		if err := member(a, &call{Request: r, w: w}); err != nil {
			a.fail(w, r, err)
			return
		}
	}
	if len(allow) == 0 {
		a.fail(w, r, errNoRoute)
		return
	}
	w.Header().Set("Allow", strings.Join(allow, ", "))
	a.fail(w, r, errNoMethod)
}

// allowed are the methods that the path of the request takes.
func (a *API) allowed(r *http.Request) (allow []string) {
	for _, method := range a.methods {
		probe := r.Clone(r.Context())
		probe.Method = method
		if _, pattern := a.mux.Handler(probe); pattern != "" && a.takesGet(pattern, r.URL.Path) {
			allow = append(allow, method)
			if method == http.MethodGet {
				allow = append(allow, http.MethodHead)
			}
		}
	}
	slices.Sort(allow)
	return allow
}

// answer writes a JSON answer.
func (a *API) answer(w http.ResponseWriter, r *http.Request, status int, body any) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(body); err != nil {
		a.log.Error("encode answer", "request_id", web.RequestID(r.Context()), "error", err)
		status = http.StatusInternalServerError
		buf.Reset()
		buf.WriteString(internalBody)
	}
	a.write(w, status, "application/json; charset=utf-8", bytes.TrimSuffix(buf.Bytes(), []byte("\n")))
}

// created is the answer of a route that answers 201.
type created[T any] struct{ body T }

func (c created[T]) created() any { return c.body }

// plainAnswer is the answer of a route that answers in plain text.
type plainAnswer struct {
	status int
	text   string
}

func (a *API) write(w http.ResponseWriter, status int, media string, data []byte) {
	w.Header().Set("Content-Type", media)
	w.Header().Set("Content-Length", strconv.Itoa(len(data)))
	w.WriteHeader(status)
	w.Write(data) //nolint:errcheck // the caller has gone: there is nobody to tell
}
