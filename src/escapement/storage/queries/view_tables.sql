-- Our tables with what they take, indexes counted; rows are the server's estimates.
SELECT class.relname AS name, greatest(class.reltuples, 0)::bigint AS rows, pg_total_relation_size(class.oid) AS bytes
FROM pg_class AS class
WHERE class.relkind = 'r' AND class.relnamespace = 'public'::regnamespace AND class.relname <> 'alembic_version'
ORDER BY 3 DESC, 1
