package user_test

import (
	"strings"
	"testing"
	"time"

	"github.com/latchkey-go/latchkey/modules/user"
)

func TestAnInvitesMessageAndTimeCanBeChanged(t *testing.T) {
	each(t, func(t *testing.T, b bench) {
		was := must(b.CreateInvites(t.Context(), user.InviteDraft{Email: "ada@example.com", Message: "before", TTL: time.Hour}))(t)[0]
		b.said.take()

		now := must(b.UpdateInvites(t.Context(), user.InviteUpdate{ID: was.ID, Message: user.Set(" after\r\n"), TTL: user.Set(2 * time.Hour)}))(t)[0]
		if now.Message != "after" || now.TTL != 2*time.Hour || !now.ExpiresAt.Equal(was.ExpiresAt) || !now.UpdatedAt.After(was.UpdatedAt) {
			t.Errorf("changed: %+v", now)
		}
		check(t, b.opens(t, was)) // its token is as good as before
		if read := must(b.RetrieveInvite(t.Context(), was.ID))(t); read.Message != "after" || read.TTL != 2*time.Hour {
			t.Errorf("read: %+v", read)
		}
		b.wantSaid(t, topic("invite.updated", was.ID)...)
		if again := must(b.RefreshInviteTokens(t.Context(), was.ID))(t)[0]; again.ExpiresAt.Sub(again.IssuedAt) != 2*time.Hour || again.Message != "after" {
			t.Errorf("renewed: %+v", again)
		}

		now = must(b.UpdateInvites(t.Context(), user.InviteUpdate{ID: was.ID, Message: user.Clear[string](), TTL: user.Clear[time.Duration]()}))(t)[0]
		if now.Message != "" || now.TTL != 0 {
			t.Errorf("cleared: %+v", now)
		}
		for name, up := range map[string]user.InviteUpdate{
			"a long message": {Message: user.Set(strings.Repeat("x", user.MaxMessage+1))},
			"too short":      {TTL: user.Set(time.Second)},
			"too long":       {TTL: user.Set(1000 * time.Hour)},
			"the past":       {TTL: user.Set(-time.Hour)},
		} {
			up.ID = was.ID
			_, err := b.UpdateInvites(t.Context(), up)
			wantErr(t, name, err, user.ErrInvalid)
		}
		if read := must(b.RetrieveInvite(t.Context(), was.ID))(t); read.Message != "" || read.TTL != 0 {
			t.Errorf("after what was refused: %+v", read)
		}
	})
}
