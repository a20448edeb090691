package mail_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/latchkey-go/latchkey/app/mail"
)

var errPost = errors.New("the post office is closed")

// message is one that no other is like.
func message(n int) mail.Message {
	return mail.Message{
		ID: fmt.Sprintf("evt_%d", n), From: "Latchkey <latchkey@example.com>", To: fmt.Sprintf("user%d@example.com", n), Subject: "Hello & welcome",
		Text: fmt.Sprintf("first line\nlink %d\n", n), HTML: "<p>ä " + strings.Repeat("x", 5000*(n%20)) + "</p>",
	}
}

func file(t *testing.T, path string) *mail.File {
	t.Helper()
	f, err := mail.NewFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func send(t *testing.T, s mail.Sender, m mail.Message) {
	t.Helper()
	if err := s.Send(t.Context(), m); err != nil {
		t.Fatal(err)
	}
}

func content(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// line is what a message looks like in a file.
func line(t *testing.T, m mail.Message) string {
	t.Helper()
	text := func(s string) string {
		var b bytes.Buffer
		enc := json.NewEncoder(&b)
		enc.SetEscapeHTML(false)
		if err := enc.Encode(s); err != nil {
			t.Fatal(err)
		}
		return strings.TrimSuffix(b.String(), "\n")
	}
	return fmt.Sprintf(`{"id":%s,"from":%s,"to":%s,"subject":%s,"text":%s,"html":%s}`+"\n", text(m.ID), text(m.From), text(m.To), text(m.Subject), text(m.Text), text(m.HTML))
}

func TestAFileGetsALineOfJSONForEachMail(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.jsonl")
	f := file(t, path)
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 || info.Size() != 0 {
		t.Errorf("the new file: %v, %v", info, err)
	}
	send(t, f, message(1))
	send(t, file(t, path), message(2)) // the next start
	send(t, f, message(1))             // two mails that say the same are two mails
	if got, want := content(t, path), line(t, message(1))+line(t, message(2))+line(t, message(1)); got != want {
		t.Errorf("the file holds\n%s\nwant\n%s", got, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file: %v, %v", info, err)
	}
}

func TestAFileKeepsWhatItHeld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.jsonl")
	if err := os.WriteFile(path, []byte("what was there\n"), 0o640); err != nil {
		t.Fatal(err)
	}
	send(t, file(t, path), message(1))
	if got, want := content(t, path), "what was there\n"+line(t, message(1)); got != want {
		t.Errorf("the file holds\n%s\nwant\n%s", got, want)
	}
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o640 {
		t.Errorf("the file: %v, %v", info, err)
	}
}

func TestAFileThatWasTakenAwayIsMadeAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.jsonl")
	f := file(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	send(t, f, message(1))
	if got := content(t, path); got != line(t, message(1)) {
		t.Errorf("the file holds\n%s", got)
	}
}

func TestALineThatACrashLeftUnfinishedIsTakenAway(t *testing.T) {
	whole := line(t, message(1))
	for name, c := range map[string]struct{ before, kept string }{
		"nothing else":    {`{"id":"evt_`, ""},
		"after a line":    {whole + `{"id":"evt_`, whole},
		"all but its end": {whole + strings.TrimSuffix(line(t, message(2)), "\n"), whole},
		"nothing torn":    {whole, whole},
		"an empty file":   {"", ""},
	} {
		for _, repeated := range []bool{false, true} {
			path := filepath.Join(t.TempDir(), "mail.jsonl")
			if err := os.WriteFile(path, []byte(c.before), 0o600); err != nil {
				t.Fatal(err)
			}
			m := message(2)
			m.Repeated = repeated
			send(t, file(t, path), m)
			if got, want := content(t, path), c.kept+line(t, m); got != want {
				t.Errorf("%s, repeated %v: the file holds\n%s\nwant\n%s", name, repeated, got, want)
			}
		}
	}
}

func TestAFileThatIsNoneOfMailsIsRefusedAndLeftAsItIs(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.jsonl")
	f := file(t, path)
	for _, held := range []string{"a secret", "SQLite format 3\x00\n\x10\x00", "one\n{}", "{\"name\":"} {
		if err := os.WriteFile(path, []byte(held), 0o600); err != nil {
			t.Fatal(err)
		}
		if _, err := mail.NewFile(path); err == nil {
			t.Errorf("%q: taken for a file of mails", held)
		}
		if err := f.Send(t.Context(), message(1)); err == nil {
			t.Errorf("%q: a mail was sent", held)
		}
		if got := content(t, path); got != held {
			t.Errorf("%q was changed", held)
		}
	}
}

func TestARepeatedMailThatIsInTheFileIsNotWrittenAgain(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.jsonl")
	for n := range 3 { // the first line, one in the middle, the last
		send(t, file(t, path), message(n))
	}
	before := content(t, path)
	for n := range 3 {
		m := message(n)
		m.Repeated = true
		send(t, file(t, path), m)
	}
	if got := content(t, path); got != before {
		t.Errorf("the file holds\n%s\nwant\n%s", got, before)
	}
	reworded := message(1) // another address of the site, say
	reworded.Repeated, reworded.HTML = true, message(1).HTML+"!"
	send(t, file(t, path), reworded)
	if got := content(t, path); got != before {
		t.Errorf("with other words: the file holds\n%s\nwant\n%s", got, before)
	}
	other := message(1)
	other.Repeated, other.ID = true, message(1).ID+"X"
	send(t, file(t, path), other)
	if got, want := content(t, path), before+line(t, other); got != want {
		t.Errorf("the file holds\n%s\nwant\n%s", got, want)
	}
}

func TestProcessesThatShareAFileDoNotMixOrLoseLines(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.jsonl")
	const processes, senders, each = 3, 2, 25
	var wg sync.WaitGroup
	for p := range processes {
		f := file(t, path) // as every process has its own
		for s := range senders {
			wg.Go(func() {
				for n := range each {
					if err := f.Send(t.Context(), message((p*senders+s)*each+n)); err != nil {
						t.Error(err)
					}
				}
			})
		}
	}
	wg.Wait()
	lines := map[string]int{}
	for l := range strings.Lines(content(t, path)) {
		lines[l]++
	}
	for n := range processes * senders * each {
		if got := lines[line(t, message(n))]; got != 1 {
			t.Errorf("mail %d is there %d times", n, got)
		}
	}
	if len(lines) != processes*senders*each {
		t.Errorf("%d different lines, want %d", len(lines), processes*senders*each)
	}
}

func TestProcessesThatRepeatTheSameMailAtOnceWriteItOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mail.jsonl")
	m := message(19)
	m.Repeated = true
	var wg sync.WaitGroup
	for range 8 {
		f := file(t, path)
		wg.Go(func() {
			if err := f.Send(t.Context(), m); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if got := content(t, path); got != line(t, m) {
		t.Errorf("the file holds %d lines", strings.Count(got, "\n"))
	}
}

func TestAFileThatCannotBeWrittenIsRefusedAtTheStart(t *testing.T) {
	dir := t.TempDir()
	for _, path := range []string{filepath.Join(dir, "not there", "mail.jsonl"), dir, "", os.DevNull} {
		f, err := mail.NewFile(path)
		if err == nil || f != nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%q: %v, %v", path, f, err)
		}
	}
}

func TestALogShowsMailsToRead(t *testing.T) {
	var terminal bytes.Buffer // Log lets one write at a time
	l := mail.NewLog(&terminal)
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() { send(t, l, message(n)) })
	}
	wg.Wait()
	for n := range 20 {
		want := fmt.Sprintf("\n--- mail to user%d@example.com: Hello & welcome\nfirst line\nlink %d\n---\n", n, n)
		if !strings.Contains(terminal.String(), want) {
			t.Errorf("the terminal does not show %q:\n%s", want, &terminal)
		}
	}
	if strings.Contains(terminal.String(), "<p>") {
		t.Error("the terminal shows HTML")
	}
	if err := mail.NewLog(broken{}).Send(t.Context(), message(1)); !errors.Is(err, errPost) {
		t.Errorf("a terminal that is gone: %v", err)
	}
}

// broken is a terminal that is gone.
type broken struct{}

func (broken) Write([]byte) (int, error) { return 0, errPost }
