-- +goose Up

-- What is kept as a whole and read at the start alone: accounts, roles and tokens. "value"
-- is JSON; package access knows what it means. "sum" is the checksum of the row.
CREATE TABLE documents (
    kind  TEXT    NOT NULL,
    name  TEXT    NOT NULL,
    value TEXT    NOT NULL,
    sum   INTEGER NOT NULL,
    PRIMARY KEY (kind, name)
) STRICT, WITHOUT ROWID;

-- "actor" is the name of an account, or an address where access was off. Beside it are the
-- address that the request came from and the id of the token that came with it, if any.
ALTER TABLE audit ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE audit ADD COLUMN token TEXT NOT NULL DEFAULT '';
ALTER TABLE cursor_journal ADD COLUMN address TEXT NOT NULL DEFAULT '';
ALTER TABLE cursor_journal ADD COLUMN token TEXT NOT NULL DEFAULT '';
