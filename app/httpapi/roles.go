package httpapi

import (
	"context"
	"slices"

	"github.com/latchkey-go/latchkey/modules/user"
)

// roleAttributes are what a role shows. Roles are names here; Medusa's clients want an id beside the name.
var roleAttributes = []attribute[string]{
	{"id", false, func(role string) any { return role }},
	{"name", false, func(role string) any { return role }},
}

type rolesAnswer struct {
	Roles  []object `json:"roles"`
	Count  int      `json:"count"`
	Offset int      `json:"offset"`
	Limit  int      `json:"limit"`
}

type addedRolesAnswer struct {
	Roles []object `json:"roles"`
}

type removedRolesAnswer struct {
	IDs     []string `json:"ids"`
	Object  string   `json:"object"`
	Deleted bool     `json:"deleted"`
}

func showRoles(roles []string, attributes []attribute[string]) []object {
	out := make([]object, len(roles))
	for i, role := range roles {
		out[i] = show(role, attributes)
	}
	return out
}

func (a *API) listRoles(c *call) (rolesAnswer, error) {
	q, err := readQuery(c, "limit", "offset", "order", "fields")
	if err != nil {
		return rolesAnswer{}, err
	}
	page, err := q.page()
	if err != nil {
		return rolesAnswer{}, err
	}
	if !slices.Contains([]string{"", "id", "-id", "name", "-name"}, page.Order) {
		return rolesAnswer{}, errQuery.Msg("Invalid request: order must be one of id, name, with - before it for descending")
	}
	u, err := a.users.RetrieveUser(c.Context(), user.ID(c.PathValue("id")))
	if err != nil {
		return rolesAnswer{}, err
	}
	roles := slices.Clone(u.Roles)
	if page.Order != "" && page.Order[0] == '-' {
		slices.Reverse(roles)
	}
	from := min(page.Offset, len(roles))
	roles = roles[from:min(from+shown(page), len(roles))]
	return rolesAnswer{showRoles(roles, choose(roleAttributes, q["fields"])), len(u.Roles), page.Offset, shown(page)}, nil
}

type namedRoles struct {
	Roles required[[]string] `json:"roles"`
}

func (a *API) addRoles(c *call, in namedRoles) (addedRolesAnswer, error) {
	attributes, err := readFields(c, roleAttributes)
	if err != nil {
		return addedRolesAnswer{}, err
	}
	id := user.ID(c.PathValue("id"))
	if err := a.changeRoles(c, id, in.Roles.value, a.users.AddRoles); err != nil {
		return addedRolesAnswer{}, err
	}
	u, err := a.users.RetrieveUser(c.Context(), id)
	return addedRolesAnswer{showRoles(u.Roles, attributes)}, err
}

func (a *API) removeRoles(c *call, in namedRoles) (removedRolesAnswer, error) {
	err := a.changeRoles(c, user.ID(c.PathValue("id")), in.Roles.value, a.users.RemoveRoles)
	return removedRolesAnswer{in.Roles.value, "user_role", true}, err
}

func (a *API) removeRole(c *call) (deletedAnswer, error) {
	role := c.PathValue("role")
	err := a.changeRoles(c, user.ID(c.PathValue("id")), []string{role}, a.users.RemoveRoles)
	return deletedAnswer{role, "user_role", true}, err
}

// changeRoles gives or takes roles: none that may do more than the caller, and of nobody who may.
func (a *API) changeRoles(c *call, id user.ID, roles []string, change func(context.Context, user.ID, ...string) error) error {
	if !a.reachesAll(c.caller, roles) {
		return errRolesBeyond
	}
	return a.actOn(c, id, func(ctx context.Context) error { return change(ctx, id, roles...) })
}
