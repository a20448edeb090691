-- +goose Up
-- By which an operator who is asked about an address finds who had it, and what invites there were. They hold closed rows
-- alone: making a user or an invite does not touch them.
CREATE INDEX latchkey_user_email_deleted ON latchkey_user (email) WHERE deleted_at IS NOT NULL;
CREATE INDEX latchkey_invite_email_accepted ON latchkey_invite (email) WHERE accepted;
CREATE INDEX latchkey_invite_email_withdrawn ON latchkey_invite (email) WHERE deleted_at IS NOT NULL;

-- +goose Down
DROP INDEX latchkey_invite_email_withdrawn;
DROP INDEX latchkey_invite_email_accepted;
DROP INDEX latchkey_user_email_deleted;
