-- +goose Up

-- One row, which tells this database from any other and from older copies of it.
CREATE TABLE identity (
    id         TEXT    NOT NULL, -- 16 random bytes in hexadecimal digits
    generation INTEGER NOT NULL  -- counted up by a start and then, while there are changes, once a second
) STRICT;

INSERT INTO identity VALUES (lower(hex(randomblob(16))), 0);
