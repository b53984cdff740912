-- +goose Up

-- One row, which tells this database from any other and from older copies of it.
CREATE TABLE identity (
    id         TEXT    NOT NULL, -- 16 random bytes in hexadecimal digits
    generation INTEGER NOT NULL  -- counted up by a start and then, while there are changes, once a second
) STRICT;

INSERT INTO identity VALUES (lower(hex(randomblob(16))), 0);

-- A flipped bit in a topic's or group's row would move its log or its place, and
-- messages would be passed over without a word. Each has two checksums (CRC-32C, see
-- sums.go): of what it is, and of where it is, since these change apart. NULL: the row
-- was written before there were any; it gets them when the database is opened.
ALTER TABLE topics ADD COLUMN definition_sum INTEGER;
-- An operator knows that messages at the end of the log up to this offset are lost.
ALTER TABLE topics ADD COLUMN lost INTEGER NOT NULL DEFAULT 0;
ALTER TABLE topics ADD COLUMN place_sum INTEGER; -- of first, dropped, next, total, last_time, lost

ALTER TABLE groups ADD COLUMN definition_sum INTEGER;
ALTER TABLE groups ADD COLUMN place_sum INTEGER; -- of epoch, cursor, read, settled

ALTER TABLE parked ADD COLUMN sum INTEGER; -- of the whole row

-- How the broker's clock stood when it was saved: one row, or none. All but "boot" and
-- "sum" are milliseconds.
CREATE TABLE clock (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    boot  TEXT    NOT NULL, -- identifies the boot of the machine; empty if that is not known
    since INTEGER NOT NULL, -- the clock when the machine booted
    last  INTEGER NOT NULL, -- the clock when it was saved
    ahead INTEGER NOT NULL, -- how far it was ahead of the wall clock
    jump  INTEGER NOT NULL, -- how far the wall clock has jumped, if that is in doubt; 0: it is not
    held  INTEGER NOT NULL, -- nothing is deleted by age until the clock shows this
    sum   INTEGER NOT NULL  -- checksum of the row
) STRICT;

-- The ids of messages that were dropped while their ids had still to be known, as a
-- producer may send them again. One row for each step of dropping. "ids" is the checksum
-- of the row (8 bytes; CRC-32C, see kept.go) and a list of offset and time, each less the
-- one before, length of the id and the id: numbers as varints of the protocol buffers.
CREATE TABLE kept_ids (
    topic_id INTEGER NOT NULL,
    last     INTEGER NOT NULL, -- the largest offset in the list
    ids      BLOB    NOT NULL,
    PRIMARY KEY (topic_id, last)
) STRICT, WITHOUT ROWID;
