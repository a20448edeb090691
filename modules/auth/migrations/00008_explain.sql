-- +goose Up
-- By which an operator who is asked about an address finds who registers with it.
CREATE INDEX latchkey_registration_email ON latchkey_registration (email);

-- +goose Down
DROP INDEX latchkey_registration_email;
