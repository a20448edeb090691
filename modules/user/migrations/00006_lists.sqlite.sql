-- Lists of who is deactivated.
-- +goose Up
CREATE INDEX latchkey_user_deactivated_at ON latchkey_user (deactivated_at, id) WHERE deactivated_at IS NOT NULL;

-- +goose Down
DROP INDEX latchkey_user_deactivated_at;
