package webhook

import (
	"cmp"
	"context"
	"errors"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/latchkey-go/latchkey/app/audit"
	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
	"github.com/latchkey-go/latchkey/modules/kernel/outward"
)

// EndpointID is whep_ and a ULID.
type EndpointID string

// Endpoint is somewhere that events are sent to. It is a plain value, without its secret.
type Endpoint struct {
	ID             EndpointID
	URL            string
	Topics         []string // none: every one
	Description    string
	DisabledAt     time.Time // zero: it is enabled
	DisabledReason string    // such as "manual" or "gone"; empty while it is enabled
	Secrets        int       // how many sign now: more than one after a rotation
	CreatedAt      time.Time
	UpdatedAt      time.Time
}

// Enabled reports whether it is sent events.
func (e Endpoint) Enabled() bool { return e.DisabledAt.IsZero() }

// Why an endpoint is disabled.
const (
	DisabledManually = "manual" // somebody said so
	DisabledGone     = "gone"   // it answered 410 Gone
)

// EndpointDraft is an endpoint that is to be.
type EndpointDraft struct {
	ID          EndpointID // of the caller's own, so that a draft that comes again makes no second one: ErrExists; empty: a new one
	URL         string
	Topics      []string // of which it wants to hear; none: every one, also such as come to be later
	Description string
}

// EndpointUpdate changes what is not nil.
type EndpointUpdate struct {
	ID          EndpointID
	URL         *string
	Topics      *[]string
	Description *string
	Enabled     *bool
}

// Rotation says what becomes of the secrets of before.
type Rotation struct {
	Overlap time.Duration // how long they go on signing; DefaultOverlap if zero
	Now     bool          // they do not

	// UpdatedAt is the endpoint's, as the caller knows it, to the millisecond: if it is another by now, nothing is done, but ErrChanged
	// returned, so that a rotation that comes again makes no second secret. Zero: whatever it is.
	UpdatedAt time.Time
}

// The bounds of what is kept.
const (
	MaxEndpoints   = 100 // every change that is told of writes a row for each that hears of it
	MaxDescription = 256
	MaxTopics      = 64
	MaxOverlap     = 30 * 24 * time.Hour
	maxSecrets     = 8 // that sign at a time
)

// CreateEndpoint makes an endpoint, which is sent what happens from now on, and returns its secret, which is shown this once.
// ErrURL: an address that may not be. ErrInvalid: a topic that there is none of. ErrTooMany, ErrExists.
func (s *Service) CreateEndpoint(ctx context.Context, d EndpointDraft) (Endpoint, Secret, error) {
	now := database.Now()
	row := &endpointRow{ID: cmp.Or(d.ID, EndpointID(id.New("whep"))), URL: d.URL, Topics: d.Topics, Description: d.Description, CreatedAt: now, UpdatedAt: now}
	if err := s.check(row); err != nil {
		return Endpoint{}, Secret{}, err
	}
	if !id.Valid("whep", string(row.ID)) {
		return Endpoint{}, Secret{}, ErrInvalid.About("id", "Invalid webhook: id must be whep_ and a ULID")
	}
	secret := newSecret()
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		if err := s.store.insert(ctx, row); err != nil {
			return err
		}
		if _, n, err := s.store.list(ctx, 0, 0); err != nil {
			return err
		} else if n > MaxEndpoints {
			return ErrTooMany
		}
		if err := s.store.insertSecret(ctx, s.sealed(secret, row.ID)); err != nil {
			return err
		}
		if err := s.outbox.AddTarget(ctx, consumer, string(row.ID), row.Topics...); err != nil {
			return err
		}
		return s.record(ctx, "webhook.created", row, map[string]any{"host": hostOf(row.URL), "topics": len(row.Topics)})
	})
	if err != nil {
		return Endpoint{}, Secret{}, err
	}
	return row.endpoint(1), secret, nil
}

func (s *Service) sealed(secret Secret, of EndpointID) *secretRow {
	r := &secretRow{ID: id.New("whkey"), EndpointID: of, CreatedAt: database.Now()}
	r.Seals = s.vault.seal(secret, of, r.ID)
	return r
}

