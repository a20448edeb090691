package webhook

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/uptrace/bun"

	"github.com/latchkey-go/latchkey/modules/kernel/database"
	"github.com/latchkey-go/latchkey/modules/kernel/id"
)

// store is all SQL of this package.
type store struct{ db *database.DB }

type endpointRow struct {
	bun.BaseModel `bun:"table:latchkey_webhook_endpoint,alias:w"`

	ID             EndpointID `bun:",pk"`
	URL            string     `bun:"url"`
	Topics         database.Strings
	Description    string
	DisabledAt     time.Time `bun:",nullzero"`
	DisabledReason string    `bun:",nullzero"`
	CreatedAt      time.Time
	UpdatedAt      time.Time
}

func (r *endpointRow) endpoint(secrets int) Endpoint {
	return Endpoint{ID: r.ID, URL: r.URL, Topics: append([]string{}, r.Topics...), Description: r.Description, DisabledAt: database.UTC(r.DisabledAt),
		DisabledReason: r.DisabledReason, Secrets: secrets, CreatedAt: database.UTC(r.CreatedAt), UpdatedAt: database.UTC(r.UpdatedAt)}
}

type secretRow struct {
	bun.BaseModel `bun:"table:latchkey_webhook_secret,alias:s"`

	ID         string `bun:",pk"`
	EndpointID EndpointID
	Seals      database.Object // by the name of the key that opens it
	CreatedAt  time.Time
	ExpiresAt  time.Time `bun:",nullzero"`
}

type deliveryRow struct {
	bun.BaseModel `bun:"table:latchkey_webhook_delivery,alias:d"`

	ID         string `bun:",pk"`
	EndpointID EndpointID
	EventID    string
	Topic      string
	Attempt    int
	SentAt     time.Time
	DurationMS int64  `bun:"duration_ms"`
	Status     int    `bun:",nullzero"`
	Error      string `bun:",nullzero"`
}

func (r deliveryRow) delivery() Delivery {
	return Delivery{ID: r.ID, Endpoint: r.EndpointID, EventID: r.EventID, Topic: r.Topic, Attempt: r.Attempt, At: database.UTC(r.SentAt),
		Duration: time.Duration(r.DurationMS) * time.Millisecond, Status: r.Status, Error: r.Error}
}

func isNotFound(err error) bool { return errors.Is(err, ErrNotFound) }

// insert returns ErrExists if there is an endpoint of that id.
func (s store) insert(ctx context.Context, r *endpointRow) error {
	res, err := s.db.Conn(ctx).NewInsert().Model(r).On("CONFLICT (id) DO NOTHING").Exec(ctx)
	if err != nil {
		return fmt.Errorf("insert webhook: %w", err)
	}
	n, err := res.RowsAffected()
	if err == nil && n == 0 {
		return ErrExists
	}
	return err
}

// find returns the endpoint, or ErrNotFound.
func (s store) find(ctx context.Context, endpoint EndpointID) (*endpointRow, error) {
	return s.one(ctx, endpoint, false)
}

// hold is find, and keeps others from changing the endpoint until the transaction ends.
func (s store) hold(ctx context.Context, endpoint EndpointID) (*endpointRow, error) {
	return s.one(ctx, endpoint, true)
}

func (s store) one(ctx context.Context, endpoint EndpointID, lock bool) (*endpointRow, error) {
	if !id.Valid("whep", string(endpoint)) {
		return nil, ErrNotFound
	}
	var rows []endpointRow
	q := s.db.Conn(ctx).NewSelect().Model(&rows).Where("id = ?", endpoint)
	if lock {
		q = s.db.ForUpdate(q, "UPDATE")
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("read webhook: %w", err)
	}
	if len(rows) == 0 {
		return nil, ErrNotFound.Msg("Webhook with id: %s was not found", endpoint)
	}
	return &rows[0], nil
}

func (s store) list(ctx context.Context, limit, offset int) (rows []endpointRow, total int, err error) {
	n, err := s.db.Conn(ctx).NewSelect().Model((*endpointRow)(nil)).Count(ctx)
	if err == nil && limit > 0 {
		err = s.db.Conn(ctx).NewSelect().Model(&rows).OrderExpr("created_at, id").Limit(int64(limit)).Offset(int64(offset)).Scan(ctx)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("list webhooks: %w", err)
	}
	return rows, int(n), nil
}

