package console

import (
	"cmp"
	"encoding/json"
	"maps"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/fault"
)

// auditRoutes are the pages about the audit trail.
func (c *Console) auditRoutes() []route {
	return []route{
		{"/audit", c.within(listAudit), nil},
		{"/audit/{id}", c.within(readAudit), nil},
	}
}

// What is said of a filter that cannot be asked for.
var (
	errIP      = says(fault.Invalid, "ip_invalid")
	errTime    = says(fault.Invalid, "time_invalid")
	errNobody  = says(fault.Invalid, "nobody")
	errNotByID = says(fault.Invalid, "id_wanted")
)

// auditActions are the actions that there are by themselves, as the filter offers them. What an application adds is found by the
// links at its own events.
var auditActions = []actionGroup{
	{"sign_in", []string{"auth.sign_in", "auth.sign_up", "auth.sign_in_mail_requested", "auth.session.ended", "auth.sessions.ended", "auth.throttled", "auth.suspicious_sign_in"}},
	{"credentials", []string{"auth.password_reset", "auth.credentials_changed", "auth.verification_requested", "auth.email_verified",
		"auth.email_change", "user.email_change_requested", "user.email_changed", "link.provider_linked", "link.provider_unlinked"}},
	{"users", []string{"user.created", "user.updated", "user.deactivated", "user.reactivated", "user.deleted", "user.restored", "link.own_user_deleted",
		"link.linked", "link.joined", "identity.reclaimed"}},
	{"invites", []string{"invite.created", "invite.updated", "invite.resent", "invite.accepted", "invite.deleted", "invite.restored"}},
	{"identities", []string{"auth.auth-identity.created", "auth.auth-identity.updated", "auth.auth-identity.deleted",
		"auth.provider-identity.created", "auth.provider-identity.updated", "auth.provider-identity.deleted", "identity.purged"}},
	{"system", []string{"access", "explain", "setup.offered", "purge", "events.retry", "events.discard", "events.forget",
		"webhook.created", "webhook.updated", "webhook.secret_rotated", "webhook.deleted", "secret.appended", "secret.promoted", "secret.dropped"}},
}

type actionGroup struct {
	Name    string
	Actions []string
}

// The values that filters offer.
var (
	auditOutcomes   = []string{"success", "refused"}
	auditActorTypes = []string{"user", "anonymous", "command", "system"}
)

// auditFilters are the filters that the API takes as they are; actor_id and target_id are looked for by an address, too.
var auditFilters = []string{"action", "outcome", "actor_type", "actor_id", "target_id", "identity_id", "session_id", "request_id", "ip"}

const auditPerPage = 50

// auditEvent is an event of the trail as the API shows it.
type auditEvent struct {
	ID         string                     `json:"id"`
	TS         time.Time                  `json:"ts"`
	Action     string                     `json:"action"`
	Outcome    string                     `json:"outcome"`
	Reason     string                     `json:"reason"`
	ActorType  string                     `json:"actor_type"`
	ActorID    string                     `json:"actor_id"`
	IdentityID string                     `json:"identity_id"`
	SessionID  string                     `json:"session_id"`
	IP         string                     `json:"ip"`
	UserAgent  string                     `json:"user_agent"`
	TargetType string                     `json:"target_type"`
	TargetID   string                     `json:"target_id"`
	RequestID  string                     `json:"request_id"`
	Details    map[string]json.RawMessage `json:"details"`

	// As pages show it.
	Told          bool // the catalogue has words for the action
	Actor, Target party
}

// party is who did something, or what it was done to.
type party struct {
	Type string
	Told bool // the catalogue has words for the type
	ID   string
	Name string // empty: none is known
	Href string // its page; empty: there is none for the visitor
}

// Refused reports whether it was.
func (e auditEvent) Refused() bool { return e.Outcome == "refused" }

// Facts are the details, in an order.
func (e auditEvent) Facts() (facts [][2]string) {
	for _, name := range slices.Sorted(maps.Keys(e.Details)) {
		value := string(e.Details[name])
		var text string
		if json.Unmarshal(e.Details[name], &text) == nil && value != "null" {
			value = text
		}
		facts = append(facts, [2]string{name, value})
	}
	return facts
}

