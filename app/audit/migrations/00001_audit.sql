-- +goose Up
-- What was done, and what was refused. Rows are inserted, and deleted when they are old enough; nothing updates one, and
-- the server works as a role that may do neither.
CREATE TABLE latchkey_audit_event (
    id          text PRIMARY KEY,
    ts          timestamptz NOT NULL,
    action      text NOT NULL,
    outcome     text NOT NULL,  -- success, refused
    reason      text,           -- why it was refused
    actor_type  text NOT NULL,  -- user, anonymous, command, system
    actor_id    text,
    identity_id text,           -- the actor's, proved
    session_id  text,           -- in which they acted
    ip          text,
    user_agent  text,
    target_type text,
    target_id   text,
    request_id  text,
    details     jsonb
);
CREATE INDEX latchkey_audit_event_ts ON latchkey_audit_event (ts, id);
CREATE INDEX latchkey_audit_event_action ON latchkey_audit_event (action, ts, id);
CREATE INDEX latchkey_audit_event_actor ON latchkey_audit_event (actor_id, ts, id) WHERE actor_id IS NOT NULL;
CREATE INDEX latchkey_audit_event_identity ON latchkey_audit_event (identity_id, ts, id) WHERE identity_id IS NOT NULL;
CREATE INDEX latchkey_audit_event_target ON latchkey_audit_event (target_id, ts, id) WHERE target_id IS NOT NULL;
CREATE INDEX latchkey_audit_event_ip ON latchkey_audit_event (ip, ts, id) WHERE ip IS NOT NULL;

-- +goose Down
DROP TABLE latchkey_audit_event;
