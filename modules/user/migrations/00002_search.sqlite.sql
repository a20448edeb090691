-- Lists in every order they offer. Without an index SQLite looks at each row, one after the other.
-- +goose Up
CREATE INDEX latchkey_user_first_name ON latchkey_user (first_name, id);
CREATE INDEX latchkey_user_last_name ON latchkey_user (last_name, id);
CREATE INDEX latchkey_user_created_at ON latchkey_user (created_at, id);
CREATE INDEX latchkey_user_updated_at ON latchkey_user (updated_at, id);
CREATE INDEX latchkey_user_deleted_at ON latchkey_user (deleted_at, id) WHERE deleted_at IS NOT NULL;
CREATE INDEX latchkey_invite_created_at ON latchkey_invite (created_at, id);

-- What searching finds rows by: the numbers of those in which three letters occur. The numbers are ours, because those that
-- SQLite gives the rows of a table with a text key may change when the file is vacuumed or copied.
CREATE TABLE latchkey_user_trigram_row (
    n integer PRIMARY KEY,
    user_id text NOT NULL UNIQUE
);
CREATE VIRTUAL TABLE latchkey_user_trigram USING fts5(
    search, content='', contentless_delete=1, detail='none', tokenize='trigram case_sensitive 1'
);
INSERT INTO latchkey_user_trigram_row (user_id) SELECT id FROM latchkey_user ORDER BY id;
INSERT INTO latchkey_user_trigram (rowid, search)
    SELECT r.n, t.search FROM latchkey_user_trigram_row r JOIN latchkey_user t ON t.id = r.user_id ORDER BY r.n;
-- +goose StatementBegin
CREATE TRIGGER latchkey_user_trigram_insert AFTER INSERT ON latchkey_user BEGIN
    INSERT INTO latchkey_user_trigram_row (user_id) VALUES (new.id);
    INSERT INTO latchkey_user_trigram (rowid, search) SELECT n, new.search FROM latchkey_user_trigram_row WHERE user_id = new.id;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER latchkey_user_trigram_update AFTER UPDATE OF search ON latchkey_user WHEN new.search IS NOT old.search BEGIN
    INSERT OR REPLACE INTO latchkey_user_trigram (rowid, search) SELECT n, new.search FROM latchkey_user_trigram_row WHERE user_id = new.id;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER latchkey_user_trigram_delete AFTER DELETE ON latchkey_user BEGIN
    DELETE FROM latchkey_user_trigram WHERE rowid = (SELECT n FROM latchkey_user_trigram_row WHERE user_id = old.id);
    DELETE FROM latchkey_user_trigram_row WHERE user_id = old.id;
END;
-- +goose StatementEnd

CREATE TABLE latchkey_invite_trigram_row (
    n integer PRIMARY KEY,
    invite_id text NOT NULL UNIQUE
);
CREATE VIRTUAL TABLE latchkey_invite_trigram USING fts5(
    email, content='', contentless_delete=1, detail='none', tokenize='trigram case_sensitive 1'
);
INSERT INTO latchkey_invite_trigram_row (invite_id) SELECT id FROM latchkey_invite ORDER BY id;
INSERT INTO latchkey_invite_trigram (rowid, email)
    SELECT r.n, t.email FROM latchkey_invite_trigram_row r JOIN latchkey_invite t ON t.id = r.invite_id ORDER BY r.n;
-- +goose StatementBegin
CREATE TRIGGER latchkey_invite_trigram_insert AFTER INSERT ON latchkey_invite BEGIN
    INSERT INTO latchkey_invite_trigram_row (invite_id) VALUES (new.id);
    INSERT INTO latchkey_invite_trigram (rowid, email) SELECT n, new.email FROM latchkey_invite_trigram_row WHERE invite_id = new.id;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER latchkey_invite_trigram_update AFTER UPDATE OF email ON latchkey_invite WHEN new.email IS NOT old.email BEGIN
    INSERT OR REPLACE INTO latchkey_invite_trigram (rowid, email) SELECT n, new.email FROM latchkey_invite_trigram_row WHERE invite_id = new.id;
END;
-- +goose StatementEnd
-- +goose StatementBegin
CREATE TRIGGER latchkey_invite_trigram_delete AFTER DELETE ON latchkey_invite BEGIN
    DELETE FROM latchkey_invite_trigram WHERE rowid = (SELECT n FROM latchkey_invite_trigram_row WHERE invite_id = old.id);
    DELETE FROM latchkey_invite_trigram_row WHERE invite_id = old.id;
END;
-- +goose StatementEnd

-- +goose Down
DROP TRIGGER latchkey_invite_trigram_insert;
DROP TRIGGER latchkey_invite_trigram_update;
DROP TRIGGER latchkey_invite_trigram_delete;
DROP TABLE latchkey_invite_trigram;
DROP TABLE latchkey_invite_trigram_row;
DROP TRIGGER latchkey_user_trigram_insert;
DROP TRIGGER latchkey_user_trigram_update;
DROP TRIGGER latchkey_user_trigram_delete;
DROP TABLE latchkey_user_trigram;
DROP TABLE latchkey_user_trigram_row;
DROP INDEX latchkey_invite_created_at;
DROP INDEX latchkey_user_deleted_at;
DROP INDEX latchkey_user_updated_at;
DROP INDEX latchkey_user_created_at;
DROP INDEX latchkey_user_last_name;
DROP INDEX latchkey_user_first_name;
