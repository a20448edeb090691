-- +goose Up
-- By which what is dead is found, and deleted.
CREATE INDEX latchkey_auth_session_expires ON latchkey_auth_session (expires_at);
CREATE INDEX latchkey_auth_flow_expires ON latchkey_auth_flow (expires_at);
CREATE INDEX latchkey_one_time_token_expires ON latchkey_one_time_token (expires_at);
CREATE INDEX latchkey_email_change_issued ON latchkey_email_change (issued_at);

-- +goose Down
DROP INDEX latchkey_email_change_issued;
DROP INDEX latchkey_one_time_token_expires;
DROP INDEX latchkey_auth_flow_expires;
DROP INDEX latchkey_auth_session_expires;
