package doctor_test

import (
	"strings"
	"testing"

	"github.com/latchkey-go/latchkey/app/doctor"
)

// Who can write to the database does not write to the terminal of who examines it.
func TestAReportShowsWhatItFindsAsNothingButText(t *testing.T) {
	bad := "user_\x1b[2J\x1b]0;x\a\r\nVIOLATED\u202e\u009b2J\xff"
	r := doctor.Report{Findings: []doctor.Finding{
		{Invariant: doctor.Invariant{Name: "a", Rule: "I1"}, Violations: 1, Examples: []string{bad}},
		{Invariant: doctor.Invariant{Name: "b", Rule: "I1"}, Unasked: bad},
	}}
	shown := r.String()
	if strings.ContainsAny(strings.ReplaceAll(shown, "\n", ""), "\x1b\a\r\u202e\u009b") || strings.Contains(shown, "\nVIOLATED?") || strings.Count(shown, "user_?") != 2 {
		t.Errorf("%q", shown)
	}
}
