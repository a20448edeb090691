-- +goose Up
-- Somewhere that events are sent to: a target of the outbox's consumer webhook while it is enabled.
CREATE TABLE latchkey_webhook_endpoint (
    id              text PRIMARY KEY,
    url             text NOT NULL,
    topics          jsonb NOT NULL, -- of which it hears; []: every one
    description     text NOT NULL,
    disabled_at     timestamptz,
    disabled_reason text,
    created_at      timestamptz NOT NULL,
    updated_at      timestamptz NOT NULL
);

-- What its requests are signed with, encrypted under each of the master secrets. All that have not run out sign.
CREATE TABLE latchkey_webhook_secret (
    id          text PRIMARY KEY,
    endpoint_id text NOT NULL REFERENCES latchkey_webhook_endpoint (id) ON DELETE CASCADE,
    seals       jsonb NOT NULL, -- by the name of the key that opens it
    created_at  timestamptz NOT NULL,
    expires_at  timestamptz     -- since a rotation; NULL: it is the current one
);
CREATE UNIQUE INDEX latchkey_webhook_secret_current ON latchkey_webhook_secret (endpoint_id) WHERE expires_at IS NULL;
CREATE INDEX latchkey_webhook_secret_endpoint ON latchkey_webhook_secret (endpoint_id);
CREATE INDEX latchkey_webhook_secret_expires ON latchkey_webhook_secret (expires_at) WHERE expires_at IS NOT NULL;

-- What came of each attempt to send an event. Of endpoints that are gone it is deleted bit by bit.
CREATE TABLE latchkey_webhook_delivery (
    id          text PRIMARY KEY,
    endpoint_id text NOT NULL,
    event_id    text NOT NULL,
    topic       text NOT NULL,
    attempt     bigint NOT NULL,
    sent_at     timestamptz NOT NULL,
    duration_ms bigint NOT NULL,
    status      bigint, -- of the answer; NULL: there was none
    error       text    -- why it failed; NULL: it did not
);
CREATE INDEX latchkey_webhook_delivery_endpoint ON latchkey_webhook_delivery (endpoint_id, id);
CREATE INDEX latchkey_webhook_delivery_event ON latchkey_webhook_delivery (endpoint_id, event_id);
CREATE INDEX latchkey_webhook_delivery_sent ON latchkey_webhook_delivery (sent_at);

-- +goose Down
DROP TABLE latchkey_webhook_delivery;
DROP TABLE latchkey_webhook_secret;
DROP TABLE latchkey_webhook_endpoint;
