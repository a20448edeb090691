-- +goose Up
-- At most one token of a purpose is good for a way to sign in, and the newest wins. A used one stays, so that a mail that
-- is sent once more after its link was used does not make the link good again.
CREATE TABLE latchkey_one_time_token (
    purpose              text NOT NULL,
    provider_identity_id text NOT NULL REFERENCES latchkey_provider_identity (id) ON DELETE CASCADE,
    actor_type           text NOT NULL,
    token_hash           text NOT NULL,        -- SHA-256 of the token's jti, hexadecimal
    channel              text NOT NULL,        -- how it left: mail proves the mailbox, hand does not
    issued_at            timestamptz NOT NULL, -- when it was asked for
    expires_at           timestamptz NOT NULL,
    spent_at             timestamptz,          -- NULL until it is used
    PRIMARY KEY (purpose, provider_identity_id)
);
CREATE UNIQUE INDEX latchkey_one_time_token_hash ON latchkey_one_time_token (token_hash);

-- +goose Down
DROP TABLE latchkey_one_time_token;
