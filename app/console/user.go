package console

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

var (
	errMayNot      = says(fault.Forbidden, "may_not")
	errBeyond      = says(fault.Forbidden, "user_beyond_caller")
	errSelf        = says(fault.NotAllowed, "self")
	errDeleted     = says(fault.Conflict, "user_deleted")
	errChanged     = says(fault.Conflict, "user_changed")
	errConfirm     = says(fault.Invalid, "confirmation_wrong")
	errNoRoleNamed = says(fault.Invalid, "role_missing")
	errMetadata    = says(fault.Invalid, "metadata_malformed")
	errNoObject    = says(fault.Invalid, "metadata_no_object")
	errTwice       = says(fault.Invalid, "metadata_ambiguous")
)

// person reads a user, deleted or not.
func (in *inside) person(id string) (person, error) {
	q := url.Values{"id": {id}, "with_deleted": {"true"}, "limit": {"1"}, "after": {""}, "fields": {personFields}}
	var answer struct{ Users []person }
	if err := in.api(http.MethodGet, "/admin/users?"+q.Encode(), nil, &answer); err != nil {
		return person{}, err
	}
	if len(answer.Users) == 0 {
		return person{}, user.ErrNotFound
	}
	return answer.Users[0], nil
}

// onUser is the path of the API for the user whom the request is about.
func (in *inside) onUser(rest string) string {
	return "/admin/users/" + url.PathEscape(in.r.PathValue("id")) + rest
}

// userPage is all about a user, as far as the visitor may see it.
type userPage struct {
	User     person
	Self     bool // it is the visitor
	Beyond   bool // they may do more than the visitor, who can do nothing to them
	May      userActs
	Roles    []heldRole
	Give     []string // roles that the visitor can give them
	Metadata string
	Ways     []signInWay
	Sessions []shownSession
	Open     int // sessions in all
	Trail    []*auditEvent
}

// userActs is what the visitor can do to a user.
type userActs struct{ Edit, Deactivate, Reactivate, Delete, Restore, Roles, Reset, EndSessions, SeeSessions, SeeTrail, Explain bool }

type heldRole struct {
	Name      string
	Removable bool
}

type signInWay struct {
	ID, Provider, Email string
	DisplayName         string     `json:"display_name"`
	EntityID            string     `json:"entity_id"`
	EmailVerifiedAt     *time.Time `json:"email_verified_at"`
	CreatedAt           *time.Time `json:"created_at"`
}

// Known is what the provider knows them by, where that is not the address.
func (w signInWay) Known() string {
	if w.EntityID == w.Email {
		return ""
	}
	return w.EntityID
}

// How much of what there can be a lot of is on the page.
const (
	sessionsShown = 20
	eventsShown   = 10
)

func openUser(in *inside) error { return showUser(in, nil) }

// showUser shows all about a user, and what was wrong with what was to be done to them just now.
func showUser(in *inside, wrong error) error {
	u, err := in.person(in.r.PathValue("id"))
	if err != nil {
		return cmp.Or(wrong, err) // who is gone is no answer to why something did not work
	}
	p := in.userPage(u)
	if p.Metadata, err = indented(u.Metadata); err != nil {
		return err
	}
	for _, read := range []func(*userPage) error{in.ways, in.sessions, in.trail} {
		if err := read(&p); err != nil {
			return err
		}
	}
	return in.showAgain("user", view{Title: "user.title", About: u.Called(), Back: &crumb{"/users", "users.title"}, Data: p}, wrong)
}

// userPage is what the visitor can do to the user.
func (in *inside) userPage(u person) userPage {
	mine := in.visitor.Roles()
	reaches := func(roles ...string) bool { return in.c.api.Reaches(mine, roles) }
	p := userPage{User: u, Self: u.ID == string(in.visitor.user.ID), Beyond: !reaches(u.Roles...)}
	here := u.DeletedAt == nil
	may := func(permission string) bool { return !p.Beyond && in.may(permission) }
	p.May = userActs{
		Edit:        here && may("user:update"),
		Deactivate:  here && !p.Self && u.DeactivatedAt == nil && may("user:update"),
		Reactivate:  here && u.DeactivatedAt != nil && may("user:update"),
		Delete:      here && !p.Self && may("user:delete"),
		Restore:     !here && may("user:delete"),
		Roles:       here && may("user:roles"),
		Reset:       here && u.Email != "" && may("user:reset"),
		SeeSessions: here && in.may("user:sessions"),
		EndSessions: here && may("user:sessions"),
		SeeTrail:    in.may("audit:read"),
		Explain:     !p.Self && u.Email != "" && in.may("user:explain"),
	}
	for _, role := range u.Roles {
		p.Roles = append(p.Roles, heldRole{role, p.May.Roles && reaches(role)})
	}
	for _, role := range in.c.api.Roles() {
		if p.May.Roles && reaches(role) && !slices.Contains(u.Roles, role) {
			p.Give = append(p.Give, role)
		}
	}
	return p
}

