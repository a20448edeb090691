package httpapi_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"maps"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/email"
	"github.com/latchkey-go/latchkey/modules/kernel/fault"
	"github.com/latchkey-go/latchkey/modules/kernel/secrettest"
	"github.com/latchkey-go/latchkey/modules/user"
)

// explained is what GET /admin/explain answers, as far as tests look at it.
type explained struct {
	Email    string
	Status   string
	Findings []struct {
		Code                   string
		Blocks                 bool
		About                  *string
		ActorType              *string `json:"actor_type"`
		Until                  *time.Time
		What, Person, Operator string
	}
	Users []struct {
		ID, Email  string
		ProvedBy   string `json:"proved_by"`
		Roles      []string
		DeletedAt  *time.Time `json:"deleted_at"`
		Identities []string   `json:"auth_identities"`
	}
	Identities []struct {
		ID        string
		Sessions  int
		LastUsed  *time.Time `json:"last_used_at"`
		Providers []struct {
			Provider  string
			EntityID  string `json:"entity_id"`
			ProvedBy  string `json:"proved_by"`
			HasSecret bool   `json:"has_secret"`
		} `json:"provider_identities"`
		Links    []struct{ Email, State string }
		Unlinked []struct {
			Since    *time.Time
			PurgedAt *time.Time `json:"purged_at"`
		}
	} `json:"auth_identities"`
	Invites []struct {
		Status     string
		AcceptedBy string `json:"accepted_by"`
	}
	Pending   []struct{ Kind, Email string }
	Throttles []struct {
		Limit       string
		Count, Most int
		Refuses     bool
	}
	Forecasts []struct {
		Provider   string
		IdentityID string `json:"auth_identity_id"`
		Proved     bool   `json:"email_verified"`
		Outcome    string
		Reason     string
		Roles      []string
	}
	Refusals []struct{ Action, Reason, Person, Operator string }
	More     bool
}

// findings are the codes, those that keep somebody out with a mark.
func (e explained) findings() string {
	var all []string
	for _, f := range e.Findings {
		if f.Blocks {
			f.Code = "!" + f.Code
		}
		all = append(all, f.Code)
	}
	return strings.Join(all, " ")
}

// findingsAs are the same, with the actor type that each is about.
func (e explained) findingsAs() string {
	var all []string
	for i, says := range strings.Fields(e.findings()) {
		if as := e.Findings[i].ActorType; as != nil {
			says += "/" + *as
		}
		all = append(all, says)
	}
	return strings.Join(all, " ")
}

// forecasts are what a sign-in would lead to: of who is known, then of newcomers, with a + for an address that is proved.
func (e explained) forecasts() string {
	var all []string
	for _, f := range e.Forecasts {
		says := f.Provider
		if f.IdentityID == "" {
			says = "new " + says
		}
		if f.Proved {
			says += "+"
		}
		says += ": " + f.Outcome
		if f.Reason != "" {
			says += " " + f.Reason
		}
		all = append(all, says)
	}
	return strings.Join(all, ", ")
}

func (s *server) explain(t testing.TB, admin, address string) (e explained) {
	t.Helper()
	a := s.do(t, "GET", "/admin/explain?email="+url.QueryEscape(address), "", bearer(admin))
	if a.status != 200 {
		t.Fatalf("explain %s: %d %s", address, a.status, a.body)
	}
	var body struct{ Explanation explained }
	check(t, json.Unmarshal([]byte(a.body), &body))
	for _, f := range body.Explanation.Findings {
		if f.What == "" || f.Person == "" || f.Operator == "" {
			t.Errorf("%s: no advice on %s", address, f.Code)
		}
	}
	return body.Explanation
}

// vouch signs somebody in by the provider that takes their word.
func (s *server) vouch(t testing.TB, name, address, verified string) answer {
	t.Helper()
	a := s.do(t, "POST", "/auth/user/vouching", `{"name":"`+name+`","email":"`+address+`","verified":`+verified+`}`)
	s.token(t, "sign in "+name, a)
	return a
}

func (s *server) userWith(t testing.TB, address string) user.ID {
	t.Helper()
	u, err := s.users.FindUser(t.Context(), address)
	check(t, err)
	return u.ID
}

const anybody = "new emailpass: create, new emailpass+: create, new vouching: create, new vouching+: create"

