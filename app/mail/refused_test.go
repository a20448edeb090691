package mail_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/app/mail"
	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/modules/user"
)

func TestAMailThatIsRefusedForGoodIsADeadLetterAtOnce(t *testing.T) {
	each(t, func(t *testing.T, p *program) {
		refuses := true
		p.box.fail = func(n int, m mail.Message) error {
			switch {
			case m.To == "nobody@example.com" && refuses:
				return fmt.Errorf("550 5.1.1: %w", mail.ErrRefused)
			case m.To == "later@example.com" && n <= 2: // whichever is first
				return errPost
			}
			return nil
		}
		if _, err := p.users.CreateInvites(t.Context(), user.InviteDraft{Email: "nobody@example.com"}, user.InviteDraft{Email: "later@example.com"}); err != nil {
			t.Fatal(err)
		}
		p.wantMails(t, 3) // the first is tried once, the second twice
		dead, n, err := p.outbox.List(t.Context(), outbox.Filter{Dead: true}, 0, 0)
		if err != nil || n != 1 || dead[0].Consumer != "mail" || dead[0].Attempts != 1 || !strings.Contains(dead[0].Error, "550 5.1.1") || strings.Contains(dead[0].Error, "nobody") {
			t.Fatalf("the dead letters are %+v, %v", dead, err)
		}
		refuses = false // and an operator says so
		if n, err := p.outbox.Retry(t.Context(), outbox.Filter{Dead: true}); err != nil || n != 1 {
			t.Fatal(n, err)
		}
		mails := p.wantMails(t, 4)
		if first := to(mails, "nobody@example.com"); len(first) != 2 || first[0].ID != first[1].ID || first[0].Text != first[1].Text || !first[0].At.Equal(first[1].At) || first[0].At.IsZero() {
			t.Errorf("%+v", first)
		}
	})
}
