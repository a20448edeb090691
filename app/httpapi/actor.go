package httpapi

import (
	"context"
	"net/http"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
)

// Caller is who makes a request to a route of the application's own.
type Caller struct {
	Actor   link.Actor
	Session auth.Session
}

type callerKey struct{}

// CallerOf returns who makes the request of the context, to a handler behind RequireActor; the zero Caller anywhere else.
func CallerOf(ctx context.Context) Caller {
	c, _ := ctx.Value(callerKey{}).(Caller)
	return c
}

// RequireActor is next for those alone who are signed in as an actor of the type, by cookie or bearer token, and may be at this
// moment: it is for the application's own routes, such as those of its customers. Everybody else gets a 401. As on every
// route here, who comes by a cookie comes from an origin that is allowed, and the answer carries a request id and the
// headers that keep browsers from guessing. It panics if there is no such actor type.
func (a *API) RequireActor(actorType string, next http.Handler) http.Handler {
	if _, err := a.link.Providers(actorType); err != nil {
		panic("httpapi: RequireActor: " + err.Error())
	}
	return a.site.Wrap(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c := &call{Request: r, w: w}
		actor, err := actorOf(a, c, actorType)
		if err != nil {
			a.fail(w, r, err)
			return
		}
		a.acting(c) // for what the handler does by our services
		next.ServeHTTP(w, c.WithContext(context.WithValue(c.Context(), callerKey{}, Caller{actor, c.caller.session})))
	}), a.log, a.refuseOwn)
}

// refuseOwn answers what web.Site does not let through to an application's own route.
func (a *API) refuseOwn(w http.ResponseWriter, r *http.Request, status int) {
	if status == http.StatusNotFound {
		a.fail(w, r, errNoRoute)
		return
	}
	a.refuse(w, r, status)
}