// situations are what somebody may be in who cannot get in, each with an address of its own.
var situations = []struct {
	name      string
	address   string
	set       func(t *testing.T, s *server, address string)
	status    string
	findings  string
	forecasts string
	also      func(t *testing.T, s *server, e explained)
}{
	{name: "never seen", address: "never@example.com", set: func(*testing.T, *server, string) {},
		status: "unknown", findings: "unknown", forecasts: anybody},
	{name: "registered, unproved and nobody", address: "registered@example.com",
		set:    func(t *testing.T, s *server, address string) { s.register(t, address) },
		status: "clear", findings: "nobody_yet", forecasts: "emailpass: create, new emailpass: refuse identity_exists, new emailpass+: refuse identity_exists, new vouching: create, new vouching+: create",
		also: func(t *testing.T, _ *server, e explained) {
			i := e.Identities[0]
			if len(i.Links) != 0 || len(i.Unlinked) != 1 || i.Unlinked[0].Since == nil || i.Sessions != 1 || i.LastUsed == nil || !i.Providers[0].HasSecret || i.Providers[0].ProvedBy != "" {
				t.Errorf("%+v", i)
			}
		}},
	{name: "linked", address: "linked@example.com",
		set:    func(t *testing.T, s *server, address string) { s.member(t, address) },
		status: "clear", findings: "address_unproved can_sign_in", forecasts: "emailpass: sign_in, new emailpass: refuse identity_exists, new emailpass+: refuse identity_exists, new vouching: wait verify_email, new vouching+: reclaim",
		also: func(t *testing.T, _ *server, e explained) {
			if e.Identities[0].Links[0].State != "active" || e.Users[0].Identities[0] != e.Identities[0].ID || e.Users[0].Roles[0] != "member" {
				t.Errorf("%+v %+v", e.Users, e.Identities)
			}
		}},
	{name: "invited", address: "invited@example.com",
		set: func(t *testing.T, s *server, address string) {
			_, err := s.users.CreateInvites(t.Context(), user.InviteDraft{Email: address, Roles: []string{"editor"}})
			check(t, err)
		},
		status: "clear", findings: "invite_pending", forecasts: anybody,
		also: func(t *testing.T, _ *server, e explained) {
			if e.Invites[0].Status != "pending" || e.Forecasts[1].Roles[0] != "editor" || e.Forecasts[0].Roles[0] != "member" {
				t.Errorf("%+v %+v", e.Invites, e.Forecasts)
			}
		}},
	{name: "invited, too long ago", address: "expired@example.com",
		set: func(t *testing.T, s *server, address string) {
			_, err := s.node(t, settings{user: user.Options{InviteTTL: time.Nanosecond}}).users.CreateInvites(t.Context(), user.InviteDraft{Email: address})
			check(t, err)
		},
		status: "clear", findings: "invite_expired", forecasts: anybody},
	{name: "invited, and the invite withdrawn", address: "withdrawn@example.com",
		set: func(t *testing.T, s *server, address string) {
			made, err := s.users.CreateInvites(t.Context(), user.InviteDraft{Email: address})
			check(t, err)
			check(t, s.users.SoftDeleteInvites(t.Context(), made[0].ID))
		},
		status: "clear", findings: "invite_revoked", forecasts: anybody,
		also: func(t *testing.T, _ *server, e explained) {
			if e.Invites[0].Status != "withdrawn" {
				t.Errorf("%+v", e.Invites)
			}
		}},
	{name: "accepted an invite that left by mail", address: "accepted@example.com",
		set: func(t *testing.T, s *server, address string) {
			made, err := s.users.CreateInvites(t.Context(), user.InviteDraft{Email: address})
			check(t, err)
			if a := s.accept(t, s.mailed(t, made[0].ID), `{}`, bearer(s.register(t, address))); a.status != 200 {
				t.Fatal(a.body)
			}
		},
		status: "clear", findings: "can_sign_in", forecasts: "emailpass+: sign_in, new emailpass: refuse identity_exists, new emailpass+: refuse identity_exists, new vouching: wait verify_email, new vouching+: join",
		also: func(t *testing.T, _ *server, e explained) {
			if e.Invites[0].Status != "accepted" || e.Invites[0].AcceptedBy != e.Users[0].ID || e.Users[0].ProvedBy != "invite" || e.Identities[0].Providers[0].ProvedBy != "invite" {
				t.Errorf("%+v %+v", e.Invites, e.Users)
			}
		}},
	{name: "taken by a user who has not proved it", address: "squatted@example.com",
		set: func(t *testing.T, s *server, address string) {
			s.member(t, address)
			s.vouch(t, "owner of squatted", address, "false")
		},
		status:   "blocked",
		findings: "!verify_email address_unproved can_sign_in several_identities",
		forecasts: "emailpass: sign_in, vouching: wait verify_email, " +
			"new emailpass: refuse identity_exists, new emailpass+: refuse identity_exists, new vouching: wait verify_email, new vouching+: reclaim"},
	{name: "taken by a user who has proved it", address: "proved@example.com",
		set: func(t *testing.T, s *server, address string) {
			s.adminWith(t, address, password)
			s.vouch(t, "owner of proved", address, "false")
		},
		status:   "blocked",
		findings: "!verify_email can_sign_in several_identities",
		forecasts: "emailpass+: sign_in, vouching: wait verify_email, " +
			"new emailpass: refuse identity_exists, new emailpass+: refuse identity_exists, new vouching: wait verify_email, new vouching+: join",
		also: func(t *testing.T, _ *server, e explained) {
			if e.Users[0].ProvedBy != "command_line" {
				t.Errorf("%+v", e.Users)
			}
		}},
	{name: "two ways of one identity", address: "two@example.com",
		set: func(t *testing.T, s *server, address string) {
			s.adminWith(t, address, password)
			s.vouch(t, "owner of two", address, "true")
		},
		status: "clear", findings: "can_sign_in",
		forecasts: "emailpass+: sign_in, vouching+: sign_in, " +
			"new emailpass: refuse identity_exists, new emailpass+: refuse identity_exists, new vouching: wait verify_email, new vouching+: join",
		also: func(t *testing.T, _ *server, e explained) {
			if len(e.Identities) != 1 || e.Identities[0].Providers[1].ProvedBy != "provider" {
				t.Errorf("%+v", e.Identities)
			}
		}},
	{name: "deactivated", address: "deactivated@example.com",
		set: func(t *testing.T, s *server, address string) {
			s.member(t, address)
			check(t, s.users.DeactivateUsers(t.Context(), s.userWith(t, address)))
			if a := s.do(t, "POST", "/auth/user/emailpass", credentials(address, password)); a.get("reason") != "user_deactivated" {
				t.Fatal(a.body)
			}
		},
		status: "blocked", findings: "!user_deactivated address_unproved",
		forecasts: "emailpass: refuse user_deactivated, new emailpass: refuse identity_exists, new emailpass+: refuse identity_exists, new vouching: wait verify_email, new vouching+: refuse user_deactivated",
		also: func(t *testing.T, _ *server, e explained) {
			if len(e.Refusals) != 1 || e.Refusals[0].Action != "auth.sign_in" || e.Refusals[0].Reason != "user_deactivated" || e.Refusals[0].Operator == "" {
				t.Errorf("%+v", e.Refusals)
			}
		}},
	{name: "deleted", address: "deleted@example.com",
		set: func(t *testing.T, s *server, address string) {
			s.member(t, address)
			check(t, s.users.SoftDeleteUsers(t.Context(), s.userWith(t, address)))
		},
		status: "clear", findings: "user_deleted", forecasts: anybody,
		also: func(t *testing.T, _ *server, e explained) {
			if len(e.Users) != 1 || e.Users[0].DeletedAt == nil {
				t.Errorf("%+v", e.Users)
			}
		}},
	{name: "restored, without a way to sign in", address: "restored@example.com",
		set: func(t *testing.T, s *server, address string) {
			s.member(t, address)
			id := s.userWith(t, address)
			check(t, s.users.SoftDeleteUsers(t.Context(), id))
			check(t, s.users.RestoreUsers(t.Context(), id))
		},
		status: "blocked", findings: "!no_sign_in !verify_email address_unproved", forecasts: "new emailpass: wait verify_email, new emailpass+: reclaim, new vouching: wait verify_email, new vouching+: reclaim"},
	{name: "throttled", address: "throttled@example.com",
		set: func(t *testing.T, s *server, address string) {
			s.adminWith(t, address, password)
			for range 12 {
				s.guess(t, address)
			}
		},
		status: "clear", findings: "can_sign_in throttled_at_a_place",
		forecasts: "emailpass+: sign_in, new emailpass: refuse identity_exists, new emailpass+: refuse identity_exists, new vouching: wait verify_email, new vouching+: join",
		also: func(t *testing.T, _ *server, e explained) {
			var full []string
			for _, c := range e.Throttles {
				if c.Refuses {
					full = append(full, c.Limit)
				} else if c.Count != 10 || c.Most <= c.Count {
					t.Errorf("%+v", c)
				}
			}
			if !slices.Equal(full, []string{"account_place"}) || e.Findings[1].Until == nil || !e.Findings[1].Until.After(time.Now()) {
				t.Errorf("%v %+v", full, e.Findings)
			}
			if len(e.Refusals) < 2 || e.Refusals[0].Reason != "too_many_attempts" || e.Refusals[len(e.Refusals)-1].Reason != "invalid_credentials" {
				t.Errorf("%+v", e.Refusals)
			}
		}},
	{name: "without a password", address: "passwordless@example.com",
		set:    func(t *testing.T, s *server, address string) { s.vouch(t, "owner of passwordless", address, "true") },
		status: "clear", findings: "no_password can_sign_in", forecasts: "vouching+: sign_in, new emailpass: wait verify_email, new emailpass+: join, new vouching: wait verify_email, new vouching+: join",
		also: func(t *testing.T, _ *server, e explained) {
			if p := e.Identities[0].Providers[0]; p.HasSecret || p.EntityID != "owner of passwordless" || p.ProvedBy != "provider" {
				t.Errorf("%+v", p)
			}
		}},
	{name: "a sign-in that leads to a user of another address", address: "moved@example.com",
		set: func(t *testing.T, s *server, address string) {
			s.vouch(t, "one who moves", "before@example.com", "true")
			s.vouch(t, "one who moves", address, "true") // the provider names another address by now
		},
		status: "clear", findings: "other_account", forecasts: "vouching+: sign_in, " + anybody,
		also: func(t *testing.T, _ *server, e explained) {
			if len(e.Users) != 0 || e.Identities[0].Links[0].Email != "before@example.com" {
				t.Errorf("%+v %+v", e.Users, e.Identities)
			}
		}},
	{name: "without an address at the provider", address: "addressless@example.com",
		set: func(t *testing.T, s *server, address string) {
			made, err := s.users.CreateUsers(t.Context(), user.Draft{Email: address, EmailVerified: true})
			check(t, err)
			s.vouch(t, "one without", "", "false")
			ids, err := s.auth.ListAuthIdentities(t.Context(), auth.IdentityFilter{Provider: "vouching", EntityID: "one without"}, auth.Page{})
			check(t, err)
			check(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
				_, err := s.db.Conn(ctx).NewRaw("INSERT INTO latchkey_link (auth_identity_id, actor_type, actor_id, created_at) VALUES (?, 'user', ?, ?)",
					ids[0].ID, made[0].ID, database.Now()).Exec(ctx)
				return err
			}))
		},
		status: "clear", findings: "no_password can_sign_in", forecasts: "vouching: sign_in, new emailpass: wait verify_email, new emailpass+: join, new vouching: wait verify_email, new vouching+: join",
		also: func(t *testing.T, _ *server, e explained) {
			if e.Users[0].ProvedBy != "application" {
				t.Errorf("%+v", e.Users)
			}
		}},
	{name: "a link to nobody", address: "gone@example.com",
		set: func(t *testing.T, s *server, address string) {
			s.member(t, address)
			id := s.userWith(t, address)
			check(t, s.db.InTx(t.Context(), func(ctx context.Context) error { // which no method does
				_, err := s.db.Conn(ctx).NewRaw("DELETE FROM latchkey_user WHERE id = ?", id).Exec(ctx)
				return err
			}))
		},
		status: "blocked", findings: "!link_broken", forecasts: "emailpass: refuse invalid_credentials, new emailpass: refuse identity_exists, new emailpass+: refuse identity_exists, new vouching: create, new vouching+: create"},
	{name: "with links on their way", address: "waiting@example.com",
		set: func(t *testing.T, s *server, address string) {
			s.adminWith(t, address, password)
			token := s.signIn(t, address)
			if a := s.do(t, "POST", "/admin/users/me/email", `{"email":"next@example.com","current_password":"`+password+`"}`, bearer(token)); a.status != 200 {
				t.Fatal(a.body)
			}
			if a := s.do(t, "POST", "/auth/user/emailpass/reset-password", `{"identifier":"`+address+`"}`); a.status != 201 {
				t.Fatal(a.body)
			}
			resets := s.told.resets()
			_, err := s.auth.CreatePasswordResetToken(t.Context(), resets[len(resets)-1], auth.ByMail)
			check(t, err)
		},
		status: "clear", findings: "can_sign_in email_change_pending reset_pending",
		forecasts: "emailpass+: sign_in, new emailpass: refuse identity_exists, new emailpass+: refuse identity_exists, new vouching: wait verify_email, new vouching+: join",
		also: func(t *testing.T, s *server, e explained) {
			if len(e.Pending) != 2 || e.Pending[0].Email != "next@example.com" || e.Pending[1].Email != "waiting@example.com" {
				t.Errorf("%+v", e.Pending)
			}
			if next := s.explain(t, s.signedIn["the admin"], "next@example.com"); len(next.Pending) != 1 || next.findings() != "email_change_pending" {
				t.Errorf("of the address that is moved to: %s %+v", next.findings(), next.Pending)
			}
		}},
	{name: "who has used up the mails", address: "mailed@example.com",
		set: func(t *testing.T, s *server, address string) {
			for range 6 {
				s.do(t, "POST", "/auth/user/emailpass/reset-password", `{"identifier":"`+address+`"}`)
			}
		},
		status: "unknown", findings: "mails_used_up unknown", forecasts: anybody},
}

