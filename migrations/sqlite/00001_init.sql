-- +goose Up

-- "zbus" in ASCII: tells a database of ours from somebody else's.
PRAGMA application_id = 0x7a627573;

-- All times are Unix milliseconds. NOCASE folds ASCII letters only.

CREATE TABLE topics (
    id        INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
    name      TEXT    NOT NULL COLLATE NOCASE UNIQUE,
    mask      INTEGER NOT NULL,
    memory    INTEGER NOT NULL, -- 1: its messages are never stored
    creator   TEXT    NOT NULL,
    created   INTEGER NOT NULL,
    updated   INTEGER NOT NULL,
    first     INTEGER NOT NULL, -- oldest offset that still counts
    dropped   INTEGER NOT NULL, -- size of the messages below first, ever
    -- What follows is as of the last change of "first". A topic that has blocks
    -- is as far as its last one says: see log_view.
    next      INTEGER NOT NULL, -- offset of the next message
    total     INTEGER NOT NULL, -- size of the messages below next, ever
    last_time INTEGER NOT NULL, -- of the newest message
    max_age   INTEGER NOT NULL, -- milliseconds; 0 means no limit, here and below
    max_count INTEGER NOT NULL,
    max_bytes INTEGER NOT NULL,
    CHECK (0 <= first AND first <= next AND next <= 1 << 40)
) STRICT;

-- The messages that one commit appended to a topic, together: so many rows of
-- their own would cost several times as much. "meta" is JSONB, an array of
-- [time after "time", CRC-32C, id, tag, headers, start of the body, its length]
-- for each message. The bodies come last, so that looking at the other columns
-- does not touch the pages they overflow to.
CREATE TABLE blocks (
    key    INTEGER PRIMARY KEY, -- topic id * 2^40 + offset of the first message
    n      INTEGER NOT NULL,    -- how many messages
    time   INTEGER NOT NULL,    -- of the first message
    total  INTEGER NOT NULL,    -- size of the topic's messages up to the last one here, ever
    meta   BLOB    NOT NULL,
    bodies BLOB    NOT NULL
) STRICT;

-- Ranges of message keys, hi excluded, that nobody can reach any more: below
-- their topic's first offset, or of a removed topic. Their blocks go bit by bit.
CREATE TABLE dropped (
    lo INTEGER PRIMARY KEY,
    hi INTEGER NOT NULL
) STRICT;

CREATE TABLE groups (
    id          INTEGER PRIMARY KEY AUTOINCREMENT, -- never used again
    topic_id    INTEGER NOT NULL,
    name        TEXT    NOT NULL COLLATE NOCASE,
    filter      TEXT    NOT NULL,
    mask        INTEGER NOT NULL,
    creator     TEXT    NOT NULL,
    created     INTEGER NOT NULL,
    updated     INTEGER NOT NULL,
    ack_timeout INTEGER NOT NULL, -- milliseconds
    ack_window  INTEGER NOT NULL,
    max_deliver INTEGER NOT NULL, -- 0 means no limit
    version     INTEGER NOT NULL,
    epoch       INTEGER NOT NULL,
    cursor      INTEGER NOT NULL, -- every offset below is settled
    read        INTEGER NOT NULL, -- every offset at or above was never delivered
    settled     TEXT    NOT NULL, -- settled offsets between the two, as "12-15,18-19"
    UNIQUE (topic_id, name)
) STRICT;

CREATE TABLE parked (
    group_id INTEGER NOT NULL,
    "offset" INTEGER NOT NULL,
    count    INTEGER NOT NULL, -- deliveries so far
    due      INTEGER NOT NULL,
    cause    TEXT    NOT NULL,
    PRIMARY KEY (group_id, "offset")
) STRICT, WITHOUT ROWID;

CREATE TABLE cursor_journal (
    id           INTEGER PRIMARY KEY AUTOINCREMENT,
    topic_id     INTEGER NOT NULL,
    group_id     INTEGER NOT NULL,
    time         INTEGER NOT NULL,
    kind         TEXT    NOT NULL,
    actor        TEXT    NOT NULL,
    reason       TEXT    NOT NULL,
    from_cursor  INTEGER NOT NULL,
    from_read    INTEGER NOT NULL,
    from_settled TEXT    NOT NULL,
    to_offset    INTEGER NOT NULL,
    filter_from  TEXT    NOT NULL,
    filter_to    TEXT    NOT NULL
) STRICT;

