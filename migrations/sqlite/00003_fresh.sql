-- +goose Up

-- Messages that were appended to several topics at once, a few to each: so a commit
-- writes some pages in a row, and not one for each topic. "pieces" is JSONB, an array of
-- [topic id, offset of the first message, how many, time, total, meta, start of the
-- bodies, their length], where time, total and meta are as in "blocks". Pieces are
-- merged into blocks later, those of a topic all at once: a piece counts as long as it is
-- behind the last block of its topic.
CREATE TABLE fresh (
    seq    INTEGER PRIMARY KEY,
    pieces BLOB NOT NULL,
    bodies BLOB NOT NULL
) STRICT;

DROP VIEW log_view;
DROP VIEW message_view;

CREATE VIEW block_end_view AS
SELECT t.id AS topic_id, b.key + b.n - (t.id << 40) AS next, b.total, b.time + (b.meta ->> '$[#-1][0]') AS last_time
FROM topics t JOIN blocks b ON b.key =
     (SELECT max(key) FROM blocks WHERE key >= (t.id << 40) AND key < ((t.id + 1) << 40));

CREATE VIEW piece_view AS
SELECT p.value ->> 0 AS topic_id, p.value ->> 1 AS first, p.value ->> 2 AS n, p.value ->> 3 AS time, p.value ->> 4 AS total,
       p.value -> 5 AS meta, p.value ->> 6 AS start, f.bodies, f.seq
FROM fresh f JOIN json_each(f.pieces) p;

-- How far topics are.
CREATE VIEW log_view AS
SELECT t.id, max(t.next, ifnull(b.next, 0), ifnull(p.next, 0)) AS next,
       max(t.total, ifnull(b.total, 0), ifnull(p.total, 0)) AS total,
       max(t.last_time, ifnull(b.last_time, 0), ifnull(p.last_time, 0)) AS last_time
FROM topics t LEFT JOIN block_end_view b ON b.topic_id = t.id
LEFT JOIN (SELECT topic_id, max(first + n) AS next, max(total) AS total, max(time + (meta ->> '$[#-1][0]')) AS last_time
           FROM piece_view GROUP BY topic_id) p ON p.topic_id = t.id;

CREATE VIEW message_view AS
SELECT t.name AS topic, (b.key & ((1 << 40) - 1)) + m.key AS "offset",
       strftime('%Y-%m-%dT%H:%M:%fZ', (b.time + (m.value ->> 0)) / 1000.0, 'unixepoch') AS time,
       m.value ->> 2 AS id, m.value ->> 3 AS tag, m.value ->> 4 AS headers, m.value ->> 6 AS size,
       CAST(substr(b.bodies, 1 + (m.value ->> 5), m.value ->> 6) AS TEXT) AS body, b.key AS block
FROM topics t
JOIN blocks b ON b.key >= (t.id << 40) AND b.key < ((t.id + 1) << 40)
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
