package console

import (
	"errors"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/email"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

// What is said of invites by the pages themselves.
var (
	errMayNotInvite    = says(fault.Forbidden, "may_not_invite")
	errNoAddress       = says(fault.Invalid, "addresses_missing")
	errManyAddresses   = says(fault.Invalid, "addresses_many")
	errListTooLarge    = says(fault.TooLarge, "list_too_large")
	errNoRole          = says(fault.Invalid, "roles_missing")
	errSpan            = says(fault.Invalid, "span_invalid")
	errInviteAccepted  = says(fault.Conflict, "invite_accepted_meanwhile")
	errInviteRevoked   = says(fault.Conflict, "invite_revoked_meanwhile")
	errOneNotInvited   = says(fault.Invalid, "one_not_invited")
	errSomeNotInvited  = says(fault.Invalid, "some_not_invited")
	errNobodyInvited   = says(fault.Invalid, "nobody_invited")
	errAddressRejected = says(fault.Invalid, "address_not_invited")
)

// mostInvited is how many addresses the API takes at a time.
const mostInvited = 1000

// inviteForm is the form by which people are invited, and what became of those that it was sent with.
type inviteForm struct {
	Roles   []choice
	Spans   []span
	Results []inviteResult
	Again   bool   // somebody may be left to be invited by it
	Opened  string // when the form was, by this server's clock
}

// choice is one of several that can be taken together.
type choice struct {
	Name  string
	Taken bool
}

// span is how long an invite can be open.
type span struct {
	Seconds string // empty: as long as is usual
	Unit    string // days, hours, minutes or seconds
	N       int
	Taken   bool
}

// inviteResult is what became of one address.
type inviteResult struct {
	addressee
	Invite  *invite // that was made, or that there was already; nil: none is to be seen
	Made    bool
	Reason  string // why not, by which the catalogue may have a text; empty: it was made
	Detail  string
	Message string
	Told    bool // the catalogue has one
}

// Open reports whether there is an open invite, made now or before.
func (r inviteResult) Open() bool { return r.Invite != nil && r.Invite.Open() }

// Problem is why the address was not invited, where there are no words for that beside an address.
func (r inviteResult) Problem() *problem {
	return &problem{Status: http.StatusBadRequest, Reason: r.Reason, Detail: r.Detail, Message: r.Message}
}

// beginInvites shows the form, for an address that was invited before with what it was invited with.
func beginInvites(in *inside) error {
	if !in.may("invite:create") {
		return errMayNotInvite
	}
	f := filled()
	roles := in.usualRoles()
	if id := in.r.URL.Query().Get("again"); id != "" {
		before, err := in.invite(id)
		if err != nil {
			return err
		}
		f = filled("emails", before.Email, "message", before.Message)
		roles = before.Roles
	}
	f.values["roles"] = roles
	return in.showInviting(f, nil, nil)
}

// usualRoles are those of the default that the visitor can give, as the API takes them if nothing is said.
func (in *inside) usualRoles() (roles []string) {
	givable := in.givable()
	for _, role := range in.c.users.InviteRoles() {
		if slices.Contains(givable, role) {
			roles = append(roles, role)
		}
	}
	if len(roles) == 0 {
		roles = []string{user.RoleMember}
	}
	return roles
}

// spans are how long an invite can be open, the one of so many seconds taken.
func (in *inside) spans(taken string) []span {
	usual, longest := in.c.users.InviteTTL()
	spans := []span{spanOf(usual)}
	spans[0].Seconds = ""
	for _, d := range []time.Duration{time.Hour, 24 * time.Hour, 3 * 24 * time.Hour, 7 * 24 * time.Hour, 14 * 24 * time.Hour, 30 * 24 * time.Hour} {
		if d != usual && d <= longest {
			spans = append(spans, spanOf(d))
		}
	}
	for i := range spans {
		spans[i].Taken = spans[i].Seconds == taken
	}
	return spans
}

func spanOf(d time.Duration) span {
	s := span{Seconds: strconv.Itoa(int(d / time.Second))}
	for _, unit := range []struct {
		name string
		is   time.Duration
	}{{"days", 24 * time.Hour}, {"hours", time.Hour}, {"minutes", time.Minute}, {"seconds", time.Second}} {
		if d%unit.is == 0 || unit.is == time.Second {
			s.Unit, s.N = unit.name, int(d/unit.is)
			break
		}
	}
	return s
}

// showInviting shows the form with what was typed, what became of what was sent, and what was wrong with all of it.
func (in *inside) showInviting(f form, results []inviteResult, wrong error) error {
	taken := f.Values("roles")
	data := inviteForm{Spans: in.spans(f.Value("expires_in")), Results: results, Again: results == nil || wrong != nil,
		Opened: time.Now().UTC().Format(time.RFC3339Nano)}
	for _, role := range in.givable() {
		data.Roles = append(data.Roles, choice{role, slices.Contains(taken, role)})
	}
	for i, r := range results {
		data.Results[i].Told = in.c.pages.texts.Lookup("invites.refused."+r.Reason) != nil
	}
	v := view{Title: "invites.new", Back: &crumb{"/invites", "invites.title"}, Form: f, Data: data}
	if results != nil {
		v.Title = "invites.results"
	}
	if wrong != nil {
		if v.Problem = problemOf(wrong); v.Problem == nil {
			return wrong
		}
		v.Problem.Fields = inviteFields(wrong)
		if slices.ContainsFunc(results, func(r inviteResult) bool { return r.Made }) {
			v.Problem.Status = http.StatusOK // of several, each stands alone
		}
	}
	return in.show("inviting", v)
}

// inviteFields are the fields that the error of the whole form is about.
func inviteFields(wrong error) []string {
	f, _ := fault.Of(wrong)
	switch f.Reason {
	case errNoAddress.Reason, errManyAddresses.Reason, errOneNotInvited.Reason, errSomeNotInvited.Reason, errNobodyInvited.Reason, errAddressRejected.Reason:
		return []string{"emails"}
	case errNoRole.Reason, "role_beyond_caller":
		return []string{"roles"}
	case errSpan.Reason:
		return []string{"expires_in"}
	case "invite_value_invalid":
		return []string{f.Detail}
	}
	return nil
}

// sendInvites invites everybody on the list, each by themselves, and shows what became of them: of one person, that is the page of
// the invite; of several, it is the answer to the form. That may be asked for again, by a reload, and then invites nobody and
// loses nothing: to whom an invite is open, it shows that, with its link, and whose invite was accepted or revoked since the form
// was opened is not invited anew by it.
func sendInvites(in *inside) error {
	if !in.may("invite:create") {
		return errMayNotInvite
	}
	f, err := in.own()
	switch {
	case errors.Is(err, errTooLarge):
		return errListTooLarge
	case errors.Is(err, errOtherAccount):
		return in.showInviting(f, nil, err)
	case err != nil:
		return err
	}
	results, err := in.inviteEach(f, addresseesOf(f.Value("emails")))
	switch {
	case errors.Is(err, errSignedOut):
		return err
	case fault.KindOf(err) == fault.TooLarge: // a thousand long addresses are more than the API takes
		err = errManyAddresses
		fallthrough
	case err != nil:
		return in.showInviting(f, nil, err)
	}
	if len(results) == 1 && results[0].Made && in.may("invite:read") {
		return in.done("/invites/"+url.PathEscape(results[0].Invite.ID), "invites.sent", results[0].Invite.Email)
	}
	left := toMend(results)
	f.values.Set("emails", strings.Join(left, "\n"))
	return in.showInviting(f, results, whatIsLeft(len(left), results))
}

// inviteEach invites the people, and says what became of each.
func (in *inside) inviteEach(f form, people []addressee) ([]inviteResult, error) {
	asked, err := in.toAsk(f, people)
	if err != nil {
		return nil, err
	}
	results := make([]inviteResult, len(people))
	for i, p := range people {
		results[i].addressee = p
	}
	if opened, err := time.Parse(time.RFC3339Nano, f.Value("opened")); err == nil {
		since := "%5B$gte%5D=" + url.QueryEscape(opened.UTC().Format(time.RFC3339Nano))
		for _, ended := range []string{"with_deleted=true&deleted_at" + since, "status=accepted&updated_at" + since} {
			if err := in.find(results, "", ended); err != nil {
				return nil, err
			}
		}
	}
	var addresses []string
	var fresh []*inviteResult
	for i := range results {
		if r := &results[i]; r.Invite != nil {
			r.Reason = r.Invite.State() + "_since"
		} else {
			addresses, fresh = append(addresses, r.Address), append(fresh, r)
		}
	}
	var answer struct {
		Invites []struct {
			Invite *invite
			Error  *struct{ Message, Reason, Detail string }
		}
	}
	if asked["emails"] = addresses; len(addresses) > 0 {
		if err := in.api(http.MethodPost, "/admin/invites/batch?"+withInviteFields, asked, &answer); err != nil {
			return nil, err
		}
	}
	for i, a := range answer.Invites {
		if r := fresh[i]; a.Error != nil {
			r.Reason, r.Detail, r.Message = a.Error.Reason, a.Error.Detail, a.Error.Message
		} else if r.Invite, r.Made = a.Invite, true; r.Invite != nil {
			in.offer(r.Invite)
		}
	}
	return results, in.find(results, "invite_exists", "")
}

// toAsk is what the API is asked for, but for the addresses.
func (in *inside) toAsk(f form, people []addressee) (asked map[string]any, err error) {
	roles := f.Values("roles")
	asked = map[string]any{"roles": roles, "message": f.Value("message")}
	switch open := f.Value("expires_in"); {
	case len(people) == 0:
		return nil, errNoAddress
	case len(people) > mostInvited:
		return nil, errManyAddresses
	case len(roles) == 0:
		return nil, errNoRole
	case !slices.ContainsFunc(in.spans(open), func(s span) bool { return s.Taken }):
		return nil, errSpan
	case open != "":
		if asked["expires_in"], err = strconv.Atoi(open); err != nil {
			return nil, errSpan
		}
	}
	return asked, nil
}

// find looks for the invites to the addresses of those results that have the reason, as far as the visitor may see invites. query says
// which invites: the open ones, if it is empty.
func (in *inside) find(results []inviteResult, reason, query string) error {
	if !in.may("invite:read") {
		return nil
	}
	wanted := map[string]*inviteResult{}
	for i := range results {
		if address, err := email.Canonical(results[i].Address); err == nil && results[i].Reason == reason {
			wanted[address] = &results[i]
		}
	}
	for some := range slices.Chunk(slices.Sorted(maps.Keys(wanted)), 100) {
		var found struct{ Invites []*invite }
		of := url.Values{"email[]": some, "after": {""}, "limit": {"1000"}}
		if err := in.api(http.MethodGet, "/admin/invites?"+of.Encode()+"&"+withInviteFields+"&"+query, nil, &found); err != nil {
			return err
		}
		in.offer(found.Invites...)
		for _, i := range found.Invites {
			wanted[i.Email].Invite = i
		}
	}
	return nil
}

// toMend are the lines that somebody could mend and send again: not those of people who have what they were to get.
func toMend(results []inviteResult) (lines []string) {
	for _, r := range results {
		if !r.Made && !slices.Contains([]string{"invite_exists", "user_exists", "accepted_since"}, r.Reason) {
			lines = append(lines, r.Typed)
		}
	}
	return lines
}

// whatIsLeft says that lines are left to be mended; nil: none is.
func whatIsLeft(lines int, results []inviteResult) error {
	switch {
	case lines == 0:
		return nil
	case len(results) == 1:
		return errAddressRejected
	case lines == len(results):
		return errNobodyInvited
	case lines == 1:
		return errOneNotInvited
	default:
		return errSomeNotInvited
	}
}