func (s store) update(ctx context.Context, r *endpointRow) error {
	if _, err := s.db.Conn(ctx).NewUpdate().Model(r).WherePK().Exec(ctx); err != nil {
		return fmt.Errorf("update webhook: %w", err)
	}
	return nil
}

// delete deletes an endpoint, and by the foreign key its secrets.
func (s store) delete(ctx context.Context, endpoint EndpointID) error {
	if _, err := s.db.Conn(ctx).NewDelete().Model((*endpointRow)(nil)).Where("id = ?", endpoint).Exec(ctx); err != nil {
		return fmt.Errorf("delete webhook: %w", err)
	}
	return nil
}

func (s store) insertSecret(ctx context.Context, r *secretRow) error {
	if _, err := s.db.Conn(ctx).NewInsert().Model(r).Exec(ctx); err != nil {
		return fmt.Errorf("insert the secret of a webhook: %w", err)
	}
	return nil
}

// signing is the condition that a secret has not run out.
const signing = "(expires_at IS NULL OR expires_at > ?)"

// secrets are those that sign for an endpoint, the newest first.
func (s store) secrets(ctx context.Context, endpoint EndpointID) (rows []secretRow, err error) {
	err = s.db.Conn(ctx).NewSelect().Model(&rows).Where("endpoint_id = ?", endpoint).Where(signing, database.Now()).
		OrderExpr("expires_at IS NOT NULL, created_at DESC, id").Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("read the secrets of a webhook: %w", err)
	}
	return rows, nil
}

// countSecrets is how many sign for each of the endpoints.
func (s store) countSecrets(ctx context.Context, of []endpointRow) (map[EndpointID]int, error) {
	counts := map[EndpointID]int{}
	if len(of) == 0 {
		return counts, nil
	}
	ids := make([]EndpointID, len(of))
	for i, r := range of {
		ids[i] = r.ID
	}
	var rows []secretRow
	err := s.db.Conn(ctx).NewSelect().Model(&rows).Column("endpoint_id").Where("endpoint_id IN (?)", database.List(ids...)).
		Where(signing, database.Now()).Scan(ctx)
	if err != nil {
		return nil, fmt.Errorf("count the secrets of webhooks: %w", err)
	}
	for _, r := range rows {
		counts[r.EndpointID]++
	}
	return counts, nil
}

// allSecrets are those of all endpoints that have not run out.
func (s store) allSecrets(ctx context.Context, lock bool) (rows []secretRow, err error) {
	q := s.db.Conn(ctx).NewSelect().Model(&rows).Where(signing, database.Now()).OrderExpr("id")
	if lock {
		q = s.db.ForUpdate(q, "UPDATE")
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("read the secrets of webhooks: %w", err)
	}
	return rows, nil
}

func (s store) reseal(ctx context.Context, secret string, seals database.Object) error {
	_, err := s.db.Conn(ctx).NewUpdate().Model((*secretRow)(nil)).Set("seals = ?", seals).Where("id = ?", secret).Exec(ctx)
	if err != nil {
		return fmt.Errorf("seal the secret of a webhook: %w", err)
	}
	return nil
}

// retireSecret has the current secret of an endpoint run out, and those of before as soon at the latest.
func (s store) retireSecret(ctx context.Context, endpoint EndpointID, until time.Time) error {
	_, err := s.db.Conn(ctx).NewUpdate().Model((*secretRow)(nil)).Set("expires_at = ?", until).
		Where("endpoint_id = ?", endpoint).Where("(expires_at IS NULL OR expires_at > ?)", until).Exec(ctx)
	if err != nil {
		return fmt.Errorf("have the secret of a webhook run out: %w", err)
	}
	return nil
}

func (s store) deleteSecrets(ctx context.Context, endpoint EndpointID) error {
	if _, err := s.db.Conn(ctx).NewDelete().Model((*secretRow)(nil)).Where("endpoint_id = ?", endpoint).Exec(ctx); err != nil {
		return fmt.Errorf("delete the secrets of a webhook: %w", err)
	}
	return nil
}

