package user_test

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/user"
)

// The model that the random sequence of calls runs on: maps in memory that know the rules and no SQL.

// mUser is a user of the model.
type mUser struct {
	n                         int
	email                     string
	proved, inactive, deleted bool
	first                     *string
	metadata                  metadata
	via                       string
	roles                     map[string]string // and how each was granted
}

// mInvite is an invite of the model.
type mInvite struct {
	n                          int
	email                      string
	accepted, expired, deleted bool
	by                         int // who accepted it; 0: nobody
	token                      int // which of its tokens is good, from 1
	roles                      []string
	metadata                   metadata
}

func (u *mUser) String() string {
	return fmt.Sprintf("user %d %q proved=%t inactive=%t deleted=%t %q %v via=%s roles=%v", u.n, u.email, u.proved, u.inactive, u.deleted,
		text(u.first), u.metadata, u.via, slices.Sorted(maps.Keys(u.roles)))
}

func (i *mInvite) String() string {
	return fmt.Sprintf("invite %d %q accepted=%t by=%d deleted=%t %v roles=%v", i.n, i.email, i.accepted, i.by, i.deleted, i.metadata, i.roles)
}

func (u *mUser) activeAdmin() bool {
	return u.roles["admin"] != "" && !u.inactive && !u.deleted
}

// model is the rules. Numbers of users and invites begin with 1; those that are gone for good are missing.
type model struct {
	users         map[int]*mUser
	invites       map[int]*mInvite
	nUser, nInvit int
	said          []string
}

func (m *model) living(email string) *mUser {
	for _, u := range m.users {
		if !u.deleted && u.email == email && email != "" {
			return u
		}
	}
	return nil
}

func (m *model) openInvite(email string) *mInvite {
	for _, i := range m.invites {
		if !i.deleted && !i.accepted && i.email == email {
			return i
		}
	}
	return nil
}

func (m *model) admins() (n int) {
	for _, u := range m.users {
		if u.activeAdmin() {
			n++
		}
	}
	return n
}

func (m *model) say(topic string, n int) { m.said = append(m.said, fmt.Sprint(topic, " ", n)) }

// unless undoes what f did if f says that it must not be.
func (m *model) unless(f func() error) error {
	was := model{users: map[int]*mUser{}, invites: map[int]*mInvite{}, nUser: m.nUser, nInvit: m.nInvit}
	for n, u := range m.users {
		c := *u
		c.roles = maps.Clone(u.roles)
		was.users[n] = &c
	}
	for n, i := range m.invites {
		c := *i
		was.invites[n] = &c
	}
	err := f()
	if err != nil {
		*m = was
	}
	return err
}

// badOf is what is wrong with the items of a call.
type badOf struct {
	of     int
	reason map[int]*fault.Error
}

func (b *badOf) add(i int, e *fault.Error) {
	if b.reason == nil {
		b.reason = map[int]*fault.Error{}
	}
	b.reason[i] = e
}

func (b *badOf) err() error {
	if len(b.reason) == 0 {
		return nil
	}
	if b.of == 1 {
		return b.reason[0]
	}
	e := &user.BadItems{Of: b.of}
	for _, i := range slices.Sorted(maps.Keys(b.reason)) {
		e.Items = append(e.Items, user.BadItem{Index: i, Err: b.reason[i]})
	}
	return e
}

// reasons is an error as both sides tell it. Which of two with one address loses is not told where no rule says so.
func reasons(err error, indexes bool) string {
	if err == nil {
		return "done"
	}
	if bad, ok := errors.AsType[*user.BadItems](err); ok {
		var out []string
		for _, item := range bad.Items {
			f, _ := fault.Of(item.Err)
			if indexes {
				out = append(out, fmt.Sprint(item.Index, " ", f.Reason))
			} else {
				out = append(out, f.Reason)
			}
		}
		return strings.Join(out, ", ")
	}
	if f, ok := fault.Of(err); ok {
		return f.Reason
	}
	return "FAILED: " + err.Error()
}

// people is what the model and the service can both do. The numbers in the arguments name users and invites; one that
// nobody has stands for an id that is unknown.
type people interface {
	create(ds []user.Draft) ([]string, error)
	ensure(d user.Draft) (string, error)
	update(of []int, to []edit) ([]string, error)
	change(act string, of []int) error // delete, soft-delete, restore, deactivate, reactivate
	roles(act, via string, of int, roles []string) error
	verify(of int, email string) error
	confirm(of int) (bool, error)
	list(f user.Filter, p user.Page) ([]string, int, error)

	invite(hasty bool, ds []user.InviteDraft) ([]string, error)
	updateInvites(of []int, to []edit) ([]string, error)
	refresh(hasty bool, of []int) ([]string, error)
	changeInvites(act string, of []int) error // delete, soft-delete, restore
	accept(of, token, by int) error
	listInvites(f user.InviteFilter) ([]string, int, error)

	adminExists() (bool, error)
	events() []string
}

