-- Records lie in one partition for each retention class and day, so that what has had its time is dropped with its partition.
-- The role that ships may insert and call the functions below; it can change and remove nothing, and reads no record.

ALTER TABLE audit_record RENAME TO audit_record_before;
ALTER TABLE audit_writer RENAME TO audit_writer_before;
DROP INDEX audit_record_exchange;
DROP INDEX audit_record_newest;
DROP INDEX audit_record_actor;

CREATE TABLE audit_record (
    writer   uuid   NOT NULL,
    sequence bigint NOT NULL,
    at       bigint NOT NULL,
    exchange uuid,
    kind     text   NOT NULL,
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
    tenant   text,
    class    text   NOT NULL,
    body     text   NOT NULL
) PARTITION BY LIST (class);

COMMENT ON COLUMN audit_record.at IS 'milliseconds since 1970-01-01 UTC';
COMMENT ON COLUMN audit_record.entities IS 'entity types between blanks, a blank at both ends';
COMMENT ON COLUMN audit_record.tenant IS 'null for the tenant named default';

CREATE INDEX audit_record_chain ON audit_record (writer, sequence);
CREATE INDEX audit_record_at ON audit_record USING brin (at);
-- Ids of exchanges begin with their time (UUIDv7), so this is also the order of time, and pages are cut along it.
CREATE INDEX audit_record_exchange ON audit_record (exchange);
CREATE INDEX audit_record_actor ON audit_record (actor, exchange) WHERE actor IS NOT NULL;

-- Sealed payloads: of each record and part at most one. `key` names the subject's key under which it opens.
CREATE TABLE audit_payload (
    writer   uuid     NOT NULL,
    sequence bigint   NOT NULL,
    at       bigint   NOT NULL,
    key      uuid     NOT NULL,
    part     text     NOT NULL,
    class    text     NOT NULL,
    sealed   bytea    NOT NULL
) PARTITION BY LIST (class);
CREATE INDEX audit_payload_record ON audit_payload (writer, sequence);
-- It is compressed before it is sealed.
ALTER TABLE audit_payload ALTER COLUMN sealed SET STORAGE EXTERNAL;

-- The blind index: which exchanges held a value, by a keyed hash of it.
CREATE TABLE audit_value (
    value    uuid   NOT NULL,
    at       bigint NOT NULL,
    exchange uuid   NOT NULL,
    entity   text   NOT NULL,
    class    text   NOT NULL
) PARTITION BY LIST (class);
CREATE INDEX audit_value_value ON audit_value (value, at);

-- How far each writer's chain has come. It moves in the transaction that adds the records, by `audit_advance` alone.
CREATE TABLE audit_writer (
    writer   uuid   PRIMARY KEY,
    name     text   NOT NULL,
    sequence bigint NOT NULL,
    hash     text   NOT NULL,
    moved_at bigint NOT NULL,
    -- The same position as a signed note; null where nothing is signed.
    note     text
) WITH (fillfactor = 50);

-- Which records are which leaves of a tree: each row is a run of one writer's records, in the order of their sequence.
CREATE TABLE audit_extent (
    tenant         text   NOT NULL,
    class          text   NOT NULL,
    first_index    bigint NOT NULL,
    writer         uuid   NOT NULL,
    first_sequence bigint NOT NULL,
    last_sequence  bigint NOT NULL,
    -- Four bytes for each leaf, big-endian: its sequence less the first; empty where there are no gaps.
    offsets        bytea  NOT NULL,
    -- 32 bytes for each leaf.
    hashes         bytea  NOT NULL,
    PRIMARY KEY (tenant, class, first_index)
);
ALTER TABLE audit_extent ALTER COLUMN hashes SET STORAGE EXTERNAL;
CREATE INDEX audit_extent_writer ON audit_extent (writer, last_sequence);

-- The hash over each 256 leaves, so that a proof reads few leaves.
CREATE TABLE audit_block (
    tenant text   NOT NULL,
    class  text   NOT NULL,
    block  bigint NOT NULL,
    hash   bytea  NOT NULL,
    PRIMARY KEY (tenant, class, block)
);

CREATE TABLE audit_checkpoint (
    tenant text   NOT NULL,
    class  text   NOT NULL,
    size   bigint NOT NULL,
    at     bigint NOT NULL,
    note   text   NOT NULL,
    PRIMARY KEY (tenant, class, size)
);