func (s store) purgeSecrets(ctx context.Context, limit int) (int, error) {
	n, err := database.Affected(s.db.Conn(ctx).NewDelete().Model((*secretRow)(nil)).Where(
		"id IN (SELECT id FROM latchkey_webhook_secret WHERE expires_at <= ? ORDER BY expires_at LIMIT ?)", database.Now(), limit).Exec(ctx))
	if err != nil {
		return 0, fmt.Errorf("delete old secrets of webhooks: %w", err)
	}
	return n, nil
}

// maxError is how much is kept of why a delivery failed, in bytes.
const maxError = 256

// note writes a delivery into the log, and returns which attempt it was. An endpoint that is gone has no log.
func (s store) note(ctx context.Context, d Delivery) (attempt int, err error) {
	err = s.db.Conn(ctx).NewSelect().Model((*deliveryRow)(nil)).ColumnExpr("coalesce(max(attempt), 0) + 1").
		Where("endpoint_id = ?", d.Endpoint).Where("event_id = ?", d.EventID).Scan(ctx, &attempt)
	if err == nil {
		_, err = s.db.Conn(ctx).NewInsert().Model(&deliveryRow{ID: d.ID, EndpointID: d.Endpoint, EventID: d.EventID, Topic: d.Topic, Attempt: attempt, SentAt: d.At,
			DurationMS: d.Duration.Milliseconds(), Status: d.Status, Error: database.Clip(d.Error, maxError)}).Exec(ctx)
	}
	if err != nil {
		return 0, fmt.Errorf("note a delivery: %w", err)
	}
	return attempt, nil
}

func (s store) listDeliveries(ctx context.Context, f DeliveryFilter, limit int, after string) ([]Delivery, error) {
	var rows []deliveryRow
	q := s.db.Conn(ctx).NewSelect().Model(&rows).OrderExpr("id DESC").Limit(int64(limit))
	for _, is := range []struct{ column, value string }{{"endpoint_id", string(f.Endpoint)}, {"event_id", f.EventID}, {"topic", f.Topic}} {
		if is.value != "" {
			q = q.Where("? = ?", bun.Ident(is.column), is.value)
		}
	}
	if f.Failed {
		q = q.Where("error IS NOT NULL")
	}
	if after != "" {
		q = q.Where("id < ?", after)
	}
	if err := q.Scan(ctx); err != nil {
		return nil, fmt.Errorf("list deliveries of webhooks: %w", err)
	}
	deliveries := make([]Delivery, len(rows))
	for i, r := range rows {
		deliveries[i] = r.delivery()
	}
	return deliveries, nil
}

func (s store) purgeDeliveries(ctx context.Context, before time.Time, limit int) (int, error) {
	n, err := database.Affected(s.db.Conn(ctx).NewDelete().Model((*deliveryRow)(nil)).Where(
		"id IN (SELECT id FROM latchkey_webhook_delivery WHERE sent_at < ? ORDER BY sent_at LIMIT ?)", before, limit).Exec(ctx))
	if err != nil {
		return 0, fmt.Errorf("delete old deliveries of webhooks: %w", err)
	}
	return n, nil
}

// purgeOrphans deletes deliveries of endpoints that are gone. It goes from endpoint to endpoint by the index, since the log is
// long and endpoints are few.
func (s store) purgeOrphans(ctx context.Context, limit int) (int, error) {
	for at := EndpointID(""); ; {
		var found []EndpointID
		err := s.db.Conn(ctx).NewSelect().Model((*deliveryRow)(nil)).Column("endpoint_id").Where("endpoint_id > ?", at).
			OrderExpr("endpoint_id").Limit(1).Scan(ctx, &found)
		if err != nil || len(found) == 0 {
			return 0, wrapped("look for deliveries of webhooks that are gone", err)
		}
		at = found[0]
		there, err := s.db.Conn(ctx).NewSelect().Model((*endpointRow)(nil)).Where("id = ?", at).Exists(ctx)
		if err != nil {
			return 0, wrapped("look for a webhook", err)
		}
		if there {
			continue
		}
		n, err := database.Affected(s.db.Conn(ctx).NewDelete().Model((*deliveryRow)(nil)).Where(
			"id IN (SELECT id FROM latchkey_webhook_delivery WHERE endpoint_id = ? LIMIT ?)", at, limit).Exec(ctx))
		if err != nil || n > 0 {
			return n, wrapped("delete deliveries of a webhook that is gone", err)
		}
	}
}

func wrapped(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", doing, err)
}
