-- One row a record. `body` holds the canonical bytes that the hash chain covers; every other
-- column repeats a part of it for searching, and `cordon audit verify` checks that it does.
CREATE TABLE audit_record (
    writer   uuid   NOT NULL,
    sequence bigint NOT NULL,
    kind     text   NOT NULL,
    at       bigint NOT NULL,
    exchange uuid,
    actor    text,
    door     text,
    dialect  text,
    host     text,
    model    text,
    action   text,
    rule     text,
    upstream text,
    outcome  text,
    entities text,
    body     text   NOT NULL,
    PRIMARY KEY (writer, sequence)
);

COMMENT ON COLUMN audit_record.at IS 'milliseconds since 1970-01-01 UTC';
COMMENT ON COLUMN audit_record.entities IS 'entity types between blanks, a blank at both ends';

CREATE INDEX audit_record_exchange ON audit_record (exchange);
-- Searching reads the records that open an exchange, newest first.
CREATE INDEX audit_record_newest ON audit_record (at DESC, exchange DESC)
    WHERE kind IN ('intent', 'refused', 'tunnel_opened');
CREATE INDEX audit_record_actor ON audit_record (actor, at DESC, exchange DESC)
    WHERE kind IN ('intent', 'refused', 'tunnel_opened');

-- How far each writer's chain has come. It moves in the transaction that adds the records.
CREATE TABLE audit_writer (
    writer   uuid   PRIMARY KEY,
    name     text   NOT NULL,
    sequence bigint NOT NULL,
    hash     text   NOT NULL,
    moved_at bigint NOT NULL
);
