-- What hypertables take with all chunks.
SELECT hypertable_name AS name,
       hypertable_size(format('%I.%I', hypertable_schema, hypertable_name)::regclass) AS bytes,
       approximate_row_count(format('%I.%I', hypertable_schema, hypertable_name)::regclass) AS rows
FROM timescaledb_information.hypertables WHERE hypertable_schema = 'public'
