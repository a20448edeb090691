package app

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"
	"unicode/utf16"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
)

const eventsUsage = `Usage of server events: what is recorded and was not delivered yet, or never will be.
  server events list [--dead] [FILTERS] [--limit N] [--json]
  server events retry    EVENT… [FILTERS] | --all [FILTERS]
  server events discard  EVENT… [FILTERS] | --all [FILTERS]
  server events consumers [--json]
  server events forget CONSUMER

  list       shows deliveries that are still to be made, the oldest first, and dead letters: those that were given up, because
             the consumer said that trying again is of no use, or after events.max_attempts. --dead: the dead letters alone
  retry      has a running server deliver them now: dead letters as if anew, others without waiting any longer
             --all: the dead letters that the filters leave
  discard    drops them: they are never delivered
  consumers  shows who is told of events, and how much waits for whom
  forget     has nothing recorded for a consumer any more that no program has, and drops what waits for it

  FILTERS: --consumer NAME, --target NAME (such as a webhook's id), --topic TOPIC
`

// events shows what is to be delivered and what is dead, and has it tried again, or dropped.
func (m *command) events(args []string) error {
	verb := ""
	if len(args) > 0 && !strings.HasPrefix(args[0], "-") {
		verb, args = args[0], args[1:]
	}
	flags := m.flags("server events")
	flags.Usage = func() { fmt.Fprint(flags.Output(), eventsUsage) }
	var f outbox.Filter
	flags.StringVar(&f.Consumer, "consumer", "", "")
	flags.StringVar(&f.Target, "target", "", "")
	flags.StringVar(&f.Topic, "topic", "", "")
	dead := flags.Bool("dead", false, "")
	all := flags.Bool("all", false, "")
	limit := flags.Int("limit", 50, "")
	asJSON := flags.Bool("json", false, "")
	var names []string
	for {
		if err := m.parse(flags, args); err != nil {
			return err
		}
		if flags.NArg() == 0 {
			break
		}
		names, args = append(names, flags.Arg(0)), flags.Args()[1:] // flags may follow
	}
	may, known := map[string]string{
		"list": "consumer target topic dead limit json", "retry": "consumer target topic all", "discard": "consumer target topic all", "consumers": "json", "forget": "",
	}[verb]
	if !known {
		return fmt.Errorf("server events needs to be told what to do: list, retry, discard, consumers or forget; %w", usageOf(flags))
	}
	var wrong []string
	flags.Visit(func(f *flag.Flag) {
		if !slices.Contains(strings.Fields(may), f.Name) {
			wrong = append(wrong, "--"+f.Name)
		}
	})
	switch {
	case len(wrong) > 0:
		return fmt.Errorf("server events %s has no %s; %w", verb, strings.Join(wrong, ", "), usageOf(flags))
	case verb == "forget" && len(names) != 1:
		return fmt.Errorf("server events forget needs one CONSUMER; %w", usageOf(flags))
	case (verb == "list" || verb == "consumers") && len(names) > 0:
		return fmt.Errorf("server events %s needs nothing but flags; %w", verb, usageOf(flags))
	case (verb == "retry" || verb == "discard") && *all == (len(names) > 0):
		return fmt.Errorf("server events %s needs either EVENT… or --all; %w", verb, usageOf(flags))
	case *limit < 1:
		return fmt.Errorf("--limit must be at least 1; %w", usageOf(flags))
	}
	if err := m.config.wantDatabase(); err != nil {
		return err
	}
	f.Dead = *dead || *all
	return m.with(func(db *database.DB, o *outbox.Outbox, trail *audit.Trail) error {
		ctx := commanded()
		switch verb {
		case "list":
			return m.listEvents(ctx, o, f, *limit, *asJSON)
		case "consumers":
			return m.listConsumers(ctx, o, *asJSON)
		}
		var say string
		err := db.InTx(ctx, func(ctx context.Context) (err error) { // what is done is in the trail
			switch verb {
			case "forget":
				say, err = forgetConsumer(ctx, o, trail, names[0])
			case "retry":
				say, err = settle(ctx, trail, "events.retry", "will be tried again", names, f, o.Retry)
			default:
				say, err = settle(ctx, trail, "events.discard", "dropped", names, f, o.Discard)
			}
			return err
		})
		if err == nil {
			fmt.Fprintln(m.out, say)
		}
		return err
	})
}

