-- +goose Up

-- What blocks hold, if they are not all that their commit wrote: one after the other,
-- in the order in which they were written, whatever their topics. Rows of "blocks" are
-- then so small that pages are full of them. Side by side with what they hold there was
-- one to a page, and every new one moved its neighbours.
CREATE TABLE contents (
    id     INTEGER PRIMARY KEY,
    meta   BLOB NOT NULL,
    bodies BLOB NOT NULL
) STRICT;

-- The row of "contents" that has meta and bodies, which are empty here then.
ALTER TABLE blocks ADD COLUMN contents INTEGER;

-- Blocks with what they hold, wherever it is.
CREATE VIEW block_view AS
SELECT b.key, b.n, b.time, b.total, ifnull(c.meta, b.meta) AS meta, ifnull(c.bodies, b.bodies) AS bodies
FROM blocks b LEFT JOIN contents c ON c.id = b.contents;

DROP VIEW block_end_view;
DROP VIEW message_view;

CREATE VIEW block_end_view AS
SELECT t.id AS topic_id, b.key + b.n - (t.id << 40) AS next, b.total, b.time + (b.meta ->> '$[#-1][0]') AS last_time
FROM topics t JOIN block_view b ON b.key =
     (SELECT max(key) FROM blocks WHERE key >= (t.id << 40) AND key < ((t.id + 1) << 40));

CREATE VIEW message_view AS
SELECT t.name AS topic, (b.key & ((1 << 40) - 1)) + m.key AS "offset",
       strftime('%Y-%m-%dT%H:%M:%fZ', (b.time + (m.value ->> 0)) / 1000.0, 'unixepoch') AS time,
       m.value ->> 2 AS id, m.value ->> 3 AS tag, m.value ->> 4 AS headers, m.value ->> 6 AS size,
       CAST(substr(b.bodies, 1 + (m.value ->> 5), m.value ->> 6) AS TEXT) AS body, b.key AS block
FROM topics t
JOIN block_view b ON b.key >= (t.id << 40) AND b.key < ((t.id + 1) << 40)
JOIN json_each(b.meta) m ON (b.key & ((1 << 40) - 1)) + m.key >= t.first
UNION ALL
SELECT t.name, p.first + m.key,
       strftime('%Y-%m-%dT%H:%M:%fZ', (p.time + (m.value ->> 0)) / 1000.0, 'unixepoch'),
       m.value ->> 2, m.value ->> 3, m.value ->> 4, m.value ->> 6,
       CAST(substr(p.bodies, 1 + p.start + (m.value ->> 5), m.value ->> 6) AS TEXT), NULL
FROM piece_view p
JOIN topics t ON t.id = p.topic_id
LEFT JOIN block_end_view b ON b.topic_id = t.id
JOIN json_each(p.meta) m ON p.first + m.key >= t.first
WHERE p.first >= ifnull(b.next, 0);