// edit is an update of a user or an invite. What is nil stays as it is.
type edit struct {
	first      *string
	unnamed    bool // clears the name
	accepted   *bool
	roles      []string
	metadata   metadata
	noMetadata bool // clears it
}

func (e edit) user(id user.ID) user.Update {
	up := user.Update{ID: id, Metadata: e.field()}
	if e.first != nil {
		up.FirstName = user.Set(*e.first)
	} else if e.unnamed {
		up.FirstName = user.Clear[string]()
	}
	return up
}

func (e edit) invite(id user.InviteID) user.InviteUpdate {
	up := user.InviteUpdate{ID: id, Metadata: e.field()}
	if e.accepted != nil {
		up.Accepted = user.Set(*e.accepted)
	}
	if e.roles != nil {
		up.Roles = user.Set(e.roles)
	}
	return up
}

func (e edit) field() user.Field[metadata] {
	switch {
	case e.noMetadata:
		return user.Clear[metadata]()
	case e.metadata != nil:
		return user.Set(e.metadata)
	}
	return user.Field[metadata]{}
}

// merge returns what becomes of the old metadata, and whether anything is said about it.
func (e edit) merge(old metadata) (now metadata, changes bool) {
	switch {
	case e.noMetadata:
		return nil, true
	case len(e.metadata) == 0:
		return old, false
	}
	now = maps.Clone(old)
	if now == nil {
		now = metadata{}
	}
	for k, v := range e.metadata {
		if now[k] = v; v == "" {
			delete(now, k)
		}
	}
	return now, true
}

// The model.

func invalidDraft(email string, required bool, roles []string) *fault.Error {
	if email != "" && !strings.Contains(email, "@") || required && email == "" {
		return fault.New(fault.Invalid, "invalid_email", "")
	}
	if slices.Contains(roles, "") {
		return user.ErrInvalid
	}
	return nil
}

func (m *model) make(d user.Draft) *mUser {
	m.nUser++
	u := &mUser{n: m.nUser, email: strings.ToLower(d.Email), proved: d.EmailVerified && d.Email != "", first: d.FirstName, metadata: d.Metadata, via: d.Via, roles: map[string]string{}}
	if u.via == "" {
		u.via = user.ViaAPI
	}
	for _, r := range d.Roles {
		u.roles[r] = u.via
	}
	m.users[u.n] = u
	m.say("user.created", u.n)
	return u
}

func (m *model) create(ds []user.Draft) (out []string, err error) {
	bad := badOf{of: len(ds)}
	return out, m.orUndo(&out, func() error {
		for i, d := range ds {
			if e := invalidDraft(d.Email, false, d.Roles); e != nil {
				bad.add(i, e)
			} else if m.living(strings.ToLower(d.Email)) != nil {
				bad.add(i, user.ErrEmailTaken)
			} else {
				out = append(out, m.make(d).String())
			}
		}
		return bad.err()
	})
}

func (m *model) orUndo(out *[]string, f func() error) error {
	err := m.unless(f)
	if err != nil {
		*out = nil
	}
	return err
}

func (m *model) ensure(d user.Draft) (string, error) {
	if e := invalidDraft(d.Email, false, d.Roles); e != nil {
		return "", e
	}
	if u := m.living(strings.ToLower(d.Email)); u != nil {
		return u.String(), nil
	}
	return m.make(d).String(), nil
}

func (m *model) update(of []int, to []edit) (out []string, err error) {
	bad := badOf{of: len(of)}
	return out, m.orUndo(&out, func() error {
		changed := map[int]bool{}
		for i, n := range of {
			u := m.users[n]
			if u == nil || u.deleted {
				bad.add(i, user.ErrNotFound)
				continue
			}
			if to[i].first != nil && strings.Contains(*to[i].first, "\x00") {
				bad.add(i, user.ErrInvalid)
				continue
			}
			first, metadata := u.first, u.metadata
			if to[i].first != nil || to[i].unnamed {
				u.first = to[i].first
			}
			if now, changes := to[i].merge(u.metadata); changes {
				u.metadata = now
			}
			if !reflect.DeepEqual(u.first, first) || !reflect.DeepEqual(u.metadata, metadata) { // sent again, it is no news
				changed[n] = true
			}
		}
		for _, n := range of {
			if u := m.users[n]; u != nil {
				out = append(out, u.String())
			}
		}
		for n := range changed {
			m.say("user.updated", n)
		}
		return bad.err()
	})
}