func (m *command) listEvents(ctx context.Context, o *outbox.Outbox, f outbox.Filter, limit int, asJSON bool) error {
	list, total, err := o.List(ctx, f, 0, limit)
	if err != nil {
		return err
	}
	if asJSON {
		return m.json(map[string]any{"deliveries": list, "count": total, "limit": limit})
	}
	if total == 0 {
		fmt.Fprintln(m.out, map[bool]string{true: "There are no such dead letters.", false: "There is nothing such to be delivered, and no such dead letter."}[f.Dead])
		return nil
	}
	table := tabwriter.NewWriter(m.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "STATE\tEVENT\tTOPIC\tOF\tRECORDED\tCONSUMER\tATTEMPTS\tNEXT\tERROR")
	for _, w := range list {
		to, next := w.Consumer, "never"
		if w.Target != "" {
			to += " " + w.Target
		}
		if w.State != outbox.StateDead {
			next = stamp(w.Next)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%d\t%s\t%s\n", w.State, w.ID, w.Topic, w.Aggregate, stamp(w.At), to, w.Attempts, next, dash(w.Error))
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if total > len(list) {
		fmt.Fprintf(m.out, "… and %d more: --limit shows them\n", total-len(list))
	}
	return nil
}

func (m *command) listConsumers(ctx context.Context, o *outbox.Outbox, asJSON bool) error {
	list, err := o.Consumers(ctx)
	if err != nil {
		return err
	}
	if asJSON {
		return m.json(map[string]any{"consumers": list})
	}
	if len(list) == 0 {
		fmt.Fprintln(m.out, "Nobody is told of events.")
		return nil
	}
	table := tabwriter.NewWriter(m.out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "CONSUMER\tTARGET\tSINCE\tWAITING\tDEAD\tOLDEST\tTOPICS")
	for _, c := range list {
		topics := strings.Join(c.Topics, " ")
		switch {
		case c.Since.IsZero():
			topics = "nothing any more"
		case topics == "":
			topics = "every one"
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%d\t%s\t%s\n", c.Name, dash(c.Target), stamp(c.Since), c.Waiting, c.Dead, stamp(c.Oldest), topics)
	}
	return table.Flush()
}

func forgetConsumer(ctx context.Context, o *outbox.Outbox, trail *audit.Trail, name string) (say string, err error) {
	list, err := o.Consumers(ctx)
	if err != nil {
		return "", err
	}
	if !slices.ContainsFunc(list, func(c outbox.Enrolled) bool { return c.Name == name }) {
		return "", fmt.Errorf("there is no consumer %q: 'server events consumers' lists them", name)
	}
	n, err := o.Forget(ctx, name)
	if errors.Is(err, outbox.ErrInUse) {
		return "", fmt.Errorf("this program has the consumer %s: it would only miss what happens until the next start. Mails are switched off by mail.driver, and webhooks are taken out by 'server webhooks'", name)
	}
	if err != nil {
		return "", err
	}
	if err := trail.Record(ctx, audit.Entry{Action: "events.forget", Details: map[string]any{"consumer": name, "dropped": n}}); err != nil {
		return "", err
	}
	return fmt.Sprintf("Forgot %s, and %s that waited for it. A program that has it enrols it again at its next start.", name, counted(n, "event", "events")), nil
}

// settle does something to deliveries and says to how many. If one of the events is not there nothing is done.
func settle(ctx context.Context, trail *audit.Trail, action, done string, ids []string, f outbox.Filter, do func(context.Context, outbox.Filter) (int, error)) (say string, err error) {
	filters := []outbox.Filter{f}
	if len(ids) > 0 {
		filters = nil
		for _, id := range slices.Compact(slices.Sorted(slices.Values(ids))) {
			one := f
			one.ID = id
			filters = append(filters, one)
		}
	}
	sum := 0
	for _, f := range filters {
		n, err := do(ctx, f)
		switch {
		case err != nil:
			return "", err
		case n == 0 && f.ID != "":
			return "", fmt.Errorf("nothing of %s waits or is dead, or a consumer is at it now: nothing was changed", f.ID)
		}
		sum += n
	}
	if sum > 0 {
		if err := trail.Record(ctx, audit.Entry{Action: action, Details: map[string]any{"deliveries": sum}}); err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%s %s.", counted(sum, "delivery", "deliveries"), done), nil
}

// json writes what a command has found for programs. What cannot be seen is escaped, as a terminal may take it for more than text.
func (m *command) json(v any) error {
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(v); err != nil {
		return err
	}
	var out strings.Builder
	for _, r := range text.String() {
		if r == '\n' || unicode.IsPrint(r) {
			out.WriteRune(r)
			continue
		}
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&out, `\u%04x`, unit)
		}
	}
	_, err := io.WriteString(m.out, out.String())
	return err
}

// stamp is a time in a table; a dash if there is none.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05Z")
}

func dash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}
