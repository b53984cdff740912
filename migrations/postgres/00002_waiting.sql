-- +goose Up

-- Where a broker is reached.
ALTER TABLE brokers ADD COLUMN address text NOT NULL DEFAULT '';

-- Brokers that wait until the one that has the database stops, or is dead.
CREATE TABLE waiting (
    name    text        PRIMARY KEY,
    run     text        NOT NULL, -- as brokers.holder
    address text        NOT NULL,
    seen    timestamptz NOT NULL  -- by the clock of the database
) WITH (fillfactor = 30);

-- Who has taken the database, when and why.
CREATE TABLE takeovers (
    generation bigint      PRIMARY KEY, -- that of "identity" from then on
    time       timestamptz NOT NULL,
    node       text        NOT NULL,
    previous   text        NOT NULL, -- empty: there was none
    reason     text        NOT NULL  -- 'first', 'stopped' or 'silent'
);
