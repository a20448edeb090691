package webhook_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// What docs/webhooks.md says to do by hand gives the signature that was sent.
func TestTheDocumentsSayHowToVerifyByHand(t *testing.T) {
	text, err := os.ReadFile("../../docs/webhooks.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, found := strings.Cut(string(text), "\nBy hand:")
	_, rest, begins := strings.Cut(rest, "```sh\n")
	script, _, ends := strings.Cut(rest, "```\n")
	if !found || !begins || !ends {
		t.Fatal("docs/webhooks.md does not say it any more")
	}
	each(t, open, func(t *testing.T, p *program) {
		r := newReceiver(t, nil)
		e, secret := p.create(t, r.URL)
		if _, err := p.SendTest(t.Context(), e.ID); err != nil {
			t.Fatal(err)
		}
		got := r.requests()[0]
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "body.json"), []byte(got.body), 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := exec.CommandContext(t.Context(), "bash", "-euo", "pipefail", "-c", script)
		cmd.Dir, cmd.Env = dir, append(os.Environ(), "secret="+secret, "id="+got.id(), "timestamp="+got.timestamp())
		out, err := cmd.CombinedOutput()
		if sent := strings.Fields(got.header.Get("webhook-signature")); err != nil || !slices.Contains(sent, "v1,"+strings.TrimSpace(string(out))) {
			t.Errorf("by hand it is %q (%v), and %q was sent", out, err, sent)
		}
	})
}