func TestAnExplanationFitsTheSituation(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		s.signedIn["the admin"] = admin
		for _, c := range situations {
			c.set(t, s, c.address)
		}
		before, told := databasetest.Dump(t, s.db), s.told.count()
		for _, c := range situations {
			t.Run(c.name, func(t *testing.T) {
				e := s.explain(t, admin, strings.ToUpper(c.address[:1])+c.address[1:])
				if e.Email != c.address || e.Status != c.status || e.findings() != c.findings || e.forecasts() != c.forecasts {
					t.Errorf("%s is %s: %q\n%s\nwant %s: %q\n%s", e.Email, e.Status, e.findings(), e.forecasts(), c.status, c.findings, c.forecasts)
				}
				if c.also != nil && !t.Failed() {
					c.also(t, s, e)
				}
			})
		}
		wantOnlyLooks(t, s, before)
		if s.told.count() != told {
			t.Error("something was announced")
		}
	})
}

// wantOnlyLooks looks whether nothing was written since but that somebody looked.
func wantOnlyLooks(t *testing.T, s *server, before map[string][]string) {
	t.Helper()
	for table, rows := range databasetest.Dump(t, s.db) {
		if table == "latchkey_audit_event" {
			rows = slices.DeleteFunc(rows, func(row string) bool { return strings.Contains(row, "action:explain") })
		}
		if !slices.Equal(rows, before[table]) {
			t.Errorf("%s was\n%v\nand is\n%v", table, before[table], rows)
		}
	}
}

