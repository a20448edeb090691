package app_test

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/latchkey-go/latchkey/app"
	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/link"
	"github.com/latchkey-go/latchkey/modules/auth"
	"github.com/latchkey-go/latchkey/modules/kernel/database/databasetest"
	"github.com/latchkey-go/latchkey/modules/kernel/secrettest"
	"github.com/latchkey-go/latchkey/modules/user"
)

func TestTheCommandExplainSaysWhySomebodyCannotGetIn(t *testing.T) {
	databasetest.Each(t, func(t *testing.T, at databasetest.Database) {
		env := environment(t.TempDir(), at)
		if out, errs, code := run(t, env, "user", "-e", "ada@example.com", "-p", "correct horse"); code != 0 {
			t.Fatal(out, errs)
		}
		if out, errs, code := run(t, env, "user", "-e", "guest@example.com", "--invite", "--role", "member"); code != 0 {
			t.Fatal(out, errs)
		}
		for name, c := range map[string]struct {
			args []string
			code int
			says []string // on standard output, or of an error on the other
		}{
			"who can":            {[]string{"explain", "Ada@example.com"}, 0, []string{"ada@example.com: nothing that is known here keeps them out.", "can_sign_in", "They: ", "You: ", "roles admin", "emailpass", "sign_in"}},
			"who is invited":     {[]string{"explain", "guest@example.com"}, 0, []string{"invite_pending", "until ", "pending", "roles member"}},
			"nobody":             {[]string{"explain", "never@example.com"}, 0, []string{"never@example.com: nothing is known about this address.", "as user by emailpass", "create"}},
			"help":               {[]string{"explain", "--help"}, 0, []string{"server explain [--json] ADDRESS"}},
			"no address":         {[]string{"explain"}, 2, []string{"one ADDRESS"}},
			"two addresses":      {[]string{"explain", "a@example.com", "b@example.com"}, 2, []string{"one ADDRESS"}},
			"no such flag":       {[]string{"explain", "a@example.com", "--yaml"}, 2, []string{"yaml"}},
			"what is no address": {[]string{"explain", "nonsense"}, 1, []string{"An e-mail address must look like"}},
		} {
			out, errs, code := run(t, env, c.args...)
			where := out
			if c.code != 0 {
				where = errs
				if out != "" {
					t.Errorf("%s: it prints %s", name, out)
				}
			}
			if code != c.code {
				t.Errorf("%s: exit %d, want %d\n%s%s", name, code, c.code, out, errs)
			}
			for _, says := range c.says {
				if !strings.Contains(where, says) {
					t.Errorf("%s: it does not say %q:\n%s", name, says, where)
				}
			}
			if strings.Contains(out, "token=") || strings.Contains(out, "eyJ") {
				t.Errorf("%s: it shows a token:\n%s", name, out)
			}
			secrettest.Look(t, name, out+errs)
		}
		for _, args := range [][]string{{"explain", "--json", "ada@example.com"}, {"explain", "ada@example.com", "--json"}} {
			out, errs, code := run(t, env, args...)
			var e struct {
				Email, Status string
				Findings      []struct{ Code string }
			}
			if err := json.Unmarshal([]byte(out), &e); err != nil || code != 0 || e.Email != "ada@example.com" || e.Status != "clear" || e.Findings[0].Code != "can_sign_in" {
				t.Errorf("%v: exit %d, %v\n%s%s", args, code, err, out, errs)
			}
		}
	})
}

func TestTheCommandExplainMakesNoDatabase(t *testing.T) {
	dir := t.TempDir()
	out, errs, code := run(t, environment(dir, databasetest.SQLite(t)), "explain", "ada@example.com")
	if code != 1 || out != "" || !strings.Contains(errs, " yet ") {
		t.Errorf("exit %d\n%s%s", code, out, errs)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("it made %v, %v", files, err)
	}
}

// What strangers chose does nothing to the terminal that it is shown at.
func TestAnExplanationIsNothingButText(t *testing.T) {
	const nasty = "x\x1b]0;owned\x07\x1b[2J\r\n\u202e`reboot`"
	e := link.Explanation{
		Email: "ada@example.com", At: time.Now(), Status: link.StatusBlocked, More: true,
		Findings: []link.Finding{{Code: nasty, Blocks: true, About: nasty, ActorType: nasty, Until: time.Now(), Advice: link.Advice{What: nasty, Person: nasty, Operator: nasty}}},
		Users:    []link.ExplainedUser{{User: user.User{ID: "user_1", Roles: []string{nasty}, CreatedVia: nasty}}},
		Identities: []link.ExplainedIdentity{{KnownIdentity: auth.KnownIdentity{Identity: auth.Identity{ID: "authid_1", Providers: []auth.ProviderIdentity{{ID: "1", Provider: nasty, EntityID: nasty, Email: nasty}}}, Registers: nasty},
			Links: []link.ExplainedLink{{ActorType: nasty, ActorID: nasty, Email: nasty, State: link.LinkActive}}, Unlinked: []link.ExplainedUnlinked{{ActorType: nasty}}}},
		Invites:   []link.ExplainedInvite{{ID: "invite_1", Status: link.InviteWithdrawn, Roles: []string{nasty}, AcceptedBy: nasty}},
		Pending:   []auth.Pending{{Kind: auth.PendingReset, Email: nasty, From: nasty, Provider: nasty}},
		Throttles: []auth.Count{{Limit: auth.CountPlace, Provider: nasty}},
		Forecasts: []link.Forecast{{ActorType: nasty, Provider: nasty, Outcome: link.OutcomeWait, Reason: nasty, Message: nasty, ActorID: nasty, Roles: []string{nasty}}},
	}
	var out strings.Builder
	if err := app.ShowExplanation(&out, e, []audit.Event{{Action: nasty, Reason: nasty}}); err != nil {
		t.Fatal(err)
	}
	for _, r := range out.String() {
		if r != '\n' && !unicode.IsPrint(r) {
			t.Fatalf("it prints %q:\n%q", r, out.String())
		}
	}
	for _, line := range strings.Split(out.String(), "\n") {
		if strings.HasPrefix(line, "`reboot`") {
			t.Errorf("a line begins with what a stranger chose: %q", line)
		}
	}
}
