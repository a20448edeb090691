package console

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

// inviteRoutes are the pages about invites.
func (c *Console) inviteRoutes() []route {
	return []route{
		{"/invites", c.within(listInvites), nil},
		{"/invites/new", c.within(beginInvites), c.within(sendInvites)},
		{"/invites/{id}", c.within(readInvite), nil},
		{"/invites/{id}/resend", nil, c.within(resendInvite)},
		{"/invites/{id}/revoke", nil, c.within(revokeInvite)},
	}
}

// invite is an invite as the API shows it to the visitor.
type invite struct {
	ID         string     `json:"id"`
	Email      string     `json:"email"`
	Roles      []string   `json:"roles"`
	Message    string     `json:"message"`
	Token      string     `json:"token"` // empty: the visitor may not have it
	Accepted   bool       `json:"accepted"`
	AcceptedBy string     `json:"accepted_by"`
	CreatedAt  time.Time  `json:"created_at"`
	ExpiresAt  time.Time  `json:"expires_at"`
	AcceptedAt *time.Time `json:"accepted_at"`
	DeletedAt  *time.Time `json:"deleted_at"`

	// What the visitor can do with it.
	Link                 string // by hand: whoever has it can accept; empty: there is none, or it is not for the visitor
	MayResend, MayRevoke bool
	MayRepeat            bool // invite the address again
	MayOpenUser          bool // see who accepted
}

// The parameters by which the API shows all that is in an invite.
const withInviteFields = "fields=%2Broles,%2Bmessage,%2Baccepted_at,%2Baccepted_by"

// States of invites, of which the list shows one, or, for none, those that are open: pending or expired.
var inviteStates = []string{"pending", "expired", "accepted", "revoked"}

// State is one of inviteStates.
func (i invite) State() string {
	switch {
	case i.Accepted:
		return "accepted"
	case i.DeletedAt != nil:
		return "revoked"
	case i.ExpiresAt.After(time.Now()):
		return "pending"
	default:
		return "expired"
	}
}

// Badge is the colour of the state.
func (i invite) Badge() string {
	return map[string]string{"pending": "warn", "accepted": "good", "expired": "bad"}[i.State()]
}

// At is when the state ends or began.
func (i invite) At() *time.Time {
	switch i.State() {
	case "accepted":
		return i.AcceptedAt
	case "revoked":
		return i.DeletedAt
	default:
		return &i.ExpiresAt
	}
}

// Open reports whether the invite was neither accepted nor revoked.
func (i invite) Open() bool { return !i.Accepted && i.DeletedAt == nil }

// offer says of each invite what the visitor can do with it. Where the invite is to more than they may themselves, that is
// nothing; should the page be wrong, the API decides.
func (in *inside) offer(invites ...*invite) {
	givable := in.givable()
	for _, i := range invites {
		within := reaches(givable, i.Roles)
		if i.Token != "" && i.State() == "pending" {
			i.Link = in.link("/invite?token=" + url.QueryEscape(i.Token))
		}
		i.MayResend = i.Open() && within && in.may("invite:update")
		i.MayRevoke = i.Open() && within && in.may("invite:delete")
		i.MayRepeat = i.State() == "revoked" && in.may("invite:create")
		i.MayOpenUser = i.AcceptedBy != "" && in.may("user:read")
	}
}

// reaches reports whether somebody who can give these roles may do as much as who has the others.
func reaches(givable, roles []string) bool {
	within := func(role string) bool { return slices.Contains(givable, role) }
	return within(user.RoleAdmin) || !slices.ContainsFunc(roles, func(role string) bool { return !within(role) })
}

// givable are the roles that the visitor can invite to.
func (in *inside) givable() []string { return in.c.api.GivableRoles(in.visitor.Roles()) }

// link is the address of a page, for people to pass on. A site that knows none of its own is asked for by that of the request.
func (in *inside) link(page string) string {
	at := in.c.site.URL(in.c.path(page))
	if strings.HasPrefix(at, "/") {
		return "http://" + in.r.Host + at
	}
	return at
}

