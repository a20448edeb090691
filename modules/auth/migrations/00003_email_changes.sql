-- +goose Up
-- At most one change of address is pending for an identity: the newest that was asked for. A row is deleted when it is
-- used, and when somebody else gets the address.
CREATE TABLE latchkey_email_change (
    auth_identity_id text PRIMARY KEY REFERENCES latchkey_auth_identity (id) ON DELETE CASCADE,
    ver              bigint NOT NULL,      -- the identity's ver when it was asked for: with another one it is dead
    old_email        text,                 -- canonical; NULL: there was none
    new_email        text NOT NULL,        -- canonical
    token_hash       text NOT NULL,        -- SHA-256 of the token's jti, hexadecimal
    issued_at        timestamptz NOT NULL, -- when it was asked for
    expires_at       timestamptz           -- NULL until the token is sent
);
CREATE INDEX latchkey_email_change_new_email ON latchkey_email_change (new_email);

-- +goose Down
DROP TABLE latchkey_email_change;
