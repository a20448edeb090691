-- +goose Up
-- By which what failed of an endpoint is found, however much did not.
CREATE INDEX latchkey_webhook_delivery_failed ON latchkey_webhook_delivery (endpoint_id, id) WHERE error IS NOT NULL;

-- +goose Down
DROP INDEX latchkey_webhook_delivery_failed;
