-- +goose Up

-- The account whose limits of topics and of stored bytes a topic counts for: who created it, or
-- whom an administrator named since; '' is nobody, as for all topics from before. It is part of
-- definition_sum where there is one.
ALTER TABLE topics ADD COLUMN owner TEXT NOT NULL DEFAULT '';

DROP VIEW topic_view;

CREATE VIEW topic_view AS
SELECT t.name, l.next - t.first AS depth, t.first, l.next, l.total - t.dropped AS bytes, t.kind, t.creator, t.owner,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.created / 1000.0, 'unixepoch') AS created,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.updated / 1000.0, 'unixepoch') AS updated,
       strftime('%Y-%m-%dT%H:%M:%fZ', nullif(l.last_time, 0) / 1000.0, 'unixepoch') AS last_message,
       t.max_age, t.max_count, t.max_bytes, t.id
FROM topics t JOIN log_view l ON l.id = t.id;