// check makes a row fit to be kept, or says why it is not.
func (s *Service) check(r *endpointRow) error {
	if err := outward.CheckURL(r.URL, s.outward()); err != nil {
		return ErrURL.Msg("The url %s.", err)
	}
	switch {
	case !database.Storable(r.URL, outward.MaxURL):
		return ErrURL.Msg("The url must be valid UTF-8.")
	case !database.Storable(r.Description, MaxDescription):
		return ErrInvalid.About("description", "Invalid webhook: description must be at most %d bytes of valid UTF-8 without NUL characters", MaxDescription)
	case len(r.Topics) > MaxTopics:
		return ErrInvalid.About("topics", "Invalid webhook: topics must be at most %d", MaxTopics)
	}
	for i, t := range r.Topics {
		if !slices.Contains(s.topics, t) { // which is not repeated: it may have been meant for another field
			return ErrInvalid.About("topics", "Invalid webhook: topics[%d] is none that there is. A topic is a whole name, such as user.created, and none given is every one%s", i, s.similar(t))
		}
	}
	topics := slices.Clone(r.Topics)
	slices.Sort(topics)
	r.Topics = slices.Compact(topics)
	return nil
}

// similar are the topics that somebody may have meant.
func (s *Service) similar(topic string) string {
	family, _, _ := strings.Cut(topic, ".")
	var all []string
	for _, t := range s.topics {
		if strings.HasPrefix(t, family+".") {
			all = append(all, t)
		}
	}
	if len(all) == 0 {
		return ""
	}
	return "; there are " + strings.Join(all, ", ")
}

// hostOf is the part of an address that is no secret: the rest may hold a token.
func hostOf(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return database.Clip(u.Host, 128)
}

// record has the audit trail keep what was done to an endpoint.
func (s *Service) record(ctx context.Context, action string, r *endpointRow, details map[string]any) error {
	return s.audit.Record(ctx, audit.Entry{Action: action, TargetType: "webhook", TargetID: string(r.ID), Details: details})
}

// UpdateEndpoint changes an endpoint, or returns ErrNotFound, ErrURL or ErrInvalid. While it is disabled nothing is kept for it: what
// waits is dropped, and once it is enabled it is sent what happens from then on.
func (s *Service) UpdateEndpoint(ctx context.Context, u EndpointUpdate) (Endpoint, error) {
	var after Endpoint
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		before, err := s.store.hold(ctx, u.ID)
		if err != nil {
			return err
		}
		row := *before
		for _, change := range []struct {
			to *string
			in *string
		}{{u.URL, &row.URL}, {u.Description, &row.Description}} {
			if change.to != nil {
				*change.in = *change.to
			}
		}
		if u.Topics != nil {
			row.Topics = *u.Topics
		}
		if err := s.check(&row); err != nil {
			return err
		}
		if u.Enabled != nil && *u.Enabled {
			row.DisabledAt, row.DisabledReason = time.Time{}, ""
		} else if u.Enabled != nil && row.DisabledAt.IsZero() {
			row.DisabledAt, row.DisabledReason = database.Now(), DisabledManually
		}
		if err := s.change(ctx, before, &row); err != nil {
			return err
		}
		after, err = s.shown(ctx, &row)
		return err
	})
	return after, err
}

// change writes what is new in a row, has the outbox follow, and the trail know.
func (s *Service) change(ctx context.Context, before, row *endpointRow) error {
	details := map[string]any{}
	if row.URL != before.URL {
		details["host"] = hostOf(row.URL)
	}
	if row.Description != before.Description {
		details["description"] = true
	}
	retarget := !slices.Equal(row.Topics, before.Topics)
	if retarget {
		details["topics"] = len(row.Topics)
	}
	enabled, was := row.DisabledAt.IsZero(), before.DisabledAt.IsZero()
	if enabled != was {
		details["enabled"] = enabled
		if !enabled {
			details["reason"] = row.DisabledReason
		}
	}
	if len(details) == 0 {
		return nil
	}
	row.UpdatedAt = database.Now()
	if err := s.store.update(ctx, row); err != nil {
		return err
	}
	switch {
	case enabled && (retarget || !was):
		if err := s.outbox.AddTarget(ctx, consumer, string(row.ID), row.Topics...); err != nil {
			return err
		}
	case !enabled && was:
		if err := s.outbox.RemoveTarget(ctx, consumer, string(row.ID)); err != nil {
			return err
		}
	}
	return s.record(ctx, "webhook.updated", row, details)
}

// errMoved has an event sent once more, to where the endpoint is now.
var errMoved = errors.New("it is gone from the address of before; the one of now is asked next")