func TestAnExplanationTellsThrottlesThatHoldForEverybody(t *testing.T) {
	eachWith(t, behindAProxy(auth.ThrottleOptions{Account: auth.Limit{Most: 2}}), func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		for _, address := range []string{"besieged@example.com", "nobody@example.com"} {
			if address != "nobody@example.com" {
				s.adminWith(t, address, password)
			}
			for _, from := range []string{"203.0.113.1", "203.0.113.2", "203.0.113.3"} {
				s.guess(t, address, at(from))
			}
			e := s.explain(t, admin, address)
			if e.findings() != map[bool]string{true: "!too_many_attempts unknown", false: "!too_many_attempts can_sign_in"}[e.Status == "unknown"] {
				t.Errorf("%s: %s", address, e.findings())
			}
			if f := e.Findings[0]; f.Until == nil || f.Until.Before(time.Now()) || *f.About != "account" {
				t.Errorf("%s: %+v", address, f)
			}
		}
	})
}

// Whoever a policy holds back is told by whom, and each of its waits has advice.
func TestAnExplanationAsksThePolicyOfNow(t *testing.T) {
	for policy, want := range map[link.Policy][3]string{
		link.InviteOnly{}: {"!invite_required unknown", "new emailpass: wait invite_required, new emailpass+: wait invite_required, new vouching: wait invite_required, new vouching+: wait invite_required", "!invite_required"},
		link.Manual{}:     {"!not_linked unknown", "new emailpass: wait not_linked, new emailpass+: wait not_linked, new vouching: wait not_linked, new vouching+: wait not_linked", "!not_linked"},
	} {
		eachWith(t, settings{actor: link.ActorOptions{Policy: policy}}, func(t *testing.T, s *server) {
			admin := s.admin(t, "admin@example.com")
			if e := s.explain(t, admin, "never@example.com"); e.findings() != want[0] || e.forecasts() != want[1] {
				t.Errorf("%T: %q\n%s", policy, e.findings(), e.forecasts())
			}
			s.member(t, "ada@example.com")
			if e := s.explain(t, admin, "ada@example.com"); e.findings() != want[2] || e.Status != "blocked" {
				t.Errorf("%T, who has signed in: %q", policy, e.findings())
			}
			if policy == (link.InviteOnly{}) {
				_, err := s.users.CreateInvites(t.Context(), user.InviteDraft{Email: "guest@example.com"})
				check(t, err)
				if e := s.explain(t, admin, "guest@example.com"); e.findings() != "invite_required invite_pending" || e.Forecasts[1].Outcome != "create" {
					t.Errorf("an invited one: %q\n%s", e.findings(), e.forecasts())
				}
			}
		})
	}
}