// inviteList is a page of the list.
type inviteList struct {
	Rows    []*invite
	States  []string
	State   string // empty: the open ones
	Q       string
	Order   string // as the API has it; empty: the newest first
	Next    string // where the next page is; empty: this is the last
	First   string // where the first page is; empty: this is it
	Back    string // by which a form finds the way back here
	Revoked *invite
	MayAdd  bool
	Links   bool // at least one of them shows its link

	values url.Values
}

const (
	invitesPerPage = 25
	newestInvites  = "-created_at"
)

// inviteOrders are the fields by which the list can be sorted.
var inviteOrders = []string{"email", "created_at", "expires_at"}

// listQuery are the parameters of the list in a query string, and no others.
func listQuery(of url.Values) url.Values {
	kept := url.Values{}
	for _, name := range []string{"q", "state", "order", "after"} {
		if v := of.Get(name); v != "" {
			kept.Set(name, v)
		}
	}
	return kept
}

// listInvites shows the invites of a state, those whose address has what was typed.
func listInvites(in *inside) error {
	asked := in.r.URL.Query()
	values := listQuery(asked)
	l := inviteList{States: inviteStates, State: values.Get("state"), Q: values.Get("q"), Order: values.Get("order"),
		Back: values.Encode(), MayAdd: in.may("invite:create"), values: values}
	if !slices.Contains(inviteStates, l.State) {
		l.State = ""
	}
	if !slices.Contains(inviteOrders, strings.TrimPrefix(l.Order, "-")) {
		l.Order = ""
	}
	v := view{Title: "invites.title", Form: filled("q", l.Q)}

	query := url.Values{"limit": {strconv.Itoa(invitesPerPage)}, "after": {values.Get("after")}, "order": {cmp.Or(l.Order, newestInvites)}}
	if l.Q != "" {
		query.Set("q", l.Q)
	}
	switch l.State {
	case "":
	case "revoked":
		query.Set("with_deleted", "true")
		query.Set("deleted_at[$gte]", "1970-01-01") // it matches none but those that have one
	default:
		query.Set("status", l.State)
	}
	var found struct {
		Invites []*invite
		Next    string
	}
	err := in.api(http.MethodGet, "/admin/invites?"+query.Encode()+"&"+withInviteFields, nil, &found)
	switch f, is := fault.Of(err); {
	case is && f.Reason == "cursor_invalid" && values.Get("after") != "": // of a list of another order: from the start, then
		return in.c.redirect(in.w, "/invites"+l.with("after", ""))
	case is && f.Kind == fault.Invalid && l.Q != "":
		v.Data = &l
		v.Problem = problemOf(err)
		v.Problem.Fields = []string{"q"}
		return in.show("invites", v)
	case err != nil:
		return err
	}
	l.Rows = found.Invites
	in.offer(l.Rows...)
	for _, row := range l.Rows {
		l.Links = l.Links || row.Link != ""
	}
	if found.Next != "" {
		l.Next = "/invites" + l.with("after", found.Next)
	}
	if values.Get("after") != "" {
		l.First = "/invites" + l.with("after", "")
	}
	if id := asked.Get("revoked"); id != "" {
		if gone, err := in.invite(id); err == nil && gone.State() == "revoked" {
			l.Revoked = gone
		}
	}
	v.Data = &l
	return in.show("invites", v)
}

// with is the query of the list with another value of a parameter; empty: without it.
func (l *inviteList) with(name, value string) string {
	values := url.Values{}
	for n, v := range l.values {
		values[n] = v
	}
	values.Set(name, value)
	if value == "" {
		values.Del(name)
	}
	if len(values) == 0 {
		return ""
	}
	return "?" + values.Encode()
}

// Narrowed reports whether the list shows less than it does by itself.
func (l *inviteList) Narrowed() bool { return l.Q != "" || l.State != "" || l.First != "" }

// sortLink is the head of a column by which the list can be sorted.
type sortLink struct {
	Field, Class string
	Href         string
	Direction    string // in which it is; empty: it is not
}

