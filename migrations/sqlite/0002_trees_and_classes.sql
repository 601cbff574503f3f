-- The same as PostgreSQL's, less partitions and roles: whoever may write an SQLite file may do anything with it.

ALTER TABLE audit_record ADD COLUMN tenant TEXT; -- null for the tenant named default
ALTER TABLE audit_record ADD COLUMN class TEXT NOT NULL DEFAULT 'standard';
DROP INDEX audit_record_newest;
DROP INDEX audit_record_actor;
-- Ids of exchanges begin with their time (UUIDv7), so these are in the order of time, and pages are cut along them.
CREATE INDEX audit_record_actor ON audit_record (actor, exchange) WHERE actor IS NOT NULL;
CREATE INDEX audit_record_at ON audit_record (class, at);

CREATE TABLE audit_payload (
    writer   TEXT    NOT NULL,
    sequence INTEGER NOT NULL,
    at       INTEGER NOT NULL,
    key      TEXT    NOT NULL,
    part     TEXT    NOT NULL,
    class    TEXT    NOT NULL,
    sealed   BLOB    NOT NULL
);
CREATE INDEX audit_payload_record ON audit_payload (writer, sequence);

CREATE TABLE audit_value (
    value    TEXT    NOT NULL,
    at       INTEGER NOT NULL,
    exchange TEXT    NOT NULL,
    entity   TEXT    NOT NULL,
    class    TEXT    NOT NULL
);
CREATE INDEX audit_value_value ON audit_value (value, at);

-- The same position as a signed note; null where nothing is signed.
ALTER TABLE audit_writer ADD COLUMN note TEXT;

CREATE TABLE audit_extent (
    tenant         TEXT    NOT NULL,
    class          TEXT    NOT NULL,
    first_index    INTEGER NOT NULL,
    writer         TEXT    NOT NULL,
    first_sequence INTEGER NOT NULL,
    last_sequence  INTEGER NOT NULL,
    offsets        BLOB    NOT NULL, -- four bytes for each leaf, big-endian: its sequence less the first; empty where there are no gaps
    hashes         BLOB    NOT NULL, -- 32 bytes for each leaf
    PRIMARY KEY (tenant, class, first_index)
);
CREATE INDEX audit_extent_writer ON audit_extent (writer, last_sequence);

CREATE TABLE audit_block (
    tenant TEXT    NOT NULL,
    class  TEXT    NOT NULL,
    block  INTEGER NOT NULL,
    hash   BLOB    NOT NULL,
    PRIMARY KEY (tenant, class, block)
) WITHOUT ROWID;

CREATE TABLE audit_checkpoint (
    tenant TEXT    NOT NULL,
    class  TEXT    NOT NULL,
    size   INTEGER NOT NULL,
    at     INTEGER NOT NULL,
    note   TEXT    NOT NULL,
    PRIMARY KEY (tenant, class, size)
) WITHOUT ROWID;

CREATE TABLE audit_cosignature (
    tenant TEXT    NOT NULL,
    class  TEXT    NOT NULL,
    size   INTEGER NOT NULL,
    kind   TEXT    NOT NULL,
    signer TEXT    NOT NULL,
    at     INTEGER NOT NULL,
    line   TEXT    NOT NULL,
    PRIMARY KEY (tenant, class, size, kind, signer)
) WITHOUT ROWID;

CREATE TABLE audit_hour (
    hour          INTEGER NOT NULL,
    tenant        TEXT    NOT NULL,
    action        TEXT    NOT NULL,
    outcome       TEXT    NOT NULL,
    upstream      TEXT    NOT NULL,
    model         TEXT    NOT NULL,
    exchanges     INTEGER NOT NULL,
    input_tokens  INTEGER NOT NULL,
    output_tokens INTEGER NOT NULL,
    PRIMARY KEY (hour, tenant, action, outcome, upstream, model)
) WITHOUT ROWID;

CREATE TABLE audit_key (
    id         TEXT    NOT NULL PRIMARY KEY,
    tenant     TEXT    NOT NULL,
    subject    TEXT    NOT NULL,
    created_at INTEGER NOT NULL,
    wrapped    BLOB,
    name       BLOB, -- the subject's name, sealed under this key
    erased_at  INTEGER
) WITHOUT ROWID;
CREATE INDEX audit_key_subject ON audit_key (tenant, subject);

-- Keys of a subject that were made before this time are not taken in any more.
CREATE TABLE audit_erasure (
    tenant  TEXT    NOT NULL,
    subject TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    PRIMARY KEY (tenant, subject)
) WITHOUT ROWID;
