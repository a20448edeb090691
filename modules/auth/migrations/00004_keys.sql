-- +goose Up
-- Every secret and pepper that this database has been served with, by an HMAC of a constant under it: who starts with none
-- of them has the wrong ones.
CREATE TABLE latchkey_secret_fingerprint (
    fingerprint text PRIMARY KEY,     -- hexadecimal
    kind        text NOT NULL,        -- secret or pepper
    name        text NOT NULL,        -- the short name by which people, and hashes, call it
    served_at   timestamptz NOT NULL, -- when it was first in a list
    signed_at   timestamptz,          -- of a secret: when it was last the one that signs, to the minute
    given_up_at timestamptz           -- of a pepper: when a start was forced without it
);

-- The first of a kind, decided once: the secret that the database was made with, and the pepper that makes hashes where
-- there is no list of peppers.
CREATE TABLE latchkey_secret_origin (
    kind        text PRIMARY KEY,
    fingerprint text NOT NULL
);

-- Peppers that would go with the secret which they derive from, encrypted under every secret there is.
CREATE TABLE latchkey_pepper_seal (
    pepper text NOT NULL,  -- its name
    secret text NOT NULL,  -- the name of the secret that opens it
    sealed bytea NOT NULL, -- AES-256-GCM
    PRIMARY KEY (pepper, secret)
);

-- The servers that are up, and the secrets that each has: a new one must be everywhere before it signs anywhere.
CREATE TABLE latchkey_auth_node (
    id         text PRIMARY KEY,
    name       text NOT NULL,
    secrets    jsonb NOT NULL, -- names, the one that signs first
    started_at timestamptz NOT NULL,
    seen_at    timestamptz NOT NULL
);

-- +goose Down
DROP TABLE latchkey_auth_node;
DROP TABLE latchkey_pepper_seal;
DROP TABLE latchkey_secret_origin;
DROP TABLE latchkey_secret_fingerprint;
