package mail_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"

	"github.com/latchkey-go/latchkey/app/mail"
)

type closed struct{}

func (closed) Send(context.Context, mail.Message) error { return errPost }

func TestABoxKeepsTheLastMailsTheNewestFirst(t *testing.T) {
	box := mail.NewBox(mail.NewLog(io.Discard), 3)
	if got := box.Mails(); len(got) != 0 {
		t.Fatalf("a new box has %d mails", len(got))
	}
	for n := range 5 {
		send(t, box, message(n))
	}
	repeated := message(4)
	repeated.Repeated = true
	send(t, box, repeated)
	got := box.Mails()
	if len(got) != 3 {
		t.Fatalf("%d mails are kept, want 3", len(got))
	}
	for i, want := range []int{4, 3, 2} {
		if got[i].Message != message(want) || got[i].N != want+1 || got[i].SentAt.IsZero() {
			t.Errorf("mail %d is %s, number %d, sent at %v; want that of %s", i, got[i].ID, got[i].N, got[i].SentAt, message(want).ID)
		}
	}
	forgotten := message(0) // it was sent before, and nobody can look at it any more
	forgotten.Repeated = true
	send(t, box, forgotten)
	if got := box.Mails(); got[0].N != 6 || got[0].To != forgotten.To {
		t.Errorf("a repeated mail that was forgotten is not kept: %v", got[0].Message)
	}
}

func TestABoxKeepsNothingThatWasNotTaken(t *testing.T) {
	box := mail.NewBox(closed{}, 3)
	if err := box.Send(t.Context(), message(1)); !errors.Is(err, errPost) {
		t.Errorf("%v, want %v", err, errPost)
	}
	if got := box.Mails(); len(got) != 0 {
		t.Errorf("%d mails are kept", len(got))
	}
}

func TestABoxIsForSeveralAtOnce(t *testing.T) {
	box := mail.NewBox(mail.NewLog(io.Discard), 10)
	var wg sync.WaitGroup
	for n := range 20 {
		wg.Go(func() {
			send(t, box, message(n))
			box.Mails()
		})
	}
	wg.Wait()
	if got := box.Mails(); len(got) != 10 || got[0].N != 20 {
		t.Errorf("%d mails, the last is number %d; want 10 and 20", len(got), got[0].N)
	}
}
