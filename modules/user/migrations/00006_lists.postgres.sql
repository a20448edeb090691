-- Lists of who is deactivated, and in the order of the last name.
-- +goose Up
CREATE INDEX latchkey_user_deactivated_at ON latchkey_user (deactivated_at, id) WHERE deactivated_at IS NOT NULL;
CREATE INDEX latchkey_user_last_name ON latchkey_user (last_name, id);

-- +goose Down
DROP INDEX latchkey_user_last_name;
DROP INDEX latchkey_user_deactivated_at;
