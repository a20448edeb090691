package httpapi

import (
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/user"
)

// inviteAttributes are what an invite shows: Medusa's nine by default, the rest by fields=+name. The token is derived
// when it is shown; the database holds none. Shown to an admin, it proves nothing about the mailbox.
func (a *API) inviteAttributes() []attribute[user.Invite] {
	return []attribute[user.Invite]{
		{"id", false, func(i user.Invite) any { return i.ID }},
		{"email", false, func(i user.Invite) any { return text(i.Email) }},
		{"accepted", false, func(i user.Invite) any { return i.Accepted }},
		{"token", false, func(i user.Invite) any { return a.users.InviteToken(i, user.ByHand) }},
		{"expires_at", false, func(i user.Invite) any { return stamp(i.ExpiresAt) }},
		{"metadata", false, func(i user.Invite) any { return record(i.Metadata) }},
		{"created_at", false, func(i user.Invite) any { return stamp(i.CreatedAt) }},
		{"updated_at", false, func(i user.Invite) any { return stamp(i.UpdatedAt) }},
		{"deleted_at", false, func(i user.Invite) any { return stamp(i.DeletedAt) }},
		{"roles", true, func(i user.Invite) any { return append([]string{}, i.Roles...) }},
		{"accepted_at", true, func(i user.Invite) any { return stamp(i.AcceptedAt) }},
		{"accepted_by", true, func(i user.Invite) any { return text(string(i.AcceptedBy)) }},
	}
}

// inviteFilters are the parameters that say which invites a list holds.
var inviteFilters = filters[user.InviteFilter]{
	"q":          word(func(f *user.InviteFilter, v string) { f.Q = v }),
	"id":         words(func(f *user.InviteFilter) *[]user.InviteID { return &f.IDs }),
	"email":      words(func(f *user.InviteFilter) *[]string { return &f.Emails }),
	"expires_at": times(func(f *user.InviteFilter) *user.Times { return &f.ExpiresAt }),
	"created_at": times(func(f *user.InviteFilter) *user.Times { return &f.CreatedAt }),
	"updated_at": times(func(f *user.InviteFilter) *user.Times { return &f.UpdatedAt }),
	"deleted_at": times(func(f *user.InviteFilter) *user.Times { return &f.DeletedAt }),
	"$and":       members(func(f *user.InviteFilter) *[]user.InviteFilter { return &f.And }),
	"$or":        members(func(f *user.InviteFilter) *[]user.InviteFilter { return &f.Or }),
}

type inviteAnswer struct {
	Invite object `json:"invite"`
}

type invitesAnswer struct {
	Invites []object `json:"invites"`
	Count   int      `json:"count"`
	Offset  int      `json:"offset"`
	Limit   int      `json:"limit"`
}

func (a *API) listInvites(c *call) (invitesAnswer, error) {
	q, filter, err := readList(c, inviteFilters, "accepted", "with_deleted")
	if err != nil {
		return invitesAnswer{}, err
	}
	if filter.Accepted, err = q.truth("accepted"); err != nil {
		return invitesAnswer{}, err
	}
	if filter.WithDeleted, err = q.truth("with_deleted"); err != nil {
		return invitesAnswer{}, err
	}
	page, err := q.page()
	if err != nil {
		return invitesAnswer{}, err
	}
	invites, count, err := a.users.ListAndCountInvites(c.Context(), filter, page)
	answer := invitesAnswer{Invites: make([]object, len(invites)), Count: count, Offset: page.Offset, Limit: shown(page)}
	attributes := choose(a.inviteAttributes(), q["fields"])
	for i, invite := range invites {
		answer.Invites[i] = show(invite, attributes)
	}
	return answer, err
}

type createInvite struct {
	Email    required[string]         `json:"email"`
	Roles    optional[[]string]       `json:"roles"`
	Metadata optional[map[string]any] `json:"metadata"`
}

func (a *API) createInvite(c *call, in createInvite) (inviteAnswer, error) {
	attributes, err := readFields(c, a.inviteAttributes())
	if err != nil {
		return inviteAnswer{}, err
	}
	draft := user.InviteDraft{Email: in.Email.value, Metadata: in.Metadata.or()}
	if roles := in.Roles.or(); len(roles) > 0 {
		draft.Roles = roles
	}
	invites, err := a.users.CreateInvites(c.Context(), draft)
	if err != nil {
		return inviteAnswer{}, err
	}
	return inviteAnswer{show(invites[0], attributes)}, nil
}

func (a *API) retrieveInvite(c *call) (inviteAnswer, error) {
	attributes, err := readFields(c, a.inviteAttributes())
	if err != nil {
		return inviteAnswer{}, err
	}
	invite, err := a.users.RetrieveInvite(c.Context(), user.InviteID(c.PathValue("id")))
	return inviteAnswer{show(invite, attributes)}, err
}

func (a *API) resendInvite(c *call) (inviteAnswer, error) {
	attributes, err := readFields(c, a.inviteAttributes())
	if err != nil {
		return inviteAnswer{}, err
	}
	invites, err := a.users.RefreshInviteTokens(c.Context(), user.InviteID(c.PathValue("id")))
	if err != nil {
		return inviteAnswer{}, err
	}
	return inviteAnswer{show(invites[0], attributes)}, nil
}

func (a *API) deleteInvite(c *call) (deletedAnswer, error) {
	id := c.PathValue("id")
	return deletedAnswer{id, "invite", true}, a.users.SoftDeleteInvites(c.Context(), user.InviteID(id))
}

type acceptInvite struct {
	Email     optional[string] `json:"email"`
	FirstName optional[string] `json:"first_name"`
	LastName  optional[string] `json:"last_name"`
}

func (a *API) acceptInvite(c *call, in acceptInvite) (userAnswer, error) {
	q, err := readQuery(c, "token", "fields")
	if err != nil {
		return userAnswer{}, err
	}
	token := q["token"]
	if token == "" {
		return userAnswer{}, errQuery.Msg("Invalid request: Field 'token' is required")
	}
	u, err := a.link.Accept(c.Context(), c.caller.session, token, link.Acceptance{
		Email: in.Email.or(), FirstName: in.FirstName.value, LastName: in.LastName.value,
	})
	if refused(err) {
		return userAnswer{}, errUnauthorized
	}
	return userAnswer{show(u, choose(userAttributes, q["fields"]))}, err
}
