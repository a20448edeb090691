package httpapi

import (
	"context"

	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

// userAttributes are what a user shows: Medusa's nine by default, the rest by fields=+name.
var userAttributes = []attribute[user.User]{
	{"id", false, func(u user.User) any { return u.ID }},
	{"first_name", false, func(u user.User) any { return u.FirstName }},
	{"last_name", false, func(u user.User) any { return u.LastName }},
	{"email", false, func(u user.User) any { return text(u.Email) }},
	{"avatar_url", false, func(u user.User) any { return u.AvatarURL }},
	{"metadata", false, func(u user.User) any { return record(u.Metadata) }},
	{"created_at", false, func(u user.User) any { return stamp(u.CreatedAt) }},
	{"updated_at", false, func(u user.User) any { return stamp(u.UpdatedAt) }},
	{"deleted_at", false, func(u user.User) any { return stamp(u.DeletedAt) }},
	{"roles", true, func(u user.User) any { return append([]string{}, u.Roles...) }},
	{"email_verified_at", true, func(u user.User) any { return stamp(u.EmailVerifiedAt) }},
	{"deactivated_at", true, func(u user.User) any { return stamp(u.DeactivatedAt) }},
}

// userFilters are the parameters that say which users a list holds.
var userFilters = filters[user.Filter]{
	"q":              word(func(f *user.Filter, v string) { f.Q = v }),
	"id":             words(func(f *user.Filter) *[]user.ID { return &f.IDs }),
	"email":          word(func(f *user.Filter, v string) { f.Emails = []string{v} }),
	"first_name":     word(func(f *user.Filter, v string) { f.FirstName = &v }),
	"last_name":      word(func(f *user.Filter, v string) { f.LastName = &v }),
	"roles":          words(func(f *user.Filter) *[]string { return &f.Roles }),
	"created_at":     times(func(f *user.Filter) *user.Times { return &f.CreatedAt }),
	"updated_at":     times(func(f *user.Filter) *user.Times { return &f.UpdatedAt }),
	"deactivated_at": times(func(f *user.Filter) *user.Times { return &f.DeactivatedAt }),
	"deleted_at":     times(func(f *user.Filter) *user.Times { return &f.DeletedAt }),
	"$and":           members(func(f *user.Filter) *[]user.Filter { return &f.And }),
	"$or":            members(func(f *user.Filter) *[]user.Filter { return &f.Or }),
}

type userAnswer struct {
	User object `json:"user"`
}

type usersAnswer struct {
	Users []object `json:"users"`
	listing
}

type deletedAnswer struct {
	ID      string `json:"id"`
	Object  string `json:"object"`
	Deleted bool   `json:"deleted"`
}

func (a *API) listUsers(c *call) (usersAnswer, error) {
	q, filter, err := readList(c, userFilters, "status", "with_deleted")
	if err != nil {
		return usersAnswer{}, err
	}
	filter.Status = user.Status(q["status"])
	if filter.WithDeleted, err = q.truth("with_deleted"); err != nil {
		return usersAnswer{}, err
	}
	users, about, err := lister[user.User]{
		read:  func(p user.Page) ([]user.User, error) { return a.users.ListUsers(c.Context(), filter, p) },
		count: func(p user.Page) ([]user.User, int, error) { return a.users.ListAndCountUsers(c.Context(), filter, p) },
		after: user.Page.AfterUser,
	}.page(q)
	answer := usersAnswer{make([]object, len(users)), about}
	attributes := choose(userAttributes, q["fields"])
	for i, u := range users {
		answer.Users[i] = show(u, attributes)
	}
	return answer, err
}

func (a *API) me(c *call) (userAnswer, error) {
	attributes, err := readFields(c, userAttributes)
	return userAnswer{show(c.caller.user, attributes)}, err
}

func (a *API) retrieveUser(c *call) (userAnswer, error) {
	attributes, err := readFields(c, userAttributes)
	if err != nil {
		return userAnswer{}, err
	}
	u, err := a.users.RetrieveUser(c.Context(), user.ID(c.PathValue("id")))
	return userAnswer{show(u, attributes)}, err
}

type updateUser struct {
	FirstName optional[string]         `json:"first_name"`
	LastName  optional[string]         `json:"last_name"`
	AvatarURL optional[string]         `json:"avatar_url"`
	Metadata  optional[map[string]any] `json:"metadata"`
}

func (a *API) updateUser(c *call, in updateUser) (userAnswer, error) {
	attributes, err := readFields(c, userAttributes)
	if err != nil {
		return userAnswer{}, err
	}
	update := user.Update{
		ID: user.ID(c.PathValue("id")), FirstName: in.FirstName.field(), LastName: in.LastName.field(),
		AvatarURL: in.AvatarURL.field(), Metadata: in.Metadata.field(),
	}
	var users []user.User
	err = a.actOn(c, update.ID, func(ctx context.Context) (err error) {
		users, err = a.users.UpdateUsers(ctx, update)
		return err
	})
	if err != nil {
		return userAnswer{}, err
	}
	return userAnswer{show(users[0], attributes)}, nil
}

var errSelfDelete = fault.New(fault.NotAllowed, "self_delete", "A user cannot delete itself")

func (a *API) deleteUser(c *call) (deletedAnswer, error) {
	id := user.ID(c.PathValue("id"))
	if id == c.caller.user.ID || id == "me" { // which is nobody's id, and as such would be deleted with success
		return deletedAnswer{}, errSelfDelete
	}
	err := a.actOn(c, id, func(ctx context.Context) error { return a.users.SoftDeleteUsers(ctx, id) })
	return deletedAnswer{string(id), "user", true}, err
}

type authProvidersAnswer struct {
	Providers []string `json:"providers"`
}

func (a *API) authProviders(c *call) (authProvidersAnswer, error) {
	if _, err := readQuery(c); err != nil {
		return authProvidersAnswer{}, err
	}
	providers, err := a.link.AuthProviders(c.Context(), user.ID(c.PathValue("id")))
	return authProvidersAnswer{append([]string{}, providers...)}, err
}
