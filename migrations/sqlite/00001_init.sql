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
    next      INTEGER NOT NULL, -- offset of the next message
    bytes     INTEGER NOT NULL, -- size of the messages in [first, next)
    last_time INTEGER NOT NULL,
    max_age   INTEGER NOT NULL, -- milliseconds; 0 means no limit, here and below
    max_count INTEGER NOT NULL,
    max_bytes INTEGER NOT NULL,
    CHECK (0 <= first AND first <= next AND next <= 1 << 40)
) STRICT;

-- The body comes last, so that looking at the other columns does not touch the
-- pages it overflows to. NULL stands for the empty value: it costs nothing.
CREATE TABLE messages (
    key     INTEGER PRIMARY KEY, -- topic id * 2^40 + offset
    time    INTEGER NOT NULL,
    tag     TEXT,
    id      TEXT,
    headers TEXT,                -- JSON object of strings
    crc     INTEGER NOT NULL,    -- CRC-32C
    body    BLOB
) STRICT;

-- Ranges of message keys, hi excluded, that nobody can reach any more: below
-- their topic's first offset, or of a removed topic. Their rows go bit by bit.
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

-- The views are for people. They show what counts: rows that wait to be
-- deleted are left out.

CREATE VIEW topic_view AS
SELECT t.name, t.next - t.first AS depth, t.first, t.next, t.bytes, t.mask, t.creator,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.created / 1000.0, 'unixepoch') AS created,
       strftime('%Y-%m-%dT%H:%M:%fZ', t.updated / 1000.0, 'unixepoch') AS updated,
       strftime('%Y-%m-%dT%H:%M:%fZ', nullif(t.last_time, 0) / 1000.0, 'unixepoch') AS last_message,
       t.max_age, t.max_count, t.max_bytes, t.id
FROM topics t;

CREATE VIEW message_view AS
SELECT t.name AS topic, m.key & ((1 << 40) - 1) AS "offset",
       strftime('%Y-%m-%dT%H:%M:%fZ', m.time / 1000.0, 'unixepoch') AS time,
       ifnull(m.id, '') AS id, ifnull(m.tag, '') AS tag, ifnull(m.headers, '') AS headers,
       ifnull(length(m.body), 0) AS size, ifnull(CAST(m.body AS TEXT), '') AS body, m.key
FROM topics t JOIN messages m ON m.key >= (t.id << 40) + t.first AND m.key < (t.id << 40) + t.next;

CREATE VIEW group_view AS
SELECT t.name AS topic, g.name, g.filter, g.cursor, g.read, g.settled,
       t.next - max(g.cursor, t.first) AS lag,
       (SELECT count(*) FROM parked p WHERE p.group_id = g.id) AS parked,
       g.mask, g.ack_timeout, g.ack_window, g.max_deliver, g.epoch, g.version, g.creator,
       strftime('%Y-%m-%dT%H:%M:%fZ', g.created / 1000.0, 'unixepoch') AS created,
       strftime('%Y-%m-%dT%H:%M:%fZ', g.updated / 1000.0, 'unixepoch') AS updated, g.id
FROM groups g JOIN topics t ON t.id = g.topic_id;

CREATE VIEW cursor_journal_view AS
SELECT j.id, strftime('%Y-%m-%dT%H:%M:%fZ', j.time / 1000.0, 'unixepoch') AS time,
       t.name AS topic, g.name AS "group", j.kind, j.actor, j.reason,
       j.from_cursor, j.to_offset, j.filter_from, j.filter_to
FROM cursor_journal j LEFT JOIN groups g ON g.id = j.group_id LEFT JOIN topics t ON t.id = j.topic_id;

CREATE VIEW audit_view AS
SELECT id, strftime('%Y-%m-%dT%H:%M:%fZ', time / 1000.0, 'unixepoch') AS time,
       actor, action, target, detail
FROM audit;
