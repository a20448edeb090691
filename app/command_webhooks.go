package app

import (
	"flag"
	"fmt"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/app/webhook"
)

const webhooksUsage = `Usage of server webhooks:
  server webhooks list                    show all webhooks
  server webhooks create URL [--topic TOPIC …] [--description TEXT]
                                          make one, and print its secret, this once. Without --topic it hears everything;
                                          docs/embedding.md lists the topics. The address is a public one by https, unless
                                          webhooks.private_addresses is true
  server webhooks show ID                 show one
  server webhooks rotate ID [--overlap 24h | --now]
                                          give it a new secret, and print that, this once. The old one goes on signing for
                                          the overlap, or ends now
  server webhooks disable ID              send it nothing any more; what waits for it is dropped
  server webhooks enable ID               send it what happens from now on
  server webhooks delete ID               delete it, with its secrets and its log
  server webhooks deliveries ID [--failed] [--limit 50] [--after DELIVERY]
                                          show what came of sending events to it, the newest first
  server webhooks test ID                 send it the event webhook.test now, also if it is disabled; exit 1 if that fails
  server webhooks resend ID EVENT         have a running server send it an event now that waits for it or was given up

  --json  print what /admin/webhooks answers, instead of text

  Another address, description or other topics are set by POST /admin/webhooks/{id} (docs/http-api.md).
`

// webhookFlags are those that any of the commands takes.
type webhookFlags struct {
	json        bool
	topics      roleFlag
	description string
	overlap     time.Duration
	now         bool
	failed      bool
	limit       int
	after       string
}

// webhookCommands are the commands by name: how many arguments each takes, which flags, and what it does.
var webhookCommands = map[string]struct {
	args  int
	flags string
	run   func(m *command, s *webhook.Service, f *webhookFlags, args []string) error
}{
	"list":       {0, "json", (*command).listWebhooks},
	"create":     {1, "json topic description", (*command).createWebhook},
	"show":       {1, "json", (*command).showWebhook},
	"rotate":     {1, "json overlap now", (*command).rotateWebhook},
	"enable":     {1, "json", (*command).enableWebhook},
	"disable":    {1, "json", (*command).disableWebhook},
	"delete":     {1, "", (*command).deleteWebhook},
	"deliveries": {1, "json failed limit after", (*command).webhookDeliveries},
	"test":       {1, "json", (*command).testWebhook},
	"resend":     {2, "", (*command).resendWebhook},
}

// webhooks manages where events are sent to.
func (m *command) webhooks(args []string) error {
	if len(args) == 0 || helpAsked(args) {
		flags := m.flags("server webhooks")
		flags.Usage = func() { fmt.Fprint(flags.Output(), webhooksUsage) }
		return m.parse(flags, []string{"--help"})
	}
	c, known := webhookCommands[args[0]]
	if !known {
		return fmt.Errorf("there is no command %q of server webhooks; 'server webhooks --help' lists them; %w", args[0], errUsage)
	}
	flags := m.flags("server webhooks " + args[0])
	flags.Usage = func() { fmt.Fprint(flags.Output(), webhooksUsage) }
	var f webhookFlags
	for name := range strings.FieldsSeq(c.flags) {
		switch name {
		case "json":
			flags.BoolVar(&f.json, name, false, "print JSON")
		case "topic":
			flags.Var(&f.topics, name, "a `topic` that it hears, may be repeated; without, it hears everything")
		case "description":
			flags.StringVar(&f.description, name, "", "what it is for")
		case "overlap":
			flags.DurationVar(&f.overlap, name, 0, "how long the old secret goes on signing (24h)")
		case "now":
			flags.BoolVar(&f.now, name, false, "the old secret ends now")
		case "failed":
			flags.BoolVar(&f.failed, name, false, "only what failed")
		case "limit":
			flags.IntVar(&f.limit, name, 50, "at most so many")
		case "after":
			flags.StringVar(&f.after, name, "", "those before this `delivery`")
		}
	}
	given, err := m.mixed(flags, args[1:])
	if err != nil {
		return err
	}
	if len(given) != c.args || c.args > 0 && given[0] == "" || strings.Contains(c.flags, "limit") && (f.limit < 1 || f.limit > 1000) {
		return fmt.Errorf("server webhooks %s was asked for too much or too little; 'server webhooks --help' says how; %w", args[0], errUsage)
	}
	if err := m.config.wantDatabase(); err != nil {
		return err
	}
	return m.with(func(s *webhook.Service) error { return c.run(m, s, &f, given) })
}

