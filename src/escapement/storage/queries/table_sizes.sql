-- Our tables by size in bytes, with indexes; a hypertable's rows are in its chunks and not counted here.
SELECT relname AS name, pg_total_relation_size(oid) AS bytes
FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relkind IN ('r', 'p')
ORDER BY 2 DESC, 1
