package httpapi

import (
	"cmp"
	"net/netip"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/web"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
	"github.com/latchkey-go/latchkey/modules/kernel/strictjson"
	"github.com/latchkey-go/latchkey/modules/user"
)

// acting says in the call's context who acts, as far as is proved by now, for the audit trail.
func (a *API) acting(c *call) {
	from := a.site.Client(c.Request)
	by := audit.Actor{Type: audit.Anonymous, IP: from.IP, UserAgent: from.UserAgent, RequestID: web.RequestID(c.Context())}
	if s := c.caller.session; s.ID != "" {
		by.Type, by.ID, by.IdentityID, by.SessionID = s.ActorType, string(c.caller.user.ID), s.IdentityID, s.ID
		if by.ID == "" && c.caller.claims != nil {
			by.ID = c.caller.claims.ActorID
		}
		if by.ID == "" && c.caller.claims == nil {
			if id, err := a.link.Actor(c.Context(), s); err == nil {
				by.ID = id
			}
		}
	}
	c.Request = c.WithContext(audit.WithActor(c.Context(), by))
}

// tried is what a route is for, by the topic of the event that says that it was done. A refusal of one goes into the audit
// trail under its name, and every other refusal of somebody who has proved who they are as "access".
var tried = map[string]string{
	"POST /auth/{actor}/{provider}":          link.SignedIn{}.Topic(),
	"GET /auth/{actor}/{provider}":           link.SignedIn{}.Topic(),
	"GET /auth/{actor}/{provider}/start":     link.SignedIn{}.Topic(),
	"GET /auth/{actor}/{provider}/callback":  link.SignedIn{}.Topic(),
	"POST /auth/{actor}/{provider}/callback": link.SignedIn{}.Topic(),
	"POST /auth/{actor}/{provider}/register": link.SignedUp{}.Topic(),
	"POST /auth/{actor}/{provider}/update":   "auth.credentials_changed",
	"POST /auth/{actor}/{provider}/link":     link.ProviderLinked{}.Topic(),
	"DELETE /auth/provider-identities/{id}":  link.ProviderUnlinked{}.Topic(),
	"POST /auth/{provider}/user":             link.Linked{}.Topic(),
	"POST /auth/verification/request":        auth.VerificationRequested{}.Topic(),
	"POST /auth/verification/confirm":        auth.EmailVerified{}.Topic(),
	"POST /admin/users/me/email":             user.EmailChangeRequested{}.Topic(),
	"POST /admin/users/me/email/confirm":     user.EmailChanged{}.Topic(),
	"POST /admin/users/me/delete":            user.Deleted{}.Topic(),
	"POST /admin/invites/accept":             user.InviteAccepted{}.Topic(),
}

// refused has the audit trail keep that the call was refused, if it was.
func (a *API) refused(c *call, r route, why error) {
	what := audit.Refusal{Action: cmp.Or(c.tried, tried[r.method+" "+r.path]), Provider: c.PathValue("provider"), Address: c.address, Accounts: a.auth}
	if what.Action == "" {
		if fault.KindOf(why) != fault.Forbidden {
			return
		}
		what.Action, what.Details = "access", map[string]any{"route": r.method + " " + r.path}
		what.TargetID = targetOf(c.PathValue("id"))
	}
	a.audit.Refused(c.Context(), what, why)
}

// targetOf is an id of a path, if it is one of ours: whatever else somebody typed there is not kept.
func targetOf(typed string) string {
	for _, prefix := range []string{"user", "invite", "authsess", "audit", "whep"} {
		if id.Valid(prefix, typed) {
			return typed
		}
	}
	return ""
}

// addressIn is what a provider's input says of itself by the name email; empty: nothing, or no text.
func addressIn(o strictjson.Object) (address string) {
	if raw, ok := o.Get("email"); !ok || strictjson.Unmarshal(raw, &address) != nil {
		return ""
	}
	return address
}

