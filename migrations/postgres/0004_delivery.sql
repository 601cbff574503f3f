-- How far each writer's records were delivered to each destination outside.
CREATE TABLE audit_delivery (
    destination text   NOT NULL,
    writer      uuid   NOT NULL,
    sequence    bigint NOT NULL,
    moved_at    bigint NOT NULL,
    PRIMARY KEY (destination, writer)
) WITH (fillfactor = 50);

CREATE OR REPLACE FUNCTION audit_version() RETURNS bigint LANGUAGE sql AS 'SELECT 4::bigint';

-- What a role may: `writer` ships, `sequencer` puts records into trees and delivers them, `reader` searches and verifies.
CREATE OR REPLACE FUNCTION audit_grant(role_name text, purpose text) RETURNS void LANGUAGE plpgsql AS $$
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
        EXECUTE format('GRANT INSERT, UPDATE ON audit_delivery TO %I', role_name);
    END IF;
END $$;

-- Roles that put records into trees deliver them, too, from now on.
DO $$
DECLARE
    role_name text;
BEGIN
    FOR role_name IN SELECT DISTINCT grantee FROM information_schema.role_table_grants
        WHERE table_schema = current_schema() AND table_name = 'audit_extent' AND privilege_type = 'INSERT' AND grantee <> current_user LOOP
        EXECUTE format('GRANT SELECT, INSERT, UPDATE ON audit_delivery TO %I', role_name);
    END LOOP;
END $$;