// whyNot is nil if the visitor may do something to the user, or says what is in the way.
func (p userPage) whyNot(may bool) error {
	switch {
	case may:
		return nil
	case p.Beyond:
		return errBeyond
	case p.User.DeletedAt != nil:
		return errDeleted
	case p.Self:
		return errSelf
	default:
		return errMayNot
	}
}

// ways reads by what the user signs in: who has no password there needs no mail to reset it.
func (in *inside) ways(p *userPage) error {
	if p.User.DeletedAt != nil { // it went when they were deleted
		return nil
	}
	var answer struct {
		Ways []signInWay `json:"provider_identities"`
	}
	err := in.api(http.MethodGet, in.onUser("/provider-identities"), nil, &answer)
	p.Ways = answer.Ways
	p.May.Reset = p.May.Reset && slices.ContainsFunc(p.Ways, func(w signInWay) bool { return in.c.link.ResetsBy(w.Provider) })
	return err
}

// sessions reads where the user is signed in.
func (in *inside) sessions(p *userPage) error {
	if !p.May.SeeSessions {
		return nil
	}
	q := url.Values{"limit": {itoa(sessionsShown)}, "order": {"-last_used_at"}}
	var answer struct {
		Sessions []shownSession
		Count    int
	}
	err := in.api(http.MethodGet, in.onUser("/sessions?"+q.Encode()), nil, &answer)
	p.Sessions, p.Open = answer.Sessions, answer.Count
	return err
}

// trail reads what was done to the user and by them lately.
func (in *inside) trail(p *userPage) error {
	if !p.May.SeeTrail {
		return nil
	}
	for _, of := range []string{"target_id", "actor_id"} {
		q := url.Values{of: {p.User.ID}, "limit": {itoa(eventsShown)}}
		var answer struct {
			Events []*auditEvent `json:"audit_events"`
		}
		err := in.api(http.MethodGet, "/admin/audit?"+q.Encode(), nil, &answer)
		if fault.KindOf(err) == fault.NotFound { // no trail is kept
			p.May.SeeTrail = false
			return nil
		}
		if err != nil {
			return err
		}
		p.Trail = append(p.Trail, answer.Events...)
	}
	slices.SortStableFunc(p.Trail, func(a, b *auditEvent) int { return cmp.Or(b.TS.Compare(a.TS), strings.Compare(b.ID, a.ID)) })
	p.Trail = slices.CompactFunc(p.Trail, func(a, b *auditEvent) bool { return a.ID == b.ID })
	p.Trail = p.Trail[:min(len(p.Trail), eventsShown)]
	in.introduce(p.Trail...)
	return nil
}

// indented is metadata as people read it; empty for none.
func indented(metadata json.RawMessage) (string, error) {
	if len(metadata) == 0 || string(metadata) == "null" {
		return "", nil
	}
	var b bytes.Buffer
	err := json.Indent(&b, metadata, "", "  ")
	return b.String(), err
}

// act has the API do something to the user, and goes on to a page that says so. What was wrong, the page of the user says.
func (in *inside) act(method, rest string, body any, page, key, about string) error {
	err := in.api(method, in.onUser(rest), body, nil)
	switch {
	case err == nil:
		return in.done(page, key, about)
	case errors.Is(err, errSignedOut) || problemOf(err) == nil:
		return err
	}
	return showUser(in, err)
}

// here is the page of the user.
func (in *inside) here() string { return userPath(in.r.PathValue("id")) }

func giveRole(in *inside) error {
	f, err := in.form()
	if err != nil {
		return err
	}
	role := f.Value("role")
	if role == "" {
		return showUser(in, errNoRoleNamed)
	}
	return in.act(http.MethodPost, "/roles", map[string]any{"roles": []string{role}}, in.here(), "user_role_given", role)
}

func takeRole(in *inside) error {
	f, err := in.form()
	if err != nil {
		return err
	}
	role := f.Value("role")
	if role == "" {
		return showUser(in, errNoRoleNamed)
	}
	return in.act(http.MethodDelete, "/roles", map[string]any{"roles": []string{role}}, in.here(), "user_role_taken", role)
}

func reactivateUser(in *inside) error {
	return in.act(http.MethodPost, "/reactivate", nil, in.here(), "user_reactivated", "")
}

