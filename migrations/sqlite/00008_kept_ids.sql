-- +goose Up

-- The ids of messages that were dropped while their ids had still to be known, as a
-- producer may send them again. One row for each step of dropping. "ids" is 8 bytes with
-- the checksum of the row (CRC-32C, see kept.go), and a list of offset and time, each less the one before, length of the id and the id: numbers as
-- varints of the protocol buffers.
CREATE TABLE kept_ids (
    topic_id INTEGER NOT NULL,
    last     INTEGER NOT NULL, -- the largest offset in the list
    ids      BLOB    NOT NULL,
    PRIMARY KEY (topic_id, last)
) STRICT, WITHOUT ROWID;
