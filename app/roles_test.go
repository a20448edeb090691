package app_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
)

func TestTheConfigurationSaysWhatARoleMayDo(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		dir := t.TempDir()
		serve := func(roles ...string) (r *running, token string) {
			t.Helper()
			r = start(t, environment(dir, at, roles...))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := r.up(ctx); err != nil {
				t.Fatal(err)
			}
			status, body, err := post(r.url+"/auth/user/emailpass", `{"email":"sue@example.com","password":"correct horse"}`)
			if err != nil || status != 200 {
				t.Fatalf("sign in: %d %s %v", status, body, err)
			}
			return r, "Authorization: Bearer " + member(body, "token")
		}
		if out, errs, code := run(t, environment(dir, at), "user", "-e", "sue@example.com", "-p", "correct horse", "--role", "support"); code != 0 {
			t.Fatalf("user: exit %d\n%s%s", code, out, errs)
		}

		r, sue := serve()
		if status, body, err := post(r.url+"/admin/invites", `{"email":"ada@example.com"}`, sue); err != nil || status != 403 || !strings.Contains(body, `"Forbidden"`) {
			t.Errorf("support, whom nobody has given anything: %d %s %v", status, body, err)
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		r, sue = serve("LATCHKEY_ROLES_SUPPORT=invite:create", "LATCHKEY_ROLES_MEMBER=user:read")
		if status, body, err := post(r.url+"/admin/invites?fields=roles", `{"email":"ada@example.com"}`, sue); err != nil || status != 200 || !strings.Contains(body, `"roles":[]`) {
			t.Errorf("support that may invite: %d %s %v, want an invite without the default role, which is beyond them, as is member", status, body, err)
		}
		if status, body, err := post(r.url+"/admin/invites", `{"email":"bob@example.com","roles":["admin"]}`, sue); err != nil || status != 403 || !strings.Contains(body, "role_beyond_caller") {
			t.Errorf("support that invites an admin: %d %s %v", status, body, err)
		}
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		if log := r.stderr.String(); !strings.Contains(log, "the role member gives permissions") || strings.Contains(log, "invites are for a role") {
			t.Errorf("the log does not warn of what everybody may do, or of roles that there are:\n%s", log)
		}
		r, _ = serve("LATCHKEY_ROLES_SUPPORT=user:read", "LATCHKEY_INVITE_DEFAULT_ROLES=support,suport,member,admin")
		if err := r.stop(); err != nil {
			t.Error(err)
		}
		if log := r.stderr.String(); strings.Count(log, "invites are for a role that roles does not name") != 1 || !strings.Contains(log, "suport") {
			t.Errorf("the log does not warn of a default role that there is not:\n%s", log)
		}
		if out, errs, code := run(t, environment(dir, at, "LATCHKEY_ROLES_SUPPORT=invite:craete")); code != 2 || !strings.Contains(errs, "LATCHKEY_ROLES_SUPPORT: entry 1 must be one of *, user:*") {
			t.Errorf("a permission that there is not: exit %d\n%s%s", code, out, errs)
		}
	})
}