// By is the head of the column of a field: it sorts by that, and the other way round if that is so already.
func (l *inviteList) By(field string, class ...string) sortLink {
	order, direction := field, ""
	switch cmp.Or(l.Order, newestInvites) {
	case field:
		order, direction = "-"+field, "ascending"
	case "-" + field:
		direction = "descending"
	}
	first := *l
	first.values = listQuery(l.values)
	first.values.Del("after")
	return sortLink{field, strings.Join(class, " "), "/invites" + first.with("order", order), direction}
}

// invite asks for one invite, a revoked one, too.
func (in *inside) invite(id string) (*invite, error) {
	var one struct{ Invite invite }
	err := in.api(http.MethodGet, "/admin/invites/"+url.PathEscape(id)+"?"+withInviteFields, nil, &one)
	if fault.KindOf(err) == fault.NotFound && err != nil {
		var gone struct{ Invites []invite }
		query := url.Values{"id": {id}, "with_deleted": {"true"}, "limit": {"1"}}
		if in.api(http.MethodGet, "/admin/invites?"+query.Encode()+"&"+withInviteFields, nil, &gone) == nil && len(gone.Invites) == 1 {
			one.Invite, err = gone.Invites[0], nil
		}
	}
	if err != nil {
		return nil, err
	}
	in.offer(&one.Invite)
	return &one.Invite, nil
}

// readInvite shows one invite.
func readInvite(in *inside) error {
	i, err := in.invite(in.r.PathValue("id"))
	if err != nil {
		return err
	}
	return in.showOne(i, nil)
}

// showOne shows one invite, and why what was just asked for was not done.
func (in *inside) showOne(i *invite, wrong error) error {
	return in.showAgain("invited", view{Title: "invites.one", About: i.Email, Back: &crumb{"/invites", "invites.title"}, Data: i}, wrong)
}

// resendInvite sends an invite again, by a new link.
func resendInvite(in *inside) error {
	f, err := in.form()
	if err != nil {
		return err
	}
	id := in.r.PathValue("id")
	var sent struct{ Invite invite }
	if err := in.api(http.MethodPost, "/admin/invites/"+url.PathEscape(id)+"/resend", nil, &sent); err != nil {
		return in.refusedOne(id, err)
	}
	return in.done(backTo(f, id), "invites.resent", sent.Invite.Email)
}

// revokeInvite revokes an invite. What undoes it is to invite again, which the next page offers.
func revokeInvite(in *inside) error {
	f, err := in.form()
	if err != nil {
		return err
	}
	id := in.r.PathValue("id")
	i, err := in.invite(id)
	switch {
	case err != nil:
		return err
	case i.Accepted: // by somebody who was quicker than the page
		return in.showOne(i, errInviteAccepted)
	}
	if err := in.api(http.MethodDelete, "/admin/invites/"+url.PathEscape(id), nil, nil); err != nil {
		return in.refusedOne(id, err)
	}
	values := backValues(f)
	values.Set("revoked", id)
	return in.c.redirect(in.w, "/invites?"+values.Encode())
}

// refusedOne shows an invite as it is by now, and why nothing was done to it.
func (in *inside) refusedOne(id string, why error) error {
	if problemOf(why) == nil || fault.KindOf(why) == fault.Unauthorized {
		return why
	}
	i, err := in.invite(id)
	if err != nil {
		return why
	}
	if f, _ := fault.Of(why); f.Reason == "invite_not_found" || f.Reason == "invite_used" { // whose text names an id
		why = errInviteRevoked
		if i.Accepted {
			why = errInviteAccepted
		}
	}
	return in.showOne(i, why)
}

// backTo is where a form came from: the list as it was there, or the invite.
func backTo(f form, id string) string {
	if f.Value("from") != "list" {
		return "/invites/" + url.PathEscape(id)
	}
	if values := backValues(f); len(values) > 0 {
		return "/invites?" + values.Encode()
	}
	return "/invites"
}

// backValues are the parameters of the list that a form came from.
func backValues(f form) url.Values {
	values, err := url.ParseQuery(f.Value("back"))
	if err != nil {
		return url.Values{}
	}
	return listQuery(values)
}