// auditAttributes are what an event of the trail shows.
var auditAttributes = []attribute[audit.Event]{
	{"id", false, func(e audit.Event) any { return e.ID }},
	{"ts", false, func(e audit.Event) any { return stamp(e.TS) }},
	{"action", false, func(e audit.Event) any { return e.Action }},
	{"outcome", false, func(e audit.Event) any { return e.Outcome }},
	{"reason", false, func(e audit.Event) any { return text(e.Reason) }},
	{"actor_type", false, func(e audit.Event) any { return e.ActorType }},
	{"actor_id", false, func(e audit.Event) any { return text(e.ActorID) }},
	{"identity_id", false, func(e audit.Event) any { return text(e.IdentityID) }},
	{"session_id", false, func(e audit.Event) any { return text(e.SessionID) }},
	{"ip", false, func(e audit.Event) any { return text(e.IP) }},
	{"user_agent", false, func(e audit.Event) any { return text(e.UserAgent) }},
	{"target_type", false, func(e audit.Event) any { return text(e.TargetType) }},
	{"target_id", false, func(e audit.Event) any { return text(e.TargetID) }},
	{"request_id", false, func(e audit.Event) any { return text(e.RequestID) }},
	{"details", false, func(e audit.Event) any { return record(e.Details) }},
}

// auditFilters are the parameters that say which events a list holds.
var auditFilters = filters[audit.Filter]{
	"action":      words(func(f *audit.Filter) *[]string { return &f.Actions }),
	"outcome":     some(func(f *audit.Filter) *string { return &f.Outcome }),
	"actor_type":  some(func(f *audit.Filter) *string { return &f.ActorType }),
	"actor_id":    some(func(f *audit.Filter) *string { return &f.ActorID }),
	"identity_id": some(func(f *audit.Filter) *string { return &f.IdentityID }),
	"session_id":  some(func(f *audit.Filter) *string { return &f.SessionID }),
	"target_id":   some(func(f *audit.Filter) *string { return &f.TargetID }),
	"request_id":  some(func(f *audit.Filter) *string { return &f.RequestID }),
	"ip":          address,
	"ts":          times(func(f *audit.Filter) *user.Times { return &f.TS }),
}

// some is a parameter of one value that is not empty: that would match nothing, and mean everything.
func some[F any](at func(f *F) *string) func(filters[F], *parameter, *F) error {
	return func(_ filters[F], p *parameter, f *F) error {
		v, err := p.one()
		if err == nil && v == "" {
			err = errQuery.Msg("Invalid request: %s must not be empty", clean(p.name))
		}
		*at(f) = v
		return err
	}
}

// address is the parameter ip, in whatever spelling: the trail has one.
func address(all filters[audit.Filter], p *parameter, f *audit.Filter) error {
	if err := some(func(f *audit.Filter) *string { return &f.IP })(all, p, f); err != nil {
		return err
	}
	ip, err := netip.ParseAddr(f.IP)
	if err != nil {
		return errQuery.Msg("Invalid request: %s must be an IP address", clean(p.name))
	}
	f.IP = ip.Unmap().String()
	return nil
}

type auditEventsAnswer struct {
	Events []object `json:"audit_events"`
	Limit  int      `json:"limit"`
	Next   string   `json:"next,omitempty"`
}

type auditEventAnswer struct {
	Event object `json:"audit_event"`
}

var errNoTrail = fault.New(fault.NotFound, "no_audit_trail", "No audit trail is kept here.")

// listAudit reads the trail from the newest event on, page by page.
func (a *API) listAudit(c *call) (auditEventsAnswer, error) {
	if a.audit == nil {
		return auditEventsAnswer{}, errNoTrail
	}
	q, filter, err := readOnly(c, auditFilters, "limit", "after", "fields")
	if err != nil {
		return auditEventsAnswer{}, err
	}
	limit, err := q.number("limit", user.DefaultLimit, maxLimit)
	if err == nil && limit == 0 {
		err = errQuery.Msg("Invalid request: limit must be at least 1")
	}
	if err != nil {
		return auditEventsAnswer{}, err
	}
	events, err := a.audit.List(c.Context(), filter, audit.Page{Limit: limit + 1, After: q["after"]}) // one more tells whether anything comes next
	if err != nil {
		return auditEventsAnswer{}, err
	}
	answer := auditEventsAnswer{Events: []object{}, Limit: limit}
	if len(events) > limit {
		events = events[:limit]
		answer.Next = events[limit-1].Cursor()
	}
	attributes := choose(auditAttributes, q["fields"])
	for _, e := range events {
		answer.Events = append(answer.Events, show(e, attributes))
	}
	return answer, nil
}

func (a *API) retrieveAudit(c *call) (auditEventAnswer, error) {
	if a.audit == nil {
		return auditEventAnswer{}, errNoTrail
	}
	attributes, err := readFields(c, auditAttributes)
	if err != nil {
		return auditEventAnswer{}, err
	}
	e, err := a.audit.Retrieve(c.Context(), c.PathValue("id"))
	return auditEventAnswer{show(e, attributes)}, err
}