// auditList is a page of the list.
type auditList struct {
	Events      []*auditEvent
	Groups      []actionGroup
	Outcomes    []string
	ActorTypes  []string
	Other       string // an action that is not among those of the groups
	OtherType   string // likewise, of the types of actors
	Next, First string // where the next and the first page are; empty: this is it
	Narrowed    bool
	More        bool // filters are set that are not shown at once
}

// listAudit shows the events that match, the newest first.
func listAudit(in *inside) error {
	asked := in.r.URL.Query()
	l := auditList{Groups: auditActions, Outcomes: auditOutcomes, ActorTypes: auditActorTypes}
	kept, query, field, wrong := url.Values{}, url.Values{"limit": {strconv.Itoa(auditPerPage)}}, "", error(nil)
	refuse := func(name string, err error) {
		if wrong == nil && err != nil {
			field, wrong = name, err
		}
	}
	for _, name := range auditFilters {
		value := strings.TrimSpace(asked.Get(name))
		if value == "" || name == "outcome" && !slices.Contains(auditOutcomes, value) {
			continue
		}
		kept.Set(name, value)
		switch name {
		case "actor_id", "target_id":
			id, err := in.userBy(value)
			if err != nil && problemOf(err) == nil {
				return err
			}
			refuse(name, err)
			value = id
		case "ip":
			if _, err := netip.ParseAddr(value); err != nil {
				refuse(name, errIP)
			}
		case "action":
			if !slices.ContainsFunc(auditActions, func(g actionGroup) bool { return slices.Contains(g.Actions, value) }) {
				l.Other = value
			}
		case "actor_type":
			if !slices.Contains(auditActorTypes, value) {
				l.OtherType = value
			}
		}
		query.Set(name, value)
	}
	for name, operator := range map[string]string{"from": "ts[$gte]", "to": "ts[$lt]"} {
		value := strings.TrimSpace(asked.Get(name))
		if value == "" {
			continue
		}
		kept.Set(name, value)
		from, until, err := spanIn(value)
		if err != nil {
			refuse(name, err)
			continue
		}
		at := from
		if name == "to" {
			at, from = until, until.Add(-time.Minute)
		}
		kept.Set(name, from.Format(minutely))
		query.Set(operator, at.Format(time.RFC3339))
	}
	l.Narrowed = len(kept) > 0
	l.More = slices.ContainsFunc(slices.Collect(maps.Keys(kept)), func(name string) bool { return !slices.Contains([]string{"action", "outcome", "actor_id"}, name) })
	v := view{Title: "audit.title", Form: form{values: kept}, Data: &l}
	if wrong != nil {
		v.Problem = problemOf(wrong)
		v.Problem.Fields = []string{field}
		return in.show("audit", v)
	}

	here := func(after string) string {
		values := maps.Clone(kept)
		if after != "" {
			values.Set("after", after)
		}
		if len(values) == 0 {
			return "/audit"
		}
		return "/audit?" + values.Encode()
	}
	after := asked.Get("after")
	if after != "" {
		query.Set("after", after)
		l.First = here("")
	}
	var found struct {
		Events []*auditEvent `json:"audit_events"`
		Next   string
	}
	err := in.api(http.MethodGet, "/admin/audit?"+query.Encode(), nil, &found)
	switch f, is := fault.Of(err); {
	case is && f.Reason == "cursor_invalid" && after != "":
		return in.c.redirect(in.w, here(""))
	case is && f.Kind == fault.Invalid:
		return in.showAgain("audit", v, err)
	case err != nil:
		return err
	}
	if l.Events = found.Events; found.Next != "" {
		l.Next = here(found.Next)
	}
	in.introduce(l.Events...)
	return in.show("audit", v)
}

// readAudit shows one event.
func readAudit(in *inside) error {
	var one struct {
		Event auditEvent `json:"audit_event"`
	}
	if err := in.api(http.MethodGet, "/admin/audit/"+url.PathEscape(in.r.PathValue("id")), nil, &one); err != nil {
		return err
	}
	e := &one.Event
	in.introduce(e)
	v := view{Title: "audit.one", About: e.Action, Back: &crumb{"/audit", "audit.title"}, Data: e}
	if e.Told {
		v.Title, v.About = "audit.action."+e.Action, nil
	}
	return in.show("auditevent", v)
}

