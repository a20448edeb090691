package mail

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"
)

// Message is one mail to one person. It holds links that open accounts: it must not be logged.
type Message struct {
	ID      string `json:"id"` // of the event it is about: the same when it is sent again
	From    string `json:"from"`
	To      string `json:"to"` // an address alone, canonical
	Subject string `json:"subject"`
	Text    string `json:"text"`
	HTML    string `json:"html"`

	// Repeated says that the same message may have been sent before, by somebody who was then not heard of again. A
	// Sender that can tell sends it once.
	Repeated bool `json:"-"`

	// At is when what it is about happened: the same when it is sent again. Zero: now.
	At time.Time `json:"-"`
}

// String says to whom the message is, and hides the rest.
func (m Message) String() string { return "mail to " + m.To }

// GoString is String.
func (m Message) GoString() string { return m.String() }

// LogValue is String, for slog.
func (m Message) LogValue() slog.Value { return slog.StringValue(m.String()) }

// Sender takes mails. After an error the message is sent again later; nil says that it will not be lost any more. The
// error is logged and kept, so it must not repeat what the message says. A Sender is safe for concurrent use.
//
// An error that wraps ErrRefused says that sending the same message again is of no use.
type Sender interface {
	Send(ctx context.Context, m Message) error
}

// ErrRefused says that a message will never be taken, such as for an address that nobody has: it is not sent again by
// itself. What may mend, such as a wrong password of ours or a full queue, is another error.
var ErrRefused = errors.New("the mail was refused for good")

// Log writes mails for people to read, as in a terminal, links included: it is for development.
type Log struct {
	mu sync.Mutex
	w  io.Writer
}

// NewLog returns a Sender that writes to w.
func NewLog(w io.Writer) *Log { return &Log{w: w} }

// Send implements Sender.
func (l *Log) Send(_ context.Context, m Message) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	_, err := fmt.Fprintf(l.w, "\n--- mail to %s: %s\n%s---\n", m.To, m.Subject, m.Text)
	return err
}

// File appends mails to a file, one line of JSON each, for another program to send or a test to read. A line that ends is
// whole, and is on the disk when Send returns. Several processes may append to one file: they lock it (flock) in turn, as
// whoever takes lines away should, too.
type File struct {
	mu   sync.Mutex
	path string
}

// NewFile returns a Sender that appends to the file, which it makes, readable by its owner alone, if it is not there. It
// fails if the file cannot be written, is none, such as a pipe, or ends in something else than a mail or a line.
func NewFile(path string) (*File, error) {
	f := &File{path: path}
	file, err := f.open()
	if err != nil {
		return nil, err
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is not a regular file", path)
	}
	if err == nil {
		_, _, err = end(file)
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return nil, err
	}
	return f, nil
}

func (f *File) open() (*os.File, error) {
	return os.OpenFile(f.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
}

// Send implements Sender. A repeated message that is in the file already is not written again.
func (f *File) Send(ctx context.Context, m Message) (err error) {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(m); err != nil {
		return err
	}
	line := buf.Bytes()
	f.mu.Lock()
	defer f.mu.Unlock()
	file, err := f.open()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, file.Close()) }()
	if err := lock(ctx, file); err != nil { // what another process is writing looks torn
		return err
	}
	if err := mend(file); err != nil {
		return err
	}
	sent := false
	if m.Repeated {
		if sent, err = has(file, m.ID); err != nil {
			return err
		}
	}
	if !sent {
		if _, err := file.Write(line); err != nil {
			return err
		}
	}
	return file.Sync() // also what was sent before: that its line can be read does not say that it is on the disk
}

// has reports whether the file has the message, with whatever words it was sent then.
func has(file *os.File, id string) (bool, error) {
	data, err := io.ReadAll(file)
	start := fmt.Appendf(nil, `{"id":%q,`, id) // as a line begins
	return bytes.HasPrefix(data, start) || bytes.Contains(data, append([]byte{'\n'}, start...)), err
}

// mend takes away the beginning of a line that a crash has left at the end: its mail will be sent again.
func mend(file *os.File) error {
	at, torn, err := end(file)
	if err != nil || !torn {
		return err
	}
	return file.Truncate(at)
}

// end is where the last line begins if it does not end. It fails if that is no mail's: somebody has named a file of
// something else, which must not be cut.
func end(file *os.File) (at int64, torn bool, err error) {
	info, err := file.Stat()
	if err != nil || info.Size() == 0 {
		return 0, false, err
	}
	last := make([]byte, 1)
	if _, err := file.ReadAt(last, info.Size()-1); err != nil || last[0] == '\n' {
		return 0, false, err
	}
	data, err := io.ReadAll(io.NewSectionReader(file, 0, info.Size()))
	if err != nil {
		return 0, false, err
	}
	at = int64(bytes.LastIndexByte(data, '\n') + 1)
	rest, start := data[at:], []byte(`{"id":`)
	if !bytes.HasPrefix(rest, start) && !bytes.HasPrefix(start, rest) {
		return 0, false, fmt.Errorf("%s ends in what is no mail: is it the right file?", file.Name())
	}
	return at, true, nil
}
