-- The same as PostgreSQL's: keys of subjects in a file apart from the records.

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
CREATE INDEX audit_key_created ON audit_key (created_at, id);