// What keeps somebody from being a user does not keep them from being another actor: each finding says as what.
func TestAnExplanationSaysAsWhatSomebodyIsKeptOut(t *testing.T) {
	o := settings{actor: link.ActorOptions{Policy: link.InviteOnly{}, Providers: []string{"emailpass"}}, actors: servingShoppers(t)}
	eachWith(t, o, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		s.token(t, "sign in", s.do(t, "POST", "/auth/shopper/vouching", `{"name":"cy","email":"shopper@example.com","verified":true}`))
		s.register(t, "nobody@example.com")
		s.token(t, "sign in", s.do(t, "POST", "/auth/shopper/vouching", `{"name":"wu","verified":true,"email":"gone@example.com"}`))
		check(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
			_, err := s.db.Conn(ctx).NewRaw("DELETE FROM shopper WHERE email = 'gone@example.com'").Exec(ctx)
			return err
		}))
		for address, want := range map[string]string{
			"never@example.com":   "!invite_required/user unknown",
			"nobody@example.com":  "!invite_required/user nobody_yet/shopper",
			"shopper@example.com": "", // a user may not use that provider: they are none
			"gone@example.com":    "!link_broken",
		} {
			if e := s.explain(t, admin, address); e.findingsAs() != want {
				t.Errorf("%s: %q, want %q\n%s", address, e.findingsAs(), want, e.forecasts())
			}
		}
	})
}

// Nor does a policy know that the id which it chooses is taken.
func TestAnExplanationKnowsOfAnIDThatWasTaken(t *testing.T) {
	same := link.WithDraft(link.AutoProvision{}, func(_ context.Context, _ link.Newcomer, d user.Draft) (user.Draft, error) {
		if d.Email != "admin@example.com" {
			d.ID = "user_01ARZ3NDEKTSV4RRFFQ69G5FAV"
		}
		return d, nil
	})
	eachWith(t, settings{actor: link.ActorOptions{Policy: same}}, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		s.member(t, "first@example.com")
		s.register(t, "second@example.com")
		if a := s.do(t, "POST", "/auth/user/emailpass", credentials("second@example.com", password)); a.status != 422 {
			t.Errorf("%d %s", a.status, a.body)
		}
		if e := s.explain(t, admin, "second@example.com"); len(e.Refusals) != 1 || e.Refusals[0].Reason != "id_taken" || e.Refusals[0].Operator == "" {
			t.Errorf("%+v", e.Refusals)
		}
	})
}

// No policy tells that a hook of the application says no: the trail does.
func TestAnExplanationKnowsWhatAHookSaidNoTo(t *testing.T) {
	full := link.Hook{Name: "profiles", OnProvision: func(_ context.Context, p link.Provisioned) error {
		switch p.Profile.Email {
		case "late@example.com":
			return fault.New(fault.Conflict, "no_seats", "All seats are taken.")
		case "unlucky@example.com":
			return errors.New("the application's own failure, which is no refusal")
		}
		return nil
	}}
	eachWith(t, settings{links: []link.Hook{full}}, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		for address, want := range map[string]struct {
			status  int
			reasons string
		}{"late@example.com": {409, "profiles.no_seats"}, "unlucky@example.com": {500, ""}} {
			s.register(t, address)
			if a := s.do(t, "POST", "/auth/user/emailpass", credentials(address, password)); a.status != want.status {
				t.Errorf("%s: %d %s", address, a.status, a.body)
			}
			var reasons []string
			for _, r := range s.explain(t, admin, address).Refusals {
				reasons = append(reasons, r.Reason)
			}
			if got := strings.Join(reasons, " "); got != want.reasons {
				t.Errorf("the refusals of %s are %q, want %q", address, got, want.reasons)
			}
		}
	})
}

