-- +goose Up
-- The unique indexes of addresses hold the living and the open alone; these find the deleted and the accepted as well.
CREATE INDEX latchkey_user_any_email ON latchkey_user (email);
CREATE INDEX latchkey_invite_any_email ON latchkey_invite (email);

-- +goose Down
DROP INDEX latchkey_user_any_email;
DROP INDEX latchkey_invite_any_email;
