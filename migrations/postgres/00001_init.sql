-- +goose Up

-- All times are Unix milliseconds, but for brokers.seen. A text that PostgreSQL can't hold, as it
-- has a zero byte or is no UTF-8, is "\x" and its bytes in hexadecimal digits.

-- One row, which tells this database from any other. "generation" is counted up whenever a broker
-- takes a lease, so a broker can tell that the database has gone back to an earlier state.
CREATE TABLE identity (
    one        bigint PRIMARY KEY CHECK (one = 1),
    id         text   NOT NULL, -- 16 random bytes in hexadecimal digits
    generation bigint NOT NULL
);

INSERT INTO identity VALUES (1, replace(gen_random_uuid()::text, '-', ''), 0);

-- The brokers that have used the database. Each transaction of a broker counts "seq" of its own row
-- up by one, if the row is as the broker knows it: so it is the fence that keeps out a broker whose
-- lease has ended, it keeps commits in order, and it tells a broker that has lost its connection
-- whether its last commit is stored.
CREATE TABLE brokers (
    name   text        PRIMARY KEY,
    holder text        NOT NULL, -- random, of one run of the broker; '': it has no lease
    epoch  bigint      NOT NULL, -- counted up by each connection that writes
    seq    bigint      NOT NULL, -- transactions so far
    seen   timestamptz NOT NULL  -- by the clock of the database
) WITH (fillfactor = 30);

-- The ids given last, also those of what was removed since: none is given again.
CREATE TABLE ids (
    kind text   PRIMARY KEY,
    last bigint NOT NULL
) WITH (fillfactor = 50);

INSERT INTO ids VALUES ('topic', 0), ('group', 0), ('journal', 0), ('audit', 0);

CREATE TABLE topics (
    id        bigint  PRIMARY KEY,
    name      text    NOT NULL,
    folded    text    NOT NULL UNIQUE, -- the name with its ASCII letters in lower case
    kind      text    NOT NULL,        -- 'log', 'memory', 'rpc' or 'proxy'
    replies   boolean NOT NULL,        -- publishes have no answer of their own, a consumer may answer each
    paused    boolean NOT NULL,
    mask      bigint  NOT NULL,        -- what a client of the original declared last
    creator   text    NOT NULL,
    owner     text    NOT NULL,        -- the account whose limits it counts for
    created   bigint  NOT NULL,
    updated   bigint  NOT NULL,
    max_age   bigint  NOT NULL,        -- milliseconds; 0 means no limit, here and below
    max_count bigint  NOT NULL,
    max_bytes bigint  NOT NULL,
    first     bigint  NOT NULL,        -- oldest offset that still counts
    dropped   bigint  NOT NULL,        -- size of the messages below first, ever
    -- What follows is as of the last change of "first". A topic that has blocks is as far as its
    -- last one says.
    next      bigint  NOT NULL,        -- offset of the next message
    total     bigint  NOT NULL,        -- size of the messages below next, ever
    last_time bigint  NOT NULL,        -- of the newest message
    CHECK (0 <= first AND first <= next AND next <= 1099511627776)
) WITH (fillfactor = 70);

-- The messages that one commit appended to a topic, together: a row each would cost twice as much.
-- What "meta" and "bodies" hold is said in internal/storage/postgres/block.go. The primary key is a
-- fence of its own: of two brokers that append to a topic one gets an error.
CREATE TABLE blocks (
    topic     bigint NOT NULL,
    first     bigint NOT NULL, -- offset of the first message
    n         bigint NOT NULL, -- how many
    time      bigint NOT NULL, -- of the first message
    last_time bigint NOT NULL, -- of the last one
    total     bigint NOT NULL, -- size of the topic's messages up to the last one here, ever
    meta      bytea  NOT NULL,
    bodies    bytea  NOT NULL,
    PRIMARY KEY (topic, first)
);

-- Messages are rarely worth the time that compressing them takes here.
ALTER TABLE blocks ALTER COLUMN meta SET STORAGE EXTERNAL, ALTER COLUMN bodies SET STORAGE EXTERNAL;

-- Ranges of offsets, hi excluded, that no reader can reach: below their topic's first one, or
-- of a removed topic. Their blocks go bit by bit.
CREATE TABLE dropped (
    topic bigint NOT NULL,
    lo    bigint NOT NULL,
    hi    bigint NOT NULL,
    PRIMARY KEY (topic, lo)
);

