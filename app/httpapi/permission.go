package httpapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

// permissions are those there are, as resource:operation: what a route can want and a role can give. docs/http-api.md says
// which routes want which.
var permissions = []string{
	"user:read", "user:update", "user:delete", "user:roles", "user:reset", "user:sessions", "user:explain",
	"invite:read", "invite:create", "invite:update", "invite:delete",
	"audit:read",
	"webhook:read", "webhook:manage",
	"event:read", "event:manage",
	"health:read",
}

// Roles are the permissions that roles give, by the name of the role: "user:read", "invite:*" for all about invites, "*"
// for everything. A role that is not among them gives none.
//
// The roles admin and member are always there. admin always gives everything: the first administrator and the guard of the
// last one rest on that. Other roles may give "*", too; all permissions one by one are less: they do not reach administrators.
type Roles map[string][]string

// Permissions are what Roles can give: "*", "user:*" and so on, and each permission by itself.
func Permissions() []string {
	names := []string{"*"}
	for _, p := range permissions {
		resource, _, _ := strings.Cut(p, ":")
		if all := resource + ":*"; !slices.Contains(names, all) {
			names = append(names, all)
		}
		names = append(names, p)
	}
	return names
}

// rights are a set of permissions: bit i stands for permissions[i].
type rights uint64

// anything is what "*" gives beside all permissions there are: to act on administrators, and on roles that the configuration
// does not know. Somebody who has been given every permission by its name was not given that.
const anything rights = 1 << 63

// everything is all permissions, and anything.
var everything = named("*")

// named are the rights of a name that Roles can hold; none if there is no such name.
func named(name string) (r rights) {
	if name == "*" {
		r = anything
	}
	resource, all := strings.CutSuffix(name, "*")
	for i, p := range permissions {
		if p == name || (all && (resource == "" || strings.HasSuffix(resource, ":") && strings.HasPrefix(p, resource))) {
			r |= 1 << i
		}
	}
	return r
}

// byRole are the rights that each role gives.
type byRole map[string]rights

func (roles Roles) rights() (byRole, error) {
	given := byRole{user.RoleAdmin: everything, user.RoleMember: 0}
	for _, role := range slices.Sorted(maps.Keys(roles)) {
		var all rights
		for _, name := range roles[role] {
			r := named(name)
			if r == 0 {
				return nil, fmt.Errorf("httpapi: the role %q gives %q, and there is no such permission; there are %s", role, name, strings.Join(Permissions(), ", "))
			}
			all |= r
		}
		if role == user.RoleAdmin && all != everything {
			return nil, fmt.Errorf("httpapi: the role %q must give everything: make a role of another name for less", role)
		}
		given[role] = all
	}
	return given, nil
}

// of are the rights that the roles give together.
func (given byRole) of(roles []string) (all rights) {
	for _, role := range roles {
		all |= given[role]
	}
	return all
}

// Permitted are the permissions that the roles give together, by name: what a front end offers. What is done, the routes decide.
func (a *API) Permitted(roles []string) (names []string) {
	all := a.roles.of(roles)
	for i, p := range permissions {
		if all&(1<<i) != 0 {
			names = append(names, p)
		}
	}
	return names
}

// Roles are those that the configuration knows, by name.
func (a *API) Roles() []string { return slices.Sorted(maps.Keys(a.roles)) }

// GivableRoles are the roles that somebody with these roles can give and take, by name: what a front end offers. Beside those of
// the configuration, they are those that an invite has if nothing is said, and the somebody's own. What is done, the routes decide.
func (a *API) GivableRoles(roles []string) []string {
	names := slices.Concat(a.Roles(), a.users.InviteRoles(), roles)
	slices.Sort(names)
	return slices.DeleteFunc(slices.Compact(names), func(role string) bool { return !a.Reaches(roles, []string{role}) })
}

// Reaches reports whether somebody who has the one roles may give and take the others, and act on who has these: what a front end
// offers. What is done, the routes decide.
func (a *API) Reaches(by, roles []string) bool {
	return a.reachesAll(caller{user: user.User{Roles: by}, rights: a.roles.of(by)}, roles)
}

var (
	errForbidden    = fault.New(fault.Forbidden, "forbidden", "Forbidden")
	errInsufficient = fault.New(fault.Forbidden, "insufficient_permissions", "Insufficient permissions.")

	errRolesBeyond = fault.New(fault.Forbidden, "role_beyond_caller",
		"One of these roles may do more than you. Only somebody who may do as much can give or take it.")
	errUserBeyond = fault.New(fault.Forbidden, "user_beyond_caller",
		"This user may do more than you. Only somebody who may do as much can do this to them.")
	errInviteBeyond = fault.New(fault.Forbidden, "invite_beyond_caller",
		"This invite is for somebody who may do more than you. Only somebody who may do as much can send or withdraw it.")
)

// may wants a user whose roles give the permission, at this moment. A permission that is none makes no guard, and New
// refuses a route without one.
func may(permission string) guard {
	wanted := named(permission)
	if bits.OnesCount64(uint64(wanted)) != 1 {
		return nil
	}
	return func(a *API, c *call) error {
		if err := member(a, c); err != nil {
			return err
		}
		c.caller.rights = a.roles.of(c.caller.user.Roles)
		switch {
		case c.caller.rights&wanted != 0:
			return nil
		case c.caller.rights == 0:
			return errForbidden
		default:
			return errInsufficient.About(permission, "Insufficient permissions. Required policies: %s", permission)
		}
	}
}

// reaches reports whether the role gives nothing that the caller has not. What a role means that the configuration does
// not know, the application alone can tell, and the configuration may know it tomorrow: it is within the reach of those
// who have it themselves or may do everything.
func (a *API) reaches(c caller, role string) bool {
	given, known := a.roles[role]
	return c.rights == everything || c.user.HasRole(role) || known && given&^c.rights == 0
}

func (a *API) reachesAll(c caller, roles []string) bool {
	return !slices.ContainsFunc(roles, func(role string) bool { return !a.reaches(c, role) })
}

// actOn does something to a user who may do no more than the caller, in a transaction until whose end nobody gives them
// more. That there is no such user, act says.
func (a *API) actOn(c *call, id user.ID, act func(ctx context.Context) error) error {
	if c.caller.rights == everything {
		return act(c.Context())
	}
	return a.db.InTx(c.Context(), func(ctx context.Context) error {
		u, err := a.users.HoldUser(ctx, id)
		switch {
		case errors.Is(err, user.ErrNotFound):
		case err != nil:
			return err
		case !a.reachesAll(c.caller, u.Roles):
			return errUserBeyond
		}
		return act(ctx)
	})
}