func restoreUser(in *inside) error {
	return in.act(http.MethodPost, "/restore", nil, in.here(), "user_restored", "")
}

func deactivateUser(in *inside) error {
	return in.act(http.MethodPost, "/deactivate", nil, in.here(), "user_deactivated", "")
}

// sendReset has a link mailed. Whatever the API answers with stays here: the link is the user's alone.
func sendReset(in *inside) error {
	u, err := in.person(in.r.PathValue("id"))
	if err != nil {
		return err
	}
	return in.act(http.MethodPost, "/reset-password", nil, in.here(), "user_reset_sent", u.Email)
}

// question is a page that asks before something is done to a user.
type question struct {
	User    person
	Self    bool
	Role    string        // that is to be taken
	Session *shownSession // that is to end; nil: all of them
	Open    int           // sessions in all
	Confirm string        // what is to be typed
}

// ask shows such a page, and what was wrong with the answer.
func (in *inside) ask(page, title string, q question, f form, wrong error) error {
	v := view{Title: title, About: q.User.Called(), Back: &crumb{q.User.Path(), "user.back"}, Form: f, Data: q}
	return in.showAgain(page, v, wrong)
}

// asked is the user, to whom the visitor may do something that is asked about.
func (in *inside) asked(may func(userActs) bool) (question, error) {
	u, err := in.person(in.r.PathValue("id"))
	if err != nil {
		return question{}, err
	}
	p := in.userPage(u)
	return question{User: u, Self: p.Self}, p.whyNot(may(p.May))
}

func askToTakeRole(in *inside) error {
	q, err := in.asked(func(may userActs) bool { return may.Roles })
	if err != nil {
		return err
	}
	if q.Role = in.r.URL.Query().Get("role"); !slices.Contains(q.User.Roles, q.Role) {
		return in.c.redirect(in.w, q.User.Path())
	}
	return in.ask("user_role", "user.role_title", q, form{}, nil)
}

func askToDeactivate(in *inside) error {
	q, err := in.asked(func(may userActs) bool { return may.Deactivate })
	if err != nil {
		return err
	}
	return in.ask("user_deactivate", "user.deactivate_title", q, form{}, nil)
}

func askToDelete(in *inside) error { return askToDeleteAgain(in, form{}, nil) }

func askToDeleteAgain(in *inside, f form, wrong error) error {
	q, err := in.asked(func(may userActs) bool { return may.Delete })
	if err != nil {
		return cmp.Or(wrong, err)
	}
	q.Confirm = q.User.Address()
	return in.ask("user_delete", "user.delete_title", q, f, wrong)
}

// deleteUser deletes whom the visitor has named once more: a page that was open for a while may be of somebody else than they think.
func deleteUser(in *inside) error {
	f, err := in.form()
	if err != nil {
		return err
	}
	u, err := in.person(in.r.PathValue("id"))
	if err != nil {
		return err
	}
	if !strings.EqualFold(strings.TrimSpace(f.Value("confirm")), u.Address()) {
		return askToDeleteAgain(in, f, errConfirm)
	}
	err = in.api(http.MethodDelete, in.onUser(""), nil, nil)
	switch {
	case err == nil:
		return in.done("/users", "user_deleted", u.ID)
	case errors.Is(err, errSignedOut) || problemOf(err) == nil:
		return err
	}
	return askToDeleteAgain(in, f, err)
}

// askToSignOut asks before a session ends, or all of them.
func askToSignOut(in *inside) error {
	q, err := in.asked(func(may userActs) bool { return may.EndSessions })
	if err != nil {
		return err
	}
	p := userPage{User: q.User, May: userActs{SeeSessions: true}}
	if err := in.sessions(&p); err != nil {
		return err
	}
	q.Open = p.Open
	if id := in.r.URL.Query().Get("session"); id != "" {
		i := slices.IndexFunc(p.Sessions, func(s shownSession) bool { return s.ID == id })
		if i < 0 {
			return in.c.redirect(in.w, q.User.Path())
		}
		q.Session = &p.Sessions[i]
	}
	return in.ask("user_sign_out", "user.sign_out_title", q, form{}, nil)
}

func signOutUser(in *inside) error {
	f, err := in.form()
	if err != nil {
		return err
	}
	if id := f.Value("session"); id != "" {
		return in.act(http.MethodDelete, "/sessions/"+url.PathEscape(id), nil, in.here(), "user_session_ended", "")
	}
	return in.act(http.MethodDelete, "/sessions", nil, in.here(), "user_signed_out", "")
}
