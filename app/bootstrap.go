package app

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/modules/user"
)

// greet says on the terminal where the server is and, while there is no admin, how to become the first one. The set-up
// link goes nowhere else: it opens everything once.
func greet(ctx context.Context, w io.Writer, c *Config, at *listener, users *user.Service, trail *audit.Trail) error {
	advice, err := adviseSetup(ctx, c, at, users, trail)
	if err == nil {
		_, err = fmt.Fprintf(w, "Latchkey is listening on %s\n  database: %s\n%s", at.url, databaseName(c), advice)
	}
	return err
}

// adviseSetup says how the first admin is made; nothing if there is one.
func adviseSetup(ctx context.Context, c *Config, at *listener, users *user.Service, trail *audit.Trail) (string, error) {
	if c.Production() {
		if err := users.WithdrawSetup(ctx); err != nil { // one may be left from before it was production
			return "", err
		}
		if exists, err := users.AdminExists(ctx); err != nil || exists {
			return "", err
		}
		return fmt.Sprintf("\nNobody is an administrator yet. Make the first one:\n  %s user -e you@example.com\n", program()), nil
	}
	invite, err := users.SetupInvite(ctx)
	if errors.Is(err, user.ErrSetupDone) {
		return "", nil
	}
	if err == nil {
		err = trail.Record(ctx, audit.Entry{Action: "setup.offered", TargetType: "invite", TargetID: string(invite.ID)})
	}
	link := inviteLink(c.at(at.url), users.InviteToken(invite, user.ByHand))
	return fmt.Sprintf("\nNobody is an administrator yet. Become the first one by this link, which works once, for 24 hours or until the next start:\n  %s\nor on the command line:\n  %s user -e you@example.com\n", link, program()), err
}

// inviteLink is where an invite is accepted, at the pages.
func inviteLink(pages, token string) string {
	return pages + "/invite?token=" + url.QueryEscape(token)
}

// program is how whoever started this program starts it again.
func program() string {
	if strings.Contains(os.Args[0], "go-build") {
		return "go run ./cmd/server"
	}
	return os.Args[0]
}
