-- +goose Up
-- Failures within a window. Who or what is counted is told by a hash only: what strangers type is not kept.
CREATE TABLE latchkey_auth_throttle (
    id         text PRIMARY KEY,     -- SHA-256 of the limit's name and of what it counts by, hexadecimal
    subject    text,                 -- SHA-256 of whose counts they are: a new password takes them away together
    failed     bigint NOT NULL,      -- that have failed in this window
    pending    bigint NOT NULL,      -- that have begun in it; what is lost in a crash counts until the window ends
    expires_at timestamptz NOT NULL  -- when the window ends
);
CREATE INDEX latchkey_auth_throttle_subject ON latchkey_auth_throttle (subject);
CREATE INDEX latchkey_auth_throttle_expires_at ON latchkey_auth_throttle (expires_at);

-- +goose Down
DROP TABLE latchkey_auth_throttle;
