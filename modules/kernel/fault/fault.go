// Package fault gives an error the three things an edge needs to answer a caller: a kind, which decides the status;
// a reason, which programs may compare; and a message, which people may read.
//
// A module declares its faults once, in errors.go, and compares them with errors.Is:
//
//	var ErrNotFound = fault.New(fault.NotFound, "user_not_found", "No such user.")
//
// An error that is no fault is ours to mend: it is logged at the edge and never shown.
package fault

import (
	"errors"
	"fmt"
	"time"
)

// Kind says who must act and how; the HTTP edge maps it to a status in one place.
type Kind int

// The kinds. The zero Kind is Internal: an error nobody classified.
const (
	Internal     Kind = iota
	Invalid           // the input is wrong: mend it and send it again
	NotAllowed        // the request is well formed, but is not to be had
	Unauthorized      // who is calling is not proved
	Forbidden         // who is calling is proved, and may not
	NotFound          // what was named is not there
	Conflict          // something else changed meanwhile
	Duplicate         // it exists already
	TooLarge          // the input is over its limit
	Unsupported       // the input is of a type that is not read here
	TooMany           // wait, then try again
	Unavailable       // we cannot now; wait, then try again
)

// Error is a fault. Declare it with New; derive from it with Msg, About and After.
type Error struct {
	Kind    Kind
	Reason  string // stable, snake_case, for programs
	Message string // for people; never quotes secrets or what the caller sent as a secret
	// Detail says for programs what exactly it is about, where the reason leaves that open: the rule that was broken, the field, the
	// permission. Empty: there is nothing more to say.
	Detail string
	// RetryAfter says how long the caller should wait; zero means that nothing is known.
	RetryAfter time.Duration

	parent *Error
}

// New declares a fault.
func New(kind Kind, reason, message string) *Error {
	return &Error{Kind: kind, Reason: reason, Message: message}
}

func (e *Error) Error() string { return e.Message }

// Unwrap returns the fault this one was derived from, so that errors.Is finds it.
func (e *Error) Unwrap() error {
	if e.parent == nil {
		return nil
	}
	return e.parent
}

// Msg returns the same fault with a message of its own; errors.Is still finds e.
func (e *Error) Msg(format string, args ...any) error {
	c := *e
	c.Message, c.parent = fmt.Sprintf(format, args...), e
	return &c
}

// About returns the same fault with a detail and a message of its own; errors.Is still finds e.
func (e *Error) About(detail, format string, args ...any) error {
	c := *e
	c.Detail, c.Message, c.parent = detail, fmt.Sprintf(format, args...), e
	return &c
}

// After returns the same fault, telling the caller how long to wait; errors.Is still finds e.
func (e *Error) After(wait time.Duration) error {
	c := *e
	c.RetryAfter, c.parent = wait, e
	return &c
}

// Of returns the first fault in err's chain; ok is false if there is none.
func Of(err error) (f *Error, ok bool) {
	ok = errors.As(err, &f)
	return f, ok
}

// KindOf returns the kind of the first fault in err's chain, and Internal if there is none.
func KindOf(err error) Kind {
	if f, ok := Of(err); ok {
		return f.Kind
	}
	return Internal
}