CREATE INDEX cursor_journal_by_group ON cursor_journal (group_id, id);

CREATE TABLE audit (
    id     INTEGER PRIMARY KEY AUTOINCREMENT,
    time   INTEGER NOT NULL,
    actor  TEXT    NOT NULL,
    action TEXT    NOT NULL,
    target TEXT    NOT NULL,
    detail TEXT    NOT NULL
) STRICT;

-- The views are for people, and need SQLite 3.45 or newer. They show what counts: messages that wait to
-- be deleted are left out.

-- How far topics are.
CREATE VIEW log_view AS
SELECT t.id, max(t.next, ifnull(b.key + b.n - (t.id << 40), 0)) AS next,
       max(t.total, ifnull(b.total, 0)) AS total,
       max(t.last_time, ifnull(b.time + (b.meta ->> '$[#-1][0]'), 0)) AS last_time
FROM topics t LEFT JOIN blocks b ON b.key =
     (SELECT max(key) FROM blocks WHERE key >= (t.id << 40) AND key < ((t.id + 1) << 40));

CREATE VIEW topic_view AS
SELECT t.name, l.next - t.first AS depth, t.first, l.next, l.total - t.dropped AS bytes, t.mask, t.creator,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.created / 1000.0, 'unixepoch') AS created,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.updated / 1000.0, 'unixepoch') AS updated,
       strftime('%Y-%m-%dT%H:%M:%fZ', nullif(l.last_time, 0) / 1000.0, 'unixepoch') AS last_message,
       t.max_age, t.max_count, t.max_bytes, t.id
FROM topics t JOIN log_view l ON l.id = t.id;

CREATE VIEW message_view AS
SELECT t.name AS topic, (b.key & ((1 << 40) - 1)) + m.key AS "offset",
       strftime('%Y-%m-%dT%H:%M:%fZ', (b.time + (m.value ->> 0)) / 1000.0, 'unixepoch') AS time,
       m.value ->> 2 AS id, m.value ->> 3 AS tag, m.value ->> 4 AS headers, m.value ->> 6 AS size,
       CAST(substr(b.bodies, 1 + (m.value ->> 5), m.value ->> 6) AS TEXT) AS body, b.key AS block
FROM topics t
JOIN blocks b ON b.key >= (t.id << 40) AND b.key < ((t.id + 1) << 40)
JOIN json_each(b.meta) m ON (b.key & ((1 << 40) - 1)) + m.key >= t.first;

CREATE VIEW group_view AS
SELECT t.name AS topic, g.name, g.filter, g.cursor, g.read, g.settled,
       l.next - max(g.cursor, t.first) AS lag,
       (SELECT count(*) FROM parked p WHERE p.group_id = g.id) AS parked,
       g.mask, g.ack_timeout, g.ack_window, g.max_deliver, g.epoch, g.version, g.creator,
       strftime('%Y-%m-%dT%H:%M:%fZ', g.created / 1000.0, 'unixepoch') AS created,
       strftime('%Y-%m-%dT%H:%M:%fZ', g.updated / 1000.0, 'unixepoch') AS updated, g.id
FROM groups g JOIN topics t ON t.id = g.topic_id JOIN log_view l ON l.id = t.id;

CREATE VIEW cursor_journal_view AS
SELECT j.id, strftime('%Y-%m-%dT%H:%M:%fZ', j.time / 1000.0, 'unixepoch') AS time,
       t.name AS topic, g.name AS "group", j.kind, j.actor, j.reason,
       j.from_cursor, j.to_offset, j.filter_from, j.filter_to
FROM cursor_journal j LEFT JOIN groups g ON g.id = j.group_id LEFT JOIN topics t ON t.id = j.topic_id;

CREATE VIEW audit_view AS
SELECT id, strftime('%Y-%m-%dT%H:%M:%fZ', time / 1000.0, 'unixepoch') AS time,
       actor, action, target, detail
FROM audit;
