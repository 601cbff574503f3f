-- One row a record. `body` holds the canonical bytes that the hash chain covers; every other
-- column repeats a part of it for searching, and `cordon audit verify` checks that it does.
CREATE TABLE audit_record (
    writer   TEXT    NOT NULL,
    sequence INTEGER NOT NULL,
    kind     TEXT    NOT NULL,
    at       INTEGER NOT NULL, -- milliseconds since 1970-01-01 UTC
    exchange TEXT,
    actor    TEXT,
    door     TEXT,
    dialect  TEXT,
    host     TEXT,
    model    TEXT,
    action   TEXT,
    rule     TEXT,
    upstream TEXT,
    outcome  TEXT,
    entities TEXT,             -- entity types between blanks, a blank at both ends
    body     TEXT    NOT NULL,
    PRIMARY KEY (writer, sequence)
) WITHOUT ROWID;

CREATE INDEX audit_record_exchange ON audit_record (exchange);
-- Searching reads the records that open an exchange, newest first.
CREATE INDEX audit_record_newest ON audit_record (at DESC, exchange DESC)
    WHERE kind IN ('intent', 'refused', 'tunnel_opened');
CREATE INDEX audit_record_actor ON audit_record (actor, at DESC, exchange DESC)
    WHERE kind IN ('intent', 'refused', 'tunnel_opened');

-- How far each writer's chain has come. It moves in the transaction that adds the records.
CREATE TABLE audit_writer (
    writer   TEXT    NOT NULL PRIMARY KEY,
    name     TEXT    NOT NULL,
    sequence INTEGER NOT NULL,
    hash     TEXT    NOT NULL,
    moved_at INTEGER NOT NULL
) WITHOUT ROWID;