func TestAnExplanationSaysWhoIsHeldBackUntilTheAddressIsProved(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		free := serve(t, at.Open(t, user.Migrations(), auth.Migrations(), link.Migrations(), audit.Migrations()), settings{})
		admin := free.admin(t, "admin@example.com")
		free.member(t, "before@example.com")
		s := free.node(t, settings{actor: link.ActorOptions{RequireVerifiedEmail: true}})
		s.register(t, "after@example.com")
		for address, want := range map[string]string{
			"never@example.com":  "!verification_required unknown",
			"before@example.com": "!verification_required address_unproved",
			"after@example.com":  "!verification_required verification_pending",
			"admin@example.com":  "can_sign_in",
		} {
			if e := s.explain(t, admin, address); e.findings() != want {
				t.Errorf("%s: %q, want %q\n%s", address, e.findings(), want, e.forecasts())
			}
		}
		unseen := free.node(t, settings{safe: true})
		unseen.register(t, "unseen@example.com")
		if e := unseen.explain(t, admin, "unseen@example.com"); e.findings() != "!registration_pending verification_pending" || e.Status != "blocked" {
			t.Errorf("who registers unseen: %q %s", e.findings(), e.Status)
		}
		if e := unseen.explain(t, admin, "before@example.com"); !strings.Contains(e.forecasts(), "new emailpass: refuse already_registered") {
			t.Errorf("who is known: %s", e.forecasts())
		}
	})
}

func TestAnExplanationOfWhoWasPurgedKnowsNothing(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		s.register(t, "ada@example.com")
		links, err := link.New(link.Params{DB: s.db, Users: s.users, Auth: s.auth, Options: link.Options{UnlinkedTTL: time.Hour}})
		check(t, err)
		e, err := links.Explain(t.Context(), "ada@example.com")
		check(t, err)
		if u := e.Identities[0].Unlinked[0]; u.PurgedAt.Sub(u.Since) != time.Hour {
			t.Errorf("%+v", u)
		}
		check(t, s.db.InTx(t.Context(), func(ctx context.Context) error {
			for table, column := range map[string]string{"auth_identity": "created_at", "auth_session": "last_used_at", "link_unlinked": "since"} {
				if _, err := s.db.Conn(ctx).NewUpdate().TableExpr("latchkey_"+table).Set(column+" = ?", database.Now().Add(-2*time.Hour)).
					Where("TRUE").Exec(ctx); err != nil {
					return err
				}
			}
			return nil
		}))
		if n, err := links.PurgeUnlinked(t.Context(), 10); n != 1 || err != nil {
			t.Fatal(n, err)
		}
		if e := s.explain(t, admin, "ada@example.com"); e.findings() != "unknown" || e.Status != "unknown" || e.forecasts() != anybody {
			t.Errorf("%q\n%s", e.findings(), e.forecasts())
		}
	})
}

// clumsy is a policy that writes, although it must not, and fails or panics for some.
type clumsy struct{ s **server }

func (p clumsy) Decide(ctx context.Context, n link.Newcomer) (link.Decision, error) {
	s := *p.s
	if _, err := s.users.CreateUsers(ctx, user.Draft{Email: "made-by-a-policy@example.com"}); err != nil {
		return link.Decision{}, err
	}
	switch {
	case strings.HasPrefix(n.Identity.Proved.Email, "own"):
		return link.Wait(link.Waiting{Reason: "paperwork", Message: "The paperwork is missing.", Next: "Send it."}), nil
	case strings.HasPrefix(n.Identity.Proved.Email, "fails"):
		return link.Decision{}, errors.New("the policy is out of order")
	case strings.HasPrefix(n.Identity.Proved.Email, "panics"):
		panic("the policy is out of its mind")
	case strings.HasPrefix(n.Identity.Proved.Email, "decides-nothing"):
		return link.Decision{}, nil
	case strings.HasPrefix(n.Identity.Proved.Email, "joins"):
		return link.Join(string(user.NewID())), nil
	}
	return link.Create(n.Draft()), nil
}

func TestAPolicyThatIsAskedLeavesNothing(t *testing.T) {
	var s *server
	eachWith(t, settings{actor: link.ActorOptions{Policy: clumsy{&s}}}, func(t *testing.T, now *server) {
		s = now
		admin := s.admin(t, "admin@example.com")
		before, told := databasetest.Dump(t, s.db), s.told.count()
		for address, want := range map[string]string{
			"ada@example.com": "create ", "own@example.com": "wait paperwork", "fails@example.com": "fail policy_failed", "panics@example.com": "fail policy_failed",
			"decides-nothing@example.com": "fail policy_failed", "joins@example.com": "fail policy_failed",
		} {
			e := s.explain(t, admin, address)
			for _, f := range e.Forecasts {
				if f.Outcome+" "+f.Reason != want {
					t.Errorf("%s: %+v, want %s", address, f, want)
				}
			}
			if wants, _, _ := strings.Cut(want, " "); wants != "create" && !e.Findings[0].Blocks {
				t.Errorf("%s: %+v", address, e.Findings)
			}
			if f := e.Findings[0]; f.Code == "paperwork" && (f.What != "The paperwork is missing." || f.Person != "Send it.") {
				t.Errorf("%+v", f)
			}
		}
		wantOnlyLooks(t, s, before)
		if s.told.count() != told {
			t.Error("something was announced")
		}
		if !strings.Contains(s.log.String(), "the policy is out of order") || !strings.Contains(s.log.String(), "the policy is out of its mind") {
			t.Error("the log does not say why the policy fails")
		}
	})
}

// reads counts the statements that read.
type reads struct{ n atomic.Int64 }

func (r *reads) BeforeQuery(ctx context.Context, e *bun.QueryEvent) context.Context {
	if strings.HasPrefix(e.Query, "SELECT") {
		r.n.Add(1)
	}
	return ctx
}