// disableGone disables an endpoint that has said that it is no more. If it was deleted or disabled meanwhile, it is as well; that
// it has another address by now is errMoved, for that one has said nothing.
func (s *Service) disableGone(ctx context.Context, asked *endpointRow) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		before, err := s.store.hold(ctx, asked.ID)
		if isNotFound(err) || err == nil && !before.DisabledAt.IsZero() {
			return nil
		}
		if err != nil {
			return err
		}
		if before.URL != asked.URL {
			return errMoved
		}
		row := *before
		row.DisabledAt, row.DisabledReason = database.Now(), DisabledGone
		if err := s.change(ctx, before, &row); err != nil {
			return err
		}
		return s.db.AfterCommit(ctx, func(context.Context) {
			s.log.Warn("a webhook said that it is gone and was disabled", "webhook", asked.ID)
		})
	})
}

// DeleteEndpoint deletes an endpoint, its secrets and what waits for it; its log follows bit by bit. There being none is fine.
func (s *Service) DeleteEndpoint(ctx context.Context, id EndpointID) error {
	return s.db.InTx(ctx, func(ctx context.Context) error {
		row, err := s.store.hold(ctx, id)
		if isNotFound(err) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := s.store.delete(ctx, id); err != nil {
			return err
		}
		if err := s.outbox.RemoveTarget(ctx, consumer, string(id)); err != nil {
			return err
		}
		return s.record(ctx, "webhook.deleted", row, map[string]any{"host": hostOf(row.URL)})
	})
}

// RetrieveEndpoint returns an endpoint, or ErrNotFound.
func (s *Service) RetrieveEndpoint(ctx context.Context, id EndpointID) (Endpoint, error) {
	row, err := s.store.find(ctx, id)
	if err != nil {
		return Endpoint{}, err
	}
	return s.shown(ctx, row)
}

func (s *Service) shown(ctx context.Context, row *endpointRow) (Endpoint, error) {
	secrets, err := s.store.secrets(ctx, row.ID)
	return row.endpoint(len(secrets)), err
}

// Page says which part of a list is wanted.
type Page struct {
	Limit  int // at most so many; 0: 50
	Offset int // behind so many
}

// ListEndpoints returns a page of the endpoints, the oldest first, and how many there are in all.
func (s *Service) ListEndpoints(ctx context.Context, p Page) ([]Endpoint, int, error) {
	rows, total, err := s.store.list(ctx, cmp.Or(p.Limit, 50), p.Offset)
	if err != nil {
		return nil, 0, err
	}
	counts, err := s.store.countSecrets(ctx, rows)
	if err != nil {
		return nil, 0, err
	}
	endpoints := make([]Endpoint, len(rows))
	for i, r := range rows {
		endpoints[i] = r.endpoint(counts[r.ID])
	}
	return endpoints, total, nil
}

// RotateSecret gives an endpoint another secret, and returns it, which is shown this once. Those of before go on signing beside
// it for as long as the rotation says. ErrNotFound, ErrInvalid, ErrRotating, ErrChanged.
func (s *Service) RotateSecret(ctx context.Context, id EndpointID, r Rotation) (Endpoint, Secret, error) {
	if r.Overlap < 0 || r.Overlap > MaxOverlap || r.Now && r.Overlap != 0 {
		return Endpoint{}, Secret{}, ErrInvalid.About("overlap", "Invalid rotation: the old secret goes on signing either for at most %d days, by overlap, or not at all, by now", int(MaxOverlap.Hours()/24))
	}
	secret := newSecret()
	var after Endpoint
	err := s.db.InTx(ctx, func(ctx context.Context) error {
		row, err := s.store.hold(ctx, id)
		if err != nil {
			return err
		}
		if !r.UpdatedAt.IsZero() && !r.UpdatedAt.Truncate(time.Millisecond).Equal(row.UpdatedAt.Truncate(time.Millisecond)) {
			return ErrChanged
		}
		now := database.Now()
		if r.Now {
			err = s.store.deleteSecrets(ctx, id)
		} else {
			err = s.retire(ctx, id, now.Add(cmp.Or(r.Overlap, DefaultOverlap)))
		}
		if err != nil {
			return err
		}
		if err := s.store.insertSecret(ctx, s.sealed(secret, id)); err != nil {
			return err
		}
		row.UpdatedAt = now
		if err := s.store.update(ctx, row); err != nil {
			return err
		}
		if after, err = s.shown(ctx, row); err != nil {
			return err
		}
		return s.record(ctx, "webhook.secret_rotated", row, map[string]any{"now": r.Now, "secrets": after.Secrets})
	})
	return after, secret, err
}

// retire has the secret of now run out.
func (s *Service) retire(ctx context.Context, id EndpointID, until time.Time) error {
	signing, err := s.store.secrets(ctx, id)
	if err != nil {
		return err
	}
	if len(signing) >= maxSecrets {
		return ErrRotating
	}
	return s.store.retireSecret(ctx, id, until)
}