const minutely = "2006-01-02T15:04"

// spanIn is the day, minute or second that somebody typed, in UTC.
func spanIn(typed string) (from, until time.Time, err error) {
	for layout, lasts := range map[string]time.Duration{time.DateOnly: 24 * time.Hour, minutely: time.Minute, minutely + ":05": time.Second} {
		if at, err := time.Parse(layout, typed); err == nil && at.Year() > 0 && at.Year() < 9999 {
			return at, at.Add(lasts), nil
		}
	}
	return time.Time{}, time.Time{}, errTime
}

// userBy is the id of who has the address, the living one before one who was deleted; what is no address is an id.
func (in *inside) userBy(typed string) (id string, err error) {
	if !strings.Contains(typed, "@") {
		return typed, nil
	}
	if !in.may("user:read") {
		return "", errNotByID
	}
	var found struct{ Users []person }
	query := url.Values{"email": {typed}, "with_deleted": {"true"}, "order": {"-created_at"}, "after": {""}, "fields": {"id,deleted_at"}}
	if err := in.api(http.MethodGet, "/admin/users?"+query.Encode(), nil, &found); err != nil {
		return "", err
	}
	if len(found.Users) == 0 {
		return "", errNobody
	}
	if i := slices.IndexFunc(found.Users, func(p person) bool { return p.DeletedAt == nil }); i >= 0 {
		return found.Users[i].ID, nil
	}
	return found.Users[0].ID, nil
}

// introduce says of the events in words what was done, by whom and to what, as far as the visitor may know.
func (in *inside) introduce(events ...*auditEvent) {
	names := in.names(events)
	for _, e := range events {
		e.Told = in.c.pages.texts.Lookup("audit.action."+e.Action) != nil
		e.Actor, e.Target = in.party(e.ActorType, e.ActorID, names), in.party(e.TargetType, e.TargetID, names)
	}
}

// party is somebody or something that an event names.
func (in *inside) party(kind, id string, names map[string]string) party {
	p := party{Type: kind, ID: id, Name: names[id]}
	if kind == "user" && id == "" { // who registers, and is nobody until they have become a user
		p.Type = "newcomer"
	}
	p.Told = in.c.pages.texts.Lookup("audit.party."+p.Type) != nil
	for _, at := range []struct{ kind, page, permission string }{
		{"user", "/users/", "user:read"}, {"invite", "/invites/", "invite:read"}, {"webhook", "/webhooks/", "webhook:read"},
	} {
		if id != "" && kind == at.kind && in.may(at.permission) {
			p.Href = at.page + url.PathEscape(id)
		}
	}
	return p
}

// names are those of the users and invites in the events, by id. Who is gone for good has none, and whoever the visitor may not
// read about: then there is the id.
func (in *inside) names(events []*auditEvent) map[string]string {
	names := map[string]string{}
	for _, list := range []struct{ kind, permission, path string }{
		{"user", "user:read", "/admin/users?with_deleted=true&fields=email,first_name,last_name"},
		{"invite", "invite:read", "/admin/invites?with_deleted=true&fields=email"},
		{"invite", "invite:read", "/admin/invites?with_deleted=true&fields=email&status=accepted"},
	} {
		ids := map[string]bool{}
		for _, e := range events {
			for _, of := range [][2]string{{e.ActorType, e.ActorID}, {e.TargetType, e.TargetID}} {
				if of[0] == list.kind && of[1] != "" && names[of[1]] == "" {
					ids[of[1]] = true
				}
			}
		}
		if len(ids) == 0 || !in.may(list.permission) {
			continue
		}
		var found struct{ Users, Invites []person }
		query := url.Values{"id[]": slices.Sorted(maps.Keys(ids)), "limit": {strconv.Itoa(len(ids))}, "after": {""}}
		if in.api(http.MethodGet, list.path+"&"+query.Encode(), nil, &found) != nil {
			continue // the list is worth showing without
		}
		for _, p := range slices.Concat(found.Users, found.Invites) {
			names[p.ID] = cmp.Or(p.Email, p.FullName())
		}
	}
	return names
}