func (*reads) AfterQuery(context.Context, *bun.QueryEvent) {}

// An explanation costs as many statements for who has much as for who has little, and its lists end.
func TestAnExplanationIsBounded(t *testing.T) {
	eachWith(t, settings{safe: true, auth: auth.Options{Throttle: auth.ThrottleOptions{MaxWait: time.Minute, Address: auth.Limit{Most: 1000}}}}, func(t *testing.T, s *server) {
		ran := new(reads)
		s.db.Conn(t.Context()).(*bun.DB).AddQueryHook(ran)
		cost := func(address string) (link.Explanation, int64) {
			t.Helper()
			ran.n.Store(0)
			e, err := s.link.Explain(t.Context(), address)
			check(t, err)
			return e, ran.n.Load()
		}
		s.adminWith(t, "bob@example.com", password)
		s.signIn(t, "bob@example.com")
		_, little := cost("bob@example.com")
		s.adminWith(t, "ada@example.com", password)
		for range 3 {
			s.signIn(t, "ada@example.com")
		}
		for range link.MaxExplained + 5 {
			s.register(t, "ada@example.com")
		}
		for i := range link.MaxExplained + 5 {
			s.vouch(t, fmt.Sprint("ada", i), "ada@example.com", fmt.Sprint(i < 3))
		}
		e, much := cost("ada@example.com")
		if len(e.Identities) != link.MaxExplained || !e.More || e.Users[0].Identities[0] != e.Identities[0].ID || len(e.Pending) > link.MaxExplained || len(e.Identities[0].Providers) != 4 {
			t.Errorf("%d identities, %d pending, more: %t", len(e.Identities), len(e.Pending), e.More)
		}
		if most := link.MaxExplained + 4; len(e.Forecasts) > most {
			t.Errorf("%d forecasts, want at most %d", len(e.Forecasts), most)
		}
		if much != little || much > 25 {
			t.Errorf("%d statements for who has much, %d for who has little", much, little)
		}
	})
}

// adviceless are reasons of which nobody hears who wants to get in: those of lists and bodies, of what administrators do to
// others, and of the Go API.
var adviceless = strings.Fields(`audit_event_not_found auth_identity_not_found body_too_large code_provider_unknown cursor_invalid entity_taken entity_type_unknown
	identity_invalid invalid_request invite_beyond_caller invite_not_found invite_value_invalid invites_full last_admin last_way_in malformed_json
	media_type no_audit_trail no_method no_route order_unknown query_invalid role_beyond_caller self_deactivate self_delete unknown_json_member
	unknown_provider user_beyond_caller user_not_found wrong_json_type
	no_webhooks webhook_changed webhook_event_not_waiting webhook_exists webhook_not_found webhook_rotated_too_often webhook_too_many webhook_url_invalid
	webhook_value_invalid no_events no_health`)

// A fault that is declared without advice, and not among those of which nobody hears, fails here.
func TestThereIsAdviceOnEveryReason(t *testing.T) {
	said := map[string]bool{}
	for reason := range declared(t) {
		said[reason] = true
		switch _, ok := link.AdviceFor(reason); {
		case ok && slices.Contains(adviceless, reason):
			t.Errorf("%s has advice: take it from the list of those that have none", reason)
		case !ok && !slices.Contains(adviceless, reason):
			t.Errorf("there is no advice on %s in link/advice.go", reason)
		}
	}
	for _, reason := range adviceless {
		if !said[reason] {
			t.Errorf("nothing says %s any more", reason)
		}
	}
	for _, reason := range waits(t) {
		if _, ok := link.AdviceFor(reason); !ok {
			t.Errorf("there is no advice on the wait %s in link/advice.go", reason)
		}
	}
	if len(waits(t)) < 5 {
		t.Errorf("only the waits %v are found", waits(t))
	}
	for _, reason := range append(slices.Collect(maps.Keys(said)), waits(t)...) {
		a, ok := link.AdviceFor(reason)
		for _, sentence := range []string{a.What, a.Person, a.Operator} {
			if ok && (!strings.HasSuffix(sentence, ".") || strings.Contains(sentence, ". ") || len(sentence) < 12) {
				t.Errorf("%s: %q is not one sentence", reason, sentence)
			}
		}
	}
}

// waits are the reasons of every link.Waiting that package link declares.
func waits(t *testing.T) (reasons []string) {
	t.Helper()
	files, err := filepath.Glob("../../link/*.go")
	check(t, err)
	for _, path := range files {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(gotoken.NewFileSet(), path, nil, parser.SkipObjectResolution)
		check(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			if c, ok := n.(*ast.CompositeLit); ok && c.Type != nil && named(c.Type, "Waiting") && len(c.Elts) > 0 {
				first := c.Elts[0]
				if pair, ok := first.(*ast.KeyValueExpr); ok {
					first = pair.Value
				}
				if literal, ok := first.(*ast.BasicLit); ok {
					reason, err := strconv.Unquote(literal.Value)
					check(t, err)
					reasons = append(reasons, reason)
				}
			}
			return true
		})
	}
	return reasons
}

