package httpapi

import (
	"errors"
	"math"
	"slices"
	"time"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/kernel/email"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

// inviteAttributes are what an invite shows: Medusa's nine by default, the rest by fields=+name. The token is derived
// when it is shown; the database holds none. Whoever sees it can accept the invite, so only who could have made it does;
// it proves nothing about the mailbox.
func (a *API) inviteAttributes(by caller) []attribute[user.Invite] {
	return []attribute[user.Invite]{
		{"id", false, func(i user.Invite) any { return i.ID }},
		{"email", false, func(i user.Invite) any { return text(i.Email) }},
		{"accepted", false, func(i user.Invite) any { return i.Accepted }},
		{"token", false, func(i user.Invite) any {
			if by.rights&named("invite:create") == 0 || !a.reachesAll(by, i.Roles) {
				return nil
			}
			return a.users.InviteToken(i, user.ByHand)
		}},
		{"expires_at", false, func(i user.Invite) any { return stamp(i.ExpiresAt) }},
		{"metadata", false, func(i user.Invite) any { return record(i.Metadata) }},
		{"created_at", false, func(i user.Invite) any { return stamp(i.CreatedAt) }},
		{"updated_at", false, func(i user.Invite) any { return stamp(i.UpdatedAt) }},
		{"deleted_at", false, func(i user.Invite) any { return stamp(i.DeletedAt) }},
		{"roles", true, func(i user.Invite) any { return append([]string{}, i.Roles...) }},
		{"message", true, func(i user.Invite) any { return text(i.Message) }},
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
	listing
}

func (a *API) listInvites(c *call) (invitesAnswer, error) {
	q, filter, err := readList(c, inviteFilters, "accepted", "status", "with_deleted")
	if err != nil {
		return invitesAnswer{}, err
	}
	if filter.Status = user.InviteStatus(q["status"]); filter.Status != "" && q["accepted"] != "" {
		return invitesAnswer{}, errQuery.Msg("Invalid request: say accepted or status, not both")
	}
	if filter.Accepted, err = q.truth("accepted"); err != nil {
		return invitesAnswer{}, err
	}
	if filter.WithDeleted, err = q.truth("with_deleted"); err != nil {
		return invitesAnswer{}, err
	}
	invites, about, err := lister[user.Invite]{
		read: func(p user.Page) ([]user.Invite, error) { return a.users.ListInvites(c.Context(), filter, p) },
		count: func(p user.Page) ([]user.Invite, int, error) {
			return a.users.ListAndCountInvites(c.Context(), filter, p)
		},
		after: user.Page.AfterInvite,
	}.page(q)
	answer := invitesAnswer{make([]object, len(invites)), about}
	attributes := choose(a.inviteAttributes(c.caller), q["fields"])
	for i, invite := range invites {
		answer.Invites[i] = show(invite, attributes)
	}
	return answer, err
}

type createInvite struct {
	Email     required[string]         `json:"email"`
	Roles     optional[[]string]       `json:"roles"`
	Metadata  optional[map[string]any] `json:"metadata"`
	Message   optional[string]         `json:"message"`
	ExpiresIn optional[int]            `json:"expires_in"` // seconds
}

type createInvites struct {
	Emails    required[[]string]       `json:"emails"`
	Roles     optional[[]string]       `json:"roles"`
	Metadata  optional[map[string]any] `json:"metadata"`
	Message   optional[string]         `json:"message"`
	ExpiresIn optional[int]            `json:"expires_in"`
}

func (a *API) createInvite(c *call, in createInvite) (inviteAnswer, error) {
	attributes, err := readFields(c, a.inviteAttributes(c.caller))
	if err != nil {
		return inviteAnswer{}, err
	}
	drafts, err := a.drafts(c.caller, createInvites{required[[]string]{[]string{in.Email.value}}, in.Roles, in.Metadata, in.Message, in.ExpiresIn})
	if err != nil {
		return inviteAnswer{}, err
	}
	invites, err := a.users.CreateInvites(c.Context(), drafts...)
	if err != nil {
		return inviteAnswer{}, ofInvite(err)
	}
	return inviteAnswer{show(invites[0], attributes)}, nil
}

var (
	errInvite   = fault.New(fault.Invalid, "invite_value_invalid", "An invite has a value that cannot be kept.")
	errNoInvite = fault.New(fault.Invalid, "invite_not_found", "There is no such invite.")
)

// ofInvite tells, by the reason, what an invite cannot keep from what a user cannot.
func ofInvite(err error) error {
	if f, ok := fault.Of(err); ok && errors.Is(err, user.ErrInvalid) {
		return errInvite.About(f.Detail, "%s", f.Message)
	}
	return err
}

// maxInvites is how many addresses can be invited at a time.
const maxInvites = 1000 // a refusal says so, too

type batchAnswer struct {
	Invites []object `json:"invites"`
}

// createInvites invites many addresses at once, each by itself: what is wrong with one is its answer and no other's.
func (a *API) createInvites(c *call, in createInvites) (batchAnswer, error) {
	attributes, err := readFields(c, a.inviteAttributes(c.caller))
	if err != nil {
		return batchAnswer{}, err
	}
	if len(in.Emails.value) > maxInvites {
		return batchAnswer{}, errBody.Msg("Invalid request: emails must be at most 1,000 addresses")
	}
	drafts, err := a.drafts(c.caller, in)
	if err != nil {
		return batchAnswer{}, err
	}
	results, err := a.users.InviteEach(c.Context(), drafts...)
	if err == nil {
		err = inCommon(results)
	}
	if err != nil {
		return batchAnswer{}, ofInvite(err)
	}
	answer := batchAnswer{make([]object, len(results))}
	for i, r := range results {
		what := pair{"invite", show(r.Invite, attributes)}
		if r.Err != nil {
			_, p := problemOf(ofInvite(r.Err))
			what = pair{"error", p}
		}
		answer.Invites[i] = object{{"email", drafts[i].Email}, what}
	}
	return answer, nil
}

// inCommon is what is wrong with what the invites of a batch have in common, so that none was made; nil: nothing.
func inCommon(results []user.InviteResult) (wrong error) {
	for _, r := range results {
		switch {
		case r.Err == nil:
			return nil
		case errors.Is(r.Err, email.ErrInvalid), errors.Is(r.Err, user.ErrInviteExists), errors.Is(r.Err, user.ErrUserExists), errors.Is(r.Err, user.ErrInvitesFull):
		default: // it is no address that is wrong
			wrong = r.Err
		}
	}
	return wrong
}

// drafts are the invites that the caller asks for.
func (a *API) drafts(by caller, in createInvites) ([]user.InviteDraft, error) {
	asked := in.Roles.or()
	if in.Roles.value != nil && len(asked) == 0 { // none: not those that an invite has if nothing is said
		asked = []string{user.RoleMember}
	}
	roles, err := a.invitedTo(by, asked)
	if err != nil {
		return nil, err
	}
	d := user.InviteDraft{Roles: roles, Metadata: in.Metadata.or(), Message: in.Message.or()}
	if in.ExpiresIn.value != nil {
		if d.TTL = seconds(*in.ExpiresIn.value); d.TTL == 0 {
			d.TTL = -1 // it was asked for, and is too short: zero would mean that nothing was
		}
	}
	drafts := make([]user.InviteDraft, len(in.Emails.value))
	for i, address := range in.Emails.value {
		drafts[i] = d
		drafts[i].Email = address
	}
	return drafts, nil
}

// seconds is a duration; of what is longer than one can be, the longest.
func seconds(n int) time.Duration {
	return time.Duration(max(-1, min(int64(n), math.MaxInt64/int64(time.Second)))) * time.Second
}

// invitedTo are the roles of an invite by the caller: those that were named, none of which may do more than the caller,
// or those of the default that do not. An inviter who can give none of the default invites a member.
func (a *API) invitedTo(by caller, roles []string) ([]string, error) {
	if len(roles) > 0 {
		if !a.reachesAll(by, roles) {
			return nil, errRolesBeyond
		}
		return roles, nil
	}
	beyond := func(role string) bool { return !a.reaches(by, role) }
	otherwise := a.users.InviteRoles()
	given := slices.DeleteFunc(slices.Clone(otherwise), beyond)
	if len(given) == 0 && len(otherwise) > 0 {
		given = slices.DeleteFunc([]string{user.RoleMember}, beyond)
	}
	return given, nil
}

func (a *API) retrieveInvite(c *call) (inviteAnswer, error) {
	attributes, err := readFields(c, a.inviteAttributes(c.caller))
	if err != nil {
		return inviteAnswer{}, err
	}
	invite, err := a.users.RetrieveInvite(c.Context(), user.InviteID(c.PathValue("id")))
	return inviteAnswer{show(invite, attributes)}, err
}

func (a *API) resendInvite(c *call) (inviteAnswer, error) {
	attributes, err := readFields(c, a.inviteAttributes(c.caller))
	if err != nil {
		return inviteAnswer{}, err
	}
	id := user.InviteID(c.PathValue("id"))
	if err := a.mayTouch(c, id); err != nil {
		return inviteAnswer{}, err
	}
	invites, err := a.users.RefreshInviteTokens(c.Context(), id)
	if f, ok := fault.Of(err); ok && errors.Is(err, user.ErrInvalid) {
		err = errNoInvite.Msg("%s", f.Message) // a 400 with Medusa's words, where reading it is a 404; the reason is the same
	}
	if err != nil {
		return inviteAnswer{}, err
	}
	return inviteAnswer{show(invites[0], attributes)}, nil
}

func (a *API) deleteInvite(c *call) (deletedAnswer, error) {
	id := user.InviteID(c.PathValue("id"))
	if err := a.mayTouch(c, id); err != nil {
		return deletedAnswer{}, err
	}
	return deletedAnswer{string(id), "invite", true}, a.users.SoftDeleteInvites(c.Context(), id)
}

// mayTouch refuses a caller whom the roles of the invite are beyond. It leaves it to others to say that there is none.
// Should it become one of other roles right afterwards, nothing is gained: what shows a token looks at the roles by then.
func (a *API) mayTouch(c *call, id user.InviteID) error {
	if c.caller.rights == everything {
		return nil
	}
	invite, err := a.users.RetrieveInvite(c.Context(), id)
	switch {
	case errors.Is(err, user.ErrInviteNotFound):
		return nil
	case err == nil && !a.reachesAll(c.caller, invite.Roles):
		return errInviteBeyond
	}
	return err
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
