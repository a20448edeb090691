-- +goose Up
ALTER TABLE latchkey_invite ADD COLUMN message text; -- for the invited person, plain text
ALTER TABLE latchkey_invite ADD COLUMN ttl bigint;   -- how long its tokens are good, in nanoseconds; NULL: as long as is usual
CREATE INDEX latchkey_invite_expires ON latchkey_invite (expires_at) WHERE deleted_at IS NULL AND NOT accepted;

-- +goose Down
DROP INDEX latchkey_invite_expires;
ALTER TABLE latchkey_invite DROP COLUMN ttl;
ALTER TABLE latchkey_invite DROP COLUMN message;
