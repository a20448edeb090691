-- +goose Up
-- By which what was delivered long ago is found, and deleted.
CREATE INDEX latchkey_outbox_event_created ON latchkey_outbox_event (created_at);

-- +goose Down
DROP INDEX latchkey_outbox_event_created;
