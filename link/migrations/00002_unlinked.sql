-- +goose Up
-- The identities that this layer let in as one actor type or another and left linked to nobody. It is what may be purged:
-- an application may have identities of its own, for actor types that nobody knows here. A row of one that is linked by now
-- says nothing.
CREATE TABLE latchkey_link_unlinked (
    auth_identity_id text NOT NULL,
    actor_type       text NOT NULL,
    since            timestamptz NOT NULL, -- when it was let in first, or was found in use last
    PRIMARY KEY (auth_identity_id, actor_type)
);
CREATE INDEX latchkey_link_unlinked_since ON latchkey_link_unlinked (since);

-- +goose Down
DROP TABLE latchkey_link_unlinked;
