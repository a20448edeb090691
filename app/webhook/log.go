package webhook

import (
	"cmp"
	"context"
	"time"

	"github.com/latchkey-go/latchkey/app/outbox"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
)

// Delivery is one attempt to send an event to an endpoint. It is a plain value.
type Delivery struct {
	ID       string // whdel_ and a ULID
	Endpoint EndpointID
	EventID  string
	Topic    string
	Attempt  int // of this event at this endpoint, as far back as the log goes
	At       time.Time
	Duration time.Duration
	Status   int    // of the answer; 0: there was none
	Error    string // why it failed, in words; empty: it did not
}

// Failed reports whether it was not delivered by this attempt.
func (d Delivery) Failed() bool { return d.Error != "" }

// DeliveryFilter says which deliveries are wanted: those that match all that is set.
type DeliveryFilter struct {
	Endpoint EndpointID
	EventID  string
	Topic    string
	Failed   bool
}

// DeliveryPage says which part of the log is wanted. It is read from place to place only.
type DeliveryPage struct {
	Limit int    // at most so many; 0: 50
	After string // the id of the last delivery of the page before; empty: the newest first. What is none is ErrCursor
}

// ListDeliveries returns a page of the log, the newest first, or ErrNotFound if there is no such endpoint.
func (s *Service) ListDeliveries(ctx context.Context, f DeliveryFilter, p DeliveryPage) ([]Delivery, error) {
	if p.After != "" && !id.Valid("whdel", p.After) {
		return nil, ErrCursor
	}
	if f.Endpoint != "" {
		if _, err := s.store.find(ctx, f.Endpoint); err != nil {
			return nil, err
		}
	}
	return s.store.listDeliveries(ctx, f, cmp.Or(p.Limit, 50), p.After)
}

// Resend has an event that waits for an endpoint, or that was given up for it, sent now. ErrNotFound: there is no such endpoint;
// ErrNotWaiting: the event does not wait for it.
func (s *Service) Resend(ctx context.Context, event string, endpoint EndpointID) error {
	if _, err := s.store.find(ctx, endpoint); err != nil {
		return err
	}
	if !id.Valid("evt", event) {
		return ErrNotWaiting
	}
	n, err := s.outbox.Retry(ctx, outbox.Filter{ID: event, Consumer: consumer, Target: string(endpoint)})
	if err == nil && n == 0 {
		err = ErrNotWaiting
	}
	return err
}

// PurgeDeliveries deletes at most so many deliveries that are older than the retention, or of endpoints that are gone, and says
// how many.
func (s *Service) PurgeDeliveries(ctx context.Context, limit int) (n int, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) (err error) {
		if s.options.Retention > 0 {
			if n, err = s.store.purgeDeliveries(ctx, database.Now().Add(-s.options.Retention), limit); err != nil || n > 0 {
				return err
			}
		}
		n, err = s.store.purgeOrphans(ctx, limit)
		return err
	})
	return n, err
}

// PurgeSecrets deletes at most so many secrets that sign no more, and says how many.
func (s *Service) PurgeSecrets(ctx context.Context, limit int) (n int, err error) {
	err = s.db.InTx(ctx, func(ctx context.Context) (err error) {
		n, err = s.store.purgeSecrets(ctx, limit)
		return err
	})
	return n, err
}
