-- +goose Up

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
