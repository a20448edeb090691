package httpapi

import (
	"encoding/json"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
)

type explanationAnswer struct {
	Explanation json.Marshaler `json:"explanation"`
}

// explain says what is known about an address, and what to do, when somebody says that they cannot get in.
func (a *API) explain(c *call) (explanationAnswer, error) {
	q, err := readQuery(c, "email")
	if err != nil {
		return explanationAnswer{}, err
	}
	if q["email"] == "" {
		return explanationAnswer{}, errQuery.Msg("Invalid request: Field 'email' is required")
	}
	e, err := a.link.Explain(c.Context(), q["email"])
	if err != nil {
		return explanationAnswer{}, err
	}
	refusals, err := a.audit.Explained(c.Context(), e)
	return explanationAnswer{ExplanationJSON(e, refusals)}, err
}

// ExplanationJSON is an explanation as GET /admin/explain answers it, and 'server explain --json' prints it, with the last
// refusals that audit.Trail.Explained returns.
func ExplanationJSON(e link.Explanation, refusals []audit.Event) json.Marshaler {
	return object{
		{"email", e.Email},
		{"at", stamp(e.At)},
		{"status", e.Status},
		{"findings", objectsOf(e.Findings, findingAttributes)},
		{"users", objectsOf(e.Users, explainedUserAttributes)},
		{"auth_identities", objectsOf(e.Identities, explainedIdentityAttributes)},
		{"invites", objectsOf(e.Invites, explainedInviteAttributes)},
		{"pending", objectsOf(e.Pending, pendingAttributes)},
		{"throttles", objectsOf(e.Throttles, countAttributes)},
		{"forecasts", objectsOf(e.Forecasts, forecastAttributes)},
		{"refusals", objectsOf(refusals, refusalAttributes)},
		{"more", e.More},
	}
}

// objectsOf makes the objects of all, with all their attributes; none is an empty list.
func objectsOf[T any](all []T, attributes []attribute[T]) []object {
	objects := make([]object, len(all))
	for i, v := range all {
		objects[i] = show(v, attributes)
	}
	return objects
}

// advised are the attributes of what to do.
func advised[T any](of func(T) link.Advice) []attribute[T] {
	return []attribute[T]{
		{"what", false, func(v T) any { return text(of(v).What) }},
		{"person", false, func(v T) any { return text(of(v).Person) }},
		{"operator", false, func(v T) any { return text(of(v).Operator) }},
	}
}

var findingAttributes = append([]attribute[link.Finding]{
	{"code", false, func(f link.Finding) any { return f.Code }},
	{"blocks", false, func(f link.Finding) any { return f.Blocks }},
	{"about", false, func(f link.Finding) any { return text(f.About) }},
	{"actor_type", false, func(f link.Finding) any { return text(f.ActorType) }},
	{"until", false, func(f link.Finding) any { return stamp(f.Until) }},
}, advised(func(f link.Finding) link.Advice { return f.Advice })...)

var explainedUserAttributes = []attribute[link.ExplainedUser]{
	{"id", false, func(u link.ExplainedUser) any { return u.ID }},
	{"email", false, func(u link.ExplainedUser) any { return text(u.Email) }},
	{"email_verified_at", false, func(u link.ExplainedUser) any { return stamp(u.EmailVerifiedAt) }},
	{"proved_by", false, func(u link.ExplainedUser) any { return text(u.ProvedBy) }},
	{"roles", false, func(u link.ExplainedUser) any { return append([]string{}, u.Roles...) }},
	{"created_via", false, func(u link.ExplainedUser) any { return u.CreatedVia }},
	{"created_at", false, func(u link.ExplainedUser) any { return stamp(u.CreatedAt) }},
	{"deactivated_at", false, func(u link.ExplainedUser) any { return stamp(u.DeactivatedAt) }},
	{"deleted_at", false, func(u link.ExplainedUser) any { return stamp(u.DeletedAt) }},
	{"held_back", false, func(u link.ExplainedUser) any { return u.HeldBack }},
	{"auth_identities", false, func(u link.ExplainedUser) any { return append([]auth.IdentityID{}, u.Identities...) }},
}

