package console

import (
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

// userRoutes are the pages about users.
func (c *Console) userRoutes() []route {
	return []route{
		{"/users", c.within(listUsers), nil},
		{"/users/explain", c.within(explainAddress), nil},
		{"/users/{id}", c.within(openUser), nil},
		{"/users/{id}/edit", c.within(openUserEdit), c.within(saveUser)},
		{"/users/{id}/roles", nil, c.within(giveRole)},
		{"/users/{id}/roles/remove", c.within(askToTakeRole), c.within(takeRole)},
		{"/users/{id}/deactivate", c.within(askToDeactivate), c.within(deactivateUser)},
		{"/users/{id}/reactivate", nil, c.within(reactivateUser)},
		{"/users/{id}/delete", c.within(askToDelete), c.within(deleteUser)},
		{"/users/{id}/restore", nil, c.within(restoreUser)},
		{"/users/{id}/reset-password", nil, c.within(sendReset)},
		{"/users/{id}/sign-out", c.within(askToSignOut), c.within(signOutUser)},
	}
}

// person is a user as the API shows one.
type person struct {
	ID              string          `json:"id"`
	Email           string          `json:"email"`
	FirstName       string          `json:"first_name"`
	LastName        string          `json:"last_name"`
	AvatarURL       string          `json:"avatar_url"`
	Metadata        json.RawMessage `json:"metadata"`
	Roles           []string        `json:"roles"`
	EmailVerifiedAt *time.Time      `json:"email_verified_at"`
	CreatedAt       *time.Time      `json:"created_at"`
	UpdatedAt       *time.Time      `json:"updated_at"`
	DeactivatedAt   *time.Time      `json:"deactivated_at"`
	DeletedAt       *time.Time      `json:"deleted_at"`
}

// FullName is empty for somebody who gave none.
func (p person) FullName() string { return strings.TrimSpace(p.FirstName + " " + p.LastName) }

// Called is how to call them.
func (p person) Called() string { return cmp.Or(p.FullName(), p.Address()) }

// Address is what tells them from everybody else: the e-mail address or, without one, the id.
func (p person) Address() string { return cmp.Or(p.Email, p.ID) }

// Status is one of user.Status.
func (p person) Status() user.Status {
	switch {
	case p.DeletedAt != nil:
		return user.StatusDeleted
	case p.DeactivatedAt != nil:
		return user.StatusDeactivated
	default:
		return user.StatusActive
	}
}

// Path is their page.
func (p person) Path() string { return userPath(p.ID) }

func userPath(id string) string { return "/users/" + url.PathEscape(id) }

// personFields is what the API is asked to show of a user.
const personFields = "id,email,first_name,last_name,avatar_url,metadata,roles,email_verified_at,created_at,updated_at,deactivated_at,deleted_at"

// userList is a page of the list of users.
type userList struct {
	Q, Role, Status, Order string // what was asked for
	Roles                  []string
	Statuses               []user.Status
	Columns                []column
	Users                  []person
	Next, Previous, First  string // pages behind the console's path; empty: there is none
	Wrong                  bool   // nothing was read
}

// Filtered reports whether not everybody is asked for.
func (l userList) Filtered() bool { return l.Q+l.Role+l.Status != "" }

// Whole reports whether all that there is to show is on the page.
func (l userList) Whole() bool { return l.Next == "" && l.Previous == "" && l.First == "" }

// Address reports whether an e-mail address is looked for.
func (l userList) Address() bool { return strings.Contains(strings.Trim(l.Q, "@"), "@") }

// column is one of a list, and how to order by it.
type column struct {
	Title  string // the key of a text
	Less   bool   // it can go on a narrow screen
	Sorted string // ascending or descending, if the list is in its order
	Path   string // the list in its order, or, if it is, in the opposite one; empty: there is no such order
}

// byDefault is the order of the list of users: the newest first.
const byDefault = "-created_at"

func listUsers(in *inside) error {
	q := in.r.URL.Query()
	l := userList{Q: strings.TrimSpace(q.Get("q")), Role: q.Get("role"), Status: q.Get("status"), Order: cmp.Or(q.Get("order"), byDefault),
		Roles: in.c.api.Roles(), Statuses: []user.Status{user.StatusActive, user.StatusDeactivated, user.StatusDeleted}}
	if l.Role != "" && !slices.Contains(l.Roles, l.Role) { // one that the application alone knows
		l.Roles = append(l.Roles, l.Role)
	}
	for _, c := range []struct {
		title, field, first string
		less                bool
	}{{"label.email", "email", "email", false}, {"label.name", "last_name", "last_name", true}, {"label.roles", "", "", true},
		{"label.status", "", "", false}, {"label.created", "created_at", "-created_at", true}} {
		l.Columns = append(l.Columns, l.column(c.title, c.field, c.first, c.less))
	}
	wanted := url.Values{"fields": {"email,first_name,last_name,roles,created_at,deactivated_at,deleted_at"}, "order": {l.Order}}
	set(wanted, "q", l.Q, "roles", l.Role, "status", l.Status)
	switch {
	case q.Get("before") != "":
		wanted.Set("before", q.Get("before"))
	default:
		wanted.Set("after", q.Get("after"))
	}
	var answer struct {
		Users          []person
		Next, Previous string
	}
	err := in.api(http.MethodGet, "/admin/users?"+wanted.Encode(), nil, &answer)
	if err != nil && fault.KindOf(err) != fault.Invalid {
		return err
	}
	l.Users, l.Wrong = answer.Users, err != nil
	if answer.Next != "" {
		l.Next = l.path("after", answer.Next)
	}
	if answer.Previous != "" {
		l.Previous = l.path("before", answer.Previous)
	}
	if q.Get("after") != "" || answer.Previous != "" {
		l.First = l.path()
	}
	return in.showAgain("users", view{Title: "users.title", Data: l}, err)
}

// column is a column of the list by a field of the API, of which the order of first comes first.
func (l userList) column(title, field, first string, less bool) column {
	c := column{Title: title, Less: less}
	if field == "" {
		return c
	}
	other := l
	other.Order = first
	switch l.Order {
	case field:
		c.Sorted, other.Order = "ascending", "-"+field
	case "-" + field:
		c.Sorted, other.Order = "descending", field
	}
	c.Path = other.path()
	return c
}

// path is the list as it was asked for, from its beginning or, with a pair that says where, from there.
func (l userList) path(where ...string) string {
	q := url.Values{}
	set(q, append(where, "q", l.Q, "role", l.Role, "status", l.Status)...)
	if l.Order != byDefault {
		q.Set("order", l.Order)
	}
	if len(q) == 0 {
		return "/users"
	}
	return "/users?" + q.Encode()
}

// set sets those of the pairs that have a value.
func set(q url.Values, pairs ...string) {
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
}

// explanation is what the API says of why somebody cannot get in.
type explanation struct {
	Email    string
	Status   string
	Findings []finding
	Users    []struct {
		ID        string
		DeletedAt *time.Time `json:"deleted_at"`
	}
	Identities []struct {
		ID    string
		Links []struct {
			ActorType string `json:"actor_type"`
			ActorID   string `json:"actor_id"`
		}
	} `json:"auth_identities"`
}

// user is the id of whom a finding is about: by itself, or by an identity, or else who has the address, or had it; empty: nobody.
func (e explanation) user(about string) string {
	if strings.HasPrefix(about, "user_") {
		return about
	}
	for _, i := range e.Identities {
		for _, l := range i.Links {
			if i.ID == about && l.ActorType == link.ActorUser {
				return l.ActorID
			}
		}
	}
	if len(e.Users) > 0 {
		return e.Users[0].ID
	}
	return ""
}

// finding is one thing to know, and what can be done.
type finding struct {
	Code, What, Person, Operator string
	Blocks                       bool
	Until                        *time.Time
	About                        string // the id of a user, identity or invite; empty: of none in particular

	// Where the visitor can do something about it; empty: there is nothing, or it is not for them.
	User     string // the page of the user whom it is about
	Invite   string // the page of the invite that it is about
	Inviting string // where people are invited
	Trail    string // the audit log
	Health   string // whether all is well, such as whether mails leave
}

// point has the findings lead to the pages on which the visitor can do something about them.
func (in *inside) point(e *explanation) {
	for i := range e.Findings {
		f := &e.Findings[i]
		if strings.HasPrefix(f.About, "invite_") && in.may("invite:read") {
			f.Invite = "/invites/" + url.PathEscape(f.About)
		}
		if id := e.user(f.About); id != "" && in.may("user:read") {
			f.User = userPath(id)
		}
		f.Inviting, f.Trail, f.Health = in.reach("invite:create", "/invites/new"), in.reach("audit:read", "/audit"), in.reach("health:read", "/health")
	}
}

// reach is the page, if the visitor may go there; empty: they may not.
func (in *inside) reach(permission, page string) string {
	if !in.may(permission) {
		return ""
	}
	return page
}

// explainAddress says why somebody cannot sign in, by their address.
func explainAddress(in *inside) error {
	address := strings.TrimSpace(in.r.URL.Query().Get("email"))
	v := view{Title: "explain.title", Back: &crumb{"/users", "users.title"}, Form: filled("email", address)}
	if address == "" {
		if !in.may("user:explain") {
			return errMayNot
		}
		return in.show("explain", v)
	}
	var answer struct{ Explanation explanation }
	err := in.api(http.MethodGet, "/admin/explain?email="+url.QueryEscape(address), nil, &answer)
	switch {
	case err == nil:
		in.point(&answer.Explanation)
		v.Data = answer.Explanation
	case fault.KindOf(err) != fault.Invalid:
		return err
	}
	return in.showAgain("explain", v, err)
}
