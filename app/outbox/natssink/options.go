package natssink

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Options say where events go. The zero value is the stream LATCHKEY, which has to be there, of a NATS on this machine.
type Options struct {
	URL    string // of the servers, with commas between; "": nats://127.0.0.1:4222
	Prefix string // of all subjects; "": latchkey
	Stream Stream

	// NATS is what else the connection takes, such as nats.UserCredentials, nats.RootCAs or nats.ReconnectWait. What has
	// nothing lost cannot be switched off by it: it reconnects for as long as it takes, and keeps nothing back to send it later.
	NATS []nats.Option

	Consumer string   // the name of Module's consumer in the outbox, which never changes once it is in use; "": nats
	Topics   []string // which events Module hands on; none: every one

	Log *slog.Logger // nil: slog.Default
}

// Stream is the stream that keeps the events.
type Stream struct {
	Name string // "": LATCHKEY. Nothing is published that would get into another stream

	// Make has it made when it is not there, with the subjects PREFIX.> and what follows here. One that is there stays as it is.
	Make       bool
	MaxAge     time.Duration // how long it keeps events; 0: for good
	Replicas   int           // how many servers of a cluster keep them; 0: one
	Duplicates time.Duration // how long it knows an event again; 0: 20 minutes, or MaxAge if that is shorter
}

// HeaderAggregate is the header that has the id of what the event happened to.
const HeaderAggregate = "Latchkey-Aggregate"

// duplicates is twice as long as the outbox ever waits between two attempts, so that the next finds the one whose
// acknowledgement was lost.
const duplicates = 20 * time.Minute

// settled fills in the defaults, and says what cannot be.
func (o Options) settled() (Options, error) {
	o.URL = cmp.Or(o.URL, nats.DefaultURL)
	o.Prefix = cmp.Or(o.Prefix, "latchkey")
	o.Consumer = cmp.Or(o.Consumer, "nats")
	o.Stream.Name = cmp.Or(o.Stream.Name, "LATCHKEY")
	o.Stream.Replicas = cmp.Or(o.Stream.Replicas, 1)
	o.Log = cmp.Or(o.Log, slog.Default()).With("module", "natssink")
	if o.Stream.Duplicates == 0 {
		o.Stream.Duplicates = duplicates
		if o.Stream.MaxAge > 0 {
			o.Stream.Duplicates = min(duplicates, o.Stream.MaxAge)
		}
	}
	switch s := o.Stream; {
	case !isSubject(o.Prefix):
		return o, fmt.Errorf("natssink: the prefix %q: %w", o.Prefix, errNoSubject)
	case strings.ContainsAny(s.Name, ".*>/\\") || !isSubject(s.Name):
		return o, fmt.Errorf("natssink: the stream's name %q has a dot, a slash, a space or a wildcard", s.Name)
	case s.MaxAge < 0 || s.Replicas < 0 || s.Duplicates < 0:
		return o, errors.New("natssink: MaxAge, Replicas and Duplicates of the stream cannot be negative")
	case s.MaxAge > 0 && s.Duplicates > s.MaxAge:
		return o, fmt.Errorf("natssink: the stream cannot know events again for %v when it keeps them for %v", s.Duplicates, s.MaxAge)
	}
	return o, nil
}

// connection is what the connection is made with.
func (o Options) connection() (nats.Options, error) {
	n := nats.GetDefaultOptions()
	n.Name = "latchkey"
	n.ReconnectWait = time.Second
	for i, s := range strings.Split(o.URL, ",") {
		s = strings.TrimSpace(s)
		at := s
		if !strings.Contains(at, "://") {
			at = "nats://" + at
		}
		// The error of url.Parse has the URL in it, and that may have a password in it.
		if u, err := url.Parse(at); err != nil || u.Hostname() == "" {
			return n, fmt.Errorf("natssink: server %d of URL is not like nats://host:4222", i+1)
		}
		n.Servers = append(n.Servers, s)
	}
	for _, option := range o.NATS {
		if option == nil {
			continue
		}
		if err := option(&n); err != nil {
			return n, fmt.Errorf("natssink: an option of NATS: %w", err)
		}
	}
	n.AllowReconnect, n.MaxReconnect, n.RetryOnFailedConnect = true, -1, true
	n.IgnoreAuthErrorAbort = true // whoever mends the credentials at the server need not restart this program
	n.ReconnectBufSize = -1       // what is not sent now is sent by the outbox, which knows the order
	return n, nil
}

// config is the stream as it is made.
func (o Options) config() jetstream.StreamConfig {
	return jetstream.StreamConfig{
		Name: o.Stream.Name, Description: "Events of Latchkey's outbox", Subjects: []string{o.Prefix + ".>"},
		MaxAge: o.Stream.MaxAge, Replicas: o.Stream.Replicas, Duplicates: o.Stream.Duplicates, Storage: jetstream.FileStorage,
	}
}

var errNoSubject = errors.New("NATS has no such subject: it is words with a dot between, without spaces, * and >")

// isSubject reports whether something can be published on it.
func isSubject(s string) bool {
	for token := range strings.SplitSeq(s, ".") {
		if token == "" || strings.ContainsFunc(token, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '*' || r == '>' }) {
			return false
		}
	}
	return true
}
