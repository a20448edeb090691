-- +goose Up
CREATE TABLE latchkey_user (
    id                text PRIMARY KEY,
    email             text,        -- canonical; NULL when there is none, never ''
    email_verified_at timestamptz,
    first_name        text,
    last_name         text,
    avatar_url        text,
    metadata          jsonb,
    search            text NOT NULL, -- names and e-mail, lower-cased in Go, so that both databases find the same
    created_via       text NOT NULL,
    deactivated_at    timestamptz,
    created_at        timestamptz NOT NULL,
    updated_at        timestamptz NOT NULL,
    deleted_at        timestamptz
);
CREATE UNIQUE INDEX latchkey_user_email ON latchkey_user (email) WHERE deleted_at IS NULL;

CREATE TABLE latchkey_user_role (
    user_id     text NOT NULL REFERENCES latchkey_user (id) ON DELETE CASCADE,
    role        text NOT NULL,
    granted_via text NOT NULL, -- as created_via: whether it outlives a change of owner
    PRIMARY KEY (user_id, role)
);
CREATE INDEX latchkey_user_role_role ON latchkey_user_role (role);

CREATE TABLE latchkey_invite (
    id          text PRIMARY KEY,
    email       text,             -- canonical; NULL for the set-up link only
    roles       jsonb NOT NULL,
    accepted    boolean NOT NULL,
    accepted_at timestamptz,
    accepted_by text,
    nonce       text NOT NULL,    -- the jti of the one token that is good; it signs nothing by itself
    issued_at   timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    metadata    jsonb,
    created_at  timestamptz NOT NULL,
    updated_at  timestamptz NOT NULL,
    deleted_at  timestamptz
);
CREATE UNIQUE INDEX latchkey_invite_email ON latchkey_invite (email) WHERE deleted_at IS NULL AND NOT accepted;
-- At most one set-up link is open.
CREATE UNIQUE INDEX latchkey_invite_setup ON latchkey_invite (accepted) WHERE email IS NULL AND deleted_at IS NULL AND NOT accepted;

-- +goose Down
DROP TABLE latchkey_invite;
DROP TABLE latchkey_user_role;
DROP TABLE latchkey_user;
