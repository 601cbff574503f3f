-- Keys of subjects in a database apart from the records, so that who administers the records never holds a wrapped key. These are the tables that
-- the records' own database has for them otherwise.

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
CREATE INDEX audit_key_created ON audit_key (created_at, id);

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
CREATE FUNCTION audit_keys_version() RETURNS bigint LANGUAGE sql AS 'SELECT 1::bigint';

-- What a role may: `writer` brings keys in and reads none, `reader` reveals and verifies, `keeper` also erases and prunes.
CREATE FUNCTION audit_grant_keys(role_name text, purpose text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO %I', current_schema(), role_name);
    EXECUTE format('GRANT EXECUTE ON FUNCTION audit_keys_version() TO %I', role_name);
    IF purpose = 'writer' THEN
        EXECUTE format('GRANT EXECUTE ON FUNCTION audit_take_key(uuid, text, text, bigint, bytea, bytea) TO %I', role_name);
        RETURN;
    END IF;
    IF purpose NOT IN ('reader', 'keeper') THEN
        RAISE EXCEPTION 'a role is a writer, a reader or a keeper';
    END IF;
    EXECUTE format('GRANT SELECT ON audit_key, audit_erasure TO %I', role_name);
    IF purpose = 'keeper' THEN
        EXECUTE format('GRANT UPDATE, DELETE ON audit_key TO %I', role_name);
        EXECUTE format('GRANT INSERT, UPDATE ON audit_erasure TO %I', role_name);
    END IF;
END $$;

DO $$
BEGIN
    -- What runs with the owner's rights finds no table of the caller's in place of ours.
    EXECUTE format('ALTER FUNCTION audit_take_key(uuid, text, text, bigint, bytea, bytea) SET search_path = %I, pg_temp', current_schema());
    REVOKE ALL ON FUNCTION audit_take_key(uuid, text, text, bigint, bytea, bytea) FROM PUBLIC;
END $$;
