-- +goose Up
-- By which the rest of what the list can be narrowed by is found without reading all there is: refusals, which may be few among many
-- successes, alone and of an action, what kinds of actors did, and what belongs to a session or a request.
CREATE INDEX latchkey_audit_event_refused ON latchkey_audit_event (ts, id) WHERE outcome = 'refused';
CREATE INDEX latchkey_audit_event_refused_action ON latchkey_audit_event (action, ts, id) WHERE outcome = 'refused';
CREATE INDEX latchkey_audit_event_actor_type ON latchkey_audit_event (actor_type, ts, id);
CREATE INDEX latchkey_audit_event_session ON latchkey_audit_event (session_id, ts, id) WHERE session_id IS NOT NULL;
CREATE INDEX latchkey_audit_event_request ON latchkey_audit_event (request_id, ts, id) WHERE request_id IS NOT NULL;

-- +goose Down
DROP INDEX latchkey_audit_event_request;
DROP INDEX latchkey_audit_event_session;
DROP INDEX latchkey_audit_event_actor_type;
DROP INDEX latchkey_audit_event_refused_action;
DROP INDEX latchkey_audit_event_refused;
