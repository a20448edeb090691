package app

import (
	"cmp"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/app/httpapi"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/kernel/email"
)

const explainUsage = `Usage of server explain:
  server explain [--json] ADDRESS

  Says why the person with an e-mail address cannot get in: what is known about the address, what a sign-in would lead to
  now, and what they and you can do. It changes nothing but the audit trail, which keeps that somebody looked. It shows no
  password, token or link. Nothing being known about an address is an answer, too: the exit code is 0.

  --json  print what GET /admin/explain answers, instead of text
`

// explain says what is known about an address, and what to do, when somebody says that they cannot get in.
func (m *command) explain(args []string) error {
	flags := m.flags("server explain")
	asJSON := flags.Bool("json", false, "print JSON")
	flags.Usage = func() { fmt.Fprint(flags.Output(), explainUsage) }
	if err := m.parse(flags, args); err != nil {
		return err
	}
	address := flags.Arg(0)
	if address != "" { // flags may follow it
		if err := m.parse(flags, flags.Args()[1:]); err != nil {
			return err
		}
	}
	if address == "" || flags.NArg() > 0 {
		return fmt.Errorf("server explain needs one ADDRESS; %w", usageOf(flags))
	}
	if _, err := email.Canonical(address); err != nil {
		return err
	}
	if err := m.config.wantDatabase(); err != nil {
		return err
	}
	return m.with(func(links *link.Service, trail *audit.Trail) error {
		ctx := commanded()
		e, err := links.Explain(ctx, address)
		if err != nil {
			return err
		}
		refusals, err := trail.Explained(ctx, e)
		if err != nil {
			return err
		}
		if *asJSON {
			return m.json(httpapi.ExplanationJSON(e, refusals))
		}
		return showExplanation(m.out, e, refusals)
	})
}

// statuses are what link.Explanation.Status says, in words.
var statuses = map[string]string{
	link.StatusUnknown: "nothing is known about this address",
	link.StatusBlocked: "something keeps them out",
	link.StatusClear:   "nothing that is known here keeps them out",
}