func TestAnExplanationIsForWhoMay(t *testing.T) {
	eachWith(t, settings{api: httpapi.Options{Roles: httpapi.Roles{"support": {"user:explain"}, "clerk": {"user:read", "user:update", "invite:*", "audit:*"}}}}, func(t *testing.T, s *server) {
		const path = "/admin/explain?email=admin@example.com"
		s.admin(t, "admin@example.com")
		for role, want := range map[string]int{"support": 200, "clerk": 403, "member": 403} {
			if a := s.do(t, "GET", path, "", bearer(s.somebody(t, role+"@example.com", role))); a.status != want {
				t.Errorf("%s: %d %s, want %d", role, a.status, a.body, want)
			}
		}
		if a := s.do(t, "GET", path, ""); a.status != 401 || a.body != unauthorized {
			t.Errorf("nobody: %d %s", a.status, a.body)
		}
		nobody := s.register(t, "nobody@example.com")
		if a := s.do(t, "GET", path, "", bearer(nobody)); a.status != 401 {
			t.Errorf("who is nobody's user: %d %s", a.status, a.body)
		}
	})
}

func TestThatSomebodyLookedIsInTheAuditTrail(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		s.member(t, "ada@example.com")
		s.explain(t, admin, "ada@example.com")
		s.explain(t, admin, "never@example.com")
		looks := s.trail(t, "action=explain")
		if len(looks) != 2 {
			t.Fatalf("%d rows", len(looks))
		}
		if e := looks[1]; e["target_id"] != string(s.userWith(t, "ada@example.com")) || e["actor_id"] != claims(t, admin)["actor_id"] || e["outcome"] != "success" {
			t.Errorf("%v", e)
		}
		if e := looks[0]; e["target_type"] != "address" || strings.Contains(fmt.Sprint(e), "never@") {
			t.Errorf("%v", e)
		}
	})
}

// Nothing in an explanation opens anything.
func TestAnExplanationShowsNoSecret(t *testing.T) {
	each(t, func(t *testing.T, s *server) {
		admin := s.admin(t, "admin@example.com")
		made, err := s.users.CreateInvites(t.Context(), user.InviteDraft{Email: "ada@example.com"})
		check(t, err)
		token := s.member(t, "ada@example.com")
		s.do(t, "POST", "/auth/user/emailpass/reset-password", `{"identifier":"ada@example.com"}`)
		reset, err := s.auth.CreatePasswordResetToken(t.Context(), s.told.resets()[0], auth.ByMail)
		check(t, err)
		body := s.do(t, "GET", "/admin/explain?email=ada@example.com", "", bearer(admin)).body
		dump := databasetest.Dump(t, s.db)
		for what, secret := range map[string]string{"the invite's token": s.users.InviteToken(made[0], user.ByHand), "an access token": token, "a reset token": reset.Token} {
			for _, part := range strings.Split(secret, ".")[1:] {
				if strings.Contains(body, part) {
					t.Errorf("it shows %s", what)
				}
			}
		}
		for _, secretive := range []string{"secret:", "nonce:", "token_hash:", "secret_hash:"} {
			for _, rows := range dump {
				for _, row := range rows {
					_, value, found := strings.Cut(row, secretive)
					if value, _, _ = strings.Cut(value, " "); found && len(value) > 8 && strings.Contains(body, value) {
						t.Errorf("it shows a %s", secretive)
					}
				}
			}
		}
		secrettest.Look(t, "an explanation", body)
	})
}

var explaining = []fixture{
	{"by nobody", "", "GET /admin/explain?email=ada@example.com", "", 401, unauthorized},
	{"by a member", "member", "GET /admin/explain?email=ada@example.com", "", 403, forbidden},
	{"of no address", "admin", "GET /admin/explain", "", 400, invalid("Field 'email' is required")},
	{"of an empty address", "admin", "GET /admin/explain?email=", "", 400, invalid("Field 'email' is required")},
	{"of two addresses", "admin", "GET /admin/explain?email=a@example.com&email=b@example.com", "", 400, invalid("email must be given once")},
	{"of what is no address", "admin", "GET /admin/explain?email=nonsense", "", 400, problem("invalid_data", email.ErrInvalid.Message, "invalid_email")},
	{"with another parameter", "admin", "GET /admin/explain?email=a@example.com&fields=id", "", 400, invalid("Unrecognized fields: 'fields'; use email")},
	{"of somebody nobody knows", "admin", "GET /admin/explain?email=Never@example.com", "", 200, `{"explanation":{"email":"never@example.com","at":"<time>","status":"unknown",` +
		`"findings":[{"code":"unknown","blocks":false,"about":null,"actor_type":null,"until":null,` +
		`"what":"Nothing is kept about this address; who registered or signed in and became nobody is deleted after a while (link.unlinked_ttl).",` +
		`"person":"Look for another spelling or another address; otherwise register, and what then happens is said under what a sign-in would lead to.",` +
		`"operator":"Ask for the address on the account, or make the user by 'server user -e ADDRESS', or an invite by 'server user -e ADDRESS --invite'."}],` +
		`"users":[],"auth_identities":[],"invites":[],"pending":[],"throttles":[],"forecasts":[` +
		newcomer("emailpass", false) + `,` + newcomer("emailpass", true) + `,` + newcomer("vouching", false) + `,` + newcomer("vouching", true) + `],"refusals":[],"more":false}}`},
}

func newcomer(provider string, proved bool) string {
	return fmt.Sprintf(`{"actor_type":"user","provider":%q,"auth_identity_id":null,"email_verified":%t,"outcome":"create","reason":null,"message":null,"next":null,"actor_id":null,"roles":["member"]}`,
		provider, proved)
}

func TestExplainingAnswers(t *testing.T) {
	each(t, func(t *testing.T, s *server) { newScene(t, s).run(t, explaining) })
}
