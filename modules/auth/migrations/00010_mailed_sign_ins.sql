-- +goose Up
-- How often an answer was tried at a flow that may be tried more than once.
ALTER TABLE latchkey_auth_flow ADD COLUMN tries integer NOT NULL DEFAULT 0;
-- By which a mailed link finds the flow that it belongs to, in the browser in which it is opened.
CREATE INDEX latchkey_auth_flow_browser ON latchkey_auth_flow (browser_hash);

-- +goose Down
DROP INDEX latchkey_auth_flow_browser;
ALTER TABLE latchkey_auth_flow DROP COLUMN tries;
