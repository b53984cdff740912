-- +goose Up

-- How the broker's clock stood when it was saved: one row, or none. All but "boot" are
-- milliseconds.
CREATE TABLE clock (
    id    INTEGER PRIMARY KEY CHECK (id = 1),
    boot  TEXT    NOT NULL, -- identifies the boot of the machine; empty if that is not known
    since INTEGER NOT NULL, -- the clock when the machine booted
    last  INTEGER NOT NULL, -- the clock when it was saved
    ahead INTEGER NOT NULL, -- how far it was ahead of the wall clock
    jump  INTEGER NOT NULL, -- how far the wall clock has jumped, if that is in doubt; 0: it is not
    held  INTEGER NOT NULL  -- nothing is deleted by age until the clock shows this
) STRICT;
