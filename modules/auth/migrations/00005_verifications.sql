-- +goose Up
-- At most one verification of an address is under way for an identity: the newest that was asked for. A row is deleted when
-- it is used.
CREATE TABLE latchkey_verification (
    auth_identity_id text NOT NULL REFERENCES latchkey_auth_identity (id) ON DELETE CASCADE,
    email            text NOT NULL,        -- canonical
    id               text NOT NULL,        -- of the request: authver_ and a ULID
    ver              bigint NOT NULL,      -- the identity's ver when it was asked for: with another one it is dead
    token_hash       text NOT NULL,        -- SHA-256 of the token's jti, hexadecimal
    requested_at     timestamptz NOT NULL,
    expires_at       timestamptz,          -- NULL until the token is sent
    PRIMARY KEY (auth_identity_id, email)
);
CREATE INDEX latchkey_verification_requested ON latchkey_verification (requested_at);

-- What an identity without any way to sign in will sign in with, once the mailbox is proved to be theirs: it was registered
-- without a look at whether somebody has the entity id.
CREATE TABLE latchkey_registration (
    auth_identity_id text PRIMARY KEY REFERENCES latchkey_auth_identity (id) ON DELETE CASCADE,
    provider         text NOT NULL,
    entity_id        text NOT NULL,
    email            text NOT NULL,        -- canonical
    user_metadata    jsonb,
    secret           bytea,                -- no public read returns it
    created_at       timestamptz NOT NULL
);

-- +goose Down
DROP TABLE latchkey_registration;
DROP TABLE latchkey_verification;
