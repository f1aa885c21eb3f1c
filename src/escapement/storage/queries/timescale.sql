-- What the server has of TimescaleDB.
SELECT (SELECT default_version FROM pg_available_extensions WHERE name = 'timescaledb') AS available,
       current_setting('shared_preload_libraries') LIKE '%timescaledb%' AS preloaded,
       (SELECT extversion FROM pg_extension WHERE extname = 'timescaledb') AS installed,
       current_setting('timescaledb.license', true) AS license
