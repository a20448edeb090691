-- +goose Up
CREATE TABLE latchkey_link (
    auth_identity_id text NOT NULL,
    actor_type       text NOT NULL,
    actor_id         text NOT NULL,
    created_at       timestamptz NOT NULL,
    PRIMARY KEY (auth_identity_id, actor_type)
);
CREATE UNIQUE INDEX latchkey_link_actor ON latchkey_link (actor_type, actor_id);

-- +goose Down
DROP TABLE latchkey_link;
