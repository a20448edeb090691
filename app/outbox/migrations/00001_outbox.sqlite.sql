-- +goose Up
CREATE TABLE latchkey_outbox_event (
    seq          integer PRIMARY KEY AUTOINCREMENT,
    id           text NOT NULL,
    topic        text NOT NULL,
    aggregate_id text NOT NULL, -- what it happened to
    payload      jsonb NOT NULL,
    created_at   timestamptz NOT NULL
);
CREATE UNIQUE INDEX latchkey_outbox_event_id ON latchkey_outbox_event (id);

-- What is still to be handled: one row for each event and consumer, deleted when that is done.
CREATE TABLE latchkey_outbox_delivery (
    event_seq    bigint NOT NULL REFERENCES latchkey_outbox_event (seq) ON DELETE CASCADE,
    consumer     text NOT NULL,
    topic        text NOT NULL,
    aggregate_id text NOT NULL,
    attempts     bigint NOT NULL,
    next_at      timestamptz NOT NULL, -- not before then; while it is being handled, when others may take it over
    last_error   text,
    PRIMARY KEY (event_seq, consumer)
);
CREATE INDEX latchkey_outbox_delivery_next ON latchkey_outbox_delivery (next_at);
CREATE INDEX latchkey_outbox_delivery_order ON latchkey_outbox_delivery (consumer, aggregate_id, event_seq);

-- +goose Down
DROP TABLE latchkey_outbox_delivery;
DROP TABLE latchkey_outbox_event;