// showExplanation writes an explanation for a terminal. What strangers chose is shown as nothing but text.
func showExplanation(to io.Writer, e link.Explanation, refusals []audit.Event) error {
	out := new(strings.Builder)
	fmt.Fprintf(out, "%s: %s.\n", e.Email, statuses[e.Status])
	for _, f := range e.Findings {
		mark := " "
		if f.Blocks {
			mark = "!"
		}
		fmt.Fprintf(out, "\n%s %s%s%s%s\n", mark, visible(f.Code), in(" of ", f.About), in(" as ", f.ActorType), until(f.Until))
		advise(out, f.Advice)
	}
	section(out, "Users", len(e.Users), func(row func(...string)) {
		for _, u := range e.Users {
			row(string(u.ID), proof(u.EmailVerifiedAt, u.ProvedBy), "roles "+cmp.Or(visibles(u.Roles), "none"), "made by "+visible(u.CreatedVia)+" "+moment(u.CreatedAt),
				when("deactivated", u.DeactivatedAt), when("deleted", u.DeletedAt), onlyIf(u.HeldBack, "held back"))
		}
	})
	section(out, "Who signs in by it", len(e.Identities), func(row func(...string)) {
		for _, i := range e.Identities {
			row(string(i.ID) + ", since " + moment(i.CreatedAt) + ", " + counted(i.Sessions, "open session", "open sessions") +
				in(", ", when("last used", i.LastUsed)) + in(", registers with ", i.Registers)) // one cell: it is wider than what is below
			for _, p := range i.Providers {
				row("  "+visible(p.Provider), visible(p.EntityID), in("address ", p.Email), proof(p.EmailVerifiedAt, i.ProvedBy[p.ID]), onlyIf(i.HasSecret(p.ID), "has a password or the like"))
			}
			for _, l := range i.Links {
				row("  is "+visible(l.ActorType), visible(l.ActorID), in("address ", l.Email), l.State, "since "+moment(l.Since))
			}
			for _, u := range i.Unlinked {
				row("  is no "+visible(u.ActorType), "since "+moment(u.Since), when("deleted from", u.PurgedAt))
			}
		}
	})
	section(out, "Invites", len(e.Invites), func(row func(...string)) {
		for _, i := range e.Invites {
			row(string(i.ID), i.Status, "roles "+cmp.Or(visibles(i.Roles), "none"), "made "+moment(i.CreatedAt), "expires "+moment(i.ExpiresAt),
				when("accepted", i.AcceptedAt), in("by ", string(i.AcceptedBy)), when("withdrawn", i.WithdrawnAt))
		}
	})
	section(out, "Links on their way", len(e.Pending), func(row func(...string)) {
		for _, p := range e.Pending {
			row(p.Kind, in("to ", p.Email), in("from ", p.From), "asked for "+moment(p.RequestedAt), cmp.Or(when("good until", p.ExpiresAt), "not sent yet"), string(p.IdentityID))
		}
	})
	section(out, "Counts of failures", len(e.Throttles), func(row func(...string)) {
		for _, c := range e.Throttles {
			row(c.Limit, fmt.Sprintf("%d of %d", c.Done, c.Most), "until "+moment(c.Until), onlyIf(c.Refuses, "refuses"), in("", cmp.Or(c.Provider, string(c.IdentityID))))
		}
	})
	section(out, "What a sign-in would lead to", len(e.Forecasts), func(row func(...string)) {
		for _, f := range e.Forecasts {
			who := cmp.Or(string(f.IdentityID), "somebody new")
			proved := "address not proved"
			if f.Proved {
				proved = "address proved"
			}
			row("as "+visible(f.ActorType)+" by "+visible(f.Provider), who, proved, strings.TrimSpace(f.Outcome+in(": ", f.Reason)), in("", f.ActorID), in("roles ", visibles(f.Roles)))
		}
	})
	section(out, "Last refusals", len(refusals), func(row func(...string)) {
		for _, r := range refusals {
			row(moment(r.TS), visible(r.Action), visible(r.Reason))
		}
	})
	met := map[string]bool{}
	for _, r := range refusals {
		if a, ok := link.AdviceFor(r.Reason); ok && !met[r.Reason] {
			met[r.Reason] = true
			fmt.Fprintf(out, "\n  %s\n", r.Reason)
			advise(out, a)
		}
	}
	if e.More {
		fmt.Fprintf(out, "\nThere is more than is shown: lists end after %d.\n", link.MaxExplained)
	}
	_, err := io.WriteString(to, out.String())
	return err
}

// advise writes what is so and what to do, one sentence a line.
func advise(out *strings.Builder, a link.Advice) {
	for _, line := range []struct{ who, says string }{{"", a.What}, {"They: ", a.Person}, {"You: ", a.Operator}} {
		if line.says != "" {
			fmt.Fprintf(out, "    %s%s\n", line.who, printable(line.says))
		}
	}
}

// section writes a table under a title, or nothing where there are no rows. Empty cells are left out.
func section(out *strings.Builder, title string, rows int, write func(row func(...string))) {
	if rows == 0 {
		return
	}
	fmt.Fprintf(out, "\n%s\n", title)
	table := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	write(func(cells ...string) {
		var full []string
		for _, c := range cells {
			if c != "" {
				full = append(full, c)
			}
		}
		fmt.Fprintf(table, "  %s\n", strings.Join(full, "\t"))
	})
	table.Flush() //nolint:errcheck // a strings.Builder takes everything
}

func proof(at time.Time, by string) string {
	if at.IsZero() {
		return "address not proved"
	}
	return "address proved " + moment(at) + in(" by ", strings.ReplaceAll(by, "_", " "))
}

func when(what string, at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return what + " " + moment(at)
}

func until(at time.Time) string {
	if at.IsZero() {
		return ""
	}
	return ", until " + moment(at)
}

// in is a value behind a word, or nothing.
func in(word, value string) string {
	if value == "" {
		return ""
	}
	return word + printable(value)
}

func onlyIf(yes bool, says string) string {
	if yes {
		return says
	}
	return ""
}

func visibles(all []string) string {
	shown := make([]string, len(all))
	for i, v := range all {
		shown[i] = visible(v)
	}
	return strings.Join(shown, ",")
}

// printable is a text without what a terminal would take for more than text.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r != ' ' && !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, s)
}
