package app

import (
	"context"
	"errors"
	"fmt"
	"os/user"
	"strings"
	"text/tabwriter"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/app/purge"
	"github.com/latchkey-go/latchkey/app/webhook"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
)

// purgeJobs are all kinds of what dies here.
func purgeJobs(identities *auth.Service, links *link.Service, events *outbox.Outbox, webhooks *webhook.Service, trail *audit.Trail) []purge.Job {
	return []purge.Job{
		{Name: "sessions", Purge: identities.PurgeSessions},
		{Name: "flows", Purge: identities.PurgeFlows},
		{Name: "one_time_tokens", Purge: identities.PurgeOneTimeTokens},
		{Name: "email_changes", Purge: identities.PurgeEmailChanges},
		{Name: "verifications", Purge: identities.PurgeVerifications},
		{Name: "throttles", Purge: identities.PurgeThrottles},
		{Name: "unlinked_identities", Purge: links.PurgeUnlinked},
		{Name: "events", Purge: events.Purge},
		{Name: "webhook_deliveries", Purge: webhooks.PurgeDeliveries},
		{Name: "webhook_secrets", Purge: webhooks.PurgeSecrets},
		{Name: "audit_events", Purge: trail.Purge},
	}
}

// purgeKinds are the names of the jobs, for who asks for help before there is a database.
var purgeKinds = []string{
	"audit_events", "email_changes", "events", "flows", "one_time_tokens", "sessions", "throttles", "unlinked_identities", "verifications",
	"webhook_deliveries", "webhook_secrets",
}

// purge deletes what is dead, to the end, and says how much of each kind.
func (m *command) purge(args []string) error {
	flags := m.flags("server purge")
	var only roleFlag
	flags.Var(&only, "only", "a `kind` to purge instead of all, may be repeated: "+strings.Join(purgeKinds, ", "))
	if err := m.parse(flags, args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("server purge needs nothing but flags; %w", usageOf(flags))
	}
	if err := m.config.wantDatabase(); err != nil {
		return err
	}
	return m.with(func(p *purge.Purger, trail *audit.Trail) error {
		removed, err := p.All(commanded(), only...)
		if err != nil {
			return fmt.Errorf("%w; %w", err, usageOf(flags))
		}
		table := tabwriter.NewWriter(m.out, 0, 0, 2, ' ', 0)
		counts := map[string]any{}
		var failed []error
		for _, r := range removed {
			fmt.Fprintf(table, "%s\t%d\n", r.Name, r.Rows)
			if r.Rows > 0 {
				counts[r.Name] = r.Rows
			}
			if r.Err != nil {
				failed = append(failed, fmt.Errorf("%s: %w", r.Name, r.Err))
			}
		}
		if err := table.Flush(); err != nil {
			return err
		}
		if len(counts) > 0 {
			if err := trail.Record(commanded(), audit.Entry{Action: "purge", Details: counts}); err != nil {
				failed = append(failed, err)
			}
		}
		return errors.Join(failed...)
	})
}

// commanded is the context of what is done at the command line.
func commanded() context.Context {
	by := audit.Actor{Type: audit.Command}
	if u, err := user.Current(); err == nil {
		by.ID = u.Username
	}
	return audit.WithActor(context.Background(), by)
}
