package mail

import (
	"context"
	"slices"
	"sync"
	"time"
)

// Box is a Sender that hands mails on to another one and keeps those that it took last, to be looked at: it is for development.
// They are in memory alone, because the links in them open accounts and are nowhere at rest: who stops the program asks for another
// mail.
type Box struct {
	next Sender
	most int

	mu   sync.Mutex
	n    int
	kept []Kept // the oldest first
}

// Kept is a mail in a Box.
type Kept struct {
	Message
	N      int // counts the mails of the Box, from 1
	SentAt time.Time
}

// NewBox returns a Box that keeps so many mails.
func NewBox(next Sender, most int) *Box { return &Box{next: next, most: most} }

// Send implements Sender. A repeated message that is kept already is not kept again.
func (b *Box) Send(ctx context.Context, m Message) error {
	if err := b.next.Send(ctx, m); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if m.Repeated && slices.ContainsFunc(b.kept, func(k Kept) bool { return k.ID == m.ID }) {
		return nil
	}
	b.n++
	b.kept = append(b.kept, Kept{Message: m, N: b.n, SentAt: time.Now()})
	if over := len(b.kept) - b.most; over > 0 {
		b.kept = slices.Delete(b.kept, 0, over)
	}
	return nil
}

// Mails are those that are kept, the newest first.
func (b *Box) Mails() []Kept {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := slices.Clone(b.kept)
	slices.Reverse(all)
	return all
}
