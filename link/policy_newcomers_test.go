package link_test

import (
	"context"
	"testing"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/user"
)

func TestWhetherNewcomersAreTaken(t *testing.T) {
	db := databasetest.SQLite(t).Open(t, user.Migrations())
	own := link.PolicyFunc(func(context.Context, link.Newcomer) (link.Decision, error) { return link.Wait(link.WaitManual), nil })
	for name, c := range map[string]struct {
		policy link.Policy
		want   bool
	}{
		"none":                    {nil, true},
		"everybody":               {link.AutoProvision{}, true},
		"some domains":            {link.AllowDomains(nil, "example.com"), true},
		"who is invited":          {link.InviteOnly{}, false},
		"nobody":                  {link.Manual{}, false},
		"who is invited, as this": {link.WithRoles(link.AllowDomains(link.InviteOnly{}, "example.com"), user.RoleMember), false},
		"one of our own":          {own, true},
	} {
		b := newBridge(t, db, link.ActorOptions{Policy: c.policy})
		if got := b.link.TakesNewcomers(link.ActorUser); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}
