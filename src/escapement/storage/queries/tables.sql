-- The tables of the schema, as they are written in a statement.
SELECT oid::regclass::text AS name FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p') ORDER BY 1