-- What others say of a checkpoint: a witness's cosignature line, or a time stamp in base64.
CREATE TABLE audit_cosignature (
    tenant text   NOT NULL,
    class  text   NOT NULL,
    size   bigint NOT NULL,
    kind   text   NOT NULL,
    signer text   NOT NULL,
    at     bigint NOT NULL,
    line   text   NOT NULL,
    PRIMARY KEY (tenant, class, size, kind, signer)
);

-- Sums for dashboards, by the hour.
CREATE TABLE audit_hour (
    hour          bigint NOT NULL,
    tenant        text   NOT NULL,
    action        text   NOT NULL,
    outcome       text   NOT NULL,
    upstream      text   NOT NULL,
    model         text   NOT NULL,
    exchanges     bigint NOT NULL,
    input_tokens  bigint NOT NULL,
    output_tokens bigint NOT NULL,
    PRIMARY KEY (hour, tenant, action, outcome, upstream, model)
);

-- Keys of subjects, wrapped by their tenant's key. Erasing a subject leaves the row and takes the key out of it.
CREATE TABLE audit_key (
    id         uuid   PRIMARY KEY,
    tenant     text   NOT NULL,
    subject    text   NOT NULL,
    created_at bigint NOT NULL,
    wrapped    bytea,
    -- The subject's name, sealed under this key.
    name       bytea,
    erased_at  bigint
);
CREATE INDEX audit_key_subject ON audit_key (tenant, subject);

-- Keys of a subject that were made before this time are not taken in any more.
CREATE TABLE audit_erasure (
    tenant  text   NOT NULL,
    subject text   NOT NULL,
    at      bigint NOT NULL,
    PRIMARY KEY (tenant, subject)
);

-- Makes the partitions of a class for some days, counted from 1970-01-01, where they are not there.
CREATE FUNCTION audit_prepare(class_name text, first_day bigint, last_day bigint) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    base text;
    list text;
    leaf text;
BEGIN
    -- One that ends like a day would have the name of another class's partition.
    IF class_name !~ '^[a-z0-9][a-z0-9._-]{0,31}$' OR class_name ~ '_[0-9]{8}$' OR last_day - first_day NOT BETWEEN 0 AND 400 OR first_day < 0 THEN
        RAISE EXCEPTION 'no class or no days: % % %', class_name, first_day, last_day;
    END IF;
    FOREACH base IN ARRAY ARRAY['audit_record', 'audit_payload', 'audit_value'] LOOP
        list := base || '_' || class_name;
        IF to_regclass(quote_ident(list)) IS NULL THEN
            -- Of several gateways that find it missing, one makes it.
            PERFORM pg_advisory_xact_lock(hashtext('cordon audit partitions'), hashtext(current_schema()));
            IF to_regclass(quote_ident(list)) IS NULL THEN
                EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES IN (%L) PARTITION BY RANGE (at)', list, base, class_name);
            END IF;
        END IF;
        FOR day IN first_day .. last_day LOOP
            leaf := list || to_char(date '1970-01-01' + day, '"_"YYYYMMDD');
            CONTINUE WHEN to_regclass(quote_ident(leaf)) IS NOT NULL;
            PERFORM pg_advisory_xact_lock(hashtext('cordon audit partitions'), hashtext(current_schema()));
            CONTINUE WHEN to_regclass(quote_ident(leaf)) IS NOT NULL;
            -- Attaching waits for no reader, unlike making it in its place.
            EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING DEFAULTS INCLUDING STORAGE)', leaf, list);
            EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES FROM (%s) TO (%s)',
                list, leaf, day::bigint * 86400000, (day + 1)::bigint * 86400000);
        END LOOP;
    END LOOP;
END $$;

-- Makes sure that a writer has a position, and says it.
CREATE FUNCTION audit_register(of_writer uuid, called text, now_ms bigint, OUT sequence bigint, OUT hash text)
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO audit_writer (writer, name, sequence, hash, moved_at)
        VALUES (of_writer, called, 0, repeat('0', 64), now_ms) ON CONFLICT (writer) DO NOTHING;
    SELECT w.sequence, w.hash INTO sequence, hash FROM audit_writer w WHERE w.writer = of_writer;
END $$;

-- Moves a writer's position on, if it stands where the caller believes; says where it stands then.
CREATE FUNCTION audit_advance(of_writer uuid, from_sequence bigint, from_hash text, to_sequence bigint, to_hash text, now_ms bigint,
    signed text, OUT sequence bigint, OUT hash text)
LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    UPDATE audit_writer w SET sequence = to_sequence, hash = to_hash, moved_at = now_ms, note = signed
        WHERE w.writer = of_writer AND w.sequence = from_sequence AND w.hash = from_hash AND to_sequence > from_sequence;
    SELECT w.sequence, w.hash INTO sequence, hash FROM audit_writer w WHERE w.writer = of_writer;
END $$;

-- Takes a subject's key in, unless the subject was erased since it was made.
CREATE FUNCTION audit_take_key(key_id uuid, of_tenant text, of_subject text, made_at bigint, wrapped_key bytea, sealed_name bytea) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    gone bigint;
BEGIN
    -- An erasure writes here first. One of the two waits for the other, so that none passes a key by that is just coming in.
    LOCK TABLE audit_erasure IN SHARE MODE;
    SELECT e.at INTO gone FROM audit_erasure e WHERE e.tenant = of_tenant AND e.subject = of_subject AND e.at >= made_at;
    IF gone IS NULL THEN
        INSERT INTO audit_key VALUES (key_id, of_tenant, of_subject, made_at, wrapped_key, sealed_name, NULL) ON CONFLICT (id) DO NOTHING;
    ELSE
        INSERT INTO audit_key VALUES (key_id, of_tenant, of_subject, made_at, NULL, NULL, gone) ON CONFLICT (id) DO NOTHING;
    END IF;
END $$;

-- The version of these tables, for roles that may not look at the list of migrations.
CREATE FUNCTION audit_version() RETURNS bigint LANGUAGE sql AS 'SELECT 2::bigint';

-- What a role may: `writer` ships, `sequencer` puts records into trees, `reader` searches and verifies.
CREATE FUNCTION audit_grant(role_name text, purpose text) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    schema_name text := current_schema();
    name text;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', schema_name, role_name);
    EXECUTE format('GRANT EXECUTE ON FUNCTION audit_version() TO %I', role_name);
    IF purpose = 'writer' THEN
        EXECUTE format('GRANT INSERT ON audit_record, audit_payload, audit_value TO %I', role_name);
        EXECUTE format('GRANT EXECUTE ON FUNCTION audit_prepare(text, bigint, bigint), audit_register(uuid, text, bigint), '
            'audit_advance(uuid, bigint, text, bigint, text, bigint, text), audit_take_key(uuid, text, text, bigint, bytea, bytea) TO %I', role_name);
        RETURN;
    END IF;
    IF purpose NOT IN ('sequencer', 'reader') THEN
        RAISE EXCEPTION 'a role is a writer, a sequencer or a reader';
    END IF;
    FOR name IN SELECT relname FROM pg_class WHERE relnamespace = schema_name::regnamespace AND relname LIKE 'audit\_%' AND relkind IN ('r', 'p') AND NOT relispartition LOOP
        EXECUTE format('GRANT SELECT ON %I TO %I', name, role_name);
    END LOOP;
    IF purpose = 'sequencer' THEN
        EXECUTE format('GRANT INSERT ON audit_extent, audit_block, audit_checkpoint, audit_cosignature, audit_hour TO %I', role_name);
        EXECUTE format('GRANT UPDATE ON audit_hour TO %I', role_name);
    END IF;
END $$;

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['audit_prepare(text, bigint, bigint)', 'audit_register(uuid, text, bigint)',
        'audit_advance(uuid, bigint, text, bigint, text, bigint, text)', 'audit_take_key(uuid, text, text, bigint, bytea, bytea)'] LOOP
        -- What runs with the owner's rights finds no table of the caller's in place of ours.
        EXECUTE format('ALTER FUNCTION %s SET search_path = %I, pg_temp', name, current_schema());
        EXECUTE format('REVOKE ALL ON FUNCTION %s FROM PUBLIC', name);
    END LOOP;
END $$;

-- Records of before are of the one class that there was.
SELECT audit_prepare('standard', day, day) FROM (SELECT DISTINCT at / 86400000 AS day FROM audit_record_before) AS days;
INSERT INTO audit_record (writer, sequence, at, exchange, kind, actor, door, dialect, host, model, action, rule, upstream, outcome, entities, class, body)
    SELECT writer, sequence, at, exchange, kind, actor, door, dialect, host, model, action, rule, upstream, outcome, entities, 'standard', body
    FROM audit_record_before;
INSERT INTO audit_writer (writer, name, sequence, hash, moved_at) SELECT writer, name, sequence, hash, moved_at FROM audit_writer_before;
DROP TABLE audit_record_before;
DROP TABLE audit_writer_before;