// mixed reads flags that may stand before and after arguments, which it returns.
func (m *command) mixed(flags *flag.FlagSet, args []string) (given []string, err error) {
	for len(args) > 0 {
		if err := m.parse(flags, args); err != nil {
			return nil, err
		}
		if args = flags.Args(); len(args) > 0 {
			given, args = append(given, args[0]), args[1:]
		}
	}
	return given, nil
}

func (m *command) listWebhooks(s *webhook.Service, f *webhookFlags, _ []string) error {
	const most = 1000
	endpoints, count, err := s.ListEndpoints(commanded(), webhook.Page{Limit: most})
	if err != nil {
		return err
	}
	if f.json {
		return m.json(httpapi.WebhooksJSON(endpoints, count, 0, most))
	}
	if count == 0 {
		fmt.Fprintln(m.out, "There are no webhooks. 'server webhooks create URL' makes one.")
		return nil
	}
	table := tabwriter.NewWriter(m.out, 0, 0, 2, ' ', 0)
	for _, e := range endpoints {
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\n", e.ID, webhookState(e), visible(e.URL), topicsOf(e), described(e))
	}
	if count > most {
		fmt.Fprintf(table, "and %d more\n", count-most)
	}
	return table.Flush()
}

// webhookState says whether it is sent events, and why not.
func webhookState(e webhook.Endpoint) string {
	switch {
	case e.Enabled():
		return "enabled"
	case e.DisabledReason == webhook.DisabledGone:
		return "disabled: it said that it is gone"
	}
	return "disabled"
}

func topicsOf(e webhook.Endpoint) string {
	if len(e.Topics) == 0 {
		return "every topic"
	}
	return strings.Join(e.Topics, ",")
}

func described(e webhook.Endpoint) string {
	if e.Description == "" {
		return ""
	}
	return visible(e.Description)
}

func (m *command) createWebhook(s *webhook.Service, f *webhookFlags, args []string) error {
	e, secret, err := s.CreateEndpoint(commanded(), webhook.EndpointDraft{URL: args[0], Topics: f.topics, Description: f.description})
	if err != nil {
		return err
	}
	if f.json {
		return m.json(httpapi.WebhookJSON(e, &secret))
	}
	fmt.Fprintf(m.out, "Made webhook %s, which is sent %s from now on.\nIts secret, shown this once:\n  %s\n", e.ID, topicsOf(e), secret.Reveal())
	return nil
}

func (m *command) showWebhook(s *webhook.Service, f *webhookFlags, args []string) error {
	e, err := s.RetrieveEndpoint(commanded(), webhook.EndpointID(args[0]))
	if err != nil {
		return err
	}
	return m.printWebhook(f, e)
}

func (m *command) printWebhook(f *webhookFlags, e webhook.Endpoint) error {
	if f.json {
		return m.json(httpapi.WebhookJSON(e, nil))
	}
	fmt.Fprintf(m.out, "%s  %s\n", e.ID, webhookState(e))
	table := tabwriter.NewWriter(m.out, 0, 0, 2, ' ', 0)
	for _, row := range [][2]string{
		{"address", visible(e.URL)}, {"topics", topicsOf(e)}, {"description", described(e)}, {"secrets that sign", fmt.Sprint(e.Secrets)},
		{"made", moment(e.CreatedAt)}, {"changed", moment(e.UpdatedAt)},
	} {
		if row[1] != "" {
			fmt.Fprintf(table, "  %s\t%s\n", row[0], row[1])
		}
	}
	if !e.Enabled() {
		fmt.Fprintf(table, "  disabled\t%s\n", moment(e.DisabledAt))
	}
	return table.Flush()
}

