-- +goose Up
-- Who is to be told of events, whether or not a program that has them runs now: what is recorded is recorded for them.
CREATE TABLE latchkey_outbox_consumer (
    name       text NOT NULL,
    target     text NOT NULL, -- '': the consumer has none
    topic      text NOT NULL, -- '': every one
    created_at timestamptz NOT NULL,
    PRIMARY KEY (name, target, topic)
);

ALTER TABLE latchkey_outbox_delivery RENAME TO latchkey_outbox_delivery_old;
DROP INDEX latchkey_outbox_delivery_next;
DROP INDEX latchkey_outbox_delivery_order;

-- What is still to be handled: one row for each event, consumer and target, deleted when that is done.
CREATE TABLE latchkey_outbox_delivery (
    event_seq    bigint NOT NULL REFERENCES latchkey_outbox_event (seq) ON DELETE CASCADE,
    consumer     text NOT NULL,
    target       text NOT NULL DEFAULT '',
    topic        text NOT NULL,
    aggregate_id text NOT NULL,
    attempts     bigint NOT NULL,           -- those that were begun
    forgiven     bigint NOT NULL DEFAULT 0, -- of them, those before it was said to try again
    next_at      timestamptz NOT NULL,      -- not before then
    leased_until timestamptz,               -- while it is being handled: when others may take it over
    last_error   text,
    dead_at      timestamptz,               -- since when it is a dead letter
    CONSTRAINT latchkey_outbox_delivery_key PRIMARY KEY (event_seq, consumer, target)
);
INSERT INTO latchkey_outbox_delivery (event_seq, consumer, topic, aggregate_id, attempts, next_at, last_error)
    SELECT event_seq, consumer, topic, aggregate_id, attempts, next_at, last_error FROM latchkey_outbox_delivery_old;
DROP TABLE latchkey_outbox_delivery_old;
-- Each question has one index that serves it. Were there two, PostgreSQL would choose by statistics, which are of no use here: they were
-- made when the table was empty, or full. So the one asks for consumer || '', which the other does not have.
CREATE INDEX latchkey_outbox_delivery_next ON latchkey_outbox_delivery ((consumer || ''), next_at) WHERE dead_at IS NULL;
CREATE INDEX latchkey_outbox_delivery_order ON latchkey_outbox_delivery (consumer, target, aggregate_id, event_seq) WHERE dead_at IS NULL;
CREATE INDEX latchkey_outbox_delivery_dead ON latchkey_outbox_delivery (event_seq) WHERE dead_at IS NOT NULL;

-- +goose Down
ALTER TABLE latchkey_outbox_delivery RENAME TO latchkey_outbox_delivery_new;
DROP INDEX latchkey_outbox_delivery_dead;
DROP INDEX latchkey_outbox_delivery_order;
DROP INDEX latchkey_outbox_delivery_next;
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
-- Others are nothing to the version before.
INSERT INTO latchkey_outbox_delivery (event_seq, consumer, topic, aggregate_id, attempts, next_at, last_error)
    SELECT event_seq, consumer, topic, aggregate_id, attempts, next_at, last_error FROM latchkey_outbox_delivery_new
    WHERE dead_at IS NULL AND target = '';
DROP TABLE latchkey_outbox_delivery_new;
CREATE INDEX latchkey_outbox_delivery_next ON latchkey_outbox_delivery (next_at);
CREATE INDEX latchkey_outbox_delivery_order ON latchkey_outbox_delivery (consumer, aggregate_id, event_seq);
DROP TABLE latchkey_outbox_consumer;
