-- +goose Up

-- What was bits of a mask has columns. NULL: the row was written before there were any; they
-- are filled in from the mask when the database is opened. "mask" is what a client of the
-- original declared last, and "memory" 1 for all kinds but "log": both are for older rows.
ALTER TABLE topics ADD COLUMN kind TEXT;       -- 'log', 'memory', 'rpc' or 'proxy'
ALTER TABLE topics ADD COLUMN replies INTEGER; -- 1: publishes have no answer of their own, a consumer may answer each

ALTER TABLE groups ADD COLUMN settle TEXT;       -- 'auto' or 'explicit'
ALTER TABLE groups ADD COLUMN exclusive INTEGER; -- 1: for one session at a time
ALTER TABLE groups ADD COLUMN paused INTEGER;    -- 1: nothing is delivered
ALTER TABLE groups ADD COLUMN ephemeral INTEGER; -- 1: removed when its last consumer leaves

DROP VIEW topic_view;
DROP VIEW group_view;

CREATE VIEW topic_view AS
SELECT t.name, l.next - t.first AS depth, t.first, l.next, l.total - t.dropped AS bytes, t.kind, t.creator,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.created / 1000.0, 'unixepoch') AS created,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.updated / 1000.0, 'unixepoch') AS updated,
       strftime('%Y-%m-%dT%H:%M:%fZ', nullif(l.last_time, 0) / 1000.0, 'unixepoch') AS last_message,
       t.max_age, t.max_count, t.max_bytes, t.id
FROM topics t JOIN log_view l ON l.id = t.id;

CREATE VIEW group_view AS
SELECT t.name AS topic, g.name, g.filter, g.cursor, g.read, g.settled,
       l.next - max(g.cursor, t.first) AS lag,
       (SELECT count(*) FROM parked p WHERE p.group_id = g.id) AS parked,
       g.settle, g.exclusive, g.paused, g.ephemeral, g.ack_timeout, g.ack_window, g.max_deliver, g.epoch, g.version, g.creator,
       strftime('%Y-%m-%dT%H:%M:%fZ', g.created / 1000.0, 'unixepoch') AS created,
       strftime('%Y-%m-%dT%H:%M:%fZ', g.updated / 1000.0, 'unixepoch') AS updated, g.id
FROM groups g JOIN topics t ON t.id = g.topic_id JOIN log_view l ON l.id = t.id;