func (m *command) rotateWebhook(s *webhook.Service, f *webhookFlags, args []string) error {
	e, secret, err := s.RotateSecret(commanded(), webhook.EndpointID(args[0]), webhook.Rotation{Overlap: f.overlap, Now: f.now})
	if err != nil {
		return err
	}
	if f.json {
		return m.json(httpapi.WebhookJSON(e, &secret))
	}
	old := "The old one signs no more."
	if !f.now {
		overlap := f.overlap
		if overlap == 0 {
			overlap = webhook.DefaultOverlap
		}
		old = fmt.Sprintf("The old one signs beside it until %s.", moment(time.Now().Add(overlap)))
	}
	fmt.Fprintf(m.out, "Webhook %s has a new secret, shown this once:\n  %s\n%s\n", e.ID, secret.Reveal(), old)
	return nil
}

func (m *command) enableWebhook(s *webhook.Service, f *webhookFlags, args []string) error {
	return m.switchWebhook(s, f, args[0], true)
}

func (m *command) disableWebhook(s *webhook.Service, f *webhookFlags, args []string) error {
	return m.switchWebhook(s, f, args[0], false)
}

func (m *command) switchWebhook(s *webhook.Service, f *webhookFlags, id string, enabled bool) error {
	e, err := s.UpdateEndpoint(commanded(), webhook.EndpointUpdate{ID: webhook.EndpointID(id), Enabled: &enabled})
	switch {
	case err != nil:
		return err
	case f.json:
		return m.json(httpapi.WebhookJSON(e, nil))
	case enabled:
		fmt.Fprintf(m.out, "Webhook %s is enabled, and is sent what happens from now on.\n", e.ID)
	default:
		fmt.Fprintf(m.out, "Webhook %s is disabled. What waited for it is dropped.\n", e.ID)
	}
	return nil
}

func (m *command) deleteWebhook(s *webhook.Service, _ *webhookFlags, args []string) error {
	id := webhook.EndpointID(args[0])
	if _, err := s.RetrieveEndpoint(commanded(), id); err != nil {
		return err
	}
	if err := s.DeleteEndpoint(commanded(), id); err != nil {
		return err
	}
	fmt.Fprintf(m.out, "Deleted webhook %s.\n", id)
	return nil
}

func (m *command) webhookDeliveries(s *webhook.Service, f *webhookFlags, args []string) error {
	deliveries, err := s.ListDeliveries(commanded(), webhook.DeliveryFilter{Endpoint: webhook.EndpointID(args[0]), Failed: f.failed},
		webhook.DeliveryPage{Limit: f.limit + 1, After: f.after})
	if err != nil {
		return err
	}
	if f.json {
		return m.json(httpapi.WebhookDeliveriesJSON(deliveries, f.limit))
	}
	more := len(deliveries) > f.limit
	if more {
		deliveries = deliveries[:f.limit]
	}
	table := tabwriter.NewWriter(m.out, 0, 0, 2, ' ', 0)
	for _, d := range deliveries {
		fmt.Fprintf(table, "%s\t%s\t%s\tattempt %d\t%s\t%v\n", moment(d.At), d.EventID, d.Topic, d.Attempt, outcomeOf(d), d.Duration)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	switch {
	case more:
		fmt.Fprintf(m.out, "More: --after %s\n", deliveries[f.limit-1].ID)
	case len(deliveries) == 0:
		fmt.Fprintln(m.out, "There are none.")
	}
	return nil
}

func outcomeOf(d webhook.Delivery) string {
	if d.Failed() {
		return "failed: " + d.Error
	}
	return fmt.Sprintf("delivered, it answered %d", d.Status)
}

func (m *command) testWebhook(s *webhook.Service, f *webhookFlags, args []string) error {
	d, err := s.SendTest(commanded(), webhook.EndpointID(args[0]))
	if err != nil {
		return err
	}
	if f.json {
		err = m.json(httpapi.WebhookDeliveryJSON(d))
	} else {
		fmt.Fprintf(m.out, "Sent %s of the topic %s: %s, within %v.\n", d.EventID, d.Topic, outcomeOf(d), d.Duration)
	}
	if err == nil && d.Failed() {
		err = exitCode(exitFailed)
	}
	return err
}

func (m *command) resendWebhook(s *webhook.Service, _ *webhookFlags, args []string) error {
	if err := s.Resend(commanded(), args[1], webhook.EndpointID(args[0])); err != nil {
		return err
	}
	fmt.Fprintf(m.out, "%s is sent to %s by a running server, within seconds.\n", args[1], args[0])
	return nil
}
