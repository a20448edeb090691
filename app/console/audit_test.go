package console_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

// trail is what the audit trail has recorded since it was read last, in one line each.
func (s *site) trail(t *testing.T) (lines []string) {
	t.Helper()
	var rows []struct{ Action, Outcome, Reason, ActorType, ActorID, SessionID, IP string }
	err := s.db.Conn(t.Context()).NewRaw(`SELECT action, outcome, coalesce(reason, '-') AS reason, actor_type, coalesce(actor_id, '') AS actor_id,
		coalesce(session_id, '') AS session_id, coalesce(ip, '-') AS ip FROM latchkey_audit_event ORDER BY ts, id`).Scan(t.Context(), &rows)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range rows[s.recorded:] {
		lines = append(lines, fmt.Sprintf("%s %s %s %s user=%t session=%t ip=%s", r.Action, r.Outcome, r.Reason, r.ActorType, r.ActorID != "", r.SessionID != "", r.IP))
	}
	s.recorded = len(rows)
	return lines
}

// A sign-in by the link of a registration tries that registration, whoever's address is typed.
func TestARefusedSignInToARegistrationIsRecordedAsThat(t *testing.T) {
	eachWith(t, options{safe: true}, func(t *testing.T, s *site) {
		s.person(t, "root@example.com", "admin")
		s.register(t, "ada@example.com")
		path := s.mailedProof(t)
		var registers string
		if err := s.db.Conn(t.Context()).NewRaw("SELECT auth_identity_id FROM latchkey_registration").Scan(t.Context(), &registers); err != nil {
			t.Fatal(err)
		}
		for _, email := range []string{"root@example.com", "ada@example.com"} {
			b := s.browser(t)
			b.get(path)
			b.submit("/app/login", fields("email", email, "password", "not "+password))
			b.want(http.StatusUnauthorized, "/app/login")
			var row struct{ TargetType, TargetID, Details string }
			if err := s.db.Conn(t.Context()).NewRaw(`SELECT target_type, target_id, CAST(details AS text) AS details FROM latchkey_audit_event
				WHERE action = 'auth.sign_in' AND outcome = 'refused' ORDER BY ts DESC, id DESC LIMIT 1`).Scan(t.Context(), &row); err != nil {
				t.Fatal(err)
			}
			if row.TargetType != "auth_identity" || row.TargetID != registers || strings.Contains(row.Details, "address") {
				t.Errorf("%s: %+v, want the target %s", email, row, registers)
			}
		}
	})
}

func TestThePagesFeedTheAuditTrail(t *testing.T) {
	each(t, func(t *testing.T, s *site) {
		s.person(t, "ada@example.com", "admin")
		_, path := s.invite(t, "grace@example.com")
		s.trail(t)
		b := s.browser(t)
		want := func(what string, lines ...string) {
			t.Helper()
			for i := range lines {
				lines[i] += " ip=127.0.0.1"
			}
			if got := s.trail(t); !slices.Equal(got, lines) {
				t.Errorf("%s: the trail holds\n  %s\nwant\n  %s", what, strings.Join(got, "\n  "), strings.Join(lines, "\n  "))
			}
		}
		b.get("/app/login")
		want("looking at a page")
		b.do("POST", "/app/login", form, strings.NewReader(url.Values{"email": {"Ada@example.com"}, "password": {"wrong horse battery"}}.Encode()))
		want("a wrong password", "auth.sign_in refused invalid_credentials anonymous user=false session=false")
		b.signIn("ada@example.com")
		want("a sign-in", "auth.sign_in success - user user=true session=true")
		var session string
		if err := s.db.Conn(t.Context()).NewRaw("SELECT id FROM latchkey_auth_session").Scan(t.Context(), &session); err != nil {
			t.Fatal(err)
		}
		b.do("POST", "/app/email", form, strings.NewReader(url.Values{"email": {"new@example.com"}, "password": {"wrong horse battery"}, "as": {string(s.user(t, "ada@example.com").ID)}}.Encode()))
		want("another address, with a wrong password", "user.email_change_requested refused invalid_credentials user user=true session=true")
		b.do("POST", verifyPath, form, strings.NewReader(url.Values{"verify": {"dead"}, "as": {session}}.Encode()))
		want("a dead link that proves an address", "auth.email_verified refused verification_invalid user user=true session=true")
		b.do("POST", "/app/logout", form, strings.NewReader(""))
		want("a sign-out", "auth.session.ended success - user user=true session=true")
		b.do("POST", "/app/reset-password", form, strings.NewReader(url.Values{"token": {"dead"}, "password": {"battery staple battery"}}.Encode()))
		want("a dead link", "auth.credentials_changed refused reset_token_invalid anonymous user=false session=false")
		b.do("POST", "/app/invite", form, strings.NewReader(url.Values{"token": {"dead"}, "password": {"battery staple battery"}}.Encode()))
		want("a dead invite", "invite.accepted refused invite_invalid anonymous user=false session=false")
		u, err := url.Parse(path)
		if err != nil {
			t.Fatal(err)
		}
		b.do("POST", "/app/invite", form, strings.NewReader(url.Values{"token": {u.Query().Get("token")}, "password": {password}}.Encode()))
		want("an invite",
			"auth.auth-identity.created success - anonymous user=false session=false", "auth.provider-identity.created success - anonymous user=false session=false",
			"auth.sign_up success - user user=false session=true", "user.created success - user user=false session=true",
			"invite.accepted success - user user=false session=true", "link.linked success - user user=false session=true")
		held := fmt.Sprint(databasetest.Dump(t, s.db)["latchkey_audit_event"])
		for _, secret := range []string{"wrong horse", password, "battery staple", "@example.com"} {
			if strings.Contains(held, secret) {
				t.Errorf("the trail holds %q", secret)
			}
		}
	})
}
