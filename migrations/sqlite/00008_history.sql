-- +goose Up

-- What became of topics and groups over time: figures of seconds at level 0, of quarters of a
-- minute at level 1, of ten minutes at level 2. A row has some minutes to hours of one of them;
-- package stats knows how. Rows that grow old are put together into one of the next level.
CREATE TABLE history (
    id       INTEGER PRIMARY KEY,
    topic_id INTEGER NOT NULL,
    group_id INTEGER NOT NULL, -- 0: the topic itself
    level    INTEGER NOT NULL,
    size     INTEGER NOT NULL, -- of data, in bytes
    data     BLOB    NOT NULL,
    sum      INTEGER NOT NULL  -- checksum of the row
) STRICT;

CREATE INDEX history_series ON history (topic_id, group_id, level, id, size);
