-- Drop every table, view and routine of the schema, except those of extensions, and have TimescaleDB forget our job.
DO $$
DECLARE
    drop text;
BEGIN
    IF to_regclass('timescaledb_information.jobs') IS NOT NULL THEN
        PERFORM delete_job(job_id) FROM timescaledb_information.jobs
        WHERE proc_schema = current_schema() AND proc_name = 'drop_old_bars';
    END IF;
    -- All names first: what a CASCADE dropped has none any more.
    FOREACH drop IN ARRAY ARRAY(
        SELECT format('DROP %s IF EXISTS %s CASCADE', found.kind, found.name)
        FROM (
            SELECT CASE relkind WHEN 'v' THEN 'VIEW' WHEN 'm' THEN 'MATERIALIZED VIEW' ELSE 'TABLE' END AS kind,
                   oid::regclass::text AS name, oid, 'pg_class'::regclass AS catalog
            FROM pg_class
            WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p', 'v', 'm')
            UNION ALL
            SELECT 'ROUTINE', oid::regprocedure::text, oid, 'pg_proc'::regclass
            FROM pg_proc WHERE pronamespace = current_schema()::regnamespace
        ) AS found
        WHERE NOT EXISTS (
            SELECT FROM pg_depend WHERE classid = found.catalog AND objid = found.oid AND deptype = 'e'
        )
    ) LOOP
        EXECUTE drop;
    END LOOP;
END $$
