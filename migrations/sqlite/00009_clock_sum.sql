-- +goose Up

-- Checksum of the row. NULL: the row is from before there was one.
ALTER TABLE clock ADD COLUMN sum INTEGER;
