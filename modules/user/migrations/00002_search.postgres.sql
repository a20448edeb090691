-- Lists in the order of the time that rows were made, and those that were deleted.
-- +goose Up
CREATE INDEX latchkey_user_created_at ON latchkey_user (created_at, id);
CREATE INDEX latchkey_user_deleted_at ON latchkey_user (deleted_at, id) WHERE deleted_at IS NOT NULL;
CREATE INDEX latchkey_invite_created_at ON latchkey_invite (created_at, id);

-- What LIKE '%word%' is found by. The extension is one for the whole database, whatever schemas it has, so it goes where
-- it does not disappear along with somebody's schema, and its operators are named by where it is. Where it may not be made,
-- everything works but is slow: the server says so when it starts, and docs/production.md what to do.
-- +goose StatementBegin
DO $$
DECLARE
    home name;
BEGIN
    BEGIN
        CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA public;
    EXCEPTION WHEN OTHERS THEN
        NULL; -- it is not allowed or not installed, or another migration has made it at this moment
    END;
    SELECT n.nspname INTO home FROM pg_extension e JOIN pg_namespace n ON n.oid = e.extnamespace WHERE e.extname = 'pg_trgm';
    IF home IS NOT NULL THEN
        BEGIN
            EXECUTE format('CREATE INDEX latchkey_user_trigram ON latchkey_user USING gin (search %I.gin_trgm_ops)', home);
            EXECUTE format('CREATE INDEX latchkey_invite_trigram ON latchkey_invite USING gin (email %I.gin_trgm_ops)', home);
        EXCEPTION WHEN insufficient_privilege OR undefined_object THEN
            NULL; -- its schema is closed to us, or it is too old
        END;
    END IF;
END
$$;
-- +goose StatementEnd

-- +goose Down
DROP INDEX IF EXISTS latchkey_invite_trigram;
DROP INDEX IF EXISTS latchkey_user_trigram;
DROP INDEX latchkey_invite_created_at;
DROP INDEX latchkey_user_deleted_at;
DROP INDEX latchkey_user_created_at;
