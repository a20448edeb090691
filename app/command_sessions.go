package app

import (
	"context"
	"errors"
	"fmt"

	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/user"
)

// sessions ends the sessions of one user, or of everybody.
func (m *command) sessions(args []string) error {
	if len(args) > 0 && args[0] == "end" {
		args = args[1:]
	} else if !helpAsked(args) {
		return fmt.Errorf("server sessions needs to be told what to do with them: end; %w", errUsage)
	}
	flags := m.flags("server sessions end")
	address := flags.String("user", "", "sign out the user who has this e-mail `address`, everywhere")
	all := flags.Bool("all", false, "sign out everybody, everywhere")
	if err := m.parse(flags, args); err != nil {
		return err
	}
	if (*address != "") == *all || flags.NArg() > 0 {
		return fmt.Errorf("server sessions end needs either --user ADDRESS or --all, and nothing else; %w", usageOf(flags))
	}
	if err := m.config.wantDatabase(); err != nil {
		return err
	}
	if *all {
		return m.with(m.endEverySession)
	}
	return m.with(func(users *user.Service, links *link.Service) error { return m.endSessions(users, links, *address) })
}

func (m *command) endSessions(users *user.Service, links *link.Service, address string) error {
	ctx := context.Background()
	u, err := users.FindUser(ctx, address)
	if errors.Is(err, user.ErrNotFound) {
		return fmt.Errorf("nobody has the address %s: nothing was ended", address)
	}
	if err != nil {
		return err
	}
	ended, err := links.EndSessions(ctx, u.ID)
	if err != nil {
		return err
	}
	fmt.Fprintf(m.out, "Ended %s of %s (%s).\n", counted(ended, "session", "sessions"), u.Email, u.ID)
	return nil
}

func (m *command) endEverySession(auths *auth.Service) error {
	people, ended, err := auths.EndEverySession(context.Background())
	fmt.Fprintf(m.out, "Ended %s of %s.\n", counted(ended, "session", "sessions"), counted(people, "person", "people"))
	return err
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