var explainedIdentityAttributes = []attribute[link.ExplainedIdentity]{
	{"id", false, func(i link.ExplainedIdentity) any { return i.ID }},
	{"created_at", false, func(i link.ExplainedIdentity) any { return stamp(i.CreatedAt) }},
	{"sessions", false, func(i link.ExplainedIdentity) any { return i.Sessions }},
	{"last_used_at", false, func(i link.ExplainedIdentity) any { return stamp(i.LastUsed) }},
	{"registers", false, func(i link.ExplainedIdentity) any { return text(i.Registers) }},
	{"provider_identities", false, func(i link.ExplainedIdentity) any {
		return objectsOf(i.Providers, []attribute[auth.ProviderIdentity]{
			{"id", false, func(p auth.ProviderIdentity) any { return p.ID }},
			{"provider", false, func(p auth.ProviderIdentity) any { return p.Provider }},
			{"entity_id", false, func(p auth.ProviderIdentity) any { return p.EntityID }},
			{"email", false, func(p auth.ProviderIdentity) any { return text(p.Email) }},
			{"email_verified_at", false, func(p auth.ProviderIdentity) any { return stamp(p.EmailVerifiedAt) }},
			{"proved_by", false, func(p auth.ProviderIdentity) any { return text(i.ProvedBy[p.ID]) }},
			{"has_secret", false, func(p auth.ProviderIdentity) any { return i.HasSecret(p.ID) }},
			{"created_at", false, func(p auth.ProviderIdentity) any { return stamp(p.CreatedAt) }},
		})
	}},
	{"links", false, func(i link.ExplainedIdentity) any {
		return objectsOf(i.Links, []attribute[link.ExplainedLink]{
			{"actor_type", false, func(l link.ExplainedLink) any { return l.ActorType }},
			{"actor_id", false, func(l link.ExplainedLink) any { return l.ActorID }},
			{"email", false, func(l link.ExplainedLink) any { return text(l.Email) }},
			{"state", false, func(l link.ExplainedLink) any { return l.State }},
			{"since", false, func(l link.ExplainedLink) any { return stamp(l.Since) }},
		})
	}},
	{"unlinked", false, func(i link.ExplainedIdentity) any {
		return objectsOf(i.Unlinked, []attribute[link.ExplainedUnlinked]{
			{"actor_type", false, func(u link.ExplainedUnlinked) any { return u.ActorType }},
			{"since", false, func(u link.ExplainedUnlinked) any { return stamp(u.Since) }},
			{"purged_at", false, func(u link.ExplainedUnlinked) any { return stamp(u.PurgedAt) }},
		})
	}},
}

var explainedInviteAttributes = []attribute[link.ExplainedInvite]{
	{"id", false, func(i link.ExplainedInvite) any { return i.ID }},
	{"status", false, func(i link.ExplainedInvite) any { return i.Status }},
	{"roles", false, func(i link.ExplainedInvite) any { return append([]string{}, i.Roles...) }},
	{"created_at", false, func(i link.ExplainedInvite) any { return stamp(i.CreatedAt) }},
	{"expires_at", false, func(i link.ExplainedInvite) any { return stamp(i.ExpiresAt) }},
	{"accepted_at", false, func(i link.ExplainedInvite) any { return stamp(i.AcceptedAt) }},
	{"accepted_by", false, func(i link.ExplainedInvite) any { return text(string(i.AcceptedBy)) }},
	{"deleted_at", false, func(i link.ExplainedInvite) any { return stamp(i.WithdrawnAt) }},
}

var pendingAttributes = []attribute[auth.Pending]{
	{"kind", false, func(p auth.Pending) any { return p.Kind }},
	{"auth_identity_id", false, func(p auth.Pending) any { return p.IdentityID }},
	{"provider", false, func(p auth.Pending) any { return text(p.Provider) }},
	{"email", false, func(p auth.Pending) any { return text(p.Email) }},
	{"from", false, func(p auth.Pending) any { return text(p.From) }},
	{"channel", false, func(p auth.Pending) any { return text(string(p.Channel)) }},
	{"requested_at", false, func(p auth.Pending) any { return stamp(p.RequestedAt) }},
	{"expires_at", false, func(p auth.Pending) any { return stamp(p.ExpiresAt) }},
}

var countAttributes = []attribute[auth.Count]{
	{"limit", false, func(c auth.Count) any { return c.Limit }},
	{"auth_identity_id", false, func(c auth.Count) any { return text(string(c.IdentityID)) }},
	{"provider", false, func(c auth.Count) any { return text(c.Provider) }},
	{"count", false, func(c auth.Count) any { return c.Done }},
	{"pending", false, func(c auth.Count) any { return c.Begun }},
	{"most", false, func(c auth.Count) any { return c.Most }},
	{"until", false, func(c auth.Count) any { return stamp(c.Until) }},
	{"refuses", false, func(c auth.Count) any { return c.Refuses }},
}

var forecastAttributes = []attribute[link.Forecast]{
	{"actor_type", false, func(f link.Forecast) any { return f.ActorType }},
	{"provider", false, func(f link.Forecast) any { return f.Provider }},
	{"auth_identity_id", false, func(f link.Forecast) any { return text(string(f.IdentityID)) }},
	{"email_verified", false, func(f link.Forecast) any { return f.Proved }},
	{"outcome", false, func(f link.Forecast) any { return f.Outcome }},
	{"reason", false, func(f link.Forecast) any { return text(f.Reason) }},
	{"message", false, func(f link.Forecast) any { return text(f.Message) }},
	{"next", false, func(f link.Forecast) any { return text(f.Next) }},
	{"actor_id", false, func(f link.Forecast) any { return text(f.ActorID) }},
	{"roles", false, func(f link.Forecast) any { return append([]string{}, f.Roles...) }},
}

var refusalAttributes = append([]attribute[audit.Event]{
	{"id", false, func(e audit.Event) any { return e.ID }},
	{"ts", false, func(e audit.Event) any { return stamp(e.TS) }},
	{"action", false, func(e audit.Event) any { return e.Action }},
	{"reason", false, func(e audit.Event) any { return text(e.Reason) }},
}, advised(func(e audit.Event) link.Advice { return adviceOn(e.Reason) })...)

func adviceOn(reason string) link.Advice {
	a, _ := link.AdviceFor(reason) // none on a reason of the application's own
	return a
}
