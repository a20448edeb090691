-- +goose Up
-- What a sign-in of two steps is bound to. One that was begun before is bound to nothing, as the Go API begins them.
ALTER TABLE latchkey_auth_flow ADD COLUMN actor_type text NOT NULL DEFAULT '';
ALTER TABLE latchkey_auth_flow ADD COLUMN browser_hash text NOT NULL DEFAULT ''; -- SHA-256 of what the browser keeps, hexadecimal; empty: no browser's
ALTER TABLE latchkey_auth_flow ADD COLUMN portable boolean NOT NULL DEFAULT true; -- who keeps nothing may finish it, too
ALTER TABLE latchkey_auth_flow ADD COLUMN callback_url text NOT NULL DEFAULT '';
ALTER TABLE latchkey_auth_flow ADD COLUMN return_to text NOT NULL DEFAULT '';
ALTER TABLE latchkey_auth_flow ADD COLUMN session_id text NOT NULL DEFAULT ''; -- to which a way is added; empty: it signs in
ALTER TABLE latchkey_auth_flow ADD COLUMN session_ver bigint NOT NULL DEFAULT 0; -- of its credentials when they were proved again

-- +goose Down
ALTER TABLE latchkey_auth_flow DROP COLUMN session_ver;
ALTER TABLE latchkey_auth_flow DROP COLUMN session_id;
ALTER TABLE latchkey_auth_flow DROP COLUMN return_to;
ALTER TABLE latchkey_auth_flow DROP COLUMN callback_url;
ALTER TABLE latchkey_auth_flow DROP COLUMN portable;
ALTER TABLE latchkey_auth_flow DROP COLUMN browser_hash;
ALTER TABLE latchkey_auth_flow DROP COLUMN actor_type;