func (m *model) change(act string, of []int) error {
	bad := badOf{of: len(of)}
	return m.unless(func() error {
		lost, seen := false, map[int]bool{}
		for i, n := range of {
			u := m.users[n]
			if u == nil || seen[n] {
				continue
			}
			seen[n] = true
			wasAdmin := u.activeAdmin()
			switch {
			case act == "delete":
				delete(m.users, n)
				m.say("user.deleted", n)
			case act == "soft-delete" && !u.deleted:
				u.deleted = true
				m.say("user.deleted", n)
			case act == "restore" && u.deleted:
				if m.living(u.email) != nil {
					bad.add(i, user.ErrEmailTaken)
					continue
				}
				u.deleted = false
				m.say("user.restored", n)
			case act == "deactivate" && !u.deleted && !u.inactive:
				u.inactive = true
				m.say("user.deactivated", n)
			case act == "reactivate" && !u.deleted && u.inactive:
				u.inactive = false
				m.say("user.reactivated", n)
			}
			lost = lost || wasAdmin && (m.users[n] == nil || !u.activeAdmin())
		}
		if lost && m.admins() == 0 {
			return user.ErrLastAdmin
		}
		return bad.err()
	})
}

func (m *model) roles(act, via string, of int, roles []string) error {
	if slices.Contains(roles, "") {
		return user.ErrInvalid
	}
	u := m.users[of]
	if u == nil || u.deleted {
		return user.ErrNotFound
	}
	return m.unless(func() error {
		u, wasAdmin, before := m.users[of], m.users[of].activeAdmin(), len(m.users[of].roles)
		for _, r := range roles {
			if act == "remove" {
				delete(u.roles, r)
			} else if had := u.roles[r]; had == "" || via == user.ViaAPI && (had == user.ViaFirstAuth || had == user.ViaSetup) {
				u.roles[r] = via // also of what somebody grants whom nobody had granted it
			}
		}
		if wasAdmin && !u.activeAdmin() && m.admins() == 0 {
			return user.ErrLastAdmin
		}
		if len(u.roles) != before {
			m.say("user.updated", of)
		}
		return nil
	})
}

func (m *model) verify(of int, email string) error {
	if u := m.users[of]; u != nil && !u.deleted && u.email != "" && u.email == strings.ToLower(email) && !u.proved {
		u.proved = true
		m.say("user.updated", of)
	}
	return nil
}

func (m *model) confirm(of int) (bool, error) {
	u := m.users[of]
	switch {
	case u == nil || u.deleted:
		return false, user.ErrNotFound
	case u.email == "":
		return false, nil
	case u.proved:
		return true, nil // nothing has changed
	}
	u.proved = true
	maps.DeleteFunc(u.roles, func(role, via string) bool {
		return role != user.RoleMember && (via == user.ViaFirstAuth || via == user.ViaSetup)
	})
	m.say("user.updated", of)
	return true, nil
}

func (m *model) list(f user.Filter, p user.Page) (out []string, n int, err error) {
	var found []*mUser
	for _, u := range m.users {
		as := user.User{Email: u.email, FirstName: u.first, Roles: slices.Collect(maps.Keys(u.roles))}
		if (f.WithDeleted || !u.deleted) && userMatches(f, as) {
			found = append(found, u)
		}
	}
	slices.SortFunc(found, func(a, b *mUser) int {
		switch { // who has no address comes last
		case a.email == "" || b.email == "":
			return strings.Compare(b.email, a.email)
		}
		return strings.Compare(a.email, b.email)
	})
	n = len(found)
	found = found[min(p.Offset, n):]
	for _, u := range found[:min(p.Limit, len(found))] {
		out = append(out, u.String())
	}
	return out, n, nil
}

