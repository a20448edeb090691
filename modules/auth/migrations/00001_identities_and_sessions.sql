-- +goose Up
CREATE TABLE latchkey_auth_identity (
    id           text PRIMARY KEY,
    app_metadata jsonb,
    ver          bigint NOT NULL, -- credential version: a session or proof with another one is dead
    created_at   timestamptz NOT NULL,
    updated_at   timestamptz NOT NULL
);

CREATE TABLE latchkey_provider_identity (
    id                text PRIMARY KEY,
    auth_identity_id  text NOT NULL REFERENCES latchkey_auth_identity (id) ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
    provider          text NOT NULL,
    entity_id         text NOT NULL, -- the provider's stable key for the person
    email             text,          -- canonical, if the provider names one
    email_verified_at timestamptz,
    user_metadata     jsonb,
    provider_metadata jsonb,
    secret            bytea,         -- no public read returns it
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL
);
CREATE UNIQUE INDEX latchkey_provider_identity_entity ON latchkey_provider_identity (provider, entity_id);
CREATE INDEX latchkey_provider_identity_identity ON latchkey_provider_identity (auth_identity_id);
CREATE INDEX latchkey_provider_identity_email ON latchkey_provider_identity (email);

CREATE TABLE latchkey_auth_session (
    id               text PRIMARY KEY, -- the sid of its tokens
    auth_identity_id text NOT NULL REFERENCES latchkey_auth_identity (id) ON DELETE CASCADE,
    actor_type       text NOT NULL,
    provider         text NOT NULL,
    secret_hash      text,             -- SHA-256 of the cookie's secret, hexadecimal; NULL until there is a cookie
    ver              bigint NOT NULL,  -- the identity's ver when it signed in
    user_agent       text NOT NULL,
    ip               text NOT NULL,
    authenticated_at timestamptz NOT NULL,
    factor_at        timestamptz,
    created_at       timestamptz NOT NULL,
    last_used_at     timestamptz NOT NULL,
    expires_at       timestamptz NOT NULL
);
CREATE UNIQUE INDEX latchkey_auth_session_secret ON latchkey_auth_session (secret_hash);
CREATE INDEX latchkey_auth_session_identity ON latchkey_auth_session (auth_identity_id, actor_type);

CREATE TABLE latchkey_auth_flow (
    id_hash    text PRIMARY KEY, -- SHA-256 of the flow's id, hexadecimal
    provider   text NOT NULL,
    state      bytea NOT NULL,   -- the provider's own
    expires_at timestamptz NOT NULL
);

-- +goose Down
DROP TABLE latchkey_auth_flow;
DROP TABLE latchkey_auth_session;
DROP TABLE latchkey_provider_identity;
DROP TABLE latchkey_auth_identity;
