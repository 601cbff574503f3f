-- How far each writer's records were delivered to each destination outside.
CREATE TABLE audit_delivery (
    destination TEXT    NOT NULL,
    writer      TEXT    NOT NULL,
    sequence    INTEGER NOT NULL,
    moved_at    INTEGER NOT NULL,
    PRIMARY KEY (destination, writer)
) WITHOUT ROWID;