func (m *model) invite(hasty bool, ds []user.InviteDraft) (out []string, err error) {
	bad := badOf{of: len(ds)}
	return out, m.orUndo(&out, func() error {
		fresh := map[int]bool{}
		for i, d := range ds {
			email := strings.ToLower(d.Email)
			roles := slices.Compact(slices.Sorted(slices.Values(d.Roles)))
			if d.Roles == nil {
				roles = []string{user.RoleAdmin}
			}
			if e := invalidDraft(d.Email, true, d.Roles); e != nil {
				bad.add(i, e)
				continue
			}
			if u := m.living(email); u != nil && u.proved {
				bad.add(i, user.ErrUserExists)
				continue
			}
			in := m.openInvite(email)
			switch {
			case in == nil:
				m.nInvit++
				in = &mInvite{n: m.nInvit, email: email}
				m.invites[in.n] = in
				m.say("invite.created", in.n)
			case in.expired && !fresh[in.n]:
				m.say("invite.resent", in.n)
			default:
				bad.add(i, user.ErrInviteExists)
				continue
			}
			fresh[in.n] = true
			in.token, in.expired, in.roles, in.metadata = in.token+1, hasty, roles, d.Metadata
			out = append(out, in.String())
		}
		return bad.err()
	})
}

func (m *model) updateInvites(of []int, to []edit) (out []string, err error) {
	bad := badOf{of: len(of)}
	return out, m.orUndo(&out, func() error {
		edited, accepted := map[int]bool{}, map[int]bool{}
		for i, n := range of {
			in := m.invites[n]
			if in == nil || in.deleted {
				bad.add(i, user.ErrInviteNotFound)
				continue
			}
			if a := to[i].accepted; a != nil {
				if in.accepted && !*a {
					bad.add(i, user.ErrInvalid)
					continue
				}
				if *a && !in.accepted {
					in.accepted, accepted[n] = true, true
				}
			}
			if to[i].roles != nil {
				in.roles, edited[n] = slices.Compact(slices.Sorted(slices.Values(to[i].roles))), true
			}
			if now, changes := to[i].merge(in.metadata); changes {
				in.metadata, edited[n] = now, true
			}
		}
		for _, n := range of {
			if in := m.invites[n]; in != nil {
				out = append(out, in.String())
			}
		}
		for n := range edited {
			m.say("invite.updated", n)
		}
		for n := range accepted {
			m.say("invite.accepted", n)
		}
		return bad.err()
	})
}

func (m *model) refresh(hasty bool, of []int) (out []string, err error) {
	bad := badOf{of: len(of)}
	return out, m.orUndo(&out, func() error {
		seen := map[int]bool{}
		for i, n := range of {
			switch in := m.invites[n]; {
			case in == nil || in.deleted:
				bad.add(i, user.ErrInvalid)
			case in.accepted:
				bad.add(i, user.ErrInviteUsed)
			default:
				if !seen[n] {
					in.token, in.expired, seen[n] = in.token+1, hasty, true
					m.say("invite.resent", n)
				}
				out = append(out, in.String())
			}
		}
		return bad.err()
	})
}

func (m *model) changeInvites(act string, of []int) error {
	bad := badOf{of: len(of)}
	return m.unless(func() error {
		seen := map[int]bool{}
		for i, n := range of {
			in := m.invites[n]
			if in == nil || seen[n] {
				continue
			}
			seen[n] = true
			switch {
			case act == "delete":
				delete(m.invites, n)
				m.say("invite.deleted", n)
			case act == "soft-delete" && !in.deleted:
				in.deleted = true
				m.say("invite.deleted", n)
			case act == "restore" && in.deleted:
				if !in.accepted && m.openInvite(in.email) != nil {
					bad.add(i, user.ErrInviteExists)
					continue
				}
				in.deleted = false
				m.say("invite.restored", n)
			}
		}
		return bad.err()
	})
}

func (m *model) accept(of, token, by int) error {
	in := m.invites[of]
	switch {
	case in == nil || in.deleted:
		return user.ErrInviteRevoked
	case in.token != token:
		return user.ErrInviteRenewed
	case in.accepted:
		return user.ErrInviteUsed
	case in.expired:
		return user.ErrInviteExpired
	}
	in.accepted, in.by = true, by
	m.say("invite.accepted", of)
	return nil
}

func (m *model) listInvites(f user.InviteFilter) (out []string, n int, err error) {
	for _, in := range m.invites {
		if in.accepted == f.Accepted && (f.WithDeleted || !in.deleted) && inviteMatches(f, user.Invite{Email: in.email}) {
			out = append(out, in.String())
		}
	}
	slices.Sort(out)
	return out, len(out), nil
}

func (m *model) adminExists() (bool, error) { return m.admins() > 0, nil }

func (m *model) events() (said []string) {
	said, m.said = m.said, nil
	slices.Sort(said)
	return said
}