-- The ids of messages that were dropped while their ids had still to be known. "ids" is a list: see
-- internal/storage/postgres/block.go.
CREATE TABLE kept_ids (
    topic bigint NOT NULL,
    last  bigint NOT NULL, -- the largest offset in the list
    ids   bytea  NOT NULL,
    PRIMARY KEY (topic, last)
);

CREATE TABLE groups (
    id          bigint  PRIMARY KEY,
    topic       bigint  NOT NULL,
    name        text    NOT NULL,
    folded      text    NOT NULL,
    filter      text    NOT NULL,
    settle      text    NOT NULL, -- 'auto' or 'explicit'
    exclusive   boolean NOT NULL, -- for one session at a time
    paused      boolean NOT NULL,
    ephemeral   boolean NOT NULL, -- removed when its last consumer leaves
    mask        bigint  NOT NULL,
    creator     text    NOT NULL,
    created     bigint  NOT NULL,
    updated     bigint  NOT NULL,
    ack_timeout bigint  NOT NULL, -- milliseconds
    ack_window  bigint  NOT NULL,
    max_deliver bigint  NOT NULL, -- 0 means no limit
    version     bigint  NOT NULL,
    epoch       bigint  NOT NULL,
    cursor      bigint  NOT NULL, -- every offset below is settled
    read        bigint  NOT NULL, -- every offset at or above was never delivered
    settled     text    NOT NULL, -- settled offsets between the two, as "12-15,18-19"
    UNIQUE (topic, folded)
) WITH (fillfactor = 50);

CREATE TABLE parked (
    group_id bigint NOT NULL,
    "offset" bigint NOT NULL,
    count    bigint NOT NULL, -- deliveries so far
    due      bigint NOT NULL,
    cause    text   NOT NULL,
    PRIMARY KEY (group_id, "offset")
);

CREATE TABLE cursor_journal (
    id           bigint PRIMARY KEY,
    topic        bigint NOT NULL,
    group_id     bigint NOT NULL,
    time         bigint NOT NULL,
    kind         text   NOT NULL,
    actor        text   NOT NULL,
    address      text   NOT NULL,
    token        text   NOT NULL,
    reason       text   NOT NULL,
    from_cursor  bigint NOT NULL,
    from_read    bigint NOT NULL,
    from_settled text   NOT NULL,
    to_offset    bigint NOT NULL,
    filter_from  text   NOT NULL,
    filter_to    text   NOT NULL
);

CREATE INDEX cursor_journal_by_group ON cursor_journal (group_id, id);

CREATE TABLE audit (
    id      bigint PRIMARY KEY,
    time    bigint NOT NULL,
    actor   text   NOT NULL,
    address text   NOT NULL,
    token   text   NOT NULL,
    action  text   NOT NULL,
    target  text   NOT NULL,
    detail  text   NOT NULL
);

-- How the broker's clock stood when it was saved: one row, or none. All but "boot" are milliseconds.
CREATE TABLE clock (
    one   bigint PRIMARY KEY CHECK (one = 1),
    boot  text   NOT NULL, -- identifies the boot of the machine; empty if that is not known
    since bigint NOT NULL, -- the clock when the machine booted
    last  bigint NOT NULL, -- the clock when it was saved
    ahead bigint NOT NULL, -- how far it was ahead of the wall clock
    jump  bigint NOT NULL, -- how far the wall clock has jumped, if that is in doubt; 0: it is not
    held  bigint NOT NULL  -- nothing is deleted by age until the clock shows this
);

-- Documents that are kept whole and read only at the start: accounts, roles and tokens. "value" is
-- JSON of package access.
CREATE TABLE documents (
    kind  text NOT NULL,
    name  text NOT NULL,
    value text NOT NULL,
    PRIMARY KEY (kind, name)
);

-- The history of topics and groups, in the format of package stats.
CREATE TABLE history (
    id       bigint PRIMARY KEY,
    topic    bigint NOT NULL,
    group_id bigint NOT NULL, -- 0: the topic itself
    level    bigint NOT NULL,
    data     bytea  NOT NULL
);

CREATE INDEX history_series ON history (topic, group_id, level, id);
